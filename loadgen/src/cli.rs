//! The command line, and what the exit status says.
//!
//! ```text
//! 0    the run went as the workload said, and the books agree; no check failed
//! 1    it did not: the report's last lines say where; a check failed
//! 2    the command line or the workload file cannot be used
//! 3    no connection: refused, wrong token, or lost on the way (the report is then partial)
//! 130  SIGINT or SIGTERM: the first ends the sending, and the report is partial; the second ends
//!      the process at once, without one
//! ```

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::conformance::{self, ConformanceArgs, Plan};
use crate::interrupt::STATUS_INTERRUPTED;
use crate::live::Live;
use crate::report::{Report, Verdict};
use crate::run::{RunError, run};
use crate::workload::{Overrides, Workload};

const FAILED: u8 = 1;
const UNUSABLE: u8 = 2;
const NO_CONNECTION: u8 = 3;

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
    /// connection or one that was lost, 130 ended by SIGINT or SIGTERM.
    Run(RunArgs),
    /// Play every check that can be seen from outside against a connector, and say by RFC clause
    /// what passed, what failed, and what does not apply.
    ///
    /// Exit status: 0 no check failed, 1 one did, 2 bad command line, 3 no connection, no answer, or
    /// a connection that was lost for good.
    Conformance(ConformanceArgs),
}

#[derive(Args, Debug)]
struct RunArgs {
    /// The workload, a TOML file.
    #[arg(long, value_name = "FILE")]
    workload: PathBuf,
    /// How long to send, instead of the file's `seconds`.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// PREPAREs a second, instead of the file's `rate_per_s`.
    #[arg(long, value_name = "N")]
    rate: Option<u64>,
    /// Seed of every draw, instead of the file's `seed`.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The switch's control socket: compares its books with ours, and reports its CPU time.
    #[arg(long, value_name = "PATH")]
    control_socket: Option<PathBuf>,
    /// Print the report as JSON, and nothing else on standard output.
    #[arg(long)]
    json: bool,
    /// No live line.
    #[arg(long)]
    quiet: bool,
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::from(match Cli::parse().command {
        Command::Run(args) => run_command(&args),
        Command::Conformance(args) => conformance_command(&args),
    })
}

fn conformance_command(args: &ConformanceArgs) -> u8 {
    let plan = match Plan::new(args) {
        Ok(plan) => plan,
        Err(sentence) => return complain(&sentence, UNUSABLE),
    };
    let report = match conformance::play(&plan) {
        Ok(report) => report,
        Err(sentence) => return complain(&sentence, NO_CONNECTION),
    };
    let json = report.to_json() + "\n";
    if let Some(path) = &args.json_file
        && let Err(error) = std::fs::write(path, &json)
    {
        return complain(&format!("{}: {error}", path.display()), UNUSABLE);
    }
    let text = if args.json { json } else { report.to_string() };
    let _ = std::io::stdout().write_all(text.as_bytes());
    match (report.partial(), report.failed()) {
        (Some(reason), _) => complain(reason, NO_CONNECTION),
        (None, 0) => 0,
        (None, _) => FAILED,
    }
}

fn run_command(args: &RunArgs) -> u8 {
    let overrides = Overrides { seconds: args.seconds, rate_per_s: args.rate, seed: args.seed };
    let workload = match Workload::load(&args.workload, overrides, chosen_seed()) {
        Ok(workload) => workload,
        Err(error) => return complain(&error.to_string(), UNUSABLE),
    };
    let mut live = Live::new(args.quiet);
    match run(&workload, args.control_socket.as_deref(), &mut live) {
        Ok(report) => print(&report, args.json),
        Err(error @ RunError::Account(_)) => complain(&error.to_string(), UNUSABLE),
        Err(error) => complain(&error.to_string(), NO_CONNECTION),
    }
}

fn print(report: &Report, json: bool) -> u8 {
    let text = if json { report.to_json() + "\n" } else { report.to_string() };
    // Somebody who closed the pipe wants no more of it; the exit status still says how it went.
    let _ = std::io::stdout().write_all(text.as_bytes());
    match report.verdict {
        Verdict::Pass => 0,
        Verdict::Fail => FAILED,
        Verdict::Partial if report.interrupted => STATUS_INTERRUPTED,
        Verdict::Partial => NO_CONNECTION,
    }
}

fn complain(sentence: &str, status: u8) -> u8 {
    let _ = writeln!(std::io::stderr(), "m2-load: {sentence}");
    status
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
}
