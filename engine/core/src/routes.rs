//! Which account is the next hop: longest-prefix match on segment boundaries.
//!
//! A table of hashed prefixes. One pass over the address hashes it segment by segment, and notes
//! the hash at each dot where some prefix of that depth exists; the deepest that is in the table
//! wins. `test.alice` leads to `test.alice` and `test.alice.bob`, never to `test.alicebob` (RFC 15;
//! protocol rule B44).
//!
//! ```text
//!   test . m2m . alice . wallet
//!       ^     ^       ^        ^     candidates, tried from the right
//! ```
//!
//! The hash is seeded at random and a hit is compared byte by byte: a tag alone could be forged by
//! a peer who chooses addresses.
//!
//! ```text
//!   64 bytes:  hash 8 | next hop 4 | length 2 | prefix 48 (longer ones: where it stands) | 2 free
//! ```
//!
//! An entry is a line of the cache, prefix and all, so that a look is one miss; it begins at the
//! share of the table that its hash is of 2^64, or behind that where the place is taken. So a table has
//! two places a route, and no power of two of them: docs/routes.md has the sums.
//!
//! Invariant: the snapshot never changes; a change of routes is a new snapshot.

use core::fmt;

use m2_accel::{prefer_large_pages, prefetch_at};
use m2_codec::address::Prefix;

use crate::ids::AccountId;

/// Deepest prefix, in segments. Addresses may go deeper.
pub const ROUTE_SEGMENTS_MAX: usize = 16;
/// Longest prefix that is kept in its entry: what a line of the cache has room for. Longer ones are kept
/// apart, and cost a second miss, of which nothing is asked for ahead.
pub const INLINE_LEN: usize = 50;
/// Places of a table for each of its routes. Fewer are slower: at three quarters full a look-up among
/// a million takes a fifth longer (`cargo xtask bench routes`), as a second place is a second miss.
const PLACES_PER_ROUTE: usize = 2;
/// Places that a table has at least, so that one is always free.
const PLACES_MIN: usize = 16;

/// Why a list of routes is not one we can use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RouteError {
    /// The same prefix stands twice.
    Duplicate,
    /// The prefix has more than [`ROUTE_SEGMENTS_MAX`] segments.
    TooDeep,
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate => f.write_str("stands twice: one prefix leads to one account"),
            Self::TooDeep => write!(f, "has more than {ROUTE_SEGMENTS_MAX} segments"),
        }
    }
}

/// A prefix in the table: one line of the cache. `key_len` 0 is a free place: no prefix is empty.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Entry {
    hash: u64,
    next_hop: AccountId,
    key_len: u16,
    /// The prefix, or the position of a longer one in `long_keys`, little endian.
    key: [u8; INLINE_LEN],
}

const _: () = assert!(size_of::<Entry>() == 64);

const FREE: Entry =
    Entry { hash: 0, next_hop: AccountId(u32::MAX), key_len: 0, key: [0; INLINE_LEN] };

/// All routes at one moment. Built whole, replaced whole.
#[derive(Debug)]
pub struct Routes {
    seed: u64,
    /// Open addressing, at most half full.
    table: Vec<Entry>,
    long_keys: Vec<u8>,
    count: usize,
    /// Bit d: some prefix has d segments.
    depths: u64,
    /// One above the highest number of a next hop.
    accounts: u32,
}

/// A leading part of an address that may be a prefix in the table.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    hash: u64,
    /// Where the part ends.
    end: u16,
}

impl Routes {
    /// A table of `routes`; `seed` must be unknown to peers.
    ///
    /// # Errors
    ///
    /// Which route (by position) cannot be used, and why.
    pub fn build(
        seed: u64,
        routes: impl IntoIterator<Item = (Prefix, AccountId)>,
    ) -> Result<Self, (usize, RouteError)> {
        let routes = routes.into_iter();
        let mut builder = Builder::new(seed, routes.size_hint().0);
        for (position, (prefix, next_hop)) in routes.enumerate() {
            builder.insert(&prefix, next_hop).map_err(|error| (position, error))?;
        }
        Ok(builder.finish())
    }

