//! `cargo xtask mutants`: does the suite fail where money is made or lost?
//!
//! Each fault of `mutants/faults.toml` is planted by itself in a copy of the workspace, which is
//! built and tested. A mutant is killed if it compiles and an assertion about money or answers fails
//! (`mutants/judges.toml` says which those are). What does not compile, runs out of time, crashes or
//! fails only otherwise counts as survived. The unchanged copy passes the same run first.
//!
//! A whole run writes which test caught which to `mutants/results.json`, and the same as a page.

mod copy;
mod faults;
mod judges;
mod results;
mod simulation;
mod suite;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime};

use crate::Result;
use crate::bench;
use crate::suite::Check;
use crate::workspace::Workspace;

use copy::Copy;
use faults::{Area, Fault};
use judges::{Failure, Judges};
use results::{Caught, Results, Row, Simulated, Verdict};
use simulation::{Seeds, Simulation};
use suite::{Outcome, Ran};

/// What a user can ask for.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only the faults whose names begin so, and no result is kept
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// What comes of them is kept among what is kept of the others, each with the commit it is of
    #[arg(long, requires = "only")]
    again: bool,
    /// How many seeds of each simulation run over each mutant; none, and they are not built
    #[arg(long, default_value_t = 300)]
    seeds: u64,
    /// How many faults are planted at the same time, each in a copy of its own
    #[arg(long, default_value_t = 1)]
    jobs: usize,
}

/// What must hold of the faults, the judges and the kept results, without building anything.
///
/// # Errors
///
/// When a file cannot be read.
pub(crate) fn check(workspace: &Workspace) -> Result<Vec<Check>> {
    let mut checks = faults::check(workspace)?;
    checks.extend(judges::check(workspace)?);
    Ok(checks)
}

/// Plants the faults, one at a time.
///
/// # Errors
///
/// When one survives, one does not fit the source, or the unchanged copy does not pass.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let started = Instant::now();
    crate::report(check(workspace))?;
    let asked = |fault: &Fault| {
        options.only.is_empty() || options.only.iter().any(|only| fault.name.starts_with(only))
    };
    let faults = faults::read(workspace)?;
    let all: Vec<_> = faults.iter().map(|fault| fault.name.clone()).collect();
    let faults: Vec<_> = faults.into_iter().filter(asked).collect();
    if faults.is_empty() {
        return Err(format!("no fault of {} has such a name", faults::FILE));
    }
    let is_whole = options.only.is_empty() && options.seeds > 0;
    if is_whole || options.again {
        need_clean(workspace)?;
    }
    let commit = bench::commit(workspace);
    let judges = Judges::read(workspace)?;
    let copies: Result<Vec<Copy>> =
        (0..options.jobs.max(1)).map(|number| Copy::of(workspace, number)).collect();
    let planting = |copy| Planting { copy, judges: &judges, seeds: options.seeds };
    let plantings: Vec<_> = copies?.into_iter().map(planting).collect();
    let unchanged = plantings[0].unchanged(&faults)?;
    let results = Results {
        commit,
        date: bench::date(SystemTime::now()),
        seconds: 0,
        seeds: options.seeds,
        unchanged,
        mutants: plant_all(&plantings, &faults)?,
    };
    let results = Results { seconds: started.elapsed().as_secs(), ..results };
    println!("\n{}", results.sentence());
    let (survived, planted) = (results.survived(), results.mutants.len());
    if is_whole {
        results.keep(workspace)?;
    } else if options.again {
        results.keep_among_others(workspace, &all)?;
    }
    match survived {
        0 => Ok(()),
        count => Err(format!("{count} of {planted} mutants survived")),
    }
}

/// Plants each fault in whichever copy is free. Those of the shell all go to the first: what they need
/// takes long to build.
fn plant_all(plantings: &[Planting<'_>], faults: &[Fault]) -> Result<Vec<Row>> {
    let (shell, others): (Vec<usize>, Vec<usize>) =
        (0..faults.len()).partition(|index| faults[*index].area() == Area::Shell);
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    let work = |planting: &Planting<'_>, own: &[usize]| -> Result<()> {
        let shared = std::iter::from_fn(|| others.get(next.fetch_add(1, Ordering::Relaxed)));
        for index in own.iter().chain(shared) {
            let row = planting.plant(&faults[*index])?;
            let mut done = done.lock().map_err(|_| "another copy has failed")?;
            println!("{:>3}/{} {row}", done.len() + 1, faults.len());
            done.insert(*index, row);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let work = &work;
        let own = |number| if number == 0 { shell.as_slice() } else { &[] };
        let running = plantings.iter().enumerate();
        let running: Vec<_> =
            running.map(|(number, it)| scope.spawn(move || work(it, own(number)))).collect();
        running.into_iter().try_for_each(|one| one.join().expect("it returns its failures"))
    })?;
    let done = done.into_inner().map_err(|_| "another copy has failed")?;
    Ok(done.into_values().collect())
}

/// Results name a commit, so what they were made from must be that commit.
fn need_clean(workspace: &Workspace) -> Result<()> {
    let output = Command::new("git")
        .current_dir(workspace.root())
        .args(["status", "--porcelain", "--", ".", ":!mutants/results.*"])
        .output()
        .map_err(|error| format!("git is missing: install it ({error})"))?;
    if output.stdout.is_empty() {
        return Ok(());
    }
    Err("the results of a whole run name a commit, but the tree differs from it: commit first, or \
         try single faults by --only NAME"
        .into())
}

