//! Settlement as a pure state machine: what to pay, what to sign, what to send to a chain, and what to
//! credit. No socket, no clock, no disk, no randomness but a seed.
#![forbid(unsafe_code)]

pub mod chain;
