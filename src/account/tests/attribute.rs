//! What a line of the log decides.

use super::*;

#[test]
fn a_logged_address_is_exact() {
    for server in [NEW, SKIPS] {
        let rows = accounts(server, &[("a", "app%"), ("a", "10.%"), ("b", "app1")]);
        attributed(&rows, "a", "10.0.0.5", "a@10.%", "a@10.%");
        attributed(&rows, "a", "fd00::5", "none", "none");
        attributed(&rows, "b", "10.0.0.5", "none", "none");
        let found = rows.attribute(&"a".into(), &"10.0.0.5".into(), &mut NoResolver);
        assert_eq!(found.exact(), Some(RowId(1)));
        assert!(!found.may_be_no_account());
        let none = rows.attribute(&"b".into(), &"10.0.0.5".into(), &mut NoResolver);
        assert_eq!(none, Attribution::NoAccount);
        assert_eq!((none.exact(), none.rows()), (None, &[][..]));
    }
}

#[test]
fn a_logged_name_is_not_stripped_of_quotes_again() {
    let rows = accounts(SKIPS, &[("q", "%"), ("'q'", "%")]);
    attributed(&rows, "'q'", "10.0.0.5", "'q'@%", "'q'@%");
}

#[test]
fn localhost_is_the_socket_where_names_are_not_resolved() {
    let rows = accounts(SKIPS, &[("a", "127.0.0.1"), ("a", "%")]);
    attributed(&rows, "a", "localhost", "a@%", "a@%");
}

#[test]
fn localhost_is_the_socket_or_an_address_of_that_name() {
    let rows = accounts(NEW, &[("a", "127.0.0.1"), ("a", "%"), ("a", "10.%")]);
    let known = "a@127.0.0.1 a@%";
    attributed(&rows, "a", "localhost", "a@127.0.0.1 a@10.% a@%", known);
    let rows = accounts(
        NEW,
        &[
            ("a", "::1"),
            ("a", "127.0.0.7"),
            ("a", "10.0.%.%"),
            ("a", "l%"),
        ],
    );
    let known = "a@::1 a@127.0.0.7 a@l%";
    attributed(
        &rows,
        "a",
        "localhost",
        "a@::1 a@127.0.0.7 a@10.0.%.% a@l%",
        known,
    );
    let rows = accounts(NEW, &[("a", "localhost"), ("a", "%")]);
    attributed(&rows, "a", "localhost", "a@localhost", "a@localhost");
    let rows = accounts(NEW, &[("a", "::1"), ("a", "127.0.0.1")]);
    let known = "a@::1 a@127.0.0.1 none";
    attributed(&rows, "a", "localhost", known, known);
}

#[test]
fn another_name_ends_the_walk_where_a_row_is_like_it() {
    let rows = accounts(
        NEW,
        &[
            ("a", "10.0.0.5"),
            ("a", "10.9.%"),
            ("a", "app%"),
            ("a", "%"),
        ],
    );
    attributed(
        &rows,
        "a",
        "app1",
        "a@10.0.0.5 a@10.9.% a@app%",
        "a@10.0.0.5",
    );
    attributed(
        &rows,
        "a",
        "APP1",
        "a@10.0.0.5 a@10.9.% a@app%",
        "a@10.0.0.5 a@10.9.% a@app%",
    );
    attributed(
        &rows,
        "a",
        "two",
        "a@10.0.0.5 a@10.9.% a@%",
        "a@10.0.0.5 a@10.9.%",
    );
    attributed(
        &rows,
        "a",
        "gone",
        "a@10.0.0.5 a@10.9.% a@%",
        "a@10.0.0.5 a@10.9.% a@%",
    );
}

