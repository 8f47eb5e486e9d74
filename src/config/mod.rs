//! What the program is to do, in the words of its domain: settings of defaults, a file, the
//! environment and flags, each layer over the one before, checked as a whole before any work.
//!
//! A wrong setting must never pass for a right one: the Go program stored nothing and said nothing.
//! So every mistake is one error that names the key, the place and what would be right.

mod ini;
mod layer;
pub(crate) mod toml;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use figment::{Figment, Metadata};
use log::LevelFilter;
use serde::de::DeserializeOwned;

use crate::check::expected::Client;
use crate::check::registry::{self, Check};
use crate::check::{Acceptance, Policy, Severity};
use crate::error::{Error, Result};
use crate::mariadb::Access;
use crate::name::escape;
use crate::store::Retention;
use crate::time::{Span, Zone};

pub use layer::Layer;

/// Where the audit plugin writes unless told otherwise, in the data directory that is usual.
const DEFAULT_AUDIT_LOG: &str = "/var/lib/mysql/server_audit.log";
const DEFAULT_SQLITE: &str = "/var/lib/conntracker/conntracker.sqlite";
/// The database that holds the tables in MariaDB, unless told otherwise.
pub const DEFAULT_DATABASE: &str = "conntrack";
const DEFAULT_UNUSED_AFTER: &str = "90d";
const DEFAULT_HOURS_KEPT: &str = "35d";
const DEFAULT_DAYS_KEPT: &str = "400d";
/// This machine.
const DEFAULT_CLIENTS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// Databases in which no tables of ours belong.
const SYSTEM_DATABASES: [&str; 4] = ["mysql", "information_schema", "performance_schema", "sys"];
/// The folder of the configuration files that are read unless another one is named.
pub const DEFAULT_FOLDER: &str = "/etc/conntracker";

/// What to read and where to keep the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The audit logs: live files, folders, globs; `-` is standard input. Never empty.
    pub audit_log: Vec<PathBuf>,
    /// The time zone of the database server's clock, in which the log is written.
    pub time_zone: Zone,
    /// What to call the database server; none: the serverhost that the log names.
    pub server_name: Option<String>,
    /// Where to keep the answer. Never empty, each kind once.
    pub stores: Vec<StoreKind>,
    /// What a run does beside its work.
    pub run: RunConfig,
    /// The SQLite store.
    pub sqlite: SqliteConfig,
    /// The MariaDB store.
    pub mariadb: MariaDbConfig,
    /// The audited server, read over its unix socket.
    pub server: Access,
    /// How long activity is kept.
    pub activity: Retention,
    /// What `check` goes by.
    pub check: CheckConfig,
}

/// What a run does beside its work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunConfig {
    /// Where it leaves figures for Prometheus.
    pub textfile: Option<PathBuf>,
    /// Whether those of each account are among them.
    pub textfile_accounts: bool,
    /// How many threads may look through a long log; none: one for each processor, at most 8.
    pub threads: Option<NonZero<u8>>,
}

/// Settings of the SQLite store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteConfig {
    /// The database file.
    pub path: PathBuf,
}

/// Settings of the MariaDB store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MariaDbConfig {
    /// Where the server is, and who we are there.
    pub access: Access,
    /// The database that holds the tables.
    pub database: String,
}

/// What `check` goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckConfig {
    /// An account that was not used for so long counts as unused.
    pub unused_after: Span,
    /// Which checks are made, and what is accepted.
    pub policy: Policy,
}

/// The kinds of stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// A file on this machine.
    Sqlite,
    /// A database in a MariaDB server.
    MariaDb,
}

impl StoreKind {
    /// The kind by its name; the error says which names there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "sqlite" => Ok(Self::Sqlite),
            "mariadb" => Ok(Self::MariaDb),
            _ => Err(format!(
                "'{}' is not a store: write sqlite or mariadb",
                escape(text.as_bytes())
            )),
        }
    }

    /// The kind's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::MariaDb => "mariadb",
        }
    }
}

/// The configuration, and how it came about.
#[derive(Debug)]
pub struct Loaded {
    /// What holds.
    pub config: Config,
    /// Where each key's value comes from, in words: `default`, `from --sqlite`.
    pub origins: BTreeMap<&'static str, String>,
    /// The verbosity that the Go program's file asks for.
    pub log_level: Option<LevelFilter>,
}

/// Reads and checks the configuration. `given` is the file of `--config`, `flags` the settings of
/// the command line, `environment` all variables, `folder` where the default files lie.
pub fn load(
    given: Option<&Path>,
    flags: Vec<Layer>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    folder: &Path,
) -> Result<Loaded> {
    let variables = sorted(environment);
    let (file, log_level) = file_layers(given, &variables, folder)?;
    assemble(file, log_level, flags, &variables)
}

