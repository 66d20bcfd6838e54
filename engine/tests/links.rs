//! Links that are replaced, lost, full, silent, and dialled.

#![allow(clippy::unwrap_used)] // helpers of tests, though not inside of one

mod support;

use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use m2_codec::btp::FrameType;
use m2_codec::ilp::ErrorCode;
use support::{Next, Peer, Stream, Switch, pay, preimage, prepare, prepare_with, wait};

#[test]
fn c10_a_second_connection_of_an_account_replaces_the_first() {
    let switch = Switch::start("", "");
    let mut bob = switch.peer("ws", "bob");
    for (first, second) in [("ws", "tcp"), ("tcp", "unix"), ("unix", "ws"), ("ws", "ws")] {
        let mut old = switch.peer(first, "alice");
        let replaced = switch.counter("links", "links_replaced");
        let mut new = switch.peer(second, "alice");
        let close: &[Next] = if first == "ws" { &[Next::Close(1008)] } else { &[] };
        assert_eq!(old.until_end(), close);
        pay(&mut new, &mut bob, "test.m2m.bob", 1);
        pay(&mut bob, &mut new, "test.m2m.alice", 1);
        assert_eq!(switch.counter("links", "links_replaced"), replaced + 1);
    }
}

#[test]
fn c10_an_answer_on_a_newer_connection_does_not_count() {
    let switch = Switch::start("", "");
    let mut alice = switch.peer("ws", "alice");
    let mut old = switch.peer("tcp", "bob");
    alice.send_prepare(1, &prepare_with("test.m2m.bob", 9, 1, 2_500, b""));
    let request_id = old.frame().request_id;
    let mut new = switch.peer("tcp", "bob");
    let mut fulfill = Vec::new();
    m2_codec::ilp::put_fulfill(&mut fulfill, &preimage(1), b"");
    new.send_response(request_id, &fulfill);
    wait("it is counted", || switch.counter("packets", "answers_foreign") == 1);
    // The packet waits for its expiry, as the first connection may have fulfilled it unseen.
    assert_eq!(alice.frame().reject_code(), ErrorCode::R00_TRANSFER_TIMED_OUT);
    assert_eq!(switch.account("alice", "balance"), "0");
}

#[test]
fn a_fulfill_whose_sender_is_gone_counts_and_is_told_as_undelivered() {
    let switch = Switch::start("", "");
    let mut alice = switch.peer("ws", "alice");
    let mut bob = switch.peer("ws", "bob");
    alice.send_prepare(1, &prepare("test.m2m.bob", 9, 1));
    let got = bob.frame();
    drop(alice);
    wait("alice is gone", || switch.account("alice", "connected") == false);
    let mut fulfill = Vec::new();
    m2_codec::ilp::put_fulfill(&mut fulfill, &preimage(1), b"");
    bob.send_response(got.request_id, &fulfill);
    switch.wait_for_log("could not be delivered: its connection is gone");
    assert_eq!(switch.account("alice", "balance"), "9");
    assert_eq!(switch.account("bob", "balance"), "-9");
    assert_eq!(switch.account("alice", "undelivered_fulfills"), 1);
}

#[test]
fn a_late_fulfill_is_recorded_and_told_with_its_preimage() {
    let switch = Switch::start_with(
        "expiry_margin_ms = 10\nremaining_ms_min = 10",
        "",
        &format!("{}[log]\nformat = \"json\"\n", support::ACCOUNTS),
    );
    let mut alice = switch.peer("ws", "alice");
    let mut bob = switch.peer("ws", "bob");
    alice.send_prepare(1, &prepare_with("test.m2m.bob", 9, 1, 300, b""));
    let request_id = bob.frame().request_id;
    assert_eq!(alice.frame().reject_code(), ErrorCode::R00_TRANSFER_TIMED_OUT);
    let mut fulfill = Vec::new();
    m2_codec::ilp::put_fulfill(&mut fulfill, &preimage(1), b"");
    bob.send_response(request_id, &fulfill);
    switch.wait_for_log("a FULFILL came after its packet had expired");
    let log = switch.log();
    let line = log.lines().find(|line| line.contains("had expired")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["fulfillment"], "01".repeat(32));
    assert_eq!(line["recorded"], true);
}

