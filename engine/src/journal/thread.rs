//! The loop of the journal thread.
//!
//! ```text
//!   +-> rings of the shards -> writer
//!   |   writer -> commits to the disk, the rest to the thread for files
//!   |   wait: a commit has ended, a shard has records and we rest, something else is due
//!   |   ended -> writer -> durable positions to the shards, and a signal
//!   +-- again; at the end: until everything is durable
//! ```
//!
//! Group commit, back to back: what comes while a commit is under way is the next one. While records
//! come that nobody waits for, the thread dozes between looks of its own: a wake for each batch of a
//! shard would cost that shard more than the record.
//!
//! Invariant: a durable position is told only after the commit that made it so has ended well.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use hdrhistogram::Histogram;
use m2_core::{JournalState, ShardId, ShardImage};
use m2_journal::names::SegmentName;
use m2_journal::{Block, Health, Op, OpId, Trouble, Writer, direct, names};
use rtrb::Consumer;
use rustix::io::Errno;

use super::disk::{Commit, Disk, Ended};
use super::files::FilesThread;
use super::unwritten::Unwritten;
use super::words::{CommitTimes, Rest, Words};
use crate::clock;
use crate::limits::{
    COMMIT_TIMES_EVERY, COMMIT_US_MAX, DOZES, JOURNAL_IMAGES_AGAIN_NS, JOURNAL_PATIENCE_NS,
    JOURNAL_TROUBLE_LOOK_NS,
};
use crate::shard::message::Event;
use crate::shard::wake::{Nudge, wake};

/// What joins the journal thread to the others; see `topology.rs`.
#[derive(Debug)]
pub(crate) struct Joints {
    pub(crate) words: Arc<Words>,
    /// By shard.
    pub(crate) rings: Vec<Consumer<Block>>,
    pub(crate) images: Receiver<ShardImage>,
    pub(crate) shard_wakes: Vec<Arc<OwnedFd>>,
    pub(crate) events: Sender<Event>,
    pub(crate) nudge: Nudge,
}

/// See the head of the file.
pub(super) struct Thread {
    folder: PathBuf,
    /// Snapshots are wanted once so many bytes of segments stand behind the last.
    snapshot_bytes: u64,
    writer: Writer,
    files: FilesThread,
    joints: Joints,
    /// Bytes written to all streams since snapshots were wanted last.
    unimaged_bytes: u64,
    /// They are not wanted before this because of room.
    images_again_ns: u64,
    /// By stream: the segment that commits go to now.
    open: Vec<Option<(SegmentName, Arc<File>)>>,
    /// By stream: the file of flushed positions.
    marks: Vec<Option<File>>,
    /// Commits at the disk: id, stream.
    under_way: Vec<(u64, OpId, usize)>,
    next_commit: u64,
    /// Records that lay across a ring's end.
    joined: Vec<Block>,
    unwritten: Unwritten,
    /// Since when there is no room for what was recorded, or the process waits for us to end.
    waiting_since_ns: Option<u64>,
    /// Records of all streams that were durable then.
    waiting_at: u64,
    has_given_up: bool,
    /// In microseconds.
    times: Histogram<u64>,
    /// How many of them the words tell.
    times_told: u64,
    /// How long it dozes at a time.
    doze: Duration,
    /// How often it will yet doze before it sleeps.
    dozes_left: u32,
    told: Health,
    /// What the log was told that cannot be done.
    complained: Option<Box<str>>,
}

impl Thread {
    pub(super) fn new(
        folder: PathBuf,
        snapshot_bytes: u64,
        doze: Duration,
        writer: Writer,
        unwritten: Unwritten,
        files: FilesThread,
        joints: Joints,
    ) -> Self {
        let streams = joints.rings.len();
        Self {
            folder,
            snapshot_bytes,
            writer,
            files,
            joints,
            unimaged_bytes: 0,
            images_again_ns: 0,
            open: (0..streams).map(|_| None).collect(),
            marks: (0..streams).map(|_| None).collect(),
            under_way: Vec::new(),
            next_commit: 0,
            joined: Vec::new(),
            unwritten,
            waiting_since_ns: None,
            waiting_at: 0,
            has_given_up: false,
            times: Histogram::new_with_max(COMMIT_US_MAX, 3).expect("3 digits are among them"),
            times_told: 0,
            doze,
            dozes_left: 0,
            told: Health::Ready,
            complained: None,
        }
    }

