//! `cargo xtask flamegraph SCENARIO`: where the time of a pair goes, as a picture and in words.
//!
//! ```text
//!   release build with frame pointers (target/flamegraph)
//!   perf record -e cpu-clock -F 1999 --call-graph fp   of the core, or of the switch's process alone
//!   perf script -> folded stacks -> flamegraphs/DATE_COMMIT_SCENARIO.svg
//!                                -> flamegraphs/DATE_COMMIT_SCENARIO.md: self time by function
//! ```
//!
//! perf asks the clock and needs no hardware counters, which virtual machines lack. Self time comes from
//! the stacks that the picture is drawn from, so both say the same.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use clap::Args;

use crate::Result;
use crate::bench;
use crate::workspace::Workspace;

mod draw;
mod note;
mod perf;
mod scenario;
mod stacks;

use note::Note;
use scenario::Scenario;
use stacks::Stacks;

/// Where pictures and notes are kept.
const FOLDER: &str = "flamegraphs";

#[derive(Args)]
pub(crate) struct Options {
    /// memory, tcp-64, tcp-saturated, websocket-saturated or journal-sync
    scenario: String,
    /// How long sockets are looked at; in memory it is as long as the core takes
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// What was done about what the picture shows; an earlier note of the same name keeps its own
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// Runs a scenario under perf, and keeps its picture and its note.
///
/// # Errors
///
/// When there is no such scenario or no perf, or something does not build, start or pass.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let scenario = Scenario::named(&options.scenario)?;
    perf::need()?;
    let script = scenario.record(workspace, options.seconds)?;
    let stacks = Stacks::fold(&script)?;
    let (date, commit) = (bench::date(SystemTime::now()), bench::commit(workspace));
    let name = format!("{date}_{commit}_{}", scenario.name);
    let folder = workspace.path(FOLDER);
    let (picture, page) = (folder.join(format!("{name}.svg")), folder.join(format!("{name}.md")));
    let note = Note {
        scenario: scenario.name,
        shows: scenario.shows,
        date: &date,
        commit: &commit,
        machine: &bench::machine(),
        hertz: perf::HERTZ,
        done: done(options, &page),
    };
    let svg = draw::draw(&stacks, scenario.name, &format!("{date}, commit {commit}"))?;
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for (file, text) in [(&picture, svg), (&page, note.text(&stacks).into_bytes())] {
        fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    println!("kept in {FOLDER}/{name}.svg and {FOLDER}/{name}.md: {} samples", stacks.samples());
    Ok(())
}

/// What was done about it, as this command or an earlier note says.
fn done(options: &Options, page: &Path) -> Option<String> {
    let earlier = || note::done_of(&fs::read_to_string(page).ok()?);
    options.note.clone().or_else(earlier)
}
