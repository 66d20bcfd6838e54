//! When packets are due.
//!
//! Open loop: packet `n` of a constant rate is due `n / rate` after the start, whatever became of
//! the packets before it. Rates may change by phases, and packets come by chance; see
//! `schedule/phases.rs`.
//!
//! A [`Schedule`] is gone through packet by packet, as it is cheaper to step than to compute each
//! time anew. Invariant: the times follow from phases, process and seed alone, not from when they
//! were asked for, and no time is before that of the packet before it.

mod phases;

use serde::{Deserialize, Serialize};

use phases::Phased;

/// A part of a run: a constant rate, or one that rises or falls evenly.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Phase {
    /// How long.
    pub seconds: u64,
    /// PREPAREs a second at its start.
    pub rate_per_s: u64,
    /// The same at its end.
    pub to_rate_per_s: u64,
}

impl Phase {
    /// A phase of one rate.
    #[must_use]
    pub const fn constant(rate_per_s: u64, seconds: u64) -> Self {
        Self { seconds, rate_per_s, to_rate_per_s: rate_per_s }
    }

    /// Whether its rate stays the same.
    #[must_use]
    pub const fn is_constant(&self) -> bool {
        self.rate_per_s == self.to_rate_per_s
    }
}

/// PREPAREs of all phases.
#[must_use]
pub fn count(phases: &[Phase]) -> u64 {
    // Twice as many, as the middle of a ramp may be a half.
    let twice: u64 =
        phases.iter().map(|phase| (phase.rate_per_s + phase.to_rate_per_s) * phase.seconds).sum();
    twice / 2
}

/// How packets of one rate follow each other.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Process {
    /// Evenly.
    #[default]
    Constant,
    /// By chance: independent of each other.
    Poisson,
}

impl Process {
    /// The name that workload files and reports use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Poisson => "poisson",
        }
    }
}

/// Where a run stands: the packet that is due next, and when.
#[derive(Clone, Debug)]
pub struct Schedule {
    sequence: u64,
    count: u64,
    due_ns: u64,
    end_ns: u64,
    times: Times,
}

#[derive(Clone, Debug)]
enum Times {
    Steady(Steady),
    Phased(Phased),
}

/// A constant rate: whole nanoseconds from packet to packet, and what is left over.
#[derive(Clone, Copy, Debug)]
struct Steady {
    step_ns: u64,
    /// The left over of one step, in nanoseconds divided by the rate.
    step_rest: u64,
    /// The sum of them, below the rate.
    rest: u64,
    rate_per_s: u64,
}

const NS_PER_S: u64 = 1_000_000_000;

impl Schedule {
    /// The times of these phases; `seed` is that of every draw.
    ///
    /// # Panics
    ///
    /// If there is no packet in them.
    #[must_use]
    pub fn new(phases: &[Phase], process: Process, seed: u64) -> Self {
        let count = count(phases);
        assert!(count > 0, "a workload was checked to have a packet");
        let times = match (process, phases) {
            (Process::Constant, [phase]) if phase.is_constant() => {
                Times::Steady(Steady::new(phase.rate_per_s))
            }
            (Process::Constant, _) => Times::Phased(Phased::new(phases, count, None)),
            (Process::Poisson, _) => Times::Phased(Phased::new(phases, count, Some(seed))),
        };
        let end_ns = phases.iter().map(|phase| phase.seconds).sum::<u64>() * NS_PER_S;
        let mut schedule = Self { sequence: 0, count, due_ns: 0, end_ns, times };
        if let Times::Phased(phased) = &mut schedule.times {
            schedule.due_ns = phased.due_ns(0);
        }
        schedule
    }

    /// Packets in the whole run.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// When sending ends, in nanoseconds after the start.
    #[must_use]
    pub fn end_ns(&self) -> u64 {
        self.end_ns
    }

    /// Number of the packet that is due next; [`Schedule::count`] when there is none.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// When that is, in nanoseconds after the start. `None` after the last packet.
    #[must_use]
    pub fn due_ns(&self) -> Option<u64> {
        (self.sequence < self.count).then_some(self.due_ns)
    }

    /// Goes on to the next packet.
    pub fn advance(&mut self) {
        self.sequence += 1;
        match &mut self.times {
            Times::Steady(steady) => self.due_ns += steady.step(),
            // Rounding may not turn time back.
            Times::Phased(phased) => self.due_ns = self.due_ns.max(phased.due_ns(self.sequence)),
        }
    }

    /// The run is cut: nothing more is due. Gives back how many packets would have been due after
    /// `now_ns`; those before it were due, sent or not.
    pub fn cut(&mut self, now_ns: u64) -> u64 {
        while self.due_ns().is_some_and(|due_ns| due_ns <= now_ns) {
            self.advance();
        }
        self.stop()
    }

    /// Nothing more is due; gives back how many packets that takes away.
    pub fn stop(&mut self) -> u64 {
        let left = self.count - self.sequence;
        self.sequence = self.count;
        left
    }
}

impl Steady {
    fn new(rate_per_s: u64) -> Self {
        let (step_ns, step_rest) = (NS_PER_S / rate_per_s, NS_PER_S % rate_per_s);
        Self { step_ns, step_rest, rest: 0, rate_per_s }
    }

    fn step(&mut self) -> u64 {
        self.rest += self.step_rest;
        if self.rest < self.rate_per_s {
            return self.step_ns;
        }
        self.rest -= self.rate_per_s;
        self.step_ns + 1
    }
}

#[cfg(test)]
mod tests;
