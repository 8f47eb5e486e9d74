//! Which files make up a log: the live one, its rotations in the order in which they were written,
//! and in a folder only those that are audit logs at all.
//!
//! The server rotates while we look. A set is therefore opened, then listed again; if names and
//! files no longer match, it is opened anew. Once open, renames do not matter.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::reader::{self, Packing};
use super::record::Head;
use super::syslog::{Framing, Unframer};
use super::timestamp::Stamp;
use super::trust;
use crate::checkpoint::{Beginning, DIGEST_BYTES};
use crate::error::{Error, Result};
use crate::name::escape;

/// How much of a file is looked at to see whether it is an audit log, in bytes.
const SNIFF: usize = 65_536;

/// How often a set is opened anew while rotations come in between.
const MAX_TRIES: usize = 50;

/// A log with its rotations: the path of the live file, which may be absent for an instant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Log {
    folder: PathBuf,
    name: Vec<u8>,
}

/// One open file of a log.
#[derive(Debug)]
pub struct LogFile {
    /// Where it was when it was opened.
    pub path: PathBuf,
    /// How it is packed.
    pub packing: Packing,
    /// Its size in bytes (packed) when it was opened.
    pub size: u64,
    /// Its first [`DIGEST_BYTES`] (unpacked), or the complete lines of a shorter file.
    pub head: Beginning,
    file: File,
}

/// The files of a log, oldest first, and what could not be opened.
#[derive(Debug, Default)]
pub struct Opened {
    /// Files with at least one complete line.
    pub files: Vec<LogFile>,
    /// Files that belong to the log but can't be read.
    pub errors: Vec<Error>,
}

/// The logs that the configured paths mean: files, folders or globs. A path that yields nothing is
/// an error of its own; the others are found all the same.
pub fn find(paths: &[PathBuf]) -> (Vec<Log>, Vec<Error>) {
    let (mut logs, mut errors) = (Vec::new(), Vec::new());
    for path in paths {
        match find_one(path) {
            Ok(found) => logs.extend(found),
            Err(error) => errors.push(error),
        }
    }
    logs.sort();
    logs.dedup();
    (logs, errors)
}

fn find_one(path: &Path) -> Result<Vec<Log>> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => find_in_folder(path),
        Ok(meta) if meta.is_file() => Ok(vec![Log::of(path)?]),
        Ok(_) => Err(Error::Content {
            path: path.to_owned(),
            message: "is not a regular file; audit_log takes a file, a folder or a glob".into(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let pattern = path.to_string_lossy();
            if pattern.contains(['*', '?', '[']) {
                return find_by_glob(path, &pattern);
            }
            // Between two steps of a rotation the live file does not exist.
            let log = Log::of(path)?;
            if log.list().is_ok_and(|members| !members.is_empty()) {
                return Ok(vec![log]);
            }
            Err(Error::File {
                path: path.to_owned(),
                source: error,
                hint: "; set audit_log (--audit-log) to the file that the server's variable \
                       server_audit_file_path names",
            })
        }
        Err(error) => Err(Error::file(path, error)),
    }
}

fn find_by_glob(path: &Path, pattern: &str) -> Result<Vec<Log>> {
    let bad = |message: String| Error::Content {
        path: path.to_owned(),
        message,
    };
    let mut logs = Vec::new();
    for found in glob::glob(pattern).map_err(|error| bad(format!("is no valid glob: {error}")))? {
        let found = found
            .map_err(|error| Error::file(error.path(), io::Error::from(error.error().kind())))?;
        if fs::metadata(&found).is_ok_and(|meta| meta.is_file()) {
            logs.push(Log::of(&found)?);
        }
    }
    if logs.is_empty() {
        return Err(bad("no file matches this glob".into()));
    }
    Ok(logs)
}

/// A folder may be a whole data directory: only regular files that begin like an audit log count.
fn find_in_folder(folder: &Path) -> Result<Vec<Log>> {
    let mut names = entries(folder)?;
    for _ in 1..MAX_TRIES {
        let found = find_among(&names, folder);
        let again = entries(folder)?;
        if found.is_ok() || again == names {
            return found;
        }
        // The only file with records was rotated between listing and looking.
        names = again;
    }
    find_among(&names, folder)
}

