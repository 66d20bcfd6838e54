//! What has come and is not taken yet, in the kernel's buffers: a queue for each link, threaded
//! through the buffers themselves, so that nothing is allocated for any of them.
//!
//! ```text
//!   queue of a link:  first -> buffer 7 -> buffer 2 -> buffer 9 <- last
//!                              |taken|  rest  |
//!                              0     ^start   ^end
//! ```
//!
//! Invariant: a buffer is in one queue at most.

use core::ops::Range;

/// The buffers that hold something, each with the next of its link.
#[derive(Debug)]
pub(super) struct Parcels(Box<[Parcel]>);

#[derive(Clone, Copy, Debug, Default)]
struct Parcel {
    next: Option<u16>,
    start: u32,
    end: u32,
}

/// The buffers of one link, in the order in which they were filled.
#[derive(Debug, Default)]
pub(super) struct Queue {
    ends: Option<(u16, u16)>,
    len: u16,
}

impl Queue {
    /// How many buffers it has.
    pub(super) fn len(&self) -> u16 {
        self.len
    }
}

impl Parcels {
    /// For so many buffers.
    pub(super) fn new(buffers: u16) -> Self {
        Self((0..buffers).map(|_| Parcel::default()).collect())
    }

    /// Puts a buffer, of which so many bytes were filled, behind the others of a link.
    pub(super) fn push(&mut self, queue: &mut Queue, buffer: u16, end: u32) {
        self.0[usize::from(buffer)] = Parcel { next: None, start: 0, end };
        let first = match queue.ends {
            None => buffer,
            Some((first, last)) => {
                self.0[usize::from(last)].next = Some(buffer);
                first
            }
        };
        queue.ends = Some((first, buffer));
        queue.len += 1;
    }

    /// The first buffer of a link, and where its bytes are that are not taken yet.
    pub(super) fn first(&self, queue: &Queue) -> Option<(u16, Range<usize>)> {
        let (first, _) = queue.ends?;
        let Parcel { start, end, .. } = self.0[usize::from(first)];
        Some((first, start as usize..end as usize))
    }

    /// So many bytes of the first buffer were taken. `true` when those were the last, and the buffer
    /// has left the queue.
    pub(super) fn take(&mut self, queue: &mut Queue, count: usize) -> bool {
        let (first, last) = queue.ends.expect("only of what there is something is taken");
        let parcel = &mut self.0[usize::from(first)];
        let rest = (parcel.end - parcel.start) as usize;
        assert!(count <= rest, "no more is taken than there was");
        parcel.start += u32::try_from(count).expect("a buffer is no longer");
        if parcel.start < parcel.end {
            return false;
        }
        queue.ends = parcel.next.map(|next| (next, last));
        queue.len -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_link_gets_its_buffers_back_in_their_order() {
        let mut parcels = Parcels::new(5);
        let (mut one, mut two) = (Queue::default(), Queue::default());
        for (at, buffer) in [3, 0, 4, 1, 2].into_iter().enumerate() {
            let queue = if at % 2 == 0 { &mut one } else { &mut two };
            parcels.push(queue, buffer, 10 + u32::from(buffer));
        }
        assert_eq!((one.len(), two.len()), (3, 2));
        let mut drain = |queue: &mut Queue| {
            let mut seen = Vec::new();
            while let Some((buffer, range)) = parcels.first(queue) {
                assert_eq!(range, 0..10 + usize::from(buffer));
                assert!(!parcels.take(queue, 4));
                assert_eq!(parcels.first(queue), Some((buffer, 4..range.end)));
                assert!(parcels.take(queue, 6 + usize::from(buffer)));
                seen.push(buffer);
            }
            assert_eq!(queue.len(), 0);
            seen
        };
        assert_eq!((drain(&mut one), drain(&mut two)), (vec![3, 4, 2], vec![0, 1]));
        parcels.push(&mut one, 0, 1);
        assert_eq!(parcels.first(&one), Some((0, 0..1)));
    }
}
