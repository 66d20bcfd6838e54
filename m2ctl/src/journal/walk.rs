//! The records of a generation, in the order of their time as far as their streams' orders allow.
//!
//! ```text
//!   stream 0 --thread: read, check, filter--> a few records --.
//!   stream 1 --thread: read, check, filter--> a few records ---+--> earliest first --> each
//!   ...                                                       -'
//! ```
//!
//! Memory is bounded by the number of streams: a thread that is ahead waits.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::vec;

use m2_core::record::Record;
use m2_journal::batch::{Batch, Stream};
use m2_journal::record;
use m2_journal::{Block, Fault};

use super::disk::ReadOnly;
use super::filter::{Filter, at_ms};
use super::open::Generation;
use super::positions::{Sums, Window};
use super::start::Start;
use super::stream::{Ending, Part, Read};
use crate::output::Failure;

/// Records that go from a thread to the next at once.
const PIECE: usize = 1_024;

/// Pieces that a thread may be ahead.
const AHEAD: usize = 2;

/// What is walked through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk<'a> {
    pub(crate) root: &'a Path,
    pub(crate) generation: &'a Generation,
    pub(crate) filter: &'a Filter,
    /// Only this stream.
    pub(crate) stream: Option<u16>,
    /// By shard, if positions are summed.
    pub(crate) starts: Option<&'a [Option<Start>]>,
}

/// A stream behind us.
#[derive(Debug)]
pub(crate) struct Walked {
    pub(crate) stream: Stream,
    /// Position of the first record that was read, and after the last.
    pub(crate) range: (u64, u64),
    pub(crate) first_at_ms: Option<u64>,
    pub(crate) last_at_ms: Option<u64>,
    /// A tail, or none.
    pub(crate) tail: Option<Fault>,
    /// What ended it early: a sentence.
    pub(crate) damage: Option<String>,
    pub(crate) sums: Option<Sums>,
}

/// A record, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) stream: u16,
    pub(crate) position: u64,
    pub(crate) record: Record,
}

/// Every record of a batch with its position.
pub(crate) fn records(batch: &Batch<'_>) -> impl Iterator<Item = Result<(u64, Record), Fault>> {
    decoded(batch.blocks, batch.head.position, Some(batch.head.end()))
}

/// The records in `blocks`, the first of which is at `position`; they must go on to `end`, if it is told.
pub(crate) fn decoded(
    mut blocks: &[Block],
    mut position: u64,
    end: Option<u64>,
) -> impl Iterator<Item = Result<(u64, Record), Fault>> {
    core::iter::from_fn(move || {
        if blocks.is_empty() && end.is_none_or(|end| position == end) {
            return None;
        }
        let decoded = match record::decode(blocks) {
            Ok(_) if Some(position) == end => Err(Fault::Counts),
            // Fewer records than the head says.
            Err(Fault::Short) if blocks.is_empty() => Err(Fault::Counts),
            decoded => decoded,
        };
        match decoded {
            Ok((record, count)) => {
                blocks = &blocks[count..];
                position += 1;
                Some(Ok((position - 1, record)))
            }
            Err(fault) => {
                blocks = &[];
                position = end.unwrap_or(position);
                Some(Err(fault))
            }
        }
    })
}

impl Walk<'_> {
    /// Gives every record that the filter takes.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, and as `each` says.
    pub(crate) fn run(
        &self,
        each: &mut dyn FnMut(Placed) -> Result<(), Failure>,
    ) -> Result<Vec<Walked>, Failure> {
        let chosen = |stream: &Stream| self.stream.is_none_or(|named| named == stream.id.0);
        let streams: Vec<_> = self.generation.streams().filter(chosen).collect();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let mut threads = Vec::with_capacity(streams.len());
            let mut sources = Vec::with_capacity(streams.len());
            for stream in streams {
                let (sender, receiver) = sync_channel(AHEAD);
                let is_over = &is_over;
                threads.push(scope.spawn(move || self.read(stream, &sender, is_over)));
                sources.push(Source::new(stream.id.0, receiver));
            }
            let merged = merge(sources, each);
            is_over.store(true, Ordering::Relaxed);
            let walked: Result<Vec<_>, _> =
                threads.into_iter().map(|it| it.join().expect("a reader does not panic")).collect();
            merged?;
            walked
        })
    }

    fn read(
        &self,
        stream: Stream,
        sender: &SyncSender<Vec<Placed>>,
        is_over: &AtomicBool,
    ) -> Result<Walked, Failure> {
        let mut disk = ReadOnly::new(self.root);
        let part = Part::of(&mut disk, self.generation, stream)?;
        let mut reader = Reader {
            walk: self,
            piece: Vec::new(),
            walked: Walked {
                stream,
                range: (0, 0),
                first_at_ms: None,
                last_at_ms: None,
                tail: None,
                damage: None,
                sums: self.starts.map(|_| Sums::new(self.generation, self.filter.account)),
            },
            is_first: true,
            is_over,
        };
        let read = part.read(&mut disk, &mut |place, batch| {
            reader.batch(batch, sender).map_err(|stop| match stop {
                Stop::Failure(failure) => failure,
                Stop::Fault(fault) => {
                    let (file, offset) = (place.segment.path(), place.offset);
                    let words = format!("{file} is damaged at byte {offset} ({fault})");
                    Failure::Damage(format!("{words}: restore the file from a copy"))
                }
            })
        });
        reader.finish(read, sender)
    }
}

