//! Who a client is for the server, and what of that a line of the log tells.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::address::Address;
use super::server::Server;
use crate::name::Name;

/// The name of the unix socket's clients, and of those from 127.0.0.1 and ::1 where names are
/// resolved.
pub(super) const LOCALHOST: &[u8] = b"localhost";

/// A client as the server knows it when it picks the account row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Client {
    /// Over the unix socket: its name is `localhost`, and it has no address.
    Socket,
    /// Over TCP.
    Tcp {
        /// From where.
        address: Address,
        /// The name that the server found for the address, if it looked for one and found one.
        name: Option<Name>,
    },
}

impl Client {
    /// The client that connects from `address`; `resolved` is the name that the database host finds
    /// for it and that has the address among its own.
    ///
    /// Source: probed on 10.11.19. A name that begins with digits and a dot is not taken, a long one
    /// is cut.
    pub fn tcp(address: Address, resolved: Option<&Name>, server: &Server) -> Self {
        let name = if server.skip_name_resolve {
            None
        } else if address.is_localhost() {
            Some(Name::from(LOCALHOST))
        } else {
            resolved
                .filter(|name| !looks_like_address(&name.0))
                .map(|name| Name::from(&name.0[..name.0.len().min(server.host_length())]))
        };
        Self::Tcp { address, name }
    }

    /// The name, if the server knows one.
    pub fn name(&self) -> Option<&[u8]> {
        match self {
            Self::Socket => Some(LOCALHOST),
            Self::Tcp { name, .. } => name.as_ref().map(|name| &*name.0),
        }
    }

    /// The address, if there is one.
    pub fn address(&self) -> Option<&Address> {
        match self {
            Self::Socket => None,
            Self::Tcp { address, .. } => Some(address),
        }
    }
}

/// `5.example.test` looks like the beginning of an address.
fn looks_like_address(name: &[u8]) -> bool {
    let digits = name.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && name.get(digits) == Some(&b'.')
}

/// What the database host's resolver says. The caller does the lookups, and remembers them if it asks
/// often.
pub trait Resolver {
    /// All addresses of `name`; none if it is not known whether it has any. An empty list counts as
    /// that too: when it logged in, the name had an address.
    fn addresses(&mut self, name: &Name) -> Option<Vec<IpAddr>>;

    /// The name of `address` (the server takes it if [`addresses`](Self::addresses) of the name
    /// include the address); none if it has no name, or it is not known.
    fn name(&mut self, address: IpAddr) -> Option<Name>;
}

/// Knows nothing: no answer is narrowed.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoResolver;

impl Resolver for NoResolver {
    fn addresses(&mut self, _: &Name) -> Option<Vec<IpAddr>> {
        None
    }

    fn name(&mut self, _: IpAddr) -> Option<Name> {
        None
    }
}

/// What is known about a client: all, or its name only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// All that the server knows.
    Client(Client),
    /// The name; the address may be any but 127.0.0.1 and ::1, which have the name `localhost`.
    AnyAddress(Name),
}

impl Evidence {
    /// The clients that a person means by `host` (an address, `localhost` or a name), for
    /// `conntracker which`: as the server would know them if they logged in now.
    ///
    /// Nothing for a name whose addresses are not known if the server would not take that name: it
    /// does not resolve names, or the name looks like an address. Such a client has an address only.
    pub fn of(host: &Name, server: &Server, resolver: &mut dyn Resolver) -> Vec<Self> {
        if let Some(address) = Address::parse(&host.0) {
            return vec![Self::Client(client_now(address, server, resolver))];
        }
        let addresses = resolver.addresses(host).unwrap_or_default();
        // Names are found in any case.
        if host.0.eq_ignore_ascii_case(LOCALHOST) {
            let mut clients = vec![Self::Client(Client::Socket)];
            if !server.skip_name_resolve {
                let others = local_clients(&addresses, server);
                clients.extend(others.into_iter().map(Self::Client));
            }
            return clients;
        }
        if addresses.is_empty() {
            let taken = !server.skip_name_resolve && !looks_like_address(&host.0);
            return taken
                .then(|| Self::AnyAddress(host.clone()))
                .into_iter()
                .collect();
        }
        addresses
            .into_iter()
            .map(|ip| Self::Client(client_now(Address::new(ip), server, resolver)))
            .collect()
    }
}

/// The client from `address` with the name that the server would find.
fn client_now(address: Address, server: &Server, resolver: &mut dyn Resolver) -> Client {
    let asks = !server.skip_name_resolve && !address.is_localhost();
    let name = asks.then(|| verified_name(&address, resolver)).flatten();
    Client::tcp(address, name.as_ref(), server)
}

fn verified_name(address: &Address, resolver: &mut dyn Resolver) -> Option<Name> {
    let name = resolver.name(address.ip())?;
    let addresses = resolver.addresses(&name)?;
    addresses
        .iter()
        .any(|ip| ip.to_canonical() == address.ip())
        .then_some(name)
}

/// The TCP clients that are `localhost` where names are resolved, if `addresses` are that name's.
pub(super) fn local_clients(addresses: &[IpAddr], server: &Server) -> Vec<Client> {
    let mut all = vec![
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    for ip in addresses {
        let ip = ip.to_canonical();
        if !all.contains(&ip) {
            all.push(ip);
        }
    }
    let name = Name::from(LOCALHOST);
    all.into_iter()
        .map(|ip| Client::tcp(Address::new(ip), Some(&name), server))
        .collect()
}

/// The clients of another name that resolves to `addresses`.
pub(super) fn remote_clients(name: &Name, addresses: &[IpAddr]) -> Vec<Client> {
    addresses
        .iter()
        .map(|ip| Address::new(*ip))
        .filter(|address| !address.is_localhost())
        .map(|address| Client::Tcp {
            address,
            name: Some(name.clone()),
        })
        .collect()
}
