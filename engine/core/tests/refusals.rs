//! Every refusal of the core, by name: what brings it about, its code, its text, its data; that it
//! moves no money and takes nothing that a later packet needs.

mod support;

use m2_codec::ilp::ErrorCode;
use m2_core::{
    Durability, JournalState, Limits, Network, RateLimit, Refusal, Relation, ResponseBody,
    SwitchConfig, sha256_of_32,
};
use support::*;

/// The refusals that have a test below; compared with the list of all at the end.
const TESTED: &[&str] = &[
    "PacketRate",
    "InvalidPacket",
    "ExpiredOnArrival",
    "OwnAnswerRate",
    "PeerProtocolUnknown",
    "PeerProtocolAmount",
    "PeerProtocolCondition",
    "NotAChild",
    "OwnAddress",
    "InvalidEcho",
    "SchemeNotServed",
    "PacketAmount",
    "NoRoute",
    "BackToSender",
    "NoRate",
    "ConvertedTooSmall",
    "ConvertedTooLarge",
    "ExpiryTooShort",
    "Draining",
    "JournalUnavailable",
    "CountInFull",
    "ValueInFull",
    "ForwardRingFull",
    "AnswerRingFull",
    "CreditExhausted",
    "MoneyRate",
    "TimedOutBetweenShards",
    "LinkDown",
    "EgressBusy",
    "CountOutFull",
    "ValueOutFull",
    "NoSlot",
    "NoRecord",
    "PayableExceeded",
    "WrongFulfillment",
    "MalformedAnswer",
    "LinkErrorTemporary",
    "LinkErrorOther",
    "NotSent",
    "TimedOut",
];

#[test]
fn every_refusal_there_is_has_its_test_here() {
    let all: Vec<&str> = Refusal::names().map(|(name, _)| name).collect();
    assert_eq!(all, TESTED);
}

/// Asserts the one REJECT that Alice's packet gets.
fn assert_refused(world: &mut World, packet: Vec<u8>, name: &str, code: ErrorCode) -> RejectSeen {
    let before = world.refusal_count(name);
    let seen = world.refused(ALICE, packet);
    assert_eq!(seen.code, code, "{seen:?}");
    assert_eq!(seen.triggered_by, OWN_ADDRESS);
    assert_eq!(world.refusal_count(name), before + 1, "{seen:?}");
    seen
}

fn world_with(change: impl Fn(&mut SwitchConfig), limits_of: impl Fn(&mut [Limits; 3])) -> World {
    let mut config = config();
    change(&mut config);
    let mut limits = [limits(); 3];
    limits_of(&mut limits);
    World::with(config, &[(USD, limits[0]), (XRP, limits[1]), (USD, limits[2])])
}

fn limits_of_alice(change: impl Fn(&mut Limits)) -> World {
    world_with(|_| {}, |limits| change(&mut limits[0]))
}

fn limits_of_bob(change: impl Fn(&mut Limits)) -> World {
    world_with(|_| {}, |limits| change(&mut limits[1]))
}

#[test]
fn b13_the_packet_bucket_refuses_t05_whatever_the_packet_is() {
    let mut world =
        limits_of_alice(|limits| limits.packets = Some(RateLimit { per_s: 1, burst: 2 }));
    world.forwarded(ALICE, usual("test.bob", 10));
    assert_refused(&mut world, vec![0xff], "InvalidPacket", ErrorCode::F01_INVALID_PACKET);
    assert_refused(&mut world, vec![0xff], "PacketRate", ErrorCode::T05_RATE_LIMITED);
    world.advance_ms(1_000);
    world.forwarded(ALICE, usual("test.bob", 10));
}

#[test]
fn b13_requests_of_a_replaced_connection_take_nothing_from_the_packet_bucket() {
    let mut world =
        limits_of_alice(|limits| limits.packets = Some(RateLimit { per_s: 1, burst: 1 }));
    let old = world.link(ALICE);
    let newer = world.switch.link_up(ALICE);
    for _ in 0..3 {
        assert_eq!(world.request(old, 1, usual("test.bob", 10)), []);
    }
    let sent = world.request(newer, 1, usual("test.bob", 10));
    assert!(matches!(sent[..], [Sent::Prepare { .. }]), "{sent:?}");
}

