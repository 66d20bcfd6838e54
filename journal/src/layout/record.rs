//! Layouts of records: each begins with its kind and the number of blocks that go on with it.

use core::mem::{offset_of, size_of};

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Block;

/// Both legs of a fulfilled pair.
#[derive(Clone, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Pair {
    /// [`crate::record::kind::PAIR`].
    pub kind: u8,
    /// 0.
    pub more: u8,
    /// What the FULFILL waited for: [`crate::record::durability`].
    pub durability: u8,
    /// Zero.
    pub reserved: u8,
    /// The snapshot of rates that converted the amount.
    pub rate_version: U32,
    /// Units of the incoming account.
    pub amount_in: U64,
    /// Units of the outgoing account.
    pub amount_out: U64,
    /// Milliseconds since 1970, UTC.
    pub decided_at_ms: U64,
    /// The first half of the condition.
    pub condition_head: [u8; 16],
    /// Who sent the PREPARE.
    pub account_in: U32,
    /// Who fulfilled it.
    pub account_out: U32,
    /// Zero.
    pub reserved_tail: [u8; 8],
}

const _: () = assert!(size_of::<Pair>() == size_of::<Block>());
const _: () = assert!(offset_of!(Pair, rate_version) == 4);
const _: () = assert!(offset_of!(Pair, amount_in) == 8);
const _: () = assert!(offset_of!(Pair, amount_out) == 16);
const _: () = assert!(offset_of!(Pair, decided_at_ms) == 24);
const _: () = assert!(offset_of!(Pair, condition_head) == 32);
const _: () = assert!(offset_of!(Pair, account_in) == 48);
const _: () = assert!(offset_of!(Pair, account_out) == 52);

/// A FULFILL that came too late to count.
#[derive(Clone, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct LateFulfill {
    /// [`crate::record::kind::LATE_FULFILL`].
    pub kind: u8,
    /// 0.
    pub more: u8,
    /// Zero.
    pub reserved: [u8; 2],
    /// The id that its PREPARE had on the connection.
    pub request_id: U32,
    /// Who sent it.
    pub account: U32,
    /// On which connection of this account, from 1.
    pub epoch: U32,
    /// Milliseconds since 1970, UTC.
    pub came_at_ms: U64,
    /// The preimage.
    pub fulfillment: [u8; 32],
    /// Zero.
    pub reserved_tail: [u8; 8],
}

const _: () = assert!(size_of::<LateFulfill>() == size_of::<Block>());
const _: () = assert!(offset_of!(LateFulfill, request_id) == 4);
const _: () = assert!(offset_of!(LateFulfill, account) == 8);
const _: () = assert!(offset_of!(LateFulfill, epoch) == 12);
const _: () = assert!(offset_of!(LateFulfill, came_at_ms) == 16);
const _: () = assert!(offset_of!(LateFulfill, fulfillment) == 24);

/// Both limits of an account were set.
#[derive(Clone, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Limits {
    /// [`crate::record::kind::LIMITS`].
    pub kind: u8,
    /// 0.
    pub more: u8,
    /// Zero.
    pub reserved: [u8; 2],
    /// Whose.
    pub account: U32,
    /// Milliseconds since 1970, UTC.
    pub at_ms: U64,
    /// Units of the account.
    pub balance_max: U64,
    /// Units of the account.
    pub payable_max: U64,
    /// Zero.
    pub reserved_tail: [u8; 32],
}

const _: () = assert!(size_of::<Limits>() == size_of::<Block>());
const _: () = assert!(offset_of!(Limits, account) == 4);
const _: () = assert!(offset_of!(Limits, at_ms) == 8);
const _: () = assert!(offset_of!(Limits, balance_max) == 16);
const _: () = assert!(offset_of!(Limits, payable_max) == 24);

/// An amount was frozen, has reached the peer, or never will.
#[derive(Clone, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Keyed {
    /// [`crate::record::kind::FROZEN`], `SETTLED` or `CANCELLED`.
    pub kind: u8,
    /// 0.
    pub more: u8,
    /// Zero.
    pub reserved: [u8; 2],
    /// Whose.
    pub account: U32,
    /// Milliseconds since 1970, UTC.
    pub at_ms: U64,
    /// The amount's name.
    pub key: [u8; 16],
    /// Units of the account, below [`crate::limits::WORD_MAX`].
    pub amount: U128,
    /// Zero.
    pub reserved_tail: [u8; 16],
}

const _: () = assert!(size_of::<Keyed>() == size_of::<Block>());
const _: () = assert!(offset_of!(Keyed, account) == 4);
const _: () = assert!(offset_of!(Keyed, at_ms) == 8);
const _: () = assert!(offset_of!(Keyed, key) == 16);
const _: () = assert!(offset_of!(Keyed, amount) == 32);

/// How many positions stand in the first block of a [`Money`].
pub const POSITIONS_IN_HEAD: usize = 3;

/// How many positions stand in each block that goes on with it.
pub const POSITIONS_IN_BLOCK: usize = size_of::<Block>() / size_of::<U64>();

/// A credit or a reversal. It goes on with blocks of eight positions each; those behind the last
/// shard's are 0.
#[derive(Clone, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Money {
    /// [`crate::record::kind::CREDITED`] or `REVERSED`.
    pub kind: u8,
    /// How many blocks of positions follow.
    pub more: u8,
    /// How many positions there are: one for each shard.
    pub shards: U16,
    /// Whose.
    pub account: U32,
    /// Milliseconds since 1970, UTC.
    pub at_ms: U64,
    /// Its name.
    pub key: [u8; 16],
    /// Units of the account.
    pub amount: U64,
    /// The first of them: for each stream, the position up to which the ledger held the incoming legs.
    pub applied: [U64; POSITIONS_IN_HEAD],
}

const _: () = assert!(size_of::<Money>() == size_of::<Block>());
const _: () = assert!(offset_of!(Money, shards) == 2);
const _: () = assert!(offset_of!(Money, account) == 4);
const _: () = assert!(offset_of!(Money, at_ms) == 8);
const _: () = assert!(offset_of!(Money, key) == 16);
const _: () = assert!(offset_of!(Money, amount) == 32);
const _: () = assert!(offset_of!(Money, applied) == 40);
