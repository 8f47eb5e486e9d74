//! The form that nearly all lines have, read in a few nanoseconds.
//!
//! [`record::parse`] reads a line from its right end, since names may hold
//! anything. A line whose names hold no comma needs none of that: it has ten fields and nine commas,
//! and says the same from the left. Whatever is not exactly so is not understood here, and left to
//! the parser of records, which this one must never contradict (property `record`).

use memchr::memchr;
use wide::u8x16;

use super::record::{self, Operation};
use super::timestamp::{self, Stamp};

/// The longest line that is understood here, in bytes: server_audit clips statements after 1,024
/// (`server_audit_query_log_limit`), so that hardly any is longer.
pub const LONGEST: usize = 1_536;

/// How many bytes behind the head are searched for fields; a name of 64 and a host of 45 fit.
const WINDOW: usize = 128;

/// How many bytes must stand behind the first byte of a line, whatever it holds.
pub const SLACK: usize = LONGEST + WINDOW;

/// How the operations begin, with the comma where there is room for it.
const CONNECT: u64 = u64::from_le_bytes(*b"CONNECT,");
const DISCONNECT: u64 = u64::from_le_bytes(*b"DISCONNE");
const DISCONNECT_END: u64 = u64::from_le_bytes(*b"CT,\0\0\0\0\0");
const FAILED_CONNECT: u64 = u64::from_le_bytes(*b"FAILED_C");
const FAILED_CONNECT_END: u64 = u64::from_le_bytes(*b"ONNECT,\0");
const QUERY: u64 = u64::from_le_bytes(*b"QUERY,\0\0");

/// What such a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// CONNECT, FAILED_CONNECT, DISCONNECT (with a code and a host), QUERY, or the use of a table.
    pub operation: Operation,
    /// Seconds since 1970 of the server's clock.
    pub time: u32,
    /// The connection's id.
    pub connectionid: u64,
    /// The server's error number.
    pub retcode: u16,
    /// Length of the user name, in bytes. It stands behind the head.
    pub username_len: usize,
    /// Length of the user name, the comma and the host as it stands there, in bytes.
    pub account_len: usize,
    /// Where the text of QUERY begins and ends, with its quotes.
    pub object: (usize, usize),
    /// Where the line ends: its LF.
    pub end: usize,
}

/// Reads plain lines of one server.
#[derive(Debug)]
pub struct PlainLines {
    /// Its name and the comma.
    server: Vec<u8>,
    /// The first 16 bytes of that, and which bits of them count.
    server_start: (u128, u128),
    /// The date read last, as its text and as the seconds of its midnight.
    date: (u64, i64),
    /// The time of day read last, as its text and in seconds.
    of_day: (u64, u32),
}

impl PlainLines {
    /// Of the server that calls itself `serverhost`.
    pub fn of(serverhost: &[u8]) -> Self {
        let server = [serverhost, b","].concat();
        let mut start = [0; 16];
        let len = server.len().min(start.len());
        start[..len].copy_from_slice(&server[..len]);
        let bits = u128::MAX >> (8 * (start.len() - len));
        Self {
            server,
            server_start: (u128::from_le_bytes(start), bits),
            date: (u64::from_le_bytes(*b"19700101"), 0),
            of_day: (u64::from_le_bytes(*b"00:00:00"), 0),
        }
    }

    /// The server's name.
    pub fn serverhost(&self) -> &[u8] {
        &self.server[..self.server.len() - 1]
    }

    /// Length of what stands before the user name in each line, in bytes.
    pub fn head_len(&self) -> usize {
        18 + self.server.len()
    }

    /// The line that begins at byte `at`; none if it is not plain, or fewer than [`SLACK`] bytes follow.
    #[inline]
    pub fn read(&mut self, bytes: &[u8], at: usize) -> Option<Plain> {
        let line: &[u8; SLACK] = bytes.get(at..)?.first_chunk()?;
        let time = self.time(line.first_chunk()?)?;
        let (start, bits) = self.server_start;
        let found = u128::from_le_bytes(*line[18..].first_chunk()?);
        let body = 18 + self.server.len();
        if (found ^ start) & bits != 0 || body > 34 && !line[18..].starts_with(&self.server) {
            return None;
        }
        let line = Line {
            time,
            body: line.get(body..LONGEST)?,
            window: Window(line[..LONGEST].get(body - 8..)?.first_chunk()?),
        };
        let near = line.window.near();
        let is_near = near.at[5] < Window::NONE_NEAR
            && (near.end < Window::NONE_NEAR || line.window.is_query(near.at[3]));
        let mut plain = match is_near {
            true => line.read(near)?,
            false => line.read_far()?,
        };
        plain.object.0 += at + body;
        plain.object.1 += at + body;
        plain.end += at + body;
        Some(plain)
    }

