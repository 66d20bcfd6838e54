//! Records that the journal could not take when its disk failed, kept on another: written by whoever
//! is about to end, read and taken in by the next start.
//!
//! A spill file is a segment that begins where the stream was durable last: its first page names
//! generation, stream and position, and by the hash of its base which generation of which journal it is;
//! batches follow, chained to that. One generation may leave any number of them, each going on where
//! another ends, or overlapping it. Files of others may lie in the same folder: they are left alone.
//!
//! A recovery applies them behind the journal's own, by the same rules: what a credit names comes before
//! it, and what a key or a sum cannot be is damage.
//!
//! Invariant: a record counts once. What the journal turns out to have after all, for a flush may fail
//! and the bytes be there, is passed over by its position.

use std::io;

use m2_core::ShardId;

use crate::batch::{self, Batch, Stream, head_len};
use crate::error::Error;
use crate::fault::Fault;
use crate::hash::Hash;
use crate::image::{Base, JournalId};
use crate::layout::Block;
use crate::limits::{BATCH_BYTES_MAX, BLOCK_LEN, PAGE_LEN, SPILL_BYTES_MAX};
use crate::names::{self, SegmentName};
use crate::pages::Pages;
use crate::record;
use crate::recover::found;
use crate::replay::Replay;
use crate::segment;
use crate::storage::{Entry, Storage};

/// Blocks of a batch: as many as are hashed well together.
const BATCH_BLOCKS: usize = (BATCH_BYTES_MAX / 4) / BLOCK_LEN;

/// Whose records a spill file has: one generation of one journal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Owner {
    /// Which journal.
    pub journal: JournalId,
    /// Which start of the process.
    pub generation: u32,
    /// How many shards that has.
    pub shards: usize,
    /// Hash of its base, which no other generation has, of this journal or of any.
    pub base: Hash,
}

impl Owner {
    /// A generation that stands on the disk.
    ///
    /// # Errors
    ///
    /// When its base cannot be read, or is damaged.
    pub fn read(storage: &mut impl Storage, generation: u32) -> Result<Self, Error> {
        let read = found::read_base(storage, generation)?;
        let (base, hash) = read.map_err(|f| Error::damage(&names::base(generation), 0, f))?;
        Ok(Self::new(&base, hash))
    }

    /// The generation of a base.
    #[must_use]
    pub const fn new(base: &Base, hash: Hash) -> Self {
        let Base { journal, generation, shards, .. } = *base;
        Self { journal, generation, shards, base: hash }
    }

    const fn stream(&self, id: ShardId) -> Stream {
        Stream { generation: self.generation, id, shards: self.shards }
    }

    /// How the names of its files begin: with the first four bytes of what tells the journal, and of the
    /// hash of the base. So no other writes over them, a copy of this journal that went its own way neither.
    fn prefix(&self) -> String {
        let word = |bytes: &[u8]| u32::from_be_bytes(bytes[..4].try_into().expect("it has four"));
        let (journal, base) = (word(&self.journal.0), word(&self.base.0));
        format!("spill-{journal:08x}-{base:08x}-{:08}-", self.generation)
    }
}

/// What a spill file has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Spilled {
    /// Its name in the folder.
    pub file: String,
    /// Of which start of the process.
    pub generation: u32,
    /// Whose records.
    pub stream: ShardId,
    /// Position of the first.
    pub position: u64,
    /// The records.
    pub blocks: Vec<Block>,
    /// Of each batch the position of its first record, and at which byte of the file it begins.
    pub batches: Vec<(u64, u64)>,
}

/// Writes records of a stream that begin at `position`, whole and for good, into files of their own, and
/// tells their names: one file, unless it would be longer than [`SPILL_BYTES_MAX`].
///
/// # Errors
///
/// When that disk cannot be written either. Files before the one that could not be written stay, and are
/// written again by the next attempt.
pub fn write(
    storage: &mut impl Storage,
    owner: &Owner,
    stream: ShardId,
    position: u64,
    blocks: &[Block],
) -> io::Result<Vec<String>> {
    write_files(storage, owner, stream, position, blocks, SPILL_BYTES_MAX)
}

