//! The account table, from the best source that may be read: our view (no secrets), then
//! `mysql.global_priv`, then the view `mysql.user`, which leaves much open.

use mysql::{Error as Refusal, Row, Value as Column};
use serde_json::Value;

use super::{DatabaseGrant, Facts, ObjectGrant, ObjectKind, Source, bytes, names};
use crate::account::{Account, Authentication, SslType};
use crate::name::Name;

/// How many alternatives of `auth_or` our view shows.
const SHOWN_ALTERNATIVES: usize = 8;

/// Reads accounts, roles and proxies into `facts`; none if no source can be read.
pub(super) fn read(source: &mut Source<'_>, facts: &mut Facts) -> Result<Option<()>, Refusal> {
    let view = format!(
        "SELECT user, host, priv, auth_or, alternatives FROM {}.server_accounts",
        source.database
    );
    let accounts = if let Some(rows) = source.rows(&view)? {
        rows.iter().map(of_view).collect()
    } else if let Some(rows) = source.rows("SELECT User, Host, Priv FROM mysql.global_priv")? {
        rows.iter().map(of_global_priv).collect()
    } else if let Some(rows) = source.rows(
        "SELECT User, Host, is_role = 'Y', password_expired = 'Y', default_role FROM mysql.user",
    )? {
        facts.unknown.push(
            "whether an account is locked, when its password was set, and all ways to authenticate: \
             mysql.user does not say it; conntracker schema --store mariadb prints views that do"
                .into(),
        );
        rows.iter().map(of_user_view).collect()
    } else {
        return Ok(None);
    };
    facts.accounts = accounts;
    facts.roles = source.view("server_roles", "user, host, role")?.map(names);
    facts.proxies = source
        .view("server_proxies", "user, host, proxied_user, proxied_host")?
        .map(names);
    for (missing, what) in [
        (facts.roles.is_none(), "who may use which role"),
        (facts.proxies.is_none(), "who may act as whom (GRANT PROXY)"),
    ] {
        if missing {
            facts.unknown.push(format!(
                "{what}; conntracker schema --store mariadb prints views that say it"
            ));
        }
    }
    Ok(Some(()))
}

/// Reads the privileges on databases; none if they can't be.
pub(super) fn database_grants(
    source: &mut Source<'_>,
) -> Result<Option<Vec<DatabaseGrant>>, Refusal> {
    let rows = source.view("server_db_grants", "user, host, db, access")?;
    let grant = |row: &Row| DatabaseGrant {
        user: bytes(row, 0),
        host: bytes(row, 1),
        database: bytes(row, 2),
        access: row.get_opt(3).and_then(Result::ok).unwrap_or(0),
    };
    Ok(rows.map(|rows| rows.iter().map(grant).collect()))
}

/// Reads the privileges on parts of databases; none if they can't be.
pub(super) fn object_grants(source: &mut Source<'_>) -> Result<Option<Vec<ObjectGrant>>, Refusal> {
    let rows = source.view("server_object_grants", "user, host, db, kind, name, rights")?;
    let grant = |row: &Row| ObjectGrant {
        user: bytes(row, 0),
        host: bytes(row, 1),
        database: bytes(row, 2),
        kind: match &*bytes(row, 3).0 {
            b"COLUMN" => ObjectKind::Column,
            b"PROCEDURE" => ObjectKind::Procedure,
            b"FUNCTION" => ObjectKind::Function,
            b"PACKAGE" => ObjectKind::Package,
            b"PACKAGE BODY" => ObjectKind::PackageBody,
            _ => ObjectKind::Table,
        },
        name: bytes(row, 4),
        rights: bytes(row, 5),
    };
    Ok(rows.map(|rows| rows.iter().map(grant).collect()))
}

fn of_view(row: &Row) -> Account {
    let mut account = of_json(row, &json(row, 2));
    let alternatives: usize = row.get_opt(4).and_then(Result::ok).unwrap_or(0);
    if alternatives > SHOWN_ALTERNATIVES {
        account.authentication = None;
    } else if let Value::Array(list) = json(row, 3)
        && !list.is_empty()
    {
        account.authentication = Some(alternatives_of(&list, &json(row, 2)));
    }
    account
}

fn of_global_priv(row: &Row) -> Account {
    let privileges = json(row, 2);
    let mut account = of_json(row, &privileges);
    if let Some(Value::Array(list)) = privileges.get("auth_or") {
        account.authentication = Some(alternatives_of(list, &privileges));
    }
    account
}

fn of_user_view(row: &Row) -> Account {
    let is = |column| row.get_opt::<u8, _>(column).and_then(Result::ok) == Some(1);
    Account {
        is_role: is(2),
        password_expired: Some(is(3)),
        default_role: Some(bytes(row, 4)),
        ..Account::new(bytes(row, 0), bytes(row, 1))
    }
}

/// The keys that both the view and `mysql.global_priv` have. A key that is missing has the value that
/// the server assumes.
fn of_json(row: &Row, privileges: &Value) -> Account {
    let number = |key| privileges.get(key).and_then(as_u64);
    let signed = |key| privileges.get(key).and_then(Value::as_i64);
    let role = privileges.get("default_role").and_then(Value::as_str);
    Account {
        is_role: privileges.get("is_role").is_some_and(is_true),
        locked: Some(privileges.get("account_locked").is_some_and(is_true)),
        password_expired: Some(signed("password_last_changed") == Some(0)),
        authentication: Some(vec![authentication(privileges)]),
        access: Some(number("access").unwrap_or(0)),
        version_id: number("version_id").and_then(|id| id.try_into().ok()),
        password_last_changed: signed("password_last_changed"),
        password_lifetime: signed("password_lifetime"),
        ssl_type: SslType::from_number(number("ssl_type").unwrap_or(0)),
        default_role: Some(Name::from(role.unwrap_or_default())),
        ..Account::new(bytes(row, 0), bytes(row, 1))
    }
}

/// `{}` among the alternatives stands for plugin and string of the row itself.
fn alternatives_of(list: &[Value], row: &Value) -> Vec<Authentication> {
    let is_row = |alternative: &Value| {
        let object = alternative.as_object();
        object.is_some_and(|object| object.values().all(Value::is_null))
    };
    list.iter()
        .map(|alternative| match is_row(alternative) {
            true => authentication(row),
            false => authentication(alternative),
        })
        .collect()
}

fn authentication(object: &Value) -> Authentication {
    let text = |key| object.get(key).and_then(Value::as_str).unwrap_or_default();
    Authentication {
        plugin: Name::from(text("plugin")),
        has_password: Some(!text("authentication_string").is_empty()),
    }
}

/// The server writes numbers that a signed one does not hold.
fn as_u64(value: &Value) -> Option<u64> {
    value
        .as_u64()
        .or_else(|| value.as_i64().map(|number| number as u64))
        .or_else(|| value.as_str()?.parse().ok())
}

fn is_true(value: &Value) -> bool {
    value.as_bool().unwrap_or(value.as_i64() == Some(1))
}

fn json(row: &Row, column: usize) -> Value {
    match row.as_ref(column) {
        Some(Column::Bytes(text)) => serde_json::from_slice(text).unwrap_or(Value::Null),
        _ => Value::Null,
    }
}
