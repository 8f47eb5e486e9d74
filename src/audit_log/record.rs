//! One line of the log, taken apart. Pure: bytes in, [`Parsed`] out.
//!
//! The documented form is
//! `timestamp,serverhost,username,host,connectionid,queryid,operation,database,object,retcode`
//! (MariaDB documentation, "MariaDB Audit Plugin - Log Format"), with comma as separator and *no*
//! escaping of user, host and database names, which may therefore hold commas, line breaks and
//! whole records. What follows from that, and where we depart from the documentation:
//!
//! - A line is read **from its right end**. The end says what kind of record it is: `',CODE` a
//!   query, a bare `,` a table event, `,,CODE` a connection event. So `,CONNECT,` inside SQL is
//!   nothing. In a connection event the right-most `,ID,0,OPERATION,` is the real one (only a
//!   database name can stand to its right, and a second operation is reported, see
//!   [`Record::two_operations`]); what is left of it, up to the last comma, is the user name.
//! - A field more or less is part of a name, not an error. Known extra fields are accepted: an 11th
//!   field on connection events (Enterprise 12.3: TLS version, may be empty; RDS for MySQL:
//!   connection type), two empty fields behind a query (RDS), the TLS version as object (Community
//!   12.0.1 and later), and an empty "client IP" field behind host (seen in an article).
//! - Names are bytes; they need not be UTF-8.
//!
//! Advice for the next editor: each rule here was measured on servers (10.5, 10.11, 11.8); the
//! cases under `tests/data/audit-cases` are the truth, not the documentation.

use memchr::{memchr, memmem, memrchr};

use super::timestamp::{self, Stamp};

/// What happened. Names as in MariaDB's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A successful login.
    Connect,
    /// A refused login.
    FailedConnect,
    /// The end of a connection, also of a refused one.
    Disconnect,
    /// COM_CHANGE_USER. With code 0 user and host are empty (server_audit 1.4.14).
    ChangeUser,
    /// Follows CONNECT where the login is a proxy for another account, named by the object.
    ProxyConnect,
    /// QUERY, or AUDIT_CONFIG (Enterprise): a statement.
    Query,
    /// READ, WRITE, CREATE, ALTER, RENAME or DROP: the use of a table.
    Table,
}

impl Operation {
    /// Whether it is of a statement, and not of a connection. Statements carry the time at which they
    /// began.
    pub(super) fn is_statement(self) -> bool {
        matches!(self, Self::Query | Self::Table)
    }

    fn of_connection(word: &[u8]) -> Option<Self> {
        match word {
            b"CONNECT" => Some(Self::Connect),
            b"FAILED_CONNECT" => Some(Self::FailedConnect),
            b"DISCONNECT" => Some(Self::Disconnect),
            b"CHANGEUSER" => Some(Self::ChangeUser),
            b"PROXY_CONNECT" => Some(Self::ProxyConnect),
            _ => None,
        }
    }

    pub(super) fn of_table(word: &[u8]) -> Option<Self> {
        match word {
            b"READ" | b"WRITE" | b"CREATE" | b"ALTER" | b"RENAME" | b"DROP" => Some(Self::Table),
            _ => None,
        }
    }

    fn of_query(word: &[u8]) -> Option<Self> {
        matches!(word, b"QUERY" | b"AUDIT_CONFIG").then_some(Self::Query)
    }
}

/// A piece of the line that a [`Record`] was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Span {
    at: u32,
    len: u32,
}

impl Span {
    fn new(from: usize, to: usize) -> Self {
        // A line handed to the parser is shorter than reader::MAX_LINE.
        Self {
            at: from as u32,
            len: (to - from) as u32,
        }
    }

    /// The bytes of this piece in `line`, the line that was parsed.
    pub fn of(self, line: &[u8]) -> &[u8] {
        &line[self.at as usize..(self.at + self.len) as usize]
    }

    /// Where the piece begins in its line, in bytes.
    pub fn start(self) -> usize {
        self.at as usize
    }

    /// Where the piece ends in its line, in bytes.
    pub fn end(self) -> usize {
        (self.at + self.len) as usize
    }
}

/// The front of a record: `timestamp,serverhost,`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The server's clock.
    pub time: Stamp,
    /// Length of the time's text, in bytes.
    pub time_len: u32,
    /// The name of the server's host.
    pub serverhost: Span,
}

