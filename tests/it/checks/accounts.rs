//! Accounts that are open to more people, or to more deeds, than they should be.

use super::{checked, cure, env_of, found, hardened, is_innocent, steps};
use crate::client::{Login, Via};
use crate::mariadb::{Server, administrator};

/// All accounts and what they may do, but for those whose name begins with `guilty`.
fn innocents(server: &Server) -> String {
    let others = |column: &str| format!("{column} NOT LIKE '%guilty%' AND {column} <> ''");
    administrator(
        server,
        &format!(
            "SELECT * FROM mysql.global_priv WHERE {0} ORDER BY Host, User;
             SELECT * FROM mysql.db WHERE {0} ORDER BY 1, 2, 3;
             SELECT * FROM mysql.roles_mapping WHERE {0} ORDER BY 1, 2, 3;
             SELECT * FROM mysql.tables_priv WHERE {0} ORDER BY 1, 2, 3, 4;
             SELECT * FROM mysql.procs_priv WHERE {0} ORDER BY 1, 2, 3, 4",
            others("User")
        ),
    )
}

const NOTHING_NEW: &str = "skip = ['new-account', 'changed-account']";

/// What is done, and what is found then: check and subject.
const GUILT: [(&str, &[&str]); 39] = [
    ("CREATE USER ''@localhost IDENTIFIED BY 'x'", &["anonymous-account ''@'localhost'"]),
    ("CREATE USER ''@'%'", &["anonymous-account ''@'%'"]),
    ("CREATE USER root@'guilty.example.com' IDENTIFIED BY 'x'", &["root-remote 'root'@'guilty.example.com'"]),
    ("CREATE USER guilty@localhost", &["empty-password 'guilty'@'localhost'"]),
    (
        "CREATE USER guilty@localhost IDENTIFIED VIA unix_socket OR mysql_native_password",
        &["empty-password 'guilty'@'localhost'"],
    ),
    (
        "CREATE USER guilty@'%' IDENTIFIED BY 'x'; CREATE USER guilty@'%.%' IDENTIFIED BY 'x'",
        &["wildcard-host 'guilty'@'%'", "wildcard-host 'guilty'@'%.%'"],
    ),
    (
        "CREATE USER guilty@localhost IDENTIFIED BY 'x' PASSWORD EXPIRE",
        &["expired-password 'guilty'@'localhost'"],
    ),
    (
        "GRANT ALL ON *.* TO guilty@localhost IDENTIFIED BY 'x' WITH GRANT OPTION",
        &["all-privileges 'guilty'@'localhost'"],
    ),
    ("GRANT ALL ON *.* TO guilty@localhost IDENTIFIED BY 'x'", &["all-privileges 'guilty'@'localhost'"]),
    (
        "CREATE ROLE guilty_role; CREATE ROLE guilty_inner; GRANT ALL ON *.* TO guilty_inner;
         GRANT guilty_inner TO guilty_role; CREATE USER guilty@localhost IDENTIFIED BY 'x';
         GRANT guilty_role TO guilty@localhost",
        &["all-privileges 'guilty'@'localhost'"],
    ),
    (
        "GRANT SUPER, FILE, PROCESS, REPLICATION SLAVE, BINLOG ADMIN ON *.* TO guilty@localhost
         IDENTIFIED BY 'x' WITH GRANT OPTION",
        &["powerful-account 'guilty'@'localhost'"],
    ),
    (
        "GRANT SELECT ON shop.* TO guilty@localhost IDENTIFIED BY 'x' WITH GRANT OPTION",
        &["powerful-account 'guilty'@'localhost'"],
    ),
    ("GRANT SELECT ON mysql.* TO guilty@localhost IDENTIFIED BY 'x'", &["powerful-account 'guilty'@'localhost'"]),
    ("GRANT UPDATE ON `my%`.* TO guilty@localhost IDENTIFIED BY 'x'", &["powerful-account 'guilty'@'localhost'"]),
    (
        "CREATE ROLE guilty_role; GRANT CREATE USER ON *.* TO guilty_role;
         CREATE USER guilty@localhost IDENTIFIED BY 'x'; GRANT guilty_role TO guilty@localhost",
        &["powerful-account 'guilty'@'localhost'"],
    ),
    ("GRANT SELECT, INSERT ON *.* TO guilty@localhost IDENTIFIED BY 'x'", &["wide-scope 'guilty'@'localhost'"]),
    (
        "GRANT SELECT ON a.* TO guilty@localhost IDENTIFIED BY 'x'; GRANT SELECT ON b.* TO guilty@localhost;
         GRANT ALL ON `c``d`.* TO guilty@localhost",
        &["wide-scope 'guilty'@'localhost'"],
    ),
    ("GRANT SELECT ON `a\\_%`.* TO guilty@localhost IDENTIFIED BY 'x'", &["wide-scope 'guilty'@'localhost'"]),
    (
        "CREATE ROLE guilty_role; GRANT SELECT ON b.* TO guilty_role;
         GRANT SELECT ON a.* TO guilty@localhost IDENTIFIED BY 'x'; GRANT guilty_role TO guilty@localhost",
        &["wide-scope 'guilty'@'localhost'"],
    ),
    ("GRANT SELECT ON *.* TO PUBLIC", &["wide-scope PUBLIC"]),
    ("GRANT PROCESS ON *.* TO PUBLIC", &["powerful-account PUBLIC"]),
    ("GRANT SELECT ON mysql.* TO PUBLIC", &["powerful-account PUBLIC"]),
    ("GRANT ALL ON *.* TO PUBLIC", &["all-privileges PUBLIC"]),
    (
        "CREATE ROLE guilty_role; GRANT SELECT ON *.* TO guilty_role;
         CREATE USER guilty@localhost IDENTIFIED BY 'x'; GRANT guilty_role TO guilty@localhost",
        &["wide-scope 'guilty'@'localhost'"],
    ),
    (
        "CREATE USER guilty@localhost IDENTIFIED BY 'x'; GRANT PROXY ON root@localhost TO guilty@localhost",
        &["powerful-account 'guilty'@'localhost'"],
    ),
    (
        "CREATE USER guilty@localhost IDENTIFIED BY 'x'; CREATE USER guilty2@localhost IDENTIFIED BY 'x';
         GRANT PROXY ON guilty2@localhost TO guilty@localhost",
        &[],
    ),
    (
        "CREATE ROLE guilty_role; GRANT ALL ON *.* TO guilty_role; CREATE USER guilty2@localhost IDENTIFIED BY 'x'
         ACCOUNT LOCK; GRANT guilty_role TO guilty2@localhost; CREATE USER guilty@localhost IDENTIFIED BY 'x';
         GRANT PROXY ON guilty2@localhost TO guilty@localhost",
        &["powerful-account 'guilty'@'localhost'"],
    ),
    (
        "CREATE ROLE guilty_role; GRANT SELECT ON `app\\_%`.* TO guilty_role;
         CREATE USER guilty@localhost IDENTIFIED BY 'x'; GRANT guilty_role TO guilty@localhost",
        &["wide-scope 'guilty'@'localhost'"],
    ),
    ("GRANT SELECT ON lookup.* TO PUBLIC WITH GRANT OPTION", &["powerful-account PUBLIC", "wide-scope PUBLIC"]),
    ("GRANT SELECT (a) ON lookup.t TO PUBLIC; GRANT SELECT ON `app\\_%`.* TO PUBLIC", &["wide-scope PUBLIC"]),
    // Each of the roles is guilty twice, and taken away once.
    (
        "CREATE ROLE guilty_role; GRANT SELECT ON *.* TO guilty_role; GRANT INSERT ON `app\\_%`.* TO guilty_role;
         CREATE ROLE guilty_inner; GRANT SELECT ON *.* TO guilty_inner; GRANT INSERT ON `app\\_%`.* TO guilty_inner;
         CREATE USER guilty@localhost IDENTIFIED BY 'x'; GRANT guilty_role TO guilty@localhost;
         GRANT guilty_inner TO guilty@localhost",
        &["wide-scope 'guilty'@'localhost'"],
    ),
    // On parts of databases.
    (
        "GRANT ALL ON shop.* TO guilty@localhost IDENTIFIED BY 'x'; GRANT SELECT ON lookup.t TO guilty@localhost",
        &["wide-scope 'guilty'@'localhost'"],
    ),
    (
        "GRANT ALL ON shop.* TO guilty@localhost IDENTIFIED BY 'x'; GRANT SELECT (a) ON lookup.t TO guilty@localhost",
        &["wide-scope 'guilty'@'localhost'"],
    ),
    (
        "GRANT SELECT ON shop.* TO guilty@localhost IDENTIFIED BY 'x';
         GRANT EXECUTE ON PROCEDURE lookup.p TO guilty@localhost",
        &["wide-scope 'guilty'@'localhost'"],
    ),
    (
        "CREATE ROLE guilty_role; GRANT SELECT ON lookup.t TO guilty_role;
         GRANT SELECT ON a.* TO guilty@localhost IDENTIFIED BY 'x'; GRANT guilty_role TO guilty@localhost",
        &["wide-scope 'guilty'@'localhost'"],
    ),
    (
        "GRANT SELECT ON lookup.t TO guilty@localhost IDENTIFIED BY 'x' WITH GRANT OPTION",
        &["powerful-account 'guilty'@'localhost'"],
    ),
    (
        "GRANT SELECT ON mysql.global_priv TO guilty@localhost IDENTIFIED BY 'x' WITH GRANT OPTION",
        &["powerful-account 'guilty'@'localhost'"],
    ),
    ("GRANT SELECT ON mysql.global_priv TO PUBLIC", &["powerful-account PUBLIC"]),
    // One database, however it is written.
    (
        "GRANT SELECT ON `look\\_up`.* TO guilty@localhost IDENTIFIED BY 'x';
         GRANT CREATE ON look_up.t TO guilty@localhost",
        &[],
    ),
];