#[test]
fn where_no_row_is_like_the_name_it_may_be_no_account() {
    let rows = accounts(NEW, &[("a", "10.0.0.5"), ("", "10.9.0.0/255.255.0.0")]);
    attributed(
        &rows,
        "a",
        "app1",
        "a@10.0.0.5 @10.9.0.0/255.255.0.0 none",
        "a@10.0.0.5",
    );
    attributed(&rows, "b", "app1", "@10.9.0.0/255.255.0.0 none", "none");
    attributed(
        &rows,
        "b",
        "two",
        "@10.9.0.0/255.255.0.0 none",
        "@10.9.0.0/255.255.0.0 none",
    );
    let rows = accounts(NEW, &[("a", "other")]);
    attributed(&rows, "a", "app1", "none", "none");
}

/// 127.0.0.1 and ::1 are `localhost` and have no other name.
#[test]
fn another_name_is_never_the_loopback_address() {
    let rows = accounts(NEW, &[("a", "127.0.0.1"), ("a", "::1"), ("a", "%")]);
    attributed(&rows, "a", "self", "a@%", "a@%");
    attributed(&rows, "a", "loop", "a@%", "a@%");
    let rows = accounts(NEW, &[("a", "127.0.0._"), ("a", "%")]);
    attributed(&rows, "a", "self", "a@127.0.0._ a@%", "a@%");
    attributed(&rows, "a", "loop", "a@127.0.0._ a@%", "a@127.0.0._ a@%");
}

#[test]
fn a_row_that_others_leave_no_address_is_no_candidate() {
    let rows = accounts(
        NEW,
        &[
            ("a", "10.0.0.0/255.0.0.0"),
            ("a", "10.1.2.%"),
            ("a", "10%"),
            ("a", "%"),
        ],
    );
    attributed(
        &rows,
        "a",
        "app1",
        "a@10.0.0.0/255.0.0.0 a@10% a@%",
        "a@10.0.0.0/255.0.0.0",
    );
    // All of IPv4, and all of IPv6.
    let rows = [
        ("a", "%.%.%.%"),
        ("a", "%:%"),
        ("a", "app1"),
        ("a", "%"),
        ("a", ""),
    ];
    for rows in [&rows[..], &rows[..2]] {
        let all = accounts(NEW, rows);
        attributed(&all, "a", "app2", "a@%.%.%.% a@%:%", "a@%.%.%.% a@%:%");
    }
    // Halves.
    let rows = [
        ("a", "0.0.0.0/128.0.0.0"),
        ("a", "128.0.0.0/128.0.0.0"),
        ("a", "1_.%"),
        ("a", "%:%"),
        ("a", "%"),
    ];
    let all = accounts(NEW, &rows);
    let both = "a@128.0.0.0/128.0.0.0 a@0.0.0.0/128.0.0.0 a@%:%";
    attributed(&all, "a", "app2", both, both);
}

#[test]
fn each_digit_and_each_part_of_an_address_counts() {
    let rows = accounts(
        NEW,
        &[("a", "%:a"), ("a", "%:b"), ("a", "%:f"), ("a", "%:F")],
    );
    attributed(
        &rows,
        "a",
        "app2",
        "a@%:f a@%:b a@%:a none",
        "a@%:f a@%:b a@%:a none",
    );
    let digits = b"0123456789abcdef".map(|digit| format!("1::%{}", char::from(digit)));
    let keys: Vec<_> = digits.iter().map(|host| ("a", &**host)).collect();
    let rows = accounts(NEW, &keys);
    let found = rows.attribute(&"a".into(), &"app2".into(), &mut NoResolver);
    assert_eq!(found.rows().len(), 16, "{found:?}");
    for host in [
        "10.9.0.5/255.255.255.255",
        "0.0.0.5/0.0.0.255",
        "10.9.0.0/255.255.255.0",
    ] {
        let rows = accounts(NEW, &[("a", host)]);
        let both = format!("a@{host} none");
        attributed(&rows, "a", "app2", &both, &both);
    }
}

