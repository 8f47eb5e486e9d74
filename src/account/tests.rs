//! The rules, one test each. Most of these logins were tried on servers: they stand in
//! tests/data/account-oracle, too.

mod attribute;
mod explain;

use std::net::IpAddr;

use super::*;

const NEW: Server = Server {
    version: Version(10, 11, 19),
    skip_name_resolve: false,
};
const SKIPS: Server = Server {
    skip_name_resolve: true,
    ..NEW
};

fn accounts(server: Server, keys: &[(&str, &str)]) -> Accounts {
    let row = |(user, host): &(&str, &str)| Account::new(*user, *host);
    Accounts::new(keys.iter().map(row).collect(), server)
}

fn address(ip: &str) -> Address {
    Address::parse(ip.as_bytes()).unwrap()
}

/// `socket`, an address, or `name=address`.
fn client(text: &str) -> Client {
    if text == "socket" {
        return Client::Socket;
    }
    let (name, ip) = match text.split_once('=') {
        Some((name, ip)) => (Some(Name::from(name)), ip),
        None => (None, text),
    };
    Client::Tcp {
        address: address(ip),
        name,
    }
}

fn show(accounts: &Accounts, attribution: &Attribution) -> String {
    let mut all: Vec<String> = attribution
        .rows()
        .iter()
        .map(|id| format!("{}@{}", accounts.row(*id).user, accounts.row(*id).host))
        .collect();
    if attribution.may_be_no_account() {
        all.push("none".into());
    }
    all.join(" ")
}

/// Which of `keys` is picked for `user` from each of the clients.
#[track_caller]
fn picks(server: Server, keys: &[(&str, &str)], user: &str, expected: &[(&str, &str)]) {
    for reversed in [false, true] {
        let mut keys = keys.to_vec();
        if reversed {
            keys.reverse();
        }
        let accounts = accounts(server, &keys);
        for (from, row) in expected {
            let picked = accounts.pick(user.as_bytes(), &client(from));
            assert_eq!(show(&accounts, &picked), *row, "{user} from {from}");
        }
    }
}

/// Knows some names.
struct Names(&'static [(&'static str, &'static [&'static str])]);

impl Resolver for &Names {
    fn addresses(&mut self, name: &Name) -> Option<Vec<IpAddr>> {
        let (_, ips) = self
            .0
            .iter()
            .find(|(known, _)| Name::from(*known) == *name)?;
        Some(ips.iter().map(|ip| ip.parse().unwrap()).collect())
    }

    fn name(&mut self, ip: IpAddr) -> Option<Name> {
        let ip = ip.to_string();
        let (name, _) = self.0.iter().find(|(_, ips)| ips.contains(&&*ip))?;
        Some(Name::from(*name))
    }
}

static NAMES: Names = Names(&[
    ("app1", &["10.0.0.5"]),
    ("two", &["10.0.0.5", "10.9.0.5"]),
    ("self", &["127.0.0.1", "10.0.0.7"]),
    ("loop", &["127.0.0.1", "::1"]),
    ("gone", &[]),
    ("localhost", &["127.0.0.1", "127.0.0.7"]),
    ("5.5.example", &["10.0.0.55"]),
]);

#[track_caller]
fn attributed(accounts: &Accounts, user: &str, host: &str, alone: &str, resolved: &str) {
    let (user, host) = (Name::from(user), Name::from(host));
    let found = accounts.attribute(&user, &host, &mut NoResolver);
    assert_eq!(show(accounts, &found), alone, "{user} from {host}");
    let found = accounts.attribute(&user, &host, &mut &NAMES);
    assert_eq!(
        show(accounts, &found),
        resolved,
        "{user} from {host}, resolved"
    );
}

// Section by section: which rows take part.

#[test]
fn roles_take_no_part() {
    let mut role = Account::new("r", "");
    role.is_role = true;
    let accounts = Accounts::new(vec![role, Account::new("r", "10.%")], SKIPS);
    let pick = |from| show(&accounts, &accounts.pick(b"r", &client(from)));
    assert_eq!(pick("10.1.2.100"), "r@10.%");
    assert_eq!(pick("socket"), "none");
}

