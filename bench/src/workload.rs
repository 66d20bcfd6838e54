//! The standard workload: what the switch's figures are measured on.
//!
//! PREPAREs of 167 bytes on average (address of about 49 bytes in 5 segments, data of 4 to 120
//! bytes), unique conditions; 64 accounts in two assets, a rate other than 1 for half of the
//! packets, every limit finite; 10,000 routes, destinations uniform; expiry in 5 to 30 s. Of the
//! answers 90 % fulfill, 8 % reject, 1 % fulfill wrongly, and 1 % never come.
//!
//! The last four bytes of a packet's data are its number, so that whoever sees it knows its answer.

use std::sync::Arc;

use m2_codec::address::Prefix;
use m2_codec::{ilp, timestamp};
use m2_core::{
    AccountConfig, AccountId, Asset, AssetIndex, Durability, Limits, Network, Now, RateEntry,
    RateLimit, Rates, Relation, Rings, Routes, ShardId, Switch, SwitchConfig, sha256_of_32,
};

/// Accounts, half of them in each asset.
pub const ACCOUNTS: u32 = 64;
/// Prefixes in the table.
pub const ROUTES: u32 = 10_000;
/// Different packets, sent again and again. Each has its own condition.
pub const PACKETS: usize = 1 << 15;
/// When it is: 2026-11-20, some time in the afternoon.
pub const START: Now = Now { utc_ms: 1_795_186_800_000, mono_ns: 1_000_000_000 };

/// A small generator of well-spread numbers (splitmix64): workloads must be the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.next()) * u128::from(bound);
        u64::try_from(product >> 64).expect("a u64 times a share below 1")
    }

    /// An index below `bound`.
    pub fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).expect("below a usize")
    }
}

/// A FULFILL without data.
pub type FulfillBytes = [u8; 35];

/// What is known of a packet beside its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// Who sends it; never the account that it goes to.
    pub from: AccountId,
    /// The next hop.
    pub to: AccountId,
    /// What is held for it, in units of the sender's account.
    pub amount_in: u64,
    start: u32,
    len: u32,
}

/// Everything that is prepared before a run.
#[derive(Debug)]
pub struct Workload {
    /// The packets, by number.
    pub packets: Vec<Packet>,
    /// Their PREPAREs, one behind the other.
    prepares: Vec<u8>,
    /// What fulfills each, by number.
    pub fulfills: Vec<FulfillBytes>,
    /// The table of routes.
    pub routes: Arc<Routes>,
    /// The rates between both assets.
    pub rates: Arc<Rates>,
}

impl Workload {
    /// The standard workload with `route_count` routes.
    #[must_use]
    pub fn new(route_count: u32) -> Self {
        let mut random = Random(11);
        let prefixes: Vec<String> =
            (0..route_count).map(|number| prefix(number, &mut random)).collect();
        let table = prefixes.iter().zip(0..).map(|(text, number)| {
            let prefix = text.parse::<Prefix>().expect("made of letters and digits");
            (prefix, AccountId(number % ACCOUNTS))
        });
        let routes = Routes::build(7, table).expect("every prefix once");
        let mut workload = Self {
            packets: Vec::new(),
            prepares: Vec::new(),
            fulfills: Vec::new(),
            routes: Arc::new(routes),
            rates: Arc::new(rates()),
        };
        (0..PACKETS).for_each(|number| workload.add_packet(number, &prefixes, &mut random));
        workload
    }

    /// The PREPARE of a packet.
    #[must_use]
    pub fn prepare(&self, number: usize) -> &[u8] {
        let Packet { start, len, .. } = self.packets[number];
        &self.prepares[start as usize..(start + len) as usize]
    }

    /// Average length of a PREPARE in bytes.
    #[must_use]
    pub fn prepare_len_average(&self) -> usize {
        self.prepares.len() / self.packets.len()
    }

    /// The switch as the workload wants it: every account linked, every limit finite, nothing recorded.
    #[must_use]
    pub fn switch(&self) -> Switch {
        self.switch_of(Durability::None)
    }

    /// The same, whose accounts are all of this durability. What `Async` puts at risk is bounded far above
    /// what is ever in flight.
    #[must_use]
    pub fn switch_of(&self, durability: Durability) -> Switch {
        self.switch_on(durability, ShardId(0), 1)
    }

