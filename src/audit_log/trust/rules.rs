//! The rules, each with the attack that it stops. A rule looks at the lines in the queue when the
//! line comes that sets it off, and leaves its mark on them.

use super::twice::Opener;
use super::{Asked, MAX_WAIT, PATIENCE, REACH, Refused, Trust, WITNESSES, Whole, Why};
use super::{characters, head_end, head_of, is_same_connection};
use crate::audit_log::record::{Head, Operation, Parsed, Record};
use crate::audit_log::timestamp::{DISORDER, Stamp, is_over, is_repeated};
use crate::name::Name;

impl Trust {
    /// All rules, by the line that may set them off.
    ///
    /// `known_server`: the name of its server has been judged before.
    pub(super) fn judge(&mut self, seq: u64, known_server: bool) {
        self.look_back_for_fragment(seq);
        self.compare_with_database_name(seq);
        self.expire(seq);
        let parsed = self.held(seq).parsed;
        if !known_server {
            self.check_serverhost(seq, head_of(&parsed));
        }
        match parsed {
            // The first line of a name with a line break, or a torn record.
            Parsed::Head(_) => self.fragment = Some(seq),
            Parsed::Neither => {
                let len = self.held(seq).len as usize;
                for at in self.reach_of(seq, len)..seq {
                    self.held_mut(at).near.get_or_insert(seq);
                }
                self.fragment = Some(seq);
            }
            Parsed::Tail(record) => {
                self.held_mut(seq).whole = Some(self.whole(seq, &record));
                self.judge_record(seq, &record, true);
            }
            Parsed::Record(record) => self.judge_record(seq, &record, false),
            Parsed::Torn(record) => {
                self.judge_record(seq, &record, false);
                // What a full disk leaves is honest if another record tells of the connection.
                self.fragment = Some(seq);
                let asker = self.held(seq).place.offset;
                self.held_mut(seq).asked = Some(Asked {
                    why: Why::Torn,
                    from: None,
                    asker,
                });
            }
        }
    }

    fn judge_record(&mut self, seq: u64, record: &Record, tail_only: bool) {
        let mut explained = false;
        if !record.operation.is_statement() {
            self.check_time(seq, record);
        }
        match record.operation {
            Operation::FailedConnect => {
                // Its name is written again by its DISCONNECT: wait for that, then compare.
                let first = self.reach_of(seq, record.username.end());
                if first < seq && !self.is_forged(seq) && seq >= self.next {
                    self.refused.push_back(Refused {
                        first,
                        asker: seq,
                        since: record.head.map(|head| head.time),
                        earlier: 0,
                        late: 0,
                        answered: false,
                    });
                }
                explained = true;
            }
            Operation::Disconnect if record.connectionid != 0 => {
                explained = self.compare_with_openers(seq, record);
            }
            Operation::ChangeUser if record.retcode != 0 => {
                // The name that was tried is written once: nothing to compare with.
                self.ask(
                    self.reach_of(seq, record.username.end()),
                    seq,
                    Why::ChangeOfUser,
                );
            }
            Operation::Query | Operation::Table => self.compare_statement(seq, record),
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
            // What a name with line breaks may really end on. A change of user that is allowed names
            // nobody.
            let genuine = match record.operation {
                Operation::Disconnect => true,
                Operation::ChangeUser => record.retcode != 0,
                _ => false,
            };
            if !genuine {
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
                .filter(|other| !other.operation.is_statement())?;
            other.head
        });
        let Some(Stamp::Local(before)) = before.map(|head| head.time) else {
            return;
        };
        // Daylight saving time ends by an hour, somewhere by half of one, and by less if nothing was
        // logged for a while. The zone may be set wrong.
        let back = before - time;
        let hour = [1_800, 3_600]
            .iter()
            .any(|hour| (back - hour).abs() <= DISORDER);
        if back > DISORDER && !hour && !self.is_repeated(before, time) {
            self.ask(
                self.reach_of(seq, record.username.end()),
                seq,
                Why::TimeBackwards,
            );
        }
    }

    /// Whether both times, the later one first, are in the hour that autumn repeats.
    fn is_repeated(&self, before: i64, time: i64) -> bool {
        is_repeated(&self.zone, before) && is_repeated(&self.zone, time)
    }

    // --- Rule: a fragment puts in doubt what can be one payload with it.

    fn look_back_for_fragment(&mut self, seq: u64) {
        if self.fragment.is_none_or(|last| last < self.first) {
            return;
        }
        match self.fragment_before(seq) {
            Some(torn) if matches!(self.held(torn).parsed, Parsed::Torn(_)) => {
                self.ask_behind_torn(torn, seq);
            }
            near => self.held_mut(seq).near = near,
        }
    }

