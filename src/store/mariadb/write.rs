//! What a commit writes besides the checkpoint.

use std::collections::HashSet;

use mysql::prelude::Queryable;
use mysql::{Error as Refusal, Transaction, Value};

use super::value::{
    ACCOUNT, FILE, HOST, NAME, REASON, SERVER, count, encode, encode_name, name, time,
};
use crate::store::{Batch, MAX_QUARANTINE, failures};

/// How many rows one statement writes. A row has some 60 bytes; the longest names that a server
/// knows make it 3 KB.
const ROWS: usize = 1_000;

/// Adds `batch`, rows in key order; `source` is the log's path as its column holds it.
pub(super) fn write(
    tx: &mut Transaction<'_>,
    collector: &[u8],
    source: &[u8],
    batch: &Batch,
) -> Result<(), Refusal> {
    let server = encode_name(&batch.server, SERVER);
    // LEAST and GREATEST are NULL if one side is.
    let accounts = batch.accounts.iter().map(|used| {
        vec![
            encode_name(&used.server, SERVER),
            encode_name(&used.name, NAME),
            encode_name(&used.host, HOST),
            time(used.first_seen),
            time(used.last_seen),
            time(used.last_active),
            Value::UInt(used.connects),
        ]
    });
    write_rows(
        tx,
        "INSERT INTO accounts (server, name, host, first_seen, last_seen, last_active, connects)
         VALUES (?, ?, ?, FROM_UNIXTIME(?), FROM_UNIXTIME(?), FROM_UNIXTIME(?), ?)
         ON DUPLICATE KEY UPDATE
             first_seen = LEAST(COALESCE(first_seen, VALUES(first_seen)),
                                COALESCE(VALUES(first_seen), first_seen)),
             last_seen = GREATEST(COALESCE(last_seen, VALUES(last_seen)),
                                  COALESCE(VALUES(last_seen), last_seen)),
             last_active = GREATEST(COALESCE(last_active, VALUES(last_active)),
                                    COALESCE(VALUES(last_active), last_active)),
             connects = connects + VALUES(connects)",
        accounts,
    )?;
    let activity = batch.activity.iter().map(|(name, host, at)| {
        vec![
            time(Some(*at)),
            server.clone(),
            encode_name(name, NAME),
            encode_name(host, HOST),
        ]
    });
    write_rows(
        tx,
        "UPDATE accounts
         SET last_active = GREATEST(COALESCE(last_active, TIMESTAMP'1970-01-01 00:00:01'), FROM_UNIXTIME(?))
         WHERE server = ? AND name = ? AND host = ?",
        activity,
    )?;
    let proxied = batch.proxied.iter().map(|used| {
        vec![
            encode_name(&used.server, SERVER),
            encode_name(&used.account, ACCOUNT),
            time(Some(used.first_seen)),
            time(Some(used.last_seen)),
            Value::UInt(used.connects),
        ]
    });
    write_rows(
        tx,
        "INSERT INTO proxied_accounts (server, account, first_seen, last_seen, connects)
         VALUES (?, ?, FROM_UNIXTIME(?), FROM_UNIXTIME(?), ?)
         ON DUPLICATE KEY UPDATE
             first_seen = LEAST(first_seen, VALUES(first_seen)),
             last_seen = GREATEST(last_seen, VALUES(last_seen)),
             connects = connects + VALUES(connects)",
        proxied,
    )?;
    write_failed(tx, &server, batch)?;
    write_quarantine(tx, &server, batch)?;
    write_coverage(tx, collector, source, &server, batch)
}

/// Executes a statement for each of `rows`, many of them in one round trip (MariaDB's
/// COM_STMT_BULK_EXECUTE).
fn write_rows(
    tx: &mut Transaction<'_>,
    sql: &str,
    rows: impl Iterator<Item = Vec<Value>>,
) -> Result<(), Refusal> {
    let mut rows = rows.peekable();
    while rows.peek().is_some() {
        tx.exec_batch(sql, rows.by_ref().take(ROWS))?;
    }
    Ok(())
}

