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
//! a *database name*, log in, say `USE`, and quit. One perfect line follows its DISCONNECT. README
//! lists what else is past finding out; the property that is fuzzed (`is_past_finding_out`) says it
//! exactly.

mod aside;
mod calm;
mod rules;
#[cfg(test)]
mod tests;
mod twice;

use std::collections::VecDeque;
use std::hash::BuildHasher;

use serde::{Deserialize, Serialize};

use super::record::{self, Head, Parsed, Record};
use super::timestamp::Stamp;
use crate::name::Name;
use crate::time::Zone;

pub use aside::Aside;
use aside::{believe_aside, set_aside};

/// The longest name that a client can send, in characters (128 from 10.6.1; 80 before).
pub const REACH: usize = 128;

/// A line is judged when this many bytes stand behind it and no question about it is open. Must
/// exceed [`REACH`] characters of four bytes; the rest is for rules that look back.
pub const WINDOW: u64 = 2_048;

/// A refused login writes its two records at once. After so much time, in seconds, or so many bytes,
/// the second is not coming (a crash, logging switched off), and judging goes on without.
pub const PATIENCE: i64 = 30;
const MAX_WAIT: u64 = 65_536;

/// So many records in a row tell the time: more than a name can hold beginnings of records.
const WITNESSES: usize = 12;

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
    /// It stands before the end of a session that changed its user to one whose name is written
    /// there for the first time.
    ChangedName,
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
            Self::ChangedName => {
                "before the end of a session that changed its user: the new name may hold a line break"
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
    /// It names another server than the lines before, and it is not known yet whether the server was
    /// renamed.
    #[serde(default)]
    pub foreign: bool,
}

/// Why a record needs another one to be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    why: Why,
    /// Who wrote the record whose name it may be a part of.
    from: Option<Name>,
    /// The first byte of that record's line.
    asker: u64,
}

struct Held {
    place: Place,
    /// Place of the text in the arena, counted from the arena's first byte ever.
    start: u64,
    len: u32,
    parsed: Parsed,
    /// Hash of what stands behind the head.
    key: u64,
    /// Stands directly behind the line before it, in the same file. Never the queue's first line.
    adjacent: bool,
    doubt: Option<(Why, Option<Name>)>,
    /// The fragment in whose reach it stands.
    near: Option<u64>,
    /// Believed only if another record tells of the same connection.
    asked: Option<Asked>,
    /// A part of a name whose whole is known.
    explained: bool,
    whole: Option<Whole>,
}

/// A refused login: what stands in reach before it waits for its DISCONNECT.
struct Refused {
    /// The lines in reach: from `first` up to, not including, `asker`.
    first: u64,
    asker: u64,
    /// When it was refused.
    since: Option<Stamp>,
    /// How many records in a row said that it was earlier then, and how many that it is overdue now.
    earlier: usize,
    late: usize,
    /// Its DISCONNECT came, or it turned out to be forged itself.
    answered: bool,
}

