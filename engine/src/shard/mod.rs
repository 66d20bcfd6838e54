//! The shard: one thread that owns its accounts, their links and the switch that decides.

mod batch;
mod clock;
mod closing;
mod links;
pub(crate) mod message;
mod run;
mod rx;
mod tx;
pub(crate) mod wake;

pub(crate) use clock::{NS_PER_MS, now};
pub(crate) use run::{Joints, Settings, Shard};
pub(crate) use rx::RECEIVED_LEN_MAX;
