//! Benches that verify their answers, and the baselines that they are measured against.
//!
//! A figure comes from runs of the thing and of its baseline that alternate in one process, so
//! that both see the same minute of a shared machine; it is told as a median with an interval.
//! `cargo xtask bench NAME` runs one and keeps its result in `results/`.

#![forbid(unsafe_code)]

pub mod alternate;
pub mod bare;
pub mod distance;
pub mod driver;
pub mod journal;
pub mod pump;
pub mod recorded;
pub mod two_shards;
pub mod workload;
