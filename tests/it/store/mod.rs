//! What a store promises: [`store_contract`] proves the contract of the trait, unchanged, for every
//! backend. What is peculiar to one is in a file of its own.

mod activity;
mod mariadb;
mod sqlite;

use conntracker::checkpoint::{Checkpoint, Digest, FileMark};
use conntracker::error::Error;
use conntracker::name::Name;
use conntracker::store::{
    AccountFilter, AccountStatus, AccountUse, Batch, Commit, Coverage, Doubtful, FailedConnect,
    MAX_FAILED_CONNECTS, MAX_QUARANTINE, Order, ProxiedAccount, SortBy, Status, Store,
    UnexplainedLogin, Withdrawn,
};
use conntracker::time::UtcSeconds;
use conntracker::wildcard::Wildcard;

/// How a check judged an account, of which nothing is known but that.
pub(crate) fn judged(user: impl Into<Name>, host: &str, state: &str) -> AccountStatus {
    AccountStatus {
        user: user.into(),
        host: host.into(),
        state: state.into(),
        reason: "a reason — in words".into(),
        last_seen: None,
        last_active: None,
        connects: 0,
        clients: 0,
        exact: true,
        known_since: None,
    }
}

/// Proves what the trait promises. `open` opens one and the same store, which is empty at first; for
/// `set_back` see [`activity::contract`].
pub(crate) fn store_contract(open: impl Fn() -> Box<dyn Store>, set_back: impl Fn()) {
    accounts_are_merged(&mut *open());
    very_many_accounts_are_merged_alike(&mut *open());
    activity_makes_no_account(&mut *open());
    failures_are_merged(&mut *open());
    names_come_back_byte_for_byte(&mut *open());
    rows_come_in_order(&mut *open());
    lists_are_filtered(&mut *open());
    accounts_are_picked_by_their_names(&mut *open());
    accounts_are_sorted(&mut *open());
    judged_accounts_are_picked_and_sorted(&mut *open());
    failed_attempts_are_added_up(&mut *open());
    an_error_of_the_reader_is_passed_on(&mut *open());
    checkpoints_come_back(&mut *open());
    whoever_comes_second_writes_nothing(&mut *open(), &mut *open());
    doubts_are_kept_and_withdrawn(&mut *open());
    failures_beyond_the_cap_are_folded(&mut *open());
    the_newest_doubts_stay(&mut *open());
    coverage_is_lengthened_up_to_a_gap(&mut *open());
    proxied_accounts_are_merged(&mut *open());
    a_status_takes_the_place_of_the_last_one(&mut *open());
    what_a_check_remembers_is_each_servers_own(&mut *open());
    activity::contract(&mut *open(), &mut *open(), &set_back);
}

fn accounts_are_merged(store: &mut dyn Store) {
    let used = |name: &str, first, last, active, connects| AccountUse {
        first_seen: time(first),
        last_seen: time(last),
        last_active: time(active),
        connects,
        ..account("merge", name.as_bytes(), b"h")
    };
    let mut log = Log::new("merge");
    let steps = [
        [
            used("grows", Some(100), Some(200), Some(300), 2),
            used("shrinks", Some(100), Some(200), Some(300), 2),
            used("unknown first", None, None, None, 0),
            used("unknown later", Some(100), Some(200), Some(300), 2),
        ],
        [
            used("grows", Some(50), Some(250), Some(350), 3),
            used("shrinks", Some(150), Some(150), Some(150), 1),
            used("unknown first", Some(100), Some(200), Some(300), 2),
            used("unknown later", None, None, Some(400), 0),
        ],
    ];
    for accounts in steps {
        log.commit(
            store,
            Batch {
                accounts: accounts.to_vec(),
                ..Batch::default()
            },
        );
    }
    assert_eq!(
        accounts_of(store, "merge"),
        [
            used("grows", Some(50), Some(250), Some(350), 5),
            used("shrinks", Some(100), Some(200), Some(300), 3),
            used("unknown first", Some(100), Some(200), Some(300), 2),
            used("unknown later", Some(100), Some(200), Some(400), 2),
        ],
        "least first_seen, greatest last_seen and last_active, sum of connects"
    );
}

