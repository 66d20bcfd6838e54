//! Nodes of other chains, and other contracts than ours.

use alloy::primitives::Address;
use m2_settle::evm::EvmConfig;
use m2_settle::worker::Worker;
use m2_settlement::chain::{Call, Draft, Fee, LookError, Question, SendError, SignError, Token};
use serde_json::json;

use crate::chain::{CHAIN_ID, Chain, KEYS, config, evm, sign};
use crate::node::tools;

async fn wrong(config: &EvmConfig) -> String {
    let worker = evm(config, KEYS[0]);
    let call = Call::Approve { token: Token([0; 32]) };
    let draft = Draft { call, nonce: 0, fee: Fee::default() };
    let error = worker.sign(draft).await.unwrap_err();
    assert!(matches!(error, SignError::Unreachable(_)), "{error}");
    match worker.look(Question::default()).await {
        Err(LookError::WrongChain(text)) => text,
        other => panic!("it is believed: {other:?}"),
    }
}

#[tokio::test]
async fn another_chain_or_contract_than_was_configured_is_named_with_both_values() {
    let Some(tools) = tools() else { return };
    let chain = Chain::new(&tools).await;
    let ours = config(&chain.node, chain.contract);
    let text = wrong(&EvmConfig { chain_id: 1, ..ours.clone() }).await;
    assert_eq!(text, "the node is on chain 31337, not 1");
    let nobody = Address::repeat_byte(9);
    let text = wrong(&EvmConfig { contract: nobody, ..ours.clone() }).await;
    assert_eq!(text, format!("nothing is at {nobody} of chain 31337, not M2MPayChan"));
    // A contract without any such function: it reverts.
    let text = wrong(&EvmConfig { contract: chain.token, ..ours }).await;
    assert!(text.starts_with("a contract that has no eip712Domain is at"), "{text}");
}

#[tokio::test]
async fn a_contract_of_another_name_is_not_ours() {
    let Some(tools) = tools() else { return };
    let chain = Chain::new(&tools).await;
    let code = chain.node.ask("eth_getCode", json!([chain.contract, "latest"])).await;
    // The name is in the code: one letter of it is another.
    let (ours, other) = (alloy::hex::encode("M2MPayChan"), alloy::hex::encode("M2MPayChen"));
    let changed = code.as_str().unwrap().replace(&ours, &other);
    assert_ne!(code, changed.as_str());
    chain.node.ask("anvil_setCode", json!([chain.contract, changed])).await;
    let text = wrong(&config(&chain.node, chain.contract)).await;
    assert!(text.starts_with("M2MPayChen 1 for "), "{text}");
}

#[tokio::test]
async fn a_node_that_is_swapped_behind_its_address_is_found_out() {
    let Some(tools) = tools() else { return };
    let mut chain = Chain::new(&tools).await;
    let signed = sign(&chain.alice, Call::Approve { token: chain.token() }).await;
    chain.node.kill();
    assert!(chain.alice.look(Question::default()).await.is_err());
    chain.node.start_again_with(&["--chain-id", "5"].map(str::to_owned));
    let error = chain.alice.look(Question::default()).await.unwrap_err();
    assert_eq!(error, LookError::WrongChain("the node is on chain 5, not 31337".into()));
    let error = chain.alice.send(signed.bytes).await.unwrap_err();
    assert!(matches!(&error, SendError::Unreachable(text) if text.contains("chain 5")), "{error}");
}

#[tokio::test]
async fn a_node_that_is_another_one_without_a_word_is_found_out_by_the_next_look() {
    let Some(tools) = tools() else { return };
    let chain = Chain::new(&tools).await;
    let look = || chain.alice.look(Question::default());
    assert!(look().await.is_ok());
    chain.node.ask("anvil_setChainId", json!([5])).await;
    let error = look().await.unwrap_err();
    assert_eq!(error, LookError::WrongChain("the node is on chain 5, not 31337".into()));
    chain.node.ask("anvil_setChainId", json!([CHAIN_ID])).await;
    assert!(look().await.is_ok());
    chain.node.ask("anvil_setCode", json!([chain.contract, "0x"])).await;
    let error = look().await.unwrap_err();
    assert!(matches!(&error, LookError::WrongChain(text) if text.starts_with("nothing is at")));
}
