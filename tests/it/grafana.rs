//! The dashboard in `examples`: each of its statements, with Grafana's macros as Grafana expands them,
//! finds what its panel is there for in a store that a real log filled.

use std::fs;

use chrono::{TimeDelta, Utc};
use serde_json::Value;

use crate::env::TestEnv;
use crate::mariadb::{Server, administrator};

/// What a panel must find: the columns that a person would look at first.
const EXPECTED: [(&str, &str); 13] = [
    ("Unused accounts", "1"),
    ("Refused logins", "3"),
    ("Records not believed", "2"),
    // Seconds; see below.
    ("Age of the newest record", ""),
    ("Logins a day", "*|db1|"),
    ("Refused logins a day", "*|db1|3"),
    ("Logins by hour", "*|db1|"),
    ("Refused logins by hour", "*|db1|3"),
    ("Accounts by state", ""),
    ("Unused accounts, by last use", "db1|crm_2019|%|unused"),
    ("New clients", "*|db1|newcomer|10.0.5.30"),
    ("Refused logins by source", "203.0.113.9|3|2|"),
    ("What the logs cover", "db1|"),
];

fn dashboard() -> Value {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/grafana-dashboard.json"
    );
    let text = fs::read_to_string(path).expect("the dashboard");
    serde_json::from_str(&text).expect("JSON")
}

/// As Grafana's MySQL data source does it (its macros.go), for the last 365 days and all
/// values of `$server`.
fn expanded(sql: &str, servers: &str) -> String {
    let to = Utc::now().timestamp();
    let from = to - 365 * 86_400;
    let mut sql = sql.replace("$server", servers);
    while let Some((before, behind)) = sql.split_once("$__timeFilter(") {
        let (column, behind) = behind.split_once(')').expect("a bracket");
        let span = format!("{column} BETWEEN FROM_UNIXTIME({from}) AND FROM_UNIXTIME({to})");
        sql = format!("{before}{span}{behind}");
    }
    while let Some((before, behind)) = sql.split_once("$__timeGroup(") {
        let (arguments, behind) = behind.split_once(')').expect("a bracket");
        let (column, interval) = arguments.split_once(", ").expect("two arguments");
        let seconds = match interval.trim_matches('\'') {
            "1h" => 3_600,
            "1d" => 86_400,
            other => panic!("{other}"),
        };
        let group = format!("UNIX_TIMESTAMP({column}) DIV {seconds} * {seconds}");
        sql = format!("{before}{group}{behind}");
    }
    assert!(!sql.contains('$'), "Grafana would be left with: {sql}");
    sql
}

fn record(minutes: i64, what: &str) -> String {
    let at = (Utc::now() - TimeDelta::minutes(minutes)).format("%Y%m%d %H:%M:%S");
    let (session, end) = what.split_once(' ').expect("a name and an operation");
    format!("{at},db1,{session},0,{end}\n{at},db1,{session},0,DISCONNECT,,,0\n")
}