/// Stores write rows by the dozen where there are many, and what does not fill a dozen by itself.
fn very_many_accounts_are_merged_alike(store: &mut dyn Store) {
    let used = |number: i64, times: u64| AccountUse {
        first_seen: time(Some(100 + number)).filter(|_| number % 3 > 0),
        last_seen: time(Some(5_000 + number)).filter(|_| number % 5 > 0),
        last_active: time(Some(10_000 + number)),
        connects: times,
        ..account("many", format!("user {number:04}").as_bytes(), b"h")
    };
    let mut log = Log::new("many");
    for numbers in [0..1_011, 500..1_511] {
        log.commit(
            store,
            Batch {
                accounts: numbers.map(|number| used(number, 1)).collect(),
                ..Batch::default()
            },
        );
    }
    let both = 500..1_011;
    let expected = (0..1_511).map(|number| used(number, 1 + u64::from(both.contains(&number))));
    assert_eq!(accounts_of(store, "many"), expected.collect::<Vec<_>>());
}

fn activity_makes_no_account(store: &mut dyn Store) {
    let mut log = Log::new("activity");
    let known = AccountUse {
        last_active: time(Some(100)),
        ..account("activity", b"known", b"h")
    };
    let at = |name: &str, at| (Name::from(name), Name::from("h"), UtcSeconds(at));
    log.commit(
        store,
        Batch {
            accounts: vec![known.clone(), account("activity", b"new", b"h")],
            // Counts for the account of this very batch as well.
            activity: vec![at("event", 500), at("known", 50), at("new", 70)],
            ..Batch::default()
        },
    );
    log.commit(
        store,
        Batch {
            activity: vec![at("event", 600), at("known", 700)],
            ..Batch::default()
        },
    );
    assert_eq!(
        accounts_of(store, "activity"),
        [
            AccountUse {
                last_active: time(Some(700)),
                ..known
            },
            AccountUse {
                last_active: time(Some(70)),
                ..account("activity", b"new", b"h")
            },
        ]
    );
}

fn failures_are_merged(store: &mut dyn Store) {
    let failure = |code, first, last, attempts| FailedConnect {
        first_seen: UtcSeconds(first),
        last_seen: UtcSeconds(last),
        attempts,
        ..failed("failures", Some("n"), Some("h"), Some(code))
    };
    let mut log = Log::new("failures");
    for failed in [
        vec![failure(1044, 5, 5, 1), failure(1045, 100, 200, 2)],
        vec![failure(1045, 50, 150, 3), failure(1045, 160, 250, 1)],
    ] {
        log.commit(
            store,
            Batch {
                failed,
                ..Batch::default()
            },
        );
    }
    assert_eq!(
        failures_of(store, "failures", None),
        [failure(1044, 5, 5, 1), failure(1045, 50, 250, 6)],
        "least first_seen, greatest last_seen, sum of attempts"
    );
}

/// Names that a store may be tempted to take for each other, or to change.
const NAMES: [&[u8]; 20] = [
    b"",
    b" ",
    b"\0",
    b"A",
    b"a",
    b"a ",
    b"a  ",
    b"a\0",
    b"a\0b",
    b"a\n",
    b"a'; DROP TABLE accounts; --",
    b"a\\",
    b"a\x80",
    b"a\xff",
    b"a\xcc\x88",
    b"\xc3\xa4",
    b"\xe2\x80\xae",
    b"\xf0\x9f\x90\xac",
    b"\xff\xfe",
    b"12",
];

fn names_come_back_byte_for_byte(store: &mut dyn Store) {
    let long = [&b"\xf0\x9f\x90\xac".repeat(128)[..], b"\xff"].concat();
    let mut names: Vec<&[u8]> = NAMES.to_vec();
    names.push(&long);
    names.sort_unstable();
    let mut log = Log::new("names");
    let pairs = || {
        names
            .iter()
            .flat_map(|name| names.iter().map(move |host| (*name, *host)))
    };
    // Twice, for what is merged must find its row.
    for _ in 0..2 {
        let batch = Batch {
            accounts: pairs()
                .map(|(name, host)| account("names", name, host))
                .collect(),
            failed: pairs()
                .map(|(name, host)| FailedConnect {
                    name: Some(Name::from(name)),
                    host: Some(Name::from(host)),
                    ..failed("names", None, None, Some(1045))
                })
                .collect(),
            quarantine: vec![Doubtful {
                from: Some(Name::from(&long[..])),
                why: "a reason".into(),
                file: "/a folder/é.log".into(),
                ..doubtful("names", &long, u64::from(u32::MAX) + 1)
            }],
            ..Batch::default()
        };
        log.commit(store, batch);
    }
    // Names that are not UTF-8 stand where the store keeps them.
    let mut accounts = accounts_of(store, "names");
    accounts.sort_by(|a, b| (&a.name, &a.host).cmp(&(&b.name, &b.host)));
    let found = accounts
        .iter()
        .map(|row| (&row.name.0[..], &row.host.0[..]));
    assert!(found.eq(pairs()), "accounts:\n{accounts:#?}");
    assert!(
        accounts.iter().all(|row| row.connects == 2),
        "{accounts:#?}"
    );
    let mut failures = failures_of(store, "names", None);
    failures.sort_by(|a, b| (&a.name, &a.host).cmp(&(&b.name, &b.host)));
    let found = failures.iter().map(|row| {
        let (name, host) = (row.name.as_ref(), row.host.as_ref());
        (&name.expect("a name").0[..], &host.expect("a host").0[..])
    });
    assert!(found.eq(pairs()), "failures:\n{failures:#?}");
    assert!(
        failures.iter().all(|row| row.attempts == 2),
        "{failures:#?}"
    );

    // So does the name of the server.
    for server in names.iter().filter(|name| !name.is_empty()) {
        let mut log = Log {
            server: Name::from(*server),
            ..Log::new(&format!("names of {}", Name::from(*server)))
        };
        let row = AccountUse {
            server: log.server.clone(),
            ..account("", b"n", b"h")
        };
        log.commit(
            store,
            Batch {
                accounts: vec![row.clone()],
                ..Batch::default()
            },
        );
        let filter = AccountFilter {
            server: Some(log.server.clone()),
            ..AccountFilter::default()
        };
        assert_eq!(list_accounts(store, &filter), [row]);
    }
}

