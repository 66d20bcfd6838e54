//! From a configuration to the switches of its shards: nothing here can refuse, as the configuration was
//! checked.

use std::sync::Arc;

use m2_core::{
    AccountConfig, AccountId, Key, Now, Rates, Rings, Routes, ShardId, Switch, SwitchConfig,
};

use crate::config::Config;

/// The switch of each shard, with every account and rate of the configuration, these routes, and no link.
/// Routes and rates are shared by all.
///
/// # Panics
///
/// If the configuration did not come out of [`crate::config::parse`], or a route names an account that
/// it does not have.
#[must_use]
pub fn switches(config: &Config, routes: &Arc<Routes>, start: Now) -> Vec<Switch> {
    let rates = Rates::build(1, &config.assets, &config.rates);
    let rates = Arc::new(rates.expect("rates were checked with the file"));
    let switch = |shard| {
        let mut switch = switch(config, ShardId(shard), start);
        switch.set_rates(Arc::clone(&rates));
        switch.set_routes(Arc::clone(routes));
        switch
    };
    (0..config.switch.shards).map(switch).collect()
}

/// The switch of one shard, which knows every account.
fn switch(config: &Config, shard: ShardId, start: Now) -> Switch {
    let section = &config.switch;
    let mut switch = Switch::new(SwitchConfig {
        shard,
        shards: section.shards,
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
            shard: config.shard_of(id),
            relation: account.relation,
            asset: account.asset,
            asset_code: asset.code.clone(),
            asset_scale: asset.scale,
            ildcp_segment: account.ildcp_segment.clone(),
            durability: account.durability,
            limits: account.limits,
            settle: account.settle,
        });
    }
    switch
}

/// A name for an amount, that nobody has used, here or anywhere.
pub(crate) fn random_key() -> Key {
    let mut key = [0; 16];
    getrandom::fill(&mut key).expect("the system has random bytes");
    Key(key)
}

/// A number that nobody can know.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the system has random bytes");
    u64::from_ne_bytes(bytes)
}
