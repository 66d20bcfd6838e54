//! A switch with its egress written down: what the tests of the core stand on.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use m2_codec::ilp::{self, ErrorCode, ForwardedPrepare, Prepare, Reject};
use m2_codec::timestamp;
use m2_core::{
    AccountConfig, AccountId, AccountView, Answer, Asset, AssetIndex, ConnectionId, Durability,
    Egress, Forward, Key, KeyOutcome, Limits, Network, Now, RateEntry, Rates, Relation, Request,
    Response, ResponseBody, Rings, Routes, Settle, ShardId, Switch, SwitchConfig, sha256_of_32,
};

/// 2026-11-20, some time in the afternoon.
pub(crate) const START: Now = Now { utc_ms: 1_795_186_800_000, mono_ns: 77_000_000_000 };
pub(crate) const OWN_ADDRESS: &str = "test.m2m";
/// Both are used in all tests; what comes in as the first leaves as the second at 5/2.
pub(crate) const USD: AssetIndex = AssetIndex(0);
pub(crate) const XRP: AssetIndex = AssetIndex(1);

pub(crate) const ALICE: AccountId = AccountId(0);
pub(crate) const BOB: AccountId = AccountId(1);
pub(crate) const CAROL: AccountId = AccountId(2);

/// What left the switch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Sent {
    Prepare { to: ConnectionId, id: u32, packet: Vec<u8> },
    Answer { to: ConnectionId, id: u32, packet: Vec<u8> },
}

/// An egress that keeps everything, and is full where a test says so.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    pub(crate) sent: Vec<Sent>,
    pub(crate) full: HashSet<AccountId>,
}

impl Egress for Recorder {
    fn below_half(&self, to: ConnectionId) -> bool {
        !self.full.contains(&to.account)
    }

    fn prepare(&mut self, to: ConnectionId, request_id: u32, packet: ForwardedPrepare<'_>) {
        let mut bytes = Vec::new();
        packet.put(&mut bytes);
        self.sent.push(Sent::Prepare { to, id: request_id, packet: bytes });
    }

    fn answer(&mut self, to: ConnectionId, request_id: u32, packet: &[u8]) {
        self.sent.push(Sent::Answer { to, id: request_id, packet: packet.to_vec() });
    }
}

/// A switch, its egress, its clock.
pub(crate) struct World {
    pub(crate) switch: Switch,
    pub(crate) egress: Recorder,
    pub(crate) now: Now,
    pub(crate) keys: u8,
    /// The accounts, as they have been told of.
    pub(crate) copies: Vec<AccountView>,
}

pub(crate) fn config() -> SwitchConfig {
    SwitchConfig {
        shard: ShardId(0),
        shards: 1,
        own_address: OWN_ADDRESS.parse().unwrap(),
        network: Network::Test,
        expiry_margin_ms: 1_000,
        sync_grace_ms: 0,
        async_ms: u32::MAX,
        async_bytes: u64::MAX,
        remaining_ms_min: 1_000,
        hold_ms_max: 30_000,
        in_flight_slots: 1_024,
        reflect: false,
        seed: 0xfeed,
        rings: Rings::for_slots(1_024),
        start: START,
    }
}

pub(crate) fn limits() -> Limits {
    Limits {
        balance_max: 1_000_000,
        payable_max: 1_000_000,
        packet_amount_max: 100_000,
        packets: None,
        amount: None,
        in_flight_packets_max: 100,
        in_flight_value_max: None,
    }
}

pub(crate) fn account(id: AccountId, asset: AssetIndex, limits: Limits) -> AccountConfig {
    let (code, scale) = if asset == USD { ("USD", 9) } else { ("XRP", 6) };
    AccountConfig {
        id,
        shard: ShardId(0),
        relation: Relation::Child,
        asset,
        asset_code: code.into(),
        asset_scale: scale,
        ildcp_segment: NAMES[id.0 as usize].into(),
        durability: Durability::Async,
        limits,
        settle: None,
    }
}

