//! A server that makes up records, and what they say to somebody who knows: figures are never
//! computed from the text of a line here.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};

use chrono::{DateTime, TimeZone, Utc};
use chrono_tz::Europe::Zurich;
use conntracker::error::Result;
use conntracker::store::{AccountFilter, Store};

use crate::random::Random;

/// The zone of the server's clock, and when it is changed.
pub(crate) const ZONE: &str = "Europe/Zurich";
const AUTUMN: &str = "2026-10-25T01:00:00Z";
const SPRING: &str = "2026-03-29T01:00:00Z";

/// Accounts that are easily taken for each other, or taken apart wrongly.
const NAMES: [&str; 12] = [
    "app",
    "app ",
    "App",
    "a@b",
    "o,brien",
    "o",
    "jürgen",
    "root",
    "",
    "7",
    "0,CONNECT",
    "'",
];
const HOSTS: [&str; 5] = [
    "localhost",
    "192.0.2.7",
    "2001:db8::7",
    "b@c",
    "db-7.example",
];
const CODES: [u32; 4] = [1045, 1044, 1049, 1130];

/// What a statement may hold, escaped as the plugin does it.
const TEXTS: [&[u8]; 12] = [
    b"SELECT 1",
    b"SELECT \\'20261122 19:04:51,db1,root,localhost,99,0,CONNECT,,,0\\'",
    b"x,localhost,99,0,CONNECT,,,0\\n20261122 19:04:51,db1,root,localhost,99,0,DISCONNECT,,,0",
    b",,,0,0,DISCONNECT,,,1040",
    b"SELECT \\',0\\', \\'\\\\\\',0",
    b"SELECT \\'SET GLOBAL server_audit_logging=OFF\\'",
    b"/* SET GLOBAL server_audit_logging=OFF */ SELECT 1",
    b"a\0b\x1b[2J\r\x0b",
    b"\xff\xfe\xc3",
    "caf\u{85}\u{2028}é\u{202e}".as_bytes(),
    b"",
    b"INSERT INTO t VALUES (1,2,3),(4,5,6)\\',0\\',0",
];

/// Name and host of a client.
pub(crate) type Who = (Vec<u8>, Vec<u8>);

/// What a record tells, and when, in seconds since 1970 UTC.
#[derive(Clone, Debug)]
pub(crate) enum What {
    LoggedIn(Who, i64),
    LoggedOut(Who, i64),
    Worked(Who, i64),
    Refused(Who, u32, i64),
    Nothing,
}

/// One record: its line with the line end, and what it tells.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) line: Vec<u8>,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
struct Connection {
    id: u64,
    who: Who,
}

/// Makes up what clients do.
#[derive(Debug)]
pub(crate) struct Server {
    now: i64,
    /// Time of the last record of a connection; in autumn nothing else tells the hour.
    told: i64,
    id: u64,
    query: u64,
    open: Vec<Connection>,
    refused: Vec<Connection>,
    /// Records are in order of time, and of two that need each other none is written alone.
    orderly: bool,
}

impl Server {
    /// `orderly`: for a log of which parts get lost, where it must still be known what the rest
    /// says. `autumn`: close to the end of daylight saving time.
    pub(crate) fn new(random: &mut Random, orderly: bool, autumn: bool) -> Self {
        let at = |time: &str| DateTime::parse_from_rfc3339(time).unwrap().timestamp();
        let now = match random.below(10) {
            // Close enough before the change of the clock for many sequences to reach it, and far
            // enough for a record before: the first of the repeated hours looks like the second.
            _ if autumn => at(AUTUMN) - 3_600 - random.below(1_800) as i64,
            0 => at(SPRING) - random.below(600) as i64,
            _ => at("2026-03-02T11:30:00Z") + random.below(20_000_000) as i64,
        };
        Self {
            now,
            told: now,
            id: 1 + random.below(100) as u64,
            query: 1,
            open: Vec::new(),
            refused: Vec::new(),
            orderly,
        }
    }

    /// Nothing happens for a while.
    pub(crate) fn pause(&mut self) {
        self.now += 10;
    }

