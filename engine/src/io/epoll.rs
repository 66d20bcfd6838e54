//! Told by epoll, at edges; received and sent link by link.

use core::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use arrayvec::ArrayVec;
use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::{Io, Outgoing, Ready, Received, Taken};
use crate::clock;
use crate::limits::{READY_MAX, SENDS_MAX};

/// What epoll tells of our own wake-up; a place of a link is far below.
const WAKE: u64 = u64::MAX;
/// An end or an error.
const ENDED: EventFlags = EventFlags::RDHUP.union(EventFlags::HUP).union(EventFlags::ERR);

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Epoll {
    epoll: OwnedFd,
    /// An eventfd; its edge is told whatever its counter stands at.
    _wake: Arc<OwnedFd>,
}

impl Epoll {
    /// `wake` is an eventfd that wakes the shard.
    ///
    /// # Errors
    ///
    /// When the kernel has no descriptor for us.
    pub(super) fn new(wake: Arc<OwnedFd>) -> Result<Self, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, &*wake, epoll::EventData::new_u64(WAKE), flags)?;
        Ok(Self { epoll, _wake: wake })
    }
}

impl Io for Epoll {
    fn add(&mut self, place: usize, socket: &OwnedFd) -> Result<(), Errno> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, socket, epoll::EventData::new_u64(place as u64), flags)
    }

    fn remove(&mut self, _place: usize, socket: &OwnedFd) {
        // It fails only if the socket is not there.
        let _ = epoll::delete(&self.epoll, socket);
    }

    fn wait(&mut self, patience_ns: Option<u64>, ready: &mut Vec<Ready>) {
        let timeout = patience_ns.map(clock::timespec);
        let mut events = [MaybeUninit::uninit(); READY_MAX];
        let room = READY_MAX.min(ready.capacity() - ready.len());
        match epoll::wait(&self.epoll, &mut events[..room], timeout.as_ref()) {
            Ok((events, _)) => ready.extend(events.iter().map(told)),
            Err(Errno::INTR) => {}
            Err(error) => panic!("epoll cannot wait: {error}"),
        }
    }

    fn receive(
        &mut self,
        _place: usize,
        socket: &OwnedFd,
        room: &mut [u8],
    ) -> Result<Received, Errno> {
        let wanted = room.len();
        loop {
            match recv(socket, &mut *room, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Ok(Received::End),
                // A short receive found the end of what there was.
                Ok((count, _)) => return Ok(Received::Bytes { count, more: count == wanted }),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Received::Nothing),
                Err(error) => return Err(error),
            }
        }
    }

    fn send(&mut self, outgoing: &[Outgoing<'_>], taken: &mut ArrayVec<Taken, SENDS_MAX>) {
        taken.extend(outgoing.iter().map(|it| send_all(it.socket, it.bytes)));
    }
}

fn told(event: &epoll::Event) -> Ready {
    let (data, flags) = (event.data.u64(), event.flags);
    if data == WAKE {
        return Ready::Wake;
    }
    Ready::Link {
        place: usize::try_from(data).expect("a place was given"),
        readable: flags.intersects(EventFlags::IN | ENDED),
        writable: flags.intersects(EventFlags::OUT | EventFlags::ERR),
        hung_up: flags.intersects(ENDED),
    }
}

/// Until all is sent, or the kernel takes no more.
fn send_all(socket: &OwnedFd, bytes: &[u8]) -> Taken {
    let mut count = 0;
    while count < bytes.len() {
        match send(socket, &bytes[count..], SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(more) => count += more,
            Err(Errno::INTR) => {}
            Err(error) => return Taken { count, stopped: Some(error) },
        }
    }
    Taken { count, stopped: None }
}
