//! Draws from a seed and a packet's number: none waits for another, so that the processor makes
//! them at once.
//!
//! ```text
//!  draw i of packet n  =  mix(seed x odd + n x 8 + i)       SplitMix64 at a place of its own
//! ```

use std::ops::RangeInclusive;

use crate::payload::mix;

/// Draws that one packet has, each of 64 bits.
const DRAWS: u64 = 8;

/// Keeps the counters of two seeds apart by more than any run is long.
const SEED_STEP: u64 = 0xd134_2543_de82_ef95;

/// The draws of one packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draws(u64);

impl Draws {
    pub(super) fn new(seed: u64, sequence: u64) -> Self {
        Self(seed.wrapping_mul(SEED_STEP).wrapping_add(sequence.wrapping_mul(DRAWS)))
    }

    /// The draw with this number, below [`DRAWS`].
    pub(super) fn draw(self, index: u64) -> u64 {
        debug_assert!(index < DRAWS);
        mix(self.0.wrapping_add(index))
    }

    /// Two draws of 32 bits, for what has few values.
    pub(super) fn halves(self, index: u64) -> (u32, u32) {
        let draw = self.draw(index);
        (high(draw), low(draw))
    }
}

/// An even draw of a packet from 0 to 1, without its ends.
#[expect(clippy::cast_precision_loss, reason = "53 bits")]
pub(crate) fn even(seed: u64, sequence: u64, index: u64) -> f64 {
    ((Draws::new(seed, sequence).draw(index) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// The high half.
pub(super) const fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

/// The low half.
#[expect(clippy::cast_possible_truncation, reason = "the other half is not meant")]
pub(super) const fn low(value: u64) -> u32 {
    value as u32
}

/// A range to draw from, both ends included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    least: u64,
    /// Values that it has.
    width: u64,
}

impl Span {
    /// The values from `range.start()` to `range.end()`; `None` if there is none, or 2^64 of them.
    #[must_use]
    pub fn new(range: &RangeInclusive<u64>) -> Option<Self> {
        let width = range.end().checked_sub(*range.start())?.checked_add(1)?;
        Some(Self { least: *range.start(), width })
    }

    /// The smallest value.
    #[must_use]
    pub const fn least(&self) -> u64 {
        self.least
    }

    /// The largest value.
    #[must_use]
    pub const fn most(&self) -> u64 {
        self.least + (self.width - 1)
    }

    /// One of its values. The high half of a product: even to one in 2^64 / width.
    pub(super) fn at(&self, draw: u64) -> u64 {
        let product = u128::from(draw) * u128::from(self.width);
        self.least + high_u64(product)
    }

    /// The same from a draw of 32 bits, for a range of less than 2^32 values.
    pub(super) fn at_half(&self, draw: u32) -> u64 {
        self.least + ((u64::from(draw) * self.width) >> 32)
    }
}

const fn high_u64(value: u128) -> u64 {
    (value >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_packets_share_a_draw() {
        let draws = (0..2).flat_map(|seed| (0..1_000).map(move |n| Draws::new(seed, n)));
        let values: HashSet<u64> =
            draws.flat_map(|draws| (0..DRAWS).map(move |index| draws.draw(index))).collect();
        assert_eq!(values.len(), 16_000);
    }

    #[test]
    fn an_even_draw_has_its_mean_in_the_middle_and_never_reaches_an_end() {
        let draws: Vec<f64> = (0..100_000).map(|n| even(3, n, 7)).collect();
        assert!(draws.iter().all(|draw| (f64::MIN_POSITIVE..1.0).contains(draw)));
        let mean = draws.iter().sum::<f64>() / 100_000.0;
        assert!((mean - 0.5).abs() < 0.005, "{mean}");
    }

    #[test]
    fn a_span_gives_both_ends_and_nothing_outside() {
        let span = Span::new(&(5..=9)).unwrap();
        assert_eq!((span.least(), span.most()), (5, 9));
        assert_eq!((span.at(0), span.at(u64::MAX)), (5, 9));
        assert_eq!((span.at_half(0), span.at_half(u32::MAX)), (5, 9));
        let one = Span::new(&(7..=7)).unwrap();
        assert_eq!((one.at(u64::MAX), one.at_half(u32::MAX)), (7, 7));
        let widest = Span::new(&(1..=u64::MAX)).unwrap();
        assert_eq!((widest.at(0), widest.at(u64::MAX)), (1, u64::MAX));
    }

    #[test]
    #[expect(clippy::reversed_empty_ranges)]
    fn a_span_without_values_or_with_too_many_is_none() {
        assert_eq!(Span::new(&(2..=1)), None);
        assert_eq!(Span::new(&(0..=u64::MAX)), None);
    }
}
