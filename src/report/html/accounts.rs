//! The accounts and logins as the page shows them: what `check` said now, or what it said last, and
//! where nobody ever could ask the server, what the log says alone.

use super::When;
use super::rhythm::{self, Rhythms};
use crate::check::{Judged, Login, State, Verdict};
use crate::name::Name;
use crate::report::check::{candidates, order};
use crate::report::table::{harmless, readable};
use crate::store::{AccountStatus, AccountUse};
use crate::time::{UtcSeconds, Zone};

/// More logins that no account explains than these are not listed.
const MAX_UNEXPLAINED: usize = 500;

/// Nor more rows of names and clients: a page of them can still be opened.
pub(super) const MAX_CLIENTS: usize = 10_000;

/// An account and what can be said of it.
pub(super) struct Account {
    pub(super) user: String,
    pub(super) host: String,
    pub(super) state: String,
    pub(super) last_active: Option<When>,
    pub(super) last_seen: Option<When>,
    pub(super) connects: u64,
    /// Number of clients that are, or may be, its own, and some of their hosts.
    pub(super) clients: u64,
    pub(super) hosts: String,
    pub(super) exact: bool,
    pub(super) reason: String,
    pub(super) rhythm: Option<Shape>,
}

/// When a name comes in: in words, and to be drawn.
pub(super) struct Shape {
    pub(super) words: String,
    pub(super) digits: String,
}

impl Shape {
    fn of(name: &Name, rhythms: &Rhythms) -> Option<Self> {
        rhythms.of(name).map(|week| Self {
            words: rhythm::in_words(week),
            digits: rhythm::in_digits(week),
        })
    }
}

/// The accounts as judged now, what asks for action first.
pub(super) fn judged(verdicts: &[Verdict], rhythms: &Rhythms, zone: &Zone) -> Vec<Account> {
    let mut verdicts: Vec<_> = verdicts.iter().collect();
    verdicts.sort_by_key(|verdict| order(verdict.state));
    let account = |verdict: &Verdict| Account {
        user: readable(&verdict.user),
        host: verdict.host.escaped(),
        state: verdict.state.name().into(),
        last_active: When::of(verdict.last_active, zone),
        last_seen: When::of(verdict.last_seen, zone),
        connects: verdict.connects,
        clients: verdict.clients,
        hosts: hosts(&verdict.hosts),
        exact: verdict.exact,
        reason: harmless(&verdict.reason),
        rhythm: Shape::of(&verdict.user, rhythms),
    };
    verdicts.into_iter().map(account).collect()
}

/// The accounts as judged by an earlier check.
pub(super) fn judged_before(
    accounts: &[AccountStatus],
    rhythms: &Rhythms,
    zone: &Zone,
) -> Vec<Account> {
    let mut accounts: Vec<_> = accounts.iter().collect();
    accounts.sort_by_key(|account| State::parse(&account.state).ok().map_or(usize::MAX, order));
    let account = |status: &AccountStatus| Account {
        user: readable(&status.user),
        host: status.host.escaped(),
        state: harmless(&status.state),
        last_active: When::of(status.last_active, zone),
        last_seen: When::of(status.last_seen, zone),
        connects: status.connects,
        clients: status.clients,
        hosts: String::new(),
        exact: status.exact,
        reason: harmless(&status.reason),
        rhythm: Shape::of(&status.user, rhythms),
    };
    accounts.into_iter().map(account).collect()
}

fn hosts(hosts: &[Name]) -> String {
    let hosts: Vec<_> = hosts.iter().map(Name::escaped).collect();
    hosts.join(", ")
}

/// How many accounts are in each state.
pub(super) fn by_state(accounts: &[Account]) -> Vec<(&str, usize)> {
    let mut states: Vec<(&str, usize)> = Vec::new();
    for account in accounts {
        match states.iter_mut().find(|(state, _)| *state == account.state) {
            Some((_, count)) => *count += 1,
            None => states.push((&account.state, 1)),
        }
    }
    states
}

/// The logins of one name from one client.
pub(super) struct Client {
    pub(super) name: String,
    pub(super) host: String,
    pub(super) first_seen: Option<When>,
    pub(super) last_seen: Option<When>,
    pub(super) last_active: Option<When>,
    pub(super) connects: u64,
    pub(super) rhythm: Option<Shape>,
}

impl Client {
    fn of(used: &AccountUse, rhythms: &Rhythms, zone: &Zone) -> Self {
        Self {
            name: readable(&used.name),
            host: used.host.escaped(),
            first_seen: When::of(used.first_seen, zone),
            last_seen: When::of(used.last_seen, zone),
            last_active: When::of(used.last_active, zone),
            connects: used.connects,
            rhythm: Shape::of(&used.name, rhythms),
        }
    }
}

/// The logins of the log.
pub(super) struct Clients {
    pub(super) rows: Vec<Client>,
    /// How many more there are, whose use is older.
    pub(super) more: usize,
}

/// The logins of the log, those that were used last, as `conntracker accounts` lists them.
pub(super) fn clients(logins: &[AccountUse], rhythms: &Rhythms, zone: &Zone) -> Clients {
    let mut kept: Vec<_> = logins.iter().enumerate().collect();
    kept.sort_by_key(|(_, used)| std::cmp::Reverse(used.last_active));
    let more = kept.len().saturating_sub(MAX_CLIENTS);
    kept.truncate(MAX_CLIENTS);
    kept.sort_unstable_by_key(|(place, _)| *place);
    let kept = kept.into_iter();
    Clients {
        rows: kept
            .map(|(_, used)| Client::of(used, rhythms, zone))
            .collect(),
        more,
    }
}

/// Logins that not just one account explains.
pub(super) struct Unexplained {
    pub(super) rows: Vec<(Client, String)>,
    /// How many more there are.
    pub(super) more: usize,
}

pub(super) fn unexplained(judged: &Judged<'_>, rhythms: &Rhythms, zone: &Zone) -> Unexplained {
    let logins = judged.logins.iter();
    let mut found: Vec<&Login<'_>> = logins
        .filter(|login| login.attribution.exact().is_none())
        .collect();
    found.sort_by_key(|login| std::cmp::Reverse(login.used.last_active));
    let more = found.len().saturating_sub(MAX_UNEXPLAINED);
    found.truncate(MAX_UNEXPLAINED);
    let row = |login: &Login<'_>| {
        let client = Client::of(login.used, rhythms, zone);
        let mut accounts = candidates(login, &judged.accounts);
        if login.attribution.may_be_no_account() && !accounts.is_empty() {
            accounts += " or none";
        }
        (client, accounts)
    };
    Unexplained {
        rows: found.into_iter().map(row).collect(),
        more,
    }
}

/// The newest use of all.
pub(super) fn newest(logins: &[AccountUse]) -> Option<UtcSeconds> {
    logins.iter().filter_map(|used| used.last_active).max()
}
