//! What a chain shows, of two blocks: the newest that is final, and the newest.
//!
//! Invariant: everything of one end is read at one block, which is named by its hash, so that a reorganisation
//! between two reads makes the look fail and not mix two chains. What contradicts itself is not shown.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, Bytes, U64, U128, U256};
use alloy::sol_types::SolCall;
use m2_settlement::chain::{
    ChannelId, ChannelSight, Fee, Head, Included, LookError, OnChain, Question, Sight, Token,
    TokenSight, TxHash,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::abi::{self, IERC20, PaymentChannels};
use super::eip712::address_of;
use super::rpc::{self, Answer, Ask, next};
use super::{Evm, Tag};

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase")]
struct Block {
    number: U64,
    hash: B256,
    timestamp: U64,
    base_fee_per_gas: Option<U128>,
}

impl Block {
    fn number(&self) -> u64 {
        self.number.to()
    }

    fn head(&self) -> Head {
        Head { number: self.number(), time_s: self.timestamp.to() }
    }

    /// This block in the words of EIP-1898; an error if it is not of the chain any more.
    fn by_hash(&self) -> Value {
        json!({ "blockHash": self.hash, "requireCanonical": true })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Receipt {
    transaction_hash: B256,
    block_hash: B256,
    block_number: U64,
    status: U64,
    gas_used: U64,
    effective_gas_price: U128,
    /// What a rollup takes beside the gas for writing to the chain below.
    l1_fee: Option<U128>,
}

/// The two ends of what is not final.
struct Ends {
    last_final: Block,
    latest: Block,
    fee: Fee,
}

impl Evm {
    pub(super) async fn look_at(&self, question: &Question) -> Result<Sight, LookError> {
        let ends = self.ends().await?;
        let answers = self.rpc.ask(&self.asks(question, &ends)).await?;
        let mut answers = answers.into_iter();
        let mut sight = self.sight(question, &ends, &mut answers)?;
        let receipts = receipts(&question.transactions, &mut answers)?;
        sight.transactions = self.included(receipts, &ends).await?;
        Ok(sight)
    }

    /// Who the node is, and where its chain ends. The final block is asked for before the latest one: what a node
    /// shows after it is not older.
    async fn ends(&self) -> Result<Ends, LookError> {
        let tag = match self.finality {
            Tag::Finalized => Some("finalized"),
            Tag::Safe => Some("safe"),
            Tag::Latest { .. } => None,
        };
        let mut asks = Vec::from(self.identity_asks());
        asks.extend(tag.map(block));
        asks.extend([block("latest"), Ask::new("eth_maxPriorityFeePerGas", json!([]))]);
        let mut answers = self.rpc.ask(&asks).await?.into_iter();
        self.check_identity(&mut answers)?;
        let tagged = tag.and_then(|_| answers.next()).map(maybe_block).transpose()?.flatten();
        let latest: Block = next(&mut answers).read()?;
        let tip: U128 = next(&mut answers).read()?;
        let last_final = match (tagged, self.finality) {
            (Some(block), _) => block,
            // A chain so young that none is final shows none.
            (None, Tag::Finalized | Tag::Safe) => self.block_at(0).await?,
            (None, Tag::Latest { minus: 0 }) => latest,
            (None, Tag::Latest { minus }) => {
                self.block_at(latest.number().saturating_sub(minus)).await?
            }
        };
        check_ends(&last_final, &latest)?;
        let fee = fee(&latest, tip.to(), self.fee_most)?;
        Ok(Ends { last_final, latest, fee })
    }

    async fn block_at(&self, number: u64) -> Result<Block, LookError> {
        let answer = self.rpc.ask_one(block(&format!("{number:#x}"))).await?;
        at_height(answer.read()?, number)
    }

    fn asks(&self, question: &Question, ends: &Ends) -> Vec<Ask> {
        let us = self.signer.address();
        let mut asks = Vec::new();
        for end in [&ends.last_final, &ends.latest] {
            asks.push(Ask::new("eth_getTransactionCount", json!([us, end.by_hash()])));
            asks.extend(question.channels.iter().map(|id| self.channel_ask(*id, end)));
        }
        asks.push(Ask::new("eth_getBalance", json!([us, ends.latest.by_hash()])));
        let tokens = question.tokens.iter().filter_map(|token| address_of(&token.0));
        asks.extend(tokens.flat_map(|token| self.token_asks(token, us, &ends.latest)));
        let receipt =
            |hash: &TxHash| Ask::new("eth_getTransactionReceipt", json!([B256::from(hash.0)]));
        asks.extend(question.transactions.iter().map(receipt));
        asks
    }

    fn channel_ask(&self, channel: ChannelId, at: &Block) -> Ask {
        let call = PaymentChannels::channelOfCall { channelId: channel.0.into() };
        view(self.contract, call, at)
    }

    fn token_asks(&self, token: Address, us: Address, at: &Block) -> [Ask; 3] {
        [
            view(token, IERC20::balanceOfCall { owner: us }, at),
            view(token, IERC20::allowanceCall { owner: us, spender: self.contract }, at),
            view(self.contract, PaymentChannels::owedCall { token, owner: us }, at),
        ]
    }

    /// The answers to [`Evm::asks`], in their order, but for those of receipts.
    fn sight(
        &self,
        question: &Question,
        ends: &Ends,
        answers: &mut impl Iterator<Item = Answer>,
    ) -> Result<Sight, LookError> {
        let nonce_final = nonce(next(answers))?;
        let mut last_finals = Vec::with_capacity(question.channels.len());
        for _ in &question.channels {
            last_finals.push(channel(next(answers), End::Final)?);
        }
        let nonce_latest = nonce(next(answers))?;
        if nonce_final > nonce_latest {
            let what = format!("our nonce is {nonce_final} when final, {nonce_latest} at last");
            return Err(LookError::Nonsense(what));
        }
        let mut channels = Vec::with_capacity(question.channels.len());
        for (id, last_final) in question.channels.iter().zip(last_finals) {
            let latest = channel(next(answers), End::Latest)?;
            channels.push((*id, ChannelSight { latest, last_final }));
        }
        let gas_money = saturated(next(answers).read()?);
        let tokens = question.tokens.iter().map(|token| token_sight(*token, answers));
        Ok(Sight {
            latest: ends.latest.head(),
            last_final: ends.last_final.head(),
            nonce_final,
            nonce_latest,
            fee: ends.fee,
            gas_money,
            tokens: tokens.collect::<Result<_, _>>()?,
            channels,
            transactions: Vec::new(),
        })
    }

    /// Those that are in a block of the chain up to the latest one.
    async fn included(
        &self,
        receipts: Vec<(TxHash, Receipt)>,
        ends: &Ends,
    ) -> Result<Vec<(TxHash, Included)>, LookError> {
        let final_number = ends.last_final.number();
        let heights = receipts.iter().map(|(_, receipt)| receipt.block_number.to::<u64>());
        let mut hashes: BTreeMap<u64, B256> =
            heights.filter(|height| *height <= final_number).map(|h| (h, B256::ZERO)).collect();
        let asks: Vec<_> = hashes.keys().map(|height| block(&format!("{height:#x}"))).collect();
        let answers = self.rpc.ask(&asks).await?;
        for ((height, hash), answer) in hashes.iter_mut().zip(answers) {
            *hash = at_height(answer.read()?, *height)?.hash;
        }
        let mut included = Vec::with_capacity(receipts.len());
        for (hash, receipt) in receipts {
            let number = receipt.block_number.to::<u64>();
            let is_of_another_chain =
                hashes.get(&number).is_some_and(|at_height| *at_height != receipt.block_hash);
            // What came after the latest block that we look at is for the next look.
            if !is_of_another_chain && number <= ends.latest.number() {
                included.push((hash, receipt.included(number <= final_number)?));
            }
        }
        Ok(included)
    }
}

impl Receipt {
    fn included(&self, is_final: bool) -> Result<Included, LookError> {
        let succeeded = match self.status.to::<u64>() {
            0 => false,
            1 => true,
            other => return Err(LookError::Nonsense(format!("a receipt of status {other}"))),
        };
        let gas = self.gas_used.to::<u64>();
        let of_gas = self.effective_gas_price.to::<u128>().checked_mul(gas.into());
        let l1_fee = self.l1_fee.map_or(0, |fee| fee.to());
        let cost = of_gas.and_then(|cost| cost.checked_add(l1_fee));
        let cost = cost.ok_or_else(|| LookError::Nonsense("a fee beyond 128 bits".into()))?;
        Ok(Included { is_final, succeeded, cost, gas })
    }
}

fn block(tag: &str) -> Ask {
    Ask::new("eth_getBlockByNumber", json!([tag, false]))
}

fn view(to: Address, call: impl SolCall, at: &Block) -> Ask {
    let data = Bytes::from(call.abi_encode());
    Ask::new("eth_call", json!([{ "to": to, "data": data }, at.by_hash()]))
}

/// None while a chain has none of that tag: some nodes say null then, geth that it was not found.
fn maybe_block(answer: Answer) -> Result<Option<Block>, LookError> {
    match answer.outcome() {
        Ok(raw) => rpc::parse("eth_getBlockByNumber", &raw),
        Err(error) if error.message.to_lowercase().contains("not found") => Ok(None),
        Err(error) => Err(LookError::Unreachable(error.text("eth_getBlockByNumber"))),
    }
}

fn at_height(block: Block, number: u64) -> Result<Block, LookError> {
    if block.number() == number {
        return Ok(block);
    }
    let what = format!("asked for block {number}, the node shows {}", block.number());
    Err(LookError::Nonsense(what))
}

fn check_ends(last_final: &Block, latest: &Block) -> Result<(), LookError> {
    let (last, newest) = (last_final.head(), latest.head());
    let fault = if last.number > newest.number {
        "is below"
    } else if last.number == newest.number && last_final.hash != latest.hash {
        "is another than"
    } else if last.time_s > newest.time_s {
        "is older than"
    } else {
        return Ok(());
    };
    let what = format!("the latest block, {newest:?}, {fault} the final one, {last:?}");
    Err(LookError::Nonsense(what))
}

/// Enough for some full blocks before ours: each raises what all pay by an eighth.
fn fee(latest: &Block, tip: u128, most: u128) -> Result<Fee, LookError> {
    let Some(base) = latest.base_fee_per_gas else {
        let what = "the latest block has no base fee: this chain knows no EIP-1559";
        return Err(LookError::Nonsense(what.into()));
    };
    let most = base.to::<u128>().saturating_mul(2).saturating_add(tip).min(most);
    Ok(Fee { most, tip: tip.min(most) })
}

fn nonce(answer: Answer) -> Result<u64, LookError> {
    answer.read::<U64>().map(|nonce| nonce.to())
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum End {
    Final,
    Latest,
}

fn channel(answer: Answer, end: End) -> Result<Option<OnChain>, LookError> {
    let bytes: Bytes = answer.read()?;
    if bytes.is_empty() {
        return match end {
            // The contract is younger than the final block.
            End::Final => Ok(None),
            End::Latest => Err(LookError::WrongChain("the contract is not there any more".into())),
        };
    }
    let channel = abi::channel(&bytes).map_err(LookError::Nonsense)?;
    for side in channel.iter().flat_map(|channel| channel.sides) {
        let spent = side.redeemed.checked_add(side.withdrawn);
        if spent.is_none_or(|spent| spent > side.deposit) {
            let what = format!("more was taken out of a deposit than is in it: {side:?}");
            return Err(LookError::Nonsense(what));
        }
    }
    Ok(channel)
}

/// A token that does not answer is one of which we have nothing. Numbers beyond 128 bits are shown as the largest
/// one: an allowance often is all that there could be.
fn token_sight(
    token: Token,
    answers: &mut impl Iterator<Item = Answer>,
) -> Result<(Token, TokenSight), LookError> {
    if address_of(&token.0).is_none() {
        return Ok((token, TokenSight::default()));
    }
    let balance = of_token(next(answers))?;
    let allowance = of_token(next(answers))?;
    let bytes: Bytes = next(answers).read()?;
    let owed = PaymentChannels::owedCall::abi_decode_returns_validate(&bytes)
        .map_err(|error| LookError::Nonsense(format!("owed: {error}")))?;
    Ok((token, TokenSight { balance, allowance, owed: saturated(owed) }))
}

fn of_token(answer: Answer) -> Result<u128, LookError> {
    match answer.outcome() {
        Err(error) if error.revert().is_some() => Ok(0),
        Err(error) => Err(LookError::Unreachable(error.text("a token's balance"))),
        Ok(raw) => {
            let bytes: Bytes = rpc::parse("a token's balance", &raw)?;
            Ok(<[u8; 32]>::try_from(&bytes[..])
                .map_or(0, |word| saturated(U256::from_be_bytes(word))))
        }
    }
}

fn saturated(number: U256) -> u128 {
    u128::try_from(number).unwrap_or(u128::MAX)
}

/// Of those that a node has a receipt for.
fn receipts(
    hashes: &[TxHash],
    answers: &mut impl Iterator<Item = Answer>,
) -> Result<Vec<(TxHash, Receipt)>, LookError> {
    let mut receipts = Vec::with_capacity(hashes.len());
    for hash in hashes {
        let Some(receipt) = next(answers).read::<Option<Receipt>>()? else { continue };
        if receipt.transaction_hash.0 != hash.0 {
            let what = format!("the receipt of {hash} is that of {}", receipt.transaction_hash);
            return Err(LookError::Nonsense(what));
        }
        receipts.push((*hash, receipt));
    }
    Ok(receipts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_of(number: u64, time_s: u64, hash: u8) -> Block {
        let (number, timestamp) = (U64::from(number), U64::from(time_s));
        let base_fee_per_gas = Some(U128::from(100));
        Block { number, hash: B256::repeat_byte(hash), timestamp, base_fee_per_gas }
    }

    #[test]
    fn ends_that_contradict_each_other_make_no_sense() {
        let last_final = block_of(5, 50, 1);
        assert_eq!(check_ends(&last_final, &last_final), Ok(()));
        assert_eq!(check_ends(&last_final, &block_of(6, 50, 2)), Ok(()));
        for (latest, word) in [
            (block_of(4, 60, 2), "is below"),
            (block_of(5, 50, 2), "is another than"),
            (block_of(6, 49, 2), "is older than"),
        ] {
            let error = check_ends(&last_final, &latest).unwrap_err();
            assert!(matches!(&error, LookError::Nonsense(text) if text.contains(word)), "{error}");
        }
    }

    #[test]
    fn a_fee_is_twice_the_base_and_the_tip_and_never_more_than_configured() {
        let block = block_of(1, 1, 1);
        assert_eq!(fee(&block, 7, 1000), Ok(Fee { most: 207, tip: 7 }));
        assert_eq!(fee(&block, 7, 150), Ok(Fee { most: 150, tip: 7 }));
        assert_eq!(fee(&block, u128::MAX, 150), Ok(Fee { most: 150, tip: 150 }));
        let old = Block { base_fee_per_gas: None, ..block };
        assert!(matches!(fee(&old, 7, 150), Err(LookError::Nonsense(_))));
    }

    fn receipt(text: &str) -> Result<Included, LookError> {
        let mut receipt = json!({
            "transactionHash": B256::ZERO, "blockHash": B256::ZERO, "blockNumber": "0x1",
            "status": "0x1", "gasUsed": "0x64", "effectiveGasPrice": "0x3",
        });
        let others: Value = serde_json::from_str(text).unwrap();
        for (name, value) in others.as_object().unwrap() {
            receipt[name] = value.clone();
        }
        serde_json::from_value::<Receipt>(receipt).unwrap().included(true)
    }

    #[test]
    fn a_transaction_costs_its_gas_and_what_a_rollup_takes_beside_it() {
        let of_gas = Included { is_final: true, succeeded: true, cost: 300, gas: 100 };
        assert_eq!(receipt("{}"), Ok(of_gas));
        let of_rollup = Included { cost: 305, ..of_gas };
        assert_eq!(receipt(r#"{"l1Fee":"0x5"}"#), Ok(of_rollup));
        let failed = Included { succeeded: false, ..of_gas };
        assert_eq!(receipt(r#"{"status":"0x0"}"#), Ok(failed));
        let most = format!(r#"{{"effectiveGasPrice":"{:#x}"}}"#, u128::MAX);
        for text in [most.as_str(), r#"{"status":"0x2"}"#] {
            assert!(matches!(receipt(text), Err(LookError::Nonsense(_))), "{text}");
        }
    }
}
