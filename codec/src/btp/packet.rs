//! The frame that nearly all are: one ILP packet and nothing beside it, read in one look and written
//! with one copy.
//!
//! ```text
//!  0      1            5          6..=8                                 14..=18
//! +------+------------+----------+-----+---------+---+----------+--------+
//! | type | request id | length   | 1 1 | 3 i l p | 0 | length   | packet |
//! | 1, 6 |     4      |  1..=3   |     |         |   |  1..=3   |        |
//! +------+------------+----------+-----+---------+---+----------+--------+
//!  '------ a word of eight -----' '------ another ------'-'
//! ```
//!
//! Both ways it is a few words at known places. Invariant: what is read here, [`super::Frame`] reads
//! the same from the same bytes; whatever is unusual is no frame of this kind, and left to `Frame`,
//! which alone knows the rules.

use core::ops::Range;

use super::{FRAME_LEN_MAX, FrameType, ILP, LENGTH_OFFSET, OCTET_STREAM};
use crate::ilp::ForwardedPrepare;
use crate::limits::{ILP_HEADER_LEN_MAX, PACKET_LEN_MAX};
use crate::ws::mask::{Mask, copy_masked};

/// A MESSAGE or a RESPONSE that holds one ILP packet and nothing else.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PacketFrame {
    /// [`FrameType::Message`] or [`FrameType::Response`].
    pub frame_type: FrameType,
    /// What joins a question and its answer.
    pub request_id: u32,
    /// Where the packet stands in the bytes that were given; the frame ends with it.
    pub packet: Range<usize>,
}

/// Bytes that are looked at, whatever the frame's length; the shortest packet has more.
const LOOK_LEN: usize = 24;

/// From the number of entries to the content type: one entry, its name, its type.
const ENTRY: u64 = u64::from_le_bytes([1, 1, 3, b'i', b'l', b'p', 0, 0]);
/// Bytes of [`ENTRY`] that are of the entry; the last is the first of the packet's length.
const ENTRY_LEN: usize = 7;
const _: () = assert!(OCTET_STREAM == 0 && ILP.len() == 3);

// Three bytes of length and what stands before them never make a frame too long to be read.
const _: () = assert!(LENGTH_OFFSET + 3 + 0xffff <= FRAME_LEN_MAX);

/// Reads the frame that `bytes` begins with if it is whole and holds one ILP packet alone.
///
/// `None` says nothing about the bytes: [`super::frame_len`] and [`super::Frame`] do.
#[inline]
#[must_use]
pub fn packet_frame(bytes: &[u8]) -> Option<PacketFrame> {
    masked_packet_frame(bytes, Mask::NONE).filter(|frame| frame.packet.end <= bytes.len())
}

/// As [`packet_frame`], of bytes under a mask; whether they are all there is not looked at.
#[inline(always)]
pub(crate) fn masked_packet_frame(bytes: &[u8], mask: Mask) -> Option<PacketFrame> {
    let look: &[u8; LOOK_LEN] = bytes.first_chunk()?;
    let first = word::<0>(look, mask);
    let [frame_type, i, j, k, l, x, y, z] = first.to_le_bytes();
    let (entry_start, len, packet) = match x {
        0..=0x7f => (6, usize::from(x), packet_of::<6, 13>(look, mask)?),
        0x81 if y >= 0x80 => (7, usize::from(y), packet_of::<7, 14>(look, mask)?),
        0x82 if y > 0 => {
            (8, usize::from(u16::from_be_bytes([y, z])), packet_of::<8, 15>(look, mask)?)
        }
        _ => return None,
    };
    let end = entry_start + len;
    let frame_type = match frame_type {
        _ if packet.end != end => return None,
        6 => FrameType::Message,
        1 => FrameType::Response,
        _ => return None,
    };
    // The end as the first length has it: the next frame can be looked at before this one is judged.
    let request_id = u32::from_be_bytes([i, j, k, l]);
    Some(PacketFrame { frame_type, request_id, packet: packet.start..end })
}

/// Where the packet stands, if one entry of its kind is at `ENTRY_START` and its length behind.
#[inline(always)]
fn packet_of<const ENTRY_START: usize, const LEN_START: usize>(
    look: &[u8; LOOK_LEN],
    mask: Mask,
) -> Option<Range<usize>> {
    const { assert!(ENTRY_START + ENTRY_LEN == LEN_START) };
    let entry = word::<ENTRY_START>(look, mask);
    let [x, y, z, ..] = word::<LEN_START>(look, mask).to_le_bytes();
    let (start, len) = match x {
        _ if entry << 8 != ENTRY << 8 => return None,
        0..=0x7f => (LEN_START + 1, usize::from(x)),
        0x81 if y >= 0x80 => (LEN_START + 2, usize::from(y)),
        0x82 if y > 0 => (LEN_START + 3, usize::from(u16::from_be_bytes([y, z]))),
        _ => return None,
    };
    Some(start..start + len)
}