fn rows_come_in_order(store: &mut dyn Store) {
    let mut log = Log::new("order");
    let other = || failed("order", None, Some("h"), None);
    let all = || failed("order", None, None, None);
    let expected = [
        failed("order", Some("a"), Some("h"), Some(1044)),
        failed("order", Some("a"), Some("h"), Some(1045)),
        failed("order", Some("a"), Some("i"), Some(1044)),
        failed("order", Some("b"), Some(""), Some(1044)),
        // Rows that stand for many.
        all(),
        other(),
    ];
    for row in expected.iter().rev() {
        log.commit(
            store,
            Batch {
                failed: vec![row.clone()],
                ..Batch::default()
            },
        );
    }
    assert_eq!(failures_of(store, "order", None), expected);
    let mut everything = Vec::new();
    store
        .failed_connects(None, &mut |row| {
            everything.push(row.name.is_none());
            Ok(())
        })
        .unwrap();
    assert!(everything.is_sorted(), "rows that stand for many come last");

    let servers: Vec<_> = list_accounts(store, &AccountFilter::default())
        .into_iter()
        .map(|row| [row.server, row.name, row.host])
        .filter(|names| {
            names
                .iter()
                .all(|name| std::str::from_utf8(&name.0).is_ok() && !name.0.contains(&0))
        })
        .collect();
    assert!(servers.is_sorted(), "{servers:#?}");
}

fn lists_are_filtered(store: &mut dyn Store) {
    let mut log = Log::new("filters");
    let used = |name: &str, active| AccountUse {
        last_active: time(active),
        ..account("filters", name.as_bytes(), b"h")
    };
    let failure = |name, last| FailedConnect {
        first_seen: UtcSeconds(1),
        last_seen: UtcSeconds(last),
        ..failed("filters", Some(name), Some("h"), Some(1045))
    };
    log.commit(
        store,
        Batch {
            accounts: vec![
                used("at", Some(1_000)),
                used("before", Some(999)),
                used("never", None),
            ],
            failed: vec![failure("at", 1_000), failure("before", 999)],
            ..Batch::default()
        },
    );
    let filter = AccountFilter {
        server: Some("filters".into()),
        not_active_since: Some(UtcSeconds(1_000)),
        ..AccountFilter::default()
    };
    assert_eq!(
        list_accounts(store, &filter),
        [used("before", Some(999)), used("never", None)],
        "not active since 1000"
    );
    assert_eq!(
        failures_of(store, "filters", Some(UtcSeconds(1_000))),
        [failure("at", 1_000)]
    );
}

/// The name and host of each row that the patterns pick.
fn picked(store: &mut dyn Store, server: &str, name: &[u8], host: &[u8]) -> Vec<[Name; 2]> {
    let pattern = |pattern| Some(Wildcard::parse(pattern).expect("a pattern"));
    let filter = AccountFilter {
        server: Some(server.into()),
        name: pattern(name),
        host: pattern(host),
        ..AccountFilter::default()
    };
    let rows = list_accounts(store, &filter).into_iter();
    rows.map(|row| [row.name, row.host]).collect()
}

