//! What is signed for the payment channels' contract, and who has signed it.
//!
//! ```text
//!   digest = keccak256(0x1901 | domain separator | keccak256(type hash | words))
//!   domain separator = keccak256(type hash | keccak256(name) | keccak256(version) | chain id | contract)
//! ```
//!
//! Invariant: what is signed for one chain and contract counts on no other, and each message has one
//! signature of each key that counts: 65 bytes, the lower of its two `s`. The same bytes as in
//! `PaymentChannels.sol`; the vectors beside the contract come from libraries that are not ours.

use alloy::primitives::{Address, B256, Signature, U256, keccak256};
use m2_settlement::chain::{Agreement, ChannelId, Claim, Party, Terms, Token};

/// Of the contract, as it says by `eip712Domain`.
pub const NAME: &str = "M2MPayChan";
/// Of the contract, as it says by `eip712Domain`.
pub const VERSION: &str = "1";

const DOMAIN_TYPE: &str =
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
const CLAIM_TYPE: &str = "Claim(bytes32 channelId,uint128 cumulativeAmount)";
const CLOSE_TYPE: &str =
    "CloseTogether(bytes32 channelId,uint128 firstPaid,uint128 secondPaid,uint64 validUntil)";

/// A signature: r, s and v, which is 27 or 28.
pub type SignatureBytes = [u8; 65];

/// Where a signature counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Domain {
    chain_id: u64,
    contract: Address,
    separator: B256,
    claim_type: B256,
    close_type: B256,
}

impl Domain {
    /// The contract at an address of a chain.
    #[must_use]
    pub fn new(chain_id: u64, contract: Address) -> Self {
        let separator = hash(&[
            keccak256(DOMAIN_TYPE),
            keccak256(NAME),
            keccak256(VERSION),
            word(chain_id),
            contract.into_word(),
        ]);
        let (claim_type, close_type) = (keccak256(CLAIM_TYPE), keccak256(CLOSE_TYPE));
        Self { chain_id, contract, separator, claim_type, close_type }
    }

    /// Which chain.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Where on it.
    #[must_use]
    pub fn contract(&self) -> Address {
        self.contract
    }

    /// What a payer signs.
    #[must_use]
    pub fn claim_digest(&self, claim: &Claim) -> B256 {
        let Claim { channel, total } = claim;
        self.digest(hash(&[self.claim_type, B256::from(channel.0), word(*total)]))
    }

    /// What both sign to end a channel at once.
    #[must_use]
    pub fn agreement_digest(&self, agreement: &Agreement) -> B256 {
        let Agreement { channel, first_paid, second_paid, valid_until_s } = agreement;
        self.digest(hash(&[
            self.close_type,
            B256::from(channel.0),
            word(*first_paid),
            word(*second_paid),
            word(*valid_until_s),
        ]))
    }

    /// The contract's `channelIdOf`. Terms whose parties or token are no addresses have an id that no channel
    /// has.
    #[must_use]
    pub fn channel_id(&self, terms: &Terms) -> ChannelId {
        let id = hash(&[
            word(self.chain_id),
            self.contract.into_word(),
            B256::from(terms.first.0),
            B256::from(terms.second.0),
            B256::from(terms.token.0),
            word(terms.window_s),
            B256::from(terms.salt),
        ]);
        ChannelId(id.0)
    }

    fn digest(&self, of_struct: B256) -> B256 {
        let mut bytes = [0; 66];
        bytes[..2].copy_from_slice(&[0x19, 0x01]);
        bytes[2..34].copy_from_slice(self.separator.as_slice());
        bytes[34..].copy_from_slice(of_struct.as_slice());
        keccak256(bytes)
    }
}

/// Who has signed a digest; `None` if these bytes are no signature that counts.
#[must_use]
pub fn signer(digest: &B256, signature: &[u8]) -> Option<Address> {
    parse(signature)?.recover_address_from_prehash(digest).ok()
}

/// The same signature as the contract takes it: `v` is 27 or 28. `None` if it is none that counts.
#[must_use]
pub fn normalised(signature: &[u8]) -> Option<SignatureBytes> {
    parse(signature).map(|signature| signature.as_bytes())
}

/// 65 bytes, `s` the lower of two, `v` 27 or 28, or 0 or 1 for those who count from there.
fn parse(bytes: &[u8]) -> Option<Signature> {
    let bytes: &SignatureBytes = bytes.try_into().ok()?;
    let parity = match bytes[64] {
        0 | 27 => false,
        1 | 28 => true,
        _ => return None,
    };
    let number = |range: core::ops::Range<usize>| U256::from_be_slice(&bytes[range]);
    let signature = Signature::new(number(0..32), number(32..64), parity);
    signature.normalize_s().is_none().then_some(signature)
}

