//! Records appended together, and those that are lost.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::limits::COMMIT_BYTES_MIN;
use crate::pages::Pages;

/// What is appended at one time: of each record its kind, whose it is, and how many blocks follow its first.
type Calls = Vec<Vec<(u8, u8, u8)>>;

fn calls() -> impl Strategy<Value = Calls> {
    let record = (0..8_u8, 0..4_u8, 0..33_u8);
    vec(vec(record, 0..200), 1..12)
}

/// Pairs for the most part, of one account in four that nobody owns; and credits of many blocks.
fn record_of((which, account, more): (u8, u8, u8), number: u64) -> Vec<Block> {
    if which == 0 {
        let mut credit = vec![[0; 64]; 1 + usize::from(more)];
        (credit[0][0], credit[0][1]) = (kind::CREDITED, more);
        return credit;
    }
    let mut pair = pair(number, if which < 3 { durability::SYNC } else { durability::ASYNC });
    pair[48] = account;
    vec![pair]
}

fn records(calls: &Calls) -> Vec<Vec<Vec<Block>>> {
    let mut number = 0;
    let mut next = |of: &(u8, u8, u8)| {
        number += 1;
        record_of(*of, number)
    };
    calls.iter().map(|call| call.iter().map(&mut next).collect()).collect()
}

fn two_shards() -> (Writer, Memory) {
    let (mut writer, disk) = writer(2, small());
    writer.set_owners(vec![ShardId(0), ShardId(1), ShardId(0)]);
    (writer, disk)
}

proptest! {
    /// Goal: it is the same for the disk, and for whoever asks what it may forget, whether records come one
    /// by one or many at a time. Method: two writers, given the same before each of the same looks.
    #[test]
    fn records_come_together_as_they_come_alone(calls in calls()) {
        let ((mut alone, mut first), (mut together, mut second)) = (two_shards(), two_shards());
        for (now_ns, call) in (0_u64..).step_by(1_000_000).zip(records(&calls)) {
            call.iter().for_each(|record| alone.append(now_ns, SHARD, record));
            together.append(now_ns, SHARD, &call.concat());
            for (writer, disk) in [(&mut alone, &mut first), (&mut together, &mut second)] {
                writer.delivered(SHARD, SHARD, writer.durable(SHARD) / 2);
                settle(writer, disk, now_ns);
            }
            prop_assert_eq!(alone.position(SHARD), together.position(SHARD));
            prop_assert_eq!(alone.durable(SHARD), together.durable(SHARD));
            prop_assert_eq!(alone.wake_ns(), together.wake_ns());
            for shard in [ShardId(0), ShardId(1)] {
                for applied in [0, alone.position(SHARD) / 2] {
                    let raised = alone.stream(SHARD).raise(shard, applied);
                    prop_assert_eq!(raised, together.stream(SHARD).raise(shard, applied));
                }
            }
        }
        prop_assert_eq!(first.files, second.files);
    }

    /// Goal: once nothing is written any more, all that is not durable is given out, once, in its order; and
    /// what comes later after it. Method: at a moment of chance a write fails, or somebody gives up; then
    /// what else is under way ends well, of which nothing is known any more.
    #[test]
    fn what_is_not_durable_is_given_out_once(
        calls in calls(),
        at: prop::sample::Index,
        fails: bool,
        of_other: bool,
    ) {
        let (mut writer, mut disk) = two_shards();
        settle(&mut writer, &mut disk, 0);
        let (mut appended, mut lost): (Vec<Vec<Block>>, Vec<Block>) = Default::default();
        let (mut told, at) = (0, at.index(calls.len()));
        let mut under_way = Vec::new();
        for (index, call) in records(&calls).into_iter().enumerate() {
            writer.append(0, SHARD, &call.concat());
            appended.extend(call);
            if index < at {
                if index % 2 == 0 {
                    settle(&mut writer, &mut disk, 0);
                }
                continue;
            }
            if index == at {
                writer.append(0, ShardId(1), &sync(1));
                under_way.extend(next_commit(&mut writer, &mut disk, 0));
                under_way.extend(next_commit(&mut writer, &mut disk, 0));
                if fails {
                    let which = if of_other { under_way.len() - 1 } else { 0 };
                    let (id, _) = under_way.remove(which);
                    writer.done(0, id, Err(io::ErrorKind::Other.into()));
                } else {
                    writer.give_up("it takes too long");
                }
            }
            let durable = usize::try_from(writer.durable(SHARD)).unwrap();
            let Lost { position, blocks } = writer.take_lost(SHARD);
            prop_assert_eq!(position, (durable + told) as u64);
            lost.extend(blocks);
            told = appended.len() - durable;
            prop_assert_eq!(&lost, &appended[durable..].concat());
            prop_assert!(writer.next_op(0).is_none());
            for (id, op) in under_way.drain(..) {
                finish_op(&mut writer, &mut disk, 0, id, op);
                prop_assert_eq!(writer.durable(SHARD), durable as u64);
            }
        }
        prop_assert_eq!(writer.take_lost(ShardId(1)).blocks, sync(1));
        prop_assert_eq!(writer.take_lost(ShardId(1)).blocks.len(), 0);
    }
}

