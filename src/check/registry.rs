//! Every check by its stable name: how bad what it finds is, what it needs, and which public rules
//! ask for it. docs/CHECKS.md has a section for each.

use super::finding::Severity::{self, Critical, Warning};

/// What a check looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// The server's own answers, and the machine that it runs on.
    Server,
    /// What was read of the log.
    Log,
    /// Both, or one checked against the other.
    Both,
}

/// A check.
#[derive(Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name, for configuration and programs.
    pub id: &'static str,
    /// How bad what it finds is, unless the finding itself or the configuration says otherwise.
    pub severity: Severity,
    /// What it needs.
    pub needs: Needs,
    /// What must be so.
    pub title: &'static str,
    /// The rules that ask for it: CIS MariaDB 10.11 Benchmark, PCI DSS 4.0. May be empty.
    pub rules: &'static str,
}

const fn check(
    id: &'static str,
    severity: Severity,
    needs: Needs,
    title: &'static str,
    rules: &'static str,
) -> Check {
    Check {
        id,
        severity,
        needs,
        title,
        rules,
    }
}

/// All checks, in the order in which they are told.
#[rustfmt::skip]
pub static CHECKS: [Check; 33] = [
    check("bind-address", Warning, Needs::Server, "TCP is for this machine only", "CIS 2.9"),
    check("listening-sockets", Critical, Needs::Server, "The server listens where its settings say", "CIS 2.9"),
    check("unix-socket", Critical, Needs::Server, "Nobody else can put himself in the socket's place", "CIS 2.8"),
    check("secure-transport", Warning, Needs::Server, "Beyond this machine, TCP is encrypted", ""),
    check("client-host", Warning, Needs::Server, "Who is connected is expected", ""),
    check("login-host", Warning, Needs::Log, "Who logged in since the last check is expected", ""),
    check("audit-active", Critical, Needs::Server, "The audit plugin writes the log that is read", ""),
    check("audit-events", Critical, Needs::Server, "Logins are logged, statements are not", ""),
    check("audit-output", Warning, Needs::Server, "The log is a file that only the server writes", ""),
    check("audit-rotation", Warning, Needs::Server, "The rotated files hold enough history", ""),
    check("audit-permanent", Warning, Needs::Server, "The audit plugin can't be unloaded", "CIS 6.5"),
    check("audit-file-mode", Warning, Needs::Server, "The log is not for everybody", ""),
    check("log-gap", Warning, Needs::Log, "The log has no gap", ""),
    check("forged-records", Warning, Needs::Log, "Every record is believed", ""),
    check("failed-logins", Warning, Needs::Log, "No login was refused since the last check", ""),
    check("login-burst", Critical, Needs::Log, "Nobody tries many names from one place", ""),
    check("guessed-password", Critical, Needs::Log, "No login succeeded after many refusals", ""),
    check("failing-account", Warning, Needs::Log, "No client only ever fails", ""),
    check("unusual-time", Warning, Needs::Log, "Every account logs in at its usual hours", ""),
    check("unusual-rate", Warning, Needs::Log, "No account logs in far more often than ever", ""),
    check("anonymous-account", Critical, Needs::Server, "No account is for anybody", ""),
    check("root-remote", Critical, Needs::Server, "root comes in on this machine only", ""),
    check("empty-password", Critical, Needs::Server, "No account is open without a password", ""),
    check("all-privileges", Critical, Needs::Server, "Only root may do everything", "CIS 5.1"),
    check("powerful-account", Warning, Needs::Server, "Administrative rights are root's", "CIS 5.1 to 5.8"),
    check("wide-scope", Warning, Needs::Server, "An application's account has rights on its own database", ""),
    check("wildcard-host", Warning, Needs::Server, "No account is open to every host", ""),
    check("expired-password", Warning, Needs::Server, "No account waits for a new password", ""),
    check("unused-account", Warning, Needs::Both, "Every account is used", "CIS 2.7, PCI DSS 8.2.6"),
    check("never-used-account", Warning, Needs::Both, "Every account was used", "CIS 2.7, PCI DSS 8.2.6"),
    check("unknown-login", Warning, Needs::Both, "Every login belongs to an account", ""),
    check("new-account", Warning, Needs::Server, "No account appeared since the last check", ""),
    check("changed-account", Warning, Needs::Server, "No account changed since the last check", ""),
];

/// The check of this name.
pub fn find(id: &str) -> Option<&'static Check> {
    CHECKS.iter().find(|check| check.id == id)
}

/// The check of this name; the error says which there are.
pub fn parse(id: &str) -> Result<&'static Check, String> {
    find(id).ok_or_else(|| {
        let known: Vec<_> = CHECKS.iter().map(|check| check.id).collect();
        let shown = crate::name::escape(id.as_bytes());
        format!("'{shown}' is not a check; there are {}", known.join(", "))
    })
}

/// A check that is known to be there: the program's own word.
pub(super) fn get(id: &str) -> &'static Check {
    let found = find(id);
    debug_assert!(found.is_some(), "there is no check {id}");
    found.unwrap_or(&CHECKS[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_has_a_name_of_its_own_and_a_section() {
        let page = include_str!("../../docs/CHECKS.md");
        let headings = page.lines().filter_map(|line| line.strip_prefix("### "));
        let mut written: Vec<_> = headings.flat_map(|line| line.split(", ")).collect();
        let mut known: Vec<_> = CHECKS.iter().map(|check| check.id).collect();
        written.sort_unstable();
        known.sort_unstable();
        assert_eq!(written, known);
        known.dedup();
        assert_eq!(known.len(), CHECKS.len());
        for check in &CHECKS {
            assert_eq!(parse(check.id), Ok(check));
        }
        assert!(parse("Bind-Address").is_err());
    }
}
