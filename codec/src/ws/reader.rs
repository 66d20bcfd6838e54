//! Frames, taken apart in the buffer they arrived in.
//!
//! ```text
//!                    FIN=0 text or binary              FIN=1 continuation
//!   no message  ---------------------------> message  --------------------> no message
//!       |  ^            (Fragment)             |  ^        (Assembled or Text)
//!       +--+                                   +--+
//!   FIN=1 text or binary: Message, Text    FIN=0 continuation: Fragment
//!   control frames: Ping, Pong, Close      control frames
//! ```
//!
//! What a message may hold is known from its frames' headers, so one that is too long is refused
//! before it is buffered: the caller needs room for one frame of the longest message and no more.

use core::ops::Range;

use super::packet::packet_frame;
use super::{
    CloseReason, FIN, MASK, Opcode, RESERVED, Role, WS_CONTROL_LEN_MAX, apply_mask, close_code,
};
use crate::btp::PacketFrame;

/// What a frame meant. A range is a part of the buffer that was given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A binary message in one frame; its payload, without its mask.
    Message(Range<usize>),
    /// A binary message is complete: it is in [`Reader::assembled`] until the next message begins.
    Assembled,
    /// A part of a message was kept.
    Fragment,
    /// A text message is complete. Its content is dropped: nobody here reads text.
    Text,
    /// To be answered by a pong with the same payload.
    Ping(Range<usize>),
    /// The answer to a ping, or a sign of life.
    Pong,
    /// The other end sends no more. [`close_code::NO_STATUS`] if it does not say why.
    Close {
        /// Why.
        code: u16,
    },
}

/// Takes frames apart, one to a call.
#[derive(Clone, Debug)]
pub struct Reader {
    role: Role,
    message_len_max: usize,
    /// Binary or text, if a message has begun and not ended.
    unfinished: Option<Opcode>,
    /// Payload bytes of the message so far; those of a text message are counted and dropped.
    message_len: usize,
    message: Vec<u8>,
}

/// What the first bytes of a frame say.
struct Header {
    opcode: Opcode,
    last: bool,
    mask: Option<[u8; 4]>,
    payload: Range<usize>,
}

impl Reader {
    /// A reader at the start of a connection, of messages of up to `message_len_max` bytes.
    #[must_use]
    pub const fn new(role: Role, message_len_max: usize) -> Self {
        Self { role, message_len_max, unfinished: None, message_len: 0, message: Vec::new() }
    }

    /// The message that [`Event::Assembled`] told of.
    #[must_use]
    pub fn assembled(&self) -> &[u8] {
        &self.message
    }

    /// The message that [`Event::Assembled`] told of, to be rewritten in place.
    #[must_use]
    pub fn assembled_mut(&mut self) -> &mut [u8] {
        &mut self.message
    }

    /// Reads the frame that `buf` begins with if it is whole and a binary message that holds one BTP
    /// frame with one ILP packet alone; its mask is taken off. The frame ends with the packet.
    ///
    /// `None` says nothing about the bytes, and nothing has changed: [`Self::next`] is to read them.
    #[inline]
    pub fn next_packet(&self, buf: &mut [u8]) -> Option<PacketFrame> {
        match (self.unfinished, self.role) {
            (Some(_), _) => None,
            (None, Role::Server) => packet_frame::<MASK>(buf, self.message_len_max),
            (None, Role::Client) => packet_frame::<0>(buf, self.message_len_max),
        }
    }

    /// Reads the frame that `buf` begins with: how many bytes it takes, and what it means. `None`
    /// while it is incomplete; nothing has changed then.
    ///
    /// # Errors
    ///
    /// Says how the other end broke the rules; the connection cannot go on.
    #[inline]
    pub fn next(&mut self, buf: &mut [u8]) -> Result<Option<(usize, Event)>, CloseReason> {
        let Some(header) = self.header(buf)? else { return Ok(None) };
        let end = header.payload.end;
        let Some(payload) = buf.get_mut(header.payload.clone()) else { return Ok(None) };
        if let Some(mask) = header.mask {
            apply_mask(payload, mask);
        }
        let event = match header.opcode {
            Opcode::Binary if header.last => Event::Message(header.payload),
            Opcode::Ping => Event::Ping(header.payload),
            Opcode::Pong => Event::Pong,
            Opcode::Close => Event::Close { code: close_code_of(payload)? },
            Opcode::Text | Opcode::Binary | Opcode::Continuation => self.take(&header, payload),
        };
        Ok(Some((end, event)))
    }

