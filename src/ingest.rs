//! One pass: what is new in a log goes into one store.
//!
//! Each store has its own checkpoints, so each is fed by a pass of its own: one that was down
//! catches up by itself. A pass writes nothing but whole batches with their checkpoint; whatever
//! comes in between (a kill, another run, a log emptied while it is read), the work is looked at
//! anew from what the store holds.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::audit_log::reader::{Lines, Packing};
use crate::audit_log::session::{Connections, Gap, Malformed, Session};
use crate::audit_log::source::{Log, LogFile, Opened};
use crate::audit_log::syslog::{Framing, Unframer};
use crate::audit_log::timestamp::Clock;
use crate::audit_log::trust::{Place, Trust};
use crate::checkpoint::{Checkpoint, DIGEST_BYTES, Digest, FileMark};
use crate::error::{Error, Result};
use crate::name::{Name, escape};
use crate::store::activity::end_of_time;
use crate::store::{Commit, Retention, Store};
use crate::tally::Tally;
use crate::time::{Span, UtcSeconds, Zone};

/// How often a pass begins anew before it gives up.
const MAX_TRIES: usize = 100;

/// A write to the file becomes visible page by page: only at such an offset can a complete line be
/// the first part of a record that is just being written. Page size of the common architectures.
const PAGE: u64 = 4_096;

/// Why time is missing where a file no longer holds what it held when it was read last.
const REWRITTEN: &str = "a file was changed before the place reached";

/// What a pass needs to know beside the log and the store.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The zone of the server's clock.
    pub zone: Zone,
    /// What to call the server; none: as the log says.
    pub server_name: Option<String>,
    /// How long activity is kept.
    pub retention: Retention,
}

/// What a pass has to tell.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Lines that were not understood.
    pub malformed: Malformed,
    /// Spans of time that are missing.
    pub gaps: Vec<Gap>,
    /// How much time the rotated files hold, if a gap came from rotation, in seconds.
    pub history: Option<Span>,
    /// How many records were not believed.
    pub doubtful: u64,
    /// How many were.
    pub records: u64,
    /// What could not be read; the rest was.
    pub errors: Vec<Error>,
}

impl Outcome {
    /// Takes over what a session has to tell, once its figures are in the store: an attempt that
    /// begins anew would tell it again.
    fn absorb(&mut self, session: &mut Session<'_>) {
        self.gaps.append(&mut session.gaps);
        self.records += std::mem::take(&mut session.records);
        self.doubtful += std::mem::take(&mut session.tally.doubtful_count);
        let malformed = std::mem::take(&mut session.malformed);
        self.malformed.count += malformed.count;
        self.malformed.first.extend(malformed.first);
        self.malformed.first.truncate(3);
    }
}

/// Why an attempt ended without an answer.
enum Setback {
    /// Another run wrote first, or the log changed under us. Try again.
    Again,
    Failed(Error),
}

