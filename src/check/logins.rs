//! Refused logins: how many, from where, and what they look like.
//!
//! The store adds attempts up, so that what is new since the last check is the difference from what
//! was known then.

use std::collections::BTreeMap;

use super::clients::{from, which};
use super::finding::{Finding, Outcome, lock, some_of};
use super::memory::Attempts;
use super::{Judged, Login};
use crate::name::Name;
use crate::store::{AccountUse, FailedConnect};
use crate::time::{Span, UtcSeconds};

/// So many different names from one host within [`BURST`] are no typing errors.
const MANY_NAMES: usize = 5;
const BURST: i64 = 3_600;

/// So many refusals before the first success are no forgotten password.
const MANY_ATTEMPTS: u64 = 10;

/// Errors that say nothing of who wanted in: too many connections, a broken or given up handshake.
/// Load balancers that only look whether the port answers leave these.
const NOT_ABOUT_LOGINS: [u32; 9] = [1040, 1043, 1152, 1153, 1156, 1158, 1159, 1160, 1161];

/// What is new since the last check.
#[derive(Clone, Copy, Debug)]
pub(super) struct Since {
    /// When that was; none if this is the first.
    pub(super) checked: Option<UtcSeconds>,
    /// The time of the last record that was known then.
    pub(super) read: Option<UtcSeconds>,
    /// Now.
    pub(super) now: UtcSeconds,
}

impl Since {
    /// What shows the refusals since then.
    fn failures(self) -> String {
        let hours = |checked: UtcSeconds| (self.now.0 - checked.0).max(0) / 3_600 + 1;
        match self.checked {
            Some(checked) => format!("conntracker failures --since {}h", hours(checked)),
            None => "conntracker failures".to_owned(),
        }
    }
}

/// The checks of this file. Returns what is to be remembered.
pub(super) fn check(
    server: &Name,
    failures: &[FailedConnect],
    logins: &[AccountUse],
    judged: Option<&Judged<'_>>,
    known: &[Attempts],
    since: Since,
    outcome: &mut Outcome,
) -> Vec<Attempts> {
    let failures: Vec<_> = failures
        .iter()
        .filter(|row| {
            row.code
                .is_none_or(|code| !NOT_ABOUT_LOGINS.contains(&code))
        })
        .collect();
    let mut by_host: BTreeMap<Name, u64> = BTreeMap::new();
    for row in &failures {
        *by_host
            .entry(row.host.clone().unwrap_or_default())
            .or_default() += row.attempts;
    }
    let known: BTreeMap<_, _> = known.iter().map(|row| (&row.host, row.attempts)).collect();
    let new = by_host.iter().map(|(host, attempts)| {
        (
            host,
            attempts.saturating_sub(known.get(host).copied().unwrap_or(0)),
        )
    });
    outcome.findings.extend(refused(
        server,
        new.filter(|(_, new)| *new > 0).collect(),
        since,
    ));
    outcome.findings.extend(bursts(&failures, since));
    outcome
        .findings
        .extend(guessed(&failures, logins, judged, since));
    let accounts = judged.map(|judged| judged.accounts.rows());
    outcome
        .findings
        .extend(failing(&failures, logins, accounts, since));
    let remember = |(host, attempts)| Attempts { host, attempts };
    by_host.into_iter().map(remember).collect()
}

fn refused(server: &Name, mut new: Vec<(&Name, u64)>, since: Since) -> Option<Finding> {
    let total: u64 = new.iter().map(|(_, attempts)| attempts).sum();
    if total == 0 {
        return None;
    }
    new.sort_by_key(|(host, attempts)| (std::cmp::Reverse(*attempts), *host));
    let source = |(host, attempts): &(&Name, u64)| match host.0.is_empty() {
        true => format!("other hosts {attempts}"),
        false => format!("'{host}' {attempts}"),
    };
    let sources: Vec<_> = new.iter().map(source).collect();
    let when = match since.checked {
        Some(checked) => {
            let seconds = (since.now.0 - checked.0).max(1);
            let rate = total as f64 * 3_600.0 / seconds as f64;
            let span = Span(seconds).in_words();
            format!("since the last check {span} ago, {rate:.1} an hour")
        }
        None => "in all of the log that was read".to_owned(),
    };
    let logins = if total == 1 {
        "login was"
    } else {
        "logins were"
    };
    let message = format!("{total} {logins} refused {when}: {}", some_of(&sources));
    let finding = Finding::new("failed-logins", server.to_string(), message);
    Some(finding.look(since.failures()))
}

