//! What a run leaves for Prometheus: a file that node_exporter's textfile collector reads.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    replace(path, |file| prometheus::print(&figures, file))
}

/// What the file begins with that is there now.
fn beginning(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    let is_file = fs::metadata(path).is_ok_and(|meta| meta.is_file());
    let file = is_file.then(|| File::open(path))?.ok()?;
    file.take(BEGINNING).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Puts a new file in the place of `path`, at once: whoever reads it finds the old one or the new
/// one. The exporter is another user, so everybody may read it, whatever the umask is.
fn replace(path: &Path, write: impl FnOnce(BufWriter<&File>) -> Result<()>) -> Result<()> {
    let scratch = beside(path);
    let failed = |error| Error::textfile(path, error);
    let create = || {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&scratch)
    };
    let file = match create() {
        // Left by a run that was killed and had our number.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(&scratch).map_err(failed)?;
            create()
        }
        created => created,
    };
    let file = file.map_err(failed)?;
    let written = write(BufWriter::new(&file)).map_err(|error| match error {
        Error::Output(error) => failed(error),
        other => other,
    });
    let done = written
        .and_then(|()| {
            let readable = Permissions::from_mode(0o644);
            file.set_permissions(readable).map_err(failed)
        })
        .and_then(|()| fs::rename(&scratch, path).map_err(failed));
    if done.is_err() {
        // It may be gone already.
        let _ = fs::remove_file(&scratch);
    }
    done
}

/// A name in the same folder that the collector does not read.
fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.prom");
        fs::write(&path, "old").unwrap();
        fs::write(beside(&path), "left behind").unwrap();
        replace(&path, |mut file| Ok(file.write_all(b"new")?)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        let error = replace(&path, |_| Err(io::Error::other("full").into())).unwrap_err();
        assert!(error.to_string().contains("a.prom"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
