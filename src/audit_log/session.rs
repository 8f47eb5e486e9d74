//! Follows connections through the log, to know whom a record is to be credited to.
//!
//! A record does not always say it by itself: a successful change of user names nobody, a long name
//! is damaged in CONNECT and whole in DISCONNECT, and the DISCONNECT of a refused login is no use of
//! the account. What is needed for that is kept per connection id until its end, across runs.

mod calm;

use std::collections::BTreeMap;

use memchr::{memchr_iter, memmem};
use serde::{Deserialize, Serialize};

use super::record::{self, Operation, Port, Record};
use super::timestamp::{Clock, Stamp};
use super::trust::{Place, Sink, Verdict, Whole, Why};
use crate::name::Name;
use crate::store::{Doubtful, Withdrawn};
use crate::tally::Tally;
use crate::time::{Span, UtcSeconds};

pub use calm::Clients;

/// How many connections of each kind are remembered; the lowest ids are given up first.
const MAX_REMEMBERED: usize = 4_096;

/// A log without a record for so long is not taken for complete, in seconds.
const SILENCE: i64 = 7 * 86_400;

/// By how much records may be out of order, in seconds.
const DISORDER: i64 = 86_400;

/// How often a change of user to nobody knows whom is told, in seconds.
const NAMELESS_TOLD: i64 = 86_400;

/// What is known of connections that have not ended, and of the log as a whole. Kept in a
/// checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// Refused logins whose DISCONNECT is still to come: their user and host.
    refused: BTreeMap<u64, (Name, Name)>,
    /// When the user was changed to one that is not known yet.
    changed: BTreeMap<u64, UtcSeconds>,
    /// Logins whose name was damaged.
    damaged: BTreeMap<u64, Damaged>,
    /// Hosts of this log carry ports (Community 12.0.1, Enterprise 12.3).
    ports: bool,
    /// Why the time before the next record is not covered.
    pub gap: Option<String>,
    /// The gap lasts until the next connection event, not just the next record.
    until_connection: bool,
    /// When last an account came in that no record names.
    #[serde(default)]
    nameless: Option<UtcSeconds>,
    /// Time of the newest record.
    pub covered_to: Option<UtcSeconds>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Damaged {
    name: Name,
    host: Name,
    at: UtcSeconds,
    /// The error of a refused login; 0 for a successful one.
    code: u32,
}

/// A span that the log does not cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Last record before, if any.
    pub from: Option<UtcSeconds>,
    /// First record behind.
    pub to: UtcSeconds,
    /// Why, in words.
    pub why: String,
}

/// Turns verdicts into figures.
pub struct Session<'a> {
    /// The server's clock.
    pub clock: Clock,
    /// What is known of open connections.
    pub connections: Connections,
    /// Where the figures go.
    pub tally: &'a mut Tally,
    /// Paths of the files that places refer to.
    pub files: Vec<String>,
    /// Lines that were not understood: how many, and the first ones with their places.
    pub malformed: Malformed,
    /// Gaps that ended in this run.
    pub gaps: Vec<Gap>,
    /// Number of records believed.
    pub records: u64,
    /// A clock that shows a later time is wrong.
    pub latest: UtcSeconds,
}

/// Lines that were not understood.
#[derive(Clone, Debug, Default)]
pub struct Malformed {
    /// How many.
    pub count: u64,
    /// The first ones: file, byte, and the beginning of the line.
    pub first: Vec<(String, u64, Vec<u8>)>,
}

/// What a record says.
struct Told<'t> {
    operation: Operation,
    connectionid: u64,
    username: &'t [u8],
    host: &'t [u8],
    port: Port,
    object: &'t [u8],
    retcode: u32,
}

