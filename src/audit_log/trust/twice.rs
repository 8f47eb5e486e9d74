//! Rule: what stands before both records of a refused login was written by its client.
//!
//! Every record of a connection writes the same name, so a payload stands before each of them. What
//! the server writes between two records of one connection stands there once.

use super::{REACH, Refused, Trust, Why, characters, head_end, is_same_connection};
use crate::audit_log::record::{DAMAGED_AT, Head, Operation, Parsed, Record};
use crate::name::Name;

/// A record that may have opened a connection.
pub(super) struct Opener {
    pub(super) at: u64,
    /// The user was changed behind it.
    changed: bool,
    /// It names the same user and host as the end of the connection.
    pub(super) same: bool,
}

impl Trust {
    /// Compares what stands before a DISCONNECT with what stands before the record that opened the
    /// connection. True if a payload was found there.
    ///
    /// A forged record may bear id, user and host of the very connection that wrote it, and so look
    /// like its beginning. Therefore each record that may have opened the connection is tried.
    pub(super) fn compare_with_openers(&mut self, seq: u64, record: &Record) -> bool {
        let mut openers = self.openers(seq, record);
        let explained = self.mark_written_twice(seq, record, &mut openers);
        self.judge_end(seq, record, &openers, explained);
        explained
    }

    /// A statement holds the name as well, and what stands before it may be a part of that. One of
    /// many, so that only those behind a login are compared. Only an anonymous account lets in
    /// somebody by such a name.
    pub(super) fn compare_statement(&mut self, seq: u64, record: &Record) {
        let logs_in = |at: u64| {
            let before = self.held(at).parsed;
            before
                .record()
                .is_some_and(|before| !before.operation.is_statement())
        };
        if self.held(seq).adjacent && logs_in(seq - 1) {
            let mut openers = self.openers(seq, record);
            self.mark_written_twice(seq, record, &mut openers);
        }
    }

    /// Marks what stands before line `seq` and before any of these openers. True if there was any.
    fn mark_written_twice(&mut self, seq: u64, record: &Record, openers: &mut [Opener]) -> bool {
        let from = Name::from(record.host.of(self.text(seq)));
        // All are compared before any is marked: one of them may be a part of the name, and what
        // stands before it must not hide what stands before the genuine one.
        let found: Vec<_> = openers
            .iter_mut()
            .filter_map(|opener| {
                let equal = self.equal_before(opener.at, seq, record);
                let damaged = self.damaged_before(opener.at, seq, record);
                opener.same |= damaged.is_some();
                let (before_opener, before_end) = damaged.unwrap_or_default();
                let most = (before_opener.max(equal), before_end.max(equal));
                (most.1 > 0).then_some((opener.at, most))
            })
            .collect();
        let explained = !found.is_empty();
        for (opener, (before_opener, before_end)) in found {
            for at in (opener - before_opener..opener).chain(seq - before_end..seq) {
                self.explain(at);
                self.doubt(at, Why::WrittenTwice, Some(from.clone()));
            }
        }
        explained
    }

    /// What the end of a connection tells of its beginning, and what it asks of the lines before.
    fn judge_end(&mut self, seq: u64, record: &Record, openers: &[Opener], explained: bool) {
        let genuine = |opener: &&Opener| !self.is_forged(opener.at);
        let same = openers.iter().filter(genuine).find(|opener| opener.same);
        let Some(opener) = same.or_else(|| openers.iter().find(genuine)) else {
            if record.two_operations {
                self.doubt(seq, Why::TwoOperations, None);
            }
            return;
        };
        if !explained && let Parsed::Tail(refused) = self.held(opener.at).parsed {
            // It began on an earlier line, and its end does not tell where.
            let from = Name::from(record.host.of(self.text(seq)));
            for at in self.reach_of(opener.at, refused.username.end())..opener.at {
                self.doubt(at, Why::Fragment, Some(from.clone()));
            }
        }
        self.settle(opener.at);
        if openers
            .iter()
            .any(|it| it.changed && !it.same && !self.is_forged(it.at))
        {
            // Whatever may have begun the same connection anew since then was written by a client.
            self.ask(
                self.reach_of(seq, record.username.end()),
                seq,
                Why::ChangedName,
            );
        }
        // The name must be the same; a damaged one may be repaired, a changed one may be new.
        if opener.same {
            let waits = |at: u64| {
                (self.refused.iter()).any(|refused| refused.asker == at && !refused.answered)
            };
            if !explained && openers.iter().any(|opener| waits(opener.at)) {
                // Refused twice: one of the records was written by the client.
                self.ask_before(openers);
                self.ask(
                    self.reach_of(seq, record.username.end()),
                    seq,
                    Why::OtherName,
                );
            }
            return;
        }
        if record.two_operations {
            self.doubt(seq, Why::TwoOperations, None);
            return;
        }
        if !opener.changed {
            self.ask(
                self.reach_of(seq, record.username.end()),
                seq,
                Why::OtherName,
            );
            // Of a damaged name other lines stand before the one record than before the other.
            self.ask_before(openers);
            self.doubt(seq, Why::OtherName, None);
        }
    }

