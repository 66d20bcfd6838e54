//! ILPv4 packets (IL-RFC 27): PREPARE, FULFILL and REJECT.
//!
//! ```text
//! +------+--------+----------------------------------------------------------------+---------+
//! | type | length | PREPARE 12: amount, expires_at, condition, destination, data   | ignored |
//! |  1   | 1..=3  | FULFILL 13: fulfillment, data                                  |         |
//! |      |        | REJECT  14: code, triggered_by, message, data                  |         |
//! +------+--------+----------------------------------------------------------------+---------+
//! ```
//!
//! A view checks every length, digit and character once; its accessors cannot fail. What stands
//! behind the envelope is dropped, and what stands behind the last field inside of it is kept and
//! goes on with the packet (A6, A7).

mod error_code;
mod fulfill;
mod prepare;
mod reject;

use core::fmt;
use core::ops::Range;

pub use crate::limits::{
    ANSWER_DATA_LEN_MAX, ANSWER_LEN_MAX, DATA_LEN_MAX, FULFILL_LEN_MAX, MESSAGE_LEN_MAX,
    PACKET_LEN_MAX, PREPARE_LEN_MAX, REJECT_LEN_MAX,
};
pub use error_code::{AmountTooLarge, ErrorCode};
pub use fulfill::{Fulfill, FulfillRepr, fulfill_len, put_fulfill};
pub use prepare::{
    ForwardedPrepare, Prepare, PrepareRepr, prepare_len, put_prepare, rewrite_prepare,
};
pub use reject::{Reject, RejectRepr, put_reject};

use crate::oer;

/// First byte of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum PacketType {
    /// Asks for delivery and holds money.
    Prepare = 12,
    /// Answers with the preimage of the condition.
    Fulfill = 13,
    /// Answers no.
    Reject = 14,
}

/// What the first byte says that `bytes` is; nothing else is looked at.
#[inline]
#[must_use]
pub fn packet_type(bytes: &[u8]) -> Option<PacketType> {
    match bytes.first()? {
        12 => Some(PacketType::Prepare),
        13 => Some(PacketType::Fulfill),
        14 => Some(PacketType::Reject),
        _ => None,
    }
}

/// Why some bytes are not the packet that they should be. A PREPARE is then answered with
/// `F01 Invalid Packet`; an answer counts as `T01 Peer Unreachable`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DecodeError {
    /// The bytes end before the field does.
    Truncated,
    /// The first byte names another packet.
    WrongType,
    /// A length prefix is not in its shortest form.
    BadLength,
    /// The packet is longer than any that we accept.
    PacketTooLong,
    /// `expires_at` is no date and time that exists.
    BadTimestamp,
    /// `destination` or `triggered_by` is not an ILP address.
    BadAddress,
    /// `data` is longer than allowed.
    DataTooLong,
    /// The error code of a REJECT is not ASCII.
    BadCode,
}

// Errors cross the hot path in a register.
const _: () = assert!(size_of::<DecodeError>() == 1);

impl DecodeError {
    /// What is wrong, in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Truncated => "the packet ends before its last field does",
            Self::WrongType => "the first byte names another type of packet",
            Self::BadLength => "a length prefix is not in its shortest form",
            Self::PacketTooLong => "the packet is longer than allowed",
            Self::BadTimestamp => "the expiry is no date and time that exists",
            Self::BadAddress => "an ILP address is not well-formed",
            Self::DataTooLong => "the data is longer than allowed",
            Self::BadCode => "the error code is not ASCII",
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for DecodeError {}

/// Finds the contents of the packet that `bytes` begins with.
#[inline(always)]
fn envelope(
    bytes: &[u8],
    packet_type: PacketType,
    len_max: usize,
) -> Result<Range<usize>, DecodeError> {
    match bytes.first() {
        None => Err(DecodeError::Truncated),
        Some(&first) if first != packet_type as u8 => Err(DecodeError::WrongType),
        Some(_) => field(bytes, 1, len_max, DecodeError::PacketTooLong).and_then(|contents| {
            // The prefix counts towards the packet's length, and its size varies.
            if contents.end > len_max { Err(DecodeError::PacketTooLong) } else { Ok(contents) }
        }),
    }
}

/// Finds a string in `bytes`, and says `too_long` of one that has more than `len_max` bytes.
#[inline(always)]
fn field(
    bytes: &[u8],
    offset: usize,
    len_max: usize,
    too_long: DecodeError,
) -> Result<Range<usize>, DecodeError> {
    oer::octet_string(bytes, offset, len_max).map_err(|error| match error {
        oer::DecodeError::Truncated => DecodeError::Truncated,
        oer::DecodeError::BadLength | oer::DecodeError::BadInteger => DecodeError::BadLength,
        oer::DecodeError::TooLong => too_long,
    })
}

/// Appends type and length prefix of a packet with `contents_len` bytes of contents.
#[inline]
fn put_envelope(out: &mut Vec<u8>, packet_type: PacketType, contents_len: usize) {
    out.reserve(1 + oer::length_size(contents_len) + contents_len);
    out.push(packet_type as u8);
    oer::put_length(out, contents_len);
}
