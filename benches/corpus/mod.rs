//! An honest log as server_audit writes it (MariaDB 10.11, plugin 1.4.14), of any size: for measuring,
//! where a log of a real server would be too small or tell too much. The same settings make the same
//! bytes. Nobody attacks in it, nothing is lost, and no server is started anew.

mod account;
mod random;
mod statement;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use chrono::{Datelike, Days, NaiveDate};

use account::Accounts;
use random::Random;

const DAY: u64 = 86_400;

/// What the log is to be like.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Of all files together, in bytes; overshot by a record at most.
    pub(crate) size: u64,
    /// The live one and the rotated ones.
    pub(crate) files: u64,
    /// How many pairs of user and host come in.
    pub(crate) accounts: usize,
    /// The exponent of Zipf's law; 0: they come in in turn.
    pub(crate) skew: f64,
    /// Which part of the logins is refused.
    pub(crate) failures: f64,
    /// Which part of the records are statements.
    pub(crate) queries: f64,
    /// The day of the first record.
    pub(crate) start: NaiveDate,
    /// How many days the log tells of.
    pub(crate) days: u64,
    /// Another seed makes another log.
    pub(crate) seed: u64,
    /// The name of the server's host.
    pub(crate) server: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            size: 100 << 20,
            files: 10,
            accounts: 2000,
            skew: 1.0,
            failures: 0.01,
            queries: 0.0,
            start: NaiveDate::from_ymd_opt(2026, 10, 15).unwrap_or_default(),
            days: 40,
            seed: 1,
            server: "db1".to_owned(),
        }
    }
}

/// How much was written of what.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written {
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    pub(crate) logins: u64,
    pub(crate) refused: u64,
    pub(crate) queries: u64,
}

/// Writes the log into `folder`: `server_audit.log` is the newest file, `.1` the one before it.
pub(crate) fn write(settings: &Settings, folder: &Path) -> io::Result<Written> {
    fs::create_dir_all(folder)?;
    let mut log = Log::new(settings);
    let mut line = Vec::new();
    for age in (0..settings.files).rev() {
        let end = (u128::from(settings.size) * u128::from(settings.files - age)
            / u128::from(settings.files)) as u64;
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path(settings, folder, age))?);
        while log.written.bytes < end {
            log.next(&mut line);
            out.write_all(&line)?;
        }
        out.flush()?;
    }
    Ok(log.written)
}

/// The plugin pads the number to the digits of the highest one.
fn path(settings: &Settings, folder: &Path, age: u64) -> PathBuf {
    let digits = (settings.files - 1).to_string().len();
    folder.join(match age {
        0 => "server_audit.log".to_owned(),
        _ => format!("server_audit.log.{age:0digits$}"),
    })
}

/// A client's connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Session {
    /// After how many logins since the beginning it ends.
    end: u64,
    id: u64,
    account: usize,
}

/// A server with its clients.
struct Log<'s> {
    settings: &'s Settings,
    random: Random,
    accounts: Accounts,
    clock: Clock,
    /// Those that are open; the first one is the next to end.
    open: BinaryHeap<Reverse<Session>>,
    /// Was refused; its DISCONNECT is the next record.
    refused: Option<Session>,
    /// Up to now, with the refused ones.
    logins: u64,
    sql: Vec<u8>,
    written: Written,
}

impl<'s> Log<'s> {
    fn new(settings: &'s Settings) -> Self {
        let mut random = Random::new(settings.seed);
        let accounts = Accounts::new(settings.accounts, settings.skew, &mut random);
        Self {
            settings,
            random,
            accounts,
            clock: Clock::new(settings.start),
            open: BinaryHeap::new(),
            refused: None,
            logins: 0,
            sql: Vec::new(),
            written: Written::default(),
        }
    }

    /// Makes `line` the next record, with the LF.
    fn next(&mut self, line: &mut Vec<u8>) {
        line.clear();
        self.record(line);
        self.written.records += 1;
        self.written.bytes += line.len() as u64;
    }

