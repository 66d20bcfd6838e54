//! WebSocket frames and handshake (RFC 6455), without I/O, for both ends of a link.
//!
//! ```text
//!  bit 0        1-3   4-7      8      9-15
//! +-----+------+----------+------+--------+-------------+---------+---------+
//! | FIN | RSV  |  opcode  | MASK |  len   | len 2 or 8  | mask 4  | payload |
//! |     | 000  |          |      |        | if 126, 127 | if MASK |         |
//! +-----+------+----------+------+--------+-------------+---------+---------+
//! ```
//!
//! A client masks every frame and a server none. No extension is offered or accepted, so the
//! reserved bits are 0. [`Reader`] takes frames apart in the buffer they arrived in; what is sent is
//! a header here and a payload that the caller already has.

pub mod handshake;
pub(crate) mod mask;
mod packet;
mod reader;

use core::fmt;

pub use crate::limits::{WS_CONTROL_LEN_MAX, WS_HEADER_LEN_MAX};
pub use mask::apply_mask;
pub use packet::{write_packet, write_prepare};
pub use reader::{Event, Reader};

/// Which end of the link we are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Accepted the connection: reads masked frames, writes plain ones.
    Server,
    /// Made the connection: reads plain frames, writes masked ones.
    Client,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Opcode {
    /// Goes on with a message.
    Continuation = 0,
    /// Begins a message of UTF-8 text.
    Text = 1,
    /// Begins a message of bytes.
    Binary = 2,
    /// The last frame of its side.
    Close = 8,
    /// Wants a pong.
    Ping = 9,
    /// Answers a ping.
    Pong = 10,
}

impl Opcode {
    const fn from_nibble(nibble: u8) -> Option<Self> {
        match nibble {
            0 => Some(Self::Continuation),
            1 => Some(Self::Text),
            2 => Some(Self::Binary),
            8 => Some(Self::Close),
            9 => Some(Self::Ping),
            10 => Some(Self::Pong),
            _ => None,
        }
    }

    const fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASK: u8 = 0x80;

/// Status codes of a close frame (RFC 6455, 7.4.1).
pub mod close_code {
    /// The purpose is fulfilled.
    pub const NORMAL: u16 = 1000;
    /// This end goes down.
    pub const GOING_AWAY: u16 = 1001;
    /// The other end broke the rules.
    pub const PROTOCOL_ERROR: u16 = 1002;
    /// Text, where only bytes are understood.
    pub const UNSUPPORTED_DATA: u16 = 1003;
    /// Stands for a close frame without a code; never sent.
    pub const NO_STATUS: u16 = 1005;
    /// Text that is no UTF-8.
    pub const INVALID_DATA: u16 = 1007;
    /// Not allowed here: a wrong token, or one frame too many that could not be read.
    pub const POLICY_VIOLATION: u16 = 1008;
    /// A message longer than this end takes.
    pub const MESSAGE_TOO_BIG: u16 = 1009;
    /// This end failed.
    pub const INTERNAL_ERROR: u16 = 1011;
    /// Try again later.
    pub const TRY_AGAIN_LATER: u16 = 1013;
}

/// Why a connection has to be closed; [`CloseReason::code`] is what to tell the other end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CloseReason {
    /// A reserved bit is set, though no extension was agreed upon.
    ReservedBits,
    /// An opcode that RFC 6455 does not have.
    UnknownOpcode,
    /// A client sent a frame without a mask.
    Unmasked,
    /// A server sent a frame with a mask.
    Masked,
    /// A control frame has more than 125 bytes.
    ControlTooLong,
    /// A control frame is in fragments.
    ControlFragmented,
    /// A length is not in its shortest form, or has its highest bit set.
    BadLength,
    /// A continuation of nothing.
    UnexpectedContinuation,
    /// A new message inside of another.
    MissingContinuation,
    /// A message longer than the limit.
    MessageTooBig,
    /// A close frame with one byte, or with a code that must not be sent.
    BadCloseCode,
    /// A close frame with a reason that is no UTF-8.
    BadCloseText,
}

const _: () = assert!(size_of::<CloseReason>() == 1);

