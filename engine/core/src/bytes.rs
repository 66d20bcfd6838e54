//! Packets in the order in which they came, each in one piece, in one buffer.
//!
//! ```text
//!   offsets count on for ever; a packet stands at its offset modulo the capacity
//!
//!   |  (skipped) |  free  | packet | packet | packet |  free  |
//!                         head                       tail
//! ```
//!
//! What would not fit before the end of the buffer begins at its start again. The buffer grows to
//! what it needs once, and never back: nothing is allocated for a packet once it is warm.
//!
//! Invariant: `tail - head <= capacity`, a power of two or 0, and no packet crosses a multiple of it.

/// Where a packet stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    start: usize,
    len: usize,
}

impl Span {
    pub(crate) fn len(self) -> usize {
        self.len
    }
}

#[derive(Debug, Default)]
pub(crate) struct Bytes {
    buffer: Vec<u8>,
    head: usize,
    tail: usize,
}

/// Smallest buffer.
const CAPACITY_MIN: usize = 4_096;

impl Bytes {
    /// Appends a packet.
    pub(crate) fn push(&mut self, packet: &[u8]) -> Span {
        while !self.has_room(packet.len()) {
            self.grow(packet.len());
        }
        let span = Span { start: self.start_of(packet.len()), len: packet.len() };
        if self.head == self.tail {
            self.head = span.start;
        }
        self.tail = span.start + span.len;
        let at = self.index(span.start);
        self.buffer[at..at + span.len].copy_from_slice(packet);
        span
    }

    /// A packet's bytes: also of one that was freed, until the next push.
    pub(crate) fn get(&self, span: Span) -> &[u8] {
        let at = self.index(span.start);
        &self.buffer[at..at + span.len]
    }

    /// Frees a packet and all that came before it.
    pub(crate) fn free(&mut self, span: Span) {
        // What has no bytes may stand before a gap that was skipped since.
        self.head = self.head.max(span.start + span.len);
    }

    fn has_room(&self, len: usize) -> bool {
        let head = if self.head == self.tail { self.start_of(len) } else { self.head };
        len <= self.buffer.len() && self.start_of(len) + len - head <= self.buffer.len()
    }

    /// Where the next packet would stand.
    fn start_of(&self, len: usize) -> usize {
        let rest = self.buffer.len() - self.index(self.tail);
        if len <= rest { self.tail } else { self.tail + rest }
    }

    fn index(&self, offset: usize) -> usize {
        // Of an empty buffer there is index 0 alone.
        offset & self.buffer.len().saturating_sub(1)
    }

    /// Twice the buffer, or more for a packet that is longer. Offsets stay: a multiple of the larger
    /// capacity is one of the smaller, so no packet crosses one.
    fn grow(&mut self, len: usize) {
        let before = core::mem::take(&mut self.buffer);
        let capacity = (2 * before.len()).max(len.next_power_of_two()).max(CAPACITY_MIN);
        self.buffer = vec![0; capacity];
        let mut offset = self.head;
        while offset < self.tail {
            let from = offset & (before.len() - 1);
            let len = (before.len() - from).min(self.tail - offset);
            let to = self.index(offset);
            self.buffer[to..to + len].copy_from_slice(&before[from..from + len]);
            offset += len;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        /// Against a plain queue: what is not freed is there, byte for byte, however it grew.
        #[test]
        fn packets_stay_whole_until_they_are_freed(
            steps in prop::collection::vec((0_usize..6_000, any::<u8>(), 0_usize..3), 1..200),
        ) {
            let mut bytes = Bytes::default();
            let mut model: VecDeque<(Span, Vec<u8>)> = VecDeque::new();
            for (len, byte, freed) in steps {
                let packet = vec![byte; len];
                let span = bytes.push(&packet);
                model.push_back((span, packet));
                for _ in 0..freed {
                    if let Some((span, packet)) = model.pop_front() {
                        bytes.free(span);
                        prop_assert_eq!(bytes.get(span), &packet[..], "until the next push");
                    }
                }
                for (span, packet) in &model {
                    prop_assert_eq!(bytes.get(*span), &packet[..]);
                }
                prop_assert!(bytes.tail - bytes.head <= bytes.buffer.len());
            }
        }
    }

    #[test]
    fn a_packet_without_bytes_that_is_freed_late_frees_nothing_twice() {
        let mut bytes = Bytes::default();
        let first = bytes.push(&[1; 3_000]);
        let nothing = bytes.push(&[]);
        bytes.free(first);
        // Skips what is left before the end of the buffer.
        let second = bytes.push(&[2; 2_000]);
        bytes.free(nothing);
        assert_eq!(bytes.tail - bytes.head, 2_000);
        assert_eq!(bytes.get(second), [2; 2_000]);
    }

    #[test]
    fn a_buffer_that_is_warm_does_not_grow() {
        let mut bytes = Bytes::default();
        let mut live = VecDeque::new();
        let mut step = |bytes: &mut Bytes| {
            live.push_back(bytes.push(&[7; 135]));
            if live.len() > 40 {
                bytes.free(live.pop_front().unwrap());
            }
        };
        (0..100).for_each(|_| step(&mut bytes));
        let capacity = bytes.buffer.len();
        (0..10_000).for_each(|_| step(&mut bytes));
        assert_eq!(bytes.buffer.len(), capacity);
    }
}
