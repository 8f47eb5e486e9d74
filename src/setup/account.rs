//! The account that conntracker needs in the server, with no right more than it uses, and the views
//! that it reads. What is there already is left out.

use super::{Notes, Part, Situation, is_central, keeps_here};
use crate::account::{Account, Statement};
use crate::config::Config;
use crate::server::{Facts, Setup, Tables};
use crate::store::{MARIADB_VERSION, mariadb_schema, mariadb_views};

/// Rights on the database, by their bit in `access`: to read the views and to call the procedure.
const READ: [(&str, u64); 2] = [("SELECT", 1 << 0), ("EXECUTE", 1 << 18)];

/// And to keep the results there.
const WRITE: [(&str, u64); 3] = [("INSERT", 1 << 1), ("UPDATE", 1 << 2), ("DELETE", 1 << 3)];

/// The statements that are missing.
pub(super) fn part(situation: &Situation, config: &Config, setup: &Setup) -> Part {
    let mut notes = Notes::default();
    let database = &config.mariadb.database;
    let facts = &setup.facts;
    let has_password = config.server.has_password();
    if !has_password {
        notes.remark(format!(
            "The operating system's user {} comes in over the socket, without a password.",
            crate::name::escape(situation.account.as_bytes())
        ));
    }
    let mut body = Vec::new();
    body.extend(objects(config, setup, &mut notes));
    let account = Account::new(&*situation.account, "localhost");
    let known = facts
        .accounts
        .iter()
        .find(|known| !known.is_role && known.user == account.user && known.host == account.host);
    match known {
        Some(known) => body.extend(doubts_about(known, config, &mut notes)),
        None => {
            if !setup.accounts_known {
                notes.doubt(format!(
                    "which accounts there are: {} may not see them; what is there already is left as it is",
                    crate::name::escape(setup.current_user.as_bytes())
                ));
            }
            if has_password {
                notes.doubt(format!(
                    "whether there is an account {}: if not, create it first, with the password that \
                     the configuration leads to",
                    crate::name::escape(situation.account.as_bytes())
                ));
            } else {
                let create = Statement::new(
                    "CREATE USER IF NOT EXISTS",
                    &account,
                    "IDENTIFIED VIA unix_socket",
                );
                body.push(create.sql().to_owned());
            }
        }
    }
    let wanted = match keeps_here(config) {
        true => [&READ[..1], &WRITE, &READ[1..]].concat(),
        false => READ.to_vec(),
    };
    let has = known.map_or(0, |known| rights(facts, known, database));
    if wanted.iter().any(|(_, bit)| has & bit == 0) {
        let names: Vec<_> = wanted.iter().map(|(name, _)| *name).collect();
        let grant = format!("GRANT {} ON {}.* TO", names.join(", "), pattern(database));
        body.push(Statement::new(&grant, &account, "").sql().to_owned());
    }
    if !body.is_empty() {
        if facts.settings.is_on("wsrep_on") {
            notes.remark("A cluster: run this in one node, the others get it from there.");
        } else if facts.settings.is_on("read_only") {
            notes.remark("This server is read-only. If it is a replica, run this in its primary.");
        }
    }
    if is_central(config) {
        notes.remark(format!(
            "The store at {} needs tables and an account of its own: conntracker schema --store mariadb, \
             then GRANT SELECT, INSERT, UPDATE, DELETE, EXECUTE ON {}.* to it.",
            crate::name::escape(config.mariadb.access.host.as_deref().unwrap_or_default().as_bytes()),
            crate::name::escape(pattern(database).as_bytes())
        ));
    }
    Part {
        heading: "SQL, as an administrator: views and account".into(),
        notes,
        body: body
            .iter()
            .map(|sql| format!("{}\n", sql.trim_end()))
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

/// The tables and views that are not there.
fn objects(config: &Config, setup: &Setup, notes: &mut Notes) -> Option<String> {
    let database = &config.mariadb.database;
    let needs_tables = keeps_here(config)
        && match setup.tables {
            Some(Tables::Version(version)) => version < MARIADB_VERSION,
            Some(Tables::Missing) | None => true,
        };
    let hidden = setup.views.is_none() || keeps_here(config) && setup.tables.is_none();
    if hidden {
        notes.doubt(format!(
            "what there is of conntracker's views and tables: {} may not see it; what is there already is \
             replaced by the same, or left as it is",
            crate::name::escape(setup.current_user.as_bytes())
        ));
    }
    match (needs_tables, setup.views) {
        (true, _) => Some(mariadb_schema(database)),
        (false, Some(true)) => None,
        (false, _) => Some(mariadb_views(database)),
    }
}

/// Whether an account that is there already lets conntracker in.
fn doubts_about(known: &Account, config: &Config, notes: &mut Notes) -> Option<String> {
    let named = Statement::new("", known, "")
        .sql()
        .trim()
        .trim_end_matches(';')
        .to_owned();
    if known.locked == Some(true) {
        notes.doubt(format!("why {named} is locked: this lets it in again"));
        return Some(
            Statement::new("ALTER USER", known, "ACCOUNT UNLOCK")
                .sql()
                .to_owned(),
        );
    }
    let access = &config.server;
    let has_password = access.password_file.is_some() || access.defaults_file.is_some();
    let ways = known.authentication.as_ref()?;
    let by_socket = ways.iter().any(|way| way.plugin.0 == b"unix_socket");
    if !by_socket && !has_password {
        let instead = Statement::new("ALTER USER", known, "IDENTIFIED VIA unix_socket");
        notes.doubt(format!(
            "how {named} comes in: not over the socket. Put its password into a file and name that as \
             password_file, or run: {}",
            instead.sql()
        ));
    }
    None
}

/// The rights that an account has on all of a database: its own, without those of roles.
fn rights(facts: &Facts, account: &Account, database: &str) -> u64 {
    let grants = facts.database_grants.iter().flatten();
    let own = grants.filter(|grant| {
        grant.user == account.user
            && grant.host == *account.host.text()
            && (grant.database.0 == database.as_bytes()
                || grant.database.0 == escaped(database).as_bytes())
    });
    own.fold(account.access.unwrap_or(0), |all, grant| all | grant.access)
}

/// The database in GRANT, where it is a pattern.
fn pattern(database: &str) -> String {
    crate::mariadb::quote(&escaped(database))
}

fn escaped(database: &str) -> String {
    database.replace('_', "\\_").replace('%', "\\%")
}
