//! Amounts of packets: every one as likely as any other, or every size as likely as any other.
//!
//! The shape `log` cuts the range into pieces whose ends stand in one ratio, of which each is as
//! likely, and draws evenly within a piece. Where the pieces end is found once, with floating
//! point; what is drawn and sent is made by integers.

use super::draw::{Span, low};

/// Pieces of a range. Of a range of a million to one each is longer than its start by 5 %.
const PIECES: usize = 256;

/// What amounts are drawn from.
#[derive(Clone, Debug)]
pub struct Amounts {
    range: Span,
    /// 256 of them, or none: then the range is one piece.
    pieces: Vec<Span>,
}

impl Amounts {
    /// Every amount of the range as likely as any other.
    #[must_use]
    pub fn even(range: Span) -> Self {
        Self { range, pieces: Vec::new() }
    }

    /// Every order of magnitude of the range as likely as any other.
    ///
    /// # Panics
    ///
    /// If the range begins with 0, which has no order of magnitude.
    #[must_use]
    pub fn log(range: Span) -> Self {
        assert!(range.least() > 0);
        #[expect(clippy::cast_precision_loss, reason = "where pieces end need not be exact")]
        let (least, beyond) = (range.least() as f64, range.most() as f64 + 1.0);
        let border = |index: usize| {
            #[expect(clippy::cast_precision_loss, reason = "at most 256")]
            let exponent = index as f64 / PIECES as f64;
            least * (beyond / least).powf(exponent)
        };
        let whole = |value: f64| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates
            let whole = value as u64;
            whole.clamp(range.least(), range.most())
        };
        let piece = |index: usize| {
            let first = whole(border(index));
            // The last whole number below the border.
            let last = match index + 1 {
                PIECES => range.most(),
                next => whole(border(next).ceil() - 1.0).max(first),
            };
            Span::new(&(first..=last))
                .expect("from 1 at least, and the first is not above the last")
        };
        Self { range, pieces: (0..PIECES).map(piece).collect() }
    }

    /// The smallest amount.
    #[must_use]
    pub fn least(&self) -> u64 {
        self.range.least()
    }

    /// The largest amount.
    #[must_use]
    pub fn most(&self) -> u64 {
        self.range.most()
    }

    /// The name of its shape, in workload files and reports.
    #[must_use]
    pub fn shape(&self) -> &'static str {
        if self.pieces.is_empty() { "even" } else { "log" }
    }

    /// The amount of a draw, of another draw's 32 bits.
    pub(super) fn at(&self, draw: u64, of_piece: u32) -> u64 {
        let piece = (u64::from(of_piece) * PIECES as u64) >> 32;
        self.pieces.get(low(piece) as usize).unwrap_or(&self.range).at(draw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::mix;
    use crate::traffic::draw::high;

    fn amounts(least: u64, most: u64) -> Amounts {
        Amounts::log(Span::new(&(least..=most)).unwrap())
    }

    fn drawn(amounts: &Amounts) -> Vec<u64> {
        (0..200_000).map(|n| amounts.at(mix(n), high(mix(!n)))).collect()
    }

    #[test]
    fn each_order_of_magnitude_is_as_likely_as_any_other() {
        let drawn = drawn(&amounts(1, 999_999));
        for exponent in 0..6 {
            let (from, to) = (10_u64.pow(exponent), 10_u64.pow(exponent + 1));
            let share = drawn.iter().filter(|amount| (from..to).contains(*amount)).count();
            assert!((31_000..36_000).contains(&share), "{share} of 200,000 from {from}");
        }
    }

    #[test]
    fn both_ends_are_reached_and_nothing_outside() {
        for (least, most) in [(1, 1), (1, 2), (7, 9), (5, 1_000), (1, u64::MAX)] {
            let amounts = amounts(least, most);
            assert_eq!((amounts.at(0, 0), amounts.at(u64::MAX, u32::MAX)), (least, most));
            let drawn = drawn(&amounts);
            assert!(drawn.iter().all(|amount| (least..=most).contains(amount)));
            let different = drawn.iter().collect::<std::collections::HashSet<_>>().len();
            assert!(different as u64 >= (most - least).min(900), "{least} to {most}: {different}");
        }
    }

    #[test]
    fn the_even_shape_is_as_likely_at_both_ends() {
        let even = Amounts::even(Span::new(&(1..=1_000)).unwrap());
        let low = drawn(&even).iter().filter(|amount| **amount <= 100).count();
        assert!((19_000..21_000).contains(&low), "{low} of 200,000 for a tenth");
        assert_eq!((even.shape(), amounts(1, 9).shape()), ("even", "log"));
    }
}
