//! The other end of a link: a socket that takes connections, as a connector's listener does.
//!
//! One connection is taken at a time, blocking and within a time limit; what comes out is the same
//! [`Link`] that dialling gives.

use std::io::{self, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use m2_codec::btp::{self, Frame, auth};
use m2_codec::ws::{self, handshake};

use super::{Input, Link, LinkError, Output, stream::Stream};
use crate::limits;

/// What a link is spoken over.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Transport {
    /// BTP frames on TCP.
    Tcp,
    /// BTP frames in WebSocket messages.
    Ws,
    /// BTP frames on a Unix socket.
    Unix,
}

impl Transport {
    /// The word of reports and command lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Ws => "ws",
            Self::Unix => "unix",
        }
    }
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// A socket that takes connections. A Unix socket's file goes with it.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    transport: Transport,
}

impl Listener {
    /// Listens on loopback at a port that is free, or at `path`.
    ///
    /// # Errors
    ///
    /// When the operating system gives none.
    pub fn bind(transport: Transport, path: &Path) -> io::Result<Self> {
        let socket = match transport {
            Transport::Tcp | Transport::Ws => Socket::Tcp(TcpListener::bind(("127.0.0.1", 0))?),
            Transport::Unix => Socket::Unix(UnixListener::bind(path)?, path.to_owned()),
        };
        Ok(Self { socket, transport })
    }

    /// The URL that leads here, without a name.
    ///
    /// # Errors
    ///
    /// When the socket does not tell where it is bound.
    pub fn url(&self) -> io::Result<String> {
        Ok(match (&self.socket, self.transport) {
            (Socket::Tcp(socket), Transport::Ws) => format!("btp+ws://{}/", socket.local_addr()?),
            (Socket::Tcp(socket), _) => format!("btp+tcp://{}", socket.local_addr()?),
            (Socket::Unix(_, path), _) => format!("btp+unix://{}", path.display()),
        })
    }

    /// Takes one connection, and lets it in if it shows `token`.
    ///
    /// # Errors
    ///
    /// When nobody comes, or who comes speaks no BTP or shows another token.
    pub fn accept(&self, token: &str) -> Result<Link, LinkError> {
        let deadline = Instant::now() + Duration::from_millis(limits::CONNECT_MS);
        let stream = self.take().map_err(|error| explain(&error))?;
        let (input, output) = match self.transport {
            Transport::Ws => (Input::ws(ws::Role::Server), Output::server()),
            Transport::Tcp | Transport::Unix => (Input::raw(), Output::raw()),
        };
        let mut link = Link { name: "accepted".to_owned(), stream, input, output };
        link.admit(self.transport, token, deadline).map_err(|error| explain(&error))?;
        link.stream.set_nonblocking().map_err(|error| link.fault(&error))?;
        Ok(link)
    }

    fn take(&self) -> io::Result<Stream> {
        match &self.socket {
            Socket::Tcp(socket) => {
                let (stream, _) = socket.accept()?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Socket::Unix(socket, _) => Ok(Stream::Unix(socket.accept()?.0)),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Socket::Unix(_, path) = &self.socket {
            // If it is gone already, so much the better.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Link {
    fn admit(&mut self, transport: Transport, token: &str, deadline: Instant) -> io::Result<()> {
        if transport == Transport::Ws {
            self.greet(deadline)?;
        }
        loop {
            let frame = self.input.next(&mut self.output).map_err(|_| no_btp())?;
            if let Some(frame) = frame {
                let frame = Frame::new_checked(frame).map_err(|_| no_btp())?;
                let shown = auth::read(&frame).map_err(|_| no_btp())?;
                if shown.token != token {
                    return Err(io::Error::other("it showed another token"));
                }
                let mut response = Vec::new();
                btp::put_response(&mut response, frame.request_id(), &[]);
                self.output.send_frame(&response);
                self.stream.write_all(self.output.queued())?;
                self.output.left(self.output.unsent());
                return Ok(());
            }
            self.fill(deadline)?;
        }
    }

    /// The server's half of the WebSocket handshake.
    fn greet(&mut self, deadline: Instant) -> io::Result<()> {
        loop {
            let arrived = self.input.unread();
            if let Some(request) = handshake::parse_request(arrived).map_err(|_| no_btp())? {
                let mut response = Vec::new();
                request.put_response(&mut response);
                let len = request.consumed;
                self.input.take(len);
                return self.stream.write_all(&response);
            }
            if arrived.len() > limits::HANDSHAKE_LEN_MAX {
                return Err(no_btp());
            }
            self.fill(deadline)?;
        }
    }
}

fn no_btp() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it does not speak BTP")
}

fn explain(error: &io::Error) -> LinkError {
    LinkError(format!("a connection to this process could not be taken: {error}"))
}
