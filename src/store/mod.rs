//! Where the answer is kept.
//!
//! A [`Store`] keeps figures per account *and* the checkpoint that they belong to: there is no way
//! to write the one without the other. That is what makes a kill at any instant, a lost answer to a
//! COMMIT, a retry and a second run at the same time harmless, and lock files unnecessary.

pub mod activity;
mod failures;
mod list;
mod mariadb;
mod sqlite;

use serde::Serialize;

use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::name::Name;
use crate::time::UtcSeconds;

pub use activity::{Activity, ActivityFilter, Retention, Rhythm, Slot};
pub use list::{AccountFilter, Order, SortBy};
pub use mariadb::{
    MariaDb, VERSION as MARIADB_VERSION, schema as mariadb_schema, views as mariadb_views,
};
pub use sqlite::{SCHEMA as SQLITE_SCHEMA, Sqlite};

/// How many different (name, host, code) a store keeps for one server's failed logins. Whoever
/// fails with ever new names fills no more than twice this: beyond, all names of a host are counted in
/// one row, and in the end those of all hosts.
pub const MAX_FAILED_CONNECTS: usize = 10_000;

/// How many doubtful records a store keeps for one server; the newest ones.
pub const MAX_QUARANTINE: usize = 10_000;

/// The use of one account name from one client host: a row of `accounts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountUse {
    /// The database server, as configured or as the log names itself (`serverhost`).
    pub server: Name,
    /// The user name that the client gave.
    pub name: Name,
    /// The client's host: a name, an address, or `localhost` for the socket.
    pub host: Name,
    /// First successful authentication; none if only other signs of use were seen.
    pub first_seen: Option<UtcSeconds>,
    /// Last successful authentication.
    pub last_seen: Option<UtcSeconds>,
    /// Last sign of use of any kind.
    pub last_active: Option<UtcSeconds>,
    /// Number of CONNECT records.
    pub connects: u64,
}

/// Failed logins of one name from one client host with one error: a row of `failed_connects`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedConnect {
    /// The database server.
    pub server: Name,
    /// The user name that was tried; none in a row that stands for many.
    pub name: Option<Name>,
    /// The client's host; none in the row that stands for many hosts.
    pub host: Option<Name>,
    /// The server's error number (1045: access denied); none in a row that stands for many.
    pub code: Option<u32>,
    /// First attempt.
    pub first_seen: UtcSeconds,
    /// Last attempt.
    pub last_seen: UtcSeconds,
    /// Number of attempts.
    pub attempts: u64,
}

/// A login that was not believed: a row of `quarantine`. It moves no figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubtful {
    /// The database server.
    pub server: Name,
    /// The user name in the record.
    pub name: Name,
    /// The client host in the record.
    pub host: Name,
    /// The record's own time; none if it can't be read.
    pub time: Option<UtcSeconds>,
    /// The record's connection id.
    pub connectionid: u64,
    /// Why it is not believed, in words.
    pub why: String,
    /// The address of the connection that wrote it, as far as known.
    pub from: Option<Name>,
    /// The file in which it stood when it was read.
    pub file: String,
    /// The byte of that file (unpacked) at which its line begins.
    pub offset: u64,
}

/// Names a row of `quarantine` whose record has proved genuine after all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawn {
    /// The user name in the record.
    pub name: Name,
    /// The client host in the record.
    pub host: Name,
    /// The record's connection id.
    pub connectionid: u64,
    /// The byte of its file at which its line begins.
    pub offset: u64,
}

/// A time span in which the log was read without a gap: a row of `coverage`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Time of the first record of the span.
    pub from: UtcSeconds,
    /// Time of the last record read so far.
    pub to: UtcSeconds,
    /// Why the time before this span is not covered; none for the first span.
    pub gap: Option<String>,
}

