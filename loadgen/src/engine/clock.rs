//! Both clocks from one reading: a step of the wall clock during a run changes no packet.

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
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let start_utc_ns = u64::try_from(since_1970.as_nanos()).expect("before the year 2554");
        Self { start: Instant::now(), start_utc_ns }
    }

    pub(super) fn now(&self) -> Now {
        let ns = u64::try_from(self.start.elapsed().as_nanos()).expect("less than 584 years");
        Now { ns, utc_ms: (self.start_utc_ns + ns) / 1_000_000 }
    }
}
