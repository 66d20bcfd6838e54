//! What the writer asks for, and when.

mod retention;
mod runs;

use std::collections::BTreeSet;

use super::*;
use crate::batch::{Batch, Head};
use crate::layout::BatchHead;
use crate::limits::{GIVEN_NS, IN_FLIGHT_RESERVED, PACK_NS};
use crate::memory::Memory;
use crate::names::{self, SegmentName};
use crate::op::perform;
use crate::record::{self, durability, kind};
use crate::segment;
use crate::slot;
use crate::storage::Storage;

const SHARD: ShardId = ShardId(0);
const BASE: Hash = Hash([5; 32]);

fn small() -> Settings {
    Settings { segment_bytes: 64 << 10, reserve_bytes: 8 << 10, ..Settings::default() }
}

fn writer(shards: usize, settings: Settings) -> (Writer, Memory) {
    let mut disk = Memory::default();
    disk.create_folder(&names::folder(1)).unwrap();
    (Writer::new(1, shards, BASE, settings), disk)
}

fn pair(number: u64, how: u8) -> Block {
    let mut block = [0; 64];
    (block[0], block[2]) = (kind::PAIR, how);
    block[8..16].copy_from_slice(&number.to_le_bytes());
    block
}

fn sync(number: u64) -> [Block; 1] {
    [pair(number, durability::SYNC)]
}

/// Does everything that is asked for at this moment.
fn settle(writer: &mut Writer, disk: &mut Memory, now_ns: u64) {
    while let Some((id, op)) = writer.next_op(now_ns) {
        finish_op(writer, disk, now_ns, id, op);
    }
}

fn finish_op(writer: &mut Writer, disk: &mut Memory, now_ns: u64, id: OpId, op: Op) {
    let result = perform(disk, &op);
    drop(op);
    writer.done(now_ns, id, result);
}

/// Does everything that is asked for up to the next commit, which is left under way.
fn next_commit(writer: &mut Writer, disk: &mut Memory, now_ns: u64) -> Option<(OpId, Op)> {
    while let Some((id, op)) = writer.next_op(now_ns) {
        if matches!(op, Op::Commit { .. }) {
            return Some((id, op));
        }
        finish_op(writer, disk, now_ns, id, op);
    }
    None
}

/// Every batch of the stream, from segment to segment, checked as they are chained; what stands
/// behind the last one in each segment is zeros.
fn read(disk: &mut Memory, stream: ShardId, shards: usize) -> Vec<(Head, Vec<u64>, Vec<Block>)> {
    let which = batch::Stream { generation: 1, id: stream, shards };
    let (mut last, mut position, mut money, mut found) = (BASE, 0, 0, Vec::new());
    for number in 1.. {
        let name = SegmentName { generation: 1, stream, number };
        let Some(file) = disk.files.get_mut(&name.path()) else { break };
        let (page, mut rest) = file.split_first_chunk_mut().unwrap();
        if page.iter().all(|byte| *byte == 0) {
            assert!(rest.iter().all(|byte| *byte == 0));
            continue;
        }
        let head = segment::Head { name, shards, position, money, previous: last };
        assert_eq!(segment::Head::read(page), Ok(head));
        while rest.len() >= size_of::<BatchHead>() && rest[..4096].iter().any(|byte| *byte != 0) {
            let head = Head::peek(rest, &which).unwrap();
            let (bytes, behind) = rest.split_at_mut(head.padded_len(shards));
            last = Batch::check(bytes, &head, &which, &last).unwrap();
            assert_eq!(head.position, position);
            position = head.end();
            money += u64::from(head.money);
            let batch = Batch::view(bytes, head, last, &which);
            found.push((head, batch.given().collect(), batch.blocks.to_vec()));
            rest = behind;
        }
        assert!(rest.iter().all(|byte| *byte == 0));
    }
    found
}

fn marked(disk: &Memory, stream: ShardId) -> u64 {
    let file = &disk.files[&names::flushed(1, stream)];
    let slots = [file.get(..64), file.get(4096..4160)].into_iter().flatten();
    let told = slots.map(|slot| slot::decode(&mut slot.try_into().unwrap(), 1, stream));
    told.filter_map(Result::ok).max().unwrap()
}

