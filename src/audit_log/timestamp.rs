//! The time at the front of a record, and the instant that it means.
//!
//! The server writes its local time without a zone (the TZ of its process, not SQL's `time_zone`),
//! so an instant needs the zone's rules, and in the hour that autumn repeats it needs the order of
//! the log: see [`Clock`].

use chrono::NaiveDate;

use crate::time::{UtcSeconds, Zone};

/// The time of a record as it stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// A wall clock's time, in seconds since 1970-01-01 00:00:00 *of that clock*.
    Local(i64),
    /// An instant: the text said its offset, or counts from 1970 UTC.
    Utc(UtcSeconds),
}

impl Stamp {
    /// Seconds for comparing stamps of one log that are close to each other.
    pub fn seconds(self) -> i64 {
        match self {
            Self::Local(seconds) | Self::Utc(UtcSeconds(seconds)) => seconds,
        }
    }
}

/// The stamp that `line` begins with and the length of its text, up to the comma behind it.
///
/// Understood: `20261122 19:04:51` (the default), the same with `-`, `/` or `.` in the date, `T`
/// for the blank, a fraction and an offset behind (`server_audit_timestamp_format`), and counts of
/// 10, 13, 16 or 19 digits since 1970 UTC in seconds down to nanoseconds (Aurora: microseconds).
pub fn parse(line: &[u8]) -> Option<(Stamp, usize)> {
    if let Some(stamp) = parse_default(line) {
        return Some((stamp, 17));
    }
    let end = memchr::memchr(b',', &line[..line.len().min(40)])?;
    parse_other(&line[..end]).map(|stamp| (stamp, end))
}

/// `YYYYMMDD HH:MM:SS,`
fn parse_default(line: &[u8]) -> Option<Stamp> {
    let text: &[u8; 18] = line.first_chunk()?;
    if text[8] != b' ' || text[11] != b':' || text[14] != b':' || text[17] != b',' {
        return None;
    }
    Some(Stamp::Local(wall_clock(
        digits(&text[..4])?,
        digits(&text[4..6])?,
        digits(&text[6..8])?,
        digits(&text[9..11])?,
        digits(&text[12..14])?,
        digits(&text[15..17])?,
    )?))
}

fn parse_other(text: &[u8]) -> Option<Stamp> {
    if text.iter().all(u8::is_ascii_digit) {
        let count = digits(text)?;
        let seconds = match text.len() {
            10 => count,
            13 => count / 1_000,
            16 => count / 1_000_000,
            19 => count / 1_000_000_000,
            _ => return None,
        };
        return Some(Stamp::Utc(UtcSeconds(seconds)));
    }
    let mut rest = text;
    let year = take(&mut rest, 4)?;
    let separator = take_if(&mut rest, b"-/.");
    let month = take(&mut rest, 2)?;
    if let Some(separator) = separator {
        rest = rest.strip_prefix(&[separator])?;
    }
    let day = take(&mut rest, 2)?;
    take_if(&mut rest, b" T")?;
    let hour = take(&mut rest, 2)?;
    rest = rest.strip_prefix(b":")?;
    let minute = take(&mut rest, 2)?;
    rest = rest.strip_prefix(b":")?;
    let second = take(&mut rest, 2)?;
    let local = wall_clock(year, month, day, hour, minute, second)?;
    if let Some(fraction) = rest.strip_prefix(b".") {
        let len = fraction
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if !(1..=9).contains(&len) {
            return None;
        }
        rest = &fraction[len..];
    }
    match rest {
        b"" => Some(Stamp::Local(local)),
        b"Z" => Some(Stamp::Utc(UtcSeconds(local))),
        [sign @ (b'+' | b'-'), offset @ ..] => {
            let (hours, minutes) = match offset {
                [hours @ .., b':', _, _] if hours.len() == 2 => {
                    (digits(hours)?, digits(&offset[3..])?)
                }
                _ if offset.len() == 4 => (digits(&offset[..2])?, digits(&offset[2..])?),
                _ => return None,
            };
            let seconds = hours * 3_600 + minutes * 60;
            let seconds = if *sign == b'-' { -seconds } else { seconds };
            Some(Stamp::Utc(UtcSeconds(local - seconds)))
        }
        _ => None,
    }
}