/// The address in the last 20 bytes, as in an ABI word; `None` if there is more than that.
#[must_use]
pub fn address_of(word: &[u8; 32]) -> Option<Address> {
    let (zeros, address) = word.split_at(12);
    zeros.iter().all(|byte| *byte == 0).then(|| Address::from_slice(address))
}

/// An address as the settlement process names it.
#[must_use]
pub fn party_of(address: Address) -> Party {
    Party(address.into_word().0)
}

/// A token's contract as the settlement process names it.
#[must_use]
pub fn token_of(address: Address) -> Token {
    Token(address.into_word().0)
}

fn word(number: impl Into<u128>) -> B256 {
    let mut word = B256::ZERO;
    word[16..].copy_from_slice(&number.into().to_be_bytes());
    word
}

/// Of at most seven words: `channel_id` has the most.
fn hash(words: &[B256]) -> B256 {
    let mut bytes = [0; 7 * 32];
    for (place, word) in bytes.chunks_exact_mut(32).zip(words) {
        place.copy_from_slice(word.as_slice());
    }
    keccak256(&bytes[..32 * words.len()])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::signer::Key;

    const CLAIMS: &str = include_str!("../../contracts/vectors/claims.json");
    const AGREEMENTS: &str = include_str!("../../contracts/vectors/agreements.json");
    /// Those of Foundry, in the order of its accounts.
    const KEYS: [&str; 2] = [
        "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
        "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    ];

    fn text<T: core::str::FromStr<Err: core::fmt::Debug>>(value: &Value) -> T {
        value.as_str().unwrap().parse().unwrap()
    }

    fn bytes(value: &Value) -> Vec<u8> {
        alloy::hex::decode(value.as_str().unwrap()).unwrap()
    }

    #[test]
    fn every_claim_of_the_vectors_has_our_digest_and_our_signature() {
        let vectors: Value = serde_json::from_str(CLAIMS).unwrap();
        let key = Key::parse(KEYS[0]).unwrap();
        let claims = vectors["claims"].as_array().unwrap();
        assert_eq!(claims.len(), 36);
        for vector in claims {
            let of_domain = &vector["domain"];
            let contract = text(&of_domain["verifyingContract"]);
            let domain = Domain::new(of_domain["chainId"].as_u64().unwrap(), contract);
            let channel = ChannelId(text::<B256>(&vector["channelId"]).0);
            let claim = Claim { channel, total: text(&vector["cumulativeAmount"]) };
            let digest = domain.claim_digest(&claim);
            assert_eq!(domain.separator, text::<B256>(&vector["domainSeparator"]));
            assert_eq!(digest, text::<B256>(&vector["digest"]));
            let signature = bytes(&vector["signature_rsv"]);
            assert_eq!(key.sign(&digest).unwrap().as_slice(), signature);
            assert_eq!(signer(&digest, &signature), Some(text(&vectors["address"])));
        }
    }

    #[test]
    fn every_agreement_of_the_vectors_has_our_digest_and_our_signatures() {
        let vectors: Value = serde_json::from_str(AGREEMENTS).unwrap();
        let closes = vectors["closes"].as_array().unwrap();
        assert_eq!(closes.len(), 3);
        for vector in closes {
            let chain_id = vector["chainId"].as_u64().unwrap();
            let domain = Domain::new(chain_id, text(&vectors["contract"]));
            let message = &vector["message"];
            let digest = domain.agreement_digest(&Agreement {
                channel: ChannelId(text::<B256>(&message["channelId"]).0),
                first_paid: text(&message["firstPaid"]),
                second_paid: text(&message["secondPaid"]),
                valid_until_s: text(&message["validUntil"]),
            });
            assert_eq!(digest, text::<B256>(&vector["digest"]));
            for (index, key) in KEYS.iter().enumerate() {
                let signature = bytes(&vector["signatures"][index]);
                let key = Key::parse(key).unwrap();
                assert_eq!(key.sign(&digest).unwrap().as_slice(), signature);
                let who = text(&vectors["signers"][index]);
                assert_eq!(signer(&digest, &signature), Some(who));
            }
        }
    }

    #[test]
    fn withdrawals_of_the_vectors_are_signed_as_we_read_signatures() {
        let vectors: Value = serde_json::from_str(AGREEMENTS).unwrap();
        let withdrawals = vectors["withdrawals"].as_array().unwrap();
        assert_eq!(withdrawals.len(), 3);
        for vector in withdrawals {
            for index in 0..2 {
                let signature = bytes(&vector["signatures"][index]);
                let who = text(&vectors["signers"][index]);
                assert_eq!(signer(&text(&vector["digest"]), &signature), Some(who));
            }
        }
    }

    fn signed() -> (B256, SignatureBytes, Address) {
        let key = Key::parse(KEYS[0]).unwrap();
        let domain = Domain::new(31337, Address::repeat_byte(3));
        let digest = domain.claim_digest(&Claim { channel: ChannelId([7; 32]), total: 5 });
        (digest, key.sign(&digest).unwrap(), key.address())
    }

    #[test]
    fn the_other_s_of_a_signature_does_not_count() {
        let (digest, signature, who) = signed();
        assert_eq!(signer(&digest, &signature), Some(who));
        let order: U256 =
            "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141".parse().unwrap();
        let s = order - U256::from_be_slice(&signature[32..64]);
        let mut other = signature;
        other[32..64].copy_from_slice(&s.to_be_bytes::<32>());
        other[64] = 27 + 28 - signature[64];
        // It is one by the curve alone.
        let raw = Signature::from_raw_array(&other).unwrap();
        assert_eq!(raw.recover_address_from_prehash(&digest).unwrap(), who);
        assert_eq!(signer(&digest, &other), None);
        assert_eq!(normalised(&other), None);
    }

    #[test]
    fn each_v_but_four_and_each_length_but_one_is_no_signature() {
        let (digest, signature, who) = signed();
        for v in 0..=u8::MAX {
            let mut tried = signature;
            tried[64] = v;
            let found = signer(&digest, &tried);
            match v {
                0 | 27 | 1 | 28 => {
                    let is_ours = v % 27 == signature[64] % 27;
                    assert_eq!(found == Some(who), is_ours, "{v}");
                    assert_eq!(normalised(&tried).unwrap()[64], 27 + v % 27);
                }
                _ => assert_eq!(found, None, "{v}"),
            }
        }
        for len in 0..65 {
            assert_eq!(signer(&digest, &signature[..len]), None);
        }
        assert_eq!(signer(&digest, &[&signature[..], &[0]].concat()), None);
        assert_eq!(signer(&digest, &[0; 65]), None);
    }

    #[test]
    fn a_flipped_bit_of_anything_signed_is_somebody_else_or_nobody() {
        let (digest, signature, who) = signed();
        for bit in 0..256 {
            let mut other = digest;
            other[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(signer(&other, &signature), Some(who));
        }
        for bit in 0..512 {
            let mut other = signature;
            other[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(signer(&digest, &other), Some(who));
        }
    }

    #[test]
    fn terms_that_differ_in_anything_make_another_channel() {
        let domain = Domain::new(1, Address::repeat_byte(1));
        let party = |byte| party_of(Address::repeat_byte(byte));
        let token = token_of(Address::repeat_byte(4));
        let terms = Terms { first: party(2), second: party(3), token, window_s: 9, salt: [0; 32] };
        let id = domain.channel_id(&terms);
        let others = [
            Terms { first: party(9), ..terms.clone() },
            Terms { second: party(9), ..terms.clone() },
            Terms { first: terms.second, second: terms.first, ..terms.clone() },
            Terms { token: token_of(Address::repeat_byte(9)), ..terms.clone() },
            Terms { window_s: 10, ..terms.clone() },
            Terms { salt: [1; 32], ..terms.clone() },
            Terms { first: Party([2; 32]), ..terms.clone() },
        ];
        for other in others {
            assert_ne!(domain.channel_id(&other), id, "{other:?}");
        }
        assert_ne!(Domain::new(2, Address::repeat_byte(1)).channel_id(&terms), id);
        assert_ne!(Domain::new(1, Address::repeat_byte(2)).channel_id(&terms), id);
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(
            digest: [u8; 32],
            mut signature in proptest::collection::vec(any::<u8>(), 0..130),
            v in prop_oneof![Just(27), Just(28), any::<u8>()],
            is_whole: bool,
        ) {
            if is_whole {
                signature.resize(64, 0);
                signature.push(v);
            }
            let found = signer(&B256::from(digest), &signature);
            let counts = normalised(&signature);
            prop_assert!(found.is_none() || counts.is_some());
            if let Some(counts) = counts {
                prop_assert_eq!(signer(&B256::from(digest), &counts), found);
            }
        }
    }
}
