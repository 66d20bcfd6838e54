//! The bare loop: the happy path of a pair and nothing else, as the ceiling of the in-memory
//! figures.
//!
//! Parse, find the next hop, move two numbers, remember 64 bytes, rewrite, send; then find it again,
//! check the hash lock, move two numbers back, send. No limits, no expiry, no rejects of its own, no
//! records, no counters, no connection ids; whatever goes wrong is a panic. It uses the same parser,
//! table, prefetch and SHA-256 as the switch, so the ratio tells what the switch's checks and books
//! cost.

use arrayvec::ArrayVec;
use m2_accel::{HashLocks, prefer_large_pages, prefetch_at};
use m2_codec::ilp::{self, ForwardedPrepare, Fulfill, PacketType, Prepare};
use m2_codec::timestamp;
use m2_core::limits::BATCH_MAX;
use m2_core::routes::Candidate;
use m2_core::{AccountId, ConnectionId, Egress, Now, Request, Response, ResponseBody};

use crate::driver::Forwarding;
use crate::workload::{ACCOUNTS, Workload, asset_of};

#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Pending {
    condition: [u8; 32],
    amount_in: u64,
    amount_out: u64,
    request_id_in: u32,
    account_in: u16,
    next_hop: u16,
    generation: u32,
}

const _: () = assert!(size_of::<Pending>() == 64);

/// The bare loop's state.
pub struct Bare<'w> {
    workload: &'w Workload,
    timestamps: timestamp::Cache,
    links: Vec<ConnectionId>,
    balances: [i64; ACCOUNTS as usize],
    held: [i64; ACCOUNTS as usize],
    pending: Vec<Pending>,
    free: Vec<u32>,
    candidates: Vec<Candidate>,
    hash_locks: HashLocks,
}

const INDEX_BITS: u32 = 18;

impl<'w> Bare<'w> {
    /// A loop over this workload; `links` are the connections by account.
    #[must_use]
    pub fn new(workload: &'w Workload, links: Vec<ConnectionId>) -> Self {
        let mut pending = Vec::with_capacity(1 << INDEX_BITS);
        prefer_large_pages(&mut pending);
        pending.resize(1 << INDEX_BITS, Pending::default());
        Self {
            workload,
            timestamps: timestamp::Cache::new(),
            links,
            balances: [0; ACCOUNTS as usize],
            held: [0; ACCOUNTS as usize],
            pending,
            free: (0..1 << INDEX_BITS).collect(),
            candidates: Vec::new(),
            hash_locks: HashLocks::detect(),
        }
    }

    fn send(&mut self, request: &Request<'_>, candidates: &[Candidate], egress: &mut impl Egress) {
        let prepare = Prepare::new_checked_cached(request.packet, &mut self.timestamps)
            .expect("the workload's packets are well-formed");
        let (amount_in, expires_at_ms) = (prepare.amount(), prepare.expires_at_ms());
        let next_hop = self.workload.routes.longest(prepare.destination(), candidates);
        let next_hop = next_hop.expect("it has a route");
        let from = request.connection.account;
        let amount_out = self
            .workload
            .rates
            .convert(asset_of(from), asset_of(next_hop), amount_in)
            .expect("it converts");
        self.held[from.0 as usize] += i64::try_from(amount_in).expect("small");
        let index = self.free.pop().expect("few are in flight");
        let slot = &mut self.pending[index as usize];
        *slot = Pending {
            condition: *prepare.condition(),
            amount_in,
            amount_out,
            request_id_in: request.request_id,
            account_in: u16::try_from(from.0).expect("few accounts"),
            next_hop: u16::try_from(next_hop.0).expect("few accounts"),
            generation: slot.generation.wrapping_add(1),
        };
        let id = slot.generation << INDEX_BITS | index;
        let expires_at = self.timestamps.write(expires_at_ms - 1_000);
        let packet = ForwardedPrepare::new(request.packet, amount_out, expires_at);
        egress.prepare(self.links[next_hop.0 as usize], id, packet);
    }

