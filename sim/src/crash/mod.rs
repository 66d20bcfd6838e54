//! A switch that is killed at any moment, with a disk that keeps only what a completed flush covers:
//! is any debt forgotten that was acknowledged?
//!
//! ```text
//!   seed -> plan (accounts, rings, how the journal is written) + operations
//!
//!   peers <-> shards == rings == shards         any thread, any step, any order
//!               || rings ||
//!              journal: writer -> one call of the disk at a time
//!                                            crash: power or process, between any two steps
//!   disk -> recover -> judged by books of our own -> begin_generation: another number of shards
//! ```
//!
//! The cores, the journal's writer and its recovery are the production code, unchanged. What a
//! process does around them (sockets, rings, threads) is here, cut into steps.

mod books;
mod calls;
mod case;
mod damage;
mod disk;
mod fuse;
mod judge;
mod lives;
mod machine;
mod money;
mod op;
mod peers;
mod plan;
mod seen;
mod sweep;
mod tape;
mod world;

pub use case::{Case, Sabotage};
pub use op::{Kind, Op, ops_of};
pub use plan::Caps;
pub use seen::Seen;
pub use sweep::{Point, SCHEDULES, Swept};
pub use tape::Tape;
