//! Settlement as a pure state machine: what to pay, what to sign, what to send to a chain, and what to
//! credit. No socket, no clock, no disk, no randomness but a seed.
//!
//! Begin at [`Settlement::step`](settlement::Settlement::step).
#![forbid(unsafe_code)]

pub mod chain;
pub mod config;
pub mod counters;
mod ending;
pub mod event;
mod jobs;
pub mod limits;
mod paying;
mod receiving;
mod rest;
pub mod rows;
pub mod scale;
pub mod settlement;
mod sights;
mod transactions;
pub mod views;
pub mod wire;
