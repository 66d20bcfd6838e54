//! What the process does with one shard it does with two: the tests of these files once more, with alice
//! and carol on one shard, bob on the other.
//!
//! `support` gives whatever stands in this crate a second shard, by its name.

#![allow(clippy::duplicate_mod)] // each file brings its own `support`

#[path = "disk.rs"]
mod disk;
#[path = "forwarding.rs"]
mod forwarding;
#[path = "links.rs"]
mod links;
#[path = "process.rs"]
mod process;
#[path = "settlement.rs"]
mod settlement;
