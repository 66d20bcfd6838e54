//! Two shards on one thread, pass by pass, with rings as small as they may be: what is full is full for as
//! long as the test wants it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use m2_codec::btp::{self, Frame, FrameType};
use m2_codec::ilp::{self, ErrorCode, Fulfill, PrepareRepr, Reject};
use m2_core::{AccountId, sha256_of_32};
use m2_published::Published;
use rtrb::RingBuffer;
use stats_alloc::Region;

use super::super::ending::Endings;
use super::super::message::{Board, Event, Framing, NewLink, ToShard};
use super::super::recorder;
use super::super::run::{Joints, Settings};
use super::super::wake::{Nudge, shard_wake};
use super::*;
use crate::assemble;
use crate::io::{BackEnd, Ready};
use crate::journal::Words;
use crate::limits::READY_MAX;

const ALICE: AccountId = AccountId(0);
const BOB: AccountId = AccountId(1);

/// Two places, and bytes for what one link may bring wherever the ring begins.
const SMALL: RingSize = RingSize { places: 2, bytes: RING_BYTES_MIN };

/// A switch of two shards, alice on the first and bob on the second.
struct Two {
    shards: Vec<Shard>,
    inboxes: Vec<Sender<ToShard>>,
    wakes: Vec<Arc<OwnedFd>>,
    published: Arc<Published>,
    /// Kept open.
    _events: Receiver<Event>,
    _nudged: UnixStream,
}

impl Two {
    fn new(size: RingSize) -> Self {
        Self::on(size, BackEnd::Epoll)
    }

    fn on(size: RingSize, back_end: BackEnd) -> Self {
        Self::with(size, back_end, "none", [None, None])
    }

    fn with(
        size: RingSize,
        back_end: BackEnd,
        durability: &str,
        recorders: [Option<recorder::Joints>; 2],
    ) -> Self {
        let account = |name: &str| {
            format!(
                "[[accounts]]\nname = \"{name}\"\nrelation = \"child\"\nasset = \"USD/9\"\n\
                 dial = \"btp+tcp://:{name}@h:1\"\nbalance_max = 1000000\npayable_max = 1000000\n\
                 durability = \"{durability}\"\n"
            )
        };
        let text = format!(
            "[switch]\naddress = \"test.m2m\"\nnetwork = \"test\"\ncontrol_socket = \"c\"\nshards = 2\n\
             in_flight_slots = 4096\n[[assets]]\ncode = \"USD\"\nscale = 9\n{}{}",
            account("alice"),
            account("bob")
        );
        let config = crate::config::parse(std::path::Path::new("/m2/switch.toml"), &text).unwrap();
        let wakes: Vec<_> = (0..2).map(|_| Arc::new(shard_wake().unwrap())).collect();
        let bells: Vec<_> = wakes.iter().map(|it| Arc::new(Bell::new(Arc::clone(it)))).collect();
        let endings = Arc::new(Endings::new(wakes.clone()));
        let board = Arc::new(Board::new(2));
        let (events, told) = unbounded();
        let (nudge, nudged) = Nudge::pair().unwrap();
        let mut inboxes = Vec::new();
        let routes = Arc::new(crate::routes::load(&config).unwrap());
        let (published, publishers) = m2_published::published(2, 2);
        let parts = assemble::switches(&config, &routes, clock::now())
            .into_iter()
            .zip(join(&bells, size))
            .zip(publishers)
            .zip(recorders);
        let shard = |(number, (((switch, crossing), publisher), recorder))| {
            let (to_shard, inbox) = unbounded();
            inboxes.push(to_shard);
            let joints = Joints {
                shard: ShardId(number),
                owners: [ShardId(0), ShardId(1)].into(),
                inbox,
                wake: Arc::clone(&wakes[usize::from(number)]),
                events: events.clone(),
                nudge: nudge.clone(),
                board: Arc::clone(&board),
                publisher,
                endings: Arc::clone(&endings),
                recorder,
            };
            let mut shard = Shard::new(switch, 1, SETTINGS, joints, crossing, back_end).unwrap();
            // It never sleeps, so that a pass ends.
            shard.busy_until_ns = u64::MAX;
            shard
        };
        let shards = (0..).zip(parts).map(shard).collect();
        Self { shards, inboxes, wakes, published, _events: told, _nudged: nudged }
    }

    fn peer(&mut self, account: AccountId) -> Peer {
        let peer = self.connect(account, &[], &[]);
        self.pass(account.0 as usize);
        peer
    }