    /// Reads and checks what stands before the payload.
    #[inline]
    fn header(&self, buf: &[u8]) -> Result<Option<Header>, CloseReason> {
        let &[first, second, ref rest @ ..] = buf else { return Ok(None) };
        let opcode = self.check_opcode(first)?;
        match (self.role, second & MASK != 0) {
            (Role::Server, false) => return Err(CloseReason::Unmasked),
            (Role::Client, true) => return Err(CloseReason::Masked),
            _ => {}
        }
        let short_len = second & !MASK;
        if opcode.is_control() && usize::from(short_len) > WS_CONTROL_LEN_MAX {
            return Err(CloseReason::ControlTooLong);
        }
        let Some((len, len_size)) = payload_len(short_len, rest)? else { return Ok(None) };
        if !opcode.is_control() {
            let before = if opcode == Opcode::Continuation { self.message_len } else { 0 };
            if len > self.message_len_max - before {
                return Err(CloseReason::MessageTooBig);
            }
        }
        let (mask, mask_size) = match self.role {
            Role::Client => (None, 0),
            Role::Server => match rest[len_size..].first_chunk() {
                Some(mask) => (Some(*mask), mask.len()),
                None => return Ok(None),
            },
        };
        let start = 2 + len_size + mask_size;
        Ok(Some(Header { opcode, last: first & FIN != 0, mask, payload: start..start + len }))
    }

    /// Checks that a frame with this first byte may come now.
    #[inline]
    fn check_opcode(&self, first: u8) -> Result<Opcode, CloseReason> {
        if first & RESERVED != 0 {
            return Err(CloseReason::ReservedBits);
        }
        let opcode = Opcode::from_nibble(first & 0x0f).ok_or(CloseReason::UnknownOpcode)?;
        match opcode {
            Opcode::Continuation if self.unfinished.is_none() => {
                Err(CloseReason::UnexpectedContinuation)
            }
            Opcode::Text | Opcode::Binary if self.unfinished.is_some() => {
                Err(CloseReason::MissingContinuation)
            }
            Opcode::Close | Opcode::Ping | Opcode::Pong if first & FIN == 0 => {
                Err(CloseReason::ControlFragmented)
            }
            _ => Ok(opcode),
        }
    }

    /// Keeps a part of a message, or drops it if the message is text.
    #[cold]
    fn take(&mut self, header: &Header, payload: &[u8]) -> Event {
        if header.opcode != Opcode::Continuation {
            self.unfinished = Some(header.opcode);
            self.message_len = 0;
            self.message.clear();
        }
        let kind = self.unfinished.expect("check_opcode() let nothing else through");
        self.message_len += payload.len();
        if kind == Opcode::Binary {
            self.message.extend_from_slice(payload);
        }
        match (header.last, kind) {
            (false, _) => return Event::Fragment,
            (true, Opcode::Binary) => {}
            (true, _) => {
                self.unfinished = None;
                return Event::Text;
            }
        }
        self.unfinished = None;
        Event::Assembled
    }
}

/// Length of the payload and how many bytes say so, behind the two that every header has.
#[inline]
fn payload_len(short_len: u8, rest: &[u8]) -> Result<Option<(usize, usize)>, CloseReason> {
    let (len, size) = match short_len {
        126 => match rest.first_chunk() {
            Some(digits) => (u64::from(u16::from_be_bytes(*digits)), 2),
            None => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(digits) => (u64::from_be_bytes(*digits), 8),
            None => return Ok(None),
        },
        len => (u64::from(len), 0),
    };
    let shortest = match size {
        0 => true,
        2 => len > 125,
        _ => len > 0xffff && len >> 63 == 0,
    };
    if !shortest {
        return Err(CloseReason::BadLength);
    }
    // Beyond the address space it is beyond any limit as well.
    let len = usize::try_from(len).map_err(|_| CloseReason::MessageTooBig)?;
    Ok(Some((len, size)))
}

