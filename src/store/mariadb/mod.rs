//! The results in MariaDB itself, for one server or a whole fleet.
//!
//! Many hosts may write into one server or cluster. Each has its own checkpoints, known by the host's
//! name and its machine-id, and touches only rows of the servers whose logs it reads, in key order.
//! What the server takes back (a deadlock, a certification failure of Galera) is done anew, and
//! so is what was under way when the connection was lost: each commit leaves a number of its own
//! beside the checkpoint, by which a lost answer to COMMIT is told from a COMMIT that never was.

mod activity;
mod text;
mod value;
mod write;

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::thread;
use std::time::Duration;

use mysql::prelude::Queryable;
use mysql::{Conn, Error as Refusal, MySqlError, Params, Row, TxOpts, Value};

use super::failures::{self, Attempts};
use super::{
    AccountFilter, AccountStatus, AccountUse, Activity, ActivityFilter, Batch, Commit, Coverage,
    Doubtful, FailedConnect, ProxiedAccount, Status, Store, judged_together,
};
use crate::checkpoint::{Checkpoint, Digest};
use crate::error::{Error, Result};
use crate::mariadb::{self, Access, SERVER_VIEWS, Server, quote};
use crate::name::Name;
use crate::time::UtcSeconds;
use value::{COLLECTOR, SERVER, SOURCE, count, encode, encode_name, name, seconds, time, words};

/// The tables, as `conntracker schema --store mariadb` prints them for the usual database.
const SCHEMA: &str = include_str!("../../../sql/schema.sql");

/// Version of [`SCHEMA`].
const VERSION: u64 = 3;

/// The database that [`SCHEMA`] names.
const USUAL_DATABASE: &str = "conntrack";

/// How often a commit is tried before the next run has to catch up. With the pauses between, that is
/// about ten seconds.
const MAX_TRIES: u32 = 10;

/// The tables in `database`, as SQL.
pub fn schema(database: &str) -> String {
    let named = |statement: &str| format!("{statement} {USUAL_DATABASE}");
    let quoted = quote(database);
    ["CREATE DATABASE IF NOT EXISTS", "USE"]
        .iter()
        .fold(format!("{SCHEMA}\n{SERVER_VIEWS}"), |sql, statement| {
            sql.replace(&named(statement), &format!("{statement} {quoted}"))
        })
}

/// A database in a MariaDB server.
pub struct MariaDb {
    server: Server,
    database: String,
    /// The name of this host in the store.
    collector: Vec<u8>,
    conn: Conn,
}

impl MariaDb {
    /// Opens the database for writing. Creates the tables if they are missing, where the account
    /// may.
    ///
    /// # Errors
    /// If the server can't be reached, does not let us in, or has no tables and does not let us
    /// create them (the message says what an administrator has to run); or if a newer version wrote
    /// them.
    pub fn open(access: &Access, database: &str) -> Result<Self> {
        let server = Server::find(access)?;
        let connected = match server.connect(Some(database)) {
            // There is no such database, or it is not ours yet.
            Err(error) if mariadb::code(&error) == Some(1049) => server.connect(None),
            connected => connected,
        };
        let mut this = match connected {
            Ok(conn) => Self::new(server, database, conn),
            Err(error) => return Err(explain(&server, database, &error)),
        };
        match this.version() {
            Ok(Some(VERSION)) => Ok(this),
            Ok(Some(newer)) if newer > VERSION => Err(this.too_new(newer)),
            Ok(_) => {
                this.retrying(|conn, _| create_tables(conn, database))?;
                Ok(this)
            }
            Err(error) => Err(this.error(&error)),
        }
    }

    /// Opens the database for reading.
    ///
    /// # Errors
    /// As [`MariaDb::open`], and if there are no tables yet.
    pub fn open_read_only(access: &Access, database: &str) -> Result<Self> {
        let server = Server::find(access)?;
        let mut this = match server.connect(Some(database)) {
            Ok(conn) => Self::new(server, database, conn),
            Err(error) => return Err(explain(&server, database, &error)),
        };
        match this.version() {
            Ok(Some(VERSION)) => Ok(this),
            Ok(Some(newer)) if newer > VERSION => Err(this.too_new(newer)),
            Ok(_) => Err(Error::Store {
                store: this.describe(),
                message: "has no tables of this version yet; run 'conntracker run' first".into(),
            }),
            Err(error) => Err(this.error(&error)),
        }
    }

