//! Logs that real servers wrote, with what their clients truly did (`tests/data/audit-cases`): the
//! program must say the same of each, in one pass, in many passes while the log grows by half a
//! record at a time, and over rotations at any point. Where it cannot, the reason stands here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::NaiveDateTime;
use conntracker::audit_log::source;
use conntracker::ingest::{Settings, ingest};
use conntracker::store::Retention;
use conntracker::store::Sqlite;
use conntracker::time::{UtcSeconds, Zone};
use flate2::Compression;
use flate2::write::GzEncoder;
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;

use crate::env::TestEnv;
use crate::random::Random;

/// Cases whose files hold less than happened: compared with a count of what they hold.
const INCOMPLETE: [(&str, &str); 3] = [
    (
        "rotation_small_3",
        "the plugin removed rotated files before anyone read them",
    ),
    (
        "logrotate_copytruncate",
        "logrotate lost what was written between copy and truncation",
    ),
    ("disk_full", "the server could not write on a full disk"),
];

/// Logins that are told otherwise than they happened: (case, what was counted, why).
const TOLD_OTHERWISE: [(&str, &[Login], &str); 2] = [
    (
        "forge_database_use_once",
        &[
            ("alice", "127.0.0.1", 1, "2026-11-22 19:12:06"),
            ("root", "localhost", 1, "2026-11-22 19:12:06"),
            ("root2", "::1", 1, "2026-11-22 19:12:06"),
        ],
        "root2 is forged: a database name that is written once, by the DISCONNECT before it, and \
         nothing in the file betrays it",
    ),
    (
        "forge_database_names",
        &[("alice", "127.0.0.1", 2, "2026-11-22 19:12:28")],
        "two of alice's four logins went to databases whose names hold a line break (reported as \
         two lines that are no records) and a second operation (in quarantine)",
    ),
];

/// Accounts that the log proves active without a CONNECT: (case, name, host, last login, last use).
const WITHOUT_CONNECT: [(&str, &str, &str, Option<&str>, &str); 3] = [
    // alice became bob, and bob became carol.
    (
        "change_user",
        "carol",
        "127.0.0.1",
        Some("2026-11-22 19:09:39"),
        "2026-11-22 19:09:39",
    ),
    // The login came while logging was off; its end is there.
    (
        "logging_off_gap",
        "bob",
        "127.0.0.1",
        None,
        "2026-11-22 19:09:57",
    ),
    // The administrator came in before logging was on, and was there until the shutdown.
    (
        "killed_and_timeout",
        "root",
        "localhost",
        None,
        "2026-11-22 19:09:54",
    ),
];

/// Cases that are worth a look (exit code 1), and what is said of them. All others are silent.
const WORTH_A_LOOK: [(&str, &[&str]); 11] = [
    ("disk_full", &["a record is torn"]),
    ("forge_change_user_once", &["1 records are not believed"]),
    (
        "forge_database_names",
        &["4 lines are no records", "4 records are not believed"],
    ),
    ("forge_user_one_newline", &["2 records are not believed"]),
    ("forge_user_plausible_id", &["2 records are not believed"]),
    ("forge_user_two_newlines", &["4 records are not believed"]),
    ("v10_5_29_basic", &["1 records are not believed"]),
    ("v11_8_6_basic", &["1 records are not believed"]),
    ("v10_5_29_forge", &["5 records are not believed"]),
    // Switched off between the lives of the server.
    ("host_name_changes", &["logging was switched off"]),
    ("logging_off_gap", &["logging was switched off"]),
];

/// What clients wrote into the log.
struct Forgery {
    case: &'static str,
    /// Address of the connection that wrote it, where the log tells it.
    from: Option<&'static str>,
    /// What is in quarantine: name, host, connection id, how often.
    quarantine: &'static [(&'static str, &'static str, u64, usize)],
    /// Ends of the lines behind which a record goes on: the server wrote it and the next line at
    /// once.
    goes_on: &'static [&'static str],
}

