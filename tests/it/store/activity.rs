//! The part of the contract that is about `activity`: what is merged, folded and dropped, and when.

use conntracker::checkpoint::Checkpoint;
use conntracker::name::Name;
use conntracker::store::activity::{DAY, HOUR};
use conntracker::store::{Activity, ActivityFilter, Batch, Commit, Retention, Rhythm, Slot, Store};
use conntracker::time::{Span, UtcSeconds};

use super::{Log, NAMES, account, checkpoint_of};

/// A Monday, 00:00 UTC.
const MONDAY: i64 = 1_772_409_600;

/// `set_back` moves the rows of the server `set back` by 1,000 days into the future.
pub(super) fn contract(store: &mut dyn Store, other: &mut dyn Store, set_back: &dyn Fn()) {
    counts_are_merged(store);
    hours_become_days_and_days_go(store);
    a_late_record_goes_to_its_day(store);
    names_that_never_came_in_are_counted_together(store);
    names_come_back_byte_for_byte(store);
    rows_are_bounded(store);
    a_clock_that_is_wrong_takes_no_rows_along(store);
    a_clock_that_was_set_back_takes_no_rows_along(store, set_back);
    whoever_comes_second_adds_nothing(store, other);
    rows_are_filtered_and_in_order(store);
}

fn hour(day: i64, hour: i64, logins: u64, failures: u64) -> Slot {
    let at = UtcSeconds(MONDAY + day * DAY + hour * HOUR);
    Slot {
        logins,
        failures,
        login_hours: if logins > 0 { Slot::bit_of(at) } else { 0 },
        ..Slot::hour_of(at)
    }
}

fn day(day: i64, logins: u64, failures: u64, login_hours: u32) -> Slot {
    Slot {
        logins,
        failures,
        login_hours,
        ..Slot::day_of(UtcSeconds(MONDAY + day * DAY))
    }
}

fn of(name: &str, slots: &[Slot]) -> Rhythm {
    Rhythm {
        name: Some(name.into()),
        slots: slots.to_vec(),
    }
}

fn row(name: &str, slot: Slot) -> Activity {
    Activity {
        name: Some(name.into()),
        slot,
    }
}

fn others(slot: Slot) -> Activity {
    Activity { name: None, slot }
}

fn short() -> Retention {
    Retention {
        hours: Span(2 * DAY),
        days: Span(10 * DAY),
        rows: 1_000,
    }
}

fn add(log: &mut Log, store: &mut dyn Store, rhythm: Vec<Rhythm>) {
    let batch = Batch {
        rhythm,
        retention: short(),
        ..Batch::default()
    };
    log.commit(store, batch);
}

fn list(store: &mut dyn Store, filter: &ActivityFilter) -> Vec<Activity> {
    let mut rows = Vec::new();
    let result = store.activity(filter, &mut |row| {
        rows.push(row);
        Ok(())
    });
    result.expect("activity");
    rows
}

fn activity_of(store: &mut dyn Store, server: &str) -> Vec<Activity> {
    let filter = ActivityFilter {
        server: server.into(),
        ..ActivityFilter::default()
    };
    list(store, &filter)
}

fn counts_are_merged(store: &mut dyn Store) {
    let mut log = Log::new("rhythm");
    // A change of user is an authentication, but no login.
    let changed = Slot {
        login_hours: 1 << 9,
        ..hour(0, 9, 0, 0)
    };
    add(&mut log, store, vec![of("a", &[hour(0, 8, 2, 0), changed])]);
    add(
        &mut log,
        store,
        vec![
            of("a", &[hour(0, 8, 3, 1), hour(0, 9, 0, 0)]),
            of("b", &[hour(0, 8, 1, 0)]),
        ],
    );
    assert_eq!(
        activity_of(store, "rhythm"),
        [
            row("a", hour(0, 8, 5, 1)),
            row("b", hour(0, 8, 1, 0)),
            row("a", changed)
        ],
        "sums of counts, each bit of the hours"
    );
}