impl Session<'_> {
    fn believe(&mut self, text: &[u8], record: &Record, time: Stamp, whole: Option<&Whole>) {
        if record.torn {
            // What a full disk leaves: records between the two on this line were not written.
            let why = "a record is torn: records were lost here, perhaps on a full disk";
            self.connections.gap.get_or_insert_with(|| why.into());
        }
        let told = Told {
            operation: record.operation,
            connectionid: record.connectionid,
            username: whole.map_or_else(|| record.username.of(text), |whole| &whole.name),
            host: record.host.of(text),
            port: record.port,
            object: record.object.of(text),
            retcode: record.retcode,
        };
        self.count(&told, time);
    }

    fn count(&mut self, told: &Told<'_>, time: Stamp) {
        self.records += 1;
        let (id, name) = (told.connectionid, told.username);
        let host = self.host(told.host, told.port);
        let is_connection = !told.operation.is_statement();
        // Statements carry the time at which they began: they are not in order.
        let at = if is_connection {
            self.clock.instant(time)
        } else {
            self.clock.peek(time)
        };
        // A clock that was ahead makes no later one wrong.
        let newest = self.connections.covered_to.filter(|at| *at <= self.latest);
        self.tally.wrong_clock(is_of_wrong_clock(newest, at));
        self.cover(at, is_connection);
        match told.operation {
            Operation::Connect => self.connect(id, name, host, at),
            Operation::FailedConnect => self.refuse(told, host, at),
            Operation::Disconnect => self.disconnect(id, name, host, at),
            Operation::ChangeUser if told.retcode == 0 => {
                let changed = &mut self.connections.changed;
                let before = changed.remove(&id);
                let given_up = remember(changed, id, at);
                for at in [before, given_up.map(|(_, at)| at)].into_iter().flatten() {
                    self.nameless(at);
                }
            }
            // A refused change of user tells only what was tried.
            Operation::ChangeUser => {}
            Operation::ProxyConnect => {
                self.tally.proxied(told.object, at);
                self.active(name, host, at);
            }
            Operation::Query => {
                self.statement(id, name, host, at);
                if told.retcode == 0
                    && let Some(stop) = stops_logging(told.object)
                {
                    let why = "logging was switched off or sent elsewhere";
                    self.connections.gap = Some(why.into());
                    self.connections.until_connection = stop == Stop::Connections;
                }
            }
            Operation::Table => self.statement(id, name, host, at),
        }
    }
}

impl Session<'_> {
    fn host<'t>(&mut self, host: &'t [u8], port: Port) -> &'t [u8] {
        match port {
            Port::Cut => self.connections.ports = true,
            Port::None if self.connections.ports => return record::cut_ambiguous_port(host),
            Port::None => {}
        }
        host
    }

    fn cover(&mut self, at: UtcSeconds, is_connection: bool) {
        let covered_to = self.connections.covered_to;
        let resumes = is_connection || !self.connections.until_connection;
        if let Some(why) = self.connections.gap.take_if(|_| resumes) {
            self.connections.until_connection = false;
            self.gaps.push(Gap {
                from: covered_to,
                to: at,
                why: why.clone(),
            });
            self.tally.covered(at, Some(why));
        } else if self.connections.gap.is_none() && !is_of_wrong_clock(covered_to, at) {
            self.tally.covered(at, silence(covered_to, at));
        }
        self.connections.covered_to = covered_to.max(Some(at));
    }

    fn connect(&mut self, id: u64, name: &[u8], host: &[u8], at: UtcSeconds) {
        self.forget(id);
        if record::damaged_prefix(name).is_some() {
            self.keep_damaged(id, name, host, at, 0);
        } else {
            let client = self.tally.client(name, host);
            self.tally.connect(client, at);
        }
    }

    fn refuse(&mut self, told: &Told<'_>, host: &[u8], at: UtcSeconds) {
        let (id, name) = (told.connectionid, told.username);
        self.forget(id);
        let connection = (Name::from(name), Name::from(host));
        remember(&mut self.connections.refused, id, connection);
        if record::damaged_prefix(name).is_some() {
            self.keep_damaged(id, name, host, at, told.retcode);
        } else {
            self.tally.failed(name, host, told.retcode, at);
        }
    }

    fn disconnect(&mut self, id: u64, name: &[u8], host: &[u8], at: UtcSeconds) {
        // Beyond max_connections + 1 the server refuses before it knows anyone: id 0, no host.
        if id == 0 || host.is_empty() {
            return;
        }
        self.identify(id, name, host);
        let refused = self.connections.refused.remove(&id);
        if refused.is_none_or(|(_, refused_host)| refused_host.0 != host) {
            self.active(name, host, at);
        }
        self.forget(id);
    }

    fn active(&mut self, name: &[u8], host: &[u8], at: UtcSeconds) {
        let client = self.tally.client(name, host);
        self.tally.active(client, at);
    }

    fn statement(&mut self, id: u64, name: &[u8], host: &[u8], at: UtcSeconds) {
        self.identify(id, name, host);
        let client = self.tally.client(name, host);
        self.tally.statement(client, at);
    }

    /// A later record names the user of a connection in full.
    fn identify(&mut self, id: u64, name: &[u8], host: &[u8]) {
        if let Some(at) = self.connections.changed.remove(&id) {
            let client = self.tally.client(name, host);
            self.tally.changed_to(client, at);
        }
        if let Some(damaged) = self.connections.damaged.remove(&id) {
            let repaired = damaged.host.0 == host && record::repairs(name, &damaged.name.0);
            let name = if repaired { name } else { &damaged.name.0[..] };
            self.count_damaged(&damaged, name);
        }
    }

    fn keep_damaged(&mut self, id: u64, name: &[u8], host: &[u8], at: UtcSeconds, code: u32) {
        let damaged = Damaged {
            name: Name::from(name),
            host: Name::from(host),
            at,
            code,
        };
        if let Some((_, oldest)) = remember(&mut self.connections.damaged, id, damaged) {
            self.count_damaged(&oldest, &oldest.name.0);
        }
    }

    fn count_damaged(&mut self, damaged: &Damaged, name: &[u8]) {
        match damaged.code {
            0 => {
                let client = self.tally.client(name, &damaged.host.0);
                self.tally.connect(client, damaged.at);
            }
            code => self.tally.failed(name, &damaged.host.0, code, damaged.at),
        }
    }

    /// The id is used by a new connection, or not at all any more.
    fn forget(&mut self, id: u64) {
        let connections = &mut self.connections;
        connections.refused.remove(&id);
        let nameless = connections.changed.remove(&id);
        if let Some(damaged) = connections.damaged.remove(&id) {
            self.count_damaged(&damaged, &damaged.name.0);
        }
        if let Some(at) = nameless {
            self.nameless(at);
        }
    }

    /// Some account came in at this time by a change of user, and nothing names it: nobody can be
    /// said not to have been used then. Once a day will do, for some pools do it all the time.
    fn nameless(&mut self, at: UtcSeconds) {
        let told = self.connections.nameless;
        if told.is_none_or(|told| at.0 - told.0 >= NAMELESS_TOLD) {
            self.connections.nameless = Some(at);
            let why = "a session changed its user and nothing says to whom";
            let at = self.connections.covered_to.max(Some(at)).unwrap_or(at);
            self.tally.covered(at, Some(why.into()));
        }
    }
}

