//! The last value that is accepted and the first that is not; errors and addresses as text.
//!
//! Each test here was written for a change of the code that no other test noticed.

use std::collections::BTreeSet;

use m2_codec::address::{Address, AddressError, Prefix, check};
use m2_codec::btp::{self, Frame, FrameType};
use m2_codec::url::{BtpUrl, UrlError};
use m2_codec::ws::{self, CloseReason, handshake};
use m2_codec::{ildcp, ilp, oer};

/// All differ, and none is a word or less.
fn assert_sentences(errors: impl IntoIterator<Item = impl ToString>) {
    let sentences: Vec<String> = errors.into_iter().map(|error| error.to_string()).collect();
    let distinct: BTreeSet<&String> = sentences.iter().collect();
    assert_eq!(distinct.len(), sentences.len(), "{sentences:?}");
    assert!(sentences.iter().all(|sentence| sentence.contains(' ')), "{sentences:?}");
}

#[test]
fn every_error_has_a_sentence_of_its_own() {
    use AddressError::{BadCharacter, EmptySegment, NoSegment, TooLong, UnknownScheme};
    assert_sentences([TooLong, UnknownScheme, NoSegment, EmptySegment, BadCharacter]);
    use btp::DecodeError as Btp;
    assert_sentences([
        Btp::Truncated,
        Btp::UnknownType,
        Btp::BadLength,
        Btp::BadCount,
        Btp::FrameTooLong,
        Btp::NotAscii,
    ]);
    use ildcp::{RequestError, ResponseError};
    assert_sentences([
        RequestError::WrongDestination,
        RequestError::NonZeroAmount,
        RequestError::WrongCondition,
    ]);
    assert_sentences([
        ResponseError::WrongFulfillment,
        ResponseError::Truncated,
        ResponseError::BadLength,
        ResponseError::BadAddress,
        ResponseError::BadAssetCode,
    ]);
    use oer::DecodeError as Oer;
    assert_sentences([Oer::Truncated, Oer::BadLength, Oer::TooLong, Oer::BadInteger]);
    use ilp::DecodeError as Ilp;
    assert_sentences([
        Ilp::Truncated,
        Ilp::WrongType,
        Ilp::BadLength,
        Ilp::PacketTooLong,
        Ilp::BadTimestamp,
        Ilp::BadAddress,
        Ilp::DataTooLong,
        Ilp::BadCode,
    ]);
}

#[test]
fn every_reason_to_refuse_a_link_has_a_sentence_of_its_own() {
    use btp::auth::AuthError;
    assert_sentences([
        AuthError::NotMessage,
        AuthError::NotAuth,
        AuthError::NoToken,
        AuthError::Repeated,
        AuthError::NotText,
    ]);
    assert_sentences([
        UrlError::UnknownScheme,
        UrlError::Tls,
        UrlError::NoHost,
        UrlError::BadPort,
        UrlError::BadPath,
        UrlError::BadCharacter,
    ]);
    let reasons = [
        CloseReason::ReservedBits,
        CloseReason::UnknownOpcode,
        CloseReason::Unmasked,
        CloseReason::Masked,
        CloseReason::ControlTooLong,
        CloseReason::ControlFragmented,
        CloseReason::BadLength,
        CloseReason::UnexpectedContinuation,
        CloseReason::MissingContinuation,
        CloseReason::MessageTooBig,
        CloseReason::BadCloseCode,
        CloseReason::BadCloseText,
    ];
    assert_sentences(reasons);
    assert!(reasons.iter().all(|reason| reason.as_str() == reason.to_string()));
    use handshake::HandshakeError as Refused;
    assert_sentences([
        Refused::BadHttp,
        Refused::TooManyHeaders,
        Refused::BadMethod,
        Refused::BadHttpVersion,
        Refused::NoHost,
        Refused::NoUpgrade,
        Refused::NoConnectionUpgrade,
        Refused::BadVersion,
        Refused::BadKey,
        Refused::Refused(503),
        Refused::BadAccept,
        Refused::NotOffered,
    ]);
}

#[test]
fn a_refusal_names_its_status_as_http_does_and_what_else_its_status_asks_for() {
    for (status, phrase) in [
        (400, "Bad Request"),
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (404, "Not Found"),
        (405, "Method Not Allowed"),
        (408, "Request Timeout"),
        (426, "Upgrade Required"),
        (429, "Too Many Requests"),
        (431, "Request Header Fields Too Large"),
        (503, "Service Unavailable"),
        (505, "HTTP Version Not Supported"),
        (599, "Refused"),
    ] {
        let mut answer = Vec::new();
        handshake::put_refusal(&mut answer, status, "why");
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} {phrase}\r\n")), "{answer}");
        assert_eq!(answer.contains("Allow: GET\r\n"), status == 405);
        assert_eq!(answer.contains("Sec-WebSocket-Version: 13\r\n"), status == 426);
        assert!(answer.ends_with("Content-Length: 4\r\n\r\nwhy\n"), "{answer}");
    }
}

#[test]
fn a_protocol_without_a_name_or_with_a_blank_in_it_is_not_chosen() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
                   Sec-WebSocket-Protocol: , b t p, btp\r\n\r\n";
    let request = handshake::parse_request(request.as_bytes()).unwrap().unwrap();
    assert_eq!(request.protocol.as_deref(), Some("btp"));
}

