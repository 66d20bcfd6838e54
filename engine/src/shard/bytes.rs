//! Bytes that wait to be sent, and room behind them for more.
//!
//! ```text
//!  buffer:  | waiting              | room: what it holds means nothing |  capacity  |
//!           0                      ^ len                               ^ buffer.len()
//! ```
//!
//! A packet is written into the room at once: it is long enough before, so nothing grows byte by
//! byte, and it was made zero when the buffer grew, so no packet pays for that. Invariant: only what
//! is before `len` is ever seen.

use core::ops::Deref;

use crate::limits::TX_GROW_LEN;

/// See the head of the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Bytes {
    buffer: Vec<u8>,
    len: usize,
}

impl Deref for Bytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(buffer: Vec<u8>) -> Self {
        Self { len: buffer.len(), buffer }
    }
}

impl Bytes {
    /// Memory that is held, used or not.
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Appends what `write` writes to the front of `room_len` bytes, which hold anything. It says how
    /// many it wrote.
    #[inline]
    pub(super) fn put(&mut self, room_len: usize, write: impl FnOnce(&mut [u8]) -> usize) {
        let end = self.len + room_len;
        if end > self.buffer.len() {
            self.grow(end);
        }
        let written = write(&mut self.buffer[self.len..end]);
        assert!(written <= room_len, "nothing is written behind the room");
        self.len += written;
    }

    /// Appends what `write` appends. For what is not of every packet: the room that there was is given
    /// up.
    pub(super) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.buffer.truncate(self.len);
        write(&mut self.buffer);
        self.len = self.buffer.len();
    }

    /// Nothing waits any more; the room stays.
    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// Takes the first `count` bytes out.
    pub(super) fn cut_front(&mut self, count: usize) {
        self.buffer.copy_within(count..self.len, 0);
        self.len -= count;
    }

    /// In steps, so that room that [`Self::append`] gave up costs little to have again.
    #[cold]
    fn grow(&mut self, end: usize) {
        self.buffer.resize(end + TX_GROW_LEN, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_and_appended_stands_in_its_order_however_the_buffer_grows() {
        let (mut bytes, mut expected) = (Bytes::default(), Vec::new());
        for turn in 0..=u8::MAX {
            let len = usize::from(turn) * 7 % 50;
            bytes.put(50, |room| {
                assert_eq!(room.len(), 50);
                room.fill(0xa5);
                room[..len].fill(turn);
                len
            });
            expected.resize(expected.len() + len, turn);
            if turn % 16 == 0 {
                bytes.append(|out| out.extend_from_slice(&[0xee; 5000]));
                expected.resize(expected.len() + 5000, 0xee);
            }
            if turn % 64 == 1 {
                bytes.cut_front(1234);
                expected.drain(..1234);
            }
            assert_eq!(*bytes, expected, "{turn}");
        }
        let capacity = bytes.capacity();
        bytes.clear();
        assert!(bytes.is_empty());
        bytes.put(TX_GROW_LEN, |_| 0);
        assert_eq!((bytes.capacity(), bytes.len()), (capacity, 0));
    }

    #[test]
    #[should_panic(expected = "nothing is written behind the room")]
    fn more_than_the_room_is_a_fault_of_ours() {
        Bytes::default().put(3, |_| 4);
    }
}
