//! What accounts may do, and should not have to.
//!
//! An account that is locked does nothing, and root over the socket is left alone: somebody has to rule.
//! Rights count with those of all roles; what everybody has (PUBLIC) is told once.

use std::collections::BTreeMap;

use super::finding::{Finding, Outcome, VIEWS, some_of, statement, subject};
use super::rights::{self, GRANT, Granted, NO_HOST, PUBLIC};
use super::state::{is_root_here, is_system};
use crate::account::{Account, HostPattern, quote};
use crate::name::Name;
use crate::server::{DatabaseGrant, Facts, ObjectGrant};

/// The checks of this file.
pub(super) fn check(facts: &Facts) -> Outcome {
    let mut outcome = Outcome::default();
    let open = |account: &&Account| !account.is_role && account.locked != Some(true);
    let looked_at = || facts.accounts.iter().filter(open);
    unknown(facts, looked_at(), &mut outcome);
    let ruled = |account: &&Account| {
        let anybody = account.user.0.is_empty();
        !is_system(account) && !is_root_here(account) && !anybody
    };
    for account in looked_at().filter(ruled) {
        outcome.findings.extend(rights_of(account, facts));
    }
    if let Some(everybody) = rights::role(facts, &Name::from(PUBLIC)) {
        outcome.findings.extend(of_everybody(everybody, facts));
    }
    outcome
}

