//! A ring that is there allocates nothing more. Alone in its file, as all threads of a process are
//! counted together.

use std::alloc::System;

use m2_accel::ring;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn a_ring_allocates_nothing_after_it_was_made() {
    let (mut producer, mut consumer) = ring(64, 4_096);
    let region = Region::new(ALLOCATOR);
    for number in 0..10_000_usize {
        let packet = [7; 300];
        while !producer.has_room(number % 301) {
            producer.publish();
            while consumer.pop().is_some() {}
        }
        producer.push(number, &packet[..number % 301]);
    }
    let change = region.change();
    assert_eq!((change.allocations, change.reallocations), (0, 0));
}
