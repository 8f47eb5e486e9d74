//! Account rows of any bytes: patterns match as a slow and simple matcher says, the server's choice is
//! that of a slow and simple search, a line of the log leaves open what some client can be given and
//! nothing else, and SQL means the row it was made for.

use std::cmp::Reverse;
use std::net::IpAddr;

use conntracker::account::{
    Account, Accounts, Address, Attribution, Client, Evidence, HostPattern, NoResolver, Resolver,
    RowId, Server, Specificity, Statement, Version, Why,
};
use conntracker::name::Name;

/// What a byte stands for, up to the number of these; a greater one is itself.
const PARTS: [&str; 40] = [
    "%",
    "_",
    "\\",
    "10.",
    "127.",
    "0",
    "1",
    "2",
    "5",
    "255",
    "/",
    ".",
    "::",
    ":",
    "fd00",
    "f",
    "ffff",
    "a",
    "app",
    "localhost",
    "/255.255.0.0",
    "/255.0.0.255",
    "1.1.1.1",
    "127.0.0.1",
    "::1",
    "%.%.%.%",
    " ",
    "-",
    "A",
    "é",
    "0.0",
    "10.1.2.3",
    "0.0.0.0/128.0.0.0",
    "128.0.0.0/128.0.0.0",
    "%:%",
    "'",
    "`",
    "\0",
    "\n",
    "c",
];

/// The end of a text.
const END: u8 = 0xfe;

/// The first byte says how to read the rest.
pub(crate) fn check(input: &[u8]) {
    let Some((kind, rest)) = input.split_first() else {
        return;
    };
    let mut texts = rest.split(|byte| *byte == END).map(text);
    if kind & 1 == 0 {
        let (pattern, text) = (
            texts.next().unwrap_or_default(),
            texts.next().unwrap_or_default(),
        );
        check_pattern(&pattern, &text);
    } else {
        check_rows(*kind, &mut texts);
    }
}

fn text(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in bytes {
        match PARTS.get(usize::from(*byte)) {
            Some(part) => out.extend_from_slice(part.as_bytes()),
            None => out.push(*byte),
        }
    }
    out
}

fn check_pattern(pattern: &[u8], text: &[u8]) {
    let host = HostPattern::new(pattern);
    let address = Address::parse(text);
    assert_eq!(
        host.admits(Some(text), None).is_some(),
        is_like(host.effective(), text, true)
    );
    if let Some(address) = &address {
        assert_eq!(
            host.admits(None, Some(address)).is_some(),
            admits(&host, None, Some(address))
        );
        assert_eq!(Address::parse(address.text()).as_ref(), Some(address));
    }
    check_sql(text, pattern);
    check_sql(pattern, text);
    let server = server(0);
    let name = server.login_name(text);
    assert!(name.0.len() <= text.len() && name.0.len() <= 4 * server.name_length());
}

/// `%`, `_` and `\` by trying everything.
fn is_like(pattern: &[u8], text: &[u8], fold: bool) -> bool {
    // By how much of the pattern, from the right: the places of the text that the rest fits from.
    let mut fits: Vec<bool> = (0..=text.len()).map(|at| at == text.len()).collect();
    let mut elements = Vec::new();
    let mut rest = pattern;
    while let Some((first, behind)) = rest.split_first() {
        let (element, behind) = match (first, behind) {
            (b'\\', [next, behind @ ..]) => ((b'l', *next), behind),
            (b'%' | b'_', _) => ((*first, 0), behind),
            _ => ((b'l', *first), behind),
        };
        elements.push(element);
        rest = behind;
    }
    for (kind, byte) in elements.into_iter().rev() {
        fits = (0..=text.len())
            .map(|at| match kind {
                b'%' => fits[at..].contains(&true),
                b'_' => at < text.len() && fits[at + 1],
                _ => {
                    let same =
                        |other: &u8| byte == *other || fold && byte.eq_ignore_ascii_case(other);
                    text.get(at).is_some_and(same) && fits[at + 1]
                }
            })
            .collect();
    }
    fits[0]
}

fn admits(host: &HostPattern, name: Option<&[u8]>, address: Option<&Address>) -> bool {
    if let (Some((net, mask)), Some(IpAddr::V4(ip))) = (host.netmask(), address.map(Address::ip)) {
        return u32::from(ip) & mask == net;
    }
    let pattern = host.effective();
    name.is_some_and(|name| is_like(pattern, name, true))
        || address.is_some_and(|address| is_like(pattern, address.text(), false))
}

/// The key after its formula.
fn key(host: &HostPattern, server: &Server) -> [usize; 4] {
    let (mut n, mut m, mut k, mut p) = (0, 0, 0, None);
    let mut bytes = host.effective().iter().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' | b'_' => {
                p = p.or(Some(n));
                if *byte == b'_' {
                    m += 1;
                } else if bytes.peek() != Some(&&b'%') {
                    k += 1;
                }
            }
            b'\\' => {
                bytes.next();
                n += 1;
            }
            _ => n += 1,
        }
    }
    let (cap, max) = match server.version < Version(10, 6, 1) {
        true => (usize::MAX, 60),
        false => (31, 255),
    };
    let (m, k, p): (usize, usize, usize) = (m.min(cap), k.min(cap), p.unwrap_or(0));
    let l = if k > 0 {
        usize::saturating_sub(max, n + m)
    } else {
        0
    };
    if l > m {
        [2 * l + 1, k, m, p]
    } else {
        [2 * m, l, k, p]
    }
}

