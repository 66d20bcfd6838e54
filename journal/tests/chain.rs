//! Segments are chained: one of another history, well-formed and in the right place, is not taken for
//! the next.

#![allow(clippy::unwrap_used)] // every function here is a test's
#![allow(dead_code)] // what is shared with the tests of crashes has more than is used here

#[path = "crash/disk.rs"]
mod disk;

use disk::Disk;
use m2_core::record::{LimitsRecord, Record};
use m2_core::{AccountId, ShardId};
use m2_journal::batch::Stream;
use m2_journal::names::{self, SegmentName};
use m2_journal::scan::Scan;
use m2_journal::{Fault, Hash, Settings, Storage, Writer, perform, record};

const STREAM: Stream = Stream { generation: 1, id: ShardId(0), shards: 1 };

fn segment(number: u32) -> SegmentName {
    SegmentName { generation: 1, stream: ShardId(0), number }
}

/// The same records, each a commit of its own, behind another base.
fn written(base: Hash) -> Disk {
    let mut disk = Disk::new();
    disk.create_folder(&names::folder(1)).unwrap();
    disk.write_at(&names::flushed(1, ShardId(0)), 0, &[0; 8192]).unwrap();
    let settings = Settings { segment_bytes: 4 * 4096, reserve_bytes: 0, ..Settings::default() };
    let mut writer = Writer::new(1, 1, base, settings);
    for number in 0..8 {
        let limits =
            LimitsRecord { account: AccountId(0), at_ms: 7, balance_max: number, payable_max: 1 };
        let mut blocks = Vec::new();
        record::encode(&Record::Limits(limits), &mut blocks);
        writer.append(0, ShardId(0), &blocks);
        let later_ns = number + 1_000_000_000;
        while let Some((id, op)) = writer.next_op(later_ns) {
            writer.done(later_ns, id, perform(&mut disk, &op));
        }
    }
    disk
}

/// Where a stream ends, and why.
fn end(disk: &mut Disk, base: Hash) -> (u32, Option<Fault>) {
    let segments = (1..).map(segment).take_while(|name| disk.len(&name.path()).is_ok()).collect();
    let mut scan = Scan::new(disk, STREAM, segments, base);
    while scan.next_batch().unwrap().is_some() {}
    (scan.end().place.segment.number, scan.end().fault)
}

#[test]
fn a_segment_of_another_history_is_not_taken_for_the_next() {
    let bases = [Hash([1; 32]), Hash([2; 32])];
    let [mut ours, mut other] = bases.map(written);
    assert_eq!(end(&mut ours, bases[0]).1, None);
    assert_eq!(end(&mut other, bases[1]).1, None);
    let path = segment(2).path();
    assert_ne!(ours.bytes(&path), other.bytes(&path));
    *ours.bytes(&path) = other.bytes(&path).clone();
    assert_eq!(end(&mut ours, bases[0]), (2, Some(Fault::Hash)));
}
