//! Runs the binary in a folder of its own, with an environment that holds nothing of the machine's,
//! and says everything that one wants to know when it did not do what it should.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use conntracker::name::Name;
use conntracker::store::{Activity, ActivityFilter, Sqlite, Store};
use conntracker::time::UtcSeconds;
use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

use crate::figures::Figures;
use crate::random::Random;

/// No run of these tests has work for longer than this.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a record may be held back because it is not known yet whether it can be believed.
const HELD_BACK: Duration = Duration::from_secs(40);

/// Whoever waits for something to happen between runs gives up after so many.
pub(crate) const MANY_ROUNDS: usize = 5_000;

/// A folder with a database of its own, and an audit log to read.
#[derive(Debug)]
pub(crate) struct TestEnv {
    folder: TempDir,
    log: PathBuf,
    config: PathBuf,
    sqlite: PathBuf,
    time_zone: &'static str,
}

impl TestEnv {
    /// An environment whose log does not exist yet; a test writes it at [`log_path`](Self::log_path).
    pub(crate) fn new() -> Self {
        let folder = TempDir::with_prefix("conntracker-test-").expect("a temporary folder");
        let log = folder.path().join("log/server_audit.log");
        fs::create_dir(folder.path().join("log")).expect("a folder for the log");
        // Empty, and named on each command line: the machine may have a configuration of its own.
        let config = folder.path().join("conntracker.toml");
        fs::write(&config, "").expect("a configuration");
        Self {
            log,
            config,
            sqlite: folder.path().join("conntracker.sqlite"),
            folder,
            time_zone: "UTC",
        }
    }

    /// An environment that reads somebody else's log.
    pub(crate) fn reading(log: impl Into<PathBuf>) -> Self {
        Self {
            log: log.into(),
            ..Self::new()
        }
    }

    /// The zone in which the log's server lives.
    pub(crate) fn time_zone(self, time_zone: &'static str) -> Self {
        Self { time_zone, ..self }
    }

    /// A configuration file of this name and content.
    pub(crate) fn configured(self, name: &str, text: &str) -> Self {
        let config = self.path(name);
        fs::write(&config, text).expect("a configuration");
        Self { config, ..self }
    }

    /// Keeps the answer in the MariaDB server behind `socket`, as `user`; `more` is added to `[mariadb]`.
    pub(crate) fn in_mariadb(self, socket: &Path, user: &str, more: &str) -> Self {
        let socket = socket.display();
        self.configured(
            "mariadb.toml",
            &format!(
                "stores = ['mariadb']\n[mariadb]\nsocket = '{socket}'\nuser = '{user}'\n{more}\n"
            ),
        )
    }

    /// A log of another name.
    pub(crate) fn log(self, name: &str) -> Self {
        let log = self.log.with_file_name(name);
        Self { log, ..self }
    }

    /// An environment that keeps the answer elsewhere.
    pub(crate) fn sqlite(self, sqlite: impl Into<PathBuf>) -> Self {
        Self {
            sqlite: sqlite.into(),
            ..self
        }
    }

    /// Where the answer is kept.
    pub(crate) fn sqlite_path(&self) -> &Path {
        &self.sqlite
    }

    /// A path in this environment's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The live audit log.
    pub(crate) fn log_path(&self) -> &Path {
        &self.log
    }

