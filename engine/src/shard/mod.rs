//! The shard: one thread that owns its accounts, their links and the switch that decides.

mod ask;
mod batch;
mod bytes;
mod closing;
pub(crate) mod crossing;
mod due;
pub(crate) mod ending;
#[cfg(feature = "forwarder")]
mod forwarder;
mod frames;
mod links;
pub(crate) mod message;
mod orders;
pub(crate) mod recorder;
mod run;
mod rx;
mod talk;
mod tx;
pub(crate) mod wake;

pub(crate) use orders::Obeyed;
pub(crate) use run::{Joints, Settings, Shard};
