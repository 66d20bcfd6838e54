//! `m2-sim crash`: seeds of the crash simulation on all cores, then the sweep; prints what occurred,
//! and for a failure the shortest history that it finds and what happened in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, ValueEnum};
use m2_sim::Failure;
use m2_sim::crash::{Case, Point, SCHEDULES, Seen};

use crate::seeds;

/// Seeds from which on an event that never occurred is a failure of the run.
const COVERED_FROM: u64 = 1_000;

/// How much of the sweep is run.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Sweep {
    /// Every point of every schedule, with snapshots written at four delays
    Full,
    /// Every point of two of the schedules, with snapshots written a step later
    Thin,
    /// None
    None,
}

#[derive(Args)]
pub(crate) struct Arguments {
    /// How many seeds
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Threads; as many as there are cores unless said
    #[arg(long)]
    threads: Option<usize>,
    /// How much of the sweep is run: a power cut after every step of a scene
    #[arg(long, value_enum, default_value_t = Sweep::Full)]
    sweep: Sweep,
    /// The folder for the shrunken history of a failure
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    found: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    let started = Instant::now();
    let threads = seeds::threads_or(arguments.threads);
    // Behind the last seed comes the first.
    let seed = |number| arguments.from.wrapping_add(number);
    let mut seen = Seen::default();
    let add = |seen: &mut Seen, one| seen.add(&one);
    let cases = seeds::run(arguments.seeds, threads, |number| Case::of(seed(number)).run(), add);
    match cases {
        Ok(all) => all.iter().for_each(|each| seen.add(each)),
        Err((number, failure)) => {
            return Err(tell(&Case::of(seed(number)), &failure, &arguments.found));
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    print!("{seen}");
    println!(
        "{} seeds in {seconds:.1} s on {threads} threads: {} lives, {} steps, {} recoveries judged",
        seen.runs, seen.lives, seen.steps, seen.recoveries
    );
    let missing = seen.missing();
    if seen.runs >= COVERED_FROM && !missing.is_empty() {
        return Err(format!("never occurred: {}", missing.join(", ")));
    }
    sweep(arguments.sweep, threads)
}

/// Whether this is a history of crashes, to whoever finds out what is wrong with it.
pub(crate) fn is_history(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("m2-sim crash"))
}

/// Runs a history, and tells what happens in it.
pub(crate) fn replay(text: &str) -> Result<(), String> {
    let case: Case = text.parse()?;
    case.trace().iter().for_each(|line| println!("{line}"));
    match case.run() {
        Ok(_) => {
            println!("passed: {} operations", case.ops.len());
            Ok(())
        }
        Err(Failure { message, place }) => Err(format!("seed {}: {message} ({place})", case.seed)),
    }
}

/// Shrinks a failure, prints its history, what happened in it and how to see it again.
fn tell(case: &Case, failure: &Failure, found: &Path) -> String {
    println!("FAILED seed {}: {} ({})", case.seed, failure.message, failure.place);
    println!("shrinking {} operations ...", case.ops.len());
    let short = case.shrink(failure);
    println!("shortest history found, {} operations:\n{short}", short.ops.len());
    short.trace().iter().for_each(|line| println!("{line}"));
    let file = found.join(format!("crash-{}.txt", case.seed));
    let written = fs::create_dir_all(found).and_then(|()| fs::write(&file, short.to_string()));
    let how = match written {
        Ok(()) => format!("replay it with --replay {}", file.display()),
        Err(error) => format!("{} cannot be written: {error}", file.display()),
    };
    format!("seed {}: {} -- {how}", case.seed, failure.message)
}

/// All points of the sweep.
fn sweep(how: Sweep, threads: usize) -> Result<(), String> {
    let (schedules, delays): (u64, &[u64]) = match how {
        Sweep::None => return Ok(()),
        Sweep::Thin => (2, &[1]),
        Sweep::Full => (SCHEDULES, &[0, 1, 6, 40]),
    };
    let started = Instant::now();
    let mut points = Vec::new();
    for is_apart in [true, false] {
        for schedule in 0..schedules {
            let alone = Point { is_apart, schedule, begin: None, delay: 0 };
            let steps = alone.run().map_err(|failure| tell_point(&alone, &failure))?.steps;
            for begin in 0..steps {
                let begin = Some(begin);
                points.extend(delays.iter().map(|delay| Point { begin, delay: *delay, ..alone }));
            }
        }
    }
    let point = |number: u64| points[usize::try_from(number).expect("it is below a length")];
    let add = |seen: &mut Seen, one: m2_sim::crash::Swept| seen.add(&one.seen);
    let swept = seeds::run(points.len() as u64, threads, |number| point(number).run(), add);
    let all = swept.map_err(|(number, failure)| tell_point(&point(number), &failure))?;
    let mut seen = Seen::default();
    all.iter().for_each(|each| seen.add(each));
    println!(
        "sweep: {} points in {:.1} s, {} recoveries judged, {} segments retired",
        points.len(),
        started.elapsed().as_secs_f64(),
        seen.recoveries,
        seen.retired_segments(),
    );
    if seen.retired_segments() == 0 {
        return Err("never occurred in the sweep: a segment that all snapshots are past".into());
    }
    Ok(())
}

fn tell_point(point: &Point, failure: &Failure) -> String {
    point.trace().iter().for_each(|line| println!("{line}"));
    format!("sweep, {point:?}: {} ({})", failure.message, failure.place)
}