fn take(rest: &mut &[u8], len: usize) -> Option<i64> {
    let (text, behind) = rest.split_at_checked(len)?;
    *rest = behind;
    digits(text)
}

fn take_if(rest: &mut &[u8], one_of: &[u8]) -> Option<u8> {
    let first = *rest.first()?;
    one_of.contains(&first).then(|| {
        *rest = &rest[1..];
        first
    })
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0_i64, |sum, byte| match byte {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(i64::from(byte - b'0')),
        _ => None,
    })
}

fn wall_clock(year: i64, month: i64, day: i64, hour: i64, minute: i64, second: i64) -> Option<i64> {
    // 60: a leap second.
    if year < 1970 || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(year as i32, month as u32, day as u32)?;
    let days = date.signed_duration_since(NaiveDate::default()).num_days();
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// How far records of parallel connections may be out of order in time, in seconds.
pub(super) const DISORDER: i64 = 10;

/// Turns stamps into instants, in the order of the log.
#[derive(Clone, Debug)]
pub struct Clock {
    zone: Zone,
    /// The instant of the record before.
    last: Option<UtcSeconds>,
    /// A span of local time without a change of offset: (from, to, offset), in seconds.
    steady: (i64, i64, i64),
}

impl Clock {
    /// A clock for a server in `zone`; `last` is the instant of the last record read before.
    pub fn new(zone: Zone, last: Option<UtcSeconds>) -> Self {
        Self {
            zone,
            last,
            steady: (0, 0, 0),
        }
    }

    /// The instant of the last record, to carry on from in the next run.
    pub fn last(&self) -> Option<UtcSeconds> {
        self.last
    }

    /// The instant that `stamp` means, given that its record follows the ones before.
    ///
    /// A local time that exists twice (end of daylight saving time) is the earlier of the two as
    /// long as that does not run backwards against the record before, else the later: the log is
    /// written in order, so file order decides and not the greater text. A local time that does not
    /// exist (its beginning) is read with the offset that held before: the zone is not the server's,
    /// or somebody set the clock, and this keeps the order.
    pub fn instant(&mut self, stamp: Stamp) -> UtcSeconds {
        let instant = self.peek(stamp);
        self.follow(instant);
        instant
    }

    /// A record of this instant stands in the log.
    pub fn follow(&mut self, instant: UtcSeconds) {
        self.last = Some(instant);
    }

    /// The same without remembering it: for records that are not written in order of time.
    #[inline]
    pub fn peek(&mut self, stamp: Stamp) -> UtcSeconds {
        let local = match stamp {
            Stamp::Utc(instant) => return instant,
            Stamp::Local(local) => local,
        };
        let (from, to, offset) = self.steady;
        if (from..to).contains(&local) {
            return UtcSeconds(local - offset);
        }
        let (earlier, later) = offsets(&self.zone, local);
        if earlier == later {
            self.remember_steady(local, earlier);
            return UtcSeconds(local - earlier);
        }
        let first = UtcSeconds(local - earlier);
        match self.last {
            Some(last) if first.0 < last.0 - DISORDER => UtcSeconds(local - later),
            _ => first,
        }
    }

    /// Quarter hours, since all changes of offset in the IANA database's recent past begin at one.
    fn remember_steady(&mut self, local: i64, offset: i64) {
        let from = local - local.rem_euclid(900);
        let ends = [from, from + 899];
        if ends
            .iter()
            .all(|end| offsets(&self.zone, *end) == (offset, offset))
        {
            self.steady = (from, from + 900, offset);
        }
    }
}

/// Whether a clock in `zone` shows this local time twice.
pub fn is_repeated(zone: &Zone, local: i64) -> bool {
    let (earlier, later) = offsets(zone, local);
    earlier != later
}

/// Whether more than so many seconds lie between two stamps of one log, for certain: a clock that is
/// set forward in spring shows an hour too much, and of the hour that autumn repeats it is not known
/// which one is meant.
pub fn is_over(zone: &Zone, from: Stamp, to: Stamp, seconds: i64) -> bool {
    let utc = |stamp| match stamp {
        Stamp::Local(local) => local - offsets(zone, local).0,
        Stamp::Utc(at) => at.0,
    };
    to.seconds() - from.seconds() > seconds && utc(to) - utc(from) > seconds
}

/// The two offsets (seconds east of UTC) that a local time may have, the earlier instant's first;
/// twice the same where there is no doubt.
fn offsets(zone: &Zone, local: i64) -> (i64, i64) {
    // No zone is as far from UTC, and since 1970 none has changed its offset twice within two days.
    const DAY: i64 = 86_400;
    let offset_at = |at: i64| i64::from(zone.offset(UtcSeconds(at)));
    let (before, after) = (offset_at(local - DAY), offset_at(local + DAY));
    let is_shown = |offset: i64| offset_at(local - offset) == offset;
    match (is_shown(before), is_shown(after)) {
        (true, true) => (before.max(after), before.min(after)),
        (false, true) => (after, after),
        // No clock shows it if neither.
        (_, false) => (before, before),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(text: &str) -> Stamp {
        parse(format!("{text},").as_bytes()).unwrap().0
    }

    #[test]
    fn understands_the_documented_formats() {
        let utc = |seconds| Stamp::Utc(UtcSeconds(seconds));
        assert_eq!(local("20261122 19:04:51"), Stamp::Local(1_795_374_291));
        assert_eq!(local("2026-11-22 19:04:51"), Stamp::Local(1_795_374_291));
        assert_eq!(
            local("2026/11/22T19:04:51.123"),
            Stamp::Local(1_795_374_291)
        );
        assert_eq!(local("20231207T13:14:28.481161+0100"), utc(1_701_951_268));
        assert_eq!(local("2023-12-07T12:14:28Z"), utc(1_701_951_268));
        assert_eq!(local("2023-12-07T12:14:28-00:30"), utc(1_701_953_068));
        for count in [
            "1536652826",
            "1536652826127",
            "1536652826127350",
            "1536652826127350999",
        ] {
            assert_eq!(local(count), utc(1_536_652_826));
        }
        assert_eq!(local("19700101 00:00:60"), Stamp::Local(60));
        assert_eq!(local("20261122 23:59:59"), Stamp::Local(1_795_391_999));
        assert_eq!(local("20261122 19:04:51Z"), utc(1_795_374_291));
        for bad in [
            "",
            "20261322 19:04:51",
            "20261122 24:04:51",
            "20261122",
            "12345",
            "2026-11/22 19:04:51",
            "20261122 19:04:51 x",
            "20261122x19:04:51",
            "20261122 19x04:51",
            "20261122 19:04x51",
            "19691231 23:59:59",
            "20261122 19:60:51",
            "20261122 19:04:61",
            "20261122 19:04:51+1:00",
            "20261122 19:04:51+001:00",
            "20261122 19:04:51+01",
            "20261122 19:04:51+01000",
        ] {
            assert_eq!(parse(format!("{bad},").as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn the_order_of_the_log_decides_in_the_repeated_hour() {
        let mut clock = Clock::new(Zone::parse("Europe/Zurich").unwrap(), None);
        let times: Vec<i64> = [
            "02:59:57", "02:59:59", "02:59:58", "02:00:02", "02:30:00", "03:00:00",
        ]
        .iter()
        .map(|time| clock.instant(local(&format!("20261025 {time}"))).0)
        .collect();
        // 2026-10-25 01:00:00 UTC is when the hour begins again.
        let again = 1_792_890_000;
        assert_eq!(
            times,
            [
                again - 3,
                again - 1,
                again - 2,
                again + 2,
                again + 1_800,
                again + 3_600
            ]
        );
    }

    #[test]
    fn records_are_out_of_order_by_ten_seconds_at_most() {
        // Ten seconds before the end of the earlier of the two hours, and eleven.
        for (time, expected) in [("02:59:49", -11), ("02:59:48", 3_588)] {
            let mut clock = Clock::new(Zone::parse("Europe/Zurich").unwrap(), None);
            clock.instant(local("20261025 02:59:59"));
            let at = clock.instant(local(&format!("20261025 {time}")));
            assert_eq!(at.0 - 1_792_890_000, expected, "{time}");
            assert_eq!(clock.last(), Some(at));
        }
    }

    #[test]
    fn a_quarter_of_an_hour_without_a_change_is_remembered() {
        let mut clock = Clock::new(Zone::parse("Europe/Zurich").unwrap(), None);
        for (time, from, offset) in [
            ("20261122 19:04:51", "20261122 19:00:00", 3_600),
            ("20261122 19:14:59", "20261122 19:00:00", 3_600),
            ("20260722 19:15:00", "20260722 19:15:00", 7_200),
            // Of the hour that is repeated it is not known.
            ("20261025 02:04:51", "20260722 19:15:00", 7_200),
        ] {
            let first = clock.peek(local(time));
            let from = local(from).seconds();
            assert_eq!(clock.steady, (from, from + 900, offset), "{time}");
            assert_eq!(clock.peek(local(time)), first);
        }
        // Kiritimati went from 10:40 to 10:00 behind UTC: the change is in the midst of a quarter.
        let mut clock = Clock::new(Zone::parse("Pacific/Kiritimati").unwrap(), None);
        let midnight = local("19791001 00:00:00").seconds() + 38_400;
        for (time, expected) in [("00:35:00", 2_100), ("00:41:00", 60)] {
            let at = clock.instant(local(&format!("19791001 {time}")));
            assert_eq!(at.0 - midnight, expected, "{time}");
        }
    }

    #[test]
    fn a_span_is_over_for_certain() {
        let over = |from: &str, to: &str, seconds| {
            let zone = Zone::parse("Europe/Zurich").unwrap();
            is_over(&zone, local(from), local(to), seconds)
        };
        // In spring the clock shows an hour too much.
        assert!(!over("20260329 01:59:59", "20260329 03:00:29", 30));
        assert!(over("20260329 01:59:59", "20260329 03:00:30", 30));
        // In autumn it may be half an hour or one and a half.
        assert!(!over("20261025 02:30:00", "20261025 03:00:00", 1_800));
        assert!(over("20261025 02:30:00", "20261025 03:00:00", 1_799));
    }

    #[test]
    fn the_repeated_hour_is_told_across_a_run() {
        let zone = Zone::parse("Europe/Zurich").unwrap();
        let mut clock = Clock::new(zone, Some(UtcSeconds(1_792_890_000 - 3)));
        assert_eq!(clock.instant(local("20261025 02:00:02")).0, 1_792_890_002);
    }

    #[test]
    fn an_hour_that_does_not_exist_keeps_the_order() {
        let mut clock = Clock::new(Zone::parse("Europe/Zurich").unwrap(), None);
        let before = clock.instant(local("20260329 01:59:59")).0;
        let missing = clock.instant(local("20260329 02:00:01")).0;
        let after = clock.instant(local("20260329 03:00:01")).0;
        assert_eq!((missing - before, after - before), (2, 2));
        // London was on summer time throughout 1970.
        let mut clock = Clock::new(Zone::parse("Europe/London").unwrap(), None);
        let before = clock.instant(local("20260329 00:59:59")).0;
        assert_eq!(clock.instant(local("20260329 01:00:01")).0 - before, 2);
    }

    /// Around each change of each zone's clocks from 1970 to 2021, against another library. Its edition of
    /// the IANA database does not know how clocks are set in Moldova since 2022.
    #[test]
    fn local_times_have_the_offsets_that_others_know() {
        use chrono::{DateTime, MappedLocalTime, Offset, TimeZone};
        let mut changes = 0;
        for other in chrono_tz::TZ_VARIANTS {
            let Some(zone) = Zone::parse(other.name()) else {
                panic!("{other} is not known");
            };
            let naive = |at: i64| DateTime::from_timestamp(at, 0).unwrap().naive_utc();
            let seconds = |offset: chrono_tz::TzOffset| i64::from(offset.fix().local_minus_utc());
            let utc = |at: i64| seconds(other.offset_from_utc_datetime(&naive(at)));
            let days = (0..1_640_995_200).step_by(86_400);
            for day in days.filter(|day| utc(*day) != utc(day + 86_400)) {
                changes += 1;
                for local in (day - 90_000..day + 180_000).step_by(1_800) {
                    let before = utc(local - 86_400);
                    let expected = match other.offset_from_local_datetime(&naive(local)) {
                        MappedLocalTime::Single(only) => (seconds(only), seconds(only)),
                        MappedLocalTime::Ambiguous(one, two) => {
                            let (one, two) = (seconds(one), seconds(two));
                            (one.max(two), one.min(two))
                        }
                        MappedLocalTime::None => (before, before),
                    };
                    assert_eq!(offsets(&zone, local), expected, "{other} {local}");
                }
            }
        }
        assert!(changes > 10_000, "{changes}");
    }
}
