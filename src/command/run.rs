//! `conntracker run`: what is new in the audit log, into every store.

use std::io::{IsTerminal, stderr, stdin};
use std::num::NonZero;
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use log::{debug, error, info, warn};

use super::replace::must_not_be_read;
use super::textfile::{self, Gathered, Known};
use crate::audit_log::source;
use crate::config::{Config, MariaDbConfig, StoreKind};
use crate::error::{Error, ExitStatus, Result};
use crate::ingest::{Outcome, Settings, ingest, ingest_stream};
use crate::name::escape;
use crate::report::prometheus::PassFigures;
use crate::store::{MariaDb, Sqlite, Store};
use crate::time::{Span, UtcSeconds};

/// A run that takes longer than this shows a progress bar on a terminal.
const SHOW_PROGRESS_AFTER: Duration = Duration::from_millis(500);

/// Threads that look through a log, if nothing is said.
const MOST_THREADS: NonZero<usize> = NonZero::new(8).unwrap();

/// How a run ended.
pub(super) struct Ended {
    /// The logs were read, and the stores keep what they say.
    pub(super) work: ExitStatus,
    /// Prometheus was told of it, if it is to be.
    pub(super) told: ExitStatus,
}

/// Does the work for every log and store; one that fails does not keep the others from theirs. However
/// it ends, it is told in the file for Prometheus, if there is to be one.
///
/// All that is to be said goes to stderr, through the log.
pub fn run(config: &Config) -> Result<ExitStatus> {
    let Ended { work, told } = read_and_tell(config)?;
    Ok(work.max(told))
}

/// The same, for those whom it concerns only whether the logs were read.
pub(super) fn read_and_tell(config: &Config) -> Result<Ended> {
    if let Some(path) = &config.run.textfile {
        must_not_be_read(path, config)?;
    }
    let began = Instant::now();
    let mut gathered = Gathered::default();
    let result = read(config, &mut gathered);
    let mut told = ExitStatus::Fine;
    if let Some(path) = &config.run.textfile {
        if gathered.untold {
            told = ExitStatus::Failed;
        }
        let status = result
            .as_ref()
            .map_or(ExitStatus::Failed, |work| told.max(*work));
        if let Err(error) = textfile::write(path, gathered, status, began.elapsed()) {
            error!("{error}");
            told = ExitStatus::Failed;
        }
    }
    result.map(|work| Ended { work, told })
}

/// As many threads as were asked for, or else one for each processor. Beyond [`MOST_THREADS`] the one that
/// counts is too slow for more.
fn threads(asked_for: Option<NonZero<u8>>) -> NonZero<usize> {
    match asked_for {
        Some(threads) => threads.into(),
        None => thread::available_parallelism().map_or(NonZero::<usize>::MIN, |processors| {
            processors.min(MOST_THREADS)
        }),
    }
}

fn read(config: &Config, gathered: &mut Gathered) -> Result<ExitStatus> {
    let settings = Settings {
        zone: config.time_zone,
        server_name: config.server_name.clone(),
        retention: config.activity,
        threads: threads(config.run.threads),
    };
    let mut status = ExitStatus::Fine;
    let (streams, paths): (Vec<_>, Vec<_>) = config
        .audit_log
        .iter()
        .cloned()
        .partition(|path| path.as_os_str() == "-");
    let (logs, errors) = source::find(&paths);
    if !streams.is_empty() && config.stores.len() > 1 {
        // A stream can be read once.
        return Err(Error::Config(
            "audit_log '-' (standard input) goes into one store only; name it with --store".into(),
        ));
    }
    for error in errors {
        error!("{error}");
        status = ExitStatus::Failed;
    }
    for kind in &config.stores {
        let mut store = match open(*kind, config) {
            Ok(store) => store,
            Err(error) => {
                error!("{error}");
                status = ExitStatus::Failed;
                continue;
            }
        };
        let mut pass = PassFigures {
            store: kind.name(),
            ..PassFigures::default()
        };
        if !streams.is_empty() {
            let result = ingest_stream(Box::new(stdin()), &settings, &mut *store);
            status = status.max(conclude("standard input", result, config, &mut pass));
        }
        for log in &logs {
            let began = Instant::now();
            let mut bar = Bar::new();
            let result = ingest(log, &settings, &mut *store, &mut |done, total| {
                bar.show(done, total)
            });
            bar.clear();
            let path = escape(log.path().as_os_str().as_encoded_bytes());
            debug!("{path}: {:?} to {}", began.elapsed(), store.describe());
            status = status.max(conclude(&path, result, config, &mut pass));
        }
        gathered.passes.push(pass);
        if config.run.textfile.is_some() && gathered.known.is_none() {
            match Known::of(&mut *store, &config.run) {
                Ok(known) => gathered.known = Some(known),
                Err(error) => {
                    error!("{error}");
                    gathered.untold = true;
                }
            }
        }
    }
    Ok(status)
}

