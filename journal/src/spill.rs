//! Records that the journal could not take when its disk failed, kept on another: written by whoever
//! is about to end, read and taken in by the next start.
//!
//! A spill file is a segment that begins where the stream was durable last: its first page names
//! generation, stream and position, and batches follow, chained to it. One generation may leave any
//! number of them, each going on where another ends, or overlapping it.
//!
//! Invariant: a record counts once. What the journal turns out to have after all, for a flush may fail
//! and the bytes be there, is passed over by its position.

use std::io;

use m2_core::record::{KeyKind, KeyRecord, KeyState, MoneyRecord, Record};
use m2_core::{AccountId, ShardId};

use crate::batch::{self, Batch, Stream, head_len};
use crate::error::Error;
use crate::fault::Fault;
use crate::hash::Hash;
use crate::image::Account;
use crate::layout::Block;
use crate::limits::{BATCH_BYTES_MAX, BLOCK_LEN, PAGE_LEN, SPILL_BYTES_MAX};
use crate::names::SegmentName;
use crate::record;
use crate::recover::Recovered;
use crate::segment;
use crate::storage::Storage;

/// Blocks of a batch: as many as are hashed well together.
const BATCH_BLOCKS: usize = (BATCH_BYTES_MAX / 4) / BLOCK_LEN;

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
}

/// Writes records that begin at `position`, whole and for good, into a file of their own, and tells
/// its name.
///
/// # Errors
///
/// When that disk cannot be written either.
pub fn write(
    storage: &mut impl Storage,
    stream: Stream,
    position: u64,
    blocks: &[Block],
) -> io::Result<String> {
    let Stream { generation, id, shards } = stream;
    let file = format!("spill-{generation:08}-{:03}-{position:020}.m2j", id.0);
    let name = SegmentName { generation, stream: id, number: 1 };
    let head = segment::Head { name, shards, position, money: 0, previous: Hash::NONE };
    let mut bytes = head.page().to_vec();
    let (mut previous, mut at, mut rest) = (Hash::NONE, position, blocks);
    while !rest.is_empty() {
        let (records, count) = batch_of(rest);
        let start = bytes.len();
        bytes.resize(start + head_len(shards), 0);
        bytes.extend_from_slice(rest[..count].as_flattened());
        let money = rest[..count].iter().filter(|block| record::is_money(block)).count();
        let head = batch::Head {
            position: at,
            flushed: position,
            records: small(records),
            blocks: small(count),
            money: small(money),
        };
        let given = vec![at; shards];
        previous = batch::seal(&mut bytes, start, &head, &stream, &given, &previous);
        at += records as u64;
        rest = &rest[count..];
    }
    storage.create_folder("")?;
    crate::op::write_whole(storage, &file, &bytes)?;
    Ok(file)
}

/// Begins the name of a file that a start has taken in: its bytes are kept.
pub const TAKEN_IN: &str = "taken-in-";

/// Every spill file of a generation, in the order of their names: by stream and position.
///
/// # Errors
///
/// When the folder cannot be read, or a file in it is not as it was written.
pub fn read(storage: &mut impl Storage, generation: u32) -> Result<Vec<Spilled>, Error> {
    read_named(storage, generation, "")
}

/// As [`read`], those that a start has taken in.
///
/// # Errors
///
/// As [`read`].
pub fn read_taken_in(storage: &mut impl Storage, generation: u32) -> Result<Vec<Spilled>, Error> {
    read_named(storage, generation, TAKEN_IN)
}

fn read_named(
    storage: &mut impl Storage,
    generation: u32,
    before: &str,
) -> Result<Vec<Spilled>, Error> {
    let entries = match storage.list("") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        listed => listed.map_err(Error::io(""))?,
    };
    let prefix = format!("{before}spill-{generation:08}-");
    let is_spill = |name: &str| name.starts_with(&prefix) && name.ends_with(".m2j");
    let files = entries.into_iter().filter(|entry| is_spill(&entry.name));
    files.map(|entry| read_file(storage, entry.name)).collect()
}

