//! What the journal thread and the shards tell each other a thousand times a second: words, each with
//! one writer, and no queue that could be full.
//!
//! Invariant: a position is stored as durable only after the flush that made it so has ended, and
//! then with `Release`: who reads it with `Acquire` may give out every FULFILL below it.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};

use m2_core::JournalState;

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct Words {
    streams: Vec<Stream>,
    state: AtomicU8,
    /// Longest, 99.9th, 99th percentile and median of the commits since the start, in microseconds.
    commit_us: [AtomicU64; 4],
    commits: AtomicU64,
    /// By a shard: it ends, and what it has recorded has so much time left.
    ending: AtomicBool,
}

/// The words of one stream.
#[derive(Debug)]
struct Stream {
    /// By the journal thread.
    durable: AtomicU64,
    /// By the shard: up to which position records are in the ring.
    put: AtomicU64,
    /// By the journal thread: since when a commit has been under way, on the monotonic clock; 0 if none
    /// is.
    began_ns: AtomicU64,
    /// By the journal thread: whether it waits for this stream's records, a [`Rest`].
    rest: AtomicU8,
    /// By the shard: there are records in the ring that do not wait until the journal thread looks by
    /// itself.
    urgent: AtomicBool,
    /// By the journal thread: it wants a snapshot of this shard.
    image_wanted: AtomicBool,
    /// By each shard: up to which position FULFILLs of its accounts were handed to sockets.
    delivered: Vec<AtomicU64>,
}

/// Whether the journal thread waits for a stream's records, and who wakes it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Rest {
    /// It will look at the ring without being woken.
    Awake = 0,
    /// It looks by itself in a while: only records that somebody waits for wake it.
    Dozing = 1,
    /// Any record wakes it.
    Asleep = 2,
}

/// How long commits take, since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct CommitTimes {
    pub(crate) commits: u64,
    pub(crate) median_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) p999_us: u64,
    pub(crate) longest_us: u64,
}

impl Words {
    /// Of so many shards, with nothing recorded.
    pub(crate) fn new(shards: usize) -> Self {
        let stream = || Stream {
            durable: AtomicU64::new(0),
            put: AtomicU64::new(0),
            began_ns: AtomicU64::new(0),
            rest: AtomicU8::new(Rest::Awake as u8),
            urgent: AtomicBool::new(false),
            image_wanted: AtomicBool::new(false),
            delivered: (0..shards).map(|_| AtomicU64::new(0)).collect(),
        };
        Self {
            streams: (0..shards).map(|_| stream()).collect(),
            state: AtomicU8::new(JournalState::Ready as u8),
            commit_us: Default::default(),
            commits: AtomicU64::new(0),
            ending: AtomicBool::new(false),
        }
    }

