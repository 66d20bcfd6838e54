//! The chain worker of EVM chains, over the payment channels' contract.
//!
//! ```text
//!   look ---> final block, latest block ---> every read at the one or the other, by its hash
//!   sign ---> what it would do, and its gas ---> EIP-1559 transaction ---> signer
//!   send ---> the node
//! ```
//!
//! Invariant: nothing that a node shows is believed unless it said in the same breath that it is on the configured
//! chain and that the configured contract is there. Before it is sent something it has said so within a minute, and
//! after the last time that it did not answer.
//! What is signed names chain and contract, so that it counts nowhere else whatever a node says.

use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use alloy::primitives::{Address, Bytes as Data, U64};
use alloy::sol_types::SolCall;
use m2_settlement::chain::{
    Agreement, Bytes, ChannelId, Claim, Draft, LookError, Party, Question, SendError, Sight,
    SignError, Signed, SignedClaim, Terms,
};
use serde_json::json;

use self::abi::PaymentChannels;
use self::eip712::{Domain, SignatureBytes, party_of};
use self::rpc::{Answer, Ask, Rpc};
use crate::signer::{Matter, Signer};
use crate::worker::Worker;

pub(crate) mod abi;
pub mod eip712;
mod look;
pub(crate) mod rpc;
mod send;
mod sign;

/// How long a node is sent what was signed before it is asked again who it is.
const IDENTITY_TIME: Duration = Duration::from_secs(60);

/// Which chain, and by whom it is shown.
#[derive(Clone)]
pub struct EvmConfig {
    /// Of a node's JSON-RPC: `http://` or `https://`.
    pub rpc_url: String,
    /// As `eth_chainId` says.
    pub chain_id: u64,
    /// Where `PaymentChannels` is.
    pub contract: Address,
    /// Which blocks are final.
    pub finality: Tag,
    /// How long one answer may take.
    pub rpc_time: Duration,
    /// How many questions are asked at once; 1 for a node that takes no batches.
    pub batch_most: usize,
    /// The most that is offered for a unit of gas, in the chain's smallest unit.
    pub fee_most: u128,
}

impl fmt::Debug for EvmConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the node's address: many hold a password.
        f.debug_struct("EvmConfig")
            .field("chain_id", &self.chain_id)
            .field("contract", &self.contract)
            .field("finality", &self.finality)
            .finish_non_exhaustive()
    }
}

/// Which blocks are final: what a node calls so, or those with so many behind them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tag {
    /// What cannot be undone without burning a third of all stakes.
    Finalized,
    /// What is not undone while two thirds are honest.
    Safe,
    /// Blocks with at least so many others behind them: `latest-N`.
    Latest {
        /// How many.
        minus: u64,
    },
}

impl FromStr for Tag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not finalized, safe or latest-N, where N is a number");
        match text {
            "finalized" => Ok(Self::Finalized),
            "safe" => Ok(Self::Safe),
            _ => {
                let digits = text.strip_prefix("latest-").ok_or_else(wrong)?;
                let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
                let minus = digits.parse().ok().filter(|_| is_number).ok_or_else(wrong)?;
                Ok(Self::Latest { minus })
            }
        }
    }
}

/// An EVM chain, with our account on it.
pub struct Evm {
    chain_id: u64,
    contract: Address,
    finality: Tag,
    fee_most: u128,
    domain: Domain,
    rpc: Rpc,
    signer: Signer,
    /// When the node last was what was configured.
    identified: Mutex<Option<Instant>>,
}

impl Evm {
    /// Asks nobody anything yet.
    ///
    /// # Errors
    ///
    /// When the node's address is none.
    pub fn new(config: &EvmConfig, signer: Signer) -> Result<Self, String> {
        let &EvmConfig { chain_id, contract, finality, rpc_time, batch_most, fee_most, .. } =
            config;
        Ok(Self {
            chain_id,
            contract,
            finality,
            fee_most,
            domain: Domain::new(chain_id, contract),
            rpc: Rpc::new(&config.rpc_url, rpc_time, batch_most)?,
            signer,
            identified: Mutex::new(None),
        })
    }

    /// The node is on our chain, and our contract is there; or they were within the last minute.
    async fn identify(&self) -> Result<(), LookError> {
        let is_fresh = |at: Instant| at.elapsed() < IDENTITY_TIME;
        if self.identified_at().is_some_and(is_fresh) {
            return Ok(());
        }
        let mut answers = self.rpc.ask(&self.identity_asks()).await?.into_iter();
        self.check_identity(&mut answers)
    }

    fn identity_asks(&self) -> [Ask; 2] {
        let data = Data::from(PaymentChannels::eip712DomainCall {}.abi_encode());
        let call = json!([{ "to": self.contract, "data": data }, "latest"]);
        [Ask::new("eth_chainId", json!([])), Ask::new("eth_call", call)]
    }

