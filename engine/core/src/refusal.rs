//! Every reason for which a packet is answered with a REJECT of ours: one name, one code, one text.
//!
//! Who decides, and in which order, is the text of `incoming.rs` and `outgoing.rs`. Codes are those
//! of RFC 27; where it leaves a choice, `docs/protocol.md` says which way we go.

use m2_codec::ilp::{AmountTooLarge, DecodeError, ErrorCode};

/// A text that peers match literally, as "the one you sent to has no credit left with us"; said
/// when A's credit is exhausted and nowhere else.
const CREDIT_EXHAUSTED: &str = "exceeded maximum balance.";

macro_rules! refusals {
    ($($(#[$doc:meta])* $variant:ident $({ $($field:ident: $type:ty),+ })? = $code:ident, $text:expr;)+) => {
        /// Why a PREPARE was not fulfilled, when it was we who said so.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Refusal {
            $($(#[$doc])* $variant $({ $(
                /// See the variant.
                $field: $type
            ),+ })?,)+
        }

        #[derive(Clone, Copy)]
        enum Kind { $($variant),+ }

        struct Row {
            name: &'static str,
            code: ErrorCode,
            text: &'static str,
        }

        const ROWS: &[Row] = &[
            $(Row { name: stringify!($variant), code: ErrorCode::$code, text: $text }),+
        ];

        impl Refusal {
            /// How many there are.
            pub const COUNT: usize = ROWS.len();

            /// Its place among all of them.
            #[must_use]
            pub fn index(&self) -> usize {
                let kind = match self { $(Self::$variant { .. } => Kind::$variant),+ };
                kind as usize
            }
        }
    };
}

refusals! {
    /// More requests a second than the account may send, of whatever kind.
    PacketRate = T05_RATE_LIMITED, "too many packets a second.";
    /// The bytes are no PREPARE.
    InvalidPacket { error: DecodeError } = F01_INVALID_PACKET, "invalid packet.";
    /// `now >= expires_at` on arrival.
    ExpiredOnArrival = R02_INSUFFICIENT_TIMEOUT, "packet expired before it arrived.";
    /// More requests a second that we answer ourselves than any account may send.
    OwnAnswerRate = T05_RATE_LIMITED, "too many requests a second to this connector itself.";
    /// `peer.` something that we do not speak.
    PeerProtocolUnknown = F01_INVALID_PACKET, "unknown peer protocol.";
    /// A `peer.*` request that carries money.
    PeerProtocolAmount = F01_INVALID_PACKET, "a peer protocol request must have an amount of 0.";
    /// A `peer.*` request under another condition than that of peer protocols.
    PeerProtocolCondition = F01_INVALID_PACKET, "a peer protocol request has a fixed condition.";
    /// IL-DCP asked by one who is not our child.
    NotAChild = F00_BAD_REQUEST, "only a child is told its address.";
    /// To our own address, and no echo request.
    OwnAddress = F02_UNREACHABLE, "this connector receives no payments.";
    /// An echo request that is malformed, of type 1, or from an address that cannot be answered.
    InvalidEcho = F01_INVALID_PACKET, "invalid echo request.";
    /// A destination in a scheme that this network does not serve.
    SchemeNotServed = F02_UNREACHABLE, "destination is not in this network.";
    /// The amount is above what the account may send in one packet.
    PacketAmount { received: u64, maximum: u64 } =
        F08_AMOUNT_TOO_LARGE, "packet amount exceeds the maximum of this account.";
    /// No prefix matches the destination.
    NoRoute = F02_UNREACHABLE, "no route to destination.";
    /// The next hop is the one who sent the packet.
    BackToSender = F02_UNREACHABLE, "destination lies behind the sender.";
    /// Nobody told a rate between the two assets.
    NoRate = T00_INTERNAL_ERROR, "no exchange rate available.";
    /// Less than one unit would go out.
    ConvertedTooSmall = R01_INSUFFICIENT_SOURCE_AMOUNT, "amount converts to less than one unit.";
    /// More than a u64 would go out.
    ConvertedTooLarge { received: u64, maximum: u64 } =
        F08_AMOUNT_TOO_LARGE, "amount converts to more than a packet can carry.";
    /// Too little time would be left for the next hop.
    ExpiryTooShort = R02_INSUFFICIENT_TIMEOUT, "too little time left to forward the packet.";
    /// The process is about to stop.
    Draining = T03_CONNECTOR_BUSY, "connector is shutting down.";
    /// The journal is full, slow or lost: what the packet comes to could not be written down.
    JournalUnavailable = T03_CONNECTOR_BUSY, "connector is busy with its journal.";
    /// The sender has as many packets in flight as it may.
    CountInFull = T03_CONNECTOR_BUSY, "too many packets in flight from this account.";
    /// The sender has as much money in flight as it may.
    ValueInFull = T04_INSUFFICIENT_LIQUIDITY, "too much money in flight from this account.";
    /// The ring to the outgoing half is full.
    ForwardRingFull = T03_CONNECTOR_BUSY, "connector is busy.";
    /// No answer could be told to the incoming half.
    AnswerRingFull = T03_CONNECTOR_BUSY, "connector is busy with answers.";
    /// The sender could come to owe us more than `balance_max`.
    CreditExhausted = T04_INSUFFICIENT_LIQUIDITY, CREDIT_EXHAUSTED;
    /// More money a second than the account may send.
    MoneyRate = T04_INSUFFICIENT_LIQUIDITY, "too much money a second from this account.";
    /// Its time ran out between two shards: the next hop never saw it.
    TimedOutBetweenShards = R00_TRANSFER_TIMED_OUT, "connector was too slow to forward the packet.";
    /// The next hop has no link now.
    LinkDown = T01_PEER_UNREACHABLE, "next hop is not connected.";
    /// The next hop does not read as fast as we send.
    EgressBusy = T02_PEER_BUSY, "next hop is busy.";
    /// The next hop has as many packets in flight as it may.
    CountOutFull = T03_CONNECTOR_BUSY, "too many packets in flight to the next hop.";
    /// The next hop has as much money in flight as it may.
    ValueOutFull = T04_INSUFFICIENT_LIQUIDITY, "too much money in flight to the next hop.";
    /// Every in-flight slot of the shard is taken.
    NoSlot = T03_CONNECTOR_BUSY, "too many packets in flight.";
    /// No record could be written if the packet were fulfilled.
    NoRecord = T03_CONNECTOR_BUSY, "connector is busy with records.";
    /// We could come to owe the next hop more than `payable_max`.
    PayableExceeded = T04_INSUFFICIENT_LIQUIDITY, "exceeded payable limit";
    /// The next hop's FULFILL does not open the condition.
    WrongFulfillment = F05_WRONG_CONDITION, "fulfillment did not match the condition.";
    /// The next hop's answer is none.
    MalformedAnswer = T01_PEER_UNREACHABLE, "next hop gave a malformed answer.";
    /// The next hop's link answered with a BTP ERROR T00.
    LinkErrorTemporary = T01_PEER_UNREACHABLE, "next hop was unreachable.";
    /// The next hop's link answered with any other BTP ERROR.
    LinkErrorOther = T00_INTERNAL_ERROR, "next hop did not accept the message.";
    /// The link was lost before a byte of the packet left.
    NotSent = T01_PEER_UNREACHABLE, "connection to the next hop was lost.";
    /// No answer before the expiry that the next hop was given.
    TimedOut = R00_TRANSFER_TIMED_OUT, "next hop did not answer in time.";
}

