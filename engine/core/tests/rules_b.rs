//! Rules about money that no packet's story shows: limits that change under a hold, sums that no
//! amount has.

mod support;

use m2_codec::ilp::ErrorCode;
use m2_core::ResponseBody;
use m2_core::ledger::Words;
use support::*;

#[test]
fn b18_a_fulfill_in_time_commits_whatever_the_limits_have_become() {
    let mut world = World::new();
    let (bob, id, _) = world.forwarded(ALICE, usual("test.bob", 10));
    for account in [ALICE, BOB] {
        world.switch.set_limits(START, account, 0, 0).unwrap();
    }
    let answer = fulfill(PREIMAGE);
    let sent = world.response(bob, id, ResponseBody::Packet(&answer));
    assert_eq!(sent, [Sent::Answer { to: world.link(ALICE), id: 41, packet: answer }]);
    assert_eq!(world.words()[0], Words { balance: 10, ..Words::default() });
    assert_eq!(world.words()[1], Words { balance: -25, ..Words::default() });
    let seen = world.refused(ALICE, usual("test.bob", 10));
    assert_eq!(seen.code, ErrorCode::T04_INSUFFICIENT_LIQUIDITY);
}

#[test]
fn b19_sums_beyond_64_bits_are_counted_to_the_unit() {
    let wide = m2_core::Limits {
        balance_max: u64::MAX,
        payable_max: u64::MAX,
        packet_amount_max: u64::MAX,
        ..limits()
    };
    let mut world = World::with(config(), &[(USD, wide), (USD, wide)]);
    for round in 1..=3 {
        let (bob, id, _) = world.forwarded(ALICE, usual("test.bob", u64::MAX));
        assert_eq!(world.words()[0].held_in, i128::from(u64::MAX));
        let sent = world.response(bob, id, ResponseBody::Packet(&fulfill(PREIMAGE)));
        assert_eq!(sent.len(), 1);
        // One credit pays the debt, the next is paid ahead and spent by the next packet.
        world.credit(ALICE, u64::MAX);
        world.credit(ALICE, u64::MAX);
        let key = world.new_key();
        world.switch.reverse(START, BOB, key, u64::MAX).unwrap();
        let all = i128::from(u64::MAX);
        assert_eq!(world.words()[0], Words { prepaid: all * round, ..Words::default() });
        assert_eq!(world.words()[1], Words::default());
    }
}