/// A server with a store, filled from a log of 200 days: one account unused, one client new, three
/// refused logins, and ten days of silence long ago.
fn filled() -> Server {
    const DAY: i64 = 1_440;
    let server = Server::start(&[]);
    let env = TestEnv::new().in_mariadb(&server.address().socket, "root", "");
    let mut log = String::new();
    let days = (150..=200).rev().chain((1..140).rev());
    for (id, day) in (100..).zip(days) {
        log += &record(day * DAY, &format!("monitor,10.0.0.9,{id} CONNECT,,,0"));
        if day == 170 {
            log += &record(day * DAY, "crm_2019,10.0.5.77,10 CONNECT,,,0");
        }
    }
    for (id, name) in [(5, "root"), (6, "admin"), (7, "root")] {
        log += &record(
            600,
            &format!("{name},203.0.113.9,{id} FAILED_CONNECT,,,1045"),
        );
    }
    log += &record(300, "newcomer,10.0.5.30,20 CONNECT,,,0");
    log += &record(0, "monitor,10.0.0.9,21 CONNECT,,,0");
    fs::write(env.log_path(), log).expect("a log");
    env.collect();
    administrator(
        &server,
        "CREATE USER crm_2019@'%'; DROP USER IF EXISTS root@'127.0.0.1', root@'::1';
         INSERT INTO conntrack.account_status
         VALUES ('db1', 'crm_2019', '%', '', '', NULL, NULL, 0, 0, 1, NOW() - INTERVAL 1 YEAR, NOW());
         INSERT INTO conntrack.quarantine (server, name, host, time, connectionid, why, file, `offset`)
         VALUES ('db1', 'root', 'localhost', NOW() - INTERVAL 1 HOUR, 7, 'forged', 'x', 0),
                ('db1', 'root', 'localhost', NULL, 8, 'no time', 'x', 1),
                ('db1', 'root', 'localhost', NOW() - INTERVAL 2 YEAR, 9, 'long ago', 'x', 2)",
    );
    let log = env.log_path().to_str().expect("a path");
    env.run(&["check", "--audit-log", log, "--server-name", "db1"]);
    server
}

#[test]
fn each_panel_finds_what_it_is_there_for() {
    let server = filled();
    let dashboard = dashboard();
    let ask = |sql: &str| administrator(&server, &format!("USE conntrack; {sql}"));

    let variables = dashboard["templating"]["list"]
        .as_array()
        .expect("variables");
    let query = variables
        .iter()
        .find(|one| one["name"] == "server")
        .expect("$server");
    let servers = ask(query["query"].as_str().expect("its statement"));
    assert_eq!(servers.trim(), "db1");
    let find = |target: &Value| {
        let sql = expanded(target["rawSql"].as_str().expect("a statement"), "'db1'");
        let said = ask(&sql).replace('\t', "|");
        assert!(!said.trim().is_empty(), "{sql}\nfinds nothing");
        said
    };

    let panels = dashboard["panels"].as_array().expect("panels");
    let titles: Vec<_> = panels
        .iter()
        .map(|panel| panel["title"].as_str().expect("a title"))
        .collect();
    assert_eq!(titles, EXPECTED.map(|(title, _)| title));
    for (panel, (title, expected)) in panels.iter().zip(EXPECTED) {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let targets = panel["targets"].as_array().expect("targets");
        let said = targets.iter().map(find).collect::<String>();
        let (anything, wanted) = match expected.strip_prefix('*') {
            Some(wanted) => (true, wanted),
            None => (false, expected),
        };
        let fits = |line: &str| match anything {
            true => line.contains(wanted),
            false => line.starts_with(wanted),
        };
        assert!(said.lines().any(fits), "{title}: {expected}\n{said}");
        match title {
            "Age of the newest record" => {
                let age: i64 = said.trim().parse().expect("seconds");
                assert!((0..300).contains(&age), "{said}");
            }
            "Accounts by state" => assert!(said.lines().any(|line| line == "unused|1"), "{said}"),
            // A row for each day with a login; and each row stands at the beginning of its time.
            "Logins a day" => {
                assert_eq!(said.lines().count(), 191, "{said}");
                let time = |line: &str| {
                    line.split('|')
                        .next()
                        .and_then(|time| time.parse::<i64>().ok())
                };
                assert!(
                    said.lines()
                        .all(|line| time(line).is_some_and(|time| time % 86_400 == 0))
                );
            }
            "What the logs cover" => assert_eq!(said.lines().count(), 2, "{said}"),
            _ => {}
        }
    }
    let gaps = &dashboard["annotations"]["list"][0]["target"];
    assert!(find(gaps).contains("db1: gap before this time: "));
    // With another server chosen it shows nothing of this one.
    let sql = expanded(
        panels[9]["targets"][0]["rawSql"]
            .as_str()
            .expect("a statement"),
        "'other'",
    );
    assert_eq!(ask(&sql), "");
}
