//! The contract at the edge, as scripts, cron and people meet it: what each command prints, what it
//! exits with, and that no name in the log can act on whoever reads a report.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use chrono::{TimeDelta, Utc};
use conntracker::store::{AccountStatus, Sqlite, Status, Store};
use conntracker::time::UtcSeconds;
use flate2::Compression;
use flate2::write::GzEncoder;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::env::TestEnv;
use crate::store::judged;

#[test]
fn a_run_says_nothing_with_or_without_its_name() {
    let env = with_log(&login("alice", 5));
    let log = env.log_path().to_str().unwrap();
    env.run(&["run", "--audit-log", log]).is_silent_success();
    env.run(&["--audit-log", log]).is_silent_success();
    env.run(&["--audit-log", log, "-q"]).is_silent_success();
    // Said only when asked for, and never on stdout.
    let run = env.run(&["--audit-log", log, "-vv"]);
    run.exits_with(0).prints("").complains("conntracker: ");
}

#[test]
fn report_prints_what_accounts_prints() {
    let env = with_log(&(login("alice", 5) + &login("bob", 6)));
    let log = env.log_path().to_str().unwrap();
    let report = env.run(&["--report", "--audit-log", log]);
    let report = report.exits_with(0).stdout();
    let lines: Vec<_> = report.lines().collect();
    assert_eq!(lines.len(), 3, "{report}");
    assert!(lines[0].starts_with("server  name"), "{report}");
    assert!(lines[1].starts_with("db1     alice"), "{report}");
    assert!(lines[2].starts_with("db1     bob"), "{report}");
}

#[test]
fn accounts_are_told_in_every_format() {
    let env = collected(&login("alice", 5));
    let row = json!({
        "server": "db1", "name": "alice", "host": "10.0.0.1",
        "first_seen": "2026-11-22T19:00:00Z", "last_seen": "2026-11-22T19:00:00Z",
        "last_active": "2026-11-22T19:00:00Z", "connects": 1
    });
    assert_eq!(env.accounts(), [row]);
    env.run(&["accounts", "--format", "csv"])
        .exits_with(0)
        .prints(
            "server,name,host,first_seen,last_seen,last_active,connects\n\
             db1,alice,10.0.0.1,2026-11-22T19:00:00Z,2026-11-22T19:00:00Z,2026-11-22T19:00:00Z,1\n",
        );
    let table = env.run(&["accounts", "--time-zone", "Europe/Zurich"]);
    let table = table.exits_with(0).stdout();
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(table.contains("2026-11-22 20:00:00 +01:00 ("), "{table}");
}

#[test]
fn unused_accounts_are_those_without_a_sign_of_use() {
    let ago = |days| {
        let then = Utc::now() - TimeDelta::days(days);
        then.format("%Y%m%d %H:%M:%S").to_string()
    };
    let log = format!(
        "{},db1,old,10.0.0.1,5,0,CONNECT,,,0\n\
         {},db1,pool,10.0.0.1,6,0,CONNECT,,,0\n\
         {},db1,new,10.0.0.1,7,0,CONNECT,,,0\n\
         {},db1,pool,10.0.0.1,6,0,DISCONNECT,,,0\n",
        ago(100),
        ago(100),
        ago(80),
        ago(1),
    );
    let env = collected(&log);
    let unused = |span| -> Vec<Value> {
        let args = ["accounts", "--unused-for", span, "--format", "json"];
        let rows = env.run(&args).json();
        rows.iter().map(|row| row["name"].clone()).collect()
    };
    assert_eq!(unused("90d"), ["old"]);
    assert_eq!(unused("79d"), ["new", "old"]);
    assert_eq!(unused("1h"), ["new", "old", "pool"]);
    assert_eq!(unused("101d"), Vec::<Value>::new());
    // A person is told why nothing is there; a program sees it.
    let args = ["accounts", "--unused-for", "1000w"];
    let run = env.run(&args);
    run.exits_with(0).prints("").complains_once(&["no account"]);
}

