//! Frames of every type, read and written; what is refused, and by which name; headers byte for byte.

use super::*;

const ENTRIES: &[Entry<'static>] = &[
    Entry { name: b"info", content_type: JSON, data: b"{}" },
    Entry { name: ILP, content_type: OCTET_STREAM, data: b"first" },
    Entry { name: ILP, content_type: OCTET_STREAM, data: b"second" },
];

/// A frame of every type with the same entries, behind bytes that are none of it.
fn examples() -> [(FrameType, Vec<u8>); 4] {
    let frame = |put: &dyn Fn(&mut Vec<u8>)| {
        let mut out = vec![0xdb; 7];
        put(&mut out);
        out.split_off(7)
    };
    [
        (FrameType::Message, frame(&|out| put_message(out, 0x0102_0304, ENTRIES))),
        (FrameType::Response, frame(&|out| put_response(out, 0x0102_0304, ENTRIES))),
        (FrameType::Transfer, frame(&|out| put_transfer(out, 0x0102_0304, 99, ENTRIES))),
        (
            FrameType::Error,
            frame(&|out| {
                let name = error_name(UNREACHABLE).unwrap();
                put_error(out, 0x0102_0304, UNREACHABLE, name, 1_514_132_072_200, b"why", ENTRIES);
            }),
        ),
    ]
}

#[test]
fn c03_reads_every_field_of_every_type() {
    for (frame_type, bytes) in examples() {
        let frame = Frame::new_checked(&bytes).unwrap();
        assert_eq!(frame.frame_type(), frame_type);
        assert_eq!(frame.request_id(), 0x0102_0304);
        assert_eq!(frame.len(), bytes.len());
        assert_eq!(frame.protocol_data().collect::<Vec<_>>(), ENTRIES);
        assert_eq!(frame.transfer_amount(), (frame_type == FrameType::Transfer).then_some(99));
        assert_eq!(
            frame.error(),
            (frame_type == FrameType::Error).then_some(ErrorFields {
                code: *b"T00",
                name: b"UnreachableError",
                triggered_at: b"20171224161432.200Z",
                data: b"why",
            })
        );
    }
}

#[test]
fn c07_the_first_entry_named_ilp_is_the_packet() {
    for (_, bytes) in examples() {
        let frame = Frame::new_checked(&bytes).unwrap();
        assert_eq!(frame.ilp(), Some(&b"first"[..]));
        assert_eq!(&bytes[frame.ilp_range().unwrap()], b"first");
    }
    let mut none = Vec::new();
    put_response(&mut none, 1, &ENTRIES[..1]);
    assert_eq!(Frame::new_checked(&none).unwrap().ilp_range(), None);
}

#[test]
fn c01_the_header_alone_says_how_long_a_frame_is() {
    for (_, bytes) in examples() {
        for len in 0..bytes.len() {
            let expected = (len >= 6).then_some(bytes.len());
            assert_eq!(frame_len(&bytes[..len]), Ok(expected));
            assert_eq!(Frame::new_checked(&bytes[..len]).unwrap_err(), DecodeError::Truncated);
        }
    }
    let header = |len: &[u8]| [&[6, 0, 0, 0, 1], len].concat();
    assert_eq!(frame_len(&header(&[0x83, 1, 0, 0])), Ok(Some(9 + 65_536)));
    assert_eq!(frame_len(&header(&[0x83, 1, 8, 0])), Err(DecodeError::FrameTooLong));
    assert_eq!(frame_len(&header(&[0x88, 255])), Ok(None));
    assert_eq!(frame_len(&header(&[0x88; 9])), Err(DecodeError::FrameTooLong));
    assert_eq!(frame_len(&header(&[0x88, 0])), Err(DecodeError::BadLength));
    assert_eq!(frame_len(&header(&[0x80])), Err(DecodeError::BadLength));
}

#[test]
fn c02_types_that_btp_2_does_not_have_are_unknown() {
    for first in 0..=u8::MAX {
        let bytes = [first, 0, 0, 0, 1, 2, 1, 0];
        let known = [1, 6].contains(&first);
        // ERROR and TRANSFER have more fields than these bytes.
        let short = [2, 7].contains(&first);
        let expected = match () {
            () if known => None,
            () if short => Some(DecodeError::Truncated),
            () => Some(DecodeError::UnknownType),
        };
        assert_eq!(Frame::new_checked(&bytes).err(), expected, "{first}");
    }
}

