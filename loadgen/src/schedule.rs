//! Which packet is due when: a pure function of the workload and a packet's number.
//!
//! Open loop: packet `n` of a constant rate is due `n / rate` after the start, whatever became of
//! the packets before it. Each property is drawn from the seed and the number alone, so that a
//! run can be repeated, and a later packet does not depend on how many came before it.
//!
//! Shares are kept exactly, not on average: of every thousand packets each kind gets its number
//! of places, spread by a step that has no divisor in common with a thousand.

use std::ops::RangeInclusive;

use crate::payload::{Kind, mix};

/// Places that a mix has to give away.
pub const PER_MILLE: u16 = 1000;

/// Visits each of a thousand places once before any of them twice: 389 is prime.
const PLACE_STEP: u64 = 389;

/// How many of a thousand packets each kind gets, in the order of [`Kind::ALL`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mix {
    places: [u16; 5],
}

impl Mix {
    /// A mix of these shares, or `None` if they do not add up to a thousand.
    #[must_use]
    pub fn new(places: [u16; 5]) -> Option<Self> {
        let sum: u32 = places.iter().copied().map(u32::from).sum();
        (sum == u32::from(PER_MILLE)).then_some(Self { places })
    }

    /// The share of one kind, per mille.
    #[must_use]
    pub fn per_mille(&self, kind: Kind) -> u16 {
        self.places[kind.index()]
    }

    fn kind(&self, sequence: u64) -> Kind {
        let per_mille = u64::from(PER_MILLE);
        let mut place = sequence % per_mille * PLACE_STEP % per_mille;
        for kind in Kind::ALL {
            let places = u64::from(self.per_mille(kind));
            if place < places {
                return kind;
            }
            place -= places;
        }
        unreachable!("new() gave away all thousand places")
    }
}

/// When packets are due: a constant rate, from the start to the last.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    rate_per_s: u64,
    count: u64,
}

impl Schedule {
    /// `rate_per_s` packets a second for so many seconds.
    #[must_use]
    pub fn constant(rate_per_s: u64, seconds: u64) -> Self {
        Self { rate_per_s, count: rate_per_s * seconds }
    }

    /// Packets in the whole run.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// When packet `sequence` is due, in nanoseconds after the start.
    #[must_use]
    pub fn due_ns(&self, sequence: u64) -> u64 {
        let ns = u128::from(sequence) * 1_000_000_000 / u128::from(self.rate_per_s);
        u64::try_from(ns).expect("a run lasts a day at most")
    }

    /// When the packet after the last would be due: the end of sending.
    #[must_use]
    pub fn end_ns(&self) -> u64 {
        self.due_ns(self.count)
    }
}

/// One packet, before it is built.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Plan {
    /// Its number in the run.
    pub sequence: u64,
    /// What shall become of it.
    pub kind: Kind,
    /// Index of its flow.
    pub flow: u16,
    /// Units of the sender's account.
    pub amount: u64,
    /// Bytes of data.
    pub data_len: usize,
    /// Time until its expiry, in milliseconds.
    pub expiry_ms: u64,
}

/// What packets look like, drawn from a seed.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// The seed of every draw.
    pub seed: u64,
    /// Shares of the kinds.
    pub mix: Mix,
    /// Amounts, in units of the sender's account.
    pub amount: RangeInclusive<u64>,
    /// Bytes of data.
    pub data_len: RangeInclusive<u64>,
    /// Milliseconds until expiry.
    pub expiry_ms: RangeInclusive<u64>,
    /// The same for packets whose receiver stays silent: the run waits for each of them.
    pub silent_expiry_ms: RangeInclusive<u64>,
    /// Sums of the flows' weights up to and with each of them.
    pub weights_up_to: Vec<u64>,
}

impl Traffic {
    /// The packet with this number.
    #[must_use]
    pub fn plan(&self, sequence: u64) -> Plan {
        let mut draws = Draws(mix(self.seed) ^ mix(!sequence));
        let kind = self.mix.kind(sequence);
        let expiry_ms =
            if kind == Kind::Expired { &self.silent_expiry_ms } else { &self.expiry_ms };
        Plan {
            sequence,
            kind,
            flow: self.flow(&mut draws),
            amount: draws.within(&self.amount),
            data_len: usize::try_from(draws.within(&self.data_len)).expect("at most 32,767"),
            expiry_ms: draws.within(expiry_ms),
        }
    }