/// What one step of a run adds to a store, beside the checkpoint.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The server that all rows belong to.
    pub server: Name,
    /// Logins and other signs of use, to be merged: least first_seen, greatest last_seen and
    /// last_active, sum of connects.
    pub accounts: Vec<AccountUse>,
    /// Signs of use that count only for a (name, host) that has a row already, for their writer may
    /// be no client: an event or a replication thread works under the name of an account.
    pub activity: Vec<(Name, Name, UtcSeconds)>,
    /// When each name was used, to be merged: sums of counts, each bit of the hours. Failures of a name
    /// without a row in `accounts` are counted with those of all such names.
    pub rhythm: Vec<Rhythm>,
    /// How long that is kept.
    pub retention: Retention,
    /// Account rows (`` `user`@`host` ``) that were used by PROXY_CONNECT, with the last time.
    pub proxied: Vec<ProxiedAccount>,
    /// Failed logins, to be merged.
    pub failed: Vec<FailedConnect>,
    /// Logins that were not believed.
    pub quarantine: Vec<Doubtful>,
    /// Rows of the quarantine to be taken out again; applied before `quarantine`.
    pub withdrawn: Vec<Withdrawn>,
    /// Spans that the log covers. The first may continue the last span of the store (same source,
    /// `gap` none): then it is lengthened.
    pub coverage: Vec<Coverage>,
}

/// An account row that was used through another account: a row of `proxied_accounts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxiedAccount {
    /// The database server.
    pub server: Name,
    /// The account as the log writes it: `` `user`@`host` ``; the host is a pattern.
    pub account: Name,
    /// First use.
    pub first_seen: UtcSeconds,
    /// Last use.
    pub last_seen: UtcSeconds,
    /// Number of PROXY_CONNECT records.
    pub connects: u64,
}

/// How `conntracker check` judged an account of a server: a row of `account_status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountStatus {
    /// User of the account row.
    pub user: Name,
    /// Host pattern of the account row.
    pub host: Name,
    /// `active`, `unused` and so on.
    pub state: String,
    /// Why, in words.
    pub reason: String,
    /// Last login that is certainly its own.
    pub last_seen: Option<UtcSeconds>,
    /// Last sign of use that is certainly its own.
    pub last_active: Option<UtcSeconds>,
    /// Number of logins that are certainly its own.
    pub connects: u64,
    /// Number of clients that are, or may be, its own.
    pub clients: u64,
    /// No login may be its own or another account's.
    pub exact: bool,
    /// Since when it is known to be there.
    pub known_since: Option<UtcSeconds>,
}

/// An account of some server, and when it was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedAccount {
    /// The database server.
    pub server: Name,
    /// When.
    pub checked_at: UtcSeconds,
    /// How.
    pub status: AccountStatus,
}

/// Logins that belong to no account of today, or to one of several: a row of `unexplained_logins`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnexplainedLogin {
    /// The user name that the client gave.
    pub name: Name,
    /// The client's host.
    pub host: Name,
    /// Last successful authentication.
    pub last_seen: Option<UtcSeconds>,
    /// Last sign of use of any kind.
    pub last_active: Option<UtcSeconds>,
    /// Number of CONNECT records.
    pub connects: u64,
    /// The accounts that it may belong to, for a person; empty if there is none.
    pub accounts: String,
}

/// How a server was judged, to be kept in place of what was found before.
#[derive(Clone, Debug)]
pub struct Status {
    /// The database server.
    pub server: Name,
    /// When.
    pub checked_at: UtcSeconds,
    /// Its accounts.
    pub accounts: Vec<AccountStatus>,
    /// Its logins that are not explained by one account; at most [`MAX_UNEXPLAINED`].
    pub unexplained: Vec<UnexplainedLogin>,
}

/// How many unexplained logins a store keeps for one server.
pub const MAX_UNEXPLAINED: usize = 10_000;

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Commit {
    /// Figures and checkpoint are in the store, durably.
    Done,
    /// Another run has moved the checkpoint; nothing was written. Look at the work anew.
    Overtaken,
}

/// A place that keeps the answer. Every backend passes the same tests.
///
/// An error that a `row` callback returns is passed on as it is.
pub trait Store {
    /// What to call this store in a message.
    fn describe(&self) -> String;