    /// Runs until every shard has ended and everything is durable, or cannot be.
    pub(super) fn run(mut self, mut disk: Box<dyn Disk>) -> Health {
        let mut ended = Vec::new();
        let health = loop {
            let shards_ended = self.take_rings();
            if shards_ended {
                self.writer.finish();
            }
            let now_ns = clock::mono_ns();
            self.take_images(now_ns);
            self.start_ops(now_ns, &mut *disk);
            self.lose_patience(now_ns);
            let health = self.tell_health(now_ns);
            if health == Health::Failed {
                self.give_up_records();
            }
            if shards_ended && (self.writer.is_finished() || self.has_given_up) {
                break health;
            }
            self.wait(&mut *disk, &mut ended);
        };
        if self.has_given_up {
            // The kernel may still have our bytes; the process is about to end.
            core::mem::forget(disk);
            return health;
        }
        self.files.end();
        health
    }

    /// Takes what the shards have recorded. `true` once all shards have ended and nothing is left.
    fn take_rings(&mut self) -> bool {
        let now_ns = clock::mono_ns();
        let mut ended = true;
        for (stream, ring) in self.joints.rings.iter_mut().enumerate() {
            // Looked at first: what was put in before the end is taken after it.
            ended &= ring.is_abandoned();
            self.joints.words.clear_urgent(stream);
            let Ok(chunk) = ring.read_chunk(ring.slots()) else { continue };
            let id = shard_id(stream);
            if !chunk.is_empty() {
                self.dozes_left = DOZES;
            }
            match chunk.as_slices() {
                (records, []) => {
                    self.writer.append(now_ns, id, records);
                }
                (first, second) => {
                    // A record may lie across the ring's end.
                    self.joined.clear();
                    self.joined.extend_from_slice(first);
                    self.joined.extend_from_slice(second);
                    self.writer.append(now_ns, id, &self.joined);
                }
            }
            chunk.commit_all();
            for shard in 0..self.joints.words.shards() {
                let position = self.joints.words.delivered(stream, shard);
                self.writer.delivered(id, shard_id(shard), position);
            }
        }
        ended
    }

    fn start_ops(&mut self, now_ns: u64, disk: &mut dyn Disk) {
        while let Some((id, op)) = self.writer.next_op(now_ns) {
            match op {
                Op::Commit { segment, offset, bytes } => match self.open(segment) {
                    Err(error) => self.writer.done(now_ns, id, Err(error)),
                    Ok(file) => {
                        self.unimaged_bytes += bytes.len() as u64;
                        let commit = self.commit(now_ns, id, segment);
                        disk.start(Commit { id: commit, file, offset, bytes });
                    }
                },
                Op::Open { segment, page } => {
                    let result = self.at_once(now_ns, segment.stream, |thread| {
                        thread.open(segment)?.write_all_at(&page, 0)
                    });
                    self.writer.done(now_ns, id, result);
                }
                Op::Mark { generation, stream, offset, bytes } => {
                    let result = self.at_once(now_ns, stream, |thread| {
                        thread.mark(generation, stream, offset, &bytes)
                    });
                    self.writer.done(now_ns, id, result);
                }
                other => self.files.order(id, other),
            }
        }
    }

    /// A short write without a flush. It may wait for the disk all the same, and whoever looks at how
    /// long that has taken sees it.
    fn at_once(
        &mut self,
        now_ns: u64,
        stream: ShardId,
        write: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        let number = usize::from(stream.0);
        let is_alone = !self.under_way.iter().any(|(.., of)| *of == number);
        if is_alone {
            self.joints.words.set_began(number, now_ns);
        }
        let result = write(self);
        if is_alone {
            self.joints.words.set_began(number, 0);
        }
        result
    }

    /// Notes a commit that is about to start, and gives it a number.
    fn commit(&mut self, now_ns: u64, id: OpId, segment: SegmentName) -> u64 {
        let stream = usize::from(segment.stream.0);
        self.joints.words.set_began(stream, now_ns);
        self.next_commit += 1;
        self.under_way.push((self.next_commit, id, stream));
        self.next_commit
    }

