//! Drives a forwarding core in memory, from BTP frames to BTP frames, and verifies every answer.
//!
//! ```text
//!   copy 64 frames in -> split -> requests() -> egress buffers
//!   pick 64 in flight at random -> frames -> split -> responses() -> egress buffers, each verified
//! ```
//!
//! The driver's own cost (copying in, picking, verifying) is in every figure; it is measured by
//! [`Copying`], told beside the figure, and never subtracted. Simulated time runs 2 µs a pair, so
//! that the 1 % that are left to expire hold some 85,000 slots beside those in flight.

use core::hint::black_box;
use std::collections::VecDeque;

use arrayvec::ArrayVec;
use m2_codec::btp::{self, Frame, FrameType};
use m2_codec::ilp::{self, ErrorCode, PacketType};
use m2_core::limits::BATCH_MAX;
use m2_core::{AccountId, ConnectionId, Egress, Now, Request, Response, ResponseBody, Switch};

use crate::workload::{ACCOUNTS, PACKETS, Packet, Random, START, Workload, asset_of, number_of};

const NS_PER_PAIR: u64 = 2_000;
/// The cap of an egress buffer, which is sent off, here forgotten, after each pair of vectors.
const EGRESS_BYTES: usize = 64 * 1024;

/// What is measured: something that takes requests and answers and sends packets.
pub trait Forwarding {
    /// Whether packets without an answer expire in it. Where they do not, they are rejected instead.
    const EXPIRES: bool;

