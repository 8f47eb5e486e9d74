//! What an account may do: its own rights, and those of the roles that it may take.
//!
//! Bits of `access`: sql/privilege.h of MariaDB, the same from 10.5.2 on.

use std::collections::BTreeSet;

use crate::account::Account;
use crate::name::Name;
use crate::server::{DatabaseGrant, Facts, ObjectGrant, ObjectKind};

/// GRANT OPTION.
pub(super) const GRANT: u64 = 1 << 10;

/// The name of each bit, as GRANT writes it. Bits without a name are shown as nothing and count only
/// as a part of all privileges.
const NAMES: [&str; 40] = [
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "CREATE",
    "DROP",
    "RELOAD",
    "SHUTDOWN",
    "PROCESS",
    "FILE",
    "GRANT OPTION",
    "REFERENCES",
    "INDEX",
    "ALTER",
    "SHOW DATABASES",
    "SUPER",
    "CREATE TEMPORARY TABLES",
    "LOCK TABLES",
    "EXECUTE",
    "REPLICATION SLAVE",
    "BINLOG MONITOR",
    "CREATE VIEW",
    "SHOW VIEW",
    "CREATE ROUTINE",
    "ALTER ROUTINE",
    "CREATE USER",
    "EVENT",
    "TRIGGER",
    "CREATE TABLESPACE",
    "DELETE HISTORY",
    "SET USER",
    "FEDERATED ADMIN",
    "CONNECTION ADMIN",
    "READ_ONLY ADMIN",
    "REPLICATION SLAVE ADMIN",
    "REPLICATION MASTER ADMIN",
    "BINLOG ADMIN",
    "BINLOG REPLAY",
    "SLAVE MONITOR",
    "SHOW CREATE ROUTINE",
];

/// Rights over the server and over other accounts: SHUTDOWN, PROCESS, FILE, GRANT OPTION, SUPER,
/// REPLICATION SLAVE, CREATE USER, and what 10.5 made of SUPER.
const POWERFUL: u64 = (1 << 7)
    | (1 << 8)
    | (1 << 9)
    | GRANT
    | (1 << 15)
    | (1 << 19)
    | (1 << 25)
    | (((1 << 39) - 1) & !((1 << 30) - 1));

/// Rights on data: those that an application has on its own database.
const DATA: u64 = 0b111111
    | (1 << 11)
    | (1 << 12)
    | (1 << 13)
    | (1 << 16)
    | (1 << 17)
    | (1 << 18)
    | (1 << 21)
    | (1 << 22)
    | (1 << 23)
    | (1 << 24)
    | (1 << 26)
    | (1 << 27)
    | (1 << 29);

/// All that there is in 10.4, and since 10.5, GRANT OPTION apart. 11.x adds bit 39.
const ALL_OLD: u64 = ((1 << 30) - 1) & !GRANT;
const ALL: u64 = ((1 << 39) - 1) & !GRANT;

/// Whether these are all global privileges of the version that wrote them.
pub(super) fn is_all(access: u64, version_id: Option<u32>) -> bool {
    let all = match version_id {
        Some(old) if old < 100_502 => ALL_OLD,
        _ => ALL,
    };
    access & all == all
}

/// Those rights among `access` that rule the server.
pub(super) fn powerful(access: u64) -> u64 {
    access & POWERFUL
}

/// Those rights among `access` that are about data.
pub(super) fn data(access: u64) -> u64 {
    access & DATA
}

/// The rights as GRANT and REVOKE write them.
pub(super) fn names(access: u64) -> String {
    let has = |(bit, _): &(usize, &&str)| access & (1 << bit) != 0;
    let names: Vec<_> = NAMES
        .iter()
        .enumerate()
        .filter(has)
        .map(|(_, name)| *name)
        .collect();
    names.join(", ")
}

/// A role that was granted to an account, with the roles that it has in turn.
pub(super) struct Granted<'a> {
    /// Its name.
    pub(super) role: &'a Name,
    /// Itself and those that it has.
    all: BTreeSet<&'a Name>,
}

/// The roles that were granted to `account`; that of everybody is not among them.
pub(super) fn roles_of<'a>(facts: &'a Facts, account: &Account) -> Vec<Granted<'a>> {
    let of = |user: &Name, host: &Name| {
        let all = facts.roles.iter().flatten();
        let own = all.filter(|[of_user, of_host, _]| of_user == user && of_host == host);
        own.map(|[_, _, role]| role).collect::<Vec<_>>()
    };
    let granted = |role| {
        let mut all = BTreeSet::from([role]);
        let mut next = vec![role];
        while let Some(role) = next.pop() {
            next.extend(
                of(role, &NO_HOST)
                    .into_iter()
                    .filter(|inner| all.insert(*inner)),
            );
        }
        Granted { role, all }
    };
    of(&account.user, account.host.text())
        .into_iter()
        .map(granted)
        .collect()
}

