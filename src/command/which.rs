//! `conntracker which USER HOST`: which account row does the server pick for a login, and why?

use std::io::Write;

use crate::account::{Accounts, Evidence, Explanation, Statement};
use crate::cli::WhichFlags;
use crate::config::Config;
use crate::error::{Error, ExitStatus, Result};
use crate::name::Name;
use crate::report::{self, Format, Look, Row, Value};
use crate::server::{self, HostResolver};
use crate::time::UtcSeconds;

/// Prints the rows that are considered, in the order of the server, and what becomes of each.
pub(super) fn print(flags: &WhichFlags, config: &Config) -> Result<ExitStatus> {
    let facts = server::ask(&config.server, &config.mariadb.database)?;
    let accounts = Accounts::new(facts.accounts, facts.rules);
    let mut resolver = HostResolver::default();
    let clients = Evidence::of(&flags.host, accounts.server(), &mut resolver);
    if clients.is_empty() {
        return Err(Error::Config(format!(
            "HOST '{}': its address is not known here, and this server knows clients by address \
             (skip_name_resolve); give the address",
            flags.host
        )));
    }
    let look = Look::of_stdout(config.time_zone, UtcSeconds::now());
    let mut out = super::stdout();
    let explanations: Vec<_> = clients
        .iter()
        .map(|client| accounts.explain(&flags.user.0, client))
        .collect();
    if flags.format == Format::Table {
        for (number, explanation) in explanations.iter().enumerate() {
            if number > 0 {
                writeln!(out)?;
            }
            writeln!(out, "{}", heading(explanation, &accounts))?;
            report::print(flags.format, &look, u64::MAX, &mut out, |row| {
                lines(explanation, &accounts).try_for_each(row)
            })?;
        }
    } else {
        report::print(flags.format, &look, u64::MAX, &mut out, |row| {
            let mut all = explanations.iter().flat_map(|one| lines(one, &accounts));
            all.try_for_each(row)
        })?;
    }
    out.flush()?;
    let refused = explanations.iter().any(|one| one.may_be_refused);
    Ok(match refused {
        true => ExitStatus::Warning,
        false => ExitStatus::Fine,
    })
}

/// Who logs in, and the answer.
fn heading(explanation: &Explanation, accounts: &Accounts) -> String {
    let client = client(&explanation.evidence);
    let picked: Vec<_> = explanation
        .picked()
        .map(|row| {
            let named = Statement::new("", accounts.row(row), "");
            named.sql().trim().trim_end_matches(';').to_owned()
        })
        .collect();
    let answer = match (&picked[..], explanation.may_be_refused) {
        ([], _) => "no account: access denied".to_owned(),
        (rows, false) => rows.join(" or "),
        (rows, true) => format!("{} or none: access denied", rows.join(" or ")),
    };
    format!("{} from {client}: {answer}", explanation.user)
}

fn client(evidence: &Evidence) -> String {
    use crate::account::Client;
    match evidence {
        Evidence::Client(Client::Socket) => "the unix socket".into(),
        Evidence::Client(Client::Tcp { address, name }) => match name {
            Some(name) => format!("{address} ({name})"),
            None => address.to_string(),
        },
        Evidence::AnyAddress(name) => format!("{name}, whatever its address"),
    }
}

/// A row of the account table, and what becomes of it.
struct Line {
    client: String,
    user: Name,
    host: Name,
    picked: &'static str,
    why: String,
}

fn lines<'a>(
    explanation: &'a Explanation,
    accounts: &'a Accounts,
) -> impl Iterator<Item = Line> + 'a {
    let client = client(&explanation.evidence);
    explanation.rows.iter().map(move |considered| {
        let account = accounts.row(considered.row);
        Line {
            client: client.clone(),
            user: account.user.clone(),
            host: account.host.text().clone(),
            picked: if considered.why.is_picked() {
                "yes"
            } else {
                "no"
            },
            why: considered.why.text(),
        }
    })
}

impl Row for Line {
    const COLUMNS: &'static [&'static str] = &["client", "user", "host", "picked", "why"];

    fn values(&self) -> Vec<Value<'_>> {
        vec![
            Value::Text(&self.client),
            Value::Name(&self.user),
            Value::Name(&self.host),
            Value::Text(self.picked),
            Value::Text(&self.why),
        ]
    }
}
