//! `conntracker report --html FILE`: one page to look at, to mail and to keep.

use std::path::Path;

use super::look::{Answer, look};
use super::replace::{must_not_be_read, write_file};
use crate::cli::ReportFlags;
use crate::config::Config;
use crate::error::{ExitStatus, Result};
use crate::report::{self, Page, Rhythms};
use crate::store::ActivityFilter;
use crate::store::activity::end_of_time;

/// Makes the checks as `check` does, and writes the page. What is found is for the reader of the page:
/// the caller is told only whether all could be read.
pub(super) fn write(flags: &ReportFlags, config: &Config) -> Result<ExitStatus> {
    must_not_be_read(&flags.html, config)?;
    look(&config.check.policy, true, config, |answer| {
        tell(answer, &flags.html, config)
    })
}

fn tell(answer: Answer<'_>, path: &Path, config: &Config) -> Result<ExitStatus> {
    let mut rhythms = Rhythms::new(config.time_zone);
    if let Some(store) = answer.store {
        let filter = ActivityFilter {
            server: answer.checked.server.clone(),
            ..ActivityFilter::default()
        };
        // One row of a clock that was ahead would leave no day of ours in the drawing.
        let latest = end_of_time(answer.checked.checked_at);
        store.activity(&filter, &mut |row| {
            if row.slot.start <= latest {
                rhythms.add(row);
            }
            Ok(())
        })?;
    }
    let page = Page {
        checked: &answer.checked,
        log: answer.log,
        rhythms: &rhythms,
        last_status: answer.last_status,
        unasked: answer.unasked,
        zone: config.time_zone,
    };
    if path.as_os_str() == "-" {
        report::print_html(&page, super::stdout())?;
    } else {
        write_file(path, |out| report::print_html(&page, out))?;
    }
    Ok(answer.status)
}
