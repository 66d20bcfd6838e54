//! Every counter counts what its name says, and by one; identities are asserted one by one; a few
//! sums that only an edge shows.
//!
//! Each test here was written for a change of the code that no other test noticed.

mod support;

use m2_codec::ilp::ErrorCode;
use m2_core::ledger::{Ledger, PastLimit, Words};
use m2_core::limits::{BATCH_MAX, IN_FLIGHT_SLOTS_DEFAULT, in_flight_packets_default};
use m2_core::rates::{ConversionError, RateError};
use m2_core::routes::RouteError;
use m2_core::{
    AccountCounters, AccountId, Asset, AssetIndex, ConnectionId, PairTotal, RateEntry, Rates,
    Refusal, ResponseBody, Rings, Routes,
};
use support::*;

fn counters(world: &World, account: AccountId) -> AccountCounters {
    world.switch.account_view(account).counters
}

/// A PREPARE of 10 from Alice to Bob that has left, and what Bob is told of it.
fn sent(world: &mut World) -> (ConnectionId, u32) {
    let packet = prepare("test.bob", 10, PREIMAGE, world.now.utc_ms + 10_000);
    let (bob, id, _) = world.forwarded(ALICE, packet);
    (bob, id)
}

/// What Alice and Bob have when a packet between them has been sent.
fn asked() -> (AccountCounters, AccountCounters) {
    let alice = AccountCounters { requests_in: 1, ..AccountCounters::default() };
    (alice, AccountCounters { prepares_out: 1, ..AccountCounters::default() })
}

fn assert_counted(world: &World, alice: AccountCounters, bob: AccountCounters) {
    assert_eq!(counters(world, ALICE), alice);
    assert_eq!(counters(world, BOB), bob);
    let in_flight = |account| {
        let view = world.switch.account_view(account);
        (view.in_flight_in, view.in_flight_out)
    };
    assert_eq!((in_flight(ALICE), in_flight(BOB)), ((0, 0), (0, 0)));
}

#[test]
fn a_fulfilled_packet_is_counted_on_both_sides() {
    let mut world = World::new();
    let (bob, id) = sent(&mut world);
    world.response(bob, id, ResponseBody::Packet(&fulfill(PREIMAGE)));
    let (alice, bob) = asked();
    assert_counted(
        &world,
        AccountCounters { fulfills_out: 1, amount_fulfilled_in: 10, ..alice },
        AccountCounters { fulfills_in: 1, amount_fulfilled_out: 25, ..bob },
    );
    assert_eq!(world.switch.counters().pairs_fulfilled, 1);
    let moved =
        PairTotal { amount_in: 10, amount_out: 25, remainder_den: 2, ..PairTotal::default() };
    assert_eq!(world.switch.pair_total(USD, XRP), moved);
    world.switch.drain_records(usize::MAX, |_| ());
    assert_eq!(world.switch.counters().records, 1);
}

#[test]
fn a_rejected_packet_is_counted_on_both_sides() {
    let mut world = World::new();
    let (bob, id) = sent(&mut world);
    let bytes = reject(ErrorCode::F99_APPLICATION_ERROR);
    world.response(bob, id, ResponseBody::Packet(&bytes));
    let (alice, bob) = asked();
    assert_counted(
        &world,
        AccountCounters { rejects_out: 1, ..alice },
        AccountCounters { rejects_in: 1, ..bob },
    );
}

#[test]
fn only_a_wrong_fulfillment_is_counted_as_one() {
    for (bytes, count) in [(fulfill([1; 32]), 1), (vec![13, 5], 0)] {
        let mut world = World::new();
        let (bob, id) = sent(&mut world);
        world.response(bob, id, ResponseBody::Packet(&bytes));
        let (alice, bob) = asked();
        assert_counted(
            &world,
            AccountCounters { rejects_out: 1, ..alice },
            AccountCounters { wrong_fulfillments: count, ..bob },
        );
    }
}

