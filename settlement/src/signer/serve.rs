//! A signer process: it keeps the key, and signs what it is asked for over stdin and stdout.
//!
//! One JSON object on a line each way: `{"party":true}` is answered with `{"party":"0x.."}`, and a
//! [`Matter`] with its `digest` with `{"signature":"0x.."}` or `{"error":".."}`.
//!
//! Invariant: it signs only what it has understood: the digest that it was told must be that of the fields
//! beside it, and the fields must be within its [`Policy`]. It runs under another user than `m2-settle`, so
//! that who breaks into that one has no key.

use std::io::{self, BufRead, Read, Write};

use alloy::primitives::{Address, B256};
use alloy::sol_types::SolCall;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Key, Matter};
use crate::evm::abi::IERC20;

/// What a line may hold at most: a transaction of 128 KiB, which is the most that nodes pass on, in hexadecimal
/// digits, and some more.
pub(super) const LINE_BYTES_MAX: usize = 320 * 1024;

/// What a signer signs at all. It knows nothing of what was signed before.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Policy {
    /// Only for this chain.
    pub chain_id: Option<u64>,
    /// Only for this contract: claims and agreements for it, transactions to it, and approvals of it.
    pub contract: Option<Address>,
}

/// A request to sign.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Request {
    pub(super) digest: B256,
    #[serde(flatten)]
    pub(super) matter: Matter,
}

