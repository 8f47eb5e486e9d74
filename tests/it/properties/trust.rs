//! `Trust` over logs that are put together from parts.
//!
//! Any lines at all (first byte even): each gets one verdict, in the order of the log but for logins
//! that were set aside, and nothing else ever; a record that was believed may be betrayed once, one
//! that was told as doubtful may be withdrawn and then believed.
//!
//! What a server writes (first byte odd), with clients that try to forge records: no forged record
//! is believed in the end; where nobody forges, nothing is lost by when runs ended, and where all
//! that should be there was written, all is believed.

use std::collections::{HashMap, HashSet};

use chrono::DateTime;
use conntracker::audit_log::record::{self, Operation, Parsed, Record};
use conntracker::audit_log::trust::{Aside, Pending, Place, Sink, Trust, Verdict, Whole};
use conntracker::name::Name;
use serde::{Deserialize, Serialize};

pub(crate) fn check(input: &[u8]) {
    let mut input = Input(input);
    if input.next() & 1 == 0 {
        let log = any_lines(&mut input);
        judge(&log, false);
        judge(&log, true);
        return;
    }
    let log = Server::default().run(&mut input);
    let whole = judge(&log, false);
    let parts = judge(&log, true);
    for judged in [&whole, &parts] {
        for (line, verdict) in log.lines.iter().zip(&judged.believed()) {
            assert!(
                line.truth != Truth::Forged || !verdict || !counts(line),
                "believed: {}\n{}",
                show(&line.text),
                judged.show()
            );
        }
    }
    if !log.forged && !log.late && !log.repeats_itself() {
        // Behind the end of a run nothing can be a payload with what stands before it, so parts may
        // be believed that are doubtful as a whole; never the reverse. (Where two lives of a server go
        // alike, a record may be taken for what a name wrote twice, and then its own question is
        // void: more is believed of what stands before it.)
        let missing = |(whole, parts): (bool, bool)| whole && !parts;
        assert!(
            !whole
                .believed()
                .into_iter()
                .zip(parts.believed())
                .any(missing),
            "whole:\n{}in parts:\n{}",
            whole.show(),
            parts.show()
        );
    }
    if !log.forged && !log.lossy {
        for judged in [&whole, &parts] {
            for line in &judged.lines {
                // The first lines of a renamed server wait for more of them.
                let told = &line.told[..];
                let nobodys = line.text.ends_with(b",,,0,0,DISCONNECT,,,1040");
                assert!(
                    matches!(told, [] | [Told::Believed]) || nobodys,
                    "{}",
                    judged.show()
                );
            }
        }
    }
}

/// Whether a record would move somebody's figures, or the state of somebody's connection.
fn counts(line: &Line) -> bool {
    match record::parse(&line.text) {
        // A change of user on the very connection that wrote it names nobody, nor does a refused one.
        Parsed::Record(record) if record.operation == Operation::ChangeUser => {
            record.retcode == 0 && record.connectionid != line.id
        }
        // Nor does one in a torn line, since the login that follows opens the connection anew.
        Parsed::Torn(record) if record.operation == Operation::ChangeUser => false,
        Parsed::Record(_) | Parsed::Torn(_) => true,
        // Its name is the whole payload.
        _ => false,
    }
}

/// Bytes to make choices by; zeros when they are used up.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl Input<'_> {
    pub(crate) fn next(&mut self) -> u8 {
        match self.0.split_first() {
            Some((byte, rest)) => {
                self.0 = rest;
                *byte
            }
            None => 0,
        }
    }

    pub(crate) fn pick<'t, T: ?Sized>(&mut self, of: &[&'t T]) -> &'t T {
        of[usize::from(self.next()) % of.len()]
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Truth {
    /// The server wrote the line, or at least its end.
    Server,
    /// A client wrote it, but for its head.
    Forged,
    /// The same, but nothing in the file betrays it.
    PastFindingOut,
}

struct Line {
    text: Vec<u8>,
    place: Place,
    truth: Truth,
    /// The connection that wrote it, where that matters.
    id: u64,
    /// The server's clock, whatever the line says.
    clock: i64,
    /// A run may end behind the line, in a way that these bits say.
    stop: Option<u8>,
}

