//! When a FULFILL goes to its sender: when its record is durable, or as much is at risk as may be, or
//! its time is nearly up, or nothing will ever be durable. Each once, and counted while it waits.

mod support;

use m2_core::ledger::Words;
use m2_core::{
    AccountId, AccountView, ConnectionId, Durability, JournalState, Legs, Limits, Notice,
    Positions, Record, ResponseBody, ShardId, Switch, SwitchConfig, Unrecorded, UnrecordedFulfill,
};
use support::*;

const NONE: Legs = Legs { count: 0, value: 0 };

/// Alice and Bob, both of them that durable; a grace of 100 ms in a margin of 1 s.
fn world(durability: Durability) -> World {
    let config = SwitchConfig { sync_grace_ms: 100, ..config() };
    World::of(config, &[(USD, limits()), (XRP, limits()), (USD, limits())], &[durability; 3])
}

/// A PREPARE of 10 from Alice to Bob, fulfilled: what left by the FULFILL.
fn paid(world: &mut World, request_id: u32) -> Vec<Sent> {
    let (bob, id) = sent(world, request_id);
    world.response(bob, id, ResponseBody::Packet(&fulfill(PREIMAGE)))
}

/// A PREPARE of 10 from Alice to Bob: where it went, and under which id.
fn sent(world: &mut World, request_id: u32) -> (ConnectionId, u32) {
    let link = world.link(ALICE);
    let packet = prepare("test.bob", 10, PREIMAGE, world.now.utc_ms + 10_000);
    match world.request(link, request_id, packet)[..] {
        [Sent::Prepare { to, id, .. }] => (to, id),
        ref other => panic!("not forwarded: {other:?}"),
    }
}

fn answer(to: ConnectionId, id: u32) -> Sent {
    Sent::Answer { to, id, packet: fulfill(PREIMAGE) }
}

fn alice(world: &World) -> AccountView {
    world.switch.account_view(ALICE)
}

fn unrecorded(switch: &mut Switch) -> Vec<UnrecordedFulfill> {
    let mut all = Vec::new();
    switch.drain_unrecorded(|one| all.push(one));
    all
}

fn legs(count: u64, value: u128) -> Legs {
    Legs { count, value }
}

#[test]
fn the_fulfill_of_a_sync_account_waits_until_its_record_is_durable() {
    let mut world = world(Durability::Sync);
    assert_eq!(paid(&mut world, 7), []);
    let view = alice(&world);
    assert_eq!(view.words, Words { balance: 10, ..Words::default() }, "the commit does not wait");
    assert_eq!((view.withheld, view.unrecorded_in), (legs(1, 10), legs(1, 10)));
    assert_eq!((view.in_flight_in, world.switch.in_flight()), (1, 1));
    let bob = world.switch.account_view(BOB);
    assert_eq!((bob.in_flight_out, bob.unrecorded_out), (0, legs(1, 25)));
    assert_eq!((view.unrecorded_out, bob.unrecorded_in), (NONE, NONE));
    let at = |given| Positions { appended: 1, applied: vec![1], given: vec![given] };
    assert_eq!(world.switch.positions(), at(0));

    assert_eq!(world.durable(0), []);
    assert_eq!(world.durable(1), [answer(world.link(ALICE), 7)]);
    let view = alice(&world);
    assert_eq!((view.withheld, view.unrecorded_in), (NONE, NONE));
    assert_eq!((view.in_flight_in, world.switch.in_flight()), (0, 0));
    assert_eq!(world.switch.account_view(BOB).unrecorded_out, NONE);
    assert_eq!(world.switch.positions(), at(1));
    assert_eq!(world.switch.next_deadline_ns(), None);
    assert_eq!(world.durable(1), []);
    assert_eq!(unrecorded(&mut world.switch), []);
}

#[test]
fn what_is_durable_goes_in_order_and_no_further() {
    let mut world = world(Durability::Sync);
    for id in 1..=4 {
        assert_eq!(paid(&mut world, id), []);
    }
    let link = world.link(ALICE);
    assert_eq!(world.durable(3), [1, 2, 3].map(|id| answer(link, id)));
    assert_eq!(world.durable(2), [], "a lower position is no news");
    assert_eq!((alice(&world).withheld, alice(&world).unrecorded_in), (legs(1, 10), legs(1, 10)));
    assert_eq!(world.durable(4), [answer(link, 4)]);
}

