//! WebSocket frames on a stream that may be cut anywhere, and the handshake before them.

use m2_codec::btp::{self, PacketFrame};
use m2_codec::limits::FRAMING_LEN_MAX;
use m2_codec::ws::handshake::{
    HandshakeError, check_response, parse_request, put_request, put_response,
};
use m2_codec::ws::{self, CloseReason, Event, Reader, Role};

use crate::reference::{self, End, Seen};

/// Longest message: small, so that inputs reach it.
const MESSAGE_LEN_MAX: usize = 300;

/// A stream says the same, and breaks for the same reason, however it is cut, and in both roles what
/// the reference reads from it; a packet alone is seen where the general reader sees it and nowhere
/// else, with the same bytes and the same reader left behind, and is written again as it came. The
/// first three bytes say which role and where to cut.
pub fn websocket_stream(data: &[u8]) {
    let Some((&[role, first, second], stream)) = data.split_first_chunk() else { return };
    let role = if role % 2 == 0 { Role::Server } else { Role::Client };
    let whole = read(role, &[stream]);
    let a = usize::from(first).min(stream.len());
    let b = (a + usize::from(second)).min(stream.len());
    let pieces = [&stream[..a], &stream[a..b], &stream[b..]];
    assert_eq!(read(role, &pieces), whole, "cut otherwise");
    let pieces: Vec<_> = stream.chunks(1 + a % 5).collect();
    assert_eq!(read(role, &pieces), whole, "cut in pieces");
    let end = match (whole.1, whole.0.last()) {
        (Some(_), _) => End::Refused,
        (None, Some(Seen::Close(_))) => End::Closed,
        (None, _) => End::Open,
    };
    let expected = reference::websocket(stream, role == Role::Server, MESSAGE_LEN_MAX);
    assert_eq!((whole.0, end), expected, "websocket");
}

/// What a reader says of a stream that comes in these pieces, and why it can go no further.
fn read(role: Role, pieces: &[&[u8]]) -> (Vec<Seen>, Option<CloseReason>) {
    let (mut reader, mut buffer, mut seen) =
        (Reader::new(role, MESSAGE_LEN_MAX), Vec::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        let mut start = 0;
        loop {
            packet_alone(&reader, &buffer[start..]);
            match reader.next(&mut buffer[start..]) {
                Err(reason) => return (seen, Some(reason)),
                Ok(None) => break,
                Ok(Some((len, event))) => {
                    assert!(len >= 2 && start + len <= buffer.len(), "a frame of {len} bytes");
                    seen.push(told(&reader, &buffer[start..], &event));
                    start += len;
                }
            }
            if let Some(Seen::Close(_)) = seen.last() {
                return (seen, None);
            }
        }
        buffer.drain(..start);
    }
    (seen, None)
}

/// Holds the reader of packets alone against the general one, on copies of all that they change.
fn packet_alone(reader: &Reader, bytes: &[u8]) {
    let (mut seen_bytes, mut plain_bytes, mut plain) =
        (bytes.to_vec(), bytes.to_vec(), reader.clone());
    let (seen, event) = (reader.next_packet(&mut seen_bytes), plain.next(&mut plain_bytes));
    // All of the message has to be the frame of the packet.
    let expected = match event {
        Ok(Some((end, Event::Message(range)))) => {
            let inner = super::btp_stream::packet_alone(&plain_bytes[range.clone()]);
            inner.filter(|inner| inner.packet.end == range.len()).map(|inner| {
                let packet = range.start + inner.packet.start..end;
                PacketFrame { packet, ..inner }
            })
        }
        _ => None,
    };
    assert_eq!(seen, expected, "next_packet");
    let Some(seen) = seen else {
        return assert_eq!(seen_bytes, bytes, "nothing is seen and something has changed");
    };
    assert_eq!(seen_bytes, plain_bytes, "unmasked otherwise");
    assert_eq!(format!("{reader:?}"), format!("{plain:?}"), "the reader has changed");
    let mask_end = seen.packet.start - btp_header_len(seen.packet.len());
    let mask = (bytes[1] & 0x80 != 0).then(|| bytes[..mask_end].last_chunk().expect("four bytes"));
    let packet = &seen_bytes[seen.packet.clone()];
    let mut room = vec![0xa5; packet.len() + FRAMING_LEN_MAX];
    let len = ws::write_packet(&mut room, mask.copied(), seen.frame_type, seen.request_id, packet);
    assert_eq!(room[..len], bytes[..seen.packet.end], "write_packet");
}