#[test]
fn accounts_are_picked_and_sorted() {
    let at = |time: &str, name, id| login(name, id).replace("19:00:00", time);
    let log = at("19:00:01", "app_b", 5)
        + &at("19:00:02", "app_a", 6)
        + &at("19:00:03", "App_c", 7)
        + &at("19:00:04", "root", 8).replace("10.0.0.1", "localhost")
        + &at("19:00:05", "root", 9).replace("10.0.0.1", "localhost");
    let env = collected(&log);
    let names = |args: &str| {
        let args = ["accounts", "--format", "ndjson"]
            .into_iter()
            .chain(args.split_whitespace());
        let args: Vec<_> = args.collect();
        let lines = env.run(&args).exits_with(0).stdout();
        let row = |line| serde_json::from_str::<Value>(line).expect("an object a line");
        let name = |line| row(line)["name"].as_str().expect("a name").to_owned();
        lines.lines().map(name).collect::<Vec<_>>().join(" ")
    };
    for (args, expected) in [
        ("", "App_c app_a app_b root"),
        ("--name app_*", "app_a app_b"),
        ("--name app", ""),
        ("--host localhost", "root"),
        ("--host 10.* --name *_*", "App_c app_a app_b"),
        ("--sort last-active", "app_b app_a App_c root"),
        ("--sort connects --reverse", "root app_b app_a App_c"),
        ("--reverse", "root app_b app_a App_c"),
        ("--sort first-seen --reverse --limit 2", "root App_c"),
        ("--limit 0 --sort host", "App_c app_a app_b root"),
    ] {
        assert_eq!(names(args), expected, "{args}");
    }
    let run = env.run(&["accounts", "--name", "nobody*"]);
    run.exits_with(0).prints("").complains_once(&["fits"]);
}

#[test]
fn the_last_check_tells_of_accounts_that_no_log_knows() {
    let env = collected(&login("alice", 5));
    // Without a check there is no answer, and an empty list would be one.
    let unused = ["accounts", "--state", "unused,never_used"];
    for format in ["table", "json", "ndjson"] {
        let run = env.run(&[&unused[..], &["--format", format]].concat());
        run.exits_with(3).prints("");
        run.complains_once(&["conntracker check"]);
    }
    let judged = |user: &str, state: &str, active: Option<i64>| AccountStatus {
        reason: "a reason".into(),
        last_active: active.map(UtcSeconds),
        ..judged(user, "10.0.%", state)
    };
    let status = Status {
        server: "db1".into(),
        checked_at: UtcSeconds(1_795_376_581),
        accounts: vec![
            judged("bob", "never_used", None),
            judged("carol", "unused", Some(1_700_000_000)),
            judged("alice", "active", Some(1_795_376_500)),
        ],
        unexplained: Vec::new(),
    };
    let mut store = Sqlite::open(env.sqlite_path()).expect("the store");
    store.keep_status(&status).expect("a status");
    let rows = env.run(&[&unused[..], &["--format", "json"]].concat());
    let rows = rows.json();
    let names: Vec<_> = rows.iter().map(|row| &row["user"]).collect();
    assert_eq!(names, ["bob", "carol"]);
    let expected = json!({
        "server": "db1", "user": "bob", "host": "10.0.%", "state": "never_used",
        "last_seen": null, "last_active": null, "connects": 0, "exact": true,
        "checked_at": "2026-11-22T19:43:01Z", "reason": "a reason"
    });
    assert_eq!(rows[0], expected);
    let args = ["--sort", "last-active", "--reverse", "--format", "csv"];
    let csv = env.run(&[&unused[..], &args].concat());
    let csv = csv.exits_with(0).stdout();
    let second = csv.lines().nth(1).expect("a row");
    assert!(
        second.starts_with("db1,carol,10.0.%,unused,,2023-11-14T"),
        "{csv}"
    );
    // No account fits: that is an answer.
    let run = env.run(&["accounts", "--state", "locked", "--format", "json"]);
    run.exits_with(0).prints("[]\n");
    let run = env.run(&[&unused[..], &["--sort", "first-seen"]].concat());
    run.exits_with(3).prints("").complains("--sort first-seen");
}

#[test]
fn a_table_has_a_limit_and_says_what_it_does_not_show() {
    let log: String = (0..1_003).map(|n| login(&format!("user{n}"), n)).collect();
    let env = collected(&log);
    let run = env.run(&["accounts"]);
    assert_eq!(run.exits_with(0).stdout().lines().count(), 1_001);
    run.complains_once(&["3 more rows", "--limit 0"]);
    let run = env.run(&["accounts", "--limit", "0"]);
    assert_eq!(run.exits_with(0).stdout().lines().count(), 1_004);
    assert_eq!(run.stderr(), "");
    assert_eq!(env.accounts().len(), 1_003);
}

