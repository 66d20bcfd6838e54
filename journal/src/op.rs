//! What the writer asks of a disk, and what each request means there.
//!
//! The blocking back end, the thread for files and the simulator perform an [`Op`] with [`perform`];
//! a back end of another kind does the same calls in the same order.

use std::io;
use std::sync::Arc;

use m2_core::ShardId;

use crate::limits::PREPARE_BYTES;
use crate::names::{self, SegmentName, SnapshotName, TEMPORARY};
use crate::pages::Pages;
use crate::slot::SLOT_LEN;
use crate::storage::{Storage, folder_of};

/// One request of the writer. Any number may be under way at once; each ends in
/// [`crate::Writer::done`], in any order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Op {
    /// Make a segment of zeros, so that a commit neither runs out of room nor changes metadata.
    Prepare {
        /// Which.
        segment: SegmentName,
        /// Bytes of the file.
        len: u64,
    },
    /// Write the first page of a segment. The first commit to it flushes it.
    Open {
        /// Which.
        segment: SegmentName,
        /// Its first page.
        page: Pages,
    },
    /// Write batches, then flush the file. Records count as durable when both are done.
    Commit {
        /// Where.
        segment: SegmentName,
        /// At which byte: a multiple of a page.
        offset: u64,
        /// Whole pages. The writer shares them, to fill the buffer anew once the request is done and
        /// nobody else holds it.
        bytes: Arc<Pages>,
    },
    /// Write down the flushed position. No flush: it may be behind after a crash.
    Mark {
        /// Which start of the process.
        generation: u32,
        /// Whose position.
        stream: ShardId,
        /// At which byte: the two slots take turns.
        offset: u64,
        /// The slot.
        bytes: [u8; SLOT_LEN],
    },
    /// Write a snapshot under a temporary name, flush it, give it its name, and flush the folder.
    Snapshot {
        /// Which.
        name: SnapshotName,
        /// The whole file.
        bytes: Vec<u8>,
    },
    /// Remove a file that nobody needs any more, or move it, and flush the folder.
    Retire {
        /// What.
        from: String,
        /// Where to, if it is kept.
        to: Option<String>,
    },
    /// Remove a folder whose files have been retired.
    RemoveFolder {
        /// Which.
        path: String,
    },
}

/// Does what `op` asks for.
///
/// # Errors
///
/// As the storage tells; the writer decides what that means.
pub fn perform(storage: &mut impl Storage, op: &Op) -> io::Result<()> {
    match op {
        Op::Prepare { segment, len } => prepare(storage, &segment.path(), *len),
        Op::Open { segment, page } => storage.write_at(&segment.path(), 0, page),
        Op::Commit { segment, offset, bytes } => {
            let path = segment.path();
            storage.write_at(&path, *offset, bytes)?;
            storage.sync_data(&path)
        }
        Op::Mark { generation, stream, offset, bytes } => {
            storage.write_at(&names::flushed(*generation, *stream), *offset, bytes)
        }
        Op::Snapshot { name, bytes } => write_whole(storage, &name.path(), bytes),
        Op::Retire { from, to } => retire(storage, from, to.as_deref()),
        Op::RemoveFolder { path } => match storage.remove_folder(path) {
            // An attempt before this one got so far.
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => storage.sync_folder(folder_of(path)),
        },
    }
}

/// A segment of which only a part can be had takes no room from others.
fn prepare(storage: &mut impl Storage, path: &str, len: u64) -> io::Result<()> {
    write_zeros(storage, path, len).inspect_err(|_| {
        let _ = storage.remove(path);
    })
}

/// Zeros are written, not only allocated: then a commit overwrites what is there, a flush of it has
/// no metadata to wait for (measured: a third quicker on ext4), and room was found before it counts.
fn write_zeros(storage: &mut impl Storage, path: &str, len: u64) -> io::Result<()> {
    let most = usize::try_from(len).map_or(PREPARE_BYTES, |len| len.min(PREPARE_BYTES));
    let zeros = Pages::zeros(most);
    let mut offset = 0;
    while offset < len {
        let count = (len - offset).min(PREPARE_BYTES as u64);
        let piece = usize::try_from(count).expect("it is PREPARE_BYTES at most");
        storage.write_at(path, offset, &zeros[..piece])?;
        storage.sync_data(path)?;
        offset += count;
    }
    storage.sync_folder(folder_of(path))
}

/// Writes a file that is there whole or not at all, whenever the power goes: what was there before stays
/// until then. What could be written of it before an error takes no room from others.
///
/// # Errors
///
/// When the disk cannot be written.
pub fn write_whole(storage: &mut impl Storage, path: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = format!("{path}{TEMPORARY}");
    write_flushed(storage, &temporary, bytes).inspect_err(|_| {
        let _ = storage.remove(&temporary);
    })?;
    storage.rename(&temporary, path)?;
    storage.sync_folder(folder_of(path))
}

