//! What of the log may be believed.
//!
//! User, host and database names stand in the log as the client sent them, line breaks included. A
//! client without any account can therefore write lines into it: a user name such as
//! `root,localhost,99,0,CONNECT,,,0⏎20261122 19:04:51,db1,x` leaves two perfect records, of which
//! only the very front and the very end are the server's. [`Trust`] lets no such record through.
//!
//! What it builds on, measured on 10.5, 10.11 and 11.8:
//!
//! - The server writes a record with **one** `write`, so a payload is one stretch of the file. It
//!   begins behind a genuine head and ends before a genuine tail.
//! - A name has at most 128 characters ([`REACH`]), so a payload reaches no further.
//! - **Every record of a connection writes the same name**, and a refused login writes two:
//!   FAILED_CONNECT and DISCONNECT. What stands before both is the attacker's; nothing that the
//!   server writes stands there twice.
//!
//! Lines wait in a queue until nothing that follows can change the verdict, and leave it in the
//! order of the log. What still waits when a run ends is carried in the checkpoint as it was read
//! ([`Trust::finish`]), so no login is lost and none is counted early.
//!
//! What no reader of the file can see: an account that may create databases can put a record into
//! a *database name*, log in, say `USE`, and quit. One perfect line follows its DISCONNECT.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use serde::{Deserialize, Serialize};

use super::record::{self, Head, Operation, Parsed, Record};
use super::timestamp::{DISORDER, Stamp};
use crate::name::Name;

/// The longest name that a client can send, in characters (128 from 10.6.1; 80 before).
pub const REACH: usize = 128;

/// A line is judged when this many bytes stand behind it and no question about it is open. Must
/// exceed [`REACH`] characters of four bytes; the rest is for rules that look back.
const WINDOW: u64 = 2_048;

/// A refused login writes its two records at once. After so much time, in seconds, or so many bytes,
/// the second is not coming (a crash, logging switched off), and judging goes on without.
pub const PATIENCE: i64 = 30;
const MAX_WAIT: u64 = 262_144;

/// How many records may be set aside at once; beyond, the oldest are given up.
const MAX_ASIDE: usize = 256;

/// Why a record is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// The same line stands before two records of one other connection.
    WrittenTwice,
    /// It stands next to a line without beginning or end, within the length of one name.
    Fragment,
    /// It stands before a refused login that never ended.
    Unended,
    /// It stands before a refused change of user, which writes its name only once.
    ChangeOfUser,
    /// It stands before a record whose name is not the one that its connection began with.
    OtherName,
    /// The same line stands behind two records of one other connection.
    DatabaseName,
    /// It stands before a record whose time runs backwards.
    TimeBackwards,
    /// It names another server, among records of this one.
    OtherServer,
    /// It holds two operations: a part of a name may have been taken for a field.
    TwoOperations,
    /// It goes on in the middle of a torn line, and nothing else tells of its connection.
    Torn,
}

impl Why {
    /// The reason in words, for a person.
    pub fn text(self) -> &'static str {
        match self {
            Self::WrittenTwice => {
                "the same line stands before both records of another connection: its user name holds a line break"
            }
            Self::Fragment => {
                "next to a line without beginning or end: a name there may hold line breaks"
            }
            Self::Unended => {
                "before a refused login whose end was not logged: its user name may hold a line break"
            }
            Self::ChangeOfUser => {
                "before a refused change of user: the name that was tried may hold a line break"
            }
            Self::OtherName => {
                "before a record whose user is not the one that its connection began with"
            }
            Self::DatabaseName => {
                "the same line stands behind both records of another connection: its database name holds a line break"
            }
            Self::TimeBackwards => {
                "before a record whose time runs backwards: its beginning may be a part of a name"
            }
            Self::OtherServer => "names another server than the records around it",
            Self::TwoOperations => "holds two operations: a name with commas, or a forgery",
            Self::Torn => {
                "in the middle of a torn line, and no other record tells of its connection"
            }
        }
    }
}

/// Where a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the file in this run's list.
    pub file: usize,
    /// First byte of the line in the file (unpacked).
    pub offset: u64,
}

/// What became of a line, in the order of the log.
#[derive(Debug)]
pub enum Verdict<'a> {
    /// A record to be counted.
    Believed(&'a Record),
    /// A record that must move no figure; who wrote it, if that is known.
    Doubtful(&'a Record, Why, Option<&'a Name>),
    /// The same of a record that was `Believed` before: only what followed betrayed it.
    DoubtfulAfterAll(&'a Record, Why, Option<&'a Name>),
    /// The first or a middle line of a name with line breaks: nothing by itself, and explained by
    /// the record that ends it.
    Explained,
    /// Not understood.
    Malformed,
}