/// The same where there is no configuration file yet.
pub fn load_without_file(
    flags: Vec<Layer>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded> {
    assemble(Vec::new(), None, flags, &sorted(environment))
}

/// The configuration file that is read, or would be if it were there: that of `--config`, of the
/// environment, or the default one in `folder`.
pub fn file(
    given: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    folder: &Path,
) -> PathBuf {
    let variable = || {
        let mut variables = environment.into_iter();
        let (_, path) = variables.find(|(name, _)| name == "CONNTRACKER_CONFIG")?;
        Some(PathBuf::from(path))
    };
    given
        .map(Path::to_owned)
        .or_else(variable)
        .unwrap_or_else(|| folder.join("conntracker.toml"))
}

fn sorted(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<(OsString, OsString)> {
    let mut variables: Vec<_> = environment.into_iter().collect();
    variables.sort();
    variables
}

fn assemble(
    file: Vec<Layer>,
    log_level: Option<LevelFilter>,
    flags: Vec<Layer>,
    variables: &[(OsString, OsString)],
) -> Result<Loaded> {
    let figment = std::iter::once(Layer::defaults())
        .chain(file)
        .chain(layer::environment(variables)?)
        .chain(flags)
        .fold(Figment::new(), Figment::merge);
    let settings = Settings(figment);
    let mut origins = BTreeMap::new();
    for key in [
        "audit_log",
        "time_zone",
        "server_name",
        "stores",
        "run.textfile",
        "run.textfile_accounts",
        "run.threads",
        "sqlite.path",
        "mariadb.socket",
        "mariadb.host",
        "mariadb.port",
        "mariadb.tls",
        "mariadb.tls_ca",
        "mariadb.user",
        "mariadb.database",
        "mariadb.password_file",
        "mariadb.defaults_file",
        "server.socket",
        "server.user",
        "server.password_file",
        "server.defaults_file",
        "activity.hours_kept",
        "activity.days_kept",
        "check.unused_after",
        "check.expect_clients",
        "check.only",
        "check.skip",
        "check.severity",
        "check.accept",
    ] {
        origins.insert(key, settings.origin(key));
    }
    let mut config = settings.config()?;
    let password = layer::password(variables)?;
    if config.mariadb.access.host.is_none() {
        config.server.password.clone_from(&password);
    }
    config.mariadb.access.password = password;
    Ok(Loaded {
        config,
        origins,
        log_level,
    })
}

/// The layers of the file named by flag or environment, or else of the default one, if there is one.
fn file_layers(
    given: Option<&Path>,
    variables: &[(OsString, OsString)],
    folder: &Path,
) -> Result<(Vec<Layer>, Option<LevelFilter>)> {
    let variable = variables
        .iter()
        .find(|(name, _)| name == "CONNTRACKER_CONFIG");
    let (asked_by, paths) = match (given, variable) {
        (Some(path), _) => ("--config: ", vec![path.to_owned()]),
        (None, Some((_, path))) if path.is_empty() => {
            let message =
                "environment variable CONNTRACKER_CONFIG: it is empty; name a file or unset it";
            return Err(Error::Config(message.into()));
        }
        (None, Some((_, path))) => (
            "environment variable CONNTRACKER_CONFIG: ",
            vec![PathBuf::from(path)],
        ),
        (None, None) => (
            "",
            vec![
                folder.join("conntracker.toml"),
                folder.join("conntracker.ini"),
            ],
        ),
    };
    for path in paths {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && asked_by.is_empty() => {
                continue;
            }
            Err(error) => {
                let shown = escape(path.as_os_str().as_encoded_bytes());
                return Err(Error::Config(format!("{asked_by}{shown}: {error}")));
            }
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        if path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case(OsStr::new("ini")))
        {
            return layer::go_program(&path, text);
        }
        return Ok((vec![Layer::toml(&path, text)?], None));
    }
    Ok((Vec::new(), None))
}

/// The merged settings, on the way to a [`Config`].
struct Settings(Figment);

impl Settings {
    fn config(&self) -> Result<Config> {
        let mariadb = self.mariadb()?;
        Ok(Config {
            server: self.server(&mariadb.access)?,
            activity: self.activity()?,
            check: self.check()?,
            audit_log: self.list("audit_log", |path| match path {
                "" => Err("a path is empty".into()),
                path => Ok(PathBuf::from(path)),
            })?,
            time_zone: self.time_zone()?,
            server_name: self.text("server_name")?,
            stores: {
                let mut stores = Vec::new();
                for store in self.list("stores", StoreKind::parse)? {
                    if !stores.contains(&store) {
                        stores.push(store);
                    }
                }
                stores
            },
            run: self.run()?,
            sqlite: SqliteConfig {
                path: self
                    .text("sqlite.path")?
                    .map_or_else(|| DEFAULT_SQLITE.into(), PathBuf::from),
            },
            mariadb,
        })
    }

    fn run(&self) -> Result<RunConfig> {
        const KEY: &str = "run.textfile";
        let textfile = self.text(KEY)?.map(PathBuf::from);
        let textfile_accounts = self.value("run.textfile_accounts")?.unwrap_or(false);
        match &textfile {
            // The collector would pass it over without a word.
            Some(path) if path.extension() != Some(OsStr::new("prom")) => Err(self.wrong(
                KEY,
                "node_exporter reads only files whose names end in .prom",
            )),
            None if textfile_accounts => {
                let message = "there is no run.textfile that they could stand in";
                Err(self.wrong("run.textfile_accounts", message))
            }
            _ => Ok(RunConfig {
                textfile,
                textfile_accounts,
                threads: self.value("run.threads")?,
            }),
        }
    }

    fn mariadb(&self) -> Result<MariaDbConfig> {
        let path = |key| Ok::<_, Error>(self.text(key)?.map(PathBuf::from));
        let host = self.text("mariadb.host")?;
        // A store that is reached over TCP is not what --socket and --user are about: the audited
        // server is.
        let typed = |key| host.is_some() && self.origin(key).starts_with("from --");
        let socket = path("mariadb.socket")?.filter(|_| !typed("mariadb.socket"));
        let user = self
            .text("mariadb.user")?
            .filter(|_| !typed("mariadb.user"));
        if socket.is_some() && host.is_some() {
            let message = "mariadb.host is set too; set one of them";
            return Err(self.wrong("mariadb.socket", message));
        }
        if host.as_deref() == Some("localhost")
            && ["port", "tls", "tls_ca"]
                .iter()
                .any(|key| self.0.contains(&format!("mariadb.{key}")))
        {
            let message =
                "localhost is the unix socket, which has no port and no TLS; 127.0.0.1 is TCP";
            return Err(self.wrong("mariadb.host", message));
        }
        let database = self.text("mariadb.database")?;
        let database = database.unwrap_or_else(|| DEFAULT_DATABASE.into());
        if SYSTEM_DATABASES.contains(&&*database.to_lowercase()) {
            return Err(self.wrong("mariadb.database", "it is the server's own"));
        }
        Ok(MariaDbConfig {
            access: Access {
                socket,
                host,
                port: self.value("mariadb.port")?,
                tls: self.value("mariadb.tls")?,
                tls_ca: path("mariadb.tls_ca")?,
                user,
                password: None,
                password_file: path("mariadb.password_file")?,
                defaults_file: path("mariadb.defaults_file")?,
            },
            database,
        })
    }

    /// The audited server is this machine's: what is not said about it is as for a store that is
    /// reached over the socket.
    fn server(&self, store: &Access) -> Result<Access> {
        let local = Some(store).filter(|store| store.host.is_none());
        let text = |key| self.text(key);
        let socket = text("server.socket")?.map(PathBuf::from);
        let password_file = text("server.password_file")?.map(PathBuf::from);
        let defaults_file = text("server.defaults_file")?.map(PathBuf::from);
        Ok(Access {
            socket: socket.or_else(|| local?.socket.clone()),
            user: text("server.user")?.or_else(|| local?.user.clone()),
            password_file: password_file.or_else(|| local?.password_file.clone()),
            defaults_file: defaults_file.or_else(|| local?.defaults_file.clone()),
            ..Access::default()
        })
    }

    fn activity(&self) -> Result<Retention> {
        const HOURS: &str = "activity.hours_kept";
        const DAYS: &str = "activity.days_kept";
        let hours = self.span(HOURS, DEFAULT_HOURS_KEPT)?;
        let days = self.span(DAYS, DEFAULT_DAYS_KEPT)?;
        if days < hours {
            // What nobody set is not to blame.
            return Err(match &*self.origin(DAYS) {
                "default" => self.wrong(HOURS, "it is longer than activity.days_kept"),
                _ => self.wrong(DAYS, "it is shorter than activity.hours_kept"),
            });
        }
        Ok(Retention {
            hours,
            days,
            ..Retention::default()
        })
    }

    fn check(&self) -> Result<CheckConfig> {
        const KEY: &str = "check.unused_after";
        let unused_after = self.span(KEY, DEFAULT_UNUSED_AFTER)?;
        if unused_after.0 == 0 {
            return Err(self.wrong(KEY, "it is zero: every account would be unused"));
        }
        Ok(CheckConfig {
            unused_after,
            policy: Policy {
                only: self.some("check.only", registry::parse)?,
                skip: self.some("check.skip", registry::parse)?,
                expect_clients: self.some("check.expect_clients", Client::parse)?,
                severity: self.severities()?,
                accept: self.accepted()?,
            },
        })
    }

    fn severities(&self) -> Result<Vec<(&'static Check, Severity)>> {
        const KEY: &str = "check.severity";
        let texts: BTreeMap<String, String> = self.value(KEY)?.unwrap_or_default();
        let pair = |(check, severity): (&String, &String)| {
            Ok((registry::parse(check)?, Severity::parse(severity)?))
        };
        let pairs: Result<_, String> = texts.iter().map(pair).collect();
        pairs.map_err(|message| self.wrong(KEY, &message))
    }

    fn accepted(&self) -> Result<Vec<Acceptance>> {
        const KEY: &str = "check.accept";
        let exceptions: Vec<layer::Exception> = self.value(KEY)?.unwrap_or_default();
        let acceptance = |one: layer::Exception| {
            let date = escape(one.until.as_bytes());
            let until = one.until.parse();
            Ok(Acceptance {
                check: registry::parse(&one.check)?,
                until: until.map_err(|_| format!("'{date}' is not a date"))?,
                subject: one.subject,
                reason: one.reason,
            })
        };
        let all: Result<_, String> = exceptions.into_iter().map(acceptance).collect();
        all.map_err(|message| self.wrong(KEY, &message))
    }

    fn time_zone(&self) -> Result<Zone> {
        match self.text("time_zone")? {
            Some(text) => Zone::parse(&text).ok_or_else(|| {
                let shown = escape(text.as_bytes());
                self.wrong("time_zone", &format!("'{shown}' is not a time zone"))
            }),
            None => Zone::of_this_machine().ok_or_else(|| {
                Error::Config(
                    "time_zone: this machine's time zone has no name; set time_zone or --time-zone to \
                     the database server's, such as Europe/Zurich"
                        .into(),
                )
            }),
        }
    }

    /// The elements of the list `key`, each understood by `parse`.
    fn list<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>> {
        let list = self.some(key, parse)?;
        match list.is_empty() {
            true => Err(self.wrong(key, "the list is empty")),
            false => Ok(list),
        }
    }

    /// The same of a list that may be empty.
    fn some<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>> {
        let texts: Vec<String> = self.value(key)?.unwrap_or_default();
        texts
            .iter()
            .map(|text| parse(text).map_err(|message| self.wrong(key, &message)))
            .collect()
    }

    /// The text `key`, which must not be empty.
    fn text(&self, key: &str) -> Result<Option<String>> {
        match self.value::<String>(key)? {
            Some(text) if text.is_empty() => Err(self.wrong(key, "it is empty")),
            text => Ok(text),
        }
    }

    /// The time span `key`.
    fn span(&self, key: &str, default: &str) -> Result<Span> {
        let text = self.text(key)?;
        let span = Span::parse(text.as_deref().unwrap_or(default));
        span.map_err(|message| self.wrong(key, &escape(message.as_bytes())))
    }

    fn value<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        if !self.0.contains(key) {
            return Ok(None);
        }
        let value = self.0.extract_inner(key);
        value
            .map(Some)
            .map_err(|error| self.wrong(key, &escape(error.kind.to_string().as_bytes())))
    }

    fn wrong(&self, key: &str, message: &str) -> Error {
        let nowhere = Metadata::named(key.to_owned());
        let place = self.0.find_metadata(key).unwrap_or(&nowhere);
        layer::wrong(place, key, &format!("{message}; {}", layer::right(key)))
    }

    fn origin(&self, key: &str) -> String {
        match (self.0.find_metadata(key), key) {
            (Some(place), _) if place.name == "default" => "default".into(),
            (Some(place), _) => format!("from {}", place.name),
            (None, "time_zone") => "default: this machine's".into(),
            (None, "server_name") => "default: the serverhost that the log names".into(),
            (None, "server.socket" | "server.user") => {
                "default: as for a store over the socket".into()
            }
            (None, "mariadb.socket") => "default: where this system's server listens".into(),
            (None, "run.threads") => "default: one for each processor, at most 8".into(),
            (None, "mariadb.user") => "default: the operating system's user".into(),
            (None, _) => "default: none".into(),
        }
    }
}

#[cfg(test)]
mod tests;