fn find_among(names: &[OsString], folder: &Path) -> Result<Vec<Log>> {
    let mut groups: BTreeMap<Log, Vec<PathBuf>> = BTreeMap::new();
    for name in names {
        let path = folder.join(name);
        if regular_file(&path)?.is_some_and(|meta| meta.len() > 0) {
            groups.entry(Log::of(&path)?).or_default().push(path);
        }
    }
    let mut unreadable = Vec::new();
    let mut logs = Vec::new();
    for (log, mut members) in groups {
        members.sort();
        let mut refused = None;
        let is_log = members.iter().any(|path| match LogFile::open(path) {
            Ok(file) => matches!(file.map(|file| file.framing()), Some(Ok(Some(_)))),
            Err(error) => {
                refused = Some(error);
                false
            }
        });
        if is_log {
            logs.push(log);
        } else {
            unreadable.extend(refused);
        }
    }
    if !logs.is_empty() {
        return Ok(logs);
    }
    match unreadable
        .into_iter()
        .find(|error| matches!(error, Error::File { .. }))
    {
        Some(Error::File { path, source, hint }) => Err(Error::File { path, source, hint }),
        _ => Err(Error::Content {
            path: folder.to_owned(),
            message: "no audit log in this folder; is server_audit loaded, and is this where \
                      server_audit_file_path points?"
                .into(),
        }),
    }
}

/// What is in a folder, by name. Names are compared as such: paths would be taken apart for that, each
/// time, and a data directory holds many.
fn entries(folder: &Path) -> Result<Vec<OsString>> {
    let failed = |error| Error::file(folder, error);
    let mut names = fs::read_dir(folder)
        .map_err(failed)?
        .map(|entry| entry.map(|entry| entry.file_name()).map_err(failed))
        .collect::<Result<Vec<OsString>>>()?;
    names.sort_unstable();
    Ok(names)
}

/// What a path means if that is a regular file. A file may go between listing and looking.
fn regular_file(path: &Path) -> Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(meta) => Ok(Some(meta).filter(Metadata::is_file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file(path, error)),
    }
}

impl Log {
    /// The log that a live or rotated file belongs to.
    fn of(path: &Path) -> Result<Self> {
        // A link to the live file stands for it; a link to a folder likewise.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let name = path.file_name().unwrap_or_default().as_bytes();
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let folder = fs::canonicalize(folder).map_err(|error| Error::file(folder, error))?;
        Ok(Self {
            folder,
            name: live_name(name).to_vec(),
        })
    }

    /// The path of the live file: the log's own name, however it was given.
    pub fn path(&self) -> PathBuf {
        self.folder.join(OsStr::from_bytes(&self.name))
    }

    /// Names of the files that belong to this log, with what tells them apart.
    fn list(&self) -> Result<Vec<(OsString, (u64, u64))>> {
        let mut members = Vec::new();
        for name in entries(&self.folder)? {
            if live_name(name.as_bytes()) == self.name
                && let Some(meta) = regular_file(&self.folder.join(&name))?
            {
                members.push((name, (meta.dev(), meta.ino())));
            }
        }
        Ok(members)
    }

    /// Opens all files of the log in the order in which they were written.
    pub fn open(&self) -> Result<Opened> {
        let mut members = self.list()?;
        for _ in 0..MAX_TRIES {
            let opened = self.open_members(&members);
            let again = self.list()?;
            if again == members {
                return opened;
            }
            members = again;
        }
        Err(Error::Content {
            path: self.path(),
            message: "is rotated faster than it can be opened; raise server_audit_file_rotate_size"
                .into(),
        })
    }

    fn open_members(&self, members: &[(OsString, (u64, u64))]) -> Result<Opened> {
        let mut opened = Opened::default();
        let (mut files, mut empty) = (Vec::new(), Vec::new());
        for (name, _) in members {
            match LogFile::open(&self.folder.join(name)) {
                Ok(Some(file)) => files.push(file),
                Ok(None) => empty.push(Path::new(name)),
                Err(error) => opened.errors.push(error),
            }
        }
        opened.files = without_copies(in_order(files, &empty, &self.name));
        Ok(opened)
    }
}

