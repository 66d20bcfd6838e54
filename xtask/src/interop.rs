//! `cargo xtask interop`: Interledger clients that none of us wrote, from npm, against the real
//! switch; and the conformance checks against the switch and against a connector from npm, whose
//! reports must be those in `docs/conformance/` (`M2_KEEP_REPORTS=1` writes them anew).
//!
//! They run in the copy of `interop/` that `npm.rs` makes. Each test starts `m2-switch` itself; where the
//! binaries are stands in `M2_SWITCH` and `M2_LOAD`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::binaries;
use crate::command::{self, Show};
use crate::npm;
use crate::suite::Count;
use crate::workspace::Workspace;

/// Its packages are used by benches as well.
pub(crate) const FOLDER: &str = "interop";

/// A test that hangs is one that failed: the longest takes seconds, a slow machine some more.
const TEST_MS_MAX: &str = "--test-timeout=120000";

/// ilp-plugin-btp leaves a timer of 35 s behind where the answer is faster than its own bookkeeping.
const FORCE_EXIT: &str = "--test-force-exit";

/// Builds the switch, installs the clients, runs the tests.
///
/// # Errors
///
/// When a tool is missing or a step before the tests fails.
pub(crate) fn run(workspace: &Workspace) -> Result<Count> {
    println!("building what the tests use");
    let binaries = binaries::for_tests(workspace)?;
    let folder = npm::installed(workspace, FOLDER)?;
    let tests: Vec<_> = files(&folder, "mjs")?.into_iter().filter(|file| is_test(file)).collect();
    if tests.is_empty() {
        return Err("interop/ holds no *.test.mjs".into());
    }
    let output = command::run(
        Command::new("node")
            .current_dir(&folder)
            .args(["--test", "--test-reporter=spec", TEST_MS_MAX, FORCE_EXIT])
            .args(tests.iter().filter_map(|file| file.file_name()))
            .env("NO_COLOR", "1")
            .env("M2_SWITCH", binaries.join("m2-switch"))
            .env("M2_LOAD", binaries.join("m2-load"))
            .env("M2_REPORTS", workspace.path("docs/conformance")),
        Show::Lines,
    )?;
    let count = node_count(&output.lines);
    let is_silent_failure = !output.success && count.failed == 0;
    Ok(Count { failed: count.failed + usize::from(is_silent_failure), ..count })
}

fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let failed = |error| format!("{}: {error}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension() == Some(OsStr::new(extension)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn is_test(file: &Path) -> bool {
    file.to_string_lossy().ends_with(".test.mjs")
}

/// The counts of Node's summary. What was skipped, cancelled or put off has not passed.
fn node_count(lines: &[String]) -> Count {
    let number = |word: &str| -> usize {
        let rows = lines.iter().rev().map(|line| line.trim_start_matches(['ℹ', '#', ' ']));
        let found =
            rows.filter_map(|row| row.strip_prefix(word)).find_map(|n| n.trim().parse().ok());
        found.unwrap_or(0)
    };
    let failed = ["fail ", "cancelled ", "skipped ", "todo "].into_iter().map(number).sum();
    Count { passed: number("pass "), failed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_node_are_read_from_its_summary() {
        let report = "✔ pass 7 times (1 ms)\nℹ tests 9\nℹ suites 0\nℹ pass 8\nℹ fail 1\n\
                      ℹ cancelled 0\nℹ skipped 0\nℹ todo 0\nℹ duration_ms 62.5";
        let lines: Vec<_> = report.lines().map(str::to_owned).collect();
        assert_eq!(node_count(&lines), Count { passed: 8, failed: 1 });
    }

    #[test]
    fn a_skipped_client_counts_as_failed() {
        let lines = ["# pass 3", "# fail 0", "# cancelled 0", "# skipped 2"].map(str::to_owned);
        assert_eq!(node_count(&lines), Count { passed: 3, failed: 2 });
    }
}
