//! What a running server says of itself: its accounts, who is connected now, and the settings that
//! decide how a login finds its account.
//!
//! Each fact is read from the source that needs the least privilege and says most, and where only a
//! lesser one can be read, [`Facts::unknown`] says what it leaves open.

mod accounts;
mod resolver;
mod settings;
mod setup;

use mysql::prelude::Queryable;
use mysql::{Conn, Error as Refusal, Row, Value};

use crate::account::{Account, Server, Version};
use crate::error::{Error, Result};
use crate::mariadb::{self, Access, SERVER_VIEWS};
use crate::name::Name;
use crate::time::UtcSeconds;

pub use resolver::HostResolver;
pub use settings::{AuditPlugin, Settings};
pub use setup::{Setup, Tables, look};

/// The oldest version whose account table is understood.
const OLDEST: Version = Version(10, 4, 0);

/// Errors that mean that a source is not there, or not for us: no such database, table, routine, no
/// right to it, other columns than ours, or a view whose creator is gone or lost his rights.
const NOT_FOR_US: [u16; 12] = [
    1044, 1045, 1049, 1054, 1142, 1143, 1146, 1227, 1305, 1356, 1370, 1449,
];

/// What a server said.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Where it was asked, for messages.
    pub described: String,
    /// `@@version`.
    pub version: String,
    /// What decides the choice of an account.
    pub rules: Server,
    /// `@@hostname`.
    pub hostname: Name,
    /// The server's clock.
    pub now: UtcSeconds,
    /// Offset of the server process' local time from UTC in seconds: a hint, for it is of now.
    pub utc_offset: i64,
    /// All accounts and roles.
    pub accounts: Vec<Account>,
    /// Who may use which role: user, host pattern, role; none if that can't be read.
    pub roles: Option<Vec<[Name; 3]>>,
    /// Who may act as whom: user, host pattern, proxied user, proxied host pattern.
    pub proxies: Option<Vec<[Name; 4]>>,
    /// Privileges on whole databases; none if they can't be read.
    pub database_grants: Option<Vec<DatabaseGrant>>,
    /// Privileges on single tables, columns and routines; none if they can't be read.
    pub object_grants: Option<Vec<ObjectGrant>>,
    /// Settings and counters.
    pub settings: Settings,
    /// The audit plugin; none if it is not loaded.
    pub audit_plugin: Option<AuditPlugin>,
    /// Who is connected now, but for ourselves; none if only our own connections can be seen.
    pub connections: Option<Vec<Connection>>,
    /// What could not be read, and what to do about it, in words.
    pub unknown: Vec<String>,
}

/// Privileges on a database, or on all whose names are like a pattern: a row of `mysql.db`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseGrant {
    /// User of the account, or the role.
    pub user: Name,
    /// Host pattern of the account; empty for a role.
    pub host: Name,
    /// The database as it was granted; a pattern, `\\` before what is meant literally.
    pub database: Name,
    /// The privileges, by the bits of `access`.
    pub access: u64,
}

/// Privileges on a part of a database: a row of `mysql.tables_priv`, `mysql.columns_priv` or
/// `mysql.procs_priv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectGrant {
    /// User of the account, or the role.
    pub user: Name,
    /// Host pattern of the account; empty for a role.
    pub host: Name,
    /// The database; no pattern.
    pub database: Name,
    /// What it is.
    pub kind: ObjectKind,
    /// Its name; of a column `table.column`.
    pub name: Name,
    /// The privileges as the server lists them: `Select,Insert`.
    pub rights: Name,
}

/// What a privilege may be granted on within a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// A table or view.
    Table,
    /// A column of one.
    Column,
    /// A stored procedure.
    Procedure,
    /// A stored function.
    Function,
    /// The specification of a package.
    Package,
    /// The body of a package.
    PackageBody,
}

impl ObjectGrant {
    /// Whether it was granted WITH GRANT OPTION.
    pub fn may_be_passed_on(&self) -> bool {
        self.rights
            .0
            .split(|byte| *byte == b',')
            .any(|one| one == b"Grant")
    }
}

impl ObjectKind {
    /// As GRANT and REVOKE call it. A column is granted with its table.
    pub fn grant_word(self) -> &'static str {
        match self {
            Self::Table | Self::Column => "TABLE",
            Self::Procedure => "PROCEDURE",
            Self::Function => "FUNCTION",
            Self::Package => "PACKAGE",
            Self::PackageBody => "PACKAGE BODY",
        }
    }
}

/// A client that is connected now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The connection id.
    pub id: u64,
    /// The user name that it came in with.
    pub name: Name,
    /// The client's host, without port.
    pub host: Name,
    /// The database in use; empty for none.
    pub database: Name,
    /// For how many seconds it does what it does now.
    pub seconds: Option<u64>,
}

