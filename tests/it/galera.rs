//! A fleet that keeps its answer in a Galera cluster of two nodes: whichever node a run comes to,
//! and whatever becomes of the other one, each event counts once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{NaiveDate, NaiveDateTime, TimeDelta};
use conntracker::checkpoint::Checkpoint;
use conntracker::mariadb::Access;
use conntracker::name::Name;
use conntracker::store::{AccountUse, Batch, Commit, FailedConnect, MariaDb, Store};
use conntracker::time::UtcSeconds;
use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder};
use serde_json::Value;

use crate::env::{Started, TestEnv};
use crate::figures::Figures;
use crate::mariadb::{Server, administrator, free_port};
use crate::random::Random;

/// Nothing that a test waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

const COLLECTORS: usize = 50;

/// So many of them read logs of one and the same server, which makes them write the same rows.
const OF_ONE_SERVER: usize = 5;

#[test]
fn a_fleet_counts_each_event_once_though_a_node_dies() {
    let mut cluster = Cluster::start();
    let (survivor, doomed) = (cluster.socket(0), cluster.socket(1));

    let phase = &Phase(AtomicU8::new(BOTH));
    let runs = &AtomicUsize::new(0);
    let mut collectors: Vec<_> = (0..COLLECTORS).map(Collector::new).collect();
    thread::scope(|scope| {
        let end = phase.end_on_drop();
        for collector in &mut collectors {
            let nodes = [&*survivor, &*doomed];
            scope.spawn(move || collector.work(nodes, phase, runs));
        }
        // The first of these runs create the tables, all at once.
        cluster.wait("three rounds", |_| {
            runs.load(Ordering::SeqCst) >= 3 * COLLECTORS
        });

        phase.enter(DYING);
        cluster.nodes[1].kill9();
        // One of two is no majority: the survivor can't know that it is the only one, and refuses to
        // work until an administrator, who knows, says so.
        cluster.wait_for_status(0, "wsrep_cluster_status", "non-Primary");
        let env = TestEnv::new();
        let refused = env.run(&on("accounts", &survivor));
        refused.exits_with(3).complains_once(&["is not ready"]);
        cluster.take_for_the_whole(0);
        cluster.wait_for_status(0, "wsrep_ready", "ON");
        drop(end);
    });

    let mut expected = BTreeMap::<_, Figures>::new();
    for collector in &collectors {
        let figures = expected.entry(collector.host.server.clone()).or_default();
        figures.merge(collector.log.written.clone());
    }
    let failed: usize = collectors.iter().map(|collector| collector.failed).sum();
    assert!(failed > 0, "no run met the dying node");
    // A record may be held back until it is known what follows.
    let deadline = Instant::now() + PATIENCE;
    loop {
        for collector in &collectors {
            collector.host.run(&survivor).finish().is_silent_success();
        }
        let stored = stored(&survivor);
        if stored == expected {
            break;
        }
        for (server, figures) in &stored {
            let expected = &expected[server];
            assert!(
                !figures.exceed(expected) && Instant::now() < deadline,
                "{server}:\n{}",
                figures.difference(expected)
            );
        }
    }
    let rows = cluster.query(0, "SELECT COUNT(*) FROM conntrack.checkpoints");
    assert_eq!(rows, COLLECTORS.to_string(), "checkpoints");
    let rows = cluster.query(0, "SELECT COUNT(*) FROM conntrack.quarantine");
    assert_eq!(rows, "0", "genuine records are in quarantine");
}

#[test]
fn what_init_prints_for_one_node_is_there_in_the_other() {
    let cluster = Cluster::start();
    let env = TestEnv::new();
    let views = |node| {
        let socket = cluster.socket(node);
        let socket = socket.to_str().expect("a path");
        let text = env
            .run(&["init", "--user", "root", "--socket", socket])
            .stdout();
        let part = text.split("\n# == ").nth(2).expect("a part");
        assert!(part.contains("views and account"), "{text}");
        format!("# {part}")
    };
    let missing = views(1);
    assert!(
        missing.contains("# A cluster: run this in one node"),
        "{missing}"
    );
    administrator(&cluster.nodes[0], &missing);
    cluster.wait("views and account", |_| {
        views(1).contains("# nothing is missing")
    });
    assert!(views(0).contains("# nothing is missing"));
}