    /// How many prefixes there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&self.table[..]) + self.long_keys.capacity()
    }

    /// One above the highest number of an account that is a next hop.
    #[must_use]
    pub fn accounts(&self) -> u32 {
        self.accounts
    }

    /// The account that the longest prefix of `address` names. The address has been checked.
    #[must_use]
    pub fn next_hop(&self, address: &[u8]) -> Option<AccountId> {
        let mut candidates = Vec::new();
        self.put_candidates(address, &mut candidates);
        self.longest(address, &candidates)
    }

    /// The first step of [`Self::next_hop`] for a vector of addresses: what needs no look at the
    /// table. Appends shortest first.
    pub fn put_candidates(&self, address: &[u8], out: &mut Vec<Candidate>) {
        put_hashes_at_dots(self.seed, address, self.depths, out);
    }

    /// The second step: asks for the entries of all candidates, so that the misses of a whole vector
    /// overlap.
    pub fn prefetch(&self, candidates: &[Candidate]) {
        candidates.iter().for_each(|it| prefetch_at(&self.table, self.place(it.hash)));
    }

    /// The last step: the account that the longest of an address's own candidates leads to.
    #[must_use]
    pub fn longest(&self, address: &[u8], candidates: &[Candidate]) -> Option<AccountId> {
        let longest_first = candidates.iter().rev();
        longest_first.filter_map(|it| self.find(it.hash, &address[..usize::from(it.end)])).next()
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<AccountId> {
        let entry = &self.table[self.place_of(hash, key)];
        (entry.key_len > 0).then_some(entry.next_hop)
    }

    /// Where a prefix stands, or the free place where it would. Ends: the table is at most half full.
    fn place_of(&self, hash: u64, key: &[u8]) -> usize {
        let mut at = self.place(hash);
        loop {
            let entry = &self.table[at];
            if entry.key_len == 0 || (entry.hash == hash && self.key(entry) == key) {
                return at;
            }
            at = self.next(at);
        }
    }

    /// Where to look first: as far into the table as the hash is into all hashes.
    fn place(&self, hash: u64) -> usize {
        let scaled = u128::from(hash) * self.table.len() as u128;
        usize::try_from(scaled >> 64).expect("below the length of a Vec")
    }

    /// The place behind this one; behind the last stands the first.
    fn next(&self, at: usize) -> usize {
        if at + 1 == self.table.len() { 0 } else { at + 1 }
    }

    fn key<'a>(&'a self, entry: &'a Entry) -> &'a [u8] {
        let len = usize::from(entry.key_len);
        if let Some(key) = entry.key.get(..len) {
            return key;
        }
        let start = u64::from_le_bytes(*entry.key.first_chunk().expect("50 bytes have 8"));
        let start = usize::try_from(start).expect("it was the length of a Vec");
        &self.long_keys[start..start + len]
    }
}

/// A table that is being filled.
///
/// It is made at once at the size that its routes will want, if their count is known: filling it
/// copies nothing then, and takes no memory beside it. Where the count was told too low it grows by
/// moving to a table of twice the size, and where too high it moves to a smaller one in the end.
#[derive(Debug)]
pub struct Builder {
    routes: Routes,
    /// The candidates of the prefix at hand, of which only the whole of it is wanted.
    candidates: Vec<Candidate>,
}

impl Builder {
    /// An empty table for `count` routes; `seed` must be unknown to peers.
    #[must_use]
    pub fn new(seed: u64, count: usize) -> Self {
        let table = free_places(places_for(count));
        let routes =
            Routes { seed, table, long_keys: Vec::new(), count: 0, depths: 0, accounts: 0 };
        Self { routes, candidates: Vec::new() }
    }

    /// Adds a route.
    ///
    /// # Errors
    ///
    /// Why it cannot be used. Nothing changed.
    ///
    /// # Panics
    ///
    /// If the number of the account is `u32::MAX`, which none has.
    pub fn insert(&mut self, prefix: &Prefix, next_hop: AccountId) -> Result<(), RouteError> {
        let key = prefix.as_bytes();
        let depth = 1 + key.iter().filter(|&&byte| byte == b'.').count();
        if depth > ROUTE_SEGMENTS_MAX {
            return Err(RouteError::TooDeep);
        }
        let hash = self.hash(key, depth);
        if self.routes.table.len() < places_for(self.routes.count + 1) {
            self.resize(2 * (self.routes.count + 1));
        }
        let at = self.routes.place_of(hash, key);
        if self.routes.table[at].key_len > 0 {
            return Err(RouteError::Duplicate);
        }
        self.routes.table[at] = self.entry(hash, key, next_hop);
        self.routes.count += 1;
        self.routes.depths |= 1 << depth;
        let accounts = next_hop.0.checked_add(1).expect("accounts are numbered below u32::MAX");
        self.routes.accounts = self.routes.accounts.max(accounts);
        Ok(())
    }

    /// The table, at its size.
    #[must_use]
    pub fn finish(mut self) -> Routes {
        let count = self.routes.count;
        if self.routes.table.len() / 8 * 7 > places_for(count) {
            self.resize(count);
        }
        self.routes.long_keys.shrink_to_fit();
        self.routes
    }