#[test]
fn a_terminal_is_told_what_fits_and_what_the_list_holds() {
    let env = collected(&(login("alice", 5) + &login(&"long".repeat(50), 6)));
    let script = "script -qec \"stty rows 24 cols 80; $(printf \"'%s' \" \"$@\")\" /dev/null";
    let mut command = env.shell(script, &["accounts", "--unused-for", "0d"]);
    command.env("NO_COLOR", "1").env("TERM", "xterm");
    let run = env.start_command(command).finish();
    let table = run.exits_with(0).stdout().replace('\r', "");
    for line in table.lines() {
        assert!(line.chars().count() <= 80, "{table}");
    }
    assert!(table.starts_with("name "), "{table}");
    for part in [
        "longlong",
        "…",
        "  1\n",
        "2 accounts, 2 without",
        "server db1",
    ] {
        assert!(table.contains(part), "{part:?} is not in {table}");
    }
}

#[test]
fn servers_are_told_apart() {
    let env = TestEnv::new();
    for (server, name) in [("db1", "alice"), ("db2", "bob")] {
        let path = env.path(&format!("{server}.log"));
        fs::write(&path, login(name, 5) + &refusal(name, 6)).unwrap();
        let path = path.to_str().unwrap();
        env.run(&["run", "--audit-log", path, "--server-name", server])
            .is_silent_success();
    }
    for command in ["accounts", "failures"] {
        let rows = |args: &[&str]| -> Vec<Value> {
            let args = [&[command, "--format", "json"], args].concat();
            let rows = env.run(&args).json();
            rows.iter()
                .map(|row| json!([row["server"], row["name"]]))
                .collect()
        };
        let (one, two) = (json!(["db1", "alice"]), json!(["db2", "bob"]));
        assert_eq!(rows(&[]), [one, two.clone()], "{command}");
        assert_eq!(rows(&["--server", "db2"]), [two], "{command}");
        assert_eq!(rows(&["--server", "db"]), Vec::<Value>::new(), "{command}");
    }
}

#[test]
fn failures_are_told_since_when_they_are_asked_for() {
    let ago = |hours| Utc::now() - TimeDelta::hours(hours);
    let refused = |name, id, hours| {
        let then = ago(hours).format("%Y%m%d %H:%M:%S").to_string();
        refusal(name, id).replace("20261122 19:00:00", &then)
    };
    let env = collected(&(refused("old", 5, 3) + &refused("new", 6, 0)));
    let names = |args: &[&str]| -> Vec<Value> {
        let args = [&["failures", "--format", "json"], args].concat();
        let rows = env.run(&args).json();
        rows.iter().map(|row| row["name"].clone()).collect()
    };
    assert_eq!(names(&[]), ["new", "old"]);
    assert_eq!(names(&["--since", "4h"]), ["new", "old"]);
    assert_eq!(names(&["--since", "2h"]), ["new"]);
    let mut old = env.failures()[1].clone();
    let (first, last) = (old["first_seen"].take(), old["last_seen"].take());
    assert_eq!(first, last);
    assert!(
        first.as_str().is_some_and(|time| time.ends_with('Z')),
        "{first}"
    );
    let expected = json!({
        "server": "db1", "name": "old", "host": "10.0.0.1", "code": 1045,
        "first_seen": null, "last_seen": null, "attempts": 1
    });
    assert_eq!(old, expected);
    let csv = env
        .run(&["failures", "--format", "csv"])
        .exits_with(0)
        .stdout();
    let header = "server,name,host,code,first_seen,last_seen,attempts\n";
    assert!(csv.starts_with(header), "{csv}");
    assert_eq!(csv.lines().count(), 3, "{csv}");
}

/// A user name that holds a record and the beginning of the next one, as a refused login writes it.
const FORGED: &str = "20261122 19:00:00,db1,root,localhost,99,0,CONNECT,,,0\n\
                      20261122 19:00:00,db1,x,192.0.2.66,6,0,FAILED_CONNECT,,,1045\n\
                      20261122 19:00:00,db1,root,localhost,99,0,CONNECT,,,0\n\
                      20261122 19:00:00,db1,x,192.0.2.66,6,0,DISCONNECT,,,0\n";

