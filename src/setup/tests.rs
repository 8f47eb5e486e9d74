use super::*;
use crate::account::{Server, Version};
use crate::server::{Facts, Settings};
use crate::time::UtcSeconds;

/// A server with these settings, of which nothing else is known.
pub(super) fn facts(settings: &[(&str, &str)]) -> Facts {
    let settings = settings
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Facts {
        described: "server at /run/mysqld/mysqld.sock".into(),
        version: "10.11.19-MariaDB".into(),
        rules: Server {
            version: Version(10, 11, 19),
            skip_name_resolve: false,
        },
        hostname: "db1".into(),
        now: UtcSeconds(1_795_600_000),
        utc_offset: 0,
        accounts: Vec::new(),
        roles: None,
        proxies: None,
        database_grants: None,
        settings: Settings(settings.collect()),
        audit_plugin: None,
        connections: None,
        unknown: Vec::new(),
    }
}