impl Granted<'_> {
    /// The global privileges that it brings.
    pub(super) fn access(&self, facts: &Facts) -> u64 {
        let of = |name: &&Name| role(facts, name).and_then(|row| row.access).unwrap_or(0);
        self.all.iter().map(of).fold(0, |all, access| all | access)
    }

    /// The privileges on parts of databases that it brings.
    pub(super) fn objects<'a>(&'a self, facts: &'a Facts) -> impl Iterator<Item = &'a ObjectGrant> {
        self.all
            .iter()
            .flat_map(|name| objects(facts, name, &NO_HOST))
    }

    /// The privileges on databases that it brings.
    pub(super) fn databases<'a>(
        &'a self,
        facts: &'a Facts,
    ) -> impl Iterator<Item = &'a DatabaseGrant> {
        self.all
            .iter()
            .flat_map(|name| databases(facts, name, &NO_HOST))
    }
}

/// The host of a role.
pub(super) static NO_HOST: Name = Name(Vec::new());

/// The row of a role.
pub(super) fn role<'a>(facts: &'a Facts, name: &Name) -> Option<&'a Account> {
    let mut accounts = facts.accounts.iter();
    accounts.find(|account| account.is_role && account.user == *name)
}

/// The role of everybody (from 10.11 on).
pub(super) const PUBLIC: &[u8] = b"PUBLIC";

/// What was granted on databases to this user and host themselves.
pub(super) fn databases<'a>(
    facts: &'a Facts,
    user: &'a Name,
    host: &'a Name,
) -> impl Iterator<Item = &'a DatabaseGrant> {
    let grants = facts.database_grants.iter().flatten();
    grants.filter(move |grant| grant.user == *user && grant.host == *host)
}

/// What was granted on tables and routines to this user and host themselves. Who may do something with
/// a column is among those who may with its table.
pub(super) fn objects<'a>(
    facts: &'a Facts,
    user: &'a Name,
    host: &'a Name,
) -> impl Iterator<Item = &'a ObjectGrant> {
    let grants = facts.object_grants.iter().flatten();
    grants.filter(move |grant| {
        grant.user == *user && grant.host == *host && grant.kind != ObjectKind::Column
    })
}

/// The database that a grant which is on one database means.
pub(super) fn literal(database: &Name) -> Name {
    let mut bytes = database.0.iter();
    let mut plain = Vec::new();
    while let Some(&byte) = bytes.next() {
        let escaped = (byte == b'\\').then(|| bytes.next()).flatten();
        plain.push(*escaped.unwrap_or(&byte));
    }
    Name(plain)
}

/// The grant is on more than one database, whatever their names: it holds a `%` that is no literal.
pub(super) fn is_on_many(database: &Name) -> bool {
    let mut bytes = database.0.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'%' => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_privileges_as_servers_wrote_them() {
        // GRANT ALL, with and without GRANT OPTION, on 10.11.19; on 11.8; of mariadb-install-db.
        for access in [
            549_755_812_863,
            549_755_813_887,
            1_099_511_626_751,
            u64::MAX,
        ] {
            assert!(is_all(access, Some(101_119)), "{access}");
        }
        assert!(
            !is_all(549_755_812_863 & !1, Some(101_119)),
            "without SELECT"
        );
        assert!(is_all(1_073_740_799, Some(100_434)), "GRANT ALL on 10.4");
        assert!(!is_all(1_073_740_799, Some(101_119)));
    }

    #[test]
    fn rights_have_the_names_that_grant_uses() {
        assert_eq!(
            names((1 << 15) | (1 << 9) | GRANT),
            "FILE, GRANT OPTION, SUPER"
        );
        assert_eq!(names(powerful(!((1 << 30) - 1))), NAMES[30..39].join(", "));
        assert_eq!(powerful(data(u64::MAX)), 0, "both");
        assert_eq!(names(0), "");
    }

    #[test]
    fn a_database_name_may_be_a_pattern() {
        for (name, many) in [
            ("shop", false),
            ("%", true),
            ("shop\\%", false),
            ("a\\_%", true),
            ("my_db", false),
            ("x\\\\%", true),
        ] {
            assert_eq!(is_on_many(&name.into()), many, "{name}");
        }
        assert_eq!(literal(&"a\\_b\\\\".into()), "a_b\\".into());
    }
}
