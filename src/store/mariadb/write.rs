//! What a commit writes besides the checkpoint.

use std::collections::HashSet;

use mysql::prelude::{FromRow, Queryable};
use mysql::{Error as Refusal, Params, Transaction, Value};

use super::activity;
use super::value::{
    ACCOUNT, CANDIDATES, FILE, HOST, NAME, REASON, SERVER, VERDICT, count, encode, encode_name,
    name, time,
};
use crate::store::{Batch, MAX_QUARANTINE, Status, failures};

/// How many rows one statement writes. A row has some 60 bytes; the longest names that a server
/// knows make it 3 KB.
pub(super) const ROWS: usize = 500;

/// A statement that writes many rows: `row` is repeated.
///
/// MariaDB's COM_STMT_BULK_EXECUTE would do the same, but the crate announces it only to a server
/// that it talks to in plain text (mysql 28.0.4: over TLS the answer is error 1295).
pub(super) struct Statement {
    pub(super) head: &'static str,
    pub(super) row: &'static str,
    pub(super) separator: &'static str,
    pub(super) tail: &'static str,
}

// LEAST and GREATEST are NULL if one side is.
const ACCOUNTS: Statement = Statement {
    head: "INSERT INTO accounts (server, name, host, first_seen, last_seen, last_active, connects)
           VALUES ",
    row: "(?, ?, ?, FROM_UNIXTIME(?), FROM_UNIXTIME(?), FROM_UNIXTIME(?), ?)",
    separator: ", ",
    tail: " ON DUPLICATE KEY UPDATE
               first_seen = LEAST(COALESCE(first_seen, VALUES(first_seen)),
                                  COALESCE(VALUES(first_seen), first_seen)),
               last_seen = GREATEST(COALESCE(last_seen, VALUES(last_seen)),
                                    COALESCE(VALUES(last_seen), last_seen)),
               last_active = GREATEST(COALESCE(last_active, VALUES(last_active)),
                                      COALESCE(VALUES(last_active), last_active)),
               connects = connects + VALUES(connects)",
};

/// Looks up each row by its key, whatever the optimizer thinks of it.
const ACTIVITY: Statement = Statement {
    head: "UPDATE (",
    row: "SELECT ? AS server, ? AS name, ? AS host, FROM_UNIXTIME(?) AS at",
    separator: " UNION ALL ",
    tail: ") AS seen STRAIGHT_JOIN accounts USING (server, name, host)
           SET last_active = GREATEST(COALESCE(last_active, seen.at), seen.at)",
};

const PROXIED: Statement = Statement {
    head: "INSERT INTO proxied_accounts (server, account, first_seen, last_seen, connects) VALUES ",
    row: "(?, ?, FROM_UNIXTIME(?), FROM_UNIXTIME(?), ?)",
    separator: ", ",
    tail: " ON DUPLICATE KEY UPDATE
               first_seen = LEAST(first_seen, VALUES(first_seen)),
               last_seen = GREATEST(last_seen, VALUES(last_seen)),
               connects = connects + VALUES(connects)",
};

const FAILED: Statement = Statement {
    head: "INSERT INTO failed_connects (server, name, host, code, first_seen, last_seen, attempts)
           VALUES ",
    row: "(?, ?, ?, ?, FROM_UNIXTIME(?), FROM_UNIXTIME(?), ?)",
    separator: ", ",
    tail: " ON DUPLICATE KEY UPDATE
               first_seen = LEAST(first_seen, VALUES(first_seen)),
               last_seen = GREATEST(last_seen, VALUES(last_seen)),
               attempts = attempts + VALUES(attempts)",
};

const QUARANTINE: Statement = Statement {
    head: "INSERT INTO quarantine
               (server, name, host, time, connectionid, why, written_from, file, `offset`) VALUES ",
    row: "(?, ?, ?, FROM_UNIXTIME(?), ?, ?, ?, ?, ?)",
    separator: ", ",
    tail: "",
};

const STATUS: Statement = Statement {
    head: "INSERT INTO account_status
               (server, user, host, state, reason, last_seen, last_active, connects, clients, exact,
                known_since, checked_at) VALUES ",
    row: "(?, ?, ?, ?, ?, FROM_UNIXTIME(?), FROM_UNIXTIME(?), ?, ?, ?, FROM_UNIXTIME(?), FROM_UNIXTIME(?))",
    separator: ", ",
    tail: "",
};

const UNEXPLAINED: Statement = Statement {
    head:
        "INSERT INTO unexplained_logins
               (server, name, host, last_seen, last_active, connects, accounts, checked_at) VALUES ",
    row: "(?, ?, ?, FROM_UNIXTIME(?), FROM_UNIXTIME(?), ?, ?, FROM_UNIXTIME(?))",
    separator: ", ",
    tail: "",
};

