//! What a run leaves for Prometheus, read by Prometheus' own tool: a file that the collector does not
//! understand would take every figure of ours away, and without a word.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use conntracker::store::{Sqlite, Status, Store};
use conntracker::time::UtcSeconds;

use crate::env::TestEnv;
use crate::mariadb::Server;
use crate::store::judged;

fn login(name: &str, id: usize) -> String {
    format!("20261122 19:00:00,db1,{name},10.0.0.1,{id},0,CONNECT,,,0\n")
}

fn refusal(name: &str, id: usize, code: u32) -> String {
    format!(
        "20261122 19:00:00,db1,{name},10.0.0.1,{id},0,FAILED_CONNECT,,,{code}\n\
         20261122 19:00:00,db1,{name},10.0.0.1,{id},0,DISCONNECT,,,0\n"
    )
}

/// Runs promtool, which must find nothing to complain of.
#[track_caller]
fn promtool(args: &[&str], input: &[u8]) {
    let started = Command::new("promtool")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut tool = started.unwrap_or_else(|error| {
        panic!("promtool: {error}; tests/run installs it (Debian's package prometheus)")
    });
    let mut stdin = tool.stdin.take().expect("a pipe");
    stdin.write_all(input).expect("what it reads");
    drop(stdin);
    let output = tool.wait_with_output().expect("what it says");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let input = String::from_utf8_lossy(input);
    assert!(output.status.success(), "{args:?}: {said}\n{input}");
    if args == ["check", "metrics"] {
        // What it finds bad style does not make it fail in every version.
        assert_eq!(said, "", "{input}");
    }
}

/// The figures in the file, after promtool has read it.
#[track_caller]
fn figures(path: &Path) -> String {
    let text = fs::read(path).expect("the textfile");
    promtool(&["check", "metrics"], &text);
    let mode = fs::metadata(path).expect("its mode").permissions().mode();
    assert_eq!(mode & 0o777, 0o644, "the exporter must be able to read it");
    let text = String::from_utf8(text).expect("UTF-8");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let behind = line.rsplit_once('}').map_or(line, |(_, behind)| behind);
        let fields = behind.split_whitespace().count();
        // The name may be among them.
        let expected = if behind == line { 2 } else { 1 };
        assert_eq!(fields, expected, "a time stamp: {line}");
    }
    text
}

#[track_caller]
fn value(text: &str, sample: &str) -> f64 {
    let found = text.lines().find_map(|line| line.strip_prefix(sample));
    let found = found.unwrap_or_else(|| panic!("no {sample} in\n{text}"));
    found.trim().parse().expect("a number")
}