    fn flow(&self, draws: &mut Draws) -> u16 {
        let total = self.weights_up_to.last().expect("a workload has a flow");
        let point = draws.within(&(0..=total - 1));
        let index = self.weights_up_to.partition_point(|&up_to| up_to <= point);
        u16::try_from(index).expect("flows are fewer than 2^16")
    }
}

/// A short sequence of even draws.
struct Draws(u64);

impl Draws {
    /// One of the range, ends included. The high half of a product: even to one in 2^64 / width.
    fn within(&mut self, range: &RangeInclusive<u64>) -> u64 {
        self.0 = mix(self.0);
        let width = u128::from(range.end() - range.start()) + 1;
        let offset = (u128::from(self.0) * width) >> 64;
        range.start() + u64::try_from(offset).expect("less than the width, so below 2^64")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(mix: [u16; 5], weights_up_to: Vec<u64>) -> Traffic {
        Traffic {
            seed: 42,
            mix: Mix::new(mix).unwrap(),
            amount: 5..=9,
            data_len: 32..=120,
            expiry_ms: 5_000..=30_000,
            silent_expiry_ms: 2_500..=2_500,
            weights_up_to,
        }
    }

    #[test]
    fn shares_are_exact_in_every_thousand_packets() {
        let shares = [899, 80, 10, 10, 1];
        let traffic = traffic(shares, vec![1]);
        for start in [0, 1, 777, 123_456_789] {
            let mut seen = [0; 5];
            for sequence in start..start + 1000 {
                seen[traffic.plan(sequence).kind.index()] += 1;
            }
            assert_eq!(seen, shares);
        }
    }

    #[test]
    fn a_mix_that_does_not_add_up_is_none() {
        assert!(Mix::new([999, 0, 0, 0, 0]).is_none());
        assert!(Mix::new([1000, 0, 0, 0, 1]).is_none());
        assert!(Mix::new([u16::MAX; 5]).is_none());
    }

    #[test]
    fn a_packet_depends_on_nothing_but_seed_and_number() {
        let traffic = traffic([1000, 0, 0, 0, 0], vec![1, 4]);
        let forwards: Vec<Plan> = (0..100).map(|sequence| traffic.plan(sequence)).collect();
        let backwards: Vec<Plan> = (0..100).rev().map(|sequence| traffic.plan(sequence)).collect();
        assert!(forwards.iter().eq(backwards.iter().rev()));
        let other = Traffic { seed: 43, ..traffic.clone() };
        assert!((0..100).any(|sequence| other.plan(sequence) != traffic.plan(sequence)));
    }

    #[test]
    fn draws_stay_in_their_ranges_and_reach_both_ends() {
        let traffic = traffic([500, 0, 500, 0, 0], vec![1, 4]);
        let plans: Vec<Plan> = (0..20_000).map(|sequence| traffic.plan(sequence)).collect();
        assert_eq!(plans.iter().map(|plan| plan.amount).min(), Some(5));
        assert_eq!(plans.iter().map(|plan| plan.amount).max(), Some(9));
        assert_eq!(plans.iter().map(|plan| plan.data_len).min(), Some(32));
        assert_eq!(plans.iter().map(|plan| plan.data_len).max(), Some(120));
        for plan in &plans {
            assert_eq!(plan.kind == Kind::Expired, plan.expiry_ms == 2_500);
        }
        let heavy = plans.iter().filter(|plan| plan.flow == 1).count();
        assert!((14_500..15_500).contains(&heavy), "{heavy} of 20,000 for three of four");
    }

    #[test]
    fn the_widest_range_is_drawn_without_overflow() {
        let mut draws = Draws(1);
        for _ in 0..100 {
            let _ = draws.within(&(0..=u64::MAX));
            assert_eq!(draws.within(&(u64::MAX..=u64::MAX)), u64::MAX);
        }
    }

    #[test]
    fn a_constant_rate_does_not_drift() {
        let schedule = Schedule::constant(3, 86_400);
        assert_eq!(schedule.due_ns(0), 0);
        assert_eq!(schedule.due_ns(1), 333_333_333);
        assert_eq!(schedule.due_ns(3), 1_000_000_000);
        assert_eq!(schedule.end_ns(), 86_400_000_000_000);
    }
}
