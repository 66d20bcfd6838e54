//! Commits through io_uring: one of each stream under way at once, a write and a flush linked, so
//! that the kernel begins the flush without us.
//!
//! This file has `unsafe` code: the kernel is given pointers to bytes and descriptors that it uses
//! until it says that it has ended. Both stay in `under_way` until then, also when this is dropped,
//! which waits; and whoever else holds the bytes cannot change them meanwhile, as they are in an
//! `Arc`. `disk.rs` has the safe twin, and the tests that both do the same.

#![allow(unsafe_code)] // see the head of the file

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use io_uring::squeue::Flags;
use io_uring::types::{Fd, FsyncFlags, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode, squeue};
use rustix::io::Errno;

use super::disk::{Commit, Disk, Ended, nanos, take_wake};
use crate::clock::{self, NS_PER_S};
use crate::limits::{COMMIT_WRITE_MAX, COMMITS_UNDER_WAY_MAX};

/// What an entry of the completion queue is about.
const WAKE: u64 = u64::MAX;
/// The low bit of an entry of a commit: set for its flush.
const FLUSH: u64 = 1;

/// A commit that the kernel has, or will get the rest of.
struct UnderWay {
    commit: Commit,
    began_ns: u64,
    /// Bytes written so far.
    written: usize,
    /// Entries of which no completion has come.
    open: u32,
    failed: Option<io::Error>,
    flushed: bool,
}

/// See the head of the file.
pub(super) struct Uring {
    ring: IoUring,
    wake: Arc<OwnedFd>,
    /// The kernel watches the eventfd for us.
    watching: bool,
    /// By place, which is the rest of an entry's number.
    under_way: Vec<Option<UnderWay>>,
    /// Bytes of one write at most.
    write_max: usize,
}

impl core::fmt::Debug for Uring {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Uring").field("under_way", &self.count()).finish_non_exhaustive()
    }
}

impl Uring {
    /// `wake` is an eventfd that does not block.
    ///
    /// # Errors
    ///
    /// When the kernel does not permit io_uring, or has no memory for it.
    pub(super) fn new(wake: Arc<OwnedFd>) -> io::Result<Self> {
        Self::with_write_max(wake, COMMIT_WRITE_MAX)
    }

    /// As [`Self::new`], for a test that wants more writes than one to a commit.
    pub(super) fn with_write_max(wake: Arc<OwnedFd>, write_max: usize) -> io::Result<Self> {
        // Two entries for a commit, one for the wake.
        let entries = (2 * COMMITS_UNDER_WAY_MAX + 1).next_power_of_two();
        let ring = IoUring::new(u32::try_from(entries).expect("a few hundred"))?;
        let under_way = (0..COMMITS_UNDER_WAY_MAX).map(|_| None).collect();
        Ok(Self { ring, wake, watching: false, under_way, write_max })
    }

    fn count(&self) -> usize {
        self.under_way.iter().flatten().count()
    }

    /// Queues what is left of a commit: the rest of its bytes, and behind the last of them its flush.
    fn queue(&mut self, place: usize) {
        let write_max = self.write_max;
        let work = self.under_way[place].as_mut().expect("only a commit in place is queued");
        let fd = Fd(work.commit.file.as_raw_fd());
        let rest = &work.commit.bytes[work.written..];
        let len = rest.len().min(write_max);
        let is_last = len == rest.len();
        let number = (place as u64) << 1;
        let write = (len > 0).then(|| {
            let len = u32::try_from(len).expect("COMMIT_WRITE_MAX is below 2^31");
            let offset = work.commit.offset + work.written as u64;
            let write = opcode::Write::new(fd, rest.as_ptr(), len).offset(offset).build();
            let write = write.user_data(number);
            if is_last { write.flags(Flags::IO_LINK) } else { write }
        });
        work.open = u32::from(write.is_some()) + u32::from(is_last);
        if let Some(write) = write {
            self.push(&write);
        }
        if is_last {
            let flush = opcode::Fsync::new(fd).flags(FsyncFlags::DATASYNC).build();
            self.push(&flush.user_data(number | FLUSH));
        }
    }

