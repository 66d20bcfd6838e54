//! FULFILL: the preimage of the condition, and data for the sender.
//!
//! ```text
//! +------+--------+----------------+----------------+
//! | 0x0d | length | fulfillment 32 | data           |
//! |      | 1..=3  |                | length +       |
//! +------+--------+----------------+----------------+
//! ```
//!
//! It is money, so it is never refused for what we would not send ourselves: data may be one byte
//! longer than the RFC says (A13).

use core::ops::Range;

use super::{ANSWER_DATA_LEN_MAX, ANSWER_LEN_MAX, DecodeError, PacketType};
use super::{envelope, field, put_envelope};
use crate::oer::{self, string_size};

/// A FULFILL in the caller's bytes.
#[derive(Clone, Debug)]
pub struct Fulfill<'a> {
    /// The packet and nothing behind it.
    packet: &'a [u8],
    fulfillment: &'a [u8; 32],
    data: Range<usize>,
}

impl<'a> Fulfill<'a> {
    /// Checks every length once.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the bytes.
    #[inline]
    pub fn new_checked(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let contents = envelope(bytes, PacketType::Fulfill, ANSWER_LEN_MAX)?;
        let packet = &bytes[..contents.end];
        let fulfillment = packet[contents.start..].first_chunk().ok_or(DecodeError::Truncated)?;
        let data_offset = contents.start + fulfillment.len();
        let data = field(packet, data_offset, ANSWER_DATA_LEN_MAX, DecodeError::DataTooLong)?;
        Ok(Self { packet, fulfillment, data })
    }

    /// What hashes to the condition, if the answer is right.
    #[inline]
    #[must_use]
    pub fn fulfillment(&self) -> &'a [u8; 32] {
        self.fulfillment
    }

    /// Payload for the sender.
    #[inline]
    #[must_use]
    pub fn data(&self) -> &'a [u8] {
        &self.packet[self.data.clone()]
    }

    /// Bytes of the packet.
    #[inline]
    #[must_use]
    pub fn packet_len(&self) -> usize {
        self.packet.len()
    }

    /// The packet, to be passed on unchanged.
    #[inline]
    #[must_use]
    pub fn as_packet(&self) -> &'a [u8] {
        self.packet
    }
}

/// Bytes of a FULFILL with data of this length.
#[inline]
#[must_use]
pub fn fulfill_len(data_len: usize) -> usize {
    let contents = 32 + string_size(data_len);
    1 + string_size(contents)
}

/// Appends a FULFILL, of [`fulfill_len`] bytes.
///
/// # Panics
///
/// If `data` is longer than a packet holds.
pub fn put_fulfill(out: &mut Vec<u8>, fulfillment: &[u8; 32], data: &[u8]) {
    assert!(data.len() <= ANSWER_DATA_LEN_MAX, "the caller bounds the data");
    put_envelope(out, PacketType::Fulfill, fulfillment.len() + string_size(data.len()));
    out.extend_from_slice(fulfillment);
    oer::put_octet_string(out, data);
}

/// A FULFILL that owns its fields, to be built.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FulfillRepr {
    /// Preimage of the condition.
    pub fulfillment: [u8; 32],
    /// Payload, at most [`ANSWER_DATA_LEN_MAX`] bytes.
    pub data: Vec<u8>,
}

impl FulfillRepr {
    /// Copies the fields of a view.
    #[must_use]
    pub fn from_view(view: &Fulfill<'_>) -> Self {
        Self { fulfillment: *view.fulfillment(), data: view.data().to_vec() }
    }

    /// The packet.
    ///
    /// # Panics
    ///
    /// If the data is too long.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_into(&mut out);
        out
    }

    /// Appends the packet.
    ///
    /// # Panics
    ///
    /// If the data is too long.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        put_fulfill(out, &self.fulfillment, &self.data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_field_behind_every_prefix_width() {
        for data_len in [0, 1, 94, 95, 127, 128, 220, 221, 255, 256, ANSWER_DATA_LEN_MAX] {
            let repr = FulfillRepr { fulfillment: [7; 32], data: vec![0x5a; data_len] };
            let bytes = repr.encode();
            let fulfill = Fulfill::new_checked(&bytes).unwrap();
            assert_eq!(fulfill.fulfillment(), &[7; 32]);
            assert_eq!(fulfill.data(), repr.data);
            assert_eq!(fulfill.as_packet(), bytes);
            assert_eq!(FulfillRepr::from_view(&fulfill), repr);
        }
    }

    #[test]
    fn each_refusal_says_what_was_wrong() {
        let valid = FulfillRepr { fulfillment: [7; 32], data: b"hello".to_vec() }.encode();
        let refused = |bytes: &[u8]| Fulfill::new_checked(bytes).unwrap_err();
        assert_eq!(refused(&[]), DecodeError::Truncated);
        assert_eq!(refused(&[14, 0]), DecodeError::WrongType);
        assert_eq!(refused(&[13, 0x80]), DecodeError::BadLength);
        assert_eq!(refused(&[13, 0]), DecodeError::Truncated);
        for len in 0..valid.len() {
            assert_eq!(refused(&valid[..len]), DecodeError::Truncated);
        }
        let mut long = vec![13, 0x82, 0x80, 0x24];
        long.extend_from_slice(&[7; 32]);
        oer::put_octet_string(&mut long, &[0; ANSWER_DATA_LEN_MAX + 1]);
        assert_eq!(refused(&long), DecodeError::DataTooLong);
        assert_eq!(refused(&[13, 0x83, 1, 0, 0]), DecodeError::PacketTooLong);
    }
}