#[derive(Default)]
struct Log {
    lines: Vec<Line>,
    file: usize,
    offset: u64,
    /// Somebody forged something.
    forged: bool,
    /// A record that others needed was not written, or names were written that could be forgeries.
    lossy: bool,
    /// The end of a refused login came when nobody waits for it any more.
    late: bool,
}

impl Log {
    /// Whether any line stands there twice, but for its time and server.
    fn repeats_itself(&self) -> bool {
        let mut seen = HashSet::new();
        let mut bodies = self
            .lines
            .iter()
            .map(|line| line.text.splitn(3, |byte| *byte == b',').last());
        bodies.any(|body| !seen.insert(body))
    }

    fn add(&mut self, text: &[u8], truth: Truth, id: u64, clock: i64) {
        self.lines.push(Line {
            id,
            text: text.to_vec(),
            place: Place {
                file: self.file,
                offset: self.offset,
            },
            truth,
            clock,
            stop: None,
        });
        self.offset += text.len() as u64 + 1;
    }

    fn rotate(&mut self) {
        if self.offset > 0 {
            self.file += 1;
            self.offset = 0;
        }
    }

    fn stop(&mut self, how: u8) {
        if let Some(last) = self.lines.last_mut() {
            last.stop = Some(how);
        }
    }
}

const LONG: &str = "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}";

fn any_lines(input: &mut Input<'_>) -> Log {
    let mut log = Log::default();
    while !input.0.is_empty() && log.lines.len() < 400 {
        let how = input.next();
        if how & 0xe0 == 0xe0 {
            match how & 3 {
                0 => log.rotate(),
                1 => log.offset += 1,
                _ => log.stop(how),
            }
            continue;
        }
        let mut text = Vec::new();
        let heads = how & 7;
        if heads != 0 {
            let seconds = [0, 1, 2, 5, 31, 3_600][usize::from(input.next()) % 6];
            text.extend_from_slice(stamp(1_795_374_000 + seconds).as_bytes());
            text.extend_from_slice(if heads == 7 { b",db2," } else { b",db1," });
        }
        if how & 8 != 0 {
            text.extend_from_slice(input.pick(&[
                &b"root"[..],
                b"alice",
                b"x,y",
                b"",
                b"\xff\xfe",
                LONG.as_bytes(),
                b"20261122 19:00:00,db1,z",
                b"r,h,9,0,CONNECT",
            ]));
            text.push(b',');
        }
        if how & 16 != 0 {
            text.extend_from_slice(input.pick(&[&b"h"[..], b"localhost", b"::1", b""]));
            text.extend_from_slice(input.pick(&[&b",3,"[..], b",4,", b",9,", b",0,"]));
            text.extend_from_slice(input.pick(&[
                &b"0,CONNECT,,,0"[..],
                b"0,DISCONNECT,,,0",
                b"0,FAILED_CONNECT,,,1045",
                b"0,CHANGEUSER,,,0",
                b"0,CHANGEUSER,,,1045",
                b"0,PROXY_CONNECT,,`a`@`%`,0",
                b"7,QUERY,,'SELECT 1',0",
                b"7,READ,a,b,",
            ]));
        }
        log.add(&text, Truth::Server, 0, 0);
    }
    log
}

pub(crate) fn stamp(local: i64) -> String {
    let time = DateTime::from_timestamp(local, 0).unwrap();
    time.format("%Y%m%d %H:%M:%S").to_string()
}

/// A connection that is open.
#[derive(Clone)]
struct Open {
    id: u64,
    user: String,
    host: &'static str,
}

/// The end of a connection: the name, where it holds lines, and what stands behind it.
struct Due {
    name: Option<String>,
    id: u64,
    rest: String,
}