pub(crate) const NAMES: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];

/// How many units of XRP two units of USD are worth at a version of the rates: 5 at the odd ones, 7
/// at the even ones, so that an amount tells which it was converted by.
pub(crate) fn xrp_for_two(version: u32) -> u64 {
    if version.is_multiple_of(2) { 7 } else { 5 }
}

/// Rates of a version, between units of the accounts as [`xrp_for_two`] says, and back.
pub(crate) fn rates(version: u32) -> Arc<Rates> {
    // Scales 9 and 6: 5/2 between the units of the accounts is 5,000/2 between standard units.
    let xrp = xrp_for_two(version);
    let assets = [("USD", 9), ("XRP", 6)].map(|(code, scale)| Asset { code: code.into(), scale });
    let entries = [
        RateEntry { from: USD, to: XRP, num: xrp * 1_000, den: 2, spread_ppm: 0 },
        RateEntry { from: XRP, to: USD, num: 2, den: xrp * 1_000, spread_ppm: 0 },
    ];
    Arc::new(Rates::build(version, &assets, &entries).unwrap())
}

pub(crate) fn routes(count: u32) -> Arc<Routes> {
    let prefixes = (0..count).map(|number| {
        let name = NAMES[number as usize];
        (format!("test.{name}").parse().unwrap(), AccountId(number))
    });
    Arc::new(Routes::build(7, prefixes).unwrap())
}

/// What left one shard of several: to links, and in rings to the other shards.
#[derive(Debug)]
pub(crate) struct ShardEgress {
    pub(crate) links: Recorder,
    pub(crate) forwards: VecDeque<(ShardId, Forward, Vec<u8>)>,
    /// Most Forwards that may wait.
    pub(crate) forwards_max: usize,
    pub(crate) answers: VecDeque<(ShardId, Answer, Vec<u8>)>,
}

impl Egress for ShardEgress {
    fn below_half(&self, to: ConnectionId) -> bool {
        self.links.below_half(to)
    }

    fn prepare(&mut self, to: ConnectionId, request_id: u32, packet: ForwardedPrepare<'_>) {
        self.links.prepare(to, request_id, packet);
    }

    fn answer(&mut self, to: ConnectionId, request_id: u32, packet: &[u8]) {
        self.links.answer(to, request_id, packet);
    }

    fn forward_room(&self, _to: ShardId) -> bool {
        self.forwards.len() < self.forwards_max
    }

    fn forward(&mut self, to: ShardId, forward: Forward, packet: &[u8]) {
        self.forwards.push_back((to, forward, packet.to_vec()));
    }

    fn give_back(&mut self, to: ShardId, answer: Answer, packet: &[u8]) {
        self.answers.push_back((to, answer, packet.to_vec()));
    }
}

/// A switch of several shards; account n is shard n's. Messages go when a test says so.
pub(crate) struct Shards {
    pub(crate) switches: Vec<Switch>,
    pub(crate) egress: Vec<ShardEgress>,
    pub(crate) now: Now,
}

impl Shards {
    /// As many shards as there are accounts, each account with a link.
    pub(crate) fn new(config: &SwitchConfig, accounts: &[(AssetIndex, Limits)]) -> Self {
        Self::of(config, accounts, Durability::Async)
    }

    pub(crate) fn of(
        config: &SwitchConfig,
        accounts: &[(AssetIndex, Limits)],
        durability: Durability,
    ) -> Self {
        let numbers = || (0..).zip(accounts);
        let shards = u16::try_from(accounts.len()).unwrap();
        let switches = numbers().map(|(shard, _)| {
            let shard = ShardId(shard);
            let mut switch = Switch::new(SwitchConfig { shard, shards, ..config.clone() });
            for (number, (asset, limits)) in numbers() {
                let account = account(AccountId(number.into()), *asset, *limits);
                let shard = ShardId(number);
                switch.add_account(AccountConfig { shard, durability, ..account });
            }
            switch.set_rates(rates(1));
            switch.set_routes(routes(u32::try_from(accounts.len()).unwrap()));
            switch.link_up(AccountId(shard.0.into()));
            switch
        });
        let switches: Vec<Switch> = switches.collect();
        let egress = switches.iter().map(|_| ShardEgress {
            links: Recorder::default(),
            forwards: VecDeque::new(),
            forwards_max: 64,
            answers: VecDeque::new(),
        });
        Self { egress: egress.collect(), switches, now: START }
    }

