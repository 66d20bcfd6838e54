//! What is owed leaves the switch to be paid, and what was paid comes back: thresholds, and the settlement
//! socket, with a process at its other end that a test plays.

#![allow(clippy::unwrap_used)] // test code, though not inside of a test

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;

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
