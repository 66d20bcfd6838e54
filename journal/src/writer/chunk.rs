//! Batches that go to the disk in one write: some complete, the last one perhaps still growing.
//!
//! Records are copied once, to where they stand in the write, as many at a time as there is room for:
//! what is stored in pieces of a record waits at each for lines that the disk has read last. A batch gets
//! its head and hash when it is full or when its chunk is about to be written.

use std::sync::Arc;

use crate::batch::{self, Head, Stream};
use crate::hash::Hash;
use crate::layout::Block;
use crate::limits::{BATCH_BYTES_MAX, BLOCK_LEN, PAGE_LEN};
use crate::names::SegmentName;
use crate::pages::Pages;
use crate::segment;

/// What a batch says of the moment at which it is sealed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment<'a> {
    pub(super) stream: &'a Stream,
    /// The stream's durable position.
    pub(super) flushed: u64,
    pub(super) given: &'a [u64],
}

/// Records that follow each other, each with all of its blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run<'a> {
    pub(super) blocks: &'a [Block],
    pub(super) records: u32,
    /// How many of them are credits and reversals.
    pub(super) money: u32,
    /// Somebody waits for one of them.
    pub(super) is_urgent: bool,
}

/// Batches in one buffer.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Ours alone until it is at the disk.
    bytes: Arc<Pages>,
    /// Position of its first record.
    position: u64,
    /// Position after its last record.
    end: u64,
    /// Credits and reversals in the stream before it.
    money_before: u64,
    /// Those up to its end.
    money: u64,
    /// Hash of the batch before its first one.
    previous: Hash,
    /// Hash of its last batch that is sealed, or `previous`.
    last: Hash,
    open: Option<Open>,
    /// When its first record came.
    pub(super) first_ns: u64,
    /// Somebody waits for one of its records.
    pub(super) is_urgent: bool,
}

/// The batch that still grows.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// Where it begins in the buffer.
    start: usize,
    position: u64,
    records: u32,
    blocks: u32,
    money: u32,
}

impl Chunk {
    /// The first one of a stream.
    pub(super) fn first(buffer: Arc<Pages>, base: Hash) -> Self {
        Self::new(buffer, 0, 0, base)
    }

    /// An empty one behind this one, all of whose batches are sealed. `buffer` may be used or new, and nobody
    /// else holds it.
    pub(super) fn next(&self, mut buffer: Arc<Pages>) -> Self {
        assert!(self.open.is_none(), "a chunk is sealed before it is left");
        ours(&mut buffer).clear();
        Self::new(buffer, self.end, self.money, self.last)
    }

