//! What a commit writes, and what a check does.

use std::collections::HashSet;

use rusqlite::types::ToSqlOutput;
use rusqlite::{ToSql, Transaction, params};

use super::activity;
use super::legacy::UNKNOWN_SERVER;
use super::{count_of, name_of};
use crate::name::Name;
use crate::store::{AccountUse, Batch, MAX_QUARANTINE, Status, failures};
use crate::time::UtcSeconds;

/// Adds `batch` and moves the checkpoint of `source` to `generation`.
pub(super) fn write(
    tx: &Transaction<'_>,
    source: &str,
    generation: i64,
    state: &str,
    batch: &Batch,
) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO checkpoints (source, generation, written_at, state) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (source) DO UPDATE SET
             generation = excluded.generation, written_at = excluded.written_at,
             state = excluded.state",
    )?
    .execute(params![source, generation, UtcSeconds::now(), state])?;
    if generation == 1 {
        claim_legacy_accounts(tx, &batch.server)?;
    }
    upsert_accounts(tx, &batch.server, &batch.accounts)?;
    let mut active = tx.prepare_cached(
        "UPDATE accounts SET last_active = max(coalesce(last_active, ''), ?4)
         WHERE server = ?1 AND name = ?2 AND host = ?3",
    )?;
    for (name, host, at) in &batch.activity {
        active.execute(params![batch.server, name, host, at])?;
    }
    let mut proxied = tx.prepare_cached(
        "INSERT INTO proxied_accounts (server, account, first_seen, last_seen, connects)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (server, account) DO UPDATE SET
             first_seen = min(first_seen, excluded.first_seen),
             last_seen = max(last_seen, excluded.last_seen),
             connects = connects + excluded.connects",
    )?;
    for used in &batch.proxied {
        proxied.execute(params![
            used.server,
            used.account,
            used.first_seen,
            used.last_seen,
            used.connects as i64
        ])?;
    }
    write_failed(tx, batch)?;
    activity::write(tx, batch)?;
    write_quarantine(tx, batch)?;
    write_coverage(tx, source, batch)
}

/// Rows of the Go program belong to the server whose log is read first.
fn claim_legacy_accounts(tx: &Transaction<'_>, server: &Name) -> rusqlite::Result<()> {
    if server.0 == UNKNOWN_SERVER.as_bytes() {
        return Ok(());
    }
    tx.execute(
        "UPDATE OR IGNORE accounts SET server = ?1 WHERE server = ?2",
        params![server, UNKNOWN_SERVER],
    )?;
    Ok(())
}

/// How many rows one statement adds where there are very many. They come in the order of the table's
/// key, and within a statement SQLite looks for a row's place from the one before on: a third less work.
const ROWS: usize = 20;

/// From so many rows on, such a statement is worth being compiled.
const VERY_MANY: usize = 1_000;

/// How many rows one statement is to add if there are so many.
pub(super) fn at_once(rows: usize) -> usize {
    if rows < VERY_MANY { 1 } else { ROWS }
}

/// A statement that merges rows into a table. The first `S` of their values are shared, `N` are not.
pub(super) struct Upsert<const S: usize, const N: usize> {
    /// The table, and its columns, those first that rows share.
    pub(super) into: &'static str,
    /// What to do where the row is there already.
    pub(super) merge: &'static str,
}

impl<const S: usize, const N: usize> Upsert<S, N> {
    pub(super) fn execute<'a, R>(
        &self,
        tx: &Transaction<'_>,
        at_once: usize,
        shared: [&dyn ToSql; S],
        rows: &'a [R],
        values: impl Fn(&'a R) -> rusqlite::Result<[ToSqlOutput<'a>; N]>,
    ) -> rusqlite::Result<()> {
        let (many, rest) = rows.split_at(rows.len() - rows.len() % at_once);
        for (number, rows) in [(at_once, many), (1, rest)] {
            if rows.is_empty() {
                continue;
            }
            let mut upsert = tx.prepare_cached(&self.sql(number))?;
            // What is the same in all rows is bound once.
            for (value, at) in shared.into_iter().zip(1..) {
                upsert.raw_bind_parameter(at, value)?;
            }
            for rows in rows.chunks_exact(number) {
                for (at, row) in rows.iter().enumerate() {
                    for (value, at) in values(row)?.into_iter().zip(1 + S + at * N..) {
                        upsert.raw_bind_parameter(at, value)?;
                    }
                }
                upsert.raw_execute()?;
            }
        }
        Ok(())
    }

    fn sql(&self, rows: usize) -> String {
        let shared: Vec<_> = (1..=S).map(|at| format!("?{at}")).collect();
        let row = format!("({}{})", shared.join(", "), ", ?".repeat(N));
        let rows = vec![row; rows].join(", ");
        format!("INSERT INTO {} VALUES {rows} {}", self.into, self.merge)
    }
}

// min() and max() of SQLite are NULL if one side is.
const ACCOUNTS: Upsert<1, 6> = Upsert {
    into: "accounts (server, name, host, first_seen, last_seen, last_active, connects)",
    merge: "ON CONFLICT (server, name, host) DO UPDATE SET
         first_seen = coalesce(min(first_seen, excluded.first_seen), first_seen, excluded.first_seen),
         last_seen = coalesce(max(last_seen, excluded.last_seen), last_seen, excluded.last_seen),
         last_active = coalesce(max(last_active, excluded.last_active), last_active, excluded.last_active),
         connects = connects + excluded.connects",
};

