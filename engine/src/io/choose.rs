//! Which back end serves the sockets: what the configuration says, or what is faster here.
//!
//! How the two compare depends on what a system call costs, which differs by a factor of five between
//! machines, with what they do against speculation. So both are tried, by turns, for some milliseconds:
//! a thread sends bursts over a few connections, and this one sends back what comes, as a shard does.
//! What counts is the CPU time of this thread: others may be busy, and a moment's sleep is no work.

use core::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use arrayvec::ArrayVec;

use super::{BackEnd, Io, Outgoing, Ready, Received, Taken};
use crate::clock;
use crate::config::SwitchIo;
use crate::limits::{
    IO_TRIAL_LINKS, IO_TRIAL_PATIENCE_NS, IO_TRIAL_ROUNDS, IO_TRIAL_SLICES, READY_MAX, SENDS_MAX,
};
use crate::shard::wake::shard_wake;

/// A back end, and why it is that one.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) back_end: BackEnd,
    pub(crate) reason: Reason,
}

/// Why a back end was chosen.
#[derive(Debug)]
pub(crate) enum Reason {
    /// The configuration says so.
    Configured,
    /// The kernel does not let us have the other.
    NotPermitted(io::Error),
    /// It could not be found out which is faster.
    NotTried(io::Error),
    /// What a round of the trial took with each, in nanoseconds.
    Tried { epoll_ns: u64, uring_ns: u64 },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => f.write_str("it is configured"),
            Self::NotPermitted(error) => write!(f, "io_uring is not permitted ({error})"),
            Self::NotTried(error) => write!(f, "they cannot be compared ({error})"),
            Self::Tried { epoll_ns, uring_ns } => write!(
                f,
                "{IO_TRIAL_LINKS} echoes take {epoll_ns} ns with epoll, {uring_ns} ns with io_uring"
            ),
        }
    }
}

/// Chooses.
///
/// # Errors
///
/// Where io_uring is wanted and not permitted: a sentence that says so.
pub(crate) fn choose(io: SwitchIo) -> Result<Choice, String> {
    choose_with(io, |back_end| back_end.open(&Arc::new(shard_wake()?), IO_TRIAL_LINKS))
}

/// As [`choose`], with a way to open a back end.
fn choose_with(
    io: SwitchIo,
    open: impl Fn(BackEnd) -> io::Result<Box<dyn Io>>,
) -> Result<Choice, String> {
    let choice = |back_end, reason| Ok(Choice { back_end, reason });
    if io == SwitchIo::Epoll {
        return choice(BackEnd::Epoll, Reason::Configured);
    }
    let uring = match open(BackEnd::Uring) {
        Ok(_) if io == SwitchIo::Uring => return choice(BackEnd::Uring, Reason::Configured),
        Ok(uring) => uring,
        Err(error) if io == SwitchIo::Auto => {
            return choice(BackEnd::Epoll, Reason::NotPermitted(error));
        }
        Err(error) => {
            return Err(format!(
                "io_uring is not permitted ({error}): write io = \"auto\" or io = \"epoll\" in [switch]"
            ));
        }
    };
    match open(BackEnd::Epoll).and_then(|epoll| try_both(epoll, uring)) {
        Ok((epoll_ns, uring_ns)) => {
            choice(faster(epoll_ns, uring_ns), Reason::Tried { epoll_ns, uring_ns })
        }
        Err(error) => choice(BackEnd::Epoll, Reason::NotTried(error)),
    }
}

/// Io_uring if it wins three in a hundred: a trial repeats to about that.
fn faster(epoll_ns: u64, uring_ns: u64) -> BackEnd {
    if uring_ns * 100 <= epoll_ns * 97 { BackEnd::Uring } else { BackEnd::Epoll }
}

/// What a round takes with each where it was disturbed least: what others do to us only adds.
fn try_both(epoll: Box<dyn Io>, uring: Box<dyn Io>) -> io::Result<(u64, u64)> {
    let (epoll, epoll_peers) = Trial::new(epoll)?;
    let (uring, uring_peers) = Trial::new(uring)?;
    // It ends with its connections, when a trial ends.
    thread::Builder::new().name("io-trial".into()).spawn(move || burst(epoll_peers))?;
    thread::Builder::new().name("io-trial".into()).spawn(move || burst(uring_peers))?;
    let mut trials = [epoll, uring];
    let mut least_ns = [u64::MAX; 2];
    for _ in 0..IO_TRIAL_SLICES {
        for (trial, least_ns) in trials.iter_mut().zip(&mut least_ns) {
            *least_ns = trial.slice()?.min(*least_ns);
        }
    }
    let [epoll_ns, uring_ns] = least_ns;
    Ok((epoll_ns, uring_ns))
}

/// Some packets.
const BURST: [u8; 1024] = [0; 1024];

/// Sends a burst to each and reads all of them back, over and over until that fails.
fn burst(mut peers: Vec<TcpStream>) {
    let mut read = BURST;
    loop {
        let sent = peers.iter_mut().try_for_each(|peer| peer.write_all(&BURST));
        let echoed = peers.iter_mut().try_for_each(|peer| peer.read_exact(&mut read));
        if sent.and(echoed).is_err() {
            return;
        }
    }
}