#[test]
fn what_comes_during_a_commit_is_the_next_one() {
    let (mut writer, mut disk) = writer(1, small());
    settle(&mut writer, &mut disk, 0);
    writer.append(0, SHARD, &sync(1));
    let (open, op) = writer.next_op(0).unwrap();
    assert!(matches!(op, Op::Open { .. }));
    assert!(writer.next_op(0).is_none(), "the page comes first");
    finish_op(&mut writer, &mut disk, 0, open, op);
    let (first, op) = next_commit(&mut writer, &mut disk, 0).unwrap();
    assert!(matches!(op, Op::Commit { offset: 4096, .. }));
    writer.append(0, SHARD, &sync(2));
    writer.append(0, SHARD, &sync(3));
    assert!(next_commit(&mut writer, &mut disk, 0).is_none(), "one at a time");
    assert_eq!((writer.position(SHARD), writer.durable(SHARD)), (3, 0));
    finish_op(&mut writer, &mut disk, 0, first, op);
    assert_eq!(writer.durable(SHARD), 1);
    settle(&mut writer, &mut disk, 0);
    assert_eq!(writer.durable(SHARD), 3);
    let batches = read(&mut disk, SHARD, 1);
    assert_eq!(batches.len(), 2);
    assert_eq!(batches[1].0, Head { position: 1, flushed: 1, records: 2, blocks: 2, money: 0 });
    assert_eq!(batches[1].2, [sync(2), sync(3)].concat());
    assert_eq!(marked(&disk, SHARD), 3);
}

#[test]
fn nothing_durable_is_written_again() {
    let (mut writer, mut disk) = writer(2, small());
    let mut taken = BTreeSet::new();
    for number in 0..400 {
        for stream in [ShardId(0), ShardId(1)] {
            for _ in 0..number % 7 {
                writer.append(number, stream, &sync(number));
            }
        }
        while let Some((id, op)) = writer.next_op(number) {
            if let Op::Commit { segment, offset, bytes } = &op {
                assert_eq!((offset % 4096, bytes.len() % 4096), (0, 0));
                for page in (*offset..offset + bytes.len() as u64).step_by(4096) {
                    assert!(taken.insert((*segment, page)));
                }
            }
            finish_op(&mut writer, &mut disk, number, id, op);
        }
    }
    for stream in [ShardId(0), ShardId(1)] {
        let batches = read(&mut disk, stream, 2);
        let records: u64 = batches.iter().map(|(head, ..)| u64::from(head.records)).sum();
        assert_eq!((records, writer.durable(stream)), (1197, 1197));
        assert!(batches.iter().all(|(head, ..)| head.flushed == head.position));
    }
    assert!(taken.iter().any(|(segment, _)| segment.number > 10));
}

#[test]
fn many_records_fill_batches_and_commits_to_their_limits() {
    let settings = Settings { segment_bytes: 24 << 20, ..Settings::default() };
    let (mut writer, mut disk) = writer(1, settings);
    settle(&mut writer, &mut disk, 0);
    let records: Vec<Block> = (0..100_000).flat_map(sync).collect();
    records.chunks(7_001).for_each(|some| writer.append(0, SHARD, some));
    let mut sizes = Vec::new();
    while let Some((id, op)) = writer.next_op(0) {
        if let Op::Commit { bytes, .. } = &op {
            sizes.push(bytes.len());
        }
        finish_op(&mut writer, &mut disk, 0, id, op);
    }
    // An eighth of a segment is 12 batches of 256 KiB.
    assert_eq!(sizes.len(), 3);
    assert_eq!(sizes[..2], [3 << 20; 2]);
    let batches = read(&mut disk, SHARD, 1);
    assert_eq!(batches.len(), 25);
    assert!(batches[..24].iter().all(|(head, ..)| head.padded_len(1) == 256 << 10));
    let numbers = batches.iter().flat_map(|(.., blocks)| blocks);
    assert!(numbers.eq(&records));
}