#[test]
fn a23_a_packet_that_is_none_is_refused_f01_with_our_address() {
    let mut world = World::new();
    let cut = usual("test.bob", 10)[..60].to_vec();
    for packet in [vec![], vec![12], cut, fulfill(PREIMAGE)] {
        assert_refused(&mut world, packet, "InvalidPacket", ErrorCode::F01_INVALID_PACKET);
    }
    let bad_address = usual("test..bob", 10);
    let seen =
        assert_refused(&mut world, bad_address, "InvalidPacket", ErrorCode::F01_INVALID_PACKET);
    assert!(seen.message.contains("address"), "{}", seen.message);
}

#[test]
fn b02_expired_on_arrival_is_r02_from_the_very_millisecond() {
    let mut world = World::new();
    let at = prepare("test.bob", 1, PREIMAGE, START.utc_ms);
    assert_refused(&mut world, at, "ExpiredOnArrival", ErrorCode::R02_INSUFFICIENT_TIMEOUT);
    let after = prepare("test.bob", 1, PREIMAGE, START.utc_ms + 1);
    assert_refused(&mut world, after, "ExpiryTooShort", ErrorCode::R02_INSUFFICIENT_TIMEOUT);
}

#[test]
fn b03_less_than_the_margin_and_the_least_remaining_time_is_r02() {
    let mut world = World::new();
    let short = prepare("test.bob", 1, PREIMAGE, START.utc_ms + 1_999);
    assert_refused(&mut world, short, "ExpiryTooShort", ErrorCode::R02_INSUFFICIENT_TIMEOUT);
    let enough = prepare("test.bob", 1, PREIMAGE, START.utc_ms + 2_000);
    let (_, _, packet) = world.forwarded(ALICE, enough);
    assert_eq!(read_prepare(&packet).expires_at_ms(), START.utc_ms + 1_000);
}

fn ildcp_request() -> Vec<u8> {
    prepare_with_data("peer.config", 0, [0; 32], START.utc_ms + 10_000, b"")
}

#[test]
fn requests_to_ourselves_have_a_bucket_that_cannot_be_turned_off() {
    let mut world = World::new();
    for _ in 0..100 {
        let packet = usual(OWN_ADDRESS, 0);
        assert_refused(&mut world, packet, "OwnAddress", ErrorCode::F02_UNREACHABLE);
    }
    for packet in [ildcp_request(), usual(OWN_ADDRESS, 0), usual("peer.x", 0)] {
        assert_refused(&mut world, packet, "OwnAnswerRate", ErrorCode::T05_RATE_LIMITED);
    }
    world.forwarded(ALICE, usual("test.bob", 10));
    world.advance_ms(10);
    assert!(matches!(
        world.request(world.link(ALICE), 1, ildcp_request())[..],
        [Sent::Answer { .. }]
    ));
}

#[test]
fn b28_an_unknown_peer_protocol_is_f01_and_never_forwarded() {
    let mut world = World::new();
    for address in ["peer.foo", "peer.configx", "peer.config.x", "peer.route.control"] {
        let packet = prepare_with_data(address, 0, [0; 32], START.utc_ms + 10_000, b"");
        assert_refused(&mut world, packet, "PeerProtocolUnknown", ErrorCode::F01_INVALID_PACKET);
    }
}

#[test]
fn b30_a_peer_request_with_money_is_f01() {
    let mut world = World::new();
    for address in ["peer.config", "peer.foo"] {
        let packet = prepare_with_data(address, 1, [0; 32], START.utc_ms + 10_000, b"");
        assert_refused(&mut world, packet, "PeerProtocolAmount", ErrorCode::F01_INVALID_PACKET);
    }
}

#[test]
fn b29_a_peer_request_under_another_condition_is_f01() {
    let mut world = World::new();
    let packet = usual("peer.config", 0);
    assert_refused(&mut world, packet, "PeerProtocolCondition", ErrorCode::F01_INVALID_PACKET);
}

#[test]
fn b32_only_a_child_is_told_its_address() {
    for relation in [Relation::Parent, Relation::Peer] {
        let mut switch = m2_core::Switch::new(config());
        let mut account = account(ALICE, USD, limits());
        account.relation = relation;
        switch.add_account(account);
        let connection = switch.link_up(ALICE);
        let egress = Recorder::default();
        let mut world = World { switch, egress, now: START, keys: 0, copies: Vec::new() };
        assert_eq!(connection, world.link(ALICE));
        assert_refused(&mut world, ildcp_request(), "NotAChild", ErrorCode::F00_BAD_REQUEST);
    }
}

#[test]
fn b27_a_packet_to_our_own_address_that_is_no_echo_is_f02() {
    let mut world = World::new();
    let packet = usual(OWN_ADDRESS, 10);
    assert_refused(&mut world, packet, "OwnAddress", ErrorCode::F02_UNREACHABLE);
}