#[test]
fn other_records_hold_places_in_the_stream_and_release_nothing() {
    let mut world = world(Durability::Sync);
    world.credit(CAROL, 3);
    assert_eq!(paid(&mut world, 1), []);
    world.credit(CAROL, 3);
    assert_eq!(world.durable(1), []);
    assert_eq!(world.durable(2), [answer(world.link(ALICE), 1)]);
    assert_eq!(world.durable(3), []);
}

#[test]
#[should_panic = "what is durable was appended before"]
fn what_was_not_appended_cannot_be_durable() {
    world(Durability::Sync).durable(1);
}

#[test]
fn at_its_grace_moment_a_fulfill_goes_without_its_record_and_is_listed() {
    let mut world = world(Durability::Sync);
    assert_eq!(paid(&mut world, 7), []);
    // It expires for Alice in 10 s, and for Bob a second before.
    let grace_ns = START.mono_ns + 9_900_000_000;
    world.now.mono_ns = grace_ns - 1;
    assert_eq!(world.tick(), []);
    assert_eq!(world.switch.next_deadline_ns(), Some(grace_ns));
    world.now.mono_ns = grace_ns;
    assert_eq!(world.tick(), [answer(world.link(ALICE), 7)]);
    let listed = UnrecordedFulfill {
        stream: ShardId(0),
        position: 0,
        connection: world.link(ALICE),
        request_id: 7,
        amount: 10,
        condition_head: condition_head(PREIMAGE),
        why: Unrecorded::Grace,
    };
    assert_eq!(unrecorded(&mut world.switch), [listed]);
    assert_eq!(unrecorded(&mut world.switch), [], "once");
    assert_eq!(world.switch.counters().fulfills_graced, 1);
    let view = alice(&world);
    assert_eq!((view.withheld, view.unrecorded_in, view.in_flight_in), (NONE, legs(1, 10), 0));
    assert_eq!(world.switch.positions().given, [1]);
    world.now.mono_ns += 5_000_000_000;
    assert_eq!((world.tick(), world.durable(1)), (vec![], vec![]), "given once");
    assert_eq!(alice(&world).unrecorded_in, NONE);
    assert_eq!(world.switch.next_deadline_ns(), None);
}

#[test]
fn a_fulfill_that_comes_behind_its_grace_moment_does_not_wait_at_all() {
    let config = SwitchConfig { sync_grace_ms: 1_001, ..config() };
    let accounts = [(USD, limits()), (XRP, limits())];
    let mut world = World::of(config, &accounts, &[Durability::Sync; 2]);
    let (bob, id) = sent(&mut world, 7);
    world.now.mono_ns += 8_999_000_000;
    let sent = world.response(bob, id, ResponseBody::Packet(&fulfill(PREIMAGE)));
    assert_eq!(sent, [answer(world.link(ALICE), 7)]);
    assert_eq!(world.switch.counters().fulfills_graced, 1);
    assert_eq!(unrecorded(&mut world.switch).len(), 1);
    assert_eq!(alice(&world).unrecorded_in, legs(1, 10));
    assert_eq!(world.durable(1), []);
    assert_eq!(alice(&world).unrecorded_in, NONE);
}

/// Goal: however many wait, each goes once at its own moment. Method: three hundred packets with
/// expiries in no order, of which some become durable between; the clock goes on by steps.
#[test]
fn many_grace_moments_come_one_by_one() {
    let limits = Limits { in_flight_packets_max: 1_000, ..limits() };
    let config = SwitchConfig { sync_grace_ms: 100, ..config() };
    let mut world = World::of(config, &[(USD, limits), (XRP, limits)], &[Durability::Sync; 2]);
    let link = world.link(ALICE);
    let mut due = std::collections::BTreeMap::new();
    for id in 0..300_u32 {
        let lasts_ms = 3_000 + u64::from(id * 7_919 % 300) * 20;
        let packet = prepare("test.bob", 10, PREIMAGE, world.now.utc_ms + lasts_ms);
        let [Sent::Prepare { to, id: id_out, .. }] = world.request(link, id, packet)[..] else {
            panic!("one PREPARE leaves");
        };
        world.response(to, id_out, ResponseBody::Packet(&fulfill(PREIMAGE)));
        due.insert(id, START.mono_ns + (lasts_ms - 100) * 1_000_000);
    }
    for step in 0..500_u32 {
        world.advance_ms(20);
        let now_ns = world.now.mono_ns;
        let mut given = Vec::new();
        while world.switch.next_deadline_ns().is_some_and(|at| at <= now_ns) {
            given.extend(world.tick());
        }
        let mut wanted: Vec<u32> =
            due.iter().filter(|(_, at)| **at <= now_ns).map(|(id, _)| *id).collect();
        given.sort_by_key(|sent| match sent {
            Sent::Answer { id, .. } => *id,
            Sent::Prepare { .. } => panic!("nothing is asked"),
        });
        assert_eq!(given, wanted.iter().map(|id| answer(link, *id)).collect::<Vec<_>>());
        due.retain(|_, at| *at > now_ns);
        if step % 10 == 0 && step < 250 {
            let position = step / 10 + 1;
            wanted = due.keys().filter(|id| **id < position).copied().collect();
            let given = world.durable(position.into());
            assert_eq!(given, wanted.iter().map(|id| answer(link, *id)).collect::<Vec<_>>());
            due.retain(|id, _| *id >= position);
        }
    }
    assert!(due.is_empty() && world.switch.in_flight() == 0);
}

