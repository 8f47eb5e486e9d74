//! `conntracker accounts`: when was each account last used?

use crate::cli::AccountsFlags;
use crate::config::Config;
use crate::error::{ExitStatus, Result};
use crate::report::{self, Look};
use crate::store::AccountFilter;
use crate::time::UtcSeconds;

/// Prints the accounts that the flags ask for.
pub(super) fn print(flags: &AccountsFlags, config: &Config) -> Result<ExitStatus> {
    let now = UtcSeconds::now();
    let filter = AccountFilter {
        server: flags.server.clone(),
        not_active_since: flags
            .unused_for
            .map(|span| UtcSeconds(now.0.saturating_sub(span.0))),
    };
    let mut store = super::open_store(config)?;
    let look = Look::of_stdout(config.time_zone, now);
    let rows = report::print(flags.format, &look, super::stdout(), |row| {
        store.accounts(&filter, row)
    })?;
    let message = match filter {
        AccountFilter {
            server: None,
            not_active_since: None,
        } => "no account was seen yet",
        _ => "no account that was seen fits",
    };
    super::explain_emptiness(flags.format, rows, message);
    Ok(ExitStatus::Fine)
}