    /// The hash of a whole prefix that has so many segments.
    fn hash(&mut self, key: &[u8], depth: usize) -> u64 {
        self.candidates.clear();
        put_hashes_at_dots(self.routes.seed, key, 1 << depth, &mut self.candidates);
        self.candidates.last().expect("the whole prefix is its own candidate").hash
    }

    /// An entry for a prefix that is not there yet.
    fn entry(&mut self, hash: u64, key: &[u8], next_hop: AccountId) -> Entry {
        let key_len = u16::try_from(key.len()).expect("a prefix has 1,023 bytes at most");
        let mut inline = [0; INLINE_LEN];
        if let Some(place) = inline.get_mut(..key.len()) {
            place.copy_from_slice(key);
        } else {
            let long_keys = &mut self.routes.long_keys;
            inline[..8].copy_from_slice(&(long_keys.len() as u64).to_le_bytes());
            long_keys.extend_from_slice(key);
        }
        Entry { hash, next_hop, key_len, key: inline }
    }

    /// Moves all entries to a table for `count` routes. No key is looked at: none stands twice.
    fn resize(&mut self, count: usize) {
        let routes = &mut self.routes;
        let entries = core::mem::replace(&mut routes.table, free_places(places_for(count)));
        for entry in entries.into_iter().filter(|entry| entry.key_len > 0) {
            let mut at = routes.place(entry.hash);
            while routes.table[at].key_len > 0 {
                at = routes.next(at);
            }
            routes.table[at] = entry;
        }
    }
}

/// Places of a table for so many routes.
fn places_for(count: usize) -> usize {
    (PLACES_PER_ROUTE * count).max(PLACES_MIN)
}

/// A table without a route.
fn free_places(count: usize) -> Vec<Entry> {
    let mut table = Vec::with_capacity(count);
    prefer_large_pages(&mut table);
    table.resize(count, FREE);
    table
}

/// Hashes every leading part of `address` that ends at a segment and whose depth is in `depths`.
///
/// Eight bytes at a time, whatever segments they are of: the words before a dot are mixed in whole, and
/// then, for a part that is wanted, its last bytes with their count in the top byte, which they never
/// reach. So there is one chain of multiplications through the address, and one more for each part.
fn put_hashes_at_dots(seed: u64, address: &[u8], depths: u64, out: &mut Vec<Candidate>) {
    // One bit a depth, the next one lowest.
    let mut wanted = depths >> 1;
    let (mut hash, mut start) = (seed, 0);
    while wanted != 0 {
        let (word, mut dots) = match address[start..].first_chunk() {
            Some(word) => {
                let word = u64::from_le_bytes(*word);
                (word, dots_of(word))
            }
            None => last_word(&address[start..]),
        };
        while dots != 0 {
            let bits = dots.trailing_zeros() & !7;
            if wanted & 1 == 1 {
                let kept = word & ((1 << bits) - 1);
                let hash = mix(hash ^ kept ^ (u64::from(bits + 8) << 53), 0xe703_7ed1_a0b4_28db);
                let end = start + (bits / 8) as usize;
                let end = u16::try_from(end).expect("an address has 1,023 bytes at most");
                out.push(Candidate { hash, end });
            }
            wanted >>= 1;
            dots &= dots - 1;
        }
        start += 8;
        if start > address.len() {
            return;
        }
        hash = mix(hash ^ word, 0xa076_1d64_78bd_642f);
    }
}

/// What is left behind the last whole word, and its dots; the end of the address counts as one.
#[cold]
fn last_word(rest: &[u8]) -> (u64, u64) {
    let mut padded = [0; 8];
    padded[..rest.len()].copy_from_slice(rest);
    let word = u64::from_le_bytes(padded);
    (word, dots_of(word) | 0x80 << (8 * rest.len()))
}

/// The high bit of each byte of a word that is a dot.
fn dots_of(word: u64) -> u64 {
    const LOW_BITS: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let differs = word ^ 0x2e2e_2e2e_2e2e_2e2e;
    // No byte carries into the next: its high bit is set if any of its bits is.
    !(((differs & LOW_BITS) + LOW_BITS) | differs | LOW_BITS)
}

