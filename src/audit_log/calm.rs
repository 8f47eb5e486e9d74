//! Stretches of a log in which no rule of [`trust`](super::trust) finds anything: nearly all of every
//! honest log.
//!
//! [`Trust`](super::trust::Trust) holds each line against those around it, which costs more than all
//! the rest. A [`Scanner`] reads the same lines with an eye only to whether there is anything to be
//! held against anything. **Where it says that there is not, all lines are believed, and no rule has
//! left a mark**; the rest is left to `Trust`, which alone gives verdicts that are not "believed".
//! Why that is the same:
//!
//! - Lines are [plain], of one server, one directly behind the other. So no rule about
//!   fragments, torn records, names with an operation, or other servers applies, and a connection event
//!   whose time runs backwards is an alarm.
//! - What is left compares two pairs of lines: what stands before a record with what stands before the
//!   one that opened its connection, and what stands behind both. A pair that is equal is an alarm, and
//!   so is an opener by another name, or that opens a connection which is open, or a refused login that
//!   does not end within `ANSWER` bytes and [`PATIENCE`] seconds.
//! - `Trust` holds lines back to an opener no longer than `LOOKBACK`; the scanner looks at least as
//!   far. To compare more than `Trust` does can only raise an alarm too many.
//! - Each mark of an alarm lies within [`BEFORE`] bytes before the first line that it concerns. What
//!   is earlier has left `Trust` as well at that time. What is later is not in the stretch.
//!
//! The property `calm` holds both against each other on logs with attacks of all kinds.

mod accounts;
#[cfg(test)]
mod tests;

use std::ops::Range;

use memchr::memchr;

use super::plain::{self, PlainLines};
use super::record::{Operation, Port};
use super::session;
use super::timestamp::DISORDER;
use super::trust::{PATIENCE, WINDOW};
use accounts::Accounts;

/// A refused login writes its two records at once; no more bytes stand between them in a calm stretch.
const ANSWER: usize = 1_024;

/// The lines that a name can reach have fewer bytes: 128 characters of four, and a head.
const NAME: usize = 1_024;

/// No line that `Trust` holds stands so far before the one that is judged: before a refused login that
/// waits for its end, what its name may reach, and a window.
const LOOKBACK: usize = ANSWER + NAME + WINDOW as usize + plain::LONGEST;

/// How far the scanner must see before the first line of a stretch, in bytes; nothing but plain lines may
/// stand there.
pub const CONTEXT: usize = LOOKBACK + NAME + plain::LONGEST;

/// A stretch ends so far before what raised an alarm: no line is passed on that `Trust` would still hold.
pub const BEFORE: usize = WINDOW as usize + ANSWER + NAME;

/// A stretch ends so far before what was looked at, since what follows may raise an alarm about it.
const AHEAD: usize = BEFORE + NAME + LOOKBACK;

/// How many bytes must stand behind the first line of a stretch for it to be one.
pub const FORESIGHT: usize = AHEAD + plain::SLACK;

/// Openers are remembered by the last bits of their connection's id.
const OPENERS: usize = 1_024;

/// With so many accounts the scanner begins to count them anew.
const MAX_ACCOUNTS: usize = 32_768;

/// What a line of a calm stretch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The connection's id.
    pub connectionid: u64,
    /// Seconds since 1970 of the server's clock.
    pub time: u32,
    /// First byte of the line in what was scanned.
    pub start: u32,
    /// Number of the account, see [`Stretch::accounts`].
    pub account: u32,
    /// The server's error number.
    pub retcode: u16,
    /// Length of the user name, in bytes.
    username_len: u8,
    /// What happened; a line that is not plain has [`Operation::ChangeUser`], and is in no stretch.
    pub operation: Operation,
}

/// A user name and a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user name, a comma, and the host. A line break instead of the comma, where the host carried
    /// a port, which was cut off ([`Port::Cut`]).
    text: Box<[u8]>,
    username_len: usize,
}

impl Account {
    /// The user name.
    pub fn username(&self) -> &[u8] {
        &self.text[..self.username_len]
    }

    /// The host.
    pub fn host(&self) -> &[u8] {
        &self.text[self.username_len + 1..]
    }

    /// Whether the host carried a port.
    pub fn port(&self) -> Port {
        match self.text[self.username_len] {
            b'\n' => Port::Cut,
            _ => Port::None,
        }
    }
}

