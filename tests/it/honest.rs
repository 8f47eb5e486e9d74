//! No false alarm: whatever honest clients do at once, however the server ends and begins again, no
//! record of theirs is put in doubt.
//!
//! `CONNTRACKER_TEST_HONEST_LOGINS` sets how many clients come in or are refused (default 4,000); it
//! was run with a million.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::client::{Client, Login, Via};
use crate::env::TestEnv;
use crate::mariadb::Server;
use crate::random::Random;

#[test]
fn honest_clients_are_never_doubted() {
    nobody_is_doubted("app", None);
}

/// A new name is written once, by the end of the session. A whole session that stands right before it
/// could be a part of that name: of a million logins it was so with a few.
#[test]
fn honest_clients_that_become_somebody_else_are_doubted_for_one_reason_only() {
    let reason =
        "before the end of a session that changed its user: the new name may hold a line break";
    nobody_is_doubted("report", Some(reason));
}

/// `second`: the user that some sessions become. `tolerated`: for what reason records may be doubted.
fn nobody_is_doubted(second: &str, tolerated: Option<&str>) {
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
        collect(&env, &server, tolerated);
        if life % 2 == 0 {
            server.kill9();
        }
        server.restart();
    }
    let doubted = collect(&env, &server, tolerated);
    let figure = |rows: Vec<serde_json::Value>, field: &str| -> u64 {
        rows.iter().filter_map(|row| row[field].as_u64()).sum()
    };
    let counted = figure(env.accounts(), "connects") + figure(env.failures(), "attempts");
    let done = done.load(Ordering::Relaxed) as u64;
    assert!(
        counted + doubted >= done,
        "{counted} of {done} counted, {doubted} doubted"
    );
}

/// Runs once, and returns how many records are in quarantine, all for the reason that is tolerated.
fn collect(env: &TestEnv, server: &Server, tolerated: Option<&str>) -> u64 {
    let run = env.start_collecting().finish();
    let quarantine = env.quarantine();
    let (doubted, alarms): (Vec<_>, Vec<_>) = (quarantine.iter())
        .partition(|row| tolerated.is_some() && row["why"].as_str() == tolerated);
    if doubted.is_empty() && alarms.is_empty() {
        run.is_silent_success();
    }
    let log = fs::read(server.audit_log()).expect("the log");
    let log = String::from_utf8_lossy(&log);
    let mut lines = String::new();
    for row in &alarms {
        let id = format!(",{},", row["connectionid"]);
        lines += &format!("{row}\n");
        for line in log.lines().filter(|line| line.contains(&id)) {
            lines += &format!("    {}\n", line.chars().take(100).collect::<String>());
        }
    }
    assert!(alarms.is_empty(), "honest records are doubted:\n{lines}");
    doubted.len() as u64
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
