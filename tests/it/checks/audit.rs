//! The audit plugin and its log.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{
    HARDENED, checked, configure, cure, env_of, found, harden, hardened, is_innocent, not_checked,
    options,
};
use crate::client::{Login, Via};
use crate::mariadb::{Server, administrator};

#[test]
fn settings_of_the_plugin_are_cured_at_once_and_for_later() {
    let mut server = hardened();
    let env = env_of(&server, "skip = ['log-gap']");
    is_innocent(&env);
    for (name, guilty, expected, severity) in [
        (
            "server_audit_logging",
            "OFF",
            "audit-active server_audit_logging = OFF",
            "critical",
        ),
        (
            "server_audit_events",
            "''",
            "audit-events server_audit_events = ",
            "warning",
        ),
        (
            "server_audit_events",
            "'CONNECT,QUERY'",
            "audit-events server_audit_events = CONNECT,QUERY",
            "warning",
        ),
        (
            "server_audit_events",
            "'TABLE'",
            "audit-events server_audit_events = TABLE",
            "critical",
        ),
        (
            "server_audit_output_type",
            "'syslog'",
            "audit-output server_audit_output_type = syslog",
            "warning",
        ),
    ] {
        administrator(&server, &format!("SET GLOBAL {name} = {guilty}"));
        let document = checked(&env, &[]);
        assert_eq!(found(&document), [expected], "{:#}", document["findings"]);
        assert_eq!(document["findings"][0]["severity"], severity, "{expected}");
        let before = settings(&server, name);
        let cures = options(&document);
        cure(&server, &document);
        assert_eq!(
            settings(&server, name),
            before,
            "{expected}: nothing else changed"
        );
        let document = checked(&env, &[]);
        assert_eq!(found(&document), [""; 0], "after the cure of {expected}");
        // And from the next start on.
        let flag = format!("--{}={}", name.replace('_', "-"), guilty.trim_matches('\''));
        let all: Vec<_> = HARDENED
            .iter()
            .copied()
            .chain([&*flag])
            .chain(cures.iter().map(String::as_str))
            .collect();
        server.restart_with(&all);
        let document = checked(&env, &[]);
        assert_eq!(
            found(&document),
            [""; 0],
            "after a start with the cure of {expected}"
        );
        server.restart_with(&HARDENED);
    }
}

/// All settings of the plugin but this one.
fn settings(server: &Server, but: &str) -> String {
    administrator(
        server,
        &format!(
            "SHOW GLOBAL VARIABLES WHERE variable_name LIKE 'server_audit%' AND variable_name <> '{but}'"
        ),
    )
}

#[test]
fn a_plugin_that_can_be_unloaded_or_is_not_there() {
    let mut server = Server::start(&["--bind-address=127.0.0.1"]);
    harden(&server);
    let env = env_of(&server, "");
    env.collect();
    let document = checked(&env, &[]);
    assert_eq!(found(&document), ["audit-permanent server_audit = ON"]);
    let cures = options(&document);
    let cures: Vec<_> = ["--bind-address=127.0.0.1"]
        .into_iter()
        .chain(cures.iter().map(String::as_str))
        .collect();
    server.restart_with(&cures);
    is_innocent(&configure(env, &server, ""));
    administrator(&server, "CREATE USER other@localhost IDENTIFIED BY 'x'");

    server.restart_with(&["--bind-address=127.0.0.1", "--server-audit=OFF"]);
    let env = env_of(&server, "");
    let document = checked(&env, &[]);
    assert_eq!(found(&document), ["audit-active server_audit"]);
    let unchecked = not_checked(&document);
    for id in [
        "audit-events",
        "audit-output",
        "audit-rotation",
        "audit-permanent",
        "audit-file-mode",
    ] {
        assert!(unchecked.contains(&id), "{id} in {unchecked:?}");
    }
    let cures = options(&document);
    let cures: Vec<_> = ["--bind-address=127.0.0.1"]
        .into_iter()
        .chain(cures.iter().map(String::as_str))
        .collect();
    server.restart_with(&cures);
    is_innocent(&env_of(&server, ""));
}

#[test]
fn a_log_that_others_may_read_or_write() {
    let server = hardened();
    let env = env_of(&server, "");
    is_innocent(&env);
    let log = server.audit_log();
    for (mode, severity) in [(0o664, "warning"), (0o662, "critical"), (0o661, "warning")] {
        fs::set_permissions(&log, fs::Permissions::from_mode(mode)).expect("permissions");
        let document = checked(&env, &[]);
        assert_eq!(
            found(&document),
            [format!("audit-file-mode {}", log.display())]
        );
        assert_eq!(document["findings"][0]["severity"], severity, "{mode:o}");
        cure(&server, &document);
        let now = fs::metadata(&log).expect("the log").permissions().mode();
        assert_eq!(now & 0o7777, 0o660, "only the others lost a right");
        is_innocent(&env);
    }
}

