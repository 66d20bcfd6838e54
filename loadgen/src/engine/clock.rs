//! Both clocks from one reading: a step of the wall clock during a run changes no packet. Who serves
//! many runs reads the wall clock again now and then.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// One reading of the clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Nanoseconds since the start.
    pub(super) ns: u64,
    /// Milliseconds since 1970.
    pub(super) utc_ms: u64,
}

#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
    start_utc_ns: u64,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { start: Instant::now(), start_utc_ns: utc_ns() }
    }

    /// Goes by the wall clock as it is now; the time since the start stays what it is.
    pub(super) fn read_wall_clock(&mut self) {
        self.start_utc_ns = utc_ns().saturating_sub(self.now().ns);
    }

    pub(super) fn now(&self) -> Now {
        let ns = u64::try_from(self.start.elapsed().as_nanos()).expect("less than 584 years");
        Now { ns, utc_ms: (self.start_utc_ns + ns) / 1_000_000 }
    }
}

fn utc_ns() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_nanos()).expect("before the year 2554")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_is_read_again_and_the_time_since_the_start_is_not() {
        let mut clock = Clock::start();
        let right = clock.now().utc_ms;
        // As if the wall clock had been set by an hour since.
        clock.start_utc_ns -= 3_600_000_000_000;
        let ns = clock.now().ns;
        assert!(clock.now().utc_ms < right);
        clock.read_wall_clock();
        assert!(clock.now().utc_ms >= right && clock.now().utc_ms < right + 60_000);
        assert!(clock.now().ns >= ns);
    }
}
