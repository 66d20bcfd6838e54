//! A transaction, made and signed.
//!
//! Invariant: it is of our making, calls the contract or approves it, carries no money, and offers no more for its
//! gas than was configured. Its gas is what it takes after the latest block, and some more: what is not used is
//! not paid, but a transaction that runs out of it has paid for nothing.

use alloy::consensus::SignableTransaction;
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Bytes as Data, Signature, U64};
use alloy::sol_types::SolCall;
use m2_settlement::chain::{
    Bytes, Call, Draft, Fee, LookError, SignError, Signed, SignedClaim, TxHash,
};
use serde_json::json;

use super::Evm;
use super::abi::{self, Calldata, PaymentChannels};
use super::rpc::{self, Answer, Ask};
use crate::signer::Matter;

/// What a transaction may use at all: EIP-7825 has it so on the main chain, and no call of ours comes near.
const GAS_MOST: u64 = 1 << 24;
/// Beside a quarter of what is estimated: some storage that was set is not by then.
const GAS_MORE: u64 = 50_000;

impl Evm {
    pub(super) async fn sign_draft(&self, draft: &Draft) -> Result<Signed, SignError> {
        let us = self.signer.address();
        let calldata =
            abi::calldata(&draft.call, us, self.contract).map_err(SignError::WouldFail)?;
        let gas = gas_limit(self.estimate(&draft.call, &calldata).await?)?;
        let fee = capped(draft.fee, self.fee_most);
        let matter = Matter::Transaction {
            chain_id: self.chain_id,
            nonce: draft.nonce,
            to: calldata.to,
            data: calldata.data,
            gas,
            fee_most: fee.most,
            tip: fee.tip,
        };
        let signature = self.signature(&matter).await?;
        Ok(signed(&matter, &signature, fee))
    }

    /// What it would use after the latest block. One of ours that waits to be included is not looked at: this one
    /// may be to replace it.
    async fn estimate(&self, call: &Call, calldata: &Calldata) -> Result<u64, SignError> {
        let judged = match call {
            Call::Redeem { claims } if claims.len() > 1 => &claims[..],
            _ => &[],
        };
        let mut asks = vec![self.call("eth_estimateGas", calldata)];
        asks.extend(judged.iter().map(|claim| self.judge(claim)));
        let outcome = match self.identify().await {
            Ok(()) => self.rpc.ask(&asks).await,
            Err(error) => Err(error),
        };
        let mut answers = self.heed(outcome).map_err(unreachable)?.into_iter();
        let estimate = rpc::next(&mut answers);
        check_judgements(answers)?;
        estimated(estimate)
    }

    fn judge(&self, claim: &SignedClaim) -> Ask {
        let judge = PaymentChannels::judgeCall { claim: abi::claim(claim) };
        let data = Data::from(judge.abi_encode());
        self.call("eth_call", &Calldata { to: self.contract, data })
    }

    fn call(&self, method: &'static str, Calldata { to, data }: &Calldata) -> Ask {
        let us = self.signer.address();
        Ask::new(method, json!([{ "from": us, "to": to, "data": data }, "latest"]))
    }
}

/// A batch pays what it can, and does not fail if that is nothing: nobody wants to pay for that.
fn check_judgements(answers: impl Iterator<Item = Answer>) -> Result<(), SignError> {
    let mut refusals = Vec::new();
    for answer in answers {
        let bytes: Data = answer.read().map_err(unreachable)?;
        let judgement = PaymentChannels::judgeCall::abi_decode_returns_validate(&bytes)
            .map_err(|error| SignError::Unreachable(format!("judge: {error}")))?;
        if judgement.why == PaymentChannels::Refusal::None {
            return Ok(());
        }
        refusals.push(format!("{:?}", judgement.why));
    }
    if refusals.is_empty() {
        return Ok(());
    }
    refusals.dedup();
    let text = rpc::brief(&refusals.join(", "));
    Err(SignError::WouldFail(format!("no claim of the batch pays anything: {text}")))
}