fn read_file(storage: &mut impl Storage, file: String) -> Result<Spilled, Error> {
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
    let stream =
        Stream { generation: head.name.generation, id: head.name.stream, shards: head.shards };
    let (mut previous, mut position, mut blocks) = (Hash::NONE, head.position, Vec::new());
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
        position = head.end();
        rest = behind;
    }
    Ok(Spilled {
        generation: stream.generation,
        stream: stream.id,
        position: head.position,
        blocks,
        file,
    })
}

/// Takes in what a spill file has and the journal has not: how many records. Files of one stream come
/// in the order of their positions.
///
/// # Errors
///
/// When records are missing between the journal and the file, or one of them is none.
pub fn absorb(recovered: &mut Recovered, spilled: &Spilled) -> Result<u64, Error> {
    let damage = |fault| Error::damage(&spilled.file, 0, fault);
    let stream = usize::from(spilled.stream.0);
    let end = recovered.ends.get(stream).ok_or_else(|| damage(Fault::Foreign))?.position;
    if spilled.generation != recovered.generation {
        return Err(damage(Fault::Foreign));
    }
    if spilled.position > end {
        return Err(damage(Fault::Position { expected: end, found: spilled.position }));
    }
    let (mut position, mut rest, mut taken) = (spilled.position, &spilled.blocks[..], 0);
    while !rest.is_empty() {
        let (record, count) = record::decode(rest).map_err(damage)?;
        if position >= end {
            apply(recovered, record).map_err(damage)?;
            taken += 1;
        }
        position += 1;
        rest = &rest[count..];
    }
    recovered.ends[stream].position = end.max(position);
    recovered.records += taken;
    Ok(taken)
}

/// At the end of its stream, which is where credits and reversals of a stream that was cut apply.
fn apply(recovered: &mut Recovered, record: Record) -> Result<(), Fault> {
    match record {
        Record::Pair(pair) => {
            // Both are there before either is changed.
            let _ = account(recovered, pair.account_out)?;
            account(recovered, pair.account_in)?.image.words.commit_in(pair.amount_in);
            account(recovered, pair.account_out)?.image.words.commit_out(pair.amount_out);
        }
        Record::LateFulfill(_) => {}
        Record::Limits(limits) => {
            let image = &mut account(recovered, limits.account)?.image;
            (image.balance_max, image.payable_max) = (limits.balance_max, limits.payable_max);
        }
        Record::Frozen(it) => {
            account(recovered, it.account)?.image.words.freeze(it.amount);
            keyed(recovered, it, KeyKind::Frozen);
        }
        Record::Settled(it) => {
            account(recovered, it.account)?.image.words.settle(it.amount);
            keyed(recovered, it, KeyKind::Settled);
        }
        Record::Cancelled(it) => {
            account(recovered, it.account)?.image.words.cancel(it.amount);
            keyed(recovered, it, KeyKind::Cancelled);
        }
        Record::Credited(it) => {
            account(recovered, it.account)?.image.words.credit(it.amount);
            keyed(recovered, of_money(&it), KeyKind::Credited);
        }
        Record::Reversed(it) => {
            account(recovered, it.account)?.image.words.reverse(it.amount);
            keyed(recovered, of_money(&it), KeyKind::Reversed);
        }
    }
    Ok(())
}

fn account(recovered: &mut Recovered, account: AccountId) -> Result<&mut Account, Fault> {
    recovered.accounts.get_mut(account.0 as usize).ok_or(Fault::Record)
}

fn of_money(money: &MoneyRecord) -> KeyRecord {
    let MoneyRecord { account, key, amount, at_ms, .. } = *money;
    KeyRecord { account, key, amount: amount.into(), at_ms }
}

