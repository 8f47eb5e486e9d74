//! Does an account keep to its rhythm? A login at an hour of the week at which it never logs in, or far
//! more of them than ever, may be somebody else's.
//!
//! A check that rings without need is switched off, so an account must first have shown that it has a
//! rhythm at all: over weeks that the log covers, on days enough, and without an exception. Whoever comes
//! at any hour, seldom, or now and then (administrators do) is left alone, and so is an account whose
//! rhythm has changed, once that has been told, until the weeks that hold the change are gone.

mod learned;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use hashbrown::HashMap;

use self::learned::{Learned, Most, WEEK, WEEKS};
use super::coverage::Covered;
use super::finding::{Finding, Outcome, some_of};
use super::memory::{Told, What};
use crate::name::Name;
use crate::store::activity::{DAY, HOUR};
use crate::store::{Activity, Retention, Slot};
use crate::time::{Span, UtcSeconds, Zone};

pub(crate) use self::learned::Counts;
pub use self::learned::LocalWeek;

/// So many weeks must be known.
const ENOUGH: usize = 4;

/// Not more than this is judged at once: who checks less often has no use for hours.
const LONGEST: i64 = WEEK;

/// What the first check judges.
const FIRST: i64 = DAY;

/// So many times the most that was ever seen is far more, above a floor: an hour's and a day's.
const FAR_MORE: u64 = 3;
const FLOOR: Most = Most {
    hour: 100,
    day: 500,
};

/// Collects what the two checks need, a row at a time: first what is to be judged, then, of those names
/// only, what came before.
#[derive(Clone, Debug)]
pub struct Rhythm {
    zone: Zone,
    local: LocalWeek,
    /// What is judged begins here, on an hour.
    from: UtcSeconds,
    /// The newest record; now, if that is of later.
    newest: UtcSeconds,
    now: UtcSeconds,
    /// The last check was too long ago for all since then to be judged.
    late: bool,
    names: HashMap<Name, (Vec<Slot>, Learned)>,
    /// Since when hours are kept, and since when anything is.
    first_hour: Option<UtcSeconds>,
    first: Option<UtcSeconds>,
    /// How long both are to be kept.
    kept: Retention,
}

impl Rhythm {
    /// Judges what came since the record of `read`, the newest that the last check knew; none if this
    /// is the first. `newest` is the newest one `now`. The server's clock is in `zone`, and the rows
    /// are `kept` for so long.
    pub fn new(
        zone: Zone,
        read: Option<UtcSeconds>,
        newest: UtcSeconds,
        now: UtcSeconds,
        kept: Retention,
    ) -> Self {
        // A record of a clock that was ahead must not put off all that comes until then.
        let (read, newest) = (read.map(|read| read.min(now)), newest.min(now));
        let earliest = UtcSeconds(newest.0 - LONGEST);
        let from = read.unwrap_or(UtcSeconds(newest.0 - FIRST));
        Self {
            zone,
            local: LocalWeek::new(zone),
            from: Slot::hour_of(from.max(earliest)).start,
            newest,
            now,
            late: from < earliest,
            names: HashMap::new(),
            first_hour: None,
            first: None,
            kept,
        }
    }

    /// The rows of this time and later are to be judged.
    pub fn judged_from(&self) -> UtcSeconds {
        self.from
    }

    /// The rows from here on say what is usual, those of the first days only whether an account was there
    /// already; none if there is nothing to judge.
    pub fn learned_from(&self) -> Option<UtcSeconds> {
        let from = UtcSeconds(self.from.0 - WEEKS as i64 * WEEK - 3 * DAY);
        (!self.names.is_empty()).then_some(from)
    }

    /// Takes a row that is to be judged. Names that never came in have no rhythm.
    pub fn judge(&mut self, row: Activity) {
        if let (Some(name), true) = (row.name, row.slot.end() > self.from) {
            let (slots, _) = self.names.entry(name).or_default();
            slots.push(row.slot);
        }
    }

