//! What the program says about a real server must be what that server's clients did.

use std::thread;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use serde_json::{Value, json};

use crate::client::{Client, Greeting, Login, Via};
use crate::env::TestEnv;
use crate::figures::Figures;
use crate::flag::Flag;
use crate::mariadb::Server;
use crate::random::Random;

#[test]
fn sums_equal_what_the_clients_did_while_the_plugin_rotates() {
    let server = Server::start(&ROTATING);
    server.sql(ACCOUNTS);
    let env = TestEnv::reading(server.audit_log());

    let working = &Flag::raised();
    let mut expected = Figures::default();
    thread::scope(|scope| {
        let end = working.lower_on_drop();
        let server = &server;
        let clients: Vec<_> = (0..4)
            .map(|seed| scope.spawn(move || Clients::new(server, seed).work(500, working)))
            .collect();
        let collector = scope.spawn(|| {
            let mut random = Random::new(100);
            while working.is_up() {
                let runs: Vec<_> = (0..random.pick(&[1, 1, 2]))
                    .map(|_| env.start_collecting())
                    .collect();
                for run in runs {
                    run.finish().is_silent_success();
                }
                thread::sleep(random.shorter_than(Duration::from_millis(50)));
            }
        });
        for client in clients {
            expected.merge(client.join().expect("a client"));
        }
        drop(end);
        collector.join().expect("the runs");
    });
    server.settle();
    expected.add_connects("root", "localhost", server.root_logins());

    assert_eq!(
        expected.codes(),
        [1044, 1045, 1049, 1158],
        "the clients failed in other ways"
    );
    assert!(
        server.audit_log().with_extension("log.10").exists(),
        "less than ten rotations"
    );
    env.collect_until(&expected);
}

#[test]
fn killed_at_random_moments_it_still_counts_each_event_once() {
    let server = Server::start(&ROTATING);
    server.sql(ACCOUNTS);
    let env = TestEnv::reading(server.audit_log());

    let working = &Flag::raised();
    let mut expected = Figures::default();
    thread::scope(|scope| {
        let end = working.lower_on_drop();
        let server = &server;
        let clients: Vec<_> = (10..12)
            .map(|seed| scope.spawn(move || Clients::new(server, seed).work(2_000, working)))
            .collect();
        let mut random = Random::new(101);
        let rotated = || server.audit_log().with_extension("log.10").exists();
        env.collect_and_kill(100, rotated, &mut random);
        drop(end);
        for client in clients {
            expected.merge(client.join().expect("a client"));
        }
    });
    server.settle();
    expected.add_connects("root", "localhost", server.root_logins());

    env.collect_until(&expected);
    env.equals_a_single_pass(&expected);
}

#[test]
fn change_of_user_is_credited() {
    // Far from UTC, and not by whole hours.
    let server = Server::start_in("Asia/Kolkata", &[]);
    server.sql(ACCOUNTS);
    let env = TestEnv::reading(server.audit_log()).time_zone("Asia/Kolkata");

    let before = Utc::now().trunc_subsecs(0);
    let mut client = server
        .log_in(Via::tcp(7), &Login::new("app", "app"))
        .expect("app comes in");
    client
        .change_user(&Login::new("report", "report"))
        .expect("app becomes report");
    client.quit();
    // What stands right before a refused change of user is doubted: the new name of this session
    // could be a part of the one that is tried.
    // Its end may be logged late.
    server.settle();
    server.sql("SELECT 1");
    server.sql("SELECT 1");
    let mut client = server
        .log_in(Via::tcp(7), &Login::new("app", "app"))
        .expect("app comes in");
    let refusal = client
        .change_user(&Login::new("o,brien", "guessed"))
        .expect_err("a guess");
    assert_eq!(refusal.code, 1045, "{refusal}");
    client.quit();
    server.settle();
    let after = Utc::now();

    let mut expected = Figures::default();
    expected.add_connects("app", "127.0.0.7", 2);
    expected.add_connects("root", "localhost", server.root_logins());
    // A refused change of user is no refused login: the session goes on as the user it was.
    env.collect_until(&expected);

    let report = env
        .account("report")
        .expect("a row for the account that was changed to");
    assert_eq!(
        (&report["host"], &report["connects"]),
        (&json!("127.0.0.7"), &json!(0))
    );
    for field in ["first_seen", "last_seen", "last_active"] {
        let time = moment(&report, field).unwrap_or_else(|| panic!("no {field} in {report}"));
        assert!(
            before <= time && time <= after,
            "{field} of {report} not in {before}..{after}"
        );
    }
    assert_eq!(
        env.account("o,brien"),
        None,
        "a refused change of user is no use"
    );
}

