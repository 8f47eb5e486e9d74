//! The default store: one SQLite file.
//!
//! Rollback journal instead of WAL: a run opens the file, makes one transaction and closes it. Measured
//! on ext4 with 100 upserts, that takes 0.9 ms with the journal and 1.3 ms with WAL (which has to copy
//! its log back at the end), both fully synchronous. And a database without `-wal` and `-shm` files can
//! be read by an account that may not write beside it, and copied with `cp` between runs.

mod activity;
mod legacy;
mod write;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::geteuid;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, ToSql, Transaction, TransactionBehavior,
    params,
};

use super::failures::{self, Attempts};
use super::list::List;
use super::{
    AccountFilter, AccountStatus, AccountUse, Activity, ActivityFilter, Batch, Commit, Coverage,
    Doubtful, FailedConnect, JudgedAccount, ProxiedAccount, Status, Store,
};
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::name::Name;
use crate::time::UtcSeconds;
use legacy::UNKNOWN_SERVER;

/// The tables, as `conntracker schema` prints them.
pub const SCHEMA: &str = include_str!("../../../sql/sqlite.sql");

/// Version of [`SCHEMA`], kept in SQLite's `user_version`.
const VERSION: i64 = 3;

/// How long to wait for another run that is writing, in seconds.
const PATIENCE: u64 = 30;

/// A SQLite file.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    db: Connection,
}

impl Sqlite {
    /// Opens the file for writing. Creates it (mode 0600, with its folder) and its tables if they
    /// are missing, and takes over a file of the Go program.
    ///
    /// # Errors
    /// If it can't be opened or created, is damaged, or was written by a newer version.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.exists() {
            create(path).map_err(|error| Error::file(path, error))?;
        }
        let mut this = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        this.migrate()?;
        Ok(this)
    }

    /// Opens an existing file for reading only.
    ///
    /// # Errors
    /// If it does not exist, is damaged, or was written by a newer version.
    pub fn open_read_only(path: &Path) -> Result<Self> {
        if let Ok(false) = path.try_exists() {
            return Err(Error::Store {
                store: describe(path),
                message:
                    "there is no such file yet; 'conntracker run' creates it, or name another one \
                          with --sqlite"
                        .into(),
            });
        }
        let opened = Self::try_connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
        let mut this = match opened {
            // What a killed run left half-written has to be taken back first.
            Err(error) if is_interrupted(&error) => {
                Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?
            }
            opened => opened.map_err(|error| explain(path, error))?,
        };
        match this.look()? {
            // What is new in this version, an older file just does not have.
            (1..=VERSION, _) => Ok(this),
            (0, old) => {
                // Not migrated yet: show what is there the way a run would see it.
                this.db = Connection::open_in_memory().map_err(|error| this.error(error))?;
                this.create_tables(old)?;
                Ok(this)
            }
            (newer, _) => Err(this.too_new(newer)),
        }
    }

    fn connect(path: &Path, mode: OpenFlags) -> Result<Self> {
        Self::try_connect(path, mode).map_err(|error| explain(path, error))
    }

    fn try_connect(path: &Path, mode: OpenFlags) -> rusqlite::Result<Self> {
        let flags = mode | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let db = Connection::open_with_flags(path, flags)?;
        db.busy_timeout(Duration::from_secs(PATIENCE))?;
        db.set_prepared_statement_cache_capacity(32);
        // A checkpoint that is lost would be harmless, a half-written one would not: each commit waits
        // for the disk. Rows come in the order of the tables, so that half of the usual cache (in KiB)
        // will do.
        db.execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -1000",
        )?;
        Ok(Self {
            path: path.to_owned(),
            db,
        })
    }

    fn version(&self) -> Result<i64> {
        self.db
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(|error| self.error(error))
    }

    fn migrate(&mut self) -> Result<()> {
        match self.look()? {
            (VERSION, _) => Ok(()),
            (0..VERSION, old) => self.create_tables(old),
            (newer, _) => Err(self.too_new(newer)),
        }
    }

    /// The version, and at 0 the rows of the Go program; both as of one instant, since another run
    /// may be creating the tables.
    fn look(&self) -> Result<(i64, Vec<AccountUse>)> {
        let instant = self.db.unchecked_transaction();
        let _instant = instant.map_err(|error| self.error(error))?;
        Ok(match self.version()? {
            0 => (0, self.legacy_accounts()?),
            version => (version, Vec::new()),
        })
    }

    fn too_new(&self, version: i64) -> Error {
        Error::Store {
            store: describe(&self.path),
            message: format!(
                "has schema version {version}, this program knows version {VERSION}; \
                 use a newer conntracker"
            ),
        }
    }

    fn create_tables(&mut self, old: Vec<AccountUse>) -> Result<()> {
        let path = self.path.clone();
        let create = |tx: &Transaction<'_>| -> rusqlite::Result<()> {
            match tx.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))? {
                // Another run may have been faster.
                VERSION.. => return Ok(()),
                0 => {
                    tx.execute_batch("DROP TABLE IF EXISTS accounts")?;
                    tx.execute_batch(SCHEMA)?;
                    write::upsert_accounts(tx, &UNKNOWN_SERVER.into(), &old)?;
                }
                // All that is missing is tables.
                _ => tx.execute_batch(SCHEMA)?,
            }
            tx.execute_batch(&format!("PRAGMA user_version = {VERSION}"))
        };
        let tx = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| explain(&path, error))?;
        create(&tx)
            .and_then(|()| tx.commit())
            .map_err(|error| explain(&path, error))
    }

    fn error(&self, error: rusqlite::Error) -> Error {
        explain(&self.path, error)
    }
}

