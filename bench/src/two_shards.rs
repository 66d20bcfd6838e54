//! The switch on one core or on two, in memory: each shard on a thread of its own with half of the accounts,
//! and rings between them.
//!
//! ```text
//!   shard 0, core 0                                     shard 1, core 1
//!   copy 64 frames in -> vectors() --Forward, PREPARE--> forwarded() -> egress
//!                        answered() <-Answer, FULFILL--- vectors() <- 64 of those that left here
//! ```
//!
//! Destinations are uniform, so half of the packets cross. A shard answers what left by its own accounts.
//! One shard is the same code with all of the accounts and no ring. Every answer is counted against what
//! was planned, and the books of all shards together against what was fulfilled.

use core::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use arrayvec::ArrayVec;
use m2_accel::{Consumer, Producer, ring};
use m2_codec::btp::{self, Frame, FrameType};
use m2_codec::ilp::{self, ErrorCode, ForwardedPrepare, PacketType};
use m2_core::limits::BATCH_MAX;
use m2_core::{
    AccountId, Answer, ConnectionId, Durability, Egress, Forward, Now, Request, Response,
    ResponseBody, ShardId, Switch,
};

use crate::alternate::{cpu_us, pin_to};
use crate::workload::{ACCOUNTS, PACKETS, Random, START, Workload, asset_of, home, number_of};

/// What all shards have in flight together.
pub const IN_FLIGHT: usize = 100_000;
const NS_PER_VECTOR: u64 = 2_000 * BATCH_MAX as u64;
const EGRESS_BYTES: usize = 64 << 10;
/// Messages that a ring takes: more than its bytes do, so that whoever has room for the bytes of a vector
/// has room for the vector. PREPAREs have 120 bytes at least, answers 35 but for 1 in 100, which have none.
const RING_PLACES: usize = 1 << 13;
const FORWARD_BYTES: usize = 1 << 19;
const ANSWER_BYTES: usize = 1 << 17;
/// Messages that are taken from a ring at once.
const TAKEN_MAX: usize = 2 * BATCH_MAX;
/// The longest packet of the workload.
const PACKET_LEN_MAX: usize = 512;

/// Where packets leave for the other shard.
struct Way {
    forwards: Producer<Forward>,
    answers: Producer<Answer>,
}

/// Where packets of the other shard come in.
struct Arrivals {
    forwards: Consumer<Forward>,
    answers: Consumer<Answer>,
}

#[derive(Clone, Copy)]
struct Outstanding {
    to: ConnectionId,
    id: u32,
    number: u32,
}

/// What leaves a shard.
struct Wire {
    buffers: Vec<Vec<u8>>,
    outstanding: Vec<Outstanding>,
    way: Option<Way>,
    has_forward_room: bool,
    crossed: u64,
    fulfilled: u64,
    rejected: u64,
}

impl Wire {
    fn look(&mut self) {
        let room = self.way.as_mut().map(|way| way.forwards.has_room(PACKET_LEN_MAX));
        self.has_forward_room = room.unwrap_or(false);
    }

    fn publish(&mut self) {
        if let Some(way) = &mut self.way {
            way.forwards.publish();
            way.answers.publish();
        }
        self.buffers.iter_mut().for_each(Vec::clear);
    }

    /// Room for whatever a vector of requests brings.
    fn has_forward_room(&mut self) -> bool {
        let way = self.way.as_mut();
        way.is_none_or(|way| way.forwards.has_room(BATCH_MAX * PACKET_LEN_MAX))
    }

    /// Room for whatever a vector of answers brings.
    fn has_answer_room(&mut self) -> bool {
        let way = self.way.as_mut();
        way.is_none_or(|way| way.answers.has_room(BATCH_MAX * PACKET_LEN_MAX))
    }

    fn way(&mut self) -> &mut Way {
        self.way.as_mut().expect("only between two shards does anything cross")
    }

    fn put(&mut self, kind: FrameType, to: ConnectionId, request_id: u32, packet: &[u8]) {
        btp::put_ilp(&mut self.buffers[to.account.0 as usize], kind, request_id, packet);
    }
}

impl Egress for Wire {
    fn below_half(&self, to: ConnectionId) -> bool {
        self.buffers[to.account.0 as usize].len() < EGRESS_BYTES / 2
    }

