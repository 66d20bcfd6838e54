//! CPU time: the generator's own, and how that of any process divides.
//!
//! The sum of user and kernel time is exact to the nanosecond; how it divides comes from
//! `/proc/self/stat`, which counts in ticks of usually 10 ms. A part without a tick is 0, also where
//! both are: then only the sum is known.

use rustix::time::{ClockId, clock_gettime};

/// CPU time of a process so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTime {
    total_us: u64,
    user_ticks: u64,
    system_ticks: u64,
}

/// CPU time between two moments, in microseconds. The parts are estimates, the sum is none.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Spent {
    /// In its own code and in the kernel.
    pub total_us: u64,
    /// In its own code, as far as it was told.
    pub user_us: u64,
    /// In the kernel, as far as it was told.
    pub system_us: u64,
}

impl CpuTime {
    /// That of this process now, or `None` where `/proc` is not to be read.
    #[must_use]
    pub fn now() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        Self::of(us_of(ClockId::ProcessCPUTime)?, &stat)
    }

    /// That of the calling thread now, or `None` where `/proc` is not to be read.
    #[must_use]
    pub fn of_thread() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").ok()?;
        Self::of(us_of(ClockId::ThreadCPUTime)?, &stat)
    }

    /// An exact sum, and a `stat` of `/proc` that says how it divides.
    pub(crate) fn of(total_us: u64, stat: &str) -> Option<Self> {
        let (user_ticks, system_ticks) = ticks(stat)?;
        Some(Self { total_us, user_ticks, system_ticks })
    }

    /// What was added since an earlier moment, to be divided later.
    #[must_use]
    pub fn less(&self, earlier: &Self) -> Self {
        Self {
            total_us: self.total_us.saturating_sub(earlier.total_us),
            user_ticks: self.user_ticks.saturating_sub(earlier.user_ticks),
            system_ticks: self.system_ticks.saturating_sub(earlier.system_ticks),
        }
    }

    /// CPU time since an earlier moment.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Spent {
        let total_us = self.total_us.saturating_sub(earlier.total_us);
        let user = u128::from(self.user_ticks.saturating_sub(earlier.user_ticks));
        let system = u128::from(self.system_ticks.saturating_sub(earlier.system_ticks));
        let part_us = |ticks| {
            let us = u128::from(total_us) * ticks / (user + system).max(1);
            u64::try_from(us).expect("a part of total_us")
        };
        let user_us = part_us(user);
        // What rounding left goes to the kernel, if it has a tick.
        let system_us = if system > 0 { total_us - user_us } else { 0 };
        Spent { total_us, user_us, system_us }
    }
}

/// A clock that counts from 0, in microseconds.
fn us_of(clock: ClockId) -> Option<u64> {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).ok()?;
    Some(seconds * 1_000_000 + u64::try_from(time.tv_nsec).ok()? / 1_000)
}

/// User and kernel ticks: the 12th and 13th field behind the name, which may hold spaces and
/// brackets and ends with the last bracket.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "7 (a) b (c)) R 1 7 7 0 -1 4194304 95 0 0 0 123 45 0 0 20 0 1 0 99";
        assert_eq!(ticks(stat), Some((123, 45)));
        assert_eq!(ticks("nothing"), None);
    }

    #[test]
    fn the_parts_add_up_to_the_exact_total_unless_no_tick_was_seen() {
        let at =
            |total_us, user_ticks, system_ticks| CpuTime { total_us, user_ticks, system_ticks };
        let spent = |total_us, user_us, system_us| Spent { total_us, user_us, system_us };
        assert_eq!(at(1_000, 3, 4).since(&at(0, 1, 0)), spent(1_000, 333, 667));
        assert_eq!(at(1_000, 1, 2).since(&at(0, 1, 0)), spent(1_000, 0, 1_000));
        assert_eq!(at(1_000, 2, 0).since(&at(0, 1, 0)), spent(1_000, 1_000, 0));
        assert_eq!(at(1_000, 1, 0).since(&at(0, 1, 0)), spent(1_000, 0, 0));
    }

    #[test]
    fn this_process_has_used_some() {
        assert!(CpuTime::now().is_some_and(|time| time.total_us > 0));
    }
}
