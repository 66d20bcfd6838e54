//! What is owed leaves the switch to be paid: amounts that a threshold freezes.

#![allow(clippy::unwrap_used)] // test code, though not inside of a test

mod support;

use serde_json::{Value, json};
use support::*;

/// Bob is paid what is beyond 30, once it is owed 100.
const PAID: &str = "settle_threshold = 100\nsettle_to = \"30\"\n";

fn accounts() -> String {
    ACCOUNTS.replace("token = \"bob-secret\"\n", &format!("token = \"bob-secret\"\n{PAID}"))
}

/// `balance` and `frozen` of an account.
fn owed(switch: &Switch, name: &str) -> [Value; 2] {
    ["balance", "frozen"].map(|field| switch.account(name, field))
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
    let key = "0102030405060708090a0b0c0d0e0f10";
    let freeze = json!({ "cmd": "freeze", "account": "bob", "key": key, "settle_to": "0" });
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
