//! Rhythms of many kinds, honest and not, over weeks and over a year.

use std::collections::BTreeMap;

use chrono::{Datelike, TimeZone, Timelike, Weekday};
use chrono_tz::Europe::Zurich;

use super::*;
use crate::store::Coverage;

fn zone() -> Zone {
    Zone::parse(Zurich.name()).unwrap()
}

/// The time by the clock in Zurich.
fn local(month: u32, day: u32, hour: u32) -> UtcSeconds {
    let time = Zurich.with_ymd_and_hms(2026, month, day, hour, 10, 0);
    UtcSeconds(time.earliest().expect("a time").timestamp())
}

/// Logins and failures of one account, by the hour.
#[derive(Clone, Default)]
struct Life(BTreeMap<UtcSeconds, Slot>);

impl Life {
    /// From `from` to `until`, an hour at a time: how many logins `logins` says.
    fn of(from: UtcSeconds, until: UtcSeconds, mut logins: impl FnMut(&Moment) -> u64) -> Self {
        let mut life = Self::default();
        for at in (from.0..until.0).step_by(HOUR as usize).map(UtcSeconds) {
            life.add(at, logins(&Moment::of(at)));
        }
        life
    }

    fn slot(&mut self, at: UtcSeconds) -> &mut Slot {
        let slot = Slot::hour_of(at);
        self.0.entry(slot.start).or_insert(slot)
    }

    fn add(&mut self, at: UtcSeconds, logins: u64) {
        if logins > 0 {
            let slot = self.slot(at);
            slot.logins += logins;
            slot.login_hours |= Slot::bit_of(at);
        }
    }

    fn with(mut self, at: UtcSeconds, logins: u64) -> Self {
        self.add(at, logins);
        self
    }

    /// As a store hands them out at `now`: what is older than 35 days by the day.
    fn rows(&self, since: UtcSeconds, now: UtcSeconds) -> Vec<Activity> {
        let mut days: BTreeMap<UtcSeconds, Slot> = BTreeMap::new();
        let mut hours = Vec::new();
        let fold = Slot::day_of(UtcSeconds(now.0 - 35 * DAY)).start;
        let from = Slot::day_of(since).start;
        for slot in self.0.range(from..=now).map(|(_, slot)| slot) {
            if slot.start < fold {
                let day = Slot::day_of(slot.start);
                days.entry(day.start).or_insert(day).add(slot);
            } else {
                hours.push(*slot);
            }
        }
        let rows = days.into_values().chain(hours);
        let rows = rows.filter(|slot| slot.end() > since);
        let name = Some(Name::from("app"));
        rows.map(|slot| Activity {
            name: name.clone(),
            slot,
        })
        .collect()
    }
}

/// A time as somebody in Zurich sees it.
struct Moment {
    month: u32,
    day: u32,
    weekday: Weekday,
    hour: u32,
    utc: u32,
}

impl Moment {
    fn of(at: UtcSeconds) -> Self {
        let local = zone().at(at);
        Self {
            month: local.month(),
            day: local.day(),
            weekday: local.weekday(),
            hour: local.hour(),
            utc: (at.0.rem_euclid(DAY) / HOUR) as u32,
        }
    }

    fn is_working_day(&self) -> bool {
        !matches!(self.weekday, Weekday::Sat | Weekday::Sun)
    }
}

/// A check that knows the log up to `newest`, the last one up to `read`.
fn check(
    life: &Life,
    read: Option<UtcSeconds>,
    newest: UtcSeconds,
    covered: &Covered,
    told: &[Told],
) -> (Outcome, Vec<Told>) {
    // Some of these logs are said to reach to the end of the year.
    let now = covered.span.map_or(newest, |(_, last)| last.max(newest));
    check_at(now, life, (read, newest), covered, told)
}

