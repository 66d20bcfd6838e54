//! REJECT: a code, who said it, a sentence and data.
//!
//! ```text
//! +------+--------+--------+-----------------+----------------+----------------+
//! | 0x0e | length | code 3 | triggered_by    | message        | data           |
//! |      | 1..=3  |        | length + <=1023 | length +       | length +       |
//! +------+--------+--------+-----------------+----------------+----------------+
//! ```
//!
//! A REJECT of somebody else passes unchanged, so what is checked is only what a neighbour could
//! read differently: the lengths, the address, and that the code is ASCII. The message may be any
//! bytes (A28), the address may be missing (A24), the code may be one that no RFC names (A27).

use core::ops::Range;

use super::{ANSWER_DATA_LEN_MAX, ANSWER_LEN_MAX, MESSAGE_LEN_MAX};
use super::{DecodeError, ErrorCode, PacketType, envelope, field, put_envelope};
use crate::address::{self, Address};
use crate::oer::{self, string_size};

const CODE_LEN: usize = 3;

/// A REJECT in the caller's bytes.
#[derive(Clone, Debug)]
pub struct Reject<'a> {
    /// The packet and nothing behind it.
    packet: &'a [u8],
    code: ErrorCode,
    triggered_by: Range<usize>,
    message: Range<usize>,
    data: Range<usize>,
}

impl<'a> Reject<'a> {
    /// Checks every length and character once.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the bytes.
    #[inline]
    pub fn new_checked(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let contents = envelope(bytes, PacketType::Reject, ANSWER_LEN_MAX)?;
        let packet = &bytes[..contents.end];
        let code: &[u8; CODE_LEN] =
            packet[contents.start..].first_chunk().ok_or(DecodeError::Truncated)?;
        if !code.is_ascii() {
            return Err(DecodeError::BadCode);
        }

        let address_offset = contents.start + CODE_LEN;
        let triggered_by =
            field(packet, address_offset, address::LEN_MAX, DecodeError::BadAddress)?;
        if !triggered_by.is_empty() {
            address::check(&packet[triggered_by.clone()]).map_err(|_| DecodeError::BadAddress)?;
        }
        let message = field(packet, triggered_by.end, ANSWER_LEN_MAX, DecodeError::PacketTooLong)?;
        let data = field(packet, message.end, ANSWER_DATA_LEN_MAX, DecodeError::DataTooLong)?;
        Ok(Self { packet, code: ErrorCode(*code), triggered_by, message, data })
    }

    /// Why.
    #[inline]
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// Address of the node that made the REJECT; may be empty.
    #[inline]
    #[must_use]
    pub fn triggered_by(&self) -> &'a [u8] {
        &self.packet[self.triggered_by.clone()]
    }

    /// A sentence for people, in bytes that may be anything.
    #[inline]
    #[must_use]
    pub fn message(&self) -> &'a [u8] {
        &self.packet[self.message.clone()]
    }

    /// What belongs to the code.
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

/// Appends a REJECT.
///
/// # Panics
///
/// If a field is longer than the RFC allows.
pub fn put_reject(
    out: &mut Vec<u8>,
    code: ErrorCode,
    triggered_by: &[u8],
    message: &[u8],
    data: &[u8],
) {
    assert!(triggered_by.len() <= address::LEN_MAX, "an address is checked before it is sent");
    assert!(message.len() <= MESSAGE_LEN_MAX, "our messages are sentences");
    assert!(data.len() <= ANSWER_DATA_LEN_MAX, "the caller bounds the data");
    let len = CODE_LEN
        + string_size(triggered_by.len())
        + string_size(message.len())
        + string_size(data.len());
    put_envelope(out, PacketType::Reject, len);
    out.extend_from_slice(&code.0);
    oer::put_octet_string(out, triggered_by);
    oer::put_octet_string(out, message);
    oer::put_octet_string(out, data);
}

/// A REJECT that owns its fields, to be built.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RejectRepr {
    /// Why.
    pub code: ErrorCode,
    /// Who says so; only a REJECT that we read may lack it.
    pub triggered_by: Option<Address>,
    /// A sentence for people: UTF-8 in what we make, anything in what we read.
    pub message: Vec<u8>,
    /// What belongs to the code.
    pub data: Vec<u8>,
}

impl RejectRepr {
    /// Copies the fields of a view.
    #[must_use]
    pub fn from_view(view: &Reject<'_>) -> Self {
        Self {
            code: view.code(),
            triggered_by: Address::try_from(view.triggered_by()).ok(),
            message: view.message().to_vec(),
            data: view.data().to_vec(),
        }
    }

    /// The packet.
    ///
    /// # Panics
    ///
    /// If message or data is too long.
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
    /// If message or data is too long.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let triggered_by = self.triggered_by.as_ref().map_or(&[][..], Address::as_bytes);
        put_reject(out, self.code, triggered_by, &self.message, &self.data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(data_len: usize) -> RejectRepr {
        RejectRepr {
            code: ErrorCode::F02_UNREACHABLE,
            triggered_by: Some("g.carol".parse().unwrap()),
            message: b"no route".to_vec(),
            data: vec![0x5a; data_len],
        }
    }

    #[test]
    fn reads_every_field_behind_every_prefix_width() {
        for data_len in [0, 1, 106, 107, 127, 128, 232, 233, 255, 256, ANSWER_DATA_LEN_MAX] {
            let repr = example(data_len);
            let bytes = repr.encode();
            let reject = Reject::new_checked(&bytes).unwrap();
            assert_eq!(reject.code(), ErrorCode::F02_UNREACHABLE);
            assert_eq!(reject.triggered_by(), b"g.carol");
            assert_eq!(reject.message(), b"no route");
            assert_eq!(reject.data(), repr.data);
            assert_eq!(reject.as_packet(), bytes);
            assert_eq!(RejectRepr::from_view(&reject), repr);
        }
    }

    #[test]
    fn each_refusal_says_what_was_wrong() {
        let valid = example(3).encode();
        let with = |index: usize, value: u8| {
            let mut bytes = valid.clone();
            bytes[index] = value;
            bytes
        };
        let refused = |bytes: &[u8]| Reject::new_checked(bytes).unwrap_err();
        assert_eq!(refused(&[]), DecodeError::Truncated);
        assert_eq!(refused(&with(0, 13)), DecodeError::WrongType);
        assert_eq!(refused(&with(1, 0x80)), DecodeError::BadLength);
        assert_eq!(refused(&with(2, 0xff)), DecodeError::BadCode);
        assert_eq!(refused(&with(6, b'x')), DecodeError::BadAddress);
        for len in 0..valid.len() {
            assert_eq!(refused(&valid[..len]), DecodeError::Truncated);
        }
        let mut long = valid[2..valid.len() - 4].to_vec();
        oer::put_octet_string(&mut long, &[0; ANSWER_DATA_LEN_MAX + 1]);
        let mut packet = vec![14];
        oer::put_octet_string(&mut packet, &long);
        assert_eq!(refused(&packet), DecodeError::DataTooLong);
        assert_eq!(refused(&[14, 0x83, 1, 0, 0]), DecodeError::PacketTooLong);
    }
}
