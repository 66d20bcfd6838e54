//! The journal thread: records from the shards' rings into batches, batches to the disk, and word back
//! of what is durable. What a journal is, and every byte of it, is `m2-journal`'s.

mod disk;
mod files;
pub mod last_words;
mod open;
pub(crate) mod presence;
pub(crate) mod probe;
mod thread;
mod unwritten;
mod uring;
mod words;

pub(crate) use open::{Running, open};
pub(crate) use words::Words;
