//! A server in a container, read from outside: its audit log through a mounted folder, its clients
//! through the mounted socket and a published port. `tests/compose` starts and removes it.

use std::env::var;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, SubsecRound, Utc};
use serde_json::Value;

use crate::client::{Address, Client, Login, Refusal, Via};
use crate::env::TestEnv;
use crate::figures::Figures;

/// How long a record may be held back until it is clear that it can be believed.
const HELD_BACK: Duration = Duration::from_secs(40);

#[test]
#[ignore = "needs a server in a container: tests/compose starts one and runs this"]
fn through_the_compose_file() {
    let server = Container::handed_over();
    let env = TestEnv::reading(&server.log);
    let mut expected = Figures::default();
    // The image's entrypoint came in as root, as often as it needed to.
    expected.add_connects("root", "localhost", server.logins_of_root());

    let mut root = server.log_in(Via::Socket, "root", "").expect("root");
    for statement in ACCOUNTS {
        root.query(statement).expect(statement);
    }
    expected.add_connects("root", "localhost", 1);
    let server_name = text(&mut root, "SELECT @@hostname");

    let before = Utc::now().trunc_subsecs(0);
    let tcp = server.logged_host_of_tcp();
    expected.add_connects("app", &tcp, 1);
    let ways = [(Via::Socket, "localhost"), (Via::tcp(1), &*tcp)];
    for (via, host) in ways {
        for (name, times) in [("app", 3), ("o,brien", 2)] {
            for _ in 0..times {
                let mut client = server.log_in(via, name, name).expect(name);
                client.query("DO 0").expect("a session");
                client.quit();
                expected.add_connects(name, host, 1);
            }
        }
        for (name, password) in [("app", "guessed"), ("nobody", "")] {
            let refusal = server.log_in(via, name, password).expect_err(name);
            assert_eq!(refusal.code, 1045, "{refusal}");
            expected.add_failure(name, host, 1045);
        }
    }
    // So the compose file has it: without a password root comes in by the socket only.
    let refusal = server.log_in(Via::tcp(1), "root", "").expect_err("root");
    assert_eq!(refusal.code, 1045, "{refusal}");
    expected.add_failure("root", &tcp, 1045);
    collect_until(&env, &expected);

    // The second run goes on in the rotated file, which the server in the container has renamed.
    root.query("SET GLOBAL server_audit_file_rotate_now = ON")
        .expect("a rotation");
    for (via, host) in ways {
        let output = server.mariadb(via, "report", "report", "SELECT USER()");
        let user = String::from_utf8_lossy(&output.stdout);
        assert_eq!(user.trim(), format!("report@{host}"), "{output:?}");
        expected.add_connects("report", host, 1);

        let output = server.mariadb(via, "report", "guessed", "SELECT USER()");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(complaint.contains("ERROR 1045"), "{output:?}");
        expected.add_failure("report", host, 1045);
    }
    root.quit();
    collect_until(&env, &expected);
    let after = Utc::now();
    assert!(
        server.log.with_extension("log.1").exists(),
        "no rotation: {}",
        env.listing()
    );

    assert_eq!(env.quarantine(), Vec::<Value>::new());
    for row in of_others(env.accounts()).iter().chain(&env.failures()) {
        assert_eq!(row["server"], *server_name, "{row}");
    }
    for row in of_others(env.accounts()) {
        if row["name"] == "root" {
            continue; // it set the server up before
        }
        for field in ["first_seen", "last_seen", "last_active"] {
            let time = moment(&row, field);
            assert!(before <= time && time <= after, "{field} of {row}");
        }
    }

    // The same log into the server itself, and its figures out again with plain SQL.
    let env = env.in_mariadb(&server.address.socket, "root", "");
    let in_sqlite = of_others(
        env.run(&["accounts", "--store", "sqlite", "--format", "json"])
            .json(),
    );
    let ours: Vec<_> = in_sqlite
        .iter()
        .filter(|row| row["name"] != "root")
        .collect();
    let expected: String = ours
        .iter()
        .map(|row| {
            let text = |key: &str| row[key].as_str().expect("a name").to_owned();
            format!("{}\t{}\t{}\n", text("name"), text("host"), row["connects"])
        })
        .collect();
    assert!(ours.len() >= 6, "{ours:#?}");
    let deadline = Instant::now() + HELD_BACK;
    let sql = format!(
        "SELECT name, host, connects FROM conntrack.accounts
         WHERE name NOT IN ('root', '{HEALTH_CHECK}') ORDER BY server, name, host"
    );
    loop {
        env.collect();
        let output = server.mariadb(Via::Socket, "root", "", &sql);
        let stored = String::from_utf8_lossy(&output.stdout).into_owned();
        if stored == expected {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "conntrack.accounts:\n{stored}not:\n{expected}{output:?}"
        );
        thread::sleep(Duration::from_millis(200));
    }
    let sql = "SELECT SUM(attempts) FROM conntrack.failed_connects";
    let output = server.mariadb(Via::Socket, "root", "", sql);
    let attempts: u64 = env
        .failures()
        .iter()
        .filter_map(|row| row["attempts"].as_u64())
        .sum();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        attempts.to_string()
    );
}

