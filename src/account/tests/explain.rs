//! Who a client is, and why a row is picked for it.

use super::*;

#[test]
fn a_tcp_client_has_a_name_only_where_names_are_resolved() {
    let tcp = |ip: &str, name: &str, server| {
        let client = Client::tcp(address(ip), Some(&Name::from(name)), &server);
        client.name().map(|name| Name::from(name).escaped())
    };
    assert_eq!(tcp("10.0.0.5", "app1", SKIPS), None);
    assert_eq!(tcp("127.0.0.1", "app1", SKIPS), None);
    assert_eq!(tcp("10.0.0.5", "app1", NEW).as_deref(), Some("app1"));
    assert_eq!(tcp("127.0.0.1", "app1", NEW).as_deref(), Some("localhost"));
    assert_eq!(tcp("::1", "app1", NEW).as_deref(), Some("localhost"));
    assert_eq!(tcp("10.0.0.5", "5.5.example", NEW), None);
    assert_eq!(tcp("10.0.0.5", "55", NEW).as_deref(), Some("55"));
    assert_eq!(tcp("10.0.0.5", "5a.b", NEW).as_deref(), Some("5a.b"));
    assert_eq!(tcp("10.0.0.5", ".b", NEW).as_deref(), Some(".b"));
    let old = Server {
        version: Version(10, 5, 29),
        ..NEW
    };
    let long = "n".repeat(300);
    assert_eq!(tcp("10.0.0.5", &long, NEW), Some("n".repeat(255)));
    assert_eq!(tcp("10.0.0.5", &long, old), Some("n".repeat(60)));
    assert_eq!(Client::tcp(address("10.0.0.5"), None, &NEW).name(), None);
    assert_eq!(
        (Client::Socket.name(), Client::Socket.address()),
        (Some(&b"localhost"[..]), None)
    );
}

#[test]
fn what_a_person_means_by_a_host() {
    let of = |host: &str, server| {
        let show = |evidence: &Evidence| match evidence {
            Evidence::Client(Client::Socket) => "socket".to_owned(),
            Evidence::Client(Client::Tcp { address, name }) => match name {
                Some(name) => format!("{name}={address}"),
                None => address.to_string(),
            },
            Evidence::AnyAddress(name) => format!("{name}=?"),
        };
        let all: Vec<_> = Evidence::of(&host.into(), &server, &mut &NAMES)
            .iter()
            .map(show)
            .collect();
        all.join(" ")
    };
    for (host, resolved, skips) in [
        ("10.0.0.5", "app1=10.0.0.5", "10.0.0.5"),
        ("10.0.0.9", "10.0.0.9", "10.0.0.9"),
        ("::ffff:10.0.0.5", "app1=10.0.0.5", "10.0.0.5"),
        ("127.0.0.1", "localhost=127.0.0.1", "127.0.0.1"),
        ("10.0.0.55", "10.0.0.55", "10.0.0.55"),
        (
            "localhost",
            "socket localhost=127.0.0.1 localhost=::1 localhost=127.0.0.7",
            "socket",
        ),
        (
            "LocalHost",
            "socket localhost=127.0.0.1 localhost=::1",
            "socket",
        ),
        ("app1", "app1=10.0.0.5", "10.0.0.5"),
        ("two", "app1=10.0.0.5 two=10.9.0.5", "10.0.0.5 10.9.0.5"),
        (
            "self",
            "localhost=127.0.0.1 self=10.0.0.7",
            "127.0.0.1 10.0.0.7",
        ),
        ("5.5.example", "10.0.0.55", "10.0.0.55"),
        ("gone", "gone=?", ""),
        ("unknown", "unknown=?", ""),
        ("5.unknown", "", ""),
    ] {
        assert_eq!(of(host, NEW), resolved, "{host}");
        assert_eq!(of(host, SKIPS), skips, "{host}, names not resolved");
    }
}

/// A name counts only if it has the address among its own.
#[test]
fn a_name_that_does_not_lead_back_is_not_taken() {
    struct Liar;
    impl Resolver for Liar {
        fn addresses(&mut self, _: &Name) -> Option<Vec<IpAddr>> {
            Some(vec!["10.0.0.6".parse().unwrap()])
        }
        fn name(&mut self, _: IpAddr) -> Option<Name> {
            Some("liar".into())
        }
    }
    let found = Evidence::of(&"10.0.0.5".into(), &NEW, &mut Liar);
    assert_eq!(found, [Evidence::Client(client("10.0.0.5"))]);
    let found = Evidence::of(&"10.0.0.6".into(), &NEW, &mut Liar);
    assert_eq!(found, [Evidence::Client(client("liar=10.0.0.6"))]);
    let found = Evidence::of(&"10.0.0.6".into(), &NEW, &mut NoResolver);
    assert_eq!(found, [Evidence::Client(client("10.0.0.6"))]);
}