#[test]
fn each_guilty_account_is_found_and_cured_by_what_is_printed() {
    let server = hardened();
    let env = env_of(&server, NOTHING_NEW);
    administrator(
        &server,
        "CREATE DATABASE lookup; CREATE TABLE lookup.t (a INT, b INT); CREATE PROCEDURE lookup.p() DO 0",
    );
    is_innocent(&env);
    let before = innocents(&server);
    let left = "SELECT CONCAT('DROP ', IF(is_role = 'Y', CONCAT('ROLE ', QUOTE(User)),
                              CONCAT('USER ', QUOTE(User), '@', QUOTE(Host))), ';')
                FROM mysql.user WHERE User LIKE '%guilty%' OR User = ''";
    let has_public = server.version() >= (10, 11);
    for (deed, expected) in GUILT {
        if deed.contains("PUBLIC") && !has_public {
            continue;
        }
        administrator(&server, deed);
        let document = checked(&env, &[]);
        assert_eq!(
            found(&document),
            expected,
            "{deed}: {:#}",
            document["findings"]
        );
        cure(&server, &document);
        let document = checked(&env, &[]);
        assert_eq!(
            found(&document),
            [""; 0],
            "after the cure of {deed}: {:#}",
            document["findings"]
        );
        administrator(&server, &administrator(&server, left));
        let after = innocents(&server).replace("\nPUBLIC", "");
        let lines = |text: &str| -> Vec<String> {
            let others = text.lines().filter(|line| !line.contains("PUBLIC"));
            others.map(str::to_owned).collect()
        };
        assert_eq!(lines(&after), lines(&before), "{deed}");
    }
}

