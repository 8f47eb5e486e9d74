//! What is peculiar to MariaDB, against a real server.

use conntracker::mariadb::Access;
use conntracker::store::MariaDb;

use super::store_contract;
use crate::mariadb::Server;

/// How `root` reaches a server of these tests.
fn as_root(server: &Server) -> Access {
    Access {
        socket: Some(server.address().socket.clone()),
        user: Some("root".into()),
        ..Access::default()
    }
}

#[test]
fn mariadb_keeps_the_contract() {
    let server = Server::start(&[]);
    let access = as_root(&server);
    store_contract(|| Box::new(MariaDb::open(&access, "conntrack").expect("a store")));
}