#[test]
fn a_record_of_many_blocks_is_never_split() {
    let (mut writer, mut disk) = writer(256, small());
    let mut credit = vec![[0; 64]; 33];
    (credit[0][0], credit[0][1]) = (kind::CREDITED, 32);
    for number in 0..300 {
        writer.append(0, SHARD, &sync(number));
        writer.append(0, SHARD, &credit);
        if number % 3 == 0 {
            settle(&mut writer, &mut disk, 0);
        }
    }
    settle(&mut writer, &mut disk, 0);
    let mut money = 0;
    for (head, _, blocks) in read(&mut disk, SHARD, 256) {
        money += head.money;
        let (mut at, mut records) = (0, 0);
        while at < blocks.len() {
            at += record::block_count(&blocks[at]);
            records += 1;
        }
        assert_eq!((at, records), (blocks.len(), head.records));
    }
    assert_eq!(money, 300);
}

#[test]
fn records_that_nobody_waits_for_wait_for_a_quarter_of_their_bound() {
    let settings = Settings { async_ns: 1_000, async_bytes: 8 << 10, ..small() };
    let (mut writer, mut disk) = writer(1, settings);
    settle(&mut writer, &mut disk, 0);
    let at_ease = |number| [pair(number, durability::ASYNC)];
    writer.append(100, SHARD, &at_ease(0));
    assert!(next_commit(&mut writer, &mut disk, 349).is_none());
    assert_eq!(writer.wake_ns(), Some(350));
    settle(&mut writer, &mut disk, 350);
    assert_eq!(writer.durable(SHARD), 1);
    // One that somebody waits for takes them along.
    writer.append(700, SHARD, &at_ease(1));
    writer.append(700, SHARD, &sync(2));
    settle(&mut writer, &mut disk, 700);
    assert_eq!(writer.durable(SHARD), 3);
    // A quarter of the bytes.
    let mut number = 3;
    while next_commit(&mut writer, &mut disk, 800).is_none() {
        writer.append(800, SHARD, &at_ease(number));
        number += 1;
    }
    assert_eq!(number, 3 + 32);
}

#[test]
fn what_was_handed_out_is_told_by_the_next_batch_and_by_an_empty_last_one() {
    let (mut writer, mut disk) = writer(2, small());
    writer.append(0, SHARD, &sync(0));
    settle(&mut writer, &mut disk, 0);
    writer.delivered(SHARD, ShardId(1), 1);
    writer.delivered(SHARD, ShardId(1), 0);
    writer.append(0, SHARD, &sync(1));
    settle(&mut writer, &mut disk, 0);
    writer.delivered(SHARD, ShardId(1), 2);
    settle(&mut writer, &mut disk, 0);
    assert_eq!(read(&mut disk, SHARD, 2).len(), 2);
    writer.finish();
    assert!(!writer.is_finished());
    settle(&mut writer, &mut disk, 0);
    assert!(writer.is_finished());
    let given: Vec<_> = read(&mut disk, SHARD, 2).into_iter().map(|(_, given, _)| given).collect();
    assert_eq!(given, [[0, 0], [0, 1], [0, 2]]);
}

#[test]
fn what_was_handed_out_is_told_once_when_nothing_else_comes() {
    let (mut writer, mut disk) = writer(2, small());
    writer.append(0, SHARD, &sync(0));
    settle(&mut writer, &mut disk, 0);
    writer.delivered(SHARD, SHARD, 1);
    settle(&mut writer, &mut disk, 7);
    assert_eq!(writer.wake_ns(), Some(7 + GIVEN_NS));
    settle(&mut writer, &mut disk, 6 + GIVEN_NS);
    assert_eq!(read(&mut disk, SHARD, 2).len(), 1);
    settle(&mut writer, &mut disk, 7 + GIVEN_NS);
    let told = read(&mut disk, SHARD, 2).pop().unwrap();
    assert_eq!((told.0.records, told.1), (0, vec![1, 0]));
    assert_eq!((writer.durable(SHARD), marked(&disk, SHARD)), (1, 1));
    // An hour later it is the last one still.
    settle(&mut writer, &mut disk, 3_600_000_000_000);
    assert_eq!(read(&mut disk, SHARD, 2).len(), 2);
    assert_eq!(read(&mut disk, ShardId(1), 2).len(), 0);
    // The next record follows it.
    writer.append(0, SHARD, &sync(1));
    settle(&mut writer, &mut disk, 3_600_000_000_000);
    assert_eq!(read(&mut disk, SHARD, 2).len(), 3);
}

