//! Believed records become the use of each account.
//!
//! A [`Tally`] holds what one step of a run adds to a store. It is bounded: accounts and hours by
//! handing over a full batch ([`Tally::is_full`]), failures and doubtful records by folding the excess.
//! Figures of two tallies merge to those of one over all, so it does not matter where a run ended.

mod hours;

use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;

use crate::name::Name;
use crate::store::{
    AccountUse, Batch, Coverage, Doubtful, FailedConnect, MAX_FAILED_CONNECTS, ProxiedAccount,
    Retention, Withdrawn,
};
use crate::time::UtcSeconds;
use hours::{Hours, Recent};

/// How many different (name, host) one batch holds at the most, about 150 bytes each.
const MAX_ACCOUNTS: usize = 200_000;

/// How many doubtful records one batch holds at the most.
const MAX_DOUBTFUL: usize = 1_000;

type Map<V> = HashMap<Box<[u8]>, V, foldhash::fast::RandomState>;

#[derive(Default)]
struct Use {
    first_seen: Option<UtcSeconds>,
    last_seen: Option<UtcSeconds>,
    last_active: Option<UtcSeconds>,
    connects: u64,
    /// More than statements was seen, which make no row of their own.
    is_client: bool,
    /// Logins that are not in [`Tally::hours`] yet.
    recent: Recent,
}

struct Attempts {
    first_seen: UtcSeconds,
    last_seen: UtcSeconds,
    attempts: u64,
}

/// What was seen since the last commit.
#[derive(Default)]
pub struct Tally {
    accounts: Map<Use>,
    failed: Map<Attempts>,
    hours: Hours,
    retention: Retention,
    /// Times are not to be believed for now.
    wrong_clock: bool,
    proxied: Map<Attempts>,
    doubtful: Vec<Doubtful>,
    withdrawn: Vec<Withdrawn>,
    coverage: Vec<Coverage>,
    /// Number of doubtful records, those beyond the bound included.
    pub doubtful_count: u64,
    /// The key being looked up; kept to spare an allocation for each record.
    key: Vec<u8>,
}

impl Tally {
    /// An empty one. Hours are kept for so long that those before `newest`, a time that the log is
    /// known to reach, need not be told apart from their days.
    pub fn new(retention: Retention, newest: Option<UtcSeconds>) -> Self {
        Self {
            hours: Hours::new(newest.map(|newest| retention.hours_before(newest))),
            retention,
            ..Self::default()
        }
    }

    /// Whether the records that follow are of a clock that is wrong: they count, but not by the hour.
    pub fn wrong_clock(&mut self, is_wrong: bool) {
        self.wrong_clock = is_wrong;
    }

    /// A CONNECT record: a successful login.
    pub fn connect(&mut self, name: &[u8], host: &[u8], at: UtcSeconds) {
        self.came_in(name, host, 1, at);
    }

    /// A successful change of user to this account.
    pub fn changed_to(&mut self, name: &[u8], host: &[u8], at: UtcSeconds) {
        self.came_in(name, host, 0, at);
    }

    fn came_in(&mut self, name: &[u8], host: &[u8], connects: u32, at: UtcSeconds) {
        let used = account(&mut self.accounts, &mut self.key, name, host);
        used.connects += u64::from(connects);
        used.authenticated(at);
        if !self.wrong_clock && !used.recent.add(connects, at) {
            self.hours.add(name, used.recent);
            used.recent = Recent::new(connects, at);
        }
    }

    /// A sign of use of a client: the end of its session.
    pub fn active(&mut self, name: &[u8], host: &[u8], at: UtcSeconds) {
        let used = account(&mut self.accounts, &mut self.key, name, host);
        used.is_client = true;
        used.last_active = used.last_active.max(Some(at));
    }

    /// A statement. It counts only for a client that is known from elsewhere, since events and
    /// replication threads execute statements under names of accounts without logging in.
    pub fn statement(&mut self, name: &[u8], host: &[u8], at: UtcSeconds) {
        let used = account(&mut self.accounts, &mut self.key, name, host);
        used.last_active = used.last_active.max(Some(at));
    }

    /// A refused login with the server's error number.
    pub fn failed(&mut self, name: &[u8], host: &[u8], code: u32, at: UtcSeconds) {
        if !self.wrong_clock {
            self.hours.failed(name, at);
        }
        let key = &mut self.key;
        key.clear();
        key.extend_from_slice(&code.to_le_bytes());
        pack(key, name, host);
        if !self.failed.contains_key(&key[..]) && self.failed.len() >= MAX_FAILED_CONNECTS {
            // Code 0 is no error: it marks rows that stand for many.
            key.clear();
            key.extend_from_slice(&0_u32.to_le_bytes());
            pack(key, b"", host);
            if !self.failed.contains_key(&key[..]) && self.failed.len() >= 2 * MAX_FAILED_CONNECTS {
                key.truncate(4);
                pack(key, b"", b"");
            }
        }
        count(&mut self.failed, key, at);
    }

    /// The account row `` `user`@`host` `` was used by a proxy.
    pub fn proxied(&mut self, account: &[u8], at: UtcSeconds) {
        self.key.clear();
        self.key.extend_from_slice(account);
        count(&mut self.proxied, &self.key, at);
    }

