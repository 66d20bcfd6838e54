//! How long a flush takes on a folder's disk: measured, for `check` to hold the margin of expiry
//! against.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use m2_journal::{Pages, direct};

use super::presence::nearest;
use crate::limits::{PROBE_FLUSHES, PROBE_PATIENCE};

/// Longest that a batch of one block took, from write to the end of the flush, and how many were made.
///
/// The file is made in the nearest folder above `folder` that exists, so that `check` leaves nothing
/// behind: it is on the same disk unless something is to be mounted at `folder`.
///
/// # Errors
///
/// When a file cannot be made, written or flushed there.
pub(crate) fn flush_time(folder: &Path) -> io::Result<(Duration, u32)> {
    let there = nearest(folder).unwrap_or_else(|| Path::new(".").into());
    let path = there.join(format!(".m2-flush-probe-{}", std::process::id()));
    let file = File::options().write(true).create_new(true).open(&path)?;
    let measured = measure(&file);
    fs::remove_file(&path)?;
    measured
}

/// Whether two folders, or where they will be made, are on one disk as the system sees it.
pub(crate) fn on_one_disk(one: &Path, other: &Path) -> bool {
    let disk = |folder: &Path| Some(fs::metadata(nearest(folder)?).ok()?.dev());
    disk(one).is_some_and(|it| disk(other) == Some(it))
}

fn measure(file: &File) -> io::Result<(Duration, u32)> {
    let block = Pages::from(&[0x5a; 4096][..]);
    // As commits are written.
    let _ = direct::begin(file);
    rustix::fs::fallocate(
        file,
        rustix::fs::FallocateFlags::empty(),
        0,
        u64::from(PROBE_FLUSHES) * 4096,
    )?;
    file.sync_all()?;
    let began = Instant::now();
    let (mut longest, mut made) = (Duration::ZERO, 0);
    while made < PROBE_FLUSHES && began.elapsed() < PROBE_PATIENCE {
        let start = Instant::now();
        file.write_all_at(&block, u64::from(made) * 4096)?;
        file.sync_data()?;
        longest = longest.max(start.elapsed());
        made += 1;
    }
    Ok((longest, made))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_yet_is_measured_above_it_and_nothing_is_left() {
        let above = std::env::temp_dir().join(format!("m2-probe-{}", std::process::id()));
        fs::create_dir(&above).unwrap();
        let (longest, made) = flush_time(&above.join("journal/deep")).unwrap();
        assert!(longest > Duration::ZERO && (1..=PROBE_FLUSHES).contains(&made));
        assert_eq!(fs::read_dir(&above).unwrap().count(), 0);
        fs::remove_dir(&above).unwrap();
    }
}
