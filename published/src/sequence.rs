//! The number that tells a reader whether what it has read was written meanwhile.
//!
//! Invariant: odd while its one writer writes; each writing raises it by two.

use std::sync::atomic::{AtomicU64, Ordering, fence};

/// See the head of the file.
#[derive(Debug, Default)]
pub(crate) struct Sequence(AtomicU64);

impl Sequence {
    /// From here on whoever has read a word of what is being written sees that it was.
    pub(crate) fn begin_write(&self) {
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(before.wrapping_add(1), Ordering::Relaxed);
        // Pairs with the fence of end_read(): a reader that has a word written below has this one, too.
        fence(Ordering::Release);
    }

    /// All of it is written.
    pub(crate) fn end_write(&self) {
        let before = self.0.load(Ordering::Relaxed);
        assert!(before & 1 == 1, "what ends has begun");
        self.0.store(before.wrapping_add(1), Ordering::Release);
    }

    /// What [`Self::end_read`] has to tell as well, unless it is being written now.
    pub(crate) fn begin_read(&self) -> Option<u64> {
        let seen = self.0.load(Ordering::Acquire);
        (seen & 1 == 0).then_some(seen)
    }

    /// How often it was written before the last word that was read.
    pub(crate) fn end_read(&self) -> u64 {
        // Pairs with the fence of begin_write().
        fence(Ordering::Acquire);
        self.0.load(Ordering::Relaxed)
    }
}