/// Replaces what was found of a server.
pub(super) fn status(tx: &mut Transaction<'_>, status: &Status) -> Result<(), Refusal> {
    let server = encode_name(&status.server, SERVER);
    let checked_at = time(Some(status.checked_at));
    tx.exec_drop("DELETE FROM account_status WHERE server = ?", (&server,))?;
    tx.exec_drop(
        "DELETE FROM unexplained_logins WHERE server = ?",
        (&server,),
    )?;
    let accounts = status.accounts.iter().map(|account| {
        vec![
            server.clone(),
            encode_name(&account.user, NAME),
            encode_name(&account.host, HOST),
            Value::Bytes(encode(&account.state, REASON)),
            Value::Bytes(encode(&account.reason, VERDICT)),
            time(account.last_seen),
            time(account.last_active),
            Value::UInt(account.connects),
            Value::UInt(account.clients),
            Value::UInt(account.exact.into()),
            time(account.known_since),
            checked_at.clone(),
        ]
    });
    write_rows(tx, &STATUS, accounts)?;
    let logins = status.unexplained.iter().map(|login| {
        vec![
            server.clone(),
            encode_name(&login.name, NAME),
            encode_name(&login.host, HOST),
            time(login.last_seen),
            time(login.last_active),
            Value::UInt(login.connects),
            Value::Bytes(encode(&login.accounts, CANDIDATES)),
            checked_at.clone(),
        ]
    });
    write_rows(tx, &UNEXPLAINED, logins)
}

/// Adds `batch`, rows in key order; `source` is the log's path as its column holds it.
pub(super) fn write(
    tx: &mut Transaction<'_>,
    collector: &[u8],
    source: &[u8],
    batch: &Batch,
) -> Result<(), Refusal> {
    let server = encode_name(&batch.server, SERVER);
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
    write_rows(tx, &ACCOUNTS, accounts)?;
    let activity = batch.activity.iter().map(|(name, host, at)| {
        vec![
            server.clone(),
            encode_name(name, NAME),
            encode_name(host, HOST),
            time(Some(*at)),
        ]
    });
    write_rows(tx, &ACTIVITY, activity)?;
    let proxied = batch.proxied.iter().map(|used| {
        vec![
            encode_name(&used.server, SERVER),
            encode_name(&used.account, ACCOUNT),
            time(Some(used.first_seen)),
            time(Some(used.last_seen)),
            Value::UInt(used.connects),
        ]
    });
    write_rows(tx, &PROXIED, proxied)?;
    write_failed(tx, &server, batch)?;
    activity::write(tx, &server, batch)?;
    write_quarantine(tx, &server, batch)?;
    write_coverage(tx, collector, source, &server, batch)
}

pub(super) fn write_rows(
    tx: &mut Transaction<'_>,
    statement: &Statement,
    rows: impl Iterator<Item = Vec<Value>>,
) -> Result<(), Refusal> {
    let mut rows = rows.peekable();
    while rows.peek().is_some() {
        let (mut sql, mut values) = (statement.head.to_owned(), Vec::new());
        for (number, row) in rows.by_ref().take(ROWS).enumerate() {
            if number > 0 {
                sql.push_str(statement.separator);
            }
            sql.push_str(statement.row);
            values.extend(row);
        }
        sql.push_str(statement.tail);
        // Those of full length are prepared once.
        tx.exec_drop(sql, values)?;
    }
    Ok(())
}

/// The first row of an answer, which is read to its end: there a node of a Galera cluster may say that
/// it has taken the transaction back. The crate's own `exec_first` does not look (mysql 28.0.4).
pub(super) fn first<T: FromRow>(
    tx: &mut Transaction<'_>,
    sql: &str,
    values: impl Into<Params>,
) -> Result<Option<T>, Refusal> {
    Ok(tx.exec(sql, values)?.into_iter().next())
}

fn write_failed(tx: &mut Transaction<'_>, server: &Value, batch: &Batch) -> Result<(), Refusal> {
    if batch.failed.is_empty() {
        return Ok(());
    }
    let rows: Option<usize> = first(
        tx,
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
    write_rows(tx, &FAILED, rows)
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
    write_rows(tx, &QUARANTINE, rows)?;
    // The newest stay.
    let newest_to_go: Option<u64> = first(
        tx,
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
            let last: Option<u64> = first::<Option<u64>>(
                tx,
                "SELECT IF(server = ?, id, NULL) FROM coverage WHERE collector = ? AND source = ?
                 ORDER BY id DESC LIMIT 1",
                (server, collector, source),
            )?
            .flatten();
            // Under another name the server has no past.
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
