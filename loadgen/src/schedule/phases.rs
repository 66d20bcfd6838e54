//! Rates that change, and packets that come by chance: positions on the axis of expected packets,
//! and the moment at which the expected count reaches each.
//!
//! ```text
//!  expected     phase 0: constant       phase 1: a ramp        phase 2: constant
//!  count  |                                              ___---
//!         |                                  ..--^^^^^^^^
//!         |    ____-----'''''^^^^^^^....''''
//!         +------------------------------------------------------> time
//!  constant   packet n stands at n
//!  poisson    packets stand at N points drawn evenly from 0 to the whole expected count
//! ```
//!
//! Points drawn evenly and then put in order are a Poisson process whose count is known: times
//! between packets are as by chance, and how many packets a run has does not depend on luck. They are
//! drawn in order, each from what the one before it left: of `m` points in a length `r`, the first
//! stands at `r (1 - v^(1/m))`, for an even `v` from 0 to 1.
//!
//! Times are f64 here, good for a nanosecond in a run of a day.

use super::Phase;
use crate::traffic::even;

/// Nanoseconds of a second.
const NS: f64 = 1e9;

/// Which draw of a packet is its time; the others are its properties.
const TIME_DRAW: u64 = 7;

/// Times of packets, in order.
#[derive(Clone, Debug)]
pub(super) struct Phased {
    pieces: Vec<Piece>,
    /// Index of the piece that the last position was in.
    current: usize,
    by_chance: Option<ByChance>,
}

/// A phase as a piece of the curve of expected packets.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start_ns: f64,
    /// Expected packets before it, and with it.
    from: f64,
    to: f64,
    /// Packets a second at its start, and what that grows by in a second.
    rate: f64,
    slope: f64,
}

/// Points drawn evenly, in order.
#[derive(Clone, Copy, Debug)]
struct ByChance {
    seed: u64,
    /// Where the last point stands, how far it is from there to the end, and how many are to come.
    at: f64,
    left: f64,
    points: u64,
}

impl Phased {
    /// The times of phases whose packets come evenly, or by chance under a seed.
    pub(super) fn new(phases: &[Phase], count: u64, chance_seed: Option<u64>) -> Self {
        let mut pieces = Vec::with_capacity(phases.len());
        let (mut start_s, mut from) = (0, 0.0);
        for phase in phases {
            let piece = Piece::new(phase, start_s, from);
            start_s += phase.seconds;
            from = piece.to;
            pieces.push(piece);
        }
        let by_chance =
            chance_seed.map(|seed| ByChance { seed, at: 0.0, left: from, points: count });
        Self { pieces, current: 0, by_chance }
    }

    /// When the packet with this number is due, in nanoseconds. Asked once for each, in order.
    pub(super) fn due_ns(&mut self, sequence: u64) -> u64 {
        let at = match &mut self.by_chance {
            None => real(sequence),
            Some(points) => points.next(sequence),
        };
        while at >= self.pieces[self.current].to && self.current + 1 < self.pieces.len() {
            self.current += 1;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a day is 2^47 ns
        let due_ns = self.pieces[self.current].time_ns(at) as u64;
        due_ns
    }
}

impl Piece {
    fn new(phase: &Phase, start_s: u64, from: f64) -> Self {
        let (rate, to_rate, seconds) =
            (real(phase.rate_per_s), real(phase.to_rate_per_s), real(phase.seconds));
        let to = from + (rate + to_rate) / 2.0 * seconds;
        Self { start_ns: real(start_s) * NS, from, to, rate, slope: (to_rate - rate) / seconds }
    }

    /// When `rate t + slope t^2 / 2` packets of it are due. In this form of the root nothing
    /// cancels, also where the slope is 0 or the curve flat at its start.
    fn time_ns(&self, at: f64) -> f64 {
        let packets = at - self.from;
        if packets <= 0.0 {
            return self.start_ns;
        }
        let end_rate = (self.rate * self.rate + 2.0 * self.slope * packets).max(0.0).sqrt();
        self.start_ns + 2.0 * packets / (self.rate + end_rate) * NS
    }
}

impl ByChance {
    fn next(&mut self, sequence: u64) -> f64 {
        let exponent = even(self.seed, sequence, TIME_DRAW).ln() / real(self.points.max(1));
        let gap = self.left * -exponent.exp_m1();
        self.points = self.points.saturating_sub(1);
        self.left -= gap;
        self.at += gap;
        self.at
    }
}

#[expect(clippy::cast_precision_loss, reason = "packets and nanoseconds of a run are below 2^53")]
const fn real(count: u64) -> f64 {
    count as f64
}
