//! What the audit plugin lacks, now and from the server's next start on: what `check` would find, with
//! its remedies, but nothing that is a matter of choice.
//!
//! A setting that was made by SQL is gone with the next start. So each of them gets a line in a file of
//! options, too.

use super::{Notes, Part, Seen, shown};
use crate::check::audit_plugin::{self, has_logins};
use crate::check::{Finding, Observed, Place, Severity, Step};
use crate::machine::{Host, Machine};
use crate::name::{escape, is_unsafe_to_show};
use crate::server::Settings;

/// Settings that decide what is written, and for how long it is kept.
const LASTING: [&str; 6] = [
    "server_audit_logging",
    "server_audit_events",
    "server_audit_output_type",
    "server_audit_file_path",
    "server_audit_file_rotate_size",
    "server_audit_file_rotations",
];

/// What is missing.
#[derive(Clone, Debug, Default)]
pub(super) struct Missing {
    notes: Notes,
    /// Statements.
    sql: Vec<String>,
    /// Names and values of options, as they stand in a file.
    options: Vec<(String, String)>,
    is_cluster: bool,
}

impl Missing {
    /// What the server lacks.
    pub(super) fn of(seen: &Seen, machine: &Machine) -> Self {
        let (setup, facts) = (&seen.setup, &seen.setup.facts);
        let mut missing = Self {
            is_cluster: facts.settings.is_on("wsrep_on"),
            ..Self::default()
        };
        let is_active = facts
            .audit_plugin
            .as_ref()
            .is_some_and(|plugin| plugin.status == "ACTIVE");
        if is_active {
            missing.events(&facts.settings);
        }
        let outcome = audit_plugin::check(facts, machine, Observed::default());
        if facts.audit_plugin.is_none() && seen.plugin_file_missing {
            missing.notes.doubt(
                "whether the plugin can be loaded: there is no server_audit.so in plugin_dir. It is in the \
                 package of the server (Debian and Red Hat: mariadb-server)",
            );
        }
        for finding in &outcome.findings {
            missing.take(finding);
        }
        for name in LASTING {
            let by_sql = setup.set_by_sql.iter().any(|set| set == name);
            let known = missing.options.iter().any(|(known, _)| known == name);
            if let (true, false, Some(value)) = (by_sql, known, facts.settings.get(name)) {
                missing.option(name, value);
            }
        }
        missing
    }

    /// Logins have to be among the events; nothing that is logged is taken away.
    fn events(&mut self, settings: &Settings) {
        const NAME: &str = "server_audit_events";
        let now = settings.get(NAME).unwrap_or_default();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_, ".contains(c);
        if !now.chars().all(is_plain) {
            self.notes.doubt(format!(
                "what is logged: {NAME} is '{}'",
                escape(now.as_bytes())
            ));
        } else if !has_logins(now) {
            let wanted = format!("CONNECT,{now}");
            self.sql.push(format!("SET GLOBAL {NAME} = '{wanted}';"));
            self.option(NAME, &wanted);
        }
    }

    /// A file of options can write only a few of the characters that act on what shows them.
    fn option(&mut self, name: &str, value: &str) {
        let written = option_value(value);
        if written.chars().any(is_unsafe_to_show) {
            self.notes.doubt(format!(
                "how {name} is kept: its value '{}' can't be written as text. It is lost with the \
                 server's next start",
                escape(value.as_bytes())
            ));
        } else {
            self.options.push((name.to_owned(), written));
        }
    }

    fn take(&mut self, finding: &Finding) {
        match finding.check.id {
            // Seen to above.
            "audit-events" => {
                if finding.severity == Severity::Warning {
                    self.notes
                        .remark(format!("A matter of choice: {}.", finding.message));
                }
                return;
            }
            "audit-output" => {
                self.notes
                    .remark(format!("A matter of choice: {}.", finding.message));
                return;
            }
            _ => {}
        }
        for Step { place, text, .. } in &finding.remedy {
            match place {
                Place::Sql => self.sql.push(text.clone()),
                Place::Options => {
                    let lines = text.lines().filter_map(|line| line.split_once(" = "));
                    for (name, value) in lines {
                        if !self.options.iter().any(|(known, _)| known == name) {
                            self.options.push((name.to_owned(), value.to_owned()));
                        }
                    }
                }
                // Of files, among the first steps.
                Place::Shell | Place::Look => {}
            }
        }
    }

    /// What can be done at once.
    pub(super) fn sql(&self) -> Part {
        let mut notes = self.notes.clone();
        if self.is_cluster && !self.sql.is_empty() {
            notes.remark("A cluster: run this in each node.");
        }
        Part {
            heading: "SQL, as an administrator: the audit plugin, until the server's next start"
                .into(),
            notes,
            body: self.sql.iter().map(|sql| format!("{sql}\n")).collect(),
        }
    }

    /// What holds from the next start on.
    pub(super) fn options(&self, host: &Host) -> Part {
        let mut notes = Notes::default();
        if !self.options.is_empty() {
            let file = match &host.option_folder {
                Some(folder) => format!("such as {}", shown(&folder.join("99-server_audit.cnf"))),
                None => "such as /etc/my.cnf".into(),
            };
            notes.remark(format!(
                "Into a file of options that the server reads, {file}."
            ));
            if self.is_cluster {
                notes.remark("A cluster: in each node.");
            }
        }
        let lines = self
            .options
            .iter()
            .map(|(name, value)| format!("{name} = {value}\n"));
        let body: String = lines.collect();
        Part {
            heading: "File of options: the audit plugin, from the server's next start on".into(),
            notes,
            body: if body.is_empty() {
                body
            } else {
                format!("[mariadbd]\n{body}")
            },
        }
    }
}

/// A value in a file of options, in quotes unless it is plain.
pub(super) fn option_value(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_,./:+-".contains(c);
    if !value.is_empty() && value.chars().all(is_plain) {
        return value.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in value.chars() {
        match c {
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{8}' => quoted.push_str("\\b"),
            '"' | '\\' => quoted.extend(['\\', c]),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}
