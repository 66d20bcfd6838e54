//! What arrived on a link, and where frames begin and end in it.
//!
//! Invariant: `start` and `end` bound what was not read yet; a frame is lent where it stands.

use std::ops::Range;

use m2_codec::btp;
use m2_codec::ws::{self, Event};

use super::Output;
use crate::limits;

/// Why the bytes of a link cannot be read on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Nonsense {
    /// A WebSocket close frame, with its code.
    Closed(u16),
    /// No WebSocket frame.
    Ws(ws::CloseReason),
    /// No BTP frame, and its end is not to be found.
    Btp(btp::DecodeError),
}

#[derive(Debug)]
enum Framing {
    Raw,
    Ws(ws::Reader),
}

/// The receive buffer, and where frames begin and end in it.
#[derive(Debug)]
pub struct Input {
    framing: Framing,
    buffer: Vec<u8>,
    /// First byte that was not read yet.
    start: usize,
    /// First byte that has not arrived.
    end: usize,
    /// Payload of the pong that came last.
    pub last_pong: Option<Vec<u8>>,
}

/// Where a frame stands.
enum Found {
    Here(Range<usize>),
    Assembled,
}

impl Input {
    /// Of BTP frames one behind the other.
    #[must_use]
    pub(super) fn raw() -> Self {
        Self::new(Framing::Raw)
    }

    /// Of the WebSocket messages that one in this role receives.
    #[must_use]
    pub(super) fn ws(role: ws::Role) -> Self {
        Self::new(Framing::Ws(ws::Reader::new(role, btp::FRAME_LEN_MAX)))
    }

    fn new(framing: Framing) -> Self {
        let buffer = vec![0; limits::INGRESS_BYTES];
        Self { framing, buffer, start: 0, end: 0, last_pong: None }
    }

    /// What has arrived and was not read.
    pub(super) fn unread(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// So many bytes of [`Input::unread`] were read.
    pub(super) fn take(&mut self, len: usize) {
        self.start += len;
        assert!(self.start <= self.end, "only what arrived is read");
    }

    /// So many bytes of [`Input::room`] have arrived.
    pub(super) fn arrived(&mut self, len: usize) {
        self.end += len;
        assert!(self.end <= self.buffer.len(), "no more arrives than there is room for");
    }

    /// The next whole frame, or `None` until more arrives. Pings are answered on the way.
    ///
    /// # Errors
    ///
    /// When nothing that follows can be read.
    pub fn next(&mut self, output: &mut Output) -> Result<Option<&[u8]>, Nonsense> {
        let found = match &mut self.framing {
            Framing::Raw => next_raw(&self.buffer[..self.end], &mut self.start)?,
            Framing::Ws(reader) => {
                let arrived = &mut self.buffer[..self.end];
                next_ws(reader, arrived, &mut self.start, output, &mut self.last_pong)?
            }
        };
        Ok(found.map(|found| match (found, &self.framing) {
            (Found::Assembled, Framing::Ws(reader)) => reader.assembled(),
            (Found::Here(range), _) => &self.buffer[range],
            (Found::Assembled, Framing::Raw) => unreachable!("only a WebSocket assembles"),
        }))
    }

    /// Room behind what has arrived, for one frame at least.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.buffer.len() - self.end < limits::INGRESS_BYTES / 2 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.buffer[self.end..]
    }
}

fn next_raw(arrived: &[u8], start: &mut usize) -> Result<Option<Found>, Nonsense> {
    let rest = &arrived[*start..];
    match btp::frame_len(rest).map_err(Nonsense::Btp)? {
        Some(len) if len <= rest.len() => {
            let range = *start..*start + len;
            *start = range.end;
            Ok(Some(Found::Here(range)))
        }
        _ => Ok(None),
    }
}

fn next_ws(
    reader: &mut ws::Reader,
    arrived: &mut [u8],
    start: &mut usize,
    output: &mut Output,
    last_pong: &mut Option<Vec<u8>>,
) -> Result<Option<Found>, Nonsense> {
    // Each turn takes a frame of at least two bytes off the buffer.
    loop {
        let rest = &mut arrived[*start..];
        let Some((consumed, event)) = reader.next(rest).map_err(Nonsense::Ws)? else {
            return Ok(None);
        };
        let begin = *start;
        *start += consumed;
        match event {
            Event::Message(range) => {
                return Ok(Some(Found::Here(begin + range.start..begin + range.end)));
            }
            Event::Assembled => return Ok(Some(Found::Assembled)),
            Event::Ping(range) => output.pong(&rest[range]),
            Event::Close { code } => return Err(Nonsense::Closed(code)),
            // A server's frame has no mask, and that of a pong no longer header than these two bytes.
            // Only a client asks, so a server's end passes over what its client sends.
            Event::Pong => *last_pong = Some(rest[2..consumed].to_vec()),
            Event::Fragment | Event::Text => {}
        }
    }
}