/// Opens a store for writing; creates what is missing.
pub(super) fn open(kind: StoreKind, config: &Config) -> Result<Box<dyn Store>> {
    Ok(match kind {
        StoreKind::Sqlite => Box::new(Sqlite::open(&config.sqlite.path)?),
        StoreKind::MariaDb => {
            let MariaDbConfig { access, database } = &config.mariadb;
            Box::new(MariaDb::open(access, database)?)
        }
    })
}

fn conclude(
    path: &str,
    result: Result<Outcome>,
    config: &Config,
    pass: &mut PassFigures,
) -> ExitStatus {
    match result {
        Ok(outcome) => {
            pass.bytes += outcome.bytes;
            pass.records += outcome.records;
            pass.malformed += outcome.malformed.count;
            pass.doubtful += outcome.doubtful;
            pass.gaps += outcome.gaps.len() as u64;
            tell(path, &outcome, config)
        }
        Err(error) => {
            error!("{error}");
            ExitStatus::Failed
        }
    }
}

fn tell(path: &str, outcome: &Outcome, config: &Config) -> ExitStatus {
    let mut status = ExitStatus::Fine;
    let mut warned = || status = status.max(ExitStatus::Warning);
    if outcome.malformed.count > 0 {
        warned();
        let examples: Vec<String> = outcome
            .malformed
            .first
            .iter()
            .map(|(file, byte, line)| {
                format!("{} byte {byte}: {}", escape(file.as_bytes()), escape(line))
            })
            .collect();
        warn!(
            "{path}: {} lines are no records; first {}",
            outcome.malformed.count,
            examples.join(" | ")
        );
    }
    if outcome.doubtful > 0 {
        warned();
        warn!(
            "{path}: {} records are not believed and move no figure; see 'conntracker quarantine'",
            outcome.doubtful
        );
    }
    for gap in &outcome.gaps {
        warned();
        let local = |at: UtcSeconds| at.local(&config.time_zone);
        let from = gap.from.map_or("the beginning".into(), local);
        warn!(
            "{path}: gap from {from} to {}: {}{}",
            local(gap.to),
            gap.why,
            advice(outcome.history)
        );
    }
    for error in &outcome.errors {
        error!("{error}");
        status = ExitStatus::Failed;
    }
    info!("{path}: {} records", outcome.records);
    status
}

fn advice(history: Option<Span>) -> String {
    history.map_or(String::new(), |history| {
        format!(
            "; the rotated files hold {}: run at least every {}, or raise server_audit_file_rotations",
            history.in_words(),
            Span(history.0 / 2).in_words()
        )
    })
}

/// A progress bar, on a terminal and for long runs only.
struct Bar {
    began: Instant,
    bar: Option<ProgressBar>,
}

impl Bar {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            bar: None,
        }
    }

    fn show(&mut self, done: u64, total: u64) {
        if self.bar.is_none()
            && self.began.elapsed() > SHOW_PROGRESS_AFTER
            && stderr().is_terminal()
        {
            let style = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {eta}");
            let bar = ProgressBar::new(total);
            self.bar = Some(
                style
                    .map(|style| bar.clone().with_style(style))
                    .unwrap_or(bar),
            );
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