fn accounts_are_picked_by_their_names(store: &mut dyn Store) {
    let long = "l".repeat(600);
    let names: [(&[u8], &[u8]); 8] = [
        (b"", b"h"),
        (b"App", b"10.0.0.1"),
        (b"app", b"10.0.0.1"),
        (b"app", b"10.0.0.2"),
        (b"app ", b"10.0.0.1"),
        (b"app_\xff", b"10.0.0.1"),
        (b"a%", b"10.0.0.1"),
        (long.as_bytes(), b"10.0.0.1"),
    ];
    let rows = names.map(|(name, host)| account("picked", name, host));
    let batch = Batch {
        accounts: rows.to_vec(),
        ..Batch::default()
    };
    Log::new("picked").commit(store, batch);
    let count =
        |store: &mut dyn Store, name: &[u8], host: &[u8]| picked(store, "picked", name, host).len();
    assert_eq!(
        count(store, b"app", b"*"),
        2,
        "byte for byte, without padding"
    );
    assert_eq!(count(store, b"app", b"10.0.0.2"), 1);
    assert_eq!(count(store, b"", b"*"), 1, "the anonymous account");
    assert_eq!(count(store, b"app*", b"*.1"), 3);
    assert_eq!(count(store, b"app_\\xff", b"*"), 1, "not UTF-8");
    assert_eq!(count(store, b"*\\xff", b"*"), 1, "not UTF-8");
    assert_eq!(
        count(store, b"a%", b"*"),
        1,
        "only a star stands for others"
    );
    assert_eq!(count(store, b"APP", b"*"), 0);
    assert_eq!(
        count(store, long.as_bytes(), b"*"),
        1,
        "kept cut short, perhaps"
    );
    assert_eq!(count(store, b"*", b"*"), names.len());
}

fn accounts_are_sorted(store: &mut dyn Store) {
    let used = |name: &str, host: &str, first, last, connects| AccountUse {
        first_seen: time(first),
        last_seen: time(last),
        last_active: time(last),
        connects,
        ..account("sorted", name.as_bytes(), host.as_bytes())
    };
    let rows = [
        used("a", "x", Some(30), Some(50), 9),
        used("a", "y", None, None, 100),
        used("B", "x", Some(10), Some(50), 9),
        used("ä", "w", Some(20), Some(40), 10),
    ];
    let batch = Batch {
        accounts: rows.to_vec(),
        ..Batch::default()
    };
    Log::new("sorted").commit(store, batch);
    for (by, expected) in [
        (SortBy::Server, ["B x", "a x", "a y", "ä w"]),
        (SortBy::Name, ["B x", "a x", "a y", "ä w"]),
        (SortBy::Host, ["ä w", "B x", "a x", "a y"]),
        // What is not known stands first; those that are equal, in the order of their names.
        (SortBy::FirstSeen, ["a y", "B x", "ä w", "a x"]),
        (SortBy::LastSeen, ["a y", "ä w", "B x", "a x"]),
        (SortBy::LastActive, ["a y", "ä w", "B x", "a x"]),
        (SortBy::Connects, ["B x", "a x", "ä w", "a y"]),
    ] {
        for reverse in [false, true] {
            let filter = AccountFilter {
                server: Some("sorted".into()),
                order: Order { by, reverse },
                ..AccountFilter::default()
            };
            let found = list_accounts(store, &filter).into_iter();
            let mut found: Vec<_> = found
                .map(|row| format!("{} {}", row.name, row.host))
                .collect();
            if reverse {
                found.reverse();
            }
            assert_eq!(found, expected, "{by:?}, reverse {reverse}");
        }
    }
}

fn judged_accounts_are_picked_and_sorted(store: &mut dyn Store) {
    let status = |user: &str, active| AccountStatus {
        last_active: time(active),
        connects: 1,
        clients: 1,
        ..judged(user, "10.%", "active")
    };
    for (server, at) in [("judged 1", 1_000), ("judged 2", 2_000)] {
        let judged = Status {
            server: server.into(),
            checked_at: UtcSeconds(at),
            accounts: vec![
                status("b", Some(at)),
                status("c", None),
                status("a", Some(at)),
            ],
            unexplained: Vec::new(),
        };
        store.keep_status(&judged).expect("it is kept");
    }
    let list = |store: &mut dyn Store, filter: &AccountFilter| {
        let mut rows = Vec::new();
        let listed = store.account_statuses(filter, &mut |row| {
            if let Some(number) = row.server.0.strip_prefix(b"judged ") {
                let number = String::from_utf8_lossy(number);
                assert_eq!(row.checked_at.0.to_string(), format!("{number}000"));
                rows.push(format!("{}{number}", row.status.user));
            }
            Ok(())
        });
        listed.expect("accounts");
        rows.join(" ")
    };
    for (by, reverse, expected) in [
        (SortBy::Server, false, "a1 b1 c1 a2 b2 c2"),
        (SortBy::Name, true, "c2 c1 b2 b1 a2 a1"),
        (SortBy::LastActive, false, "c1 c2 a1 b1 a2 b2"),
        // Nothing to sort by but names.
        (SortBy::FirstSeen, false, "a1 b1 c1 a2 b2 c2"),
    ] {
        let filter = AccountFilter {
            order: Order { by, reverse },
            ..AccountFilter::default()
        };
        assert_eq!(list(store, &filter), expected, "{by:?}");
    }
    let narrow = AccountFilter {
        server: Some("judged 2".into()),
        name: Some(Wildcard::parse(b"*").expect("a pattern")),
        host: Some(Wildcard::parse(b"10.%").expect("a pattern")),
        not_active_since: Some(UtcSeconds(2_000)),
        ..AccountFilter::default()
    };
    assert_eq!(list(store, &narrow), "c2");
}

