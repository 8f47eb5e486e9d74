//! When who comes in: activity, summed up by the hours of a week in the server's zone.
//!
//! Of a name it is counted on how many days it came in at an hour of the week, not how often: so one
//! restart with a thousand logins does not hide the rest, and days of which only the hours are left
//! count like others.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use crate::check::rhythm::{Counts, LocalWeek};
use crate::name::Name;
use crate::store::activity::DAY;
use crate::store::{Activity, Slot};
use crate::time::{UtcSeconds, Zone};

/// The hours of a week, from Monday 00:00.
pub(super) const WEEK: usize = 7 * 24;
pub(super) const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// More spans of time than this are no help to a reader.
const MAX_SPANS: usize = 5;

/// On how many days a name came in, for each hour of the week.
pub(super) type Week = [u16; WEEK];

/// What was seen, and when. Takes the rows one by one: there may be a million.
#[derive(Debug)]
pub struct Rhythms {
    local: LocalWeek,
    /// All logins by hour of the week, as far as they are kept by hour.
    pub(super) server: [u64; WEEK],
    /// Beginning of the first hour among them.
    pub(super) first_hour: Option<UtcSeconds>,
    /// By the beginning of the day (UTC).
    pub(super) days: BTreeMap<UtcSeconds, Counts>,
    names: HashMap<Name, Box<Week>>,
}

impl Rhythms {
    /// Nothing was seen yet.
    pub fn new(zone: Zone) -> Self {
        Self {
            local: LocalWeek::new(zone),
            server: [0; WEEK],
            first_hour: None,
            days: BTreeMap::new(),
            names: HashMap::new(),
        }
    }

    /// Takes a row of activity.
    pub fn add(&mut self, activity: Activity) {
        let Activity { name, slot } = activity;
        let day = Slot::day_of(slot.start).start;
        self.days.entry(day).or_default().add(&slot);
        if slot.hours == 1 {
            self.server[self.local.hour(slot.start)] += slot.logins;
            let first = self.first_hour.get_or_insert(slot.start);
            *first = slot.start.min(*first);
        }
        let Some(name) = name.filter(|_| slot.login_hours != 0) else {
            return;
        };
        let week = self
            .names
            .entry(name)
            .or_insert_with(|| Box::new([0; WEEK]));
        for hour in slot.hours_with_login() {
            let days = &mut week[self.local.hour(hour)];
            *days = days.saturating_add(1);
        }
    }

    /// When this name came in; none if it never did.
    pub(super) fn of(&self, name: &Name) -> Option<&Week> {
        self.names.get(name).map(|week| &**week)
    }

    /// Beginning of the first day of which anything is known.
    pub(super) fn first_day(&self) -> Option<UtcSeconds> {
        self.days.keys().next().copied()
    }
}

/// A week in words: `Mon–Fri 7–18, Sun 3–4`, with the hour behind the last one as the end.
pub(super) fn in_words(week: &Week) -> String {
    let used = week.iter().filter(|days| **days > 0).count();
    if used == WEEK {
        return "at any hour".into();
    }
    let mut parts: Vec<(usize, usize, Vec<String>)> = Vec::new();
    for day in 0..7 {
        let spans = spans(&week[day * 24..][..24]);
        if spans.is_empty() {
            continue;
        }
        match parts.last_mut() {
            Some((_, last, same)) if *last + 1 == day && *same == spans => *last = day,
            _ => parts.push((day, day, spans)),
        }
    }
    if parts.iter().map(|(_, _, spans)| spans.len()).sum::<usize>() > MAX_SPANS {
        return roughly(week);
    }
    let part = |(first, last, spans): (usize, usize, Vec<String>)| match &spans[..] {
        [all] if all == "0–24" => days_in_words(first, last),
        spans => format!("{} {}", days_in_words(first, last), spans.join(" and ")),
    };
    parts.into_iter().map(part).collect::<Vec<_>>().join(", ")
}

fn days_in_words(first: usize, last: usize) -> String {
    match (first, last) {
        (0, 6) => "daily".into(),
        (first, last) if first == last => DAYS[first].into(),
        (first, last) => format!("{}–{}", DAYS[first], DAYS[last]),
    }
}

/// What can be said of hours that follow no simple rule: within which they lie, or when most are.
fn roughly(week: &Week) -> String {
    let used = || (0..WEEK).filter(|hour| week[*hour] > 0);
    let ends = |of: fn(usize) -> usize| used().map(of).min().zip(used().map(of).max());
    let bounds = ends(|hour| hour / 24).zip(ends(|hour| hour % 24));
    match bounds {
        None => String::new(),
        Some((_, (0, 23))) => {
            // Of several the first.
            let most = used().max_by_key(|hour| (week[*hour], std::cmp::Reverse(*hour)));
            let (day, hour) = most.map_or((0, 0), |most| (most / 24, most % 24));
            let count = used().count();
            let day = DAYS[day];
            format!(
                "{count} hours of the week, most often {day} {hour}–{}",
                hour + 1
            )
        }
        Some(((first_day, last_day), (first, last))) => {
            let days = days_in_words(first_day, last_day);
            format!("{days} between {first} and {}", last + 1)
        }
    }
}

fn spans(day: &[u16]) -> Vec<String> {
    let mut spans = Vec::new();
    let mut hour = 0;
    while hour < day.len() {
        let length = day[hour..].iter().take_while(|days| **days > 0).count();
        if length > 0 {
            spans.push(format!("{hour}–{}", hour + length));
        }
        hour += length.max(1);
    }
    spans
}

