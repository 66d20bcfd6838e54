//! `cargo bench -p m2-bench`: the stages of a pair, one by one.
//!
//! For looking closer when `cargo xtask bench core` has moved; figures for the README come from
//! there. ring's SHA-256 is the yardstick for the one that the switch uses, and for each path of `m2-accel`.

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use m2_accel::hash_lock::{HashLocks, OPENS_MAX, Path};
use m2_bench::workload::{PACKETS, ROUTES, START, Workload};
use m2_codec::ilp::Prepare;
use m2_codec::timestamp;
use m2_core::{AccountId, AssetIndex, Ledger, sha256_of_32};

fn stages(criterion: &mut Criterion) {
    let workload = Workload::new(ROUTES);
    let mut next = 0;
    let mut packet = || {
        next = (next + 1) % PACKETS;
        workload.prepare(next)
    };

    let mut cache = timestamp::Cache::new();
    criterion.bench_function("PREPARE parsed and checked", |bench| {
        bench.iter(|| Prepare::new_checked_cached(black_box(packet()), &mut cache).is_ok());
    });
    criterion.bench_function("longest prefix of 10k", |bench| {
        let address = |number| {
            let prepare = Prepare::new_checked(workload.prepare(number)).expect("well-formed");
            prepare.destination().to_vec()
        };
        let addresses: Vec<Vec<u8>> = (0..PACKETS).map(address).collect();
        let mut turn = addresses.iter().cycle();
        bench.iter(|| workload.routes.next_hop(black_box(turn.next().expect("endless"))));
    });
    criterion.bench_function("amount converted", |bench| {
        let (from, to) = (AssetIndex(0), AssetIndex(1));
        bench.iter(|| workload.rates.convert(from, to, black_box(1_234_567)));
    });
    criterion.bench_function("hold and commit", |bench| {
        let mut ledger = Ledger::new(AccountId(0), u64::MAX, u64::MAX);
        bench.iter(|| {
            let amount = black_box(7);
            if ledger.check_hold_in(amount).is_ok() {
                let hold = ledger.hold_in(amount);
                ledger.commit_in(hold);
            }
            ledger.credit(amount);
        });
    });
    criterion.bench_function("timestamp written", |bench| {
        let mut ms = START.utc_ms;
        bench.iter(|| {
            ms += 7;
            cache.write(black_box(ms))
        });
    });
    criterion.bench_function("SHA-256 of a fulfillment", |bench| {
        bench.iter(|| sha256_of_32(black_box(&[7; 32])));
    });
    criterion.bench_function("SHA-256 of a fulfillment, ring", |bench| {
        bench.iter(|| ring::digest::digest(&ring::digest::SHA256, black_box(&[7; 32])));
    });
}

/// 64 hash locks at once, by each path that this machine has: a figure is for all of them.
fn hash_locks(criterion: &mut Criterion) {
    let fulfillments: [[u8; 32]; OPENS_MAX] =
        core::array::from_fn(|index| [u8::try_from(index).expect("below 64"); 32]);
    let conditions = fulfillments.each_ref().map(sha256_of_32);
    let (fulfillments, conditions) = (fulfillments.each_ref(), conditions.each_ref());
    for locks in Path::ALL.into_iter().filter_map(HashLocks::with) {
        criterion.bench_function(&format!("64 hash locks, {}", locks.path()), |bench| {
            let opens = || locks.opens(black_box(&fulfillments), black_box(&conditions));
            assert_eq!(opens(), u64::MAX);
            bench.iter(opens);
        });
    }
    criterion.bench_function("64 hash locks, ring", |bench| {
        let opens = |(fulfillment, condition): (&&[u8; 32], &&[u8; 32])| {
            ring::digest::digest(&ring::digest::SHA256, black_box(*fulfillment)).as_ref()
                == black_box(*condition)
        };
        bench.iter(|| assert!(fulfillments.iter().zip(&conditions).all(opens)));
    });
}

criterion_group!(benches, stages, hash_locks);
criterion_main!(benches);
