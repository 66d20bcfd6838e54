//! Packets between real sockets: every transport, framing in full, bad packets and bad frames.

#![allow(clippy::unwrap_used)] // helpers of tests, though not inside of one

mod support;

use m2_codec::btp::{self, FrameType};
use m2_codec::ilp::{self, ErrorCode, Prepare, Reject};
use m2_codec::ws;
use serde_json::json;
use support::{Got, Next, Peer, Switch, pay, preimage, prepare, prepare_with, put_ws};

fn two(switch: &Switch, transport: &str) -> (Peer, Peer) {
    (switch.peer(transport, "alice"), switch.peer(transport, "bob"))
}

#[track_caller]
fn assert_rejected(got: &Got, request_id: u32, code: ErrorCode) {
    assert_eq!((got.frame_type, got.request_id), (FrameType::Response, request_id));
    assert_eq!(got.reject_code(), code);
}

/// The close code, and that the connection is over behind it.
#[track_caller]
fn assert_closed(peer: &mut Peer, code: u16) {
    assert_eq!(peer.until_end(), [Next::Close(code)]);
}

#[test]
fn a_packet_is_fulfilled_between_any_two_transports() {
    let switch = Switch::start("", "");
    let mut total = 0;
    for from in ["ws", "tcp", "unix"] {
        for to in ["ws", "tcp", "unix"] {
            let mut alice = switch.peer(from, "alice");
            let mut bob = switch.peer(to, "bob");
            pay(&mut alice, &mut bob, "test.m2m.bob.x", 1_000);
            total += 1_000;
        }
    }
    assert_eq!(switch.account("alice", "balance"), total.to_string());
    assert_eq!(switch.account("bob", "balance"), format!("-{total}"));
    assert_eq!(switch.account("alice", "held_in"), "0");
    assert_eq!(switch.counter("packets", "pairs_fulfilled"), 9);
    let counters = switch.ask(&json!({ "cmd": "counters" }));
    assert_eq!(counters["pairs"][0]["from"], "USD/9");
    assert_eq!(counters["pairs"][0]["amount_in"], total.to_string());
}

#[test]
fn a_forwarded_prepare_keeps_condition_and_data_and_expires_earlier() {
    let switch = Switch::start("", "");
    let (mut alice, mut bob) = two(&switch, "ws");
    let sent = prepare_with("test.m2m.bob", 5, 1, 10_000, &[0xa5; 32_767]);
    alice.send_prepare(1, &sent);
    let got = bob.fulfill_next(&preimage(1));
    let (sent, got) =
        (Prepare::new_checked(&sent[..]).unwrap(), Prepare::new_checked(&got.packet[..]).unwrap());
    assert_eq!(got.condition(), sent.condition());
    assert_eq!(got.data(), sent.data());
    assert_eq!(got.destination(), sent.destination());
    assert_eq!(got.expires_at_ms(), sent.expires_at_ms() - 1_000);
    assert_eq!(alice.frame().fulfillment(), preimage(1));
}

#[test]
fn many_packets_at_once_keep_their_order() {
    let switch = Switch::start("", "");
    for transport in ["ws", "tcp", "unix"] {
        let (mut alice, mut bob) = two(&switch, transport);
        let packet = prepare("test.m2m.bob", 1, 1);
        let mut frames = Vec::new();
        for request_id in 0..500_u32 {
            let data = [&request_id.to_be_bytes()[..], &packet[packet.len() - 1..]].concat();
            let packet = prepare_with("test.m2m.bob", 1, 1, 10_000, &data);
            let mut frame = Vec::new();
            btp::put_ilp(&mut frame, FrameType::Message, request_id, &packet);
            alice.put(&mut frames, &frame);
        }
        alice.stream.write(&frames).unwrap();
        for request_id in 0..500_u32 {
            let got = bob.fulfill_next(&preimage(1));
            let data = Prepare::new_checked(&got.packet[..]).unwrap().data().to_vec();
            assert_eq!(data[..4], request_id.to_be_bytes());
        }
        for request_id in 0..500 {
            let got = alice.frame();
            assert_eq!((got.frame_type, got.request_id), (FrameType::Response, request_id));
            assert_eq!(got.fulfillment(), preimage(1));
        }
    }
}

