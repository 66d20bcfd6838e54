//! Whether what each segment says it is chained to is what the one before came to, and whether the
//! stream ends where it must.
//!
//! What does not fit is read once more, in order and by one thread: [`Part::read`] judges it.

use m2_core::record::Record;
use m2_journal::batch;
use m2_journal::names::SegmentName;
use m2_journal::scan::{End, Place};

use super::super::disk::ReadOnly;
use super::super::stream::{Ending, Part};
use super::segments::{Counts, Segment};
use crate::output::Failure;

/// A stream whose segments have been put together.
#[derive(Debug)]
pub(super) struct Chained {
    pub(super) stream: batch::Stream,
    /// Position of the first record that is left.
    pub(super) from: u64,
    pub(super) end: End,
    pub(super) ending: Ending,
    pub(super) counts: Counts,
    /// Segments that have something in them, and all.
    pub(super) segments: (usize, usize),
    /// What is no pair and no evidence, in order.
    pub(super) rare: Vec<(u64, Record)>,
    /// Records that no switch could have written: sentences.
    pub(super) wrong: Vec<String>,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Outcome {
    Chained(Box<Chained>),
    /// It is another one by now: somebody writes it.
    Changed,
}

/// Puts the segments of a stream together, which are in order. What begins at `bound` or behind it is
/// being written and does not count.
///
/// # Errors
///
/// When a file cannot be read.
pub(super) fn chain(
    disk: &mut ReadOnly,
    part: &Part,
    segments: Vec<Segment>,
    bound: u64,
) -> Result<Outcome, Failure> {
    let sewn = sew(part, &segments, bound);
    let (end, ending) = match sewn.is_whole {
        true => (sewn.end, part.judge(&sewn.end, part.flushed)),
        false => {
            let read = part.read(disk, &mut |_, _| Ok(()))?;
            let is_damaged = matches!(read.ending, Ending::Damaged(_));
            let is_behind = segments.iter().skip(sewn.used).any(|it| it.counts.batches > 0);
            if !is_damaged && (read.end.link != sewn.end.link || is_behind) {
                return Ok(Outcome::Changed);
            }
            (read.end, read.ending)
        }
    };
    let mut chained = Chained {
        stream: part.stream,
        from: segments.first().and_then(|first| first.link).map_or(0, |link| link.position),
        end,
        ending,
        counts: Counts::default(),
        segments: (sewn.used, segments.len()),
        rare: Vec::new(),
        wrong: Vec::new(),
    };
    for segment in segments {
        chained.counts.add(&segment.counts);
        chained.wrong.extend(segment.wrong.map(|(offset, fault)| {
            let file = segment.name.path();
            format!("{file}: a record of the batch at byte {offset} cannot be ({fault})")
        }));
        chained.rare.extend(segment.rare);
    }
    Ok(Outcome::Chained(Box::new(chained)))
}

/// Segments that fit, one behind the other.
#[derive(Debug)]
struct Sewn {
    end: End,
    /// How many of them have something.
    used: usize,
    is_whole: bool,
}

fn sew(part: &Part, segments: &[Segment], bound: u64) -> Sewn {
    let place = Place { segment: first_name(part, segments), offset: 0 };
    let mut end = End { link: part.first_link(), place, fault: None };
    for (index, segment) in segments.iter().enumerate() {
        let broken = |end| Sewn { end, used: index, is_whole: false };
        let is_next = segment.name.number == place.segment.number + index_u32(index);
        let Some(link) = segment.link.filter(|_| is_next) else {
            // Prepared, and not used: so are all behind it.
            let is_unused = |it: &Segment| it.link.is_none() && it.end.fault.is_none();
            let is_whole = is_next && segments[index..].iter().all(is_unused);
            return Sewn { end, used: index, is_whole };
        };
        if link.position >= bound && index > 0 {
            return Sewn { end, used: index, is_whole: true };
        }
        let is_believed = index == 0 && segment.name.number > 1;
        let before = index.checked_sub(1).map_or((0, 0), |before| segments[before].money);
        let is_chained = link == end.link && segment.money.0 == before.0.saturating_add(before.1);
        if !is_chained && !is_believed {
            return broken(end);
        }
        end = segment.end;
        if end.fault.is_some() {
            let is_whole = end.link.position >= bound;
            return Sewn { end: End { fault: None, ..end }, used: index + 1, is_whole };
        }
    }
    Sewn { end, used: segments.len(), is_whole: true }
}

fn first_name(part: &Part, segments: &[Segment]) -> SegmentName {
    let number = segments.first().map_or(1, |first| first.name.number);
    SegmentName { generation: part.stream.generation, stream: part.stream.id, number }
}

fn index_u32(index: usize) -> u32 {
    u32::try_from(index).expect("segments are numbered by 32 bits")
}