/// The connection of our own peer: whoever else finds the listener is let go.
fn accept(listener: &TcpListener, peer: SocketAddr) -> io::Result<TcpStream> {
    loop {
        let (ours, from) = listener.accept()?;
        if from == peer {
            return Ok(ours);
        }
    }
}

/// A few links of a back end.
#[derive(Debug)]
struct Trial {
    io: Box<dyn Io>,
    links: Vec<OwnedFd>,
    ready: Vec<Ready>,
}

impl Trial {
    /// With the peers of its links.
    fn new(mut io: Box<dyn Io>) -> io::Result<(Self, Vec<TcpStream>)> {
        let (mut links, mut peers) = (Vec::new(), Vec::new());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        for place in 0..IO_TRIAL_LINKS {
            let peer = TcpStream::connect(listener.local_addr()?)?;
            let ours = accept(&listener, peer.local_addr()?)?;
            ours.set_nodelay(true)?;
            peer.set_nodelay(true)?;
            let ours = OwnedFd::from(ours);
            io.add(place, &ours)?;
            links.push(ours);
            peers.push(peer);
        }
        Ok((Self { io, links, ready: Vec::with_capacity(READY_MAX) }, peers))
    }

    /// What a round takes.
    fn slice(&mut self) -> io::Result<u64> {
        let began_ns = clock::thread_cpu_ns();
        for _ in 0..IO_TRIAL_ROUNDS {
            self.round()?;
        }
        Ok((clock::thread_cpu_ns() - began_ns) / IO_TRIAL_ROUNDS)
    }

    /// Sends back a burst from each peer.
    ///
    /// # Errors
    ///
    /// When a burst does not come, or is not taken: the trial says nothing then.
    fn round(&mut self) -> io::Result<()> {
        let mut room = BURST;
        let mut waiting = IO_TRIAL_LINKS * BURST.len();
        let began_ns = clock::mono_ns();
        while waiting > 0 {
            self.io.wait(Some(IO_TRIAL_PATIENCE_NS), &mut self.ready);
            if clock::mono_ns() - began_ns >= IO_TRIAL_PATIENCE_NS {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let mut outgoing = ArrayVec::<Outgoing<'_>, SENDS_MAX>::new();
            for ready in self.ready.drain(..) {
                let Ready::Link { place, readable: true, .. } = ready else { continue };
                let socket = &self.links[place];
                match self.io.receive(place, socket, &mut room)? {
                    Received::Bytes { count, .. } => {
                        waiting -= count;
                        outgoing.push(Outgoing { place, socket, bytes: &BURST[..count] });
                    }
                    Received::Nothing => {}
                    Received::End => return Err(io::ErrorKind::UnexpectedEof.into()),
                }
            }
            let mut taken = ArrayVec::<Taken, SENDS_MAX>::new();
            self.io.send(&outgoing, &mut taken);
            if taken.iter().any(|taken| taken.stopped.is_some()) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> io::Error {
        io::Error::from_raw_os_error(1)
    }

    fn chosen(io: SwitchIo, is_permitted: bool) -> Result<Choice, String> {
        choose_with(io, |back_end| match back_end {
            BackEnd::Uring if !is_permitted => Err(refused()),
            _ => back_end.open(&Arc::new(shard_wake()?), IO_TRIAL_LINKS),
        })
    }

    #[test]
    fn what_is_configured_is_taken_and_what_is_not_permitted_is_refused() {
        for is_permitted in [false, true] {
            let choice = chosen(SwitchIo::Epoll, is_permitted).unwrap();
            assert_eq!(choice.back_end, BackEnd::Epoll);
            assert_eq!(choice.reason.to_string(), "it is configured");
        }
        assert_eq!(chosen(SwitchIo::Uring, true).unwrap().back_end, BackEnd::Uring);
        let told = chosen(SwitchIo::Uring, false).unwrap_err();
        assert!(told.starts_with("io_uring is not permitted (Operation not permitted"), "{told}");
        assert!(told.ends_with("write io = \"auto\" or io = \"epoll\" in [switch]"), "{told}");
    }

    #[test]
    fn where_nothing_is_configured_both_are_tried_unless_one_is_not_permitted() {
        let choice = chosen(SwitchIo::Auto, false).unwrap();
        assert_eq!(choice.back_end, BackEnd::Epoll);
        let told = choice.reason.to_string();
        assert!(told.starts_with("io_uring is not permitted (Operation not permitted"), "{told}");
        let choice = chosen(SwitchIo::Auto, true).unwrap();
        let Reason::Tried { epoll_ns, uring_ns } = choice.reason else { panic!("{choice:?}") };
        assert!(epoll_ns > 0 && uring_ns > 0);
        assert_eq!(choice.back_end, faster(epoll_ns, uring_ns));
    }

    #[test]
    fn io_uring_has_to_win_by_three_in_a_hundred() {
        for (epoll_ns, uring_ns, back_end) in [
            (1_000, 500, BackEnd::Uring),
            (1_000, 970, BackEnd::Uring),
            (1_000, 971, BackEnd::Epoll),
            (1_000, 2_000, BackEnd::Epoll),
        ] {
            assert_eq!(faster(epoll_ns, uring_ns), back_end);
        }
    }
}