    /// Wants snapshots of all shards when enough has been recorded, and again and again while they may
    /// make room on a full disk; takes those that come.
    fn take_images(&mut self, now_ns: u64) {
        if self.unimaged_bytes >= self.snapshot_bytes
            || (now_ns >= self.images_again_ns && self.writer.wants_images())
        {
            self.images_again_ns = now_ns + JOURNAL_IMAGES_AGAIN_NS;
            self.unimaged_bytes = 0;
            for shard in 0..self.joints.shard_wakes.len() {
                self.joints.words.want_image(shard);
                wake(&self.joints.shard_wakes[shard]);
            }
        }
        while let Ok(image) = self.joints.images.try_recv() {
            // One that finds another on its way is dropped: the next is as good.
            let _ = self.writer.snapshot(image);
        }
    }

    /// A stream's segment, opened when it is another than the last.
    fn open(&mut self, segment: SegmentName) -> io::Result<Arc<File>> {
        let open = &mut self.open[usize::from(segment.stream.0)];
        if let Some((name, file)) = open
            && *name == segment
        {
            return Ok(Arc::clone(file));
        }
        let path = self.folder.join(segment.path());
        let file = patiently(|| File::options().write(true).open(&path))?;
        // All that is written to a segment is whole pages.
        let _ = direct::begin(&file);
        let file = Arc::new(file);
        *open = Some((segment, Arc::clone(&file)));
        Ok(file)
    }

    fn mark(
        &mut self,
        generation: u32,
        stream: ShardId,
        offset: u64,
        bytes: &[u8],
    ) -> io::Result<()> {
        let mark = &mut self.marks[usize::from(stream.0)];
        let file = match mark {
            Some(file) => file,
            None => {
                let path = self.folder.join(names::flushed(generation, stream));
                mark.insert(patiently(|| create(&path))?)
            }
        };
        file.write_all_at(bytes, offset)
    }

    /// Waits for whatever comes first, and takes what has ended.
    fn wait(&mut self, disk: &mut dyn Disk, ended: &mut Vec<Ended>) {
        let patience = self.rest();
        if let Err(error) = disk.wait(patience, ended) {
            panic!("the journal thread cannot wait: {error}");
        }
        let now_ns = clock::mono_ns();
        for stream in 0..self.joints.rings.len() {
            self.joints.words.set_rest(stream, Rest::Awake);
        }
        for Ended { id, result, took_ns } in ended.drain(..) {
            let index = self.under_way.iter().position(|(number, ..)| *number == id);
            let (_, id, stream) = self.under_way.swap_remove(index.expect("a commit ends once"));
            self.writer.done(now_ns, id, result);
            self.tell_durable(stream, took_ns);
        }
        while let Ok((id, result)) = self.files.done.try_recv() {
            self.writer.done(now_ns, id, result);
        }
    }

    /// How long there is nothing to do unless we are woken. Streams with a commit under way need not
    /// wake us: their records wait for its end.
    fn rest(&mut self) -> Option<Duration> {
        let words = &self.joints.words;
        let dozes = self.dozes_left > 0;
        let mut busy = false;
        for (stream, ring) in self.joints.rings.iter().enumerate() {
            if self.under_way.iter().any(|(.., of)| *of == stream) {
                continue;
            }
            words.set_rest(stream, if dozes { Rest::Dozing } else { Rest::Asleep });
            busy |= if dozes { words.is_urgent(stream) } else { !ring.is_empty() };
        }
        if busy {
            return Some(Duration::ZERO);
        }
        let is_ending = words.is_ending();
        if !dozes {
            self.tell_times();
        }
        let wait = self.writer.wake_ns().map(|wake_ns| wake_ns.saturating_sub(clock::mono_ns()));
        // In trouble some moments have passed, and nothing can be done about them.
        let in_trouble = self.told != Health::Ready || self.waiting_since_ns.is_some();
        let least = if in_trouble { JOURNAL_TROUBLE_LOOK_NS } else { 0 };
        let wait = match wait {
            None if self.waiting_since_ns.is_some() || is_ending => Some(least),
            other => other,
        };
        let wait = wait.map(|wait| Duration::from_nanos(wait.max(least)));
        if !dozes {
            return wait;
        }
        self.dozes_left -= 1;
        Some(wait.map_or(self.doze, |wait| wait.min(self.doze)))
    }

