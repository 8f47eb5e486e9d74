//! The texts of IPv6 addresses as `inet_ntop` writes them: groups of hexadecimal digits, the longest
//! run of zero groups (of two or more; the first of equals) as `::`, and `::a.b.c.d` where the first
//! 96 bits, and no more groups, are zero. IPv4-mapped addresses are not among them: they are IPv4.

use super::Language;
use super::ipv4;

/// How far the text of an address is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Text {
    /// As groups; none if the text can only be `::a.b.c.d`.
    groups: Option<Groups>,
    /// As `::a.b.c.d`; none if it can't be.
    quad: Option<Quad>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Groups {
    /// Whole groups on this side of `::`.
    count: u8,
    /// Whole groups left of `::`, and the longest run of zero groups among them, once it is written.
    left: Option<(u8, u8)>,
    /// The longest run of zero groups on this side.
    longest: u8,
    /// The run of zero groups that this side ends with.
    run: u8,
    /// Colons that the text ends with.
    colons: u8,
    /// Digits of the group that is being written.
    digits: u8,
    /// That group is 0.
    zero: bool,
    /// That group consists of `f`.
    all_f: bool,
    /// The text begins with `::ffff:`.
    ffff: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Quad {
    /// Nothing, or `:`, is written.
    Colons(u8),
    /// `::` and as much of the four numbers. One of the first two must not be 0.
    Numbers(ipv4::Text, bool),
}

impl Language for Text {
    const SYMBOLS: &'static [u8] = b":123456789abcdef0.";

    fn start() -> Self {
        Self {
            groups: Some(Groups {
                count: 0,
                left: None,
                longest: 0,
                run: 0,
                colons: 0,
                digits: 0,
                zero: false,
                all_f: false,
                ffff: false,
            }),
            quad: Some(Quad::Colons(0)),
        }
    }

    fn next(self, symbol: u8) -> Option<Self> {
        let next = Self {
            groups: self.groups.and_then(|groups| groups.next(symbol)),
            quad: self.quad.and_then(|quad| quad.next(symbol)),
        };
        (next.groups.is_some() || next.quad.is_some()).then_some(next)
    }

    fn is_whole(self) -> bool {
        self.groups.is_some_and(Groups::is_whole) || self.quad.is_some_and(Quad::is_whole)
    }

    fn part(self) -> Option<(u8, u8)> {
        // No netmask is held against these.
        None
    }
}

impl Groups {
    fn next(self, symbol: u8) -> Option<Self> {
        match symbol {
            b':' => self.colon(),
            b'0'..=b'9' | b'a'..=b'f' => self.digit(symbol),
            _ => None,
        }
    }

    fn colon(self) -> Option<Self> {
        if self.digits > 0 {
            let ended = self.end_group()?;
            return Some(Self { colons: 1, ..ended });
        }
        match (self.colons, self.left) {
            // The very first colon must be followed by another.
            (0, _) => Some(Self { colons: 1, ..self }),
            // A zero group beside `::` would be part of it.
            (1, None) if self.run == 0 && self.count <= 6 => Some(Self {
                // What is of no more interest is as it was at the beginning: fewer states differ.
                count: 0,
                left: Some((self.count, self.longest)),
                longest: 0,
                colons: 2,
                ..self
            }),
            _ => None,
        }
    }

    fn digit(self, symbol: u8) -> Option<Self> {
        if self.digits == 0 {
            // A single colon at the beginning; no room for another group.
            if self.colons == 1 && self.count == 0 && self.left.is_none() || self.is_full() {
                return None;
            }
        } else if self.zero || self.digits == 4 {
            return None;
        }
        Some(Self {
            colons: 0,
            digits: self.digits + 1,
            zero: symbol == b'0' && self.digits == 0,
            // Of interest in the first group behind a `::` at the beginning only.
            all_f: symbol == b'f'
                && (self.digits == 0 || self.all_f)
                && self.left == Some((0, 0))
                && self.count == 0,
            ..self
        })
    }

    fn is_full(self) -> bool {
        match self.left {
            Some((left, _)) => left + self.count >= 6,
            None => self.count >= 8,
        }
    }

    /// Counts the group that is being written.
    fn end_group(self) -> Option<Self> {
        let first_behind = self.left.is_some() && self.count == 0;
        if first_behind && self.zero {
            return None;
        }
        let run = if self.zero { self.run + 1 } else { 0 };
        Some(Self {
            count: self.count + 1,
            run,
            longest: self.longest.max(run),
            digits: 0,
            zero: false,
            all_f: false,
            ffff: self.ffff || self.all_f && self.digits == 4,
            ..self
        })
    }

    fn is_whole(self) -> bool {
        let whole = match (self.digits, self.colons) {
            (0, 2) => Some(self),
            (0, _) => None,
            _ => self.end_group(),
        };
        whole.is_some_and(|text| match text.left {
            None => text.count == 8 && text.longest <= 1,
            Some((left, longest)) => {
                let hidden = 8 - left - text.count;
                let as_quad = left == 0 && text.count == 2;
                let mapped = text.ffff && text.count == 3;
                longest < hidden && text.longest <= hidden && !as_quad && !mapped
            }
        })
    }
}

impl Quad {
    fn next(self, symbol: u8) -> Option<Self> {
        match (self, symbol) {
            (Self::Colons(2), _) => {
                let text = ipv4::Text::start().next(symbol)?;
                Some(Self::Numbers(text, false))
            }
            (Self::Colons(count), b':') => Some(Self::Colons(count + 1)),
            (Self::Colons(_), _) => None,
            (Self::Numbers(text, high), _) => {
                let ends = text.part().filter(|_| symbol == b'.');
                // Behind the second it is true already.
                let high = high || ends.is_some_and(|(part, value)| part < 2 && value > 0);
                let next = text.next(symbol)?;
                // Both of the first two are 0.
                (high || ends.is_none_or(|(part, _)| part != 1))
                    .then_some(Self::Numbers(next, high))
            }
        }
    }

    fn is_whole(self) -> bool {
        matches!(self, Self::Numbers(text, _) if text.is_whole())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Address;

    fn is_text(text: &str) -> bool {
        let end = text
            .bytes()
            .try_fold(Text::start(), |state, symbol| state.next(symbol));
        end.is_some_and(Text::is_whole)
    }

    #[test]
    fn the_texts_are_those_that_addresses_have() {
        for text in [
            "::",
            "::1",
            "1::",
            "fd00::5",
            "1:2:3:4:5:6:7:8",
            "1::8",
            "1:0:2:3:4:5:6:7",
            "1:0:0:2::3",
            "1:0:2:0:2:0:2:0",
            "::2:3:4:5:6:7",
            "1:2:3:4:5:6::",
            "1::2:0:0:3",
            "1:0:0:2:3::",
            "::1.2.3.4",
            "::0.1.0.0",
            "::ffff:1",
            "::ffff:1:2:3",
            "::ff:1:2",
            "::fff:1:2",
            "::1fff:1:2",
            "1::ffff:1:2",
            "::1:ffff:2",
            "::1:0:0:2",
            "::ffff:ffff",
            "0:1:2:3:4:5:6:7",
            "::f:f:f",
            "::ffff",
            "2001:db8:0:1::",
            "::1.0.0.0",
            "::255.0.0.1",
        ] {
            let whole =
                Address::parse(text.as_bytes()).is_some_and(|ip| ip.text() == text.as_bytes());
            assert_eq!(is_text(text), whole, "{text}");
        }
        for text in [
            "",
            ":",
            ":1",
            "1",
            "1:",
            "1:2",
            ":::",
            "1::2::3",
            "01::",
            "12345::",
            "0::1",
            "1::0",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9",
            "1:2:3:4:5:6:7::",
            "1:0:0:2:3:4:5:6",
            "::1:2",
            "::ffff:1:2",
            "::ffff:1.2.3.4",
            "::0.0.1.2",
            "1::1.2.3.4",
            "::1.2.3",
            "::1.2.3.4.5",
            "::256.1.1.1",
            "1:0:0:2::3:4:5",
            "1::2:0:0:0:3",
            "g::",
            "FD00::",
            "::0:1:2",
            "1:::",
            "::1.2.3.4:5",
            "1.2.3.4",
            ".",
            "::.",
            "1::2:3:4:5:6:7",
            "1:2:3:4:5:6:7:",
            "1::2:",
            "1:0:0:2::3:4",
            "::ffff:0:1",
        ] {
            assert!(!is_text(text), "{text}");
        }
    }
}