    /// All checkpoints of this machine with the source (the log's path) that each belongs to. Where
    /// machines share a store and this one has none, those of the others, with generation 0 and under
    /// sources that are no paths: the machine may have got another name.
    fn checkpoints(&mut self) -> Result<Vec<(String, Checkpoint)>>;

    /// Adds `batch` and replaces the checkpoint of `source` by `next`, both or neither, but only if
    /// the stored checkpoint still has the generation of `base` (none: if there is none yet).
    /// After `Ok(Commit::Done)` both survive a power cut.
    fn commit(
        &mut self,
        source: &str,
        base: Option<&Checkpoint>,
        next: &Checkpoint,
        batch: &Batch,
    ) -> Result<Commit>;

    /// Calls `row` for each account use that `filter` wants, in its order; names by their bytes, but
    /// for those that are not UTF-8 or hold a NUL, which stand where the store keeps them.
    fn accounts(
        &mut self,
        filter: &AccountFilter,
        row: &mut dyn FnMut(AccountUse) -> Result<()>,
    ) -> Result<()>;

    /// Calls `row` for each failure whose last attempt is not before `since`, ordered by server,
    /// name, host (as above), code; rows that stand for many come last.
    fn failed_connects(
        &mut self,
        since: Option<UtcSeconds>,
        row: &mut dyn FnMut(FailedConnect) -> Result<()>,
    ) -> Result<()>;

    /// How many failed logins `server` has had, by code; without one: those of the rows that stand for
    /// many. No number ever becomes less.
    fn failed_attempts(&mut self, server: &Name) -> Result<Vec<(Option<u32>, u64)>>;

    /// Calls `row` for each record that was not believed and is not older than `since`, in the order
    /// in which they were read.
    fn quarantine(
        &mut self,
        since: Option<UtcSeconds>,
        row: &mut dyn FnMut(Doubtful) -> Result<()>,
    ) -> Result<()>;

    /// Calls `row` for each row of activity, days before hours, each ordered by time and name (as
    /// above); what stands for many names comes last of its hour or day. A day may have rows of both
    /// kinds, which add up.
    fn activity(
        &mut self,
        filter: &ActivityFilter,
        row: &mut dyn FnMut(Activity) -> Result<()>,
    ) -> Result<()>;

    /// The spans of time that the logs of `server` cover, in the order in which they were read.
    fn coverage(&mut self, server: &Name) -> Result<Vec<Coverage>>;

    /// The accounts of `server` that were used through a proxy.
    fn proxied_accounts(&mut self, server: &Name) -> Result<Vec<ProxiedAccount>>;

    /// Calls `row` for each account that `filter` wants, as it was judged last, in its order (names as
    /// above). There is no first_seen to sort by.
    fn account_statuses(
        &mut self,
        filter: &AccountFilter,
        row: &mut dyn FnMut(JudgedAccount) -> Result<()>,
    ) -> Result<()>;

    /// How the accounts of `server` were judged last, and when; none if they never were.
    fn account_status(
        &mut self,
        server: &Name,
    ) -> Result<Option<(UtcSeconds, Vec<AccountStatus>)>> {
        let filter = AccountFilter {
            server: Some(server.clone()),
            ..AccountFilter::default()
        };
        let mut statuses = Vec::new();
        let mut last = None;
        self.account_statuses(&filter, &mut |judged| {
            last = last.max(Some(judged.checked_at));
            statuses.push(judged.status);
            Ok(())
        })?;
        Ok(last.map(|checked_at| (checked_at, statuses)))
    }

    /// What the last check of `server` left for the next one.
    fn check_memory(&mut self, server: &Name) -> Result<Option<String>>;

    /// Keeps what this check of `server`, made at `checked_at`, leaves for the next one.
    fn keep_memory(&mut self, server: &Name, checked_at: UtcSeconds, memory: &str) -> Result<()>;

    /// Keeps how a server was judged, in place of all that was found of it before.
    fn keep_status(&mut self, status: &Status) -> Result<()>;
}
