//! What is peculiar to MariaDB, against real servers: the tables and who may create them, sessions
//! that no server's defaults change, many hosts in one store, two stores at once.

mod access;
mod faults;

use std::fs;

use conntracker::mariadb::Access;
use conntracker::store::MariaDb;
use serde_json::{Value, json};

use super::store_contract;
use crate::env::TestEnv;
use crate::mariadb::{Server, administrator};

/// How `root` reaches a server of these tests.
fn as_root(server: &Server) -> Access {
    Access {
        socket: Some(server.address().socket.clone()),
        user: Some("root".into()),
        ..Access::default()
    }
}

/// An environment that keeps the answer in `server`, as `user`; `more` is added to `[mariadb]`.
fn env_in(server: &Server, user: &str, more: &str) -> TestEnv {
    let env = TestEnv::new();
    configure(env, server, user, more)
}

fn configure(env: TestEnv, server: &Server, user: &str, more: &str) -> TestEnv {
    env.in_mariadb(&server.address().socket, user, more)
}

const ALICE: &str = "\
20261122 19:00:00,db1,alice,10.0.0.1,5,0,CONNECT,,,0
20261122 19:00:01,db1,alice,10.0.0.1,5,0,DISCONNECT,,,0
";
const BOB: &str = "\
20261122 19:05:00,db1,bob,10.0.0.2,6,0,CONNECT,,,0
20261122 19:05:01,db1,bob,10.0.0.2,6,0,DISCONNECT,,,0
20261122 19:05:02,db1,eve,10.0.0.3,7,0,FAILED_CONNECT,,,1045
20261122 19:05:02,db1,eve,10.0.0.3,7,0,DISCONNECT,,,0
";

fn append(env: &TestEnv, lines: &str) {
    let mut log = fs::read_to_string(env.log_path()).unwrap_or_default();
    log.push_str(lines);
    fs::write(env.log_path(), log).expect("a log");
}

#[track_caller]
fn names(env: &TestEnv) -> Vec<String> {
    let accounts = env.accounts();
    assert!(
        accounts.iter().all(|row| row["connects"] == 1),
        "{accounts:#?}"
    );
    let name = |row: &Value| row["name"].as_str().expect("a name").to_owned();
    accounts.iter().map(name).collect()
}

/// As if the clock had been set back since those rows were stored.
fn set_back(server: &Server) {
    server.sql(
        "SET SESSION max_statement_time = 0;
         UPDATE conntrack.activity
         SET start = FROM_UNIXTIME(UNIX_TIMESTAMP(start) + 1000 * 86400) WHERE server = 'set back';
         COMMIT",
    );
}

#[test]
fn mariadb_keeps_the_contract() {
    let server = Server::start(&[]);
    let access = as_root(&server);
    store_contract(
        || Box::new(MariaDb::open(&access, "conntrack").expect("a store")),
        || set_back(&server),
    );
}

/// Defaults that an administrator may have chosen, each of which could change what is stored.
const STRANGE_DEFAULTS: [&str; 15] = [
    "--sql-mode=ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,NO_ZERO_DATE,PAD_CHAR_TO_FULL_LENGTH",
    "--default-time-zone=-07:00",
    "--character-set-server=latin1",
    "--collation-server=latin1_swedish_ci",
    "--init-connect=SET NAMES latin1, SESSION time_zone = '+05:30', autocommit = 0",
    "--default-storage-engine=MyISAM",
    "--explicit-defaults-for-timestamp=OFF",
    "--innodb-default-row-format=compact",
    "--autocommit=0",
    "--completion-type=CHAIN",
    "--transaction-isolation=SERIALIZABLE",
    "--loose-sql-safe-updates=1",
    "--max-statement-time=0.001",
    "--auto-increment-increment=7",
    "--lower-case-table-names=1",
];

