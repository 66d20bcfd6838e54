//! What the two halves say to each other, and what is told to the log.
//!
//! A `Forward` or an `Answer` carries the holds and the reserved places of its packet, each to be
//! spent once, so neither can be dropped, copied or applied twice. The packet's bytes stand beside
//! the message: on one shard where they came in, between two shards as bytes that the ring carries
//! behind it.

use crate::ids::{AccountId, ConnectionId, ShardId};
use crate::ledger::HoldIn;
use crate::record::LateFulfill;
use crate::refusal::Refusal;
use crate::ring::Place;

/// A PREPARE that the incoming half has admitted and holds money for.
///
/// Whoever carries it from shard to shard hands it to [`crate::Switch::forwarded`], once.
#[derive(Debug)]
#[must_use = "a Forward holds money and a place for its answer"]
pub struct Forward {
    pub(crate) hold_in: HoldIn,
    pub(crate) origin: Origin,
    pub(crate) account_out: AccountId,
    pub(crate) amount_out: u64,
    pub(crate) condition: [u8; 32],
    /// What the next hop is told, in UTC.
    pub(crate) expires_at_ms: u64,
    /// The same moment on the monotonic clock.
    pub(crate) deadline_ns: u64,
}

impl Forward {
    /// Who sent the PREPARE.
    #[must_use]
    pub fn account_in(&self) -> AccountId {
        self.hold_in.account()
    }

    /// What is held of its sender, in units of its account.
    #[must_use]
    pub fn amount_in(&self) -> u64 {
        self.hold_in.amount()
    }

    /// The next hop.
    #[must_use]
    pub fn account_out(&self) -> AccountId {
        self.account_out
    }

    /// What the next hop is to be promised, in units of its account.
    #[must_use]
    pub fn amount_out(&self) -> u64 {
        self.amount_out
    }
}

/// What the incoming half knows of a packet and needs again at its end: it goes with the packet.
#[derive(Debug)]
#[must_use = "it has a place for the answer"]
pub(crate) struct Origin {
    pub(crate) answer_place: Place<Answer>,
    /// Where the PREPARE came from, and where alone its answer goes.
    pub(crate) connection: ConnectionId,
    pub(crate) request_id: u32,
    pub(crate) conversion: Conversion,
}

/// At which rate an amount was converted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Conversion {
    pub(crate) rate_version: u32,
    /// Position of the pair of assets in tables of all pairs.
    pub(crate) pair: u32,
}

/// How a packet ended, told by the outgoing half, exactly once for each `Forward`.
///
/// Whoever carries it from shard to shard hands it to [`crate::Switch::answered`], once.
#[derive(Debug)]
#[must_use = "an Answer ends a hold"]
pub struct Answer {
    pub(crate) hold_in: HoldIn,
    pub(crate) origin: Origin,
    /// Whose outgoing half decided it: the shard that the Forward went to.
    pub(crate) shard_out: ShardId,
    pub(crate) amount_out: u64,
    pub(crate) outcome: Outcome,
}

impl Answer {
    /// Who sent the PREPARE.
    #[must_use]
    pub fn account_in(&self) -> AccountId {
        self.hold_in.account()
    }

    /// What is held of its sender, in units of its account.
    #[must_use]
    pub fn amount_in(&self) -> u64 {
        self.hold_in.amount()
    }

    /// Whether the hold becomes balance. The other leg has become it already.
    #[must_use]
    pub fn is_fulfilled(&self) -> bool {
        matches!(self.outcome, Outcome::Fulfilled | Outcome::Recorded(_))
    }
}

/// What an [`Answer`] says. The bytes of a FULFILL or REJECT stand beside it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    /// Fulfilled for an account whose pairs have no records.
    Fulfilled,
    /// Fulfilled, and a record says so.
    Recorded(Recorded),
    Rejected,
    Refused(Refusal),
}

/// Where the record of a fulfilled pair stands, and how long its FULFILL may wait for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recorded {
    /// In the stream of the shard that decided it.
    pub(crate) position: u64,
    /// On the monotonic clock: then the FULFILL goes to its sender, durable or not.
    pub(crate) grace_ns: u64,
}

/// Something for the log. It changes nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Notice {
    /// A FULFILL came too late to count; `recorded` unless no record was free.
    LateFulfill {
        /// What came.
        evidence: LateFulfill,
        /// It also left as a record.
        recorded: bool,
    },
    /// A fulfilled packet's FULFILL could not be given to its sender: the connection was gone.
    Undelivered {
        /// Where the PREPARE came from.
        connection: ConnectionId,
        /// Under which id.
        request_id: u32,
        /// What its sender owes us all the same.
        amount: u64,
        /// First 16 bytes of its condition, as in its record.
        condition_head: [u8; 16],
    },
    /// A PREPARE was refused as its sender has used up its credit. At most once a second for an account, and
    /// never for one that is given none.
    CreditExhausted {
        /// Whose credit.
        account: AccountId,
        /// What the PREPARE would have added, in units of the account.
        amount: u64,
        /// What the sender owes; below zero, what it is owed or has paid ahead.
        owed: i128,
        /// What it may come to owe by PREPAREs that have no answer yet.
        held_in: i128,
        /// The most that it may come to owe.
        balance_max: u64,
    },
}