fn write_files(
    storage: &mut impl Storage,
    owner: &Owner,
    stream: ShardId,
    mut position: u64,
    mut blocks: &[Block],
    bytes_max: usize,
) -> io::Result<Vec<String>> {
    storage.create_folder("")?;
    let mut files = Vec::new();
    while files.is_empty() || !blocks.is_empty() {
        let (bytes, records, count) = fill(owner, stream, position, blocks, bytes_max);
        let file = format!("{}{:03}-{position:020}.m2j", owner.prefix(), stream.0);
        crate::op::write_whole(storage, &file, &bytes)?;
        files.push(file);
        position += records;
        blocks = &blocks[count..];
    }
    Ok(files)
}

/// As many batches as a file may have: its bytes, how many records, and how many blocks they are.
fn fill(
    owner: &Owner,
    id: ShardId,
    from: u64,
    blocks: &[Block],
    bytes_max: usize,
) -> (Pages, u64, usize) {
    let Owner { generation, shards, base, .. } = *owner;
    let name = SegmentName { generation, stream: id, number: 1 };
    let head = segment::Head { name, shards, position: from, money: 0, previous: base };
    let mut bytes = head.page();
    let (mut previous, mut at, mut rest) = (base, from, blocks);
    while !rest.is_empty() {
        let (records, count) = batch_of(rest);
        let start = bytes.len();
        let len = (head_len(shards) + count * BLOCK_LEN).next_multiple_of(PAGE_LEN);
        if start + len > bytes_max && at > from {
            break;
        }
        bytes.pad(start + head_len(shards));
        bytes.extend_from_slice(rest[..count].as_flattened());
        let money = rest[..count].iter().filter(|block| record::is_money(block)).count();
        let head = batch::Head {
            position: at,
            flushed: from,
            records: small(records),
            blocks: small(count),
            money: small(money),
        };
        // Nobody says here what was handed out.
        let given = vec![0; shards];
        previous = batch::seal(&mut bytes, start, &head, &owner.stream(id), &given, &previous);
        at += records as u64;
        rest = &rest[count..];
    }
    (bytes, at - from, blocks.len() - rest.len())
}

/// Begins the name of a file that a start has taken in: its bytes are kept.
pub const TAKEN_IN: &str = "taken-in-";

/// Every spill file of a generation, in the order of their names: by stream and position. What others
/// have spilled is left alone: [`of_others`] names it.
///
/// # Errors
///
/// When the folder cannot be read, or a file in it that is the generation's is not as it was written.
pub fn read(storage: &mut impl Storage, owner: &Owner) -> Result<Vec<Spilled>, Error> {
    read_named(storage, owner, "")
}

/// As [`read`], those that a start has taken in.
///
/// # Errors
///
/// As [`read`].
pub fn read_taken_in(storage: &mut impl Storage, owner: &Owner) -> Result<Vec<Spilled>, Error> {
    read_named(storage, owner, TAKEN_IN)
}

/// Spill files that another journal has left, or another generation of this one, and nobody has taken in.
///
/// # Errors
///
/// When the folder cannot be read.
pub fn of_others(storage: &mut impl Storage, owner: &Owner) -> Result<Vec<String>, Error> {
    let prefix = owner.prefix();
    let files = files(storage, "")?.into_iter().map(|entry| entry.name);
    Ok(files.filter(|name| !name.starts_with(&prefix)).collect())
}

fn read_named(
    storage: &mut impl Storage,
    owner: &Owner,
    before: &str,
) -> Result<Vec<Spilled>, Error> {
    let prefix = format!("{before}{}", owner.prefix());
    let files = files(storage, before)?.into_iter().filter(|it| it.name.starts_with(&prefix));
    let read = |Entry { name, is_folder }| match is_folder {
        true => Err(Error::wrong_kind(&name, true)),
        false => read_file(storage, owner, name),
    };
    files.map(read).collect()
}

/// Spill files of anybody.
fn files(storage: &mut impl Storage, before: &str) -> Result<Vec<Entry>, Error> {
    let mut entries = match storage.list("") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        listed => listed.map_err(Error::io(""))?,
    };
    let prefix = format!("{before}spill-");
    entries.retain(|it| it.name.starts_with(&prefix) && it.name.ends_with(".m2j"));
    Ok(entries)
}

