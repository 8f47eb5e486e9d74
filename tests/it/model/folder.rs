//! The folder of a log, as the plugin, logrotate and administrators treat it, and what is known of
//! each file in it: which records it holds, and which of them some run has read.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::server::{Event, Figures, What};

/// The live file's name.
pub(crate) const LIVE: &str = "server_audit.log";

/// A file: its name behind [`LIVE`], and the records that stand in it, by their numbers.
#[derive(Clone, Debug)]
struct Member {
    suffix: String,
    records: Vec<usize>,
}

/// Which file the server writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Live,
    /// The newest rotated one: it was renamed while open.
    Renamed,
}

/// What got lost unread.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Loss {
    /// Records that no run has read are gone, although a run came before.
    pub(crate) certain: bool,
    /// A file is gone of which nobody can tell whether all of it was read.
    pub(crate) possible: bool,
}

/// The log's folder.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// All but the live one, oldest first.
    rotated: Vec<Member>,
    live: Option<Vec<usize>>,
    file: File,
    target: Target,
    /// The rest of a record of which only the beginning has been written, and its number.
    rest: Option<(usize, Vec<u8>)>,
    told: Vec<What>,
    read: BTreeSet<usize>,
    /// How many files the plugin keeps beside the live one.
    rotations: usize,
    pub(crate) loss: Loss,
}

