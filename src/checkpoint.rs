//! How far a log has been read, so that the next run goes on exactly there.
//!
//! A file is known by its **content**: a digest of its first kilobyte (or of the complete lines
//! that there were), never by name or inode. Renames, copies, compression and recycled inode
//! numbers neither lose nor double anything. Before reading goes on, the kilobyte before the
//! remembered offset is compared too.

use std::ops::Deref;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::audit_log::session::Connections;
use crate::audit_log::trust::{Aside, Pending};
use crate::name::{Name, to_hex};
use crate::time::UtcSeconds;

/// How many bytes a digest covers at the most.
pub const DIGEST_BYTES: usize = 1_024;

/// A checksum of a stretch of a file, at most [`DIGEST_BYTES`] long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Length of the stretch in bytes.
    pub len: u64,
    /// First half of its SHA-256, in hexadecimal.
    pub sha256: String,
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let sha = Sha256::digest(bytes);
        Self {
            len: bytes.len() as u64,
            sha256: to_hex(&sha[..16]),
        }
    }

    /// Whether a file that begins so begins with the stretch that this digest was made of.
    fn begins(&self, head: &Beginning) -> bool {
        if self.len == head.digest.len {
            return *self == head.digest;
        }
        usize::try_from(self.len)
            .ok()
            .and_then(|len| head.get(..len))
            .is_some_and(|stretch| Self::of(stretch) == *self)
    }
}

/// The first bytes of a file, and their digest: made once, for each file of a log is held against all
/// marks of the last run.
#[derive(Clone, Debug)]
pub struct Beginning {
    bytes: Vec<u8>,
    digest: Digest,
}

impl From<Vec<u8>> for Beginning {
    fn from(bytes: Vec<u8>) -> Self {
        let digest = Digest::of(&bytes);
        Self { bytes, digest }
    }
}

impl Deref for Beginning {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// How far one file has been read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMark {
    /// Its beginning: what the file *is*.
    pub head: Digest,
    /// Its first line: what a copy is known by that was made while the file was shorter than `head`.
    pub first: Digest,
    /// All complete lines before this byte (unpacked) have been read.
    pub offset: u64,
    /// What stands directly before the offset.
    pub tail: Digest,
    /// Size in bytes of a compressed file that has been read to its end, so that it need not be
    /// unpacked again.
    pub packed: Option<u64>,
    /// Its path when it was read last, for messages.
    pub path: String,
}

impl FileMark {
    /// Whether the file that begins with `head` is the one that this mark was made of, or a copy.
    pub fn is_of(&self, head: &Beginning) -> bool {
        self.head.begins(head) || (head.len() as u64) < self.head.len && self.first.begins(head)
    }
}

/// How far a log, with its rotated files, has been read, and what is needed to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Grows with each commit. Two runs that began from the same one can't both be written.
    #[serde(skip)]
    pub generation: u64,
    /// How many passes led here, those under other paths included: of several checkpoints of one
    /// log that was moved, the newest has most.
    pub steps: u64,
    /// The name under which this log's figures are kept.
    pub server: Name,
    /// The files that were there, oldest first. The last one is where reading stopped.
    pub files: Vec<FileMark>,
    /// Lines that are not judged yet.
    pub pending: Vec<Pending>,
    /// Records that need another one to be believed.
    pub aside: Vec<Aside>,
    /// What the server calls itself in the log.
    pub serverhost: Option<Name>,
    /// Time of the last record, to tell the two passes of a repeated hour apart.
    pub clock: Option<UtcSeconds>,
    /// The connections whose records are not complete yet.
    pub connections: Connections,
}