    fn watch(&mut self) {
        if !self.watching {
            let events = u32::from(rustix::event::PollFlags::IN.bits());
            let entry = opcode::PollAdd::new(Fd(self.wake.as_raw_fd()), events).build();
            self.push(&entry.user_data(WAKE));
            self.watching = true;
        }
    }

    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: what the entry points to (the bytes of a commit, its file's descriptor, ours of the
        // eventfd) lives until its completion has come: `under_way` and `wake` keep it, `drop` waits.
        let pushed = unsafe { self.ring.submission().push(entry) };
        pushed.expect("the queue has two entries for each commit and one for the wake");
    }

    /// Takes completions; gives out commits that have ended.
    fn reap(&mut self, ended: &mut Vec<Ended>) {
        let completions: Vec<_> =
            self.ring.completion().map(|it| (it.user_data(), it.result())).collect();
        for (number, result) in completions {
            if number == WAKE {
                self.watching = false;
                take_wake(&self.wake);
                continue;
            }
            let place = usize::try_from(number >> 1).expect("we gave it");
            let work = self.under_way[place].as_mut().expect("a completion comes once");
            work.open -= 1;
            work.take(number & FLUSH != 0, result);
            if work.open == 0 {
                self.finish_or_go_on(place, ended);
            }
        }
    }

    fn finish_or_go_on(&mut self, place: usize, ended: &mut Vec<Ended>) {
        let work = self.under_way[place].as_ref().expect("it was just there");
        if work.failed.is_none() && !work.flushed {
            // A short write, which cuts the link to its flush, or an interruption.
            return self.queue(place);
        }
        let work = self.under_way[place].take().expect("it was just there");
        let took_ns = clock::mono_ns() - work.began_ns;
        let is_whole = work.written == work.commit.bytes.len();
        assert!(is_whole || work.failed.is_some(), "a flush counts once all bytes were written");
        let result = work.failed.map_or(Ok(()), Err);
        ended.push(Ended { id: work.commit.id, result, took_ns });
    }

    fn enter(&mut self, want: usize, patience: Option<Duration>) -> io::Result<()> {
        let entered = match patience {
            None => self.ring.submit_and_wait(want).map(drop),
            Some(time) => {
                let ns = nanos(time);
                let part = u32::try_from(ns % NS_PER_S).expect("below 10^9");
                let timeout = Timespec::new().sec(ns / NS_PER_S).nsec(part);
                let arguments = SubmitArgs::new().timespec(&timeout);
                self.ring.submitter().submit_with_args(want, &arguments).map(drop)
            }
        };
        match entered.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)) {
            // Time is up, or a signal: what has ended is looked at all the same.
            Ok(()) | Err(Errno::INTR | Errno::AGAIN | Errno::TIME) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl UnderWay {
    /// One completion: of the write, or of the flush.
    fn take(&mut self, is_flush: bool, result: i32) {
        match (is_flush, usize::try_from(result)) {
            (true, Ok(_)) => self.flushed = true,
            // The kernel took nothing and has no error for it.
            (false, Ok(0)) => self.fail(Errno::IO),
            (false, Ok(count)) => self.written += count,
            (_, Err(_)) => match Errno::from_raw_os_error(-result) {
                // Of a flush whose write came short or failed: the write's own completion says more.
                Errno::CANCELED | Errno::INTR | Errno::AGAIN => {}
                error => self.fail(error),
            },
        }
    }

    fn fail(&mut self, error: Errno) {
        self.failed.get_or_insert_with(|| error.into());
    }
}

impl Disk for Uring {
    fn start(&mut self, commit: Commit) {
        let place = self.under_way.iter().position(Option::is_none);
        let place = place.expect("no more streams than places");
        let began_ns = clock::mono_ns();
        let work = UnderWay { commit, began_ns, written: 0, open: 0, failed: None, flushed: false };
        self.under_way[place] = Some(work);
        self.queue(place);
    }

    fn wait(&mut self, patience: Option<Duration>, ended: &mut Vec<Ended>) -> io::Result<()> {
        self.watch();
        self.enter(1, patience)?;
        self.reap(ended);
        Ok(())
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        let mut ended = Vec::new();
        while self.count() > 0 {
            let waited = self.enter(1, None);
            assert!(waited.is_ok(), "the kernel has our bytes and cannot be waited for");
            self.reap(&mut ended);
        }
    }
}