#[test]
fn disconnect_of_a_failed_login_is_no_use() {
    let server = Server::start(&[]);
    server.sql(ACCOUNTS);
    let env = TestEnv::reading(server.audit_log());

    let mut expected = Figures::default();
    for (via, host) in [(Via::tcp(8), "127.0.0.8"), (Via::Socket, "localhost")] {
        let refusal = server
            .log_in(via, &Login::new("app", "guessed"))
            .expect_err("a guess");
        assert_eq!(refusal.code, 1045, "{refusal}");
        expected.add_failure("app", host, 1045);
    }
    server.settle();
    expected.add_connects("root", "localhost", server.root_logins());

    env.collect_until(&expected);
    assert_eq!(
        env.account("app"),
        None,
        "who was only ever refused has not used the account"
    );
}

#[test]
fn a_login_seen_only_at_its_end_counts_as_activity() {
    let server = Server::start(&[]);
    server.sql(ACCOUNTS);
    let env = TestEnv::reading(server.audit_log());
    env.collect();

    server.sql("SET GLOBAL server_audit_logging = OFF");
    let mut client = server
        .log_in(Via::tcp(9), &Login::new("app", "app"))
        .expect("app comes in");
    client
        .query("DO 0")
        .expect("its login is over, and was not logged");
    let unseen = server.root_logins();
    server.sql("SET GLOBAL server_audit_logging = ON");
    let switched_on = server.root_logins() - unseen;
    // A second that differs from that of everything before: the end of the session is the proof.
    thread::sleep(Duration::from_millis(1_100));
    let before = Utc::now().trunc_subsecs(0);
    client.quit();
    server.settle();

    env.start_collecting()
        .finish()
        .exits_with(1)
        .complains("gap");
    let app = env
        .account("app")
        .expect("a row for the account whose session ended");
    assert_eq!(
        (&app["host"], &app["connects"]),
        (&json!("127.0.0.9"), &json!(0)),
        "{app}"
    );
    assert_eq!(
        moment(&app, "last_seen"),
        None,
        "nobody saw it come in: {app}"
    );
    let active = moment(&app, "last_active").unwrap_or_else(|| panic!("no last_active in {app}"));
    assert!(
        before <= active && active <= Utc::now(),
        "{app} was active before {before}"
    );

    let mut expected = Figures::default();
    expected.add_connects("root", "localhost", server.root_logins() - switched_on);
    env.collect_until(&expected);
}

#[test]
fn connection_ids_that_begin_anew_after_a_restart_lose_no_login() {
    let mut server = Server::start(&[]);
    server.sql(ACCOUNTS);
    let env = TestEnv::reading(server.audit_log());

    let mut expected = Figures::default();
    let mut ids = Vec::new();
    for life in 0..3 {
        if life > 0 {
            server.sql("DO 0"); // as many sessions as before the others, so that the ids repeat
        }
        let mut left_open = server
            .log_in(Via::tcp(7), &Login::new("app", "app"))
            .expect("app");
        let mut ended = server
            .log_in(Via::tcp(8), &Login::new("report", "report"))
            .expect("report");
        for client in [&mut left_open, &mut ended] {
            client
                .query("DO 0")
                .expect("its login is over, and was logged");
        }
        ids.push((left_open.connection_id, ended.connection_id));
        expected.add_connects("app", "127.0.0.7", 1);
        expected.add_connects("report", "127.0.0.8", 1);
        ended.quit();
        env.collect();
        if life == 0 {
            server.kill9();
        }
        server.restart();
    }
    ids.dedup();
    assert_eq!(
        ids.len(),
        1,
        "the connections got other ids each time, so this proves nothing"
    );
    server.settle();
    expected.add_connects("root", "localhost", server.root_logins());
    env.collect_until(&expected);
}

