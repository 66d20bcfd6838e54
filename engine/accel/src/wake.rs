//! Who sleeps says so, and is woken by one of those who have something for it.
//!
//! ```text
//!   consumer                              producer
//!   begin_sleep:  sleeping = true         publish:        tail = n
//!                 ---- fence ----         take_sleeping:  ---- fence ----
//!   is_empty?     reads tail                              reads sleeping
//!   sleeps, if nothing came               wakes, if it was true and this took it
//! ```
//!
//! Each writes before its fence what the other reads behind its own. Fences stand in one order: whoever
//! comes second sees what the first has written. So either the consumer sees that its ring is not empty,
//! or the producer sees that it sleeps: no wake-up is lost. A producer that finds nobody asleep makes no
//! system call; that is most of them, under load all.

use core::sync::atomic::Ordering;

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicBool, fence};

/// Whether a consumer sleeps, or is about to.
#[derive(Debug)]
pub struct SleepFlag {
    sleeping: CachePadded<AtomicBool>,
}

impl Default for SleepFlag {
    fn default() -> Self {
        Self { sleeping: CachePadded::new(AtomicBool::new(false)) }
    }
}

impl SleepFlag {
    /// The consumer is about to sleep. It looks at each of its rings once more behind this, and only
    /// sleeps if all are empty.
    #[inline]
    pub fn begin_sleep(&self) {
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The consumer is awake, whoever woke it, or did not sleep at all. A producer may have taken the
    /// flag just before: a wake-up that comes late is to be put up with.
    #[inline]
    pub fn end_sleep(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// Asked by a producer behind its `publish`: whether it has to wake the consumer. Of several
    /// producers one hears so for each sleep.
    #[inline]
    #[must_use]
    pub fn take_sleeping(&self) -> bool {
        fence(Ordering::SeqCst);
        self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::Relaxed)
    }
}
