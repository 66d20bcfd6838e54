//! The chain worker of EVM chains on a real node: anvil from npm, and contracts that Forge has built from source.
//!
//! Invariant: nothing here stands in for the chain but where a node is to be wrong.

#![allow(clippy::unwrap_used)] // helpers of tests, though not inside of one

mod chain;
mod fees;
mod identity;
mod life;
mod node;
mod odd;
mod reorganisation;
