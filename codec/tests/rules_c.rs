//! Rules of `docs/protocol.md` part c that the codec holds, seen from outside.
//!
//! C2, C4, and the refusals of C1, C3, C7, C8, C9 and C15 have theirs beside the code.

use m2_codec::btp::{self, DecodeError, Entry, Frame, FrameType, auth};
use m2_codec::ws::{self, Event, Opcode, Reader, Role};

#[test]
fn c01_the_bytes_of_a_frame_are_those_of_the_rfc() {
    let mut out = Vec::new();
    btp::put_ilp(&mut out, FrameType::Message, 0x0102_0304, b"abc");
    assert_eq!(out, b"\x06\x01\x02\x03\x04\x0b\x01\x01\x03ilp\x00\x03abc");
    // Three widths of the length prefix: an entry `x` adds 6 bytes to its data.
    for (data_len, prefix) in [(0, &[6][..]), (121, &[0x7f]), (122, &[0x81, 0x80])] {
        let entry = Entry { name: b"x", content_type: 0, data: &vec![0; data_len] };
        let mut out = Vec::new();
        btp::put_message(&mut out, 1, &[entry]);
        assert_eq!(&out[5..5 + prefix.len()], prefix, "{data_len}");
    }
}

#[test]
fn c03_no_entries_are_written_as_01_00() {
    let mut out = Vec::new();
    btp::put_response(&mut out, 5, &[]);
    assert_eq!(out, b"\x01\x00\x00\x00\x05\x02\x01\x00");
    assert_eq!(Frame::new_checked(&out).unwrap().protocol_data().count(), 0);
    // Nothing at all is no number of entries.
    let nothing = Frame::new_checked(b"\x01\x00\x00\x00\x05\x00");
    assert_eq!(nothing.unwrap_err(), DecodeError::Truncated);
}

#[test]
fn c03_a_content_type_may_be_any_byte() {
    for content_type in 0..=u8::MAX {
        let entry = Entry { name: b"custom", content_type, data: b"data" };
        let mut out = Vec::new();
        btp::put_message(&mut out, 1, &[entry]);
        let frame = Frame::new_checked(&out).unwrap();
        assert_eq!(frame.protocol_data().next(), Some(entry));
    }
}

#[test]
fn c05_an_error_is_read_whatever_its_time() {
    for (time, expected) in [
        (&b"20171224161432.279Z"[..], Some(1_514_132_072_279)),
        (b"20171224161432.27Z", Some(1_514_132_072_270)),
        (b"20171224161432Z", Some(1_514_132_072_000)),
        (b"20171224161432.2790Z", None),
        (b"20161231235960.852Z", None),
        (b"garbage", None),
        (b"\xff\x00", None),
        (b"", None),
    ] {
        let mut contents = b"T00\x01N".to_vec();
        m2_codec::oer::put_octet_string(&mut contents, time);
        contents.extend_from_slice(b"\x01d\x01\x00");
        let mut frame = b"\x02\x00\x00\x00\x2a".to_vec();
        m2_codec::oer::put_octet_string(&mut frame, &contents);
        let error = Frame::new_checked(&frame).unwrap().error().unwrap();
        assert_eq!((&error.code, error.name, error.data), (b"T00", &b"N"[..], &b"d"[..]));
        assert_eq!((error.triggered_at, error.triggered_at_ms()), (time, expected));
    }
}

#[test]
fn c07_a_packet_goes_as_the_only_entry_and_is_found_behind_others() {
    let mut out = Vec::new();
    btp::put_ilp(&mut out, FrameType::Response, 7, b"packet");
    let entries: Vec<_> = Frame::new_checked(&out).unwrap().protocol_data().collect();
    let ilp = Entry { name: b"ilp", content_type: btp::OCTET_STREAM, data: b"packet" };
    assert_eq!(entries, [ilp]);
    let info = Entry { name: b"info", content_type: btp::JSON, data: b"{}" };
    let mut out = Vec::new();
    btp::put_message(&mut out, 7, &[info, ilp]);
    let range = Frame::new_checked(&out).unwrap().ilp_range().unwrap();
    assert_eq!(&out[range], b"packet");
}

#[test]
fn c08_the_first_message_is_that_of_the_deployed_clients() {
    let mut out = Vec::new();
    auth::put(&mut out, 1, Some("alice"), "secret");
    let entries =
        b"\x01\x03\x04auth\x00\x00\x0dauth_username\x01\x05alice\x0aauth_token\x01\x06secret";
    assert_eq!(out[..6], [6, 0, 0, 0, 1, u8::try_from(entries.len()).unwrap()]);
    assert_eq!(&out[6..], entries);
}

#[test]
fn c13_the_codes_of_the_rfc_have_its_names() {
    assert_eq!(btp::error_name(btp::UNREACHABLE), Some("UnreachableError"));
    assert_eq!(btp::error_name(btp::NOT_ACCEPTED), Some("NotAcceptedError"));
    assert_eq!(btp::error_name(btp::INVALID_FIELDS), Some("InvalidFieldsError"));
    assert_eq!(btp::error_name(b"F02"), None);
    let known = (0..100).filter(|number| {
        let code = format!("F{number:02}");
        btp::error_name(code.as_bytes().try_into().unwrap()).is_some()
    });
    assert_eq!(known.collect::<Vec<_>>(), [0, 1, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn c15_a_ping_is_answered_with_its_payload_and_each_end_masks_as_it_must() {
    for (role, mask, other) in
        [(Role::Client, Some([1, 2, 3, 4]), Role::Server), (Role::Server, None, Role::Client)]
    {
        let mut sent = Vec::new();
        ws::put_control(&mut sent, Opcode::Ping, b"payload", mask);
        let end = sent.len();
        let Ok(Some((len, Event::Ping(payload)))) = Reader::new(other, 0).next(&mut sent) else {
            panic!("{role:?} sends no ping that is read");
        };
        assert_eq!((len, &sent[payload.clone()]), (end, &b"payload"[..]));
        // The other way the roles are changed, and with them the mask.
        let answer_mask = if mask.is_some() { None } else { Some([5, 6, 7, 8]) };
        let mut pong = Vec::new();
        ws::put_control(&mut pong, Opcode::Pong, &sent[payload], answer_mask);
        assert_eq!(Reader::new(role, 0).next(&mut pong), Ok(Some((pong.len(), Event::Pong))));
    }
}
