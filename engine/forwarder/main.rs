//! `m2-forwarder`: the switch's links, buffers and batches with no switch between them, as the baseline
//! of the figures through sockets. It reads the configuration of a switch, keeps no books, and is built
//! with the feature `forwarder` alone.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Passes packets on for a bench. IT KEEPS NO BOOKS and checks nothing.
#[derive(Debug, Parser)]
#[command(name = "m2-forwarder", version)]
struct Arguments {
    /// The configuration of a switch: its accounts, its listeners, its routes
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = m2_engine::config::load(&arguments.config)
        .map_err(|problems| problems.to_string())
        .and_then(|config| m2_engine::topology::forward(config).map_err(|error| error.to_string()));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
