//! The simulations as judges: the same seeds over every mutant, until one fails.
//!
//! It says on one line which seed failed, what was said and where; that is all that is waited for, as
//! the history of a mutant need not be shrunk.

use std::fs;
use std::process::Command;

use super::copy::Copy;
use super::faults::Area;
use super::judges::{Failure, Panic};
use super::suite::{self, Ended};
use crate::Result;

/// The package, and its binary.
const PACKAGE: &str = "m2-sim";
/// How many seeds may fail by something that does not count before the next is not looked at.
const LOOKS_MAX: usize = 4;

/// One of the two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Simulation {
    /// Whole networks.
    Networks,
    /// One switch, its journal and its disk, killed at any moment.
    Crashes,
}

impl Simulation {
    /// What it is called where a mutant is caught by it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Networks => "m2-sim",
            Self::Crashes => "m2-sim crash",
        }
    }

    /// Whether code of this area decides anything in it.
    pub(crate) fn meets(self, area: Area) -> bool {
        match self {
            Self::Networks => matches!(area, Area::Codec | Area::Core),
            Self::Crashes => matches!(area, Area::Core | Area::Journal),
        }
    }

    /// Its scene with a power cut after every step stays out: it takes longer than the seeds.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Networks => &[],
            Self::Crashes => &["crash", "--sweep", "none"],
        }
    }
}

/// What the seeds said of a mutant.
#[derive(Debug)]
pub(crate) enum Seeds {
    /// The simulation does not compile: the first error.
    NotCompiled(String),
    /// All passed.
    Passed,
    /// These failed, the last by something that counts if any did.
    Failed(Vec<Failure>),
    /// It neither passed nor said which seed failed: a crash, or its time was up.
    Cut,
}

/// Builds a simulation in the copy and runs `count` seeds. `counts` judges a seed that failed: if
/// it does not count, the seeds after it go on.
///
/// # Errors
///
/// When cargo or the simulation cannot be started.
pub(crate) fn run(
    copy: &Copy,
    simulation: Simulation,
    count: u64,
    counts: impl Fn(&Failure) -> bool,
) -> Result<Seeds> {
    let arguments = ["build", "--package", PACKAGE, "--bin", PACKAGE];
    if let Err(error) = suite::build(copy, &arguments)? {
        return Ok(Seeds::NotCompiled(error));
    }
    let history = copy.target().join("output").join("history");
    let mut failed: Vec<Failure> = Vec::new();
    let mut from = 1;
    while from <= count && failed.len() < LOOKS_MAX {
        let mut command = Command::new(copy.target().join("debug").join(PACKAGE));
        command.current_dir(copy.root()).args(simulation.arguments());
        command.args(["--from", &from.to_string(), "--seeds", &(count - from + 1).to_string()]);
        command.arg("--found").arg(&history);
        let (output, ended) = suite::output_of(copy, simulation.name(), &mut command, has_failed)?;
        match (failure(&output), ended) {
            (Some((seed, failure)), _) => {
                from = seed + 1;
                let is_enough = counts(&failure);
                failed.push(failure);
                if is_enough {
                    break;
                }
            }
            (None, Ended::Well) => break,
            (None, _) => return Ok(Seeds::Cut),
        }
    }
    let _ = fs::remove_file(history);
    Ok(if failed.is_empty() { Seeds::Passed } else { Seeds::Failed(failed) })
}

const FAILED: &str = "FAILED seed ";
/// What is printed next.
const SHRINKING: &str = "\nshrinking ";

/// Whether a failure has been told whole.
fn has_failed(output: &str) -> bool {
    output.split_once(FAILED).is_some_and(|(_, rest)| rest.contains(SHRINKING))
}

/// The seed that failed, and how, from a line `FAILED seed 7: what was said (file:line:column)`.
fn failure(output: &str) -> Option<(u64, Failure)> {
    let start = output.find(FAILED)?;
    let (seed, rest) = output[start + FAILED.len()..].split_once(": ")?;
    // What was said may have several lines; the place ends the last of them.
    let (rest, _) = rest.split_once(SHRINKING)?;
    let (says, place) = rest.trim_end().strip_suffix(')')?.rsplit_once(" (")?;
    let mut place = place.rsplitn(3, ':');
    let (column, line) = (place.next()?.parse().ok()?, place.next()?.parse().ok()?);
    let says = says.lines().next().unwrap_or_default().to_owned();
    let panic = Panic { file: place.next()?.to_owned(), line, column, says };
    let failure = Failure { test: format!("seed {seed}"), panics: vec![panic] };
    Some((seed.parse().ok()?, failure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_that_failed_is_read_with_what_was_said_and_where() {
        for (output, says) in [
            (
                "FAILED seed 7: equation 1: a unit is lost: 3 (sim/src/judge/equations.rs:30:9)\n\
                 shrinking 9 operations ...\n",
                "equation 1: a unit is lost: 3",
            ),
            (
                "words\nFAILED seed 7: equation 1: (a) is\n  left: 1\n right: (2) \
                 (sim/src/judge/equations.rs:30:9)\nshrinking 40 operations ...\nmore\n",
                "equation 1: (a) is",
            ),
        ] {
            let (seed, failure) = failure(output).unwrap();
            assert_eq!((seed, failure.test.as_str()), (7, "seed 7"));
            let file = "sim/src/judge/equations.rs".to_owned();
            assert_eq!(failure.panics, [Panic { file, line: 30, column: 9, says: says.into() }]);
        }
    }

    #[test]
    fn a_run_without_a_failure_has_none() {
        assert_eq!(failure("300 seeds in 3.0 s on 2 threads: 100 seeds a second\n"), None);
    }
}
