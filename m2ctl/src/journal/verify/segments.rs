//! Segments read on all cores, each by itself: a segment says what it is chained to, so its own batches
//! can be checked before anybody has read the one before. [`super::chain`] then sees whether what each
//! says is what the one before came to.

use std::sync::atomic::{AtomicU64, Ordering};

use m2_core::record::Record;
use m2_journal::batch::Batch;
use m2_journal::layout::Block;
use m2_journal::names::SegmentName;
use m2_journal::record::{self, kind};
use m2_journal::recover::found;
use m2_journal::scan::{End, Heads, Link, Scan};
use m2_journal::{Fault, Hash};

use super::super::cores::on_all_cores;
use super::super::disk::ReadOnly;
use super::super::filter::{Kind, at_ms};
use super::super::open::{Generation, Journal};
use super::legs::{Legs, Sum};
use super::plan::{Money, Plan};
use crate::output::Failure;

/// What the segments of a generation are read with.
pub(super) struct Reading<'a> {
    pub(super) journal: &'a Journal,
    pub(super) generation: &'a Generation,
    /// By stream: what begins at or behind this position is left alone, as it is being written.
    pub(super) bounds: &'a [u64],
    pub(super) threads: usize,
    /// Bytes read so far.
    pub(super) progress: &'a AtomicU64,
}

/// One segment that was read.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) name: SegmentName,
    /// What it says that it is chained to; `None` if nothing was written to it.
    pub(super) link: Option<Link>,
    /// How many credits and reversals it says stand before it, and how many are in it.
    pub(super) money: (u64, u64),
    /// Where it ends, by itself.
    pub(super) end: End,
    pub(super) counts: Counts,
    /// What is no pair and no evidence, with its position.
    pub(super) rare: Vec<(u64, Record)>,
    /// A record that no switch could have written: at which byte its batch begins.
    pub(super) wrong: Option<(u64, Fault)>,
}

/// What records there are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Counts {
    /// By kind, as in [`Kind::ALL`].
    pub(super) kinds: [u64; Kind::ALL.len()],
    pub(super) batches: u64,
    /// Bytes of the batches, with padding.
    pub(super) bytes: u64,
    pub(super) first_at_ms: Option<u64>,
    pub(super) last_at_ms: Option<u64>,
}

impl Counts {
    pub(super) fn records(&self) -> u64 {
        self.kinds.iter().sum()
    }

    /// What comes behind is added.
    pub(super) fn add(&mut self, later: &Self) {
        self.kinds.iter_mut().zip(later.kinds).for_each(|(sum, count)| *sum += count);
        self.batches += later.batches;
        self.bytes += later.bytes;
        self.first_at_ms = self.first_at_ms.or(later.first_at_ms);
        self.last_at_ms = later.last_at_ms.or(self.last_at_ms);
    }

    fn count(&mut self, kind: u8, at_ms: u64) {
        // Records that are decoded have a kind from 1 to 8.
        self.kinds[usize::from(kind) - 1] += 1;
        self.first_at_ms.get_or_insert(at_ms);
        self.last_at_ms = Some(at_ms);
    }
}

