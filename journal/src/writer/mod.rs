//! The writer: records in, requests to a disk out. It has no thread, no clock and no file.
//!
//! ```text
//!   append --> open chunk --full--> waiting chunks --> Commit (one at a time a stream)
//!                    '---- a record that somebody waits for, or async_ns / 4 ----^
//!   done(Commit) --> durable position --> Mark, snapshots that waited for it, retired segments
//! ```
//!
//! Whoever drives it calls [`Writer::next_op`] until there is none, performs the requests, all at
//! once if it likes, and tells each by [`Writer::done`]. One commit of a stream is under way at a
//! time; what comes meanwhile is the next one. When room is short, records wait a little for others, so
//! that a trickle of them does not take a page each.
//!
//! Invariants: bytes that a finished commit covered are never written again; a record counts as
//! durable only when every record before it in its stream does; after a write or a flush has failed,
//! nothing more is written, for nobody knows what the disk has.

mod chunk;
mod segments;
mod snapshots;
mod stream;

use std::io;

use m2_core::{ShardId, ShardImage};

use crate::batch;
use crate::hash::Hash;
use crate::layout::Block;
use crate::limits::{
    COMMIT_BYTES_MAX, COMMIT_BYTES_MIN, PAGE_LEN, RESERVE_BYTES_DEFAULT, SEGMENT_BYTES_DEFAULT,
    SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SHARDS_MAX,
};
use crate::op::Op;
use snapshots::{Retired, Snapshots};
use stream::Stream;

/// Names a request until it is done.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct OpId(u64);

/// What becomes of segments and snapshots that nobody needs any more, and of earlier generations.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Retention {
    /// They stay where they are.
    Keep,
    /// They are moved into the folder `archive`.
    #[default]
    Archive,
    /// They are removed.
    Delete,
}

/// How a journal is written.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes of a segment, rounded down to pages; within [`SEGMENT_BYTES_MIN`] and
    /// [`SEGMENT_BYTES_MAX`].
    pub segment_bytes: u64,
    /// With less room than this in prepared segments, new packets are to be refused: what is in
    /// flight may still need as much.
    pub reserve_bytes: u64,
    /// How long a record that nobody waits for may be not durable: it is flushed after a quarter of it.
    pub async_ns: u64,
    /// How many bytes of such records may be not durable: they are flushed at a quarter of it.
    pub async_bytes: u64,
    /// A commit that takes longer makes the journal refuse new packets until it is done.
    pub slow_ns: u64,
    /// More bytes than this waiting to be written make the journal refuse new packets.
    pub waiting_bytes_max: u64,
    /// How long to wait before a segment that could not be prepared is tried again.
    pub retry_ns: u64,
    /// What becomes of what nobody needs any more.
    pub retention: Retention,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            reserve_bytes: RESERVE_BYTES_DEFAULT,
            async_ns: 10_000_000,
            async_bytes: 1 << 20,
            slow_ns: 1_000_000_000,
            waiting_bytes_max: SEGMENT_BYTES_DEFAULT,
            retry_ns: 1_000_000_000,
            retention: Retention::default(),
        }
    }
}

/// Whether new packets can be journaled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Health {
    /// They can.
    Ready,
    /// Not now: new packets are to be refused, what is in flight goes on.
    Refusing(Trouble),
    /// Never again: a write or a flush has failed. What is not durable now never will be.
    Failed,
}

/// Why new packets cannot be journaled now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trouble {
    /// Less room is prepared than what is in flight may need: at the start, or the disk is full.
    Room,
    /// A write and flush takes longer than it may.
    Slow,
    /// More waits to be written than may.
    Behind,
}

/// Records that were appended and never will be durable.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lost {
    /// Of the first of them, in their stream.
    pub position: u64,
    /// All of them, each with all of its blocks.
    pub blocks: Vec<Block>,
}

/// What a request was for.
#[derive(Clone, Copy, Debug)]
enum Task {
    Prepare(usize),
    Open(usize),
    Commit(usize),
    Mark(usize),
    Snapshot(usize),
    Retire,
}

