//! One JSON document: for programs, and, with the result of every check, for an auditor.

use std::io::Write;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::json;

use super::super::json::{Harmless, name_entries};
use super::Checked;
use crate::account::{Accounts, RowId};
use crate::check::registry::{CHECKS, Check};
use crate::check::{Accepted, Finding, Login, State, Unchecked, Verdict};
use crate::error::Result;
use crate::time::UtcSeconds;

/// Prints the answer as one JSON object.
pub fn print(checked: &Checked<'_>, out: impl Write) -> Result<()> {
    write(&Document(checked, false), out)
}

/// Writes the same with every check's result, those that passed included.
pub fn evidence(checked: &Checked<'_>, out: impl Write) -> Result<()> {
    write(&Document(checked, true), out)
}

fn write(document: &Document<'_>, mut out: impl Write) -> Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Harmless);
    document
        .serialize(&mut serializer)
        .map_err(std::io::Error::from)?;
    out.write_all(b"\n")?;
    out.flush()?;
    Ok(())
}

/// The answer; whether with the results of all checks.
struct Document<'a>(&'a Checked<'a>, bool);

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(checked, with_results) = self;
        let time = |time: UtcSeconds| time.rfc3339();
        let mut document = serializer.serialize_map(None)?;
        document.serialize_entry("checked_at", &time(checked.checked_at))?;
        if *with_results {
            document.serialize_entry("conntracker", env!("CARGO_PKG_VERSION"))?;
        }
        document.serialize_entry("server", &ServerEntry(checked))?;
        let (from, to) = checked.covered.span.unzip();
        let gaps: Vec<_> = checked
            .covered
            .gaps
            .iter()
            .map(|gap| json!({"from": time(gap.from), "to": time(gap.to), "why": gap.why}))
            .collect();
        let coverage = json!({"from": from.map(time), "to": to.map(time), "gaps": gaps});
        document.serialize_entry("coverage", &coverage)?;
        match checked.judged {
            Some(judged) => {
                document.serialize_entry("accounts", &Entries(&judged.verdicts, AccountEntry))?;
                let login = |login| LoginEntry(login, &judged.accounts);
                document.serialize_entry("logins", &Entries(&judged.logins, login))?;
            }
            None => {
                document.serialize_entry("accounts", &json!([]))?;
                document.serialize_entry("logins", &json!([]))?;
            }
        }
        let applied = checked.applied;
        document.serialize_entry("findings", &Entries(&applied.findings, FindingEntry))?;
        document.serialize_entry("accepted", &Entries(&applied.accepted, AcceptedEntry))?;
        let unchecked = |one: &Unchecked| json!({"check": one.check.id, "why": one.why});
        document.serialize_entry("not_checked", &Entries(&applied.unchecked, unchecked))?;
        let unknown = checked.facts.map(|facts| &*facts.unknown);
        document.serialize_entry("unknown", unknown.unwrap_or_default())?;
        if *with_results {
            let result = |check| result(check, checked);
            document.serialize_entry("checks", &Entries(&CHECKS, result))?;
        }
        document.end()
    }
}

/// What became of one check. Only what was looked at in full, and found fine, has passed.
fn result(check: &Check, checked: &Checked<'_>) -> serde_json::Value {
    let applied = checked.applied;
    // Of an account that can't be judged it is not known that it is used.
    let is_of_use = matches!(check.id, "unused-account" | "never-used-account");
    let is_open = |verdict: &Verdict| verdict.state == State::Unknown;
    let verdicts = checked.judged.map(|judged| judged.verdicts.iter());
    let open = is_of_use && verdicts.is_some_and(|mut verdicts| verdicts.any(is_open))
        || applied.too_early.contains(&check);
    let result = if !checked.policy.wants(check) {
        "skipped"
    } else if applied
        .findings
        .iter()
        .any(|finding| finding.check == check)
    {
        "failed"
    } else if open || applied.unchecked.iter().any(|one| one.check == check) {
        "not_checked"
    } else if applied
        .accepted
        .iter()
        .any(|one| one.finding.check == check)
    {
        "accepted"
    } else {
        "passed"
    };
    json!({"check": check.id, "title": check.title, "rules": check.rules, "result": result})
}

