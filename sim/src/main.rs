//! `m2-sim`: runs seeds on all cores, prints what occurred, and for a failure the shortest history
//! that it finds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use m2_sim::{Case, Coverage, Failure, shrink};

/// Seeds from which on a fault that never occurred is a failure of the run.
const COVERED_FROM: u64 = 500;
/// Packets that a seed must move on average.
const PACKETS_MIN: u64 = 200;

/// Networks of switches under seeds; every unit is followed.
#[derive(Parser)]
#[command(name = "m2-sim", version)]
struct Arguments {
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

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.replay {
        Some(file) => replay(file),
        None => run(&arguments),
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
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.unwrap_or(cores).max(1);
    let begun = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    let sum = Mutex::new(Coverage::default());
    let failed: Mutex<Option<(Case, Failure)>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut seen = Coverage::default();
                while !is_over.load(Ordering::Relaxed) {
                    let number = begun.fetch_add(1, Ordering::Relaxed);
                    if number >= arguments.seeds {
                        break;
                    }
                    // Behind the last seed comes the first.
                    let seed = arguments.from.wrapping_add(number);
                    let case = Case::of(seed);
                    match case.run() {
                        Ok(passed) => seen.add(&passed.coverage),
                        Err(failure) => {
                            is_over.store(true, Ordering::Relaxed);
                            let mut failed = failed.lock().expect("no thread panics");
                            // The lowest seed of those that failed together.
                            if failed.as_ref().is_none_or(|(first, _)| seed < first.seed) {
                                *failed = Some((case, failure));
                            }
                        }
                    }
                }
                sum.lock().expect("no thread panics").add(&seen);
            });
        }
    });
    if let Some((case, failure)) = failed.into_inner().expect("no thread panics") {
        return Err(tell(&case, &failure, &arguments.found));
    }
    let seconds = started.elapsed().as_secs_f64();
    report(&sum.into_inner().expect("no thread panics"), seconds, threads)
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