#[test]
fn a_packet_that_expires_is_counted_however_that_is_found() {
    type Find = fn(&mut World, ConnectionId, u32);
    let ways: [(Find, u64, u64); 3] = [
        (|world, _, _| drop(world.tick()), 0, 0),
        (
            |world, bob, id| {
                world.response(bob, id, ResponseBody::Packet(&fulfill(PREIMAGE)));
            },
            1,
            0,
        ),
        (
            |world, bob, id| {
                world.switch.unsent(world.now, bob, id, &mut world.egress);
            },
            0,
            0,
        ),
    ];
    for (find, late_fulfills, unmatched_answers) in ways {
        let mut world = World::new();
        let (bob, id) = sent(&mut world);
        world.advance_ms(9_000);
        find(&mut world, bob, id);
        let (alice, bob) = asked();
        assert_counted(
            &world,
            AccountCounters { rejects_out: 1, ..alice },
            AccountCounters { expired: 1, late_fulfills, unmatched_answers, ..bob },
        );
    }
}

#[test]
fn answers_that_fit_no_packet_are_counted_by_why() {
    let mut world = World::new();
    let (bob, id) = sent(&mut world);
    let carol = world.link(CAROL);
    world.response(carol, id, ResponseBody::Empty);
    world.response(bob, id ^ 1, ResponseBody::Empty);
    world.response(bob, id, ResponseBody::Packet(&fulfill(PREIMAGE)));
    world.response(bob, id, ResponseBody::Packet(&fulfill(PREIMAGE)));
    assert_eq!(counters(&world, CAROL).unmatched_answers, 1);
    assert_eq!(counters(&world, BOB).unmatched_answers, 2);
    let all = world.switch.counters();
    let seen = (all.answers_foreign, all.answers_unknown, all.answers_duplicate);
    assert_eq!(seen, (1, 1, 1));
}

#[test]
fn a_fulfill_that_its_sender_never_gets_is_counted_for_it() {
    let mut world = World::new();
    let (bob, id) = sent(&mut world);
    world.switch.link_down(world.link(ALICE));
    world.response(bob, id, ResponseBody::Packet(&fulfill(PREIMAGE)));
    let alice = counters(&world, ALICE);
    assert_eq!((alice.fulfills_out, alice.undelivered_fulfills), (1, 1));
    assert_eq!(world.switch.counters().undelivered_fulfills, 1);
}

#[test]
fn only_a_fulfilled_answer_between_shards_says_so() {
    for (bytes, is_fulfilled) in
        [(fulfill(PREIMAGE), true), (reject(ErrorCode::F99_APPLICATION_ERROR), false)]
    {
        let mut shards = Shards::new(&config(), &[(USD, limits()), (XRP, limits())]);
        shards.request(Shards::link(ALICE), 41, usual("test.bob", 10));
        shards.carry_forwards();
        let [Sent::Prepare { id, .. }] = shards.sent()[..] else { panic!("one PREPARE leaves") };
        shards.response(Shards::link(BOB), id, ResponseBody::Packet(&bytes));
        let (_, answer, _) = &shards.egress[1].answers[0];
        assert_eq!(answer.is_fulfilled(), is_fulfilled);
    }
}

fn two_ledgers_of_one_account() -> (Ledger, Ledger) {
    let ledger = || Ledger::new(ALICE, 10, 10);
    (ledger(), ledger())
}

#[test]
#[should_panic = "held, frozen and prepaid are sums"]
fn less_than_nothing_held_in_is_no_sum() {
    let (mut one, mut other) = two_ledgers_of_one_account();
    let hold = one.hold_in(4);
    other.release_in(hold);
}

#[test]
#[should_panic = "held, frozen and prepaid are sums"]
fn less_than_nothing_held_out_is_no_sum() {
    let (mut one, mut other) = two_ledgers_of_one_account();
    let hold = one.hold_out(4);
    other.release_out(hold);
}

#[test]
#[should_panic = "held, frozen and prepaid are sums"]
fn less_than_nothing_frozen_is_no_sum() {
    let (mut one, mut other) = two_ledgers_of_one_account();
    let hold = one.hold_out(4);
    one.commit_out(hold);
    let frozen = one.freeze(4, 0).expect("it owes as much");
    other.settled(frozen);
}

