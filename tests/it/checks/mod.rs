//! The security checks on real servers: a server is made guilty, the finding appears, what it prints as
//! its remedy is run as it stands, the finding is gone, and nothing else changed.
//!
//! All of it with the least privilege: an account that may read the views of `conntracker schema`.

mod accounts;
mod audit;
mod logins;
mod network;
mod output;
mod rhythm;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use crate::env::TestEnv;
use crate::mariadb::{Server, administrator};

/// What makes a server of these tests one that no check has anything to say of.
const HARDENED: [&str; 2] = [
    "--bind-address=127.0.0.1",
    "--server-audit=FORCE_PLUS_PERMANENT",
];

/// A server on which nothing is wrong, and an account to check it with.
fn hardened() -> Server {
    let server = Server::start(&HARDENED);
    harden(&server);
    server
}

fn harden(server: &Server) {
    let env = TestEnv::new();
    administrator(server, &env.run(&["schema", "--store", "mariadb"]).stdout());
    let remote = administrator(
        server,
        "SELECT Host FROM mysql.global_priv WHERE User = 'root'",
    );
    for host in remote.lines().filter(|host| *host != "localhost") {
        administrator(server, &format!("DROP USER root@'{host}'"));
    }
    administrator(
        server,
        "CREATE USER conntrack@localhost IDENTIFIED BY 'secret';
         GRANT SELECT ON conntrack.* TO conntrack@localhost;
         GRANT EXECUTE ON PROCEDURE conntrack.server_connections TO conntrack@localhost;
         ALTER USER root@localhost IDENTIFIED VIA unix_socket;",
    );
}

/// An environment that checks `server`; `more` is added to `[check]`.
fn env_of(server: &Server, more: &str) -> TestEnv {
    let env = TestEnv::reading(server.audit_log());
    configure(env, server, more)
}

fn configure(env: TestEnv, server: &Server, more: &str) -> TestEnv {
    let password = env.path("password");
    fs::write(&password, "secret").expect("a password");
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).expect("its mode");
    let text = format!(
        "audit_log = ['{}']\ntime_zone = 'UTC'\n[server]\nsocket = '{}'\nuser = 'conntrack'\n\
         password_file = '{}'\n[check]\n{more}\n",
        server.audit_log().display(),
        server.address().socket.display(),
        password.display(),
    );
    env.configured("check.toml", &text)
}

/// What `check` says, as one document, and its exit code is that of the worst finding.
#[track_caller]
fn checked(env: &TestEnv, flags: &[&str]) -> Value {
    let run = env.run(&[&["check", "--format", "json"], flags].concat());
    let document: Value = match serde_json::from_str(&run.stdout()) {
        Ok(document) => document,
        Err(error) => run.fail(&format!("should have printed a document: {error}")),
    };
    let has = |list: &str| !document[list].as_array().expect("a list").is_empty();
    let is_critical = |finding: &Value| finding["severity"] == "critical";
    let code = if document["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .any(is_critical)
    {
        2
    } else {
        (has("findings") || has("not_checked") || has("unknown")).into()
    };
    run.exits_with(code);
    document
}

/// Check and subject of each finding.
fn found(document: &Value) -> Vec<String> {
    let findings = document["findings"].as_array().expect("findings");
    let line = |finding: &Value| {
        let text = |key: &str| finding[key].as_str().expect("a text").to_owned();
        format!("{} {}", text("check"), text("subject"))
    };
    findings.iter().map(line).collect()
}

/// The checks that could not be made.
fn not_checked(document: &Value) -> Vec<&str> {
    let list = document["not_checked"].as_array().expect("a list");
    list.iter()
        .map(|one| one["check"].as_str().expect("a check"))
        .collect()
}

/// A read of the log, then a check: nothing was found, and nothing was left out.
#[track_caller]
fn is_innocent(env: &TestEnv) {
    env.collect();
    let document = checked(env, &[]);
    assert_eq!(found(&document), [""; 0], "{:#}", document["findings"]);
    assert_eq!(
        not_checked(&document),
        [""; 0],
        "{:#}",
        document["not_checked"]
    );
}

/// The texts of the steps of this place, of all findings.
fn steps(document: &Value, place: &str) -> Vec<String> {
    let findings = document["findings"].as_array().expect("findings");
    let steps = findings
        .iter()
        .flat_map(|one| one["steps"].as_array().expect("steps"));
    steps
        .filter(|step| step["place"] == place)
        .map(|step| step["text"].as_str().expect("a text").to_owned())
        .collect()
}

/// Does what the remedies say, as they stand: statements by the administrator's client, commands by a
/// shell, options by a start with them.
fn cure(server: &mut Server, document: &Value) {
    let statements = steps(document, "sql");
    if !statements.is_empty() {
        administrator(
            server,
            &format!("SET NAMES utf8mb4;\n{}", statements.join("\n")),
        );
    }
    for command in steps(document, "shell") {
        let status = Command::new("bash")
            .args(["-c", &command])
            .status()
            .expect("a shell");
        assert!(status.success(), "{command}");
    }
}

/// The options of the remedies, as the server's command line takes them.
fn options(document: &Value) -> Vec<String> {
    let mut options = Vec::new();
    for text in steps(document, "options") {
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("[mariadbd]"), "{text}");
        for line in lines {
            let (name, value) = line.split_once(" = ").expect("an option");
            options.push(format!("--{name}={value}"));
        }
    }
    options
}
