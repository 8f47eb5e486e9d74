//! What was wrong in the Go program that conntracker succeeds, one test for each defect that was
//! measured, so that none of them comes back.
//!
//! Three more are proved where many runs meet a growing log, in `kill`: a kill between two rows lost
//! accounts for ever, a rotation during a run lost events, two runs at once got in each other's way.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use rusqlite::Connection;
use serde_json::json;

use crate::env::TestEnv;

const ALICE: &str = "20261122 19:00:00,db1,alice,10.0.0.1,5,0,CONNECT,,,0\n";
const BOB: &str = "20261122 19:00:01,db1,bob,10.0.0.2,6,0,CONNECT,,,0\n";
const CAROL: &str = "20261122 19:00:02,db1,carol,10.0.0.3,7,0,CONNECT,,,0\n";

#[test]
fn a_line_over_64_kib_does_not_end_the_run() {
    let env = TestEnv::new();
    let mut log = ALICE.to_owned();
    for size in [65_535, 65_536, 300_000, 3_000_000] {
        let text = "x".repeat(size);
        log += &format!("20261122 19:00:00,db1,alice,10.0.0.1,5,9,QUERY,,'{text}',0\n");
    }
    write(env.log_path(), &(log + BOB));
    env.collect();
    assert_eq!(logins(&env), [("alice", 1), ("bob", 1)].map(owned));
    append(env.log_path(), CAROL);
    env.collect();
    assert_eq!(
        logins(&env),
        [("alice", 1), ("bob", 1), ("carol", 1)].map(owned)
    );
}

#[test]
fn connect_in_the_text_of_a_query_is_no_login() {
    let env = TestEnv::new();
    let queries: String = [
        "SELECT ',CONNECT,'",
        "INSERT INTO t VALUES (\\'20261122 19:00:00,db1,eve,10.0.0.9,9,0,CONNECT,,,0\\')",
        "SELECT 1,eve,10.0.0.9,9,0,CONNECT,,,0",
        "SELECT 1,eve,10.0.0.9,9,0,FAILED_CONNECT,,,1045",
    ]
    .iter()
    .map(|text| format!("20261122 19:00:00,db1,alice,10.0.0.1,5,9,QUERY,,'{text}',0\n"))
    .collect();
    write(env.log_path(), &format!("{ALICE}{queries}"));
    env.collect();
    assert_eq!(logins(&env), [("alice", 1)].map(owned));
    assert_eq!(env.failures(), Vec::<serde_json::Value>::new());
}

#[test]
fn a_data_directory_is_read_fast_and_without_hanging() {
    let env = TestEnv::new();
    let folder = env.path("mysql");
    fs::create_dir(&folder).unwrap();
    write(&folder.join("server_audit.log.1"), ALICE);
    write(&folder.join("server_audit.log"), BOB);
    // What else lies in a data directory, and what else may.
    let sparse = File::create(folder.join("ibdata1")).unwrap();
    sparse.set_len(4 << 30).unwrap();
    let noise: Vec<u8> = (0..1_000_000_u32)
        .map(|n| (n.wrapping_mul(n) >> 7) as u8)
        .collect();
    fs::write(folder.join("ib_logfile0"), noise).unwrap();
    write(&folder.join("empty"), "");
    write(
        &folder.join("db1.err"),
        "2026-11-22 19:00:00 0 [Note] InnoDB: Loading buffer pool(s), ,CONNECT,,,0\n",
    );
    for fifo in ["fifo", "server_audit.log.2"] {
        let made = Command::new("mkfifo").arg(folder.join(fifo)).status();
        assert!(made.expect("mkfifo").success(), "no FIFO {fifo}");
    }
    let _socket = UnixListener::bind(folder.join("mysqld.sock")).unwrap();
    fs::create_dir(folder.join("shop")).unwrap();
    write(&folder.join("shop/server_audit.log"), CAROL);
    symlink("nowhere", folder.join("dangling")).unwrap();
    symlink("/dev/zero", folder.join("device")).unwrap();
    let locked = folder.join("secret");
    write(&locked, "secret");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();

    let env = env.sqlite(folder.join("conntracker.sqlite"));
    let args = ["run", "--audit-log", folder.to_str().unwrap()];
    for _ in 0..3 {
        let began = Instant::now();
        env.run(&args).is_silent_success();
        let took = began.elapsed();
        assert!(took < Duration::from_secs(20), "a run took {took:?}");
        assert_eq!(logins(&env), [("alice", 1), ("bob", 1)].map(owned));
    }
}

