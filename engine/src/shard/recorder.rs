//! The shard's end of the journal: records out, and word back of what is durable.
//!
//! Invariant: a record is in the journal's ring before a byte of its FULFILL goes to the kernel, but
//! where the ring is full: then it is soon, and its FULFILL counts as at risk until it is durable. So
//! when this thread dies, the journal thread has the records of what anybody may have seen.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crossbeam_channel::Sender;
use m2_core::limits::BATCH_MAX;
use m2_core::{JournalState, Now, ShardId, ShardImage, Switch};
use m2_journal::limits::RECORD_BLOCKS_MAX;
use m2_journal::{Block, record};
use rtrb::Producer;

use super::links::Links;
use super::wake::wake;
use crate::journal::Words;

/// Records that are put into the ring together: those of a vector, and what came beside it.
const RECORDS_AT_ONCE_MAX: usize = 2 * BATCH_MAX;

/// What joins a shard to the journal thread; see `topology.rs`.
#[derive(Debug)]
pub(crate) struct Joints {
    pub(crate) shard: ShardId,
    pub(crate) ring: Producer<Block>,
    pub(crate) words: Arc<Words>,
    /// Wakes the journal thread.
    pub(crate) journal: Arc<OwnedFd>,
    pub(crate) images: Sender<ShardImage>,
    /// A commit that is under way for longer is trouble.
    pub(crate) slow_ns: u64,
    /// The journal thread is not left to look by itself when so many blocks wait in the ring.
    pub(crate) waiting_blocks_max: usize,
}

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Recorder {
    joints: Joints,
    /// By stream: what the core was told.
    seen: Vec<u64>,
    state: JournalState,
    /// Records as they are encoded, before they are put into the ring together: each word to the
    /// journal thread takes a line of the cache from it that it is looking at.
    blocks: Vec<Block>,
}

impl Recorder {
    pub(super) fn new(joints: Joints) -> Self {
        let seen = vec![0; joints.words.shards()];
        let blocks = Vec::with_capacity(RECORDS_AT_ONCE_MAX + RECORD_BLOCKS_MAX);
        Self { joints, seen, state: JournalState::Ready, blocks }
    }

    /// How the journal is, as the core knows it.
    pub(super) fn state(&self) -> JournalState {
        self.state
    }

    /// The shard is about to end.
    pub(super) fn set_ending(&self) {
        self.joints.words.set_ending();
        wake(&self.joints.journal);
    }

    /// Moves records from the core to the journal's ring, as many as it has room for.
    pub(super) fn take_records(&mut self, switch: &mut Switch) {
        let Self { joints, blocks, .. } = self;
        let (mut put, mut is_urgent) = (0, false);
        // A record is a block, but for credits and reversals of many shards.
        while joints.ring.slots() >= RECORD_BLOCKS_MAX {
            let room = joints.ring.slots() / RECORD_BLOCKS_MAX;
            let mut taken = 0;
            blocks.clear();
            switch.drain_records(room.min(RECORDS_AT_ONCE_MAX), |one| {
                taken += 1;
                let start = blocks.len();
                record::encode(&one, blocks);
                is_urgent |= !record::may_wait(&blocks[start]);
            });
            if taken == 0 {
                break;
            }
            put_blocks(&mut joints.ring, blocks);
            put += taken;
        }
        if put == 0 {
            return;
        }
        let stream = usize::from(joints.shard.0);
        joints.words.add_put(stream, put);
        let waiting = joints.ring.buffer().capacity() - joints.ring.slots();
        is_urgent |= waiting >= joints.waiting_blocks_max;
        if joints.words.take_rest(stream, is_urgent) {
            wake(&joints.journal);
        }
    }

    /// Tells the core what is durable by now, and how the journal is. FULFILLs that waited for it go
    /// to the links' egress.
    pub(super) fn take_word(&mut self, now: Now, switch: &mut Switch, links: &mut Links) {
        let Self { joints, seen, .. } = self;
        for (stream, seen) in seen.iter_mut().enumerate() {
            let durable = joints.words.durable(stream);
            if durable > *seen {
                *seen = durable;
                switch.durable(shard_id(stream), durable, links);
            }
        }
        let mut state = joints.words.state();
        if state == JournalState::Ready && self.is_slow(now.mono_ns) {
            // The journal thread may itself be waiting for that commit.
            state = JournalState::Refusing;
        }
        if state != self.state {
            self.state = state;
            switch.set_journal(state);
        }
        if self.joints.words.take_image_wanted(usize::from(self.joints.shard.0)) {
            // If the last one is still waiting, this one is as good later.
            let _ = self.joints.images.try_send(switch.image());
            wake(&self.joints.journal);
        }
    }

    /// Tells the journal up to where FULFILLs are with the kernel: as far as they were given to links,
    /// or as far as they were when a link that lags behind last had nothing waiting.
    pub(super) fn tell_delivered(&self, switch: &Switch, links: &mut Links) {
        let words = &self.joints.words;
        let shard = usize::from(self.joints.shard.0);
        for stream in 0..self.seen.len() {
            let given = switch.given(shard_id(stream));
            let before = words.delivered(stream, shard);
            if before < given {
                words.set_delivered(stream, shard, links.delivered(stream, before, given));
            }
        }
    }

    fn is_slow(&self, now_ns: u64) -> bool {
        let Joints { words, slow_ns, .. } = &self.joints;
        (0..self.seen.len()).any(|stream| words.commit_age_ns(stream, now_ns) > *slow_ns)
    }
}

/// There is room for as many of the longest record.
fn put_blocks(ring: &mut Producer<Block>, blocks: &[Block]) {
    let chunk = ring.write_chunk_uninit(blocks.len()).expect("there is room for the longest");
    let filled = chunk.fill_from_iter(blocks.iter().copied());
    assert!(filled == blocks.len(), "the chunk is as long as the records");
}

fn shard_id(index: usize) -> ShardId {
    ShardId(u16::try_from(index).expect("shards are numbered by u16"))
}
