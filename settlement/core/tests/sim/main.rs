//! Settlement under one seed: two or three parties, their switches, their links and a chain that hangs, lies about what
//! is not final, reorganises and forgets, with crashes between any two steps of any process.
//!
//! Judged after every step: nothing is sent that is not on disk, a nonce has one call, no peer is credited
//! more than was frozen for it, what a switch was told is settled is held by the peer. At the end, when all faults
//! have stopped: every frozen amount is settled, every unit of it credited once, and after all channels have
//! ended the balances on the chain are right to the unit.

#![allow(clippy::unwrap_used)] // every function here is a test's

mod chain;
mod party;
mod plan;
mod world;

use plan::{Plan, Tally};
use world::World;

/// Seeds of the suite. More: `M2_SIM_SEEDS=10000 cargo test --release -p m2-settlement --test sim`.
const SEEDS: u64 = 240;

#[test]
fn no_order_of_events_loses_or_pays_a_unit_twice() {
    let seeds = std::env::var("M2_SIM_SEEDS").ok().and_then(|text| text.parse().ok());
    let first = std::env::var("M2_SIM_SEED").ok().and_then(|text| text.parse().ok());
    let (from, count) = first.map_or_else(|| (0, seeds.unwrap_or(SEEDS)), |seed| (seed, 1));
    let mut total = Tally::default();
    for seed in from..from + count {
        let tally = std::panic::catch_unwind(|| World::new(seed, Plan::of(seed)).run());
        let tally = tally.unwrap_or_else(|_| {
            panic!("seed {seed}: M2_SIM_SEED={seed} cargo test -p m2-settlement --test sim")
        });
        total.add(&tally);
    }
    println!("{total:#?}");
    if first.is_none() && count >= SEEDS {
        total.assert_everything_happened();
    }
}