    /// The nearest fragment that may begin a payload which ends in the name of line `seq`.
    fn fragment_before(&self, seq: u64) -> Option<u64> {
        let name_end = (self.held(seq).parsed.record()).map_or(0, |record| record.username.end());
        (self.reach_of(seq, name_end)..seq).rev().find(|at| {
            let held = self.held(*at);
            let fragment = matches!(
                held.parsed,
                Parsed::Head(_) | Parsed::Neither | Parsed::Torn(_)
            );
            fragment && !held.explained
        })
    }

    /// The nearest fragment that may be in the midst of a payload which begins in line `seq`.
    fn fragment_behind(&self, seq: u64) -> Option<u64> {
        let mut chars = characters(&self.text(seq)[head_end(&self.held(seq).parsed)..]);
        (seq + 1..self.end())
            .take_while(|at| {
                chars += characters(self.text(*at)) + 1;
                self.held(*at).adjacent && chars <= REACH
            })
            .find(|at| {
                let held = self.held(*at);
                matches!(held.parsed, Parsed::Neither) && !held.explained
            })
    }

    /// The first line of a name may be appended to a record that a full disk has torn. What follows
    /// needs another record, unless it goes on with the torn line's own connection.
    fn ask_behind_torn(&mut self, torn: u64, seq: u64) {
        let same = match (
            self.held(torn).parsed.record(),
            self.held(seq).parsed.record(),
        ) {
            (Some(a), Some(b)) => is_same_connection((a, self.text(torn)), (b, self.text(seq))),
            _ => false,
        };
        let asker = self.held(torn).place.offset;
        if !same && self.held(seq).asked.is_none() {
            self.held_mut(seq).asked = Some(Asked {
                why: Why::Torn,
                from: None,
                asker,
            });
        }
    }

    /// `seq` is a part of a name that is known as a whole: what it put in doubt is cleared.
    pub(super) fn explain(&mut self, seq: u64) {
        self.held_mut(seq).explained = true;
        // A mark reaches no further than a name of nothing but line breaks.
        let reach = REACH as u64;
        let from = seq.saturating_sub(reach).max(self.first);
        let to = (seq + reach).min(self.end() - 1);
        for at in from..=to {
            if self.held(at).near == Some(seq) {
                // There may be another.
                let near = self
                    .fragment_before(at)
                    .or_else(|| self.fragment_behind(at));
                self.held_mut(at).near = near;
            }
        }
    }