#[test]
fn a_run_tells_what_it_did_and_what_is_known() {
    let log = login("alice", 5) + &refusal("root", 6, 1045) + &refusal("root", 7, 1698);
    let env = TestEnv::new();
    fs::write(env.log_path(), &log).expect("a log");
    let (log_path, path) = (env.log_path().to_str().unwrap(), env.path("c.prom"));
    let textfile = path.to_str().unwrap();
    let run = ["--textfile", textfile, "run", "--audit-log", log_path];
    env.run(&run).is_silent_success();
    let text = figures(&path);
    for (sample, expected) in [
        ("conntracker_last_run_success", 1),
        (
            "conntracker_last_run_read_bytes{store=\"sqlite\"}",
            log.len(),
        ),
        ("conntracker_last_run_malformed_lines{store=\"sqlite\"}", 0),
        ("conntracker_last_run_gaps{store=\"sqlite\"}", 0),
        ("conntracker_gaps_total{server=\"db1\"}", 0),
        (
            "conntracker_failed_logins_total{server=\"db1\",code=\"1045\"}",
            1,
        ),
        (
            "conntracker_failed_logins_total{server=\"db1\",code=\"1698\"}",
            1,
        ),
        (
            "conntracker_newest_record_timestamp_seconds{server=\"db1\"}",
            1_795_374_000,
        ),
    ] {
        assert_eq!(value(&text, sample), expected as f64, "{sample}");
    }
    let ended = value(&text, "conntracker_last_run_timestamp_seconds ");
    let success = value(&text, "conntracker_last_success_timestamp_seconds ");
    assert_eq!(ended, success);
    assert!((ended - UtcSeconds::now().0 as f64).abs() < 60.0, "{ended}");
    // What did not happen yet can be seen to begin.
    let other = "conntracker_failed_logins_total{server=\"db1\",code=\"other\"}";
    assert_eq!(value(&text, other), 0.0);
    // Nobody asked for those, and no check was made.
    assert!(!text.contains("alice"), "{text}");
    assert!(!text.contains("conntracker_accounts"), "{text}");

    // What belongs to one run begins anew; what adds up goes on.
    fs::write(env.log_path(), log.clone() + &refusal("root", 8, 1045)).expect("a log");
    env.run(&run).is_silent_success();
    let text = figures(&path);
    let read = "conntracker_last_run_read_bytes{store=\"sqlite\"}";
    assert_eq!(value(&text, read), refusal("root", 8, 1045).len() as f64);
    let failed = "conntracker_failed_logins_total{server=\"db1\",code=\"1045\"}";
    assert_eq!(value(&text, failed), 2.0);
    // Nothing else is left in the folder.
    let folder = fs::read_dir(path.parent().unwrap()).expect("the folder");
    let names: Vec<_> = folder.flatten().map(|entry| entry.file_name()).collect();
    let scratch = names
        .iter()
        .filter(|name| name.to_string_lossy().contains("prom"));
    assert_eq!(scratch.count(), 1, "{names:?}");
}

#[test]
fn a_run_that_fails_says_so_and_when_one_did_not() {
    let env = TestEnv::new();
    let path = env.path("c.prom");
    let config = format!("[run]\ntextfile = '{}'\n", path.display());
    let env = env.configured("run.toml", &config);
    let log = env.log_path().to_str().unwrap();
    let run = ["run", "--audit-log", log];
    env.run(&run).exits_with(3);
    let text = figures(&path);
    assert_eq!(value(&text, "conntracker_last_run_success"), 0.0);
    assert_eq!(
        value(&text, "conntracker_last_success_timestamp_seconds"),
        0.0
    );
    fs::write(env.log_path(), login("alice", 5)).expect("a log");
    env.run(&run).is_silent_success();
    let good = value(
        &figures(&path),
        "conntracker_last_success_timestamp_seconds",
    );
    assert!(good > 0.0);
    fs::remove_file(env.log_path()).expect("no log");
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    for _ in 0..2 {
        env.run(&run).exits_with(3);
        let text = figures(&path);
        assert_eq!(value(&text, "conntracker_last_run_success"), 0.0);
        let last = value(&text, "conntracker_last_success_timestamp_seconds");
        assert_eq!(last, good);
        assert!(value(&text, "conntracker_last_run_timestamp_seconds") > good);
        // What is known is known all the same.
        let newest = "conntracker_newest_record_timestamp_seconds{server=\"db1\"}";
        assert_eq!(value(&text, newest), 1_795_374_000.0);
    }
}