/// Creates the file empty, readable by nobody else, and its folder. Root's is given to the owner of the
/// folder: who tries a first run as root must not lock out the service's user, whose folder it is.
fn create(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent()
        && !folder.as_os_str().is_empty()
        && !folder.exists()
    {
        DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(folder)?;
    }
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        // Another run may have been faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Ok(file) if geteuid().is_root() => {
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            let folder = fs::metadata(folder.unwrap_or(Path::new(".")))?;
            fchown(file, Some(folder.uid()), Some(folder.gid()))
        }
        other => other.map(|_| ()),
    }
}

fn describe(path: &Path) -> String {
    format!(
        "SQLite store {}",
        crate::name::escape(path.as_os_str().as_encoded_bytes())
    )
}

/// Whether a run was killed while it wrote, and this connection may not take that back.
fn is_interrupted(error: &rusqlite::Error) -> bool {
    error
        .sqlite_error()
        .is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_READONLY_ROLLBACK)
}

fn explain(path: &Path, error: rusqlite::Error) -> Error {
    let hint = match error.sqlite_error_code() {
        Some(ErrorCode::ReadOnly) if is_interrupted(&error) => {
            "; a run was killed while it wrote, the next 'conntracker run' puts that right"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "; another program holds it locked, the next run catches up"
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "; restore it from a copy, or move it away to begin anew from what the log still holds"
        }
        Some(ErrorCode::DiskFull) => "; make room on its file system, the next run catches up",
        Some(ErrorCode::ReadOnly) => "; its file and folder must be writable for this user",
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "; its folder must exist, and its file and folder be accessible for this user"
        }
        _ => "",
    };
    Error::Store {
        store: describe(path),
        message: format!("{error}{hint}"),
    }
}

/// A name as text, or as blob where it is not: text with a NUL would be cut by SQLite's tools.
impl ToSql for Name {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match std::str::from_utf8(&self.0) {
            Ok(_) if !self.0.contains(&0) => ValueRef::Text(&self.0),
            _ => ValueRef::Blob(&self.0),
        }))
    }
}

impl ToSql for UtcSeconds {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(Value::Text(self.sql())))
    }
}

