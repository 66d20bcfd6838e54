//! What stands behind the header: bytes without a pattern, cut from one block that the seed makes.
//!
//! Each packet takes its piece from another place of the block, so that a piece of a packet is no
//! good in the next; making it is one copy, whatever its length.
//!
//! Invariant: the bytes follow from the seed and the packet's number alone, so that both ends
//! know them.

use super::{HEADER_LEN, Header, mix};
use crate::limits;

/// Places that a piece may begin at: with the usual hundred bytes they stay in the first cache.
const PLACES: usize = 4096;

/// The bytes of a seed.
#[derive(Clone, Debug)]
pub struct Filling {
    block: Vec<u8>,
}

impl Filling {
    /// The block of all runs with this seed.
    ///
    /// # Panics
    ///
    /// Never: what one packet holds fits in memory.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let data_len_max = usize::try_from(limits::DATA_LEN_MAX).expect("what a packet holds");
        let words = (PLACES + data_len_max).div_ceil(8) as u64;
        let first = mix(seed);
        let block = (0..words).flat_map(|word| mix(first.wrapping_add(word)).to_le_bytes());
        Self { block: block.collect() }
    }

    /// Appends data of `len` bytes: the header, then the filling.
    ///
    /// # Panics
    ///
    /// If `len` has no room for the header, or is more than a packet holds: the workload was
    /// checked for that.
    pub fn put_data(&self, out: &mut Vec<u8>, header: &Header, len: usize) {
        assert!(len >= HEADER_LEN);
        out.extend_from_slice(&header.to_bytes());
        out.extend_from_slice(self.piece(header, len - HEADER_LEN));
    }

    /// Whether all that follows the header in `data` is as [`Filling::put_data`] wrote it.
    #[must_use]
    pub fn is_in(&self, header: &Header, data: &[u8]) -> bool {
        let rest = data.get(HEADER_LEN..).unwrap_or_default();
        let place = place(header.sequence);
        self.block.get(place..place + rest.len()) == Some(rest)
    }

    fn piece(&self, header: &Header, len: usize) -> &[u8] {
        let place = place(header.sequence);
        &self.block[place..place + len]
    }

    /// The byte that data of one byte more would end with.
    #[cfg(test)]
    pub(super) fn byte_after(&self, header: &Header, len: usize) -> u8 {
        self.block[place(header.sequence) + len - HEADER_LEN]
    }
}

/// Neighbours begin far from each other: the highest bits of a product with the golden ratio.
fn place(sequence: u64) -> usize {
    const BITS: u32 = PLACES.ilog2();
    let high = sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - BITS);
    usize::try_from(high).expect("twelve bits")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::Kind;
    use super::*;

    fn header(sequence: u64) -> Header {
        let (kind, amount, expires_at_ms) = (Kind::Fulfilled, 7, 1_795_000_000_000);
        Header { kind, flow: 1, run: 2, sequence, amount, expires_at_ms }
    }

    #[test]
    fn the_longest_data_fits_at_every_place() {
        let filling = Filling::new(1);
        let len = usize::try_from(limits::DATA_LEN_MAX).unwrap();
        for sequence in 0..10_000 {
            assert_eq!(filling.piece(&header(sequence), len).len(), len);
        }
    }

    #[test]
    fn filling_is_of_its_packet_and_its_seed() {
        let filling = Filling::new(1);
        let pieces: HashSet<&[u8]> = (0..4000).map(|n| filling.piece(&header(n), 16)).collect();
        assert!(pieces.len() > 2500, "{} different pieces", pieces.len());
        for sequence in 0..4000 {
            let (own, next) = (header(sequence), header(sequence + 1));
            assert_ne!(filling.piece(&own, 16), filling.piece(&next, 16));
        }
        assert_ne!(Filling::new(2).piece(&header(5), 16), filling.piece(&header(5), 16));
    }
}