    fn prepare(&mut self, to: ConnectionId, id: u32, packet: ForwardedPrepare<'_>) {
        btp::put_prepare(&mut self.buffers[to.account.0 as usize], id, &packet);
        let number = u32::try_from(number_of(packet.received())).expect("few packets");
        self.outstanding.push(Outstanding { to, id, number });
    }

    fn answer(&mut self, to: ConnectionId, id: u32, packet: &[u8]) {
        self.put(FrameType::Response, to, id, packet);
        match ilp::packet_type(packet) {
            Some(PacketType::Fulfill) => self.fulfilled += 1,
            Some(PacketType::Reject) => self.rejected += 1,
            _ => panic!("an answer is a FULFILL or a REJECT"),
        }
    }

    fn forward_room(&self, _: ShardId) -> bool {
        self.has_forward_room
    }

    fn forward(&mut self, _: ShardId, forward: Forward, packet: &[u8]) {
        self.crossed += 1;
        self.way().forwards.push(forward, packet);
        self.look();
    }

    fn give_back(&mut self, _: ShardId, answer: Answer, packet: &[u8]) {
        self.way().answers.push(answer, packet);
    }
}

/// One shard and its peers.
struct Shard<'w> {
    workload: &'w Workload,
    switch: Switch,
    wire: Wire,
    arrivals: Option<Arrivals>,
    /// Packets whose sender is of this shard.
    numbers: Vec<u32>,
    next: usize,
    in_flight: usize,
    random: Random,
    now: Now,
    request_id: u32,
    /// Frames of requests that were not taken yet, and of answers.
    asking: Vec<u8>,
    replying: Vec<u8>,
    asked: u64,
    /// FULFILLs, and everything else, that were answered here.
    planned: [u64; 2],
    /// How often each packet was fulfilled here.
    fulfilled: Vec<u32>,
    reject: Vec<u8>,
}

impl<'w> Shard<'w> {
    fn new(workload: &'w Workload, number: u16, shards: u16, ends: Ends) -> Self {
        let own = |account: AccountId| home(account, shards) == ShardId(number);
        let mut reject = Vec::new();
        let (code, from) = (ErrorCode::F99_APPLICATION_ERROR, b"test.region1.bank.n1");
        ilp::put_reject(&mut reject, code, from, b"application error", b"");
        Self {
            workload,
            switch: workload.switch_on(Durability::None, ShardId(number), shards),
            wire: Wire {
                buffers: vec![Vec::with_capacity(EGRESS_BYTES); ACCOUNTS as usize],
                outstanding: Vec::with_capacity(2 * IN_FLIGHT),
                way: ends.0,
                has_forward_room: false,
                crossed: 0,
                fulfilled: 0,
                rejected: 0,
            },
            arrivals: ends.1,
            numbers: (0..)
                .zip(&workload.packets)
                .filter(|it| own(it.1.from))
                .map(|it| it.0)
                .collect(),
            next: 0,
            in_flight: IN_FLIGHT / usize::from(shards),
            random: Random(3 + u64::from(number)),
            now: START,
            request_id: 0,
            asking: Vec::with_capacity(EGRESS_BYTES),
            replying: Vec::with_capacity(EGRESS_BYTES),
            asked: 0,
            planned: [0; 2],
            fulfilled: vec![0; PACKETS],
            reject,
        }
    }

    /// Asks so many vectors, and goes on until every shard has; gives the CPU time in microseconds.
    fn run(&mut self, vectors: u64, (running, shards): (&AtomicUsize, usize)) -> i64 {
        let start_us = cpu_us();
        for _ in 0..vectors {
            while !self.wire.has_forward_room() {
                self.turn();
            }
            self.ask();
            self.turn();
            self.asking.clear();
        }
        let own_us = cpu_us() - start_us;
        running.fetch_add(1, Ordering::AcqRel);
        while running.load(Ordering::Acquire) < shards {
            self.turn();
        }
        own_us
    }

    /// Answers until nothing is in flight anywhere.
    fn drain(&mut self, (idle, shards): (&AtomicUsize, usize)) {
        self.in_flight = 0;
        let mut told = false;
        while idle.load(Ordering::Acquire) < shards {
            self.turn();
            let answered = self.wire.fulfilled + self.wire.rejected;
            if !told && answered == self.asked {
                told = true;
                idle.fetch_add(1, Ordering::AcqRel);
            }
        }
    }