fn server(kind: u8) -> Server {
    Server {
        version: match kind & 2 {
            0 => Version(11, 8, 6),
            _ => Version(10, 5, 29),
        },
        skip_name_resolve: kind & 4 != 0,
    }
}

/// The texts: user, host of the client, two addresses, then user and host of each row.
fn check_rows(kind: u8, texts: &mut dyn Iterator<Item = Vec<u8>>) {
    let server = server(kind);
    let mut next = || texts.next().unwrap_or_default();
    let (user, host) = (Name(next()), Name(next()));
    let ips = [next(), next()].map(|text| Address::parse(&text));
    let mut keys = Vec::new();
    for _ in 0..24 {
        let (user, host) = (next(), next());
        if !user.is_empty() || !host.is_empty() {
            keys.push((user, host));
        }
    }
    let row = |(user, host): &(Vec<u8>, Vec<u8>)| Account::new(&**user, &**host);
    let accounts = Accounts::new(keys.iter().map(row).collect(), server);
    check_order(&accounts);

    // Where some of the rows may lead to, and where most others do not.
    let mut addresses: Vec<Address> = ips.into_iter().flatten().collect();
    addresses.extend(keys.iter().filter_map(|(_, host)| Address::parse(host)));
    for ip in [
        "10.1.2.3",
        "1.1.1.1",
        "200.5.255.0",
        "fd00::1",
        "::",
        "::1.2.3.4",
        "127.0.0.7",
    ] {
        addresses.extend(Address::parse(ip.as_bytes()));
    }

    let mut clients = vec![Client::Socket];
    for address in &addresses {
        let (address, name) = (address.clone(), None);
        clients.push(Client::Tcp { address, name });
    }
    for client in &clients {
        check_pick(&accounts, &user, client);
    }
    for client in &clients[1..] {
        let line = Name::from(client.address().unwrap().text());
        let found = accounts.attribute(&user, &line, &mut NoResolver);
        assert_eq!(found, accounts.pick(&user.0, client));
    }
    if host.0.is_empty() || Address::parse(&host.0).is_some() {
        return;
    }
    check_name(&accounts, &user, &host, &addresses);
}

/// Rows stand in the order of their keys, named ones first, then by text.
fn check_order(accounts: &Accounts) {
    let server = accounts.server();
    for a in accounts.rows() {
        for b in accounts.rows() {
            let (one, other) = (&a.host, &b.host);
            assert_eq!(
                Specificity::of(one, server).cmp(&Specificity::of(other, server)),
                key(one, server).cmp(&key(other, server)),
                "{one}, {other}"
            );
        }
    }
}

fn until_nul(name: &[u8]) -> &[u8] {
    name.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// By looking at all rows, one after the other.
fn check_pick(accounts: &Accounts, user: &Name, client: &Client) {
    let server = accounts.server();
    let place = |row: &Account| {
        let anonymous = until_nul(&row.user.0).is_empty();
        let text = Reverse(row.host.effective().to_vec());
        (key(&row.host, server), anonymous, text)
    };
    let resolves = !server.skip_name_resolve || matches!(client, Client::Tcp { name: Some(_), .. });
    let all: Vec<(RowId, &Account)> = (0..)
        .map(RowId)
        .zip(accounts.rows())
        .filter(|(_, row)| {
            let name = until_nul(&row.user.0);
            (name.is_empty() || name == user.0)
                && admits(&row.host, client.name(), client.address())
        })
        .collect();
    let sure = |row: &Account| resolves || !row.host.is_name();
    let first = all
        .iter()
        .filter(|(_, row)| sure(row))
        .map(|(_, row)| place(row))
        .min();
    let mut expected: Vec<RowId> = all
        .iter()
        .filter(|(_, row)| match (&first, sure(row)) {
            (Some(first), true) => place(row) == *first,
            (Some(first), false) => place(row) < *first,
            (None, _) => true,
        })
        .map(|(id, _)| *id)
        .collect();
    expected.sort();
    let picked = accounts.pick(&user.0, client);
    let mut rows = picked.rows().to_vec();
    rows.sort();
    assert_eq!(rows, expected, "{user} from {client:?}");
    assert_eq!(
        picked.may_be_no_account(),
        first.is_none(),
        "{user} from {client:?}"
    );
    match &picked {
        Attribution::Exact(_) => {}
        Attribution::NoAccount => assert_eq!(rows, []),
        Attribution::Candidates { rows, no_account } => {
            assert!(rows.len() + usize::from(*no_account) > 1, "{picked:?}");
        }
    }
    let sent = accounts.server().login_name(&user.0);
    let explanation = accounts.explain(&user.0, &Evidence::Client(client.clone()));
    assert_eq!(explanation.user, sent);
    if sent == *user {
        assert_eq!(explanation.picked().collect::<Vec<_>>(), picked.rows());
        assert_eq!(explanation.may_be_refused, picked.may_be_no_account());
    }
}

struct Known<'a>(&'a [Address]);