fn write_flushed(storage: &mut impl Storage, path: &str, bytes: &[u8]) -> io::Result<()> {
    storage.write_at(path, 0, bytes)?;
    // An earlier attempt may have left a longer one.
    storage.truncate(path, bytes.len() as u64)?;
    storage.sync_data(path)
}

/// The folder is flushed after each file: were two removed and only the later removal kept, there
/// would be a gap that looks like damage.
fn retire(storage: &mut impl Storage, from: &str, to: Option<&str>) -> io::Result<()> {
    let gone = match to {
        None => storage.remove(from),
        Some(to) => {
            storage.create_folder(folder_of(to))?;
            let moved = storage.rename(from, to);
            storage.sync_folder(folder_of(to))?;
            moved
        }
    };
    match gone {
        // An attempt before this one got so far.
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    storage.sync_folder(folder_of(from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;

    #[test]
    fn a_commit_is_flushed_after_it_is_written_and_a_mark_is_not() {
        let mut disk = Memory::default();
        disk.create_folder("generation-00000001").unwrap();
        let segment = SegmentName { generation: 1, stream: ShardId(0), number: 1 };
        let op = Op::Commit { segment, offset: 4096, bytes: Arc::new(Pages::from(&[1; 4096][..])) };
        perform(&mut disk, &op).unwrap();
        let op = Op::Mark { generation: 1, stream: ShardId(0), offset: 4096, bytes: [2; 64] };
        perform(&mut disk, &op).unwrap();
        assert_eq!(
            disk.calls,
            [
                "write generation-00000001/stream-000-00000001.m2j 4096 4096",
                "sync generation-00000001/stream-000-00000001.m2j",
                "write generation-00000001/stream-000.flushed 4096 64",
            ]
        );
    }

    #[test]
    fn a_prepared_segment_is_zeros_that_were_flushed_piece_by_piece() {
        let mut disk = Memory::default();
        disk.create_folder("generation-00000001").unwrap();
        let segment = SegmentName { generation: 1, stream: ShardId(0), number: 1 };
        let len = PREPARE_BYTES as u64 + 4096;
        perform(&mut disk, &Op::Prepare { segment, len }).unwrap();
        let path = segment.path();
        assert_eq!(disk.files[&path], vec![0; PREPARE_BYTES + 4096]);
        let sync = format!("sync {path}");
        assert_eq!(disk.calls.iter().filter(|call| **call == sync).count(), 2);
        assert_eq!(disk.calls.last().unwrap(), "sync folder generation-00000001");
    }

    #[test]
    fn a_snapshot_has_its_name_only_once_it_is_flushed() {
        let mut disk = Memory::default();
        disk.create_folder("generation-00000001").unwrap();
        let name = SnapshotName { generation: 1, shard: ShardId(0), number: 1 };
        let path = name.path();
        let temporary = format!("{path}.tmp");
        disk.write_at(&temporary, 0, &[9; 100]).unwrap();
        disk.calls.clear();
        perform(&mut disk, &Op::Snapshot { name, bytes: vec![3; 10] }).unwrap();
        assert_eq!(disk.files.get(&path), Some(&vec![3; 10]));
        assert_eq!(
            disk.calls,
            [
                format!("write {temporary} 0 10"),
                format!("truncate {temporary} 10"),
                format!("sync {temporary}"),
                format!("rename {temporary} {path}"),
                "sync folder generation-00000001".into(),
            ]
        );
    }

    #[test]
    fn what_there_is_no_room_for_takes_none() {
        let mut disk = Memory::default();
        disk.create_folder("generation-00000001").unwrap();
        disk.room = Some(100_000);
        disk.write_at("generation-00000001/a", 0, &[1; 90_000]).unwrap();
        let segment = SegmentName { generation: 1, stream: ShardId(0), number: 1 };
        let name = SnapshotName { generation: 1, shard: ShardId(0), number: 1 };
        for op in
            [Op::Prepare { segment, len: 20_000 }, Op::Snapshot { name, bytes: vec![3; 20_000] }]
        {
            let error = perform(&mut disk, &op).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            assert_eq!(disk.taken(), 90_000, "{op:?}");
        }
        perform(&mut disk, &Op::Snapshot { name, bytes: vec![3; 10_000] }).unwrap();
    }

    #[test]
    fn what_retires_may_be_gone_already() {
        let mut disk = Memory::default();
        disk.create_folder("generation-00000001").unwrap();
        disk.write_at("generation-00000001/a", 0, &[1]).unwrap();
        let from = || "generation-00000001/a".to_owned();
        let to = "archive/generation-00000001/a";
        let op = Op::Retire { from: from(), to: Some(to.into()) };
        perform(&mut disk, &op).unwrap();
        assert_eq!(disk.files.get(to), Some(&vec![1]));
        perform(&mut disk, &op).unwrap();
        perform(&mut disk, &Op::Retire { from: from(), to: None }).unwrap();
        assert_eq!(disk.calls.last().unwrap(), "sync folder generation-00000001");
    }
}