#[test]
fn when_the_journal_has_failed_all_that_waits_goes_once() {
    let limits = Limits { in_flight_packets_max: 1_000, ..limits() };
    let config = SwitchConfig { sync_grace_ms: 100, ..config() };
    let accounts = [(USD, limits), (XRP, limits), (USD, limits)];
    let mut world = World::of(config, &accounts, &[Durability::Sync; 3]);
    for id in 0..200 {
        assert_eq!(paid(&mut world, id), []);
    }
    let later = sent(&mut world, 200);
    assert_eq!(world.durable(10).len(), 10);
    world.switch.set_journal(JournalState::Failed);
    // 190 are left, and 64 go at a time.
    let mut given = Vec::new();
    for _ in 0..3 {
        assert_eq!(world.switch.next_deadline_ns(), Some(0));
        given.extend(world.tick());
    }
    assert_eq!(world.switch.next_deadline_ns().map(|at| at > 0), Some(true), "one is in flight");
    let link = world.link(ALICE);
    assert_eq!(given, (10..200).map(|id| answer(link, id)).collect::<Vec<_>>());
    assert_eq!(world.switch.counters().fulfills_unrecorded, 190);
    let listed = unrecorded(&mut world.switch);
    assert_eq!(listed.len(), 190);
    assert!(listed.iter().all(|one| one.why == Unrecorded::Failed));
    assert_eq!(listed[0].position, 10);

    let (bob, id) = later;
    let sent = world.response(bob, id, ResponseBody::Packet(&fulfill(PREIMAGE)));
    assert_eq!(sent, [answer(link, 200)], "a packet in flight is fulfilled as ever");
    assert_eq!(unrecorded(&mut world.switch).len(), 1);
    assert_eq!((world.durable(201), world.tick()), (vec![], vec![]));
    let view = alice(&world);
    assert_eq!((view.withheld, view.unrecorded_in), (NONE, legs(191, 1_910)), "for good");
    assert_eq!(world.switch.account_view(BOB).unrecorded_out, legs(191, 191 * 25));
    assert_eq!(world.switch.in_flight(), 0);
    assert_eq!(world.switch.positions().given, [201]);
}

#[test]
fn an_async_fulfill_goes_at_once_while_little_is_at_risk() {
    let config = SwitchConfig { sync_grace_ms: 100, async_bytes: 128, async_ms: 5, ..config() };
    let accounts = [(USD, limits()), (XRP, limits()), (USD, limits())];
    let world = || World::of(SwitchConfig { ..config.clone() }, &accounts, &[Durability::Async; 3]);
    let mut by_bytes = world();
    let link = by_bytes.link(ALICE);
    assert_eq!(paid(&mut by_bytes, 1), [answer(link, 1)]);
    assert_eq!(paid(&mut by_bytes, 2), [answer(link, 2)]);
    assert_eq!(paid(&mut by_bytes, 3), [], "three records are more than 128 bytes");
    let view = alice(&by_bytes);
    assert_eq!((view.unrecorded_in, view.withheld), (legs(3, 30), legs(1, 10)));
    assert_eq!(by_bytes.switch.positions().given, [2]);
    assert_eq!(by_bytes.durable(1), []);
    assert_eq!(by_bytes.durable(3), [answer(link, 3)]);
    assert_eq!(alice(&by_bytes).unrecorded_in, NONE);
    assert_eq!(paid(&mut by_bytes, 4), [answer(link, 4)]);

    let mut by_time = world();
    assert_eq!(paid(&mut by_time, 1), [answer(link, 1)]);
    by_time.now.mono_ns += 4_999_999;
    assert_eq!(paid(&mut by_time, 2), [answer(link, 2)]);
    assert_eq!(by_time.durable(1), []);
    by_time.now.mono_ns += 4_999_999;
    assert_eq!(paid(&mut by_time, 3), [answer(link, 3)], "the second is young enough");
    by_time.now.mono_ns += 1;
    assert_eq!(by_time.durable(2), []);
    by_time.now.mono_ns += 4_999_999;
    assert_eq!(paid(&mut by_time, 4), [], "the third is 5 ms old");
    by_time.now.mono_ns += 9_900_000_000;
    assert_eq!(by_time.tick(), [answer(link, 4)], "it has a grace moment as well");
    assert_eq!(by_time.switch.counters().fulfills_graced, 1);
}