    /// The first connection of an account.
    pub(crate) fn link(account: AccountId) -> ConnectionId {
        ConnectionId { account, epoch: std::num::NonZeroU32::MIN }
    }

    pub(crate) fn request(&mut self, from: ConnectionId, id: u32, packet: Vec<u8>) {
        let shard = from.account.0 as usize;
        let request = Request { connection: from, request_id: id, packet: &packet };
        self.switches[shard].requests(self.now, &[request], &mut self.egress[shard]);
    }

    pub(crate) fn response(&mut self, from: ConnectionId, id: u32, body: ResponseBody<'_>) {
        let shard = from.account.0 as usize;
        let response = Response { connection: from, request_id: id, body };
        self.switches[shard].responses(self.now, &[response], &mut self.egress[shard]);
    }

    /// Takes all Forwards out of their rings, then all Answers.
    pub(crate) fn carry(&mut self) {
        self.carry_forwards();
        self.carry_answers();
    }

    pub(crate) fn carry_forwards(&mut self) {
        for from in 0..self.switches.len() {
            while let Some((to, forward, packet)) = self.egress[from].forwards.pop_front() {
                let to = usize::from(to.0);
                let egress = &mut self.egress[to];
                self.switches[to].forwarded(self.now, forward, &packet, egress);
            }
        }
    }

    pub(crate) fn carry_answers(&mut self) {
        for from in 0..self.switches.len() {
            while let Some((to, answer, packet)) = self.egress[from].answers.pop_front() {
                let to = usize::from(to.0);
                self.switches[to].answered(self.now, answer, &packet, &mut self.egress[to]);
            }
        }
    }

    pub(crate) fn tick(&mut self) {
        for (switch, egress) in self.switches.iter_mut().zip(&mut self.egress) {
            switch.tick(self.now, egress);
        }
    }

    /// What left to links since the last look, shard by shard.
    pub(crate) fn sent(&mut self) -> Vec<Sent> {
        self.egress.iter_mut().flat_map(|egress| std::mem::take(&mut egress.links.sent)).collect()
    }

    pub(crate) fn advance_ms(&mut self, ms: u64) {
        self.now.utc_ms += ms;
        self.now.mono_ns += ms * 1_000_000;
    }

    /// The words of each account, as its own shard has them.
    pub(crate) fn words(&self) -> Vec<m2_core::ledger::Words> {
        let own = |(number, switch): (u32, &Switch)| switch.account_view(AccountId(number)).words;
        (0..).zip(&self.switches).map(own).collect()
    }
}

impl World {
    /// Alice and Carol in USD, Bob in XRP, all with links and the usual limits.
    pub(crate) fn new() -> Self {
        Self::with(config(), &[(USD, limits()), (XRP, limits()), (USD, limits())])
    }

    pub(crate) fn with(config: SwitchConfig, accounts: &[(AssetIndex, Limits)]) -> Self {
        Self::of(config, accounts, &[Durability::Async; 5])
    }

    pub(crate) fn of(
        config: SwitchConfig,
        accounts: &[(AssetIndex, Limits)],
        durabilities: &[Durability],
    ) -> Self {
        let accounts = (0..).zip(accounts).zip(durabilities);
        let accounts = accounts.map(|((number, (asset, limits)), &durability)| AccountConfig {
            durability,
            ..account(AccountId(number), *asset, *limits)
        });
        Self::made_of(config, accounts)
    }

