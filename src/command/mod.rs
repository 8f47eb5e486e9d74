//! What each command does, one file a command, and nothing but glue: settings in, work, rows out.

mod accounts;
mod check;
mod config;
mod failures;
mod look;
mod quarantine;
mod report;
pub mod run;
mod schema;
mod version;
mod which;

use std::fs::OpenOptions;
use std::io::{self, BufWriter, StdoutLock, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::cli::{Command, Invocation, RunFlags, Settings};
use crate::config::{Config, Layer, Loaded, MariaDbConfig, StoreKind};
use crate::error::{Error, ExitStatus, Result};
use crate::report::Format;
use crate::store::{MariaDb, Sqlite, Store};

/// Does what was asked for.
pub fn dispatch(invocation: &Invocation) -> Result<ExitStatus> {
    let settings = &invocation.settings;
    match &invocation.command {
        Command::Run(flags) => run_and_report(flags, &load(settings)?),
        Command::Accounts(flags) => {
            until_pipe_closes(accounts::print(flags, &load(settings)?.config))
        }
        Command::Failures(flags) => {
            until_pipe_closes(failures::print(flags, &load(settings)?.config))
        }
        Command::Quarantine(flags) => {
            until_pipe_closes(quarantine::print(flags, &load(settings)?.config))
        }
        Command::Check(flags) => until_pipe_closes(check::run(flags, &load(settings)?.config)),
        Command::Report(flags) => until_pipe_closes(report::write(flags, &load(settings)?.config)),
        Command::Which(flags) => until_pipe_closes(which::print(flags, &load(settings)?.config)),
        Command::Config => until_pipe_closes(config::print(&load(settings)?)),
        // These two must work where the configuration does not.
        Command::Schema => until_pipe_closes(schema::print(settings)),
        Command::Version => until_pipe_closes(version::print()),
    }
}

fn run_and_report(flags: &RunFlags, loaded: &Loaded) -> Result<ExitStatus> {
    let status = run::run(&loaded.config)?;
    if !flags.report {
        return Ok(status);
    }
    let all = crate::cli::AccountsFlags {
        unused_for: None,
        server: None,
        format: Format::Table,
    };
    Ok(status.max(until_pipe_closes(accounts::print(&all, &loaded.config))?))
}

/// The configuration, the settings of the command line laid over it.
fn load(settings: &Settings) -> Result<Loaded> {
    let mut flags = Vec::new();
    if !settings.audit_log.is_empty() {
        let paths = settings.audit_log.iter().map(|path| path.as_os_str());
        flags.push(Layer::flags("--audit-log", "audit_log", paths)?);
    }
    if !settings.store.is_empty() {
        let names = settings.store.iter().map(|store| store.name().as_ref());
        flags.push(Layer::flags("--store", "stores", names)?);
    }
    let socket = settings.socket.as_ref().map(|path| path.as_os_str());
    let user = settings.user.as_ref().map(|name| name.as_ref());
    for (flag, key, value) in [
        (
            "--time-zone",
            "time_zone",
            settings.time_zone.as_ref().map(|zone| zone.as_ref()),
        ),
        (
            "--server-name",
            "server_name",
            settings.server_name.as_ref().map(|name| name.as_ref()),
        ),
        (
            "--sqlite",
            "sqlite.path",
            settings.sqlite.as_ref().map(|path| path.as_os_str()),
        ),
        ("--socket", "mariadb.socket", socket),
        ("--socket", "server.socket", socket),
        ("--user", "mariadb.user", user),
        ("--user", "server.user", user),
    ] {
        if let Some(value) = value {
            flags.push(Layer::flag(flag, key, value)?);
        }
    }
    let folder = Path::new(crate::config::DEFAULT_FOLDER);
    let loaded = crate::config::load(
        settings.config.as_deref(),
        flags,
        std::env::vars_os(),
        folder,
    )?;
    // The Go program's LogLevel counts where nothing newer says how much to say.
    let variable = std::env::var_os("CONNTRACKER_LOG").is_some_and(|filters| !filters.is_empty());
    let said = settings.quiet || settings.verbose > 0 || variable;
    if let (Some(level), false) = (loaded.log_level, said) {
        log::set_max_level(level);
    }
    Ok(loaded)
}

/// The store that is asked: the first one. Only `run` creates it.
fn open_store(config: &Config) -> Result<Box<dyn Store>> {
    match config.stores.first() {
        Some(StoreKind::MariaDb) => {
            let MariaDbConfig { access, database } = &config.mariadb;
            Ok(Box::new(MariaDb::open_read_only(access, database)?))
        }
        _ => Ok(Box::new(Sqlite::open_read_only(&config.sqlite.path)?)),
    }
}

fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(64 * 1024, io::stdout().lock())
}

/// Writes a file that others may not read, in one step: whoever looks sees the old one or the whole new
/// one. Where something else than a file stands, such as a device, it is written to as it is.
fn write_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let fail = |error| Error::file(path, error);
    let about_file = |error| match error {
        Error::Output(error) => fail(error),
        other => other,
    };
    // A link stays, and what it leads to is replaced.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if target.metadata().is_ok_and(|meta| !meta.is_file()) {
        let mut device = OpenOptions::new().write(true).open(&target).map_err(fail)?;
        return write(&mut device).map_err(about_file);
    }
    let folder = target
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    // Mode 0600, and gone again if anything goes wrong.
    let mut file = NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(fail)?;
    let mut out = BufWriter::new(&mut file);
    write(&mut out)
        .and_then(|()| Ok(out.flush()?))
        .map_err(about_file)?;
    drop(out);
    file.as_file().sync_all().map_err(fail)?;
    file.persist(&target).map_err(|error| fail(error.error))?;
    Ok(())
}

/// Tells a person why a table is empty; a program sees it in the output itself.
fn explain_emptiness(format: Format, rows: u64, message: &str) {
    if rows == 0 && format == Format::Table && log::max_level() >= log::Level::Warn {
        // If not even that can be written, there is no one left to tell.
        let _ = writeln!(io::stderr(), "conntracker: {message}");
    }
}

/// `conntracker accounts | head` closes our output when it has seen enough: that is no failure.
fn until_pipe_closes(result: Result<ExitStatus>) -> Result<ExitStatus> {
    match result {
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Ok(ExitStatus::Fine)
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_fine_and_a_full_disk_is_not() {
        let failed = |kind: io::ErrorKind| until_pipe_closes(Err(io::Error::from(kind).into()));
        assert!(matches!(
            failed(io::ErrorKind::BrokenPipe),
            Ok(ExitStatus::Fine)
        ));
        assert!(matches!(
            failed(io::ErrorKind::StorageFull),
            Err(Error::Output(_))
        ));
    }
}
