//! What SQLite takes for as many accounts as one commit may hold.

#![allow(clippy::expect_used)]

use conntracker::checkpoint::Checkpoint;
use conntracker::name::Name;
use conntracker::store::{AccountFilter, AccountUse, Batch, Commit, Rhythm, Slot, Sqlite, Store};
use conntracker::time::UtcSeconds;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use tempfile::TempDir;

/// As many as one batch holds.
const ACCOUNTS: usize = 200_000;

/// 2026-10-15
const START: i64 = 1_792_022_400;

fn main() {
    divan::main();
}

/// A login of every `step`th account, `hours` after the first.
fn batch(step: usize, hours: i64) -> Batch {
    let mut batch = Batch {
        server: "db1".into(),
        ..Batch::default()
    };
    for n in (0..ACCOUNTS).step_by(step) {
        let name = Name::from(format!("user_{n}").as_str());
        let host = format!("10.{}.{}.{}", n / 62_500, n / 250 % 250, n % 250 + 1);
        let at = UtcSeconds(START + hours * 3_600 + n as i64 % 3_600);
        batch.rhythm.push(Rhythm {
            name: Some(name.clone()),
            slots: vec![Slot {
                logins: 1,
                login_hours: Slot::bit_of(at),
                ..Slot::hour_of(at)
            }],
        });
        batch.accounts.push(AccountUse {
            server: batch.server.clone(),
            name,
            host: host.as_str().into(),
            first_seen: Some(at),
            last_seen: Some(at),
            last_active: Some(at),
            connects: 1,
        });
    }
    // The order in which a run hands them over.
    batch.accounts.sort_by(|a, b| a.name.cmp(&b.name));
    batch.rhythm.sort_by(|a, b| a.name.cmp(&b.name));
    batch
}

fn commit(store: &mut Sqlite, batch: &Batch) {
    let mut checkpoints = store.checkpoints().expect("the store is read");
    let base = checkpoints.pop().map(|(_, checkpoint)| checkpoint);
    let next = Checkpoint {
        server: "db1".into(),
        ..Checkpoint::default()
    };
    let done = store
        .commit("/log", base.as_ref(), &next, batch)
        .expect("the store is written");
    assert_eq!(done, Commit::Done);
}

fn open(folder: &TempDir) -> Sqlite {
    Sqlite::open(&folder.path().join("store.sqlite")).expect("the store is opened")
}

fn full_store(folder: &TempDir) -> Sqlite {
    let mut store = open(folder);
    commit(&mut store, &batch(1, 0));
    store
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn first_commit(bencher: Bencher) {
    let all = batch(1, 0);
    bencher
        .counter(ItemsCount::new(all.accounts.len()))
        .with_inputs(|| {
            let folder = folder();
            (open(&folder), folder)
        })
        .bench_local_refs(|(store, _)| commit(store, &all));
}

#[divan::bench]
fn commit_of_100_changed(bencher: Bencher) {
    let folder = folder();
    let mut store = full_store(&folder);
    let some = batch(ACCOUNTS / 100, 1);
    bencher.bench_local(|| commit(&mut store, &some));
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn list(bencher: Bencher) {
    let folder = folder();
    let mut store = full_store(&folder);
    bencher.counter(ItemsCount::new(ACCOUNTS)).bench_local(|| {
        let filter = AccountFilter::default();
        store
            .accounts(&filter, &mut |row| {
                black_box(row);
                Ok(())
            })
            .expect("the store is read");
    });
}