/// What [`Scanner::scan`] finds.
#[derive(Debug, Default)]
pub struct Stretch {
    /// Its lines, with some before and behind it.
    pub events: Vec<Event>,
    /// The accounts that this scanner had not met before; their numbers go on from the last ones.
    pub accounts: Vec<Account>,
    /// Numbers of accounts begin at 0 again.
    pub anew: bool,
    /// Where it ends: the first byte of the line behind it.
    pub end: usize,
    /// If it is not the end of what was there that ended it: the last line that was found not to be calm.
    pub alarm: Option<usize>,
}

impl Stretch {
    /// Its events, those between these two bytes.
    pub fn events_in(&self, bytes: Range<usize>) -> &[Event] {
        let end = bytes.end.min(self.end);
        &self.events[self.number_of(bytes.start)..self.number_of(end)]
    }

    /// How many events begin before this byte.
    fn number_of(&self, byte: usize) -> usize {
        self.events
            .partition_point(|event| (event.start as usize) < byte)
    }

    /// Where the first line begins that begins at this byte or behind it, or at the stretch's end.
    pub fn line_behind(&self, byte: usize) -> usize {
        let first = self.events.get(self.number_of(byte));
        first.map_or(self.end, |event| self.end.min(event.start as usize))
    }

    /// Where the last line begins that begins at this byte or before it.
    fn line_before(&self, byte: usize) -> Option<usize> {
        let number = self.number_of(byte + 1).checked_sub(1)?;
        Some(self.events[number].start as usize)
    }

    /// Ends it before a record of one of these connections that begins at byte `from` or behind it.
    pub fn end_before(&mut self, from: usize, connections: &[u64]) {
        if connections.is_empty() {
            return;
        }
        let mut events = self.events_in(from..self.end).iter();
        let Some(alarm) = events.find(|event| connections.contains(&event.connectionid)) else {
            return;
        };
        let alarm = alarm.start as usize;
        let last = self.line_before(alarm.saturating_sub(BEFORE));
        self.end = last.map_or(from, |last| last.max(from));
        self.alarm = Some(alarm);
    }
}

/// Where the lines begin that [`Trust`](super::trust::Trust) still holds when the one at byte `end` is
/// judged, at the latest.
pub fn look_back(bytes: &[u8], end: usize) -> usize {
    first_line(bytes, end.saturating_sub(LOOKBACK)..end)
}

/// Where the first line begins that begins behind an LF in `range`, or where that ends.
pub fn first_line(bytes: &[u8], range: Range<usize>) -> usize {
    let found = bytes
        .get(range.clone())
        .and_then(|text| memchr(b'\n', text));
    found.map_or(range.end, |lf| range.start + lf + 1)
}

#[derive(Clone, Copy, Default)]
struct Slot {
    connectionid: u64,
    /// Number of the event, counted over all that was ever scanned, from 1.
    number: u64,
}

/// A refused login that has not ended.
struct Refused {
    event: usize,
    connectionid: u64,
    since: u32,
}

/// Looks for calm stretches in the log of one server.
pub struct Scanner {
    lines: PlainLines,
    accounts: Accounts,
    openers: Box<[Slot; OPENERS]>,
    /// Number of the event before the first one of the current scan.
    base: u64,
    refused: Vec<Refused>,
}

impl Scanner {
    /// For the server that calls itself `serverhost` in the log.
    pub fn of(serverhost: &[u8]) -> Self {
        Self {
            lines: PlainLines::of(serverhost),
            accounts: Accounts::default(),
            openers: Box::new([Slot::default(); OPENERS]),
            base: 0,
            refused: Vec::new(),
        }
    }

    /// The server whose log is scanned.
    pub fn serverhost(&self) -> &[u8] {
        self.lines.serverhost()
    }

