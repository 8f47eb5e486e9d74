//! What is worth a look, and what can be done about it.

use super::registry::{self, Check};
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
}

impl Place {
    /// The name of the place in the JSON output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sql => "sql",
            Self::Options => "options",
            Self::Shell => "shell",
        }
    }
}

/// Something that a person may do, ready to be pasted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where.
    pub place: Place,
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
    /// What cures it; empty where nothing that can be pasted does.
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
    pub fn step(mut self, place: Place, text: impl Into<String>) -> Self {
        self.remedy.push(Step {
            place,
            text: text.into(),
        });
        self
    }

    /// Adds statements, if there are any.
    pub fn sql(self, statements: &[String]) -> Self {
        match statements {
            [] => self,
            _ => self.step(Place::Sql, statements.join("\n")),
        }
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

/// An account as the subject of a finding.
pub(super) fn subject(user: &Name, host: &Name) -> String {
    format!("'{user}'@'{host}'")
}

/// A statement about one account that is no more than it says: a row that account statements can't
/// name could only be deleted as a whole, and gets none.
pub(super) fn statement(before: &str, account: &Account, after: &str) -> Option<String> {
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

/// The row goes.
pub(super) fn drop(account: &Account) -> String {
    Statement::new("DROP USER", account, "").sql().to_owned()
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
