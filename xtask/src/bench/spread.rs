//! A median with an interval around it, by order statistics: nothing is assumed of how runs are spread.

use serde_json::{Value, json};

/// Share of cases in which an interval is to hold the true median.
const CONFIDENCE: f64 = 0.95;

/// The middle of some samples, and the interval that holds the true one in 19 cases of 20; of fewer than
/// six samples it is from the least to the greatest, and holds it less often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Spread {
    /// Of these samples, in any order.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub(super) fn of(mut samples: Vec<f64>) -> Self {
        assert!(!samples.is_empty(), "a bench makes a run at least");
        samples.sort_by(f64::total_cmp);
        let (last, low) = (samples.len() - 1, rank(samples.len()));
        let median = f64::midpoint(samples[last / 2], samples[samples.len() / 2]);
        Self { median, low: samples[low], high: samples[last - low] }
    }

    pub(super) fn to_json(self) -> Value {
        let digits = |value: f64| (value * 1e4).round() / 1e4;
        json!({ "median": digits(self.median), "low": digits(self.low), "high": digits(self.high) })
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = if self.median.abs() < 100.0 { 3 } else { 0 };
        write!(f, "{:.digits$} ({:.digits$} to {:.digits$})", self.median, self.low, self.high)
    }
}

/// How many samples may lie below the interval's lower end: the true median is missed when no more lie
/// below it than that, or above, each as likely as so many heads of as many coins.
fn rank(count: usize) -> usize {
    let mut exactly = 0.5_f64.powi(i32::try_from(count).expect("a bench makes few runs"));
    let (mut up_to, mut found) = (exactly, 0);
    for below in 0..count / 2 {
        if 2.0 * up_to > 1.0 - CONFIDENCE {
            break;
        }
        found = below;
        #[expect(clippy::cast_precision_loss, reason = "counts of runs")]
        let step = (count - below) as f64 / (below + 1) as f64;
        exactly *= step;
        up_to += exactly;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_fifteen_runs_the_interval_goes_from_the_fourth_to_the_twelfth() {
        let spread = Spread::of((1..=15).rev().map(f64::from).collect());
        assert_eq!(spread, Spread { median: 8.0, low: 4.0, high: 12.0 });
    }

    #[test]
    fn of_few_runs_the_interval_holds_all() {
        for count in 1..=6 {
            let spread = Spread::of((1..=count).map(f64::from).collect());
            assert_eq!((spread.low, spread.high), (1.0, f64::from(count)));
        }
        assert_eq!(Spread::of(vec![2.0, 1.0]).median, 1.5);
    }
}
