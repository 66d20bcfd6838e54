//! How threads wake each other: an eventfd for the shard, a byte in a socket pair for the control
//! thread, whose runtime waits on sockets.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{SendFlags, send};

/// Wakes the control thread. A byte that finds the pair full has been sent before.
#[derive(Clone, Debug)]
pub(crate) struct Nudge(Arc<UnixStream>);

impl Nudge {
    /// The end that wakes and the end that is woken.
    ///
    /// # Errors
    ///
    /// When the kernel has no descriptor for us.
    pub(crate) fn pair() -> std::io::Result<(Self, UnixStream)> {
        let (sender, receiver) = UnixStream::pair()?;
        sender.set_nonblocking(true)?;
        receiver.set_nonblocking(true)?;
        Ok((Self(Arc::new(sender)), receiver))
    }

    /// Wakes the control thread, now or at its next look.
    pub(crate) fn send(&self) {
        let _ = send(&*self.0, &[1], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }
}

/// What a shard waits on beside its sockets.
///
/// # Errors
///
/// When the kernel has no descriptor for us.
pub(crate) fn shard_wake() -> rustix::io::Result<OwnedFd> {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
}

/// Wakes a shard. Its edge is told to epoll whatever the counter stands at.
pub(crate) fn wake(shard: &OwnedFd) {
    // The one error is a counter at its end, and then the shard is awake.
    let _ = rustix::io::write(shard, &1_u64.to_ne_bytes());
}
