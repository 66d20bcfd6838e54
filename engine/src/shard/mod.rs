//! The shard: one thread that owns its accounts, their links and the switch that decides.

mod ask;
mod batch;
mod clock;
mod closing;
mod frames;
mod links;
pub(crate) mod message;
mod run;
mod rx;
mod tx;
pub(crate) mod wake;

pub(crate) use clock::{NS_PER_MS, now};
pub(crate) use run::{Joints, Settings, Shard};
