//! What is on the disk: the newest generation, its base, and for each shard the newest good snapshot.

use m2_core::{ShardId, ShardImage};

use super::Note;
use crate::error::Error;
use crate::fault::Fault;
use crate::hash::Hash;
use crate::image::{self, Base};
use crate::limits::PAGE_LEN;
use crate::names::{self, SegmentName, SnapshotName};
use crate::segment;
use crate::slot::{self, FILE_LEN, SLOT_LEN};
use crate::storage::{Entry, Storage};

/// What a recovery begins with.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) base: Base,
    pub(super) base_hash: Hash,
    /// By stream, in order.
    pub(super) segments: Vec<Vec<SegmentName>>,
    /// By shard: the newest that is good.
    pub(super) snapshots: Vec<Option<ShardImage>>,
    /// Newer ones than those, newest first for each shard, and what is wrong with them.
    pub(super) bad_snapshots: Vec<(SnapshotName, Fault)>,
    /// By stream: what its slots tell, or what is wrong with the file that should have them.
    pub(super) flushed: Vec<Result<u64, Fault>>,
    pub(super) notes: Vec<Note>,
}

impl Found {
    /// This generation, or the newest; `None` if there is none.
    pub(super) fn look(
        storage: &mut impl Storage,
        generation: Option<u32>,
        with_snapshots: bool,
    ) -> Result<Option<Self>, Error> {
        let newest = generations(storage)?.pop();
        let Some(generation) = generation.or(newest) else { return Ok(None) };
        let path = names::base(generation);
        let (base, base_hash) =
            read_base(storage, generation)?.map_err(|fault| Error::damage(&path, 0, fault))?;
        let (segments, mut snapshots) = list(storage, &base)?;
        if !with_snapshots {
            snapshots.iter_mut().for_each(Vec::clear);
        }
        let (mut chosen, mut bad_snapshots) = (Vec::with_capacity(base.shards), Vec::new());
        for names in snapshots {
            chosen.push(newest_good(storage, &base, names, &mut bad_snapshots)?);
        }
        let note = |(name, fault): &(SnapshotName, Fault)| Note::Snapshot {
            file: name.path(),
            fault: *fault,
        };
        let mut notes: Vec<_> = bad_snapshots.iter().map(note).collect();
        let mut flushed = Vec::with_capacity(base.shards);
        for stream in 0..base.shards {
            let stream = ShardId(u16::try_from(stream).expect("SHARDS_MAX is less"));
            let told = look_at_slots(storage, generation, stream)?;
            if told == Ok(None) {
                notes.push(Note::Slots { file: names::flushed(generation, stream) });
            }
            flushed.push(told.map(|told| told.unwrap_or(0)));
        }
        let snapshots = chosen;
        Ok(Some(Self { base, base_hash, segments, snapshots, bad_snapshots, flushed, notes }))
    }
}

/// All generations, oldest first.
///
/// # Errors
///
/// When the folder cannot be read, or a file has the name of a generation. One that is not there has none.
pub fn generations(storage: &mut impl Storage) -> Result<Vec<u32>, Error> {
    let entries = match storage.list("") {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        listed => listed.map_err(Error::io(""))?,
    };
    let mut generations = Vec::new();
    for Entry { name, is_folder } in &entries {
        match names::parse_folder(name) {
            Some(_) if !is_folder => return Err(Error::wrong_kind(name, false)),
            generation => generations.extend(generation),
        }
    }
    generations.sort_unstable();
    Ok(generations)
}

