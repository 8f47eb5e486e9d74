//! Is the server used, and exposed, the way its owner believes?
//!
//! Pure, all of it: a family of checks is one file, told what was read, and says what is worth a look
//! and what could not be checked. [`registry`] has all checks, [`Policy`] says which of them count.
//!
//! The cross-check holds the logins of the log against the accounts: [`CrossCheck`] is told what the
//! store holds and what the server says, and says for each account whether it is used, and how sure
//! that is. Nothing is claimed beyond the evidence: an account is called unused only if the log covers
//! the whole time in question without a gap, no login in doubt may be its own, and the list of
//! connections shows that it is not in use now.

mod accounts;
pub(crate) mod audit_plugin;
mod changes;
mod clients;
mod coverage;
pub mod expected;
mod finding;
mod log;
mod logins;
pub mod memory;
mod network;
mod policy;
mod privileges;
pub mod registry;
pub mod rhythm;
mod rights;
mod run;
mod state;

use hashbrown::HashMap;

use crate::account::{Account, Accounts, Attribution, Resolver, RowId};
use crate::name::Name;
use crate::server::{Connection, Facts};
use crate::store::{AccountUse, Doubtful, ProxiedAccount};
use crate::time::{Span, UtcSeconds};

pub use audit_plugin::Observed;
pub use coverage::{Covered, Gap, HELD_BACK};
pub(crate) use finding::shell_path;
pub use finding::{Finding, Outcome, Place, Severity, Step, Unchecked};
pub use policy::{Acceptance, Accepted, Applied, Policy};
pub use run::{Evidence, LogEvidence, run};
pub use state::{State, Verdict};

/// How many clients of an account are named.
const MAX_CLIENTS: usize = 5;

/// What speaks for the use of one account.
#[derive(Clone, Debug, Default)]
struct Use {
    /// What is certainly its own.
    last_seen: Option<UtcSeconds>,
    last_active: Option<UtcSeconds>,
    connects: u64,
    /// Number of different (name, host).
    clients: u64,
    /// Some of them, the hosts.
    hosts: Vec<Name>,
    /// Last sign of use that may be its own or another account's.
    possible: Option<UtcSeconds>,
    /// Last login in doubt that may be its own.
    doubtful: Option<UtcSeconds>,
    /// A client is connected that is its own; or may be.
    connected: bool,
    maybe_connected: bool,
}

/// The logins of one (name, host), and whose they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login<'a> {
    /// What the store holds of them.
    pub used: &'a AccountUse,
    /// The account.
    pub attribution: Attribution,
}

/// Takes evidence, then judges.
pub struct CrossCheck<'a, 'r> {
    facts: &'a Facts,
    accounts: Accounts,
    uses: Vec<Use>,
    logins: Vec<Login<'a>>,
    /// Accounts by their name in a PROXY_CONNECT record.
    proxied: HashMap<Vec<u8>, RowId>,
    resolver: &'r mut dyn Resolver,
}

/// What came out.
pub struct Judged<'a> {
    /// One for each account, in the order of user and host pattern.
    pub verdicts: Vec<Verdict>,
    /// All logins, in the order of the store.
    pub logins: Vec<Login<'a>>,
    /// The accounts that [`Login::attribution`] refers to.
    pub accounts: Accounts,
    /// When.
    pub checked_at: UtcSeconds,
}

impl<'a, 'r> CrossCheck<'a, 'r> {
    /// Begins with what the server says; who is connected now counts at once. `resolver` answers for
    /// the database host.
    pub fn new(facts: &'a Facts, resolver: &'r mut dyn Resolver) -> Self {
        let accounts = Accounts::new(facts.accounts.clone(), facts.rules);
        let names = |(row, account): (u32, &Account)| {
            let (user, host) = (&account.user.0[..], &account.host.text().0[..]);
            ([b"`", user, b"`@`", host, b"`"].concat(), RowId(row))
        };
        let mut this = Self {
            facts,
            uses: vec![Use::default(); accounts.rows().len()],
            logins: Vec::new(),
            proxied: (0..).zip(accounts.rows()).map(names).collect(),
            accounts,
            resolver,
        };
        for Connection { name, host, .. } in facts.connections.iter().flatten() {
            let attribution = this.attribute(name, host);
            let exact = attribution.exact().is_some();
            for row in attribution.rows() {
                let used = &mut this.uses[row.0 as usize];
                used.connected |= exact;
                used.maybe_connected |= !exact;
            }
        }
        this
    }