pub(crate) struct Server {
    log: Log,
    pub(crate) now: i64,
    name: &'static str,
    next_id: u64,
    queries: u64,
    open: Vec<Open>,
    /// DISCONNECT records that are still to come, and after how many steps.
    due: Vec<(u8, Due)>,
    attacks: u32,
    unended: Vec<u64>,
    /// All connections that were opened: where in the log, user, host, id.
    logins: Vec<(u64, String, &'static str, u64)>,
    /// Attackers that changed into an anonymous account.
    anonymous: Vec<u64>,
    /// Attackers that an anonymous account let in, and where in the log.
    guests: Vec<(u64, u64)>,
    /// Bytes written to all files.
    written: u64,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            log: Log::default(),
            now: 1_795_374_000,
            name: "db1",
            next_id: 3,
            queries: 100,
            open: Vec::new(),
            due: Vec::new(),
            attacks: 0,
            unended: Vec::new(),
            logins: Vec::new(),
            anonymous: Vec::new(),
            guests: Vec::new(),
            written: 0,
        }
    }
}

const HOSTS: [&str; 4] = ["10.1.2.3", "localhost", "192.0.2.66", "2001:db8::5"];

impl Server {
    fn run(mut self, input: &mut Input<'_>) -> Log {
        while !input.0.is_empty() && self.log.lines.len() < 200 {
            self.step(input);
        }
        self.lose_due();
        // Several attacks can help one of which no second record was written.
        for line in &mut self.log.lines {
            if self.attacks > 1 && self.unended.contains(&line.id) {
                line.truth = Truth::Server;
            }
        }
        self.log
    }

    fn write(&mut self, rest: &str) {
        self.write_at(self.now, rest);
    }

    fn write_at(&mut self, time: i64, rest: &str) {
        let mut text = format!("{},{},", stamp(time), self.name).into_bytes();
        match rest.strip_prefix(LONG) {
            Some(rest) if rest.contains(",CONNECT,") || rest.contains(",FAILED_CONNECT,") => {
                text.extend_from_slice(&damaged(LONG));
                text.extend_from_slice(rest.as_bytes());
            }
            _ => text.extend_from_slice(rest.as_bytes()),
        }
        self.log.add(&text, Truth::Server, 0, self.now);
        self.written += text.len() as u64 + 1;
    }

    pub(crate) fn query(&mut self) -> u64 {
        self.queries += 1;
        self.queries
    }

    pub(crate) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    fn user(&self, input: &mut Input<'_>) -> String {
        let users = ["app", "alice", "bob", "", "a,b", LONG, "root", "x'y"];
        input.pick(&users).to_owned()
    }

    fn pick_open(&self, which: u8) -> Option<usize> {
        (!self.open.is_empty()).then(|| usize::from(which) % self.open.len())
    }

    /// One thing after the other, as `input` says, and what is due by then.
    pub(crate) fn step(&mut self, input: &mut Input<'_>) {
        self.act(input);
        let due = std::mem::take(&mut self.due);
        for (steps, record) in due {
            match steps {
                0 => match record.name {
                    Some(name) => self.write_bytes(name.as_bytes(), record.id, &record.rest),
                    None => self.write(&record.rest),
                },
                _ => self.due.push((steps - 1, record)),
            }
        }
    }

    /// Each file's text so far.
    pub(crate) fn files(&self) -> Vec<Vec<u8>> {
        let mut files = vec![Vec::new(); self.log.file + 1];
        for line in &self.log.lines {
            files[line.place.file].extend_from_slice(&line.text);
            files[line.place.file].push(b'\n');
        }
        files
    }

