//! What the cross-check found, as tables for people and as one JSON document for programs.

use std::io::Write;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::json;

use super::json::{Harmless, name_entries};
use super::{Format, Look, Row, Value, print};
use crate::account::{Accounts, RowId};
use crate::check::{Finding, Judged, Login, State, Verdict};
use crate::error::Result;
use crate::name::Name;
use crate::server::Facts;
use crate::time::UtcSeconds;

/// The whole answer.
pub struct Checked<'a> {
    /// The name of the server in the store.
    pub server: &'a Name,
    /// What the server said.
    pub facts: &'a Facts,
    /// What was found.
    pub judged: &'a Judged,
    /// What is worth a look.
    pub findings: &'a [Finding],
}

/// Prints the answer as one JSON object.
pub fn print_json(checked: &Checked<'_>, mut out: impl Write) -> Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Harmless);
    checked
        .serialize(&mut serializer)
        .map_err(std::io::Error::from)?;
    out.write_all(b"\n")?;
    out.flush()?;
    Ok(())
}

/// Prints the answer for people: the accounts, logins that no account explains, remedies.
pub fn print_tables(checked: &Checked<'_>, look: &Look, mut out: impl Write) -> Result<()> {
    let judged = checked.judged;
    writeln!(out, "{}\n", summary(checked, look))?;
    let mut verdicts: Vec<_> = judged.verdicts.iter().collect();
    verdicts.sort_by_key(|verdict| order(verdict.state));
    print(Format::Table, look, &mut out, |row| {
        verdicts.iter().try_for_each(|verdict| row(Shown(verdict)))
    })?;
    let unexplained = || {
        let logins = judged.logins.iter();
        logins.filter(|login| login.attribution.exact().is_none())
    };
    if unexplained().next().is_some() {
        writeln!(out, "\nLogins that are not explained by one account:")?;
        print(Format::Table, look, &mut out, |row| {
            unexplained().try_for_each(|login| {
                row(Unexplained {
                    login,
                    accounts: candidates(login, &judged.accounts),
                })
            })
        })?;
    }
    let remedies = checked
        .findings
        .iter()
        .filter(|finding| !finding.remedy.is_empty());
    for (number, finding) in remedies.enumerate() {
        if number == 0 {
            writeln!(out, "\nTo be run by hand, the first half at first:")?;
        }
        writeln!(out, "{}", finding.remedy)?;
    }
    out.flush()?;
    Ok(())
}

/// The server, its accounts by state, and what the answer rests on.
fn summary(checked: &Checked<'_>, look: &Look) -> String {
    let judged = checked.judged;
    let mut states: Vec<(State, u64)> = Vec::new();
    for verdict in &judged.verdicts {
        match states.iter_mut().find(|(state, _)| *state == verdict.state) {
            Some((_, count)) => *count += 1,
            None => states.push((verdict.state, 1)),
        }
    }
    states.sort_by_key(|(state, _)| order(*state));
    let states = states
        .iter()
        .map(|(state, count)| format!("{count} {}", state.name()));
    let covered = match judged.covered.span {
        None => "no log was read yet".to_owned(),
        Some((from, to)) => format!(
            "its log was read from {} to {}, {}",
            from.local(&look.zone),
            to.local(&look.zone),
            match judged.covered.gaps.len() {
                0 => "without a gap".to_owned(),
                1 => "with a gap".to_owned(),
                gaps => format!("with {gaps} gaps"),
            }
        ),
    };
    format!(
        "{} ({}): {}; {covered}",
        checked.server,
        crate::name::escape(checked.facts.version.as_bytes()),
        states.collect::<Vec<_>>().join(", "),
    )
}

/// What asks for action stands first.
fn order(state: State) -> u8 {
    match state {
        State::NeverUsed => 0,
        State::Unused => 1,
        State::Unknown => 2,
        State::Locked => 3,
        State::Active => 4,
        State::Connected => 5,
        State::System => 6,
        State::Role => 7,
    }
}

/// The accounts that a login may belong to, for people.
pub fn candidates(login: &Login, accounts: &Accounts) -> String {
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

struct Unexplained<'a> {
    login: &'a Login,
    accounts: String,
}

impl Row for Unexplained<'_> {
    const COLUMNS: &'static [&'static str] =
        &["name", "host", "last_active", "connects", "accounts"];

    fn values(&self) -> Vec<Value<'_>> {
        vec![
            Value::Name(&self.login.name),
            Value::Name(&self.login.host),
            Value::time(self.login.last_active),
            Value::Number(self.login.connects),
            match (&*self.accounts, self.login.attribution.may_be_no_account()) {
                ("", _) => Value::Many("no account of today"),
                (accounts, _) => Value::Text(accounts),
            },
        ]
    }
}

impl Serialize for Checked<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (facts, judged) = (self.facts, self.judged);
        let time = |time: UtcSeconds| time.rfc3339();
        let mut document = serializer.serialize_map(None)?;
        document.serialize_entry("checked_at", &time(judged.checked_at))?;
        document.serialize_entry("server", &ServerEntry(self.server, facts))?;
        let (from, to) = judged.covered.span.unzip();
        let gaps: Vec<_> = judged
            .covered
            .gaps
            .iter()
            .map(|gap| json!({"from": time(gap.from), "to": time(gap.to), "why": gap.why}))
            .collect();
        let coverage = json!({"from": from.map(time), "to": to.map(time), "gaps": gaps});
        document.serialize_entry("coverage", &coverage)?;
        document.serialize_entry("accounts", &Entries(&judged.verdicts, AccountEntry))?;
        let login = |login| LoginEntry(login, &judged.accounts);
        document.serialize_entry("logins", &Entries(&judged.logins, login))?;
        document.serialize_entry("findings", &Entries(self.findings, FindingEntry))?;
        document.serialize_entry("unknown", &facts.unknown)?;
        document.end()
    }
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

struct ServerEntry<'a>(&'a Name, &'a Facts);

impl Serialize for ServerEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        name_entries(&mut object, "name", self.0)?;
        object.serialize_entry("version", &self.1.version)?;
        name_entries(&mut object, "hostname", &self.1.hostname)?;
        object.serialize_entry("skip_name_resolve", &self.1.rules.skip_name_resolve)?;
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

struct LoginEntry<'a>(&'a Login, &'a Accounts);

impl Serialize for LoginEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(login, accounts) = self;
        let mut object = serializer.serialize_map(None)?;
        name_entries(&mut object, "name", &login.name)?;
        name_entries(&mut object, "host", &login.host)?;
        object.serialize_entry("last_seen", &login.last_seen.map(UtcSeconds::rfc3339))?;
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
        let finding = self.0;
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("check", finding.check)?;
        object.serialize_entry("severity", finding.severity.name())?;
        object.serialize_entry("subject", &finding.subject)?;
        object.serialize_entry("message", &finding.message)?;
        object.serialize_entry("remedy", &finding.remedy)?;
        object.end()
    }
}
