//! Host patterns: the column Host of an account row, and whom it admits.

use std::fmt;
use std::net::IpAddr;

use super::address::Address;
use super::until_nul;
use crate::name::Name;

/// The host part of an account row. Not the host of a client: `10.%` is a pattern, `10.1.2.3` may be
/// either, so the two have different types.
#[derive(Clone)]
pub struct HostPattern {
    text: Name,
    netmask: Option<(u32, u32)>,
    elements: Box<[Element]>,
}

/// What a pattern consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    /// This byte; `\x` is one `x`, a `\` at the end is itself.
    Literal(u8),
    /// `_`: any one byte.
    One,
    /// A run of `%`: any bytes, or none.
    Many,
}

/// By what a pattern admits a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The client's IPv4 address lies in the pattern's network.
    Netmask,
    /// The client's name is like the pattern.
    Name,
    /// The text of the client's address is like the pattern.
    Address,
}

impl HostPattern {
    /// The pattern that stands in the column Host.
    pub fn new(text: impl Into<Name>) -> Self {
        let text = text.into();
        let effective = effective(&text);
        Self {
            netmask: parse_netmask(effective),
            elements: elements(effective),
            text,
        }
    }

    /// The column as it is.
    pub fn text(&self) -> &Name {
        &self.text
    }

    /// What the server makes of the column: `%` of an empty one, else what stands before a NUL (if
    /// that is nothing, nobody is like it; seen on 10.11).
    pub fn effective(&self) -> &[u8] {
        effective(&self.text)
    }

    /// Address and mask, if the pattern is `a.b.c.d/m.m.m.m` with a mask that is not 0.0.0.0. Then
    /// clients with an IPv4 address are held against them and against nothing else.
    pub fn netmask(&self) -> Option<(u32, u32)> {
        self.netmask
    }

    /// The netmask has an address with bits outside of the mask: no IPv4 client matches, ever.
    pub fn is_dead_netmask(&self) -> bool {
        self.netmask.is_some_and(|(net, mask)| net & !mask != 0)
    }

    /// By what the pattern admits a client of this name (if it has one) and address (if it has one).
    ///
    /// Source: probed on 10.5.29, 10.11.19 and 11.8.6. Names are compared without regard to the case
    /// of ASCII letters, the text of an address with regard to it. `/24` and the masks of IPv6 are not
    /// understood by any version: they are text.
    pub fn admits(&self, name: Option<&[u8]>, address: Option<&Address>) -> Option<How> {
        if let (Some((net, mask)), Some(IpAddr::V4(v4))) = (self.netmask, address.map(Address::ip))
        {
            return (u32::from(v4) & mask == net).then_some(How::Netmask);
        }
        if name.is_some_and(|name| self.is_like_name(name)) {
            return Some(How::Name);
        }
        address
            .is_some_and(|address| glob(&self.elements, address.text(), false))
            .then_some(How::Address)
    }

    /// The client's name is like the pattern.
    pub(super) fn is_like_name(&self, name: &[u8]) -> bool {
        glob(&self.elements, name, true)
    }

    /// The pattern is a host *name*, which a server that does not resolve names drops when it loads
    /// its accounts: not `localhost`, none of `: % _ /` in it, and something else than digits and dots.
    pub fn is_name(&self) -> bool {
        let text = self.effective();
        !text.eq_ignore_ascii_case(b"localhost")
            && !text.iter().any(|byte| b":%_/".contains(byte))
            && !text
                .iter()
                .all(|byte| *byte == b'.' || byte.is_ascii_digit())
    }

    /// The only text that a pattern without wildcards is like, but for the case of names.
    pub(super) fn literal(&self) -> Option<Vec<u8>> {
        let byte = |element: &Element| match element {
            Element::Literal(byte) => Some(*byte),
            _ => None,
        };
        match self.netmask {
            Some(_) => None,
            None => self.elements.iter().map(byte).collect(),
        }
    }

    pub(super) fn elements(&self) -> &[Element] {
        &self.elements
    }
}

impl PartialEq for HostPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for HostPattern {}

impl fmt::Debug for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.text, f)
    }
}

fn effective(text: &Name) -> &[u8] {
    match &*text.0 {
        b"" => b"%",
        text => until_nul(text),
    }
}

fn elements(pattern: &[u8]) -> Box<[Element]> {
    let mut out = Vec::with_capacity(pattern.len());
    let mut bytes = pattern.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                while bytes.next_if_eq(&b'%').is_some() {}
                Element::Many
            }
            b'_' => Element::One,
            b'\\' => Element::Literal(bytes.next().unwrap_or(b'\\')),
            byte => Element::Literal(byte),
        });
    }
    out.into()
}

