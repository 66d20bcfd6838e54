//! How bytes get from sockets to links and back: one small trait, and two back ends that do the same.
//!
//! ```text
//!             epoll.rs                        uring.rs
//!   wait      epoll_wait                      io_uring_enter, unless something has come already
//!   receive   recv, into the link's buffer    a copy of what the kernel has received before
//!   send      send, for each link             io_uring_enter, for all links
//! ```
//!
//! A link is known by its place, a small number that is used again once the link was removed. It
//! is received from when it was told of and until a receive finds nothing; and sent to until the
//! kernel takes no more, and again once it was told that there is room.
//!
//! Invariant: when a method returns, the kernel has no byte of the caller's. What was sent is known
//! at once, so nobody has to wonder which packets had left when a link is lost.

pub(crate) mod choose;
mod desk;
mod epoll;
mod parcels;
mod uring;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use arrayvec::ArrayVec;
use rustix::io::Errno;

use crate::limits::SENDS_MAX;

/// See the head of the file. Called through a pointer: each call stands beside a system call or a
/// copy of kilobytes, and none is for a single packet.
pub(crate) trait Io: core::fmt::Debug + Send {
    /// Takes a link's socket in at a place that is free.
    ///
    /// # Errors
    ///
    /// When the kernel has no room for it; the place stays free.
    fn add(&mut self, place: usize, socket: &OwnedFd) -> Result<(), Errno>;

    /// Forgets the link at a place, and what has come for it; the place is free then.
    fn remove(&mut self, place: usize, socket: &OwnedFd);

    /// Waits until the kernel has something, the shard is woken, or `patience_ns` are over (`None`:
    /// for ever), and adds what there is to `ready`, up to its capacity.
    ///
    /// # Panics
    ///
    /// When the kernel does not let us wait.
    fn wait(&mut self, patience_ns: Option<u64>, ready: &mut Vec<Ready>);

    /// Takes once what has come for a link, up to the room there is, which is not nothing.
    ///
    /// # Errors
    ///
    /// What became of the connection, once all that came before was received.
    fn receive(
        &mut self,
        place: usize,
        socket: &OwnedFd,
        room: &mut [u8],
    ) -> Result<Received, Errno>;

    /// Gives the kernel all it takes of each, in any order; what came of each is added to `taken`,
    /// in theirs. Each link stands in `outgoing` once.
    fn send(&mut self, outgoing: &[Outgoing<'_>], taken: &mut ArrayVec<Taken, SENDS_MAX>);
}

/// What implements [`Io`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum BackEnd {
    Epoll,
    Uring,
}

impl BackEnd {
    /// As the configuration has it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Epoll => "epoll",
            Self::Uring => "io_uring",
        }
    }

    /// For a shard with so many links at most. `wake` is an eventfd that wakes it.
    ///
    /// # Errors
    ///
    /// When the kernel does not permit it, or has no descriptor or memory for us.
    pub(crate) fn open(self, wake: &Arc<OwnedFd>, links_max: usize) -> io::Result<Box<dyn Io>> {
        let wake = Arc::clone(wake);
        Ok(match self {
            Self::Epoll => Box::new(epoll::Epoll::new(wake)?),
            Self::Uring => Box::new(uring::Uring::new(wake, links_max)?),
        })
    }
}

/// What there is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ready {
    /// Another thread has something for the shard.
    Wake,
    /// Something on a link.
    Link {
        /// Whose.
        place: usize,
        /// There is something to receive, an end or an error among it.
        readable: bool,
        /// There may be room to send.
        writable: bool,
        /// An end or an error is behind what there is to receive, so a receive that comes short has
        /// not found the last of it.
        hung_up: bool,
    },
}

/// What was done by [`Io::receive`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Received {
    /// Something has come.
    Bytes {
        /// How much of the room it has filled.
        count: usize,
        /// There may be more. If not, more will be told.
        more: bool,
    },
    /// Nothing is there; what comes will be told.
    Nothing,
    /// The peer has ended its side.
    End,
}

/// What a link has to say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing<'a> {
    /// Which link.
    pub(crate) place: usize,
    /// Its socket.
    pub(crate) socket: &'a OwnedFd,
    /// Its bytes. Where there are none, nothing is done.
    pub(crate) bytes: &'a [u8],
}

/// What the kernel took of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Taken {
    /// How many bytes.
    pub(crate) count: usize,
    /// Why no more; `None` when it took all. After [`Errno::AGAIN`] it will be told when there is
    /// room.
    pub(crate) stopped: Option<Errno>,
}

#[cfg(test)]
mod tests;
