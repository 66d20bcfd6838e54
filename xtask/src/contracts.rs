//! `cargo xtask contracts`: the payment channels on EVM chains, built and tested by Forge, from npm.
//!
//! Their layout is Forge's own; every unit, fuzz and invariant test passes; and the gas of each call is what
//! `settlement/contracts/snapshots/` says (`--keep` writes it anew). All of it happens in the copy that
//! `npm.rs` makes, with the compiler from npm, so that nothing is loaded from anywhere else.
//!
//! Forge is run by itself: the script that npm puts before it ends well whatever comes of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;
use crate::command::{self, Show};
use crate::npm;
use crate::suite::Count;
use crate::workspace::Workspace;

/// Contracts, their tests, and what builds them.
pub(crate) const FOLDER: &str = "settlement/contracts";
/// In it, what each call costs.
const SNAPSHOTS: &str = "snapshots";
/// The contract whose tests are about gas: each call as a transaction of its own.
const GAS: &str = "GasTest";

#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Keeps what the calls cost now
    #[arg(long)]
    keep: bool,
}

/// Lays out, builds, tests, and compares what calls cost.
///
/// # Errors
///
/// When Node is missing, or a package is out of reach.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<Count> {
    let folder = npm::installed(workspace, FOLDER)?;
    let forge = Forge::of(folder.clone())?;
    let layout = command::run(forge.command().args(["fmt", "--check"]), Show::Lines)?.success;
    let layout = Count { passed: usize::from(layout), failed: usize::from(!layout) };
    let tests = tested(forge.command().args(["test", "--no-match-contract", GAS]))?;
    let is_checked = format!("--gas-snapshot-check={}", !options.keep);
    let gas = ["test", "--isolate", "--match-contract", GAS, &is_checked];
    let gas = tested(forge.command().args(gas))?;
    if options.keep {
        keep(&folder.join(SNAPSHOTS), &workspace.path(FOLDER).join(SNAPSHOTS))?;
    }
    Ok(layout.plus(tests).plus(gas))
}

/// Builds what is in the copy: into its folder `out`.
///
/// # Errors
///
/// When it does not build.
pub(crate) fn built(folder: &Path) -> Result<()> {
    let forge = Forge::of(folder.to_owned())?;
    let mut build = forge.command();
    // Of style it has to say something of tests, here and nowhere else.
    build.args(["build", "--quiet"]).env("FOUNDRY_LINT_LINT_ON_BUILD", "false");
    match command::run(&mut build, Show::Lines)?.success {
        true => Ok(()),
        false => Err("the contracts do not build".into()),
    }
}

/// The program, and the folder that it works in.
struct Forge {
    folder: PathBuf,
    program: PathBuf,
}

impl Forge {
    /// The one that npm has put there for this system. It must say when something fails.
    fn of(folder: PathBuf) -> Result<Self> {
        let program = npm::foundry(&folder, "forge")?;
        let forge = Self { folder, program };
        let mut nonsense = forge.command();
        nonsense.arg("no-such-command").stderr(Stdio::null());
        if command::run(&mut nonsense, Show::Nothing)?.success {
            return Err("Forge ends well whatever it is told: no check of it means anything".into());
        }
        Ok(forge)
    }

    fn command(&self) -> Command {
        let mut forge = Command::new(&self.program);
        forge.current_dir(&self.folder).env("NO_COLOR", "1");
        forge
    }
}

/// Runs tests, and reads how many there were.
fn tested(forge: &mut Command) -> Result<Count> {
    let output = command::run(forge, Show::Lines)?;
    let count = output.lines.iter().rev().find_map(|line| forge_count(line)).unwrap_or_default();
    // What does not compile prints no count; snapshots that differ fail no test.
    let is_silent_failure = count == Count::default() || (!output.success && count.failed == 0);
    Ok(Count { failed: count.failed + usize::from(is_silent_failure), ..count })
}

/// The counts of `Ran 2 test suites in 7 ms (9 ms CPU time): 3 tests passed, 0 failed, 0 skipped (3 total tests)`.
/// What was skipped has not passed.
fn forge_count(line: &str) -> Option<Count> {
    let (_, counts) = line.strip_prefix("Ran ")?.split_once("): ")?;
    let number = |word: &str| -> Option<usize> {
        let (before, _) = counts.split_once(word)?;
        before.rsplit([' ', ',']).find(|part| !part.is_empty())?.parse().ok()
    };
    let [passed, failed, skipped] = [" tests passed", " failed", " skipped"].map(number);
    Some(Count { passed: passed?, failed: failed? + skipped? })
}

fn keep(from: &Path, to: &Path) -> Result<()> {
    let failed = |error| format!("{}: {error}", to.display());
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        fs::copy(entry.path(), to.join(entry.file_name())).map_err(failed)?;
        println!("kept in {FOLDER}/{SNAPSHOTS}/{}", entry.file_name().to_string_lossy());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_page_says_what_calls_cost() {
        let workspace = Workspace::here();
        let snapshot = workspace.read(&format!("{FOLDER}/{SNAPSHOTS}/{GAS}.json")).unwrap();
        let snapshot: BTreeMap<String, String> = serde_json::from_str(&snapshot).unwrap();
        let page = workspace.read("docs/payment-channels.md").unwrap();
        let (_, table) = page.split_once("| call | gas |").unwrap();
        let (table, _) = table.split_once("\n\n").unwrap();
        let told = table.lines().skip(2).map(|row| {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            (cells[1].to_owned(), cells[2].replace(',', ""))
        });
        assert_eq!(told.collect::<BTreeMap<_, _>>(), snapshot);
    }

    #[test]
    fn the_counts_of_forge_are_read_from_its_last_line() {
        let line = "Ran 2 test suites in 7.36s (9.01s CPU time): 31 tests passed, 2 failed, 1 skipped (34 total tests)";
        assert_eq!(forge_count(line), Some(Count { passed: 31, failed: 3 }));
        let one = "Ran 1 test suite in 49.61ms (47.89ms CPU time): 3 tests passed, 0 failed, 0 skipped (3 total tests)";
        assert_eq!(forge_count(one), Some(Count { passed: 3, failed: 0 }));
        assert_eq!(forge_count("Ran 3 tests for test/Gas.t.sol:GasTest"), None);
        assert_eq!(forge_count("Error: Compilation failed"), None);
    }
}