    /// The server's clock, as a name of a rotated file shows it.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        Utc.timestamp_opt(self.now, 0).unwrap()
    }

    /// What happens next; mostly one record.
    pub(crate) fn next(&mut self, random: &mut Random) -> Vec<Event> {
        self.tick(random);
        let most = if self.refused.is_empty() { 0 } else { 3 };
        // Its end follows a refused login at once, with a few records of others in between.
        if self.refused.len() >= 2 || random.below(6) < most {
            let ended = random.below(self.refused.len());
            return vec![self.end_refused(ended, random)];
        }
        match random.below(100) {
            0..30 => vec![self.log_in(random)],
            30..45 if self.orderly => vec![self.refuse(random), self.end_refused(0, random)],
            30..45 => vec![self.refuse(random)],
            45..60 if !self.open.is_empty() => vec![self.log_out(random)],
            _ if !self.open.is_empty() => vec![self.work(random)],
            _ => vec![self.log_in(random)],
        }
    }

    /// A successful login.
    pub(crate) fn log_in(&mut self, random: &mut Random) -> Event {
        let connection = self.connection(random);
        let at = self.moment(random);
        let who = connection.who.clone();
        self.open.push(connection.clone());
        let tail = ["CONNECT,,,0", "CONNECT,shop,,0"];
        let line = self.line(
            at,
            &damaged(&who.0),
            &connection,
            random.pick(&tail).as_bytes(),
        );
        Event {
            line,
            what: What::LoggedIn(who, at),
        }
    }

    fn refuse(&mut self, random: &mut Random) -> Event {
        let connection = self.connection(random);
        let at = self.moment(random);
        let (who, code) = (connection.who.clone(), random.pick(&CODES));
        self.refused.push(connection.clone());
        let tail = format!("FAILED_CONNECT,,,{code}");
        let line = self.line(at, &damaged(&who.0), &connection, tail.as_bytes());
        Event {
            line,
            what: What::Refused(who, code, at),
        }
    }

    fn end_refused(&mut self, number: usize, random: &mut Random) -> Event {
        let connection = self.refused.remove(number);
        let at = self.moment(random);
        let line = self.line(at, &connection.who.0, &connection, b"DISCONNECT,,,0");
        Event {
            line,
            what: What::Nothing,
        }
    }

    fn log_out(&mut self, random: &mut Random) -> Event {
        let number = random.below(self.open.len());
        let connection = self.open.remove(number);
        let at = self.moment(random);
        let line = self.line(at, &connection.who.0, &connection, b"DISCONNECT,shop,,0");
        Event {
            line,
            what: What::LoggedOut(connection.who, at),
        }
    }

    /// A statement, which carries the time at which it began, or a table event.
    fn work(&mut self, random: &mut Random) -> Event {
        let connection = random.pick(&self.open);
        let lag = if self.orderly { 0 } else { random.below(6) };
        let at = self.now - lag as i64;
        self.query += 1;
        let query = self.query;
        let rest = if random.chance(10) {
            format!("{query},READ,shop,orders,").into_bytes()
        } else {
            let mut rest = format!("{query},QUERY,shop,'").into_bytes();
            rest.extend(random.pick(&TEXTS));
            if random.chance(3) {
                let len = 20_000 + random.below(380_000);
                let piece = random.pick(&TEXTS);
                while rest.len() < len {
                    rest.extend(piece);
                    rest.push(b' ');
                }
            }
            rest.extend(b"',");
            rest.extend(random.pick(&["0", "1064"]).as_bytes());
            rest
        };
        let mut line = self.front(at, &connection.who.0, &connection);
        line.extend(rest);
        line.push(b'\n');
        Event {
            line,
            what: What::Worked(connection.who, at),
        }
    }

    /// The server goes down with all connections and begins to count them anew. None of the last
    /// words of anybody may still be needed.
    pub(crate) fn crash(&mut self) -> bool {
        if !self.refused.is_empty() || self.open.iter().any(|open| is_long(&open.who.0)) {
            return false;
        }
        self.open.clear();
        self.now += 5;
        self.id = 1;
        true
    }

    /// What must still be written so that nothing remains open to question.
    pub(crate) fn last_words(&mut self, random: &mut Random) -> Vec<Event> {
        let mut events = Vec::new();
        while !self.refused.is_empty() {
            events.push(self.end_refused(0, random));
        }
        while self.open.iter().any(|open| is_long(&open.who.0)) {
            events.push(self.log_out(random));
        }
        events
    }

    fn connection(&mut self, random: &mut Random) -> Connection {
        self.id += 1;
        let name = if random.chance(4) && !self.orderly {
            // Longer than what CONNECT and FAILED_CONNECT write whole; see `damaged`.
            format!("{}{}", random.pick(&["service-", "süß-"]), "x".repeat(150))
        } else {
            random.pick(&NAMES).to_owned()
        };
        Connection {
            id: self.id,
            who: (name.into_bytes(), random.pick(&HOSTS).into()),
        }
    }

    fn line(&self, at: i64, name: &[u8], connection: &Connection, tail: &[u8]) -> Vec<u8> {
        let mut line = self.front(at, name, connection);
        line.extend(b"0,");
        line.extend(tail);
        line.push(b'\n');
        line
    }

    /// All fields up to the connection's id.
    fn front(&self, at: i64, name: &[u8], connection: &Connection) -> Vec<u8> {
        let local = Zurich.timestamp_opt(at, 0).unwrap();
        let mut front = local
            .format("%Y%m%d %H:%M:%S,db1,")
            .to_string()
            .into_bytes();
        front.extend(name);
        front.push(b',');
        front.extend(&connection.who.1);
        front.extend(format!(",{},", connection.id).into_bytes());
        front
    }

    /// Time goes on; for long only while nobody waits for anything.
    fn tick(&mut self, random: &mut Random) {
        let pause = match random.below(100) {
            0..60 => 0,
            60..90 => random.below(3),
            _ if !self.refused.is_empty() => 1,
            90..97 => random.below(90),
            _ => random.below(3_000),
        };
        // In autumn, an hour without a login or its end can't be told from none at all.
        self.now = (self.now + pause as i64).min(self.told + 3_000);
    }

    /// When a record of a connection says that it was: a little late now and then, since records
    /// of different connections overtake each other.
    fn moment(&mut self, random: &mut Random) -> i64 {
        let late = if random.chance(10) && !self.orderly {
            random.below(4)
        } else {
            0
        };
        self.told = self.now;
        self.now - late as i64
    }
}