impl From<Error> for Setback {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Reads what is new in `log` into `store`. `progress` is told the bytes read and to be read.
///
/// # Errors
/// If the store or the whole log can't be read or written. A single file that can't be read is in
/// [`Outcome::errors`]. What was committed before stays; the next pass goes on there.
pub fn ingest(
    log: &Log,
    settings: &Settings,
    store: &mut dyn Store,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut damaged = Vec::new();
    for _ in 0..MAX_TRIES {
        outcome.errors.clear();
        match attempt(log, settings, store, progress, &mut damaged, &mut outcome) {
            Ok(()) => {
                outcome
                    .errors
                    .extend(damaged.into_iter().map(|(_, error)| error));
                return Ok(outcome);
            }
            Err(Setback::Again) => {}
            Err(Setback::Failed(error)) => return Err(error),
        }
    }
    Err(Error::Content {
        path: log.path(),
        message:
            "kept changing while it was read, or other runs kept coming first; is the program \
                  started too often, or logrotate?"
                .into(),
    })
}

fn attempt(
    log: &Log,
    settings: &Settings,
    store: &mut dyn Store,
    progress: &mut dyn FnMut(u64, u64),
    damaged: &mut Vec<(PathBuf, Error)>,
    outcome: &mut Outcome,
) -> Result<(), Setback> {
    let source = log.path().to_string_lossy().into_owned();
    let checkpoints = store.checkpoints()?;
    let Opened { files, errors } = log.open()?;
    let complete = errors.is_empty();
    outcome.errors.extend(errors);

    let own = checkpoints
        .iter()
        .find(|(name, _)| *name == source)
        .map(|(_, found)| found.clone());
    let known = furthest(checkpoints, &source, &files, settings);
    let mut plan = Plan::new(&known, files, &mut outcome.errors)?;
    plan.leave_out(damaged);

    let mut clock = Clock::new(settings.zone, known.clock);
    let mut tally = Tally::new(settings.retention, plan.newest(&mut clock));
    let mut session = Session {
        clock,
        connections: known.connections.clone(),
        tally: &mut tally,
        files: plan.files.iter().map(|file| shown(&file.path)).collect(),
        malformed: Malformed::default(),
        gaps: Vec::new(),
        records: 0,
        latest: end_of_time(UtcSeconds::now()),
    };
    if complete && plan.reading_file_is_gone(&known) && session.connections.gap.is_none() {
        let why = "the file that was being read was rotated away before its end was read";
        session.connections.gap = Some(why.into());
        outcome.history = plan.history(&mut session.clock.clone(), &known);
    }
    if plan.rewritten && session.connections.gap.is_none() {
        session.connections.gap = Some(REWRITTEN.into());
    }

    let mut pass = Pass {
        source,
        own,
        known,
        settings,
        store,
        outcome,
    };
    let mut number_of = |path: &str| {
        plan.number_of(path).unwrap_or_else(|| {
            session.files.push(path.to_owned());
            session.files.len() - 1
        })
    };
    let mut aside = pass.known.aside.clone();
    for aside in &mut aside {
        aside.number = number_of(&aside.file);
    }
    let pending: Vec<_> = (pass.known.pending.clone())
        .into_iter()
        .map(|pending| (number_of(&pending.file), pending))
        .collect();
    let mut trust = Trust::new(pass.known.serverhost.clone(), aside).in_zone(settings.zone);
    for (file, pending) in pending {
        let place = Place {
            file,
            offset: pending.offset,
        };
        trust.resume(pending, place);
    }

    let total = plan.bytes_to_read();
    let mut done = 0;
    let mut in_flight = false;
    // Why what stands directly before the next file was not read.
    let mut unread = None;
    for at in 0..plan.files.len() {
        // Told when it is stepped over, not again with each run.
        if let (Some(why), None) = (unread.take(), &plan.marks[at]) {
            session.connections.gap.get_or_insert(why);
        }
        let Some(from) = plan.start[at] else {
            let is_damaged = |(path, _): &(PathBuf, Error)| *path == plan.files[at].path;
            unread = (damaged.iter().any(is_damaged)).then(|| unreadable(&plan.files[at]));
            continue;
        };
        let framing = match plan.files[at].framing() {
            Ok(framing) => framing.or(plan.framing),
            Err(error) => {
                pass.outcome.errors.push(error);
                unread = Some(unreadable(&plan.files[at]));
                continue;
            }
        };
        let mut unframer = (framing == Some(Framing::Syslog))
            .then(|| Unframer::new(plan.files[at].written(), pass.known.clock.map(|at| at.0)));
        let opened = open_lines(&plan.files[at], from, plan.marks[at].as_ref());
        let mut lines = match opened {
            Ok(Rest::Lines(lines)) => lines,
            Ok(Rest::Shorter) => {
                plan.give_up(at);
                continue;
            }
            Ok(Rest::Rewritten) => {
                plan.give_up(at);
                session
                    .connections
                    .gap
                    .get_or_insert_with(|| REWRITTEN.into());
                continue;
            }
            Err(error) => {
                pass.outcome.errors.push(error);
                unread = Some(unreadable(&plan.files[at]));
                continue;
            }
        };
        let mut reported = from;
        loop {
            let line = match lines.next_line() {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) if plan.files[at].packing != Packing::None => {
                    // Only at its end does it show whether what was unpacked is what was packed.
                    let error = plan.files[at].unpack_error(error);
                    damaged.push((plan.files[at].path.clone(), error));
                    return Err(Setback::Again);
                }
                Err(error) => {
                    pass.outcome
                        .errors
                        .push(Error::file(&plan.files[at].path, error));
                    unread = Some(unreadable(&plan.files[at]));
                    break;
                }
            };
            let place = Place {
                file: at,
                offset: line.offset,
            };
            if plan.skip[at] {
                continue;
            }
            match &mut unframer {
                None => trust.push(line.text, place, &mut session),
                Some(unframer) => {
                    if let Some(text) = unframer.unframe(line.text) {
                        trust.push(&text, place, &mut session);
                    }
                }
            }
            if place.offset - reported > (1 << 20) {
                done += place.offset - reported;
                reported = place.offset;
                progress(done, total);
            }
            if session.tally.is_full() {
                plan.advance(at, &lines, false)?;
                pass.commit(plan.marks_of(&pass), &trust, &mut session)?;
            }
        }
        if lines.offset() > from {
            let end = lines.read_to();
            let plain = plan.files[at].packing == Packing::None;
            in_flight = lines.is_unfinished() || plain && end.is_multiple_of(PAGE);
        }
        if lines.is_cut_off() {
            pass.outcome.errors.push(Error::Content {
                path: plan.files[at].path.clone(),
                message: "is cut off; it is read on when it is whole".into(),
            });
            unread = Some(unreadable(&plan.files[at]));
        }
        plan.advance(at, &lines, true)?;
    }