/// The same, at `now`.
fn check_at(
    now: UtcSeconds,
    life: &Life,
    (read, newest): (Option<UtcSeconds>, UtcSeconds),
    covered: &Covered,
    told: &[Told],
) -> (Outcome, Vec<Told>) {
    let mut rhythm = Rhythm::new(zone(), read, newest, now, Retention::default());
    for row in life.rows(rhythm.judged_from(), newest) {
        rhythm.judge(row);
    }
    if let Some(since) = rhythm.learned_from() {
        for row in life.rows(since, newest) {
            rhythm.learn(&row);
        }
    }
    let mut outcome = Outcome::default();
    let told = rhythm.check(covered, told, &mut outcome);
    (outcome, told)
}

fn all_covered() -> Covered {
    covered(&[(local(1, 1, 0), local(12, 31, 23))])
}

fn covered(spans: &[(UtcSeconds, UtcSeconds)]) -> Covered {
    let span = |(at, (from, to)): (usize, &(UtcSeconds, UtcSeconds))| Coverage {
        from: *from,
        to: *to,
        gap: (at > 0).then(|| "lost".into()),
    };
    Covered::of(spans.iter().enumerate().map(span).collect())
}

fn found(outcome: &Outcome) -> Vec<&'static str> {
    outcome.findings.iter().map(|one| one.check.id).collect()
}

/// A small generator: the same year each time.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Every night at two.
fn nightly(at: &Moment) -> u64 {
    u64::from(at.hour == 2)
}

/// Monday to Friday, from eight to six.
fn office(at: &Moment) -> u64 {
    10 * u64::from(at.is_working_day() && (8..18).contains(&at.hour))
}

fn always(_: &Moment) -> u64 {
    40
}

#[test]
fn a_login_out_of_the_rhythm_is_told() {
    let (from, now) = (local(5, 1, 0), local(7, 3, 12));
    let ending = |until| move |f: fn(&Moment) -> u64| Life::of(from, until, f);
    let life = ending(local(7, 2, 0));
    let cases: [(&str, Life, UtcSeconds, bool); 14] = [
        ("at its hour", life(nightly), local(7, 3, 2), false),
        ("an hour later", life(nightly), local(7, 3, 3), false),
        ("two hours later", life(nightly), local(7, 3, 4), true),
        ("by day", life(nightly), local(7, 3, 11), true),
        ("late at the office", life(office), local(7, 2, 18), false),
        ("at night", life(office), local(7, 3, 3), true),
        ("around the clock", life(always), local(7, 3, 3), false),
        (
            "on Saturday at the usual hour",
            Life::of(from, local(7, 2, 0), office),
            local(7, 4, 10),
            true,
        ),
        (
            "who has come on a Saturday before",
            life(office).with(local(6, 20, 10), 1),
            local(7, 3, 3),
            false,
        ),
        (
            "more than half of the week",
            Life::of(from, local(7, 2, 0), |at| u64::from(at.hour < 13)),
            local(7, 3, 20),
            false,
        ),
        (
            "who comes once a week",
            Life::of(from, local(7, 2, 0), |at| {
                u64::from(at.weekday == Weekday::Mon && at.hour == 9)
            }),
            local(7, 3, 3),
            false,
        ),
        (
            "who is new",
            Life::of(local(6, 6, 0), local(7, 2, 0), nightly),
            local(7, 3, 11),
            false,
        ),
        (
            "who is not so new",
            Life::of(local(6, 4, 0), local(7, 2, 0), nightly),
            local(7, 3, 11),
            true,
        ),
        (
            "who was away",
            Life::of(from, local(6, 20, 0), nightly),
            local(7, 3, 11),
            true,
        ),
    ];
    for (what, life, login, expected) in cases {
        let newest = now.max(login);
        let read = Some(UtcSeconds(newest.0 - 2 * DAY));
        let (outcome, _) = check(&life.with(login, 1), read, newest, &all_covered(), &[]);
        let expected: &[_] = if expected { &["unusual-time"] } else { &[] };
        assert_eq!(found(&outcome), expected, "{what}");
        assert_eq!(outcome.unchecked, [], "{what}");
    }
}