/// The name of the live file that a rotated file was renamed from: `log` for `log`, `log.1`,
/// `log.01`, `log.2.gz`, `log-20261122`, `log-20261122-1795374181.zst`.
fn live_name(name: &[u8]) -> &[u8] {
    let plain = without_packing(name);
    let suffix = plain
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.'))
        .count();
    let mut base = &plain[..plain.len() - suffix];
    // The suffix begins with a dot or a dash and a digit: `log.1`, not `log1` or `log.`.
    let rest = &plain[base.len()..];
    match rest
        .windows(2)
        .position(|pair| matches!(pair[0], b'.' | b'-') && pair[1].is_ascii_digit())
    {
        Some(at) if !base.is_empty() || at > 0 => {
            base = &plain[..base.len() + at];
            base
        }
        _ => name,
    }
}

fn without_packing(name: &[u8]) -> &[u8] {
    [&b".gz"[..], b".zst", b".xz"]
        .iter()
        .find_map(|suffix| name.strip_suffix(*suffix))
        .unwrap_or(name)
}

/// Which of several ways of naming a rotated file has, and its age in it.
#[derive(PartialEq, Eq, PartialOrd, Ord, Clone, Debug)]
enum Family {
    /// `.1`, `.2`, … `.10`: the highest is the oldest.
    Numbered,
    /// `.01`, `.001`: padded to so many digits. Another padding is left over from another setting.
    Padded(usize),
    /// `-20261122`, `.2026-11-22`: text order is time order.
    Dated,
    /// `.2.gz` where there is another `.2`: packed by hand, and the plugin no longer renames it.
    Stray,
    Live,
}

/// Oldest first. Within a family the name tells; between families the first record's time does,
/// since a changed `server_audit_file_rotations` leaves files of another padding behind.
fn in_order(files: Vec<LogFile>, empty: &[&Path], live: &[u8]) -> Vec<LogFile> {
    let suffix_of = |path: &Path| -> Vec<u8> {
        let name = path.file_name().unwrap_or_default().as_bytes();
        without_packing(name)[live.len().min(without_packing(name).len())..].to_vec()
    };
    let suffix = |file: &LogFile| suffix_of(&file.path);
    let is_number = |suffix: &[u8]| {
        (2..=10).contains(&suffix.len()) && suffix[1..].iter().all(u8::is_ascii_digit)
    };
    let padded: Vec<usize> = files
        .iter()
        .map(suffix)
        .filter(|suffix| is_number(suffix) && suffix[1] == b'0')
        .map(|suffix| suffix.len())
        .collect();
    let plain: Vec<(Vec<u8>, Beginning)> = files
        .iter()
        .filter(|file| file.packing == Packing::None)
        .map(|file| (suffix(file), file.head.clone()))
        .collect();
    let is_stray = |file: &LogFile| {
        let is_other = |(other, head): &(Vec<u8>, Beginning)| {
            *other == suffix(file) && !is_same_beginning(head, &file.head)
        };
        file.packing != Packing::None
            && (plain.iter().any(is_other) || empty.iter().any(|p| suffix_of(p) == suffix(file)))
    };
    let has_strays = files.iter().any(is_stray);
    let mut families: BTreeMap<Family, Vec<(Vec<u8>, LogFile)>> = BTreeMap::new();
    for file in files {
        let suffix = suffix(&file);
        let family = match suffix.len() {
            0 => Family::Live,
            _ if has_strays && file.packing != Packing::None => Family::Stray,
            // Eight digits are a date.
            9 | 10.. => Family::Dated,
            len if is_number(&suffix) && padded.contains(&len) => Family::Padded(len),
            _ if is_number(&suffix) => Family::Numbered,
            _ => Family::Dated,
        };
        families.entry(family).or_default().push((suffix, file));
    }
    let mut queues = Vec::new();
    for (family, mut members) in families {
        members.sort_by(|(a, a_file), (b, b_file)| match family {
            Family::Stray => a_file.first_time().cmp(&b_file.first_time()),
            Family::Dated | Family::Live => a.cmp(b),
            Family::Numbered | Family::Padded(_) => (b.len(), b).cmp(&(a.len(), a)),
        });
        let mut members: Vec<LogFile> = members.into_iter().map(|(_, file)| file).collect();
        members.reverse();
        queues.push((family, members));
    }
    let mut ordered = Vec::new();
    loop {
        let next = queues
            .iter()
            .enumerate()
            .filter_map(|(at, (family, files))| {
                let file = files.last()?;
                Some(((*family == Family::Live, file.first_time()), at))
            })
            .min();
        match next.and_then(|(_, at)| queues[at].1.pop()) {
            Some(file) => ordered.push(file),
            None => return ordered,
        }
    }
}

