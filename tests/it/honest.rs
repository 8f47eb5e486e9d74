//! No false alarm: whatever honest clients do at once, however the server ends and begins again, no
//! record of theirs is put in doubt.
//!
//! `CONNTRACKER_TEST_HONEST_LOGINS` sets how many clients come in or are refused (default 4,000); it
//! was run with a million.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::client::{Client, Login, Via};
use crate::env::TestEnv;
use crate::mariadb::Server;
use crate::random::Random;

#[test]
fn honest_clients_are_never_doubted() {
    nobody_is_doubted("app");
}

#[test]
fn honest_clients_that_become_somebody_else_are_never_doubted() {
    nobody_is_doubted("report");
}

/// `second`: the user that some sessions become.
fn nobody_is_doubted(second: &str) {
    let logins: usize = std::env::var("CONNTRACKER_TEST_HONEST_LOGINS")
        .map_or(4_000, |count| count.parse().expect("a number"));
    let lives = 4;
    // The plugin rotates in between; nothing may fall out before it was read.
    let mut server = Server::start(&[
        "--skip-name-resolve=0",
        "--server-audit-events=CONNECT,QUERY",
        "--server-audit-file-rotate-size=1000000",
        "--server-audit-file-rotations=900",
        "--max-connect-errors=1000000000",
        "--max-password-errors=4294967295",
    ]);
    server.sql("CREATE USER app@'%' IDENTIFIED BY 'app', report@'%' IDENTIFIED BY 'report'");
    let env = TestEnv::reading(server.audit_log());
    let done = AtomicUsize::new(0);
    for life in 0..lives {
        thread::scope(|scope| {
            for client in 0..8 {
                let (server, done) = (&server, &done);
                scope.spawn(move || {
                    come_and_go(
                        server,
                        second,
                        client,
                        (life * 8 + client) as u64,
                        logins / lives / 8,
                    );
                    done.fetch_add(logins / lives / 8, Ordering::Relaxed);
                });
            }
        });
        let run = env.start_collecting().finish();
        if !run.stderr().is_empty() {
            let log = std::fs::read(server.audit_log()).expect("the log");
            let log: Vec<_> = String::from_utf8_lossy(&log)
                .lines()
                .map(str::to_owned)
                .collect();
            for row in env.quarantine() {
                let id = format!(",{},", row["connectionid"]);
                eprintln!("{row}");
                for (at, line) in log
                    .iter()
                    .enumerate()
                    .filter(|(_, line)| line.contains(&id))
                {
                    eprintln!("line {at}: {}", &line[..line.len().min(100)]);
                }
            }
        }
        run.is_silent_success();
        if life % 2 == 0 {
            server.kill9();
        }
        server.restart();
    }
    env.start_collecting().finish().is_silent_success();
    assert!(env.quarantine().is_empty(), "{:?}", env.quarantine());
    let figure = |rows: Vec<serde_json::Value>, field: &str| -> u64 {
        rows.iter().filter_map(|row| row[field].as_u64()).sum()
    };
    let counted = figure(env.accounts(), "connects") + figure(env.failures(), "attempts");
    let done = done.load(Ordering::Relaxed) as u64;
    assert!(counted >= done, "{counted} of {done} counted");
}

/// Half of the clients are refused; some begin their session anew, some stay for a while.
fn come_and_go(server: &Server, second: &str, client: usize, seed: u64, times: usize) {
    let mut random = Random::new(seed);
    let mut open: Vec<Client> = Vec::new();
    for _ in 0..times {
        let via = match random.below(3) {
            0 => Via::Socket,
            _ => Via::tcp(10 + client as u8),
        };
        if random.chance(50) {
            let login = Login::new(if random.chance(50) { "app" } else { "nobody" }, "wrong");
            assert!(server.log_in(via, &login).is_err(), "a wrong password");
            continue;
        }
        let mut session = server
            .log_in(via, &Login::new("app", "app"))
            .expect("app comes in");
        if random.chance(5) {
            let _ = session.query("SELECT 1");
            if random.chance(50) {
                session
                    .change_user(&Login::new(second, second))
                    .expect("the session begins anew");
            }
        }
        open.push(session);
        if open.len() > random.below(6) {
            open.swap_remove(random.below(open.len())).quit();
        }
    }
}