fn name_of(value: ValueRef<'_>) -> Name {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Name::from(bytes),
        ValueRef::Integer(number) => Name::from(number.to_string().as_str()),
        ValueRef::Real(number) => Name::from(number.to_string().as_str()),
        ValueRef::Null => Name::default(),
    }
}

fn time_of(value: ValueRef<'_>) -> Option<UtcSeconds> {
    value.as_str().ok().and_then(UtcSeconds::from_sql)
}

fn count_of(value: ValueRef<'_>) -> u64 {
    value
        .as_i64()
        .ok()
        .and_then(|count| u64::try_from(count).ok())
        .unwrap_or(0)
}

/// What `filter` wants, as far as SQL can tell; see [`AccountFilter::fits`] for the rest.
fn wanted(filter: &AccountFilter) -> impl rusqlite::Params {
    (
        filter.server.clone(),
        filter.not_active_since,
        filter.exact_name(),
        filter.exact_host(),
    )
}

impl Store for Sqlite {
    fn describe(&self) -> String {
        describe(&self.path)
    }

    fn checkpoints(&mut self) -> Result<Vec<(String, Checkpoint)>> {
        let rows: rusqlite::Result<Vec<(String, i64, String)>> = self
            .db
            .prepare_cached("SELECT source, generation, state FROM checkpoints ORDER BY source")
            .and_then(|mut statement| {
                statement
                    .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                    .collect()
            });
        rows.map_err(|error| self.error(error))?
            .into_iter()
            .map(|(source, generation, state)| {
                let mut checkpoint: Checkpoint =
                    serde_json::from_str(&state).map_err(|error| Error::Store {
                        store: describe(&self.path),
                        message: format!("the checkpoint of {source} is damaged: {error}"),
                    })?;
                checkpoint.generation = generation as u64;
                Ok((source, checkpoint))
            })
            .collect()
    }

    fn commit(
        &mut self,
        source: &str,
        base: Option<&Checkpoint>,
        next: &Checkpoint,
        batch: &Batch,
    ) -> Result<Commit> {
        let path = self.path.clone();
        let fail = |error| explain(&path, error);
        let state = serde_json::to_string(next).map_err(|error| Error::Store {
            store: describe(&path),
            message: format!("the checkpoint can't be written down: {error}"),
        })?;
        let tx = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(fail)?;
        let stored: Option<i64> = tx
            .prepare_cached("SELECT generation FROM checkpoints WHERE source = ?1")
            .and_then(|mut statement| statement.query_row([source], |row| row.get(0)).optional())
            .map_err(fail)?;
        if stored != base.map(|base| base.generation as i64) {
            return Ok(Commit::Overtaken);
        }
        let generation = stored.unwrap_or(0) + 1;
        write::write(&tx, source, generation, &state, batch)
            .and_then(|()| tx.commit())
            .map_err(fail)?;
        Ok(Commit::Done)
    }

    fn accounts(
        &mut self,
        filter: &AccountFilter,
        row: &mut dyn FnMut(AccountUse) -> Result<()>,
    ) -> Result<()> {
        let fail = |error| explain(&self.path, error);
        let sql = format!(
            "SELECT server, name, host, first_seen, last_seen, last_active, connects
             FROM accounts
             WHERE (?1 IS NULL OR server = ?1)
               AND (?2 IS NULL OR coalesce(last_active, '') < ?2)
               AND (?3 IS NULL OR name = ?3)
               AND (?4 IS NULL OR host = ?4)
             ORDER BY {}",
            filter.order.sql(List::Uses)
        );
        let mut statement = self.db.prepare_cached(&sql).map_err(fail)?;
        let mut rows = statement.query(wanted(filter)).map_err(fail)?;
        while let Some(found) = rows.next().map_err(fail)? {
            let get = |at: usize| found.get_ref(at).map_err(fail);
            let (name, host) = (name_of(get(1)?), name_of(get(2)?));
            if !filter.fits(&name, &host) {
                continue;
            }
            row(AccountUse {
                server: name_of(get(0)?),
                name,
                host,
                first_seen: time_of(get(3)?),
                last_seen: time_of(get(4)?),
                last_active: time_of(get(5)?),
                connects: count_of(get(6)?),
            })?;
        }
        Ok(())
    }

