//! All checks, over what was read. What is missing is said of each check that needed it.

use super::accounts::{self, Clients};
use super::audit_plugin::{self, Observed};
use super::coverage::HELD_BACK;
use super::expected::Client;
use super::finding::{Finding, Outcome};
use super::memory::{LogMemory, Memory};
use super::registry::{CHECKS, Needs};
use super::rhythm::Rhythm;
use super::{Covered, Judged, changes, clients, log, logins, network, privileges};
use crate::machine::Machine;
use crate::name::Name;
use crate::server::Facts;
use crate::store::{AccountUse, Doubtful, FailedConnect};
use crate::time::UtcSeconds;

/// What the store holds of one server.
#[derive(Clone, Debug, Default)]
pub struct LogEvidence {
    /// What the log covers.
    pub covered: Covered,
    /// All logins.
    pub logins: Vec<AccountUse>,
    /// All refused logins.
    pub failures: Vec<FailedConnect>,
    /// Records that were not believed, oldest first.
    pub doubts: Vec<Doubtful>,
    /// When each name came in; none if no log was read.
    pub rhythm: Option<Rhythm>,
    /// How many passes over the log there were.
    pub passes: u64,
}

/// What was read, or why it was not.
pub struct Evidence<'a> {
    /// The name of the server in the store.
    pub server: &'a Name,
    /// What the server and its machine say.
    pub facts: Result<(&'a Facts, &'a Machine), String>,
    /// What was read of the log.
    pub log: Result<&'a LogEvidence, String>,
    /// The log could not be read just now: what was read of it is not all.
    pub unread: bool,
    /// It was read just now. Where no check asked for it, neither is so.
    pub read_now: bool,
    /// The cross-check; there is one where there are both.
    pub judged: Option<&'a Judged<'a>>,
    /// Logins before this time are not asked about.
    pub since: UtcSeconds,
    /// What the last check knew.
    pub memory: &'a Memory,
    /// Clients that are expected.
    pub expected: &'a [Client],
    /// When.
    pub now: UtcSeconds,
}

/// Makes all checks. The second is what the next one has to know.
pub fn run(evidence: &Evidence<'_>) -> (Outcome, Memory) {
    let mut outcome = Outcome::default();
    let mut memory = evidence.memory.clone();
    let ids = |needs: &[Needs]| -> Vec<&str> {
        let needed = CHECKS.iter().filter(|check| needs.contains(&check.needs));
        needed.map(|check| check.id).collect()
    };
    match &evidence.facts {
        Ok((facts, machine)) => {
            outcome.add(network::check(facts, machine));
            outcome.add(clients::connected(facts, evidence.expected));
            outcome.add(audit_plugin::check(facts, machine, observed(evidence)));
            let covered = evidence.log.as_ref().ok().map(|read| &read.covered);
            let up_to_now = evidence.read_now
                && covered.is_some_and(|covered| {
                    let now = evidence.now;
                    covered.may_hide(now, now, HELD_BACK.0).is_none()
                });
            let judged = evidence.judged.filter(|_| up_to_now);
            let verdicts = judged.map(|judged| &*judged.verdicts);
            outcome.add(accounts::check(facts, &Clients(verdicts)));
            outcome.add(privileges::check(facts));
            let known = evidence.memory.accounts.as_ref();
            memory.accounts = Some(changes::check(facts, known, &mut outcome));
        }
        Err(why) => outcome.not_checked(&ids(&[Needs::Server, Needs::Both]), why),
    }
    match (&evidence.log, evidence.facts.is_ok()) {
        (Ok(read), _) if read.covered.span.is_some() => {
            memory.log = Some(of_the_log(evidence, read, &mut outcome));
            if evidence.unread {
                let why = "the log can't be read now: only what earlier runs read was looked at";
                outcome.not_checked(&ids(&[Needs::Log]), why);
            }
        }
        (Ok(_), true) => outcome.not_checked(&ids(&[Needs::Log, Needs::Both]), NO_LOG),
        (Ok(_), false) => outcome.not_checked(&ids(&[Needs::Log]), NO_LOG),
        (Err(why), true) => outcome.not_checked(&ids(&[Needs::Log, Needs::Both]), why),
        (Err(why), false) => outcome.not_checked(&ids(&[Needs::Log]), why),
    }
    if let Some(judged) = evidence.judged {
        outcome.add(accounts::usage(&judged.verdicts));
        outcome
            .findings
            .extend(unknown_logins(judged, evidence.since));
    }
    (outcome, memory)
}

const NO_LOG: &str = "no log was read yet; conntracker run does so";

/// The checks of the log alone.
fn of_the_log(evidence: &Evidence<'_>, read: &LogEvidence, outcome: &mut Outcome) -> LogMemory {
    let nothing = LogMemory::default();
    let known = evidence.memory.log.as_ref().unwrap_or(&nothing);
    let since = logins::Since {
        checked: known.checked,
        read: known.read.map(|read| read.min(evidence.now)),
        now: evidence.now,
    };
    log::check(evidence.server, &read.covered, &read.doubts, known, outcome);
    LogMemory {
        checked: Some(evidence.now),
        // A record of a clock that was ahead makes no later one old.
        read: read.covered.span.map(|(_, to)| to.min(evidence.now)),
        passes: read.passes,
        attempts: logins::check(
            evidence.server,
            &read.failures,
            &read.logins,
            evidence.judged,
            &known.attempts,
            since,
            outcome,
        ),
        unexpected: clients::logged_in(&read.logins, evidence.expected, &known.unexpected, outcome),
        rhythm: match &read.rhythm {
            Some(rhythm) => rhythm.check(&read.covered, &known.rhythm, outcome),
            None => known.rhythm.clone(),
        },
        gap: read.covered.gaps.iter().map(|gap| gap.to).max(),
        doubts: read.doubts.len() as u64,
        last_doubt: read.doubts.last().map(log::mark),
    }
}

/// What runs of the past say of how fast the log grows, and how often it is read.
fn observed(evidence: &Evidence<'_>) -> Observed {
    let Ok(read) = &evidence.log else {
        return Observed::default();
    };
    let interval = evidence.memory.log.as_ref().and_then(|known| {
        let passes = read
            .passes
            .checked_sub(known.passes)
            .filter(|passes| *passes > 0)?;
        let seconds = evidence.now.0 - known.checked?.0;
        Some(seconds / i64::try_from(passes).ok()?)
    });
    Observed {
        first: read.covered.span.map(|(first, _)| first),
        // Of two runs within a minute somebody typed one.
        interval: interval.filter(|seconds| *seconds >= 60),
    }
}

/// Logins of late that no account of today admits.
fn unknown_logins(judged: &Judged<'_>, since: UtcSeconds) -> Vec<Finding> {
    let unknown = judged.logins.iter().filter(|login| {
        login.attribution.rows().is_empty() && login.used.last_active >= Some(since)
    });
    let finding = |login: &super::Login<'_>| {
        let last = login
            .used
            .last_active
            .map(|last| format!(", last {}", last.rfc3339()));
        let message = format!(
            "logged in{}, and no account of today admits it: the account is gone, or was changed",
            last.unwrap_or_default()
        );
        let (name, host) = (&login.used.name, &login.used.host);
        Finding::new("unknown-login", clients::from(name, host), message)
            .look(clients::which(name, host))
    };
    unknown.map(finding).collect()
}
