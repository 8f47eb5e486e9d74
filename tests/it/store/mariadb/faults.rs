//! What goes wrong with a server or on the way to it, at the worst moment: in the end every figure is
//! as if nothing had happened.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{ALICE, BOB, append, configure, env_in, names};
use crate::client::Client;
use crate::env::TestEnv;
use crate::mariadb::{Server, administrator};
use crate::random::Random;

/// A durable server, as they are outside of tests.
const DURABLE: &str = "--innodb-flush-log-at-trx-commit=1";

/// One more login and one more refusal.
fn event(n: usize) -> String {
    let (minute, second) = (n / 60 % 60, n % 60);
    format!(
        "20261122 20:{minute:02}:{second:02},db1,app{},10.0.0.4,{n},0,CONNECT,,,0\n\
         20261122 20:{minute:02}:{second:02},db1,app{},10.0.0.4,{n},0,DISCONNECT,,,0\n",
        n % 7,
        n % 7,
    )
}

fn connects(env: &TestEnv) -> u64 {
    let count = |row: &serde_json::Value| row["connects"].as_u64().expect("a number");
    env.accounts().iter().map(count).sum()
}

#[test]
fn a_server_killed_at_random_moments_loses_and_doubles_nothing() {
    let mut server = Server::start(&[DURABLE]);
    let env = env_in(&server, "root", "");
    append(&env, &event(0));
    env.collect();
    let mut random = Random::new(7);
    let (mut failed, mut done) = (0, 0);
    let rounds = 12;
    for n in 1..=rounds {
        append(&env, &event(n));
        let run = env.start_collecting();
        // A run takes some 10 ms, most of it with the server.
        thread::sleep(random.shorter_than(Duration::from_millis(14)));
        server.kill9();
        let run = run.finish();
        if run.stderr().is_empty() {
            run.is_silent_success();
            done += 1;
        } else {
            run.exits_with(3)
                .complains_once(&["MariaDB store conntrack at "]);
            failed += 1;
        }
        server.restart();
    }
    env.collect();
    assert_eq!(
        connects(&env),
        rounds as u64 + 1,
        "{failed} failed, {done} done"
    );
    assert!(failed > 0, "no run was hit");
}

#[test]
fn runs_that_are_killed_or_come_at_once_lose_and_double_nothing() {
    let server = Server::start(&[]);
    let env = env_in(&server, "root", "");
    append(&env, &event(0));
    env.collect();
    let mut random = Random::new(11);
    let (mut killed, mut overtaken) = (0, 0);
    let rounds = 60;
    for n in 1..=rounds {
        append(&env, &event(n));
        if random.chance(50) {
            let delay = random.shorter_than(Duration::from_millis(25));
            killed += u32::from(env.start_collecting().kill_after(delay));
        } else {
            let first = env.start_collecting();
            thread::sleep(random.shorter_than(Duration::from_millis(3)));
            env.start_collecting().finish().is_silent_success();
            first.finish().is_silent_success();
            overtaken += 1;
        }
    }
    env.collect();
    assert_eq!(connects(&env), rounds as u64 + 1);
    assert!(
        killed > 5 && overtaken > 5,
        "{killed} killed, {overtaken} at once"
    );
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cut {
    BeforeCommit,
    AfterCommit,
}

/// Stands between the program and the server and cuts connections at a COMMIT, as many as `times`.
struct Wire {
    socket: PathBuf,
    cut: Arc<AtomicUsize>,
}

impl Wire {
    fn between(server: &Server, folder: &Path, at: Cut, times: usize) -> Self {
        let socket = folder.join("wire");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let behind = server.address().socket.clone();
        let left = Arc::new(AtomicUsize::new(times));
        let cut = Arc::new(AtomicUsize::new(0));
        let (of_thread, counter) = (left, Arc::clone(&cut));
        // Ends with the process: nothing tells it that its test is over.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = UnixStream::connect(&behind).expect("the server");
                let (left, counter) = (Arc::clone(&of_thread), Arc::clone(&counter));
                thread::spawn(move || Self::pass(client, server, at, &left, &counter));
            }
        });
        Self { socket, cut }
    }

    fn pass(
        client: UnixStream,
        server: UnixStream,
        at: Cut,
        left: &AtomicUsize,
        cut: &AtomicUsize,
    ) {
        let (mut from, mut to) = (
            client.try_clone().expect("a handle"),
            server.try_clone().expect("a handle"),
        );
        let (mut answers, mut back) = (
            server.try_clone().expect("a handle"),
            client.try_clone().expect("a handle"),
        );
        thread::spawn(move || {
            let _ = std::io::copy(&mut answers, &mut back);
            let _ = back.shutdown(Shutdown::Both);
        });
        let mut buffer = [0; 65_536];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let packet = &buffer[..length];
            // COM_QUERY and the statement: the crate sends it by itself.
            let is_commit = packet.ends_with(b"\x03COMMIT");
            let spend = |left: usize| left.checked_sub(1);
            if is_commit
                && left
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend)
                    .is_ok()
            {
                cut.fetch_add(1, Ordering::SeqCst);
                // The answer finds nobody.
                let _ = client.shutdown(Shutdown::Both);
                if at == Cut::AfterCommit {
                    to.write_all(packet).expect("the server takes it");
                    // Ending the connection at once could take the statement back.
                    thread::sleep(Duration::from_millis(300));
                }
                break;
            }
            if to.write_all(packet).is_err() {
                break;
            }
        }
        let _ = server.shutdown(Shutdown::Both);
    }
}

