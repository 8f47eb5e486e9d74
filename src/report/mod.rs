//! What the store holds, printed for people and for programs.
//!
//! A [`Row`] says once what its columns are and what stands in them; each format is one file that
//! knows how to show a [`Value`], so that a name is made harmless in one place per format. Rows are
//! streamed: a list of any length needs no memory, but in a table, whose widths depend on all rows; so
//! a table has a limit.

mod check;
mod csv;
mod html;
mod json;
pub mod prometheus;
mod table;

use std::io::{self, IsTerminal, Write};

use crate::error::Result;
use crate::name::Name;
use crate::store::{AccountUse, Doubtful, FailedConnect, JudgedAccount};
use crate::time::{UtcSeconds, Zone};

pub use check::{
    Checked, candidates, evidence, print_json as print_check_json, print_nagios,
    print_nagios_unknown, print_tables as print_check_tables,
};
pub use html::{Page, Rhythms, print as print_html};

/// How to print what `check` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckFormat {
    /// Tables for people.
    Table,
    /// One object.
    Json,
    /// A status line, then details.
    Nagios,
}

impl CheckFormat {
    /// The format by its name; the error says which names there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            "nagios" => Ok(Self::Nagios),
            _ => Err(format!(
                "'{}' is not a format: write table, json or nagios",
                text.escape_debug()
            )),
        }
    }
}

/// How to print a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns for people.
    #[default]
    Table,
    /// An array of objects, one a line.
    Json,
    /// The same objects without the array, for tools that read line by line.
    Ndjson,
    /// A header line and a line a row.
    Csv,
}

impl Format {
    /// The format by its name; the error says which names there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            "ndjson" => Ok(Self::Ndjson),
            "csv" => Ok(Self::Csv),
            _ => Err(format!(
                "'{}' is not a format: write table, json, ndjson or csv",
                text.escape_debug()
            )),
        }
    }
}

/// How many rows a table shows unless told otherwise: more than a person reads.
pub const TABLE_ROWS: u64 = 1_000;

/// The width of a terminal that does not know its own.
const USUAL_WIDTH: u16 = 80;

/// How a table looks to the one who reads it.
#[derive(Clone, Debug)]
pub struct Look {
    /// The zone that times are shown in.
    pub zone: Zone,
    /// The time that "ago" counts from.
    pub now: UtcSeconds,
    /// Whether to use bold and dim text.
    pub colour: bool,
    /// The width of the terminal; none: it is no terminal, and the table is printed whole.
    pub width: Option<u16>,
}

impl Look {
    /// What suits standard output: a terminal has a width and, unless NO_COLOR says otherwise,
    /// colours; a pipe or a file has neither.
    pub fn of_stdout(zone: Zone, now: UtcSeconds) -> Self {
        let terminal = io::stdout().is_terminal();
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            zone,
            now,
            colour: terminal && !unwanted,
            width: terminal.then(|| {
                // Some terminals do not know their width and say 0.
                let size = terminal_size::terminal_size_of(io::stdout());
                let width = size.map_or(0, |(width, _)| width.0);
                if width > 0 { width } else { USUAL_WIDTH }
            }),
        }
    }
}

/// What stands in one column of one row.
#[derive(Debug)]
pub enum Value<'a> {
    /// A name, which must be shown so that it can't act on what shows it.
    Name(&'a Name),
    /// In place of a name in a row that stands for many; programs see that nothing is there.
    Many(&'static str),
    /// Words of our own or the path of a file.
    Text(&'a str),
    /// A count, an offset, a code.
    Number(u64),
    /// Yes or no.
    Truth(bool),
    /// A time.
    Time(UtcSeconds),
    /// Not known, or never.
    Unknown,
}

impl<'a> Value<'a> {
    fn time(time: Option<UtcSeconds>) -> Self {
        time.map_or(Value::Unknown, Value::Time)
    }

    fn name(name: Option<&'a Name>, many: &'static str) -> Self {
        name.map_or(Value::Many(many), Value::Name)
    }
}

/// Something that can be listed.
pub trait Row {
    /// The columns, by the names that programs see.
    const COLUMNS: &'static [&'static str];

    /// What stands in them, in the same order.
    fn values(&self) -> Vec<Value<'_>>;
}

impl Row for AccountUse {
    const COLUMNS: &'static [&'static str] = &[
        "server",
        "name",
        "host",
        "first_seen",
        "last_seen",
        "last_active",
        "connects",
    ];

    fn values(&self) -> Vec<Value<'_>> {
        vec![
            Value::Name(&self.server),
            Value::Name(&self.name),
            Value::Name(&self.host),
            Value::time(self.first_seen),
            Value::time(self.last_seen),
            Value::time(self.last_active),
            Value::Number(self.connects),
        ]
    }
}

impl Row for JudgedAccount {
    const COLUMNS: &'static [&'static str] = &[
        "server",
        "user",
        "host",
        "state",
        "last_seen",
        "last_active",
        "connects",
        "exact",
        "checked_at",
        "reason",
    ];

    fn values(&self) -> Vec<Value<'_>> {
        vec![
            Value::Name(&self.server),
            Value::Name(&self.status.user),
            Value::Name(&self.status.host),
            Value::Text(&self.status.state),
            Value::time(self.status.last_seen),
            Value::time(self.status.last_active),
            Value::Number(self.status.connects),
            Value::Truth(self.status.exact),
            Value::Time(self.checked_at),
            Value::Text(&self.status.reason),
        ]
    }
}

