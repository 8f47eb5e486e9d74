//! The whole program on a log that it has not seen yet, as it is started from cron.

#![allow(clippy::expect_used)]

mod corpus;

use std::process::Command;

use corpus::Settings;
use divan::Bencher;
use divan::counter::BytesCount;

fn main() {
    divan::main();
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn connections(bencher: Bencher) {
    first_run(bencher, 0.0);
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn mixed(bencher: Bencher) {
    first_run(bencher, 0.95);
}

/// Of a log `queries` of whose records are statements.
fn first_run(bencher: Bencher, queries: f64) {
    let log = tempfile::tempdir().expect("a temporary folder");
    let settings = Settings {
        size: 50 << 20,
        queries,
        ..Settings::default()
    };
    let written = corpus::write(&settings, log.path()).expect("the log is written");
    bencher
        .counter(BytesCount::new(written.bytes))
        .with_inputs(|| tempfile::tempdir().expect("a temporary folder"))
        .bench_local_refs(|store| {
            let status = Command::new(env!("CARGO_BIN_EXE_conntracker"))
                .args(["run", "--time-zone", "UTC", "--config", "/dev/null"])
                .arg("--audit-log")
                .arg(log.path())
                .arg("--sqlite")
                .arg(store.path().join("store.sqlite"))
                .status()
                .expect("conntracker is started");
            assert!(status.success(), "{status}");
        });
}