impl Reading<'_> {
    /// Looks for credits and reversals, by the heads of batches: which there are decides what may be
    /// added up together. A head that is wrong is found when its segment is read.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub(super) fn money(&self) -> Result<Vec<Money>, Failure> {
        let streams: Vec<_> = self.generation.streams().collect();
        let look = |disk: &mut ReadOnly, index: usize| {
            let segments = found::with_money(disk, &self.generation.segments[index])?;
            let mut money = Vec::new();
            let mut heads = Heads::new(disk, streams[index], segments);
            while let Some((place, head)) = heads.next_head()? {
                if head.money == 0 || head.position >= self.bounds[index] {
                    continue;
                }
                let Some(batch) = heads.batch(place, head)? else { break };
                let stream = streams[index].id.0;
                let all = super::super::walk::records(&batch).map_while(Result::ok);
                money.extend(all.filter_map(|(at, record)| Money::of(stream, at, &record)));
            }
            Ok(money)
        };
        let disk = || self.journal.disk();
        let (_, found) = on_all_cores(self.threads, streams.len(), disk, look)?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Reads all segments: each stream's in order, and the sums of all legs.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub(super) fn read(&self, plan: &Plan) -> Result<(Vec<Segment>, Vec<Sum>), Failure> {
        let names: Vec<_> = self.generation.segments.iter().flatten().copied().collect();
        let state = || (self.journal.disk(), Legs::new(plan));
        let (states, segments) = on_all_cores(self.threads, names.len(), state, |state, index| {
            let (disk, legs) = state;
            self.segment(disk, legs, names[index])
        })?;
        let mut sums = vec![Sum::default(); plan.epochs()];
        states.iter().for_each(|(_, legs)| legs.add_to(&mut sums));
        Ok((segments, sums))
    }

    fn segment(
        &self,
        disk: &mut ReadOnly,
        legs: &mut Legs<'_>,
        name: SegmentName,
    ) -> Result<Segment, Failure> {
        let stream = self.generation.stream(usize::from(name.stream.0));
        let bound = self.bounds[usize::from(name.stream.0)];
        let head = found::read_head(disk, name)?;
        let link = head.map(|head| Link { position: head.position, hash: head.previous });
        let mut read = Reader { legs, counts: Counts::default(), rare: Vec::new() };
        read.legs.open(name.stream.0);
        let mut scan = Scan::new(disk, stream, vec![name], self.generation.base_hash);
        let (mut wrong, mut cut) = (None, None);
        while let Some((place, batch)) = scan.next_batch()? {
            if batch.head.position >= bound {
                // Nobody asks what is chained to it.
                let link = Link { position: batch.head.position, hash: Hash::NONE };
                cut = Some(End { link, place, fault: None });
                break;
            }
            read.counts.batches += 1;
            let len = batch.head.padded_len(stream.shards) as u64;
            read.counts.bytes += len;
            self.progress.fetch_add(len, Ordering::Relaxed);
            if let Err(fault) = read.batch(&batch) {
                wrong = wrong.or(Some((place.offset, fault)));
            }
        }
        let end = cut.unwrap_or_else(|| scan.end());
        let is_money = |(_, record): &&(u64, Record)| {
            matches!(record, Record::Credited(_) | Record::Reversed(_))
        };
        let money = read.rare.iter().filter(is_money).count() as u64;
        let money = (head.map_or(0, |head| head.money), money);
        Ok(Segment { name, link, money, end, counts: read.counts, rare: read.rare, wrong })
    }
}

struct Reader<'a, 'b> {
    legs: &'a mut Legs<'b>,
    counts: Counts,
    rare: Vec<(u64, Record)>,
}

impl Reader<'_, '_> {
    fn batch(&mut self, batch: &Batch<'_>) -> Result<(), Fault> {
        let mut position = batch.head.position;
        let mut blocks = batch.blocks;
        while let Some((head, rest)) = blocks.split_first() {
            if position == batch.head.end() {
                return Err(Fault::Counts);
            }
            if head[0] == kind::PAIR {
                let pair = record::pair(head)?;
                self.counts.count(kind::PAIR, pair.decided_at_ms.get());
                self.legs.pair(position, pair)?;
                blocks = rest;
            } else {
                blocks = self.other(position, blocks)?;
            }
            position += 1;
        }
        if position == batch.head.end() { Ok(()) } else { Err(Fault::Counts) }
    }

    fn other<'c>(&mut self, position: u64, blocks: &'c [Block]) -> Result<&'c [Block], Fault> {
        let (record, count) = record::decode(blocks)?;
        self.counts.count(blocks[0][0], at_ms(&record));
        match record {
            Record::LateFulfill(late) => self.legs.own(late.connection.account)?,
            record => self.rare.push((position, record)),
        }
        Ok(&blocks[count..])
    }
}
