//! A second reading of the wire, so plain that it is right at a glance: what the codec says of any
//! bytes is held against what this says.
//!
//! Invariant: nothing here comes from `m2_codec` but its limits. A reader takes what it needs off
//! the front of its bytes and gives `None` where they break a rule; it copies, and is slow.

use m2_codec::limits::{
    ADDRESS_LEN_MAX, ANSWER_DATA_LEN_MAX, ANSWER_LEN_MAX, DATA_LEN_MAX, FRAME_LEN_MAX,
    PREPARE_LEN_MAX,
};

/// Bytes not read yet.
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    /// The next `count` bytes.
    pub fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    /// The next byte.
    pub fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|taken| taken[0])
    }

    /// The next eight bytes as a number.
    pub fn u64(&mut self) -> Option<u64> {
        self.take(8).map(number)
    }

    /// A length prefix: one byte below 128, or how many bytes follow and the length in those, and
    /// only in as few of them as can be (IL-RFC 30; A1 to A3).
    pub fn length(&mut self) -> Option<u64> {
        let first = self.byte()?;
        if first < 0x80 {
            return Some(u64::from(first));
        }
        let count = first - 0x80;
        if count == 0 || count > 8 {
            return None;
        }
        let digits = self.take(u64::from(count))?;
        let length = number(digits);
        let shortest = length >= 0x80 && digits[0] != 0;
        shortest.then_some(length)
    }

    /// A string behind its length prefix.
    pub fn string(&mut self, len_max: usize) -> Option<&'a [u8]> {
        let len = self.length()?;
        if len > len_max as u64 { None } else { self.take(len) }
    }

    /// An integer behind the number of its bytes, leading zeros allowed (A5).
    pub fn var_uint(&mut self) -> Option<u64> {
        let digits = self.string(8)?;
        (!digits.is_empty()).then(|| number(digits))
    }
}

fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |sum, digit| sum * 256 + u64::from(*digit))
}

/// Whether this is an ILP address: a known scheme and segments of known characters (IL-RFC 15).
pub fn is_address(bytes: &[u8]) -> bool {
    let mut segments = bytes.split(|byte| *byte == b'.');
    let scheme = segments.next().expect("a split has a first part");
    let segments: Vec<_> = segments.collect();
    is_scheme(scheme)
        && !segments.is_empty()
        && segments.iter().all(|segment| is_segment(segment))
        && bytes.len() <= ADDRESS_LEN_MAX
}

/// Whether this is the first segment of an address.
pub fn is_scheme(bytes: &[u8]) -> bool {
    let schemes: [&[u8]; 10] = [
        b"g", b"private", b"example", b"peer", b"self", b"test", b"test1", b"test2", b"test3",
        b"local",
    ];
    schemes.contains(&bytes)
}

fn is_segment(bytes: &[u8]) -> bool {
    let known =
        |byte: &u8| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'~' | b'-');
    !bytes.is_empty() && bytes.iter().all(known)
}

/// Milliseconds since 1970 of `YYYYMMDDHHMMSSmmm`, by counting days; 0 for what lies before.
pub fn timestamp(digits: &[u8]) -> Option<u64> {
    if digits.len() != 17 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let part = |from: usize, to: usize| {
        digits[from..to].iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'))
    };
    let (year, month, day) = (part(0, 4), part(4, 6), part(6, 8));
    let (hour, minute, second, ms) = (part(8, 10), part(10, 12), part(12, 14), part(14, 17));
    let date_exists = (1..=12).contains(&month) && day >= 1 && day <= days_of(year, month);
    if !date_exists || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if year < 1970 {
        return Some(0);
    }
    let days_of_years: u64 =
        365 * (year - 1970) + leap_years_before(year) - leap_years_before(1970);
    let days = days_of_years + (1..month).map(|month| days_of(year, month)).sum::<u64>() + day - 1;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + ms)
}

/// How many of the years from 1 to before `year` have a 29 February.
fn leap_years_before(year: u64) -> u64 {
    let last = year - 1;
    last / 4 - last / 100 + last / 400
}

