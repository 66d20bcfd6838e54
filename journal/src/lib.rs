//! The journal: what must outlive the process, as bytes on a disk and back again.
//!
//! ```text
//!   records of a shard --> Writer --> Op --> perform --> Storage: a disk, or the simulator's
//!                            ^                 |
//!                            '----- done ------'         ... a crash ...
//!
//!   Storage --> recover: base, snapshots, streams --> words of every ledger --> a new generation
//! ```
//!
//! There is one stream per shard. A position in it is how many records stand before; a record is
//! durable once the stream's durable position is past it. A generation is one start of the process:
//! its positions begin at 0, and it rests on a base that holds everything there was before.
//!
//! Nothing here waits, reads a clock or knows a thread: a process and a simulator run the same code
//! over a [`Storage`] of their own. `docs/journal.md` documents every byte.
//!
//! Invariants: a durable block is never written again; a file of any bytes is no panic, and no
//! length in it is believed before it was checked against a limit.

#![forbid(unsafe_code)]

pub mod batch;
pub mod direct;
mod error;
mod fault;
mod files;
pub mod hash;
pub mod image;
pub mod layout;
pub mod limits;
pub mod names;
mod op;
mod pages;
pub mod record;
pub mod recover;
mod replay;
pub mod scan;
pub mod segment;
pub mod slot;
pub mod spill;
mod storage;
pub mod writer;

#[cfg(test)]
mod memory;

pub use error::{Choices, Damage, Error};
pub use fault::Fault;
pub use files::Files;
pub use hash::Hash;
pub use layout::Block;
pub use op::{Op, perform, write_whole};
pub use pages::Pages;
pub use storage::{Entry, Storage};
pub use writer::{Health, Lost, OpId, Retention, Settings, Trouble, Writer};
