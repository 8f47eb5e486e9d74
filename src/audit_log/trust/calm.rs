//! How a calm stretch of the log (see [`crate::audit_log::calm`]) is left out, and judging goes on
//! behind it.

use super::{Parsed, Place, Trust, record};

impl Trust {
    /// Whether nothing that is held here has a mark of any rule, and nothing is waited for.
    fn is_calm(&self) -> bool {
        let unmarked = |held: &super::Held| {
            matches!(held.parsed, Parsed::Record(_))
                && held.doubt.is_none()
                && held.near.is_none()
                && held.asked.is_none()
                && !held.explained
        };
        self.refused.is_empty()
            && self.foreign.is_none()
            && self.repeated.is_none()
            && self.queue.iter().all(unmarked)
    }

    /// Where a calm stretch may begin: at the first line that was not passed on. None while a rule has
    /// something to say about a line that is held.
    pub fn calm_from(&self) -> Option<Place> {
        let next = self.queue.get((self.next - self.first) as usize)?;
        self.is_calm().then_some(next.place)
    }

    /// Forgets all lines: a calm stretch begins at [`Trust::calm_from`].
    pub fn leave(&mut self) {
        self.first = self.end();
        self.next = self.first;
        self.queue.clear();
        self.arena_from += self.arena.len() as u64;
        self.arena.clear();
        self.fragment = None;
    }

    /// Goes on behind a calm stretch that ended with these complete lines; `place` is that of the first.
    pub fn enter(&mut self, lines: &[u8], mut place: Place) {
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            self.hold(text, place, None, true, false);
            place.offset += line.len() as u64;
        }
    }

    /// The connections that records which were set aside are of: another record of one of them may
    /// prove it genuine.
    pub fn waiting_connections(&self) -> Vec<u64> {
        let connection = |aside: &super::Aside| {
            let parsed = record::parse(&aside.text.0);
            parsed.record().map(|record| record.connectionid)
        };
        self.aside.iter().filter_map(connection).collect()
    }
}
