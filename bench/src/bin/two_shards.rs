//! `cargo xtask bench two_shards`: two shards on two cores against one, in memory, half of the packets
//! crossing. A figure is the CPU time of the shard that took longest, for each packet of both; a shard that
//! waits for the other spins, so that waiting counts.

use m2_bench::alternate::{RUNS, Spread};
use m2_bench::two_shards::{IN_FLIGHT, Shards};
use m2_bench::workload::{ROUTES, Workload};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PAIRS: u64 = 1 << 20;

fn main() {
    let workload = Workload::new(ROUTES);
    let (mut one, mut two) = (Shards::one(&workload), Shards::two(&workload));
    // Fills both, and warms up.
    one.run(PAIRS);
    two.run(PAIRS);
    let mut samples = [(0.0, 0.0); RUNS];
    for (turn, sample) in samples.iter_mut().enumerate() {
        *sample = if turn % 2 == 0 {
            let of_one = one.run(PAIRS);
            (of_one, two.run(PAIRS))
        } else {
            let of_two = two.run(PAIRS);
            (one.run(PAIRS), of_two)
        };
    }
    let (alone, crossed) = (one.verify(), two.verify());
    assert!(alone == 0.0 && (0.45..0.55).contains(&crossed), "{alone}, {crossed}");
    let of_one = Spread::of(samples.map(|it| it.0));
    let of_two = Spread::of(samples.map(|it| it.1));
    let gain = Spread::of(samples.map(|(one, two)| one / two));
    println!("one shard   {of_one} ns a pair");
    println!("two shards  {of_two} ns a pair; {:.1} % of the packets crossed", crossed * 100.0);
    println!("gain        {:.2} ({:.2} to {:.2})", gain.median, gain.low, gain.high);
    let result = json!({
        "workload": "standard: 10k routes, raw BTP frames in and out, nothing recorded",
        "departures": "91 % FULFILL, 8 % REJECT, 1 % a wrong fulfillment, none left to expire",
        "in_flight": IN_FLIGHT,
        "pairs_per_run": PAIRS,
        "runs": RUNS,
        "crossed": crossed,
        "one_shard": of_one.to_json("ns_per_pair"),
        "two_shards": of_two.to_json("ns_per_pair"),
        "two_over_one": gain.to_json("times"),
    });
    println!("{result}");
}