impl Resolver for Known<'_> {
    fn addresses(&mut self, _: &Name) -> Option<Vec<IpAddr>> {
        Some(self.0.iter().map(Address::ip).collect())
    }

    fn name(&mut self, _: IpAddr) -> Option<Name> {
        None
    }
}

/// The log shows a name.
fn check_name(accounts: &Accounts, user: &Name, host: &Name, addresses: &[Address]) {
    let local = host.0 == b"localhost";
    let mut clients = Vec::new();
    if local {
        clients.push(Client::Socket);
    }
    if !(local && accounts.server().skip_name_resolve) {
        let loopback = ["127.0.0.1", "::1"].map(|ip| Address::parse(ip.as_bytes()).unwrap());
        let all = loopback.iter().chain(addresses);
        clients.extend(
            all.filter(|ip| local || !ip.is_localhost())
                .map(|ip| Client::Tcp {
                    address: ip.clone(),
                    name: Some(host.clone()),
                }),
        );
    }
    let mut given = Vec::new();
    let mut refused = false;
    for client in &clients {
        let picked = accounts.pick(&user.0, client);
        given.extend_from_slice(picked.rows());
        refused |= picked.may_be_no_account();
    }
    given.sort();
    given.dedup();
    let found = accounts.attribute(user, host, &mut Known(addresses));
    let mut rows = found.rows().to_vec();
    rows.sort();
    let any = accounts.attribute(user, host, &mut NoResolver);
    for row in &given {
        assert!(
            any.rows().contains(row),
            "{user} from {host}: {any:?}, given {given:?}"
        );
    }
    assert!(
        any.may_be_no_account() || !refused,
        "{user} from {host}: {any:?}"
    );
    assert_eq!(
        (rows, found.may_be_no_account()),
        (given.clone(), refused),
        "{user} from {host}"
    );
    if local && accounts.server().skip_name_resolve {
        return;
    }

    // Each row has an address that leads to it.
    let explanation = accounts.explain(&user.0, &Evidence::AnyAddress(host.clone()));
    if explanation.user != *user {
        return;
    }
    let mut explained = Vec::new();
    for considered in &explanation.rows {
        let (Why::Possible(ip) | Why::Last(ip)) = considered.why else {
            continue;
        };
        explained.push(considered.row);
        let Some(ip) = ip else { continue };
        let client = Client::Tcp {
            address: Address::new(ip),
            name: Some(host.clone()),
        };
        let picked = accounts.pick(&user.0, &client);
        assert!(!Address::new(ip).is_localhost());
        assert!(
            picked.rows().contains(&considered.row),
            "{user} from {host} {ip}: {considered:?}"
        );
    }
    if !local {
        assert_eq!(explained, any.rows(), "{user} from {host}");
        assert_eq!(explanation.may_be_refused, any.may_be_no_account());
    }
}

/// A statement is read as a server reads it, whatever its mode.
fn check_sql(user: &[u8], host: &[u8]) {
    let statement = Statement::new("DROP USER", &Account::new(user, host), "");
    let Statement::Sql(sql) = &statement else {
        let hex = |bytes: &[u8]| conntracker::name::to_hex(bytes);
        let (user, host) = (hex(user), hex(host));
        assert!(
            statement
                .sql()
                .contains(&format!("User = x'{user}' AND Host = x'{host}'"))
        );
        return;
    };
    let shown = sql.chars().any(conntracker::name::is_unsafe_to_show);
    assert!(!shown, "{sql:?}");
    let hidden = sql
        .strip_prefix("EXECUTE IMMEDIATE CONVERT(x'")
        .and_then(|sql| sql.strip_suffix("' USING utf8mb4);"));
    let sql = match hidden {
        Some(hex) => conntracker::name::from_hex(hex).unwrap(),
        None => sql.strip_suffix(';').unwrap().as_bytes().to_vec(),
    };
    let rest = sql.strip_prefix(b"DROP USER ").unwrap();
    let (read_user, rest) = unquote(rest);
    let (read_host, rest) = unquote(rest.strip_prefix(b"@").unwrap());
    assert_eq!((&*read_user, &*read_host, rest), (user, host, &b""[..]));
    assert!(!host.is_empty());
}

fn unquote(sql: &[u8]) -> (Vec<u8>, &[u8]) {
    let quote = sql[0];
    let mut name = Vec::new();
    let mut at = 1;
    loop {
        match (sql[at], sql.get(at + 1)) {
            (byte, Some(next)) if byte == quote && *next == quote => at += 1,
            (byte, _) if byte == quote => return (name, &sql[at + 1..]),
            (b'\\', _) => assert_eq!(quote, b'`', "{sql:?}"),
            _ => {}
        }
        name.push(sql[at]);
        at += 1;
    }
}
