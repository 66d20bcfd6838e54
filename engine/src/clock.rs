//! The two clocks, read together.

use m2_core::Now;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds in a millisecond.
pub(crate) const NS_PER_MS: u64 = 1_000_000;
/// Nanoseconds in a second.
pub(crate) const NS_PER_S: u64 = 1_000_000_000;

/// This moment on both clocks.
pub(crate) fn now() -> Now {
    Now { utc_ms: ns(clock_gettime(ClockId::Realtime)) / NS_PER_MS, mono_ns: mono_ns() }
}

/// This moment on the clock that never steps.
pub(crate) fn mono_ns() -> u64 {
    ns(clock_gettime(ClockId::Monotonic))
}

/// What this thread has computed, in user and kernel together.
pub(crate) fn thread_cpu_ns() -> u64 {
    ns(clock_gettime(ClockId::ThreadCPUTime))
}

/// A span for a system call.
pub(crate) fn timespec(ns: u64) -> Timespec {
    let seconds = i64::try_from(ns / NS_PER_S).unwrap_or(i64::MAX);
    Timespec { tv_sec: seconds, tv_nsec: (ns % NS_PER_S).cast_signed() }
}

fn ns(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).expect("both clocks are past their zero");
    let ns = u64::try_from(time.tv_nsec).expect("the part of a second is not negative");
    seconds * NS_PER_S + ns
}
