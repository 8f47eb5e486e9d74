//! Where settings come from: a file, the environment, flags. Each becomes a [`Layer`] that figment
//! lays over the ones before it; what a layer holds is checked on the way in, so that a wrong
//! setting is reported with the place where it stands, even if another layer would have hidden it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::num::NonZero;
use std::path::Path;

use figment::error::Kind as Mistake;
use figment::providers::{Format as _, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider, Source};
use log::LevelFilter;
use serde::Deserialize;

use super::ini;
use crate::error::{Error, Result};
use crate::mariadb::Password;
use crate::name::escape;

/// What kind of value a key takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    List,
    /// A number, or true or false.
    Plain,
}

/// Every key, the kind of its value, and what would be right.
pub(super) const KEYS: [(&str, Kind, &str); 29] = [
    (
        "audit_log",
        Kind::List,
        r#"write a list of paths, such as ["/var/lib/mysql/server_audit.log"]"#,
    ),
    (
        "time_zone",
        Kind::Text,
        r#"write a name such as "Europe/Zurich" or an offset such as "+01:00""#,
    ),
    ("server_name", Kind::Text, r#"write a name, such as "db1""#),
    (
        "stores",
        Kind::List,
        r#"write ["sqlite"], ["mariadb"] or ["sqlite", "mariadb"]"#,
    ),
    (
        "run.textfile",
        Kind::Text,
        r#"write a path that ends in .prom, such as "/var/lib/prometheus/node-exporter/conntracker.prom""#,
    ),
    ("run.textfile_accounts", Kind::Plain, "write true or false"),
    (
        "run.threads",
        Kind::Plain,
        "write a number from 1 to 255, such as 1",
    ),
    (
        "sqlite.path",
        Kind::Text,
        r#"write a path, such as "/var/lib/conntracker/conntracker.sqlite""#,
    ),
    (
        "mariadb.socket",
        Kind::Text,
        r#"write a path, such as "/run/mysqld/mysqld.sock""#,
    ),
    (
        "mariadb.host",
        Kind::Text,
        r#"write a name or an address, such as "db.example.com""#,
    ),
    ("mariadb.port", Kind::Plain, "write a port, such as 3306"),
    ("mariadb.tls", Kind::Plain, "write true or false"),
    (
        "mariadb.tls_ca",
        Kind::Text,
        r#"write a path, such as "/etc/conntracker/ca.pem""#,
    ),
    (
        "mariadb.user",
        Kind::Text,
        r#"write a name, such as "conntrack""#,
    ),
    (
        "mariadb.database",
        Kind::Text,
        r#"write a name, such as "conntrack""#,
    ),
    (
        "mariadb.password_file",
        Kind::Text,
        r#"write a path, such as "/etc/conntracker/password""#,
    ),
    (
        "mariadb.defaults_file",
        Kind::Text,
        r#"write a path, such as "/etc/conntracker/my.cnf""#,
    ),
    (
        "server.socket",
        Kind::Text,
        r#"write a path, such as "/run/mysqld/mysqld.sock""#,
    ),
    (
        "server.user",
        Kind::Text,
        r#"write a name, such as "conntrack""#,
    ),
    (
        "server.password_file",
        Kind::Text,
        r#"write a path, such as "/etc/conntracker/password""#,
    ),
    (
        "server.defaults_file",
        Kind::Text,
        r#"write a path, such as "/etc/conntracker/my.cnf""#,
    ),
    (
        "activity.hours_kept",
        Kind::Text,
        r#"write a time span, such as "35d""#,
    ),
    (
        "activity.days_kept",
        Kind::Text,
        r#"write a time span, such as "400d""#,
    ),
    (
        "check.unused_after",
        Kind::Text,
        r#"write a time span, such as "90d""#,
    ),
    (
        "check.expect_clients",
        Kind::List,
        r#"write names, addresses and networks, such as ["localhost", "10.0.5.0/24"]"#,
    ),
    (
        "check.only",
        Kind::List,
        r#"write names of checks, such as ["bind-address"]"#,
    ),
    (
        "check.skip",
        Kind::List,
        r#"write names of checks, such as ["bind-address"]"#,
    ),
    (
        "check.severity",
        Kind::Plain,
        r#"write a severity for each check, such as { bind-address = "critical" }"#,
    ),
    (
        "check.accept",
        Kind::Plain,
        r#"write [[check.accept]] and below it check, subject, reason and until = "2027-06-30""#,
    ),
];

/// What would be right for `key`.
pub(super) fn right(key: &str) -> &'static str {
    let is_of = |known: &str| {
        let rest = key.strip_prefix(known);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    match KEYS.iter().find(|(known, ..)| is_of(known)) {
        Some((.., right)) => right,
        None => "write a table, such as [sqlite] and below it path = \"…\"",
    }
}

/// An element of `check.accept`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exception {
    pub(super) check: String,
    pub(super) subject: String,
    pub(super) reason: String,
    pub(super) until: String,
}