#[test]
fn c04_the_number_of_entries_may_have_leading_zeros() {
    let bytes = [6, 0, 0, 0, 1, 10, 2, 0, 1, 3, b'i', b'l', b'p', 0, 1, b'd'];
    assert_eq!(Frame::new_checked(&bytes).unwrap().ilp(), Some(&b"d"[..]));
    let none = [6, 0, 0, 0, 1, 1, 0];
    assert_eq!(Frame::new_checked(&none).unwrap_err(), DecodeError::BadCount);
    // A number that the bytes cannot hold ends with the bytes.
    let many = [6, 0, 0, 0, 1, 9, 8, 255, 255, 255, 255, 255, 255, 255, 255];
    assert_eq!(Frame::new_checked(&many).unwrap_err(), DecodeError::Truncated);
}

#[test]
fn a08_names_and_codes_with_a_high_bit_are_refused() {
    let ilp = [6, 0, 0, 0, 1, 9, 1, 1, 3, b'i' | 0x80, b'l', b'p', 0, 1, b'd'];
    assert_eq!(Frame::new_checked(&ilp).unwrap_err(), DecodeError::NotAscii);
    let (_, error) = &examples()[3];
    for index in [6, 7, 8, 10] {
        let mut error = error.clone();
        error[index] |= 0x80;
        assert_eq!(Frame::new_checked(&error).unwrap_err(), DecodeError::NotAscii);
    }
}

#[test]
fn the_header_of_a_packet_is_no_longer_than_its_limit_and_fits_what_follows() {
    for len in [0, 1, 118, 119, 127, 128, 246, 247, 255, 256, 65_526, crate::limits::PACKET_LEN_MAX]
    {
        let len = len.min(crate::limits::PACKET_LEN_MAX);
        let packet = vec![0x5a; len];
        let mut out = Vec::new();
        put_ilp(&mut out, FrameType::Response, 9, &packet);
        let frame = Frame::new_checked(&out).unwrap();
        assert_eq!(frame.ilp(), Some(&packet[..]));
        assert_eq!(frame.len(), out.len());
        assert!(out.len() - len <= ILP_HEADER_LEN_MAX, "{len}");
        let mut by_entries = Vec::new();
        let entry = Entry { name: ILP, content_type: OCTET_STREAM, data: &packet };
        put_response(&mut by_entries, 9, &[entry]);
        assert_eq!(out, by_entries);
    }
}

#[test]
fn setting_the_request_id_changes_its_four_bytes_only() {
    let (_, before) = &examples()[0];
    let mut after = before.clone();
    set_request_id(&mut after, 0xfffe_fdfc);
    assert_eq!(Frame::new_checked(&after).unwrap().request_id(), 0xfffe_fdfc);
    assert_eq!((before[0], &before[5..]), (after[0], &after[5..]));
}

#[test]
fn what_settles_is_the_first_entry_and_beside_no_packet() {
    let entry = |name, data| Entry { name, content_type: OCTET_STREAM, data };
    let (ours, ilp, other) = (entry(SETTLEMENT, b"hi"), entry(ILP, b"p"), entry(b"x", b""));
    let found = |entries: &[Entry<'_>]| {
        let mut bytes = Vec::new();
        put_message(&mut bytes, 9, entries);
        let frame = Frame::new_checked(&bytes).unwrap();
        frame.settlement().map(|entry| entry.data.to_vec())
    };
    assert_eq!(found(&[ours]), Some(b"hi".to_vec()));
    assert_eq!(found(&[ours, other]), Some(b"hi".to_vec()));
    for entries in [&[][..], &[other, ours], &[ours, ilp], &[ilp, ours]] {
        assert_eq!(found(entries), None);
    }
}

#[test]
fn what_settles_has_one_byte_to_its_limit() {
    let bytes = [7; SETTLEMENT_LEN_MAX + 1];
    let of = |content_type, len| {
        Entry { name: SETTLEMENT, content_type, data: &bytes[..len] }.settlement_data()
    };
    assert_eq!(of(OCTET_STREAM, 0), Err(SettlementError::Empty));
    assert_eq!(of(OCTET_STREAM, 1), Ok(&bytes[..1]));
    assert_eq!(of(OCTET_STREAM, SETTLEMENT_LEN_MAX), Ok(&bytes[1..]));
    assert_eq!(of(OCTET_STREAM, SETTLEMENT_LEN_MAX + 1), Err(SettlementError::TooLong));
    assert_eq!(of(TEXT, 1), Err(SettlementError::ContentType));
}
