//! Channels that one party ends behind the other's back.

use m2_settle::worker::Worker as _;
use m2_settlement::chain::{Call, Draft, Fee};
use serde_json::json;

use crate::chain::{MANY, claim, draft};
use crate::node::tools;
use crate::scene::{AHEAD, Scene, Setup, UNIT, list};

/// Nothing is worth redeeming for the payee.
fn patient() -> Setup {
    Setup { redeem_min: [0, u128::from(u64::MAX)], ..Setup::default() }
}

async fn pass(scene: &Scene, seconds: u64) {
    scene.chain.node.ask("evm_increaseTime", json!([seconds])).await;
    scene.chain.node.mine(1).await;
}

#[tokio::test]
async fn a_close_behind_the_back_of_both_processes_is_answered_and_paying_goes_on() {
    let Some(tools) = tools() else { return };
    let mut scene = Scene::new(&tools, patient()).await;
    scene.switches.owe(0, "bob", 5_000 * UNIT);
    scene.until_paid_in_all([5_000, 0]).await;
    let id = scene.channel(0);
    scene
        .until("nothing is under way", |scene| {
            list(&scene.status(0)["transactions"]).next().is_none()
        })
        .await;

    // The payee is dead, and the payer's process has a transaction at the nonce that the close takes.
    scene.kill(1);
    scene.mines = false;
    scene.switches.owe(0, "bob", 3 * AHEAD * UNIT);
    scene
        .until("a deposit is under way", |scene| {
            let status = scene.status(0);
            status["counters"]["transactions_sent"].as_u64() >= Some(3)
                && list(&status["transactions"]).next().is_some()
        })
        .await;
    let alice = &scene.chain.alice;
    let Draft { call, nonce, fee } = draft(alice, Call::Close { channel: id }).await;
    let fee = Fee { most: fee.most * 20, tip: fee.tip.max(1) * 20 };
    let signed = alice.sign(Draft { call, nonce, fee }).await.unwrap();
    alice.send(signed.bytes.clone()).await.unwrap();
    scene.chain.node.mine(1).await;
    assert!(scene.chain.included(alice, &signed).await.unwrap().succeeded);

    // Inside the window the payee comes again, and redeems what it holds.
    pass(&scene, 1_800).await;
    scene.start(1);
    scene.mines = true;
    scene
        .until("what is held is redeemed", |scene| {
            let Some(status) = scene.try_status(1) else { return false };
            let mut channels = list(&status["channels"]);
            channels.any(|it| it["channel"] == id.to_string() && it["redeemed"] == "5000")
        })
        .await;
    assert_eq!(scene.balance(1).await, MANY + 5_000);
    scene
        .until("the payer has seen its nonce taken", |scene| {
            scene.status(0)["chains"][0]["lost"] == 1
        })
        .await;
    assert!(scene.said(0).contains("another transaction has nonce"), "{}", scene.told());

    // What is still owed is paid in another channel, while the first one waits to be settled.
    let given = 5_000 + 3 * AHEAD;
    scene.until_paid_in_all([given, 0]).await;
    pass(&scene, 3_600).await;
    scene
        .until("the first channel is over", |scene| {
            let status = scene.status(1);
            list(&status["channels"])
                .any(|it| it["channel"] == id.to_string() && it["state"] == "over")
        })
        .await;
    scene.end_together_and_judge([given, 0]).await;
}

#[tokio::test]
async fn who_plays_an_old_claim_and_closes_pays_the_highest() {
    let Some(tools) = tools() else { return };
    let mut scene = Scene::new(&tools, patient()).await;
    scene.switches.owe(0, "bob", 9_000 * UNIT);
    scene.until_paid_in_all([9_000, 0]).await;
    let id = scene.channel(1);
    scene.kill(0);

    // The payer's key plays all that the contract lets it play.
    let old = claim(&scene.chain.alice, id, 4_000).await;
    let redeem = Call::Redeem { claims: vec![old] };
    scene.chain.done(&scene.chain.bob, redeem).await;
    scene.chain.done(&scene.chain.alice, Call::Close { channel: id }).await;
    scene
        .until("the payee has answered", |scene| {
            scene.status(1)["channels"][0]["redeemed"] == "9000"
        })
        .await;
    assert_eq!(scene.status(1)["channels"][0]["disputed"], false);
    pass(&scene, 3_600 + 700).await;
    scene.until("it is over", |scene| scene.status(1)["channels"][0]["state"] == "over").await;
    assert_eq!(scene.balance(1).await, MANY + 9_000);
    assert_eq!(scene.balance(0).await, MANY - 9_000);
    scene.start(0);
    scene.until("the payer has seen it", Scene::are_over).await;
    scene.judge([9_000, 0]).await;
}
