//! The end that messages come out at.

use core::sync::atomic::Ordering;

use super::Shared;
use crate::sync::{Arc, Lent};

/// Places that are given back together.
const RELEASE_CHUNK: usize = 32;

/// Takes messages out; one thread owns it.
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    /// Places popped.
    head: usize,
    /// Of these, given back.
    released: usize,
    /// Places published, when last looked at.
    tail_seen: usize,
    /// The bytes that the last `pop` gave out.
    lent: Lent,
}

impl<T> core::fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Consumer").field("head", &self.head).finish_non_exhaustive()
    }
}

impl<T> Consumer<T> {
    pub(super) fn new(shared: Arc<Shared<T>>) -> Self {
        Self { shared, head: 0, released: 0, tail_seen: 0, lent: Lent::nothing() }
    }

    /// Takes the oldest message, and its packet until the next call. What was popped before is given
    /// back in chunks of 32, and when there is no more.
    #[inline]
    pub fn pop(&mut self) -> Option<(T, &mut [u8])> {
        if self.head - self.released >= RELEASE_CHUNK {
            self.release();
        }
        if self.head == self.tail_seen && !self.look() {
            self.release();
            return None;
        }
        // SAFETY: `head < tail_seen`, so the place was published to us, and `head` goes on below:
        // nothing is moved out of it twice.
        let place = unsafe { self.shared.take(self.head) };
        self.head += 1;
        let start = self.shared.index(place.start);
        self.lent = Lent::nothing();
        let (packet, lent) = self.shared.bytes.lend(start, place.len);
        self.lent = lent;
        // SAFETY: these bytes came with the place and are ours until it is given back, for which a
        // method with `&mut self` has to be called: by then the borrow of this result has ended.
        Some((place.item, unsafe { &mut *packet }))
    }

    /// Gives back all that was popped, before a full chunk of it has come together.
    #[inline]
    pub fn release(&mut self) {
        self.lent = Lent::nothing();
        if self.released != self.head {
            self.released = self.head;
            self.shared.head.store(self.head, Ordering::Release);
        }
    }

    /// Whether nothing is there that [`Self::pop`] would give.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.head == self.tail_seen && self.head == self.shared.tail.load(Ordering::Acquire)
    }

    /// Whether the producer is gone. What it published before that can still be popped: ask first,
    /// then pop until there is nothing.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.shared.producer_gone.load(Ordering::Acquire)
    }

    /// Whether more was published.
    fn look(&mut self) -> bool {
        self.tail_seen = self.shared.tail.load(Ordering::Acquire);
        self.head != self.tail_seen
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        self.release();
        self.shared.consumer_gone.store(true, Ordering::Release);
    }
}
