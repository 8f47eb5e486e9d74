//! Logins and failures of each name by the hour.
//!
//! Most logins of a client come in the hour of the one before: [`Recent`] adds those up where the
//! client was looked up anyway, so that the hours cost next to nothing. A name is kept once, a slot is a
//! few bytes: a first run over years holds many.

use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;

use super::Map;
use crate::name::Name;
use crate::store::activity::HOUR;
use crate::store::{MAX_FAILED_CONNECTS, Rhythm, Slot};
use crate::time::UtcSeconds;

/// With so many slots, about 100 bytes each on their way into a store, a batch is full. When it is taken,
/// each client in it brings its last hour on top, one slot at the most. Those of 2,000 clients still fit
/// into the table, which doubles behind 14,336.
const MAX_SLOTS: usize = 12_000;

/// The number of all names that are not told apart.
const OTHERS: u32 = 0;

/// Logins of one client in one hour.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recent {
    /// The hour, counted from 1970; none if there was no login.
    hour: Option<u32>,
    connects: u32,
}

impl Recent {
    pub(super) fn new(connects: u32, at: UtcSeconds) -> Self {
        let hour = u32::try_from(at.0 / HOUR).ok().filter(|_| at.0 >= 0);
        Self { hour, connects }
    }

    /// Whether the login is of the same hour, and was added.
    pub(super) fn add(&mut self, connects: u32, at: UtcSeconds) -> bool {
        let same = self.hour.is_some_and(|hour| i64::from(hour) == at.0 / HOUR);
        if same {
            self.connects += connects;
        }
        same
    }
}

#[derive(Clone, Copy, Default)]
struct Counts {
    logins: u32,
    failures: u32,
    login_hours: u32,
}

/// What was seen since the last batch.
#[derive(Default)]
pub(super) struct Hours {
    /// Numbers of the names, from 1 on.
    names: Map<u32>,
    /// How many of them have been given for a failure.
    failed_names: usize,
    /// By name, hour, and whether it stands for its day.
    slots: HashMap<(u32, u32, bool), Counts, foldhash::fast::RandomState>,
    /// Hours before this one stand for their day.
    days_before: u32,
}

impl Hours {
    pub(super) fn new(days_before: Option<UtcSeconds>) -> Self {
        let hour = days_before.and_then(|at| u32::try_from(at.0 / HOUR).ok());
        Self {
            days_before: hour.unwrap_or(0),
            ..Self::default()
        }
    }

    /// Successful logins of `name`.
    pub(super) fn add(&mut self, name: &[u8], recent: Recent) {
        let Some(hour) = recent.hour else { return };
        let number = self.number(name);
        let counts = self.slot(number, hour);
        counts.logins += recent.connects;
        counts.login_hours |= Slot::bit_of(UtcSeconds(i64::from(hour) * HOUR));
    }

    /// A refused login of `name`. Beyond a number of names that only fail they're not told apart; a
    /// store that knows one of them can't tell either, then.
    pub(super) fn failed(&mut self, name: &[u8], at: UtcSeconds) {
        let Some(hour) = Recent::new(0, at).hour else {
            return;
        };
        let number = match self.names.get(name) {
            Some(number) => *number,
            None if self.failed_names >= MAX_FAILED_CONNECTS => OTHERS,
            None => {
                self.failed_names += 1;
                self.number(name)
            }
        };
        self.slot(number, hour).failures += 1;
    }

    pub(super) fn is_full(&self) -> bool {
        self.slots.len() >= MAX_SLOTS
    }

    /// What was seen; begins anew.
    pub(super) fn take(&mut self) -> Vec<Rhythm> {
        let mut names = vec![None; self.names.len() + 1];
        for (name, number) in std::mem::take(&mut self.names) {
            names[number as usize] = Some(Name(name.into_vec()));
        }
        self.failed_names = 0;
        let mut slots: Vec<_> = std::mem::take(&mut self.slots).into_iter().collect();
        slots.sort_unstable_by_key(|(key, _)| *key);
        let mut rhythm = Vec::new();
        for of_name in slots.chunk_by(|((one, ..), _), ((other, ..), _)| one == other) {
            let slot = |((_, hour, is_day), counts): &((_, u32, bool), Counts)| {
                let start = UtcSeconds(i64::from(*hour) * HOUR);
                Slot {
                    logins: counts.logins.into(),
                    failures: counts.failures.into(),
                    login_hours: counts.login_hours,
                    ..if *is_day {
                        Slot::day_of(start)
                    } else {
                        Slot::hour_of(start)
                    }
                }
            };
            rhythm.extend(of_name.first().map(|((number, ..), _)| Rhythm {
                name: names[*number as usize].take(),
                slots: of_name.iter().map(slot).collect(),
            }));
        }
        rhythm
    }

