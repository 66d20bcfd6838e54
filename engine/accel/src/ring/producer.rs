//! The end that messages go in at.

use core::mem::MaybeUninit;
use core::sync::atomic::Ordering;

use super::{Place, Shared};
use crate::sync::Arc;

/// Puts messages in; one thread owns it.
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    /// Places pushed.
    tail: usize,
    /// Of these, published.
    published: usize,
    /// Places given back, when last looked at.
    head_seen: usize,
    /// Where the next packet may start, as an offset.
    bytes_tail: usize,
    /// Where the packet of place `head_seen` starts; without a meaning while there is none.
    bytes_head_seen: usize,
}

impl<T> core::fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Producer").field("tail", &self.tail).finish_non_exhaustive()
    }
}

impl<T> Producer<T> {
    pub(super) fn new(shared: Arc<Shared<T>>) -> Self {
        Self { shared, tail: 0, published: 0, head_seen: 0, bytes_tail: 0, bytes_head_seen: 0 }
    }

    /// Whether there is a place, and room for a packet of `len` bytes in one piece. Any packet that
    /// is not longer than the buffer will have room once the consumer has given everything back.
    #[inline]
    pub fn has_room(&mut self, len: usize) -> bool {
        self.fits(len) || {
            self.look();
            self.fits(len)
        }
    }

    /// Puts a message in, which the consumer does not see before [`Self::publish`].
    ///
    /// # Panics
    ///
    /// Without room: the caller asked [`Self::has_room`].
    #[inline]
    pub fn push(&mut self, item: T, packet: &[u8]) {
        assert!(self.fits(packet.len()), "no room was made sure of");
        let start = self.start_of(packet.len());
        if self.head_seen == self.tail {
            self.bytes_head_seen = start;
        }
        self.write(start, packet);
        let place = Place { item, start, len: packet.len() };
        self.shared.place(self.tail).with_mut(|cell| {
            // SAFETY: `fits` found `tail < head_seen + places`, so the consumer has given this place
            // back, and what it held was moved out.
            unsafe { cell.write(MaybeUninit::new(place)) };
        });
        self.tail += 1;
        self.bytes_tail = start + packet.len();
    }

    /// Shows the consumer all that was pushed since; whether there was any.
    #[inline]
    pub fn publish(&mut self) -> bool {
        if self.published == self.tail {
            return false;
        }
        self.published = self.tail;
        self.shared.tail.store(self.tail, Ordering::Release);
        true
    }

    /// Whether the consumer is gone: nobody will take what is pushed.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.shared.consumer_gone.load(Ordering::Acquire)
    }

    /// By what was last seen of the consumer; what it gives back meanwhile only makes more room.
    fn fits(&self, len: usize) -> bool {
        let start = self.start_of(len);
        // In an empty ring no byte is in use: a packet may begin anywhere.
        let oldest = if self.head_seen == self.tail { start } else { self.bytes_head_seen };
        let capacity = self.shared.bytes.len();
        self.tail - self.head_seen < self.shared.places.len()
            && len <= capacity
            && start + len - oldest <= capacity
    }

    /// Where a packet would stand: next, or at the start of the buffer if it would cross the end.
    fn start_of(&self, len: usize) -> usize {
        let rest = self.shared.bytes.len() - self.shared.index(self.bytes_tail);
        if len <= rest { self.bytes_tail } else { self.bytes_tail + rest }
    }

    #[cold]
    fn look(&mut self) {
        self.head_seen = self.shared.head.load(Ordering::Acquire);
        if self.head_seen < self.tail {
            self.bytes_head_seen = self.shared.place(self.head_seen).with(|place| {
                // SAFETY: we wrote this place, and write it again only when it was given back. The
                // consumer may read it meanwhile; a `start` is never written by it.
                unsafe { (&raw const (*(*place).as_ptr()).start).read() }
            });
        }
    }

    fn write(&mut self, start: usize, packet: &[u8]) {
        let (to, _lent) = self.shared.bytes.lend(self.shared.index(start), packet.len());
        // SAFETY: `lend` gave as many bytes as the packet has. They are ours: `fits` found them before
        // the oldest packet that was not given back, one lap on. The packet is none of them, as the
        // consumer lends its bytes to its own thread alone, until it gives them back.
        unsafe { to.cast::<u8>().copy_from_nonoverlapping(packet.as_ptr(), packet.len()) };
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        for count in self.published..self.tail {
            // SAFETY: it was pushed and never published, so it is still ours.
            drop(unsafe { self.shared.take(count) });
        }
        self.shared.producer_gone.store(true, Ordering::Release);
    }
}
