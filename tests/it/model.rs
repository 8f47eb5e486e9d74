//! The promise "exactly once" against everything that happens to a log, in an order that nobody
//! would think of: random actions of servers, rotations, administrators and runs, executed on real
//! files, and beside them a model that knows what each record says and who has read it. In the end
//! both must agree to the last attempt and the last second.
//!
//! It calls the library, not the binary, so that thousands of sequences fit into a minute. Each has
//! a number that makes it: a failure says how to repeat it, and shows its actions up to the first
//! point at which it fails.
//!
//! - `CONNTRACKER_TEST_SEED=7` repeats sequence 7 only.
//! - `CONNTRACKER_TEST_SEQUENCES=20000` tries so many in each test.

mod folder;
mod server;

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread;

use conntracker::audit_log::source;
use conntracker::checkpoint::Checkpoint;
use conntracker::error::{Error, Result};
use conntracker::ingest::{Outcome, Settings, ingest};
use conntracker::name::Name;
use conntracker::store::Retention;
use conntracker::store::{
    AccountFilter, AccountUse, Activity, ActivityFilter, Batch, Commit, Coverage, Doubtful,
    FailedConnect, JudgedAccount, ProxiedAccount, Sqlite, Status, Store,
};
use conntracker::time::{UtcSeconds, Zone};
use tempfile::TempDir;

use crate::random::Random;
use folder::{Folder, LIVE};
use server::{Figures, Server, ZONE};

/// How many sequences each test tries.
const SEQUENCES: u64 = 800;

/// Actions in one sequence, at the most.
const MOST_STEPS: usize = 40;

/// Values of `server_audit_file_rotations`, without padding, with some, with more.
const ROTATIONS: [usize; 7] = [1, 2, 3, 9, 10, 12, 100];

/// Who rotates the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rotation {
    /// The plugin; what falls out has been read.
    Plugin,
    /// The plugin, which does not wait for readers.
    Hasty,
    /// logrotate, by renaming or by copytruncate, with numbers or dates.
    Logrotate,
    /// One after the other.
    Both,
}

#[test]
fn rotated_by_the_plugin_each_record_counts_once() {
    try_sequences("rotated_by_the_plugin", Rotation::Plugin);
}

#[test]
fn rotated_by_logrotate_each_record_counts_once() {
    try_sequences("rotated_by_logrotate", Rotation::Logrotate);
}

#[test]
fn rotated_by_anybody_each_record_counts_once() {
    try_sequences("rotated_by_anybody", Rotation::Both);
}

#[test]
fn what_is_dropped_unread_is_a_gap_and_the_rest_counts_once() {
    try_sequences("dropped_unread", Rotation::Hasty);
}

fn try_sequences(test: &str, rotation: Rotation) {
    let number = |name: &str| {
        let value = std::env::var(name).ok()?;
        Some(
            value
                .parse()
                .unwrap_or_else(|_| panic!("{name}={value} is no number")),
        )
    };
    let seeds = match number("CONNTRACKER_TEST_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("CONNTRACKER_TEST_SEQUENCES").unwrap_or(SEQUENCES),
    };
    let mut losses = 0;
    for seed in seeds.clone() {
        match Sequence::execute(seed, rotation, usize::MAX) {
            Ok(lost) => losses += usize::from(lost),
            Err(first) => {
                // The same beginning, as short as it still fails.
                let shorter = (0..MOST_STEPS)
                    .find_map(|steps| Sequence::execute(seed, rotation, steps).err());
                panic!(
                    "sequence {seed} failed; to repeat it:\n\
                     CONNTRACKER_TEST_SEED={seed} cargo test --test it model::{test}\n\n{}",
                    shorter.unwrap_or(first)
                );
            }
        }
    }
    if rotation == Rotation::Hasty && seeds.end - seeds.start > 100 {
        let share = (seeds.end - seeds.start) / 10;
        assert!(
            losses as u64 > share,
            "only {losses} sequences lost anything, which proves too little"
        );
    }
}

/// One log, one store, and what happened to them.
struct Sequence {
    random: Random,
    rotation: Rotation,
    server: Server,
    folder: Folder,
    store: PathBuf,
    settings: Settings,
    /// What was done, for the message of a failure.
    actions: Vec<String>,
    /// Gaps that were reported.
    gaps: Vec<String>,
    /// Each file begins some seconds after the one before, and not in the hour that autumn repeats:
    /// then the time tells the order of files whose names do not.
    calm: bool,
    /// logrotate gives dates instead of numbers.
    dated: bool,
    scratch: TempDir,
}