// Why.

fn why(accounts: &Accounts, user: &str, evidence: Evidence) -> Vec<(String, Why)> {
    let explanation = accounts.explain(user.as_bytes(), &evidence);
    let row = |at: &Considered| {
        let row = accounts.row(at.row);
        assert_eq!(
            at.specificity,
            Specificity::of(&row.host, accounts.server())
        );
        (format!("{}@{}", row.user, row.host), at.why)
    };
    explanation.rows.iter().map(row).collect()
}

#[track_caller]
fn explained(accounts: &Accounts, user: &str, evidence: Evidence, expected: &[(&str, Why)]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(row, why)| (row.to_string(), *why))
        .collect();
    assert_eq!(why(accounts, user, evidence), expected);
}

#[test]
fn each_row_is_explained_for_a_client() {
    let mut rows = vec![
        Account::new("a", "%"),
        Account::new("a", "10.0.0.%"),
        Account::new("", "10.0.0._"),
        Account::new("a", "10.0.0.0/255.0.0.0"),
        Account::new("a", "10.0.0.0/255.255.0.0"),
        Account::new("a", "10.0.0.1/255.0.0.0"),
        Account::new("a", "app1"),
        Account::new("b", "10.0.0.5"),
        Account::new("a", ""),
        Account::new("", "%"),
    ];
    rows.push(Account {
        is_role: true,
        ..Account::new("a", "")
    });
    rows.push(Account {
        is_role: true,
        ..Account::new("b", "")
    });
    let accounts = Accounts::new(rows, SKIPS);
    let expected = [
        ("a@app1", Why::NameNotResolved),
        ("a@10.0.0.1/255.0.0.0", Why::DeadNetmask),
        ("a@10.0.0.0/255.255.0.0", Why::OtherNetwork),
        ("a@10.0.0.0/255.0.0.0", Why::Picked(How::Netmask)),
        ("@10.0.0._", Why::NotLike),
        ("a@10.0.0.%", Why::NotLike),
        ("a@%", Why::Behind(How::Address)),
        ("a@", Why::Behind(How::Address)),
        ("@%", Why::Behind(How::Address)),
        ("a@", Why::Role),
    ];
    explained(
        &accounts,
        "'a'",
        Evidence::Client(client("10.9.0.5")),
        &expected,
    );
    let tied = [
        ("a@app1", Why::NameNotResolved),
        ("a@10.0.0.1/255.0.0.0", Why::DeadNetmask),
        ("a@10.0.0.0/255.255.0.0", Why::NotLike),
        ("a@10.0.0.0/255.0.0.0", Why::NotLike),
        ("@10.0.0._", Why::NotLike),
        ("a@10.0.0.%", Why::NotLike),
        ("a@%", Why::Tied(How::Name)),
        ("a@", Why::Tied(How::Name)),
        ("@%", Why::Behind(How::Name)),
        ("a@", Why::Role),
    ];
    explained(&accounts, "a", Evidence::Client(Client::Socket), &tied);
    let explanation = accounts.explain(b"'a'", &Evidence::Client(Client::Socket));
    assert_eq!(explanation.user, "a".into());
    assert_eq!(
        explanation.picked().collect::<Vec<_>>(),
        [RowId(0), RowId(8)]
    );
    assert!(!explanation.may_be_refused);
    let rows = Accounts::new(vec![Account::new("a", "%")], SKIPS);
    let nobody = rows.explain(b"zz", &Evidence::Client(Client::Socket));
    assert!(nobody.may_be_refused && nobody.picked().next().is_none());
}

#[test]
fn a_row_that_is_perhaps_there_is_explained() {
    let rows = accounts(
        SKIPS,
        &[("a", "10.0.0\\.5"), ("a", "1\\0.0.0.5"), ("a", "10.0.0.5")],
    );
    let expected = [
        ("a@1\\\\0.0.0.5", Why::Perhaps(How::Address)),
        ("a@10.0.0\\\\.5", Why::Perhaps(How::Address)),
        ("a@10.0.0.5", Why::Picked(How::Address)),
    ];
    explained(&rows, "a", Evidence::Client(client("10.0.0.5")), &expected);
    let rows = accounts(
        SKIPS,
        &[
            ("a", "10.0.0\\.5"),
            ("a", "10.0.0/5"),
            ("a", "10_0.0.5"),
            ("a", "10.0.0.5"),
        ],
    );
    let expected = [
        ("a@10.0.0\\\\.5", Why::Perhaps(How::Address)),
        ("a@10.0.0/5", Why::NotLike),
        ("a@10.0.0.5", Why::Picked(How::Address)),
        ("a@10_0.0.5", Why::Behind(How::Address)),
    ];
    explained(&rows, "a", Evidence::Client(client("10.0.0.5")), &expected);
}

