//! Audit records that went through syslog (`server_audit_output_type=syslog`), brought into the form
//! that they have in a file of the plugin.
//!
//! The plugin sends `info serverhost,username,…` without a time; the daemon puts time, host and
//! ident in front, in one of these shapes (rsyslog's templates, journalctl's output modes):
//!
//! ```text
//! Nov 22 19:10:57 db1 mysql-server_auditing:  db1,alice,…                        RFC 3164
//! 2026-11-22T19:10:57.021053+00:00 db1 mysql-server_auditing:  db1,alice,…       ISO
//! <14>1 2026-11-22T19:10:57.021053+00:00 db1 mysql-server_auditing - - -   db1,… RFC 5424
//! {"t":"2026-11-22T19:10:57.021053+00:00","tag":"mysql-server_auditing:","msg":"  db1,alice,…"}
//! ```
//!
//! Ident and info may hold spaces and commas. Control characters stand as `#012`; a user name that
//! really contains `#012` can't be told from one with a line break. Since the daemon escapes line
//! breaks, one line is one record, and a name can't forge another. But whoever may write to syslog
//! on the database host can write any record there.

use std::borrow::Cow;

use chrono::{DateTime, Datelike, NaiveDate};
use memchr::{memchr, memmem, memrchr};
use serde_json::Value;

use super::record::{self, Parsed};
use super::timestamp::{self, Stamp};

/// The ident that the plugin uses unless `server_audit_syslog_ident` says otherwise.
const IDENT: &[u8] = b"mysql-server_auditing";

/// rsyslog cuts messages (8 KB by default). No connection event is so long, so what is cut is a
/// statement, which tells nothing that is missed.
const CUT: usize = 2_048;

/// How a file's lines are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Written by the plugin itself.
    None,
    /// Written by a syslog daemon, or printed by journalctl.
    Syslog,
}

impl Framing {
    /// The framing in which some of the lines are audit records; none if no line is.
    pub fn of<'l>(lines: impl Iterator<Item = &'l [u8]> + Clone) -> Option<Self> {
        let is_record = |line: &[u8]| matches!(record::parse(line), Parsed::Record(_));
        if lines.clone().any(is_record) {
            return Some(Self::None);
        }
        let mut unframer = Unframer::new(0, None);
        lines
            .into_iter()
            .any(|line| unframer.unframe(line).is_some_and(|line| is_record(&line)))
            .then_some(Self::Syslog)
    }
}

/// A line without its frame.
struct Frame<'l> {
    stamp: Stamp,
    /// What the daemon calls this host; empty where the line does not say.
    hostname: &'l [u8],
    /// ` info serverhost,username,…`
    message: Cow<'l, [u8]>,
}

/// Takes the frame off lines of one file, in their order.
#[derive(Clone, Debug)]
pub struct Unframer {
    /// When the file was written last, in seconds since 1970 of any clock: RFC 3164 has no year.
    written: i64,
    /// Time of the line before.
    last: Option<i64>,
}

impl Unframer {
    /// For a file that was written at `written` (UTC seconds); `last` is the time of the last record
    /// that was read from it before.
    pub fn new(written: i64, last: Option<i64>) -> Self {
        Self { written, last }
    }

    /// The record as the plugin would have written it into a file; none if the line is another
    /// program's.
    pub fn unframe(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        let Frame {
            stamp,
            hostname,
            message,
        } = self.frame(line)?;
        let message = unescape(&message);
        let start = serverhost(&message, hostname)?;
        let mut out = match stamp {
            Stamp::Utc(at) => format!("{:010},", at.0),
            Stamp::Local(local) => {
                let time = DateTime::from_timestamp(local, 0)?.naive_utc();
                format!("{},", time.format("%Y%m%d %H:%M:%S"))
            }
        }
        .into_bytes();
        out.extend_from_slice(&message[start..]);
        match record::parse(&out) {
            Parsed::Record(_) => Some(out),
            _ if out.len() > CUT => None,
            // Of the plugin, and not understood: say so. Of another program: not ours.
            _ if memmem::find(line, IDENT).is_some() => Some(out),
            _ => None,
        }
    }

    /// Whether a daemon wrote this line, for whatever program.
    pub fn is_framed(&mut self, line: &[u8]) -> bool {
        self.frame(line).is_some()
    }

