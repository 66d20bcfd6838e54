//! `ilp_packet.json`: PREPARE, FULFILL, REJECT, and the lengths and timestamps below them.

use m2_codec::ilp::{
    self, AmountTooLarge, ErrorCode, Fulfill, FulfillRepr, PacketType, Prepare, PrepareRepr,
    Reject, RejectRepr,
};
use m2_codec::{oer, timestamp};
use serde_json::json;

use super::{
    Case, Difference, Fields, Kind, Verdict, Which, array, assert_data, hex, judge, load, refused,
};

pub(super) fn cases() -> Vec<Case> {
    load(include_str!("ilp_packet.json"))
}

#[test]
fn valid_packets_are_read_to_their_fields_and_written_to_their_bytes() {
    let mut counts = [0; 6];
    for case in cases().iter().filter(|case| case.kind == Kind::Valid) {
        let kind = match case.op.as_deref() {
            Some("length_determinant") => {
                length(case);
                3
            }
            Some("varuint") => {
                var_uint(case);
                4
            }
            Some("varoctetstring") => {
                octet_string(case);
                4
            }
            Some("timestamp") => {
                timestamp(case);
                5
            }
            _ => match case.number("type") {
                12 => {
                    prepare(case);
                    0
                }
                13 => {
                    fulfill(case);
                    1
                }
                14 => {
                    reject(case);
                    2
                }
                other => panic!("{}: type {other}", case.id),
            },
        };
        counts[kind] += 1;
    }
    // PREPARE, FULFILL, REJECT, lengths, integers and strings, timestamps.
    assert_eq!(counts, [409, 81, 136, 10, 10, 5]);
}

fn prepare(case: &Case) {
    let packet = case.bytes();
    if case.warning.is_some() {
        // A13: one byte more than the RFC allows is too much for what we send on.
        assert_eq!(case.number("dataLength"), 32_768);
        assert_eq!(Prepare::new_checked(&packet).unwrap_err(), ilp::DecodeError::DataTooLong);
        return;
    }
    let mut cache = timestamp::Cache::new();
    let view = Prepare::new_checked_cached(&packet[..], &mut cache).unwrap();
    let expires_at = case.text("expiresAtWire");
    assert_eq!(view.amount(), case.number("amount"), "{}", case.id);
    assert_eq!(view.expires_at(), expires_at.as_bytes(), "{}", case.id);
    assert_eq!(hex(view.condition()), case.text("executionCondition"), "{}", case.id);
    assert_eq!(view.destination(), case.text("destination").as_bytes(), "{}", case.id);
    assert_data(case.fields.as_ref().unwrap(), view.data(), &case.id);
    assert_eq!(view.as_packet(), packet);

    let expires_at = expires_at.as_bytes().try_into().unwrap();
    let built = PrepareRepr {
        amount: case.number("amount"),
        expires_at_ms: timestamp::parse(expires_at).unwrap(),
        condition: array(case.text("executionCondition")),
        destination: case.text("destination").parse().unwrap(),
        data: view.data().to_vec(),
    };
    let mut out = Vec::new();
    let destination = built.destination.as_bytes();
    let condition = &built.condition;
    ilp::put_prepare(&mut out, built.amount, expires_at, condition, destination, &built.data);
    assert_eq!(out, packet, "{}", case.id);
    // A18: what lies before 1970 is past, and only its digits say by how much.
    if built.expires_at_ms > 0 {
        assert_eq!(built.encode(), packet, "{}", case.id);
    }

    if let Some(offsets) = &case.offsets {
        let offset_of = |field: &[u8]| field.as_ptr() as usize - packet.as_ptr() as usize;
        assert_eq!(offset_of(view.expires_at()), offsets["expiresAt"], "{}", case.id);
        assert_eq!(offset_of(view.condition()), offsets["condition"], "{}", case.id);
        let prefix = oer::length_size(view.destination().len());
        assert_eq!(offset_of(view.destination()) - prefix, offsets["destinationLen"]);
        let mut rewritten = packet.clone();
        ilp::rewrite_prepare(&mut rewritten, !view.amount(), b"20201120114500000");
        let first = packet.iter().zip(&rewritten).position(|(a, b)| a != b);
        assert_eq!(first, Some(offsets["amount"]), "{}", case.id);
    }
}

fn fulfill(case: &Case) {
    let packet = case.bytes();
    let view = Fulfill::new_checked(&packet).unwrap();
    assert_eq!(hex(view.fulfillment()), case.text("fulfillment"), "{}", case.id);
    assert_data(case.fields.as_ref().unwrap(), view.data(), &case.id);
    let built =
        FulfillRepr { fulfillment: array(case.text("fulfillment")), data: view.data().to_vec() };
    assert_eq!(built.encode(), packet, "{}", case.id);
}

