//! `cargo xtask`: everything that is done to this repository, as one program.
//!
//! It needs Rust and Node on the machine and nothing else; what it builds or fetches goes under
//! `target/`. A missing tool is a failure with a sentence that says what to install, never a skip.

mod bench;
mod binaries;
mod chain;
mod command;
mod contracts;
mod demo;
mod edges;
mod flamegraph;
mod fuzz;
mod interop;
mod mutants;
mod nightly;
mod npm;
mod pages;
mod peers;
mod rules;
mod sanitize;
mod simulate;
mod source;
mod suite;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::suite::Check;
use crate::workspace::Workspace;

/// A failure as the sentence that the user reads.
type Result<T> = std::result::Result<T, String>;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Runs what this repository can do", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Every check and every test: one part after the other, each with its time
    Test,
    /// Each rule of docs/protocol.md has a test that bears its id, or a reason why not; docs/peers.md
    /// says of other connectors what was seen of them
    Rules,
    /// Which crate may import which, and where `unsafe` may stand
    Edges,
    /// What the pages for users say: commands, links, names, configurations
    Pages,
    /// Real packets through the real switch, and two books that must agree
    Demo(demo::Options),
    /// Third-party clients from npm against the switch
    Interop,
    /// Chain workers on a chain of their own: a node from npm, contracts built from source
    Chain,
    /// Payment channels on EVM chains: built and tested by Forge from npm
    Contracts(contracts::Options),
    /// Faults planted one at a time in a copy: does an assertion about money or answers fail?
    Mutants(mutants::Options),
    /// Runs one bench and keeps its result in bench/results/NAME.json
    Bench(bench::Options),
    /// Where the time of a pair goes: a flamegraph of a scenario and a note, in flamegraphs/
    Flamegraph(flamegraph::Options),
    /// Networks of switches under seeds, and judges that follow every unit
    Simulate(simulate::Options),
    /// libFuzzer on a law of the package m2-fuzz; needs a nightly toolchain
    Fuzz(fuzz::Options),
    /// The tests again with the address and the thread sanitizer; needs a nightly toolchain
    Sanitize(sanitize::Options),
}

fn main() -> ExitCode {
    let workspace = Workspace::here();
    let outcome = match Arguments::parse().task {
        Task::Test => suite::run(&workspace),
        Task::Rules => report(rules::check(&workspace)),
        Task::Edges => report(edges::check(&workspace)),
        Task::Pages => report(pages::check(&workspace)),
        Task::Demo(options) => demo::run(&workspace, &options),
        Task::Interop => interop::run(&workspace).and_then(|count| match count.failed {
            0 => Ok(()),
            failed => Err(format!("{failed} of the interop tests failed")),
        }),
        Task::Chain => chain::run(&workspace).and_then(|count| match count.failed {
            0 => Ok(()),
            failed => Err(format!("{failed} of the tests on a chain failed")),
        }),
        Task::Contracts(options) => {
            contracts::run(&workspace, &options).and_then(|count| match count.failed {
                0 => Ok(()),
                failed => Err(format!("{failed} of the contracts' checks failed")),
            })
        }
        Task::Mutants(options) => mutants::run(&workspace, &options),
        Task::Bench(options) => bench::run(&workspace, &options),
        Task::Flamegraph(options) => flamegraph::run(&workspace, &options),
        Task::Simulate(options) => simulate::run(&workspace, &options),
        Task::Fuzz(options) => fuzz::run(&workspace, &options),
        Task::Sanitize(options) => sanitize::run(&workspace, &options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("error: {sentence}");
            ExitCode::FAILURE
        }
    }
}

/// Whether this program takes the words behind `cargo xtask`; it may miss some.
fn takes<'a>(words: impl Iterator<Item = &'a str>) -> bool {
    use clap::error::ErrorKind::{DisplayHelp, MissingRequiredArgument};
    let read = Arguments::try_parse_from(["cargo xtask"].into_iter().chain(words));
    let is_known =
        |error: clap::Error| matches!(error.kind(), DisplayHelp | MissingRequiredArgument);
    read.map_or_else(is_known, |_| true)
}

/// Prints each check that failed; fails if one did.
fn report(checks: Result<Vec<Check>>) -> Result<()> {
    let count = suite::print_checks(&checks?);
    println!("{} passed, {} failed", count.passed, count.failed);
    if count.failed == 0 { Ok(()) } else { Err("not every check passed".into()) }
}