/// What the server did not tell.
fn unknown<'a>(
    facts: &Facts,
    mut accounts: impl Iterator<Item = &'a Account>,
    outcome: &mut Outcome,
) {
    const ALL: [&str; 3] = ["powerful-account", "wide-scope", "all-privileges"];
    if accounts.any(|account| account.access.is_none()) {
        let why = format!("the privileges of the accounts can't be read; {VIEWS}");
        return outcome.not_checked(&ALL, &why);
    }
    for (is_missing, what, ids) in [
        (facts.roles.is_none(), "who may use which role", &ALL[..]),
        (
            facts.proxies.is_none(),
            "who may act as whom (GRANT PROXY)",
            &ALL[..1],
        ),
        (
            facts.database_grants.is_none(),
            "the privileges on databases",
            &ALL[..2],
        ),
        (
            facts.object_grants.is_none(),
            "the privileges on single tables, columns and routines",
            &ALL[..2],
        ),
    ] {
        if is_missing {
            outcome.not_checked(ids, &format!("{what} can't be read; {VIEWS}"));
        }
    }
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
    for object in rights::objects(facts, user, host) {
        deeds.on_object(object, account);
    }
    for [_, _, as_user, as_host] in proxies(facts, account) {
        if is_powerful(facts, as_user, as_host) {
            let words = format!("PROXY, to act as {}", subject(as_user, as_host));
            deeds.say(words, revoke_proxy(as_user, as_host, account));
        }
    }
    for role in &roles {
        let powerful = rights::powerful(role.access(facts));
        let granting = role
            .databases(facts)
            .fold(0, |all, grant| all | grant.access & GRANT);
        let granting = match role.objects(facts).any(ObjectGrant::may_be_passed_on) {
            true => GRANT,
            false => granting,
        };
        let on_mysql = role.databases(facts).any(is_on_mysql)
            || role.objects(facts).any(|object| object.database.0 == MYSQL);
        if powerful | granting != 0 || on_mysql {
            let names = rights::names(powerful | granting);
            let names = match names.is_empty() {
                true => "privileges on 'mysql'".into(),
                false => names,
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

/// The accounts as which `account` may act, where a plugin authenticates it and says so.
fn proxies<'a>(facts: &'a Facts, account: &'a Account) -> impl Iterator<Item = &'a [Name; 4]> {
    let granted = facts.proxies.iter().flatten();
    granted.filter(|[user, host, ..]| *user == account.user && host == account.host.text())
}

/// Whether this account may rule the server; without a name it stands for any account.
fn is_powerful(facts: &Facts, user: &Name, host: &Name) -> bool {
    let mut accounts = facts.accounts.iter();
    user.0.is_empty()
        || accounts.any(|account| {
            let access = account.access.unwrap_or(0);
            account.user == *user
                && account.host.text() == host
                && (rights::powerful(access) != 0 || rights::is_all(access, account.version_id))
        })
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

    fn on_object(&mut self, object: &ObjectGrant, account: &Account) {
        if object.database.0 == MYSQL {
            let words = format!("{} on {}", object.rights, shown(object));
            self.say(words, revoke_object(object, "ALL PRIVILEGES", account));
        }
        if object.may_be_passed_on() {
            let sql = revoke_object(object, "GRANT OPTION", account);
            self.say(format!("GRANT OPTION on {}", shown(object)), sql);
        }
    }
}

/// The accounts themselves are in this database.
const MYSQL: &[u8] = b"mysql";

fn is_on_mysql(grant: &DatabaseGrant) -> bool {
    // Patterns of databases are written as those of hosts.
    let pattern = HostPattern::new(grant.database.clone());
    grant.access & !GRANT != 0 && pattern.admits(Some(MYSQL), None).is_some()
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
    let grants = rights::databases(facts, &account.user, account.host.text())
        .filter(|grant| rights::data(grant.access) != 0 && !is_on_mysql(grant));
    let (many, single): (Vec<&DatabaseGrant>, Vec<_>) =
        grants.partition(|grant| rights::is_on_many(&grant.database));
    for grant in many {
        let words = format!("all databases like '{}'", grant.database);
        deeds.say(words, revoke(grant, "ALL PRIVILEGES", account));
    }
    // What each database is reached by, and what takes that away; as a whole, or in part.
    let mut wholes: BTreeMap<Name, Vec<String>> = BTreeMap::new();
    let mut parts = wholes.clone();
    for grant in single {
        let of = wholes.entry(rights::literal(&grant.database)).or_default();
        of.extend(revoke(grant, "ALL PRIVILEGES", account));
    }
    let objects = rights::objects(facts, &account.user, account.host.text());
    for object in objects.filter(|object| object.database.0 != MYSQL) {
        let of = wholes.get_mut(&object.database);
        let of = of.unwrap_or_else(|| parts.entry(object.database.clone()).or_default());
        of.extend(revoke_object(object, "ALL PRIVILEGES", account));
    }
    let mut databases: Vec<_> = wholes.keys().chain(parts.keys()).cloned().collect();
    // Those of roles are not taken away one by one: the role is.
    let mut takes_away = Vec::new();
    for role in roles {
        let before = databases.len();
        let of_role = role
            .databases(facts)
            .filter(|grant| rights::data(grant.access) != 0)
            .map(|grant| rights::literal(&grant.database));
        let of_objects = role.objects(facts).map(|object| object.database.clone());
        for database in of_role.chain(of_objects) {
            if !databases.contains(&database) {
                databases.push(database);
            }
        }
        if before > 0 && databases.len() > before || databases.len() > before + 1 {
            takes_away.extend(revoke_role(role.role, account));
        }
    }
    if databases.len() > 1 {
        let shown: Vec<_> = databases
            .iter()
            .map(|name| match parts.contains_key(name) {
                true => format!("'{name}' in part"),
                false => format!("'{name}'"),
            })
            .collect();
        deeds.said.push(format!(
            "the databases {}; keep the one that it works with",
            some_of(&shown)
        ));
        let all = wholes.into_values().chain(parts.into_values());
        deeds.statements.extend(all.skip(1).flatten());
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
    for object in rights::objects(facts, &everybody.user, &NO_HOST)
        .filter(|object| object.database.0 == MYSQL)
    {
        let message = format!("everybody has {} on {}", object.rights, shown(object));
        let sql = named(object).map(|on| from("ALL PRIVILEGES", &on));
        findings
            .push(Finding::new("powerful-account", "PUBLIC", message).sql(&Vec::from_iter(sql)));
    }
    for grant in
        rights::databases(facts, &everybody.user, &NO_HOST).filter(|grant| is_on_mysql(grant))
    {
        let message = format!("everybody has rights on '{}'", grant.database);
        let sql = quote_name(&grant.database).map(|on| from("ALL PRIVILEGES", &format!("{on}.*")));
        findings
            .push(Finding::new("powerful-account", "PUBLIC", message).sql(&Vec::from_iter(sql)));
    }
    findings
}

fn revoke(grant: &DatabaseGrant, rights: &str, account: &Account) -> Option<String> {
    let database = quote_name(&grant.database)?;
    statement(
        &format!("REVOKE {rights} ON {database}.* FROM"),
        account,
        "",
    )
}

fn revoke_object(object: &ObjectGrant, rights: &str, account: &Account) -> Option<String> {
    let object = named(object)?;
    statement(&format!("REVOKE {rights} ON {object} FROM"), account, "")
}

/// As GRANT and REVOKE name it.
fn named(object: &ObjectGrant) -> Option<String> {
    let database = quote_name(&object.database)?;
    let name = quote_name(&object.name)?;
    Some(format!("{} {database}.{name}", object.kind.grant_word()))
}

fn shown(object: &ObjectGrant) -> String {
    format!("'{}'.'{}'", object.database, object.name)
}

/// A name as it stands in the grant; of a database, its pattern and the escapes in it included.
fn quote_name(name: &Name) -> Option<String> {
    let name = std::str::from_utf8(&name.0).ok()?;
    Some(format!("`{}`", name.replace('`', "``")))
}

fn revoke_proxy(as_user: &Name, as_host: &Name, account: &Account) -> Option<String> {
    let user = quote(std::str::from_utf8(&as_user.0).ok()?);
    let host = quote(std::str::from_utf8(&as_host.0).ok()?);
    statement(&format!("REVOKE PROXY ON {user}@{host} FROM"), account, "")
}

fn revoke_role(role: &Name, account: &Account) -> Option<String> {
    let role = quote(std::str::from_utf8(&role.0).ok()?);
    statement(&format!("REVOKE {role} FROM"), account, "")
}