    /// Looks for a calm stretch that begins at byte `from`, where a line begins. [`CONTEXT`] bytes must
    /// stand before it in the same file, of lines that `Trust` found nothing about, or left to it.
    pub fn scan(&mut self, bytes: &[u8], from: usize, stretch: &mut Stretch) {
        stretch.events.clear();
        stretch.accounts.clear();
        stretch.anew = self.accounts.len() > MAX_ACCOUNTS;
        if stretch.anew {
            self.accounts.clear();
        }
        self.refused.clear();
        let mut scan = Scan {
            bytes,
            limit: bytes.len().saturating_sub(plain::SLACK),
            alarm: usize::MAX,
            last_alarm: 0,
            behind: None,
            last_time: 0,
        };
        // With too little before it, the first line is where all ends.
        let Some(context) = from.checked_sub(CONTEXT).filter(|_| from <= bytes.len()) else {
            (stretch.end, stretch.alarm) = (from, None);
            return;
        };
        let mut at = first_line(bytes, context..from);
        while at < scan.limit {
            at = match self.line(&mut scan, at, stretch) {
                Some(next) => next,
                None => break,
            };
        }
        for refused in self.refused.drain(..) {
            let start = stretch.events[refused.event].start as usize;
            if at - start > ANSWER {
                scan.alarm_at(start);
            }
        }
        self.accounts.take_new(&mut stretch.accounts);
        self.base += stretch.events.len() as u64;
        let seen = at.saturating_sub(AHEAD);
        let before_alarm = scan.alarm.saturating_sub(BEFORE);
        let calm = seen.min(before_alarm);
        stretch.alarm = Some(scan.last_alarm).filter(|_| before_alarm <= seen);
        stretch.end = stretch
            .line_before(calm)
            .map_or(from, |last| last.max(from));
    }

    /// Looks at the line that begins at byte `at`. Where the next one begins; none if it does not end.
    #[inline]
    fn line(&mut self, scan: &mut Scan<'_>, at: usize, stretch: &mut Stretch) -> Option<usize> {
        let bytes = scan.bytes;
        let events = &mut stretch.events;
        let here = events.len();
        let Some(line) = self.lines.read(bytes, at) else {
            scan.alarm_at(at);
            events.push(Event {
                connectionid: u64::MAX,
                time: 0,
                start: at as u32,
                account: 0,
                retcode: 0,
                username_len: 0,
                operation: Operation::ChangeUser,
            });
            return memchr(b'\n', &bytes[at..]).map(|lf| at + lf + 1);
        };
        let head = self.lines.head_len();
        let account = self.accounts.number(&bytes[at + head..], &line);
        let id = line.connectionid;
        events.push(Event {
            connectionid: id,
            time: line.time,
            start: at as u32,
            account,
            retcode: line.retcode,
            // It stands in a window of half as many bytes.
            username_len: line.username_len as u8,
            operation: line.operation,
        });
        if let Some(behind) = scan.behind.take()
            && scan.is_same(head, events, behind, here, line.end)
        {
            scan.alarm_at(events[behind].start as usize);
        }
        if line.operation.is_statement() {
            if line.operation == Operation::Query
                && line.retcode == 0
                && stops_logging(&bytes[line.object.0..line.object.1])
            {
                scan.alarm_at(at);
            }
            // See `Trust::compare_statement`.
            let follows = here > 0 && !events[here - 1].operation.is_statement();
            if follows && let Some(opener) = self.opener(id, at, events) {
                self.compare(scan, events, opener, here);
            }
            return Some(line.end + 1);
        }
        if line.time.saturating_add(DISORDER as u32) < scan.last_time {
            scan.alarm_at(at);
        }
        scan.last_time = line.time;
        if !self.refused.is_empty() {
            self.wait(scan, line.time, at, events);
        }
        let slot = id as usize % OPENERS;
        if line.operation != Operation::Disconnect {
            let old = self.openers[slot].connectionid;
            if let Some(old) = self.opener(old, at, events) {
                scan.alarm_at(events[old].start as usize);
            }
            self.openers[slot] = Slot {
                connectionid: id,
                number: self.base + here as u64 + 1,
            };
            if line.operation == Operation::FailedConnect {
                self.refused.push(Refused {
                    event: here,
                    connectionid: id,
                    since: line.time,
                });
            }
        } else if let Some(opener) = self.opener(id, at, events) {
            self.openers[slot].number = 0;
            if !self.refused.is_empty() {
                self.refused.retain(|refused| refused.connectionid != id);
            }
            if events[opener].account != account {
                scan.alarm_at(events[opener].start as usize);
            }
            self.compare(scan, events, opener, here);
            scan.behind = Some(opener + 1).filter(|behind| *behind < here);
        }
        Some(line.end + 1)
    }

    /// The event that opened this connection, if `Trust` may still hold it at byte `at`.
    #[inline]
    fn opener(&self, connectionid: u64, at: usize, events: &[Event]) -> Option<usize> {
        let slot = &self.openers[connectionid as usize % OPENERS];
        if slot.connectionid != connectionid || slot.number <= self.base {
            return None;
        }
        let event = (slot.number - self.base - 1) as usize;
        (at - events[event].start as usize <= LOOKBACK).then_some(event)
    }