fn reject(case: &Case) {
    let packet = case.bytes();
    let view = Reject::new_checked(&packet).unwrap();
    let fields = case.fields.as_ref().unwrap();
    assert_eq!(view.code().0, case.text("code").as_bytes(), "{}", case.id);
    assert_eq!(view.triggered_by(), case.text("triggeredBy").as_bytes(), "{}", case.id);
    assert_eq!(view.message(), case.text("message").as_bytes(), "{}", case.id);
    assert_data(fields, view.data(), &case.id);
    if let Some(f08) = fields.get("f08") {
        let amount = |name: &str| f08[name].as_str().unwrap().parse().unwrap();
        let data =
            AmountTooLarge { received: amount("receivedAmount"), maximum: amount("maximumAmount") };
        assert_eq!(AmountTooLarge::from_bytes(view.data()), Some(data), "{}", case.id);
        assert_eq!(&data.to_bytes()[..], view.data(), "{}", case.id);
    }
    let triggered_by = case.text("triggeredBy");
    let built = RejectRepr {
        code: ErrorCode(case.text("code").as_bytes().try_into().unwrap()),
        triggered_by: (!triggered_by.is_empty()).then(|| triggered_by.parse().unwrap()),
        message: case.text("message").into(),
        data: view.data().to_vec(),
    };
    assert_eq!(built.encode(), packet, "{}", case.id);
}

fn length(case: &Case) {
    let len = usize::try_from(case.number("length")).unwrap();
    let mut out = Vec::new();
    oer::put_length(&mut out, len);
    assert_eq!(out, case.bytes(), "{}", case.id);
    assert_eq!(oer::length(&out, 0), Ok((len, out.len())), "{}", case.id);
}

fn var_uint(case: &Case) {
    let mut out = Vec::new();
    oer::put_var_uint(&mut out, case.number("value"));
    assert_eq!(out, case.bytes(), "{}", case.id);
    assert_eq!(oer::var_uint(&out, 0), Ok((case.number("value"), out.len())), "{}", case.id);
}

fn octet_string(case: &Case) {
    let mut out = Vec::new();
    oer::put_octet_string(&mut out, case.text("value").as_bytes());
    assert_eq!(out, case.bytes(), "{}", case.id);
    assert_eq!(oer::octet_string(&out, 0, 1023), Ok(1..out.len()), "{}", case.id);
}

fn timestamp(case: &Case) {
    let digits: [u8; 17] = case.bytes().try_into().unwrap();
    assert_eq!(digits_of(case.text("iso")).as_bytes(), digits, "{}", case.id);
    let ms = timestamp::parse(&digits).unwrap();
    assert_eq!(timestamp::write(ms), digits, "{}", case.id);
    let mut cache = timestamp::Cache::new();
    assert_eq!((cache.parse(&digits), cache.write(ms)), (Some(ms), digits), "{}", case.id);
}

fn digits_of(iso: &str) -> String {
    iso.chars().filter(char::is_ascii_digit).collect()
}

#[test]
fn every_difference_to_a_peer_has_its_rule() {
    judge(&cases(), verdict, DIFFERENCES, OUTCOMES);
}

pub(super) fn verdict(case: &Case) -> Verdict {
    match case.op.as_deref() {
        Some("length_determinant") => {
            let (len, _) = oer::length(&case.bytes(), 0).map_err(refused)?;
            Ok(fields([("length", json!(len.to_string()))]))
        }
        Some("varuint") => {
            let (value, _) = oer::var_uint(&case.bytes(), 0).map_err(refused)?;
            Ok(fields([("value", json!(value.to_string()))]))
        }
        Some("varoctetstring") => {
            oer::octet_string(&case.bytes(), 0, 1023).map(|_| Fields::new()).map_err(refused)
        }
        Some("timestamp") => {
            let bytes = case.bytes();
            let digits = bytes.as_slice().try_into().map_err(|_| "NotSeventeenDigits")?;
            timestamp::parse(digits).map(|_| Fields::new()).ok_or_else(|| "BadTimestamp".to_owned())
        }
        _ => packet(&case.bytes()),
    }
}

fn packet(packet: &[u8]) -> Verdict {
    match ilp::packet_type(packet) {
        None => Err("NoType".to_owned()),
        Some(PacketType::Prepare) => {
            let view = Prepare::new_checked(packet).map_err(refused)?;
            Ok(fields([
                ("type", json!(12)),
                ("amount", json!(view.amount().to_string())),
                ("expiresAt", json!(iso(view.expires_at()))),
                ("executionCondition", json!(hex(view.condition()))),
                ("destination", json!(String::from_utf8_lossy(view.destination()))),
                ("dataLength", json!(view.data().len())),
            ]))
        }
        Some(PacketType::Fulfill) => {
            let view = Fulfill::new_checked(packet).map_err(refused)?;
            Ok(fields([
                ("type", json!(13)),
                ("fulfillment", json!(hex(view.fulfillment()))),
                ("dataLength", json!(view.data().len())),
            ]))
        }
        Some(PacketType::Reject) => {
            let view = Reject::new_checked(packet).map_err(refused)?;
            Ok(fields([
                ("type", json!(14)),
                ("triggeredBy", json!(String::from_utf8_lossy(view.triggered_by()))),
                ("messageHex", json!(hex(view.message()))),
                ("dataLength", json!(view.data().len())),
            ]))
        }
    }
}

