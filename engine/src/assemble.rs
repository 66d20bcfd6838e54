//! From a configuration to a switch: nothing here can refuse, as the configuration was checked.

use std::sync::Arc;

use m2_core::{AccountConfig, AccountId, Now, Rates, Rings, Routes, ShardId, Switch, SwitchConfig};

use crate::config::Config;

/// The process has one shard so far, which owns every account.
const SHARD: ShardId = ShardId(0);

/// A switch with every account and rate of the configuration, these routes, and no link.
///
/// # Panics
///
/// If the configuration did not come out of [`crate::config::parse`], or a route names an account that
/// it does not have.
#[must_use]
pub fn switch(config: &Config, routes: Arc<Routes>, start: Now) -> Switch {
    let section = &config.switch;
    let mut switch = Switch::new(SwitchConfig {
        shard: SHARD,
        shards: 1,
        own_address: section.address.clone(),
        network: section.network,
        expiry_margin_ms: section.expiry_margin_ms,
        sync_grace_ms: config.journal.sync_grace_ms,
        async_ms: config.journal.async_ms,
        async_bytes: config.journal.async_bytes,
        remaining_ms_min: section.remaining_ms_min,
        hold_ms_max: section.hold_ms_max,
        in_flight_slots: section.in_flight_slots,
        reflect: section.reflect,
        seed: random(),
        rings: Rings::for_slots(section.in_flight_slots),
        start,
    });
    for (id, account) in (0_u32..).map(AccountId).zip(&config.accounts) {
        let asset = &config.assets[usize::from(account.asset.0)];
        switch.add_account(AccountConfig {
            id,
            shard: SHARD,
            relation: account.relation,
            asset: account.asset,
            asset_code: asset.code.clone(),
            asset_scale: asset.scale,
            ildcp_segment: account.ildcp_segment.clone(),
            durability: account.durability,
            limits: account.limits,
        });
    }
    let rates = Rates::build(1, &config.assets, &config.rates);
    switch.set_rates(Arc::new(rates.expect("rates were checked with the file")));
    switch.set_routes(routes);
    switch
}

/// A number that nobody can know.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the system has random bytes");
    u64::from_ne_bytes(bytes)
}
