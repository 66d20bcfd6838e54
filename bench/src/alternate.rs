//! Fair pairs: a thing and its baseline, timed in turns.
//!
//! Time is the thread's own CPU time: what is measured here never waits, and a neighbour that takes
//! the core for a while must not count.

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// Alternated runs of each side.
pub const RUNS: usize = 15;

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
}

impl Spread {
    /// That of so many runs.
    #[must_use]
    pub fn of(mut samples: [f64; RUNS]) -> Self {
        samples.sort_by(f64::total_cmp);
        Self { median: samples[7], low: samples[3], high: samples[11] }
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
        write!(f, "{:.1} (95 %: {:.1} to {:.1})", self.median, self.low, self.high)
    }
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
    let time = |run: &mut dyn FnMut()| {
        let start_us = cpu_us();
        run();
        let elapsed_us = u32::try_from(cpu_us() - start_us).expect("a run of less than an hour");
        f64::from(elapsed_us) * 1_000.0 / f64::from(u32::try_from(operations).expect("few enough"))
    };
    time(&mut a);
    time(&mut b);
    let mut samples = [(0.0, 0.0); RUNS];
    for sample in &mut samples {
        *sample = (time(&mut a), time(&mut b));
    }
    (
        Spread::of(samples.map(|sample| sample.0)),
        Spread::of(samples.map(|sample| sample.1)),
        Spread::of(samples.map(|(a, b)| a / b)),
    )
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
