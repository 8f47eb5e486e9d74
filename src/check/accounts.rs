//! Accounts that are open to more people, or to more deeds, than they should be.
//!
//! An account that is locked lets nobody in and is left alone, and so is root over the socket:
//! somebody has to rule. Rights count with those of all roles; what everybody has (PUBLIC) is told
//! once. Rights on single tables, columns and routines are not looked at.

use super::finding::{Finding, Outcome, lock, lock_and_drop, some_of, statement, subject};
use super::rights::{self, GRANT, Granted, NO_HOST, PUBLIC};
use super::state::{State, Verdict, is_system};
use crate::account::{Account, Address, Authentication, HostPattern, quote};
use crate::name::Name;
use crate::server::{DatabaseGrant, Facts};

/// What may be known of an account's clients.
pub(super) struct Clients<'a>(pub(super) Option<&'a [Verdict]>);

impl Clients<'_> {
    /// The hosts from which the account was used, if these are all. None of an account that is to go:
    /// another name would only get in the way of that.
    fn of(&self, account: &Account) -> &[Name] {
        let is = |verdict: &&Verdict| {
            verdict.user == account.user && verdict.host == *account.host.text()
        };
        let verdict = self.0.and_then(|verdicts| verdicts.iter().find(is));
        match verdict {
            Some(verdict) if matches!(verdict.state, State::Unused | State::NeverUsed) => &[],
            Some(verdict) if verdict.clients == verdict.hosts.len() as u64 => &verdict.hosts,
            _ => &[],
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
    unknown(facts, looked_at().cloned().collect(), &mut outcome);
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
            outcome.find(wildcard(account, clients.of(account), facts));
        }
        if is_expired(account, facts) {
            let message = "its password has expired: whoever uses it is refused, or may do nothing \
                           but set a new one; give it one, or lock it";
            outcome.find(of("expired-password", message.into()).sql(&[lock(account)]));
        }
        if !is_root_here(account) {
            outcome.findings.extend(rights_of(account, facts));
        }
    }
    if let Some(everybody) = rights::role(facts, &Name::from(PUBLIC)) {
        outcome.findings.extend(of_everybody(everybody, facts));
    }
    outcome
}

/// What the source of the accounts leaves open.
fn unknown(facts: &Facts, accounts: Vec<Account>, outcome: &mut Outcome) {
    const VIEWS: &str = "conntracker schema --store mariadb prints views that say it";
    if accounts
        .iter()
        .any(|account| is_passwordless(account).is_none())
    {
        let why = format!("whether each account has a password can't be read; {VIEWS}");
        outcome.not_checked(&["empty-password"], &why);
    }
    if accounts.iter().any(|account| account.access.is_none()) {
        let why = format!("the privileges of the accounts can't be read; {VIEWS}");
        outcome.not_checked(&["all-privileges", "powerful-account", "wide-scope"], &why);
    } else {
        if facts.roles.is_none() {
            let why = format!("who may use which role can't be read; {VIEWS}");
            outcome.not_checked(&["all-privileges", "powerful-account", "wide-scope"], &why);
        }
        if facts.database_grants.is_none() {
            let why = format!("the privileges on databases can't be read; {VIEWS}");
            outcome.not_checked(&["powerful-account", "wide-scope"], &why);
        }
    }
    if accounts
        .iter()
        .any(|account| account.password_expired.is_none())
    {
        outcome.not_checked(
            &["expired-password"],
            "whether a password has expired can't be read",
        );
    }
}

