//! Writes around the page cache: `O_DIRECT`.
//!
//! A page that goes through the cache is copied into it, by a processor that has better to do, and the
//! first touch of each page of the cache costs more than the copy: to prepare a segment took 0.3 to 2.7 ms
//! of a core for each MiB through the cache and 0.07 around it (ext4 on a virtual disk, Linux 6.18).
//!
//! Invariant: only what a file system itself tells to be possible is asked of it (`statx(2)`,
//! `STATX_DIOALIGN`, since Linux 6.1); all others are written through their cache. So no write fails
//! for how it is aligned.

use std::fs::File;
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