/// Takes verdicts.
pub trait Sink {
    /// Called for each line, in the order of the log. `text` is the line without line end.
    /// `whole` is there for the last line of a record whose name holds line breaks.
    fn line(&mut self, text: &[u8], place: Place, verdict: Verdict<'_>, whole: Option<&Whole>);

    /// A record that was passed on as `Doubtful` has proved genuine; it follows as `Believed`.
    fn withdraw(&mut self, text: &[u8], place: Place, record: &Record);
}

/// What the last line of a record does not say: it began on an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// The user name with its line breaks, as far back as a name can reach.
    pub name: Vec<u8>,
    /// The time of the record.
    pub time: Option<Stamp>,
}

/// A line that still waits, or that later lines may have to be compared with, as a checkpoint keeps
/// it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The file's path when it was read.
    pub file: String,
    /// Its first byte in the file (unpacked).
    pub offset: u64,
    /// The line.
    pub text: Name,
    /// A doubt that does not follow from the lines behind it.
    pub doubt: Option<(Why, Option<Name>)>,
    /// Its verdict was given; it is kept because later lines may have to be compared with it.
    pub passed: bool,
}

/// A record that is believed as soon as another record beyond doubt tells of the same connection.
/// It blocks nothing meanwhile. Kept in a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aside {
    /// Its file's path when it was read.
    pub file: String,
    /// Its first byte in the file (unpacked).
    pub offset: u64,
    /// The line.
    pub text: Name,
    /// Why it is not believed by itself, and who wrote it.
    pub why: Why,
    /// The address of the connection that wrote it, as far as known.
    pub from: Option<Name>,
    /// It was reported as doubtful, which is to be withdrawn should it prove genuine.
    pub told: bool,
    /// Number of the file in this run's list.
    #[serde(skip)]
    pub number: usize,
}

struct Held {
    place: Place,
    /// Place of the text in the arena, counted from the arena's first byte ever.
    start: u64,
    len: u32,
    parsed: Parsed,
    /// Hash of what stands behind the head.
    key: u64,
    /// Stands directly behind the line before it, in the same file.
    adjacent: bool,
    doubt: Option<(Why, Option<Name>)>,
    /// The fragment in whose reach it stands.
    near: Option<u64>,
    /// Believed only if another record tells of the same connection.
    asked: Option<(Why, Option<Name>)>,
    /// A part of a name whose whole is known.
    explained: bool,
    whole: Option<Whole>,
}

/// A refused login: what stands in reach before it waits for its DISCONNECT.
struct Refused {
    /// The lines in reach: from `first` up to, not including, `asker`.
    first: u64,
    asker: u64,
    /// Its DISCONNECT came, or it turned out to be forged itself.
    answered: bool,
}

/// Judges the lines of one log, in their order. Memory is bounded by [`MAX_WAIT`] and a line.
pub struct Trust {
    queue: VecDeque<Held>,
    /// Number of the queue's first line, counted from the first line that was pushed.
    first: u64,
    /// The first line whose verdict was not given yet. Those before it are kept to compare with.
    next: u64,
    /// Lines that were believed and then turned out to be forged.
    betrayed: Vec<u64>,
    arena: Vec<u8>,
    arena_from: u64,
    /// In order of their askers, and therefore of their first lines as well.
    refused: VecDeque<Refused>,
    aside: Vec<Aside>,
    /// How far the payload that begins in a fragment reached so far: (fragment, characters).
    forward: Option<(u64, usize)>,
    /// The line that would be repeated next behind a database name, and where.
    repeated: Option<(u64, u64)>,
    serverhost: Option<Name>,
    /// The first of the lines that name another server, if such lines were read last.
    foreign: Option<u64>,
    hasher: foldhash::fast::FixedState,
}

impl Trust {
    /// Begins with what the last run left: the name that the server called itself, and the records
    /// that were set aside. Lines that still waited come by [`Trust::resume`].
    pub fn new(serverhost: Option<Name>, aside: Vec<Aside>) -> Self {
        Self {
            queue: VecDeque::new(),
            first: 0,
            next: 0,
            betrayed: Vec::new(),
            arena: Vec::new(),
            arena_from: 0,
            refused: VecDeque::new(),
            aside,
            forward: None,
            repeated: None,
            serverhost,
            foreign: None,
            hasher: foldhash::fast::FixedState::default(),
        }
    }