#[test]
fn b27_an_echo_that_cannot_be_answered_is_f01() {
    let mut world = World::new();
    for tail in [&b"\x01\x0atest.alice"[..], b"\0\x08test.m2m", b"\0\x06peer.x", b"\0"] {
        let data = [b"ECHOECHOECHOECHO", tail].concat();
        let packet = prepare_with_data(OWN_ADDRESS, 10, PREIMAGE, START.utc_ms + 10_000, &data);
        assert_refused(&mut world, packet, "InvalidEcho", ErrorCode::F01_INVALID_PACKET);
    }
}

#[test]
fn a25_schemes_that_the_network_does_not_serve_are_f02() {
    let other = |network| match network {
        Network::G => {
            ["test.alice", "test1.alice", "private.alice", "local.a", "self.a", "example.a"]
        }
        Network::Test => ["g.alice", "g.bob", "private.alice", "local.a", "self.a", "example.a"],
        Network::Private => {
            ["test.alice", "g.alice", "test3.alice", "local.a", "self.a", "example.a"]
        }
    };
    for network in [Network::G, Network::Test, Network::Private] {
        let mut world = world_with(|config| config.network = network, |_| {});
        for address in other(network) {
            let packet = usual(address, 1);
            assert_refused(&mut world, packet, "SchemeNotServed", ErrorCode::F02_UNREACHABLE);
        }
    }
}

#[test]
fn b12_an_amount_above_the_accounts_maximum_is_f08_with_both_amounts() {
    let mut world = limits_of_alice(|limits| limits.packet_amount_max = 99);
    let packet = usual("test.bob", 100);
    let seen = assert_refused(&mut world, packet, "PacketAmount", ErrorCode::F08_AMOUNT_TOO_LARGE);
    assert_eq!(seen.data, [100_u64.to_be_bytes(), 99_u64.to_be_bytes()].concat());
    world.forwarded(ALICE, usual("test.bob", 99));
}

#[test]
fn b44_no_prefix_on_a_segment_boundary_is_f02() {
    let mut world = World::new();
    for address in ["test.nobody", "test.bobby", "test.bo", "test.m2m.x"] {
        assert_refused(&mut world, usual(address, 1), "NoRoute", ErrorCode::F02_UNREACHABLE);
    }
    world.forwarded(ALICE, usual("test.bob.till.7", 10));
}

#[test]
fn b46_back_to_its_sender_is_f02_unless_allowed() {
    let mut world = World::new();
    let packet = usual("test.alice.shop", 10);
    assert_refused(&mut world, packet.clone(), "BackToSender", ErrorCode::F02_UNREACHABLE);
    let mut world = world_with(|config| config.reflect = true, |_| {});
    assert_eq!(world.forwarded(ALICE, packet).0, world.link(ALICE));
}

#[test]
fn without_a_rate_between_the_assets_it_is_t00() {
    let mut world = World::new();
    let assets =
        [("USD", 9), ("XRP", 6)].map(|(code, scale)| m2_core::Asset { code: code.into(), scale });
    let rates = m2_core::Rates::build(2, &assets, &[]).unwrap();
    world.switch.set_rates(rates.into());
    assert_refused(&mut world, usual("test.bob", 10), "NoRate", ErrorCode::T00_INTERNAL_ERROR);
    world.forwarded(ALICE, usual("test.carol", 10));
}

#[test]
fn b10_an_amount_that_converts_to_nothing_is_r01() {
    let mut world = World::new();
    let link = world.link(BOB);
    let sent = world.request(link, 1, usual("test.alice", 2));
    let seen = only_reject(&sent, link, 1);
    assert_eq!(seen.code, ErrorCode::R01_INSUFFICIENT_SOURCE_AMOUNT);
    assert_eq!(world.refusal_count("ConvertedTooSmall"), 1);
    let sent = world.request(link, 2, usual("test.alice", 3));
    assert!(
        matches!(&sent[..], [Sent::Prepare { packet, .. }] if read_prepare(packet).amount() == 1)
    );
}

#[test]
fn b11_an_amount_that_converts_past_a_u64_is_f08_with_the_largest_that_does_not() {
    let mut world = limits_of_alice(|limits| limits.packet_amount_max = u64::MAX);
    let packet = usual("test.bob", u64::MAX);
    let seen =
        assert_refused(&mut world, packet, "ConvertedTooLarge", ErrorCode::F08_AMOUNT_TOO_LARGE);
    // The largest x with 5x/2 < 2^64.
    let maximum: u64 = 7_378_697_629_483_820_646;
    assert_eq!(seen.data, [u64::MAX.to_be_bytes(), maximum.to_be_bytes()].concat());
}