    fn frame<'l>(&mut self, line: &'l [u8]) -> Option<Frame<'l>> {
        match line.first()? {
            b'{' => json(line),
            b'<' => rfc5424(line),
            byte if byte.is_ascii_digit() => iso(line),
            _ => self.rfc3164(line),
        }
    }

    /// `Mmm dd hh:mm:ss host ident[pid]: message`
    fn rfc3164<'l>(&mut self, line: &'l [u8]) -> Option<Frame<'l>> {
        const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
        let month = line.get(..3)?;
        let month = MONTHS.chunks(3).position(|name| name == month)? as u32 + 1;
        let text = std::str::from_utf8(line.get(3..15)?).ok()?;
        let (day, time) = text.strip_prefix(' ')?.split_at_checked(3)?;
        let day: u32 = day.trim().parse().ok()?;
        let mut parts = time.splitn(3, ':').map(|part| part.parse::<i64>().ok());
        let seconds = parts.next()?? * 3_600 + parts.next()?? * 60 + parts.next()??;
        let rest = line.get(15..)?.strip_prefix(b" ")?;
        let (hostname, rest) = word(rest)?;
        let local = self.with_year(month, day, seconds)?;
        Some(Frame {
            stamp: Stamp::Local(local),
            hostname,
            message: Cow::Borrowed(behind_ident(rest)?),
        })
    }

    /// The latest year that does not lie behind the file's own time; then the order of the lines
    /// tells when a year has passed.
    fn with_year(&mut self, month: u32, day: u32, seconds: i64) -> Option<i64> {
        const DAY: i64 = 86_400;
        let in_year = |year: i32| {
            let date = NaiveDate::from_ymd_opt(year, month, day)?;
            Some(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp() + seconds)
        };
        let newest = DateTime::from_timestamp(self.written + DAY, 0)?;
        // 1972 had a 29 February: where the file's time is not known it stands for any year.
        let latest = (1970..=newest.year().max(1972))
            .rev()
            .filter_map(in_year)
            .find(|at| self.written == 0 || *at <= self.written + DAY)?;
        let at = match self.last {
            // Lines are more or less in order: of the years that are possible, the nearest.
            Some(last) => {
                let year = DateTime::from_timestamp(last, 0)?.year();
                (year - 1..=year + 1)
                    .filter_map(in_year)
                    .filter(|at| *at <= latest)
                    .min_by_key(|at| (at - last).abs())
                    .unwrap_or(latest)
            }
            None => latest,
        };
        self.last = Some(at);
        Some(at)
    }
}

/// `2026-11-22T19:10:57.021053+00:00 host ident[pid]: message`
fn iso(line: &[u8]) -> Option<Frame<'_>> {
    let (stamp, rest) = word(line)?;
    let (hostname, rest) = word(rest)?;
    Some(Frame {
        stamp: time(stamp)?,
        hostname,
        message: Cow::Borrowed(behind_ident(rest)?),
    })
}

/// `<PRI>1 time host ident pid msgid structured-data message`
fn rfc5424(line: &[u8]) -> Option<Frame<'_>> {
    let rest = &line[memchr(b'>', line)? + 1..];
    let rest = rest.strip_prefix(b"1 ")?;
    let (stamp, rest) = word(rest)?;
    let (hostname, rest) = word(rest)?;
    let (_ident, rest) = word(rest)?;
    let (_pid, rest) = word(rest)?;
    let (_msgid, rest) = word(rest)?;
    let data_end = match rest.first()? {
        b'[' => memmem::find(rest, b"] ")? + 1,
        _ => memchr(b' ', rest)?,
    };
    Some(Frame {
        stamp: time(stamp)?,
        hostname,
        message: Cow::Borrowed(&rest[data_end..]),
    })
}

/// An object a line: rsyslog's JSON templates, `journalctl -o json`.
fn json(line: &[u8]) -> Option<Frame<'_>> {
    let Value::Object(fields) = serde_json::from_slice(line).ok()? else {
        return None;
    };
    let first = |names: &[&str]| names.iter().find_map(|name| fields.get(*name)).cloned();
    let stamp = first(&[
        "t",
        "time",
        "timestamp",
        "@timestamp",
        "timereported",
        "timegenerated",
        "date",
        "__REALTIME_TIMESTAMP",
    ])?;
    let stamp = match &stamp {
        Value::String(text) => time(text.as_bytes())?,
        Value::Number(number) => time(number.to_string().as_bytes())?,
        _ => return None,
    };
    let message = match first(&["msg", "message", "MESSAGE"])? {
        Value::String(text) => text.into_bytes(),
        // journalctl writes bytes that are not UTF-8 as numbers.
        Value::Array(bytes) => bytes
            .iter()
            .map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok()))
            .collect::<Option<_>>()?,
        _ => return None,
    };
    // The message of a template may begin with the tag.
    let message = match behind_ident(&message) {
        Some(rest) if message.starts_with(IDENT) => rest.to_vec(),
        _ => message,
    };
    Some(Frame {
        stamp,
        hostname: b"",
        message: Cow::Owned(message),
    })
}

