//! What the next check needs to know of this one, kept in the store as JSON.
//!
//! Each part is of one family of checks and stays as it was where they were not made, so that
//! `--only` hides nothing from the next full check.

use serde::{Deserialize, Serialize};

use crate::name::Name;
use crate::time::UtcSeconds;

/// All parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Of the logins and their refusals.
    pub log: Option<LogMemory>,
    /// Of the accounts.
    pub accounts: Option<AccountMemory>,
}

/// What was known of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogMemory {
    /// When the check was made.
    pub checked: Option<UtcSeconds>,
    /// Time of the last record that was known.
    pub read: Option<UtcSeconds>,
    /// How many passes over the log there had been.
    pub passes: u64,
    /// Refused attempts by host.
    pub attempts: Vec<Attempts>,
    /// Logins from hosts that are not expected.
    pub unexpected: Vec<SeenLogin>,
    /// What was told of hours and days that had not ended.
    pub rhythm: Vec<Told>,
    /// End of the newest gap.
    pub gap: Option<UtcSeconds>,
    /// How many records were in doubt, and where the newest of them stands.
    pub doubts: u64,
    /// Connection id and offset of the newest of them.
    pub last_doubt: Option<(u64, u64)>,
}

/// Something unusual that was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The user name.
    pub name: Name,
    /// The hour or the day.
    pub start: UtcSeconds,
    /// What was unusual.
    pub what: What,
}

/// What may be unusual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A login at this hour.
    Time,
    /// The number of logins.
    Logins,
    /// The number of failures.
    Failures,
}

/// Refused attempts from a host; of all hosts without a row of their own, if it has no name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    /// The host.
    pub host: Name,
    /// How many.
    pub attempts: u64,
}

/// Logins of one client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenLogin {
    /// The user name.
    pub name: Name,
    /// The host.
    pub host: Name,
    /// How many.
    pub connects: u64,
    /// The last one.
    pub last_seen: Option<UtcSeconds>,
}

/// What was known of the accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountMemory {
    /// When the check was made.
    pub checked: UtcSeconds,
    /// Each account and role.
    pub accounts: Vec<Mark>,
}

/// What an account is recognised by. A part that could not be read is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// User of the account, or the role.
    pub user: Name,
    /// Host pattern.
    pub host: Name,
    /// A digest of its privileges.
    pub rights: Option<String>,
    /// A digest of how it is authenticated, and when that was set; never of a secret.
    pub authentication: Option<String>,
    /// Whether it is locked.
    pub locked: Option<bool>,
}

impl Memory {
    /// What was kept, if it is understood; a newer program may have written it.
    pub fn read(text: Option<&str>) -> Self {
        text.and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }

    /// As it is kept.
    pub fn write(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
