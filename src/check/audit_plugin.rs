//! The audit plugin: without its records nothing here can be known, so it has to be on, to write what
//! is read, and to keep it for long enough.
//!
//! A setting is changed by SQL at once and until the next start; for later it has to stand in a file
//! of options too. So each such remedy has both.

use super::finding::{Finding, Outcome, Place, shell_path};
use crate::machine::{LogFile, Machine};
use crate::name::escape;
use crate::server::{AuditPlugin, Facts};
use crate::time::{Span, UtcSeconds};

/// Our own login is younger than this when the log's file is looked at, and stands in it.
const JUST_WRITTEN: i64 = 120;

/// A run every ten minutes, where nothing was observed.
const USUAL_INTERVAL: i64 = 600;

/// The history that a remedy asks for.
const GOOD_HISTORY: i64 = 86_400;

/// Settings of a plugin that was not there: logins only, in 100 MB. At 100 logins a second that is two
/// and a half hours, of which the default of 1 MB a file would be 15 minutes.
const LOADED: [(&str, &str); 4] = [
    ("server_audit_events", "CONNECT"),
    ("server_audit_file_rotate_size", "10000000"),
    ("server_audit_file_rotations", "9"),
    ("server_audit_logging", "ON"),
];

/// What was observed of the log beside its files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observed {
    /// First record that was read.
    pub first: Option<UtcSeconds>,
    /// Mean time between two runs that found something, in seconds.
    pub interval: Option<i64>,
}

const ALL: [&str; 6] = [
    "audit-active",
    "audit-events",
    "audit-output",
    "audit-rotation",
    "audit-permanent",
    "audit-file-mode",
];

/// The checks of this file.
pub(crate) fn check(facts: &Facts, machine: &Machine, observed: Observed) -> Outcome {
    let mut outcome = Outcome::default();
    let active = |plugin: &&AuditPlugin| plugin.status == "ACTIVE";
    let Some(plugin) = facts.audit_plugin.as_ref().filter(active) else {
        let how = match &facts.audit_plugin {
            Some(plugin) => escape(plugin.status.to_lowercase().as_bytes()),
            None => "not loaded".into(),
        };
        let why = format!("the audit plugin is {how}");
        let message = format!("{why}: nobody knows who logs in");
        outcome.find(loading(
            facts.audit_plugin.is_some(),
            Finding::new("audit-active", "server_audit", message),
        ));
        outcome.not_checked(&ALL[1..], &why);
        return outcome;
    };
    outcome.findings.extend(events(facts));
    if plugin.load_option != "FORCE_PLUS_PERMANENT" {
        let message = "who has the right may unload the plugin, and is not seen from then on";
        let subject = format!("server_audit = {}", escape(plugin.load_option.as_bytes()));
        outcome.find(
            Finding::new("audit-permanent", subject, message)
                .options(&["server_audit = FORCE_PLUS_PERMANENT"]),
        );
    }
    if !facts.settings.is_on("server_audit_logging") {
        let message = "the audit plugin is told not to log: nobody knows who logs in";
        outcome.find(set(
            "audit-active",
            "server_audit_logging",
            "OFF",
            "ON",
            message,
        ));
        outcome.not_checked(&ALL[3..4], "nothing is logged");
    }
    if facts.settings.get("server_audit_output_type") != Some("file") {
        let message = "records go to syslog: whoever may write there can write a record, and long ones \
                       are cut";
        let now = facts
            .settings
            .get("server_audit_output_type")
            .unwrap_or_default();
        outcome.find(set(
            "audit-output",
            "server_audit_output_type",
            now,
            "'file'",
            message,
        ));
        let why = "the server writes no file";
        outcome.not_checked(&["audit-rotation", "audit-file-mode"], why);
        return outcome;
    }
    match &machine.log {
        Ok(files) => {
            if facts.settings.is_on("server_audit_logging") {
                outcome.add(written(facts, machine, files));
                outcome.add(history(facts, files, observed));
            }
            outcome.findings.extend(modes(files));
        }
        Err(why) => {
            let unseen = ["audit-active", "audit-rotation", "audit-file-mode"];
            outcome.not_checked(
                &unseen,
                &format!("the files of the log can't be seen: {why}"),
            );
        }
    }
    outcome
}

/// A setting that is wrong, with the remedy for now and for later. `value` is SQL.
fn set(id: &str, name: &str, now: &str, value: &str, message: &str) -> Finding {
    Finding::new(id, format!("{name} = {}", escape(now.as_bytes())), message)
        .step(Place::Sql, format!("SET GLOBAL {name} = {value};"))
        .options(&[&format!("{name} = {}", value.trim_matches('\''))])
}