    /// A login that was not believed.
    pub fn doubt(&mut self, doubtful: Doubtful) {
        self.doubtful_count += 1;
        if self.doubtful.len() < MAX_DOUBTFUL {
            self.doubtful.push(doubtful);
        }
    }

    /// A record that was not believed in an earlier run has proved genuine.
    pub fn withdraw(&mut self, withdrawn: Withdrawn) {
        self.withdrawn.push(withdrawn);
    }

    /// The log was read at this time. Behind a gap a new span of coverage begins.
    pub fn covered(&mut self, at: UtcSeconds, gap: Option<String>) {
        match self.coverage.last_mut() {
            Some(span) if gap.is_none() => {
                span.to = span.to.max(at);
                span.from = span.from.min(at);
            }
            _ => self.coverage.push(Coverage {
                from: at,
                to: at,
                gap,
            }),
        }
    }

    /// Time to hand over a batch.
    pub fn is_full(&self) -> bool {
        self.accounts.len() >= MAX_ACCOUNTS
            || self.hours.is_full()
            || self.coverage.len() >= MAX_DOUBTFUL
    }

    /// Hands over what was seen, in key order, and begins anew.
    pub fn take(&mut self, server: &Name) -> Batch {
        let mut batch = Batch {
            server: server.clone(),
            coverage: std::mem::take(&mut self.coverage),
            quarantine: std::mem::take(&mut self.doubtful),
            withdrawn: std::mem::take(&mut self.withdrawn),
            retention: self.retention,
            ..Batch::default()
        };
        for doubtful in &mut batch.quarantine {
            doubtful.server = server.clone();
        }
        for (key, used) in std::mem::take(&mut self.accounts) {
            let (name, host) = unpack(&key);
            self.hours.add(&name.0, used.recent);
            if !used.is_client {
                batch
                    .activity
                    .extend(used.last_active.map(|at| (name, host, at)));
                continue;
            }
            batch.accounts.push(AccountUse {
                server: server.clone(),
                name,
                host,
                first_seen: used.first_seen,
                last_seen: used.last_seen,
                last_active: used.last_active,
                connects: used.connects,
            });
        }
        batch.rhythm = self.hours.take();
        for (key, attempts) in std::mem::take(&mut self.failed) {
            let code = u32::from_le_bytes([key[0], key[1], key[2], key[3]]);
            let (name, host) = unpack(&key[4..]);
            let many = code == 0;
            batch.failed.push(FailedConnect {
                server: server.clone(),
                host: (!many || !host.0.is_empty()).then_some(host),
                name: (!many).then_some(name),
                code: (!many).then_some(code),
                first_seen: attempts.first_seen,
                last_seen: attempts.last_seen,
                attempts: attempts.attempts,
            });
        }
        for (account, uses) in std::mem::take(&mut self.proxied) {
            batch.proxied.push(ProxiedAccount {
                server: server.clone(),
                account: Name(account.into_vec()),
                first_seen: uses.first_seen,
                last_seen: uses.last_seen,
                connects: uses.attempts,
            });
        }
        batch
            .accounts
            .sort_unstable_by(|a, b| (&a.name, &a.host).cmp(&(&b.name, &b.host)));
        batch.activity.sort_unstable();
        batch
            .failed
            .sort_unstable_by(|a, b| (&a.name, &a.host, a.code).cmp(&(&b.name, &b.host, b.code)));
        batch
            .proxied
            .sort_unstable_by(|a, b| a.account.cmp(&b.account));
        batch
    }
}

fn account<'a>(
    accounts: &'a mut Map<Use>,
    key: &mut Vec<u8>,
    name: &[u8],
    host: &[u8],
) -> &'a mut Use {
    key.clear();
    pack(key, name, host);
    let key = &key[..];
    match accounts.entry_ref(key) {
        EntryRef::Occupied(entry) => entry.into_mut(),
        EntryRef::Vacant(entry) => entry.insert_with_key(key.into(), Use::default()),
    }
}

impl Use {
    fn authenticated(&mut self, at: UtcSeconds) {
        self.is_client = true;
        self.first_seen = Some(self.first_seen.map_or(at, |first| first.min(at)));
        self.last_seen = self.last_seen.max(Some(at));
        self.last_active = self.last_active.max(Some(at));
    }
}

fn count(map: &mut Map<Attempts>, key: &[u8], at: UtcSeconds) {
    match map.get_mut(key) {
        Some(seen) => {
            seen.first_seen = seen.first_seen.min(at);
            seen.last_seen = seen.last_seen.max(at);
            seen.attempts += 1;
        }
        None => {
            map.insert(
                key.into(),
                Attempts {
                    first_seen: at,
                    last_seen: at,
                    attempts: 1,
                },
            );
        }
    }
}

/// Two names in one key: no pair of names makes the key of another pair.
fn pack(key: &mut Vec<u8>, name: &[u8], host: &[u8]) {
    key.extend_from_slice(&(name.len() as u32).to_le_bytes());
    key.extend_from_slice(name);
    key.extend_from_slice(host);
}

fn unpack(key: &[u8]) -> (Name, Name) {
    let len = u32::from_le_bytes([key[0], key[1], key[2], key[3]]) as usize;
    (Name::from(&key[4..4 + len]), Name::from(&key[4 + len..]))
}
