//! `cargo xtask simulate`: the simulations on all cores, at speed, for as many seeds as wanted: whole
//! networks, then one switch that is killed at any moment.
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
/// Seeds of crashes that the suite runs.
const SUITE_CRASHES: u64 = 3_000;

#[derive(Args)]
pub(crate) struct Options {
    /// How many seeds of networks; none if 0
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// How many seeds of crashes, before a crash after each step of a scene; none of both if 0
    #[arg(long, default_value_t = 10_000)]
    crashes: u64,
    /// The first seed of each
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Runs the history in this file, and nothing else
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seeds", "crashes", "from"])]
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
    let simulation = || Command::new(workspace.target().join("sim/m2-sim"));
    if let Some(file) = &options.replay {
        let file = std::path::absolute(file).map_err(|error| format!("{error}"))?;
        return play(workspace, simulation().arg("--replay").arg(file));
    }
    let from = options.from.to_string();
    if options.seeds > 0 {
        let seeds = options.seeds.to_string();
        play(workspace, simulation().args(["--seeds", &seeds, "--from", &from]))?;
    }
    if options.crashes > 0 {
        let seeds = options.crashes.to_string();
        play(workspace, simulation().args(["crash", "--seeds", &seeds, "--from", &from]))?;
    }
    Ok(())
}

/// The part of the suite with networks.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn networks_for_the_suite(workspace: &Workspace) -> Result<()> {
    let binary = binaries::for_tests(workspace)?.join("m2-sim");
    play(workspace, Command::new(binary).args(["--seeds", &SUITE_SEEDS.to_string()]))
}

/// The part of the suite with crashes.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn crashes_for_the_suite(workspace: &Workspace) -> Result<()> {
    let binary = binaries::for_tests(workspace)?.join("m2-sim");
    let seeds = SUITE_CRASHES.to_string();
    play(workspace, Command::new(binary).args(["crash", "--seeds", &seeds, "--sweep", "thin"]))
}

fn play(workspace: &Workspace, simulation: &mut Command) -> Result<()> {
    let found = workspace.target().join("sim");
    simulation.current_dir(workspace.root()).arg("--found").arg(found);
    match command::run(simulation, Show::Lines)?.success {
        true => Ok(()),
        false => Err("something in the simulation did not hold".into()),
    }
}
