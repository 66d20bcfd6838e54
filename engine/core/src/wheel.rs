//! Deadlines of slots: a timing wheel of one-millisecond buckets, each a list through the slots.
//!
//! ```text
//!   buckets:  [ 0 ][ 1 ][ 2 ] ... [ 65535 ]        next/prev: one link pair a slot
//!               |         |
//!             slot 7    slot 3 <-> slot 9
//! ```
//!
//! A slot is linked and unlinked in constant time and in place, so a packet that is answered leaves
//! nothing behind, and no traffic can make the wheel grow. A bitmap of buckets that hold something
//! tells the next deadline without walking empty ones.
//!
//! Invariant: a slot is in at most one bucket; a bucket's tick is the first whole millisecond at or
//! after the deadline, so no slot comes out before it is due.

use crate::limits::HOLD_MS_MAX;

const BUCKETS: usize = 1 << 16;
const NS_PER_TICK: u64 = 1_000_000;
/// No slot.
const NIL: u32 = u32::MAX;

// A deadline is never a full turn away, so a bucket holds slots of one tick alone.
const _: () = assert!((HOLD_MS_MAX as usize) + 2 < BUCKETS);

#[derive(Clone, Copy, Debug)]
struct Links {
    next: u32,
    prev: u32,
    /// `NIL` as u32 when in no bucket.
    bucket: u32,
}

const UNLINKED: Links = Links { next: NIL, prev: NIL, bucket: NIL };

#[derive(Debug)]
pub(crate) struct Wheel {
    heads: Vec<u32>,
    /// One bit a bucket: it has a slot.
    occupied: Vec<u64>,
    links: Vec<Links>,
    /// Every tick before this one has been taken out.
    tick: u64,
    linked_count: usize,
}

impl Wheel {
    pub(crate) fn new(slot_count: usize, now_ns: u64) -> Self {
        Self {
            heads: vec![NIL; BUCKETS],
            occupied: vec![0; BUCKETS / 64],
            links: vec![UNLINKED; slot_count],
            tick: now_ns / NS_PER_TICK,
            linked_count: 0,
        }
    }

    /// Notes that `slot` is due at `deadline_ns`, less than a turn from the last `take_due`.
    pub(crate) fn insert(&mut self, slot: u32, deadline_ns: u64) {
        let tick = deadline_ns.div_ceil(NS_PER_TICK).max(self.tick);
        assert!(tick - self.tick < BUCKETS as u64, "holds are shorter than a turn of the wheel");
        let bucket = Self::bucket_of(tick);
        let head = self.heads[bucket as usize];
        let links = &mut self.links[slot as usize];
        assert!(links.bucket == NIL, "a slot has one deadline");
        *links = Links { next: head, prev: NIL, bucket };
        if head != NIL {
            self.links[head as usize].prev = slot;
        }
        self.heads[bucket as usize] = slot;
        self.occupied[bucket as usize / 64] |= 1 << (bucket % 64);
        self.linked_count += 1;
    }

    /// Forgets the deadline of `slot`.
    pub(crate) fn remove(&mut self, slot: u32) {
        let links = core::mem::replace(&mut self.links[slot as usize], UNLINKED);
        assert!(links.bucket != NIL, "only a slot with a deadline is removed");
        if links.next != NIL {
            self.links[links.next as usize].prev = links.prev;
        }
        if links.prev == NIL {
            self.heads[links.bucket as usize] = links.next;
            if links.next == NIL {
                self.occupied[links.bucket as usize / 64] &= !(1 << (links.bucket % 64));
            }
        } else {
            self.links[links.prev as usize].next = links.next;
        }
        self.linked_count -= 1;
    }

