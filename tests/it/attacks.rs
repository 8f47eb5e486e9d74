//! Clients that write records into the log by their names, on a real server. Whatever they try, the
//! account of the victim, who never logs in, must not appear, nobody innocent must be blamed, the
//! others' logins must all count, and the attempt must be told.

use chrono::Utc;

use crate::client::{Client, Greeting, Login, Via};
use crate::env::TestEnv;
use crate::figures::Figures;
use crate::mariadb::Server;

/// Where the attacker sits.
const ATTACKER: u8 = 66;

/// A server with an innocent account, and what an attacker knows of it.
struct Scene {
    server: Server,
    env: TestEnv,
    serverhost: String,
    /// What really happened.
    truth: Figures,
}

impl Scene {
    fn new() -> Self {
        let server = Server::start(&[]);
        server.sql(
            "CREATE USER app@'%' IDENTIFIED BY 'app'; CREATE USER guest@'%' IDENTIFIED BY 'guest'; \
             CREATE USER victim@localhost",
        );
        let name = server
            .root()
            .query("SELECT @@hostname")
            .expect("its name")
            .remove(0)
            .remove(0);
        Self {
            env: TestEnv::reading(server.audit_log()),
            serverhost: String::from_utf8(name.expect("a name")).expect("a UTF-8 name"),
            truth: Figures::default(),
            server,
        }
    }

    /// The beginning of a record, as the attacker guesses it.
    fn head(&self) -> String {
        format!(
            "{},{},",
            Utc::now().format("%Y%m%d %H:%M:%S"),
            self.serverhost
        )
    }

    fn honest_login(&mut self) {
        let client = self
            .server
            .log_in(Via::tcp(7), &Login::new("app", "app"))
            .expect("app");
        client.quit();
        self.truth.add_connects("app", "127.0.0.7", 1);
    }

    fn greeting(&self) -> Greeting {
        Greeting::receive(self.server.address(), Via::tcp(ATTACKER)).expect("a greeting")
    }

    fn refused(&self, name: &[u8]) {
        let refusal = self
            .greeting()
            .log_in(&Login::new(name, ""))
            .expect_err("a stranger");
        assert_eq!(refusal.code, 1045, "{refusal}");
    }

    fn guest(&mut self) -> Client {
        self.truth.add_connects("guest", "127.0.0.66", 1);
        self.server
            .log_in(Via::tcp(ATTACKER), &Login::new("guest", "guest"))
            .expect("a guest")
    }

    /// Runs, and judges what came of it. The names that the attacker failed with are his own affair.
    #[track_caller]
    fn must_not_fool(mut self, told: bool) {
        self.honest_login();
        self.server.settle();
        self.truth
            .add_connects("root", "localhost", self.server.root_logins());
        let run = self.env.start_collecting().finish();
        run.exits_with(i32::from(told));
        let log =
            String::from_utf8_lossy(&std::fs::read(self.server.audit_log()).expect("the log"))
                .into_owned();
        let accounts = self.env.accounts();
        for row in accounts.iter().chain(&self.env.failures()) {
            let text = row.to_string();
            assert!(
                row["name"] != "victim" && row["host"] != "f",
                "the forged record counts: {text}\n{log}"
            );
        }
        let reported = Figures::reported(&accounts, &[]);
        assert!(
            !reported.exceed(&self.truth),
            "{}\n{log}",
            reported.difference(&self.truth)
        );
        let app = self
            .env
            .account("app")
            .unwrap_or_else(|| panic!("app is missing\n{log}"));
        assert_eq!(app["connects"], 2, "{app}\n{log}");
        if told {
            let quarantine = self.env.quarantine();
            assert!(
                quarantine.iter().any(|row| row["name"] == "victim"
                    && (row["from"] == "127.0.0.66" || row["from"].is_null())),
                "nothing told of the victim: {quarantine:?}\n{log}"
            );
        }
    }
}

/// The record that is to be believed, without its head.
const FORGED: &str = "victim,f,99,0,CONNECT,,,0";

#[test]
fn one_line_break() {
    let mut scene = Scene::new();
    scene.honest_login();
    scene.refused(format!("{FORGED}\n{}m", scene.head()).as_bytes());
    scene.must_not_fool(true);
}

#[test]
fn two_line_breaks() {
    let mut scene = Scene::new();
    scene.honest_login();
    scene.refused(format!("x\n{}{FORGED}\ny", scene.head()).as_bytes());
    scene.must_not_fool(true);
}

#[test]
fn two_line_breaks_and_no_fragment() {
    let mut scene = Scene::new();
    scene.honest_login();
    let head = scene.head();
    scene.refused(
        format!("victim,f,9,0,CONNECT,,,0\n{head}victim,f,9,0,DISCONNECT,,,0\n{head}m").as_bytes(),
    );
    scene.must_not_fool(true);
}