#[test]
fn a_row_behind_the_one_that_is_picked_does_not_matter() {
    let rows = accounts(SKIPS, &[("a", "lo\\calhost"), ("a", "localhost")]);
    let expected = [
        ("a@localhost", Why::Picked(How::Name)),
        ("a@lo\\\\calhost", Why::NameNotResolved),
    ];
    explained(&rows, "a", Evidence::Client(Client::Socket), &expected);
}

#[test]
fn each_row_is_explained_for_a_name_with_any_address() {
    let rows = accounts(
        NEW,
        &[
            ("a", "10.0.0.0/255.0.0.0"),
            ("a", "10.0.0.1/255.0.0.0"),
            ("a", "other"),
            ("a", "10.5.%"),
            ("a", "127.0.0.1"),
            ("a", "app1%"),
            ("a", "app%"),
            ("a", "10.%"),
            ("", "%"),
        ],
    );
    let ip = |text: &str| Some(text.parse().unwrap());
    let expected = [
        ("a@other", Why::NotLike),
        ("a@127.0.0.1", Why::NothingLeft),
        ("a@10.0.0.1/255.0.0.0", Why::DeadNetmask),
        ("a@10.0.0.0/255.0.0.0", Why::Possible(ip("10.1.1.1"))),
        ("a@10.5.%", Why::NothingLeft),
        ("a@app1%", Why::Last(ip("1.1.1.1"))),
        ("a@app%", Why::Behind(How::Name)),
        ("a@10.%", Why::NotAsked),
        ("@%", Why::Behind(How::Name)),
    ];
    explained(&rows, "a", Evidence::AnyAddress("app1".into()), &expected);
    let explanation = rows.explain(b"a", &Evidence::AnyAddress("app1".into()));
    assert_eq!(explanation.picked().count(), 2);
    assert!(!explanation.may_be_refused);
    let rows = accounts(NEW, &[("a", "app1"), ("a", "%:%")]);
    let explanation = rows.explain(b"a", &Evidence::AnyAddress("app2".into()));
    assert!(explanation.may_be_refused);
    let expected = [("a@%", Why::Last(ip("1.1.1.1")))];
    let evidence = Evidence::AnyAddress("app2".into());
    explained(&accounts(NEW, &[("a", "%")]), "a", evidence, &expected);
    let keys = [("a", "%.%.%.%"), ("a", "%:%"), ("a", "%"), ("a", "%\0")];
    let expected = [
        ("a@%.%.%.%", Why::Possible(ip("1.1.1.1"))),
        ("a@%:%", Why::Possible(ip("::"))),
        ("a@%", Why::NothingLeft),
        ("a@%\\x00", Why::NothingLeft),
    ];
    let evidence = Evidence::AnyAddress("app2".into());
    explained(&accounts(NEW, &keys), "a", evidence, &expected);
}

#[test]
fn reasons_are_words() {
    let all = [
        Why::Picked(How::Netmask),
        Why::Tied(How::Name),
        Why::Perhaps(How::Address),
        Why::Possible(Some("::1.2.3.4".parse().unwrap())),
        Why::Last(None),
        Why::Behind(How::Name),
        Why::NotAsked,
        Why::NothingLeft,
        Why::OtherNetwork,
        Why::DeadNetmask,
        Why::NotLike,
        Why::Role,
        Why::NameNotResolved,
    ];
    let texts = all.map(Why::text);
    assert_eq!(texts[0], "picked: the address is in its network");
    assert_eq!(texts[3], "picked for some addresses, such as ::1.2.3.4");
    assert_eq!(
        texts[4],
        "picked for all other addresses: the name is like it"
    );
    for (at, text) in texts.iter().enumerate() {
        assert!(!text.is_empty() && !texts[..at].contains(text), "{text}");
    }
}

#[test]
fn ssl_types_have_numbers() {
    let types = [
        SslType::None,
        SslType::Any,
        SslType::X509,
        SslType::Specified,
    ];
    for (number, ssl_type) in (0..).zip(types) {
        assert_eq!(SslType::from_number(number), Some(ssl_type));
    }
    assert_eq!(SslType::from_number(4), None);
}