    fn act(&mut self, input: &mut Input<'_>) {
        let (what, how) = (input.next(), input.next());
        let host = HOSTS[usize::from(how & 3)];
        match what & 15 {
            0 | 1 => {
                let (id, user) = (self.id(), self.user(input));
                self.write(&format!("{user},{host},{id},0,CONNECT,,,0"));
                if how & 0x30 == 0x30 {
                    let account = format!("{user},{host},{id},0,PROXY_CONNECT,,`dba`@`%`,0");
                    self.write(&account);
                }
                self.logins.push((self.written, user.clone(), host, id));
                self.open.push(Open { id, user, host });
            }
            2 | 3 => {
                let (id, user) = (self.id(), self.user(input));
                self.write(&format!("{user},{host},{id},0,FAILED_CONNECT,,,1045"));
                let end = Due {
                    name: None,
                    id,
                    rest: format!("{user},{host},{id},0,DISCONNECT,,,0"),
                };
                self.due.push((how >> 4 & 3, end));
            }
            4 | 5 => {
                if let Some(at) = self.pick_open(how) {
                    let Open { id, user, host } = self.open.remove(at);
                    self.write(&format!("{user},{host},{id},0,DISCONNECT,,,0"));
                }
            }
            6 => {
                if let Some(at) = self.pick_open(how) {
                    self.open[at].user = self.user(input);
                    let id = self.open[at].id;
                    self.write(&format!(",,{id},0,CHANGEUSER,OOOOOOOO,,0"));
                    let Open { user, host, .. } = self.open[at].clone();
                    self.logins.push((self.written, user, host, id));
                    // With so short a database name the login before may be a part of the new one.
                    self.log.lossy = true;
                }
            }
            7 => {
                if let Some(at) = self.pick_open(how) {
                    let user = self.user(input);
                    let Open { id, host, .. } = self.open[at];
                    self.write(&format!("{user},{host},{id},0,CHANGEUSER,,,1045"));
                    self.log.lossy = true;
                }
            }
            8 => {
                if let Some(at) = self.pick_open(how) {
                    let Open { id, user, host } = self.open[at].clone();
                    let began = self.now - i64::from(input.next() & 0x3f);
                    let query = self.query();
                    let text = format!("{user},{host},{id},{query},QUERY,shop,'SELECT 1',0");
                    self.write_at(began, &text);
                }
            }
            9 => {
                if let Some(at) = self.pick_open(how) {
                    let Open { id, user, host } = self.open[at].clone();
                    let query = self.query();
                    self.write(&format!("{user},{host},{id},{query},READ,shop,item,"));
                }
            }
            10 => {
                let step = [0, 1, 2, 5, 9, 20, 31, 600][usize::from(how & 7)];
                self.now += step;
                self.log.late |= step > 30 && !self.due.is_empty();
                self.log.lossy |= step > 9 && !self.due.is_empty();
                if how == 0xff {
                    // Summer time ends, or somebody sets the clock.
                    self.now -= 4_200;
                    self.log.lossy = true;
                }
            }
            11 => self.restart(how),
            12 => self.attack_login(input, how),
            13 => self.attack_session(input, how),
            14 => match how & 3 {
                0 => self.log.rotate(),
                _ => self.write(",,0,0,DISCONNECT,,,1040"),
            },
            _ => self.log.stop(how),
        }
    }

    /// What is still to come is not written any more.
    fn lose_due(&mut self) {
        self.log.lossy |= !self.due.is_empty();
        for (_, due) in self.due.drain(..) {
            if due.name.is_some() {
                self.unended.push(due.id);
            }
        }
    }

    fn restart(&mut self, how: u8) {
        self.lose_due();
        // Two lives that go alike can look like what a name wrote twice.
        self.log.lossy |= !self.log.lines.is_empty();
        self.next_id = 3;
        self.open.clear();
        self.now += i64::from(how >> 4);
        if how & 1 == 1 {
            self.name = if self.name == "db1" { "db2" } else { "db1" };
        }
    }

