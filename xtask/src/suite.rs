//! `cargo xtask test`: every part in order, each with its time, a table, and one last line.
//!
//! Invariant: a part that fails stops no other, and every part either ran or counts as a failure.
//! The last line is `N passed, N failed`; each test of cargo and of Node counts as one, and so
//! does each single check.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::Result;
use crate::command::{self, Show};
use crate::demo::Options;
use crate::workspace::Workspace;
use crate::{binaries, chain, contracts, demo, edges, interop, pages, rules, simulate};

/// One thing that was looked at.
pub(crate) struct Check {
    pub(crate) name: String,
    /// What is wrong and where, in words; none if it passed.
    pub(crate) fault: Option<String>,
}

impl Check {
    pub(crate) fn passed(name: &str) -> Self {
        Self { name: name.to_owned(), fault: None }
    }

    pub(crate) fn failed(name: &str, fault: String) -> Self {
        Self { name: name.to_owned(), fault: Some(fault) }
    }
}

/// How many passed and how many did not.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Count {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

impl Count {
    const PASSED: Self = Self { passed: 1, failed: 0 };
    const FAILED: Self = Self { passed: 0, failed: 1 };

    pub(crate) fn plus(self, other: Self) -> Self {
        Self { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }
}

/// A part of the suite. An error is one failure, and its sentence says what to do.
type Part = fn(&Workspace) -> Result<Count>;

const PARTS: &[(&str, Part)] = &[
    ("format", format),
    ("lints", lints),
    ("docs", docs),
    ("rules", |workspace| rules::check(workspace).map(|checks| print_checks(&checks))),
    ("edges", |workspace| edges::check(workspace).map(|checks| print_checks(&checks))),
    ("tests", tests),
    ("loom", loom),
    ("simulation", |workspace| simulate::networks_for_the_suite(workspace).map(|()| Count::PASSED)),
    ("crashes", |workspace| simulate::crashes_for_the_suite(workspace).map(|()| Count::PASSED)),
    ("pages", |workspace| pages::check(workspace).map(|checks| print_checks(&checks))),
    ("interop", interop::run),
    ("contracts", |workspace| contracts::run(workspace, &contracts::Options::default())),
    ("demo", short_demo),
    ("settlement", |workspace| {
        let options = demo::settlement::Options::for_the_suite(binaries::for_tests(workspace)?);
        demo::settlement::run(workspace, &options).map(|()| Count::PASSED)
    }),
];

/// Runs all parts.
///
/// # Errors
///
/// When anything failed, after the last line.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let started = Instant::now();
    let mut table = Vec::new();
    for (name, part) in PARTS {
        println!("\n== {name}");
        let (count, time) = run_part(*part, workspace);
        println!("-- {name}: {:.1} s", time.as_secs_f64());
        table.push((*name, count, time));
    }
    let total = table.iter().fold(Count::default(), |sum, (_, count, _)| sum.plus(*count));
    println!("\n{:<10} {:>9} {:>7} {:>7}", "part", "time", "passed", "failed");
    for (name, count, time) in &table {
        print_row(name, *count, *time);
    }
    print_row("all", total, started.elapsed());
    println!("\n{} passed, {} failed", total.passed, total.failed);
    if total.failed == 0 { Ok(()) } else { Err("not everything passed".into()) }
}

/// Prints what is wrong; counts.
pub(crate) fn print_checks(checks: &[Check]) -> Count {
    let mut count = Count::default();
    for check in checks {
        match &check.fault {
            None => count.passed += 1,
            Some(fault) => {
                count.failed += 1;
                println!("FAILED {}: {fault}", check.name);
            }
        }
    }
    count
}

fn run_part(part: Part, workspace: &Workspace) -> (Count, Duration) {
    let started = Instant::now();
    let count = part(workspace).unwrap_or_else(|sentence| {
        println!("FAILED: {sentence}");
        Count::FAILED
    });
    // A part in which nothing was looked at has not passed.
    let count = if count == Count::default() { Count::FAILED } else { count };
    (count, started.elapsed())
}

fn print_row(name: &str, count: Count, time: Duration) {
    println!("{name:<10} {:>7.1} s {:>7} {:>7}", time.as_secs_f64(), count.passed, count.failed);
}

fn format(workspace: &Workspace) -> Result<Count> {
    component(workspace, "fmt", "rustfmt")?;
    one(&mut command::cargo(workspace, &["fmt", "--all", "--check"]))
}

/// What switches on the forwarder of the benches, which is in nothing that is shipped: its lints and its
/// tests run beside those of the rest.
const FORWARDER: &str = "--features=m2-engine/forwarder";