#[test]
fn doubts_gaps_and_lines_that_are_no_records_are_counted() {
    let env = TestEnv::new();
    // Both records of a refused login carry the name, and with it the record that it forges.
    let record = "20261122 19:00:00,db1,root,localhost,99,0,CONNECT,,,0\n";
    let refused: Vec<_> = refusal("x", 6, 1045)
        .lines()
        .map(|line| format!("{record}{line}\n"))
        .collect();
    let forged = refused.concat();
    let far = format!(
        "20261122 19:00:00,db1,alice,10.0.0.1,5,1,QUERY,,'{}',0\n",
        "x".repeat(300)
    );
    fs::write(
        env.log_path(),
        login("alice", 5) + &far + "what is this?\n" + &far + &forged,
    )
    .expect("a log");
    // Nothing more is to be expected of it.
    let file = fs::File::options().append(true).open(env.log_path());
    let hour = std::time::Duration::from_secs(3_600);
    let aged = file.and_then(|file| file.set_modified(std::time::SystemTime::now() - hour));
    aged.expect("another time");
    let (log, path) = (env.log_path().to_str().unwrap(), env.path("c.prom"));
    let textfile = path.to_str().unwrap();
    let run = ["run", "--audit-log", log, "--textfile", textfile];
    env.run(&run).exits_with(1);
    let text = figures(&path);
    let of = |what| {
        value(
            &text,
            &format!("conntracker_last_run_{what}{{store=\"sqlite\"}}"),
        )
    };
    assert_eq!(of("malformed_lines"), 1.0);
    assert_eq!(of("quarantined_records"), 2.0);
    assert_eq!(
        value(&text, "conntracker_last_run_success"),
        1.0,
        "it did its work"
    );
    // The file is another one, and what stood between is lost.
    let later = login("alice", 5).replace("19:00", "20:00");
    fs::write(env.log_path(), later).expect("a log");
    env.run(&run).exits_with(1);
    let text = figures(&path);
    assert_eq!(
        value(&text, "conntracker_last_run_gaps{store=\"sqlite\"}"),
        1.0
    );
    assert_eq!(value(&text, "conntracker_gaps_total{server=\"db1\"}"), 1.0);
}

#[test]
fn accounts_are_counted_by_state_and_told_one_by_one_on_request() {
    let env = TestEnv::new();
    let hostile: [&[u8]; 5] = [
        b"quote\"} 1",
        b"back\\slash",
        b"bad\xff\xfebytes",
        "turned\u{202e}".as_bytes(),
        b"bad\\xff\\xfebytes",
    ];
    let mut log = Vec::new();
    for (id, name) in hostile.iter().enumerate() {
        log.extend(b"20261122 19:00:00,db1,");
        log.extend(*name);
        log.extend(format!(",10.0.0.1,{},0,CONNECT,,,0\n", id + 10).bytes());
    }
    fs::write(env.log_path(), &log).expect("a log");
    env.collect();
    let status = Status {
        server: "db1".into(),
        checked_at: UtcSeconds(1_795_376_581),
        accounts: vec![
            judged("a", "%", "unused"),
            judged("b", "%", "unused"),
            judged("c", "%", "role"),
        ],
        unexplained: Vec::new(),
    };
    let mut store = Sqlite::open(env.sqlite_path()).expect("the store");
    store.keep_status(&status).expect("a status");
    drop(store);
    let (log, path) = (env.log_path().to_str().unwrap(), env.path("c.prom"));
    let textfile = ["--textfile", path.to_str().unwrap(), "--textfile-accounts"];
    env.run(&[&["run", "--audit-log", log], &textfile[..]].concat())
        .is_silent_success();
    let text = figures(&path);
    for (state, count) in [("unused", 2.0), ("role", 1.0), ("locked", 0.0)] {
        let sample = format!("conntracker_accounts{{server=\"db1\",state=\"{state}\"}}");
        assert_eq!(value(&text, &sample), count, "{state}");
    }
    let checked = "conntracker_check_timestamp_seconds{server=\"db1\"}";
    assert_eq!(value(&text, checked), 1_795_376_581.0);
    for name in [
        r#"quote\"} 1"#,
        r"back\\\\slash",
        r"bad\\xff\\xfebytes",
        r"turned\\u{202e}",
        r"bad\\\\xff\\\\xfebytes",
    ] {
        let labels = format!("{{server=\"db1\",name=\"{name}\",host=\"10.0.0.1\"}}");
        let connects = format!("conntracker_account_connects_total{labels}");
        assert_eq!(value(&text, &connects), 1.0, "{name}");
        let active = format!("conntracker_account_last_active_timestamp_seconds{labels}");
        assert_eq!(value(&text, &active), 1_795_374_000.0, "{name}");
    }
    assert_eq!(value(&text, "conntracker_account_series_omitted"), 0.0);
}

