//! `m2-load run`: both ends of a workload in this process; `m2-load send`: those that send.

use std::path::PathBuf;

use clap::Args;

use super::apart;
use super::drive::DriveArgs;
use super::numbers::NumbersArgs;
use super::workload::WorkloadArgs;
use super::{
    FAILED, NO_CONNECTION, NOT_AS_REQUIRED, UNUSABLE, chosen_seed, complain, or_unusable, say,
    status_of, units,
};
use crate::interrupt::STATUS_INTERRUPTED;
use crate::live::Live;
use crate::report::{Report, Verdict};
use crate::run::{Options, Part, run};

#[derive(Args, Debug)]
pub(super) struct RunArgs {
    #[command(flatten)]
    workload: WorkloadArgs,
    /// How long to send, instead of the file's `seconds`.
    #[arg(long, value_name = "N", value_parser = units::seconds, allow_negative_numbers = true)]
    seconds: Option<u64>,
    /// PREPAREs a second, instead of the file's `rate_per_s`.
    #[arg(long, value_name = "N", value_parser = units::rate, allow_negative_numbers = true)]
    rate: Option<u64>,
    #[command(flatten)]
    drive: DriveArgs,
    /// The switch's control socket: compares its books with ours, and reports its CPU time.
    #[arg(long, value_name = "PATH")]
    control_socket: Option<PathBuf>,
    #[command(flatten)]
    numbers: NumbersArgs,
    /// Print the report as JSON, and nothing else on standard output.
    #[arg(long)]
    json: bool,
    /// No live line.
    #[arg(long)]
    quiet: bool,
}

/// Plays this part of the workload's ends: all of them, or those that send.
pub(super) fn command(args: &RunArgs, part: Part) -> u8 {
    let workload = match args.workload.load(args.rate, args.seconds, chosen_seed()) {
        Ok(workload) => workload,
        Err(error) => return complain(&error.to_string(), UNUSABLE),
    };
    if let Err(sentence) = apart::check(&workload, part) {
        return complain(&sentence, UNUSABLE);
    }
    let mut live = Live::new(args.quiet);
    let control_socket = args.control_socket.clone();
    let options = Options { control_socket, drive: args.drive.drive(), part, ..Options::default() };
    let options = match args.numbers.add_to(options) {
        Ok(options) => options,
        Err(sentence) => return complain(&sentence, UNUSABLE),
    };
    let files = match args.numbers.files(&mut live) {
        Ok(files) => files,
        Err(sentence) => return complain(&sentence, UNUSABLE),
    };
    match run(&workload, &options, &mut live) {
        Ok(ended) => {
            let status = print(&ended.report, args.json);
            match files.finish(&ended, &mut live) {
                Err(sentence) => complain(&sentence, or_unusable(status)),
                Ok(()) => status,
            }
        }
        Err(error) => complain(&error.to_string(), status_of(&error)),
    }
}

fn print(report: &Report, json: bool) -> u8 {
    let text = if json { report.to_json() + "\n" } else { report.to_string() };
    say(&text);
    match report.verdict {
        Verdict::Pass => 0,
        Verdict::Unmet => NOT_AS_REQUIRED,
        Verdict::Fail => FAILED,
        Verdict::Partial if report.interrupted => STATUS_INTERRUPTED,
        Verdict::Partial => NO_CONNECTION,
    }
}
