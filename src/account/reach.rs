//! Which rows some address can lead to, when a login's host name is known and its address is not.
//!
//! Rows that match addresses stand in each other's way: behind `10.0.0.0/255.0.0.0`, which is asked
//! first, nothing is left for `10.1.%`. A row is a candidate only if there is an address that it
//! admits and no row before it does, so that address is looked for: digit by digit through all texts
//! that an address may have ([`Language`]), all patterns in step. What led to nothing once is not tried
//! again, which keeps the search small; where it does not, it is given up after [`SEARCH`] steps and
//! the row stays a candidate, for lack of proof.

mod ipv4;
mod ipv6;
mod matcher;

use std::hash::Hash;
use std::net::IpAddr;

use hashbrown::HashSet;

use super::address::Address;
use super::index::RowId;
use super::pattern::HostPattern;
use matcher::Matcher;

/// How much work (steps of one pattern by one symbol) one search may take, and all for one user: some
/// tenths of a second, some ten megabytes. The most that was seen, with fifty wild patterns of one user,
/// is a quarter of it.
const SEARCH: usize = 3_000_000;
const BUDGET: usize = 50_000_000;

/// All texts that an address of one family may have, one symbol at a time.
trait Language: Copy + Eq + Hash {
    /// What the texts consist of, in the order in which to try them: with 1 before 9 before f, as what
    /// may follow the greater digit may follow the smaller one, too.
    const SYMBOLS: &'static [u8];

    /// Before the first symbol.
    fn start() -> Self;

    /// Behind one more symbol; none if no address goes on like this.
    fn next(self, symbol: u8) -> Option<Self>;

    /// An address may end here.
    fn is_whole(self) -> bool;

    /// Number and value of the IPv4 part that ends here, if one may.
    fn part(self) -> Option<(u8, u8)>;
}

/// What a search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// This address.
    Address(IpAddr),
    /// There is none.
    Nothing,
    /// It was given up.
    Unknown,
}

impl Found {
    fn may_be(self) -> bool {
        self != Self::Nothing
    }

    fn address(self) -> Option<IpAddr> {
        match self {
            Self::Address(ip) => Some(ip),
            _ => None,
        }
    }
}

/// The addresses of one family, and where they lead to in the walk of one user.
#[derive(Debug)]
pub(super) struct Family {
    v4: bool,
    /// By row of the walk: an address that this row admits and none before it.
    rows: Vec<Found>,
    /// The places of those that there is one for.
    reached: Vec<usize>,
    /// By number of rows: an address that none of the first so many admit.
    open: Vec<Found>,
}

/// See [`Family`]; for both families.
#[derive(Debug)]
pub(super) struct Reach {
    /// The walk with the ranks of its rows, which go up.
    walk: Vec<(RowId, u32)>,
    families: [Family; 2],
}

impl Reach {
    /// `walk`: the rows in the order in which they are asked, with rank and pattern. 127.0.0.1 and ::1
    /// are left out: they have the name `localhost`, and are known.
    pub(super) fn new(walk: &[(RowId, u32, &HostPattern)]) -> Self {
        Self {
            walk: walk.iter().map(|(id, rank, _)| (*id, *rank)).collect(),
            families: [
                Family::new::<ipv4::Text>(walk, true, "127.0.0.1"),
                Family::new::<ipv6::Text>(walk, false, "::1"),
            ],
        }
    }

    pub(super) fn families(&self) -> &[Family; 2] {
        &self.families
    }

    /// The number of rows.
    pub(super) fn len(&self) -> usize {
        self.walk.len()
    }

    /// The row at this place.
    pub(super) fn row(&self, at: usize) -> RowId {
        self.walk[at].0
    }

    /// The first place of this rank.
    pub(super) fn place(&self, rank: u32) -> usize {
        self.walk.partition_point(|(_, other)| *other < rank)
    }
}

impl Family {
    fn new<L: Language>(walk: &[(RowId, u32, &HostPattern)], v4: bool, without: &str) -> Self {
        let without = Matcher::new(&HostPattern::new(without), v4);
        // Of those that match an address at all, with the place in the walk.
        let mut before: Vec<Matcher> = without.into_iter().collect();
        let mut rows = Vec::with_capacity(walk.len());
        let mut open = Vec::with_capacity(walk.len() + 1);
        let mut hosts = Vec::new();
        let mut budget = BUDGET;
        let mut free = search::<L>(None, &before, &mut budget);
        let mut rank_before = None;
        for (_, rank, host) in walk {
            open.push(free);
            // Rows that tie have the same pattern, and fare alike.
            if rank_before.replace(*rank) == Some(*rank) {
                rows.push(rows.last().copied().unwrap_or(Found::Nothing));
                continue;
            }
            let Some(matcher) = Matcher::new(host, v4) else {
                rows.push(Found::Nothing);
                continue;
            };
            if !free.may_be() {
                rows.push(Found::Nothing);
                continue;
            }
            rows.push(match host.literal() {
                Some(text) => only(&text, v4, &hosts),
                None => search::<L>(Some(&matcher), &before, &mut budget),
            });
            before.push(matcher);
            hosts.push(*host);
            let is_taken = match free {
                Found::Address(ip) => host.admits(None, Some(&Address::new(ip))).is_some(),
                _ => true,
            };
            if is_taken {
                free = search::<L>(None, &before, &mut budget);
            }
        }
        open.push(free);
        let reached = (0..rows.len()).filter(|at| rows[*at].may_be()).collect();
        Self {
            v4,
            rows,
            reached,
            open,
        }
    }

