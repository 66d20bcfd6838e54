//! What a peer may say that is not so: each is refused with its reason, counted, and credits nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use m2_settle::evm::Evm;
use m2_settle::evm::eip712::token_of;
use m2_settle::worker::Worker as _;
use m2_settlement::chain::{Agreement, Bytes, Call, ChannelId, SignedClaim, Terms, from_hex};
use m2_settlement::wire::{Message, Place, Reason};
use serde_json::{Value, json};

use crate::chain::{KEYS, MANY, claim, config, deploy, evm};
use crate::node::{Tools, tools};
use crate::scene::{AHEAD, Scene, Setup, UNIT, list};

/// Far longer than an answer takes.
const ANSWER_TIME: Duration = Duration::from_secs(60);

fn place(scene: &Scene) -> Place {
    Place { chain: "eip155:31337".into(), contract: scene.chain.contract.to_vec() }
}

/// What m2-settle of side 1 answers.
fn answer(scene: &Scene, account: &str, bytes: &[u8]) -> Message {
    let told = scene.switches.say(1, account, bytes).recv_timeout(ANSWER_TIME);
    let hex = told.expect("it is answered").expect("by m2-settle");
    Message::parse(&from_hex(&hex).unwrap()).unwrap()
}

pub(crate) fn said(scene: &Scene, signed: &SignedClaim) -> Message {
    let message = Message::Claim { place: place(scene), signed: signed.clone() };
    answer(scene, "alice", &message.to_bytes())
}

pub(crate) fn is_taken(answer: &Message) -> bool {
    matches!(answer, Message::Taken { .. })
}

#[track_caller]
fn refused(answer: Message, should: Reason) -> String {
    let Message::Refused { reason, again, text } = answer else {
        panic!("not refused: {answer:?}")
    };
    assert_eq!((reason, again), (should, should.again()), "{text}");
    text
}

fn counted(scene: &Scene) -> BTreeMap<String, u64> {
    serde_json::from_value(scene.status(1)["counters"]["refused"].clone()).unwrap()
}

/// Alice has paid 5,000 in a channel, and only Bob's process is left: the test speaks for hers.
async fn paid(tools: &Tools, redeem_min: u128) -> (Scene, ChannelId) {
    let setup = Setup { redeem_min: [0, redeem_min], ..Setup::default() };
    let mut scene = Scene::new(tools, setup).await;
    scene.switches.owe(0, "bob", 5_000 * UNIT);
    scene.until_paid_in_all([5_000, 0]).await;
    let id = scene.channel(1);
    scene.kill(0);
    (scene, id)
}

/// Until side 1 refuses a claim of that channel for that reason: it has to look for it first.
async fn until_refused(scene: &mut Scene, signed: SignedClaim, reason: Reason) {
    refused(said(scene, &signed), Reason::UnknownChannel);
    scene
        .until("the channel was looked for", |scene| {
            let answer = said(scene, &signed);
            let Message::Refused { reason: why, .. } = answer else { panic!("{answer:?}") };
            assert!([reason, Reason::UnknownChannel].contains(&why), "{why:?}");
            why == reason
        })
        .await;
}

