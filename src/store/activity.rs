//! When each account name was used, by hour and, where that is long ago, by day: the table `activity`.
//!
//! It is bounded in three ways. Names that only ever fail, of which an attacker has as many as he
//! likes, share one row. Hours are folded into days, and days dropped, once the newest row is so much
//! later: the data decides, no timer does, so whoever commits, and in whatever order records come, the
//! same sums over all names stand there. Whose a failure is does depend on where batches end: what came
//! before the first login of its name was committed stays with the others. And beyond a number of rows
//! hours are folded sooner, then days dropped sooner.

use std::collections::HashSet;

use super::{Batch, Name};
use crate::time::{Span, UtcSeconds};

/// The length of an hour and of a day, in seconds.
pub const HOUR: i64 = 3_600;
/// The length of a day, in seconds.
pub const DAY: i64 = 86_400;

/// What was seen of one name in one hour or one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Beginning of the hour or the day (UTC).
    pub start: UtcSeconds,
    /// Its length: 1 or 24.
    pub hours: u8,
    /// Number of CONNECT records. A successful change of user is none, as in `accounts`.
    pub logins: u64,
    /// Number of FAILED_CONNECT records.
    pub failures: u64,
    /// The hours of the day (UTC) with a successful authentication, a change of user included: bit 0
    /// is the hour from 00:00. So a day knows its hours after it has been folded.
    pub login_hours: u32,
}

impl Slot {
    /// The hour of `at`, empty.
    pub fn hour_of(at: UtcSeconds) -> Self {
        Self::empty(at.0 - at.0.rem_euclid(HOUR), 1)
    }

    /// The day of `at`, empty.
    pub fn day_of(at: UtcSeconds) -> Self {
        Self::empty(at.0 - at.0.rem_euclid(DAY), 24)
    }

    fn empty(start: i64, hours: u8) -> Self {
        Self {
            start: UtcSeconds(start),
            hours,
            logins: 0,
            failures: 0,
            login_hours: 0,
        }
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Self) {
        self.logins += other.logins;
        self.failures += other.failures;
        self.login_hours |= other.login_hours;
    }

    /// The time behind it.
    pub fn end(&self) -> UtcSeconds {
        UtcSeconds(self.start.0 + i64::from(self.hours) * HOUR)
    }

    /// The beginnings of the hours with a successful authentication.
    pub fn hours_with_login(&self) -> impl Iterator<Item = UtcSeconds> + use<> {
        let (day, bits) = (Self::day_of(self.start).start, self.login_hours);
        let hours = (0..24).map(move |hour| UtcSeconds(day.0 + hour * HOUR));
        hours.filter(move |hour| bits & Self::bit_of(*hour) != 0)
    }

    /// The bit of [`Slot::login_hours`] for the hour of `at`.
    pub fn bit_of(at: UtcSeconds) -> u32 {
        1 << (at.0.rem_euclid(DAY) / HOUR)
    }
}

/// A row of `activity`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// The user name; none in a row that stands for all names that had not logged in when their failures
    /// were read.
    pub name: Option<Name>,
    /// When, and what was seen.
    pub slot: Slot,
}

/// What a step of a run saw of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// The user name; none for names that the step could not keep apart.
    pub name: Option<Name>,
    /// Each hour and each day at most once.
    pub slots: Vec<Slot>,
}

/// Which rows of `activity` to list.
#[derive(Clone, Debug, Default)]
pub struct ActivityFilter {
    /// This server's.
    pub server: Name,
    /// Only hours and days that end after this instant.
    pub since: Option<UtcSeconds>,
}

/// How long activity is kept, counted back from its newest row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Hours; then they are folded into days.
    pub hours: Span,
    /// Days; then they are dropped.
    pub days: Span,
    /// How many rows a server may have.
    pub rows: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            hours: Span(35 * DAY),
            days: Span(400 * DAY),
            rows: 1_000_000,
        }
    }
}

