//! One ILP packet in one message of one frame, as nearly all frames are: [`crate::btp::PacketFrame`]
//! with the WebSocket's header before it and, from a client, under its mask.
//!
//! ```text
//!  82 | len 1 or 3 | mask 4 | type, request id, length | one entry, ilp | packet          |
//!                  | client |<- unmasked in registers to be looked at ->|
//!                           |<--------- unmasked in place, or masked in the copy -------->|
//! ```
//!
//! Invariant: a frame that is read here is read the same by [`super::Reader::next`] and
//! [`crate::btp::Frame`]; whatever is unusual is left to them, and its bytes as they were.

use super::mask::Mask;
use super::{FIN, MASK, Opcode};
use crate::btp::{
    FrameType, PacketFrame, masked_packet_frame, packet_header_len, write_masked_packet,
    write_masked_prepare,
};
use crate::ilp::ForwardedPrepare;
use crate::limits::{FRAMING_LEN_MAX, ILP_HEADER_LEN_MAX, PACKET_LEN_MAX};

/// First byte of a binary message in one frame.
const BINARY: u8 = FIN | Opcode::Binary as u8;

// So the longest form of a length is not needed.
const _: () = assert!(ILP_HEADER_LEN_MAX + PACKET_LEN_MAX <= 0xffff);

/// As [`super::Reader::next_packet`], outside of a message; `MASK_BIT` is what has to be set, or 0.
#[inline(always)]
pub(super) fn packet_frame<const MASK_BIT: u8>(
    buf: &mut [u8],
    len_max: usize,
) -> Option<PacketFrame> {
    let &[first, second, high, low, ..] = &*buf else { return None };
    let (len, len_end) = match second ^ MASK_BIT {
        len @ 0..=125 => (usize::from(len), 2),
        126 => (usize::from(u16::from_be_bytes([high, low])), 4),
        _ => return None,
    };
    if first != BINARY || len > len_max || (len_end == 4 && len <= 125) {
        return None;
    }
    let start = if MASK_BIT == 0 { len_end } else { len_end + 4 };
    let (header, rest) = buf.split_at_mut_checked(start)?;
    let payload = rest.get_mut(..len)?;
    let mask = match MASK_BIT {
        0 => Mask::NONE,
        _ => Mask::new(*header.last_chunk()?),
    };
    let frame = masked_packet_frame(payload, mask)?;
    if frame.packet.end != len {
        return None;
    }
    if MASK_BIT != 0 {
        mask.apply(payload);
    }
    Some(PacketFrame { packet: start + frame.packet.start..start + len, ..frame })
}

/// Writes a binary message with one BTP frame with one ILP packet to the front of `room`, masked if
/// `mask` is given, and says how long it is. What `room` has behind it may have changed.
///
/// # Panics
///
/// If `room` has less than [`FRAMING_LEN_MAX`] bytes more than the packet, or the packet is longer
/// than [`PACKET_LEN_MAX`].
#[inline]
pub fn write_packet(
    room: &mut [u8],
    mask: Option<[u8; 4]>,
    frame_type: FrameType,
    request_id: u32,
    packet: &[u8],
) -> usize {
    let room = &mut room[..packet.len() + FRAMING_LEN_MAX];
    let start = write_header(room, mask, packet.len());
    let (room, mask) = (&mut room[start..], mask.map_or(Mask::NONE, Mask::new));
    start + write_masked_packet(room, mask, frame_type, request_id, packet)
}

/// As [`write_packet`], of a MESSAGE that carries a PREPARE on.
///
/// # Panics
///
/// As [`write_packet`].
#[inline]
pub fn write_prepare(
    room: &mut [u8],
    mask: Option<[u8; 4]>,
    request_id: u32,
    packet: &ForwardedPrepare<'_>,
) -> usize {
    let len = packet.received().len();
    let room = &mut room[..len + FRAMING_LEN_MAX];
    let start = write_header(room, mask, len);
    let (room, mask) = (&mut room[start..], mask.map_or(Mask::NONE, Mask::new));
    start + write_masked_prepare(room, mask, request_id, packet)
}