#[test]
fn a_connection_that_breaks_at_the_commit_is_made_anew_in_the_same_run() {
    let server = Server::start(&[DURABLE]);
    for (at, times) in [(Cut::BeforeCommit, 2), (Cut::AfterCommit, 1)] {
        let env = env_in(&server, "root", "");
        let wire = Wire::between(&server, &env.path("."), at, times);
        server.sql("DROP DATABASE IF EXISTS conntrack");
        let env = env.in_mariadb(&wire.socket, "root", "");
        // What is told once must be told though the answer to its COMMIT was lost.
        append(&env, &format!("{ALICE}{}", BOB.replace("19:05", "19:04")));
        append(
            &env,
            "20261122 19:06:00,db1,root,localhost,8,9,QUERY,,'SET GLOBAL server_audit_logging=OFF',0\n",
        );
        append(
            &env,
            "20261122 19:07:00,db1,root,localhost,8,0,DISCONNECT,,,0\n",
        );
        let run = env.start_collecting().finish();
        run.exits_with(1)
            .complains_once(&["gap from", "logging was switched off"]);
        assert_eq!(wire.cut.load(Ordering::SeqCst), times, "{at:?}");
        env.collect();
        let accounts = env.accounts();
        let figures: Vec<_> = accounts
            .iter()
            .map(|row| (row["name"].as_str().unwrap_or_default(), &row["connects"]))
            .collect();
        assert_eq!(
            figures,
            [
                ("alice", &1.into()),
                ("bob", &1.into()),
                ("root", &0.into())
            ],
            "{at:?}"
        );
        assert_eq!(env.failures()[0]["attempts"], 1, "{at:?}");
    }
}

/// A session that holds the row of `name` locked, and has more to lose than ours in a deadlock.
fn holding(server: &Server, name: &str) -> Client {
    let mut other = server.root();
    for sql in [
        "USE conntrack",
        "CREATE TABLE IF NOT EXISTS conntrack.scratch (n INT PRIMARY KEY) ENGINE = InnoDB",
        "BEGIN",
        "REPLACE INTO conntrack.scratch SELECT seq FROM seq_1_to_1000",
        &format!(
            "SELECT * FROM conntrack.accounts WHERE server = 'db1' AND name = '{name}' FOR UPDATE"
        ),
    ] {
        other
            .query(sql)
            .unwrap_or_else(|refusal| panic!("{sql}: {refusal}"));
    }
    other
}

fn wait_until_one_waits(server: &Server) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let waits = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'";
    while administrator(server, waits).trim() == "0" {
        assert!(
            Instant::now() < deadline,
            "the run does not wait for the lock"
        );
        // The table is not made anew while it is asked for more often.
        thread::sleep(Duration::from_millis(150));
    }
}