#[test]
fn a_position_is_what_is_left_when_all_is_settled() {
    let words = Words { balance: -50, prepaid: 3, frozen: 20, held_in: 7, held_out: 9 };
    assert_eq!(words.position(), -73);
}

#[test]
fn changed_limits_bind_from_the_next_hold_on() {
    let mut ledger = Ledger::new(ALICE, 10, 10);
    ledger.set_limits(3, 4);
    assert_eq!((ledger.check_hold_in(3), ledger.check_hold_in(4)), (Ok(()), Err(PastLimit)));
    assert_eq!((ledger.check_hold_out(4), ledger.check_hold_out(5)), (Ok(()), Err(PastLimit)));
}

#[test]
fn an_account_gets_its_share_of_the_slots_four_times_over() {
    assert_eq!(in_flight_packets_default(IN_FLIGHT_SLOTS_DEFAULT, 1), 4 << 20);
    assert_eq!(in_flight_packets_default(1_000_000, 10), 400_000);
    assert_eq!(in_flight_packets_default(1_000, 1_000), 1_000);
    assert_eq!(in_flight_packets_default(u32::MAX, 0), u32::MAX);
}

#[test]
fn the_largest_amount_that_converts_is_the_last_whose_worth_fits() {
    let assets = ["A", "B"].map(|code| Asset { code: code.into(), scale: 0 });
    let (from, to) = (AssetIndex(0), AssetIndex(1));
    let double = RateEntry { from, to, num: 2, den: 1, spread_ppm: 0 };
    let rates = Rates::build(1, &assets, &[double]).unwrap();
    let maximum = (1 << 63) - 1;
    assert_eq!(rates.convert(from, to, maximum), Ok(u64::MAX - 1));
    let too_large = Err(ConversionError::TooLarge { maximum });
    assert_eq!(rates.convert(from, to, maximum + 1), too_large);
}

#[test]
fn prefixes_that_an_entry_has_no_room_for_are_compared_whole() {
    let long = |last: &str| format!("test.{}.{last}", "a".repeat(60));
    let names = [long("x"), long("y"), format!("{}.{}", long("y"), "b".repeat(70))];
    let prefixes = (0..).zip(&names).map(|(id, name)| (name.parse().unwrap(), AccountId(id)));
    let routes = Routes::build(7, prefixes).unwrap();
    for (id, name) in (0..).zip(&names) {
        assert_eq!(routes.next_hop(name.as_bytes()), Some(AccountId(id)), "{name}");
        assert_eq!(routes.next_hop(format!("{name}.till").as_bytes()), Some(AccountId(id)));
    }
    assert_eq!(routes.next_hop(long("z").as_bytes()), None);
}

#[test]
fn names_and_errors_are_told_in_their_own_words() {
    assert_eq!(Refusal::NoRoute.name(), "NoRoute");
    assert_eq!(Refusal::CreditExhausted.name(), "CreditExhausted");
    use RateError::{DoesNotFit, Duplicate, SameCode, Spread, UnknownAsset, Zero};
    let mut sentences: Vec<String> = [UnknownAsset, Duplicate, Zero, Spread, SameCode, DoesNotFit]
        .map(|error| error.to_string())
        .into();
    sentences.extend([RouteError::Duplicate, RouteError::TooDeep].map(|error| error.to_string()));
    for (index, sentence) in sentences.iter().enumerate() {
        assert!(sentence.contains(' ') && !sentences[..index].contains(sentence), "{sentence:?}");
    }
}

#[test]
fn rings_for_slots_have_a_place_for_each_packet_and_two_for_its_records() {
    for slots in [1, 64, 1_024] {
        let rings = Rings::for_slots(slots);
        let in_flight = slots as usize + BATCH_MAX;
        assert_eq!(
            (rings.forwards, rings.answers, rings.records),
            (BATCH_MAX, in_flight, in_flight + in_flight)
        );
    }
}
