//! Fair pairs: a thing and its baseline, timed in turns.
//!
//! Time is the thread's own CPU time: what is measured here never waits, and a neighbour that takes
//! the core for a while must not count.

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::distance::{NEAR_NS_MAX, round_trip_ns};

/// Alternated runs of each side.
pub const RUNS: usize = 15;

/// Turns at most, while fewer than [`RUNS`] have had the cores near each other.
pub const TURNS_MAX: usize = 4 * RUNS;

/// Two figures of one turn, and what the cores were to each other meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct NearOrFar {
    /// Of the thing.
    pub a: f64,
    /// Of its baseline.
    pub b: f64,
    /// The longest round trip that was seen around it.
    pub round_trip_ns: f64,
}

impl NearOrFar {
    /// The cores shared a cache.
    #[must_use]
    pub fn is_near(&self) -> bool {
        self.round_trip_ns <= NEAR_NS_MAX
    }
}

/// A median and the interval that holds the true one in 19 cases of 20 (order statistics: the 4th
/// and the 12th of 15).
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// The middle run.
    pub median: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Of so many runs. Of fewer than 6 the least and the most do not make such an interval.
    pub runs: usize,
}

impl Spread {
    /// That of so many runs.
    #[must_use]
    pub fn of(mut samples: [f64; RUNS]) -> Self {
        samples.sort_by(f64::total_cmp);
        Self { median: samples[7], low: samples[3], high: samples[11], runs: RUNS }
    }

    /// That of any number of runs, of which there is one at least: as wide as order statistics make it.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn of_any(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let count = samples.len();
        let low = below_interval(count);
        let median = (samples[(count - 1) / 2] + samples[count / 2]) / 2.0;
        Self { median, low: samples[low], high: samples[count - 1 - low], runs: count }
    }

    /// As JSON, with `unit` at the end of each name.
    #[must_use]
    pub fn to_json(self, unit: &str) -> Value {
        let round = |value: f64| (value * 1_000.0).round() / 1_000.0;
        json!({
            format!("median_{unit}"): round(self.median),
            format!("low_{unit}"): round(self.low),
            format!("high_{unit}"): round(self.high),
        })
    }
}

impl core::fmt::Display for Spread {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let kind = if self.runs < 6 { "all" } else { "95 %" };
        write!(f, "{:.1} ({kind}: {:.1} to {:.1})", self.median, self.low, self.high)
    }
}

/// As [`alternate`], of something whose other thread has the second core: how far apart the cores are is
/// measured around each run of `a`. Turns go on until [`RUNS`] have had them near, [`TURNS_MAX`] at most.
pub fn alternate_near(operations: u64, mut a: impl FnMut(), mut b: impl FnMut()) -> Vec<NearOrFar> {
    time(operations, &mut a);
    time(operations, &mut b);
    let mut turns: Vec<NearOrFar> = Vec::new();
    while turns.len() < TURNS_MAX && turns.iter().filter(|it| it.is_near()).count() < RUNS {
        let before = round_trip_ns();
        let a = time(operations, &mut a);
        let round_trip_ns = before.max(round_trip_ns());
        turns.push(NearOrFar { a, b: time(operations, &mut b), round_trip_ns });
    }
    turns
}

/// How many of so many runs lie below the interval that holds the true median in 19 cases of 20: as many
/// as can be, while fewer of that many tosses of a coin in 40 come up so seldom.
fn below_interval(count: usize) -> usize {
    let (mut seldom, mut ways) = (0.0, 0.5_f64.powi(i32::try_from(count).expect("few runs")));
    for below in 0..count / 2 {
        seldom += ways;
        if seldom > 0.025 {
            return below.saturating_sub(1);
        }
        let ratio = |count: usize| f64::from(u32::try_from(count).expect("few runs"));
        ways *= ratio(count - below) / ratio(below + 1);
    }
    (count - 1) / 2
}

/// Nanoseconds per operation of `a` and of `b`, and the ratio `a / b` of neighbouring runs.
///
/// Each closure does `operations` of its operations and verifies them. The first pair of runs warms
/// up and is not counted.
pub fn alternate(
    operations: u64,
    mut a: impl FnMut(),
    mut b: impl FnMut(),
) -> (Spread, Spread, Spread) {
    time(operations, &mut a);
    time(operations, &mut b);
    let mut samples = [(0.0, 0.0); RUNS];
    for sample in &mut samples {
        *sample = (time(operations, &mut a), time(operations, &mut b));
    }
    (
        Spread::of(samples.map(|sample| sample.0)),
        Spread::of(samples.map(|sample| sample.1)),
        Spread::of(samples.map(|(a, b)| a / b)),
    )
}

/// Nanoseconds of CPU time of this thread, for each operation.
fn time(operations: u64, run: &mut dyn FnMut()) -> f64 {
    let start_us = cpu_us();
    run();
    let elapsed_us = u32::try_from(cpu_us() - start_us).expect("a run of less than an hour");
    f64::from(elapsed_us) * 1_000.0 / f64::from(u32::try_from(operations).expect("few enough"))
}

/// Microseconds that this thread has computed.
#[must_use]
pub fn cpu_us() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000 + time.tv_nsec / 1_000
}

/// Keeps this thread on one core, so that runs differ by less. Says so where it may not.
pub fn pin() {
    pin_to(0);
}

/// Keeps this thread on the core with this number. Says so where it may not.
pub fn pin_to(core: usize) {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(core);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &cores) {
        eprintln!("not pinned to a core ({error}): expect a wider spread");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_any_number_is_that_of_fifteen_where_there_are_fifteen() {
        let samples: Vec<f64> = (0..15).rev().map(f64::from).collect();
        let any = Spread::of_any(samples.clone());
        let fifteen = Spread::of(samples.try_into().unwrap());
        assert_eq!([any.median, any.low, any.high], [7.0, 3.0, 11.0]);
        assert_eq!([fifteen.median, fifteen.low, fifteen.high], [7.0, 3.0, 11.0]);
    }

    /// Against the tables of the sign test: 6 is the first number of runs whose extremes will do.
    #[test]
    fn few_runs_have_their_extremes_for_an_interval() {
        let below = [1, 2, 5, 6, 8, 9, 11, 12, 20, 30, 60].map(below_interval);
        assert_eq!(below, [0, 0, 0, 0, 0, 1, 1, 2, 5, 9, 21]);
    }
}
