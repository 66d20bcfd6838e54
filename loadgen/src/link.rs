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

mod accept;
mod input;
mod output;
mod refusal;
mod stream;

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use m2_codec::btp;
use m2_codec::url::Endpoint;
use m2_codec::ws::{self, handshake};

use crate::limits;
use crate::workload::End;
pub use accept::{Listener, Transport};
pub use input::{Input, Nonsense};
pub use output::Output;
use refusal::{Refusal, accepted};
use stream::Stream;

/// Request id of the message that authenticates. Ids of PREPAREs may be the same: it is answered
/// before the first of them is sent.
const AUTH_ID: u32 = 1;

/// Why a link cannot be used any longer: a sentence with end, cause and, where there is one, fix.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LinkError(String);

impl LinkError {
    /// The operating system gave no descriptor.
    pub(crate) fn system(error: io::Error) -> Self {
        Self(format!("the operating system refused to help: {error}"))
    }
}

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
                self.input.arrived(count);
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
        let (input, output) = match end.url.endpoint {
            Endpoint::Ws { .. } => (Input::ws(ws::Role::Client), Output::client(mask_seed)),
            Endpoint::Tcp { .. } | Endpoint::Unix { .. } => (Input::raw(), Output::raw()),
        };
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
            let arrived = self.input.unread();
            if let Some(len) = handshake::check_response(arrived, &key)? {
                self.input.take(len);
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
                self.input.arrived(count);
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

#[cfg(test)]
mod tests;
