//! One end's connection to the target: BTP frames in a WebSocket, on TCP, or on a Unix socket.
//!
//! ```text
//! connect --> WebSocket handshake (ws only) --> auth MESSAGE --> RESPONSE --> open
//!    |                  |                                          ERROR --> refused
//!    +------------------+-- blocking, within one time limit --------+        then non-blocking
//! ```
//!
//! Input and output are apart, so that an answer can be written while the frame that it answers
//! still stands in the receive buffer.
//!
//! Invariant: bytes leave in the order they were queued, and a frame is read once.

mod refusal;
mod stream;

use std::fmt;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use m2_codec::btp::{self, FrameType};
use m2_codec::url::Endpoint;
use m2_codec::ws::{self, Event, handshake};

use crate::limits;
use crate::payload::mix;
use crate::workload::End;
use refusal::{Refusal, accepted};
use stream::Stream;

/// Request id of the message that authenticates. Ids of PREPAREs may be the same: it is answered
/// before the first of them is sent.
const AUTH_ID: u32 = 1;

/// Why a link cannot be used any longer: a sentence with end, cause and, where there is one, fix.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LinkError(String);

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a socket may have more to read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Drain {
    /// The buffer was filled; ask again.
    More,
    /// Nothing is left for now.
    Done,
}

/// An open connection.
#[derive(Debug)]
pub struct Link {
    name: String,
    stream: Stream,
    /// What arrived.
    pub input: Input,
    /// What is to leave.
    pub output: Output,
}

impl Link {
    /// Connects an end and shows its token.
    ///
    /// # Errors
    ///
    /// When the target cannot be reached, is no BTP server, or does not accept the token.
    pub fn connect(end: &End, mask_seed: u64) -> Result<Self, LinkError> {
        Self::reach(end, mask_seed, Self::open)
    }

    /// Connects an end as far as the WebSocket handshake, and shows no token.
    ///
    /// # Errors
    ///
    /// When the target cannot be reached, or speaks no WebSocket where it should.
    pub fn connect_unnamed(end: &End, mask_seed: u64) -> Result<Self, LinkError> {
        Self::reach(end, mask_seed, Self::upgrade)
    }

    fn reach(
        end: &End,
        mask_seed: u64,
        open: impl FnOnce(&mut Self, &End, Instant) -> Result<(), Refusal>,
    ) -> Result<Self, LinkError> {
        let deadline = Instant::now() + Duration::from_millis(limits::CONNECT_MS);
        let stream = Stream::connect(&end.url.endpoint, deadline).map_err(|error| {
            LinkError(format!(
                "end '{}': cannot connect to {}: {error}; is the target running, and listening \
                 there?",
                end.name, end.url
            ))
        })?;
        let mut link = Self::over(end, stream, mask_seed);
        open(&mut link, end, deadline).map_err(|refusal| refusal.explain(end))?;
        link.stream.set_nonblocking().map_err(|error| link.fault(&error))?;
        Ok(link)
    }