    /// Whether nothing casts doubt on a line so far, and no refused login that has not ended may.
    pub(super) fn is_beyond_doubt(&self, seq: u64) -> bool {
        let held = self.held(seq);
        let waits = |refused: &Refused| (refused.first..refused.asker).contains(&seq);
        held.doubt.is_none()
            && held.near.is_none()
            && held.asked.is_none()
            && !self.refused.iter().any(waits)
    }

    /// What stands before any of these records may be a part of a name that they hold.
    fn ask_before(&mut self, openers: &[Opener]) {
        for opener in openers {
            let name_end = (self.held(opener.at).parsed.record()).map_or(0, |it| it.username.end());
            let first = self.reach_of(opener.at, name_end);
            self.ask(first, opener.at, Why::OtherName);
        }
    }

    /// Whether a line is known to be a client's. Other doubts a client can cast on his own record, by
    /// a forged head before the genuine end.
    pub(super) fn is_forged(&self, seq: u64) -> bool {
        matches!(self.held(seq).doubt, Some((Why::WrittenTwice, _)))
    }

    /// How many lines before `opener` stand again, the same, before `end`, as far as a name reaches.
    fn equal_before(&self, opener: u64, end: u64, record: &Record) -> u64 {
        let mut chars = characters(&self.text(end)[..record.username.end()]);
        let mut equal = 0;
        while self.held(opener - equal).adjacent && self.held(end - equal).adjacent {
            let (before_opener, before_end) = (opener - equal - 1, end - equal - 1);
            // Never compare the opener, or what stands before it, with itself.
            if before_end <= opener || self.held(before_opener).key != self.held(before_end).key {
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
        equal
    }

    /// The same for an opener whose name is damaged: how many lines before it, and how many before
    /// `end`, are the name's. They differ, since the damaged name ends early.
    fn damaged_before(&self, opener: u64, end: u64, record: &Record) -> Option<(u64, u64)> {
        let name_end = record.username.end();
        let shown_end = self.held(opener).parsed.record()?.username.end();
        let length_byte = match shown_end {
            0 => b'\n',
            _ => self.text(opener)[shown_end - 1],
        };
        let mut chars = characters(&self.text(end)[..name_end]);
        let mut len = name_end;
        let mut first = end;
        let mut found = None;
        while first > opener + 1 && self.held(first).adjacent {
            first -= 1;
            let text = self.text(first);
            // The server wrote the head of the name's first line.
            let head = Head::of(text).map_or(0, |head| head.end());
            let whole = len + 1 + text.len() - head;
            if chars + 1 + characters(&text[head..]) > REACH {
                break;
            }
            if head > 0 && (whole & 0xff) as u8 == length_byte {
                let mut name = text[head..].to_vec();
                for at in first + 1..end {
                    name.push(b'\n');
                    name.extend_from_slice(self.text(at));
                }
                name.push(b'\n');
                name.extend_from_slice(&self.text(end)[..name_end]);
                let before = DAMAGED_AT
                    .iter()
                    .filter_map(|kept| self.shows_damaged(opener, shown_end, &name, *kept))
                    .max();
                found = before.map(|before| (before, end - first)).or(found);
            }
            chars += 1 + characters(text);
            len += 1 + text.len();
        }
        found
    }

    /// If `name`, damaged behind `kept` bytes, is what ends at `shown_end` in line `opener`: on how
    /// many lines before it.
    fn shows_damaged(
        &self,
        opener: u64,
        shown_end: usize,
        name: &[u8],
        kept: usize,
    ) -> Option<u64> {
        let mut shown = name.get(..kept).filter(|_| name.len() > kept)?.to_vec();
        shown.push((name.len() & 0xff) as u8);
        let mut at = opener;
        let mut to = shown_end;
        let mut parts = shown.rsplit(|byte| *byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            let text = &self.text(at)[..to];
            if parts.peek().is_none() {
                let head = Head::of(text)?.end();
                return (text[head..] == *part).then_some(opener - at);
            }
            if text != part || !self.held(at).adjacent {
                return None;
            }
            at -= 1;
            to = self.held(at).len as usize;
        }
        None
    }

    /// The records that may have opened the connection that a DISCONNECT ends and that still wait
    /// here, the latest first. Not beyond an earlier end of the same id, since ids are counted anew
    /// when the server starts; but one in reach may be a part of the name.
    pub(super) fn openers(&self, seq: u64, record: &Record) -> Vec<Opener> {
        let reach = self.reach_of(seq, record.username.end());
        let mut changed = false;
        let mut openers = Vec::new();
        for at in (self.first..seq).rev() {
            let held = self.held(at);
            let Some(other) = held.parsed.record() else {
                continue;
            };
            // One that is known to be forged as well: a client can make his own look so.
            if other.connectionid != record.connectionid {
                continue;
            }
            match other.operation {
                Operation::Connect | Operation::FailedConnect => openers.push(Opener {
                    at,
                    changed,
                    same: is_same_connection((record, self.text(seq)), (other, self.text(at))),
                }),
                Operation::ChangeUser => changed |= other.retcode == 0,
                Operation::Disconnect if at < reach && self.is_beyond_doubt(at) => break,
                _ => {}
            }
        }
        openers
    }
}
