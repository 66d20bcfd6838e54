//! Reading a stream: batch by batch, from segment to segment, each checked as it is chained.
//!
//! ```text
//!   segment 1                         segment 2                    segment 3
//!   | head | batch | batch | zeros |  | head | batch | ... zeros | | zeros           |
//!                                                    '- the end: nothing but zeros from here on
//!   | head | batch | batch | ????? |
//!                          '- a fault: damage if a record from here on had been flushed, else a tail
//! ```
//!
//! A scan only tells where the stream ends and why. Whoever knows what had been flushed judges it.

mod heads;
mod window;

use crate::batch::{Batch, Head, Stream, is_zero};
use crate::error::Error;
use crate::fault::Fault;
use crate::hash::Hash;
use crate::limits::PAGE_LEN;
use crate::names::SegmentName;
use crate::segment;
use crate::storage::Storage;
pub use heads::Heads;
pub(crate) use window::Window;

/// A place in a stream, on the disk.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// In which segment.
    pub segment: SegmentName,
    /// At which byte.
    pub offset: u64,
}

/// What comes before the first batch that is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Link {
    /// How many records.
    pub position: u64,
    /// The hash that the first batch is chained to.
    pub hash: Hash,
}

/// Where a stream ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct End {
    /// What a batch behind it would be chained to.
    pub link: Link,
    /// Where that batch would stand.
    pub place: Place,
    /// What is there instead; `None` if only zeros are.
    pub fault: Option<Fault>,
}

/// A stream that is read.
#[derive(Debug)]
pub struct Scan<'a, S> {
    storage: &'a mut S,
    stream: Stream,
    /// Those behind the one being read, first one last.
    segments: Vec<SegmentName>,
    window: Window,
    link: Link,
    /// Credits and reversals so far.
    money: u64,
    place: Place,
    /// A segment is open at `place`.
    is_open: bool,
    is_over: bool,
    fault: Option<Fault>,
}

impl<'a, S: Storage> Scan<'a, S> {
    /// Reads the segments, which are one stream's and in order, from the beginning of the first.
    /// `base` is the hash of the generation's base: the first segment of a stream is chained to it. If
    /// the first of `segments` is a later one, what it says of itself is believed.
    #[must_use]
    pub fn new(
        storage: &'a mut S,
        stream: Stream,
        mut segments: Vec<SegmentName>,
        base: Hash,
    ) -> Self {
        segments.reverse();
        let number = segments.last().map_or(1, |first| first.number);
        let first = SegmentName { generation: stream.generation, stream: stream.id, number };
        Self {
            storage,
            stream,
            segments,
            window: Window::new(),
            link: Link { position: 0, hash: base },
            money: 0,
            place: Place { segment: first, offset: 0 },
            is_open: false,
            is_over: false,
            fault: None,
        }
    }

    /// The next batch and where it stands, or `None` at the end, of which [`Self::end`] tells.
    ///
    /// # Errors
    ///
    /// When a file cannot be read. Bytes that are wrong are no error here: the stream ends there.
    pub fn next_batch(&mut self) -> Result<Option<(Place, Batch<'_>)>, Error> {
        loop {
            if self.is_over {
                return Ok(None);
            }
            if !self.is_open {
                self.open_next()?;
                continue;
            }
            let page = self.window.get(self.storage, self.place.offset, PAGE_LEN)?;
            if is_zero(page) {
                self.close()?;
                continue;
            }
            match Head::peek(page, &self.stream) {
                Ok(head) if head.position == self.link.position => return self.check(head),
                Ok(Head { position: found, .. }) => {
                    self.stop(Fault::Position { expected: self.link.position, found });
                }
                Err(fault) => self.stop(fault),
            }
        }
    }

    /// Where the stream ends.
    ///
    /// # Panics
    ///
    /// If [`Self::next_batch`] has not told the end.
    #[must_use]
    pub fn end(&self) -> End {
        assert!(self.is_over, "the end is known when it is reached");
        End { link: self.link, place: self.place, fault: self.fault }
    }