    /// Which of these answers are FULFILLs that open their conditions.
    fn open_locks(&self, batch: &[Response<'_>]) -> u64 {
        let mut fulfillments = ArrayVec::<&[u8; 32], BATCH_MAX>::new();
        let mut conditions = ArrayVec::<&[u8; 32], BATCH_MAX>::new();
        for response in batch {
            let ResponseBody::Packet(bytes) = response.body else { panic!("it has a packet") };
            // What is no FULFILL is tried as if it were one, and does not open.
            fulfillments.push(bytes[2..].first_chunk().expect("a REJECT is longer, too"));
            conditions.push(&self.pending[index_of(response)].condition);
        }
        self.hash_locks.opens(&fulfillments, &conditions)
    }

    fn answer(&mut self, response: &Response<'_>, opens: bool, egress: &mut impl Egress) {
        let ResponseBody::Packet(bytes) = response.body else { panic!("it has a packet") };
        let index = u32::try_from(index_of(response)).expect("below 2^18");
        let slot = &self.pending[index as usize];
        assert!(slot.generation << INDEX_BITS | index == response.request_id);
        let amount_in = i64::try_from(slot.amount_in).expect("small");
        let to = self.links[usize::from(slot.account_in)];
        self.held[to.account.0 as usize] -= amount_in;
        self.free.push(index);
        if opens && ilp::packet_type(bytes) == Some(PacketType::Fulfill) {
            let _ = Fulfill::new_checked(bytes).expect("well-formed");
            self.balances[to.account.0 as usize] += amount_in;
            self.balances[usize::from(slot.next_hop)] -=
                i64::try_from(slot.amount_out).expect("small");
            egress.answer(to, slot.request_id_in, bytes);
            return;
        }
        // A REJECT passes; so does a wrong FULFILL here, which the switch would replace.
        egress.answer(to, slot.request_id_in, REJECT);
    }
}

/// Which slot gave out an answer's id.
fn index_of(response: &Response<'_>) -> usize {
    response.request_id as usize % (1 << INDEX_BITS)
}

/// The destination of a PREPARE of the workload, found without checking anything.
fn address_of(packet: &[u8]) -> &[u8] {
    let contents = 2 + usize::from(packet[1] & 0x7f) * usize::from(packet[1] >> 7);
    let start = contents + 58;
    &packet[start..start + usize::from(packet[start - 1])]
}

const REJECT: &[u8] = b"\x0e\x07F05\x00\x00\x00\x00";

impl Forwarding for Bare<'_> {
    const EXPIRES: bool = false;

    fn vectors(
        &mut self,
        _: Now,
        responses: &[Response<'_>],
        requests: &[Request<'_>],
        egress: &mut impl Egress,
    ) {
        let mut answered = responses.iter().map(index_of);
        let routes = &self.workload.routes;
        let mut candidates = core::mem::take(&mut self.candidates);
        candidates.clear();
        let mut ends = ArrayVec::<usize, BATCH_MAX>::new();
        for request in requests {
            let start = candidates.len();
            routes.put_candidates(address_of(request.packet), &mut candidates);
            routes.prefetch(&candidates[start..]);
            answered.next().into_iter().for_each(|index| prefetch_at(&self.pending, index));
            ends.push(candidates.len());
        }
        answered.for_each(|index| prefetch_at(&self.pending, index));
        let opens = self.open_locks(responses);
        for (bit, response) in responses.iter().enumerate() {
            self.answer(response, opens >> bit & 1 == 1, egress);
        }
        let mut start = 0;
        for (request, end) in requests.iter().zip(ends) {
            self.send(request, &candidates[start..end], egress);
            start = end;
        }
        self.candidates = candidates;
    }

    fn between_batches(&mut self, _: Now, _: &mut impl Egress) {}

    fn fulfilled_in(&self, account: AccountId) -> Option<i128> {
        Some(self.balances[account.0 as usize].into())
    }
}