/// Records of several threads may be out of order, but not by days: that is a clock that was wrong,
/// and proves nothing about the time in between.
fn is_of_wrong_clock(newest: Option<UtcSeconds>, at: UtcSeconds) -> bool {
    newest.is_some_and(|newest| newest.0 - at.0 >= DISORDER)
}

/// Why the time between two records is not covered although nothing is known to be missing: a server
/// that writes nothing for so long may not have been told to.
fn silence(before: Option<UtcSeconds>, at: UtcSeconds) -> Option<String> {
    let span = Span(at.0 - before?.0);
    (span.0 > SILENCE).then(|| {
        format!(
            "not a record in {}: the server or its clock or its log may have been off",
            span.in_words()
        )
    })
}

/// Inserts, and gives up the lowest id if there are too many.
fn remember<V>(map: &mut BTreeMap<u64, V>, id: u64, value: V) -> Option<(u64, V)> {
    map.insert(id, value);
    if map.len() > MAX_REMEMBERED {
        map.pop_first()
    } else {
        None
    }
}

impl Sink for Session<'_> {
    fn line(&mut self, text: &[u8], place: Place, verdict: Verdict<'_>, whole: Option<&Whole>) {
        match verdict {
            Verdict::Believed(record) => {
                let time = record
                    .head
                    .map(|head| head.time)
                    .or(whole.and_then(|whole| whole.time));
                match time {
                    Some(time) => self.believe(text, record, time, whole),
                    None => self.complain(text, place),
                }
            }
            Verdict::Doubtful(record, why, from) => {
                let tells_whom = record.operation == Operation::Disconnect
                    && self.connections.changed.contains_key(&record.connectionid);
                // The ends of many sessions that changed their user may stand behind one another.
                if tells_whom
                    && why == Why::ChangedName
                    && let Some(head) = record.head
                {
                    self.believe(text, record, head.time, whole);
                    return;
                }
                self.follow_doubtful(text, record);
                let is_login = matches!(
                    record.operation,
                    Operation::Connect | Operation::FailedConnect | Operation::ProxyConnect
                );
                // A sign of use that is not believed just does not count, unless it is the only one.
                if is_login || tells_whom {
                    self.doubt(text, place, record, (why.text().into(), from));
                }
            }
            Verdict::DoubtfulAfterAll(record, why, from) => {
                let why = format!("{}; it was counted before this was known", why.text());
                self.doubt(text, place, record, (why, from));
            }
            Verdict::Explained => {}
            Verdict::Malformed => self.complain(text, place),
        }
    }

    fn withdraw(&mut self, text: &[u8], place: Place, record: &Record) {
        self.tally.withdraw(Withdrawn {
            name: Name::from(record.username.of(text)),
            host: Name::from(record.host.of(text)),
            connectionid: record.connectionid,
            offset: place.offset,
        });
    }
}