#[test]
fn the_records_of_others_count_as_much_at_risk() {
    let config = SwitchConfig { sync_grace_ms: 100, async_bytes: 128, ..config() };
    let accounts = [(USD, limits()), (XRP, limits()), (USD, limits())];
    let mut world = World::of(config, &accounts, &[Durability::Async; 3]);
    world.credit(CAROL, 1);
    let link = world.link(ALICE);
    assert_eq!(paid(&mut world, 1), [answer(link, 1)]);
    assert_eq!(paid(&mut world, 2), []);
}

#[test]
fn without_durability_there_is_no_record_and_nothing_waits() {
    let mut world = world(Durability::None);
    assert_eq!(paid(&mut world, 1), [answer(world.link(ALICE), 1)]);
    let mut count = 0;
    world.switch.drain_records(usize::MAX, |_: Record| count += 1);
    assert_eq!(count, 0);
    assert_eq!((alice(&world).unrecorded_in, alice(&world).withheld), (NONE, NONE));
    assert_eq!(world.switch.account_view(BOB).unrecorded_out, NONE);
    assert_eq!(world.switch.positions().appended, 0);
    assert_eq!(alice(&world).words.balance, 10);
}

#[test]
fn what_waits_counts_in_flight_and_ends_in_t03() {
    let few = Limits { in_flight_packets_max: 2, ..limits() };
    let accounts = [(USD, few), (XRP, limits())];
    let mut world = World::of(config(), &accounts, &[Durability::Sync; 2]);
    assert_eq!(paid(&mut world, 1), []);
    assert_eq!(paid(&mut world, 2), []);
    assert_eq!((alice(&world).in_flight_in, alice(&world).words.held_in), (2, 0));
    let seen = world.refused(ALICE, usual("test.bob", 10));
    assert_eq!(seen.message, "too many packets in flight from this account.");
    world.durable(1);
    assert_eq!(paid(&mut world, 3), []);
}

#[test]
fn a_connection_that_is_gone_gets_nothing_and_no_newer_one_does() {
    let mut world = world(Durability::Sync);
    assert_eq!(paid(&mut world, 1), []);
    assert_eq!(paid(&mut world, 2), []);
    let old = world.link(ALICE);
    world.switch.link_down(old);
    assert_eq!(world.switch.in_flight(), 2, "they wait on");
    let newer = world.switch.link_up(ALICE);
    assert_eq!(world.durable(1), []);
    world.now.mono_ns += 20_000_000_000;
    assert_eq!(world.tick(), []);
    assert_eq!(world.switch.counters().undelivered_fulfills, 2);
    assert_eq!(world.switch.counters().fulfills_graced, 0, "it was given to nobody");
    assert_eq!(unrecorded(&mut world.switch), []);
    let mut notices = Vec::new();
    world.switch.drain_notices(|notice| notices.push(notice));
    let condition_head = condition_head(PREIMAGE);
    let wanted = [1, 2].map(|request_id| Notice::Undelivered {
        connection: old,
        request_id,
        amount: 10,
        condition_head,
    });
    assert_eq!(notices, wanted);
    let view = alice(&world);
    assert_eq!((view.withheld, view.in_flight_in, view.unrecorded_in), (NONE, 0, legs(1, 10)));
    assert_eq!(view.words.balance, 20, "the commits stand");
    assert_ne!(newer, old);
}

