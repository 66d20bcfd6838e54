//! A packet's way, step by step: what is rewritten, what passes unchanged, who is answered, what is
//! written down, and what an answer that does not count leaves alone.

mod support;

use m2_codec::ilp::{ErrorCode, Fulfill};
use m2_core::ledger::Words;
use m2_core::limits::NOTICES_MAX;
use m2_core::{ConnectionId, Notice, RateLimit, Record, ResponseBody, Switch};
use support::*;

fn records(switch: &mut Switch) -> Vec<Record> {
    let mut records = Vec::new();
    switch.drain_records(usize::MAX, |record| records.push(record));
    records
}

fn notices(switch: &mut Switch) -> Vec<Notice> {
    let mut notices = Vec::new();
    switch.drain_notices(|notice| notices.push(notice));
    notices
}

#[test]
fn a10_forwarding_rewrites_amount_and_expiry_and_not_one_byte_more() {
    let mut world = World::new();
    let before = usual("test.bob.till", 10);
    let (to, _, after) = world.forwarded(ALICE, before.clone());
    assert_eq!(to, world.link(BOB));
    let (seen_in, seen_out) = (read_prepare(&before), read_prepare(&after));
    assert_eq!(seen_out.amount(), 25);
    assert_eq!(seen_out.expires_at_ms(), seen_in.expires_at_ms() - 1_000);
    let start = 2 + usize::from(before[1] == 0x81);
    let same = |i: &usize| before[*i] == after[*i];
    assert!((0..before.len()).filter(|i| !same(i)).all(|i| (start..start + 25).contains(&i)));
    assert_eq!(before.len(), after.len());
}

#[test]
fn a07_bytes_after_a_packet_are_not_passed_on_in_either_direction() {
    let mut world = World::new();
    let whole = usual("test.bob", 10);
    let (bob, id, after) = world.forwarded(ALICE, [&whole[..], b"junk"].concat());
    assert_eq!(after.len(), whole.len());
    let answer = fulfill(PREIMAGE);
    let sent = world.response(bob, id, ResponseBody::Packet(&[&answer[..], b"junk"].concat()));
    assert_eq!(sent, [Sent::Answer { to: world.link(ALICE), id: 41, packet: answer }]);
}

#[test]
fn b03_the_longest_hold_caps_the_expiry() {
    let mut world = World::new();
    let far = prepare("test.bob", 10, PREIMAGE, START.utc_ms + 3_600_000);
    let (_, _, packet) = world.forwarded(ALICE, far);
    assert_eq!(read_prepare(&packet).expires_at_ms(), START.utc_ms + 30_000);
}

#[test]
fn b17_a_fulfilled_pair_moves_both_legs_and_leaves_one_record() {
    let mut world = World::new();
    let (bob, id, _) = world.forwarded(ALICE, usual("test.bob", 10));
    assert_eq!(world.words()[0], Words { held_in: 10, ..Words::default() });
    assert_eq!(world.words()[1], Words { held_out: 25, ..Words::default() });

    let answer = fulfill(PREIMAGE);
    let sent = world.response(bob, id, ResponseBody::Packet(&answer));
    assert_eq!(sent, [Sent::Answer { to: world.link(ALICE), id: 41, packet: answer }]);
    assert_eq!(world.words()[0], Words { balance: 10, ..Words::default() });
    assert_eq!(world.words()[1], Words { balance: -25, ..Words::default() });

    let [Record::Pair(pair)] = records(&mut world.switch)[..] else {
        panic!("one pair, one record");
    };
    assert_eq!((pair.account_in, pair.amount_in), (ALICE, 10));
    assert_eq!((pair.account_out, pair.amount_out), (BOB, 25));
    assert_eq!(pair.decided_at_ms, START.utc_ms);
    assert_eq!(pair.condition_head, m2_core::sha256_of_32(&PREIMAGE)[..16]);
    assert_eq!(pair.rate_version, 1);
}