fn hours_become_days_and_days_go(store: &mut dyn Store) {
    let mut log = Log::new("folded");
    let monday = [hour(0, 0, 2, 0), hour(0, 1, 3, 4), hour(0, 23, 1, 0)];
    add(
        &mut log,
        store,
        vec![of("a", &monday), of("b", &monday[..1])],
    );
    // The last hour in which Monday is not yet over for two days.
    add(&mut log, store, vec![of("a", &[hour(2, 23, 1, 0)])]);
    assert_eq!(activity_of(store, "folded").len(), 5, "hours");
    add(&mut log, store, vec![of("a", &[hour(3, 0, 1, 0)])]);
    let folded = || {
        vec![
            row("a", day(0, 6, 4, 1 | 2 | 1 << 23)),
            row("b", day(0, 2, 0, 1)),
        ]
    };
    let newest = [row("a", hour(2, 23, 1, 0)), row("a", hour(3, 0, 1, 0))];
    assert_eq!(
        activity_of(store, "folded"),
        [folded(), newest.to_vec()].concat()
    );
    // Ten days are kept.
    add(&mut log, store, vec![of("a", &[hour(10, 23, 1, 0)])]);
    let kept = [
        folded(),
        vec![
            row("a", day(2, 1, 0, 1 << 23)),
            row("a", day(3, 1, 0, 1)),
            row("a", hour(10, 23, 1, 0)),
        ],
    ];
    assert_eq!(activity_of(store, "folded"), kept.concat());
    add(&mut log, store, vec![of("b", &[hour(11, 0, 1, 0)])]);
    assert_eq!(
        activity_of(store, "folded")[0],
        row("a", day(2, 1, 0, 1 << 23))
    );
    // What is older than that does not come back.
    add(&mut log, store, vec![of("a", &monday)]);
    assert_eq!(
        activity_of(store, "folded")[0],
        row("a", day(2, 1, 0, 1 << 23))
    );
}

fn a_late_record_goes_to_its_day(store: &mut dyn Store) {
    let mut log = Log::new("late");
    add(
        &mut log,
        store,
        vec![of("a", &[hour(0, 5, 1, 0), hour(3, 0, 1, 0)])],
    );
    // Another log of the same server is read later.
    let mut other = Log {
        server: "late".into(),
        ..Log::new("late elsewhere")
    };
    add(
        &mut other,
        store,
        vec![of(
            "a",
            &[hour(0, 5, 2, 0), hour(0, 6, 1, 1), hour(2, 7, 1, 0)],
        )],
    );
    // A batch that knows that it is old brings days, even of a day that has hours yet.
    add(&mut other, store, vec![of("a", &[day(2, 5, 0, 1)])]);
    let before = [
        row("a", day(0, 4, 1, 1 << 5 | 1 << 6)),
        row("a", day(2, 5, 0, 1)),
        row("a", hour(2, 7, 1, 0)),
        row("a", hour(3, 0, 1, 0)),
    ];
    assert_eq!(activity_of(store, "late"), before);
    add(&mut other, store, vec![of("a", &[hour(5, 0, 1, 0)])]);
    assert_eq!(
        activity_of(store, "late")[1],
        row("a", day(2, 6, 0, 1 | 1 << 7)),
        "both kinds of rows of a day add up"
    );
}

fn names_that_never_came_in_are_counted_together(store: &mut dyn Store) {
    let mut log = Log::new("guesses");
    let known = account("guesses", b"known", b"h");
    let nameless = account("guesses", b"", b"h");
    log.commit(
        store,
        Batch {
            accounts: vec![nameless, known],
            rhythm: vec![
                of("known", &[hour(0, 1, 0, 1)]),
                of("", &[hour(0, 1, 0, 10)]),
                of("unknown", &[hour(0, 1, 0, 100)]),
                of("Known", &[hour(0, 1, 0, 1_000)]),
                Rhythm {
                    name: None,
                    slots: vec![hour(0, 1, 0, 10_000)],
                },
            ],
            ..Batch::default()
        },
    );
    let many = (0..1_203).map(|n| of(&format!("guess {n:04}"), &[hour(0, 1, 0, 1)]));
    add(
        &mut log,
        store,
        many.chain([of("known", &[hour(0, 1, 0, 1)])]).collect(),
    );
    assert_eq!(
        activity_of(store, "guesses"),
        [
            row("", hour(0, 1, 0, 10)),
            row("known", hour(0, 1, 0, 2)),
            others(hour(0, 1, 0, 12_303))
        ]
    );
    // They fold, too, and are not taken for the user without a name.
    add(&mut log, store, vec![of("known", &[hour(3, 0, 1, 0)])]);
    assert_eq!(
        activity_of(store, "guesses")[..3],
        [
            row("", day(0, 0, 10, 0)),
            row("known", day(0, 0, 2, 0)),
            others(day(0, 0, 12_303, 0))
        ]
    );
}

