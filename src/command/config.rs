//! `conntracker config`: what holds, and who said so. What it prints can be saved as the file.

use std::io::Write;
use std::path::PathBuf;

use crate::check::registry::Check;
use crate::config::toml::{list, path_string, string};
use crate::config::{CheckConfig, Loaded, MariaDbConfig, RunConfig};
use crate::error::{ExitStatus, Result};
use crate::mariadb::Access;
use crate::name::escape;
use crate::store::Retention;

/// Prints the effective configuration as TOML with comments.
pub(super) fn print(loaded: &Loaded) -> Result<ExitStatus> {
    let mut out = super::stdout();
    out.write_all(toml(loaded).as_bytes())?;
    out.flush()?;
    Ok(ExitStatus::Fine)
}

fn toml(loaded: &Loaded) -> String {
    let config = &loaded.config;
    let line = |setting: String, key: &str| match loaded.origins.get(key) {
        Some(origin) => format!("{setting}  # {}\n", escape(origin.as_bytes())),
        None => format!("{setting}\n"),
    };
    let logs = config.audit_log.iter().map(|path| path_string(path));
    let stores = config.stores.iter().map(|store| string(store.name()));
    let server_name = match &config.server_name {
        Some(name) => format!("server_name = {}", string(name)),
        None => "# server_name = \"db1\"".into(),
    };
    [
        line(format!("audit_log = {}", list(logs)), "audit_log"),
        line(
            format!("time_zone = {}", string(&config.time_zone.to_string())),
            "time_zone",
        ),
        line(server_name, "server_name"),
        line(format!("stores = {}", list(stores)), "stores"),
        table("run", &run(&config.run), loaded),
        table(
            "sqlite",
            &[("path", Some(path_string(&config.sqlite.path)))],
            loaded,
        ),
        table("mariadb", &mariadb(&config.mariadb), loaded),
        match config.mariadb.access.password {
            Some(_) => "# the password is in the environment\n".into(),
            None => String::new(),
        },
        table("server", &server(&config.server), loaded),
        table("activity", &activity(&config.activity), loaded),
        table("check", &check(&config.check), loaded),
    ]
    .concat()
}

/// A table of keys with their settings, and where each comes from; what is not set is a comment.
fn table(name: &str, settings: &[(&str, Option<String>)], loaded: &Loaded) -> String {
    let line = |(key, value): &(&str, Option<String>)| {
        let setting = match value {
            Some(value) => format!("{key} = {value}"),
            None => format!("# {key}"),
        };
        let origin = loaded.origins.get(&*format!("{name}.{key}"));
        let origin = origin.map_or("", |origin| origin);
        format!("{setting}  # {}\n", escape(origin.as_bytes()))
    };
    let lines: String = settings.iter().map(line).collect();
    format!("\n[{name}]\n{lines}")
}

