//! Lists for people: aligned columns, local times, and how long ago that was.

use std::io::Write;

use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table};

use super::{Look, Row, Value};
use crate::error::Result;
use crate::name::{self, Name};
use crate::time::{Span, UtcSeconds};

/// See [`super::print`]. Without a row nothing is printed.
pub(super) fn print<R: Row>(
    look: &Look,
    mut out: impl Write,
    feed: impl FnOnce(&mut dyn FnMut(R) -> Result<()>) -> Result<()>,
) -> Result<u64> {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    if look.colour {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    if let Some(width) = look.width {
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width);
    }
    table.set_header(
        R::COLUMNS
            .iter()
            .map(|column| Cell::new(column.replace('_', " ")).add_attribute(Attribute::Bold)),
    );
    let mut rows = 0;
    feed(&mut |row| {
        rows += 1;
        table.add_row(row.values().iter().map(|value| cell(value, look)));
        Ok(())
    })?;
    if rows > 0 {
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for line in table.lines() {
            writeln!(out, "{}", line.trim_end())?;
        }
    }
    out.flush()?;
    Ok(rows)
}

fn cell(value: &Value<'_>, look: &Look) -> Cell {
    let dim = |text: &str| Cell::new(text).add_attribute(Attribute::Dim);
    match value {
        Value::Name(name) => Cell::new(shown(name)),
        Value::Many(words) => dim(words),
        Value::Text(text) => Cell::new(harmless(text)),
        Value::Number(number) => Cell::new(number).set_alignment(CellAlignment::Right),
        Value::Time(time) => Cell::new(format!(
            "{} ({})",
            time.local(&look.zone),
            age(*time, look.now)
        )),
        Value::Unknown => dim("-"),
    }
}

/// The anonymous account's name is empty; SQL writes it `''`, and so do we.
pub(super) fn shown(name: &Name) -> String {
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
fn age(time: UtcSeconds, now: UtcSeconds) -> String {
    let seconds = now.0.saturating_sub(time.0);
    match seconds {
        0.. => format!("{} ago", Span(seconds).in_words()),
        _ => format!("in {}", Span(seconds.saturating_neg()).in_words()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::*;
    use super::super::{Format::Table, Look};
    use super::*;

    #[test]
    fn accounts_stand_in_columns() {
        let rows = [
            account(b"app", "app1.example.com"),
            account(b"", "localhost"),
            hardly_seen(),
        ];
        assert_eq!(
            printed(Table, &look(), &rows),
            "\
server  name  host              first seen                                 last seen                                last active                                 connects
db1     app   app1.example.com  2026-06-25 21:43:01 +02:00 (150 days ago)  2026-11-20 20:43:01 +01:00 (2 days ago)  2026-11-22 18:38:01 +01:00 (2 h 5 min ago)        12
db1     ''    localhost         2026-06-25 21:43:01 +02:00 (150 days ago)  2026-11-20 20:43:01 +01:00 (2 days ago)  2026-11-22 18:38:01 +01:00 (2 h 5 min ago)        12
db1     pool  10.0.0.9          -                                          -                                        2026-11-22 18:38:01 +01:00 (2 h 5 min ago)         0
"
        );
    }

    #[test]
    fn rows_that_stand_for_many_say_so() {
        let rows = [
            failure(Some("root"), Some("10.0.0.9")),
            failure(None, Some("h")),
            failure(None, None),
        ];
        assert_eq!(
            printed(Table, &look(), &rows),
            "\
server  name           host           code  first seen                            last seen                             attempts
db1     root           10.0.0.9       1045  2026-11-22 20:43:01 +01:00 (0 s ago)  2026-11-22 20:43:01 +01:00 (0 s ago)         3
db1     (other names)  h              -     2026-11-22 20:43:01 +01:00 (0 s ago)  2026-11-22 20:43:01 +01:00 (0 s ago)         3
db1     (other names)  (other hosts)  -     2026-11-22 20:43:01 +01:00 (0 s ago)  2026-11-22 20:43:01 +01:00 (0 s ago)         3
"
        );
    }

    #[test]
    fn a_name_cannot_forge_a_line_or_act_on_a_terminal() {
        let text = printed(
            Table,
            &look(),
            &[account(b"a\ndb1  root\x1b[2J\xe2\x80\xae\xff", "h")],
        );
        assert_eq!(text.lines().count(), 2);
        assert!(
            text.contains("a\\ndb1  root\\x1b[2J\\u{202e}\\xff"),
            "{text}"
        );
        assert!(printed(Table, &look(), &[doubtful()]).contains("/var/log/a\\u{202e}.log"));
    }

    #[test]
    fn nothing_is_printed_of_nothing() {
        assert_eq!(printed::<crate::store::AccountUse>(Table, &look(), &[]), "");
    }

    #[test]
    fn only_a_terminal_wraps_and_colours() {
        let rows = [hardly_seen()];
        let narrow = printed(
            Table,
            &Look {
                width: Some(80),
                ..look()
            },
            &rows,
        );
        assert!(
            narrow.lines().all(|line| line.chars().count() <= 80),
            "{narrow}"
        );
        assert!(narrow.lines().count() > 2, "{narrow}");
        assert!(!narrow.contains('\x1b'));
        let coloured = printed(
            Table,
            &Look {
                colour: true,
                ..look()
            },
            &rows,
        );
        assert!(coloured.contains("\x1b[2m-"), "{coloured:?}");
    }

    #[test]
    fn a_time_to_come_is_not_ago() {
        assert_eq!(age(UtcSeconds(NOW.0 + 3_600), NOW), "in 1 h");
        assert_eq!(age(NOW, NOW), "0 s ago");
    }
}
