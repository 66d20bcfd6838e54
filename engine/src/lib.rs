//! The process around the core: configuration, links, the loop of a shard, the control thread.

pub mod config;
