//! Files that are not what was written: damage is found, or lies above what had been flushed, or
//! changes no word. Nothing is a panic.

use fastrand::Rng;
use m2_core::ShardId;
use m2_journal::recover::{Note, Recovered, begin_generation, cut, inspect};
use m2_journal::{
    Block, Choices, Error, Hash, Retention, Settings, Storage, Writer, hash, perform, slot,
};

use crate::disk::Disk;
use crate::world::{Books, World};
use crate::{Driver, OPTIONS};

/// A journal that ended in peace, and its books.
struct Journal {
    disk: Disk,
    world: World,
    ends: Vec<u64>,
}

fn write(seed: u64, actions: usize, with_snapshots: bool) -> Journal {
    write_and(Retention::Keep, seed, actions, with_snapshots)
}

fn write_and(retention: Retention, seed: u64, actions: usize, with_snapshots: bool) -> Journal {
    let rng = &mut Rng::with_seed(seed);
    let mut disk = Disk::new();
    let nothing = inspect(&mut disk, &OPTIONS, &mut |_| {}).unwrap();
    let mut world = World::new(rng, &nothing);
    let settings =
        Settings { segment_bytes: 16 << 10, reserve_bytes: 0, retention, ..Settings::default() };
    let (entries, shards) = (world.entries(), world.shards);
    let writer = begin_generation(&mut disk, &nothing, &entries, shards, settings).unwrap();
    let mut driver = Driver { writer, under_way: Vec::new(), told: vec![0; shards] };
    for action in 0..actions {
        world.act(rng, &mut driver.writer);
        if with_snapshots && action % 40 == 20 {
            driver.writer.snapshot(world.image(action / 40 % shards));
        }
        if action % 8 == 0 {
            settle(&mut driver, &mut disk, world.now_ns());
        }
    }
    driver.writer.finish();
    settle(&mut driver, &mut disk, world.now_ns());
    assert!(driver.writer.is_finished());
    let ends = world.appended.clone();
    Journal { disk, world, ends }
}

fn settle(driver: &mut Driver, disk: &mut Disk, now_ns: u64) {
    while let Some((id, op)) = driver.writer.next_op(now_ns) {
        driver.writer.done(now_ns, id, perform(disk, &op));
    }
}

impl Journal {
    /// What is recovered fits the books, for whatever is left of each stream.
    fn check(&self, recovered: &Recovered) -> Vec<u64> {
        let ends: Vec<_> = recovered.ends.iter().map(|link| link.position).collect();
        assert_eq!(Books::of(recovered), self.world.expected(&ends));
        ends
    }

    fn inspect(&mut self) -> Result<Recovered, Error> {
        inspect(&mut self.disk, &OPTIONS, &mut |_| {})
    }

    /// Forgets what the slots tell: the power went before the kernel wrote them.
    fn forget_slots(&mut self) {
        for stream in 0..self.world.shards {
            let id = ShardId(u16::try_from(stream).unwrap());
            let path = m2_journal::names::flushed(1, id);
            for index in 0..2 {
                let bytes = slot::encode(1, id, 0);
                self.disk.write_at(&path, slot::offset(index), &bytes).unwrap();
            }
        }
    }
}

fn is_cut(note: &Note) -> bool {
    matches!(note, Note::Cut { .. })
}

#[test]
fn a_journal_that_ended_in_peace_comes_back_whole() {
    for seed in 0..40 {
        let mut journal = write(seed, 300, seed % 2 == 0);
        let recovered = journal.inspect().unwrap();
        assert_eq!(journal.check(&recovered), journal.ends);
        assert_eq!(recovered.notes, []);
    }
}

/// Goal: no changed byte goes unseen. Method: one bit of each byte of each file of two journals; of
/// pages of zeros, every 61st byte.
#[test]
fn any_flipped_bit_is_found() {
    for seed in [1, 4] {
        let mut journal = write(seed, 16, false);
        for path in journal.disk.paths() {
            let whole = journal.disk.bytes(&path).clone();
            let is_zero: Vec<_> =
                whole.chunks(4096).map(|page| page.iter().all(|byte| *byte == 0)).collect();
            for at in (0..whole.len()).filter(|at| at % 61 == 0 || !is_zero[at / 4096]) {
                journal.disk.bytes(&path)[at] ^= 1 << (at % 8);
                match journal.inspect() {
                    Err(Error::Damage(damage)) => assert_eq!(damage.file, path, "byte {at}"),
                    Err(error) => panic!("{error}"),
                    // A position that is told too low is no loss while nothing else is damaged.
                    Ok(recovered) if path.ends_with(".flushed") => {
                        assert_eq!(journal.check(&recovered), journal.ends);
                    }
                    // A segment that was prepared and not used.
                    Ok(recovered) => {
                        assert!(recovered.notes.iter().any(is_cut), "{path} byte {at}");
                        assert_eq!(journal.check(&recovered), journal.ends);
                    }
                }
                journal.disk.bytes(&path)[at] ^= 1 << (at % 8);
            }
        }
    }
}