    /// The first line that can be one payload with the name in line `seq` that ends at `name_end`.
    pub(super) fn reach_of(&self, seq: u64, name_end: usize) -> u64 {
        let mut chars = characters(&self.text(seq)[..name_end]);
        let mut first = seq;
        while self.held(first).adjacent {
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
        let expected = self.repeated.take().filter(|at| *at >= self.first);
        let candidate = expected.or_else(|| self.behind_opener(seq));
        let Some(at) = candidate else { return };
        if !self.held(seq).adjacent || self.held(at).key != self.held(seq).key {
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
        self.repeated = Some(at + 1);
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
        let openers = self.openers(before, &end);
        let genuine = |opener: &&Opener| opener.same && !self.is_forged(opener.at);
        let opener = openers.iter().find(genuine)?.at;
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
                let name = Name::from(name);
                self.first_serverhost = Some(name.clone());
                self.serverhost = Some(name);
                return;
            }
        };
        if known.0 == name {
            if let Some(first) = self.foreign.take() {
                self.doubt_foreign(first, seq);
            }
            return;
        }
        let name = Name::from(name);
        let first = *self.foreign.get_or_insert(seq);
        if self.foreign_name(first) != Some(&name.0[..]) {
            self.doubt_foreign(first, seq);
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

    /// The lines from `first` up to `end` that name another server were written by a client; a line
    /// without head names none.
    fn doubt_foreign(&mut self, first: u64, end: u64) {
        for at in first.max(self.first)..end {
            let name = self.foreign_name(at);
            if name.is_some() && name != self.serverhost.as_ref().map(|name| &name.0[..]) {
                self.doubt(at, Why::OtherServer, None);
            }
        }
    }

    // --- Questions about the lines in the queue.

    /// What stands in lines `first` up to `asker` may be the asker's name: it needs another record.
    pub(super) fn ask(&mut self, first: u64, asker: u64, why: Why) {
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
        let place = self.held(asker).place;
        for at in first..asker {
            let known = match self.held(at).parsed.record() {
                // The end of a session may rest on its beginning; a login needs a later record.
                // Changed users are common where a pool changes them: there both records of a
                // refused login vouch for each other.
                Some(record) if record.operation == Operation::Disconnect => {
                    (self.first..first).any(|before| self.is_begun_by(before, at))
                }
                Some(record) if record.operation == Operation::FailedConnect => {
                    why == Why::ChangedName && (at..asker).any(|end| self.is_end_of(end, at))
                }
                // A change of user names nobody; it is what lets the asker have another name.
                Some(record) => {
                    why == Why::ChangedName
                        && record.operation == Operation::ChangeUser
                        && id == Some(record.connectionid)
                }
                None => false,
            };
            if self.is_open(at) {
                self.doubt(at, why, from.clone());
            } else if !known && self.held(at).asked.is_none() {
                self.held_mut(at).asked = Some(Asked {
                    why,
                    from: from.clone(),
                    asker: place.offset,
                });
            }
        }
    }

    /// The refused login in line `seq` needs no further answer.
    pub(super) fn settle(&mut self, seq: u64) {
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

    /// Whether line `at` is a login on a connection that another login has opened before: what follows
    /// on that connection vouches for the other one.
    fn is_open(&self, at: u64) -> bool {
        let login = |at: u64| {
            let record = self.held(at).parsed.record()?;
            (record.operation == Operation::Connect).then_some(record.connectionid)
        };
        login(at).is_some() && (self.first..at).any(|before| login(before) == login(at))
    }

    /// Whether line `end` is the DISCONNECT of the refused login in line `begin`.
    fn is_end_of(&self, end: u64, begin: u64) -> bool {
        match (self.held(end).parsed, self.held(begin).parsed) {
            (Parsed::Record(a), Parsed::Record(b)) => {
                a.operation == Operation::Disconnect
                    && is_same_connection((&a, self.text(end)), (&b, self.text(begin)))
            }
            _ => false,
        }
    }

    /// Whether line `before`, beyond doubt itself, tells of the connection whose end is line `end`.
    fn is_begun_by(&self, before: u64, end: u64) -> bool {
        self.is_beyond_doubt(before)
            && match (self.held(before).parsed, self.held(end).parsed.record()) {
                (Parsed::Record(a), Some(b)) => {
                    // The other copy of a forged end begins nothing. The end of a refused login tells
                    // nothing, but a second one would look like the end of a session. A change of user
                    // lets the end have any name: somebody whose own change is refused could name
                    // anybody as the new user of his other session.
                    !matches!(
                        a.operation,
                        Operation::Disconnect | Operation::FailedConnect
                    ) && is_same_connection((&a, self.text(before)), (b, self.text(end)))
                }
                _ => false,
            }
    }

    /// Goes on without the DISCONNECT of refused logins that are overdue by the line read last.
    ///
    /// A name may hold a time to come, which would make all that wait overdue, or end the name of a
    /// refused login with one, which would make it wait for long: what counts is what more records say
    /// than a name can hold.
    fn expire(&mut self, seq: u64) {
        let parsed = self.held(seq).parsed;
        let is_statement = parsed
            .record()
            .is_some_and(|record| record.operation.is_statement());
        // Statements carry the time at which they began.
        let now = head_of(&parsed)
            .filter(|_| !is_statement)
            .map(|head| head.time);
        if let Some(now) = now {
            for refused in &mut self.refused {
                let since = refused.since.get_or_insert(now);
                let count = |so_far: usize, holds: bool| if holds { so_far + 1 } else { 0 };
                refused.earlier = count(refused.earlier, now.seconds() < since.seconds());
                if refused.earlier >= WITNESSES {
                    *since = now;
                }
                let late = is_over(&self.zone, *since, now, PATIENCE);
                refused.late = count(refused.late, late);
            }
        }
        while let Some(refused) = self.refused.front() {
            let waited = self.held(seq).start - self.held(refused.first).start;
            if !refused.answered && refused.late < WITNESSES && waited <= MAX_WAIT {
                break;
            }
            self.give_up_oldest_refused();
        }
        if let Some(first) = self.foreign
            && self.held(seq).start - self.held(first).start > MAX_WAIT
        {
            self.foreign = None;
            self.doubt_foreign(first, seq);
        }
    }

    pub(super) fn give_up_oldest_refused(&mut self) {
        if let Some(refused) = self.refused.pop_front()
            && !refused.answered
        {
            self.ask(refused.first, refused.asker, Why::Unended);
        }
    }

    pub(super) fn doubt(&mut self, seq: u64, why: Why, from: Option<Name>) {
        let passed = seq < self.next;
        let held = self.held_mut(seq);
        if held.doubt.is_none() {
            held.doubt = Some((why, from));
            // A record that was set aside has been told of, or will be.
            if passed && held.asked.is_none() && held.near.is_none() {
                self.betrayed.push(seq);
            }
            // What a forged record asks is void. But a client can put its own record in doubt, by a
            // forged head before the genuine end: that one's question stands.
            if why == Why::WrittenTwice {
                self.settle(seq);
            }
        }
    }
}
