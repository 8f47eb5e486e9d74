//! `conntracker init`: from a database host to one whose accounts are watched. It looks, and prints;
//! the only thing that it ever writes is a configuration file where there is none.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use log::error;

use crate::audit_log::source;
use crate::cli::{InitFlags, Settings};
use crate::config::{self, Config, Loaded};
use crate::error::{Error, ExitStatus, Result};
use crate::machine::{self, Host, Machine, OsUser};
use crate::mariadb;
use crate::server;
use crate::setup::{Proposal, Seen, Situation, USUAL_USER, Zones, decide};
use crate::time::Zone;

/// The user in README's examples, whom earlier installations have.
const EARLIER_USER: &str = "conntrack";

/// Modes of what is written: whoever may run conntracker may read its settings. Passwords are in files
/// of their own, and those are refused if others may read them.
const FILE_MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o755;

/// Prints what fits, and writes the configuration if it should.
pub(super) fn print(flags: &InitFlags, settings: &Settings) -> Result<ExitStatus> {
    let (situation, machine) = look(flags, settings)?;
    let mut status = ExitStatus::Fine;
    if let Err(why) = &situation.server {
        error!("{why}");
        status = ExitStatus::Failed;
    }
    let (config, notes) = decide(&situation);
    let log = config
        .audit_log
        .first()
        .map_or(Path::new("/"), PathBuf::as_path);
    let host = Host::look(&situation.account, log, &config.sqlite.path);
    let proposal = Proposal::new(&situation, (config, notes), &machine, &host);
    if proposal.has_doubts() {
        status = status.max(ExitStatus::Warning);
    }
    let mut written = None;
    if flags.write {
        match write(&situation, &proposal) {
            Ok(()) => written = Some(&*situation.file),
            Err(problem) => {
                error!("{problem}");
                status = ExitStatus::Failed;
            }
        }
    }
    let mut out = super::stdout();
    out.write_all(proposal.text(written).as_bytes())?;
    out.flush()?;
    Ok(status)
}

/// Looks at the configuration, the server and the machine.
fn look(flags: &InitFlags, settings: &Settings) -> Result<(Situation, Machine)> {
    let folder = Path::new(config::DEFAULT_FOLDER);
    let file = config::file(settings.config.as_deref(), std::env::vars_os(), folder);
    let file_exists = match file.try_exists() {
        Ok(exists) => exists,
        // What can't be seen is told when it is read.
        Err(error) => error.kind() != io::ErrorKind::NotADirectory,
    };
    let default = folder.join("conntracker.toml");
    let read = Files {
        file_exists,
        is_named: file != default,
        path: &file,
    };
    // --user says who asks now, not who will run it.
    let asked_as = settings;
    let settings = Settings {
        user: None,
        ..asked_as.clone()
    };
    let asking = read.load(asked_as)?;
    let wanted = read.load(&settings)?;
    let base = read.alone()?;
    let is_given = |key: &str| {
        let origin = wanted.origins.get(key);
        origin.is_some_and(|origin| origin.starts_with("from "))
    };
    let configured_zone = Some(wanted.config.time_zone).filter(|_| is_given("time_zone"));
    let machine_zone = Host::time_zone();
    let base_zone = match base.origins.get("time_zone") {
        Some(origin) if origin.starts_with("from ") => Some(base.config.time_zone),
        _ => machine_zone,
    };
    let account = flags
        .run_as
        .clone()
        .or_else(|| wanted.config.server.user.clone())
        .unwrap_or_else(|| usual_user().to_owned());
    let mut situation = Situation {
        file_is_default: file == default,
        file_exists,
        log_is_given: is_given("audit_log"),
        base: base.config,
        base_zone,
        wanted: wanted.config,
        account,
        zones: Zones {
            configured: configured_zone,
            machine: machine_zone,
            clock: machine::ServerClock::Unknown,
        },
        server: Err(String::new()),
        logs: Host::audit_logs(),
        syslog_files: Host::syslog_files(),
        file,
    };
    let machine = ask(asking.config, &mut situation);
    Ok((situation, machine))
}

/// The user who is there; else the one that the package would make.
fn usual_user() -> &'static str {
    let there = [USUAL_USER, EARLIER_USER]
        .into_iter()
        .find(|name| OsUser::find(name).is_some());
    there.unwrap_or(USUAL_USER)
}

/// The configuration file, as it is.
struct Files<'a> {
    path: &'a Path,
    file_exists: bool,
    /// Not the usual one.
    is_named: bool,
}