/// The writer of all streams of one generation.
#[derive(Debug)]
pub struct Writer {
    settings: Settings,
    /// By account, its shard; what is not known may be any.
    owners: Vec<ShardId>,
    streams: Vec<Stream>,
    snapshots: Snapshots,
    retired: Retired,
    under_way: Vec<(OpId, Task)>,
    next_id: u64,
    finishing: bool,
    /// The write or flush that failed.
    failed: Option<String>,
    /// Why a segment could not be prepared the last time, until one can.
    no_room: Option<String>,
    /// Why a snapshot could not be written or a file not be retired the last time.
    complaint: Option<String>,
}

/// What the end of a segment loses when the next commit does not fit is at most an eighth of it.
fn commit_bytes_max(segment_bytes: u64) -> usize {
    let eighth = usize::try_from(segment_bytes / 8).expect("SEGMENT_BYTES_MAX is less");
    (eighth - eighth % PAGE_LEN).clamp(COMMIT_BYTES_MIN, COMMIT_BYTES_MAX)
}

impl Writer {
    /// The writer of a generation whose folder is there and in whose streams nothing is. `base` is
    /// the hash of its base.
    ///
    /// # Panics
    ///
    /// If there is no shard or more than [`SHARDS_MAX`], or a segment is too small or too large: the
    /// configuration is checked before it gets here.
    #[must_use]
    pub fn new(generation: u32, shards: usize, base: Hash, mut settings: Settings) -> Self {
        assert!((1..=SHARDS_MAX).contains(&shards), "1 to {SHARDS_MAX} shards");
        let page = PAGE_LEN as u64;
        settings.segment_bytes -= settings.segment_bytes % page;
        assert!(
            (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&settings.segment_bytes),
            "a segment has {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX} bytes"
        );
        let commit_max = commit_bytes_max(settings.segment_bytes);
        let stream = |id| {
            let id = ShardId(u16::try_from(id).expect("SHARDS_MAX is less"));
            let stream = batch::Stream { generation, id, shards };
            Stream::new(stream, base, settings.segment_bytes, commit_max)
        };
        Self {
            owners: Vec::new(),
            streams: (0..shards).map(stream).collect(),
            snapshots: Snapshots::new(generation, shards),
            retired: Retired::new(settings.retention),
            under_way: Vec::new(),
            next_id: 0,
            finishing: false,
            failed: None,
            no_room: None,
            complaint: None,
            settings,
        }
    }

    /// Takes records of a stream, in their order, each with all of its blocks. They go to the disk by
    /// the next requests; once the writer has failed, only to [`Self::take_lost`].
    ///
    /// # Panics
    ///
    /// If the blocks end within a record.
    pub fn append(&mut self, now_ns: u64, stream: ShardId, blocks: &[Block]) {
        self.streams[usize::from(stream.0)].append(now_ns, blocks, &self.owners);
    }

    /// Once the writer has failed: what was appended to a stream and never will be durable, told once. The
    /// disk may have some of it all the same.
    ///
    /// # Panics
    ///
    /// If the writer has not failed.
    pub fn take_lost(&mut self, stream: ShardId) -> Lost {
        assert!(self.failed.is_some(), "what is written yet is not lost");
        self.stream(stream).take_lost()
    }

    /// The FULFILLs of all records below `position` of `stream` whose PREPARE came from an account of
    /// `shard` have been handed to sockets. Positions that were told before change nothing.
    pub fn delivered(&mut self, stream: ShardId, shard: ShardId, position: u64) {
        self.stream(stream).delivered(shard, position);
    }

    /// Takes an image of a shard, to be written as a snapshot once every position that it names is
    /// durable. One at a time: `false` if the shard's last one is still on its way, and this one is
    /// dropped.
    ///
    /// # Panics
    ///
    /// If it names another number of streams than there are.
    pub fn snapshot(&mut self, mut image: ShardImage) -> bool {
        assert!(image.applied.len() == self.streams.len(), "it names a position of each stream");
        for (stream, applied) in self.streams.iter_mut().zip(&mut image.applied) {
            *applied = stream.raise(image.shard, *applied);
        }
        self.snapshots.take(image)
    }

    /// Which shard owns each account, by their numbers: so a shard that has no leg in a stream keeps none
    /// of it.
    pub(crate) fn set_owners(&mut self, owners: Vec<ShardId>) {
        assert!(owners.iter().all(|shard| usize::from(shard.0) < self.streams.len()), "shards are");
        self.owners = owners;
    }

