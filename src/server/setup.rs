//! What `init` asks a server beside [`Facts`]: what of ours an administrator has created in it, and
//! what of its settings would not survive a restart. Whoever may log in is told something.

use mysql::prelude::Queryable;
use mysql::{Error as Refusal, Row};

use super::{Facts, Session, text};
use crate::error::Result;
use crate::mariadb::{self, Access, SERVER_VIEWS};

/// Errors that mean that there is no such thing, or that it does not work: no such database, table or
/// routine, other columns than ours, a view whose creator is gone or lost his rights.
const MISSING: [u16; 6] = [1049, 1054, 1146, 1305, 1356, 1449];

/// Errors that mean that it is not for us to see.
const HIDDEN: [u16; 6] = [1044, 1045, 1142, 1143, 1227, 1370];

/// What was found.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What every other command asks, too. Without accounts if they can't be read.
    pub facts: Facts,
    /// Whether the accounts could be read.
    pub accounts_known: bool,
    /// The account that asked, as the server names it.
    pub current_user: String,
    /// Whether all views of ours are there and work; none if that can't be seen.
    pub views: Option<bool>,
    /// The tables of the store; none if that can't be seen.
    pub tables: Option<Tables>,
    /// Settings of the audit plugin that came by SQL, by name: the next start forgets them.
    pub set_by_sql: Vec<String>,
}

/// The tables of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tables {
    /// There are none.
    Missing,
    /// They are of this version of the schema.
    Version(u64),
}

/// Asks the server that `access` leads to. `database` is where our views and tables are, or will be.
///
/// # Errors
/// If it can't be reached, or is no MariaDB of 10.4 or later.
pub fn look(access: &Access, database: &str) -> Result<Setup> {
    let mut session = Session::open(access)?;
    let (facts, accounts_known) = session.facts(database)?;
    let asked = session.setup(&mariadb::quote(database));
    let (views, tables, set_by_sql) =
        asked.map_err(|error| session.fail(session.server.explain(&error)))?;
    Ok(Setup {
        facts,
        accounts_known,
        current_user: session.current_user,
        views,
        tables,
        set_by_sql,
    })
}

type Asked = (Option<bool>, Option<Tables>, Vec<String>);

impl Session {
    fn setup(&mut self, database: &str) -> Result<Asked, Refusal> {
        let mut views = Some(true);
        for view in views_of_ours() {
            let seen = self.probe(&format!("SELECT 1 FROM {database}.{view} LIMIT 0"))?;
            views = worse(views, seen.map(|rows| rows.is_some()));
        }
        let called = self.probe(&format!("CALL {database}.server_connections()"))?;
        views = worse(views, called.map(|rows| rows.is_some()));
        let version = self.probe(&format!("SELECT version FROM {database}.schema_version"))?;
        let tables = version.map(|rows| {
            let rows = rows.unwrap_or_default();
            let version = rows.first().and_then(|row| row.get_opt(0)?.ok());
            version.map_or(Tables::Missing, Tables::Version)
        });
        let by_sql = self.probe(
            "SELECT LOWER(variable_name) FROM information_schema.system_variables
             WHERE variable_name LIKE 'server\\_audit\\_%' AND global_value_origin = 'SQL'
             ORDER BY variable_name",
        )?;
        let by_sql = by_sql.flatten().unwrap_or_default();
        Ok((
            views,
            tables,
            by_sql.iter().map(|row| text(row, 0)).collect(),
        ))
    }

    /// The rows of a statement; `Some(None)` if what it asks is not there, `None` if it is not for us.
    fn probe(&mut self, sql: &str) -> Result<Option<Option<Vec<Row>>>, Refusal> {
        match self.conn.query(sql) {
            Ok(rows) => Ok(Some(Some(rows))),
            Err(error) => match mariadb::code(&error) {
                Some(code) if MISSING.contains(&code) => Ok(Some(None)),
                Some(code) if HIDDEN.contains(&code) => Ok(None),
                _ => Err(error),
            },
        }
    }
}

/// One that is missing is enough to know that they are not all there.
fn worse(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// The names of the views that `conntracker schema` prints.
fn views_of_ours() -> impl Iterator<Item = &'static str> {
    let behind = SERVER_VIEWS.split(" DEFINER VIEW ").skip(1);
    behind.filter_map(|text| text.split_whitespace().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_are_known_by_their_sql() {
        let views: Vec<_> = views_of_ours().collect();
        assert_eq!(
            views,
            [
                "server_accounts",
                "server_roles",
                "server_proxies",
                "server_db_grants",
                "server_object_grants"
            ]
        );
    }

    #[test]
    fn what_is_hidden_is_neither_there_nor_missing() {
        assert_eq!(worse(Some(true), None), None);
        assert_eq!(worse(None, Some(false)), Some(false));
        assert_eq!(worse(Some(true), Some(true)), Some(true));
    }
}
