//! `conntracker quarantine`: what was not believed, why, and who wrote it?

use crate::cli::SinceFlags;
use crate::config::Config;
use crate::error::{ExitStatus, Result};
use crate::report::{self, Look};
use crate::store::Doubtful;
use crate::time::UtcSeconds;

/// Prints the records that were not believed and that the flags ask for.
pub(super) fn print(flags: &SinceFlags, config: &Config) -> Result<ExitStatus> {
    let now = UtcSeconds::now();
    let since = flags
        .since
        .map(|span| UtcSeconds(now.0.saturating_sub(span.0)));
    let mut store = super::open_store(config)?;
    let look = Look::of_stdout(config.time_zone, now);
    let rows = report::print(flags.format, &look, super::stdout(), |row| {
        store.quarantine(since, &mut |doubtful: Doubtful| match &flags.server {
            Some(server) if *server != doubtful.server => Ok(()),
            _ => row(doubtful),
        })
    })?;
    let message = match (since, &flags.server) {
        (None, None) => "every record was believed so far",
        _ => "no record that was not believed fits",
    };
    super::explain_emptiness(flags.format, rows, message);
    Ok(ExitStatus::Fine)
}