#[test]
fn b25_a_reject_passes_byte_for_byte_and_leaves_no_record() {
    let mut world = World::new();
    let (bob, id, _) = world.forwarded(ALICE, usual("test.bob", 10));
    let answer = reject(ErrorCode::T02_PEER_BUSY);
    let sent = world.response(bob, id, ResponseBody::Packet(&answer));
    assert_eq!(sent, [Sent::Answer { to: world.link(ALICE), id: 41, packet: answer }]);
    assert_eq!(world.words(), [Words::default(); 3]);
    assert_eq!(records(&mut world.switch), []);
}

#[test]
fn b07_zero_amounts_pass_with_limits_of_zero_and_touch_no_ledger() {
    let mut none = limits();
    (none.balance_max, none.payable_max) = (0, 0);
    let mut world = World::with(config(), &[(USD, none), (XRP, none)]);
    let (bob, id, _) = world.forwarded(ALICE, usual("test.bob", 0));
    assert_eq!(world.words(), [Words::default(); 2]);
    assert_eq!(world.response(bob, id, ResponseBody::Packet(&fulfill(PREIMAGE))).len(), 1);
    assert_eq!(world.words(), [Words::default(); 2]);
    assert_eq!(world.switch.account_view(ALICE).in_flight_in, 0);
}

#[test]
fn b16_two_prepares_under_one_id_are_two_packets() {
    let mut world = World::new();
    let (bob, first, _) = world.forwarded(ALICE, usual("test.bob", 10));
    let (_, second, _) = world.forwarded(ALICE, usual("test.bob", 10));
    assert_ne!(first, second);
    for id in [first, second] {
        assert_eq!(world.response(bob, id, ResponseBody::Packet(&fulfill(PREIMAGE))).len(), 1);
    }
    assert_eq!(world.words()[0].balance, 20);
    assert_eq!(world.words()[1].balance, -50);
}

#[test]
fn c06_an_answer_counts_only_on_the_connection_that_its_prepare_left_on() {
    let mut world = World::new();
    let (bob, id, _) = world.forwarded(ALICE, usual("test.bob", 10));
    let before = world.words();
    let good = fulfill(PREIMAGE);
    assert_eq!(world.response(world.link(CAROL), id, ResponseBody::Packet(&good)), []);
    let newer = world.switch.link_up(BOB);
    assert_eq!(world.response(newer, id, ResponseBody::Packet(&good)), []);
    assert_eq!(world.words(), before);
    assert_eq!(world.switch.counters().answers_foreign, 2);
    // The old connection's answer, read before the loss, still counts.
    assert_eq!(world.response(bob, id, ResponseBody::Packet(&good)).len(), 1);
}

#[test]
fn c11_an_answer_to_nothing_is_counted_and_changes_nothing() {
    let mut world = World::new();
    let (bob, id, _) = world.forwarded(ALICE, usual("test.bob", 10));
    let before = world.words();
    assert_eq!(world.response(bob, id ^ (1 << 31), ResponseBody::Packet(&fulfill(PREIMAGE))), []);
    assert_eq!(world.words(), before);
    assert_eq!(world.switch.counters().answers_unknown, 1);
}

#[test]
fn a_second_answer_changes_nothing_and_reaches_nobody() {
    for first in [fulfill(PREIMAGE), reject(ErrorCode::F99_APPLICATION_ERROR)] {
        let mut world = World::new();
        let (bob, id, _) = world.forwarded(ALICE, usual("test.bob", 10));
        assert_eq!(world.response(bob, id, ResponseBody::Packet(&first)).len(), 1);
        let after = world.words();
        let bad = reject(ErrorCode::F99_APPLICATION_ERROR);
        assert_eq!(world.response(bob, id, ResponseBody::Packet(&bad)), []);
        assert_eq!(world.response(bob, id, ResponseBody::Packet(&first)), []);
        assert_eq!(world.words(), after);
        assert_eq!(world.switch.counters().answers_duplicate, 2);
    }
}