#[test]
fn a_log_that_is_not_the_one_that_is_read() {
    let server = hardened();
    let log = server.audit_log();
    // Another file is read.
    let env = env_of(&server, "skip = ['log-gap']");
    let other = env.path("other.log");
    fs::copy(&log, &other).expect("a copy");
    let text = fs::read_to_string(env.path("check.toml")).expect("a configuration");
    let text = text.replace(&*log.to_string_lossy(), &other.to_string_lossy());
    let env = env.configured("other.toml", &text);
    env.run(&["run"]).exits_with(0);
    let document = checked(&env, &[]);
    let subject = format!("audit-active {}", log.display());
    assert_eq!(found(&document), [&*subject]);
    let message = document["findings"][0]["message"]
        .as_str()
        .expect("a message");
    assert!(message.contains("other.log is read"), "{message}");
    is_innocent(&configure(env, &server, "skip = ['log-gap']"));

    // The file was moved away, and the server writes into it still.
    let env = env_of(&server, "skip = ['log-gap']");
    is_innocent(&env);
    fs::rename(&log, log.with_file_name("moved")).expect("another name");
    let flags = ["--only", "audit-active"];
    let document = checked(&env, &flags);
    assert_eq!(found(&document), [&*subject]);
    assert!(
        document["findings"][0]["message"]
            .as_str()
            .expect("a text")
            .contains("no longer there")
    );
    cure(&server, &document);
    assert!(log.exists(), "a new file");
    env.run(&["run"]).exits_with(1).complains("gap");
    assert_eq!(found(&checked(&env, &[])), [""; 0]);
}

#[test]
fn history_that_is_too_short_is_told_with_what_would_be_enough() {
    let server = hardened();
    let env = env_of(&server, "skip = ['log-gap', 'login-host']");
    is_innocent(&env);
    administrator(
        &server,
        "CREATE USER app@localhost IDENTIFIED BY 'x';
         SET GLOBAL server_audit_file_rotate_size = 3000; SET GLOBAL server_audit_file_rotations = 2",
    );
    for _ in 0..100 {
        server
            .log_in(Via::Socket, &Login::new("app", "x"))
            .expect("a login")
            .quit();
    }
    server.settle();
    let document = checked(&env, &["--only", "audit-rotation"]);
    assert_eq!(
        found(&document),
        ["audit-rotation server_audit_file_rotate_size = 3000"]
    );
    let message = document["findings"][0]["message"]
        .as_str()
        .expect("a message");
    assert!(
        message.contains("s of history: the log grows by"),
        "{message}"
    );
    cure(&server, &document);
    assert_eq!(
        found(&checked(&env, &["--only", "audit-rotation"])),
        [""; 0]
    );
    assert!(
        options(&document)[0].starts_with("--server_audit_file_rotate_size="),
        "{document:#}"
    );
}

#[test]
fn a_gap_and_a_forgery_are_told_once() {
    let server = hardened();
    let env = env_of(&server, "skip = ['failed-logins']");
    is_innocent(&env);
    administrator(
        &server,
        "SET GLOBAL server_audit_logging = OFF; SET GLOBAL server_audit_logging = ON",
    );
    let host = administrator(&server, "SELECT @@hostname");
    let now = chrono::Utc::now().format("%Y%m%d %H:%M:%S");
    let forged = format!(
        "root2,localhost,99,0,CONNECT,,,0\n{now},{},mallory",
        host.trim()
    );
    server
        .log_in(Via::Socket, &Login::new(&forged, ""))
        .expect_err("no such account");
    server.settle();
    env.run(&["run"]).exits_with(1);
    let mut document = checked(&env, &[]);
    let is = |check: &'static str| move |one: &String| one.starts_with(check);
    let first = found(&document);
    assert!(first.iter().any(is("log-gap")), "{first:?}");
    // It may be held back until its connection's end was read.
    for _ in 0..20 {
        if found(&document).iter().any(is("forged-records")) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(300));
        env.run(&["run"]);
        document = checked(&env, &[]);
    }
    assert!(
        found(&document).iter().any(is("forged-records")),
        "{:?}",
        found(&document)
    );
    assert_eq!(found(&checked(&env, &[])), [""; 0]);
}