#[test]
fn a_unix_address_is_more_than_the_root_and_a_code_is_told_in_debug_texts() {
    assert_eq!("btp+unix:///".parse::<BtpUrl>().unwrap_err(), UrlError::BadPath);
    assert!("btp+unix:///s".parse::<BtpUrl>().is_ok());
    let code = ilp::ErrorCode::F02_UNREACHABLE;
    assert_eq!(format!("{code:?}"), "ErrorCode(F02)");
    let mut header = Vec::new();
    ws::put_binary_header(&mut header, 1, None);
    assert_eq!(header, [0x82, 1]);
}

#[test]
fn addresses_and_prefixes_are_told_as_they_were_written() {
    let address: Address = "test.alice".parse().unwrap();
    assert_eq!((address.as_str(), address.to_string().as_str()), ("test.alice", "test.alice"));
    let prefix: Prefix = "test.alice".parse().unwrap();
    assert_eq!((prefix.as_str(), prefix.to_string().as_str()), ("test.alice", "test.alice"));
    assert_eq!(prefix, Prefix::from(address.clone()));
    assert_eq!(address.child("till").unwrap().as_str(), "test.alice.till");
}

#[test]
fn a_prefix_leads_to_itself_and_below_and_nowhere_else() {
    let prefix: Prefix = "test.al".parse().unwrap();
    for (address, leads) in
        [("test.al", true), ("test.al.ice", true), ("test.alice", false), ("test", false)]
    {
        assert_eq!(prefix.leads_to(address.as_bytes()), leads, "{address}");
    }
}

#[test]
fn an_address_of_the_greatest_length_is_refused_for_what_is_wrong_with_it() {
    let longest = |last: char| format!("g.{}{last}", "a".repeat(1_020));
    assert_eq!(check(longest('a').as_bytes()), Ok(()));
    assert_eq!(check(longest('!').as_bytes()), Err(AddressError::BadCharacter));
    assert_eq!(check(format!("{}!", longest('a')).as_bytes()), Err(AddressError::TooLong));
}

#[test]
fn the_longest_frame_is_waited_for_and_one_byte_more_is_not() {
    let header = |len: usize| {
        let mut frame = vec![FrameType::Message as u8, 0, 0, 0, 7];
        oer::put_length(&mut frame, len);
        frame
    };
    let start = header(btp::FRAME_LEN_MAX - 16).len();
    let longest = btp::FRAME_LEN_MAX - start;
    assert_eq!(btp::frame_len(&header(longest)), Ok(Some(btp::FRAME_LEN_MAX)));
    assert_eq!(btp::frame_len(&header(longest + 1)), Err(btp::DecodeError::FrameTooLong));
}

#[test]
fn no_frame_is_empty() {
    let mut bytes = Vec::new();
    btp::put_response(&mut bytes, 7, &[]);
    assert!(!Frame::new_checked(&bytes).unwrap().is_empty());
}

/// Lengths on either side of where a prefix grows.
const LENGTHS: [usize; 12] = [0, 1, 31, 60, 120, 127, 128, 180, 255, 256, 1_000, 32_767];

#[test]
fn what_is_appended_has_the_length_that_was_foretold() {
    for data_len in LENGTHS {
        let data = vec![7; data_len];
        let mut packet = Vec::new();
        ilp::put_fulfill(&mut packet, &[1; 32], &data);
        assert_eq!(packet.len(), ilp::fulfill_len(data_len), "{data_len}");
        for destination in [&b"test.m2m"[..], &[b'a'; 127], &[b'a'; 128], &[b'a'; 1_023]] {
            packet.clear();
            ilp::put_prepare(&mut packet, 1, b"20261120120000000", &[1; 32], destination, &data);
            let foretold = ilp::prepare_len(destination.len(), data_len);
            assert_eq!(packet.len(), foretold, "{} {data_len}", destination.len());
            let mut frame = Vec::new();
            btp::put_ilp(&mut frame, FrameType::Message, 1, &packet);
            assert_eq!(frame.len(), btp::ilp_frame_len(packet.len()), "{}", packet.len());
        }
    }
}

#[test]
fn a_message_that_came_in_pieces_can_be_read_and_changed_where_it_stands() {
    let mut reader = ws::Reader::new(ws::Role::Client, 100);
    let mut arrived = [0x02, 1, b'a', 0x80, 2, b'b', b'c'];
    assert_eq!(reader.next(&mut arrived), Ok(Some((3, ws::Event::Fragment))));
    assert_eq!(reader.next(&mut arrived[3..]), Ok(Some((4, ws::Event::Assembled))));
    assert_eq!(reader.assembled_mut(), b"abc");
    reader.assembled_mut()[1] = b'x';
    assert_eq!(reader.assembled(), b"axc");
}

#[test]
fn the_longest_message_is_taken_and_one_byte_more_is_not() {
    let mut whole = [0x82, 3, 1, 2, 3];
    let event = ws::Reader::new(ws::Role::Client, 3).next(&mut whole);
    assert_eq!(event, Ok(Some((5, ws::Event::Message(2..5)))));
    let refused = ws::Reader::new(ws::Role::Client, 2).next(&mut whole);
    assert_eq!(refused, Err(CloseReason::MessageTooBig));
    // A control frame has its own bound.
    let mut ping = [0x89; 127];
    ping[1] = 125;
    let event = ws::Reader::new(ws::Role::Client, 2).next(&mut ping);
    assert_eq!(event, Ok(Some((127, ws::Event::Ping(2..127)))));
}
