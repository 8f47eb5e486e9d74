//! Instants, spans and time zones, as the rest of the program needs them.
//!
//! Inside, a time is always [`UtcSeconds`]; a zone matters only where the log is read
//! ([`crate::audit_log::timestamp`]) and where a table for people is printed.

use std::fmt;
use std::path::Path;

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, Offset, Timelike, Utc};
use serde::{Deserialize, Serialize};
use tz::{LocalTimeType, TimeZoneRef};

/// Seconds since 1970-01-01 00:00:00 UTC, leap seconds not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UtcSeconds(pub i64);

impl UtcSeconds {
    /// The machine's clock.
    pub fn now() -> Self {
        Self(Utc::now().timestamp())
    }

    /// `2026-11-20T14:23:01Z` (RFC 3339).
    pub fn rfc3339(self) -> String {
        self.stamp('T', "Z")
    }

    /// `2026-11-20 14:23:01+00:00`, as SQLite holds it: text order is time order.
    pub fn sql(self) -> String {
        self.stamp(' ', "+00:00")
    }

    /// The reverse of [`UtcSeconds::sql`]; `None` for any other text.
    pub fn from_sql(text: &str) -> Option<Self> {
        // Chrono's parser takes many times as long, and a list of accounts holds three times a row.
        if let Some(naive) = parse_four_digit_year(text) {
            return Some(Self(naive.and_utc().timestamp()));
        }
        let naive = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S+00:00").ok()?;
        Some(Self(naive.and_utc().timestamp()))
    }

    /// Date, `separator`, time, `end`; digit by digit, for chrono's formatter is slow.
    fn stamp(self, separator: char, end: &str) -> String {
        // Without its zone: with it, chrono adds an offset of 0 for each field that is asked for.
        let at = self.utc().naive_utc();
        if !(0..=9999).contains(&at.year()) {
            return at
                .format(&format!("%Y-%m-%d{separator}%H:%M:%S{end}"))
                .to_string();
        }
        let mut out = String::with_capacity(25);
        let mut two = |number: u32, after: &str| {
            for digit in [number / 10, number % 10] {
                out.push(char::from_digit(digit, 10).unwrap_or('0'));
            }
            out.push_str(after);
        };
        let year = at.year().unsigned_abs();
        two(year / 100, "");
        two(year % 100, "-");
        two(at.month(), "-");
        two(at.day(), separator.encode_utf8(&mut [0; 4]));
        two(at.hour(), ":");
        two(at.minute(), ":");
        two(at.second(), end);
        out
    }

    /// The time in `zone` with its offset, for a person: `2026-11-20 15:23:01 +01:00`.
    pub fn local(self, zone: &Zone) -> String {
        zone.at(self).format("%Y-%m-%d %H:%M:%S %:z").to_string()
    }

    /// The same to the minute and without the offset, where there is little room: `2026-11-20 15:23`.
    pub fn local_minute(self, zone: &Zone) -> String {
        zone.at(self).format("%Y-%m-%d %H:%M").to_string()
    }

    fn utc(self) -> DateTime<Utc> {
        // Beyond chrono's range (about 262,000 years) nothing can be shown but its ends.
        DateTime::from_timestamp(self.0, 0).unwrap_or(if self.0 < 0 {
            DateTime::<Utc>::MIN_UTC
        } else {
            DateTime::<Utc>::MAX_UTC
        })
    }
}

/// `2026-11-20 14:23:01+00:00`, nothing else.
fn parse_four_digit_year(text: &str) -> Option<NaiveDateTime> {
    let bytes: &[u8; 25] = text.as_bytes().try_into().ok()?;
    let marks = [(4, b'-'), (7, b'-'), (10, b' '), (13, b':'), (16, b':')];
    if marks.iter().any(|(at, mark)| bytes[*at] != *mark) || bytes[19..] != *b"+00:00" {
        return None;
    }
    let number = |range: std::ops::Range<usize>| {
        bytes[range].iter().try_fold(0, |number, byte| {
            byte.is_ascii_digit()
                .then(|| number * 10 + u32::from(byte - b'0'))
        })
    };
    let year = i32::try_from(number(0..4)?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, number(5..7)?, number(8..10)?)?;
    date.and_hms_opt(number(11..13)?, number(14..16)?, number(17..19)?)
}

