//! Codes of a REJECT (IL-RFC 27, "Error Codes") and the data that `F08` carries.

use core::fmt;

/// Three ASCII characters: F for final, T for temporary, R for relative, and a number.
///
/// A code that no RFC names is legal and is passed on as it is (A27).
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct ErrorCode(pub [u8; 3]);

macro_rules! codes {
    ($($constant:ident $code:literal $name:literal, $doc:literal;)*) => {
        impl ErrorCode {
            $(#[doc = $doc] pub const $constant: Self = Self(*$code);)*

            /// Every code that the RFC names.
            pub const ALL: &[Self] = &[$(Self::$constant),*];

            /// Name of the code in the RFC, if it is one of those.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match &self.0 {
                    $($code => Some($name),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    F00_BAD_REQUEST b"F00" "Bad Request", "Generic final error.";
    F01_INVALID_PACKET b"F01" "Invalid Packet", "The packet is malformed.";
    F02_UNREACHABLE b"F02" "Unreachable", "No way leads to the destination.";
    F03_INVALID_AMOUNT b"F03" "Invalid Amount", "The destination cannot use the amount.";
    F04_INSUFFICIENT_DESTINATION_AMOUNT b"F04" "Insufficient Destination Amount",
        "The receiver wants more than arrived.";
    F05_WRONG_CONDITION b"F05" "Wrong Condition", "The preimage does not fit the condition.";
    F06_UNEXPECTED_PAYMENT b"F06" "Unexpected Payment", "The receiver does not know this payment.";
    F07_CANNOT_RECEIVE b"F07" "Cannot Receive", "The receiver is not able to take it.";
    F08_AMOUNT_TOO_LARGE b"F08" "Amount Too Large",
        "The amount is above the largest of one packet; the data says by how much.";
    F99_APPLICATION_ERROR b"F99" "Application Error", "Final, with a meaning between the ends.";
    T00_INTERNAL_ERROR b"T00" "Internal Error", "Generic temporary error.";
    T01_PEER_UNREACHABLE b"T01" "Peer Unreachable", "The link to the next hop is down.";
    T02_PEER_BUSY b"T02" "Peer Busy", "The next hop is overloaded.";
    T03_CONNECTOR_BUSY b"T03" "Connector Busy", "This connector is overloaded.";
    T04_INSUFFICIENT_LIQUIDITY b"T04" "Insufficient Liquidity", "A limit on money is reached.";
    T05_RATE_LIMITED b"T05" "Rate Limited", "Too many packets.";
    T99_APPLICATION_ERROR b"T99" "Application Error", "Temporary, with a meaning between the ends.";
    R00_TRANSFER_TIMED_OUT b"R00" "Transfer Timed Out", "No answer came before the expiry.";
    R01_INSUFFICIENT_SOURCE_AMOUNT b"R01" "Insufficient Source Amount",
        "Nothing is left of the amount after conversion.";
    R02_INSUFFICIENT_TIMEOUT b"R02" "Insufficient Timeout", "Too little time is left.";
    R99_APPLICATION_ERROR b"R99" "Application Error", "Relative, with a meaning between the ends.";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ErrorCode({self})")
    }
}

/// Data of `F08 Amount Too Large`, in units of the account that the packet came in on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AmountTooLarge {
    /// Amount of the packet.
    pub received: u64,
    /// Largest amount that would pass.
    pub maximum: u64,
}

impl AmountTooLarge {
    /// Bytes of this data.
    pub const LEN: usize = 16;

    /// `received`, then `maximum`, big endian.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        (u128::from(self.received) << 64 | u128::from(self.maximum)).to_be_bytes()
    }

    /// Reads the data of an `F08`; bytes behind the two amounts are ignored (A6).
    ///
    /// `None` if it has fewer: one deployed peer sends no data.
    #[must_use]
    pub fn from_bytes(data: &[u8]) -> Option<Self> {
        let (received, rest) = data.split_first_chunk()?;
        let maximum = rest.first_chunk()?;
        Some(Self {
            received: u64::from_be_bytes(*received),
            maximum: u64::from_be_bytes(*maximum),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfc_names_21_codes_and_others_have_no_name() {
        assert_eq!(ErrorCode::ALL.len(), 21);
        assert!(ErrorCode::ALL.iter().all(|code| code.name().is_some()));
        assert_eq!(ErrorCode::F08_AMOUNT_TOO_LARGE.to_string(), "F08");
        assert_eq!(ErrorCode(*b"F09").name(), None);
        assert_eq!(ErrorCode([0, 0xff, b'\n']).to_string(), "\\x00\\xff\\n");
    }

    #[test]
    fn amounts_of_f08_are_16_bytes_big_endian() {
        let data = AmountTooLarge { received: 258, maximum: u64::MAX };
        let bytes = data.to_bytes();
        assert_eq!(bytes[..8], [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(bytes[8..], [0xff; 8]);
        assert_eq!(AmountTooLarge::from_bytes(&bytes), Some(data));
        assert_eq!(AmountTooLarge::from_bytes(&[&bytes[..], b"more"].concat()), Some(data));
        assert_eq!(AmountTooLarge::from_bytes(&bytes[..15]), None);
        assert_eq!(AmountTooLarge::from_bytes(&[]), None);
    }
}