#[test]
fn a_reject_is_passed_on_unchanged() {
    let switch = Switch::start("", "");
    let (mut alice, mut bob) = two(&switch, "tcp");
    alice.send_prepare(1, &prepare("test.m2m.bob", 5, 1));
    let mut reject = Vec::new();
    let code = ErrorCode::F99_APPLICATION_ERROR;
    ilp::put_reject(&mut reject, code, b"test.m2m.bob.app", b"no", b"data");
    let request_id = bob.frame().request_id;
    bob.send_response(request_id, &reject);
    let got = alice.frame();
    assert_rejected(&got, 1, code);
    assert_eq!(got.packet, reject);
}

#[test]
fn malformed_ilp_in_good_btp_gets_f01() {
    let switch = Switch::start("", "");
    for transport in ["ws", "tcp", "unix"] {
        let mut alice = switch.peer(transport, "alice");
        for (request_id, packet) in
            [&b"\x0c\x03abc"[..], b"", b"\xff", b"\x0d\x00"].iter().enumerate()
        {
            let request_id = u32::try_from(request_id).unwrap();
            alice.send_prepare(request_id, packet);
            let got = alice.frame();
            assert_rejected(&got, request_id, ErrorCode::F01_INVALID_PACKET);
            assert_eq!(Reject::new_checked(&got.packet).unwrap().triggered_by(), b"test.m2m");
        }
    }
    assert_eq!(switch.counter("links", "bad_frames"), 0);
}

#[test]
fn an_unknown_destination_gets_f02() {
    let switch = Switch::start("", "");
    let mut alice = switch.peer("ws", "alice");
    alice.send_prepare(9, &prepare("test.elsewhere", 5, 1));
    assert_rejected(&alice.frame(), 9, ErrorCode::F02_UNREACHABLE);
    alice.send_prepare(10, &prepare("test.m2m.carol", 5, 1));
    assert_rejected(&alice.frame(), 10, ErrorCode::T01_PEER_UNREACHABLE);
}

#[test]
fn c17_a_silent_receiver_ends_in_r00_at_its_packets_own_expiry() {
    let switch =
        Switch::start_with("expiry_margin_ms = 100\nremaining_ms_min = 50", "", support::ACCOUNTS);
    let (mut alice, mut bob) = two(&switch, "ws");
    alice.send_prepare(1, &prepare_with("test.m2m.bob", 5, 1, 400, b""));
    bob.frame();
    assert_rejected(&alice.frame(), 1, ErrorCode::R00_TRANSFER_TIMED_OUT);
    assert_eq!(switch.account("alice", "held_in"), "0");
}

#[test]
fn c15_a_message_in_fragments_with_a_ping_between_is_one_packet() {
    let switch = Switch::start("", "");
    let (mut alice, mut bob) = two(&switch, "ws");
    for request_id in 0..3 {
        let mut frame = Vec::new();
        let packet = prepare("test.m2m.bob", 10, 5);
        btp::put_ilp(&mut frame, FrameType::Message, request_id, &packet);
        let (head, tail) = frame.split_at(20);
        let (middle, tail) = tail.split_at(30);
        alice.send_ws(0x02, head);
        alice.send_ws(0x89, b"alive?");
        alice.send_ws(0x00, middle);
        alice.send_ws(0x8a, b"");
        alice.send_ws(0x80, tail);
        assert_eq!(alice.next(), Next::Pong(b"alive?".to_vec()));
        let forwarded = bob.fulfill_next(&preimage(5));
        assert_eq!(forwarded.packet[12..], packet_with_expiry(&packet, &forwarded)[12..]);
        assert_eq!(alice.frame().fulfillment(), preimage(5));
    }
}

