//! Rules of `docs/protocol.md` part a that the codec holds, seen from outside: A6 to A28.
//!
//! Lengths (A1 to A5), addresses (A22, A26) and timestamps (A16 to A21) have theirs beside the code.

use m2_codec::ilp::{
    self, DecodeError, ErrorCode, Fulfill, PacketType, Prepare, Reject, packet_type, put_fulfill,
    put_prepare, put_reject,
};
use m2_codec::{address, btp, limits, oer, timestamp};

const EXPIRES_AT: &[u8; 17] = b"20261120114500000";

fn prepare(destination: &[u8], data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_prepare(&mut out, 107, EXPIRES_AT, &[0xab; 32], destination, data);
    out
}

fn fulfill(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_fulfill(&mut out, &[0xcd; 32], data);
    out
}

fn reject(code: &[u8; 3], triggered_by: &[u8], message: &[u8], data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_reject(&mut out, ErrorCode(*code), triggered_by, message, data);
    out
}

/// The packet of `packet_type` with these contents, whatever they are.
fn enveloped(packet_type: PacketType, contents: &[u8]) -> Vec<u8> {
    let mut out = vec![packet_type as u8];
    oer::put_octet_string(&mut out, contents);
    out
}

/// `packet` with `more` behind its last field, inside of the envelope.
fn extended(packet: &[u8], more: &[u8]) -> Vec<u8> {
    let contents = oer::octet_string(packet, 1, usize::MAX).expect("a packet");
    let contents = [&packet[contents], more].concat();
    enveloped(packet_type(packet).expect("a packet"), &contents)
}

fn refused_prepare(packet: &[u8]) -> DecodeError {
    Prepare::new_checked(packet).expect_err("a refusal")
}

#[test]
fn a06_bytes_after_the_packet_are_dropped() {
    for junk in [&b"\x00"[..], b"junk", &[0xff; 300]] {
        let packet = prepare(b"g.bob", b"data");
        let long = [&packet[..], junk].concat();
        let view = Prepare::new_checked(&long[..]).unwrap();
        assert_eq!((view.as_packet(), view.packet_len()), (&packet[..], packet.len()));
        let packet = fulfill(b"data");
        let long = [&packet[..], junk].concat();
        assert_eq!(Fulfill::new_checked(&long).unwrap().as_packet(), packet);
        let packet = reject(b"F02", b"g.c", b"no", b"data");
        let long = [&packet[..], junk].concat();
        assert_eq!(Reject::new_checked(&long).unwrap().as_packet(), packet);
        let mut frame = Vec::new();
        btp::put_ilp(&mut frame, btp::FrameType::Message, 1, &packet);
        let long = [&frame[..], junk].concat();
        let view = btp::Frame::new_checked(&long).unwrap();
        assert_eq!((view.len(), view.ilp()), (frame.len(), Some(&packet[..])));
    }
}

#[test]
fn a06_bytes_after_the_last_field_are_ignored() {
    let packet = extended(&prepare(b"g.bob", b"data"), b"later fields");
    let view = Prepare::new_checked(&packet[..]).unwrap();
    assert_eq!((view.destination(), view.data()), (&b"g.bob"[..], &b"data"[..]));
    let packet = extended(&fulfill(b"data"), b"later fields");
    assert_eq!(Fulfill::new_checked(&packet).unwrap().data(), b"data");
    let packet = extended(&reject(b"F02", b"g.c", b"no", b"data"), b"later fields");
    assert_eq!(Reject::new_checked(&packet).unwrap().data(), b"data");
    // In a frame they stand behind the last entry; the length prefix counts them.
    let frame = [6, 0, 0, 0, 1, 4, 1, 0, 0xff, 0xff];
    let view = btp::Frame::new_checked(&frame).unwrap();
    assert_eq!((view.len(), view.protocol_data().count()), (10, 0));
}

#[test]
fn a07_bytes_after_the_last_field_stay_in_the_packet_and_those_after_it_do_not() {
    let packet = extended(&prepare(b"g.bob", b"data"), b"later fields");
    let mut buffer = [&packet[..], b"junk"].concat();
    let view = Prepare::new_checked(&buffer[..]).unwrap();
    assert_eq!(view.as_packet(), packet);
    ilp::rewrite_prepare(&mut buffer, 1, b"20261120114459000");
    assert_eq!(&buffer[27..packet.len()], &packet[27..], "the condition and all behind it");
    let answer = extended(&fulfill(b"data"), b"later fields");
    let buffer = [&answer[..], b"junk"].concat();
    assert_eq!(Fulfill::new_checked(&buffer).unwrap().as_packet(), answer);
}

#[test]
fn a08_a_high_bit_in_an_ascii_field_is_refused() {
    let packet = prepare(b"test.alice", b"data");
    let with_high_bit = |index: usize| {
        let mut packet = packet.clone();
        packet[index] |= 0x80;
        packet
    };
    for index in 10..27 {
        assert_eq!(refused_prepare(&with_high_bit(index)), DecodeError::BadTimestamp);
    }
    for index in 60..70 {
        assert_eq!(refused_prepare(&with_high_bit(index)), DecodeError::BadAddress);
    }
    let packet = reject(b"F02", b"test.c", b"", b"");
    for (index, expected) in [(2, DecodeError::BadCode), (6, DecodeError::BadAddress)] {
        let mut packet = packet.clone();
        packet[index] |= 0x80;
        assert_eq!(Reject::new_checked(&packet).unwrap_err(), expected);
    }
}