    /// By the answers to [`Evm::identity_asks`].
    fn check_identity(&self, answers: &mut impl Iterator<Item = Answer>) -> Result<(), LookError> {
        let chain_id: U64 = rpc::next(answers).read()?;
        if chain_id.to::<u64>() != self.chain_id {
            let what = format!("the node is on chain {chain_id}, not {}", self.chain_id);
            return Err(LookError::WrongChain(what));
        }
        self.check_domain(rpc::next(answers))?;
        *self.identified.lock().expect("no one panics with it") = Some(Instant::now());
        Ok(())
    }

    fn check_domain(&self, answer: Answer) -> Result<(), LookError> {
        let wrong = |is: &str| {
            let (contract, chain_id) = (self.contract, self.chain_id);
            let what = format!("{is} at {contract} of chain {chain_id}, not {}", eip712::NAME);
            LookError::WrongChain(what)
        };
        let bytes: Data = match answer.outcome() {
            Ok(raw) => rpc::parse("eip712Domain", &raw)?,
            Err(error) if error.revert().is_some() => {
                return Err(wrong("a contract that has no eip712Domain is"));
            }
            Err(error) => return Err(LookError::Unreachable(error.text("eip712Domain"))),
        };
        if bytes.is_empty() {
            return Err(wrong("nothing is"));
        }
        let domain = PaymentChannels::eip712DomainCall::abi_decode_returns_validate(&bytes)
            .map_err(|_| wrong("a contract whose eip712Domain is none is"))?;
        let is_ours = domain.name == eip712::NAME
            && domain.version == eip712::VERSION
            && domain.chainId == alloy::primitives::U256::from(self.chain_id)
            && domain.verifyingContract == self.contract;
        if is_ours {
            return Ok(());
        }
        let (name, version) = (rpc::brief(&domain.name), rpc::brief(&domain.version));
        let (chain_id, contract) = (domain.chainId, domain.verifyingContract);
        Err(wrong(&format!("{name} {version} for {contract} of chain {chain_id} is")))
    }

    fn identified_at(&self) -> Option<Instant> {
        *self.identified.lock().expect("no one panics with it")
    }

    /// Whoever answers next may be another node.
    fn heed<T>(&self, outcome: Result<T, LookError>) -> Result<T, LookError> {
        if outcome.is_err() {
            *self.identified.lock().expect("no one panics with it") = None;
        }
        outcome
    }

    async fn signature(&self, matter: &Matter) -> Result<SignatureBytes, SignError> {
        self.signer.sign(matter).await.map_err(SignError::Signer)
    }

    async fn signature_bytes(&self, matter: Matter) -> Result<Bytes, SignError> {
        self.signature(&matter).await.map(|signature| Bytes(signature.to_vec()))
    }
}

impl Worker for Evm {
    fn party(&self) -> Party {
        party_of(self.signer.address())
    }

    fn channel_id(&self, terms: &Terms) -> ChannelId {
        self.domain.channel_id(terms)
    }

    fn claimer(&self, claim: &SignedClaim) -> Option<Party> {
        let digest = self.domain.claim_digest(&claim.claim);
        eip712::signer(&digest, &claim.signature.0).map(party_of)
    }

    fn agreer(&self, agreement: &Agreement, signature: &Bytes) -> Option<Party> {
        let digest = self.domain.agreement_digest(agreement);
        eip712::signer(&digest, &signature.0).map(party_of)
    }

    async fn look(&self, question: Question) -> Result<Sight, LookError> {
        self.heed(self.look_at(&question).await)
    }

    async fn sign(&self, draft: Draft) -> Result<Signed, SignError> {
        self.sign_draft(&draft).await
    }

    async fn send(&self, bytes: Bytes) -> Result<(), SendError> {
        self.send_bytes(&bytes.0).await
    }

    async fn sign_claim(&self, claim: Claim) -> Result<Bytes, SignError> {
        self.signature_bytes(Matter::of_claim(&self.domain, &claim)).await
    }

    async fn sign_agreement(&self, agreement: Agreement) -> Result<Bytes, SignError> {
        self.signature_bytes(Matter::of_agreement(&self.domain, &agreement)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finality_is_one_of_three_words() {
        assert_eq!("finalized".parse(), Ok(Tag::Finalized));
        assert_eq!("safe".parse(), Ok(Tag::Safe));
        assert_eq!("latest-12".parse(), Ok(Tag::Latest { minus: 12 }));
        for wrong in ["", "latest", "latest-", "latest-+1", "latest--1", "pending", "latest-1x"] {
            let error = wrong.parse::<Tag>().unwrap_err();
            assert!(error.contains("finalized, safe or latest-N"), "{error}");
        }
    }

    #[test]
    fn a_nodes_address_is_not_in_what_debug_shows() {
        let config = EvmConfig {
            rpc_url: "https://node.example/password".into(),
            chain_id: 1,
            contract: Address::ZERO,
            finality: Tag::Safe,
            rpc_time: Duration::from_secs(1),
            batch_most: 64,
            fee_most: 1,
        };
        assert!(!format!("{config:?}").contains("password"));
    }
}
