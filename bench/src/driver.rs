//! Drives a forwarding core in memory, from BTP frames to BTP frames, and verifies every answer.
//!
//! ```text
//!   64 PREPAREs: frames copied in, split -----+
//!                                             +--> vectors() --> egress buffers, each packet verified
//!   64 in flight at random: frames of their --+
//!   answers copied in, split
//! ```
//!
//! The driver's own cost (copying in, picking, verifying) is in every figure; it is measured by
//! [`Copying`], told beside the figure, and never subtracted. What it will look at at random is asked
//! for ahead, so that its own misses of the cache are not what is measured. Simulated time runs 2 µs a
//! pair, so that the 1 % that are left to expire hold some 85,000 slots beside those in flight.

use std::collections::VecDeque;

use arrayvec::ArrayVec;
use m2_accel::prefetch_at;
use m2_codec::btp::{self, FrameType, ILP_HEADER_LEN_MAX};
use m2_codec::ilp::{self, ErrorCode, ForwardedPrepare, PacketType};
use m2_core::limits::BATCH_MAX;
use m2_core::{AccountId, ConnectionId, Egress, Now, Request, Response, ResponseBody, Switch};

use crate::workload::{
    ACCOUNTS, FulfillBytes, PACKETS, Packet, Random, START, Workload, asset_of, number_of,
};

const NS_PER_PAIR: u64 = 2_000;
/// The cap of an egress buffer, which is sent off, here forgotten, after each pair of vectors.
const EGRESS_BYTES: usize = 64 * 1024;

/// What is measured: something that takes requests and answers and sends packets.
pub trait Forwarding {
    /// Whether packets without an answer expire in it. Where they do not, they are rejected instead.
    const EXPIRES: bool;

