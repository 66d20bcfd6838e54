//! Whole networks of switches in one thread, under one seed: does any order of events make or lose a
//! unit?
//!
//! ```text
//!   seed -> plan (who is joined to whom) + operations (what happens from outside)
//!
//!   endpoint --BTP bytes--> [ shell | core, core ] --BTP bytes--> [ shell | core ] --> endpoint
//!                              ^  rings  ^
//!            judges: books of their own, compared after every step of every core
//! ```
//!
//! The cores are the production code, unchanged: [`m2_core::Switch`], one for each shard. Everything
//! around them is here: links as streams of bytes that are slow, full, or cut at any byte; rings
//! between shards; clocks that differ and step; endpoints that lie. Time is a variable, so a minute
//! of a network takes milliseconds, and the same case takes the same course, byte for byte.
//!
//! A [`Case`] that fails is shrunk to a short history, which [`Case`] prints and reads again.

#![forbid(unsafe_code)]

mod act;
mod books;
mod case;
mod coverage;
pub mod crash;
mod dice;
mod endpoint;
mod history;
mod journal;
mod judge;
mod money;
mod net;
mod op;
mod plan;
mod port;
mod send;
mod shell;
mod shrink;
mod tariff;
mod ways;
mod wire;
mod world;

pub use case::{Case, Failure, Passed, Sabotage};
pub use coverage::Coverage;
pub use history::{Kinds, Operation};
pub use op::{Kind, Op, ops_of};
pub use plan::Caps;
pub use shrink::shrink;
