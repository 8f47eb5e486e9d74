//! What is worth a look, with what can be done about it.

use super::{Judged, State};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth a look.
    Warning,
    /// To be seen to now.
    Critical,
}

impl Severity {
    /// The severity's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// One thing that is worth a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check that found it: a stable name.
    pub check: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about, escaped.
    pub subject: String,
    /// What is wrong, and why it matters.
    pub message: String,
    /// Statements for a person to run; empty if there is none.
    pub remedy: String,
}

/// Accounts that can go, and logins that no account explains.
pub fn of_accounts(judged: &Judged) -> Vec<Finding> {
    let mut findings = Vec::new();
    for verdict in &judged.verdicts {
        let check = match verdict.state {
            State::Unused => "unused-account",
            State::NeverUsed => "never-used-account",
            _ => continue,
        };
        let statements = verdict.remedy.iter().flatten();
        let remedy: Vec<_> = statements.map(|statement| statement.sql()).collect();
        findings.push(Finding {
            check,
            severity: Severity::Warning,
            subject: format!("'{}'@'{}'", verdict.user, verdict.host),
            message: format!("{}: an open door that nobody needs", verdict.reason),
            remedy: remedy.join(" "),
        });
    }
    for login in &judged.logins {
        if login.attribution.rows().is_empty() {
            findings.push(Finding {
                check: "unknown-login",
                severity: Severity::Warning,
                subject: format!("'{}' from '{}'", login.name, login.host),
                message:
                    "logged in, and no account of today admits it: the account is gone, or was \
                          changed"
                        .into(),
                remedy: String::new(),
            });
        }
    }
    findings
}
