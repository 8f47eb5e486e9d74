//! Which rows of a list are wanted, and in which order.
//!
//! The order is made by the store, which can sort more than memory holds. Its columns come from the
//! closed set here, never from what somebody typed.

use crate::name::Name;
use crate::time::UtcSeconds;
use crate::wildcard::Wildcard;

/// Which account uses, or which accounts, to list.
#[derive(Clone, Debug, Default)]
pub struct AccountFilter {
    /// Only this server's.
    pub server: Option<Name>,
    /// Only those whose last sign of use (of any kind) is before this instant, or not known at all.
    pub not_active_since: Option<UtcSeconds>,
    /// Only those whose user name this fits.
    pub name: Option<Wildcard>,
    /// Only those whose host (of an account: the text of its host pattern) this fits.
    pub host: Option<Wildcard>,
    /// In which order.
    pub order: Order,
}

impl AccountFilter {
    /// Whether the patterns with a star fit these names; for the others there is
    /// [`AccountFilter::exact_name`], since a store may keep a name that no server wrote cut short.
    pub(super) fn fits(&self, name: &Name, host: &Name) -> bool {
        let fits = |pattern: &Option<Wildcard>, name| match pattern {
            Some(pattern) => pattern.exact().is_some() || pattern.fits(name),
            None => true,
        };
        fits(&self.name, name) && fits(&self.host, host)
    }

    /// The only user name that is wanted, if it is a single one; a store looks for it by itself.
    pub(super) fn exact_name(&self) -> Option<Name> {
        self.name.as_ref().and_then(Wildcard::exact)
    }

    /// The only host that is wanted, if it is a single one.
    pub(super) fn exact_host(&self) -> Option<Name> {
        self.host.as_ref().and_then(Wildcard::exact)
    }
}

/// The order of a list. What is not known stands before all that is known: nobody knows how long ago
/// it was. Rows that are equal in it stand in the order of their names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// What decides.
    pub by: SortBy,
    /// The same list from its end.
    pub reverse: bool,
}

/// What decides about the order of a list; the least and the oldest stand first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortBy {
    /// Server, then name, then host: the order in which a store keeps them, so that it need not sort.
    #[default]
    Server,
    /// Name, then host: one account name on all servers stands together.
    Name,
    /// Host, then name.
    Host,
    /// First successful authentication.
    FirstSeen,
    /// Last successful authentication.
    LastSeen,
    /// Last sign of use.
    LastActive,
    /// Number of logins.
    Connects,
}

impl SortBy {
    /// The order by its name; the error says which names there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "name" => Self::Name,
            "host" => Self::Host,
            "first-seen" => Self::FirstSeen,
            "last-seen" => Self::LastSeen,
            "last-active" => Self::LastActive,
            "connects" => Self::Connects,
            _ => {
                return Err(format!(
                    "'{}' is not an order: write last-active, last-seen, first-seen, connects, name or host",
                    text.escape_debug()
                ));
            }
        })
    }
}

/// A list whose rows have names.
#[derive(Clone, Copy)]
pub(super) enum List {
    /// `accounts`.
    Uses,
    /// `account_status`, which has no first_seen: there the names decide in its place.
    Statuses,
}

impl List {
    /// The column that holds the user name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Uses => "name",
            Self::Statuses => "user",
        }
    }
}

impl Order {
    /// What stands behind ORDER BY. Both backends place NULL before all values, and both compare names
    /// byte for byte as they keep them.
    pub(super) fn sql(self, list: List) -> String {
        let name = list.name();
        let first = match (self.by, list) {
            (SortBy::Server, _) | (SortBy::FirstSeen, List::Statuses) => "server",
            (SortBy::Name, _) => name,
            (SortBy::Host, _) => "host",
            (SortBy::FirstSeen, List::Uses) => "first_seen",
            (SortBy::LastSeen, _) => "last_seen",
            (SortBy::LastActive, _) => "last_active",
            (SortBy::Connects, _) => "connects",
        };
        let names = match self.by {
            SortBy::Name | SortBy::Host => [name, "host", "server"],
            _ => ["server", name, "host"],
        };
        let mut columns = vec![first];
        columns.extend(names.into_iter().filter(|column| *column != first));
        let direction = if self.reverse { " DESC" } else { "" };
        let column = |column| format!("{column}{direction}");
        columns
            .into_iter()
            .map(column)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_rows_stand_in_the_order_of_their_names() {
        let sql = |by, reverse, list| Order { by, reverse }.sql(list);
        for (by, reverse, list, expected) in [
            (SortBy::Server, false, List::Uses, "server, name, host"),
            (
                SortBy::Server,
                true,
                List::Uses,
                "server DESC, name DESC, host DESC",
            ),
            (SortBy::Name, false, List::Uses, "name, host, server"),
            (SortBy::Host, false, List::Statuses, "host, user, server"),
            (
                SortBy::LastActive,
                false,
                List::Statuses,
                "last_active, server, user, host",
            ),
            (
                SortBy::FirstSeen,
                false,
                List::Statuses,
                "server, user, host",
            ),
            (
                SortBy::Connects,
                true,
                List::Uses,
                "connects DESC, server DESC, name DESC, host DESC",
            ),
        ] {
            assert_eq!(sql(by, reverse, list), expected);
        }
    }
}
