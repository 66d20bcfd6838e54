//! One connection of a check: frames out, frames in, each wait with an end.
//!
//! Invariant: a frame is handed out once, in the order in which it came; one whose contents are no
//! BTP is handed out too, as its bytes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use m2_codec::btp::{self, Frame, FrameType};
use m2_codec::url::Endpoint;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::link::{Drain, Link, LinkError};
use crate::workload::End;

/// A connection to the target.
pub(super) struct Wire {
    link: Link,
    frames: VecDeque<Vec<u8>>,
    /// Why nothing more comes.
    ended: Option<LinkError>,
    next_id: u32,
    is_websocket: bool,
}

impl Wire {
    /// Connects, and shows the token.
    pub(super) fn open(end: &End) -> Result<Self, LinkError> {
        Link::connect(end, random_seed()).map(|link| Self::over(link, end))
    }

    /// Connects, and says nothing.
    pub(super) fn open_unnamed(end: &End) -> Result<Self, LinkError> {
        Link::connect_unnamed(end, random_seed()).map(|link| Self::over(link, end))
    }

    fn over(link: Link, end: &End) -> Self {
        Self {
            link,
            frames: VecDeque::new(),
            ended: None,
            next_id: 2,
            is_websocket: matches!(end.url.endpoint, Endpoint::Ws { .. }),
        }
    }

    /// An id that no request of this connection has had.
    pub(super) fn fresh_id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn is_websocket(&self) -> bool {
        self.is_websocket
    }

    /// Why nothing more comes on this connection.
    pub(super) fn ended(&self) -> Option<&LinkError> {
        self.ended.as_ref()
    }

    /// Sends a BTP frame, whatever its bytes are.
    pub(super) fn send(&mut self, frame: &[u8]) {
        self.link.output.send_frame(frame);
        self.flush();
    }

    /// Sends an ILP packet, whatever its bytes are.
    pub(super) fn send_packet(&mut self, frame_type: FrameType, id: u32, packet: &[u8]) {
        let mut frame = Vec::new();
        btp::put_ilp(&mut frame, frame_type, id, packet);
        self.send(&frame);
    }

    /// Sends bytes as they are: on a WebSocket they are to bring their frames along.
    pub(super) fn send_raw(&mut self, bytes: &[u8]) {
        self.link.output.send_raw(bytes);
        self.flush();
    }

    /// The next mask, on a WebSocket.
    pub(super) fn mask(&mut self) -> Option<[u8; 4]> {
        self.link.output.next_mask()
    }

    /// The payload of the last pong, once.
    pub(super) fn take_pong(&mut self) -> Option<Vec<u8>> {
        self.link.input.last_pong.take()
    }

    /// The next frame that has come.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        self.pump();
        self.frames.pop_front()
    }

    /// The frame that answers `id`, if it comes in time; frames before it are dropped.
    pub(super) fn answer(&mut self, id: u32, wait: Duration) -> Option<Vec<u8>> {
        let deadline = Instant::now() + wait;
        loop {
            while let Some(bytes) = self.next() {
                if answers(&bytes, id) {
                    return Some(bytes);
                }
            }
            if self.ended.is_some() || !wait_for(&mut [self], deadline) {
                return None;
            }
        }
    }

    /// Waits for the end of the connection; frames that come before it are dropped.
    pub(super) fn wait_for_end(&mut self, wait: Duration) -> bool {
        let deadline = Instant::now() + wait;
        loop {
            while self.next().is_some() {}
            if self.ended.is_some() {
                return true;
            }
            if !wait_for(&mut [self], deadline) {
                return false;
            }
        }
    }

    /// Reads all that is there.
    fn pump(&mut self) {
        while self.ended.is_none() {
            let drain = match self.link.receive() {
                Ok(drain) => drain,
                // What came before the end is still to be read.
                Err(error) => {
                    self.take_frames();
                    self.ended.get_or_insert(error);
                    return;
                }
            };
            self.take_frames();
            if drain == Drain::Done {
                break;
            }
        }
        self.link.output.writable = true;
        self.flush();
    }

    fn take_frames(&mut self) {
        loop {
            match self.link.input.next(&mut self.link.output) {
                Ok(Some(frame)) => self.frames.push_back(frame.to_vec()),
                Ok(None) => return,
                Err(reason) => {
                    self.ended = Some(self.link.nonsense(&reason));
                    return;
                }
            }
        }
    }

    fn flush(&mut self) {
        if self.ended.is_none()
            && let Err(error) = self.link.flush()
        {
            // What the target said before it hung up is worth more than that it did.
            self.take_rest();
            self.ended.get_or_insert(error);
        }
    }

    fn take_rest(&mut self) {
        while let Ok(drain) = self.link.receive() {
            self.take_frames();
            if drain == Drain::Done || self.ended.is_some() {
                return;
            }
        }
    }
}

/// Waits until one of the connections has something or `deadline` has passed; false then.
pub(super) fn wait_for(wires: &mut [&mut Wire], deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return false;
    }
    let timeout = Timespec::try_from(left).expect("waits are minutes at most");
    let mut fds: Vec<_> = wires
        .iter()
        .filter(|wire| wire.ended.is_none())
        .map(|wire| PollFd::new(&wire.link, PollFlags::IN))
        .collect();
    // A signal ends the wait early, and the caller looks and waits again.
    let _ = poll(&mut fds, Some(&timeout));
    true
}

/// Whether a frame is a RESPONSE or ERROR under this id.
fn answers(bytes: &[u8], id: u32) -> bool {
    Frame::new_checked(bytes).is_ok_and(|frame| {
        frame.request_id() == id
            && matches!(frame.frame_type(), FrameType::Response | FrameType::Error)
    })
}

/// Masks need no secrecy here (see [`crate::link::Output::next_mask`]).
fn random_seed() -> u64 {
    getrandom::u64().unwrap_or(1)
}
