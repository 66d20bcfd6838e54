//! Both back ends do the same, over the sockets that links have.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

use super::epoll::Epoll;
use super::uring::{Sizes, Uring};
use super::*;
use crate::clock::NS_PER_MS;
use crate::shard::wake::{shard_wake, wake};

/// The other end of a link.
#[derive(Debug)]
enum Peer {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Peer {
    /// A link's socket and its peer, neither of which blocks.
    fn tcp() -> (OwnedFd, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        peer.set_nonblocking(true).unwrap();
        (ours.into(), Self::Tcp(peer))
    }

    fn unix() -> (OwnedFd, Self) {
        let (ours, peer) = UnixStream::pair().unwrap();
        peer.set_nonblocking(true).unwrap();
        (ours.into(), Self::Unix(peer))
    }

    /// As many as the kernel takes.
    fn write(&mut self, bytes: &[u8]) -> usize {
        let written = match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        };
        written.unwrap_or(0)
    }

    fn read(&mut self, bytes: &mut [u8]) -> usize {
        let read = match self {
            Self::Tcp(stream) => stream.read(bytes),
            Self::Unix(stream) => stream.read(bytes),
        };
        read.unwrap_or(0)
    }

    fn end(&self) {
        let write = std::net::Shutdown::Write;
        match self {
            Self::Tcp(stream) => stream.shutdown(write).unwrap(),
            Self::Unix(stream) => stream.shutdown(write).unwrap(),
        }
    }

    /// Ends the connection so that our side gets an error, on TCP.
    fn reset(self) {
        if let Self::Tcp(stream) = &self {
            let at_once = Some(core::time::Duration::ZERO);
            rustix::net::sockopt::set_socket_linger(stream, at_once).unwrap();
        }
    }
}

/// A link as the shard has it, and what became of it.
#[derive(Debug)]
struct Link {
    socket: OwnedFd,
    readable: bool,
    hung_up: bool,
    writable: bool,
    got: Vec<u8>,
    over: Option<Result<(), Errno>>,
}

/// What the shard does with its links, without packets.
struct Shard<'a> {
    io: &'a mut dyn Io,
    links: Vec<Option<Link>>,
    /// A receive gets at most so much.
    room: usize,
    woken: u32,
}

const MINUTE_NS: u64 = 60_000 * NS_PER_MS;

impl<'a> Shard<'a> {
    fn new(io: &'a mut dyn Io, room: usize) -> Self {
        Self { io, links: Vec::new(), room, woken: 0 }
    }

    fn add(&mut self, place: usize, socket: OwnedFd) {
        if self.links.len() <= place {
            self.links.resize_with(place + 1, || None);
        }
        self.io.add(place, &socket).unwrap();
        self.links[place] = Some(Link {
            socket,
            readable: true,
            hung_up: false,
            writable: false,
            got: Vec::new(),
            over: None,
        });
    }

    fn remove(&mut self, place: usize) -> Link {
        let link = self.links[place].take().unwrap();
        self.io.remove(place, &link.socket);
        link
    }

    fn link(&mut self, place: usize) -> &mut Link {
        self.links[place].as_mut().unwrap()
    }

    fn wait(&mut self, patience_ns: u64) {
        let mut ready = Vec::with_capacity(3);
        self.io.wait(Some(patience_ns), &mut ready);
        assert!(ready.len() <= 3);
        for ready in ready {
            match ready {
                Ready::Wake => self.woken += 1,
                Ready::Link { place, readable, writable, hung_up } => {
                    let link = self.link(place);
                    link.readable |= readable;
                    link.writable |= writable;
                    link.hung_up |= hung_up;
                }
            }
        }
    }