#[tokio::test]
async fn claims_that_are_not_so_are_refused_each_with_its_reason() {
    let Some(tools) = tools() else { return };
    let (mut scene, id) = paid(&tools, 0).await;
    let stranger = evm(&config(&scene.chain.node, scene.chain.contract), KEYS[2]);
    let before = scene.switches.book(1, "alice");
    let held = scene.status(1)["counters"]["claims_taken"].clone();
    // The channel itself had to be looked for, when its first claim came.
    let unknown = counted(&scene).get("unknown_channel").copied().unwrap_or(0);

    let by = async |worker: &Evm, total| claim(worker, id, total).await;
    let (alice, bob) = (&scene.chain.alice, &scene.chain.bob);
    refused(said(&scene, &by(&stranger, 6_000).await), Reason::Forged);
    refused(said(&scene, &by(bob, 6_000).await), Reason::Forged);
    let good = by(alice, 6_000).await;
    let torn = SignedClaim { signature: Bytes(vec![7; 3]), ..good.clone() };
    refused(said(&scene, &torn), Reason::Forged);
    let mut flipped = good.clone();
    flipped.claim.total += 1;
    refused(said(&scene, &flipped), Reason::Forged);
    refused(said(&scene, &by(alice, 4_999).await), Reason::Lower);
    refused(said(&scene, &by(alice, 0).await), Reason::Lower);
    // What was deposited is what the first debt came to, and so much ahead.
    refused(said(&scene, &by(alice, AHEAD + 5_001).await), Reason::OverDeposit);
    refused(said(&scene, &by(alice, u128::MAX).await), Reason::OverDeposit);

    let elsewhere = |place| Message::Claim { place, signed: good.clone() }.to_bytes();
    let far = Place { chain: "eip155:1".into(), ..place(&scene) };
    let text = refused(answer(&scene, "alice", &elsewhere(far)), Reason::WrongChain);
    assert!(text.contains("eip155:31337"), "{text}");
    let other = Place { contract: vec![7; 20], ..place(&scene) };
    refused(answer(&scene, "alice", &elsewhere(other)), Reason::WrongContract);

    let whole = elsewhere(place(&scene));
    let mut long = whole.clone();
    long.push(0);
    let taken = Message::Taken { channel: id, total: 9_000 }.to_bytes();
    let mut malformed = 0;
    for bytes in [&whole[..1], &whole[..40], &whole[..whole.len() - 1], &long, &[9; 600], &taken] {
        refused(answer(&scene, "alice", bytes), Reason::Malformed);
        malformed += 1;
    }
    refused(said(&scene, &claim(alice, ChannelId([3; 32]), 9).await), Reason::UnknownChannel);
    refused(answer(&scene, "carol", &whole), Reason::NoAccount);

    let should = [
        ("forged", 4),
        ("lower", 2),
        ("over_deposit", 2),
        ("wrong_chain", 1),
        ("wrong_contract", 1),
        ("malformed", malformed),
        ("unknown_channel", unknown + 1),
        ("no_account", 1),
    ];
    assert_eq!(counted(&scene), should.map(|(it, count)| (it.to_owned(), count)).into());
    let after = scene.status(1);
    assert_eq!(after["counters"]["claims_taken"], held);
    assert_eq!(scene.switches.book(1, "alice").credits, before.credits);

    // The same claim said again is acknowledged again, and credited once.
    let repeated = |scene: &Scene| scene.status(1)["counters"]["claims_repeated"].as_u64();
    let repeated_before = repeated(&scene).unwrap();
    for _ in 0..3 {
        assert_eq!(said(&scene, &good), Message::Taken { channel: id, total: 6_000 });
    }
    assert_eq!(repeated(&scene), Some(repeated_before + 2));
    scene
        .until("it is credited", |scene| {
            scene.switches.book(1, "alice").credited() == 6_000 * UNIT
                && list(&scene.status(1)["orders"]).next().is_none()
        })
        .await;
    assert_eq!(scene.switches.book(1, "alice").credits.len(), before.credits.len() + 1);
}

#[tokio::test]
async fn channels_that_will_not_do_are_refused_once_they_were_looked_at() {
    let Some(tools) = tools() else { return };
    let (mut scene, _) = paid(&tools, 0).await;
    let chain = &scene.chain;
    let alice = &chain.alice;
    let stranger = evm(&config(&chain.node, chain.contract), KEYS[2]);
    let other_token = deploy(&chain.node, &tools.bytecode("Tokens.sol/Token")).await;
    chain.mint_of(other_token, alice, MANY).await;
    chain.done(alice, Call::Approve { token: token_of(other_token) }).await;
    let right = Terms { window_s: 3_600, ..chain.terms() };
    let with_stranger = Terms { second: stranger.party(), ..right.clone() };
    let short = Terms { window_s: 3_599, ..right.clone() };
    let foreign = Terms { token: token_of(other_token), ..right.clone() };
    for (terms, reason) in [
        (with_stranger, Reason::NotOurs),
        (short, Reason::ShortWindow),
        (foreign, Reason::WrongToken),
    ] {
        let id = scene.chain.bob.channel_id(&terms);
        scene.chain.done(&scene.chain.alice, Call::Open { terms, deposit: 100 }).await;
        let signed = claim(&scene.chain.alice, id, 50).await;
        until_refused(&mut scene, signed, reason).await;
    }
    assert_eq!(list(&scene.status(1)["channels"]).count(), 1);
    assert_eq!(scene.switches.book(1, "alice").credited(), 5_000 * UNIT);

    // One that will do is found the same way, and its claim is taken.
    let id = scene.chain.bob.channel_id(&right);
    scene.chain.done(&scene.chain.alice, Call::Open { terms: right, deposit: 100 }).await;
    let signed = claim(&scene.chain.alice, id, 50).await;
    refused(said(&scene, &signed), Reason::UnknownChannel);
    let taken = Message::Taken { channel: id, total: 50 };
    scene.until("the claim is taken", |scene| said(scene, &signed) == taken).await;
    scene
        .until("it is credited", |scene| scene.switches.book(1, "alice").credited() == 5_050 * UNIT)
        .await;
}