    /// The time of a line that begins so; see [`timestamp::parse`].
    #[inline]
    fn time(&mut self, head: &[u8; 18]) -> Option<u32> {
        let (date, rest) = head.split_first_chunk()?;
        let [b' ', of_day @ .., b','] = rest else {
            return None;
        };
        let (date, of_day) = (
            u64::from_le_bytes(*date),
            u64::from_le_bytes(of_day.try_into().ok()?),
        );
        if of_day != self.of_day.0 {
            self.of_day = (of_day, time_of_day(of_day)?);
        }
        if date != self.date.0 {
            let (Stamp::Local(seconds), _) = timestamp::parse(head)? else {
                return None;
            };
            self.date = (date, seconds - i64::from(self.of_day.1));
        }
        u32::try_from(self.date.1 + i64::from(self.of_day.1)).ok()
    }
}

/// A line behind its head.
struct Line<'a> {
    time: u32,
    body: &'a [u8],
    window: Window<'a>,
}

impl Line<'_> {
    #[cold]
    #[inline(never)]
    fn read_far(&self) -> Option<Plain> {
        self.read(self.window.far())
    }

    /// What it says; bytes are counted from behind the head.
    #[inline(always)]
    fn read(&self, fields: Fields) -> Option<Plain> {
        let Self { window, body, .. } = self;
        let Fields { at, more, end } = fields;
        let [
            username_len,
            account_len,
            id_end,
            query_end,
            word_end,
            database_end,
            object_end,
        ] = at;
        // An empty host belongs to an older form of the log, or to a client that nobody knows.
        if database_end >= WINDOW
            || account_len == username_len + 1
            || matches!(username_len, 65 | 133)
        {
            return None;
        }
        let connectionid = window.number(account_len + 1, id_end)?;
        let plain = |operation, retcode, end| Plain {
            operation,
            time: self.time,
            connectionid,
            retcode,
            username_len,
            account_len,
            object: (0, 0),
            end,
        };
        if window.is_query(query_end) {
            window.number(id_end + 1, query_end)?;
            let (retcode, comma, end) = query(body, word_end, database_end, end)?;
            return Some(Plain {
                object: (database_end + 1, comma),
                ..plain(Operation::Query, retcode, end)
            });
        }
        // Nine commas, and the last field behind the last one.
        if more || object_end >= end || end >= WINDOW {
            return None;
        }
        let object = || &body[database_end + 1..object_end];
        let (word, rest) = (window.word(query_end + 1), window.word(query_end + 9));
        let operation = match word {
            CONNECT => Operation::Connect,
            DISCONNECT if rest & 0xff_ffff == DISCONNECT_END && connectionid != 0 => {
                Operation::Disconnect
            }
            FAILED_CONNECT if rest & 0xff_ffff_ffff_ffff == FAILED_CONNECT_END => {
                Operation::FailedConnect
            }
            _ => {
                window.number(id_end + 1, query_end)?;
                // It ends with a comma.
                let is_use = Operation::of_table(&body[query_end + 1..word_end]).is_some();
                return (is_use && !object().is_empty() && end == object_end + 1)
                    .then(|| plain(Operation::Table, 0, end));
            }
        };
        // A query id of 0, and no object or that of a connection event.
        if window.word(id_end + 1) & 0xffff != u64::from(b'0') | u64::from(b',') << 8
            || object_end != database_end + 1 && !record::is_plain_object(object())
        {
            return None;
        }
        let retcode = error_number(&body[object_end + 1..end])?;
        Some(plain(operation, retcode, end))
    }
}

/// What stands behind the head of a line, and the eight bytes before it.
struct Window<'a>(&'a [u8; 8 + WINDOW + 8]);

/// Where the fields of a line end, counted from behind its head.
struct Fields {
    /// The commas; those that are missing stand at the window's end.
    at: [usize; 7],
    /// There are more than seven.
    more: bool,
    /// The line's end, or the window's.
    end: usize,
}

