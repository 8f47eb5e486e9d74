//! Lists for spreadsheets and scripts: a header line, then a line a row.
//!
//! A spreadsheet runs a field that begins like a formula, and a client that cannot log in chooses
//! the name in it: such a field gets a leading `'`, which spreadsheets take for "this is text".

use std::io::{self, Write};

use super::{Row, Value};
use crate::error::{Error, Result};
use crate::name;

/// See [`super::print`].
pub(super) fn print<R: Row>(
    out: impl Write,
    feed: impl FnOnce(&mut dyn FnMut(R) -> Result<()>) -> Result<()>,
) -> Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(R::COLUMNS).map_err(output)?;
    feed(&mut |row| {
        writer
            .write_record(row.values().iter().map(field))
            .map_err(output)
    })?;
    Ok(writer.flush()?)
}

fn field(value: &Value<'_>) -> String {
    match value {
        Value::Name(name) => no_formula(name.escaped()),
        Value::Text(text) => no_formula(name::escape(text.as_bytes())),
        Value::Number(number) => number.to_string(),
        Value::Truth(truth) => truth.to_string(),
        Value::Time(time) => time.rfc3339(),
        Value::Many(_) | Value::Unknown => String::new(),
    }
}

/// The full-width twins count: some spreadsheets take them for the same.
fn no_formula(mut text: String) -> String {
    if text.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']) {
        text.insert(0, '\'');
    }
    text
}

/// Keeps the kind of an error of the operating system: a broken pipe is not a failure.
fn output(error: csv::Error) -> Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error.into(),
        other => io::Error::other(format!("{other:?}")).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format::Csv;
    use super::super::tests::*;
    use crate::store::AccountUse;

    #[test]
    fn unknown_is_empty_and_times_are_utc() {
        let rows = [account(b"a,\"b\"", "h"), hardly_seen()];
        assert_eq!(
            printed(Csv, &look(), &rows),
            "\
server,name,host,first_seen,last_seen,last_active,connects
db1,\"a,\"\"b\"\"\",h,2026-06-25T19:43:01Z,2026-11-20T19:43:01Z,2026-11-22T17:38:01Z,12
db1,pool,10.0.0.9,,,2026-11-22T17:38:01Z,0
"
        );
    }

    #[test]
    fn a_header_stands_alone_without_rows() {
        let text = printed::<AccountUse>(Csv, &look(), &[]);
        assert_eq!(
            text,
            "server,name,host,first_seen,last_seen,last_active,connects\n"
        );
    }

    #[test]
    fn rows_that_stand_for_many_leave_fields_empty() {
        let text = printed(Csv, &look(), &[failure(None, None)]);
        assert!(
            text.ends_with("db1,,,,2026-11-22T19:43:01Z,2026-11-22T19:43:01Z,3\n"),
            "{text}"
        );
    }

    #[test]
    fn a_name_is_neither_a_formula_nor_a_line() {
        for (name, field) in [
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@x", "'@x"),
            ("\t=1", "\\t=1"),
            ("\r\n=1", "\\r\\n=1"),
            ("a=1", "a=1"),
        ] {
            let text = printed(Csv, &look(), &[account(name.as_bytes(), "h")]);
            assert_eq!(text.lines().count(), 2);
            assert!(text.contains(&format!("\ndb1,{field},h,")), "{text}");
        }
    }
}
