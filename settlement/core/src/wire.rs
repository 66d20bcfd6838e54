//! What two settlement processes say to each other, in the sub-protocol `m2m-settlement` of BTP.
//!
//! ```text
//!   version 1 (u8) | kind (u8) | fields
//!   1 CLAIM    chain | contract | channel (32) | total (u128) | signature
//!   2 TAKEN    channel (32) | total (u128)            answers a CLAIM: what is held now
//!   3 REFUSED  reason (u8) | again (u8: 0, 1) | text   answers either
//!   4 CLOSE    chain | contract | channel (32) | first paid, second paid (u128) | valid until (u64) | signature
//!   5 AGREED   signature                               answers a CLOSE
//!   chain, contract, signature, text: their length (u8), then their bytes. Numbers are big-endian.
//! ```
//!
//! Invariant: what is read has exactly the length that it says, and no field is longer than its limit.

use crate::chain::{Agreement, Bytes, ChannelId, Claim, SignedClaim};
use crate::limits::{
    CHAIN_NAME_LEN_MAX, CONTRACT_LEN_MAX, MESSAGE_LEN_MAX, SIGNATURE_LEN_MAX, TEXT_LEN_MAX,
};

/// A message, or the answer to one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Message {
    /// How much its sender has paid in all.
    Claim {
        /// Where the contract is.
        place: Place,
        /// Signed by its sender.
        signed: SignedClaim,
    },
    /// The claim counts: this is the highest total that is held of the channel.
    Taken {
        /// Which.
        channel: ChannelId,
        /// Of its asker.
        total: u128,
    },
    /// It does not.
    Refused {
        /// Why.
        reason: Reason,
        /// The same may be said again later with more success.
        again: bool,
        /// For whoever reads the log of its asker.
        text: String,
    },
    /// Asks for a channel's end.
    Close {
        /// Where the contract is.
        place: Place,
        /// To what.
        agreement: Agreement,
        /// By its sender.
        signature: Bytes,
    },
    /// Agrees to it.
    Agreed {
        /// By its sender.
        signature: Bytes,
    },
}

/// Where payment channels are kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// As CAIP-2 names it: `eip155:8453`.
    pub chain: String,
    /// Its address on that chain.
    pub contract: Vec<u8>,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $word:literal, $again:literal;)*) => {
        /// Why a claim or the end of a channel is refused.
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
        #[repr(u8)]
        pub enum Reason { $($(#[$doc])* $name = $number),* }

        impl Reason {
            /// Each, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// As counters name it.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }

            /// Whether the same may succeed later.
            #[must_use]
            pub fn again(self) -> bool {
                match self { $(Self::$name => $again),* }
            }

            fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }
        }
    };
}

reasons! {
    /// The bytes are no message.
    Malformed = 1, "malformed", false;
    /// The account settles on another chain.
    WrongChain = 2, "wrong_chain", false;
    /// The account's channels are in another contract.
    WrongContract = 3, "wrong_contract", false;
    /// No such channel is final on the chain yet.
    UnknownChannel = 4, "unknown_channel", true;
    /// The channel is not one between the two.
    NotOurs = 5, "not_ours", false;
    /// The channel is of another token.
    WrongToken = 6, "wrong_token", false;
    /// A close of the channel would not wait for long enough.
    ShortWindow = 7, "short_window", false;
    /// The peer has not signed it.
    Forged = 8, "forged", false;
    /// A higher total is held already.
    Lower = 9, "lower", false;
    /// More is claimed than was deposited.
    OverDeposit = 10, "over_deposit", true;
    /// A close was asked for, and the claim could not be redeemed in time.
    Closing = 11, "closing", false;
    /// The channel is over.
    Ended = 12, "ended", false;
    /// Both have agreed on the channel's end: nothing is added to it until that agreement has run out.
    Agreed = 13, "agreed", true;
    /// The total is no amount of the account.
    Overflow = 14, "overflow", false;
    /// The chain was not seen for so long that a close could have been missed.
    Blind = 15, "blind", true;
    /// The books differ about what was paid.
    Differs = 16, "differs", true;
    /// Something else of the account has to come first.
    Busy = 17, "busy", true;
    /// The account does not settle.
    NoAccount = 18, "no_account", false;
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WireError {
    /// They end too early.
    Short,
    /// They go on behind the message.
    Long,
    /// They begin with a version that is not known.
    Version(u8),
    /// No message has this kind.
    Kind(u8),
    /// A field is too long, or is not what it has to be.
    Field(&'static str),
}

impl core::fmt::Display for WireError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Short => f.write_str("the message ends too early"),
            Self::Long => f.write_str("bytes follow the message"),
            Self::Version(version) => write!(f, "version {version} is not known: version 1 is"),
            Self::Kind(kind) => write!(f, "no message has the kind {kind}"),
            Self::Field(field) => write!(f, "its {field} is too long, or not what it has to be"),
        }
    }
}