    /// Runs `conntracker` with these arguments to its end.
    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Finished<'_> {
        self.start(args).finish()
    }

    /// Starts `conntracker` with these arguments.
    #[track_caller]
    pub(crate) fn start(&self, args: &[&str]) -> Started<'_> {
        self.start_command(self.command(args))
    }

    /// The command line with these arguments, for a test that wants to change something about it.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.command_of(env!("CARGO_BIN_EXE_conntracker"), args)
    }

    /// The same with `script` of a shell before it: its `"$@"` is the command line.
    pub(crate) fn shell(&self, script: &str, args: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_conntracker");
        self.command_of("sh", &[&["-c", script, "sh", program], args].concat())
    }

    fn command_of(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .arg("--config")
            .arg(&self.config)
            .arg("--sqlite")
            .arg(&self.sqlite)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("TZ", "UTC")
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts a command line of [`command`](Self::command).
    #[track_caller]
    pub(crate) fn start_command(&self, mut command: Command) -> Started<'_> {
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Started {
            env: self,
            command: format!("{command:?}"),
            child,
        }
    }

    /// Starts a run over the log.
    #[track_caller]
    pub(crate) fn start_collecting(&self) -> Started<'_> {
        let log = self.log.to_str().expect("a UTF-8 path");
        self.start(&["run", "--audit-log", log, "--time-zone", self.time_zone])
    }

    /// One run over the log, which must have nothing to say.
    #[track_caller]
    pub(crate) fn collect(&self) {
        self.start_collecting().finish().is_silent_success();
    }

    /// What `conntracker accounts` reports.
    #[track_caller]
    pub(crate) fn accounts(&self) -> Vec<Value> {
        self.run(&["accounts", "--format", "json"]).json()
    }

    /// What it reports about the account `name`, whatever its host; there must be one at most.
    #[track_caller]
    pub(crate) fn account(&self, name: &str) -> Option<Value> {
        let accounts = self.accounts();
        let mut rows = accounts.iter().filter(|row| row["name"] == name);
        let first = rows.next();
        assert_eq!(
            rows.next(),
            None,
            "{name:?} has several rows: {accounts:#?}"
        );
        first.cloned()
    }

    /// What `conntracker failures` reports.
    #[track_caller]
    pub(crate) fn failures(&self) -> Vec<Value> {
        self.run(&["failures", "--format", "json"]).json()
    }

    /// What `conntracker quarantine` reports.
    #[track_caller]
    pub(crate) fn quarantine(&self) -> Vec<Value> {
        self.run(&["quarantine", "--format", "json"]).json()
    }

    /// The figures that are kept now.
    #[track_caller]
    pub(crate) fn figures(&self) -> Figures {
        Figures::reported(&self.accounts(), &self.failures())
    }

    /// When each name was used, of all servers.
    pub(crate) fn activity(&self) -> Vec<Activity> {
        let mut store = Sqlite::open_read_only(&self.sqlite).expect("a store");
        let mut servers: Vec<_> = self
            .accounts()
            .iter()
            .filter_map(|row| row["server"].as_str().map(Name::from))
            .collect();
        servers.dedup();
        let mut rows = Vec::new();
        for server in servers {
            let filter = ActivityFilter {
                server,
                ..ActivityFilter::default()
            };
            let listed = store.activity(&filter, &mut |row| {
                rows.push(row);
                Ok(())
            });
            listed.expect("activity");
        }
        rows
    }

    /// What is kept by the hour adds up to the figures.
    #[track_caller]
    fn activity_adds_up(&self, expected: &Figures) {
        let mut logins = BTreeMap::new();
        let mut failures = 0;
        for Activity { name, slot } in self.activity() {
            failures += slot.failures;
            if let (Some(name), 1..) = (name, slot.logins) {
                let name = String::from_utf8(name.0).expect("a name");
                *logins.entry(name).or_default() += slot.logins;
            }
        }
        assert_eq!((logins, failures), expected.by_name(), "activity");
    }

    /// Runs again and again, each run with nothing to say, until the figures are those expected: a
    /// run may hold a record back until it knows what follows. None may be too great, ever.
    #[track_caller]
    pub(crate) fn collect_until(&self, expected: &Figures) {
        let deadline = Instant::now() + HELD_BACK;
        loop {
            self.collect();
            let figures = self.figures();
            if figures == *expected {
                break;
            }
            if figures.exceed(expected) || Instant::now() > deadline {
                panic!(
                    "the figures are not those expected:\n{}\nquarantine: {:#?}\n{}",
                    figures.difference(expected),
                    self.quarantine(),
                    self.listing()
                );
            }
            thread::sleep(Duration::from_millis(200));
        }
        assert_eq!(
            self.quarantine(),
            Vec::<Value>::new(),
            "genuine records are in quarantine"
        );
        self.activity_adds_up(expected);
    }

    /// Starts runs over the log and kills each at a random moment of its life: `rounds` of them, and
    /// more until it is `enough`. Of so many, some must have been killed and some must have ended:
    /// otherwise this proves nothing.
    #[track_caller]
    pub(crate) fn collect_and_kill(
        &self,
        mut rounds: usize,
        enough: impl Fn() -> bool,
        random: &mut Random,
    ) {
        // Delays are shorter than this. It follows the time that a run takes, which depends on the
        // machine and on what there is to read, so that about one run in three reaches its end and
        // moves the work on.
        let mut limit = Duration::from_millis(20);
        let (mut killed, mut ended) = (0, 0);
        while killed + ended < rounds {
            if self
                .start_collecting()
                .kill_after(random.shorter_than(limit))
            {
                killed += 1;
                limit += limit / 16;
            } else {
                ended += 1;
                limit -= limit / 8;
            }
            if killed + ended == rounds && !enough() {
                assert!(
                    rounds < MANY_ROUNDS,
                    "after {rounds} rounds it is not enough yet"
                );
                rounds += 1;
            }
        }
        assert!(
            killed >= rounds / 10 && ended >= rounds / 20,
            "{killed} runs were killed and {ended} came to their end, which proves too little; \
             the last delays were shorter than {limit:?}"
        );
    }

    /// This environment must have the same rows as one that reads the whole log in a single pass.
    #[track_caller]
    pub(crate) fn equals_a_single_pass(&self, expected: &Figures) {
        let fresh = Self {
            config: self.config.clone(),
            ..Self::reading(&self.log).time_zone(self.time_zone)
        };
        fresh.collect_until(expected);
        // What was written after our last run, such as the end of an administrator's session.
        self.collect();
        assert_eq!(
            self.accounts(),
            fresh.accounts(),
            "many runs (left) against one (right)"
        );
        assert_eq!(
            self.failures(),
            fresh.failures(),
            "many runs (left) against one (right)"
        );
        // Failures of a name stand where it was known when they were read.
        let activity = |env: &Self| {
            let mut rows = env.activity();
            let mut failures: BTreeMap<UtcSeconds, u64> = BTreeMap::new();
            for Activity { slot, .. } in &mut rows {
                *failures.entry(slot.start).or_default() += std::mem::take(&mut slot.failures);
            }
            failures.retain(|_, count| *count > 0);
            rows.retain(|row| row.slot.login_hours != 0);
            (rows, failures)
        };
        assert_eq!(
            activity(self),
            activity(&fresh),
            "many runs (left) against one (right)"
        );
    }

    /// The files of this environment and of its log, with their sizes.
    pub(crate) fn listing(&self) -> String {
        let mut lines = String::new();
        list(self.folder.path(), &mut lines);
        if !self.log.starts_with(self.folder.path()) {
            list(self.log.parent().expect("a log in a folder"), &mut lines);
        }
        lines
    }
}

