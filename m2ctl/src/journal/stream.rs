//! A stream read from its beginning to its end, also while a switch writes it, and what that end
//! means.
//!
//! Damage is a fault below what had been flushed **before** we began to read: everything below was on
//! the disk then. A fault above it is a tail: a write under way, or what a crash left, which the next
//! start cuts off. What a batch behind a fault says was flushed counts as well, if the fault is still
//! there when we look once more: a running switch may have written both since.

use m2_journal::batch::{Batch, Stream};
use m2_journal::names::SegmentName;
use m2_journal::recover::found;
use m2_journal::scan::{End, Link, Place, Scan};
use m2_journal::{Choices, Damage, Fault, Hash};

use super::disk::ReadOnly;
use super::open::Generation;
use crate::output::Failure;

/// What is read.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) stream: Stream,
    pub(crate) segments: Vec<SegmentName>,
    base: Hash,
    /// All below had been flushed when we looked.
    pub(crate) flushed: u64,
    /// Where the base of the next generation says that it ends.
    must_end: Option<Link>,
}

/// What a stream's end means.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Ending {
    /// Nothing is written behind it.
    Clean,
    /// Something is, and was never promised to last.
    Tail(Fault),
    /// The next generation counts records up to this position: its start took in what the disk could
    /// not, from another one.
    Spilled(u64),
    /// Something is missing or was changed.
    Damaged(Damage),
}

/// A stream that has been read.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) end: End,
    pub(crate) ending: Ending,
}

impl Part {
    /// The stream, and what is known of it before it is read.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub(crate) fn of(
        disk: &mut ReadOnly,
        generation: &Generation,
        stream: Stream,
    ) -> Result<Self, Failure> {
        let flushed = found::read_slots(disk, stream.generation, stream.id)?.unwrap_or(0);
        Ok(Self::with(generation, stream, flushed))
    }

    /// The stream, of which it is known up to where it had been flushed.
    pub(crate) fn with(generation: &Generation, stream: Stream, flushed: u64) -> Self {
        let index = usize::from(stream.id.0);
        Self {
            stream,
            segments: generation.segments[index].clone(),
            base: generation.base_hash,
            flushed,
            must_end: generation.next.as_ref().and_then(|next| next.ends.get(index).copied()),
        }
    }

    /// Gives every batch, in order, once.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, and as `each` says. Damage is no error: what comes before it is
    /// read, and [`Read::ending`] tells.
    pub(crate) fn read(
        &self,
        disk: &mut ReadOnly,
        each: &mut dyn FnMut(Place, &Batch<'_>) -> Result<(), Failure>,
    ) -> Result<Read, Failure> {
        let mut segments = self.segments.clone();
        let mut given: Option<Place> = None;
        let mut faulty: Option<Place> = None;
        loop {
            let mut scan = Scan::new(disk, self.stream, segments, self.base);
            while let Some((place, batch)) = scan.next_batch()? {
                if given.is_none_or(|given| given < place) {
                    given = Some(place);
                    each(place, &batch)?;
                }
            }
            let end = scan.end();
            let mut flushed = self.flushed;
            if end.fault.is_some() && end.link.position >= flushed {
                flushed = scan.claimed()?;
            }
            if end.link.position >= flushed || faulty == Some(end.place) {
                return Ok(Read { end, ending: self.judge(&end, flushed) });
            }
            faulty = Some(end.place);
            segments = self.again(disk, end.place.segment)?;
        }
    }

    /// What to read once more: from the segment before the one with the fault, so that they are seen
    /// to be chained, to the newest that is there by now.
    fn again(&self, disk: &mut ReadOnly, faulty: SegmentName) -> Result<Vec<SegmentName>, Failure> {
        let mut all = self.segments.clone();
        let mut next = all.last().map_or(1, |last| last.number + 1);
        while disk.metadata(&SegmentName { number: next, ..faulty }.path()).is_ok() {
            all.push(SegmentName { number: next, ..faulty });
            next += 1;
        }
        all.retain(|name| name.number + 1 >= faulty.number);
        Ok(all)
    }

    /// What comes before the first record of the generation.
    pub(crate) fn first_link(&self) -> Link {
        Link { position: 0, hash: self.base }
    }

    /// What an end means, where all below `flushed` had been flushed.
    pub(crate) fn judge(&self, end: &End, flushed: u64) -> Ending {
        if let (Some(must), None) = (self.must_end, end.fault)
            && must.hash == end.link.hash
            && flushed <= end.link.position
            && end.link.position < must.position
        {
            return Ending::Spilled(must.position);
        }
        let flushed = flushed.max(self.must_end.map_or(0, |must| must.position));
        let damaged = |fault| {
            let (stream, position) = (self.stream.id.0, end.link.position);
            let choices = Choices::Cut { stream, position, flushed, held: 0 };
            // Only the newest generation can still be cut: a later base rests on the others.
            let choices = if self.must_end.is_some() { Choices::Restore } else { choices };
            let (file, offset) = (end.place.segment.path(), end.place.offset);
            Ending::Damaged(Damage { file, offset, fault, choices })
        };
        match (end.fault, self.must_end) {
            (fault, _) if end.link.position < flushed => {
                damaged(fault.unwrap_or(match self.segments.is_empty() {
                    true => Fault::Missing,
                    false => Fault::Ends,
                }))
            }
            (_, Some(must)) if must.position < end.link.position => {
                damaged(Fault::Position { expected: must.position, found: end.link.position })
            }
            (_, Some(must)) if must.hash != end.link.hash => damaged(Fault::Hash),
            (None, _) => Ending::Clean,
            (Some(fault), None) => Ending::Tail(fault),
            // The start after it would have cut that off.
            (Some(fault), Some(_)) => damaged(fault),
        }
    }
}