#[test]
fn there_is_a_limit_to_the_series_of_accounts() {
    let log: String = (0..10_003)
        .map(|n| {
            let at = format!("20261122 {:02}:{:02}:00", n / 600, n / 10 % 60);
            login(&format!("user{n:05}"), n).replace("20261122 19:00:00", &at)
        })
        .collect();
    let env = TestEnv::new();
    fs::write(env.log_path(), log).expect("a log");
    let (log, path) = (env.log_path().to_str().unwrap(), env.path("c.prom"));
    let textfile = ["--textfile", path.to_str().unwrap(), "--textfile-accounts"];
    env.run(&[&["run", "--audit-log", log], &textfile[..]].concat())
        .is_silent_success();
    let text = figures(&path);
    let rows = text
        .lines()
        .filter(|line| line.starts_with("conntracker_account_connects_total{"));
    assert_eq!(rows.count(), 10_000);
    assert_eq!(value(&text, "conntracker_account_series_omitted"), 3.0);
    // Those that were used last stay.
    assert!(text.contains("name=\"user10002\"") && !text.contains("name=\"user00000\""));
}

#[test]
fn a_store_in_mariadb_tells_the_same_and_one_that_is_down_nothing() {
    let server = Server::start(&[]);
    let env = TestEnv::new();
    let path = env.path("c.prom");
    let config = format!(
        "stores = ['mariadb', 'sqlite']\n[run]\ntextfile = '{}'\n[mariadb]\nsocket = '{}'\nuser = 'root'\n",
        path.display(),
        server.address().socket.display()
    );
    let env = env.configured("both.toml", &config);
    fs::write(
        env.log_path(),
        login("alice", 5) + &refusal("root", 6, 1045),
    )
    .expect("a log");
    env.collect();
    let failed = "conntracker_failed_logins_total{server=\"db1\",code=\"1045\"}";
    let read = |store| format!("conntracker_last_run_read_bytes{{store=\"{store}\"}}");
    let text = figures(&path);
    assert_eq!(value(&text, failed), 1.0);
    assert!(value(&text, &read("mariadb")) > 0.0);
    assert!(value(&text, &read("sqlite")) > 0.0);
    drop(server);
    env.start_collecting().finish().exits_with(3);
    let text = figures(&path);
    assert_eq!(value(&text, "conntracker_last_run_success"), 0.0);
    // The other one knows it too.
    assert_eq!(value(&text, failed), 1.0);
    assert!(!text.contains(&read("mariadb")), "{text}");
    assert_eq!(value(&text, &read("sqlite")), 0.0);
}

#[test]
fn a_file_that_cannot_be_or_would_not_be_read_is_named() {
    let env = TestEnv::new();
    fs::write(env.log_path(), login("alice", 5)).expect("a log");
    let log = env.log_path().to_str().unwrap();
    let missing = env.path("missing/c.prom");
    let missing = missing.to_str().unwrap();
    let run = env.run(&["run", "--audit-log", log, "--textfile", missing]);
    run.exits_with(3).complains_once(&[missing, "run.textfile"]);
    assert!(env.account("alice").is_some(), "the work itself was done");
    for (args, said) in [
        (&["--textfile", "c.txt"][..], ".prom"),
        (&["--textfile-accounts"], "--textfile-accounts"),
    ] {
        let run = env.run(&[&["run", "--audit-log", log], args].concat());
        run.exits_with(3).prints("").complains_once(&[said]);
    }
}

#[test]
fn the_example_rules_fire_when_they_should() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rules = root.join("examples/prometheus-alerts.yml");
    promtool(&["check", "rules", rules.to_str().unwrap()], b"");
    let tests = root.join("tests/data/prometheus-alerts.test.yml");
    promtool(&["test", "rules", tests.to_str().unwrap()], b"");
    // Each name in them is one that a run writes.
    let rules = fs::read_to_string(rules).expect("the rules");
    let source = fs::read_to_string(root.join("src/report/prometheus.rs")).expect("the names");
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let expressions = rules.lines().filter(|line| line.contains("expr:"));
    let words = expressions.flat_map(|line| line.split(|c| !is_of_name(c)));
    let names: Vec<_> = words
        .filter(|word| word.starts_with("conntracker_"))
        .collect();
    assert!(names.len() > 8, "{names:?}");
    for name in names {
        assert!(source.contains(&format!("\"{name}\"")), "{name}");
    }
}