/// A list whose elements are made as they are written.
struct Entries<'a, T, F>(&'a [T], F);

impl<'a, T, E: Serialize, F: Fn(&'a T) -> E> Serialize for Entries<'a, T, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for element in self.0 {
            list.serialize_element(&self.1(element))?;
        }
        list.end()
    }
}

struct ServerEntry<'a>(&'a Checked<'a>);

impl Serialize for ServerEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        name_entries(&mut object, "name", self.0.server)?;
        let Some(facts) = self.0.facts else {
            object.serialize_entry("version", &())?;
            return object.end();
        };
        object.serialize_entry("version", &facts.version)?;
        name_entries(&mut object, "hostname", &facts.hostname)?;
        object.serialize_entry("skip_name_resolve", &facts.rules.skip_name_resolve)?;
        for setting in ["bind_address", "port", "skip_networking", "socket"] {
            object.serialize_entry(setting, &facts.settings.get(setting))?;
        }
        object.end()
    }
}

struct AccountEntry<'a>(&'a Verdict);

impl Serialize for AccountEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let verdict = self.0;
        let time = |time: Option<UtcSeconds>| time.map(UtcSeconds::rfc3339);
        let mut object = serializer.serialize_map(None)?;
        name_entries(&mut object, "user", &verdict.user)?;
        name_entries(&mut object, "host", &verdict.host)?;
        object.serialize_entry("state", verdict.state.name())?;
        object.serialize_entry("reason", &verdict.reason)?;
        object.serialize_entry("last_seen", &time(verdict.last_seen))?;
        object.serialize_entry("last_active", &time(verdict.last_active))?;
        object.serialize_entry("connects", &verdict.connects)?;
        object.serialize_entry("exact", &verdict.exact)?;
        object.serialize_entry("clients", &verdict.clients)?;
        let hosts: Vec<_> = verdict
            .hosts
            .iter()
            .map(|host| host.json_text().0)
            .collect();
        object.serialize_entry("hosts", &hosts)?;
        object.serialize_entry("known_since", &time(verdict.known_since))?;
        object.end()
    }
}

struct LoginEntry<'a>(&'a Login<'a>, &'a Accounts);

impl Serialize for LoginEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(login, accounts) = self;
        let mut object = serializer.serialize_map(None)?;
        name_entries(&mut object, "name", &login.used.name)?;
        name_entries(&mut object, "host", &login.used.host)?;
        object.serialize_entry("last_seen", &login.used.last_seen.map(UtcSeconds::rfc3339))?;
        let row = |row: &RowId| RowEntry(*row, accounts);
        object.serialize_entry("accounts", &Entries(login.attribution.rows(), row))?;
        object.serialize_entry("may_be_no_account", &login.attribution.may_be_no_account())?;
        object.end()
    }
}

struct RowEntry<'a>(RowId, &'a Accounts);

impl Serialize for RowEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let account = self.1.row(self.0);
        let mut object = serializer.serialize_map(None)?;
        name_entries(&mut object, "user", &account.user)?;
        name_entries(&mut object, "host", account.host.text())?;
        object.end()
    }
}

struct FindingEntry<'a>(&'a Finding);

impl Serialize for FindingEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        finding_entries(&mut object, self.0)?;
        object.end()
    }
}

struct AcceptedEntry<'a>(&'a Accepted);

impl Serialize for AcceptedEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        finding_entries(&mut object, &self.0.finding)?;
        object.serialize_entry("reason", &self.0.reason)?;
        object.serialize_entry("until", &self.0.until.to_string())?;
        object.end()
    }
}

fn finding_entries<M: SerializeMap>(object: &mut M, finding: &Finding) -> Result<(), M::Error> {
    object.serialize_entry("check", finding.check.id)?;
    object.serialize_entry("severity", finding.severity.name())?;
    object.serialize_entry("subject", &finding.subject)?;
    object.serialize_entry("message", &finding.message)?;
    object.serialize_entry("remedy", &finding.remedy_text())?;
    let step = |step: &crate::check::Step| json!({"place": step.place.name(), "text": step.text});
    object.serialize_entry(
        "steps",
        &finding.remedy.iter().map(step).collect::<Vec<_>>(),
    )
}
