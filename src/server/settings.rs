//! What the server is set to, as far as the checks ask for it. Anybody who may log in can read it.

use std::collections::BTreeMap;

use mysql::Error as Refusal;

use super::{Source, text};

/// Settings and counters, by name in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(pub BTreeMap<String, String>);

impl Settings {
    /// The value of a setting; none if this server does not have it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Whether a setting is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| value == "ON" || value == "1")
    }

    /// The value of a setting that is a number.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.get(name)?.parse().ok()
    }
}

/// The audit plugin as the server knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditPlugin {
    /// `ACTIVE`, if it works.
    pub status: String,
    /// `ON`, `FORCE`, `FORCE_PLUS_PERMANENT`.
    pub load_option: String,
}

/// Reads the settings.
pub(super) fn read(source: &mut Source<'_>) -> Result<Settings, Refusal> {
    let mut settings = BTreeMap::new();
    for statement in [
        "SHOW GLOBAL VARIABLES WHERE variable_name LIKE 'server\\_audit\\_%' OR variable_name IN
             ('bind_address', 'port', 'extra_port', 'skip_networking', 'socket', 'datadir',
              'require_secure_transport', 'have_ssl', 'default_password_lifetime', 'system_time_zone',
              'wsrep_on', 'read_only', 'plugin_dir')",
        "SHOW GLOBAL STATUS LIKE 'server\\_audit\\_%'",
    ] {
        for row in source.rows(statement)?.iter().flatten() {
            settings.insert(text(row, 0).to_lowercase(), text(row, 1));
        }
    }
    Ok(Settings(settings))
}

/// Reads what the server says of its audit plugin.
pub(super) fn audit_plugin(source: &mut Source<'_>) -> Result<Option<AuditPlugin>, Refusal> {
    let rows = source.rows(
        "SELECT plugin_status, load_option FROM information_schema.plugins
         WHERE plugin_name = 'SERVER_AUDIT'",
    )?;
    let row = rows.as_ref().and_then(|rows| rows.first());
    Ok(row.map(|row| AuditPlugin {
        status: text(row, 0),
        load_option: text(row, 1),
    }))
}