    /// A connection that waits in the inbox; `received` came with its handshake, and `greeting` goes first.
    fn connect(&mut self, account: AccountId, received: &[u8], greeting: &[u8]) -> Peer {
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let link = NewLink {
            account,
            socket: ours.into(),
            framing: Framing::Stream,
            received: received.to_vec(),
            greeting: greeting.to_vec(),
        };
        let shard = account.0 as usize;
        self.inboxes[shard].send(ToShard::Link(link)).unwrap();
        self.shards[shard].woken = true;
        Peer { stream: theirs, out: Vec::new(), bytes: Vec::new() }
    }

    fn pass(&mut self, shard: usize) -> bool {
        let ended = self.shards[shard].pass(&mut Vec::with_capacity(16));
        self.shards[shard].busy_until_ns = u64::MAX;
        ended
    }

    /// Whether a shard's eventfd was written to since the last look.
    fn was_woken(&self, shard: usize) -> bool {
        rustix::io::read(&*self.wakes[shard], &mut [0; 8]).is_ok()
    }
}

const SETTINGS: Settings = Settings {
    egress_bytes_max: 8 << 20,
    bad_frames_max: 1,
    ping_ns: u64::MAX / 8,
    close_ns: u64::MAX / 8,
    spin_ns: 0,
    shutdown_ns: u64::MAX / 8,
};

/// The other end of a link, which sends what the socket takes and reads what is there.
struct Peer {
    stream: UnixStream,
    out: Vec<u8>,
    bytes: Vec<u8>,
}

impl Peer {
    fn put(&mut self, frame_type: FrameType, request_id: u32, packet: &[u8]) {
        btp::put_ilp(&mut self.out, frame_type, request_id, packet);
    }

    /// Sends what there is room for. `true` once nothing is left.
    fn send(&mut self) -> bool {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => panic!("{error}"),
            }
        }
        true
    }

    /// Request id and packet of every frame that has come.
    fn frames(&mut self) -> Vec<(u32, Vec<u8>)> {
        let mut chunk = vec![0; 1 << 16];
        while let Ok(count) = self.stream.read(&mut chunk)
            && count > 0
        {
            self.bytes.extend_from_slice(&chunk[..count]);
        }
        let mut frames = Vec::new();
        while let Some(len) = btp::frame_len(&self.bytes).unwrap()
            && len <= self.bytes.len()
        {
            let frame: Vec<u8> = self.bytes.drain(..len).collect();
            let frame = Frame::new_checked(&frame).unwrap();
            frames.push((frame.request_id(), frame.ilp().unwrap().to_vec()));
        }
        frames
    }
}

fn prepare(destination: &str) -> Vec<u8> {
    PrepareRepr {
        amount: 1,
        expires_at_ms: clock::now().utc_ms + 20_000,
        condition: sha256_of_32(&[7; 32]),
        destination: destination.parse().unwrap(),
        data: Vec::new(),
    }
    .encode()
}

fn fulfill(data_len: usize) -> Vec<u8> {
    let mut packet = Vec::new();
    ilp::put_fulfill(&mut packet, &[7; 32], &vec![1; data_len]);
    packet
}

fn reject_code(packet: &[u8]) -> ErrorCode {
    Reject::new_checked(packet).unwrap().code()
}

#[test]
fn a_full_ring_of_forwards_refuses_with_t03_and_holds_nothing() {
    let mut two = Two::new(SMALL);
    let (mut alice, mut bob) = (two.peer(ALICE), two.peer(BOB));
    for request_id in 0..5 {
        alice.put(FrameType::Message, request_id, &prepare("test.m2m.bob"));
    }
    assert!(alice.send());
    two.pass(0);
    let refused = alice.frames();
    let ids: Vec<u32> = refused.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [2, 3, 4]);
    for (_, packet) in &refused {
        assert_eq!(reject_code(packet), ErrorCode::T03_CONNECTOR_BUSY);
    }
    assert_eq!(two.shards[0].switch.account_view(ALICE).words.held_in, 2);

    two.pass(1);
    let asked = bob.frames();
    assert_eq!(asked.len(), 2, "what had room has crossed");
    for (request_id, _) in asked {
        bob.put(FrameType::Response, request_id, &fulfill(0));
    }
    assert!(bob.send());
    two.pass(1);
    alice.put(FrameType::Message, 5, &prepare("test.m2m.bob"));
    assert!(alice.send());
    two.pass(0);
    two.pass(1);
    assert_eq!(bob.frames().len(), 1, "there is room again");
    let paid: Vec<u32> = alice.frames().iter().map(|(id, _)| *id).collect();
    assert_eq!(paid, [0, 1]);
    assert_eq!(two.shards[0].switch.account_view(ALICE).words.balance, 2);
    assert_eq!(two.shards[1].switch.account_view(BOB).words.balance, -2);
}