impl Head {
    /// The head that `line` begins with; none if it begins otherwise.
    pub fn of(line: &[u8]) -> Option<Self> {
        let (time, time_len) = timestamp::parse(line)?;
        let from = time_len + 1;
        let to = from + memchr(b',', line.get(from..)?)?;
        // HOST_NAME_MAX is 64 on Linux, 255 elsewhere.
        if to - from > 255 {
            return None;
        }
        Some(Self {
            time,
            time_len: time_len as u32,
            serverhost: Span::new(from, to),
        })
    }

    /// Where the user name begins.
    pub fn end(&self) -> usize {
        self.serverhost.end() + 1
    }
}

/// A record; its pieces are kept as places in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Time and server; none for the last part of a record whose name holds a line break.
    pub head: Option<Head>,
    /// The user name, or its last part where there is no head.
    pub username: Span,
    /// The client's host without port.
    pub host: Span,
    /// Something stood behind the host that looks like the port of Community 12.0.1.
    pub port: Port,
    /// The connection's id.
    pub connectionid: u64,
    /// What happened.
    pub operation: Operation,
    /// The object: the proxied account of PROXY_CONNECT, the text of QUERY with its quotes.
    pub object: Span,
    /// The server's error number, 0 for success.
    pub retcode: u32,
    /// It stands behind the torn beginning of another record, on the same line.
    pub torn: bool,
    /// The user name holds what looks like a further operation: a part of a name was taken for a
    /// field, or of a field for a name.
    pub two_operations: bool,
}

/// Whether the host field carried a port (Community 12.0.1 and later, Enterprise 12.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// `192.0.2.1:40812`, `name:40812`, `localhost:unavailable`: cut off already.
    Cut,
    /// No port, or none that can be told: `2001:db8::5:4081` may be an address or address and port.
    None,
}

/// What a line turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A record with head and tail.
    Record(Record),
    /// A record behind the torn beginning of another, on the same line: what a full disk leaves.
    Torn(Record),
    /// No head, but a good tail: the last line of a record whose name holds line breaks.
    Tail(Record),
    /// A head, but no tail: the first line of such a record, or a torn one.
    Head(Head),
    /// Neither: something in between, or no audit log at all.
    Neither,
}

impl Parsed {
    /// The record that the line holds, if it holds one.
    pub fn record(&self) -> Option<&Record> {
        match self {
            Self::Record(record) | Self::Torn(record) | Self::Tail(record) => Some(record),
            Self::Head(_) | Self::Neither => None,
        }
    }
}

/// The longest user name in bytes: 128 characters of up to four bytes (`USERNAME_LENGTH`, 10.6.1).
pub const MAX_NAME: usize = 512;

/// Takes `line` (without its line end) apart. Never fails: what is no record says so.
pub fn parse(line: &[u8]) -> Parsed {
    let head = Head::of(line);
    let body = head.map_or(0, |head| head.end());
    let Some(mut record) = parse_body(line, body) else {
        // A name may hold the beginning of a record and be clipped within that: then what looks
        // like a head ends in the name.
        return match (head, parse_connection(line, 0)) {
            (None, _) => Parsed::Neither,
            (Some(head), Some(record)) if record.host.start() >= head.end() => Parsed::Tail(record),
            (Some(head), _) => Parsed::Head(head),
        };
    };
    record.head = head;
    if record.operation == Operation::Query {
        return if head.is_some() {
            Parsed::Record(record)
        } else {
            Parsed::Tail(record)
        };
    }
    if let Some(inner) = second_head(line, &record) {
        record.head = Some(inner);
        record.torn = true;
        record.username = Span::new(inner.end(), record.username.end().max(inner.end()));
        return Parsed::Torn(record);
    }
    if record.username.len as usize > MAX_NAME + 1 {
        return head.map_or(Parsed::Neither, Parsed::Head);
    }
    if head.is_some() {
        Parsed::Record(record)
    } else {
        Parsed::Tail(record)
    }
}