    /// One pass: those of `places` that have something are received from, once.
    fn pass(&mut self, patience_ns: u64, places: &[usize]) {
        let has_more = places.iter().any(|place| self.link(*place).readable);
        self.wait(if has_more { 0 } else { patience_ns });
        let mut room = vec![0; self.room];
        for place in places {
            let link = self.links[*place].as_mut().unwrap();
            if !link.readable {
                continue;
            }
            match self.io.receive(*place, &link.socket, &mut room) {
                Ok(Received::Bytes { count, more }) => {
                    link.got.extend_from_slice(&room[..count]);
                    link.readable = more || link.hung_up;
                }
                Ok(Received::Nothing) => link.readable = false,
                Ok(Received::End) => (link.readable, link.over) = (false, Some(Ok(()))),
                Err(error) => (link.readable, link.over) = (false, Some(Err(error))),
            }
        }
    }

    /// Passes until something holds, which takes no minute.
    #[track_caller]
    fn until(&mut self, places: &[usize], mut holds: impl FnMut(&mut Self) -> bool) {
        let began = crate::clock::mono_ns();
        while !holds(self) {
            let passed = crate::clock::mono_ns() - began;
            assert!(passed < MINUTE_NS, "in vain, with {:?}", self.links);
            self.pass(MINUTE_NS - passed, places);
        }
    }

    fn send(&mut self, sends: &[(usize, &[u8])]) -> Vec<Taken> {
        let outgoing: Vec<_> = sends
            .iter()
            .map(|(place, bytes)| {
                let socket = &self.links[*place].as_ref().unwrap().socket;
                Outgoing { place: *place, socket, bytes }
            })
            .collect();
        let mut taken = ArrayVec::new();
        self.io.send(&outgoing, &mut taken);
        taken.to_vec()
    }
}

/// Bytes that tell their position.
fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(31) + (at >> 8) * 7 + seed * 101).to_le_bytes()[0]).collect()
}

fn epoll() -> (Epoll, Arc<OwnedFd>) {
    let signal = Arc::new(shard_wake().unwrap());
    (Epoll::new(Arc::clone(&signal)).unwrap(), signal)
}

fn uring(sizes: Sizes) -> (Uring, Arc<OwnedFd>) {
    let signal = Arc::new(shard_wake().unwrap());
    match Uring::with_sizes(Arc::clone(&signal), 64, sizes) {
        Ok(io) => (io, signal),
        Err(error) => panic!("these tests need io_uring, which this kernel refuses: {error}"),
    }
}

const PLENTY: Sizes = Sizes { buffer_len: 4096, first: 16, max: 16, held_max: 8 };
/// Fewer buffers than links, and of few bytes.
const SCARCE: Sizes = Sizes { buffer_len: 64, first: 1, max: 4, held_max: 2 };

/// Each test with each back end, io_uring also with hardly a buffer.
fn with_each(test: impl Fn(&mut dyn Io, &OwnedFd)) {
    let (mut io, signal) = epoll();
    test(&mut io, &signal);
    for sizes in [PLENTY, SCARCE] {
        let (mut io, signal) = uring(sizes);
        test(&mut io, &signal);
        assert_eq!(io.sends_waited_count, 0, "a send ends in the call that hands it over");
    }
}

#[test]
fn all_bytes_come_in_their_order_and_once_whatever_the_room() {
    with_each(|io, _| {
        let mut shard = Shard::new(io, 1000);
        let mut peers = Vec::new();
        for place in 0..9 {
            let (socket, peer) = if place % 2 == 0 { Peer::tcp() } else { Peer::unix() };
            shard.add(place, socket);
            peers.push((peer, pattern(place, 50_000 + place), 0));
        }
        let places: Vec<usize> = (0..9).collect();
        while peers.iter().any(|(_, bytes, written)| *written < bytes.len()) {
            for (place, (peer, bytes, written)) in peers.iter_mut().enumerate() {
                let end = bytes.len().min(*written + 1 + (*written * 7 + place * 1013) % 3000);
                *written += peer.write(&bytes[*written..end]);
            }
            shard.pass(0, &places);
        }
        shard.until(&places, |shard| {
            peers.iter().enumerate().all(|(at, it)| shard.link(at).got.len() >= it.1.len())
        });
        for (place, (peer, bytes, _)) in peers.iter().enumerate() {
            assert!(shard.link(place).got == *bytes, "of link {place}");
            peer.end();
        }
        shard.until(&places, |shard| places.iter().all(|at| shard.link(*at).over.is_some()));
        for place in places {
            assert_eq!(shard.remove(place).over, Some(Ok(())));
        }
    });
}

