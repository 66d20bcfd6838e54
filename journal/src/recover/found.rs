//! What is on the disk: the newest generation, its base, and for each shard the newest good snapshot.

use m2_core::{ShardId, ShardImage};

use super::Note;
use crate::error::Error;
use crate::fault::Fault;
use crate::hash::Hash;
use crate::image::{self, Base};
use crate::names::{self, SegmentName, SnapshotName};
use crate::slot::{self, SLOT_LEN};
use crate::storage::Storage;

/// What a recovery begins with.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) base: Base,
    pub(super) base_hash: Hash,
    /// By stream, in order.
    pub(super) segments: Vec<Vec<SegmentName>>,
    /// By shard: the newest that is good.
    pub(super) snapshots: Vec<Option<ShardImage>>,
    /// By stream: what its slots tell.
    pub(super) flushed: Vec<u64>,
    pub(super) notes: Vec<Note>,
}

impl Found {
    /// The newest generation; `None` if there is none.
    pub(super) fn look(
        storage: &mut impl Storage,
        with_snapshots: bool,
    ) -> Result<Option<Self>, Error> {
        let Some(generation) = generations(storage)?.pop() else { return Ok(None) };
        let path = names::base(generation);
        let (base, base_hash) =
            read_base(storage, generation)?.map_err(|fault| Error::damage(&path, 0, fault))?;
        let (segments, mut snapshots) = list(storage, &base)?;
        let mut notes = Vec::new();
        if !with_snapshots {
            snapshots.iter_mut().for_each(Vec::clear);
        }
        let mut chosen = Vec::with_capacity(base.shards);
        for names in snapshots {
            chosen.push(newest_good(storage, &base, names, &mut notes)?);
        }
        let mut flushed = Vec::with_capacity(base.shards);
        for stream in 0..base.shards {
            let stream = ShardId(u16::try_from(stream).expect("SHARDS_MAX is less"));
            flushed.push(read_slots(storage, generation, stream, &mut notes)?);
        }
        Ok(Some(Self { base, base_hash, segments, snapshots: chosen, flushed, notes }))
    }
}

/// All generations, oldest first.
pub(super) fn generations(storage: &mut impl Storage) -> Result<Vec<u32>, Error> {
    let entries = match storage.list("") {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        listed => listed.map_err(Error::io(""))?,
    };
    let folders = entries.iter().filter(|entry| entry.is_folder);
    let mut generations: Vec<_> =
        folders.filter_map(|entry| names::parse_folder(&entry.name)).collect();
    generations.sort_unstable();
    Ok(generations)
}

fn read_base(
    storage: &mut impl Storage,
    generation: u32,
) -> Result<Result<(Base, Hash), Fault>, Error> {
    let path = names::base(generation);
    match image::read(storage, &path, image::decode_base) {
        Err(Error::Io { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(Err(Fault::Missing))
        }
        Ok(Ok((base, _))) if base.generation != generation => Ok(Err(Fault::Foreign)),
        read => read,
    }
}

/// Segments by stream and snapshots by shard, each in order.
type Listed = (Vec<Vec<SegmentName>>, Vec<Vec<SnapshotName>>);

fn list(storage: &mut impl Storage, base: &Base) -> Result<Listed, Error> {
    let folder = names::folder(base.generation);
    let entries = storage.list(&folder).map_err(Error::io(&folder))?;
    let mut segments = vec![Vec::new(); base.shards];
    let mut snapshots = vec![Vec::new(); base.shards];
    for entry in entries.iter().filter(|entry| !entry.is_folder) {
        if let Some(name) = SegmentName::parse(base.generation, &entry.name) {
            segments.get_mut(usize::from(name.stream.0)).into_iter().for_each(|of| of.push(name));
        }
        if let Some(name) = SnapshotName::parse(base.generation, &entry.name) {
            snapshots.get_mut(usize::from(name.shard.0)).into_iter().for_each(|of| of.push(name));
        }
    }
    // Names with more digits sort otherwise than their numbers.
    segments.iter_mut().for_each(|of| of.sort_unstable());
    snapshots.iter_mut().for_each(|of| of.sort_unstable());
    Ok((segments, snapshots))
}

fn newest_good(
    storage: &mut impl Storage,
    base: &Base,
    names: Vec<SnapshotName>,
    notes: &mut Vec<Note>,
) -> Result<Option<ShardImage>, Error> {
    for name in names.into_iter().rev() {
        let path = name.path();
        let read = image::read(storage, &path, image::decode_snapshot)?;
        match read.and_then(|(generation, image)| fits(base, name, generation, image)) {
            Ok(image) => return Ok(Some(image)),
            Err(fault) => notes.push(Note::Snapshot { file: path, fault }),
        }
    }
    Ok(None)
}

/// A snapshot of this shard, with all of its accounts and no other.
fn fits(
    base: &Base,
    name: SnapshotName,
    generation: u32,
    image: ShardImage,
) -> Result<ShardImage, Fault> {
    let own = base.accounts.iter().filter(|account| account.shard == name.shard);
    let is_ours = generation == name.generation
        && image.shard == name.shard
        && image.applied.len() == base.shards;
    let is_whole = own
        .map(|account| account.image.account)
        .eq(image.accounts.iter().map(|image| image.account));
    if is_ours && is_whole { Ok(image) } else { Err(Fault::Foreign) }
}

/// The higher position of the two slots: a crash tears at most the one that was being written.
fn read_slots(
    storage: &mut impl Storage,
    generation: u32,
    stream: ShardId,
    notes: &mut Vec<Note>,
) -> Result<u64, Error> {
    let path = names::flushed(generation, stream);
    let mut told = None;
    for index in 0..2 {
        let mut bytes = [0; SLOT_LEN];
        match storage.read_at(&path, slot::offset(index), &mut bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            read => {
                read.map_err(Error::io(&path))?;
            }
        }
        told = told.max(slot::decode(&mut bytes, generation, stream).ok());
    }
    if told.is_none() {
        notes.push(Note::Slots { file: path });
    }
    Ok(told.unwrap_or(0))
}
