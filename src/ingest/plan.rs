//! Where a pass goes on in each file of a log.

use std::collections::HashMap;
use std::path::PathBuf;

use super::{Setback, Settings, shown};
use crate::audit_log::reader::{Lines, Packing};
use crate::audit_log::source::LogFile;
use crate::audit_log::syslog::Framing;
use crate::audit_log::timestamp::Clock;
use crate::checkpoint::{Checkpoint, DIGEST_BYTES, Digest, FileMark};
use crate::error::{Error, Result};
use crate::time::{Span, UtcSeconds};

/// The checkpoint to go on from: the one that got furthest in these files. That need not be the one
/// of this path: the log may have been moved, there and back, or be called by another name.
/// Two servers on one host are told apart by the name that they were given.
pub(super) fn furthest(
    checkpoints: Vec<(String, Checkpoint)>,
    source: &str,
    files: &[LogFile],
    settings: &Settings,
) -> Checkpoint {
    let is_of_server = |found: &Checkpoint| {
        let named = settings.server_name.as_ref();
        named.is_none_or(|name| found.server.0 == name.as_bytes())
    };
    // For each file, the newest first.
    let progress = |found: &Checkpoint| -> Vec<Option<u64>> {
        let reached = |file: &LogFile| {
            let marks = found.files.iter().filter(|mark| mark.is_of(&file.head));
            marks.map(|mark| mark.offset).max()
        };
        files.iter().rev().map(reached).collect()
    };
    let mut same: Vec<_> = checkpoints
        .into_iter()
        .filter(|(name, found)| name == source || is_of_server(found))
        .map(|(name, found)| ((progress(&found), found.steps, name == source), found))
        // Nothing in common: not the same log, unless its path says so.
        .filter(|((progress, _, own), _)| *own || progress.iter().any(Option::is_some))
        .collect();
    same.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut furthest = same.pop().map(|(_, found)| found).unwrap_or_default();
    // Of a part of the log that was read elsewhere, it does not know the rest.
    let mut marks = Vec::new();
    for (_, found) in same {
        let is_new = |mark: &FileMark| furthest.files.iter().all(|known| known.head != mark.head);
        marks.extend(found.files.into_iter().filter(is_new));
    }
    marks.append(&mut furthest.files);
    furthest.files = marks;
    furthest
}

/// Where to go on in each file.
pub(super) struct Plan {
    pub(super) files: Vec<LogFile>,
    /// How far each was read, if it was.
    pub(super) marks: Vec<Option<FileMark>>,
    /// Where to read on; none where there is nothing new.
    pub(super) start: Vec<Option<u64>>,
    /// The file was changed before its mark: there is no telling what in it is new, so it is read
    /// over, and a gap recorded.
    pub(super) skip: Vec<bool>,
    pub(super) rewritten: bool,
    /// Which file the marks of the last run belong to, by their path then.
    pub(super) numbers: HashMap<String, usize>,
    /// Numbers of the marks of the last run whose file was found.
    pub(super) found: Vec<usize>,
    /// The framing of files that do not show it by themselves.
    pub(super) framing: Option<Framing>,
}

impl Plan {
    pub(super) fn new(
        known: &Checkpoint,
        files: Vec<LogFile>,
        errors: &mut Vec<Error>,
    ) -> Result<Self> {
        let mut plan = Self {
            files: Vec::new(),
            marks: Vec::new(),
            start: Vec::new(),
            skip: Vec::new(),
            rewritten: false,
            numbers: HashMap::new(),
            found: Vec::new(),
            framing: None,
        };
        plan.framing = files.iter().find_map(|file| file.framing().ok().flatten());
        for file in files {
            let candidates = known
                .files
                .iter()
                .enumerate()
                .filter(|(_, mark)| mark.is_of(&file.head));
            let best = candidates.max_by_key(|(_, mark)| mark.offset);
            let Some((number, mark)) = best else {
                match file.framing() {
                    Ok(Some(_)) => plan.add(file, None, Some(0), false),
                    Ok(None) if plan.may_show_later(&file) => {
                        plan.add(file, None, Some(0), false);
                    }
                    Ok(None) => errors.push(file.not_understood()),
                    Err(error) => errors.push(error),
                }
                continue;
            };
            plan.found.push(number);
            plan.numbers.insert(mark.path.clone(), plan.files.len());
            let was_at = mark.path.clone();
            let mut mark = FileMark {
                path: shown(&file.path),
                ..mark.clone()
            };
            let (start, skip) = if file.packing != Packing::None {
                let at_end = mark.packed == Some(file.size);
                ((!at_end).then_some(mark.offset), false)
            } else if file.size < mark.offset && was_at == mark.path {
                // The file that was read has lost its end, in a crash or to a snapshot. What is in it
                // now was not all there then, and there is no telling what.
                (Some(0), true)
            } else if file.size < mark.offset {
                // A copy that was made before we read the rest of the original, which stood elsewhere.
                mark.path = was_at;
                (None, false)
            } else {
                let before = file.before(mark.offset, mark.tail.len)?;
                let same = before.is_some_and(|before| Digest::of(&before) == mark.tail);
                (
                    Some(mark.offset).filter(|offset| !same || file.size > *offset),
                    !same,
                )
            };
            plan.rewritten |= skip;
            plan.add(file, Some(mark), start, skip);
        }
        Ok(plan)
    }

