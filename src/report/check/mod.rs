//! What the checks found: tables for people here, one document for programs and for the auditor in
//! [`json`], what Nagios reads in [`nagios`].

mod json;
mod nagios;

use std::collections::HashSet;
use std::io::Write;

use super::{Format, Look, Printed, Row, TABLE_ROWS, Value, print};
use crate::account::{Accounts, RowId};
use crate::check::{
    Applied, Covered, Finding, Judged, Login, Place, Policy, Severity, State, Unchecked, Verdict,
};
use crate::error::Result;
use crate::name::Name;
use crate::server::Facts;
use crate::time::UtcSeconds;

pub use json::{evidence, print as print_json};
pub use nagios::{print as print_nagios, unknown as print_nagios_unknown};

/// The whole answer.
pub struct Checked<'a> {
    /// The name of the server in the store.
    pub server: &'a Name,
    /// When it was checked.
    pub checked_at: UtcSeconds,
    /// What the server said, if it was asked and answered.
    pub facts: Option<&'a Facts>,
    /// What the log covers.
    pub covered: &'a Covered,
    /// The cross-check, if there was both a server and a log.
    pub judged: Option<&'a Judged<'a>>,
    /// Which checks were made.
    pub policy: &'a Policy,
    /// What is worth a look, what is accepted, what could not be checked.
    pub applied: &'a Applied,
}

impl Checked<'_> {
    pub(super) fn count(&self, severity: Severity) -> usize {
        let findings = self.applied.findings.iter();
        findings
            .filter(|finding| finding.severity == severity)
            .count()
    }

    /// `2 critical, 1 warning`, or that there is nothing.
    fn result(&self) -> String {
        let named = |count: usize, one: &str, many: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {many}")),
        };
        let mut unchecked: Vec<_> = self
            .applied
            .unchecked
            .iter()
            .map(|one| one.check.id)
            .collect();
        unchecked.sort_unstable();
        unchecked.dedup();
        let words: Vec<_> = [
            named(
                self.count(Severity::Critical),
                "critical finding",
                "critical findings",
            ),
            named(self.count(Severity::Warning), "warning", "warnings"),
            named(unchecked.len(), "check not made", "checks not made"),
            named(
                self.applied.accepted.len(),
                "accepted finding",
                "accepted findings",
            ),
        ]
        .into_iter()
        .flatten()
        .collect();
        match &words[..] {
            [] => "no findings".into(),
            words => words.join(", "),
        }
    }

    /// What could not be checked, by reason.
    pub(super) fn unchecked(&self) -> Vec<(&str, Vec<&'static str>)> {
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for Unchecked { check, why } in &self.applied.unchecked {
            match reasons.iter_mut().find(|(reason, _)| reason == why) {
                Some((_, checks)) if checks.contains(&check.id) => {}
                Some((_, checks)) => checks.push(check.id),
                None => reasons.push((why, vec![check.id])),
            }
        }
        reasons
    }
}

/// Prints the answer for people: the accounts, logins that no account explains, findings, remedies.
pub fn print_tables(checked: &Checked<'_>, look: &Look, mut out: impl Write) -> Result<()> {
    writeln!(out, "{}\n", summary(checked, look))?;
    if let Some(judged) = checked.judged {
        print_accounts(judged, look, &mut out)?;
        writeln!(out)?;
    }
    writeln!(out, "{}", checked.result())?;
    if !checked.applied.findings.is_empty() {
        let printed = print(Format::Table, look, TABLE_ROWS, &mut out, |row| {
            checked
                .applied
                .findings
                .iter()
                .try_for_each(|finding| row(Found(finding)))
        })?;
        more(&printed, "findings", &mut out)?;
    }
    for (why, checks) in checked.unchecked() {
        writeln!(out, "Not checked: {}: {why}", checks.join(", "))?;
    }
    for (place, heading) in [
        (
            Place::Sql,
            "To be run by hand in mariadb, as an administrator; of two statements in a line the first at first:",
        ),
        (
            Place::Options,
            "To be put into a file of options, such as /etc/mysql/mariadb.conf.d/99-local.cnf; then restart the server:",
        ),
        (
            Place::Shell,
            "To be run by hand in a shell on the database host:",
        ),
        (Place::Look, "To see what is behind it:"),
    ] {
        let lines = remedies(&checked.applied.findings, place);
        if !lines.is_empty() {
            writeln!(out, "\n{heading}\n{}", lines.join("\n"))?;
        }
    }
    out.flush()?;
    Ok(())
}

/// What is to be pasted there, each line once (one cure of two evils is enough, and so is one
/// `[mariadbd]`), in such an order that none gets in the way of another.
pub(super) fn remedies<'a>(
    findings: impl IntoIterator<Item = &'a Finding>,
    place: Place,
) -> Vec<&'a str> {
    let steps = findings.into_iter().flat_map(|finding| &finding.remedy);
    let mut steps: Vec<_> = steps.filter(|step| step.place == place).collect();
    steps.sort_by_key(|step| step.turn);
    let mut seen = HashSet::new();
    let lines = steps.into_iter().flat_map(|step| step.text.lines());
    lines.filter(|line| seen.insert(*line)).collect()
}

