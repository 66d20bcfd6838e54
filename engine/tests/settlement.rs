//! What is owed leaves the switch to be paid, and what was paid comes back: thresholds, and the settlement
//! socket, with a process at its other end that a test plays.

#![allow(clippy::unwrap_used)] // test code, though not inside of a test

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;

use m2_codec::btp::{self, FrameType};
use serde_json::{Value, json};
use support::*;

/// Bob is paid what is beyond 30, once it is owed 100.
const PAID: &str = "settle_threshold = 100\nsettle_to = \"30\"\n";
const SOCKET: &str = "settlement_socket = \"settle.sock\"";
const KEY: &str = "0102030405060708090a0b0c0d0e0f10";

fn accounts() -> String {
    ACCOUNTS.replace("token = \"bob-secret\"\n", &format!("token = \"bob-secret\"\n{PAID}"))
}

fn start() -> Switch {
    Switch::start_with(SOCKET, "", &accounts())
}

/// `balance` and `frozen` of an account.
fn owed(switch: &Switch, name: &str) -> [Value; 2] {
    ["balance", "frozen"].map(|field| switch.account(name, field))
}

/// The process that settles.
struct Settle {
    stream: BufReader<UnixStream>,
}

impl Settle {
    /// Connects, and reads what it is told at once.
    fn connect(switch: &Switch) -> (Self, Value) {
        let stream = UnixStream::connect(switch.folder().join("settle.sock")).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut settle = Self { stream: BufReader::new(stream) };
        let hello = settle.event();
        assert_eq!(hello["event"], "hello");
        (settle, hello)
    }

    #[track_caller]
    fn event(&mut self) -> Value {
        self.line().expect("the connection goes on")
    }

