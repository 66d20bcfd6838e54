//! A seed and a history of crashes: what is run, what is printed when it fails, and read to run it
//! again.

use core::fmt;
use core::str::FromStr;
use std::rc::Rc;

use super::op::{Op, ops_of};
use super::plan::{Caps, Plan};
use super::seen::Seen;
use super::tape::Tape;
use super::world::World;
use crate::case::{Failure, caught};
use crate::history::{History, cap};
use crate::shrink::shorten;

/// The first line of a history: its form.
const HEAD: &str = "m2-sim crash 1";

/// What is run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Case {
    /// Everything but the operations follows from it.
    pub seed: u64,
    /// How much of its switch is there.
    pub caps: Caps,
    /// What happens.
    pub ops: Vec<Op>,
    /// A fault that a test hides in the machine; none in a history.
    pub sabotage: Option<Sabotage>,
}

/// A fault of the machine around the journal, to see the judges find it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sabotage {
    /// The disk says that it has flushed, and has not.
    FlushLeftOut,
    /// Records are told to be durable when they are written, before they are flushed.
    DurableAtWrite,
}

impl Case {
    /// All that a seed makes happen.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        Self { seed, caps: Caps::NONE, ops: ops_of(seed), sabotage: None }
    }

    /// Runs it.
    ///
    /// # Errors
    ///
    /// What failed, be it a judge, or an assertion of the core or the journal.
    pub fn run(&self) -> Result<Seen, Failure> {
        caught(|| self.play(&mut World::new(self.seed, self.caps, false)))
    }

    /// Runs it again, and tells what happened up to its end or its failure.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        let mut world = World::new(self.seed, self.caps, true);
        let failed = caught(|| self.play(&mut world)).err();
        let mut lines = world.trace.take().unwrap_or_default();
        lines.extend(failed.map(|failure| failure.message));
        lines
    }

    /// Runs it, and tells what each of its lives was fed.
    ///
    /// # Errors
    ///
    /// As [`Self::run`].
    pub fn tapes(&self) -> Result<Vec<Tape>, Failure> {
        caught(|| {
            let plan = Plan::of(self.seed, self.caps).taped();
            let mut world = World::of(Rc::new(plan), false);
            world.tapes = Some(Vec::new());
            self.play(&mut world);
            world.tapes.take().unwrap_or_default()
        })
    }

    /// The shortest case found that fails in the same place.
    #[must_use]
    pub fn shrink(&self, failure: &Failure) -> Self {
        let fails = |case: &Self| case.run().is_err_and(|other| other.kind() == failure.kind());
        let mut best = self.clone();
        for caps in [(2, 1), (2, 2), (3, 2), (6, 1), (6, 2)] {
            let caps = Caps { accounts: caps.0, shards: caps.1 };
            let smaller = Self { caps, ..best.clone() };
            if fails(&smaller) {
                best = smaller;
                break;
            }
        }
        let ops = shorten(&best.ops, |ops| fails(&Self { ops: ops.to_vec(), ..best.clone() }));
        Self { ops, ..best }
    }

    fn play(&self, world: &mut World) -> Seen {
        world.sabotage = self.sabotage;
        world.disk.is_lying = self.sabotage == Some(Sabotage::FlushLeftOut);
        for op in &self.ops {
            world.act(op);
            if world.is_over {
                break;
            }
        }
        if !world.is_over {
            world.crash(self.seed, self.seed, self.seed, 1);
        }
        world.seen.steps = world.steps;
        core::mem::take(&mut world.seen)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let caps = [self.caps.accounts.into(), self.caps.shards.into()];
        History { seed: self.seed, caps, ops: self.ops.clone() }.write(f, HEAD)
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let History { seed, caps: [accounts, shards], ops } = History::read(text, HEAD)?;
        let caps = Caps { accounts: cap(accounts)?, shards: cap(shards)? };
        Ok(Self { seed, caps, ops, sabotage: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_survives_being_written_and_read() {
        let case = Case::of(3);
        assert_eq!(case.to_string().parse(), Ok(case.clone()));
        assert!("m2-sim 1\nseed 1\ncaps 1 1\n".parse::<Case>().is_err());
        assert!("m2-sim crash 1\nseed 1\ncaps 2 1\nsend 1\n".parse::<Case>().is_err());
        assert!("m2-sim crash 1\nseed 1\ncaps 2 1\ndance 1 2 3 4\n".parse::<Case>().is_err());
    }
}
