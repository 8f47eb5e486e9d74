//! From the evidence to one word for an account, and the reason.

use super::finding::lock_and_drop;
use super::{Covered, Use};
use crate::account::Account;
use crate::name::Name;
use crate::server::Facts;
use crate::time::{Span, UtcSeconds};

/// What an account is. The names are those of the JSON output and of `account_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Used within the time in question.
    Active,
    /// Was used, but not within the time in question.
    Unused,
    /// No use was ever seen.
    NeverUsed,
    /// A client is connected now.
    Connected,
    /// Nobody can come in (`ACCOUNT LOCK`).
    Locked,
    /// Not to be judged, for a reason.
    Unknown,
    /// An account that the server or its packages keep.
    System,
    /// A role: nobody comes in as it.
    Role,
}

impl State {
    /// All of them; what asks for action stands first.
    pub const ALL: [Self; 8] = [
        Self::NeverUsed,
        Self::Unused,
        Self::Unknown,
        Self::Locked,
        Self::Active,
        Self::Connected,
        Self::System,
        Self::Role,
    ];

    /// The state by its name; the error says which names there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        let named = |state: &Self| state.name() == text;
        Self::ALL.into_iter().find(named).ok_or_else(|| {
            format!(
                "'{}' is not a state: write unused, never_used, unknown, locked, active, connected, \
                 system or role",
                text.escape_debug()
            )
        })
    }

    /// The state's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Unused => "unused",
            Self::NeverUsed => "never_used",
            Self::Connected => "connected",
            Self::Locked => "locked",
            Self::Unknown => "unknown",
            Self::System => "system",
            Self::Role => "role",
        }
    }
}

/// What can be said of one account, and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// User of the account row.
    pub user: Name,
    /// Host pattern of the account row.
    pub host: Name,
    /// In one word.
    pub state: State,
    /// Why, in words; may be empty where there is nothing to add.
    pub reason: String,
    /// Last login that is certainly its own.
    pub last_seen: Option<UtcSeconds>,
    /// Last sign of use that is certainly its own.
    pub last_active: Option<UtcSeconds>,
    /// Number of logins that are certainly its own.
    pub connects: u64,
    /// Number of different clients (name and host) that are, or may be, its own.
    pub clients: u64,
    /// Some of their hosts.
    pub hosts: Vec<Name>,
    /// No login may be its own or another account's.
    pub exact: bool,
    /// No use of it was seen, nobody is connected as it, and the log covers all the time for which it is
    /// known to be there.
    pub idle: bool,
    /// Since when it is known that there is this account: an earlier check saw it, or its password
    /// was set then (which is a hint).
    pub known_since: Option<UtcSeconds>,
    /// `ALTER USER … ACCOUNT LOCK`, then `DROP USER …`: for a person to run, where the state asks
    /// for it.
    pub remedy: Option<String>,
}

/// What earlier checks knew of an account.
#[derive(Clone, Copy, Debug)]
pub(super) enum Earlier {
    /// There was none.
    NoCheck,
    /// The last one did not see the account.
    Absent,
    /// It was there; since when, if that is known.
    Since(Option<UtcSeconds>),
}

/// What all accounts are judged by.
pub(super) struct Judge<'a> {
    pub(super) facts: &'a Facts,
    pub(super) covered: &'a Covered,
    /// The beginning of the time in question.
    pub(super) since: UtcSeconds,
    /// How old the newest record may be, in seconds.
    pub(super) fresh: i64,
}