    /// Whose a login is, as far as the account table tells.
    ///
    /// The table's columns are CHAR, which lose spaces at the end: an account `sp ` is `sp` there,
    /// and for the server too from the next time that it loads its accounts (seen on 10.11.19).
    /// So a login as `sp ` may have been that of a row that reads `sp`.
    fn attribute(&mut self, name: &Name, host: &Name) -> Attribution {
        let attribution = self.accounts.attribute(name, host, self.resolver);
        let Some(b' ') = name.0.last() else {
            return attribution;
        };
        let trimmed = Name::from(name.0.trim_ascii_end());
        let other = self.accounts.attribute(&trimmed, host, self.resolver);
        let mut rows = other.rows().to_vec();
        rows.extend(attribution.rows());
        rows.dedup();
        match rows[..] {
            [] => Attribution::NoAccount,
            _ => Attribution::Candidates {
                rows,
                no_account: true,
            },
        }
    }

    /// Takes the logins of one (name, host).
    pub fn login(&mut self, login: &'a AccountUse) {
        let attribution = self.attribute(&login.name, &login.host);
        let exact = attribution.exact().is_some();
        for row in attribution.rows() {
            let used = &mut self.uses[row.0 as usize];
            used.clients += 1;
            if used.hosts.len() < MAX_CLIENTS && !used.hosts.contains(&login.host) {
                used.hosts.push(login.host.clone());
            }
            if exact {
                used.last_seen = used.last_seen.max(login.last_seen);
                used.last_active = used.last_active.max(login.last_active);
                used.connects += login.connects;
            } else {
                used.possible = used.possible.max(login.last_active);
            }
        }
        self.logins.push(Login {
            used: login,
            attribution,
        });
    }

    /// Takes the uses of an account through a proxy. They name the account itself.
    pub fn proxied(&mut self, used: &ProxiedAccount) {
        if let Some(row) = self.proxied.get(&used.account.0) {
            let account = &mut self.uses[row.0 as usize];
            account.last_seen = account.last_seen.max(Some(used.last_seen));
            account.last_active = account.last_active.max(Some(used.last_seen));
        }
    }

    /// Takes a login that was not believed: whose it would be must not be called unused.
    pub fn doubt(&mut self, doubtful: &Doubtful) {
        let attribution = self.attribute(&doubtful.name, &doubtful.host);
        // A time that can't be read may be now.
        let time = doubtful.time.unwrap_or(self.facts.now);
        for row in attribution.rows() {
            let used = &mut self.uses[row.0 as usize];
            used.doubtful = used.doubtful.max(Some(time));
        }
    }

    /// Judges. `last_check` has the accounts that the last check saw, and since when each is known to
    /// be there; none if there was none. The newest record of the log may be `fresh` seconds old.
    pub fn judge(
        self,
        covered: &Covered,
        unused_after: Span,
        last_check: Option<&HashMap<(Name, Name), Option<UtcSeconds>>>,
        fresh: Span,
    ) -> Judged<'a> {
        let judge = state::Judge {
            facts: self.facts,
            covered,
            since: UtcSeconds(self.facts.now.0.saturating_sub(unused_after.0)),
            fresh: fresh.0,
        };
        let mut verdicts: Vec<_> = self
            .accounts
            .rows()
            .iter()
            .zip(&self.uses)
            .map(|(account, used)| {
                let key = (account.user.clone(), account.host.text().clone());
                let earlier = match last_check.map(|seen| seen.get(&key)) {
                    None => state::Earlier::NoCheck,
                    Some(None) => state::Earlier::Absent,
                    Some(Some(since)) => state::Earlier::Since(*since),
                };
                judge.verdict(account, used, earlier)
            })
            .collect();
        verdicts.sort_by(|a, b| (&a.user, &a.host).cmp(&(&b.user, &b.host)));
        Judged {
            verdicts,
            logins: self.logins,
            accounts: self.accounts,
            checked_at: self.facts.now,
        }
    }
}
