//! `m2-settle`: the command line.

#![forbid(unsafe_code)]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use m2_settle::config::{self, Checked, LogFormat};
use m2_settle::process::{self, Ending};

/// Exit status when the configuration is wrong, or something in it cannot be had.
const STATUS_CONFIGURATION: u8 = 2;

/// Exit status when the store failed.
const STATUS_STORE: u8 = 4;

/// Settles what a switch owes and is owed, on chains.
#[derive(Debug, Parser)]
#[command(name = "m2-settle", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs until SIGTERM or SIGINT. It may be killed at any moment, and goes on when it starts again.
    Run(Subject),
    /// Tells everything that is wrong with a configuration, and starts nothing.
    Check(Subject),
}

#[derive(Args, Debug)]
struct Subject {
    /// The configuration: docs/settlement.md
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

fn main() -> ExitCode {
    end_with_any_thread();
    let arguments = Arguments::parse();
    let (Command::Run(subject) | Command::Check(subject)) = &arguments.command;
    let config = match config::load(&subject.config) {
        Ok(config) => config,
        Err(wrong) => return refuse(&wrong),
    };
    if let Command::Check(_) = arguments.command {
        println!(
            "{}: right: {} that settle, on {}",
            subject.config.display(),
            counted(config.accounts.len(), "account"),
            counted(config.chains.len(), "chain")
        );
        return ExitCode::SUCCESS;
    }
    start_log(&config);
    match process::run(&config) {
        Ok(Ending::InOrder) => ExitCode::SUCCESS,
        Ok(Ending::StoreFailed) => ExitCode::from(STATUS_STORE),
        Err(wrong) => refuse(&wrong),
    }
}

/// Says why, if anybody listens; the status says it in any case.
fn refuse(why: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{why}");
    ExitCode::from(STATUS_CONFIGURATION)
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

fn start_log(config: &Checked) {
    let builder = tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false);
    match config.log {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}

/// A failed assertion, or a panic on any thread, ends the process: what it would do next rests on what it knows.
fn end_with_any_thread() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::abort();
    }));
}
