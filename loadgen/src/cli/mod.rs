//! The command line, and what the exit status says.
//!
//! ```text
//! 0    the run went as the workload said, and the books agree; no check failed
//! 1    it did not: the report's last lines say where; a check failed
//! 2    the command line or the workload file cannot be used
//! 3    no connection: refused, wrong token, or lost on the way (the report is then partial)
//! 4    the run went as the workload said, and did not reach what --require asks of it
//! 130  SIGINT or SIGTERM: the first ends the sending, and the report is partial; the second ends
//!      the process at once, without one
//! ```

mod apart;
mod calibrate;
mod compare;
mod conformance;
mod drive;
mod numbers;
mod receive;
mod run;
mod search;
mod units;
mod workload;
mod workloads;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Parser, Subcommand};

use crate::conformance::ConformanceArgs;
use crate::run::{Part, RunError};
use calibrate::CalibrateArgs;
use compare::CompareArgs;
use receive::ReceiveArgs;
use run::RunArgs;
use search::SearchArgs;
use workloads::WorkloadsArgs;

const FAILED: u8 = 1;
const UNUSABLE: u8 = 2;
const NO_CONNECTION: u8 = 3;
const NOT_AS_REQUIRED: u8 = 4;

/// Packet generator and receiver for Interledger connectors that speak BTP.
///
/// Open loop: latency is counted from the time each packet was scheduled, not from when it was
/// sent, so that a stall of the target, or of the generator, shows.
#[derive(Debug, Parser)]
#[command(name = "m2-load", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send and receive by a workload file, with both ends in this process.
    ///
    /// Exit status: 0 all as expected, 1 it was not, 2 bad command line or workload, 3 no
    /// connection or one that was lost, 4 not what --require asks for, 130 ended by SIGINT or
    /// SIGTERM.
    Run(RunArgs),
    /// Play the sending ends of a workload; `m2-load receive` plays the others, in another process or
    /// on another machine, and tells its books through the target.
    ///
    /// Exit status: as of `run`; 3 also where no receiver answers.
    Send(RunArgs),
    /// Play the receiving ends of a workload, for any number of `m2-load send`, until a signal, or as
    /// long as --seconds and --runs say.
    ///
    /// Exit status: 0 no PREPARE had a fault, 1 one did, 2 bad command line or workload, 3 no
    /// connection or one that was lost, 130 a signal came before --seconds or --runs were over.
    Receive(ReceiveArgs),
    /// Find the highest rate that the target takes without loss: short trials narrow, long ones
    /// confirm, and each is printed as it ends.
    ///
    /// Exit status: 0 a rate was found, 1 even the lowest was too high, or a trial had a fault that no
    /// rate excuses, 2 bad command line or workload, 3 a trial could not begin, 130 ended by SIGINT or
    /// SIGTERM.
    Search(SearchArgs),
    /// Measure two workloads in turns, AB BA AB ..., and say whether they differ.
    ///
    /// Exit status: 0 compared, whatever came of it, 1 a trial did not go as its workload says, 2 bad
    /// command line or workload, 3 no connection or one that was lost, 130 ended by SIGINT or SIGTERM.
    Compare(CompareArgs),
    /// Run the generator's two ends against each other, with no connector between: what it can do
    /// on this machine, and what each end takes of a processor.
    ///
    /// Exit status: 0 every packet was fulfilled and the ends agree, 1 not so, 2 it could not run.
    Calibrate(CalibrateArgs),
    /// List the workloads that ship, print one, or write the configuration of a target that fits one.
    ///
    /// Exit status: 0, or 2 where there is no such workload, no target can be configured for it, or
    /// its files cannot be written.
    Workloads(WorkloadsArgs),
    /// Play every check that can be seen from outside against a connector, and say by RFC clause
    /// what passed, what failed, and what does not apply.
    ///
    /// Exit status: 0 no check failed, 1 one did, 2 bad command line, 3 no connection, no answer, or
    /// a connection that was lost for good.
    Conformance(ConformanceArgs),
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => return ExitCode::from(refuse(&error)),
    };
    let status = match command {
        Command::Run(args) => run::command(&args, Part::Both),
        Command::Send(args) => run::command(&args, Part::Sending),
        Command::Receive(args) => receive::command(&args),
        Command::Search(args) => search::command(&args),
        Command::Compare(args) => compare::command(&args),
        Command::Calibrate(args) => calibrate::command(&args),
        Command::Workloads(args) => workloads::command(&args),
        Command::Conformance(args) => conformance::command(&args),
    };
    ExitCode::from(if IS_LOST.load(Ordering::Relaxed) { or_unusable(status) } else { status })
}

