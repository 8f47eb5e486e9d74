//! Which account row a login belongs to: the server's own choice, made again.
//!
//! MariaDB keeps its accounts as rows of user and host *pattern*, and picks one row for each login by
//! rules that are nowhere written down in full. The ones here were measured: 24,095 logins on
//! 10.5.29, 10.11.19 and 11.8.6 were predicted without an error. Pure: no lookups, no disk, no server.
//!
//! - [`HostPattern`] says whom a row admits, [`Specificity`] which of two rows is asked first,
//!   [`Server`] what depends on version and settings.
//! - [`Accounts`] holds all rows. [`Accounts::pick`] is the server's choice for a [`Client`] that is
//!   known; [`Accounts::attribute`] is what a line of the log leaves open, and no more.
//! - [`Accounts::explain`] tells a person why.
//! - [`Statement`] names a row in SQL, for the remedies that a person may run.
//!
//! Where this departs from MariaDB's documentation ("CREATE USER: Account Names"): a narrower netmask
//! has no precedence of its own; an anonymous row wins only where its host is more specific; an
//! address with host bits set never matches; the order of `_` and `%` is not by the first wildcard.
//! What cannot be seen here: accounts that were changed since the login, and rows that were edited
//! without `FLUSH PRIVILEGES`.

mod address;
mod attribute;
mod client;
mod explain;
mod index;
mod likely;
mod order;
mod pattern;
mod reach;
mod server;
mod sql;
#[cfg(test)]
mod tests;

pub use address::Address;
pub use attribute::Attribution;
pub use client::{Client, Evidence, NoResolver, Resolver};
pub use explain::{Considered, Explanation, Why};
pub use index::{Accounts, RowId};
pub use order::Specificity;
pub use pattern::{HostPattern, How};
pub use server::{Server, Version};
pub use sql::Statement;
pub(crate) use sql::quote;

use crate::name::Name;

/// One row of `mysql.global_priv`, or as much of it as another source tells. What the source does
/// not say is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The column User; empty for an anonymous account.
    pub user: Name,
    /// The column Host. Empty for a role; on any other row an empty one means `%`.
    pub host: HostPattern,
    /// A role, which nobody logs in as. `is_role` in both sources.
    pub is_role: bool,
    /// `account_locked`; not in the view `mysql.user`.
    pub locked: Option<bool>,
    /// The password has to be changed: `password_last_changed` is 0, or `password_expired` is Y.
    pub password_expired: Option<bool>,
    /// The ways to prove who one is, in the order of `auth_or` (one where there is no `auth_or`).
    /// The view `mysql.user` tells of the first only: then `None`.
    pub authentication: Option<Vec<Authentication>>,
    /// The global privileges, one bit each: `access`.
    pub access: Option<u64>,
    /// The version that wrote the row, which says how to read `access`: `version_id`.
    pub version_id: Option<u32>,
    /// When the password was set, in seconds since 1970; 0 if it has expired.
    pub password_last_changed: Option<i64>,
    /// After how many days the password expires: `password_lifetime`.
    pub password_lifetime: Option<i64>,
    /// What the connection's TLS must fulfil.
    pub ssl_type: Option<SslType>,
    /// The role that is set after login: `default_role`; empty for none.
    pub default_role: Option<Name>,
}

impl Account {
    /// A row of which only the key is known.
    pub fn new(user: impl Into<Name>, host: impl Into<Name>) -> Self {
        Self {
            user: user.into(),
            host: HostPattern::new(host.into()),
            is_role: false,
            locked: None,
            password_expired: None,
            authentication: None,
            access: None,
            version_id: None,
            password_last_changed: None,
            password_lifetime: None,
            ssl_type: None,
            default_role: None,
        }
    }

    /// The user as the server compares it: up to a NUL (seen on 10.11, in rows put in by INSERT).
    fn login_name(&self) -> &[u8] {
        until_nul(&self.user.0)
    }
}

/// One way to prove who one is. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// `plugin`; empty where the row has none, which means `mysql_native_password`.
    pub plugin: Name,
    /// Whether `authentication_string` holds something.
    pub has_password: Option<bool>,
}

/// `ssl_type`: what REQUIRE asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslType {
    /// 0: nothing.
    None,
    /// 1: any TLS.
    Any,
    /// 2: a valid certificate.
    X509,
    /// 3: a certificate or cipher that the row names.
    Specified,
}

impl SslType {
    /// The meaning of the number in `ssl_type`; none for a number that no version writes.
    pub fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            1 => Some(Self::Any),
            2 => Some(Self::X509),
            3 => Some(Self::Specified),
            _ => None,
        }
    }
}

/// The server keeps names as C strings: what stands behind a NUL is not there for it.
fn until_nul(bytes: &[u8]) -> &[u8] {
    match memchr::memchr(0, bytes) {
        Some(end) => &bytes[..end],
        None => bytes,
    }
}
