//! One pass: what is new in a log goes into one store.
//!
//! Each store has its own checkpoints, so each is fed by a pass of its own: one that was down
//! catches up by itself. A pass writes nothing but whole batches with their checkpoint; whatever
//! comes in between (a kill, another run, a log emptied while it is read), the work is looked at
//! anew from what the store holds.

mod ahead;
mod judge;
mod plan;

use std::io::Read;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use crate::audit_log::reader::{Lines, Packing};
use crate::audit_log::session::{Connections, Gap, Malformed, Session};
use crate::audit_log::source::{Log, LogFile, Opened};
use crate::audit_log::syslog::{Framing, Unframer};
use crate::audit_log::timestamp::Clock;
use crate::audit_log::trust::{Place, Trust};
use crate::checkpoint::{Checkpoint, FileMark};
use crate::error::{Error, Result};
use crate::name::{Name, escape};
use crate::store::activity::end_of_time;
use crate::store::{Commit, Retention, Store};
use crate::tally::Tally;
use crate::time::{Span, UtcSeconds, Zone};
pub use judge::Judge;
use plan::{Plan, Rest, furthest, open_lines};

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
    /// How many threads may look through a long file.
    pub threads: NonZero<usize>,
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
    /// How many bytes of lines were read, unpacked.
    pub bytes: u64,
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
        outcome.history = plan.history(&mut session.clock.clone());
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

    let mut judge = Judge::new(trust, session).with_threads(settings.threads);
    let total = plan.bytes_to_read();
    let mut done = 0;
    let mut in_flight = false;
    // Why what stands directly before the next file was not read.
    let mut unread = None;
    for at in 0..plan.files.len() {
        // Told when it is stepped over, not again with each run.
        if let (Some(why), None) = (unread.take(), &plan.marks[at]) {
            judge.session.connections.gap.get_or_insert(why);
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
                let gap = &mut judge.session.connections.gap;
                gap.get_or_insert_with(|| REWRITTEN.into());
                continue;
            }
            Err(error) => {
                pass.outcome.errors.push(error);
                unread = Some(unreadable(&plan.files[at]));
                continue;
            }
        };
        let mut reported = from;
        judge.begin(from, plan.files[at].size);
        loop {
            let next = match plan.skip[at] {
                true => lines.next_line().map(|line| line.map(|line| line.offset)),
                false => judge.next(&mut lines, at, unframer.as_mut()),
            };
            let reached = match next {
                Ok(Some(reached)) => reached,
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
            if reached - reported > (1 << 20) {
                done += reached - reported;
                reported = reached;
                progress(done, total);
            }
            if judge.session.tally.is_full() {
                judge.end_calm(&lines, at);
                plan.advance(at, &lines, false)?;
                pass.commit(plan.marks_of(&pass.known, &pass.outcome.errors), &mut judge)?;
            }
        }
        pass.outcome.bytes += lines.offset().saturating_sub(from);
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
    judge.finish(in_flight, quiet);
    pass.commit(plan.marks_of(&pass.known, &pass.outcome.errors), &mut judge)
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
    let session = Session {
        clock: Clock::new(settings.zone, None),
        connections: Connections::default(),
        tally: &mut tally,
        files: vec![NAME.into()],
        malformed: Malformed::default(),
        gaps: Vec::new(),
        records: 0,
        latest: end_of_time(UtcSeconds::now()),
    };
    let trust = Trust::new(None, Vec::new()).in_zone(settings.zone);
    let mut judge = Judge::new(trust, session);
    let mut lines = Lines::new(input, 0, false);
    // In which framing the lines are shows with the first record.
    let mut syslog = Unframer::new(UtcSeconds::now().0, None);
    let mut first: Option<Vec<u8>> = None;
    let framing = loop {
        let Some(line) = lines.next_line().map_err(failed)? else {
            break None;
        };
        let framing = Framing::of(std::iter::once(line.text));
        if let Some(framing) = framing {
            let unframer = Some(&mut syslog).filter(|_| framing == Framing::Syslog);
            judge.push(&line, 0, unframer);
            break Some(framing);
        }
        first.get_or_insert_with(|| line.text[..line.text.len().min(120)].to_vec());
    };
    if let (None, Some(first)) = (framing, first) {
        return Err(Error::Content {
            path: NAME.into(),
            message: format!(
                "is not understood as an audit log; it begins with: {}",
                escape(&first)
            ),
        });
    }
    judge.begin(lines.offset(), 0);
    let mut unframer = Some(syslog).filter(|_| framing == Some(Framing::Syslog));
    while judge
        .next(&mut lines, 0, unframer.as_mut())
        .map_err(failed)?
        .is_some()
    {
        if judge.session.tally.is_full() {
            judge.end_calm(&lines, 0);
            commit_stream(&mut judge, settings, store, &mut outcome)?;
        }
    }
    if lines.is_unfinished() {
        let malformed = &mut judge.session.malformed;
        malformed.count += 1;
        let line = (
            NAME.into(),
            lines.offset(),
            b"(an unfinished line)".to_vec(),
        );
        malformed.first.push(line);
    }
    outcome.bytes = lines.offset();
    judge.finish(false, true);
    commit_stream(&mut judge, settings, store, &mut outcome)?;
    Ok(outcome)
}

/// Commits figures of a stream. The checkpoint holds no place, only that something was written.
fn commit_stream(
    judge: &mut Judge<'_>,
    settings: &Settings,
    store: &mut dyn Store,
    outcome: &mut Outcome,
) -> Result<()> {
    let Judge { trust, session, .. } = judge;
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
    fn commit(&mut self, files: Vec<FileMark>, judge: &mut Judge<'_>) -> Result<(), Setback> {
        let Judge { trust, session, .. } = judge;
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