impl Sequence {
    /// Does at most so many steps of sequence `seed`, then the last run. Ok: whether something got
    /// lost. The error says what was done and what is wrong.
    fn execute(seed: u64, rotation: Rotation, steps: usize) -> Result<bool, String> {
        let mut sequence = Self::new(seed, rotation);
        let done = catch_unwind(AssertUnwindSafe(|| {
            sequence.steps(steps)?;
            sequence.end()
        }));
        let done = done.unwrap_or_else(|_| Err("panicked; the reason stands above".into()));
        done.map_err(|problem| {
            let mut report = format!("{problem}\n\nafter these actions, {rotation:?} rotating:\n");
            for action in &sequence.actions {
                let _ = writeln!(report, "  {action}");
            }
            if std::env::var_os("KEEP").is_some() {
                let _ = std::process::Command::new("cp")
                    .args(["-r"])
                    .arg(sequence.scratch.path())
                    .arg("/tmp/keep")
                    .status();
            }
            let _ = write!(
                report,
                "files:\n  {}",
                sequence.folder.listing().join("\n  ")
            );
            report
        })?;
        Ok(sequence.folder.loss.certain)
    }

    fn new(seed: u64, rotation: Rotation) -> Self {
        let mut random = Random::new(seed);
        let scratch = scratch();
        let rotations = match rotation {
            // With the plugin's padding there would be two chains.
            Rotation::Both => random.pick(&ROTATIONS[..4]),
            _ => random.pick(&ROTATIONS[..6]),
        };
        let calm = random.chance(40);
        let orderly = rotation == Rotation::Hasty;
        let autumn = !orderly && !calm && random.chance(50);
        Self {
            server: Server::new(&mut random, orderly, autumn),
            folder: Folder::new(scratch.path().join("log-0"), rotations),
            store: scratch.path().join("conntracker.sqlite"),
            settings: Settings {
                zone: Zone::parse(ZONE).unwrap(),
                server_name: None,
                retention: Retention::default(),
                threads: std::num::NonZero::<usize>::MIN,
            },
            actions: vec![format!("keep {rotations} rotated files")],
            gaps: Vec::new(),
            calm,
            dated: rotation == Rotation::Logrotate && random.chance(50),
            random,
            rotation,
            scratch,
        }
    }

    fn steps(&mut self, most: usize) -> Result<(), String> {
        let steps = 5 + self.random.below(MOST_STEPS - 5);
        for _ in 0..steps.min(most) {
            match self.random.below(100) {
                0..32 => self.write(),
                32..40 => self.write_beginning(),
                40..60 => self.run()?,
                60..64 => self.two_runs()?,
                64..67 => self.run_while_written()?,
                67..70 => self.run_on_a_poor_store()?,
                70..86 => self.rotate()?,
                86..90 => self.pack()?,
                90..93 => self.delete(),
                93..96 => self.move_folder(),
                96..98 => self.set_rotations(),
                _ => self.crash(),
            }
        }
        Ok(())
    }

    /// All that is open is answered, and one more run must be enough.
    fn end(&mut self) -> Result<(), String> {
        self.actions.push("the end: last words, and a run".into());
        let last_words = self.server.last_words(&mut self.random);
        self.folder.write(last_words);
        loop {
            let event = self.server.log_in(&mut self.random);
            self.folder.write(vec![event]);
            let last_words = self.server.last_words(&mut self.random);
            self.folder.write(last_words);
            if !self.folder.ends_at_page() {
                break;
            }
        }
        self.run()?;
        let failed = |error: Error| error.to_string();
        let mut store = Sqlite::open_read_only(&self.store).map_err(failed)?;
        let figures = Figures::of(&mut store).map_err(failed)?;
        let difference = figures.difference(&self.folder.figures());
        if !difference.is_empty() {
            return Err(difference);
        }
        let quarantine = self.quarantine().map_err(failed)?;
        if !quarantine.is_empty() {
            return Err(format!(
                "genuine records are in quarantine: {quarantine:#?}"
            ));
        }
        let loss = self.folder.loss;
        if loss.certain && self.gaps.is_empty() {
            return Err("records were dropped unread, and no gap was reported".into());
        }
        if !loss.possible && !self.gaps.is_empty() {
            return Err(format!(
                "nothing was lost, but gaps reported: {:?}",
                self.gaps
            ));
        }
        // The model must know what it says it knows.
        if !loss.certain && !self.folder.is_read() && self.rotation != Rotation::Hasty {
            return Err("some records were never read, so this proves nothing".into());
        }
        Ok(())
    }

