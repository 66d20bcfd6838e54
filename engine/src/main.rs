//! `m2-switch`: the command line.

#![forbid(unsafe_code)]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use m2_engine::config::Config;
use m2_engine::topology::Ending;

// A sanitizer sees the heap of the system's allocator alone: `cargo xtask sanitize` sets this.
#[cfg(not(m2_system_allocator))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit status when the configuration is wrong, or an address in it cannot be had.
const STATUS_CONFIGURATION: u8 = 2;

/// Exit status when the journal's disk failed: what could not be recorded is in the log.
const STATUS_JOURNAL: u8 = 4;

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
    /// 0); a second signal ends it at once (3). When the journal has failed it ends by itself (4).
    Run(Subject),
    /// Tells everything that is wrong with a configuration, each with its line and its fix, and
    /// starts nothing. Exit status 0 if it is right, 2 if not.
    Check(Subject),
}

#[derive(Args, Debug)]
struct Subject {
    /// The configuration: docs/configuration.md
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Accept accounts with durability = "none", whose debts a restart forgets.
    #[arg(long)]
    accept_loss: bool,
}

fn main() -> ExitCode {
    end_with_any_thread();
    let arguments = Arguments::parse();
    let (Command::Run(subject) | Command::Check(subject)) = &arguments.command;
    let config = m2_engine::config::load(&subject.config).and_then(|config| {
        if !subject.accept_loss {
            config.refuse_loss()?;
        }
        Ok(config)
    });
    let config = match config {
        Ok(config) => config,
        Err(problems) => return refuse(&problems),
    };
    if let Command::Check(_) = arguments.command {
        return match m2_engine::check::refuse(&config) {
            Ok(()) => {
                tell_right(&config);
                ExitCode::SUCCESS
            }
            Err(error) => refuse(&error),
        };
    }
    match m2_engine::topology::run(config) {
        Ok(Ending::InOrder) => ExitCode::SUCCESS,
        Ok(Ending::JournalFailed) => ExitCode::from(STATUS_JOURNAL),
        Err(error) => refuse(&error),
    }
}

/// Says why, if anybody listens; the status says it in any case.
fn refuse(why: &dyn core::fmt::Display) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{why}");
    ExitCode::from(STATUS_CONFIGURATION)
}

fn tell_right(config: &Config) {
    println!(
        "{}: right: {}, {}, {}, {}",
        config.file.display(),
        counted(config.accounts.len(), "account"),
        counted(config.assets.len(), "asset"),
        counted(config.rates.len(), "rate"),
        counted(config.listen.len(), "listener")
    );
    for warning in m2_engine::check::warnings(config) {
        println!("warning: {warning}");
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
        m2_engine::last_words::wait();
        std::process::abort();
    }));
}
