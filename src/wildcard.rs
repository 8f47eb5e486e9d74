//! Patterns by which a person picks names out of a list: `app`, `app_*`, `*.example.com`.
//!
//! A name may hold any byte, `%`, `_` and `?` are common in it, and what a person copies into a
//! pattern comes from a table of ours. So `*` is the only wildcard, and the rest is read as tables
//! write names: `\n`, `\xff`, `\u{202e}`, `\\`; and `\*` is a star itself. Compared byte for byte, as
//! the server compares user names.

use memchr::memmem;

use crate::name::{Name, escape};

/// A pattern for names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wildcard {
    /// What stands before, between and behind the stars.
    pieces: Vec<Vec<u8>>,
}

impl Wildcard {
    /// Reads a pattern. The error says what is wrong in words.
    pub fn parse(pattern: &[u8]) -> Result<Self, String> {
        let (mut pieces, mut piece) = (Vec::new(), Vec::new());
        let mut rest = pattern;
        while let Some((first, behind)) = rest.split_first() {
            rest = behind;
            match first {
                b'*' => pieces.push(std::mem::take(&mut piece)),
                b'\\' => {
                    let (bytes, length) = unescape(rest).ok_or_else(|| {
                        format!(
                            "'{}' is not a pattern: write \\\\ for a backslash, \\* for a star",
                            escape(pattern)
                        )
                    })?;
                    piece.extend(bytes);
                    rest = &rest[length..];
                }
                other => piece.push(*other),
            }
        }
        pieces.push(piece);
        Ok(Self { pieces })
    }

    /// The only name that the pattern fits; none if it has a star.
    pub fn exact(&self) -> Option<Name> {
        match &self.pieces[..] {
            [only] => Some(Name(only.clone())),
            _ => None,
        }
    }

    /// Whether the pattern fits the whole of `name`.
    pub fn fits(&self, name: &Name) -> bool {
        let Some((first, behind)) = self.pieces.split_first() else {
            return false;
        };
        let Some((last, between)) = behind.split_last() else {
            return *first == name.0;
        };
        let rest = name.0.strip_prefix(&first[..]);
        let Some(mut rest) = rest.and_then(|rest| rest.strip_suffix(&last[..])) else {
            return false;
        };
        // The leftmost place of each leaves most room for the next.
        between.iter().all(|piece| {
            let found = memmem::find(rest, piece);
            rest = &rest[found.map_or(0, |at| at + piece.len())..];
            found.is_some()
        })
    }
}

/// The bytes that stand for the escape which begins behind a backslash, and its length.
fn unescape(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (kind, behind) = text.split_first()?;
    let hex = |digits: &[u8]| {
        let digits = std::str::from_utf8(digits).ok()?;
        let all_hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        u32::from_str_radix(digits, 16).ok().filter(|_| all_hex)
    };
    Some(match kind {
        b'\\' | b'*' => (vec![*kind], 1),
        b'n' => (vec![b'\n'], 1),
        b'r' => (vec![b'\r'], 1),
        b't' => (vec![b'\t'], 1),
        b'x' => (vec![u8::try_from(hex(behind.get(..2)?)?).ok()?], 3),
        b'u' => {
            let end = behind.iter().position(|byte| *byte == b'}')?;
            let digits = behind[..end].strip_prefix(b"{")?;
            let c = char::from_u32(hex(digits)?)?;
            (c.encode_utf8(&mut [0; 4]).as_bytes().to_vec(), end + 2)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fits(pattern: &str, name: &[u8]) -> bool {
        let pattern = Wildcard::parse(pattern.as_bytes()).unwrap();
        pattern.fits(&Name::from(name))
    }

    #[test]
    fn a_star_is_any_bytes_and_the_whole_name_counts() {
        for (pattern, name, expected) in [
            ("app", "app", true),
            ("app", "App", false),
            ("app", "app ", false),
            ("app", "my_app", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("app_*", "app_", true),
            ("app_*", "appx", false),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("10.0.?.%", "10.0.1.5", false),
            ("10.0.5.%", "10.0.5.%", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*a", "aba", true),
            ("a*b*b*a", "aba", false),
            ("*b*", "abc", true),
            ("**b**", "b", true),
            ("*ab*ab*", "abab", true),
            ("*ab*ab*", "aab ab", true),
            ("*ab*ab*", "aba", false),
        ] {
            assert_eq!(fits(pattern, name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_is_written_as_tables_write_names() {
        assert!(fits("a\\*b", b"a*b"));
        assert!(!fits("a\\*b", b"axb"));
        assert!(fits("a\\nb*", b"a\nbc"));
        assert!(fits("\\xff\\x00*", b"\xff\0"));
        assert!(fits("\\u{202e}\\\\", "\u{202e}\\".as_bytes()));
        let name = |pattern: &str| Wildcard::parse(pattern.as_bytes()).unwrap().exact();
        assert_eq!(name("a\\*"), Some("a*".into()));
        assert_eq!(name("a*"), None);
        for bad in [
            "CORP\\bob",
            "\\",
            "\\x",
            "\\xg0",
            "\\x+1",
            "\\u{110000}",
            "\\u{}",
            "\\u{41",
        ] {
            let error = Wildcard::parse(bad.as_bytes()).unwrap_err();
            assert!(error.contains("write \\\\ for a backslash"), "{error}");
        }
    }

    proptest! {
        /// A name copied out of a table is a pattern that fits this name and no other.
        #[test]
        fn what_a_table_shows_can_be_asked_for(name: Vec<u8>, other: Vec<u8>) {
            let shown = escape(&name).replace('*', "\\*");
            let pattern = Wildcard::parse(shown.as_bytes()).unwrap();
            prop_assert!(pattern.fits(&Name(name.clone())));
            prop_assert_eq!(pattern.fits(&Name(other.clone())), name == other);
        }

        /// Against every way to divide the name.
        #[test]
        fn stars_are_tried_at_every_place(pattern in "[ab*]{0,6}", name in "[ab]{0,8}") {
            fn slow(pattern: &[u8], name: &[u8]) -> bool {
                match pattern.split_first() {
                    None => name.is_empty(),
                    Some((b'*', rest)) => (0..=name.len()).any(|at| slow(rest, &name[at..])),
                    Some((byte, rest)) => name.first() == Some(byte) && slow(rest, &name[1..]),
                }
            }
            prop_assert_eq!(
                fits(&pattern, name.as_bytes()),
                slow(pattern.as_bytes(), name.as_bytes())
            );
        }
    }
}
