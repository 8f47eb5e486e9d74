//! What is printed, for people, Nagios and auditors; what is accepted; what is asked for wrongly.

use std::fs;

use conntracker::store::{Sqlite, Store};
use conntracker::time::UtcSeconds;
use serde_json::Value;

use super::{checked, configure, env_of, found, hardened, is_innocent, not_checked};
use crate::env::TestEnv;
use crate::mariadb::administrator;

#[test]
fn a_hardened_server_is_nothing_to_speak_of() {
    let server = hardened();
    let env = env_of(&server, "");
    env.run(&["check", "-q"]).is_silent_success();
    let nagios = env.run(&["check", "--format", "nagios"]);
    let line = nagios.exits_with(0).stdout();
    assert!(line.starts_with("CONNTRACKER OK - "), "{line}");
    assert!(
        line.contains(": no findings|critical=0;;0;0 warnings=0;0;;0 "),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1, "{line}");
    let table = env.run(&["check"]);
    let table = table.exits_with(0).stdout();
    assert!(table.contains("\nno findings\n"), "{table}");
}

#[test]
fn without_a_log_the_server_is_checked_and_the_rest_is_not_fine() {
    let server = hardened();
    let env = env_of(&server, "");
    let text = fs::read_to_string(env.path("check.toml")).expect("a configuration");
    let log = server.audit_log().display().to_string();
    let env = env.configured(
        "no-log.toml",
        &text.replace(&log, "/nonexistent/server_audit.log"),
    );
    administrator(&server, "CREATE USER guilty@localhost");
    let run = env.run(&["check", "--format", "json"]);
    run.exits_with(3).complains("/nonexistent: No such file");
    let document: Value = serde_json::from_str(&run.stdout()).expect("a document");
    let found = found(&document);
    assert!(
        found.contains(&"empty-password 'guilty'@'localhost'".into()),
        "{found:?}"
    );
    let unchecked = not_checked(&document);
    for id in ["log-gap", "failed-logins", "login-host", "unused-account"] {
        assert!(unchecked.contains(&id), "{id} in {unchecked:?}");
    }
    assert!(!unchecked.contains(&"bind-address"), "{unchecked:?}");
    // Who does not ask for the log is not told of it.
    env.run(&["check", "--only", "bind-address,empty-password"])
        .exits_with(2);
}

#[test]
fn a_textfile_that_cannot_be_written_casts_no_doubt_on_the_log() {
    let server = hardened();
    let env = env_of(&server, "");
    let text = fs::read_to_string(env.path("check.toml")).expect("a configuration");
    let textfile = env.path("missing/c.prom");
    let textfile = textfile.to_str().expect("UTF-8");
    let env = env.configured(
        "textfile.toml",
        &format!("{text}[run]\ntextfile = '{textfile}'\n"),
    );
    let run = env.run(&["check", "--format", "json"]);
    run.exits_with(3)
        .complains_once(&[textfile, "run.textfile"]);
    let document: Value = serde_json::from_str(&run.stdout()).expect("a document");
    assert_eq!(not_checked(&document), [""; 0], "{document:#}");
    assert_eq!(document["unknown"], serde_json::json!([]), "{document:#}");
    env.run(&["report", "--html", "page.html"]).exits_with(3);
}

#[test]
fn who_only_looks_leaves_what_the_next_check_has_to_know() {
    let server = hardened();
    let env = env_of(&server, "");
    is_innocent(&env);
    let name = administrator(&server, "SELECT @@hostname");
    let name = name.trim().into();
    let newer = "{\"what\": \"a newer program\", \"log\": 7}";
    let mut store = Sqlite::open(env.sqlite_path()).expect("the store");
    assert!(store.check_memory(&name).expect("a memory").is_some());
    store
        .keep_memory(&name, UtcSeconds(1_000), newer)
        .expect("another memory");
    for look in [
        &["report", "--html", "page.html"][..],
        &["check", "--only", "bind-address"],
        &["check", "--skip", "bind-address"],
    ] {
        env.run(look).exits_with(0);
        let kept = store.check_memory(&name).expect("a memory");
        assert_eq!(kept.as_deref(), Some(newer), "{look:?}");
    }
    env.run(&["check"]).exits_with(0);
    let kept = store.check_memory(&name).expect("a memory");
    assert_ne!(kept.as_deref(), Some(newer));
}