    fn new(server: Server, database: &str, conn: Conn) -> Self {
        Self {
            server,
            database: database.to_owned(),
            collector: collector(),
            conn,
        }
    }

    /// The version of the tables; none if there are none.
    fn version(&mut self) -> Result<Option<u64>, Refusal> {
        match self.conn.query_first("SELECT version FROM schema_version") {
            // No such table, or no such database.
            Err(error) if matches!(mariadb::code(&error), Some(1046 | 1146)) => Ok(None),
            version => version,
        }
    }

    fn too_new(&self, version: u64) -> Error {
        Error::Store {
            store: self.describe(),
            message: format!(
                "has schema version {version}, this program knows version {VERSION}; \
                 use a newer conntracker"
            ),
        }
    }

    fn error(&self, error: &Refusal) -> Error {
        explain(&self.server, &self.database, error)
    }

    /// Does `work`, and again where the server took it back or was lost.
    fn retrying<T>(&mut self, work: impl Fn(&mut Conn, &[u8]) -> Result<T, Refusal>) -> Result<T> {
        let mut pause = Duration::from_millis(10);
        for _ in 1..MAX_TRIES {
            let error = match work(&mut self.conn, &self.collector) {
                Ok(result) => return Ok(result),
                Err(error) if mariadb::is_transient(&error) => error,
                Err(error) => return Err(self.error(&error)),
            };
            log::debug!("{}: {error}, trying again", self.describe());
            // Whoever collides once should not do so again in step with the other.
            thread::sleep(pause.mul_f64(0.5 + random() as f64 / u64::MAX as f64));
            pause = (pause * 2).min(Duration::from_secs(3));
            if mariadb::is_lost(&error)
                && let Ok(conn) = self.server.connect(Some(&self.database))
            {
                self.conn = conn;
            }
        }
        work(&mut self.conn, &self.collector).map_err(|error| self.error(&error))
    }
}

impl Store for MariaDb {
    fn describe(&self) -> String {
        describe(&self.server, &self.database)
    }

    fn checkpoints(&mut self) -> Result<Vec<(String, Checkpoint)>> {
        let rows: Vec<(String, u64, String)> = self.retrying(|conn, collector| {
            let own = "SELECT source, generation, state FROM checkpoints WHERE collector = ?";
            let own: Vec<_> = conn.exec(own, (collector,))?;
            if !own.is_empty() {
                return Ok(own);
            }
            conn.query(
                "SELECT CONCAT(collector, ': ', source), 0, state FROM checkpoints ORDER BY 1",
            )
        })?;
        let mut checkpoints = Vec::new();
        for (source, generation, state) in rows {
            let checkpoint = serde_json::from_str(&state).map_err(|error| Error::Store {
                store: self.describe(),
                message: format!(
                    "the checkpoint of {} is damaged: {error}; delete it to read that log anew",
                    crate::name::escape(source.as_bytes())
                ),
            })?;
            let mut checkpoint = Checkpoint {
                generation,
                ..checkpoint
            };
            if generation == 0 {
                // Another machine's log may begin with the same line.
                for mark in &mut checkpoint.files {
                    mark.first = mark.head.clone();
                }
            }
            checkpoints.push((source, checkpoint));
        }
        Ok(checkpoints)
    }

    fn commit(
        &mut self,
        source: &str,
        base: Option<&Checkpoint>,
        next: &Checkpoint,
        batch: &Batch,
    ) -> Result<Commit> {
        let state = serde_json::to_string(next).map_err(|error| Error::Store {
            store: self.describe(),
            message: format!("the checkpoint can't be written down: {error}"),
        })?;
        if source.chars().count() > SOURCE {
            return Err(Error::Store {
                store: self.describe(),
                message: format!(
                    "has no room for the path of a log that is longer than {SOURCE} characters; \
                     name it by a shorter one, such as a symbolic link"
                ),
            });
        }
        let base = base.map(|base| base.generation);
        let writer = random();
        let key = encode(source, SOURCE);
        self.retrying(|conn, collector| {
            // Should the transaction be taken back on the way, what follows must not commit itself.
            conn.query_drop("SET SESSION autocommit = 0")?;
            let done = move_checkpoint(conn, (collector, &key), base, (writer, &state), batch)?;
            // Not after an error: it would commit what that may have left open.
            let _ = conn.query_drop("SET SESSION autocommit = 1");
            Ok(done)
        })
    }

