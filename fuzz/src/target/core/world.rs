//! A switch of one or two shards with four accounts in two assets, and the books beside it.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};

use m2_core::{
    AccountConfig, AccountId, Asset, AssetIndex, ConnectionId, Durability, Key, KeyOutcome, Limits,
    Network, Now, RateEntry, RateLimit, Rates, Record, Relation, Rings, Routes, ShardId, Switch,
    SwitchConfig, sha256_of_32,
};

use super::edge::Edge;
use crate::reference::Bytes;

pub(super) const ACCOUNTS: usize = 4;
pub(super) const MARGIN_MS: u64 = 1_000;
pub(super) const REMAINING_MS_MIN: u64 = 500;
pub(super) const HOLD_MS_MAX: u64 = 10_000;

const START: Now = Now { utc_ms: 1_795_186_800_000, mono_ns: 77_000_000_000 };
const NAMES: [&str; ACCOUNTS] = ["alice", "bob", "carol", "dave"];
/// Versions of the rates that there are.
const VERSIONS: u32 = 8;
/// Of the accounts, where they are not all alike. The books here are of records, so all leave them.
const DURABILITIES: [Durability; ACCOUNTS] =
    [Durability::Sync, Durability::Async, Durability::Sync, Durability::Sync];
/// What XRP to USD costs.
const SPREAD_PPM: u32 = 2_500;

/// Amounts on which limits turn.
pub(super) const AMOUNTS: [u64; 16] =
    [0, 1, 2, 3, 7, 10, 40, 99, 100, 101, 120, 121, 1_000, 1 << 40, u64::MAX - 1, u64::MAX];

static RATES: LazyLock<Vec<Arc<Rates>>> =
    LazyLock::new(|| (1..=VERSIONS).map(|version| Arc::new(rates(version))).collect());

static CONDITIONS: LazyLock<[[u8; 32]; 4]> =
    LazyLock::new(|| [0, 1, 2, 3].map(|byte| sha256_of_32(&[byte; 32])));

/// Everything routed by name; every route of another account; nothing routed.
static ROUTES: LazyLock<[Arc<Routes>; 3]> = LazyLock::new(|| {
    let routes = |step: usize, count: usize| {
        let prefixes = NAMES.iter().take(count).enumerate().map(|(number, name)| {
            let account = u32::try_from((number + step) % ACCOUNTS).expect("a few accounts");
            (format!("test.{name}").parse().expect("a prefix"), AccountId(account))
        });
        Arc::new(Routes::build(7, prefixes).expect("no prefix stands twice"))
    };
    [routes(0, ACCOUNTS), routes(1, ACCOUNTS), routes(0, 0)]
});

/// How many units of XRP two units of USD are worth.
fn xrp_for_two(version: u32) -> u64 {
    if version.is_multiple_of(2) { 7 } else { 5 }
}

fn rates(version: u32) -> Rates {
    let assets = [("USD", 9), ("XRP", 6)].map(|(code, scale)| Asset { code: code.into(), scale });
    let (usd, xrp) = (AssetIndex(0), AssetIndex(1));
    // Between standard units, of 10^9 and 10^6 units.
    let num = xrp_for_two(version) * 1_000;
    let entries = [
        RateEntry { from: usd, to: xrp, num, den: 2, spread_ppm: 0 },
        RateEntry { from: xrp, to: usd, num: 2, den: num, spread_ppm: SPREAD_PPM },
    ];
    Rates::build(version, &assets, &entries).expect("rates that can be used")
}

fn asset_of(account: AccountId) -> AssetIndex {
    AssetIndex(u16::try_from(account.0 / 2).expect("a few accounts"))
}

/// What an amount is worth for the next hop, rounded down, the spread taken once.
pub(super) fn converted(amount: u64, from: AccountId, to: AccountId, version: u32) -> u128 {
    let (amount, xrp) = (u128::from(amount), u128::from(xrp_for_two(version)));
    match (asset_of(from).0, asset_of(to).0) {
        (0, 1) => amount * xrp / 2,
        (1, 0) => amount * 2 * u128::from(1_000_000 - SPREAD_PPM) / (xrp * 1_000_000),
        _ => amount,
    }
}

pub(super) fn condition(preimage: u8) -> [u8; 32] {
    CONDITIONS[usize::from(preimage) % CONDITIONS.len()]
}

/// What opens a condition of ours.
pub(super) fn preimage_of(condition: &[u8]) -> [u8; 32] {
    let number = CONDITIONS.iter().position(|known| known == condition);
    [u8::try_from(number.expect("a condition of ours")).expect("a few"); 32]
}

