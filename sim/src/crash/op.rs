//! What happens to a switch, its disk and its peers: a list of operations, made from the seed. Most are
//! steps of the switch itself, of which chance says which thread takes the next.

use crate::dice::dice;
use crate::history::{Operation, kinds, operations};

kinds! {
    /// One thread takes one step: which.
    Step "step" 8000;
    /// A peer sends a PREPARE: from, to, amount, what becomes of it.
    Send "send" 520;
    /// Time passes: on which scale, how much.
    Wait "wait" 200;
    /// A shard makes an image for a snapshot: which.
    Image "image" 150;
    /// A peer pays: account, amount.
    Credit "credit" 50;
    /// A payment proves void: account, amount.
    Reverse "reverse" 30;
    /// What is owed is set aside: account, and threshold, or as the thresholds of its shard say.
    Freeze "freeze" 50;
    /// What was set aside is paid: which.
    Settle "settle" 25;
    /// What was set aside cannot be paid: which.
    Cancel "cancel" 15;
    /// A key is told of again: which, with which amount.
    Again "again" 40;
    /// Limits of an account change: account, both limits.
    Limits "limits" 20;
    /// A connection is lost, and the peer comes again: account.
    Cut "cut" 20;
    /// A peer stops reading, or reads again: account, which.
    Full "full" 40;
    /// The next call of the disk fails: which of those under way, how.
    Fault "fault" 12;
    /// What would be there, were the power cut now: luck.
    Probe "probe" 60;
    /// The process or the power is gone, and it starts again: which, luck, shards, how often the
    /// power goes while it starts.
    Crash "crash" 24;
    /// As a crash; then a byte is damaged, and this is the end: where.
    Damage "damage" 2;
}

/// One operation.
pub type Op = Operation<Kind>;

/// The operations of a seed.
#[must_use]
pub fn ops_of(seed: u64) -> Vec<Op> {
    let mut dice = dice(&[seed, 0xc0b5]);
    let count = dice.usize(400..1_600);
    operations(&mut dice, count)
}
