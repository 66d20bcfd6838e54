//! `m2-sim`: runs seeds on all cores, prints what occurred, and for a failure the shortest history
//! that it finds.

mod crashes;
mod seeds;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use m2_sim::{Case, Coverage, Failure, Passed, shrink};

/// Seeds from which on a fault that never occurred is a failure of the run.
const COVERED_FROM: u64 = 500;
/// Packets that a seed must move on average.
const PACKETS_MIN: u64 = 200;

/// Networks of switches under seeds; every unit is followed.
#[derive(Parser)]
#[command(name = "m2-sim", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// How many seeds
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Threads; as many as there are cores unless said
    #[arg(long)]
    threads: Option<usize>,
    /// Runs the history in this file, and nothing else
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seeds", "from"])]
    replay: Option<PathBuf>,
    /// The folder for the shrunken history of a failure
    #[arg(long, visible_alias = "save", value_name = "FOLDER", default_value = ".")]
    found: PathBuf,
}

#[derive(Subcommand)]
enum Part {
    /// One switch, its disk and its peers under seeds; it is killed at any moment
    Crash(crashes::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match (&arguments.part, &arguments.replay) {
        (Some(Part::Crash(arguments)), _) => crashes::run(arguments),
        (None, Some(file)) => replay(file),
        (None, None) => run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("error: {sentence}");
            ExitCode::FAILURE
        }
    }
}

fn replay(file: &PathBuf) -> Result<(), String> {
    let named = |error: &dyn core::fmt::Display| format!("{}: {error}", file.display());
    let text = fs::read_to_string(file).map_err(|error| named(&error))?;
    if crashes::is_history(&text) {
        return crashes::replay(&text).map_err(|error| named(&error));
    }
    let case: Case = text.parse().map_err(|error: String| named(&error))?;
    match case.run() {
        Ok(passed) => {
            println!("passed: {} operations, digest {:016x}", case.ops.len(), passed.digest);
            Ok(())
        }
        Err(Failure { message, place }) => Err(format!("seed {}: {message} ({place})", case.seed)),
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let started = Instant::now();
    let threads = seeds::threads_or(arguments.threads);
    // Behind the last seed comes the first.
    let case = |number| Case::of(arguments.from.wrapping_add(number));
    let add = |seen: &mut Coverage, one: Passed| seen.add(&one.coverage);
    match seeds::run(arguments.seeds, threads, |number| case(number).run(), add) {
        Err((number, failure)) => Err(tell(&case(number), &failure, &arguments.found)),
        Ok(all) => {
            let mut sum = Coverage::default();
            all.iter().for_each(|seen| sum.add(seen));
            report(&sum, started.elapsed().as_secs_f64(), threads)
        }
    }
}

/// Shrinks a failure, prints its history and how to see it again.
fn tell(case: &Case, failure: &Failure, found: &Path) -> String {
    println!("FAILED seed {}: {} ({})", case.seed, failure.message, failure.place);
    println!("shrinking {} operations ...", case.ops.len());
    let fails = |case: &Case| case.run().is_err_and(|other| other.kind() == failure.kind());
    let short = shrink(case, fails);
    let again = short.run().err().map_or_else(String::new, |failure| failure.message);
    println!("shortest history found, {} operations: {again}\n{short}", short.ops.len());
    let file = found.join(format!("seed-{}.txt", case.seed));
    let written = fs::create_dir_all(found).and_then(|()| fs::write(&file, short.to_string()));
    let how = match written {
        Ok(()) => format!("replay it with --replay {}", file.display()),
        Err(error) => format!("{} cannot be written: {error}", file.display()),
    };
    format!("seed {}: {} -- {how}", case.seed, failure.message)
}

fn report(seen: &Coverage, seconds: f64, threads: usize) -> Result<(), String> {
    print!("{seen}");
    let answered = seen.fulfilled + seen.rejected;
    let each = |count: u64| count / seen.seeds.max(1);
    println!(
        "{} seeds in {seconds:.1} s on {threads} threads: {:.0} seeds a second",
        seen.seeds,
        seen.seeds as f64 / seconds
    );
    println!(
        "a seed: {} PREPAREs sent, {} fulfilled, {} rejected; {} taken in by switches; {} steps \
         judged",
        each(seen.sent),
        each(seen.fulfilled),
        each(seen.rejected),
        each(seen.hops),
        each(seen.steps)
    );
    if each(answered) < PACKETS_MIN {
        return Err(format!("a seed moved {} packets, and not {PACKETS_MIN}", each(answered)));
    }
    let missing = seen.missing();
    if seen.seeds >= COVERED_FROM && !missing.is_empty() {
        return Err(format!("never occurred: {}", missing.join(", ")));
    }
    Ok(())
}
