//! `m2-load compare`: two workloads measured in turns.

use std::path::{Path, PathBuf};

use clap::Args;

use super::drive::DriveArgs;
use super::workload::WorkloadArgs;
use super::{FAILED, UNUSABLE, chosen_seed, complain, say, status_of, tell, units};
use crate::compare::report::{CompareReport, Trial};
use crate::compare::{SAMPLES_MIN, Side, order};
use crate::interrupt::STATUS_INTERRUPTED;
use crate::limits;
use crate::live::Live;
use crate::process::Process;
use crate::require::Figure;
use crate::run::{Options, run};
use crate::workload::Workload;

#[derive(Args, Debug)]
pub(super) struct CompareArgs {
    /// The workload that is compared with.
    #[arg(value_name = "A")]
    a: PathBuf,
    /// The other workload.
    #[arg(value_name = "B")]
    b: PathBuf,
    /// Pairs of trials, without the one that warms up.
    #[arg(long, value_name = "N", default_value_t = 15)]
    trials: usize,
    /// What is compared, by the names that --require of `run` takes.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = Figure::named)]
    #[arg(default_value = "fulfilled_per_s,p50,p99")]
    measure: Vec<Figure>,
    /// Seconds of a trial, instead of the files' `seconds`.
    #[arg(long, value_name = "N", value_parser = units::seconds, allow_negative_numbers = true)]
    seconds: Option<u64>,
    /// PREPAREs a second, instead of the files' `rate_per_s`.
    #[arg(long, value_name = "N", value_parser = units::rate, allow_negative_numbers = true)]
    rate: Option<u64>,
    /// Seed of every draw, instead of the files' `seed`.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    drive: DriveArgs,
    /// Where all ends of A connect, instead of where their urls say, as --target of `run`.
    #[arg(long, value_name = "URL")]
    target_a: Option<String>,
    /// Where all ends of B connect.
    #[arg(long, value_name = "URL")]
    target_b: Option<String>,
    /// Control socket of A's switch: books are compared after each trial.
    #[arg(long, value_name = "PATH")]
    control_socket_a: Option<PathBuf>,
    /// Control socket of B's switch.
    #[arg(long, value_name = "PATH")]
    control_socket_b: Option<PathBuf>,
    /// Process of A's target, for its CPU time.
    #[arg(long, value_name = "PID")]
    target_pid_a: Option<u32>,
    /// Process of B's target.
    #[arg(long, value_name = "PID")]
    target_pid_b: Option<u32>,
    /// Print the result as JSON on standard output, and the trials on standard error.
    #[arg(long)]
    json: bool,
    /// With --json: do not print the trials.
    #[arg(long)]
    quiet: bool,
}

/// One of the two, ready to be run.
struct Ready {
    workload: Workload,
    options: Options,
}

pub(super) fn command(args: &CompareArgs) -> u8 {
    let seed = chosen_seed();
    let sides =
        check(args).and_then(|()| Ok([ready(args, Side::A, seed)?, ready(args, Side::B, seed)?]));
    let sides = match sides {
        Ok(sides) => sides,
        Err(sentence) => return complain(&sentence, UNUSABLE),
    };
    let name = |path: &Path| path.display().to_string();
    let seeds = [0, 1].map(|side: usize| sides[side].workload.traffic.seed);
    let names = [name(&args.a), name(&args.b)];
    let mut report = CompareReport::new(names, seeds, args.trials, args.drive.method());
    tell(args.json, args.quiet, &report.heading());
    let status = match play(args, &sides, &mut report) {
        Ok(()) => {
            report.conclude(&args.measure, None);
            if report.all_passed() { 0 } else { FAILED }
        }
        Err((status, sentence)) => {
            report.conclude(&args.measure, Some(sentence.clone()));
            complain(&sentence, status)
        }
    };
    tell(args.json, args.quiet, &report.to_string());
    if args.json {
        say(&(report.to_json() + "\n"));
    }
    status
}

fn check(args: &CompareArgs) -> Result<(), String> {
    let trials = SAMPLES_MIN..=limits::COMPARE_PAIRS_MAX;
    if trials.contains(&args.trials) {
        return Ok(());
    }
    Err(format!(
        "--trials is {}; give a number from {}, as fewer have no interval of 95 %, to {}",
        args.trials,
        trials.start(),
        trials.end()
    ))
}

fn ready(args: &CompareArgs, side: Side, chosen_seed: u64) -> Result<Ready, String> {
    let (path, target, control_socket, pid) = match side {
        Side::A => (&args.a, &args.target_a, &args.control_socket_a, args.target_pid_a),
        Side::B => (&args.b, &args.target_b, &args.control_socket_b, args.target_pid_b),
    };
    let needs_target = args.measure.iter().any(Figure::is_of_target);
    if needs_target && control_socket.is_none() && pid.is_none() {
        return Err(format!(
            "--measure target_cpu_per_pair: nobody tells the CPU time of {side:?}'s target; give \
             its process or its control socket, for both sides"
        ));
    }
    let workload = WorkloadArgs::of(path.clone(), args.seed, target.clone());
    let workload = workload.load(args.rate, args.seconds, chosen_seed);
    Ok(Ready {
        workload: workload.map_err(|error| error.to_string())?,
        options: Options {
            control_socket: control_socket.clone(),
            target_process: pid.map(Process::find).transpose()?,
            drive: args.drive.drive(),
            ..Options::default()
        },
    })
}

/// Makes every pair of trials, each over connections of its own, and tells each.
fn play(
    args: &CompareArgs,
    [a, b]: &[Ready; 2],
    report: &mut CompareReport,
) -> Result<(), (u8, String)> {
    // The first pair finds caches and clocks cold, and is not counted.
    for pair in 0..=args.trials {
        for side in order(pair) {
            let ready = if side == Side::A { a } else { b };
            let ended = run(&ready.workload, &ready.options, &mut Live::new(true));
            let ended = ended.map_err(|error| {
                (status_of(&error), format!("a trial of {side:?} could not begin: {error}"))
            })?;
            if ended.report.interrupted {
                return Err((STATUS_INTERRUPTED, "interrupted by a signal".to_owned()));
            }
            if let Some(reason) = &ended.report.partial {
                return Err((super::NO_CONNECTION, format!("a trial of {side:?}: {reason}")));
            }
            report.environment.get_or_insert_with(|| ended.report.environment.clone());
            let trial = Trial::of(pair, side, &ended.report, &args.measure);
            let trial = trial.map_err(|sentence| (FAILED, sentence))?;
            tell(args.json, args.quiet, &CompareReport::line(&trial, &args.measure));
            report.trials.push(trial);
        }
    }
    Ok(())
}