fn close_code_of(payload: &[u8]) -> Result<u16, CloseReason> {
    let (code, reason) = match payload {
        [] => return Ok(close_code::NO_STATUS),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        [_] => return Err(CloseReason::BadCloseCode),
    };
    // Those of RFC 6455 and of its registry that may be sent, of libraries, and of applications.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(CloseReason::BadCloseCode);
    }
    if core::str::from_utf8(reason).is_err() {
        return Err(CloseReason::BadCloseText);
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::super::{put_binary_header, put_close, put_control};
    use super::*;

    const MASK_KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// A frame as a client sends it.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_binary_header(&mut out, payload.len(), Some(MASK_KEY));
        out[0] = first;
        let start = out.len();
        out.extend_from_slice(payload);
        apply_mask(&mut out[start..], MASK_KEY);
        out
    }

    fn server() -> Reader {
        Reader::new(Role::Server, 1000)
    }

    /// The first refusal, or none.
    fn refusal(mut reader: Reader, mut bytes: Vec<u8>) -> Option<CloseReason> {
        let mut rest = &mut bytes[..];
        loop {
            match reader.next(rest) {
                Ok(None) => return None,
                Ok(Some((len, _))) => rest = &mut rest[len..],
                Err(reason) => return Some(reason),
            }
        }
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        // RFC 6455, 5.7; those of text say so, and those of bytes are of 256 and 65,536.
        let mut masked_hello = *b"\x82\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        assert_eq!(server().next(&mut masked_hello), Ok(Some((11, Event::Message(6..11)))));
        assert_eq!(&masked_hello[6..], b"Hello");

        let mut client = Reader::new(Role::Client, 1 << 16);
        let mut hello = *b"\x81\x05Hello";
        assert_eq!(client.next(&mut hello), Ok(Some((7, Event::Text))));
        let mut ping = *b"\x89\x05Hello";
        assert_eq!(client.next(&mut ping), Ok(Some((7, Event::Ping(2..7)))));
        let mut pong = *b"\x8a\x05Hello";
        assert_eq!(client.next(&mut pong), Ok(Some((7, Event::Pong))));
        for (header, len) in [
            (&b"\x82\x7e\x01\x00"[..], 256),
            (&b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"[..], 65_536),
        ] {
            let mut bytes = [header, &vec![0x5a; len]].concat();
            let end = bytes.len();
            let event = Event::Message(header.len()..end);
            assert_eq!(client.next(&mut bytes), Ok(Some((end, event))));
        }
    }

    #[test]
    fn c15_fragments_are_joined_and_control_frames_between_them_are_read() {
        let mut reader = server();
        let mut read = |mut frame: Vec<u8>| reader.next(&mut frame).unwrap().unwrap().1;
        assert_eq!(read(masked(0x02, b"one ")), Event::Fragment);
        assert_eq!(read(masked(0x89, b"?")), Event::Ping(6..7));
        assert_eq!(read(masked(0x00, b"")), Event::Fragment);
        assert_eq!(read(masked(0x8a, b"!")), Event::Pong);
        assert_eq!(read(masked(0x80, b"message")), Event::Assembled);
        assert_eq!(reader.assembled(), b"one message");
        let mut read = |mut frame: Vec<u8>| reader.next(&mut frame).unwrap().unwrap().1;
        assert_eq!(read(masked(0x01, b"some")), Event::Fragment);
        assert_eq!(read(masked(0x80, b"text")), Event::Text);
        assert_eq!(read(masked(0x82, b"x")), Event::Message(6..7));
        assert_eq!(read(masked(0x02, b"an")), Event::Fragment);
        assert_eq!(read(masked(0x80, b"other")), Event::Assembled);
        assert_eq!(reader.assembled(), b"another");
    }

    #[test]
    fn c15_a_server_refuses_plain_frames_and_a_client_masked_ones() {
        assert_eq!(refusal(server(), b"\x82\x01x".to_vec()), Some(CloseReason::Unmasked));
        let client = Reader::new(Role::Client, 1000);
        assert_eq!(refusal(client, masked(0x82, b"x")), Some(CloseReason::Masked));
    }

    #[test]
    fn a_message_too_long_is_refused_by_its_header_alone() {
        for payload_len in [1001, 65_535, 65_536, 1 << 40] {
            let mut header = Vec::new();
            put_binary_header(&mut header, payload_len, Some(MASK_KEY));
            header.truncate(header.len() - 4);
            assert_eq!(refusal(server(), header), Some(CloseReason::MessageTooBig));
        }
        assert_eq!(refusal(server(), masked(0x82, &[0; 1000])), None);
        let fragments = |last: usize| {
            [masked(0x02, &[0; 600]), masked(0x00, &[0; 300]), masked(0x80, &vec![0; last])]
        };
        assert_eq!(refusal(server(), fragments(100).concat()), None);
        assert_eq!(refusal(server(), fragments(101).concat()), Some(CloseReason::MessageTooBig));
        let text = [masked(0x01, &[0; 600]), masked(0x80, &[0; 401])].concat();
        assert_eq!(refusal(server(), text), Some(CloseReason::MessageTooBig));
        assert_eq!(CloseReason::MessageTooBig.code(), 1009);
    }

    #[test]
    fn what_the_rfc_forbids_is_refused_by_name() {
        let cases = [
            (masked(0xc2, b"x"), CloseReason::ReservedBits),
            (masked(0xa2, b"x"), CloseReason::ReservedBits),
            (masked(0x92, b"x"), CloseReason::ReservedBits),
            (masked(0x83, b"x"), CloseReason::UnknownOpcode),
            (masked(0x8b, b"x"), CloseReason::UnknownOpcode),
            (masked(0x09, b"x"), CloseReason::ControlFragmented),
            (masked(0x89, &[0; 126]), CloseReason::ControlTooLong),
            (masked(0x80, b"x"), CloseReason::UnexpectedContinuation),
            (masked(0x00, b"x"), CloseReason::UnexpectedContinuation),
            ([masked(0x02, b"x"), masked(0x82, b"y")].concat(), CloseReason::MissingContinuation),
            ([masked(0x01, b"x"), masked(0x02, b"y")].concat(), CloseReason::MissingContinuation),
            (b"\x82\xfe\x00\x7d".to_vec(), CloseReason::BadLength),
            (b"\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff".to_vec(), CloseReason::BadLength),
            (b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00".to_vec(), CloseReason::BadLength),
        ];
        for (bytes, expected) in cases {
            assert_eq!(refusal(server(), bytes), Some(expected));
            assert_eq!(expected.code() == 1002, expected != CloseReason::MessageTooBig);
        }
        for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
            assert_eq!(
                refusal(server(), masked(0x80 | opcode, b"")),
                Some(CloseReason::UnknownOpcode)
            );
        }
    }

    #[test]
    fn close_frames_are_read_and_bad_ones_refused() {
        let mut frame = masked(0x88, b"");
        let end = frame.len();
        let event = Event::Close { code: close_code::NO_STATUS };
        assert_eq!(server().next(&mut frame), Ok(Some((end, event))));
        for code in 0..=u16::MAX {
            let mut frame = masked(0x88, &code.to_be_bytes());
            let allowed = (1000..=1003).contains(&code)
                || (1007..=1014).contains(&code)
                || (3000..=4999).contains(&code);
            let expected = if allowed {
                Ok(Some((frame.len(), Event::Close { code })))
            } else {
                Err(CloseReason::BadCloseCode)
            };
            assert_eq!(server().next(&mut frame), expected, "{code}");
        }
        assert_eq!(refusal(server(), masked(0x88, b"\x03")), Some(CloseReason::BadCloseCode));
        let text = refusal(server(), masked(0x88, b"\x03\xe8\xff"));
        assert_eq!(text, Some(CloseReason::BadCloseText));
        assert_eq!(CloseReason::BadCloseText.code(), 1007);
    }

    #[test]
    fn every_reason_fits_into_a_close_frame_that_is_read_back() {
        for reason in [CloseReason::Unmasked, CloseReason::MessageTooBig, CloseReason::BadCloseText]
        {
            let mut out = Vec::new();
            put_close(&mut out, reason.code(), reason.as_str(), None);
            let end = out.len();
            let event = Event::Close { code: reason.code() };
            assert_eq!(Reader::new(Role::Client, 0).next(&mut out), Ok(Some((end, event))));
        }
    }

    #[test]
    fn an_incomplete_frame_changes_nothing() {
        let mut ping = Vec::new();
        put_control(&mut ping, Opcode::Ping, b"payload", Some(MASK_KEY));
        for frame in [masked(0x82, &[0x5a; 200]), ping, masked(0x02, b"part")] {
            for len in 0..frame.len() {
                let (mut reader, mut bytes) = (server(), frame[..len].to_vec());
                assert_eq!(reader.next(&mut bytes), Ok(None), "{len}");
                assert_eq!(bytes, frame[..len]);
                assert!(reader.next(&mut frame.clone()).unwrap().is_some());
            }
        }
    }
}