#[test]
fn b06_a_late_fulfill_moves_nothing_and_is_evidence_once() {
    let mut world = World::new();
    let before = world.words();
    let (bob, id, _) = world.forwarded(ALICE, usual("test.bob", 10));
    world.advance_ms(9_000);
    assert_eq!(world.tick().len(), 1);
    assert_eq!(world.response(bob, id, ResponseBody::Packet(&fulfill([8; 32]))), []);
    for _ in 0..2 {
        assert_eq!(world.response(bob, id, ResponseBody::Packet(&fulfill(PREIMAGE))), []);
    }
    assert_eq!(world.words(), before);
    let [Record::LateFulfill(late)] = records(&mut world.switch)[..] else {
        panic!("evidence is recorded once");
    };
    assert_eq!((late.connection, late.request_id, late.fulfillment), (bob, id, PREIMAGE));
    assert_eq!(
        notices(&mut world.switch),
        [Notice::LateFulfill { evidence: late, recorded: true }]
    );
    assert_eq!(world.switch.counters().late_fulfills, 1);
    assert_eq!(world.switch.counters().answers_duplicate, 2);
}

#[test]
fn b05_a_fulfill_at_the_very_deadline_is_late_though_no_tick_came_before() {
    let mut world = World::new();
    let before = world.words();
    let (bob, id, _) = world.forwarded(ALICE, usual("test.bob", 10));
    world.advance_ms(9_000);
    let sent = world.response(bob, id, ResponseBody::Packet(&fulfill(PREIMAGE)));
    let seen = only_reject(&sent, world.link(ALICE), 41);
    assert_eq!(seen.code, ErrorCode::R00_TRANSFER_TIMED_OUT);
    assert_eq!(world.words(), before);
    assert_eq!(world.switch.counters().late_fulfills, 1);
    assert_eq!(world.tick(), []);
}

#[test]
fn a_late_fulfill_that_finds_no_free_record_is_told_to_the_log() {
    let mut config = config();
    config.rings.records = 1;
    let mut world = World::with(config, &[(USD, limits()), (XRP, limits())]);
    let (bob, late, _) = world.forwarded(ALICE, usual("test.bob", 10));
    world.advance_ms(9_000);
    let _ = world.tick();
    let link = world.link(ALICE);
    let now = world.now.utc_ms;
    let sent = world.request(link, 1, prepare("test.bob", 10, PREIMAGE, now + 5_000));
    assert!(matches!(sent[..], [Sent::Prepare { .. }]), "it takes the only record");
    assert_eq!(world.response(bob, late, ResponseBody::Packet(&fulfill(PREIMAGE))), []);
    assert!(matches!(
        notices(&mut world.switch)[..],
        [Notice::LateFulfill { recorded: false, .. }]
    ));
    assert_eq!(world.switch.counters().late_fulfills_unrecorded, 1);
}

#[test]
fn a_step_of_the_wall_clock_changes_no_packet_in_flight() {
    for step_ms in [-86_400_000_i64, 86_400_000] {
        let mut world = World::new();
        let (bob, id, _) = world.forwarded(ALICE, usual("test.bob", 10));
        world.now.utc_ms = world.now.utc_ms.checked_add_signed(step_ms).unwrap();
        assert_eq!(world.tick(), []);
        world.advance_ms(8_999);
        assert_eq!(world.tick(), []);
        assert_eq!(world.response(bob, id, ResponseBody::Packet(&fulfill(PREIMAGE))).len(), 1);
        assert_eq!(world.words()[0].balance, 10);
    }
}

