//! How long to rest after a failure: twice as long each time, with jitter, and never for ever.

use crate::event::Now;
use crate::limits::{REST_MS_MAX, REST_MS_MIN, URGENT_REST_MS_MAX};

/// A seeded source of jitter (SplitMix64): what is tried again by many does not come all at once, and a
/// simulation comes out the same.
#[derive(Clone, Debug)]
pub(crate) struct Jitter(pub(crate) u64);

impl Jitter {
    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// What was tried, and when it may be tried again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rest {
    failures: u32,
    until: Now,
}

impl Rest {
    /// Whether it may be tried.
    pub(crate) fn is_over(self, now: Now) -> bool {
        // A clock that was set back must not make a rest of minutes one of years.
        now >= self.until || self.until.0 - now.0 > REST_MS_MAX
    }

    /// It was tried, and failed: once more after between half of the rest and all of it.
    pub(crate) fn fail(&mut self, now: Now, jitter: &mut Jitter) {
        let longest = REST_MS_MIN.saturating_mul(1 << self.failures.min(20)).min(REST_MS_MAX);
        self.failures = self.failures.saturating_add(1);
        self.until = Now(now.0 + longest / 2 + jitter.below(longest / 2 + 1));
    }

    /// As [`Self::fail`], for what cannot wait for minutes.
    pub(crate) fn fail_urgent(&mut self, now: Now, jitter: &mut Jitter) {
        self.fail(now, jitter);
        self.until = Now(self
            .until
            .0
            .min(now.0 + URGENT_REST_MS_MAX - jitter.below(URGENT_REST_MS_MAX / 4)));
    }

    /// How often it has failed in a row.
    pub(crate) fn failures(self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_to_their_limit_and_differ() {
        let mut jitter = Jitter(7);
        let mut rest = Rest::default();
        let mut rests = Vec::new();
        for _ in 0..40 {
            rest.fail(Now(1_000), &mut jitter);
            let rested = rest.until.0 - 1_000;
            assert!(!rest.is_over(Now(1_000 + rested - 1)) && rest.is_over(Now(1_000 + rested)));
            rests.push(rested);
        }
        assert!((REST_MS_MIN / 2..=REST_MS_MIN).contains(&rests[0]));
        assert!(rests.iter().all(|rest| *rest <= REST_MS_MAX));
        assert!(rests[30..].iter().all(|rest| *rest >= REST_MS_MAX / 2));
        let mut others = rests[30..].to_vec();
        others.dedup();
        assert_eq!(others.len(), 10, "no two of the longest rests are alike");
    }

    #[test]
    fn a_clock_that_goes_back_ends_a_rest() {
        let mut rest = Rest::default();
        rest.fail(Now(10 * REST_MS_MAX), &mut Jitter(1));
        assert!(rest.is_over(Now(5)));
    }
}
