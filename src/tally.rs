//! Believed records become the use of each account.
//!
//! A [`Tally`] holds what one step of a run adds to a store. It is bounded: accounts and hours by
//! handing over a full batch ([`Tally::is_full`]), failures and doubtful records by folding the excess.
//! Figures of two tallies merge to those of one over all, so it does not matter where a run ended.

mod hours;

use hashbrown::HashMap;
use indexmap::IndexMap;

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

/// What was seen of a client, in UTC seconds; the extremes stand for none.
struct Use {
    first_seen: i64,
    last_seen: i64,
    last_active: i64,
    connects: u64,
    /// More than statements was seen, which make no row of their own.
    is_client: bool,
    /// Logins that are not in [`Tally::hours`] yet.
    recent: Recent,
}

impl Default for Use {
    fn default() -> Self {
        Self {
            first_seen: i64::MAX,
            last_seen: i64::MIN,
            last_active: i64::MIN,
            connects: 0,
            is_client: false,
            recent: Recent::default(),
        }
    }
}

/// A client in a [`Tally`], found without its names until the next batch is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client(u32);

struct Attempts {
    first_seen: UtcSeconds,
    last_seen: UtcSeconds,
    attempts: u64,
}

/// What was seen since the last commit.
#[derive(Default)]
pub struct Tally {
    accounts: IndexMap<Box<[u8]>, Use, foldhash::fast::RandomState>,
    /// How many batches were taken.
    taken: u32,
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

    /// The client of this name and host.
    pub fn client(&mut self, name: &[u8], host: &[u8]) -> Client {
        self.key.clear();
        pack(&mut self.key, name, host);
        let known = self.accounts.get_index_of(&self.key[..]);
        let number = known.unwrap_or_else(|| {
            let key = self.key[..].into();
            self.accounts.insert_full(key, Use::default()).0
        });
        Client(number as u32)
    }

    /// How many batches were taken: a [`Client`] is good as long as this stays the same.
    pub fn taken(&self) -> u32 {
        self.taken
    }

    /// A CONNECT record: a successful login.
    pub fn connect(&mut self, client: Client, at: UtcSeconds) {
        self.came_in(client, 1, at);
    }

    /// A successful change of user to this account.
    pub fn changed_to(&mut self, client: Client, at: UtcSeconds) {
        self.came_in(client, 0, at);
    }

    fn came_in(&mut self, client: Client, connects: u32, at: UtcSeconds) {
        let Some((key, used)) = self.accounts.get_index_mut(client.0 as usize) else {
            return;
        };
        used.connects += u64::from(connects);
        used.authenticated(at);
        if !self.wrong_clock && !used.recent.add(connects, at) {
            self.hours.add(name_of(key), used.recent);
            used.recent = Recent::new(connects, at);
        }
    }

    /// A sign of use of a client: the end of its session.
    pub fn active(&mut self, client: Client, at: UtcSeconds) {
        if let Some((_, used)) = self.accounts.get_index_mut(client.0 as usize) {
            used.is_client = true;
            used.last_active = used.last_active.max(at.0);
        }
    }