    let quiet = plan.files.last().is_none_or(LogFile::is_quiet);
    trust.finish(in_flight, quiet, &mut session);
    pass.commit(plan.marks_of(&pass), &trust, &mut session)
}

/// Reads a stream to its end into `store`. There is no place to go on from next time: what is
/// passed twice counts twice.
///
/// # Errors
/// If the stream can't be read or is no audit log, or the store can't be written. What was committed
/// before stays.
pub fn ingest_stream(
    input: Box<dyn Read>,
    settings: &Settings,
    store: &mut dyn Store,
) -> Result<Outcome> {
    const NAME: &str = "standard input";
    let failed = |error| Error::file(Path::new(NAME), error);
    let mut outcome = Outcome::default();
    let mut tally = Tally::new(settings.retention, None);
    let mut session = Session {
        clock: Clock::new(settings.zone, None),
        connections: Connections::default(),
        tally: &mut tally,
        files: vec![NAME.into()],
        malformed: Malformed::default(),
        gaps: Vec::new(),
        records: 0,
        latest: end_of_time(UtcSeconds::now()),
    };
    let mut trust = Trust::new(None, Vec::new()).in_zone(settings.zone);
    let mut lines = Lines::new(input, 0, false);
    let mut unframer = Unframer::new(UtcSeconds::now().0, None);
    let mut framing = None;
    let mut first: Option<Vec<u8>> = None;
    while let Some(line) = lines.next_line().map_err(failed)? {
        let place = Place {
            file: 0,
            offset: line.offset,
        };
        framing = framing.or_else(|| Framing::of(std::iter::once(line.text)));
        match framing {
            None => {
                first.get_or_insert_with(|| line.text[..line.text.len().min(120)].to_vec());
            }
            Some(Framing::None) => trust.push(line.text, place, &mut session),
            Some(Framing::Syslog) => {
                if let Some(text) = unframer.unframe(line.text) {
                    trust.push(&text, place, &mut session);
                }
            }
        }
        if session.tally.is_full() {
            commit_stream(&trust, &mut session, settings, store, &mut outcome)?;
        }
    }
    if let (None, Some(first)) = (framing, first) {
        return Err(Error::Content {
            path: NAME.into(),
            message: format!(
                "is not understood as an audit log; it begins with: {}",
                escape(&first)
            ),
        });
    }
    if lines.is_unfinished() {
        session.malformed.count += 1;
        session.malformed.first.push((
            NAME.into(),
            lines.offset(),
            b"(an unfinished line)".to_vec(),
        ));
    }
    trust.finish(false, true, &mut session);
    commit_stream(&trust, &mut session, settings, store, &mut outcome)?;
    Ok(outcome)
}