    /// A shard is about to end.
    pub(crate) fn set_ending(&self) {
        self.ending.store(true, Ordering::Release);
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// How many shards there are.
    pub(crate) fn shards(&self) -> usize {
        self.streams.len()
    }

    /// Up to which position a stream is durable.
    pub(crate) fn durable(&self, stream: usize) -> u64 {
        self.streams[stream].durable.load(Ordering::Acquire)
    }

    /// A flush has ended that covers a stream up to `position`.
    pub(crate) fn set_durable(&self, stream: usize, position: u64) {
        self.streams[stream].durable.store(position, Ordering::Release);
    }

    /// A shard has put so many more records into its ring.
    pub(crate) fn add_put(&self, stream: usize, count: u64) {
        let put = &self.streams[stream].put;
        put.store(put.load(Ordering::Relaxed) + count, Ordering::Release);
    }

    /// Whether every record that is in a ring is durable.
    pub(crate) fn all_durable(&self) -> bool {
        let is_durable = |stream: &Stream| {
            let put = stream.put.load(Ordering::Acquire);
            stream.durable.load(Ordering::Acquire) >= put
        };
        self.streams.iter().all(is_durable)
    }

    pub(crate) fn state(&self) -> JournalState {
        match self.state.load(Ordering::Acquire) {
            0 => JournalState::Ready,
            1 => JournalState::Refusing,
            _ => JournalState::Failed,
        }
    }

    pub(crate) fn set_state(&self, state: JournalState) {
        self.state.store(state as u8, Ordering::Release);
    }

    /// For how long a commit has been under way.
    pub(crate) fn commit_age_ns(&self, stream: usize, now_ns: u64) -> u64 {
        match self.streams[stream].began_ns.load(Ordering::Relaxed) {
            0 => 0,
            began_ns => now_ns.saturating_sub(began_ns),
        }
    }

    /// A commit has begun, or (0) none is under way.
    pub(crate) fn set_began(&self, stream: usize, at_ns: u64) {
        self.streams[stream].began_ns.store(at_ns, Ordering::Relaxed);
    }

    /// The journal thread is about to wait for records of this stream, or waits no longer. It looks at
    /// [`Self::is_urgent`], or at the ring, once more after this: what came before, it sees then; who
    /// comes after, sees this.
    pub(crate) fn set_rest(&self, stream: usize, rest: Rest) {
        self.streams[stream].rest.store(rest as u8, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Records were put into the ring. Whether the journal thread must be woken for them.
    pub(crate) fn take_rest(&self, stream: usize, is_urgent: bool) -> bool {
        let Stream { rest, urgent, .. } = &self.streams[stream];
        if is_urgent {
            urgent.store(true, Ordering::Release);
        }
        fence(Ordering::SeqCst);
        let now = rest.load(Ordering::Relaxed);
        let wakes = now == Rest::Asleep as u8 || (now == Rest::Dozing as u8 && is_urgent);
        wakes && rest.swap(Rest::Awake as u8, Ordering::Relaxed) != Rest::Awake as u8
    }

    /// Whether the ring has what does not wait.
    pub(crate) fn is_urgent(&self, stream: usize) -> bool {
        self.streams[stream].urgent.load(Ordering::Relaxed)
    }

    /// The journal thread is about to take all that is in the ring: it sees there what was urgent.
    pub(crate) fn clear_urgent(&self, stream: usize) {
        let urgent = &self.streams[stream].urgent;
        if urgent.load(Ordering::Relaxed) {
            urgent.swap(false, Ordering::AcqRel);
        }
    }

    /// The journal thread wants a snapshot of a shard.
    pub(crate) fn want_image(&self, shard: usize) {
        self.streams[shard].image_wanted.store(true, Ordering::Release);
    }

    /// Whether a snapshot is wanted; told once.
    pub(crate) fn take_image_wanted(&self, shard: usize) -> bool {
        let wanted = &self.streams[shard].image_wanted;
        wanted.load(Ordering::Acquire) && wanted.swap(false, Ordering::AcqRel)
    }

    /// Up to which position of `stream` FULFILLs of a shard's accounts were handed to sockets.
    pub(crate) fn delivered(&self, stream: usize, shard: usize) -> u64 {
        self.streams[stream].delivered[shard].load(Ordering::Acquire)
    }

    /// See [`Self::delivered`].
    pub(crate) fn set_delivered(&self, stream: usize, shard: usize, position: u64) {
        self.streams[stream].delivered[shard].store(position, Ordering::Release);
    }

    pub(crate) fn commit_times(&self) -> CommitTimes {
        let [longest_us, p999_us, p99_us, median_us] =
            [0, 1, 2, 3].map(|at| self.commit_us[at].load(Ordering::Relaxed));
        let commits = self.commits.load(Ordering::Relaxed);
        CommitTimes { commits, median_us, p99_us, p999_us, longest_us }
    }

    pub(crate) fn set_commit_times(&self, times: CommitTimes) {
        let CommitTimes { commits, median_us, p99_us, p999_us, longest_us } = times;
        let words = [longest_us, p999_us, p99_us, median_us];
        for (word, value) in self.commit_us.iter().zip(words) {
            word.store(value, Ordering::Relaxed);
        }
        self.commits.store(commits, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_somebody_waits_for_wakes_a_thread_that_dozes() {
        let words = Words::new(1);
        assert!(!words.take_rest(0, true), "it is awake");
        assert!(words.is_urgent(0));
        words.clear_urgent(0);
        words.set_rest(0, Rest::Dozing);
        assert!(!words.take_rest(0, false));
        assert!(!words.is_urgent(0));
        assert!(words.take_rest(0, true));
        assert!(!words.take_rest(0, true), "once");
        words.set_rest(0, Rest::Asleep);
        assert!(words.take_rest(0, false));
        assert!(!words.take_rest(0, false), "once");
    }
}