fn failed_attempts_are_added_up(store: &mut dyn Store) {
    let row = |name: Option<&str>, code, attempts| FailedConnect {
        attempts,
        ..failed("attempts", name, Some("h"), code)
    };
    let mut log = Log::new("attempts");
    for _ in 0..2 {
        let batch = Batch {
            failed: vec![
                row(None, None, 7),
                row(Some("a"), Some(1045), 2),
                row(Some("b"), Some(1045), 3),
                row(Some("b"), Some(1698), 1),
            ],
            ..Batch::default()
        };
        log.commit(store, batch);
    }
    let found = store.failed_attempts(&"attempts".into()).expect("figures");
    assert_eq!(
        found,
        [(None, 14), (Some(1045), 10), (Some(1698), 2)],
        "by code"
    );
    assert_eq!(store.failed_attempts(&"none".into()).expect("none"), []);
}

fn an_error_of_the_reader_is_passed_on(store: &mut dyn Store) {
    let mut seen = 0;
    let result = store.accounts(&AccountFilter::default(), &mut |_| {
        seen += 1;
        Err(Error::Config("enough".into()))
    });
    assert!(matches!(result, Err(Error::Config(message)) if message == "enough"));
    assert_eq!(seen, 1, "rows after the error");
}

fn checkpoints_come_back(store: &mut dyn Store) {
    let mut log = Log::new("checkpoint");
    log.checkpoint = Checkpoint {
        server: Name::from(&b"db\xff"[..]),
        files: vec![FileMark {
            head: Digest::of(b"head"),
            first: Digest::of(b"head"),
            offset: u64::from(u32::MAX) * 8,
            tail: Digest::of(b"tail"),
            packed: Some(7),
            path: "/a folder/é\u{202e}.log".into(),
        }],
        serverhost: Some(Name::from(&b"db\0\xfe"[..])),
        clock: Some(UtcSeconds(-5)),
        ..Checkpoint::default()
    };
    for generation in 1..4 {
        log.commit(store, Batch::default());
        let stored = checkpoint_of(store, "checkpoint").expect("a checkpoint");
        assert_eq!(stored.generation, generation);
        let generation = log.checkpoint.generation;
        assert_eq!(
            Checkpoint {
                generation,
                ..stored
            },
            log.checkpoint
        );
    }
    let mut sources: Vec<_> = store.checkpoints().unwrap();
    let all = sources.len();
    sources.dedup_by(|a, b| a.0 == b.0);
    assert_eq!(sources.len(), all, "a source has two checkpoints");
}

fn whoever_comes_second_writes_nothing(one: &mut dyn Store, other: &mut dyn Store) {
    let batch = |name: &str| Batch {
        server: "race".into(),
        accounts: vec![account("race", name.as_bytes(), b"h")],
        failed: vec![failed("race", Some(name), Some("h"), Some(1045))],
        quarantine: vec![doubtful("race", name.as_bytes(), 1)],
        ..Batch::default()
    };
    let next = |host: &str| Checkpoint {
        server: "race".into(),
        serverhost: Some(host.into()),
        ..Checkpoint::default()
    };
    let names = |store: &mut dyn Store| {
        let accounts = accounts_of(store, "race").into_iter().map(|row| row.name);
        let accounts: Vec<_> = accounts.collect();
        let failures = failures_of(store, "race", None).into_iter();
        let failures: Vec<_> = failures.filter_map(|row| row.name).collect();
        assert_eq!(failures, accounts, "a commit was torn");
        let doubts: Vec<_> = doubts_of(store, "race")
            .into_iter()
            .map(|row| row.name)
            .collect();
        assert_eq!(doubts, accounts, "a commit was torn");
        accounts
    };
    // Both began when there was none.
    let first = one.commit("race", None, &next("one"), &batch("1")).unwrap();
    assert_eq!(first, Commit::Done);
    let second = other
        .commit("race", None, &next("two"), &batch("2"))
        .unwrap();
    assert_eq!(second, Commit::Overtaken);
    assert_eq!(names(other), ["1".into()]);
    // Both began from the same.
    let base = checkpoint_of(other, "race").expect("a checkpoint");
    let second = other.commit("race", Some(&base), &next("two"), &batch("2"));
    assert_eq!(second.unwrap(), Commit::Done);
    for stale in [Some(&base), None] {
        let first = one
            .commit("race", stale, &next("one"), &batch("3"))
            .unwrap();
        assert_eq!(first, Commit::Overtaken);
    }
    assert_eq!(names(one), ["1".into(), "2".into()]);
    let stored = checkpoint_of(one, "race").expect("a checkpoint");
    assert_eq!(stored.serverhost, Some("two".into()));
    // A checkpoint that another run has taken away.
    let lost = one.commit("race that was lost", Some(&base), &next("one"), &batch("4"));
    assert_eq!(lost.unwrap(), Commit::Overtaken);
    assert_eq!(checkpoint_of(one, "race that was lost"), None);
    assert_eq!(names(other), ["1".into(), "2".into()]);
}