fn read_file(storage: &mut impl Storage, owner: &Owner, file: String) -> Result<Spilled, Error> {
    let len = storage.len(&file).map_err(Error::io(&file))?;
    let len = usize::try_from(len).ok().filter(|len| (PAGE_LEN..=SPILL_BYTES_MAX).contains(len));
    let len = len.ok_or_else(|| Error::damage(&file, 0, Fault::Short))?;
    let mut bytes = vec![0; len];
    let filled = storage.read_at(&file, 0, &mut bytes).map_err(Error::io(&file))?;
    let damage = |offset: usize, fault| Error::damage(&file, offset as u64, fault);
    if filled != len {
        return Err(damage(filled, Fault::Short));
    }
    let (page, mut rest) = bytes.split_first_chunk_mut().expect("it has a page");
    let head = segment::Head::read(page).map_err(|fault| damage(0, fault))?;
    let stream = owner.stream(head.name.stream);
    let is_ours = (head.previous, head.name.generation, head.shards)
        == (owner.base, owner.generation, owner.shards);
    if !is_ours {
        return Err(damage(0, Fault::Foreign));
    }
    let (mut previous, mut position, mut blocks) = (owner.base, head.position, Vec::new());
    let mut batches = Vec::new();
    while !rest.is_empty() {
        let at = len - rest.len();
        let head = batch::Head::peek(rest, &stream).map_err(|fault| damage(at, fault))?;
        let padded = head.padded_len(stream.shards);
        if padded > rest.len() || head.position != position {
            return Err(damage(at, Fault::Short));
        }
        let (bytes, behind) = rest.split_at_mut(padded);
        previous = Batch::check(bytes, &head, &stream, &previous).map_err(|f| damage(at, f))?;
        let batch = Batch::view(bytes, head, previous, &stream);
        blocks.extend_from_slice(batch.blocks);
        batches.push((position, at as u64));
        position = head.end();
        rest = behind;
    }
    Ok(Spilled {
        generation: stream.generation,
        stream: stream.id,
        position: head.position,
        blocks,
        batches,
        file,
    })
}

/// Tells a replay which credits and reversals are among what was spilled.
pub(crate) fn expect(replay: &mut Replay, spilled: &[Spilled]) {
    for spilled in spilled {
        let (mut position, mut rest) = (spilled.position, &spilled.blocks[..]);
        while let Ok((record, count)) = record::decode(rest) {
            replay.expect(spilled.stream, position, &record);
            position += 1;
            rest = &rest[count..];
        }
    }
}

/// Applies what a spill file has and the journal has not, by the rules of the journal's own records: how
/// many. `end`: where the stream ends so far, and where it does then.
///
/// # Errors
///
/// When records are missing between the journal and the file, or one of them is what no switch could
/// have written.
pub(crate) fn take_in(replay: &mut Replay, end: &mut u64, spilled: &Spilled) -> Result<u64, Error> {
    let Spilled { position: first, stream, ref blocks, .. } = *spilled;
    if first > *end {
        return Err(spilled.damage(first, Fault::Position { expected: *end, found: first }));
    }
    let (mut position, mut rest) = (first, &blocks[..]);
    while position < *end && !rest.is_empty() {
        let (_, count) = record::decode(rest).map_err(|fault| spilled.damage(position, fault))?;
        position += 1;
        rest = &rest[count..];
    }
    if rest.is_empty() {
        return Ok(0);
    }
    let applied = replay.apply_blocks(stream, position, rest);
    *end = applied.map_err(|(at, fault)| spilled.damage(at, fault))?;
    Ok(*end - position)
}

impl Spilled {
    /// What is wrong with a record, at the batch that it stands in.
    fn damage(&self, position: u64, fault: Fault) -> Error {
        let batch = self.batches.iter().rfind(|(first, _)| *first <= position);
        Error::damage(&self.file, batch.map_or(0, |(_, offset)| *offset), fault)
    }
}

/// Whole records for one batch: how many, and how many blocks.
fn batch_of(blocks: &[Block]) -> (usize, usize) {
    let (mut records, mut count) = (0, 0);
    while count < blocks.len() && (count == 0 || count < BATCH_BLOCKS) {
        count += record::block_count(&blocks[count]);
        records += 1;
    }
    assert!(count <= blocks.len(), "whole records are spilled");
    (records, count)
}

fn small(count: usize) -> u32 {
    u32::try_from(count).expect("a batch is small")
}