#[test]
fn with_nobody_to_go_to_a_fulfill_does_not_wait() {
    let mut world = world(Durability::Sync);
    let (bob, id) = sent(&mut world, 1);
    world.switch.link_down(world.link(ALICE));
    assert_eq!(world.response(bob, id, ResponseBody::Packet(&fulfill(PREIMAGE))), []);
    assert_eq!(world.switch.counters().undelivered_fulfills, 1);
    assert_eq!((alice(&world).in_flight_in, alice(&world).withheld), (0, NONE));
    assert_eq!(alice(&world).unrecorded_in, legs(1, 10));
    assert_eq!(world.switch.positions().given, [1]);
    assert_eq!(world.durable(1), []);
    assert_eq!(alice(&world).unrecorded_in, NONE);
}

#[test]
fn what_a_slow_disk_lets_go_at_once_waits_for_room_on_its_own_link() {
    let mut world = world(Durability::Sync);
    let carol_asks = |world: &mut World, request_id| {
        let packet = prepare("test.bob", 10, PREIMAGE, world.now.utc_ms + 10_000);
        let link = world.link(CAROL);
        let [Sent::Prepare { to, id, .. }] = world.request(link, request_id, packet)[..] else {
            panic!("one PREPARE leaves");
        };
        world.response(to, id, ResponseBody::Packet(&fulfill(PREIMAGE)));
    };
    for id in 1..=3 {
        assert_eq!(paid(&mut world, id), []);
        carol_asks(&mut world, id);
    }
    let (to_alice, to_carol) = (world.link(ALICE), world.link(CAROL));
    world.egress.full.insert(ALICE);
    assert_eq!(world.durable(5), [1, 2].map(|id| answer(to_carol, id)));
    assert!(world.switch.waits_for_room(to_alice) && !world.switch.waits_for_room(to_carol));
    let view = alice(&world);
    assert_eq!((view.withheld, view.unrecorded_in), (legs(3, 30), NONE));
    assert_eq!((view.in_flight_in, world.switch.in_flight()), (3, 4));
    assert_eq!(world.switch.positions().given, [0], "the first is Alice's");

    let room = |world: &mut World| {
        world.switch.room(to_alice, &mut world.egress);
        std::mem::take(&mut world.egress.sent)
    };
    assert_eq!(room(&mut world), []);
    world.egress.full.clear();
    assert_eq!(world.durable(6), [answer(to_carol, 3)]);
    assert_eq!(room(&mut world), [1, 2, 3].map(|id| answer(to_alice, id)));
    assert_eq!(room(&mut world), []);
    assert_eq!((alice(&world).withheld, world.switch.in_flight()), (NONE, 0));
    assert_eq!(world.switch.positions().given, [6]);
}

#[test]
fn what_waits_for_room_on_a_link_that_is_lost_is_undelivered() {
    for replaced in [false, true] {
        let mut world = world(Durability::Sync);
        let link = world.link(ALICE);
        for id in 1..=2 {
            assert_eq!(paid(&mut world, id), []);
        }
        world.egress.full.insert(ALICE);
        assert_eq!(world.durable(2), []);
        if replaced {
            world.switch.link_up(ALICE);
        } else {
            world.switch.link_down(link);
        }
        world.egress.full.clear();
        world.switch.room(link, &mut world.egress);
        assert_eq!(world.egress.sent, []);
        assert_eq!(world.switch.counters().undelivered_fulfills, 2);
        assert_eq!((alice(&world).withheld, world.switch.in_flight()), (NONE, 0));
        assert_eq!(world.switch.positions().given, [2]);
    }
}

fn two() -> Shards {
    let config = SwitchConfig { sync_grace_ms: 100, ..config() };
    Shards::of(&config, &[(USD, limits()), (XRP, limits())], Durability::Sync)
}

/// A PREPARE of Alice to Bob that Bob has fulfilled; its `Answer` is in the ring.
fn decided(shards: &mut Shards, request_id: u32) {
    let packet = prepare("test.bob", 10, PREIMAGE, shards.now.utc_ms + 10_000);
    shards.request(Shards::link(ALICE), request_id, packet);
    shards.carry_forwards();
    let [Sent::Prepare { id, .. }] = shards.sent()[..] else { panic!("one PREPARE leaves") };
    shards.response(Shards::link(BOB), id, ResponseBody::Packet(&fulfill(PREIMAGE)));
}

fn durable(shards: &mut Shards, at: usize, position: u64) -> Vec<Sent> {
    shards.switches[at].durable(ShardId(1), position, &mut shards.egress[at]);
    shards.sent()
}

