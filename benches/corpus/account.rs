//! Who comes in: names and hosts as they stand in a log, and how often each.

use std::collections::HashSet;

use super::random::Random;

const DATABASES: [&str; 8] = [
    "shop",
    "crm",
    "billing",
    "warehouse",
    "wiki",
    "metrics",
    "hr_archive",
    "sessions",
];

pub(crate) struct Account {
    pub(crate) user: String,
    pub(crate) host: String,
    /// Empty: the client names none when it comes in.
    pub(crate) database: &'static str,
}

/// All accounts, and a wheel that turns up the first of them more often than the last.
pub(crate) struct Accounts {
    accounts: Vec<Account>,
    /// Up to where on the wheel each account reaches, from 0 to 1; empty: they take turns.
    reach: Vec<f64>,
    next: usize,
}

impl Accounts {
    /// The account of rank n comes in n^`skew` times less often than the first (Zipf's law). Without
    /// a skew they take turns, so that a small log has all of them.
    pub(crate) fn new(count: usize, skew: f64, random: &mut Random) -> Self {
        let users = names(count.div_ceil(4), random);
        let machines = (count / 3).max(8);
        let mut known = HashSet::new();
        let mut accounts = Vec::with_capacity(count);
        while accounts.len() < count {
            let user = &users[accounts.len() % users.len()];
            let host = host(machines, random);
            if !known.insert((user, host.clone())) {
                continue;
            }
            let database = if random.chance(0.3) {
                ""
            } else {
                random.of(&DATABASES)
            };
            accounts.push(Account {
                user: user.clone(),
                host,
                database,
            });
        }
        let mut sum = 0.0;
        let mut reach = Vec::new();
        if skew > 0.0 {
            reach.extend((1..=count).map(|rank| {
                sum += (rank as f64).powf(-skew);
                sum
            }));
        }
        for end in &mut reach {
            *end /= sum;
        }
        Self {
            accounts,
            reach,
            next: 0,
        }
    }

    pub(crate) fn pick(&mut self, random: &mut Random) -> usize {
        if self.reach.is_empty() {
            self.next = (self.next + 1) % self.accounts.len();
            return self.next;
        }
        let at = random.unit();
        self.reach
            .partition_point(|&end| end <= at)
            .min(self.accounts.len() - 1)
    }

    pub(crate) fn get(&self, index: usize) -> &Account {
        &self.accounts[index]
    }
}

/// Names of 4 to 20 letters that can be spoken.
fn names(count: usize, random: &mut Random) -> Vec<String> {
    let mut known = HashSet::new();
    let mut names = Vec::with_capacity(count);
    while names.len() < count {
        let len = 4 + random.below(17);
        let name: String = (0..len)
            .map(|at| match at % 2 {
                0 => char::from(random.of(b"bcdfghjklmnprstvwz")),
                _ => char::from(random.of(b"aeiou")),
            })
            .collect();
        if known.insert(name.clone()) {
            names.push(name);
        }
    }
    names
}

/// One of `machines`, or this machine itself.
fn host(machines: usize, random: &mut Random) -> String {
    let kind = random.below(100);
    let machine = random.below(machines);
    match kind {
        0..4 => "localhost".to_owned(),
        4..10 => format!("app{machine}.example.com"),
        10..14 => format!("2001:db8:5::{:x}", machine + 1),
        _ => format!(
            "10.{}.{}.{}",
            machine / 62_500,
            machine / 250 % 250,
            machine % 250 + 1
        ),
    }
}