/// A time zone: a name of the IANA database with its rules, or a fixed offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// `Europe/Zurich`: daylight saving time included.
    Named(Named),
    /// `+01:00`.
    Fixed(FixedOffset),
}

/// A time zone of the IANA database. Its rules are part of this program: what the machine has may be
/// another edition, or none.
#[derive(Clone, Copy)]
pub struct Named {
    name: &'static str,
    rules: &'static TimeZoneRef<'static>,
}

impl Named {
    fn of(name: &str) -> Option<Self> {
        let name = tzdb_data::TZ_NAMES.iter().find(|known| **known == name)?;
        let rules = tzdb_data::find_tz(name.as_bytes())?;
        Some(Self { name, rules })
    }

    /// What its clocks were set to then.
    fn at(&self, at: UtcSeconds) -> Option<&LocalTimeType> {
        self.rules.find_local_time_type(at.0).ok()
    }

    /// What the time of its clocks was called then: `CEST`.
    pub fn abbreviation(&self, at: UtcSeconds) -> Option<&str> {
        self.at(at).map(LocalTimeType::time_zone_designation)
    }
}

/// By name: no two zones have the same.
impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Named {}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Zone {
    /// UTC.
    pub const UTC: Self = Self::Named(Named {
        name: "UTC",
        rules: &tzdb_data::time_zone::UTC,
    });

    /// A zone by its IANA name, or an offset written `+01:00`. `None` if it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with(['+', '-']) {
            return text.parse().ok().map(Self::Fixed);
        }
        Named::of(text).map(Self::Named)
    }

    /// This machine's zone (TZ, or the system's setting); `None` where it has no IANA name.
    pub fn of_this_machine() -> Option<Self> {
        let Ok(tz) = std::env::var("TZ") else {
            return Self::of_the_system();
        };
        let name = tz.strip_prefix(':').unwrap_or(&tz);
        if name.is_empty() {
            return Some(Self::UTC);
        }
        Self::parse(name).or_else(Self::named_by_the_system)
    }

    /// The zone of a process here that has no TZ; `None` where it has no IANA name.
    pub fn of_the_system() -> Option<Self> {
        Self::by_localtime(Path::new("/etc/localtime"))
    }

    fn by_localtime(file: &Path) -> Option<Self> {
        match file.try_exists() {
            // localtime(5): "If /etc/localtime is missing, the default UTC timezone is used." It is
            // in a bare system, and the clock of a server there shows the same.
            Ok(false) => Some(Self::UTC),
            _ => Self::named_by_the_system(),
        }
    }

    fn named_by_the_system() -> Option<Self> {
        Self::parse(&iana_time_zone::get_timezone().ok()?)
    }

    /// How far its clocks are ahead of UTC then, in seconds.
    pub fn offset(&self, at: UtcSeconds) -> i32 {
        match self {
            // There are rules for all times whose years can be counted.
            Self::Named(zone) => zone.at(at).map_or(0, LocalTimeType::ut_offset),
            Self::Fixed(offset) => offset.local_minus_utc(),
        }
    }

    /// The time `at` as a clock in this zone shows it.
    pub fn at(&self, at: UtcSeconds) -> DateTime<FixedOffset> {
        let utc = at.utc();
        let offset = FixedOffset::east_opt(self.offset(UtcSeconds(utc.timestamp())));
        utc.with_timezone(&offset.unwrap_or_else(|| Utc.fix()))
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(zone) => f.write_str(zone.name),
            Self::Fixed(offset) => offset.fmt(f),
        }
    }
}

/// A span of time as a person writes it: `90d`, `36h`, `2w`. In seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub i64);

impl Span {
    /// A whole number and one of `s`, `m` (minutes), `h`, `d`, `w`.
    /// The error says what is wrong in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("'{text}' is not a span of time: write 90d, 36h or 2w");
        let unit = match text.bytes().last().ok_or_else(bad)? {
            b's' => 1,
            b'm' => 60,
            b'h' => 3_600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return Err(bad()),
        };
        let digits = &text[..text.len() - 1];
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad());
        }
        let count: i64 = digits.parse().map_err(|_| bad())?;
        match count.checked_mul(unit) {
            // A hundred thousand years: beyond any log, and still safe to subtract from a date.
            Some(seconds) if seconds <= 3_155_760_000_000 => Ok(Self(seconds)),
            _ => Err(bad()),
        }
    }

    /// The span in two units at most, for a person: `94 days`, `3 h 12 min`, `12 s`.
    pub fn in_words(self) -> String {
        let seconds = self.0.max(0);
        let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
        if days >= 2 {
            format!("{days} days")
        } else if hours >= 1 {
            match minutes % 60 {
                0 => format!("{hours} h"),
                rest => format!("{hours} h {rest} min"),
            }
        } else if minutes >= 1 {
            format!("{minutes} min")
        } else {
            format!("{seconds} s")
        }
    }
}