    /// Takes a row that says what is usual, if it is of a name that is to be judged.
    pub fn learn(&mut self, row: &Activity) {
        let slot = &row.slot;
        if slot.start >= self.from {
            return;
        }
        if slot.hours == 1 {
            let first = self.first_hour.unwrap_or(slot.start);
            self.first_hour = Some(first.min(slot.start));
        }
        let first = self.first.unwrap_or(slot.start);
        self.first = Some(first.min(slot.start));
        let known = row.name.as_ref().and_then(|name| self.names.get_mut(name));
        if let Some((_, learned)) = known {
            learned.learn(slot, self.from, &mut self.local);
        }
    }

    /// The checks. What `told` has is not told again; returns what has been told of spans that the next
    /// check will see again.
    pub(super) fn check(
        &self,
        covered: &Covered,
        told: &[Told],
        outcome: &mut Outcome,
    ) -> Vec<Told> {
        const IDS: [&str; 2] = ["unusual-time", "unusual-rate"];
        if let Some(why) = covered.is_ahead(self.now) {
            outcome.not_checked(&IDS, &why);
            return told.to_vec();
        }
        let start = UtcSeconds(self.from.0 - WEEKS as i64 * WEEK);
        let enough = ENOUGH as i64 * WEEK;
        if covered.time(start, self.from) < enough || self.kept.days.0 < enough {
            outcome.too_early(&IDS);
            return told.to_vec();
        }
        // What came before was not kept, or not yet.
        let is_short = |first: Option<UtcSeconds>| {
            first.is_none_or(|first| first.0 > self.from.0 - enough) && !self.names.is_empty()
        };
        if self.kept.hours.0 < enough || is_short(self.first) || is_short(self.first_hour) {
            outcome.too_early(&IDS[1..]);
        }
        if self.late {
            let span = Span(LONGEST).in_words();
            let why =
                format!("the last check is too long ago: only the last {span} were looked at");
            outcome.not_checked(&IDS, &why);
        }
        let mut judge = Judge {
            rhythm: self,
            covered,
            told,
            local: self.local.clone(),
            now_told: Vec::new(),
            outcome,
        };
        let mut names: Vec<_> = self.names.iter().collect();
        names.sort_unstable_by_key(|(name, _)| *name);
        for (name, (slots, learned)) in names {
            judge.times(name, slots, learned);
            judge.rates(name, slots, learned);
        }
        let mut all = judge.now_told;
        all.extend(told.iter().cloned());
        // The next one begins with the hour and the day of the newest record.
        all.retain(|told| told.start >= Slot::day_of(self.newest).start);
        all
    }
}

struct Judge<'a> {
    rhythm: &'a Rhythm,
    covered: &'a Covered,
    told: &'a [Told],
    local: LocalWeek,
    now_told: Vec<Told>,
    outcome: &'a mut Outcome,
}