impl CloseReason {
    /// Code for the close frame that answers.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::MessageTooBig => close_code::MESSAGE_TOO_BIG,
            Self::BadCloseText => close_code::INVALID_DATA,
            _ => close_code::PROTOCOL_ERROR,
        }
    }

    /// The reason in words, short enough for a close frame.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReservedBits => "a reserved bit is set",
            Self::UnknownOpcode => "unknown opcode",
            Self::Unmasked => "a client must mask its frames",
            Self::Masked => "a server must not mask its frames",
            Self::ControlTooLong => "a control frame has more than 125 bytes",
            Self::ControlFragmented => "a control frame is in fragments",
            Self::BadLength => "a length is not in its shortest form",
            Self::UnexpectedContinuation => "a continuation without a beginning",
            Self::MissingContinuation => "a message begins inside of another",
            Self::MessageTooBig => "the message is longer than allowed",
            Self::BadCloseCode => "the close frame has no valid code",
            Self::BadCloseText => "the reason of the close frame is not UTF-8",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for CloseReason {}

/// Appends the header of a binary message in one frame; the payload is to follow, masked by the
/// caller if `mask` is given.
#[inline]
pub fn put_binary_header(out: &mut Vec<u8>, payload_len: usize, mask: Option<[u8; 4]>) {
    put_header(out, FIN | Opcode::Binary as u8, payload_len, mask);
}

/// Appends a close, ping or pong frame.
///
/// # Panics
///
/// If `opcode` is none of these, or `payload` has more than 125 bytes.
pub fn put_control(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) {
    assert!(opcode.is_control(), "a message has its own header");
    assert!(payload.len() <= WS_CONTROL_LEN_MAX, "the caller bounds the payload");
    put_header(out, FIN | opcode as u8, payload.len(), mask);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(mask) = mask {
        apply_mask(&mut out[start..], mask);
    }
}

/// Appends a close frame; with [`close_code::NO_STATUS`] one that says nothing.
///
/// # Panics
///
/// If `reason` has more than 123 bytes.
pub fn put_close(out: &mut Vec<u8>, code: u16, reason: &str, mask: Option<[u8; 4]>) {
    assert!(reason.len() <= WS_CONTROL_LEN_MAX - 2, "our reasons are short");
    let mut payload = [0; WS_CONTROL_LEN_MAX];
    let len = if code == close_code::NO_STATUS { 0 } else { 2 + reason.len() };
    payload[..2].copy_from_slice(&code.to_be_bytes());
    payload[2..2 + reason.len()].copy_from_slice(reason.as_bytes());
    put_control(out, Opcode::Close, &payload[..len], mask);
}

#[inline]
fn put_header(out: &mut Vec<u8>, first: u8, payload_len: usize, mask: Option<[u8; 4]>) {
    let mask_bit = if mask.is_some() { MASK } else { 0 };
    let digits = (payload_len as u64).to_be_bytes();
    match payload_len {
        0..=125 => out.extend_from_slice(&[first, mask_bit | digits[7]]),
        126..=0xffff => {
            out.extend_from_slice(&[first, mask_bit | 126, digits[6], digits[7]]);
        }
        _ => {
            out.extend_from_slice(&[first, mask_bit | 127]);
            out.extend_from_slice(&digits);
        }
    }
    if let Some(mask) = mask {
        out.extend_from_slice(&mask);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_applied_from_the_first_byte_and_twice_is_not_at_all() {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        for len in 0..100 {
            let plain: Vec<u8> = (0..len).collect();
            let mut masked = plain.clone();
            apply_mask(&mut masked, mask);
            for (index, byte) in masked.iter().enumerate() {
                assert_eq!(*byte, plain[index] ^ mask[index % 4]);
            }
            apply_mask(&mut masked, mask);
            assert_eq!(masked, plain);
        }
    }

    #[test]
    fn lengths_take_their_shortest_form() {
        for (len, header_len) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let mut out = Vec::new();
            put_binary_header(&mut out, len, None);
            assert_eq!(out.len(), header_len, "{len}");
            put_binary_header(&mut out, len, Some([1, 2, 3, 4]));
            assert_eq!(out.len(), 2 * header_len + 4, "{len}");
            assert!(header_len + 4 <= WS_HEADER_LEN_MAX);
        }
    }

    #[test]
    fn a_close_frame_without_a_status_is_empty() {
        let mut out = Vec::new();
        put_close(&mut out, close_code::NO_STATUS, "", None);
        put_close(&mut out, close_code::NORMAL, "bye", None);
        assert_eq!(out, b"\x88\x00\x88\x05\x03\xe8bye");
    }
}