fn doubts_are_kept_and_withdrawn(store: &mut dyn Store) {
    let mut log = Log::new("doubt");
    let doubts = [
        Doubtful {
            time: time(Some(1_000)),
            from: Some("192.0.2.66".into()),
            ..doubtful("doubt", b"a", 10)
        },
        doubtful("doubt", b"a", 20),
        Doubtful {
            time: time(Some(500)),
            ..doubtful("doubt", b"b\xff", 20)
        },
    ];
    log.commit(
        store,
        Batch {
            quarantine: doubts.to_vec(),
            ..Batch::default()
        },
    );
    assert_eq!(doubts_of(store, "doubt"), doubts, "in the order of reading");
    let mut recent = Vec::new();
    store
        .quarantine(Some(UtcSeconds(1_000)), &mut |row| {
            recent.extend((row.server == "doubt".into()).then_some(row));
            Ok(())
        })
        .unwrap();
    assert_eq!(recent, doubts[..2], "not older, or of an unknown time");

    let withdrawn = |doubtful: &Doubtful| Withdrawn {
        name: doubtful.name.clone(),
        host: doubtful.host.clone(),
        connectionid: doubtful.connectionid,
        offset: doubtful.offset,
    };
    let again = doubtful("doubt", b"b\xff", 20);
    log.commit(
        store,
        Batch {
            withdrawn: vec![withdrawn(&doubts[1]), withdrawn(&doubts[2])],
            // Applied after: what is put in now stays.
            quarantine: vec![again.clone()],
            ..Batch::default()
        },
    );
    assert_eq!(doubts_of(store, "doubt"), [doubts[0].clone(), again]);
}

fn failures_beyond_the_cap_are_folded(store: &mut dyn Store) {
    let mut log = Log::new("flood");
    let names: Vec<_> = (0..MAX_FAILED_CONNECTS + 3)
        .map(|n| failed("flood", Some(&format!("{n:06}")), Some("h"), Some(1045)))
        .collect();
    let hosts: Vec<_> = (0..MAX_FAILED_CONNECTS + 5)
        .map(|n| failed("flood", Some("x"), Some(&format!("h{n:06}")), Some(1045)))
        .collect();
    for failed in [&names, &hosts, &names[..10].to_vec()] {
        log.commit(
            store,
            Batch {
                failed: failed.clone(),
                ..Batch::default()
            },
        );
    }
    let rows = failures_of(store, "flood", None);
    assert!(
        rows.len() <= 2 * MAX_FAILED_CONNECTS + 1,
        "{} rows",
        rows.len()
    );
    let attempts: u64 = rows.iter().map(|row| row.attempts).sum();
    let all = names.len() + hosts.len() + 10;
    assert_eq!(attempts, all as u64, "attempts");
    let count = |name: Option<&str>, host: Option<&str>| {
        rows.iter()
            .find(|row| row.name == name.map(Name::from) && row.host == host.map(Name::from))
            .map(|row| (row.code, row.attempts))
    };
    assert_eq!(count(Some("000000"), Some("h")), Some((Some(1045), 2)));
    assert_eq!(count(None, Some("h")), Some((None, 3)), "other names of h");
    assert_eq!(count(None, Some("h000000")), Some((None, 1)));
    let folded = rows.iter().filter(|row| row.name.is_none()).count();
    assert!(folded > 1, "nothing is folded by host");
    let (_, of_all) = count(None, None).expect("a row for all hosts");
    assert!(of_all >= 5, "{of_all} attempts of all other hosts");
    // The cap of one server is not another's.
    let mut log = Log::new("calm");
    let calm = failed("calm", Some("n"), Some("h"), Some(1045));
    log.commit(
        store,
        Batch {
            failed: vec![calm.clone()],
            ..Batch::default()
        },
    );
    assert_eq!(failures_of(store, "calm", None), [calm]);
}