fn days_of(year: u64, month: u64) -> u64 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        [usize::try_from(month - 1).expect("a month")]
}

/// A PREPARE.
#[derive(Debug, Eq, PartialEq)]
pub struct Prepare<'a> {
    /// Bytes of the packet.
    pub packet_len: usize,
    /// Bytes inside of the envelope behind the last field.
    pub behind: usize,
    /// See IL-RFC 27.
    pub amount: u64,
    /// See IL-RFC 27.
    pub expires_at: &'a [u8],
    /// `expires_at` as a number.
    pub expires_at_ms: u64,
    /// See IL-RFC 27.
    pub condition: &'a [u8],
    /// See IL-RFC 27.
    pub destination: &'a [u8],
    /// See IL-RFC 27.
    pub data: &'a [u8],
}

/// Reads a PREPARE.
pub fn prepare(bytes: &[u8]) -> Option<Prepare<'_>> {
    let (mut contents, packet_len) = envelope(bytes, 12, PREPARE_LEN_MAX)?;
    let amount = contents.u64()?;
    let expires_at = contents.take(17)?;
    let expires_at_ms = timestamp(expires_at)?;
    let condition = contents.take(32)?;
    let destination = contents.string(ADDRESS_LEN_MAX).filter(|bytes| is_address(bytes))?;
    let data = contents.string(DATA_LEN_MAX)?;
    let behind = contents.0.len();
    Some(Prepare {
        packet_len,
        behind,
        amount,
        expires_at,
        expires_at_ms,
        condition,
        destination,
        data,
    })
}

/// A FULFILL: its length, the bytes behind its last field, fulfillment, data.
pub fn fulfill(bytes: &[u8]) -> Option<(usize, usize, &[u8], &[u8])> {
    let (mut contents, packet_len) = envelope(bytes, 13, ANSWER_LEN_MAX)?;
    let fulfillment = contents.take(32)?;
    let data = contents.string(ANSWER_DATA_LEN_MAX)?;
    Some((packet_len, contents.0.len(), fulfillment, data))
}

/// A REJECT.
#[derive(Debug, Eq, PartialEq)]
pub struct Reject<'a> {
    /// Bytes of the packet.
    pub packet_len: usize,
    /// Bytes inside of the envelope behind the last field.
    pub behind: usize,
    /// See IL-RFC 27.
    pub code: &'a [u8],
    /// An address, or nothing.
    pub triggered_by: &'a [u8],
    /// See IL-RFC 27.
    pub message: &'a [u8],
    /// See IL-RFC 27.
    pub data: &'a [u8],
}

/// Reads a REJECT.
pub fn reject(bytes: &[u8]) -> Option<Reject<'_>> {
    let (mut contents, packet_len) = envelope(bytes, 14, ANSWER_LEN_MAX)?;
    let code = contents.take(3).filter(|code| code.is_ascii())?;
    let triggered_by = contents.string(ADDRESS_LEN_MAX)?;
    if !triggered_by.is_empty() && !is_address(triggered_by) {
        return None;
    }
    let message = contents.string(ANSWER_LEN_MAX)?;
    let data = contents.string(ANSWER_DATA_LEN_MAX)?;
    Some(Reject { packet_len, behind: contents.0.len(), code, triggered_by, message, data })
}

/// What a packet of this type holds, and how long it is.
fn envelope(bytes: &[u8], first: u8, len_max: usize) -> Option<(Bytes<'_>, usize)> {
    let mut rest = Bytes(bytes);
    if rest.byte()? != first {
        return None;
    }
    let contents = rest.string(len_max)?;
    let packet_len = bytes.len() - rest.0.len();
    (packet_len <= len_max).then_some((Bytes(contents), packet_len))
}

/// What IL-DCP answers: address, scale, asset code.
pub fn ildcp_response(data: &[u8]) -> Option<(&[u8], u8, &str)> {
    let mut rest = Bytes(data);
    let address = rest.string(usize::MAX).filter(|bytes| is_address(bytes))?;
    let scale = rest.byte()?;
    let code = core::str::from_utf8(rest.string(usize::MAX)?).ok()?;
    Some((address, scale, code))
}