/// The plugin is not there: it can be loaded at once, unless the server knows it and does not use it.
fn loading(is_known: bool, finding: Finding) -> Finding {
    let statement = |(name, value): &(&str, &str)| {
        let value = match value.bytes().all(|byte| byte.is_ascii_digit()) || *value == "ON" {
            true => (*value).to_owned(),
            false => format!("'{value}'"),
        };
        format!("SET GLOBAL {name} = {value};")
    };
    let finding = match is_known {
        true => finding,
        false => finding.sql(
            &[
                vec!["INSTALL SONAME 'server_audit';".to_owned()],
                LOADED.iter().map(statement).collect(),
            ]
            .concat(),
        ),
    };
    let option = |(name, value): &(&str, &str)| format!("{name} = {value}");
    let options: Vec<_> = [
        ("plugin_load_add", "server_audit"),
        ("server_audit", "FORCE_PLUS_PERMANENT"),
    ]
    .iter()
    .chain(&LOADED)
    .map(option)
    .collect();
    finding.options(&options.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The names in a list of events.
fn named(events: &str) -> impl Iterator<Item = &str> {
    let names = events.split(',').map(str::trim);
    names.filter(|event| !event.is_empty())
}

/// Whether logins are among these events. An empty list means all events.
pub(crate) fn has_logins(events: &str) -> bool {
    let is_login = |event: &str| event.eq_ignore_ascii_case("CONNECT");
    named(events).next().is_none() || named(events).any(is_login)
}

fn events(facts: &Facts) -> Option<Finding> {
    let now = facts
        .settings
        .get("server_audit_events")
        .unwrap_or_default();
    let events: Vec<_> = named(now).collect();
    let is_bulk = |event: &&str| {
        ["QUERY", "QUERY_DML", "QUERY_DML_NO_SELECT"]
            .iter()
            .any(|bulk| event.eq_ignore_ascii_case(bulk))
    };
    let others: Vec<_> = events
        .iter()
        .filter(|event| !is_bulk(event))
        .copied()
        .collect();
    if !has_logins(now) {
        let message = "logins are not logged: nobody knows who logs in";
        let wanted = format!("'{}'", [&["CONNECT"], &others[..]].concat().join(","));
        return Some(set(
            "audit-events",
            "server_audit_events",
            now,
            &wanted,
            message,
        ));
    }
    if events.is_empty() || events.iter().any(is_bulk) {
        let message = "statements are logged, the data in them too, and they push the logins out of \
                       the rotated files";
        let wanted = if events.is_empty() {
            "CONNECT".to_owned()
        } else {
            others.join(",")
        };
        let finding = set(
            "audit-events",
            "server_audit_events",
            now,
            &format!("'{wanted}'"),
            message,
        );
        return Some(finding.only_a_warning());
    }
    None
}

/// The file is there, is the one that we read, and has our own login in it.
fn written(facts: &Facts, machine: &Machine, files: &[LogFile]) -> Outcome {
    let mut outcome = Outcome::default();
    let current = facts
        .settings
        .get("server_audit_current_log")
        .unwrap_or_default();
    let path = facts
        .settings
        .get("server_audit_file_path")
        .unwrap_or_default();
    let subject = escape(current.as_bytes());
    let restart = "SET GLOBAL server_audit_logging = OFF; SET GLOBAL server_audit_logging = ON;";
    let Some(live) = files.first().filter(|live| {
        live.path
            .as_os_str()
            .as_encoded_bytes()
            .ends_with(current.as_bytes())
    }) else {
        let message = "the server writes to a file that is no longer there: what is logged is lost";
        outcome.find(Finding::new("audit-active", subject, message).step(Place::Sql, restart));
        return outcome;
    };
    let buffered = facts
        .settings
        .number("server_audit_file_buffer_size")
        .unwrap_or(0)
        > 0;
    if !buffered && facts.now.0 - live.modified > JUST_WRITTEN {
        let age = Span(facts.now.0 - live.modified).in_words();
        let message = format!(
            "our own login is not in the log: the file was written {age} ago; it was moved away, or its \
             file system is full"
        );
        outcome
            .find(Finding::new("audit-active", subject.clone(), message).step(Place::Sql, restart));
    }
    let readable = || machine.read.iter().filter_map(|(_, id)| *id);
    if machine.read.is_empty() {
        outcome.not_checked(
            &["audit-active"],
            "what is read is not a file that could be compared",
        );
    } else if readable().next().is_none() {
        let message = "the log that is configured is not there, and the server writes another one: say so \
                       in audit_log of conntracker.toml";
        outcome.find(Finding::new("audit-active", subject, message));
    } else if !readable().any(|id| id == live.id) {
        let shown: Vec<_> = machine
            .read
            .iter()
            .map(|(path, _)| escape(path.as_os_str().as_encoded_bytes()))
            .collect();
        let message = format!(
            "the server writes this file ({}), and {} is read: what is known is another log's",
            escape(path.as_bytes()),
            shown.join(", ")
        );
        outcome.find(Finding::new("audit-active", subject, message));
    }
    outcome
}

/// How far back the rotated files reach once they are full, at the rate at which they were filled.
fn history(facts: &Facts, files: &[LogFile], observed: Observed) -> Outcome {
    let mut outcome = Outcome::default();
    let number = |name| facts.settings.number(name).unwrap_or(0);
    let (size, rotations) = (
        number("server_audit_file_rotate_size"),
        number("server_audit_file_rotations"),
    );
    if rotations == 0 {
        return outcome;
    }
    let Some(rate) = rate(files, observed.first, facts.now) else {
        let why = "nothing is known yet of how fast the log grows";
        outcome.not_checked(&["audit-rotation"], why);
        return outcome;
    };
    // The live file may have been begun just now.
    let held = (size as f64 * rotations as f64 / rate).min(1e12) as i64;
    let interval = observed.interval.unwrap_or(USUAL_INTERVAL).max(1);
    if held >= 2 * interval {
        return outcome;
    }
    let enough = (rate * GOOD_HISTORY.max(10 * interval) as f64 / rotations as f64) as i64;
    let enough = (enough / 1_000_000 + 1) * 1_000_000;
    let message = format!(
        "{} of history: the log grows by {} an hour and {rotations} files of {size} bytes are kept; \
         run conntracker at least every {} (it ran every {}), or keep more",
        Span(held).in_words(),
        bytes((rate * 3_600.0) as u64),
        Span(held / 2).in_words(),
        Span(interval).in_words(),
    );
    let name = "server_audit_file_rotate_size";
    outcome.find(set(
        "audit-rotation",
        name,
        &size.to_string(),
        &enough.to_string(),
        &message,
    ));
    outcome
}

/// Bytes a second: of what was written since the oldest file was done, or since the first record. A
/// file that was never rotated and is younger than the time between two runs says little: some logins
/// in its first second are no rate.
fn rate(files: &[LogFile], first: Option<UtcSeconds>, now: UtcSeconds) -> Option<f64> {
    let oldest = files.iter().min_by_key(|file| file.modified)?;
    let rest = || files.iter().filter(|file| file.path != oldest.path);
    let (bytes, seconds) = match files.len() {
        1 => (oldest.size, (now.0 - first?.0).max(USUAL_INTERVAL)),
        _ => (rest().map(|file| file.size).sum(), now.0 - oldest.modified),
    };
    (bytes > 0).then(|| bytes as f64 / seconds.max(1) as f64)
}

fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} bytes"),
        1_000..1_000_000 => format!("{} KB", count / 1_000),
        _ => format!("{} MB", count / 1_000_000),
    }
}