impl Session<'_> {
    /// A doubtful record moves no figure, but it must not make another one wrong: the end of a
    /// refused login is no use of the account, even if the refusal itself was not believed, and
    /// a refused login whose name is damaged counts though its end is in doubt.
    fn follow_doubtful(&mut self, text: &[u8], record: &Record) {
        let (name, host) = (record.username.of(text), record.host.of(text));
        let id = record.connectionid;
        match record.operation {
            // Not over one that was believed: the forged one may bear its id.
            Operation::FailedConnect if !self.connections.refused.contains_key(&id) => {
                let connection = (Name::from(name), Name::from(host));
                remember(&mut self.connections.refused, id, connection);
            }
            Operation::Disconnect => {
                let same_host = self
                    .connections
                    .damaged
                    .get(&id)
                    .is_some_and(|d| d.host.0 == host);
                if same_host && let Some(damaged) = self.connections.damaged.remove(&id) {
                    self.count_damaged(&damaged, &damaged.name.0);
                }
            }
            _ => {}
        }
    }

    fn doubt(
        &mut self,
        text: &[u8],
        place: Place,
        record: &Record,
        (why, from): (String, Option<&Name>),
    ) {
        let why = match record.operation {
            Operation::Connect | Operation::ProxyConnect => why,
            Operation::FailedConnect => format!("a refused login, {why}"),
            Operation::Disconnect => format!("the end of a session, {why}"),
            _ => format!("no login, {why}"),
        };
        self.tally.doubt(Doubtful {
            server: Name::default(),
            name: Name::from(record.username.of(text)),
            host: Name::from(record.host.of(text)),
            time: record.head.map(|head| self.clock.peek(head.time)),
            connectionid: record.connectionid,
            why,
            from: from.cloned(),
            file: self.files.get(place.file).cloned().unwrap_or_default(),
            offset: place.offset,
        });
    }

    fn complain(&mut self, text: &[u8], place: Place) {
        self.malformed.count += 1;
        if self.malformed.first.len() < 3 {
            let file = self.files.get(place.file).cloned().unwrap_or_default();
            self.malformed
                .first
                .push((file, place.offset, text[..text.len().min(120)].to_vec()));
        }
    }
}

/// How a statement makes the log stop telling of logins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Until the next record.
    Logging,
    /// Until the next connection event; other events go on.
    Connections,
}