    /// `None` at its end.
    #[track_caller]
    fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
            read => read.unwrap(),
        };
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap())
    }

    fn tell(&mut self, line: &Value) {
        self.tell_line(&line.to_string());
    }

    fn tell_line(&mut self, line: &str) {
        self.stream.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    #[track_caller]
    fn ask(&mut self, line: &Value) -> Value {
        self.tell(line);
        self.event()
    }

    /// An answer, and what is to be paid by what it answers: either comes first.
    #[track_caller]
    fn answer_and_frozen(&mut self) -> [Value; 2] {
        let mut both = [self.event(), self.event()];
        both.sort_by_key(|event| event["event"] == "frozen");
        both
    }

    #[track_caller]
    fn frozen(&mut self, account: &str, amount: &str) -> String {
        let event = self.event();
        let key = event["key"].as_str().unwrap_or_else(|| panic!("{event}")).to_owned();
        let frozen = json!({ "event": "frozen", "account": account, "key": key, "amount": amount });
        assert_eq!(event, frozen);
        assert!(key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
        key
    }
}

fn up(name: &str) -> Value {
    json!({ "event": "up", "account": name })
}

fn ended(id: u64, cmd: &str, account: &str, key: &str) -> Value {
    json!({ "cmd": cmd, "id": id, "account": account, "key": key })
}

fn done(id: u64, known: bool) -> Value {
    json!({ "event": "answer", "id": id, "ok": true, "known": known })
}

#[track_caller]
fn refused(answer: &Value, id: u64, again: bool, words: &str) {
    let error = answer["error"].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert!(error.contains(words), "{error}");
    let told = json!({ "event": "answer", "id": id, "ok": false, "error": error, "again": again });
    assert_eq!(*answer, told);
}

#[test]
fn what_reaches_the_threshold_is_frozen_by_itself_and_no_order_freezes_beside_it() {
    let mut switch = Switch::start_with("", "", &accounts());
    switch.wait_for_log("nobody hears what is to be paid");
    let mut alice = switch.peer("tcp", "alice");
    let mut bob = switch.peer("tcp", "bob");
    pay(&mut alice, &mut bob, "test.m2m.bob", 99);
    assert_eq!(owed(&switch, "bob"), ["-99", "0"]);
    pay(&mut alice, &mut bob, "test.m2m.bob", 41);
    wait("the threshold is seen", || owed(&switch, "bob") == ["-30", "110"]);
    switch.wait_for_log("an amount is to be paid");
    // The next waits until this one has ended.
    pay(&mut alice, &mut bob, "test.m2m.bob", 400);
    assert_eq!(owed(&switch, "bob"), ["-430", "110"]);
    let freeze = json!({ "cmd": "freeze", "account": "bob", "key": KEY, "settle_to": "0" });
    let refused = switch.ask(&freeze);
    let error = refused["error"].as_str().unwrap();
    assert!(error.contains("110 units are being paid to this account already"), "{error}");
    assert_eq!(owed(&switch, "bob"), ["-430", "110"]);

    switch.kill_and_restart();
    assert_eq!(owed(&switch, "bob"), ["-430", "110"]);
}

#[test]
fn a_restart_freezes_what_a_changed_file_wants_paid() {
    let mut switch = Switch::start("", "");
    let mut alice = switch.peer("tcp", "alice");
    let mut bob = switch.peer("tcp", "bob");
    pay(&mut alice, &mut bob, "test.m2m.bob", 500);
    let file = switch.folder().join("switch.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(ACCOUNTS, &accounts())).unwrap();
    assert_eq!(owed(&switch, "bob"), ["-500", "0"]);
    switch.kill_and_restart();
    wait("the threshold is seen", || owed(&switch, "bob") == ["-30", "470"]);
}

#[test]
fn who_settles_is_told_what_is_to_be_paid_until_it_has_been() {
    let mut switch = start();
    assert!(!switch.log().contains("nobody hears what is to be paid"));
    let mode = std::fs::metadata(switch.folder().join("settle.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (mut settle, hello) = Settle::connect(&switch);
    let asset = |name| json!({ "account": name, "asset_code": "USD", "asset_scale": 9 });
    let accounts = json!([asset("alice"), asset("bob"), asset("carol")]);
    assert_eq!((&hello["version"], &hello["address"]), (&json!(1), &json!("test.m2m")));
    assert_eq!(hello["accounts"], accounts);
    let mut alice = switch.peer("tcp", "alice");
    assert_eq!(settle.event(), up("alice"));
    let mut bob = switch.peer("tcp", "bob");
    assert_eq!(settle.event(), up("bob"));
    pay(&mut alice, &mut bob, "test.m2m.bob", 150);
    let key = settle.frozen("bob", "120");

    // The switch dies; the new one knows no link, and the amount still.
    switch.kill_and_restart();
    assert_eq!(settle.line(), None);
    let (mut settle, _) = Settle::connect(&switch);
    assert_eq!(settle.frozen("bob", "120"), key);
    assert_eq!(owed(&switch, "bob"), ["-30", "120"]);
    assert_eq!(settle.ask(&ended(5, "settled", "bob", &key)), done(5, false));
    assert_eq!(owed(&switch, "bob"), ["-30", "0"]);
    assert_eq!(settle.ask(&ended(6, "settled", "bob", &key)), done(6, true));
    refused(&settle.ask(&ended(7, "cancelled", "bob", &key)), 7, false, "known as Settled");

    // What has ended is not told again, also not after a restart.
    let mut alice = switch.peer("tcp", "alice");
    let mut bob = switch.peer("tcp", "bob");
    let (mut settle, _) = Settle::connect(&switch);
    assert_eq!([settle.event(), settle.event()], [up("alice"), up("bob")]);
    pay(&mut alice, &mut bob, "test.m2m.bob", 70);
    let next = settle.frozen("bob", "70");
    settle.tell(&ended(8, "cancelled", "bob", &next));
    let [answer, again] = settle.answer_and_frozen();
    assert_eq!(answer, done(8, false));
    // It is owed again, and due again.
    assert_eq!((&again["account"], &again["amount"]), (&json!("bob"), &json!("70")));
    let again = again["key"].as_str().unwrap();
    assert_ne!(again, next);
    switch.kill_and_restart();
    let (mut settle, _) = Settle::connect(&switch);
    assert_eq!(settle.frozen("bob", "70"), again);
}

#[test]
fn orders_change_the_books_once_and_say_whether_to_tell_them_again() {
    let switch = start();
    let mut alice = switch.peer("tcp", "alice");
    let mut carol = switch.peer("tcp", "carol");
    let (mut settle, _) = Settle::connect(&switch);
    assert_eq!([settle.event(), settle.event()], [up("alice"), up("carol")]);
    pay(&mut alice, &mut carol, "test.m2m.carol", 60);
    let money = |cmd: &str, id: u64, key: &str, amount: &str| json!({ "cmd": cmd, "id": id, "account": "alice", "key": key, "amount": amount });
    let other = "f".repeat(32);
    assert_eq!(settle.ask(&money("credit", 1, KEY, "100")), done(1, false));
    assert_eq!(settle.ask(&money("credit", 2, KEY, "100")), done(2, true));
    refused(&settle.ask(&money("credit", 3, KEY, "99")), 3, false, "may not stand for two things");
    assert_eq!(settle.ask(&money("reverse", 4, &other, "10")), done(4, false));
    assert_eq!(
        [switch.account("alice", "balance"), switch.account("alice", "prepaid")],
        ["0", "30"]
    );

    // Carol has no threshold: it is paid when somebody says so.
    let pay_now =
        |id: u64| json!({ "cmd": "freeze", "id": id, "account": "carol", "settle_to": "20" });
    settle.tell(&pay_now(5));
    let [answer, frozen] = settle.answer_and_frozen();
    let key = answer["key"].as_str().unwrap();
    let paid = json!({
        "event": "answer", "id": 5, "ok": true, "known": false, "key": key, "amount": "40"
    });
    assert_eq!(answer, paid);
    let told = json!({ "event": "frozen", "account": "carol", "key": key, "amount": "40" });
    assert_eq!(frozen, told);
    refused(&settle.ask(&pay_now(6)), 6, true, "being paid to this account already");
    assert_eq!(settle.ask(&ended(7, "settled", "carol", key)), done(7, false));
    let nothing = json!({
        "event": "answer", "id": 8, "ok": true, "known": false, "key": null, "amount": null
    });
    assert_eq!(settle.ask(&pay_now(8)), nothing);

    let limits = json!({
        "cmd": "limits", "id": 9, "account": "alice", "balance_max": "0", "payable_max": "0"
    });
    assert_eq!(settle.ask(&limits), done(9, false));
    alice.send_prepare(8, &prepare("test.m2m.carol", 31, 3));
    assert_eq!(alice.frame().reject_code(), m2_codec::ilp::ErrorCode::T04_INSUFFICIENT_LIQUIDITY);

    refused(&settle.ask(&ended(10, "settled", "carol", KEY)), 10, false, "stand for two things");
    refused(&settle.ask(&ended(11, "settled", "nobody", KEY)), 11, false, "no account `nobody`");
    let unknown = "e".repeat(32);
    refused(&settle.ask(&ended(12, "settled", "carol", &unknown)), 12, false, "nothing was frozen");
    refused(&settle.ask(&ended(13, "settled", "carol", "x")), 13, false, "32 hexadecimal digits");
    settle.tell_line("what?");
    let error = settle.event();
    assert!(error["event"] == "error" && error["error"].as_str().unwrap().contains("JSON object"));
    assert_eq!(switch.counter("settlement", "lines_refused"), 2);
}

#[test]
fn a_peer_that_does_not_pay_is_stopped_at_its_limit_and_somebody_hears() {
    let limited = ACCOUNTS.replacen("balance_max = 1000000000", "balance_max = 100", 1);
    let switch = Switch::start_with(SOCKET, "", &limited);
    let mut alice = switch.peer("tcp", "alice");
    let mut bob = switch.peer("tcp", "bob");
    wait("both have links", || switch.account("bob", "connected") == true);
    let (mut settle, _) = Settle::connect(&switch);
    assert_eq!([settle.event(), settle.event()], [up("alice"), up("bob")]);
    pay(&mut alice, &mut bob, "test.m2m.bob", 90);
    assert_eq!(switch.counter("settlement", "exhausted"), 0);

    let refuse = |alice: &mut Peer, id: u32| {
        alice.send_prepare(id, &prepare("test.m2m.bob", 11, 3));
        let code = alice.frame().reject_code();
        assert_eq!(code, m2_codec::ilp::ErrorCode::T04_INSUFFICIENT_LIQUIDITY);
    };
    let exhausted = json!({
        "event": "exhausted", "account": "alice", "balance": "90", "held_in": "0", "balance_max": "100"
    });
    let mut packets = 0;
    // It is told anew each second, and not of each packet.
    for count in 1..=2 {
        wait("it is told", || {
            refuse(&mut alice, 1_000 + packets);
            packets += 1;
            switch.counter("settlement", "exhausted") == count
        });
        assert_eq!(settle.event(), exhausted);
    }
    switch.wait_for_log("credit is used up");
    assert_eq!(switch.log().matches("credit is used up").count(), 1, "one line a minute");

    let credit =
        json!({ "cmd": "credit", "id": 1, "account": "alice", "key": KEY, "amount": "90" });
    assert_eq!(settle.ask(&credit), done(1, false));
    pay(&mut alice, &mut bob, "test.m2m.bob", 100);
    assert_eq!(switch.account("alice", "balance"), "100");
}

#[test]
fn orders_are_worked_on_side_by_side_and_each_is_answered() {
    let switch = start();
    let (mut settle, _) = Settle::connect(&switch);
    let count = 1_000_u64;
    let orders: String = (0..count)
        .map(|id| {
            let order = json!({
                "cmd": "credit", "id": id, "account": "alice", "key": format!("{id:032x}"),
                "amount": "1",
            });
            format!("{order}\n")
        })
        .collect();
    settle.stream.get_mut().write_all(orders.as_bytes()).unwrap();
    let mut answered: Vec<u64> = (0..count)
        .map(|_| {
            let answer = settle.event();
            assert!(answer["ok"] == true && answer["known"] == false, "{answer}");
            answer["id"].as_u64().unwrap()
        })
        .collect();
    answered.sort_unstable();
    assert!(answered.into_iter().eq(0..count));
    assert_eq!(switch.account("alice", "prepaid"), "1000");
}

#[test]
fn the_newest_connection_is_served_and_the_one_before_ends() {
    let switch = start();
    let (mut older, _) = Settle::connect(&switch);
    let (mut newer, _) = Settle::connect(&switch);
    assert_eq!(older.line(), None);
    let peer = switch.peer("tcp", "alice");
    assert_eq!(newer.event(), up("alice"));
    // Another link of the account is up anew, be it seen to go down or not; one that ends is down.
    let down = json!({ "event": "down", "account": "alice" });
    let another = switch.peer("tcp", "alice");
    let mut event = newer.event();
    if event == down {
        event = newer.event();
    }
    assert_eq!(event, up("alice"));
    drop(peer);
    drop(another);
    assert_eq!(newer.event(), down);
    assert_eq!(switch.counter("settlement", "connections"), 2);
    assert_eq!(switch.counter("settlement", "replaced"), 1);
    assert_eq!(switch.ask(&json!({ "cmd": "counters" }))["settlement"]["connected"], true);
    drop(newer);
    wait("nobody settles", || {
        switch.ask(&json!({ "cmd": "counters" }))["settlement"]["connected"] == false
    });
}

#[test]
fn a_line_that_is_too_long_ends_the_connection() {
    let switch = start();
    let (mut settle, _) = Settle::connect(&switch);
    // The last byte that a line may have is its end.
    settle.tell_line(&"x".repeat((64 << 10) - 1));
    assert_eq!(settle.event()["event"], "error");
    let _ = settle.stream.get_mut().write_all("x".repeat(64 << 10).as_bytes());
    assert_eq!(settle.line(), None);
    let (_settle, _) = Settle::connect(&switch);
}

#[test]
fn a_process_that_does_not_read_is_let_go() {
    let switch = start();
    let (settle, _) = Settle::connect(&switch);
    let mut stream = settle.stream.get_ref();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    // Each line is answered with more bytes than it has.
    let lines = b"?\n".repeat(4 << 10);
    let is_let_go = (0..256).any(|_| stream.write_all(&lines).is_err());
    assert!(is_let_go, "a million answers wait");
    switch.wait_for_counter("settlement", "lagging", 1);
    let (_settle, _) = Settle::connect(&switch);
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn send(account: &str, token: u64, text: &str) -> Value {
    json!({ "cmd": "send", "account": account, "token": token, "bytes": hex(text) })
}

fn replied(account: &str, token: u64, text: &str) -> Value {
    json!({ "event": "reply", "account": account, "token": token, "bytes": hex(text) })
}

/// What was sent has no answer, and why.
#[track_caller]
fn unanswered(event: &Value, account: &str, token: u64, words: &str) {
    let error = event["error"].as_str().unwrap_or_else(|| panic!("{event}"));
    assert!(error.contains(words), "{error}");
    let told = json!({ "event": "reply", "account": account, "token": token, "error": error });
    assert_eq!(*event, told);
}

impl Settle {
    /// The next message of a peer: its token.
    #[track_caller]
    fn message(&mut self, account: &str, text: &str) -> u64 {
        let event = self.event();
        let token = event["token"].as_u64().unwrap_or_else(|| panic!("{event}"));
        let bytes = hex(text);
        let told =
            json!({ "event": "message", "account": account, "token": token, "bytes": bytes });
        assert_eq!(event, told);
        token
    }

    fn reply(&mut self, account: &str, token: u64, text: &str) {
        let bytes = hex(text);
        let reply = json!({ "cmd": "reply", "account": account, "token": token, "bytes": bytes });
        self.tell(&reply);
    }
}

/// What a MESSAGE of settlement was answered with.
#[track_caller]
fn answered(peer: &mut Peer, request_id: u32, text: &str) {
    let got = peer.frame();
    assert_eq!((got.frame_type, got.request_id), (FrameType::Response, request_id), "{got:?}");
    assert_eq!((got.entries, &*got.said), (1, text));
}

#[track_caller]
fn turned_away(peer: &mut Peer, request_id: u32, code: &[u8; 3], words: &str) {
    let got = peer.frame();
    assert_eq!((got.frame_type, got.request_id), (FrameType::Error, request_id), "{got:?}");
    assert_eq!(got.error_code, Some(*code));
    assert!(got.said.contains(words), "{got:?}");
}

#[test]
fn c18_what_one_settlement_process_says_the_other_hears_and_answers() {
    let left = "[[accounts]]\nname = \"left\"\nrelation = \"peer\"\nasset = \"USD/9\"\n\
                token = \"left-secret\"\n";
    let b = Switch::start_with(SOCKET, "", &format!("{ACCOUNTS}{left}"));
    let (mut settle_b, _) = Settle::connect(&b);
    let right = format!(
        "[[accounts]]\nname = \"right\"\nrelation = \"peer\"\nasset = \"USD/9\"\n\
         dial = \"btp+tcp://left@{}\"\ndial_token = \"left-secret\"\n",
        b.tcp_address()
    );
    let a = Switch::start_with(SOCKET, "", &format!("{ACCOUNTS}{right}"));
    assert_eq!(settle_b.event(), up("left"));
    wait("the link is up at both ends", || a.account("right", "connected") == true);
    let (mut settle_a, _) = Settle::connect(&a);
    assert_eq!(settle_a.event(), up("right"));

    let longest = "x".repeat(btp::SETTLEMENT_LEN_MAX);
    for (token, text) in [(1, "claim"), (2, "claim"), (u64::MAX, &*longest)] {
        settle_a.tell(&send("right", token, text));
        let asked = settle_b.message("left", text);
        // Both directions at once.
        settle_b.tell(&send("left", 7, "and you?"));
        let asked_back = settle_a.message("right", "and you?");
        settle_b.reply("left", asked, &longest);
        assert_eq!(settle_a.event(), replied("right", token, &longest));
        settle_a.reply("right", asked_back, "well");
        assert_eq!(settle_b.event(), replied("left", 7, "well"));
    }
    for switch in [&a, &b] {
        for name in ["settlement_messages_in", "settlement_messages_out"] {
            assert_eq!(switch.counter("links", name), 3, "{name}");
        }
        assert_eq!(switch.counter("links", "settlement_messages_refused"), 0);
        assert_eq!(switch.counter("packets", "answers_unknown"), 0);
    }
    // The other switch goes, and whoever waits is told.
    settle_a.tell(&send("right", 8, "still there?"));
    settle_b.message("left", "still there?");
    drop(b);
    // Either comes first.
    let mut both = [settle_a.event(), settle_a.event()];
    both.sort_by_key(|event| event["event"] == "down");
    unanswered(&both[0], "right", 8, "the link ended before the answer came");
    assert_eq!(both[1], json!({ "event": "down", "account": "right" }));
    unanswered(&settle_a.ask(&send("right", 9, "hello?")), "right", 9, "has no link");
}

#[test]
fn c19_a_message_that_nobody_can_answer_now_is_told_so() {
    let switch = start();
    for transport in ["tcp", "ws", "unix"] {
        let mut alice = switch.peer(transport, "alice");
        alice.say(1, b"hello?");
        turned_away(&mut alice, 1, btp::UNREACHABLE, "no settlement process is connected");
        let (mut settle, _) = Settle::connect(&switch);
        assert_eq!(settle.event(), up("alice"));
        // What could never be passed on.
        alice.say(2, b"");
        turned_away(&mut alice, 2, btp::NOT_ACCEPTED, "has no bytes");
        alice.say(3, &[7; btp::SETTLEMENT_LEN_MAX + 1]);
        turned_away(&mut alice, 3, btp::NOT_ACCEPTED, "more than 1024 bytes");
        // One at a time.
        alice.say(4, b"one");
        let one = settle.message("alice", "one");
        alice.say(5, b"two");
        turned_away(&mut alice, 5, btp::UNREACHABLE, "another settlement message of this link");
        // A token of nobody changes nothing.
        settle.reply("alice", one + 1, "no");
        settle.reply("bob", one, "no");
        settle.reply("nobody", one, "no");
        settle.reply("alice", one, "yes");
        answered(&mut alice, 4, "yes");
        settle.reply("alice", one, "twice");
        alice.say(5, b"three");
        settle.message("alice", "three");
        // A newer process was not told of it.
        let (mut newer, _) = Settle::connect(&switch);
        turned_away(&mut alice, 5, btp::UNREACHABLE, "the settlement process is gone");
        assert_eq!(newer.event(), up("alice"));
        alice.say(6, b"four");
        newer.message("alice", "four");
        drop(newer);
        turned_away(&mut alice, 6, btp::UNREACHABLE, "the settlement process is gone");
        drop(alice);
        wait("the link is down", || switch.account("alice", "connected") == false);
    }
    assert_eq!(switch.counter("settlement", "replies_dropped"), 3 * 4);
    assert_eq!(switch.counter("links", "settlement_messages_refused"), 3 * 6);
    assert_eq!(switch.counter("links", "settlement_messages_in"), 3 * 4);
}

#[test]
fn c19_a_reply_goes_to_the_connection_that_its_message_came_on() {
    let switch = start();
    let (mut settle, _) = Settle::connect(&switch);
    let mut alice = switch.peer("tcp", "alice");
    assert_eq!(settle.event(), up("alice"));
    alice.say(1, b"one");
    let one = settle.message("alice", "one");
    drop(alice);
    assert_eq!(settle.event(), json!({ "event": "down", "account": "alice" }));
    let mut alice = switch.peer("tcp", "alice");
    assert_eq!(settle.event(), up("alice"));
    settle.reply("alice", one, "late");
    switch.wait_for_counter("links", "settlement_replies_dropped", 1);
    alice.say(1, b"two");
    let two = settle.message("alice", "two");
    settle.reply("alice", two, "in time");
    answered(&mut alice, 1, "in time");
}

/// Goal: whatever a peer answers to a message, no packet ends by it. Method: a packet is under way on the
/// link, and the answers are those that would end it.
#[test]
fn c18_no_answer_to_a_message_ends_a_packet() {
    let switch = start();
    let (mut settle, _) = Settle::connect(&switch);
    let mut alice = switch.peer("tcp", "alice");
    let mut bob = switch.peer("tcp", "bob");
    assert_eq!([settle.event(), settle.event()], [up("alice"), up("bob")]);
    alice.send_prepare(7, &prepare("test.m2m.bob", 5, 3));
    let packet = bob.frame();
    for token in 0..200 {
        settle.tell(&send("bob", token, "claim"));
        let message = bob.frame();
        assert_eq!((message.frame_type, &*message.said), (FrameType::Message, "claim"));
        assert_ne!(message.request_id, packet.request_id);
        if token == 0 {
            let event = settle.ask(&send("bob", 1_000, "another"));
            unanswered(&event, "bob", 1_000, "another message of this link");
        }
        let id = message.request_id;
        let mut frame = Vec::new();
        match token % 3 {
            0 => btp::put_response(&mut frame, id, &[]),
            1 => btp::put_error(&mut frame, id, b"F00", "NotAcceptedError", 0, b"never", &[]),
            _ => bob.say_back(id, b"fine"),
        }
        bob.send(&frame);
        let event = settle.event();
        match token % 3 {
            0 => unanswered(&event, "bob", token, "the peer has no settlement"),
            1 => unanswered(&event, "bob", token, "F00 NotAcceptedError: never"),
            _ => assert_eq!(event, replied("bob", token, "fine")),
        }
        // Once more is an answer to nothing.
        bob.say_back(id, b"again");
    }
    let mut fulfill = Vec::new();
    m2_codec::ilp::put_fulfill(&mut fulfill, &preimage(3), b"");
    bob.send_response(packet.request_id, &fulfill);
    assert_eq!(alice.frame().fulfillment(), preimage(3));
    assert_eq!(switch.counter("packets", "answers_unknown"), 200);
    unanswered(&settle.ask(&send("carol", 5, "x")), "carol", 5, "has no link");
    unanswered(&settle.ask(&send("nobody", 6, "x")), "nobody", 6, "no account `nobody`");
    let event = settle.ask(&send("bob", 7, ""));
    unanswered(&event, "bob", 7, "1 to 1024 bytes");
    // A peer that is replaced answers no more.
    settle.tell(&send("bob", 8, "claim"));
    bob.frame();
    let _bob = switch.peer("tcp", "bob");
    let mut event = settle.event();
    while event["event"] != "reply" {
        event = settle.event();
    }
    unanswered(&event, "bob", 8, "the link ended before the answer came");
}