    /// The name that the server calls itself in the log.
    pub fn serverhost(&self) -> Option<&Name> {
        self.serverhost.as_ref()
    }

    /// Takes the next complete line (without its line end) and passes on what is judged by it.
    pub fn push(&mut self, text: &[u8], place: Place, sink: &mut dyn Sink) {
        self.add(text, place, None);
        self.release(sink);
    }

    /// Takes back a line that waited in a checkpoint.
    pub fn resume(&mut self, pending: Pending, place: Place) {
        self.add(&pending.text.0, place, pending.doubt);
        if pending.passed {
            self.next = self.end();
            self.betrayed.clear();
        }
    }

    fn add(&mut self, text: &[u8], place: Place, doubt: Option<(Why, Option<Name>)>) {
        let parsed = record::parse(text);
        let head_len = head_end(&parsed);
        let held = Held {
            place,
            start: self.arena_from + self.arena.len() as u64,
            len: text.len() as u32,
            parsed,
            key: self.hasher.hash_one(&text[head_len.min(text.len())..]),
            adjacent: self.queue.back().is_some_and(|before| {
                before.place.file == place.file
                    && before.place.offset + u64::from(before.len) + 1 == place.offset
            }),
            doubt,
            near: None,
            asked: None,
            explained: false,
            whole: None,
        };
        self.arena.extend_from_slice(text);
        let seq = self.end();
        self.queue.push_back(held);
        self.judge(seq);
    }

    /// All rules, by the line that may set them off.
    fn judge(&mut self, seq: u64) {
        self.carry_fragment_forward(seq);
        self.compare_with_database_name(seq);
        self.expire(seq);
        let parsed = self.held(seq).parsed;
        self.check_serverhost(seq, head_of(&parsed));
        match parsed {
            Parsed::Head(head) => {
                // The first line of a name with a line break, or a torn record.
                let chars = characters(&self.text(seq)[head.end()..]) + 1;
                self.forward = Some((seq, chars));
            }
            Parsed::Neither => {
                let len = self.held(seq).len as usize;
                for at in self.reach_of(seq, len)..seq {
                    self.held_mut(at).near.get_or_insert(seq);
                }
                self.forward = Some((seq, characters(self.text(seq)) + 1));
            }
            Parsed::Tail(record) => {
                self.held_mut(seq).whole = Some(self.whole(seq, &record));
                self.judge_record(seq, &record, true);
            }
            Parsed::Record(record) => self.judge_record(seq, &record, false),
            Parsed::Torn(record) => {
                self.judge_record(seq, &record, false);
                // What a full disk leaves is honest if another record tells of the connection.
                self.held_mut(seq).asked = Some((Why::Torn, None));
            }
        }
    }

    fn judge_record(&mut self, seq: u64, record: &Record, tail_only: bool) {
        let mut explained = false;
        if !matches!(record.operation, Operation::Query | Operation::Table) {
            self.check_time(seq, record);
        }
        match record.operation {
            Operation::FailedConnect => {
                // Its name is written again by its DISCONNECT: wait for that, then compare.
                let first = self.reach_of(seq, record.username.end());
                if first < seq && self.held(seq).doubt.is_none() {
                    self.refused.push_back(Refused {
                        first,
                        asker: seq,
                        answered: false,
                    });
                }
                explained = true;
            }
            Operation::Disconnect if record.connectionid != 0 => {
                explained = self.compare_with_opener(seq, record);
            }
            Operation::ChangeUser if record.retcode != 0 => {
                // The name that was tried is written once: nothing to compare with.
                self.ask(
                    self.reach_of(seq, record.username.end()),
                    seq,
                    Why::ChangeOfUser,
                );
            }
            Operation::Connect if record.two_operations => {
                self.doubt(seq, Why::TwoOperations, None);
            }
            _ => {}
        }
        if tail_only && !explained {
            let from = Name::from(record.host.of(self.text(seq)));
            for at in self.reach_of(seq, record.username.end())..seq {
                self.doubt(at, Why::Fragment, Some(from.clone()));
            }
            if record.operation == Operation::Connect {
                self.doubt(seq, Why::Fragment, Some(from));
            }
        }
    }