fn fields<const N: usize>(fields: [(&str, serde_json::Value); N]) -> Fields {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The form in which the files write an instant.
fn iso(digits: &[u8; 17]) -> String {
    let text = core::str::from_utf8(digits).unwrap();
    let part = |from: usize, to: usize| &text[from..to];
    format!(
        "{}-{}-{}T{}:{}:{}.{}Z",
        part(0, 4),
        part(4, 6),
        part(6, 8),
        part(8, 10),
        part(10, 12),
        part(12, 14),
        part(14, 17)
    )
}

/// All 1100 cases.
const OUTCOMES: &[(&str, usize)] = &[
    ("BadAddress", 76),
    ("BadCode", 5),
    ("BadInteger", 4),
    ("BadLength", 37),
    ("BadTimestamp", 40),
    ("DataTooLong", 5),
    ("NoType", 29),
    ("NotSeventeenDigits", 6),
    ("PacketTooLong", 4),
    ("Truncated", 125),
    ("accepted", 769),
];

pub(super) const DIFFERENCES: &[Difference] = &[
    // JS has no integers above 2^53; nothing of that length can follow either way.
    Difference {
        rule: "A2",
        peer: "oer-utils",
        ours: "accepted",
        which: Which::Notes(&["length determinant 88ac01055a1debac1e"]),
        count: 1,
    },
    // rs accepts leading zeros in a length.
    Difference {
        rule: "A3",
        peer: "interledger-rs",
        ours: "BadLength",
        which: Which::Notes(&["envelope non-canonical 8", "data length 82 00 non-canonical"]),
        count: 3,
    },
    // JS drops the highest bit of ASCII fields.
    Difference {
        rule: "A8",
        peer: "ilp-packet",
        ours: "BadTimestamp",
        which: Which::Notes(&["timestamp high-bit digits"]),
        count: 1,
    },
    Difference {
        rule: "A8",
        peer: "ilp-packet",
        ours: "BadTimestamp",
        which: Which::Ids(&["-1277"]),
        count: 1,
    },
    Difference {
        rule: "A8",
        peer: "ilp-packet",
        ours: "BadAddress",
        which: Which::Notes(&["destination one high-bit letter"]),
        count: 1,
    },
    Difference {
        rule: "A8",
        peer: "ilp-packet",
        ours: "BadAddress",
        which: Which::Ids(&["-1243", "-1266", "-1269", "-1336"]),
        count: 4,
    },
    // rs does not limit data.
    Difference {
        rule: "A13",
        peer: "interledger-rs",
        ours: "DataTooLong",
        which: Which::Notes(&["large data 32768"]),
        count: 2,
    },
    // JS and rs roll a 60th second over.
    Difference {
        rule: "A17",
        peer: "",
        ours: "BadTimestamp",
        which: Which::Notes(&["timestamp \"20250601235960000\""]),
        count: 2,
    },
    Difference {
        rule: "A17",
        peer: "ilp-packet",
        ours: "BadTimestamp",
        which: Which::Notes(&["timestamp \"20250601235999999\""]),
        count: 1,
    },
    // JS rolls over what does not exist, and reads signs, blanks and `0x`.
    Difference {
        rule: "A16",
        peer: "ilp-packet",
        ours: "BadTimestamp",
        which: Which::Notes(&["timestamp \""]),
        count: 15,
    },
    Difference {
        rule: "A16",
        peer: "ilp-packet",
        ours: "BadTimestamp",
        which: Which::Ids(&["-1226", "-1378", "-1396"]),
        count: 3,
    },
    // JS takes the epoch for no date, and the first hundred years for those from 1900 on.
    Difference {
        rule: "A18",
        peer: "ilp-packet",
        ours: "accepted",
        which: Which::Notes(&["timestamp \"19700101000000000\""]),
        count: 1,
    },
    Difference {
        rule: "A18",
        peer: "ilp-packet",
        ours: "read otherwise",
        which: Which::Notes(&["timestamp \"00010101", "timestamp \"00990101"]),
        count: 2,
    },
    // rs wants an address where it writes none itself.
    Difference {
        rule: "A24",
        peer: "interledger-rs",
        ours: "accepted",
        which: Which::Notes(&["EMPTY triggeredBy", "type byte 12 relabelled 14"]),
        count: 4,
    },
    // JS drops the highest bit of a code too.
    Difference {
        rule: "A27",
        peer: "ilp-packet",
        ours: "BadCode",
        which: Which::Notes(&["fuzzed_0_non_ascii_error_code", "bit flips at 3,9,11"]),
        count: 2,
    },
];