    /// A file of an earlier generation: it goes as the settings say.
    pub(crate) fn retire(&mut self, file: String) {
        self.retired.add(file);
    }

    /// The folder of an earlier generation, of which every file goes.
    pub(crate) fn retire_folder(&mut self, folder: String) {
        self.retired.add_folder(folder);
    }

    /// Something of an earlier generation cannot go.
    pub(crate) fn stays(&mut self, why: String) {
        if self.settings.retention != Retention::Keep {
            self.complaint = Some(why);
        }
    }

    /// The next request, if there is one now. Streams come first.
    pub fn next_op(&mut self, now_ns: u64) -> Option<(OpId, Op)> {
        if self.failed.is_some() {
            return None;
        }
        let next = self.next_write(now_ns).or_else(|| self.next_prepare(now_ns));
        let (task, op) = next.or_else(|| self.next_aside(now_ns))?;
        let id = OpId(self.next_id);
        self.next_id += 1;
        self.under_way.push((id, task));
        Some((id, op))
    }

    /// A request has been performed, or has failed. Nobody else uses the bytes of a commit any more.
    ///
    /// # Panics
    ///
    /// If there is no such request under way.
    pub fn done(&mut self, now_ns: u64, id: OpId, result: io::Result<()>) {
        let index = self.under_way.iter().position(|(each, _)| *each == id);
        let (_, task) = self.under_way.swap_remove(index.expect("a request is done once"));
        match result {
            Ok(()) => self.succeeded(now_ns, task),
            Err(error) => self.went_wrong(now_ns, task, &error),
        }
    }

    /// All that was appended is to be written now, and with it which FULFILLs were handed out: the
    /// process ends. [`Self::is_finished`] tells when it is done. What waits to be retired stays for
    /// the next start.
    pub fn finish(&mut self) {
        self.finishing = true;
    }

    /// Whoever drives it waits no longer: as if a write had failed. What is under way may still end.
    pub fn give_up(&mut self, why: &str) {
        self.failed.get_or_insert_with(|| why.to_owned());
    }

