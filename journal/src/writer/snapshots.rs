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
use crate::storage::folder_of;

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

/// What nobody needs any more, one request at a time. What fails is tried again, and holds up nothing but
/// what has to come behind it.
#[derive(Debug)]
pub(super) struct Retired {
    policy: Retention,
    /// In the order in which it came.
    waiting: VecDeque<Waiting>,
    /// Which of them.
    under_way: Option<usize>,
}

#[derive(Debug)]
struct Waiting {
    op: Op,
    /// The last try failed: the next one is not before this moment.
    retry_ns: Option<u64>,
}

impl Retired {
    pub(super) fn new(policy: Retention) -> Self {
        Self { policy, waiting: VecDeque::new(), under_way: None }
    }

    /// A file that may go.
    pub(super) fn add(&mut self, path: String) {
        let to = match self.policy {
            Retention::Keep => return,
            Retention::Archive => Some(format!("{ARCHIVE}/{path}")),
            Retention::Delete => None,
        };
        self.push(Op::Retire { from: path, to });
    }

    /// A folder whose files were added before.
    pub(super) fn add_folder(&mut self, path: String) {
        if self.policy != Retention::Keep {
            self.push(Op::RemoveFolder { path });
        }
    }

    fn push(&mut self, op: Op) {
        self.waiting.push_back(Waiting { op, retry_ns: None });
    }

    /// The first that is due.
    pub(super) fn next(&mut self, now_ns: u64) -> Option<Op> {
        if self.under_way.is_some() {
            return None;
        }
        let index = (0..self.waiting.len()).find(|index| self.is_due(*index, now_ns))?;
        self.under_way = Some(index);
        Some(self.waiting[index].op.clone())
    }

    fn is_due(&self, index: usize, now_ns: u64) -> bool {
        let Waiting { op, retry_ns } = &self.waiting[index];
        retry_ns.is_none_or(|retry_ns| retry_ns <= now_ns)
            && !self.waiting.range(..index).any(|before| comes_behind(op, &before.op))
    }

    pub(super) fn gone(&mut self) {
        let index = self.under_way.take().expect("it was asked for");
        self.waiting.remove(index);
    }

    /// A file is tried again. A folder that is not empty, as somebody put a file there, is left to the
    /// next start.
    pub(super) fn failed(&mut self, retry_ns: u64) {
        let index = self.under_way.take().expect("it was asked for");
        match &mut self.waiting[index] {
            Waiting { op: Op::RemoveFolder { .. }, .. } => drop(self.waiting.remove(index)),
            file => file.retry_ns = Some(retry_ns),
        }
    }

    /// When one that failed is tried again. Nothing that was tried waits for another.
    pub(super) fn wake_ns(&self) -> Option<u64> {
        let retries = self.waiting.iter().filter_map(|it| it.retry_ns);
        retries.min().filter(|_| self.under_way.is_none())
    }
}

/// What is left of a stream has no gap, and a folder goes when its files have gone.
fn comes_behind(op: &Op, before: &Op) -> bool {
    let Op::Retire { from: before, .. } = before else { return false };
    match op {
        Op::RemoveFolder { path } => folder_of(before) == path,
        Op::Retire { from, .. } => stream_of(from).is_some_and(|it| stream_of(before) == Some(it)),
        _ => false,
    }
}

/// The path of a segment without its number.
fn stream_of(path: &str) -> Option<&str> {
    let (stream, _) = path.strip_suffix(".m2j")?.rsplit_once('-')?;
    Some(stream)
}