#[test]
fn three_line_breaks() {
    let mut scene = Scene::new();
    scene.honest_login();
    scene.refused(format!("x\ny\n{}{FORGED}\nz", scene.head()).as_bytes());
    scene.must_not_fool(true);
}

#[test]
fn commas_alone() {
    let mut scene = Scene::new();
    scene.honest_login();
    scene.refused(FORGED.as_bytes());
    scene.refused(b"victim,f,99,0,CONNECT,");
    scene.must_not_fool(false);
}

#[test]
fn filler_that_is_cut_from_one_of_two_records() {
    let mut scene = Scene::new();
    scene.honest_login();
    let head = scene.head();
    // Behind the 132 bytes that FAILED_CONNECT shows.
    let filler = "\u{1f600}".repeat(33);
    scene.refused(format!("{filler},f,9,0,DISCONNECT,,,0\n{head}{FORGED}\n{head}m").as_bytes());
    scene.server.settle();
    let log = std::fs::read(scene.server.audit_log()).expect("the log");
    // 10.5 keeps less of such a name: the forged record never gets into the log.
    let whole = String::from_utf8_lossy(&log).contains(FORGED);
    assert!(whole || scene.server.version() < (10, 11), "{log:?}");
    scene.must_not_fool(whole);
}

#[test]
fn the_longest_name() {
    let mut scene = Scene::new();
    scene.honest_login();
    let head = scene.head();
    let name = format!("{FORGED}\n{head}");
    let name = format!("{name}{}", "m".repeat(128 - name.len()));
    scene.refused(name.as_bytes());
    let name = format!(
        "{}\n{head}{FORGED}\ny",
        "x".repeat(128 - head.len() - FORGED.len() - 3)
    );
    assert_eq!(name.len(), 128);
    scene.refused(name.as_bytes());
    scene.must_not_fool(true);
}

#[test]
fn the_id_of_a_connection_in_its_handshake() {
    let mut scene = Scene::new();
    scene.honest_login();
    let held = scene.greeting();
    let id = held.connection_id;
    scene.refused(format!("victim,f,{id},0,CONNECT,,,0\n{}m", scene.head()).as_bytes());
    scene.honest_login();
    drop(held);
    // The login in between counts as well.
    scene.server.settle();
    let run = scene.env.start_collecting().finish();
    run.exits_with(1);
    assert_eq!(scene.env.account("victim"), None);
    assert_eq!(scene.env.account("app").expect("app")["connects"], 2);
}

#[test]
fn a_refused_change_of_user() {
    let mut scene = Scene::new();
    scene.honest_login();
    let mut guest = scene.guest();
    let name = format!("{FORGED}\n{}guest", scene.head());
    let refusal = guest
        .change_user(&Login::new(&name, ""))
        .expect_err("a stranger");
    assert_eq!(refusal.code, 1045, "{refusal}");
    guest.quit();
    scene.must_not_fool(true);
}

#[test]
fn a_change_of_user_into_an_anonymous_account() {
    let mut scene = Scene::new();
    scene.server.sql("CREATE USER ''@'%'");
    scene.honest_login();
    let mut guest = scene.guest();
    let name = format!("{FORGED}\n{}m", scene.head());
    guest
        .change_user(&Login::new(&name, ""))
        .expect("anybody comes in");
    guest.quit();
    scene.must_not_fool(true);
}

#[test]
fn an_anonymous_account() {
    let mut scene = Scene::new();
    scene.server.sql("CREATE USER ''@'%'");
    scene.honest_login();
    let name = format!("{FORGED}\n{}m", scene.head());
    let client = scene
        .greeting()
        .log_in(&Login::new(&name, ""))
        .expect("anybody comes in");
    client.quit();
    scene.truth.add_connects("m", "127.0.0.66", 1);
    scene.must_not_fool(true);
}

#[test]
fn a_database_name() {
    let mut scene = Scene::new();
    scene.server.sql("GRANT ALL ON *.* TO guest@'%'");
    scene.honest_login();
    let database = format!(",,0\n{}victim,f,9,0,CONNECT,", scene.head());
    assert!(database.len() <= 64, "{}", database.len());
    let mut guest = scene.guest();
    guest
        .query(&format!("CREATE DATABASE `{database}`"))
        .expect("a database");
    guest.quit();
    let login = Login::new("guest", "guest").database(&database);
    let client = scene.greeting().log_in(&login).expect("a guest");
    client.quit();
    scene.truth.add_connects("guest", "127.0.0.66", 1);
    scene.must_not_fool(true);
}

#[test]
fn an_innocent_address_is_not_blamed() {
    let mut scene = Scene::new();
    scene.honest_login();
    scene.refused(format!("victim,f,99,0,FAILED_CONNECT,,,1045\n{}m", scene.head()).as_bytes());
    scene.must_not_fool(true);
}
