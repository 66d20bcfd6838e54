//! What a seed decides before anything happens, and what has happened in all.

use std::collections::BTreeMap;

use fastrand::Rng;
use m2_settlement::rows::Ending;

/// What a seed decides before anything happens.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) parties: usize,
    pub(crate) scales: [u8; 2],
    pub(crate) steps: u64,
    /// Blocks that were final vanish, once. What had ended by then has ended for us: so the channels' ends are
    /// not judged.
    pub(crate) deep: bool,
    pub(crate) ending: Ending,
    /// Somebody else has the key of the first party, too, and does with it whatever it can: what others have of
    /// it, and it of them, must be right on the chain.
    pub(crate) cheats: bool,
    pub(crate) fee_most: u128,
}

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        Self {
            parties: if seed % 4 == 3 { 3 } else { 2 },
            scales: [[9, 6], [6, 9], [6, 6], [2, 18], [9, 0]][rng.usize(..5)],
            steps: rng.u64(200..2_500),
            deep: seed % 8 == 6,
            ending: if rng.bool() { Ending::Together } else { Ending::Alone },
            cheats: seed % 5 == 4 && seed % 8 != 6,
            fee_most: if rng.bool() { 100_000 } else { 2_500 },
        }
    }
}

/// What has happened in all, so that a run in which nothing does is seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) keys_settled: usize,
    pub(crate) credits: usize,
    pub(crate) reversals: u64,
    pub(crate) crashes: u64,
    pub(crate) restarts_of_switches: u64,
    pub(crate) blocks_taken_back: u64,
    pub(crate) replaced: u64,
    pub(crate) lost: u64,
    pub(crate) closed_by_others: u64,
    pub(crate) agreed: u64,
    pub(crate) refused: BTreeMap<String, u64>,
    pub(crate) sent: u64,
    pub(crate) steps: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.keys_settled += other.keys_settled;
        self.credits += other.credits;
        self.reversals += other.reversals;
        self.crashes += other.crashes;
        self.restarts_of_switches += other.restarts_of_switches;
        self.blocks_taken_back += other.blocks_taken_back;
        self.replaced += other.replaced;
        self.lost += other.lost;
        self.closed_by_others += other.closed_by_others;
        self.agreed += other.agreed;
        self.sent += other.sent;
        self.steps += other.steps;
        for (reason, count) in &other.refused {
            *self.refused.entry(reason.clone()).or_default() += count;
        }
    }

    pub(crate) fn assert_everything_happened(&self) {
        let happened = [
            ("keys settled", self.keys_settled as u64),
            ("credits", self.credits as u64),
            ("reversals", self.reversals),
            ("crashes", self.crashes),
            ("switch restarts", self.restarts_of_switches),
            ("blocks taken back", self.blocks_taken_back),
            ("transactions replaced", self.replaced),
            ("nonces lost", self.lost),
            ("closes by others", self.closed_by_others),
            ("agreements", self.agreed),
        ];
        for (what, count) in happened {
            assert!(count > 0, "no {what} in all these seeds");
        }
        for reason in [
            "forged",
            "lower",
            "over_deposit",
            "unknown_channel",
            "wrong_chain",
            "wrong_contract",
            "agreed",
        ] {
            assert!(self.refused.contains_key(reason), "nothing was refused as {reason}");
        }
    }
}
