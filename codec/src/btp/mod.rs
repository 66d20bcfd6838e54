//! BTP 2.0 frames (IL-RFC 23): what carries ILP packets on a link.
//!
//! ```text
//! +------+------------+--------+---------------------------------------------------------------+
//! | type | request id | length | RESPONSE 1, MESSAGE 6: entries                                |
//! |  1   |     4      | 1..=4  | TRANSFER 7: amount 8, entries                                 |
//! |      |            |        | ERROR 2: code 3, name, triggered_at, data (strings), entries  |
//! +------+------------+--------+---------------------------------------------------------------+
//! entries: their number (integer of variable size), then for each
//!          name (string) | content type 1 | data (string)
//! ```
//!
//! A frame says how long it is, so on a stream frames follow each other without anything between;
//! in a WebSocket there is one to a message. A view checks all lengths and names once. What stands
//! behind the frame, or inside of it behind the last entry, is ignored and never sent (A6).

pub mod auth;
mod packet;
pub mod time;
mod write;

use core::fmt;
use core::iter::FusedIterator;
use core::ops::Range;

pub use crate::limits::{
    ERROR_DATA_LEN_MAX, FRAME_HEADER_LEN_MAX, FRAME_LEN_MAX, ILP_HEADER_LEN_MAX, SETTLEMENT_LEN_MAX,
};
pub use packet::{PacketFrame, packet_frame, write_packet, write_prepare};
pub(crate) use packet::{
    masked_packet_frame, packet_header_len, write_masked_packet, write_masked_prepare,
};
pub use write::{
    ilp_frame_len, put_error, put_ilp, put_ilp_header, put_message, put_prepare, put_response,
    put_transfer, set_request_id,
};

use crate::oer;

/// Name of the entry that holds an ILP packet.
pub const ILP: &[u8] = b"ilp";

/// Name of the entry that holds what settlement processes say to each other. It stands first, and never
/// beside an ILP packet.
pub const SETTLEMENT: &[u8] = b"m2m-settlement";

/// Content type of bytes.
pub const OCTET_STREAM: u8 = 0;
/// Content type of UTF-8 text.
pub const TEXT: u8 = 1;
/// Content type of JSON.
pub const JSON: u8 = 2;

/// The link is fine and the account is not reachable: the one code that says *try later*.
pub const UNREACHABLE: &[u8; 3] = b"T00";
/// The message is not accepted; also the answer to a wrong token.
pub const NOT_ACCEPTED: &[u8; 3] = b"F00";
/// The message could not be read.
pub const INVALID_FIELDS: &[u8; 3] = b"F01";

/// The RFC's name of a BTP error code, if it has one.
#[must_use]
pub const fn error_name(code: &[u8; 3]) -> Option<&'static str> {
    match code {
        b"T00" => Some("UnreachableError"),
        b"F00" => Some("NotAcceptedError"),
        b"F01" => Some("InvalidFieldsError"),
        b"F03" => Some("TransferNotFoundError"),
        b"F04" => Some("InvalidFulfillmentError"),
        b"F05" => Some("DuplicateIdError"),
        b"F06" => Some("AlreadyRolledBackError"),
        b"F07" => Some("AlreadyFulfilledError"),
        b"F08" => Some("InsufficientBalanceError"),
        _ => None,
    }
}

/// First byte of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum FrameType {
    /// Answers a MESSAGE or a TRANSFER.
    Response = 1,
    /// Says that a MESSAGE or a TRANSFER was not accepted.
    Error = 2,
    /// Wants an answer.
    Message = 6,
    /// Tells of money that was moved on a ledger.
    Transfer = 7,
}

impl FrameType {
    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Response),
            2 => Some(Self::Error),
            6 => Some(Self::Message),
            7 => Some(Self::Transfer),
            _ => None,
        }
    }
}

/// Why some bytes are not a BTP frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DecodeError {
    /// The bytes end before the field does.
    Truncated,
    /// The first byte names no type of this version.
    UnknownType,
    /// A length prefix is not in its shortest form.
    BadLength,
    /// The number of entries has no bytes, or more than 64 bits.
    BadCount,
    /// The frame is longer than [`FRAME_LEN_MAX`].
    FrameTooLong,
    /// A name or an error code is not ASCII.
    NotAscii,
}

// Errors cross the hot path in a register.
const _: () = assert!(size_of::<DecodeError>() == 1);

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the frame ends before its last field does",
            Self::UnknownType => "the first byte names no type of BTP 2.0",
            Self::BadLength => "a length prefix is not in its shortest form",
            Self::BadCount => "the number of entries has no bytes or more than 64 bits",
            Self::FrameTooLong => "the frame is longer than allowed",
            Self::NotAscii => "a name or an error code is not ASCII",
        })
    }
}

impl core::error::Error for DecodeError {}

