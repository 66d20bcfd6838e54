//! The process around the core: configuration, links, the loop of a shard, the control thread.
//!
//! ```text
//!   config     one TOML file, checked whole          topology   which thread runs what, joined how
//!   control    accept, dial, authenticate, operators  shard      links and packets, a thread each
//!   assemble   from a configuration to switches       log        bounded, never per packet
//!   bind       addresses and socket files             limits     every bound, with its sum
//!   journal    the thread that makes records durable  clock      both clocks, read together
//!   routes     the table, with those of the route file
//!   io         what a shard does with its sockets
//!   pin        which core a shard runs on
//! ```
//!
//! `unsafe` stands in `io/uring.rs` and `journal/uring.rs` alone (`cargo xtask edges`).

/// Counts what tests ask of it.
#[cfg(test)]
#[global_allocator]
pub(crate) static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> =
    &stats_alloc::INSTRUMENTED_SYSTEM;

mod adopt;
pub mod assemble;
mod bind;
pub mod check;
mod clock;
pub mod config;
mod control;
mod io;
mod journal;
mod limits;
mod log;
mod pin;
pub mod routes;
mod shard;
pub mod topology;

pub use control::request;
pub use journal::last_words;
