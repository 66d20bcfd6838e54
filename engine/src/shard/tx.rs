//! What waits to be sent on one link: whole BTP frames, back to back, in their order.
//!
//! ```text
//!  bytes:  | frame | frame | frame | frame |
//!          0            ^ sent             ^ end
//! ```
//!
//! Invariant: offset 0 is the start of a frame, so frames can be found again when the link is lost:
//! those that start at `sent` or later never reached the kernel.

use core::ops::Range;

use m2_codec::btp::{self, Frame, FrameType};
use m2_codec::ilp::{self, ForwardedPrepare, PacketType};
use m2_codec::limits::FRAMING_LEN_MAX;
use m2_codec::ws;

use super::bytes::Bytes;
use crate::limits::{MASKS_LEN, TX_COMPACT_LEN, TX_KEPT_LEN};

/// Offset of a BTP frame's contents' length: behind type and request id.
const BTP_LENGTH_OFFSET: usize = 5;

/// How our frames are delimited on a link.
#[derive(Debug)]
pub(super) enum TxFraming {
    /// By their own lengths.
    Stream,
    /// One to a WebSocket message, as servers send them.
    Server,
    /// One to a WebSocket message, masked as clients must.
    Client(Masks),
}

/// Masks of a WebSocket client: unforeseeable, many made at a time.
///
/// They are what BLAKE3 makes of a key that the system draws anew for each block of them: who knows all
/// earlier masks cannot tell the next, and the system's own generator takes ten times as long.
#[derive(Debug)]
pub(super) struct Masks {
    block: Box<[u8; MASKS_LEN]>,
    used: usize,
}

const _: () = assert!(MASKS_LEN.is_multiple_of(4));

impl Masks {
    pub(super) fn new() -> Self {
        Self { block: Box::new([0; MASKS_LEN]), used: MASKS_LEN }
    }

    #[inline]
    fn next(&mut self) -> [u8; 4] {
        if self.used == MASKS_LEN {
            self.make();
        }
        let mask = *self.block[self.used..].first_chunk().expect("a block is whole masks");
        self.used += 4;
        mask
    }

    #[cold]
    fn make(&mut self) {
        let mut key = [0; blake3::KEY_LEN];
        getrandom::fill(&mut key).expect("the system has random bytes");
        blake3::Hasher::new_keyed(&key).finalize_xof().fill(&mut self.block[..]);
        self.used = 0;
    }
}

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Tx {
    framing: TxFraming,
    bytes: Bytes,
    sent: usize,
    /// Bytes that the kernel took since the start.
    taken: u64,
    /// What `taken` will be once the last FULFILL is with the kernel.
    fulfills_end: u64,
    /// The kernel took less than we had, and has not asked for more since.
    pub(super) blocked: bool,
    /// Stands in the list of links to flush.
    pub(super) dirty: bool,
    /// The egress went past its cap: nothing more is taken, the link is about to be closed.
    pub(super) full: bool,
}

impl Tx {
    pub(super) fn new(framing: TxFraming) -> Self {
        Self {
            framing,
            bytes: Bytes::default(),
            sent: 0,
            taken: 0,
            fulfills_end: 0,
            blocked: false,
            dirty: false,
            full: false,
        }
    }

    /// Bytes that the kernel took since the start.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// What that will be once all is sent that waits now.
    pub(super) fn end(&self) -> u64 {
        self.taken + self.waiting() as u64
    }

    /// Whether a FULFILL is not yet with the kernel, or not whole.
    pub(super) fn fulfill_waits(&self) -> bool {
        self.taken < self.fulfills_end
    }