#[test]
fn names_that_an_attacker_chose_are_named_and_quoted() {
    let server = hardened();
    let env = env_of(&server, NOTHING_NEW);
    let before = innocents(&server);
    for (name, shown) in [
        (
            "guilty'; DROP USER root@localhost; -- ",
            "guilty'; DROP USER root@localhost; --",
        ),
        ("guilty\\' OR 1", r"guilty\\' OR 1"),
        ("guilty`.* x", "guilty`.* x"),
        ("guilty\"quoted\"", "guilty\"quoted\""),
        (
            "guilty\nDROP USER root@localhost;",
            r"guilty\nDROP USER root@localhost;",
        ),
        ("guilty\u{1b}[2J\u{202e}x", r"guilty\x1b[2J\u{202e}x"),
        ("guilty|critical=0", "guilty|critical=0"),
        (
            "guilty,localhost,7,0,CONNECT,,,0",
            "guilty,localhost,7,0,CONNECT,,,0",
        ),
    ] {
        let hex =
            |text: &str| -> String { text.bytes().map(|byte| format!("{byte:02x}")).collect() };
        let quoted = name.trim_end().replace('\\', r"\\").replace('\'', r"\'");
        // An account statement in hexadecimal, so that this test does not depend on quoting.
        for deed in [
            format!("CREATE USER '{quoted}'@'%'"),
            format!("GRANT SUPER, SELECT ON *.* TO '{quoted}'@'%'"),
            format!("GRANT SELECT ON `mysql`.* TO '{quoted}'@'%'"),
        ] {
            administrator(
                &server,
                &format!("EXECUTE IMMEDIATE CONVERT(x'{}' USING utf8mb4)", hex(&deed)),
            );
        }
        let document = checked(&env, &[]);
        let subject = format!("'{shown}'@'%'");
        let expected = [
            "empty-password",
            "powerful-account",
            "wide-scope",
            "wildcard-host",
        ]
        .map(|check| format!("{check} {subject}"));
        assert_eq!(found(&document), expected, "{:#}", document["findings"]);
        cure(&server, &document);
        assert_eq!(
            found(&checked(&env, &[])),
            [""; 0],
            "after the cure of {subject}"
        );
        let drop = format!("DROP USER '{quoted}'@'%'");
        administrator(
            &server,
            &format!("EXECUTE IMMEDIATE CONVERT(x'{}' USING utf8mb4)", hex(&drop)),
        );
        assert_eq!(innocents(&server), before, "{subject}");
    }
}

