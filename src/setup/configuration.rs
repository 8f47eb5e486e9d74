//! The configuration file: what the server's facts require beyond what holds without them.

use std::path::PathBuf;

use super::{Notes, Part, Seen, Situation, is_central, keeps_here, shown, zone};
use crate::config::toml::{list, path_string, string};
use crate::config::{Config, StoreKind};

/// Where syslog puts records of programs on Debian, for want of a file that is there.
const USUAL_SYSLOG: &str = "/var/log/syslog";

/// See [`super::decide`].
pub(super) fn decide(situation: &Situation) -> (Config, Notes) {
    let mut notes = Notes::default();
    let mut config = situation.wanted.clone();
    if let Some(socket) = &situation.doubtful_socket {
        notes.doubt(format!(
            "whether {} is the server's socket, and all that is said here the server's word: nobody \
             named it, and others than the server's user could have put it there. --socket names it, if \
             it is",
            shown(socket)
        ));
    }
    let Ok(seen) = &situation.server else {
        notes.remark("The server was not asked: this is what can be said without it.");
        if let (false, [log, ..]) = (situation.log_is_given, &*situation.logs) {
            notes.remark("The audit log is one that was found. Is it this server's?");
            config.audit_log = vec![log.clone()];
        }
        return (config, notes);
    };
    let facts = &seen.setup.facts;
    config.time_zone = zone::of_server(facts, &situation.zones, &mut notes);
    if let Some(socket) = &seen.socket {
        config.server.socket = Some(socket.clone());
        if keeps_here(&config) {
            config.mariadb.access.socket = Some(socket.clone());
        }
    }
    if !seen.others.is_empty() {
        let others: Vec<_> = seen.others.iter().map(|path| shown(path)).collect();
        notes.remark(format!(
            "More servers listen here: {}; --socket names another one.",
            others.join(", ")
        ));
    }
    config.audit_log = audit_log(situation, seen, &mut notes);
    if facts.hostname.0.is_empty() || facts.hostname.0 == b"localhost" {
        if config.server_name.is_none() {
            notes.remark(format!(
                "The server calls itself '{}': set server_name if there will be another one of that name.",
                facts.hostname
            ));
        }
    } else if is_central(&config) && config.server_name.is_none() {
        notes.remark(format!(
            "In the central store this server will be '{}': set server_name if another one has that name.",
            facts.hostname
        ));
    }
    (config, notes)
}

fn audit_log(situation: &Situation, seen: &Seen, notes: &mut Notes) -> Vec<PathBuf> {
    let settings = &seen.setup.facts.settings;
    let configured = || situation.wanted.audit_log.clone();
    let names = |paths: &[PathBuf]| {
        let paths: Vec<_> = paths.iter().map(|path| shown(path)).collect();
        paths.join(", ")
    };
    if settings.get("server_audit_output_type") == Some("syslog") {
        if situation.log_is_given {
            return configured();
        }
        if let Some(path) = situation.syslog_files.first() {
            notes
                .remark("The plugin writes to syslog; is this the file into which syslog puts it?");
            return vec![path.clone()];
        }
        notes.doubt(
            "where syslog puts the plugin's records: there is no file of syslog. From the journal they \
             are read by: journalctl -o short-iso -t mysql-server_auditing --since yesterday | \
             conntracker --audit-log -",
        );
        return vec![USUAL_SYSLOG.into()];
    }
    let Some(live) = &seen.log else {
        notes.doubt("where the audit log is: the server does not say where its data is");
        return configured();
    };
    if !seen.is_here {
        notes.doubt(format!(
            "where the audit log is: the server writes {}, but no process of this machine listens on its \
             socket. In a container it sees other paths; --audit-log names the file as it is seen here",
            shown(live)
        ));
        return if situation.log_is_given {
            configured()
        } else {
            vec![live.clone()]
        };
    }
    if seen.log_is_read {
        return configured();
    }
    if live.to_str().is_none_or(|path| path.contains('\u{fffd}')) {
        notes.doubt(format!(
            "the name of the audit log, {}: it is not UTF-8; give it another one (server_audit_file_path)",
            shown(live)
        ));
    }
    if situation.log_is_given {
        notes.doubt(format!(
            "which log is meant: audit_log was {}, and the server writes {}",
            names(&situation.wanted.audit_log),
            shown(live)
        ));
    }
    vec![live.clone()]
}