/// The word at `AT`, without its mask.
#[inline(always)]
fn word<const AT: usize>(look: &[u8; LOOK_LEN], mask: Mask) -> u64 {
    const { assert!(AT + 8 <= LOOK_LEN) };
    let bytes = look[AT..].first_chunk().expect("a word is inside of what is looked at");
    u64::from_le_bytes(*bytes) ^ mask.word_at(AT)
}

/// Writes what stands before a packet to the front of `room`: its size.
#[inline(always)]
fn write_header<const LEN_SIZE: usize, const PACKET_LEN_SIZE: usize>(
    header: &mut [u8; ILP_HEADER_LEN_MAX],
    mask: Mask,
    start: u64,
    packet_len: usize,
) -> usize {
    let entry_start = const { LENGTH_OFFSET + LEN_SIZE };
    let rest_start = const { LENGTH_OFFSET + LEN_SIZE + ENTRY_LEN + 1 };
    let size = const { LENGTH_OFFSET + LEN_SIZE + ENTRY_LEN + PACKET_LEN_SIZE };
    let len = written_length::<LEN_SIZE>(ENTRY_LEN + PACKET_LEN_SIZE + packet_len);
    let packet_len = written_length::<PACKET_LEN_SIZE>(packet_len);
    // Each store begins where the last one's bytes end to mean something, and the packet follows.
    let mut put = |at: usize, word: u64| {
        let word = word ^ mask.word_at(at);
        header[at..at + 8].copy_from_slice(&word.to_le_bytes());
    };
    put(0, start | len << (8 * LENGTH_OFFSET));
    put(entry_start, ENTRY | packet_len << (8 * ENTRY_LEN));
    let [second, third, ..] = (packet_len >> 8 ^ mask.word_at(rest_start)).to_le_bytes();
    header[rest_start..rest_start + 2].copy_from_slice(&[second, third]);
    size
}

/// The prefix of a string of so many bytes that it takes `SIZE`, in the first bytes of a word.
#[inline(always)]
const fn written_length<const SIZE: usize>(len: usize) -> u64 {
    let len = len as u64;
    match SIZE {
        1 => len,
        2 => 0x81 | len << 8,
        _ => 0x82 | len & 0xff00 | (len & 0xff) << 16,
    }
}

/// Bytes before a packet of this length, in a frame that carries it alone.
#[inline(always)]
pub(crate) fn packet_header_len(packet_len: usize) -> usize {
    // Either length takes one more byte at each of two edges.
    let longer = [119, 127, 246, 255].map(|edge| usize::from(packet_len > edge));
    LENGTH_OFFSET + 1 + ENTRY_LEN + 1 + longer.into_iter().sum::<usize>()
}

/// Writes a frame to the front of `room` under `mask`, and says how long it is.
#[inline(always)]
pub(crate) fn write_masked_packet(
    room: &mut [u8],
    mask: Mask,
    frame_type: FrameType,
    request_id: u32,
    packet: &[u8],
) -> usize {
    debug_assert!(matches!(frame_type, FrameType::Message | FrameType::Response));
    let header: &mut [u8; ILP_HEADER_LEN_MAX] =
        room.first_chunk_mut().expect("the caller has room for every header");
    let start = u64::from(frame_type as u8) | u64::from(request_id.swap_bytes()) << 8;
    let len = packet.len();
    let start = match len {
        0..=119 => write_header::<1, 1>(header, mask, start, len),
        120..=127 => write_header::<2, 1>(header, mask, start, len),
        128..=246 => write_header::<2, 2>(header, mask, start, len),
        247..=255 => write_header::<3, 2>(header, mask, start, len),
        256..=PACKET_LEN_MAX => write_header::<3, 3>(header, mask, start, len),
        _ => panic!("a checked packet has a bounded length"),
    };
    copy_masked(&mut room[start..start + len], packet, mask.turned(start));
    start + len
}

/// As [`write_masked_packet`], of a PREPARE that is sent on: what is new of it is written over the copy.
#[inline(always)]
pub(crate) fn write_masked_prepare(
    room: &mut [u8],
    mask: Mask,
    request_id: u32,
    packet: &ForwardedPrepare<'_>,
) -> usize {
    let received = packet.received();
    let written = write_masked_packet(room, mask, FrameType::Message, request_id, received);
    let (start, mut bytes) = packet.rewritten();
    let at = written - received.len() + start;
    if mask != Mask::NONE {
        mask.turned(at).apply(&mut bytes);
    }
    room[at..at + bytes.len()].copy_from_slice(&bytes);
    written
}

/// Writes a MESSAGE that carries a PREPARE on to the front of `room`, and says how long it is. What
/// `room` has behind it may have changed.
///
/// # Panics
///
/// As [`write_packet`].
#[inline]
pub fn write_prepare(room: &mut [u8], request_id: u32, packet: &ForwardedPrepare<'_>) -> usize {
    let room = &mut room[..packet.received().len() + ILP_HEADER_LEN_MAX];
    write_masked_prepare(room, Mask::NONE, request_id, packet)
}