    /// Nothing waits and no request is under way.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.under_way.is_empty()
            && (self.failed.is_some()
                || (self.snapshots.is_settled() && self.streams.iter().all(Stream::is_settled)))
    }

    /// When [`Self::next_op`] may have a request that it does not have now, or [`Self::health`] may
    /// change, if nothing else happens before.
    #[must_use]
    pub fn wake_ns(&self) -> Option<u64> {
        if self.failed.is_some() {
            return None;
        }
        let streams = self.streams.iter().filter_map(|stream| stream.wake_ns(&self.settings));
        streams.chain(self.retired.wake_ns()).min()
    }

    /// Records of the stream below this position are on the disk for good.
    #[must_use]
    pub fn durable(&self, stream: ShardId) -> u64 {
        self.streams[usize::from(stream.0)].durable()
    }

    /// How many records were appended to the stream.
    #[must_use]
    pub fn position(&self, stream: ShardId) -> u64 {
        self.streams[usize::from(stream.0)].position()
    }

    /// Whether new packets can be journaled. [`Self::reason`] has the words.
    #[must_use]
    pub fn health(&self, now_ns: u64) -> Health {
        if self.failed.is_some() {
            return Health::Failed;
        }
        let trouble = self.streams.iter().find_map(|stream| stream.trouble(now_ns, &self.settings));
        trouble.map_or(Health::Ready, Health::Refusing)
    }

    /// Room is short, and full segments whose records were all handed out wait for snapshots to be past
    /// them: new images of all shards make room. Two of each shard, one after the other, as the segments
    /// that the newest one lacks are kept for the one before it.
    #[must_use]
    pub fn wants_images(&self) -> bool {
        let is_short = || self.streams.iter().any(|stream| stream.is_short(&self.settings));
        let is_kept = self.settings.retention == Retention::Keep || self.failed.is_some();
        !is_kept && self.streams.iter().any(Stream::waits_for_snapshots) && is_short()
    }

    /// Why a snapshot could not be written, or a file not be retired, the last time. It is tried again
    /// and nothing is lost by it, but the disk fills up.
    #[must_use]
    pub fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }

    /// What the health means, as a sentence.
    #[must_use]
    pub fn reason(&self, health: Health) -> String {
        match health {
            Health::Ready => "the journal is written".into(),
            Health::Refusing(Trouble::Room) => self.no_room.clone().unwrap_or_else(|| {
                "less room is prepared for the journal than what is in flight may need".into()
            }),
            Health::Refusing(Trouble::Slow) => {
                let ms = self.settings.slow_ns / 1_000_000;
                format!("a write and flush of the journal takes longer than {ms} ms")
            }
            Health::Refusing(Trouble::Behind) => {
                let bytes = self.settings.waiting_bytes_max;
                format!("more than {bytes} bytes wait to be written to the journal")
            }
            Health::Failed => {
                let words = self.failed.as_deref().unwrap_or("it cannot be written");
                format!("the journal has failed and is not written any more: {words}")
            }
        }
    }

    fn stream(&mut self, stream: ShardId) -> &mut Stream {
        &mut self.streams[usize::from(stream.0)]
    }

    fn succeeded(&mut self, now_ns: u64, task: Task) {
        match task {
            Task::Prepare(stream) => {
                self.streams[stream].segments.prepared();
                self.no_room = None;
            }
            Task::Snapshot(shard) => {
                self.complaint = None;
                let before = self.snapshots.written(shard);
                before.into_iter().for_each(|path| self.retired.add(path));
                self.retire_segments();
            }
            Task::Retire => self.retired.gone(),
            // After a failure nothing counts as durable any more, though the disk may say so.
            _ if self.failed.is_some() => {}
            Task::Open(stream) => self.streams[stream].segments.opened(),
            Task::Commit(stream) => self.streams[stream].committed(now_ns),
            Task::Mark(stream) => self.streams[stream].marked(),
        }
    }

    fn went_wrong(&mut self, now_ns: u64, task: Task, error: &io::Error) {
        let retry_ns = now_ns + self.settings.retry_ns;
        match task {
            Task::Prepare(stream) => {
                self.streams[stream].segments.not_prepared(retry_ns);
                self.no_room = Some(format!("a segment cannot be prepared: {error}"));
            }
            Task::Snapshot(shard) => {
                self.snapshots.failed(shard);
                self.complaint = Some(format!("a snapshot cannot be written: {error}"));
            }
            Task::Retire => {
                self.retired.failed(retry_ns);
                self.complaint = Some(format!("a file cannot be archived or removed: {error}"));
            }
            // The first one is the reason.
            _ if self.failed.is_some() => {}
            Task::Open(stream) | Task::Commit(stream) | Task::Mark(stream) => {
                self.failed = Some(format!("stream {stream} cannot be written: {error}"));
            }
        }
    }

    /// Retires segments that the snapshots of all shards are past.
    fn retire_segments(&mut self) {
        for stream in &mut self.streams {
            let past = self.snapshots.past(stream.id());
            stream.retire_below(past, |path| self.retired.add(path));
        }
    }

    fn next_write(&mut self, now_ns: u64) -> Option<(Task, Op)> {
        let Self { streams, settings, finishing, .. } = self;
        streams.iter_mut().enumerate().find_map(|(index, stream)| {
            let op = stream.next_commit(now_ns, settings, *finishing);
            let op = op.or_else(|| stream.next_mark())?;
            let task = match op {
                Op::Open { .. } => Task::Open(index),
                Op::Commit { .. } => Task::Commit(index),
                _ => Task::Mark(index),
            };
            Some((task, op))
        })
    }

    /// What no packet waits for.
    fn next_aside(&mut self, now_ns: u64) -> Option<(Task, Op)> {
        let durable: Vec<_> = self.streams.iter().map(Stream::durable).collect();
        if let Some((shard, op)) = self.snapshots.next(&durable) {
            return Some((Task::Snapshot(shard), op));
        }
        Some((Task::Retire, self.retired.next(now_ns)?))
    }

    fn next_prepare(&mut self, now_ns: u64) -> Option<(Task, Op)> {
        let reserve = self.settings.reserve_bytes;
        self.streams.iter_mut().enumerate().find_map(|(index, stream)| {
            Some((Task::Prepare(index), stream.segments.next_prepare(now_ns, reserve)?))
        })
    }
}

#[cfg(test)]
mod tests;