/// Multiplies to 128 bits and folds: every bit of the input reaches every bit of the output.
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    #[expect(clippy::cast_possible_truncation, reason = "folding takes both halves")]
    let folded = product as u64 ^ (product >> 64) as u64;
    folded
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_dots_of_a_word_are_all_of_them_and_no_other_byte() {
        assert_eq!(u64::from_le_bytes([b'.'; 8]), 0x2e2e_2e2e_2e2e_2e2e);
        for word in [
            [0x2e, 0x2f, 0x2d, 0x2e, 0xae, 0x2e, 0x2e, 0],
            [0xff, 0x2e, 0, 0x2e, 0x80, 1, 0x2f, 0x2e],
        ] {
            let high_bits = word.map(|byte| if byte == b'.' { 0x80 } else { 0 });
            assert_eq!(dots_of(u64::from_le_bytes(word)), u64::from_le_bytes(high_bits));
        }
    }

    fn routes(prefixes: &[&str]) -> Routes {
        let numbered = prefixes
            .iter()
            .zip(0..)
            .map(|(prefix, number)| (prefix.parse::<Prefix>().unwrap(), AccountId(number)));
        Routes::build(0x5eed, numbered).unwrap()
    }

    fn hop(routes: &Routes, address: &str) -> Option<u32> {
        routes.next_hop(address.as_bytes()).map(|account| account.0)
    }

    #[test]
    fn the_longest_prefix_wins_and_only_on_segment_boundaries() {
        let routes = routes(&["test", "test.alice", "test.alice.shop.till", "g.bob"]);
        assert_eq!(hop(&routes, "test.alice"), Some(1));
        assert_eq!(hop(&routes, "test.alice.shop"), Some(1));
        assert_eq!(hop(&routes, "test.alice.shop.till.7"), Some(2));
        assert_eq!(hop(&routes, "test.alicebob"), Some(0));
        assert_eq!(hop(&routes, "test.alic"), Some(0));
        assert_eq!(hop(&routes, "g.bob"), Some(3));
        assert_eq!(hop(&routes, "g.bobby"), None);
        assert_eq!(hop(&routes, "g"), None);
        assert_eq!(hop(&routes, "private.alice"), None);
    }

    #[test]
    fn segments_of_every_length_around_a_word_are_told_apart() {
        let names: Vec<String> = (1..40).map(|len| format!("g.{}.x", "a".repeat(len))).collect();
        let prefixes: Vec<&str> = names.iter().map(String::as_str).collect();
        let routes = routes(&prefixes);
        for (number, name) in names.iter().enumerate() {
            assert_eq!(hop(&routes, &format!("{name}.y")), u32::try_from(number).ok());
            assert_eq!(hop(&routes, &name[..name.len() - 2]), None);
        }
    }

    #[test]
    fn a_prefix_twice_or_too_deep_is_refused_by_its_position() {
        let build = |prefixes: &[&str]| {
            let list = prefixes.iter().map(|text| (text.parse().unwrap(), AccountId(0)));
            Routes::build(1, list.collect::<Vec<_>>()).unwrap_err()
        };
        assert_eq!(build(&["g.a", "g.b", "g.a"]), (2, RouteError::Duplicate));
        let deep = format!("g{}", ".a".repeat(ROUTE_SEGMENTS_MAX));
        assert_eq!(build(&[&deep]), (0, RouteError::TooDeep));
        let longest = format!("g{}", ".a".repeat(ROUTE_SEGMENTS_MAX - 1));
        assert_eq!(hop(&routes(&[&longest]), &format!("{longest}.b")), Some(0));
    }

    #[test]
    fn an_address_of_five_hundred_segments_is_looked_up() {
        let routes = routes(&["g.a"]);
        assert_eq!(hop(&routes, &format!("g{}", ".a".repeat(500))), Some(0));
    }

    proptest! {
        /// Against the definition: the longest of the prefixes that equal the address or are
        /// followed in it by a dot.
        #[test]
        fn the_table_finds_what_the_definition_says(
            prefixes in prop::collection::hash_set("(g|test)(\\.[ab]{1,10}){0,4}", 1..60),
            address in "(g|test)(\\.[ab]{1,10}){1,6}",
            seed in any::<u64>(),
        ) {
            let prefixes: Vec<String> = prefixes.into_iter().collect();
            let list = prefixes.iter().zip(0..).map(|(text, number)| {
                (text.parse::<Prefix>().unwrap(), AccountId(number))
            });
            let routes = Routes::build(seed, list).unwrap();
            let wanted = prefixes.iter().enumerate().filter(|(_, prefix)| {
                address == **prefix || address.starts_with(&format!("{prefix}."))
            });
            let wanted = wanted.max_by_key(|(_, prefix)| prefix.len());
            prop_assert_eq!(
                hop(&routes, &address),
                wanted.map(|(number, _)| u32::try_from(number).unwrap())
            );
        }
    }
}