/// Goal: Answers that find their ring full keep their order, and none is lost. Method: more of them than it
/// has places, at once, of PREPAREs that had not left when their link was lost; and then another.
#[test]
fn answers_that_find_their_ring_full_are_kept_in_their_order() {
    let mut two = Two::new(SMALL);
    let mut alice = two.peer(ALICE);
    let bob = two.peer(BOB);
    let mut sent = 0;
    while sent < 10 {
        for _ in 0..2 {
            alice.put(FrameType::Message, sent, &prepare("test.m2m.bob"));
            sent += 1;
        }
        assert!(alice.send());
        two.pass(0);
        if sent == 4 {
            // Two have left; from now on nothing does.
            two.shards[1].links.get_mut(0).unwrap().tx.blocked = true;
        }
        two.pass(1);
    }
    assert_eq!(two.shards[0].switch.in_flight(), 10);
    drop(bob);
    two.pass(1);
    assert!(two.shards[1].links.ways.keeps_answers(), "eight have not left, and two have a place");
    // One more, which is refused when there is room again, comes behind them.
    alice.put(FrameType::Message, 10, &prepare("test.m2m.bob"));
    assert!(alice.send());
    let mut codes = Vec::new();
    for _ in 0..6 {
        two.pass(0);
        two.pass(1);
        codes.extend(alice.frames());
    }
    let ids: Vec<u32> = codes.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [2, 3, 4, 5, 6, 7, 8, 9, 10]);
    assert!(codes.iter().all(|(_, it)| reject_code(it) == ErrorCode::T01_PEER_UNREACHABLE));
    assert!(!two.shards[1].links.ways.keeps_answers());
    assert_eq!(two.shards[0].switch.in_flight(), 2, "what left waits for its expiry");
}

/// Goal: no byte of an answer is taken in that its ring has no room for. Method: FULFILLs as long as they
/// may be, more than fit; alice's shard stands still meanwhile.
#[test]
fn a_link_whose_answers_have_no_room_waits_in_its_socket() {
    const COUNT: u32 = 40;
    let mut two = Two::new(RingSize { places: 64, ..SMALL });
    let (mut alice, mut bob) = (two.peer(ALICE), two.peer(BOB));
    for request_id in 0..COUNT {
        alice.put(FrameType::Message, request_id, &prepare("test.m2m.bob"));
    }
    assert!(alice.send());
    two.pass(0);
    two.pass(1);
    for (request_id, _) in bob.frames() {
        bob.put(FrameType::Response, request_id, &fulfill(30_000));
    }
    for _ in 0..100 {
        bob.send();
        two.pass(1);
    }
    assert!(!bob.send(), "1.2 MB do not fit the ring, nor the socket");
    assert_eq!(two.shards[1].put_aside.len(), 1);
    let fulfilled = two.shards[1].switch.counters().pairs_fulfilled;
    assert!((1..20).contains(&fulfilled), "{fulfilled}");
    assert!(!two.shards[1].links.ways.keeps_answers(), "all that was taken in had room");

    let mut paid = Vec::new();
    for _ in 0..1_000 {
        two.pass(0);
        bob.send();
        two.pass(1);
        paid.extend(alice.frames());
    }
    assert_eq!(paid.len(), COUNT as usize);
    for (at, (request_id, packet)) in (0..).zip(&paid) {
        assert_eq!(*request_id, at);
        assert_eq!(Fulfill::new_checked(&packet[..]).unwrap().data().len(), 30_000);
    }
    assert!(two.shards[1].put_aside.is_empty());
}

/// Goal: a place that another link had in the same pass is sent to and received from once. Method: three
/// connections of one account in one look at the inbox, so that the third has the place of the first; its
/// handshake brought half a frame. Once more over the other back end.
#[test]
fn a_place_that_is_used_again_at_once_has_one_turn() {
    for back_end in [BackEnd::Epoll, BackEnd::Uring] {
        let mut two = Two::on(SMALL, back_end);
        let mut bob = two.peer(BOB);
        let mut greeting = Vec::new();
        btp::put_ilp(&mut greeting, FrameType::Response, 77, &fulfill(0));
        let mut asked = Vec::new();
        for request_id in [5, 6] {
            let packet = prepare("test.m2m.bob");
            btp::put_ilp(&mut asked, FrameType::Message, request_id, &packet);
        }
        let (received, rest) = asked.split_at(asked.len() - 10);
        let mut peers = [&[][..], &[], received].map(|it| two.connect(ALICE, it, &greeting));
        two.pass(0);
        let alice = &mut peers[2];
        alice.out.extend_from_slice(rest);
        assert!(alice.send());
        for _ in 0..3 {
            two.pass(0);
            two.pass(1);
        }
        let ids: Vec<u32> = alice.frames().iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [77], "{back_end:?}: greeted once");
        assert_eq!(bob.frames().len(), 2, "{back_end:?}: each packet went once");
    }
}