#[test]
fn c16_a_lost_link_decides_nothing_and_the_packet_waits_for_its_expiry() {
    let mut world = World::new();
    let (bob, _, _) = world.forwarded(ALICE, usual("test.bob", 10));
    world.switch.link_down(bob);
    assert_eq!(world.words()[0].held_in, 10);
    assert_eq!(world.words()[1].held_out, 25);
    world.advance_ms(9_000);
    let sent = world.tick();
    let seen = only_reject(&sent, world.link(ALICE), 41);
    assert_eq!(seen.code, ErrorCode::R00_TRANSFER_TIMED_OUT);
    assert_eq!(world.words(), [Words::default(); 3]);
}

#[test]
fn an_answer_for_a_lost_sender_commits_is_listed_and_goes_to_no_newer_connection() {
    let mut world = World::new();
    let (bob, id, _) = world.forwarded(ALICE, usual("test.bob", 10));
    let old = world.link(ALICE);
    world.switch.link_down(old);
    let newer = world.switch.link_up(ALICE);
    assert_ne!(newer, old);
    assert_eq!(world.response(bob, id, ResponseBody::Packet(&fulfill(PREIMAGE))), []);
    assert_eq!(world.words()[0].balance, 10);
    assert_eq!(world.words()[1].balance, -25);
    let condition_head = condition_head(PREIMAGE);
    let undelivered =
        Notice::Undelivered { connection: old, request_id: 41, amount: 10, condition_head };
    assert_eq!(notices(&mut world.switch), [undelivered]);
    assert_eq!(world.switch.counters().undelivered_fulfills, 1);
}

#[test]
fn notices_that_nobody_takes_are_counted_once_there_is_no_room_for_more() {
    let mut world = World::new();
    let mut alice = world.link(ALICE);
    for _ in 0..NOTICES_MAX + 2 {
        let sent = world.request(alice, 41, usual("test.bob", 10));
        let [Sent::Prepare { to, id, .. }] = sent[..] else { panic!("not forwarded: {sent:?}") };
        alice = world.switch.link_up(ALICE);
        assert_eq!(world.response(to, id, ResponseBody::Packet(&fulfill(PREIMAGE))), []);
        let _ = records(&mut world.switch);
    }
    assert_eq!(notices(&mut world.switch).len(), NOTICES_MAX);
    assert_eq!(world.switch.counters().notices_lost, 2);
    assert_eq!(world.switch.counters().undelivered_fulfills, NOTICES_MAX as u64 + 2);
}

/// Alice may come to owe `balance_max`, and owes 10.
fn alice_owes_ten(balance_max: u64) -> World {
    let mut limits = [limits(); 3];
    limits[0].balance_max = balance_max;
    let accounts: Vec<_> = [USD, XRP, USD].into_iter().zip(limits).collect();
    let mut world = World::with(config(), &accounts);
    let (bob, id, _) = world.forwarded(ALICE, usual("test.bob", 10));
    let _ = world.response(bob, id, ResponseBody::Packet(&fulfill(PREIMAGE)));
    let _ = notices(&mut world.switch);
    world
}

fn refused_for_credit(world: &mut World, amount: u64) {
    let packet = prepare("test.bob", amount, PREIMAGE, world.now.utc_ms + 10_000);
    let refused = world.refused(ALICE, packet);
    assert_eq!(refused.message, "exceeded maximum balance.");
}

#[test]
fn used_up_credit_is_told_once_a_second_however_many_packets_are_refused() {
    let mut world = alice_owes_ten(15);
    let _ = world.forwarded(ALICE, usual("test.bob", 2));
    assert_eq!(notices(&mut world.switch), [], "there is credit");
    let told = |amount| Notice::CreditExhausted {
        account: ALICE,
        amount,
        owed: 10,
        held_in: 2,
        balance_max: 15,
    };
    for amount in 4..100 {
        refused_for_credit(&mut world, amount);
    }
    assert_eq!(notices(&mut world.switch), [told(4)]);
    world.advance_ms(999);
    refused_for_credit(&mut world, 5);
    assert_eq!(notices(&mut world.switch), []);
    world.advance_ms(1);
    refused_for_credit(&mut world, 6);
    refused_for_credit(&mut world, 7);
    assert_eq!(notices(&mut world.switch), [told(6)]);
    assert_eq!(world.switch.counters().notices_lost, 0);
}