#[test]
fn no_undelivered_fulfill_falls_to_the_limit_of_lines() {
    // More at once than peers can cause of other lines in a second.
    const COUNT: u8 = 200;
    let switch = Switch::start("", "");
    let mut alice = switch.peer("ws", "alice");
    let mut bob = switch.peer("ws", "bob");
    for seed in 1..=COUNT {
        alice.send_prepare(seed.into(), &prepare("test.m2m.bob", 1, seed));
    }
    let asked: Vec<u32> = (1..=COUNT).map(|_| bob.frame().request_id).collect();
    drop(alice);
    wait("alice is gone", || switch.account("alice", "connected") == false);
    for (seed, request_id) in (1..=COUNT).zip(asked) {
        let mut fulfill = Vec::new();
        m2_codec::ilp::put_fulfill(&mut fulfill, &preimage(seed), b"");
        bob.send_response(request_id, &fulfill);
    }
    wait("each is told", || {
        switch.log().matches("a FULFILL that counts could not be delivered").count()
            == usize::from(COUNT)
    });
    let counters = switch.ask(&serde_json::json!({ "cmd": "counters" }));
    assert_eq!(counters["log_evidence_lines_left_out"], 0);
}

/// Has `from` send PREPAREs to bob, who does not read, until his egress has half of its cap: how many
/// went, of which the last was refused (T02).
fn fill(switch: &Switch, from: &mut Peer) -> u64 {
    let data = [0; 32_000];
    // Both are bob's shard's to say.
    let decided =
        || switch.account("bob", "prepares_out").as_u64().unwrap() + switch.refused("T02");
    let (before, busy) = (decided(), switch.refused("T02"));
    for sent in 1..1_000 {
        let request_id = u32::try_from(sent).unwrap();
        from.send_prepare(request_id, &prepare_with("test.m2m.bob", 1, 1, 25_000, &data));
        wait("the last one has left or is refused", || decided() == before + sent);
        if switch.refused("T02") > busy {
            let got = from.frame();
            assert_eq!((got.request_id, got.reject_code()), (request_id, ErrorCode::T02_PEER_BUSY));
            return sent;
        }
    }
    panic!("the egress never fills");
}

#[test]
fn c16_packets_of_which_no_byte_left_are_answered_t01_when_their_link_is_lost() {
    let switch = Switch::start("egress_bytes_max = 1048576", "");
    let mut alice = switch.peer("ws", "alice");
    for transport in ["unix", "ws"] {
        let bob = switch.peer(transport, "bob");
        let unsent_before = switch.counter("links", "prepares_unsent");
        let in_flight_before = switch.account("alice", "in_flight_in").as_u64().unwrap();
        let sent = fill(&switch, &mut alice);
        drop(bob);
        wait("the link is down", || switch.account("bob", "connected") == false);
        let unsent = switch.counter("links", "prepares_unsent") - unsent_before;
        // Half a megabyte holds 16 of these, of which the first may have left in part.
        assert!((15..=17).contains(&unsent), "{unsent} of {sent}");
        for _ in 0..unsent {
            assert_eq!(alice.frame().reject_code(), ErrorCode::T01_PEER_UNREACHABLE);
        }
        // What left waits for its expiry: it may be fulfilled unseen.
        let in_flight = switch.account("alice", "in_flight_in").as_u64().unwrap();
        assert_eq!(in_flight - in_flight_before, sent - 1 - unsent);
    }
}