#[tokio::test]
async fn a_channel_that_ends_takes_nothing_more() {
    let Some(tools) = tools() else { return };
    let (mut scene, id) = paid(&tools, u128::from(u64::MAX)).await;
    let higher = claim(&scene.chain.alice, id, 6_000).await;

    // Agreements that say less than Bob holds, or are not signed, are none.
    let now_s = scene.chain.sight(&scene.chain.alice).await.latest.time_s;
    let agreement =
        Agreement { channel: id, first_paid: 5_000, second_paid: 0, valid_until_s: now_s + 1_000 };
    let asked = async |scene: &Scene, agreement: Agreement, worker: &Evm| {
        let signature = worker.sign_agreement(agreement).await.unwrap();
        let message = Message::Close { place: place(scene), agreement, signature };
        answer(scene, "alice", &message.to_bytes())
    };
    let alice = &scene.chain.alice;
    let less = Agreement { first_paid: 4_999, ..agreement };
    refused(asked(&scene, less, alice).await, Reason::Differs);
    let long = Agreement { valid_until_s: now_s + 100_000, ..agreement };
    refused(asked(&scene, long, alice).await, Reason::Differs);
    refused(asked(&scene, agreement, &scene.chain.bob).await, Reason::Forged);

    // Both have agreed: nothing is added until that has run out, by the final clock of the chain.
    let agreed = asked(&scene, agreement, alice).await;
    let Message::Agreed { signature } = agreed else { panic!("{agreed:?}") };
    assert_eq!(alice.agreer(&agreement, &signature), Some(scene.chain.bob.party()));
    refused(said(&scene, &higher), Reason::Agreed);
    assert_eq!(scene.status(1)["channels"][0]["state"], "agreed");
    pass(&scene, 1_001).await;
    scene.until("it has run out", |scene| scene.status(1)["channels"][0]["state"] == "open").await;

    // Alice's key closes, and little of the window is left.
    scene.mines = false;
    scene.chain.done(&scene.chain.alice, Call::Close { channel: id }).await;
    pass(&scene, 3_400).await;
    scene
        .until("the close is seen", |scene| scene.status(1)["channels"][0]["state"] == "closing")
        .await;
    refused(said(&scene, &higher), Reason::Closing);
    // What is held is on its way before another block takes of what is left.
    scene
        .until("what was held is sent", |scene| {
            scene.status(1)["counters"]["transactions_sent"].as_u64() > Some(0)
                && scene.status(1)["transactions"][0]["jobs"][0]["Answer"].is_string()
        })
        .await;
    scene.mines = true;
    scene
        .until("what was held is redeemed", |scene| {
            scene.status(1)["channels"][0]["redeemed"] == "5000"
        })
        .await;
    pass(&scene, 1_000).await;
    scene.until("it is over", |scene| scene.status(1)["channels"][0]["state"] == "over").await;
    refused(said(&scene, &higher), Reason::Ended);
    assert_eq!(scene.switches.book(1, "alice").credited(), 5_000 * UNIT);
    assert_eq!(scene.balance(1).await, MANY + 5_000);
    let alarms: Value = scene.status(1)["counters"]["alarms"].clone();
    assert_eq!(alarms, json!(0), "{}", scene.told());
}

async fn pass(scene: &Scene, seconds: u64) {
    scene.chain.node.ask("evm_increaseTime", json!([seconds])).await;
    scene.chain.node.mine(1).await;
}