    // --- The server.

    fn write(&mut self) {
        let calls = 1 + self.random.below(12);
        for _ in 0..calls {
            let events = self.server.next(&mut self.random);
            self.folder.write(events);
        }
        self.actions.push(format!("write {calls} records"));
    }

    /// A reader may see the beginning of a record.
    fn write_beginning(&mut self) {
        let mut events = self.server.next(&mut self.random);
        if let [event] = &events[..] {
            let len = 1 + self.random.below(event.line.len() - 1);
            self.actions
                .push(format!("write {len} of {} bytes", event.line.len()));
            self.folder.write_beginning(events.remove(0), len);
        } else {
            self.folder.write(events);
        }
    }

    fn crash(&mut self) {
        // Without what was lost, an id that is given again looks like the same connection.
        if self.rotation != Rotation::Hasty && self.server.crash() {
            self.actions.push("the server crashes and restarts".into());
        }
    }

    /// In a calm sequence, what was said last is said some time before a file ends.
    fn pause(&mut self) {
        if self.calm {
            let last_words = self.server.last_words(&mut self.random);
            self.folder.write(last_words);
            self.server.pause();
        }
    }

    // --- Rotation and administrators.

    fn rotate(&mut self) -> Result<(), String> {
        self.pause();
        let plugin = match self.rotation {
            Rotation::Plugin | Rotation::Hasty => true,
            Rotation::Logrotate => false,
            Rotation::Both => self.random.chance(50),
        };
        if plugin {
            return self.rotate_by_plugin();
        }
        let date = self.server.now().format("%Y%m%d-%s").to_string();
        let dated = self.dated.then_some(&date[..]);
        if self.random.chance(50) {
            self.rotate_by_renaming(dated)
        } else {
            self.copy_and_truncate(dated)
        }
    }

    fn rotate_by_plugin(&mut self) -> Result<(), String> {
        let most = if self.rotation == Rotation::Hasty {
            5
        } else {
            1
        };
        for _ in 0..=self.random.below(most) {
            if self.rotation != Rotation::Hasty && !self.folder.rotation_is_harmless() {
                self.run()?;
                if !self.folder.rotation_is_harmless() {
                    return Ok(());
                }
            }
            self.pause();
            self.actions.push("the plugin rotates".into());
            self.folder.rotate();
            if self.random.chance(50) {
                self.write();
            }
        }
        Ok(())
    }

    fn rotate_by_renaming(&mut self, dated: Option<&str>) -> Result<(), String> {
        if !self.folder.rename_live(dated) {
            self.actions.push("the server opens the live file".into());
            self.folder.reopen();
            return Ok(());
        }
        self.actions.push(format!("logrotate renames, {dated:?}"));
        if self.random.chance(50) {
            self.actions.push("logrotate creates the live file".into());
            self.folder.create_live();
        }
        if self.random.chance(50) {
            self.write();
        }
        Ok(())
    }

    fn copy_and_truncate(&mut self, dated: Option<&str>) -> Result<(), String> {
        let share = self.random.pick(&[0.0, 0.2, 0.7, 1.0]);
        let Some(copy) = self.folder.copy_live(dated, share) else {
            return Ok(());
        };
        self.actions
            .push(format!("logrotate copies {share}, {dated:?}"));
        if self.random.chance(30) {
            self.run()?;
        }
        self.actions.push("logrotate copies the rest".into());
        self.folder.finish_copy(&copy);
        match self.random.below(4) {
            0 => self.run()?,
            1 => {
                // The copy lacks these: without a run in between they would be lost.
                self.write();
                self.run()?;
            }
            _ => {}
        }
        self.actions.push("logrotate truncates".into());
        self.folder.truncate();
        Ok(())
    }

    fn pack(&mut self) -> Result<(), String> {
        // The plugin does not rename packed files: what they are called says nothing any more. And
        // of a file that is no longer renamed it can't be told how many have followed it.
        if self.rotation == Rotation::Hasty || self.rotation != Rotation::Logrotate && !self.calm {
            return Ok(());
        }
        let packable = self.folder.packable();
        if packable.is_empty() {
            return Ok(());
        }
        let suffix = self.random.pick(&packable);
        for share in [0.0, 0.1, 0.6, 1.0] {
            if self.random.chance(20) {
                self.actions.push(format!("gzip {suffix}, {share} of it"));
                self.folder.begin_packing(&suffix, share);
                self.run()?;
            }
        }
        self.actions.push(format!("gzip {suffix}"));
        self.folder.end_packing(&suffix);
        Ok(())
    }