impl Retention {
    /// Hours before this time are folded if the newest record is of `newest`.
    pub fn hours_before(&self, newest: UtcSeconds) -> UtcSeconds {
        Slot::day_of(UtcSeconds(newest.0.saturating_sub(self.hours.0))).start
    }

    /// Days before this time are dropped. They are kept longer than hours in any case.
    fn days_before(&self, newest: UtcSeconds) -> UtcSeconds {
        let kept = self.days.0.max(self.hours.0);
        Slot::day_of(UtcSeconds(newest.0.saturating_sub(kept))).start
    }
}

/// The first and the last row of a server's hours, and of its days.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ends {
    pub(super) hours: Option<(UtcSeconds, UtcSeconds)>,
    pub(super) days: Option<(UtcSeconds, UtcSeconds)>,
}

impl Ends {
    /// The newest row.
    pub(super) fn newest(&self) -> Option<UtcSeconds> {
        let last = |ends: Option<(_, UtcSeconds)>| ends.map(|(_, last)| last);
        last(self.hours).max(last(self.days))
    }
}

/// Behind this no record can be right. Rows there would fold and drop all others. But it may be the clock
/// of this machine that is wrong: what stands there already is left alone, until time gets there.
pub fn end_of_time(now: UtcSeconds) -> UtcSeconds {
    UtcSeconds(now.0.saturating_add(DAY))
}

/// Names of `batch` that have a row of their own only if `accounts` has one.
fn in_question(batch: &Batch) -> Vec<&Name> {
    let never_came_in = |rhythm: &&Rhythm| rhythm.slots.iter().all(|slot| slot.login_hours == 0);
    let names = batch.rhythm.iter().filter(never_came_in);
    let mut names: Vec<_> = names.filter_map(|rhythm| rhythm.name.as_ref()).collect();
    names.sort_unstable();
    names
}

/// A row to be merged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Added<'a> {
    pub(super) name: Option<&'a Name>,
    pub(super) slot: Slot,
}

/// What a commit does to the table.
struct Plan<'a> {
    /// Rows to be merged, in the order of the table's key.
    rows: Vec<Added<'a>>,
    /// Then hours before this time are folded.
    fold: Option<UtcSeconds>,
    /// Then days before this time are dropped.
    drop: Option<UtcSeconds>,
    /// Then the rows are counted; once a day, for that takes a look at each of them. So the table may
    /// exceed its bound by what one day brings, 24 rows for each account in use.
    count: bool,
}

/// What adding the rhythm of `batch` takes. `unknown` are those of [`in_question`] without an account,
/// `ends` those of what is stored up to `latest`.
fn plan<'a>(
    batch: &'a Batch,
    unknown: &HashSet<&Name>,
    ends: Ends,
    latest: UtcSeconds,
) -> Plan<'a> {
    let slots = batch.rhythm.iter().map(|rhythm| rhythm.slots.len());
    let mut rows = Vec::with_capacity(slots.sum());
    for Rhythm { name, slots } in &batch.rhythm {
        let name = name.as_ref().filter(|name| !unknown.contains(name));
        rows.extend(slots.iter().map(|slot| Added { name, slot: *slot }));
    }
    // Nor is a clock right that shows its first day.
    rows.retain(|row| row.slot.start.0 >= DAY && row.slot.start <= latest);
    let newest_added = rows.iter().map(|row| row.slot.start).max();
    let Some(newest) = ends.newest().max(newest_added) else {
        return Plan {
            rows,
            fold: None,
            drop: None,
            count: false,
        };
    };
    let fold = batch.retention.hours_before(newest);
    let drop = batch.retention.days_before(newest);
    for row in &mut rows {
        if row.slot.start < fold {
            let day = Slot::day_of(row.slot.start);
            row.slot = Slot {
                start: day.start,
                hours: day.hours,
                ..row.slot
            };
        }
    }
    rows.retain(|row| row.slot.start >= drop);
    // Behind `start` the key goes on with `others`, then the name.
    let key = |row: &Added<'a>| (row.slot.hours, row.slot.start, row.name.is_none(), row.name);
    rows.sort_unstable_by_key(key);
    rows.dedup_by(|later, earlier| {
        let same = key(later) == key(earlier);
        if same {
            earlier.slot.add(&later.slot);
        }
        same
    });
    let is_before =
        |ends: Option<(UtcSeconds, _)>, limit| ends.is_some_and(|(first, _)| first < limit);
    let day = |at: Option<UtcSeconds>| at.map(|at| Slot::day_of(at).start);
    Plan {
        fold: is_before(ends.hours, fold).then_some(fold),
        drop: is_before(ends.days, drop).then_some(drop),
        count: day(ends.newest()) < day(Some(newest)),
        rows,
    }
}