#[test]
fn a_forged_record_is_worth_a_look_once() {
    let env = with_log(&(login("alice", 5) + FORGED));
    let run = env.start_collecting().finish();
    run.exits_with(1).prints("");
    run.complains_once(&["2 records are not believed", "conntracker quarantine"]);
    env.collect();
    let rows = env.quarantine();
    assert_eq!(rows.len(), 2, "{rows:#?}");
    let mut first = rows[0].clone();
    let why = first["why"].take();
    assert!(why.is_string(), "{why}");
    let expected = json!({
        "server": "db1", "name": "root", "host": "localhost", "time": "2026-11-22T19:00:00Z",
        "connectionid": 99, "why": null, "from": "192.0.2.66",
        "file": env.log_path().to_str().unwrap(), "offset": login("alice", 5).len()
    });
    assert_eq!(first, expected);
    assert_eq!(env.account("root"), None);
    let csv = env.run(&["quarantine", "--format", "csv"]);
    let csv = csv.exits_with(0).stdout();
    let header = "server,name,host,time,connectionid,why,from,file,offset\n";
    assert!(csv.starts_with(header), "{csv}");
    assert_eq!(csv.lines().count(), 3, "{csv}");
    let table = env.run(&["quarantine"]).exits_with(0).stdout();
    assert!(table.contains("192.0.2.66"), "{table}");
}

#[test]
fn the_schema_is_sql_that_makes_the_tables() {
    // A broken configuration is no reason to keep it back.
    let env = TestEnv::new().configured("conntracker.toml", "nonsense");
    let schema = env.run(&["schema"]).exits_with(0).stdout();
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch(&schema).expect("the schema");
    for table in [
        "accounts",
        "failed_connects",
        "quarantine",
        "coverage",
        "checkpoints",
    ] {
        db.prepare(&format!("SELECT * FROM {table}"))
            .unwrap_or_else(|error| panic!("{table}: {error}\n{schema}"));
    }
}

#[test]
fn config_says_what_holds_and_why_and_can_be_saved() {
    let env = TestEnv::new().configured("conntracker.toml", "server_name = \"db7\"\n");
    let args = ["config", "--time-zone", "Europe/Zurich"];
    let shown = env.run(&args).exits_with(0).stdout();
    for (line, origin) in [
        ("server_name = \"db7\"", "conntracker.toml"),
        ("time_zone = \"Europe/Zurich\"", "--time-zone"),
        ("stores = [\"sqlite\"]", "default"),
        (
            "audit_log = [\"/var/lib/mysql/server_audit.log\"]",
            "default",
        ),
    ] {
        let found = shown.lines().find(|shown| shown.starts_with(line));
        let found = found.unwrap_or_else(|| panic!("no line {line} in\n{shown}"));
        assert!(found.contains(origin), "{found}");
    }
    let saved = TestEnv::new().configured("conntracker.toml", &shown);
    let again = saved.run(&["config"]).exits_with(0).stdout();
    assert!(again.contains("time_zone = \"Europe/Zurich\""), "{again}");
    assert!(again.contains("server_name = \"db7\""), "{again}");
}