#[test]
fn who_writes_the_same_rows_on_another_node_at_once_loses_nothing() {
    /// What each of two writers commits into its own log's checkpoint, and into a common one.
    const COMMITS: u64 = 100;
    let cluster = Cluster::start();
    let conflicts = |cluster: &Cluster| -> u64 {
        let counters = ["wsrep_local_cert_failures", "wsrep_local_bf_aborts"];
        let of_node = |node| counters.map(|name| cluster.status(node, name));
        let values = [of_node(0), of_node(1)].concat();
        values
            .iter()
            .map(|value| value.parse::<u64>().expect(value))
            .sum()
    };
    drop(open(&cluster.socket(0))); // the tables
    let before = conflicts(&cluster);
    thread::scope(|scope| {
        for node in 0..2 {
            let socket = cluster.socket(node);
            scope.spawn(move || {
                let mut store = open(&socket);
                for at in 0..COMMITS {
                    commit(&mut store, &format!("log {node}"), at);
                    commit(&mut store, "the log that both read", at);
                }
            });
        }
    });
    let collided = conflicts(&cluster) - before;
    assert!(
        collided > 0,
        "they never came in each other's way, which proves nothing"
    );

    for node in 0..2 {
        let sums = "SELECT CONCAT(name, ' ', SUM(connects), ' ', UNIX_TIMESTAMP(MIN(first_seen)), \
                    ' ', UNIX_TIMESTAMP(MAX(last_active))) FROM conntrack.accounts";
        let all = 4 * COMMITS;
        assert_eq!(
            cluster.query(node, sums),
            format!("app {all} 1000 {}", 1_000 + COMMITS - 1)
        );
        let sum = "SELECT SUM(attempts) FROM conntrack.failed_connects";
        assert_eq!(cluster.query(node, sum), all.to_string());
        let generations =
            "SELECT GROUP_CONCAT(generation ORDER BY source) FROM conntrack.checkpoints";
        let expected = format!("{COMMITS},{COMMITS},{}", 2 * COMMITS);
        assert_eq!(cluster.query(node, generations), expected);
    }
}

/// Commits a login and a failure of `source`, on from whatever another has made of it meanwhile.
fn commit(store: &mut MariaDb, source: &str, at: u64) {
    let time = UtcSeconds(1_000 + at as i64);
    let server = || Name::from("db1");
    let batch = Batch {
        server: server(),
        accounts: vec![AccountUse {
            server: server(),
            name: "app".into(),
            host: "10.0.0.1".into(),
            first_seen: Some(time),
            last_seen: Some(time),
            last_active: Some(time),
            connects: 1,
        }],
        failed: vec![FailedConnect {
            server: server(),
            name: Some("app".into()),
            host: Some("10.0.0.1".into()),
            code: Some(1045),
            first_seen: time,
            last_seen: time,
            attempts: 1,
        }],
        ..Batch::default()
    };
    let next = Checkpoint {
        server: server(),
        ..Checkpoint::default()
    };
    loop {
        let known = store.checkpoints().expect("checkpoints");
        let base = known.iter().find(|(name, _)| name == source);
        let base = base.map(|(_, checkpoint)| checkpoint);
        match store.commit(source, base, &next, &batch).expect("a commit") {
            Commit::Done => break,
            Commit::Overtaken => {}
        }
    }
}

fn open(socket: &Path) -> MariaDb {
    let access = Access {
        socket: Some(socket.to_owned()),
        user: Some("root".into()),
        ..Access::default()
    };
    MariaDb::open(&access, "conntrack").expect("a store")
}

/// The figures of each server, as reported from the store behind `socket`.
fn stored(socket: &Path) -> BTreeMap<String, Figures> {
    let env = TestEnv::new();
    let list = |command| {
        env.run(&[&on(command, socket)[..], &["--format", "json"]].concat())
            .json()
    };
    let (accounts, failures) = (list("accounts"), list("failures"));
    let server = |row: &Value| row["server"].as_str().expect("a server").to_owned();
    let of = |rows: &[Value], name: &str| -> Vec<Value> {
        rows.iter()
            .filter(|row| server(row) == name)
            .cloned()
            .collect()
    };
    accounts
        .iter()
        .chain(&failures)
        .map(server)
        .map(|name| {
            let figures = Figures::reported(&of(&accounts, &name), &of(&failures, &name));
            (name, figures)
        })
        .collect()
}

/// A command on the store behind `socket`.
fn on<'a>(command: &'a str, socket: &'a Path) -> [&'a str; 7] {
    let socket = socket.to_str().expect("a UTF-8 path");
    [
        command, "--store", "mariadb", "--user", "root", "--socket", socket,
    ]
}

