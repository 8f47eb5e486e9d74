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
            let loaded = super::load(settings).map(|loaded| loaded.config.mariadb.database);
            mariadb_schema(loaded.as_deref().unwrap_or(DEFAULT_DATABASE))
        }
    };
    writeln!(out, "{}", schema.trim_end())?;
    out.flush()?;
    Ok(ExitStatus::Fine)
}
