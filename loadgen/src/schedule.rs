//! When packets are due.
//!
//! Open loop: packet `n` of a constant rate is due `n / rate` after the start, whatever became of
//! the packets before it.
//!
//! A [`Schedule`] is gone through packet by packet, as it is cheaper to step than to compute each
//! time anew. Invariant: the time of a packet depends on its number alone, not on when it was asked
//! for, and no time is before that of the packet before it.

/// Where a run stands: the packet that is due next, and when.
#[derive(Clone, Debug)]
pub struct Schedule {
    sequence: u64,
    count: u64,
    due_ns: u64,
    end_ns: u64,
    steady: Steady,
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
    /// `rate_per_s` packets a second for so many seconds.
    ///
    /// # Panics
    ///
    /// If the rate is 0.
    #[must_use]
    pub fn constant(rate_per_s: u64, seconds: u64) -> Self {
        let steady = Steady {
            step_ns: NS_PER_S / rate_per_s,
            step_rest: NS_PER_S % rate_per_s,
            rest: 0,
            rate_per_s,
        };
        let (count, end_ns) = (rate_per_s * seconds, seconds * NS_PER_S);
        Self { sequence: 0, count, due_ns: 0, end_ns, steady }
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
        let Steady { step_ns, step_rest, rest, rate_per_s } = &mut self.steady;
        self.due_ns += *step_ns;
        *rest += *step_rest;
        if *rest >= *rate_per_s {
            *rest -= *rate_per_s;
            self.due_ns += 1;
        }
    }

    /// Nothing more is due; gives back how many packets that takes away.
    pub fn stop(&mut self) -> u64 {
        let left = self.count - self.sequence;
        self.sequence = self.count;
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every time of a schedule.
    fn times(mut schedule: Schedule) -> Vec<u64> {
        let mut times = Vec::new();
        while let Some(due_ns) = schedule.due_ns() {
            assert_eq!(schedule.sequence(), times.len() as u64);
            times.push(due_ns);
            schedule.advance();
        }
        assert_eq!(schedule.count(), times.len() as u64);
        times
    }

    #[test]
    fn a_constant_rate_does_not_drift() {
        for rate_per_s in [1, 3, 7, 999, 12_345, 999_983] {
            let schedule = Schedule::constant(rate_per_s, 3);
            assert_eq!(schedule.end_ns(), 3_000_000_000);
            for (sequence, due_ns) in (0..).zip(times(schedule)) {
                let exact = u128::from(sequence_ns(sequence)) / u128::from(rate_per_s);
                assert_eq!(u128::from(due_ns), exact, "{sequence} at {rate_per_s}");
            }
        }
    }

    fn sequence_ns(sequence: u64) -> u64 {
        sequence * NS_PER_S
    }

    #[test]
    fn the_highest_rate_and_the_longest_run_are_counted_without_overflow() {
        use crate::limits::{RATE_PER_S_MAX, SECONDS_MAX};
        let mut schedule = Schedule::constant(RATE_PER_S_MAX, SECONDS_MAX);
        assert_eq!(schedule.count(), 1_728_000_000_000);
        assert_eq!(schedule.end_ns(), 86_400_000_000_000);
        schedule.advance();
        assert_eq!(schedule.due_ns(), Some(50));
    }

    #[test]
    fn a_schedule_that_was_stopped_says_what_it_left_out() {
        let mut schedule = Schedule::constant(10, 1);
        schedule.advance();
        assert_eq!(schedule.stop(), 9);
        assert_eq!((schedule.due_ns(), schedule.sequence(), schedule.stop()), (None, 10, 0));
    }
}