/// root, or who the packages made to be root, over the socket.
fn is_root_here(account: &Account) -> bool {
    account.user.0 == b"root" && account.host.text().0 == b"localhost"
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

fn wildcard(account: &Account, hosts: &[Name], facts: &Facts) -> Finding {
    let finding = Finding::new(
        "wildcard-host",
        subject(&account.user, account.host.text()),
        "may come in from every address: a password that leaks is of use to everybody",
    );
    let taken = |host: &str| {
        let same = |row: &Account| row.user == account.user && row.host.text().0 == host.as_bytes();
        facts.accounts.iter().any(same)
    };
    let narrow = common(hosts).filter(|host| !taken(host));
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
        None => finding.sql(&[lock(account)]),
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

/// Rights that an application's account does not need.
fn rights_of(account: &Account, facts: &Facts) -> Vec<Finding> {
    let (user, host) = (&account.user, account.host.text());
    let own = account.access.unwrap_or(0);
    let roles = rights::roles_of(facts, account);
    let all = roles.iter().fold(own, |all, role| all | role.access(facts));
    if rights::is_all(all, account.version_id) {
        let guilty = roles.iter().filter(|role| role.access(facts) != 0);
        return vec![everything(account, own, guilty.map(|granted| granted.role))];
    }
    let mut findings = Vec::new();
    let mut deeds = Deeds::default();
    deeds.global(rights::powerful(own), account);
    for grant in rights::databases(facts, user, host) {
        deeds.on_database(grant, account);
    }
    for role in &roles {
        let powerful = rights::powerful(role.access(facts));
        let granting = role
            .databases(facts)
            .fold(0, |all, grant| all | grant.access & GRANT);
        if powerful | granting != 0 || role.databases(facts).any(is_on_mysql) {
            let names = rights::names(powerful | granting);
            let names = if names.is_empty() {
                "rights on 'mysql'".into()
            } else {
                names
            };
            let words = format!("{names} through the role '{}'", role.role);
            deeds.say(words, revoke_role(role.role, account));
        }
    }
    if !deeds.said.is_empty() {
        findings.push(
            Finding::new(
                "powerful-account",
                subject(user, host),
                format!(
                    "may rule the server or other accounts: {}",
                    some_of(&deeds.said)
                ),
            )
            .sql(&deeds.statements),
        );
    }
    findings.extend(scope(account, own, &roles, facts));
    findings
}

fn everything<'a>(account: &Account, own: u64, roles: impl Iterator<Item = &'a Name>) -> Finding {
    let mut statements = Vec::new();
    if own != 0 {
        statements.extend(statement("REVOKE ALL PRIVILEGES ON *.* FROM", account, ""));
        statements.extend(statement("REVOKE GRANT OPTION ON *.* FROM", account, ""));
    }
    let mut shown = Vec::new();
    for role in roles {
        shown.push(format!("'{role}'"));
        statements.extend(revoke_role(role, account));
    }
    let by = if shown.is_empty() {
        String::new()
    } else {
        format!(" (through {})", some_of(&shown))
    };
    Finding::new(
        "all-privileges",
        subject(&account.user, account.host.text()),
        format!(
            "may do everything on every database{by}, as only root over the socket should; grant it \
             what it needs on its own database"
        ),
    )
    .sql(&statements)
}

/// What an account may do that is out of its place, and what takes that away.
#[derive(Default)]
struct Deeds {
    said: Vec<String>,
    statements: Vec<String>,
}

impl Deeds {
    fn say(&mut self, words: String, sql: Option<String>) {
        self.said.push(words);
        self.statements.extend(sql);
    }

    fn global(&mut self, access: u64, account: &Account) {
        if access != 0 {
            let names = rights::names(access);
            let sql = statement(&format!("REVOKE {names} ON *.* FROM"), account, "");
            self.say(names, sql);
        }
    }

    fn on_database(&mut self, grant: &DatabaseGrant, account: &Account) {
        if is_on_mysql(grant) {
            let sql = revoke(grant, "ALL PRIVILEGES", account);
            self.say(
                format!("{} on '{}'", rights::names(grant.access), grant.database),
                sql,
            );
        }
        if grant.access & GRANT != 0 {
            let sql = revoke(grant, "GRANT OPTION", account);
            self.say(format!("GRANT OPTION on '{}'", grant.database), sql);
        }
    }
}

/// The accounts themselves are in the database `mysql`.
fn is_on_mysql(grant: &DatabaseGrant) -> bool {
    // Patterns of databases are written as those of hosts.
    let pattern = HostPattern::new(grant.database.clone());
    grant.access & !GRANT != 0 && pattern.admits(Some(b"mysql"), None).is_some()
}

/// Data beyond one database.
fn scope(account: &Account, own: u64, roles: &[Granted<'_>], facts: &Facts) -> Option<Finding> {
    let mut deeds = Deeds::default();
    deeds.global(rights::data(own), account);
    if let Some(words) = deeds.said.first_mut() {
        *words = format!("{words} on all databases");
    }
    for role in roles {
        let data = rights::data(role.access(facts));
        if data != 0 {
            let names = rights::names(data);
            let words = format!("{names} on all databases through the role '{}'", role.role);
            deeds.say(words, revoke_role(role.role, account));
        }
    }
    let mut grants: Vec<_> = rights::databases(facts, &account.user, account.host.text())
        .filter(|grant| rights::data(grant.access) != 0 && !is_on_mysql(grant))
        .collect();
    grants.sort_by(|a, b| a.database.cmp(&b.database));
    let (many, single): (Vec<&DatabaseGrant>, Vec<_>) = grants
        .into_iter()
        .partition(|grant| rights::is_on_many(&grant.database));
    for grant in many {
        let words = format!("all databases like '{}'", grant.database);
        deeds.say(words, revoke(grant, "ALL PRIVILEGES", account));
    }
    // Those of roles are not taken away one by one: the role is.
    let mut databases: Vec<_> = single.iter().map(|grant| grant.database.clone()).collect();
    let mut takes_away = Vec::new();
    for role in roles {
        let before = databases.len();
        for grant in role.databases(facts) {
            if rights::data(grant.access) != 0 && !databases.contains(&grant.database) {
                databases.push(grant.database.clone());
            }
        }
        if before > 0 && databases.len() > before || databases.len() > before + 1 {
            takes_away.extend(revoke_role(role.role, account));
        }
    }
    if databases.len() > 1 {
        let shown: Vec<_> = databases.iter().map(|name| format!("'{name}'")).collect();
        deeds.said.push(format!(
            "the databases {}; keep the one that it works with",
            some_of(&shown)
        ));
        let others = single.iter().skip(1);
        deeds
            .statements
            .extend(others.filter_map(|grant| revoke(grant, "ALL PRIVILEGES", account)));
        deeds.statements.extend(takes_away);
    }
    if deeds.said.is_empty() {
        return None;
    }
    deeds.statements.dedup();
    Some(
        Finding::new(
            "wide-scope",
            subject(&account.user, account.host.text()),
            format!(
                "has rights on more than one database: {}",
                some_of(&deeds.said)
            ),
        )
        .sql(&deeds.statements),
    )
}

/// What everybody may do, because the role PUBLIC may.
fn of_everybody(everybody: &Account, facts: &Facts) -> Vec<Finding> {
    let access = everybody.access.unwrap_or(0);
    let from = |rights: &str, on: &str| format!("REVOKE {rights} ON {on} FROM PUBLIC;");
    if rights::is_all(access, everybody.version_id) {
        let finding = Finding::new(
            "all-privileges",
            "PUBLIC",
            "everybody may do everything on every database",
        );
        return vec![finding.sql(&[from("ALL PRIVILEGES", "*.*")])];
    }
    let mut findings = Vec::new();
    let powerful = rights::names(rights::powerful(access));
    if !powerful.is_empty() {
        let message = format!("everybody may rule the server: {powerful}");
        findings.push(
            Finding::new("powerful-account", "PUBLIC", message).sql(&[from(&powerful, "*.*")]),
        );
    }
    let data = rights::names(rights::data(access));
    if !data.is_empty() {
        let message = format!("everybody has rights on all databases: {data}");
        findings.push(Finding::new("wide-scope", "PUBLIC", message).sql(&[from(&data, "*.*")]));
    }
    for grant in
        rights::databases(facts, &everybody.user, &NO_HOST).filter(|grant| is_on_mysql(grant))
    {
        let message = format!("everybody has rights on '{}'", grant.database);
        let sql =
            quote_database(&grant.database).map(|on| from("ALL PRIVILEGES", &format!("{on}.*")));
        findings
            .push(Finding::new("powerful-account", "PUBLIC", message).sql(&Vec::from_iter(sql)));
    }
    findings
}

fn revoke(grant: &DatabaseGrant, rights: &str, account: &Account) -> Option<String> {
    let database = quote_database(&grant.database)?;
    statement(
        &format!("REVOKE {rights} ON {database}.* FROM"),
        account,
        "",
    )
}

/// A database is named as it stands in the grant, patterns and their escapes included.
fn quote_database(name: &Name) -> Option<String> {
    let name = std::str::from_utf8(&name.0).ok()?;
    Some(format!("`{}`", name.replace('`', "``")))
}

fn revoke_role(role: &Name, account: &Account) -> Option<String> {
    let role = quote(std::str::from_utf8(&role.0).ok()?);
    statement(&format!("REVOKE {role} FROM"), account, "")
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