fn names_come_back_byte_for_byte(store: &mut dyn Store) {
    let mut log = Log::new("rhythm of names");
    let rhythm = |slot: Slot| {
        let of = |name: &&[u8]| Rhythm {
            name: Some(Name::from(*name)),
            slots: vec![slot],
        };
        NAMES.iter().map(of).collect::<Vec<_>>()
    };
    add(&mut log, store, rhythm(hour(0, 1, 1, 0)));
    add(&mut log, store, rhythm(hour(0, 2, 1, 0)));
    // Their accounts have rows now, so that failures find them.
    log.commit(
        store,
        Batch {
            accounts: NAMES
                .iter()
                .map(|name| account("rhythm of names", name, b"h"))
                .collect(),
            ..Batch::default()
        },
    );
    add(&mut log, store, rhythm(hour(0, 2, 0, 1)));
    for folded in [false, true] {
        let all = activity_of(store, "rhythm of names");
        for name in NAMES {
            let of_name = Some(Name::from(name));
            let found = all.iter().filter(|row| row.name == of_name);
            let slots: Vec<_> = found.map(|row| row.slot).collect();
            match folded {
                false => assert_eq!(slots, [hour(0, 1, 1, 0), hour(0, 2, 1, 1)], "{name:?}"),
                true => assert_eq!(slots, [day(0, 2, 1, 2 | 4)], "{name:?}"),
            }
        }
        add(
            &mut log,
            store,
            vec![of("somebody else", &[hour(3, 0, 1, 0)])],
        );
    }
}

fn rows_are_bounded(store: &mut dyn Store) {
    let mut log = Log::new("bounded");
    let names: Vec<_> = (0..30).map(|n| format!("n{n:02}")).collect();
    let retention = Retention {
        hours: Span(100 * DAY),
        days: Span(1_000 * DAY),
        rows: 1_000,
    };
    let mut logins = 0;
    for at in 0..30 {
        let slots: Vec<_> = (0..24).map(|n| hour(at, n, 1, 0)).collect();
        logins += 30 * 24;
        log.commit(
            store,
            Batch {
                rhythm: names.iter().map(|name| of(name, &slots)).collect(),
                retention,
                ..Batch::default()
            },
        );
        let rows = activity_of(store, "bounded");
        assert!(rows.len() <= 1_000, "{} rows after day {at}", rows.len());
        let hours = rows.iter().filter(|row| row.slot.hours == 1).count();
        assert_eq!(hours, 30 * 24, "hours of the newest day, day {at}");
        let counted: u64 = rows.iter().map(|row| row.slot.logins).sum();
        // 720 rows are hours, nine days fit beside them.
        assert_eq!(counted, logins.min(10 * 30 * 24), "logins, day {at}");
    }
    // Where one day is too much, it is folded as well.
    log.commit(
        store,
        Batch {
            rhythm: vec![of("n00", &[hour(30, 0, 1, 0)])],
            retention: Retention {
                rows: 10,
                ..retention
            },
            ..Batch::default()
        },
    );
    assert_eq!(
        activity_of(store, "bounded"),
        [row("n00", hour(30, 0, 1, 0))]
    );
}

fn a_clock_that_is_wrong_takes_no_rows_along(store: &mut dyn Store) {
    let mut log = Log::new("clocks");
    let at = |seconds: i64| Slot {
        logins: 1,
        login_hours: Slot::bit_of(UtcSeconds(seconds)),
        ..Slot::hour_of(UtcSeconds(seconds))
    };
    let now = UtcSeconds::now().0;
    let today = at(now);
    add(&mut log, store, vec![of("a", &[today])]);
    for wrong in [now + 3 * DAY, 0, -DAY, i64::MAX / 2, i64::MIN / 2] {
        add(&mut log, store, vec![of("a", &[at(wrong)])]);
        assert_eq!(activity_of(store, "clocks"), [row("a", today)], "{wrong}");
    }
}

