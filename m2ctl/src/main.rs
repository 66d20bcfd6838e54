//! `m2ctl`: the operator's command line.
//!
//! ```text
//! 0    done, and nothing is wrong
//! 1    damage or a difference was found: the output says where
//! 2    the command line cannot be used, or what it names cannot be read
//! ```
//!
//! Invariant: nothing is written but by `journal cut --yes`, and no bytes in a journal, a dump or an answer
//! are a panic.

#![forbid(unsafe_code)]

mod journal;
mod output;
mod progress;
mod settlement;
mod time;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

// A sanitizer sees the heap of the system's allocator alone: `cargo xtask sanitize` sets this.
#[cfg(not(m2_system_allocator))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What operators of m2-switch and m2-settle ask and do, besides running them.
#[derive(Debug, Parser)]
#[command(name = "m2ctl", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look into the journal of a switch, which may be running, and compare it with a peer's.
    ///
    /// Exit status of each: 0 nothing is wrong, 1 damage or a difference was found, 2 the command
    /// line cannot be used or something cannot be read. docs/m2ctl.md tells more.
    #[command(subcommand)]
    Journal(journal::Command),
    /// Ask a running m2-settle how payment channels are, and tell it what to pay, redeem or close.
    ///
    /// docs/settlement.md tells more.
    #[command(subcommand)]
    Settlement(settlement::Command),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Journal(command) => journal::run(&command),
        Command::Settlement(command) => settlement::run(&command),
    };
    match done {
        Ok(verdict) => ExitCode::from(verdict.status()),
        Err(failure) => ExitCode::from(failure.tell()),
    }
}
