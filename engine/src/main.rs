//! `m2-switch`: the command line.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

// A sanitizer sees the heap of the system's allocator alone: `cargo xtask sanitize` sets this.
#[cfg(not(m2_system_allocator))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit status when the configuration is wrong, or an address in it cannot be had.
const STATUS_CONFIGURATION: u8 = 2;

/// An Interledger packet switch.
#[derive(Debug, Parser)]
#[command(name = "m2-switch", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the switch. SIGTERM or SIGINT ends it once what is in flight is answered (exit status
    /// 0); a second signal ends it at once (3).
    Run {
        /// The configuration: docs/configuration.md
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Tells everything that is wrong with a configuration, each with its line and its fix, and
    /// starts nothing. Exit status 0 if it is right, 2 if not.
    Check {
        /// The configuration: docs/configuration.md
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    end_with_any_thread();
    let arguments = Arguments::parse();
    let (Command::Run { config: file } | Command::Check { config: file }) = &arguments.command;
    let config = match m2_engine::config::load(file) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(STATUS_CONFIGURATION);
        }
    };
    if let Command::Check { .. } = arguments.command {
        println!(
            "{}: right: {}, {}, {}, {}",
            file.display(),
            counted(config.accounts.len(), "account"),
            counted(config.assets.len(), "asset"),
            counted(config.rates.len(), "rate"),
            counted(config.listen.len(), "listener")
        );
        return ExitCode::SUCCESS;
    }
    match m2_engine::topology::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(STATUS_CONFIGURATION)
        }
    }
}

/// `1 account`, `2 accounts`.
fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// A panic on any thread ends the process, also where panics unwind: half a switch is no state we
/// support.
fn end_with_any_thread() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::abort();
    }));
}
