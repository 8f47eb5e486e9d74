//! `conntracker init`: from a database host to one whose accounts are watched. It looks, and prints;
//! the only thing that it ever writes is a configuration file where there is none.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use log::error;

use crate::cli::{InitFlags, Settings};
use crate::config::{self, Config, Loaded};
use crate::error::{Error, ExitStatus, Result};
use crate::machine::{self, Host, Machine, OsUser, Standing};
use crate::mariadb::{self, Access};
use crate::name::escape;
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
    let host = Host::look(&situation.user, log, &config.sqlite.path);
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
    // What is printed and written is for shells and for cron, which are in other folders.
    let file = absolute(&file)?;
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
    let mut wanted = read.load(&settings)?;
    make_absolute(&mut wanted.config)?;
    let base = read.alone()?;
    let is_given = |key: &str| {
        let origin = wanted.origins.get(key);
        origin.is_some_and(|origin| origin.starts_with("from "))
    };
    let configured_zone = Some(wanted.config.time_zone).filter(|_| is_given("time_zone"));
    let machine_zone = Zone::of_the_system();
    let base_zone = match base.origins.get("time_zone") {
        Some(origin) if origin.starts_with("from ") => Some(base.config.time_zone),
        _ => machine_zone,
    };
    let (user, account) = names(flags.run_as.as_deref(), &wanted.config.server);
    let mut situation = Situation {
        file_is_default: file == default,
        file_exists,
        log_is_given: is_given("audit_log"),
        base: base.config,
        base_zone,
        wanted: wanted.config,
        user,
        account,
        zones: Zones {
            configured: configured_zone,
            machine: machine_zone,
            clock: machine::ServerClock::Unknown,
        },
        doubtful_socket: None,
        server: Err(String::new()),
        logs: Host::audit_logs(),
        syslog_files: Host::syslog_files(),
        file,
    };
    let machine = ask(asking.config, &mut situation);
    Ok((situation, machine))
}

/// The operating system's user who will run it, and his account. An account with a password says
/// nothing of the user.
fn names(run_as: Option<&str>, access: &Access) -> (String, String) {
    let (own, other) = match (&access.user, access.has_password()) {
        (Some(name), true) => (None, Some(name.clone())),
        (name, _) => (name.as_deref(), None),
    };
    let user = run_as.or(own).unwrap_or_else(|| usual_user()).to_owned();
    let account = other.unwrap_or_else(|| user.clone());
    (user, account)
}

/// The path from the root on. One that begins there stays as somebody wrote it.
fn absolute(path: &Path) -> Result<PathBuf> {
    // Whoever reads an empty one says what is wrong.
    match path.is_absolute() || path.as_os_str().is_empty() {
        true => Ok(path.to_owned()),
        false => std::path::absolute(path).map_err(|error| Error::file(path, error)),
    }
}