#[test]
fn what_came_right_before_the_end_is_received_before_it() {
    with_each(|io, _| {
        let mut shard = Shard::new(io, 300);
        for round in 0..50 {
            for (socket, mut peer) in [Peer::tcp(), Peer::unix()] {
                shard.add(3, socket);
                if round % 2 == 0 {
                    shard.pass(0, &[3]);
                }
                let bytes = pattern(round, 1 + round * 97);
                assert_eq!(peer.write(&bytes), bytes.len());
                if round % 3 == 0 {
                    drop(peer)
                } else {
                    peer.end()
                }
                shard.until(&[3], |shard| shard.link(3).over.is_some());
                let link = shard.remove(3);
                assert_eq!((link.got, link.over), (bytes, Some(Ok(()))));
            }
        }
    });
}

#[test]
fn a_connection_that_is_reset_ends_in_its_error() {
    with_each(|io, _| {
        let mut shard = Shard::new(io, 300);
        let (socket, mut peer) = Peer::tcp();
        shard.add(0, socket);
        peer.write(&pattern(0, 100));
        shard.until(&[0], |shard| shard.link(0).got.len() == 100);
        peer.reset();
        shard.until(&[0], |shard| shard.link(0).over.is_some());
        assert_eq!(shard.link(0).over, Some(Err(Errno::CONNRESET)));
        let taken = shard.send(&[(0, b"x")]);
        assert_eq!(taken, [Taken { count: 0, stopped: Some(Errno::PIPE) }]);
        shard.remove(0);
    });
}

#[test]
fn what_the_kernel_takes_no_more_of_goes_on_when_it_tells_of_room() {
    with_each(|io, _| {
        for make in [Peer::tcp, Peer::unix] {
            let mut shard = Shard::new(io, 300);
            let ((one, mut slow), (two, mut quick)) = (make(), make());
            shard.add(0, one);
            shard.add(1, two);
            shard.pass(0, &[0, 1]);
            let bytes = pattern(5, 16 << 20);
            let mut sent = 0;
            let mut read = vec![0; 1 << 20];
            let mut got = Vec::new();
            let mut blocked = 0;
            while sent < bytes.len() {
                // Beside one that blocks, another is sent to, and one that has nothing to say.
                let taken = shard.send(&[(0, &bytes[sent..]), (1, b"quick")]);
                assert_eq!(taken[1], Taken { count: 5, stopped: None });
                assert_eq!(shard.send(&[(1, b"")]), [Taken::default()]);
                sent += taken[0].count;
                if sent < bytes.len() {
                    assert_eq!(taken[0].stopped, Some(Errno::AGAIN));
                    blocked += 1;
                    shard.link(0).writable = false;
                    while !shard.link(0).writable {
                        let count = slow.read(&mut read);
                        got.extend_from_slice(&read[..count]);
                        shard.pass(0, &[0, 1]);
                    }
                }
                assert_eq!(quick.read(&mut read), 5);
            }
            assert!(blocked > 0, "more than a socket holds");
            while got.len() < bytes.len() {
                let count = slow.read(&mut read);
                got.extend_from_slice(&read[..count]);
            }
            assert!(got == bytes);
            shard.remove(0);
            shard.remove(1);
        }
    });
}

#[test]
fn a_wait_ends_when_the_shard_is_woken_and_when_its_time_is_up() {
    with_each(|io, signal| {
        let mut shard = Shard::new(io, 300);
        let (socket, _peer) = Peer::tcp();
        shard.add(0, socket);
        shard.pass(0, &[0]);
        for round in 1..4 {
            wake(signal);
            shard.wait(MINUTE_NS);
            assert_eq!(shard.woken, round);
        }
        shard.wait(NS_PER_MS);
        shard.wait(0);
        assert_eq!(shard.woken, 3);
        std::thread::scope(|scope| {
            scope.spawn(|| wake(signal));
            shard.wait(MINUTE_NS);
        });
        assert_eq!(shard.woken, 4);
        shard.remove(0);
    });
}

