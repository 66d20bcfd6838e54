//! What has come on one link and is not taken yet.
//!
//! ```text
//!  buffer:  | taken | whole frames ... | part of one |  room for more  |
//!           0       ^ start                          ^ end             ^ RX_BUFFER_LEN
//! ```
//!
//! A frame is handed out where it lies. One that is longer than allowed is refused by its header,
//! so the buffer, which holds the longest legal frame with room to spare, is all the memory that a
//! peer can make us keep here; a WebSocket message in fragments is kept by its reader, under the
//! same limit.

use core::ops::Range;

use m2_codec::btp::{self, PacketFrame};
use m2_codec::ws::{self, close_code};
use rustix::io::Errno;

use super::message::{Cause, Framing};
use crate::io::Received;
use crate::limits::RX_BUFFER_LEN;

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Rx {
    framing: Framing,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// A message that came in fragments, joined.
    joined: Vec<u8>,
    /// The kernel may have more for us.
    pub(super) readable: bool,
    /// The kernel told of an end or an error, so only a receive that finds nothing is the last.
    pub(super) hung_up: bool,
    /// Stands in the list of links to look at.
    pub(super) queued: bool,
    /// The peer has ended its side.
    pub(super) ended: bool,
}

/// Where the bytes of a frame are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Place {
    Buffer(Range<usize>),
    Joined,
}

/// What the next bytes are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// Nothing whole.
    NeedMore,
    /// The bytes of a BTP frame, not looked into yet.
    Frame(Place),
    /// To be answered by a pong with these bytes.
    Ping(Range<usize>),
    /// Nothing to do.
    Skip,
    /// The peer closes with this code.
    Close(u16),
}

/// Why nothing more can be read; `code` and `text` are for a WebSocket's close frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Broken {
    pub(super) cause: Cause,
    pub(super) code: u16,
    pub(super) text: &'static str,
}

/// The buffers of a link, while its frames are in a vector.
#[derive(Debug)]
pub(super) struct Buffers {
    pub(super) buffer: Vec<u8>,
    pub(super) joined: Vec<u8>,
}

impl Rx {
    /// A link that has already brought `received`.
    ///
    /// # Panics
    ///
    /// If that is more than [`RX_BUFFER_LEN`]: handshakes are bounded by it.
    pub(super) fn new(framing: Framing, received: &[u8]) -> Self {
        assert!(received.len() <= RX_BUFFER_LEN, "handshakes are bounded");
        let mut buffer = vec![0; RX_BUFFER_LEN];
        buffer[..received.len()].copy_from_slice(received);
        Self {
            framing,
            buffer,
            start: 0,
            end: received.len(),
            joined: Vec::new(),
            readable: true,
            hung_up: false,
            queued: false,
            ended: false,
        }
    }

    /// Has the room there is filled once.
    pub(super) fn receive(
        &mut self,
        fill: impl FnOnce(&mut [u8]) -> Result<Received, Errno>,
    ) -> Result<Received, Errno> {
        self.make_room();
        let room = &mut self.buffer[self.end..];
        debug_assert!(!room.is_empty(), "no frame is longer, and whole ones were taken");
        let received = fill(room)?;
        match received {
            Received::Bytes { count, more } => {
                self.end += count;
                self.readable = more || self.hung_up;
            }
            Received::Nothing => self.readable = false,
            Received::End => (self.readable, self.ended) = (false, true),
        }
        Ok(received)
    }