fn lints(workspace: &Workspace) -> Result<Count> {
    component(workspace, "clippy", "clippy")?;
    let clippy = |features: &[&str]| {
        let mut clippy = command::cargo(workspace, &["clippy", "--workspace", "--all-targets"]);
        one(clippy.args(features).args(["--", "-D", "warnings"]))
    };
    Ok(clippy(&[])?.plus(clippy(&[FORWARDER])?))
}

fn docs(workspace: &Workspace) -> Result<Count> {
    let mut doc = command::cargo(workspace, &["doc", "--no-deps", "--workspace"]);
    one(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Those of m2-settle have a chain, if npm is within reach; if it is not, that is one failure, and the others run.
fn tests(workspace: &Workspace) -> Result<Count> {
    let mut all = command::cargo(workspace, &["test", "--workspace", "--no-fail-fast"]);
    let of_chain = match chain::Tools::prepared(workspace) {
        Ok(tools) => {
            tools.tell(&mut all);
            Count::default()
        }
        Err(sentence) => {
            println!("FAILED: no chain to test on: {sentence}");
            Count::FAILED
        }
    };
    let of_forwarder = ["test", "--workspace", "--lib", FORWARDER, "forwarder"];
    let of_forwarder = counted(&mut command::cargo(workspace, &of_forwarder))?;
    Ok(counted(&mut all)?.plus(of_forwarder).plus(of_chain))
}

/// What two threads share, in every order. The flag changes what is built of every crate: in a folder of
/// its own, so that nothing else is built again.
fn loom(workspace: &Workspace) -> Result<Count> {
    let arguments = ["test", "-p", "m2-accel", "--test", "loom", "--no-fail-fast"];
    let mut cargo = command::cargo(workspace, &arguments);
    cargo.env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", workspace.target().join("loom"));
    counted(&mut cargo)
}

/// Runs tests by cargo, and reads how many there were.
pub(crate) fn counted(command: &mut Command) -> Result<Count> {
    let output = command::run(command, Show::Lines)?;
    let count = output
        .lines
        .iter()
        .filter_map(|line| cargo_count(line))
        .fold(Count::default(), |sum, count| sum.plus(count));
    // What does not compile, or dies before its summary, prints no count.
    let is_silent_failure = !output.success && count.failed == 0;
    Ok(if is_silent_failure { count.plus(Count::FAILED) } else { count })
}

/// Once with one shard, and once with two.
fn short_demo(workspace: &Workspace) -> Result<Count> {
    let binaries = binaries::for_tests(workspace)?;
    let mut count = Count::default();
    for shards in [1, 2] {
        let options = Options::for_the_suite(binaries.clone(), shards);
        count = count.plus(demo::run(workspace, &options).map(|()| Count::PASSED)?);
    }
    Ok(count)
}

fn one(command: &mut Command) -> Result<Count> {
    let output = command::run(command, Show::Lines)?;
    Ok(if output.success { Count::PASSED } else { Count::FAILED })
}

fn component(workspace: &Workspace, subcommand: &str, component: &str) -> Result<()> {
    let advice =
        format!("{component} is missing: install it with `rustup component add {component}`");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command::need(cargo.current_dir(workspace.root()).arg(subcommand), &advice).map(drop)
}

/// The count in `test result: ok. 3 passed; 0 failed; 0 ignored; ...`. A test that is ignored is
/// one that nobody runs: it counts as failed.
fn cargo_count(line: &str) -> Option<Count> {
    let (_, counts) = line.trim_start().strip_prefix("test result: ")?.split_once(". ")?;
    let number = |word: &str| -> Option<usize> {
        let part = counts.split(';').map(str::trim).find(|part| part.ends_with(word))?;
        part.split(' ').next()?.parse().ok()
    };
    Some(Count { passed: number("passed")?, failed: number("failed")? + number("ignored")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_cargo_are_read_from_its_result_lines() {
        let line = "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; \
                    0 filtered out; finished in 0.01s";
        assert_eq!(cargo_count(line), Some(Count { passed: 12, failed: 0 }));
        let line = "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured";
        assert_eq!(cargo_count(line), Some(Count { passed: 3, failed: 2 }));
        assert_eq!(cargo_count("test tests::a_result ... ok"), None);
    }

    #[test]
    fn an_ignored_test_counts_as_failed() {
        let line = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured";
        assert_eq!(cargo_count(line), Some(Count { passed: 3, failed: 1 }));
    }

    #[test]
    fn a_part_that_looked_at_nothing_or_could_not_run_has_failed() {
        let workspace = Workspace::here();
        assert_eq!(run_part(|_| Ok(Count::default()), &workspace).0, Count::FAILED);
        assert_eq!(run_part(|_| Err("no tool".into()), &workspace).0, Count::FAILED);
        assert_eq!(run_part(|_| Ok(Count::PASSED), &workspace).0, Count::PASSED);
    }
}