struct Reader<'a> {
    walk: &'a Walk<'a>,
    piece: Vec<Placed>,
    walked: Walked,
    is_first: bool,
    /// Nobody wants any more.
    is_over: &'a AtomicBool,
}

enum Stop {
    Failure(Failure),
    Fault(Fault),
}

impl Reader<'_> {
    fn batch(&mut self, batch: &Batch<'_>, sender: &SyncSender<Vec<Placed>>) -> Result<(), Stop> {
        if self.is_over.load(Ordering::Relaxed) {
            return Err(Stop::Failure(Failure::Closed));
        }
        if self.is_first {
            self.is_first = false;
            self.walked.range = (batch.head.position, batch.head.position);
        }
        for record in records(batch) {
            let (position, record) = record.map_err(Stop::Fault)?;
            self.record(position, record).map_err(Stop::Fault)?;
            if self.piece.len() == PIECE {
                self.send(sender).map_err(Stop::Failure)?;
            }
        }
        Ok(())
    }

    fn record(&mut self, position: u64, record: Record) -> Result<(), Fault> {
        let at_ms = at_ms(&record);
        let Walk { generation, filter, starts, .. } = self.walk;
        let stream = self.walked.stream.id.0;
        self.walked.range.1 = position + 1;
        self.walked.first_at_ms.get_or_insert(at_ms);
        self.walked.last_at_ms = Some(at_ms);
        if let (Some(sums), Some(starts)) = (&mut self.walked.sums, starts) {
            let window = Window { from_ms: filter.from_ms, to_ms: filter.to_ms };
            sums.add(generation, starts, window, (usize::from(stream), position), &record)?;
        }
        if filter.takes(&record) {
            self.piece.push(Placed { stream, position, record });
        }
        Ok(())
    }

    /// What stands in spill files goes on where the stream ends.
    fn spilled(&mut self, sender: &SyncSender<Vec<Placed>>) -> Result<(), Failure> {
        let stream = self.walked.stream.id;
        for spilled in self.walk.generation.spilled.iter().filter(|it| it.stream == stream) {
            for record in decoded(&spilled.blocks, spilled.position, None) {
                let next = self.walked.range.1;
                let added = record.and_then(|(position, record)| match position.cmp(&next) {
                    core::cmp::Ordering::Less => Ok(()),
                    core::cmp::Ordering::Equal => self.record(position, record),
                    core::cmp::Ordering::Greater => {
                        Err(Fault::Position { expected: next, found: position })
                    }
                });
                if let Err(fault) = added {
                    let file = &spilled.file;
                    self.walked.damage =
                        Some(format!("the spill file {file} is damaged ({fault})"));
                    return Ok(());
                }
                if self.piece.len() == PIECE {
                    self.send(sender)?;
                }
            }
        }
        if self.piece.is_empty() { Ok(()) } else { self.send(sender) }
    }

    fn send(&mut self, sender: &SyncSender<Vec<Placed>>) -> Result<(), Failure> {
        let piece = core::mem::take(&mut self.piece);
        // Nobody listens any more: the one who did knows why.
        sender.send(piece).map_err(|_| Failure::Closed)
    }

    fn finish(
        mut self,
        read: Result<Read, Failure>,
        sender: &SyncSender<Vec<Placed>>,
    ) -> Result<Walked, Failure> {
        if !self.piece.is_empty() {
            self.send(sender)?;
        }
        match read {
            Ok(read) => match read.ending {
                Ending::Damaged(damage) => self.walked.damage = Some(damage.to_string()),
                Ending::Clean | Ending::Spilled(_) => self.spilled(sender)?,
                Ending::Tail(fault) => {
                    self.walked.tail = Some(fault);
                    self.spilled(sender)?;
                }
            },
            Err(Failure::Damage(sentence)) => self.walked.damage = Some(sentence),
            Err(failure) => return Err(failure),
        }
        Ok(self.walked)
    }
}

/// What comes from one thread.
struct Source {
    stream: u16,
    receiver: Receiver<Vec<Placed>>,
    piece: vec::IntoIter<Placed>,
    next: Option<Placed>,
}

impl Source {
    fn new(stream: u16, receiver: Receiver<Vec<Placed>>) -> Self {
        Self { stream, receiver, piece: Vec::new().into_iter(), next: None }
    }

    /// Takes the next record out, and gets the one behind it.
    fn advance(&mut self) -> Option<Placed> {
        let taken = self.next.take();
        self.next = loop {
            if let Some(next) = self.piece.next() {
                break Some(next);
            }
            match self.receiver.recv() {
                Ok(piece) => self.piece = piece.into_iter(),
                Err(_) => break None,
            }
        };
        taken
    }

    fn key(&self) -> Option<(u64, u16)> {
        Some((at_ms(&self.next.as_ref()?.record), self.stream))
    }
}

fn merge(
    mut sources: Vec<Source>,
    each: &mut dyn FnMut(Placed) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut heap = BinaryHeap::with_capacity(sources.len());
    for (index, source) in sources.iter_mut().enumerate() {
        source.advance();
        heap.extend(source.key().map(|key| Reverse((key, index))));
    }
    while let Some(Reverse((_, index))) = heap.pop() {
        let source = &mut sources[index];
        if let Some(placed) = source.advance() {
            each(placed)?;
        }
        heap.extend(source.key().map(|key| Reverse((key, index))));
    }
    Ok(())
}
