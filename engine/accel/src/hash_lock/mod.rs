//! The hash lock: which fulfillments open their conditions, checked together.
//!
//! ```text
//!   path             16 at once          what is left over        needs
//!   avx512+sha-ni    lanes of AVX-512    pairs on SHA-NI          both
//!   avx512           lanes of AVX-512    lanes, most of them idle AVX-512 F, BW, VL, DQ
//!   sha-ni           pairs on SHA-NI     one on SHA-NI            SHA-NI
//!   portable         one by one, by the crate `sha2`              nothing
//! ```
//!
//! The machine is asked once, when a [`HashLocks`] is made. Invariant: all paths give the same bits
//! for the same bytes, and every bit says that all 32 bytes of a condition are those of the digest.

#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(not(target_arch = "x86_64"))]
mod elsewhere;
mod portable;
mod sha256;
#[cfg(target_arch = "x86_64")]
mod sha_ni;

use core::fmt;

#[cfg(target_arch = "x86_64")]
use self::{
    avx512::{LANES, Lanes},
    sha_ni::Pairs,
};
#[cfg(not(target_arch = "x86_64"))]
use elsewhere::{LANES, Lanes, Pairs};

/// Most fulfillments in one call: one bit of the answer for each.
pub const OPENS_MAX: usize = 64;

/// Fewest for which 16 lanes are worth it beside SHA-NI. Lanes cost the same however many are idle:
/// as much as 10 to 16 fulfillments in pairs, by the machine.
const LANES_BEFORE_PAIRS_MIN: usize = LANES;

/// Fewest for which 16 lanes are worth it where there is no SHA-NI: one block without it costs more
/// than half of them.
const LANES_BEFORE_ONES_MIN: usize = 2;

/// How the work is done. The later, the quicker.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Path {
    /// One by one, on any machine.
    Portable,
    /// Pairs on SHA-NI.
    ShaNi,
    /// 16 lanes of AVX-512, also for what is left over.
    Avx512,
    /// 16 lanes of AVX-512, and pairs on SHA-NI for what is left over.
    Avx512ShaNi,
}

impl Path {
    /// Every path, the slowest first.
    pub const ALL: [Self; 4] = [Self::Portable, Self::ShaNi, Self::Avx512, Self::Avx512ShaNi];

    /// A word for logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::ShaNi => "sha-ni",
            Self::Avx512 => "avx512",
            Self::Avx512ShaNi => "avx512+sha-ni",
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Checks hash locks by the path that it was made for.
#[derive(Clone, Copy, Debug)]
pub struct HashLocks {
    path: Path,
    lanes: Option<Lanes>,
    pairs: Option<Pairs>,
}

impl HashLocks {
    /// By the quickest path that this machine has.
    #[must_use]
    pub fn detect() -> Self {
        Path::ALL
            .into_iter()
            .rev()
            .find_map(Self::with)
            .expect("every machine has the portable one")
    }

    /// By this path, if the machine has it. Tests and benches try each; a tool that does not know some
    /// instructions asks for [`Path::Portable`].
    #[must_use]
    pub fn with(path: Path) -> Option<Self> {
        let lanes = Lanes::detect().filter(|_| matches!(path, Path::Avx512 | Path::Avx512ShaNi));
        let pairs = Pairs::detect().filter(|_| matches!(path, Path::ShaNi | Path::Avx512ShaNi));
        let is_there = match path {
            Path::Portable => true,
            Path::ShaNi => pairs.is_some(),
            Path::Avx512 => lanes.is_some(),
            Path::Avx512ShaNi => lanes.is_some() && pairs.is_some(),
        };
        is_there.then_some(Self { path, lanes, pairs })
    }

    /// How this one works.
    #[must_use]
    pub fn path(&self) -> Path {
        self.path
    }

    /// Which fulfillments hash to their condition: bit `i` says that number `i` does. Bits past the
    /// last are 0.
    ///
    /// # Panics
    ///
    /// If there are not as many of both, or more than [`OPENS_MAX`].
    #[must_use]
    pub fn opens(&self, fulfillments: &[&[u8; 32]], conditions: &[&[u8; 32]]) -> u64 {
        assert_eq!(fulfillments.len(), conditions.len(), "a fulfillment without its condition");
        assert!(fulfillments.len() <= OPENS_MAX);
        let Some(lanes) = self.lanes else { return self.opens_singly(fulfillments, conditions) };
        let mut open = 0;
        let together = fulfillments.chunks(LANES).zip(conditions.chunks(LANES));
        for (index, (fulfillments, conditions)) in together.enumerate() {
            let bits = match fulfillments.len() >= self.lanes_min() {
                true => lanes.opens(fulfillments, conditions),
                false => self.opens_singly(fulfillments, conditions),
            };
            open |= bits << (index * LANES);
        }
        open
    }

    /// SHA-256 of one message of 32 bytes (FIPS 180-4).
    #[must_use]
    pub fn sha256(&self, message: &[u8; 32]) -> [u8; 32] {
        match self.pairs {
            Some(pairs) => pairs.sha256(message),
            None => portable::sha256(message),
        }
    }

    fn opens_singly(&self, fulfillments: &[&[u8; 32]], conditions: &[&[u8; 32]]) -> u64 {
        match self.pairs {
            Some(pairs) => pairs.opens(fulfillments, conditions),
            None => portable::opens(fulfillments, conditions),
        }
    }

    fn lanes_min(&self) -> usize {
        if self.pairs.is_some() { LANES_BEFORE_PAIRS_MIN } else { LANES_BEFORE_ONES_MIN }
    }
}