/// alice became bob, and her session's end stands right before a refused change of user: a part of the
/// name that is tried there could look just so.
const COULD_BE_FORGED: Forgery = Forgery {
    case: "v10_5_29_basic",
    from: Some("127.0.0.1"),
    quarantine: &[("bob", "127.0.0.1", 13, 1)],
    goes_on: &[
        "bob,127.0.0.1,13,0,DISCONNECT,,,0",
        "alice,127.0.0.1,14,0,CONNECT,,,0",
    ],
};

const FORGERIES: [Forgery; 10] = [
    COULD_BE_FORGED,
    Forgery {
        case: "v11_8_6_basic",
        ..COULD_BE_FORGED
    },
    Forgery {
        case: "forge_user_one_newline",
        from: Some("192.0.2.66"),
        quarantine: &[("root2", "localhost", 99, 2)],
        goes_on: &["root2,localhost,99,0,CONNECT,,,0"],
    },
    Forgery {
        case: "forge_user_plausible_id",
        from: Some("192.0.2.66"),
        quarantine: &[("root2", "localhost", 6, 2)],
        goes_on: &["root2,localhost,6,0,CONNECT,,,0"],
    },
    Forgery {
        case: "forge_user_two_newlines",
        from: Some("192.0.2.66"),
        quarantine: &[("root2", "localhost", 98, 2), ("root2", "localhost", 99, 2)],
        goes_on: &[
            ",db1,x",
            ",db1,",
            "root2,localhost,99,0,CONNECT,,,0",
            "root2,localhost,98,0,CONNECT,,,0",
        ],
    },
    Forgery {
        case: "forge_change_user_once",
        from: Some("192.0.2.66"),
        quarantine: &[("root2", "localhost", 99, 1)],
        goes_on: &["root2,localhost,99,0,CONNECT,,,0"],
    },
    Forgery {
        case: "v10_5_29_forge",
        from: Some("192.0.2.66"),
        quarantine: &[
            ("root2", "h", 99, 2),
            ("root2", "localhost", 96, 1),
            ("root2", "localhost", 98, 2),
        ],
        goes_on: &[
            ",db1,x",
            "root2,h,99,0,CONNECT,,,0",
            "root2,localhost,98,0,CONNECT,,,0",
            "root2,localhost,96,0,CONNECT,,,0",
        ],
    },
    Forgery {
        case: "forge_database_names",
        from: Some("127.0.0.1"),
        quarantine: &[("root", "::1", 99, 2)],
        goes_on: &[
            "CONNECT,a",
            "alice,127.0.0.1,7,0,CONNECT,,,0",
            "alice,127.0.0.1,7,0,DISCONNECT,,,0",
            // What a database name writes is known by its second occurrence, at the end of the
            // session: a run that ends before believes the first, and says so afterwards.
            "root,::1,99,0,CONNECT,,,0",
        ],
    },
    Forgery {
        // A genuine login: who wrote a record with two operations is not known.
        case: "forge_database_names",
        from: None,
        quarantine: &[
            ("alice,127.0.0.1,8,0,CONNECT", "w", 5, 1),
            ("alice,127.0.0.1,8,0,DISCONNECT", "w", 5, 1),
        ],
        goes_on: &[],
    },
    Forgery {
        case: "forge_database_use_once",
        from: None,
        quarantine: &[],
        goes_on: &["DISCONNECT,alice_x,,0"],
    },
];

/// The log whose times have no year, which comes from when the file was written last. Here that is
/// told; a test that writes the file anew can't.
const WITHOUT_YEAR: &str = "syslog_rsyslog/syslog";