/// A further `timestamp,serverhost,` inside the user name, where a torn line goes on.
fn second_head(line: &[u8], record: &Record) -> Option<Head> {
    let name = record.username.of(line);
    memchr(b',', name)?;
    // Only a record out of syslog holds its line breaks; the daemon tears none.
    if memchr(b'\n', name).is_some() {
        return None;
    }
    let base = record.username.start();
    // The stamp may begin anywhere: the torn record ends in the middle of a field.
    for colon in memchr::memchr_iter(b':', name) {
        // `YYYYMMDD HH:` before the first colon; other formats are longer, and begin no later.
        for back in [11, 13, 14] {
            let Some(from) = colon.checked_sub(back) else {
                continue;
            };
            if let Some(inner) =
                Head::of(&line[base + from..record.username.end().max(base + from)])
            {
                let at = base + from;
                // A line may begin with its only head.
                if at == 0 {
                    continue;
                }
                let server = inner.serverhost;
                return Some(Head {
                    serverhost: Span::new(server.start() + at, server.end() + at),
                    ..inner
                });
            }
        }
    }
    None
}

/// The part behind the head, from `body` on.
fn parse_body(line: &[u8], body: usize) -> Option<Record> {
    let last = *line.last()?;
    let digits = line
        .iter()
        .rev()
        .take(6)
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if (1..=5).contains(&digits) && line.len() > digits + 1 {
        let comma = line.len() - digits - 1;
        if line[comma - 1..].starts_with(b"',") {
            return parse_query(line, body, comma);
        }
    }
    if last == b',' {
        // A query of RDS, a table event, or a connection event with an empty 11th field.
        if let Some(rest) = line.strip_suffix(b",,")
            && let Some(record) = rds_query(rest, body)
        {
            return Some(record);
        }
        return parse_table(line, body).or_else(|| parse_connection(line, body));
    }
    parse_connection(line, body)
}

/// A QUERY of RDS for MySQL without its two empty extra fields.
fn rds_query(line: &[u8], body: usize) -> Option<Record> {
    let comma = memrchr(b',', line)?;
    if line[..comma].ends_with(b"'") {
        parse_query(line, body, comma)
    } else {
        None
    }
}

/// `username,host,connectionid,queryid,QUERY,database,'text',CODE`; `comma` stands before CODE.
///
/// Here the left-most anchor is the real one: the text may hold anything, and whoever put an
/// operation into a user name that can log in has a record of his own blamed on him, no other's.
fn parse_query(line: &[u8], body: usize, comma: usize) -> Option<Record> {
    let retcode = u32::try_from(number(&line[comma + 1..])?).ok()?;
    let mut from = body;
    loop {
        // A head may reach into the tail: `20261122 19:04:51,x',0`.
        let rest = line.get(from..comma)?;
        let query = memmem::find(rest, b"QUERY,").map_or(comma, |n| from + n);
        let config = memmem::find(rest, b"AUDIT_CONFIG,").map_or(comma, |n| from + n);
        let at = query.min(config);
        if at >= comma {
            return None;
        }
        let word_end = at + memchr(b',', &line[at..])?;
        if let Some(anchor) = anchor(line, body, word_end, Operation::of_query)
            && let Some(quote) =
                memmem::find(&line[word_end..comma], b",'").map(|n| word_end + n + 1)
        {
            let object = Span::new(quote, comma);
            return record(line, body, anchor, object, retcode);
        }
        from = word_end;
    }
}

/// `username,host,connectionid,queryid,READ,database,table,`.
fn parse_table(line: &[u8], body: usize) -> Option<Record> {
    let mut end = line.len() - 1;
    for _ in 0..MAX_FIELDS {
        let comma = body + memrchr(b',', line.get(body..end)?)?;
        if let Some(anchor) = anchor(line, body, comma, Operation::of_table) {
            return record(line, body, anchor, Span::new(comma, comma), 0);
        }
        end = comma;
    }
    None
}

/// `username,host,connectionid,0,OPERATION,database,object,CODE`, perhaps with an 11th field.
fn parse_connection(line: &[u8], body: usize) -> Option<Record> {
    let mut end = line.len();
    for _ in 0..MAX_FIELDS {
        let comma = body + memrchr(b',', line.get(body..end)?)?;
        if let Some(anchor) = anchor(line, body, comma, Operation::of_connection)
            && anchor.queryid == 0
        {
            let (object, retcode) = connection_tail(line, comma, anchor.operation)?;
            return record(line, body, anchor, object, retcode);
        }
        end = comma;
    }
    None
}

/// How many commas a line's tail may hold before its operation is given up: a database name has at
/// most 64 characters, but the 512 bytes of uninitialised memory that stand for it in CHANGEUSER
/// may hold any.
const MAX_FIELDS: usize = 600;