    /// The user name of a record without head: from the line on which it began, as far as a name
    /// can reach.
    fn whole(&self, seq: u64, record: &Record) -> Whole {
        let reach = self.reach_of(seq, record.username.end());
        // A line without tail is where it began; else the line before holds a part of it.
        let start = (reach..seq)
            .rev()
            .find(|at| matches!(self.held(*at).parsed, Parsed::Head(_)))
            .unwrap_or(seq - u64::from(reach < seq));
        let mut name = Vec::new();
        for at in start..seq {
            let skip = if at == start {
                head_end(&self.held(at).parsed)
            } else {
                0
            };
            name.extend_from_slice(&self.text(at)[skip..]);
            name.push(b'\n');
        }
        name.extend_from_slice(record.username.of(self.text(seq)));
        Whole {
            name,
            time: head_of(&self.held(start).parsed).map(|head| head.time),
        }
    }

    // --- Rule: what stands before both records of a refused login was written by its client.

    /// Compares what stands before a DISCONNECT with what stands before the record that opened the
    /// connection. True if a payload was found there.
    fn compare_with_opener(&mut self, seq: u64, record: &Record) -> bool {
        let Some((opener, changed)) = self.opener(seq, record) else {
            if record.two_operations {
                self.doubt(seq, Why::TwoOperations, None);
            }
            return false;
        };
        let (mut equal, mut explained) = (0, false);
        let mut chars = characters(&self.text(seq)[..record.username.end()]);
        loop {
            let (before_opener, before_end) = (opener.checked_sub(equal + 1), seq - equal - 1);
            let Some(before_opener) = before_opener.filter(|at| *at >= self.first) else {
                break;
            };
            // Never compare the opener, or what stands before it, with itself.
            if before_end <= opener
                || !self.held(before_opener + 1).adjacent
                || !self.held(before_end + 1).adjacent
                || self.held(before_opener).key != self.held(before_end).key
            {
                break;
            }
            let head = head_end(&self.held(before_end).parsed);
            chars += characters(&self.text(before_end)[head..]) + 1;
            if chars > REACH {
                break;
            }
            // In the next round this line would be a middle line, head and all.
            chars += characters(&self.text(before_end)[..head]);
            equal += 1;
        }
        let from = Name::from(record.host.of(self.text(seq)));
        for back in 1..=equal {
            for at in [opener - back, seq - back] {
                explained = true;
                self.explain(at);
                self.doubt(at, Why::WrittenTwice, Some(from.clone()));
            }
        }
        if explained {
            for at in [opener, seq] {
                self.held_mut(at).near = None;
            }
            self.forward = None;
        }
        if !explained && let Parsed::Tail(refused) = self.held(opener).parsed {
            // It began on an earlier line, and its end does not tell where.
            for at in self.reach_of(opener, refused.username.end())..opener {
                self.doubt(at, Why::Fragment, Some(from.clone()));
            }
        }
        let opened = *self.held(opener).parsed.record().unwrap_or(record);
        self.settle(opener);
        // The name must be the same; a damaged one may be repaired, a changed one may be new.
        let same = is_same_connection((record, self.text(seq)), (&opened, self.text(opener)));
        if same {
            return explained;
        }
        if record.two_operations {
            self.doubt(seq, Why::TwoOperations, None);
        } else {
            self.ask(
                self.reach_of(seq, record.username.end()),
                seq,
                Why::OtherName,
            );
            if !changed {
                self.doubt(seq, Why::OtherName, None);
            }
        }
        explained
    }

    /// The CONNECT or FAILED_CONNECT of the connection that a DISCONNECT ends, if it still waits
    /// here, and whether the user was changed in between.
    fn opener(&self, seq: u64, record: &Record) -> Option<(u64, bool)> {
        let mut changed = false;
        for at in (self.first..seq).rev() {
            let Some(other) = self.held(at).parsed.record() else {
                continue;
            };
            if other.connectionid != record.connectionid || self.held(at).doubt.is_some() {
                continue;
            }
            match other.operation {
                Operation::Connect | Operation::FailedConnect => return Some((at, changed)),
                Operation::ChangeUser => changed |= other.retcode == 0,
                _ => {}
            }
        }
        None
    }

    // --- Rule: a record's own time is the server's, or its head was written by a client.

    /// A user name that holds the beginning of a record holds a fixed time. A client that gets in by
    /// such a name (through an anonymous account) and stays for long leaves with a time long past.
    fn check_time(&mut self, seq: u64, record: &Record) {
        let Some(Stamp::Local(time)) = record.head.map(|head| head.time) else {
            return;
        };
        let before = (self.first..seq).rev().find_map(|at| {
            let parsed = self.held(at).parsed;
            let other = parsed
                .record()
                .filter(|other| !matches!(other.operation, Operation::Query | Operation::Table))?;
            other.head
        });
        let Some(Stamp::Local(before)) = before.map(|head| head.time) else {
            return;
        };
        // Daylight saving time ends by an hour, somewhere by half of one.
        let back = before - time;
        let hour = [1_800, 3_600]
            .iter()
            .any(|hour| (back - hour).abs() <= DISORDER);
        if back > DISORDER && !hour {
            self.ask(
                self.reach_of(seq, record.username.end()),
                seq,
                Why::TimeBackwards,
            );
        }
    }

