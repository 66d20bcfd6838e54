//! `m2-load search`: the highest rate without loss, one run after the other.

use std::path::PathBuf;

use clap::Args;

use super::workload::WorkloadArgs;
use super::{FAILED, UNUSABLE, chosen_seed, complain, say, tell, units};
use crate::engine::{Drive, Pace};
use crate::interrupt::STATUS_INTERRUPTED;
use crate::limits;
use crate::live::Live;
use crate::run::{Options, run};
use crate::search::report::SearchReport;
use crate::search::trial::{Terms, Trial, WithLost};
use crate::search::{Ask, Goal, Search};

#[derive(Args, Debug)]
pub(super) struct SearchArgs {
    #[command(flatten)]
    workload: WorkloadArgs,
    /// The lowest rate of interest, PREPAREs a second.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    from: u64,
    /// The highest.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    to: u64,
    /// Seconds of a trial that narrows.
    #[arg(long, value_name = "N", default_value_t = 1)]
    trial_seconds: u64,
    /// Seconds of a trial that confirms.
    #[arg(long, value_name = "N", default_value_t = 10)]
    final_seconds: u64,
    /// Trials that confirm a rate; more than half must be good. With 1, one loss decides.
    #[arg(long, value_name = "N", default_value_t = 3)]
    final_trials: u32,
    /// How far the highest good rate and the lowest bad one may be apart, as a ratio.
    #[arg(long, value_name = "RATIO", default_value = "0.05", value_parser = units::width)]
    goal_width: f64,
    /// Share of the packets that may be lost.
    #[arg(long, value_name = "RATIO", default_value = "0", value_parser = units::share)]
    max_loss: f64,
    /// Highest 99th percentile of the latency, with its unit: 500us, 2ms, 1s.
    #[arg(long, value_name = "TIME", value_parser = crate::require::time_ns)]
    max_p99: Option<u64>,
    /// Look for work again at once when there is none, rather than sleep: takes a core for itself.
    #[arg(long)]
    spin: bool,
    /// The switch's control socket: its books are compared with ours after each trial.
    #[arg(long, value_name = "PATH")]
    control_socket: Option<PathBuf>,
    /// Print the result as JSON on standard output, and the trials on standard error.
    #[arg(long)]
    json: bool,
    /// With --json: do not print the trials.
    #[arg(long)]
    quiet: bool,
}

pub(super) fn command(args: &SearchArgs) -> u8 {
    let seed = chosen_seed();
    let checked = goal(args).and_then(|goal| {
        // What cannot be sent at the highest rate is told before anything is sent.
        let longest_s = goal.narrow_s.max(goal.confirm_s);
        let at = |rate| args.workload.load(Some(rate), Some(longest_s), seed);
        let found =
            at(goal.from_per_s).and_then(|_| at(goal.to_per_s)).map_err(|error| error.to_string());
        found.map(|workload| (goal, workload.traffic.seed))
    });
    let (goal, seed) = match checked {
        Ok(checked) => checked,
        Err(sentence) => return complain(&sentence, UNUSABLE),
    };
    let terms = Terms { max_loss: args.max_loss, max_p99_ns: args.max_p99 };
    let mut report = SearchReport::new(&goal, terms, seed);
    tell(args.json, args.quiet, &report.heading());
    let status = play(args, goal, &mut report);
    tell(args.json, args.quiet, &report.to_string());
    if args.json {
        say(&(report.to_json() + "\n"));
    }
    status
}

fn goal(args: &SearchArgs) -> Result<Goal, String> {
    let &SearchArgs { from, to, goal_width: width, final_trials: votes, .. } = args;
    let rates = 1..=limits::RATE_PER_S_MAX;
    if !rates.contains(&from) || !rates.contains(&to) || from > to {
        return Err(format!(
            "no rate lies between --from {from} and --to {to}; give two whole numbers from 1 to \
             {}, the lower one first",
            rates.end()
        ));
    }
    let (narrow_s, confirm_s) = (args.trial_seconds, args.final_seconds);
    let seconds = 1..=limits::SECONDS_MAX;
    if !seconds.contains(&narrow_s) || !seconds.contains(&confirm_s) {
        return Err(format!(
            "trials of {narrow_s} and {confirm_s} seconds cannot be made; give --trial-seconds and \
             --final-seconds whole numbers from 1 to {}",
            seconds.end()
        ));
    }
    if !(1..=limits::SEARCH_VOTES_MAX).contains(&votes) {
        return Err(format!(
            "--final-trials is {votes}; give a number from 1 to {}",
            limits::SEARCH_VOTES_MAX
        ));
    }
    Ok(Goal { from_per_s: from, to_per_s: to, width, narrow_s, confirm_s, votes })
}

/// Makes trial after trial, each over connections of its own, and tells each.
fn play(args: &SearchArgs, goal: Goal, report: &mut SearchReport) -> u8 {
    let mut search = Search::new(goal);
    while let Some(ask) = search.ask() {
        let trial = match make(args, ask, report) {
            Ok(trial) => trial,
            Err(Ended { status, sentence }) => {
                report.conclude(&search, Some(sentence.clone()));
                return complain(&sentence, status);
            }
        };
        tell(args.json, args.quiet, &format!("{trial}\n"));
        search.answer(trial.found());
        report.trials.push(trial);
    }
    report.conclude(&search, None);
    if report.good.is_some() && report.failures.is_empty() { 0 } else { FAILED }
}

/// Why the search cannot go on.
struct Ended {
    status: u8,
    sentence: String,
}

fn make(args: &SearchArgs, ask: Ask, report: &mut SearchReport) -> Result<Trial, Ended> {
    let seed = report.seed;
    let workload = args.workload.load(Some(ask.rate_per_s), Some(ask.seconds), seed);
    let workload =
        workload.map_err(|error| Ended { status: UNUSABLE, sentence: error.to_string() })?;
    let options = Options {
        control_socket: args.control_socket.clone(),
        drive: Drive { pace: Pace::Open, spin: args.spin },
        ..Options::default()
    };
    let ended = run(&workload, &options, &mut Live::new(true)).map_err(|error| {
        let at = format!("the trial at {} a second could not begin: {error}", ask.rate_per_s);
        Ended { status: super::status_of(&error), sentence: at }
    })?;
    if ended.report.interrupted {
        let sentence = "interrupted by a signal".to_owned();
        return Err(Ended { status: STATUS_INTERRUPTED, sentence });
    }
    report.environment.get_or_insert_with(|| ended.report.environment.clone());
    let p99 = WithLost::of(&ended.report, &ended.latency, &ended.service);
    Ok(Trial::of(ask, &ended.report, p99, &report.goal.terms))
}