/// Name, host, number of CONNECT records, last login in the server's zone.
type Login = (&'static str, &'static str, u64, &'static str);

#[test]
fn one_pass_tells_what_the_clients_did() {
    each_case(|case, env, problems| {
        case.copy_to(env.log_path().parent().unwrap());
        let run = || env.start_collecting().finish();
        let first = run();
        match WORTH_A_LOOK.iter().find(|(name, _)| *name == case.name) {
            Some((_, words)) => {
                first.exits_with(1).prints("");
                for words in *words {
                    first.complains(words);
                }
            }
            None => {
                first.is_silent_success();
            }
        }
        problems.compare("accounts", &case.reported(&env.accounts()), &case.logins());
        problems.compare(
            "failures",
            &failures(&env.failures(), "attempts"),
            &failures(&case.expected["failed"], "count"),
        );
        problems.compare(
            "quarantine",
            &quarantine(&env.quarantine()),
            &case.quarantine(),
        );

        let before = Kept::read(env.sqlite_path());
        run().is_silent_success();
        problems.compare_kept(
            "after a second run",
            &Kept::read(env.sqlite_path()),
            &before,
        );
    });
}

#[test]
fn growing_by_half_a_record_at_a_time_the_figures_are_the_same() {
    each_case_written_anew(|case, env, problems| {
        let once = case.in_one_pass();
        let mut random = Random::new(7);
        let mut grown = Growing::new(env, case.zone);
        // Of a long log only some of its records come alone, which costs less and proves as much.
        let records = case.records();
        let alone = if records.len() > 40 {
            4_000 / records.len()
        } else {
            100
        };
        for (at, record) in records.iter().enumerate() {
            if random.chance(alone) {
                let half = half_of(record, &mut random);
                grown.write(&record[..half]);
                if at > 0 || !case.live.starts_with("syslog") {
                    grown.pass(&once, problems);
                }
                grown.write(&record[half..]);
                grown.pass(&once, problems);
            } else {
                grown.write(record);
            }
        }
        let kept = grown.finish(&once, problems);
        problems.compare_kept("after growing (found) against one pass", &kept, &once);
    });
}

#[test]
fn rotated_at_any_point_the_figures_are_the_same() {
    each_case_written_anew(|case, env, problems| {
        let once = case.in_one_pass();
        let records = case.records();
        for seed in 0..4 {
            let env = TestEnv::reading(env.log_path().with_file_name(format!("{seed}.log")));
            let mut random = Random::new(seed);
            let mut grown = Growing::new(&env, case.zone);
            let rotations = 1 + random.below(5.min(records.len()));
            let cuts: BTreeSet<usize> = (0..rotations)
                .map(|_| 1 + random.below(records.len() - 1))
                .collect();
            for (at, record) in records.iter().enumerate() {
                if cuts.contains(&at) {
                    grown.rotate(random.chance(30));
                }
                grown.write(record);
                if random.chance(300 / records.len()) {
                    grown.pass(&once, problems);
                }
            }
            let kept = grown.finish(&once, problems);
            let what = format!("rotated before records {cuts:?} (found) against one pass");
            problems.compare_kept(&what, &kept, &once);
        }
    });
}

#[test]
fn no_exception_outlives_its_case() {
    let names: BTreeSet<_> = all_cases().into_iter().map(|case| case.name).collect();
    let excepted = (INCOMPLETE.iter().map(|(case, _)| case))
        .chain(TOLD_OTHERWISE.iter().map(|(case, ..)| case))
        .chain(WITHOUT_CONNECT.iter().map(|(case, ..)| case))
        .chain(WORTH_A_LOOK.iter().map(|(case, _)| case))
        .chain(FORGERIES.iter().map(|forgery| &forgery.case));
    for case in excepted {
        assert!(names.contains(*case), "there is no case {case}");
    }
}

/// A log of a folder of `tests/data/audit-cases`; most hold one.
struct Case {
    name: String,
    live: String,
    /// The oldest first.
    files: Vec<PathBuf>,
    zone: &'static str,
    expected: Value,
}

fn all_cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/audit-cases");
    let mut cases: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .flat_map(|entry| Case::read(&entry.unwrap().path()))
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(cases.len() >= 44, "only {} cases", cases.len());
    cases
}

