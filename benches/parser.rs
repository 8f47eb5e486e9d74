//! How fast lines are taken apart, and nothing else.

#![allow(clippy::expect_used)]

mod corpus;

use std::fs;

use conntracker::audit_log::plain::{PlainLines, SLACK};
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

/// Without statements, and with 95 %.
#[divan::bench(args = [0.0, 0.95])]
fn plain(bencher: Bencher, queries: f64) {
    let mut text = text(queries);
    let len = text.len();
    text.resize(len + SLACK, 0);
    let first = record::parse(text.split(|&byte| byte == b'\n').next().expect("a line"));
    let head = first.record().and_then(|record| record.head);
    let serverhost = head.expect("a head").serverhost.of(&text).to_vec();
    let count = text.iter().filter(|byte| **byte == b'\n').count();
    bencher
        .counter(BytesCount::new(len))
        .counter(ItemsCount::new(count))
        .bench(|| {
            let mut lines = PlainLines::of(&serverhost);
            let mut at = 0;
            while at < len {
                at = black_box(lines.read(&text, at)).expect("a plain line").end + 1;
            }
        });
}

#[divan::bench(args = [0.0, 0.95])]
fn record(bencher: Bencher, queries: f64) {
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
