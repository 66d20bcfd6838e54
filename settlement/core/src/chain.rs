//! What a chain is asked for and what it shows, in words that hold for each of them.
//!
//! A chain worker turns a [`Call`] into bytes and back; it decides nothing. Everything that it is told
//! to do is said in totals (a total deposit, a cumulative claim), so that what is done twice changes
//! nothing twice.

use core::fmt;

use serde::{Deserialize, Serialize};

/// Bytes that name something, shown and stored as hexadecimal digits.
macro_rules! name_of_bytes {
    ($($(#[$doc:meta])* $name:ident: $len:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl core::str::FromStr for $name {
            type Err = &'static str;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                from_hex(text).and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(concat!(
                    stringify!($name), " must be ", stringify!($len), " bytes as hexadecimal digits"
                ))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

name_of_bytes! {
    /// Whoever can sign on a chain: an EVM address stands in the last 20 bytes, as in an ABI word.
    Party: 32;
    /// An asset on a chain: an ERC-20 contract's address stands in the last 20 bytes.
    Token: 32;
    /// A payment channel, for good: chain, contract, parties, token, window and salt are in it.
    ChannelId: 32;
    /// What a transaction is found by.
    TxHash: 32;
    /// Names an amount that the switch has frozen, or that it is told to credit.
    Key: 16;
}

impl Party {
    /// As people write it: 20 bytes where it has no more.
    #[must_use]
    pub fn address(self) -> String {
        let digits = self.to_string();
        let is_short = digits[..24].bytes().all(|digit| digit == b'0');
        format!("0x{}", if is_short { &digits[24..] } else { &digits[..] })
    }
}

/// Bytes of any length as hexadecimal digits; `None` if they are not.
#[must_use]
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that are stored and shown as hexadecimal digits: signatures, transactions.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&to_hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        let wrong = || serde::de::Error::custom("bytes must be pairs of hexadecimal digits");
        from_hex(&text).map(Self).ok_or_else(wrong)
    }
}

/// What makes a payment channel that one and no other.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Terms {
    /// Who opens it.
    pub first: Party,
    /// The other.
    pub second: Party,
    /// What is deposited.
    pub token: Token,
    /// How long a close waits for claims.
    pub window_s: u32,
    /// Tells apart channels that are alike in all of this.
    #[serde(with = "digits")]
    pub salt: [u8; 32],
}

/// 32 bytes as hexadecimal digits.
mod digits {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::to_hex(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        let bytes = super::from_hex(&text).and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| serde::de::Error::custom("32 bytes as hexadecimal digits are expected"))
    }
}

/// What a payer signs: how much it has paid in a channel, in all.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Claim {
    /// Where.
    pub channel: ChannelId,
    /// Units of the token, in all.
    pub total: u128,
}

/// A claim with its payer's signature.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SignedClaim {
    /// What is claimed.
    pub claim: Claim,
    /// Over it, as the chain wants it.
    pub signature: Bytes,
}

/// What both sign to end a channel at once.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Agreement {
    /// Which channel.
    pub channel: ChannelId,
    /// What its first party has paid the second, in all.
    pub first_paid: u128,
    /// What its second party has paid the first, in all.
    pub second_paid: u128,
    /// Until when it counts: seconds since 1970, by the chain's clock.
    pub valid_until_s: u64,
}