#[test]
fn it_is_told_once_with_the_evidence() {
    let life = Life::of(local(4, 1, 0), local(7, 3, 0), nightly).with(local(7, 3, 11), 1);
    let at = |hour, minutes: i64| UtcSeconds(local(7, 3, hour).0 + minutes * 60);
    let read = Some(at(10, 0));
    let (outcome, told) = check(&life, read, at(11, 5), &all_covered(), &[]);
    assert_eq!(outcome.findings[0].subject, "'app'");
    assert_eq!(
        outcome.findings[0].message,
        "logged in in the hour from Friday 2026-07-03 11:00 +02:00; in the 8 weeks before it never did at \
         that hour of the week, or within an hour of it, and kept to its hours: ask its owner; if it was \
         nobody of his, lock it"
    );
    // In the same hour, and in a later one.
    let (again, told) = check(&life, Some(at(11, 5)), at(11, 15), &all_covered(), &told);
    assert_eq!(found(&again), [""; 0]);
    let (again, told) = check(&life, Some(at(11, 15)), at(12, 15), &all_covered(), &told);
    assert_eq!(found(&again), [""; 0]);
    assert_eq!(told.len(), 1, "it is remembered for the day");
    // It has lost its rhythm now, until the exception is forgotten.
    let later = |life: Life, day: UtcSeconds| {
        let read = Some(UtcSeconds(day.0 - HOUR));
        let covered = covered(&[(local(1, 1, 0), local(12, 31, 23))]);
        found(&check(&life, read, day, &covered, &told).0)
    };
    let mut life = life;
    life.0
        .extend(Life::of(local(7, 3, 12), local(10, 1, 0), nightly).0);
    let (soon, then) = (local(8, 20, 16), local(9, 3, 16));
    assert_eq!(later(life.clone().with(soon, 1), soon), [""; 0]);
    assert_eq!(later(life.with(then, 1), then), ["unusual-time"]);
}

#[test]
fn a_record_of_the_future_switches_nothing_off_without_a_word() {
    let intruder = local(7, 3, 11);
    let life = Life::of(local(3, 1, 0), local(7, 3, 0), nightly).with(intruder, 1);
    let (now, future) = (local(7, 3, 12), local(12, 31, 23));
    let told = [Told {
        name: "app".into(),
        start: Slot::hour_of(local(7, 2, 11)).start,
        what: What::Time,
    }];
    let read = Some(UtcSeconds(intruder.0 - HOUR));
    let ahead = covered(&[(local(1, 1, 0), future)]);
    let (outcome, remembered) = check_at(now, &life, (read, future), &ahead, &told);
    assert_eq!(found(&outcome), [""; 0]);
    let unchecked = outcome.unchecked.iter();
    let unchecked: Vec<_> = unchecked.map(|one| (one.check.id, &*one.why)).collect();
    let why = "the log's times can't be right: they reach to 2026-12-31T22:10:00Z";
    assert_eq!(unchecked, [("unusual-time", why), ("unusual-rate", why)]);
    assert_eq!(remembered, told);
    // A clock may be off by an hour; and what an earlier check took for read is no later than now.
    let fine = covered(&[(local(1, 1, 0), UtcSeconds(now.0 + HOUR))]);
    for newest in [now, future] {
        let (outcome, _) = check_at(now, &life, (read, newest), &fine, &[]);
        assert_eq!(found(&outcome), ["unusual-time"]);
        assert!(outcome.unchecked.is_empty());
    }
    let life = Life::of(local(3, 1, 0), local(7, 3, 0), nightly).with(now, 1);
    let (outcome, _) = check_at(now, &life, (Some(future), now), &fine, &[]);
    assert_eq!(found(&outcome), ["unusual-time"]);
}