    /// The journal has failed: what it has not made durable is told, and spilled.
    fn give_up_records(&mut self) {
        for stream in 0..self.joints.rings.len() {
            self.unwritten.add(stream, self.writer.take_lost(shard_id(stream)));
        }
        self.unwritten.spill();
    }

    fn tell_durable(&mut self, stream: usize, took_ns: u64) {
        let Joints { words, shard_wakes, .. } = &self.joints;
        words.set_began(stream, 0);
        let durable = self.writer.durable(shard_id(stream));
        words.set_durable(stream, durable);
        // Any shard may have accounts whose FULFILLs waited for this stream.
        shard_wakes.iter().for_each(|shard| wake(shard));
        self.times.saturating_record(took_ns / 1_000);
        if self.times.len() - self.times_told >= COMMIT_TIMES_EVERY {
            self.tell_times();
        }
    }

    /// Every now and then, and before it sleeps: who asks then is told of all commits.
    fn tell_times(&mut self) {
        let commits = self.times.len();
        if commits == self.times_told {
            return;
        }
        self.times_told = commits;
        self.joints.words.set_commit_times(CommitTimes {
            commits,
            median_us: self.times.value_at_quantile(0.5),
            p99_us: self.times.value_at_quantile(0.99),
            p999_us: self.times.value_at_quantile(0.999),
            longest_us: self.times.max(),
        });
    }

    /// What was recorded and finds no room on the disk, or is not durable when the process ends, has so
    /// much time. Then it is logged and spilled, as if a write had failed.
    fn lose_patience(&mut self, now_ns: u64) {
        let behind = |stream| self.writer.position(stream) > self.writer.durable(stream);
        let is_behind = (0..self.joints.rings.len()).map(shard_id).any(behind);
        let no_room = self.under_way.is_empty()
            && matches!(self.writer.health(now_ns), Health::Refusing(Trouble::Room));
        if !is_behind || !(no_room || self.joints.words.is_ending()) {
            self.waiting_since_ns = None;
            return;
        }
        // A disk that is slow and gets on is waited for.
        let durable =
            (0..self.joints.rings.len()).map(|of| self.writer.durable(shard_id(of))).sum();
        if core::mem::replace(&mut self.waiting_at, durable) != durable {
            self.waiting_since_ns = None;
        }
        let since_ns = *self.waiting_since_ns.get_or_insert(now_ns);
        if now_ns - since_ns > JOURNAL_PATIENCE_NS && !self.has_given_up {
            self.has_given_up = true;
            self.writer.give_up(if no_room {
                "there is no room on the disk for what was in flight"
            } else {
                "the disk took too long for the last records"
            });
        }
    }

    /// Tells shards and log when the health has changed.
    fn tell_health(&mut self, now_ns: u64) -> Health {
        let health = self.writer.health(now_ns);
        if health != self.told {
            self.told = health;
            self.joints.words.set_state(match health {
                Health::Ready => JournalState::Ready,
                Health::Refusing(_) => JournalState::Refusing,
                Health::Failed => JournalState::Failed,
            });
            self.joints.shard_wakes.iter().for_each(|shard| wake(shard));
            let reason = self.writer.reason(health);
            // The log's queue may be full: the state stands in `status` all the same.
            let _ = self.joints.events.try_send(Event::Journal(health, reason.into()));
            self.joints.nudge.send();
        }
        self.tell_complaint();
        health
    }

    /// Tells the log what cannot be done although records are written.
    fn tell_complaint(&mut self) {
        if self.writer.complaint() == self.complained.as_deref() {
            return;
        }
        let complaint: Option<Box<str>> = self.writer.complaint().map(Into::into);
        if self.joints.events.try_send(Event::JournalComplaint(complaint.clone())).is_ok() {
            self.complained = complaint;
            self.joints.nudge.send();
        }
    }
}

/// Opens a file, in a while if the system has no descriptor left now: nothing was written, so nothing
/// has failed yet. Shards see meanwhile that the commit takes long.
fn patiently(open: impl Fn() -> io::Result<File>) -> io::Result<File> {
    let began_ns = clock::mono_ns();
    loop {
        match open() {
            Err(error)
                if matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE))
                    && clock::mono_ns() - began_ns < JOURNAL_PATIENCE_NS =>
            {
                thread::sleep(Duration::from_nanos(JOURNAL_TROUBLE_LOOK_NS));
            }
            result => return result,
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    File::options().write(true).create(true).truncate(false).open(path)
}

