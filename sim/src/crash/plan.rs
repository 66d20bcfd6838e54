//! What the switch of a seed looks like: accounts, rates, rings, how its journal is written, and which
//! of its threads are slow. Plain data.

use std::sync::Arc;

use fastrand::Rng;
use m2_core::{
    AccountConfig, AccountId, Asset, AssetIndex, Durability, Limits, Network, Now, RateEntry,
    Rates, Relation, Rings, Routes, Settle, ShardId, SwitchConfig,
};
use m2_journal::image::ConfiguredLimits;
use m2_journal::{Retention, Settings};

use crate::dice::{dice, mix, often, one_of};

pub(crate) const OWN_ADDRESS: &str = "test.m2m";
/// When every history begins: some afternoon in 2026, some time after the machine was started.
pub(crate) const START: Now = Now { utc_ms: 1_795_186_800_000, mono_ns: 77_000_000_000 };
/// Units of the second asset for those of the first.
const RATE: (u64, u64) = (7, 3);
pub(crate) const MS: u64 = 1_000_000;

/// What a shrunken case leaves of the switch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Caps {
    /// Most accounts; 2 are always there.
    pub accounts: u32,
    /// Most shards, before and after a restart.
    pub shards: u16,
}

impl Caps {
    /// The whole switch of the seed.
    pub const NONE: Self = Self { accounts: 6, shards: 4 };
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) caps: Caps,
    pub(crate) accounts: Vec<AccountPlan>,
    /// By account: its shard in the first life, of two; by chance if none is told.
    first: Vec<u16>,
    pub(crate) settings: Settings,
    pub(crate) margin_ms: u32,
    pub(crate) grace_ms: u32,
    pub(crate) async_ms: u32,
    pub(crate) async_bytes: u64,
    pub(crate) slots: u32,
    /// Records that the core keeps until they are taken, and blocks of the ring to the journal.
    pub(crate) records: usize,
    pub(crate) forward_ring: usize,
    pub(crate) journal_ring: usize,
    /// By kind of step: how often it is chosen when it can be.
    pub(crate) pace: [u64; STEP_KINDS],
    /// Whether the disk fails now and then.
    pub(crate) has_faults: bool,
    /// Whether each life is recorded, and fed to another switch when it is over.
    pub(crate) is_taped: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct AccountPlan {
    pub(crate) asset: AssetIndex,
    pub(crate) durability: Durability,
    pub(crate) balance_max: u64,
    pub(crate) payable_max: u64,
}

/// Kinds of steps that chance chooses between: see [`super::machine::Step`].
pub(crate) const STEP_KINDS: usize = 6;

impl Plan {
    pub(crate) fn of(seed: u64, caps: Caps) -> Self {
        let dice = &mut dice(&[seed, 0xc4a5]);
        let count = dice.u32(2..=6);
        let is_bench = often(dice, 150);
        let accounts: Vec<_> = (0..count).map(|_| account(dice, is_bench)).collect();
        let segment_bytes = 4096 * one_of(dice, &[4, 5, 6, 8, 16]);
        let settings = Settings {
            segment_bytes,
            reserve_bytes: 4096 * dice.u64(0..3),
            async_ns: one_of(dice, &[1, 10, 100]) * MS,
            async_bytes: 64 * one_of(dice, &[2, 8, 64]),
            slow_ns: one_of(dice, &[20, 1_000, 1_000]) * MS,
            waiting_bytes_max: one_of(dice, &[16 << 10, 1 << 20, 1 << 20]),
            retry_ns: 5 * MS,
            retention: one_of(dice, &[Retention::Keep, Retention::Archive, Retention::Delete]),
        };
        let pace = [(); STEP_KINDS].map(|()| one_of(dice, &[1, 6, 6, 6, 24]));
        Self {
            seed,
            caps,
            accounts: accounts.into_iter().take(caps.accounts.max(2) as usize).collect(),
            first: Vec::new(),
            margin_ms: 1_000,
            grace_ms: one_of(dice, &[50, 200, 900]),
            async_ms: u32::try_from(settings.async_ns / MS).expect("a few"),
            async_bytes: settings.async_bytes,
            settings,
            slots: one_of(dice, &[4, 64, 64]),
            records: one_of(dice, &[6, 200, 200]),
            forward_ring: one_of(dice, &[1, 64]),
            journal_ring: one_of(dice, &[4, 64, 64]),
            pace,
            has_faults: often(dice, 400),
            is_taped: often(dice, 125),
        }
    }

    /// The same, with each life recorded.
    pub(crate) fn taped(self) -> Self {
        Self { is_taped: true, ..self }
    }

    /// A switch that nothing holds back, for a scene: each account on its shard, of two.
    pub(crate) fn of_scene(seed: u64, accounts: Vec<AccountPlan>, first: Vec<u16>) -> Self {
        let plan = Self::of(seed, Caps::NONE);
        Self {
            accounts,
            first,
            settings: Settings {
                segment_bytes: 4 << 12,
                reserve_bytes: 4 << 10,
                async_ns: 20 * MS,
                async_bytes: 1 << 20,
                retention: Retention::Delete,
                ..Settings::default()
            },
            async_ms: 20,
            async_bytes: 1 << 20,
            slots: 64,
            records: 200,
            forward_ring: 64,
            journal_ring: 64,
            is_taped: false,
            ..plan
        }
    }