/// Rows of a user with many are looked up, not asked one by one.
#[test]
fn many_rows_of_a_user_are_found_as_few_are() {
    let hosts = [
        "10.0.0.5",
        "APP1",
        "app%",
        "10.%",
        "10.0.%",
        "10.0.0.%5",
        "%1",
        "%.Example",
        "_pp%",
        "%p%",
        "%.0.%",
        "10.0.0.0/255.255.255.0",
        "10.0.0.0/255.255.0.0",
        "app1.%e",
        "localhost",
        "%t",
        "::1",
        "fd00::%",
        "%::5",
        "l%",
        "a_p2",
        "%",
    ];
    let clients = [
        "socket",
        "10.0.0.5",
        "10.0.9.5",
        "app1=10.9.9.9",
        "App1.example=10.0.0.5",
        "app2=fd00::5",
        "fd00::5",
        "localhost=::1",
        "x=10.0.1.1",
        "1.0.1.1",
        "a=1.1.1.1",
    ];
    let keys: Vec<_> = hosts.iter().map(|host| ("a", *host)).collect();
    for server in [NEW, SKIPS] {
        for skip in 0..hosts.len() {
            let all = accounts(server, &keys[skip..]);
            for from in clients.map(client) {
                let walk = all.walk(b"a");
                let is_in = |id: &RowId| {
                    let host = &all.row(*id).host;
                    host.admits(from.name(), from.address()).is_some()
                };
                let sure = |id: &RowId| all.resolves(&from) || !all.row(*id).host.is_name();
                let first = walk.filter(is_in).find(sure);
                let picked = all.pick(b"a", &from);
                assert_eq!(
                    picked.rows().last().copied(),
                    first,
                    "{from:?}, from {skip}"
                );
            }
        }
    }
}

#[test]
fn a_name_in_the_log_shows_that_names_were_resolved() {
    let rows = accounts(SKIPS, &[("a", "app1"), ("a", "10.%")]);
    attributed(&rows, "a", "app1", "a@app1", "a@app1");
}

#[test]
fn ties_stay_together() {
    let rows = accounts(
        NEW,
        &[("a", ""), ("a", "10.0.0.5"), ("a", "%"), ("a", "%\0x")],
    );
    let tie = "a@10.0.0.5 a@ a@% a@%\\x00x";
    attributed(&rows, "a", "two", tie, tie);
    attributed(&rows, "a", "", tie, tie);
    attributed(&rows, "a", "app1", tie, "a@10.0.0.5");
    let rows = accounts(NEW, &[("a", "10.%"), ("a", "10.%\0"), ("a", "%")]);
    attributed(
        &rows,
        "a",
        "two",
        "a@10.% a@10.%\\x00 a@%",
        "a@10.% a@10.%\\x00",
    );
}

#[test]
fn an_empty_host_says_nothing() {
    let rows = accounts(NEW, &[("a", "app1"), ("a", "10.%"), ("", "x")]);
    attributed(
        &rows,
        "a",
        "",
        "a@app1 @x a@10.% none",
        "a@app1 @x a@10.% none",
    );
    let rows = accounts(NEW, &[("a", "app1"), ("a", "%%"), ("", "%")]);
    attributed(&rows, "a", "", "a@app1 a@%%", "a@app1 a@%%");
}

/// Lookups take time, and tell others what is looked for.
#[test]
fn nothing_is_looked_up_that_makes_no_difference() {
    struct Never;
    impl Resolver for Never {
        fn addresses(&mut self, name: &Name) -> Option<Vec<IpAddr>> {
            panic!("asked for {name}")
        }
        fn name(&mut self, address: IpAddr) -> Option<Name> {
            panic!("asked for {address}")
        }
    }
    let rows = accounts(NEW, &[("a", "%")]);
    for (user, host) in [("a", "app1"), ("a", "10.0.0.5"), ("b", "app1"), ("a", "")] {
        rows.attribute(&user.into(), &host.into(), &mut Never);
    }
    let skips = accounts(SKIPS, &[("a", "%")]);
    skips.attribute(&"a".into(), &"localhost".into(), &mut Never);
    Evidence::of(&"127.0.0.1".into(), &NEW, &mut Never);
    Evidence::of(&"10.0.0.5".into(), &SKIPS, &mut Never);
    let ip = "10.0.0.5".parse().unwrap();
    assert_eq!(NoResolver.name(ip), None);
    assert_eq!(NoResolver.addresses(&"app1".into()), None);
}
