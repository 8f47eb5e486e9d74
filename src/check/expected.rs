//! The clients that an owner expects: `check.expect_clients`.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::name::{Name, escape};

/// One client, or many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Client {
    /// An address or a network.
    Net(IpNet),
    /// A name, as the server calls the client; `localhost` is the unix socket too.
    Named(String),
}

impl Client {
    /// An address, a network (`10.0.0.0/8`) or a name. The error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "'{}' is no name, address or network",
                escape(text.as_bytes())
            )
        };
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Net(IpNet::from(address)));
        }
        if text.contains('/') {
            let net = text.parse::<IpNet>().map_err(|_| wrong())?;
            return Ok(Self::Net(net));
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        match !text.is_empty() && text.chars().all(is_plain) {
            true => Ok(Self::Named(text.to_owned())),
            false => Err(wrong()),
        }
    }

    fn is(&self, host: &str) -> bool {
        match self {
            Self::Net(net) => host
                .parse()
                .is_ok_and(|address: IpAddr| net.contains(&address)),
            Self::Named(name) => name.eq_ignore_ascii_case(host),
        }
    }
}

/// As it is written in the configuration.
impl std::fmt::Display for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Net(net) if net.prefix_len() == net.max_prefix_len() => {
                write!(f, "{}", net.addr())
            }
            Self::Net(net) => write!(f, "{net}"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// Whether a client's host, as the server calls it, is among those expected.
pub(super) fn is_expected(expected: &[Client], host: &Name) -> bool {
    let text = std::str::from_utf8(&host.0);
    text.is_ok_and(|host| expected.iter().any(|client| client.is(host)))
}

/// What is known of an address, for a message.
pub(super) fn describe(host: &Name) -> &'static str {
    // Docker's default address pools: 172.17.0.0/16 is its first bridge, then 172.18 to 172.31 and
    // 192.168.0.0/16 in slices (docs.docker.com, "IP address allocation").
    const BRIDGES: [(&str, &str); 3] = [
        ("172.17.0.0/16", ", an address of Docker's default bridge"),
        ("172.16.0.0/12", ", an address of Docker's usual bridges"),
        (
            "192.168.0.0/16",
            ", a private address, which Docker's bridges may have too",
        ),
    ];
    let address = std::str::from_utf8(&host.0)
        .ok()
        .and_then(|text| text.parse::<IpAddr>().ok());
    let is_in = |net: &str| {
        let net: Option<IpNet> = net.parse().ok();
        address
            .zip(net)
            .is_some_and(|(address, net)| net.contains(&address))
    };
    BRIDGES
        .into_iter()
        .find(|(net, _)| is_in(net))
        .map_or("", |(_, words)| words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_addresses_and_networks_are_expected() {
        let texts = [
            "localhost",
            "App1.example.com",
            "10.1.0.0/16",
            "::1",
            "192.0.2.7",
        ];
        let expected: Vec<_> = texts
            .iter()
            .map(|text| Client::parse(text).unwrap())
            .collect();
        for (host, is) in [
            ("localhost", true),
            ("app1.EXAMPLE.com", true),
            ("10.1.255.3", true),
            ("10.2.0.1", false),
            ("::1", true),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("", false),
            ("10.1.0.0/16", false),
        ] {
            assert_eq!(is_expected(&expected, &host.into()), is, "{host}");
        }
        assert!(!is_expected(&expected, &Name(vec![0xff])));
        let shown: Vec<_> = expected.iter().map(Client::to_string).collect();
        assert_eq!(shown, texts);
        for wrong in ["", "10.0.0.0/33", "a b", "10.%", "x\n"] {
            assert!(Client::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn docker_is_named() {
        assert!(describe(&"172.17.0.5".into()).contains("default bridge"));
        assert!(describe(&"172.20.0.5".into()).contains("usual bridges"));
        assert_eq!(describe(&"172.32.0.5".into()), "");
        assert_eq!(describe(&"localhost".into()), "");
    }
}