#[test]
fn a_wildcard_becomes_what_the_logins_show() {
    let server = hardened();
    let env = env_of(
        &server,
        "skip = ['new-account', 'changed-account', 'login-host']",
    );
    for (user, clients, host) in [
        ("guilty1", &[7][..], "127.0.0.7"),
        ("guilty2", &[7, 8], "127.0.0.%"),
    ] {
        administrator(
            &server,
            &format!("CREATE USER {user}@'%' IDENTIFIED BY 'x'"),
        );
        for client in clients {
            server
                .log_in(Via::tcp(*client), &Login::new(user, "x"))
                .expect("a login")
                .quit();
        }
        server.settle();
        env.collect();
        let document = checked(&env, &[]);
        assert_eq!(found(&document), [format!("wildcard-host '{user}'@'%'")]);
        assert_eq!(
            steps(&document, "sql"),
            [format!("RENAME USER '{user}'@'%' TO '{user}'@'{host}';")]
        );
        cure(&server, &document);
        assert_eq!(found(&checked(&env, &[])), [""; 0]);
        for client in clients {
            server
                .log_in(Via::tcp(*client), &Login::new(user, "x"))
                .expect("a login")
                .quit();
        }
    }
}

#[test]
fn what_is_printed_of_an_account_with_many_findings_can_be_pasted_as_a_whole() {
    let server = hardened();
    let env = env_of(&server, "skip = ['login-host']");
    is_innocent(&env);
    administrator(
        &server,
        "CREATE ROLE guilty_role; GRANT SHUTDOWN, SELECT ON *.* TO guilty_role;
         CREATE USER guilty@'%' IDENTIFIED BY 'x'; GRANT guilty_role TO guilty@'%';
         GRANT SUPER, INSERT ON *.* TO guilty@'%' WITH GRANT OPTION; GRANT ALL ON a.* TO guilty@'%';
         GRANT ALL ON b.* TO guilty@'%'; GRANT SELECT ON mysql.* TO guilty@'%';
         CREATE USER 'güilty'@'%' IDENTIFIED VIA unix_socket OR mysql_native_password;
         CREATE USER ''@'%'",
    );
    server
        .log_in(Via::tcp(7), &Login::new("guilty", "x"))
        .expect("a login")
        .quit();
    administrator(&server, "ALTER USER guilty@'%' PASSWORD EXPIRE");
    server.settle();
    env.collect();
    let run = env.run(&["check"]);
    let printed = run.exits_with(2).stdout();
    for check in [
        "new-account",
        "wildcard-host",
        "expired-password",
        "powerful-account",
        "wide-scope",
        "empty-password",
        "anonymous-account",
    ] {
        assert!(printed.contains(check), "{check} in {printed}");
    }
    let (_, list) = printed
        .split_once("To be run by hand in mariadb")
        .expect("what is to be run");
    let (_, list) = list.split_once('\n').expect("its lines");
    let list = list.split("\n\n").next().expect("lines");
    // The client stops at the first statement that fails.
    administrator(&server, list);
    let users = "SELECT user, host FROM mysql.global_priv WHERE user LIKE '%ilty' OR user = '' ORDER BY user";
    assert_eq!(
        administrator(&server, users),
        "guilty\t127.0.0.7\ngüilty\t%\n",
        "{list}"
    );
    let document = checked(&env, &["--skip", "new-account,changed-account"]);
    assert_eq!(found(&document), [""; 0], "{:#}", document["findings"]);
}