    fn accounts(
        &mut self,
        filter: &AccountFilter,
        row: &mut dyn FnMut(AccountUse) -> Result<()>,
    ) -> Result<()> {
        let mut sql = String::from(
            "SELECT server, name, host, UNIX_TIMESTAMP(first_seen), UNIX_TIMESTAMP(last_seen),
                    UNIX_TIMESTAMP(last_active), connects
             FROM accounts WHERE TRUE",
        );
        let mut values = Vec::new();
        if let Some(server) = &filter.server {
            sql.push_str(" AND server = ?");
            values.push(encode_name(server, SERVER));
        }
        if let Some(since) = filter.not_active_since {
            sql.push_str(" AND (last_active IS NULL OR last_active < FROM_UNIXTIME(?))");
            values.push(time(Some(since)));
        }
        sql.push_str(" ORDER BY server, name, host");
        self.each(&sql, values, |mut found| {
            row(AccountUse {
                server: name(&mut found, 0),
                name: name(&mut found, 1),
                host: name(&mut found, 2),
                first_seen: seconds(&found, 3),
                last_seen: seconds(&found, 4),
                last_active: seconds(&found, 5),
                connects: count(&found, 6),
            })
        })
    }

    fn failed_connects(
        &mut self,
        since: Option<UtcSeconds>,
        row: &mut dyn FnMut(FailedConnect) -> Result<()>,
    ) -> Result<()> {
        let mut sql = String::from(
            "SELECT server, name, host, code, UNIX_TIMESTAMP(first_seen), UNIX_TIMESTAMP(last_seen),
                    attempts
             FROM failed_connects",
        );
        if since.is_some() {
            sql.push_str(" WHERE last_seen >= FROM_UNIXTIME(?)");
        }
        sql.push_str(" ORDER BY code = 0, server, name, host, code");
        let since = since.map(|since| time(Some(since)));
        self.each(&sql, since.into_iter().collect(), |mut found| {
            let seen = Attempts {
                first_seen: seconds(&found, 4).unwrap_or(UtcSeconds(0)),
                last_seen: seconds(&found, 5).unwrap_or(UtcSeconds(0)),
                attempts: count(&found, 6),
            };
            let code = count(&found, 3) as u32;
            let key = (name(&mut found, 1), name(&mut found, 2), code);
            row(failures::row(name(&mut found, 0), key, seen))
        })
    }

    fn quarantine(
        &mut self,
        since: Option<UtcSeconds>,
        row: &mut dyn FnMut(Doubtful) -> Result<()>,
    ) -> Result<()> {
        let mut sql = String::from(
            "SELECT server, name, host, UNIX_TIMESTAMP(time), connectionid, why, written_from, file,
                    `offset`
             FROM quarantine",
        );
        if since.is_some() {
            sql.push_str(" WHERE time IS NULL OR time >= FROM_UNIXTIME(?)");
        }
        sql.push_str(" ORDER BY id");
        let since = since.map(|since| time(Some(since)));
        self.each(&sql, since.into_iter().collect(), |mut found| {
            let from = !matches!(found.as_ref(6), None | Some(Value::NULL));
            row(Doubtful {
                server: name(&mut found, 0),
                name: name(&mut found, 1),
                host: name(&mut found, 2),
                time: seconds(&found, 3),
                connectionid: count(&found, 4),
                why: name(&mut found, 5).escaped(),
                from: from.then(|| name(&mut found, 6)),
                file: name(&mut found, 7).escaped(),
                offset: count(&found, 8),
            })
        })
    }

    fn activity(
        &mut self,
        filter: &ActivityFilter,
        row: &mut dyn FnMut(Activity) -> Result<()>,
    ) -> Result<()> {
        for hours in [24, 1] {
            let (sql, values) = activity::select(filter, hours);
            self.each(&sql, values, |mut found| row(activity::row(&mut found)))?;
        }
        Ok(())
    }

    fn coverage(&mut self, server: &Name) -> Result<Vec<Coverage>> {
        self.all(
            "SELECT UNIX_TIMESTAMP(from_time), UNIX_TIMESTAMP(to_time), gap FROM coverage
             WHERE server = ? ORDER BY id",
            server,
            |row| Coverage {
                from: seconds(row, 0).unwrap_or(UtcSeconds(0)),
                to: seconds(row, 1).unwrap_or(UtcSeconds(0)),
                gap: row.get_opt(2).and_then(Result::ok),
            },
        )
    }

