//! Where in its segments a stream goes on, and which are prepared ahead.

use std::collections::VecDeque;

use crate::batch::Stream;
use crate::limits::PAGE_LEN;
use crate::names::SegmentName;
use crate::op::Op;

/// The segments of one stream.
#[derive(Debug)]
pub(super) struct Segments {
    stream: Stream,
    /// Bytes of each.
    len: u64,
    /// The one being written: 0 before the first.
    current: u32,
    /// Where in it the next commit goes.
    offset: u64,
    /// All up to this number have been prepared.
    prepared: u32,
    is_opening: bool,
    is_preparing: bool,
    /// The last try failed: the next one is not before this moment.
    retry_ns: Option<u64>,
    /// The one that was left for the current one, in which nothing is durable yet, and the position
    /// after its last record.
    left: Option<(u32, u64)>,
    /// Those that are full, oldest first, with the position after their last record.
    closed: VecDeque<(u32, u64)>,
}

/// Where the next commit goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// To this byte of this segment.
    Here(SegmentName, u64),
    /// To the beginning of this one, once its first page is written.
    Next(SegmentName),
    /// No segment is ready.
    Nowhere,
}

impl Segments {
    pub(super) fn new(stream: Stream, len: u64) -> Self {
        Self {
            stream,
            len,
            current: 0,
            offset: len,
            prepared: 0,
            is_opening: false,
            is_preparing: false,
            retry_ns: None,
            left: None,
            closed: VecDeque::new(),
        }
    }

    /// Where a commit of so many bytes may go.
    pub(super) fn place(&self, bytes: usize) -> Place {
        if self.is_opening {
            Place::Nowhere
        } else if self.offset + bytes as u64 <= self.len {
            Place::Here(self.name(self.current), self.offset)
        } else if self.prepared > self.current {
            Place::Next(self.name(self.current + 1))
        } else {
            Place::Nowhere
        }
    }

    /// The place told by [`Self::place`] is taken.
    pub(super) fn take(&mut self, bytes: usize) {
        self.offset += bytes as u64;
    }

    /// The first page of the next one is being written. `position`: after the last record of this one.
    pub(super) fn open(&mut self, position: u64) {
        self.is_opening = true;
        self.left = (self.current > 0).then_some((self.current, position));
    }

    pub(super) fn opened(&mut self) {
        self.is_opening = false;
        self.current += 1;
        self.offset = PAGE_LEN as u64;
    }

    /// A commit to the current one is durable, and so is its first page: it tells where the stream goes
    /// on, and the one before it is needed for its records alone.
    pub(super) fn committed(&mut self) {
        self.closed.extend(self.left.take());
    }

    /// Bytes that commits may still take.
    pub(super) fn room(&self) -> u64 {
        let ahead = u64::from(self.prepared - self.current);
        (self.len - self.offset) + ahead * (self.len - PAGE_LEN as u64)
    }

    /// Prepares one ahead of the one being written, and as many more as twice `reserve` takes: with room
    /// for once, what is written while the next one is prepared would be refused.
    pub(super) fn next_prepare(&mut self, now_ns: u64, reserve: u64) -> Option<Op> {
        let is_enough = self.prepared > self.current && self.room() / 2 >= reserve;
        let is_early = self.retry_ns.is_some_and(|retry_ns| now_ns < retry_ns);
        if is_enough || self.is_preparing || is_early {
            return None;
        }
        self.is_preparing = true;
        Some(Op::Prepare { segment: self.name(self.prepared + 1), len: self.len })
    }

    pub(super) fn prepared(&mut self) {
        self.is_preparing = false;
        self.retry_ns = None;
        self.prepared += 1;
    }

    pub(super) fn not_prepared(&mut self, retry_ns: u64) {
        self.is_preparing = false;
        self.retry_ns = Some(retry_ns);
    }

    /// Tells of each full one whose records are all below `past`, oldest first, and forgets it.
    pub(super) fn retire_below(&mut self, past: u64, mut retire: impl FnMut(String)) {
        while let Some((number, _)) = self.closed.pop_front_if(|(_, end)| *end <= past) {
            retire(self.name(number).path());
        }
    }

    /// The position after the last record of the oldest one that is full and was not retired.
    pub(super) fn oldest_closed_end(&self) -> Option<u64> {
        self.closed.front().map(|(_, end)| *end)
    }

    /// When one that could not be prepared is tried again.
    pub(super) fn wake_ns(&self) -> Option<u64> {
        self.retry_ns.filter(|_| !self.is_preparing)
    }

    fn name(&self, number: u32) -> SegmentName {
        SegmentName { generation: self.stream.generation, stream: self.stream.id, number }
    }
}
