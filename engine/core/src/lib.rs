//! The switch as a pure state machine: what happens to packets and to money, and nothing else.
//!
//! ```text
//!   PREPARE from A                                                       PREPARE to B
//!  ---------------> [ incoming half of A ] == Forward ==> [ outgoing half of B ] ---------->
//!  <--------------- [ hold on A          ] <== Answer === [ hold on B, slot     ] <---------
//!   answer to A                                                          answer from B
//! ```
//!
//! The incoming half owns what concerns the peer who sent the PREPARE, the outgoing half what
//! concerns the next hop. They talk by [`Forward`] and [`Answer`] alone, also when one shard owns
//! both. Each half checks everything it owns, each check with a refusal of its own, and only then
//! writes; below its last check nothing fails.
//!
//! A [`Switch`] is the decision maker of one shard. A switch of several shards is as many of them:
//! each knows every account's asset and shard, and has the ledgers of its own. A packet between
//! accounts of two shards leaves the first through [`Egress::forward`], and its answer the second
//! through [`Egress::give_back`].
//!
//! What must outlive the process leaves as [`Record`]s, in the order of decisions; a shell tells how far
//! those of each shard are durable ([`Switch::durable`]), and FULFILLs of accounts that are `Sync` wait
//! for that. [`Switch::image`] is what a snapshot needs of a shard, at any moment.
//!
//! The core knows no socket and no clock: packets come as vectors of borrowed bytes, `now` is an
//! argument, bytes leave through [`Egress`]. So a simulator runs the very code that production
//! runs.
//!
//! Invariants, asserted in release builds too: `held_in` of an account is the sum over packets it
//! sent whose `Answer` was not taken; `held_out` is the sum over slots toward it; a hold is spent
//! once; nothing counted is negative. No assertion states a limit that a peer, an operator or a chain
//! could cross.

#![forbid(unsafe_code)]

pub mod account;
mod accounts;
mod bucket;
mod bytes;
pub mod counters;
mod deadlines;
mod free;
mod gate;
pub mod ids;
pub mod image;
mod incoming;
pub mod keys;
pub mod ledger;
pub mod limits;
pub mod message;
mod outgoing;
mod own;
pub mod rates;
pub mod record;
pub mod refusal;
mod ring;
pub mod routes;
mod slots;
mod switch;
mod verify;
mod withheld;

pub use account::{AccountConfig, AccountView, Durability, Limits, RateLimit, Relation, Settle};
pub use counters::{AccountCounters, Counters, PairTotal};
pub use gate::JournalState;
pub use ids::{AccountId, AssetIndex, ConnectionId, Now, ShardId};
pub use image::{AccountImage, Positions, ShardImage};
pub use keys::{Intent, KeyError, KeyNews, KeyOutcome, NoRecord};
pub use ledger::Ledger;
pub use message::{Answer, Forward, Notice};
pub use rates::{Asset, RateEntry, Rates};
pub use record::{
    Key, KeyKind, KeyRecord, KeyState, LateFulfill, LimitsRecord, MoneyRecord, PairRecord, Record,
};
pub use refusal::Refusal;
pub use routes::Routes;
pub use switch::{
    Egress, Network, Request, Response, ResponseBody, Rings, SlotSums, Switch, SwitchConfig,
};
pub use verify::sha256_of_32;
pub use withheld::{Legs, Unrecorded, UnrecordedFulfill};
