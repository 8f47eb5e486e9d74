//! What happened, in numbers: how often each account came in and how often who was refused with
//! which code. The clients of a test add up theirs, the program reports its own, and a test
//! compares the two.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

/// Logins by (name, host), failures by (name, host, code).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    connects: BTreeMap<(String, String), u64>,
    failures: BTreeMap<(String, String, u16), u64>,
}

impl Figures {
    /// What the program reported. Accounts that never connected are left out.
    pub(crate) fn reported(accounts: &[Value], failures: &[Value]) -> Self {
        let mut figures = Self::default();
        for row in accounts {
            let count = number(row, "connects");
            if count > 0 {
                let old = figures
                    .connects
                    .insert((text(row, "name"), text(row, "host")), count);
                assert_eq!(old, None, "two rows for one account: {row}");
            }
        }
        for row in failures {
            let code = u16::try_from(number(row, "code")).expect("an error code");
            let key = (text(row, "name"), text(row, "host"), code);
            let old = figures.failures.insert(key, number(row, "attempts"));
            assert_eq!(old, None, "two rows for one kind of failure: {row}");
        }
        figures
    }

    pub(crate) fn add_connects(&mut self, name: &str, host: &str, count: u64) {
        *self
            .connects
            .entry((name.to_owned(), host.to_owned()))
            .or_default() += count;
    }

    pub(crate) fn add_failure(&mut self, name: &str, host: &str, code: u16) {
        *self
            .failures
            .entry((name.to_owned(), host.to_owned(), code))
            .or_default() += 1;
    }

    /// Adds those of another client.
    pub(crate) fn merge(&mut self, other: Self) {
        for (key, count) in other.connects {
            *self.connects.entry(key).or_default() += count;
        }
        for (key, count) in other.failures {
            *self.failures.entry(key).or_default() += count;
        }
    }

    /// Logins of each name, and all failures.
    pub(crate) fn by_name(&self) -> (BTreeMap<String, u64>, u64) {
        let mut logins = BTreeMap::new();
        for ((name, _), count) in &self.connects {
            *logins.entry(name.clone()).or_default() += count;
        }
        (logins, self.failures.values().sum())
    }

    /// How many events these figures stand for.
    pub(crate) fn events(&self) -> u64 {
        self.connects.values().sum::<u64>() + self.failures.values().sum::<u64>()
    }

    /// The codes that failures ended with.
    pub(crate) fn codes(&self) -> Vec<u16> {
        let mut codes: Vec<_> = self.failures.keys().map(|&(_, _, code)| code).collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }

    /// Whether some figure is greater than it should be, which no later run can mend.
    pub(crate) fn exceed(&self, expected: &Self) -> bool {
        let connects = self
            .connects
            .iter()
            .any(|(key, count)| *count > expected.connects.get(key).copied().unwrap_or_default());
        let failures = self
            .failures
            .iter()
            .any(|(key, count)| *count > expected.failures.get(key).copied().unwrap_or_default());
        connects || failures
    }

    /// The figures that are not as expected, one a line.
    pub(crate) fn difference(&self, expected: &Self) -> String {
        let mut lines = String::new();
        for key in union(&self.connects, &expected.connects) {
            let (is, should) = (self.connects.get(key), expected.connects.get(key));
            if is != should {
                let (name, host) = key;
                let _ = writeln!(
                    lines,
                    "{name:?}@{host:?}: {} connects, should be {}",
                    is.unwrap_or(&0),
                    should.unwrap_or(&0)
                );
            }
        }
        for key in union(&self.failures, &expected.failures) {
            let (is, should) = (self.failures.get(key), expected.failures.get(key));
            if is != should {
                let (name, host, code) = key;
                let _ = writeln!(
                    lines,
                    "{name:?}@{host:?}: {} failures with {code}, should be {}",
                    is.unwrap_or(&0),
                    should.unwrap_or(&0)
                );
            }
        }
        lines
    }
}

fn union<'a, K: Ord>(a: &'a BTreeMap<K, u64>, b: &'a BTreeMap<K, u64>) -> Vec<&'a K> {
    let mut keys: Vec<_> = a.keys().chain(b.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn text(row: &Value, field: &str) -> String {
    match row[field].as_str() {
        Some(text) => text.to_owned(),
        None => panic!("no text in the field {field:?} of {row}"),
    }
}

fn number(row: &Value, field: &str) -> u64 {
    row[field]
        .as_u64()
        .unwrap_or_else(|| panic!("no count in the field {field:?} of {row}"))
}