    fn add(&mut self, file: LogFile, mark: Option<FileMark>, start: Option<u64>, skip: bool) {
        self.files.push(file);
        self.marks.push(mark);
        self.start.push(start);
        self.skip.push(skip);
    }

    /// Reads nothing of files that turned out to be damaged, so that they are read from where they
    /// were left once they are restored.
    pub(super) fn leave_out(&mut self, damaged: &[(PathBuf, Error)]) {
        for (file, start) in self.files.iter().zip(&mut self.start) {
            if damaged.iter().any(|(path, _)| *path == file.path) {
                *start = None;
            }
        }
    }

    /// Whether a file without a record may be one of this log all the same: behind a rotation there
    /// may be nothing yet but a name with line breaks, and a syslog may begin with many lines of
    /// other programs.
    fn may_show_later(&mut self, file: &LogFile) -> bool {
        if self.framing.is_none() && file.is_syslog() {
            self.framing = Some(Framing::Syslog);
        }
        match self.framing {
            Some(Framing::None) => file.first_stamp().is_some(),
            Some(Framing::Syslog) => true,
            None => false,
        }
    }

    /// Reads no more of a packed file that no longer holds what was read of it.
    pub(super) fn give_up(&mut self, at: usize) {
        if let Some(mark) = &mut self.marks[at] {
            mark.packed = Some(self.files[at].size);
        }
    }

    pub(super) fn number_of(&self, path: &str) -> Option<usize> {
        self.numbers.get(path).copied()
    }

    /// Rotation was faster than we: what the file held behind our mark is lost.
    pub(super) fn reading_file_is_gone(&self, known: &Checkpoint) -> bool {
        let last = known.files.len();
        last > 0 && !self.found.contains(&(last - 1))
    }

    /// A time that the log reaches, known before it is read: what was logged long before it is told by
    /// the day at once. No clock that is ahead of ours is right.
    pub(super) fn newest(&self, clock: &mut Clock) -> Option<UtcSeconds> {
        let first = self.files.last()?.first_stamp()?;
        Some(clock.peek(first).min(UtcSeconds::now()))
    }

    /// The time that the rotated files hold, from the first record to the last known one.
    pub(super) fn history(&self, clock: &mut Clock) -> Option<Span> {
        let first = self
            .files
            .first()
            .filter(|_| self.files.len() > 1)?
            .first_stamp()?;
        let last = self.files.last()?.first_stamp()?;
        Some(Span(clock.peek(last).0 - clock.peek(first).0)).filter(|span| span.0 > 0)
    }

    pub(super) fn bytes_to_read(&self) -> u64 {
        self.files
            .iter()
            .zip(&self.start)
            .filter_map(|(file, start)| start.map(|start| file.size.saturating_sub(start)))
            .sum()
    }

    /// Marks of the files that are there; if some can't be opened now, theirs are kept as well.
    pub(super) fn marks_of(&self, known: &Checkpoint, errors: &[Error]) -> Vec<FileMark> {
        let mut marks = Vec::new();
        if !errors.is_empty() {
            let known = known.files.iter().enumerate();
            let gone = known.filter(|(number, _)| !self.found.contains(number));
            marks.extend(gone.map(|(_, mark)| mark.clone()));
        }
        marks.extend(self.marks.iter().flatten().cloned());
        marks
    }

    /// Notes how far file number `at` has been read.
    pub(super) fn advance(
        &mut self,
        at: usize,
        lines: &Lines,
        at_end: bool,
    ) -> Result<(), Setback> {
        let file = &self.files[at];
        let offset = lines.offset();
        if offset == 0 {
            return Ok(());
        }
        if !file.is_unchanged(offset)? {
            return Err(Setback::Again);
        }
        let tail = lines.tail().to_vec();
        let tail = if (tail.len() as u64) < offset.min(DIGEST_BYTES as u64)
            && file.packing == Packing::None
        {
            let len = offset.min(DIGEST_BYTES as u64);
            file.before(offset, len)?.unwrap_or(tail)
        } else {
            tail
        };
        let head = file.head_up_to(offset)?;
        let first = head.split_inclusive(|byte| *byte == b'\n').next();
        self.marks[at] = Some(FileMark {
            head: Digest::of(&head),
            first: Digest::of(first.unwrap_or_default()),
            offset,
            tail: Digest::of(&tail),
            packed: (at_end && file.packing != Packing::None).then_some(file.size),
            path: shown(&file.path),
        });
        Ok(())
    }
}

/// What a packed file holds behind its mark.
pub(super) enum Rest {
    Lines(Lines),
    /// It ends before: a copy that was made, or is being made, of a part.
    Shorter,
    /// It no longer holds what was read of it before.
    Rewritten,
}

/// Lines from `from` on.
pub(super) fn open_lines(file: &LogFile, from: u64, mark: Option<&FileMark>) -> Result<Rest> {
    let mut lines = file.lines(from)?;
    if file.packing == Packing::None || from == 0 {
        return Ok(Rest::Lines(lines));
    }
    let reached = lines
        .skip_to(from)
        .map_err(|error| Error::file(&file.path, error))?;
    let tail = lines.tail();
    let same = mark.is_some_and(|mark| {
        usize::try_from(mark.tail.len)
            .ok()
            .and_then(|len| tail.len().checked_sub(len))
            .is_some_and(|skip| Digest::of(&tail[skip..]) == mark.tail)
    });
    Ok(match (reached, same) {
        (true, true) => Rest::Lines(lines),
        (false, _) => Rest::Shorter,
        (true, false) => Rest::Rewritten,
    })
}