#[test]
fn a_wildcard_that_may_be_in_use_is_not_locked() {
    let server = hardened();
    administrator(&server, "CREATE USER pool@'%' IDENTIFIED BY 'x'");
    let pool = server
        .log_in(Via::tcp(7), &Login::new("pool", "x"))
        .expect("a login");
    // It came in before the log that is read begins.
    let log = server.audit_log();
    std::fs::remove_file(&log).expect("an old log");
    administrator(
        &server,
        "SET GLOBAL server_audit_logging = OFF; SET GLOBAL server_audit_logging = ON;
         CREATE USER idle@'%' IDENTIFIED BY 'x'; CREATE USER old@'%' IDENTIFIED BY 'x';
         UPDATE mysql.global_priv SET Priv = JSON_SET(Priv, '$.password_last_changed', 1700000000)
         WHERE User = 'old'; FLUSH PRIVILEGES",
    );
    let env = env_of(&server, NOTHING_NEW);
    env.collect();
    let document = checked(&env, &["--only", "wildcard-host"]);
    assert_eq!(steps(&document, "sql"), [""; 0], "the log was not read now");
    let document = checked(&env, &["--skip", "log-gap,login-host,client-host"]);
    let subjects = ["idle", "old", "pool"].map(|user| format!("wildcard-host '{user}'@'%'"));
    assert_eq!(found(&document), subjects, "{:#}", document["findings"]);
    // The log covers the whole life of one of them only.
    let lock = "ALTER USER 'idle'@'%' ACCOUNT LOCK;";
    assert_eq!(steps(&document, "sql"), [lock], "{document:#}");
    let looks = ["old", "pool"].map(|user| format!("conntracker accounts --name '{user}'"));
    assert_eq!(steps(&document, "look"), looks);
    drop(pool);
}

#[test]
fn root_over_the_socket_needs_a_password_too() {
    let server = hardened();
    let env = env_of(&server, NOTHING_NEW);
    administrator(&server, "ALTER USER root@localhost IDENTIFIED BY ''");
    let document = checked(&env, &[]);
    assert_eq!(found(&document), ["empty-password 'root'@'localhost'"]);
    cure(&server, &document);
    assert_eq!(found(&checked(&env, &[])), [""; 0]);
    administrator(&server, "CREATE USER guilty@localhost IDENTIFIED BY 'x'");
}