    /// The highest position that anything behind a fault says had been flushed: a batch tells what was
    /// durable before it was made, and the head of a segment is written when everything before it is.
    /// 0 if nothing is there.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub fn claimed(&mut self) -> Result<u64, Error> {
        let mut claimed = 0;
        let Place { segment, mut offset } = self.place;
        if self.fault == Some(Fault::Missing) {
            offset = 0;
        } else {
            self.segments.push(segment);
        }
        while let Some(segment) = self.segments.pop() {
            self.window.open(segment.path());
            loop {
                let page = self.window.get(self.storage, offset, PAGE_LEN)?;
                if page.is_empty() {
                    break;
                }
                claimed = claimed.max(self.claim(offset)?);
                offset += PAGE_LEN as u64;
            }
            offset = 0;
        }
        Ok(claimed)
    }

    fn claim(&mut self, offset: u64) -> Result<u64, Error> {
        let page = self.window.get(self.storage, offset, PAGE_LEN)?;
        if let Ok(head) = Head::peek(page, &self.stream) {
            return Ok(head.flushed);
        }
        let Ok(page) = page.try_into() else { return Ok(0) };
        let head = segment::Head::read(page);
        let is_ours = |name: SegmentName| {
            (name.generation, name.stream) == (self.stream.generation, self.stream.id)
        };
        Ok(head.map_or(0, |head| if is_ours(head.name) { head.position } else { 0 }))
    }

    /// A batch whose head looks right.
    fn check(&mut self, head: Head) -> Result<Option<(Place, Batch<'_>)>, Error> {
        let at = self.place;
        let len = head.padded_len(self.stream.shards);
        let bytes = self.window.get(self.storage, at.offset, len)?;
        let hash = match Batch::check(bytes, &head, &self.stream, &self.link.hash) {
            Ok(hash) => hash,
            Err(fault) => {
                self.stop(fault);
                return Ok(None);
            }
        };
        self.link = Link { position: head.end(), hash };
        self.money = self.money.saturating_add(head.money.into());
        self.place.offset += len as u64;
        let bytes = self.window.get(self.storage, at.offset, len)?;
        Ok(Some((at, Batch::view(bytes, head, hash, &self.stream))))
    }

    fn stop(&mut self, fault: Fault) {
        self.fault = Some(fault);
        self.is_over = true;
    }

    /// Zeros follow: the segment ends here, if they go on to its end.
    fn close(&mut self) -> Result<(), Error> {
        let is_zero = self.is_zero_from(self.place.offset)?;
        self.is_open = false;
        if !is_zero {
            self.stop(Fault::NoBatch);
        }
        Ok(())
    }

    fn open_next(&mut self) -> Result<(), Error> {
        let Some(name) = self.segments.pop() else {
            self.is_over = true;
            return Ok(());
        };
        let is_first = self.place.offset == 0;
        let number = self.place.segment.number + u32::from(!is_first);
        let next = Place { segment: SegmentName { number, ..name }, offset: 0 };
        if name.number != number {
            self.segments.push(name);
            self.place = next;
            self.stop(Fault::Missing);
            return Ok(());
        }
        self.window.open(name.path());
        let page = self.window.get(self.storage, 0, PAGE_LEN)?;
        if is_zero(page) {
            return self.end_unused(next);
        }
        let head = match <&mut segment::Page>::try_from(page) {
            Ok(page) => segment::Head::read(page),
            Err(_) => Err(Fault::Short),
        };
        self.place = next;
        match head.and_then(|head| self.judge(head, is_first)) {
            Ok(head) => {
                self.link = Link { position: head.position, hash: head.previous };
                self.money = head.money;
                self.place.offset = PAGE_LEN as u64;
                self.is_open = true;
            }
            Err(fault) => self.stop(fault),
        }
        Ok(())
    }

    /// The head of a segment, if it is the one that comes next.
    fn judge(&self, head: segment::Head, is_first: bool) -> Result<segment::Head, Fault> {
        if head.name != self.place.segment || head.shards != self.stream.shards {
            return Err(Fault::Foreign);
        }
        if is_first && head.name.number > 1 {
            return Ok(head);
        }
        let (expected, found) = (self.link.position, head.position);
        if found != expected {
            return Err(Fault::Position { expected, found });
        }
        if head.money != self.money {
            return Err(Fault::Counts);
        }
        if head.previous == self.link.hash { Ok(head) } else { Err(Fault::Hash) }
    }

    /// A segment that was prepared and not used: all behind it are as empty.
    fn end_unused(&mut self, unused: Place) -> Result<(), Error> {
        let mut segment = unused.segment;
        self.is_over = true;
        loop {
            if !self.is_zero_from(0)? {
                self.place = Place { segment, offset: 0 };
                self.stop(Fault::NoSegment);
                return Ok(());
            }
            let Some(next) = self.segments.pop() else { return Ok(()) };
            self.window.open(next.path());
            segment = next;
        }
    }

    fn is_zero_from(&mut self, mut offset: u64) -> Result<bool, Error> {
        loop {
            let piece = self.window.get(self.storage, offset, 16 * PAGE_LEN)?;
            if piece.is_empty() {
                return Ok(true);
            }
            if !is_zero(piece) {
                return Ok(false);
            }
            offset += piece.len() as u64;
        }
    }
}
