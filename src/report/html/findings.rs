//! Findings by check: a thousand unused accounts are one thing to know.

use crate::check::{self, Finding, Place};
use crate::report::check::remedies;
use crate::report::table::harmless;

/// Of so many findings of one check the first are listed.
const MAX_LISTED: usize = 100;

/// A longer list is folded.
const LONG: usize = 6;

/// What one check found, harmless to show.
pub(super) struct Group {
    pub(super) severity: &'static str,
    pub(super) check: &'static str,
    pub(super) title: &'static str,
    pub(super) rules: &'static str,
    pub(super) count: usize,
    /// What is wrong, where it is the same of all.
    pub(super) message: Option<String>,
    /// What it is about, and what is wrong where that differs.
    pub(super) listed: Vec<(String, String)>,
    /// What cures those that are listed, and where it belongs.
    pub(super) remedies: Vec<(&'static str, String)>,
}

/// Neighbours of one check and severity together; they come sorted by both.
pub(super) fn by_check(findings: &[Finding]) -> Vec<Group> {
    let alike = |a: &Finding, b: &Finding| a.check == b.check && a.severity == b.severity;
    let groups = findings.chunk_by(alike);
    groups
        .filter_map(|group| Some(Group::of(group.first()?, group)))
        .collect()
}

impl Group {
    fn of(first: &Finding, findings: &[Finding]) -> Self {
        let same = findings.iter().all(|one| one.message == first.message);
        let listed = &findings[..findings.len().min(MAX_LISTED)];
        let line = |one: &Finding| {
            let message = if same {
                String::new()
            } else {
                harmless(&one.message)
            };
            (harmless(&one.subject), message)
        };
        let remedy = |(place, words)| {
            let lines: Vec<_> = remedies(listed, place).into_iter().map(harmless).collect();
            (!lines.is_empty()).then(|| (words, lines.join("\n")))
        };
        Self {
            severity: first.severity.name(),
            check: first.check.id,
            title: first.check.title,
            rules: first.check.rules,
            count: findings.len(),
            message: same.then(|| harmless(&first.message)),
            listed: listed.iter().map(line).collect(),
            remedies: [
                (Place::Sql, "In mariadb, as an administrator"),
                (
                    Place::Options,
                    "In a file of options; then restart the server",
                ),
                (Place::Shell, "In a shell on the database host"),
                (Place::Look, "To see what is behind it"),
            ]
            .into_iter()
            .filter_map(remedy)
            .collect(),
        }
    }

    pub(super) fn is_long(&self) -> bool {
        self.listed.len() > LONG
    }

    pub(super) fn more(&self) -> usize {
        self.count - self.listed.len()
    }
}

/// A finding that is known and stays silent until a date.
pub(super) struct Accepted {
    pub(super) check: &'static str,
    pub(super) subject: String,
    pub(super) reason: String,
    pub(super) until: String,
}

impl Accepted {
    pub(super) fn of(accepted: &check::Accepted) -> Self {
        Self {
            check: accepted.finding.check.id,
            subject: harmless(&accepted.finding.subject),
            reason: harmless(&accepted.reason),
            until: accepted.until.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_is_said_once() {
        let mut findings: Vec<_> = (0..MAX_LISTED + 5)
            .map(|n| {
                Finding::new("empty-password", format!("'u{n}'@'%'"), "no password")
                    .sql(&[format!("ALTER USER u{n} ACCOUNT LOCK;")])
            })
            .collect();
        findings.push(Finding::new("all-privileges", "a", "one").sql(&["REVOKE x;".into()]));
        findings.push(Finding::new("all-privileges", "b", "other").sql(&["REVOKE x;".into()]));
        let groups = by_check(&findings);
        let [passwords, privileges] = &groups[..] else {
            panic!("{} groups", groups.len())
        };
        assert_eq!(passwords.message.as_deref(), Some("no password"));
        assert_eq!((passwords.count, passwords.more()), (MAX_LISTED + 5, 5));
        assert_eq!(passwords.remedies[0].1.lines().count(), MAX_LISTED);
        assert_eq!(privileges.message, None);
        assert_eq!(privileges.listed[1], ("b".into(), "other".into()));
        assert_eq!(privileges.remedies[0].1, "REVOKE x;");
    }
}
