//! PREPAREs that are none: what the target says to them, and that it passes none of them on.
//!
//! Each is wrong in one place only, and would otherwise reach the receiver.

use m2_codec::ilp::ErrorCode;
use m2_codec::{address, oer};

use super::super::packet::{envelope, reject};
use super::super::peers::Peers;
use super::Level::{Must, Open, Should};
use super::Needs::Receiver;
use super::{Came, Check, Played};

const ENVELOPE: &str = "IL-RFC 27, Packet Format";
const LENGTH: &str = "IL-RFC 30, Length Determinant";
const TIMESTAMP: &str = "IL-RFC 30, Timestamps";
const ADDRESS: &str = "IL-RFC 15, Address Requirements";

const REFUSED: &str = "a REJECT, and nothing is forwarded";

/// Bytes that are no PREPARE.
type Build = fn(&Peers) -> Vec<u8>;

macro_rules! refused {
    ($id:literal, $clause:expr, $level:expr, $sent:literal, $build:expr) => {
        Check {
            id: $id,
            clause: $clause,
            level: $level,
            needs: Receiver,
            sent: $sent,
            expected: REFUSED,
            play: |peers| refused(peers, $build),
        }
    };
}

pub(super) const CHECKS: &[Check] = &[
    refused!("ilp.no-bytes", ENVELOPE, Must, "an entry `ilp` of no bytes", no_bytes),
    refused!("ilp.unknown-type", ENVELOPE, Must, "a PREPARE whose type byte is 11", unknown_type),
    refused!("ilp.answer-as-request", ENVELOPE, Must, "a FULFILL in a MESSAGE", fulfill),
    refused!("ilp.truncated", ENVELOPE, Must, "a PREPARE without its last byte", truncated),
    refused!(
        "ilp.field-truncated",
        ENVELOPE,
        Must,
        "a PREPARE whose data has a byte less than it says",
        field_truncated
    ),
    refused!(
        "oer.length-beyond",
        LENGTH,
        Must,
        "a PREPARE with the length prefix 84 ff ff ff ff",
        length_beyond
    ),
    refused!(
        "oer.length-indefinite",
        LENGTH,
        Must,
        "a PREPARE with the length prefix 80",
        length_indefinite
    ),
    Check {
        id: "oer.length-non-canonical",
        clause: LENGTH,
        level: Open,
        needs: Receiver,
        sent: "a PREPARE whose length prefix has a leading zero",
        expected: "IL-RFC 27 lets a connector take it or refuse it",
        play: non_canonical,
    },
    refused!(
        "timestamp.not-digits",
        TIMESTAMP,
        Must,
        "a PREPARE that expires at 2x991231235959999",
        not_digits
    ),
    refused!(
        "timestamp.month-13",
        TIMESTAMP,
        Must,
        "a PREPARE that expires in month 13 of 2099",
        month_13
    ),
    refused!(
        "timestamp.february-30",
        TIMESTAMP,
        Must,
        "a PREPARE that expires on 30 February 2099",
        february_30
    ),
    refused!(
        "timestamp.hour-24",
        TIMESTAMP,
        Must,
        "a PREPARE that expires in hour 24 of a day",
        hour_24
    ),
    refused!(
        "timestamp.second-60",
        TIMESTAMP,
        Must,
        "a PREPARE that expires in a 60th second",
        second_60
    ),
    refused!("address.empty", ADDRESS, Must, "a PREPARE without a destination", no_destination),
    refused!(
        "address.high-bit",
        ADDRESS,
        Must,
        "a PREPARE to the receiver, with the highest bit of one letter set",
        high_bit
    ),
    refused!(
        "address.empty-segment",
        ADDRESS,
        Must,
        "a PREPARE to the receiver's address and `..x`",
        empty_segment
    ),
    refused!(
        "address.last-dot",
        ADDRESS,
        Must,
        "a PREPARE to the receiver's address and `.`",
        last_dot
    ),
    refused!(
        "address.bad-character",
        ADDRESS,
        Must,
        "a PREPARE to the receiver's address and `.a b`",
        bad_character
    ),
    refused!(
        "address.too-long",
        ADDRESS,
        Must,
        "a PREPARE to an address of the receiver's with 1024 bytes",
        too_long
    ),
    Check {
        id: "address.longest",
        clause: ADDRESS,
        level: Must,
        needs: Receiver,
        sent: "a PREPARE to an address of the receiver's with 1023 bytes",
        expected: "it reaches the receiver",
        play: longest_address,
    },
    refused!(
        "ilp.data-too-long",
        ENVELOPE,
        Should,
        "a PREPARE with 32,768 bytes of data, one more than the ASN.1 has",
        data_too_long
    ),
    Check {
        id: "errors.f01",
        clause: "IL-RFC 27, Error Codes",
        level: Should,
        needs: Receiver,
        sent: "each of these malformed PREPAREs",
        expected: "REJECT F01 Invalid Packet",
        play: all_f01,
    },
];