/// Judges the lines of one log, in their order. Memory is bounded by `MAX_WAIT` and a line.
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
    /// The last line without beginning or end.
    fragment: Option<u64>,
    /// The line that would be repeated next behind a database name.
    repeated: Option<u64>,
    serverhost: Option<Name>,
    /// What it called itself in the first line.
    first_serverhost: Option<Name>,
    /// The first of the lines that name another server, if such lines were read last.
    foreign: Option<u64>,
    hasher: foldhash::fast::FixedState,
    zone: Zone,
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
            fragment: None,
            repeated: None,
            first_serverhost: serverhost.clone(),
            serverhost,
            foreign: None,
            hasher: foldhash::fast::FixedState::default(),
            zone: Zone::UTC,
        }
    }

    /// Judges a log whose clock is set back an hour in autumn, as clocks are in `zone`.
    pub fn in_zone(self, zone: Zone) -> Self {
        Self { zone, ..self }
    }

    /// The name that the server calls itself in the log.
    pub fn serverhost(&self) -> Option<&Name> {
        self.serverhost.as_ref()
    }

    /// The name that it called itself at first, before it may have been renamed.
    pub fn first_serverhost(&self) -> Option<&Name> {
        self.first_serverhost.as_ref()
    }

    /// Takes the next complete line (without its line end) and passes on what is judged by it.
    pub fn push(&mut self, text: &[u8], place: Place, sink: &mut dyn Sink) {
        self.add(text, place, None);
        self.judge(self.end() - 1, false);
        self.release(sink);
    }

    /// Takes back a line that waited in a checkpoint.
    pub fn resume(&mut self, pending: Pending, place: Place) {
        let Pending {
            text,
            doubt,
            passed,
            foreign,
            ..
        } = pending;
        self.hold(&text.0, place, doubt, passed, foreign);
    }

    /// Holds a line that was judged before.
    fn hold(
        &mut self,
        text: &[u8],
        place: Place,
        doubt: Option<(Why, Option<Name>)>,
        passed: bool,
        foreign: bool,
    ) {
        self.add(text, place, doubt);
        if passed {
            self.next = self.end();
        }
        self.judge(self.end() - 1, !foreign);
        // What was betrayed before was told before.
        self.betrayed.clear();
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
        // So that lines without text count as well.
        self.arena.push(b'\n');
        self.queue.push_back(held);
    }

    /// Passes on the lines that nothing can change any more, and forgets those that nothing can be
    /// compared with any more.
    fn release(&mut self, sink: &mut dyn Sink) {
        self.tell_betrayed(sink);
        // Behind the line that was added last nothing stands, so that these loops end before it.
        while self.next < self.blocked_from() && self.is_behind(self.next) {
            self.pass_next(sink);
        }
        // No further than what was passed on, since all else is kept waiting or has too little
        // behind it.
        while self.is_behind(self.first) && self.is_past(self.first) {
            self.forget_first();
        }
    }

    /// Whether so much stands behind a line that no rule reaches it.
    fn is_behind(&self, seq: u64) -> bool {
        let held = self.held(seq);
        let end = self.arena_from + self.arena.len() as u64;
        end - held.start - u64::from(held.len) >= WINDOW
    }

    /// Whether no line is kept waiting, or so much stands between a line and that one that no rule
    /// compares them.
    fn is_past(&self, seq: u64) -> bool {
        let waits = self.blocked_from();
        waits >= self.end() || self.held(waits).start - self.held(seq).start >= WINDOW
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
        let at = (self.next - self.first) as usize;
        self.next += 1;
        let held = &mut self.queue[at];
        if held.near.is_some() && held.doubt.is_none() {
            // What is told once stays told, even if the fragment is explained later.
            held.doubt = Some((Why::Fragment, None));
        }
        let held = &self.queue[at];
        let from = (held.start - self.arena_from) as usize;
        let text = &self.arena[from..from + held.len as usize];
        let whole = held.whole.as_ref();
        // What a record asks about may be a part of its own name: it proves nothing there.
        let asker = match &held.asked {
            // Where many sessions change their user, beginning and end of one session may stand
            // before the ends of two others: they vouch for each other.
            Some(asked) => asked.asker,
            None => held.place.offset,
        };
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
            (Some(record), None, Some(asked)) => {
                if asked.why == Why::ChangedName {
                    believe_aside(&mut self.aside, (record, text), asker, sink);
                }
                set_aside(&mut self.aside, text, held.place, (record, asked), sink);
            }
            (Some(record), None, None) => {
                // Without its beginning a line does not say whose it is.
                if !matches!(held.parsed, Parsed::Tail(_)) {
                    believe_aside(&mut self.aside, (record, text), asker, sink);
                }
                sink.line(text, held.place, Verdict::Believed(record), whole);
            }
        }
    }

    fn forget_first(&mut self) {
        let Some(front) = self.queue.pop_front() else {
            return;
        };
        self.first += 1;
        if let Some(first) = self.queue.front_mut() {
            first.adjacent = false;
        }
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
                let passed = seq < self.next;
                let asked = held.asked.as_ref().filter(|_| passed);
                let asked = asked.map(|asked| (asked.why, asked.from.clone()));
                Pending {
                    file: files.get(held.place.file).cloned().unwrap_or_default(),
                    offset: held.place.offset,
                    text: Name::from(self.text(seq)),
                    doubt: held
                        .doubt
                        .clone()
                        .or(near.map(|_| (Why::Fragment, None)))
                        .or(asked),
                    passed,
                    foreign: self.foreign.is_some_and(|first| seq >= first),
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
    /// Records that are still set aside then are reported as doubtful.
    pub fn finish(&mut self, in_flight: bool, quiet: bool, sink: &mut dyn Sink) {
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
            aside.tell(sink);
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
