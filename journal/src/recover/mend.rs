//! Making sure that what was read stays: a crash after a recovery must lead to the same words.
//!
//! After a crash of the process alone, the end of a stream may be in the memory of the kernel or of the
//! disk only; after a flush that failed, the kernel may even believe that it is on the disk. So the end is
//! written again before it is flushed. What lies behind it is saved aside and cut off, as are zeros, which
//! nobody will fill any more.

use super::Tail;
use crate::batch::is_zero;
use crate::error::Error;
use crate::limits::{COMMIT_BYTES_MAX, PAGE_LEN};
use crate::names::{self, CUT, SegmentName, TEMPORARY};
use crate::storage::Storage;

/// Bytes copied at once.
const PIECE: usize = 1 << 20;

/// Mends one stream. Tells where its tail was saved, if it had one.
pub(super) fn mend(storage: &mut impl Storage, tail: &Tail) -> Result<Option<String>, Error> {
    // Only when all of it is saved is any of it cut.
    let saved_as = save_tail(storage, tail)?.into_iter().next();
    cut_tail(storage, tail)?;
    Ok(saved_as)
}

/// The segments that have something behind the end.
fn behind(tail: &Tail) -> impl DoubleEndedIterator<Item = &SegmentName> {
    tail.segments.iter().filter(|name| **name >= tail.end.place.segment)
}

/// Copies all that stands behind the end into the folder for what was cut. Tells where it is.
pub(super) fn save_tail(storage: &mut impl Storage, tail: &Tail) -> Result<Vec<String>, Error> {
    let place = tail.end.place;
    let mut saved = Vec::new();
    for name in behind(tail) {
        let from = if *name == place.segment { place.offset } else { 0 };
        saved.extend(save(storage, &name.path(), from)?);
    }
    Ok(saved)
}

/// Makes sure of what stands before the end, and cuts off what is behind it: the last first, each for
/// good, so that whatever a crash leaves has no gap.
pub(super) fn cut_tail(storage: &mut impl Storage, tail: &Tail) -> Result<(), Error> {
    let place = tail.end.place;
    let folder = names::folder(tail.stream.generation);
    for name in behind(tail).rev() {
        let path = name.path();
        if *name == place.segment && place.offset > 0 {
            rewrite(storage, &path, place.offset).map_err(Error::io(&path))?;
            storage.truncate(&path, place.offset).map_err(Error::io(&path))?;
            storage.sync_data(&path).map_err(Error::io(&path))?;
        } else {
            storage.remove(&path).map_err(Error::io(&path))?;
            storage.sync_folder(&folder).map_err(Error::io(&folder))?;
        }
    }
    Ok(())
}

/// Where the bytes of a file from an offset on are kept.
pub(super) fn saved_name(path: &str, from: u64) -> String {
    format!("{CUT}/{}-{from:010}", path.replace('/', "-"))
}

/// Copies what is not zero from this byte on into the folder for what was cut. A file that is missing
/// has nothing.
pub(super) fn save(
    storage: &mut impl Storage,
    path: &str,
    from: u64,
) -> Result<Option<String>, Error> {
    let target = saved_name(path, from);
    let temporary = format!("{target}{TEMPORARY}");
    let (mut offset, mut is_something) = (from, false);
    let len = match storage.len(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        len => len.map_err(Error::io(path))?,
    };
    let mut piece = vec![0; usize::try_from(len).map_or(PIECE, |len| len.min(PIECE))];
    loop {
        let filled = storage.read_at(path, offset, &mut piece).map_err(Error::io(path))?;
        if filled == 0 {
            break;
        }
        if !is_zero(&piece[..filled]) {
            if !is_something {
                storage.create_folder(CUT).map_err(Error::io(CUT))?;
            }
            is_something = true;
            let to = offset - from;
            storage.write_at(&temporary, to, &piece[..filled]).map_err(Error::io(&temporary))?;
        }
        offset += filled as u64;
    }
    if !is_something {
        return Ok(None);
    }
    storage.sync_data(&temporary).map_err(Error::io(&temporary))?;
    storage.rename(&temporary, &target).map_err(Error::io(&target))?;
    storage.sync_folder(CUT).map_err(Error::io(CUT))?;
    Ok(Some(target))
}

/// Writes the first page and the last commit again, byte for byte. No more can be in doubt: one
/// commit is under way at a time, and none is larger.
fn rewrite(storage: &mut impl Storage, path: &str, end: u64) -> std::io::Result<()> {
    let from = end.saturating_sub(COMMIT_BYTES_MAX as u64).max(PAGE_LEN as u64);
    let mut piece = vec![0; usize::try_from(end).map_or(PIECE, |end| end.min(PIECE))];
    copy_onto_itself(storage, path, 0, &mut piece[..PAGE_LEN])?;
    let mut offset = from;
    while offset < end {
        let len = usize::try_from(end - offset).map_or(PIECE, |left| left.min(PIECE));
        copy_onto_itself(storage, path, offset, &mut piece[..len])?;
        offset += len as u64;
    }
    Ok(())
}

fn copy_onto_itself(
    storage: &mut impl Storage,
    path: &str,
    offset: u64,
    piece: &mut [u8],
) -> std::io::Result<()> {
    let filled = storage.read_at(path, offset, piece)?;
    storage.write_at(path, offset, &piece[..filled])
}