/// `,ID,QUERYID,OPERATION` that ends where `word_end` points at the comma behind it.
struct Anchor {
    /// The comma before ID.
    start: usize,
    connectionid: u64,
    queryid: u64,
    operation: Operation,
    after: usize,
}

fn anchor(
    line: &[u8],
    body: usize,
    word_end: usize,
    operation: fn(&[u8]) -> Option<Operation>,
) -> Option<Anchor> {
    let before = &line[body..word_end];
    let word = memrchr(b',', before)?;
    let operation = operation(&before[word + 1..])?;
    let query = memrchr(b',', &before[..word])?;
    let queryid = number(&before[query + 1..word])?;
    let id = memrchr(b',', &before[..query])?;
    let connectionid = number(&before[id + 1..query])?;
    Some(Anchor {
        start: body + id,
        connectionid,
        queryid,
        operation,
        after: word_end,
    })
}

/// `,database,object,CODE` or `,database,object,CODE,extra`, from the comma behind the operation.
fn connection_tail(line: &[u8], from: usize, operation: Operation) -> Option<(Span, u32)> {
    let tail = &line[from..];
    let mut code_to = tail.len();
    let mut code_from = memrchr(b',', tail)?;
    if number(&tail[code_from + 1..code_to]).is_none() {
        // An 11th field: a TLS version, a connection type, or nothing.
        let extra = &tail[code_from + 1..code_to];
        if extra.len() > 32
            || !extra
                .iter()
                .all(|byte| byte.is_ascii_graphic() || *byte == b' ')
        {
            return None;
        }
        code_to = code_from;
        code_from = memrchr(b',', &tail[..code_to])?;
    }
    let retcode = u32::try_from(number(&tail[code_from + 1..code_to])?).ok()?;
    let object_from = if operation == Operation::ProxyConnect {
        // An account, in back ticks; its parts may hold commas.
        let from = memmem::find(&tail[..code_from], b",`")?;
        (tail[code_from - 1] == b'`').then_some(from)?
    } else {
        let from = memrchr(b',', &tail[..code_from])?;
        let object = &tail[from + 1..code_from];
        if !is_plain_object(object) {
            return None;
        }
        from
    };
    if object_from == 0 {
        return None; // one field too few
    }
    Some((Span::new(from + object_from + 1, from + code_from), retcode))
}

/// The object of a connection event: empty, or a TLS version.
pub(super) fn is_plain_object(object: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    object.len() <= 16 && object.iter().all(plain)
}

fn record(line: &[u8], body: usize, anchor: Anchor, object: Span, retcode: u32) -> Option<Record> {
    let before = &line[body..anchor.start];
    let mut host_from = memrchr(b',', before)? + 1;
    let mut host_to = before.len();
    let names = !matches!(anchor.operation, Operation::ChangeUser);
    if names && host_from == host_to && host_from >= 2 {
        // No server writes an empty host for a client that it knows: this is the form with an empty
        // "client IP" field behind host.
        if let Some(comma) = memrchr(b',', &before[..host_from - 1]) {
            host_to = host_from - 1;
            host_from = comma + 1;
        }
    }
    let username = Span::new(body, body + host_from - 1);
    let (host_len, port) = cut_port(&before[host_from..host_to]);
    let name = username.of(line);
    let two_operations = memchr(b',', name).is_some() && has_operation(name);
    debug_assert!(anchor.after <= line.len());
    Some(Record {
        head: None,
        username,
        host: Span::new(body + host_from, body + host_from + host_len),
        port,
        connectionid: anchor.connectionid,
        operation: anchor.operation,
        object,
        retcode,
        torn: false,
        two_operations,
    })
}

/// `,ID,0,OPERATION` of a connection event somewhere in `name`.
fn has_operation(name: &[u8]) -> bool {
    memchr::memchr_iter(b',', name)
        .chain([name.len()])
        .any(|end| anchor(name, 0, end, Operation::of_connection).is_some())
}

/// Length of the host field without its port, and whether there was one.
pub fn cut_port(host: &[u8]) -> (usize, Port) {
    let Some(colon) = memrchr(b':', host) else {
        return (host.len(), Port::None);
    };
    let behind = &host[colon + 1..];
    let is_port = number(behind).is_some_and(|port| port <= 65_535);
    // An IPv6 address has no group of five digits, and not nine groups.
    let before = &host[..colon];
    let certain = memchr(b':', before).is_none()
        || behind.len() == 5
        || host.iter().filter(|byte| **byte == b':').count() == 8 && !contains(host, b"::");
    if behind == b"unavailable" || is_port && certain {
        (colon, Port::Cut)
    } else {
        (host.len(), Port::None)
    }
}

