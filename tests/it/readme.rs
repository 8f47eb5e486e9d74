//! The SQL that README shows, on a store that a real log filled: each statement must find what it is
//! there for.

use std::fs;

use chrono::{TimeDelta, Utc};

use crate::env::TestEnv;
use crate::mariadb::{Server, administrator};

/// The `sql` blocks of README, in their order.
fn statements() -> Vec<String> {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = fs::read_to_string(readme).expect("README.md");
    let blocks = readme.split("```sql\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

/// A login `days` ago, and its end.
fn session(days: i64, name: &str, host: &str, id: u32) -> String {
    let at = (Utc::now() - TimeDelta::days(days)).format("%Y%m%d %H:%M:%S");
    format!(
        "{at},db1,{name},{host},{id},0,CONNECT,,,0\n{at},db1,{name},{host},{id},0,DISCONNECT,,,0\n"
    )
}

fn refusal(name: &str, host: &str, id: u32) -> String {
    let at = (Utc::now() - TimeDelta::hours(1)).format("%Y%m%d %H:%M:%S");
    format!(
        "{at},db1,{name},{host},{id},0,FAILED_CONNECT,,,1045\n{at},db1,{name},{host},{id},0,DISCONNECT,,,0\n"
    )
}

#[test]
fn each_statement_finds_what_it_is_there_for() {
    let server = Server::start(&[]);
    let env = TestEnv::new().in_mariadb(&server.address().socket, "root", "");
    // Somebody comes every day, so that silence is no reason to doubt the log.
    let mut sessions: Vec<_> = (0..=200).map(|day| (day, "monitor", "10.0.0.9")).collect();
    sessions.extend([
        (200, "crm_2019", "10.0.5.77"),
        (100, "crm_2019", "10.0.5.78"),
        (95, "backup", "localhost"),
        (30, "app", "10.0.5.21"),
        (2, "backup", "localhost"),
        (2, "app", "203.0.113.5"),
        (1, "newcomer", "10.0.5.30"),
        (0, "app", "10.0.5.21"),
    ]);
    sessions.sort_by_key(|(day, ..)| -day);
    let mut log: Vec<_> = (10..)
        .zip(sessions)
        .map(|(id, (day, name, host))| session(day, name, host, id))
        .collect();
    log.insert(
        log.len() - 2,
        refusal("root", "203.0.113.9", 5) + &refusal("admin", "203.0.113.9", 6),
    );
    fs::write(env.log_path(), log.concat()).expect("a log");
    env.collect();
    // It may not have been there for long, for all that the server says; so an earlier check knew it.
    administrator(
        &server,
        "CREATE USER crm_2019@'%'; DROP USER IF EXISTS root@'127.0.0.1', root@'::1';
         INSERT INTO conntrack.account_status
         VALUES ('db1', 'crm_2019', '%', '', '', NULL, NULL, 0, 0, 1, NOW() - INTERVAL 1 YEAR, NOW())",
    );
    let log = env.log_path().to_str().expect("a path");
    let check = ["check", "--audit-log", log, "--server-name", "db1"];
    // The server of this test is an open one, which is told too.
    env.run(&check).exits_with(2);
    // The first columns, without times.
    let expected = [
        "db1|crm_2019|%|unused",
        "db1|crm_2019",
        "db1|app|203.0.113.5",
        "db1|203.0.113.9|2|2",
        "db1",
        "db1|20",
        "db1",
    ];
    let statements = statements();
    assert_eq!(statements.len(), expected.len(), "{statements:#?}");
    for (sql, expected) in statements.iter().zip(expected) {
        let said = administrator(&server, sql);
        assert_eq!(said.lines().count(), 1, "{sql}\n{said}");
        assert!(
            said.replace('\t', "|").starts_with(expected),
            "{sql}\n{said}"
        );
    }
}