    fn record(&mut self, line: &mut Vec<u8>) {
        if let Some(session) = self.refused.take() {
            return self.connection(line, session, "DISCONNECT", "", 0);
        }
        let part = self.written.bytes as f64 / self.settings.size as f64;
        self.clock
            .set((part * (self.settings.days * DAY) as f64) as u64);
        if !self.open.is_empty() && self.random.chance(self.settings.queries) {
            self.query(line);
        } else if let Some(session) = self.ended() {
            let database = self.accounts.get(session.account).database;
            self.connection(line, session, "DISCONNECT", database, 0);
        } else {
            self.login(line);
        }
    }

    fn ended(&mut self) -> Option<Session> {
        let &Reverse(first) = self.open.peek()?;
        if first.end > self.logins {
            return None;
        }
        self.open.pop();
        Some(first)
    }

    fn login(&mut self, line: &mut Vec<u8>) {
        self.logins += 1;
        // Scripts, the pages of a web application, pools.
        let length = match self.random.below(100) {
            0..50 => self.random.next() % 4,
            50..95 => self.random.wait(40.0),
            _ => self.random.wait(2000.0),
        };
        let session = Session {
            end: self.logins + length,
            // The first ones are the server's own.
            id: self.logins + 4,
            account: self.accounts.pick(&mut self.random),
        };
        if self.random.chance(self.settings.failures) {
            self.connection(line, session, "FAILED_CONNECT", "", 1045);
            self.refused = Some(session);
            self.written.refused += 1;
        } else {
            let database = self.accounts.get(session.account).database;
            self.connection(line, session, "CONNECT", database, 0);
            self.open.push(Reverse(session));
            self.written.logins += 1;
        }
    }

    fn connection(
        &self,
        line: &mut Vec<u8>,
        session: Session,
        operation: &str,
        database: &str,
        code: u32,
    ) {
        self.head(line, session);
        // Writing to a Vec does not fail.
        let _ = writeln!(line, ",0,{operation},{database},,{code}");
    }

    fn query(&mut self, line: &mut Vec<u8>) {
        let open = self.open.as_slice();
        let Reverse(session) = open[self.random.below(open.len())];
        self.written.queries += 1;
        self.head(line, session);
        let database = self.accounts.get(session.account).database;
        let _ = write!(line, ",{},QUERY,{database},'", self.written.queries + 8);
        statement::push(line, &mut self.sql, &mut self.random);
        // A duplicate key, at times.
        let code = if self.random.chance(0.001) { 1062 } else { 0 };
        let _ = writeln!(line, "',{code}");
    }

    /// From the time to the connection id.
    fn head(&self, line: &mut Vec<u8>, session: Session) {
        let account = self.accounts.get(session.account);
        line.extend_from_slice(self.clock.text.as_bytes());
        for part in [&self.settings.server, &account.user, &account.host] {
            line.push(b',');
            line.extend_from_slice(part.as_bytes());
        }
        let _ = write!(line, ",{}", session.id);
    }
}

/// The time as the log has it.
struct Clock {
    start: NaiveDate,
    /// In seconds since the start.
    now: u64,
    text: String,
}

impl Clock {
    fn new(start: NaiveDate) -> Self {
        let text = Self::text(start, 0);
        Self {
            start,
            now: 0,
            text,
        }
    }

    fn set(&mut self, now: u64) {
        if now != self.now {
            self.now = now;
            self.text = Self::text(self.start, now);
        }
    }

    fn text(start: NaiveDate, now: u64) -> String {
        let day = start + Days::new(now / DAY);
        let second = now % DAY;
        format!(
            "{:04}{:02}{:02} {:02}:{:02}:{:02}",
            day.year(),
            day.month(),
            day.day(),
            second / 3600,
            second / 60 % 60,
            second % 60
        )
    }
}