#[test]
fn an_empty_host_is_a_percent_sign_and_ties_with_it() {
    picks(
        SKIPS,
        &[("a", "")],
        "a",
        &[("socket", "a@"), ("10.1.2.100", "a@")],
    );
    let both = accounts(SKIPS, &[("a", "%"), ("a", ""), ("", "%")]);
    let picked = both.pick(b"a", &Client::Socket);
    assert_eq!(show(&both, &picked), "a@% a@");
    assert_eq!(picked.exact(), None);
    assert!(!picked.may_be_no_account());
}

/// Seen on 10.11: rows put in by INSERT.
#[test]
fn names_end_at_a_nul() {
    picks(SKIPS, &[("a\0x", "%")], "a", &[("socket", "a\\x00x@%")]);
    picks(SKIPS, &[("\0x", "%")], "a", &[("socket", "\\x00x@%")]);
    let tie = accounts(SKIPS, &[("a\0x", "%"), ("a\0y", "%\0z")]);
    assert_eq!(tie.pick(b"a", &Client::Socket).rows().len(), 2);
}

#[test]
fn host_names_take_no_part_where_names_are_not_resolved() {
    let rows = [("a", "app1"), ("a", "%")];
    picks(SKIPS, &rows, "a", &[("10.0.0.5", "a@%")]);
    picks(
        NEW,
        &rows,
        "a",
        &[("app1=10.0.0.5", "a@app1"), ("10.0.0.5", "a@%")],
    );
    // The client's name shows that names were resolved when it logged in.
    picks(SKIPS, &rows, "a", &[("app1=10.0.0.5", "a@app1")]);
}

/// Seen on 10.5 and 11.8: such a row is dropped when accounts are loaded, but not when it is created.
#[test]
fn a_name_that_is_like_an_address_may_be_there_or_not() {
    let rows = [("a", "10.0.0\\.5"), ("a", "10.%"), ("a", "lo\\calhost")];
    let both = "a@10.0.0\\\\.5 a@10.%";
    picks(
        SKIPS,
        &rows,
        "a",
        &[("10.0.0.5", both), ("socket", "a@lo\\\\calhost none")],
    );
    picks(
        NEW,
        &rows,
        "a",
        &[
            ("10.0.0.5", "a@10.0.0\\\\.5"),
            ("socket", "a@lo\\\\calhost"),
        ],
    );
}

#[test]
fn user_names_are_compared_byte_for_byte() {
    let rows = [("Alice", "%"), ("alice", "localhost"), ("q ", "%")];
    picks(SKIPS, &rows, "Alice", &[("socket", "Alice@%")]);
    picks(
        SKIPS,
        &rows,
        "alice",
        &[("socket", "alice@localhost"), ("10.0.0.1", "none")],
    );
    picks(SKIPS, &rows, "ALICE", &[("socket", "none")]);
    picks(SKIPS, &rows, "q", &[("socket", "none")]);
}

// The order.

#[test]
fn a_netmask_and_an_address_tie_and_text_decides() {
    let high = [("a", "10.1.2.64/255.255.255.192"), ("a", "10.1.2.100")];
    picks(
        SKIPS,
        &high,
        "a",
        &[("10.1.2.100", "a@10.1.2.64/255.255.255.192")],
    );
    let low = [("a", "10.1.2.0/255.255.255.0"), ("a", "10.1.2.100")];
    picks(SKIPS, &low, "a", &[("10.1.2.100", "a@10.1.2.100")]);
}

#[test]
fn a_narrower_netmask_has_no_precedence() {
    let rows = [("a", "10.0.0.0/255.192.0.0"), ("a", "10.0.0.0/255.255.0.0")];
    picks(SKIPS, &rows, "a", &[("10.0.2.3", "a@10.0.0.0/255.255.0.0")]);
    let rows = [("a", "10.0.0.0/255.255.0.0"), ("a", "10.0.0.0/255.64.0.0")];
    picks(SKIPS, &rows, "a", &[("10.0.2.3", "a@10.0.0.0/255.64.0.0")]);
}