impl Judge<'_> {
    pub(super) fn verdict(&self, account: &Account, used: &Use, earlier: Earlier) -> Verdict {
        let set = account.password_last_changed.filter(|time| *time > 0);
        // The password was set when the account was created, or created anew, or later.
        let known_since = match earlier {
            Earlier::NoCheck => set.map(UtcSeconds),
            Earlier::Absent => Some(self.facts.now),
            Earlier::Since(first) => set.map(UtcSeconds).max(first),
        };
        let (state, reason) = self.state(account, used, known_since);
        let remedy =
            matches!(state, State::Unused | State::NeverUsed).then(|| lock_and_drop(account));
        Verdict {
            user: account.user.clone(),
            host: account.host.text().clone(),
            state,
            reason,
            last_seen: used.last_seen,
            last_active: used.last_active,
            connects: used.connects,
            clients: used.clients,
            hosts: used.hosts.clone(),
            exact: used.possible.is_none() && used.doubtful.is_none() && !used.maybe_connected,
            idle: self.is_idle(used, known_since),
            known_since,
            remedy,
        }
    }

    fn state(
        &self,
        account: &Account,
        used: &Use,
        known_since: Option<UtcSeconds>,
    ) -> (State, String) {
        let plain = |state| (state, String::new());
        if account.is_role {
            return plain(State::Role);
        }
        if is_system(account) {
            return plain(State::System);
        }
        if used.connected {
            return (State::Connected, "a client is connected now".into());
        }
        if account.locked == Some(true) {
            return plain(State::Locked);
        }
        if used.last_active >= Some(self.since) {
            return plain(State::Active);
        }
        let doubts = self.doubts(used, known_since);
        if !doubts.is_empty() {
            return (State::Unknown, doubts.join("; "));
        }
        match used.last_active.max(used.possible) {
            Some(last) if used.last_active != Some(last) => {
                let span = Span(self.facts.now.0 - last.0).in_words();
                let reason = format!("not used for {span}; that login may be another account's");
                (State::Unused, reason)
            }
            Some(last) => {
                let span = Span(self.facts.now.0 - last.0).in_words();
                (State::Unused, format!("not used for {span}"))
            }
            None => {
                let first = self.covered.span.map_or(self.since, |(first, _)| first);
                let span = Span(self.facts.now.0 - first.0).in_words();
                (
                    State::NeverUsed,
                    format!("no use was seen in the {span} that the log covers"),
                )
            }
        }
    }

    fn is_idle(&self, used: &Use, known_since: Option<UtcSeconds>) -> bool {
        let hides = |since| self.covered.may_hide(since, self.facts.now, self.fresh);
        let connected = used.connected || used.maybe_connected || self.facts.connections.is_none();
        let seen = used.last_active.is_some() || used.possible.is_some() || used.doubtful.is_some();
        !connected && !seen && known_since.is_some_and(|since| hides(since).is_none())
    }

    /// Why it can't be said that an account was not used.
    fn doubts(&self, used: &Use, known_since: Option<UtcSeconds>) -> Vec<String> {
        let mut doubts = Vec::new();
        let later = |time: Option<UtcSeconds>| time > used.last_active;
        if used.maybe_connected {
            doubts.push("a client that is connected now may be its own".to_owned());
        } else if self.facts.connections.is_none() {
            doubts.push("who is connected now can't be seen".to_owned());
        }
        if let Some(time) = used
            .possible
            .filter(|time| later(Some(*time)) && *time >= self.since)
        {
            doubts.push(format!(
                "a login may be its own or another account's, last used {}",
                time.rfc3339()
            ));
        }
        if let Some(time) = used.doubtful.filter(|time| later(Some(*time))) {
            doubts.push(format!(
                "a login that was not believed would be its own, {}; see 'conntracker quarantine'",
                time.rfc3339()
            ));
        }
        doubts.extend(
            self.covered
                .may_hide(self.since, self.facts.now, self.fresh),
        );
        // The end of a session may be all that is left of it, so any use proves that it is old.
        if used.last_active.is_none() {
            match known_since {
                Some(time) if time > self.since => doubts.push(format!(
                    "it may be new, or created anew: nothing tells of it before {}",
                    time.rfc3339()
                )),
                None => doubts.push("it may be new: nothing tells of its age".to_owned()),
                Some(_) => {}
            }
        }
        doubts
    }
}

/// root, or who the packages made to be root, over the socket.
pub(super) fn is_root_here(account: &Account) -> bool {
    account.user.0 == b"root" && account.host.text().0 == b"localhost"
}

/// Accounts that the server or a distribution's package creates for itself, and that no password
/// opens. Never by name alone: `root`@`%` is nobody's own.
pub(super) fn is_system(account: &Account) -> bool {
    let is = |user: &[u8]| account.user.0 == user;
    if account.host.text().0 != b"localhost" {
        return false;
    }
    if is(b"mariadb.sys") {
        return account.locked != Some(false);
    }
    let by_socket = account
        .authentication
        .as_ref()
        .is_some_and(|ways| ways.iter().any(|way| way.plugin.0 == b"unix_socket"));
    (is(b"root") || is(b"mysql")) && by_socket
}
