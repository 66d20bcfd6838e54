//! What may go, and when.

use super::*;

fn deleting() -> Settings {
    Settings { retention: Retention::Delete, segment_bytes: 16 << 10, reserve_bytes: 0, ..small() }
}

/// A snapshot of a shard that holds everything below these positions.
fn image(shard: ShardId, applied: &[u64]) -> ShardImage {
    ShardImage {
        shard,
        appended: applied[usize::from(shard.0)],
        applied: applied.to_vec(),
        accounts: Vec::new(),
        keys: Vec::new(),
    }
}

/// The numbers of the segments of a stream that are left and were used.
fn segments(disk: &Memory, stream: ShardId) -> Vec<u32> {
    let used = disk.files.iter().filter(|(_, bytes)| bytes.iter().any(|byte| *byte != 0));
    let names = used.filter_map(|(path, _)| path.strip_prefix("generation-00000001/"));
    let parsed = names.filter_map(|name| SegmentName::parse(1, name));
    parsed.filter(|name| name.stream == stream).map(|name| name.number).collect()
}

fn snapshots(disk: &Memory) -> Vec<&str> {
    let names =
        disk.files.keys().filter_map(|path| path.strip_prefix("generation-00000001/shard-"));
    names.collect()
}

/// Commits so many records, each by itself: three of them fill a segment.
fn fill(writer: &mut Writer, disk: &mut Memory, stream: ShardId, records: u64) {
    for number in 0..records {
        writer.append(0, stream, &sync(number));
        settle(writer, disk, 0);
    }
}

#[test]
fn a_segment_goes_when_the_snapshot_before_the_newest_is_past_it() {
    let (mut writer, mut disk) = writer(1, deleting());
    fill(&mut writer, &mut disk, SHARD, 13);
    writer.delivered(SHARD, SHARD, 13);
    let mut left = |disk: &mut Memory, at| {
        assert!(writer.snapshot(image(SHARD, &[at])));
        settle(&mut writer, disk, 0);
        segments(disk, SHARD)
    };
    // The base before the only one is past nothing.
    assert_eq!(left(&mut disk, 7), [1, 2, 3, 4, 5]);
    assert_eq!(left(&mut disk, 10), [3, 4, 5]);
    assert_eq!(snapshots(&disk), ["000-00000001.m2s", "000-00000002.m2s"]);
    assert_eq!(left(&mut disk, 13), [4, 5]);
    assert_eq!(left(&mut disk, 13), [5]);
    assert_eq!(snapshots(&disk), ["000-00000003.m2s", "000-00000004.m2s"]);
}

#[test]
fn a_shard_with_one_snapshot_keeps_everything() {
    let (mut writer, mut disk) = writer(2, deleting());
    fill(&mut writer, &mut disk, SHARD, 7);
    for shard in [SHARD, ShardId(1)] {
        writer.delivered(SHARD, shard, 7);
    }
    for shard in [0, 0, 1] {
        assert!(writer.snapshot(image(ShardId(shard), &[7, 0])));
        settle(&mut writer, &mut disk, 0);
        assert_eq!(segments(&disk, SHARD), [1, 2, 3]);
    }
    writer.snapshot(image(ShardId(1), &[7, 0]));
    settle(&mut writer, &mut disk, 0);
    assert_eq!(segments(&disk, SHARD), [3]);
}

#[test]
fn what_was_not_handed_out_stays() {
    let (mut writer, mut disk) = writer(1, deleting());
    fill(&mut writer, &mut disk, SHARD, 7);
    writer.delivered(SHARD, SHARD, 5);
    for _ in 0..2 {
        writer.snapshot(image(SHARD, &[7]));
        settle(&mut writer, &mut disk, 0);
    }
    assert_eq!(segments(&disk, SHARD), [2, 3]);
}

#[test]
fn what_is_kept_is_moved_and_whole() {
    let settings = Settings { retention: Retention::Archive, ..deleting() };
    let (mut writer, mut disk) = writer(1, settings);
    fill(&mut writer, &mut disk, SHARD, 7);
    writer.delivered(SHARD, SHARD, 7);
    for _ in 0..3 {
        writer.snapshot(image(SHARD, &[7]));
        settle(&mut writer, &mut disk, 0);
    }
    assert_eq!(segments(&disk, SHARD), [3]);
    let archived: Vec<_> = disk.files.keys().filter(|path| path.starts_with("archive/")).collect();
    assert_eq!(
        archived,
        [
            "archive/generation-00000001/shard-000-00000001.m2s",
            "archive/generation-00000001/stream-000-00000001.m2j",
            "archive/generation-00000001/stream-000-00000002.m2j",
        ]
    );
}