fn is_long(name: &[u8]) -> bool {
    name.len() > 132
}

/// A name as 10.11 and 11.8 write it in CONNECT and FAILED_CONNECT.
fn damaged(name: &[u8]) -> Vec<u8> {
    if is_long(name) {
        let mut damaged = name[..132].to_vec();
        damaged.push(name.len() as u8);
        damaged
    } else {
        name.to_vec()
    }
}

/// The use of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Use {
    connects: u64,
    first_seen: Option<i64>,
    last_seen: Option<i64>,
    last_active: Option<i64>,
}

/// Attempts to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempts {
    count: u64,
    first: i64,
    last: i64,
}

/// What is known of everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    accounts: BTreeMap<Who, Use>,
    failures: BTreeMap<(Who, u32), Attempts>,
}

impl Figures {
    /// What a store holds.
    pub(crate) fn of(store: &mut dyn Store) -> Result<Self> {
        let mut figures = Self::default();
        store.accounts(&AccountFilter::default(), &mut |row| {
            let used = Use {
                connects: row.connects,
                first_seen: row.first_seen.map(|at| at.0),
                last_seen: row.last_seen.map(|at| at.0),
                last_active: row.last_active.map(|at| at.0),
            };
            figures.accounts.insert((row.name.0, row.host.0), used);
            Ok(())
        })?;
        store.failed_connects(None, &mut |row| {
            let who = (
                row.name.unwrap_or_default().0,
                row.host.unwrap_or_default().0,
            );
            let attempts = Attempts {
                count: row.attempts,
                first: row.first_seen.0,
                last: row.last_seen.0,
            };
            figures
                .failures
                .insert((who, row.code.unwrap_or(0)), attempts);
            Ok(())
        })?;
        Ok(figures)
    }

    /// Adds what one record tells, in the order of the log.
    pub(crate) fn add(&mut self, what: &What) {
        match what {
            What::LoggedIn(who, at) => {
                let used = self.accounts.entry(who.clone()).or_default();
                used.connects += 1;
                used.first_seen = Some(used.first_seen.map_or(*at, |first| first.min(*at)));
                used.last_seen = used.last_seen.max(Some(*at));
                used.last_active = used.last_active.max(Some(*at));
            }
            What::LoggedOut(who, at) => {
                let used = self.accounts.entry(who.clone()).or_default();
                used.last_active = used.last_active.max(Some(*at));
            }
            What::Worked(who, at) => {
                if let Some(used) = self.accounts.get_mut(who) {
                    used.last_active = used.last_active.max(Some(*at));
                }
            }
            What::Refused(who, code, at) => {
                let first = Attempts {
                    count: 0,
                    first: *at,
                    last: *at,
                };
                let attempts = self.failures.entry((who.clone(), *code)).or_insert(first);
                attempts.count += 1;
                attempts.first = attempts.first.min(*at);
                attempts.last = attempts.last.max(*at);
            }
            What::Nothing => {}
        }
    }

    /// Where these are not as expected; empty where they are.
    pub(crate) fn difference(&self, expected: &Self) -> String {
        let mut lines = difference(&self.accounts, &expected.accounts);
        lines += &difference(&self.failures, &expected.failures);
        lines
    }
}

fn difference<K: Ord + Debug + Readable, V: PartialEq + Debug>(
    are: &BTreeMap<K, V>,
    expected: &BTreeMap<K, V>,
) -> String {
    let mut keys: Vec<&K> = are.keys().chain(expected.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut lines = String::new();
    for key in keys {
        let (is, should) = (are.get(key), expected.get(key));
        if is != should {
            let key = key.readable();
            let _ = writeln!(lines, "{key}\n  is        {is:?}\n  should be {should:?}");
        }
    }
    lines
}

/// A key as a person reads it.
trait Readable {
    fn readable(&self) -> String;
}

impl Readable for Who {
    fn readable(&self) -> String {
        format!("'{}'@'{}'", self.0.escape_ascii(), self.1.escape_ascii())
    }
}

impl Readable for (Who, u32) {
    fn readable(&self) -> String {
        format!("{} refused with {}", self.0.readable(), self.1)
    }
}