/// What [`all_f01`] sends: no row of an open clause, and not the one that many peers take.
const MALFORMED: &[(&str, Build)] = &[
    ("ilp.no-bytes", no_bytes),
    ("ilp.unknown-type", unknown_type),
    ("ilp.answer-as-request", fulfill),
    ("ilp.truncated", truncated),
    ("ilp.field-truncated", field_truncated),
    ("oer.length-beyond", length_beyond),
    ("oer.length-indefinite", length_indefinite),
    ("timestamp.not-digits", not_digits),
    ("timestamp.month-13", month_13),
    ("timestamp.february-30", february_30),
    ("timestamp.hour-24", hour_24),
    ("timestamp.second-60", second_60),
    ("address.empty", no_destination),
    ("address.high-bit", high_bit),
    ("address.empty-segment", empty_segment),
    ("address.last-dot", last_dot),
    ("address.bad-character", bad_character),
    ("address.too-long", too_long),
];

fn refused(peers: &mut Peers, build: Build) -> Played {
    let (answer, count) = play(peers, build)?;
    Ok(Came::refused(&answer, count > 0))
}

fn non_canonical(peers: &mut Peers) -> Played {
    let (answer, count) = play(peers, |peers| {
        let contents = peers.packet().contents();
        let mut bytes = vec![12, 0x83, 0];
        bytes.extend_from_slice(&u16::try_from(contents.len()).expect("short").to_be_bytes());
        bytes.extend_from_slice(&contents);
        bytes
    })?;
    Ok(if count > 0 { Came::told("it was forwarded") } else { Came::answer(true, &answer) })
}

/// Sends it; the answer, and how many PREPAREs came out of it.
fn play(peers: &mut Peers, build: Build) -> Result<(super::Answer, usize), super::Stop> {
    let bytes = build(peers);
    let wait = peers.plan.wait;
    let refusal = reject(*b"F99", b"", b"refused by the receiver", b"");
    let exchange = peers.exchange(&bytes, None, wait, &mut |wire, arrived| {
        wire.send_packet(m2_codec::btp::FrameType::Response, arrived.id, &refusal);
    })?;
    Ok((exchange.answer, exchange.arrived.len()))
}

fn all_f01(peers: &mut Peers) -> Played {
    let mut others = Vec::new();
    for &(id, build) in MALFORMED {
        peers.refresh()?;
        let (answer, count) = play(peers, build)?;
        match answer.code() {
            _ if count > 0 => others.push(format!("{id}: forwarded")),
            Some(ErrorCode::F01_INVALID_PACKET) => {}
            Some(code) => others.push(format!("{id}: {code}")),
            None => others.push(format!("{id}: {answer}")),
        }
    }
    Ok(match others.is_empty() {
        true => Came::new(true, format!("REJECT F01 Invalid Packet to all {}", MALFORMED.len())),
        false => {
            Came::new(false, format!("other than F01 to {}: {}", others.len(), others.join("; ")))
        }
    })
}

