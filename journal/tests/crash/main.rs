//! Crashes at any moment of any history: what is recovered is what the books say.
//!
//! Goal: whatever a crash leaves of what was not flushed, no record that was said to be durable is
//! lost, both legs of a pair are there or neither, and every word comes out as if the records that
//! are left had been applied in the order in which they were decided. Method: random histories over
//! 1 to 4 shards with credits, reversals, frozen amounts, limits and snapshots between pairs; the
//! writer's requests done in any order; a disk that loses its power between any two calls, also
//! during a recovery; then the next generation, with another number of shards.

#![allow(clippy::unwrap_used)] // every function here is a test's

mod damage;
mod disk;
mod world;

use disk::Disk;
use fastrand::Rng;
use m2_core::ShardId;
use m2_journal::batch::Stream;
use m2_journal::image::decode_base;
use m2_journal::names::{self, SegmentName};
use m2_journal::recover::{Options, Recovered, begin_generation, recover};
use m2_journal::scan::Scan;
use m2_journal::{Error, Op, OpId, Retention, Settings, Storage, Writer, perform};
use world::{Books, World};

const OPTIONS: Options = Options { until_ms: None, listed_max: usize::MAX };

fn settings(rng: &mut Rng) -> Settings {
    Settings {
        segment_bytes: 16_384 + rng.u64(..3) * 16_384,
        reserve_bytes: rng.u64(..3) * 8_192,
        async_ns: rng.u64(..20) * 1_000_000,
        async_bytes: rng.u64(..4_096),
        retention: [Retention::Keep, Retention::Archive, Retention::Delete][rng.usize(..3)],
        ..Settings::default()
    }
}

/// The requests under way, done in any order.
struct Driver {
    writer: Writer,
    under_way: Vec<(OpId, Op)>,
    /// By stream: what the writer has said is durable.
    told: Vec<u64>,
}

impl Driver {
    fn step(&mut self, rng: &mut Rng, disk: &mut Disk, now_ns: u64) {
        if rng.bool() {
            self.under_way.extend(self.writer.next_op(now_ns));
            return;
        }
        if self.under_way.is_empty() {
            return;
        }
        let (id, op) = self.under_way.swap_remove(rng.usize(..self.under_way.len()));
        let result = perform(disk, &op);
        if disk.is_dead() {
            return;
        }
        self.writer.done(now_ns, id, result);
        for (stream, told) in self.told.iter_mut().enumerate() {
            *told = self.writer.durable(ShardId(u16::try_from(stream).unwrap()));
        }
    }
}

/// Runs a generation until the power goes.
fn live(rng: &mut Rng, disk: &mut Disk, world: &mut World, driver: &mut Driver) {
    if rng.u8(..10) > 0 {
        disk.light(rng.u32(..400) + 1);
    }
    if rng.u8(..4) == 0 {
        disk.spoil(rng.u32(..60));
    }
    for _ in 0..rng.usize(..1_500) {
        if disk.is_dead() {
            break;
        }
        match rng.u8(..40) {
            0 => {
                let shard = rng.usize(..world.shards);
                driver.writer.snapshot(world.image(shard));
            }
            1..=20 => world.act(rng, &mut driver.writer),
            _ => driver.step(rng, disk, world.now_ns()),
        }
    }
}

/// A generation that may be the newest on the disk.
struct Past {
    generation: u32,
    world: World,
    /// By stream: what was said to be durable.
    told: Vec<u64>,
}

