//! The settlement process: what stands between the switch and the chains. Binary `m2-settle`.
//!
//! Begin at [`process::run`]: one loop takes events, has the core decide, makes durable what it has decided, and
//! then does it.
#![forbid(unsafe_code)]

pub mod config;
mod control;
pub mod evm;
mod exhaustion;
mod limits;
mod line;
pub mod process;
pub mod signer;
pub mod store;
mod switch;
pub mod worker;