/// Goal: at the border of a batch too it is the same whether they come one by one. Method: as many as fill
/// some batches, now and then a long one.
#[test]
fn a_long_record_at_the_end_of_a_batch_begins_the_next() {
    let settings = || Settings { segment_bytes: 24 << 20, ..Settings::default() };
    let ((mut alone, mut first), (mut together, mut second)) =
        (writer(1, settings()), writer(1, settings()));
    let long = |number| record_of((u8::from(number % 50 != 0) * 7, 0, 32), number);
    let records: Vec<_> = (0..20_000).map(long).collect();
    for (writer, disk) in [(&mut alone, &mut first), (&mut together, &mut second)] {
        settle(writer, disk, 0);
    }
    records.iter().for_each(|record| alone.append(0, SHARD, record));
    together.append(0, SHARD, &records.concat());
    settle(&mut alone, &mut first, 0);
    settle(&mut together, &mut second, 0);
    assert_eq!(first.files, second.files);
    let batches = read(&mut second, SHARD, 1);
    assert!(batches.len() > 5 && batches.iter().all(|(head, ..)| head.padded_len(1) <= 256 << 10));
    assert!(batches.iter().flat_map(|(.., blocks)| blocks).eq(&records.concat()));
}

#[test]
fn commits_of_many_batches_are_given_out_whole() {
    let settings = Settings { segment_bytes: 24 << 20, ..Settings::default() };
    let (mut writer, mut disk) = writer(1, settings);
    settle(&mut writer, &mut disk, 0);
    let records: Vec<Block> = (0..60_000).flat_map(sync).collect();
    writer.append(0, SHARD, &records[..50_000]);
    let (id, _) = next_commit(&mut writer, &mut disk, 0).unwrap();
    writer.append(0, SHARD, &records[50_000..]);
    writer.done(0, id, Err(io::ErrorKind::Other.into()));
    assert_eq!(writer.take_lost(SHARD), Lost { position: 0, blocks: records });
    assert_eq!(writer.take_lost(SHARD), Lost { position: 60_000, blocks: Vec::new() });
}

#[test]
fn the_buffer_of_a_commit_is_filled_anew() {
    let (mut writer, mut disk) = writer(1, small());
    let (mut buffers, mut others) = (BTreeSet::new(), Vec::new());
    for number in 0..20 {
        // Whoever asks for as much gets what was given back, so the writer gets other memory.
        others.push(Pages::with_capacity(COMMIT_BYTES_MIN));
        writer.append(0, SHARD, &sync(number));
        while let Some((id, op)) = writer.next_op(0) {
            if let Op::Commit { bytes, .. } = &op {
                buffers.insert(bytes.as_ptr().addr());
            }
            finish_op(&mut writer, &mut disk, 0, id, op);
        }
    }
    assert_eq!(buffers.len(), 2, "one at the disk, one that is filled");
}
