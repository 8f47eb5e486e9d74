//! What is peculiar to SQLite. Whatever is wrong with its file, nothing may be lost: the run says what
//! to do, and the next one, when that is done, catches up.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::thread;
use std::time::Duration;

use conntracker::store::{ActivityFilter, Sqlite, Store};
use nix::unistd::geteuid;
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::store_contract;
use crate::env::TestEnv;

#[test]
fn sqlite_keeps_the_contract() {
    let folder = TempDir::with_prefix("conntracker-test-").expect("a temporary folder");
    let path = folder.path().join("conntracker.sqlite");
    let set_back = || {
        let db = Connection::open(&path).expect("the file");
        let sql =
            "UPDATE activity SET start = datetime(substr(start, 1, 19), '+1000 days') || '+00:00'
                   WHERE server = 'set back'";
        db.execute(sql, []).expect("later rows");
    };
    store_contract(|| Box::new(Sqlite::open(&path).expect("a store")), set_back);
}

// --- The file of the Go program.

/// Shapes that the Go program's table has, or may have had.
const GO_TABLES: [&str; 6] = [
    "CREATE TABLE Accounts (name TEXT, host TEXT, last_seen TEXT)",
    "CREATE TABLE Accounts (name TEXT NOT NULL, host TEXT NOT NULL, last_seen DATETIME NOT NULL,
                            PRIMARY KEY (name, host))",
    "CREATE TABLE IF NOT EXISTS \"Accounts\" (\"name\" VARCHAR(80), \"host\" VARCHAR(255),
                            \"last_seen\" TIMESTAMP, UNIQUE (\"name\", \"host\"))",
    "CREATE TABLE accounts (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, host TEXT,
                            last_seen TEXT, note TEXT)",
    "CREATE TABLE Accounts (host TEXT, last_seen TEXT, name TEXT, PRIMARY KEY (host, name)) WITHOUT ROWID",
    "CREATE TABLE Accounts (NAME TEXT, HOST TEXT, LAST_SEEN TEXT);
     CREATE INDEX seen ON Accounts (LAST_SEEN)",
];

#[test]
fn a_file_of_the_go_program_is_taken_over() {
    for table in GO_TABLES {
        let env = TestEnv::new();
        let db = Connection::open(env.sqlite_path()).unwrap();
        db.execute_batch(table).unwrap();
        for (name, host, seen) in [
            ("mysql", "localhost", "2026-11-22T18:59:00+01:00"),
            ("rfc3339", "10.0.0.1", "2026-01-02T15:04:05+01:00"),
            ("utc", "10.0.0.1", "2026-01-02T14:04:05Z"),
            ("driver", "10.0.0.1", "2026-01-02 15:04:05+01:00"),
            (
                "fraction",
                "10.0.0.1",
                "2026-01-02 15:04:05.123456789+01:00",
            ),
            (
                "stringer",
                "10.0.0.1",
                "2026-01-02 15:04:05.5 +0100 CET m=+0.1",
            ),
            ("bare", "10.0.0.1", "2026-01-02 14:04:05"),
            ("broken", "10.0.0.1", "yesterday"),
            ("alice", "10.0.0.1", "2026-01-02 14:04:05"),
        ] {
            db.execute(
                "INSERT INTO Accounts (name, host, last_seen) VALUES (?1, ?2, ?3)",
                [name, host, seen],
            )
            .unwrap();
        }
        drop(db);

        // Before the first run the reports show it as that run will see it.
        let old = |name| {
            json!({
                "server": "", "name": name, "host": "10.0.0.1", "first_seen": null,
                "last_seen": "2026-01-02T14:04:05Z", "last_active": "2026-01-02T14:04:05Z",
                "connects": 0
            })
        };
        assert_eq!(env.account("rfc3339"), Some(old("rfc3339")), "{table}");
        assert_eq!(env.account("mysql"), None, "{table}");

        write_log(&env, "");
        env.collect();
        let seen_at = |name, server| {
            let mut row = old(name);
            row["server"] = server;
            row
        };
        for name in ["rfc3339", "utc", "driver", "fraction", "stringer", "bare"] {
            let expected = seen_at(name, json!("db1"));
            assert_eq!(env.account(name), Some(expected), "{table}");
        }
        let broken = env.account("broken").expect("the row without a time");
        assert_eq!(broken["last_seen"], Value::Null, "{table}");
        assert_eq!(
            env.account("mysql"),
            None,
            "the bookmark is no account: {table}"
        );
        let alice = env.account("alice").expect("alice");
        assert_eq!(alice["last_seen"], "2026-11-22T19:00:00Z", "{table}");
        assert_eq!(alice["connects"], 1, "{table}");

        // Whoever read the old table with SQL still can.
        let db = Connection::open(env.sqlite_path()).unwrap();
        let mut query = db
            .prepare("SELECT name, host, last_seen FROM Accounts WHERE name IN ('utc', 'alice') ORDER BY name")
            .unwrap();
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        let rows: Vec<(String, String, String)> = rows.unwrap().map(Result::unwrap).collect();
        let row = |name: &str, seen: &str| (name.into(), "10.0.0.1".into(), seen.into());
        assert_eq!(
            rows,
            [
                row("alice", "2026-11-22 19:00:00+00:00"),
                row("utc", "2026-01-02 14:04:05+00:00"),
            ],
            "{table}"
        );
    }
}