/// Whether `text` is like the pattern of `elements`; with `fold`, whatever the case of ASCII letters.
fn glob(elements: &[Element], text: &[u8], fold: bool) -> bool {
    let (mut e, mut t) = (0, 0);
    // Where to go on if what follows the last run of `%` does not fit: let the run take one more byte.
    let mut again = None;
    loop {
        let fits = match (elements.get(e), text.get(t)) {
            (None, None) => return true,
            (Some(Element::Many), _) => {
                again = Some((e + 1, t));
                e += 1;
                continue;
            }
            (Some(Element::One), Some(_)) => true,
            (Some(Element::Literal(a)), Some(b)) => a == b || fold && a.eq_ignore_ascii_case(b),
            _ => false,
        };
        if fits {
            (e, t) = (e + 1, t + 1);
            continue;
        }
        match again {
            Some((behind, from)) if from < text.len() => {
                again = Some((behind, from + 1));
                (e, t) = (behind, from + 1);
            }
            _ => return false,
        }
    }
}

/// Address and mask of `a.b.c.d/m.m.m.m`; none if `text` is anything else or the mask is 0.0.0.0.
fn parse_netmask(text: &[u8]) -> Option<(u32, u32)> {
    let (net, rest) = parse_v4(text)?;
    let (mask, rest) = parse_v4(rest.strip_prefix(b"/")?)?;
    (rest.is_empty() && mask != 0).then_some((net, mask))
}

/// The IPv4 address that `text` begins with, and what follows. Each part is read as the server reads
/// it (seen on 10.11): white space, a sign and any number of zeros may stand before its digits.
fn parse_v4(text: &[u8]) -> Option<(u32, &[u8])> {
    let mut address = 0;
    let mut rest = text;
    for part in 0..4 {
        if part > 0 {
            rest = rest.strip_prefix(b".")?;
        }
        let (number, behind) = parse_part(rest)?;
        address = address << 8 | number;
        rest = behind;
    }
    Some((address, rest))
}