/// Both nodes work.
const BOTH: u8 = 0;
/// One was killed, and the other may be in doubt about it.
const DYING: u8 = 1;
/// The survivor works.
const SURVIVED: u8 = 2;

/// What becomes of the cluster.
struct Phase(AtomicU8);

impl Phase {
    fn now(&self) -> u8 {
        self.0.load(Ordering::SeqCst)
    }

    fn enter(&self, phase: u8) {
        self.0.store(phase, Ordering::SeqCst);
    }

    /// Ends the threads that wait for the last phase, after a failed test as well.
    fn end_on_drop(&self) -> impl Drop {
        struct Guard<'a>(&'a Phase);
        impl Drop for Guard<'_> {
            fn drop(&mut self) {
                self.0.enter(SURVIVED);
            }
        }
        Guard(self)
    }
}

/// A host of the fleet.
struct Collector {
    host: Host,
    log: Log,
    /// Runs that could not do their work.
    failed: usize,
}

impl Collector {
    fn new(number: usize) -> Self {
        let env = TestEnv::new();
        let log = Log {
            file: File::create(env.log_path()).expect("a log"),
            name: format!("app{number}"),
            random: Random::new(number as u64),
            connections: 0,
            written: Figures::default(),
        };
        let server = match number < OF_ONE_SERVER {
            true => "cluster".to_owned(),
            false => format!("db{number}"),
        };
        Self {
            host: Host { env, server },
            log,
            failed: 0,
        }
    }

    /// Reads the log while it grows, into the one node or the other, and once more at the end.
    fn work(&mut self, nodes: [&Path; 2], phase: &Phase, runs: &AtomicUsize) {
        loop {
            let began = phase.now();
            let node = match began {
                SURVIVED => nodes[0],
                _ => self.log.random.pick(&nodes),
            };
            let run = self.host.run(node);
            self.log.write();
            let run = run.finish();
            match run.code() {
                Some(3) if began == DYING || phase.now() != began => {
                    assert!(
                        !run.stderr().is_empty() && run.stdout().is_empty(),
                        "{run:?}"
                    );
                    self.failed += 1;
                    // A node that is not there says so at once.
                    thread::sleep(Duration::from_millis(500));
                }
                _ => drop(run.is_silent_success()),
            }
            runs.fetch_add(1, Ordering::SeqCst);
            if began == SURVIVED {
                break;
            }
        }
    }
}

/// Where the program runs, and what it calls its server.
struct Host {
    env: TestEnv,
    server: String,
}

impl Host {
    fn run(&self, socket: &Path) -> Started<'_> {
        let log = self.env.log_path().to_str().expect("a UTF-8 path");
        let source = ["--audit-log", log, "--time-zone", "UTC"];
        let server = ["--server-name", &self.server];
        self.env
            .start(&[&on("run", socket)[..], &source, &server].concat())
    }
}

/// What the server's plugin writes.
struct Log {
    file: File,
    /// An account that no other server knows.
    name: String,
    random: Random,
    connections: u32,
    written: Figures,
}

impl Log {
    /// Some come and go.
    fn write(&mut self) {
        let mut records = String::new();
        for _ in 0..20 {
            self.connections += 1;
            let time = start() + TimeDelta::seconds(i64::from(self.connections / 5));
            let time = time.format("%Y%m%d %H:%M:%S");
            let names = ["app", "report", "o,brien", &*self.name];
            let name = self.random.pick(&names);
            let host = self.random.pick(&["localhost", "10.0.0.1", "10.0.0.2"]);
            let event = match self.random.chance(30) {
                true => {
                    self.written.add_failure(name, host, 1045);
                    "FAILED_CONNECT,,,1045"
                }
                false => {
                    self.written.add_connects(name, host, 1);
                    "CONNECT,,,0"
                }
            };
            for event in [event, "DISCONNECT,,,0"] {
                let (server, id) = (&self.name, self.connections);
                records += &format!("{time},of-{server},{name},{host},{id},0,{event}\n");
            }
        }
        self.file
            .write_all(records.as_bytes())
            .expect("room for the log");
    }
}

fn start() -> NaiveDateTime {
    NaiveDate::from_ymd_opt(2026, 3, 2)
        .and_then(|day| day.and_hms_opt(11, 30, 0))
        .expect("a time")
}

/// Two nodes that replicate to each other.
struct Cluster {
    nodes: [Server; 2],
}