    fn number(&mut self, name: &[u8]) -> u32 {
        let next = self.names.len() as u32 + 1;
        match self.names.entry_ref(name) {
            EntryRef::Occupied(entry) => *entry.get(),
            EntryRef::Vacant(entry) => *entry.insert_with_key(name.into(), next),
        }
    }

    fn slot(&mut self, number: u32, hour: u32) -> &mut Counts {
        let is_day = hour < self.days_before;
        let start = if is_day { hour - hour % 24 } else { hour };
        self.slots.entry((number, start, is_day)).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::activity::DAY;

    fn seen(hours: &mut Hours) -> Vec<(Option<String>, Vec<Slot>)> {
        let text = |name: Name| name.escaped();
        let rhythm = hours.take().into_iter();
        rhythm
            .map(|rhythm| (rhythm.name.map(text), rhythm.slots))
            .collect()
    }

    fn slot(slot: Slot, logins: u64, failures: u64, login_hours: u32) -> Slot {
        Slot {
            logins,
            failures,
            login_hours,
            ..slot
        }
    }

    #[test]
    fn what_is_old_is_told_by_the_day_at_once() {
        let at = |day: i64, hour: i64| UtcSeconds(day * DAY + hour * HOUR + 59);
        let mut hours = Hours::new(Some(UtcSeconds(10 * DAY)));
        for (day, hour, connects) in [(9, 1, 2), (9, 23, 1), (10, 0, 1), (10, 1, 0)] {
            hours.add(b"a", Recent::new(connects, at(day, hour)));
        }
        hours.failed(b"a", at(9, 5));
        hours.failed(b"b", at(10, 5));
        let hour = |at| Slot::hour_of(at);
        let a = vec![
            slot(Slot::day_of(at(9, 0)), 3, 1, 1 << 1 | 1 << 23),
            slot(hour(at(10, 0)), 1, 0, 1),
            slot(hour(at(10, 1)), 0, 0, 2),
        ];
        let b = vec![slot(hour(at(10, 5)), 0, 1, 0)];
        assert_eq!(
            seen(&mut hours),
            [(Some("a".into()), a), (Some("b".into()), b)]
        );
        assert_eq!(seen(&mut hours), []);
    }

    #[test]
    fn times_before_1970_are_of_no_hour() {
        let mut hours = Hours::default();
        for at in [-1, i64::MIN] {
            hours.failed(b"a", UtcSeconds(at));
            hours.add(b"a", Recent::new(1, UtcSeconds(at)));
        }
        assert_eq!(seen(&mut hours), []);
    }

    #[test]
    fn whoever_fails_with_ever_new_names_takes_no_room() {
        let mut hours = Hours::default();
        hours.add(b"known", Recent::new(1, UtcSeconds(0)));
        for n in 0..MAX_FAILED_CONNECTS + 5 {
            hours.failed(format!("guess{n}").as_bytes(), UtcSeconds(0));
        }
        hours.failed(b"known", UtcSeconds(0));
        let seen = seen(&mut hours);
        assert_eq!(seen.len(), MAX_FAILED_CONNECTS + 2);
        let failures = |name: Option<&str>| {
            let found = seen.iter().find(|(other, _)| other.as_deref() == name);
            found.map(|(_, slots)| slots[0].failures)
        };
        assert_eq!(failures(None), Some(5));
        assert_eq!(failures(Some("known")), Some(1));
        assert_eq!(failures(Some("guess0")), Some(1));
    }

    #[test]
    fn many_hours_fill_a_batch() {
        let mut hours = Hours::default();
        for n in 0..MAX_SLOTS as i64 {
            assert!(!hours.is_full(), "{n} slots");
            hours.add(b"a", Recent::new(1, UtcSeconds(n * HOUR)));
        }
        assert!(hours.is_full());
    }
}
