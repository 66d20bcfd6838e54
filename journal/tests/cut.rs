//! A damaged stream is cut, with power cuts in between, until a switch can start: the words are those
//! of the records that are left.

#![allow(clippy::unwrap_used)] // every function here is a test's
#![allow(dead_code)] // what is shared with the tests of crashes has more than is used here

#[path = "crash/disk.rs"]
mod disk;
#[path = "crash/world.rs"]
mod world;

use disk::Disk;
use fastrand::Rng;
use m2_journal::recover::cut::{self, Refusal};
use m2_journal::recover::{Options, Recovered, begin_generation, found, recover};
use m2_journal::{Choices, Damage, Error, Retention, Settings, Storage, Writer, names, perform};
use world::{Books, World};

const OPTIONS: Options = Options { until_ms: None, listed_max: usize::MAX };

fn settle(writer: &mut Writer, disk: &mut Disk, now_ns: u64) {
    while let Some((id, op)) = writer.next_op(now_ns) {
        writer.done(now_ns, id, perform(disk, &op));
    }
}

/// A generation of any history, of which everything is durable.
fn history(rng: &mut Rng, disk: &mut Disk) -> World {
    let recovered = recover(disk, &OPTIONS, &mut |_| {}).unwrap();
    let mut world = World::new(rng, &recovered);
    let retention = [Retention::Keep, Retention::Delete][rng.usize(..2)];
    let segment_bytes = 16_384 + rng.u64(..3) * 16_384;
    let settings = Settings { segment_bytes, reserve_bytes: 0, retention, ..Settings::default() };
    let (entries, shards) = (world.entries(), world.shards);
    let mut writer = begin_generation(disk, &recovered, &entries, shards, settings).unwrap();
    for _ in 0..rng.usize(50..1_500) {
        match rng.u8(..60) {
            0 => {
                writer.snapshot(world.image(rng.usize(..shards)));
            }
            1..=40 => world.act(rng, &mut writer),
            _ => settle(&mut writer, disk, world.now_ns()),
        }
    }
    writer.finish();
    settle(&mut writer, disk, world.now_ns());
    world
}

/// Changes a byte of some segment of the first generation.
fn damage(rng: &mut Rng, disk: &mut Disk) {
    let entries = disk.list(&names::folder(1)).unwrap();
    let segments: Vec<_> = entries.iter().filter(|entry| entry.name.ends_with(".m2j")).collect();
    let path = format!("{}/{}", names::folder(1), segments[rng.usize(..segments.len())].name);
    let offset = rng.u64(..disk.len(&path).unwrap());
    let mut byte = [0];
    disk.read_at(&path, offset, &mut byte).unwrap();
    disk.write_at(&path, offset, &[byte[0] ^ 1 << rng.u8(..8)]).unwrap();
    disk.sync_data(&path).unwrap();
}

/// Cuts where the damage is, as often as the power goes. `None` if that is refused.
fn cut(rng: &mut Rng, disk: &mut Disk, stream: u16, position: u64) -> Option<()> {
    for attempt in 0.. {
        if attempt < 4 {
            disk.light(rng.u32(..80) + 1);
        }
        match cut::plan(disk, stream, position).map(|plan| plan.map(|cut| cut.make(disk))) {
            // An attempt before this one came to its end, though nobody heard of it.
            Ok(Ok(Ok(_)) | Err(Refusal::Nothing { .. })) => {
                disk.restart();
                return Some(());
            }
            Ok(Err(Refusal::NoBeginning { .. })) => return None,
            Ok(Err(refusal)) => panic!("{refusal}"),
            Ok(Ok(Err(_))) | Err(_) if disk.is_dead() => disk.crash(rng),
            Ok(Ok(Err(error))) | Err(error) => panic!("{error}"),
        }
        // Whatever is there now: a start refuses it as before, or finds it cut.
        match recover(&mut disk.clone(), &OPTIONS, &mut |_| {}) {
            Ok(recovered) => assert_eq!(recovered.ends[usize::from(stream)].position, position),
            Err(Error::Damage(Damage { choices: Choices::Cut { position: at, .. }, .. })) => {
                assert_eq!(at, position);
            }
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("the fifth attempt has power");
}

/// Below which record of a stream the newest snapshots hold everything: none of them is damaged.
fn held_by_snapshots(disk: &mut Disk, stream: u16) -> u64 {
    let (base, _) = found::read_base(disk, 1).unwrap().unwrap();
    let (_, snapshots) = found::list(disk, &base).unwrap();
    let held = snapshots.iter().enumerate().map(|(shard, names)| {
        let Some(newest) = names.last() else { return 0 };
        let image = found::read_snapshot(disk, &base, *newest).unwrap().unwrap();
        let applied = image.applied[usize::from(stream)];
        if shard == usize::from(stream) { applied.min(image.appended) } else { applied }
    });
    held.min().unwrap()
}

/// Whether anything was cut.
fn try_seed(seed: u64) -> bool {
    let rng = &mut Rng::with_seed(seed);
    let mut disk = Disk::new();
    let world = history(rng, &mut disk);
    damage(rng, &mut disk);
    let found = match recover(&mut disk.clone(), &OPTIONS, &mut |_| {}) {
        Err(Error::Damage(Damage {
            choices: Choices::Cut { stream, position, held, .. }, ..
        })) => {
            assert_eq!(held, held_by_snapshots(&mut disk, stream));
            cut(rng, &mut disk, stream, position).map(|()| (stream, position))
        }
        _ => None,
    };
    let Some((stream, position)) = found else { return false };
    let recovered = recover(&mut disk, &OPTIONS, &mut |_| {}).unwrap();
    let ends: Vec<_> = recovered.ends.iter().map(|end| end.position).collect();
    assert_eq!(ends[usize::from(stream)], position);
    assert!(
        ends.iter()
            .zip(&world.appended)
            .enumerate()
            .all(|(at, (end, appended))| { at == usize::from(stream) || end == appended })
    );
    assert_eq!(Books::of(&recovered), world.expected(&ends));
    assert_no_cut_is_reported(&recovered);
    true
}

/// The cut is done: nothing is left for a start to cut.
fn assert_no_cut_is_reported(recovered: &Recovered) {
    assert!(recovered.notes.is_empty(), "{:?}", recovered.notes);
}

#[test]
fn what_is_left_behind_a_cut_is_what_the_books_say() {
    let cuts = (0..200).filter(|seed| {
        let tried = std::panic::catch_unwind(|| try_seed(*seed));
        tried.unwrap_or_else(|cause| {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(cause)
        })
    });
    let cuts = cuts.count();
    assert!(cuts > 50, "{cuts} of 200 histories were cut");
}
