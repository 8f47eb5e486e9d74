//! Lists for programs: a JSON array, one object a line, written as the rows come; or only the lines.
//!
//! JSON need not escape what acts on a terminal (C1 controls, marks that turn the direction of
//! writing), but people do look at it on one: such characters are written `\uXXXX`, which any
//! reader turns back into the same string.

use std::io::{self, Write};

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::ser::Formatter;

use super::{Row, Value};
use crate::error::Result;
use crate::name::{Name, is_unsafe_to_show};

/// See [`super::print`].
pub(super) fn print<R: Row>(
    mut out: impl Write,
    feed: impl FnOnce(&mut dyn FnMut(R) -> Result<()>) -> Result<()>,
) -> Result<()> {
    let mut is_first = true;
    feed(&mut |row| {
        out.write_all(if is_first { b"[\n" } else { b",\n" })?;
        is_first = false;
        object(&row, &mut out)
    })?;
    out.write_all(if is_first { b"[]\n" } else { b"\n]\n" })?;
    out.flush()?;
    Ok(())
}

/// The same without the array.
pub(super) fn print_lines<R: Row>(
    mut out: impl Write,
    feed: impl FnOnce(&mut dyn FnMut(R) -> Result<()>) -> Result<()>,
) -> Result<()> {
    feed(&mut |row| {
        object(&row, &mut out)?;
        Ok(out.write_all(b"\n")?)
    })?;
    Ok(out.flush()?)
}

fn object<R: Row>(row: &R, out: impl Write) -> Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(out, Harmless);
    let written = Object(row).serialize(&mut serializer);
    Ok(written.map_err(io::Error::from)?)
}

struct Object<'a, R>(&'a R);

impl<R: Row> Serialize for Object<'_, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        for (column, value) in R::COLUMNS.iter().zip(self.0.values()) {
            match value {
                Value::Name(name) => name_entries(&mut object, column, name)?,
                Value::Text(text) => object.serialize_entry(column, text)?,
                Value::Number(number) => object.serialize_entry(column, &number)?,
                Value::Truth(truth) => object.serialize_entry(column, &truth)?,
                Value::Time(time) => object.serialize_entry(column, &time.rfc3339())?,
                Value::Many(_) | Value::Unknown => object.serialize_entry(column, &())?,
            }
        }
        object.end()
    }
}

/// The name, and all its bytes in hexadecimal if they are not UTF-8.
pub(super) fn name_entries<M: SerializeMap>(
    object: &mut M,
    column: &str,
    name: &Name,
) -> Result<(), M::Error> {
    if let Ok(text) = std::str::from_utf8(&name.0) {
        return object.serialize_entry(column, text);
    }
    let (text, hex) = name.json_text();
    object.serialize_entry(column, &text)?;
    object.serialize_entry(&format!("{column}_hex"), &hex)
}

/// Compact JSON with every character escaped that could act on what shows it.
pub(super) struct Harmless;

impl Formatter for Harmless {
    fn write_string_fragment<W: Write + ?Sized>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // serde_json escapes the C0 controls itself, so that of ASCII only DEL can come here.
        if fragment.bytes().all(|byte| byte.is_ascii() && byte != 0x7f) {
            return out.write_all(fragment.as_bytes());
        }
        let mut written = 0;
        for (at, c) in fragment
            .char_indices()
            .filter(|(_, c)| is_unsafe_to_show(*c))
        {
            out.write_all(&fragment.as_bytes()[written..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            written = at + c.len_utf8();
        }
        out.write_all(&fragment.as_bytes()[written..])
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format::{Json, Ndjson};
    use super::super::tests::*;
    use crate::store::AccountUse;

    #[test]
    fn accounts_have_the_promised_fields() {
        assert_eq!(
            printed(Json, &look(), &[account(b"app", "app1"), hardly_seen()]),
            r#"[
{"server":"db1","name":"app","host":"app1","first_seen":"2026-06-25T19:43:01Z","last_seen":"2026-11-20T19:43:01Z","last_active":"2026-11-22T17:38:01Z","connects":12},
{"server":"db1","name":"pool","host":"10.0.0.9","first_seen":null,"last_seen":null,"last_active":"2026-11-22T17:38:01Z","connects":0}
]
"#
        );
        assert_eq!(printed::<AccountUse>(Json, &look(), &[]), "[]\n");
    }

    #[test]
    fn a_line_an_object_is_what_the_array_holds() {
        let rows = [account(b"a\n\xff", "app1"), hardly_seen()];
        let lines = printed(Ndjson, &look(), &rows);
        let array = printed(Json, &look(), &rows);
        assert_eq!(
            array,
            format!("[\n{}\n]\n", lines.trim_end().replace('\n', ",\n"))
        );
        assert_eq!(lines.lines().count(), 2);
        assert_eq!(printed::<AccountUse>(Ndjson, &look(), &[]), "");
    }

    #[test]
    fn failures_and_quarantine_have_the_promised_fields() {
        assert_eq!(
            printed(
                Json,
                &look(),
                &[failure(Some("root"), Some("h")), failure(None, None)]
            ),
            r#"[
{"server":"db1","name":"root","host":"h","code":1045,"first_seen":"2026-11-22T19:43:01Z","last_seen":"2026-11-22T19:43:01Z","attempts":3},
{"server":"db1","name":null,"host":null,"code":null,"first_seen":"2026-11-22T19:43:01Z","last_seen":"2026-11-22T19:43:01Z","attempts":3}
]
"#
        );
        assert_eq!(
            printed(Json, &look(), &[doubtful()]),
            r#"[
{"server":"db1","name":"root","host":"localhost","time":null,"connectionid":7,"why":"no session","from":null,"file":"/var/log/a\u202e.log","offset":1234}
]
"#
        );
    }

    #[test]
    fn a_string_is_the_name_itself_and_harmless() {
        let name = "é\x1b[2J\u{7f}\u{9b}\u{202e}\u{e0041}\"\\\n";
        let text = printed(Json, &look(), &[account(name.as_bytes(), "h")]);
        let escaped = r#""name":"é\u001b[2J\u007f\u009b\u202e\udb40\udc41\"\\\n","#;
        assert!(text.contains(escaped), "{text}");
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read[0]["name"], name);
        assert!(read[0].get("name_hex").is_none());
    }

    #[test]
    fn bytes_that_are_not_utf8_are_given_in_full() {
        let text = printed(Json, &look(), &[account(b"a\xff", "h")]);
        assert!(
            text.contains(r#""name":"a\\xff","name_hex":"61ff","host":"h","#),
            "{text}"
        );
    }
}
