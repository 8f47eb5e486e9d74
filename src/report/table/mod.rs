//! Lists for people: aligned columns, local times, and how long ago that was.
//!
//! In a pipe or a file a table is whole. On a terminal it is made to fit: times are told as exactly as
//! there is room for, names are cut short ([`layout`]), and what is the same in all rows (the server,
//! mostly) is left out, for the caller to say once. Since the widths depend on all rows, the rows are
//! held in memory, so there is a limit to their number.

mod layout;

use std::io::Write;

use super::{Look, Printed, Row, Value};
use crate::error::Result;
use crate::name::{self, Name};
use crate::time::{Span, UtcSeconds};
use layout::{Column, GAP, INDENT, Kind, Place};

/// Columns that a terminal's table leaves out if all their cells are the same.
const SAID_ONCE: [&str; 2] = ["server", "checked_at"];

/// What stands in a column of a row that is held until the widths are known.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cell {
    Name(String),
    Words(String),
    Number(u64),
    Time(UtcSeconds),
    Dim(&'static str),
}

/// How exactly a time is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    /// `2026-11-20 15:23:01 +01:00 (2 days ago)`
    Full,
    /// `2026-11-20 15:23 (2 days ago)`
    MinuteAndAge,
    /// `2026-11-20 15:23`
    Minute,
    /// `2 d ago`
    Age,
}

/// See [`super::print`]. Without a row nothing is printed.
pub(super) fn print<R: Row>(
    look: &Look,
    limit: u64,
    mut out: impl Write,
    feed: impl FnOnce(&mut dyn FnMut(R) -> Result<()>) -> Result<()>,
) -> Result<Printed> {
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    let mut total = 0;
    let once = |column: &str| look.width.is_some() && SAID_ONCE.contains(&column);
    let mut same: Vec<bool> = R::COLUMNS.iter().map(|column| once(column)).collect();
    feed(&mut |row: R| {
        total += 1;
        let cells = row.values();
        let cells: Vec<Cell> = cells.iter().map(cell).collect();
        if let Some(first) = rows.first() {
            for (same, (one, other)) in same.iter_mut().zip(first.iter().zip(&cells)) {
                *same &= one == other;
            }
        }
        if total <= limit {
            rows.push(cells);
        }
        Ok(())
    })?;
    let mut printed = Printed {
        rows: total,
        shown: rows.len() as u64,
        ..Printed::default()
    };
    let mut headings = Vec::new();
    if let Some(first) = rows.first() {
        for ((column, same), cell) in R::COLUMNS.iter().zip(&same).zip(first) {
            match same {
                true => printed
                    .common
                    .push((column, shown(cell, Detail::Minute, look))),
                false => headings.push(column.replace('_', " ")),
            }
        }
    }
    let keep = |cells: Vec<Cell>| -> Vec<Cell> {
        let kept = cells.into_iter().zip(&same);
        kept.filter(|(_, same)| !**same)
            .map(|(cell, _)| cell)
            .collect()
    };
    if same.contains(&true) {
        rows = rows.into_iter().map(keep).collect();
    }
    if !rows.is_empty() {
        let table = Table::new(look, headings, &rows);
        table.write(&rows, &mut out)?;
        printed.cut = table.cuts(&rows);
        printed.local_times = matches!(table.detail, Detail::MinuteAndAge | Detail::Minute);
    }
    out.flush()?;
    Ok(printed)
}

/// How the rows are shown.
struct Table<'a> {
    look: &'a Look,
    headings: Vec<String>,
    detail: Detail,
    places: Vec<Place>,
    /// Numbers stand at the right.
    is_number: Vec<bool>,
}

impl<'a> Table<'a> {
    fn new(look: &'a Look, headings: Vec<String>, rows: &[Vec<Cell>]) -> Self {
        let width = look.width.map(usize::from);
        let mut detail = Detail::Full;
        let mut columns = columns(look, &headings, rows, detail);
        if let Some(width) = width {
            for less in [Detail::MinuteAndAge, Detail::Minute, Detail::Age] {
                detail = less;
                columns = self::columns(look, &headings, rows, detail);
                if layout::fits(&columns, width) {
                    break;
                }
            }
        }
        let is_number = |at| {
            let mut cells = rows.iter().map(|row: &Vec<Cell>| &row[at]);
            cells.any(|cell| matches!(cell, Cell::Number(_)))
        };
        Self {
            look,
            is_number: (0..headings.len()).map(is_number).collect(),
            headings,
            detail,
            places: layout::places(&columns, width),
        }
    }

    fn write(&self, rows: &[Vec<Cell>], out: &mut impl Write) -> Result<()> {
        let headings = self.headings.iter().map(|text| (text.clone(), BOLD));
        self.write_line(headings, out)?;
        for row in rows {
            let lines: Vec<_> = row
                .iter()
                .zip(&self.places)
                .map(|(cell, place)| self.lines(cell, *place))
                .collect();
            let height = lines.iter().map(Vec::len).max().unwrap_or(0);
            for at in 0..height {
                let line = row.iter().zip(&lines).map(|(cell, lines)| {
                    let style = if matches!(cell, Cell::Dim(_)) {
                        DIM
                    } else {
                        ""
                    };
                    (lines.get(at).cloned().unwrap_or_default(), style)
                });
                self.write_line(line, out)?;
            }
            for (cell, place) in row.iter().zip(&self.places) {
                let text = shown(cell, self.detail, self.look);
                if *place == Place::Below && !text.is_empty() {
                    let width = self.look.width.map_or(usize::MAX, usize::from);
                    for line in layout::broken(&text, width.saturating_sub(INDENT)) {
                        writeln!(out, "{:INDENT$}{line}", "")?;
                    }
                }
            }
        }
        Ok(())
    }

