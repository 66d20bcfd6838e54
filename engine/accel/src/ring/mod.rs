//! A ring from one shard to another: typed messages, and beside each the bytes of a packet.
//!
//! ```text
//!   producer                                     consumer
//!   push, push, push, then publish               pop, pop, pop, then release
//!
//!   places   | free | given out again | popped | published | pushed | free |
//!                                     head               tail
//!   bytes    | free | packet | packet | packet |  skipped  ||  packet | packet | free |
//!                                                          the buffer's end
//! ```
//!
//! Two counts are shared and nothing else is: `tail`, which the producer alone writes, says how many
//! places are published; `head`, which the consumer alone writes, how many it has given back. Both
//! count on for ever; a place stands at its count modulo the number of places, and so does each byte.
//! A packet stands in one piece: one that would cross the end of the buffer begins at its start.
//! Either end looks at the other's count only when what it knew of it no longer suffices, and tells
//! its own in chunks, so that the lines of memory that both want move seldom.
//!
//! Why two threads never use the same memory:
//!
//! - Places and bytes in `head..tail` are the consumer's, all others the producer's.
//! - The producer stores `tail` with Release after it wrote, and the consumer loads it with Acquire
//!   before it reads: a place changes hands with all that was written to it.
//! - The consumer stores `head` with Release after it has read, and the producer loads it with Acquire
//!   before it writes there again.
//! - There is one of each: neither is `Clone`, and what moves a count takes `&mut self`.
//!
//! The producer reads one thing in `head..tail`: where the packet of the oldest place starts, which it
//! wrote itself, and which the consumer only reads.

#![allow(unsafe_code)] // both ends use the same memory: see above

mod consumer;
mod producer;

use core::mem::MaybeUninit;
use core::sync::atomic::Ordering;

use crossbeam_utils::CachePadded;

pub use consumer::Consumer;
pub use producer::Producer;

use crate::sync::{Arc, AtomicBool, AtomicUsize, Bytes, UnsafeCell};

// Counts that go on for ever: at 2^32 bytes a second they last 136 years.
const _: () = assert!(usize::BITS >= 64);

/// What both ends share.
struct Shared<T> {
    /// Places that the producer has published.
    tail: CachePadded<AtomicUsize>,
    /// Places that the consumer has given back: `head <= tail <= head + places.len()`.
    head: CachePadded<AtomicUsize>,
    producer_gone: AtomicBool,
    consumer_gone: AtomicBool,
    places: Box<[UnsafeCell<MaybeUninit<Place<T>>>]>,
    bytes: Bytes,
}

/// A message, and where its packet stands.
struct Place<T> {
    item: T,
    /// Offset of the first byte, counted for ever.
    start: usize,
    len: usize,
}

// SAFETY: what is in a cell is used by one thread at a time (see the head of the file), and goes
// from one to the other, which `T: Send` permits. A shared reference to a `T` is never given out.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: as above; the last of both ends drops the items that are left.
unsafe impl<T: Send> Send for Shared<T> {}

/// Both ends of a ring with so many places, and so many bytes for packets. Nothing is allocated later.
///
/// # Panics
///
/// If one of the two is not a power of two.
#[must_use]
pub fn ring<T: Send>(places: usize, bytes: usize) -> (Producer<T>, Consumer<T>) {
    assert!(places.is_power_of_two() && bytes.is_power_of_two(), "{places} places, {bytes} bytes");
    let place = |_| UnsafeCell::new(MaybeUninit::uninit());
    let shared = Arc::new(Shared {
        tail: CachePadded::new(AtomicUsize::new(0)),
        head: CachePadded::new(AtomicUsize::new(0)),
        producer_gone: AtomicBool::new(false),
        consumer_gone: AtomicBool::new(false),
        places: (0..places).map(place).collect(),
        bytes: Bytes::new(bytes),
    });
    (Producer::new(Arc::clone(&shared)), Consumer::new(shared))
}

impl<T> Shared<T> {
    fn place(&self, count: usize) -> &UnsafeCell<MaybeUninit<Place<T>>> {
        &self.places[count & (self.places.len() - 1)]
    }

    /// The index of a byte in the buffer.
    fn index(&self, offset: usize) -> usize {
        offset & (self.bytes.len() - 1)
    }

    /// Moves what is in a place out of it.
    ///
    /// # Safety
    ///
    /// The place was written, nothing was moved out of it since, and the caller's thread owns it.
    #[inline]
    unsafe fn take(&self, count: usize) -> Place<T> {
        // SAFETY: the caller's.
        self.place(count).with(|place| unsafe { place.read().assume_init() })
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        for count in self.head.load(Ordering::Acquire)..self.tail.load(Ordering::Acquire) {
            // SAFETY: both ends are gone; the last count of each says which places were published and
            // not popped.
            drop(unsafe { self.take(count) });
        }
    }
}
