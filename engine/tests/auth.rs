//! Who connects, and within which limits of time and bytes.

mod support;

use std::net::TcpStream;

use m2_codec::btp::FrameType;
use support::{DEADLINE, Next, Peer, Stream, Switch, pay, wait};

/// Refused: an ERROR F00, a close frame on a WebSocket, and the end.
#[track_caller]
fn assert_refused(peer: &mut Peer) {
    let mut said = peer.until_end();
    if peer.role.is_some() {
        assert_eq!(said.pop(), Some(Next::Close(1008)));
    }
    let [Next::Frame(error)] = &said[..] else { panic!("{said:?}") };
    assert_eq!((error.frame_type, error.request_id), (FrameType::Error, 42));
    assert_eq!(error.error_code, Some(*b"F00"));
}

#[test]
fn c09_an_account_is_named_by_path_by_username_or_by_its_token_alone() {
    let switch = Switch::start("", "");
    let mut bob = switch.peer("ws", "bob");
    for (path, name) in [
        ("/accounts/alice/ilp/btp", None),
        ("/accounts/alice/ilp/btp", Some("alice")),
        ("/", Some("alice")),
        ("/", None),
        ("/anything?x=1", None),
    ] {
        let mut alice = switch.connect_ws(path);
        alice.authenticate(name, "alice-secret");
        pay(&mut alice, &mut bob, "test.m2m.bob", 1);
    }
    for mut alice in [switch.connect_tcp(), switch.connect_unix()] {
        alice.authenticate(None, "alice-secret");
        pay(&mut alice, &mut bob, "test.m2m.bob", 1);
    }
    assert_eq!(switch.account("alice", "balance"), "7");
}

#[test]
fn c08_a_wrong_token_is_refused_and_logged_with_where_it_came_from_and_never_itself() {
    let switch = Switch::start("", "");
    let from_port = |peer: &Peer| match &peer.stream {
        Stream::Tcp(stream) => stream.local_addr().unwrap().to_string(),
        Stream::Unix(_) => format!("process {}", std::process::id()),
    };
    let cases = [
        (switch.connect_ws("/"), Some("alice"), "bob-secret"),
        (switch.connect_ws("/accounts/alice/ilp/btp"), None, "guess-1"),
        (switch.connect_ws("/accounts/alice/ilp/btp"), Some("bob"), "bob-secret"),
        (switch.connect_ws("/"), Some("nobody"), "alice-secret"),
        (switch.connect_tcp(), None, "guess-2"),
        (switch.connect_unix(), Some("bob"), "guess-3"),
    ];
    for (mut peer, name, token) in cases {
        let from = from_port(&peer);
        peer.send_auth(name, token);
        assert_refused(&mut peer);
        switch.wait_for_log(&from);
    }
    let log = switch.log();
    for reason in [
        "wrong token for account",
        "the path and auth_username name different accounts",
        "no account is named",
        "no account has this token",
    ] {
        assert!(log.contains(reason), "{reason}");
    }
    assert!(!log.contains("secret") && !log.contains("guess"), "a token is in the log");
    assert_eq!(switch.counter("connections", "refused"), 6);
    assert_eq!(switch.account("alice", "connected"), false);
}

#[test]
fn c08_what_comes_behind_the_auth_at_once_is_not_lost() {
    let switch = Switch::start("", "");
    for transport in ["ws", "tcp", "unix"] {
        let mut peer = match transport {
            "ws" => switch.connect_ws("/"),
            "tcp" => switch.connect_tcp(),
            _ => switch.connect_unix(),
        };
        let (mut bytes, mut auth, mut message) = (Vec::new(), Vec::new(), Vec::new());
        m2_codec::btp::auth::put(&mut auth, 42, Some("alice"), "alice-secret");
        m2_codec::btp::put_message(&mut message, 43, &[]);
        peer.put(&mut bytes, &auth);
        peer.put(&mut bytes, &message);
        peer.stream.write(&bytes).unwrap();
        assert_eq!(peer.frame().request_id, 42);
        assert_eq!(peer.frame().request_id, 43);
    }
}

#[test]
fn c08_a_first_frame_that_is_no_auth_is_refused() {
    let switch = Switch::start("", "");
    let mut peer = switch.connect_tcp();
    peer.send_message(42, b"ilp", b"x");
    assert_refused(&mut peer);
    switch.wait_for_log("the first entry of the first frame is not `auth`");
}

#[test]
fn c15_a_ping_before_the_auth_is_answered() {
    let switch = Switch::start("", "");
    let mut alice = switch.connect_ws("/");
    alice.send_ws(0x89, b"early");
    assert_eq!(alice.next(), Next::Pong(b"early".to_vec()));
    alice.authenticate(Some("alice"), "alice-secret");
}

#[test]
fn who_is_not_authenticated_in_time_is_cut_off() {
    let switch = Switch::start("handshake_ms = 50", "");
    let silent = Stream::Tcp(TcpStream::connect(switch.ws_address()).unwrap());
    for mut peer in [
        Peer::new(silent, None),
        switch.connect_ws("/"),
        switch.connect_tcp(),
        switch.connect_unix(),
    ] {
        assert_eq!(peer.until_end(), []);
    }
    switch.wait_for_log("not authenticated within handshake_ms");
    wait("four are refused", || switch.counter("connections", "refused") == 4);
}

#[test]
fn who_sends_too_much_before_the_auth_is_cut_off() {
    let switch = Switch::start("handshake_bytes_max = 600", "");
    let mut peer = switch.connect_tcp();
    // A frame of 60,000 bytes is legal, but not from a stranger.
    peer.stream.write(b"\x06\x00\x00\x00\x2a\x82\xea\x60").unwrap();
    peer.stream.write(&[0; 592]).unwrap();
    assert_eq!(peer.until_end(), []);
    let mut stranger =
        Peer::new(Stream::Tcp(TcpStream::connect(switch.ws_address()).unwrap()), None);
    let request = format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(600 - 19));
    stranger.stream.write(request.as_bytes()).unwrap();
    assert_eq!(stranger.until_end(), []);
    wait("both are logged", || {
        switch.log().matches("not authenticated within handshake_bytes_max").count() == 2
    });
}

#[test]
fn more_strangers_than_allowed_are_turned_away_and_members_stay() {
    let switch = Switch::start("unauthenticated_max = 3", "");
    let mut alice = switch.peer("ws", "alice");
    let mut bob = switch.peer("ws", "bob");
    let mut strangers: Vec<Peer> = (0..3).map(|_| switch.connect_tcp()).collect();
    switch.wait_for_counter("connections", "accepted", 5);
    assert_eq!(switch.connect_tcp().until_end(), []);
    assert_eq!(switch.counter("connections", "turned_away"), 1);
    pay(&mut alice, &mut bob, "test.m2m.bob", 1);
    strangers.pop();
    wait("a place is free again", || {
        let mut peer = switch.connect_tcp();
        peer.send_auth(Some("carol"), "carol-secret");
        matches!(peer.next(), Next::Frame(_))
    });
}

#[test]
fn what_is_no_websocket_is_told_by_http() {
    use std::io::{Read as _, Write as _};
    let switch = Switch::start("", "");
    for (request, status) in [
        ("POST / HTTP/1.1\r\nHost: x\r\n\r\n", "405"),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "426"),
        ("\x06\x00\x00\x00\x01\x02\x01\x00\r\n\r\n", "400"),
    ] {
        let mut stream = TcpStream::connect(switch.ws_address()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
}