/// A run that has not ended yet.
#[derive(Debug)]
pub(crate) struct Started<'env> {
    env: &'env TestEnv,
    command: String,
    child: Child,
}

impl<'env> Started<'env> {
    /// Waits for its end.
    #[track_caller]
    pub(crate) fn finish(self) -> Finished<'env> {
        let Self {
            env,
            command,
            child,
        } = self;
        let pid = Pid::from_child(&child);
        let (sender, receiver) = mpsc::channel();
        let waiter = thread::spawn(move || sender.send(child.wait_with_output()));
        let Ok(output) = receiver.recv_timeout(PATIENCE) else {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            let _ = waiter.join();
            panic!(
                "{command}\ndid not end within {PATIENCE:?}\n{}",
                env.listing()
            );
        };
        Finished {
            env,
            output: output.expect("what it said"),
            command,
        }
    }

    /// The pipe to its standard input, if its command has one.
    pub(crate) fn input(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("a pipe")
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a look at the run").is_none()
    }

    /// Kills it after `delay` (SIGKILL), and tells whether that came before its end. If it did not,
    /// the run must have been a good one.
    #[track_caller]
    pub(crate) fn kill_after(mut self, delay: Duration) -> bool {
        thread::sleep(delay);
        self.child.kill().expect("kill the run");
        let finished = self.finish();
        let killed = finished.output.status.signal() == Some(9);
        if !killed {
            finished.is_silent_success();
        }
        killed
    }
}

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct Finished<'env> {
    env: &'env TestEnv,
    command: String,
    output: Output,
}