fn make_absolute(config: &mut Config) -> Result<()> {
    let logs = config.audit_log.iter_mut();
    let given = [&mut config.server, &mut config.mariadb.access]
        .into_iter()
        .flat_map(|access| {
            let paths = [
                &mut access.socket,
                &mut access.tls_ca,
                &mut access.password_file,
                &mut access.defaults_file,
            ];
            paths.into_iter().flatten()
        });
    for path in logs
        .filter(|path| path.as_os_str() != "-")
        .chain([&mut config.sqlite.path])
        .chain(given)
    {
        *path = absolute(path)?;
    }
    Ok(())
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
        let standing = |path: &Path| machine::standing(path, path == usual);
        let found = choose(&listening, &usual, standing);
        let taken = found.as_ref().map_or(&usual, |(path, _)| path);
        others = listening;
        others.retain(|path| path != taken);
        if found.is_none() && taken.exists() {
            situation.server = Err(format!(
                "{} is not asked: it belongs neither to root nor to the server's user, and anybody \
                 could have put it there. --socket names it, if it is the server's",
                escape(taken.as_os_str().as_encoded_bytes())
            ));
            return Machine::unseen("the server was not asked");
        }
        let doubtful = found
            .as_ref()
            .filter(|(_, standing)| *standing == Standing::Doubtful);
        situation.doubtful_socket = doubtful.map(|(path, _)| path.clone());
        access.socket = Some(taken.clone());
        socket = found.map(|(path, _)| path).filter(|path| *path != usual);
    }
    match server::look(access, &asking.mariadb.database) {
        Err(problem) => {
            let others: Vec<_> = others
                .iter()
                .map(|path| escape(path.as_os_str().as_encoded_bytes()))
                .collect();
            let others = match &*others.join(", ") {
                "" => String::new(),
                others => format!(". Somebody listens at {others}"),
            };
            situation.server = Err(format!(
                "{problem}. init asks it as root, or as any user whom it lets in over its socket \
                 (--user, --socket){others}"
            ));
            Machine::unseen("the server was not asked")
        }
        Ok(setup) => {
            let settings = &setup.facts.settings;
            if let (Some(data), Some(path)) = (settings.get("datadir"), settings.get("socket")) {
                situation.zones.clock = machine::server_clock(&Path::new(data).join(path));
            }
            let log = machine::audit_log_of(settings);
            let machine = Machine::look(&setup.facts, super::live_files(&situation.wanted));
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

/// The socket to ask where nobody named one: the usual one before others, what is sure before what is
/// doubtful, and nothing that may be anybody's. Something may lie where nobody listens any more; the
/// usual one can also be that of a server in a container.
fn choose(
    listening: &[PathBuf],
    usual: &Path,
    standing: impl Fn(&Path) -> Standing,
) -> Option<(PathBuf, Standing)> {
    let is_usual = |path: &&Path| *path == usual;
    let all = || listening.iter().map(PathBuf::as_path);
    let in_order = all()
        .filter(is_usual)
        .chain(all().filter(|path| !is_usual(path)));
    let judged: Vec<_> = in_order.map(|path| (path, standing(path))).collect();
    let first = |wanted| {
        judged
            .iter()
            .find(|(_, standing)| *standing == wanted)
            .copied()
    };
    let found = first(Standing::Sure).or_else(|| first(Standing::Doubtful));
    let unheard = || Some((usual, standing(usual))).filter(|(_, it)| *it != Standing::Foreign);
    let (path, standing) = found.or_else(unheard)?;
    Some((path.to_owned(), standing))
}

/// Writes the configuration where there is no file yet, and never half of it.
fn write(situation: &Situation, proposal: &Proposal) -> Result<()> {
    let path = &situation.file;
    if situation.server.is_err() {
        return Err(Error::Config(
            "no configuration is written, for the server could not be asked".into(),
        ));
    }
    if let Some(socket) = &situation.doubtful_socket {
        return Err(Error::Config(format!(
            "no configuration is written, for others than the server's user could have put {} there; \
             --socket names it, if it is the server's",
            escape(socket.as_os_str().as_encoded_bytes())
        )));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_may_be_anybodys_is_never_asked() {
        use Standing::{Doubtful, Foreign, Sure};
        let usual = Path::new("/usual");
        for (listening, usual_is, expected) in [
            (&["/foreign"][..], Foreign, None),
            (&["/usual"], Foreign, None),
            (&[], Foreign, None),
            (&["/foreign", "/sure"], Foreign, Some(("/sure", Sure))),
            (&["/doubtful", "/sure"], Foreign, Some(("/sure", Sure))),
            (
                &["/doubtful", "/usual"],
                Foreign,
                Some(("/doubtful", Doubtful)),
            ),
            (&["/doubtful", "/usual"], Sure, Some(("/usual", Sure))),
            (&["/sure", "/usual"], Doubtful, Some(("/sure", Sure))),
            (
                &["/doubtful", "/usual"],
                Doubtful,
                Some(("/usual", Doubtful)),
            ),
            // It listens in a container.
            (&["/foreign"], Sure, Some(("/usual", Sure))),
        ] {
            let paths: Vec<_> = listening.iter().map(PathBuf::from).collect();
            let standing = |path: &Path| match path.to_str() {
                Some("/sure") => Sure,
                Some("/doubtful") => Doubtful,
                Some("/usual") => usual_is,
                _ => Foreign,
            };
            let expected = expected.map(|(path, standing)| (PathBuf::from(path), standing));
            let found = choose(&paths, usual, standing);
            assert_eq!(found, expected, "{listening:?}, the usual one {usual_is:?}");
        }
    }

    #[test]
    fn an_account_with_a_password_is_not_a_user_of_the_system() {
        let mut access = Access {
            user: Some("audit".into()),
            ..Access::default()
        };
        let names_are = |access: &Access, run_as, expected: (&str, &str)| {
            let (user, account) = names(run_as, access);
            assert_eq!((&*user, &*account), expected, "{access:?}");
        };
        names_are(&access, None, ("audit", "audit"));
        names_are(&access, Some("joe"), ("joe", "joe"));
        access.password_file = Some("/etc/conntracker/password".into());
        names_are(&access, None, (usual_user(), "audit"));
        names_are(&access, Some("joe"), ("joe", "audit"));
        access.user = None;
        names_are(&access, Some("joe"), ("joe", "joe"));
    }
}