#[test]
fn a_servers_defaults_change_nothing() {
    let mut server = Server::start_in("America/Los_Angeles", &[]);
    server.sql("CREATE USER limited@localhost; GRANT ALL ON conntrack.* TO limited@localhost");
    server.restart_with(&STRANGE_DEFAULTS);
    // This one has no option.
    server.sql("SET GLOBAL sql_select_limit = 3");
    // init_connect is not for those with all privileges.
    let access = Access {
        user: Some("limited".into()),
        ..as_root(&server)
    };
    store_contract(
        || Box::new(MariaDb::open(&access, "conntrack").expect("a store")),
        || set_back(&server),
    );
    let engines = administrator(
        &server,
        "SET SESSION sql_select_limit = 1000, max_statement_time = 0;
         SELECT DISTINCT engine, row_format FROM information_schema.tables
         WHERE table_schema = 'conntrack' AND table_type = 'BASE TABLE'",
    );
    assert_eq!(engines, "InnoDB\tDynamic\n");
}

#[test]
fn times_are_instants_whatever_the_readers_zone() {
    let server = Server::start(&["--default-time-zone=+03:00"]);
    let env = env_in(&server, "root", "").time_zone("Europe/Zurich");
    append(&env, ALICE);
    env.collect();
    assert_eq!(env.accounts()[0]["last_seen"], "2026-11-22T18:00:00Z");
    for (zone, time) in [
        ("+00:00", "2026-11-22 18:00:00"),
        ("+03:00", "2026-11-22 21:00:00"),
    ] {
        let sql = format!("SET time_zone = '{zone}'; SELECT last_seen FROM conntrack.accounts");
        assert_eq!(administrator(&server, &sql).trim(), time);
    }
}

// --- The tables, and who may create them.

#[test]
fn an_administrator_creates_the_tables_and_the_account_needs_no_more_than_to_fill_them() {
    let server = Server::start(&[]);
    let env = env_in(&server, "conntrack", "");
    append(&env, ALICE);
    let schema = env.run(&["schema", "--store", "mariadb"]).stdout();
    // Twice, for it must be harmless to do it again.
    for _ in 0..2 {
        administrator(&server, &schema);
    }
    server.sql(
        "CREATE USER conntrack@localhost;
         GRANT SELECT, INSERT, UPDATE, DELETE ON conntrack.* TO conntrack@localhost",
    );
    env.collect();
    assert_eq!(names(&env), ["alice"]);
    let view = "SELECT name, connects, hosts FROM conntrack.account_names";
    assert_eq!(administrator(&server, view), "alice\t1\t1\n");
}

#[test]
fn a_run_creates_the_tables_where_it_may() {
    let server = Server::start(&[]);
    server.sql(
        "CREATE USER conntrack@localhost; GRANT ALL ON `c t`.* TO conntrack@localhost;
         CREATE USER reader@localhost; GRANT SELECT ON `c t`.* TO reader@localhost",
    );
    let env = env_in(&server, "conntrack", "database = 'c t'");
    append(&env, ALICE);
    let before = env.run(&["accounts"]);
    before
        .exits_with(3)
        .complains_once(&["Unknown database 'c t'", "schema --store mariadb"]);
    env.collect();
    assert_eq!(names(&env), ["alice"]);
    // Whoever only reads needs no more than SELECT.
    let reader = configure(TestEnv::new(), &server, "reader", "database = 'c t'");
    assert_eq!(names(&reader), ["alice"]);
}

