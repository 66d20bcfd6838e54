//! `btp.json`: BTP 2.0 frames.

use m2_codec::btp::{
    self, Entry, Frame, FrameType, put_error, put_message, put_response, put_transfer,
};
use serde_json::{Value, json};

use super::{
    Case, Difference, Fields, Kind, Verdict, Which, assert_data, judge, load, number, refused,
};

pub(super) fn cases() -> Vec<Case> {
    load(include_str!("btp.json"))
}

#[test]
fn valid_frames_are_read_to_their_fields_and_written_to_their_bytes() {
    let mut counts = [0; 4];
    for case in cases().iter().filter(|case| case.kind == Kind::Valid) {
        let bytes = case.bytes();
        assert_eq!(btp::frame_len(&bytes), Ok(Some(bytes.len())), "{}", case.id);
        let frame = Frame::new_checked(&bytes).unwrap();
        assert_eq!(frame.frame_type() as u64, case.number("type"), "{}", case.id);
        assert_eq!(u64::from(frame.request_id()), case.number("requestId"), "{}", case.id);
        let entries: Vec<_> = frame.protocol_data().collect();
        check_entries(case, &entries);

        let (mut out, id) = (Vec::new(), frame.request_id());
        let index = match frame.frame_type() {
            FrameType::Message => {
                put_message(&mut out, id, &entries);
                0
            }
            FrameType::Response => {
                put_response(&mut out, id, &entries);
                1
            }
            FrameType::Transfer => {
                let amount = case.number("amount");
                assert_eq!(frame.transfer_amount(), Some(amount), "{}", case.id);
                put_transfer(&mut out, id, amount, &entries);
                2
            }
            FrameType::Error => {
                put_read_error(case, &frame, &entries, &mut out);
                3
            }
        };
        counts[index] += 1;
        assert_eq!(out, bytes, "{}", case.id);
    }
    // MESSAGE, RESPONSE, TRANSFER, ERROR.
    assert_eq!(counts, [114, 63, 21, 24]);
}

fn check_entries(case: &Case, entries: &[Entry<'_>]) {
    let expected = case.field("protocolData").as_array().unwrap();
    assert_eq!(entries.len(), expected.len(), "{}", case.id);
    for (entry, expected) in entries.iter().zip(expected) {
        let expected = expected.as_object().unwrap();
        assert_eq!(entry.name, expected["protocolName"].as_str().unwrap().as_bytes());
        assert_eq!(u64::from(entry.content_type), number(&expected["contentType"]));
        assert_data(expected, entry.data, &case.id);
    }
}

/// Checks the fields of an ERROR and writes it from them.
fn put_read_error(case: &Case, frame: &Frame<'_>, entries: &[Entry<'_>], out: &mut Vec<u8>) {
    let error = frame.error().unwrap();
    assert_eq!(error.code, case.text("code").as_bytes(), "{}", case.id);
    assert_eq!(error.name, case.text("name").as_bytes(), "{}", case.id);
    assert_eq!(error.data, case.text("data").as_bytes(), "{}", case.id);
    let ms = error.triggered_at_ms().unwrap();
    let digits: String = case.text("triggeredAt").chars().filter(char::is_ascii_digit).collect();
    assert_eq!(m2_codec::timestamp::write(ms), digits.as_bytes(), "{}", case.id);
    put_error(
        out,
        frame.request_id(),
        &error.code,
        case.text("name"),
        ms,
        case.text("data").as_bytes(),
        entries,
    );
}

#[test]
fn every_difference_to_a_peer_has_its_rule() {
    judge(&cases(), verdict, DIFFERENCES, OUTCOMES);
}

pub(super) fn verdict(case: &Case) -> Verdict {
    let bytes = case.bytes();
    let frame = Frame::new_checked(&bytes).map_err(refused)?;
    let mut fields = Fields::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("type", json!(frame.frame_type() as u8));
    put("requestId", json!(frame.request_id()));
    put("protocolDataCount", json!(frame.protocol_data().count()));
    if let Some(amount) = frame.transfer_amount() {
        put("amount", json!(amount.to_string()));
    }
    if let Some(error) = frame.error() {
        put("code", json!(String::from_utf8_lossy(&error.code)));
        put("name", json!(String::from_utf8_lossy(error.name)));
    }
    Ok(fields)
}

/// All 454 cases.
const OUTCOMES: &[(&str, usize)] = &[
    ("BadCount", 12),
    ("BadLength", 21),
    ("FrameTooLong", 2),
    ("NotAscii", 4),
    ("Truncated", 107),
    ("UnknownType", 18),
    ("accepted", 290),
];

pub(super) const DIFFERENCES: &[Difference] = &[
    // rs does not know TRANSFER.
    Difference {
        rule: "C2",
        peer: "interledger-rs",
        ours: "accepted",
        which: Which::Notes(&["transfer "]),
        count: 22,
    },
    Difference {
        rule: "C2",
        peer: "interledger-rs",
        ours: "accepted",
        which: Which::Ids(&[
            "-0454", "-0463", "-0468", "-0482", "-0511", "-0515", "-0520", "-0535", "-0541",
            "-0551", "-0555", "-0558", "-0563",
        ]),
        count: 13,
    },
    // rs refuses bytes behind the last field.
    Difference {
        rule: "A6",
        peer: "interledger-rs",
        ours: "accepted",
        which: Which::Notes(&[
            "message + ",
            "response + ",
            "error + ",
            "count smaller than entries",
            "imported interledger-rs btp fuzz_5",
            "imported interledger-rs btp fuzz_10",
        ]),
        count: 7,
    },
    Difference {
        rule: "A6",
        peer: "interledger-rs",
        ours: "accepted",
        which: Which::Ids(&["-0489"]),
        count: 1,
    },
    // JS drops the highest bit of names: its `ilp` may not be ours.
    Difference {
        rule: "A8",
        peer: "btp-packet",
        ours: "NotAscii",
        which: Which::Notes(&["non-ascii protocol name"]),
        count: 1,
    },
    Difference {
        rule: "A8",
        peer: "btp-packet",
        ours: "NotAscii",
        which: Which::Ids(&["-0477", "-0478", "-0538"]),
        count: 3,
    },
    // JS reads a count of up to six bytes.
    Difference {
        rule: "C4",
        peer: "btp-packet",
        ours: "accepted",
        which: Which::Notes(&["count 08.."]),
        count: 1,
    },
    // rs refuses an ERROR for its time.
    Difference {
        rule: "C5",
        peer: "interledger-rs",
        ours: "accepted",
        which: Which::Notes(&["error triggeredAt "]),
        count: 12,
    },
    Difference {
        rule: "C5",
        peer: "interledger-rs",
        ours: "accepted",
        which: Which::Ids(&["-0483", "-0493", "-0525"]),
        count: 3,
    },
];