fn write_failed(tx: &mut Transaction<'_>, server: &Value, batch: &Batch) -> Result<(), Refusal> {
    if batch.failed.is_empty() {
        return Ok(());
    }
    let rows: Option<usize> = tx.exec_first(
        "SELECT COUNT(*) FROM failed_connects WHERE server = ?",
        (server,),
    )?;
    let rows = rows.unwrap_or(0);
    let mut known = HashSet::new();
    if failures::needs_keys(rows, batch.failed.len()) {
        let keys = "SELECT name, host, code FROM failed_connects WHERE server = ?";
        for row in tx.exec_iter(keys, (server,))? {
            let mut row = row?;
            let code = count(&row, 2) as u32;
            known.insert((name(&mut row, 0), name(&mut row, 1), code));
        }
    }
    let folded = failures::fold(&batch.failed, rows, known);
    let rows = folded.into_iter().map(|((name, host, code), seen)| {
        vec![
            server.clone(),
            encode_name(&name, NAME),
            encode_name(&host, HOST),
            Value::UInt(code.into()),
            time(Some(seen.first_seen)),
            time(Some(seen.last_seen)),
            Value::UInt(seen.attempts),
        ]
    });
    write_rows(
        tx,
        "INSERT INTO failed_connects (server, name, host, code, first_seen, last_seen, attempts)
         VALUES (?, ?, ?, ?, FROM_UNIXTIME(?), FROM_UNIXTIME(?), ?)
         ON DUPLICATE KEY UPDATE
             first_seen = LEAST(first_seen, VALUES(first_seen)),
             last_seen = GREATEST(last_seen, VALUES(last_seen)),
             attempts = attempts + VALUES(attempts)",
        rows,
    )
}

fn write_quarantine(
    tx: &mut Transaction<'_>,
    server: &Value,
    batch: &Batch,
) -> Result<(), Refusal> {
    for row in &batch.withdrawn {
        tx.exec_drop(
            "DELETE FROM quarantine
             WHERE server = ? AND name = ? AND host = ? AND connectionid = ? AND `offset` = ?",
            (
                server,
                encode_name(&row.name, NAME),
                encode_name(&row.host, HOST),
                row.connectionid,
                row.offset,
            ),
        )?;
    }
    if batch.quarantine.is_empty() {
        return Ok(());
    }
    let rows = batch.quarantine.iter().map(|doubtful| {
        vec![
            encode_name(&doubtful.server, SERVER),
            encode_name(&doubtful.name, NAME),
            encode_name(&doubtful.host, HOST),
            time(doubtful.time),
            Value::UInt(doubtful.connectionid),
            Value::Bytes(encode(&doubtful.why, REASON)),
            match &doubtful.from {
                Some(from) => encode_name(from, HOST),
                None => Value::NULL,
            },
            Value::Bytes(encode(&doubtful.file, FILE)),
            Value::UInt(doubtful.offset),
        ]
    });
    write_rows(
        tx,
        "INSERT INTO quarantine
             (server, name, host, time, connectionid, why, written_from, file, `offset`)
         VALUES (?, ?, ?, FROM_UNIXTIME(?), ?, ?, ?, ?, ?)",
        rows,
    )?;
    // The newest stay.
    let newest_to_go: Option<u64> = tx.exec_first(
        "SELECT id FROM quarantine WHERE server = ? ORDER BY id DESC LIMIT 1 OFFSET ?",
        (server, MAX_QUARANTINE),
    )?;
    match newest_to_go {
        Some(id) => tx.exec_drop(
            "DELETE FROM quarantine WHERE server = ? AND id <= ?",
            (server, id),
        ),
        None => Ok(()),
    }
}

fn write_coverage(
    tx: &mut Transaction<'_>,
    collector: &[u8],
    source: &[u8],
    server: &Value,
    batch: &Batch,
) -> Result<(), Refusal> {
    for span in &batch.coverage {
        let (from, to) = (time(Some(span.from)), time(Some(span.to)));
        if span.gap.is_none() {
            let last: Option<u64> = tx.exec_first(
                "SELECT id FROM coverage WHERE collector = ? AND source = ?
                 ORDER BY id DESC LIMIT 1",
                (collector, source),
            )?;
            if let Some(last) = last {
                tx.exec_drop(
                    "UPDATE coverage SET
                         to_time = GREATEST(to_time, FROM_UNIXTIME(?)),
                         from_time = LEAST(from_time, FROM_UNIXTIME(?))
                     WHERE id = ?",
                    (to, from, last),
                )?;
                continue;
            }
        }
        let gap = span.gap.as_deref().map(|gap| encode(gap, REASON));
        tx.exec_drop(
            "INSERT INTO coverage (collector, source, server, from_time, to_time, gap)
             VALUES (?, ?, ?, FROM_UNIXTIME(?), FROM_UNIXTIME(?), ?)",
            (collector, source, server, from, to, gap),
        )?;
    }
    Ok(())
}
