//! Complete lines of one file, from a given offset on, in bounded memory.
//!
//! A line that is not finished yet waits for the next run. A line of any length costs no more than
//! the buffer: of a line beyond [`MAX_LINE`] only both ends are kept, which is all that the parser
//! needs, since no connection event is that long.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;
use memchr::{memchr, memrchr};

use super::calm;
use crate::checkpoint::DIGEST_BYTES;

/// The longest line that is passed on whole, in bytes. Of a longer one the first and the last half
/// of this.
pub const MAX_LINE: usize = 16_384;

const BUFFER: usize = 262_144;

/// How many bytes before the place reached are kept, to go back to and to look at once more. For the
/// checkpoint [`DIGEST_BYTES`] would do.
const KEPT: usize = calm::CONTEXT + 2 * MAX_LINE;
const _: () = assert!(KEPT > DIGEST_BYTES);

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Plain text.
    None,
    /// gzip, one member or several.
    Gzip,
    /// Zstandard.
    Zstd,
    /// xz.
    Xz,
}

impl Packing {
    /// What the first bytes of a file say.
    pub fn of(magic: &[u8]) -> Self {
        if magic.starts_with(b"\x1f\x8b") {
            Self::Gzip
        } else if magic.starts_with(b"\x28\xb5\x2f\xfd") {
            Self::Zstd
        } else if magic.starts_with(b"\xfd7zXZ\0") {
            Self::Xz
        } else {
            Self::None
        }
    }

    /// Reads the unpacked content of `file` from its beginning.
    pub fn unpack(self, mut file: File) -> io::Result<Box<dyn Read>> {
        file.seek(SeekFrom::Start(0))?;
        Ok(match self {
            Self::None => Box::new(file),
            Self::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(65_536, file))),
            Self::Zstd => Box::new(
                ruzstd::decoding::StreamingDecoder::new(BufReader::with_capacity(65_536, file))
                    .map_err(io::Error::other)?,
            ),
            Self::Xz => Box::new(lzma_rust2::XzReader::new(
                BufReader::with_capacity(65_536, file),
                true,
            )),
        })
    }
}

/// A complete line.
#[derive(Debug)]
pub struct Line<'a> {
    /// The line without its LF; the two ends of it if it is longer than [`MAX_LINE`].
    pub text: &'a [u8],
    /// Its first byte in the file (unpacked).
    pub offset: u64,
}

/// A line that is too long for the buffer and has not ended yet.
struct Long {
    /// How it begins, and where in the file.
    head: Vec<u8>,
    offset: u64,
    /// The last bytes before it.
    before: Vec<u8>,
}

enum Input {
    /// A plain file, of which any place can be read.
    File(Arc<File>),
    Stream(Box<dyn Read>),
}

/// Reads lines. Everything before [`Lines::offset`] has been passed on.
pub struct Lines {
    input: Input,
    packed: bool,
    cut_off: bool,
    buffer: Vec<u8>,
    /// Offset of the buffer's first byte in the file.
    base: u64,
    /// First byte in the buffer that was not passed on, and how far a line end was looked for.
    start: usize,
    searched: usize,
    end: usize,
    long: Option<Long>,
    joined: Vec<u8>,
    /// Why no more could be read when memory was filled up; told when that is needed.
    failed: Option<io::Error>,
}

impl Lines {
    /// Lines of `input`, whose first byte is byte `at` of the (unpacked) file.
    pub fn new(input: Box<dyn Read>, at: u64, packed: bool) -> Self {
        Self::of(Input::Stream(input), at, packed)
    }

    /// Lines of a plain file from byte `at` on.
    pub fn of_file(file: Arc<File>, at: u64) -> Self {
        Self::of(Input::File(file), at, false)
    }

    fn of(input: Input, at: u64, packed: bool) -> Self {
        Self {
            input,
            packed,
            cut_off: false,
            buffer: vec![0; BUFFER],
            base: at,
            start: 0,
            searched: 0,
            end: 0,
            long: None,
            joined: Vec::new(),
            failed: None,
        }
    }

