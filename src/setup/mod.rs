//! What `init` proposes: the configuration that fits a server and its machine, what an administrator
//! has to create in the server, what the audit plugin lacks, and how to begin.
//!
//! Pure: facts in, text out. It is made in two steps, for where conntracker is to read and write is
//! what has to be looked at on the machine: [`decide`] says what the configuration will be, and
//! [`Proposal::new`] all the rest. Each part of the text belongs into one place and can be pasted there as
//! it stands: what is said beside begins with `#`, a comment in TOML, SQL, option files and shells alike.

mod account;
mod begin;
mod configuration;
mod plugin;
#[cfg(test)]
mod tests;
mod zone;

use std::path::{Path, PathBuf};

use crate::config::{Config, StoreKind};
use crate::machine::{Host, Machine};
use crate::name::escape;
use crate::server;
use crate::time::Zone;

pub use zone::Zones;

/// The user that the package makes, and the one that is made where there is none.
pub const USUAL_USER: &str = "conntracker";

/// What was found out before anything was decided.
#[derive(Clone, Debug)]
pub struct Situation {
    /// The configuration file that is or would be read.
    pub file: PathBuf,
    /// It is there.
    pub file_exists: bool,
    /// It is read without being named.
    pub file_is_default: bool,
    /// What holds by that file alone, or without one.
    pub base: Config,
    /// The time zone then, where no TZ says another: a cron job's. None if it has no name.
    pub base_zone: Option<Zone>,
    /// The same with flags, environment and an older file over it.
    pub wanted: Config,
    /// Somebody said where the audit log is.
    pub log_is_given: bool,
    /// The operating system's user who is to run it.
    pub user: String,
    /// The account with which it comes into the server: the user's, unless it has a password.
    pub account: String,
    /// What may be the server's zone.
    pub zones: Zones,
    /// The socket that is asked, if nobody named it and others than the server's user may have put it
    /// there.
    pub doubtful_socket: Option<PathBuf>,
    /// The server; or why it can't be asked, in words.
    pub server: Result<Seen, String>,
    /// Audit logs that are there, without a server to say which is its own.
    pub logs: Vec<PathBuf>,
    /// The files of syslog that are there.
    pub syslog_files: Vec<PathBuf>,
}

/// A server that was asked.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What it said.
    pub setup: server::Setup,
    /// Its socket, where that has to be said.
    pub socket: Option<PathBuf>,
    /// Other servers' sockets.
    pub others: Vec<PathBuf>,
    /// It runs on this machine.
    pub is_here: bool,
    /// The audit log that it writes, or would write.
    pub log: Option<PathBuf>,
    /// That log is among those that the configuration names.
    pub log_is_read: bool,
    /// The file of the audit plugin is not where the server looks for it.
    pub plugin_file_missing: bool,
}

/// What has to be said beside.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// What could not be known, or contradicts itself. It makes the answer worth a second look.
    pub doubts: Vec<String>,
    /// What is good to know.
    pub remarks: Vec<String>,
}

impl Notes {
    fn doubt(&mut self, text: impl Into<String>) {
        self.doubts.push(text.into());
    }

    fn remark(&mut self, text: impl Into<String>) {
        self.remarks.push(text.into());
    }

    /// As comments.
    fn lines(&self) -> String {
        let doubts = self
            .doubts
            .iter()
            .map(|text| format!("# NOT CERTAIN: {text}\n"));
        let remarks = self.remarks.iter().map(|text| format!("# {text}\n"));
        doubts.chain(remarks).collect()
    }
}

/// The configuration that fits, and what is to be said of it.
pub fn decide(situation: &Situation) -> (Config, Notes) {
    configuration::decide(situation)
}

/// What is proposed, part by part.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// About which server, asked as whom.
    pub about: String,
    /// The configuration file.
    pub configuration: Part,
    /// The other parts: account and views, the audit plugin now and from the next start on, first steps.
    pub parts: Vec<Part>,
}

/// A text for one place.
#[derive(Clone, Debug)]
pub struct Part {
    /// Where it belongs.
    pub heading: String,
    /// What is to be said beside.
    pub notes: Notes,
    /// What is to be pasted; empty if nothing is missing.
    pub body: String,
}

impl Proposal {
    /// Everything for this decision. `machine` is what the machine says of the server, `host` what it
    /// says of the user and of the files.
    pub fn new(
        situation: &Situation,
        (config, notes): (Config, Notes),
        machine: &Machine,
        host: &Host,
    ) -> Self {
        let configuration = configuration::part(situation, &config, notes);
        let begin = begin::part(situation, &config, machine, host);
        let Ok(seen) = &situation.server else {
            return Self {
                about: "no server could be asked: account, views and plugin are left out".into(),
                configuration,
                parts: vec![begin],
            };
        };
        let facts = &seen.setup.facts;
        let plugin = plugin::Missing::of(seen, machine);
        Self {
            about: format!(
                "{}, {}, asked as {}",
                facts.described,
                escape(facts.version.as_bytes()),
                escape(seen.setup.current_user.as_bytes())
            ),
            configuration,
            parts: vec![
                account::part(situation, &config, &seen.setup),
                plugin.sql(),
                plugin.options(host),
                begin,
            ],
        }
    }

    /// Whether something could not be known.
    pub fn has_doubts(&self) -> bool {
        let parts = self.parts.iter().chain([&self.configuration]);
        parts.into_iter().any(|part| !part.notes.doubts.is_empty())
    }

    /// All of it. `written` is where the configuration was written to, if it was.
    pub fn text(&self, written: Option<&Path>) -> String {
        let mut configuration = self.configuration.clone();
        if let Some(path) = written {
            configuration.body = format!("# written to {}\n", shown(path));
        }
        let mut text = format!("# {}\n", self.about);
        for (index, part) in [&configuration].into_iter().chain(&self.parts).enumerate() {
            let body = match &*part.body {
                "" => "# nothing is missing\n",
                body => body,
            };
            text.push_str(&format!(
                "\n# == {}. {}\n{}{body}",
                index + 1,
                part.heading,
                part.notes.lines()
            ));
        }
        text
    }
}

/// A path in a comment.
fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_encoded_bytes())
}

/// Results are kept in the audited server itself.
fn keeps_here(config: &Config) -> bool {
    config.stores.contains(&StoreKind::MariaDb) && !is_central(config)
}

/// The store in MariaDB is another server.
fn is_central(config: &Config) -> bool {
    let host = config.mariadb.access.host.as_deref();
    host.is_some_and(|host| host != "localhost")
}