#[test]
fn compressed_rotations_are_read_and_go_on_where_the_plain_file_was_left() {
    let env = TestEnv::new();
    let rotated = |suffix: &str| env.log_path().with_extension(format!("log.{suffix}"));
    pack(&rotated("2.gz"), ALICE);
    write(&rotated("1"), BOB);
    write(env.log_path(), CAROL);
    env.collect();
    let all = [("alice", 1), ("bob", 1), ("carol", 1)].map(owned);
    assert_eq!(logins(&env), all);

    // carol comes once more before the rotation, and the file is packed before it is read.
    fs::rename(rotated("2.gz"), rotated("3.gz")).unwrap();
    pack(&rotated("2.gz"), BOB);
    fs::remove_file(rotated("1")).unwrap();
    let again = CAROL.replace(",7,0,", ",8,0,");
    pack(&rotated("1.gz"), &format!("{CAROL}{again}"));
    write(env.log_path(), &ALICE.replace(",5,0,", ",9,0,"));
    env.collect();
    assert_eq!(
        logins(&env),
        [("alice", 2), ("bob", 1), ("carol", 2)].map(owned)
    );
}

#[test]
fn a_log_that_is_not_understood_is_no_silence() {
    let env = TestEnv::new();
    write(env.log_path(), "time=now user=alice event=login\n");
    for _ in 0..2 {
        let run = env.start_collecting().finish();
        run.exits_with(3).prints("");
        let path = env.log_path().to_str().unwrap();
        run.complains_once(&[path, "not understood", "time=now user=alice"]);
    }
}

#[test]
fn in_the_hour_that_autumn_repeats_the_later_login_is_the_last() {
    let env = TestEnv::new().time_zone("Europe/Zurich");
    let at = |time: &str| ALICE.replace("20261122 19:00:00", &format!("20261025 {time}"));
    write(env.log_path(), &at("02:59:57"));
    env.collect();
    append(env.log_path(), &at("02:00:02"));
    env.collect();
    let account = env.account("alice").expect("alice");
    assert_eq!(account["first_seen"], "2026-10-25T00:59:57Z", "{account}");
    assert_eq!(account["last_seen"], "2026-10-25T01:00:02Z", "{account}");
}

#[test]
fn events_of_the_same_second_and_of_an_older_file_time_count() {
    let env = TestEnv::new();
    write(env.log_path(), ALICE);
    env.collect();
    for id in 10..13 {
        append(
            env.log_path(),
            &ALICE.replace(",5,0,", &format!(",{id},0,")),
        );
        let file = File::options().append(true).open(env.log_path()).unwrap();
        let older = SystemTime::now() - Duration::from_secs(id * 86_400);
        file.set_modified(older).unwrap();
        env.collect();
    }
    // An event that is older than the newest one.
    append(env.log_path(), &BOB.replace("20261122", "20261121"));
    env.collect();
    assert_eq!(logins(&env), [("alice", 4), ("bob", 1)].map(owned));
}

#[test]
fn many_runs_at_once_do_not_disturb_each_other() {
    let env = TestEnv::new();
    write(env.log_path(), &format!("{ALICE}{BOB}"));
    let runs: Vec<_> = (0..8).map(|_| env.start_collecting()).collect();
    for run in runs {
        run.finish().is_silent_success();
    }
    assert_eq!(logins(&env), [("alice", 1), ("bob", 1)].map(owned));
}

#[test]
fn names_with_at_signs_are_kept_apart() {
    let env = TestEnv::new();
    let log = "20261122 19:00:00,db1,a@b,c,5,0,CONNECT,,,0\n\
               20261122 19:00:00,db1,a,b@c,6,0,CONNECT,,,0\n";
    write(env.log_path(), log);
    env.collect();
    let rows: Vec<_> = env
        .accounts()
        .iter()
        .map(|row| json!([row["name"], row["host"], row["connects"]]))
        .collect();
    assert_eq!(rows, [json!(["a", "b@c", 1]), json!(["a@b", "c", 1])]);
}

