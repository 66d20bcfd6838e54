//! What the core goes by. A process reads it from its configuration; nothing here is a secret.

use crate::chain::{Party, Token};
use crate::scale::Scales;
use crate::wire::Place;

/// A chain, and how patient we are with it. Times in milliseconds.
#[derive(Clone, Debug)]
pub struct ChainConfig {
    /// Where its channels are.
    pub place: Place,
    /// Who we are there.
    pub us: Party,
    /// How often it is looked at.
    pub look_ms: u64,
    /// How long claims that pay before their channels end wait to be redeemed together.
    pub batch_ms: u64,
    /// How long a transaction waits for a block before the same bytes are sent again.
    pub send_again_ms: u64,
    /// How long before it offers more.
    pub replace_ms: u64,
    /// The most it ever offers for a unit of gas.
    pub fee_most: u128,
}

/// An account of the switch that settles.
#[derive(Clone, Debug)]
pub struct AccountConfig {
    /// As the switch names it.
    pub name: String,
    /// Where in [`Config::chains`] its chain is.
    pub chain: usize,
    /// In what it settles.
    pub token: Token,
    /// Of the account and of the token.
    pub scales: Scales,
    /// Who the peer is on the chain.
    pub peer: Party,
    /// The window of channels that we open.
    pub window_s: u32,
    /// The shortest window of a channel that is the peer's to choose.
    pub window_s_min: u32,
    /// What is deposited ahead of what is owed, whenever something is: units of the token.
    pub deposit: u128,
    /// What makes redeeming worth its fee: units of the token.
    pub redeem_min: u128,
    /// A closing channel takes no claim that this little of its window is left for.
    pub redeem_margin_s: u64,
}

/// See the head of the file.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// In any order.
    pub chains: Vec<ChainConfig>,
    /// In any order.
    pub accounts: Vec<AccountConfig>,
}
