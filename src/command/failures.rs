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
    let (list, mut out) = (&flags.list, super::stdout());
    let mut attempts = 0;
    let printed = report::print(list.format, &look, list.limit(), &mut out, |row| {
        store.failed_connects(since, &mut |failed: FailedConnect| match &list.server {
            Some(server) if *server != failed.server => Ok(()),
            _ => {
                attempts += failed.attempts;
                row(failed)
            }
        })
    })?;
    let nothing = match (since, &list.server) {
        (None, None) => "no failed login was seen yet",
        _ => "no failed login that was seen fits",
    };
    let summary = super::counted(attempts, "failed login");
    super::conclude(list, &look, &printed, &mut out, nothing, &summary)?;
    Ok(ExitStatus::Fine)
}
