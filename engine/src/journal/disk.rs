//! How a batch gets to the disk: written, then flushed, and only then told.
//!
//! Two back ends do the same: `uring.rs`, which has a commit of every stream under way at once, and
//! the one below, which waits for each. Where the kernel does not permit io_uring the second is
//! taken, and the log says so.
//!
//! Invariant: a commit ends as `Ok` only when its bytes were written whole and a flush that began
//! after that has ended well. A commit that failed is not tried again: after a failed flush the page
//! cache may hold as clean what the disk does not have (Rebello et al., "Can Applications Recover
//! from fsync Failures?", USENIX ATC 2020).

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use m2_journal::Pages;
use rustix::event::{PollFd, PollFlags, poll};

use crate::clock;

/// A batch to be made durable.
#[derive(Debug)]
pub(super) struct Commit {
    /// What it is called when it has ended.
    pub(super) id: u64,
    /// Preallocated as far as the batch goes.
    pub(super) file: Arc<File>,
    pub(super) offset: u64,
    pub(super) bytes: Arc<Pages>,
}

/// A commit that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) id: u64,
    pub(super) result: io::Result<()>,
    /// From the start of the write to the end of the flush.
    pub(super) took_ns: u64,
}

/// What makes batches durable.
pub(super) trait Disk {
    /// Starts a commit. It ends in a later [`Self::wait`], and its bytes are not held any longer then.
    fn start(&mut self, commit: Commit);

    /// Waits until a commit has ended, the wake was signalled, or the time is up (`None`: for ever),
    /// and gives out what has ended.
    ///
    /// # Errors
    ///
    /// When the kernel does not let us wait. Nothing is known of what is under way then.
    fn wait(&mut self, patience: Option<Duration>, ended: &mut Vec<Ended>) -> io::Result<()>;
}

/// One commit after the other, each waited for.
#[derive(Debug)]
pub(super) struct Blocking {
    wake: Arc<OwnedFd>,
    ended: Vec<Ended>,
}

impl Blocking {
    /// `wake` is an eventfd that does not block.
    pub(super) fn new(wake: Arc<OwnedFd>) -> Self {
        Self { wake, ended: Vec::new() }
    }
}

impl Disk for Blocking {
    fn start(&mut self, commit: Commit) {
        let Commit { id, file, offset, bytes } = commit;
        let began_ns = clock::mono_ns();
        let result = file.write_all_at(&bytes, offset).and_then(|()| file.sync_data());
        self.ended.push(Ended { id, result, took_ns: clock::mono_ns() - began_ns });
    }