fn run(config: &RunConfig) -> [(&'static str, Option<String>); 3] {
    let accounts = config.textfile.is_some();
    [
        ("textfile", path(&config.textfile)),
        (
            "textfile_accounts",
            accounts.then(|| config.textfile_accounts.to_string()),
        ),
        ("threads", config.threads.map(|threads| threads.to_string())),
    ]
}

fn mariadb(config: &MariaDbConfig) -> [(&'static str, Option<String>); 9] {
    let access = &config.access;
    [
        ("socket", path(&access.socket)),
        ("host", text(&access.host)),
        ("port", access.port.map(|port| port.to_string())),
        ("tls", access.tls.map(|tls| tls.to_string())),
        ("tls_ca", path(&access.tls_ca)),
        ("user", text(&access.user)),
        ("database", Some(string(&config.database))),
        ("password_file", path(&access.password_file)),
        ("defaults_file", path(&access.defaults_file)),
    ]
}

fn server(access: &Access) -> [(&'static str, Option<String>); 4] {
    [
        ("socket", path(&access.socket)),
        ("user", text(&access.user)),
        ("password_file", path(&access.password_file)),
        ("defaults_file", path(&access.defaults_file)),
    ]
}

fn activity(kept: &Retention) -> [(&'static str, Option<String>); 2] {
    [
        ("hours_kept", Some(string(&kept.hours.to_string()))),
        ("days_kept", Some(string(&kept.days.to_string()))),
    ]
}

fn check(config: &CheckConfig) -> [(&'static str, Option<String>); 6] {
    let policy = &config.policy;
    let checks = |checks: &[&Check]| list(checks.iter().map(|check| string(check.id)));
    let severity = policy.severity.iter();
    let severity =
        severity.map(|(check, severity)| format!("{} = {}", check.id, string(severity.name())));
    let accept = policy.accept.iter().map(|one| {
        format!(
            "{{ check = {}, subject = {}, reason = {}, until = {} }}",
            string(one.check.id),
            string(&one.subject),
            string(&one.reason),
            string(&one.until.to_string())
        )
    });
    let clients = policy.expect_clients.iter();
    [
        (
            "unused_after",
            Some(string(&config.unused_after.to_string())),
        ),
        (
            "expect_clients",
            Some(list(clients.map(|client| string(&client.to_string())))),
        ),
        (
            "only",
            Some(policy.only.as_slice())
                .filter(|only| !only.is_empty())
                .map(checks),
        ),
        (
            "skip",
            Some(policy.skip.as_slice())
                .filter(|skip| !skip.is_empty())
                .map(checks),
        ),
        (
            "severity",
            (!policy.severity.is_empty())
                .then(|| format!("{{ {} }}", severity.collect::<Vec<_>>().join(", "))),
        ),
        ("accept", (!policy.accept.is_empty()).then(|| list(accept))),
    ]
}

fn text(value: &Option<String>) -> Option<String> {
    value.as_deref().map(string)
}

fn path(value: &Option<PathBuf>) -> Option<String> {
    value.as_deref().map(path_string)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::path::Path;

    use super::*;
    use crate::config::{Layer, load};

    fn loaded(folder: &Path, flags: Vec<Layer>) -> Loaded {
        load(None, flags, [], folder).unwrap()
    }

    #[test]
    fn says_what_holds_and_where_it_comes_from() {
        let folder = tempfile::tempdir().unwrap();
        let flags = vec![
            Layer::flag("--time-zone", "time_zone", OsStr::new("+01:00")).unwrap(),
            Layer::flags("--audit-log", "audit_log", ["/a".as_ref(), "-".as_ref()]).unwrap(),
            Layer::flag("--user", "mariadb.user", OsStr::new("conntrack")).unwrap(),
            Layer::flag("--user", "server.user", OsStr::new("conntrack")).unwrap(),
        ];
        assert_eq!(
            toml(&loaded(folder.path(), flags)),
            "\
audit_log = [\"/a\", \"-\"]  # from --audit-log
time_zone = \"+01:00\"  # from --time-zone
# server_name = \"db1\"  # default: the serverhost that the log names
stores = [\"sqlite\"]  # default

[run]
# textfile  # default: none
# textfile_accounts  # default: none
# threads  # default: one for each processor, at most 8

[sqlite]
path = \"/var/lib/conntracker/conntracker.sqlite\"  # default

[mariadb]
# socket  # default: where this system's server listens
# host  # default: none
# port  # default: none
# tls  # default: none
# tls_ca  # default: none
user = \"conntrack\"  # from --user
database = \"conntrack\"  # default
# password_file  # default: none
# defaults_file  # default: none

[server]
# socket  # default: as for a store over the socket
user = \"conntrack\"  # from --user
# password_file  # default: none
# defaults_file  # default: none

[activity]
hours_kept = \"35d\"  # default
days_kept = \"400d\"  # default

[check]
unused_after = \"90d\"  # default
expect_clients = [\"localhost\", \"127.0.0.1\", \"::1\"]  # default
# only  # default: none
# skip  # default: none
# severity  # default: none
# accept  # default: none
"
        );
    }

    #[test]
    fn what_it_prints_is_the_same_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let flags = vec![
            Layer::flag(
                "--server-name",
                "server_name",
                OsStr::new("a\"\\\n\u{202e}\u{e0041}é"),
            )
            .unwrap(),
            Layer::flag("--time-zone", "time_zone", OsStr::new("Europe/Zurich")).unwrap(),
            Layer::flag("--socket", "mariadb.socket", OsStr::new("/a # b")).unwrap(),
        ];
        let file = folder.path().join("conntracker.toml");
        let check = r#"
[run]
textfile = "/a b/é.prom"
textfile_accounts = true
threads = 3
[activity]
hours_kept = "14d"
days_kept = "3w"
[check]
expect_clients = ["10.0.0.0/8", "::1", "app1"]
skip = ["wide-scope"]
only = ["bind-address", "audit-active"]
severity = { bind-address = "critical", audit-active = "warning" }
[[check.accept]]
check = "wide-scope"
subject = "'a\"b'@'%'"
reason = "two \u202e tenants"
until = "2027-06-30"
[[check.accept]]
check = "bind-address"
subject = "*"
reason = ""
until = "2028-01-01"
"#;
        std::fs::write(&file, check).unwrap();
        let first = loaded(folder.path(), flags);
        assert_eq!(first.config.check.policy.accept.len(), 2);
        std::fs::write(&file, toml(&first)).unwrap();
        assert_eq!(loaded(folder.path(), Vec::new()).config, first.config);
    }
}
