//! What is worth a look, and what can be done about it.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::registry::{self, Check};
use super::rights::PUBLIC;
use crate::account::{Account, Statement};
use crate::name::Name;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth a look.
    Warning,
    /// To be seen to now.
    Critical,
}

impl Severity {
    /// The severity by its name; the error says which names there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "warning" => Ok(Self::Warning),
            "critical" => Ok(Self::Critical),
            _ => {
                let shown = crate::name::escape(text.as_bytes());
                Err(format!(
                    "'{shown}' is not a severity: write warning or critical"
                ))
            }
        }
    }

    /// The severity's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Where a step of a remedy belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// An administrator's `mariadb`.
    Sql,
    /// A file of options that the server reads when it starts.
    Options,
    /// A shell on the database host.
    Shell,
    /// The same; it cures nothing, but shows what a person has to know before he can.
    Look,
}

impl Place {
    /// The name of the place in the JSON output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sql => "sql",
            Self::Options => "options",
            Self::Shell => "shell",
            Self::Look => "look",
        }
    }
}

/// When a step comes, where several are done one after the other: a statement about an account fails
/// behind the one that renames or drops it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// At any time before the others.
    Change,
    /// The account has another name from here on.
    Rename,
    /// The account is gone from here on.
    Drop,
}

/// Something that a person may do, ready to be pasted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where.
    pub place: Place,
    /// When.
    pub turn: Turn,
    /// What; may have several lines.
    pub text: String,
}

/// One thing that is worth a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check that found it.
    pub check: &'static Check,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about, escaped.
    pub subject: String,
    /// What is wrong, and why it matters.
    pub message: String,
    /// What cures it, or shows what is behind it.
    pub remedy: Vec<Step>,
}

impl Finding {
    /// A finding of the check `id`, as bad as the check says.
    pub fn new(id: &str, subject: impl Into<String>, message: impl Into<String>) -> Self {
        let check = registry::get(id);
        Self {
            check,
            severity: check.severity,
            subject: subject.into(),
            message: message.into(),
            remedy: Vec::new(),
        }
    }

    /// Not as bad as others of its check.
    pub fn only_a_warning(self) -> Self {
        Self {
            severity: Severity::Warning,
            ..self
        }
    }

    /// Adds a step to the remedy.
    pub fn step(self, place: Place, text: impl Into<String>) -> Self {
        self.in_turn(Turn::Change, place, text.into())
    }

    fn in_turn(mut self, turn: Turn, place: Place, text: String) -> Self {
        self.remedy.push(Step { place, turn, text });
        self
    }

    /// Adds a statement that gives an account another name.
    pub fn rename(self, statement: String) -> Self {
        self.in_turn(Turn::Rename, Place::Sql, statement)
    }

    /// Adds statements that end with the account's.
    pub fn drop(self, statements: String) -> Self {
        self.in_turn(Turn::Drop, Place::Sql, statements)
    }

    /// Adds statements, if there are any.
    pub fn sql(self, statements: &[String]) -> Self {
        match statements {
            [] => self,
            _ => self.step(Place::Sql, statements.join("\n")),
        }
    }

    /// Adds a command that shows what is behind it.
    pub fn look(self, command: impl Into<String>) -> Self {
        self.step(Place::Look, command)
    }

    /// Adds settings of the server, which hold from its next start on.
    pub fn options(self, settings: &[&str]) -> Self {
        self.step(
            Place::Options,
            format!("[mariadbd]\n{}", settings.join("\n")),
        )
    }

    /// The whole remedy as one text.
    pub fn remedy_text(&self) -> String {
        let steps: Vec<_> = self.remedy.iter().map(|step| &*step.text).collect();
        steps.join("\n")
    }
}

/// A check that could not be made, or not in full. It is never reported as fine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unchecked {
    /// The check.
    pub check: &'static Check,
    /// Why, and what to do about it.
    pub why: String,
}

/// What some checks came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What is worth a look.
    pub findings: Vec<Finding>,
    /// What could not be checked.
    pub unchecked: Vec<Unchecked>,
    /// Checks that do not know enough yet: nothing is wrong with that, but they have not passed.
    pub too_early: Vec<&'static Check>,
}

impl Outcome {
    /// Adds a finding.
    pub fn find(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Says that these checks could not be made.
    pub fn not_checked(&mut self, ids: &[&str], why: &str) {
        for id in ids {
            self.unchecked.push(Unchecked {
                check: registry::get(id),
                why: why.to_owned(),
            });
        }
    }

    /// Says that these checks need more history.
    pub fn too_early(&mut self, ids: &[&str]) {
        self.too_early
            .extend(ids.iter().map(|id| registry::get(id)));
    }

    /// Adds what others came to.
    pub fn add(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.unchecked.extend(other.unchecked);
        self.too_early.extend(other.too_early);
    }
}

/// What helps where something of the server can't be read.
pub(super) const VIEWS: &str = "conntracker schema --store mariadb prints views that say it";

/// An account as the subject of a finding.
pub(super) fn subject(user: &Name, host: &Name) -> String {
    format!("'{user}'@'{host}'")
}

/// A statement about one account that is no more than it says: a row that account statements can't
/// name could only be deleted as a whole, and gets none.
pub(super) fn statement(before: &str, account: &Account, after: &str) -> Option<String> {
    if account.is_role && account.user.0 == PUBLIC {
        // A keyword, not a name.
        return Some(format!("{before} PUBLIC;"));
    }
    match Statement::new(before, account, after) {
        Statement::Sql(sql) => Some(sql),
        Statement::RowOnly(_) => None,
    }
}

/// Nobody comes in any more; where no statement can name the row, it goes.
pub(super) fn lock(account: &Account) -> String {
    Statement::new("ALTER USER", account, "ACCOUNT LOCK")
        .sql()
        .to_owned()
}

/// Nobody comes in any more, then the row goes: of the two the first can be taken back. In one line,
/// so that several findings that ask for it are one.
pub(super) fn lock_and_drop(account: &Account) -> String {
    let drop = Statement::new("DROP USER", account, "");
    match (lock(account), drop.sql()) {
        (lock, drop) if lock == drop => lock,
        (lock, drop) => format!("{lock} {drop}"),
    }
}

/// A path as one word of a shell.
pub(crate) fn shell_path(path: &Path) -> String {
    shell(path.as_os_str().as_bytes())
}

/// Any bytes as one word of a shell, whatever a terminal would make of them.
pub(super) fn shell(bytes: &[u8]) -> String {
    let is_plain = |c: char| c.is_ascii_graphic() || c == ' ';
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(is_plain) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => {
            let byte = |byte: &u8| match byte {
                b if b.is_ascii_alphanumeric() || b"/._-".contains(b) => char::from(*b).to_string(),
                b => format!("\\x{b:02x}"),
            };
            format!("$'{}'", bytes.iter().map(byte).collect::<String>())
        }
    }
}

/// Some of many things, and how many more there are.
pub(super) fn some_of(all: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = all[..all.len().min(SHOWN)].join(", ");
    match all.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_word_of_a_shell() {
        for (name, word) in [
            ("/run/mysqld", "'/run/mysqld'"),
            ("/a b/$(x)", "'/a b/$(x)'"),
            ("it's", r"'it'\''s'"),
            ("/a\nb", r"$'/a\x0ab'"),
            ("/\u{202e}", r"$'/\xe2\x80\xae'"),
            ("a\n'b\\", r"$'a\x0a\x27b\x5c'"),
            ("", "''"),
        ] {
            assert_eq!(shell(name.as_bytes()), word);
        }
    }
}