/// Answers each line of `input` on `output` until there is none.
///
/// # Errors
///
/// When one of them fails, or a line is longer than any request.
pub fn serve(
    key: &Key,
    policy: Policy,
    mut input: impl BufRead,
    mut output: impl Write,
) -> io::Result<()> {
    let mut line = Vec::new();
    let limit = u64::try_from(LINE_BYTES_MAX + 1).expect("a small number");
    loop {
        line.clear();
        if input.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.len() > LINE_BYTES_MAX {
            let what = format!("a request is longer than {LINE_BYTES_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let answer = answer(key, policy, &line).unwrap_or_else(|error| json!({ "error": error }));
        writeln!(output, "{answer}")?;
        output.flush()?;
    }
}

fn answer(key: &Key, policy: Policy, line: &[u8]) -> Result<Value, String> {
    let unread = |error: serde_json::Error| format!("this is no request: {error}");
    let value: Value = serde_json::from_slice(line).map_err(unread)?;
    if value.get("party").is_some() {
        return Ok(json!({ "party": key.address() }));
    }
    let request: Request = serde_json::from_value(value).map_err(unread)?;
    if request.matter.digest() != request.digest {
        return Err("the digest is not that of the fields beside it".into());
    }
    policy.check(&request.matter, key.address())?;
    Ok(json!({ "signature": alloy::hex::encode_prefixed(key.sign(&request.digest)?) }))
}

impl Policy {
    fn check(&self, matter: &Matter, us: Address) -> Result<(), String> {
        let (chain_id, contract) = match matter {
            // What takes a nonce and does nothing is not for any contract.
            Matter::Transaction { chain_id, to, data, .. } if *to == us && data.is_empty() => {
                (*chain_id, self.contract.unwrap_or(*to))
            }
            Matter::Claim { chain_id, contract, .. }
            | Matter::Agreement { chain_id, contract, .. } => (*chain_id, *contract),
            Matter::Transaction { chain_id, to, data, .. } => {
                (*chain_id, approved(data).unwrap_or(*to))
            }
        };
        if let Some(only) = self.chain_id.filter(|only| *only != chain_id) {
            return Err(format!("only what is for chain {only} is signed, not for {chain_id}"));
        }
        if let Some(only) = self.contract.filter(|only| *only != contract) {
            return Err(format!("only what is for contract {only} is signed, not for {contract}"));
        }
        Ok(())
    }
}

/// Who may take tokens by this call, if that is what it does.
fn approved(data: &[u8]) -> Option<Address> {
    IERC20::approveCall::abi_decode_validate(data).ok().map(|call| call.spender)
}

#[cfg(test)]
mod tests {
    use alloy::primitives::U256;

    use super::super::matter::tests::one_of_each;
    use super::*;
    use crate::evm::eip712;

    const DIGITS: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

    fn answers(policy: Policy, lines: &str) -> Vec<Value> {
        let mut output = Vec::new();
        serve(&Key::parse(DIGITS).unwrap(), policy, lines.as_bytes(), &mut output).unwrap();
        let output = String::from_utf8(output).unwrap();
        output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn request(matter: &Matter) -> String {
        let request = Request { digest: matter.digest(), matter: matter.clone() };
        serde_json::to_string(&request).unwrap() + "\n"
    }

    fn answer_to(policy: Policy, matter: &Matter) -> Value {
        answers(policy, &request(matter)).remove(0)
    }

    #[test]
    fn each_kind_is_signed_over_its_digest() {
        for matter in one_of_each() {
            let answer = answer_to(Policy::default(), &matter);
            let signature = alloy::hex::decode(answer["signature"].as_str().unwrap()).unwrap();
            let us = Key::parse(DIGITS).unwrap().address();
            assert_eq!(eip712::signer(&matter.digest(), &signature), Some(us));
        }
        let party = &answers(Policy::default(), "{\"party\":true}\n")[0]["party"];
        assert_eq!(party, "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266");
    }

    #[test]
    fn a_digest_of_something_else_is_not_signed() {
        let [claim, agreement, _] = one_of_each();
        let request = Request { digest: agreement.digest(), matter: claim };
        let line = serde_json::to_string(&request).unwrap() + "\n";
        let error = &answers(Policy::default(), &line)[0]["error"];
        assert_eq!(error, "the digest is not that of the fields beside it");
    }

    #[test]
    fn what_is_no_request_is_answered_and_the_next_one_too() {
        let lines =
            format!("\n{{}}\n[\nnull\n{{\"sign\":\"all\"}}\n{}", request(&one_of_each()[0]));
        let answers = answers(Policy::default(), &lines);
        assert_eq!(answers.len(), 6);
        assert!(answers[..5].iter().all(|answer| answer["error"].is_string()), "{answers:?}");
        assert!(answers[5]["signature"].is_string());
    }

    #[test]
    fn a_line_without_end_ends_the_signer() {
        let long = " ".repeat(LINE_BYTES_MAX + 1);
        let key = Key::parse(DIGITS).unwrap();
        let error = serve(&key, Policy::default(), long.as_bytes(), io::sink()).unwrap_err();
        assert!(error.to_string().contains("longer than"));
    }

    #[test]
    fn what_is_for_another_chain_or_contract_is_not_signed() {
        let ours = Policy { chain_id: Some(u64::MAX), contract: Some(Address::repeat_byte(1)) };
        let another_chain = Policy { chain_id: Some(1), ..ours };
        let another_contract = Policy { contract: Some(Address::repeat_byte(2)), ..ours };
        for matter in one_of_each() {
            assert!(answer_to(ours, &matter)["signature"].is_string());
            assert!(answer_to(another_chain, &matter)["error"].is_string());
            assert!(answer_to(another_contract, &matter)["error"].is_string());
        }
    }

    #[test]
    fn tokens_may_be_given_to_the_contract_and_to_nobody_else() {
        let contract = Address::repeat_byte(1);
        let policy = Policy { chain_id: None, contract: Some(contract) };
        let [.., Matter::Transaction { chain_id, nonce, gas, fee_most, tip, .. }] = one_of_each()
        else {
            panic!("the third is a transaction");
        };
        let to_token = |data: Vec<u8>| {
            let (to, data) = (Address::repeat_byte(9), data.into());
            Matter::Transaction { chain_id, nonce, to, data, gas, fee_most, tip }
        };
        let approve = |spender| IERC20::approveCall { spender, amount: U256::MAX }.abi_encode();
        assert!(answer_to(policy, &to_token(approve(contract)))["signature"].is_string());
        assert!(answer_to(policy, &to_token(approve(Address::ZERO)))["error"].is_string());
        let mut longer = approve(contract);
        longer[0] ^= 1;
        assert!(answer_to(policy, &to_token(longer))["error"].is_string());
    }
}