#[test]
fn the_environment_counts_and_a_mistake_in_it_is_named() {
    let env = with_log(&login("alice", 5));
    let log = env.log_path().to_str().unwrap();
    let mut command = env.command(&["run", "--audit-log", log]);
    command.env("CONNTRACKER_SERVER_NAME", "db9");
    env.start_command(command).finish().is_silent_success();
    assert_eq!(env.account("alice").unwrap()["server"], "db9");
    for (variable, value) in [
        ("CONNTRACKER_TIME_ZONE", "Europe/Atlantis"),
        ("CONNTRACKER_SERVER_NAM", "db9"),
    ] {
        let mut command = env.command(&["run", "--audit-log", log]);
        command.env(variable, value);
        let run = env.start_command(command).finish();
        run.exits_with(3).prints("").complains(variable);
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let env = TestEnv::new();
    let version = concat!("conntracker ", env!("CARGO_PKG_VERSION"), "\n");
    env.run(&["version"]).exits_with(0).prints(version);
    env.run(&["--version"]).exits_with(0).prints(version);
}

#[test]
fn help_is_no_error() {
    let env = TestEnv::new();
    for args in [&["--help"][..], &["accounts", "--help"]] {
        let run = env.run(args);
        assert!(run.exits_with(0).stdout().contains("Usage:"), "{args:?}");
        assert_eq!(run.stderr(), "", "{args:?}");
    }
}

#[test]
fn a_usage_error_is_told_from_a_warning() {
    let env = TestEnv::new();
    for args in [
        &["acounts"][..],
        &["--no-such-flag"],
        &["accounts", "--unused-for", "90"],
        &["accounts", "--unused-for", "soon"],
        &["accounts", "--format", "yaml"],
        &["failures", "--since", "-1h"],
        &["run", "--store", "oracle"],
        &["accounts", "--report"],
        &["run", "-q", "-v"],
        &["run", "--password", "secret"],
    ] {
        let run = env.run(args);
        run.exits_with(3).prints("");
        assert_ne!(run.stderr(), "", "{args:?}");
    }
}

#[test]
fn a_missing_log_is_named() {
    let env = TestEnv::new();
    let path = env.log_path().to_str().unwrap();
    let run = env.start_collecting().finish();
    run.exits_with(3)
        .prints("")
        .complains_once(&[path, "--audit-log"]);
    // A folder without a log, and a glob that matches nothing.
    let folder = env.log_path().parent().unwrap().to_str().unwrap();
    for log in [folder.to_owned(), format!("{folder}/*.log")] {
        let run = env.run(&["run", "--audit-log", &log]);
        run.exits_with(3).prints("").complains_once(&[&log]);
    }
}

#[test]
fn a_store_that_is_not_there_is_named_and_not_made() {
    let env = TestEnv::new();
    let path = env.sqlite_path().to_str().unwrap();
    for command in ["accounts", "failures", "quarantine"] {
        let run = env.run(&[command]);
        run.exits_with(3)
            .prints("")
            .complains_once(&[path, "conntracker run"]);
        assert!(!env.sqlite_path().exists(), "{command}");
    }
}

#[test]
fn one_log_that_cannot_be_read_does_not_keep_the_others() {
    let env = with_log(&login("alice", 5));
    let missing = env.path("missing.log");
    let (log, missing) = (env.log_path().to_str().unwrap(), missing.to_str().unwrap());
    for _ in 0..2 {
        let run = env.run(&["run", "--audit-log", missing, "--audit-log", log]);
        run.exits_with(3).prints("").complains_once(&[missing]);
        assert_eq!(env.account("alice").unwrap()["connects"], 1);
    }
}

#[test]
fn one_file_that_cannot_be_read_does_not_keep_the_others() {
    let rotated = |env: &TestEnv, suffix: &str| env.log_path().with_extension(suffix);
    // Damaged at its very beginning, or in the middle.
    let many: String = (0..20_000)
        .map(|n| login(&format!("u{}", n * 7919), n))
        .collect();
    let mut middle = packed(&many);
    let half = middle.len() / 2;
    middle[half..half + 200].fill(0xa5);
    let mut beginning = packed(&login("bob", 6));
    beginning[10..].fill(0xa5);
    // Only a file that begins well has a place among the others.
    for (damaged, is_placed) in [(beginning, false), (middle, true)] {
        let env = with_log(&login("alice", 5));
        fs::write(rotated(&env, "log.1"), login("carol", 7)).unwrap();
        let bad = rotated(&env, "log.2.gz");
        fs::write(&bad, &damaged).unwrap();
        for n in 0..2 {
            let run = env.start_collecting().finish();
            run.exits_with(3).prints("");
            run.complains("can't be unpacked")
                .complains(bad.to_str().unwrap());
            // What it held is a gap, which is told when it is stepped over.
            let gaps = usize::from(n == 0 && is_placed);
            assert_eq!(run.stderr().matches(": gap from ").count(), gaps);
            assert_eq!(run.stderr().lines().count(), 1 + gaps);
            assert_eq!(env.account("alice").expect("alice")["connects"], 1);
            assert_eq!(env.account("carol").expect("carol")["connects"], 1);
        }
        // Restored, it counts as well, once.
        fs::write(&bad, packed(&many)).unwrap();
        env.collect();
        env.collect();
        let accounts = env.accounts();
        assert_eq!(accounts.len(), 20_002, "accounts");
        assert!(accounts.iter().all(|row| row["connects"] == 1));
    }
}

#[test]
fn lines_that_are_no_records_are_told_once_with_their_place() {
    // Far from any login: what stands next to such a line is in doubt.
    let far = format!(
        "20261122 19:00:00,db1,alice,10.0.0.1,5,1,QUERY,,'{}',0\n",
        "x".repeat(300)
    );
    let before = login("alice", 5) + &far;
    let env = with_log(&(before.clone() + "what is this?\n" + &far + &login("bob", 6)));
    let path = env.log_path().to_str().unwrap();
    let run = env.start_collecting().finish();
    run.exits_with(1).prints("");
    let place = format!("{path} byte {}: what is this?", before.len());
    run.complains("1 lines are no records").complains(&place);
    env.collect();
    for name in ["alice", "bob"] {
        assert_eq!(env.account(name).expect(name)["connects"], 1);
    }
}

#[test]
fn a_gap_is_told_once_with_the_longest_safe_interval() {
    let at = |time: &str, name, id| login(name, id).replace("19:00:00", time);
    let env = with_log(&at("10:00:00", "alice", 5));
    env.collect();
    // What was read last has fallen out; two files hold 40 minutes.
    fs::write(
        env.log_path().with_extension("log.1"),
        at("12:00:00", "bob", 6),
    )
    .unwrap();
    fs::write(env.log_path(), at("12:40:00", "carol", 7)).unwrap();
    let run = env.start_collecting().finish();
    run.exits_with(1).prints("");
    run.complains_once(&[
        "gap from 2026-11-22 10:00:00",
        "to 2026-11-22 12:00:00",
        "hold 40 min: run at least every 20 min",
    ]);
    env.collect();
    let names: Vec<_> = env
        .accounts()
        .iter()
        .map(|row| row["name"].clone())
        .collect();
    assert_eq!(names, ["alice", "bob", "carol"]);
}

#[test]
fn whoever_has_seen_enough_may_close_the_pipe() {
    let log: String = (0..20_000).map(|n| login(&format!("user{n}"), n)).collect();
    let env = collected(&log);
    for format in ["table", "json", "ndjson", "csv"] {
        let args = ["accounts", "--limit", "0", "--format", format];
        let script = "{ \"$@\"; echo \"ended with $?\" >&2; } | head -n 1";
        let run = env.start_command(env.shell(script, &args)).finish();
        assert_eq!(run.exits_with(0).stdout().lines().count(), 1, "{format}");
        assert_eq!(run.stderr(), "ended with 0\n", "{format}");
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let env = collected(&login("alice", 5));
    for args in [
        &["accounts"][..],
        &["accounts", "--format", "json"],
        &["schema"],
    ] {
        let mut command = env.command(args);
        command.stdout(Stdio::from(
            File::options().write(true).open("/dev/full").unwrap(),
        ));
        let run = env.start_command(command).finish();
        run.exits_with(3).complains_once(&["standard output"]);
    }
}

#[test]
fn there_are_no_colours_where_nobody_sees_them() {
    let env = collected(&login("alice", 5));
    for no_color in [None, Some("1")] {
        let mut command = env.command(&["accounts"]);
        command.envs(no_color.map(|value| ("NO_COLOR", value)));
        let run = env.start_command(command).finish();
        let table = run.exits_with(0).stdout();
        assert!(!table.contains('\x1b'), "{no_color:?}: {table:?}");
    }
    // On a terminal there are, unless they are unwanted. `script` makes one.
    for (no_color, coloured) in [("", true), ("1", false)] {
        let script = "script -qec \"$(printf \"'%s' \" \"$@\")\" /dev/null";
        let mut command = env.shell(script, &["accounts"]);
        command.env("NO_COLOR", no_color).env("TERM", "xterm");
        let run = env.start_command(command).finish();
        let table = run.exits_with(0).stdout();
        assert!(table.contains("alice"), "{table:?}");
        assert_eq!(table.contains('\x1b'), coloured, "{no_color:?}: {table:?}");
    }
}

#[test]
fn no_name_acts_on_whoever_reads_a_report() {
    let names: [&[u8]; 10] = [
        b"\x1b]0;title\x07\x1b[2J",
        b"bell\x07",
        "turned\u{202e}gpj.exe".as_bytes(),
        "c1\u{9b}31m".as_bytes(),
        b"return\rserver name",
        b"=cmd|' /C calc'!A0",
        b"@SUM(1+1)",
        b"+1",
        b"bad\xff\xfebytes",
        b"quote\"comma, and <b>tag</b>",
    ];
    let mut log = login("alice", 5).into_bytes();
    for (at, name) in names.iter().enumerate() {
        for what in ["FAILED_CONNECT,,,1045", "DISCONNECT,,,0"] {
            log.extend(b"20261122 19:00:00,db1,");
            log.extend(*name);
            log.extend(format!(",192.0.2.66,{},0,{what}\n", 100 + at).bytes());
        }
        log.extend(b"20261122 19:00:00,db1,");
        log.extend(*name);
        log.extend(format!(",192.0.2.66,{},0,CONNECT,,,0\n", 200 + at).bytes());
    }
    // A line break makes a name of two lines; the second one is a perfect record but for its id.
    let broken = "x\n20261122 19:00:00,db1,y";
    for what in ["FAILED_CONNECT,,,1045", "DISCONNECT,,,0"] {
        log.extend(format!("20261122 19:00:00,db1,{broken},192.0.2.66,300,0,{what}\n").bytes());
    }
    let env = TestEnv::new();
    fs::write(env.log_path(), &log).unwrap();
    let run = env.start_collecting().finish();
    is_harmless("what a run says", &run.stderr());

    for command in ["accounts", "failures", "quarantine"] {
        for format in ["table", "json", "ndjson", "csv"] {
            let run = env.run(&[command, "--format", format]);
            let text = run.exits_with(0).stdout();
            is_harmless(&format!("{command} --format {format}"), &text);
            if format == "csv" {
                let mut lines = csv_fields(&text);
                assert!(
                    lines.all(|field| !field.starts_with(['=', '+', '-', '@'])),
                    "a formula in {text}"
                );
            }
        }
    }
    // And yet each is told exactly.
    for (what, rows) in [("accounts", env.accounts()), ("failures", env.failures())] {
        for name in names {
            let expected = match std::str::from_utf8(name) {
                Ok(text) => json!([text, null]),
                Err(_) => json!(["bad\\xff\\xfebytes", "626164fffe6279746573"]),
            };
            let found = rows.iter().any(|row| {
                let hex = row.get("name_hex").cloned().unwrap_or_default();
                json!([row["name"], hex]) == expected
            });
            assert!(found, "{expected} is not among the {what}: {rows:#?}");
        }
    }
}

/// Holds nothing that acts on a terminal, and one line a row.
#[track_caller]
fn is_harmless(what: &str, text: &str) {
    let bad = text.chars().find(|c| {
        c.is_control() && *c != '\n'
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffd}')
    });
    assert_eq!(bad, None, "{what}:\n{text}");
}

/// The fields of CSV without their quotes.
fn csv_fields(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .flat_map(|line| line.split(','))
        .map(|field| field.trim_start_matches('"'))
}

fn with_log(log: &str) -> TestEnv {
    let env = TestEnv::new();
    fs::write(env.log_path(), log).expect("a log");
    grow_old(env.log_path());
    env
}

fn collected(log: &str) -> TestEnv {
    let env = with_log(log);
    env.collect();
    env
}

/// Nothing more is to be expected of it.
fn grow_old(path: &Path) {
    let file = File::options().append(true).open(path).expect("the log");
    let hour = std::time::Duration::from_secs(3_600);
    let then = std::time::SystemTime::now() - hour;
    file.set_modified(then).expect("another time");
}

fn login(name: &str, id: usize) -> String {
    format!("20261122 19:00:00,db1,{name},10.0.0.1,{id},0,CONNECT,,,0\n")
}

fn refusal(name: &str, id: usize) -> String {
    format!(
        "20261122 19:00:00,db1,{name},10.0.0.1,{id},0,FAILED_CONNECT,,,1045\n\
         20261122 19:00:00,db1,{name},10.0.0.1,{id},0,DISCONNECT,,,0\n"
    )
}

fn packed(text: &str) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(text.as_bytes()).expect("memory");
    packed.finish().expect("memory")
}