#[test]
fn while_draining_new_packets_are_t03_and_those_in_flight_end() {
    let mut world = World::new();
    let (bob, id, _) = world.forwarded(ALICE, usual("test.bob", 10));
    world.switch.set_draining(true);
    assert_refused(&mut world, usual("test.bob", 1), "Draining", ErrorCode::T03_CONNECTOR_BUSY);
    assert_eq!(world.response(bob, id, ResponseBody::Packet(&fulfill(PREIMAGE))).len(), 1);
    assert_eq!(world.words()[0].balance, 10);
}

#[test]
fn while_the_journal_refuses_it_is_t03_for_accounts_that_want_records() {
    for state in [JournalState::Refusing, JournalState::Failed] {
        let durabilities = [Durability::Async, Durability::None, Durability::Sync];
        let accounts = [(USD, limits()), (USD, limits()), (USD, limits())];
        let mut world = World::of(config(), &accounts, &durabilities);
        world.switch.set_journal(state);
        let refused = |world: &mut World, from| {
            let seen = world.refused(from, usual("test.bob", 1));
            assert_eq!(
                (seen.code, &seen.message[..]),
                (T03, "connector is busy with its journal.")
            );
        };
        refused(&mut world, ALICE);
        refused(&mut world, CAROL);
        assert_eq!(world.refusal_count("JournalUnavailable"), 2);
        world.forwarded(BOB, usual("test.carol", 1));
        world.switch.set_journal(JournalState::Ready);
        if state == JournalState::Failed {
            refused(&mut world, ALICE);
        } else {
            world.forwarded(ALICE, usual("test.bob", 1));
        }
    }
}

const T03: ErrorCode = ErrorCode::T03_CONNECTOR_BUSY;

#[test]
fn b15_more_packets_in_flight_than_the_sender_may_have_is_t03() {
    let mut world = limits_of_alice(|limits| limits.in_flight_packets_max = 2);
    let (bob, id, _) = world.forwarded(ALICE, usual("test.bob", 0));
    world.forwarded(ALICE, usual("test.bob", 0));
    assert_refused(&mut world, usual("test.bob", 0), "CountInFull", ErrorCode::T03_CONNECTOR_BUSY);
    let _ =
        world.response(bob, id, ResponseBody::Packet(&reject(ErrorCode::F99_APPLICATION_ERROR)));
    world.forwarded(ALICE, usual("test.bob", 0));
}

#[test]
fn b15_more_money_in_flight_than_the_sender_may_have_is_t04() {
    let mut world = limits_of_alice(|limits| limits.in_flight_value_max = Some(10));
    world.forwarded(ALICE, usual("test.bob", 10));
    let packet = usual("test.bob", 1);
    let seen =
        assert_refused(&mut world, packet, "ValueInFull", ErrorCode::T04_INSUFFICIENT_LIQUIDITY);
    assert_ne!(seen.message, "exceeded maximum balance.");
    world.forwarded(ALICE, usual("test.bob", 0));
}

#[test]
fn a_full_forward_ring_is_t03_and_the_packets_before_it_go_on() {
    let mut world = world_with(|config| config.rings.forwards = 2, |_| {});
    let link = world.link(ALICE);
    let packets: Vec<Vec<u8>> = (0..3).map(|_| usual("test.bob", 10)).collect();
    let batch: Vec<_> = (0..)
        .zip(&packets)
        .map(|(id, packet)| m2_core::Request { connection: link, request_id: id, packet })
        .collect();
    world.switch.requests(START, &batch, &mut world.egress);
    let prepares = world.egress.sent.iter().filter(|sent| matches!(sent, Sent::Prepare { .. }));
    assert_eq!(prepares.count(), 2);
    let refused = world.egress.sent.iter().find_map(|sent| match sent {
        Sent::Answer { id, packet, .. } => Some((*id, read_reject(packet).code)),
        Sent::Prepare { .. } => None,
    });
    assert_eq!(refused, Some((2, ErrorCode::T03_CONNECTOR_BUSY)));
    assert_eq!(world.refusal_count("ForwardRingFull"), 1);
}

#[test]
fn without_room_for_an_answer_it_is_t03_before_any_hold() {
    let mut world = world_with(|config| config.rings.answers = 1, |_| {});
    let (bob, id, _) = world.forwarded(ALICE, usual("test.bob", 10));
    let packet = usual("test.bob", 1);
    assert_refused(&mut world, packet, "AnswerRingFull", ErrorCode::T03_CONNECTOR_BUSY);
    let _ = world.response(bob, id, ResponseBody::Packet(&fulfill(PREIMAGE)));
    world.forwarded(ALICE, usual("test.bob", 10));
}