    fn proxied_accounts(&mut self, server: &Name) -> Result<Vec<ProxiedAccount>> {
        self.all(
            "SELECT account, UNIX_TIMESTAMP(first_seen), UNIX_TIMESTAMP(last_seen), connects
             FROM proxied_accounts WHERE server = ?",
            server,
            |row| ProxiedAccount {
                server: server.clone(),
                account: name(row, 0),
                first_seen: seconds(row, 1).unwrap_or(UtcSeconds(0)),
                last_seen: seconds(row, 2).unwrap_or(UtcSeconds(0)),
                connects: count(row, 3),
            },
        )
    }

    fn account_status(
        &mut self,
        server: &Name,
    ) -> Result<Option<(UtcSeconds, Vec<AccountStatus>)>> {
        let rows = self.all(
            "SELECT user, host, state, reason, UNIX_TIMESTAMP(last_seen),
                    UNIX_TIMESTAMP(last_active), connects, clients, exact,
                    UNIX_TIMESTAMP(known_since), UNIX_TIMESTAMP(checked_at)
             FROM account_status WHERE server = ? ORDER BY user, host",
            server,
            |row| {
                let status = AccountStatus {
                    user: name(row, 0),
                    host: name(row, 1),
                    state: words(row, 2),
                    reason: words(row, 3),
                    last_seen: seconds(row, 4),
                    last_active: seconds(row, 5),
                    connects: count(row, 6),
                    clients: count(row, 7),
                    exact: count(row, 8) != 0,
                    known_since: seconds(row, 9),
                };
                (seconds(row, 10).unwrap_or(UtcSeconds(0)), status)
            },
        )?;
        Ok(judged_together(rows))
    }

    fn check_memory(&mut self, server: &Name) -> Result<Option<String>> {
        let sql = "SELECT memory FROM check_memory WHERE server = ?";
        let found = self.all(sql, server, |row| row.get_opt(0).and_then(Result::ok))?;
        Ok(found.into_iter().flatten().next())
    }

    fn keep_memory(&mut self, server: &Name, checked_at: UtcSeconds, memory: &str) -> Result<()> {
        let row = (encode_name(server, SERVER), time(Some(checked_at)), memory);
        self.retrying(|conn, _| {
            let mut tx = conn.start_transaction(TxOpts::default())?;
            tx.exec_drop(
                "INSERT INTO check_memory (server, checked_at, memory)
                 VALUES (?, FROM_UNIXTIME(?), ?)
                 ON DUPLICATE KEY UPDATE checked_at = VALUES(checked_at), memory = VALUES(memory)",
                &row,
            )?;
            tx.commit()
        })
    }

    fn keep_status(&mut self, status: &Status) -> Result<()> {
        self.retrying(|conn, _| {
            let mut tx = conn.start_transaction(TxOpts::default())?;
            write::status(&mut tx, status)?;
            tx.commit()
        })
    }
}

impl MariaDb {
    /// The rows of a statement about one server.
    fn all<T>(&mut self, sql: &str, server: &Name, row: impl Fn(&mut Row) -> T) -> Result<Vec<T>> {
        let mut rows = Vec::new();
        self.each(sql, vec![encode_name(server, SERVER)], |mut found| {
            rows.push(row(&mut found));
            Ok(())
        })?;
        Ok(rows)
    }

    /// Calls `row` for each row of the answer, as it comes.
    fn each(
        &mut self,
        sql: &str,
        values: Vec<Value>,
        mut row: impl FnMut(Row) -> Result<()>,
    ) -> Result<()> {
        let (server, database) = (&self.server, &self.database);
        let fail = |error: Refusal| explain(server, database, &error);
        // An empty list of values is not what the crate takes for none.
        let values = match values.is_empty() {
            true => Params::Empty,
            false => Params::Positional(values),
        };
        for found in self.conn.exec_iter(sql, values).map_err(fail)? {
            row(found.map_err(fail)?)?;
        }
        Ok(())
    }
}

