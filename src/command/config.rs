//! `conntracker config`: what holds, and who said so. What it prints can be saved as the file.

use std::io::Write;
use std::path::Path;

use crate::config::Loaded;
use crate::error::{ExitStatus, Result};
use crate::name::{escape, is_unsafe_to_show};

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
    let server = match &config.server_name {
        Some(name) => format!("server_name = {}", string(name)),
        None => "# server_name = \"db1\"".into(),
    };
    [
        line(format!("audit_log = {}", list(logs)), "audit_log"),
        line(
            format!("time_zone = {}", string(&config.time_zone.to_string())),
            "time_zone",
        ),
        line(server, "server_name"),
        line(format!("stores = {}", list(stores)), "stores"),
        "\n[sqlite]\n".into(),
        line(
            format!("path = {}", path_string(&config.sqlite.path)),
            "sqlite.path",
        ),
    ]
    .concat()
}

fn list(strings: impl Iterator<Item = String>) -> String {
    format!("[{}]", strings.collect::<Vec<_>>().join(", "))
}

/// Every path in a configuration is UTF-8, so nothing is lost.
fn path_string(path: &Path) -> String {
    string(&path.to_string_lossy())
}

/// A TOML string that can't act on what shows it.
fn string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if is_unsafe_to_show(c) => out.push_str(&format!("\\U{:08x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

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
        ];
        assert_eq!(
            toml(&loaded(folder.path(), flags)),
            "\
audit_log = [\"/a\", \"-\"]  # from --audit-log
time_zone = \"+01:00\"  # from --time-zone
# server_name = \"db1\"  # default: the serverhost that the log names
stores = [\"sqlite\"]  # default

[sqlite]
path = \"/var/lib/conntracker/conntracker.sqlite\"  # default
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
        ];
        let first = loaded(folder.path(), flags);
        std::fs::write(folder.path().join("conntracker.toml"), toml(&first)).unwrap();
        assert_eq!(loaded(folder.path(), Vec::new()).config, first.config);
    }
}