    // --- Rule: a fragment puts in doubt what can be one payload with it.

    fn carry_fragment_forward(&mut self, seq: u64) {
        let Some((fragment, chars)) = self.forward else {
            return;
        };
        if !self.held(seq).adjacent {
            self.forward = None;
            return;
        }
        let whole = chars + characters(self.text(seq)) + 1;
        let name_end = self
            .held(seq)
            .parsed
            .record()
            .map_or(0, |record| record.username.end());
        if whole <= REACH || chars + characters(&self.text(seq)[..name_end]) <= REACH {
            self.held_mut(seq).near = Some(fragment);
        }
        self.forward = (whole <= REACH).then_some((fragment, whole));
    }

    /// `seq` is a part of a name that is known as a whole: what it put in doubt is cleared.
    fn explain(&mut self, seq: u64) {
        self.held_mut(seq).explained = true;
        for held in &mut self.queue {
            if held.near == Some(seq) {
                held.near = None;
            }
        }
    }

    /// The first line that can be one payload with the name in line `seq` that ends at `name_end`.
    fn reach_of(&self, seq: u64, name_end: usize) -> u64 {
        let mut chars = characters(&self.text(seq)[..name_end]);
        let mut first = seq;
        while first > self.first && self.held(first).adjacent {
            let before = first - 1;
            let head = head_end(&self.held(before).parsed);
            if chars + characters(&self.text(before)[head..]) + 1 > REACH {
                break;
            }
            chars += characters(self.text(before)) + 1;
            first = before;
        }
        first
    }

    // --- Rule: the same line behind CONNECT and DISCONNECT was written by the database's name.

    fn compare_with_database_name(&mut self, seq: u64) {
        let expected = self
            .repeated
            .take()
            .filter(|(at, then)| *then == seq && *at >= self.first);
        let candidate = match expected {
            Some((at, _)) => Some(at),
            None => self.behind_opener(seq),
        };
        let Some(at) = candidate else { return };
        if at >= seq || !self.held(seq).adjacent || self.held(at).key != self.held(seq).key {
            return;
        }
        if self
            .held(at)
            .parsed
            .record()
            .is_some_and(|record| record.operation != Operation::Query)
        {
            let from = (at.checked_sub(1).filter(|before| *before >= self.first))
                .and_then(|before| {
                    self.held(before)
                        .parsed
                        .record()
                        .map(|record| (before, *record))
                })
                .map(|(before, record)| Name::from(record.host.of(self.text(before))));
            self.doubt(at, Why::DatabaseName, from.clone());
            self.doubt(seq, Why::DatabaseName, from);
        }
        self.repeated = Some((at + 1, seq + 1));
    }

    /// If line `seq` follows a DISCONNECT: the line that follows the CONNECT of that connection.
    fn behind_opener(&self, seq: u64) -> Option<u64> {
        let before = seq.checked_sub(1).filter(|at| *at >= self.first)?;
        let Parsed::Record(end) = self.held(before).parsed else {
            return None;
        };
        if end.operation != Operation::Disconnect {
            return None;
        }
        let (opener, _) = self.opener(before, &end)?;
        (opener + 1 < before && self.held(opener + 1).adjacent).then_some(opener + 1)
    }

    // --- Rule: all records name the same server.

    /// A run of records with a new server name that is longer than any payload is a server that was
    /// renamed; a shorter one was written by a client.
    fn check_serverhost(&mut self, seq: u64, head: Option<Head>) {
        let Some(head) = head else { return };
        let name = head.serverhost.of(self.text(seq));
        let known = match &self.serverhost {
            Some(known) => known,
            None => {
                self.serverhost = Some(Name::from(name));
                return;
            }
        };
        if known.0 == name {
            if let Some(first) = self.foreign.take() {
                for at in first.max(self.first)..seq {
                    if self.foreign_head(at) {
                        self.doubt(at, Why::OtherServer, None);
                    }
                }
            }
            return;
        }
        let name = Name::from(name);
        let first = *self.foreign.get_or_insert(seq);
        if self.foreign_name(first) != Some(&name.0[..]) {
            for at in first..seq {
                self.doubt(at, Why::OtherServer, None);
            }
            self.foreign = Some(seq);
            return;
        }
        let chars: usize = (first..=seq).map(|at| characters(self.text(at)) + 1).sum();
        if chars > REACH && seq > first {
            self.serverhost = Some(name);
            self.foreign = None;
        }
    }