#[test]
fn what_an_administrator_has_to_run_is_said() {
    let server = Server::start(&[]);
    server.sql("CREATE USER conntrack@localhost");
    let env = env_in(&server, "conntrack", "");
    append(&env, ALICE);
    let refused = |words: &[&str]| {
        let remedy = [
            "conntracker: error: MariaDB store conntrack at ",
            "conntracker schema --store mariadb | mariadb",
            "GRANT SELECT, INSERT, UPDATE, DELETE, EXECUTE ON conntrack.* TO",
        ];
        let run = env.start_collecting().finish();
        run.exits_with(3).complains_once(&[&remedy, words].concat());
    };
    refused(&["error 1044"]);
    server.sql("CREATE DATABASE conntrack; GRANT SELECT ON conntrack.* TO conntrack@localhost");
    refused(&["error 1044"]);
    administrator(
        &server,
        &env.run(&["schema", "--store", "mariadb"]).stdout(),
    );
    refused(&["INSERT command denied", "error 1142"]);
    server.sql("GRANT INSERT, UPDATE, DELETE ON conntrack.* TO conntrack@localhost");
    env.collect();
    server.sql("ALTER TABLE conntrack.failed_connects RENAME conntrack.elsewhere");
    append(&env, BOB);
    refused(&["failed_connects", "error 1146"]);
    server.sql("ALTER TABLE conntrack.elsewhere RENAME conntrack.failed_connects");
    env.collect();
    assert_eq!(names(&env), ["alice", "bob"]);
}

#[test]
fn tables_of_a_newer_version_are_not_touched() {
    let server = Server::start(&[]);
    let env = env_in(&server, "root", "");
    append(&env, ALICE);
    env.collect();
    server.sql("UPDATE conntrack.schema_version SET version = 999");
    append(&env, BOB);
    for command in ["run", "accounts"] {
        let log = env.log_path().to_str().expect("a path");
        let run = env.run(&[command, "--audit-log", log]);
        run.exits_with(3)
            .complains_once(&["schema version 999", "use a newer conntracker"]);
    }
    server.sql("UPDATE conntrack.schema_version SET version = 1");
    env.collect();
    assert_eq!(names(&env), ["alice", "bob"]);
}

#[test]
fn tables_of_an_older_version_are_brought_up_to_date() {
    let server = Server::start(&[]);
    server.sql("CREATE USER limited@localhost; GRANT ALL ON conntrack.* TO limited@localhost");
    let env = env_in(&server, "limited", "");
    append(&env, ALICE);
    env.collect();
    server.sql(
        "UPDATE conntrack.schema_version SET version = 1;
         DROP VIEW conntrack.unused_accounts; DROP TABLE conntrack.account_status;
         DROP VIEW conntrack.activity_by_day; DROP TABLE conntrack.activity",
    );
    // Reading changes nothing.
    let reader = env.run(&["accounts"]);
    reader
        .exits_with(3)
        .complains_once(&["no tables of this version yet", "'conntracker run'"]);
    append(&env, BOB);
    env.collect();
    assert_eq!(names(&env), ["alice", "bob"]);
    let there = "SELECT version, (SELECT COUNT(*) FROM conntrack.unused_accounts),
                        (SELECT SUM(logins) FROM conntrack.activity_by_day)
                 FROM conntrack.schema_version";
    assert_eq!(administrator(&server, there), "3\t0\t1\n");
}

#[test]
fn a_run_touches_only_the_rows_that_changed() {
    let server = Server::start(&[]);
    let env = env_in(&server, "root", "");
    let login = |n: u32, minute: u32| {
        format!("20261122 19:{minute:02}:00,db1,app{n:05},10.0.0.1,{n},0,CONNECT,,,0\n")
    };
    let all: String = (0..5_000).map(|n| login(n, 0)).collect();
    append(&env, &all);
    env.collect();
    let written = || -> u64 {
        let status = "SELECT SUM(variable_value) FROM information_schema.global_status
                      WHERE variable_name IN ('Handler_write', 'Handler_update', 'Handler_delete')";
        administrator(&server, status)
            .trim()
            .parse()
            .expect("a number")
    };
    let before = written();
    // What the question itself costs.
    let asking = written() - before;
    let some: String = (0..5_000).step_by(50).map(|n| login(n, 1)).collect();
    append(&env, &some);
    let before = written();
    env.collect();
    let rows = written() - before - asking;
    // 100 accounts and the hour of each, tried as an insertion and then updated, a checkpoint, a
    // coverage.
    assert!((200..500).contains(&rows), "{rows} rows were written");
    let accounts = env.accounts();
    let connects = accounts.iter().filter_map(|row| row["connects"].as_u64());
    assert_eq!(connects.sum::<u64>(), 5_100);
}