fn a_clock_that_was_set_back_takes_no_rows_along(store: &mut dyn Store, set_back: &dyn Fn()) {
    let mut log = Log::new("set back");
    let later = 1_000 * DAY;
    let today = Slot::day_of(UtcSeconds::now()).start;
    let at = |seconds: i64| {
        let at = UtcSeconds(today.0 + seconds);
        let slot = Slot {
            logins: 1,
            login_hours: Slot::bit_of(at),
            ..Slot::hour_of(at)
        };
        row("a", slot)
    };
    let of = |seconds: i64| of("a", &[at(seconds).slot]);
    add(&mut log, store, vec![of(-DAY), of(0)]);
    // They are of a clock that was right, this one is not.
    set_back();
    let stored = [at(later - DAY), at(later)];
    assert_eq!(activity_of(store, "set back"), stored);
    add(&mut log, store, vec![of(-DAY), of(-HOUR)]);
    let before = vec![at(-DAY), at(-HOUR)];
    let all = [before, stored.to_vec()].concat();
    assert_eq!(
        activity_of(store, "set back"),
        all,
        "hours, and all of them"
    );
    // Nor do they count among those that may be too many.
    let batch = Batch {
        rhythm: vec![of(0)],
        retention: Retention { rows: 3, ..short() },
        ..Batch::default()
    };
    log.commit(store, batch);
    let all = [vec![at(-DAY), at(-HOUR), at(0)], stored.to_vec()].concat();
    assert_eq!(activity_of(store, "set back"), all);
}

fn whoever_comes_second_adds_nothing(one: &mut dyn Store, other: &mut dyn Store) {
    let batch = Batch {
        server: "rhythm race".into(),
        rhythm: vec![of("a", &[hour(0, 1, 1, 0)])],
        retention: short(),
        ..Batch::default()
    };
    let next = Checkpoint::default();
    let commit = |store: &mut dyn Store, base: Option<&Checkpoint>, batch: &Batch| {
        store
            .commit("rhythm race", base, &next, batch)
            .expect("an answer")
    };
    assert_eq!(commit(one, None, &batch), Commit::Done);
    assert_eq!(commit(other, None, &batch), Commit::Overtaken);
    let base = checkpoint_of(other, "rhythm race");
    assert_eq!(commit(other, base.as_ref(), &batch), Commit::Done);
    // Nor does it fold.
    let later = Batch {
        rhythm: vec![of("a", &[hour(9, 0, 1, 0)])],
        ..batch
    };
    assert_eq!(commit(one, base.as_ref(), &later), Commit::Overtaken);
    assert_eq!(
        activity_of(one, "rhythm race"),
        [row("a", hour(0, 1, 2, 0))]
    );
}

fn rows_are_filtered_and_in_order(store: &mut dyn Store) {
    let mut log = Log::new("listed");
    let rhythm = vec![
        of("b", &[day(-2, 1, 0, 1), hour(0, 1, 1, 0), hour(0, 2, 1, 0)]),
        Rhythm {
            name: None,
            slots: vec![hour(0, 1, 0, 1)],
        },
        of("a", &[hour(0, 2, 1, 0), day(-1, 1, 0, 1)]),
    ];
    add(&mut log, store, rhythm);
    let all = [
        row("b", day(-2, 1, 0, 1)),
        row("a", day(-1, 1, 0, 1)),
        row("b", hour(0, 1, 1, 0)),
        others(hour(0, 1, 0, 1)),
        row("a", hour(0, 2, 1, 0)),
        row("b", hour(0, 2, 1, 0)),
    ];
    assert_eq!(activity_of(store, "listed"), all);
    let mut since = |seconds| {
        let filter = ActivityFilter {
            server: "listed".into(),
            since: Some(UtcSeconds(MONDAY + seconds)),
        };
        list(store, &filter)
    };
    assert_eq!(since(-DAY - 1), all, "a day that has not ended then");
    assert_eq!(since(-DAY), all[1..], "not one that has");
    assert_eq!(since(2 * HOUR - 1), all[2..]);
    assert_eq!(since(2 * HOUR), all[4..]);
    assert_eq!(activity_of(store, "not listed"), []);
}