impl Case {
    fn read(folder: &Path) -> Vec<Self> {
        let expected = fs::read(folder.join("expected.json")).expect("what happened");
        let expected: Value = serde_json::from_slice(&expected).expect("JSON");
        let zone = match expected["zone"].as_str() {
            // One zone is as good as another where none is told.
            None | Some("UTC" | "server local time") => "UTC",
            Some("+01:00") => "+01:00",
            Some("Europe/Zurich") => "Europe/Zurich",
            Some(other) => panic!("{}: an unknown zone {other}", folder.display()),
        };
        let mut logs: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if !matches!(name, "case.txt" | "expected.json") {
                let live = name.trim_end_matches(|c: char| c == '.' || c.is_ascii_digit());
                // `.rfc5424` is no number of a rotated file.
                let live = if live.ends_with(".rfc") { name } else { live };
                logs.entry(live.to_owned()).or_default().push(path);
            }
        }
        let name = folder.file_name().unwrap().to_str().unwrap();
        let several = logs.len() > 1;
        logs.into_iter()
            .map(|(live, mut files)| {
                files.sort();
                files.reverse();
                Self {
                    name: match several {
                        true => format!("{name}/{live}"),
                        false => name.to_owned(),
                    },
                    live,
                    files,
                    zone,
                    expected: expected.clone(),
                }
            })
            .collect()
    }

    /// As the server left them long ago: what is not there is not coming.
    fn copy_to(&self, folder: &Path) {
        for path in &self.files {
            let copy = folder.join(path.file_name().unwrap());
            fs::copy(path, &copy).expect("a copy");
            grow_old(&copy);
        }
    }

    /// The log as the server wrote it, record by record: a name with line breaks makes a record of
    /// several lines, which the server writes at once.
    fn records(&self) -> Vec<Vec<u8>> {
        let goes_on: Vec<_> = FORGERIES
            .iter()
            .filter(|forgery| forgery.case == self.name)
            .flat_map(|forgery| forgery.goes_on)
            .collect();
        let mut records: Vec<Vec<u8>> = Vec::new();
        let mut open = false;
        for path in &self.files {
            for line in fs::read(path)
                .unwrap()
                .split_inclusive(|byte| *byte == b'\n')
            {
                match records.last_mut() {
                    Some(record) if open => record.extend(line),
                    _ => records.push(line.to_vec()),
                }
                let text = line.strip_suffix(b"\n").unwrap_or(line);
                open = goes_on.iter().any(|end| text.ends_with(end.as_bytes()))
                    || records.len() == 1 && self.is_foreign(&records[0]);
            }
        }
        records
    }

    /// Whether these lines are all of other programs. A file that holds nothing else is no audit log.
    fn is_foreign(&self, lines: &[u8]) -> bool {
        let ident = b"mysql-server_auditing";
        self.live.starts_with("syslog") && !lines.windows(ident.len()).any(|part| part == ident)
    }

    /// The accounts that must be told.
    fn logins(&self) -> Vec<String> {
        let told = TOLD_OTHERWISE.iter().find(|(case, ..)| *case == self.name);
        let counted = INCOMPLETE
            .iter()
            .any(|(case, _)| *case == self.name)
            .then(|| self.count_connects());
        let logins: Vec<(&str, &str, u64, &str)> = match told {
            Some((_, logins, _)) => logins.to_vec(),
            None => list(&self.expected["accounts"])
                .iter()
                .map(|row| {
                    let (name, host) = (text(row, "name"), text(row, "host"));
                    let count = match &counted {
                        Some(counts) => counts[&(name.to_owned(), host.to_owned())],
                        None => row["connects"].as_u64().unwrap(),
                    };
                    (name, host, count, text(row, "last_seen"))
                })
                .collect(),
        };
        let mut rows: Vec<_> = logins
            .into_iter()
            .map(|(name, host, count, last)| {
                let utc = self.expected["last_seen_utc"][name].as_str();
                login(name, host, count, last, utc)
            })
            .collect();
        for (case, name, host, last_seen, last_active) in WITHOUT_CONNECT {
            if case == self.name {
                rows.push(format!(
                    "{name:?}@{host:?}: no CONNECT, last login {last_seen:?}, active {last_active}"
                ));
            }
        }
        rows.sort();
        rows
    }

    /// The same from what the program reports.
    fn reported(&self, accounts: &[Value]) -> Vec<String> {
        let mut rows: Vec<_> = accounts
            .iter()
            .map(|row| {
                let (name, host) = (text(row, "name"), text(row, "host"));
                let local = |field: &str| row[field].as_str().map(|time| self.local(time));
                let last_seen = local("last_seen");
                match row["connects"].as_u64() {
                    Some(0) => format!(
                        "{name:?}@{host:?}: no CONNECT, last login {last_seen:?}, active {}",
                        local("last_active").expect("a time of last use"),
                    ),
                    count => {
                        let utc = self.expected["last_seen_utc"][name]
                            .as_str()
                            .and(row["last_seen"].as_str());
                        let last = last_seen.expect("a time of last login");
                        login(name, host, count.expect("a count"), &last, utc)
                    }
                }
            })
            .collect();
        rows.sort();
        rows
    }

    fn local(&self, time: &str) -> String {
        let time = NaiveDateTime::parse_from_str(time, "%Y-%m-%dT%H:%M:%SZ").expect("RFC 3339");
        let zone = Zone::parse(self.zone).expect("a zone");
        let local = zone.at(UtcSeconds(time.and_utc().timestamp()));
        local.format("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// CONNECT records that the files hold, by name and host; counted from the operation to the
    /// left, for the names here hold no commas.
    fn count_connects(&self) -> BTreeMap<(String, String), u64> {
        let mut counts = BTreeMap::new();
        for path in &self.files {
            let content = fs::read_to_string(path).expect("plain text");
            for (at, _) in content.match_indices(",0,CONNECT,") {
                let mut fields = content[..at].rsplit(',');
                let (_id, host, name) = (fields.next(), fields.next(), fields.next());
                let key = (name.unwrap().to_owned(), host.unwrap().to_owned());
                *counts.entry(key).or_default() += 1;
            }
        }
        counts
    }

    fn quarantine(&self) -> Vec<String> {
        let mut rows: Vec<_> = FORGERIES
            .iter()
            .filter(|forgery| forgery.case == self.name)
            .flat_map(|forgery| {
                let rows = forgery.quarantine.iter();
                rows.flat_map(|(name, host, id, times)| {
                    let row = format!("{name:?}@{host:?} id {id} from {:?}", forgery.from);
                    vec![row; *times]
                })
            })
            .collect();
        rows.sort();
        rows
    }

    /// What a single pass keeps.
    fn in_one_pass(&self) -> Kept {
        let folder = TempDir::with_prefix("conntracker-test-").expect("a temporary folder");
        self.copy_to(folder.path());
        let log = folder.path().join(&self.live);
        let sqlite = folder.path().join("conntracker.sqlite");
        let mut store = Sqlite::open(&sqlite).expect("a store");
        let told = pass(&log, self.zone, &mut store);
        Kept::read(&sqlite).with(told)
    }
}

/// Does `check` for each case in an environment of its own, and fails with all that it found.
fn each_case(check: impl Fn(&Case, &TestEnv, &mut Problems)) {
    let mut problems = Problems::default();
    for case in all_cases() {
        problems.case.clone_from(&case.name);
        let env = TestEnv::new().time_zone(case.zone).log(&case.live);
        check(&case, &env, &mut problems);
    }
    assert!(problems.found.is_empty(), "\n{}", problems.found);
}

fn each_case_written_anew(check: impl Fn(&Case, &TestEnv, &mut Problems)) {
    each_case(|case, env, problems| {
        if case.name != WITHOUT_YEAR {
            check(case, env, problems);
        }
    });
}

/// What is wrong, by case.
#[derive(Default)]
struct Problems {
    case: String,
    found: String,
}

impl Problems {
    fn add(&mut self, what: &str) {
        self.found += &format!("{}: {what}\n", self.case);
    }

    /// Compares two sorted lists.
    fn compare(&mut self, what: &str, found: &[String], expected: &[String]) {
        if found == expected {
            return;
        }
        let mut message = format!("{what}:");
        for (sign, rows, others) in [("missing", expected, found), ("surplus", found, expected)] {
            let mut others = others.to_vec();
            for row in rows {
                match others.iter().position(|other| other == row) {
                    Some(at) => drop(others.swap_remove(at)),
                    None => message += &format!("\n    {sign}: {row}"),
                }
            }
        }
        self.add(&message);
    }

    fn compare_kept(&mut self, what: &str, found: &Kept, expected: &Kept) {
        for (table, rows) in &expected.tables {
            self.compare(&format!("{table} {what}"), &found.tables[table], rows);
        }
    }
}

/// A log that grows, and a store that follows it.
struct Growing {
    log: PathBuf,
    file: File,
    rotated: Vec<PathBuf>,
    zone: &'static str,
    sqlite: PathBuf,
    store: Sqlite,
    told: Told,
}

impl Growing {
    fn new(env: &TestEnv, zone: &'static str) -> Self {
        Self {
            log: env.log_path().to_owned(),
            file: append_to(env.log_path()),
            rotated: Vec::new(),
            zone,
            sqlite: env.sqlite_path().to_owned(),
            store: Sqlite::open(env.sqlite_path()).expect("a store"),
            told: Told::default(),
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.file.write_all(bytes).expect("room for the log");
    }

    /// As the plugin does it, the highest number first; perhaps the new `.1` is compressed then.
    fn rotate(&mut self, compress: bool) {
        for (at, path) in self.rotated.iter_mut().enumerate().rev() {
            let packed = path.extension().is_some_and(|extension| extension == "gz");
            let suffix = if packed { ".gz" } else { "" };
            let name = self.log.file_name().unwrap().to_str().unwrap();
            let next = self
                .log
                .with_file_name(format!("{name}.{}{suffix}", at + 2));
            fs::rename(&path, &next).expect("rotate");
            *path = next;
        }
        let mut first = self.log.clone();
        first.as_mut_os_string().push(".1");
        fs::rename(&self.log, &first).expect("rotate");
        self.file = append_to(&self.log);
        if compress {
            let content = fs::read(&first).expect("the rotated file");
            fs::remove_file(&first).expect("away with it");
            first.as_mut_os_string().push(".gz");
            let packed = File::create_new(&first).expect("a packed file");
            let mut packed = GzEncoder::new(packed, Compression::fast());
            packed.write_all(&content).expect("room");
            packed.finish().expect("room");
        }
        self.rotated.insert(0, first);
    }

    /// One pass, after which no figure may be greater than in the end.
    fn pass(&mut self, once: &Kept, problems: &mut Problems) {
        self.told.add(pass(&self.log, self.zone, &mut self.store));
        for (key, count) in counts(&self.sqlite) {
            let most = once.counts.get(&key).copied().unwrap_or_default();
            if count > most {
                problems.add(&format!(
                    "{key} counts {count}, should be {most} in the end"
                ));
            }
        }
    }

    /// A last pass, when nothing was written for long.
    fn finish(mut self, once: &Kept, problems: &mut Problems) -> Kept {
        self.pass(once, problems);
        grow_old(&self.log);
        self.pass(once, problems);
        Kept::read(&self.sqlite).with(self.told)
    }
}

/// What was told in passing.
#[derive(Default)]
struct Told {
    malformed: u64,
    gaps: usize,
}

impl Told {
    fn add(&mut self, other: Self) {
        self.malformed += other.malformed;
        self.gaps += other.gaps;
    }
}

#[track_caller]
fn pass(log: &Path, zone: &str, store: &mut Sqlite) -> Told {
    let settings = Settings {
        zone: Zone::parse(zone).expect("a zone"),
        server_name: None,
        retention: Retention::default(),
        threads: std::num::NonZero::<usize>::MIN,
    };
    let (logs, errors) = source::find(&[log.to_owned()]);
    assert!(errors.is_empty(), "{}: {errors:?}", log.display());
    let outcome = ingest(&logs[0], &settings, store, &mut |_, _| {}).expect("a pass");
    let errors = outcome.errors;
    assert!(errors.is_empty(), "{}: {errors:?}", log.display());
    Told {
        malformed: outcome.malformed.count,
        gaps: outcome.gaps.len(),
    }
}

/// All that a store keeps of a log, but for names of files and places in them.
struct Kept {
    tables: BTreeMap<&'static str, Vec<String>>,
    counts: BTreeMap<String, i64>,
}

impl Kept {
    fn read(sqlite: &Path) -> Self {
        const TABLES: [(&str, &str); 5] = [
            ("accounts", "*"),
            ("proxied_accounts", "*"),
            ("failed_connects", "*"),
            (
                "quarantine",
                "server, name, host, time, connectionid, why, written_from",
            ),
            ("coverage", "from_time, to_time, gap, server"),
        ];
        let db = Connection::open(sqlite).expect("the store");
        let rows = |(table, columns)| {
            let mut statement = db
                .prepare(&format!("SELECT {columns} FROM {table}"))
                .unwrap();
            let columns = statement.column_count();
            let rows = statement.query_map([], |row| {
                let fields: rusqlite::Result<Vec<_>> = (0..columns)
                    .map(|at| row.get::<_, rusqlite::types::Value>(at))
                    .collect();
                Ok(format!("{:?}", fields?))
            });
            let mut rows: Vec<_> = rows.unwrap().map(Result::unwrap).collect();
            rows.sort();
            (table, rows)
        };
        Self {
            tables: TABLES.into_iter().map(rows).collect(),
            counts: counts(sqlite),
        }
    }

    fn with(mut self, told: Told) -> Self {
        let told = [
            format!("{} malformed lines", told.malformed),
            format!("{} gaps", told.gaps),
        ];
        self.tables.insert("what was told", told.to_vec());
        self
    }
}

/// How often each account came in and was refused.
fn counts(sqlite: &Path) -> BTreeMap<String, i64> {
    let db = Connection::open(sqlite).expect("the store");
    let mut statement = db
        .prepare(
            "SELECT quote(name) || '@' || quote(host) || ' CONNECT', connects FROM accounts
             UNION ALL
             SELECT quote(name) || '@' || quote(host) || ' ' || code, attempts FROM failed_connects",
        )
        .unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

/// Somewhere inside a record, but not where one of its lines ends: what is written at once becomes
/// visible page by page, so nobody sees that.
fn half_of(record: &[u8], random: &mut Random) -> usize {
    loop {
        let half = 1 + random.below(record.len() - 1);
        if record[half - 1] != b'\n' {
            return half;
        }
    }
}

fn append_to(path: &Path) -> File {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.expect("a log")
}

/// It was written last soon after the newest of these records.
fn grow_old(path: &Path) {
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_377_600);
    let file = File::options().append(true).open(path).expect("a log");
    let long_ago = then.min(SystemTime::now() - Duration::from_secs(60));
    file.set_modified(long_ago).expect("another time");
}

fn login(name: &str, host: &str, count: u64, last: &str, utc: Option<&str>) -> String {
    let utc = utc.map_or(String::new(), |utc| format!(" ({utc})"));
    format!("{name:?}@{host:?}: {count} connects, last {last}{utc}")
}

fn failures<'a>(rows: impl Into<Rows<'a>>, count: &str) -> Vec<String> {
    let Rows(rows) = rows.into();
    let mut rows: Vec<_> = rows
        .iter()
        .map(|row| {
            let (name, host) = (text(row, "name"), text(row, "host"));
            format!(
                "{name:?}@{host:?}: {} with code {}",
                row[count], row["code"]
            )
        })
        .collect();
    rows.sort();
    rows
}

fn quarantine(rows: &[Value]) -> Vec<String> {
    let mut rows: Vec<_> = rows
        .iter()
        .map(|row| {
            let (name, host) = (text(row, "name"), text(row, "host"));
            let (id, from) = (&row["connectionid"], row["from"].as_str());
            format!("{name:?}@{host:?} id {id} from {from:?}")
        })
        .collect();
    rows.sort();
    rows
}

struct Rows<'a>(&'a [Value]);

impl<'a> From<&'a Value> for Rows<'a> {
    fn from(value: &'a Value) -> Self {
        Self(list(value))
    }
}

impl<'a> From<&'a Vec<Value>> for Rows<'a> {
    fn from(rows: &'a Vec<Value>) -> Self {
        Self(rows)
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("an array")
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    let text = row[field].as_str();
    text.unwrap_or_else(|| panic!("no text in the field {field:?} of {row}"))
}
