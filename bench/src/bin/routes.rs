//! `cargo xtask bench routes`: a million prefixes built, and looked up beside ten thousand.
//!
//! Prefixes of the standard workload and addresses below them, at random, in vectors of 64 as the
//! switch looks them up: hash all, touch all, then find each. One prefix is a segment deeper than the
//! rest, so that every address has a candidate that is not there, which is tried first. Every next hop
//! is compared with the route that the address was made of.

use std::time::Instant;

use m2_bench::alternate::{alternate, pin};
use m2_bench::workload::{ACCOUNTS, Random, prefix};
use m2_codec::address::Prefix;
use m2_core::limits::BATCH_MAX;
use m2_core::routes::{Builder, Candidate};
use m2_core::{AccountId, Routes};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MANY: u32 = 1_000_000;
const FEW: u32 = 10_000;
/// Look-ups of a run.
const LOOKUPS: u64 = 1 << 20;

fn main() {
    pin();
    let many = Table::new(MANY);
    let few = Table::new(FEW);
    let build_ns = many.build_ns;
    let bytes = many.bytes_per_route();
    let (many_ns, few_ns, ratio) = alternate(LOOKUPS, || many.look_up(), || few.look_up());
    println!("1M routes: built in {build_ns:.0} ns each, {bytes:.1} bytes each");
    println!("look-up among 1M  {many_ns} ns");
    println!("look-up among 10k {few_ns} ns");
    println!("1M / 10k: {:.2} ({:.2} to {:.2})", ratio.median, ratio.low, ratio.high);
    let result = json!({
        "routes": [MANY, FEW],
        "lookups_per_run": LOOKUPS,
        "build_ns_per_route": build_ns.round(),
        "bytes_per_route": (bytes * 10.0).round() / 10.0,
        "many": many_ns.to_json("ns_per_lookup"),
        "few": few_ns.to_json("ns_per_lookup"),
        "many_over_few": ratio.to_json("ratio"),
    });
    println!("{result}");
}

/// A table with addresses that lead into it.
struct Table {
    routes: Routes,
    build_ns: f64,
    /// Addresses, each with its next hop.
    addresses: Vec<(Box<[u8]>, AccountId)>,
}

impl Table {
    fn new(count: u32) -> Self {
        let mut random = Random(11);
        let prefixes: Vec<Prefix> = (0..count)
            .map(|number| {
                let text = prefix(number, &mut random);
                text.parse().expect("made of letters and digits")
            })
            .collect();
        let deeper: Prefix = format!("{}.deeper", prefixes[0]).parse().expect("as the others");
        let began = Instant::now();
        let mut builder = Builder::new(7, prefixes.len() + 1);
        builder.insert(&deeper, AccountId(0)).expect("it stands once");
        for (prefix, number) in prefixes.iter().zip(0..) {
            builder.insert(prefix, AccountId(number % ACCOUNTS)).expect("every prefix once");
        }
        let routes = builder.finish();
        let build_ns = began.elapsed().as_secs_f64() * 1e9 / f64::from(count);
        let addresses = (0..1 << 18).map(|_| {
            let number = random.index(prefixes.len());
            let address = format!("{}.~{:018x}", prefixes[number], random.next());
            let hop = AccountId(u32::try_from(number).expect("few") % ACCOUNTS);
            (address.into_bytes().into(), hop)
        });
        Self { routes, build_ns, addresses: addresses.collect() }
    }

    #[expect(clippy::cast_precision_loss, reason = "some megabytes over some routes")]
    fn bytes_per_route(&self) -> f64 {
        self.routes.bytes() as f64 / self.routes.count() as f64
    }

    /// All look-ups of a run, each verified.
    fn look_up(&self) {
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut ends = [0; BATCH_MAX];
        let vectors = self.addresses.chunks(BATCH_MAX).cycle();
        for vector in vectors.take(usize::try_from(LOOKUPS).expect("few") / BATCH_MAX) {
            candidates.clear();
            for ((address, _), end) in vector.iter().zip(&mut ends) {
                self.routes.put_candidates(address, &mut candidates);
                *end = candidates.len();
            }
            self.routes.prefetch(&candidates);
            let mut start = 0;
            for ((address, hop), end) in vector.iter().zip(ends) {
                let found = self.routes.longest(address, &candidates[start..end]);
                assert_eq!(found, Some(*hop), "an address leads where its route does");
                start = end;
            }
        }
    }
}