    fn new(buffer: Arc<Pages>, position: u64, money: u64, previous: Hash) -> Self {
        Self {
            bytes: buffer,
            position,
            end: position,
            money_before: money,
            money,
            previous,
            last: previous,
            open: None,
            first_ns: 0,
            is_urgent: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Bytes of its records, one block each: what is at risk while it is not durable.
    pub(super) fn record_bytes(&self) -> u64 {
        (self.end - self.position) * BLOCK_LEN as u64
    }

    /// No further record fits the page that it has begun with.
    pub(super) fn fills_a_page(&self) -> bool {
        self.bytes.len() + BLOCK_LEN > PAGE_LEN
    }

    /// The first page of a segment that begins with it.
    pub(super) fn segment_head(&self, name: SegmentName, shards: usize) -> segment::Head {
        let Self { position, money_before: money, previous, .. } = *self;
        segment::Head { name, shards, position, money, previous }
    }

    /// Bytes that it takes on the disk.
    pub(super) fn padded_len(&self) -> usize {
        self.bytes.len().next_multiple_of(PAGE_LEN)
    }

    /// Whether a record of so many blocks leaves it within `max` bytes.
    pub(super) fn takes(&self, blocks: usize, shards: usize, max: usize) -> bool {
        let len = blocks * BLOCK_LEN;
        let added = match self.batch_takes(len, max) {
            true => self.bytes.len() + len,
            false => self.padded_len() + batch::head_len(shards) + len,
        };
        added.next_multiple_of(PAGE_LEN) <= max
    }

    /// Sees that the batch that grows has room for a record of so many blocks: or it is sealed, and the
    /// next one begun. How many blocks there is room for; the chunk takes that record.
    pub(super) fn make_room(&mut self, blocks: usize, max: usize, moment: Moment<'_>) -> usize {
        if !self.batch_takes(blocks * BLOCK_LEN, max) {
            self.seal(moment);
            self.begin_batch(moment.stream.shards);
        }
        let start = self.open.as_ref().expect("a batch was begun").start;
        (max.min(start + BATCH_BYTES_MAX) - self.bytes.len()) / BLOCK_LEN
    }

    /// Adds records, each whole, that there is room for.
    pub(super) fn push(&mut self, run: Run<'_>) {
        let Run { blocks, records, money, is_urgent } = run;
        ours(&mut self.bytes).extend_from_slice(blocks.as_flattened());
        let open = self.open.as_mut().expect("a batch was begun");
        open.records += records;
        open.blocks += u32::try_from(blocks.len()).expect("BATCH_BYTES_MAX is less");
        open.money += money;
        self.money += u64::from(money);
        self.end += u64::from(records);
        self.is_urgent |= is_urgent;
    }

    /// A batch without records tells what has been handed out since the last one.
    pub(super) fn push_nothing(&mut self, shards: usize) {
        assert!(self.open.is_none(), "what has records tells it too");
        self.begin_batch(shards);
    }

    /// Completes the batch that grows, if there is one.
    pub(super) fn seal(&mut self, moment: Moment<'_>) {
        let Some(open) = self.open.take() else { return };
        let Open { start, position, records, blocks, money } = open;
        let head = Head { position, flushed: moment.flushed, records, blocks, money };
        self.last = batch::seal(
            ours(&mut self.bytes),
            start,
            &head,
            moment.stream,
            moment.given,
            &self.last,
        );
    }

    /// The bytes to be written. All batches are sealed.
    pub(super) fn bytes(&self) -> Arc<Pages> {
        assert!(self.open.is_none(), "a chunk is sealed before it is written");
        Arc::clone(&self.bytes)
    }

    /// The buffer, to be filled anew, unless somebody else holds it.
    pub(super) fn into_buffer(mut self) -> Option<Arc<Pages>> {
        Arc::get_mut(&mut self.bytes).is_some().then_some(self.bytes)
    }

    /// Adds the blocks of its records, in their order. All batches are sealed.
    pub(super) fn put_records(&self, stream: &Stream, blocks: &mut Vec<Block>) {
        assert!(self.open.is_none(), "a chunk is sealed before it is given out");
        let mut start = 0;
        while start < self.bytes.len() {
            let bytes = &self.bytes[start..];
            let head = Head::peek(bytes, stream).expect("a batch that we sealed");
            let len = head.len(stream.shards);
            let (records, _) = bytes[batch::head_len(stream.shards)..len].as_chunks();
            blocks.extend_from_slice(records);
            start += len.next_multiple_of(PAGE_LEN);
        }
    }

    fn batch_takes(&self, len: usize, max: usize) -> bool {
        self.open.is_some_and(|open| {
            let batch = self.bytes.len() - open.start + len;
            batch.next_multiple_of(PAGE_LEN) <= BATCH_BYTES_MAX.min(max)
        })
    }

    fn begin_batch(&mut self, shards: usize) {
        let start = self.bytes.len();
        let open = Open { start, position: self.end, records: 0, blocks: 0, money: 0 };
        self.open = Some(open);
        ours(&mut self.bytes).pad(start + batch::head_len(shards));
    }
}

/// A buffer that is being filled.
fn ours(buffer: &mut Arc<Pages>) -> &mut Pages {
    Arc::get_mut(buffer).expect("a chunk is filled before anybody else holds its bytes")
}