/// Whether a successful statement (the object of QUERY, in its quotes) switches logging off, sends
/// it elsewhere, or takes connections out of it.
pub(super) fn stops_logging(object: &[u8]) -> Option<Stop> {
    let statement = object.strip_prefix(b"'").unwrap_or(object);
    let statement = skip_comments(statement);
    let is = |word: &[u8]| {
        statement
            .get(..word.len())
            .is_some_and(|s| s.eq_ignore_ascii_case(word))
    };
    // Some clients begin with some SET each time.
    let is_variable = |at: usize| {
        let before = at.checked_sub(6).map(|from| &statement[from..at]);
        before.is_some_and(|before| before.eq_ignore_ascii_case(b"server"))
    };
    if !is(b"SET") && !is(b"UNINSTALL") || !memchr_iter(b'_', statement).any(is_variable) {
        return None;
    }
    let lower = statement.to_ascii_lowercase();
    if is(b"UNINSTALL") {
        return memmem::find(&lower, b"server_audit").map(|_| Stop::Logging);
    }
    memmem::find_iter(&lower, b"server_audit_").find_map(|at| {
        let variable = &lower[at + b"server_audit_".len()..];
        let name_len = variable
            .iter()
            .take_while(|b| b.is_ascii_lowercase() || **b == b'_')
            .count();
        let (name, rest) = variable.split_at(name_len);
        let value: Vec<u8> = rest
            .iter()
            .copied()
            .skip_while(|byte| matches!(byte, b' ' | b':' | b'=' | b'\\' | b'\'' | b'"' | b'`'))
            .take_while(|byte| {
                byte.is_ascii_alphanumeric() || matches!(byte, b',' | b'_' | b'/' | b'.')
            })
            .collect();
        match name {
            b"logging" => (!matches!(&value[..], b"on" | b"1" | b"true")).then_some(Stop::Logging),
            b"file_path" | b"output_type" => Some(Stop::Logging),
            b"events" => {
                let named =
                    value.is_empty() || value.split(|b| *b == b',').any(|e| e == b"connect");
                (!named).then_some(Stop::Connections)
            }
            _ => None,
        }
    })
}