/// Some settings with the place that they come from.
#[derive(Clone, Debug)]
pub struct Layer {
    place: Metadata,
    settings: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        self.place.clone()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.settings.clone()))
    }
}

impl Layer {
    /// The settings that hold where nothing else is said.
    pub(super) fn defaults() -> Self {
        let mut settings = Dict::new();
        settings.insert("audit_log".into(), vec![super::DEFAULT_AUDIT_LOG].into());
        settings.insert("stores".into(), vec!["sqlite"].into());
        settings.extend(nested("sqlite.path", super::DEFAULT_SQLITE.into()));
        settings.extend(nested("mariadb.database", super::DEFAULT_DATABASE.into()));
        let activity: [(&str, Value); 2] = [
            ("hours_kept", super::DEFAULT_HOURS_KEPT.into()),
            ("days_kept", super::DEFAULT_DAYS_KEPT.into()),
        ];
        let activity: Dict = activity.map(|(key, value)| (key.into(), value)).into();
        settings.insert("activity".into(), activity.into());
        let check: [(&str, Value); 2] = [
            ("unused_after", super::DEFAULT_UNUSED_AFTER.into()),
            ("expect_clients", super::DEFAULT_CLIENTS.to_vec().into()),
        ];
        let check: Dict = check.map(|(key, value)| (key.into(), value)).into();
        settings.insert("check".into(), check.into());
        Self {
            place: Metadata::named("default"),
            settings,
        }
    }

    /// One setting by a flag; `flag` is its name, `key` the setting's.
    pub fn flag(flag: &'static str, key: &str, value: &OsStr) -> Result<Self> {
        let value = utf8(flag, value)?;
        Ok(Self {
            place: Metadata::named(flag),
            settings: nested(key, value.into()),
        })
    }

    /// One setting by a flag that is no text: a number, or true for one without a value.
    pub fn plain(flag: &'static str, key: &str, value: impl Into<Value>) -> Self {
        Self {
            place: Metadata::named(flag),
            settings: nested(key, value.into()),
        }
    }