fn keyed(recovered: &mut Recovered, record: KeyRecord, kind: KeyKind) {
    let KeyRecord { account, key, amount, .. } = record;
    let state = KeyState { account, amount, kind };
    match recovered.keys.binary_search_by_key(&key, |(key, _)| *key) {
        Ok(at) => recovered.keys[at].1 = state,
        Err(at) => recovered.keys.insert(at, (key, state)),
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
    use m2_core::record::{Key, PairRecord};
    use m2_core::{AccountImage, Durability};

    use super::*;
    use crate::image::ConfiguredLimits;
    use crate::memory::Memory;
    use crate::recover::Undelivered;
    use crate::scan::Link;

    const STREAM: Stream = Stream { generation: 3, id: ShardId(0), shards: 1 };

    fn recovered(end: u64) -> Recovered {
        let account = |number| Account {
            shard: ShardId(0),
            name: format!("a{number}"),
            asset_code: "USD".into(),
            asset_scale: 9,
            configured: ConfiguredLimits::default(),
            image: AccountImage {
                account: AccountId(number),
                words: Words::default(),
                balance_max: 0,
                payable_max: 0,
            },
        };
        Recovered {
            generation: 3,
            shards: 1,
            accounts: vec![account(0), account(1)],
            keys: Vec::new(),
            ends: vec![Link { position: end, hash: Hash::NONE }],
            records: 0,
            notes: Vec::new(),
            undelivered: Undelivered::default(),
        }
    }

    fn pairs(count: u64) -> Vec<Block> {
        let mut blocks = Vec::new();
        for number in 0..count {
            let pair = PairRecord {
                amount_in: 1 << number.min(40),
                amount_out: 1,
                decided_at_ms: number,
                condition_head: [7; 16],
                account_in: AccountId(0),
                account_out: AccountId(1),
                rate_version: 1,
                durability: Durability::Sync,
            };
            record::encode(&Record::Pair(pair), &mut blocks);
        }
        blocks
    }

    #[test]
    fn what_the_journal_has_is_passed_over_and_the_rest_taken_in_once() {
        let mut disk = Memory::default();
        let file = write(&mut disk, STREAM, 10, &pairs(4)).unwrap();
        assert_eq!(file, "spill-00000003-000-00000000000000000010.m2j");
        let spilled = read(&mut disk, 3).unwrap();
        assert_eq!((spilled.len(), spilled[0].position, &spilled[0].blocks), (1, 10, &pairs(4)));
        let mut recovered = recovered(12);
        assert_eq!(absorb(&mut recovered, &spilled[0]).unwrap(), 2);
        assert_eq!(recovered.accounts[0].image.words.balance, 4 + 8);
        assert_eq!(recovered.accounts[1].image.words.balance, -2);
        assert_eq!(recovered.ends[0].position, 14);
        assert_eq!(absorb(&mut recovered, &spilled[0]).unwrap(), 0, "told twice, it counts once");
        assert_eq!(read(&mut disk, 4).unwrap(), []);
    }

    #[test]
    fn many_batches_come_back_whole() {
        let mut disk = Memory::default();
        let blocks = pairs(3 * BATCH_BLOCKS as u64 + 5);
        write(&mut disk, STREAM, 0, &blocks).unwrap();
        assert_eq!(read(&mut disk, 3).unwrap()[0].blocks, blocks);
    }

    #[test]
    fn a_key_that_was_spilled_is_known() {
        let record = MoneyRecord {
            account: AccountId(1),
            key: Key([5; 16]),
            amount: 9,
            at_ms: 1,
            applied: Box::new([0]),
        };
        let mut blocks = Vec::new();
        record::encode(&Record::Credited(record), &mut blocks);
        let mut disk = Memory::default();
        write(&mut disk, STREAM, 0, &blocks).unwrap();
        let mut recovered = recovered(0);
        absorb(&mut recovered, &read(&mut disk, 3).unwrap()[0]).unwrap();
        assert_eq!(recovered.accounts[1].image.words.prepaid, 9);
        assert_eq!(recovered.keys[0].1.kind, KeyKind::Credited);
    }

    #[test]
    fn a_gap_another_generation_and_damage_are_refused() {
        let mut disk = Memory::default();
        let file = write(&mut disk, STREAM, 10, &pairs(2)).unwrap();
        let spilled = read(&mut disk, 3).unwrap().remove(0);
        assert!(absorb(&mut recovered(9), &spilled).is_err(), "a record is missing");
        let mut other = recovered(10);
        other.generation = 4;
        assert!(absorb(&mut other, &spilled).is_err());
        for offset in [0, 40, PAGE_LEN + 3, PAGE_LEN + 200, PAGE_LEN + 4000] {
            let mut damaged = disk.clone();
            damaged.files.get_mut(&file).unwrap()[offset] ^= 1;
            assert!(read(&mut damaged, 3).is_err(), "byte {offset}");
        }
        disk.files.get_mut(&file).unwrap().truncate(PAGE_LEN + 100);
        assert!(read(&mut disk, 3).is_err());
    }
}
