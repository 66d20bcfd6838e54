//! Frames, appended to a buffer of the caller.

use super::{
    AMOUNT_LEN, CODE_LEN, ERROR_DATA_LEN_MAX, Entry, FRAME_LEN_MAX, FrameType, ILP, OCTET_STREAM,
    time,
};
use crate::ilp::ForwardedPrepare;
use crate::limits::PACKET_LEN_MAX;
use crate::oer::{self, string_size};

/// Bytes of a frame that carries one ILP packet of this length.
#[inline]
#[must_use]
pub fn ilp_frame_len(packet_len: usize) -> usize {
    let len = ENTRY_LEN + string_size(packet_len);
    5 + string_size(len)
}

/// Appends all of a frame that carries one ILP packet but the packet; its bytes are to follow.
///
/// # Panics
///
/// If `packet_len` is beyond [`PACKET_LEN_MAX`]: no packet that was checked is.
#[inline]
pub fn put_ilp_header(
    out: &mut Vec<u8>,
    frame_type: FrameType,
    request_id: u32,
    packet_len: usize,
) {
    assert!(packet_len <= PACKET_LEN_MAX, "a checked packet has a bounded length");
    debug_assert!(matches!(frame_type, FrameType::Message | FrameType::Response));
    let len = ENTRY_LEN + string_size(packet_len);
    let [i, j, k, l] = request_id.to_be_bytes();
    let t = frame_type as u8;
    // One piece of known size for each pair of prefixes, so that the header goes from registers to
    // its place: two frames leave for each pair of packets, and piece by piece their headers took
    // longer than the copies of their packets.
    match (length_prefix(len), length_prefix(packet_len)) {
        (Prefix::One([a]), Prefix::One([x])) => {
            out.extend_from_slice(&[t, i, j, k, l, a, 1, 1, 3, b'i', b'l', b'p', 0, x]);
        }
        (Prefix::Two([a, b]), Prefix::One([x])) => {
            out.extend_from_slice(&[t, i, j, k, l, a, b, 1, 1, 3, b'i', b'l', b'p', 0, x]);
        }
        (Prefix::Two([a, b]), Prefix::Two([x, y])) => {
            out.extend_from_slice(&[t, i, j, k, l, a, b, 1, 1, 3, b'i', b'l', b'p', 0, x, y]);
        }
        (Prefix::Three([a, b, c]), Prefix::Two([x, y])) => {
            out.extend_from_slice(&[t, i, j, k, l, a, b, c, 1, 1, 3, b'i', b'l', b'p', 0, x, y]);
        }
        (Prefix::Three([a, b, c]), Prefix::Three([x, y, z])) => {
            let rest = [1, 1, 3, b'i', b'l', b'p', 0, x, y, z];
            out.extend_from_slice(&[t, i, j, k, l, a, b, c]);
            out.extend_from_slice(&rest);
        }
        _ => unreachable!("the contents are 8 to 10 bytes longer than the packet"),
    }
}

/// What stands between the two prefixes: one entry, its name, its type.
const ENTRY_LEN: usize = 7;
const _: () = assert!(OCTET_STREAM == 0 && ILP.len() == 3);

/// The prefix of a string of less than 64 KiB.
enum Prefix {
    One([u8; 1]),
    Two([u8; 2]),
    Three([u8; 3]),
}

#[inline]
fn length_prefix(len: usize) -> Prefix {
    const { assert!(PACKET_LEN_MAX + ENTRY_LEN + 3 < 1 << 16) };
    #[expect(clippy::cast_possible_truncation, reason = "each takes its own eight bits")]
    let (high, low) = ((len >> 8) as u8, len as u8);
    match len {
        0..=0x7f => Prefix::One([low]),
        0x80..=0xff => Prefix::Two([0x81, low]),
        _ => Prefix::Three([0x82, high, low]),
    }
}

/// Appends a frame that carries one ILP packet.
///
/// # Panics
///
/// If the packet is longer than [`PACKET_LEN_MAX`].
#[inline]
pub fn put_ilp(out: &mut Vec<u8>, frame_type: FrameType, request_id: u32, packet: &[u8]) {
    put_ilp_header(out, frame_type, request_id, packet.len());
    out.extend_from_slice(packet);
}