impl From<oer::DecodeError> for DecodeError {
    fn from(error: oer::DecodeError) -> Self {
        match error {
            oer::DecodeError::Truncated => Self::Truncated,
            oer::DecodeError::BadLength => Self::BadLength,
            oer::DecodeError::TooLong => Self::FrameTooLong,
            oer::DecodeError::BadInteger => Self::BadCount,
        }
    }
}

/// Offset of the length prefix: behind type and request id.
const LENGTH_OFFSET: usize = 1 + 4;
/// Bytes of the error code.
const CODE_LEN: usize = 3;
/// Bytes of the amount of a TRANSFER.
const AMOUNT_LEN: usize = 8;

/// Length of the frame that a stream goes on with, or `None` while its header is incomplete.
///
/// Only the header is looked at, so a frame that is too long is refused before it is buffered.
///
/// # Errors
///
/// [`DecodeError::BadLength`] or [`DecodeError::FrameTooLong`]: no later frame can be found either.
#[inline]
pub fn frame_len(bytes: &[u8]) -> Result<Option<usize>, DecodeError> {
    match header(bytes) {
        Ok((len, _)) => Ok(Some(len)),
        Err(DecodeError::Truncated) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Length of a frame and where its contents begin.
#[inline]
fn header(bytes: &[u8]) -> Result<(usize, usize), DecodeError> {
    let (len, start) = oer::length(bytes, LENGTH_OFFSET)?;
    if len > FRAME_LEN_MAX - start {
        return Err(DecodeError::FrameTooLong);
    }
    Ok((start + len, start))
}

/// A sub-protocol's part of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Entry<'a> {
    /// Which sub-protocol; ASCII.
    pub name: &'a [u8],
    /// [`OCTET_STREAM`], [`TEXT`], [`JSON`], or what somebody else agreed upon.
    pub content_type: u8,
    /// What it says.
    pub data: &'a [u8],
}

impl<'a> Entry<'a> {
    /// What an entry of [`SETTLEMENT`] says.
    ///
    /// # Errors
    ///
    /// When no settlement process could mean it.
    pub fn settlement_data(&self) -> Result<&'a [u8], SettlementError> {
        match self.data.len() {
            _ if self.content_type != OCTET_STREAM => Err(SettlementError::ContentType),
            0 => Err(SettlementError::Empty),
            1..=SETTLEMENT_LEN_MAX => Ok(self.data),
            _ => Err(SettlementError::TooLong),
        }
    }
}

/// Why an entry of [`SETTLEMENT`] is not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SettlementError {
    /// Its content type is not [`OCTET_STREAM`].
    ContentType,
    /// It has no bytes.
    Empty,
    /// It has more than [`SETTLEMENT_LEN_MAX`].
    TooLong,
}

impl fmt::Display for SettlementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ContentType => f.write_str("a settlement message has content type 0"),
            Self::Empty => f.write_str("a settlement message has no bytes"),
            Self::TooLong => {
                write!(f, "a settlement message has more than {SETTLEMENT_LEN_MAX} bytes")
            }
        }
    }
}

impl core::error::Error for SettlementError {}

/// The fields of an ERROR.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ErrorFields<'a> {
    /// Three ASCII characters; they are BTP's and mean other things than those of a REJECT.
    pub code: [u8; CODE_LEN],
    /// Name of the code; ASCII.
    pub name: &'a [u8],
    /// When, in whatever form the peer writes it.
    pub triggered_at: &'a [u8],
    /// What belongs to the code.
    pub data: &'a [u8],
}

impl ErrorFields<'_> {
    /// `triggered_at` in milliseconds since 1970, if it is in a form that the RFC knows (C5).
    #[must_use]
    pub fn triggered_at_ms(&self) -> Option<u64> {
        time::parse(self.triggered_at)
    }
}

/// A frame in the caller's bytes.
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    /// The frame and nothing behind it.
    frame: &'a [u8],
    frame_type: FrameType,
    contents_start: usize,
    /// From the first byte behind the number of entries to the last byte of the last entry.
    entries: Range<usize>,
    ilp: Option<Range<usize>>,
}

impl<'a> Frame<'a> {
    /// Checks every length and name once.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the bytes.
    #[inline]
    pub fn new_checked(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let first = *bytes.first().ok_or(DecodeError::Truncated)?;
        let frame_type = FrameType::from_byte(first).ok_or(DecodeError::UnknownType)?;
        let (len, contents_start) = header(bytes)?;
        let frame = bytes.get(..len).ok_or(DecodeError::Truncated)?;

        let entries_offset = match frame_type {
            FrameType::Response | FrameType::Message => contents_start,
            FrameType::Transfer => contents_start + AMOUNT_LEN,
            FrameType::Error => {
                let (fields, end) = error_fields(frame, contents_start)?;
                if !fields.code.is_ascii() || !fields.name.is_ascii() {
                    return Err(DecodeError::NotAscii);
                }
                end
            }
        };
        let (entries, ilp) = check_entries(frame, entries_offset)?;
        Ok(Self { frame, frame_type, contents_start, entries, ilp })
    }