    /// A client with this name ends the walk at `host`, whatever its address of this family is.
    pub(super) fn ends(&self, host: &HostPattern, name: &[u8]) -> bool {
        // A netmask is all that counts for IPv4.
        !(self.v4 && host.netmask().is_some()) && host.is_like_name(name)
    }

    /// The places before `end` that some address leads to. (If one leads to `end`, too, then it is
    /// [open](Self::is_open) as well.)
    pub(super) fn reached(&self, end: usize) -> impl Iterator<Item = usize> {
        let count = self.reached.partition_point(|at| *at < end);
        self.reached[..count].iter().copied()
    }

    /// Some address leads to row `at` of the walk.
    pub(super) fn reaches(&self, at: usize) -> bool {
        self.rows[at].may_be()
    }

    /// Some address gets past the first `count` rows.
    pub(super) fn is_open(&self, count: usize) -> bool {
        self.open[count].may_be()
    }

    /// An address that leads to row `at`, if one was found.
    pub(super) fn example(&self, at: usize) -> Option<IpAddr> {
        self.rows[at].address()
    }

    /// An address that gets past the first `count` rows, if one was found.
    pub(super) fn example_past(&self, count: usize) -> Option<IpAddr> {
        self.open[count].address()
    }
}

/// The pattern may be like the text of an address: it has nothing in it that no address has.
pub(super) fn may_be_like_address(host: &HostPattern) -> bool {
    [true, false].map(|v4| Matcher::new(host, v4).is_some()) != [false; 2]
}

/// The one address that a pattern without wildcards admits, if none of `before` does.
fn only(text: &[u8], v4: bool, before: &[&HostPattern]) -> Found {
    let address = Address::parse(text)
        .filter(|address| address.text() == text)
        .filter(|address| address.ip().is_ipv4() == v4 && !address.is_localhost());
    match address {
        Some(address)
            if !before
                .iter()
                .any(|host| host.admits(None, Some(&address)).is_some()) =>
        {
            Found::Address(address.ip())
        }
        _ => Found::Nothing,
    }
}

/// An address that `target` admits (none: any address) and none of `before` does.
fn search<L: Language>(target: Option<&Matcher>, before: &[Matcher], budget: &mut usize) -> Found {
    let mut search = Search {
        target,
        before,
        symbols: symbols::<L>(target, before),
        seen: HashSet::new(),
        text: Vec::new(),
        work: 0,
        most: SEARCH.min(*budget),
    };
    let state = State {
        at: L::start(),
        target: target.map_or(1, Matcher::start),
        before: (0..).zip(before.iter().map(Matcher::start)).collect(),
    };
    let found = search.go(state);
    *budget -= search.work;
    match found {
        Some(true) => {
            let ip = std::str::from_utf8(&search.text)
                .ok()
                .and_then(|text| text.parse().ok());
            ip.map_or(Found::Unknown, Found::Address)
        }
        Some(false) => Found::Nothing,
        None => Found::Unknown,
    }
}

/// The symbols to try: of digits that no pattern tells apart the first will do.
fn symbols<L: Language>(target: Option<&Matcher>, before: &[Matcher]) -> Vec<u8> {
    let matchers = || target.into_iter().chain(before);
    let mut symbols: Vec<u8> = Vec::new();
    for new in L::SYMBOLS {
        let alike = |old: &u8| matchers().all(|matcher| matcher.is_same(*old, *new));
        let is_digit = |symbol: u8| symbol.is_ascii_hexdigit() && symbol != b'0';
        if !is_digit(*new) || !symbols.iter().any(|old| is_digit(*old) && alike(old)) {
            symbols.push(*new);
        }
    }
    symbols
}

/// How far a text got.
#[derive(Clone, PartialEq, Eq, Hash)]
struct State<L> {
    at: L,
    target: u128,
    /// Those that may still match.
    before: Vec<(u32, u128)>,
}

struct Search<'a, L> {
    target: Option<&'a Matcher>,
    before: &'a [Matcher],
    symbols: Vec<u8>,
    /// What led to nothing.
    seen: HashSet<State<L>>,
    text: Vec<u8>,
    work: usize,
    most: usize,
}