/// What can be done to a server's rows, by a backend.
pub(super) trait Table {
    /// What goes wrong.
    type Error;

    /// Those of `names` that have no account.
    fn unknown<'n>(&mut self, names: Vec<&'n Name>) -> Result<HashSet<&'n Name>, Self::Error>;

    /// Merges rows, which come in the order of the table's key: sums of counts, each bit of the hours.
    fn add(&mut self, rows: &[Added<'_>]) -> Result<(), Self::Error>;

    /// The first and the last of the rows up to `latest`.
    fn ends(&mut self, latest: UtcSeconds) -> Result<Ends, Self::Error>;

    /// Folds hours before this time into their days.
    fn fold(&mut self, before: UtcSeconds) -> Result<(), Self::Error>;

    /// Drops days before this time.
    fn drop(&mut self, before: UtcSeconds) -> Result<(), Self::Error>;

    /// Whether there are more than `most` rows up to `latest`.
    fn exceeds(&mut self, most: usize, latest: UtcSeconds) -> Result<bool, Self::Error>;
}

/// Adds the rhythm of `batch`, once its accounts are there, to what is in `table`.
pub(super) fn commit<T: Table>(
    table: &mut T,
    batch: &Batch,
    now: UtcSeconds,
) -> Result<(), T::Error> {
    if batch.rhythm.is_empty() {
        return Ok(());
    }
    let latest = end_of_time(now);
    let ends = table.ends(latest)?;
    let unknown = table.unknown(in_question(batch))?;
    let plan = plan(batch, &unknown, ends, latest);
    table.add(&plan.rows)?;
    if let Some(before) = plan.fold {
        table.fold(before)?;
    }
    if let Some(before) = plan.drop {
        table.drop(before)?;
    }
    if plan.count {
        bound(table, batch.retention.rows, latest)?;
    }
    Ok(())
}

/// Folds and drops more than retention asks for until there are no more than `most` rows. The hours of
/// the newest day are the last to go.
fn bound<T: Table>(table: &mut T, most: usize, latest: UtcSeconds) -> Result<(), T::Error> {
    while table.exceeds(most, latest)? {
        let ends = table.ends(latest)?;
        let Some(newest) = ends.newest() else { break };
        let newest = Slot::day_of(newest).start;
        let day_behind = |at: UtcSeconds| Slot::day_of(at).end();
        match (ends.hours, ends.days) {
            (Some((first, _)), _) if first < newest => table.fold(day_behind(first))?,
            (_, Some((first, _))) if first < newest => table.drop(day_behind(first))?,
            (Some(_), _) => table.fold(day_behind(newest))?,
            // Nothing is left to be done: there are so many accounts.
            _ => break,
        }
    }
    Ok(())
}

/// Spans of `hours` that end after `since` begin after this.
pub(super) fn starts_after(since: UtcSeconds, hours: u8) -> UtcSeconds {
    UtcSeconds(since.0.saturating_sub(i64::from(hours) * HOUR))
}