/// Goal: a `.flushed` file that no crash explains stops the start, and the cut that the sentence names
/// lets it start with all that was there. Method: it is gone, or shorter by one byte.
#[test]
fn without_its_flushed_file_a_stream_is_damaged_until_it_is_cut_at_its_end() {
    for seed in 0..20 {
        for is_gone in [false, true] {
            let mut journal = write(seed, 300, seed % 2 == 0);
            let stream =
                u16::try_from(seed).unwrap() % u16::try_from(journal.world.shards).unwrap();
            let path = m2_journal::names::flushed(1, ShardId(stream));
            match is_gone {
                true => journal.disk.remove(&path).unwrap(),
                false => journal.disk.bytes(&path).truncate(slot::FILE_LEN - 1),
            }
            let Err(Error::Damage(damage)) = journal.inspect() else { panic!("it starts") };
            let position = journal.ends[usize::from(stream)];
            assert_eq!((&damage.file, damage.offset), (&path, 0));
            assert_eq!(damage.choices, Choices::Mark { stream, position });
            let cut = cut::plan(&mut journal.disk, stream, position).unwrap().unwrap();
            assert_eq!(cut.records, 0);
            cut.make(&mut journal.disk).unwrap();
            let recovered = journal.inspect().unwrap();
            assert_eq!(journal.check(&recovered), journal.ends);
            assert_eq!(recovered.notes, []);
            let again = cut::plan(&mut journal.disk, stream, position).unwrap();
            assert!(again.is_err(), "nothing is left to cut");
        }
    }
}

/// What a disk may leave that does not write its sectors whole.
#[test]
fn two_torn_slots_are_told_and_lose_nothing_that_is_there() {
    for seed in 0..20 {
        let mut journal = write(seed, 300, seed % 2 == 0);
        let path = m2_journal::names::flushed(1, ShardId(0));
        for index in 0..2 {
            let at = usize::try_from(slot::offset(index)).unwrap();
            journal.disk.bytes(&path)[at + 40..at + 48].fill(0xee);
        }
        let recovered = journal.inspect().unwrap();
        assert_eq!(journal.check(&recovered), journal.ends);
        assert_eq!(recovered.notes, [Note::Slots { file: path }]);
    }
}

/// Goal: what another version wrote is named as that, and nothing of it is cut. Method: another number
/// under a right hash, in each file that has one.
#[test]
fn another_version_is_named_in_each_file_that_tells_one() {
    let mut named = 0;
    for seed in 0..10 {
        let mut journal = write(seed, 300, seed % 2 == 0);
        if seed % 2 == 1 {
            // So that of some last segments nobody knows that anything in them was flushed.
            journal.forget_slots();
        }
        for path in journal.disk.paths() {
            let mut disk = journal.disk.clone();
            let bytes = disk.bytes(&path);
            let (at, len) = match &path[path.len() - 4..] {
                ".m2j" => (40, 4096),
                ".m2s" => (40, bytes.len()),
                _ => (54, slot::SLOT_LEN),
            };
            if bytes[..len].iter().all(|byte| *byte == 0) {
                continue;
            }
            bytes[at] = 2;
            hash::seal(&mut bytes[..len], &Hash::NONE);
            let sentence = match inspect(&mut disk, &OPTIONS, &mut |_| {}) {
                // A segment may be below all snapshots, and an older snapshot not be looked at.
                Ok(recovered) => {
                    assert_eq!(journal.check(&recovered), journal.ends);
                    assert!(path.contains("/shard-") || seed % 2 == 0 && path.ends_with(".m2j"));
                    let Some(note) = recovered.notes.first() else { continue };
                    note.to_string()
                }
                Err(error) => error.to_string(),
            };
            named += 1;
            assert!(sentence.contains(&path) && sentence.contains("format 2"), "{sentence}");
        }
    }
    assert!(named > 100, "{named} files");
}