/// Asks the server that `access` leads to. `database` is where an administrator created the views of
/// `conntracker schema`.
///
/// # Errors
/// If it can't be reached, is no MariaDB of 10.4 or later, or its accounts can't be read.
pub fn ask(access: &Access, database: &str) -> Result<Facts> {
    let mut session = Session::open(access)?;
    let (facts, accounts_known) = session.facts(database)?;
    match accounts_known {
        true => Ok(facts),
        false => Err(session.fail(format!(
            "its accounts can't be read as {}; an administrator runs: conntracker schema --store \
             mariadb | mariadb, and grants SELECT on {database}.* to this account",
            session.current_user
        ))),
    }
}

/// A session in a server that is a MariaDB of a version that is understood.
struct Session {
    server: mariadb::Server,
    conn: Conn,
    /// Where it was asked, for messages.
    described: String,
    version: String,
    number: Version,
    /// The account that we are there, as the server names it.
    current_user: String,
}

impl Session {
    fn open(access: &Access) -> Result<Self> {
        let server = mariadb::Server::find(access)?;
        let described = format!("server at {}", server.describe());
        let fail = |message: String| Error::Store {
            store: described.clone(),
            message,
        };
        let explain = |error: Refusal| fail(server.explain(&error));
        let mut conn = server.connect(None).map_err(explain)?;
        let row: Option<Row> = conn
            .query_first("SELECT @@version, CURRENT_USER()")
            .map_err(explain)?;
        let row = row.ok_or_else(|| fail("gives no answer".into()))?;
        let version = text(&row, 0);
        let Some(number) = Version::parse(&version).filter(|_| version.contains("MariaDB")) else {
            let shown = crate::name::escape(version.as_bytes());
            return Err(fail(format!("is not MariaDB but {shown}")));
        };
        if number < OLDEST {
            let Version(major, minor, patch) = number;
            return Err(fail(format!(
                "is MariaDB {major}.{minor}.{patch}; its accounts are understood from 10.4 on"
            )));
        }
        Ok(Self {
            current_user: text(&row, 1),
            server,
            conn,
            described,
            version,
            number,
        })
    }

    fn fail(&self, message: String) -> Error {
        Error::Store {
            store: self.described.clone(),
            message,
        }
    }

    /// What the server says, and whether its accounts could be read.
    fn facts(&mut self, database: &str) -> Result<(Facts, bool)> {
        let facts = self.try_facts(database);
        facts.map_err(|error| self.fail(self.server.explain(&error)))
    }

    fn try_facts(&mut self, database: &str) -> Result<(Facts, bool), Refusal> {
        let row: Option<Row> = self.conn.query_first(
            "SELECT @@skip_name_resolve, @@hostname, UNIX_TIMESTAMP(), CONNECTION_ID()",
        )?;
        let number = |column| -> Option<i64> { row.as_ref()?.get_opt(column)?.ok() };
        // The session's zone is UTC, so that what is local has to be asked for.
        let offset: Option<i64> = self.conn.query_first(
            "SET STATEMENT time_zone = 'SYSTEM' FOR SELECT TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), NOW())",
        )?;
        let mut facts = Facts {
            rules: Server {
                version: self.number,
                skip_name_resolve: number(0) == Some(1),
            },
            version: self.version.clone(),
            hostname: row.as_ref().map(|row| bytes(row, 1)).unwrap_or_default(),
            now: UtcSeconds(number(2).unwrap_or(0)),
            utc_offset: offset.unwrap_or(0),
            accounts: Vec::new(),
            roles: None,
            proxies: None,
            database_grants: None,
            object_grants: None,
            settings: Settings::default(),
            audit_plugin: None,
            connections: None,
            unknown: Vec::new(),
            described: self.described.clone(),
        };
        let mut source = Source {
            conn: &mut self.conn,
            database: mariadb::quote(database),
        };
        let accounts_known = accounts::read(&mut source, &mut facts)?.is_some();
        facts.database_grants = accounts::database_grants(&mut source)?;
        facts.object_grants = accounts::object_grants(&mut source)?;
        facts.settings = settings::read(&mut source)?;
        facts.audit_plugin = settings::audit_plugin(&mut source)?;
        let own = number(3).and_then(|id| id.try_into().ok()).unwrap_or(0);
        facts.connections = source.connections(own)?;
        if facts.connections.is_none() {
            facts.unknown.push(format!(
                "who is connected now; grant EXECUTE ON PROCEDURE {database}.server_connections, or PROCESS"
            ));
        }
        Ok((facts, accounts_known))
    }
}

