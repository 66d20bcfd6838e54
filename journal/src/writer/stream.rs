//! One stream on its way to the disk.

use std::collections::VecDeque;
use std::sync::Arc;

use m2_core::ShardId;

use super::chunk::{Chunk, Moment, Run};
use super::segments::{Place, Segments};
use super::{Lost, Settings, Trouble};
use crate::batch;
use crate::hash::Hash;
use crate::layout::Block;
use crate::limits::{ASYNC_PARTS, GIVEN_LOOKS_MAX, GIVEN_NS, PACK_NS};
use crate::op::Op;
use crate::pages::Pages;
use crate::record;
use crate::slot;

/// Buffers kept for the next chunks.
const SPARE_MAX: usize = 2;

/// One stream: what waits, what is under way, what is durable.
#[derive(Debug)]
pub(super) struct Stream {
    stream: batch::Stream,
    pub(super) segments: Segments,
    /// Most bytes of a commit.
    commit_max: usize,
    /// What was appended last.
    open: Chunk,
    /// Full ones before it, oldest first, sealed.
    full: VecDeque<Chunk>,
    full_bytes: u64,
    commit: Option<Commit>,
    durable: u64,
    /// By shard: FULFILLs of records below have been handed out.
    given: Vec<u64>,
    /// By shard: after the last record with an incoming leg of one of its accounts. 0: there is none.
    legs: Vec<u64>,
    /// By shard: up to where its snapshots hold those legs, as far as was said.
    reached: Vec<u64>,
    /// `given` has something that no batch tells.
    is_given_news: bool,
    /// Since when that has been all there is to write.
    news_since_ns: Option<u64>,
    /// When to look next for what was handed out, and how often that was done since the last commit.
    look_ns: Option<u64>,
    looks: u32,
    /// The last position written to a slot, and which slot is next.
    mark: Mark,
    spare: Vec<Arc<Pages>>,
}

/// The commit under way.
#[derive(Debug)]
struct Commit {
    chunk: Chunk,
    began_ns: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    position: u64,
    next_slot: usize,
    is_under_way: bool,
}

impl Stream {
    pub(super) fn new(
        stream: batch::Stream,
        base: Hash,
        segment_bytes: u64,
        commit_max: usize,
    ) -> Self {
        Self {
            stream,
            segments: Segments::new(stream, segment_bytes),
            commit_max,
            open: Chunk::first(Arc::new(Pages::with_capacity(commit_max)), base),
            full: VecDeque::new(),
            full_bytes: 0,
            commit: None,
            durable: 0,
            given: vec![0; stream.shards],
            legs: vec![0; stream.shards],
            reached: vec![0; stream.shards],
            is_given_news: false,
            news_since_ns: None,
            look_ns: None,
            looks: 0,
            mark: Mark::default(),
            spare: Vec::new(),
        }
    }

    /// `owners`: by account, its shard.
    pub(super) fn append(&mut self, now_ns: u64, mut blocks: &[Block], owners: &[ShardId]) {
        while let Some(head) = blocks.first() {
            let count = record::block_count(head);
            if !self.open.takes(count, self.stream.shards, self.commit_max) {
                self.close();
            }
            if self.open.is_empty() {
                self.open.first_ns = now_ns;
            }
            let max = self.commit_max;
            let (open, moment) = self.open_and_moment();
            let room = open.make_room(count, max, moment);
            let run = self.walk(blocks, room, owners);
            self.open.push(run);
            blocks = &blocks[run.blocks.len()..];
        }
    }

