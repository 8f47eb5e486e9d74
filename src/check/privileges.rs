//! What accounts may do, and should not have to.
//!
//! An account that is locked does nothing, and root over the socket is left alone: somebody has to rule.
//! Rights count with those of all roles; what everybody has (PUBLIC) is told once.

use std::collections::BTreeMap;

use super::finding::{Finding, Outcome, VIEWS, some_of, statement, subject};
use super::rights::{self, GRANT, Granted, PUBLIC};
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
        outcome.findings.extend(rights_of(everybody, facts));
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
        let by_itself = rights::is_all(own, account.version_id);
        let guilty = roles
            .iter()
            .filter(|role| !by_itself && role.access(facts) & !own != 0);
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
        let on_mysql =
            role.databases(facts).any(is_on_mysql) || role.objects(facts).any(is_of_mysql);
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
                named(account),
                format!(
                    "{}may rule the server or other accounts: {}",
                    who(account),
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

/// Whether this account may rule the server or other accounts; without a name it stands for any account.
fn is_powerful(facts: &Facts, user: &Name, host: &Name) -> bool {
    let rules = |account: &Account| {
        let roles = rights::roles_of(facts, account);
        let own = account.access.unwrap_or(0);
        let all = roles.iter().fold(own, |all, role| all | role.access(facts));
        let on_database = |grant: &DatabaseGrant| grant.access & GRANT != 0 || is_on_mysql(grant);
        let on_object = |object: &ObjectGrant| object.may_be_passed_on() || is_of_mysql(object);
        rights::powerful(all) != 0
            || rights::databases(facts, user, host).any(on_database)
            || rights::objects(facts, user, host).any(on_object)
            || roles.iter().any(|role| {
                role.databases(facts).any(on_database) || role.objects(facts).any(on_object)
            })
    };
    let is = |account: &&Account| account.user == *user && account.host.text() == host;
    user.0.is_empty() || facts.accounts.iter().find(is).is_some_and(rules)
}

/// PUBLIC, the role of everybody, is judged like an account.
fn named(account: &Account) -> String {
    match account.is_role {
        true => account.user.to_string(),
        false => subject(&account.user, account.host.text()),
    }
}

/// Of whom a message speaks, where that is not its subject.
fn who(account: &Account) -> &'static str {
    if account.is_role { "everybody " } else { "" }
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
        named(account),
        format!(
            "{}may do everything on every database{by}, as only root over the socket should; grant it \
             what it needs on its own database",
            who(account)
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
        self.take_away(sql);
    }

    /// What was taken away already can't be once more.
    fn take_away(&mut self, statements: impl IntoIterator<Item = String>) {
        for sql in statements {
            if !self.statements.contains(&sql) {
                self.statements.push(sql);
            }
        }
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
        if is_of_mysql(object) {
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

fn is_of_mysql(object: &ObjectGrant) -> bool {
    object.database.0 == MYSQL
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
    for object in objects.filter(|object| !is_of_mysql(object)) {
        let of = wholes.get_mut(&object.database);
        let of = of.unwrap_or_else(|| parts.entry(object.database.clone()).or_default());
        of.extend(revoke_object(object, "ALL PRIVILEGES", account));
    }
    // An account has one of its own; what everybody has is nobody's.
    let kept = usize::from(!account.is_role);
    let mut databases: Vec<_> = wholes.keys().chain(parts.keys()).cloned().collect();
    // Those of roles are not taken away one by one: the role is.
    let mut takes_away = Vec::new();
    for role in roles {
        let before = databases.len();
        let grants = || {
            let data = role.databases(facts);
            data.filter(|grant| rights::data(grant.access) != 0 && !is_on_mysql(grant))
        };
        for grant in grants().filter(|grant| rights::is_on_many(&grant.database)) {
            let words = format!(
                "all databases like '{}' through the role '{}'",
                grant.database, role.role
            );
            deeds.say(words, revoke_role(role.role, account));
        }
        let of_role = grants()
            .filter(|grant| !rights::is_on_many(&grant.database))
            .map(|grant| rights::literal(&grant.database));
        let of_objects = role
            .objects(facts)
            .filter(|object| !is_of_mysql(object))
            .map(|object| object.database.clone());
        for database in of_role.chain(of_objects) {
            if !databases.contains(&database) {
                databases.push(database);
            }
        }
        if databases.len() > before.max(kept) {
            takes_away.extend(revoke_role(role.role, account));
        }
    }
    if databases.len() > kept {
        let shown: Vec<_> = databases
            .iter()
            .map(|name| match parts.contains_key(name) {
                true => format!("'{name}' in part"),
                false => format!("'{name}'"),
            })
            .collect();
        deeds.said.push(match kept {
            0 => some_of(&shown),
            _ => format!(
                "the databases {}; keep the one that it works with",
                some_of(&shown)
            ),
        });
        let all = wholes.into_values().chain(parts.into_values());
        deeds.take_away(all.skip(kept).flatten());
        deeds.take_away(takes_away);
    }
    if deeds.said.is_empty() {
        return None;
    }
    Some(
        Finding::new(
            "wide-scope",
            named(account),
            match account.is_role {
                true => format!("everybody has rights on {}", some_of(&deeds.said)),
                false => format!(
                    "has rights on more than one database: {}",
                    some_of(&deeds.said)
                ),
            },
        )
        .sql(&deeds.statements),
    )
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
    let object = grant_name(object)?;
    statement(&format!("REVOKE {rights} ON {object} FROM"), account, "")
}

/// As GRANT and REVOKE name it.
fn grant_name(object: &ObjectGrant) -> Option<String> {
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
