//! The addresses that a receiver is sent to: its own, or many below it.
//!
//! ```text
//!  own                test.m2m.bob
//!  depth 5, 1000      test.m2m.bob.net.000  ..  test.m2m.bob.net.999
//! ```
//!
//! Invariant: all of one receiver's addresses have the same length, so that they lie in one row
//! and are found by their number, and a number by its address, without a search.

use std::sync::Arc;

use m2_codec::address::{Address, AddressError};

/// The segments between a receiver's own address and the number.
const BETWEEN: &str = ".net";

/// What one receiver answers to.
#[derive(Clone, Debug)]
pub struct Destinations {
    own: Address,
    /// One after the other.
    row: Arc<[u8]>,
    /// Length of each.
    len: usize,
    /// Digits that each ends with; 0 where there is but the own address.
    digits: usize,
}

impl Destinations {
    /// The own address and no other.
    #[must_use]
    pub fn own(own: Address) -> Self {
        let (row, len) = (Arc::from(own.as_bytes()), own.as_bytes().len());
        Self { own, row, len, digits: 0 }
    }

    /// `count` addresses of `depth` segments below the own one.
    ///
    /// # Errors
    ///
    /// When an address of that depth is too long for one.
    ///
    /// # Panics
    ///
    /// If `depth` is not more than the own address has, or there is no address.
    pub fn below(own: Address, count: usize, depth: usize) -> Result<Self, AddressError> {
        assert!(count > 0);
        let between = depth.checked_sub(segments(&own) + 1).expect("checked to be below");
        let digits = (count - 1).max(1).ilog10() as usize + 1;
        let base = format!("{}{}", own.as_str(), BETWEEN.repeat(between));
        let last: Address = format!("{base}.{:0digits$}", count - 1).parse()?;
        let len = last.as_bytes().len();
        let mut row = String::with_capacity(len * count);
        (0..count).for_each(|number| row.push_str(&format!("{base}.{number:0digits$}")));
        Ok(Self { own, row: row.into_bytes().into(), len, digits })
    }

    /// The address with this number.
    #[must_use]
    #[inline]
    pub fn at(&self, number: u32) -> &[u8] {
        let start = number as usize * self.len;
        &self.row[start..start + self.len]
    }

    /// Whether it is one of these.
    #[must_use]
    #[inline]
    pub fn contains(&self, address: &[u8]) -> bool {
        if address.len() != self.len {
            return false;
        }
        let digits = &address[self.len - self.digits..];
        let number =
            digits.iter().fold(0, |sum, byte| sum * 10 + usize::from(byte.wrapping_sub(b'0') % 10));
        let start = number * self.len;
        self.row.get(start..start + self.len) == Some(address)
    }

    /// The receiver's own address, from which it answers.
    #[must_use]
    pub fn receiver(&self) -> &Address {
        &self.own
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.row.len() / self.len
    }
}

/// Segments of an address, with its scheme.
pub(super) fn segments(address: &Address) -> usize {
    address.as_str().split('.').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bob() -> Address {
        "test.m2m.bob".parse().unwrap()
    }

    #[test]
    fn an_end_with_one_address_answers_to_no_other() {
        let own = Destinations::own(bob());
        assert_eq!((own.count(), own.at(0)), (1, &b"test.m2m.bob"[..]));
        assert!(own.contains(b"test.m2m.bob"));
        for other in [&b"test.m2m.bo"[..], b"test.m2m.boc", b"test.m2m.bob.1", b""] {
            assert!(!own.contains(other));
        }
    }

    #[test]
    fn addresses_below_are_valid_different_and_of_the_depth_that_was_asked_for() {
        for (count, depth) in [(1, 4), (10, 4), (11, 5), (1_000, 7), (1_001, 20)] {
            let below = Destinations::below(bob(), count, depth).unwrap();
            assert_eq!(below.count(), count);
            let mut seen = std::collections::HashSet::new();
            for number in 0..count {
                let address = below.at(u32::try_from(number).unwrap());
                let text = std::str::from_utf8(address).unwrap();
                assert_eq!(segments(&text.parse().unwrap()), depth, "{text}");
                assert!(text.starts_with("test.m2m.bob."), "{text}");
                assert!(below.contains(address) && seen.insert(address), "{text}");
            }
            assert_eq!(below.receiver(), &bob());
        }
        let below = Destinations::below(bob(), 1_000, 5).unwrap();
        assert_eq!(below.at(42), b"test.m2m.bob.net.042");
    }

    /// Each address with one byte changed is another, or none of these.
    #[test]
    fn nothing_else_is_taken_for_one_of_them() {
        let below = Destinations::below(bob(), 20, 4).unwrap();
        let all: Vec<&[u8]> = (0..20).map(|number| below.at(number)).collect();
        for address in &all {
            for index in 0..address.len() {
                for byte in 0..=255 {
                    let mut changed = address.to_vec();
                    changed[index] = byte;
                    assert_eq!(below.contains(&changed), all.contains(&changed.as_slice()));
                }
            }
        }
        assert!(!below.contains(b"test.m2m.bob"));
        assert!(!below.contains(b"test.m2m.bob.20"));
        assert!(!below.contains(b"test.m2m.bob.1"));
    }

    #[test]
    fn an_address_that_would_be_too_long_is_an_error() {
        assert!(Destinations::below(bob(), 10, 255).is_ok());
        assert!(Destinations::below(bob(), 10, 300).is_err());
    }
}