    /// The same as one shard of several, each with its own accounts linked.
    #[must_use]
    pub fn switch_on(&self, durability: Durability, shard: ShardId, shards: u16) -> Switch {
        const SLOTS: u32 = 1 << 18;
        let mut switch = Switch::new(SwitchConfig {
            shard,
            shards,
            own_address: "test.m2m".parse().expect("an address"),
            network: Network::Test,
            expiry_margin_ms: 1_000,
            sync_grace_ms: 0,
            async_ms: 3_600_000,
            async_bytes: 1 << 40,
            remaining_ms_min: 1_000,
            hold_ms_max: 30_000,
            in_flight_slots: SLOTS,
            reflect: false,
            seed: 0x5eed,
            rings: Rings::for_slots(SLOTS),
            start: START,
        });
        switch.populate();
        for number in 0..ACCOUNTS {
            let id = AccountId(number);
            switch.add_account(AccountConfig {
                durability,
                shard: home(id, shards),
                ..account(id)
            });
        }
        switch.set_routes(Arc::clone(&self.routes));
        switch.set_rates(Arc::clone(&self.rates));
        for id in (0..ACCOUNTS).map(AccountId).filter(|id| home(*id, shards) == shard) {
            let _ = switch.link_up(id);
        }
        switch
    }
}

impl Workload {
    fn add_packet(&mut self, number: usize, prefixes: &[String], random: &mut Random) {
        let route = random.index(prefixes.len());
        let to = AccountId(u32::try_from(route).expect("few routes") % ACCOUNTS);
        let others = u32::try_from(random.below(u64::from(ACCOUNTS - 1))).expect("below 63");
        let from = AccountId((to.0 + 1 + others) % ACCOUNTS);
        let destination = format!("{}.~{:018x}", prefixes[route], random.next());

        let mut fulfill = [0; 35];
        (fulfill[0], fulfill[1]) = (13, 33);
        let preimage = fulfill.get_mut(2..34).expect("behind the header");
        preimage.chunks_exact_mut(8).for_each(|word| {
            word.copy_from_slice(&random.next().to_le_bytes());
        });
        let preimage: &[u8; 32] = (&*preimage).try_into().expect("32 bytes");
        let condition = sha256_of_32(preimage);
        let mut data = vec![9; random.index(110)];
        data.extend_from_slice(&u32::try_from(number).expect("few packets").to_be_bytes());
        let expires_at = timestamp::write(START.utc_ms + 5_000 + random.below(25_000));
        // At least 10, so that no rate makes it nothing.
        let amount = 10 + random.below(1 << 20);

        let start = self.prepares.len();
        let address = destination.as_bytes();
        ilp::put_prepare(&mut self.prepares, amount, &expires_at, &condition, address, &data);
        let len = u32::try_from(self.prepares.len() - start).expect("short");
        let start = u32::try_from(start).expect("some megabytes");
        self.packets.push(Packet { from, to, amount_in: amount, start, len });
        self.fulfills.push(fulfill);
    }
}

/// The shard of an account, of so many: both assets are on each.
#[must_use]
pub fn home(account: AccountId, shards: u16) -> ShardId {
    let number = account.0 / 2 % u32::from(shards);
    ShardId(u16::try_from(number).expect("less than the number of shards"))
}

/// The asset of an account.
#[must_use]
pub fn asset_of(account: AccountId) -> AssetIndex {
    AssetIndex(u16::from(account.0 % 2 == 1))
}

fn rates() -> Rates {
    let assets = [("USD", 9), ("XRP", 6)].map(|(code, scale)| Asset { code: code.into(), scale });
    let entry = |from, to, num, den| RateEntry {
        from: AssetIndex(from),
        to: AssetIndex(to),
        num,
        den,
        spread_ppm: 2_000,
    };
    // About 2.31 units of an account in XRP for one of an account in USD, and back.
    let entries = [entry(0, 1, 2_310, 1), entry(1, 0, 1, 2_310)];
    Rates::build(1, &assets, &entries).expect("both rates fit")
}

fn account(id: AccountId) -> AccountConfig {
    let generous = Some(RateLimit { per_s: 1 << 40, burst: 1 << 40 });
    let limits = Limits {
        balance_max: 1 << 62,
        payable_max: 1 << 62,
        packet_amount_max: 1 << 40,
        packets: generous,
        amount: Some(RateLimit { per_s: 1 << 62, burst: 1 << 62 }),
        in_flight_packets_max: 1 << 17,
        in_flight_value_max: Some(1 << 60),
    };
    let (asset_code, asset_scale) = if id.0.is_multiple_of(2) { ("USD", 9) } else { ("XRP", 6) };
    AccountConfig {
        id,
        shard: ShardId(0),
        relation: Relation::Peer,
        asset: asset_of(id),
        asset_code: asset_code.into(),
        asset_scale,
        ildcp_segment: format!("a{}", id.0),
        durability: Durability::None,
        limits,
        settle: None,
    }
}

/// A prefix of three segments behind the scheme.
#[must_use]
pub fn prefix(number: u32, random: &mut Random) -> String {
    format!("test.region{}.bank{:x}.n{number:x}", random.below(200), random.below(1 << 16))
}

/// The number that a packet of the workload carries in its last four bytes.
#[must_use]
pub fn number_of(packet: &[u8]) -> usize {
    let tail = packet.last_chunk::<4>().expect("every packet of the workload has data");
    u32::from_be_bytes(*tail) as usize
}
