//! What is known of the rhythm of one account name: the hours of the week at which it logs in, and how
//! often.

use crate::store::Slot;
use crate::store::activity::{DAY, HOUR};
use crate::time::{UtcSeconds, Zone};

/// So many weeks are looked back.
pub(super) const WEEKS: usize = 8;
pub(super) const WEEK: i64 = 7 * DAY;
/// The hours of a week.
const HOURS: usize = 168;

/// Who logs in at more than half of the hours of the week has no hour that is unusual.
const MOST_HOURS: usize = HOURS / 2;

/// On fewer days nothing is a habit.
const DAYS: u32 = 10;

/// Hours of the week by the clock of the server, from Monday 00:00 on.
#[derive(Clone, Debug)]
pub struct LocalWeek {
    zone: Zone,
    /// The day (UTC) that was asked about last, and its hours.
    day: Option<(i64, [u8; 24])>,
}

impl LocalWeek {
    /// Of the server whose clock is in `zone`.
    pub fn new(zone: Zone) -> Self {
        Self { zone, day: None }
    }

    /// The hour of the week in which the hour from `start` begins.
    pub fn hour(&mut self, start: UtcSeconds) -> usize {
        use chrono::{Datelike, Timelike};
        let day = start.0.div_euclid(DAY);
        let hours = match self.day {
            Some((known, hours)) if known == day => hours,
            _ => {
                let mut hours = [0; 24];
                for (hour, at) in hours.iter_mut().zip((day * DAY..).step_by(HOUR as usize)) {
                    let local = self.zone.at(UtcSeconds(at));
                    *hour = (local.weekday().num_days_from_monday() * 24 + local.hour()) as u8;
                }
                self.day = Some((day, hours));
                hours
            }
        };
        hours[(start.0.rem_euclid(DAY) / HOUR) as usize].into()
    }
}

/// The greatest number in an hour, and in a day.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Most {
    pub(super) hour: u64,
    pub(super) day: u64,
}

/// Logins and failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) logins: u64,
    pub(crate) failures: u64,
}

impl Counts {
    /// Those of a span.
    pub(super) fn of(slot: &Slot) -> Self {
        Self {
            logins: slot.logins,
            failures: slot.failures,
        }
    }

    /// Adds those of a span.
    pub(crate) fn add(&mut self, slot: &Slot) {
        self.logins += slot.logins;
        self.failures += slot.failures;
    }
}

/// The rhythm of one account name in the weeks before a time.
#[derive(Clone, Debug)]
pub(super) struct Learned {
    /// The weeks with a login at each hour of the week; bit 0 is the last week.
    weeks: [u8; HOURS],
    /// The days with a login, counted back.
    days: u64,
    /// The first login.
    pub(super) first: Option<UtcSeconds>,
    hour: Counts,
    /// Each day that has ended, counted back, and the one that has not.
    by_day: [Counts; WEEKS * 7 + 1],
}

impl Default for Learned {
    fn default() -> Self {
        Self {
            weeks: [0; HOURS],
            days: 0,
            first: None,
            hour: Counts::default(),
            by_day: [Counts::default(); WEEKS * 7 + 1],
        }
    }
}

impl Learned {
    /// Takes what was seen before `until`.
    pub(super) fn learn(&mut self, slot: &Slot, until: UtcSeconds, local: &mut LocalWeek) {
        for hour in slot.hours_with_login().filter(|hour| *hour < until) {
            self.first = Some(self.first.map_or(hour, |first| first.min(hour)));
            let back = (until.0 - 1 - hour.0) / WEEK;
            let bit = u32::try_from(back)
                .ok()
                .and_then(|back| 1_u8.checked_shl(back));
            self.weeks[local.hour(hour)] |= bit.unwrap_or(0);
        }
        let day = |at: UtcSeconds| at.0.div_euclid(DAY);
        let back = usize::try_from(day(until) - day(slot.start)).ok();
        if let Some((back, counts)) = back.and_then(|back| Some((back, self.by_day.get_mut(back)?)))
        {
            counts.add(slot);
            self.days |= u64::from(slot.login_hours != 0) << back;
        }
        if slot.hours == 1 {
            self.hour.logins = self.hour.logins.max(slot.logins);
            self.hour.failures = self.hour.failures.max(slot.failures);
        }
    }

    /// Whether there was a login within an hour of this hour of the week, in other weeks than `but`.
    fn is_usual(&self, hour: usize, but: u8) -> bool {
        let near = [hour + HOURS - 1, hour, hour + 1];
        near.iter().any(|near| self.weeks[near % HOURS] & !but != 0)
    }

    /// Whether a login at this hour of the week is out of the account's rhythm. Only who has one can be:
    /// in none of the weeks that are known would this have been said.
    pub(super) fn is_unusual(&self, hour: usize) -> bool {
        !self.is_usual(hour, 0)
            && self.is_habit()
            && self.usual_hours() <= MOST_HOURS
            && self.is_regular()
    }

    /// Whether it logged in on days enough to speak of habits.
    pub(super) fn is_habit(&self) -> bool {
        self.days.count_ones() >= DAYS
    }

    fn usual_hours(&self) -> usize {
        (0..HOURS).filter(|hour| self.is_usual(*hour, 0)).count()
    }

    /// Whether each week held to the others.
    fn is_regular(&self) -> bool {
        (0..WEEKS as u32).all(|week| {
            let week = 1_u8 << week;
            let mut used = (0..HOURS).filter(|hour| self.weeks[*hour] & week != 0);
            used.all(|hour| self.is_usual(hour, week))
        })
    }

    /// The most logins in an hour and in a whole day.
    pub(super) fn most(&self, of: impl Fn(&Counts) -> u64) -> Most {
        Most {
            hour: of(&self.hour),
            day: self.by_day[1..].iter().map(&of).max().unwrap_or(0),
        }
    }

    /// What was seen of the day that has not ended.
    pub(super) fn today(&self) -> Counts {
        self.by_day[0]
    }
}