// --- A fleet.

#[test]
fn hosts_that_share_a_store_touch_only_their_own_rows() {
    let server = Server::start(&[]);
    let hosts = ["db1", "db2"].map(|name| {
        let env = env_in(&server, "root", "");
        append(&env, &ALICE.replace("db1", name));
        env.collect();
        env
    });
    // Two instances on one host whose logs call it by the same name.
    let second = env_in(&server, "root", "");
    append(&second, ALICE);
    let log = second.log_path().to_str().expect("a path");
    let run = [
        "run",
        "--audit-log",
        log,
        "--time-zone",
        "UTC",
        "--server-name",
        "db1-second",
    ];
    second.run(&run).is_silent_success();
    administrator(
        &server,
        "UPDATE conntrack.accounts SET first_seen = NULL WHERE server <> 'db1'",
    );
    append(&hosts[0], &ALICE.replace("19:00", "19:10"));
    hosts[0].collect();
    let rows = hosts[1].accounts();
    let figures: Vec<_> = rows
        .iter()
        .map(|row| (&row["server"], &row["first_seen"], &row["connects"]))
        .collect();
    assert_eq!(
        figures,
        [
            (&json!("db1"), &json!("2026-11-22T19:00:00Z"), &json!(2)),
            (&json!("db1-second"), &Value::Null, &json!(1)),
            (&json!("db2"), &Value::Null, &json!(1)),
        ]
    );
    assert_eq!(
        administrator(
            &server,
            "SELECT COUNT(*), COUNT(DISTINCT collector) FROM conntrack.checkpoints"
        ),
        "3\t1\n"
    );
}

#[test]
fn a_host_that_got_another_name_goes_on_where_it_was() {
    let server = Server::start(&[]);
    let env = env_in(&server, "root", "");
    append(&env, ALICE);
    // Long enough for its beginning to tell it from others.
    for n in 0..20 {
        append(
            &env,
            &format!(
                "20261122 19:01:{n:02},db1,app,10.0.0.9,{},0,FAILED_CONNECT,,,1045\n20261122 19:01:{n:02},db1,app,10.0.0.9,{},0,DISCONNECT,,,0\n",
                100 + n,
                100 + n
            ),
        );
    }
    env.collect();
    administrator(
        &server,
        "UPDATE conntrack.checkpoints SET collector = 'its old name'",
    );
    append(&env, BOB);
    env.collect();
    assert_eq!(names(&env), ["alice", "bob"]);
    assert_eq!(env.failures()[0]["attempts"], 20);
}

// --- Two stores at once.

#[test]
fn a_store_that_is_down_does_not_hold_up_the_other_and_catches_up() {
    let mut server = Server::start(&[]);
    let socket = server.address().socket.clone();
    let env = TestEnv::new().configured(
        "both.toml",
        &format!(
            "stores = ['mariadb', 'sqlite']\n[mariadb]\nsocket = '{}'\nuser = 'root'\n",
            socket.display()
        ),
    );
    append(&env, ALICE);
    env.collect();
    server.kill9();
    append(&env, BOB);
    let run = env.start_collecting().finish();
    run.exits_with(3).complains_once(&[
        "MariaDB store conntrack at ",
        socket.to_str().expect("a path"),
        "is the server running",
    ]);
    let in_sqlite = env.run(&["accounts", "--store", "sqlite", "--format", "json"]);
    assert_eq!(in_sqlite.json().len(), 2);
    server.restart();
    env.collect();
    assert_eq!(names(&env), ["alice", "bob"]);
    assert_eq!(env.accounts(), in_sqlite.json());
}
