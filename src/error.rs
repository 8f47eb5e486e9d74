//! What can keep the work from being done, said so that the reader knows what to do about it,
//! and what the program tells its caller in the end.

use std::io;
use std::path::{Path, PathBuf};

/// Why some work could not be done. Each message names the file, key or server concerned.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A wrong setting: the message names the key, the place it came from and what would be right.
    #[error("{0}")]
    Config(String),
    /// The operating system refused something about a file.
    #[error("{path}: {source}{hint}", path = crate::name::escape(path.as_os_str().as_encoded_bytes()))]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
        /// What to do about it, starting with `; `, or nothing.
        hint: &'static str,
    },
    /// A file does not hold what it should.
    #[error("{path}: {message}", path = crate::name::escape(path.as_os_str().as_encoded_bytes()))]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do about it.
        message: String,
    },
    /// The store could not be read or written; nothing of the failed step is kept in it.
    #[error("{store}: {message}")]
    Store {
        /// Which store: a path or a server.
        store: String,
        /// What is wrong, and what to do about it.
        message: String,
    },
    /// What was printed could not be written.
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
}

impl Error {
    /// An error of the operating system about `path`, with the hint that fits its kind.
    pub fn file(path: &Path, source: io::Error) -> Self {
        let hint = match source.kind() {
            io::ErrorKind::PermissionDenied => {
                "; run as a user that may do so (the log may often be read by the group mysql)"
            }
            io::ErrorKind::StorageFull => "; make room on its file system, the next run catches up",
            _ => "",
        };
        Self::File {
            path: path.to_owned(),
            source,
            hint,
        }
    }

    /// An error of the operating system about the file that is left for Prometheus.
    pub fn textfile(path: &Path, source: io::Error) -> Self {
        let hint = match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound => {
                "; the folder of run.textfile must exist, and this user may write into it"
            }
            io::ErrorKind::StorageFull => "; make room on its file system",
            _ => "",
        };
        Self::File {
            path: path.to_owned(),
            source,
            hint,
        }
    }
}

/// The result of what can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a command tells its caller; Nagios and Icinga read the numbers as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExitStatus {
    /// Nothing to say.
    Fine = 0,
    /// Worth a look: records that were not understood or not believed, a gap.
    Warning = 1,
    /// A critical finding.
    Critical = 2,
    /// The work, or a part of it, could not be done.
    Failed = 3,
}