#[test]
fn commas_in_a_name_shift_nothing() {
    let env = TestEnv::new();
    let log = "20261122 19:00:00,db1,a,b,10.0.0.1,5,0,CONNECT,shop,,0\n\
               20261122 19:00:01,db1,,,10.0.0.1,6,0,CONNECT,a,b,,0\n\
               20261122 19:00:02,db1,o,x,10.0.0.1,7,0,FAILED_CONNECT,,,1045\n\
               20261122 19:00:02,db1,o,x,10.0.0.1,7,0,DISCONNECT,,,0\n";
    write(env.log_path(), log);
    env.collect();
    assert_eq!(logins(&env), [(",", 1), ("a,b", 1)].map(owned));
    let failures = env.failures();
    assert_eq!(failures[0]["name"], "o,x", "{failures:#?}");
    assert_eq!(failures[0]["code"], 1045, "{failures:#?}");
}

#[test]
fn a_host_with_ports_makes_one_row() {
    let env = TestEnv::new();
    let log: String = (0..50)
        .map(|n| {
            format!(
                "20261122 19:00:00,db1,app,10.0.0.1:{},{n},0,CONNECT,,TLSv1.3,0\n",
                40_000 + n
            )
        })
        .chain((60..80).map(|n| {
            format!(
                "20261122 19:00:00,db1,app,2001:db8::1:{},{n},0,CONNECT,,,0\n",
                40_000 + n
            )
        }))
        .collect();
    write(env.log_path(), &log);
    env.collect();
    let rows: Vec<_> = env
        .accounts()
        .iter()
        .map(|row| json!([row["name"], row["host"], row["connects"]]))
        .collect();
    assert_eq!(
        rows,
        [
            json!(["app", "10.0.0.1", 50]),
            json!(["app", "2001:db8::1", 20])
        ]
    );
}