fn estimated(answer: Answer) -> Result<u64, SignError> {
    let error = match answer.outcome() {
        Ok(raw) => {
            let gas: U64 = rpc::parse("eth_estimateGas", &raw).map_err(unreachable)?;
            return Ok(gas.to());
        }
        Err(error) => error,
    };
    if let Some(data) = error.revert() {
        return Err(SignError::WouldFail(revert_text(&data, &error.message)));
    }
    let text = error.text("eth_estimateGas");
    let message = error.message.to_lowercase();
    // Who has no money at all is told that there is no gas to try it with.
    let of_money = ["insufficient funds", "gas required exceeds", "out of gas", "outofgas"];
    if of_money.iter().any(|words| message.contains(words)) {
        let advice = "has our account money for gas?";
        return Err(SignError::WouldFail(format!("{text}: {advice}")));
    }
    Err(SignError::Unreachable(text))
}

/// Some nodes decode a reason into words and keep the bytes.
fn revert_text(data: &[u8], message: &str) -> String {
    if data.is_empty() { rpc::brief(message) } else { abi::revert_text(data) }
}

fn gas_limit(estimate: u64) -> Result<u64, SignError> {
    if estimate > GAS_MOST {
        let what =
            format!("it takes {estimate} gas, more than the {GAS_MOST} that a transaction may");
        return Err(SignError::WouldFail(what));
    }
    Ok((estimate + estimate / 4 + GAS_MORE).min(GAS_MOST))
}

fn capped(fee: Fee, most: u128) -> Fee {
    let most = fee.most.min(most);
    Fee { most, tip: fee.tip.min(most) }
}

fn signed(matter: &Matter, signature: &[u8; 65], fee: Fee) -> Signed {
    let transaction = matter.transaction().expect("it was made as one");
    let signature = Signature::from_raw_array(signature).expect("v is 27 or 28: it was checked");
    let signed = transaction.into_signed(signature);
    let hash = TxHash(signed.hash().0);
    Signed { bytes: Bytes(signed.encoded_2718()), hash, fee }
}

/// A node that is none of ours says nothing about our transactions.
pub(super) fn unreachable(error: LookError) -> SignError {
    SignError::Unreachable(match error {
        LookError::Unreachable(text) => text,
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use alloy::consensus::TxEnvelope;
    use alloy::consensus::transaction::SignerRecoverable;
    use alloy::eips::eip2718::Decodable2718;
    use alloy::primitives::Address;

    use super::*;
    use crate::signer::Key;

    #[test]
    fn gas_is_what_is_estimated_and_a_quarter_and_some_more() {
        assert_eq!(gas_limit(100_000).unwrap(), 175_000);
        assert_eq!(gas_limit(GAS_MOST).unwrap(), GAS_MOST);
        assert!(matches!(gas_limit(GAS_MOST + 1), Err(SignError::WouldFail(_))));
        assert!(matches!(gas_limit(u64::MAX), Err(SignError::WouldFail(_))));
    }

    #[test]
    fn no_more_is_offered_than_was_configured() {
        let fee = Fee { most: 100, tip: 50 };
        assert_eq!(capped(fee, 100), fee);
        assert_eq!(capped(fee, 40), Fee { most: 40, tip: 40 });
        assert_eq!(capped(Fee { most: 10, tip: 50 }, 40), Fee { most: 10, tip: 10 });
    }

    #[test]
    fn what_is_signed_reads_back_as_the_transaction_that_it_is() {
        let key = Key::parse(&"11".repeat(32)).unwrap();
        let fee = Fee { most: 9, tip: 2 };
        let matter = Matter::Transaction {
            chain_id: 31337,
            nonce: 5,
            to: Address::repeat_byte(1),
            data: Data::from_static(&[1, 2]),
            gas: 21_000,
            fee_most: 9,
            tip: 2,
        };
        let sent = signed(&matter, &key.sign(&matter.digest()).unwrap(), fee);
        let read = TxEnvelope::decode_2718_exact(&sent.bytes.0).unwrap();
        assert_eq!(read.recover_signer().unwrap(), key.address());
        assert_eq!(read.tx_hash().0, sent.hash.0);
        assert_eq!(read.as_eip1559().unwrap().tx(), &matter.transaction().unwrap());
    }
}