    /// Takes a vector of requests.
    fn requests(&mut self, now: Now, batch: &mut [Request<'_>], egress: &mut impl Egress);
    /// Takes a vector of answers.
    fn responses(&mut self, now: Now, batch: &[Response<'_>], egress: &mut impl Egress);
    /// What else is done now and then.
    fn between_batches(&mut self, now: Now, egress: &mut impl Egress);
    /// What the books say of an account, if there are any.
    fn fulfilled_in(&self, account: AccountId) -> Option<i128>;
}

impl Forwarding for Switch {
    const EXPIRES: bool = true;

    fn requests(&mut self, now: Now, batch: &mut [Request<'_>], egress: &mut impl Egress) {
        Self::requests(self, now, batch, egress);
    }

    fn responses(&mut self, now: Now, batch: &[Response<'_>], egress: &mut impl Egress) {
        Self::responses(self, now, batch, egress);
    }

    fn between_batches(&mut self, now: Now, egress: &mut impl Egress) {
        self.tick(now, egress);
        self.drain_records(usize::MAX, drop);
        self.drain_notices(drop);
    }

    fn fulfilled_in(&self, account: AccountId) -> Option<i128> {
        Some(self.account_view(account).words.balance)
    }
}

/// No core at all: every packet is copied on. What a run of this costs is the driver's.
pub struct Copying {
    links: Vec<ConnectionId>,
    /// By request id: who asked, and under which id.
    asked: Vec<(ConnectionId, u32)>,
    free: VecDeque<u32>,
}

impl Copying {
    /// A copier toward these connections.
    #[must_use]
    pub fn new(links: Vec<ConnectionId>) -> Self {
        let asked = vec![(links[0], 0); 1 << 18];
        Self { links, asked, free: (0..1 << 18).collect() }
    }
}

impl Forwarding for Copying {
    const EXPIRES: bool = false;

    fn requests(&mut self, _: Now, batch: &mut [Request<'_>], egress: &mut impl Egress) {
        for request in batch {
            let id = self.free.pop_front().expect("few are in flight");
            self.asked[id as usize] = (request.connection, request.request_id);
            let to = self.links[(id % ACCOUNTS) as usize];
            egress.prepare(to, id, request.packet);
        }
    }

    fn responses(&mut self, _: Now, batch: &[Response<'_>], egress: &mut impl Egress) {
        for response in batch {
            let (to, id) = self.asked[response.request_id as usize];
            self.free.push_back(response.request_id);
            if let ResponseBody::Packet(packet) = response.body {
                egress.answer(to, id, packet);
            }
        }
    }

    fn between_batches(&mut self, _: Now, _: &mut impl Egress) {}

    fn fulfilled_in(&self, _: AccountId) -> Option<i128> {
        None
    }
}

/// A packet that was forwarded and waits for its answer.
#[derive(Clone, Copy)]
struct Outstanding {
    to: ConnectionId,
    id: u32,
    number: u32,
    plan: Plan,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Plan {
    Fulfill,
    Reject,
    WrongFulfill,
    NeverAnswer,
}

/// The egress buffers, which see everything that leaves and check it.
struct Wire {
    buffers: Vec<Vec<u8>>,
    /// Forwarded since the last look.
    prepares: Vec<(ConnectionId, u32, u32)>,
    /// One bit a request id toward the switch: an answer is awaited.
    asked: Vec<u64>,
    fulfilled: u64,
    rejected: u64,
}

/// Request ids come round after this many; far more than are ever in flight.
const IDS: usize = 1 << 20;

impl Wire {
    fn buffer(&mut self, to: ConnectionId) -> &mut Vec<u8> {
        &mut self.buffers[to.account.0 as usize]
    }

    /// Forgets what would be sent now.
    fn flush(&mut self) {
        self.buffers.iter_mut().for_each(Vec::clear);
    }
}

impl Egress for Wire {
    fn below_half(&self, to: ConnectionId) -> bool {
        self.buffers[to.account.0 as usize].len() < EGRESS_BYTES / 2
    }

    fn prepare(&mut self, to: ConnectionId, request_id: u32, packet: &[u8]) {
        btp::put_ilp(self.buffer(to), FrameType::Message, request_id, packet);
        let number = u32::try_from(number_of(packet)).expect("few packets");
        self.prepares.push((to, request_id, number));
    }

    fn answer(&mut self, to: ConnectionId, request_id: u32, packet: &[u8]) {
        btp::put_ilp(self.buffer(to), FrameType::Response, request_id, packet);
        let (word, bit) = (request_id as usize / 64, 1 << (request_id % 64));
        assert!(self.asked[word] & bit != 0, "each request is answered once");
        self.asked[word] &= !bit;
        match ilp::packet_type(packet) {
            Some(PacketType::Fulfill) => self.fulfilled += 1,
            Some(PacketType::Reject) => self.rejected += 1,
            _ => panic!("an answer is a FULFILL or a REJECT"),
        }
    }
}

/// One core under the workload.
pub struct Driver<'w, F> {
    /// What is measured.
    pub core: F,
    workload: &'w Workload,
    links: Vec<ConnectionId>,
    wire: Wire,
    outstanding: Vec<Outstanding>,
    in_flight: usize,
    random: Random,
    now: Now,
    next_packet: usize,
    next_id: usize,
    rx: Vec<u8>,
    planned: [u64; 4],
    /// How often each packet was fulfilled.
    fulfilled: Vec<u32>,
    reject: Vec<u8>,
}

impl<'w, F: Forwarding> Driver<'w, F> {
    /// Fills the core with `in_flight` packets.
    pub fn new(
        core: F,
        workload: &'w Workload,
        links: Vec<ConnectionId>,
        in_flight: usize,
    ) -> Self {
        let wire = Wire {
            buffers: vec![Vec::with_capacity(EGRESS_BYTES); ACCOUNTS as usize],
            prepares: Vec::with_capacity(BATCH_MAX),
            asked: vec![0; IDS / 64],
            fulfilled: 0,
            rejected: 0,
        };
        let mut driver = Self {
            core,
            workload,
            links,
            wire,
            outstanding: Vec::with_capacity(in_flight + BATCH_MAX),
            in_flight,
            random: Random(3),
            now: START,
            next_packet: 0,
            next_id: 0,
            rx: Vec::with_capacity(EGRESS_BYTES),
            planned: [0; 4],
            fulfilled: vec![0; PACKETS],
            reject: reject(),
        };
        while driver.outstanding.len() < in_flight {
            driver.ask();
            driver.wire.flush();
        }
        driver
    }

    /// `pairs` packets in, and as many answers (rounded up to vectors).
    pub fn run(&mut self, pairs: u64) {
        for _ in 0..pairs.div_ceil(BATCH_MAX as u64) {
            self.ask();
            self.reply();
            self.now.mono_ns += NS_PER_PAIR * BATCH_MAX as u64;
            self.core.between_batches(self.now, &mut self.wire);
            self.wire.flush();
        }
    }

    /// Asserts that as many were fulfilled and rejected as were planned, and nothing else was sent;
    /// and, where the core keeps books, that they hold what was fulfilled.
    pub fn verify(&self) {
        let [fulfill, reject, wrong, never] = self.planned;
        assert_eq!(self.wire.fulfilled, fulfill, "every FULFILL in time, and no other");
        let rejected = self.wire.rejected;
        assert!(rejected >= reject + wrong, "every REJECT and every wrong FULFILL is a REJECT");
        assert!(rejected <= reject + wrong + never, "what never comes is rejected once at most");
        let books: Option<i128> =
            (0..ACCOUNTS).map(|number| self.core.fulfilled_in(AccountId(number))).sum();
        if let Some(books) = books {
            assert_eq!(
                books,
                self.balances_wanted(),
                "the books hold what was fulfilled, to the unit"
            );
        }
    }

    fn ask(&mut self) {
        self.rx.clear();
        for _ in 0..BATCH_MAX {
            let id = u32::try_from(self.next_id).expect("below 2^20");
            // An id comes round only when its packet has long ended: those left to expire last
            // 30 s of simulated time, 15 million pairs, so the few still waiting are skipped.
            self.wire.asked[self.next_id / 64] |= 1 << (self.next_id % 64);
            btp::put_ilp(
                &mut self.rx,
                FrameType::Message,
                id,
                self.workload.prepare(self.next_packet),
            );
            self.next_packet = (self.next_packet + 1) % PACKETS;
            self.next_id = self.next_free_id();
        }
        let mut batch = ArrayVec::<Request<'_>, BATCH_MAX>::new();
        let mut rest = &mut self.rx[..];
        while !rest.is_empty() {
            let frame = Frame::new_checked(rest).expect("frames of our own");
            let (len, request_id) = (frame.len(), frame.request_id());
            let range = frame.ilp_range().expect("it has a packet");
            let (bytes, tail) = rest.split_at_mut(len);
            let packet = &mut bytes[range];
            let from = self.workload.packets[number_of(packet)].from;
            batch.push(Request { connection: self.links[from.0 as usize], request_id, packet });
            rest = tail;
        }
        self.core.requests(self.now, &mut batch, &mut self.wire);
        assert_eq!(self.wire.prepares.len(), BATCH_MAX, "every packet is forwarded");
        for (to, id, number) in self.wire.prepares.drain(..) {
            let plan = match self.random.below(100) {
                0..90 => Plan::Fulfill,
                90..98 => Plan::Reject,
                98 => Plan::WrongFulfill,
                _ if F::EXPIRES => Plan::NeverAnswer,
                _ => Plan::Reject,
            };
            self.outstanding.push(Outstanding { to, id, number, plan });
        }
    }

    fn next_free_id(&self) -> usize {
        let mut id = (self.next_id + 1) % IDS;
        while self.wire.asked[id / 64] >> (id % 64) & 1 == 1 {
            id = (id + 1) % IDS;
        }
        id
    }

    fn reply(&mut self) {
        self.rx.clear();
        let mut picked = ArrayVec::<Outstanding, BATCH_MAX>::new();
        for place in self.pick() {
            let packet = self.outstanding.swap_remove(place);
            self.planned[packet.plan as usize] += 1;
            if packet.plan != Plan::NeverAnswer {
                picked.push(packet);
            }
        }
        let fulfills = &self.workload.fulfills;
        let touched = picked.iter().map(|packet| fulfills[packet.number as usize][2]);
        black_box(touched.fold(0, |all, one| all ^ one));
        picked.iter().for_each(|packet| self.put_answer(packet));
        let mut batch = ArrayVec::<Response<'_>, BATCH_MAX>::new();
        let mut rest = &self.rx[..];
        for Outstanding { to: connection, .. } in picked {
            let frame = Frame::new_checked(rest).expect("frames of our own");
            let body = ResponseBody::Packet(frame.ilp().expect("it has a packet"));
            batch.push(Response { connection, request_id: frame.request_id(), body });
            rest = &rest[frame.len()..];
        }
        self.core.responses(self.now, &batch, &mut self.wire);
    }

    /// Random places in the list of outstanding packets, each to be removed in turn; read once in a
    /// loop of its own, so that their misses overlap.
    fn pick(&mut self) -> ArrayVec<usize, BATCH_MAX> {
        let mut len = self.outstanding.len();
        let mut places = ArrayVec::new();
        while len > self.in_flight && !places.is_full() {
            places.push(self.random.index(len));
            len -= 1;
        }
        let touched = places.iter().map(|place: &usize| self.outstanding[*place].number);
        black_box(touched.fold(0, |all, one| all ^ one));
        places
    }

    fn put_answer(&mut self, packet: &Outstanding) {
        let number = packet.number as usize;
        let mut wrong;
        let answer: &[u8] = match packet.plan {
            Plan::Reject => &self.reject,
            Plan::WrongFulfill => {
                wrong = self.workload.fulfills[number];
                wrong[5] ^= 1;
                &wrong
            }
            _ => {
                self.fulfilled[number] += 1;
                &self.workload.fulfills[number]
            }
        };
        btp::put_ilp(&mut self.rx, FrameType::Response, packet.id, answer);
    }

    /// What all accounts' balances must add up to after what was fulfilled.
    fn balances_wanted(&self) -> i128 {
        let balance = |(packet, count): (&Packet, &u32)| {
            let (from, to) = (asset_of(packet.from), asset_of(packet.to));
            let converted = self.workload.rates.convert(from, to, packet.amount_in);
            let amount_out = i128::from(converted.expect("the workload's amounts convert"));
            i128::from(*count) * (i128::from(packet.amount_in) - amount_out)
        };
        self.workload.packets.iter().zip(&self.fulfilled).map(balance).sum()
    }
}

/// `F99` from a receiver, with an address and a message as receivers give them.
fn reject() -> Vec<u8> {
    let mut out = Vec::new();
    let code = ErrorCode::F99_APPLICATION_ERROR;
    ilp::put_reject(&mut out, code, b"test.region1.bank.n1", b"application error", b"");
    out
}

/// The connections by account of a switch of the workload: the first of each.
#[must_use]
pub fn links() -> Vec<ConnectionId> {
    let epoch = core::num::NonZeroU32::MIN;
    (0..ACCOUNTS).map(|number| ConnectionId { account: AccountId(number), epoch }).collect()
}