/// What clap has to say of the command line: help as it is, and anything else as one sentence.
fn refuse(error: &clap::Error) -> u8 {
    if !error.use_stderr() {
        let _ = error.print();
        return 0;
    }
    complain(&sentence(&error.to_string()), UNUSABLE)
}

/// The paragraphs of an error of clap without usage, in one line.
fn sentence(text: &str) -> String {
    let is_told = |text: &&str| !text.starts_with("Usage:") && !text.starts_with("For more");
    let paragraphs: Vec<String> = text
        .trim_start_matches("error: ")
        .split("\n\n")
        .map(str::trim)
        .filter(is_told)
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    format!("{}; --help tells what there is", paragraphs.join("; "))
}

/// The exit status where something could not be written: what came of the run itself stays.
fn or_unusable(status: u8) -> u8 {
    if status == 0 { UNUSABLE } else { status }
}

/// The exit status of a run that could not begin.
fn status_of(error: &RunError) -> u8 {
    match error {
        RunError::Account(_) => UNUSABLE,
        _ => NO_CONNECTION,
    }
}

fn complain(sentence: &str, status: u8) -> u8 {
    let _ = writeln!(io::stderr(), "m2-load: {}", printable(sentence));
    status
}

/// What was typed, and what a target wrote, may hold anything, also what moves a cursor.
fn printable(text: &str) -> String {
    let printed = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    text.chars().map(printed).collect()
}

/// Whether something that was to be on standard output is not.
static IS_LOST: AtomicBool = AtomicBool::new(false);

/// Writes to standard output. The first time that it cannot be written to is told in a sentence, and
/// the exit status is not 0 then. Somebody who closed the pipe wants no more of it, and the status
/// says how it went.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) else { return };
    if error.kind() == io::ErrorKind::BrokenPipe || IS_LOST.swap(true, Ordering::Relaxed) {
        return;
    }
    let sentence =
        format!("standard output: {error}; what it was to hold is lost, write it elsewhere");
    let _ = complain(&sentence, UNUSABLE);
}

/// Writes a piece of a text that grows: to standard error where JSON is wanted, or nowhere.
fn tell(json: bool, quiet: bool, text: &str) {
    match (json, quiet) {
        (false, _) => say(text),
        (true, false) => {
            let _ = io::stderr().write_all(text.as_bytes());
        }
        (true, true) => {}
    }
}

/// A seed for a workload that names none: small enough to be typed again.
fn chosen_seed() -> u64 {
    getrandom::u32().map_or(1, u64::from)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_clap_refuses_is_one_sentence() {
        let told = |line: &str| {
            let words = line.split(' ');
            printable(&sentence(&Cli::try_parse_from(words).unwrap_err().to_string()))
        };
        let rate = "invalid value '-5' for '--rate <N>': write a whole number from 1 to 20000000; \
                    --help tells what there is";
        assert_eq!(told("m2-load run --workload x --rate -5"), rate);
        let missing = "the following required arguments were not provided: --workload <NAME|FILE>; \
                       --help tells what there is";
        assert_eq!(told("m2-load run"), missing);
        let typo = told("m2-load run --workload x --rat 5");
        assert!(typo.starts_with("unexpected argument '--rat' found; tip: "), "{typo}");
        let choice = told("m2-load calibrate --transport pigeon");
        assert!(choice.contains("[possible values: "), "{choice}");
        let hostile = told("m2-load run --workload x --rate \x1b[2J\x07");
        assert!(!hostile.contains(char::is_control), "{hostile}");
        assert_eq!(printable("a\x1b[2J\n\u{fffd}"), "a\\u{1b}[2J\\n\u{fffd}");
    }
}
