//! Why the server picks the row that it picks: each row that it asks for one login, in order.

use std::net::IpAddr;

use super::address::Address;
use super::client::{Client, Evidence};
use super::index::{Accounts, RowId};
use super::order::Specificity;
use super::pattern::How;
use super::reach::may_be_like_address;
use crate::name::Name;

/// What became of the rows for one login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The user name as the server keeps it.
    pub user: Name,
    /// Who logs in.
    pub evidence: Evidence,
    /// All rows of the user and all anonymous ones: in the order in which they are asked, behind them
    /// roles of that name.
    pub rows: Vec<Considered>,
    /// No row admits the client, or perhaps none: the server refuses the login.
    pub may_be_refused: bool,
}

impl Explanation {
    /// The row that is picked; more than one if it can't be told which of them.
    pub fn picked(&self) -> impl Iterator<Item = RowId> {
        let picked = |row: &&Considered| row.why.is_picked();
        self.rows.iter().filter(picked).map(|row| row.row)
    }
}

/// One row, and why it is or isn't picked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Considered {
    /// The row.
    pub row: RowId,
    /// Its place in the order; the smaller one is asked first.
    pub specificity: Specificity,
    /// What became of it.
    pub why: Why,
}

/// Why a row is or isn't picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is the first that admits the client.
    Picked(How),
    /// It and another are the first: nothing tells them apart, and the server's choice is not defined.
    Tied(How),
    /// It admits the client, and is picked if it was created since the server loaded its accounts: it has
    /// a host name, which a server that does not resolve names drops then.
    Perhaps(How),
    /// It is the first that admits the client if the client has an address such as this one (none: an
    /// address was not found in reasonable time).
    Possible(Option<IpAddr>),
    /// It admits the client by name, whatever its address is, and an address such as this one gets past
    /// the rows before it.
    Last(Option<IpAddr>),
    /// It admits the client, but a row before it did so already.
    Behind(How),
    /// A row before it admits the client whatever its address is.
    NotAsked,
    /// There is no address that it admits and no row before it does.
    NothingLeft,
    /// The client's address is not in its network.
    OtherNetwork,
    /// Its address has bits that its mask does not have: it admits no IPv4 address.
    DeadNetmask,
    /// It is like neither the client's name nor its address.
    NotLike,
    /// It is a role, which nobody logs in as.
    Role,
    /// It has a host name, and the server does not resolve names.
    NameNotResolved,
}

impl Why {
    /// Whether this is the row that is picked, or one of those that it may be.
    pub fn is_picked(self) -> bool {
        matches!(
            self,
            Self::Picked(_) | Self::Tied(_) | Self::Perhaps(_) | Self::Possible(_) | Self::Last(_)
        )
    }

    /// The reason in words, for a person.
    pub fn text(self) -> String {
        let by = |how| match how {
            How::Netmask => "the address is in its network",
            How::Name => "the name is like it",
            How::Address => "the address is like it",
        };
        let such_as = |ip: Option<IpAddr>| match ip {
            Some(ip) => format!(", such as {}", Address::new(ip)),
            None => String::new(),
        };
        match self {
            Self::Picked(how) => format!("picked: {}", by(how)),
            Self::Tied(how) => format!(
                "picked, or another that ties with it in everything: {}",
                by(how)
            ),
            Self::Perhaps(how) => format!(
                "picked if it was created since the server loaded its accounts: {}, but it has a host \
                 name, and the server does not resolve names",
                by(how)
            ),
            Self::Possible(ip) => format!("picked for some addresses{}", such_as(ip)),
            Self::Last(ip) => format!(
                "picked for all other addresses{}: {}",
                such_as(ip),
                by(How::Name)
            ),
            Self::Behind(how) => format!("{}, but a row before it is picked", by(how)),
            Self::NotAsked => "not asked: a row before it admits the name".into(),
            Self::NothingLeft => "no address is left for it by the rows before it".into(),
            Self::OtherNetwork => "the address is not in its network".into(),
            Self::DeadNetmask => {
                "never matches: its address has bits that its netmask does not have".into()
            }
            Self::NotLike => "like neither the name nor the address".into(),
            Self::Role => "a role: nobody logs in as it".into(),
            Self::NameNotResolved => {
                "dropped: it has a host name, and the server does not resolve names".into()
            }
        }
    }
}

