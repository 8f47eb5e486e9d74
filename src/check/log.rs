//! What the log itself is worth: times that it does not cover, records that were not believed.

use super::coverage::Covered;
use super::finding::{Finding, Outcome, some_of};
use super::memory::LogMemory;
use crate::name::Name;
use crate::store::Doubtful;

/// The checks of this file. Only what `known` does not tell of is told.
pub(super) fn check(
    server: &Name,
    covered: &Covered,
    doubts: &[Doubtful],
    known: &LogMemory,
    outcome: &mut Outcome,
) {
    for gap in covered.gaps.iter().filter(|gap| Some(gap.to) > known.gap) {
        let subject = format!("{} to {}", gap.from.rfc3339(), gap.to.rfc3339());
        let message = format!("a login in this time was not seen: {}", gap.why);
        let finding = Finding::new("log-gap", subject, message);
        outcome.find(finding.look("conntracker check --only audit-active,audit-rotation"));
    }
    let new = new_doubts(doubts, known);
    if !new.is_empty() {
        let mut writers: Vec<_> = new
            .iter()
            .map(|doubt| match &doubt.from {
                Some(from) => format!("written from '{from}'"),
                None => "its writer is not known".to_owned(),
            })
            .collect();
        writers.sort();
        writers.dedup();
        let count = match new.len() {
            1 => "a record is".to_owned(),
            count => format!("{count} records are"),
        };
        let message = format!(
            "{count} not believed, {}: somebody may have forged a login; see 'conntracker quarantine'",
            some_of(&writers)
        );
        let finding = Finding::new("forged-records", server.to_string(), message);
        outcome.find(finding.look("conntracker quarantine"));
    }
}

/// Those behind the newest one that was known; or, if that one is gone, as many as there are more.
fn new_doubts<'a>(doubts: &'a [Doubtful], known: &LogMemory) -> &'a [Doubtful] {
    let at = known
        .last_doubt
        .and_then(|last| doubts.iter().rposition(|doubt| mark(doubt) == last));
    match at {
        Some(at) => &doubts[at + 1..],
        None => &doubts[doubts.len().min(known.doubts as usize)..],
    }
}

/// What a record in doubt is recognised by.
pub(super) fn mark(doubt: &Doubtful) -> (u64, u64) {
    (doubt.connectionid, doubt.offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Gap;
    use crate::time::UtcSeconds;

    fn doubt(offset: u64) -> Doubtful {
        Doubtful {
            server: "db1".into(),
            name: "root".into(),
            host: "localhost".into(),
            time: None,
            connectionid: 7,
            why: "no reason".into(),
            from: Some("192.0.2.66".into()),
            file: "server_audit.log".into(),
            offset,
        }
    }

    #[test]
    fn each_gap_and_each_doubt_is_told_once() {
        let gap = |from, to| Gap {
            from: UtcSeconds(from),
            to: UtcSeconds(to),
            why: "rotation was faster".into(),
        };
        let covered = Covered {
            span: Some((UtcSeconds(0), UtcSeconds(100))),
            gaps: vec![gap(10, 20), gap(30, 40)],
        };
        let found = |doubts: &[Doubtful], known: &LogMemory| {
            let mut outcome = Outcome::default();
            check(&"db1".into(), &covered, doubts, known, &mut outcome);
            let findings = outcome.findings.iter();
            findings
                .map(|finding| format!("{} {}", finding.check.id, finding.message))
                .collect::<Vec<_>>()
        };
        let first = found(&[doubt(1), doubt(2)], &LogMemory::default());
        assert_eq!(first.len(), 3, "{first:?}");
        assert!(
            first[2].starts_with(
                "forged-records 2 records are not believed, written from '192.0.2.66'"
            ),
            "{first:?}"
        );
        let known = LogMemory {
            gap: Some(UtcSeconds(40)),
            doubts: 2,
            last_doubt: Some((7, 2)),
            ..LogMemory::default()
        };
        assert!(found(&[doubt(1), doubt(2)], &known).is_empty());
        assert_eq!(
            found(&[doubt(2), doubt(3)], &known).len(),
            1,
            "an old one fell out"
        );
        assert!(found(&[doubt(1)], &known).is_empty(), "one was withdrawn");
    }
}
