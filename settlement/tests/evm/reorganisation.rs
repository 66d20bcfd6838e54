//! What was in a block and is not any more, and nodes that die.

use m2_settle::worker::Worker;
use m2_settlement::chain::{
    Call, ChannelSight, LookError, OnChain, Question, SendError, SignError,
};
use serde_json::json;

use crate::chain::{Chain, draft, sign};
use crate::node::tools;

/// What Alice has in the channel, after the latest and after the final block, and her next nonce.
async fn deposits(chain: &Chain) -> (u128, u128, u64) {
    let sight = chain.sight(&chain.alice).await;
    let ChannelSight { latest, last_final } = sight.channels[0].1.clone();
    let deposit = |channel: Option<OnChain>| channel.unwrap().sides[0].deposit;
    (deposit(latest), deposit(last_final), sight.nonce_latest)
}

#[tokio::test]
async fn what_a_reorganisation_takes_back_is_gone_from_latest_and_comes_again() {
    let Some(tools) = tools() else { return };
    let chain = Chain::new(&tools).await;
    let alice = &chain.alice;
    let channel = chain.open(100).await;
    chain.node.mine(5).await;
    let signed = chain.done(alice, Call::Deposit { channel, total: 150 }).await;
    let (.., nonce) = deposits(&chain).await;
    assert_eq!(deposits(&chain).await, (150, 100, nonce));

    // Another block at its height, without it.
    chain.node.ask("anvil_reorg", json!([1, []])).await;
    assert_eq!(deposits(&chain).await, (100, 100, nonce - 1));
    assert_eq!(chain.included(alice, &signed).await, None);

    // The same bytes count again, for nothing of them has happened.
    alice.send(signed.bytes.clone()).await.unwrap();
    chain.node.mine(1).await;
    assert!(!chain.included(alice, &signed).await.unwrap().is_final);
    assert_eq!(deposits(&chain).await, (150, 100, nonce));
    chain.node.mine(4).await;
    assert_eq!(deposits(&chain).await, (150, 150, nonce));
    assert!(chain.included(alice, &signed).await.unwrap().is_final);
}

#[tokio::test]
async fn a_reorganisation_below_finality_is_shown_as_it_is() {
    let Some(tools) = tools() else { return };
    let chain = Chain::new(&tools).await;
    let before = chain.sight(&chain.alice).await;
    let snapshot = chain.node.ask("evm_snapshot", json!([])).await;
    chain.open(100).await;
    chain.node.mine(10).await;
    let sight = chain.sight(&chain.alice).await;
    assert!(sight.channels[0].1.last_final.is_some());
    assert_eq!(chain.node.ask("evm_revert", json!([snapshot])).await, true);
    let sight = chain.sight(&chain.alice).await;
    assert_eq!(sight.last_final, before.last_final);
    assert_eq!(sight.channels[0].1, ChannelSight::default());
}

#[tokio::test]
async fn a_node_that_was_ended_and_kept_its_chain_goes_on_where_it_was() {
    let Some(tools) = tools() else { return };
    let folder = std::env::temp_dir().join(format!("m2-evm-state-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let state = folder.join("state.json");
    let arguments = [
        "--slots-in-an-epoch",
        "2",
        "--state",
        state.to_str().unwrap(),
        "--preserve-historical-states",
    ];
    let mut chain = Chain::with(&tools, &arguments, "Token").await;
    let channel = chain.open(100).await;
    chain.node.mine(5).await;
    let before = chain.sight(&chain.alice).await;
    let draft = draft(&chain.alice, Call::Close { channel }).await;
    chain.node.end();
    let error = chain.alice.look(chain.question()).await.unwrap_err();
    assert!(matches!(error, LookError::Unreachable(_)), "{error}");
    let error = chain.alice.sign(draft.clone()).await.unwrap_err();
    assert!(matches!(error, SignError::Unreachable(_)), "{error}");
    chain.node.start_again();
    assert_eq!(chain.sight(&chain.alice).await.channels, before.channels);
    let signed = chain.alice.sign(draft).await.unwrap();
    chain.alice.send(signed.bytes.clone()).await.unwrap();
    chain.node.mine(1).await;
    assert!(chain.included(&chain.alice, &signed).await.unwrap().succeeded);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_node_that_was_killed_and_lost_its_chain_is_another_chain() {
    let Some(tools) = tools() else { return };
    let mut chain = Chain::new(&tools).await;
    chain.open(100).await;
    let signed = sign(&chain.alice, Call::Approve { token: chain.token() }).await;
    chain.node.kill();
    let error = chain.alice.send(signed.bytes.clone()).await.unwrap_err();
    assert!(matches!(error, SendError::Unreachable(_)), "{error}");
    chain.node.start_again();
    let error = chain.alice.look(Question::default()).await.unwrap_err();
    let LookError::WrongChain(text) = &error else { panic!("{error:?}") };
    let nothing = format!("nothing is at {} of chain 31337", chain.contract);
    assert!(text.starts_with(&nothing), "{text}");
    // Nothing is sent to it either.
    let error = chain.alice.send(signed.bytes).await.unwrap_err();
    let SendError::Unreachable(text) = &error else { panic!("{error:?}") };
    assert!(text.contains(&nothing), "{text}");
}