    /// Bytes that the kernel has not taken.
    pub(super) fn waiting(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Appends whole frames that are already framed as this link wants them.
    pub(super) fn put_whole(&mut self, frames: &[u8]) {
        self.bytes.append(|out| out.extend_from_slice(frames));
    }

    /// Appends a MESSAGE that carries a PREPARE on: one copy, with 25 bytes written over it, under the
    /// mask where there is one.
    #[inline]
    pub(super) fn put_prepare(&mut self, request_id: u32, packet: &ForwardedPrepare<'_>) {
        let room_len = packet.received().len() + FRAMING_LEN_MAX;
        match &mut self.framing {
            TxFraming::Stream => {
                self.bytes.put(room_len, |room| btp::write_prepare(room, request_id, packet));
            }
            TxFraming::Server => {
                self.bytes.put(room_len, |room| ws::write_prepare(room, None, request_id, packet));
            }
            TxFraming::Client(masks) => {
                let mask = Some(masks.next());
                self.bytes.put(room_len, |room| ws::write_prepare(room, mask, request_id, packet));
            }
        }
    }

    /// Appends a RESPONSE that carries a FULFILL or a REJECT.
    #[inline]
    pub(super) fn put_answer(&mut self, request_id: u32, packet: &[u8]) {
        self.put_packet(FrameType::Response, request_id, packet);
        if ilp::packet_type(packet) == Some(PacketType::Fulfill) {
            self.fulfills_end = self.end();
        }
    }

    /// Appends a frame that carries an ILP packet: one copy, under the mask where there is one.
    #[inline]
    pub(super) fn put_packet(&mut self, frame_type: FrameType, request_id: u32, packet: &[u8]) {
        let room_len = packet.len() + FRAMING_LEN_MAX;
        match &mut self.framing {
            TxFraming::Stream => self
                .bytes
                .put(room_len, |room| btp::write_packet(room, frame_type, request_id, packet)),
            TxFraming::Server => self
                .bytes
                .put(room_len, |room| ws::write_packet(room, None, frame_type, request_id, packet)),
            TxFraming::Client(masks) => {
                let mask = Some(masks.next());
                self.bytes.put(room_len, |room| {
                    ws::write_packet(room, mask, frame_type, request_id, packet)
                });
            }
        }
    }

    /// Appends a RESPONSE without entries.
    pub(super) fn put_empty_response(&mut self, request_id: u32) {
        self.put(BTP_LENGTH_OFFSET + 1 + 2, |out| btp::put_response(out, request_id, &[]));
    }

    /// Appends an ERROR, of a code that the RFC names.
    pub(super) fn put_error(&mut self, request_id: u32, code: &[u8; 3], utc_ms: u64, why: &str) {
        let mut frame = Vec::new();
        let name = btp::error_name(code).expect("the RFC names it");
        btp::put_error(&mut frame, request_id, code, name, utc_ms, why.as_bytes(), &[]);
        self.put(frame.len(), |out| out.extend_from_slice(&frame));
    }

    /// Appends a MESSAGE or a RESPONSE of settlement processes.
    pub(super) fn put_settlement(&mut self, frame_type: FrameType, request_id: u32, data: &[u8]) {
        let mut frame = Vec::new();
        let content_type = btp::OCTET_STREAM;
        let entries = [btp::Entry { name: btp::SETTLEMENT, content_type, data }];
        match frame_type {
            FrameType::Message => btp::put_message(&mut frame, request_id, &entries),
            _ => btp::put_response(&mut frame, request_id, &entries),
        }
        self.put(frame.len(), |out| out.extend_from_slice(&frame));
    }

    /// Appends a WebSocket control frame; streams have none.
    pub(super) fn put_control(&mut self, opcode: ws::Opcode, payload: &[u8]) {
        let mask = match &mut self.framing {
            TxFraming::Stream => return,
            TxFraming::Server => None,
            TxFraming::Client(masks) => Some(masks.next()),
        };
        self.bytes.append(|out| ws::put_control(out, opcode, payload, mask));
    }

    /// Appends a WebSocket close; streams have none.
    pub(super) fn put_close(&mut self, code: u16, reason: &str) {
        let mask = match &mut self.framing {
            TxFraming::Stream => return,
            TxFraming::Server => None,
            TxFraming::Client(masks) => Some(masks.next()),
        };
        self.bytes.append(|out| ws::put_close(out, code, reason, mask));
    }

    /// What waits, for the kernel to take.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// The kernel has taken so much of [`Self::rest`].
    pub(super) fn took(&mut self, count: usize) {
        self.sent += count;
        self.taken += count as u64;
        if self.sent < self.bytes.len() {
            return self.compact();
        }
        self.bytes.clear();
        self.sent = 0;
    }

    /// Gives memory back that a burst had needed.
    pub(super) fn shrink(&mut self) {
        if self.bytes.is_empty() && self.bytes.capacity() > TX_KEPT_LEN {
            self.bytes = Bytes::default();
        }
    }

    /// Takes out every PREPARE of which no byte was sent, and says which; what else waits stays, as
    /// the peer may still read it.
    pub(super) fn cut_prepares(&mut self, mut unsent: impl FnMut(u32)) -> u32 {
        let mut kept = Vec::new();
        let mut count = 0;
        let mut scratch = Vec::new();
        for frame in self.frames() {
            if frame.start >= self.sent
                && let Some((Kind::Prepare, request_id)) = self.kind(&frame, &mut scratch)
            {
                count += 1;
                unsent(request_id);
            } else {
                kept.extend_from_slice(&self.bytes[frame]);
            }
        }
        self.bytes = kept.into();
        // No later than it stands now, and no earlier if one waits.
        self.fulfills_end = self.fulfills_end.min(self.end());
        count
    }

    /// How many FULFILLs the peer did not get whole.
    pub(super) fn fulfills_unsent(&self) -> u32 {
        let mut scratch = Vec::new();
        let mut count = 0;
        for frame in self.frames() {
            let fulfill = matches!(self.kind(&frame, &mut scratch), Some((Kind::Fulfill, _)));
            count += u32::from(fulfill && frame.end > self.sent);
        }
        count
    }

    /// Appends a frame of `len` bytes that is not of every packet.
    fn put(&mut self, len: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let mask = match &mut self.framing {
            TxFraming::Stream => return self.bytes.append(write),
            TxFraming::Server => None,
            TxFraming::Client(masks) => Some(masks.next()),
        };
        self.bytes.append(|out| {
            ws::put_binary_header(out, len, mask);
            let start = out.len();
            write(out);
            debug_assert_eq!(out.len() - start, len, "the header told the length");
            if let Some(mask) = mask {
                ws::apply_mask(&mut out[start..], mask);
            }
        });
    }

    /// Moves sent frames out, once they are most of the buffer: each byte moves at most once for
    /// each byte sent.
    fn compact(&mut self) {
        if self.sent < TX_COMPACT_LEN || self.sent < self.bytes.len() / 2 {
            return;
        }
        let whole = self.frames().take_while(|frame| frame.end <= self.sent).last();
        let whole = whole.map_or(0, |frame| frame.end);
        self.bytes.cut_front(whole);
        self.sent -= whole;
    }

    /// Every frame in the buffer, from its start.
    fn frames(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut start = 0;
        core::iter::from_fn(move || {
            let bytes = &self.bytes[start..];
            let len = match self.framing {
                _ if bytes.is_empty() => return None,
                TxFraming::Stream => btp::frame_len(bytes).ok().flatten(),
                TxFraming::Server | TxFraming::Client(_) => websocket(bytes).map(|it| it.end),
            };
            let len = len.expect("we wrote whole frames");
            let frame = start..start + len;
            start = frame.end;
            Some(frame)
        })
    }

    /// What one frame is, unmasked in `scratch` if need be.
    fn kind(&self, frame: &Range<usize>, scratch: &mut Vec<u8>) -> Option<(Kind, u32)> {
        let bytes = &self.bytes[frame.clone()];
        let payload = match self.framing {
            TxFraming::Stream => bytes,
            TxFraming::Server | TxFraming::Client(_) => {
                let header = websocket(bytes).expect("we wrote whole frames");
                if !header.binary {
                    return None;
                }
                scratch.clear();
                scratch.extend_from_slice(&bytes[header.payload..header.end]);
                if let Some(mask) = header.mask {
                    ws::apply_mask(scratch, mask);
                }
                scratch
            }
        };
        let frame = Frame::new_checked(payload).expect("we wrote whole frames");
        let packet = frame.ilp()?;
        match (frame.frame_type(), ilp::packet_type(packet)) {
            (FrameType::Message, _) => Some((Kind::Prepare, frame.request_id())),
            (_, Some(PacketType::Fulfill)) => Some((Kind::Fulfill, frame.request_id())),
            _ => None,
        }
    }
}

/// What matters of a frame when its link is lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Prepare,
    Fulfill,
}