#[test]
fn exhausted_credit_is_t04_with_the_words_that_peers_match() {
    let mut world = limits_of_alice(|limits| limits.balance_max = 10);
    let (bob, id, _) = world.forwarded(ALICE, usual("test.bob", 10));
    let refused = |world: &mut World| {
        let packet = usual("test.bob", 1);
        let code = ErrorCode::T04_INSUFFICIENT_LIQUIDITY;
        assert_refused(world, packet, "CreditExhausted", code).message
    };
    assert_eq!(refused(&mut world), "exceeded maximum balance.");
    let _ = world.response(bob, id, ResponseBody::Packet(&fulfill(PREIMAGE)));
    assert_eq!(refused(&mut world), "exceeded maximum balance.");
    world.credit(ALICE, 1);
    world.forwarded(ALICE, usual("test.bob", 1));
}

#[test]
fn b14_more_money_a_second_than_the_sender_may_is_t04_and_nothing_is_given_back() {
    let mut world =
        limits_of_alice(|limits| limits.amount = Some(RateLimit { per_s: 5, burst: 10 }));
    let (bob, id, _) = world.forwarded(ALICE, usual("test.bob", 10));
    let _ =
        world.response(bob, id, ResponseBody::Packet(&reject(ErrorCode::F99_APPLICATION_ERROR)));
    let packet = usual("test.bob", 1);
    assert_refused(&mut world, packet, "MoneyRate", ErrorCode::T04_INSUFFICIENT_LIQUIDITY);
    world.advance_ms(200);
    world.forwarded(ALICE, usual("test.bob", 1));
}

#[test]
fn a_refused_packet_takes_no_money_from_the_bucket() {
    let mut world = limits_of_alice(|limits| {
        limits.amount = Some(RateLimit { per_s: 1, burst: 10 });
        limits.balance_max = 9;
    });
    let packet = usual("test.bob", 10);
    assert_refused(&mut world, packet, "CreditExhausted", ErrorCode::T04_INSUFFICIENT_LIQUIDITY);
    world.credit(ALICE, 1);
    world.forwarded(ALICE, usual("test.bob", 10));
}

#[test]
fn a_next_hop_without_a_link_is_t01() {
    let mut world = World::new();
    world.switch.link_down(world.link(BOB));
    assert_refused(&mut world, usual("test.bob", 10), "LinkDown", ErrorCode::T01_PEER_UNREACHABLE);
}

#[test]
fn a_next_hop_that_does_not_read_is_t02() {
    let mut world = World::new();
    world.egress.full.insert(BOB);
    assert_refused(&mut world, usual("test.bob", 10), "EgressBusy", ErrorCode::T02_PEER_BUSY);
}

#[test]
fn b15_more_packets_in_flight_than_the_next_hop_may_have_is_t03() {
    let mut world = limits_of_bob(|limits| limits.in_flight_packets_max = 1);
    world.forwarded(ALICE, usual("test.bob", 0));
    let packet = usual("test.bob", 0);
    assert_refused(&mut world, packet, "CountOutFull", ErrorCode::T03_CONNECTOR_BUSY);
}

#[test]
fn b15_more_money_in_flight_than_the_next_hop_may_have_is_t04() {
    let mut world = limits_of_bob(|limits| limits.in_flight_value_max = Some(25));
    world.forwarded(ALICE, usual("test.bob", 10));
    let packet = usual("test.bob", 1);
    assert_refused(&mut world, packet, "ValueOutFull", ErrorCode::T04_INSUFFICIENT_LIQUIDITY);
}

#[test]
fn without_a_free_slot_it_is_t03() {
    let mut world = world_with(|config| config.in_flight_slots = 1, |_| {});
    let (bob, id, _) = world.forwarded(ALICE, usual("test.bob", 10));
    assert_refused(&mut world, usual("test.bob", 1), "NoSlot", ErrorCode::T03_CONNECTOR_BUSY);
    let _ = world.response(bob, id, ResponseBody::Packet(&fulfill(PREIMAGE)));
    world.forwarded(ALICE, usual("test.bob", 10));
}