/// Commits figures of a stream. The checkpoint holds no place, only that something was written.
fn commit_stream(
    trust: &Trust,
    session: &mut Session<'_>,
    settings: &Settings,
    store: &mut dyn Store,
    outcome: &mut Outcome,
) -> Result<()> {
    let named = settings.server_name.as_deref().map(Name::from);
    let server = named
        .or_else(|| trust.first_serverhost().cloned())
        .unwrap_or_default();
    let mut batch = session.tally.take(&server);
    // Whatever stood before it, this stream did not hold it.
    if let Some(first) = batch.coverage.first_mut().filter(|_| outcome.records == 0) {
        first
            .gap
            .get_or_insert_with(|| "standard input began here".into());
    }
    let next = Checkpoint {
        server,
        ..Checkpoint::default()
    };
    for _ in 0..MAX_TRIES {
        let known = store
            .checkpoints()?
            .into_iter()
            .find(|(source, _)| source == "-");
        let base = known.map(|(_, checkpoint)| checkpoint);
        if store.commit("-", base.as_ref(), &next, &batch)? == Commit::Done {
            outcome.absorb(session);
            return Ok(());
        }
    }
    Err(Error::Store {
        store: store.describe(),
        message: "other runs kept coming first".into(),
    })
}

/// The checkpoint to go on from: the one that got furthest in these files. That need not be the one
/// of this path: the log may have been moved, there and back, or be called by another name.
/// Two servers on one host are told apart by the name that they were given.
fn furthest(
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
struct Plan {
    files: Vec<LogFile>,
    /// How far each was read, if it was.
    marks: Vec<Option<FileMark>>,
    /// Where to read on; none where there is nothing new.
    start: Vec<Option<u64>>,
    /// The file was changed before its mark: there is no telling what in it is new, so it is read
    /// over, and a gap recorded.
    skip: Vec<bool>,
    rewritten: bool,
    /// Which file the marks of the last run belong to, by their path then.
    numbers: HashMap<String, usize>,
    /// Numbers of the marks of the last run whose file was found.
    found: Vec<usize>,
    /// The framing of files that do not show it by themselves.
    framing: Option<Framing>,
}

impl Plan {
    fn new(known: &Checkpoint, files: Vec<LogFile>, errors: &mut Vec<Error>) -> Result<Self> {
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
    fn leave_out(&mut self, damaged: &[(PathBuf, Error)]) {
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
    fn give_up(&mut self, at: usize) {
        if let Some(mark) = &mut self.marks[at] {
            mark.packed = Some(self.files[at].size);
        }
    }

    fn number_of(&self, path: &str) -> Option<usize> {
        self.numbers.get(path).copied()
    }

    /// Rotation was faster than we: what the file held behind our mark is lost.
    fn reading_file_is_gone(&self, known: &Checkpoint) -> bool {
        let last = known.files.len();
        last > 0 && !self.found.contains(&(last - 1))
    }

    /// A time that the log reaches, known before it is read: what was logged long before it is told by
    /// the day at once. No clock that is ahead of ours is right.
    fn newest(&self, clock: &mut Clock) -> Option<UtcSeconds> {
        let first = self.files.last()?.first_stamp()?;
        Some(clock.peek(first).min(UtcSeconds::now()))
    }

    /// The time that the rotated files hold, from the first record to the last known one.
    fn history(&self, clock: &mut Clock, known: &Checkpoint) -> Option<Span> {
        let first = self
            .files
            .first()
            .filter(|_| self.files.len() > 1)?
            .first_stamp()?;
        let last = self.files.last()?.first_stamp()?;
        let _ = known;
        Some(Span(clock.peek(last).0 - clock.peek(first).0)).filter(|span| span.0 > 0)
    }

    fn bytes_to_read(&self) -> u64 {
        self.files
            .iter()
            .zip(&self.start)
            .filter_map(|(file, start)| start.map(|start| file.size.saturating_sub(start)))
            .sum()
    }

    /// Marks of the files that are there; if some can't be opened now, theirs are kept as well.
    fn marks_of(&self, pass: &Pass<'_>) -> Vec<FileMark> {
        let mut marks = Vec::new();
        if !pass.outcome.errors.is_empty() {
            let known = pass.known.files.iter().enumerate();
            let gone = known.filter(|(number, _)| !self.found.contains(number));
            marks.extend(gone.map(|(_, mark)| mark.clone()));
        }
        marks.extend(self.marks.iter().flatten().cloned());
        marks
    }

    /// Notes how far file number `at` has been read.
    fn advance(&mut self, at: usize, lines: &Lines, at_end: bool) -> Result<(), Setback> {
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
enum Rest {
    Lines(Lines),
    /// It ends before: a copy that was made, or is being made, of a part.
    Shorter,
    /// It no longer holds what was read of it before.
    Rewritten,
}

/// Lines from `from` on.
fn open_lines(file: &LogFile, from: u64, mark: Option<&FileMark>) -> Result<Rest> {
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

/// What all commits of a pass share.
struct Pass<'a> {
    source: String,
    /// The checkpoint that the store holds for this log.
    own: Option<Checkpoint>,
    /// The checkpoint that the work began from; that of another path where it was adopted.
    known: Checkpoint,
    settings: &'a Settings,
    store: &'a mut dyn Store,
    outcome: &'a mut Outcome,
}

impl Pass<'_> {
    fn commit(
        &mut self,
        files: Vec<FileMark>,
        trust: &Trust,
        session: &mut Session<'_>,
    ) -> Result<(), Setback> {
        let next = Checkpoint {
            generation: 0,
            steps: self.known.steps + 1,
            server: self.server(trust),
            files,
            pending: trust.pending(&session.files),
            aside: trust.aside(&session.files),
            serverhost: trust.serverhost().cloned(),
            clock: session.clock.last(),
            connections: session.connections.clone(),
        };
        let same = self.own.as_ref().is_some_and(|own| {
            Checkpoint {
                generation: 0,
                steps: next.steps,
                ..own.clone()
            } == next
        });
        if !same && (self.own.is_some() || !next.files.is_empty()) {
            let batch = session.tally.take(&next.server);
            match self
                .store
                .commit(&self.source, self.own.as_ref(), &next, &batch)?
            {
                Commit::Overtaken => return Err(Setback::Again),
                Commit::Done => {
                    let generation = self.own.as_ref().map_or(1, |own| own.generation + 1);
                    self.own = Some(Checkpoint { generation, ..next });
                }
            }
        }
        self.outcome.absorb(session);
        Ok(())
    }

    /// Configured, or what the log named first: a server whose host is renamed stays the same server.
    fn server(&self, trust: &Trust) -> Name {
        match &self.settings.server_name {
            Some(name) => Name::from(name.as_str()),
            None if !self.known.server.0.is_empty() => self.known.server.clone(),
            None => self
                .own
                .as_ref()
                .map(|own| own.server.clone())
                .or_else(|| trust.first_serverhost().cloned())
                .unwrap_or_default(),
        }
    }
}

/// Why the time of a file is not covered.
fn unreadable(file: &LogFile) -> String {
    let path = escape(file.path.as_os_str().as_encoded_bytes());
    format!("{path} could not be read to its end")
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