    /// Whether what stands before the line `end` stands before the one that opened its connection.
    #[inline]
    fn compare(&self, scan: &mut Scan<'_>, events: &[Event], opener: usize, end: usize) {
        let head = self.lines.head_len();
        let start = |event: usize| events[event].start as usize;
        if let Some(before) = opener.checked_sub(1)
            && opener < end - 1
            && scan.is_same(head, events, before, end - 1, start(end) - 1)
        {
            scan.alarm_at(start(before));
        }
        // A name of more than 64 or 132 bytes is shown with so many, and one that tells its length
        // (`Trust::damaged_before`); here with line breaks in it.
        let shown_end = start(opener) + usize::from(events[opener].username_len);
        for first in events[..opener].iter().rev() {
            match shown_end - first.start as usize {
                shown @ (65 | 133) => self.compare_damaged(scan, &events[opener..=end], shown),
                134.. => return,
                _ => {}
            }
        }
    }

    /// Whether a name may be damaged that the opener, the first of these events, shows with so many
    /// bytes, and that stands whole before the last one.
    #[cold]
    fn compare_damaged(&self, scan: &mut Scan<'_>, events: &[Event], shown: usize) {
        let head = self.lines.head_len();
        let name_end =
            |event: &Event| event.start as usize + head + usize::from(event.username_len);
        let [opener, lines @ .., end] = events else {
            return;
        };
        let shown = name_end(opener) - shown..name_end(opener);
        let (name, length) = scan.bytes[shown.clone()].split_at(shown.len() - 1);
        let wholes = lines.iter().rev();
        let wholes = wholes.map(|line| line.start as usize + head..name_end(end));
        let mut wholes = wholes.take_while(|whole| whole.len() <= NAME);
        let is_shown = |whole: Range<usize>| {
            whole.len() > name.len()
                && [whole.len() as u8] == *length
                && scan.bytes[whole].starts_with(name)
        };
        if wholes.any(is_shown) {
            scan.alarm_at(shown.start - head);
        }
    }

    /// Refused logins must end soon.
    #[cold]
    fn wait(&mut self, scan: &mut Scan<'_>, now: u32, at: usize, events: &[Event]) {
        self.refused.retain(|refused| {
            let start = events[refused.event].start as usize;
            let in_time = refused.since..=refused.since.saturating_add(PATIENCE as u32);
            let waits = in_time.contains(&now) && at - start <= ANSWER;
            if !waits {
                scan.alarm_at(start);
            }
            waits
        });
    }
}

/// One look at some bytes.
struct Scan<'a> {
    bytes: &'a [u8],
    /// Lines that begin behind it need not be looked at.
    limit: usize,
    /// The first and the last line that is not calm.
    alarm: usize,
    last_alarm: usize,
    /// The line behind the opener of the connection that ended in the line before.
    behind: Option<usize>,
    /// Time of the connection event before.
    last_time: u32,
}

impl Scan<'_> {
    /// What begins at byte `at` is for `Trust`.
    #[cold]
    fn alarm_at(&mut self, at: usize) {
        self.alarm = self.alarm.min(at);
        self.last_alarm = self.last_alarm.max(at);
        self.limit = self.limit.min(self.alarm.saturating_sub(BEFORE) + AHEAD);
    }

    /// Whether two lines say the same behind their heads; `a` is not the last one, `b` ends at `b_end`.
    #[inline]
    fn is_same(&self, head: usize, events: &[Event], a: usize, b: usize, b_end: usize) -> bool {
        events[a].connectionid == events[b].connectionid && {
            let text = |event: usize| events[event].start as usize + head;
            let a_end = events[a + 1].start as usize - 1;
            self.bytes.get(text(a)..a_end) == self.bytes.get(text(b)..b_end)
        }
    }
}

/// Whether a QUERY with this text is for [`session`] to look at. Nearly all show it at once.
#[inline]
fn stops_logging(text: &[u8]) -> bool {
    match text {
        [_, b's' | b'S', b'e' | b'E', b't' | b'T', ..] => {}
        [_, b's' | b'S', ..] => return false,
        [
            _,
            b'u' | b'U' | b'/' | b' ' | b'\t' | b'\n' | b'\r' | b'\x0c',
            ..,
        ] => {}
        _ => return false,
    }
    session::stops_logging(text).is_some()
}
