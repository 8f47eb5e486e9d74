//! When clients log in: the server's week, and the last days one by one.

use super::rhythm::{self, DAYS, Rhythms, WEEK};
use super::{When, chart};
use crate::check::rhythm::Counts;
use crate::time::{UtcSeconds, Zone};

/// The logins of the server by the hours of a week.
pub(super) struct WeekMap {
    pub(super) days: Vec<(&'static str, Vec<Cell>)>,
    /// Level and what it means.
    pub(super) legend: Vec<(usize, String)>,
    pub(super) since: When,
    pub(super) logins: u64,
}

pub(super) struct Cell {
    pub(super) level: usize,
    pub(super) logins: u64,
    pub(super) short: String,
}

/// Logins and failures by day, drawn and in figures.
pub(super) struct Days {
    pub(super) logins: (String, u64),
    pub(super) failures: (String, u64),
    pub(super) rows: Vec<(String, u64, u64)>,
}

impl WeekMap {
    pub(super) fn of(rhythms: &Rhythms, zone: &Zone) -> Option<Self> {
        let since = When::at(rhythms.first_hour?, zone);
        let used = || rhythms.server.iter().copied().filter(|logins| *logins > 0);
        let ends = used().min().zip(used().max());
        let steps = ends.map_or_else(Vec::new, |(least, most)| rhythm::steps(least, most));
        let level = |logins: u64| match logins {
            0 => 0,
            logins => 1 + steps.iter().take_while(|end| logins > **end).count(),
        };
        let cell = |logins: &u64| Cell {
            level: level(*logins),
            logins: *logins,
            short: short(*logins),
        };
        let days = DAYS.iter().zip(rhythms.server.chunks_exact(WEEK / 7));
        let least = ends.map_or(1, |(least, _)| least);
        let starts = std::iter::once(least).chain(steps.iter().map(|end| end + 1));
        let range = |(start, end): (u64, &u64)| match start == *end {
            true => short(start),
            false => format!("{}–{}", short(start), short(*end)),
        };
        let ranges = starts.zip(&steps).map(range);
        let legend = std::iter::once("0".to_owned()).chain(ranges).enumerate();
        Some(Self {
            days: days
                .map(|(day, hours)| (*day, hours.iter().map(cell).collect()))
                .collect(),
            legend: legend.collect(),
            since,
            logins: rhythms.server.iter().sum(),
        })
    }
}

/// A number that fits into a small cell.
fn short(number: u64) -> String {
    match number {
        0..1_000 => number.to_string(),
        1_000..10_000 => format!("{}.{}k", number / 1_000, number % 1_000 / 100),
        10_000..1_000_000 => format!("{}k", number / 1_000),
        _ => format!("{}M", number / 1_000_000),
    }
}

impl Days {
    pub(super) fn of(days: &[(UtcSeconds, Counts)]) -> Option<Self> {
        let row = |(start, day): &(UtcSeconds, Counts)| (date(*start), day.logins, day.failures);
        (!days.is_empty()).then(|| Self {
            logins: chart::bars(days, |day| day.logins),
            failures: chart::bars(days, |day| day.failures),
            rows: days.iter().map(row).collect(),
        })
    }
}

pub(super) fn date(at: UtcSeconds) -> String {
    at.rfc3339().chars().take_while(|c| *c != 'T').collect()
}