#[test]
fn on_a_tie_a_name_beats_ipv6_localhost_which_beats_127() {
    let rows = [("a", "localhost"), ("a", "::1"), ("a", "127.0.0.1")];
    let from = ["socket", "localhost=127.0.0.1", "localhost=::1"];
    picks(NEW, &rows, "a", &from.map(|from| (from, "a@localhost")));
    picks(
        NEW,
        &rows[1..],
        "a",
        &[("::1", "a@::1"), ("127.0.0.1", "a@127.0.0.1")],
    );
    let all = accounts(NEW, &rows);
    let mut order: Vec<_> = all.rows().iter().collect();
    order.sort_by_key(|row| Specificity::of(&row.host, &NEW));
    assert_eq!(order.len(), 3);
    let explained = all.explain(b"a", &Evidence::Client(Client::Socket));
    let hosts: Vec<_> = explained
        .rows
        .iter()
        .map(|at| all.row(at.row).host.to_string())
        .collect();
    assert_eq!(hosts, ["localhost", "::1", "127.0.0.1"]);
}

#[test]
fn the_shorter_literal_prefix_wins() {
    let rows = [("a", "10.1%00"), ("a", "10.1.2%")];
    picks(SKIPS, &rows, "a", &[("10.1.2.100", "a@10.1%00")]);
}

#[test]
fn any_number_of_underscores_beats_a_percent_sign() {
    let rows = [("a", "_________"), ("a", "127.0.0.%")];
    picks(SKIPS, &rows, "a", &[("127.0.0.8", "a@_________")]);
    picks(
        SKIPS,
        &[("a", "127.0.0.__"), ("a", "127.0._.10")],
        "a",
        &[("127.0.0.10", "a@127.0._.10")],
    );
}

#[test]
fn the_longer_pattern_wins_among_those_with_a_percent_sign() {
    let rows = [
        ("a", "10.%"),
        ("a", "10.1.%"),
        ("a", "%"),
        ("a", "%.1.2.100"),
    ];
    picks(
        SKIPS,
        &rows,
        "a",
        &[
            ("10.1.2.100", "a@%.1.2.100"),
            ("10.1.3.5", "a@10.1.%"),
            ("10.2.0.7", "a@10.%"),
            ("127.0.0.8", "a@%"),
        ],
    );
    picks(
        SKIPS,
        &[("a", "10.%.%"), ("a", "10.1%")],
        "a",
        &[("10.1.2.100", "a@10.1%")],
    );
}

#[test]
fn equal_keys_are_ordered_by_text_descending() {
    let rows = [
        ("a", "10._.2.100"),
        ("a", "10.1._.100"),
        ("a", "_0.1.2.100"),
    ];
    picks(SKIPS, &rows, "a", &[("10.1.2.100", "a@_0.1.2.100")]);
}

#[test]
fn an_anonymous_row_wins_only_if_it_is_more_specific() {
    let rows = [
        ("", "localhost"),
        ("bob", "%"),
        ("", "%"),
        ("bob", "127.0.0.1"),
    ];
    picks(
        SKIPS,
        &rows,
        "bob",
        &[
            ("socket", "@localhost"),
            ("10.0.0.1", "bob@%"),
            ("127.0.0.1", "bob@127.0.0.1"),
        ],
    );
    picks(
        SKIPS,
        &rows,
        "zz",
        &[("socket", "@localhost"), ("10.0.0.1", "@%")],
    );
    picks(
        SKIPS,
        &rows,
        "",
        &[("socket", "@localhost"), ("10.0.0.1", "@%")],
    );
    // On a tie of the keys the text does not matter.
    let rows = [("", "127.0.0.8"), ("a", "127.0.0.0/255.255.255.0")];
    picks(
        SKIPS,
        &rows,
        "a",
        &[("127.0.0.8", "a@127.0.0.0/255.255.255.0")],
    );
}

#[test]
fn before_10_6_1_all_underscores_count() {
    let old = Server {
        version: Version(10, 5, 29),
        ..NEW
    };
    let ones = format!("{}{}", "_".repeat(34), "A".repeat(6));
    let more = format!("{}{}", "_".repeat(33), "A".repeat(7));
    let rows = [("a", &*ones), ("a", &*more)];
    let from = format!("{}=10.0.0.1", "a".repeat(40));
    picks(old, &rows, "a", &[(&from, &format!("a@{more}"))]);
    // From then on they tie, and the text decides.
    picks(NEW, &rows, "a", &[(&from, &format!("a@{ones}"))]);
}
