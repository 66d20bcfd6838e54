//! `ildcp.json`: IL-DCP requests and responses, each as a whole packet.

use m2_codec::address::Address;
use m2_codec::ildcp::{Response, check_request, put_request, put_response};
use m2_codec::ilp::{Fulfill, PacketType, Prepare, packet_type};
use serde_json::json;

use super::{Case, Difference, Fields, Kind, Verdict, Which, hex, judge, load, refused};

pub(super) fn cases() -> Vec<Case> {
    load(include_str!("ildcp.json"))
}

#[test]
fn valid_packets_are_read_to_their_fields_and_written_to_their_bytes() {
    let mut counts = [0; 2];
    for case in cases().iter().filter(|case| case.kind == Kind::Valid) {
        let bytes = case.bytes();
        let mut out = Vec::new();
        if packet_type(&bytes) == Some(PacketType::Prepare) {
            let view = Prepare::new_checked(&bytes).unwrap();
            assert_eq!(check_request(&view), Ok(()), "{}", case.id);
            if case.fields.is_some() {
                let digits = case.text("expiresAt").chars().filter(char::is_ascii_digit);
                assert!(digits.eq(view.expires_at().iter().map(|&digit| char::from(digit))));
            }
            put_request(&mut out, view.expires_at_ms());
            counts[0] += 1;
        } else {
            let view = Fulfill::new_checked(&bytes).unwrap();
            let response = Response::from_fulfill(&view).unwrap();
            assert_eq!(Some(hex(view.data())), case.payload_hex, "{}", case.id);
            assert_eq!(response.client_address, case.text("clientAddress").as_bytes());
            assert_eq!(u64::from(response.asset_scale), case.number("assetScale"));
            assert_eq!(response.asset_code, case.text("assetCode"), "{}", case.id);
            let address: Address = case.text("clientAddress").parse().unwrap();
            put_response(&mut out, &address, response.asset_scale, case.text("assetCode"));
            counts[1] += 1;
        }
        assert_eq!(out, bytes, "{}", case.id);
    }
    // Requests, responses.
    assert_eq!(counts, [18, 63]);
}

#[test]
fn every_difference_to_a_peer_has_its_rule() {
    judge(&cases(), verdict, DIFFERENCES, OUTCOMES);
}

pub(super) fn verdict(case: &Case) -> Verdict {
    let bytes = case.bytes();
    let mut fields = Fields::new();
    if packet_type(&bytes) == Some(PacketType::Prepare) {
        let view = Prepare::new_checked(&bytes).map_err(refused)?;
        check_request(&view).map_err(refused)?;
        return Ok(fields);
    }
    let view = Fulfill::new_checked(&bytes).map_err(refused)?;
    let response = Response::from_fulfill(&view).map_err(refused)?;
    let address = String::from_utf8_lossy(response.client_address);
    fields.insert("clientAddress".to_owned(), json!(address));
    fields.insert("assetScale".to_owned(), json!(response.asset_scale));
    fields.insert("assetCodeHex".to_owned(), json!(hex(response.asset_code.as_bytes())));
    Ok(fields)
}

/// All 153 cases.
const OUTCOMES: &[(&str, usize)] = &[
    ("BadAddress", 20),
    ("BadAssetCode", 1),
    ("BadLength", 1),
    ("NonZeroAmount", 1),
    ("Truncated", 22),
    ("WrongCondition", 2),
    ("WrongDestination", 1),
    ("WrongFulfillment", 1),
    ("accepted", 104),
];

pub(super) const DIFFERENCES: &[Difference] = &[
    // JS drops the highest bit of the address.
    Difference {
        rule: "A8",
        peer: "ilp-protocol-ildcp",
        ours: "BadAddress",
        which: Which::Ids(&["-0192", "-0207"]),
        count: 2,
    },
    // rs leaves the fulfillment to who sent the PREPARE.
    Difference {
        rule: "B33",
        peer: "interledger-rs",
        ours: "WrongFulfillment",
        which: Which::Notes(&["response fulfillment not zero"]),
        count: 1,
    },
    // The field is UTF-8; an asset that cannot be named cannot be compared with ours.
    Difference {
        rule: "B31",
        peer: "",
        ours: "BadAssetCode",
        which: Which::Notes(&["response assetCode invalid utf8"]),
        count: 2,
    },
    // Whether a packet is expired depends on the clock, which the codec has not; the switch says R02.
    Difference {
        rule: "B2",
        peer: "ilp-protocol-ildcp",
        ours: "accepted",
        which: Which::Notes(&["request expired"]),
        count: 1,
    },
    // Nothing is sold here.
    Difference {
        rule: "B30",
        peer: "ilp-protocol-ildcp",
        ours: "NonZeroAmount",
        which: Which::Notes(&["request with data and non-zero amount"]),
        count: 1,
    },
];
