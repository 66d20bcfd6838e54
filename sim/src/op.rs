//! What happens to a network from outside: a list of operations, made from the seed.

use crate::dice::dice;
use crate::history::{Operation, kinds, operations};

kinds! {
    /// Lets time pass: microseconds.
    Wait "wait" 110;
    /// An endpoint sends PREPAREs: sender, receiver, how many, salt.
    Send "send" 110;
    /// An endpoint asks a switch for what it answers itself: endpoint, kind, how many.
    Own "own" 4;
    /// An endpoint sends what is no PREPARE, or no frame: endpoint, salt.
    Garbage "garbage" 4;
    /// An endpoint sends an earlier PREPARE again, under its id: endpoint, which.
    Repeat "repeat" 4;
    /// A connection is lost: link, at which byte of what is under way.
    Cut "cut" 4;
    /// A second connection replaces the first: link.
    Replace "replace" 3;
    /// An endpoint does not read: endpoint, milliseconds.
    Deaf "deaf" 2;
    /// A shard does nothing: switch, shard, milliseconds.
    Stall "stall" 3;
    /// A wall clock steps: switch, how far.
    Step "step" 3;
    /// A peer pays: link, to which end, amount.
    Credit "credit" 6;
    /// A payment proves void: link, at which end, amount.
    Reverse "reverse" 2;
    /// A switch sets aside what it owes: link, end, threshold.
    Freeze "freeze" 8;
    /// What was set aside is paid: switch, which.
    Settle "settle" 6;
    /// What was set aside cannot be paid: switch, which.
    Cancel "cancel" 2;
    /// Limits of an account change: link, end, both limits.
    Limits "limits" 3;
    /// New rates, which the shards of the switch get one after the other: switch, salt.
    Rates "rates" 4;
    /// New routes, likewise: switch, salt.
    Routes "routes" 2;
    /// A switch takes no new PREPAREs for a while: switch, milliseconds.
    Drain "drain" 1;
    /// Records are taken out: switch.
    Records "records" 6;
    /// A journal stands still, and refuses or does not, or fails: switch, which, milliseconds.
    Journal "journal" 4;
}

/// One operation.
pub type Op = Operation<Kind>;

/// The operations of a seed.
#[must_use]
pub fn ops_of(seed: u64) -> Vec<Op> {
    let mut dice = dice(&[seed, 0x0b5]);
    let count = dice.usize(240..420);
    operations(&mut dice, count)
}