impl Accounts {
    /// Explains the login of `user` (as a client sends it, see [`super::Server::login_name`]) with
    /// `evidence`, for which see [`Evidence::of`]. What is picked is what [`pick`](Self::pick) and
    /// [`attribute`](Self::attribute) say.
    pub fn explain(&self, user: &[u8], evidence: &Evidence) -> Explanation {
        let user = self.server().login_name(user);
        let walk: Vec<_> = self.walk(&user.0).collect();
        let (reasons, may_be_refused) = match evidence {
            Evidence::Client(client) => self.reasons_for(&walk, client),
            Evidence::AnyAddress(name) => self.reasons_by_name(&walk, &user, name),
        };
        let row = |(row, why): (RowId, Why)| Considered {
            row,
            specificity: Specificity::of(&self.row(row).host, self.server()),
            why,
        };
        let roles = self.roles(&user.0).map(|row| (row, Why::Role));
        Explanation {
            rows: reasons.into_iter().chain(roles).map(row).collect(),
            user,
            evidence: evidence.clone(),
            may_be_refused,
        }
    }

    fn reasons_for(&self, walk: &[RowId], client: &Client) -> (Vec<(RowId, Why)>, bool) {
        let resolves = self.resolves(client);
        let dropped = |row: RowId| !resolves && self.row(row).host.is_name();
        let admits = |row: RowId| {
            let host = &self.row(row).host;
            host.admits(client.name(), client.address())
        };
        let first = walk
            .iter()
            .position(|row| !dropped(*row) && admits(*row).is_some());
        let rank = first.map(|first| self.rank(walk[first]));
        let ties = |row| rank == Some(self.rank(row));
        let tied = walk.iter().filter(|row| ties(**row)).count() > 1;
        let reason = |at: usize, row| match admits(row) {
            Some(how) if dropped(row) && first.is_none_or(|first| at < first) => Why::Perhaps(how),
            _ if dropped(row) => Why::NameNotResolved,
            Some(how) if ties(row) && tied => Why::Tied(how),
            Some(how) if ties(row) => Why::Picked(how),
            Some(how) => Why::Behind(how),
            None => self.mismatch(row, client.address()),
        };
        let reasons = walk
            .iter()
            .enumerate()
            .map(|(at, row)| (*row, reason(at, *row)));
        (reasons.collect(), first.is_none())
    }

    /// Why a row that does not admit a client with this address does not.
    fn mismatch(&self, row: RowId, address: Option<&Address>) -> Why {
        let host = &self.row(row).host;
        let v4 = address.is_none_or(|address| address.ip().is_ipv4());
        match host.netmask() {
            Some(_) if v4 && host.is_dead_netmask() => Why::DeadNetmask,
            Some(_) if v4 && address.is_some() => Why::OtherNetwork,
            _ => Why::NotLike,
        }
    }

    fn reasons_by_name(
        &self,
        walk: &[RowId],
        user: &Name,
        name: &Name,
    ) -> (Vec<(RowId, Why)>, bool) {
        let host = |at: usize| &self.row(walk[at]).host;
        let ends = self.reach(&user.0).families().each_ref().map(|family| {
            let end = (0..walk.len()).find(|at| family.ends(host(*at), &name.0));
            (family, end.unwrap_or(walk.len()))
        });
        let ties = |at: usize, end: usize| {
            walk.get(end)
                .is_some_and(|end| self.rank(*end) == self.rank(walk[at]))
        };
        let reason = |at: usize| {
            for (family, end) in ends {
                if at < end && family.reaches(at) {
                    return Why::Possible(family.example(at));
                }
                if ties(at, end) && family.is_open(end) {
                    return Why::Last(family.example_past(end));
                }
            }
            let host = host(at);
            if ends.iter().any(|(_, end)| at < *end || ties(at, *end)) {
                if host.is_dead_netmask() {
                    Why::DeadNetmask
                } else if may_be_like_address(host) {
                    Why::NothingLeft
                } else {
                    Why::NotLike
                }
            } else if host.is_like_name(&name.0) {
                Why::Behind(How::Name)
            } else {
                Why::NotAsked
            }
        };
        let reasons = (0..walk.len()).map(|at| (walk[at], reason(at))).collect();
        let refused = ends
            .iter()
            .any(|(family, end)| *end == walk.len() && family.is_open(*end));
        (reasons, refused)
    }

    /// The roles of that name.
    fn roles(&self, name: &[u8]) -> impl Iterator<Item = RowId> {
        let rows = (0..).map(RowId).zip(self.rows());
        rows.filter(move |(_, row)| row.is_role && row.login_name() == name)
            .map(|(id, _)| id)
    }
}
