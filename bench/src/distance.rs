//! How far apart two cores are: how long a line of the cache takes from one to the other and back.
//!
//! The host of a virtual machine moves its cores as it likes. Where both share a third-level cache a round
//! trip takes some 100 ns, else some 400, seen in turns of seconds on one machine (AMD EPYC): what crosses
//! between threads costs four times as much then. That it is the cache is our reading of it; no counter tells. So a figure of two threads stands beside what the cores
//! were to each other in that moment.

use core::hint::spin_loop;
use core::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use crossbeam_utils::CachePadded;

use crate::alternate::pin_to;

/// Cores with a longer round trip are taken to share no cache: between the two kinds nothing was seen.
pub const NEAR_NS_MAX: f64 = 200.0;

const ROUNDS: u32 = 1_024;
/// Another thread may have had the core during one.
const TRIALS: usize = 4;

/// Nanoseconds of a round trip between the first two cores, now.
#[must_use]
pub fn round_trip_ns() -> f64 {
    (0..TRIALS).map(|_| trial_ns()).fold(f64::INFINITY, f64::min)
}

fn trial_ns() -> f64 {
    let (there, back) = (CachePadded::new(AtomicU64::new(0)), CachePadded::new(AtomicU64::new(0)));
    let wait_for = |word: &AtomicU64, round| {
        while word.load(Ordering::Acquire) != round {
            spin_loop();
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            pin_to(1);
            for round in 0..=u64::from(ROUNDS) {
                wait_for(&there, round + 1);
                back.store(round + 1, Ordering::Release);
            }
        });
        let asking = scope.spawn(|| {
            pin_to(0);
            // The first round waits for the other thread to begin.
            there.store(1, Ordering::Release);
            wait_for(&back, 1);
            let began = Instant::now();
            for round in 1..=u64::from(ROUNDS) {
                there.store(round + 1, Ordering::Release);
                wait_for(&back, round + 1);
            }
            began.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS)
        });
        asking.join().expect("it does not panic")
    })
}