/// Cuts a port of an IPv6 client that could be a part of the address. For a log whose other
/// records carry ports ([`Port::Cut`]): there the last group is always the port.
pub fn cut_ambiguous_port(host: &[u8]) -> &[u8] {
    match memrchr(b':', host) {
        Some(colon)
            if number(&host[colon + 1..]).is_some() && memchr(b':', &host[..colon]).is_some() =>
        {
            &host[..colon]
        }
        _ => host,
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    memmem::find(haystack, needle).is_some()
}

/// A decimal number of 1 to 20 digits.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 20 {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, byte| match byte {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// How many bytes of a long name `CONNECT` and `FAILED_CONNECT` show: 10.5, and 10.11 and later.
pub const DAMAGED_AT: [usize; 2] = [64, 132];

/// Whether a user name of `CONNECT` or `FAILED_CONNECT` may be a damaged one, and then how many of
/// its first bytes are genuine.
///
/// 10.5 writes names of more than 64 bytes as the first 64 and one byte that equals the length;
/// 10.11 and 11.8 names of more than 132 bytes as 132 and the length's low byte. DISCONNECT has
/// the full name.
pub fn damaged_prefix(name: &[u8]) -> Option<usize> {
    match name.len() {
        65 if usize::from(name[64]) >= 65 => Some(64),
        133 => Some(132),
        _ => None,
    }
}

/// Whether `full` can be the name that `damaged` was written for; see [`damaged_prefix`].
pub fn repairs(full: &[u8], damaged: &[u8]) -> bool {
    damaged_prefix(damaged).is_some_and(|kept| {
        full.len() > kept
            && full[..kept] == damaged[..kept]
            && full.len() & 0xff == usize::from(damaged[kept])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::escape;

    /// What was understood, in one line: kind, operation, user, host, id, code.
    fn parsed(line: &[u8]) -> String {
        let (kind, record) = match parse(line) {
            Parsed::Record(record) => ("record", record),
            Parsed::Torn(record) => ("torn", record),
            Parsed::Tail(record) => ("tail", record),
            Parsed::Head(_) => return "head".into(),
            Parsed::Neither => return "neither".into(),
        };
        format!(
            "{kind} {:?} '{}'@'{}' {} {}{}",
            record.operation,
            escape(record.username.of(line)),
            escape(record.host.of(line)),
            record.connectionid,
            record.retcode,
            if record.two_operations {
                " two operations"
            } else {
                ""
            }
        )
    }

    #[test]
    fn lines_mean_what_the_server_meant() {
        for (line, expected) in [
            // As written by 10.5, 10.11 and 11.8.
            ("a,h,5,0,CONNECT,shop,,0", "record Connect 'a'@'h' 5 0"),
            (
                "a,b,2001:db8::66,5,0,CONNECT,sh,op,,0",
                "record Connect 'a,b'@'2001:db8::66' 5 0",
            ),
            (
                ",127.0.0.1,5,0,FAILED_CONNECT,,,1045",
                "record FailedConnect ''@'127.0.0.1' 5 1045",
            ),
            (",,0,0,DISCONNECT,,,1040", "record Disconnect ''@'' 0 1040"),
            (",,5,0,CHANGEUSER,OO,OO,,0", "record ChangeUser ''@'' 5 0"),
            (
                "a,h,5,0,PROXY_CONNECT,s,`d,b`@`%`,0",
                "record ProxyConnect 'a'@'h' 5 0",
            ),
            (
                "a,h,5,11,QUERY,shop,'SELECT \\',5,0,CONNECT,,,0\\'',1064",
                "record Query 'a'@'h' 5 1064",
            ),
            ("a,h,5,11,QUERY,,'',0", "record Query 'a'@'h' 5 0"),
            ("a,h,5,12,READ,mysql,user,", "record Table 'a'@'h' 5 0"),
            ("a,h,5,12,RENAME,db,t|db2.t2,", "record Table 'a'@'h' 5 0"),
            // Names that look like fields.
            (
                "r,l,9,0,CONNECT,,,0,192.0.2.66,6,0,FAILED_CONNECT,,,1045",
                "record FailedConnect 'r,l,9,0,CONNECT,,,0'@'192.0.2.66' 6 1045 two operations",
            ),
            (
                "a,h,8,0,CONNECT,w,5,0,CONNECT,z,,0",
                "record Connect 'a,h,8,0,CONNECT'@'w' 5 0 two operations",
            ),
            (
                "r,l,9,7,QUERY,shop,'select 1',0,h,8,0,FAILED_CONNECT,,,1045",
                "record FailedConnect 'r,l,9,7,QUERY,shop,'select 1',0'@'h' 8 1045",
            ),
            // Community 12.0.1 and later: port, TLS version.
            (
                "a,192.168.1.24:54312,7,0,CONNECT,mysql,TLSv1.3,0",
                "record Connect 'a'@'192.168.1.24' 7 0",
            ),
            (
                "a,2001:db8::5:40812,7,0,CONNECT,,,0",
                "record Connect 'a'@'2001:db8::5' 7 0",
            ),
            (
                "a,1:2:3:4:5:6:7:8:4081,7,0,CONNECT,,,0",
                "record Connect 'a'@'1:2:3:4:5:6:7:8' 7 0",
            ),
            (
                "a,2001:db8::5:4081,7,0,CONNECT,,,0",
                "record Connect 'a'@'2001:db8::5:4081' 7 0",
            ),
            (
                "a,web1.example.com:40101,7,0,CONNECT,,,0",
                "record Connect 'a'@'web1.example.com' 7 0",
            ),
            // Enterprise 12.3 and RDS: an 11th field.
            (
                "a,192.168.1.24:54312,7,0,CONNECT,mysql,,0,TLSv1.3",
                "record Connect 'a'@'192.168.1.24' 7 0",
            ),
            (
                "a,localhost:unavailable,8,0,CONNECT,,,0,",
                "record Connect 'a'@'localhost' 8 0",
            ),
            (
                "a,h,8,30,AUDIT_CONFIG,,'server_audit_logging=ON',0",
                "record Query 'a'@'h' 8 0",
            ),
            (
                "a,h,43,0,CONNECT,mydb,,0,SSL/TLS",
                "record Connect 'a'@'h' 43 0",
            ),
            (
                "a,h,43,1,QUERY,mydb,'SELECT 1, 2',0,,",
                "record Query 'a'@'h' 43 0",
            ),
            // An article's form: an empty field behind host.
            (
                "powerdns,localhost,,5,0,CONNECT,powerdns,,0",
                "record Connect 'powerdns'@'localhost' 5 0",
            ),
            // No records.
            ("x", "head"),
            ("a,h,5,0,CONNECT,shop,0", "head"),
            ("a,h,5,0,CONNECT,shop,,", "head"),
            ("a,h,x,0,CONNECT,shop,,0", "head"),
            ("a,h,5,1,CONNECT,shop,,0", "head"),
            ("5,0,CONNECT,shop,,0", "head"),
            ("a,h,5,0,CONNECT,,,99999999999", "head"),
            ("a,h,99999999999999999999999,0,CONNECT,,,0", "head"),
        ] {
            let line = format!("20261122 19:04:51,db1,{line}");
            assert_eq!(parsed(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn parts_of_records_are_told_apart() {
        for (line, expected) in [
            (
                "y,h,6,0,FAILED_CONNECT,,,1045",
                "tail FailedConnect 'y'@'h' 6 1045",
            ),
            (",h,6,0,DISCONNECT,,,0", "tail Disconnect ''@'h' 6 0"),
            ("b,,0", "neither"),
            ("", "neither"),
            ("20261122 19:04:51,db1,", "head"),
            ("20261122 19:04:51,db1", "neither"),
            (
                "20261122 19:04:51,db1,alice,192.0.2.620261122 19:10:23,db1,bob,h,95,0,CONNECT,,,0",
                "torn Connect 'bob'@'h' 95 0",
            ),
            (
                "2026112220261122 19:10:23,db1,bob,h,95,0,CONNECT,,,0",
                "torn Connect 'bob'@'h' 95 0",
            ),
        ] {
            assert_eq!(parsed(line.as_bytes()), expected, "{line}");
        }
        let named = |len: usize| {
            let name = "n".repeat(len);
            parsed(format!("20261122 19:04:51,db1,{name},h,5,0,CONNECT,,,0").as_bytes())
        };
        assert!(named(513).starts_with("record"));
        assert_eq!(named(514), "head", "no name is that long");
    }

    #[test]
    fn the_object_is_the_text_or_the_account() {
        for (line, expected) in [
            ("a,h,5,7,QUERY,s,'SELECT ,\\'x\\'',0", "'SELECT ,\\'x\\''"),
            ("a,h,5,7,QUERY,s,'SELECT 1',0,,", "'SELECT 1'"),
            ("a,h,5,0,PROXY_CONNECT,s,`d,b`@`%`,0", "`d,b`@`%`"),
            ("a,h,5,0,CONNECT,s,TLSv1.3,0", "TLSv1.3"),
        ] {
            let line = format!("20261122 19:04:51,db1,{line}");
            let record = *parse(line.as_bytes()).record().unwrap();
            assert_eq!(
                escape(record.object.of(line.as_bytes())),
                escape(expected.as_bytes())
            );
        }
    }

    #[test]
    fn damaged_names_are_recognised_and_repaired() {
        let name = |len: usize| vec![b'u'; len];
        let damaged = |kept: usize, len: usize| [name(kept), vec![(len & 0xff) as u8]].concat();
        for (full, kept) in [
            (65, 64),
            (80, 64),
            (133, 132),
            (255, 132),
            (256, 132),
            (300, 132),
        ] {
            assert!(repairs(&name(full), &damaged(kept, full)), "{full}");
            assert!(!repairs(&name(full + 1), &damaged(kept, full)), "{full}");
        }
        assert!(!repairs(&name(132), &damaged(132, 132)), "whole");
        assert_eq!(damaged_prefix(&name(64)), None);
        assert_eq!(damaged_prefix(&name(65)), Some(64), "'u' may be a length");
        assert_eq!(
            damaged_prefix(&[name(64), vec![b'@']].concat()),
            None,
            "64 is no length"
        );
    }

    #[test]
    fn fields_have_bounds() {
        let body = |body: &str| parsed(format!("20261122 19:04:51,db1,{body}").as_bytes());
        let tail = "a,h,5,0,CONNECT,,";
        let record = "record Connect 'a'@'h' 5 0";
        for (line, expected) in [
            // The 11th field, and a TLS version as object.
            (format!("{tail},0,{}", "T".repeat(32)), record),
            (format!("{tail},0,{}", "T".repeat(33)), "head"),
            (format!("{tail}{},0", "T".repeat(16)), record),
            (format!("{tail}{},0", "T".repeat(17)), "head"),
            (format!("{tail}T v,0"), "head"),
            // At most 20 digits.
            (format!("a,h,{}5,0,CONNECT,,,0", "0".repeat(19)), record),
            (format!("a,h,{}5,0,CONNECT,,,0", "0".repeat(20)), "head"),
            // An address with a gap may have a last group of four digits.
            (
                "a,1::2:3:4:5:6:7:4081,5,0,CONNECT,,,0".into(),
                "record Connect 'a'@'1::2:3:4:5:6:7:4081' 5 0",
            ),
            (format!("{tail},0,TLS 1.3"), record),
            (format!("{tail},0,T\tv"), "head"),
            // A table event has the table's name.
            ("a,h,5,12,READ,".into(), "head"),
            // A query of RDS has a quote and a code before its two empty fields.
            ("a,h,5,7,QUERY,s,'x,0,,".into(), "head"),
            ("a,h,5,7,QUERY,s,'x',y,,".into(), "head"),
            ("a,h,5,7,QUERY,s,x,0,,".into(), "head"),
        ] {
            assert_eq!(body(&line), expected, "{line}");
        }
        // A head that reaches into the tail of a query.
        assert_eq!(parsed(b"20261122 19:04:51,x',0"), "head");
        for digits in ["1", "12345", ",1", "',1"] {
            assert_eq!(parsed(digits.as_bytes()), "neither", "{digits}");
        }
        let server = |len: usize| {
            let line = format!("20261122 19:04:51,{},x", "s".repeat(len));
            Head::of(line.as_bytes()).is_some()
        };
        assert!(server(255) && !server(256));
    }

    #[test]
    fn a_port_that_may_be_a_group_is_cut_where_all_hosts_have_ports() {
        for (host, expected) in [
            ("2001:db8::5:4081", "2001:db8::5"),
            ("::1:unavailable", "::1:unavailable"),
            ("host:33", "host:33"),
            ("192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(cut_ambiguous_port(host.as_bytes()), expected.as_bytes());
        }
    }
}
