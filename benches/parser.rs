//! How fast lines are taken apart, and nothing else.

#![allow(clippy::expect_used)]

mod corpus;

use std::fs;

use conntracker::audit_log::record;
use corpus::Settings;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

/// The records of a log of 10 MB, `queries` of which are statements.
fn text(queries: f64) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = Settings {
        size: 10 << 20,
        files: 1,
        queries,
        ..Settings::default()
    };
    corpus::write(&settings, folder.path()).expect("the log is written");
    fs::read(folder.path().join("server_audit.log")).expect("the log is read")
}

#[divan::bench]
fn connections(bencher: Bencher) {
    parse(bencher, 0.0);
}

#[divan::bench]
fn mixed(bencher: Bencher) {
    parse(bencher, 0.95);
}

fn parse(bencher: Bencher, queries: f64) {
    let text = text(queries);
    let lines: Vec<_> = text
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .collect();
    bencher
        .counter(BytesCount::new(text.len()))
        .counter(ItemsCount::new(lines.len()))
        .bench(|| {
            for line in &lines {
                black_box(record::parse(black_box(line)));
            }
        });
}