fn shard_id(index: usize) -> ShardId {
    ShardId(u16::try_from(index).expect("shards are numbered by u16"))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread::JoinHandle;
    use std::time::Instant;

    use crossbeam_channel::bounded;
    use m2_core::{AccountId, LimitsRecord, Record};
    use m2_journal::image::ConfiguredLimits;
    use m2_journal::recover::{Entry, Options, begin_generation, inspect};
    use m2_journal::spill::{self, Owner};
    use m2_journal::{Files, Settings, perform, record};
    use rtrb::{Producer, RingBuffer};

    use super::super::disk::Blocking;
    use super::*;
    use crate::shard::wake::shard_wake;

    /// A disk that keeps a commit waiting until it is let go, or fails it.
    struct Troubled {
        disk: Blocking,
        waiting: VecDeque<Commit>,
        is_slow: Arc<AtomicBool>,
        fails_with: Option<Errno>,
    }

    impl Disk for Troubled {
        fn start(&mut self, commit: Commit) {
            self.waiting.push_back(commit);
        }

        fn wait(&mut self, patience: Option<Duration>, ended: &mut Vec<Ended>) -> io::Result<()> {
            if let Some(errno) = self.fails_with {
                let failed = |commit: Commit| {
                    let result = Err(errno.into());
                    Ended { id: commit.id, result, took_ns: 1 }
                };
                ended.extend(self.waiting.drain(..).map(failed));
            } else if !self.is_slow.load(Ordering::Acquire) {
                self.waiting.drain(..).for_each(|commit| self.disk.start(commit));
            }
            let patience = if ended.is_empty() { patience } else { Some(Duration::ZERO) };
            // Looked at often, as nobody signals the end of slowness.
            let most = Duration::from_millis(5);
            self.disk.wait(Some(patience.map_or(most, |time| time.min(most))), ended)
        }
    }

    struct Running {
        folder: PathBuf,
        ring: Producer<Block>,
        words: Arc<Words>,
        is_slow: Arc<AtomicBool>,
        thread: JoinHandle<Health>,
    }

    /// A journal of one shard with one account, on a disk of the test's own.
    fn start(name: &str, fails_with: Option<Errno>) -> Running {
        // A folder for temporary files may be in memory; what cargo builds is on a disk.
        let built = std::env::current_exe().unwrap();
        let folder = built.with_file_name(format!("m2-thread-{name}-{}", std::process::id()));
        let mut storage = Files::new(&folder);
        let nothing = inspect(&mut storage, &Options::default(), &mut |_| ()).unwrap();
        let entry = Entry {
            shard: ShardId(0),
            name: "alice".into(),
            asset_code: "USD".into(),
            asset_scale: 9,
            limits: ConfiguredLimits::default(),
        };
        let settings = Settings {
            segment_bytes: 1 << 20,
            reserve_bytes: 1 << 16,
            slow_ns: 20_000_000,
            ..Settings::default()
        };
        let mut writer = begin_generation(&mut storage, &nothing, &[entry], 1, settings).unwrap();
        while let Some((id, op)) = writer.next_op(clock::mono_ns()) {
            let result = perform(&mut storage, &op);
            writer.done(clock::mono_ns(), id, result);
        }
        let wake = Arc::new(shard_wake().unwrap());
        let files = FilesThread::start(folder.clone(), Arc::clone(&wake)).unwrap();
        let words = Arc::new(Words::new(1));
        let (ring, records) = RingBuffer::new(64);
        let (_, images) = bounded(1);
        let (events, _) = bounded(64);
        let joints = Joints {
            words: Arc::clone(&words),
            rings: vec![records],
            images,
            shard_wakes: vec![Arc::new(shard_wake().unwrap())],
            events,
            nudge: Nudge::pair().unwrap().0,
        };
        let owner = Owner::read(&mut storage, 1).unwrap();
        let unwritten =
            Unwritten::new(owner, Some(folder.join("../").join(format!("{name}-spill"))));
        let doze = Duration::from_millis(1);
        let journal = Thread::new(folder.clone(), u64::MAX, doze, writer, unwritten, files, joints);
        let is_slow = Arc::new(AtomicBool::new(false));
        let slow = Arc::clone(&is_slow);
        let thread = thread::spawn(move || {
            let disk = Blocking::new(wake);
            let waiting = VecDeque::new();
            journal.run(Box::new(Troubled { disk, waiting, is_slow: slow, fails_with }))
        });
        Running { folder, ring, words, is_slow, thread }
    }

    fn put(ring: &mut Producer<Block>) {
        let account = AccountId(0);
        let limits = LimitsRecord { account, balance_max: 1, payable_max: 2, at_ms: 3 };
        let mut blocks = Vec::new();
        record::encode(&Record::Limits(limits), &mut blocks);
        ring.push(blocks[0]).unwrap();
    }

    #[track_caller]
    fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < Duration::from_secs(20), "in vain: {what}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Of each descriptor of this process that has the file, whether it goes around the page cache.
    fn are_direct(path: &Path) -> Vec<bool> {
        let path = path.canonicalize().unwrap();
        let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let ours = descriptors.filter(|it| it.path().read_link().is_ok_and(|file| file == path));
        ours.map(|it| {
            let info = Path::new("/proc/self/fdinfo").join(it.file_name());
            let info = std::fs::read_to_string(info).unwrap();
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
            let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
            rustix::fs::OFlags::from_bits_retain(flags).contains(rustix::fs::OFlags::DIRECT)
        })
        .collect()
    }

    #[test]
    fn commits_go_around_the_page_cache() {
        let Running { folder, mut ring, words, thread, .. } = start("direct", None);
        put(&mut ring);
        wait_for("it is durable", || words.durable(0) == 1);
        let segment = SegmentName { generation: 1, stream: ShardId(0), number: 1 };
        let path = folder.join(segment.path());
        let is_possible = direct::is_possible(&File::open(&path).unwrap());
        let found = are_direct(&path);
        assert!(!found.is_empty() && found.iter().all(|it| *it == is_possible), "{found:?}");
        // So the next start waits for what this one has at the disk.
        let is_free = File::open(&path).unwrap().try_lock_shared().is_ok();
        assert_eq!(is_free, !is_possible, "who writes directly holds the lock");
        drop(ring);
        assert_eq!(thread.join().unwrap(), Health::Ready);
        std::fs::remove_dir_all(folder).unwrap();
    }

    fn nothing_counts_as_durable_and_all_is_spilled(name: &str, errno: Errno) {
        let Running { folder, mut ring, words, thread, .. } = start(name, Some(errno));
        put(&mut ring);
        wait_for("the journal fails", || words.state() == JournalState::Failed);
        // What comes later goes the same way.
        put(&mut ring);
        drop(ring);
        assert_eq!(thread.join().unwrap(), Health::Failed);
        assert_eq!(words.durable(0), 0);
        let spilled = folder.join("../").join(format!("{name}-spill"));
        let owner = Owner::read(&mut Files::new(&folder), 1).unwrap();
        let read = spill::read(&mut Files::new(&spilled), &owner).unwrap();
        assert_eq!(read.iter().map(|it| it.blocks.len()).sum::<usize>(), 2);
        std::fs::remove_dir_all(spilled).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn after_a_flush_that_failed_nothing_counts_as_durable_and_all_is_spilled() {
        nothing_counts_as_durable_and_all_is_spilled("eio", Errno::IO);
    }

    #[test]
    fn so_it_is_when_the_disk_has_become_read_only() {
        nothing_counts_as_durable_and_all_is_spilled("erofs", Errno::ROFS);
    }

    #[test]
    fn a_disk_that_is_slow_refuses_new_packets_until_it_is_done() {
        let Running { folder, mut ring, words, is_slow, thread } = start("slow", None);
        put(&mut ring);
        wait_for("the first is durable", || words.durable(0) == 1);
        assert_eq!(words.state(), JournalState::Ready);
        is_slow.store(true, Ordering::Release);
        put(&mut ring);
        wait_for("the journal refuses", || words.state() == JournalState::Refusing);
        assert_eq!(words.durable(0), 1, "what is under way is not durable");
        is_slow.store(false, Ordering::Release);
        wait_for("the second is durable", || words.durable(0) == 2);
        wait_for("the journal is ready", || words.state() == JournalState::Ready);
        drop(ring);
        assert_eq!(thread.join().unwrap(), Health::Ready);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