#[test]
fn an_account_without_credit_has_none_to_use_up() {
    let mut world = alice_owes_ten(10);
    world.switch.set_limits(world.now, ALICE, 0, 0).unwrap();
    refused_for_credit(&mut world, 1);
    assert_eq!(notices(&mut world.switch), []);
    world.switch.set_limits(world.now, ALICE, 1, 0).unwrap();
    refused_for_credit(&mut world, 1);
    assert_eq!(notices(&mut world.switch).len(), 1);
}

#[test]
fn used_up_credit_leaves_room_for_evidence() {
    let mut world = alice_owes_ten(10);
    for _ in 0..NOTICES_MAX {
        refused_for_credit(&mut world, 1);
        world.advance_ms(1_000);
    }
    assert_eq!(notices(&mut world.switch).len(), NOTICES_MAX / 2);
    assert_eq!(world.switch.counters().notices_lost, 0);
    // What found no room is told as soon as there is some.
    refused_for_credit(&mut world, 1);
    assert_eq!(notices(&mut world.switch).len(), 1);
}

#[test]
fn requests_of_a_replaced_connection_are_not_taken() {
    let mut world = World::new();
    let old = world.link(ALICE);
    let newer = world.switch.link_up(ALICE);
    assert_eq!(world.request(old, 1, usual("test.bob", 10)), []);
    assert_eq!(world.switch.counters().requests_stale, 1);
    assert_eq!(world.words(), [Words::default(); 3]);
    assert_eq!(world.request(newer, 1, usual("test.bob", 10)).len(), 1);
    // The old one going down later must not take the newer one with it.
    world.switch.link_down(old);
    assert!(world.switch.account_view(ALICE).connected);
}

#[test]
fn unsent_is_heeded_once_and_only_for_what_is_in_flight_there() {
    let mut world = World::new();
    let (bob, id, _) = world.forwarded(ALICE, usual("test.bob", 10));
    let alice = world.link(ALICE);
    let mut unsent = |connection: ConnectionId, id| {
        world.switch.unsent(world.now, connection, id, &mut world.egress);
        std::mem::take(&mut world.egress.sent).len()
    };
    assert_eq!(unsent(alice, id), 0);
    assert_eq!(unsent(bob, id ^ (1 << 31)), 0);
    assert_eq!(unsent(bob, id), 1);
    assert_eq!(unsent(bob, id), 0);
    assert_eq!(world.words(), [Words::default(); 3]);
}

#[test]
fn b31_a_child_is_told_its_address_and_asset() {
    let mut world = World::new();
    let packet = prepare_with_data("peer.config", 0, [0; 32], START.utc_ms + 10_000, b"");
    let sent = world.request(world.link(BOB), 3, packet);
    let [Sent::Answer { id: 3, packet, .. }] = &sent[..] else { panic!("{sent:?}") };
    let fulfill = Fulfill::new_checked(packet).unwrap();
    assert_eq!(fulfill.fulfillment(), &[0; 32]);
    assert_eq!(fulfill.data(), b"\x0ctest.m2m.bob\x06\x03XRP");
    assert_eq!(world.switch.counters().own_fulfills, 1);
}

