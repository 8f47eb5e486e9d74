//! Accounts that are open to more people than they should be.
//!
//! An account that is locked lets nobody in and is left alone.

use super::finding::{Finding, Outcome, VIEWS, lock, lock_and_drop, shell, statement, subject};
use super::state::{State, Verdict, is_root_here, is_system};
use crate::account::{Account, Address, Authentication, quote};
use crate::name::Name;
use crate::server::Facts;

/// What may be known of the accounts' clients: of each account how it was judged, if the log was read up
/// to now.
pub(super) struct Clients<'a>(pub(super) Option<&'a [Verdict]>);

/// Who uses an account.
enum Used<'a> {
    /// Clients of these hosts, and no others.
    From(&'a [Name]),
    /// Nobody, as far as the log and the list of connections reach, and they reach far enough.
    ByNobody,
    /// That is not known well enough to get in anybody's way.
    Unknown,
}

impl Clients<'_> {
    fn of(&self, account: &Account, facts: &Facts) -> Used<'_> {
        let is = |verdict: &&Verdict| {
            verdict.user == account.user && verdict.host == *account.host.text()
        };
        let Some(verdict) = self.0.and_then(|verdicts| verdicts.iter().find(is)) else {
            return Used::Unknown;
        };
        // An account that is to go gets no other name before.
        if verdict.idle || matches!(verdict.state, State::Unused | State::NeverUsed) {
            return Used::ByNobody;
        }
        // Some may be connected since before the log began.
        let mut connected = facts.connections.iter().flatten();
        let known = |host: &Name| verdict.hosts.contains(host);
        let all = verdict.clients == verdict.hosts.len() as u64
            && connected.all(|one| one.name != account.user || known(&one.host));
        match all && !verdict.hosts.is_empty() {
            true => Used::From(&verdict.hosts),
            false => Used::Unknown,
        }
    }
}

/// The checks of this file.
pub(super) fn check(facts: &Facts, clients: &Clients<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    let looked_at = || {
        let open = |account: &&Account| !account.is_role && account.locked != Some(true);
        facts.accounts.iter().filter(open)
    };
    unknown(looked_at(), &mut outcome);
    for account in looked_at() {
        let of = |id, message: String| {
            Finding::new(id, subject(&account.user, account.host.text()), message)
        };
        if is_system(account) {
            continue;
        }
        if account.user.0.is_empty() {
            let message = "anybody may come in as this account, whatever name he gives";
            outcome.find(of("anonymous-account", message.into()).drop(lock_and_drop(account)));
            continue;
        }
        if account.user.0 == b"root" && !is_local(account.host.text()) {
            let message = "root may come in from other machines: whoever guesses or steals one \
                           password there owns every database";
            outcome.find(of("root-remote", message.into()).drop(lock_and_drop(account)));
            continue;
        }
        if is_passwordless(account) == Some(true) {
            outcome.find(passwordless(account));
        }
        if admits_all(account) {
            outcome.find(wildcard(account, &clients.of(account, facts), facts));
        }
        if is_expired(account, facts) {
            let message = "its password has expired: whoever uses it is refused, or may do nothing \
                           but set a new one; give it one, or lock it";
            outcome.find(of("expired-password", message.into()).sql(&[lock(account)]));
        }
    }
    outcome
}

/// What the source of the accounts leaves open.
fn unknown<'a>(accounts: impl Iterator<Item = &'a Account> + Clone, outcome: &mut Outcome) {
    if accounts
        .clone()
        .any(|account| is_passwordless(account).is_none())
    {
        let why = format!("whether each account has a password can't be read; {VIEWS}");
        outcome.not_checked(&["empty-password"], &why);
    }
    let mut accounts = accounts;
    if accounts.any(|account| account.password_expired.is_none()) {
        let why = "whether a password has expired can't be read";
        outcome.not_checked(&["expired-password"], why);
    }
}

fn is_local(host: &Name) -> bool {
    matches!(&*host.0, b"localhost" | b"127.0.0.1" | b"::1")
}

/// Any way in needs no password: a native plugin (or none named, which means it) with nothing to
/// compare with. Other plugins refuse an empty string, and `unix_socket` asks the system.
fn is_passwordless(account: &Account) -> Option<bool> {
    let is_open = |way: &Authentication| {
        let native = matches!(
            &*way.plugin.0,
            b"" | b"mysql_native_password" | b"mysql_old_password"
        );
        Some(native && !way.has_password?)
    };
    let ways = account.authentication.as_ref()?;
    let open: Option<Vec<bool>> = ways.iter().map(is_open).collect();
    Some(open?.contains(&true))
}

