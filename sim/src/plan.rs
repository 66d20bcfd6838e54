//! What a network of a seed looks like: switches, links, endpoints, assets, limits. Plain data.
//!
//! ```text
//!   chain   e - S - S - S - e        hub   e - S - S - S - e      ring, and graphs of any kind
//!                                              |   |
//!   e: endpoint, S: switch of 1 to 4 shards    S   S - e
//! ```

use fastrand::Rng;
use m2_core::{Asset, Durability, Limits, RateLimit, Relation, Rings};

use crate::dice::{dice, often, one_of};

/// What a shrunken case leaves of the network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Caps {
    /// Most switches; at least 2 are always there.
    pub switches: usize,
    /// Most shards of a switch.
    pub shards: u16,
}

impl Caps {
    /// The whole network of the seed.
    pub const NONE: Self = Self { switches: 50, shards: 4 };
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) assets: Vec<Asset>,
    /// What a standard unit of each asset is worth.
    pub(crate) prices: Vec<u64>,
    pub(crate) switches: Vec<SwitchPlan>,
    pub(crate) links: Vec<LinkPlan>,
    /// How often, in a thousand, something binds that need not.
    harsh: u32,
    /// The link of each endpoint.
    pub(crate) endpoints: Vec<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct SwitchPlan {
    pub(crate) shards: u16,
    pub(crate) margin_ms: u32,
    pub(crate) remaining_ms_min: u32,
    pub(crate) hold_ms_max: u32,
    pub(crate) slots: u32,
    pub(crate) rings: Rings,
    /// Forwards in a ring between two shards.
    pub(crate) forward_ring: usize,
    /// Bytes of answers in a ring between two shards.
    pub(crate) answer_ring_bytes: usize,
    pub(crate) reflect: bool,
    /// How far its wall clock is from that of the simulation.
    pub(crate) skew_ms: i64,
    pub(crate) mono_start_ns: u64,
    /// How long a shard takes to look at what has come.
    pub(crate) poll_ns: u64,
    /// Packets in a vector, messages taken from a ring, in one look.
    pub(crate) vector: usize,
    /// Records are taken out every so many looks, at most so many at once.
    pub(crate) records_every: u64,
    pub(crate) records_at_once: usize,
    /// About how long a record takes from the core until it is durable.
    pub(crate) flush_ns: u64,
    pub(crate) grace_ms: u32,
    pub(crate) async_ms: u32,
    pub(crate) async_bytes: u64,
    pub(crate) accounts: Vec<AccountPlan>,
}

#[derive(Clone, Debug)]
pub(crate) struct AccountPlan {
    pub(crate) link: usize,
    pub(crate) side: usize,
    pub(crate) shard: u16,
    pub(crate) relation: Relation,
    pub(crate) limits: Limits,
    pub(crate) durability: Durability,
}

#[derive(Clone, Debug)]
pub(crate) struct LinkPlan {
    pub(crate) ends: [End; 2],
    pub(crate) asset: u16,
    pub(crate) delay_ns: [u64; 2],
    /// Bytes that may be under way or unread.
    pub(crate) window: usize,
    /// Bytes that may wait to be sent before the connection is closed.
    pub(crate) egress_cap: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    Account { switch: usize, account: u32 },
    Endpoint(usize),
}

impl Plan {
    pub(crate) fn of(seed: u64, caps: Caps) -> Self {
        let dice = &mut dice(&[seed, 0x9147]);
        let assets = assets(dice);
        let mut plan = Self {
            seed,
            prices: assets.iter().map(|_| dice.u64(1..20)).collect(),
            assets,
            harsh: one_of(dice, &[0, 0, 15, 60, 200]),
            switches: Vec::new(),
            links: Vec::new(),
            endpoints: Vec::new(),
        };
        let size = match dice.u32(..1000) {
            0..600 => dice.usize(2..6),
            600..870 => dice.usize(6..13),
            870..975 => dice.usize(13..25),
            _ => dice.usize(25..51),
        };
        let count = size.min(caps.switches).max(2);
        let tight = one_of(dice, &[0, 0, 0, 150, 1_000]);
        for _ in 0..count {
            let is_tight = often(dice, tight);
            plan.switches.push(switch(dice, caps.shards, is_tight));
        }
        for (a, b) in edges(dice, count) {
            plan.join(dice, a, Some(b));
        }
        for number in 0..dice.usize(2..7) {
            // The first two at the far ends of a chain.
            let switch = [0, count - 1].get(number).copied();
            let switch = switch.unwrap_or_else(|| dice.usize(..count));
            plan.join(dice, switch, None);
        }
        plan.journals();
        plan
    }