#[test]
fn what_the_log_does_not_cover_proves_nothing() {
    let intruder = local(7, 3, 11);
    let life = Life::of(local(3, 1, 0), local(7, 3, 0), nightly).with(intruder, 1);
    let week = |weeks: i64, hours: i64| UtcSeconds(intruder.0 - weeks * WEEK + hours * HOUR);
    let end = local(7, 3, 12);
    let cases = [
        ("all", vec![(local(1, 1, 0), end)], true, false),
        ("five weeks", vec![(week(5, 0), end)], true, false),
        ("less than four", vec![(week(4, 24), end)], false, true),
        (
            "not at this hour",
            (0..7).map(|n| (week(7 - n, 2), week(6 - n, -2))).collect(),
            false,
            true,
        ),
        (
            "not at another hour",
            (0..7)
                .map(|n| (week(7 - n, -20), week(6 - n, -24)))
                .collect(),
            true,
            false,
        ),
        (
            "half of it",
            vec![(week(8, 0), week(5, 0)), (week(1, 0), end)],
            false,
            true,
        ),
    ];
    for (what, spans, is_told, is_early) in cases {
        let mut spans = spans;
        spans.push((week(0, -1), end));
        let read = Some(UtcSeconds(intruder.0 - 3 * HOUR));
        let (outcome, _) = check(&life, read, end, &covered(&spans), &[]);
        assert_eq!(!found(&outcome).is_empty(), is_told, "{what}");
        assert_eq!(!outcome.too_early.is_empty(), is_early, "{what}");
    }
    // Who checks once a month is told that it is not enough.
    let read = Some(UtcSeconds(end.0 - 30 * DAY));
    let (outcome, _) = check(&life, read, end, &all_covered(), &[]);
    assert_eq!(found(&outcome), ["unusual-time"]);
    assert_eq!(outcome.unchecked.len(), 2);
    // The first check looks at a day.
    let (outcome, _) = check(&life, None, end, &all_covered(), &[]);
    assert_eq!(found(&outcome), ["unusual-time"]);
    let (outcome, _) = check(&life, None, local(7, 5, 0), &all_covered(), &[]);
    assert_eq!(found(&outcome), [""; 0]);
}

#[test]
fn far_more_than_ever_is_told() {
    let (from, now) = (local(4, 1, 0), local(7, 3, 10));
    let life = |f: fn(&Moment) -> u64| Life::of(from, local(7, 3, 8), f);
    let cases: [(&str, Life, u64, bool); 7] = [
        ("three times as many", life(always), 120, false),
        ("more", life(always), 121, true),
        ("few are never too many", life(office), 99, false),
        ("more than it ever had", life(office), 100, true),
        (
            "of an account without habits",
            Life::default(),
            10_000,
            false,
        ),
        (
            "of a new account",
            Life::of(local(6, 7, 0), local(7, 3, 8), always),
            10_000,
            false,
        ),
        (
            "who has had as many",
            life(office).with(local(6, 22, 9), 300),
            800,
            false,
        ),
    ];
    for (what, life, logins, expected) in cases {
        let read = Some(UtcSeconds(now.0 - 2 * HOUR));
        let life = life.with(local(7, 3, 9), logins);
        let (outcome, told) = check(&life, read, now, &all_covered(), &[]);
        let expected: &[_] = if expected { &["unusual-rate"] } else { &[] };
        assert_eq!(found(&outcome), expected, "{what}");
        let (again, _) = check(&life, read, now, &all_covered(), &told);
        assert_eq!(found(&again), [""; 0], "{what}, again");
    }
    // What makes no hour conspicuous may make the day so.
    let mut slow = life(office);
    for hour in 2..10 {
        slow.add(local(7, 3, hour), 90);
    }
    let read = Some(UtcSeconds(now.0 - 2 * HOUR));
    let (outcome, _) = check(&slow, read, now, &all_covered(), &[]);
    let rate = outcome
        .findings
        .iter()
        .find(|one| one.check.id == "unusual-rate");
    let message = &rate.expect("a finding").message;
    // From two o'clock on: days are those of UTC.
    let says = "720 logins in the 24 hours from 2026-07-03 02:00 +02:00, at most 100 on any day of the 8 \
                weeks before: ";
    assert!(message.starts_with(says), "{message}");
    // Refusals count for themselves.
    let mut guessed = life(office);
    guessed.slot(local(7, 3, 9)).failures = 100;
    let (outcome, _) = check(&guessed, read, now, &all_covered(), &[]);
    let message = &outcome.findings[0].message;
    let says = "100 refused logins in the hour from 2026-07-03 09:00 +02:00, at most 0 in any hour of the 5 \
                weeks before: ";
    assert!(message.starts_with(says), "{message}");
}