fn passwordless(account: &Account) -> Finding {
    let finding = Finding::new(
        "empty-password",
        subject(&account.user, account.host.text()),
        "whoever knows the name comes in without a password; give it one, or lock it",
    );
    if is_root_here(account) {
        // Locked, nobody could rule any more.
        let by_socket = statement("ALTER USER", account, "IDENTIFIED VIA unix_socket");
        return finding.sql(&Vec::from_iter(by_socket));
    }
    finding.sql(&[lock(account)])
}

/// The host pattern lets in clients from addresses that have nothing in common.
fn admits_all(account: &Account) -> bool {
    let admits = |client: &str| {
        let address = Address::parse(client.as_bytes());
        account.host.admits(None, address.as_ref()).is_some()
    };
    ["1.2.3.4", "98.76.54.32", "203.0.113.199"]
        .into_iter()
        .all(admits)
        || ["2001:db8::7", "fd00:5::a:1", "fe80::9"]
            .into_iter()
            .all(admits)
}

fn wildcard(account: &Account, used: &Used<'_>, facts: &Facts) -> Finding {
    let finding = Finding::new(
        "wildcard-host",
        subject(&account.user, account.host.text()),
        "may come in from every address: a password that leaks is of use to everybody",
    );
    let taken = |host: &str| {
        let same = |row: &Account| row.user == account.user && row.host.text().0 == host.as_bytes();
        facts.accounts.iter().any(same)
    };
    let narrow = match used {
        Used::From(hosts) => common(hosts).filter(|host| !taken(host)),
        Used::ByNobody => return finding.sql(&[lock(account)]),
        Used::Unknown => None,
    };
    let rename = narrow.and_then(|host| {
        let user = quote(std::str::from_utf8(&account.user.0).ok()?);
        statement(
            "RENAME USER",
            account,
            &format!("TO {user}@{}", quote(&host)),
        )
    });
    match rename {
        Some(rename) => Finding {
            message: format!(
                "{}; all its logins came from where the new name admits them",
                finding.message
            ),
            ..finding
        }
        .rename(rename),
        // Somebody has to decide: whoever uses it would be locked out.
        None => finding.look(format!(
            "conntracker accounts --name {}",
            shell(account.user.escaped().replace('*', r"\*").as_bytes())
        )),
    }
}

/// The narrowest usual pattern for these hosts: one host, or what IPv4 addresses begin with.
fn common(hosts: &[Name]) -> Option<String> {
    let hosts: Option<Vec<&str>> = hosts
        .iter()
        .map(|host| std::str::from_utf8(&host.0).ok())
        .collect();
    let hosts = hosts?;
    let plain = |host: &&str| {
        let is = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".:-".contains(c);
        !host.is_empty() && host.chars().all(is)
    };
    if !hosts.iter().all(plain) {
        return None;
    }
    match hosts[..] {
        [] => None,
        [host] => Some(host.to_owned()),
        [first, ..] => {
            let octets = |host: &str| Some(host.parse::<std::net::Ipv4Addr>().ok()?.octets());
            let all: Option<Vec<[u8; 4]>> = hosts.iter().map(|host| octets(host)).collect();
            let first = octets(first)?;
            let same =
                (0..4).take_while(|at| all.iter().flatten().all(|other| other[*at] == first[*at]));
            match same.count() {
                1 => Some(format!("{}.%", first[0])),
                2 => Some(format!("{}.{}.%", first[0], first[1])),
                3 => Some(format!("{}.{}.{}.%", first[0], first[1], first[2])),
                _ => None,
            }
        }
    }
}

/// Marked as expired, or older than its lifetime (the server's, where it has none of its own).
fn is_expired(account: &Account, facts: &Facts) -> bool {
    let default = || facts.settings.number("default_password_lifetime");
    let lifetime = match account.password_lifetime {
        Some(days) if days >= 0 => Some(days),
        _ => default(),
    };
    let by_age = account
        .password_last_changed
        .zip(lifetime)
        .is_some_and(|(set, days)| {
            days > 0 && set > 0 && facts.now.0 > set.saturating_add(days.saturating_mul(86_400))
        });
    let has_password = account
        .authentication
        .iter()
        .flatten()
        .any(|way| way.has_password == Some(true));
    account.password_expired == Some(true) || by_age && has_password
}

/// Accounts that can go.
pub(super) fn usage(verdicts: &[Verdict]) -> Outcome {
    let mut outcome = Outcome::default();
    for verdict in verdicts {
        let check = match verdict.state {
            State::Unused => "unused-account",
            State::NeverUsed => "never-used-account",
            _ => continue,
        };
        let message = format!("{}: an open door that nobody needs", verdict.reason);
        let finding = Finding::new(check, subject(&verdict.user, &verdict.host), message);
        outcome.find(match &verdict.remedy {
            Some(remedy) => finding.drop(remedy.clone()),
            None => finding,
        });
    }
    outcome
}
