//! `cargo xtask bench two_shards`: two shards on two cores against one, in memory, half of the packets
//! crossing. A figure is the CPU time of the shard that took longest, for each packet of both; a shard that
//! waits for the other spins, so that waiting counts. What crosses costs several times as much while the host
//! of a virtual machine has its cores far from each other: turns in which it had are told apart.

use m2_bench::alternate::{NearOrFar, RUNS, Spread, TURNS_MAX};
use m2_bench::distance::{NEAR_NS_MAX, round_trip_ns};
use m2_bench::two_shards::{IN_FLIGHT, Shards};
use m2_bench::workload::{ROUTES, Workload};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PAIRS: u64 = 1 << 18;

fn main() {
    let workload = Workload::new(ROUTES);
    let (mut one, mut two) = (Shards::one(&workload), Shards::two(&workload));
    // Fills both, and warms up.
    one.run(PAIRS);
    two.run(PAIRS);
    let mut turns = Vec::new();
    let near = |turns: &[NearOrFar]| turns.iter().filter(|it| it.is_near()).count();
    while turns.len() < TURNS_MAX && near(&turns) < RUNS {
        turns.push(turn(turns.len(), &mut one, &mut two));
    }
    let (alone, crossed) = (one.verify(), two.verify());
    assert!(alone == 0.0 && (0.45..0.55).contains(&crossed), "{alone}, {crossed}");
    println!("{:.1} % of the packets crossed between two shards", crossed * 100.0);
    let (near, far): (Vec<_>, Vec<_>) = turns.into_iter().partition(NearOrFar::is_near);
    let result = json!({
        "workload": "standard: 10k routes, raw BTP frames in and out, nothing recorded",
        "departures": "91 % FULFILL, 8 % REJECT, 1 % a wrong fulfillment, none left to expire",
        "in_flight": IN_FLIGHT,
        "pairs_per_run": PAIRS,
        "crossed": crossed,
        "near_round_trip_max_ns": NEAR_NS_MAX,
        "cores_near": told("cores near each other", &near),
        "cores_far": told("cores far from each other, or moved", &far),
    });
    println!("{result}");
}

/// One shard (`a`) and two (`b`).
fn turn(number: usize, one: &mut Shards<'_>, two: &mut Shards<'_>) -> NearOrFar {
    let mut of_two = || {
        let before = round_trip_ns();
        let two = two.run(PAIRS);
        (two, before.max(round_trip_ns()))
    };
    let (a, (b, round_trip_ns)) = if number.is_multiple_of(2) {
        (one.run(PAIRS), of_two())
    } else {
        let of_two = of_two();
        (one.run(PAIRS), of_two)
    };
    NearOrFar { a, b, round_trip_ns }
}

/// Prints what the turns of one kind came to.
fn told(kind: &str, turns: &[NearOrFar]) -> Value {
    println!("{kind}: {} turns", turns.len());
    if turns.is_empty() {
        return json!({ "turns": 0 });
    }
    let spread = |of: fn(&NearOrFar) -> f64| Spread::of_any(turns.iter().map(of).collect());
    let (one, two) = (spread(|it| it.a), spread(|it| it.b));
    let (gain, round_trip) = (spread(|it| it.a / it.b), spread(|it| it.round_trip_ns));
    println!("  round trip  {round_trip} ns");
    println!("  one shard   {one} ns a pair");
    println!("  two shards  {two} ns a pair");
    println!("  gain        {:.2} ({:.2} to {:.2})", gain.median, gain.low, gain.high);
    json!({
        "turns": turns.len(),
        "round_trip": round_trip.to_json("ns"),
        "one_shard": one.to_json("ns_per_pair"),
        "two_shards": two.to_json("ns_per_pair"),
        "two_over_one": gain.to_json("times"),
    })
}
