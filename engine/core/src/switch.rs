//! One shard's switch: its state, and the functions that a shell calls.
//!
//! A shell hands in vectors of requests and of responses, the moment, and an [`Egress`]; it calls
//! [`Switch::tick`] when [`Switch::next_deadline_ns`] is reached, and takes records and notices out
//! after each call. Nothing here waits, reads a clock or knows a socket.

use std::collections::VecDeque;
use std::sync::Arc;

use arrayvec::ArrayVec;
use m2_accel::HashLocks;
use m2_codec::address::{Address, Scheme};
use m2_codec::ilp::{self, ForwardedPrepare};
use m2_codec::timestamp;

use crate::account::{Account, AccountConfig, AccountView};
use crate::accounts::Accounts;
use crate::counters::{Counters, PairTotal};
use crate::gate::Gate;
use crate::ids::{AccountId, AssetIndex, ConnectionId, Now, ShardId};
use crate::keys::{KeyNews, Keys};
use crate::limits::{BATCH_MAX, KEYS_MAX, NOTICES_MAX, WITHHELD_BYTES_MAX};
use crate::message::{Answer, Forward, Notice};
use crate::rates::Rates;
use crate::record::Record;
use crate::refusal::Refusal;
use crate::ring::{Place, Ring, Room};
use crate::routes::{Candidate, Routes};
use crate::slots::Slots;
use crate::withheld::UnrecordedFulfill;

/// Where a shard's packets leave: to links, and to the other shards of the switch. The shell's links
/// are one, a simulator's another.
///
/// All senders take the bytes before they return, and cannot fail: a link that is lost or full is
/// the shell's to deal with, the money has been decided. What goes to another shard arrives there
/// once, and Forwards in their order.
pub trait Egress {
    /// Whether the bytes waiting for this connection are under half of their cap. The other half
    /// is kept for answers. A FULFILL that was withheld waits for this as well: see
    /// [`Switch::room`].
    fn below_half(&self, to: ConnectionId) -> bool;

    /// Sends a PREPARE to a next hop, as a request under `request_id`.
    fn prepare(&mut self, to: ConnectionId, request_id: u32, packet: ForwardedPrepare<'_>);

    /// Sends a FULFILL or REJECT to whom the request `request_id` of this connection came from.
    fn answer(&mut self, to: ConnectionId, request_id: u32, packet: &[u8]);

    /// Whether the ring toward another shard has room for one more Forward and its bytes. A shard
    /// that is alone has no ring.
    fn forward_room(&self, _to: ShardId) -> bool {
        false
    }

    /// Hands a packet to the outgoing half of another shard, for [`Switch::forwarded`].
    /// [`Self::forward_room`] comes before.
    fn forward(&mut self, to: ShardId, forward: Forward, _packet: &[u8]) {
        unreachable!("there is no room toward shard {}: {forward:?}", to.0);
    }

    /// Hands a packet's end to the shard that sent its Forward, for [`Switch::answered`]. The ring
    /// has a place for it, reserved before the hold; its bytes, if it has any, are those of a
    /// response at hand, which a shell does not hand in before there is room for them.
    fn give_back(&mut self, to: ShardId, answer: Answer, _packet: &[u8]) {
        unreachable!("no Forward came from shard {}: {answer:?}", to.0);
    }
}

/// A request as it came: the bytes of its ILP packet, whatever they are.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Where it came from.
    pub connection: ConnectionId,
    /// What the sender calls it on that connection.
    pub request_id: u32,
    /// Read where it stands, and copied once if it is forwarded.
    pub packet: &'a [u8],
}

/// An answer as it came.
#[derive(Debug)]
pub struct Response<'a> {
    /// Where it came from.
    pub connection: ConnectionId,
    /// Which of our requests it answers.
    pub request_id: u32,
    /// What it says.
    pub body: ResponseBody<'a>,
}

/// What a link may answer to a PREPARE.
#[derive(Clone, Copy, Debug)]
pub enum ResponseBody<'a> {
    /// The bytes of an ILP packet, whatever they are.
    Packet(&'a [u8]),
    /// An answer without an ILP packet.
    Empty,
    /// The link's own error, of a kind that may pass (BTP ERROR T00).
    ErrorTemporary,
    /// Any other error of the link.
    ErrorOther,
}