/// Asks one source after the other.
struct Source<'a> {
    conn: &'a mut Conn,
    /// The database of the views, quoted.
    database: String,
}

impl Source<'_> {
    /// The rows of a statement; none if what it asks is not there or not for us.
    fn rows(&mut self, sql: &str) -> Result<Option<Vec<Row>>, Refusal> {
        match self.conn.query(sql) {
            Ok(rows) => Ok(Some(rows)),
            Err(error) if mariadb::code(&error).is_some_and(|code| NOT_FOR_US.contains(&code)) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// These columns, all in their order, of one of our views, or else of the statement that it stands
    /// for.
    fn view(&mut self, view: &str, columns: &str) -> Result<Option<Vec<Row>>, Refusal> {
        let rows = self.rows(&format!("SELECT {columns} FROM {}.{view}", self.database))?;
        match (rows, definition(view)) {
            (None, Some(statement)) => self.rows(statement),
            (rows, _) => Ok(rows),
        }
    }

    fn connections(&mut self, own: u64) -> Result<Option<Vec<Connection>>, Refusal> {
        let id = |row: &Row| row.get_opt(0).and_then(Result::ok).unwrap_or(0);
        let called = self.rows(&format!("CALL {}.server_connections()", self.database))?;
        // Where its creator may not see all, it shows his own only, and not this one.
        let rows = match called.filter(|rows| rows.iter().any(|row| id(row) == own)) {
            Some(rows) => Some(rows),
            None if self.may_see_all()? => self.rows(
                "SELECT id, user, host, db, command, time FROM information_schema.processlist",
            )?,
            None => None,
        };
        let connection = |row: Row| Connection {
            id: id(&row),
            name: bytes(&row, 1),
            host: without_port(&bytes(&row, 2)),
            database: bytes(&row, 3),
            seconds: row.get_opt(5).and_then(Result::ok),
        };
        Ok(rows.map(|rows| {
            rows.into_iter()
                .map(connection)
                .filter(|connection| connection.id != own && connection.is_client())
                .collect()
        }))
    }

    /// Without PROCESS one sees one's own connections only, which must not pass for all.
    fn may_see_all(&mut self) -> Result<bool, Refusal> {
        let granted = self.rows(
            "SELECT 1 FROM information_schema.user_privileges
             WHERE privilege_type = 'PROCESS'
               AND grantee = CONCAT('''', REPLACE(CURRENT_USER(), '@', '''@'''), '''')",
        )?;
        Ok(granted.is_some_and(|rows| !rows.is_empty()))
    }
}

/// The statement of a view as `conntracker schema` prints it.
fn definition(view: &str) -> Option<&'static str> {
    let (_, behind) = SERVER_VIEWS.split_once(&format!(" VIEW {view} AS"))?;
    behind.split(";\n").next()
}

/// The first columns of each row, which are names.
fn names<const N: usize>(rows: Vec<Row>) -> Vec<[Name; N]> {
    let names = |row: &Row| std::array::from_fn(|column| bytes(row, column));
    rows.iter().map(names).collect()
}

impl Connection {
    /// Whether this is somebody who came in, and not a thread of the server or somebody at the door.
    fn is_client(&self) -> bool {
        match &*self.name.0 {
            b"system user" | b"unauthenticated user" => false,
            b"event_scheduler" => self.host.0 != b"localhost",
            _ => true,
        }
    }
}

/// The process list writes `10.0.0.1:54321` for TCP, and no brackets around IPv6.
fn without_port(host: &Name) -> Name {
    match host.0.iter().rposition(|byte| *byte == b':') {
        Some(colon) if host.0[colon + 1..].iter().all(u8::is_ascii_digit) => {
            Name::from(&host.0[..colon])
        }
        _ => host.clone(),
    }
}

fn bytes(row: &Row, column: usize) -> Name {
    match row.as_ref(column) {
        Some(Value::Bytes(bytes)) => Name::from(&bytes[..]),
        _ => Name::default(),
    }
}

fn text(row: &Row, column: usize) -> String {
    String::from_utf8_lossy(&bytes(row, column).0).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_view_has_a_statement_behind_it() {
        for (view, table) in [
            ("server_roles", "FROM mysql.roles_mapping"),
            ("server_proxies", "FROM mysql.proxies_priv"),
            ("server_db_grants", "FROM mysql.db"),
            ("server_object_grants", "FROM mysql.procs_priv"),
        ] {
            let statement = definition(view).unwrap();
            assert!(statement.trim().starts_with("SELECT "), "{statement}");
            assert!(statement.ends_with(table), "{statement}");
        }
        assert_eq!(definition("server_connections"), None);
    }
}
