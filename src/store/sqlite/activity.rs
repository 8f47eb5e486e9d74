//! The table `activity`: what a commit does to it, and how it is read.

use std::collections::HashSet;

use rusqlite::{Params, ToSql, Transaction, params};

use super::write::{Upsert, at_once};
use super::{Sqlite, count_of, name_of, time_of};
use crate::error::Result;
use crate::name::Name;
use crate::store::activity::{self, Added, Ends, Table};
use crate::store::{Activity, ActivityFilter, Batch, Slot};
use crate::time::UtcSeconds;

const ADD: Upsert<3, 5> = Upsert {
    into: "activity (server, hours, start, others, name, logins, failures, login_hours)",
    merge: "ON CONFLICT (server, hours, start, others, name) DO UPDATE SET
         logins = logins + excluded.logins,
         failures = failures + excluded.failures,
         login_hours = login_hours | excluded.login_hours",
};

/// Adds the rhythm of `batch`, once its accounts are there.
pub(super) fn write(tx: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<()> {
    let server = &batch.server;
    activity::commit(&mut Rows { tx, server }, batch, UtcSeconds::now())
}

struct Rows<'a> {
    tx: &'a Transaction<'a>,
    server: &'a Name,
}

impl Rows<'_> {
    fn execute(&self, sql: &str, values: impl Params) -> rusqlite::Result<()> {
        self.tx.prepare_cached(sql)?.execute(values).map(drop)
    }
}

impl Table for Rows<'_> {
    type Error = rusqlite::Error;

    fn unknown<'n>(&mut self, names: Vec<&'n Name>) -> rusqlite::Result<HashSet<&'n Name>> {
        let mut account = self
            .tx
            .prepare_cached("SELECT 1 FROM accounts WHERE server = ?1 AND name = ?2 LIMIT 1")?;
        let mut unknown = HashSet::new();
        for name in names {
            if !account.exists(params![self.server, name])? {
                unknown.insert(name);
            }
        }
        Ok(unknown)
    }

    fn add(&mut self, rows: &[Added<'_>]) -> rusqlite::Result<()> {
        const NOBODY: &Name = &Name(Vec::new());
        let at_once = at_once(rows.len());
        let span = |row: &Added<'_>| (row.slot.hours, row.slot.start);
        for rows in rows.chunk_by(|one, other| span(one) == span(other)) {
            let (hours, start) = span(&rows[0]);
            let shared: [&dyn ToSql; 3] = [self.server, &hours, &start];
            ADD.execute(self.tx, at_once, shared, rows, |row| {
                Ok([
                    row.name.is_none().into(),
                    row.name.unwrap_or(NOBODY).to_sql()?,
                    (row.slot.logins as i64).into(),
                    (row.slot.failures as i64).into(),
                    row.slot.login_hours.into(),
                ])
            })?;
        }
        Ok(())
    }

    fn ends(&mut self, latest: UtcSeconds) -> rusqlite::Result<Ends> {
        // One end at a time: only so it is looked up, and not searched for.
        let mut ends = self.tx.prepare_cached(
            "SELECT (SELECT min(start) FROM activity
                     WHERE server = ?1 AND hours = ?2 AND start <= ?3),
                    (SELECT max(start) FROM activity
                     WHERE server = ?1 AND hours = ?2 AND start <= ?3)",
        )?;
        let mut of = |hours: u8| {
            ends.query_row(params![self.server, hours, latest], |row| {
                let (first, last) = (time_of(row.get_ref(0)?), time_of(row.get_ref(1)?));
                Ok(first.zip(last))
            })
        };
        Ok(Ends {
            hours: of(1)?,
            days: of(24)?,
        })
    }

    fn fold(&mut self, before: UtcSeconds) -> rusqlite::Result<()> {
        // An hour at a time: SQLite keeps in memory what it copies within a table.
        while let Some((first, _)) = self
            .ends(before)?
            .hours
            .filter(|(first, _)| *first < before)
        {
            self.execute(
                "INSERT INTO activity
                     (server, hours, start, others, name, logins, failures, login_hours)
                 SELECT server, 24, ?3, others, name, logins, failures, login_hours
                 FROM activity WHERE server = ?1 AND hours = 1 AND start = ?2
                 ON CONFLICT (server, hours, start, others, name) DO UPDATE SET
                     logins = logins + excluded.logins,
                     failures = failures + excluded.failures,
                     login_hours = login_hours | excluded.login_hours",
                params![self.server, first, Slot::day_of(first).start],
            )?;
            self.execute(
                "DELETE FROM activity WHERE server = ?1 AND hours = 1 AND start = ?2",
                params![self.server, first],
            )?;
        }
        Ok(())
    }

    fn drop(&mut self, before: UtcSeconds) -> rusqlite::Result<()> {
        self.execute(
            "DELETE FROM activity WHERE server = ?1 AND hours = 24 AND start < ?2",
            params![self.server, before],
        )
    }

    fn exceeds(&mut self, most: usize, latest: UtcSeconds) -> rusqlite::Result<bool> {
        let count = |sql, values: &[&dyn ToSql]| {
            let mut rows = self.tx.prepare_cached(sql)?;
            rows.query_row(values, |row| row.get::<_, i64>(0))
        };
        let most = most as i64;
        // Mostly this answers it; SQLite need not look at each row for that.
        if count("SELECT count(*) FROM activity", &[])? <= most {
            return Ok(false);
        }
        let up_to = "SELECT count(*) FROM activity WHERE server = ?1 AND start <= ?2";
        Ok(count(up_to, params![self.server, latest])? > most)
    }
}

impl Sqlite {
    /// The rows that `filter` asks for.
    pub(super) fn each_activity(
        &self,
        filter: &ActivityFilter,
        row: &mut dyn FnMut(Activity) -> Result<()>,
    ) -> Result<()> {
        let fail = |error| self.error(error);
        // A file that is only read is not migrated: an older one has none.
        if self.version()? < 3 {
            return Ok(());
        }
        let mut statement = self
            .db
            .prepare_cached(
                "SELECT start, others, name, logins, failures, login_hours FROM activity
                 WHERE server = ?1 AND hours = ?2 AND start > ?3
                 ORDER BY start, others, name",
            )
            .map_err(fail)?;
        for hours in [24, 1] {
            let since = filter
                .since
                .map(|since| activity::starts_after(since, hours));
            let since = since.map_or_else(String::new, UtcSeconds::sql);
            let values = params![filter.server, hours, since];
            let mut rows = statement.query(values).map_err(fail)?;
            while let Some(found) = rows.next().map_err(fail)? {
                let get = |at: usize| found.get_ref(at).map_err(fail);
                row(Activity {
                    name: (count_of(get(1)?) == 0).then_some(name_of(get(2)?)),
                    slot: Slot {
                        start: time_of(get(0)?).unwrap_or(UtcSeconds(0)),
                        hours,
                        logins: count_of(get(3)?),
                        failures: count_of(get(4)?),
                        login_hours: count_of(get(5)?) as u32,
                    },
                })?;
            }
        }
        Ok(())
    }
}
