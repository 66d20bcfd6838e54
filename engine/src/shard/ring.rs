//! Stand-in for the ring between cores: the same calls over rtrb, one allocation a packet.

use std::sync::atomic::{AtomicBool, Ordering, fence};

pub(crate) fn ring<T>(places: usize, bytes: usize) -> (Producer<T>, Consumer<T>) {
    let (items, taken) = rtrb::RingBuffer::new(places);
    let (free, freed) = rtrb::RingBuffer::new(places);
    let producer = Producer { items, freed, staged: Vec::new(), room: bytes, places };
    (producer, Consumer { taken, free, popped: None, used: Vec::new() })
}

#[derive(Debug)]
pub(crate) struct Producer<T> {
    items: rtrb::Producer<(T, Vec<u8>)>,
    freed: rtrb::Consumer<usize>,
    staged: Vec<(T, Vec<u8>)>,
    room: usize,
    places: usize,
}

#[derive(Debug)]
pub(crate) struct Consumer<T> {
    taken: rtrb::Consumer<(T, Vec<u8>)>,
    free: rtrb::Producer<usize>,
    popped: Option<Vec<u8>>,
    used: Vec<usize>,
}

impl<T> Producer<T> {
    pub(crate) fn has_room(&mut self, len: usize) -> bool {
        while let Ok(len) = self.freed.pop() {
            self.room += len;
            self.places += 1;
        }
        self.places > 0 && self.room >= len
    }

    pub(crate) fn push(&mut self, item: T, bytes: &[u8]) {
        assert!(self.has_room(bytes.len()), "there is room");
        self.room -= bytes.len();
        self.places -= 1;
        self.staged.push((item, bytes.to_vec()));
    }

    pub(crate) fn publish(&mut self) -> bool {
        let any = !self.staged.is_empty();
        for item in self.staged.drain(..) {
            assert!(self.items.push(item).is_ok(), "there was room");
        }
        any
    }
}

impl<T> Consumer<T> {
    pub(crate) fn pop(&mut self) -> Option<(T, &mut [u8])> {
        let (item, bytes) = self.taken.pop().ok()?;
        self.used.push(bytes.len());
        Some((item, &mut self.popped.insert(bytes)[..]))
    }

    pub(crate) fn release(&mut self) {
        for len in self.used.drain(..) {
            self.free.push(len).expect("as many as places");
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }
}

#[derive(Debug, Default)]
pub(crate) struct SleepFlag(AtomicBool);

impl SleepFlag {
    pub(crate) fn begin_sleep(&self) {
        self.0.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    pub(crate) fn end_sleep(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    pub(crate) fn take_sleeping(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::AcqRel)
    }
}