#[test]
fn a_stranger_cannot_log_himself_in_by_his_name() {
    let server = Server::start(&[]);
    server.sql(ACCOUNTS);
    let env = TestEnv::reading(server.audit_log());
    let serverhost = server
        .root()
        .query("SELECT @@hostname")
        .expect("its name")
        .remove(0)
        .remove(0);
    let serverhost = String::from_utf8(serverhost.expect("a name")).expect("a UTF-8 name");

    // Two perfect lines out of one user name; the head of the first and the tail of the second are
    // the server's own.
    let greeting = Greeting::receive(server.address(), Via::tcp(66)).expect("a greeting");
    let time = Utc::now().format("%Y%m%d %H:%M:%S");
    // An id that no other connection of this test gets: it alone gives nothing away.
    let id = greeting.connection_id + 1_000;
    let payload = format!("app,localhost,{id},0,CONNECT,,,0\n{time},{serverhost},mallory");
    let refusal = greeting
        .log_in(&Login::new(&payload, ""))
        .expect_err("a stranger");
    assert_eq!(refusal.code, 1045, "{refusal}");
    server.settle();

    env.start_collecting().finish().exits_with(1);
    assert_eq!(
        env.account("app"),
        None,
        "the name of a stranger was taken for a login"
    );
    let quarantine = env.quarantine();
    assert!(
        quarantine
            .iter()
            .any(|row| row["name"] == "app" && row["from"] == "127.0.0.66"),
        "the quarantine should name the forged login and where it came from: {quarantine:#?}"
    );
}

/// Small files, and so many that none falls out during a test.
const ROTATING: [&str; 3] = [
    "--server-audit-output-type=file",
    "--server-audit-file-rotate-size=8192",
    "--server-audit-file-rotations=90",
];

/// `vault` is nobody's; `ghost` may be used but does not exist.
const ACCOUNTS: &str = "
    CREATE DATABASE shop; CREATE DATABASE vault;
    CREATE USER app IDENTIFIED BY 'app'; GRANT ALL ON shop.* TO app; GRANT ALL ON ghost.* TO app;
    CREATE USER report IDENTIFIED BY 'report'; GRANT SELECT ON shop.* TO report;
    CREATE USER 'o,brien' IDENTIFIED BY 'o,brien'; GRANT ALL ON shop.* TO 'o,brien'";

/// Clients that come and go at random, and remember what became of it.
struct Clients<'a> {
    server: &'a Server,
    random: Random,
    open: Vec<Client>,
    figures: Figures,
}

impl<'a> Clients<'a> {
    fn new(server: &'a Server, seed: u64) -> Self {
        Self {
            server,
            random: Random::new(seed),
            open: Vec::new(),
            figures: Figures::default(),
        }
    }

    /// Up to `steps` attempts, fewer if `working` ends before; then everybody leaves.
    fn work(mut self, steps: usize, working: &Flag) -> Figures {
        for _ in 0..steps {
            if !working.is_up() {
                break;
            }
            self.arrive();
            while self.open.len() > 8 || (!self.open.is_empty() && self.random.chance(40)) {
                self.leave();
            }
            thread::sleep(self.random.shorter_than(Duration::from_millis(6)));
        }
        while !self.open.is_empty() {
            self.leave();
        }
        self.figures
    }

    fn arrive(&mut self) {
        let via = self.random.pick(&[
            Via::Socket,
            Via::tcp(1),
            Via::tcp(7),
            Via::tcp(8),
            Via::tcp(200),
        ]);
        let name = self.random.pick(&["app", "report", "o,brien"]);
        let good = Login::new(name, name);
        match self.random.below(10) {
            0 => self.log_in(via, name, &Login::new(name, "guessed")),
            1 => self.log_in(via, "nobody", &Login::new("nobody", "")),
            2 => self.log_in(via, name, &good.database("vault")),
            3 => self.log_in(via, "app", &Login::new("app", "app").database("ghost")),
            4 => self.give_up(via),
            5 | 6 => self.log_in(via, name, &good.database("shop")),
            _ => self.log_in(via, name, &good),
        }
    }

    fn log_in(&mut self, via: Via, name: &str, login: &Login<'_>) {
        match self.server.log_in(via, login) {
            Ok(client) => {
                self.figures.add_connects(name, &via.host(), 1);
                self.open.push(client);
            }
            Err(refusal) => self.figures.add_failure(name, &via.host(), refusal.code),
        }
    }

    /// Connects and leaves without a word: the server calls that a read error (1158).
    fn give_up(&mut self, via: Via) {
        drop(Greeting::receive(self.server.address(), via).expect("a greeting"));
        self.figures.add_failure("", &via.host(), 1158);
    }

    /// One of them leaves, politely or not.
    fn leave(&mut self) {
        let client = self.open.swap_remove(self.random.below(self.open.len()));
        if self.random.chance(50) {
            client.quit();
        }
    }
}

fn moment(row: &Value, field: &str) -> Option<DateTime<Utc>> {
    let text = row[field].as_str()?;
    let time = DateTime::parse_from_rfc3339(text)
        .unwrap_or_else(|error| panic!("{field} of {row} is not RFC 3339: {error}"));
    Some(time.with_timezone(&Utc))
}