    /// Accounts that are paid by themselves, where they are.
    pub(crate) fn settling(
        config: SwitchConfig,
        accounts: &[(AssetIndex, Limits, Option<Settle>)],
    ) -> Self {
        let accounts = (0..).zip(accounts).map(|(number, (asset, limits, settle))| AccountConfig {
            settle: *settle,
            ..account(AccountId(number), *asset, *limits)
        });
        Self::made_of(config, accounts)
    }

    fn made_of(config: SwitchConfig, accounts: impl Iterator<Item = AccountConfig>) -> Self {
        let mut switch = Switch::new(config);
        accounts.for_each(|account| switch.add_account(account));
        switch.set_rates(rates(1));
        switch.set_routes(routes(switch.account_count()));
        let egress = Recorder::default();
        let mut world = Self { switch, egress, now: START, keys: 0, copies: Vec::new() };
        for number in 0..world.switch.account_count() {
            world.switch.link_up(AccountId(number));
        }
        world
    }

    /// The first connection of an account.
    pub(crate) fn link(&self, account: AccountId) -> ConnectionId {
        ConnectionId { account, epoch: std::num::NonZeroU32::MIN }
    }

    pub(crate) fn advance_ms(&mut self, ms: u64) {
        self.now.utc_ms += ms;
        self.now.mono_ns += ms * 1_000_000;
    }

    /// Hands in one request and gives back all that left because of it.
    pub(crate) fn request(&mut self, from: ConnectionId, id: u32, packet: Vec<u8>) -> Vec<Sent> {
        let request = Request { connection: from, request_id: id, packet: &packet };
        self.switch.requests(self.now, &[request], &mut self.egress);
        self.check_changes();
        std::mem::take(&mut self.egress.sent)
    }

    /// Hands in one answer and gives back all that left because of it.
    pub(crate) fn response(
        &mut self,
        from: ConnectionId,
        id: u32,
        body: ResponseBody<'_>,
    ) -> Vec<Sent> {
        let response = Response { connection: from, request_id: id, body };
        self.switch.responses(self.now, &[response], &mut self.egress);
        self.check_changes();
        std::mem::take(&mut self.egress.sent)
    }

    /// A credit under a key of its own.
    pub(crate) fn credit(&mut self, account: AccountId, amount: u64) {
        let key = self.new_key();
        assert_eq!(self.switch.credit(self.now, account, key, amount), Ok(KeyOutcome::New));
    }

    /// A key that was not used before.
    pub(crate) fn new_key(&mut self) -> Key {
        self.keys += 1;
        Key([self.keys; 16])
    }

    /// A journal tells that its first records are durable; what leaves by that.
    pub(crate) fn durable(&mut self, position: u64) -> Vec<Sent> {
        self.switch.durable(ShardId(0), position, &mut self.egress);
        self.check_changes();
        std::mem::take(&mut self.egress.sent)
    }

    pub(crate) fn tick(&mut self) -> Vec<Sent> {
        self.switch.tick(self.now, &mut self.egress);
        self.check_changes();
        std::mem::take(&mut self.egress.sent)
    }

    /// A PREPARE that nothing is wrong with, forwarded: the id and bytes it left with.
    pub(crate) fn forwarded(
        &mut self,
        from: AccountId,
        packet: Vec<u8>,
    ) -> (ConnectionId, u32, Vec<u8>) {
        let link = self.link(from);
        match self.request(link, 41, packet).as_slice() {
            [Sent::Prepare { to, id, packet }] => (*to, *id, packet.clone()),
            other => panic!("not forwarded: {other:?}"),
        }
    }

    /// The REJECT that a request gets at once: name of the refusal, code.
    pub(crate) fn refused(&mut self, from: AccountId, packet: Vec<u8>) -> RejectSeen {
        let before = self.words();
        let link = self.link(from);
        let sent = self.request(link, 41, packet);
        assert_eq!(self.words(), before, "a refusal moves no money");
        only_reject(&sent, link, 41)
    }