#[test]
fn a09_a_first_byte_other_than_12_13_and_14_is_no_packet() {
    let mut packet = prepare(b"g.bob", b"data");
    for first in 0..=u8::MAX {
        packet[0] = first;
        let expected = match first {
            12 => Some(PacketType::Prepare),
            13 => Some(PacketType::Fulfill),
            14 => Some(PacketType::Reject),
            _ => None,
        };
        assert_eq!(packet_type(&packet), expected);
        if first != 12 {
            assert_eq!(refused_prepare(&packet), DecodeError::WrongType);
        }
        if first != 13 {
            assert_eq!(Fulfill::new_checked(&packet).unwrap_err(), DecodeError::WrongType);
        }
        if first != 14 {
            assert_eq!(Reject::new_checked(&packet).unwrap_err(), DecodeError::WrongType);
        }
    }
    assert_eq!(packet_type(&[]), None);
}

#[test]
fn a10_the_prefix_moves_every_field_of_a_prepare_by_its_own_length() {
    for (data_len, start) in [(0, 2), (65, 2), (66, 3), (192, 3), (193, 4), (32_767, 4)] {
        let packet = prepare(b"g.b", &vec![0; data_len]);
        let view = Prepare::new_checked(&packet[..]).unwrap();
        assert_eq!(&packet[start..start + 8], &107_u64.to_be_bytes(), "{data_len}");
        assert_eq!(&packet[start + 8..start + 25], EXPIRES_AT);
        assert_eq!(&packet[start + 25..start + 57], view.condition());
        assert_eq!(&packet[start + 57..start + 61], b"\x03g.b");
    }
}

#[test]
fn a10_the_shortest_prepare_has_64_bytes_and_the_longest_33857() {
    assert_eq!(prepare(b"g.a", b"").len(), 64);
    let longest_address = [b"g.", &[b'a'; address::LEN_MAX - 2][..]].concat();
    let longest = prepare(&longest_address, &[0; limits::DATA_LEN_MAX]);
    assert_eq!(longest.len(), 33_857);
    assert!(Prepare::new_checked(&longest[..]).is_ok());
    let longer = extended(&longest, b"x");
    assert_eq!(refused_prepare(&longer), DecodeError::PacketTooLong);
    for contents_len in 0..62 {
        let contents = &prepare(b"g.a", b"")[2..][..contents_len];
        let short = enveloped(PacketType::Prepare, contents);
        assert_eq!(refused_prepare(&short), DecodeError::Truncated, "{contents_len}");
    }
}

#[test]
fn a11_the_shortest_fulfill_has_35_bytes_and_the_longest_of_the_rfc_32806() {
    assert_eq!(fulfill(b"").len(), 35);
    assert_eq!(fulfill(&[0; limits::DATA_LEN_MAX]).len(), 32_806);
    assert_eq!(&fulfill(b"")[..3], [13, 33, 0xcd]);
    for contents_len in 0..33 {
        let short = enveloped(PacketType::Fulfill, &fulfill(b"")[2..][..contents_len]);
        assert_eq!(Fulfill::new_checked(&short).unwrap_err(), DecodeError::Truncated);
    }
}

#[test]
fn a12_the_longest_reject_of_the_rfc_has_41997_bytes() {
    let address = [b"g.", &[b'a'; address::LEN_MAX - 2][..]].concat();
    let message = [b'm'; limits::MESSAGE_LEN_MAX];
    let longest = reject(b"F99", &address, &message, &[0; limits::DATA_LEN_MAX]);
    assert_eq!(longest.len(), 41_997);
    let view = Reject::new_checked(&longest).unwrap();
    assert_eq!((view.triggered_by(), view.message()), (&address[..], &message[..]));
}

#[test]
fn a13_data_of_32768_bytes_is_refused_in_a_prepare_and_accepted_in_an_answer() {
    let data = vec![0x5a; 32_769];
    let with_data = |packet: &[u8], data_len: usize| {
        let fields = &packet[2..packet.len() - 1];
        let mut contents = fields.to_vec();
        oer::put_octet_string(&mut contents, &data[..data_len]);
        enveloped(packet_type(packet).unwrap(), &contents)
    };
    let empty = prepare(b"g.bob", b"");
    assert!(Prepare::new_checked(&with_data(&empty, 32_767)[..]).is_ok());
    assert_eq!(refused_prepare(&with_data(&empty, 32_768)), DecodeError::DataTooLong);
    let empty = fulfill(b"");
    assert_eq!(Fulfill::new_checked(&with_data(&empty, 32_768)).unwrap().data().len(), 32_768);
    let too_long = with_data(&empty, 32_769);
    assert_eq!(Fulfill::new_checked(&too_long).unwrap_err(), DecodeError::DataTooLong);
    let empty = reject(b"F02", b"g.c", b"no", b"");
    assert_eq!(Reject::new_checked(&with_data(&empty, 32_768)).unwrap().data().len(), 32_768);
    let too_long = with_data(&empty, 32_769);
    assert_eq!(Reject::new_checked(&too_long).unwrap_err(), DecodeError::DataTooLong);
}

