//! What the data plane does closer to the machine than safe Rust goes, behind safe names.
//!
//! ```text
//!   hash_lock   fulfillments checked together: 16 lanes of AVX-512, pairs on SHA-NI, or neither
//!   pages       large tables on large pages, there before they are needed
//!   prefetch    memory that will be read is asked for
//!   ring        messages with packets from one thread to another
//!   wake        who sleeps is woken, and nobody else
//!   sync        what the two are built on: the standard library's atomics and cells, or loom's
//! ```
//!
//! Every `unsafe` block of the packet path stands in this crate, each with its proof beside it, with
//! a safe twin, and with a test that both do the same. Nothing in here decides anything about packets
//! or money, and the crate imports none of ours.

pub mod hash_lock;
mod pages;
pub mod prefetch;
pub mod ring;
mod sync;
pub mod wake;

pub use hash_lock::{HashLocks, Path};
pub use pages::{populate, prefer_large_pages};
pub use prefetch::{prefetch_at, prefetch_read};
pub use ring::{Consumer, Producer, ring};
pub use wake::SleepFlag;
