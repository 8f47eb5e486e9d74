//! Refused logins, from the log alone: no server is asked.

use std::fs;

use super::{checked, found, not_checked};
use crate::env::TestEnv;

const LOG_ONLY: &str = "audit_log = ['log/server_audit.log']\ntime_zone = 'UTC'\n[check]\nonly = ['failed-logins', 'login-burst', 'guessed-password', \
                        'failing-account', 'login-host', 'log-gap', 'forged-records']\n";

/// An environment whose log holds these records of connections: time, name, host, code; 0 is a login.
fn env_with(records: &[(&str, &str, &str, u32)]) -> TestEnv {
    let env = TestEnv::new().configured("log.toml", LOG_ONLY);
    append(&env, records);
    env
}

fn append(env: &TestEnv, records: &[(&str, &str, &str, u32)]) {
    let mut log = fs::read_to_string(env.log_path()).unwrap_or_default();
    for (time, name, host, code) in records {
        let id = log.lines().count() + 5;
        let operation = if *code == 0 {
            "CONNECT"
        } else {
            "FAILED_CONNECT"
        };
        log += &format!("20261122 {time},db1,{name},{host},{id},0,{operation},,,{code}\n");
        log += &format!("20261122 {time},db1,{name},{host},{id},0,DISCONNECT,,,0\n");
    }
    fs::write(env.log_path(), log).expect("a log");
    env.collect();
}

#[test]
fn refused_logins_are_told_once_with_their_sources() {
    let env = env_with(&[
        ("10:00:00", "app", "localhost", 0),
        ("10:00:01", "app", "localhost", 1045),
        ("10:00:02", "app", "10.0.0.7", 1045),
        ("10:00:03", "app", "10.0.0.7", 1045),
        // A load balancer that only looks.
        ("10:00:04", "", "10.0.0.9", 1158),
    ]);
    let document = checked(&env, &[]);
    assert_eq!(found(&document), ["failed-logins db1"]);
    let message = document["findings"][0]["message"]
        .as_str()
        .expect("a message");
    assert!(message.starts_with("3 logins were refused"), "{message}");
    assert!(
        message.ends_with("'10.0.0.7' 2, 'localhost' 1"),
        "{message}"
    );
    assert_eq!(found(&checked(&env, &[])), [""; 0]);
    // Records that are read later than the last check was made are new all the same.
    append(&env, &[("10:00:05", "app", "10.0.0.8", 1045)]);
    // A look at a part does not hide it.
    assert_eq!(
        found(&checked(&env, &["--skip", "login-burst"])),
        ["failed-logins db1"]
    );
    let document = checked(&env, &[]);
    let message = document["findings"][0]["message"]
        .as_str()
        .expect("a message");
    assert!(
        message.starts_with("1 login was refused since the last check"),
        "{message}"
    );
    assert_eq!(found(&checked(&env, &[])), [""; 0]);
}

#[test]
fn guesses_are_told_from_mistakes() {
    let times: Vec<_> = (0..60).map(|second| format!("11:00:{second:02}")).collect();
    let names = ["root", "admin", "mysql", "test", "o'brien"];
    let mut records: Vec<_> = names
        .iter()
        .zip(&times)
        .map(|(name, time)| (&**time, *name, "192.0.2.66", 1045))
        .collect();
    // One is guessed in the end, another has an old password.
    records.extend(
        times[10..20]
            .iter()
            .map(|time| (&**time, "shop", "192.0.2.77", 1045)),
    );
    records.push((&times[20], "shop", "192.0.2.77", 0));
    records.extend(
        times[30..40]
            .iter()
            .map(|time| (&**time, "cron", "localhost", 1045)),
    );
    let env = env_with(&records);
    let document = checked(&env, &[]);
    assert_eq!(
        found(&document),
        [
            "login-burst '192.0.2.66'",
            "guessed-password 'shop' from '192.0.2.77'",
            "login-host 'shop' from '192.0.2.77'",
            "failed-logins db1",
            "failing-account 'cron' from 'localhost'",
        ],
        "{:#}",
        document["findings"]
    );
    assert_eq!(found(&checked(&env, &[])), [""; 0], "each is told once");
}

#[test]
fn without_a_log_nothing_is_fine() {
    let env = TestEnv::new().configured("log.toml", LOG_ONLY);
    let run = env.run(&["check", "--format", "json"]);
    run.exits_with(3).complains("server_audit.log");
    let document: serde_json::Value = serde_json::from_str(&run.stdout()).expect("a document");
    assert_eq!(not_checked(&document).len(), 7, "{document:#}");
}

#[test]
fn a_server_that_does_not_answer_leaves_what_the_log_says() {
    let env = env_with(&[("10:00:02", "app", "localhost", 1045)]);
    let env = env.configured(
        "none.toml",
        "audit_log = ['log/server_audit.log']\n[server]\nsocket = '/nonexistent/sock'\n",
    );
    let run = env.run(&["check", "--format", "json"]);
    run.exits_with(3).complains("/nonexistent/sock");
    let document: serde_json::Value = serde_json::from_str(&run.stdout()).expect("a document");
    assert_eq!(found(&document), ["failed-logins db1"]);
    let unchecked = not_checked(&document);
    for id in [
        "bind-address",
        "empty-password",
        "audit-active",
        "unused-account",
    ] {
        assert!(unchecked.contains(&id), "{id} in {unchecked:?}");
    }
    assert!(!unchecked.contains(&"log-gap"), "{unchecked:?}");
}
