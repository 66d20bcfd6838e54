//! `m2-load receive`: the receiving ends of a workload, for senders in other processes.

use std::io::Write as _;

use clap::Args;

use super::workload::WorkloadArgs;
use super::{FAILED, NO_CONNECTION, UNUSABLE, apart, chosen_seed, complain, say, status_of};
use crate::engine::Cut;
use crate::interrupt::STATUS_INTERRUPTED;
use crate::limits;
use crate::receiver::report::ReceiveReport;
use crate::run::Part;
use crate::run::receive::{Until, receive};

#[derive(Args, Debug)]
pub(super) struct ReceiveArgs {
    #[command(flatten)]
    workload: WorkloadArgs,
    /// End after so many seconds.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=limits::SECONDS_MAX))]
    seconds: Option<u64>,
    /// End after so many runs, each over when its sender has asked for its books.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    runs: Option<u64>,
    /// Print each run as a JSON object on a line of its own.
    #[arg(long)]
    json: bool,
    /// Do not say when senders can begin.
    #[arg(long)]
    quiet: bool,
}

pub(super) fn command(args: &ReceiveArgs) -> u8 {
    let workload = match args.workload.load(None, None, chosen_seed()) {
        Ok(workload) => workload,
        Err(error) => return complain(&error.to_string(), UNUSABLE),
    };
    if let Err(sentence) = apart::check(&workload, Part::Receiving) {
        return complain(&sentence, UNUSABLE);
    }
    let mut faults = 0;
    let mut tell = |report: &ReceiveReport| {
        faults += report.faults.iter().map(|fault| fault.count).sum::<u64>();
        let text = if args.json { report.to_json() + "\n" } else { report.to_string() };
        say(&text);
    };
    let until = Until { seconds: args.seconds, runs: args.runs };
    let ready = || {
        if !args.quiet {
            let _ =
                writeln!(std::io::stderr(), "m2-load: receiving, seed {}", workload.traffic.seed);
        }
    };
    let cut = match receive(&workload, until, ready, &mut tell) {
        Ok(cut) => cut,
        Err(error) => return complain(&error.to_string(), status_of(&error)),
    };
    let has_end = args.seconds.is_some() || args.runs.is_some();
    match cut {
        Some(Cut::Link(error)) => complain(&error.to_string(), NO_CONNECTION),
        Some(cut @ Cut::Interrupted { .. }) if has_end => {
            complain(&cut.to_string(), STATUS_INTERRUPTED)
        }
        _ if faults > 0 => FAILED,
        _ => 0,
    }
}
