//! Who is connected now, and who logged in since the last check, from where it was not expected.

use std::collections::BTreeMap;

use super::expected::{Client, describe, is_expected};
use super::finding::{Finding, Outcome, Place, shell, some_of};
use super::memory::SeenLogin;
use crate::name::Name;
use crate::server::{Connection, Facts};
use crate::store::AccountUse;
use crate::time::Span;

const EXPECT: &str = "if that is right, name it in check.expect_clients";

/// Connections of one user from one host are one finding.
pub(super) fn connected(facts: &Facts, expected: &[Client]) -> Outcome {
    let mut outcome = Outcome::default();
    let Some(connections) = &facts.connections else {
        let why = "who is connected now can't be seen; grant EXECUTE ON PROCEDURE \
                   conntrack.server_connections, or PROCESS";
        outcome.not_checked(&["client-host"], why);
        return outcome;
    };
    let mut clients: BTreeMap<(&Name, &Name), Vec<&Connection>> = BTreeMap::new();
    for connection in connections
        .iter()
        .filter(|one| !is_expected(expected, &one.host))
    {
        clients
            .entry((&connection.name, &connection.host))
            .or_default()
            .push(connection);
    }
    for ((name, host), connections) in clients {
        let mut databases: Vec<_> = connections.iter().map(|one| &one.database).collect();
        databases.sort();
        databases.dedup();
        let databases: Vec<_> = databases
            .into_iter()
            .map(|name| {
                if name.0.is_empty() {
                    "none".to_owned()
                } else {
                    format!("'{name}'")
                }
            })
            .collect();
        let count = match connections.len() {
            1 => "a connection".to_owned(),
            count => format!("{count} connections"),
        };
        let longest = connections
            .iter()
            .filter_map(|one| one.seconds)
            .max()
            .unwrap_or(0);
        let message = format!(
            "{count} from a client that is not expected{}: database {}, in its present state for {}; \
             {EXPECT}, else end it",
            describe(host),
            some_of(&databases),
            Span(longest.try_into().unwrap_or(0)).in_words(),
        );
        let kill: Vec<_> = connections
            .iter()
            .map(|one| format!("KILL CONNECTION {};", one.id))
            .collect();
        outcome.find(
            Finding::new("client-host", from(name, host), message)
                .step(Place::Sql, kill.join("\n")),
        );
    }
    outcome
}

/// Logins from hosts that are not expected, but for those of which `seen` tells already. Returns what
/// is to be remembered.
pub(super) fn logged_in(
    logins: &[AccountUse],
    expected: &[Client],
    seen: &[SeenLogin],
    outcome: &mut Outcome,
) -> Vec<SeenLogin> {
    let mut remember = Vec::new();
    let known: BTreeMap<_, _> = seen
        .iter()
        .map(|login| ((&login.name, &login.host), login))
        .collect();
    for login in logins
        .iter()
        .filter(|login| !is_expected(expected, &login.host))
    {
        let before = known.get(&(&login.name, &login.host));
        let is_new = match before {
            None => true,
            Some(before) => login.connects > before.connects || login.last_seen > before.last_seen,
        };
        if let (true, Some(last)) = (is_new, login.last_seen) {
            let count = login
                .connects
                .saturating_sub(before.map_or(0, |before| before.connects));
            let message = format!(
                "logged in from a client that is not expected{}: {count} times since the last check, \
                 last {}; {EXPECT}",
                describe(&login.host),
                last.rfc3339(),
            );
            let subject = from(&login.name, &login.host);
            let finding = Finding::new("login-host", subject, message);
            outcome.find(finding.look(which(&login.name, &login.host)));
        }
        remember.push(SeenLogin {
            name: login.name.clone(),
            host: login.host.clone(),
            connects: login.connects,
            last_seen: login.last_seen,
        });
    }
    remember
}

/// What shows whose login of this client is.
pub(super) fn which(name: &Name, host: &Name) -> String {
    format!("conntracker which -- {} {}", shell(&name.0), shell(&host.0))
}

/// A client as the subject of a finding.
pub(super) fn from(name: &Name, host: &Name) -> String {
    format!("'{name}' from '{host}'")
}