    /// Reads once into the receive buffer.
    ///
    /// # Errors
    ///
    /// When the connection has ended.
    pub fn receive(&mut self) -> Result<Drain, LinkError> {
        let room = self.input.room();
        let len = room.len();
        match self.stream.read(room) {
            Ok(0) => Err(self.closed()),
            Ok(count) => {
                self.input.end += count;
                // On a stream socket, fewer bytes than there was room for means that all were
                // taken, and the next ones will wake us (epoll(7), edge-triggered).
                Ok(if count < len { Drain::Done } else { Drain::More })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Drain::Done),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Drain::More),
            Err(error) => Err(self.fault(&error)),
        }
    }

    /// Writes what is queued, as far as the socket takes it.
    ///
    /// # Errors
    ///
    /// When the connection has ended.
    pub fn flush(&mut self) -> Result<(), LinkError> {
        while self.output.writable && self.output.unsent() > 0 {
            match self.stream.write(self.output.queued()) {
                Ok(count) => self.output.left(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.output.writable = false;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.fault(&error)),
            }
        }
        Ok(())
    }

    /// Gives a sentence to what [`Input::next`] could not read.
    #[must_use]
    pub fn nonsense(&self, reason: &Nonsense) -> LinkError {
        LinkError(match reason {
            Nonsense::Closed(code) => format!(
                "end '{}': the target closed the WebSocket with code {code} in the middle of the \
                 run; its log should say why",
                self.name
            ),
            Nonsense::Ws(reason) => format!(
                "end '{}': the target broke the WebSocket protocol ({}); is it a BTP server?",
                self.name,
                reason.as_str()
            ),
            Nonsense::Btp(reason) => format!(
                "end '{}': the target sent bytes that are no BTP ({reason}), so that no later \
                 frame can be found; is it a BTP server?",
                self.name
            ),
        })
    }

    fn over(end: &End, stream: Stream, mask_seed: u64) -> Self {
        let ws = matches!(end.url.endpoint, Endpoint::Ws { .. });
        let framing = if ws {
            Framing::Ws(ws::Reader::new(ws::Role::Client, btp::FRAME_LEN_MAX))
        } else {
            Framing::Raw
        };
        let buffer = vec![0; limits::INGRESS_BYTES];
        let input = Input { framing, buffer, start: 0, end: 0, last_pong: None };
        let masks = ws.then_some(mask_seed);
        let output =
            Output { bytes: Vec::new(), sent: 0, writable: true, masks, scratch: Vec::new() };
        Self { name: end.name.clone(), stream, input, output }
    }

    fn upgrade(&mut self, end: &End, deadline: Instant) -> Result<(), Refusal> {
        match &end.url.endpoint {
            Endpoint::Ws { host, port, path } => {
                self.shake_hands(&authority(host, *port), path, deadline)
            }
            Endpoint::Tcp { .. } | Endpoint::Unix { .. } => Ok(()),
        }
    }

    fn open(&mut self, end: &End, deadline: Instant) -> Result<(), Refusal> {
        self.upgrade(end, deadline)?;
        let username = end.url.username.as_deref().unwrap_or(&end.name);
        let mut message = Vec::new();
        btp::auth::put(&mut message, AUTH_ID, Some(username), end.token.expose());
        self.output.send_frame(&message);
        self.stream.write_all(self.output.queued())?;
        self.output.left(self.output.unsent());
        loop {
            if let Some(frame) = self.input.next(&mut self.output).map_err(Refusal::Nonsense)? {
                return accepted(frame);
            }
            self.fill(deadline)?;
        }
    }

    fn shake_hands(&mut self, host: &str, path: &str, deadline: Instant) -> Result<(), Refusal> {
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(io::Error::from)?;
        let mut request = Vec::new();
        handshake::put_request(&mut request, host, path, &key);
        self.stream.write_all(&request)?;
        loop {
            let arrived = &self.input.buffer[self.input.start..self.input.end];
            if let Some(len) = handshake::check_response(arrived, &key)? {
                self.input.start += len;
                return Ok(());
            }
            if arrived.len() > limits::HANDSHAKE_LEN_MAX {
                return Err(Refusal::Handshake(handshake::HandshakeError::BadHttp));
            }
            self.fill(deadline)?;
        }
    }

    fn fill(&mut self, deadline: Instant) -> io::Result<()> {
        self.stream.set_timeout(deadline)?;
        match self.stream.read(self.input.room())? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection")),
            count => {
                self.input.end += count;
                Ok(())
            }
        }
    }

    fn closed(&self) -> LinkError {
        LinkError(format!(
            "end '{}': the target closed the connection in the middle of the run; its log should \
             say why",
            self.name
        ))
    }

    fn fault(&self, error: &io::Error) -> LinkError {
        LinkError(format!(
            "end '{}': the connection broke in the middle of the run: {error}",
            self.name
        ))
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

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
    fn room(&mut self) -> &mut [u8] {
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
            Event::Pong => *last_pong = Some(rest[2..consumed].to_vec()),
            Event::Fragment | Event::Text => {}
        }
    }
}

/// What is queued for a socket.
#[derive(Debug)]
pub struct Output {
    bytes: Vec<u8>,
    /// How many of them the socket has taken.
    sent: usize,
    /// False from the moment the socket takes no more until it says that it does again.
    pub writable: bool,
    /// Where masks are drawn from, on a WebSocket.
    masks: Option<u64>,
    scratch: Vec<u8>,
}

impl Output {
    /// Queues an ILP packet in a frame of its own.
    pub fn send(&mut self, frame_type: FrameType, request_id: u32, packet: &[u8]) {
        if self.masks.is_none() {
            btp::put_ilp(&mut self.bytes, frame_type, request_id, packet);
            return;
        }
        let mut frame = std::mem::take(&mut self.scratch);
        frame.clear();
        btp::put_ilp(&mut frame, frame_type, request_id, packet);
        self.send_frame(&frame);
        self.scratch = frame;
    }

    /// Queues a whole BTP frame.
    pub fn send_frame(&mut self, frame: &[u8]) {
        let mask = self.next_mask();
        if mask.is_some() {
            ws::put_binary_header(&mut self.bytes, frame.len(), mask);
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(frame);
        if let Some(mask) = mask {
            ws::apply_mask(&mut self.bytes[start..], mask);
        }
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

    fn pong(&mut self, payload: &[u8]) {
        let mask = self.next_mask();
        ws::put_control(&mut self.bytes, ws::Opcode::Pong, payload, mask);
    }

    fn queued(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    fn left(&mut self, count: usize) {
        self.sent += count;
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        } else if self.sent > self.bytes.len() / 2 && self.sent > limits::INGRESS_BYTES {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// The next mask, on a WebSocket. RFC 6455 wants them unpredictable, to keep scripts in browsers from writing
    /// bytes of their choice on a connection; a generator chooses all of its bytes itself.
    pub fn next_mask(&mut self) -> Option<[u8; 4]> {
        let state = self.masks.as_mut()?;
        *state = mix(*state);
        let [a, b, c, d, ..] = state.to_le_bytes();
        Some([a, b, c, d])
    }
}

#[cfg(test)]
mod tests;
