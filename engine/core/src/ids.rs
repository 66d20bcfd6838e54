//! The names by which the two halves speak of accounts, connections and moments.

use core::num::NonZeroU32;

/// Which account, in this switch. Dense from 0, and never used again for another peer.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AccountId(pub u32);

impl AccountId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Which asset at which scale, in this switch's list of assets.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AssetIndex(pub u16);

/// Which shard of this switch. Each shard decides for the accounts that it owns.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ShardId(pub u16);

impl ShardId {
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// One connection of one account: the epoch counts the account's connections.
///
/// An answer counts only on the very connection that its PREPARE left on, and is given only to the
/// very connection that its PREPARE came from: a request id means nothing on any other.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ConnectionId {
    /// Whose connection.
    pub account: AccountId,
    /// The how-manieth of this account, from 1.
    pub epoch: NonZeroU32,
}

/// The moment at which a vector of packets is looked at, read once for all of them.
///
/// UTC is used once, to turn a packet's expiry into a deadline; everything after goes by the
/// monotonic clock, so that a step of the wall clock changes no packet in flight.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Now {
    /// Milliseconds since 1970-01-01, UTC.
    pub utc_ms: u64,
    /// Nanoseconds of a clock that never steps, from any start.
    pub mono_ns: u64,
}