    /// What of a cell stands in the row itself.
    fn lines(&self, cell: &Cell, place: Place) -> Vec<String> {
        let text = shown(cell, self.detail, self.look);
        match (cell, place) {
            (_, Place::Below) => Vec::new(),
            (Cell::Words(_), Place::Wide(width)) => layout::broken(&text, width),
            (Cell::Name(_) | Cell::Dim(_), Place::Wide(width)) => vec![layout::cut(&text, width)],
            (Cell::Number(_) | Cell::Time(_), _) => vec![text],
        }
    }

    fn write_line(
        &self,
        cells: impl Iterator<Item = (String, &'static str)>,
        out: &mut impl Write,
    ) -> Result<()> {
        let (mut line, mut padding) = (String::new(), 0);
        for ((text, style), (place, is_number)) in
            cells.zip(self.places.iter().zip(&self.is_number))
        {
            let Place::Wide(width) = *place else {
                continue;
            };
            let left = width.saturating_sub(layout::width_of(&text));
            let (before, behind) = if *is_number { (left, 0) } else { (0, left) };
            // What follows the last text of a line is left out.
            if !text.is_empty() {
                line.extend(std::iter::repeat_n(' ', padding + before));
                match self.look.colour && !style.is_empty() {
                    true => line.extend([style, &text, RESET]),
                    false => line.push_str(&text),
                }
                padding = behind + GAP;
            } else {
                padding += width + GAP;
            }
        }
        writeln!(out, "{line}")?;
        Ok(())
    }

    /// Whether a name is cut short.
    fn cuts(&self, rows: &[Vec<Cell>]) -> bool {
        rows.iter().any(|row| {
            row.iter().zip(&self.places).any(|(cell, place)| {
                matches!((cell, place), (Cell::Name(name), Place::Wide(width))
                    if layout::width_of(name) > *width)
            })
        })
    }
}

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

fn columns(look: &Look, headings: &[String], rows: &[Vec<Cell>], detail: Detail) -> Vec<Column> {
    let mut columns: Vec<_> = headings
        .iter()
        .map(|heading| Column {
            kind: Kind::Figure,
            natural: layout::width_of(heading),
        })
        .collect();
    for row in rows {
        for (cell, column) in row.iter().zip(&mut columns) {
            let width = layout::width_of(&shown(cell, detail, look));
            column.natural = column.natural.max(width);
            match cell {
                Cell::Name(_) => column.kind = Kind::Name,
                Cell::Words(_) => column.kind = Kind::Words,
                _ => {}
            }
        }
    }
    columns
}

fn cell(value: &Value<'_>) -> Cell {
    match value {
        Value::Name(name) => Cell::Name(readable(name)),
        Value::Many(words) => Cell::Dim(words),
        Value::Text(text) => Cell::Words(harmless(text)),
        Value::Number(number) => Cell::Number(*number),
        Value::Truth(truth) => Cell::Words(if *truth { "yes" } else { "no" }.into()),
        Value::Time(time) => Cell::Time(*time),
        Value::Unknown => Cell::Dim("-"),
    }
}

fn shown(cell: &Cell, detail: Detail, look: &Look) -> String {
    match cell {
        Cell::Name(text) | Cell::Words(text) => text.clone(),
        Cell::Number(number) => number.to_string(),
        Cell::Dim(words) => (*words).to_owned(),
        Cell::Time(time) => {
            let age = || age(*time, look.now, Span::in_words);
            match detail {
                Detail::Full => format!("{} ({})", time.local(&look.zone), age()),
                Detail::MinuteAndAge => format!("{} ({})", time.local_minute(&look.zone), age()),
                Detail::Minute => time.local_minute(&look.zone),
                Detail::Age => self::age(*time, look.now, Span::in_short),
            }
        }
    }
}

/// The anonymous account's name is empty; SQL writes it `''`, and so do we.
pub(super) fn readable(name: &Name) -> String {
    if name.0.is_empty() {
        "''".into()
    } else {
        name.escaped()
    }
}

/// Words of our own as they are; the backslashes in them may be an escape already.
pub(super) fn harmless(text: &str) -> String {
    match text.chars().any(name::is_unsafe_to_show) {
        true => name::escape(text.as_bytes()),
        false => text.to_owned(),
    }
}

/// `2 days ago`; a clock that goes wrong may have written a time to come.
fn age(time: UtcSeconds, now: UtcSeconds, words: impl Fn(Span) -> String) -> String {
    let seconds = now.0.saturating_sub(time.0);
    match seconds {
        0.. => format!("{} ago", words(Span(seconds))),
        _ => format!("in {}", words(Span(seconds.saturating_neg()))),
    }
}

#[cfg(test)]
mod tests;