#[test]
fn what_appears_or_changes_is_told_once() {
    let server = hardened();
    let env = env_of(&server, "");
    is_innocent(&env);
    is_innocent(&env);
    administrator(
        &server,
        "CREATE USER guilty@localhost IDENTIFIED BY 'x';
                           CREATE ROLE guilty_role",
    );
    // A look at some checks does not hide it from the next one.
    assert_eq!(found(&checked(&env, &["--only", "bind-address"])), [""; 0]);
    let appeared = [
        "new-account 'guilty'@'localhost'",
        "new-account 'guilty_role'@''",
        // Who creates a role has it.
        "changed-account 'root'@'localhost'",
    ];
    let only = checked(&env, &["--only", "new-account"]);
    assert_eq!(found(&only), appeared[..2]);
    assert_eq!(found(&checked(&env, &[])), appeared);
    is_innocent(&env);
    for (change, what) in [
        (
            "GRANT SELECT ON shop.* TO guilty@localhost",
            "its privileges changed",
        ),
        (
            "REVOKE SELECT ON shop.* FROM guilty@localhost",
            "its privileges changed",
        ),
        (
            "GRANT guilty_role TO guilty@localhost",
            "its privileges changed",
        ),
        (
            "GRANT CREATE ON shop.t TO guilty@localhost",
            "its privileges changed",
        ),
        (
            "GRANT PROXY ON conntrack@localhost TO guilty@localhost",
            "its privileges changed",
        ),
        (
            "ALTER USER guilty@localhost IDENTIFIED VIA unix_socket",
            "how it is authenticated changed",
        ),
        (
            "ALTER USER guilty@localhost REQUIRE SSL",
            "how it is authenticated changed",
        ),
        (
            "ALTER USER guilty@localhost ACCOUNT LOCK",
            "whether it is locked changed",
        ),
    ] {
        administrator(&server, change);
        let document = checked(&env, &[]);
        assert_eq!(
            found(&document),
            ["changed-account 'guilty'@'localhost'"],
            "{change}"
        );
        let message = document["findings"][0]["message"]
            .as_str()
            .expect("a message");
        assert!(message.starts_with(what), "{change}: {message}");
        cure(&server, &document);
        assert_eq!(found(&checked(&env, &[])), [""; 0], "{change}");
    }
    administrator(&server, "CREATE USER guilty2@localhost IDENTIFIED BY 'x'");
    let document = checked(&env, &["--only", "new-account"]);
    cure(&server, &document);
    assert_eq!(found(&checked(&env, &[])), [""; 0], "it is locked");
    administrator(&server, "ALTER USER guilty2@localhost ACCOUNT UNLOCK");
    let document = checked(&env, &[]);
    assert_eq!(found(&document), ["changed-account 'guilty2'@'localhost'"]);
}

#[test]
fn a_right_that_is_missing_is_told_by_the_checks_that_need_it() {
    let server = hardened();
    let env = env_of(&server, "skip = ['new-account', 'changed-account']");
    is_innocent(&env);
    administrator(
        &server,
        "REVOKE EXECUTE ON PROCEDURE conntrack.server_connections FROM conntrack@localhost",
    );
    let document = checked(&env, &[]);
    assert_eq!(super::not_checked(&document), ["client-host"]);
    administrator(
        &server,
        "GRANT EXECUTE ON PROCEDURE conntrack.server_connections TO conntrack@localhost;
         DROP VIEW conntrack.server_db_grants",
    );
    let document = checked(&env, &[]);
    assert_eq!(
        super::not_checked(&document),
        ["powerful-account", "wide-scope"]
    );
    administrator(&server, "DROP VIEW conntrack.server_object_grants");
    let env = env_of(&server, NOTHING_NEW);
    let document = checked(&env, &[]);
    let rights = ["powerful-account", "wide-scope"];
    assert_eq!(super::not_checked(&document), [rights, rights].concat());
    let document = checked(&env_of(&server, ""), &["--only", "changed-account"]);
    assert_eq!(super::not_checked(&document), ["changed-account"]);
    administrator(&server, "DROP VIEW conntrack.server_roles");
    let document = checked(&env, &[]);
    let unchecked = ["all-privileges", "powerful-account", "wide-scope"];
    let mut found = super::not_checked(&document);
    found.sort_unstable();
    found.dedup();
    assert_eq!(found, unchecked);
    // Only mysql.user, and nothing of ours.
    administrator(
        &server,
        "DROP VIEW conntrack.server_accounts; GRANT SELECT ON mysql.user TO conntrack@localhost",
    );
    let document = checked(&env, &[]);
    let mut found = super::not_checked(&document);
    found.sort_unstable();
    found.dedup();
    assert_eq!(
        found,
        [
            "all-privileges",
            "empty-password",
            "powerful-account",
            "wide-scope"
        ]
    );
}