#[test]
fn without_room_for_a_record_it_is_t03_before_any_hold() {
    let mut world = world_with(|config| config.rings.records = 1, |_| {});
    let (bob, id, _) = world.forwarded(ALICE, usual("test.bob", 10));
    let _ = world.response(bob, id, ResponseBody::Packet(&fulfill(PREIMAGE)));
    assert_refused(&mut world, usual("test.bob", 1), "NoRecord", ErrorCode::T03_CONNECTOR_BUSY);
    world.switch.drain_records(usize::MAX, drop);
    world.forwarded(ALICE, usual("test.bob", 10));
}

#[test]
fn past_what_we_may_owe_the_next_hop_is_t04_in_words_of_its_own() {
    let mut world = limits_of_bob(|limits| limits.payable_max = 25);
    world.forwarded(ALICE, usual("test.bob", 10));
    let packet = usual("test.bob", 1);
    let code = ErrorCode::T04_INSUFFICIENT_LIQUIDITY;
    let seen = assert_refused(&mut world, packet, "PayableExceeded", code);
    assert_eq!(seen.message, "exceeded payable limit");
}

/// What Alice is told when Bob answers her packet with `body`; both holds must be gone.
fn answered_with(body: ResponseBody<'_>, name: &str) -> RejectSeen {
    let mut world = World::new();
    let before = world.words();
    let (bob, id, _) = world.forwarded(ALICE, usual("test.bob", 10));
    let sent = world.response(bob, id, body);
    assert_eq!(world.words(), before, "both holds are released");
    assert_eq!(world.refusal_count(name), 1);
    only_reject(&sent, world.link(ALICE), 41)
}

/// Goal: a hash lock is all of its 32 bytes. Method: conditions that differ from the right one in one
/// byte each, tried in one vector by a fulfillment that is right but for that byte.
#[test]
fn b24_every_byte_of_the_condition_counts() {
    let mut world = World::new();
    let right = sha256_of_32(&PREIMAGE);
    for byte in 0..32 {
        let mut packet = usual("test.bob", 10);
        let at = packet.windows(32).position(|window| window == right).unwrap();
        packet[at + byte] ^= 1;
        let (bob, id, _) = world.forwarded(ALICE, packet);
        world.response(bob, id, ResponseBody::Packet(&fulfill(PREIMAGE)));
    }
    assert_eq!(world.refusal_count("WrongFulfillment"), 32);
}

#[test]
fn b23_a_fulfillment_that_does_not_open_the_condition_is_f05() {
    let seen = answered_with(ResponseBody::Packet(&fulfill([8; 32])), "WrongFulfillment");
    assert_eq!(seen.code, ErrorCode::F05_WRONG_CONDITION);
}

#[test]
fn b26_an_answer_that_is_none_is_t01() {
    let whole = fulfill(PREIMAGE);
    let prepare = usual("test.alice", 1);
    for bytes in [&b""[..], b"\x0d", &whole[..30], &prepare, &[15, 0]] {
        let seen = answered_with(ResponseBody::Packet(bytes), "MalformedAnswer");
        assert_eq!(seen.code, ErrorCode::T01_PEER_UNREACHABLE);
    }
    let seen = answered_with(ResponseBody::Empty, "MalformedAnswer");
    assert_eq!(seen.code, ErrorCode::T01_PEER_UNREACHABLE);
}

#[test]
fn a27_an_unknown_code_passes_and_one_that_is_not_ascii_is_t01() {
    let odd = reject(ErrorCode(*b"ZZZ"));
    let mut world = World::new();
    let (bob, id, _) = world.forwarded(ALICE, usual("test.bob", 10));
    let sent = world.response(bob, id, ResponseBody::Packet(&odd));
    assert_eq!(sent, [Sent::Answer { to: world.link(ALICE), id: 41, packet: odd.clone() }]);

    let mut not_ascii = odd;
    not_ascii[2] = 0xc6;
    let seen = answered_with(ResponseBody::Packet(&not_ascii), "MalformedAnswer");
    assert_eq!(seen.code, ErrorCode::T01_PEER_UNREACHABLE);
}

#[test]
fn c13_an_error_of_the_link_is_t01_when_temporary_and_t00_otherwise() {
    let seen = answered_with(ResponseBody::ErrorTemporary, "LinkErrorTemporary");
    assert_eq!(seen.code, ErrorCode::T01_PEER_UNREACHABLE);
    let seen = answered_with(ResponseBody::ErrorOther, "LinkErrorOther");
    assert_eq!(seen.code, ErrorCode::T00_INTERNAL_ERROR);
}