/// Else the power could go and leave nothing of the stream but zeros, as a flush has not covered the
/// first page yet.
#[test]
fn a_segment_stays_until_the_first_page_of_the_next_is_durable() {
    let (mut writer, mut disk) = writer(1, deleting());
    fill(&mut writer, &mut disk, SHARD, 3);
    writer.delivered(SHARD, SHARD, 3);
    writer.append(0, SHARD, &sync(3));
    let (commit, op) = next_commit(&mut writer, &mut disk, 0).unwrap();
    for _ in 0..2 {
        writer.snapshot(image(SHARD, &[3]));
        settle(&mut writer, &mut disk, 0);
    }
    assert_eq!(segments(&disk, SHARD), [1, 2], "the second was opened");
    finish_op(&mut writer, &mut disk, 0, commit, op);
    writer.snapshot(image(SHARD, &[3]));
    settle(&mut writer, &mut disk, 0);
    assert_eq!(segments(&disk, SHARD), [2]);
}

#[test]
fn images_are_wanted_while_room_is_short_and_they_would_make_some() {
    let settings = Settings { reserve_bytes: 16 << 10, ..deleting() };
    let (mut writer, mut disk) = writer(1, settings);
    settle(&mut writer, &mut disk, 0);
    let full = |writer: &mut Writer, disk: &mut Memory, now_ns| {
        while let Some((id, op)) = writer.next_op(now_ns) {
            match op {
                Op::Prepare { .. } => {
                    writer.done(now_ns, id, Err(io::ErrorKind::StorageFull.into()));
                }
                op => finish_op(writer, disk, now_ns, id, op),
            }
        }
    };
    let mut number = 0;
    while writer.health(0) == Health::Ready {
        writer.append(0, SHARD, &sync(number));
        number += 1;
        full(&mut writer, &mut disk, PACK_NS);
    }
    assert!(!writer.wants_images(), "nothing was handed out: they would make no room");
    writer.delivered(SHARD, SHARD, number);
    for _ in 0..2 {
        assert!(writer.wants_images());
        assert!(writer.snapshot(image(SHARD, &[number])));
        full(&mut writer, &mut disk, PACK_NS);
    }
    assert!(!writer.wants_images(), "all that may go is gone");
    assert_eq!(segments(&disk, SHARD).len(), 1);
    // With room, nobody asks.
    settle(&mut writer, &mut disk, 1 << 40);
    assert_eq!(writer.health(1 << 40), Health::Ready);
    fill(&mut writer, &mut disk, SHARD, 7);
    writer.delivered(SHARD, SHARD, number + 7);
    assert!(!writer.wants_images());
}

/// A pair whose PREPARE came from this account.
fn pair_from(account: u8) -> [Block; 1] {
    let mut block = sync(0);
    block[0][48] = account;
    block
}

#[test]
fn a_shard_without_a_leg_in_a_stream_holds_nothing_of_it_back() {
    let (mut writer, mut disk) = writer(2, deleting());
    writer.set_owners(vec![SHARD, ShardId(1)]);
    for _ in 0..7 {
        writer.append(0, SHARD, &pair_from(0));
        settle(&mut writer, &mut disk, 0);
    }
    // Neither takes a leg of the other's stream, nor says anything about it.
    writer.delivered(SHARD, SHARD, 7);
    for shard in [0, 1, 0, 1] {
        let mut own = image(ShardId(shard), &[7, 0]);
        own.applied[0] = if shard == 0 { 7 } else { 0 };
        assert!(writer.snapshot(own));
        settle(&mut writer, &mut disk, 0);
    }
    assert_eq!(segments(&disk, SHARD), [3]);
    let told = disk.files.get_mut("generation-00000001/shard-001-00000002.m2s").unwrap();
    let (_, told) = crate::image::decode_snapshot(told).unwrap();
    assert_eq!((told.appended, told.applied), (0, vec![7, 0]));
    writer.append(0, SHARD, &pair_from(0));
    settle(&mut writer, &mut disk, 0);
    assert_eq!(read_last_given(&disk), [7, 8], "there is nothing of the second to hand out");
}

fn read_last_given(disk: &Memory) -> [u64; 2] {
    let file = &disk.files["generation-00000001/stream-000-00000003.m2j"];
    let batches = file.chunks(4096).skip(1).take_while(|page| page.iter().any(|byte| *byte != 0));
    let last = batches.last().unwrap();
    [80, 88].map(|at| u64::from_le_bytes(last[at..at + 8].try_into().unwrap()))
}

/// Goal: nothing goes that somebody may need. Method: one leg of the second shard at each place, which
/// it has not taken, or whose FULFILL was not handed out.
#[test]
fn a_leg_that_was_not_taken_or_given_keeps_its_segment() {
    for at in 0..7 {
        for is_taken in [false, true] {
            let (mut writer, mut disk) = writer(2, deleting());
            writer.set_owners(vec![SHARD, ShardId(1)]);
            for number in 0..7 {
                writer.append(0, SHARD, &pair_from(u8::from(number == at)));
                settle(&mut writer, &mut disk, 0);
            }
            writer.delivered(SHARD, SHARD, 7);
            // What the second shard has told so far is from before that leg.
            let applied = if is_taken { at + 1 } else { at };
            writer.delivered(SHARD, ShardId(1), if is_taken { at } else { at + 1 });
            for shard in [0, 1, 0, 1] {
                let mut own = image(ShardId(shard), &[7, 0]);
                own.applied[0] = if shard == 0 { 7 } else { applied };
                writer.snapshot(own);
                settle(&mut writer, &mut disk, 0);
            }
            let first = u32::try_from(at / 3).unwrap() + 1;
            assert_eq!(segments(&disk, SHARD)[0], first, "leg {at}, taken: {is_taken}");
        }
    }
}