/// What a transaction does.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Call {
    /// Lets the channels' contract take a token from us when we deposit.
    Approve {
        /// Which.
        token: Token,
    },
    /// Opens a channel; its first party is us.
    Open {
        /// How.
        terms: Terms,
        /// What we put in at once.
        deposit: u128,
    },
    /// Raises our own deposit to a total.
    Deposit {
        /// Where.
        channel: ChannelId,
        /// In all.
        total: u128,
    },
    /// Redeems claims of others, all of one token.
    Redeem {
        /// Which.
        claims: Vec<SignedClaim>,
    },
    /// Asks for a channel's end.
    Close {
        /// Which.
        channel: ChannelId,
    },
    /// Ends a channel as both have signed.
    CloseTogether {
        /// To what.
        agreement: Agreement,
        /// Of the channel's first party.
        first_signature: Bytes,
        /// Of its second party.
        second_signature: Bytes,
    },
    /// Ends a channel whose window has passed.
    Settle {
        /// Which.
        channel: ChannelId,
    },
    /// Nothing: it takes a nonce that would hold up all above it. A transfer of 0 to ourselves.
    Nothing,
    /// Takes what the contract could not pay us when it should have.
    Collect {
        /// Of which token.
        token: Token,
        /// How much.
        amount: u128,
    },
}

/// What a transaction offers for its gas. All in the chain's smallest unit, for each unit of gas.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Fee {
    /// The most it pays.
    pub most: u128,
    /// What of it goes to who includes it.
    pub tip: u128,
}

/// A transaction to be signed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Draft {
    /// What it does.
    pub call: Call,
    /// Its place in the order of our transactions.
    pub nonce: u64,
    /// What it offers.
    pub fee: Fee,
}

/// A transaction as it is sent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Signed {
    /// Whole, as the chain takes it.
    pub bytes: Bytes,
    /// What it is found by.
    pub hash: TxHash,
    /// What it offers.
    pub fee: Fee,
}

/// What of a chain matters now.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Question {
    /// Channels to look at.
    pub channels: Vec<ChannelId>,
    /// Tokens to look at.
    pub tokens: Vec<Token>,
    /// Transactions to look for.
    pub transactions: Vec<TxHash>,
}

/// What a chain shows, all that is final of one block and all that is latest of one block.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sight {
    /// The newest block, which may yet vanish.
    pub latest: Head,
    /// The newest block that is final by the configured tag.
    pub last_final: Head,
    /// Our next nonce after the final block.
    pub nonce_final: u64,
    /// Our next nonce after the latest block.
    pub nonce_latest: u64,
    /// What a transaction should offer to be included soon.
    pub fee: Fee,
    /// Of our own, to pay for gas, after the latest block: the chain's smallest unit.
    pub gas_money: u128,
    /// Those asked for.
    pub channels: Vec<(ChannelId, ChannelSight)>,
    /// Those asked for.
    pub tokens: Vec<(Token, TokenSight)>,
    /// Those asked for that are in a block.
    pub transactions: Vec<(TxHash, Included)>,
}

/// A block.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Head {
    /// Its height.
    pub number: u64,
    /// Its own time: seconds since 1970.
    pub time_s: u64,
}

/// A channel at both ends of what is not final. `None` where there is none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ChannelSight {
    /// After the latest block.
    pub latest: Option<OnChain>,
    /// After the final block.
    pub last_final: Option<OnChain>,
}

/// A channel as a contract has it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct OnChain {
    /// Whose deposits are in it: who opened it first.
    pub parties: [Party; 2],
    /// Of what.
    pub token: Token,
    /// How long a close waits for claims.
    pub window_s: u32,
    /// How far it has come.
    pub state: ChannelState,
    /// Until when claims count, once a close was asked for: seconds since 1970, by the chain's clock.
    pub closes_at_s: u64,
    /// By party.
    pub sides: [Side; 2],
}

/// How far a channel has come.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum ChannelState {
    /// It takes deposits and claims.
    Open,
    /// A close was asked for: it takes claims until the window has passed.
    Closing,
    /// It is over, and everybody was paid.
    Settled,
}

/// A party's deposit. Totals, units of the token.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Side {
    /// Put in.
    pub deposit: u128,
    /// Paid out of it to the other by claims.
    pub redeemed: u128,
    /// Taken back with the other's consent.
    pub withdrawn: u128,
}

/// What we have of a token. Units of the token, after the latest block.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct TokenSight {
    /// Ours.
    pub balance: u128,
    /// What of it the channels' contract may take.
    pub allowance: u128,
    /// What the contract owes us, as it could not pay it.
    pub owed: u128,
}