fn snapshots(disk: &Disk) -> Vec<String> {
    disk.paths().into_iter().filter(|path| path.contains("/shard-")).collect()
}

/// Goal: any one snapshot may be damaged, also where segments go as soon as they may. Method: a byte of
/// each in turn, and the file shorter by one.
#[test]
fn any_one_bad_snapshot_is_stood_in_for() {
    let (mut tried, mut retired) = (0, 0);
    for seed in 0..60 {
        let mut journal = write_and(Retention::Delete, seed, 600, true);
        let first = |path: &String| path.ends_with("-00000001.m2j");
        let firsts = journal.disk.paths().iter().filter(|path| first(path)).count();
        retired += usize::from(firsts < journal.world.shards);
        for path in snapshots(&journal.disk) {
            let whole = journal.disk.bytes(&path).clone();
            let middle = whole.len() / 2;
            journal.disk.bytes(&path)[middle] ^= 1;
            let recovered = journal.inspect().unwrap();
            assert_eq!(journal.check(&recovered), journal.ends);
            journal.disk.bytes(&path).truncate(whole.len() - 1);
            let recovered = journal.inspect().unwrap();
            assert_eq!(journal.check(&recovered), journal.ends);
            *journal.disk.bytes(&path) = whole;
            tried += 1;
        }
    }
    assert!(tried > 100 && retired > 10, "{tried} snapshots, {retired} journals of 60 shorter");
}