const ACCOUNTS: [&str; 3] = [
    "CREATE USER app IDENTIFIED BY 'app'",
    "CREATE USER report IDENTIFIED BY 'report'",
    "CREATE USER 'o,brien' IDENTIFIED BY 'o,brien'",
];

/// What the image's own health check comes in as, all the time.
const HEALTH_CHECK: &str = "healthcheck";

/// The server that `tests/compose` has started.
struct Container {
    address: Address,
    log: PathBuf,
}

impl Container {
    fn handed_over() -> Self {
        let variable = |name| {
            var(name).unwrap_or_else(|_| panic!("no {name}: start this test by tests/compose"))
        };
        let folder = PathBuf::from(variable("TEST_MARIADB_FOLDER"));
        Self {
            address: Address {
                socket: folder.join("run/mysqld.sock"),
                port: variable("TEST_MARIADB_PORT").parse().expect("a port"),
            },
            log: folder.join("log/server_audit.log"),
        }
    }

    fn log_in(&self, via: Via, name: &str, password: &str) -> Result<Client, Refusal> {
        Client::connect(&self.address, via, &Login::new(name, password))
    }

    /// The address that the engine gives to clients of the published port, as told by the server to
    /// one of them, `app`.
    fn logged_host_of_tcp(&self) -> String {
        let mut client = self.log_in(Via::tcp(1), "app", "app").expect("app");
        let user = text(&mut client, "SELECT USER()");
        client.quit();
        let host = user.strip_prefix("app@").expect("app").to_owned();
        assert_ne!(host, "localhost");
        host
    }

    /// How many logins of root the log holds. Nobody has put lies into it yet: looking for the text
    /// will do.
    fn logins_of_root(&self) -> u64 {
        let log = fs::read_to_string(&self.log).expect("the log");
        let logins = log.lines().filter(|line| {
            line.contains(",root,localhost,") && line.contains(",CONNECT,") && line.ends_with(",,0")
        });
        logins.count() as u64
    }

    /// Runs MariaDB's own client, which logs in once.
    fn mariadb(&self, via: Via, name: &str, password: &str, sql: &str) -> Output {
        let Address { socket, port } = &self.address;
        let mut command = Command::new("mariadb");
        command.args(["--no-defaults", "--batch", "--skip-column-names"]);
        match via {
            Via::Socket => command.arg(format!("--socket={}", socket.display())),
            // Without TLS: newer clients would refuse the server's own certificate.
            Via::Tcp(_) => command
                .args(["--host=127.0.0.1", "--skip-ssl"])
                .arg(format!("--port={port}")),
        };
        command
            .arg(format!("--user={name}"))
            .arg(format!("--password={password}"))
            .arg(format!("--execute={sql}"))
            .output()
            .expect("the program mariadb")
    }
}

/// Runs until the figures are those expected, and what the health check does is left out.
#[track_caller]
fn collect_until(env: &TestEnv, expected: &Figures) {
    let deadline = Instant::now() + HELD_BACK;
    loop {
        env.collect();
        let figures = Figures::reported(&of_others(env.accounts()), &of_others(env.failures()));
        if figures == *expected {
            break;
        }
        assert!(
            !figures.exceed(expected) && Instant::now() < deadline,
            "the figures are not those expected:\n{}",
            figures.difference(expected)
        );
        thread::sleep(Duration::from_millis(200));
    }
}

fn of_others(mut rows: Vec<Value>) -> Vec<Value> {
    rows.retain(|row| row["name"] != HEALTH_CHECK);
    rows
}

fn text(client: &mut Client, sql: &str) -> String {
    let value = client.query(sql).expect(sql).remove(0).remove(0);
    String::from_utf8(value.expect("a value")).expect("text")
}

fn moment(row: &Value, field: &str) -> DateTime<Utc> {
    row[field]
        .as_str()
        .and_then(|text| DateTime::parse_from_rfc3339(text).ok())
        .unwrap_or_else(|| panic!("no {field} in {row}"))
        .to_utc()
}
