//! Values as TOML, for what prints a configuration.

use std::path::Path;

use crate::name::is_unsafe_to_show;

/// A list of values that are TOML already.
pub(crate) fn list(strings: impl Iterator<Item = String>) -> String {
    format!("[{}]", strings.collect::<Vec<_>>().join(", "))
}

/// Every path in a configuration is UTF-8, so nothing is lost.
pub(crate) fn path_string(path: &Path) -> String {
    string(&path.to_string_lossy())
}

/// A TOML string that can't act on what shows it.
pub(crate) fn string(text: &str) -> String {
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
