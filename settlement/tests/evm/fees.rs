//! What a transaction offers, and what the chain says to too little of it.

use m2_settle::evm::EvmConfig;
use m2_settle::worker::Worker;
use m2_settlement::chain::{Call, Draft, Fee, SendError, SignError};
use serde_json::json;

use crate::chain::{Chain, GWEI, KEYS, address, config, draft, evm, fee, sign};
use crate::node::tools;

/// What all pay for gas, from the next block on.
async fn base_fee(chain: &Chain, gwei: u128) {
    let base = json!([format!("{:#x}", gwei * GWEI)]);
    chain.node.ask("anvil_setNextBlockBaseFeePerGas", base).await;
    chain.node.mine(1).await;
}

#[tokio::test]
async fn a_transaction_that_offers_too_little_is_replaced_by_one_that_offers_more() {
    let Some(tools) = tools() else { return };
    let chain = Chain::new(&tools).await;
    let alice = &chain.alice;
    let channel = chain.open(100).await;
    let call = Call::Deposit { channel, total: 150 };
    let nonce = chain.sight(alice).await.nonce_latest;
    let at = |fee| alice.sign(Draft { call: call.clone(), nonce, fee });
    let first = at(fee(10, 1)).await.unwrap();
    assert_eq!(alice.send(first.bytes.clone()).await, Ok(()));
    assert_eq!(alice.send(first.bytes.clone()).await, Err(SendError::Known));

    // What all pay has risen above what it offers: it waits.
    base_fee(&chain, 50).await;
    assert_eq!(chain.included(alice, &first).await, None);
    let suggested = chain.sight(alice).await.fee;
    assert!(suggested.most > 80 * GWEI, "{suggested:?}");

    // The same call at the same nonce may be signed while the first one waits.
    let least = Fee { most: first.fee.most + 1, ..first.fee };
    let too_small = at(least).await.unwrap();
    assert_eq!(alice.send(too_small.bytes).await, Err(SendError::FeeTooLow));
    let second = at(suggested).await.unwrap();
    assert_ne!(second.hash, first.hash);
    assert_eq!(alice.send(second.bytes.clone()).await, Ok(()));
    chain.node.mine(1).await;
    let included = chain.included(alice, &second).await.expect("it is in a block");
    assert!(included.succeeded);
    assert!(included.cost > u128::from(included.gas) * 40 * GWEI, "{included:?}");
    assert_eq!(chain.included(alice, &first).await, None);
    let sight = chain.sight(alice).await;
    assert_eq!(sight.channels[0].1.latest.as_ref().unwrap().sides[0].deposit, 150);

    // Its place is taken now; the one that has it is known.
    assert_eq!(alice.send(first.bytes).await, Err(SendError::NonceUsed));
    assert_eq!(alice.send(second.bytes).await, Err(SendError::Known));
    let text = "TotalNotHigher { total: 150, before: 150 }";
    assert_eq!(at(suggested).await, Err(SignError::WouldFail(text.into())));
}

#[tokio::test]
async fn no_more_is_offered_than_was_configured_whatever_is_asked_for() {
    let Some(tools) = tools() else { return };
    let chain = Chain::new(&tools).await;
    let capped = EvmConfig { fee_most: 3 * GWEI, ..config(&chain.node, chain.contract) };
    let alice = evm(&capped, KEYS[0]);
    base_fee(&chain, 50).await;
    let draft = draft(&alice, Call::Approve { token: chain.token() }).await;
    assert_eq!(draft.fee.most, 3 * GWEI);
    let of = |fee| alice.sign(Draft { fee, ..draft.clone() });
    let signed = of(fee(100, 100)).await.unwrap();
    assert_eq!(signed.fee, fee(3, 3));
    assert_eq!(signed, of(fee(3, 3)).await.unwrap());
    assert_ne!(signed.bytes, of(fee(2, 2)).await.unwrap().bytes);
}

#[tokio::test]
async fn an_account_without_money_for_gas_is_told_so() {
    let Some(tools) = tools() else { return };
    let chain = Chain::new(&tools).await;
    let signed = sign(&chain.alice, Call::Approve { token: chain.token() }).await;
    let us = address(chain.alice.party());
    chain.node.ask("anvil_setBalance", json!([us, "0x1"])).await;
    chain.node.mine(1).await;
    assert_eq!(chain.sight(&chain.alice).await.gas_money, 1);
    let error = chain.alice.send(signed.bytes).await.unwrap_err();
    let SendError::Refused(text) = &error else { panic!("{error:?}") };
    assert!(text.contains(&format!("send {us} money for gas")), "{text}");
}