/// Appends a MESSAGE that carries a PREPARE on: 4 bytes of the frame and 25 of the packet are new, and
/// the packet is copied once.
///
/// # Panics
///
/// As [`put_ilp`].
#[inline]
pub fn put_prepare(out: &mut Vec<u8>, request_id: u32, packet: &ForwardedPrepare<'_>) {
    put_ilp_header(out, FrameType::Message, request_id, packet.received().len());
    packet.put(out);
}

/// Appends a MESSAGE.
///
/// # Panics
///
/// If the frame would be longer than [`FRAME_LEN_MAX`].
pub fn put_message(out: &mut Vec<u8>, request_id: u32, entries: &[Entry<'_>]) {
    put_header(out, FrameType::Message, request_id, entries_size(entries));
    put_entries(out, entries);
}

/// Appends a RESPONSE.
///
/// # Panics
///
/// If the frame would be longer than [`FRAME_LEN_MAX`].
pub fn put_response(out: &mut Vec<u8>, request_id: u32, entries: &[Entry<'_>]) {
    put_header(out, FrameType::Response, request_id, entries_size(entries));
    put_entries(out, entries);
}

/// Appends a TRANSFER.
///
/// # Panics
///
/// If the frame would be longer than [`FRAME_LEN_MAX`].
pub fn put_transfer(out: &mut Vec<u8>, request_id: u32, amount: u64, entries: &[Entry<'_>]) {
    put_header(out, FrameType::Transfer, request_id, AMOUNT_LEN + entries_size(entries));
    out.extend_from_slice(&amount.to_be_bytes());
    put_entries(out, entries);
}

/// Appends an ERROR.
///
/// # Panics
///
/// If `data` is longer than [`ERROR_DATA_LEN_MAX`], or the frame longer than [`FRAME_LEN_MAX`].
pub fn put_error(
    out: &mut Vec<u8>,
    request_id: u32,
    code: &[u8; 3],
    name: &str,
    triggered_at_ms: u64,
    data: &[u8],
    entries: &[Entry<'_>],
) {
    assert!(data.len() <= ERROR_DATA_LEN_MAX, "the caller bounds the data");
    let triggered_at = time::write(triggered_at_ms);
    let len = CODE_LEN
        + string_size(name.len())
        + string_size(triggered_at.len())
        + string_size(data.len())
        + entries_size(entries);
    put_header(out, FrameType::Error, request_id, len);
    out.extend_from_slice(code);
    oer::put_octet_string(out, name.as_bytes());
    oer::put_octet_string(out, &triggered_at);
    oer::put_octet_string(out, data);
    put_entries(out, entries);
}

/// Rewrites the request id of a frame: four bytes change.
///
/// # Panics
///
/// If `frame` has no header.
#[inline]
pub fn set_request_id(frame: &mut [u8], request_id: u32) {
    frame[1..5].copy_from_slice(&request_id.to_be_bytes());
}

#[inline]
fn put_header(out: &mut Vec<u8>, frame_type: FrameType, request_id: u32, contents_len: usize) {
    let len = super::LENGTH_OFFSET + string_size(contents_len);
    assert!(len <= FRAME_LEN_MAX, "no frame of ours is longer than we accept");
    out.reserve(len);
    let [a, b, c, d] = request_id.to_be_bytes();
    out.extend_from_slice(&[frame_type as u8, a, b, c, d]);
    oer::put_length(out, contents_len);
}

fn put_entries(out: &mut Vec<u8>, entries: &[Entry<'_>]) {
    oer::put_var_uint(out, entries.len() as u64);
    for entry in entries {
        oer::put_octet_string(out, entry.name);
        out.push(entry.content_type);
        oer::put_octet_string(out, entry.data);
    }
}

fn entries_size(entries: &[Entry<'_>]) -> usize {
    let size =
        |entry: &Entry<'_>| string_size(entry.name.len()) + 1 + string_size(entry.data.len());
    oer::var_uint_size(entries.len() as u64) + entries.iter().map(size).sum::<usize>()
}
