//! A packet generator for Interledger connectors: sender and receiver, in one process or in two.
//!
//! ```text
//!  workload.rs --> schedule.rs --> engine.rs <--> link.rs <--> the target
//!   (TOML file)    traffic.rs      |  |   |       (BTP)          |
//!                 (due when, what) |  |   |                      |
//!                      sender.rs <-+  |   +-> receiver.rs        | control socket
//!                     (in flight)     v      (checks, answers)   v
//!                                 tally.rs                  control.rs
//!                                     +------> books.rs <-------+
//!                                     +------> report.rs (verdict, text, JSON)
//!                                     +------> live/ (screen), interval_log.rs, hgrm.rs
//! ```
//!
//! It knows the target by its wire and, if there is one, its control socket; nothing of the
//! switch is imported, so that the books it keeps are a second opinion. Latency counts from the
//! moment a packet was scheduled (open loop): a stall of the target, or of the generator, shows.
//!
//! With its ends in two processes, `inband.rs` is how their books are compared.
//! `search.rs` makes run after run, to find the highest rate without loss; `compare.rs` makes runs of
//! two workloads in turns, to tell them apart.
//!
//! Beside it stands `conformance.rs`: checks of what any connector must do, each played by itself.
//!
//! The binary is `m2-load`; `docs/m2-load.md` says how to use it.

pub mod books;
pub mod calibrate;
pub mod cli;
pub mod compare;
pub mod conformance;
pub mod control;
pub mod cpu;
pub mod engine;
pub mod environment;
pub mod hgrm;
pub mod inband;
pub mod interrupt;
pub mod interval_log;
pub mod limits;
pub mod link;
pub mod live;
pub mod named;
pub mod payload;
pub mod process;
pub mod receiver;
pub mod repeat;
pub mod report;
pub mod require;
pub mod run;
pub mod schedule;
#[cfg(test)]
mod schemas;
pub mod search;
pub mod sender;
pub mod tally;
pub mod target_config;
pub mod traffic;
pub mod workload;