#[cfg(test)]
mod tests {
    use m2_core::ledger::Words;
    use m2_core::record::{Key, KeyKind, KeyRecord, MoneyRecord, PairRecord, Record};
    use m2_core::{AccountId, Durability};

    use super::*;
    use crate::error::Damage;
    use crate::image::ConfiguredLimits;
    use crate::memory::Memory;
    use crate::op::perform;
    use crate::recover::{
        Entry as Named, Options, Recovered, Section, begin_generation, inspect, inspect_spilled,
    };
    use crate::writer::{Settings, Writer};

    const STREAM: ShardId = ShardId(0);

    /// The first generation of a journal like those of [`journal`].
    const OWNER: Owner =
        Owner { journal: JournalId([6; 16]), generation: 1, shards: 1, base: Hash([0xb5; 32]) };

    fn pairs(numbers: core::ops::Range<u64>) -> Vec<Block> {
        let pair = |number: u64| PairRecord {
            amount_in: 1 << number.min(40),
            amount_out: 1,
            decided_at_ms: number,
            condition_head: [7; 16],
            account_in: AccountId(0),
            account_out: AccountId(1),
            rate_version: 1,
            durability: Durability::Sync,
        };
        blocks(numbers.map(|number| Record::Pair(pair(number))))
    }

    fn blocks(records: impl IntoIterator<Item = Record>) -> Vec<Block> {
        let mut blocks = Vec::new();
        records.into_iter().for_each(|record| record::encode(&record, &mut blocks));
        blocks
    }

    fn frozen(key: u8, amount: u128) -> Record {
        let (account, key) = (AccountId(1), Key([key; 16]));
        Record::Frozen(KeyRecord { account, key, amount, at_ms: 1 })
    }

    fn credit(key: u8, amount: u64, applied: u64) -> Record {
        let (account, key, applied) = (AccountId(0), Key([key; 16]), [applied].into());
        Record::Credited(MoneyRecord { account, key, amount, at_ms: 1, applied })
    }

    /// A journal of one shard and two accounts that has these records.
    fn journal(blocks: &[Block]) -> Memory {
        begun(blocks, JournalId([6; 16]))
    }

    fn begun(blocks: &[Block], id: JournalId) -> Memory {
        let mut disk = Memory::default();
        let nothing = inspect(&mut disk, &Options::default(), &mut |_| {}).unwrap();
        let mut writer = begin(&mut disk, &Recovered { journal: id, ..nothing });
        writer.append(0, ShardId(0), blocks);
        writer.finish();
        while let Some((id, op)) = writer.next_op(0) {
            writer.done(0, id, perform(&mut disk, &op));
        }
        disk
    }

    fn begin(disk: &mut Memory, recovered: &Recovered) -> Writer {
        let entry = |name: &str| Named {
            shard: ShardId(0),
            name: name.into(),
            asset_code: "USD".into(),
            asset_scale: 9,
            limits: ConfiguredLimits::default(),
        };
        let settings = Settings { segment_bytes: 1 << 20, reserve_bytes: 0, ..Settings::default() };
        begin_generation(disk, recovered, &[entry("alice"), entry("bob")], 1, settings).unwrap()
    }

    fn spilled(position: u64, blocks: &[Block]) -> Vec<Spilled> {
        let mut disk = Memory::default();
        write(&mut disk, &OWNER, STREAM, position, blocks).unwrap();
        read(&mut disk, &OWNER).unwrap()
    }

    fn take_in(journal: &mut Memory, spilled: &[Spilled]) -> Result<Recovered, Error> {
        let (options, all) = (Options::default(), Section::default());
        inspect_spilled(journal, &options, &all, spilled, &mut |_| {})
    }

    fn words(recovered: &Recovered) -> [Words; 2] {
        [0, 1].map(|account| recovered.accounts[account].image.words)
    }