    /// One setting by a flag that may be repeated.
    pub fn flags<'a>(
        flag: &'static str,
        key: &str,
        values: impl IntoIterator<Item = &'a OsStr>,
    ) -> Result<Self> {
        let values = values
            .into_iter()
            .map(|value| utf8(flag, value))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            place: Metadata::named(flag),
            settings: nested(key, values.into()),
        })
    }

    /// The settings of a TOML file.
    pub(super) fn toml(path: &Path, text: &str) -> Result<Self> {
        let shown = escape(path.as_os_str().as_encoded_bytes());
        let settings = Toml::from_str::<Dict>(text).map_err(|error| {
            let line = error.span().map_or(1, |at| {
                text.bytes()
                    .take(at.start)
                    .filter(|byte| *byte == b'\n')
                    .count()
                    + 1
            });
            Error::Config(format!(
                "{shown}: line {line}: {}",
                error.message().replace('\n', ", ")
            ))
        })?;
        Self {
            place: Metadata::from(shown, Source::File(path.to_owned())),
            settings,
        }
        .checked()
    }

    /// Refuses an unknown key and a value of the wrong type.
    fn checked(self) -> Result<Self> {
        /// What a layer may hold.
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Shape {
            #[serde(rename = "audit_log")]
            _audit_log: Option<Vec<String>>,
            #[serde(rename = "time_zone")]
            _time_zone: Option<String>,
            #[serde(rename = "server_name")]
            _server_name: Option<String>,
            #[serde(rename = "stores")]
            _stores: Option<Vec<String>>,
            #[serde(rename = "run")]
            _run: Option<Run>,
            #[serde(rename = "sqlite")]
            _sqlite: Option<Sqlite>,
            #[serde(rename = "mariadb")]
            _mariadb: Option<MariaDb>,
            #[serde(rename = "server")]
            _server: Option<Server>,
            #[serde(rename = "activity")]
            _activity: Option<Activity>,
            #[serde(rename = "check")]
            _check: Option<Check>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Run {
            #[serde(rename = "textfile")]
            _textfile: Option<String>,
            #[serde(rename = "textfile_accounts")]
            _textfile_accounts: Option<bool>,
            #[serde(rename = "threads")]
            _threads: Option<NonZero<u8>>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Sqlite {
            #[serde(rename = "path")]
            _path: Option<String>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct MariaDb {
            #[serde(rename = "socket")]
            _socket: Option<String>,
            #[serde(rename = "host")]
            _host: Option<String>,
            #[serde(rename = "port")]
            _port: Option<u16>,
            #[serde(rename = "tls")]
            _tls: Option<bool>,
            #[serde(rename = "tls_ca")]
            _tls_ca: Option<String>,
            #[serde(rename = "user")]
            _user: Option<String>,
            #[serde(rename = "database")]
            _database: Option<String>,
            #[serde(rename = "password_file")]
            _password_file: Option<String>,
            #[serde(rename = "defaults_file")]
            _defaults_file: Option<String>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Server {
            #[serde(rename = "socket")]
            _socket: Option<String>,
            #[serde(rename = "user")]
            _user: Option<String>,
            #[serde(rename = "password_file")]
            _password_file: Option<String>,
            #[serde(rename = "defaults_file")]
            _defaults_file: Option<String>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Activity {
            #[serde(rename = "hours_kept")]
            _hours_kept: Option<String>,
            #[serde(rename = "days_kept")]
            _days_kept: Option<String>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Check {
            #[serde(rename = "unused_after")]
            _unused_after: Option<String>,
            #[serde(rename = "expect_clients")]
            _expect_clients: Option<Vec<String>>,
            #[serde(rename = "only")]
            _only: Option<Vec<String>>,
            #[serde(rename = "skip")]
            _skip: Option<Vec<String>>,
            #[serde(rename = "severity")]
            _severity: Option<BTreeMap<String, String>>,
            #[serde(rename = "accept")]
            _accept: Option<Vec<Exception>>,
        }
        let Err(error) = Figment::from(&self).extract::<Shape>() else {
            return Ok(self);
        };
        // Of the key in a list, such as audit_log.0, the number says nothing to the reader.
        let mut path = error.path;
        path.retain(|part| part.parse::<usize>().is_err());
        Err(match error.kind {
            Mistake::UnknownField(field, _) => {
                if path.last() != Some(&field) {
                    path.push(field);
                }
                let key = path.join(".");
                if matches!(&*key, "mariadb.password" | "server.password") {
                    return Err(wrong(&self.place, &key, &no_password()));
                }
                let known: Vec<_> = KEYS.iter().map(|(key, ..)| *key).collect();
                let message = format!("there is no such key; there are {}", known.join(", "));
                wrong(&self.place, &key, &message)
            }
            Mistake::InvalidType(found, _) | Mistake::InvalidValue(found, _) => {
                let key = path.join(".");
                let found = escape(found.to_string().as_bytes());
                wrong(
                    &self.place,
                    &key,
                    &format!("found {found}; {}", right(&key)),
                )
            }
            other => wrong(
                &self.place,
                &path.join("."),
                &escape(other.to_string().as_bytes()),
            ),
        })
    }
}

/// The settings in the environment `variables`, a layer each.
pub(super) fn environment(variables: &[(OsString, OsString)]) -> Result<Vec<Layer>> {
    let mut layers = Vec::new();
    for (variable, value) in variables {
        // Bytes that are not UTF-8 can't be in a name that we know, but they can follow the prefix.
        let variable = variable.to_string_lossy();
        let Some(key) = variable.strip_prefix("CONNTRACKER_") else {
            continue;
        };
        if matches!(key, "CONFIG" | "LOG" | PASSWORD) {
            continue;
        }
        let place = format!("environment variable {}", escape(variable.as_bytes()));
        let key = key.to_lowercase().replace("__", ".");
        let Some((_, kind, _)) = KEYS.iter().find(|(known, ..)| *known == key) else {
            let known: Vec<_> = KEYS
                .iter()
                .map(|(key, ..)| format!("CONNTRACKER_{}", key.to_uppercase().replace('.', "__")))
                .collect();
            return Err(Error::Config(format!(
                "{place}: there is no such setting; there are {}, CONNTRACKER_{PASSWORD}, \
                 CONNTRACKER_CONFIG, CONNTRACKER_LOG",
                known.join(", ")
            )));
        };
        let value = utf8(&place, value)?;
        let parsed = || match value.parse() {
            Ok(value) => value,
            Err(never) => match never {},
        };
        let value: Value = match kind {
            // Figment reads any text as some value, here a list of texts without or with quotes.
            Kind::List if value.trim_start().starts_with('[') => parsed(),
            Kind::List => vec![value].into(),
            Kind::Plain => parsed(),
            Kind::Text => value.into(),
        };
        let layer = Layer {
            place: Metadata::named(place),
            settings: nested(&key, value),
        };
        layers.push(layer.checked()?);
    }
    Ok(layers)
}

/// The variable that holds the password, which is no setting like others: it is never shown.
const PASSWORD: &str = "MARIADB__PASSWORD";

/// The password for MariaDB among the environment `variables`, if there is one.
pub(super) fn password(variables: &[(OsString, OsString)]) -> Result<Option<Password>> {
    let variable = format!("CONNTRACKER_{PASSWORD}");
    let found = variables.iter().find(|(name, _)| *name == *variable);
    found
        .map(|(_, value)| match value.to_str() {
            Some(value) => Ok(Password::new(value)),
            None => Err(Error::Config(format!(
                "environment variable {variable}: it is not UTF-8"
            ))),
        })
        .transpose()
}

fn no_password() -> String {
    format!(
        "a password does not stand in the configuration; set password_file or defaults_file there, \
         or the environment variable CONNTRACKER_{PASSWORD}"
    )
}

/// The settings of the Go program's file, a layer each, and the verbosity that it asks for.
pub(super) fn go_program(path: &Path, text: &str) -> Result<(Vec<Layer>, Option<LevelFilter>)> {
    let shown = escape(path.as_os_str().as_encoded_bytes());
    let entries =
        ini::parse(text).map_err(|message| Error::Config(format!("{shown}: {message}")))?;
    let (mut layers, mut level) = (Vec::new(), None);
    for ini::Entry { line, key, value } in entries {
        let place = format!("{shown}: line {line}: {}", escape(key.as_bytes()));
        let (key, value): (_, Value) = match key.to_lowercase().as_str() {
            "auditlogpath" => ("audit_log", vec![value].into()),
            "sqlitepath" => ("sqlite.path", value.into()),
            // Go's word for this machine's zone, which is the default here too.
            "timelocation" if value == "Local" => continue,
            "timelocation" => ("time_zone", value.into()),
            "loglevel" => {
                level = Some(match value.to_lowercase().as_str() {
                    "debug" => LevelFilter::Debug,
                    // The Go program was silent at this level, and cron mails what is said.
                    "info" => LevelFilter::Warn,
                    "warn" | "warning" => LevelFilter::Warn,
                    "error" => LevelFilter::Error,
                    _ => {
                        let found = escape(value.as_bytes());
                        return Err(Error::Config(format!(
                            "{place}: '{found}' is not a level; write debug, info, warn or error"
                        )));
                    }
                });
                continue;
            }
            // There are no workers to limit.
            "maxworkers" => continue,
            _ => {
                log::warn!("{place}: there is no such key, it is ignored");
                continue;
            }
        };
        layers.push(Layer {
            place: Metadata::named(place),
            settings: nested(key, value),
        });
    }
    Ok((layers, level))
}

/// An error about `key` as set in `place`.
pub(super) fn wrong(place: &Metadata, key: &str, message: &str) -> Error {
    // A file holds many keys; a flag, a variable or a line of the old file names its own.
    match place.source {
        Some(_) => Error::Config(format!(
            "{}: {}: {message}",
            place.name,
            escape(key.as_bytes())
        )),
        None => Error::Config(format!("{}: {message}", place.name)),
    }
}

fn utf8<'a>(place: &str, value: &'a OsStr) -> Result<&'a str> {
    value.to_str().ok_or_else(|| {
        let shown = escape(value.as_encoded_bytes());
        Error::Config(format!(
            "{place}: '{shown}' is not UTF-8; give it a name that is"
        ))
    })
}

/// `sqlite.path` and a value become `{sqlite: {path: value}}`.
fn nested(key: &str, value: Value) -> Dict {
    figment::util::nest(key, value)
        .into_dict()
        .unwrap_or_default()
}