fn parse_part(text: &[u8]) -> Option<(u32, &[u8])> {
    let space = |byte: &&u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let blank = text.iter().take_while(space).count();
    let text = &text[blank..];
    let (minus, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(digits);
    if number.is_empty() {
        return None;
    }
    let mut value: u32 = 0;
    for digit in number {
        value = value * 10 + u32::from(digit - b'0');
        if value > 255 {
            return None;
        }
    }
    (value == 0 || !minus).then_some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(pattern: &str, name: &str, ip: &str) -> Option<How> {
        let name = (!name.is_empty()).then_some(name.as_bytes());
        let address = (!ip.is_empty()).then(|| Address::parse(ip.as_bytes()).unwrap());
        HostPattern::new(pattern).admits(name, address.as_ref())
    }

    #[test]
    fn a_netmask_admits_its_network_and_is_nothing_else_for_ipv4() {
        let net = "10.1.2.0/255.255.255.0";
        assert_eq!(admits(net, "", "10.1.2.100"), Some(How::Netmask));
        assert_eq!(admits(net, net, "10.1.2.100"), Some(How::Netmask));
        assert_eq!(admits(net, "", "10.1.3.100"), None);
        assert_eq!(admits(net, net, "10.1.3.100"), None);
        assert_eq!(admits(net, net, ""), Some(How::Name));
        assert_eq!(admits(net, net, "fd00::1"), Some(How::Name));
        assert_eq!(admits(net, "localhost", ""), None);
        assert_eq!(
            admits("0.0.0.3/0.0.0.255", "", "10.9.8.3"),
            Some(How::Netmask)
        );
    }

    #[test]
    fn an_address_with_host_bits_never_matches() {
        for (net, dead) in [
            ("10.1.2.5/255.255.255.0", true),
            ("10.1.2.0/255.255.255.0", false),
            ("10.1.2.5/255.255.255.255", false),
        ] {
            assert_eq!(HostPattern::new(net).is_dead_netmask(), dead, "{net}");
        }
        assert_eq!(admits("10.1.2.5/255.255.255.0", "", "10.1.2.5"), None);
        assert_eq!(admits("10.1.2.5/255.255.255.0", "", "10.1.2.0"), None);
        assert!(!HostPattern::new("10.%").is_dead_netmask());
    }

    #[test]
    fn prefixes_ipv6_masks_and_a_mask_of_zeros_are_text() {
        for text in [
            "10.1.2.0/24",
            "10.0.0.0/255.0",
            "10.0.0.0/255.0.0.0/8",
            "10.0.0.0/255.0.0.0x",
            "10.0.0.0",
            "10.0.0/255.0.0.0",
            "10.0.0.0./255.0.0.0",
            "10.0.0.0 /255.0.0.0",
            "fd00::/ffff::",
            "fd00::/16",
            "0.0.0.0/0.0.0.0",
            "10.0.0.256/255.0.0.0",
            "10.0.0.0/255.0.0.256",
            "10.0.0.-1/255.255.255.255",
            "10.0.0.0/255.0.0.",
            "/255.0.0.0",
            "10.0.0.-/255.0.0.0",
            "%",
            "",
        ] {
            assert_eq!(HostPattern::new(text).netmask(), None, "{text}");
        }
        assert_eq!(admits("10.1.2.0/24", "", "10.1.2.0"), None);
        assert_eq!(admits("fd00::/16", "", "fd00::5"), None);
        assert_eq!(admits("0.0.0.0/0.0.0.0", "", "10.1.2.3"), None);
    }

    /// Each of these let a client in on 10.11.
    #[test]
    fn the_server_reads_the_parts_of_a_netmask_leniently() {
        for text in [
            "127.0.0.0/255.0.0.0",
            " 127.0.0.0/255.0.0.0",
            "+127.0.0.0/255.0.0.0",
            "127.0.0.0/ 255.0.0.00",
            "127.0.0.000/255.-0.0.0",
            "\t127.0.0.0/\n255.0.0.0",
            "127.0.0.-0/255.0.0.0",
            "127.0.0.0/255.0.0.+0",
            "0127.0.0.0/255.0.0.0",
            "127.0.0.0000000000000000000000000000/255.0.0.0",
            "\x0b\x0c\r 127.0.0.0/255.0.0.0\0x",
        ] {
            let expected = Some((0x7f00_0000, 0xff00_0000));
            assert_eq!(HostPattern::new(text).netmask(), expected, "{text:?}");
        }
        let utf8_space = "\u{a0}127.0.0.0/255.0.0.0";
        assert_eq!(HostPattern::new(utf8_space).netmask(), None);
        assert_eq!(
            HostPattern::new("1.2.3.4/5.6.7.8").netmask(),
            Some((0x0102_0304, 0x0506_0708))
        );
    }

    #[test]
    fn names_match_in_any_case_and_addresses_in_theirs() {
        assert_eq!(
            admits("APP2.Example.%", "app2.example.test", "10.0.0.1"),
            Some(How::Name)
        );
        assert_eq!(admits("fd00::%", "", "fd00::a:b"), Some(How::Address));
        assert_eq!(admits("FD00::%", "", "fd00::a:b"), None);
        assert_eq!(admits("É", "é", ""), None);
        assert_eq!(admits("[", "{", ""), None);
    }

    #[test]
    fn wildcards_and_their_escapes() {
        for (pattern, text, like) in [
            ("%", "localhost", true),
            ("", "localhost", true),
            ("_", "a", true),
            ("_", "", false),
            ("_", "ab", false),
            ("%_", "a", true),
            ("a%b%c", "aXbYbZc", true),
            ("a%b%c", "aXbYcZ", false),
            ("%ab", "aab", true),
            ("%%", "", true),
            ("db\\_node", "db_node", true),
            ("db\\_node", "dbxnode", false),
            ("app\\%", "app%", true),
            ("app\\%", "appx", false),
            ("l\\ocalhost", "localhost", true),
            ("a\\\\", "a\\", true),
            ("a\\", "a\\", true),
            ("a\\", "a", false),
            ("a", "", false),
            ("a", "ab", false),
            ("local\0host", "local", true),
        ] {
            let text = text.as_bytes();
            assert_eq!(
                HostPattern::new(pattern).is_like_name(text),
                like,
                "{pattern}"
            );
        }
    }

    #[test]
    fn an_empty_host_is_a_percent_sign() {
        assert_eq!(HostPattern::new("").effective(), b"%");
        assert_eq!(HostPattern::new("\0x").effective(), b"");
        assert_eq!(admits("\0x", "localhost", "10.1.2.100"), None);
        assert_eq!(admits("", "", "10.1.2.100"), Some(How::Address));
        assert_ne!(HostPattern::new(""), HostPattern::new("%"));
        assert_eq!(HostPattern::new("a"), HostPattern::new("a"));
        assert_eq!(HostPattern::new("a\n%").to_string(), "a\\n%");
        assert_eq!(format!("{:?}", HostPattern::new("a\n%")), "\"a\\n%\"");
    }

    /// `lo\calhost` was dropped by 10.11, `LOCALHOST` was not.
    #[test]
    fn what_is_a_name_when_names_are_not_resolved() {
        for (pattern, name) in [
            ("app1.example.test", true),
            ("lo\\calhost", true),
            ("127.0.0.\\1", true),
            ("1host", true),
            ("localhost", false),
            ("LOCALHOST", false),
            ("127.0.0.1", false),
            ("::1", false),
            ("app_1", false),
            ("app%", false),
            ("10.0.0.0/24", false),
            ("", false),
            (".", false),
        ] {
            assert_eq!(HostPattern::new(pattern).is_name(), name, "{pattern}");
        }
    }
}
