//! The cross-check against real servers: every login is attributed to the row that the server picked,
//! or to a set that holds it; and no account is called unused beyond what the log proves.

use std::fs;
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use serde_json::Value;

use crate::client::{Client, Login, Via};
use crate::env::TestEnv;
use crate::mariadb::{Server, administrator};

/// The checks that the cross-check is for; the others have tests of their own.
const CROSS_CHECK: &str = "'unused-account', 'never-used-account', 'unknown-login'";

/// An environment that reads the log of `server` and asks it as `user`; `unused_after` as in the
/// configuration.
fn env_of(server: &Server, user: &str, unused_after: &str) -> TestEnv {
    let socket = server.address().socket.display();
    TestEnv::reading(server.audit_log()).configured(
        "check.toml",
        &format!(
            "audit_log = ['{}']\ntime_zone = 'UTC'\n[server]\nsocket = '{socket}'\nuser = '{user}'\n\
             [check]\nonly = [{CROSS_CHECK}]\nunused_after = '{unused_after}'\n",
            server.audit_log().display()
        ),
    )
}

/// What `check` finds, as one document.
#[track_caller]
fn checked(env: &TestEnv) -> Value {
    let run = env.run(&["check", "--format", "json"]);
    match serde_json::from_str(&run.stdout()) {
        Ok(document) => document,
        Err(error) => run.fail(&format!("should have printed a document: {error}")),
    }
}

/// The account of this name and host pattern in a document.
#[track_caller]
fn account<'a>(document: &'a Value, user: &str, host: &str) -> &'a Value {
    let accounts = document["accounts"].as_array().expect("accounts");
    accounts
        .iter()
        .find(|account| account["user"] == user && account["host"] == host)
        .unwrap_or_else(|| panic!("no {user}@{host} in {accounts:#?}"))
}

#[track_caller]
fn is(document: &Value, user: &str, host: &str, state: &str, reason: &str) {
    let account = account(document, user, host);
    assert_eq!(account["state"], state, "{account:#}");
    let said = account["reason"].as_str().expect("a reason");
    assert!(said.contains(reason), "{user}@{host}: {said}");
}

/// `user@host` of the row that the server picked for this session.
fn current_user(client: &mut Client) -> String {
    let rows = client.query("SELECT CURRENT_USER()").expect("an answer");
    let value = rows[0][0].clone().expect("a value");
    String::from_utf8(value).expect("UTF-8")
}

// --- Whose login is it?

const ACCOUNTS: &str = "
    CREATE USER app@'127.0.0.%'; CREATE USER app@'%'; CREATE USER app@localhost;
    CREATE USER net@'127.0.0.8/255.255.255.248'; CREATE USER net@'127.0.0.9'; CREATE USER net@'127.%';
    CREATE USER one@'127.0.0._'; CREATE USER one@'127.0.0.%'; CREATE USER one@'::1';
    CREATE USER ''@localhost; CREATE USER bob@'%'; CREATE USER ''@'127.0.0.7';
    CREATE USER six@'::%'; CREATE USER six@'127.0.0.1'; CREATE USER 'sp '@'%'; CREATE USER SP@'%';
    CREATE USER `o'brien`@'127.0.0.%'; CREATE USER `x\\y`@`127.0.0.%`; CREATE USER cafe@'%';
    CREATE USER café@'%'; CREATE ROLE app_role; CREATE USER locked@'%' ACCOUNT LOCK";

const NAMES: [&str; 13] = [
    "app", "net", "one", "bob", "six", "sp ", "SP", "o'brien", "x\\y", "cafe", "café", "nobody",
    "app_role",
];