#[test]
fn a14_data_of_32767_bytes_passes_whatever_it_is() {
    let data: Vec<u8> = (0..32_767).map(|index: u32| index.to_be_bytes()[3] ^ 0xa5).collect();
    let packet = prepare(b"test.receiver.stream", &data);
    assert_eq!(Prepare::new_checked(&packet[..]).unwrap().data(), data);
}

#[test]
fn a15_a_frame_has_room_for_the_longest_packet_and_24_kib_beside_it() {
    let packet = vec![0; limits::PACKET_LEN_MAX];
    let beside = vec![0; 24 * 1024 - limits::ILP_HEADER_LEN_MAX - 16];
    let entry = |name, data| btp::Entry { name, content_type: btp::OCTET_STREAM, data };
    let mut frame = Vec::new();
    btp::put_message(&mut frame, 1, &[entry(btp::ILP, &packet), entry(b"beside", &beside)]);
    assert!(frame.len() <= btp::FRAME_LEN_MAX);
    assert_eq!(btp::frame_len(&frame), Ok(Some(frame.len())));
    assert_eq!(btp::Frame::new_checked(&frame).unwrap().ilp(), Some(&packet[..]));
}

#[test]
fn a19_an_expiry_that_does_not_exist_is_refused_and_not_rolled_over() {
    let mut cache = timestamp::Cache::new();
    for digits in [
        b"20250229123045678",
        b"20250631123045678",
        b"20251301123045678",
        b"20250601240000000",
        b"20250601236000000",
        b"20250601235960000",
        b"2025060112304567 ",
        b"-0250601123045678",
    ] {
        let mut packet = prepare(b"g.bob", b"data");
        packet[10..27].copy_from_slice(digits);
        assert_eq!(refused_prepare(&packet), DecodeError::BadTimestamp);
        let cached = Prepare::new_checked_cached(&packet[..], &mut cache);
        assert_eq!(cached.unwrap_err(), DecodeError::BadTimestamp);
    }
}

#[test]
fn a23_a_prepare_to_no_address_is_refused() {
    for destination in [&b""[..], b"g", b"g.", b"g..a", b"G.a", b"test4.a", b"g.a b", b"g.a."] {
        assert_eq!(refused_prepare(&prepare(destination, b"")), DecodeError::BadAddress);
    }
    let mut contents = prepare(b"g.a", b"")[2..59].to_vec();
    oer::put_octet_string(&mut contents, &[b'g'; address::LEN_MAX + 1]);
    let packet = enveloped(PacketType::Prepare, &contents);
    assert_eq!(refused_prepare(&packet), DecodeError::BadAddress);
}

#[test]
fn a24_a_reject_may_lack_its_address_and_not_have_a_wrong_one() {
    let packet = reject(b"T00", b"", b"m", b"");
    let view = Reject::new_checked(&packet).unwrap();
    assert_eq!((view.triggered_by(), view.as_packet()), (&b""[..], &packet[..]));
    for triggered_by in [&b"g"[..], b"g.", b"nope.a", b"g.a b"] {
        let packet = reject(b"T00", triggered_by, b"m", b"");
        assert_eq!(Reject::new_checked(&packet).unwrap_err(), DecodeError::BadAddress);
    }
}

#[test]
fn a27_unknown_codes_are_read_and_those_with_a_high_bit_refused() {
    for code in [b"F10", b"ZZZ", b"f00", b"000", b"   ", b"\x00\x00\x00", b"\x7f\x7f\x7f"] {
        let packet = reject(code, b"g.c", b"", b"");
        let view = Reject::new_checked(&packet).unwrap();
        assert_eq!((view.code().0, view.code().name()), (*code, None));
    }
    for code in [b"\xc602", b"F\xb02", b"F0\xb2"] {
        let packet = reject(code, b"g.c", b"", b"");
        assert_eq!(Reject::new_checked(&packet).unwrap_err(), DecodeError::BadCode);
    }
}

#[test]
fn a28_a_message_may_be_any_bytes_and_longer_than_ours() {
    let packet = reject(b"F02", b"g.c", b"\xff\xfe\x00", b"");
    assert_eq!(Reject::new_checked(&packet).unwrap().message(), b"\xff\xfe\x00");
    let mut contents = b"F02\x03g.c".to_vec();
    oer::put_octet_string(&mut contents, &[b'm'; 9000]);
    oer::put_octet_string(&mut contents, b"");
    let packet = enveloped(PacketType::Reject, &contents);
    assert_eq!(Reject::new_checked(&packet).unwrap().message().len(), 9000);
}

#[test]
#[should_panic(expected = "our messages are sentences")]
fn a28_a_message_of_ours_has_no_more_than_8191_bytes() {
    let _ = reject(b"F02", b"g.c", &[b'm'; 8192], b"");
}