impl Folder {
    /// An empty log, beside files that are none.
    pub(crate) fn new(path: PathBuf, rotations: usize) -> Self {
        fs::create_dir(&path).unwrap();
        fs::write(path.join("ibdata1"), [0, 1, 2, 0xff].repeat(1_000)).unwrap();
        fs::write(
            path.join("slow.log"),
            "# Time: 261122 19:04:51\nSELECT 1;\n",
        )
        .unwrap();
        let file = open(&path.join(LIVE));
        Self {
            path,
            rotated: Vec::new(),
            live: Some(Vec::new()),
            file,
            target: Target::Live,
            rest: None,
            told: Vec::new(),
            read: BTreeSet::new(),
            rotations,
            loss: Loss::default(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What all records say that some run has read, in the order in which they were written.
    pub(crate) fn figures(&self) -> Figures {
        let mut figures = Figures::default();
        for number in &self.read {
            figures.add(&self.told[*number]);
        }
        figures
    }

    /// Whether every record was read.
    pub(crate) fn is_read(&self) -> bool {
        self.read.len() == self.told.len()
    }

    /// Whether a complete record stands anywhere.
    pub(crate) fn has_records(&self) -> bool {
        self.rotated.iter().any(|member| !member.records.is_empty())
            || self.live.as_ref().is_some_and(|live| !live.is_empty())
    }

    /// A run has come to its end: what stood there when it began was read.
    pub(crate) fn was_read(&mut self) {
        let rotated = self.rotated.iter().flat_map(|member| &member.records);
        self.read.extend(rotated.chain(self.live.iter().flatten()));
    }

    // --- Writing.

    /// Writes complete records, with one call.
    pub(crate) fn write(&mut self, events: Vec<Event>) {
        self.complete();
        let mut lines = Vec::new();
        for event in events {
            lines.extend(event.line);
            let number = self.tell(event.what);
            self.records().push(number);
        }
        self.file.write_all(&lines).unwrap();
    }

    /// Writes the first `len` bytes of a record. The rest follows before anything else.
    pub(crate) fn write_beginning(&mut self, event: Event, len: usize) {
        self.complete();
        let (beginning, rest) = event.line.split_at(len);
        self.file.write_all(beginning).unwrap();
        let number = self.tell(event.what);
        self.rest = Some((number, rest.to_vec()));
    }

    /// Writes the rest of what has only a beginning.
    pub(crate) fn complete(&mut self) {
        if let Some((number, rest)) = self.rest.take() {
            self.file.write_all(&rest).unwrap();
            self.records().push(number);
        }
    }

    /// Whether the file that was written last ends at the end of a page: there a record could be
    /// torn, so the last lines are not believed yet.
    pub(crate) fn ends_at_page(&self) -> bool {
        self.file.metadata().unwrap().len().is_multiple_of(4_096)
    }

    fn tell(&mut self, what: What) -> usize {
        self.told.push(what);
        self.told.len() - 1
    }

    fn records(&mut self) -> &mut Vec<usize> {
        match self.target {
            Target::Live => self.live.get_or_insert_default(),
            Target::Renamed => &mut self.rotated.last_mut().unwrap().records,
        }
    }

    // --- Rotation by the plugin.

    /// Whether the next rotation by the plugin only drops what may go; see [`Self::may_go`].
    pub(crate) fn rotation_is_harmless(&self) -> bool {
        self.rotated
            .iter()
            .position(|member| member.suffix == self.suffix(self.rotations))
            .is_none_or(|dropped| self.may_go(dropped))
    }

    /// A chain of renames, highest first; the last one falls out.
    pub(crate) fn rotate(&mut self) {
        self.complete();
        if self.target == Target::Renamed {
            // The plugin's idea of its file: it closes the renamed one, and rotates the live one
            // if there is one.
            self.reopen();
        }
        for number in (1..self.rotations).rev() {
            self.rename(&self.suffix(number), &self.suffix(number + 1));
        }
        if self.rotations == 1 {
            self.forget(&self.suffix(1));
        }
        self.archive_live(self.suffix(1));
        self.reopen();
    }

    /// Another `server_audit_file_rotations`: another padding. Files of the old one stay.
    pub(crate) fn set_rotations(&mut self, rotations: usize) {
        self.rotations = rotations;
    }

    pub(crate) fn rotations(&self) -> usize {
        self.rotations
    }

    fn suffix(&self, number: usize) -> String {
        let width = self.rotations.to_string().len();
        format!(".{number:0width$}")
    }

    // --- Rotation by logrotate.

    /// Renames the live file, while the server goes on writing to it. `dated`: with this in the
    /// name, else as number 1 of a chain.
    pub(crate) fn rename_live(&mut self, dated: Option<&str>) -> bool {
        if self.target == Target::Renamed || self.live.as_ref().is_none_or(Vec::is_empty) {
            return false;
        }
        let Some(suffix) = self.make_place(dated) else {
            return false;
        };
        self.archive_live(suffix);
        self.target = Target::Renamed;
        true
    }

    /// logrotate's `create`: an empty file that nobody writes to.
    pub(crate) fn create_live(&mut self) {
        if self.live.is_none() {
            File::create_new(self.live_path()).unwrap();
            self.live = Some(Vec::new());
        }
    }

    /// The server writes to a file with the live file's name again.
    pub(crate) fn reopen(&mut self) {
        self.complete();
        self.file = open(&self.live_path());
        self.live.get_or_insert_default();
        self.target = Target::Live;
    }

    /// The first step of copytruncate: the first bytes of the copy. Some of it is there when the
    /// program looks.
    pub(crate) fn copy_live(&mut self, dated: Option<&str>, share: f64) -> Option<PathBuf> {
        self.complete();
        if self.target == Target::Renamed || self.live.as_ref().is_none_or(Vec::is_empty) {
            return None;
        }
        let suffix = self.make_place(dated)?;
        let copy = self.path.join(format!("{LIVE}{suffix}"));
        let content = fs::read(self.live_path()).unwrap();
        fs::write(&copy, &content[..(content.len() as f64 * share) as usize]).unwrap();
        let records = self.live.clone().unwrap_or_default();
        self.rotated.push(Member { suffix, records });
        Some(copy)
    }

    /// The copy is complete.
    pub(crate) fn finish_copy(&self, copy: &Path) {
        fs::copy(self.live_path(), copy).unwrap();
    }

    /// The last step: what was copied is emptied.
    pub(crate) fn truncate(&mut self) {
        self.file.set_len(0).unwrap();
        self.live = Some(Vec::new());
    }

    /// A name for the newest rotated file; none if it is taken.
    fn make_place(&mut self, dated: Option<&str>) -> Option<String> {
        if let Some(date) = dated {
            let suffix = format!("-{date}");
            return (!self.has(&suffix) && !self.has(&format!("{suffix}.gz"))).then_some(suffix);
        }
        let highest = (1..)
            .find(|number| !self.has(&format!(".{number}")) && !self.has(&format!(".{number}.gz")));
        for number in (1..highest.unwrap_or(1)).rev() {
            for packing in ["", ".gz"] {
                let (from, to) = (number, number + 1);
                self.rename(&format!(".{from}{packing}"), &format!(".{to}{packing}"));
            }
        }
        Some(".1".into())
    }

    // --- Other things that happen to files.

    /// Rotated files that nobody writes to and that are not packed yet.
    pub(crate) fn packable(&self) -> Vec<String> {
        let still_written = usize::from(self.target == Target::Renamed);
        let closed = self.rotated.len().saturating_sub(still_written);
        self.rotated[..closed]
            .iter()
            .map(|member| member.suffix.clone())
            .filter(|suffix| !suffix.ends_with(".gz") && !self.has(&format!("{suffix}.gz")))
            .collect()
    }

    /// gzip at work: the packed file, of which `share` is written, beside the plain one.
    pub(crate) fn begin_packing(&self, suffix: &str, share: f64) {
        let plain = self.path.join(format!("{LIVE}{suffix}"));
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(&fs::read(&plain).unwrap()).unwrap();
        let packed = packer.finish().unwrap();
        let len = (packed.len() as f64 * share) as usize;
        fs::write(self.path.join(format!("{LIVE}{suffix}.gz")), &packed[..len]).unwrap();
    }

    /// gzip has come to its end.
    pub(crate) fn end_packing(&mut self, suffix: &str) {
        self.begin_packing(suffix, 1.0);
        fs::remove_file(self.path.join(format!("{LIVE}{suffix}"))).unwrap();
        for member in &mut self.rotated {
            if member.suffix == suffix {
                member.suffix += ".gz";
            }
        }
    }

    /// Deletes the oldest file if it may go.
    pub(crate) fn delete_oldest(&mut self) -> bool {
        let harmless = !self.rotated.is_empty() && self.may_go(0);
        if harmless {
            let oldest = self.rotated[0].suffix.clone();
            self.forget(&oldest);
            fs::remove_file(self.path.join(format!("{LIVE}{oldest}"))).unwrap();
        }
        harmless
    }

    /// Moves the whole folder.
    pub(crate) fn move_to(&mut self, path: PathBuf) {
        fs::rename(&self.path, &path).unwrap();
        self.path = path;
    }

    /// Names and sizes of the files.
    pub(crate) fn listing(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&self.path)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let size = entry.metadata().unwrap().len();
                format!("{size:>9} {}", entry.file_name().display())
            })
            .collect();
        names.sort_by_key(|line| line.get(10..).map(str::to_owned));
        names
    }