impl Files<'_> {
    /// What holds with these settings. A file that is named and not there is the one to be written.
    fn load(&self, settings: &Settings) -> Result<Loaded> {
        self.with_zone(|zone| {
            let flags = [zone, super::flags(settings)?].concat();
            match self.is_named && !self.file_exists {
                true => config::load_without_file(flags, std::env::vars_os()),
                false => {
                    let folder = Path::new(config::DEFAULT_FOLDER);
                    config::load(
                        settings.config.as_deref(),
                        flags,
                        std::env::vars_os(),
                        folder,
                    )
                }
            }
        })
    }

    /// What holds by the file alone, or by nothing.
    fn alone(&self) -> Result<Loaded> {
        self.with_zone(|zone| match self.file_exists {
            true => config::load(Some(self.path), zone, [], Path::new("")),
            false => config::load_without_file(zone, []),
        })
    }

    /// Where this machine's time zone has no name, that must not be the end: the server's may have one.
    fn with_zone(&self, load: impl Fn(Vec<config::Layer>) -> Result<Loaded>) -> Result<Loaded> {
        match load(Vec::new()) {
            Err(_) if Zone::of_this_machine().is_none() => {
                let utc = config::Layer::flag("--time-zone", "time_zone", "UTC".as_ref())?;
                let mut loaded = load(vec![utc])?;
                loaded.origins.insert("time_zone", "default".into());
                Ok(loaded)
            }
            loaded => loaded,
        }
    }
}

/// Asks the server, and looks at what the machine says of it.
fn ask(mut asking: Config, situation: &mut Situation) -> Machine {
    let access = &mut asking.server;
    let listening = machine::listening_servers();
    let usual = mariadb::usual_socket();
    let mut others = Vec::new();
    let mut socket = access.socket.clone();
    if socket.is_none() && access.defaults_file.is_none() {
        // Something may lie where nobody listens any more.
        let found = listening
            .iter()
            .find(|path| **path == usual)
            .or(listening.first());
        if let Some(found) = found {
            others = listening
                .iter()
                .filter(|path| *path != found)
                .cloned()
                .collect();
            socket = Some(found.clone()).filter(|path| *path != usual);
        }
        access.socket.clone_from(&socket);
    }
    match server::look(access, &asking.mariadb.database) {
        Err(problem) => {
            situation.server = Err(format!(
                "{problem}. init asks it as root, or as any user whom it lets in over its socket \
                 (--user, --socket)"
            ));
            Machine::unseen("the server was not asked")
        }
        Ok(setup) => {
            let settings = &setup.facts.settings;
            if let (Some(data), Some(path)) = (settings.get("datadir"), settings.get("socket")) {
                situation.zones.clock = machine::server_clock(&Path::new(data).join(path));
            }
            let log = machine::audit_log_of(settings);
            let machine = Machine::look(&setup.facts, live_files(&situation.wanted));
            let is_here = machine.socket.is_ok();
            let id = log.as_ref().and_then(|path| fs::metadata(path).ok());
            let id = id.map(|meta| (meta.dev(), meta.ino()));
            let is_read = |(path, read): &(PathBuf, Option<(u64, u64)>)| {
                Some(path) == log.as_ref() || id.is_some() && *read == id
            };
            let plugins = settings.get("plugin_dir").map(Path::new);
            let plugin = plugins.map(|folder| folder.join("server_audit.so"));
            situation.server = Ok(Seen {
                plugin_file_missing: is_here && plugin.is_some_and(|path| !path.exists()),
                setup,
                socket,
                others,
                is_here,
                log_is_read: machine.read.iter().any(is_read),
                log,
            });
            machine
        }
    }
}

/// The live files of the logs that are configured.
fn live_files(config: &Config) -> Vec<PathBuf> {
    let (logs, problems) = source::find(&config.audit_log);
    match problems.is_empty() {
        true => logs.iter().map(source::Log::path).collect(),
        false => config.audit_log.clone(),
    }
}

/// Writes the configuration where there is no file yet, and never half of it.
fn write(situation: &Situation, proposal: &Proposal) -> Result<()> {
    let path = &situation.file;
    if situation.server.is_err() {
        return Err(Error::Config(
            "no configuration is written, for the server could not be asked".into(),
        ));
    }
    if path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("ini"))
    {
        return Err(Error::Config(
            "--config: a file .ini is read as one of the Go program; name a file .toml".into(),
        ));
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.exists()) {
        fs::create_dir_all(folder)
            .and_then(|()| fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE)))
            .map_err(|error| Error::file(folder, error))?;
    }
    let mut file = File::create_new(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::Content {
            path: path.clone(),
            message: "is there already and is left as it is; init prints what it would hold".into(),
        },
        _ => Error::file(path, error),
    })?;
    let written = file
        .write_all(proposal.configuration.body.as_bytes())
        .and_then(|()| file.set_permissions(Permissions::from_mode(FILE_MODE)))
        .and_then(|()| file.sync_all());
    written.map_err(|error| {
        // It is ours, and worth nothing.
        let _ = fs::remove_file(path);
        Error::file(path, error)
    })
}
