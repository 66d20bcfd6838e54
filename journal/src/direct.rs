//! Writes around the page cache: `O_DIRECT`.
//!
//! A page that goes through the cache is copied into it, by a processor that has better to do, and the
//! first touch of each page of the cache costs more than the copy: to prepare a segment took 0.2 to 2.7 ms
//! of a core for each MiB through the cache and 0.1 at most around it (ext4 on a virtual disk, Linux 6.18).
//!
//! A write through the cache is copied before its process can be gone; one around it may land after: the
//! kernel does not wait for what io_uring has at the disk when a process is killed. So who has such writes
//! under way holds the lock (`flock(2)`) of the very descriptor that they go through, which goes when the
//! last of them has ended; and who reads what a process left waits for it first: [`wait_for_writes`].
//!
//! Invariant: only what a file system itself tells to be possible is asked of it (`statx(2)`,
//! `STATX_DIOALIGN`, since Linux 6.1); all others are written through their cache. So no write fails
//! for how it is aligned.

use std::fs::{File, TryLockError};
use std::io;

use rustix::fs::{AtFlags, OFlags, StatxFlags, fcntl_getfl, fcntl_setfl, statx};

use crate::limits::PAGE_LEN;

/// Whether whole pages that lie at a page can be written around the cache.
#[must_use]
pub fn is_possible(file: &File) -> bool {
    let Ok(told) = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) else {
        return false;
    };
    let divides = |align: u32| align != 0 && PAGE_LEN.is_multiple_of(align as usize);
    told.stx_mask & StatxFlags::DIOALIGN.bits() != 0
        && divides(told.stx_dio_mem_align)
        && divides(told.stx_dio_offset_align)
}

/// Whether `bytes` are whole pages that lie at a page, and go to one of the file.
#[must_use]
pub fn is_whole_pages(bytes: &[u8], offset: u64) -> bool {
    bytes.as_ptr().addr().is_multiple_of(PAGE_LEN)
        && bytes.len().is_multiple_of(PAGE_LEN)
        && offset.is_multiple_of(PAGE_LEN as u64)
}

/// Makes all further writes of a file go around the cache, under its lock, if they can; whether they do.
pub fn begin(file: &File) -> bool {
    is_possible(file) && file.try_lock().is_ok() && set(file, true).is_ok()
}

/// Waits until every write of a process that is gone has landed: none is under way after that. If there is
/// one, `tell` is called before it waits, for as long as the disk takes.
///
/// # Errors
///
/// As `flock(2)` tells.
pub fn wait_for_writes(file: &File, tell: impl FnOnce()) -> io::Result<()> {
    match file.try_lock_shared() {
        Ok(()) => return file.unlock(),
        // Where there are no locks, [`begin`] has got none.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
            return Ok(());
        }
        Err(TryLockError::Error(error)) => return Err(error),
        Err(TryLockError::WouldBlock) => tell(),
    }
    loop {
        match file.lock_shared() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(()) => return file.unlock(),
        }
    }
}

/// Makes all further writes and reads of a file go around the cache, or no longer.
///
/// # Errors
///
/// As `fcntl(2)` tells.
pub fn set(file: &File, is_direct: bool) -> io::Result<()> {
    let mut flags = fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, is_direct);
    Ok(fcntl_setfl(file, flags)?)
}
