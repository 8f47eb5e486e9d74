//! Accounts that appeared or changed since the last check.
//!
//! The first check has nothing to compare with, and finds nothing.

use super::finding::{Finding, Outcome, VIEWS, lock, statement, subject};
use super::memory::{AccountMemory, Mark};
use super::rights;
use crate::account::Account;
use crate::checkpoint::Digest;
use crate::server::{Facts, ObjectGrant};

/// The checks of this file. Returns what is to be remembered.
pub(super) fn check(
    facts: &Facts,
    known: Option<&AccountMemory>,
    outcome: &mut Outcome,
) -> AccountMemory {
    let now = AccountMemory {
        checked: facts.now,
        accounts: facts
            .accounts
            .iter()
            .map(|account| mark(facts, account))
            .collect(),
    };
    let is_missing = |mark: &Mark| mark.rights.is_none() || mark.authentication.is_none();
    if now.accounts.iter().any(is_missing) {
        let why = format!("not all that makes an account can be read; {VIEWS}");
        outcome.not_checked(&["changed-account"], &why);
    }
    let Some(known) = known else {
        return now;
    };
    let since = format!("since the last check, {}", known.checked.rfc3339());
    for (account, mark) in facts.accounts.iter().zip(&now.accounts) {
        let subject = subject(&mark.user, &mark.host);
        let before = known
            .accounts
            .iter()
            .find(|one| one.user == mark.user && one.host == mark.host);
        let Some(before) = before else {
            // Nobody comes in as it; if it is unlocked later, that is a change.
            if account.locked == Some(true) {
                continue;
            }
            let what = if account.is_role { "role" } else { "account" };
            let message = format!("this {what} appeared {since}: does anybody know of it?");
            let finding = Finding::new("new-account", subject, message);
            outcome.find(match account.is_role {
                true => finding,
                false => finding.sql(&[lock(account)]),
            });
            continue;
        };
        let changed: Vec<_> = [
            (differ(&before.rights, &mark.rights), "its privileges"),
            (
                differ(&before.authentication, &mark.authentication),
                "how it is authenticated",
            ),
            (differ(&before.locked, &mark.locked), "whether it is locked"),
        ]
        .into_iter()
        .filter_map(|(differs, what)| differs.then_some(what))
        .collect();
        if !changed.is_empty() {
            let message = format!(
                "{} changed {since}: does anybody know of it?",
                changed.join(", ")
            );
            let mut finding = Finding::new("changed-account", subject, message);
            if !account.is_role {
                finding = finding.sql(&Vec::from_iter(statement("SHOW GRANTS FOR", account, "")));
            }
            outcome.find(finding);
        }
    }
    now
}

/// What could not be read at one of the times says nothing.
fn differ<T: PartialEq>(before: &Option<T>, now: &Option<T>) -> bool {
    before.is_some() && now.is_some() && before != now
}

fn mark(facts: &Facts, account: &Account) -> Mark {
    let (user, host) = (&account.user, account.host.text());
    let (databases, objects) = (&facts.database_grants, &facts.object_grants);
    let rights = (
        account.access,
        &facts.roles,
        databases,
        objects,
        &facts.proxies,
    );
    let rights = match rights {
        (Some(access), Some(roles), Some(_), Some(objects), Some(proxies)) => {
            let mut granted: Vec<_> = rights::databases(facts, user, host)
                .map(|grant| format!("{:?} {}", grant.database, grant.access))
                .collect();
            let own = objects
                .iter()
                .filter(|grant| grant.user == *user && grant.host == *host);
            granted.extend(own.map(|grant| {
                let ObjectGrant {
                    kind,
                    database,
                    name,
                    rights,
                    ..
                } = grant;
                format!("{kind:?} {database:?} {name:?} {rights:?}")
            }));
            let own = proxies
                .iter()
                .filter(|[of_user, of_host, ..]| of_user == user && of_host == host);
            granted.extend(own.map(|[_, _, user, host]| format!("proxy {user:?} {host:?}")));
            let own = roles
                .iter()
                .filter(|[of_user, of_host, _]| of_user == user && of_host == host);
            granted.extend(own.map(|[_, _, role]| format!("role {role:?}")));
            granted.sort();
            Some(digest(&format!(
                "{access} {granted:?} {:?}",
                account.default_role
            )))
        }
        _ => None,
    };
    let authentication = account.authentication.as_ref().map(|ways| {
        digest(&format!(
            "{ways:?} {:?} {:?}",
            account.password_last_changed, account.ssl_type
        ))
    });
    Mark {
        user: user.clone(),
        host: host.clone(),
        rights,
        authentication,
        locked: account.locked,
    }
}

fn digest(text: &str) -> String {
    // Short: it has to differ by chance only.
    Digest::of(text.as_bytes()).sha256[..16].to_owned()
}
