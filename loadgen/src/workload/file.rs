//! The tables and keys of a workload file, as TOML has them: nothing is checked but their types, and
//! that no key is unknown. A value whose check can fail keeps the place where it stands.

use serde::Deserialize;
use toml::Spanned;

use super::{Role, Token};
use crate::payload::Fulfillment;
use crate::schedule::Process;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) seed: Option<u64>,
    pub(super) seconds: Option<Spanned<u64>>,
    pub(super) rate_per_s: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) phases: Vec<Spanned<PhaseTable>>,
    #[serde(default)]
    pub(super) arrivals: ArrivalsTable,
    #[serde(default)]
    pub(super) traffic: TrafficTable,
    pub(super) destinations: Option<Spanned<DestinationsTable>>,
    pub(super) mix: Option<Spanned<MixTable>>,
    #[serde(default)]
    pub(super) ends: Vec<Spanned<EndTable>>,
    #[serde(default)]
    pub(super) flows: Vec<Spanned<FlowTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PhaseTable {
    pub(super) seconds: Spanned<u64>,
    pub(super) rate_per_s: Spanned<u64>,
    pub(super) to_rate_per_s: Option<Spanned<u64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ArrivalsTable {
    pub(super) process: Process,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrafficTable {
    pub(super) amount: Option<Spanned<Vec<u64>>>,
    #[serde(default)]
    pub(super) amount_shape: AmountShape,
    pub(super) data_bytes: Option<Spanned<Vec<u64>>>,
    pub(super) expiry_ms: Option<Spanned<ExpiryValue>>,
    pub(super) silent_expiry_ms: Option<Spanned<ExpiryValue>>,
    pub(super) unroutable_address: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) fulfillment: Fulfillment,
    pub(super) repeat: Option<Spanned<u64>>,
}

/// Which amounts of a range are more likely.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum AmountShape {
    #[default]
    Even,
    Log,
}

/// One range, or several that each have a share.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum ExpiryValue {
    Range(Vec<u64>),
    Mix(Vec<ExpiryTable>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpiryTable {
    pub(super) share: u16,
    pub(super) ms: Vec<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DestinationsTable {
    pub(super) count: Spanned<usize>,
    #[serde(default = "no_skew")]
    pub(super) zipf: Spanned<f64>,
    pub(super) depth: Option<Spanned<usize>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct MixTable {
    pub(super) fulfilled: u16,
    pub(super) rejected: u16,
    pub(super) expired: u16,
    pub(super) wrong_fulfillment: u16,
    pub(super) unroutable: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndTable {
    pub(super) name: Spanned<String>,
    pub(super) count: Option<Spanned<usize>>,
    pub(super) url: Spanned<String>,
    pub(super) token: Option<Token>,
    pub(super) token_file: Option<Spanned<String>>,
    pub(super) role: Role,
    #[serde(default)]
    pub(super) asset: String,
    pub(super) address: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FlowTable {
    pub(super) from: Spanned<String>,
    pub(super) to: Spanned<String>,
    #[serde(default)]
    pub(super) each_to_each: bool,
    #[serde(default = "one")]
    pub(super) num: Spanned<u64>,
    #[serde(default = "one")]
    pub(super) den: Spanned<u64>,
    #[serde(default = "one")]
    pub(super) weight: Spanned<u64>,
}

fn no_skew() -> Spanned<f64> {
    Spanned::new(0..0, 0.0)
}

fn one() -> Spanned<u64> {
    Spanned::new(0..0, 1)
}