    fn foreign_name(&self, seq: u64) -> Option<&[u8]> {
        head_of(&self.held(seq).parsed).map(|head| head.serverhost.of(self.text(seq)))
    }

    fn foreign_head(&self, seq: u64) -> bool {
        self.foreign_name(seq) != self.serverhost.as_ref().map(|name| &name.0[..])
    }

    // --- Questions about the lines in the queue.

    /// What stands in lines `first` up to `asker` may be the asker's name: it needs another record.
    fn ask(&mut self, first: u64, asker: u64, why: Why) {
        let from = self
            .held(asker)
            .parsed
            .record()
            .map(|record| Name::from(record.host.of(self.text(asker))));
        let id = self
            .held(asker)
            .parsed
            .record()
            .map(|record| record.connectionid);
        for at in first..asker {
            let known = match self.held(at).parsed.record() {
                // The end of a session may rest on its beginning; a login needs a later record.
                Some(record) if record.operation == Operation::Disconnect => {
                    (self.first..first).any(|before| self.is_begun_by(before, at))
                }
                // A change of user names nobody; it is what lets the asker have another name.
                Some(record) => {
                    record.operation == Operation::ChangeUser && id == Some(record.connectionid)
                }
                None => false,
            };
            if !known && self.held(at).asked.is_none() {
                self.held_mut(at).asked = Some((why, from.clone()));
            }
        }
    }

    /// The refused login in line `seq` needs no further answer.
    fn settle(&mut self, seq: u64) {
        if let Ok(at) = self
            .refused
            .binary_search_by_key(&seq, |refused| refused.asker)
        {
            self.refused[at].answered = true;
        }
        while self.refused.front().is_some_and(|refused| refused.answered) {
            self.refused.pop_front();
        }
    }

    /// Whether line `before`, beyond doubt itself, tells of the connection whose end is line `end`.
    fn is_begun_by(&self, before: u64, end: u64) -> bool {
        let held = self.held(before);
        held.doubt.is_none()
            && held.near.is_none()
            && held.asked.is_none()
            && match (held.parsed, self.held(end).parsed.record()) {
                (Parsed::Record(a), Some(b)) => {
                    let changed = a.operation == Operation::ChangeUser && a.retcode == 0;
                    a.connectionid == b.connectionid && changed
                        || is_same_connection((&a, self.text(before)), (b, self.text(end)))
                }
                _ => false,
            }
    }

    /// Goes on without the DISCONNECT of refused logins that are overdue by the line read last.
    fn expire(&mut self, seq: u64) {
        let now = head_of(&self.held(seq).parsed).map(|head| head.time.seconds());
        while let Some(refused) = self.refused.front() {
            let asked = head_of(&self.held(refused.asker).parsed).map(|head| head.time.seconds());
            let late = matches!((now, asked), (Some(now), Some(asked)) if now - asked > PATIENCE);
            let waited = self.held(seq).start - self.held(refused.first).start;
            if !refused.answered && !late && waited <= MAX_WAIT {
                break;
            }
            self.give_up_oldest_refused();
        }
    }

    fn give_up_oldest_refused(&mut self) {
        if let Some(refused) = self.refused.pop_front()
            && !refused.answered
        {
            self.ask(refused.first, refused.asker, Why::Unended);
        }
    }

    fn doubt(&mut self, seq: u64, why: Why, from: Option<Name>) {
        let passed = seq < self.next;
        let held = self.held_mut(seq);
        if held.doubt.is_none() {
            held.doubt = Some((why, from));
            // A record that was set aside has been told of, or will be.
            if passed && held.asked.is_none() && held.near.is_none() {
                self.betrayed.push(seq);
            }
            // What a forged record asks is void.
            self.settle(seq);
        }
    }

    // --- Leaving the queue.

    /// Passes on the lines that nothing can change any more, and forgets those that nothing can be
    /// compared with any more.
    fn release(&mut self, sink: &mut dyn Sink) {
        self.tell_betrayed(sink);
        while self.next < self.end() && self.next < self.blocked_from() && self.is_behind(self.next)
        {
            self.pass_next(sink);
        }
        while self.first < self.next && self.is_behind(self.first) {
            self.forget_first();
        }
    }

