//! The table `activity`: what a commit does to it, and how it is read.

use std::collections::HashSet;

use mysql::prelude::Queryable;
use mysql::{Error as Refusal, Params, Row, Transaction, Value};

use super::value::{NAME, SERVER, count, encode_name, name, seconds, time};
use super::write::{ROWS, Statement, first, write_rows};
use crate::name::Name;
use crate::store::activity::{self, Added, Ends, Table};
use crate::store::{Activity, ActivityFilter, Batch, Slot};
use crate::time::UtcSeconds;

const ADD: Statement = Statement {
    head: "INSERT INTO activity (server, hours, start, others, name, logins, failures, login_hours)
           VALUES ",
    row: "(?, ?, FROM_UNIXTIME(?), ?, ?, ?, ?, ?)",
    separator: ", ",
    tail: " ON DUPLICATE KEY UPDATE
               logins = logins + VALUES(logins),
               failures = failures + VALUES(failures),
               login_hours = login_hours | VALUES(login_hours)",
};

/// Adds the rhythm of `batch`, once its accounts are there.
pub(super) fn write(
    tx: &mut Transaction<'_>,
    server: &Value,
    batch: &Batch,
) -> Result<(), Refusal> {
    activity::commit(&mut Rows { tx, server }, batch, UtcSeconds::now())
}

struct Rows<'a, 'tx> {
    tx: &'a mut Transaction<'tx>,
    server: &'a Value,
}

impl Rows<'_, '_> {
    /// A statement about this server and a time.
    fn execute(&mut self, sql: &str, at: UtcSeconds) -> Result<(), Refusal> {
        self.tx.exec_drop(sql, (self.server, time(Some(at))))
    }
}

impl Table for Rows<'_, '_> {
    type Error = Refusal;

    fn unknown<'n>(&mut self, names: Vec<&'n Name>) -> Result<HashSet<&'n Name>, Refusal> {
        let mut unknown: HashSet<_> = names.iter().copied().collect();
        for names in names.chunks(ROWS) {
            let marks = vec!["?"; names.len()].join(", ");
            let sql = format!(
                "SELECT DISTINCT name FROM accounts WHERE server = ? AND name IN ({marks})"
            );
            let encoded = names.iter().map(|name| encode_name(name, NAME));
            let values: Vec<_> = std::iter::once(self.server.clone())
                .chain(encoded)
                .collect();
            for mut row in self.tx.exec::<Row, _, _>(sql, values)? {
                unknown.remove(&name(&mut row, 0));
            }
        }
        Ok(unknown)
    }

    fn add(&mut self, rows: &[Added<'_>]) -> Result<(), Refusal> {
        let nobody = Name::default();
        let rows = rows.iter().map(|row| {
            vec![
                self.server.clone(),
                Value::UInt(row.slot.hours.into()),
                time(Some(row.slot.start)),
                Value::UInt(row.name.is_none().into()),
                encode_name(row.name.unwrap_or(&nobody), NAME),
                Value::UInt(row.slot.logins),
                Value::UInt(row.slot.failures),
                Value::UInt(row.slot.login_hours.into()),
            ]
        });
        write_rows(self.tx, &ADD, rows)
    }

    fn ends(&mut self, latest: UtcSeconds) -> Result<Ends, Refusal> {
        // One end at a time: only so it is looked up, and not searched for.
        const END: &str = "(SELECT UNIX_TIMESTAMP(start) FROM activity
              WHERE server = ? AND hours = ? AND start <= FROM_UNIXTIME(?)
              ORDER BY start";
        let sql = format!(
            "SELECT {END} LIMIT 1), {END} DESC LIMIT 1), {END} LIMIT 1), {END} DESC LIMIT 1)"
        );
        let of = |hours| [self.server.clone(), Value::UInt(hours), time(Some(latest))];
        let values = [of(1), of(1), of(24), of(24)].concat();
        let row: Option<Row> = first(self.tx, &sql, Params::Positional(values))?;
        let ends = |at| {
            let row = row.as_ref()?;
            seconds(row, at).zip(seconds(row, at + 1))
        };
        Ok(Ends {
            hours: ends(0),
            days: ends(2),
        })
    }

    fn fold(&mut self, before: UtcSeconds) -> Result<(), Refusal> {
        self.execute(
            "INSERT INTO activity (server, hours, start, others, name, logins, failures, login_hours)
             SELECT * FROM (
                 SELECT server, 24 AS hours,
                        FROM_UNIXTIME(UNIX_TIMESTAMP(start) DIV 86400 * 86400) AS day, others, name,
                        SUM(logins) AS logins, SUM(failures) AS failures,
                        BIT_OR(login_hours) AS login_hours
                 FROM activity WHERE server = ? AND hours = 1 AND start < FROM_UNIXTIME(?)
                 GROUP BY day, others, name) AS folded
             ON DUPLICATE KEY UPDATE
                 activity.logins = activity.logins + VALUES(logins),
                 activity.failures = activity.failures + VALUES(failures),
                 activity.login_hours = activity.login_hours | VALUES(login_hours)",
            before,
        )?;
        self.execute(
            "DELETE FROM activity WHERE server = ? AND hours = 1 AND start < FROM_UNIXTIME(?)",
            before,
        )
    }

    fn drop(&mut self, before: UtcSeconds) -> Result<(), Refusal> {
        self.execute(
            "DELETE FROM activity WHERE server = ? AND hours = 24 AND start < FROM_UNIXTIME(?)",
            before,
        )
    }

    fn exceeds(&mut self, most: usize, latest: UtcSeconds) -> Result<bool, Refusal> {
        let sql = "SELECT COUNT(*) FROM activity WHERE server = ? AND start <= FROM_UNIXTIME(?)";
        let rows: Option<usize> = first(self.tx, sql, (self.server, time(Some(latest))))?;
        Ok(rows.is_some_and(|rows| rows > most))
    }
}

/// The statement that lists the rows of `hours` that `filter` asks for, with its values.
pub(super) fn select(filter: &ActivityFilter, hours: u8) -> (String, Vec<Value>) {
    let mut sql = String::from(
        "SELECT UNIX_TIMESTAMP(start), hours, others, name, logins, failures, login_hours
         FROM activity WHERE server = ? AND hours = ?",
    );
    let mut values = vec![
        encode_name(&filter.server, SERVER),
        Value::UInt(hours.into()),
    ];
    if let Some(since) = filter.since {
        sql.push_str(" AND start > FROM_UNIXTIME(?)");
        values.push(time(Some(activity::starts_after(since, hours))));
    }
    sql.push_str(" ORDER BY start, others, name");
    (sql, values)
}

/// A row of [`select`].
pub(super) fn row(found: &mut Row) -> Activity {
    let others = count(found, 2) != 0;
    Activity {
        name: (!others).then(|| name(found, 3)),
        slot: Slot {
            start: seconds(found, 0).unwrap_or(UtcSeconds(0)),
            hours: count(found, 1) as u8,
            logins: count(found, 4),
            failures: count(found, 5),
            login_hours: count(found, 6) as u32,
        },
    }
}
