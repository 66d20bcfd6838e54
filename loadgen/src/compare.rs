//! Two things measured in turns, and whether they differ.
//!
//! Trials are made in pairs, and each pair begins with the other side: AB BA AB BA ... What drifts
//! (a neighbour on the machine, a clock that slows down when it is warm) then meets both alike.
//! The ratio B / A is taken within each pair; its median and the interval around it are order
//! statistics, so that nothing is assumed of how trials are spread.
//!
//! Everything here is pure: no I/O, no clock.

pub mod report;

use serde::Serialize;

/// Share of cases in which the interval of a [`Spread`] holds the true median, at least.
pub const CONFIDENCE: f64 = 0.95;

/// Fewest samples that have such an interval: the least and the greatest of five hold the median in
/// 15 cases of 16 only.
pub const SAMPLES_MIN: usize = 6;

/// Which of the two.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Side {
    /// The one that is compared with.
    A,
    /// The other.
    B,
}

/// Which goes first in a pair, and which second.
#[must_use]
pub fn order(pair: usize) -> [Side; 2] {
    if pair.is_multiple_of(2) { [Side::A, Side::B] } else { [Side::B, Side::A] }
}

/// A median, and an interval that holds the true one with [`CONFIDENCE`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Spread {
    /// The middle sample, or the mean of both that are.
    pub median: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Spread {
    /// Of these samples, in any order; `None` of fewer than [`SAMPLES_MIN`].
    #[must_use]
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let low = rank(sorted.len())?;
        let last = sorted.len() - 1;
        let (left, right) = (sorted[last / 2], sorted[sorted.len() / 2]);
        // Not their sum where they are one sample: infinity has no mean with itself by a half.
        let median = if last.is_multiple_of(2) { left } else { f64::midpoint(left, right) };
        Some(Self { median, low: sorted[low], high: sorted[last - low] })
    }

    /// Whether the interval holds this value.
    #[must_use]
    pub fn holds(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// How many samples may lie below the interval's lower end, and as many above its upper one.
///
/// A sample lies below the true median with probability 1/2. The interval from the `k`-th least to
/// the `k`-th greatest misses it when fewer than `k` lie below, or fewer than `k` above: twice the
/// lower tail of a binomial distribution.
fn rank(count: usize) -> Option<usize> {
    let exponent = i32::try_from(count).ok()?;
    // Probability that exactly `below` lie below, and that no more than that do.
    let mut exactly = 0.5_f64.powi(exponent);
    let mut up_to = exactly;
    let mut found = None;
    for below in 0..count / 2 {
        if 2.0 * up_to > 1.0 - CONFIDENCE {
            break;
        }
        found = Some(below);
        #[expect(clippy::cast_precision_loss)] // counts of trials
        let step = (count - below) as f64 / (below + 1) as f64;
        exactly *= step;
        up_to += exactly;
    }
    found
}

/// What is said of one measure.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// The interval of the ratio holds 1.
    NoDifference,
    /// B has more of it.
    Higher,
    /// B has less of it.
    Lower,
}

/// Both sides of one measure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Comparison {
    /// What A had.
    pub a: Spread,
    /// What B had.
    pub b: Spread,
    /// B / A, of the two trials of each pair.
    pub ratio: Spread,
    /// What follows.
    pub finding: Finding,
}

impl Comparison {
    /// Of pairs of A and B; `None` of fewer than [`SAMPLES_MIN`].
    #[must_use]
    pub fn of(pairs: &[(f64, f64)]) -> Option<Self> {
        let spread =
            |side: fn(&(f64, f64)) -> f64| Spread::of(&pairs.iter().map(side).collect::<Vec<_>>());
        let ratio = spread(|&(a, b)| ratio(a, b))?;
        let finding = match ratio {
            _ if ratio.holds(1.0) => Finding::NoDifference,
            Spread { low, .. } if low > 1.0 => Finding::Higher,
            _ => Finding::Lower,
        };
        Some(Self { a: spread(|pair| pair.0)?, b: spread(|pair| pair.1)?, ratio, finding })
    }
}

/// Two nothings are alike; something is more than any multiple of nothing.
fn ratio(a: f64, b: f64) -> f64 {
    if a == 0.0 && b == 0.0 { 1.0 } else { b / a }
}

#[cfg(test)]
mod tests;
