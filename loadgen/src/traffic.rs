//! What a packet looks like: a pure function of the workload and the packet's number.
//!
//! Each property is drawn from the seed and the number alone, so that a run can be repeated, and a
//! later packet does not depend on how many came before it.
//!
//! Shares are kept exactly, not on average: of every thousand packets each kind gets its number
//! of places, spread by a step that has no divisor in common with a thousand.
//!
//! This runs for every packet: tables and multiplications, no allocation and no search.

mod alias;
mod amounts;
mod draw;
mod spans;

pub use alias::Alias;
pub use amounts::Amounts;
pub use draw::Span;
pub use spans::Spans;

use crate::payload::{Header, Kind};
use draw::Draws;
pub(crate) use draw::even;

/// Places that a mix has to give away.
pub const PER_MILLE: u16 = 1000;

const PLACES: usize = PER_MILLE as usize;

/// Visits each of a thousand places once before any of them twice: 389 is prime.
const PLACE_STEP: usize = 389;

/// How many of a thousand packets each kind gets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mix {
    shares: [u16; 5],
    /// The kind of each of a thousand packets, in the order they are sent in.
    kinds: Box<[Kind; PLACES]>,
}

impl Mix {
    /// A mix of these shares, in the order of [`Kind::ALL`], or `None` if they do not add up to a
    /// thousand.
    #[must_use]
    pub fn new(shares: [u16; 5]) -> Option<Self> {
        let sum: u32 = shares.iter().copied().map(u32::from).sum();
        (sum == u32::from(PER_MILLE)).then_some(())?;
        let given = Kind::ALL.into_iter().zip(shares);
        let mut sequence = 0;
        let mut kinds = Box::new([Kind::Fulfilled; PLACES]);
        for kind in given.flat_map(|(kind, share)| std::iter::repeat_n(kind, usize::from(share))) {
            // The packet whose turn it is at this place.
            kinds[sequence] = kind;
            sequence = (sequence + INVERSE_STEP) % PLACES;
        }
        Some(Self { shares, kinds })
    }

    /// The share of one kind, per mille.
    #[must_use]
    pub fn per_mille(&self, kind: Kind) -> u16 {
        self.shares[kind.index()]
    }

    fn kind(&self, sequence: u64) -> Kind {
        self.kinds[usize::try_from(sequence % PLACES as u64).expect("below a thousand")]
    }
}

/// The packets whose places lie side by side are so many apart.
const INVERSE_STEP: usize = {
    let mut step = 0;
    while step * PLACE_STEP % PLACES != 1 {
        step += 1;
    }
    step
};

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
    /// Which of its receiver's addresses it goes to.
    pub destination: u32,
}

impl Plan {
    /// What its data begins with.
    #[inline]
    #[must_use]
    pub fn header(&self, run: u32, expires_at_ms: u64) -> Header {
        let Self { kind, flow, sequence, amount, .. } = *self;
        Header { kind, flow, run, sequence, amount, expires_at_ms }
    }
}

/// What packets look like, drawn from a seed.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// The seed of every draw.
    pub seed: u64,
    /// Shares of the kinds.
    pub mix: Mix,
    /// Amounts, in units of the sender's account.
    pub amount: Amounts,
    /// Bytes of data.
    pub data_len: Span,
    /// Milliseconds until expiry.
    pub expiry_ms: Spans,
    /// The same for packets whose receiver stays silent: the run waits for each of them.
    pub silent_expiry_ms: Spans,
    /// The flows by their weights.
    pub flows: Alias,
    /// A receiver's addresses by how often each is sent to: the same for every receiver.
    pub destinations: Alias,
}