/// The same content twice is read once: the copy of copytruncate before the original is truncated,
/// a packed file beside the plain one. The plain one, then the longer one, stays.
fn without_copies(files: Vec<LogFile>) -> Vec<LogFile> {
    let mut kept: Vec<LogFile> = Vec::new();
    for file in files {
        let twin = kept
            .iter_mut()
            .find(|other| is_same_beginning(&other.head, &file.head));
        match twin {
            Some(other) => {
                let rank = |file: &LogFile| (file.packing == Packing::None, file.size);
                if rank(&file) > rank(other) {
                    *other = file;
                }
            }
            None => kept.push(file),
        }
    }
    kept
}

/// Whether one of two beginnings of files is the beginning of the other.
fn is_same_beginning(a: &[u8], b: &[u8]) -> bool {
    let len = a.len().min(b.len());
    a[..len] == b[..len]
}

impl LogFile {
    /// Opens a file. None if it does not hold a complete line yet, or went away meanwhile.
    fn open(path: &Path) -> Result<Option<Self>> {
        let failed = |error| Error::file(path, error);
        // Never wait for a writer, should the name mean a FIFO by now.
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let meta = file.metadata().map_err(failed)?;
        if !meta.is_file() {
            return Ok(None);
        }
        let mut this = Self {
            path: path.to_owned(),
            packing: Packing::None,
            size: meta.len(),
            head: Vec::new().into(),
            file,
        };
        let mut begin = this.begin(DIGEST_BYTES + 1).map_err(failed)?;
        this.packing = Packing::of(&begin);
        if this.packing != Packing::None {
            begin = this
                .begin(DIGEST_BYTES + 1)
                .map_err(|error| this.unpack_error(error))?;
        }
        let head = match reader::complete_lines(&begin) {
            // What has been written does not change, the beginning of a longer line included.
            _ if begin.len() > DIGEST_BYTES => &begin[..DIGEST_BYTES],
            [] => return Ok(None),
            complete => complete,
        };
        this.head = head.to_vec().into();
        Ok(Some(this))
    }