    /// A user name that holds lines; 128 characters at the most.
    fn payload(&self, input: &mut Input<'_>) -> String {
        let own = self.next_id;
        let known = self.open.first().map_or(99, |open| open.id);
        let server = self.name;
        // He may know who else is there.
        let open = self.open.last();
        let victim = open.map_or("app,10.1.2.3,3".into(), |open| {
            format!("{},{},{}", open.user, open.host, open.id)
        });
        let mut name = String::new();
        for _ in 0..2 + (input.next() & 3) {
            let how = input.next();
            let mut part = String::new();
            if how & 1 == 1 {
                let seconds = [0, 1, -1, -3_600, 3_600, -86_400, 40, -11][usize::from(how >> 5)];
                let server = if how & 2 == 2 { "db9" } else { server };
                part = format!("{},{server},", stamp(self.now + seconds));
            }
            let id = [own, 99, known, own + 1][usize::from(how >> 3 & 3)];
            part.push_str(&match input.next() % 24 {
                16 => format!("m,192.0.2.66,{id},0,FAILED_CONNECT,,,1045"),
                17 => format!("m,192.0.2.66,{id},0,DISCONNECT,,,0"),
                18 => format!("m,192.0.2.66,{id},0,CONNECT,,,0"),
                19 => "\u{1f600}".repeat(20),
                20 => format!("{victim},0,DISCONNECT,,,0"),
                21 => format!("{victim},7,QUERY,,'',0"),
                22 => format!("{victim},0,CHANGEUSER,,,0"),
                23 => format!("{victim},0,CONNECT,,,0"),
                0 => "x".into(),
                1 => String::new(),
                2 => "y,".into(),
                3 | 4 => format!("root2,localhost,{id},0,CONNECT,,,0"),
                5 => format!("root2,h,{id},0,FAILED_CONNECT,,,1045"),
                6 => format!("root2,h,{id},0,DISCONNECT,,,0"),
                7 => format!("root2,h,{id},7,QUERY,,'',0"),
                8 => "z',0".into(),
                9 => format!("root2,h,{id},0,CHANGEUSER,,,0"),
                10 => format!(",,{id},0,CHANGEUSER,,,0"),
                11 => "\u{1f600}".repeat(33),
                12 => "n".repeat(60),
                13 => format!("root2,h,{id},0,PROXY_CONNECT,,`a`@`b`,0"),
                14 => format!("root2,h,{id},0,CHANGEUSER,,,1045"),
                _ => format!("root2,192.0.2.66,{id},0,CONNECT,,,0"),
            });
            if name.chars().count() + part.chars().count() > 120 {
                break;
            }
            name.push_str(&part);
            name.push('\n');
        }
        name.push_str(input.pick(&["", "m", "mallory", "root2"]));
        name
    }

    /// Anybody who can reach the server.
    fn attack_login(&mut self, input: &mut Input<'_>, how: u8) {
        let name = self.payload(input);
        let (id, host) = (self.id(), "192.0.2.66");
        let damaged = damaged(&name);
        self.write_bytes(
            &damaged,
            id,
            &format!(",{host},{id},0,FAILED_CONNECT,,,1045"),
        );
        if how & 0xf0 == 0xf0 {
            // The server crashes, or logging is switched off.
            self.unended.push(id);
            return;
        }
        if how & 3 == 3 {
            self.now += i64::from(how >> 2 & 3);
        }
        for _ in 0..(how >> 4 & 3) {
            let query = self.query();
            self.write(&format!("app,10.1.2.3,2,{query},QUERY,shop,'SELECT 1',0"));
        }
        let rest = format!(",{host},{id},0,DISCONNECT,,,0");
        if how & 0x40 == 0x40 {
            // Others come and go in between, attackers too.
            let name = Some(name);
            self.due.push((how >> 2 & 3, Due { name, id, rest }));
            return;
        }
        self.write_bytes(name.as_bytes(), id, &rest);
    }

    /// Somebody who has an account, or uses the anonymous one.
    fn attack_session(&mut self, input: &mut Input<'_>, how: u8) {
        let (id, host) = (self.id(), "192.0.2.66");
        self.next_id -= 1;
        let name = self.payload(input);
        self.next_id += 1;
        if how & 1 == 1 {
            self.write(&format!("guest,{host},{id},0,CONNECT,,,0"));
            self.write_bytes(
                name.as_bytes(),
                id,
                &format!(",{host},{id},0,CHANGEUSER,,,1045"),
            );
            self.write(&format!("guest,{host},{id},0,DISCONNECT,,,0"));
        } else {
            // A damaged name that gets in is beyond what can be told.
            if name.len() > 132 {
                return;
            }
            let rest = format!(",{host},{id},0,CONNECT,,,0");
            if how & 4 == 4 {
                // An anonymous account is changed to, and its name written once.
                self.anonymous.push(id);
                self.write(&format!("guest{rest}"));
                self.write(&format!(",,{id},0,CHANGEUSER,OOOOOOOO,,0"));
            } else {
                self.guests.push((id, self.written));
                self.write_bytes(name.as_bytes(), id, &rest);
                for _ in 0..(how >> 6) {
                    let query = self.query();
                    let rest = format!(",{host},{id},{query},QUERY,,'SELECT 1',0");
                    self.write_bytes(name.as_bytes(), id, &rest);
                }
            }
            let rest = format!(",{host},{id},0,DISCONNECT,,,0");
            if how & 2 == 2 {
                let name = Some(name);
                self.due.push((how >> 4 & 3, Due { name, id, rest }));
                return;
            }
            self.write_bytes(name.as_bytes(), id, &rest);
        }
    }