/// A week as 84 hexadecimal digits, each of two hours: 0 never, 1 seldom, 2 sometimes, 3 mostly, by
/// thirds of the hour with the most days. The page's script draws it.
pub(super) fn in_digits(week: &Week) -> String {
    let most = u32::from(*week.iter().max().unwrap_or(&0)).max(1);
    let level = |days: u16| (u32::from(days) * 3).div_ceil(most);
    let digit = |two: &[u16]| char::from_digit(level(two[0]) << 2 | level(two[1]), 16);
    week.chunks_exact(2).filter_map(digit).collect()
}

/// Upper ends of the steps from `least` (1 or more) to `most`, each step so many times as great as the
/// one before.
pub(super) fn steps(least: u64, most: u64) -> Vec<u64> {
    const STEPS: i32 = 5;
    let ratio = most as f64 / least as f64;
    let end = |step: i32| match step {
        STEPS => most,
        step => (least as f64 * ratio.powf(f64::from(step) / f64::from(STEPS))).round() as u64,
    };
    let mut ends: Vec<u64> = (1..=STEPS).map(end).collect();
    ends.dedup();
    ends
}

/// The last `count` days up to the newest one, those without a row included.
pub(super) fn last_days(
    days: &BTreeMap<UtcSeconds, Counts>,
    count: i64,
) -> Vec<(UtcSeconds, Counts)> {
    let Some(((first, _), (last, _))) = days.first_key_value().zip(days.last_key_value()) else {
        return Vec::new();
    };
    let first = first.0.max(last.0 - (count - 1) * DAY);
    (first..=last.0)
        .step_by(DAY as usize)
        .map(|start| {
            let start = UtcSeconds(start);
            (start, days.get(&start).copied().unwrap_or_default())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::activity::HOUR;

    fn row(name: &str, start: i64, hours: u8, logins: u64, login_hours: u32) -> Activity {
        Activity {
            name: Some(name.into()),
            slot: Slot {
                start: UtcSeconds(start),
                hours,
                logins,
                failures: 1,
                login_hours,
            },
        }
    }

    /// Monday 2026-11-23 00:00 UTC.
    const MONDAY: i64 = 1_795_392_000;

    #[test]
    fn hours_are_those_of_the_servers_zone() {
        let mut rhythms = Rhythms::new(Zone::parse("Europe/Zurich").unwrap());
        // Sunday 23:00 UTC is Monday 00:00 there.
        rhythms.add(row("a", MONDAY - HOUR, 1, 7, 1 << 23));
        // A folded day of summer: 06:00 UTC is 08:00 there.
        rhythms.add(row("a", MONDAY - 100 * DAY, 24, 70, 1 << 6));
        assert_eq!(rhythms.server[0], 7);
        assert_eq!(rhythms.server.iter().sum::<u64>(), 7);
        assert_eq!(rhythms.first_hour, Some(UtcSeconds(MONDAY - HOUR)));
        let week = rhythms.of(&"a".into()).unwrap();
        assert_eq!(in_words(week), "Mon 0–1, Sat 8–9");
        assert_eq!(rhythms.days.len(), 2);
        assert_eq!(rhythms.of(&"b".into()), None);
    }

    #[test]
    fn a_week_is_told_in_few_words() {
        let words = |hours: &[std::ops::Range<usize>]| {
            let mut week = [0; WEEK];
            hours
                .iter()
                .cloned()
                .flatten()
                .for_each(|hour| week[hour] = 2);
            in_words(&week)
        };
        assert_eq!(words(&[0..99, 99..168]), "at any hour");
        assert_eq!(words(&[0..99, 99..120]), "Mon–Fri");
        let office: Vec<_> = (0..5).map(|day| day * 24 + 7..day * 24 + 18).collect();
        assert_eq!(words(&office), "Mon–Fri 7–18");
        let nightly: Vec<_> = (0..7).map(|day| day * 24 + 3..day * 24 + 4).collect();
        assert_eq!(words(&nightly), "daily 3–4");
        assert_eq!(words(&[0..1, 5..6, 167..168]), "Mon 0–1 and 5–6, Sun 23–24");
        let scattered: Vec<_> = (0..10).map(|n| n * 17..n * 17 + 1).collect();
        assert_eq!(
            words(&scattered),
            "10 hours of the week, most often Mon 0–1"
        );
        let holes: Vec<_> = (0..5)
            .flat_map(|day| [7, 9, 12 + day].map(|hour| day * 24 + hour..day * 24 + hour + 1))
            .collect();
        assert_eq!(words(&holes), "Mon–Fri between 7 and 17");
        assert_eq!(words(&[]), "");
    }

    #[test]
    fn levels_are_thirds_of_the_most() {
        let mut week = [0; WEEK];
        week[..6].copy_from_slice(&[0, 1, 3, 4, 6, 9]);
        let digits = in_digits(&week);
        assert_eq!((digits.len(), &digits[..4]), (84, "16b0"));
        assert_eq!(in_digits(&[0; WEEK]), "0".repeat(84));
    }

    #[test]
    fn steps_end_at_the_most() {
        assert_eq!(steps(1, 1), [1]);
        assert_eq!(steps(1, 3), [1, 2, 3]);
        assert_eq!(steps(1, 100_000), [10, 100, 1_000, 10_000, 100_000]);
        assert_eq!(steps(100, 132), [106, 112, 118, 125, 132]);
    }

    #[test]
    fn a_day_without_a_row_is_empty() {
        let day = |logins| Counts {
            logins,
            failures: 0,
        };
        let days = [(0, day(1)), (3, day(4))];
        let days = days.map(|(n, day)| (UtcSeconds(n * DAY), day)).into();
        let logins = |count| -> Vec<_> {
            let days = last_days(&days, count);
            days.iter().map(|(_, day)| day.logins).collect()
        };
        assert_eq!(logins(100), [1, 0, 0, 4]);
        assert_eq!(logins(2), [0, 4]);
    }
}
