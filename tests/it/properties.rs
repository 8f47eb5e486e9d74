//! Properties of all that takes bytes from the log apart, and of account rows. The same ones are fuzzed (fuzz/); what the
//! fuzzer found is replayed here, and each is tried for a few seconds on random input.

mod account;
mod calm;
mod reader;
mod record;
mod timestamp;
mod trust;
mod unframe;

use std::path::Path;

use conntracker::audit_log::reader::MAX_LINE;
use conntracker::audit_log::record::Record;
use conntracker::audit_log::trust::{Place, Sink, Trust, Verdict, Whole};
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};

/// Checks all inputs that were kept for `target`, then `cases` random ones, or as many as the environment
/// variable CONNTRACKER_TEST_CASES says.
#[allow(clippy::print_stdout)] // Says which input fails.
fn holds(target: &str, cases: u32, input: impl Strategy<Value = Vec<u8>>, check: fn(&[u8])) {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fuzz");
    let mut inputs: Vec<_> = std::fs::read_dir(kept.join(target))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "nothing to replay for {target}");
    for path in inputs {
        check(&std::fs::read(&path).unwrap());
    }
    let asked_for = std::env::var("CONNTRACKER_TEST_CASES").ok();
    let cases = asked_for.map_or(cases, |cases| cases.parse().unwrap());
    // A failure is printed as it is, to be kept as a file beside the others.
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..Config::default()
    });
    runner
        .run(&input, |input| {
            check(&input);
            Ok(())
        })
        .unwrap();
}

/// Any bytes behind a first byte out of `kinds`.
fn bytes(kinds: std::ops::RangeInclusive<u8>, len: usize) -> impl Strategy<Value = Vec<u8>> {
    (kinds, proptest::collection::vec(any::<u8>(), 0..len)).prop_map(|(kind, mut bytes)| {
        bytes.insert(0, kind);
        bytes
    })
}