#[test]
fn a_peer_that_stops_reading_hurts_itself_alone() {
    let switch = Switch::start("egress_bytes_max = 262144", "");
    let mut alice = switch.peer("ws", "alice");
    let mut carol = switch.peer("tcp", "carol");
    let mut bob = switch.peer("unix", "bob");
    pay(&mut alice, &mut carol, "test.m2m.carol", 1);
    let memory_before = resident_kib(switch.pid());

    // Half of the cap is for PREPAREs: then T02, and others go on.
    fill(&switch, &mut alice);
    pay(&mut alice, &mut carol, "test.m2m.carol", 1);
    assert_eq!(switch.account("bob", "connected"), true);

    // The other half is for answers: a peer that asks on and on without reading is closed.
    let mut asked = 0_u32;
    let mut frame = Vec::new();
    m2_codec::btp::put_ilp(&mut frame, FrameType::Message, 1, &prepare("test.nowhere", 1, 1));
    while bob.try_send(&frame).is_ok() {
        asked += 1;
        assert!(asked < 1_000_000, "it is never closed");
    }
    switch.wait_for_log("its egress is past egress_bytes_max");
    assert_eq!(switch.counter("links", "links_full"), 1);
    assert_eq!(switch.account("bob", "connected"), false);
    // What was waiting for bob and had not left is told.
    for _ in 0..switch.counter("links", "prepares_unsent") {
        assert_eq!(alice.frame().reject_code(), ErrorCode::T01_PEER_UNREACHABLE);
    }
    pay(&mut alice, &mut carol, "test.m2m.carol", 1);
    let grown = resident_kib(switch.pid()).saturating_sub(memory_before);
    assert!(grown < 16 << 10, "{grown} KiB more");
}

#[test]
fn a_peer_that_reads_late_gets_everything_and_in_its_order() {
    const COUNT: u32 = 100;
    let switch = Switch::start("", "");
    for transport in ["ws", "tcp", "unix"] {
        let mut alice = switch.peer(transport, "alice");
        let mut bob = switch.peer(transport, "bob");
        let asked = switch.account("alice", "requests_in").as_u64().unwrap();
        let mut frames = Vec::new();
        for request_id in 0..COUNT {
            // 3.2 MB: more than sockets and a buffer hold, less than half of the egress.
            let data = request_id.to_be_bytes().repeat(8_000);
            let packet = prepare_with("test.m2m.bob", 1, 1, 25_000, &data);
            let mut frame = Vec::new();
            m2_codec::btp::put_ilp(&mut frame, FrameType::Message, request_id, &packet);
            alice.put(&mut frames, &frame);
        }
        alice.stream.write(&frames).unwrap();
        switch.wait_for_requests("alice", asked + u64::from(COUNT));
        for request_id in 0..COUNT {
            let got = bob.fulfill_next(&preimage(1));
            let data = m2_codec::ilp::Prepare::new_checked(&got.packet[..]).unwrap();
            assert_eq!(data.data(), request_id.to_be_bytes().repeat(8_000));
        }
        for request_id in 0..COUNT {
            let got = alice.frame();
            assert_eq!((got.request_id, got.fulfillment()), (request_id, preimage(1)));
        }
    }
    assert_eq!(switch.account("bob", "balance"), format!("-{}", 3 * COUNT));
}

