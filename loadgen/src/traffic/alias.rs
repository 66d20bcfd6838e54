//! Choosing one of many by weight in the time of one look: Walker's alias table.
//!
//! Every column of the table has the same width. A light column is filled up with a piece of a
//! heavy one, its alias, so that a point in the table names one of at most two:
//!
//! ```text
//!  weights 1 2 5, width 8/3     | 0 0 0 2 2 2 2 2 | 1 1 1 1 1 1 2 2 | 2 2 2 2 2 2 2 2 |
//! ```
//!
//! Weights are integers, and so is the table: shares are exact to one in 2^32.

use super::draw::{high, low};

/// One of `len()` things is chosen by a draw.
#[derive(Clone, Debug)]
pub struct Alias {
    columns: Vec<Column>,
}

#[derive(Clone, Copy, Debug)]
struct Column {
    /// Points of 2^32 below which the column's own thing is chosen.
    own_below: u64,
    alias: u32,
}

/// Points in a column.
const COLUMN: u128 = 1 << 32;

impl Alias {
    /// A table of these weights; `None` without any weight, with more than 2^32 weights or with
    /// 2^64 of their sum times their number.
    #[must_use]
    pub fn new(weights: &[u64]) -> Option<Self> {
        let len = u32::try_from(weights.len()).ok()?;
        let sum = weights.iter().try_fold(0_u64, |sum, weight| sum.checked_add(*weight))?;
        let _ = sum.checked_mul(u64::from(len)).filter(|product| *product > 0)?;
        // In units in which a column is as wide as the sum of all weights.
        let mut left: Vec<u64> = weights.iter().map(|weight| weight * u64::from(len)).collect();
        let mut columns: Vec<Column> =
            (0..len).map(|alias| Column { own_below: 1 << 32, alias }).collect();
        let (mut light, mut heavy): (Vec<u32>, Vec<u32>) =
            (0..len).partition(|index| left[*index as usize] < sum);
        while let (Some(small), Some(large)) = (light.pop(), heavy.last().copied()) {
            let (own, large_left) = (left[small as usize], &mut left[large as usize]);
            let own_below = u128::from(own) * COLUMN / u128::from(sum);
            columns[small as usize] = Column {
                own_below: u64::try_from(own_below).expect("own is less than the sum"),
                alias: large,
            };
            *large_left -= sum - own;
            if *large_left < sum {
                light.extend(heavy.pop());
            }
        }
        Some(Self { columns })
    }

    /// How many things there are to choose from.
    #[must_use]
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Never: there is something to choose from.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// The thing that a draw chooses.
    #[inline]
    pub(crate) fn at(&self, draw: u32) -> u32 {
        let product = u64::from(draw) * self.columns.len() as u64;
        let index = high(product);
        let column = self.columns[index as usize];
        if u64::from(low(product)) < column.own_below { index } else { column.alias }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::mix;

    /// How often each thing is chosen by points that lie evenly.
    fn shares(weights: &[u64]) -> Vec<u64> {
        let table = Alias::new(weights).unwrap();
        assert_eq!(table.len(), weights.len());
        let mut counts = vec![0; weights.len()];
        for point in 0..1_u32 << 20 {
            counts[table.at(point << 12) as usize] += 1;
        }
        counts
    }

    #[test]
    fn each_thing_gets_its_share() {
        for weights in [
            vec![1],
            vec![1, 1],
            vec![1, 4],
            vec![1, 2, 5],
            vec![5, 0, 1, 0],
            vec![1, 1_000_000],
            (1..=97).collect(),
        ] {
            let sum: u64 = weights.iter().sum();
            for (count, weight) in shares(&weights).into_iter().zip(&weights) {
                let expected = weight * (1 << 20) / sum;
                // Each of at most two pieces of a column may be off by a point at its border.
                let slack = 2 * weights.len() as u64;
                assert!(count.abs_diff(expected) <= slack, "{weights:?}: {count} for {weight}");
                assert!(*weight > 0 || count == 0);
            }
        }
    }

    #[test]
    fn no_weight_and_too_much_weight_are_no_table() {
        assert!(Alias::new(&[]).is_none());
        assert!(Alias::new(&[0, 0]).is_none());
        assert!(Alias::new(&[u64::MAX, 1]).is_none());
        assert!(Alias::new(&[u64::MAX / 2, 1]).is_none());
    }

    #[test]
    fn every_draw_chooses_something_that_has_a_weight() {
        let weights: Vec<u64> = (0..1000).map(|n| mix(n) % 3).collect();
        let table = Alias::new(&weights).unwrap();
        for draw in [0, u32::MAX].into_iter().chain((0..100_000).map(|n| low(mix(n)))) {
            assert!(weights[table.at(draw) as usize] > 0, "{draw}");
        }
    }
}
