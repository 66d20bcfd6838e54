//! Records as blocks of 64 bytes.
//!
//! The first byte of a record is its kind, the second how many blocks go on with it.

use crate::layout::Block;

/// The first byte of a record.
pub mod kind {
    /// Both legs of a fulfilled pair.
    pub const PAIR: u8 = 1;
    /// A FULFILL that came too late to count.
    pub const LATE_FULFILL: u8 = 2;
    /// Limits of an account were changed.
    pub const LIMITS: u8 = 3;
    /// An amount left the balance to be paid.
    pub const FROZEN: u8 = 4;
    /// A frozen amount has reached the peer.
    pub const SETTLED: u8 = 5;
    /// A frozen amount cannot reach the peer.
    pub const CANCELLED: u8 = 6;
    /// The peer paid outside the packet path.
    pub const CREDITED: u8 = 7;
    /// A payment of the peer proved void.
    pub const REVERSED: u8 = 8;
}

/// The third byte of a pair: what its incoming account asks for.
pub mod durability {
    /// The FULFILL waits for the record.
    pub const SYNC: u8 = 0;
    /// The FULFILL does not wait, within bounds.
    pub const ASYNC: u8 = 1;
}

/// How many blocks the record has that begins with this one.
#[must_use]
pub fn block_count(head: &Block) -> usize {
    1 + usize::from(head[1])
}

/// Whether the record that begins with this block is a credit or a reversal: those do not commute
/// with pairs.
#[must_use]
pub fn is_money(head: &Block) -> bool {
    matches!(head[0], kind::CREDITED | kind::REVERSED)
}

/// Whether nobody waits for the record that begins with this block: a pair of an account that takes
/// the risk, or evidence.
#[must_use]
pub fn may_wait(head: &Block) -> bool {
    match head[0] {
        kind::PAIR => head[2] == durability::ASYNC,
        kind::LATE_FULFILL => true,
        _ => false,
    }
}