pub(super) struct World {
    pub(super) switches: Vec<Switch>,
    pub(super) edge: Edge,
    pub(super) now: Now,
    /// Every connection that each account ever had.
    pub(super) connections: [Vec<ConnectionId>; ACCOUNTS],
    /// Keys that were told of; an amount frozen under one, and whose.
    pub(super) keys: u128,
    /// By shard, records taken out so far.
    pub(super) taken: [u64; 2],
    pub(super) frozen: Vec<(Key, usize, i128)>,
    /// What each account owes by records, credits, reversals and settlements.
    pub(super) owed: [i128; ACCOUNTS],
    pub(super) rate_versions: [u32; 2],
}

impl World {
    /// A world as the first bytes say.
    pub(super) fn new(bytes: &mut Bytes<'_>) -> Option<Self> {
        let (kind, sizes, limit) = (bytes.byte()?, bytes.byte()?, bytes.byte()?);
        let shard_count = 1 + u16::from(kind % 2);
        // Every FULFILL at once, or accounts of each kind and tight bounds.
        let at_once = sizes & 0x80 == 0;
        let config = SwitchConfig {
            shard: ShardId(0),
            shards: shard_count,
            own_address: "test.m2m".parse().expect("an address"),
            network: Network::Test,
            expiry_margin_ms: 1_000,
            sync_grace_ms: 300,
            async_ms: if at_once { u32::MAX } else { 500 },
            async_bytes: if at_once { u64::MAX } else { 128 },
            remaining_ms_min: 500,
            hold_ms_max: 10_000,
            in_flight_slots: [1, 3, 6, 16][usize::from(sizes % 4)],
            reflect: kind & 2 != 0,
            seed: u64::from(kind),
            rings: Rings {
                forwards: [1, 64][usize::from(sizes >> 2 & 1)],
                answers: [1, 4, 16, 64][usize::from(sizes >> 3 & 3)],
                records: [1, 4, 16, 64][usize::from(sizes >> 5 & 3)],
            },
            start: START,
        };
        let limits = limits(limit);
        let switches = (0..shard_count).map(ShardId).map(|shard| {
            let mut switch = Switch::new(SwitchConfig { shard, ..config.clone() });
            for (number, name) in (0..).zip(NAMES) {
                let durability =
                    if at_once { DURABILITIES[1] } else { DURABILITIES[number as usize] };
                let account = account(number, name, shard_count, limits);
                switch.add_account(AccountConfig { durability, ..account });
            }
            switch.set_rates(Arc::clone(&RATES[0]));
            switch.set_routes(Arc::clone(&ROUTES[0]));
            switch
        });
        let edge = Edge {
            live: [None; ACCOUNTS],
            full: [false; ACCOUNTS],
            asked: Vec::new(),
            left: Vec::new(),
            forwards: [VecDeque::new(), VecDeque::new()],
            answers: [VecDeque::new(), VecDeque::new()],
            forwards_max: [1, 8][usize::from(kind >> 2 & 1)],
        };
        let mut world = Self {
            switches: switches.collect(),
            edge,
            now: START,
            connections: Default::default(),
            keys: 0,
            taken: [0; 2],
            frozen: Vec::new(),
            owed: [0; ACCOUNTS],
            rate_versions: [1; 2],
        };
        (0..ACCOUNTS).for_each(|account| world.link_up(account));
        Some(world)
    }

    /// The shard that owns an account.
    pub(super) fn shard_of(&self, account: usize) -> usize {
        account % self.switches.len()
    }

    pub(super) fn owner(&mut self, account: usize) -> &mut Switch {
        let shard = self.shard_of(account);
        &mut self.switches[shard]
    }

    pub(super) fn link_up(&mut self, account: usize) {
        let connection = self.owner(account).link_up(id(account));
        self.edge.live[account] = Some(connection);
        self.connections[account].push(connection);
    }

    pub(super) fn link_down(&mut self, account: usize) {
        if let Some(connection) = self.edge.live[account].take() {
            self.owner(account).link_down(connection);
        }
    }

    pub(super) fn set_rates(&mut self, shard: usize) {
        if self.rate_versions[shard] < VERSIONS {
            self.rate_versions[shard] += 1;
            let rates = &RATES[self.rate_versions[shard] as usize - 1];
            self.switches[shard].set_rates(Arc::clone(rates));
        }
    }

    pub(super) fn set_routes(&mut self, shard: usize, which: usize) {
        self.switches[shard].set_routes(Arc::clone(&ROUTES[which % ROUTES.len()]));
    }

    /// Takes Forwards out of the ring toward a shard.
    pub(super) fn carry_forwards(&mut self, shard: usize, count: usize) {
        for _ in 0..count {
            let Some((forward, packet)) = self.edge.forwards[shard].pop_front() else { return };
            self.switches[shard].forwarded(self.now, forward, &packet, &mut self.edge);
        }
    }

    /// Takes Answers out of the ring toward a shard.
    pub(super) fn carry_answers(&mut self, shard: usize, count: usize) {
        for _ in 0..count {
            let Some((answer, packet)) = self.edge.answers[shard].pop_front() else { return };
            self.switches[shard].answered(self.now, answer, &packet, &mut self.edge);
        }
    }