fn longest_address(peers: &mut Peers) -> Played {
    let packet = with_destination(peers, &long_address(peers, address::LEN_MAX));
    let exchange = peers.pay(&packet)?;
    Ok(Came::answer(exchange.answer.fulfill().is_some(), &exchange.answer))
}

fn no_bytes(_: &Peers) -> Vec<u8> {
    Vec::new()
}

fn unknown_type(peers: &Peers) -> Vec<u8> {
    let mut bytes = peers.packet().bytes();
    bytes[0] = 11;
    bytes
}

fn fulfill(peers: &Peers) -> Vec<u8> {
    peers.packet().fulfill(b"")
}

fn truncated(peers: &Peers) -> Vec<u8> {
    let mut bytes = peers.packet().bytes();
    bytes.pop();
    bytes
}

fn field_truncated(peers: &Peers) -> Vec<u8> {
    let mut contents = peers.packet().contents();
    contents.pop();
    envelope(&contents)
}

fn length_beyond(peers: &Peers) -> Vec<u8> {
    with_prefix(peers, &[0x84, 0xff, 0xff, 0xff, 0xff])
}

fn length_indefinite(peers: &Peers) -> Vec<u8> {
    with_prefix(peers, &[0x80])
}

fn with_prefix(peers: &Peers, prefix: &[u8]) -> Vec<u8> {
    [&[12], prefix, &peers.packet().contents()].concat()
}

fn not_digits(peers: &Peers) -> Vec<u8> {
    expiring_at(peers, b"2x991231235959999")
}

fn month_13(peers: &Peers) -> Vec<u8> {
    expiring_at(peers, b"20991301000000000")
}

fn february_30(peers: &Peers) -> Vec<u8> {
    expiring_at(peers, b"20990230000000000")
}

fn hour_24(peers: &Peers) -> Vec<u8> {
    expiring_at(peers, b"20990601240000000")
}

fn second_60(peers: &Peers) -> Vec<u8> {
    expiring_at(peers, b"20990601235960000")
}

fn expiring_at(peers: &Peers, expires_at: &[u8; 17]) -> Vec<u8> {
    let mut packet = peers.packet();
    packet.expires_at = *expires_at;
    packet.bytes()
}

fn no_destination(peers: &Peers) -> Vec<u8> {
    with_destination(peers, b"").bytes()
}

fn high_bit(peers: &Peers) -> Vec<u8> {
    let mut destination = peers.packet().destination;
    if let Some(last) = destination.last_mut() {
        *last |= 0x80;
    }
    with_destination(peers, &destination).bytes()
}

fn empty_segment(peers: &Peers) -> Vec<u8> {
    behind(peers, b"..x")
}

fn last_dot(peers: &Peers) -> Vec<u8> {
    behind(peers, b".")
}

fn bad_character(peers: &Peers) -> Vec<u8> {
    behind(peers, b".a b")
}

fn too_long(peers: &Peers) -> Vec<u8> {
    with_destination(peers, &long_address(peers, address::LEN_MAX + 1)).bytes()
}

fn data_too_long(peers: &Peers) -> Vec<u8> {
    let mut contents = peers.packet().with_data(Vec::new()).contents();
    contents.pop();
    oer::put_octet_string(&mut contents, &[7; 32_768]);
    envelope(&contents)
}

fn behind(peers: &Peers, tail: &[u8]) -> Vec<u8> {
    let destination = [&peers.packet().destination, tail].concat();
    with_destination(peers, &destination).bytes()
}

/// An address of the receiver's with so many bytes.
fn long_address(peers: &Peers, len: usize) -> Vec<u8> {
    let mut destination = peers.packet().destination;
    destination.push(b'.');
    destination.resize(len.max(destination.len() + 1), b'a');
    destination
}

fn with_destination(peers: &Peers, destination: &[u8]) -> super::super::packet::Packet {
    peers.packet_to(destination)
}