    /// Drops all that has come.
    pub(super) fn discard(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Splits the next frame off if it holds one ILP packet and nothing else, as nearly all do; says
    /// where in the buffer the packet is. `None` says nothing: [`Self::next`] is to look.
    #[inline]
    pub(super) fn next_packet(&mut self) -> Option<PacketFrame> {
        let bytes = &mut self.buffer[self.start..self.end];
        let frame = match &self.framing {
            Framing::Stream => btp::packet_frame(bytes),
            Framing::WebSocket { reader, .. } => reader.next_packet(bytes),
        }?;
        let packet = self.start + frame.packet.start..self.start + frame.packet.end;
        self.start = packet.end;
        Some(PacketFrame { packet, ..frame })
    }

    /// Splits the next frame off. The places of earlier ones stay what they are until the next
    /// [`Self::receive`]; [`Place::Joined`] until the next frame.
    pub(super) fn next(&mut self) -> Result<Step, Broken> {
        match &mut self.framing {
            Framing::Stream => {
                let bytes = &self.buffer[self.start..self.end];
                let len = btp::frame_len(bytes).map_err(|error| Broken {
                    cause: Cause::FramingLost(error),
                    code: close_code::NO_STATUS,
                    text: "",
                })?;
                let Some(len) = len.filter(|len| *len <= bytes.len()) else {
                    return Ok(Step::NeedMore);
                };
                let frame = self.start..self.start + len;
                self.start = frame.end;
                Ok(Step::Frame(Place::Buffer(frame)))
            }
            Framing::WebSocket { reader, .. } => {
                let next = reader.next(&mut self.buffer[self.start..self.end]);
                let Some((consumed, event)) = next.map_err(violation)? else {
                    return Ok(Step::NeedMore);
                };
                let base = self.start;
                self.start += consumed;
                let at = |range: Range<usize>| base + range.start..base + range.end;
                Ok(match event {
                    ws::Event::Message(range) => Step::Frame(Place::Buffer(at(range))),
                    ws::Event::Assembled => {
                        self.joined.clear();
                        self.joined.extend_from_slice(reader.assembled());
                        Step::Frame(Place::Joined)
                    }
                    ws::Event::Ping(range) => Step::Ping(at(range)),
                    ws::Event::Fragment | ws::Event::Pong => Step::Skip,
                    ws::Event::Close { code } => Step::Close(code),
                    ws::Event::Text => return Err(TEXT),
                })
            }
        }
    }

    /// The bytes at a place.
    pub(super) fn bytes(&self, place: &Place) -> &[u8] {
        match place {
            Place::Buffer(range) => &self.buffer[range.clone()],
            Place::Joined => &self.joined,
        }
    }

    /// Lends the buffers out; nothing may be received until they are back.
    pub(super) fn lend(&mut self) -> Buffers {
        Buffers {
            buffer: core::mem::take(&mut self.buffer),
            joined: core::mem::take(&mut self.joined),
        }
    }

    /// Takes the buffers back.
    pub(super) fn take_back(&mut self, buffers: Buffers) {
        debug_assert!(self.buffer.is_empty(), "only a lender takes back");
        (self.buffer, self.joined) = (buffers.buffer, buffers.joined);
    }

    fn make_room(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
    }
}

const TEXT: Broken = Broken {
    cause: Cause::WebSocket(close_code::UNSUPPORTED_DATA),
    code: close_code::UNSUPPORTED_DATA,
    text: "BTP frames come in binary messages",
};

fn violation(reason: ws::CloseReason) -> Broken {
    let code = reason.code();
    Broken { cause: Cause::WebSocket(code), code, text: reason.as_str() }
}

#[cfg(test)]
mod tests {
    use m2_codec::btp::{Frame, FrameType};
    use m2_codec::ws::{Opcode, Reader, Role};

    use super::*;

    /// Packets with a frame without one between them, a ping where there are pings, and half a frame.
    fn link(framing: Framing) -> Rx {
        let mask = match &framing {
            Framing::WebSocket { role: Role::Server, .. } => Some([0x37, 0xfa, 0x21, 0x3d]),
            _ => None,
        };
        let mut frames = vec![Vec::new(); 4];
        btp::put_ilp(&mut frames[0], FrameType::Message, 1, &[12; 150]);
        btp::put_response(&mut frames[1], 2, &[]);
        btp::put_ilp(&mut frames[2], FrameType::Response, 3, &[13; 35]);
        btp::put_ilp(&mut frames[3], FrameType::Message, 4, &[12; 300]);
        let mut stream = Vec::new();
        for frame in &mut frames {
            if matches!(framing, Framing::WebSocket { .. }) {
                ws::put_control(&mut stream, Opcode::Ping, b"?", mask);
                ws::put_binary_header(&mut stream, frame.len(), mask);
                ws::apply_mask(frame, mask.unwrap_or_default());
            }
            stream.extend_from_slice(frame);
        }
        Rx::new(framing, &stream[..stream.len() - 1])
    }

    fn web_socket(role: Role) -> Framing {
        let reader = Box::new(Reader::new(role, btp::FRAME_LEN_MAX));
        Framing::WebSocket { role, reader }
    }

    /// Every packet with its request id, and what is left.
    fn packets(mut rx: Rx, at_once: bool) -> (Vec<(u32, Vec<u8>)>, Vec<u8>) {
        let mut seen = Vec::new();
        loop {
            if at_once && let Some(frame) = rx.next_packet() {
                seen.push((frame.request_id, rx.bytes(&Place::Buffer(frame.packet)).to_vec()));
                continue;
            }
            match rx.next().expect("all is legal") {
                Step::NeedMore => return (seen, rx.buffer[rx.start..rx.end].to_vec()),
                Step::Frame(place) => {
                    let frame = Frame::new_checked(rx.bytes(&place)).expect("a frame");
                    seen.extend(frame.ilp().map(|packet| (frame.request_id(), packet.to_vec())));
                }
                _ => {}
            }
        }
    }

    #[test]
    fn packets_taken_at_once_are_those_that_are_taken_in_two_looks() {
        for framing in
            [|| Framing::Stream, || web_socket(Role::Server), || web_socket(Role::Client)]
        {
            let (seen, left) = packets(link(framing()), true);
            assert_eq!(seen, [(1, vec![12; 150]), (3, vec![13; 35])]);
            assert_eq!((seen, left), packets(link(framing()), false));
        }
    }
}