impl<'a> ResponseBody<'a> {
    /// The leading `len` bytes of a packet that was judged to have them.
    pub(crate) fn leading(&self, len: usize) -> &'a [u8] {
        let Self::Packet(packet) = *self else {
            unreachable!("only a response with a packet is passed on");
        };
        &packet[..len]
    }
}

/// Which addresses are ours to forward (RFC 15).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Network {
    /// The live network: `g.`
    G,
    /// Test networks: `test.`, `test1.`, `test2.`, `test3.`
    Test,
    /// A private network: `private.`
    Private,
}

impl Network {
    /// Whether destinations of this scheme are forwarded here.
    #[must_use]
    pub fn serves(self, scheme: Scheme) -> bool {
        matches!(
            (self, scheme),
            (Self::G, Scheme::G) | (Self::Test, Scheme::Test) | (Self::Private, Scheme::Private)
        )
    }
}

/// How much the rings between the two halves, and the one of records, can take.
#[derive(Clone, Copy, Debug)]
pub struct Rings {
    /// Forwards of one vector to this shard's own outgoing half.
    pub forwards: usize,
    /// Answers from each shard, also those reserved: as many packets as may be in flight from this
    /// shard's accounts to those of one shard.
    pub answers: usize,
    /// Records, also those reserved.
    pub records: usize,
}

impl Rings {
    /// Rings that are never the reason of a refusal while there is a slot, in a switch of one shard.
    /// Between two, a Forward that waits and an Answer that was not taken have a place and no slot.
    #[must_use]
    pub fn for_slots(slots: u32) -> Self {
        let in_flight = slots as usize + BATCH_MAX;
        Self { forwards: BATCH_MAX, answers: in_flight, records: 2 * in_flight }
    }
}

/// What a switch is made with.
#[derive(Clone, Debug)]
pub struct SwitchConfig {
    /// For which shard of the switch this decides.
    pub shard: ShardId,
    /// How many shards the switch has: as many streams of records, also of shards without accounts.
    pub shards: u16,
    /// Our own ILP address.
    pub own_address: Address,
    /// Which destinations are forwarded.
    pub network: Network,
    /// What a hop takes off a packet's expiry.
    pub expiry_margin_ms: u32,
    /// How long before the sender's expiry a withheld FULFILL is given out without its record.
    pub sync_grace_ms: u32,
    /// How old the oldest record of a stream that is not durable may be, for a FULFILL of an `Async`
    /// account to be given out before its own.
    pub async_ms: u32,
    /// How many bytes of records of a stream may not be durable, for the same.
    pub async_bytes: u64,
    /// What must be left for the next hop.
    pub remaining_ms_min: u32,
    /// Longest that a PREPARE is held; at most [`crate::limits::HOLD_MS_MAX`].
    pub hold_ms_max: u32,
    /// Most packets in flight.
    pub in_flight_slots: u32,
    /// Whether a packet may go back to whom it came from.
    pub reflect: bool,
    /// Random: makes request ids unforeseeable.
    pub seed: u64,
    /// Room in the rings; [`Rings::for_slots`] unless a test wants them full.
    pub rings: Rings,
    /// When it starts.
    pub start: Now,
}

/// What slots hold of one account. Amounts are units of the account.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SlotSums {
    /// PREPAREs from the peer.
    pub count_in: u32,
    /// Their amounts.
    pub amount_in: u128,
    /// PREPAREs to the peer.
    pub count_out: u32,
    /// Their amounts.
    pub amount_out: u128,
}

/// A snapshot of rates and what its conversions have rounded off.
#[derive(Debug)]
pub(crate) struct RateBook {
    pub(crate) rates: Arc<Rates>,
    /// By pair, in parts of the pair's denominator.
    pub(crate) remainders: Vec<u128>,
    /// Packets converted by it whose `Answer` has not been taken.
    pub(crate) in_flight: u64,
}

impl RateBook {
    fn new(rates: Arc<Rates>) -> Self {
        let remainders = vec![0; rates.pair_count()];
        Self { rates, remainders, in_flight: 0 }
    }
}

