//! The texts of IPv4 addresses: four numbers up to 255 without leading zeros.

use super::Language;

/// How far the text of an address is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Text {
    /// Number of the part that is being written.
    part: u8,
    digits: u8,
    value: u8,
}

impl Language for Text {
    // An end, or a dot, is tried before more digits, and 1 before 0: 10.1.1.1 is a fine example.
    const SYMBOLS: &'static [u8] = b".1234567890";

    fn start() -> Self {
        Self {
            part: 0,
            digits: 0,
            value: 0,
        }
    }

    fn next(self, symbol: u8) -> Option<Self> {
        match symbol {
            b'.' => (self.digits > 0 && self.part < 3).then_some(Self {
                part: self.part + 1,
                digits: 0,
                value: 0,
            }),
            b'0'..=b'9' => {
                if self.digits > 0 && self.value == 0 {
                    return None;
                }
                let value = self.value.checked_mul(10)?.checked_add(symbol - b'0')?;
                Some(Self {
                    digits: self.digits + 1,
                    value,
                    ..self
                })
            }
            _ => None,
        }
    }

    fn is_whole(self) -> bool {
        self.part == 3 && self.digits > 0
    }

    fn part(self) -> Option<(u8, u8)> {
        (self.digits > 0).then_some((self.part, self.value))
    }
}