/// One transaction: moves the checkpoint of `key` (collector and source) on from generation `base`,
/// and adds `batch`. `writer` is the number that this commit leaves.
fn move_checkpoint(
    conn: &mut Conn,
    key: (&[u8], &[u8]),
    base: Option<u64>,
    (writer, state): (u64, &str),
    batch: &Batch,
) -> Result<Commit, Refusal> {
    const FIND: &str =
        "SELECT generation, writer FROM checkpoints WHERE collector = ? AND source = ?";
    let mut tx = conn.start_transaction(TxOpts::default())?;
    let now = time(Some(UtcSeconds::now()));
    let generation = base.unwrap_or(0) + 1;
    let ours = Some((generation, writer));
    // Whose commit stands there instead.
    let is_ours = |stored| match stored == ours {
        // The answer to our own COMMIT was lost.
        true => Commit::Done,
        false => Commit::Overtaken,
    };
    if base.is_none() {
        // Without a look before: to lock what is not there locks out the first runs of others, and
        // stops a Galera cluster where many come at once (seen on MariaDB 10.11).
        let inserted = tx.exec_drop(
            "INSERT INTO checkpoints (generation, writer, written_at, state, collector, source)
             VALUES (?, ?, FROM_UNIXTIME(?), ?, ?, ?)",
            (generation, writer, &now, state, key.0, key.1),
        );
        match inserted {
            Err(error) if mariadb::code(&error) == Some(1062) => {
                return Ok(is_ours(write::first(&mut tx, FIND, key)?));
            }
            inserted => inserted?,
        }
    } else {
        let stored: Option<(u64, u64)> = write::first(&mut tx, &format!("{FIND} FOR UPDATE"), key)?;
        if stored.map(|(generation, _)| generation) != base {
            return Ok(is_ours(stored));
        }
        tx.exec_drop(
            "UPDATE checkpoints
             SET generation = ?, writer = ?, written_at = FROM_UNIXTIME(?), state = ?
             WHERE collector = ? AND source = ?",
            (generation, writer, &now, state, key.0, key.1),
        )?;
    }
    write::write(&mut tx, key.0, key.1, batch)?;
    // Is this still the transaction that moved the checkpoint? A node of a Galera cluster may have
    // taken it back, and the crate not have looked at the answer that said so.
    if write::first(&mut tx, FIND, key)? != ours {
        return Err(Refusal::MySqlError(MySqlError {
            state: "40001".into(),
            message: "the transaction was taken back".into(),
            code: 1213,
        }));
    }
    tx.commit()?;
    Ok(Commit::Done)
}

/// Creates what is missing.
///
/// Not the views where the server is a node of a Galera cluster. There, whoever creates a view locks
/// its name and its database and then waits for his turn; if it is the turn of another who creates
/// one of the same name or a database, on any node, neither goes on, and nobody else does (seen on
/// MariaDB 10.11). A fleet's first runs come at once; an administrator does not.
fn create_tables(conn: &mut Conn, database: &str) -> Result<(), Refusal> {
    let wsrep_on: Option<(String, String)> = conn.query_first("SHOW VARIABLES LIKE 'wsrep_on'")?;
    let galera = wsrep_on.is_some_and(|(_, value)| value == "ON");
    // Statements end at the line's end; no text of ours holds a semicolon there.
    let schema = schema(database);
    let tables = schema.strip_suffix(SERVER_VIEWS).unwrap_or(&schema);
    for statement in tables.split(";\n") {
        let passed_over = is_comment(statement) || galera && is_view(statement);
        if !passed_over {
            conn.query_drop(statement)?;
        }
    }
    Ok(())
}

fn is_view(sql: &str) -> bool {
    sql.lines()
        .any(|line| line.starts_with("CREATE") && line.contains(" VIEW "))
}

fn is_comment(sql: &str) -> bool {
    sql.lines()
        .all(|line| line.trim().is_empty() || line.starts_with("--"))
}

fn describe(server: &Server, database: &str) -> String {
    format!("MariaDB store {} at {}", quote(database), server.describe())
}

fn explain(server: &Server, database: &str, error: &Refusal) -> Error {
    let mut message = server.explain(error);
    if let Some(1044 | 1049 | 1142 | 1143 | 1146 | 1227) = mariadb::code(error) {
        let database = quote(database);
        message.push_str(&format!(
            "; an administrator runs: conntracker schema --store mariadb | mariadb, and then: \
             GRANT SELECT, INSERT, UPDATE, DELETE, EXECUTE ON {database}.* TO this account"
        ));
    }
    Error::Store {
        store: describe(server, database),
        message,
    }
}

/// What tells this machine's checkpoints from others': its name for people, and a part of a digest
/// of its machine-id, for names recur. The id itself is not for sharing (machine-id(5)).
fn collector() -> Vec<u8> {
    let host = nix::unistd::gethostname().unwrap_or_default();
    let host = Name::from(host.as_encoded_bytes());
    let id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let id = match id.trim() {
        "" => String::new(),
        id => format!(
            " {}",
            &Digest::of(format!("conntracker {id}").as_bytes()).sha256[..8]
        ),
    };
    [text::encode(&host, COLLECTOR - id.len()), id.into_bytes()].concat()
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