    /// The next complete line; none at the end of what is there now.
    pub fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            if let Some(found) = memchr(b'\n', &self.buffer[self.searched..self.end]) {
                let line_end = self.searched + found;
                let from = self.start;
                self.start = line_end + 1;
                self.searched = self.start;
                return Ok(Some(self.line(from, line_end)));
            }
            self.searched = self.end;
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    fn line(&mut self, from: usize, to: usize) -> Line<'_> {
        let half = MAX_LINE / 2;
        if let Some(Long {
            mut head, offset, ..
        }) = self.long.take()
        {
            let tail = &self.buffer[from.max(to.saturating_sub(half))..to];
            head.extend_from_slice(tail);
            self.joined = head;
            return Line {
                text: &self.joined,
                offset,
            };
        }
        let offset = self.base + from as u64;
        if to - from > MAX_LINE {
            self.joined.clear();
            self.joined
                .extend_from_slice(&self.buffer[from..from + half]);
            self.joined.extend_from_slice(&self.buffer[to - half..to]);
            return Line {
                text: &self.joined,
                offset,
            };
        }
        Line {
            text: &self.buffer[from..to],
            offset,
        }
    }

    /// Reads on. False at the end of the file.
    fn fill(&mut self) -> io::Result<bool> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if self.end == self.buffer.len() {
            self.make_room();
        }
        loop {
            let room = &mut self.buffer[self.end..];
            let read = match &mut self.input {
                Input::File(file) => file.read_at(room, self.base + self.end as u64),
                Input::Stream(input) => input.read(room),
            };
            match read {
                Ok(0) => return Ok(false),
                Ok(read) => {
                    self.end += read;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A packed file that is still being written ends early; what is there is good.
                Err(error) if self.packed && error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.cut_off = true;
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Moves what is still needed to the front: the line that is not complete, and the last bytes
    /// before it, for the checkpoint.
    fn make_room(&mut self) {
        let half = MAX_LINE / 2;
        if self.end - self.start > self.buffer.len() - 2 * MAX_LINE {
            // Longer than any record: remember its beginning, and of the rest only the end.
            if self.long.is_none() {
                self.long = Some(Long {
                    head: self.buffer[self.start..self.start + half].to_vec(),
                    offset: self.base + self.start as u64,
                    before: self.tail().to_vec(),
                });
            }
            self.start = self.end - MAX_LINE;
        }
        let kept = match self.end - self.start > self.buffer.len() / 2 {
            true => DIGEST_BYTES,
            false => KEPT,
        };
        let keep = self.start.saturating_sub(kept);
        self.buffer.copy_within(keep..self.end, 0);
        self.base += keep as u64;
        self.start -= keep;
        self.end -= keep;
        self.searched -= keep;
    }

    /// Reads on as far as memory allows, if less than half of it is filled.
    pub fn fill_up(&mut self) {
        if self.long.is_some() || self.end - self.start > self.buffer.len() / 2 {
            return;
        }
        self.make_room();
        while self.end < self.buffer.len() {
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    self.failed = Some(error);
                    return;
                }
            }
        }
    }

    /// What is in memory, and the offset of its first byte. Lines before [`Lines::offset`] are among it.
    pub fn in_memory(&self) -> (&[u8], u64) {
        (&self.buffer[..self.end], self.base)
    }

    /// The plain file that is read, if it is one.
    pub fn file(&self) -> Option<&Arc<File>> {
        match &self.input {
            Input::File(file) => Some(file),
            Input::Stream(_) => None,
        }
    }

    /// Goes on at byte `offset` of a plain file, before which these bytes stand.
    pub fn jump_to(&mut self, offset: u64, before: &[u8]) {
        let before = &before[before.len().saturating_sub(KEPT)..];
        self.buffer[..before.len()].copy_from_slice(before);
        self.base = offset - before.len() as u64;
        self.start = before.len();
        self.searched = self.start;
        self.end = self.start;
        self.long = None;
        self.failed = None;
    }

    /// Goes on at byte `offset`, where a line in memory begins.
    pub fn go_to(&mut self, offset: u64) {
        self.start = (offset.saturating_sub(self.base) as usize).min(self.end);
        self.searched = self.start;
        self.long = None;
    }

    /// The byte behind the last line that was passed on.
    pub fn offset(&self) -> u64 {
        match &self.long {
            Some(long) => long.offset,
            None => self.base + self.start as u64,
        }
    }

    /// The last bytes before [`Lines::offset`], as far as they were read: at most
    /// [`DIGEST_BYTES`].
    pub fn tail(&self) -> &[u8] {
        match &self.long {
            Some(long) => &long.before,
            None => &self.buffer[self.start.saturating_sub(DIGEST_BYTES)..self.start],
        }
    }

    /// Whether the file ended with a line that is not complete.
    pub fn is_unfinished(&self) -> bool {
        self.long.is_some() || self.end > self.start
    }

    /// Whether a packed file ended before its end: it is damaged, or still being written.
    pub fn is_cut_off(&self) -> bool {
        self.cut_off
    }

    /// How many bytes of the file were read so far, complete lines or not.
    pub fn read_to(&self) -> u64 {
        self.base + self.end as u64
    }

    /// Reads on up to byte `offset`, without looking at what stands there. False if the file ends
    /// before.
    pub fn skip_to(&mut self, offset: u64) -> io::Result<bool> {
        while self.base + (self.end as u64) < offset {
            self.start = self.end;
            self.searched = self.end;
            if !self.fill()? {
                return Ok(false);
            }
        }
        self.start = (offset - self.base) as usize;
        self.searched = self.start;
        Ok(true)
    }
}

/// The complete lines that `bytes` begins with.
pub fn complete_lines(bytes: &[u8]) -> &[u8] {
    memrchr(b'\n', bytes).map_or(&[], |last| &bytes[..=last])
}