impl Refusal {
    /// The error code of the REJECT (RFC 27).
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        ROWS[self.index()].code
    }

    /// The variant's name, for counters and tests.
    #[must_use]
    pub fn name(&self) -> &'static str {
        ROWS[self.index()].name
    }

    /// All names and codes, by [`Self::index`].
    pub fn names() -> impl Iterator<Item = (&'static str, ErrorCode)> {
        ROWS.iter().map(|row| (row.name, row.code))
    }

    /// The REJECT's message: what is wrong, in words.
    #[must_use]
    pub fn message(&self) -> &'static str {
        match self {
            Self::InvalidPacket { error } => error.as_str(),
            _ => ROWS[self.index()].text,
        }
    }

    /// The REJECT's data: 16 bytes for F08, else none.
    #[must_use]
    pub fn data(&self) -> Option<[u8; 16]> {
        match *self {
            Self::PacketAmount { received, maximum }
            | Self::ConvertedTooLarge { received, maximum } => {
                Some(AmountTooLarge { received, maximum }.to_bytes())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exhausted_credit_says_the_words_that_peers_look_for() {
        let says: Vec<&str> = ROWS
            .iter()
            .filter(|row| row.text.contains("maximum balance"))
            .map(|row| row.name)
            .collect();
        assert_eq!(says, ["CreditExhausted"]);
        assert_eq!(Refusal::CreditExhausted.message(), "exceeded maximum balance.");
        assert_eq!(Refusal::PayableExceeded.message(), "exceeded payable limit");
    }

    #[test]
    fn every_f08_carries_its_sixteen_bytes_and_nothing_else_does() {
        let f08 = Refusal::PacketAmount { received: 0x0102, maximum: 3 };
        let mut wanted = [0; 16];
        (wanted[6], wanted[7], wanted[15]) = (1, 2, 3);
        assert_eq!(f08.data(), Some(wanted));
        assert!(Refusal::ConvertedTooLarge { received: 1, maximum: 1 }.data().is_some());
        assert_eq!(
            ROWS.iter().filter(|row| row.code == ErrorCode::F08_AMOUNT_TOO_LARGE).count(),
            2
        );
        assert_eq!(Refusal::NoRoute.data(), None);
    }
}