    /// On which shard an account is, in a life that has so many.
    pub(crate) fn shard_of(&self, account: u32, life: u64, shards: u16) -> ShardId {
        if let (1, Some(first)) = (life, self.first.get(account as usize)) {
            return ShardId(*first);
        }
        let number = mix(mix(self.seed, life), account.into()) % u64::from(shards);
        ShardId(u16::try_from(number).expect("below a u16"))
    }

    /// Limits of an account as its configuration has them, which changes now and then.
    pub(crate) fn configured(&self, account: u32, life: u64) -> ConfiguredLimits {
        let AccountPlan { balance_max, payable_max, .. } = self.accounts[account as usize];
        let is_changed = mix(mix(self.seed, life / 2), account.into()).is_multiple_of(5);
        let more = if is_changed { life } else { 0 };
        ConfiguredLimits { balance_max: balance_max + more, payable_max: payable_max + more }
    }

    /// With how many shards it starts for the first time.
    pub(crate) fn first_shards(&self) -> u16 {
        if self.first.is_empty() { self.shards(self.seed) } else { 2 }
    }

    pub(crate) fn shards(&self, number: u64) -> u16 {
        let most = u64::from(self.caps.shards.clamp(1, 4));
        u16::try_from(number % most + 1).expect("a few")
    }

    pub(crate) fn account_count(&self) -> u32 {
        u32::try_from(self.accounts.len()).expect("a few")
    }

    /// Whether pairs of some account leave no record.
    pub(crate) fn has_loose(&self) -> bool {
        self.accounts.iter().any(|account| account.durability == Durability::None)
    }

    pub(crate) fn config(
        &self,
        shard: ShardId,
        shards: u16,
        life: u64,
        start: Now,
    ) -> SwitchConfig {
        let rings = Rings { records: self.records, ..Rings::for_slots(self.slots) };
        SwitchConfig {
            shard,
            shards,
            own_address: OWN_ADDRESS.parse().expect("an address"),
            network: Network::Test,
            expiry_margin_ms: self.margin_ms,
            sync_grace_ms: self.grace_ms,
            async_ms: self.async_ms,
            async_bytes: self.async_bytes,
            remaining_ms_min: 1_000,
            hold_ms_max: 30_000,
            in_flight_slots: self.slots,
            reflect: false,
            seed: mix(mix(self.seed, life), shard.0.into()),
            rings,
            start,
        }
    }

    /// When the peer of an account is paid by itself: most are, where everything is recorded.
    pub(crate) fn settle(&self, id: u32) -> Option<Settle> {
        let chance = mix(mix(self.seed, 0x5e7), id.into());
        let threshold = 1 + chance % 2_000;
        let is_paid = !self.has_loose() && !chance.is_multiple_of(3);
        is_paid.then_some(Settle { threshold, to: threshold / 3 })
    }

    pub(crate) fn account(&self, id: u32, shard: ShardId, limits: (u64, u64)) -> AccountConfig {
        let AccountPlan { asset, durability, .. } = self.accounts[id as usize];
        AccountConfig {
            id: AccountId(id),
            shard,
            relation: Relation::Child,
            asset,
            asset_code: assets()[usize::from(asset.0)].code.clone(),
            asset_scale: 0,
            ildcp_segment: name(id),
            durability,
            limits: Limits {
                balance_max: limits.0,
                payable_max: limits.1,
                packet_amount_max: u64::MAX,
                packets: None,
                amount: None,
                in_flight_packets_max: 1_000,
                in_flight_value_max: None,
            },
            settle: self.settle(id),
        }
    }

    pub(crate) fn routes(&self) -> Arc<Routes> {
        let prefix = |id| (destination(id).parse().expect("an address"), AccountId(id));
        let routes = Routes::build(self.seed, (0..self.account_count()).map(prefix));
        Arc::new(routes.expect("a few routes, each once"))
    }

    /// What leaves for what came in, by a division of our own.
    pub(crate) fn converted(&self, from: u32, to: u32, amount: u64) -> u64 {
        let asset = |id: u32| self.accounts[id as usize].asset.0;
        let (num, den) = match (asset(from), asset(to)) {
            (0, 1) => RATE,
            (1, 0) => (RATE.1, RATE.0),
            _ => (1, 1),
        };
        amount / den * num + amount % den * num / den
    }
}

/// Where an account's peer is.
pub(crate) fn destination(id: u32) -> String {
    format!("test.{}", name(id))
}

fn name(id: u32) -> String {
    format!("a{id}")
}

pub(crate) fn assets() -> [Asset; 2] {
    ["USD", "XRP"].map(|code| Asset { code: code.into(), scale: 0 })
}

pub(crate) fn rates() -> Arc<Rates> {
    let [usd, xrp] = [AssetIndex(0), AssetIndex(1)];
    let (num, den) = RATE;
    let entries = [
        RateEntry { from: usd, to: xrp, num, den, spread_ppm: 0 },
        RateEntry { from: xrp, to: usd, num: den, den: num, spread_ppm: 0 },
    ];
    Arc::new(Rates::build(1, &assets(), &entries).expect("two rates that fit"))
}

fn account(dice: &mut Rng, is_bench: bool) -> AccountPlan {
    let durability = match dice.u32(..10) {
        0..6 => Durability::Sync,
        6 | 7 if is_bench => Durability::None,
        _ => Durability::Async,
    };
    AccountPlan {
        asset: AssetIndex(dice.u16(..2)),
        durability,
        balance_max: one_of(dice, &[5_000, 1_000_000, 10_000_000]),
        payable_max: one_of(dice, &[5_000, 1_000_000, 10_000_000]),
    }
}
