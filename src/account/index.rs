//! All account rows, sorted once the way the server sorts them.

use std::cmp::Reverse;
use std::iter::Peekable;
use std::net::IpAddr;
use std::sync::OnceLock;

use hashbrown::HashMap;

use super::Account;
use super::address::Address;
use super::attribute::Attribution;
use super::client::Client;
use super::likely::Likely;
use super::order::Specificity;
use super::reach::Reach;
use super::server::Server;

/// A row, as its number in the list that [`Accounts::new`] was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub u32);

/// The account rows of a server, ready to be asked for many logins.
#[derive(Debug)]
pub struct Accounts {
    server: Server,
    rows: Vec<Account>,
    /// By row: the place in the order. Equal for rows that tie.
    ranks: Vec<u32>,
    users: HashMap<Box<[u8]>, User>,
    anonymous: User,
}

/// So many rows of a user are asked one by one: that is faster, and finds the same.
const FEW: usize = 8;

/// The rows of one user.
#[derive(Debug, Default)]
pub(super) struct User {
    /// In the order of the server.
    rows: Vec<RowId>,
    /// Made when first needed, if there are more than a [`FEW`].
    likely: OnceLock<Likely>,
    /// For logins of which only the name of the host is known; made when first needed.
    pub(super) reach: OnceLock<Reach>,
}

impl Accounts {
    /// Sorts `rows` as `server` does. Roles are kept, but take no part.
    pub fn new(rows: Vec<Account>, server: Server) -> Self {
        let mut order: Vec<_> = (0..)
            .map(RowId)
            .zip(&rows)
            .filter(|(_, row)| !row.is_role)
            .map(|(id, row)| {
                let anonymous = row.login_name().is_empty();
                let text = Reverse(row.host.effective());
                ((Specificity::of(&row.host, &server), anonymous, text), id)
            })
            .collect();
        order.sort_unstable();
        let mut ranks = vec![0; rows.len()];
        let mut users: HashMap<Box<[u8]>, User> = HashMap::new();
        let mut anonymous = User::default();
        let mut rank = 0;
        let mut before = None;
        for (key, id) in &order {
            if before.replace(key).is_some_and(|before| before != key) {
                rank += 1;
            }
            let at = id.0 as usize;
            ranks[at] = rank;
            match rows[at].login_name() {
                b"" => anonymous.rows.push(*id),
                name => users.entry(name.into()).or_default().rows.push(*id),
            }
        }
        drop(order);
        Self {
            server,
            rows,
            ranks,
            users,
            anonymous,
        }
    }

    /// The server that the rows are of.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// All rows, in the order in which they were given.
    pub fn rows(&self) -> &[Account] {
        &self.rows
    }

    /// The row of that number. Panics if it is of another list.
    pub fn row(&self, id: RowId) -> &Account {
        &self.rows[id.0 as usize]
    }

    /// The row that the server picks for a login as `name` (as it keeps it, see
    /// [`Server::login_name`]). Whether the row then lets the client in is another matter: there is no
    /// second choice. Before it picks, the server asks whether anybody at all may come from there, and
    /// refuses with 1130 if not; a host with `\\` and no wildcard does not count there (seen on 10.11).
    ///
    /// Two oddities that nobody meant leave more than one: a row with an empty host ties with one with
    /// `%` in everything. And a server that does not resolve names drops rows with host names when it
    /// loads its accounts, but not those that were created since then: a host such as
    /// `10.1.2\.100`, a name by its backslash and yet like an address, may be there or not (seen on
    /// 10.5.29 and 11.8.6).
    pub fn pick(&self, name: &[u8], client: &Client) -> Attribution {
        let resolves = self.resolves(client);
        let mut rows = Vec::new();
        let likely = self.likely(name, client.name(), client.address());
        let mut walk = likely.into_iter().peekable();
        while let Some(id) = walk.next() {
            let host = &self.row(id).host;
            if host.admits(client.name(), client.address()).is_none() {
                continue;
            }
            if resolves || !host.is_name() {
                rows.extend(self.with_ties(id, &mut walk));
                return self.attribution(rows, false);
            }
            rows.push(id);
        }
        self.attribution(rows, true)
    }

    /// Whether the server resolves names, or did when `client` logged in: the name of a TCP client
    /// shows it, whatever the setting is now.
    pub(super) fn resolves(&self, client: &Client) -> bool {
        !self.server.skip_name_resolve || matches!(client, Client::Tcp { name: Some(_), .. })
    }

    /// `first` and the rows of `walk` that tie with it: their patterns are the same.
    pub(super) fn with_ties(
        &self,
        first: RowId,
        walk: &mut Peekable<impl Iterator<Item = RowId>>,
    ) -> Vec<RowId> {
        let mut all = vec![first];
        while let Some(tie) = walk.next_if(|id| self.rank(*id) == self.rank(first)) {
            all.push(tie);
        }
        all
    }

    /// The rows of the [walk](Self::walk) that may admit a client of this name and address, in order.
    pub(super) fn likely(
        &self,
        name: &[u8],
        host: Option<&[u8]>,
        address: Option<&Address>,
    ) -> Vec<RowId> {
        let mut found = Vec::new();
        for user in self.users.get(name).into_iter().chain([&self.anonymous]) {
            if user.rows.len() <= FEW {
                found.extend_from_slice(&user.rows);
                continue;
            }
            let rows = user.rows.iter().map(|id| (*id, &self.row(*id).host));
            let likely = user.likely.get_or_init(|| Likely::new(rows));
            let texts = host.into_iter().chain(address.map(Address::text));
            let v4 = match address.map(Address::ip) {
                Some(IpAddr::V4(v4)) => Some(v4.into()),
                _ => None,
            };
            likely.find(texts, v4, &mut found);
        }
        self.sort(&mut found);
        found
    }

    /// Puts rows into the order of the server, each once.
    pub(super) fn sort(&self, rows: &mut Vec<RowId>) {
        rows.sort_unstable_by_key(|id| (self.rank(*id), *id));
        rows.dedup();
    }

    /// The rows that are asked for a login as `name`, in order: its own and the anonymous ones.
    pub(super) fn walk(&self, name: &[u8]) -> impl Iterator<Item = RowId> {
        let named = self.users.get(name).map_or(&[][..], |user| &user.rows);
        let (mut named, mut anonymous) = (named.iter(), self.anonymous.rows.iter());
        std::iter::from_fn(move || {
            let (a, b) = (named.as_slice().first(), anonymous.as_slice().first());
            match (a, b) {
                // They are never equal: a named row comes before an anonymous one.
                (Some(a), Some(b)) if self.rank(*b) < self.rank(*a) => anonymous.next().copied(),
                (Some(_), _) => named.next().copied(),
                _ => anonymous.next().copied(),
            }
        })
    }

    /// The user of that name, or nobody in particular: then only the anonymous rows count.
    pub(super) fn user(&self, name: &[u8]) -> &User {
        self.users.get(name).unwrap_or(&self.anonymous)
    }

    pub(super) fn rank(&self, id: RowId) -> u32 {
        self.ranks[id.0 as usize]
    }
}