    fn delete(&mut self) {
        if self.folder.delete_oldest() {
            self.actions.push("delete the oldest file".into());
        }
    }

    fn move_folder(&mut self) {
        // If nothing that is known is left as well, it is another log.
        if self.rotation == Rotation::Hasty {
            return;
        }
        let other = self
            .scratch
            .path()
            .join(format!("log-{}", self.random.below(3)));
        if !other.exists() {
            self.actions.push(format!("move to {}", other.display()));
            self.folder.move_to(other);
        }
    }

    fn set_rotations(&mut self) {
        let rotations = match self.rotation {
            // Another padding leaves files of the old one behind.
            Rotation::Plugin if self.calm => self.random.pick(&ROTATIONS),
            Rotation::Plugin | Rotation::Both => {
                let padded = self.folder.rotations() > 9;
                self.random
                    .pick(&ROTATIONS[if padded { 4..6 } else { 0..4 }])
            }
            // With files of two paddings nobody can tell whether one is missing.
            Rotation::Hasty | Rotation::Logrotate => return,
        };
        self.actions.push(format!("keep {rotations} rotated files"));
        self.folder.set_rotations(rotations);
    }

    // --- Runs.

    fn run(&mut self) -> Result<(), String> {
        let path = self.path();
        self.actions.push(format!("run {}", path.display()));
        let result = collect(&path, &self.store, &self.settings);
        self.check(result)?;
        self.folder.was_read();
        Ok(())
    }

    fn two_runs(&mut self) -> Result<(), String> {
        let paths = [self.path(), self.path()];
        self.actions.push(format!("two runs at once, {paths:?}"));
        let (store, settings) = (&self.store, &self.settings);
        let results = thread::scope(|scope| {
            paths
                .each_ref()
                .map(|path| scope.spawn(move || collect(path, store, settings)))
                .map(|run| run.join().expect("a run"))
        });
        for result in results {
            self.check(result)?;
        }
        self.folder.was_read();
        Ok(())
    }

    /// What the run sees depends on the moment, so such a sequence may take several attempts to
    /// fail again.
    fn run_while_written(&mut self) -> Result<(), String> {
        // Of what was dropped, nobody knows whether this run has seen it.
        if !self.folder.has_records() || self.rotation == Rotation::Hasty {
            return Ok(());
        }
        let path = self.path();
        self.actions
            .push(format!("run {}, and meanwhile:", path.display()));
        let (store, settings) = (self.store.clone(), self.settings.clone());
        let run = thread::spawn(move || collect(&path, &store, &settings));
        for _ in 0..self.random.below(6) {
            self.write();
            if self.rotation != Rotation::Logrotate && self.folder.rotation_is_harmless() {
                self.pause();
                self.actions.push("the plugin rotates".into());
                self.folder.rotate();
            }
            thread::yield_now();
        }
        self.actions.push("(the run has ended)".into());
        let result = run.join().expect("a run");
        self.check(result)
    }

    /// The store fails, or it did its work but its answer is lost: the same to the program.
    fn run_on_a_poor_store(&mut self) -> Result<(), String> {
        // What it reported is lost with it.
        if !self.folder.has_records() || self.rotation == Rotation::Hasty {
            return Ok(());
        }
        let path = self.path();
        let answer_lost = self.random.chance(50);
        self.actions.push(format!(
            "run {}, and the store fails{}",
            path.display(),
            if answer_lost { " behind its work" } else { "" }
        ));
        let store = Sqlite::open(&self.store).map_err(|error| error.to_string())?;
        let mut store = Poor { store, answer_lost };
        match collect_into(&path, &mut store, &self.settings) {
            // Nothing was new, so nothing was to be written.
            Ok(outcome) => self.check(Ok(outcome)),
            Err(Failure::Run(Error::Store { .. })) => Ok(()),
            Err(failure) => self.check(Err(failure)),
        }
    }

    fn quarantine(&self) -> Result<Vec<Doubtful>> {
        let mut quarantine = Vec::new();
        Sqlite::open_read_only(&self.store)?.quarantine(None, &mut |row| {
            quarantine.push(row);
            Ok(())
        })?;
        Ok(quarantine)
    }

    /// One of the ways to name the log.
    fn path(&mut self) -> PathBuf {
        let folder = self.folder.path();
        match self.random.below(3) {
            0 => folder.to_owned(),
            1 => folder.join(LIVE),
            _ => folder.join(format!("{LIVE}*")),
        }
    }