    /// Takes out one slot whose deadline has passed; `None` when there is no more.
    pub(crate) fn take_due(&mut self, now_ns: u64) -> Option<u32> {
        let now_tick = now_ns / NS_PER_TICK;
        if self.linked_count == 0 {
            self.tick = self.tick.max(now_tick);
            return None;
        }
        let next = self.next_tick()?;
        if next > now_tick {
            self.tick = self.tick.max(now_tick);
            return None;
        }
        self.tick = next;
        let slot = self.heads[Self::bucket_of(next) as usize];
        self.remove(slot);
        Some(slot)
    }

    /// When the next slot comes out, if any.
    pub(crate) fn next_deadline_ns(&self) -> Option<u64> {
        Some(self.next_tick()? * NS_PER_TICK)
    }

    /// The first tick from `self.tick` on whose bucket holds something.
    fn next_tick(&self) -> Option<u64> {
        if self.linked_count == 0 {
            return None;
        }
        let start = Self::bucket_of(self.tick);
        let words = self.occupied.len();
        let (first, bit) = (start as usize / 64, start % 64);
        // One word more than there are: the bits of the first word below `start` come last.
        for step in 0..=words {
            let index = (first + step) % words;
            let mut word = self.occupied[index];
            if step == 0 {
                word &= u64::MAX << bit;
            }
            if word != 0 {
                let bucket = index as u64 * 64 + u64::from(word.trailing_zeros());
                let ahead = (bucket + BUCKETS as u64 - u64::from(start)) % BUCKETS as u64;
                return Some(self.tick + ahead);
            }
        }
        None
    }

    #[expect(clippy::cast_possible_truncation, reason = "the remainder of 65536 fits")]
    fn bucket_of(tick: u64) -> u32 {
        (tick % BUCKETS as u64) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = NS_PER_TICK;

    #[test]
    fn nothing_comes_out_before_it_is_due_nor_later_than_its_millisecond() {
        let mut wheel = Wheel::new(4, 10 * MS);
        wheel.insert(0, 12 * MS + 1);
        wheel.insert(1, 12 * MS);
        assert_eq!(wheel.next_deadline_ns(), Some(12 * MS));
        assert_eq!(wheel.take_due(12 * MS - 1), None);
        assert_eq!(wheel.take_due(12 * MS), Some(1));
        assert_eq!(wheel.take_due(12 * MS + 1), None);
        assert_eq!(wheel.take_due(13 * MS), Some(0));
        assert_eq!(wheel.next_deadline_ns(), None);
    }

    #[test]
    fn a_deadline_already_past_comes_out_at_once() {
        let mut wheel = Wheel::new(1, 0);
        assert_eq!(wheel.take_due(100 * MS), None);
        wheel.insert(0, 50 * MS);
        assert_eq!(wheel.take_due(100 * MS), Some(0));
    }

    proptest! {
        /// Against a plain list: same slots out, none early, in any order of steps.
        #[test]
        fn the_wheel_does_what_a_list_would(
            start in 0..1_u64 << 40,
            steps in prop::collection::vec((0_u8..4, 0_u32..32, 0..61_000_u64), 1..200),
        ) {
            let mut now = start;
            let mut wheel = Wheel::new(32, now);
            let mut list: Vec<(u32, u64)> = Vec::new();
            for (kind, slot, span_ms) in steps {
                let linked = list.iter().any(|entry| entry.0 == slot);
                match kind {
                    0 | 1 if !linked => {
                        let deadline = now + span_ms * MS - span_ms.min(now % MS);
                        wheel.insert(slot, deadline);
                        list.push((slot, deadline));
                    }
                    2 if linked => {
                        wheel.remove(slot);
                        list.retain(|entry| entry.0 != slot);
                    }
                    3 => {
                        now += span_ms * MS / 16;
                        while let Some(slot) = wheel.take_due(now) {
                            let at = list.iter().position(|entry| entry.0 == slot).unwrap();
                            prop_assert!(list.swap_remove(at).1 <= now);
                        }
                        let tick_start = now / MS * MS;
                        prop_assert!(list.iter().all(|entry| entry.1 > tick_start));
                    }
                    _ => {}
                }
            }
        }
    }
}