/// The decision maker of one shard. See the crate's documentation.
#[derive(Debug)]
pub struct Switch {
    pub(crate) config: SwitchConfig,
    pub(crate) accounts: Accounts,
    pub(crate) routes: Arc<Routes>,
    /// Newest last.
    pub(crate) rate_books: VecDeque<RateBook>,
    pub(crate) pair_totals: Vec<PairTotal>,
    pub(crate) slots: Slots,
    /// Forwards of the vector at hand to this shard's own outgoing half, of [`Rings::forwards`].
    pub(crate) own_forwards: usize,
    /// What this shard's outgoing half has decided by itself, without an answer of a peer; each has a
    /// place in the rooms of its sender.
    pub(crate) answers: VecDeque<Answer>,
    /// Places for the answers to this shard's Forwards, by the shard that they went to.
    pub(crate) answer_rooms: Vec<Room<Answer>>,
    /// Of this shard's stream, those that nobody has taken out.
    pub(crate) records: Ring<Record>,
    /// Records of this shard's stream so far: the position of the next.
    pub(crate) appended: u64,
    /// By stream: the ledgers of this shard hold the incoming legs of records below.
    pub(crate) applied: Vec<u64>,
    pub(crate) keys: Keys,
    /// Accounts that have come to their thresholds, each once: there is room for all of them.
    pub(crate) due: Vec<AccountId>,
    /// What has become of frozen amounts since it was taken out last.
    pub(crate) key_news: Vec<KeyNews>,
    /// What was fulfilled for this shard's accounts and is not durable.
    pub(crate) gate: Gate,
    /// What this shard's accounts have fulfilled and is not durable: position, account, amount.
    pub(crate) legs_out: VecDeque<(u64, AccountId, u64)>,
    /// FULFILLs that went out without a durable record, since they were taken out last.
    pub(crate) unrecorded: Vec<UnrecordedFulfill>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) counters: Counters,
    pub(crate) timestamps: timestamp::Cache,
    pub(crate) draining: bool,
    /// Candidates of all destinations of the vector at hand.
    pub(crate) candidates: Vec<Candidate>,
    /// PREPAREs of ours (echoes) for the vector at hand.
    pub(crate) built: Vec<u8>,
    /// The FULFILL or REJECT being made.
    pub(crate) scratch: Vec<u8>,
    pub(crate) hash_locks: HashLocks,
}

impl Switch {
    /// A switch without accounts, routes or rates.
    ///
    /// # Panics
    ///
    /// If the longest hold or the number of slots is beyond [`crate::limits`]: the configuration is
    /// checked before it gets here.
    #[must_use]
    pub fn new(config: SwitchConfig) -> Self {
        assert!(config.hold_ms_max <= crate::limits::HOLD_MS_MAX, "ids outlive the longest hold");
        assert!(config.shard.0 < config.shards, "a shard is one of its switch");
        let rates = Rates::build(0, &[], &[]).expect("no entry can be wrong");
        let routes = Routes::build(config.seed, []).expect("no route can be wrong");
        Self {
            accounts: Accounts::default(),
            routes: Arc::new(routes),
            rate_books: VecDeque::from([RateBook::new(Arc::new(rates))]),
            pair_totals: Vec::new(),
            slots: Slots::new(
                config.in_flight_slots,
                config.seed,
                u64::from(config.hold_ms_max) * 1_000_000,
            ),
            own_forwards: 0,
            answers: VecDeque::new(),
            answer_rooms: (0..config.shards).map(|_| Room::new(config.rings.answers)).collect(),
            records: Ring::new(config.rings.records),
            appended: 0,
            applied: vec![0; config.shards.into()],
            keys: Keys::new(KEYS_MAX),
            due: Vec::new(),
            key_news: Vec::new(),
            gate: Gate::new(
                config.shards.into(),
                config.async_ms,
                config.async_bytes,
                WITHHELD_BYTES_MAX,
            ),
            legs_out: VecDeque::new(),
            unrecorded: Vec::new(),
            notices: Vec::new(),
            counters: Counters::default(),
            timestamps: timestamp::Cache::new(),
            draining: false,
            candidates: Vec::new(),
            built: Vec::new(),
            scratch: Vec::new(),
            hash_locks: HashLocks::detect(),
            config,
        }
    }