impl Traffic {
    /// The packet with this number.
    #[inline]
    #[must_use]
    pub fn plan(&self, sequence: u64) -> Plan {
        let draws = Draws::new(self.seed, sequence);
        let kind = self.mix.kind(sequence);
        let expiry_ms =
            if kind == Kind::Expired { &self.silent_expiry_ms } else { &self.expiry_ms };
        let (of_flow, of_destination) = draws.halves(0);
        let (of_data, of_amount) = draws.halves(1);
        let (of_expiry, of_expiry_range) = draws.halves(3);
        #[expect(clippy::cast_possible_truncation, reason = "flows are fewer than 2^16")]
        let flow = self.flows.at(of_flow) as u16;
        Plan {
            sequence,
            kind,
            flow,
            amount: self.amount.at(draws.draw(2), of_amount),
            data_len: usize::try_from(self.data_len.at_half(of_data)).expect("at most 32,767"),
            expiry_ms: expiry_ms.at(of_expiry_range, of_expiry),
            destination: self.destinations.at(of_destination),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(mix: [u16; 5], weights: &[u64]) -> Traffic {
        let span = |least, most| Span::new(&(least..=most)).unwrap();
        Traffic {
            seed: 42,
            mix: Mix::new(mix).unwrap(),
            amount: Amounts::even(span(5, 9)),
            data_len: span(32, 120),
            expiry_ms: Spans::one(span(5_000, 30_000)),
            silent_expiry_ms: Spans::one(span(2_500, 2_500)),
            flows: Alias::new(weights).unwrap(),
            destinations: Alias::new(&[1; 10]).unwrap(),
        }
    }

    #[test]
    fn shares_are_exact_in_every_thousand_packets() {
        let shares = [899, 80, 10, 10, 1];
        let traffic = traffic(shares, &[1]);
        for start in [0, 1, 777, 123_456_789] {
            let mut seen = [0; 5];
            for sequence in start..start + 1000 {
                seen[traffic.plan(sequence).kind.index()] += 1;
            }
            assert_eq!(seen, shares);
        }
    }

    #[test]
    fn kinds_are_spread_over_the_thousand() {
        let mix = Mix::new([900, 100, 0, 0, 0]).unwrap();
        for start in 0..1000 {
            let of_fifty = (start..start + 50).filter(|n| mix.kind(*n) == Kind::Rejected).count();
            assert!((2..=8).contains(&of_fifty), "{of_fifty} of 50 from {start}");
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
        let traffic = traffic([1000, 0, 0, 0, 0], &[1, 4]);
        let forwards: Vec<Plan> = (0..100).map(|sequence| traffic.plan(sequence)).collect();
        let backwards: Vec<Plan> = (0..100).rev().map(|sequence| traffic.plan(sequence)).collect();
        assert!(forwards.iter().eq(backwards.iter().rev()));
        let other = Traffic { seed: 43, ..traffic.clone() };
        assert!((0..100).any(|sequence| other.plan(sequence) != traffic.plan(sequence)));
    }

    #[test]
    fn draws_stay_in_their_ranges_and_reach_both_ends() {
        let traffic = traffic([500, 0, 500, 0, 0], &[1, 4]);
        let plans: Vec<Plan> = (0..20_000).map(|sequence| traffic.plan(sequence)).collect();
        assert_eq!(plans.iter().map(|plan| plan.amount).min(), Some(5));
        assert_eq!(plans.iter().map(|plan| plan.amount).max(), Some(9));
        assert_eq!(plans.iter().map(|plan| plan.data_len).min(), Some(32));
        assert_eq!(plans.iter().map(|plan| plan.data_len).max(), Some(120));
        for plan in &plans {
            assert_eq!(plan.kind == Kind::Expired, plan.expiry_ms == 2_500);
        }
        let heavy = plans.iter().filter(|plan| plan.flow == 1).count();
        assert!((15_500..16_500).contains(&heavy), "{heavy} of 20,000 for four of five");
    }

    /// What is drawn from two halves of one draw, or from two draws, has nothing in common.
    #[test]
    fn the_properties_of_a_packet_are_independent() {
        let traffic = traffic([1000, 0, 0, 0, 0], &[1, 1]);
        let plans: Vec<Plan> = (0..40_000).map(|sequence| traffic.plan(sequence)).collect();
        let properties: [fn(&Plan) -> bool; 5] = [
            |plan| plan.destination > 4,
            |plan| plan.flow == 1,
            |plan| plan.amount > 7,
            |plan| plan.data_len > 76,
            |plan| plan.expiry_ms > 17_500,
        ];
        let share = |has: &dyn Fn(&Plan) -> bool| {
            plans.iter().filter(|plan| has(plan)).count() as f64 / plans.len() as f64
        };
        for (index, one) in properties.iter().enumerate() {
            for other in &properties[index + 1..] {
                let expected = share(one) * share(other);
                let both = share(&|plan| one(plan) && other(plan));
                assert!((both - expected).abs() < 0.01, "{both} and not {expected}");
            }
        }
    }
}