/// The base of a generation, and its hash.
///
/// # Errors
///
/// When it cannot be read; inside, when it is none.
pub fn read_base(
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
pub type Listed = (Vec<Vec<SegmentName>>, Vec<Vec<SnapshotName>>);

/// The segments and snapshots of a generation.
///
/// # Errors
///
/// When its folder cannot be read, or a folder has the name of a file.
pub fn list(storage: &mut impl Storage, base: &Base) -> Result<Listed, Error> {
    let folder = names::folder(base.generation);
    let entries = storage.list(&folder).map_err(Error::io(&folder))?;
    let mut segments = vec![Vec::new(); base.shards];
    let mut snapshots = vec![Vec::new(); base.shards];
    for entry in &entries {
        if entry.is_folder && names::is_file(base.generation, &entry.name) {
            return Err(Error::wrong_kind(&format!("{folder}/{}", entry.name), true));
        }
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
    bad: &mut Vec<(SnapshotName, Fault)>,
) -> Result<Option<ShardImage>, Error> {
    for name in names.into_iter().rev() {
        match read_snapshot(storage, base, name)? {
            Ok(image) => return Ok(Some(image)),
            Err(fault) => bad.push((name, fault)),
        }
    }
    Ok(None)
}

/// A snapshot that fits the base of its generation.
///
/// # Errors
///
/// Inside, when it is none or cannot be read: another stands in for it either way.
pub fn read_snapshot(
    storage: &mut impl Storage,
    base: &Base,
    name: SnapshotName,
) -> Result<Result<ShardImage, Fault>, Error> {
    let read = match image::read(storage, &name.path(), image::decode_snapshot) {
        Err(Error::Io { error, .. }) => Err(Fault::Unreadable { os_error: error.raw_os_error() }),
        read => read?,
    };
    Ok(read.and_then(|(generation, image)| fits(base, name, generation, image)))
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

/// The higher position of the two slots; `None` if neither tells one, and if the file is not whole.
///
/// # Errors
///
/// When the file is there and cannot be read.
pub fn read_slots(
    storage: &mut impl Storage,
    generation: u32,
    stream: ShardId,
) -> Result<Option<u64>, Error> {
    Ok(look_at_slots(storage, generation, stream)?.unwrap_or(None))
}

/// The higher position of the two slots. `None` if neither tells one: that is what a crash may leave on
/// a disk that does not write its sectors whole, see [`crate::slot`].
///
/// # Errors
///
/// When the file is there and cannot be read; inside, when it is not there, is too short or was written
/// by another version. No crash explains that: it was there, whole, before the first record.
pub fn look_at_slots(
    storage: &mut impl Storage,
    generation: u32,
    stream: ShardId,
) -> Result<Result<Option<u64>, Fault>, Error> {
    let path = names::flushed(generation, stream);
    let len = match storage.len(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Err(Fault::Missing));
        }
        len => len.map_err(Error::io(&path))?,
    };
    if len < FILE_LEN as u64 {
        return Ok(Err(Fault::Short));
    }
    let mut told = None;
    for index in 0..2 {
        let mut bytes = [0; SLOT_LEN];
        let read = storage.read_at(&path, slot::offset(index), &mut bytes);
        read.map_err(Error::io(&path))?;
        match slot::decode(&mut bytes, generation, stream) {
            Err(Fault::Version(version)) => return Ok(Err(Fault::Version(version))),
            decoded => told = told.max(decoded.ok()),
        }
    }
    Ok(Ok(told))
}

/// Segments that may have credits or reversals: the next one counts more of them, or does not tell.
///
/// # Errors
///
/// When a segment cannot be read.
pub fn with_money(
    storage: &mut impl Storage,
    segments: &[SegmentName],
) -> Result<Vec<SegmentName>, Error> {
    let mut found = Vec::new();
    let mut next = None;
    for name in segments.iter().rev() {
        let money = read_head(storage, *name)?.map(|head| head.money);
        if money.is_none() || money != next {
            found.push(*name);
        }
        next = money;
    }
    found.reverse();
    Ok(found)
}

/// What a segment says of itself; nothing if it was not used yet, or is damaged.
///
/// # Errors
///
/// When it cannot be read.
pub fn read_head(
    storage: &mut impl Storage,
    name: SegmentName,
) -> Result<Option<segment::Head>, Error> {
    Ok(try_read_head(storage, name)?.ok())
}

/// As [`read_head`], and what is wrong with it if it says nothing.
pub(super) fn try_read_head(
    storage: &mut impl Storage,
    name: SegmentName,
) -> Result<Result<segment::Head, Fault>, Error> {
    let mut page = [0; PAGE_LEN];
    let path = name.path();
    storage.read_at(&path, 0, &mut page).map_err(Error::io(&path))?;
    let head = segment::Head::read(&mut page);
    Ok(head.and_then(|head| if head.name == name { Ok(head) } else { Err(Fault::Foreign) }))
}

/// By stream: the position of the first record that is left. Where the first page is damaged that is
/// not known, and the beginning stands for it: whoever reads the stream finds out.
///
/// # Errors
///
/// When a segment cannot be read.
pub fn first_positions(
    storage: &mut impl Storage,
    segments: &[Vec<SegmentName>],
) -> Result<Vec<u64>, Error> {
    let mut firsts = Vec::with_capacity(segments.len());
    for segments in segments {
        let head = match segments.first() {
            Some(first) => read_head(storage, *first)?,
            None => None,
        };
        firsts.push(head.map_or(0, |head| head.position));
    }
    Ok(firsts)
}
