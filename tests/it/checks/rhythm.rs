//! Logins out of the rhythm: weeks of a log, and a real login at the end of them.

use std::fs;

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use serde_json::Value;

use super::{checked, env_of, found, hardened, not_checked};
use crate::client::{Login, Via};
use crate::env::TestEnv;
use crate::mariadb::administrator;

const LOG_ONLY: &str = "audit_log = ['log/server_audit.log']\ntime_zone = 'UTC'\n[check]\nonly = ['unusual-time', 'unusual-rate']\n";

/// A session that begins and ends at this time.
fn session(at: DateTime<Utc>, server: &str, name: &str, id: usize) -> String {
    let who = format!(
        "{},{server},{name},localhost,{id},0",
        at.format("%Y%m%d %H:%M:%S")
    );
    format!("{who},CONNECT,,,0\n{who},DISCONNECT,,,0\n")
}

/// A session every day at this hour (UTC), for so many days up to yesterday.
fn daily(server: &str, name: &str, hour: u32, days: i64) -> String {
    let today = Utc::now().with_hour(hour).expect("an hour");
    let day = |day| {
        session(
            today - TimeDelta::days(day),
            server,
            name,
            10 + day as usize,
        )
    };
    (1..=days).rev().map(day).collect()
}

fn message(document: &Value) -> &str {
    document["findings"][0]["message"]
        .as_str()
        .expect("a message")
}

#[test]
fn a_real_login_at_another_hour_is_told_once() {
    let server = hardened();
    administrator(
        &server,
        "CREATE USER job@localhost IDENTIFIED BY 'secret'; CREATE USER idle@localhost IDENTIFIED BY 'secret'",
    );
    // The job comes when it is night here.
    let night = (Utc::now() + TimeDelta::hours(12)).hour();
    let live = fs::read_to_string(server.audit_log()).expect("the log");
    let serverhost = live.split(',').nth(1).expect("a serverhost");
    fs::write(
        server.audit_log().with_extension("log.1"),
        daily(serverhost, "job", night, 70),
    )
    .expect("a rotated file");
    let env = env_of(&server, "only = ['unusual-time', 'unusual-rate']");
    assert_eq!(found(&checked(&env, &[])), [""; 0], "nobody came in yet");
    for name in ["job", "idle"] {
        let client = server.log_in(Via::Socket, &Login::new(name, "secret"));
        client.expect("it comes in").quit();
    }
    server.settle();
    env.collect();
    let document = checked(&env, &[]);
    assert_eq!(found(&document), ["unusual-time 'job'"]);
    let says = "in the 8 weeks before it never did at that hour of the week";
    assert!(message(&document).contains(says), "{document:#}");
    assert_eq!(not_checked(&document), [""; 0]);
    assert_eq!(found(&checked(&env, &[])), [""; 0], "once");
}

#[test]
fn far_more_logins_than_ever_are_told_with_the_evidence() {
    let env = TestEnv::new().configured("log.toml", LOG_ONLY);
    let past = daily("db1", "app", 3, 50);
    fs::write(env.log_path(), &past).expect("a log");
    env.collect();
    assert_eq!(found(&checked(&env, &[])), [""; 0]);
    // It comes when it always does, but it does not stop.
    let last = Utc::now().with_hour(3).expect("an hour") - TimeDelta::days(1);
    let many: String = (100..250)
        .map(|id| session(last, "db1", "app", id))
        .collect();
    fs::write(env.log_path(), past + &many).expect("a log");
    env.collect();
    let document = checked(&env, &[]);
    assert_eq!(found(&document), ["unusual-rate 'app'"]);
    let says = "151 logins in the hour from";
    assert!(message(&document).starts_with(says), "{document:#}");
    let says = "at most 1 in any hour of the 5 weeks before";
    assert!(message(&document).contains(says), "{document:#}");
    assert_eq!(found(&checked(&env, &[])), [""; 0], "once");
}

#[test]
fn without_enough_history_they_are_silent_but_have_not_passed() {
    let env = TestEnv::new().configured("log.toml", LOG_ONLY);
    fs::write(env.log_path(), daily("db1", "app", 3, 20)).expect("a log");
    let evidence = env.path("evidence.json");
    let flags = ["--evidence", evidence.to_str().expect("a path")];
    let document = checked(&env, &flags);
    assert_eq!(found(&document), [""; 0]);
    assert_eq!(not_checked(&document), [""; 0]);
    let evidence = fs::read_to_string(evidence).expect("the evidence");
    let evidence: Value = serde_json::from_str(&evidence).expect("a document");
    let results = evidence["checks"].as_array().expect("results").iter();
    let ours = results.filter(|one| {
        one["check"]
            .as_str()
            .is_some_and(|id| id.starts_with("unusual-"))
    });
    let ours: Vec<_> = ours.map(|one| &one["result"]).collect();
    assert_eq!(ours, ["not_checked", "not_checked"]);
}
