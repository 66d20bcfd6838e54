//! A chain with the payment channels and a token on it, and Alice and Bob, who have some of it.

use std::time::Duration;

use alloy::primitives::Address;
use m2_settle::evm::eip712::token_of;
use m2_settle::evm::{Evm, EvmConfig, Tag};
use m2_settle::signer::{Key, Signer};
use m2_settle::worker::Worker;
use m2_settlement::chain::{
    Call, ChannelId, Claim, Draft, Fee, Included, Party, Question, Sight, Signed, SignedClaim,
    Terms, Token,
};
use serde_json::{Value, json};

use crate::node::{Node, Tools};

pub(crate) const CHAIN_ID: u64 = 31337;
pub(crate) const WINDOW_S: u32 = 600;
/// Of each, when a test begins.
pub(crate) const MANY: u128 = 1_000_000_000;
pub(crate) const GWEI: u128 = 1_000_000_000;
/// Those of Foundry: the first is Alice's, the second Bob's.
pub(crate) const KEYS: [&str; 3] = [
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
];
/// Anvil's last account deploys.
const DEPLOYER: &str = "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720";
const GAS: &str = "0x989680";

pub(crate) struct Chain {
    pub(crate) node: Node,
    pub(crate) contract: Address,
    pub(crate) token: Address,
    pub(crate) alice: Evm,
    pub(crate) bob: Evm,
}

impl Chain {
    /// Final is what has four blocks behind it.
    pub(crate) async fn new(tools: &Tools) -> Self {
        Self::with(tools, &["--slots-in-an-epoch", "2"], "Token").await
    }

    pub(crate) async fn with(tools: &Tools, arguments: &[&str], token: &str) -> Self {
        let node = Node::start(tools, arguments);
        let arguments = format!("{:0>64x}{:0>64x}", WINDOW_S, 30 * 24 * 3600);
        let bytecode = tools.bytecode("PaymentChannels.sol/PaymentChannels") + &arguments;
        let contract = deploy(&node, &bytecode).await;
        let token = deploy(&node, &tools.bytecode(&format!("Tokens.sol/{token}"))).await;
        let [alice, bob] = [0, 1].map(|index| evm(&config(&node, contract), KEYS[index]));
        let chain = Self { node, contract, token, alice, bob };
        chain.mint(&chain.alice, MANY).await;
        chain.mint(&chain.bob, MANY).await;
        chain
    }

    pub(crate) fn token(&self) -> Token {
        token_of(self.token)
    }

    pub(crate) fn terms(&self) -> Terms {
        let (first, second) = (self.alice.party(), self.bob.party());
        Terms { first, second, token: self.token(), window_s: WINDOW_S, salt: [5; 32] }
    }

    pub(crate) fn channel(&self) -> ChannelId {
        self.alice.channel_id(&self.terms())
    }

    async fn mint(&self, to: &Evm, amount: u128) {
        self.mint_of(self.token, to, amount).await;
    }

    /// `mint(address,uint256)`
    pub(crate) async fn mint_of(&self, token: Address, to: &Evm, amount: u128) {
        let data = format!("0x40c10f19{}{amount:0>64x}", to.party());
        transact(&self.node, json!({ "from": DEPLOYER, "to": token, "data": data })).await;
    }

    /// Alice's tokens may be taken, and her channel with Bob is open.
    pub(crate) async fn open(&self, deposit: u128) -> ChannelId {
        self.done(&self.alice, Call::Approve { token: self.token() }).await;
        self.done(&self.alice, Call::Open { terms: self.terms(), deposit }).await;
        self.channel()
    }

    /// A transaction of this call, in a block, that has done what it was to do.
    pub(crate) async fn done(&self, worker: &Evm, call: Call) -> Signed {
        let signed = sign(worker, call).await;
        worker.send(signed.bytes.clone()).await.unwrap();
        self.node.mine(1).await;
        let included = self.included(worker, &signed).await.expect("it is in a block");
        assert!(included.succeeded, "{included:?}");
        signed
    }

    pub(crate) async fn included(&self, worker: &Evm, signed: &Signed) -> Option<Included> {
        let transactions = vec![signed.hash];
        let sight = worker.look(Question { transactions, ..Question::default() }).await.unwrap();
        sight.transactions.first().map(|(hash, included)| {
            assert_eq!(*hash, signed.hash);
            *included
        })
    }

    /// Everything of our channel and token.
    pub(crate) async fn sight(&self, worker: &Evm) -> Sight {
        worker.look(self.question()).await.unwrap()
    }

    pub(crate) fn question(&self) -> Question {
        let (channels, tokens) = (vec![self.channel()], vec![self.token()]);
        Question { channels, tokens, transactions: vec![] }
    }
}

pub(crate) fn config(node: &Node, contract: Address) -> EvmConfig {
    EvmConfig {
        rpc_url: node.url(),
        chain_id: CHAIN_ID,
        contract,
        finality: Tag::Finalized,
        rpc_time: Duration::from_secs(60),
        batch_most: 64,
        fee_most: 1000 * GWEI,
    }
}

pub(crate) fn evm(config: &EvmConfig, key: &str) -> Evm {
    Evm::new(config, Signer::Key(Key::parse(key).unwrap())).unwrap()
}

pub(crate) fn address(party: Party) -> Address {
    Address::from_slice(&party.0[12..])
}

/// A transaction as the chain wants it now.
pub(crate) async fn sign(worker: &Evm, call: Call) -> Signed {
    worker.sign(draft(worker, call).await).await.unwrap()
}

pub(crate) async fn draft(worker: &Evm, call: Call) -> Draft {
    let sight = worker.look(Question::default()).await.unwrap();
    Draft { call, nonce: sight.nonce_latest, fee: sight.fee }
}

pub(crate) fn fee(most: u128, tip: u128) -> Fee {
    Fee { most: most * GWEI, tip: tip * GWEI }
}

pub(crate) async fn claim(payer: &Evm, channel: ChannelId, total: u128) -> SignedClaim {
    let claim = Claim { channel, total };
    SignedClaim { claim, signature: payer.sign_claim(claim).await.unwrap() }
}

pub(crate) async fn deploy(node: &Node, bytecode: &str) -> Address {
    let receipt = transact(node, json!({ "from": DEPLOYER, "data": bytecode })).await;
    receipt["contractAddress"].as_str().unwrap().parse().unwrap()
}

async fn transact(node: &Node, mut transaction: Value) -> Value {
    transaction["gas"] = json!(GAS);
    let hash = node.ask("eth_sendTransaction", json!([transaction])).await;
    node.mine(1).await;
    let receipt = node.ask("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(receipt["status"], "0x1", "{receipt}");
    receipt
}