/// Writes a frame that carries one ILP packet to the front of `room`, and says how long it is. What
/// `room` has behind it may have changed.
///
/// # Panics
///
/// If `room` has less than [`ILP_HEADER_LEN_MAX`] bytes more than the packet, or the packet is
/// longer than [`PACKET_LEN_MAX`].
#[inline]
pub fn write_packet(
    room: &mut [u8],
    frame_type: FrameType,
    request_id: u32,
    packet: &[u8],
) -> usize {
    let room = &mut room[..packet.len() + ILP_HEADER_LEN_MAX];
    write_masked_packet(room, Mask::NONE, frame_type, request_id, packet)
}

#[cfg(test)]
mod tests {
    use super::super::{Entry, Frame, put_ilp, put_message};
    use super::*;

    /// Around every edge of either length and of what is looked at, and the longest.
    fn lens() -> impl Iterator<Item = usize> {
        (0..=300).chain([65_535 - 18, 1000, 32_767]).chain(PACKET_LEN_MAX - 2..=PACKET_LEN_MAX)
    }

    #[test]
    fn what_is_written_is_what_the_plain_writer_writes_into_dirt_and_nothing_behind_its_room() {
        for len in lens().filter(|len| *len <= PACKET_LEN_MAX) {
            let packet: Vec<u8> = (0..=u8::MAX).cycle().take(len).collect();
            for (frame_type, request_id) in [(FrameType::Message, 7), (FrameType::Response, !9)] {
                let mut plain = Vec::new();
                put_ilp(&mut plain, frame_type, request_id, &packet);
                let room_len = len + ILP_HEADER_LEN_MAX;
                let mut room = vec![0xa5; room_len + 9];
                let written = write_packet(&mut room, frame_type, request_id, &packet);
                assert_eq!(room[..written], plain, "{len}");
                assert_eq!(packet_header_len(len), written - len, "{len}");
                assert_eq!(room[room_len..], [0xa5; 9], "{len}");
                assert_eq!(write_packet(&mut room[..room_len], frame_type, 1, &packet), written);
            }
        }
    }

    #[test]
    fn what_was_written_is_read_whole_and_no_byte_earlier() {
        for len in lens().filter(|len| (LOOK_LEN..=PACKET_LEN_MAX).contains(len)) {
            let mut bytes = Vec::new();
            put_ilp(&mut bytes, FrameType::Response, 0xfedc_ba98, &vec![0x81; len]);
            let end = bytes.len();
            bytes.extend_from_slice(b"\x06next");
            let frame = packet_frame(&bytes).expect("a packet alone");
            assert_eq!((frame.frame_type, frame.request_id), (FrameType::Response, 0xfedc_ba98));
            assert_eq!(frame.packet, end - len..end);
            assert_eq!(packet_frame(&bytes[..end]), Some(frame));
            for shorter in (0..end).rev().take(40).chain(0..LOOK_LEN) {
                assert_eq!(packet_frame(&bytes[..shorter]), None, "{shorter} of {end}");
            }
        }
    }

    #[test]
    fn frames_with_more_than_a_packet_or_without_one_are_left_to_the_general_reader() {
        let ilp = Entry { name: ILP, content_type: OCTET_STREAM, data: &[12; 40] };
        let other = Entry { name: b"ilp2", ..ilp };
        let text = Entry { content_type: 1, ..ilp };
        for entries in [&[][..], &[other], &[text], &[ilp, other], &[other, ilp]] {
            let mut bytes = Vec::new();
            put_message(&mut bytes, 1, entries);
            bytes.resize(bytes.len().max(LOOK_LEN), 0);
            assert!(Frame::new_checked(&bytes).is_ok());
            assert_eq!(packet_frame(&bytes), None);
        }
        let mut behind = Vec::new();
        put_ilp(&mut behind, FrameType::Message, 1, &[12; 40]);
        behind[5] += 1;
        behind.push(0);
        assert!(Frame::new_checked(&behind).is_ok_and(|frame| frame.ilp() == Some(&[12; 40])));
        assert_eq!(packet_frame(&behind), None);
    }

    #[test]
    fn lengths_in_a_longer_form_than_they_need_are_left_to_be_refused() {
        let frame = |len: &[u8], packet_len: &[u8]| {
            let header = [&[6, 0, 0, 0, 1], len, b"\x01\x01\x03ilp\x00", packet_len];
            [&header.concat()[..], &[12; 200]].concat()
        };
        assert!(packet_frame(&frame(&[48], &[40])).is_some());
        assert!(packet_frame(&frame(&[0x81, 209], &[0x81, 200])).is_some());
        for (len, packet_len) in [
            (&[0x81, 48][..], &[40][..]),
            (&[0x82, 0, 48], &[40]),
            (&[0x82, 0, 209], &[0x81, 200]),
            (&[49], &[0x81, 40]),
            (&[50], &[0x82, 0, 40]),
            (&[0x81, 210], &[0x82, 0, 200]),
            (&[0x83, 0, 0, 48], &[40]),
        ] {
            let bytes = frame(len, packet_len);
            assert_eq!(packet_frame(&bytes), None, "{len:?} {packet_len:?}");
            assert!(Frame::new_checked(&bytes).is_err());
        }
    }
}