/// A copy to plant in, and who judges.
struct Planting<'a> {
    copy: Copy,
    judges: &'a Judges,
    seeds: u64,
}

impl Planting<'_> {
    /// Runs everything without a fault: how many tests passed, by test binary.
    fn unchanged(&self, faults: &[Fault]) -> Result<BTreeMap<String, usize>> {
        let mut passed = BTreeMap::new();
        let has = |area: Area| faults.iter().any(|fault| fault.area() == area);
        // The tests of the codec are run with those of the core.
        let areas = [
            (Area::Codec, has(Area::Codec) || has(Area::Core)),
            (Area::Journal, has(Area::Journal)),
            (Area::Shell, has(Area::Shell)),
        ];
        for (area, _) in areas.into_iter().filter(|(_, needed)| *needed) {
            let Outcome::Ran(all) = suite::run(&self.copy, area)? else {
                return Err("the unchanged copy does not compile".into());
            };
            for ran in all {
                println!("unchanged: {}: {} passed", ran.name, ran.passed);
                if ran.cut || !ran.failures.is_empty() {
                    return Err(format!("the unchanged copy does not pass {}", ran.name));
                }
                passed.insert(ran.name, ran.passed);
            }
        }
        for simulation in [Simulation::Networks, Simulation::Crashes] {
            let is_needed = faults.iter().any(|fault| simulation.meets(fault.area()));
            if !is_needed || self.seeds == 0 {
                continue;
            }
            let name = simulation.name();
            match simulation::run(&self.copy, simulation, self.seeds, |_| true)? {
                Seeds::Passed => println!("unchanged: {name}: {} seeds passed", self.seeds),
                other => return Err(format!("the unchanged copy fails in {name}: {other:?}")),
            }
        }
        Ok(passed)
    }

    /// Plants one fault and says what became of it.
    fn plant(&self, fault: &Fault) -> Result<Row> {
        let started = Instant::now();
        let row = Row {
            name: fault.name.clone(),
            kind: fault.kind.clone(),
            file: fault.file.clone(),
            breaks: fault.breaks.clone(),
            verdict: Verdict::NotCompiled,
            caught: Vec::new(),
            uncounted: 0,
            simulated: Simulated::NotRun,
            crashed: Simulated::NotRun,
            seconds: 0,
            commit: None,
        };
        let row = self.copy.with(fault, || match suite::run(&self.copy, fault.area())? {
            Outcome::NotCompiled(error) => {
                println!("{}: {error}", fault.name);
                Ok(row)
            }
            Outcome::Ran(all) => {
                let (caught, uncounted) = self.judge(&all);
                let simulated = self.simulate(fault, Simulation::Networks)?;
                let crashed = self.simulate(fault, Simulation::Crashes)?;
                let row = Row { caught, uncounted, simulated, crashed, ..row };
                let verdict = match (!row.caught.is_empty() || row.is_simulated(), uncounted) {
                    (true, _) => Verdict::Killed,
                    (false, 0) => Verdict::Survived,
                    (false, _) => Verdict::FailedOtherwise,
                };
                Ok(Row { verdict, ..row })
            }
        })?;
        Ok(Row { seconds: started.elapsed().as_secs(), ..row })
    }

    /// Who caught it, and how many tests failed otherwise.
    fn judge(&self, all: &[Ran]) -> (Vec<Caught>, usize) {
        let mut caught = Vec::new();
        let mut uncounted = 0;
        for ran in all {
            let counted = ran.failures.iter().filter_map(|failure| self.caught(&ran.name, failure));
            let before = caught.len();
            caught.extend(counted);
            uncounted += ran.failures.len() - (caught.len() - before) + usize::from(ran.cut);
        }
        (caught, uncounted)
    }

    /// What a simulation says. Faults of the shell are in none: they have shells of their own.
    fn simulate(&self, fault: &Fault, simulation: Simulation) -> Result<Simulated> {
        if !simulation.meets(fault.area()) || self.seeds == 0 {
            return Ok(Simulated::NotRun);
        }
        let caught = |failure: &Failure| self.caught(simulation.name(), failure);
        let seeds = simulation::run(&self.copy, simulation, self.seeds, |it| caught(it).is_some())?;
        Ok(match seeds {
            Seeds::NotCompiled(error) => return Err(format!("the simulation: {error}")),
            Seeds::Passed => Simulated::Passed,
            Seeds::Cut => Simulated::FailedOtherwise,
            Seeds::Failed(all) => {
                all.iter().find_map(caught).map_or(Simulated::FailedOtherwise, Simulated::Caught)
            }
        })
    }

    /// The assertion about money or answers by which something failed.
    fn caught(&self, by: &str, failure: &Failure) -> Option<Caught> {
        let panic = self.judges.counted(failure, |file| self.copy.read(file))?;
        Some(Caught {
            by: by.to_owned(),
            test: failure.test.clone(),
            at: format!("{}:{}", panic.file, panic.line),
            says: panic.says.chars().take(160).collect(),
        })
    }
}
