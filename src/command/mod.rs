//! What each command does, one file a command, and nothing but glue: settings in, work, rows out.

mod accounts;
mod check;
mod config;
mod failures;
mod init;
mod look;
mod quarantine;
mod replace;
mod report;
pub mod run;
mod schema;
mod textfile;
mod version;
mod which;

use std::io::{self, BufWriter, StdoutLock, Write};
use std::path::{Path, PathBuf};

use crate::audit_log::source;
use crate::cli::{AccountsFlags, Command, Invocation, ListFlags, RunFlags, Settings};
use crate::config::{Config, Layer, Loaded, MariaDbConfig, StoreKind};
use crate::error::{Error, ExitStatus, Result};
use crate::report::{Format, Look, Printed};
use crate::store::{MariaDb, Sqlite, Store};

/// Does what was asked for.
pub fn dispatch(invocation: &Invocation) -> Result<ExitStatus> {
    let settings = &invocation.settings;
    match &invocation.command {
        Command::Run(flags) => run_and_report(flags, &load_with(settings, run_flags(flags)?)?),
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
        Command::Init(flags) => until_pipe_closes(init::print(flags, settings)),
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
    let all = AccountsFlags::default();
    Ok(status.max(until_pipe_closes(accounts::print(&all, &loaded.config))?))
}

/// The settings of the command line.
fn flags(settings: &Settings) -> Result<Vec<Layer>> {
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
    Ok(flags)
}

/// The settings that only `run` takes.
fn run_flags(run: &RunFlags) -> Result<Vec<Layer>> {
    let mut flags = Vec::new();
    if let Some(path) = &run.textfile {
        flags.push(Layer::flag("--textfile", "run.textfile", path.as_os_str())?);
    }
    if run.textfile_accounts {
        let key = "run.textfile_accounts";
        flags.push(Layer::plain("--textfile-accounts", key, true));
    }
    if let Some(threads) = run.threads {
        flags.push(Layer::plain("--threads", "run.threads", threads.get()));
    }
    Ok(flags)
}

/// The configuration, the settings of the command line laid over it.
fn load(settings: &Settings) -> Result<Loaded> {
    load_with(settings, Vec::new())
}

/// The same with more of the command line.
fn load_with(settings: &Settings, more: Vec<Layer>) -> Result<Loaded> {
    let mut flags = flags(settings)?;
    flags.extend(more);
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

/// The live files of the logs that are configured.
fn live_files(config: &Config) -> Vec<PathBuf> {
    let files: Vec<_> = config
        .audit_log
        .iter()
        .filter(|path| path.as_os_str() != "-")
        .cloned()
        .collect();
    let (logs, problems) = source::find(&files);
    match problems.is_empty() {
        true => logs.iter().map(source::Log::path).collect(),
        // What is not there is told as such.
        false => files,
    }
}

fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(64 * 1024, io::stdout().lock())
}

/// Ends a list for a person: says why it is empty, on a terminal what it holds, and how many rows it
/// does not show. A program sees all that in the output itself.
fn conclude(
    list: &ListFlags,
    look: &Look,
    printed: &Printed,
    mut out: impl Write,
    nothing: &str,
    summary: &str,
) -> Result<()> {
    if list.format != Format::Table || log::max_level() < log::Level::Warn {
        return Ok(());
    }
    // If what is for stderr can't be written, there is no one left to tell.
    if printed.rows == 0 {
        let _ = writeln!(io::stderr(), "conntracker: {nothing}");
        return Ok(());
    }
    if look.width.is_some() {
        let common = printed.common.iter();
        let common = common.map(|(column, value)| match *column {
            "checked_at" => format!("; judged {value}"),
            column => format!("; {column} {value}"),
        });
        let common: String = common.collect();
        let zone = match printed.local_times {
            true => format!("; times in {}", look.zone),
            false => String::new(),
        };
        writeln!(out, "\n{summary}{common}{zone}")?;
        if printed.cut {
            writeln!(out, "…: names cut short; --format json has them whole")?;
        }
        out.flush()?;
    }
    if let more @ 1.. = printed.rows - printed.shown {
        let _ = writeln!(
            io::stderr(),
            "conntracker: {more} more rows are not shown; --limit 0 shows all"
        );
    }
    Ok(())
}

/// `1 account`, `2 accounts`.
fn counted(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
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