#[test]
fn b27_an_echo_is_an_ordinary_pair_that_may_go_back_to_its_sender() {
    let mut world = World::new();
    let data = [&b"ECHOECHOECHOECHO\0\x0a"[..], b"test.alice"].concat();
    let request = prepare_with_data(OWN_ADDRESS, 10, PREIMAGE, START.utc_ms + 10_000, &data);
    let (to, id, packet) = world.forwarded(ALICE, request);
    assert_eq!(to, world.link(ALICE));
    let echo = read_prepare(&packet);
    assert_eq!(echo.destination(), b"test.alice");
    assert_eq!(echo.data(), b"ECHOECHOECHOECHO\x01");
    assert_eq!(echo.amount(), 10);
    assert_eq!(echo.condition(), &m2_core::sha256_of_32(&PREIMAGE));
    assert_eq!(echo.expires_at_ms(), START.utc_ms + 9_000);
    assert_eq!(world.words()[0], Words { held_in: 10, held_out: 10, ..Words::default() });
    assert_eq!(world.response(to, id, ResponseBody::Packet(&fulfill(PREIMAGE))).len(), 1);
    assert_eq!(world.words()[0], Words::default(), "what it paid it got");
}

#[test]
fn an_echo_between_two_forwards_of_one_vector_mixes_nothing_up() {
    let mut world = World::new();
    let data = [&b"ECHOECHOECHOECHO\0\x0a"[..], b"test.carol"].concat();
    let expiry = START.utc_ms + 10_000;
    let packets = [
        prepare("test.bob", 2, [1; 32], expiry),
        prepare_with_data(OWN_ADDRESS, 4, [2; 32], expiry, &data),
        prepare_with_data(OWN_ADDRESS, 6, [3; 32], expiry, b"no echo"),
        prepare_with_data(OWN_ADDRESS, 8, [4; 32], expiry, &data),
        prepare("test.bob", 10, [5; 32], expiry),
    ];
    let link = world.link(ALICE);
    let batch: Vec<_> = (0..)
        .zip(&packets)
        .map(|(request_id, packet)| m2_core::Request { connection: link, request_id, packet })
        .collect();
    world.switch.requests(START, &batch, &mut world.egress);
    let seen = world.egress.sent.iter().filter_map(|sent| match sent {
        Sent::Prepare { packet, .. } => {
            let prepare = read_prepare(packet);
            let to = String::from_utf8(prepare.destination().to_vec()).unwrap();
            Some((to, prepare.amount(), *prepare.condition()))
        }
        Sent::Answer { .. } => None,
    });
    let lock = |byte| m2_core::sha256_of_32(&[byte; 32]);
    let wanted =
        [("test.bob", 5, 1), ("test.carol", 4, 2), ("test.carol", 8, 4), ("test.bob", 25, 5)];
    let wanted = wanted.map(|(to, amount, byte)| (to.to_owned(), amount, lock(byte)));
    assert_eq!(seen.collect::<Vec<_>>(), wanted);
}

#[test]
fn what_rounding_keeps_is_counted_to_the_part() {
    let mut world = World::new();
    let bob = world.link(BOB);
    // 2/5 of 9 is 3 and 3/5.
    for id in 0..2 {
        let sent = world.request(bob, id, usual("test.alice", 9));
        let [Sent::Prepare { to, id, .. }] = sent[..] else { panic!("{sent:?}") };
        let _ = world.response(to, id, ResponseBody::Packet(&fulfill(PREIMAGE)));
    }
    let total = world.switch.pair_total(XRP, USD);
    assert_eq!((total.amount_in, total.amount_out), (18, 6));
    assert_eq!(total.remainder_whole, 1);
    assert_eq!(total.remainder_num * 5, u128::from(total.remainder_den));
}

#[test]
fn packets_converted_before_a_change_of_rates_keep_their_amounts() {
    let mut world = World::new();
    let (bob, first, _) = world.forwarded(ALICE, usual("test.bob", 11));
    world.switch.set_rates(rates(2));
    let (_, second, _) = world.forwarded(ALICE, usual("test.bob", 11));
    for (id, wanted) in [(first, (27, 1)), (second, (38, 2))] {
        let _ = world.response(bob, id, ResponseBody::Packet(&fulfill(PREIMAGE)));
        let [Record::Pair(pair)] = records(&mut world.switch)[..] else { panic!("one record") };
        assert_eq!((pair.amount_out, pair.rate_version), wanted);
    }
    // Half a unit was kept of each.
    let total = world.switch.pair_total(USD, XRP);
    assert_eq!((total.amount_in, total.amount_out), (22, 65));
    assert_eq!((total.remainder_num, total.remainder_den), (1, 2));
}

