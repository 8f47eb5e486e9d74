//! User names, host names and server names as the audit log writes them: bytes.
//!
//! A client that cannot even log in chooses the bytes of a user name, so a name may hold line
//! breaks, terminal escapes, marks that turn the direction of writing, or bytes that are not UTF-8.
//! [`Name`] keeps them exactly; [`Name::escaped`] is the only way in which a name reaches a
//! terminal, a log line or a CSV field.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The bytes of a name, unchanged. Compared, ordered and hashed byte for byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Name(pub Vec<u8>);

impl Name {
    /// The name as text that can't act on what shows it: control characters, bidirectional and
    /// invisible marks and bytes that are not UTF-8 stand as `\n`, `\x1b`, `\u{202e}`, `\xff`.
    ///
    /// A backslash is doubled, so that the text can be read back without doubt.
    pub fn escaped(&self) -> String {
        escape(&self.0)
    }

    /// The name as a JSON string shows it: text as it is, bytes that are not UTF-8 as `\xNN`.
    /// The second value is all bytes in hexadecimal if some are not UTF-8, to tell the two apart.
    pub fn json_text(&self) -> (String, Option<String>) {
        match std::str::from_utf8(&self.0) {
            Ok(text) => (text.to_owned(), None),
            Err(_) => {
                let mut text = String::with_capacity(self.0.len() + 8);
                for chunk in self.0.utf8_chunks() {
                    text.push_str(chunk.valid());
                    for byte in chunk.invalid() {
                        text.push_str(&format!("\\x{byte:02x}"));
                    }
                }
                (text, Some(to_hex(&self.0)))
            }
        }
    }
}

impl From<&[u8]> for Name {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escaped())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.escaped())
    }
}

/// In a checkpoint a name is a string, or `{"hex": "…"}` where its bytes are not UTF-8.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Text(String),
    Bytes { hex: String },
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Stored::Bytes {
                hex: to_hex(&self.0),
            }
            .serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Stored::deserialize(deserializer)? {
            Stored::Text(text) => Ok(Self(text.into_bytes())),
            Stored::Bytes { hex } => from_hex(&hex)
                .map(Self)
                .ok_or_else(|| serde::de::Error::custom("a name in hexadecimal is damaged")),
        }
    }
}

/// Lower-case hexadecimal of `bytes`.
pub fn to_hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('0');
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.map(digit).collect()
}

/// The reverse of [`to_hex`]; `None` if the text is not hexadecimal.
pub fn from_hex(hex: &str) -> Option<Vec<u8>> {
    if !hex.len().is_multiple_of(2) {
        return None;
    }
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok())
        .collect()
}

/// See [`Name::escaped`]; for bytes that are not a name, such as an example line of a log.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if (c as u32) < 0x80 && c.is_control() => {
                    out.push_str(&format!("\\x{:02x}", c as u32));
                }
                c if is_unsafe_to_show(c) => out.push_str(&format!("\\u{{{:x}}}", c as u32)),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

/// Characters that act on a terminal or on the reading of a text instead of standing in it:
/// controls (C0, DEL, C1), bidirectional marks, line and paragraph separators, invisible
/// characters, tags, and private-use code points that a font may draw as anything.
pub fn is_unsafe_to_show(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{e000}'..='\u{f8ff}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}' | '\u{f0000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_could_act_on_a_terminal() {
        let name = Name::from("a\nb\x1b[2J\u{202e}\u{9b}é\\".as_bytes());
        assert_eq!(name.escaped(), "a\\nb\\x1b[2J\\u{202e}\\u{9b}é\\\\");
        assert_eq!(Name(vec![b'x', 0xff]).escaped(), "x\\xff");
    }

    #[test]
    fn bytes_that_are_not_utf8_survive_a_checkpoint() {
        for bytes in [&b"plain"[..], b"\xff\xfe\x00", b"", "日本".as_bytes()] {
            let name = Name::from(bytes);
            let json = serde_json::to_string(&name).unwrap();
            assert_eq!(serde_json::from_str::<Name>(&json).unwrap(), name, "{json}");
        }
    }

    #[test]
    fn json_shows_bad_bytes_and_gives_all_in_hex() {
        assert_eq!(
            Name(vec![b'a', 0xff]).json_text(),
            ("a\\xff".into(), Some("61ff".into()))
        );
        assert_eq!(Name::from("é").json_text(), ("é".into(), None));
    }
}