    /// Takes the memory of all slots from the kernel. Called by the thread that will use them, once it is
    /// where it stays: a page is given near the core that first asks for it.
    pub fn populate(&mut self) {
        self.slots.populate();
    }

    /// Adds an account with nothing owed and no link. Each shard of a switch knows all accounts; the
    /// ledger and the links of one are its own shard's alone. An account is added to every shard before
    /// any shard gets a route to it or a link of it.
    ///
    /// # Panics
    ///
    /// If its id is not the next one (numbers are dense and never used again), if its shard is none of
    /// the switch's, if it is a child whose segment makes no address, or if it is to be paid down to its
    /// threshold or above.
    pub fn add_account(&mut self, config: AccountConfig) {
        assert!(config.id.index() == self.accounts.len(), "accounts are added in order");
        assert!(config.shard.0 < self.config.shards, "an account is on a shard of its switch");
        let SwitchConfig { own_address, start, .. } = &self.config;
        self.accounts.push(Account::new(config, own_address, start.mono_ns));
        self.due.reserve(self.accounts.len() - self.due.len());
    }

    /// Replaces the routes, and gives those before them back: a large table takes a while to free,
    /// which is not for the thread that moves packets. Packets in flight keep their next hop.
    ///
    /// # Panics
    ///
    /// If a route names an account that was not added.
    pub fn set_routes(&mut self, routes: Arc<Routes>) -> Arc<Routes> {
        assert!(routes.accounts() <= self.account_count(), "a route leads to an account");
        core::mem::replace(&mut self.routes, routes)
    }

    /// Replaces the rates. Packets in flight keep their amounts. Shards may get a snapshot at
    /// different moments: the one that took a PREPARE in converts it and keeps what rounding left.
    ///
    /// # Panics
    ///
    /// If the list of assets got shorter or the version did not rise.
    pub fn set_rates(&mut self, rates: Arc<Rates>) {
        let newest = self.newest_rates();
        assert!(rates.version() > newest.rates.version(), "versions of rates rise");
        assert!(
            newest.rates.pair_count() == 0 || rates.pair_count() == newest.rates.pair_count(),
            "the list of assets is fixed"
        );
        if newest.rates.pair_count() == 0 {
            self.rate_books.clear();
        }
        self.pair_totals.resize(rates.pair_count(), PairTotal::default());
        self.rate_books.push_back(RateBook::new(rates));
        self.fold_old_rates();
    }

    /// A new connection of the account. Requests of an older one are not taken any more; its answers
    /// to what left on it still count.
    ///
    /// # Panics
    ///
    /// If the account is another shard's.
    pub fn link_up(&mut self, account: AccountId) -> ConnectionId {
        let connection = self.own(account).link_up();
        self.drop_backlog(account);
        connection
    }

    /// The connection is gone. This decides nothing about packets in flight: what left may be
    /// fulfilled unseen, so each waits for its expiry. For frames that never left, the shell calls
    /// [`Self::unsent`].
    pub fn link_down(&mut self, connection: ConnectionId) {
        let account = &mut self.accounts[connection.account.index()];
        if account.is_live(connection) {
            account.link = None;
            self.drop_backlog(connection.account);
        }
    }

    /// Of the PREPARE sent as `request_id` on this connection not a byte reached the kernel, and
    /// none will: its sender is told so at once (T01).
    pub fn unsent(
        &mut self,
        now: Now,
        connection: ConnectionId,
        request_id: u32,
        egress: &mut impl Egress,
    ) {
        self.unsent_out(now, connection, request_id);
        self.apply_answers(now, egress);
    }

