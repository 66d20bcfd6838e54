//! Snapshots that wait until all they name is durable, and what may go once they are written.
//!
//! The two newest snapshots of each shard are kept, with all records that the older one of them lacks:
//! if any one file turns out to be damaged, the one before it and a longer replay stand in for it.
//!
//! A shard tells how far it has come in a stream when it takes a leg of it, or a FULFILL goes; one that
//! has no account there tells nothing, ever. So the writer looks whose legs it is given, and takes a
//! shard to be as far as the stream is durable if nothing but legs of others follows what it has told.
//! That changes no word: the image holds, of the records below, all legs of the shard, as there are none.
//!
//! Invariants: a snapshot is written only when every position that it names is durable; a segment is
//! retired only when the snapshots before the newest of all shards are past it and everything in it has
//! been handed out; a snapshot, only when two newer ones of its shard are on the disk.

use std::collections::VecDeque;

use m2_core::{ShardId, ShardImage};

use super::Retention;
use crate::image;
use crate::names::{ARCHIVE, SnapshotName};
use crate::op::Op;

/// The snapshots of all shards.
#[derive(Debug)]
pub(super) struct Snapshots {
    generation: u32,
    shards: Vec<Shard>,
}

#[derive(Debug, Default)]
struct Shard {
    /// How many were begun.
    number: u32,
    waiting: Option<ShardImage>,
    under_way: Option<Written>,
    /// The newest on the disk.
    newest: Option<Written>,
    /// The one before it.
    previous: Option<Written>,
}

/// What a snapshot names.
#[derive(Clone, Debug)]
struct Written {
    name: SnapshotName,
    appended: u64,
    applied: Vec<u64>,
}

impl Snapshots {
    pub(super) fn new(generation: u32, shards: usize) -> Self {
        Self { generation, shards: (0..shards).map(|_| Shard::default()).collect() }
    }

    /// Takes one, unless the shard has one on its way.
    pub(super) fn take(&mut self, image: ShardImage) -> bool {
        let shard = &mut self.shards[usize::from(image.shard.0)];
        let is_free = shard.waiting.is_none() && shard.under_way.is_none();
        if is_free {
            shard.waiting = Some(image);
        }
        is_free
    }

    /// The next one that rests on nothing that is not durable.
    pub(super) fn next(&mut self, durable: &[u64]) -> Option<(usize, Op)> {
        let generation = self.generation;
        self.shards.iter_mut().enumerate().find_map(|(index, shard)| {
            let image = shard.waiting.take_if(|image| {
                let is_durable = |(named, durable): (&u64, &u64)| named <= durable;
                image.appended <= durable[index]
                    && image.applied.iter().zip(durable).all(is_durable)
            })?;
            shard.number += 1;
            let name = SnapshotName { generation, shard: image.shard, number: shard.number };
            let bytes = image::encode_snapshot(generation, &image);
            let ShardImage { appended, applied, .. } = image;
            shard.under_way = Some(Written { name, appended, applied });
            Some((index, Op::Snapshot { name, bytes }))
        })
    }

    /// It is on the disk. The one before the two newest may go.
    pub(super) fn written(&mut self, shard: usize) -> Option<String> {
        let shard = &mut self.shards[shard];
        let newest = core::mem::replace(&mut shard.newest, shard.under_way.take());
        let before = core::mem::replace(&mut shard.previous, newest);
        before.map(|before| before.name.path())
    }

    /// It could not be written: the next one is tried in its place.
    pub(super) fn failed(&mut self, shard: usize) {
        self.shards[shard].under_way = None;
    }

    /// All records of the stream below are in the newest snapshots of all shards, and in those before
    /// them. A shard that has one alone has the base before it, which is past nothing.
    pub(super) fn past(&self, stream: ShardId) -> u64 {
        let stream = usize::from(stream.0);
        let past = self.shards.iter().enumerate().map(|(index, shard)| match &shard.previous {
            None => 0,
            Some(previous) if index == stream => previous.appended.min(previous.applied[stream]),
            Some(previous) => previous.applied[stream],
        });
        past.min().unwrap_or(0)
    }

    pub(super) fn is_settled(&self) -> bool {
        self.shards.iter().all(|shard| shard.waiting.is_none() && shard.under_way.is_none())
    }
}

/// What nobody needs any more, one after the other.
#[derive(Debug)]
pub(super) struct Retired {
    policy: Retention,
    waiting: VecDeque<Op>,
    is_under_way: bool,
    /// The last try failed: the next one is not before this moment.
    retry_ns: Option<u64>,
}

impl Retired {
    pub(super) fn new(policy: Retention) -> Self {
        Self { policy, waiting: VecDeque::new(), is_under_way: false, retry_ns: None }
    }

    /// A file that may go.
    pub(super) fn add(&mut self, path: String) {
        let to = match self.policy {
            Retention::Keep => return,
            Retention::Archive => Some(format!("{ARCHIVE}/{path}")),
            Retention::Delete => None,
        };
        self.waiting.push_back(Op::Retire { from: path, to });
    }

    /// A folder whose files were added before.
    pub(super) fn add_folder(&mut self, path: String) {
        if self.policy != Retention::Keep {
            self.waiting.push_back(Op::RemoveFolder { path });
        }
    }

    /// In order, so that what is left of a stream has no gap.
    pub(super) fn next(&mut self, now_ns: u64) -> Option<Op> {
        if self.is_under_way || self.retry_ns.is_some_and(|retry_ns| now_ns < retry_ns) {
            return None;
        }
        let op = self.waiting.front()?.clone();
        self.is_under_way = true;
        Some(op)
    }

    pub(super) fn gone(&mut self) {
        self.is_under_way = false;
        self.retry_ns = None;
        self.waiting.pop_front();
    }

    /// A file is tried again. A folder that is not empty, as somebody put a file there, is left to the
    /// next start.
    pub(super) fn failed(&mut self, retry_ns: u64) {
        self.is_under_way = false;
        self.retry_ns = Some(retry_ns);
        self.waiting.pop_front_if(|op| matches!(op, Op::RemoveFolder { .. }));
    }

    /// When one that failed is tried again.
    pub(super) fn wake_ns(&self) -> Option<u64> {
        self.retry_ns.filter(|_| !self.is_under_way)
    }
}