impl Span {
    /// The span in one unit, for a column: `94 d`, `26 h`, `12 min`, `3 s`.
    pub fn in_short(self) -> String {
        let seconds = self.0.max(0);
        match seconds {
            0..60 => format!("{seconds} s"),
            60..3_600 => format!("{} min", seconds / 60),
            3_600..172_800 => format!("{} h", seconds / 3_600),
            _ => format!("{} d", seconds / 86_400),
        }
    }
}

/// As [`Span::parse`] reads it, in the greatest unit that fits.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
        let fits = |(unit, _): &(i64, _)| self.0 % unit == 0;
        let (unit, letter) = units.into_iter().find(fits).unwrap_or((1, "s"));
        write!(f, "{}{letter}", self.0 / unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sql_text_order_is_time_order_and_reads_back() {
        let at = UtcSeconds(1_795_376_581);
        assert_eq!(at.sql(), "2026-11-22 19:43:01+00:00");
        assert_eq!(UtcSeconds::from_sql(&at.sql()), Some(at));
        assert_eq!(at.rfc3339(), "2026-11-22T19:43:01Z");
    }

    #[test]
    fn times_of_any_age_are_written_as_chrono_writes_them() {
        for seconds in [
            0,
            -1,
            1_795_376_581,
            -62_167_219_200,
            253_402_300_799,
            253_402_300_800,
            -62_167_219_201,
        ] {
            let at = UtcSeconds(seconds);
            assert_eq!(
                at.sql(),
                at.utc().format("%Y-%m-%d %H:%M:%S+00:00").to_string()
            );
            assert_eq!(UtcSeconds::from_sql(&at.sql()), Some(at), "{}", at.sql());
        }
        for bad in [
            "2026-02-30 00:00:00+00:00",
            "2026-01-01 24:00:00+00:00",
            "2026-01-01 00:00:00+01:00",
            "x",
        ] {
            assert_eq!(UtcSeconds::from_sql(bad), None, "{bad}");
        }
    }

    #[test]
    fn spans_are_read_strictly() {
        assert_eq!(Span::parse("90d"), Ok(Span(90 * 86_400)));
        assert_eq!(Span::parse("36h"), Ok(Span(36 * 3_600)));
        assert_eq!(Span::parse("2w"), Ok(Span(14 * 86_400)));
        for text in ["90d", "36h", "90m", "61s"] {
            assert_eq!(Span::parse(text).unwrap().to_string(), text);
        }
        for bad in [
            "",
            "d",
            "90",
            "-1d",
            "+1d",
            "1.5d",
            "9999999999999999999d",
            "1 d",
            "1y",
            "99999999999w",
            "1é",
        ] {
            assert!(Span::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_short_span_has_one_unit() {
        for (seconds, short) in [
            (-1, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_599, "59 min"),
            (3_600, "1 h"),
            (172_799, "47 h"),
            (172_800, "2 d"),
        ] {
            assert_eq!(Span(seconds).in_short(), short);
        }
    }

    #[test]
    fn zones_have_names_or_offsets() {
        let zurich = Zone::parse("Europe/Zurich").unwrap();
        assert_eq!(
            UtcSeconds(1_795_376_581).local(&zurich),
            "2026-11-22 20:43:01 +01:00"
        );
        assert_eq!(Zone::parse("+01:00").unwrap().to_string(), "+01:00");
        assert_eq!(Zone::parse("Europe/Atlantis"), None);
    }

    #[test]
    fn a_system_without_a_zone_goes_by_utc() {
        let nowhere = Path::new("/nowhere/localtime");
        assert_eq!(Zone::by_localtime(nowhere), Some(Zone::UTC));
    }
}
