//! What the owner wants of the checks: which are made, how bad each is, what is known and accepted.

use chrono::NaiveDate;

use super::expected::Client;
use super::finding::{Finding, Outcome, Severity, Unchecked};
use super::registry::{CHECKS, Check, Needs};
use crate::time::UtcSeconds;

/// A finding that is known and stays silent until a date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// The check.
    pub check: &'static Check,
    /// The subject as it is told; `*` for all.
    pub subject: String,
    /// Why it may stay so.
    pub reason: String,
    /// The last day on which it may.
    pub until: NaiveDate,
}

/// What the owner wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Only these checks; empty: all.
    pub only: Vec<&'static Check>,
    /// Not these.
    pub skip: Vec<&'static Check>,
    /// How bad what a check finds is, in place of what it says itself.
    pub severity: Vec<(&'static Check, Severity)>,
    /// What is known and accepted.
    pub accept: Vec<Acceptance>,
    /// The clients that are expected.
    pub expect_clients: Vec<Client>,
}

/// A finding that was accepted, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// What was found.
    pub finding: Finding,
    /// Why it may stay so.
    pub reason: String,
    /// The last day on which it may.
    pub until: NaiveDate,
}

/// What is left to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// What is worth a look, the worst first.
    pub findings: Vec<Finding>,
    /// What is known.
    pub accepted: Vec<Accepted>,
    /// What could not be checked.
    pub unchecked: Vec<Unchecked>,
    /// Checks that need more history; not told, but not passed.
    pub too_early: Vec<&'static Check>,
}

impl Policy {
    /// Whether this check is to be made.
    pub fn wants(&self, check: &Check) -> bool {
        let among = |list: &[&Check]| list.iter().any(|one| one.id == check.id);
        (self.only.is_empty() || among(&self.only)) && !among(&self.skip)
    }

    /// Whether any check is to be made that needs one of these.
    pub fn needs(&self, needs: &[Needs]) -> bool {
        CHECKS
            .iter()
            .any(|check| needs.contains(&check.needs) && self.wants(check))
    }

    /// What of `outcome` the owner wants to be told.
    pub fn apply(&self, outcome: Outcome, now: UtcSeconds) -> Applied {
        let mut applied = Applied {
            too_early: outcome.too_early,
            ..Applied::default()
        };
        for mut finding in outcome.findings {
            if !self.wants(finding.check) {
                continue;
            }
            if let Some((_, severity)) = self
                .severity
                .iter()
                .find(|(check, _)| *check == finding.check)
            {
                finding.severity = *severity;
            }
            let accepts = |acceptance: &&Acceptance| {
                acceptance.check == finding.check
                    && (acceptance.subject == "*" || acceptance.subject == finding.subject)
            };
            // The longest counts; if all have passed, the last of them is told.
            let acceptance = self
                .accept
                .iter()
                .filter(accepts)
                .max_by_key(|one| one.until);
            match acceptance {
                Some(acceptance) if !has_passed(acceptance.until, now) => {
                    applied.accepted.push(Accepted {
                        finding,
                        reason: acceptance.reason.clone(),
                        until: acceptance.until,
                    });
                }
                Some(acceptance) => {
                    finding.message =
                        format!("{} (accepted until {})", finding.message, acceptance.until);
                    applied.findings.push(finding);
                }
                None => applied.findings.push(finding),
            }
        }
        let unchecked = outcome.unchecked.into_iter();
        applied.unchecked = unchecked.filter(|one| self.wants(one.check)).collect();
        let place = |check: &Check| CHECKS.iter().position(|one| one.id == check.id);
        applied.findings.sort_by(|a, b| {
            let key =
                |finding: &Finding| (std::cmp::Reverse(finding.severity), place(finding.check));
            key(a).cmp(&key(b)).then_with(|| a.subject.cmp(&b.subject))
        });
        applied
    }
}

/// Days end in UTC here: an acceptance that ends some hours later or earlier is none the worse.
fn has_passed(until: NaiveDate, now: UtcSeconds) -> bool {
    let end = until
        .and_hms_opt(23, 59, 59)
        .map(|end| end.and_utc().timestamp());
    end.is_none_or(|end| now.0 > end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::registry::parse;

    fn finding(id: &str, subject: &str) -> Finding {
        Finding::new(id, subject, "wrong")
    }

    fn outcome() -> Outcome {
        let mut outcome = Outcome::default();
        outcome.find(finding("wide-scope", "b"));
        outcome.find(finding("empty-password", "z"));
        outcome.find(finding("wide-scope", "a"));
        outcome.find(finding("bind-address", "x"));
        outcome.not_checked(&["client-host", "log-gap"], "no right");
        outcome
    }

    /// Check and subject of what is told.
    fn told(policy: &Policy) -> Vec<String> {
        let applied = policy.apply(outcome(), UtcSeconds(0));
        let findings = applied
            .findings
            .iter()
            .map(|one| format!("{} {}", one.check.id, one.subject));
        findings
            .chain(applied.unchecked.iter().map(|one| one.check.id.to_owned()))
            .collect()
    }

    #[test]
    fn the_worst_comes_first() {
        let all = [
            "empty-password z",
            "bind-address x",
            "wide-scope a",
            "wide-scope b",
            "client-host",
            "log-gap",
        ];
        assert_eq!(told(&Policy::default()), all);
        let policy = Policy {
            severity: vec![(parse("wide-scope").unwrap(), Severity::Critical)],
            ..Policy::default()
        };
        assert_eq!(told(&policy)[..2], ["empty-password z", "wide-scope a"]);
    }

    #[test]
    fn what_is_not_wanted_is_not_told() {
        let check = |id| parse(id).unwrap();
        let only = Policy {
            only: vec![check("wide-scope"), check("log-gap"), check("bind-address")],
            skip: vec![check("bind-address")],
            ..Policy::default()
        };
        assert_eq!(told(&only), ["wide-scope a", "wide-scope b", "log-gap"]);
        assert!(only.needs(&[Needs::Log]) && only.needs(&[Needs::Server]));
        let of_log = Policy {
            only: vec![check("log-gap")],
            ..Policy::default()
        };
        assert!(!of_log.needs(&[Needs::Server, Needs::Both]));
    }

    #[test]
    fn an_accepted_finding_is_silent_until_its_date() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let accept = |subject: &str, until: &str| Acceptance {
            check: parse("wide-scope").unwrap(),
            subject: subject.into(),
            reason: "two tenants".into(),
            until: day(until),
        };
        let policy = |accept| Policy {
            accept,
            ..Policy::default()
        };
        // 1970-01-02 00:00:00 is behind the last second of the first day.
        for (accept, now, told, accepted) in [
            (vec![accept("a", "1970-01-01")], 86_399, 3, 1),
            (vec![accept("a", "1970-01-01")], 86_400, 4, 0),
            (
                vec![accept("a", "1970-01-01"), accept("a", "1970-01-02")],
                86_400,
                3,
                1,
            ),
            (vec![accept("*", "1970-01-01")], 0, 2, 2),
            (vec![accept("A", "1970-01-01")], 0, 4, 0),
        ] {
            let applied = policy(accept).apply(outcome(), UtcSeconds(now));
            assert_eq!(
                (applied.findings.len(), applied.accepted.len()),
                (told, accepted),
                "{now}"
            );
        }
        let applied = policy(vec![accept("a", "1970-01-01")]).apply(outcome(), UtcSeconds(86_400));
        assert!(
            applied
                .findings
                .iter()
                .any(|one| one.message == "wrong (accepted until 1970-01-01)")
        );
    }
}
