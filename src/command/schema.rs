//! `conntracker schema`: the SQL of the tables, for whoever reads them with tools of their own.

use std::io::Write;

use crate::config::StoreKind;
use crate::error::{ExitStatus, Result};
use crate::store::SQLITE_SCHEMA;

/// Prints the schema of each store in `stores`; of none, that of SQLite.
pub(super) fn print(stores: &[StoreKind]) -> Result<ExitStatus> {
    let mut out = super::stdout();
    let kind = stores.last().copied().unwrap_or(StoreKind::Sqlite);
    let schema = match kind {
        StoreKind::Sqlite => SQLITE_SCHEMA,
    };
    writeln!(out, "{}", schema.trim_end())?;
    out.flush()?;
    Ok(ExitStatus::Fine)
}
