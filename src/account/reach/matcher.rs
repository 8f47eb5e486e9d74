//! A host pattern that is held against the text of an address, one symbol at a time.

use super::super::pattern::{Element, HostPattern};

/// The number of a symbol that the text of an address may have in it: digits, `.` and `:`.
fn number(symbol: u8) -> Option<usize> {
    Some(match symbol {
        b'0'..=b'9' => usize::from(symbol - b'0'),
        b'a'..=b'f' => usize::from(symbol - b'a') + 10,
        b'.' => 16,
        b':' => 17,
        _ => return None,
    })
}

/// The longest text of an address: eight groups of four digits, seven colons. (`::255.255.255.255` is
/// shorter.)
const LONGEST: usize = 39;

/// How far a text got in a pattern is a `u128`; 0: it is no match, whatever follows.
#[derive(Debug)]
pub(super) enum Matcher {
    /// Bit n is set if what follows may match from element n on.
    Glob {
        /// By number of the symbol: the elements that take it as their one byte.
        takes: Box<[u128; 18]>,
        /// The elements that are a run of `%`.
        many: u128,
        /// Behind the last element.
        end: u128,
    },
    /// 1 while the parts so far lie in the network; `ALL` once the rest does not matter.
    Netmask { net: [u8; 4], mask: [u8; 4] },
}

/// State of a netmask that takes all that follows.
const ALL: u128 = 2;

impl Matcher {
    /// The matcher for addresses of IPv4, or of IPv6; none for a pattern that matches none of them.
    pub(super) fn new(host: &HostPattern, v4: bool) -> Option<Self> {
        if let Some((net, mask)) = host.netmask() {
            // An IPv6 address is held against the text, which has a `/`.
            return (v4 && !host.is_dead_netmask()).then(|| Self::Netmask {
                net: net.to_be_bytes(),
                mask: mask.to_be_bytes(),
            });
        }
        let elements = host.elements();
        let bytes = elements
            .iter()
            .filter(|element| **element != Element::Many)
            .count();
        if bytes > LONGEST {
            return None;
        }
        let mut takes = Box::new([0; 18]);
        let mut many = 0;
        // No two runs of `%` are neighbours: there are at most 2 * LONGEST + 1 elements.
        for (at, element) in elements.iter().enumerate() {
            match element {
                Element::Literal(byte) => {
                    takes[number(*byte)?] |= 1 << at;
                }
                Element::One => takes.iter_mut().for_each(|takes| *takes |= 1 << at),
                Element::Many => many |= 1 << at,
            }
        }
        let end = 1 << elements.len();
        Some(Self::Glob { takes, many, end })
    }

    /// Before the first symbol.
    pub(super) fn start(&self) -> u128 {
        match self {
            Self::Glob { many, .. } => skip(1, *many),
            Self::Netmask { .. } => 1,
        }
    }

    /// Behind one more symbol. `part`: number and value of the IPv4 part that it ends.
    pub(super) fn step(&self, at: u128, symbol: u8, part: Option<(u8, u8)>) -> u128 {
        match self {
            Self::Glob { takes, many, .. } => {
                let takes = number(symbol).map_or(0, |symbol| takes[symbol]);
                skip((at & takes) << 1 | at & many, *many)
            }
            Self::Netmask { .. } => self.at_end(at, part),
        }
    }

    /// It makes no difference which of the two symbols comes.
    pub(super) fn is_same(&self, one: u8, other: u8) -> bool {
        match self {
            Self::Glob { takes, .. } => {
                number(one).map(|symbol| takes[symbol]) == number(other).map(|symbol| takes[symbol])
            }
            Self::Netmask { .. } => false,
        }
    }

    /// Behind the last symbol: `part` as in [`step`](Self::step).
    pub(super) fn at_end(&self, at: u128, part: Option<(u8, u8)>) -> u128 {
        match (self, part) {
            (Self::Netmask { net, mask }, Some((part, value))) if at == 1 => {
                let part = usize::from(part);
                if value & mask[part] != net[part] {
                    0
                } else if mask[part + 1..].iter().all(|mask| *mask == 0) {
                    ALL
                } else {
                    1
                }
            }
            _ => at,
        }
    }

    /// A text that ends here is a match.
    pub(super) fn is_match(&self, at: u128) -> bool {
        match self {
            Self::Glob { end, .. } => at & end != 0,
            Self::Netmask { .. } => at == ALL,
        }
    }

    /// Whatever follows is a match.
    pub(super) fn takes_all(&self, at: u128) -> bool {
        match self {
            Self::Glob { many, end, .. } => at & many & (end >> 1) != 0,
            Self::Netmask { .. } => at == ALL,
        }
    }
}

/// A run of `%` may be empty. Nothing else sets the bit behind it.
fn skip(at: u128, many: u128) -> u128 {
    at | (at & many) << 1
}
