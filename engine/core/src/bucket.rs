//! A token bucket: how much of something may pass per second, and at once.
//!
//! Tokens are counted in billionths (one nanosecond of a rate of one a second), so that refilling
//! is one multiplication and loses nothing. Nothing is ever given back: a packet that is rejected
//! later has still cost what it cost.
//!
//! Invariant: `level <= burst`, and over any span the tokens taken are at most
//! `burst + per_s x span`.

use crate::account::RateLimit;

const NS_PER_S: u128 = 1_000_000_000;

#[derive(Debug)]
pub(crate) struct Bucket {
    /// Billionths of a token that are there at `filled_at_ns`.
    level: u128,
    /// Billionths of a token that fit.
    burst: u128,
    /// Tokens a second, which is billionths of a token a nanosecond.
    per_s: u64,
    filled_at_ns: u64,
}

impl Bucket {
    pub(crate) fn new(limit: RateLimit, now_ns: u64) -> Self {
        let burst = u128::from(limit.burst) * NS_PER_S;
        Self { level: burst, burst, per_s: limit.per_s, filled_at_ns: now_ns }
    }

    /// Whether `count` tokens are there now. Changes no token.
    pub(crate) fn has(&mut self, count: u64, now_ns: u64) -> bool {
        let elapsed_ns = now_ns.saturating_sub(self.filled_at_ns);
        if elapsed_ns > 0 {
            let refill = u128::from(elapsed_ns) * u128::from(self.per_s);
            // Saturates only far above `burst`, to which it is cut.
            self.level = self.level.saturating_add(refill).min(self.burst);
            self.filled_at_ns = now_ns;
        }
        self.level >= u128::from(count) * NS_PER_S
    }

    /// Takes `count` tokens that [`Self::has`] has just found.
    pub(crate) fn take(&mut self, count: u64) {
        self.level -= u128::from(count) * NS_PER_S;
    }

    /// Takes `count` tokens if they are there.
    pub(crate) fn try_take(&mut self, count: u64, now_ns: u64) -> bool {
        let there = self.has(count, now_ns);
        if there {
            self.take(count);
        }
        there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: RateLimit = RateLimit { per_s: 10, burst: 3 };

    #[test]
    fn the_burst_passes_at_once_and_not_one_more() {
        let mut bucket = Bucket::new(LIMIT, 5);
        assert!((0..3).all(|_| bucket.try_take(1, 5)));
        assert!(!bucket.try_take(1, 5));
    }

    #[test]
    fn a_token_comes_back_at_its_very_nanosecond() {
        let mut bucket = Bucket::new(LIMIT, 0);
        assert!(bucket.try_take(3, 0));
        assert!(!bucket.try_take(1, 99_999_999));
        assert!(bucket.try_take(1, 100_000_000));
        assert!(!bucket.try_take(1, 199_999_999));
    }

    #[test]
    fn an_idle_year_fills_no_more_than_the_burst() {
        let mut bucket = Bucket::new(LIMIT, 0);
        let year_ns = 31_536_000 * 1_000_000_000;
        assert!(!bucket.has(4, year_ns));
        assert!(bucket.has(3, year_ns));
    }

    #[test]
    fn the_widest_limit_and_span_do_not_overflow() {
        let mut bucket = Bucket::new(RateLimit { per_s: u64::MAX, burst: u64::MAX }, 0);
        assert!(bucket.try_take(u64::MAX, 0));
        assert!(bucket.try_take(u64::MAX, u64::MAX / 2));
        let mut full = Bucket::new(RateLimit { per_s: u64::MAX, burst: u64::MAX }, 0);
        assert!(full.has(u64::MAX, u64::MAX));
    }

    #[test]
    fn a_clock_that_seems_to_go_back_gives_nothing() {
        let mut bucket = Bucket::new(LIMIT, 1_000_000_000);
        assert!(bucket.try_take(3, 1_000_000_000));
        assert!(!bucket.try_take(1, 0));
        assert!(!bucket.try_take(1, 1_000_000_001));
    }
}