fn print_accounts(judged: &Judged<'_>, look: &Look, mut out: impl Write) -> Result<()> {
    let mut verdicts: Vec<_> = judged.verdicts.iter().collect();
    verdicts.sort_by_key(|verdict| order(verdict.state));
    let printed = print(Format::Table, look, TABLE_ROWS, &mut out, |row| {
        verdicts.iter().try_for_each(|verdict| row(Shown(verdict)))
    })?;
    more(&printed, "accounts", &mut out)?;
    let unexplained = || {
        let logins = judged.logins.iter();
        logins.filter(|login| login.attribution.exact().is_none())
    };
    if unexplained().next().is_some() {
        writeln!(out, "\nLogins that are not explained by one account:")?;
        let printed = print(Format::Table, look, TABLE_ROWS, &mut out, |row| {
            unexplained().try_for_each(|login| {
                row(Unexplained {
                    login,
                    accounts: candidates(login, &judged.accounts),
                })
            })
        })?;
        more(&printed, "logins", &mut out)?;
    }
    Ok(())
}

/// A table holds no more than a person reads.
fn more(printed: &Printed, what: &str, mut out: impl Write) -> Result<()> {
    if let more @ 1.. = printed.rows - printed.shown {
        writeln!(out, "… and {more} more {what}; --format json has them all")?;
    }
    Ok(())
}

/// The server, its accounts by state, and what the answer rests on.
fn summary(checked: &Checked<'_>, look: &Look) -> String {
    let mut states: Vec<(State, u64)> = Vec::new();
    for verdict in checked.judged.iter().flat_map(|judged| &judged.verdicts) {
        match states.iter_mut().find(|(state, _)| *state == verdict.state) {
            Some((_, count)) => *count += 1,
            None => states.push((verdict.state, 1)),
        }
    }
    states.sort_by_key(|(state, _)| order(*state));
    let states = states
        .iter()
        .map(|(state, count)| format!("{count} {}", state.name()));
    let covered = match checked.covered.span {
        None => "no log was read yet".to_owned(),
        Some((from, to)) => format!(
            "its log was read from {} to {}, {}",
            from.local(&look.zone),
            to.local(&look.zone),
            match checked.covered.gaps.len() {
                0 => "without a gap".to_owned(),
                1 => "with a gap".to_owned(),
                gaps => format!("with {gaps} gaps"),
            }
        ),
    };
    let version = match checked.facts {
        Some(facts) => crate::name::escape(facts.version.as_bytes()),
        None => "not asked".to_owned(),
    };
    let states = states.collect::<Vec<_>>().join(", ");
    let states = if states.is_empty() {
        states
    } else {
        format!("{states}; ")
    };
    format!("{} ({version}): {states}{covered}", checked.server)
}

/// What asks for action stands first.
pub(super) fn order(state: State) -> usize {
    let at = State::ALL.iter().position(|other| *other == state);
    at.unwrap_or(usize::MAX)
}

/// The accounts that a login may belong to, for people.
pub fn candidates(login: &Login<'_>, accounts: &Accounts) -> String {
    let name = |row: &RowId| {
        let account = accounts.row(*row);
        format!("{}@{}", shown(&account.user), shown(account.host.text()))
    };
    let rows: Vec<_> = login.attribution.rows().iter().map(name).collect();
    rows.join(" or ")
}

fn shown(name: &Name) -> String {
    format!("'{}'", name.escaped().replace('\'', "''"))
}

struct Shown<'a>(&'a Verdict);

impl Row for Shown<'_> {
    const COLUMNS: &'static [&'static str] = &[
        "state",
        "user",
        "host",
        "last_active",
        "connects",
        "clients",
        "reason",
    ];

    fn values(&self) -> Vec<Value<'_>> {
        vec![
            Value::Text(self.0.state.name()),
            Value::Name(&self.0.user),
            Value::Name(&self.0.host),
            Value::time(self.0.last_active),
            Value::Number(self.0.connects),
            Value::Number(self.0.clients),
            Value::Text(&self.0.reason),
        ]
    }
}

struct Found<'a>(&'a Finding);

impl Row for Found<'_> {
    const COLUMNS: &'static [&'static str] = &["severity", "check", "subject", "message"];

    fn values(&self) -> Vec<Value<'_>> {
        vec![
            Value::Text(self.0.severity.name()),
            Value::Text(self.0.check.id),
            Value::Text(&self.0.subject),
            Value::Text(&self.0.message),
        ]
    }
}

struct Unexplained<'a> {
    login: &'a Login<'a>,
    accounts: String,
}

impl Row for Unexplained<'_> {
    const COLUMNS: &'static [&'static str] =
        &["name", "host", "last_active", "connects", "accounts"];

    fn values(&self) -> Vec<Value<'_>> {
        vec![
            Value::Name(&self.login.used.name),
            Value::Name(&self.login.used.host),
            Value::time(self.login.used.last_active),
            Value::Number(self.login.used.connects),
            match (&*self.accounts, self.login.attribution.may_be_no_account()) {
                ("", _) => Value::Many("no account of today"),
                (accounts, _) => Value::Text(accounts),
            },
        ]
    }
}