impl Row for FailedConnect {
    const COLUMNS: &'static [&'static str] = &[
        "server",
        "name",
        "host",
        "code",
        "first_seen",
        "last_seen",
        "attempts",
    ];

    fn values(&self) -> Vec<Value<'_>> {
        vec![
            Value::Name(&self.server),
            Value::name(self.name.as_ref(), "(other names)"),
            Value::name(self.host.as_ref(), "(other hosts)"),
            self.code
                .map_or(Value::Unknown, |code| Value::Number(code.into())),
            Value::Time(self.first_seen),
            Value::Time(self.last_seen),
            Value::Number(self.attempts),
        ]
    }
}

impl Row for Doubtful {
    const COLUMNS: &'static [&'static str] = &[
        "server",
        "name",
        "host",
        "time",
        "connectionid",
        "why",
        "from",
        "file",
        "offset",
    ];

    fn values(&self) -> Vec<Value<'_>> {
        vec![
            Value::Name(&self.server),
            Value::Name(&self.name),
            Value::Name(&self.host),
            Value::time(self.time),
            Value::Number(self.connectionid),
            Value::Text(&self.why),
            self.from.as_ref().map_or(Value::Unknown, Value::Name),
            Value::Text(&self.file),
            Value::Number(self.offset),
        ]
    }
}

/// What became of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printed {
    /// How many rows there are.
    pub rows: u64,
    /// How many of them were printed: not more than the limit.
    pub shown: u64,
    /// Columns that were left out because all rows have the same in them, and what that is.
    pub common: Vec<(&'static str, String)>,
    /// Some names were cut short.
    pub cut: bool,
    /// Times were told without their zone.
    pub local_times: bool,
}

/// Prints the rows that `feed` gives to the function that it is handed, the first `limit` of them.
/// If `feed` fails, what was printed is left open (an array without its bracket): nothing that
/// reads it can take it for the whole.
pub fn print<R: Row>(
    format: Format,
    look: &Look,
    limit: u64,
    out: impl Write,
    feed: impl FnOnce(&mut dyn FnMut(R) -> Result<()>) -> Result<()>,
) -> Result<Printed> {
    let mut rows = 0;
    match format {
        // It has to see all rows.
        Format::Table => return table::print(look, limit, out, feed),
        Format::Json => json::print(out, first(limit, &mut rows, feed))?,
        Format::Ndjson => json::print_lines(out, first(limit, &mut rows, feed))?,
        Format::Csv => csv::print(out, first(limit, &mut rows, feed))?,
    }
    Ok(Printed {
        rows,
        shown: rows.min(limit),
        ..Printed::default()
    })
}

/// The first `limit` of the rows that `feed` gives; `rows` becomes the number of all.
fn first<R>(
    limit: u64,
    rows: &mut u64,
    feed: impl FnOnce(&mut dyn FnMut(R) -> Result<()>) -> Result<()>,
) -> impl FnOnce(&mut dyn FnMut(R) -> Result<()>) -> Result<()> {
    move |row| {
        feed(&mut |found| {
            *rows += 1;
            match *rows <= limit {
                true => row(found),
                false => Ok(()),
            }
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// 2026-11-22 20:43:01 in Zurich.
    pub(crate) const NOW: UtcSeconds = UtcSeconds(1_795_376_581);

    pub(crate) fn look() -> Look {
        let zone = Zone::parse("Europe/Zurich").unwrap();
        Look {
            zone,
            now: NOW,
            colour: false,
            width: None,
        }
    }

    pub(crate) fn account(name: &[u8], host: &str) -> AccountUse {
        AccountUse {
            server: "db1".into(),
            name: Name::from(name),
            host: host.into(),
            first_seen: Some(UtcSeconds(NOW.0 - 150 * 86_400)),
            last_seen: Some(UtcSeconds(NOW.0 - 2 * 86_400)),
            last_active: Some(UtcSeconds(NOW.0 - 7_500)),
            connects: 12,
        }
    }

    /// An account of which only the end of a session was seen.
    pub(crate) fn hardly_seen() -> AccountUse {
        AccountUse {
            first_seen: None,
            last_seen: None,
            connects: 0,
            ..account(b"pool", "10.0.0.9")
        }
    }

    pub(crate) fn failure(name: Option<&str>, host: Option<&str>) -> FailedConnect {
        FailedConnect {
            server: "db1".into(),
            name: name.map(Name::from),
            host: host.map(Name::from),
            code: name.and(Some(1045)),
            first_seen: NOW,
            last_seen: NOW,
            attempts: 3,
        }
    }

    pub(crate) fn doubtful() -> Doubtful {
        Doubtful {
            server: "db1".into(),
            name: "root".into(),
            host: "localhost".into(),
            time: None,
            connectionid: 7,
            why: "no session".into(),
            from: None,
            file: "/var/log/a\u{202e}.log".into(),
            offset: 1234,
        }
    }

    /// What [`print`] prints of `rows`.
    pub(crate) fn printed<R: Row + Clone>(format: Format, look: &Look, rows: &[R]) -> String {
        let mut out = Vec::new();
        let printed = print(format, look, u64::MAX, &mut out, |row| {
            rows.iter().cloned().try_for_each(row)
        })
        .unwrap();
        assert_eq!(printed.rows, rows.len() as u64);
        assert_eq!(printed.shown, printed.rows);
        String::from_utf8(out).unwrap()
    }
}