impl Window<'_> {
    /// In place of what does not end within so many bytes, for [`Window::near`].
    const NONE_NEAR: usize = 63;

    /// The fields, looked for in the first bytes only.
    #[inline(always)]
    fn near(&self) -> Fields {
        // So that there is always one.
        const LAST: u64 = 1 << Window::NONE_NEAR;
        let ends = self.find(0, b'\n') | LAST;
        // None that stand behind the end.
        let mut commas = self.find(0, b',') & (ends - 1) & !ends;
        let mut next = || {
            let at = (commas | LAST).trailing_zeros() as usize;
            commas &= commas.wrapping_sub(1);
            at
        };
        Fields {
            at: [next(), next(), next(), next(), next(), next(), next()],
            more: commas != 0,
            end: ends.trailing_zeros() as usize,
        }
    }

    /// The fields.
    #[inline(never)]
    fn far(&self) -> Fields {
        let find = |byte| u128::from(self.find(64, byte)) << 64 | u128::from(self.find(0, byte));
        let ends = find(b'\n');
        let mut commas = find(b',') & ends.wrapping_sub(1) & !ends;
        let mut next = || {
            let at = commas.trailing_zeros() as usize;
            commas &= commas.wrapping_sub(1);
            at
        };
        Fields {
            at: [next(), next(), next(), next(), next(), next(), next()],
            more: commas != 0,
            end: ends.trailing_zeros() as usize,
        }
    }

    /// One bit for each byte that equals `wanted`, of 64 from byte `from` on, the first one lowest.
    #[inline(always)]
    fn find(&self, from: usize, wanted: u8) -> u64 {
        let wanted = u8x16::splat(wanted);
        let (sixteens, _) = self.0[8 + from..8 + from + 64].as_chunks::<16>();
        let bits = |n: usize| u64::from(u8x16::from(sixteens[n]).simd_eq(wanted).to_bitmask());
        bits(0) | bits(1) << 16 | bits(2) << 32 | bits(3) << 48
    }

    /// Whether QUERY stands behind the comma at this byte.
    #[inline(always)]
    fn is_query(&self, comma: usize) -> bool {
        self.word(comma + 1) & 0xffff_ffff_ffff == QUERY
    }

    /// Eight bytes from byte `at` on, the first one lowest; `at` is less than [`WINDOW`].
    #[inline(always)]
    fn word(&self, at: usize) -> u64 {
        self.eight_bytes(8 + at % WINDOW)
    }

    #[inline(always)]
    fn eight_bytes(&self, at: usize) -> u64 {
        // They are always there: `at` is at most 8 + WINDOW.
        self.0[at..]
            .first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// A decimal number of 1 to 16 digits between these two bytes.
    #[inline(always)]
    fn number(&self, from: usize, to: usize) -> Option<u64> {
        match to - from {
            len @ 1..=8 => self.eight_digits(len, to),
            len @ 9..=16 => {
                let upper = self.eight_digits(len - 8, to - 8)?;
                Some(upper * 100_000_000 + self.eight_digits(8, to)?)
            }
            _ => None,
        }
    }

    /// The number whose last `len` digits, 1 to 8, end before byte `to`.
    #[inline(always)]
    fn eight_digits(&self, len: usize, to: usize) -> Option<u64> {
        let text = self.eight_bytes(to % WINDOW);
        // What stands before the number becomes zeros.
        let before = 8 * (8 - len);
        let digits = (text ^ 0x3030_3030_3030_3030) >> before << before;
        if (digits | digits.wrapping_add(0x7676_7676_7676_7676)) & 0x8080_8080_8080_8080 != 0 {
            return None;
        }
        // Neighbours are joined: pairs, then fours, then all eight.
        let pairs = digits.wrapping_mul(10) + (digits >> 8);
        let fours = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(100 + (1_000_000 << 32));
        let others = (pairs >> 16 & 0x0000_00ff_0000_00ff).wrapping_mul(1 + (10_000 << 32));
        Some((fours.wrapping_add(others)) >> 32)
    }
}

/// The error number of a statement, the comma before it, and where the line ends, counted from behind
/// its head. It ends at `end`, or not before.
#[inline(always)]
fn query(
    body: &[u8],
    word_end: usize,
    database_end: usize,
    end: usize,
) -> Option<(u16, usize, usize)> {
    let text = database_end + 1;
    // The parser of records looks for the first `,'`.
    if body[word_end + 1] == b'\'' || body[text] != b'\'' {
        return None;
    }
    let end = match end {
        ..Window::NONE_NEAR => end,
        from => from + memchr(b'\n', &body[from..])?,
    };
    let comma = match body.get(..end)?.last_chunk() {
        Some([b'\'', b',', _]) => end - 2,
        _ => {
            let digits = body[text..end].iter().rev().take(6);
            let digits = digits.take_while(|byte| byte.is_ascii_digit()).count();
            end.checked_sub(digits + 1)?
        }
    };
    if comma <= text || body[comma - 1..=comma] != *b"'," {
        return None;
    }
    Some((error_number(&body[comma + 1..end])?, comma, end))
}