    /// What the frame is.
    #[inline]
    #[must_use]
    pub fn frame_type(&self) -> FrameType {
        self.frame_type
    }

    /// What joins a question and its answer; chosen by who asks.
    #[inline]
    #[must_use]
    pub fn request_id(&self) -> u32 {
        u32::from_be_bytes(*self.frame[1..].first_chunk().expect("the header is complete"))
    }

    /// Bytes of the frame; what `new_checked` was given may go on.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.frame.len()
    }

    /// Never: a frame has a header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frame.is_empty()
    }

    /// The entries in their order.
    #[inline]
    #[must_use]
    pub fn protocol_data(&self) -> Entries<'a> {
        Entries { bytes: &self.frame[self.entries.clone()] }
    }

    /// Where in the frame the data of the first entry named `ilp` stands.
    #[inline]
    #[must_use]
    pub fn ilp_range(&self) -> Option<Range<usize>> {
        self.ilp.clone()
    }

    /// Data of the first entry named `ilp`.
    #[inline]
    #[must_use]
    pub fn ilp(&self) -> Option<&'a [u8]> {
        self.ilp_range().map(|range| &self.frame[range])
    }

    /// The first entry, if it is one of [`SETTLEMENT`] and there is no ILP packet.
    #[must_use]
    pub fn settlement(&self) -> Option<Entry<'a>> {
        let first = self.protocol_data().next()?;
        (first.name == SETTLEMENT && self.ilp.is_none()).then_some(first)
    }

    /// The fields of an ERROR; `None` for other types.
    #[must_use]
    pub fn error(&self) -> Option<ErrorFields<'a>> {
        (self.frame_type == FrameType::Error).then(|| {
            error_fields(self.frame, self.contents_start).expect("new_checked() measured them").0
        })
    }

    /// The amount of a TRANSFER; `None` for other types.
    #[must_use]
    pub fn transfer_amount(&self) -> Option<u64> {
        (self.frame_type == FrameType::Transfer).then(|| {
            let amount = self.frame[self.contents_start..].first_chunk();
            u64::from_be_bytes(*amount.expect("new_checked() read behind it"))
        })
    }
}

/// The entries of a frame, in their order.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    bytes: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        if self.bytes.is_empty() {
            return None;
        }
        let (name, data) = entry_at(self.bytes, 0).expect("new_checked() measured them");
        let entry = Entry {
            name: &self.bytes[name.clone()],
            content_type: self.bytes[name.end],
            data: &self.bytes[data.clone()],
        };
        self.bytes = &self.bytes[data.end..];
        Some(entry)
    }
}

impl FusedIterator for Entries<'_> {}

/// Reads behind each entry, and says where they stand and where the first `ilp` does.
#[inline]
fn check_entries(
    frame: &[u8],
    offset: usize,
) -> Result<(Range<usize>, Option<Range<usize>>), DecodeError> {
    let (count, start) = oer::var_uint(frame, offset)?;
    let (mut end, mut ilp) = (start, None);
    // An entry has three bytes or more, so the bytes bound this loop, whatever the count says.
    for _ in 0..count {
        let (name, data) = entry_at(frame, end)?;
        let name = &frame[name];
        end = data.end;
        if name == ILP {
            ilp.get_or_insert(data);
        } else if !name.is_ascii() {
            return Err(DecodeError::NotAscii);
        }
    }
    Ok((start..end, ilp))
}

/// Name and data of the entry at `offset`; its content type is the byte behind the name.
#[inline]
fn entry_at(bytes: &[u8], offset: usize) -> Result<(Range<usize>, Range<usize>), DecodeError> {
    let name = oer::octet_string(bytes, offset, FRAME_LEN_MAX)?;
    let data = oer::octet_string(bytes, name.end + 1, FRAME_LEN_MAX)?;
    Ok((name, data))
}

/// The fields of an ERROR and the offset behind them.
fn error_fields(
    frame: &[u8],
    contents_start: usize,
) -> Result<(ErrorFields<'_>, usize), DecodeError> {
    let code = frame[contents_start..].first_chunk().ok_or(DecodeError::Truncated)?;
    let name = oer::octet_string(frame, contents_start + CODE_LEN, FRAME_LEN_MAX)?;
    let triggered_at = oer::octet_string(frame, name.end, FRAME_LEN_MAX)?;
    let data = oer::octet_string(frame, triggered_at.end, FRAME_LEN_MAX)?;
    let end = data.end;
    let fields = ErrorFields {
        code: *code,
        name: &frame[name],
        triggered_at: &frame[triggered_at],
        data: &frame[data],
    };
    Ok((fields, end))
}

#[cfg(test)]
mod tests;