#[test]
fn c16_a_packet_that_never_left_is_t01_at_once() {
    let mut world = World::new();
    let before = world.words();
    let (bob, id, _) = world.forwarded(ALICE, usual("test.bob", 10));
    world.switch.link_down(bob);
    world.switch.unsent(world.now, bob, id, &mut world.egress);
    let seen = only_reject(&world.egress.sent, world.link(ALICE), 41);
    assert_eq!(seen.code, ErrorCode::T01_PEER_UNREACHABLE);
    assert_eq!(world.words(), before);
    assert_eq!(world.refusal_count("NotSent"), 1);
}

#[test]
fn b05_no_answer_before_the_shortened_expiry_is_r00() {
    let mut world = World::new();
    let before = world.words();
    world.forwarded(ALICE, usual("test.bob", 10));
    let due_ns = world.switch.next_deadline_ns().unwrap();
    assert_eq!(due_ns, START.mono_ns + 9_000_000_000);
    world.advance_ms(8_999);
    assert_eq!(world.tick(), []);
    world.advance_ms(1);
    let sent = world.tick();
    assert_eq!(only_reject(&sent, world.link(ALICE), 41).code, ErrorCode::R00_TRANSFER_TIMED_OUT);
    assert_eq!(world.words(), before);
    assert_eq!(world.refusal_count("TimedOut"), 1);
    assert_eq!(world.switch.next_deadline_ns(), None);
}

/// A packet that everything is wrong with, and its faults mended one after the other: each half must
/// tell them in the order that it is documented to look in.
#[test]
fn b01_the_incoming_half_looks_in_its_order() {
    let mut world = world_with(
        |config| {
            config.rings.forwards = 0;
            config.rings.answers = 0;
        },
        |limits| {
            limits[0] = Limits {
                balance_max: 0,
                packet_amount_max: 99,
                amount: Some(RateLimit { per_s: 1, burst: 1 }),
                packets: Some(RateLimit { per_s: 1, burst: 20 }),
                in_flight_packets_max: 0,
                in_flight_value_max: Some(0),
                ..limits[0]
            };
        },
    );
    world.switch.set_draining(true);
    world.switch.set_journal(JournalState::Refusing);
    let late = START.utc_ms + 1;
    let good = START.utc_ms + 10_000;
    let mut seen = Vec::new();
    let mut ask = |world: &mut World, packet: Vec<u8>| {
        let link = world.link(ALICE);
        let before: Vec<u64> = world.switch.counters().refusals().map(|row| row.2).collect();
        let _ = world.request(link, 1, packet);
        let after = world.switch.counters().refusals();
        let (name, ..) = after.zip(before).find(|(row, before)| row.2 > *before).expect("one").0;
        seen.push(name);
    };
    ask(&mut world, vec![12]);
    ask(&mut world, prepare("peer.x", 200, PREIMAGE, START.utc_ms));
    ask(&mut world, prepare("peer.x", 200, PREIMAGE, late));
    ask(&mut world, prepare(OWN_ADDRESS, 200, PREIMAGE, late));
    ask(&mut world, prepare("g.nobody", 200, PREIMAGE, late));
    ask(&mut world, prepare("test.nobody", 200, PREIMAGE, late));
    ask(&mut world, prepare("test.nobody", 99, PREIMAGE, late));
    ask(&mut world, prepare("test.alice", 99, PREIMAGE, late));
    let bob = "test.bob";
    let assets =
        [("USD", 9), ("XRP", 6)].map(|(code, scale)| m2_core::Asset { code: code.into(), scale });
    let none = m2_core::Rates::build(2, &assets, &[]).unwrap();
    world.switch.set_rates(none.into());
    ask(&mut world, prepare(bob, 99, PREIMAGE, late));
    world.switch.set_rates(rates(3));
    ask(&mut world, prepare(bob, 99, PREIMAGE, late));
    ask(&mut world, prepare(bob, 99, PREIMAGE, good));
    world.switch.set_draining(false);
    ask(&mut world, prepare(bob, 99, PREIMAGE, good));
    world.switch.set_journal(JournalState::Ready);
    ask(&mut world, prepare(bob, 99, PREIMAGE, good));
    let wanted = [
        "InvalidPacket",
        "ExpiredOnArrival",
        "PeerProtocolAmount",
        "OwnAddress",
        "SchemeNotServed",
        "PacketAmount",
        "NoRoute",
        "BackToSender",
        "NoRate",
        "ExpiryTooShort",
        "Draining",
        "JournalUnavailable",
        "CountInFull",
    ];
    assert_eq!(seen, wanted);
}