/// Goal: once shards are warm, a packet costs no allocation from socket to socket. Method: vectors there
/// and back, the passes under an allocator that counts. Other tests allocate meanwhile, so of many rounds
/// one has to be without: a pass that allocates does so in each.
#[test]
fn warm_shards_allocate_nothing_for_a_packet() {
    const ROUNDS: usize = 200;
    for back_end in [BackEnd::Epoll, BackEnd::Uring] {
        let mut two = Two::on(RingSize { places: 256, ..SMALL }, back_end);
        let (mut alice, mut bob) = (two.peer(ALICE), two.peer(BOB));
        let mut ready = Vec::with_capacity(READY_MAX);
        let mut fewest = usize::MAX;
        for round in 0..ROUNDS {
            for request_id in 0..64 {
                alice.put(FrameType::Message, request_id, &prepare("test.m2m.bob"));
            }
            assert!(alice.send());
            let there = allocations(&mut two, &mut ready, [0, 1]);
            for (request_id, _) in bob.frames() {
                bob.put(FrameType::Response, request_id, &fulfill(20));
            }
            assert!(bob.send());
            let back = allocations(&mut two, &mut ready, [1, 0]);
            assert_eq!(alice.frames().len(), 64, "round {round}");
            fewest = fewest.min(there + back);
        }
        assert_eq!(fewest, 0, "{back_end:?}");
        assert_eq!(two.shards[1].switch.counters().pairs_fulfilled, 64 * ROUNDS as u64);
    }
}

/// How often memory was asked for in three passes of each of two shards.
fn allocations(two: &mut Two, ready: &mut Vec<Ready>, shards: [usize; 2]) -> usize {
    let region = Region::new(crate::ALLOCATOR);
    for _ in 0..3 {
        for shard in shards {
            two.shards[shard].pass(ready);
            two.shards[shard].busy_until_ns = u64::MAX;
        }
    }
    let change = region.change();
    change.allocations + change.reallocations
}

/// Goal: who sees that a packet was fulfilled on another shard finds its record in the journal's ring, and
/// the ledger as it became. Method: a thread takes Answers the moment they can be seen, and looks.
#[test]
fn no_answer_is_seen_before_its_record_and_its_ledger() {
    const PACKETS: u64 = 2_000;
    let words = Arc::new(Words::new(2));
    let (images, _images) = bounded(2);
    let recorder = |shard| {
        let (ring, records) = RingBuffer::new(4096);
        let journal = Arc::new(shard_wake().unwrap());
        let (words, images) = (Arc::clone(&words), images.clone());
        let joints = recorder::Joints {
            shard: ShardId(shard),
            ring,
            words,
            journal,
            images,
            slow_ns: u64::MAX,
            waiting_blocks_max: 4096,
        };
        (joints, records)
    };
    let ((first, _records), (second, records)) = (recorder(0), recorder(1));
    let size = RingSize { places: 64, ..SMALL };
    let mut two = Two::with(size, BackEnd::Epoll, "async", [Some(first), Some(second)]);
    let (mut alice, mut bob) = (two.peer(ALICE), two.peer(BOB));
    let mut arrival = two.shards[0].arrivals.arrivals[1].take().unwrap();
    let published = Arc::clone(&two.published);
    let looker = std::thread::spawn(move || {
        for seen in 1..=PACKETS {
            while arrival.answers.pop().is_none() {
                core::hint::spin_loop();
            }
            let recorded = records.slots() as u64;
            let fulfilled = fulfills_in(&published, BOB);
            arrival.answers.release();
            assert!(recorded >= seen, "{recorded} records where {seen} answers are seen");
            assert!(fulfilled >= seen, "{fulfilled} where {seen} answers are seen");
        }
    });
    for request_id in 0..u32::try_from(PACKETS).unwrap() {
        alice.put(FrameType::Message, request_id, &prepare("test.m2m.bob"));
        assert!(alice.send());
        two.pass(0);
        two.pass(1);
        let (asked, _) = bob.frames().pop().unwrap();
        bob.put(FrameType::Response, asked, &fulfill(0));
        // While the looker has lost its core the ring fills up, and bob's link waits in its socket.
        while !bob.send() && !looker.is_finished() {
            two.pass(1);
        }
        two.pass(1);
    }
    while !looker.is_finished() {
        two.pass(1);
    }
    looker.join().unwrap();
}