/// Whoever drives the writer tells it what was handed out only when it has something to do.
#[test]
fn after_a_commit_it_looks_for_what_was_handed_out_less_and_less_often() {
    let (mut writer, mut disk) = writer(1, small());
    writer.append(0, SHARD, &sync(0));
    settle(&mut writer, &mut disk, 0);
    let mut looked = Vec::new();
    while let Some(wake_ns) = writer.wake_ns() {
        settle(&mut writer, &mut disk, wake_ns);
        looked.push(wake_ns / GIVEN_NS);
    }
    assert_eq!(looked, [1, 3, 7, 15, 31, 63, 127, 255]);
    assert_eq!(read(&mut disk, SHARD, 1).len(), 1, "there was nothing to tell");
    writer.append(0, SHARD, &sync(1));
    settle(&mut writer, &mut disk, 0);
    writer.delivered(SHARD, SHARD, 2);
    settle(&mut writer, &mut disk, GIVEN_NS);
    settle(&mut writer, &mut disk, 2 * GIVEN_NS);
    assert_eq!(read(&mut disk, SHARD, 1).len(), 3);
    settle(&mut writer, &mut disk, 3 * GIVEN_NS);
    assert_eq!(writer.wake_ns(), None, "all was handed out and told");
}

#[test]
fn an_empty_batch_takes_no_room_that_is_short() {
    let (mut writer, mut disk) = writer(1, Settings { reserve_bytes: 1 << 20, ..small() });
    let (id, op) = writer.next_op(0).unwrap();
    finish_op(&mut writer, &mut disk, 0, id, op);
    writer.append(0, SHARD, &sync(0));
    let (id, _) = writer.next_op(0).unwrap();
    writer.done(0, id, Err(io::ErrorKind::StorageFull.into()));
    let (id, op) = next_commit(&mut writer, &mut disk, PACK_NS).unwrap();
    finish_op(&mut writer, &mut disk, PACK_NS, id, op);
    writer.delivered(SHARD, SHARD, 1);
    for now_ns in [GIVEN_NS, 3 * GIVEN_NS, 5 * GIVEN_NS] {
        assert!(next_commit(&mut writer, &mut disk, now_ns).is_none());
    }
}

#[test]
fn after_a_failed_write_or_flush_nothing_is_written() {
    let (mut writer, mut disk) = writer(2, small());
    settle(&mut writer, &mut disk, 0);
    writer.append(0, SHARD, &sync(0));
    settle(&mut writer, &mut disk, 0);
    writer.append(0, SHARD, &sync(1));
    writer.append(0, ShardId(1), &sync(0));
    let (first, op) = writer.next_op(0).unwrap();
    assert!(matches!(op, Op::Commit { .. }));
    let (second, other) = writer.next_op(0).unwrap();
    writer.done(0, first, Err(io::Error::other("the disk is gone")));
    assert_eq!(writer.health(0), Health::Failed);
    let words = writer.reason(Health::Failed);
    assert!(words.ends_with("stream 0 cannot be written: the disk is gone"), "{words}");
    finish_op(&mut writer, &mut disk, 0, second, other);
    writer.append(0, SHARD, &sync(2));
    assert!(writer.next_op(1 << 40).is_none());
    assert_eq!((writer.durable(SHARD), writer.durable(ShardId(1))), (1, 0));
    assert!(writer.is_finished());
}