/// A WebSocket frame of our own.
struct WebSocketFrame {
    binary: bool,
    mask: Option<[u8; 4]>,
    payload: usize,
    end: usize,
}

fn websocket(bytes: &[u8]) -> Option<WebSocketFrame> {
    let [first, second, rest @ ..] = bytes else { return None };
    let (len, wide) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 2),
        127 => (usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?, 8),
        len => (usize::from(len), 0),
    };
    let masked = second & 0x80 != 0;
    let mask = if masked { Some(*rest.get(wide..)?.first_chunk()?) } else { None };
    let payload = 2 + wide + if masked { 4 } else { 0 };
    Some(WebSocketFrame { binary: first & 0x0f == 2, mask, payload, end: payload + len })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framings() -> [TxFraming; 3] {
        [TxFraming::Stream, TxFraming::Server, TxFraming::Client(Masks::new())]
    }

    /// A PREPARE with so many bytes of data.
    fn packet(data_len: usize) -> Vec<u8> {
        let mut packet = Vec::new();
        let data = vec![9; data_len];
        ilp::put_prepare(&mut packet, 7, b"20261120114500000", &[3; 32], b"g.bob", &data);
        packet
    }

    fn sent_on(packet: &[u8]) -> ForwardedPrepare<'_> {
        ForwardedPrepare::new(packet, 6, *b"20261120114459000")
    }

    fn fulfill() -> Vec<u8> {
        let mut packet = Vec::new();
        ilp::put_fulfill(&mut packet, &[7; 32], &[]);
        packet
    }

    fn filled(framing: TxFraming) -> Tx {
        let mut tx = Tx::new(framing);
        for (request_id, len) in (0..).zip([50, 300, 5_000, 32_000]) {
            tx.put_prepare(request_id, &sent_on(&packet(len)));
            tx.put_control(ws::Opcode::Ping, b"x");
            tx.put_answer(100 + request_id, &fulfill());
            tx.put_empty_response(200 + request_id);
        }
        tx
    }

    /// Until the kernel takes no more; `true` when it took all.
    fn flush(tx: &mut Tx, socket: &mut impl std::io::Write) -> bool {
        while tx.waiting() > 0 {
            match socket.write(tx.rest()) {
                Ok(count) => tx.took(count),
                Err(_) => return false,
            }
        }
        true
    }

    #[test]
    fn a_fulfill_waits_until_the_kernel_has_all_of_it_and_nothing_else_does() {
        for framing in framings() {
            let (mut ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            let mut tx = Tx::new(framing);
            assert!(!tx.fulfill_waits());
            tx.put_answer(1, &fulfill());
            let end = tx.end();
            tx.put_empty_response(2);
            assert!(tx.fulfill_waits());
            assert!(flush(&mut tx, &mut ours));
            assert!(!tx.fulfill_waits());
            // More than a socket holds, and no FULFILL in it.
            tx.put_whole(&vec![0; 4 << 20]);
            assert!(!flush(&mut tx, &mut ours) && !tx.fulfill_waits());
            tx.put_answer(3, &fulfill());
            assert!(tx.fulfill_waits() && tx.end() > end + (4 << 20));
            let mut read = vec![0; 1 << 20];
            while !flush(&mut tx, &mut ours) {
                assert!(tx.fulfill_waits());
                let _ = std::io::Read::read(&mut theirs, &mut read).unwrap();
            }
            assert!(!tx.fulfill_waits() && tx.taken() == tx.end());
        }
    }

    #[test]
    fn c16_only_prepares_of_which_no_byte_was_sent_are_cut() {
        for framing in framings() {
            let whole = filled(framing);
            let starts: Vec<usize> = whole
                .frames()
                .filter(|frame| {
                    matches!(whole.kind(frame, &mut Vec::new()), Some((Kind::Prepare, _)))
                })
                .map(|frame| frame.start)
                .collect();
            assert_eq!(starts.len(), 4);
            for sent in starts.iter().flat_map(|start| [start.saturating_sub(1), *start, start + 1])
            {
                let mut tx = Tx { framing: TxFraming::Stream, ..filled(TxFraming::Stream) };
                tx.framing = match &whole.framing {
                    TxFraming::Stream => TxFraming::Stream,
                    TxFraming::Server => TxFraming::Server,
                    TxFraming::Client(_) => TxFraming::Client(Masks::new()),
                };
                tx.bytes.clone_from(&whole.bytes);
                tx.sent = sent;
                let mut cut = Vec::new();
                let count = tx.cut_prepares(|request_id| cut.push(request_id));
                let expected: Vec<u32> = (0..4).filter(|id| starts[*id as usize] >= sent).collect();
                assert_eq!(cut, expected, "sent {sent}");
                assert_eq!(count as usize, cut.len());
                assert_eq!(tx.bytes[..sent], whole.bytes[..sent], "what was sent stays");
            }
        }
    }

    #[test]
    fn fulfills_count_as_unsent_until_their_last_byte_is_sent() {
        for framing in framings() {
            let mut tx = filled(framing);
            assert_eq!(tx.fulfills_unsent(), 4);
            let first = tx
                .frames()
                .find(|frame| matches!(tx.kind(frame, &mut Vec::new()), Some((Kind::Fulfill, _))))
                .unwrap();
            tx.sent = first.end - 1;
            assert_eq!(tx.fulfills_unsent(), 4);
            tx.sent = first.end;
            assert_eq!(tx.fulfills_unsent(), 3);
        }
    }

    #[test]
    fn moving_sent_frames_out_keeps_the_start_of_a_frame_at_0() {
        for framing in framings() {
            let mut tx = filled(framing);
            (0..4).for_each(|_| tx.put_prepare(9, &sent_on(&packet(30_000))));
            let waiting = tx.bytes[TX_COMPACT_LEN * 3 / 2..].to_vec();
            tx.sent = TX_COMPACT_LEN * 3 / 2;
            tx.compact();
            assert!(tx.sent < TX_COMPACT_LEN * 3 / 2);
            assert_eq!(tx.bytes[tx.sent..], waiting);
            let end = tx.frames().last().unwrap().end;
            assert_eq!(end, tx.bytes.len());
        }
    }

    /// What the plain writers of the codec make of the same packets, masks as they came out.
    #[test]
    fn packets_are_framed_as_the_plain_writers_frame_them_whatever_stood_in_the_buffer() {
        for framing in framings() {
            let mut tx = Tx::new(framing);
            tx.put_whole(&[0xa5; 3 * 4096]);
            tx.bytes.clear();
            for packet_len in (0..=260).chain([4096, 32_767, 40_000]) {
                let packet: Vec<u8> = (0..=u8::MAX).cycle().take(packet_len).collect();
                let (start, mut frame, mut expected) = (tx.bytes.len(), Vec::new(), Vec::new());
                btp::put_ilp(&mut frame, FrameType::Response, !7, &packet);
                tx.put_answer(!7, &packet);
                let written = &tx.bytes[start..];
                if !matches!(tx.framing, TxFraming::Stream) {
                    let mask = websocket(written).expect("a whole frame").mask;
                    assert_eq!(mask.is_some(), matches!(tx.framing, TxFraming::Client(_)));
                    ws::put_binary_header(&mut expected, frame.len(), mask);
                    ws::apply_mask(&mut frame, mask.unwrap_or_default());
                }
                expected.extend_from_slice(&frame);
                assert_eq!(written, expected, "{packet_len}");
            }
        }
    }

    /// Two blocks of each of two links; of 4,096 masks of 32 bits two are equal once in 500 runs.
    #[test]
    fn no_two_frames_of_clients_have_the_same_mask_but_by_chance() {
        let mut links = [Masks::new(), Masks::new()];
        let mut drawn: Vec<_> = links
            .iter_mut()
            .flat_map(|masks| (0..2 * MASKS_LEN / 4).map(|_| masks.next()))
            .collect();
        let count = drawn.len();
        drawn.sort_unstable();
        drawn.dedup();
        assert!(drawn.len() + 5 >= count, "only {} of {count} differ", drawn.len());
    }
}
