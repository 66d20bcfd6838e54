//! The settlement process: what stands between the switch and the chains. Binary `m2-settle`.
#![forbid(unsafe_code)]

pub mod evm;
pub mod signer;
pub mod worker;