fn the_newest_doubts_stay(store: &mut dyn Store) {
    let mut log = Log::new("doubts");
    let row = |n: usize| doubtful("doubts", b"n", n as u64);
    for from in [0, MAX_QUARANTINE] {
        log.commit(
            store,
            Batch {
                quarantine: (from..from + MAX_QUARANTINE / 2 + 3).map(row).collect(),
                ..Batch::default()
            },
        );
    }
    let kept: Vec<_> = doubts_of(store, "doubts")
        .iter()
        .map(|row| row.offset)
        .collect();
    assert_eq!(kept.len(), MAX_QUARANTINE, "rows of the quarantine");
    assert_eq!(kept.first(), Some(&6), "the oldest row");
    let newest = MAX_QUARANTINE + MAX_QUARANTINE / 2 + 2;
    assert_eq!(kept.last(), Some(&(newest as u64)), "the newest row");
}

fn coverage_is_lengthened_up_to_a_gap(store: &mut dyn Store) {
    let span = |from, to, gap: Option<&str>| Coverage {
        from: UtcSeconds(from),
        to: UtcSeconds(to),
        gap: gap.map(Into::into),
    };
    let mut log = Log::new("covered");
    for coverage in [
        vec![span(100, 200, None)],
        vec![span(190, 300, None), span(400, 500, Some("a reason"))],
        vec![span(500, 600, None)],
    ] {
        log.commit(
            store,
            Batch {
                coverage,
                ..Batch::default()
            },
        );
    }
    // Another log of the same server has spans of its own.
    let mut other = Log {
        server: "covered".into(),
        ..Log::new("covered elsewhere")
    };
    other.commit(
        store,
        Batch {
            coverage: vec![span(150, 450, None)],
            ..Batch::default()
        },
    );
    assert_eq!(
        store.coverage(&"covered".into()).expect("coverage"),
        [
            span(100, 300, None),
            span(400, 600, Some("a reason")),
            span(150, 450, None)
        ]
    );
    assert_eq!(store.coverage(&"uncovered".into()).expect("coverage"), []);
}

fn proxied_accounts_are_merged(store: &mut dyn Store) {
    let proxied = |account: &str, first, last, connects| ProxiedAccount {
        server: "proxies".into(),
        account: account.into(),
        first_seen: UtcSeconds(first),
        last_seen: UtcSeconds(last),
        connects,
    };
    let mut log = Log::new("proxies");
    for used in [
        proxied("`dba`@`%`", 100, 200, 2),
        proxied("`dba`@`%`", 50, 300, 1),
        proxied("`dba`@`10.%`", 60, 70, 1),
    ] {
        log.commit(
            store,
            Batch {
                proxied: vec![used],
                ..Batch::default()
            },
        );
    }
    let mut found = store.proxied_accounts(&"proxies".into()).expect("accounts");
    found.sort_by(|a, b| a.account.cmp(&b.account));
    assert_eq!(
        found,
        [
            proxied("`dba`@`%`", 50, 300, 3),
            proxied("`dba`@`10.%`", 60, 70, 1)
        ]
    );
}

fn a_status_takes_the_place_of_the_last_one(store: &mut dyn Store) {
    let account = |user: &[u8], state: &str| AccountStatus {
        last_seen: time(Some(100)),
        connects: 3,
        clients: 2,
        exact: user.is_empty(),
        known_since: time(Some(50)),
        ..judged(user, "10.%", state)
    };
    let status = |server: &str, accounts| Status {
        server: server.into(),
        checked_at: UtcSeconds(1_000),
        accounts,
        unexplained: vec![UnexplainedLogin {
            name: "gone".into(),
            host: "10.0.0.1".into(),
            last_seen: time(Some(1)),
            last_active: time(Some(2)),
            connects: 1,
            accounts: String::new(),
        }],
    };
    let many: Vec<_> = (0..1_203)
        .map(|n| account(format!("u{n:05}").as_bytes(), "active"))
        .collect();
    let mine = vec![account(b"", "unused"), account(b"a\xff ", "never_used")];
    for (server, accounts) in [
        ("judged", &many),
        ("also judged", &mine),
        ("judged", &mine),
        ("judged", &mine),
    ] {
        let status = status(server, accounts.clone());
        store.keep_status(&status).expect("it is kept");
        let found = store.account_status(&server.into()).expect("the status");
        let (checked_at, mut found) = found.expect("a status");
        assert_eq!(checked_at, UtcSeconds(1_000), "{server}");
        found.sort_by(|a, b| a.user.cmp(&b.user));
        assert_eq!(found, *accounts, "{server}");
    }
    assert_eq!(
        store.account_status(&"unjudged".into()).expect("none"),
        None
    );
}