/// What a PREPARE looks like with the expiry that another has.
fn packet_with_expiry(packet: &[u8], like: &Got) -> Vec<u8> {
    let expires_at = *Prepare::new_checked(&like.packet[..]).unwrap().expires_at();
    let mut packet = packet.to_vec();
    Prepare::new_checked(&mut packet[..]).unwrap().set_expires_at(&expires_at);
    packet
}

#[test]
fn c15_two_messages_in_fragments_that_come_at_once_are_two_packets() {
    let switch = Switch::start("", "");
    let (mut alice, mut bob) = two(&switch, "ws");
    let mut bytes = Vec::new();
    for request_id in 0..5 {
        let mut frame = Vec::new();
        let seed = u8::try_from(request_id).unwrap();
        btp::put_ilp(
            &mut frame,
            FrameType::Message,
            request_id,
            &prepare("test.m2m.bob", 10 + u64::from(request_id), seed),
        );
        let (head, tail) = frame.split_at(30);
        put_ws(&mut bytes, 0x02, head, Some([1, 2, 3, 4]));
        put_ws(&mut bytes, 0x80, tail, Some([5, 6, 7, 8]));
    }
    alice.stream.write(&bytes).unwrap();
    for request_id in 0..5_u8 {
        let got = bob.fulfill_next(&preimage(request_id));
        assert_eq!(support::amount_of(&got.packet), 10 + u64::from(request_id));
    }
    for request_id in 0..5_u8 {
        let got = alice.frame();
        assert_eq!(got.request_id, u32::from(request_id));
        assert_eq!(got.fulfillment(), preimage(request_id));
    }
}

#[test]
fn c15_a_close_is_echoed_with_its_code() {
    let switch = Switch::start("", "");
    let mut alice = switch.peer("ws", "alice");
    alice.send_ws(0x88, &4_001_u16.to_be_bytes());
    assert_closed(&mut alice, 4_001);
    let mut alice = switch.peer("ws", "alice");
    alice.send_ws(0x88, b"");
    assert_closed(&mut alice, ws::close_code::NO_STATUS);
}