    /// What becomes of records, by dice of its own.
    fn journals(&mut self) {
        let dice = &mut dice(&[self.seed, 0xd15c]);
        const MIXED: &[Durability] =
            &[Durability::Sync, Durability::Sync, Durability::Async, Durability::None];
        const SYNC: &[Durability] = &[Durability::Sync];
        const RECORDED: &[Durability] = &[Durability::Sync, Durability::Async];
        let kinds = one_of(dice, &[MIXED, MIXED, SYNC, RECORDED]);
        const FAST: &[u64] = &[50_000, 1_000_000];
        const SLOW: &[u64] = &[8_000_000, 60_000_000];
        const VERY_SLOW: &[u64] = &[800_000_000];
        let speeds = one_of(dice, &[FAST, FAST, SLOW, VERY_SLOW]);
        for switch in &mut self.switches {
            switch.records_at_once = one_of(dice, &[1, 8, usize::MAX]);
            switch.flush_ns = one_of(dice, speeds);
            switch.grace_ms = one_of(dice, &[0, 5, switch.margin_ms / 2, switch.margin_ms, 300]);
            switch.async_ms = one_of(dice, &[0, 3, 100, u32::MAX]);
            switch.async_bytes = one_of(dice, &[0, 64, 640, 6_400, u64::MAX]);
            for account in &mut switch.accounts {
                account.durability = one_of(dice, kinds);
            }
        }
    }

    /// A link between a switch and another, or an endpoint.
    fn join(&mut self, dice: &mut Rng, a: usize, b: Option<usize>) {
        let link = self.links.len();
        let asset = dice.u16(..u16::try_from(self.assets.len()).expect("a few"));
        let first = self.account(dice, a, link, 0, asset, b.is_none());
        let second = match b {
            Some(b) => self.account(dice, b, link, 1, asset, false),
            None => {
                self.endpoints.push(link);
                End::Endpoint(self.endpoints.len() - 1)
            }
        };
        let delay = |dice: &mut Rng| one_of(dice, &[50_000, 1_000_000, 8_000_000, 40_000_000]);
        self.links.push(LinkPlan {
            ends: [first, second],
            asset,
            delay_ns: [delay(dice), delay(dice)],
            window: one_of(dice, &[600, 4_000, 64_000, 256_000]),
            egress_cap: one_of(dice, &[1_500, 8_000, 100_000, 1_000_000]),
        });
    }

    fn account(
        &mut self,
        dice: &mut Rng,
        switch: usize,
        link: usize,
        side: usize,
        asset: u16,
        of_endpoint: bool,
    ) -> End {
        let unit = self.unit(asset);
        let plan = &mut self.switches[switch];
        let account = u32::try_from(plan.accounts.len()).expect("a few");
        let relation =
            if of_endpoint && !often(dice, 250) { Relation::Child } else { Relation::Peer };
        let shard = dice.u16(..plan.shards);
        plan.accounts.push(AccountPlan {
            link,
            side,
            shard,
            relation,
            limits: limits(dice, unit, self.harsh),
            durability: Durability::Sync,
        });
        End::Account { switch, account }
    }

    /// Units of an asset's scale that a packet of the usual size has.
    pub(crate) fn unit(&self, asset: u16) -> u64 {
        let asset = usize::from(asset);
        let whole = 10_u64.pow(u32::from(self.assets[asset].scale));
        (whole / self.prices[asset]).max(2)
    }
}