/// Writes what stands before the BTP frame of a packet of this length: its size.
#[inline(always)]
fn write_header(room: &mut [u8], mask: Option<[u8; 4]>, packet_len: usize) -> usize {
    let len = packet_header_len(packet_len) + packet_len;
    let mask_bit = if mask.is_some() { MASK } else { 0 };
    let [.., high, low] = (len as u64).to_be_bytes();
    let (second, len_end) = if len <= 125 { (low, 2) } else { (126, 4) };
    // One store for both forms: what is behind the shorter is overwritten.
    let word = u32::from_le_bytes([BINARY, mask_bit | second, high, low]);
    room[..4].copy_from_slice(&word.to_le_bytes());
    let Some(mask) = mask else { return len_end };
    room[len_end..len_end + 4].copy_from_slice(&mask);
    len_end + 4
}

#[cfg(test)]
mod tests {
    use super::super::{CloseReason, Reader, Role, apply_mask, put_binary_header};
    use super::*;
    use crate::{btp, ilp};

    fn plainly(mask: Option<[u8; 4]>, frame_type: FrameType, packet: &[u8]) -> Vec<u8> {
        let (mut frame, mut out) = (Vec::new(), Vec::new());
        btp::put_ilp(&mut frame, frame_type, 7, packet);
        put_binary_header(&mut out, frame.len(), mask);
        let start = out.len();
        out.extend_from_slice(&frame);
        apply_mask(&mut out[start..], mask.unwrap_or_default());
        out
    }

    #[test]
    fn what_is_written_is_what_the_plain_writers_write_into_dirt_and_nothing_behind_its_room() {
        let lens = (0..=300).chain([1000, 32_767]).chain(PACKET_LEN_MAX - 2..=PACKET_LEN_MAX);
        for len in lens {
            let packet: Vec<u8> = (0..=u8::MAX).cycle().take(len).collect();
            for mask in [None, Some([0x37, 0xfa, 0x21, 0x3d]), Some([0; 4])] {
                let expected = plainly(mask, FrameType::Message, &packet);
                let room_len = len + FRAMING_LEN_MAX;
                let mut room = vec![0xa5; room_len + 9];
                let written = write_packet(&mut room, mask, FrameType::Message, 7, &packet);
                assert_eq!(room[..written], expected, "{len}");
                assert_eq!(room[room_len..], [0xa5; 9], "{len}");
            }
        }
    }

    #[test]
    fn a_prepare_that_is_sent_on_is_what_the_plain_writers_write_of_it() {
        for data_len in (0..200).chain([1000, 32_767]) {
            let mut received = Vec::new();
            let data: Vec<u8> = (0..=u8::MAX).cycle().take(data_len).collect();
            let expires_at = b"20261120114500000";
            ilp::put_prepare(&mut received, 7, expires_at, &[3; 32], b"g.bob", &data);
            let packet = ForwardedPrepare::new(&received, u64::MAX - 5, *b"20261120114459123");
            let mut sent = Vec::new();
            packet.put(&mut sent);
            for mask in [None, Some([0x37, 0xfa, 0x21, 0x3d]), Some([0; 4])] {
                let expected = plainly(mask, FrameType::Message, &sent);
                let mut room = vec![0xa5; received.len() + FRAMING_LEN_MAX];
                let written = write_prepare(&mut room, mask, 7, &packet);
                assert_eq!(room[..written], expected, "{data_len}");
            }
            let mut expected = Vec::new();
            btp::put_prepare(&mut expected, 7, &packet);
            let mut room = vec![0xa5; received.len() + FRAMING_LEN_MAX];
            let written = btp::write_prepare(&mut room, 7, &packet);
            assert_eq!(room[..written], expected, "{data_len}");
        }
    }

    #[test]
    fn a_length_in_a_longer_form_than_it_needs_is_left_to_be_refused() {
        for len in [40, 111] {
            let shortest = plainly(None, FrameType::Message, &vec![12; len]);
            let [first, payload_len, payload @ ..] = &shortest[..] else { panic!("a frame") };
            let mut longer = [&[*first, 126, 0, *payload_len], payload].concat();
            let mut reader = Reader::new(Role::Client, 1000);
            assert!(reader.next_packet(&mut shortest.clone()).is_some());
            assert_eq!(reader.next_packet(&mut longer), None);
            assert_eq!(reader.next(&mut longer), Err(CloseReason::BadLength));
        }
    }
}