/// A BTP frame.
#[derive(Debug, Eq, PartialEq)]
pub struct Frame<'a> {
    /// Bytes of the frame.
    pub len: usize,
    /// Bytes inside of it behind its last entry.
    pub behind: usize,
    /// Its first byte.
    pub first: u8,
    /// See IL-RFC 23.
    pub request_id: u32,
    /// Of a TRANSFER.
    pub amount: Option<u64>,
    /// Of an ERROR: code, name, time, data.
    pub error: Option<[&'a [u8]; 4]>,
    /// Name, content type, data.
    pub entries: Vec<(&'a [u8], u8, &'a [u8])>,
}

/// Reads the frame that `bytes` begins with.
pub fn frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let mut rest = Bytes(bytes);
    let first = rest.byte()?;
    let request_id = u32::from_be_bytes(rest.take(4)?.try_into().ok()?);
    let mut contents = Bytes(rest.string(FRAME_LEN_MAX)?);
    let len = bytes.len() - rest.0.len();
    if len > FRAME_LEN_MAX {
        return None;
    }
    let (mut amount, mut error) = (None, None);
    match first {
        1 | 6 => {}
        7 => amount = Some(contents.u64()?),
        2 => error = Some(error_fields(&mut contents)?),
        _ => return None,
    }
    let mut entries = Vec::new();
    for _ in 0..contents.var_uint()? {
        let name = contents.string(FRAME_LEN_MAX).filter(|name| name.is_ascii())?;
        entries.push((name, contents.byte()?, contents.string(FRAME_LEN_MAX)?));
    }
    Some(Frame { len, behind: contents.0.len(), first, request_id, amount, error, entries })
}

fn error_fields<'a>(contents: &mut Bytes<'a>) -> Option<[&'a [u8]; 4]> {
    let code = contents.take(3).filter(|code| code.is_ascii())?;
    let name = contents.string(FRAME_LEN_MAX).filter(|name| name.is_ascii())?;
    let [time, data] = [contents.string(FRAME_LEN_MAX)?, contents.string(FRAME_LEN_MAX)?];
    Some([code, name, time, data])
}

/// Milliseconds of `YYYYMMDDHHMMSSZ`, with a point and up to three digits before the `Z` or not.
pub fn btp_time(text: &[u8]) -> Option<u64> {
    let (seconds, fraction) = match text.strip_suffix(b"Z")?.split_at_checked(14)? {
        (seconds, b"") => (seconds, &b""[..]),
        (seconds, rest) => (seconds, rest.strip_prefix(b".").filter(|it| !it.is_empty())?),
    };
    if fraction.len() > 3 {
        return None;
    }
    let zeros = &b"000"[fraction.len()..];
    timestamp(&[seconds, fraction, zeros].concat())
}

/// Who connects, by name and token, if this first frame says so (IL-RFC 23; C8).
pub fn auth<'a>(frame: &Frame<'a>) -> Option<(Option<&'a str>, &'a str)> {
    let with_name = |name: &[u8]| {
        let all: Vec<_> = frame.entries.iter().filter(|entry| entry.0 == name).collect();
        all.into_iter().map(|entry| entry.2).collect::<Vec<_>>()
    };
    if frame.first != 6 || frame.entries.first()?.0 != b"auth" {
        return None;
    }
    let [token] = with_name(b"auth_token")[..] else { return None };
    let username = match with_name(b"auth_username")[..] {
        [] => None,
        [username] => Some(core::str::from_utf8(username).ok()?).filter(|it| !it.is_empty()),
        _ => return None,
    };
    Some((username, core::str::from_utf8(token).ok()?))
}

/// What one WebSocket frame meant, with its bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Seen {
    /// A binary message in one frame.
    Message(Vec<u8>),
    /// A binary message in several.
    Assembled(Vec<u8>),
    /// A part of a message.
    Fragment,
    /// The end of a text message.
    Text,
    /// See RFC 6455, 5.5.2.
    Ping(Vec<u8>),
    /// See RFC 6455, 5.5.3.
    Pong,
    /// See RFC 6455, 5.5.1.
    Close(u16),
}

