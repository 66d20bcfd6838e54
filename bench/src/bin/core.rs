//! `cargo xtask bench core`: the composed core in memory, beside the bare loop.
//!
//! Standard workload (10k routes, 100k in flight), raw BTP frames in and out, one core. `core` drops its
//! records; `recorded` gives them to a thread that hashes and discards them, and so it does with a million
//! routes. Every answer is verified, and the books after.
//!
//! With the argument `profile` it runs the core alone for some seconds, for a profiler to look at; with
//! `profile recorded`, the core that records. `profile PAIRS` and `profile bare PAIRS` run so many pairs,
//! for a tool that counts instructions.

use m2_bench::alternate::{NearOrFar, Spread, alternate, alternate_near, pin};
use m2_bench::bare::Bare;
use m2_bench::distance::NEAR_NS_MAX;
use m2_bench::driver::{Copying, Driver, Forwarding, links};
use m2_bench::recorded::Recorded;
use m2_bench::workload::{ROUTES, Workload};
use m2_core::Durability;
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const IN_FLIGHT: usize = 100_000;
const MANY_ROUTES: u32 = 1_000_000;
const PAIRS: u64 = 1 << 20;
/// Of a run with two threads: short, as the host may move their cores at any moment.
const PAIRS_OF_TWO: u64 = 1 << 18;

fn main() {
    pin();
    let words: Vec<_> = std::env::args().skip(1).collect();
    let workload = Workload::new(ROUTES);
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["profile"] => return profile(workload.switch(), &workload, 12 * PAIRS, drop),
        ["profile", "recorded"] => {
            return profile(recorded(&workload), &workload, 12 * PAIRS, end);
        }
        ["profile", "bare", pairs] => {
            return profile(Bare::new(&workload, links()), &workload, number(pairs), drop);
        }
        ["profile", pairs] => return profile(workload.switch(), &workload, number(pairs), drop),
        _ => {}
    }
    println!("PREPAREs of {} bytes on average", workload.prepare_len_average());
    let core = beside_bare("core", workload.switch(), &workload);
    let recorded_core = recorded_beside_bare("recorded", &workload);
    let driver = driver_alone(&workload);
    let many = Workload::new(MANY_ROUTES);
    let many_core = recorded_beside_bare("recorded, a million routes", &many);
    let result = json!({
        "workload": "standard: 10k routes, 100k in flight, raw BTP frames in and out, nothing recorded",
        "departures": "simulated time 2 us a pair, in which 1 in 100 expires",
        "pairs_per_run": PAIRS,
        "pairs_per_run_recorded": PAIRS_OF_TWO,
        "runs": m2_bench::alternate::RUNS,
        "core": core.core.to_json("ns_per_pair"),
        "core_median_pairs_per_s": core.pairs_per_s(),
        "bare_loop": core.bare.to_json("ns_per_pair"),
        "core_over_bare_loop_time": core.ratio.to_json("ratio"),
        "near_round_trip_max_ns": NEAR_NS_MAX,
        "recorded": {
            "what": "records drained by a thread that hashes (BLAKE3 over what is there, at most 64 KiB) and \
                     discards",
            "turns": recorded_core,
        },
        "recorded_million_routes": {
            "what": "the same with a million routes, of which packets go to 32,768",
            "turns": many_core,
        },
        "driver": driver.to_json("ns_per_pair"),
    });
    println!("{result}");
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number of pairs")
}

/// What was measured of a core and of the bare loop in turns.
#[derive(Clone, Copy)]
struct Beside {
    core: Spread,
    bare: Spread,
    /// The core's time over the bare loop's.
    ratio: Spread,
}

impl Beside {
    fn pairs_per_s(&self) -> f64 {
        (1e9 / self.core.median).round()
    }

    fn to_json(self) -> Value {
        json!({
            "core": self.core.to_json("ns_per_pair"),
            "core_median_pairs_per_s": self.pairs_per_s(),
            "bare_loop": self.bare.to_json("ns_per_pair"),
            "core_over_bare_loop_time": self.ratio.to_json("ratio"),
        })
    }

    fn print(self, name: &str) {
        let Self { core, bare, ratio } = self;
        println!("{name}: {core} ns a pair = {:.2} M pairs/s", self.pairs_per_s() / 1e6);
        println!("  bare loop {bare} ns a pair = {:.2} M pairs/s", 1_000.0 / bare.median);
        println!("  in time: {:.2} ({:.2} to {:.2})", ratio.median, ratio.low, ratio.high);
    }
}

fn recorded(workload: &Workload) -> Recorded {
    Recorded::new(workload.switch_of(Durability::Async))
}

/// Every record that left the core was hashed.
fn end(core: Recorded) {
    println!("  {} records hashed", core.finish());
}

fn beside_bare(name: &str, core: impl Forwarding, workload: &Workload) -> Beside {
    let mut core = Driver::new(core, workload, links(), IN_FLIGHT);
    let mut bare = Driver::new(Bare::new(workload, links()), workload, links(), IN_FLIGHT);
    let (of_core, of_bare, ratio) = alternate(PAIRS, || core.run(PAIRS), || bare.run(PAIRS));
    core.verify();
    bare.verify();
    let found = Beside { core: of_core, bare: of_bare, ratio };
    found.print(name);
    found
}

/// Told apart by whether the core and the thread that takes its records shared a cache.
fn recorded_beside_bare(name: &str, workload: &Workload) -> Value {
    let mut core = Driver::new(recorded(workload), workload, links(), IN_FLIGHT);
    let mut bare = Driver::new(Bare::new(workload, links()), workload, links(), IN_FLIGHT);
    let turns = alternate_near(PAIRS_OF_TWO, || core.run(PAIRS_OF_TWO), || bare.run(PAIRS_OF_TWO));
    core.verify();
    bare.verify();
    end(core.core);
    let (near, far): (Vec<_>, Vec<_>) = turns.into_iter().partition(NearOrFar::is_near);
    let told = |kind, turns: &[NearOrFar]| {
        if turns.is_empty() {
            return json!({ "turns": 0 });
        }
        let spread = |of: fn(&NearOrFar) -> f64| Spread::of_any(turns.iter().map(of).collect());
        let (core, bare, ratio) = (spread(|it| it.a), spread(|it| it.b), spread(|it| it.a / it.b));
        let found = Beside { core, bare, ratio };
        found.print(&format!("{name}, {} turns with the cores {kind}", turns.len()));
        json!({
            "turns": turns.len(),
            "round_trip": spread(|it| it.round_trip_ns).to_json("ns"),
            "measured": found.to_json(),
        })
    };
    json!({ "cores_near": told("near", &near), "cores_far": told("far, or moved", &far) })
}

/// Of each figure, what is the driver's own.
fn driver_alone(workload: &Workload) -> Spread {
    let mut copying = Driver::new(Copying::new(links()), workload, links(), IN_FLIGHT);
    let (driver, _, _) = alternate(PAIRS, || copying.run(PAIRS), || {});
    println!("of each, the driver's own: {driver} ns a pair");
    driver
}

fn profile<F: Forwarding>(core: F, workload: &Workload, pairs: u64, end: impl FnOnce(F)) {
    let mut core = Driver::new(core, workload, links(), IN_FLIGHT);
    core.run(pairs);
    core.verify();
    end(core.core);
}
