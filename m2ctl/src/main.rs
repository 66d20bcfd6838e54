//! `m2ctl`: the operator's command line.
//!
//! ```text
//! 0    done, and nothing is wrong
//! 1    damage or a difference was found: the output says where
//! 2    the command line cannot be used, or what it names cannot be read
//! ```
//!
//! Invariant: nothing is written but by `journal cut --yes`, and no bytes in a journal or a dump are
//! a panic.

#![forbid(unsafe_code)]

mod journal;
mod output;
mod progress;
mod time;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

// A sanitizer sees the heap of the system's allocator alone: `cargo xtask sanitize` sets this.
#[cfg(not(m2_system_allocator))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What operators of m2-switch ask and do, besides running it.
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
}

fn main() -> ExitCode {
    let Command::Journal(command) = Arguments::parse().command;
    match journal::run(&command) {
        Ok(verdict) => ExitCode::from(verdict.status()),
        Err(failure) => ExitCode::from(failure.tell()),
    }
}