/// The file, and whether there is something to be done about it.
pub(super) fn part(situation: &Situation, config: &Config, mut notes: Notes) -> Part {
    let file = shown(&situation.file);
    let required = keys(situation, config, true);
    let body = match (situation.file_exists, required.is_empty()) {
        (true, true) => {
            notes.remark("The file that is there fits.");
            String::new()
        }
        (true, false) => {
            notes.remark("The file is there already. These keys of it have to be:");
            required
        }
        (false, _) => {
            notes.remark("'conntracker init --write' writes it. What is a comment is the default.");
            keys(situation, config, false)
        }
    };
    Part {
        heading: format!("Configuration, the file {file}"),
        notes,
        body,
    }
}

/// The keys that `init` decides on. Those that hold anyway are comments, or left out.
fn keys(situation: &Situation, config: &Config, only_required: bool) -> String {
    let base = &situation.base;
    let line = |key: &str, value: Option<String>, before: Option<String>| {
        let holds = value == before;
        match value {
            Some(value) if !holds => format!("{key} = {value}\n"),
            Some(value) if !only_required => format!("# {key} = {value}\n"),
            _ => String::new(),
        }
    };
    let logs = |config: &Config| Some(list(config.audit_log.iter().map(|path| path_string(path))));
    let stores = |config: &Config| {
        let names = config.stores.iter().copied().map(StoreKind::name);
        Some(list(names.map(string)))
    };
    let zone = |zone: &crate::time::Zone| string(&zone.to_string());
    let text = |text: &Option<String>| text.as_deref().map(string);
    let path = |path: &Option<PathBuf>| path.as_deref().map(path_string);
    let top = [
        line("audit_log", logs(config), logs(base)),
        line(
            "time_zone",
            Some(zone(&config.time_zone)),
            situation.base_zone.as_ref().map(zone),
        ),
        line(
            "server_name",
            text(&config.server_name),
            text(&base.server_name),
        ),
        line("stores", stores(config), stores(base)),
    ];
    let sqlite = |config: &Config| Some(path_string(&config.sqlite.path));
    let (store, before) = (&config.mariadb.access, &base.mariadb.access);
    let number = |port: Option<u16>| port.map(|port| port.to_string());
    let flag = |tls: Option<bool>| tls.map(|tls| tls.to_string());
    let mariadb = [
        line("socket", path(&store.socket), path(&before.socket)),
        line("host", text(&store.host), text(&before.host)),
        line("port", number(store.port), number(before.port)),
        line("tls", flag(store.tls), flag(before.tls)),
        line("tls_ca", path(&store.tls_ca), path(&before.tls_ca)),
        line("user", text(&store.user), text(&before.user)),
        line(
            "database",
            Some(string(&config.mariadb.database)),
            Some(string(&base.mariadb.database)),
        ),
        line(
            "password_file",
            path(&store.password_file),
            path(&before.password_file),
        ),
        line(
            "defaults_file",
            path(&store.defaults_file),
            path(&before.defaults_file),
        ),
    ];
    // What is not said of the server is as for a store over the socket.
    let local = Some(store).filter(|store| store.host.is_none());
    let told = |value: &Option<PathBuf>, by: Option<&Option<PathBuf>>| {
        path(value).filter(|_| Some(value) != by)
    };
    let (server, earlier) = (&config.server, &base.server);
    let server = [
        line(
            "socket",
            told(&server.socket, local.map(|store| &store.socket)),
            path(&earlier.socket),
        ),
        line(
            "user",
            text(&server.user).filter(|_| Some(&server.user) != local.map(|store| &store.user)),
            text(&earlier.user),
        ),
        line(
            "password_file",
            told(
                &server.password_file,
                local.map(|store| &store.password_file),
            ),
            path(&earlier.password_file),
        ),
        line(
            "defaults_file",
            told(
                &server.defaults_file,
                local.map(|store| &store.defaults_file),
            ),
            path(&earlier.defaults_file),
        ),
    ];
    [
        top.concat(),
        table(
            "sqlite",
            &line("path", sqlite(config), sqlite(base)),
            only_required,
        ),
        table("mariadb", &mariadb.concat(), only_required),
        table("server", &server.concat(), only_required),
    ]
    .concat()
}

/// A table with its keys; where all of them hold anyway, it is a comment, too.
fn table(name: &str, lines: &str, only_required: bool) -> String {
    let is_set = lines.lines().any(|line| !line.starts_with('#'));
    match (is_set, lines.is_empty()) {
        (true, _) => format!("\n[{name}]\n{lines}"),
        (false, false) if !only_required => format!("\n# [{name}]\n{lines}"),
        _ => String::new(),
    }
}
