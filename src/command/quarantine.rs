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
    let (list, mut out) = (&flags.list, super::stdout());
    let printed = report::print(list.format, &look, list.limit(), &mut out, |row| {
        store.quarantine(since, &mut |doubtful: Doubtful| match &list.server {
            Some(server) if *server != doubtful.server => Ok(()),
            _ => row(doubtful),
        })
    })?;
    let nothing = match (since, &list.server) {
        (None, None) => "every record was believed so far",
        _ => "no record that was not believed fits",
    };
    let summary = super::counted(printed.rows, "doubtful record");
    super::conclude(list, &look, &printed, &mut out, nothing, &summary)?;
    Ok(ExitStatus::Fine)
}
