//! The crash simulation itself: it repeats, it sees what is wrong with a disk or a journal, and it
//! shrinks what it found.

use m2_sim::Failure;
use m2_sim::crash::{Caps, Case, Kind, Point, Sabotage};

#[test]
fn the_same_seed_takes_the_same_course() {
    for seed in [3, 44, 555] {
        let [one, other] = [(); 2].map(|()| Case::of(seed).trace());
        assert!(one.len() > 300);
        assert_eq!(one, other);
    }
    assert_ne!(Case::of(3).trace(), Case::of(4).trace());
}

#[test]
fn a_history_that_was_written_down_takes_the_same_course() {
    let case = Case::of(11);
    let again: Case = case.to_string().parse().unwrap();
    assert_eq!(again.trace(), case.trace());
}

#[test]
fn any_part_of_a_history_is_a_history() {
    let mut case = Case::of(21);
    while !case.ops.is_empty() {
        case.run().unwrap();
        let half = case.ops.len() / 2;
        case.ops.drain(half..);
        case.ops.rotate_left(half / 3);
    }
}

/// The first case that fails with a fault in the machine, of so many.
fn first(sabotage: Sabotage, seeds: u64) -> (Case, Failure) {
    let case = |seed| Case { sabotage: Some(sabotage), ..Case::of(seed) };
    let failed = |seed| Some((case(seed), case(seed).run().err()?));
    (1..=seeds).find_map(failed).expect("a fault in the machine is found")
}

/// Not one of the harness's own assertions.
fn is_found(failure: &Failure) -> bool {
    let begins = ["journal: ", "recovery: ", "risk: "];
    begins.iter().any(|begin| failure.message.starts_with(begin))
}

#[test]
fn a_disk_that_does_not_flush_is_found() {
    let (_, failure) = first(Sabotage::FlushLeftOut, 3);
    assert!(is_found(&failure), "{}", failure.message);
}

#[test]
fn records_that_are_told_to_be_durable_before_their_flush_are_found() {
    let (_, failure) = first(Sabotage::DurableAtWrite, 10);
    assert!(is_found(&failure), "{}", failure.message);
}

#[test]
fn what_fails_shrinks_to_a_history_that_fails_the_same_way() {
    let (case, failure) = first(Sabotage::FlushLeftOut, 3);
    let short = case.shrink(&failure);
    let again = short.run().expect_err("it was kept because it fails");
    assert_eq!(again.kind(), failure.kind());
    assert!(short.ops.len() < 60, "{} operations are left:\n{short}", short.ops.len());
    assert!(short.ops.iter().any(|op| op.kind == Kind::Step));
    let trace = short.trace();
    assert_eq!(trace.last(), Some(&again.message));
}

/// Goal: legs are equal whenever the power goes. Method: a scene with a cut after every step, and two
/// snapshots in the middle of it; `cargo xtask simulate` does it at every point.
#[test]
fn a_scene_survives_a_power_cut_after_every_step() {
    for is_apart in [true, false] {
        let alone = Point { is_apart, schedule: 0, begin: None, delay: 0 };
        let steps = alone.run().unwrap().steps;
        assert!(steps > 100);
        for begin in [steps / 3, steps / 2] {
            Point { begin: Some(begin), ..alone }.run().unwrap();
        }
    }
}

/// Goal: what a shard writes depends on nothing but what it is fed. Method: its packets, orders, turns
/// and times are recorded, and fed to a fresh core with a fresh journal on a fresh disk.
#[test]
fn one_shard_fed_a_recording_of_its_inputs_writes_the_same_bytes_again() {
    let mut written = 0;
    for seed in 1..=40 {
        let case = Case { caps: Caps { shards: 1, ..Caps::NONE }, ..Case::of(seed) };
        for tape in case.tapes().unwrap() {
            assert_eq!(tape.shards(), 1);
            assert_eq!(tape.differs(), None, "seed {seed}");
            written += tape.written_bytes();
        }
    }
    assert!(written > 100_000, "{written} bytes");
}

#[test]
fn fed_something_else_it_writes_something_else() {
    let case = Case { caps: Caps { shards: 1, ..Caps::NONE }, ..Case::of(1) };
    let mut tapes = case.tapes().unwrap();
    tapes.retain(|tape| tape.written_bytes() > 1_000);
    assert!(!tapes.is_empty());
    for tape in tapes {
        let later = tape.later(1);
        // It may do something else before its files are looked at.
        let differs = std::panic::catch_unwind(|| later.differs());
        assert_ne!(differs.ok(), Some(None));
    }
}