/// `HH:MM:SS` in seconds; 60 is a leap second.
#[inline]
fn time_of_day(text: u64) -> Option<u32> {
    // All digits become numbers and both colons 0; anything else sets a bit of the upper half.
    let digits = text ^ u64::from_le_bytes(*b"00:00:00");
    let above_nine = u64::from_le_bytes([118, 118, 127, 118, 118, 127, 118, 118]);
    let above_nine = digits.wrapping_add(above_nine);
    if (digits | above_nine) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    let two = |at: u32| (digits >> (8 * at) & 15) * 10 + (digits >> (8 * at + 8) & 15);
    let [hour, minute, second] = [two(0) as u32, two(3) as u32, two(6) as u32];
    (hour <= 23 && minute <= 59 && second <= 60).then_some(hour * 3_600 + minute * 60 + second)
}

/// The server's error numbers have at most five digits, and are below 65,536. Nearly all are 0.
#[inline(always)]
fn error_number(digits: &[u8]) -> Option<u16> {
    match digits {
        [digit @ b'0'..=b'9'] => Some(u16::from(digit - b'0')),
        [_, _, ..] if digits.len() <= 5 => u16::try_from(record::number(digits)?).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is understood of a line that begins with a time of 19:04:51.
    fn read(line: &str) -> Option<String> {
        let bytes = [line.as_bytes(), b"\n", &[b','; SLACK]].concat();
        let plain = PlainLines::of(b"db1").read(&bytes, 0)?;
        assert_eq!((plain.end, plain.time), (line.len(), 1_795_374_291));
        let account = line[22..].get(..plain.account_len)?;
        Some(format!(
            "{:?} {account} ({}) {} {}{}",
            plain.operation,
            plain.username_len,
            plain.connectionid,
            plain.retcode,
            &line[plain.object.0..plain.object.1]
        ))
    }

    #[test]
    fn lines_of_the_common_form_are_plain() {
        let long = "x".repeat(100);
        for (line, expected) in [
            (
                "a,10.0.0.1,5,0,CONNECT,shop,,0",
                "Connect a,10.0.0.1 (1) 5 0",
            ),
            (",h,5,0,CONNECT,,TLSv1.3,0", "Connect ,h (0) 5 0"),
            (
                "a,::1:4081,5,0,DISCONNECT,,,0",
                "Disconnect a,::1:4081 (1) 5 0",
            ),
            (
                "a,h,1234567890123456,0,FAILED_CONNECT,,,1045",
                "FailedConnect a,h (1) 1234567890123456 1045",
            ),
            (
                "a,h,5,0,FAILED_CONNECT,,,65535",
                "FailedConnect a,h (1) 5 65535",
            ),
            (
                "a,h,12345678,99,READ,mysql,user,",
                "Table a,h (1) 12345678 0",
            ),
            ("a,h,5,11,QUERY,db,'x',0", "Query a,h (1) 5 0'x'"),
            ("a,h,5,11,QUERY,,'a,b,',1064", "Query a,h (1) 5 1064'a,b,'"),
            ("a,h,5,11,QUERY,,',0", "Query a,h (1) 5 0'"),
        ] {
            let line = format!("20261122 19:04:51,db1,{line}");
            assert_eq!(read(&line).as_deref(), Some(expected), "{line}");
        }
        for line in [
            format!("{},2001:db8::5,5,0,CONNECT,shop,,0", &long[..70]),
            format!("a,h,5,9,QUERY,db,'{long}{long},',1'',0"),
        ] {
            assert!(
                read(&format!("20261122 19:04:51,db1,{line}")).is_some(),
                "{line}"
            );
        }
    }

    #[test]
    fn what_names_may_hold_or_others_write_is_not() {
        for line in [
            // Another server, and one that begins alike.
            "20261122 19:04:51,db2,a,h,5,0,CONNECT,,,0",
            "20261122 19:04:51,db11,a,h,5,0,CONNECT,,,0",
            // No time, or in another form.
            "20261122 19:04:61,db1,a,h,5,0,CONNECT,,,0",
            "20261122 24:04:51,db1,a,h,5,0,CONNECT,,,0",
            "20261322 19:04:51,db1,a,h,5,0,CONNECT,,,0",
            "20261122T19:04:51,db1,a,h,5,0,CONNECT,,,0",
            "20261122 19:04:5x,db1,a,h,5,0,CONNECT,,,0",
            "\0\0\0\0\0\0\0\0 19:04:51,db1,a,h,5,0,CONNECT,,,0",
            "20261122 \0\0\0\0\0\0\0\0,db1,a,h,5,0,CONNECT,,,0",
            // A field more or less.
            "20261122 19:04:51,db1,a,b,h,5,0,CONNECT,,,0",
            "20261122 19:04:51,db1,h,5,0,CONNECT,,,0",
            "20261122 19:04:51,db1,a,h,5,0,CONNECT,s,t,,0",
            "20261122 19:04:51,db1,a,h,5,0,CONNECT,,0",
            // Fields that are none.
            "20261122 19:04:51,db1,a,,5,0,CONNECT,,,0",
            "20261122 19:04:51,db1,a,h,,0,CONNECT,,,0",
            "20261122 19:04:51,db1,a,h,5x,0,CONNECT,,,0",
            "20261122 19:04:51,db1,a,h,12345678901234567,0,CONNECT,,,0",
            "20261122 19:04:51,db1,a,h,5,1,CONNECT,,,0",
            "20261122 19:04:51,db1,a,h,5,0,CONNECTS,,,0",
            "20261122 19:04:51,db1,a,h,5,0,CONNECT,,'x',0",
            "20261122 19:04:51,db1,a,h,5,0,CONNECT,,,",
            "20261122 19:04:51,db1,a,h,5,0,CONNECT,,,x",
            "20261122 19:04:51,db1,a,h,5,0,CONNECT,,,+5",
            "20261122 19:04:51,db1,a,h,5,0,CONNECT,,,65536",
            "20261122 19:04:51,db1,a,h,5,0,CONNECT,,,000000",
            "20261122 19:04:51,db1,,,0,0,DISCONNECT,,,1040",
            "20261122 19:04:51,db1,a,h,0,0,DISCONNECT,,,0",
            "20261122 19:04:51,db1,,,5,0,CHANGEUSER,OO,,0",
            "20261122 19:04:51,db1,a,h,5,0,PROXY_CONNECT,s,`d`@`%`,0",
            // Statements whose text begins elsewhere, and none.
            "20261122 19:04:51,db1,a,h,5,11,QUERY,','x',0",
            "20261122 19:04:51,db1,a,h,5,11,QUERY,a,b,'x',0",
            "20261122 19:04:51,db1,a,h,5,11,QUERY,,x',0",
            "20261122 19:04:51,db1,a,h,5,11,QUERY,,'x',",
            "20261122 19:04:51,db1,a,h,5,x,QUERY,,'x',0",
            "20261122 19:04:51,db1,a,h,5,11,QUERY,,'x',0,,",
            "20261122 19:04:51,db1,a,h,5,11,READ,mysql,,",
            "20261122 19:04:51,db1,a,h,5,11,READ,mysql,user,0",
            "20261122 19:04:51,db1,a,h,5,x,READ,mysql,user,",
            "",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
        // Names that may be damaged ones, and a line that is too long.
        for name in [64, 65, 66, 132, 133] {
            let line = format!(
                "20261122 19:04:51,db1,{},h,5,0,CONNECT,,,0",
                "x".repeat(name)
            );
            assert_eq!(read(&line).is_some(), name == 64 || name == 66, "{name}");
        }
        for (len, is_plain) in [(LONGEST - 1, true), (LONGEST, false)] {
            let text = "x".repeat(len - 44);
            let line = format!("20261122 19:04:51,db1,a,h,5,11,QUERY,db,'{text}',0");
            assert_eq!((line.len(), read(&line).is_some()), (len, is_plain));
        }
        let too_few = b"20261122 19:04:51,db1,a,h,5,0,CONNECT,,,0\n";
        assert_eq!(PlainLines::of(b"db1").read(too_few, 0), None);
        assert_eq!(PlainLines::of(b"db1").read(too_few, 100), None);
    }

    #[test]
    fn each_day_and_a_long_name_of_the_server_are_understood() {
        let server = "a-host-whose-name-is-long.example.com";
        let mut lines = PlainLines::of(server.as_bytes());
        for (time, expected) in [
            ("20261122 19:04:51", 1_795_374_291),
            ("20261123 19:04:51", 1_795_460_691),
            ("20261123 00:00:60", 1_795_392_060),
            ("19700101 00:00:00", 0),
        ] {
            let text = format!("{time},{server},a,h,5,0,CONNECT,,,0\n");
            let bytes = [text.as_bytes(), &[0; SLACK]].concat();
            assert_eq!(
                lines.read(&bytes, 0).map(|line| line.time),
                Some(expected),
                "{time}"
            );
        }
        let other = format!("20261122 19:04:51,{server}x,a,h,5,0,CONNECT,,,0\n");
        let bytes = [other.as_bytes(), &[0; SLACK]].concat();
        assert_eq!(lines.read(&bytes, 0), None);
    }
}