#[test]
fn between_shards_a_fulfill_waits_where_its_sender_is() {
    let mut shards = two();
    for id in 1..=3 {
        decided(&mut shards, id);
    }
    let view = |shards: &Shards, of: AccountId| {
        let view = shards.switches[of.0 as usize].account_view(of);
        (view.withheld, view.unrecorded_in, view.unrecorded_out)
    };
    assert_eq!(view(&shards, ALICE), (NONE, NONE, NONE), "its shard has not heard of it");
    assert_eq!(view(&shards, BOB), (NONE, NONE, legs(3, 75)));
    assert_eq!(durable(&mut shards, 1, 1), []);
    assert_eq!(view(&shards, BOB), (NONE, NONE, legs(2, 50)));
    // What is durable may be told before the Answer has come through its ring.
    assert_eq!(durable(&mut shards, 0, 1), []);
    shards.carry_answers();
    let link = Shards::link(ALICE);
    assert_eq!(shards.sent(), [answer(link, 1)]);
    assert_eq!(view(&shards, ALICE), (legs(2, 20), legs(2, 20), NONE));
    let positions = |shards: &Shards| shards.switches[0].positions();
    let at = |given| Positions { appended: 0, applied: vec![0, 3], given: vec![0, given] };
    assert_eq!(positions(&shards), at(1));
    assert_eq!(durable(&mut shards, 0, 3), [2, 3].map(|id| answer(link, id)));
    assert_eq!(view(&shards, ALICE), (NONE, NONE, NONE));
    assert_eq!(positions(&shards), at(3));
    assert_eq!(view(&shards, BOB), (NONE, NONE, legs(2, 50)), "told to each shard by itself");
    assert_eq!(shards.switches[1].positions().applied, [0, 0]);
}

#[test]
fn between_shards_the_grace_moment_is_that_of_the_sender() {
    let mut shards = two();
    decided(&mut shards, 1);
    decided(&mut shards, 2);
    shards.now.mono_ns = START.mono_ns + 9_900_000_000 - 1;
    shards.carry_answers();
    shards.tick();
    assert_eq!(shards.sent(), []);
    decided(&mut shards, 3);
    shards.now.mono_ns += 1;
    shards.tick();
    let link = Shards::link(ALICE);
    assert_eq!(shards.sent(), [1, 2].map(|id| answer(link, id)));
    assert_eq!(shards.switches[0].counters().fulfills_graced, 2);
    let listed = unrecorded(&mut shards.switches[0]);
    let places: Vec<_> = listed.iter().map(|one| (one.stream, one.position)).collect();
    assert_eq!(places, [(ShardId(1), 0), (ShardId(1), 1)]);
    // An Answer that lay in its ring past the grace moment of its packet.
    shards.now.mono_ns += 10_000_000_000;
    shards.carry_answers();
    assert_eq!(shards.sent(), [answer(link, 3)]);
    assert_eq!(shards.switches[0].counters().fulfills_graced, 3);
}

#[test]
fn one_stream_that_is_late_holds_up_no_other() {
    let config = SwitchConfig { sync_grace_ms: 100, ..config() };
    let accounts = [(USD, limits()), (XRP, limits()), (USD, limits())];
    let mut shards = Shards::of(&config, &accounts, Durability::Sync);
    decided(&mut shards, 1);
    let packet = prepare("test.carol", 10, PREIMAGE, shards.now.utc_ms + 10_000);
    shards.request(Shards::link(ALICE), 2, packet);
    shards.carry_forwards();
    let [Sent::Prepare { id, .. }] = shards.sent()[..] else { panic!("one PREPARE leaves") };
    shards.response(Shards::link(CAROL), id, ResponseBody::Packet(&fulfill(PREIMAGE)));
    shards.carry_answers();
    assert_eq!(shards.sent(), []);
    shards.switches[0].durable(ShardId(2), 1, &mut shards.egress[0]);
    assert_eq!(shards.sent(), [answer(Shards::link(ALICE), 2)]);
    assert_eq!(shards.switches[0].positions().given, [0, 0, 1]);
    shards.switches[0].set_journal(JournalState::Failed);
    shards.tick();
    assert_eq!(shards.sent(), [answer(Shards::link(ALICE), 1)]);
}

#[test]
fn a_stream_of_a_shard_that_owns_no_account_is_no_news() {
    let mut world = world(Durability::Sync);
    world.switch.durable(ShardId(9), 5, &mut world.egress);
    let Positions { applied, .. } = world.switch.positions();
    assert_eq!(applied, [0]);
}