impl Judge<'_> {
    /// Whether an earlier check told it.
    fn was_told(&self, name: &Name, start: UtcSeconds, what: What) -> bool {
        let is = |told: &Told| told.name == *name && told.start == start && told.what == what;
        self.told.iter().any(is)
    }

    /// It is told now.
    fn tell(&mut self, name: &Name, start: UtcSeconds, what: What) {
        self.now_told.push(Told {
            name: name.clone(),
            start,
            what,
        });
    }

    /// Logins at hours of the week at which the account does not log in.
    fn times(&mut self, name: &Name, slots: &[Slot], learned: &Learned) {
        let mut hours: Vec<_> = slots.iter().flat_map(Slot::hours_with_login).collect();
        hours.sort_unstable();
        hours.dedup();
        let mut unusual = Vec::new();
        let mut weeks = WEEKS;
        for start in hours {
            if start < self.rhythm.from || !learned.is_unusual(self.local.hour(start)) {
                continue;
            }
            let known = self.known_weeks(start, learned);
            if known < ENOUGH {
                self.outcome.too_early(&["unusual-time"]);
            } else if !self.was_told(name, start, What::Time) {
                self.tell(name, start, What::Time);
                weeks = weeks.min(known);
                let local = self.rhythm.zone.at(start);
                unusual.push(local.format("%A %Y-%m-%d %H:00 %:z").to_string());
            }
        }
        if unusual.is_empty() {
            return;
        }
        let message = format!(
            "logged in in the hour from {}; in the {weeks} weeks before it never did at that hour of the \
             week, or within an hour of it, and kept to its hours: ask its owner; if it was nobody of his, \
             lock it",
            some_of(&unusual)
        );
        self.outcome
            .find(Finding::new("unusual-time", format!("'{name}'"), message));
    }

    /// In how many weeks the log covers this hour of the week, and those beside it, since the account is
    /// known.
    fn known_weeks(&self, start: UtcSeconds, learned: &Learned) -> usize {
        let Some(first) = learned.first else { return 0 };
        let from = self.rhythm.from;
        let same = (1..).map(|week| start.0 - week * WEEK);
        let same = same.skip_while(|at| *at >= from.0).take(WEEKS);
        let is_known = |at: &i64| {
            let (before, behind) = (UtcSeconds(at - HOUR), UtcSeconds(at + 2 * HOUR));
            UtcSeconds(*at) >= first && self.covered.is_whole(before, behind)
        };
        same.filter(is_known).count()
    }

    /// Far more logins, or failures, than ever.
    fn rates(&mut self, name: &Name, slots: &[Slot], learned: &Learned) {
        let from = self.rhythm.from;
        let weeks_since = |first: Option<UtcSeconds>| {
            first.map_or(0, |first| self.covered.time(first, from) / WEEK)
        };
        let known = weeks_since(learned.first);
        let hours_known = known.min(weeks_since(self.rhythm.first_hour));
        if !learned.is_habit() || known < ENOUGH as i64 {
            return;
        }
        // A day in which the two meet has been learned as a whole.
        let mut days = BTreeMap::from([(Slot::day_of(from).start, learned.today())]);
        for slot in slots.iter().filter(|slot| slot.start >= from) {
            let day = Slot::day_of(slot.start).start;
            days.entry(day).or_default().add(slot);
        }
        for (what, word) in [(What::Logins, "logins"), (What::Failures, "refused logins")] {
            let of = |counts: &Counts| match what {
                What::Failures => counts.failures,
                _ => counts.logins,
            };
            let most = learned.most(of);
            let is_far_more = |count, most, floor| count >= floor && count > FAR_MORE * most;
            let is_new = |start: UtcSeconds| !self.was_told(name, Slot::day_of(start).start, what);
            let hours = slots.iter().filter(|slot| slot.hours == 1);
            let hour = hours
                .map(|slot| (of(&Counts::of(slot)), slot.start))
                .filter(|(count, start)| {
                    is_far_more(*count, most.hour, FLOOR.hour) && is_new(*start)
                })
                .filter(|(_, start)| *start >= from && hours_known >= ENOUGH as i64)
                .max();
            let day = days.iter().map(|(start, counts)| (of(counts), *start));
            let day = day
                .filter(|(count, start)| is_far_more(*count, most.day, FLOOR.day) && is_new(*start))
                .max();
            let local = |start| {
                self.rhythm
                    .zone
                    .at(start)
                    .format("%Y-%m-%d %H:%M %:z")
                    .to_string()
            };
            let (start, says) = match (hour, day) {
                (Some((count, start)), _) => (
                    start,
                    format!(
                        "{count} {word} in the hour from {}, at most {} in any hour of the {hours_known} \
                         weeks before",
                        local(start),
                        most.hour
                    ),
                ),
                (None, Some((count, start))) => (
                    start,
                    format!(
                        "{count} {word} in the 24 hours from {}, at most {} on any day of the {known} weeks \
                         before",
                        local(start),
                        most.day
                    ),
                ),
                (None, None) => continue,
            };
            self.tell(name, Slot::day_of(start).start, what);
            let message = format!(
                "{says}: a client that does not stop, or somebody who uses, or guesses, its password"
            );
            self.outcome
                .find(Finding::new("unusual-rate", format!("'{name}'"), message));
        }
    }
}