#[test]
fn a_year_of_honest_rhythms_rings_hardly_ever() {
    /// An account, how often it may ring in a year, and its logins in an hour.
    type Account = (&'static str, usize, fn(&Moment, &mut Random) -> u64);
    let accounts: [Account; 11] = [
        ("nightly", 0, |at, _| nightly(at)),
        ("nightly, by UTC", 0, |at, _| u64::from(at.utc == 1)),
        ("hourly", 0, |_, _| 1),
        ("a pool that grows and shrinks", 0, |_, random| {
            5 + random.below(60)
        }),
        (
            "a shop, closed in August and on holidays",
            0,
            |at, random| {
                let closed = at.month == 8 && at.day < 15 || at.month == 12 && at.day > 23;
                if closed {
                    0
                } else {
                    office(at) * (1 + random.below(4))
                }
            },
        ),
        ("weekly and nightly", 0, |at, _| {
            nightly(at) + u64::from(at.weekday == Weekday::Sun && at.hour == 4)
        }),
        ("nightly, and on the first of a month", 1, |at, _| {
            nightly(at) + u64::from(at.day == 1 && at.hour == 10)
        }),
        ("nightly, and by hand now and then", 2, |at, random| {
            nightly(at) + u64::from((8..20).contains(&at.hour) && random.below(400) == 0)
        }),
        ("a team with some late evenings", 1, |at, random| {
            let late = at.is_working_day() && (18..22).contains(&at.hour);
            office(at) + u64::from(late && random.chance(2))
        }),
        ("somebody at the office", 1, |at, random| {
            u64::from(office(at) > 0 && random.chance(30))
        }),
        ("an administrator", 1, |at, random| {
            u64::from((7..24).contains(&at.hour) && random.chance(3))
        }),
    ];
    let mut total = 0;
    for (what, most, logins) in accounts {
        let mut random = Random(0x2545_f491_4f6c_dd1d);
        let life = Life::of(local(1, 1, 0), local(12, 31, 23), |at| {
            logins(at, &mut random)
        });
        let (mut rings, mut told) = (Vec::new(), Vec::new());
        let mut read = None;
        for newest in (local(1, 1, 0).0..local(12, 31, 23).0).step_by(12 * HOUR as usize) {
            let newest = UtcSeconds(newest);
            let covered = covered(&[(local(1, 1, 0), newest)]);
            let (outcome, remembered) = check(&life, read, newest, &covered, &told);
            rings.extend(outcome.findings.into_iter().map(|one| one.message));
            (read, told) = (Some(newest), remembered);
        }
        assert!(rings.len() <= most, "{what}: {rings:#?}");
        total += rings.len();
    }
    assert!(total <= 3, "{total} findings in a year of eleven accounts");
}

#[test]
fn what_is_not_kept_is_not_judged_in_silence() {
    let end = local(7, 3, 12);
    let life = Life::of(local(3, 1, 0), end, nightly);
    let early = |hours: i64, days: i64, since: UtcSeconds| {
        let kept = Retention {
            hours: Span(hours * DAY),
            days: Span(days * DAY),
            ..Retention::default()
        };
        let mut rhythm = Rhythm::new(zone(), None, end, end, kept);
        for row in life.rows(rhythm.judged_from(), end) {
            rhythm.judge(row);
        }
        for row in life.rows(since, end) {
            rhythm.learn(&row);
        }
        let mut outcome = Outcome::default();
        rhythm.check(&covered(&[(local(1, 1, 0), end)]), &[], &mut outcome);
        let ids: Vec<_> = outcome.too_early.iter().map(|check| check.id).collect();
        ids
    };
    let always = local(3, 1, 0);
    assert_eq!(early(35, 400, always), [""; 0]);
    assert_eq!(early(0, 0, always), ["unusual-time", "unusual-rate"]);
    assert_eq!(early(1, 27, always), ["unusual-time", "unusual-rate"]);
    assert_eq!(early(20, 400, always), ["unusual-rate"]);
    // A store that keeps it since two weeks ago.
    assert_eq!(early(35, 400, local(6, 19, 0)), ["unusual-rate"]);
}