fn what_a_check_remembers_is_each_servers_own(store: &mut dyn Store) {
    let long = format!("{{\"long\": \"{}\"}}", "ü".repeat(100_000));
    for (server, memory) in [
        ("remembered", "{}"),
        ("also remembered", "{\"a\": 1}"),
        ("remembered", &*long),
        ("remembered", "{\"b\": 2}"),
    ] {
        let name = Name::from(server);
        store
            .keep_memory(&name, UtcSeconds(1_000), memory)
            .expect("it is kept");
        let kept = store.check_memory(&name).expect("what was kept");
        assert_eq!(kept.as_deref(), Some(memory), "{server}");
    }
    let other = store.check_memory(&"also remembered".into());
    assert_eq!(other.expect("what was kept").as_deref(), Some("{\"a\": 1}"));
    assert_eq!(store.check_memory(&"forgotten".into()).expect("none"), None);
}

/// What one log brings into a store, commit by commit.
struct Log {
    source: String,
    server: Name,
    checkpoint: Checkpoint,
}

impl Log {
    fn new(name: &str) -> Self {
        Self {
            source: name.into(),
            server: name.into(),
            checkpoint: Checkpoint::default(),
        }
    }

    #[track_caller]
    fn commit(&mut self, store: &mut dyn Store, batch: Batch) {
        let base = checkpoint_of(store, &self.source);
        let batch = Batch {
            server: self.server.clone(),
            ..batch
        };
        let done = store.commit(&self.source, base.as_ref(), &self.checkpoint, &batch);
        assert_eq!(done.unwrap(), Commit::Done, "{}", store.describe());
    }
}

fn checkpoint_of(store: &mut dyn Store, source: &str) -> Option<Checkpoint> {
    let all = store.checkpoints().expect("checkpoints");
    let found = all.into_iter().find(|(name, _)| name == source);
    found.map(|(_, checkpoint)| checkpoint)
}

fn list_accounts(store: &mut dyn Store, filter: &AccountFilter) -> Vec<AccountUse> {
    let mut rows = Vec::new();
    let result = store.accounts(filter, &mut |row| {
        rows.push(row);
        Ok(())
    });
    result.expect("accounts");
    rows
}

fn accounts_of(store: &mut dyn Store, server: &str) -> Vec<AccountUse> {
    let filter = AccountFilter {
        server: Some(server.into()),
        ..AccountFilter::default()
    };
    list_accounts(store, &filter)
}

fn failures_of(
    store: &mut dyn Store,
    server: &str,
    since: Option<UtcSeconds>,
) -> Vec<FailedConnect> {
    let mut rows = Vec::new();
    let result = store.failed_connects(since, &mut |row| {
        rows.extend((row.server == server.into()).then_some(row));
        Ok(())
    });
    result.expect("failures");
    rows
}

fn doubts_of(store: &mut dyn Store, server: &str) -> Vec<Doubtful> {
    let mut rows = Vec::new();
    let result = store.quarantine(None, &mut |row| {
        rows.extend((row.server == server.into()).then_some(row));
        Ok(())
    });
    result.expect("the quarantine");
    rows
}

fn time(seconds: Option<i64>) -> Option<UtcSeconds> {
    seconds.map(UtcSeconds)
}

fn account(server: &str, name: &[u8], host: &[u8]) -> AccountUse {
    AccountUse {
        server: server.into(),
        name: Name::from(name),
        host: Name::from(host),
        first_seen: None,
        last_seen: None,
        last_active: None,
        connects: 1,
    }
}

fn failed(
    server: &str,
    name: Option<&str>,
    host: Option<&str>,
    code: Option<u32>,
) -> FailedConnect {
    FailedConnect {
        server: server.into(),
        name: name.map(Name::from),
        host: host.map(Name::from),
        code,
        first_seen: UtcSeconds(100),
        last_seen: UtcSeconds(200),
        attempts: 1,
    }
}

fn doubtful(server: &str, name: &[u8], offset: u64) -> Doubtful {
    Doubtful {
        server: server.into(),
        name: Name::from(name),
        host: "localhost".into(),
        time: None,
        connectionid: 99,
        why: "no reason".into(),
        from: None,
        file: "server_audit.log".into(),
        offset,
    }
}
