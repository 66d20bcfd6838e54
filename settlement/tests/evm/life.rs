//! A payment channel from its beginning to its end, as both of its parties see it.

use m2_settle::evm::Evm;
use m2_settle::worker::Worker;
use m2_settlement::chain::{
    Agreement, Bytes, Call, ChannelState, OnChain, Question, Side, SignError, SignedClaim,
    TokenSight,
};
use serde_json::json;

use crate::chain::{Chain, KEYS, MANY, WINDOW_S, claim, config, draft, evm, sign};
use crate::node::tools;

async fn latest(chain: &Chain) -> OnChain {
    let sight = chain.sight(&chain.bob).await;
    sight.channels[0].1.latest.clone().expect("there is a channel")
}

async fn balance(chain: &Chain, worker: &Evm) -> u128 {
    chain.sight(worker).await.tokens[0].1.balance
}

async fn would_fail(worker: &Evm, call: Call) -> String {
    match worker.sign(draft(worker, call).await).await {
        Err(SignError::WouldFail(text)) => text,
        other => panic!("it would not fail: {other:?}"),
    }
}

#[tokio::test]
async fn a_channel_is_opened_paid_by_claims_closed_and_settled() {
    let Some(tools) = tools() else { return };
    let chain = Chain::new(&tools).await;
    let (alice, bob) = (&chain.alice, &chain.bob);

    // The id is known before there is a channel.
    let id = chain.channel();
    let before = chain.sight(alice).await;
    assert_eq!(before.channels[0].1.latest, None);
    assert_eq!(before.tokens[0].1, TokenSight { balance: MANY, allowance: 0, owed: 0 });
    assert!(before.gas_money > 0);
    let open = Call::Open { terms: chain.terms(), deposit: 100 };
    let text = would_fail(alice, open.clone()).await;
    assert!(text.starts_with("ERC20InsufficientAllowance {"), "{text}");

    assert_eq!(chain.open(100).await, id);
    let opened = latest(&chain).await;
    assert_eq!(opened.parties, [alice.party(), bob.party()]);
    assert_eq!((opened.token, opened.window_s), (chain.token(), WINDOW_S));
    assert_eq!((opened.state, opened.closes_at_s), (ChannelState::Open, 0));
    assert_eq!(opened.sides[0], Side { deposit: 100, redeemed: 0, withdrawn: 0 });
    let tokens = chain.sight(alice).await.tokens[0].1;
    assert_eq!(tokens, TokenSight { balance: MANY - 100, allowance: u128::MAX, owed: 0 });
    let text = would_fail(alice, open).await;
    assert!(text.starts_with("ChannelExists {") && text.ends_with("state: Open }"), "{text}");

    chain.done(alice, Call::Deposit { channel: id, total: 250 }).await;
    let text = would_fail(alice, Call::Deposit { channel: id, total: 250 }).await;
    assert_eq!(text, "TotalNotHigher { total: 250, before: 250 }");
    // Bob deposits as well; Alice's claims draw on hers alone.
    chain.done(bob, Call::Approve { token: chain.token() }).await;
    chain.done(bob, Call::Deposit { channel: id, total: 30 }).await;

    // A batch with one claim that somebody else has signed, and one that nobody has, pays the good one.
    let stranger = evm(&config(&chain.node, chain.contract), KEYS[2]);
    let good = claim(alice, id, 120).await;
    assert_eq!(bob.claimer(&good), Some(alice.party()));
    let bad = claim(&stranger, id, 240).await;
    assert_eq!(bob.claimer(&bad), Some(stranger.party()));
    let none = SignedClaim { signature: Bytes(vec![7; 3]), ..claim(alice, id, 240).await };
    assert_eq!(bob.claimer(&none), None);
    chain.done(bob, Call::Redeem { claims: vec![bad.clone(), good.clone(), none.clone()] }).await;
    assert_eq!(latest(&chain).await.sides[0].redeemed, 120);
    assert_eq!(balance(&chain, bob).await, MANY - 30 + 120);

    // What was redeemed pays nothing again, alone or in a batch, and the text says why.
    let text = would_fail(bob, Call::Redeem { claims: vec![good.clone()] }).await;
    assert!(text.starts_with("NotRedeemable {") && text.ends_with("why: NothingNew }"), "{text}");
    let text = would_fail(bob, Call::Redeem { claims: vec![good, bad, none] }).await;
    assert_eq!(text, "no claim of the batch pays anything: NothingNew, NotSigned");

    let text = would_fail(&stranger, Call::Close { channel: id }).await;
    assert!(text.starts_with("NotParticipant {"), "{text}");
    let text = would_fail(bob, Call::Settle { channel: id }).await;
    assert!(text.starts_with("ChannelNotOpen {"), "{text}");
    chain.done(alice, Call::Close { channel: id }).await;
    let closing = latest(&chain).await;
    assert_eq!(closing.state, ChannelState::Closing);
    let closed_at_s = chain.sight(bob).await.latest.time_s;
    assert_eq!(closing.closes_at_s, closed_at_s + u64::from(WINDOW_S));
    let text = would_fail(bob, Call::Settle { channel: id }).await;
    assert!(text.starts_with("WindowStillOpen {"), "{text}");

    // While it closes a claim still counts, and then not any more.
    chain.done(bob, Call::Redeem { claims: vec![claim(alice, id, 200).await] }).await;
    chain.node.ask("evm_increaseTime", json!([WINDOW_S + 1])).await;
    chain.node.mine(1).await;
    let text = would_fail(bob, Call::Redeem { claims: vec![claim(alice, id, 210).await] }).await;
    assert!(text.ends_with("why: TooLate }"), "{text}");
    chain.done(bob, Call::Settle { channel: id }).await;
    assert_eq!(latest(&chain).await.state, ChannelState::Settled);
    assert_eq!(balance(&chain, alice).await, MANY - 200);
    assert_eq!(balance(&chain, bob).await, MANY + 200);
}