/// How a WebSocket stream ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// The bytes end between two frames or inside of one.
    Open,
    /// A close frame.
    Closed,
    /// A broken rule.
    Refused,
}

/// All that a WebSocket stream says, read at once (RFC 6455, 5).
pub fn websocket(bytes: &[u8], masked: bool, message_len_max: usize) -> (Vec<Seen>, End) {
    let (mut rest, mut seen) = (Bytes(bytes), Vec::new());
    // Opcode and bytes of a message in fragments.
    let mut open: Option<(u8, Vec<u8>)> = None;
    loop {
        let held = open.as_ref().map_or(0, |(_, bytes)| bytes.len());
        let header = match websocket_header(&mut rest, masked, open.is_some()) {
            Header::Whole(header) => header,
            Header::Part => return (seen, End::Open),
            Header::Wrong => return (seen, End::Refused),
        };
        if header.opcode < 8 && header.len > (message_len_max - held) as u64 {
            return (seen, End::Refused);
        }
        let mask = match masked {
            true => rest.take(4),
            false => Some(&[0; 4][..]),
        };
        let payload = mask.and_then(|mask| Some((mask, rest.take(header.len)?)));
        let Some((mask, payload)) = payload else { return (seen, End::Open) };
        let payload: Vec<u8> =
            payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]).collect();
        match (header.opcode, header.fin) {
            (8, _) => {
                let Some(code) = close_code(&payload) else { return (seen, End::Refused) };
                seen.push(Seen::Close(code));
                return (seen, End::Closed);
            }
            (9, _) => seen.push(Seen::Ping(payload)),
            (10, _) => seen.push(Seen::Pong),
            (2, true) => seen.push(Seen::Message(payload)),
            (opcode, fin) => {
                let (kind, mut message) = open.take().unwrap_or((opcode, Vec::new()));
                message.extend(payload);
                match (fin, kind) {
                    (false, _) => {
                        open = Some((kind, message));
                        seen.push(Seen::Fragment);
                    }
                    (true, 2) => seen.push(Seen::Assembled(message)),
                    (true, _) => seen.push(Seen::Text),
                }
            }
        }
    }
}

struct WebSocketHeader {
    fin: bool,
    opcode: u8,
    len: u64,
}

enum Header {
    Whole(WebSocketHeader),
    Part,
    Wrong,
}

/// Type and length of the next frame. What is certainly wrong is so before the rest has come.
fn websocket_header(rest: &mut Bytes<'_>, masked: bool, inside_message: bool) -> Header {
    let Some(&[first, second]) = rest.take(2) else { return Header::Part };
    let (fin, opcode, short) = (first >= 0x80, first % 16, second % 128);
    let control = matches!(opcode, 8..=10);
    let allowed = match opcode {
        0 => inside_message,
        1 | 2 => !inside_message,
        8..=10 => fin && short <= 125,
        _ => false,
    };
    if first & 0x70 != 0 || !allowed || (second >= 0x80) != masked {
        return Header::Wrong;
    }
    let (size, least) = match short {
        _ if control => (0, 0),
        126 => (2, 126),
        127 => (8, 0x1_0000),
        _ => (0, 0),
    };
    let Some(digits) = rest.take(size) else { return Header::Part };
    let len = if size == 0 { u64::from(short) } else { number(digits) };
    if len < least || len >= 1 << 63 {
        return Header::Wrong;
    }
    Header::Whole(WebSocketHeader { fin, opcode, len })
}

fn close_code(payload: &[u8]) -> Option<u16> {
    let [high, low, reason @ ..] = payload else {
        return payload.is_empty().then_some(1005);
    };
    let code = u16::from_be_bytes([*high, *low]);
    let sendable = match code {
        1000..=1014 => ![1004, 1005, 1006].contains(&code),
        3000..=4999 => true,
        _ => false,
    };
    (sendable && core::str::from_utf8(reason).is_ok()).then_some(code)
}