#[test]
fn each_login_is_attributed_to_the_row_that_the_server_picked() {
    for skip_name_resolve in ["ON", "OFF"] {
        let server = Server::start(&[&format!("--skip-name-resolve={skip_name_resolve}")]);
        server.sql(ACCOUNTS);
        // (name, host as the log has it, the row that the server picked)
        let mut truth: Vec<(String, String, String)> = Vec::new();
        let lasts = [1, 2, 7, 8, 9, 10, 15, 16, 100];
        let vias = lasts.map(|last| Via::Tcp(Ipv4Addr::new(127, 0, 0, last)));
        for name in NAMES {
            for via in vias.iter().copied().chain([Via::Socket]) {
                if let Ok(mut client) = server.log_in(via, &Login::new(name, "")) {
                    let picked = current_user(&mut client);
                    let host = match via {
                        Via::Tcp(Ipv4Addr::LOCALHOST) if skip_name_resolve == "OFF" => {
                            "localhost".to_owned()
                        }
                        via => via.host(),
                    };
                    truth.push((name.to_owned(), host, picked));
                    client.quit();
                }
            }
            let over_ipv6 = server.over_ipv6(name, "SELECT CURRENT_USER()");
            if let Some(picked) = over_ipv6 {
                let host = if skip_name_resolve == "ON" {
                    "::1"
                } else {
                    "localhost"
                };
                truth.push((name.to_owned(), host.to_owned(), picked));
            }
        }
        server.settle();
        let env = env_of(&server, "root", "90d");
        env.collect();
        let document = checked(&env);
        assert!(truth.len() > 80, "only {} logins", truth.len());

        let logins = document["logins"].as_array().expect("logins");
        let (mut exact, mut open) = (0, 0);
        for (name, host, picked) in &truth {
            let login = logins
                .iter()
                .find(|login| login["name"] == **name && login["host"] == **host)
                .unwrap_or_else(|| panic!("no login of {name:?} from {host}: {logins:#?}"));
            let rows = login["accounts"].as_array().expect("accounts");
            let named = |row: &Value| {
                let text = |key: &str| row[key].as_str().expect("a name").to_owned();
                format!("{}@{}", text("user"), text("host"))
            };
            let rows: Vec<_> = rows.iter().map(named).collect();
            // A space at the end of a name is not in the account table.
            let picked = &picked.replace(" @", "@");
            assert!(
                rows.contains(picked),
                "{name:?} from {host}: {rows:?} without {picked}"
            );
            if rows.len() == 1 && login["may_be_no_account"] == false {
                exact += 1;
            } else {
                // Only the socket and the two addresses share a name.
                let shared = host == "localhost" && skip_name_resolve == "OFF";
                assert!(shared || name.ends_with(' '), "{login:#}");
                open += u32::from(shared);
            }
        }
        assert!(exact > 60, "{exact} exact, {open} open");
        assert_eq!(
            open > 0,
            skip_name_resolve == "OFF",
            "{exact} exact, {open} open"
        );

        // The accounts add up what is certainly theirs.
        let certain = document["accounts"].as_array().expect("accounts").iter();
        for account in certain.filter(|account| account["exact"] == true) {
            let name = format!(
                "{}@{}",
                account["user"].as_str().unwrap_or_default(),
                account["host"].as_str().unwrap_or_default()
            );
            if name == "root@localhost" {
                continue;
            }
            let expected = truth
                .iter()
                .filter(|(_, _, picked)| *picked == name)
                .count();
            assert_eq!(account["connects"], expected, "{name}");
        }
        is(&document, "app_role", "", "role", "");
        is(&document, "locked", "%", "locked", "");
        is(&document, "mariadb.sys", "localhost", "system", "");
    }
}

// --- Is it used?

/// Takes away what an installation brings besides `root`@`localhost`.
fn without_other_roots(server: &Server) {
    let name = administrator(server, "SELECT @@hostname");
    for host in ["127.0.0.1", "::1", name.trim()] {
        administrator(server, &format!("DROP USER IF EXISTS root@'{host}'"));
    }
}

/// Lets `span` pass, with a sign of life in the log at its end.
fn pass(server: &Server, span: Duration) {
    thread::sleep(span);
    server.sql("DO 0");
    server.settle();
}