/// Adds account uses of `server`.
pub(super) fn upsert_accounts(
    tx: &Transaction<'_>,
    server: &Name,
    accounts: &[AccountUse],
) -> rusqlite::Result<()> {
    ACCOUNTS.execute(tx, at_once(accounts.len()), [server], accounts, |used| {
        Ok([
            used.name.to_sql()?,
            used.host.to_sql()?,
            used.first_seen.to_sql()?,
            used.last_seen.to_sql()?,
            used.last_active.to_sql()?,
            (used.connects as i64).into(),
        ])
    })
}

fn write_failed(tx: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<()> {
    if batch.failed.is_empty() {
        return Ok(());
    }
    let rows = tx
        .prepare_cached("SELECT count(*) FROM failed_connects WHERE server = ?1")?
        .query_row(params![batch.server], |row| row.get::<_, i64>(0))? as usize;
    let mut known = HashSet::new();
    if failures::needs_keys(rows, batch.failed.len()) {
        let mut keys =
            tx.prepare_cached("SELECT name, host, code FROM failed_connects WHERE server = ?1")?;
        let mut keys = keys.query(params![batch.server])?;
        while let Some(row) = keys.next()? {
            let code = count_of(row.get_ref(2)?) as u32;
            known.insert((name_of(row.get_ref(0)?), name_of(row.get_ref(1)?), code));
        }
    }
    let mut upsert = tx.prepare_cached(
        "INSERT INTO failed_connects (server, name, host, code, first_seen, last_seen, attempts)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (server, name, host, code) DO UPDATE SET
             first_seen = min(first_seen, excluded.first_seen),
             last_seen = max(last_seen, excluded.last_seen),
             attempts = attempts + excluded.attempts",
    )?;
    for ((name, host, code), seen) in failures::fold(&batch.failed, rows, known) {
        upsert.execute(params![
            batch.server,
            name,
            host,
            code,
            seen.first_seen,
            seen.last_seen,
            seen.attempts as i64
        ])?;
    }
    Ok(())
}

fn write_quarantine(tx: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<()> {
    for row in &batch.withdrawn {
        tx.prepare_cached(
            "DELETE FROM quarantine
             WHERE server = ?1 AND name = ?2 AND host = ?3 AND connectionid = ?4 AND offset = ?5",
        )?
        .execute(params![
            batch.server,
            row.name,
            row.host,
            row.connectionid as i64,
            row.offset as i64
        ])?;
    }
    if batch.quarantine.is_empty() {
        return Ok(());
    }
    let mut insert = tx.prepare_cached(
        "INSERT INTO quarantine
             (server, name, host, time, connectionid, why, written_from, file, offset)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    for doubtful in &batch.quarantine {
        insert.execute(params![
            doubtful.server,
            doubtful.name,
            doubtful.host,
            doubtful.time,
            doubtful.connectionid as i64,
            doubtful.why,
            doubtful.from,
            doubtful.file,
            doubtful.offset as i64
        ])?;
    }
    // The newest stay.
    tx.prepare_cached(
        "DELETE FROM quarantine WHERE server = ?1 AND id <= (
             SELECT id FROM quarantine WHERE server = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
    )?
    .execute(params![batch.server, MAX_QUARANTINE as i64])?;
    Ok(())
}

fn write_coverage(tx: &Transaction<'_>, source: &str, batch: &Batch) -> rusqlite::Result<()> {
    for span in &batch.coverage {
        if span.gap.is_none() {
            let lengthened = tx
                .prepare_cached(
                    "UPDATE coverage SET to_time = max(to_time, ?2), from_time = min(from_time, ?3)
                     WHERE id = (SELECT max(id) FROM coverage WHERE source = ?1) AND server = ?4",
                )?
                .execute(params![source, span.to, span.from, batch.server])?;
            // Under another name the server has no past.
            if lengthened > 0 {
                continue;
            }
        }
        tx.prepare_cached(
            "INSERT INTO coverage (source, server, from_time, to_time, gap) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![source, batch.server, span.from, span.to, span.gap])?;
    }
    Ok(())
}

/// Replaces what was found of a server.
pub(super) fn status(tx: &Transaction<'_>, status: &Status) -> rusqlite::Result<()> {
    for table in ["account_status", "unexplained_logins"] {
        tx.execute(
            &format!("DELETE FROM {table} WHERE server = ?1"),
            params![status.server],
        )?;
    }
    let mut insert = tx.prepare_cached(
        "INSERT INTO account_status (server, user, host, state, reason, last_seen, last_active,
                                     connects, clients, exact, known_since, checked_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?;
    for account in &status.accounts {
        insert.execute(params![
            status.server,
            account.user,
            account.host,
            account.state,
            account.reason,
            account.last_seen,
            account.last_active,
            account.connects as i64,
            account.clients as i64,
            account.exact,
            account.known_since,
            status.checked_at
        ])?;
    }
    let mut insert = tx.prepare_cached(
        "INSERT INTO unexplained_logins (server, name, host, last_seen, last_active, connects,
                                         accounts, checked_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for login in &status.unexplained {
        insert.execute(params![
            status.server,
            login.name,
            login.host,
            login.last_seen,
            login.last_active,
            login.connects as i64,
            login.accounts,
            status.checked_at
        ])?;
    }
    Ok(())
}
