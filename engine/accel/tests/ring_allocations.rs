//! A ring that is there allocates nothing more. Alone in its file, as all threads of a process are
//! counted together.

use std::alloc::System;

use m2_accel::{Consumer, Producer, ring};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The harness's own thread allocates when it likes: of some rounds one has to be without. A ring that
/// allocates does so in each.
#[test]
fn a_ring_allocates_nothing_after_it_was_made() {
    const ROUNDS: usize = 20;
    let (mut producer, mut consumer) = ring(64, 4_096);
    let mut fewest = usize::MAX;
    for _ in 0..ROUNDS {
        let region = Region::new(ALLOCATOR);
        for number in 0..1_000 {
            send(&mut producer, &mut consumer, number);
        }
        let change = region.change();
        fewest = fewest.min(change.allocations + change.reallocations);
    }
    assert_eq!(fewest, 0);
}

fn send(producer: &mut Producer<usize>, consumer: &mut Consumer<usize>, number: usize) {
    let packet = [7; 300];
    let len = number % 301;
    while !producer.has_room(len) {
        producer.publish();
        while consumer.pop().is_some() {}
    }
    producer.push(number, &packet[..len]);
}
