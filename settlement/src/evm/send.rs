//! A transaction, handed to the node, and what the node says in the words of each kind of node.
//!
//! Invariant: a transaction that the node may have is not said to be refused.

use alloy::primitives::{B256, Bytes as Data, keccak256};
use m2_settlement::chain::{LookError, SendError};
use serde_json::{Value, json};

use super::Evm;
use super::rpc::{Ask, NodeError};

/// What nodes say (geth, erigon, reth, anvil, nethermind, besu), in small letters. The first that fits counts.
const WORDS: [(&str, Said); 23] = [
    ("already known", Said::Known),
    ("alreadyknown", Said::Known),
    ("already imported", Said::Known),
    ("known transaction", Said::Known),
    ("existing tx with same hash", Said::Known),
    ("already in pool", Said::Known),
    ("nonce too low", Said::NonceUsed),
    ("nonce is too low", Said::NonceUsed),
    ("nonce below", Said::NonceUsed),
    ("oldnonce", Said::NonceUsed),
    ("underpriced", Said::FeeTooLow),
    ("could not replace existing tx", Said::FeeTooLow),
    ("less than block base fee", Said::FeeTooLow),
    ("fee cap less than", Said::FeeTooLow),
    ("fee too low", Said::FeeTooLow),
    ("feetoolow", Said::FeeTooLow),
    ("gas price too low", Said::FeeTooLow),
    ("gas price below", Said::FeeTooLow),
    ("insufficient funds", Said::Poor),
    ("insufficientfunds", Said::Poor),
    ("upfront cost exceeds account balance", Said::Poor),
    ("too many requests", Said::Later),
    ("limit exceeded", Said::Later),
];
/// Of a node that is asked too often.
const LATER_CODE: i64 = -32005;
/// Of a node in which something broke, at whatever point.
const INTERNAL_CODE: i64 = -32603;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Said {
    Known,
    NonceUsed,
    FeeTooLow,
    Poor,
    Later,
    Other,
}

impl Evm {
    pub(super) async fn send_bytes(&self, bytes: &[u8]) -> Result<(), SendError> {
        let hash = keccak256(bytes);
        let send = Ask::new("eth_sendRawTransaction", json!([Data::copy_from_slice(bytes)]));
        match self.asked(send).await?.outcome() {
            Ok(raw) => check_hash(serde_json::from_str(raw.get()).ok(), hash),
            Err(error) => match said(&error) {
                // What has our nonce in a block may be this very transaction.
                Said::NonceUsed if self.is_included(hash).await? => Err(SendError::Known),
                said => Err(self.refusal(said, &error)),
            },
        }
    }

    async fn asked(&self, ask: Ask) -> Result<super::rpc::Answer, SendError> {
        let outcome = match self.identify().await {
            Ok(()) => self.rpc.ask_one(ask).await,
            Err(error) => Err(error),
        };
        self.heed(outcome).map_err(unreachable)
    }

    async fn is_included(&self, hash: B256) -> Result<bool, SendError> {
        let answer = self.asked(Ask::new("eth_getTransactionReceipt", json!([hash]))).await?;
        answer.read::<Value>().map(|receipt| !receipt.is_null()).map_err(unreachable)
    }

    fn refusal(&self, said: Said, error: &NodeError) -> SendError {
        let text = error.text("eth_sendRawTransaction");
        match said {
            Said::Known => SendError::Known,
            Said::NonceUsed => SendError::NonceUsed,
            Said::FeeTooLow => SendError::FeeTooLow,
            Said::Poor => {
                let us = self.signer.address();
                SendError::Refused(format!("{text}: send {us} money for gas"))
            }
            Said::Later => SendError::Unreachable(text),
            Said::Other => SendError::Refused(text),
        }
    }
}

fn check_hash(told: Option<B256>, hash: B256) -> Result<(), SendError> {
    if told == Some(hash) {
        return Ok(());
    }
    Err(SendError::Unreachable(format!("it names {told:?} for what was sent, which is {hash}")))
}

fn said(error: &NodeError) -> Said {
    let message = error.message.to_lowercase();
    let found = WORDS.iter().find(|(words, _)| message.contains(words));
    match found {
        Some((_, said)) => *said,
        None if matches!(error.code, LATER_CODE | INTERNAL_CODE) => Said::Later,
        None => Said::Other,
    }
}

fn unreachable(error: LookError) -> SendError {
    SendError::Unreachable(match error {
        LookError::Unreachable(text) => text,
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_understood_each_in_its_words() {
        for (code, message, expected) in [
            (-32000, "already known", Said::Known),
            (-32003, "transaction already imported", Said::Known),
            (-32000, "INTERNAL_ERROR: existing tx with same hash", Said::Known),
            (-32010, "AlreadyKnown", Said::Known),
            (-32000, "nonce too low: next nonce 5, tx nonce 4", Said::NonceUsed),
            (-32001, "Nonce too low", Said::NonceUsed),
            (-32010, "OldNonce, Current nonce: 5", Said::NonceUsed),
            (-32000, "replacement transaction underpriced", Said::FeeTooLow),
            (-32000, "transaction underpriced: gas tip cap 0", Said::FeeTooLow),
            (-32000, "INTERNAL_ERROR: could not replace existing tx", Said::FeeTooLow),
            (-32000, "max fee per gas less than block base fee: address 0x", Said::FeeTooLow),
            (-32010, "FeeTooLowToCompete", Said::FeeTooLow),
            (-32009, "Gas price below configured minimum gas price", Said::FeeTooLow),
            (-32000, "insufficient funds for gas * price + value", Said::Poor),
            (-32003, "Insufficient funds for gas * price + value", Said::Poor),
            (-32004, "Upfront cost exceeds account balance", Said::Poor),
            (-32005, "daily request count exceeded", Said::Later),
            (429, "Too Many Requests", Said::Later),
            (-32603, "something broke", Said::Later),
            (-32000, "intrinsic gas too low", Said::Other),
            (-32000, "invalid chain id", Said::Other),
        ] {
            let error = NodeError { code, message: message.into(), data: Value::Null };
            assert_eq!(said(&error), expected, "{message}");
        }
    }

    #[test]
    fn another_hash_than_that_of_what_was_sent_is_no_acceptance() {
        let hash = B256::repeat_byte(1);
        assert_eq!(check_hash(Some(hash), hash), Ok(()));
        for other in [None, Some(B256::ZERO)] {
            assert!(matches!(check_hash(other, hash), Err(SendError::Unreachable(_))));
        }
    }
}
