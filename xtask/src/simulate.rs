//! `cargo xtask simulate`: the simulation on all cores, at speed, for as many seeds as wanted.
//!
//! The suite runs the same program as its tests were built, without building it once more: slower,
//! and with every check of overflow.

use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use crate::Result;
use crate::binaries;
use crate::command::{self, Show};
use crate::workspace::Workspace;

/// Seeds that the suite runs: always the same, so that a failure there is found again.
const SUITE_SEEDS: u64 = 3_000;

#[derive(Args)]
pub(crate) struct Options {
    /// How many seeds
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Runs the history in this file, and nothing else
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seeds", "from"])]
    replay: Option<PathBuf>,
}

/// Builds the simulation at speed and runs it.
///
/// # Errors
///
/// When it does not build, or something did not hold: the history is kept in `target/sim/`.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let arguments = ["build", "--quiet", "--profile", "sim", "-p", "m2-sim"];
    if !command::run(&mut command::cargo(workspace, &arguments), Show::Lines)?.success {
        return Err("m2-sim does not build".into());
    }
    let mut simulation = Command::new(workspace.target().join("sim/m2-sim"));
    if let Some(file) = &options.replay {
        let file = std::path::absolute(file).map_err(|error| format!("{error}"))?;
        return play(workspace, simulation.arg("--replay").arg(file));
    }
    let (seeds, from) = (options.seeds.to_string(), options.from.to_string());
    play(workspace, simulation.args(["--seeds", &seeds, "--from", &from]))
}

/// The part of the suite.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn for_the_suite(workspace: &Workspace) -> Result<()> {
    let binary = binaries::for_tests(workspace)?.join("m2-sim");
    play(workspace, Command::new(binary).args(["--seeds", &SUITE_SEEDS.to_string()]))
}

fn play(workspace: &Workspace, simulation: &mut Command) -> Result<()> {
    let found = workspace.target().join("sim");
    simulation.current_dir(workspace.root()).arg("--found").arg(found);
    match command::run(simulation, Show::Lines)?.success {
        true => Ok(()),
        false => Err("something in the simulation did not hold".into()),
    }
}