/// As above, for what an account has from its start: each fault is mended in a switch of its own.
#[test]
fn b01_the_incoming_half_looks_at_limits_in_its_order() {
    let mut limits = Limits { in_flight_packets_max: 1, ..limits() };
    limits.balance_max = 0;
    limits.in_flight_value_max = Some(0);
    limits.amount = Some(RateLimit { per_s: 1, burst: 1 });
    let first = |limits: Limits, forwards, answers| {
        let mut world = world_with(
            |config| (config.rings.forwards, config.rings.answers) = (forwards, answers),
            |all| all[0] = limits,
        );
        let link = world.link(ALICE);
        let _ = world.request(link, 1, usual("test.bob", 50));
        let refusals: Vec<_> = world.switch.counters().refusals().collect();
        refusals.into_iter().find(|row| row.2 > 0).map(|row| row.0)
    };
    assert_eq!(first(limits, 0, 0), Some("ValueInFull"));
    limits.in_flight_value_max = None;
    assert_eq!(first(limits, 0, 0), Some("ForwardRingFull"));
    assert_eq!(first(limits, 1, 0), Some("AnswerRingFull"));
    assert_eq!(first(limits, 1, 1), Some("CreditExhausted"));
    limits.balance_max = 50;
    assert_eq!(first(limits, 1, 1), Some("MoneyRate"));
    limits.amount = Some(RateLimit { per_s: 1, burst: 50 });
    assert_eq!(first(limits, 1, 1), None);
    limits.packets = Some(RateLimit { per_s: 1, burst: 0 });
    limits.in_flight_packets_max = 0;
    assert_eq!(first(limits, 0, 0), Some("PacketRate"));
}

#[test]
fn b01_the_outgoing_half_looks_in_its_order() {
    let first = |limits: Limits, slots: bool, records, full: bool, linked: bool| {
        let mut world = world_with(
            |config| {
                config.in_flight_slots = 1;
                config.rings.records = records;
            },
            |all| all[1] = limits,
        );
        if !slots {
            // Carol's packet takes the only slot.
            world.forwarded(ALICE, usual("test.carol", 0));
        }
        if full {
            world.egress.full.insert(BOB);
        }
        if !linked {
            world.switch.link_down(world.link(BOB));
        }
        let link = world.link(ALICE);
        let _ = world.request(link, 1, usual("test.bob", 10));
        let refusals: Vec<_> = world.switch.counters().refusals().collect();
        refusals.into_iter().find(|row| row.2 > 0).map(|row| row.0)
    };
    let mut limits = Limits {
        in_flight_packets_max: 0,
        in_flight_value_max: Some(24),
        payable_max: 24,
        ..limits()
    };
    assert_eq!(first(limits, false, 1, true, false), Some("LinkDown"));
    assert_eq!(first(limits, false, 1, true, true), Some("EgressBusy"));
    assert_eq!(first(limits, false, 1, false, true), Some("CountOutFull"));
    limits.in_flight_packets_max = 1;
    assert_eq!(first(limits, false, 1, false, true), Some("ValueOutFull"));
    limits.in_flight_value_max = None;
    assert_eq!(first(limits, false, 1, false, true), Some("NoSlot"));
    assert_eq!(first(limits, true, 0, false, true), Some("NoRecord"));
    assert_eq!(first(limits, true, 1, false, true), Some("PayableExceeded"));
    limits.payable_max = 25;
    assert_eq!(first(limits, true, 1, false, true), None);
}

#[test]
fn a_packet_whose_time_runs_out_between_two_shards_never_leaves() {
    let mut shards = Shards::new(&config(), &[(USD, limits()), (XRP, limits())]);
    shards.request(Shards::link(ALICE), 41, usual("test.bob", 10));
    // The expiry is 10 s ahead, the margin 1 s.
    shards.advance_ms(9_000);
    shards.carry();
    let seen = only_reject(&shards.sent(), Shards::link(ALICE), 41);
    assert_eq!(seen.code, ErrorCode::R00_TRANSFER_TIMED_OUT);
    assert_eq!(seen.message, "connector was too slow to forward the packet.");
    assert_eq!(shards.words(), [m2_core::ledger::Words::default(); 2]);

    shards.request(Shards::link(ALICE), 42, prepare_at(&shards, "test.bob", 10));
    shards.advance_ms(8_999);
    shards.carry();
    assert!(matches!(shards.sent()[..], [Sent::Prepare { .. }]), "a millisecond was left");
}

fn prepare_at(shards: &Shards, to: &str, amount: u64) -> Vec<u8> {
    prepare(to, amount, PREIMAGE, shards.now.utc_ms + 10_000)
}