#[test]
fn a_deadlock_is_tried_again() {
    let server = Server::start(&[]);
    let env = env_in(&server, "root", "");
    append(&env, &format!("{ALICE}{BOB}"));
    env.collect();
    let mut other = holding(&server, "bob");
    append(&env, &format!("{ALICE}{BOB}").replace("19:0", "19:1"));
    let run = env.start_collecting();
    wait_until_one_waits(&server);
    let sql = "UPDATE conntrack.accounts SET first_seen = first_seen WHERE server = 'db1' AND name = 'alice'";
    other
        .query(sql)
        .expect("the server takes ours back, not this one");
    let deadlocks = administrator(&server, "SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'");
    assert_eq!(deadlocks, "Innodb_deadlocks\t1\n");
    other.query("COMMIT").expect("a commit");
    other.quit();
    run.finish().is_silent_success();
    assert_eq!(connects(&env), 4);
    assert_eq!(env.failures()[0]["attempts"], 2);
}

#[test]
fn a_lock_that_is_held_for_long_is_waited_for() {
    let server = Server::start(&[]);
    let env = env_in(&server, "root", "");
    append(&env, ALICE);
    env.collect();
    let mut other = holding(&server, "alice");
    append(&env, &ALICE.replace("19:0", "19:1"));
    let run = env.start_collecting();
    // Longer than one attempt waits.
    thread::sleep(Duration::from_secs(17));
    other.query("ROLLBACK").expect("the end");
    other.quit();
    run.finish().is_silent_success();
    assert_eq!(connects(&env), 2);
    // Readers wait for nobody.
    let _other = holding(&server, "alice");
    assert_eq!(connects(&env), 2);
}

#[test]
fn a_server_that_is_read_only_loses_nothing() {
    let server = Server::start(&[]);
    server.sql("CREATE USER limited@localhost; GRANT ALL ON conntrack.* TO limited@localhost");
    let env = env_in(&server, "limited", "");
    append(&env, ALICE);
    env.collect();
    server.sql("SET GLOBAL read_only = 1");
    append(&env, BOB);
    let run = env.start_collecting().finish();
    run.exits_with(3)
        .complains_once(&["error 1290", "read-only", "the next run catches up"]);
    assert_eq!(names(&env), ["alice"]);
    server.sql("SET GLOBAL read_only = 0");
    env.collect();
    assert_eq!(names(&env), ["alice", "bob"]);
}

#[test]
fn a_full_tablespace_loses_nothing() {
    let full = |most: &str| {
        [
            "--innodb-file-per-table=0".to_owned(),
            "--innodb-autoextend-increment=1".to_owned(),
            format!("--innodb-data-file-path=ibdata1:12M:autoextend:max:{most}"),
        ]
    };
    let small = full("14M");
    let small: Vec<_> = small.iter().map(String::as_str).collect();
    let mut server = Server::start(&small);
    let env = env_in(&server, "root", "");
    append(&env, ALICE);
    env.collect();
    let many: String = (0..40_000)
        .map(|n| format!("20261122 20:00:00,db1,{n:0>60},10.0.0.1,{n},0,CONNECT,,,0\n"))
        .collect();
    append(&env, &many);
    for _ in 0..2 {
        let run = env.start_collecting().finish();
        run.exits_with(3)
            .complains_once(&["is full", "make room", "the next run catches up"]);
        assert_eq!(names(&env), ["alice"]);
    }
    let large = full("200M");
    let large: Vec<_> = large.iter().map(String::as_str).collect();
    server.restart_with(&large);
    env.collect();
    assert_eq!(connects(&env), 40_001);
}

#[test]
fn a_connection_that_the_server_ended_meanwhile_is_made_anew() {
    let server = Server::start(&["--wait-timeout=1"]);
    let env = configure(TestEnv::new(), &server, "root", "");
    let mut command = env.command(&["run", "--audit-log", "-", "--time-zone", "UTC"]);
    command.stdin(Stdio::piped());
    let mut run = env.start_command(command);
    let mut input = run.input();
    input.write_all(ALICE.as_bytes()).expect("a pipe");
    thread::sleep(Duration::from_millis(2_500));
    input.write_all(BOB.as_bytes()).expect("a pipe");
    drop(input);
    run.finish().is_silent_success();
    assert_eq!(names(&env), ["alice", "bob"]);
    let aborted = administrator(&server, "SHOW GLOBAL STATUS LIKE 'Aborted_clients'");
    assert_ne!(
        aborted, "Aborted_clients\t0\n",
        "the server ended no connection"
    );
}
