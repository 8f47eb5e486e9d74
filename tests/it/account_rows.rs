//! Account rows of odd names on a real server: whom they let in, and that a statement about one means
//! that one.

use std::collections::BTreeSet;

use conntracker::account::{Account, Accounts, Address, Client, Server, Statement, Version};
use conntracker::name::to_hex;

use crate::client::{Client as Connection, Login, Via};
use crate::mariadb::Server as MariaDb;

/// Writes the rows into the table itself: many could not be created by CREATE USER.
fn insert(root: &mut Connection, rows: &[(&str, &str)]) {
    for (user, host) in rows {
        let text = |name: &str| format!("CONVERT(x'{}' USING utf8mb4)", to_hex(name.as_bytes()));
        run(
            root,
            &format!(
                "INSERT INTO mysql.global_priv (User, Host, Priv) VALUES ({}, {}, '{{}}')",
                text(user),
                text(host)
            ),
        );
    }
    run(root, "FLUSH PRIVILEGES");
}

fn run(root: &mut Connection, sql: &str) -> Vec<Vec<Option<Vec<u8>>>> {
    root.query(sql)
        .unwrap_or_else(|refusal| panic!("{sql}: {refusal}"))
}

/// User and host of all rows, in hexadecimal.
fn keys(root: &mut Connection) -> BTreeSet<String> {
    let rows = run(
        root,
        "SELECT CONCAT(HEX(User), '@', HEX(Host)) FROM mysql.global_priv",
    );
    let key = |row: Vec<Option<Vec<u8>>>| String::from_utf8(row[0].clone().unwrap()).unwrap();
    rows.into_iter().map(key).collect()
}

#[test]
fn a_statement_means_its_row_in_every_mode() {
    let rows = [
        ("plain", "%"),
        ("plain", ""),
        ("plain", "10.%"),
        ("", "h\\_x"),
        ("", "host"),
        ("o'brien", "%"),
        ("x\\y", "db\\_%"),
        ("x\\", "%"),
        ("'`\\\"", "%"),
        ("a\"b`c", "%"),
        ("''", "%"),
        ("müller", "%"),
        ("line\nbreak", "%"),
        ("line\nbreak\\'`", "%"),
        ("\u{202e}", "é"),
        ("upper", "Host.Example"),
        ("upper", "host.example"),
        ("a\0b", "%"),
        ("a", "%"),
        ("-- x", "%"),
        ("a;b", "%"),
        ("/*!50000 x*/", "%"),
    ];
    let server = MariaDb::start(&[]);
    let mut root = server.root();
    run(&mut root, "SET NAMES utf8mb4");
    let before = keys(&mut root);
    for mode in [
        "",
        "NO_BACKSLASH_ESCAPES",
        "ANSI_QUOTES",
        "ORACLE,NO_BACKSLASH_ESCAPES",
    ] {
        run(&mut root, &format!("SET sql_mode = '{mode}'"));
        insert(&mut root, &rows);
        for (user, host) in rows {
            let account = Account::new(user, host);
            let mut left = keys(&mut root);
            let lock = Statement::new("ALTER USER", &account, "ACCOUNT LOCK");
            // The server has names skipped: a row with a host name can be dropped, but not altered.
            if !account.host.is_name()
                && let Statement::Sql(lock) = lock
            {
                run(&mut root, &lock);
                let sql = "SELECT COUNT(*) FROM mysql.global_priv \
                           WHERE JSON_VALUE(Priv, '$.account_locked') = 1 AND User = x'";
                let sql = format!("{sql}{}'", to_hex(user.as_bytes()));
                assert_eq!(
                    run(&mut root, &sql),
                    [[Some(b"1".to_vec())]],
                    "{user} {host}"
                );
            }
            let drop = Statement::new("DROP USER", &account, "");
            for sql in drop.sql().split_inclusive("; ") {
                run(&mut root, sql);
            }
            let hex = |name: &str| to_hex(name.as_bytes()).to_uppercase();
            assert!(left.remove(&format!("{}@{}", hex(user), hex(host))));
            assert_eq!(keys(&mut root), left, "{mode}: {drop:?}");
        }
        assert_eq!(keys(&mut root), before);
    }
    root.quit();
}

#[test]
fn odd_hosts_let_in_whom_the_rules_say() {
    let hosts = [
        "127.0.0.0/255.0.0.0",
        " 127.0.0.0/255.0.0.0",
        "+127.0.0.0/255.0.0.0",
        "127.0.0.0/ 255.0.0.00",
        "127.0.0.000/255.-0.0.0",
        "127.0.0.0/255.0.0.256",
        "127.0.0.0/255.0.0.0000000000000000000000255",
        "127.0.0.00000000000000000000001/255.255.255.255",
        "127.0.0.0/255.0.0.0/8",
        "127.0.0.0/0.0.0.0",
        "127.0.0.0/8",
        "127.0.0.1/255.0.0.0",
        "127.0.0.1 /255.255.255.255",
        "\t127.0.0.0/\n255.0.0.0",
        "\u{a0}127.0.0.0/255.0.0.0",
        "127.0.0.1\0x",
        "\0x",
        "",
        "127.0.0.%",
        "127.0.0.\\1",
        "127.0.0_1",
        "localhost",
        "LOCALHOST",
        "lo\\calhost",
        "local_ost",
        "localhost\\",
    ];
    let users: Vec<String> = (0..hosts.len()).map(|at| format!("u{at}")).collect();
    let rows: Vec<(&str, &str)> = users.iter().map(|user| &**user).zip(hosts).collect();
    let mut rows = rows;
    // Anonymous, for the server.
    rows.push(("\0x", "127.0.0.9"));
    let server = MariaDb::start(&[]);
    let mut root = server.root();
    insert(&mut root, &rows);
    let version = run(&mut root, "SELECT @@version")[0][0].clone().unwrap();
    let facts = Server {
        version: Version::parse(std::str::from_utf8(&version).unwrap()).unwrap(),
        skip_name_resolve: true,
    };
    root.quit();
    let row = |(user, host): &(&str, &str)| Account::new(*user, *host);
    let accounts = Accounts::new(rows.iter().map(row).collect(), facts);
    let tcp = |ip: &str| Client::Tcp {
        address: Address::parse(ip.as_bytes()).unwrap(),
        name: None,
    };
    rows.push(("nobody", "in the table"));
    for (user, host) in rows.iter().filter(|(user, _)| !user.contains('\0')) {
        for (via, client) in [
            (Via::Socket, &Client::Socket),
            (Via::tcp(1), &tcp("127.0.0.1")),
            (Via::tcp(9), &tcp("127.0.0.9")),
        ] {
            let is_in = server
                .log_in(via, &Login::new(user, ""))
                .map(Connection::quit)
                .is_ok();
            // Rows were loaded with FLUSH PRIVILEGES: those that are dropped then are not there.
            let picked = accounts.pick(user.as_bytes(), client).exact().is_some();
            assert_eq!(is_in, picked, "{user} {host:?} {client:?}");
        }
    }
}
