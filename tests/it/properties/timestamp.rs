//! `timestamp::parse` on any bytes, and `Clock` over sequences of times in several zones: an
//! unambiguous local time is the instant at which the zone's clocks show it, and a log that is
//! written in order, with never much time between two records, is understood exactly.

use chrono::{FixedOffset, Offset};
use conntracker::audit_log::timestamp::{self, Clock, Stamp};
use conntracker::time::{UtcSeconds, Zone};

const ZONES: [&str; 24] = [
    "UTC",
    "Europe/Zurich",
    "Europe/Dublin",
    "America/New_York",
    "America/St_Johns",
    "America/Caracas",
    "America/Sao_Paulo",
    "America/Santiago",
    "America/Havana",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Antarctica/Troll",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Asia/Pyongyang",
    "Asia/Gaza",
    "Australia/Lord_Howe",
    "Australia/Adelaide",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Kwajalein",
    "+14:00",
    "-12:00",
    "+05:45",
];

/// First byte: 0 to take the rest as the text of a line; else 24 zones, and bit 7 says whether the
/// rest are any times (each of five bytes) or an instant (four bytes) and steps from it (one each).
pub(crate) fn check(input: &[u8]) {
    let Some((kind, rest)) = input.split_first() else {
        return;
    };
    if *kind == 0 {
        return check_text(rest);
    }
    let zone = Zone::parse(ZONES[usize::from(kind & 0x7f) % ZONES.len()]).unwrap();
    if kind & 0x80 == 0 {
        any_order(zone, rest);
    } else {
        in_order(zone, rest);
    }
}

fn check_text(text: &[u8]) {
    let Some((stamp, len)) = timestamp::parse(text) else {
        return;
    };
    assert_eq!(text[len], b',');
    assert!((10..40).contains(&len));
    // What stands behind the comma is nothing to it.
    assert_eq!(timestamp::parse(&text[..=len]), Some((stamp, len)));
    match stamp {
        Stamp::Local(local) => assert!((0..=253_402_300_800).contains(&local), "{local}"),
        // A hundred hours and more than an hour of minutes can stand in an offset.
        Stamp::Utc(at) => assert!((-362_400..=253_402_663_200).contains(&at.0) || at.0 < 1 << 34),
    }
    // A clock takes whatever can be read.
    for zone in ["Pacific/Apia", "-12:00"] {
        let mut clock = Clock::new(Zone::parse(zone).unwrap(), Some(UtcSeconds(0)));
        clock.instant(stamp);
        clock.peek(stamp);
        assert_eq!(clock.last(), Some(clock.instant(stamp)));
    }
}

/// Five bytes are seconds of a wall clock from 1970 to 2106, and how near to a change of offset.
fn any_order(zone: Zone, input: &[u8]) {
    let mut clock = Clock::new(zone, None);
    for bytes in input.chunks_exact(5) {
        let number = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        // Half of the times come near to a change of offset if there is one near.
        let local = match bytes[4] & 1 {
            0 => i64::from(number),
            _ => {
                let change = near_change(&zone, i64::from(number));
                shown(&zone, change) + i64::from(bytes[4] >> 1) * 97 - 6_200
            }
        };
        if local < 0 {
            continue;
        }
        let last = clock.last();
        let peeked = clock.peek(Stamp::Local(local));
        let found = clock.instant(Stamp::Local(local));
        assert_eq!(peeked, found);
        assert_eq!(clock.last(), Some(found));
        let possible = instants(&zone, local);
        match possible[..] {
            [only] => assert_eq!(found.0, only, "{zone} {local}"),
            [first, second] => {
                let backwards = last.is_some_and(|last| first < last.0 - 10);
                let expected = if backwards { second } else { first };
                assert_eq!(found.0, expected, "{zone} {local} {last:?}");
            }
            [] => {
                // Its clocks jumped over it: the offset before.
                let before = shown(&zone, found.0 - 86_400) - (found.0 - 86_400);
                let after = shown(&zone, found.0 + 86_400) - (found.0 + 86_400);
                let offset = local - found.0;
                assert!(
                    offset == before && offset < after,
                    "{zone} {local} {found:?}"
                );
            }
            _ => panic!("{zone}: {local} is {possible:?}"),
        }
        let noted = clock.last();
        clock.peek(Stamp::Local(local / 2));
        assert_eq!(clock.last(), noted);
    }
}

/// True instants in order, never more than five minutes from one to the next, and up to ten seconds
/// out of order: each must be found again from what the wall clock shows.
fn in_order(zone: Zone, input: &[u8]) {
    let Some((start, steps)) = input.split_at_checked(4) else {
        return;
    };
    let start = i64::from(u32::from_le_bytes([start[0], start[1], start[2], start[3]]));
    let mut at = near_change(&zone, start) - 1_800;
    if at < 86_400 || instants(&zone, shown(&zone, at)).len() != 1 {
        return;
    }
    let mut clock = Clock::new(zone, None);
    for step in steps {
        at += i64::from(step & 0x1f) * 9;
        let jitter = i64::from(step >> 5);
        let local = shown(&zone, at - jitter);
        let found = clock.instant(Stamp::Local(local)).0;
        assert_eq!(found, at - jitter, "{zone}: {local}");
        // In any run a clock may be taken from the last one's place.
        if *step == 0xff {
            clock = Clock::new(zone, clock.last());
        }
    }
}

/// What the zone's clocks show at instant `at`, in seconds since 1970 of that clock.
fn shown(zone: &Zone, at: i64) -> i64 {
    let offset: FixedOffset = zone.at(UtcSeconds(at)).offset().fix();
    at + i64::from(offset.local_minus_utc())
}

/// All instants at which the zone's clocks show `local`.
fn instants(zone: &Zone, local: i64) -> Vec<i64> {
    let mut found: Vec<i64> = (-16..=16)
        .map(|hours| local + hours * 3_600)
        .map(|at| local - (shown(zone, at) - at))
        .filter(|at| shown(zone, *at) == local)
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The instant of the next change of offset within half a year of instant `near`, else `near`.
fn near_change(zone: &Zone, near: i64) -> i64 {
    let offset = |at: i64| shown(zone, at) - at;
    let Some(day) = (0..190).find(|day| offset(near + day * 86_400) != offset(near)) else {
        return near;
    };
    let (mut low, mut high) = (near + (day - 1) * 86_400, near + day * 86_400);
    while high - low > 1 {
        let middle = (low + high) / 2;
        if offset(middle) == offset(near) {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}