    fn check(&mut self, result: Result<Outcome, Failure>) -> Result<(), String> {
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(Failure::NoLog(_)) if !self.folder.has_records() => return Ok(()),
            Err(Failure::NoLog(what)) => return Err(format!("finds no log: {what}")),
            Err(Failure::Run(error)) => return Err(format!("a run failed: {error}")),
        };
        for gap in &outcome.gaps {
            self.gaps.push(format!("{gap:?}"));
        }
        if outcome.malformed.count > 0 || outcome.doubtful > 0 || !outcome.errors.is_empty() {
            let quarantine = self.quarantine().map_err(|error| error.to_string())?;
            return Err(format!(
                "a run complains without need: {outcome:#?}\nquarantine: {quarantine:#?}"
            ));
        }
        Ok(())
    }
}

/// Why a run did not come to its end.
enum Failure {
    NoLog(String),
    Run(Error),
}

fn collect(path: &Path, store: &Path, settings: &Settings) -> Result<Outcome, Failure> {
    let mut store = Sqlite::open(store).map_err(Failure::Run)?;
    collect_into(path, &mut store, settings)
}

fn collect_into(
    path: &Path,
    store: &mut dyn Store,
    settings: &Settings,
) -> Result<Outcome, Failure> {
    match source::find(&[path.to_owned()]) {
        (logs, errors) if errors.is_empty() && logs.len() == 1 => {
            ingest(&logs[0], settings, store, &mut |_, _| ()).map_err(Failure::Run)
        }
        (logs, errors) => Err(Failure::NoLog(format!("{logs:?} {errors:?}"))),
    }
}

/// A store that fails when it is to write.
struct Poor {
    store: Sqlite,
    /// It has written all the same.
    answer_lost: bool,
}

impl Store for Poor {
    fn describe(&self) -> String {
        self.store.describe()
    }

    fn checkpoints(&mut self) -> Result<Vec<(String, Checkpoint)>> {
        self.store.checkpoints()
    }

    fn commit(
        &mut self,
        source: &str,
        base: Option<&Checkpoint>,
        next: &Checkpoint,
        batch: &Batch,
    ) -> Result<Commit> {
        if self.answer_lost {
            let _ = self.store.commit(source, base, next, batch)?;
        }
        Err(Error::Store {
            store: self.describe(),
            message: "lost connection".into(),
        })
    }

    fn accounts(
        &mut self,
        filter: &AccountFilter,
        row: &mut dyn FnMut(AccountUse) -> Result<()>,
    ) -> Result<()> {
        self.store.accounts(filter, row)
    }

    fn failed_connects(
        &mut self,
        since: Option<UtcSeconds>,
        row: &mut dyn FnMut(FailedConnect) -> Result<()>,
    ) -> Result<()> {
        self.store.failed_connects(since, row)
    }

    fn failed_attempts(&mut self, server: &Name) -> Result<Vec<(Option<u32>, u64)>> {
        self.store.failed_attempts(server)
    }

    fn quarantine(
        &mut self,
        since: Option<UtcSeconds>,
        row: &mut dyn FnMut(Doubtful) -> Result<()>,
    ) -> Result<()> {
        self.store.quarantine(since, row)
    }

    fn activity(
        &mut self,
        filter: &ActivityFilter,
        row: &mut dyn FnMut(Activity) -> Result<()>,
    ) -> Result<()> {
        self.store.activity(filter, row)
    }

    fn coverage(&mut self, server: &Name) -> Result<Vec<Coverage>> {
        self.store.coverage(server)
    }

    fn proxied_accounts(&mut self, server: &Name) -> Result<Vec<ProxiedAccount>> {
        self.store.proxied_accounts(server)
    }

    fn account_statuses(
        &mut self,
        filter: &AccountFilter,
        row: &mut dyn FnMut(JudgedAccount) -> Result<()>,
    ) -> Result<()> {
        self.store.account_statuses(filter, row)
    }

    fn check_memory(&mut self, server: &Name) -> Result<Option<String>> {
        self.store.check_memory(server)
    }

    fn keep_memory(&mut self, server: &Name, at: UtcSeconds, memory: &str) -> Result<()> {
        self.store.keep_memory(server, at, memory)
    }

    fn keep_status(&mut self, status: &Status) -> Result<()> {
        self.store.keep_status(status)
    }
}

/// In memory where that is possible, since each commit waits for the disk.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let prefix = "conntracker-test-";
    TempDir::with_prefix_in(prefix, memory)
        .or_else(|_| TempDir::with_prefix(prefix))
        .expect("a temporary folder")
}
