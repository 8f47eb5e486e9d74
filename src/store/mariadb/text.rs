//! Names as MariaDB's text columns hold them.
//!
//! A reader of the table sees a name as it is, so the columns are text, not bytes. A name that is
//! not UTF-8 is written in a way that no other name is: behind U+FFFD, the replacement character,
//! its bad bytes stand as `\xNN` and a backslash as `\\`. A name that begins with U+FFFD itself is
//! written so as well.

use crate::checkpoint::Digest;
use crate::name::{Name, from_hex};

const MARK: char = '\u{fffd}';

/// The text for `name` in a column of `most` characters.
///
/// A server's names fit by far. What does not (lines that no server wrote) is cut, and a digest of
/// the whole keeps two such names apart.
pub(super) fn encode(name: &Name, most: usize) -> Vec<u8> {
    let text = match std::str::from_utf8(&name.0) {
        Ok(text) if !text.starts_with(MARK) => text.to_owned(),
        _ => escape(&name.0),
    };
    if text.len() <= most || text.chars().count() <= most {
        return text.into_bytes();
    }
    let digest = format!("…{}", Digest::of(&name.0).sha256);
    let kept = most - digest.chars().count();
    let cut: String = text.chars().take(kept).collect();
    (cut + &digest).into_bytes()
}

/// The reverse of [`encode`].
pub(super) fn decode(text: Vec<u8>) -> Name {
    match text.strip_prefix(MARK.encode_utf8(&mut [0; 4]).as_bytes()) {
        Some(escaped) => Name(unescape(escaped)),
        None => Name(text),
    }
}

fn escape(bytes: &[u8]) -> String {
    let mut out = String::from(MARK);
    for chunk in bytes.utf8_chunks() {
        out.push_str(&chunk.valid().replace('\\', "\\\\"));
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

fn unescape(mut text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    while let Some((first, rest)) = text.split_first() {
        let byte = || from_hex(std::str::from_utf8(rest.get(1..3)?).ok()?);
        (text, _) = match (first, rest.first()) {
            (b'\\', Some(b'x')) if byte().is_some() => {
                (&rest[3..], out.extend(byte().unwrap_or_default()))
            }
            (b'\\', Some(b'\\')) => (&rest[1..], out.push(b'\\')),
            _ => (rest, out.push(*first)),
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_text_is_its_own_text() {
        for name in ["", "app", "a\\xff", "a ", "\u{0}", "日本"] {
            assert_eq!(encode(&Name::from(name), 100), name.as_bytes());
        }
    }

    #[test]
    fn any_bytes_come_back_and_none_are_taken_for_others() {
        let names: [&[u8]; 8] = [
            b"caf\xe9",
            b"caf\\xe9",
            b"\xef\xbf\xbdcaf\\xe9",
            b"\xef\xbf\xbd",
            b"\xff\\\\x\xfe",
            b"\xff\\xfe",
            b"\xe2\x80",
            "é".as_bytes(),
        ];
        let texts: Vec<_> = names
            .iter()
            .map(|name| encode(&Name::from(*name), 100))
            .collect();
        for (at, (name, text)) in names.iter().zip(&texts).enumerate() {
            assert!(std::str::from_utf8(text).is_ok());
            assert_eq!(decode(text.clone()).0, *name);
            assert!(!texts[..at].contains(text), "{name:?}");
        }
        assert_eq!(texts[0], "\u{fffd}caf\\xe9".as_bytes());
    }

    #[test]
    fn what_no_server_wrote_is_cut_and_kept_apart() {
        let long = |end: &str| encode(&Name::from(&*("é".repeat(200) + end)), 100);
        let text = String::from_utf8(long("a")).unwrap();
        assert_eq!(text.chars().count(), 100);
        assert!(text.starts_with("éé"));
        assert_ne!(long("a"), long("b"));
        assert_eq!(encode(&Name(vec![0xff; 24]), 97).len(), 3 + 24 * 4);
    }
}