/// Names, addresses and, with QUERY events, data stand in the log.
fn modes(files: &[LogFile]) -> Option<Finding> {
    let open: Vec<_> = files.iter().filter(|file| file.mode & 0o007 != 0).collect();
    let first = open.first()?;
    let writable = open.iter().any(|file| file.mode & 0o002 != 0);
    let message = match writable {
        true => "everybody on this machine may write to the log, and so make or unmake a login",
        false => "everybody on this machine may read who logs in, from where and when",
    };
    let paths: Vec<_> = open.iter().map(|file| shell_path(&file.path)).collect();
    let finding = Finding::new(
        "audit-file-mode",
        escape(first.path.as_os_str().as_encoded_bytes()),
        message,
    )
    .step(Place::Shell, format!("chmod o-rwx {}", paths.join(" ")));
    Some(Finding {
        severity: if writable {
            super::Severity::Critical
        } else {
            finding.severity
        },
        ..finding
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, size: u64, modified: i64) -> LogFile {
        LogFile {
            path: name.into(),
            mode: 0o100640,
            size,
            modified,
            id: (0, 0),
        }
    }

    #[test]
    fn the_rate_is_that_of_what_was_written() {
        let now = UtcSeconds(1_000_000);
        let rotated = [
            file("log", 500, 1_000_000),
            file("log.1", 1_000, 999_950),
            file("log.2", 1_000, 999_850),
        ];
        assert_eq!(rate(&rotated, None, now), Some(10.0));
        // Before the first rotation.
        let live = [file("log", 500, 1_000_000)];
        assert_eq!(rate(&live, Some(UtcSeconds(999_000)), now), Some(0.5));
        assert_eq!(
            rate(&live, Some(UtcSeconds(999_999)), now),
            Some(500.0 / 600.0)
        );
        assert_eq!(rate(&live, None, now), None);
        assert_eq!(rate(&[], None, now), None);
    }
}