#[tokio::test]
async fn what_is_final_follows_what_is_latest() {
    let Some(tools) = tools() else { return };
    let chain = Chain::new(&tools).await;
    let id = chain.open(100).await;
    let signed = sign(&chain.alice, Call::Deposit { channel: id, total: 150 }).await;
    chain.alice.send(signed.bytes.clone()).await.unwrap();
    assert_eq!(chain.included(&chain.alice, &signed).await, None);
    chain.node.mine(1).await;
    let question = Question { transactions: vec![signed.hash], ..chain.question() };
    let mut seen = Vec::new();
    loop {
        let sight = chain.alice.look(question.clone()).await.unwrap();
        let (channel, included) = (&sight.channels[0].1, sight.transactions[0].1);
        assert!(included.succeeded && included.cost > 0 && included.gas > 0);
        assert_eq!(channel.latest.as_ref().unwrap().sides[0].deposit, 150);
        let is_final = channel.last_final.as_ref().is_some_and(|it| it.sides[0].deposit == 150);
        assert_eq!(included.is_final, is_final);
        assert_eq!(sight.nonce_final == sight.nonce_latest, is_final);
        assert_eq!(sight.last_final.number, sight.latest.number - 4);
        seen.push(channel.last_final.as_ref().map(|it| it.sides[0].deposit));
        if is_final {
            break;
        }
        assert!(seen.len() < 10, "it is never final: {seen:?}");
        chain.node.mine(1).await;
    }
    // The deposit's block, and four more.
    assert_eq!(seen, [None, None, None, Some(100), Some(150)]);
}

#[tokio::test]
async fn a_young_chain_whose_contract_is_not_final_shows_no_channel_there() {
    let Some(tools) = tools() else { return };
    // With so many blocks to an epoch its first one is all that is final.
    let chain = Chain::with(&tools, &["--slots-in-an-epoch", "1000"], "Token").await;
    chain.open(100).await;
    let sight = chain.sight(&chain.alice).await;
    assert_eq!((sight.last_final.number, sight.nonce_final, sight.nonce_latest), (0, 0, 2));
    assert_eq!(sight.channels[0].1.last_final, None);
    assert!(sight.channels[0].1.latest.is_some());
}

#[tokio::test]
async fn both_end_a_channel_at_once_as_they_have_agreed() {
    let Some(tools) = tools() else { return };
    let chain = Chain::new(&tools).await;
    let (alice, bob) = (&chain.alice, &chain.bob);
    let channel = chain.open(100).await;
    let valid_until_s = chain.sight(alice).await.latest.time_s + 3600;
    let agreement = Agreement { channel, first_paid: 60, second_paid: 0, valid_until_s };
    let first = alice.sign_agreement(agreement).await.unwrap();
    let second = bob.sign_agreement(agreement).await.unwrap();
    assert_eq!(alice.agreer(&agreement, &second), Some(bob.party()));
    assert_eq!(bob.agreer(&agreement, &first), Some(alice.party()));
    let other = Agreement { first_paid: 61, ..agreement };
    assert_ne!(bob.agreer(&other, &first), Some(alice.party()));
    let call = |agreement, first: &Bytes, second: &Bytes| {
        let (first_signature, second_signature) = (first.clone(), second.clone());
        Call::CloseTogether { agreement, first_signature, second_signature }
    };
    let text = would_fail(bob, call(agreement, &second, &first)).await;
    assert!(text.starts_with("NotSignedBy { participant: "), "{text}");
    assert!(would_fail(bob, call(other, &first, &second)).await.starts_with("NotSignedBy {"));
    chain.done(bob, call(agreement, &first, &second)).await;
    assert_eq!(latest(&chain).await.state, ChannelState::Settled);
    assert_eq!(balance(&chain, bob).await, MANY + 60);
    assert_eq!(balance(&chain, alice).await, MANY - 60);
    let text = would_fail(bob, call(agreement, &first, &second)).await;
    assert!(text.starts_with("ChannelNotOpen {") && text.ends_with("Settled }"), "{text}");
}