    fn wait(&mut self, patience: Option<Duration>, ended: &mut Vec<Ended>) -> io::Result<()> {
        if self.ended.is_empty() {
            let timeout = patience.map(|time| clock::timespec(nanos(time)));
            match poll(&mut [PollFd::new(&*self.wake, PollFlags::IN)], timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        take_wake(&self.wake);
        ended.append(&mut self.ended);
        Ok(())
    }
}

/// Takes the signal out of an eventfd, if there is one.
pub(super) fn take_wake(wake: &OwnedFd) {
    let mut count = [0; 8];
    // The one error is that there is none.
    let _ = rustix::io::read(wake, &mut count);
}

/// Nanoseconds, as far as they fit.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use m2_journal::direct;

    use super::super::uring::Uring;
    use super::*;
    use crate::shard::wake::{shard_wake, wake};

    /// A file of so many zeros, written around the page cache if they can be, in a folder of the test's own.
    fn file(name: &str, len: u64) -> (std::path::PathBuf, Arc<File>) {
        // A folder for temporary files may be in memory; what cargo builds is on a disk.
        let built = std::env::current_exe().unwrap();
        let path = built.with_file_name(format!("m2-disk-{}-{name}", std::process::id()));
        let file =
            File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        file.set_len(len).unwrap();
        direct::set(&file, direct::is_possible(&file)).unwrap();
        (path, Arc::new(file))
    }

    fn wait_for(disk: &mut impl Disk, count: usize) -> Vec<Ended> {
        let mut ended = Vec::new();
        while ended.len() < count {
            disk.wait(None, &mut ended).unwrap();
        }
        ended
    }

    /// Goal: both back ends leave the same bytes and tell each commit once. Method: three files, a
    /// commit of each under way at once, then a second over the first.
    fn leaves_its_bytes(disk: &mut impl Disk, name: &str) {
        let files = [0, 1, 2].map(|at| file(&format!("{name}-{at}"), 64 << 10));
        for round in 0..2_u8 {
            for (at, (_, file)) in (0_u8..).zip(&files) {
                let bytes = Arc::new(Pages::from(&[10 * round + at + 1; 8192][..]));
                let offset = u64::from(round) * 4096;
                disk.start(Commit { id: u64::from(at), file: Arc::clone(file), offset, bytes });
            }
            let mut ended = wait_for(disk, 3);
            ended.sort_by_key(|it| it.id);
            let ids: Vec<u64> = ended.iter().map(|it| it.id).collect();
            assert_eq!(ids, [0, 1, 2]);
            assert!(ended.iter().all(|it| it.result.is_ok()));
        }
        for (at, (path, _)) in (0_u8..).zip(&files) {
            let mut read = Vec::new();
            File::open(path).unwrap().read_to_end(&mut read).unwrap();
            assert_eq!(read.len(), 64 << 10);
            assert!(read[..4096].iter().all(|byte| *byte == at + 1));
            assert!(read[4096..12288].iter().all(|byte| *byte == at + 11));
            assert!(read[12288..].iter().all(|byte| *byte == 0));
            std::fs::remove_file(path).unwrap();
        }
    }

    fn tells_what_failed(disk: &mut impl Disk, name: &str) {
        let (path, _) = file(name, 4096);
        let read_only = Arc::new(File::open(&path).unwrap());
        disk.start(Commit {
            id: 7,
            file: read_only,
            offset: 0,
            bytes: Arc::new(Pages::from(&[1; 4096][..])),
        });
        let full = File::options().write(true).open("/dev/full").unwrap();
        disk.start(Commit {
            id: 8,
            file: Arc::new(full),
            offset: 0,
            bytes: Arc::new(Pages::from(&[1; 4096][..])),
        });
        // It takes whatever is written, and cannot be flushed.
        let null = File::options().write(true).open("/dev/null").unwrap();
        disk.start(Commit {
            id: 9,
            file: Arc::new(null),
            offset: 0,
            bytes: Arc::new(Pages::from(&[1; 4096][..])),
        });
        let mut ended = wait_for(disk, 3);
        ended.sort_by_key(|it| it.id);
        let error = |it: &Ended| it.result.as_ref().err().and_then(io::Error::raw_os_error);
        let errors: Vec<_> = ended.iter().map(error).collect();
        assert_eq!(errors, [Some(9), Some(28), Some(22)], "EBADF, ENOSPC, and EINVAL of the flush");
        std::fs::remove_file(path).unwrap();
    }

    fn is_woken(disk: &mut impl Disk, signal: &OwnedFd) {
        let mut ended = Vec::new();
        for _ in 0..3 {
            wake(signal);
            disk.wait(None, &mut ended).unwrap();
        }
        disk.wait(Some(Duration::from_millis(1)), &mut ended).unwrap();
        assert!(ended.is_empty());
    }

    #[test]
    fn waiting_for_each_commit_makes_it_durable() {
        let signal = Arc::new(shard_wake().unwrap());
        let mut disk = Blocking::new(Arc::clone(&signal));
        leaves_its_bytes(&mut disk, "blocking");
        tells_what_failed(&mut disk, "blocking-failed");
        is_woken(&mut disk, &signal);
    }

    #[test]
    fn io_uring_does_the_same() {
        let signal = Arc::new(shard_wake().unwrap());
        let mut disk = match Uring::new(Arc::clone(&signal)) {
            Ok(disk) => disk,
            Err(error) => panic!("these tests need io_uring, which this kernel refuses: {error}"),
        };
        leaves_its_bytes(&mut disk, "uring");
        let mut in_pieces = Uring::with_write_max(Arc::clone(&signal), 4096).unwrap();
        leaves_its_bytes(&mut in_pieces, "uring-pieces");
        tells_what_failed(&mut disk, "uring-failed");
        is_woken(&mut disk, &signal);
    }

    #[test]
    fn a_commit_under_way_is_waited_for_before_its_bytes_go() {
        let signal = Arc::new(shard_wake().unwrap());
        let (path, file) = file("dropped", 1 << 20);
        let mut disk = Uring::new(signal).unwrap();
        let bytes = Arc::new(Pages::from(&vec![7; 1 << 20][..]));
        disk.start(Commit { id: 1, file, offset: 0, bytes });
        drop(disk);
        assert!(std::fs::read(&path).unwrap().iter().all(|byte| *byte == 7));
        std::fs::remove_file(path).unwrap();
    }
}