/// What became of a transaction that is in a block.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Included {
    /// The block is final.
    pub is_final: bool,
    /// It did what it was to do; else it only cost its fee.
    pub succeeded: bool,
    /// What it cost: the chain's smallest unit.
    pub cost: u128,
    /// Gas that it used.
    pub gas: u64,
}

/// Why a chain shows nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LookError {
    /// No answer, or none in time.
    Unreachable(String),
    /// An answer that makes no sense.
    Nonsense(String),
    /// It is another chain, or another contract, than was configured.
    WrongChain(String),
}

/// Why a transaction was not signed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SignError {
    /// The chain says that it would fail, and why.
    WouldFail(String),
    /// The chain does not say what it takes.
    Unreachable(String),
    /// Whoever keeps the key does not sign.
    Signer(String),
}

/// What a chain says to a transaction that it is sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SendError {
    /// It has it already.
    Known,
    /// Another transaction of ours has this nonce in a block.
    NonceUsed,
    /// It offers too little, or too little more than what it is to replace.
    FeeTooLow,
    /// It does not take it.
    Refused(String),
    /// No answer, or none in time: it may have it.
    Unreachable(String),
}

macro_rules! say_text {
    ($($name:ident { $($variant:pat => $say:expr,)* })*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $($variant => $say(f),)* }
            }
        }

        impl core::error::Error for $name {}
    )*};
}

fn said<'a>(
    words: &'static str,
    text: &'a str,
) -> impl FnOnce(&mut fmt::Formatter<'_>) -> fmt::Result + 'a {
    move |f| write!(f, "{words}{text}")
}

say_text! {
    LookError {
        Self::Unreachable(text) => said("the chain does not answer: ", text),
        Self::Nonsense(text) => said("the chain's answer makes no sense: ", text),
        Self::WrongChain(text) => said("this is not the chain that was configured: ", text),
    }
    SignError {
        Self::WouldFail(text) => said("the chain says that the transaction would fail: ", text),
        Self::Unreachable(text) => said("the chain does not say what the transaction takes: ", text),
        Self::Signer(text) => said("the transaction cannot be signed: ", text),
    }
    SendError {
        Self::Known => said("the chain has the transaction already", ""),
        Self::NonceUsed => said("another transaction has this nonce", ""),
        Self::FeeTooLow => said("the transaction offers too little", ""),
        Self::Refused(text) => said("the chain does not take the transaction: ", text),
        Self::Unreachable(text) => said("the chain does not answer: ", text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stored_as_digits_and_read_back() {
        let key = Key([0xab; 16]);
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(json, "\"abababababababababababababababab\"");
        assert_eq!(serde_json::from_str::<Key>(&json).unwrap(), key);
        for wrong in ["\"ab\"", "\"\"", "7", "\"+bababababababababababababababab\""] {
            assert!(serde_json::from_str::<Key>(wrong).is_err(), "{wrong}");
        }
        assert_eq!(from_hex("0g"), None);
        assert_eq!(from_hex("abc"), None);
        assert_eq!(from_hex(""), Some(vec![]));
    }

    #[test]
    fn a_party_is_written_as_short_as_its_chain_writes_it() {
        let mut bytes = [0; 32];
        bytes[12] = 0xab;
        assert_eq!(Party(bytes).address(), format!("0xab{}", "0".repeat(38)));
        assert_eq!(Party([1; 32]).address(), format!("0x{}", "01".repeat(32)));
    }

    #[test]
    fn totals_beyond_64_bits_are_stored_to_the_last_unit() {
        let claim = Claim { channel: ChannelId([7; 32]), total: u128::MAX };
        let signed = SignedClaim { claim, signature: Bytes(vec![1, 2, 255]) };
        let json = serde_json::to_string(&signed).unwrap();
        assert_eq!(serde_json::from_str::<SignedClaim>(&json).unwrap(), signed);
    }
}