fn btp_header_len(packet_len: usize) -> usize {
    btp::ilp_frame_len(packet_len) - packet_len
}

fn told(reader: &Reader, bytes: &[u8], event: &Event) -> Seen {
    match event {
        Event::Message(range) => Seen::Message(bytes[range.clone()].to_vec()),
        Event::Assembled => Seen::Assembled(reader.assembled().to_vec()),
        Event::Fragment => Seen::Fragment,
        Event::Text => Seen::Text,
        Event::Ping(range) => Seen::Ping(bytes[range.clone()].to_vec()),
        Event::Pong => Seen::Pong,
        Event::Close { code } => Seen::Close(*code),
    }
}

/// A handshake is complete at one byte and at no other: before it a request wants more or is refused
/// for good, and what follows is not looked at. What is accepted is answered so that a client
/// accepts it; a client's own request is accepted.
pub fn websocket_handshake(data: &[u8]) {
    let Some((key, rest)) = data.split_first_chunk::<16>() else { return };
    let whole = parse_request(rest);
    for len in cuts(rest) {
        match parse_request(&rest[..len]) {
            Ok(None) => {
                assert!(
                    whole
                        .as_ref()
                        .map_or(true, |it| it.as_ref().is_none_or(|it| it.consumed > len))
                );
            }
            Ok(Some(request)) => assert_eq!(Ok(Some(request)), whole, "what follows is looked at"),
            Err(_) => assert!(whole.is_err(), "a refused request is accepted when it goes on"),
        }
    }
    if let Ok(Some(request)) = &whole {
        assert!(request.consumed <= rest.len());
        let mut out = Vec::new();
        request.put_response(&mut out);
        assert!(!out.windows(4).rev().skip(1).any(|it| it == b"\r\n\r\n"), "one answer, one end");
        out.clear();
        put_response(&mut out, &request.key);
        let wrong = Err(HandshakeError::BadAccept);
        let key = decoded(&request.key);
        assert_eq!(check_response(&out, &key), Ok(Some(out.len())), "our own answer");
        assert_eq!(check_response(&out, &key.map(|byte| !byte)), wrong, "an answer to another key");
    }
    response(rest, key);
}

fn response(bytes: &[u8], key: &[u8; 16]) {
    let whole = check_response(bytes, key);
    for len in cuts(bytes) {
        match check_response(&bytes[..len], key) {
            Ok(None) => assert!(whole.map_or(true, |it| it.is_none_or(|it| it > len))),
            Ok(consumed) => assert_eq!(Ok(consumed), whole, "what follows is looked at"),
            Err(_) => assert!(whole.is_err(), "a refused answer is accepted when it goes on"),
        }
    }
    let mut out = Vec::new();
    put_request(&mut out, "example.org:7768", "/ilp/btp", key);
    let request = parse_request(&out).expect("our own request").expect("it is complete");
    assert_eq!((request.consumed, &request.path[..]), (out.len(), "/ilp/btp"));
    assert_eq!(decoded(&request.key), *key);
}

/// Some lengths to cut at, more of them near the end.
fn cuts(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let len = bytes.len();
    (0..4).map(move |part| len * part / 4).chain(len.saturating_sub(4)..len)
}

/// 16 bytes in base64.
fn decoded(key: &[u8; 24]) -> [u8; 16] {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => 0,
    };
    let mut bits = 0_u128;
    for byte in &key[..21] {
        bits = bits << 6 | u128::from(digit(*byte));
    }
    bits = bits << 2 | u128::from(digit(key[21]) >> 4);
    bits.to_be_bytes()
}