    fn failed_connects(
        &mut self,
        since: Option<UtcSeconds>,
        row: &mut dyn FnMut(FailedConnect) -> Result<()>,
    ) -> Result<()> {
        let fail = |error| explain(&self.path, error);
        let mut statement = self
            .db
            .prepare_cached(
                "SELECT server, name, host, code, first_seen, last_seen, attempts
                 FROM failed_connects
                 WHERE ?1 IS NULL OR last_seen >= ?1
                 ORDER BY code = 0, CAST(server AS BLOB), CAST(name AS BLOB), CAST(host AS BLOB), code",
            )
            .map_err(fail)?;
        let mut rows = statement.query(params![since]).map_err(fail)?;
        while let Some(found) = rows.next().map_err(fail)? {
            let get = |at: usize| found.get_ref(at).map_err(fail);
            let seen = Attempts {
                first_seen: time_of(get(4)?).unwrap_or(UtcSeconds(0)),
                last_seen: time_of(get(5)?).unwrap_or(UtcSeconds(0)),
                attempts: count_of(get(6)?),
            };
            let key = (name_of(get(1)?), name_of(get(2)?), count_of(get(3)?) as u32);
            row(failures::row(name_of(get(0)?), key, seen))?;
        }
        Ok(())
    }

    fn failed_attempts(&mut self, server: &Name) -> Result<Vec<(Option<u32>, u64)>> {
        self.all(
            "SELECT code, sum(attempts) FROM failed_connects WHERE server = ?1
             GROUP BY code ORDER BY code",
            server,
            |row| {
                let code = count_of(row.get_ref(0)?) as u32;
                Ok((
                    Some(code).filter(|code| *code != 0),
                    count_of(row.get_ref(1)?),
                ))
            },
        )
    }

    fn quarantine(
        &mut self,
        since: Option<UtcSeconds>,
        row: &mut dyn FnMut(Doubtful) -> Result<()>,
    ) -> Result<()> {
        let fail = |error| explain(&self.path, error);
        let mut statement = self
            .db
            .prepare_cached(
                "SELECT server, name, host, time, connectionid, why, written_from, file, offset
                 FROM quarantine
                 WHERE ?1 IS NULL OR time IS NULL OR time >= ?1
                 ORDER BY id",
            )
            .map_err(fail)?;
        let mut rows = statement.query(params![since]).map_err(fail)?;
        while let Some(found) = rows.next().map_err(fail)? {
            let get = |at: usize| found.get_ref(at).map_err(fail);
            row(Doubtful {
                server: name_of(get(0)?),
                name: name_of(get(1)?),
                host: name_of(get(2)?),
                time: time_of(get(3)?),
                connectionid: count_of(get(4)?),
                why: name_of(get(5)?).escaped(),
                from: match get(6)? {
                    ValueRef::Null => None,
                    from => Some(name_of(from)),
                },
                file: name_of(get(7)?).escaped(),
                offset: count_of(get(8)?),
            })?;
        }
        Ok(())
    }

    fn activity(
        &mut self,
        filter: &ActivityFilter,
        row: &mut dyn FnMut(Activity) -> Result<()>,
    ) -> Result<()> {
        self.each_activity(filter, row)
    }

    fn coverage(&mut self, server: &Name) -> Result<Vec<Coverage>> {
        self.all(
            "SELECT from_time, to_time, gap FROM coverage WHERE server = ?1 ORDER BY id",
            server,
            |row| {
                Ok(Coverage {
                    from: time_of(row.get_ref(0)?).unwrap_or(UtcSeconds(0)),
                    to: time_of(row.get_ref(1)?).unwrap_or(UtcSeconds(0)),
                    gap: row.get(2)?,
                })
            },
        )
    }

