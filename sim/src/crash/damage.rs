//! A byte that changes while the power is off: it is reported, or nobody needs it, or it stands where
//! nothing says that it was ever flushed.

use std::collections::BTreeMap;

use m2_journal::batch::{self, Stream};
use m2_journal::limits::PAGE_LEN;
use m2_journal::names::{self, SegmentName};
use m2_journal::recover::{Options, Recovered, inspect};
use m2_journal::slot::{self, SLOT_LEN};
use m2_journal::{Error, Storage};

use super::disk::Disk;
use super::machine::shard_id;
use super::seen::Event;
use super::world::World;
use crate::dice::mix;

/// One byte of the journal.
#[derive(Clone, Debug)]
struct Place {
    path: String,
    offset: usize,
}

impl World {
    /// Damages one byte of the newest generation, and judges what a recovery says to it.
    pub(crate) fn damage_disk(&mut self, salt: u64, bit: u64) {
        let whole =
            look(&mut self.disk.clone()).unwrap_or_else(|error| panic!("recovery: {error}"));
        self.judge(&whole);
        let Some(place) = self.place(salt) else { return };
        let mut disk = self.disk.clone();
        let bit = u32::try_from(bit % 8).expect("8");
        disk.damage(&place.path, place.offset, bit);
        self.tell(|| format!("damaged: {place:?} bit {bit}"));
        match look(&mut disk) {
            Err(error) if is_snapshot(self.generation, &place.path) => stops(&place, &error),
            Err(Error::Damage(_)) => self.seen.saw(Event::DamageFound),
            Err(error) => panic!("damage: {place:?} is taken for trouble of the disk: {error}"),
            Ok(found) => self.judge_damaged(&place, &whole, &found),
        }
    }

    /// What was recovered though a byte is wrong.
    fn judge_damaged(&mut self, place: &Place, whole: &Recovered, found: &Recovered) {
        let ends: Vec<u64> = found.ends.iter().map(|end| end.position).collect();
        self.judge_words(found, &ends);
        if found.ends == whole.ends {
            self.seen.saw(Event::DamageHarmless);
            return;
        }
        let flushed = self.flushed(place);
        for (stream, (was, is)) in whole.ends.iter().zip(&found.ends).enumerate() {
            let named = flushed.get(&stream).copied().unwrap_or(0);
            assert!(
                is.position >= named.min(was.position),
                "damage: {place:?} has cut stream {stream} at {}, below {named}, which was flushed",
                is.position
            );
        }
        self.seen.saw(Event::DamageAbove);
    }

    /// A snapshot that cannot be read stops nobody: the one before it, or the base, stands in for it.
    pub(crate) fn lose_snapshot(&mut self, mut disk: Disk, salt: u64) {
        let is_ours = |(path, _): &(String, u64)| is_snapshot(self.generation, path);
        let snapshots: Vec<_> = disk.paths().into_iter().filter(is_ours).collect();
        let Some(which) = salt.checked_rem(snapshots.len() as u64) else { return };
        let (path, len) = &snapshots[usize::try_from(which).expect("below a length")];
        let offset = usize::try_from(mix(salt, *len) % len).expect("files are small");
        let place = Place { path: path.clone(), offset };
        disk.damage(&place.path, place.offset, 3);
        let found = look(&mut disk).unwrap_or_else(|error| stops(&place, &error));
        self.judge(&found);
        self.seen.saw(Event::SnapshotLost);
    }

    /// A byte of a page that is not empty.
    fn place(&self, salt: u64) -> Option<Place> {
        let folder = format!("{}/", names::folder(self.generation));
        let paths = self.disk.paths();
        let ours: Vec<_> = paths.iter().filter(|(path, _)| path.starts_with(&folder)).collect();
        let mut pages = Vec::new();
        let mut disk = self.disk.clone();
        for (path, len) in ours {
            for offset in (0..*len).step_by(PAGE_LEN) {
                let mut page = [0; PAGE_LEN];
                let filled = disk.read_at(path, offset, &mut page).expect("it is there");
                let used = page[..filled].iter().rposition(|byte| *byte != 0);
                pages.extend(used.map(|last| (path, offset, last)));
            }
        }
        let which = salt.checked_rem(pages.len() as u64)?;
        let (path, offset, last) = pages[usize::try_from(which).expect("below a length")];
        // Also a little behind what is written: zeros count.
        let within = mix(salt, which) % (last as u64 + 20).min(PAGE_LEN as u64);
        let offset = usize::try_from(offset + within).expect("files are small");
        Some(Place { path: path.clone(), offset })
    }

    /// By stream: up to where something that is not damaged says that it was flushed.
    fn flushed(&self, damaged: &Place) -> BTreeMap<usize, u64> {
        let mut disk = self.disk.clone();
        let shards = self.machine.shards.len();
        let mut told = BTreeMap::new();
        let folder = names::folder(self.generation);
        for index in 0..shards {
            let stream = shard_id(index);
            let path = names::flushed(self.generation, stream);
            for place in (0..2).map(slot::offset) {
                let mut bytes = [0; SLOT_LEN];
                let is_damaged = path == damaged.path && is_in(damaged, place, SLOT_LEN);
                if is_damaged || disk.read_at(&path, place, &mut bytes).is_err() {
                    continue;
                }
                let position = slot::decode(&mut bytes, self.generation, stream).unwrap_or(0);
                raise(&mut told, index, position);
            }
        }
        for entry in disk.list(&folder).expect("it is there") {
            let Some(name) = SegmentName::parse(self.generation, &entry.name) else { continue };
            let id = name.stream;
            let stream = Stream { generation: self.generation, id, shards };
            let path = name.path();
            let len = disk.len(&path).expect("it is there");
            for offset in (0..len).step_by(PAGE_LEN) {
                let mut page = [0; PAGE_LEN];
                disk.read_at(&path, offset, &mut page).expect("it is there");
                let is_damaged = path == damaged.path && is_in(damaged, offset, PAGE_LEN);
                if let (false, Ok(head)) = (is_damaged, batch::Head::peek(&page, &stream)) {
                    raise(&mut told, usize::from(id.0), head.flushed);
                }
            }
        }
        told
    }
}

fn is_snapshot(generation: u32, path: &str) -> bool {
    path.starts_with(&format!("{}/shard-", names::folder(generation))) && path.ends_with(".m2s")
}

fn stops(place: &Place, error: &Error) -> ! {
    panic!("damage: {place:?} is of a snapshot, and nothing stands in for it: {error}")
}

fn look(disk: &mut Disk) -> Result<Recovered, Error> {
    inspect(disk, &Options { until_ms: None, listed_max: usize::MAX }, &mut |_| {})
}

fn raise(told: &mut BTreeMap<usize, u64>, stream: usize, position: u64) {
    let highest = told.entry(stream).or_default();
    *highest = position.max(*highest);
}

fn is_in(place: &Place, offset: u64, len: usize) -> bool {
    let offset = usize::try_from(offset).expect("files are small");
    (offset..offset + len).contains(&place.offset)
}