    /// A statement. It counts only for a client that is known from elsewhere, since events and
    /// replication threads execute statements under names of accounts without logging in.
    pub fn statement(&mut self, client: Client, at: UtcSeconds) {
        if let Some((_, used)) = self.accounts.get_index_mut(client.0 as usize) {
            used.last_active = used.last_active.max(at.0);
        }
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
        self.taken += 1;
        let seen = |at: i64| (i64::MIN < at && at < i64::MAX).then_some(UtcSeconds(at));
        for (key, used) in std::mem::take(&mut self.accounts) {
            let (name, host) = unpack(&key);
            self.hours.add(&name.0, used.recent);
            let last_active = seen(used.last_active);
            if !used.is_client {
                batch
                    .activity
                    .extend(last_active.map(|at| (name, host, at)));
                continue;
            }
            batch.accounts.push(AccountUse {
                server: server.clone(),
                name,
                host,
                first_seen: seen(used.first_seen),
                last_seen: seen(used.last_seen),
                last_active,
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

impl Use {
    fn authenticated(&mut self, at: UtcSeconds) {
        self.is_client = true;
        self.first_seen = self.first_seen.min(at.0);
        self.last_seen = self.last_seen.max(at.0);
        self.last_active = self.last_active.max(at.0);
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
    let name = name_of(key);
    (Name::from(name), Name::from(&key[4 + name.len()..]))
}

fn name_of(key: &[u8]) -> &[u8] {
    let len = u32::from_le_bytes([key[0], key[1], key[2], key[3]]) as usize;
    &key[4..4 + len]
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Where times count from.
    pub(crate) const BEGIN: i64 = 1_700_000_000;

    /// What is handed over, a row a line.
    pub(crate) fn handed_over(tally: &mut Tally) -> Vec<String> {
        let batch = tally.take(&Name::from("db1"));
        assert_eq!(batch.server, Name::from("db1"));
        let time = |at: UtcSeconds| at.0 - BEGIN;
        let shown = |at: Option<UtcSeconds>| at.map_or("-".into(), |at| time(at).to_string());
        let text = |name: &Option<Name>| name.as_ref().map_or("*".into(), Name::escaped);
        let mut rows = Vec::new();
        for it in &batch.accounts {
            rows.push(format!(
                "{}: {}@{} {}..{} active {}, {} logins",
                it.server,
                it.name,
                it.host,
                shown(it.first_seen),
                shown(it.last_seen),
                shown(it.last_active),
                it.connects
            ));
        }
        for (name, host, at) in &batch.activity {
            rows.push(format!("perhaps {name}@{host} {}", time(*at)));
        }
        for it in &batch.proxied {
            rows.push(format!(
                "{}: proxied {} {}..{}, {} times",
                it.server,
                it.account,
                time(it.first_seen),
                time(it.last_seen),
                it.connects
            ));
        }
        for it in &batch.failed {
            rows.push(format!(
                "{}: refused {}@{} {}..{}, {} times, code {:?}",
                it.server,
                text(&it.name),
                text(&it.host),
                time(it.first_seen),
                time(it.last_seen),
                it.attempts,
                it.code
            ));
        }
        for it in &batch.quarantine {
            rows.push(format!(
                "{}: doubtful {}@{} {} id {}, {} from {}, {} byte {}",
                it.server,
                it.name,
                it.host,
                shown(it.time),
                it.connectionid,
                it.why,
                text(&it.from),
                it.file,
                it.offset
            ));
        }
        for it in &batch.withdrawn {
            rows.push(format!(
                "withdrawn {}@{} id {} byte {}",
                it.name, it.host, it.connectionid, it.offset
            ));
        }
        for it in &batch.coverage {
            let gap = it.gap.as_ref().map(|why| format!(", gap: {why}"));
            rows.push(format!(
                "covered {}..{}{}",
                time(it.from),
                time(it.to),
                gap.unwrap_or_default()
            ));
        }
        rows
    }

    fn at(seconds: i64) -> UtcSeconds {
        UtcSeconds(BEGIN + seconds)
    }

    fn doubtful(offset: u64) -> Doubtful {
        Doubtful {
            server: Name::default(),
            name: Name::from("root2"),
            host: Name::from("h"),
            time: Some(at(5)),
            connectionid: 9,
            why: "why".into(),
            from: Some(Name::from("192.0.2.66")),
            file: "log".into(),
            offset,
        }
    }

    #[test]
    fn rows_tell_first_and_last_and_how_often() {
        let mut tally = Tally::default();
        for seconds in [5, 3, 7, 6] {
            let client = tally.client(b"app", b"h");
            tally.connect(client, at(seconds));
            tally.failed(b"ap", b"ph", 1045, at(seconds));
            tally.failed(b"ap", b"ph", 1044, at(seconds));
            tally.failed(b"app", b"h", 1045, at(seconds));
            tally.proxied(b"`d`@`%`", at(seconds));
            let client = tally.client(b"changed", b"h");
            tally.changed_to(client, at(seconds));
            let client = tally.client(b"ended", b"h");
            tally.active(client, at(seconds));
            let client = tally.client(b"event", b"%");
            tally.statement(client, at(seconds));
            let client = tally.client(b"app", b"h");
            tally.statement(client, at(seconds + 10));
            tally.covered(at(seconds), None);
        }
        tally.covered(at(20), Some("a gap".into()));
        tally.covered(at(21), None);
        tally.doubt(doubtful(1));
        tally.withdraw(Withdrawn {
            name: Name::from("alice"),
            host: Name::from("h"),
            connectionid: 4,
            offset: 2,
        });
        assert_eq!(
            handed_over(&mut tally),
            [
                "db1: app@h 3..7 active 17, 4 logins",
                "db1: changed@h 3..7 active 7, 0 logins",
                "db1: ended@h -..- active 7, 0 logins",
                "perhaps event@% 7",
                "db1: proxied `d`@`%` 3..7, 4 times",
                "db1: refused ap@ph 3..7, 4 times, code Some(1044)",
                "db1: refused ap@ph 3..7, 4 times, code Some(1045)",
                "db1: refused app@h 3..7, 4 times, code Some(1045)",
                "db1: doubtful root2@h 5 id 9, why from 192.0.2.66, log byte 1",
                "withdrawn alice@h id 4 byte 2",
                "covered 3..7",
                "covered 20..21, gap: a gap",
            ]
        );
        assert!(handed_over(&mut tally).is_empty(), "once");
    }

    #[test]
    fn failures_beyond_the_bound_are_counted_by_host_and_then_at_all() {
        let mut tally = Tally::default();
        let most = MAX_FAILED_CONNECTS;
        for name in 0..most {
            tally.failed(format!("{name}").as_bytes(), b"h", 1045, at(0));
        }
        for host in 0..most {
            tally.failed(b"new", format!("{host}").as_bytes(), 1045, at(1));
        }
        // Rows that are there go on.
        tally.failed(b"0", b"h", 1045, at(2));
        tally.failed(b"new", b"0", 1045, at(2));
        for host in ["x", "y"] {
            tally.failed(b"new", host.as_bytes(), 1045, at(3));
        }
        let rows = handed_over(&mut tally);
        assert_eq!(rows.len(), 2 * most + 1);
        for row in [
            "db1: refused *@* 3..3, 2 times, code None",
            "db1: refused *@0 1..2, 2 times, code None",
            "db1: refused *@9999 1..1, 1 times, code None",
            "db1: refused 0@h 0..2, 2 times, code Some(1045)",
            "db1: refused 9999@h 0..0, 1 times, code Some(1045)",
        ] {
            assert!(rows.iter().any(|it| it == row), "{row}");
        }
    }

    #[test]
    fn doubtful_records_and_gaps_are_bounded() {
        let mut tally = Tally::default();
        for offset in 0..=MAX_DOUBTFUL as u64 {
            tally.doubt(doubtful(offset));
        }
        assert_eq!(tally.doubtful_count, MAX_DOUBTFUL as u64 + 1);
        assert_eq!(handed_over(&mut tally).len(), MAX_DOUBTFUL);
        for seconds in 0..MAX_DOUBTFUL as i64 {
            assert!(!tally.is_full());
            tally.covered(at(seconds), Some("a gap".into()));
        }
        assert!(tally.is_full());
    }
}