    /// The first bytes (unpacked), at most `len`.
    fn begin(&self, len: usize) -> io::Result<Vec<u8>> {
        let mut begin = vec![0; len];
        if self.packing == Packing::None {
            let read = read_at_most(&self.file, &mut begin, 0)?;
            begin.truncate(read);
            return Ok(begin);
        }
        let mut input = self.packing.unpack(self.file.try_clone()?)?;
        let mut filled = 0;
        while filled < len {
            match input.read(&mut begin[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
        }
        begin.truncate(filled);
        Ok(begin)
    }

    /// What to do about a file that can't be read, or unpacked, to its end.
    pub fn unpack_error(&self, error: io::Error) -> Error {
        match self.packing {
            Packing::None => Error::file(&self.path, error),
            _ => Error::Content {
                path: self.path.clone(),
                message: format!("can't be unpacked: {error}; repair or remove it"),
            },
        }
    }

    /// In which framing the lines near the beginning are audit records; none if none is one.
    ///
    /// # Errors
    /// If the file can't be read or unpacked.
    pub fn framing(&self) -> Result<Option<Framing>> {
        let lines = |bytes: &[u8]| Framing::of(bytes.split(|byte| *byte == b'\n'));
        if let Some(framing) = lines(&self.head) {
            return Ok(Some(framing));
        }
        let begin = self
            .begin(SNIFF)
            .map_err(|error| self.unpack_error(error))?;
        let complete = reader::complete_lines(&begin);
        if complete.is_empty() {
            // One long line, perhaps still being written: its beginning must do.
            return Ok(Head::of(&begin).map(|_| Framing::None));
        }
        Ok(lines(complete))
    }

    /// Whether the file begins with lines of a syslog daemon, of whatever program.
    pub fn is_syslog(&self) -> bool {
        self.head
            .split(|byte| *byte == b'\n')
            .any(|line| Unframer::new(self.written(), None).is_framed(line))
    }

    /// When the file was written last, in UTC seconds.
    pub fn written(&self) -> i64 {
        self.file.metadata().map_or(0, |meta| meta.mtime())
    }

    /// An error that shows how the file begins.
    pub fn not_understood(&self) -> Error {
        let line = self
            .head
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        Error::Content {
            path: self.path.clone(),
            message: format!(
                "is not understood as an audit log of server_audit; it begins with: {}",
                escape(&line[..line.len().min(120)])
            ),
        }
    }

    /// Time of the first record that can be seen near the beginning.
    pub fn first_stamp(&self) -> Option<Stamp> {
        self.head
            .split(|byte| *byte == b'\n')
            .find_map(|line| Head::of(line).map(|head| head.time))
    }

    /// Time of the first record, to order files by; the file's own time where there is none.
    fn first_time(&self) -> i64 {
        self.first_stamp()
            .map(Stamp::seconds)
            .or_else(|| self.file.metadata().ok().map(|meta| meta.mtime()))
            .unwrap_or(0)
    }

    /// Whether nothing was written for longer than a refused login takes to write its records.
    pub fn is_quiet(&self) -> bool {
        let written = self.file.metadata().and_then(|meta| meta.modified());
        written.is_ok_and(|at| {
            at.elapsed()
                .is_ok_and(|age| age.as_secs() > trust::PATIENCE as u64)
        })
    }

    /// The `len` bytes before byte `offset`; none if the file is shorter. Plain files only.
    pub fn before(&self, offset: u64, len: u64) -> Result<Option<Vec<u8>>> {
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0).min(DIGEST_BYTES)];
        let read = read_at_most(&self.file, &mut bytes, offset.saturating_sub(len))
            .map_err(|error| Error::file(&self.path, error))?;
        Ok((read as u64 == len).then_some(bytes))
    }

    /// Lines of this file from byte `offset` (unpacked) on.
    pub fn lines(&self, offset: u64) -> Result<reader::Lines> {
        let failed = |error| self.unpack_error(error);
        let file = self.file.try_clone().map_err(failed)?;
        if self.packing == Packing::None {
            return Ok(reader::Lines::of_file(file.into(), offset));
        }
        let input = self.packing.unpack(file).map_err(failed)?;
        Ok(reader::Lines::new(input, 0, true))
    }

    /// Whether a plain file still is what it was when it was opened, up to byte `offset`: logrotate
    /// with copytruncate may have emptied it while it was read.
    pub fn is_unchanged(&self, offset: u64) -> Result<bool> {
        if self.packing != Packing::None {
            return Ok(true);
        }
        let failed = |error| Error::file(&self.path, error);
        if self.file.metadata().map_err(failed)?.len() < offset {
            return Ok(false);
        }
        let mut head = vec![0; self.head.len()];
        let read = read_at_most(&self.file, &mut head, 0).map_err(failed)?;
        Ok(read == self.head.len() && head == *self.head)
    }

    /// The first bytes up to byte `offset`, at most [`DIGEST_BYTES`], of a plain file; of a packed
    /// one as they were read when it was opened.
    pub fn head_up_to(&self, offset: u64) -> Result<Vec<u8>> {
        let len = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(DIGEST_BYTES);
        if self.head.len() >= len || self.packing != Packing::None {
            return Ok(self.head[..len.min(self.head.len())].to_vec());
        }
        let mut head = vec![0; len];
        let read = read_at_most(&self.file, &mut head, 0)
            .map_err(|error| Error::file(&self.path, error))?;
        head.truncate(read);
        Ok(head)
    }
}

/// Fills `buffer` with what stands from byte `offset` on; how many bytes there were.
pub(crate) fn read_at_most(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