#[test]
fn a_request_of_a_replaced_connection_costs_the_newer_one_nothing() {
    let one = RateLimit { per_s: 1, burst: 1 };
    let limits = m2_core::Limits { packets: Some(one), ..limits() };
    let mut world = World::with(config(), &[(USD, limits), (XRP, limits)]);
    let old = world.link(ALICE);
    let new = world.switch.link_up(ALICE);
    assert_eq!(world.request(old, 1, usual("test.bob", 10)), []);
    let sent = world.request(new, 1, usual("test.bob", 10));
    assert!(matches!(sent[..], [Sent::Prepare { .. }]), "{sent:?}");
}

#[test]
fn what_old_rates_rounded_off_is_folded_when_their_last_packet_has_ended() {
    let mut world = World::new();
    let bob = world.link(BOB);
    // 2/5 of 9 is 3 and 3/5: three of them keep 1 and 4/5.
    let ids: Vec<(ConnectionId, u32)> = (0..3)
        .map(|id| match world.request(bob, id, usual("test.alice", 9))[..] {
            [Sent::Prepare { to, id, .. }] => (to, id),
            ref sent => panic!("not forwarded: {sent:?}"),
        })
        .collect();
    world.switch.set_rates(rates(2));
    world.switch.set_rates(rates(3));
    for (ended, (to, id)) in (1..).zip(ids) {
        let total = world.switch.pair_total(XRP, USD);
        assert_eq!(total.fractions_dropped, 0, "{ended} of three had not ended");
        let _ = world.response(to, id, ResponseBody::Packet(&fulfill(PREIMAGE)));
    }
    let total = world.switch.pair_total(XRP, USD);
    assert_eq!((total.amount_in, total.amount_out), (27, 9));
    assert_eq!((total.remainder_whole, total.remainder_num, total.fractions_dropped), (1, 0, 1));
    // Nothing was rounded off the other way, in any of the snapshots.
    assert_eq!(world.switch.pair_total(USD, XRP).fractions_dropped, 0);
}

#[test]
fn one_tick_ends_as_many_as_a_vector_has_and_the_next_goes_on() {
    let limits = m2_core::Limits { in_flight_packets_max: 1_000, ..limits() };
    let mut world = World::with(config(), &[(USD, limits), (XRP, limits)]);
    for _ in 0..300 {
        world.forwarded(ALICE, usual("test.bob", 10));
    }
    world.advance_ms(9_000);
    let mut ended = Vec::new();
    while world.switch.next_deadline_ns().is_some_and(|at| at <= world.now.mono_ns) {
        world.switch.tick(world.now, &mut world.egress);
        ended.push(std::mem::take(&mut world.egress.sent).len());
    }
    assert_eq!(ended, [64, 64, 64, 64, 44]);
    assert_eq!(world.words(), [Words::default(); 2]);
}

#[test]
fn an_answer_in_time_counts_though_a_thousand_others_expire_first() {
    let limits = m2_core::Limits { in_flight_packets_max: 1_000, ..limits() };
    let mut world = World::with(config(), &[(USD, limits), (XRP, limits)]);
    for _ in 0..300 {
        world.forwarded(ALICE, usual("test.bob", 0));
    }
    let later = prepare("test.bob", 10, PREIMAGE, START.utc_ms + 10_001);
    let (bob, id, _) = world.forwarded(ALICE, later);
    world.advance_ms(9_000);
    world.switch.tick(world.now, &mut world.egress);
    world.egress.sent.clear();
    let sent = world.response(bob, id, ResponseBody::Packet(&fulfill(PREIMAGE)));
    assert_eq!(sent.len(), 1);
    assert_eq!(world.words()[0].balance, 10);
}
