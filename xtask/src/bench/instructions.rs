//! `cargo xtask bench instructions`: how many instructions a pair takes in memory.
//!
//! Counted by valgrind's callgrind, so that a change shows however busy the machine is: the same binary and
//! packets give the same count. valgrind knows neither AVX-512 nor SHA-NI, so the hash locks go the portable
//! path, and some 3,000 of each figure are SHA-256 in software. The driver's own are in both figures.

use std::process::Command;

use serde_json::{Value, json};

use crate::Result;
use crate::command::{self, Show};
use crate::workspace::Workspace;

/// Pairs that are counted, after 100,000 packets were put in flight.
const PAIRS: u64 = 1 << 16;

/// Counts for the core and for the bare loop.
pub(super) fn run(workspace: &Workspace) -> Result<Value> {
    let arguments = ["build", "--release", "-p", "m2-bench", "--bin", "core"];
    if !command::run(&mut command::cargo(workspace, &arguments), Show::Lines)?.success {
        return Err("the bench core does not build".into());
    }
    let core = per_pair(workspace, &["profile"])?;
    let bare = per_pair(workspace, &["profile", "bare"])?;
    println!("core      {core} instructions a pair");
    println!("bare loop {bare} instructions a pair");
    Ok(json!({
        "workload": "standard: 10k routes, 100k in flight, raw BTP frames in and out, nothing recorded",
        "departures": "SHA-256 in software, as valgrind knows no SHA-NI",
        "pairs": PAIRS,
        "core_instructions_per_pair": core,
        "bare_loop_instructions_per_pair": bare,
        "valgrind": super::first_line(Command::new("valgrind").arg("--version")),
    }))
}

/// What is left of a run once the filling before it is taken off.
fn per_pair(workspace: &Workspace, words: &[&str]) -> Result<u64> {
    let filled = count(workspace, words, 0)?;
    let run = count(workspace, words, PAIRS)?;
    let pairs =
        run.checked_sub(filled).ok_or("a run took fewer instructions than its beginning")?;
    Ok(pairs / PAIRS)
}

fn count(workspace: &Workspace, words: &[&str], pairs: u64) -> Result<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(workspace.path("target/release/core"))
        .args(words)
        .arg(pairs.to_string());
    let output = valgrind.output().map_err(|error| {
        format!("valgrind cannot be run ({error}): install it (Debian: apt-get install valgrind)")
    })?;
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("the bench core failed under valgrind:\n{told}"));
    }
    collected(&told).ok_or_else(|| format!("callgrind told no count:\n{told}"))
}

/// The count in what callgrind tells at its end.
fn collected(told: &str) -> Option<u64> {
    let line = told.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(':').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_among_what_callgrind_tells() {
        let told = "==7== Events    : Ir\n==7== Collected : 479371057\n==7== \n";
        assert_eq!(collected(told), Some(479_371_057));
        assert_eq!(collected("==7== Events    : Ir\n"), None);
    }
}
