//! `cargo xtask bench ledger_reads`: the core with its accounts published, read by another thread a
//! thousand times a second, beside itself read by nobody; and beside itself without publishing.
//!
//! Standard workload in memory; what has changed is published after each pair of vectors, where the
//! driver sends off what its egress buffers hold. The reader takes all 64 accounts each time, and
//! checks that what is held is never negative. CPU time of the core's thread alone, answers verified.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use m2_bench::alternate::{RUNS, Spread, alternate, pin};
use m2_bench::driver::{Driver, Forwarding, links};
use m2_bench::workload::{ACCOUNTS, ROUTES, Workload};
use m2_core::{AccountId, Egress, Now, Request, Response, Switch};
use m2_published::{Published, Publisher, Reading, published};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const IN_FLIGHT: usize = 100_000;
const PAIRS: u64 = 1 << 20;
/// Between two full reads.
const READ_EVERY: Duration = Duration::from_millis(1);

/// A switch that publishes before its packets are sent.
struct Publishing {
    switch: Switch,
    publisher: Publisher,
}

impl Forwarding for Publishing {
    const EXPIRES: bool = true;

    fn vectors(
        &mut self,
        now: Now,
        responses: &[Response<'_>],
        requests: &[Request<'_>],
        egress: &mut impl Egress,
    ) {
        self.switch.vectors(now, responses, requests, egress);
    }

    fn between_batches(&mut self, now: Now, egress: &mut impl Egress) {
        self.switch.between_batches(now, egress);
        self.publisher.publish(&mut self.switch);
    }

    fn fulfilled_in(&self, account: AccountId) -> Option<i128> {
        self.switch.fulfilled_in(account)
    }
}

fn main() {
    let (published, mut publishers) = published(ACCOUNTS as usize, 1);
    let publisher = publishers.pop().expect("one shard has one");
    let workload = Workload::new(ROUTES);
    let (ended, is_on, reads) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
    let (read, alone, ratio, publishing) = thread::scope(|scope| {
        // Before this thread is pinned: the reader runs wherever there is room.
        scope.spawn(|| read(&published, &ended, &is_on, &reads));
        pin();
        let core = Publishing { switch: workload.switch(), publisher };
        let driver = RefCell::new(Driver::new(core, &workload, links(), IN_FLIGHT));
        let run = |reading: bool| {
            is_on.store(reading, Ordering::Release);
            driver.borrow_mut().run(PAIRS);
        };
        let (read, alone, ratio) = alternate(PAIRS, || run(true), || run(false));
        is_on.store(false, Ordering::Release);
        let mut plain = Driver::new(workload.switch(), &workload, links(), IN_FLIGHT);
        let (_, _, publishing) = alternate(PAIRS, || run(false), || plain.run(PAIRS));
        driver.borrow().verify();
        plain.verify();
        ended.store(true, Ordering::Release);
        (read, alone, ratio, publishing)
    });
    let told =
        |ratio: &Spread| format!("{:.3} ({:.3} to {:.3})", ratio.median, ratio.low, ratio.high);
    println!("read a thousand times a second  {read} ns a pair");
    println!("not read                        {alone} ns a pair");
    println!("read / not read: {}", told(&ratio));
    println!("published / not published, not read: {}", told(&publishing));
    let result = json!({
        "workload": "standard, in memory; accounts published after each pair of vectors",
        "pairs_per_run": PAIRS,
        "runs": RUNS,
        "full_reads": reads.into_inner(),
        "read": read.to_json("ns_per_pair"),
        "not_read": alone.to_json("ns_per_pair"),
        "read_over_not_read": ratio.to_json("ratio"),
        "published_over_not_published": publishing.to_json("ratio"),
    });
    println!("{result}");
}

/// Reads all accounts again and again while it is wanted.
fn read(published: &Published, ended: &AtomicBool, is_on: &AtomicBool, reads: &AtomicU64) {
    let mut views = Vec::new();
    let mut next = Instant::now();
    while !ended.load(Ordering::Acquire) {
        next += READ_EVERY;
        thread::sleep(next.saturating_duration_since(Instant::now()));
        if is_on.load(Ordering::Acquire) && published.read_all(&mut views) != Reading::Busy {
            assert_eq!(views.len(), ACCOUNTS as usize);
            assert!(views.iter().all(|it| it.words.held_in >= 0 && it.words.held_out >= 0));
            reads.fetch_add(1, Ordering::Relaxed);
        }
    }
}