    fn proxied_accounts(&mut self, server: &Name) -> Result<Vec<ProxiedAccount>> {
        self.all(
            "SELECT account, first_seen, last_seen, connects FROM proxied_accounts WHERE server = ?1",
            server,
            |row| {
                Ok(ProxiedAccount {
                    server: server.clone(),
                    account: name_of(row.get_ref(0)?),
                    first_seen: time_of(row.get_ref(1)?).unwrap_or(UtcSeconds(0)),
                    last_seen: time_of(row.get_ref(2)?).unwrap_or(UtcSeconds(0)),
                    connects: count_of(row.get_ref(3)?),
                })
            },
        )
    }

    fn account_statuses(
        &mut self,
        filter: &AccountFilter,
        row: &mut dyn FnMut(JudgedAccount) -> Result<()>,
    ) -> Result<()> {
        let fail = |error| explain(&self.path, error);
        let sql = format!(
            "SELECT server, user, host, state, reason, last_seen, last_active, connects, clients, exact,
                    known_since, checked_at
             FROM account_status
             WHERE (?1 IS NULL OR server = ?1)
               AND (?2 IS NULL OR coalesce(last_active, '') < ?2)
               AND (?3 IS NULL OR user = ?3)
               AND (?4 IS NULL OR host = ?4)
             ORDER BY {}",
            filter.order.sql(List::Statuses)
        );
        let mut statement = self.db.prepare_cached(&sql).map_err(fail)?;
        let mut rows = statement.query(wanted(filter)).map_err(fail)?;
        while let Some(found) = rows.next().map_err(fail)? {
            let get = |at: usize| found.get_ref(at).map_err(fail);
            let (user, host) = (name_of(get(1)?), name_of(get(2)?));
            if !filter.fits(&user, &host) {
                continue;
            }
            row(JudgedAccount {
                server: name_of(get(0)?),
                checked_at: time_of(get(11)?).unwrap_or(UtcSeconds(0)),
                status: AccountStatus {
                    user,
                    host,
                    state: found.get(3).map_err(fail)?,
                    reason: found.get(4).map_err(fail)?,
                    last_seen: time_of(get(5)?),
                    last_active: time_of(get(6)?),
                    connects: count_of(get(7)?),
                    clients: count_of(get(8)?),
                    exact: count_of(get(9)?) != 0,
                    known_since: time_of(get(10)?),
                },
            })?;
        }
        Ok(())
    }

    fn check_memory(&mut self, server: &Name) -> Result<Option<String>> {
        self.db
            .prepare_cached("SELECT memory FROM check_memory WHERE server = ?1")
            .and_then(|mut found| {
                found
                    .query_row(params![server], |row| row.get(0))
                    .optional()
            })
            .map_err(|error| self.error(error))
    }

    fn keep_memory(&mut self, server: &Name, checked_at: UtcSeconds, memory: &str) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO check_memory (server, checked_at, memory)
                   VALUES (?1, ?2, ?3)";
        let kept = self.db.execute(sql, params![server, checked_at, memory]);
        kept.map(drop).map_err(|error| self.error(error))
    }

    fn keep_status(&mut self, status: &Status) -> Result<()> {
        let path = &self.path;
        let tx = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| explain(path, error))?;
        write::status(&tx, status)
            .and_then(|()| tx.commit())
            .map_err(|error| explain(path, error))
    }
}

impl Sqlite {
    /// The rows of a statement about one server.
    fn all<T>(
        &self,
        sql: &str,
        server: &Name,
        row: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        self.db
            .prepare_cached(sql)
            .and_then(|mut found| found.query_map(params![server], row)?.collect())
            .map_err(|error| self.error(error))
    }
}
