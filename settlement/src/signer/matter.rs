//! What is signed, in plain fields that a signer can judge.
//!
//! Invariant: the digest is made of these fields and of nothing else. Amounts are decimal digits in strings, as
//! JSON's numbers end at 53 bits in many a reader.

use alloy::consensus::{SignableTransaction, TxEip1559};
use alloy::primitives::{Address, B256, Bytes, TxKind, U256};
use m2_settlement::chain::{Agreement, ChannelId, Claim};
use serde::{Deserialize, Serialize};

use crate::evm::eip712::Domain;

/// What is to be signed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "sign", rename_all = "lowercase")]
pub enum Matter {
    /// A payer's claim.
    Claim {
        /// Of the chain.
        #[serde(with = "decimal")]
        chain_id: u64,
        /// Where the channels are.
        contract: Address,
        /// Which channel.
        channel: B256,
        /// Units of its token, paid in all.
        #[serde(with = "decimal")]
        total: u128,
    },
    /// One side of a channel's end.
    Agreement {
        /// Of the chain.
        #[serde(with = "decimal")]
        chain_id: u64,
        /// Where the channels are.
        contract: Address,
        /// Which channel.
        channel: B256,
        /// What its first party has paid, in all.
        #[serde(with = "decimal")]
        first_paid: u128,
        /// What its second party has paid, in all.
        #[serde(with = "decimal")]
        second_paid: u128,
        /// Seconds since 1970.
        #[serde(with = "decimal")]
        valid_until_s: u64,
    },
    /// A transaction that carries no money but its fee.
    Transaction {
        /// Of the chain.
        #[serde(with = "decimal")]
        chain_id: u64,
        /// Its place in the order of ours.
        #[serde(with = "decimal")]
        nonce: u64,
        /// The contract that is called.
        to: Address,
        /// With what.
        data: Bytes,
        /// At most.
        #[serde(with = "decimal")]
        gas: u64,
        /// For each unit of gas, at most.
        #[serde(with = "decimal")]
        fee_most: u128,
        /// What of it goes to who includes it.
        #[serde(with = "decimal")]
        tip: u128,
    },
}

impl Matter {
    /// A claim.
    #[must_use]
    pub fn of_claim(domain: &Domain, claim: &Claim) -> Self {
        Self::Claim {
            chain_id: domain.chain_id(),
            contract: domain.contract(),
            channel: claim.channel.0.into(),
            total: claim.total,
        }
    }

    /// An agreement.
    #[must_use]
    pub fn of_agreement(domain: &Domain, agreement: &Agreement) -> Self {
        Self::Agreement {
            chain_id: domain.chain_id(),
            contract: domain.contract(),
            channel: agreement.channel.0.into(),
            first_paid: agreement.first_paid,
            second_paid: agreement.second_paid,
            valid_until_s: agreement.valid_until_s,
        }
    }

    /// What a signature of it is over.
    #[must_use]
    pub fn digest(&self) -> B256 {
        match self {
            &Self::Claim { chain_id, contract, channel, total } => Domain::new(chain_id, contract)
                .claim_digest(&Claim { channel: ChannelId(channel.0), total }),
            &Self::Agreement {
                chain_id,
                contract,
                channel,
                first_paid,
                second_paid,
                valid_until_s,
            } => Domain::new(chain_id, contract).agreement_digest(&Agreement {
                channel: ChannelId(channel.0),
                first_paid,
                second_paid,
                valid_until_s,
            }),
            Self::Transaction { .. } => {
                self.transaction().expect("it is one by the arm").signature_hash()
            }
        }
    }

    /// The transaction, if it is one.
    #[must_use]
    pub fn transaction(&self) -> Option<TxEip1559> {
        let Self::Transaction { chain_id, nonce, to, data, gas, fee_most, tip } = self else {
            return None;
        };
        Some(TxEip1559 {
            chain_id: *chain_id,
            nonce: *nonce,
            gas_limit: *gas,
            max_fee_per_gas: *fee_most,
            max_priority_fee_per_gas: *tip,
            to: TxKind::Call(*to),
            value: U256::ZERO,
            access_list: alloy::eips::eip2930::AccessList::default(),
            input: data.clone(),
        })
    }
}

/// Whole numbers as decimal digits in a string.
mod decimal {
    use std::borrow::Cow;
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<T: Display, S: Serializer>(
        number: &T,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    pub(super) fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(
        from: D,
    ) -> Result<T, D::Error> {
        let text = Cow::<'de, str>::deserialize(from)?;
        let is_decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let wrong = || de::Error::custom("a number must be decimal digits in a string");
        text.parse().ok().filter(|_| is_decimal).ok_or_else(wrong)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One of each kind, with the largest numbers.
    pub(in crate::signer) fn one_of_each() -> [Matter; 3] {
        let domain = Domain::new(u64::MAX, Address::repeat_byte(1));
        let channel = ChannelId([7; 32]);
        let agreement = Agreement {
            channel,
            first_paid: u128::MAX,
            second_paid: u128::MAX - 1,
            valid_until_s: u64::MAX,
        };
        [
            Matter::of_claim(&domain, &Claim { channel, total: u128::MAX }),
            Matter::of_agreement(&domain, &agreement),
            Matter::Transaction {
                chain_id: u64::MAX,
                nonce: 3,
                to: Address::repeat_byte(1),
                data: Bytes::from_static(&[1, 2, 3]),
                gas: 21_000,
                fee_most: u128::MAX,
                tip: 1,
            },
        ]
    }

    #[test]
    fn what_is_signed_is_said_in_plain_fields_and_read_back_to_the_last_unit() {
        for matter in one_of_each() {
            let text = serde_json::to_string(&matter).unwrap();
            let back: Matter = serde_json::from_str(&text).unwrap();
            assert_eq!(back, matter, "{text}");
            assert_eq!(back.digest(), matter.digest());
        }
        let [claim, ..] = one_of_each();
        let text = serde_json::to_value(&claim).unwrap();
        assert_eq!(text["sign"], "claim");
        assert_eq!(text["total"], "340282366920938463463374607431768211455");
    }

    #[test]
    fn a_number_that_is_no_decimal_string_is_refused() {
        let [claim, ..] = one_of_each();
        let mut value = serde_json::to_value(&claim).unwrap();
        for wrong in [serde_json::json!(7), "".into(), "+7".into(), "-1".into(), "0x7".into()] {
            value["total"] = wrong;
            assert!(serde_json::from_value::<Matter>(value.clone()).is_err(), "{value}");
        }
    }

    #[test]
    fn kinds_and_fields_that_differ_have_digests_that_differ() {
        let mut digests: Vec<_> = one_of_each().iter().map(Matter::digest).collect();
        let [_, _, Matter::Transaction { chain_id, to, data, gas, fee_most, tip, .. }] =
            one_of_each()
        else {
            panic!("the third is a transaction");
        };
        let other = Matter::Transaction { chain_id, nonce: 4, to, data, gas, fee_most, tip };
        digests.push(other.digest());
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), 4);
    }
}