impl<L: Language> Search<'_, L> {
    /// Completes `text`; false if that can't be, none if it was given up.
    fn go(&mut self, state: State<L>) -> Option<bool> {
        if state.at.is_whole() && self.is_found(&state) {
            return Some(true);
        }
        for at in 0..self.symbols.len() {
            let symbol = self.symbols[at];
            let work = self.work + 1 + state.before.len();
            if work > self.most {
                return None;
            }
            self.work = work;
            let Some(next) = self.step(&state, symbol) else {
                continue;
            };
            if self.seen.contains(&next) {
                continue;
            }
            self.text.push(symbol);
            if self.go(next)? {
                return Some(true);
            }
            self.text.pop();
        }
        self.seen.insert(state);
        Some(false)
    }

    /// The text as it is is admitted by the target and by none before it.
    fn is_found(&self, state: &State<L>) -> bool {
        let part = state.at.part();
        let matches = |matcher: &Matcher, at| matcher.is_match(matcher.at_end(at, part));
        self.target
            .is_none_or(|target| matches(target, state.target))
            && !state
                .before
                .iter()
                .any(|(which, at)| matches(&self.before[*which as usize], *at))
    }

    /// One symbol more; none if nothing can come of it.
    fn step(&self, state: &State<L>, symbol: u8) -> Option<State<L>> {
        let at = state.at.next(symbol)?;
        let part = if symbol == b'.' {
            state.at.part()
        } else {
            None
        };
        let target = match self.target {
            Some(target) => target.step(state.target, symbol, part),
            None => state.target,
        };
        if target == 0 {
            return None;
        }
        let mut before = Vec::with_capacity(state.before.len());
        for (which, old) in &state.before {
            let matcher = &self.before[*which as usize];
            let new = matcher.step(*old, symbol, part);
            if matcher.takes_all(new) {
                return None;
            }
            if new != 0 {
                before.push((*which, new));
            }
        }
        Some(State { at, target, before })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_given_up_when_its_budget_is_spent() {
        let matcher = |text: &str| Matcher::new(&HostPattern::new(text), true).unwrap();
        let target = matcher("10.%9");
        let before = [matcher("10.1%")];
        let mut budget = 1_000;
        let found = search::<ipv4::Text>(Some(&target), &before, &mut budget);
        let spent = 1_000 - budget;
        assert!(found.address().is_some() && spent > 1, "{found:?}, {spent}");
        for less in [0, 1, 2, spent - 1] {
            let mut budget = less;
            let found = search::<ipv4::Text>(Some(&target), &before, &mut budget);
            assert_eq!(found, Found::Unknown, "{less} of {spent}");
            assert!(found.may_be());
        }
        let mut budget = spent;
        let again = search::<ipv4::Text>(Some(&target), &before, &mut budget);
        assert_eq!((again, budget), (found, 0));
    }
    fn find(target: &str, before: &[&str]) -> Found {
        let matcher = |text: &str| Matcher::new(&HostPattern::new(text), true).unwrap();
        let before: Vec<_> = before.iter().map(|text| matcher(text)).collect();
        let mut budget = 100_000;
        let found = search::<ipv4::Text>(Some(&matcher(target)), &before, &mut budget);
        assert!(budget < 100_000, "work is counted");
        found
    }

    #[test]
    fn what_is_found_is_admitted_by_the_target_and_by_none_before() {
        let is = |text: &str| Found::Address(text.parse().unwrap());
        assert_eq!(find("1.1.1.1_", &[]), is("1.1.1.11"));
        assert_eq!(find("1.1.1.%", &["1.1.1.1"]), is("1.1.1.11"));
        assert_eq!(find("1.1.1._", &["1.1.1.1", "1.1.1.2%"]), is("1.1.1.3"));
        assert_eq!(find("1.1.1.2_", &["1.1.1.2%"]), Found::Nothing);
        assert_eq!(find("1.1.1._", &["%1.1.1.1"]), is("1.1.1.2"));
        assert_eq!(
            find("10.0.0._", &["10.0.0.1/255.255.255.255"]),
            is("10.0.0.2")
        );
        assert_eq!(find("10.0.0.5/255.255.255.255", &[]), is("10.0.0.5"));
    }

    #[test]
    fn a_pattern_without_wildcards_admits_one_address_of_one_family() {
        let ten = HostPattern::new("10.%");
        let found = Found::Address("10.0.0.5".parse().unwrap());
        assert_eq!(only(b"10.0.0.5", true, &[]), found);
        assert_eq!(only(b"10.0.0.5", false, &[]), Found::Nothing);
        assert_eq!(only(b"10.0.0.5", true, &[&ten]), Found::Nothing);
        assert_eq!(only(b"127.0.0.1", true, &[]), Found::Nothing);
        assert_eq!(only(b"0:0::2", false, &[]), Found::Nothing);
    }

    #[test]
    fn of_digits_that_no_pattern_tells_apart_one_is_tried() {
        let matcher = |text: &str| Matcher::new(&HostPattern::new(text), true).unwrap();
        let ten = matcher("10.%");
        assert_eq!(symbols::<ipv4::Text>(Some(&ten), &[]), b".120");
        assert_eq!(symbols::<ipv4::Text>(None, &[ten, matcher("5%")]), b".1250");
        assert_eq!(symbols::<ipv4::Text>(None, &[]), b".10");
        let net = matcher("10.0.0.0/255.0.0.0");
        assert_eq!(symbols::<ipv4::Text>(Some(&net), &[]).len(), 11);
    }
}
