//! Goal: once a switch is warm, a packet costs no allocation, whatever its FULFILL waits for. Method:
//! the same rounds twice, the second under an allocator that counts.

mod support;

use std::alloc::System;

use m2_codec::ilp::ForwardedPrepare;
use m2_core::{
    ConnectionId, Durability, Egress, Limits, Now, Request, Response, ResponseBody, Rings, ShardId,
    Switch, SwitchConfig,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::*;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Packets in flight at once.
const VECTOR: usize = 64;

/// An egress that counts, and knows the last vector of PREPAREs.
struct Counting {
    ids: [u32; VECTOR],
    prepares: usize,
    answers: u64,
    has_room: bool,
}

impl Egress for Counting {
    fn below_half(&self, to: ConnectionId) -> bool {
        self.has_room || to.account != ALICE
    }

    fn prepare(&mut self, _to: ConnectionId, request_id: u32, _packet: ForwardedPrepare<'_>) {
        self.ids[self.prepares] = request_id;
        self.prepares += 1;
    }

    fn answer(&mut self, _to: ConnectionId, _request_id: u32, _packet: &[u8]) {
        self.answers += 1;
    }
}

/// A round: a vector of PREPAREs and their FULFILLs; records taken out, and most of them durable, but
/// in some rounds none; the sender's link full in others.
fn round(switch: &mut Switch, egress: &mut Counting, number: u64, prepare: &[u8], now: Now) {
    let (alice, bob) = (Shards::link(ALICE), Shards::link(BOB));
    let requests = [Request { connection: alice, request_id: 1, packet: prepare }; VECTOR];
    egress.prepares = 0;
    switch.requests(now, &requests, egress);
    let answers = egress.ids.map(|request_id| {
        let body = ResponseBody::Packet(&FULFILL);
        Response { connection: bob, request_id, body }
    });
    assert_eq!(egress.prepares, VECTOR, "each PREPARE leaves");
    switch.responses(now, &answers, egress);
    switch.drain_records(usize::MAX, drop);
    switch.drain_unrecorded(drop);
    switch.drain_notices(drop);
    switch.drain_changed(|_, view| _ = core::hint::black_box(view));
    while switch.next_deadline_ns().is_some_and(|at| at <= now.mono_ns) {
        switch.tick(now, egress);
    }
    egress.has_room = number % 8 < 6;
    let records = switch.counters().records;
    if number % 16 < 12 {
        switch.durable(ShardId(0), records.saturating_sub(100), egress);
    }
    if egress.has_room {
        switch.room(alice, egress);
    }
}

/// A FULFILL with nothing in it.
static FULFILL: [u8; 35] = {
    let mut packet = [9; 35];
    (packet[0], packet[1], packet[34]) = (13, 33, 0);
    packet
};

#[test]
fn a_warm_switch_allocates_nothing_for_a_packet() {
    for durability in [Durability::Sync, Durability::Async, Durability::None] {
        let config = SwitchConfig {
            rings: Rings::for_slots(4_096),
            in_flight_slots: 4_096,
            sync_grace_ms: 100,
            async_bytes: 64 * 70,
            ..config()
        };
        let wide = Limits {
            balance_max: u64::MAX,
            payable_max: u64::MAX,
            in_flight_packets_max: 1_000_000,
            ..limits()
        };
        let world = World::of(config, &[(USD, wide), (XRP, wide)], &[durability; 2]);
        let mut switch = world.switch;
        let mut egress = Counting { ids: [0; VECTOR], prepares: 0, answers: 0, has_room: true };
        let mut now = world.now;
        let mut rounds = |count: u64, switch: &mut Switch, packet: &[u8]| {
            for number in 0..count {
                // Now and then everything that waits comes to its grace moment.
                now.mono_ns += if number % 100 == 99 { 30_000_000_000 } else { 1_000_000 };
                round(switch, &mut egress, number, packet, now);
            }
        };
        let packet = prepare("test.bob", 10, PREIMAGE, START.utc_ms + 20_000);
        rounds(480, &mut switch, &packet);
        let region = Region::new(ALLOCATOR);
        rounds(480, &mut switch, &packet);
        let change = region.change();
        assert_eq!(
            (change.allocations, change.reallocations),
            (0, 0),
            "{durability:?}: {change:?}"
        );
        let counters = switch.counters();
        assert_eq!(counters.pairs_fulfilled, 960 * VECTOR as u64);
        assert_eq!(counters.fulfills_graced > 0, durability != Durability::None);
    }
}