    pub(crate) fn write_bytes(&mut self, name: &[u8], id: u64, rest: &str) {
        let mut text = format!("{},{},", stamp(self.now), self.name).into_bytes();
        text.extend_from_slice(name);
        text.extend_from_slice(rest.as_bytes());
        let lines: Vec<_> = text.split(|byte| *byte == b'\n').collect();
        for (at, line) in lines.iter().enumerate() {
            let truth = match at + 1 < lines.len() {
                true if self.is_past_finding_out(id, line) => Truth::PastFindingOut,
                true => Truth::Forged,
                false => Truth::Server,
            };
            self.log.add(line, truth, id, self.now);
            self.written += line.len() as u64 + 1;
        }
        self.log.forged = true;
        self.attacks += u32::from(rest.contains("CONNECT,,,1045") || rest.contains("CHANGEUSER"));
        self.attacks += u32::from(rest.contains(",CONNECT,"));
    }
}

/// How long ago a login must be, in bytes, for what repeats it to be past finding out.
const PAST: u64 = 2_048;

impl Server {
    /// Whether nothing in the file can betray this line of a name that connection `writer` wrote.
    fn is_past_finding_out(&self, writer: u64, line: &[u8]) -> bool {
        let parsed = record::parse(line);
        let Some(record) = parsed.record() else {
            return false;
        };
        let id = record.connectionid;
        // The name of an anonymous account is compared with that of its login, unless it was long ago.
        let began = |(session, at): &(u64, u64)| *session == writer && self.written >= *at + PAST;
        if self.guests.iter().any(began) {
            return true;
        }
        // An account that is connected is said to leave, or to have come by a login that was long ago:
        // its figures move, but it is in use.
        let repeats = |since| {
            self.logins.iter().any(|(at, user, host, login)| {
                *login == id
                    && record.host.of(line) == host.as_bytes()
                    && record.username.of(line) == user.as_bytes()
                    && self.written >= *at + since
            })
        };
        match record.operation {
            Operation::Connect => repeats(PAST),
            // A new name that is written once, by the end of a session that changed into an anonymous
            // account, may hold a refused login with its end, as if it was one of many there.
            Operation::FailedConnect => self.anonymous.contains(&writer),
            Operation::Disconnect => repeats(0),
            _ => false,
        }
    }
}

