//! The whole of m2-settle: two real processes with their own keys and stores, on a real node.
//!
//! ```text
//!   switch 0 (switch.rs) <===== messages =====> switch 1
//!      |  settlement_socket                        |
//!   m2-settle 0 --------> anvil <-------------- m2-settle 1
//! ```
//!
//! Invariant: only the switches are doubles, as `docs/settlement-socket.md` has them: they keep their books
//! through whatever is done to their connections, and count how often they are told of each key.

#![allow(clippy::unwrap_used)] // helpers of tests, though not inside of one

#[path = "../evm/chain.rs"]
#[allow(dead_code)] // the tests of the worker alone use the rest
mod chain;
#[path = "../evm/node.rs"]
#[allow(dead_code)] // the tests of the worker alone use the rest
mod node;

mod chains;
mod closing;
mod door;
mod kill;
mod life;
mod operators;
mod scene;
mod start;
mod switch;