#[test]
fn without_room_it_refuses_and_tries_again() {
    let settings = Settings { retry_ns: 50, ..small() };
    let (mut writer, mut disk) = writer(1, settings);
    assert_eq!(writer.health(0), Health::Refusing(Trouble::Room));
    let (id, op) = writer.next_op(0).unwrap();
    assert!(matches!(op, Op::Prepare { .. }));
    writer.done(0, id, Err(io::Error::from(io::ErrorKind::StorageFull)));
    assert!(writer.reason(writer.health(0)).starts_with("a segment cannot be prepared: "));
    assert!(writer.next_op(49).is_none());
    assert_eq!(writer.wake_ns(), Some(50));
    settle(&mut writer, &mut disk, 50);
    assert_eq!(writer.health(50), Health::Ready);
    // No other can be had, and what is there fills up.
    let no_more = |writer: &mut Writer, disk: &mut Memory, now_ns| {
        while let Some((id, op)) = writer.next_op(now_ns) {
            match op {
                Op::Prepare { .. } => {
                    writer.done(now_ns, id, Err(io::ErrorKind::StorageFull.into()));
                }
                op => finish_op(writer, disk, now_ns, id, op),
            }
        }
    };
    let mut now_ns = 60;
    for number in 0..15 {
        assert_eq!(writer.health(now_ns) == Health::Ready, number < 14, "{number}");
        writer.append(now_ns, SHARD, &sync(number));
        // With little room left, it waits for others.
        now_ns += if number < 13 { 0 } else { PACK_NS };
        no_more(&mut writer, &mut disk, now_ns);
        assert_eq!(writer.durable(SHARD), number + 1);
    }
    writer.append(now_ns, SHARD, &sync(15));
    no_more(&mut writer, &mut disk, now_ns + PACK_NS);
    assert_eq!(writer.durable(SHARD), 15, "there is room for no more");
    // Room again: what waited goes on.
    now_ns += PACK_NS + 50;
    settle(&mut writer, &mut disk, now_ns);
    assert_eq!(writer.durable(SHARD), writer.position(SHARD));
    assert_eq!(writer.health(now_ns), Health::Ready);
    read(&mut disk, SHARD, 1);
}

/// Goal: what is in flight when room gets short needs no more than what is kept for it. Method: two
/// blocks for each packet, in the order that uses most pages: some always at their last moment, the
/// rest in commits that are a little more than a page.
#[test]
fn the_reserve_is_enough_for_all_that_is_in_flight() {
    let settings = Settings { async_ns: 0, ..Settings::default() };
    let (mut writer, mut disk) = writer(1, settings);
    let (id, op) = writer.next_op(0).unwrap();
    finish_op(&mut writer, &mut disk, 0, id, op);
    let full = |writer: &mut Writer, disk: &mut Memory, now_ns| {
        let mut pages = 0;
        while let Some((id, op)) = writer.next_op(now_ns) {
            match op {
                Op::Prepare { .. } => {
                    writer.done(now_ns, id, Err(io::ErrorKind::StorageFull.into()));
                }
                op => {
                    if let Op::Commit { bytes, .. } = &op {
                        pages += bytes.len() / PAGE_LEN;
                    }
                    finish_op(writer, disk, now_ns, id, op);
                }
            }
        }
        pages
    };
    let (mut number, mut now_ns) = (0, 0);
    while writer.health(now_ns) == Health::Ready {
        let records: Vec<_> = (0..10_000).map(|more| sync(number + more)[0]).collect();
        writer.append(now_ns, SHARD, &records);
        number += 10_000;
        full(&mut writer, &mut disk, now_ns);
    }
    let last = number + 2 * IN_FLIGHT_RESERVED;
    for _ in 0..u64::from(m2_core::limits::HOLD_MS_MAX) * 1_000_000 / PACK_NS {
        writer.append(now_ns, SHARD, &sync(number));
        number += 1;
        assert_eq!(full(&mut writer, &mut disk, now_ns), 0, "one record is no page");
        now_ns += PACK_NS;
        assert_eq!(full(&mut writer, &mut disk, now_ns), 1);
    }
    while number < last {
        let records: Vec<_> = (0..63).map(|more| sync(number + more)[0]).collect();
        writer.append(now_ns, SHARD, &records);
        number += 63;
        assert_eq!(full(&mut writer, &mut disk, now_ns), 2, "the costliest commit");
    }
    assert_eq!(writer.durable(SHARD), number, "there was room for all");
}

