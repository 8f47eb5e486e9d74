//! What one line of the log says about the account row: the row, or the rows that it may be.

use std::net::IpAddr;

use super::address::Address;
use super::client::{Client, LOCALHOST, Resolver, local_clients, remote_clients};
use super::index::{Accounts, RowId};
use super::pattern::Element;
use super::reach::Reach;
use crate::name::Name;

/// The account that a login belongs to, as far as its line in the log tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribution {
    /// This row, whatever the log does not say.
    Exact(RowId),
    /// One of these, the most specific first.
    Candidates {
        /// The rows; at least two, or one where it may be none.
        rows: Vec<RowId>,
        /// It may be no row of today's: the account was there when the login took place.
        no_account: bool,
    },
    /// No row of today's admits such a login.
    NoAccount,
}

impl Attribution {
    fn new(rows: Vec<RowId>, no_account: bool) -> Self {
        match (&*rows, no_account) {
            ([], _) => Self::NoAccount,
            ([row], false) => Self::Exact(*row),
            _ => Self::Candidates { rows, no_account },
        }
    }

    /// The row, if it is certain.
    pub fn exact(&self) -> Option<RowId> {
        match self {
            Self::Exact(row) => Some(*row),
            _ => None,
        }
    }

    /// All rows that it may be.
    pub fn rows(&self) -> &[RowId] {
        match self {
            Self::Exact(row) => std::slice::from_ref(row),
            Self::Candidates { rows, .. } => rows,
            Self::NoAccount => &[],
        }
    }

    /// Whether it may be, or is, no row of today's.
    pub fn may_be_no_account(&self) -> bool {
        match self {
            Self::Exact(_) => false,
            Self::Candidates { no_account, .. } => *no_account,
            Self::NoAccount => true,
        }
    }

    /// The question is settled: one row, or none.
    fn is_settled(&self) -> bool {
        !matches!(self, Self::Candidates { .. })
    }
}

impl Accounts {
    /// The row for a login that the log shows as `name` from `host` (without port).
    ///
    /// The log has the client's name if the server knew one, else its address, never both:
    /// - an address: there was no name, so the row is certain.
    /// - `localhost` is the unix socket; where names are resolved also 127.0.0.1, ::1, and what else
    ///   `resolver` has for that name on the database host (if it can't say: any address).
    /// - any other name: whatever some address can lead to. `resolver` is asked if that is more than
    ///   one row, and then its addresses decide. The name shows that the server resolved names at
    ///   that time, so rows with host names take part even if it does not now.
    /// - nothing (as in a CHANGEUSER record): any client.
    ///
    /// One answer from all of these is exact; else it is a set, never a guess, and never more than
    /// some client could have been given (but where host patterns are too many and too entangled to be
    /// sure that a row is *not* reached: then it stays in).
    pub fn attribute(&self, name: &Name, host: &Name, resolver: &mut dyn Resolver) -> Attribution {
        if let Some(address) = Address::parse(&host.0) {
            let client = Client::Tcp {
                address,
                name: None,
            };
            return self.over(name, &[client]);
        }
        match &*host.0 {
            b"" => self.anyone(name),
            LOCALHOST => self.local(name, host, resolver),
            _ => {
                let any = self.reached(name, host, &[]);
                if any.is_settled() {
                    return any;
                }
                let addresses = resolver.addresses(host).unwrap_or_default();
                match &*remote_clients(host, &addresses) {
                    [] => any,
                    clients => self.over(name, clients),
                }
            }
        }
    }

    fn local(&self, name: &Name, host: &Name, resolver: &mut dyn Resolver) -> Attribution {
        let mut clients = vec![Client::Socket];
        if self.server().skip_name_resolve {
            return self.over(name, &clients);
        }
        let known: Option<Vec<IpAddr>> = resolver.addresses(host);
        let addresses = known.as_deref().unwrap_or_default();
        clients.extend(local_clients(addresses, self.server()));
        match known {
            Some(_) => self.over(name, &clients),
            None => self.reached(name, host, &clients),
        }
    }

    /// What is picked for any of `clients`.
    fn over(&self, name: &Name, clients: &[Client]) -> Attribution {
        let (rows, no_account) = self.picked(name, clients);
        self.attribution(rows, no_account)
    }

    fn picked(&self, name: &Name, clients: &[Client]) -> (Vec<RowId>, bool) {
        let mut rows = Vec::new();
        let mut no_account = false;
        for client in clients {
            let picked = self.pick(&name.0, client);
            no_account |= picked.may_be_no_account();
            rows.extend_from_slice(picked.rows());
        }
        (rows, no_account)
    }

    /// What is picked for `host` with some address, or for any of `clients`.
    fn reached(&self, name: &Name, host: &Name, clients: &[Client]) -> Attribution {
        let (mut rows, mut no_account) = self.picked(name, clients);
        let reach = self.reach(&name.0);
        let likely = self.likely(&name.0, Some(&host.0), None);
        for family in reach.families() {
            let mut walk = likely.iter().copied().peekable();
            let end = walk.find(|id| family.ends(&self.row(*id).host, &host.0));
            let before = match end {
                Some(end) => reach.place(self.rank(end)),
                None => reach.len(),
            };
            rows.extend(family.reached(before).map(|at| reach.row(at)));
            if family.is_open(before) {
                match end {
                    Some(end) => rows.extend(self.with_ties(end, &mut walk)),
                    None => no_account = true,
                }
            }
        }
        self.attribution(rows, no_account)
    }

    /// Neither name nor address are known: all rows up to the first that admits everyone.
    fn anyone(&self, name: &Name) -> Attribution {
        let mut walk = self.walk(&name.0).peekable();
        let mut rows = Vec::new();
        while let Some(id) = walk.next() {
            if self.row(id).host.elements() == [Element::Many] {
                rows.extend(self.with_ties(id, &mut walk));
                return self.attribution(rows, false);
            }
            rows.push(id);
        }
        self.attribution(rows, true)
    }

    /// Which rows of the user's walk some address leads to; made once for a user.
    pub(super) fn reach(&self, name: &[u8]) -> &Reach {
        self.user(name).reach.get_or_init(|| {
            let row = |id: RowId| (id, self.rank(id), &self.row(id).host);
            Reach::new(&self.walk(name).map(row).collect::<Vec<_>>())
        })
    }

    /// Any of `rows`, or none of them.
    pub(super) fn attribution(&self, mut rows: Vec<RowId>, no_account: bool) -> Attribution {
        self.sort(&mut rows);
        Attribution::new(rows, no_account)
    }
}