/// Recovers, with power cuts in between, until a new generation stands; judges every attempt. An
/// attempt may have come so far that the next one finds its generation.
fn come_back(rng: &mut Rng, disk: &mut Disk, before: Past) -> (Past, Driver) {
    let mut pasts = vec![before];
    for attempt in 0.. {
        if attempt < 3 {
            disk.light(rng.u32(..60) + 1);
        }
        match try_once(rng, disk, &mut pasts) {
            Ok(driver) => {
                disk.restart();
                let newest = pasts.pop().expect("an attempt was made");
                return (newest, driver);
            }
            Err(Error::Io { .. }) if disk.is_dead() => disk.crash(rng),
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("the fourth attempt has power");
}

fn try_once(rng: &mut Rng, disk: &mut Disk, pasts: &mut Vec<Past>) -> Result<Driver, Error> {
    let recovered = recover(disk, &OPTIONS, &mut |_| {})?;
    let found = pasts.iter().rfind(|past| past.generation == recovered.generation);
    judge(found.expect("a generation of ours"), &recovered);
    let world = World::new(rng, &recovered);
    let (entries, shards) = (world.entries(), world.shards);
    let told = vec![0; shards];
    pasts.push(Past { generation: recovered.generation + 1, world, told: told.clone() });
    let writer = begin_generation(disk, &recovered, &entries, shards, settings(rng))?;
    Ok(Driver { writer, under_way: Vec::new(), told })
}

fn judge(past: &Past, recovered: &Recovered) {
    let ends: Vec<_> = recovered.ends.iter().map(|link| link.position).collect();
    for (end, told) in ends.iter().zip(&past.told) {
        assert!(end >= told, "what was said to be durable is lost: {ends:?} {:?}", past.told);
    }
    assert_eq!(Books::of(recovered), past.world.expected(&ends));
    let listed = recovered.undelivered.listed.iter();
    let listed: Vec<_> = listed.map(|(stream, at, _)| (usize::from(stream.0), *at)).collect();
    for packet in past.world.undelivered(&ends) {
        assert!(listed.contains(&packet), "{packet:?} may not have been delivered");
    }
}

/// What was recovered from the generation before the newest is still all there, unless it went.
fn check_ends(disk: &mut Disk, generation: u32) {
    let path = |generation| format!("generation-{generation:08}/base.m2s");
    let mut read = |generation| {
        let path = path(generation);
        let mut bytes = vec![0; usize::try_from(disk.len(&path).ok()?).unwrap()];
        disk.read_at(&path, 0, &mut bytes).unwrap();
        Some(decode_base(&mut bytes).unwrap())
    };
    let (newest, _) = read(generation).unwrap();
    let Some((base, hash)) = (generation > 1).then(|| read(generation - 1)).flatten() else {
        return;
    };
    let entries = disk.list(&names::folder(base.generation)).unwrap();
    let mut segments = vec![Vec::new(); base.shards];
    for name in entries.iter().filter_map(|e| SegmentName::parse(base.generation, &e.name)) {
        segments[usize::from(name.stream.0)].push(name);
    }
    for (index, segments) in segments.into_iter().enumerate() {
        // Its first segments may have gone, or be about to.
        if segments.first().is_none_or(|first| first.number > 1) {
            continue;
        }
        let id = ShardId(u16::try_from(index).unwrap());
        let stream = Stream { generation: base.generation, id, shards: base.shards };
        let mut scan = Scan::new(disk, stream, segments, hash);
        while scan.next_batch().unwrap().is_some() {}
        assert_eq!((scan.end().link, scan.end().fault), (newest.ends[index], None));
    }
}

fn history(seed: u64) {
    let rng = &mut Rng::with_seed(seed);
    let mut disk = Disk::new();
    let mut past = Past { generation: 0, world: World::nothing(), told: Vec::new() };
    for _ in 0..rng.usize(1..5) {
        let (mut next, mut driver) = come_back(rng, &mut disk, past);
        let mut after = disk.clone();
        after.crash(rng);
        check_ends(&mut after, next.generation);
        live(rng, &mut disk, &mut next.world, &mut driver);
        next.told = driver.told;
        // What survives the process may be lost by the crash after the next.
        if rng.bool() {
            disk.crash(rng);
        } else {
            disk.restart();
        }
        past = next;
    }
    come_back(rng, &mut disk, past);
}

/// `CRASH_SEEDS=1000..30000` tries others.
#[test]
fn what_is_recovered_is_what_the_books_say() {
    let seeds = std::env::var("CRASH_SEEDS").map_or(0..500, |text| {
        let (from, to) = text.split_once("..").unwrap();
        from.parse().unwrap()..to.parse().unwrap()
    });
    for seed in seeds {
        let ended = std::panic::catch_unwind(|| history(seed));
        if let Err(cause) = ended {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(cause);
        }
    }
}
