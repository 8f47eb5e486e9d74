//! Failed logins are bounded: whoever fails with ever new names must not fill a store.
//!
//! Beyond [`MAX_FAILED_CONNECTS`] rows of a server, all names of a host are counted in one row, and
//! beyond as many of those, all hosts in one row.

use std::collections::{BTreeMap, HashSet};

use super::{FailedConnect, MAX_FAILED_CONNECTS};
use crate::name::Name;
use crate::time::UtcSeconds;

/// What identifies a row of one server: name, host, code. Code 0 marks a row that stands for many;
/// its name is empty, and its host too if it stands for all.
pub(super) type Key = (Name, Name, u32);

/// What is to be added to a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempts {
    pub(super) first_seen: UtcSeconds,
    pub(super) last_seen: UtcSeconds,
    pub(super) attempts: u64,
}

/// Whether `more` failures could lead beyond the bound, so that [`fold`] has to know which rows
/// there are.
pub(super) fn needs_keys(rows: usize, more: usize) -> bool {
    rows + more > MAX_FAILED_CONNECTS
}

/// The rows that `failed` adds to, in key order. `rows` is the number of rows that the server has,
/// `known` their keys (empty where [`needs_keys`] says so).
pub(super) fn fold(
    failed: &[FailedConnect],
    mut rows: usize,
    mut known: HashSet<Key>,
) -> BTreeMap<Key, Attempts> {
    let mut folded = BTreeMap::new();
    let none = Name::default();
    for failed in failed {
        let host = failed.host.as_ref().unwrap_or(&none);
        let whole = (
            failed.name.clone().unwrap_or_default(),
            host.clone(),
            failed.code.unwrap_or(0),
        );
        let keys = [
            (whole, MAX_FAILED_CONNECTS),
            ((none.clone(), host.clone(), 0), 2 * MAX_FAILED_CONNECTS),
            ((none.clone(), none.clone(), 0), usize::MAX),
        ];
        let fits = |(key, most): &(Key, usize)| known.contains(key) || rows < *most;
        let Some((key, _)) = keys.into_iter().find(fits) else {
            continue;
        };
        if known.insert(key.clone()) {
            rows += 1;
        }
        let add = Attempts {
            first_seen: failed.first_seen,
            last_seen: failed.last_seen,
            attempts: failed.attempts,
        };
        folded
            .entry(key)
            .and_modify(|seen: &mut Attempts| {
                seen.first_seen = seen.first_seen.min(add.first_seen);
                seen.last_seen = seen.last_seen.max(add.last_seen);
                seen.attempts += add.attempts;
            })
            .or_insert(add);
    }
    folded
}

/// The row that a store keeps under `key`, as its readers see it.
pub(super) fn row(server: Name, (name, host, code): Key, seen: Attempts) -> FailedConnect {
    FailedConnect {
        server,
        name: (code != 0).then_some(name),
        host: (code != 0 || !host.0.is_empty()).then_some(host),
        code: (code != 0).then_some(code),
        first_seen: seen.first_seen,
        last_seen: seen.last_seen,
        attempts: seen.attempts,
    }
}