// --- What may be wrong with the file.

#[test]
fn another_runs_lock_is_waited_for() {
    let env = TestEnv::new();
    write_log(&env, "");
    env.collect();
    let mut db = Connection::open(env.sqlite_path()).unwrap();
    let lock = db.transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive);
    let lock = lock.expect("a lock");
    write_log(&env, BOB);
    let mut run = env.start_collecting();
    thread::sleep(Duration::from_millis(700));
    assert!(run.is_running(), "it did not wait");
    lock.rollback().unwrap();
    run.finish().is_silent_success();
    assert_eq!(names(&env), ["alice", "bob"]);
}

#[test]
fn a_damaged_file_is_not_touched() {
    let env = TestEnv::new();
    write_log(&env, "");
    env.collect();
    let good = fs::read(env.sqlite_path()).unwrap();
    let mut damaged = good.clone();
    // Behind the first page, so that it still looks like a database.
    damaged[4_096..].fill(0xa5);
    fails_until(
        &env,
        &damaged,
        &["malformed", "restore it from a copy"],
        |env| {
            fs::write(env.sqlite_path(), &good).unwrap();
        },
    );
}

#[test]
fn a_file_that_is_no_database_is_not_touched() {
    let env = TestEnv::new();
    let text = "Dear diary,\n".repeat(1_000);
    fails_until(
        &env,
        text.as_bytes(),
        &["not a database", "move it away"],
        |env| fs::rename(env.sqlite_path(), env.path("diary")).unwrap(),
    );
    assert_eq!(fs::read(env.path("diary")).unwrap(), text.as_bytes());
}

#[test]
fn a_database_of_another_program_is_not_touched() {
    for sql in [
        "CREATE TABLE songs (title TEXT)",
        "CREATE TABLE accounts (iban TEXT, balance INTEGER)",
    ] {
        let env = TestEnv::new();
        let other = env.path("other.sqlite");
        Connection::open(&other)
            .unwrap()
            .execute_batch(sql)
            .unwrap();
        let content = fs::read(&other).unwrap();
        fails_until(&env, &content, &["another program", "sqlite.path"], |env| {
            fs::remove_file(env.sqlite_path()).unwrap();
        });
    }
}

#[test]
fn a_file_of_a_newer_version_is_not_touched() {
    let env = TestEnv::new();
    write_log(&env, "");
    env.collect();
    let good = fs::read(env.sqlite_path()).unwrap();
    let db = Connection::open(env.sqlite_path()).unwrap();
    db.execute_batch("PRAGMA user_version = 999").unwrap();
    drop(db);
    let newer = fs::read(env.sqlite_path()).unwrap();
    fails_until(&env, &newer, &["version 999", "newer conntracker"], |env| {
        fs::write(env.sqlite_path(), &good).unwrap();
    });
    // Nor is it read.
    fs::write(env.sqlite_path(), &newer).unwrap();
    env.run(&["accounts"])
        .exits_with(3)
        .prints("")
        .complains_once(&["version 999"]);
}

#[test]
fn a_file_of_an_older_version_is_brought_up_to_date() {
    let env = TestEnv::new();
    write_log(&env, "");
    env.collect();
    let db = Connection::open(env.sqlite_path()).unwrap();
    let older = [
        "DROP VIEW unused_accounts; DROP VIEW unknown_logins; DROP TABLE account_status;
         DROP TABLE unexplained_logins; DROP VIEW activity_by_day; DROP TABLE activity;
         PRAGMA user_version = 1",
        "DROP VIEW activity_by_day; DROP TABLE activity; PRAGMA user_version = 2",
    ];
    let carol = BOB.replace("bob", "carol");
    let both = format!("{BOB}{carol}");
    let logs = [("", BOB), (BOB, &*both)];
    for (sql, (before, after)) in older.iter().zip(logs) {
        write_log(&env, before);
        env.collect();
        let known = names(&env);
        db.execute_batch(sql).unwrap();
        // Whoever only reads changes nothing.
        assert_eq!(names(&env), known);
        let mut reader = Sqlite::open_read_only(env.sqlite_path()).unwrap();
        let filter = ActivityFilter {
            server: "db1".into(),
            ..ActivityFilter::default()
        };
        let read = reader.activity(&filter, &mut |row| panic!("{row:?}"));
        read.unwrap();
        write_log(&env, after);
        env.collect();
        assert_eq!(names(&env).len(), known.len() + 1);
        let version = db.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
        assert_eq!(version, Ok(3));
        let count = |sql| db.query_row(sql, [], |row| row.get::<_, i64>(0));
        assert_eq!(count("SELECT count(*) FROM unused_accounts"), Ok(0));
        // From here on: nobody knows any more at which hours the others came in.
        assert_eq!(count("SELECT sum(logins) FROM activity_by_day"), Ok(1));
    }
}