    /// Takes what the other shard has sent, and a vector each way, as the process does.
    fn turn(&mut self) {
        self.take_arrivals();
        self.replying.clear();
        let replies = if self.wire.has_answer_room() { self.reply() } else { ArrayVec::new() };
        self.take_vectors(&replies);
        self.switch.tick(self.now, &mut self.wire);
        self.switch.drain_notices(drop);
        self.wire.publish();
    }

    /// Answers first, as they free what Forwards need.
    fn take_arrivals(&mut self) {
        let Self { switch, wire, arrivals: Some(arrivals), now, .. } = self else { return };
        for _ in 0..TAKEN_MAX {
            let Some((answer, packet)) = arrivals.answers.pop() else { break };
            switch.answered(*now, answer, packet, wire);
        }
        arrivals.answers.release();
        for _ in 0..TAKEN_MAX {
            let Some((forward, packet)) = arrivals.forwards.pop() else { break };
            switch.forwarded(*now, forward, packet, wire);
        }
        arrivals.forwards.release();
    }

    /// Frames of as many requests as a vector has.
    fn ask(&mut self) {
        for _ in 0..BATCH_MAX {
            let number = self.numbers[self.next] as usize;
            self.next = (self.next + 1) % self.numbers.len();
            self.request_id = self.request_id.wrapping_add(1);
            let prepare = self.workload.prepare(number);
            btp::put_ilp(&mut self.asking, FrameType::Message, self.request_id, prepare);
        }
        self.asked += BATCH_MAX as u64;
        // Not where it waits for the other shard: everything would expire.
        self.now.mono_ns += NS_PER_VECTOR;
    }

    /// Frames of answers to what left here, and where each goes.
    fn reply(&mut self) -> ArrayVec<Outstanding, BATCH_MAX> {
        let mut picked = ArrayVec::<Outstanding, BATCH_MAX>::new();
        while self.wire.outstanding.len() > self.in_flight && !picked.is_full() {
            let place = self.random.index(self.wire.outstanding.len());
            picked.push(self.wire.outstanding.swap_remove(place));
        }
        picked.iter().for_each(|packet| self.put_answer(packet));
        picked
    }

    fn take_vectors(&mut self, replies: &[Outstanding]) {
        let Self { switch, wire, workload, asking, replying, now, .. } = self;
        wire.look();
        let mut requests = ArrayVec::<Request<'_>, BATCH_MAX>::new();
        let mut rest = &mut asking[..];
        while !rest.is_empty() {
            let frame = Frame::new_checked(rest).expect("frames of our own");
            let (len, request_id) = (frame.len(), frame.request_id());
            let range = frame.ilp_range().expect("it has a packet");
            let (bytes, tail) = rest.split_at_mut(len);
            let packet = &mut bytes[range];
            let from = workload.packets[number_of(packet)].from;
            requests.push(Request { connection: link(from), request_id, packet });
            rest = tail;
        }
        let mut responses = ArrayVec::<Response<'_>, BATCH_MAX>::new();
        let mut rest = &replying[..];
        for Outstanding { to: connection, .. } in replies {
            let frame = Frame::new_checked(rest).expect("frames of our own");
            let body = ResponseBody::Packet(frame.ilp().expect("it has a packet"));
            let (connection, request_id) = (*connection, frame.request_id());
            responses.push(Response { connection, request_id, body });
            rest = &rest[frame.len()..];
        }
        switch.vectors(*now, &responses, &requests, wire);
    }

    fn put_answer(&mut self, packet: &Outstanding) {
        let number = packet.number as usize;
        let mut fulfill = self.workload.fulfills[number];
        let answer: &[u8] = match self.random.below(100) {
            0..91 => {
                self.planned[0] += 1;
                self.fulfilled[number] += 1;
                &fulfill
            }
            91 => {
                self.planned[1] += 1;
                fulfill[5] ^= 1;
                &fulfill
            }
            _ => {
                self.planned[1] += 1;
                &self.reject
            }
        };
        btp::put_ilp(&mut self.replying, FrameType::Response, packet.id, answer);
    }
}

/// A shard's ends of the rings; none where it is alone.
type Ends = (Option<Way>, Option<Arrivals>);

/// One shard or two, under the workload.
pub struct Shards<'w>(Vec<Shard<'w>>);

impl<'w> Shards<'w> {
    /// All accounts on one shard.
    #[must_use]
    pub fn one(workload: &'w Workload) -> Self {
        Self(vec![Shard::new(workload, 0, 1, (None, None))])
    }

