//! Numbers for the accounts of plain lines: to find one must cost next to nothing, for it is done for
//! each line.

use std::hash::BuildHasher;

use hashbrown::HashMap;

use super::Account;
use crate::audit_log::plain::Plain;
use crate::audit_log::record::{self, Port};

/// Accounts whose user names and hosts have no more than `8 * N` bytes, compared as `N` words.
///
/// A table with open addressing: nearly each account is found at the first place where it is looked
/// for, with one access to memory and no call.
struct Short<const N: usize> {
    /// As many as a power of two, or none yet; at most half of them are taken.
    slots: Vec<Slot<N>>,
    taken: usize,
    /// Nobody can foresee them, and choose names that meet.
    seeds: [u64; N],
}

#[derive(Clone, Copy)]
struct Slot<const N: usize> {
    /// All zeros where it is free: a text holds a comma.
    words: [u64; N],
    number: u32,
}

impl<const N: usize> Short<N> {
    fn new() -> Self {
        let random = foldhash::fast::RandomState::default();
        Self {
            slots: Vec::new(),
            taken: 0,
            seeds: std::array::from_fn(|n| random.hash_one(n)),
        }
    }

    /// The account of the first `len` bytes, at most `8 * N`, of which as many are there.
    #[inline(always)]
    fn get(&self, bytes: &[u8], len: usize) -> Option<u32> {
        let words = words(bytes, len)?;
        let mut place = hash(&words, &self.seeds) as usize;
        loop {
            let slot = self.slots.get(place & self.slots.len().wrapping_sub(1))?;
            // Word by word: to call `memcmp` takes longer.
            if differ(&slot.words, &words) == 0 {
                return Some(slot.number);
            }
            if slot.words == [0; N] {
                return None;
            }
            place = place.wrapping_add(1);
        }
    }

    /// Adds an account that is not there.
    fn insert(&mut self, text: &[u8], number: u32) {
        let mut padded = text.to_vec();
        padded.resize(8 * N, 0);
        let Some(words) = words(&padded, text.len()) else {
            return;
        };
        if 2 * self.taken >= self.slots.len() {
            let free = Slot {
                words: [0; N],
                number: 0,
            };
            let more = vec![free; (2 * self.slots.len()).max(64)];
            for slot in std::mem::replace(&mut self.slots, more) {
                if slot.words != [0; N] {
                    self.put(slot);
                }
            }
        }
        self.taken += 1;
        self.put(Slot { words, number });
    }

    fn put(&mut self, slot: Slot<N>) {
        let last = self.slots.len() - 1;
        let mut place = hash(&slot.words, &self.seeds) as usize & last;
        while self.slots[place].words != [0; N] {
            place = (place + 1) & last;
        }
        self.slots[place] = slot;
    }

    fn clear(&mut self) {
        self.slots.clear();
        self.taken = 0;
    }
}

/// Which bits differ.
#[inline(always)]
fn differ<const N: usize>(one: &[u64; N], other: &[u64; N]) -> u64 {
    (0..N).fold(0, |differ, n| differ | one[n] ^ other[n])
}

/// The first `len` bytes as words, and zeros; none if there are too few.
#[inline(always)]
fn words<const N: usize>(bytes: &[u8], len: usize) -> Option<[u64; N]> {
    let text = bytes.as_chunks::<8>().0.first_chunk::<N>()?;
    let mut words = *BITS.get(len)?.first_chunk::<N>()?;
    for n in 0..N {
        words[n] &= u64::from_le_bytes(text[n]);
    }
    Some(words)
}

#[inline(always)]
fn hash<const N: usize>(words: &[u64; N], seeds: &[u64; N]) -> u64 {
    let mut hash = 0;
    for n in (0..N).step_by(2) {
        let product = u128::from(words[n] ^ seeds[n]) * u128::from(words[n + 1] ^ seeds[n + 1]);
        hash ^= product as u64 ^ (product >> 64) as u64;
    }
    hash
}

/// Which bits of 64 bytes belong to the first so many.
const BITS: [[u64; 8]; 65] = {
    let mut bits = [[0; 8]; 65];
    let mut len = 1;
    while len <= 64 {
        bits[len] = bits[len - 1];
        bits[len][(len - 1) / 8] |= 0xff << (8 * ((len - 1) % 8));
        len += 1;
    }
    bits
};

/// All accounts so far.
pub(super) struct Accounts {
    /// Nearly all have up to 32 bytes, the rest up to 64.
    short: Short<4>,
    longer: Short<8>,
    /// Those of more bytes, and those whose hosts carry ports.
    others: HashMap<Box<[u8]>, u32, foldhash::fast::RandomState>,
    count: u32,
    /// Those that were not taken by [`Accounts::take_new`].
    new: Vec<Account>,
    scratch: Vec<u8>,
}

impl Default for Accounts {
    fn default() -> Self {
        Self {
            short: Short::new(),
            longer: Short::new(),
            others: HashMap::default(),
            count: 0,
            new: Vec::new(),
            scratch: Vec::new(),
        }
    }
}

impl Accounts {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count as usize
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.short.clear();
        self.longer.clear();
        self.others.clear();
        self.count = 0;
    }

    /// Moves those that are new to `accounts`.
    pub(super) fn take_new(&mut self, accounts: &mut Vec<Account>) {
        accounts.append(&mut self.new);
    }

    /// The number of the account of a line, whose user name these bytes begin with.
    #[inline]
    pub(super) fn number(&mut self, bytes: &[u8], line: &Plain) -> u32 {
        let known = match line.account_len {
            len @ ..=32 => self.short.get(bytes, len),
            len @ ..=64 => self.longer.get(bytes, len),
            _ => None,
        };
        match known {
            Some(number) => number,
            None => self.rare(&bytes[..line.account_len], line.username_len),
        }
    }

    /// The number of an account that is new, or long, or whose host carries a port.
    #[cold]
    fn rare(&mut self, text: &[u8], username_len: usize) -> u32 {
        self.scratch.clear();
        self.scratch.extend_from_slice(text);
        let (host_len, port) = record::cut_port(&text[username_len + 1..]);
        if port == Port::Cut {
            self.scratch[username_len] = b'\n';
            self.scratch.truncate(username_len + 1 + host_len);
        }
        if let Some(number) = self.others.get(&self.scratch[..]) {
            return *number;
        }
        let number = self.count;
        self.count += 1;
        let text: Box<[u8]> = self.scratch[..].into();
        self.new.push(Account {
            text: text.clone(),
            username_len,
        });
        match text.len() {
            ..=32 if port == Port::None => self.short.insert(&text, number),
            ..=64 if port == Port::None => self.longer.insert(&text, number),
            _ => {
                self.others.insert(text, number);
            }
        }
        number
    }
}