#[test]
fn a_folder_that_cannot_be_is_named() {
    let env = TestEnv::new();
    let file = env.path("file");
    fs::write(&file, "").unwrap();
    let env = env.sqlite(file.join("conntracker.sqlite"));
    write_log(&env, "");
    let path = env.sqlite_path().to_str().unwrap();
    for _ in 0..2 {
        let run = env.start_collecting().finish();
        run.exits_with(3).prints("").complains_once(&[path]);
    }
    fs::remove_file(file).unwrap();
    // A folder that is missing is made.
    env.collect();
    assert_eq!(names(&env), ["alice"]);
}

#[test]
fn a_folder_in_place_of_the_file_is_named() {
    let env = TestEnv::new();
    fs::create_dir(env.sqlite_path()).unwrap();
    write_log(&env, "");
    let path = env.sqlite_path().to_str().unwrap();
    let run = env.start_collecting().finish();
    run.exits_with(3).prints("").complains_once(&[path]);
    fs::remove_dir(env.sqlite_path()).unwrap();
    env.collect();
    assert_eq!(names(&env), ["alice"]);
}

#[test]
fn a_file_that_may_not_grow_loses_nothing() {
    let env = TestEnv::new();
    write_log(&env, "");
    env.collect();
    let many: String = (100..1_100)
        .map(|n| format!("20261122 19:00:02,db1,user{n},10.0.0.9,{n},0,CONNECT,,,0\n"))
        .collect();
    write_log(&env, &format!("{BOB}{many}"));
    let args = ["run", "--audit-log", env.log_path().to_str().unwrap()];
    // A limit stands for a full disk; in blocks of 512 bytes or of 1 KiB, as the shell likes. What
    // exceeds it fails where the signal is ignored, and else kills.
    let limits = [
        "trap '' XFSZ; ulimit -f 60; exec \"$@\"",
        "ulimit -f 60; exec \"$@\"",
    ];
    for (at, limit) in limits.into_iter().enumerate() {
        let run = env.start_command(env.shell(limit, &args)).finish();
        if at == 0 {
            let path = env.sqlite_path().to_str().unwrap();
            run.exits_with(3).prints("").complains_once(&[path]);
        } else {
            run.ends_badly();
        }
        assert_eq!(names(&env), ["alice"], "after {limit}");
    }
    env.collect();
    let names = names(&env);
    assert_eq!(names.len(), 1_002);
    assert!(env.accounts().iter().all(|row| row["connects"] == 1));
}

#[test]
fn a_new_file_is_private_and_an_old_one_keeps_its_mode() {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let env = TestEnv::new();
    write_log(&env, "");
    env.collect();
    assert_eq!(format!("{:o}", mode(env.sqlite_path())), "600");
    fs::set_permissions(env.sqlite_path(), Permissions::from_mode(0o640)).unwrap();
    write_log(&env, BOB);
    env.collect();
    assert_eq!(format!("{:o}", mode(env.sqlite_path())), "640");
    assert_eq!(names(&env), ["alice", "bob"]);
}

/// Else a first run by root, to try it, would lock out the service's user.
#[test]
fn a_new_file_belongs_to_the_owner_of_its_folder() {
    let env = TestEnv::new();
    let folder = env.sqlite_path().parent().expect("a folder");
    if geteuid().is_root() {
        chown(folder, Some(65_534), Some(65_534)).expect("the folder's owner");
    }
    write_log(&env, "");
    env.collect();
    let owner = |path: &Path| fs::metadata(path).map(|meta| (meta.uid(), meta.gid()));
    assert_eq!(owner(env.sqlite_path()).unwrap(), owner(folder).unwrap());
}

const BOB: &str = "20261122 19:00:01,db1,bob,10.0.0.2,6,0,CONNECT,,,0\n";

/// Writes a log in which alice came in, and `more` happened.
fn write_log(env: &TestEnv, more: &str) {
    let log = format!("20261122 19:00:00,db1,alice,10.0.0.1,5,0,CONNECT,,,0\n{more}");
    fs::write(env.log_path(), log).expect("a log");
}

#[track_caller]
fn names(env: &TestEnv) -> Vec<String> {
    env.accounts()
        .iter()
        .map(|row| row["name"].as_str().expect("a name").to_owned())
        .collect()
}

/// With `content` in the place of the store a run fails with one line that holds the file's path and
/// `words`, changes nothing, and after `mend` the next one catches up.
#[track_caller]
fn fails_until(env: &TestEnv, content: &[u8], words: &[&str], mend: impl FnOnce(&TestEnv)) {
    write_log(env, BOB);
    fs::write(env.sqlite_path(), content).unwrap();
    let path = env.sqlite_path().to_str().unwrap();
    for _ in 0..2 {
        let run = env.start_collecting().finish();
        let words = [&[path], words].concat();
        run.exits_with(3).prints("").complains_once(&words);
        let left = fs::read(env.sqlite_path()).unwrap();
        assert!(left == content, "the run changed {path}");
    }
    mend(env);
    env.collect();
    assert_eq!(names(env), ["alice", "bob"]);
    assert!(env.accounts().iter().all(|row| row["connects"] == 1));
}