/// As it is published now. Read again while it is being written: its shard may have lost its core there.
fn fulfills_in(published: &Published, account: AccountId) -> u64 {
    loop {
        if let Some(view) = published.read(account) {
            return view.counters.fulfills_in;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_shard_is_woken_only_if_it_has_said_that_it_sleeps() {
    let mut two = Two::new(SMALL);
    let (mut alice, mut bob) = (two.peer(ALICE), two.peer(BOB));
    let mut cross = |two: &mut Two| {
        alice.put(FrameType::Message, 1, &prepare("test.m2m.bob"));
        assert!(alice.send());
        two.pass(0);
    };
    assert!(!two.was_woken(1));
    cross(&mut two);
    assert!(!two.was_woken(1), "it is awake");
    assert!(!two.shards[1].begin_sleep(), "something has come before it slept");
    two.pass(1);
    assert_eq!(bob.frames().len(), 1);
    assert!(two.shards[1].begin_sleep());
    cross(&mut two);
    assert!(two.was_woken(1));
    cross(&mut two);
    assert!(!two.was_woken(1), "once");
    two.shards[1].end_sleep();
}

#[test]
fn a_shard_that_waits_for_room_is_woken_by_who_makes_it() {
    let mut two = Two::new(RingSize { places: 64, ..SMALL });
    let (mut alice, mut bob) = (two.peer(ALICE), two.peer(BOB));
    for request_id in 0..30 {
        alice.put(FrameType::Message, request_id, &prepare("test.m2m.bob"));
    }
    assert!(alice.send());
    two.pass(0);
    two.pass(1);
    for (request_id, _) in bob.frames() {
        bob.put(FrameType::Response, request_id, &fulfill(30_000));
    }
    for _ in 0..100 {
        bob.send();
        two.pass(1);
    }
    assert!(!two.shards[1].put_aside.is_empty());
    assert!(two.shards[1].begin_sleep() && !two.was_woken(1));
    two.pass(0);
    assert!(two.was_woken(1));
    assert!(!two.shards[1].begin_sleep(), "there is room");
}

#[test]
fn rings_are_powers_of_two_for_any_number_of_shards() {
    for shards in 1..=usize::from(crate::limits::SHARDS_MAX) {
        let RingSize { places, bytes } = RingSize::of(shards);
        assert!(places.is_power_of_two() && places >= RING_PLACES_MIN, "{shards}: {places}");
        assert!(bytes.is_power_of_two() && bytes >= RING_BYTES_MIN, "{shards}: {bytes}");
        assert!(shards < 3 || places * (shards - 1) <= RING_PLACES.max(RING_PLACES_MIN * shards));
    }
}

/// Goal: no shard ends while another may still send it something. Method: a packet of alice's is with bob;
/// both are told to end, in turn; bob fulfils only then.
#[test]
fn shards_end_together_when_nothing_is_in_flight_anywhere() {
    for first in [0, 1] {
        let mut two = Two::new(SMALL);
        let (mut alice, mut bob) = (two.peer(ALICE), two.peer(BOB));
        alice.put(FrameType::Message, 1, &prepare("test.m2m.bob"));
        assert!(alice.send());
        two.pass(0);
        two.pass(1);
        for shard in [first, 1 - first] {
            two.shards[shard].shut_down(clock::mono_ns());
            for _ in 0..3 {
                assert!(!two.pass(0) && !two.pass(1), "a packet is in flight");
            }
        }
        assert!(bob.stream.write(b"").is_ok() && two.shards[1].links.count() == 1);
        let (request_id, _) = bob.frames().pop().unwrap();
        bob.put(FrameType::Response, request_id, &fulfill(0));
        assert!(bob.send());
        assert!(!two.pass(1));
        two.pass(0);
        assert_eq!(alice.frames().len(), 1);
        assert_eq!(two.shards[0].switch.account_view(ALICE).words.balance, 1);
        // The peers end their side as well.
        drop((alice, bob));
        let mut ended = [false; 2];
        for _ in 0..10 {
            for (shard, ended) in ended.iter_mut().enumerate() {
                *ended = *ended || two.pass(shard);
            }
        }
        assert_eq!(ended, [true; 2]);
    }
}