/// Text put together of `parts`, with a few bytes that belong nowhere.
fn text(parts: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        9 => proptest::sample::select(parts).prop_map(|part| part.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(part, 0..most).prop_map(|parts| parts.concat())
}

const RECORD: &[&str] = &[
    "20261122 19:04:51,",
    "1795374291,",
    "db1,",
    "alice,",
    "a,b,",
    "192.0.2.66,",
    "2001:db8::5:40812,",
    "localhost:unavailable,",
    "5,",
    "0,",
    "11,",
    "CONNECT,",
    "FAILED_CONNECT,",
    "DISCONNECT,",
    "CHANGEUSER,",
    "PROXY_CONNECT,",
    "QUERY,",
    "AUDIT_CONFIG,",
    "READ,",
    "shop,",
    ",",
    "'select 1'",
    "'",
    "`a`@`%`",
    ",0",
    "1045",
    "TLSv1.3,",
];

const STAMP: &[&str] = &[
    "2026",
    "1970",
    "9999",
    "11",
    "22",
    "00",
    "59",
    "-",
    "/",
    ".",
    " ",
    "T",
    ":",
    "Z",
    "+01:00",
    "-0130",
    "123456",
    "0",
    "1536652826127350",
    ",",
];

#[test]
fn calm_stretches_say_the_same_by_the_short_way() {
    let input = proptest::collection::vec(any::<u8>(), 8..80);
    holds("calm", 40, input, calm::check);
}

#[test]
fn records_are_taken_apart() {
    holds("record", 4_000, text(RECORD, 24), record::check);
}

#[test]
fn times_are_understood() {
    let text = text(STAMP, 20).prop_map(|text| [&[0][..], &text].concat());
    let input = prop_oneof![text, bytes(0..=255, 120)];
    holds("timestamp", 1_000, input, timestamp::check);
}

#[test]
fn lines_are_split() {
    holds("reader", 60, bytes(0..=255, 40), reader::check);
}

#[test]
fn frames_are_taken_off() {
    holds("unframe", 1_000, bytes(0..=255, 80), unframe::check);
}

/// Patterns, and rows with a login, out of the parts that account rows are made of.
#[test]
fn accounts_are_the_servers_choice() {
    let part = prop_oneof![4 => 0..24_u8, 3 => 24..40_u8, 1 => any::<u8>()];
    let text = proptest::collection::vec(part, 0..7);
    let user = prop_oneof![
        3 => Just(vec![17]),
        1 => Just(vec![]),
        1 => text.clone(),
    ];
    let row = (user.clone(), text.clone()).prop_map(|(user, host)| [user, host].join(&0xfe));
    let rows = proptest::collection::vec(row, 0..9).prop_map(|rows| rows.join(&0xfe));
    let host = prop_oneof![2 => Just(vec![18]), 1 => Just(vec![19]), 2 => text.clone()];
    let login = (0..8_u8, user, host, text.clone(), text, rows);
    let input = login.prop_map(|(kind, user, host, one, other, rows)| {
        let texts = match kind & 1 {
            0 => [one, other].join(&0xfe),
            _ => [user, host, one, other, rows].join(&0xfe),
        };
        [&[kind][..], &texts].concat()
    });
    holds("account", 400, input, account::check);
}

/// Lines in any order.
#[test]
fn each_line_gets_a_verdict() {
    holds("trust", 1_500, bytes(0..=0, 300), trust::check);
}

/// What a server writes, with clients that try to forge records. Attackers that fit together are rare;
/// the fuzzer (fuzz/, target trust) has more time to look for them.
#[test]
fn no_forged_record_is_believed() {
    let steps = (0..5_usize).prop_flat_map(|size| bytes(1..=1, 20 << size));
    holds("trust", 2_000, steps, trust::check);
}

/// Counts lines, and believes nothing.
#[derive(Default)]
struct Count(u64);

impl Sink for Count {
    fn line(&mut self, _: &[u8], _: Place, _: Verdict<'_>, _: Option<&Whole>) {
        self.0 += 1;
    }

    fn withdraw(&mut self, _: &[u8], _: Place, _: &Record) {}
}

/// However a log goes on, little of it is kept.
#[test]
fn what_waits_is_bounded() {
    const ALL: usize = 1 << 18;
    let refused = "20261122 19:04:51,db1,a,h,5,0,FAILED_CONNECT,,,1045";
    let foreign = "20261122 19:04:51,db2,a,h,5,0,CONNECT,,,0";
    let honest = "20261122 19:04:51,db1,a,h,6,0,CONNECT,,,0";
    for (first, then) in [
        ("", ""),
        (refused, ""),
        (refused, "x"),
        (refused, refused),
        (refused, honest),
        (foreign, ""),
        (foreign, "x"),
        (foreign, "y,h,6,0,DISCONNECT,,,0"),
        (refused, "y,h,6,0,FAILED_CONNECT,,,1045"),
        ("x", "y,h,6,0,CHANGEUSER,,,1045"),
        (refused, &"x".repeat(MAX_LINE)),
    ] {
        let mut trust = Trust::new(None, Vec::new());
        let mut count = Count::default();
        let mut offset = 0;
        let mut pushed = 0_u64;
        let mut push = |trust: &mut Trust, text: &str| {
            trust.push(text.as_bytes(), Place { file: 0, offset }, &mut count);
            offset += text.len() as u64 + 1;
            pushed += 1;
        };
        push(&mut trust, "20261122 19:04:50,db1,a,h,4,0,CONNECT,,,0");
        push(&mut trust, first);
        for _ in 0..ALL / (then.len() + 1) {
            push(&mut trust, then);
        }
        let pending = trust.pending(&[]);
        let bytes: usize = pending.iter().map(|line| line.text.0.len() + 1).sum();
        assert!(
            bytes < ALL / 2,
            "{bytes} bytes wait: {first} and then {then}"
        );
        assert!(
            pending.len() as u64 + count.0 + 256 >= pushed,
            "{first}, {then}"
        );
    }
}