#[test]
fn a_packet_sent_just_before_the_end_is_forwarded() {
    let switch = Switch::start("", "");
    let mut bob = switch.peer("tcp", "bob");
    for round in 0..10 {
        let mut alice = switch.connect_tcp();
        let mut bytes = Vec::new();
        m2_codec::btp::auth::put(&mut bytes, 42, Some("alice"), "alice-secret");
        let packet = prepare("test.m2m.bob", round, 1);
        m2_codec::btp::put_ilp(&mut bytes, FrameType::Message, 1, &packet);
        alice.stream.write(&bytes).unwrap();
        alice.stream.end();
        assert_eq!(support::amount_of(&bob.frame().packet), round);
        wait("the link is down", || switch.account("alice", "connected") == false);
    }
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn c15_a_silent_peer_is_pinged_and_given_up_when_no_pong_comes() {
    let switch = Switch::start("ping_ms = 40", "");
    let mut bob = switch.peer("ws", "bob");
    for _ in 0..3 {
        let Next::Ping(payload) = bob.next() else { panic!("no ping") };
        bob.send_ws(0x8a, &payload);
    }
    assert_eq!(switch.account("bob", "connected"), true);
    while bob.next() != Next::End {}
    switch.wait_for_log("the peer is silent");
    assert_eq!(switch.counter("links", "links_silent"), 1);
}

#[test]
fn c16_a_dialled_peer_is_dialled_again_when_its_link_is_lost() {
    let folder = support::Folder::new();
    let path = folder.path().join("peer.sock");
    let (ws, tcp) = (listener(), listener());
    let unix = UnixListener::bind(&path).unwrap();
    let dialled = |name: &str, url: &str| {
        format!(
            "[[accounts]]\nname = \"{name}\"\nrelation = \"peer\"\nasset = \"USD/9\"\n\
             dial = \"{url}\"\ndial_token = \"{name}-token\"\npayable_max = 1000\n\
             routes = [\"test.{name}\"]\n"
        )
    };
    let more = [
        dialled("dora", &format!("btp+ws://us@{}/accounts/us/ilp/btp", ws.local_addr().unwrap())),
        dialled("emil", &format!("btp+tcp://us@{}", tcp.local_addr().unwrap())),
        dialled("finn", &format!("btp+unix://us@{}", path.display())),
    ];
    let switch = Switch::start("", &more.concat());
    let mut alice = switch.peer("ws", "alice");
    type Accept<'a> = Box<dyn Fn() -> Peer + 'a>;
    let accept: [(&str, Accept<'_>); 3] = [
        ("dora", Box::new(|| Peer::accept_ws(ws.accept().unwrap().0))),
        ("emil", Box::new(|| Peer::new(Stream::Tcp(tcp.accept().unwrap().0), None))),
        ("finn", Box::new(|| Peer::new(Stream::Unix(unix.accept().unwrap().0), None))),
    ];
    for (name, accept) in accept {
        for round in 0..3 {
            let mut peer = accept();
            let shown = peer.take_auth();
            assert_eq!(shown, (Some("us".into()), format!("{name}-token")));
            wait("the link is up", || switch.account(name, "connected") == true);
            pay(&mut alice, &mut peer, &format!("test.{name}.x"), 1);
            assert_eq!(switch.account(name, "balance"), format!("-{}", round + 1));
        }
    }
    assert!(!switch.log().contains("-token"), "a token is in the log");
}

#[test]
fn c16_a_peer_that_refuses_us_is_logged_and_dialled_again() {
    let tcp = listener();
    let more = format!(
        "[[accounts]]\nname = \"dora\"\nrelation = \"peer\"\nasset = \"USD/9\"\n\
         dial = \"btp+tcp://us@{}\"\ndial_token = \"s3cret\"\n",
        tcp.local_addr().unwrap()
    );
    let switch = Switch::start("", &more);
    let mut peer = Peer::new(Stream::Tcp(tcp.accept().unwrap().0), None);
    let auth = peer.frame();
    let mut error = Vec::new();
    let name = "NotAcceptedError";
    m2_codec::btp::put_error(&mut error, auth.request_id, b"F00", name, 0, b"", &[]);
    peer.send(&error);
    switch.wait_for_log("the peer does not accept us: F00 NotAcceptedError");
    let mut peer = Peer::new(Stream::Tcp(tcp.accept().unwrap().0), None);
    peer.take_auth();
    wait("the link is up", || switch.account("dora", "connected") == true);
    assert!(!switch.log().contains("s3cret"));
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[test]
fn connections_leave_no_descriptor_behind() {
    let switch = Switch::start("handshake_ms = 100\nclose_ms = 100", "");
    let open = || std::fs::read_dir(format!("/proc/{}/fd", switch.pid())).unwrap().count();
    drop(switch.peer("ws", "alice"));
    wait("alice is gone", || switch.account("alice", "connected") == false);
    let before = open();
    for transport in ["ws", "tcp", "unix"] {
        for _ in 0..20 {
            drop(switch.peer(transport, "alice"));
        }
    }
    let strangers: Vec<Peer> = (0..20).map(|_| switch.connect_tcp()).collect();
    for _ in 0..20 {
        let mut peer = switch.connect_ws("/");
        peer.send_auth(Some("alice"), "wrong");
        peer.until_end();
    }
    // The connection that asks may be one of them, for a moment.
    wait("all are closed", || open() <= before + 1);
    drop(strangers);
    assert!(switch.counter("connections", "refused") >= 40);
}