/// As CONNECT and FAILED_CONNECT write a long name.
fn damaged(name: &str) -> Vec<u8> {
    let name = name.as_bytes();
    match name.len() {
        0..=132 => name.to_vec(),
        len => [&name[..132], &[(len & 0xff) as u8]].concat(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Believed,
    Doubtful,
    AfterAll,
    Explained,
    Malformed,
    Withdrawn,
}

struct Judged {
    text: Vec<u8>,
    told: Vec<Told>,
}

impl Judged {
    fn is_login(&self) -> bool {
        record::parse(&self.text).record().is_some_and(|record| {
            matches!(
                record.operation,
                Operation::Connect
                    | Operation::FailedConnect
                    | Operation::ProxyConnect
                    | Operation::ChangeUser
            )
        })
    }
}

/// Notes all verdicts, and complains of each that must not be given.
#[derive(Default)]
struct Judge {
    lines: Vec<Judged>,
    at: HashMap<(usize, u64), usize>,
    /// Behind the last line that got a verdict in order.
    next: usize,
    withdrawn: Option<usize>,
}

impl Judge {
    fn believed(&self) -> Vec<bool> {
        let is = |line: &Judged| line.told.last() == Some(&Told::Believed);
        self.lines.iter().map(is).collect()
    }

    fn show(&self) -> String {
        self.lines
            .iter()
            .map(|line| format!("{:?} {}\n", line.told, show(&line.text)))
            .collect()
    }
}

fn show(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

impl Sink for Judge {
    fn line(&mut self, text: &[u8], place: Place, verdict: Verdict<'_>, _: Option<&Whole>) {
        let at = self.at[&(place.file, place.offset)];
        let line = &self.lines[at];
        assert_eq!(line.text, text);
        let parsed = record::parse(text);
        let (told, record) = match verdict {
            Verdict::Believed(record) => (Told::Believed, Some(record)),
            Verdict::Doubtful(record, ..) => (Told::Doubtful, Some(record)),
            Verdict::DoubtfulAfterAll(record, ..) => (Told::AfterAll, Some(record)),
            Verdict::Explained => (Told::Explained, None),
            Verdict::Malformed => (Told::Malformed, None),
        };
        assert_eq!(record, parsed.record());
        match (line.told.last(), told) {
            (Some(Told::Believed), Told::AfterAll) => {}
            (Some(Told::Withdrawn), Told::Believed) => {
                assert_eq!(self.withdrawn.take(), Some(at));
            }
            (None, Told::AfterAll) => panic!("not told before: {}", show(text)),
            (None, _) if at >= self.next => {
                for left in &self.lines[self.next..at] {
                    assert!(
                        !left.told.is_empty() || left.is_login(),
                        "left out: {}",
                        show(&left.text)
                    );
                }
                self.next = at + 1;
            }
            (None, Told::Believed | Told::Doubtful) if line.is_login() => {}
            (before, now) => panic!("{now:?} after {before:?}: {}\n{}", show(text), self.show()),
        }
        assert_eq!(self.withdrawn, None);
        self.lines[at].told.push(told);
    }

    fn withdraw(&mut self, text: &[u8], place: Place, record: &Record) {
        let at = self.at[&(place.file, place.offset)];
        let line = &mut self.lines[at];
        assert_eq!(line.text, text);
        assert_eq!(record::parse(text).record(), Some(record));
        assert!(line.is_login() && line.told == [Told::Doubtful]);
        line.told.push(Told::Withdrawn);
        self.withdrawn = Some(at);
    }
}

/// What a checkpoint keeps of [`Trust`].
#[derive(Serialize, Deserialize)]
struct Kept {
    serverhost: Option<Name>,
    pending: Vec<Pending>,
    aside: Vec<Aside>,
}

fn judge(log: &Log, in_parts: bool) -> Judge {
    let mut judge = Judge::default();
    let files: Vec<String> = (0..=log.file).map(|file| file.to_string()).collect();
    let mut trust = Trust::new(None, Vec::new());
    for (at, line) in log.lines.iter().enumerate() {
        judge.at.insert((line.place.file, line.place.offset), at);
        judge.lines.push(Judged {
            text: line.text.clone(),
            told: Vec::new(),
        });
        trust.push(&line.text, line.place, &mut judge);
        let Some(how) = line.stop.filter(|_| in_parts) else {
            continue;
        };
        let next = log.lines.get(at + 1);
        // Nothing was written for long, if that is true.
        let quiet = how & 16 != 0 && next.is_none_or(|next| next.clock > line.clock + 31);
        trust.finish(how & 4 != 0, quiet, &mut judge);
        trust = reopen(&trust, &files);
    }
    trust.finish(false, true, &mut judge);
    let waiting = trust.pending(&files);
    let waiting: Vec<_> = waiting.iter().filter(|pending| !pending.passed).collect();
    for pending in &waiting {
        let place = (pending.file.parse().unwrap(), pending.offset);
        assert_eq!(judge.lines[judge.at[&place]].told, []);
    }
    let untold = judge.lines.iter().filter(|line| line.told.is_empty());
    assert_eq!(untold.count(), waiting.len(), "{}", judge.show());
    judge
}

fn reopen(trust: &Trust, files: &[String]) -> Trust {
    let kept = Kept {
        serverhost: trust.serverhost().cloned(),
        pending: trust.pending(files),
        aside: trust.aside(files),
    };
    let kept = serde_json::to_string(&kept).unwrap();
    let mut kept: Kept = serde_json::from_str(&kept).unwrap();
    for aside in &mut kept.aside {
        aside.number = aside.file.parse().unwrap();
    }
    let mut next = Trust::new(kept.serverhost, kept.aside);
    for pending in kept.pending {
        let place = Place {
            file: pending.file.parse().unwrap(),
            offset: pending.offset,
        };
        next.resume(pending, place);
    }
    next
}
