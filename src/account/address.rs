//! Client addresses as the server writes them: the text is what patterns are held against.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IP address and its text as the server has it. An IPv4-mapped IPv6 address is the IPv4 one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    ip: IpAddr,
    text: String,
}

impl Address {
    /// The address `ip`, written as `inet_ntop` of glibc writes it, which the server calls.
    pub fn new(ip: IpAddr) -> Self {
        let ip = ip.to_canonical();
        let text = match ip {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => v6_text(v6),
        };
        Self { ip, text }
    }

    /// The address that `text` is, in any usual notation; none if it is something else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        text.parse().ok().map(Self::new)
    }

    /// The address.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The text that patterns are held against.
    pub fn text(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// 127.0.0.1 and ::1 are `localhost` for a server that resolves names, without a lookup.
    pub fn is_localhost(&self) -> bool {
        self.ip == IpAddr::V4(Ipv4Addr::LOCALHOST) || self.ip == IpAddr::V6(Ipv6Addr::LOCALHOST)
    }
}

/// As Rust writes it, but for addresses that hold an IPv4 one behind 96 zero bits.
fn v6_text(v6: Ipv6Addr) -> String {
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            format!("::{a}.{b}.{c}.{d}")
        }
        _ => v6.to_string(),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_that_of_inet_ntop() {
        for (given, text) in [
            ("10.1.2.3", "10.1.2.3"),
            ("::ffff:10.1.2.3", "10.1.2.3"),
            ("::FFFF:a01:203", "10.1.2.3"),
            ("FD00:0:0::5", "fd00::5"),
            ("0:0:0:0:0:0:0:1", "::1"),
            ("::0001:2", "::0.1.0.2"),
            ("::2", "::2"),
            ("1:0:0:2:0:0:0:3", "1:0:0:2::3"),
            ("1:0:2:0:0:3:0:0", "1:0:2::3:0:0"),
            ("1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"),
        ] {
            let address = Address::parse(given.as_bytes()).unwrap();
            assert_eq!(address.to_string(), text, "{given}");
        }
        for no in [
            "",
            "localhost",
            "10.1.2",
            "010.1.2.3",
            "fd00::%eth0",
            "5.5.example.test",
        ] {
            assert_eq!(Address::parse(no.as_bytes()), None, "{no}");
        }
    }

    #[test]
    fn only_two_addresses_are_localhost_without_a_lookup() {
        let local = |text: &str| Address::parse(text.as_bytes()).unwrap().is_localhost();
        assert!(local("127.0.0.1") && local("::1"));
        assert!(!local("127.0.0.2") && !local("::2") && !local("10.0.0.1"));
    }
}
