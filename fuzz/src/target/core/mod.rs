//! The core of a switch of one or two shards, fed with any order of well-typed inputs.
//!
//! ```text
//!   bytes --> settings, then one operation after the other --> World: switches, edge, books
//!                                                               |  after each: judge::held
//!                                                               '  at the end: all quiet, judge::quiet
//! ```
//!
//! Invariant: an operation is legal for any shell of the core, whatever the bytes are; so an
//! assertion of the core that fails is a fault of the core.

mod edge;
mod judge;
mod operations;
mod world;

use crate::reference::Bytes;
use operations::operation;
use world::World;

/// Most operations of one input: it bounds the time of one.
const OPERATIONS_MAX: usize = 60;

/// No order of inputs makes the core fail an assertion; what is held is the sum over packets without
/// an answer; a packet gets one answer at most, on the connection and under the id that it came with;
/// what leaves is what came but for amount, expiry and id, at the rate and the margin; what accounts
/// owe is the sum of records, credits and settlements; and once all is quiet nothing is held.
pub fn core(data: &[u8]) {
    let mut bytes = Bytes(data);
    let Some(mut world) = World::new(&mut bytes) else { return };
    for _ in 0..OPERATIONS_MAX {
        if operation(&mut world, &mut bytes).is_none() {
            break;
        }
        judge::held(&world);
    }
    world.quiet();
    judge::quiet(&mut world);
}
