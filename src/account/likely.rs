//! Which of many rows of one user may admit a client, without asking each.
//!
//! A user with thousands of rows would make each of many logins slow. Rows are found by what a client's
//! name or address must have in common with them: all of it, the network, the beginning, or the end.
//! Case does not count here, so a few too many are found: they are asked as ever.

use hashbrown::HashMap;

use super::index::RowId;
use super::pattern::{Element, HostPattern};

/// Rows by what they have in common with a text.
type ByText = HashMap<Box<[u8]>, Vec<RowId>>;

/// The rows of one user.
#[derive(Debug, Default)]
pub(super) struct Likely {
    masks: Vec<u32>,
    networks: HashMap<(u32, u32), Vec<RowId>>,
    /// Without wildcards.
    wholes: ByText,
    beginnings: Parts,
    /// Of those that begin with a wildcard.
    ends: Parts,
    /// Those that begin and end with a wildcard.
    others: Vec<RowId>,
}

/// Rows by a part of known place.
#[derive(Debug, Default)]
struct Parts {
    lengths: Vec<usize>,
    rows: ByText,
}

impl Parts {
    fn add(&mut self, part: Vec<u8>, row: RowId) {
        if !self.lengths.contains(&part.len()) {
            self.lengths.push(part.len());
        }
        self.rows.entry(part.into()).or_default().push(row);
    }
}

impl Likely {
    pub(super) fn new<'a>(rows: impl Iterator<Item = (RowId, &'a HostPattern)>) -> Self {
        let mut all = Self::default();
        for (row, host) in rows {
            if let Some((net, mask)) = host.netmask() {
                if !all.masks.contains(&mask) {
                    all.masks.push(mask);
                }
                all.networks.entry((net, mask)).or_default().push(row);
            }
            let elements = host.elements();
            let beginning = literals(elements.iter());
            if beginning.len() == elements.len() {
                all.wholes.entry(beginning.into()).or_default().push(row);
            } else if !beginning.is_empty() {
                all.beginnings.add(beginning, row);
            } else {
                let mut end = literals(elements.iter().rev());
                end.reverse();
                match &*end {
                    [] => all.others.push(row),
                    _ => all.ends.add(end, row),
                }
            }
        }
        all
    }

    /// Adds the rows that may admit a client with any of these texts, or this IPv4 address: all that
    /// do, and some that don't; perhaps one twice.
    pub(super) fn find<'a>(
        &self,
        texts: impl Iterator<Item = &'a [u8]>,
        v4: Option<u32>,
        found: &mut Vec<RowId>,
    ) {
        let mut add = |rows: Option<&Vec<RowId>>| found.extend(rows.into_iter().flatten());
        if let Some(v4) = v4 {
            for mask in &self.masks {
                add(self.networks.get(&(v4 & mask, *mask)));
            }
        }
        for text in texts {
            let text = text.to_ascii_lowercase();
            add(self.wholes.get(&*text));
            for length in &self.beginnings.lengths {
                add(text
                    .get(..*length)
                    .and_then(|part| self.beginnings.rows.get(part)));
            }
            for length in &self.ends.lengths {
                let end = text.len().checked_sub(*length).map(|from| &text[from..]);
                add(end.and_then(|part| self.ends.rows.get(part)));
            }
        }
        add(Some(&self.others));
    }
}

/// The literals up to the first wildcard, in lower case.
fn literals<'a>(elements: impl Iterator<Item = &'a Element>) -> Vec<u8> {
    elements
        .map_while(|element| match element {
            Element::Literal(byte) => Some(byte.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}