    /// Takes a vector of requests: each is answered, or forwarded, before this returns.
    ///
    /// # Panics
    ///
    /// If there are more than [`BATCH_MAX`].
    pub fn requests(&mut self, now: Now, batch: &[Request<'_>], egress: &mut impl Egress) {
        assert!(batch.len() <= BATCH_MAX, "vectors are bounded");
        let mut parsed = ArrayVec::new();
        self.parse(now, batch, &[], &mut parsed);
        self.take_requests(now, batch, &parsed, egress);
    }

    /// Takes a vector of answers and one of requests, as [`Self::responses`] and then
    /// [`Self::requests`] do. What either needs of memory is asked for before the other is worked on.
    ///
    /// # Panics
    ///
    /// As those two.
    pub fn vectors(
        &mut self,
        now: Now,
        responses: &[Response<'_>],
        requests: &[Request<'_>],
        egress: &mut impl Egress,
    ) {
        assert!(requests.len().max(responses.len()) <= BATCH_MAX, "vectors are bounded");
        let mut parsed = ArrayVec::new();
        self.parse(now, requests, responses, &mut parsed);
        self.take_responses(now, responses, egress);
        self.take_requests(now, requests, &parsed, egress);
    }

    /// Takes a packet that another shard has admitted: it leaves, or its `Answer` goes back, before
    /// this returns. `packet` is as [`Egress::forward`] got it.
    ///
    /// # Panics
    ///
    /// If its next hop is another shard's.
    pub fn forwarded(
        &mut self,
        now: Now,
        forward: Forward,
        packet: &[u8],
        egress: &mut impl Egress,
    ) {
        let _ = self.own(forward.account_out());
        self.take_forward(now, forward, packet, egress);
        self.apply_answers(now, egress);
    }

    /// Takes the end of a packet that another shard has decided. `packet` is as [`Egress::give_back`]
    /// got it.
    ///
    /// # Panics
    ///
    /// If its sender is another shard's.
    pub fn answered(&mut self, now: Now, answer: Answer, packet: &[u8], egress: &mut impl Egress) {
        let _ = self.own(answer.account_in());
        self.apply_answer(now, answer, packet, egress);
    }

    /// Takes a vector of answers: each ends its packet, or is counted, before this returns.
    ///
    /// # Panics
    ///
    /// If there are more than [`BATCH_MAX`].
    pub fn responses(&mut self, now: Now, batch: &[Response<'_>], egress: &mut impl Egress) {
        assert!(batch.len() <= BATCH_MAX, "vectors are bounded");
        batch.iter().for_each(|response| self.slots.prefetch(response.request_id));
        self.take_responses(now, batch, egress);
    }

    /// Ends packets whose time is up, and gives out FULFILLs that cannot wait any longer, at most
    /// [`BATCH_MAX`] of each. If there are more, [`Self::next_deadline_ns`] tells a moment that has
    /// passed: come back when what this has sent is on its way and what has come is taken.
    pub fn tick(&mut self, now: Now, egress: &mut impl Egress) {
        self.expire_due(now);
        self.release_due(now, egress);
        self.apply_answers(now, egress);
    }

    /// When [`Self::tick`] is to be called next, on the monotonic clock: no packet's time is up
    /// before. (It may find that none is up then, and the next call tells a later moment.)
    #[must_use]
    pub fn next_deadline_ns(&self) -> Option<u64> {
        let deadlines = [self.slots.next_deadline_ns(), self.gate.next_deadline_ns()];
        deadlines.into_iter().flatten().min()
    }

    /// PREPAREs of this shard's accounts from their hold until their answer is given: also while they
    /// are with another shard or in a ring, and while their FULFILL waits for its record or for room.
    /// Over all shards that is every packet under way, once.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        let awaited: usize = self.answer_rooms.iter().map(Room::taken).sum();
        u32::try_from(awaited).expect("each has a slot or lies in a ring: some 2^30")
            + self.gate.withheld
    }

    /// What the slots of this shard hold, added up slot by slot, by account. (`held_out` of an account
    /// is the sum of its own shard's slots; `held_in` is that of all shards' slots, of the Forwards and
    /// of the Answers under way.)
    #[must_use]
    pub fn slot_sums(&self) -> Vec<SlotSums> {
        let mut sums = vec![SlotSums::default(); self.accounts.len()];
        for (hold_in, hold_out) in self.slots.holds() {
            let sum_in = &mut sums[hold_in.account().index()];
            sum_in.count_in += 1;
            sum_in.amount_in += u128::from(hold_in.amount());
            let sum_out = &mut sums[hold_out.account().index()];
            sum_out.count_out += 1;
            sum_out.amount_out += u128::from(hold_out.amount());
        }
        sums
    }

    /// The `nth` of the request ids that no packet of ours ever has, on any link: for requests of the
    /// shell's own.
    #[must_use]
    pub fn spare_id(&self, nth: u32) -> u32 {
        self.slots.spare_id(nth)
    }

    /// While draining no new PREPARE is admitted (T03); what is in flight ends as ever.
    pub fn set_draining(&mut self, draining: bool) {
        self.draining = draining;
    }

    /// Records that nobody has taken out.
    #[must_use]
    pub fn records_waiting(&self) -> usize {
        self.records.len()
    }

    /// Takes out records in the order of decisions, at most so many; the rest keep their places.
    pub fn drain_records(&mut self, most: usize, mut take: impl FnMut(Record)) {
        for _ in 0..most {
            let Some(record) = self.records.pop() else { return };
            self.counters.records += 1;
            take(record);
        }
    }

    /// Whether there is something that the log should tell.
    #[must_use]
    pub fn has_notices(&self) -> bool {
        !self.notices.is_empty()
    }

    /// Takes out what the log should tell.
    pub fn drain_notices(&mut self, take: impl FnMut(Notice)) {
        self.notices.drain(..).for_each(take);
    }

    /// How many accounts there are; their ids are all below.
    #[must_use]
    pub fn account_count(&self) -> u32 {
        u32::try_from(self.accounts.len()).expect("ids are u32")
    }

    /// An account at this moment.
    #[must_use]
    pub fn account_view(&self, account: AccountId) -> AccountView {
        self.accounts[account.index()].view()
    }

    /// What has happened since the start.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What a pair of assets has moved since the start: PREPAREs from this shard's accounts whose
    /// `Answer` has been taken.
    #[must_use]
    pub fn pair_total(&self, from: AssetIndex, to: AssetIndex) -> PairTotal {
        let newest = self.rate_books.back().expect("one snapshot is always there");
        let pair = newest.rates.pair(from, to);
        let mut total = self.pair_totals[pair];
        for book in &self.rate_books {
            let den = u128::from(book.rates.denominator(pair));
            total.remainder_whole += book.remainders[pair] / den;
        }
        let den = newest.rates.denominator(pair);
        total.remainder_num = newest.remainders[pair] % u128::from(den);
        total.remainder_den = den;
        total
    }

    /// Answers a request with a REJECT of ours.
    pub(crate) fn refuse(
        &mut self,
        refusal: Refusal,
        to: ConnectionId,
        request_id: u32,
        egress: &mut impl Egress,
    ) {
        self.counters.count(&refusal);
        self.accounts[to.account.index()].counters.rejects_out += 1;
        self.scratch.clear();
        let data = refusal.data();
        ilp::put_reject(
            &mut self.scratch,
            refusal.code(),
            self.config.own_address.as_bytes(),
            refusal.message().as_bytes(),
            data.as_ref().map_or(&[], |bytes| &bytes[..]),
        );
        egress.answer(to, request_id, &self.scratch);
    }

    /// Keeps a notice for the log, or counts that there was no room for it.
    pub(crate) fn note(&mut self, notice: Notice) {
        if self.notices.len() < NOTICES_MAX {
            self.notices.push(notice);
        } else {
            self.counters.notices_lost += 1;
        }
    }

    pub(crate) fn newest_rates(&mut self) -> &mut RateBook {
        self.rate_books.back_mut().expect("one snapshot is always there")
    }

    /// Appends to this shard's stream; the record's position there.
    pub(crate) fn append(&mut self, place: Place<Record>, record: Record) -> u64 {
        self.records.push(place, record);
        self.appended += 1;
        self.appended - 1
    }

    /// An account of this shard.
    pub(crate) fn own(&mut self, account: AccountId) -> &mut Account {
        let own = &mut self.accounts[account.index()];
        assert!(own.config.shard == self.config.shard, "an account is touched on its own shard");
        own
    }

    /// Folds what old rates rounded off into whole units, once no packet converted by them is in
    /// flight any more.
    pub(crate) fn fold_old_rates(&mut self) {
        while self.rate_books.len() > 1 && self.rate_books[0].in_flight == 0 {
            let oldest = self.rate_books.pop_front().expect("it was just looked at");
            for (pair, remainder) in oldest.remainders.into_iter().enumerate() {
                let den = u128::from(oldest.rates.denominator(pair));
                self.pair_totals[pair].remainder_whole += remainder / den;
                self.pair_totals[pair].fractions_dropped += u64::from(remainder % den != 0);
            }
        }
    }
}