    /// The refusals counted so far, by name.
    pub(crate) fn refusal_count(&self, name: &str) -> u64 {
        let counters = self.switch.counters();
        counters.refusals().find(|row| row.0 == name).expect("a refusal of that name").2
    }

    /// What was said to have changed is all that has: a copy kept by that alone is every account.
    #[track_caller]
    pub(crate) fn check_changes(&mut self) {
        let count = self.switch.account_count();
        self.copies.resize(count as usize, AccountView::default());
        let copies = &mut self.copies;
        let mut given = HashSet::new();
        self.switch.drain_changed(|account, view| {
            assert!(given.insert(account), "an account is given once");
            copies[account.0 as usize] = view;
        });
        assert!(!self.switch.has_changed());
        for (number, copy) in (0..count).zip(&self.copies) {
            assert_eq!(*copy, self.switch.account_view(AccountId(number)), "account {number}");
        }
    }

    pub(crate) fn words(&self) -> Vec<m2_core::ledger::Words> {
        (0..self.switch.account_count())
            .map(|number| self.switch.account_view(AccountId(number)).words)
            .collect()
    }
}

/// A REJECT as its receiver sees it.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct RejectSeen {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    pub(crate) triggered_by: String,
    pub(crate) data: Vec<u8>,
}

/// The one thing sent is a REJECT to `to` under `id`.
pub(crate) fn only_reject(sent: &[Sent], to: ConnectionId, id: u32) -> RejectSeen {
    let [Sent::Answer { to: seen_to, id: seen_id, packet }] = sent else {
        panic!("one answer was expected: {sent:?}");
    };
    assert_eq!((*seen_to, *seen_id), (to, id));
    read_reject(packet)
}

pub(crate) fn read_reject(packet: &[u8]) -> RejectSeen {
    let reject = Reject::new_checked(packet).expect("our REJECTs are well-formed");
    assert_eq!(reject.packet_len(), packet.len());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    RejectSeen {
        code: reject.code(),
        message: text(reject.message()),
        triggered_by: text(reject.triggered_by()),
        data: reject.data().to_vec(),
    }
}

/// The first half of the condition of `preimage`: under it a packet is listed.
pub(crate) fn condition_head(preimage: [u8; 32]) -> [u8; 16] {
    *sha256_of_32(&preimage).first_chunk().unwrap()
}

/// A PREPARE of `amount`, under the condition of `preimage`, that expires in `ms`.
pub(crate) fn prepare(to: &str, amount: u64, preimage: [u8; 32], expires_at_ms: u64) -> Vec<u8> {
    prepare_with_data(to, amount, preimage, expires_at_ms, b"data that no switch looks at")
}

pub(crate) fn prepare_with_data(
    to: &str,
    amount: u64,
    preimage: [u8; 32],
    expires_at_ms: u64,
    data: &[u8],
) -> Vec<u8> {
    let mut out = Vec::new();
    let expires_at = timestamp::write(expires_at_ms);
    let condition = sha256_of_32(&preimage);
    ilp::put_prepare(&mut out, amount, &expires_at, &condition, to.as_bytes(), data);
    out
}

/// The usual PREPARE from Alice: 10 s, preimage of nines.
pub(crate) fn usual(to: &str, amount: u64) -> Vec<u8> {
    prepare(to, amount, PREIMAGE, START.utc_ms + 10_000)
}

pub(crate) const PREIMAGE: [u8; 32] = [9; 32];

pub(crate) fn fulfill(preimage: [u8; 32]) -> Vec<u8> {
    let mut out = Vec::new();
    ilp::put_fulfill(&mut out, &preimage, b"thanks");
    out
}

pub(crate) fn reject(code: ErrorCode) -> Vec<u8> {
    let mut out = Vec::new();
    ilp::put_reject(&mut out, code, b"test.bob.till", b"no, thanks", b"\x01\x02");
    out
}

pub(crate) fn read_prepare(packet: &[u8]) -> Prepare<&[u8]> {
    Prepare::new_checked(packet).expect("what we forward is well-formed")
}
