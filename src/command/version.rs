//! `conntracker version`.

use std::io::Write;

use crate::error::{ExitStatus, Result};

/// Prints name and version.
pub(super) fn print() -> Result<ExitStatus> {
    let mut out = super::stdout();
    writeln!(out, "conntracker {}", env!("CARGO_PKG_VERSION"))?;
    out.flush()?;
    Ok(ExitStatus::Fine)
}
