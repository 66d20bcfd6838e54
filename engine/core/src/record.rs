//! What must outlive the process: every change of a ledger that a hold does not undo, as it leaves
//! the core.
//!
//! The records of one shard are a **stream**; how many stand before one is its **position**. A
//! fulfilled pair is one record with both legs, in the stream of the shard that decided it. So a
//! stream has, in order, all outgoing legs, credits, payments and limits of its shard's accounts, and
//! incoming legs of any shard's.
//!
//! Pairs, frozen amounts and their ends may be applied in any order. A credit or a reversal may not:
//! it names, for each stream, the position up to which its ledger held the incoming legs.

use crate::account::Durability;
use crate::ids::{AccountId, ConnectionId};

/// One record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Record {
    /// Both legs of a fulfilled pair.
    Pair(PairRecord),
    /// A FULFILL that came too late to count.
    LateFulfill(LateFulfill),
    /// Both limits of an account were set.
    Limits(LimitsRecord),
    /// An amount is on its way to the peer.
    Frozen(KeyRecord),
    /// A frozen amount has reached the peer.
    Settled(KeyRecord),
    /// A frozen amount can provably not reach the peer.
    Cancelled(KeyRecord),
    /// The peer paid us.
    Credited(MoneyRecord),
    /// A payment of the peer proved void.
    Reversed(MoneyRecord),
}

/// A fulfilled pair: both legs or neither.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PairRecord {
    /// Units of `account_in` that its peer owes us more, or had prepaid.
    pub amount_in: u64,
    /// Units of `account_out` that we owe its peer more.
    pub amount_out: u64,
    /// When it was decided: milliseconds since 1970, UTC.
    pub decided_at_ms: u64,
    /// The first half of the condition, to find the packet again.
    pub condition_head: [u8; 16],
    /// Who sent the PREPARE.
    pub account_in: AccountId,
    /// Who fulfilled it.
    pub account_out: AccountId,
    /// The snapshot of rates that converted `amount_in` to `amount_out`.
    pub rate_version: u32,
    /// Of `account_in`: whether its FULFILL waits for this record. Never `None`.
    pub durability: Durability,
}

// With a kind and a spare word it fills the 64 bytes that a journal's record has.
const _: () = assert!(size_of::<PairRecord>() <= 56);

/// Evidence that a peer knew the preimage, though it told it too late.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LateFulfill {
    /// Who sent the FULFILL, and on which connection.
    pub connection: ConnectionId,
    /// The id that its PREPARE had on that connection.
    pub request_id: u32,
    /// When it came: milliseconds since 1970, UTC.
    pub came_at_ms: u64,
    /// The preimage; its SHA-256 is the condition.
    pub fulfillment: [u8; 32],
}

/// Both limits of an account, from now on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LimitsRecord {
    /// Whose.
    pub account: AccountId,
    /// The most the peer may come to owe us, in units of the account.
    pub balance_max: u64,
    /// The most we may come to owe the peer, in units of the account.
    pub payable_max: u64,
    /// When: milliseconds since 1970, UTC.
    pub at_ms: u64,
}

/// Names a credit, a reversal or a frozen amount, so that telling of it twice changes nothing twice.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key(pub [u8; 16]);

/// What became of a frozen amount.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyRecord {
    /// Whose.
    pub account: AccountId,
    /// The amount's name.
    pub key: Key,
    /// Units of the account.
    pub amount: u128,
    /// When: milliseconds since 1970, UTC.
    pub at_ms: u64,
}

/// A credit or a reversal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MoneyRecord {
    /// Whose.
    pub account: AccountId,
    /// Its name.
    pub key: Key,
    /// Units of the account.
    pub amount: u64,
    /// When: milliseconds since 1970, UTC.
    pub at_ms: u64,
    /// For each stream, the position up to which the account's ledger held the incoming legs. Its
    /// outgoing legs, which are all in this record's own stream, it held up to the record itself.
    pub applied: Box<[u64]>,
}

/// What a key stands for, kept as long as somebody may still tell of it again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyState {
    /// Whose.
    pub account: AccountId,
    /// Units of the account.
    pub amount: u128,
    /// What was told of it last.
    pub kind: KeyKind,
}

/// See [`KeyState`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyKind {
    /// A credit.
    Credited,
    /// A reversal.
    Reversed,
    /// An amount that is on its way to the peer.
    Frozen,
    /// One that has reached it.
    Settled,
    /// One that never will.
    Cancelled,
}