/// Names that were tried in a short time from one host.
fn bursts(failures: &[&FailedConnect], since: Since) -> Vec<Finding> {
    let mut tried: BTreeMap<&Name, Vec<(UtcSeconds, Option<&Name>)>> = BTreeMap::new();
    for row in failures
        .iter()
        .filter(|row| Some(row.last_seen) > since.read)
    {
        if let Some(host) = &row.host {
            tried
                .entry(host)
                .or_default()
                .push((row.last_seen, row.name.as_ref()));
        }
    }
    let mut findings = Vec::new();
    for (host, mut names) in tried {
        names.sort();
        // One name may have been refused with several errors.
        let count = |window: &[(UtcSeconds, Option<&Name>)]| {
            let mut names: Vec<_> = window.iter().map(|(_, name)| name).collect();
            names.sort();
            names.dedup();
            match names.first() {
                // A row that stands for many.
                Some(None) => MANY_NAMES + names.len(),
                _ => names.len(),
            }
        };
        let window = |from: usize| {
            let end = names[from..].partition_point(|(at, _)| at.0 - names[from].0.0 <= BURST);
            &names[from..from + end]
        };
        let most = (0..names.len())
            .map(|from| count(window(from)))
            .max()
            .unwrap_or(0);
        if most >= MANY_NAMES {
            let message = format!(
                "tried {most} or more different names within {}, and was refused: somebody guesses",
                Span(BURST).in_words()
            );
            let finding = Finding::new("login-burst", format!("'{host}'"), message);
            findings.push(finding.look(since.failures()));
        }
    }
    findings
}

/// Who had been refused many times, before he came in for the first time from there.
fn guessed(
    failures: &[&FailedConnect],
    logins: &[AccountUse],
    judged: Option<&Judged<'_>>,
    since: Since,
) -> Vec<Finding> {
    let owner = |login: &AccountUse| {
        let judged = judged?;
        let mut all = judged.logins.iter();
        let is = |one: &&Login<'_>| one.used.name == login.name && one.used.host == login.host;
        Some(judged.accounts.row(all.find(is)?.attribution.exact()?))
    };
    let mut findings = Vec::new();
    let attempts = attempts_of(failures);
    for login in logins {
        let Some(&(tries, first, last)) = attempts.get(&(&login.name, &login.host)) else {
            continue;
        };
        let Some(came_in) = login.first_seen else {
            continue;
        };
        if tries >= MANY_ATTEMPTS && last <= came_in && Some(came_in) > since.read {
            let message = format!(
                "came in for the first time from there at {}, after {tries} refusals since {}: was the \
                 password guessed?",
                came_in.rfc3339(),
                first.rfc3339(),
            );
            let subject = from(&login.name, &login.host);
            let finding = Finding::new("guessed-password", subject, message);
            findings.push(match owner(login) {
                Some(account) => finding.sql(&[lock(account)]),
                None => finding.look(which(&login.name, &login.host)),
            });
        }
    }
    findings
}

type Tries<'a> = BTreeMap<(&'a Name, &'a Name), (u64, UtcSeconds, UtcSeconds)>;

/// Refusals of each client: how many, the first and the last.
fn attempts_of<'a>(failures: &[&'a FailedConnect]) -> Tries<'a> {
    let mut attempts = Tries::new();
    for row in failures {
        if let (Some(name), Some(host)) = (&row.name, &row.host) {
            let of = attempts
                .entry((name, host))
                .or_insert((0, row.first_seen, row.last_seen));
            *of = (
                of.0 + row.attempts,
                of.1.min(row.first_seen),
                of.2.max(row.last_seen),
            );
        }
    }
    attempts
}

