//! Follows connections through the log, to know whom a record is to be credited to.
//!
//! A record does not always say it by itself: a successful change of user names nobody, a long name
//! is damaged in CONNECT and whole in DISCONNECT, and the DISCONNECT of a refused login is no use of
//! the account. What is needed for that is kept per connection id until its end, across runs.

use std::collections::BTreeMap;

use memchr::memmem;
use serde::{Deserialize, Serialize};

use super::record::{self, Operation, Port, Record};
use super::timestamp::{Clock, Stamp};
use super::trust::{Place, Sink, Verdict, Whole, Why};
use crate::name::Name;
use crate::store::{Doubtful, Withdrawn};
use crate::tally::Tally;
use crate::time::{Span, UtcSeconds};

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

impl Session<'_> {
    fn believe(&mut self, text: &[u8], record: &Record, time: Stamp, whole: Option<&Whole>) {
        self.records += 1;
        let name = whole.map_or_else(|| record.username.of(text), |whole| &whole.name);
        let host = self.host(text, record);
        let is_connection = !matches!(record.operation, Operation::Query | Operation::Table);
        // Statements carry the time at which they began: they are not in order.
        let at = if is_connection {
            self.clock.instant(time)
        } else {
            self.clock.peek(time)
        };
        if record.torn {
            // What a full disk leaves: records between the two on this line were not written.
            let why = "a record is torn: records were lost here, perhaps on a full disk";
            self.connections.gap.get_or_insert_with(|| why.into());
        }
        // A clock that was ahead makes no later one wrong.
        let newest = self.connections.covered_to.filter(|at| *at <= self.latest);
        self.tally.wrong_clock(is_of_wrong_clock(newest, at));
        self.cover(at, is_connection);
        match record.operation {
            Operation::Connect => self.connect(record, name, host, at),
            Operation::FailedConnect => self.refuse(record, name, host, at),
            Operation::Disconnect => self.disconnect(record, name, host, at),
            Operation::ChangeUser if record.retcode == 0 => {
                let changed = &mut self.connections.changed;
                let before = changed.remove(&record.connectionid);
                let given_up = remember(changed, record.connectionid, at);
                for at in [before, given_up.map(|(_, at)| at)].into_iter().flatten() {
                    self.nameless(at);
                }
            }
            // A refused change of user tells only what was tried.
            Operation::ChangeUser => {}
            Operation::ProxyConnect => {
                self.tally.proxied(record.object.of(text), at);
                self.tally.active(name, host, at);
            }
            Operation::Query => {
                self.statement(record, name, host, at);
                if record.retcode == 0
                    && let Some(stop) = stops_logging(record.object.of(text))
                {
                    let why = "logging was switched off or sent elsewhere";
                    self.connections.gap = Some(why.into());
                    self.connections.until_connection = stop == Stop::Connections;
                }
            }
            Operation::Table => self.statement(record, name, host, at),
        }
    }
}

impl Session<'_> {
    fn host<'t>(&mut self, text: &'t [u8], record: &Record) -> &'t [u8] {
        let host = record.host.of(text);
        match record.port {
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

    fn connect(&mut self, record: &Record, name: &[u8], host: &[u8], at: UtcSeconds) {
        self.forget(record.connectionid);
        if record::damaged_prefix(name).is_some() {
            self.keep_damaged(record.connectionid, name, host, at, 0);
        } else {
            self.tally.connect(name, host, at);
        }
    }

    fn refuse(&mut self, record: &Record, name: &[u8], host: &[u8], at: UtcSeconds) {
        self.forget(record.connectionid);
        let connection = (Name::from(name), Name::from(host));
        remember(
            &mut self.connections.refused,
            record.connectionid,
            connection,
        );
        if record::damaged_prefix(name).is_some() {
            self.keep_damaged(record.connectionid, name, host, at, record.retcode);
        } else {
            self.tally.failed(name, host, record.retcode, at);
        }
    }

    fn disconnect(&mut self, record: &Record, name: &[u8], host: &[u8], at: UtcSeconds) {
        // Beyond max_connections + 1 the server refuses before it knows anyone: id 0, no host.
        if record.connectionid == 0 || host.is_empty() {
            return;
        }
        self.identify(record.connectionid, name, host);
        let refused = self.connections.refused.remove(&record.connectionid);
        if refused.is_none_or(|(_, refused_host)| refused_host.0 != host) {
            self.tally.active(name, host, at);
        }
        self.forget(record.connectionid);
    }

    fn statement(&mut self, record: &Record, name: &[u8], host: &[u8], at: UtcSeconds) {
        self.identify(record.connectionid, name, host);
        self.tally.statement(name, host, at);
    }

    /// A later record names the user of a connection in full.
    fn identify(&mut self, id: u64, name: &[u8], host: &[u8]) {
        if let Some(at) = self.connections.changed.remove(&id) {
            self.tally.changed_to(name, host, at);
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
            0 => self.tally.connect(name, &damaged.host.0, damaged.at),
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
enum Stop {
    /// Until the next record.
    Logging,
    /// Until the next connection event; other events go on.
    Connections,
}

/// Whether a successful statement (the object of QUERY, in its quotes) switches logging off, sends
/// it elsewhere, or takes connections out of it.
fn stops_logging(object: &[u8]) -> Option<Stop> {
    let statement = object.strip_prefix(b"'").unwrap_or(object);
    let statement = skip_comments(statement);
    let is = |word: &[u8]| {
        statement
            .get(..word.len())
            .is_some_and(|s| s.eq_ignore_ascii_case(word))
    };
    if !is(b"SET") && !is(b"UNINSTALL") {
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