#[test]
fn a_link_at_a_place_of_another_gets_nothing_of_it() {
    with_each(|io, _| {
        let mut shard = Shard::new(io, 300);
        for round in 0..20 {
            let (socket, mut peer) = if round % 2 == 0 { Peer::tcp() } else { Peer::unix() };
            shard.add(1, socket);
            // Received or not, sent to or not, told of or not: it goes as it is.
            if round % 3 > 0 {
                shard.pass(0, &[]);
            }
            peer.write(&pattern(round, 5000));
            if round % 5 > 1 {
                shard.wait(0);
            }
            if round % 5 > 2 {
                shard.send(&[(1, &pattern(1, 10 << 20))]);
                shard.wait(0);
            }
            let old = shard.remove(1);
            let (socket, mut next) = Peer::unix();
            shard.add(1, socket);
            peer.write(b"for nobody");
            drop(old);
            assert_eq!(next.write(b"for the next"), 12);
            next.end();
            shard.until(&[1], |shard| shard.link(1).over.is_some());
            assert_eq!(shard.remove(1).got, b"for the next");
        }
    });
}

#[test]
fn a_peer_feels_it_when_nobody_takes_what_it_sends_and_others_do_not() {
    let fill = |peer: &mut Peer, each: &mut dyn FnMut()| {
        let chunk = pattern(0, 4096);
        let mut written = 0;
        let mut idle = 0;
        while idle < 3 {
            let count = peer.write(&chunk[written % 4096..]);
            written += count;
            idle = if count == 0 { idle + 1 } else { 0 };
            each();
        }
        written
    };
    for make in [Peer::tcp, Peer::unix] {
        let (_nobody, mut peer) = make();
        let in_sockets = fill(&mut peer, &mut || {});
        let sizes = Sizes { buffer_len: 4096, first: 4, max: 64, held_max: 4 };
        let (mut io, _signal) = uring(sizes);
        let mut shard = Shard::new(&mut io, 300);
        let ((one, mut hog), (two, mut other)) = (make(), make());
        shard.add(0, one);
        shard.add(1, two);
        let (mut asked, mut served) = (0, 0);
        let written = fill(&mut hog, &mut || {
            asked += other.write(b"x");
            shard.pass(0, &[1]);
            served = shard.link(1).got.len();
        });
        shard.until(&[1], |shard| shard.link(1).got.len() == asked);
        assert!(served > 0);
        // What the buffers hold, and what autotuning of sockets that were read from may add.
        assert!(written < 2 * in_sockets + (64 << 12), "{written} of {in_sockets}");
        // In the end it has all of it, and is received from again.
        hog.end();
        shard.until(&[0, 1], |shard| shard.link(0).over.is_some());
        let link = shard.remove(0);
        assert_eq!(link.got.len(), written);
        let chunk = pattern(0, 4096);
        assert!(link.got.chunks(4096).all(|it| it == &chunk[..it.len()]));
        shard.remove(1);
    }
}

#[test]
fn links_that_find_no_buffer_are_received_from_once_there_are_some() {
    let (mut io, _signal) = uring(Sizes { buffer_len: 16, first: 1, max: 1, held_max: 1 });
    let mut shard = Shard::new(&mut io, 7);
    let mut peers = Vec::new();
    for place in 0..20 {
        let (socket, mut peer) = Peer::unix();
        shard.add(place, socket);
        assert_eq!(peer.write(&pattern(place, 400)), 400);
        peers.push(peer);
    }
    let places: Vec<usize> = (0..20).collect();
    shard.until(&places, |shard| places.iter().all(|it| shard.link(*it).got.len() == 400));
    for place in &places {
        assert_eq!(shard.link(*place).got, pattern(*place, 400));
    }
    places.into_iter().for_each(|place| drop(shard.remove(place)));
}

#[test]
fn a_place_beyond_the_table_of_files_is_refused() {
    let (mut io, _signal) = uring(PLENTY);
    let (socket, _peer) = Peer::unix();
    assert_eq!(io.add(64, &socket), Err(Errno::MFILE));
    io.remove(64, &socket);
}
