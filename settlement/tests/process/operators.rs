//! The control socket, as an operator has it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::chain::MANY;
use crate::node::tools;
use crate::scene::{Scene, Setup, UNIT, list};
use crate::switch::ask;

#[track_caller]
fn refused(answer: &Value, words: &str) {
    assert_eq!(answer["ok"], false, "{answer}");
    assert!(answer["error"].as_str().unwrap().contains(words), "{answer}");
}

#[tokio::test]
async fn operators_pay_redeem_cancel_and_close_alone() {
    let Some(tools) = tools() else { return };
    let setup = Setup { redeem_min: [0, u128::from(u64::MAX)], ..Setup::default() };
    let mut scene = Scene::new(&tools, setup).await;

    // Pay: whatever is owed, below its threshold as well.
    scene.switches.change(0, "bob", |book| book.threshold = u128::MAX);
    let nothing = scene.ask(0, &json!({ "cmd": "pay", "account": "bob" }));
    assert_eq!(nothing, json!({ "ok": true, "key": null, "amount": null }));
    scene.switches.owe(0, "bob", 7_000_001);
    let paid = scene.ask(0, &json!({ "cmd": "pay", "account": "bob" }));
    assert_eq!((&paid["ok"], &paid["amount"]), (&json!(true), &json!("7000001")), "{paid}");
    scene.until_paid_in_all([7_000, 0]).await;
    let key = paid["key"].as_str().unwrap();
    assert_eq!(scene.switches.book(0, "bob").settled[key], 7_000_001);

    // Cancel: what a claim pays is not taken back, nor what nobody has frozen.
    refused(&scene.ask(0, &json!({ "cmd": "cancel", "key": key })), "has ended");
    let unknown = "00".repeat(16);
    refused(&scene.ask(0, &json!({ "cmd": "cancel", "key": unknown })), "no key");
    // Less than a unit of the token is paid with what was left over, or is not.
    scene.switches.owe(0, "bob", 100);
    let left = scene.ask(0, &json!({ "cmd": "pay", "account": "bob" }));
    scene.until_paid().await;
    assert_eq!(left["amount"], "100");
    assert_eq!(scene.account(0, "bob")["left_over"], "101");

    // Redeem: though it is not worth it by itself.
    assert_eq!(scene.status(1)["channels"][0]["redeemed"], "0");
    assert_eq!(list(&scene.status(1)["transactions"]).count(), 0);
    scene.does(1, &json!({ "cmd": "redeem", "account": "alice" }));
    scene
        .until("it is redeemed", |scene| scene.status(1)["channels"][0]["redeemed"] == "7000")
        .await;
    assert_eq!(scene.balance(1).await, MANY + 7_000);

    // Resume: what is not paused goes on as it did.
    scene.does(1, &json!({ "cmd": "resume", "account": "alice" }));
    assert_eq!(scene.account(1, "alice")["paused"], Value::Null);

    // Close alone: without the peer, after its window.
    scene.kill(1);
    scene.does(0, &json!({ "cmd": "close", "account": "bob", "how": "alone" }));
    scene.until("it closes", |scene| scene.status(0)["channels"][0]["state"] == "closing").await;
    assert_eq!(scene.status(0)["channels"][0]["ending"], "alone");
    scene.chain.node.ask("evm_increaseTime", json!([3_601])).await;
    scene.until("it is over", |scene| scene.status(0)["channels"][0]["state"] == "over").await;
    assert_eq!(scene.balance(0).await, MANY - 7_000);
    assert_eq!(scene.switches.book(1, "alice").credited(), 7_000 * UNIT);
}

#[tokio::test]
async fn what_an_operator_was_told_is_done_survives_a_kill_at_once() {
    let Some(tools) = tools() else { return };
    let mut scene = Scene::new(&tools, Setup::default()).await;
    scene.switches.owe(0, "bob", 7_000 * UNIT);
    scene.until_paid_in_all([7_000, 0]).await;
    // Nothing happens but what is asked for.
    scene.mines = false;
    scene.kill(1);
    scene.does(0, &json!({ "cmd": "close", "account": "bob", "how": "together" }));
    scene.kill(0);
    scene.start(0);
    scene.until("it is there again", |scene| scene.try_status(0).is_some()).await;
    assert_eq!(scene.status(0)["channels"][0]["ending"], "together");
}

#[tokio::test]
async fn what_is_no_request_is_told_and_harms_nobody() {
    let Some(tools) = tools() else { return };
    let mut scene = Scene::new(&tools, Setup::default()).await;
    let socket = scene.control(0);
    for (line, words) in [
        ("", "one JSON object"),
        ("nonsense", "one JSON object"),
        ("[]", "one JSON object"),
        (r#"{"cmd":"stop"}"#, "unknown variant"),
        (r#"{"cmd":"status","account":"bob"}"#, "one JSON object"),
        (r#"{"cmd":"pay"}"#, "missing field `account`"),
        (r#"{"cmd":"pay","account":"nobody"}"#, "`status` names them all"),
        (r#"{"cmd":"redeem","account":"nobody"}"#, "`status` names them all"),
        (r#"{"cmd":"resume","account":"nobody"}"#, "`status` names them all"),
        (r#"{"cmd":"close","account":"nobody","how":"alone"}"#, "`status` names them all"),
        (r#"{"cmd":"close","account":"bob","how":"now"}"#, "`together`"),
        (r#"{"cmd":"cancel","key":"00"}"#, "16 bytes"),
    ] {
        refused(&ask(&socket, line).unwrap(), words);
    }
    refused(&ask(&socket, &"x".repeat(5_000)).unwrap(), "at most 4096 bytes");

    // Many requests on one connection, and some in pieces.
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap().take(1 << 20));
    for _ in 0..3 {
        for piece in ["{\"cmd\":", "\"status\"", "}\n"] {
            stream.write_all(piece.as_bytes()).unwrap();
        }
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let status: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(status["ok"], true);
    }

    // Without its switch it can still be asked, and says that it is gone.
    scene.switches.kill(0);
    scene.until("it is seen", |scene| scene.status(0)["switch_connected"] == false).await;
    let pay = ask(&socket, r#"{"cmd":"pay","account":"bob"}"#).unwrap();
    refused(&pay, "the switch is not there");
    scene.switches.listen(0);
    scene.until("it is back", |scene| scene.are_there()).await;
}