#[test]
fn an_account_is_unused_only_where_the_log_proves_it() {
    let server = Server::start(&[]);
    without_other_roots(&server);
    server.sql(
        "CREATE USER used@localhost; CREATE USER once@localhost; CREATE USER never@localhost;
         CREATE USER `it's gone`@`x\\_y`; CREATE USER rn@localhost",
    );
    let env = env_of(&server, "root", "5s");
    for name in ["once", "used"] {
        let client = server.log_in(Via::Socket, &Login::new(name, ""));
        client.expect("a login").quit();
    }
    server.settle();
    env.collect();
    // The log does not reach back far enough.
    let document = checked(&env);
    is(&document, "used", "localhost", "active", "");
    is(&document, "never", "localhost", "unknown", "it may be new");

    pass(&server, Duration::from_secs(6));
    let client = server.log_in(Via::Socket, &Login::new("used", ""));
    client.expect("a login").quit();
    server.settle();
    env.collect();
    let document = checked(&env);
    is(&document, "used", "localhost", "active", "");
    is(&document, "once", "localhost", "unused", "not used for");
    // Nobody saw this name before.
    server.sql("RENAME USER rn@localhost TO renamed@localhost");
    for _ in 0..2 {
        is(
            &checked(&env),
            "renamed",
            "localhost",
            "unknown",
            "it may be new",
        );
    }
    server.sql("DROP USER renamed@localhost");
    // Used within the time in question, however slow the machine is.
    let client = server.log_in(Via::Socket, &Login::new("used", ""));
    client.expect("a login").quit();
    server.settle();
    let document = checked(&env);
    is(
        &document,
        "never",
        "localhost",
        "never_used",
        "no use was seen",
    );
    assert_eq!(document["coverage"]["gaps"], serde_json::json!([]));
    let run = env.run(&["check"]);
    run.exits_with(1);

    // The remedies do what they say, and are not run by us.
    let remedies: Vec<_> = document["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .map(|finding| finding["remedy"].as_str().expect("a remedy").to_owned())
        .collect();
    assert_eq!(remedies.len(), 3, "{document:#}");
    let accounts = "SELECT COUNT(*) FROM mysql.global_priv";
    let before: u32 = administrator(&server, accounts)
        .trim()
        .parse()
        .expect("a number");
    for remedy in &remedies {
        let (lock, drop) = remedy.split_once("; ").expect("two statements");
        assert!(
            lock.starts_with("ALTER USER ") && lock.ends_with(" ACCOUNT LOCK"),
            "{lock}"
        );
        administrator(&server, lock);
        administrator(&server, drop);
    }
    let after: u32 = administrator(&server, accounts)
        .trim()
        .parse()
        .expect("a number");
    assert_eq!(after, before - 3);
    let left = "SELECT user FROM mysql.global_priv WHERE user IN ('once', 'never', 'it''s gone')";
    assert_eq!(administrator(&server, left), "");

    // A rotated file that is lost before it was read hides logins.
    server.sql("CREATE USER other@localhost");
    is(&checked(&env), "other", "localhost", "unknown", "new");
    pass(&server, Duration::from_secs(6));
    env.collect();
    is(&checked(&env), "other", "localhost", "never_used", "");
    server.sql("SET GLOBAL server_audit_file_rotate_now = ON");
    server.sql("SET GLOBAL server_audit_file_rotate_now = ON");
    server.settle();
    let folder = server.audit_log().parent().expect("a folder").to_owned();
    for file in fs::read_dir(folder).expect("the log's folder").flatten() {
        if file.path() != server.audit_log() {
            fs::remove_file(file.path()).expect("a rotated file");
        }
    }
    let run = env.start_collecting().finish();
    run.exits_with(1).complains("gap from");
    let document = checked(&env);
    is(
        &document,
        "other",
        "localhost",
        "unknown",
        "the log has a gap from ",
    );
    let states = document["accounts"].as_array().expect("accounts").iter();
    let unused =
        states.filter(|account| account["state"] == "unused" || account["state"] == "never_used");
    assert_eq!(unused.count(), 0, "{document:#}");
    assert_eq!(
        document["coverage"]["gaps"].as_array().map(Vec::len),
        Some(1)
    );
}

#[test]
fn a_pool_that_came_in_before_the_log_began_is_connected() {
    let server = Server::start(&[]);
    server.sql("CREATE USER pool@localhost; CREATE USER idle@localhost");
    let mut pool = server
        .log_in(Via::Socket, &Login::new("pool", ""))
        .expect("a login");
    // Its login is logged by now.
    pool.query("DO 0").expect("an answer");
    // The file that holds its login is gone before anything was read.
    server.sql("SET GLOBAL server_audit_file_rotate_now = ON");
    let rotated = fs::read_dir(server.audit_log().parent().expect("a folder")).expect("a folder");
    for file in rotated
        .flatten()
        .filter(|file| file.path() != server.audit_log())
    {
        fs::remove_file(file.path()).expect("a rotated file");
    }
    let env = env_of(&server, "root", "3s");
    pass_with(&server, Duration::from_secs(4));
    env.collect();
    let document = checked(&env);
    is(&document, "pool", "localhost", "connected", "");
    assert_eq!(account(&document, "pool", "localhost")["connects"], 0);
    is(&document, "idle", "localhost", "never_used", "");
    pool.quit();
    server.settle();
    env.collect();
    let document = checked(&env);
    is(&document, "pool", "localhost", "active", "");
    let pool = account(&document, "pool", "localhost");
    assert_eq!(
        (&pool["connects"], &pool["last_seen"]),
        (&0.into(), &Value::Null)
    );
    assert!(pool["last_active"].is_string(), "{pool:#}");
}

/// As [`pass`], while others stay connected.
fn pass_with(server: &Server, span: Duration) {
    thread::sleep(span);
    server.sql("DO 0");
    thread::sleep(Duration::from_millis(200));
}

#[test]
fn a_forged_login_keeps_no_account_alive_and_lets_none_be_called_unused() {
    let server = Server::start(&[]);
    server.sql("CREATE USER dead@localhost; CREATE USER guest@'%'");
    let env = env_of(&server, "root", "3s");
    pass(&server, Duration::from_secs(4));
    env.collect();
    is(&checked(&env), "dead", "localhost", "never_used", "");
    let now = Utc::now().format("%Y%m%d %H:%M:%S");
    let host = administrator(&server, "SELECT @@hostname");
    let name = format!("dead,localhost,77,0,CONNECT,,,0\n{now},{},x", host.trim());
    let refused = server.log_in(Via::tcp(66), &Login::new(&name, ""));
    assert!(refused.is_err());
    server.settle();
    for _ in 0..20 {
        env.start_collecting().finish();
        if !env.quarantine().is_empty() {
            break;
        }
        server.sql("DO 0");
    }
    let log = fs::read_to_string(server.audit_log()).expect("the log");
    let quarantine = env.quarantine();
    assert!(
        quarantine.iter().any(|row| row["name"] == "dead"),
        "{quarantine:#?}\n{log}"
    );
    let document = checked(&env);
    is(
        &document,
        "dead",
        "localhost",
        "unknown",
        "a login that was not believed would be its own",
    );
    assert_eq!(
        account(&document, "dead", "localhost")["last_seen"],
        Value::Null
    );
}

#[test]
fn an_account_that_is_used_through_a_proxy_is_used() {
    let server = Server::start(&[]);
    server.sql(
        "CREATE USER dba@`10.%`; CREATE USER front@'%'; GRANT PROXY ON dba@`10.%` TO front@'%'",
    );
    let socket = server.address().socket.display();
    let env = TestEnv::new();
    let log = env.log_path().display().to_string();
    let env = env.configured(
        "proxy.toml",
        &format!("audit_log = ['{log}']\ntime_zone = 'UTC'\nserver_name = 'db1'\n[server]\nsocket = '{socket}'\nuser = 'root'\n"),
    );
    let at = |hours| (Utc::now() - TimeDelta::hours(hours)).format("%Y%m%d %H:%M:%S");
    fs::write(
        env.log_path(),
        format!(
            "{0},db1,front,10.1.1.1,5,0,CONNECT,,,0\n{0},db1,front,10.1.1.1,5,0,PROXY_CONNECT,,`dba`@`10.%`,0\n\
             {1},db1,front,10.1.1.1,5,0,DISCONNECT,,,0\n",
            at(3),
            at(2)
        ),
    )
    .expect("a log");
    env.collect();
    let document = checked(&env);
    is(&document, "dba", "10.%", "active", "");
    is(&document, "front", "%", "active", "");
}

#[test]
fn a_login_that_no_account_explains_is_told() {
    let server = Server::start(&[]);
    server.sql("CREATE USER gone@'%'; CREATE USER stays@'%'");
    for name in ["gone", "stays"] {
        let client = server.log_in(Via::tcp(5), &Login::new(name, ""));
        client.expect("a login").quit();
    }
    server.sql("DROP USER gone@'%'");
    server.settle();
    let env = env_of(&server, "root", "90d");
    env.collect();
    let document = checked(&env);
    let findings = document["findings"].as_array().expect("findings");
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert_eq!(findings[0]["check"], "unknown-login");
    assert_eq!(findings[0]["subject"], "'gone' from '127.0.0.5'");
    let run = env.run(&["check"]);
    run.exits_with(1);
    assert!(
        run.stdout().contains("no account of today"),
        "{}",
        run.stdout()
    );
}

#[test]
fn a_clock_that_was_wrong_for_a_record_covers_no_years() {
    let env = TestEnv::new();
    let line = |day: &str, id| format!("{day} 19:00:00,db1,app,10.0.0.1,{id},0,CONNECT,,,0\n");
    let mut log = String::new();
    // The wrong record is the first of a run.
    for day in ["20261121", "20210101", "20261122"] {
        log += &line(day, 5);
        fs::write(env.log_path(), &log).expect("a log");
        env.start_collecting().finish();
    }
    let db = rusqlite::Connection::open(env.sqlite_path()).expect("the database");
    let from: String = db
        .query_row("SELECT min(from_time) FROM coverage", [], |row| row.get(0))
        .expect("a span");
    assert_eq!(from, "2026-11-21 19:00:00+00:00");
}

#[test]
fn a_clock_in_another_zone_than_was_said_is_told() {
    let server = Server::start_in("Asia/Tokyo", &["--default-time-zone=-05:00"]);
    let env = env_of(&server, "root", "90d");
    let log = server.audit_log();
    let log = log.to_str().expect("a path");
    for (zone, told) in [("UTC", true), ("Asia/Tokyo", false)] {
        let zone = ["--time-zone", zone];
        env.run(&[&["run", "--audit-log", log], &zone[..]].concat());
        let run = env.run(&[&["check", "--format", "json"], &zone[..]].concat());
        let words = "the server's clock is at UTC+09:00, time_zone UTC at UTC+00:00";
        assert_eq!(run.stdout().contains(words), told, "{}", run.stdout());
    }
}

#[test]
fn another_servers_log_proves_nothing() {
    let server = Server::start(&[]);
    let env = env_of(&server, "root", "90d");
    let other = TestEnv::new();
    fs::write(
        other.log_path(),
        "20261122 19:00:00,elsewhere,app,10.0.0.1,5,0,CONNECT,,,0\n",
    )
    .expect("a log");
    let log = other.log_path().to_str().expect("a path");
    env.run(&["run", "--audit-log", log]);
    let run = env.run(&["check", "--audit-log", log]);
    run.exits_with(3).complains_once(&[
        "holds the logins of elsewhere",
        "calls itself",
        "--server-name",
    ]);
    // Said by a person, it counts.
    let said = ["check", "--audit-log", log, "--server-name", "elsewhere"];
    let said = env.run(&[&said[..], &["--format", "json"]].concat());
    assert!(said.stdout().contains("\"elsewhere\""), "{}", said.stdout());
    // It is not the log that our own login went to.
    assert!(!said.stdout().contains("never_used"), "{}", said.stdout());
}

// --- With which rights?

#[test]
fn the_views_show_all_that_is_needed_and_no_secret() {
    let server = Server::start(&["--plugin-load-add=auth_ed25519"]);
    let env = env_of(&server, "conntrack", "90d");
    let schema = env.run(&["schema", "--store", "mariadb"]).stdout();
    administrator(&server, &schema);
    server.sql(
        "CREATE USER conntrack@localhost;
         GRANT SELECT, INSERT, UPDATE, DELETE, EXECUTE ON conntrack.* TO conntrack@localhost;
         CREATE USER many@'%' IDENTIFIED VIA ed25519 USING PASSWORD('secret') OR unix_socket
             OR mysql_native_password USING PASSWORD('secret');
         CREATE USER plain@'%' IDENTIFIED BY 'secret' ACCOUNT LOCK; CREATE ROLE r; GRANT r TO plain@'%'",
    );
    let all = administrator(&server, "SELECT * FROM conntrack.server_accounts");
    let hashes = administrator(
        &server,
        "SELECT PASSWORD('secret') UNION SELECT JSON_VALUE(Priv, '$.authentication_string')
         FROM mysql.global_priv WHERE user = 'many'",
    );
    for hash in hashes.lines().filter(|line| line.len() > 20) {
        assert!(!all.contains(hash), "a secret: {all}");
    }
    assert!(all.contains("many") && all.contains("ed25519"), "{all}");
    env.collect();
    let held = server.root();
    let document = checked(&env);
    drop(held);
    assert_eq!(document["unknown"], serde_json::json!([]));
    is(&document, "plain", "%", "locked", "");
    is(&document, "r", "", "role", "");
    // It sees the connections of others, too.
    is(&document, "root", "localhost", "connected", "");
}

#[test]
fn what_a_lesser_source_leaves_open_is_said() {
    let server = Server::start(&[]);
    server.sql(
        "CREATE USER full@localhost; GRANT SELECT ON mysql.global_priv TO full@localhost;
         GRANT SELECT ON mysql.roles_mapping TO full@localhost;
         GRANT SELECT ON mysql.proxies_priv TO full@localhost; GRANT PROCESS ON *.* TO full@localhost;
         CREATE USER half@localhost; GRANT SELECT ON mysql.user TO half@localhost;
         CREATE USER none@localhost; CREATE USER locked@localhost ACCOUNT LOCK",
    );
    let env = env_of(&server, "full", "90d");
    env.collect();
    let full = checked(&env);
    assert_eq!(full["unknown"], serde_json::json!([]));
    is(&full, "locked", "localhost", "locked", "");

    let env = env_of(&server, "half", "90d");
    env.collect();
    let half = checked(&env);
    let unknown = half["unknown"].to_string();
    for words in ["locked", "who is connected now", "who may use which role"] {
        assert!(unknown.contains(words), "{unknown}");
    }
    is(
        &half,
        "locked",
        "localhost",
        "unknown",
        "who is connected now can't be seen",
    );
    env.run(&["check"])
        .exits_with(1)
        .complains("not known: whether an account is locked");
    let names = |document: &Value| -> Vec<String> {
        let accounts = document["accounts"].as_array().expect("accounts").iter();
        accounts
            .map(|account| format!("{}@{}", account["user"], account["host"]))
            .collect()
    };
    assert_eq!(names(&full), names(&half));

    let env = env_of(&server, "none", "90d");
    env.collect();
    let run = env.run(&["check"]);
    run.exits_with(3).complains_once(&[
        "its accounts can't be read as none@localhost",
        "schema --store mariadb",
    ]);
}

#[test]
fn without_a_server_nothing_is_claimed() {
    let mut server = Server::start(&[]);
    let env = env_of(&server, "root", "90d");
    env.collect();
    server.kill9();
    for command in [&["check"][..], &["which", "app", "localhost"]] {
        let run = env.run(command);
        run.exits_with(3)
            .prints("")
            .complains_once(&["server at ", "is the server running"]);
    }
}

// --- What is kept.

#[test]
fn the_result_is_kept_in_every_store_for_sql() {
    let server = Server::start(&[]);
    without_other_roots(&server);
    server.sql("CREATE USER never@localhost; CREATE USER gone@'%'");
    server
        .log_in(Via::tcp(5), &Login::new("gone", ""))
        .expect("a login")
        .quit();
    server.sql("DROP USER gone@'%'");
    let env = env_of(&server, "root", "3s");
    let more = format!(
        "stores = ['mariadb', 'sqlite']\naudit_log = ['{}']\ntime_zone = 'UTC'\n[mariadb]\nsocket = '{}'\nuser = 'root'\n[check]\nonly = [{CROSS_CHECK}]\nunused_after = '3s'\n",
        server.audit_log().display(),
        server.address().socket.display()
    );
    let env = env.configured("both.toml", &more);
    // Another server's logins in the same store are not this one's.
    let other = TestEnv::new().configured("other.toml", &more);
    let at = Utc::now().format("%Y%m%d %H:%M:%S");
    fs::write(other.log_path(), format!("{at},elsewhere,never,localhost,5,0,CONNECT,,,0\n{at},elsewhere,never,localhost,5,0,DISCONNECT,,,0\n")).expect("a log");
    other.collect();
    pass(&server, Duration::from_secs(4));
    env.collect();
    for _ in 0..2 {
        env.run(&["check"]).exits_with(1);
    }
    for (view, expected) in [
        (
            "SELECT user, host, state FROM conntrack.unused_accounts",
            "never\tlocalhost\tnever_used\n",
        ),
        (
            "SELECT name, host, connects FROM conntrack.unknown_logins",
            "gone\t127.0.0.5\t1\n",
        ),
        (
            "SELECT COUNT(*) FROM conntrack.account_status WHERE checked_at > NOW() - INTERVAL 1 HOUR",
            "3\n",
        ),
    ] {
        assert_eq!(administrator(&server, view), expected, "{view}");
    }
    let db = rusqlite::Connection::open(env.sqlite_path()).expect("the database");
    let never: String = db
        .query_row("SELECT user FROM unused_accounts", [], |row| row.get(0))
        .expect("one row");
    assert_eq!(never, "never");
}

// --- Which account?

#[test]
fn which_says_what_the_server_does() {
    let server = Server::start(&["--skip-name-resolve=ON"]);
    server.sql(ACCOUNTS);
    let env = env_of(&server, "root", "90d");
    for (user, last) in [
        ("app", 5),
        ("net", 9),
        ("net", 10),
        ("bob", 7),
        ("one", 100),
        ("SP", 3),
    ] {
        let via = Via::tcp(last);
        let mut client = server.log_in(via, &Login::new(user, "")).expect("a login");
        let picked = current_user(&mut client);
        client.quit();
        let run = env.run(&["which", user, &via.host(), "--format", "json"]);
        run.exits_with(0);
        let rows = run.json();
        let chosen: Vec<_> = rows.iter().filter(|row| row["picked"] == "yes").collect();
        assert_eq!(chosen.len(), 1, "{rows:#?}");
        let (user, host) = (&chosen[0]["user"], &chosen[0]["host"]);
        let named = format!(
            "{}@{}",
            user.as_str().unwrap_or_default(),
            host.as_str().unwrap_or_default()
        );
        assert_eq!(named, picked);
    }
    let run = env.run(&["which", "stranger", "10.1.2.3"]);
    run.exits_with(1);
    assert!(
        run.stdout()
            .starts_with("stranger from 10.1.2.3: no account: access denied\n"),
        "{}",
        run.stdout()
    );
    env.run(&["which", "app", "db.example"])
        .exits_with(3)
        .complains_once(&["its address is not known here", "give the address"]);
}