/// Clients that only ever fail: a service with an old password. Where the accounts are known, only
/// their names count; others are guesses.
fn failing(
    failures: &[&FailedConnect],
    logins: &[AccountUse],
    accounts: Option<&[crate::account::Account]>,
    since: Since,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for ((name, host), (tries, first, last)) in attempts_of(failures) {
        let is_account = accounts.is_none_or(|all| all.iter().any(|account| account.user == *name));
        let came_in = || {
            let is = |login: &&AccountUse| login.name == *name && login.host == *host;
            logins.iter().find(is).and_then(|login| login.last_seen)
        };
        let is_new = Some(last) > since.read;
        if tries >= MANY_ATTEMPTS && is_new && is_account && came_in() < Some(first) {
            let message = format!(
                "refused {tries} times since {}, last {}, and never let in: a service with an old \
                 password, or somebody who guesses",
                first.rfc3339(),
                last.rfc3339(),
            );
            let finding = Finding::new("failing-account", from(name, host), message);
            findings.push(finding.look(which(name, host)));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Since = Since {
        checked: None,
        read: None,
        now: UtcSeconds(100_000),
    };

    fn failed(name: &str, host: &str, attempts: u64, first: i64, last: i64) -> FailedConnect {
        FailedConnect {
            server: "db1".into(),
            name: Some(name.into()),
            host: Some(host.into()),
            code: Some(1045),
            first_seen: UtcSeconds(first),
            last_seen: UtcSeconds(last),
            attempts,
        }
    }

    fn came_in(name: &str, host: &str, first: i64, last: i64) -> AccountUse {
        AccountUse {
            server: "db1".into(),
            name: name.into(),
            host: host.into(),
            first_seen: Some(UtcSeconds(first)),
            last_seen: Some(UtcSeconds(last)),
            last_active: Some(UtcSeconds(last)),
            connects: 1,
        }
    }

    /// What was found: check and subject.
    fn found(
        failures: &[FailedConnect],
        logins: &[AccountUse],
        since: Since,
        known: &[Attempts],
    ) -> Vec<(&'static str, String)> {
        let mut outcome = Outcome::default();
        check(
            &"db1".into(),
            failures,
            logins,
            None,
            known,
            since,
            &mut outcome,
        );
        outcome
            .findings
            .into_iter()
            .map(|finding| (finding.check.id, finding.subject))
            .collect()
    }

    #[test]
    fn refusals_are_told_once() {
        let failures = [failed("a", "h1", 3, 10, 20), failed("b", "h2", 4, 10, 20)];
        let mut outcome = Outcome::default();
        let known = check(
            &"db1".into(),
            &failures,
            &[],
            None,
            &[],
            FIRST,
            &mut outcome,
        );
        assert_eq!(outcome.findings.len(), 1);
        let message = &outcome.findings[0].message;
        assert!(
            message.starts_with("7 logins were refused in all of the log"),
            "{message}"
        );
        assert!(message.ends_with("'h2' 4, 'h1' 3"), "{message}");
        let next = Since {
            checked: Some(UtcSeconds(92_800)),
            read: Some(UtcSeconds(20)),
            now: UtcSeconds(100_000),
        };
        assert_eq!(found(&failures, &[], next, &known), []);
        let more = [failed("a", "h1", 4, 10, 20), failures[1].clone()];
        let mut outcome = Outcome::default();
        check(&"db1".into(), &more, &[], None, &known, next, &mut outcome);
        let message = &outcome.findings[0].message;
        assert_eq!(
            message,
            "1 login was refused since the last check 2 h ago, 0.5 an hour: 'h1' 1"
        );
    }

    #[test]
    fn a_port_that_is_only_looked_at_is_no_refusal() {
        let looked_at = FailedConnect {
            code: Some(1158),
            ..failed("", "lb", 1_000, 0, 99_999)
        };
        assert_eq!(found(&[looked_at], &[], FIRST, &[]), []);
    }

    #[test]
    fn many_names_from_one_host_are_a_burst() {
        let names = ["a", "b", "c", "d", "e"];
        let burst = |spread: i64, count: usize| {
            let rows = names.iter().zip(0..).take(count);
            let rows: Vec<_> = rows
                .map(|(name, at)| failed(name, "h", 1, at * spread, at * spread))
                .collect();
            found(&rows, &[], FIRST, &[]).contains(&("login-burst", "'h'".into()))
        };
        assert!(burst(900, 5), "five within an hour");
        assert!(!burst(901, 5), "five within more");
        assert!(!burst(1, 4), "four");
        // The same name refused in other ways is one name.
        let rows: Vec<_> = (0..9)
            .map(|code| FailedConnect {
                code: Some(1044 + code),
                ..failed("a", "h", 1, 0, 0)
            })
            .collect();
        assert_eq!(found(&rows, &[], FIRST, &[]).len(), 1);
        let folded = FailedConnect {
            name: None,
            code: None,
            ..failed("", "h", 1, 0, 0)
        };
        assert!(found(&[folded], &[], FIRST, &[]).contains(&("login-burst", "'h'".into())));
    }

    #[test]
    fn a_first_success_after_many_refusals_is_suspicious() {
        let is = |tries, last, success: AccountUse, since| {
            let rows = [failed("root", "h", tries, 10, last)];
            let found = found(&rows, &[success], since, &[]);
            found.contains(&("guessed-password", "'root' from 'h'".into()))
        };
        assert!(is(10, 20, came_in("root", "h", 20, 20), FIRST));
        assert!(
            !is(9, 20, came_in("root", "h", 20, 20), FIRST),
            "a forgotten password"
        );
        assert!(
            !is(10, 20, came_in("root", "h", 5, 30), FIRST),
            "known before"
        );
        assert!(
            !is(10, 20, came_in("root", "g", 20, 20), FIRST),
            "another host"
        );
        let later = Since {
            read: Some(UtcSeconds(25)),
            ..FIRST
        };
        assert!(
            !is(10, 20, came_in("root", "h", 20, 20), later),
            "told already"
        );
    }

    #[test]
    fn who_only_ever_fails_is_told_apart() {
        let is = |tries, logins: &[AccountUse]| {
            let rows = [failed("svc", "h", tries, 10, 50_000)];
            found(&rows, logins, FIRST, &[]).contains(&("failing-account", "'svc' from 'h'".into()))
        };
        assert!(is(10, &[]));
        assert!(!is(9, &[]));
        assert!(
            is(10, &[came_in("svc", "h", 1, 9)]),
            "its password was changed"
        );
        assert!(!is(10, &[came_in("svc", "h", 1, 10)]));
        let rows = [failed("svc", "h", 10, 10, 50_000)];
        for (name, count) in [("svc", 1), ("other", 0)] {
            let accounts = [crate::account::Account::new(name, "%")];
            let found = failing(
                &rows.iter().collect::<Vec<_>>(),
                &[],
                Some(&accounts),
                FIRST,
            );
            assert_eq!(found.len(), count, "{name}");
        }
    }
}