    /// Takes a vector of answers and one of requests.
    fn vectors(
        &mut self,
        now: Now,
        responses: &[Response<'_>],
        requests: &[Request<'_>],
        egress: &mut impl Egress,
    );
    /// What else is done now and then.
    fn between_batches(&mut self, now: Now, egress: &mut impl Egress);
    /// What the books say of an account, if there are any.
    fn fulfilled_in(&self, account: AccountId) -> Option<i128>;
}

impl Forwarding for Switch {
    const EXPIRES: bool = true;

    fn vectors(
        &mut self,
        now: Now,
        responses: &[Response<'_>],
        requests: &[Request<'_>],
        egress: &mut impl Egress,
    ) {
        Self::vectors(self, now, responses, requests, egress);
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

    fn vectors(
        &mut self,
        _: Now,
        responses: &[Response<'_>],
        requests: &[Request<'_>],
        egress: &mut impl Egress,
    ) {
        for response in responses {
            prefetch_at(&self.asked, response.request_id as usize);
        }
        for request in requests {
            let id = self.free.pop_front().expect("few are in flight");
            self.asked[id as usize] = (request.connection, request.request_id);
            let to = self.links[(id % ACCOUNTS) as usize];
            let expires_at = *b"20261120150000000";
            egress.prepare(to, id, ForwardedPrepare::new(request.packet, 7, expires_at));
        }
        for response in responses {
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

/// A packet that was forwarded and waits for its answer. There are 100,000 of them, so they are small.
#[derive(Clone, Copy)]
struct Outstanding {
    id: u32,
    number: u16,
    /// The number of an account.
    to: u8,
    plan: Plan,
}

const _: () = assert!(size_of::<Outstanding>() == 8 && PACKETS <= 1 << 16 && ACCOUNTS <= 1 << 8);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
enum Plan {
    Fulfill,
    Reject,
    WrongFulfill,
    NeverAnswer,
}

/// The egress buffers, which see everything that leaves and check it.
struct Wire {
    buffers: Vec<Vec<u8>>,
    /// By account: bytes of its buffer that wait.
    waits: [usize; ACCOUNTS as usize],
    /// Forwarded since the last look: to which account, under which id, and which packet it is.
    prepares: Vec<(u8, u32, u16)>,
    /// One bit a request id toward the switch: an answer is awaited.
    asked: Vec<u64>,
    fulfilled: u64,
    rejected: u64,
}

/// Request ids come round after this many; far more than are ever in flight.
const IDS: usize = 1 << 20;

impl Wire {
    /// Writes a frame with a packet behind what waits for the account.
    fn put(&mut self, to: ConnectionId, packet_len: usize, write: impl FnOnce(&mut [u8]) -> usize) {
        let waits = &mut self.waits[to.account.0 as usize];
        let buffer = &mut self.buffers[to.account.0 as usize];
        *waits += write(&mut buffer[*waits..*waits + packet_len + ILP_HEADER_LEN_MAX]);
    }

    /// Forgets what would be sent now.
    fn flush(&mut self) {
        self.waits.fill(0);
    }
}

impl Egress for Wire {
    fn below_half(&self, to: ConnectionId) -> bool {
        self.waits[to.account.0 as usize] < EGRESS_BYTES / 2
    }

    fn prepare(&mut self, to: ConnectionId, request_id: u32, packet: ForwardedPrepare<'_>) {
        let len = packet.received().len();
        self.put(to, len, |room| btp::write_prepare(room, request_id, &packet));
        let number = u16::try_from(number_of(packet.received())).expect("few packets");
        let to = u8::try_from(to.account.0).expect("few accounts");
        self.prepares.push((to, request_id, number));
    }

    fn answer(&mut self, to: ConnectionId, request_id: u32, packet: &[u8]) {
        self.put(to, packet.len(), |room| {
            btp::write_packet(room, FrameType::Response, request_id, packet)
        });
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
    /// The frames of all packets, one behind the other.
    frames: Vec<u8>,
    /// Where each begins, and the last ends.
    starts: Vec<usize>,
    /// The frame that fulfills each packet.
    answers: Vec<AnswerFrame>,
    /// Places of those outstanding that are answered next.
    picked: ArrayVec<usize, BATCH_MAX>,
    rx: Vec<u8>,
    rx_answers: Vec<u8>,
    planned: [u64; 4],
    /// How often each packet was fulfilled.
    fulfilled: Vec<u32>,
    reject: Vec<u8>,
}

/// A RESPONSE with a FULFILL without data.
type AnswerFrame = [u8; 49];
/// Of its fulfillment, a byte.
const IN_FULFILLMENT: usize = 20;

impl<'w, F: Forwarding> Driver<'w, F> {
    /// Fills the core with `in_flight` packets.
    pub fn new(
        core: F,
        workload: &'w Workload,
        links: Vec<ConnectionId>,
        in_flight: usize,
    ) -> Self {
        let wire = Wire {
            buffers: vec![vec![0; EGRESS_BYTES]; ACCOUNTS as usize],
            waits: [0; ACCOUNTS as usize],
            prepares: Vec::with_capacity(BATCH_MAX),
            asked: vec![0; IDS / 64],
            fulfilled: 0,
            rejected: 0,
        };
        let mut starts = vec![0];
        let mut frames = Vec::new();
        for number in 0..PACKETS {
            btp::put_ilp(&mut frames, FrameType::Message, 0, workload.prepare(number));
            starts.push(frames.len());
        }
        let answer = |fulfill: &FulfillBytes| {
            let mut frame = Vec::new();
            btp::put_ilp(&mut frame, FrameType::Response, 0, fulfill);
            frame.try_into().expect("a FULFILL without data has 35 bytes, its frame 14 more")
        };
        let mut driver = Self {
            frames,
            starts,
            answers: workload.fulfills.iter().map(answer).collect(),
            picked: ArrayVec::new(),
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
            rx_answers: Vec::with_capacity(EGRESS_BYTES),
            planned: [0; 4],
            fulfilled: vec![0; PACKETS],
            reject: reject(),
        };
        while driver.outstanding.len() < in_flight {
            driver.step();
            driver.wire.flush();
        }
        driver.pick();
        driver
    }

    /// `pairs` packets in, and as many answers (rounded up to vectors).
    pub fn run(&mut self, pairs: u64) {
        for _ in 0..pairs.div_ceil(BATCH_MAX as u64) {
            self.step();
            self.pick();
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

    /// Hands in the next PREPAREs, and the answers to those that were picked.
    fn step(&mut self) {
        let picked = self.receive_answers();
        let first = self.receive_frames();
        let mut requests = ArrayVec::<Request<'_>, BATCH_MAX>::new();
        let mut rest = &self.rx[..];
        while !rest.is_empty() {
            let frame = btp::packet_frame(rest).expect("frames of our own");
            let (packet, behind) = (&rest[frame.packet.clone()], &rest[frame.packet.end..]);
            let from = self.workload.packets[first + requests.len()].from;
            let (connection, request_id) = (self.links[from.0 as usize], frame.request_id);
            requests.push(Request { connection, request_id, packet });
            rest = behind;
        }
        let mut responses = ArrayVec::<Response<'_>, BATCH_MAX>::new();
        let mut rest = &self.rx_answers[..];
        for Outstanding { to, .. } in picked {
            let frame = btp::packet_frame(rest).expect("frames of our own");
            let body = ResponseBody::Packet(&rest[frame.packet.clone()]);
            let (connection, request_id) = (self.links[usize::from(to)], frame.request_id);
            responses.push(Response { connection, request_id, body });
            rest = &rest[frame.packet.end..];
        }
        self.core.vectors(self.now, &responses, &requests, &mut self.wire);
        assert_eq!(self.wire.prepares.len(), BATCH_MAX, "every packet is forwarded");
        for (to, id, number) in self.wire.prepares.drain(..) {
            let plan = match self.random.below(100) {
                0..90 => Plan::Fulfill,
                90..98 => Plan::Reject,
                98 => Plan::WrongFulfill,
                _ if F::EXPIRES => Plan::NeverAnswer,
                _ => Plan::Reject,
            };
            self.outstanding.push(Outstanding { id, number, to, plan });
        }
    }

    /// The next frames, as the kernel would give them; the number of the first packet.
    fn receive_frames(&mut self) -> usize {
        const { assert!(PACKETS.is_multiple_of(BATCH_MAX)) };
        let first = self.next_packet;
        self.next_packet = (first + BATCH_MAX) % PACKETS;
        let start = self.starts[first];
        self.rx.clear();
        self.rx.extend_from_slice(&self.frames[start..self.starts[first + BATCH_MAX]]);
        for number in first..first + BATCH_MAX {
            // An id comes round only when its packet has long ended: those left to expire last
            // 30 s of simulated time, 15 million pairs, so the few still waiting are skipped.
            self.wire.asked[self.next_id / 64] |= 1 << (self.next_id % 64);
            let id = u32::try_from(self.next_id).expect("below 2^20");
            btp::set_request_id(&mut self.rx[self.starts[number] - start..], id);
            self.next_id = self.next_free_id();
        }
        first
    }

    fn next_free_id(&self) -> usize {
        let mut id = (self.next_id + 1) % IDS;
        while self.wire.asked[id / 64] >> (id % 64) & 1 == 1 {
            id = (id + 1) % IDS;
        }
        id
    }

    /// The frames of the answers that are due; what they answer.
    fn receive_answers(&mut self) -> ArrayVec<Outstanding, BATCH_MAX> {
        self.rx_answers.clear();
        let mut picked = ArrayVec::new();
        for place in core::mem::take(&mut self.picked) {
            let packet = self.outstanding.swap_remove(place);
            self.planned[packet.plan as usize] += 1;
            if packet.plan != Plan::NeverAnswer {
                prefetch_at(&self.answers, packet.number.into());
                picked.push(packet);
            }
        }
        picked.iter().for_each(|packet| self.put_answer(packet));
        picked
    }

    /// Picks what is answered next: random places in the list, each to be removed in turn.
    fn pick(&mut self) {
        let mut len = self.outstanding.len();
        while len > self.in_flight && !self.picked.is_full() {
            let place = self.random.index(len);
            prefetch_at(&self.outstanding, place);
            self.picked.push(place);
            len -= 1;
        }
    }

    fn put_answer(&mut self, packet: &Outstanding) {
        let rx = &mut self.rx_answers;
        let start = rx.len();
        match packet.plan {
            Plan::Reject => rx.extend_from_slice(&self.reject),
            plan => {
                let number = usize::from(packet.number);
                rx.extend_from_slice(&self.answers[number]);
                if plan == Plan::WrongFulfill {
                    rx[start + IN_FULFILLMENT] ^= 1;
                } else {
                    self.fulfilled[number] += 1;
                }
            }
        }
        btp::set_request_id(&mut rx[start..], packet.id);
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

/// A frame with `F99` from a receiver, with an address and a message as receivers give them.
fn reject() -> Vec<u8> {
    let mut packet = Vec::new();
    let code = ErrorCode::F99_APPLICATION_ERROR;
    ilp::put_reject(&mut packet, code, b"test.region1.bank.n1", b"application error", b"");
    let mut frame = Vec::new();
    btp::put_ilp(&mut frame, FrameType::Response, 0, &packet);
    frame
}

/// The connections by account of a switch of the workload: the first of each.
#[must_use]
pub fn links() -> Vec<ConnectionId> {
    let epoch = core::num::NonZeroU32::MIN;
    (0..ACCOUNTS).map(|number| ConnectionId { account: AccountId(number), epoch }).collect()
}