#[test]
fn a_change_of_user_and_a_proxied_login_are_no_longer_ignored() {
    let env = TestEnv::new();
    // Uninitialised memory of the server stands for the database.
    let letters = "O".repeat(390);
    let log = format!(
        "20261122 19:00:00,db1,app,10.0.0.1,5,0,CONNECT,,,0\n\
               20261122 19:00:01,db1,,,5,0,CHANGEUSER,{letters},,0\n\
               20261122 19:00:02,db1,report,10.0.0.1,5,0,DISCONNECT,,,0\n\
               20261122 19:00:03,db1,ext,10.0.0.2,6,0,CONNECT,,,0\n\
               20261122 19:00:03,db1,ext,10.0.0.2,6,0,PROXY_CONNECT,,`dba`@`%`,0\n\
               20261122 19:00:04,db1,ext,10.0.0.2,6,0,DISCONNECT,,,0\n"
    );
    write(env.log_path(), &log);
    env.collect();
    assert_eq!(
        logins(&env),
        [("app", 1), ("ext", 1), ("report", 0)].map(owned)
    );
    let report = env.account("report").expect("report");
    assert_eq!(report["last_seen"], "2026-11-22T19:00:01Z", "{report}");
    assert_eq!(report["last_active"], "2026-11-22T19:00:02Z", "{report}");

    let db = Connection::open(env.sqlite_path()).unwrap();
    let proxied: (String, String, i64) = db
        .query_row(
            "SELECT account, last_seen, connects FROM proxied_accounts",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .expect("one proxied account");
    let expected = ("`dba`@`%`".into(), "2026-11-22 19:00:03+00:00".into(), 1);
    assert_eq!(proxied, expected);
}

#[test]
fn a_login_of_mysql_at_localhost_is_one_like_any_other() {
    let env = TestEnv::new();
    // The Go program kept the time up to which it had read under this name.
    let db = Connection::open(env.sqlite_path()).unwrap();
    db.execute_batch(
        "CREATE TABLE Accounts (name TEXT, host TEXT, last_seen TEXT, PRIMARY KEY (name, host));
         INSERT INTO Accounts VALUES ('mysql', 'localhost', '2026-11-22T23:59:59Z');",
    )
    .unwrap();
    drop(db);
    let log = "20261122 19:00:00,db1,mysql,localhost,5,0,CONNECT,,,0\n\
               20261122 19:00:01,db1,alice,10.0.0.1,6,0,CONNECT,,,0\n";
    write(env.log_path(), log);
    env.collect();
    env.collect();
    let account = env.account("mysql").expect("mysql");
    assert_eq!(account["last_seen"], "2026-11-22T19:00:00Z", "{account}");
    assert_eq!(account["connects"], 1, "{account}");
}

#[test]
fn a_bad_setting_is_an_error_that_names_it() {
    for (file, text, words) in [
        (
            "conntracker.toml",
            "time_zone = \"Europe/Atlantis\"",
            ["time_zone", "Europe/Atlantis"],
        ),
        (
            "conntracker.toml",
            "audit_logs = []",
            ["audit_logs", "conntracker.toml"],
        ),
        (
            "conntracker.toml",
            "stores = [\"oracle\"]",
            ["stores", "oracle"],
        ),
        ("conntracker.toml", "stores = []", ["stores", "empty"]),
        (
            "conntracker.toml",
            "[sqlite]\npath = 7",
            ["sqlite.path", "conntracker.toml"],
        ),
        (
            "conntracker.toml",
            "time_zone = ",
            ["conntracker.toml", "line 1"],
        ),
        (
            "conntracker.ini",
            "TimeLocation = Nowhere/Else",
            ["TimeLocation", "Nowhere/Else"],
        ),
        ("conntracker.ini", "LogLevel = loud", ["LogLevel", "loud"]),
    ] {
        let env = TestEnv::new().configured(file, text);
        write(env.log_path(), ALICE);
        let log = env.log_path().to_str().unwrap();
        let run = env.run(&["run", "--audit-log", log]);
        run.exits_with(3).prints("").complains_once(&words);
        assert!(
            !env.sqlite_path().exists(),
            "{text}: something was stored all the same"
        );
    }
}

#[test]
fn a_run_is_one_transaction() {
    let env = TestEnv::new();
    let log: String = (0..201)
        .map(|n| format!("20261122 19:00:00,db1,user{n},10.0.0.1,{n},0,CONNECT,,,0\n"))
        .collect();
    write(env.log_path(), &log);
    let generation = || -> i64 {
        let db = Connection::open(env.sqlite_path()).unwrap();
        db.query_row("SELECT generation FROM checkpoints", [], |row| row.get(0))
            .expect("one checkpoint")
    };
    env.collect();
    assert_eq!(env.accounts().len(), 201);
    assert_eq!(generation(), 1, "commits for 201 accounts");
    env.collect();
    assert_eq!(generation(), 1, "commits for nothing new");
    append(env.log_path(), BOB);
    env.collect();
    assert_eq!(generation(), 2, "commits for one login more");
}

#[test]
fn a_first_run_says_nothing() {
    let env = TestEnv::new();
    write(env.log_path(), ALICE);
    env.start_collecting().finish().is_silent_success();
    assert_eq!(logins(&env), [("alice", 1)].map(owned));
}

/// Name and number of logins of each account.
#[track_caller]
fn logins(env: &TestEnv) -> Vec<(String, u64)> {
    env.accounts()
        .iter()
        .map(|row| {
            let name = row["name"].as_str().expect("a name");
            (name.to_owned(), row["connects"].as_u64().expect("a count"))
        })
        .collect()
}

fn owned((name, count): (&str, u64)) -> (String, u64) {
    (name.to_owned(), count)
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).open(path).expect("the log");
    file.write_all(text.as_bytes()).expect("room for the log");
}

fn pack(path: &Path, text: &str) {
    let file = File::create(path).expect("a packed file");
    let mut packed = GzEncoder::new(file, Compression::fast());
    packed.write_all(text.as_bytes()).expect("room");
    packed.finish().expect("room");
}