fn assets(dice: &mut Rng) -> Vec<Asset> {
    let count = one_of(dice, &[1, 1, 2, 3, 4]);
    (0..count)
        .map(|number: usize| {
            // The last two of four are one code at two scales.
            let code = ["USD", "XRP", "EUR", "EUR"][number];
            Asset { code: code.into(), scale: dice.u8(2..6) }
        })
        .collect()
}

fn switch(dice: &mut Rng, shards_max: u16, tight: bool) -> SwitchPlan {
    let size = |dice: &mut Rng, small: &[usize], big: usize| {
        if tight { one_of(dice, small) } else { big }
    };
    SwitchPlan {
        shards: one_of(dice, &[1, 1, 2, 2, 3, 4]).min(shards_max).max(1),
        margin_ms: dice.u32(10..200),
        remaining_ms_min: dice.u32(0..150),
        hold_ms_max: dice.u32(2_000..30_000),
        slots: if tight { one_of(dice, &[3, 16, 64]) } else { 256 },
        rings: Rings {
            forwards: size(dice, &[2, 4, 8], 64),
            answers: size(dice, &[3, 10, 40], 1_000),
            records: size(dice, &[6, 20, 60], 2_000),
        },
        forward_ring: size(dice, &[2, 5, 10], 64),
        answer_ring_bytes: size(dice, &[100, 1_000, 10_000], 100_000),
        reflect: often(dice, 150),
        skew_ms: dice.i64(-400..400),
        mono_start_ns: dice.u64(..1 << 40),
        poll_ns: one_of(dice, &[1_000, 50_000, 500_000]),
        vector: one_of(dice, &[1, 7, 64, 64]),
        records_every: if tight { one_of(dice, &[4, 50]) } else { one_of(dice, &[1, 20]) },
        records_at_once: usize::MAX,
        flush_ns: 0,
        grace_ms: 0,
        async_ms: 0,
        async_bytes: 0,
        accounts: Vec::new(),
    }
}

/// What binds an account: of those things that may bind, so many in a thousand do.
fn limits(dice: &mut Rng, unit: u64, harsh: u32) -> Limits {
    let rate = |dice: &mut Rng, per_s: u64, burst: u64| {
        let (per_s, burst) = (dice.u64(1..per_s + 1), dice.u64(1..burst + 1));
        often(dice, harsh / 2).then_some(RateLimit { per_s, burst })
    };
    let units = |dice: &mut Rng, small: &[u64], large: &[u64]| {
        let units = if often(dice, harsh) { small } else { large };
        unit * one_of(dice, units)
    };
    Limits {
        balance_max: units(dice, &[0, 20, 60, 200], &[5_000, 100_000]),
        payable_max: units(dice, &[0, 20, 60, 200], &[5_000, 100_000]),
        packet_amount_max: match dice.u32(..10) {
            0 => u64::MAX,
            1 if often(dice, harsh * 3) => unit + unit / 2,
            _ => unit * 8,
        },
        packets: rate(dice, 200, 20),
        amount: rate(dice, unit * 20, unit * 10),
        in_flight_packets_max: if often(dice, harsh) { one_of(dice, &[3, 12]) } else { 1_000 },
        in_flight_value_max: often(dice, harsh).then(|| unit * dice.u64(1..30)),
    }
}

fn edges(dice: &mut Rng, count: usize) -> Vec<(usize, usize)> {
    let chain = (1..count).map(|b| (b - 1, b));
    match dice.u32(..4) {
        0 => chain.collect(),
        1 if count > 2 => chain.chain([(count - 1, 0)]).collect(),
        2 => (1..count).map(|b| (0, b)).collect(),
        _ => {
            let mut edges: Vec<_> = (1..count).map(|b| (dice.usize(..b), b)).collect();
            for _ in 0..count / 2 {
                let (a, b) = (dice.usize(..count), dice.usize(..count));
                if a != b && !edges.contains(&(a, b)) && !edges.contains(&(b, a)) {
                    edges.push((a, b));
                }
            }
            edges
        }
    }
}
