//! Sockets as the control thread uses them: the runtime waits, plain calls read and write.
//!
//! The runtime gets a duplicate of the descriptor and is asked only when it is ready. So a wait can be
//! given up at any time without losing bytes, one type serves TCP and Unix sockets alike, and the
//! descriptor itself stays ours to hand to a shard.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use monoio::net::UnixStream as Waiter;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
    connect, recv, send, socket_with, sockopt,
};

/// A connection.
#[derive(Debug)]
pub(super) struct Wire {
    socket: OwnedFd,
    waiter: Waiter,
}

impl Wire {
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        let waiter = waiter(&socket)?;
        Ok(Self { socket, waiter })
    }

    /// Connects to a TCP address.
    pub(super) async fn connect_tcp(address: SocketAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        Self::connected(family, |socket| connect(socket, &address)).await
    }

    /// Connects to a Unix socket.
    pub(super) async fn connect_unix(path: &std::path::Path) -> io::Result<Self> {
        let address = SocketAddrUnix::new(path)?;
        Self::connected(AddressFamily::UNIX, |socket| connect(socket, &address)).await
    }

    async fn connected(
        family: AddressFamily,
        begin: impl FnOnce(&OwnedFd) -> rustix::io::Result<()>,
    ) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        match begin(&socket) {
            Ok(()) => Self::new(socket),
            Err(Errno::INPROGRESS) => {
                let wire = Self::new(socket)?;
                wire.waiter.writable(false).await?;
                sockopt::socket_error(&wire.socket)??;
                Ok(wire)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Appends what comes next to `into`, at most `len_max` bytes. 0 is the end.
    pub(super) async fn receive(&self, into: &mut Vec<u8>, len_max: usize) -> io::Result<usize> {
        let mut chunk = zeroize::Zeroizing::new([0; 4096]);
        let len = len_max.min(chunk.len());
        loop {
            match recv(&self.socket, &mut chunk[..len], RecvFlags::DONTWAIT) {
                Ok((count, _)) => {
                    into.extend_from_slice(&chunk[..count]);
                    return Ok(count);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.waiter.readable(false).await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends all of it.
    pub(super) async fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match send(&self.socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.waiter.writable(false).await?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Ends our side and gives the peer a moment to read what we said: closing a socket with unread
    /// bytes would take it back.
    pub(super) async fn end(self, patience: Duration) {
        if rustix::net::shutdown(&self.socket, Shutdown::Write).is_err() {
            return;
        }
        let drain = async {
            let mut dropped = Vec::new();
            while self.receive(&mut dropped, 4096).await.is_ok_and(|count| count > 0) {
                dropped.clear();
            }
        };
        let _ = monoio::time::timeout(patience, drain).await;
    }

    /// The descriptor; the runtime has none of it any more.
    pub(super) fn into_socket(self) -> OwnedFd {
        self.socket
    }

    pub(super) fn socket(&self) -> &OwnedFd {
        &self.socket
    }
}

/// A bound listener.
#[derive(Debug)]
pub(crate) enum Listener {
    /// TCP, and so also WebSocket.
    Tcp(TcpListener),
    /// Unix.
    Unix(UnixListener),
}

/// Who connected.
#[derive(Debug)]
pub(super) struct Origin {
    /// Of TCP.
    pub(super) ip: Option<IpAddr>,
    /// As the log has it.
    pub(super) text: String,
}

/// A listener that is waited on.
#[derive(Debug)]
pub(super) struct Door {
    listener: Listener,
    waiter: Waiter,
}

impl Door {
    pub(super) fn new(listener: Listener) -> io::Result<Self> {
        let waiter = match &listener {
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                waiter(listener)?
            }
            Listener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                waiter(listener)?
            }
        };
        Ok(Self { listener, waiter })
    }

    /// The next connection, and who it is as far as the kernel knows.
    pub(super) async fn accept(&self) -> io::Result<(OwnedFd, Origin)> {
        loop {
            let accepted = match &self.listener {
                Listener::Tcp(listener) => listener.accept().map(|(stream, from)| {
                    let from = Origin { ip: Some(from.ip()), text: from.to_string() };
                    (stream.into(), from)
                }),
                Listener::Unix(listener) => listener.accept().map(|(stream, _)| {
                    let from = Origin { ip: None, text: peer(&stream) };
                    (stream.into(), from)
                }),
            };
            match accepted {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.waiter.readable(false).await?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                accepted => return accepted,
            }
        }
    }
}

/// Small packets go at once, and a peer that vanished is found by the kernel: by keepalive when
/// nothing is under way, by the user timeout when something is.
pub(super) fn tune_tcp(socket: &OwnedFd, ping_ms: u32) {
    let seconds = Duration::from_millis(u64::from(ping_ms)).max(Duration::from_secs(1));
    // Each only makes the link better; one that the kernel refuses is no reason to be without it.
    let _ = sockopt::set_tcp_nodelay(socket, true);
    let _ = sockopt::set_socket_keepalive(socket, true);
    let _ = sockopt::set_tcp_keepidle(socket, seconds);
    let _ = sockopt::set_tcp_keepintvl(socket, (seconds / 3).max(Duration::from_secs(1)));
    let _ = sockopt::set_tcp_keepcnt(socket, 3);
    let _ = sockopt::set_tcp_user_timeout(socket, ping_ms.saturating_mul(2).max(1_000));
}

fn waiter(socket: impl AsFd) -> io::Result<Waiter> {
    let duplicate = socket.as_fd().try_clone_to_owned()?;
    Waiter::from_std(UnixStream::from(duplicate))
}

/// Which process is at the other end of a Unix socket.
fn peer(stream: &UnixStream) -> String {
    match sockopt::socket_peercred(stream) {
        Ok(credentials) => format!(
            "unix: process {}, user {}",
            credentials.pid.as_raw_nonzero(),
            credentials.uid.as_raw()
        ),
        Err(_) => "unix: unknown process".into(),
    }
}
