//! What a run keeps by the hour: of which records, and of which times.

use std::fs;

use conntracker::store::Activity;

use crate::env::TestEnv;

/// Name, beginning, length, logins, failures and hours of each row; `*` stands for all other names.
fn rows(env: &TestEnv) -> Vec<String> {
    let row = |Activity { name, slot }: Activity| {
        format!(
            "{} {} {}h {} {} {:x}",
            name.map_or("*".into(), |name| name.escaped()),
            &slot.start.sql()[..13],
            slot.hours,
            slot.logins,
            slot.failures,
            slot.login_hours
        )
    };
    env.activity().into_iter().map(row).collect()
}

fn record(time: &str, name: &str, id: u32, what: &str) -> String {
    format!("{time},db1,{name},10.0.0.1,{id},0,{what}\n")
}

fn login(time: &str, name: &str, id: u32) -> String {
    record(time, name, id, "CONNECT,,,0") + &record(time, name, id, "DISCONNECT,,,0")
}

fn refusal(time: &str, name: &str, id: u32) -> String {
    record(time, name, id, "FAILED_CONNECT,,,1045") + &record(time, name, id, "DISCONNECT,,,0")
}

fn read(env: &TestEnv, log: &[String]) {
    fs::write(env.log_path(), log.concat()).expect("a log");
    // A clock that was wrong is told.
    env.start_collecting().finish();
}

#[test]
fn logins_and_failures_are_kept_by_the_hour() {
    let env = TestEnv::new();
    let change = [
        record("20261020 11:00:00", "app", 20, "CONNECT,,,0"),
        record("20261020 12:59:59", "app", 20, "CHANGEUSER,,,0"),
        record("20261020 14:00:00", "report", 20, "DISCONNECT,,,0"),
    ];
    let log = [
        login("20261020 10:00:00", "app", 10),
        login("20261020 10:59:59", "app", 11),
        refusal("20261020 10:59:59", "app", 12),
        refusal("20261020 10:59:59", "guess", 13),
        refusal("20261020 10:59:59", "guess2", 14),
        change.concat(),
        login("20261020 15:00:00", "app", 30),
    ];
    read(&env, &log);
    assert_eq!(
        rows(&env),
        [
            "app 2026-10-20 10 1h 2 1 400",
            "* 2026-10-20 10 1h 0 2 0",
            "app 2026-10-20 11 1h 1 0 800",
            // Somebody came in as report, but not by a login.
            "report 2026-10-20 12 1h 0 0 1000",
            "app 2026-10-20 15 1h 1 0 8000",
        ]
    );
}

#[test]
fn a_clock_that_was_wrong_is_no_rhythm() {
    let env = TestEnv::new();
    let log = [
        login("20261020 10:00:00", "app", 10),
        // What stands before a time that runs backwards is not believed.
        login("20261020 10:00:00", "other", 5),
        login("20261001 03:00:00", "app", 11),
        refusal("20261001 03:00:00", "app", 12),
        login("20261020 11:00:00", "app", 13),
        login("20990101 03:00:00", "app", 14),
        login("20990101 03:00:00", "other", 6),
        login("20261020 12:00:00", "app", 15),
        login("20261020 13:00:00", "app", 16),
    ];
    // It makes no difference where a run ends.
    for at_once in [true, false] {
        let env = if at_once { &env } else { &TestEnv::new() };
        if !at_once {
            (1..log.len()).for_each(|end| read(env, &log[..end]));
        }
        read(env, &log);
        let connects = |row: serde_json::Value| row["connects"].as_u64();
        assert_eq!(env.account("app").and_then(connects), Some(6));
        let mut rows = rows(env);
        rows.retain(|row| row.starts_with("app"));
        assert_eq!(
            rows,
            [
                "app 2026-10-20 10 1h 1 0 400",
                "app 2026-10-20 11 1h 1 0 800",
                "app 2026-10-20 12 1h 1 0 1000",
                "app 2026-10-20 13 1h 1 0 2000",
            ]
        );
    }
}

#[test]
fn how_long_it_is_kept_is_configured() {
    let log = [
        login("20261010 10:00:00", "app", 10),
        login("20261016 10:00:00", "app", 11),
        login("20261018 10:00:00", "app", 12),
        login("20261019 10:00:00", "app", 13),
        login("20261020 10:00:00", "app", 14),
    ];
    let expected = [
        "app 2026-10-16 00 24h 1 0 400",
        "app 2026-10-18 10 1h 1 0 400",
        "app 2026-10-19 10 1h 1 0 400",
        "app 2026-10-20 10 1h 1 0 400",
    ];
    let text = "[activity]\nhours_kept = '2d'\ndays_kept = '1w'\n";
    for rotated in 0..log.len() {
        let env = TestEnv::new().configured("kept.toml", text);
        // What stands in rotated files is known to be old before it is read.
        let old = env.log_path().with_extension("log.1");
        fs::write(old, log[..rotated].concat()).expect("a rotated file");
        read(&env, &log[rotated..]);
        assert_eq!(rows(&env), expected, "{rotated} in the rotated file");
    }
}
