//! Refused logins by where they came from.

use hashbrown::HashMap;

use super::When;
use super::chart::{Axis, Bar};
use crate::name::Name;
use crate::report::table::readable;
use crate::store::FailedConnect;
use crate::time::{UtcSeconds, Zone};

/// More sources than these are summed up.
const MAX_SOURCES: usize = 200;
/// How many of the names that a source tried are named.
const NAMED: usize = 4;

/// What one host tried.
pub(super) struct Source {
    pub(super) host: String,
    pub(super) attempts: u64,
    pub(super) names: String,
    pub(super) codes: String,
    pub(super) first: When,
    pub(super) last: When,
    /// From the first to the last attempt, in the time that is shown.
    pub(super) bar: Bar,
}

/// All sources.
pub(super) struct Sources {
    /// Those with the most attempts first.
    pub(super) rows: Vec<Source>,
    /// How many more sources there are, and their attempts.
    pub(super) more: (usize, u64),
    pub(super) attempts: u64,
    /// What the bars are drawn in.
    pub(super) span: Option<(When, When)>,
}

struct Seen<'a> {
    attempts: u64,
    names: Vec<&'a Name>,
    /// Some attempts are counted in a row that stands for many names.
    other_names: bool,
    codes: Vec<u32>,
    first: UtcSeconds,
    last: UtcSeconds,
}

pub(super) fn by_source(failures: &[FailedConnect], zone: &Zone) -> Sources {
    let mut hosts: HashMap<Option<&Name>, Seen<'_>> = HashMap::new();
    for failed in failures {
        let seen = hosts.entry(failed.host.as_ref()).or_insert(Seen {
            attempts: 0,
            names: Vec::new(),
            other_names: false,
            codes: Vec::new(),
            first: failed.first_seen,
            last: failed.last_seen,
        });
        seen.attempts += failed.attempts;
        seen.first = seen.first.min(failed.first_seen);
        seen.last = seen.last.max(failed.last_seen);
        seen.names.extend(&failed.name);
        seen.other_names |= failed.name.is_none();
        seen.codes.extend(failed.code);
    }
    let span = hosts.values().map(|seen| seen.first).min();
    let span = span.zip(hosts.values().map(|seen| seen.last).max());
    let mut hosts: Vec<_> = hosts.into_iter().collect();
    hosts.sort_by(|(a_host, a), (b_host, b)| {
        (b.attempts, b.last, a_host).cmp(&(a.attempts, a.last, b_host))
    });
    let attempts = hosts.iter().map(|(_, seen)| seen.attempts).sum();
    let rest = hosts.split_off(hosts.len().min(MAX_SOURCES));
    let axis = Axis::of(span);
    let source = |(host, mut seen): (Option<&Name>, Seen<'_>)| {
        seen.codes.sort_unstable();
        seen.codes.dedup();
        let codes: Vec<_> = seen.codes.iter().map(u32::to_string).collect();
        Source {
            host: host.map_or("(other hosts)".into(), Name::escaped),
            attempts: seen.attempts,
            names: names(seen.names, seen.other_names),
            codes: codes.join(", "),
            first: When::at(seen.first, zone),
            last: When::at(seen.last, zone),
            bar: axis.bar(seen.first, seen.last),
        }
    };
    Sources {
        rows: hosts.into_iter().map(source).collect(),
        more: (rest.len(), rest.iter().map(|(_, seen)| seen.attempts).sum()),
        attempts,
        span: span.map(|(first, last)| (When::at(first, zone), When::at(last, zone))),
    }
}

fn names(mut names: Vec<&Name>, others: bool) -> String {
    names.sort_unstable();
    names.dedup();
    let more = names.len().saturating_sub(NAMED);
    let mut named: Vec<_> = names
        .iter()
        .take(NAMED)
        .map(|name| readable(name))
        .collect();
    if others {
        named.push("(other names)".into());
    } else if more > 0 {
        named.push(format!("{more} more"));
    }
    named.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::failure;

    #[test]
    fn sources_are_summed_up() {
        let rows = [
            failure(Some("root"), Some("10.0.0.9")),
            failure(Some("admin"), Some("10.0.0.9")),
            failure(Some("x"), Some("10.0.0.1")),
            failure(None, None),
        ];
        let sources = by_source(&rows, &Zone::UTC);
        let line = |one: &Source| format!("{} {} {}", one.host, one.attempts, one.names);
        let lines: Vec<_> = sources.rows.iter().map(line).collect();
        assert_eq!(
            lines,
            [
                "10.0.0.9 6 admin, root",
                "(other hosts) 3 (other names)",
                "10.0.0.1 3 x",
            ]
        );
        assert_eq!((sources.attempts, sources.more), (12, (0, 0)));
    }

    #[test]
    fn no_attacker_makes_the_page_long() {
        let rows: Vec<_> = (0..1_000)
            .map(|n| failure(Some(&format!("n{n}")), Some(&format!("h{}", n % 300))))
            .collect();
        let sources = by_source(&rows, &Zone::UTC);
        assert_eq!(sources.rows.len(), MAX_SOURCES);
        assert_eq!(sources.attempts, 3_000);
        let listed: u64 = sources.rows.iter().map(|one| one.attempts).sum();
        assert_eq!(sources.more, (100, 3_000 - listed));
    }
}