    /// The records that `room` blocks take, which are about to be pushed; and whose account each has an
    /// incoming leg of. An account that nobody is known to own may be any shard's.
    fn walk<'a>(&mut self, blocks: &'a [Block], room: usize, owners: &[ShardId]) -> Run<'a> {
        let (mut len, position) = (0, self.open.end());
        let mut run = Run { blocks: &[], records: 0, money: 0, is_urgent: false };
        while let Some(head) = blocks.get(len) {
            let end = len + record::block_count(head);
            // There is room for the first; one that is longer than any of ours goes all the same.
            if end > room && run.records > 0 {
                break;
            }
            len = end;
            run.records += 1;
            run.money += u32::from(record::is_money(head));
            run.is_urgent |= !record::may_wait(head);
            let Ok(pair) = record::pair(head) else { continue };
            let end = position + u64::from(run.records);
            match owners.get(pair.account_in.get() as usize) {
                Some(shard) => self.legs[usize::from(shard.0)] = end,
                None => self.legs.fill(end),
            }
        }
        run.blocks = blocks.get(..len).expect("a record comes with all of its blocks");
        run
    }

    /// Of a shard that has taken the incoming legs of records below `applied`: how far that is said as
    /// well, which is to the durable position if nothing but records of others follows, and never less
    /// than was said before, as there was no leg between either.
    pub(super) fn raise(&mut self, shard: ShardId, applied: u64) -> u64 {
        let index = usize::from(shard.0);
        let is_rest_of_others = self.legs[index] <= applied;
        let raised = if is_rest_of_others { applied.max(self.durable) } else { applied };
        self.reached[index] = self.reached[index].max(raised);
        self.reached[index]
    }

    /// The same of what was handed out, for the next batches.
    fn raise_given(&mut self) {
        let end = self.open.end();
        for (given, legs) in self.given.iter_mut().zip(&self.legs) {
            if *legs <= *given {
                *given = end;
            }
        }
    }

    pub(super) fn delivered(&mut self, shard: ShardId, position: u64) {
        let given = &mut self.given[usize::from(shard.0)];
        if position > *given {
            *given = position;
            self.is_given_news = true;
        }
    }

    /// The next write of batches, or the first page of the segment that it goes to.
    pub(super) fn next_commit(
        &mut self,
        now_ns: u64,
        settings: &Settings,
        is_finishing: bool,
    ) -> Option<Op> {
        if self.commit.is_some() {
            return None;
        }
        self.look(now_ns);
        self.tell_given(now_ns, settings, is_finishing);
        if !self.is_due(now_ns, settings, is_finishing) {
            return None;
        }
        let next = self.full.front().unwrap_or(&self.open);
        let bytes = next.padded_len();
        match self.segments.place(bytes) {
            Place::Here(segment, offset) => {
                self.segments.take(bytes);
                Some(Op::Commit { segment, offset, bytes: self.begin(now_ns) })
            }
            Place::Next(name) => {
                let head = next.segment_head(name, self.stream.shards);
                self.segments.open(head.position);
                Some(Op::Open { segment: name, page: head.page() })
            }
            Place::Nowhere => None,
        }
    }

    pub(super) fn committed(&mut self, now_ns: u64) {
        let commit = self.commit.take().expect("a commit was under way");
        (self.look_ns, self.looks) = (Some(now_ns + GIVEN_NS), 0);
        self.durable = commit.chunk.end();
        self.segments.committed();
        if self.spare.len() < SPARE_MAX {
            self.spare.extend(commit.chunk.into_buffer());
        }
    }

    /// What was appended and is not durable, and never will be: nothing is written any more.
    pub(super) fn take_lost(&mut self) -> Lost {
        if !self.open.is_empty() {
            self.close();
        }
        let commit = self.commit.take().map(|commit| commit.chunk);
        let mut lost = Lost { position: self.open.position(), blocks: Vec::new() };
        for chunk in commit.into_iter().chain(self.full.drain(..)) {
            lost.position = lost.position.min(chunk.position());
            chunk.put_records(&self.stream, &mut lost.blocks);
        }
        self.full_bytes = 0;
        lost
    }

    /// Tells the durable position to the slot whose turn it is.
    pub(super) fn next_mark(&mut self) -> Option<Op> {
        if self.mark.is_under_way || self.mark.position == self.durable {
            return None;
        }
        let batch::Stream { generation, id: stream, .. } = self.stream;
        let bytes = slot::encode(generation, stream, self.durable);
        let offset = slot::offset(self.mark.next_slot);
        let next_slot = 1 - self.mark.next_slot;
        self.mark = Mark { position: self.durable, next_slot, is_under_way: true };
        Some(Op::Mark { generation, stream, offset, bytes })
    }

    pub(super) fn marked(&mut self) {
        self.mark.is_under_way = false;
    }

    pub(super) fn id(&self) -> ShardId {
        self.stream.id
    }

    /// Tells of each segment all of whose records are below `past` and were handed out.
    pub(super) fn retire_below(&mut self, past: u64, retire: impl FnMut(String)) {
        let given = self.all_given();
        self.segments.retire_below(past.min(given), retire);
    }

    /// A segment is full, all in it was handed out, and it has not been retired yet.
    pub(super) fn waits_for_snapshots(&self) -> bool {
        self.segments.oldest_closed_end().is_some_and(|end| end <= self.all_given())
    }

    pub(super) fn durable(&self) -> u64 {
        self.durable
    }

    pub(super) fn position(&self) -> u64 {
        self.open.end()
    }

    /// Nothing waits to be written.
    pub(super) fn is_settled(&self) -> bool {
        self.commit.is_none()
            && self.full.is_empty()
            && self.open.is_empty()
            && !self.is_given_news
            && self.mark.position == self.durable
    }

    pub(super) fn trouble(&self, now_ns: u64, settings: &Settings) -> Option<Trouble> {
        if self.commit.as_ref().is_some_and(|commit| now_ns >= commit.began_ns + settings.slow_ns) {
            return Some(Trouble::Slow);
        }
        if self.is_short(settings) {
            return Some(Trouble::Room);
        }
        (self.waiting_bytes() > settings.waiting_bytes_max).then_some(Trouble::Behind)
    }

    pub(super) fn wake_ns(&self, settings: &Settings) -> Option<u64> {
        let commit = match &self.commit {
            Some(commit) => Some(commit.began_ns + settings.slow_ns),
            None if !self.open.is_empty() => Some(self.open.first_ns + self.wait_ns(settings)),
            None if self.is_short(settings) => None,
            None => self.news_since_ns.map(|since_ns| since_ns + GIVEN_NS).or(self.look_ns),
        };
        commit.into_iter().chain(self.segments.wake_ns()).min()
    }

    /// Seals the open chunk and begins another.
    fn close(&mut self) {
        self.raise_given();
        let (open, moment) = self.open_and_moment();
        open.seal(moment);
        let buffer = self.spare.pop();
        let buffer = buffer.unwrap_or_else(|| Arc::new(Pages::with_capacity(self.commit_max)));
        let next = self.open.next(buffer);
        let full = core::mem::replace(&mut self.open, next);
        self.full_bytes += full.padded_len() as u64;
        self.full.push_back(full);
    }

    /// Begins a batch without records if what was handed out is all that is to be told, and has been for
    /// [`GIVEN_NS`]: once, as it is no news then. It is not worth a page while room is short.
    fn tell_given(&mut self, now_ns: u64, settings: &Settings, is_finishing: bool) {
        if !self.is_given_news || !self.full.is_empty() || !self.open.is_empty() {
            self.news_since_ns = None;
            return;
        }
        let since_ns = *self.news_since_ns.get_or_insert(now_ns);
        let is_time = now_ns >= since_ns + GIVEN_NS && !self.is_short(settings);
        if is_finishing || is_time {
            self.open.push_nothing(self.stream.shards);
            (self.open.first_ns, self.open.is_urgent) = (now_ns, true);
        }
    }

    /// Whoever drives the writer is to look for what was handed out, as nobody wakes it for that.
    fn look(&mut self, now_ns: u64) {
        if self.look_ns.is_some_and(|look_ns| look_ns <= now_ns) {
            self.looks += 1;
            let is_on = self.looks < GIVEN_LOOKS_MAX && !self.is_all_given();
            self.look_ns = is_on.then_some(now_ns + (GIVEN_NS << self.looks));
        }
    }

    /// Every FULFILL that may go was handed out.
    fn is_all_given(&self) -> bool {
        self.all_given() >= self.durable
    }

    /// FULFILLs of all records below were handed out, whosever they are.
    fn all_given(&self) -> u64 {
        let waiting = self.given.iter().zip(&self.legs).filter(|(given, legs)| given < legs);
        waiting.map(|(given, _)| *given).min().unwrap_or_else(|| self.open.end())
    }

    /// Whether the next chunk is to be written now. What somebody waits for never waits, unless room is
    /// short: then a page is not begun for a single record, see [`PACK_NS`].
    fn is_due(&self, now_ns: u64, settings: &Settings, is_finishing: bool) -> bool {
        if !self.full.is_empty() {
            return true;
        }
        let chunk = &self.open;
        if chunk.is_empty() {
            return false;
        }
        let is_enough = match self.is_short(settings) {
            true => chunk.fills_a_page(),
            false => chunk.is_urgent || chunk.record_bytes() >= settings.async_bytes / ASYNC_PARTS,
        };
        is_finishing || is_enough || now_ns >= chunk.first_ns + self.wait_ns(settings)
    }

    /// How long the oldest record waits at most for others to come.
    fn wait_ns(&self, settings: &Settings) -> u64 {
        if self.is_short(settings) { PACK_NS } else { settings.async_ns / ASYNC_PARTS }
    }

    /// Less room is left than what is in flight may need.
    pub(super) fn is_short(&self, settings: &Settings) -> bool {
        self.segments.room().saturating_sub(self.waiting_bytes()) < settings.reserve_bytes
    }

    /// The bytes of the next chunk, which is under way from now on.
    fn begin(&mut self, now_ns: u64) -> Arc<Pages> {
        if self.full.is_empty() {
            self.close();
            self.is_given_news = false;
        }
        let chunk = self.full.pop_front().expect("it was just filled");
        self.full_bytes -= chunk.padded_len() as u64;
        let bytes = chunk.bytes();
        self.commit = Some(Commit { chunk, began_ns: now_ns });
        bytes
    }

    fn waiting_bytes(&self) -> u64 {
        self.full_bytes + self.open.padded_len() as u64
    }

    fn open_and_moment(&mut self) -> (&mut Chunk, Moment<'_>) {
        let Self { open, stream, durable, given, .. } = self;
        (open, Moment { stream, flushed: *durable, given })
    }
}