    /// Whether so much stands behind a line that no rule reaches it.
    fn is_behind(&self, seq: u64) -> bool {
        let held = self.held(seq);
        let end = self.arena_from + self.arena.len() as u64;
        end - held.start - u64::from(held.len) >= WINDOW
    }

    fn tell_betrayed(&mut self, sink: &mut dyn Sink) {
        for seq in std::mem::take(&mut self.betrayed) {
            let held = self.held(seq);
            if let (Some(record), Some((why, from))) = (held.parsed.record(), &held.doubt) {
                let verdict = Verdict::DoubtfulAfterAll(record, *why, from.as_ref());
                sink.line(self.text(seq), held.place, verdict, None);
            }
        }
    }

    /// The first line that a refused login without end, or an unknown server name, keeps here.
    fn blocked_from(&self) -> u64 {
        let refused = self
            .refused
            .front()
            .map_or(u64::MAX, |refused| refused.first);
        refused.min(self.foreign.unwrap_or(u64::MAX))
    }

    fn pass_next(&mut self, sink: &mut dyn Sink) {
        let held = &self.queue[(self.next - self.first) as usize];
        self.next += 1;
        let from = (held.start - self.arena_from) as usize;
        let text = &self.arena[from..from + held.len as usize];
        let whole = held.whole.as_ref();
        match (held.parsed.record(), &held.doubt, &held.asked) {
            (None, ..) if held.explained => sink.line(text, held.place, Verdict::Explained, whole),
            (None, ..) => sink.line(text, held.place, Verdict::Malformed, whole),
            (Some(record), Some((why, from)), _) => {
                sink.line(
                    text,
                    held.place,
                    Verdict::Doubtful(record, *why, from.as_ref()),
                    whole,
                );
            }
            (Some(record), None, _) if held.near.is_some() => {
                sink.line(
                    text,
                    held.place,
                    Verdict::Doubtful(record, Why::Fragment, None),
                    whole,
                );
            }
            (Some(record), None, Some((why, from))) => {
                set_aside(
                    &mut self.aside,
                    text,
                    held.place,
                    (record, *why, from),
                    sink,
                );
            }
            (Some(record), None, None) => {
                believe_aside(&mut self.aside, (record, text), sink);
                sink.line(text, held.place, Verdict::Believed(record), whole);
            }
        }
    }

    fn forget_first(&mut self) {
        let Some(front) = self.queue.pop_front() else {
            return;
        };
        self.first += 1;
        let to = (front.start - self.arena_from) as usize + front.len as usize;
        if to > 65_536 {
            self.arena.drain(..to);
            self.arena_from += to as u64;
        }
    }

    /// All lines that still wait or are to be compared with, to be carried in a checkpoint; see
    /// [`Trust::resume`].
    ///
    /// `files`: the paths that places refer to.
    pub fn pending(&self, files: &[String]) -> Vec<Pending> {
        (self.first..self.end())
            .map(|seq| {
                let held = self.held(seq);
                // A fragment that has left can't put the line in doubt anew.
                let near = held.near.filter(|fragment| *fragment < self.first);
                Pending {
                    file: files.get(held.place.file).cloned().unwrap_or_default(),
                    offset: held.place.offset,
                    text: Name::from(self.text(seq)),
                    doubt: held.doubt.clone().or(near.map(|_| (Why::Fragment, None))),
                    passed: seq < self.next,
                }
            })
            .collect()
    }

    /// The records that are set aside, to be carried in a checkpoint. `files` as above.
    pub fn aside(&self, files: &[String]) -> Vec<Aside> {
        let file = |aside: &Aside| match aside.file.as_str() {
            "" => files.get(aside.number).cloned().unwrap_or_default(),
            known => known.to_owned(),
        };
        self.aside
            .iter()
            .map(|aside| Aside {
                file: file(aside),
                ..aside.clone()
            })
            .collect()
    }