#[test]
fn nagios_is_told_in_a_line_and_details() {
    let server = hardened();
    let env = env_of(&server, "");
    env.collect();
    administrator(&server, "CREATE USER 'a|critical=0'@'%'");
    let run = env.run(&["check", "--format", "nagios", "--skip", "new-account"]);
    let text = run.exits_with(2).stdout();
    let mut lines = text.lines();
    let first = lines.next().expect("a line");
    assert!(first.starts_with("CONNTRACKER CRITICAL - "), "{first}");
    assert!(
        first.contains("1 critical finding, 1 warning|critical=1;;0;0 warnings=1;0;;0 "),
        "{first}"
    );
    let details: Vec<_> = lines.collect();
    assert_eq!(details.len(), 2, "{text}");
    assert!(
        details[0].starts_with(r"critical: empty-password: 'a\x7ccritical=0'@'%': "),
        "{text}"
    );
    assert_eq!(text.matches('|').count(), 1, "{text}");
    drop(server);
    let run = env.run(&["check", "--format", "nagios", "--only", "bind-address"]);
    let text = run.exits_with(3).stdout();
    assert!(text.starts_with("CONNTRACKER UNKNOWN - "), "{text}");
}

#[test]
fn what_is_accepted_is_silent_and_in_the_evidence() {
    let server = hardened();
    let accept = |until: &str| {
        format!(
            "skip = ['new-account', 'changed-account']\nseverity = {{ wide-scope = 'critical' }}\n\
             [[check.accept]]\ncheck = 'powerful-account'\nsubject = \"'backup'@'localhost'\"\n\
             reason = 'mariadb-dump'\nuntil = '{until}'\n"
        )
    };
    let env = env_of(&server, &accept("2100-01-01"));
    is_innocent(&env);
    administrator(
        &server,
        "GRANT PROCESS, SELECT ON *.* TO backup@localhost IDENTIFIED BY 'x'",
    );
    let evidence = env.path("evidence.json");
    let path = evidence.to_str().expect("a path");
    let document = checked(&env, &["--evidence", path]);
    assert_eq!(found(&document), ["wide-scope 'backup'@'localhost'"]);
    assert_eq!(document["findings"][0]["severity"], "critical");
    assert_eq!(document["accepted"][0]["check"], "powerful-account");
    assert_eq!(document["accepted"][0]["reason"], "mariadb-dump");
    let text = fs::read_to_string(&evidence).expect("the evidence");
    let written: Value = serde_json::from_str(&text).expect("a document");
    assert_eq!(written["findings"], document["findings"]);
    assert_eq!(written["conntracker"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        written["accounts"].as_array().map(Vec::len),
        Some(4),
        "{written:#}"
    );
    let result = |id: &str| {
        let checks = written["checks"].as_array().expect("checks");
        let check = checks.iter().find(|check| check["check"] == id);
        check.unwrap_or_else(|| panic!("no {id}"))["result"].clone()
    };
    for (id, expected) in [
        ("wide-scope", "failed"),
        ("powerful-account", "accepted"),
        ("new-account", "skipped"),
        ("bind-address", "passed"),
        ("log-gap", "passed"),
    ] {
        assert_eq!(result(id), expected, "{id}");
    }
    let env = configure(env, &server, &accept("2020-01-01"));
    let document = checked(&env, &[]);
    assert_eq!(
        found(&document),
        [
            "wide-scope 'backup'@'localhost'",
            "powerful-account 'backup'@'localhost'"
        ]
    );
    let message = document["findings"][1]["message"]
        .as_str()
        .expect("a message");
    assert!(
        message.ends_with("(accepted until 2020-01-01)"),
        "{message}"
    );
}

#[test]
fn a_check_that_there_is_not_is_an_error() {
    let env = TestEnv::new();
    for flag in ["--only", "--skip"] {
        env.run(&["check", flag, "bind-address,bind-adress"])
            .exits_with(3)
            .complains("'bind-adress' is not a check; there are bind-address, ");
    }
    for (text, words) in [
        (
            "skip = ['nonsense']",
            "check.skip: 'nonsense' is not a check",
        ),
        (
            "only = ['nonsense']",
            "check.only: 'nonsense' is not a check",
        ),
        (
            "severity = { nonsense = 'warning' }",
            "check.severity: 'nonsense' is not a check",
        ),
        (
            "severity = { wide-scope = 'bad' }",
            "write warning or critical",
        ),
        (
            "expect_clients = ['10.0.0.0/99']",
            "check.expect_clients: '10.0.0.0/99' is no name",
        ),
        (
            "accept = [{ check = 'nonsense', subject = 'x', reason = 'y', until = '2027-01-01' }]",
            "check.accept: 'nonsense' is not a check",
        ),
        (
            "accept = [{ check = 'wide-scope', subject = 'x', reason = 'y', until = 'soon' }]",
            "'soon' is not a date",
        ),
        (
            "accept = [{ check = 'wide-scope', subject = 'x', until = '2027-01-01' }]",
            "reason",
        ),
    ] {
        let env = TestEnv::new().configured("wrong.toml", &format!("[check]\n{text}\n"));
        env.run(&["check"]).exits_with(3).complains(words);
    }
}
