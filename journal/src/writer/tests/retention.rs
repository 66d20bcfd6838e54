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
