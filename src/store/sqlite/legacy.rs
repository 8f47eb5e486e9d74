//! The file of the Go program that conntracker succeeds: its rows are taken over.

use rusqlite::types::ValueRef;

use super::{Sqlite, describe, name_of};
use crate::error::{Error, Result};
use crate::name::Name;
use crate::store::AccountUse;
use crate::time::UtcSeconds;

/// The server of rows that were taken over, until the log names one.
pub(super) const UNKNOWN_SERVER: &str = "";

impl Sqlite {
    /// The rows of the Go program's table `Accounts(name, host, last_seen)`, without its bookmark:
    /// it kept the time up to which it had read under `mysql@localhost`.
    pub(super) fn legacy_accounts(&self) -> Result<Vec<AccountUse>> {
        let fail = |error| self.error(error);
        let columns: Vec<String> = self
            .db
            .prepare("SELECT lower(name) FROM pragma_table_info('accounts')")
            .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
            .map_err(fail)?;
        if columns.is_empty() {
            let tables: i64 = self
                .db
                .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
                .map_err(fail)?;
            if tables > 0 {
                return Err(self.foreign());
            }
            return Ok(Vec::new());
        }
        if !["name", "host", "last_seen"]
            .iter()
            .all(|column| columns.iter().any(|c| c == column))
        {
            return Err(self.foreign());
        }
        let mut statement = self
            .db
            .prepare("SELECT name, host, last_seen FROM accounts")
            .map_err(fail)?;
        let rows = statement.query_map([], |row| {
            Ok((
                name_of(row.get_ref(0)?),
                name_of(row.get_ref(1)?),
                legacy_time(row.get_ref(2)?),
            ))
        });
        let mut accounts = Vec::new();
        for row in rows.map_err(fail)? {
            let (name, host, last_seen) = row.map_err(fail)?;
            if name.0 == b"mysql" && host.0 == b"localhost" {
                continue;
            }
            accounts.push(AccountUse {
                server: Name::from(UNKNOWN_SERVER),
                name,
                host,
                first_seen: None,
                last_seen,
                last_active: last_seen,
                connects: 0,
            });
        }
        accounts.sort_by(|a, b| (&a.name, &a.host).cmp(&(&b.name, &b.host)));
        Ok(accounts)
    }

    fn foreign(&self) -> Error {
        Error::Store {
            store: describe(&self.path),
            message: "is a database of another program; set sqlite.path to a file of our own"
                .into(),
        }
    }
}

/// The times that Go's SQLite drivers write; local ones are taken as UTC, which they mostly are.
fn legacy_time(value: ValueRef<'_>) -> Option<UtcSeconds> {
    match value {
        ValueRef::Integer(seconds) => Some(UtcSeconds(seconds)),
        ValueRef::Text(text) => {
            let text = std::str::from_utf8(text).ok()?.trim();
            // Go prints a zone's name, and a monotonic reading, behind the offset.
            let text = text.split(" m=").next()?;
            chrono::DateTime::parse_from_rfc3339(text)
                .or_else(|_| chrono::DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%:z"))
                .or_else(|_| chrono::DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f %z"))
                .or_else(|_| {
                    let offset_only = text.rsplit_once(' ').map_or(text, |(front, _)| front);
                    chrono::DateTime::parse_from_str(offset_only, "%Y-%m-%d %H:%M:%S%.f %z")
                })
                .map(|time| time.timestamp())
                .or_else(|_| {
                    chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f")
                        .or_else(|_| {
                            chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f")
                        })
                        .or_else(|_| chrono::NaiveDateTime::parse_from_str(text, "%Y%m%d %H:%M:%S"))
                        .map(|time| time.and_utc().timestamp())
                })
                .ok()
                .map(UtcSeconds)
        }
        _ => None,
    }
}