    pub(super) fn tick(&mut self, shard: usize) {
        self.switches[shard].tick(self.now, &mut self.edge);
    }

    pub(super) fn advance_ms(&mut self, ms: u64) {
        self.now.utc_ms += ms;
        self.now.mono_ns += ms * 1_000_000;
    }

    /// A key that nobody has told of.
    pub(super) fn new_key(&mut self) -> Key {
        self.keys += 1;
        Key(self.keys.to_be_bytes())
    }

    /// The key that was told of last.
    pub(super) fn last_key(&self) -> Key {
        Key(self.keys.to_be_bytes())
    }

    /// Writes every record into the books.
    pub(super) fn drain(&mut self) {
        let owed = &mut self.owed;
        for (switch, taken) in self.switches.iter_mut().zip(&mut self.taken) {
            switch.drain_notices(drop);
            switch.drain_unrecorded(drop);
            switch.drain_records(usize::MAX, |record| {
                *taken += 1;
                let Record::Pair(pair) = record else { return };
                let (from, to) = (pair.account_in, pair.account_out);
                owed[from.0 as usize] += i128::from(pair.amount_in);
                owed[to.0 as usize] -= i128::from(pair.amount_out);
                let amount_out = converted(pair.amount_in, from, to, pair.rate_version);
                assert_eq!(u128::from(pair.amount_out), amount_out, "the legs of a record");
            });
        }
    }

    /// A shard hears that all records of a stream are durable that were taken out, but for the last.
    pub(super) fn durable(&mut self, shard: usize, stream: usize, but: u64) {
        let position = self.taken[stream].saturating_sub(but);
        let stream = ShardId(u16::try_from(stream).expect("one or two"));
        self.switches[shard].durable(stream, position, &mut self.edge);
    }

    /// A link has no room, or has it again.
    pub(super) fn set_full(&mut self, account: usize, is_full: bool) {
        self.edge.full[account] = is_full;
        let shard = self.shard_of(account);
        let live = self.edge.live[account];
        if let Some(link) = live.filter(|link| self.switches[shard].waits_for_room(*link)) {
            self.switches[shard].room(link, &mut self.edge);
        }
    }

    /// Lets everything under way come to its end: the rings are carried, and all expires.
    pub(super) fn quiet(&mut self) {
        let shards = 0..self.switches.len();
        (0..ACCOUNTS).for_each(|account| self.set_full(account, false));
        for _ in 0..2 {
            shards.clone().for_each(|shard| self.carry_forwards(shard, usize::MAX));
            self.advance_ms(HOLD_MS_MAX + 1);
            shards.clone().for_each(|shard| self.tick(shard));
            shards.clone().for_each(|shard| self.carry_answers(shard, usize::MAX));
        }
        for (key, account, _) in std::mem::take(&mut self.frozen) {
            self.drain();
            let now = self.now;
            let cancelled = self.owner(account).cancelled(now, key);
            assert_eq!(
                cancelled,
                Ok(KeyOutcome::New),
                "room for a record, and a key that is known"
            );
        }
        self.drain();
        for (shard, stream) in
            shards.clone().flat_map(|one| shards.clone().map(move |it| (one, it)))
        {
            self.durable(shard, stream, 0);
        }
    }
}

pub(super) fn id(account: usize) -> AccountId {
    AccountId(u32::try_from(account).expect("a few accounts"))
}

fn account(number: u32, name: &str, shard_count: u16, limits: Limits) -> AccountConfig {
    let id = AccountId(number);
    let asset = asset_of(id);
    AccountConfig {
        id,
        shard: ShardId(u16::try_from(number).expect("a few accounts") % shard_count),
        relation: if number == 0 { Relation::Peer } else { Relation::Child },
        asset,
        asset_code: ["USD", "XRP"][usize::from(asset.0)].into(),
        asset_scale: [9, 6][usize::from(asset.0)],
        ildcp_segment: name.into(),
        durability: Durability::Sync,
        limits,
        settle: None,
    }
}

fn limits(byte: u8) -> Limits {
    let choose = |of: [u64; 4], shift: u8| of[usize::from(byte >> shift & 3)];
    Limits {
        balance_max: choose([120, 1_000, u64::MAX, 0], 0),
        payable_max: choose([120, 1_000, u64::MAX, 0], 2),
        packet_amount_max: choose([100, 1_000, u64::MAX, 7], 4),
        packets: (byte & 0x40 != 0).then_some(RateLimit { per_s: 4, burst: 4 }),
        amount: (byte & 0x40 != 0).then_some(RateLimit { per_s: 50, burst: 120 }),
        in_flight_packets_max: if byte & 0x80 != 0 { 3 } else { 100 },
        in_flight_value_max: (byte & 0x80 != 0).then_some(110),
    }
}