    #[track_caller]
    fn refused(journal: &mut Memory, spilled: &[Spilled]) -> Damage {
        match take_in(journal, spilled) {
            Err(Error::Damage(damage)) => damage,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_the_journal_has_is_passed_over_and_the_rest_taken_in_once() {
        let mut whole = journal(&pairs(0..14));
        let mut journal = journal(&pairs(0..12));
        let mut files = spilled(10, &pairs(10..14));
        files.extend(spilled(11, &pairs(11..14)));
        assert_eq!(files[0].file, "spill-06060606-b5b5b5b5-00000001-000-00000000000000000010.m2j");
        let recovered = take_in(&mut journal, &files).unwrap();
        assert_eq!(words(&recovered), words(&take_in(&mut whole, &[]).unwrap()));
        assert_eq!((recovered.ends[0].position, recovered.records), (14, 14));
        let taken: Vec<_> = recovered.spilled.iter().map(|(_, records)| *records).collect();
        assert_eq!(taken, [2, 0]);
    }

    /// Two switches with the same accounts, and one folder for what they spill: the bytes of their bases
    /// differ in nothing but which journal it is.
    #[test]
    fn another_journal_with_the_same_accounts_gets_none_of_it() {
        let mut disks = [1, 2].map(|id| begun(&[], JournalId([id; 16])));
        let owners = disks.each_mut().map(|disk| Owner::read(disk, 1).unwrap());
        let mut spill = Memory::default();
        let first = write(&mut spill, &owners[0], STREAM, 0, &pairs(0..2)).unwrap();
        let second = write(&mut spill, &owners[1], STREAM, 0, &pairs(0..3)).unwrap();
        for (own, other, records) in [(0, &second, 2), (1, &first, 3)] {
            let read = read(&mut spill, &owners[own]).unwrap();
            let recovered = take_in(&mut disks[own], &read).unwrap();
            assert_eq!(recovered.records, records, "{:?}", recovered.spilled);
            assert_eq!(&of_others(&mut spill, &owners[own]).unwrap(), other);
        }
        // Whatever it is called, a file is taken in by the journal that its first page names.
        let bytes = spill.files.remove(&second[0]).unwrap();
        spill.files.insert(first[0].clone(), bytes);
        let Err(Error::Damage(damage)) = read(&mut spill, &owners[0]) else { panic!() };
        assert_eq!((damage.file, damage.fault), (first[0].clone(), Fault::Foreign));
    }

    /// A journal stays the same from generation to generation, and each has files of its own.
    #[test]
    fn a_generation_is_of_the_journal_that_the_one_before_was() {
        let mut disk = begun(&[], JournalId([1; 16]));
        let recovered = take_in(&mut disk, &[]).unwrap();
        assert_eq!(recovered.journal, JournalId([1; 16]));
        begin(&mut disk, &recovered);
        let owners = [1, 2].map(|generation| Owner::read(&mut disk, generation).unwrap());
        assert_eq!(owners[1].journal, JournalId([1; 16]));
        assert_ne!(owners[0].base, owners[1].base);
    }

    /// What was spilled had not been flushed: of none of it is it known that the FULFILL went out.
    #[test]
    fn spilled_pairs_may_not_have_been_delivered() {
        let mut journal = journal(&pairs(0..2));
        let mut files = spilled(1, &pairs(1..4));
        files.extend(spilled(1, &pairs(1..5)));
        let recovered = take_in(&mut journal, &files).unwrap().undelivered;
        let positions: Vec<_> = recovered.listed.iter().map(|(_, position, _)| *position).collect();
        assert_eq!(positions, [0, 1, 2, 3, 4]);
        let sum = recovered.by_account[&AccountId(0)];
        assert_eq!((sum.count, sum.value), (5, 0b11111));
        let options = Options { listed_max: 3, ..Options::default() };
        let all = Section::default();
        let few = inspect_spilled(&mut journal, &options, &all, &files, &mut |_| {}).unwrap();
        assert_eq!(few.undelivered.listed[..], recovered.listed[..3]);
        assert_eq!(few.undelivered.by_account, recovered.by_account);
    }

    #[test]
    fn many_batches_come_back_whole_in_files_that_are_not_too_long() {
        let mut disk = Memory::default();
        let blocks = pairs(0..3 * BATCH_BLOCKS as u64 + 5);
        assert_eq!(write(&mut disk, &OWNER, STREAM, 0, &blocks).unwrap().len(), 1);
        assert_eq!(read(&mut disk, &OWNER).unwrap()[0].blocks, blocks);
        let mut disk = Memory::default();
        let files = write_files(&mut disk, &OWNER, STREAM, 0, &blocks, 100_000).unwrap();
        assert_eq!(files.len(), 3);
        let read = read(&mut disk, &OWNER).unwrap();
        assert!(disk.files.values().all(|bytes| bytes.len() <= 100_000));
        assert!(
            read.windows(2)
                .all(|two| { two[0].position + two[0].blocks.len() as u64 == two[1].position })
        );
        let all: Vec<_> = read.iter().flat_map(|it| it.blocks.iter().copied()).collect();
        assert_eq!(all, blocks);
        let recovered = take_in(&mut journal(&[]), &read).unwrap();
        assert_eq!(recovered.records, blocks.len() as u64);
    }

    /// A credit takes a balance down to nothing and the rest is prepaid: so it matters which legs come
    /// before it.
    #[test]
    fn a_spilled_credit_comes_where_its_vector_says() {
        let mut journal = journal(&pairs(0..2));
        for applied in 0..=4 {
            let mut records = pairs(2..4);
            records.extend(blocks([credit(5, 9, applied)]));
            let recovered = take_in(&mut journal, &spilled(2, &records)).unwrap();
            let mut expected = Words::default();
            for leg in 0..5 {
                if leg == applied {
                    expected.credit(9);
                }
                if leg < 4 {
                    expected.commit_in(1 << leg);
                }
            }
            assert_eq!(words(&recovered)[0], expected, "behind {applied} legs");
            assert_eq!(recovered.keys[0].1.kind, KeyKind::Credited);
        }
    }

    /// Goal: what no switch could have recorded is not taken in, and the sentence says where it stands.
    #[test]
    fn keys_and_sums_are_those_of_a_switch() {
        let mut journal = journal(&blocks([frozen(1, 7)]));
        let settled = |amount| {
            let (account, key) = (AccountId(1), Key([1; 16]));
            Record::Settled(KeyRecord { account, key, amount, at_ms: 1 })
        };
        let recovered = take_in(&mut journal, &spilled(1, &blocks([settled(7)]))).unwrap();
        assert_eq!(words(&recovered)[1].frozen, 0);
        let most = crate::limits::WORD_MAX - 1;
        for wrong in [
            vec![settled(8)],
            vec![frozen(1, 7)],
            vec![settled(7), settled(7)],
            vec![frozen(2, most), frozen(3, most)],
            vec![credit(1, 5, 0)],
            vec![credit(5, 5, 1), credit(6, 5, 0)],
        ] {
            let mut records = pairs(0..BATCH_BLOCKS as u64);
            records.extend(blocks(wrong.clone()));
            let files = spilled(1, &records);
            let damage = refused(&mut journal, &files);
            assert_eq!((&damage.file, damage.fault), (&files[0].file, Fault::Record), "{wrong:?}");
            // The first page, a full batch, and then this one.
            let second = PAGE_LEN + (128 + BATCH_BLOCKS * BLOCK_LEN).next_multiple_of(PAGE_LEN);
            assert_eq!(damage.offset, second as u64, "{wrong:?}");
        }
    }

    #[test]
    fn a_gap_another_generation_and_damage_are_refused() {
        let mut disk = Memory::default();
        let file = write(&mut disk, &OWNER, STREAM, 10, &pairs(10..12)).unwrap().remove(0);
        let files = read(&mut disk, &OWNER).unwrap();
        let damage = refused(&mut journal(&pairs(0..9)), &files);
        assert_eq!(damage.fault, Fault::Position { expected: 9, found: 10 }, "one is missing");
        assert_eq!(damage.file, file);
        let other = vec![Spilled { generation: 2, ..files[0].clone() }];
        assert_eq!(refused(&mut journal(&pairs(0..10)), &other).fault, Fault::Foreign);
        let other = vec![Spilled { stream: ShardId(1), ..files[0].clone() }];
        assert_eq!(refused(&mut journal(&pairs(0..10)), &other).fault, Fault::Foreign);
        for offset in [0, 40, PAGE_LEN + 3, PAGE_LEN + 200, PAGE_LEN + 4000] {
            let mut damaged = disk.clone();
            damaged.files.get_mut(&file).unwrap()[offset] ^= 1;
            assert!(read(&mut damaged, &OWNER).is_err(), "byte {offset}");
        }
        disk.files.get_mut(&file).unwrap().truncate(PAGE_LEN + 100);
        assert!(read(&mut disk, &OWNER).is_err());
        assert_eq!(read(&mut disk, &Owner { generation: 2, ..OWNER }).unwrap(), []);
    }
}
