//! `conntracker failures`: who failed to log in?

use crate::cli::SinceFlags;
use crate::config::Config;
use crate::error::{ExitStatus, Result};
use crate::report::{self, Look};
use crate::store::FailedConnect;
use crate::time::UtcSeconds;

/// Prints the failed logins that the flags ask for.
pub(super) fn print(flags: &SinceFlags, config: &Config) -> Result<ExitStatus> {
    let now = UtcSeconds::now();
    let since = flags
        .since
        .map(|span| UtcSeconds(now.0.saturating_sub(span.0)));
    let mut store = super::open_store(config)?;
    let look = Look::of_stdout(config.time_zone, now);
    let rows = report::print(flags.format, &look, super::stdout(), |row| {
        store.failed_connects(since, &mut |failed: FailedConnect| match &flags.server {
            Some(server) if *server != failed.server => Ok(()),
            _ => row(failed),
        })
    })?;
    let message = match (since, &flags.server) {
        (None, None) => "no failed login was seen yet",
        _ => "no failed login that was seen fits",
    };
    super::explain_emptiness(flags.format, rows, message);
    Ok(ExitStatus::Fine)
}