/// Goal: where nothing stands in for bad snapshots, they are blamed and not the segment that went by
/// right. Method: both snapshots of a shard damaged.
#[test]
fn bad_snapshots_that_nothing_stands_in_for_are_named() {
    let mut blamed = 0;
    for seed in 0..60 {
        let journal = write_and(Retention::Delete, seed, 600, true);
        for shard in 0..journal.world.shards {
            let mut disk = journal.disk.clone();
            let of_shard = |path: &String| path.contains(&format!("/shard-{shard:03}-"));
            let mut bad: Vec<_> = snapshots(&disk).into_iter().filter(of_shard).collect();
            bad.iter().for_each(|path| disk.bytes(path)[66] ^= 1);
            match inspect(&mut disk, &OPTIONS, &mut |_| {}) {
                Ok(recovered) => assert_eq!(journal.check(&recovered), journal.ends),
                Err(Error::Damage(damage)) => {
                    let newest = bad.pop().unwrap();
                    assert_eq!(damage.file, newest);
                    assert!(matches!(damage.choices, Choices::Snapshot { .. }), "{damage}");
                    assert!(bad.iter().all(|path| damage.to_string().contains(path)), "{damage}");
                    blamed += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!(blamed > 20, "{blamed} shards of 60 journals");
}

/// Goal: what had been flushed is known without the slots, but for the last commit of a stream, and a
/// snapshot that is damaged is left out. Method: a bit of every 101st byte, slots forgotten.
#[test]
fn what_had_been_flushed_is_known_from_what_came_after() {
    for seed in 0..6 {
        let mut journal = write(seed, 200, seed % 2 == 0);
        journal.forget_slots();
        let rng = &mut Rng::with_seed(seed);
        for path in journal.disk.paths() {
            for at in (0..journal.disk.bytes(&path).len()).step_by(101) {
                let bit = 1 << rng.u8(..8);
                journal.disk.bytes(&path)[at] ^= bit;
                if let Ok(recovered) = journal.inspect() {
                    let ends = journal.check(&recovered);
                    for (end, whole) in ends.iter().zip(&journal.ends) {
                        assert!(end + 8 >= *whole, "{path} byte {at}: {ends:?} {:?}", journal.ends);
                    }
                }
                journal.disk.bytes(&path)[at] ^= bit;
            }
        }
    }
}

/// Goal: whatever stands in the files, no panic, and words that fit the books or none. Method: pages
/// swapped, copied, zeroed, filled by chance; files cut, lengthened, exchanged, removed.
#[test]
fn files_of_any_bytes_are_no_panic() {
    for seed in 0..600 {
        let mut journal = write(seed % 10, 150, seed % 3 == 0);
        let rng = &mut Rng::with_seed(seed);
        for _ in 0..rng.usize(1..4) {
            spoil(&mut journal.disk, rng);
        }
        match journal.inspect() {
            Ok(recovered) if recovered.generation == 1 => drop(journal.check(&recovered)),
            Ok(recovered) => assert_eq!(recovered.generation, 0),
            Err(Error::Damage(damage)) => assert!(!damage.to_string().is_empty()),
            Err(Error::Io { path, error }) => panic!("{path}: {error}"),
        }
    }
}

fn spoil(disk: &mut Disk, rng: &mut Rng) {
    let paths = disk.paths();
    let any = |rng: &mut Rng| paths[rng.usize(..paths.len())].clone();
    let (one, other) = (any(rng), any(rng));
    if !disk.paths().contains(&one) || !disk.paths().contains(&other) {
        return;
    }
    let source = disk.bytes(&other).clone();
    let bytes = disk.bytes(&one);
    let page = |rng: &mut Rng, len: usize| rng.usize(..len.div_ceil(4096).max(1)) * 4096;
    let (to, from) = (page(rng, bytes.len()), page(rng, source.len()));
    match rng.u8(..7) {
        0 => bytes.truncate(rng.usize(..=bytes.len())),
        1 => bytes.extend((0..rng.usize(..9_000)).map(|_| rng.u8(..))),
        2 => bytes.clone_from(&source),
        3 => disk.remove(&one).unwrap(),
        4 => bytes.iter_mut().skip(to).take(4096).for_each(|byte| *byte = rng.u8(..)),
        5 => bytes.iter_mut().skip(to).take(4096).for_each(|byte| *byte = 0),
        _ => {
            let piece: Vec<_> = source.into_iter().skip(from).take(4096).collect();
            let len = piece.len().min(bytes.len().saturating_sub(to));
            if len > 0 {
                bytes[to..to + len].copy_from_slice(&piece[..len]);
            }
        }
    }
}

/// Goal: a right hash makes no record true. Method: blocks of chance, many of them nearly records, in
/// batches that the writer itself has made.
#[test]
fn records_that_no_switch_wrote_are_no_panic() {
    let mut outcomes = [0; 2];
    for seed in 0..2_000 {
        let rng = &mut Rng::with_seed(seed);
        let mut disk = Disk::new();
        let nothing = inspect(&mut disk, &OPTIONS, &mut |_| {}).unwrap();
        let world = World::new(rng, &nothing);
        let (entries, shards) = (world.entries(), world.shards);
        let settings =
            Settings { segment_bytes: 64 << 10, reserve_bytes: 0, ..Settings::default() };
        let mut writer = begin_generation(&mut disk, &nothing, &entries, shards, settings).unwrap();
        for stream in 0..shards {
            let id = ShardId(u16::try_from(stream).unwrap());
            for _ in 0..rng.usize(..12) {
                writer.append(0, id, &nearly_a_record(rng, entries.len(), shards));
            }
        }
        flush(&mut writer, &mut disk);
        match inspect(&mut disk, &OPTIONS, &mut |_| {}) {
            Ok(_) => outcomes[0] += 1,
            Err(Error::Damage(_)) => outcomes[1] += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(outcomes.iter().all(|count| *count > 50), "both happen: {outcomes:?}");
}

fn flush(writer: &mut Writer, disk: &mut Disk) {
    writer.finish();
    while let Some((id, op)) = writer.next_op(0) {
        writer.done(0, id, perform(disk, &op));
    }
}

fn nearly_a_record(rng: &mut Rng, accounts: usize, shards: usize) -> Vec<Block> {
    let mut block = [0; 64];
    let kind = rng.u8(1..9);
    block[0] = kind;
    let account = u8::try_from(rng.usize(..accounts)).unwrap();
    match kind {
        1 => (block[48], block[52]) = (account, account),
        2 => (block[8], block[12]) = (account, 1),
        7 | 8 => (block[2], block[4]) = (u8::try_from(shards).unwrap(), account),
        _ => block[4] = account,
    }
    let amounts = if kind == 1 { 8..24 } else { 32..46 };
    block[amounts].iter_mut().for_each(|byte| *byte = if rng.bool() { 0xff } else { 0 });
    if matches!(kind, 4..=8) {
        block[16] = rng.u8(..4);
    }
    if rng.u8(..12) == 0 {
        block[rng.usize(..64)] = rng.u8(..);
    }
    let mut blocks = vec![block];
    // What continues a record may be anything.
    blocks.extend((0..block[1]).map(|_| [rng.u8(..2); 64]));
    blocks
}