impl Cluster {
    fn start() -> Self {
        let provider = provider();
        let first = free_port();
        let start = |members: &str, port: u16, new: &[&str]| {
            let provider = format!("--wsrep-provider={}", provider.display());
            let members = format!("--wsrep-cluster-address=gcomm://{members}");
            // Ports beside these are taken from the cluster's, which another test may use.
            let listen = format!(
                "--wsrep-provider-options=gmcast.listen_addr=tcp://127.0.0.1:{port};\
                 ist.recv_addr=127.0.0.1:{};gcache.size=4M;{PATIENT}",
                free_port()
            );
            let transfer = format!("--wsrep-sst-receive-address=127.0.0.1:{}", free_port());
            let options = [&provider, &members, &listen, &transfer].map(|option| &**option);
            let options = [&options[..], &OPTIONS, new].concat();
            Server::start(&options)
        };
        let one = start("", first, &["--wsrep-new-cluster"]);
        let two = start(&format!("127.0.0.1:{first}"), free_port(), &[]);
        let this = Self { nodes: [one, two] };
        for node in 0..2 {
            this.wait_for_status(node, "wsrep_cluster_size", "2");
            this.wait_for_status(node, "wsrep_ready", "ON");
        }
        this
    }

    fn socket(&self, node: usize) -> PathBuf {
        self.nodes[node].address().socket.clone()
    }

    /// The first value of the answer's first row.
    fn query(&self, node: usize, sql: &str) -> String {
        let mut root = self.nodes[node].root();
        // What another node has committed may still be on its way.
        root.query("SET SESSION wsrep_sync_wait = 1")
            .unwrap_or_else(|refusal| panic!("wsrep_sync_wait: {refusal}"));
        let rows = root.query(sql);
        let rows = rows.unwrap_or_else(|refusal| panic!("{sql}: {refusal}"));
        text(rows.first().and_then(|row| row.first()))
    }

    fn status(&self, node: usize, name: &str) -> String {
        let value = self.try_status(node, name);
        value.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A node that changes its state ends sessions.
    fn try_status(&self, node: usize, name: &str) -> mysql::Result<String> {
        let options = OptsBuilder::new().user(Some("root"));
        let mut root = Conn::new(options.socket(self.socket(node).to_str()))?;
        // A node that is not ready answers this, but no SELECT.
        let row: Option<(String, String)> =
            root.query_first(format!("SHOW GLOBAL STATUS LIKE '{name}'"))?;
        Ok(row.unwrap_or_default().1)
    }

    /// What an administrator does who knows that there is no other node.
    fn take_for_the_whole(&self, node: usize) {
        let mut root = self.nodes[node].root();
        // Options may be variables of their own, as in Debian's 11.8.
        let own = root.query("SHOW VARIABLES LIKE 'wsrep_provider_pc_bootstrap'");
        root.quit();
        self.nodes[node].sql(match own.expect("variables").is_empty() {
            true => "SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'",
            false => "SET GLOBAL wsrep_provider_pc_bootstrap = ON",
        });
    }

    fn wait_for_status(&self, node: usize, name: &str, value: &str) {
        self.wait(&format!("{name} = {value}"), |this| {
            this.try_status(node, name).is_ok_and(|now| now == value)
        });
    }

    fn wait(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "waited for {what}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn text(value: Option<&Option<Vec<u8>>>) -> String {
    let value = value.and_then(Option::as_deref).unwrap_or_default();
    String::from_utf8_lossy(value).into_owned()
}

/// On a busy machine a node that answers late is not a dead one.
const PATIENT: &str = "evs.suspect_timeout=PT15S;evs.inactive_timeout=PT30S";

const OPTIONS: [&str; 6] = [
    "--wsrep-on=ON",
    "--wsrep-node-address=127.0.0.1",
    "--wsrep-sst-method=rsync",
    "--binlog-format=ROW",
    "--innodb-autoinc-lock-mode=2",
    "--default-storage-engine=InnoDB",
];

/// The library that replicates.
fn provider() -> PathBuf {
    [
        "lib/galera",
        "lib64/galera-4",
        "lib/galera-4",
        "lib64/galera",
    ]
    .iter()
    .map(|folder| Path::new("/usr").join(folder).join("libgalera_smm.so"))
    .find(|path| path.exists())
    .expect(
        "this test runs a Galera cluster, and there is no libgalera_smm.so here: \
             `apt-get install galera-4 rsync` brings it, or start the tests with tests/run",
    )
}