    /// Half of the accounts on each of two.
    #[must_use]
    pub fn two(workload: &'w Workload) -> Self {
        let (there, from_here) = joined();
        let (back, from_there) = joined();
        let ends = [(Some(there), Some(from_there)), (Some(back), Some(from_here))];
        let shards = (0..).zip(ends).map(|(number, ends)| Shard::new(workload, number, 2, ends));
        Self(shards.collect())
    }

    /// Asks so many packets over all shards, each on a core of its own. Gives the nanoseconds of CPU time
    /// of the shard that took longest, for each of them.
    ///
    /// # Panics
    ///
    /// If a shard does.
    pub fn run(&mut self, pairs: u64) -> f64 {
        let (running, shards) = (AtomicUsize::new(0), self.0.len());
        let vectors = pairs / (BATCH_MAX * shards) as u64;
        let longest_us = self.on_all(|shard| shard.run(vectors, (&running, shards)));
        let longest_us = longest_us.into_iter().max().expect("there is a shard");
        let asked = vectors * (BATCH_MAX * shards) as u64;
        f64::from(u32::try_from(longest_us).expect("less than an hour")) * 1e3
            / f64::from(u32::try_from(asked).expect("few enough"))
    }

    /// Answers what is in flight, and asserts that all that was asked was answered as planned, that the
    /// books hold what was fulfilled, and that nothing is held. Gives the share of packets that crossed.
    ///
    /// # Panics
    ///
    /// If something does not agree.
    pub fn verify(&mut self) -> f64 {
        let (idle, shards) = (AtomicUsize::new(0), self.0.len());
        self.on_all(|shard| shard.drain((&idle, shards)));
        let sum = |of: fn(&Shard<'_>) -> u64| self.0.iter().map(of).sum::<u64>();
        assert_eq!(
            sum(|it| it.wire.fulfilled),
            sum(|it| it.planned[0]),
            "every FULFILL, and no other"
        );
        assert_eq!(sum(|it| it.wire.rejected), sum(|it| it.planned[1]), "every other is a REJECT");
        let (mut balances, mut wanted) = (0, 0);
        for (index, shard) in self.0.iter().enumerate() {
            assert_eq!(shard.switch.in_flight(), 0, "nothing is in flight");
            for account in (0..ACCOUNTS).map(AccountId) {
                if usize::from(home(account, u16::try_from(shards).expect("two")).0) == index {
                    let words = shard.switch.account_view(account).words;
                    assert!(words.held_in == 0 && words.held_out == 0, "nothing is held");
                    balances += words.balance;
                }
            }
            wanted += shard.balances_wanted();
        }
        assert_eq!(balances, wanted, "the books hold what was fulfilled, to the unit");
        let share = |count: u64| f64::from(u32::try_from(count).expect("few enough"));
        share(sum(|it| it.wire.crossed)) / share(sum(|it| it.asked))
    }

    /// Does the same on every shard's thread.
    fn on_all<T: Send>(&mut self, act: impl Fn(&mut Shard<'w>) -> T + Sync) -> Vec<T> {
        let act = &act;
        thread::scope(|scope| {
            let spawn = |(core, shard)| {
                scope.spawn(move || {
                    pin_to(core);
                    act(shard)
                })
            };
            let threads: Vec<_> = self.0.iter_mut().enumerate().map(spawn).collect();
            threads.into_iter().map(|it| it.join().expect("a shard does not panic")).collect()
        })
    }
}

impl Shard<'_> {
    /// What the balances of both legs come to of what was fulfilled here.
    fn balances_wanted(&self) -> i128 {
        let Workload { packets, rates, .. } = self.workload;
        let balance = |(packet, count): (&crate::workload::Packet, &u32)| {
            let (from, to) = (asset_of(packet.from), asset_of(packet.to));
            let amount_out = rates.convert(from, to, packet.amount_in).expect("it converts");
            i128::from(*count) * (i128::from(packet.amount_in) - i128::from(amount_out))
        };
        packets.iter().zip(&self.fulfilled).map(balance).sum()
    }
}

fn joined() -> (Way, Arrivals) {
    let (forwards, forwards_out) = ring(RING_PLACES, FORWARD_BYTES);
    let (answers, answers_out) = ring(RING_PLACES, ANSWER_BYTES);
    (Way { forwards, answers }, Arrivals { forwards: forwards_out, answers: answers_out })
}

fn link(account: AccountId) -> ConnectionId {
    ConnectionId { account, epoch: NonZeroU32::MIN }
}
