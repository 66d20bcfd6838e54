//! A seed and a history: what is run, what is printed when it fails, and read to run it again.

use core::fmt;
use core::str::FromStr;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use crate::coverage::Coverage;
use crate::history::{History, cap};
use crate::op::{Op, ops_of};
use crate::plan::Caps;
use crate::world::World;

/// The first line of a history: its form.
const HEAD: &str = "m2-sim 1";

/// What is run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Case {
    /// Everything but the operations follows from it.
    pub seed: u64,
    /// How much of its network is there.
    pub caps: Caps,
    /// What happens.
    pub ops: Vec<Op>,
    /// A unit that a test hides in the books; none in a history.
    pub sabotage: Option<Sabotage>,
}

/// A fault in the books of the simulation, to see the judges find it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sabotage {
    /// After so many operations the first account has a unit more than it had.
    Unit(usize),
    /// After so many operations the first endpoint was paid a unit that nobody sent.
    Payment(usize),
    /// After so many operations a packet that is in flight is forgotten.
    Packet(usize),
    /// After so many operations a shard is told that its records are durable which are not.
    Record(usize),
}

/// A case in which all judges were content.
#[derive(Clone, Debug)]
pub struct Passed {
    /// What occurred.
    pub coverage: Coverage,
    /// Depends on everything that left any core, and when.
    pub digest: u64,
}

/// A case in which something did not hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// What, by the judge or the core.
    pub message: String,
    /// Where in the source.
    pub place: String,
}

impl Failure {
    /// What failed, without the figures: shrinking keeps to it.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.place
    }
}

thread_local! {
    static LAST: RefCell<Option<Failure>> = const { RefCell::new(None) };
    static IS_CASE: RefCell<bool> = const { RefCell::new(false) };
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
    /// What failed, be it a judge or an assertion of the core.
    pub fn run(&self) -> Result<Passed, Failure> {
        caught(|| {
            let mut world = World::new(self.seed, self.caps);
            world.play(&self.ops, self.sabotage);
            Passed { coverage: world.net.coverage, digest: world.net.digest }
        })
    }
}

/// Runs a case: what it panics with is its failure.
///
/// # Errors
///
/// What failed.
pub(crate) fn caught<T>(case: impl FnOnce() -> T) -> Result<T, Failure> {
    keep_panics();
    IS_CASE.set(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(case));
    IS_CASE.set(false);
    outcome.map_err(|_| LAST.take().expect("the hook has written it down"))
}

/// Writes down what a case panics with, instead of printing it; others print as ever.
fn keep_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IS_CASE.with_borrow(|is_case| *is_case) {
                return before(info);
            }
            let message = info.payload_as_str().unwrap_or("a panic without words").to_owned();
            let place = info.location().map_or_else(String::new, ToString::to_string);
            LAST.set(Some(Failure { message, place }));
        }));
    });
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let caps = [self.caps.switches as u64, self.caps.shards.into()];
        History { seed: self.seed, caps, ops: self.ops.clone() }.write(f, HEAD)
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let History { seed, caps: [switches, shards], ops } = History::read(text, HEAD)?;
        let caps = Caps { switches: cap(switches)?, shards: cap(shards)? };
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
        let commented = format!("# found by somebody\n{case}");
        assert_eq!(commented.parse(), Ok(case));
    }

    #[test]
    fn what_is_no_history_is_refused_with_a_sentence() {
        for text in ["", "m2-sim 2\n", "m2-sim 1\nseed x\n", "m2-sim 1\nseed 1\ncaps 1\n"] {
            assert!(text.parse::<Case>().is_err(), "{text:?}");
        }
        assert!("m2-sim 1\nseed 1\ncaps 2 1\nsend 1\n".parse::<Case>().is_err());
    }
}
