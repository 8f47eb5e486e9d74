//! What a run leaves for Prometheus: a file that node_exporter's textfile collector reads.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use super::replace::replace;
use crate::config::RunConfig;
use crate::error::{Error, ExitStatus, Result};
use crate::report::prometheus::{
    self, AccountFigures, Figures, PassFigures, ServerFigures, last_success,
};
use crate::store::{AccountFilter, Order, SortBy, Store};
use crate::time::UtcSeconds;

/// How many accounts have series of their own at the most: each is kept by Prometheus for as long as it
/// keeps anything, and the hosts of clients may be ever new ones.
const MAX_ACCOUNTS: usize = 10_000;

/// The time of the last success stands near the beginning.
const BEGINNING: u64 = 16 * 1024;

/// What a run learns on its way.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// What was read, a store each.
    pub(super) passes: Vec<PassFigures>,
    /// What the first store that was there knows.
    pub(super) known: Option<Known>,
    /// A store was there, and would not say.
    pub(super) untold: bool,
}

/// What a store knows of the servers whose logs are read here.
#[derive(Debug, Default)]
pub(super) struct Known {
    servers: Vec<ServerFigures>,
    accounts: Option<AccountFigures>,
}

impl Known {
    /// Asks `store`.
    pub(super) fn of(store: &mut dyn Store, config: &RunConfig) -> Result<Self> {
        // Not those of other machines, which say for themselves how they are.
        let own = |(_, checkpoint): (String, crate::checkpoint::Checkpoint)| {
            let is_named = checkpoint.generation > 0 && !checkpoint.server.0.is_empty();
            is_named.then_some(checkpoint.server)
        };
        let mut names: Vec<_> = store.checkpoints()?.into_iter().filter_map(own).collect();
        names.sort_unstable();
        names.dedup();
        let mut known = Self {
            accounts: config.textfile_accounts.then(AccountFigures::default),
            ..Self::default()
        };
        for server in names {
            let coverage = store.coverage(&server)?;
            let newest = coverage.iter().map(|span| span.to).max();
            let gaps = coverage.iter().filter(|span| span.gap.is_some()).count();
            let mut filter = AccountFilter {
                server: Some(server.clone()),
                ..AccountFilter::default()
            };
            let (mut checked_at, mut states) = (None, Vec::new());
            store.account_statuses(&filter, &mut |judged| {
                checked_at = Some(judged.checked_at);
                states.push(judged.status.state);
                Ok(())
            })?;
            if let Some(accounts) = &mut known.accounts {
                filter.order = Order {
                    by: SortBy::LastActive,
                    reverse: true,
                };
                store.accounts(&filter, &mut |used| {
                    match accounts.rows.len() < MAX_ACCOUNTS {
                        true => accounts.rows.push(used),
                        false => accounts.omitted += 1,
                    }
                    Ok(())
                })?;
            }
            known.servers.push(ServerFigures {
                newest_record: newest,
                gaps: gaps as u64,
                failed: store.failed_attempts(&server)?,
                judged: checked_at.map(|at| (at, states)),
                server,
            });
        }
        if let Some(accounts) = &mut known.accounts {
            // So that two files can be compared.
            let names = |used: &crate::store::AccountUse| {
                (used.server.clone(), used.name.clone(), used.host.clone())
            };
            accounts.rows.sort_by_cached_key(names);
        }
        Ok(known)
    }
}

/// Writes the file after a run that took `duration` and ended with `status`.
///
/// # Errors
/// If it can't be written. What stood there before stays.
pub(super) fn write(
    path: &Path,
    gathered: Gathered,
    status: ExitStatus,
    duration: Duration,
) -> Result<()> {
    let success = status != ExitStatus::Failed;
    let now = UtcSeconds::now();
    // The store does not know: a good run that finds nothing new leaves nothing there.
    let last_success = match success {
        true => Some(now),
        false => beginning(path).as_deref().and_then(last_success),
    };
    let Known { servers, accounts } = gathered.known.unwrap_or_default();
    let figures = Figures {
        success,
        ended_at: now,
        last_success,
        duration,
        passes: gathered.passes,
        servers,
        accounts,
    };
    let fail = |error| Error::textfile(path, error);
    // The exporter is another user, so everybody may read it.
    replace(path, 0o644, fail, |out| prometheus::print(&figures, out))
}

/// What the file begins with that is there now.
fn beginning(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    let is_file = fs::metadata(path).is_ok_and(|meta| meta.is_file());
    let file = is_file.then(|| File::open(path))?.ok()?;
    file.take(BEGINNING).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