impl Finished<'_> {
    /// It ended well and had nothing to say.
    #[track_caller]
    pub(crate) fn is_silent_success(&self) -> &Self {
        self.exits_with(0);
        if !self.output.stdout.is_empty() || !self.output.stderr.is_empty() {
            self.fail("should have been silent");
        }
        self
    }

    /// It told its caller `code`.
    #[track_caller]
    pub(crate) fn exits_with(&self, code: i32) -> &Self {
        if self.output.status.code() != Some(code) {
            self.fail(&format!("should have exited with {code}"));
        }
        self
    }

    /// What it told its caller; none if a signal ended it.
    pub(crate) fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    /// It did not do its work: it said so (3), or was killed by a signal, which its parent sees.
    #[track_caller]
    pub(crate) fn ends_badly(&self) -> &Self {
        if !matches!(self.output.status.code(), None | Some(3)) {
            self.fail("should have failed");
        }
        self
    }

    /// It complained (on stderr) in words that contain `words`.
    #[track_caller]
    pub(crate) fn complains(&self, words: &str) -> &Self {
        if !String::from_utf8_lossy(&self.output.stderr).contains(words) {
            self.fail(&format!("should have said {words:?} on stderr"));
        }
        self
    }

    /// It said (on stderr) one line, which contains each of `words`.
    #[track_caller]
    pub(crate) fn complains_once(&self, words: &[&str]) -> &Self {
        let stderr = self.stderr();
        if stderr.lines().count() != 1 {
            self.fail("should have said one line on stderr");
        }
        words.iter().fold(self, |this, words| this.complains(words))
    }

    /// What it said on stdout.
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// What it said on stderr.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// It printed (on stdout) exactly this.
    #[track_caller]
    pub(crate) fn prints(&self, text: &str) -> &Self {
        if self.output.stdout != text.as_bytes() {
            self.fail(&format!("should have printed:\n{text}"));
        }
        self
    }

    /// The rows that it printed; it may have found them worth a look (1).
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<Value> {
        if !matches!(self.output.status.code(), Some(0 | 1)) {
            self.fail("should have exited with 0 or 1");
        }
        match serde_json::from_slice(&self.output.stdout) {
            Ok(rows) => rows,
            Err(error) => self.fail(&format!("should have printed a JSON array: {error}")),
        }
    }

    /// Fails with everything that one wants to know of this run.
    #[track_caller]
    pub(crate) fn fail(&self, what: &str) -> ! {
        panic!(
            "{}\n{what}\n{}\nstdout: {}\nstderr: {}\n{}",
            self.command,
            self.output.status,
            String::from_utf8_lossy(&self.output.stdout),
            String::from_utf8_lossy(&self.output.stderr),
            self.env.listing()
        )
    }
}

fn list(folder: &Path, lines: &mut String) {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            list(&path, lines);
        } else {
            let size = fs::metadata(&path)
                .map(|data| data.len())
                .unwrap_or_default();
            let _ = writeln!(lines, "{size:>9} {}", path.display());
        }
    }
}