    /// Passes on all that need not wait for the next run; the rest is [`Trust::pending`].
    ///
    /// `in_flight`: the end of what was read may lie inside a record that is being written.
    /// `quiet`: nothing was written for longer than [`PATIENCE`], so what is missing is not coming.
    /// `is_recent`: whether a record is so young that others of its connection may be to come; those
    /// that were set aside and are older are reported as doubtful.
    pub fn finish(
        &mut self,
        in_flight: bool,
        quiet: bool,
        is_recent: &mut dyn FnMut(&Head) -> bool,
        sink: &mut dyn Sink,
    ) {
        while self
            .refused
            .front()
            .is_some_and(|refused| refused.answered || quiet)
        {
            self.give_up_oldest_refused();
        }
        let mut keep = self.blocked_from().min(self.end());
        if in_flight && !quiet && self.next < self.end() {
            let last = self.end() - 1;
            keep = keep.min(self.reach_of(last, self.held(last).len as usize));
        }
        self.tell_betrayed(sink);
        while self.next < keep {
            self.pass_next(sink);
        }
        for aside in &mut self.aside {
            let parsed = record::parse(&aside.text.0);
            if !aside.told && !head_of(&parsed).is_some_and(|head| is_recent(&head)) {
                aside.tell(sink);
            }
        }
    }

    fn end(&self) -> u64 {
        self.first + self.queue.len() as u64
    }

    fn held(&self, seq: u64) -> &Held {
        &self.queue[(seq - self.first) as usize]
    }

    fn held_mut(&mut self, seq: u64) -> &mut Held {
        &mut self.queue[(seq - self.first) as usize]
    }

    fn text(&self, seq: u64) -> &[u8] {
        let held = self.held(seq);
        let from = (held.start - self.arena_from) as usize;
        &self.arena[from..from + held.len as usize]
    }
}

impl Aside {
    fn place(&self) -> Place {
        Place {
            file: self.number,
            offset: self.offset,
        }
    }

    fn tell(&mut self, sink: &mut dyn Sink) {
        if let Some(record) = record::parse(&self.text.0).record() {
            let verdict = Verdict::Doubtful(record, self.why, self.from.as_ref());
            sink.line(&self.text.0, self.place(), verdict, None);
        }
        self.told = true;
    }
}

fn set_aside(
    aside: &mut Vec<Aside>,
    text: &[u8],
    place: Place,
    (record, why, from): (&Record, Why, &Option<Name>),
    sink: &mut dyn Sink,
) {
    let logs_in = matches!(
        record.operation,
        Operation::Connect | Operation::FailedConnect | Operation::ProxyConnect
    );
    if !logs_in {
        sink.line(
            text,
            place,
            Verdict::Doubtful(record, why, from.as_ref()),
            None,
        );
        return;
    }
    if aside.len() >= MAX_ASIDE {
        let mut oldest = aside.remove(0);
        if !oldest.told {
            oldest.tell(sink);
        }
    }
    aside.push(Aside {
        file: String::new(),
        offset: place.offset,
        text: Name::from(text),
        why,
        from: from.clone(),
        told: false,
        number: place.file,
    });
}

/// A record beyond doubt proves those that were set aside genuine, or, if it opens the same
/// connection id for another account, leaves them in doubt for good.
fn believe_aside(aside: &mut Vec<Aside>, (record, text): (&Record, &[u8]), sink: &mut dyn Sink) {
    if aside.is_empty() {
        return;
    }
    let opens = matches!(
        record.operation,
        Operation::Connect | Operation::FailedConnect
    );
    aside.retain_mut(|entry| {
        let parsed = record::parse(&entry.text.0);
        let Some(other) = parsed.record() else {
            return false;
        };
        if other.connectionid != record.connectionid {
            return true;
        }
        if is_same_connection((record, text), (other, &entry.text.0)) {
            if entry.told {
                sink.withdraw(&entry.text.0, entry.place(), other);
            }
            sink.line(&entry.text.0, entry.place(), Verdict::Believed(other), None);
            return false;
        }
        if opens && !entry.told {
            entry.tell(sink);
        }
        !opens
    });
}

/// Whether both records tell of one connection of one user; a damaged name may be repaired.
fn is_same_connection((a, a_text): (&Record, &[u8]), (b, b_text): (&Record, &[u8])) -> bool {
    let (a_name, b_name) = (a.username.of(a_text), b.username.of(b_text));
    a.connectionid == b.connectionid
        && a.host.of(a_text) == b.host.of(b_text)
        && (a_name == b_name || record::repairs(a_name, b_name))
}

fn head_of(parsed: &Parsed) -> Option<Head> {
    match parsed {
        Parsed::Record(record) | Parsed::Torn(record) | Parsed::Tail(record) => record.head,
        Parsed::Head(head) => Some(*head),
        Parsed::Neither => None,
    }
}

/// Where the part behind the head begins.
fn head_end(parsed: &Parsed) -> usize {
    head_of(parsed).map_or(0, |head| head.end())
}

/// Characters of a text that should be UTF-8; never more than the server counts.
fn characters(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

#[cfg(test)]
#[path = "trust_tests.rs"]
mod tests;
