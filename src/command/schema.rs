//! `conntracker schema`: the SQL of the tables, for whoever reads them with tools of their own, and
//! for an administrator who creates them.

use std::io::Write;

use crate::cli::Settings;
use crate::config::{DEFAULT_DATABASE, StoreKind};
use crate::error::{ExitStatus, Result};
use crate::store::{SQLITE_SCHEMA, mariadb_schema};

/// Prints the schema of the store that is named, by default of SQLite. A configuration is needed
/// only where it names another database, so one that does not work is no obstacle.
pub(super) fn print(settings: &Settings) -> Result<ExitStatus> {
    let mut out = super::stdout();
    let kind = settings.store.last().copied().unwrap_or(StoreKind::Sqlite);
    let schema = match kind {
        StoreKind::Sqlite => SQLITE_SCHEMA.to_owned(),
        StoreKind::MariaDb => {
            let database = match super::load(settings) {
                Ok(loaded) => loaded.config.mariadb.database,
                Err(error) => {
                    log::warn!("{error}; this is for the database {DEFAULT_DATABASE}");
                    DEFAULT_DATABASE.to_owned()
                }
            };
            mariadb_schema(&database)
        }
    };
    writeln!(out, "{}", schema.trim_end())?;
    out.flush()?;
    Ok(ExitStatus::Fine)
}