fn time(text: &[u8]) -> Option<Stamp> {
    let mut line = text.to_vec();
    line.push(b',');
    timestamp::parse(&line).map(|(stamp, _)| stamp)
}

fn word(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = memchr(b' ', line)?;
    Some((&line[..space], &line[space + 1..]))
}

/// What stands behind `ident: `, with the blank that separates info and record.
fn behind_ident(rest: &[u8]) -> Option<&[u8]> {
    let colon = memmem::find(rest, b": ")?;
    Some(&rest[colon + 1..])
}

/// Where the record begins in ` info serverhost,username,…`.
fn serverhost(message: &[u8], hostname: &[u8]) -> Option<usize> {
    if !hostname.is_empty() {
        // The server and the daemon ask the same system for the host's name.
        let mut pattern = vec![b' '];
        pattern.extend_from_slice(hostname);
        pattern.push(b',');
        if let Some(at) = memmem::find(message, &pattern) {
            return Some(at + 1);
        }
    }
    let comma = memchr(b',', message)?;
    let space = memrchr(b' ', &message[..comma])?;
    (comma > space + 1).then_some(space + 1)
}

/// `#ooo` of control characters back into bytes.
fn unescape(message: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'#', message).is_none() {
        return Cow::Borrowed(message);
    }
    let mut out = Vec::with_capacity(message.len());
    let mut rest = message;
    while let Some(hash) = memchr(b'#', rest) {
        out.extend_from_slice(&rest[..hash]);
        let code = rest
            .get(hash + 1..hash + 4)
            .filter(|digits| digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        let byte = code.map(|d| {
            u32::from(d[0] - b'0') * 64 + u32::from(d[1] - b'0') * 8 + u32::from(d[2] - b'0')
        });
        match byte {
            Some(byte) if byte < 0x20 || byte == 0x7f => {
                out.push(byte as u8);
                rest = &rest[hash + 4..];
            }
            _ => {
                out.push(b'#');
                rest = &rest[hash + 1..];
            }
        }
    }
    out.extend_from_slice(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unframed(line: &str) -> Option<String> {
        // 2026-11-22 20:00:00 UTC
        Unframer::new(1_795_377_600, None)
            .unframe(line.as_bytes())
            .map(|line| String::from_utf8(line).unwrap())
    }

    #[test]
    fn every_frame_gives_the_record() {
        let record = "db1,a,b,192.0.2.66,5,0,CONNECT,shop,,0";
        for line in [
            format!("2026-11-22T19:10:57.021053+00:00 db1 mysql-server_auditing:  {record}"),
            format!("2026-11-22T20:10:57+0100 db1 mysql-server_auditing[77]:  {record}"),
            format!(
                "<14>1 2026-11-22T19:10:57.021053+00:00 db1 mysql-server_auditing - - -   {record}"
            ),
            format!(
                "{{\"t\":\"2026-11-22T19:10:57.021053+00:00\",\"tag\":\"x\",\"msg\":\"  {record}\"}}"
            ),
            format!("{{\"__REALTIME_TIMESTAMP\":\"1795374657021053\",\"MESSAGE\":\" {record}\"}}"),
            format!("2026-11-22T19:10:57Z db1 my ident, two: an info, with commas {record}"),
        ] {
            assert_eq!(
                unframed(&line),
                Some(format!("1795374657,{record}")),
                "{line}"
            );
        }
        let line = format!("Nov 22 19:10:57 db1 mysql-server_auditing:  {record}");
        assert_eq!(unframed(&line), Some(format!("20261122 19:10:57,{record}")));
    }

    #[test]
    fn a_frame_has_host_and_message() {
        for (line, hostname, message) in [
            ("Nov 22 19:10:57 db1 x[1]: i db1,a", "db1", " i db1,a"),
            ("2026-11-22T19:10:57Z db1 x: i db1,a", "db1", " i db1,a"),
            (
                "<14>1 2026-11-22T19:10:57Z db1 x - - -  i db1,a",
                "db1",
                "  i db1,a",
            ),
            (
                "<14>1 2026-11-22T19:10:57Z db1 x - - [a b=\"c d\"]  i db1,a",
                "db1",
                "  i db1,a",
            ),
            (
                "{\"t\":1795374657,\"msg\":\"x: i db1,a\"}",
                "",
                "x: i db1,a",
            ),
            (
                "{\"t\":\"1795374657\",\"msg\":\"mysql-server_auditing: i db1,a\"}",
                "",
                " i db1,a",
            ),
            ("{\"t\":\"1795374657\",\"msg\":[32, 100, 44]}", "", " d,"),
        ] {
            let mut unframer = Unframer::new(1_795_377_600, None);
            assert!(unframer.is_framed(line.as_bytes()));
            let frame = unframer.frame(line.as_bytes()).unwrap();
            let found = [frame.hostname, &frame.message].map(String::from_utf8_lossy);
            assert_eq!(found, [hostname, message], "{line}");
        }
    }

    #[test]
    fn lines_of_which_some_are_records_have_a_framing() {
        let plain = "20261122 19:10:57,db1,a,h,5,0,CONNECT,,,0";
        let framed = "2026-11-22T19:10:57Z db1 x:  db1,a,h,5,0,CONNECT,,,0";
        for (lines, expected) in [
            (["x", "y"], None),
            (["x", plain], Some(Framing::None)),
            ([framed, "y"], Some(Framing::Syslog)),
        ] {
            assert_eq!(
                Framing::of(lines.iter().map(|line| line.as_bytes())),
                expected
            );
        }
        assert!(!Unframer::new(0, None).is_framed(plain.as_bytes()));
    }

    #[test]
    fn what_the_plugin_wrote_and_is_not_understood_is_told_unless_it_was_cut() {
        for (len, told) in [(30, true), (2_048, true), (2_049, false)] {
            let expected = format!("1795374657,db1,{}", "x".repeat(len - 15));
            let line = format!(
                "2026-11-22T19:10:57Z db1 mysql-server_auditing:  {}",
                &expected[11..]
            );
            assert_eq!(unframed(&line), told.then_some(expected));
        }
        let nameless = "2026-11-22T19:10:57Z h mysql-server_auditing:  ,a,h,5,0,CONNECT,,,0";
        assert_eq!(unframed(nameless), None);
    }

    #[test]
    fn lines_of_other_programs_are_none() {
        for line in [
            "Nov 22 19:10:56 db1 cron: noise 1,2,0,CONNECT,,,0",
            "2026-11-22T19:10:56.8+00:00 db1 rsyslogd: [origin software=\"rsyslogd\"] start",
            "{\"t\":\"2026-11-22T19:10:56Z\",\"msg\":\"x\"}",
            "   continued",
            "",
        ] {
            assert_eq!(unframed(line), None, "{line}");
        }
    }

    #[test]
    fn line_breaks_come_back() {
        let line =
            "Nov 22 19:10:57 db1 mysql-server_auditing:  db1,x#012y#,h,9,0,FAILED_CONNECT,,,1045";
        assert_eq!(
            unframed(line).unwrap(),
            "20261122 19:10:57,db1,x\ny#,h,9,0,FAILED_CONNECT,,,1045"
        );
        let codes = unescape(b"#000#037#177|#040#176#200#277#018#1");
        assert_eq!(&codes[..], b"\x00\x1f\x7f|#040#176#200#277#018#1");
    }

    #[test]
    fn the_year_comes_from_the_file_and_the_order() {
        // The file was written last on 2026-01-02.
        let mut unframer = Unframer::new(1_767_312_000, None);
        let mut year = |date: &str| {
            let line =
                format!("{date} 12:00:00 db1 mysql-server_auditing:  db1,a,h,1,0,CONNECT,,,0");
            unframer.unframe(line.as_bytes()).unwrap()[..8].to_vec()
        };
        assert_eq!(year("Nov 30"), b"20251130");
        assert_eq!(year("Dec 31"), b"20251231");
        assert_eq!(year("Jan  1"), b"20260101");
        assert_eq!(year("Dec 31"), b"20251231");
        assert_eq!(year("Jan  2"), b"20260102");
        // By what was read before, and by a clock that is ahead of UTC.
        let (new_year, day) = (1_767_225_600, 86_400);
        for (written, last, date, expected) in [
            (new_year + 364 * day, Some(new_year), "Dec 31", "20251231"),
            (new_year - 1, None, "Jan  1", "20260101"),
        ] {
            let mut unframer = Unframer::new(written, last);
            let line = format!("{date} 00:00:00 db1 x:  db1,a,h,1,0,CONNECT,,,0");
            let found = unframer.unframe(line.as_bytes()).unwrap();
            assert!(found.starts_with(expected.as_bytes()), "{date}");
        }
    }

    #[test]
    fn the_29th_of_february_is_read_whenever_the_file_was_written() {
        let line = "Feb 29 00:00:00 db1 x:  db1,a,h,1,0,CONNECT,,,0";
        // From 10 January of 2025 to that of 2028.
        for written in [1_736_467_200, 1_768_003_200, 1_799_539_200, 1_831_075_200] {
            for last in [None, Some(1_709_078_400)] {
                let found = Unframer::new(written, last).unframe(line.as_bytes());
                assert_eq!(found.unwrap()[..8], *b"20240229", "{written}");
            }
        }
        assert_eq!(
            Framing::of([line.as_bytes()].into_iter()),
            Some(Framing::Syslog)
        );
    }
}