impl core::error::Error for WireError {}

const VERSION: u8 = 1;

impl Message {
    /// As bytes. Texts that are too long are cut.
    ///
    /// # Panics
    ///
    /// If a field that is ours (chain, contract, signature) is longer than its limit.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        match self {
            Self::Claim { place, signed } => {
                out.push(1);
                put_place(&mut out, place);
                out.extend(signed.claim.channel.0);
                out.extend(signed.claim.total.to_be_bytes());
                put(&mut out, &signed.signature.0, SIGNATURE_LEN_MAX);
            }
            Self::Taken { channel, total } => {
                out.push(2);
                out.extend(channel.0);
                out.extend(total.to_be_bytes());
            }
            Self::Refused { reason, again, text } => {
                out.extend([3, *reason as u8, u8::from(*again)]);
                let mut len = text.len().min(TEXT_LEN_MAX);
                while !text.is_char_boundary(len) {
                    len -= 1;
                }
                put(&mut out, &text.as_bytes()[..len], TEXT_LEN_MAX);
            }
            Self::Close { place, agreement, signature } => {
                out.push(4);
                put_place(&mut out, place);
                out.extend(agreement.channel.0);
                out.extend(agreement.first_paid.to_be_bytes());
                out.extend(agreement.second_paid.to_be_bytes());
                out.extend(agreement.valid_until_s.to_be_bytes());
                put(&mut out, &signature.0, SIGNATURE_LEN_MAX);
            }
            Self::Agreed { signature } => {
                out.push(5);
                put(&mut out, &signature.0, SIGNATURE_LEN_MAX);
            }
        }
        assert!(out.len() <= MESSAGE_LEN_MAX, "the limits of the fields add up");
        out
    }

    /// Reads bytes that a peer sent.
    ///
    /// # Errors
    ///
    /// See [`WireError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let mut from = Reader(bytes);
        match from.byte()? {
            VERSION => {}
            version => return Err(WireError::Version(version)),
        }
        let message = match from.byte()? {
            1 => Self::Claim {
                place: from.place()?,
                signed: SignedClaim {
                    claim: Claim { channel: from.channel()?, total: from.u128()? },
                    signature: from.signature()?,
                },
            },
            2 => Self::Taken { channel: from.channel()?, total: from.u128()? },
            3 => Self::Refused {
                reason: Reason::from_number(from.byte()?).ok_or(WireError::Field("reason"))?,
                again: match from.byte()? {
                    0 => false,
                    1 => true,
                    _ => return Err(WireError::Field("again")),
                },
                text: from.text(TEXT_LEN_MAX, "text")?,
            },
            4 => Self::Close {
                place: from.place()?,
                agreement: Agreement {
                    channel: from.channel()?,
                    first_paid: from.u128()?,
                    second_paid: from.u128()?,
                    valid_until_s: u64::from_be_bytes(from.array()?),
                },
                signature: from.signature()?,
            },
            5 => Self::Agreed { signature: from.signature()? },
            kind => return Err(WireError::Kind(kind)),
        };
        if from.0.is_empty() { Ok(message) } else { Err(WireError::Long) }
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8], most: usize) {
    assert!(bytes.len() <= most, "what is ours keeps its limits");
    out.push(u8::try_from(bytes.len()).expect("no field may have more than 255 bytes"));
    out.extend(bytes);
}

fn put_place(out: &mut Vec<u8>, place: &Place) {
    put(out, place.chain.as_bytes(), CHAIN_NAME_LEN_MAX);
    put(out, &place.contract, CONTRACT_LEN_MAX);
}