fn skip_comments(mut statement: &[u8]) -> &[u8] {
    loop {
        statement = statement.trim_ascii_start();
        match statement
            .strip_prefix(b"/*")
            .and_then(|rest| memmem::find(rest, b"*/").map(|n| &rest[n + 2..]))
        {
            Some(rest) => statement = rest,
            None => return statement,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::tests::{BEGIN, handed_over};
    use crate::time::Zone;

    /// What becomes of lines. Each has a mark, its seconds, and what stands behind the server's name:
    /// `+` believed, `-` doubtful, `c` the same because the user was changed, `!` doubtful after all,
    /// `=` proved genuine, `?` malformed, `t` the last line of a name that begins with `x⏎`.
    fn becomes(lines: &str) -> Vec<String> {
        let mut tally = Tally::default();
        let mut session = Session {
            clock: Clock::new(Zone::UTC, None),
            connections: Connections::default(),
            tally: &mut tally,
            files: vec!["log".into()],
            malformed: Malformed::default(),
            gaps: Vec::new(),
            records: 0,
            latest: UtcSeconds(i64::MAX),
        };
        for (offset, line) in lines.lines().map(str::trim_start).enumerate() {
            let (mark, line) = line.split_at(1);
            let (seconds, line) = line.split_once(' ').unwrap();
            let time = BEGIN + seconds.parse::<i64>().unwrap();
            let (text, whole) = match mark {
                "t" => (line.to_owned(), Some(UtcSeconds(time))),
                _ => (format!("{time},db1,{line}"), None),
            };
            let (text, offset) = (text.as_bytes(), offset as u64);
            let place = Place { file: 0, offset };
            let parsed = record::parse(text);
            let whole = whole.map(|time| Whole {
                name: b"x\ny".to_vec(),
                time: Some(Stamp::Utc(time)),
            });
            let from = Name::from("from");
            let verdict = match (mark, parsed.record()) {
                ("+" | "t", Some(record)) => Verdict::Believed(record),
                ("-", Some(record)) => Verdict::Doubtful(record, Why::Unended, Some(&from)),
                ("c", Some(record)) => Verdict::Doubtful(record, Why::ChangedName, None),
                ("!", Some(record)) => Verdict::DoubtfulAfterAll(record, Why::Unended, None),
                ("=", Some(record)) => {
                    session.withdraw(text, place, record);
                    continue;
                }
                ("?", None) => Verdict::Malformed,
                _ => panic!("{line}"),
            };
            session.line(text, place, verdict, whole.as_ref());
        }
        let mut rows = vec![format!("{} records", session.records)];
        for gap in &session.gaps {
            let from = gap.from.map(|from| from.0 - BEGIN);
            rows.push(format!("gap {from:?}..{}: {}", gap.to.0 - BEGIN, gap.why));
        }
        for (file, offset, text) in &session.malformed.first {
            let (len, all) = (text.len(), session.malformed.count);
            rows.push(format!("{len} bytes at {offset} in {file}, one of {all}"));
        }
        rows.extend(handed_over(&mut tally));
        rows
    }

    #[track_caller]
    fn become_rows(lines: &str, expected: &[&str]) {
        let lines = lines.trim_start();
        assert_eq!(becomes(lines), expected, "{lines}");
    }

    #[test]
    fn logins_their_ends_and_statements_count_for_their_account() {
        become_rows(
            "+0 app,h,3,0,CONNECT,s,,0
             +1 app,h,3,7,QUERY,s,'SELECT 1',0
             +2 app,h,3,0,DISCONNECT,s,,0
             +3 event,%,4,8,QUERY,s,'SELECT 1',0
             +4 app,h,5,0,FAILED_CONNECT,,,1045
             +5 app,h,5,0,DISCONNECT,,,0
             +6 ,,0,0,DISCONNECT,,,1040
             +6 nobody,h,0,0,DISCONNECT,,,1040
             +6 nobody,,6,0,DISCONNECT,,,0
             t7 y,h,7,0,CONNECT,,,0
             =7 app,h,3,0,CONNECT,s,,0",
            &[
                "10 records",
                "db1: app@h 0..0 active 2, 1 logins",
                "db1: x\\ny@h 7..7 active 7, 1 logins",
                "perhaps event@% 3",
                "db1: refused app@h 4..4, 1 times, code Some(1045)",
                "withdrawn app@h id 3 byte 10",
                "covered 0..7",
            ],
        );
    }

    #[test]
    fn the_end_of_a_refused_login_is_no_use_of_the_account() {
        become_rows(
            "+0 app,h,5,0,FAILED_CONNECT,,,1045
             -0 root,g,5,0,FAILED_CONNECT,,,1045
             +1 app,h,5,0,DISCONNECT,,,0
             -2 app,h,6,0,FAILED_CONNECT,,,1045
             +3 app,h,6,0,DISCONNECT,,,0
             +4 app,h,7,0,FAILED_CONNECT,,,1045
             +5 app,i,7,0,DISCONNECT,,,0",
            &[
                "5 records",
                "db1: app@i -..- active 5, 0 logins",
                "db1: refused app@h 0..4, 2 times, code Some(1045)",
                "db1: doubtful root@g 0 id 5, a refused login, before a refused login whose end was not logged: its user name may hold a line break from from, log byte 1",
                "db1: doubtful app@h 2 id 6, a refused login, before a refused login whose end was not logged: its user name may hold a line break from from, log byte 3",
                "covered 0..5",
            ],
        );
    }

    #[test]
    fn a_damaged_name_is_repaired_by_the_end_of_its_own_connection() {
        let kept = "n".repeat(64);
        let (shown, full) = (format!("{kept}B"), format!("{kept}nn"));
        become_rows(
            &format!(
                "+0 {shown},h,3,0,CONNECT,,,0
                 +1 {full},h,3,0,DISCONNECT,,,0
                 +2 {shown},h,4,0,FAILED_CONNECT,,,1045
                 +3 {full},h,4,0,DISCONNECT,,,0"
            ),
            &[
                "4 records",
                &format!("db1: {full}@h 0..0 active 1, 1 logins"),
                &format!("db1: refused {full}@h 2..2, 1 times, code Some(1045)"),
                "covered 0..3",
            ],
        );
        // By another one's end, by none, and by one that is in doubt it is not.
        become_rows(
            &format!(
                "+0 {shown},a,3,0,CONNECT,,,0
                 +1 {full},g,3,0,DISCONNECT,,,0
                 +2 {shown},b,4,0,CONNECT,,,0
                 +3 x,h,4,0,CONNECT,,,0
                 +4 {shown},c,5,0,FAILED_CONNECT,,,1045
                 -5 {full},c,5,0,DISCONNECT,,,0
                 +6 {shown},d,6,0,FAILED_CONNECT,,,1045
                 -7 {full},g,6,0,DISCONNECT,,,0"
            ),
            &[
                "6 records",
                &format!("db1: {shown}@a 0..0 active 0, 1 logins"),
                &format!("db1: {shown}@b 2..2 active 2, 1 logins"),
                &format!("db1: {full}@g -..- active 1, 0 logins"),
                "db1: x@h 3..3 active 3, 1 logins",
                &format!("db1: refused {shown}@c 4..4, 1 times, code Some(1045)"),
                "covered 0..6",
            ],
        );
        // Until there are too many.
        for (count, given_up) in [(4_096, 0), (4_097, 1)] {
            let lines: Vec<_> = (0..count)
                .map(|id| format!("+0 {shown},h,{id},0,CONNECT,,,0"))
                .collect();
            assert_eq!(becomes(&lines.join("\n")).len(), 2 + given_up);
        }
    }

    #[test]
    fn a_changed_user_is_named_by_what_follows() {
        become_rows(
            "+0 guest,h,3,0,CONNECT,,,0
             +1 ,,3,0,CHANGEUSER,OO,,0
             +2 bob,h,3,7,QUERY,,'',0
             +3 eve,h,3,0,CHANGEUSER,,,1045
             +4 bob,h,3,0,DISCONNECT,,,0
             +5 ,,4,0,CHANGEUSER,OO,,0
             c6 carol,h,4,0,DISCONNECT,,,0
             c6 dora,h,5,0,DISCONNECT,,,0
             +7 ,,6,0,CHANGEUSER,OO,,0
             -8 frank,h,6,0,DISCONNECT,,,0
             -8 frank,h,6,7,QUERY,,'',0
             -8 grace,h,7,0,DISCONNECT,,,0",
            &[
                "8 records",
                "db1: bob@h 1..1 active 4, 0 logins",
                "db1: carol@h 5..5 active 6, 0 logins",
                "db1: guest@h 0..0 active 0, 1 logins",
                "db1: doubtful frank@h 8 id 6, the end of a session, before a refused login whose end was not logged: its user name may hold a line break from from, log byte 9",
                "covered 0..7",
            ],
        );
    }

    #[test]
    fn a_changed_user_that_nothing_names_is_told_once_a_day() {
        let gap = ", gap: a session changed its user and nothing says to whom";
        for (seconds, told) in [(86_399, 1), (86_400, 2)] {
            let found = becomes(&format!(
                "+0 ,,3,0,CHANGEUSER,OO,,0
                 +9 ,,3,0,CHANGEUSER,OO,,0
                 +{seconds} ,,3,0,CHANGEUSER,OO,,0
                 +{seconds} a,h,3,0,CONNECT,,,0"
            ));
            assert_eq!(found[3], format!("covered 9..{seconds}{gap}"));
            assert_eq!(found.iter().filter(|row| row.ends_with(gap)).count(), told);
        }
    }

    #[test]
    fn doubtful_logins_say_what_they_are() {
        let why =
            "before a refused login whose end was not logged: its user name may hold a line break";
        become_rows(
            "-0 a,h,3,0,CONNECT,,,0
             -0 a,h,3,0,PROXY_CONNECT,,`b`@`%`,0
             !0 a,h,3,0,FAILED_CONNECT,,,1045
             !0 a,h,3,0,READ,s,t,",
            &[
                "0 records",
                &format!("db1: doubtful a@h 0 id 3, {why} from from, log byte 0"),
                &format!("db1: doubtful a@h 0 id 3, {why} from from, log byte 1"),
                &format!(
                    "db1: doubtful a@h 0 id 3, a refused login, {why}; it was counted before this was known from *, log byte 2"
                ),
                &format!(
                    "db1: doubtful a@h 0 id 3, no login, {why}; it was counted before this was known from *, log byte 3"
                ),
            ],
        );
    }

    #[test]
    fn a_host_loses_its_port_once_it_is_known_that_hosts_have_ports() {
        become_rows(
            "+0 a,2001:db8::5:4081,3,0,CONNECT,,,0
             +1 b,192.0.2.1:40812,4,0,CONNECT,,,0
             +2 c,2001:db8::5:4081,5,0,CONNECT,,,0",
            &[
                "3 records",
                "db1: a@2001:db8::5:4081 0..0 active 0, 1 logins",
                "db1: b@192.0.2.1 1..1 active 1, 1 logins",
                "db1: c@2001:db8::5 2..2 active 2, 1 logins",
                "covered 0..2",
            ],
        );
    }

    #[test]
    fn what_the_log_does_not_cover_is_a_gap() {
        let (off, silent) = (
            "logging was switched off or sent elsewhere",
            "not a record in 7 days: the server or its clock or its log may have been off",
        );
        let cases: &[(&str, &[&str])] = &[
            // Only an attempt.
            (
                "+0 a,h,3,7,QUERY,,'SET GLOBAL server_audit_logging=OFF',1227
                 +9 a,h,3,8,QUERY,,'',0",
                &["covered 0..9"],
            ),
            (
                "+0 a,h,3,7,QUERY,,'SET GLOBAL server_audit_logging=OFF',0
                 +9 a,h,3,8,QUERY,,'',0",
                &[
                    &format!("gap Some(0)..9: {off}"),
                    "covered 0..0",
                    &format!("covered 9..9, gap: {off}"),
                ],
            ),
            // Statements go on while logins are not written.
            (
                "+0 a,h,3,7,QUERY,,'SET GLOBAL server_audit_events=\\'QUERY\\'',0
                 +5 a,h,3,8,QUERY,,'',0
                 +9 a,h,3,0,DISCONNECT,,,0
                 +10 a,h,3,9,QUERY,,'',0",
                &[
                    &format!("gap Some(5)..9: {off}"),
                    "covered 0..0",
                    &format!("covered 9..10, gap: {off}"),
                ],
            ),
            (
                "+0 ali20231114 22:13:29,db1,bob,h,3,0,CONNECT,,,0",
                &[
                    "gap None..9: a record is torn: records were lost here, perhaps on a full disk",
                    "covered 9..9, gap: a record is torn: records were lost here, perhaps on a full disk",
                ],
            ),
            (
                "+0 a,h,3,8,READ,s,t,\n+604800 a,h,3,8,READ,s,t,",
                &["covered 0..604800"],
            ),
            (
                "+0 a,h,3,8,READ,s,t,\n+604801 a,h,3,8,READ,s,t,",
                &[
                    "covered 0..0",
                    &format!("covered 604801..604801, gap: {silent}"),
                ],
            ),
            // A clock that was wrong for a moment.
            (
                "+0 a,h,3,8,READ,s,t,\n+-86399 a,h,3,8,READ,s,t,",
                &["covered -86399..0"],
            ),
            (
                "+0 a,h,3,8,READ,s,t,\n+-86400 a,h,3,8,READ,s,t,",
                &["covered 0..0"],
            ),
        ];
        for (lines, expected) in cases {
            let mut found = becomes(lines);
            found.retain(|row| row.starts_with("gap") || row.starts_with("covered"));
            assert_eq!(found, *expected, "{lines}");
        }
    }

    #[test]
    fn the_first_lines_that_are_not_understood_are_shown() {
        let long = "x".repeat(200);
        become_rows(
            &format!("?0 a\n?0 {long}\n?0 a\n?0 a"),
            &[
                "0 records",
                "16 bytes at 0 in log, one of 4",
                "120 bytes at 1 in log, one of 4",
                "16 bytes at 2 in log, one of 4",
            ],
        );
    }

    #[test]
    fn tells_when_a_statement_stops_the_log() {
        for (statement, expected) in [
            ("'SET GLOBAL server_audit_logging=OFF'", Some(Stop::Logging)),
            ("'set global SERVER_AUDIT_LOGGING = 0'", Some(Stop::Logging)),
            (
                "'SET @@global.server_audit_logging := \\'off\\''",
                Some(Stop::Logging),
            ),
            (
                "'/* x */ SET GLOBAL server_audit_logging=@a'",
                Some(Stop::Logging),
            ),
            (
                "'/**/SET GLOBAL server_audit_logging=OFF'",
                Some(Stop::Logging),
            ),
            ("'SET GLOBAL server_audit_logging=ON'", None),
            (
                "'SET GLOBAL server_audit_file_path=\\'/tmp/x\\''",
                Some(Stop::Logging),
            ),
            (
                "'SET GLOBAL server_audit_output_type=syslog'",
                Some(Stop::Logging),
            ),
            (
                "'SET GLOBAL server_audit_events=\\'QUERY,TABLE\\''",
                Some(Stop::Connections),
            ),
            ("'SET GLOBAL server_audit_events=\\'CONNECT,QUERY\\''", None),
            ("'SET GLOBAL server_audit_events=\\'\\''", None),
            ("'SET GLOBAL server_audit_file_rotate_now=1'", None),
            ("'UNINSTALL SONAME \\'server_audit\\''", Some(Stop::Logging)),
            (
                "'SELECT @@server_audit_logging, \\'SET GLOBAL server_audit_logging=OFF\\''",
                None,
            ),
            ("'SHOW VARIABLES LIKE \\'server_audit_logging\\''", None),
            ("''", None),
        ] {
            assert_eq!(stops_logging(statement.as_bytes()), expected, "{statement}");
        }
    }
}