#[test]
fn whose_account_is_not_known_may_be_anybodys() {
    let (mut writer, mut disk) = writer(2, deleting());
    writer.set_owners(vec![SHARD]);
    for account in [0, 0, 0, 0, 0, 9, 0] {
        writer.append(0, SHARD, &pair_from(account));
        settle(&mut writer, &mut disk, 0);
    }
    writer.delivered(SHARD, SHARD, 7);
    for shard in [0, 1, 0, 1] {
        writer.snapshot(image(ShardId(shard), &[7, 0]));
        settle(&mut writer, &mut disk, 0);
    }
    assert_eq!(segments(&disk, SHARD), [2, 3], "the sixth may be the second shard's");
}

/// A leg that comes later is none that went.
#[test]
fn what_a_shard_was_said_to_have_is_said_of_its_next_snapshot_too() {
    let (mut writer, mut disk) = writer(2, deleting());
    writer.set_owners(vec![SHARD, ShardId(1)]);
    let commit = |writer: &mut Writer, disk: &mut Memory, account| {
        writer.append(0, SHARD, &pair_from(account));
        settle(writer, disk, 0);
    };
    let told = |writer: &mut Writer, disk: &mut Memory, number| {
        assert!(writer.snapshot(image(ShardId(1), &[0, 0])));
        settle(writer, disk, 0);
        let path = format!("generation-00000001/shard-001-0000000{number}.m2s");
        crate::image::decode_snapshot(disk.files.get_mut(&path).unwrap()).unwrap().1.applied[0]
    };
    (0..6).for_each(|_| commit(&mut writer, &mut disk, 0));
    assert_eq!(told(&mut writer, &mut disk, 1), 6);
    // Of the second shard, which has not taken it.
    commit(&mut writer, &mut disk, 1);
    commit(&mut writer, &mut disk, 0);
    assert_eq!(told(&mut writer, &mut disk, 2), 6);
    assert_eq!(read_last_given(&disk), [0, 6], "nor was anything handed out");
}

/// What the writer asks for is refused where it is about one of these, and done where not: what was done.
fn retire_all_but(
    writer: &mut Writer,
    disk: &mut Memory,
    now_ns: u64,
    refused: &[&str],
) -> Vec<String> {
    let mut gone = Vec::new();
    while let Some((id, op)) = writer.next_op(now_ns) {
        let path = match &op {
            Op::Retire { from, .. } => from.clone(),
            Op::RemoveFolder { path } => path.clone(),
            _ => {
                finish_op(writer, disk, now_ns, id, op);
                continue;
            }
        };
        if refused.contains(&&*path) {
            writer.done(now_ns, id, Err(io::ErrorKind::PermissionDenied.into()));
        } else {
            writer.done(now_ns, id, Ok(()));
            gone.push(path);
        }
    }
    gone
}

const OLD: [&str; 4] = [
    "generation-00000001/base.m2s",
    "generation-00000001/stream-000-00000001.m2j",
    "generation-00000001/stream-000-00000002.m2j",
    "generation-00000001/stream-001-00000001.m2j",
];

/// A writer that is to retire the files of an earlier generation, and its folder.
fn retiring() -> (Writer, Memory) {
    let (mut writer, disk) = writer(1, deleting());
    OLD.iter().for_each(|file| writer.retire((*file).into()));
    writer.retire_folder("generation-00000001".into());
    (writer, disk)
}

#[test]
fn a_folder_that_cannot_go_is_not_waited_for() {
    let (mut writer, mut disk) = retiring();
    let folder = "generation-00000001";
    assert_eq!(retire_all_but(&mut writer, &mut disk, 0, &[folder]), OLD);
    assert!(writer.complaint().is_some());
    assert_eq!(writer.wake_ns(), None);
    assert!(writer.next_op(u64::MAX).is_none());
}

#[test]
fn a_file_that_cannot_go_holds_up_its_stream_and_its_folder_alone() {
    let (mut writer, mut disk) = retiring();
    let retry_ns = deleting().retry_ns;
    let gone = retire_all_but(&mut writer, &mut disk, 0, &[OLD[1]]);
    assert_eq!(gone, [OLD[0], OLD[3]]);
    assert_eq!(writer.wake_ns(), Some(retry_ns));
    assert!(writer.next_op(retry_ns - 1).is_none());
    let gone = retire_all_but(&mut writer, &mut disk, retry_ns, &[OLD[2]]);
    assert_eq!(gone, [OLD[1]]);
    let gone = retire_all_but(&mut writer, &mut disk, 2 * retry_ns, &[]);
    assert_eq!(gone, [OLD[2], "generation-00000001"]);
    assert_eq!(writer.wake_ns(), None);
}