/// What was not read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(WireError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN], WireError> {
        Ok(self.take(LEN)?.try_into().expect("take() gives as many as it is asked for"))
    }

    fn byte(&mut self) -> Result<u8, WireError> {
        Ok(self.array::<1>()?[0])
    }

    fn u128(&mut self) -> Result<u128, WireError> {
        Ok(u128::from_be_bytes(self.array()?))
    }

    fn channel(&mut self) -> Result<ChannelId, WireError> {
        Ok(ChannelId(self.array()?))
    }

    fn variable(&mut self, most: usize, field: &'static str) -> Result<&'a [u8], WireError> {
        let len = usize::from(self.byte()?);
        if len > most {
            return Err(WireError::Field(field));
        }
        self.take(len)
    }

    fn text(&mut self, most: usize, field: &'static str) -> Result<String, WireError> {
        let bytes = self.variable(most, field)?;
        let text = core::str::from_utf8(bytes).map_err(|_| WireError::Field(field))?;
        if text.chars().any(char::is_control) {
            return Err(WireError::Field(field));
        }
        Ok(text.to_owned())
    }

    fn place(&mut self) -> Result<Place, WireError> {
        Ok(Place {
            chain: self.text(CHAIN_NAME_LEN_MAX, "chain")?,
            contract: self.variable(CONTRACT_LEN_MAX, "contract")?.to_vec(),
        })
    }

    fn signature(&mut self) -> Result<Bytes, WireError> {
        Ok(Bytes(self.variable(SIGNATURE_LEN_MAX, "signature")?.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn messages() -> Vec<Message> {
        let place = Place { chain: "eip155:31337".into(), contract: vec![7; 20] };
        let channel = ChannelId([3; 32]);
        let signature = Bytes(vec![9; 65]);
        let claim = Claim { channel, total: u128::MAX - 1 };
        let signed = SignedClaim { claim, signature: signature.clone() };
        let agreement =
            Agreement { channel, first_paid: 1, second_paid: u128::MAX, valid_until_s: 77 };
        vec![
            Message::Claim { place: place.clone(), signed },
            Message::Taken { channel, total: 5 },
            Message::Refused { reason: Reason::Lower, again: true, text: "höher".into() },
            Message::Close { place, agreement, signature: signature.clone() },
            Message::Agreed { signature },
        ]
    }

    #[test]
    fn what_is_written_is_read_and_no_part_of_it_is() {
        for message in messages() {
            let mut bytes = message.to_bytes();
            assert_eq!(Message::parse(&bytes), Ok(message.clone()));
            for len in 0..bytes.len() {
                assert_eq!(Message::parse(&bytes[..len]), Err(WireError::Short), "{len}");
            }
            bytes.push(0);
            assert_eq!(Message::parse(&bytes), Err(WireError::Long));
        }
    }

    #[test]
    fn what_is_not_known_is_told() {
        assert_eq!(Message::parse(&[2, 1]), Err(WireError::Version(2)));
        assert_eq!(Message::parse(&[1, 6]), Err(WireError::Kind(6)));
        assert_eq!(Message::parse(&[1, 3, 0, 0, 0]), Err(WireError::Field("reason")));
        assert_eq!(Message::parse(&[1, 3, 99, 0, 0]), Err(WireError::Field("reason")));
        assert_eq!(Message::parse(&[1, 3, 1, 2, 0]), Err(WireError::Field("again")));
        assert_eq!(Message::parse(&[1, 3, 1, 1, 1, 255]), Err(WireError::Field("text")));
        assert_eq!(Message::parse(&[1, 3, 1, 1, 1, b'\n']), Err(WireError::Field("text")));
        assert_eq!(Message::parse(&[1, 5, 255]), Err(WireError::Field("signature")));
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        let text = "ä".repeat(TEXT_LEN_MAX);
        let bytes = Message::Refused { reason: Reason::Busy, again: true, text }.to_bytes();
        let Ok(Message::Refused { text, .. }) = Message::parse(&bytes) else { panic!() };
        assert_eq!(text, "ä".repeat(TEXT_LEN_MAX / 2));
    }

    proptest! {
        #[test]
        fn bytes_that_are_read_are_written_alike(
            mut bytes in prop::collection::vec(any::<u8>(), 0..400),
            kind in 0_u8..8,
        ) {
            if let [version, second, ..] = &mut bytes[..] {
                (*version, *second) = (1, kind);
            }
            if let Ok(message) = Message::parse(&bytes) {
                prop_assert_eq!(message.to_bytes(), bytes);
            }
        }
    }
}
