//! Kills, and runs at the same time, over a log that is written and rotated meanwhile: every record
//! counts once, and no record counts twice. No server takes part, so the log can grow faster than
//! any server would write it.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use chrono::{NaiveDate, NaiveDateTime, TimeDelta};

use crate::env::{MANY_ROUNDS, TestEnv};
use crate::figures::Figures;
use crate::flag::Flag;
use crate::random::Random;

#[test]
fn killed_at_random_moments_while_the_log_rotates_each_record_counts_once() {
    let env = env();
    let expected = while_written(env.log_path(), 1, || {
        let mut random = Random::new(2);
        env.collect_and_kill(100, || rotated(env.log_path()), &mut random);
    });
    env.collect_until(&expected);
    env.equals_a_single_pass(&expected);
}

#[test]
fn two_runs_at_once_count_each_record_once() {
    let env = env();
    let expected = while_written(env.log_path(), 3, || {
        let mut random = Random::new(4);
        for round in 0.. {
            if round >= 60 && rotated(env.log_path()) {
                break;
            }
            assert!(round < MANY_ROUNDS, "the log does not rotate");
            let first = env.start_collecting();
            thread::sleep(random.shorter_than(Duration::from_millis(3)));
            let second = env.start_collecting();
            first.finish().is_silent_success();
            second.finish().is_silent_success();
        }
    });
    env.collect_until(&expected);
    env.equals_a_single_pass(&expected);
}

/// The log is written fast: days pass, and hours are folded into them.
fn env() -> TestEnv {
    TestEnv::new().configured("kept.toml", "[activity]\nhours_kept = '1d'")
}

/// Does `work` while a thread writes a log, and returns what the log then holds.
fn while_written(log: &Path, seed: u64, work: impl FnOnce()) -> Figures {
    let mut plugin = Plugin::new(log, seed);
    let working = Flag::raised();
    let written = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            while working.is_up() && plugin.has_room() {
                for _ in 0..10 {
                    plugin.event();
                }
                thread::sleep(Duration::from_millis(3));
            }
            plugin.finish()
        });
        let end = working.lower_on_drop();
        work();
        drop(end);
        writer.join().expect("the writer")
    });
    assert!(
        written.events() > 500,
        "the log got only {} events",
        written.events()
    );
    written
}

/// Whether the log has rotated often enough to prove something.
fn rotated(log: &Path) -> bool {
    log.with_extension("log.010").exists()
}

/// Accounts that are easily taken for each other.
const NAMES: [&str; 8] = [
    "app", "app ", "App", "a@b", "o,brien", "jürgen", "root", "x",
];
const HOSTS: [&str; 4] = ["localhost", "192.0.2.7", "2001:db8::7", "b@c"];
const CODES: [u16; 3] = [1045, 1044, 1049];

/// Rotated files before the oldest would fall out. It never comes to that: what falls out before
/// it was read cannot be counted, and here everything must be.
const ROTATIONS: usize = 199;
const ROTATE_SIZE: usize = 16 << 10;

/// Writes what the audit plugin writes, and rotates as it does.
struct Plugin {
    live: PathBuf,
    file: File,
    size: usize,
    rotated: usize,
    random: Random,
    events: u32,
    open: VecDeque<String>,
    written: Figures,
}

impl Plugin {
    fn new(live: &Path, seed: u64) -> Self {
        Self {
            live: live.to_owned(),
            file: File::create(live).expect("a log"),
            size: 0,
            rotated: 0,
            random: Random::new(seed),
            events: 0,
            open: VecDeque::new(),
            written: Figures::default(),
        }
    }

    fn has_room(&self) -> bool {
        self.rotated < ROTATIONS
    }

    /// Somebody comes in, is refused, or leaves.
    fn event(&mut self) {
        self.events += 1;
        let name = self.random.pick(&NAMES);
        let host = self.random.pick(&HOSTS);
        let who = format!("{name},{host},{},0", self.events);
        if self.random.chance(30) {
            let code = self.random.pick(&CODES);
            self.written.add_failure(name, host, code);
            self.record(&format!("{who},FAILED_CONNECT,,,{code}"));
            self.record(&format!("{who},DISCONNECT,,,0"));
        } else {
            self.written.add_connects(name, host, 1);
            self.record(&format!("{who},CONNECT,shop,,0"));
            self.open.push_back(who);
        }
        if self.open.len() > 20 {
            self.disconnect();
        }
    }

    fn disconnect(&mut self) {
        if let Some(who) = self.open.pop_front() {
            self.record(&format!("{who},DISCONNECT,shop,,0"));
        }
    }

    /// Everybody leaves.
    fn finish(mut self) -> Figures {
        while !self.open.is_empty() {
            self.disconnect();
        }
        self.written
    }

    fn record(&mut self, what: &str) {
        let time = start() + TimeDelta::minutes((self.events * 5).into());
        let line = format!("{},db1,{what}\n", time.format("%Y%m%d %H:%M:%S"));
        if self.random.chance(10) {
            // A reader may see half a line.
            let (half, rest) = line.as_bytes().split_at(self.random.below(line.len()));
            self.file.write_all(half).expect("room for the log");
            thread::sleep(self.random.shorter_than(Duration::from_millis(1)));
            self.file.write_all(rest).expect("room for the log");
        } else {
            self.file
                .write_all(line.as_bytes())
                .expect("room for the log");
        }
        self.size += line.len();
        if self.size > ROTATE_SIZE {
            self.rotate();
        }
    }

    /// A chain of renames, the highest first; for an instant there is no live file.
    fn rotate(&mut self) {
        for number in (1..=self.rotated).rev() {
            fs::rename(self.name(number), self.name(number + 1)).expect("rotate");
        }
        fs::rename(&self.live, self.name(1)).expect("rotate");
        if self.random.chance(50) {
            thread::sleep(self.random.shorter_than(Duration::from_millis(2)));
        }
        self.file = File::create_new(&self.live).expect("a new log");
        self.size = 0;
        self.rotated += 1;
    }

    fn name(&self, number: usize) -> PathBuf {
        self.live.with_extension(format!("log.{number:03}"))
    }
}

fn start() -> NaiveDateTime {
    NaiveDate::from_ymd_opt(2026, 3, 2)
        .and_then(|day| day.and_hms_opt(11, 30, 0))
        .expect("a time")
}