    /// Whether a rotated file is known to have been read to its end: all of it was read, and so was
    /// something newer, so that the server no longer writes to it.
    fn may_go(&self, number: usize) -> bool {
        let read = |records: &Vec<usize>| records.iter().any(|record| self.read.contains(record));
        let newer = self.rotated[number + 1..]
            .iter()
            .map(|member| &member.records)
            .chain(&self.live);
        self.rotated[number]
            .records
            .iter()
            .all(|record| self.read.contains(record))
            && newer.into_iter().any(read)
    }

    fn archive_live(&mut self, suffix: String) {
        if let Some(records) = self.live.take() {
            fs::rename(self.live_path(), self.path.join(format!("{LIVE}{suffix}"))).unwrap();
            self.rotated.push(Member { suffix, records });
        }
    }

    /// Renames a rotated file, if it is there, over another, if that one is there.
    fn rename(&mut self, from: &str, to: &str) {
        if !self.has(from) {
            return;
        }
        self.forget(to);
        let path = |suffix: &str| self.path.join(format!("{LIVE}{suffix}"));
        fs::rename(path(from), path(to)).unwrap();
        for member in &mut self.rotated {
            if member.suffix == from {
                to.clone_into(&mut member.suffix);
            }
        }
    }

    fn has(&self, suffix: &str) -> bool {
        self.rotated.iter().any(|member| member.suffix == suffix)
    }

    /// A file is about to be gone.
    fn forget(&mut self, suffix: &str) {
        let Some(number) = self.rotated.iter().position(|m| m.suffix == suffix) else {
            return;
        };
        if !self.may_go(number) && !self.read.is_empty() {
            let unread = |record: &usize| !self.read.contains(record);
            self.loss.certain |= self.rotated[number].records.iter().any(unread);
            self.loss.possible = true;
        }
        self.rotated.remove(number);
    }

    fn live_path(&self) -> PathBuf {
        self.path.join(LIVE)
    }
}

/// As the plugin opens its file.
fn open(path: &Path) -> File {
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap()
}
