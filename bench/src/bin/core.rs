//! `cargo xtask bench core`: the composed core in memory, beside the bare loop.
//!
//! Standard workload (10k routes, 100k in flight), raw BTP frames in and out, one core, no journal
//! yet: records leave the core and are dropped. Every answer is verified, and the books after.
//!
//! With the argument `profile` it runs the core alone for some seconds, for a profiler to look at.

use m2_bench::alternate::{alternate, pin};
use m2_bench::bare::Bare;
use m2_bench::driver::{Copying, Driver, links};
use m2_bench::workload::{ROUTES, Workload};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const IN_FLIGHT: usize = 100_000;
const PAIRS: u64 = 1 << 20;

fn main() {
    pin();
    let workload = Workload::new(ROUTES);
    let mut switch = Driver::new(workload.switch(), &workload, links(), IN_FLIGHT);
    if std::env::args().nth(1).as_deref() == Some("profile") {
        let pairs =
            std::env::args().nth(2).map_or(12 * PAIRS, |text| text.parse().expect("a number"));
        switch.run(pairs);
        return switch.verify();
    }
    let mut bare = Driver::new(Bare::new(&workload, links()), &workload, links(), IN_FLIGHT);
    let (core, loop_, ratio) = alternate(PAIRS, || switch.run(PAIRS), || bare.run(PAIRS));
    switch.verify();
    bare.verify();
    drop(bare);

    let mut copying = Driver::new(Copying::new(links()), &workload, links(), IN_FLIGHT);
    let mut nothing = || {};
    let (driver, _, _) = alternate(PAIRS, || copying.run(PAIRS), &mut nothing);

    println!("PREPAREs of {} bytes on average", workload.prepare_len_average());
    println!("core      {core} ns a pair = {:.2} M pairs/s", 1_000.0 / core.median);
    println!("bare loop {loop_} ns a pair = {:.2} M pairs/s", 1_000.0 / loop_.median);
    println!(
        "core / bare loop in time: {:.2} ({:.2} to {:.2})",
        ratio.median, ratio.low, ratio.high
    );
    println!("of each, the driver's own: {driver} ns a pair");
    let result = json!({
        "workload": "standard: 10k routes, 100k in flight, raw BTP frames in and out, no journal",
        "departures": "simulated time 2 us a pair, in which 1 in 100 expires",
        "pairs_per_run": PAIRS,
        "runs": m2_bench::alternate::RUNS,
        "core": core.to_json("ns_per_pair"),
        "core_median_pairs_per_s": (1e9 / core.median).round(),
        "bare_loop": loop_.to_json("ns_per_pair"),
        "core_over_bare_loop_time": ratio.to_json("ratio"),
        "driver": driver.to_json("ns_per_pair"),
    });
    println!("{result}");
}
