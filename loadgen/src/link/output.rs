//! What is to leave on a link.
//!
//! Invariant: bytes leave in the order in which they were queued, each once.

use m2_codec::btp::{self, FrameType};
use m2_codec::ws;

use crate::limits;
use crate::payload::mix;

/// What is queued for a socket.
#[derive(Debug)]
pub struct Output {
    bytes: Vec<u8>,
    /// How many of them the socket has taken.
    sent: usize,
    /// False from the moment the socket takes no more until it says that it does again.
    pub writable: bool,
    framing: Framing,
}

/// What is put around a BTP frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Framing {
    /// Nothing.
    Raw,
    /// A WebSocket message of a server: without a mask.
    Server,
    /// One of a client, and where its masks are drawn from.
    Client { masks: u64 },
}

impl Output {
    /// Of BTP frames one behind the other.
    #[must_use]
    pub(super) fn raw() -> Self {
        Self::new(Framing::Raw)
    }

    /// Of a WebSocket server.
    #[must_use]
    pub(super) fn server() -> Self {
        Self::new(Framing::Server)
    }

    /// Of a WebSocket client, which masks what it sends.
    #[must_use]
    pub(super) fn client(mask_seed: u64) -> Self {
        Self::new(Framing::Client { masks: mask_seed })
    }

    fn new(framing: Framing) -> Self {
        Self { bytes: Vec::new(), sent: 0, writable: true, framing }
    }

    /// Queues an ILP packet in a frame of its own. `put` appends the packet's bytes, `packet_len` of
    /// them: straight to where they leave from.
    #[inline]
    pub fn send(
        &mut self,
        frame_type: FrameType,
        request_id: u32,
        packet_len: usize,
        put: impl FnOnce(&mut Vec<u8>),
    ) {
        let mask = self.put_ws_header(btp::ilp_frame_len(packet_len));
        let start = self.bytes.len();
        btp::put_ilp_header(&mut self.bytes, frame_type, request_id, packet_len);
        put(&mut self.bytes);
        debug_assert_eq!(self.bytes.len() - start, btp::ilp_frame_len(packet_len));
        if let Some(mask) = mask {
            ws::apply_mask(&mut self.bytes[start..], mask);
        }
    }

    /// Queues a whole BTP frame.
    pub fn send_frame(&mut self, frame: &[u8]) {
        let mask = self.put_ws_header(frame.len());
        let start = self.bytes.len();
        self.bytes.extend_from_slice(frame);
        if let Some(mask) = mask {
            ws::apply_mask(&mut self.bytes[start..], mask);
        }
    }

    /// On a WebSocket, begins a message of so many bytes and gives back what is to mask them.
    #[inline]
    fn put_ws_header(&mut self, len: usize) -> Option<[u8; 4]> {
        let mask = self.next_mask();
        if self.framing != Framing::Raw {
            ws::put_binary_header(&mut self.bytes, len, mask);
        }
        mask
    }

    /// Queues bytes as they are: frames of WebSocket and BTP are the caller's.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes that the socket has not taken yet.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.bytes.len() - self.sent
    }

    pub(super) fn pong(&mut self, payload: &[u8]) {
        let mask = self.next_mask();
        ws::put_control(&mut self.bytes, ws::Opcode::Pong, payload, mask);
    }

    pub(super) fn queued(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    pub(super) fn left(&mut self, count: usize) {
        self.sent += count;
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        } else if self.sent > self.bytes.len() / 2 && self.sent > limits::INGRESS_BYTES {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// The next mask, of a client on a WebSocket. RFC 6455 wants them unpredictable, to keep scripts in browsers from writing
    /// bytes of their choice on a connection; a generator chooses all of its bytes itself.
    pub fn next_mask(&mut self) -> Option<[u8; 4]> {
        let Framing::Client { masks } = &mut self.framing else { return None };
        *masks = mix(*masks);
        let [a, b, c, d, ..] = masks.to_le_bytes();
        Some([a, b, c, d])
    }
}