#[test]
fn while_room_is_short_a_page_is_filled_before_it_is_written() {
    let settings = Settings { segment_bytes: 64 << 10, reserve_bytes: 1 << 20, ..small() };
    let (mut writer, mut disk) = writer(1, settings);
    let (id, op) = writer.next_op(0).unwrap();
    finish_op(&mut writer, &mut disk, 0, id, op);
    let full = |writer: &mut Writer| {
        let (id, op) = writer.next_op(0).unwrap();
        assert!(matches!(op, Op::Prepare { .. }));
        writer.done(0, id, Err(io::ErrorKind::StorageFull.into()));
    };
    full(&mut writer);
    // A page has a head of 128 bytes and 62 records.
    for number in 0..61 {
        writer.append(5, SHARD, &sync(number));
        assert!(next_commit(&mut writer, &mut disk, 6).is_none(), "{number}");
    }
    assert_eq!(writer.wake_ns(), Some(5 + PACK_NS));
    writer.append(7, SHARD, &sync(61));
    settle(&mut writer, &mut disk, 7);
    assert_eq!(writer.durable(SHARD), 62);
    // The last ones of a process wait for nothing.
    writer.append(8, SHARD, &sync(62));
    writer.finish();
    settle(&mut writer, &mut disk, 8);
    assert_eq!(writer.durable(SHARD), 63);
}

/// Goal: segments that are small beside what is kept for what is in flight make nobody refuse, as long as
/// each is prepared before as much again is written. Method: preparations end only when that much was.
#[test]
fn small_segments_are_prepared_as_far_ahead_as_the_reserve_takes_twice() {
    for segment_bytes in [16 << 10, 64 << 10, 256 << 10] {
        let settings = Settings { segment_bytes, reserve_bytes: 128 << 10, ..Settings::default() };
        let (mut writer, mut disk) = writer(1, settings);
        settle(&mut writer, &mut disk, 0);
        let (mut preparing, mut written) = (None, 0);
        for number in 0..2_000 {
            writer.append(0, SHARD, &sync(number));
            while let Some((id, op)) = writer.next_op(0) {
                if matches!(op, Op::Prepare { .. }) {
                    (preparing, written) = (Some((id, op)), 0);
                    continue;
                }
                written += if matches!(op, Op::Commit { .. }) { PAGE_LEN } else { 0 };
                finish_op(&mut writer, &mut disk, 0, id, op);
            }
            assert_eq!(writer.health(0), Health::Ready, "{segment_bytes}: {number}");
            if written >= (96 << 10).min(usize::try_from(segment_bytes).unwrap() / 2)
                && let Some((id, op)) = preparing.take()
            {
                finish_op(&mut writer, &mut disk, 0, id, op);
            }
        }
    }
}

#[test]
fn a_slow_disk_and_a_long_queue_are_told() {
    let settings =
        Settings { slow_ns: 100, segment_bytes: 1 << 20, waiting_bytes_max: 256 << 10, ..small() };
    let (mut writer, mut disk) = writer(1, settings);
    settle(&mut writer, &mut disk, 0);
    writer.append(0, SHARD, &sync(0));
    let (id, op) = writer.next_op(0).unwrap();
    finish_op(&mut writer, &mut disk, 0, id, op);
    let (id, op) = writer.next_op(7).unwrap();
    assert_eq!(writer.wake_ns(), Some(107));
    assert_eq!(writer.health(106), Health::Ready);
    assert_eq!(writer.health(107), Health::Refusing(Trouble::Slow));
    finish_op(&mut writer, &mut disk, 0, id, op);
    assert_eq!(writer.health(107), Health::Ready);
    for number in 0..5_000 {
        writer.append(0, SHARD, &sync(number));
    }
    assert_eq!(writer.health(0), Health::Refusing(Trouble::Behind));
}