#[test]
fn c15_what_breaks_rfc_6455_is_told_its_close_code() {
    let switch = Switch::start("", "");
    let text = |peer: &mut Peer| peer.send_ws(0x81, b"hello");
    let reserved = |peer: &mut Peer| peer.send_ws(0xc2, b"x");
    let continuation = |peer: &mut Peer| peer.send_ws(0x80, b"x");
    let unmasked = |peer: &mut Peer| {
        let mut out = Vec::new();
        put_ws(&mut out, 0x82, b"x", None);
        peer.stream.write(&out).unwrap();
    };
    let bad_utf8 = |peer: &mut Peer| peer.send_ws(0x88, b"\x03\xe8\xff\xff");
    type Breach<'a> = &'a dyn Fn(&mut Peer);
    let cases: [(Breach<'_>, u16); 5] = [
        (&text, 1003),
        (&reserved, 1002),
        (&continuation, 1002),
        (&unmasked, 1002),
        (&bad_utf8, 1007),
    ];
    for (break_rule, code) in cases {
        let mut alice = switch.peer("ws", "alice");
        break_rule(&mut alice);
        assert_closed(&mut alice, code);
    }
    assert_eq!(switch.counter("links", "websocket_violations"), 5);
}

#[test]
fn an_oversized_frame_is_refused_from_its_header_alone() {
    let switch = Switch::start("", "");
    let mut alice = switch.peer("ws", "alice");
    // A megabyte is announced, and not one byte of it follows.
    alice.stream.write(b"\x82\xff\x00\x00\x00\x00\x00\x10\x00\x00\x01\x02\x03\x04").unwrap();
    assert_closed(&mut alice, 1009);
    for transport in ["tcp", "unix"] {
        let mut alice = switch.peer(transport, "alice");
        alice.stream.write(b"\x06\x00\x00\x00\x01\x83\x10\x00\x00").unwrap();
        assert_eq!(alice.until_end(), []);
    }
    assert_eq!(switch.counter("links", "framing_lost"), 2);
}

#[test]
fn c11_malformed_frames_are_counted_and_close_their_connection_alone_after_the_limit() {
    let switch = Switch::start("bad_frames_max = 3", "");
    let (mut alice, mut bob) = two(&switch, "ws");
    for _ in 0..2 {
        alice.send(b"\x06\x00\x00\x00\x01\x02\x01\x09");
        pay(&mut alice, &mut bob, "test.m2m.bob", 1);
    }
    alice.send(b"\x03\x00\x00\x00\x01\x02\x01\x00");
    assert_closed(&mut alice, ws::close_code::POLICY_VIOLATION);
    assert_eq!(switch.counter("links", "bad_frames"), 3);
    let mut alice = switch.peer("ws", "alice");
    pay(&mut alice, &mut bob, "test.m2m.bob", 1);

    // On a stream too, as long as the next frame can be found.
    let mut alice = switch.peer("tcp", "alice");
    for _ in 0..3 {
        alice.send(b"\x06\x00\x00\x00\x01\x02\x01\x09");
    }
    assert_eq!(alice.until_end(), []);
    assert_eq!(switch.counter("links", "bad_frames"), 6);
    assert_eq!(switch.counter("links", "framing_lost"), 0);
}

#[test]
fn c11_lost_framing_ends_a_stream_at_once() {
    let switch = Switch::start("bad_frames_max = 1000", "");
    for transport in ["tcp", "unix"] {
        let mut alice = switch.peer(transport, "alice");
        alice.stream.write(b"\x06\x00\x00\x00\x01\x80").unwrap();
        assert_eq!(alice.until_end(), []);
    }
    assert_eq!(switch.counter("links", "framing_lost"), 2);
    switch.wait_for_log("the peer sent no BTP frame");
}

#[test]
fn c11_an_unexpected_response_is_ignored_and_counted() {
    let switch = Switch::start("", "");
    let (mut alice, mut bob) = two(&switch, "ws");
    let mut fulfill = Vec::new();
    ilp::put_fulfill(&mut fulfill, &preimage(1), b"");
    bob.send_response(12_345, &fulfill);
    let mut empty = Vec::new();
    btp::put_response(&mut empty, 54_321, &[]);
    bob.send(&empty);
    pay(&mut alice, &mut bob, "test.m2m.bob", 1);
    assert_eq!(switch.account("bob", "unmatched_answers"), 2);
}

#[test]
fn c12_a_message_without_an_entry_that_we_serve_gets_a_response_without_entries() {
    let switch = Switch::start("", "");
    for transport in ["ws", "tcp", "unix"] {
        let mut alice = switch.peer(transport, "alice");
        alice.send_message(77, b"balance", b"{}");
        let got = alice.frame();
        assert_eq!((got.frame_type, got.request_id, got.entries), (FrameType::Response, 77, 0));
        let mut bare = Vec::new();
        btp::put_message(&mut bare, 78, &[]);
        alice.send(&bare);
        assert_eq!(alice.frame().request_id, 78);
    }
    assert_eq!(switch.counter("links", "messages_unserved"), 6);
}

#[test]
fn c08_a_second_auth_gets_a_response_without_entries() {
    let switch = Switch::start("", "");
    let mut alice = switch.peer("ws", "alice");
    alice.authenticate(Some("bob"), "whatever");
    alice.send_prepare(1, &prepare("test.nowhere", 1, 1));
    assert_rejected(&alice.frame(), 1, ErrorCode::F02_UNREACHABLE);
    assert_eq!(switch.account("bob", "connected"), false);
}

#[test]
fn c13_a_btp_error_ends_its_packet_in_t01_or_t00() {
    let switch = Switch::start("", "");
    let (mut alice, mut bob) = two(&switch, "ws");
    for (code, expected) in [
        (btp::UNREACHABLE, ErrorCode::T01_PEER_UNREACHABLE),
        (btp::NOT_ACCEPTED, ErrorCode::T00_INTERNAL_ERROR),
    ] {
        alice.send_prepare(1, &prepare("test.m2m.bob", 1, 1));
        let request_id = bob.frame().request_id;
        let mut error = Vec::new();
        btp::put_error(&mut error, request_id, code, "SomeError", support::now_ms(), b"", &[]);
        bob.send(&error);
        assert_rejected(&alice.frame(), 1, expected);
    }
}

#[test]
fn c14_a_transfer_gets_error_f00() {
    let switch = Switch::start("", "");
    for transport in ["ws", "tcp", "unix"] {
        let mut alice = switch.peer(transport, "alice");
        let mut transfer = Vec::new();
        btp::put_transfer(&mut transfer, 5, 1_000, &[]);
        alice.send(&transfer);
        let got = alice.frame();
        assert_eq!((got.frame_type, got.request_id), (FrameType::Error, 5));
        assert_eq!(got.error_code, Some(*b"F00"));
    }
    assert_eq!(switch.counter("links", "transfers_refused"), 3);
}

#[test]
fn a_switch_that_spins_forwards_all_the_same() {
    let switch = Switch::start_with("spin_us = 200", "", support::ACCOUNTS);
    let (mut alice, mut bob) = two(&switch, "unix");
    for _ in 0..100 {
        pay(&mut alice, &mut bob, "test.m2m.bob", 1);
    }
    assert_eq!(switch.account("alice", "balance"), "100");
}

/// Goal: no frame can end the process or its connection. Method: a good frame with every single bit
/// flipped, each inside of good framing; then one that must still be answered.
#[test]
fn a_frame_with_any_bit_flipped_harms_nothing() {
    let switch = Switch::start("bad_frames_max = 1000000", "");
    let (mut alice, mut bob) = two(&switch, "ws");
    let mut frame = Vec::new();
    btp::put_ilp(&mut frame, FrameType::Message, 1, &prepare("test.m2m.bob.x", 1, 1));
    for bit in 0..frame.len() * 8 {
        let mut flipped = frame.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        alice.send(&flipped);
    }
    alice.send_message(0xffff_ffff, b"done", b"");
    while alice.frame().request_id != 0xffff_ffff {}
    assert!(switch.counter("links", "bad_frames") > 0);
    drop(bob);
    bob = switch.peer("ws", "bob");
    alice.send_prepare(7, &prepare("test.m2m.bob", 1, 3));
    bob.fulfill_next(&preimage(3));
    while alice.frame().request_id != 7 {}
}

/// Goal: no framing can end the process. Method: every bit of the first bytes of a WebSocket frame
/// and of a stream frame, each on a connection of its own, which may end.
#[test]
fn framing_with_any_bit_flipped_ends_its_connection_at_worst() {
    let switch = Switch::start("close_ms = 100", "");
    let mut bob = switch.peer("unix", "bob");
    for transport in ["ws", "tcp"] {
        for bit in 0..14 * 8 {
            let mut alice = switch.peer(transport, "alice");
            let (mut frame, mut bytes) = (Vec::new(), Vec::new());
            btp::put_message(&mut frame, 1, &[]);
            alice.put(&mut bytes, &frame);
            alice.put(&mut bytes, &frame);
            bytes[bit / 8] ^= 1 << (bit % 8);
            alice.stream.write(&bytes).unwrap();
        }
    }
    let mut alice = switch.peer("unix", "alice");
    pay(&mut alice, &mut bob, "test.m2m.bob", 1);
}
