//! `cargo xtask fuzz TARGET --seconds N`: libFuzzer on a target of the package m2-fuzz.
//!
//! The seeds come from `codec/tests/vectors` anew each time; the corpus that libFuzzer makes of them
//! stays in `target/fuzz/corpus/TARGET`, and what breaks a law in `target/fuzz/found/`. With `--keep`
//! the figures of the run go to `fuzz/results/TARGET.json`, which the tests of m2-fuzz look at.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime};

use clap::Args;
use serde_json::{Value, json};

use crate::Result;
use crate::bench::{date, machine};
use crate::command::{self, Show};
use crate::nightly::Nightly;
use crate::workspace::Workspace;

/// What makes the compiler count edges for libFuzzer: the flags of cargo-fuzz without a sanitizer, as
/// `cargo xtask sanitize` runs those, and without a call for each comparison, which takes a third of
/// the time and finds magic words that the seeds have.
const RUSTFLAGS: &str = "-Cpasses=sancov-module \
     -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
     -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-simplifycfg-branch-fold-threshold=0 \
     --cfg=fuzzing -Ccodegen-units=1";

#[derive(Args)]
pub(crate) struct Options {
    /// A target of the package m2-fuzz, or `all`, one after the other
    target: String,
    /// How long to run each
    #[arg(long)]
    seconds: u64,
    /// How many inputs to try at most
    #[arg(long)]
    executions: Option<u64>,
    /// What libFuzzer draws its changes from
    #[arg(long, default_value_t = 1)]
    seed: u32,
    /// Keeps the figures in fuzz/results/TARGET.json
    #[arg(long)]
    keep: bool,
}

/// Runs one target, or all.
///
/// # Errors
///
/// When there is no nightly, nothing of that name, or an input breaks a law: the sentence names the
/// file that holds it.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let mut targets = targets(workspace)?;
    if options.target != "all" {
        let there = targets.join(", ");
        targets.retain(|target| *target == options.target);
        if targets.is_empty() {
            return Err(format!("no target {}: write all, or one of {there}", options.target));
        }
    }
    let nightly = Nightly::find()?;
    for target in targets {
        one(workspace, &nightly, options, &target)?;
    }
    Ok(())
}

/// The names of the harness's binaries; a test of m2-fuzz holds that they are those of the targets.
fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let files = workspace.files("rs")?;
    let names = files.iter().filter_map(|file| file.strip_prefix("fuzz/libfuzzer/src/bin/"));
    Ok(names.filter_map(|name| name.strip_suffix(".rs")).map(str::to_owned).collect())
}

fn one(workspace: &Workspace, nightly: &Nightly, options: &Options, target: &str) -> Result<()> {
    let below = |folder: &str| workspace.target().join("fuzz").join(folder);
    let (seeds, corpus) = (below("seeds").join(target), below("corpus").join(target));
    let found = below("found");
    for folder in [&corpus, &found] {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let len_max = write_seeds(workspace, target, &seeds.to_string_lossy())?;
    // What is built is what stands here now; later changes are no part of it.
    let commit = commit(workspace)?;
    build(workspace, nightly, target)?;
    let mut fuzzer = Command::new(below(&nightly.host).join("release").join(target));
    fuzzer
        .current_dir(workspace.root())
        .arg(format!("-max_len={len_max}"))
        .arg(format!("-max_total_time={}", options.seconds))
        .arg(format!("-seed={}", options.seed))
        .arg(format!("-artifact_prefix={}/{target}-", found.display()))
        .arg("-print_final_stats=1")
        .args(options.executions.map(|count| format!("-runs={count}")))
        .args([&corpus, &seeds]);
    let started = Instant::now();
    let (lines, success) = shown(&mut fuzzer)?;
    if !success {
        let found = found.display();
        return Err(format!("{target}: an input breaks the law; it is in {found}, named above"));
    }
    let figures = figures(&lines).ok_or_else(|| format!("{target}: libFuzzer told no figures"))?;
    println!("{target}: {figures}");
    if !options.keep {
        return Ok(());
    }
    let executions = options.executions.map(|count| format!(" --executions {count}"));
    let kept = json!({
        "target": target,
        "command": format!("cargo xtask fuzz {target} --seconds {} --seed {}{}",
            options.seconds, options.seed, executions.unwrap_or_default()),
        "commit": commit,
        "date": date(SystemTime::now()),
        "toolchain": nightly.version,
        "machine": machine(),
        "seed": options.seed,
        "input_len_max": len_max,
        "seconds": started.elapsed().as_secs(),
        "findings": 0,
        "result": figures,
    });
    let folder = workspace.path("fuzz/results");
    let file = folder.join(format!("{target}.json"));
    let text = serde_json::to_string_pretty(&kept).expect("a value of strings") + "\n";
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(&file, text))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    println!("kept in fuzz/results/{target}.json");
    Ok(())
}

/// The commit, with a mark if the tree differs from it in anything but the results.
fn commit(workspace: &Workspace) -> Result<String> {
    let git = |arguments: &[&str]| {
        command::run(
            Command::new("git").current_dir(workspace.root()).args(arguments),
            Show::Nothing,
        )
    };
    let head = git(&["rev-parse", "--short=12", "HEAD"])?.lines.concat();
    let is_clean = git(&["diff", "--quiet", "HEAD", "--", ".", ":!fuzz/results"])?.success;
    Ok(if is_clean { head } else { format!("{head}-dirty") })
}

/// Writes the seeds; gives the length of the longest input that is worth trying.
fn write_seeds(workspace: &Workspace, target: &str, folder: &str) -> Result<u64> {
    let arguments = ["run", "--quiet", "-p", "m2-fuzz", "--bin", "seeds", "--", target, folder];
    let output = command::run(&mut command::cargo(workspace, &arguments), Show::Nothing)?;
    let len_max = output.lines.last().and_then(|line| line.parse().ok());
    len_max.filter(|_| output.success).ok_or_else(|| format!("there are no seeds for {target}"))
}

fn build(workspace: &Workspace, nightly: &Nightly, target: &str) -> Result<()> {
    let manifest = "fuzz/libfuzzer/Cargo.toml";
    let arguments = ["build", "--release", "--manifest-path", manifest, "--bin", target];
    let mut cargo = nightly.cargo(workspace, "fuzz", RUSTFLAGS, &arguments);
    match command::run(&mut cargo, Show::Lines)?.success {
        true => Ok(()),
        false => Err(format!("the harness of {target} does not build")),
    }
}

/// Runs libFuzzer, which writes to stderr, and shows what it writes.
fn shown(fuzzer: &mut Command) -> Result<(Vec<String>, bool)> {
    let failed = |error| format!("{error}");
    let mut child = fuzzer
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut lines = Vec::new();
    for line in BufReader::new(child.stderr.take().expect("stderr is a pipe")).split(b'\n') {
        let line = String::from_utf8_lossy(&line.map_err(failed)?).into_owned();
        println!("{line}");
        lines.push(line);
    }
    Ok((lines, child.wait().map_err(failed)?.success()))
}

/// Executions, edges reached and there, features, and inputs in the corpus, from what libFuzzer
/// wrote.
fn figures(lines: &[String]) -> Option<Value> {
    let behind = |line: &str, word: &str| -> Option<u64> {
        let rest = line.split_once(word)?.1.trim_start();
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    let find = |word: &str| lines.iter().rev().find_map(|line| behind(line, word));
    let done = lines.iter().rev().find(|line| line.contains("DONE"))?;
    Some(json!({
        "executions": find("stat::number_of_executed_units:")?,
        "executions_per_s": find("stat::average_exec_per_sec:")?,
        "edges": behind(done, "cov:")?,
        "edges_of": find("PC tables (")?,
        "features": behind(done, "ft:")?,
        "corpus_inputs": behind(done, "corp:")?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_read_from_what_libfuzzer_writes() {
        let lines = [
            "INFO: Loaded 1 modules   (554 inline 8-bit counters): 554 [0x55, 0x56), ",
            "INFO: Loaded 1 PC tables (554 PCs): 554 [0x55,0x56), ",
            "#2\tINITED cov: 100 ft: 120 corp: 1/1b exec/s: 0 rss: 27Mb",
            "#1000000\tDONE   cov: 226 ft: 360 corp: 77/1014b lim: 1024 exec/s: 250000 rss: 27Mb",
            "Done 1000000 runs in 4 second(s)",
            "stat::number_of_executed_units: 1000000",
            "stat::average_exec_per_sec:     250000",
        ]
        .map(str::to_owned);
        let expected = json!({
            "executions": 1_000_000,
            "executions_per_s": 250_000,
            "edges": 226,
            "edges_of": 554,
            "features": 360,
            "corpus_inputs": 77,
        });
        assert_eq!(figures(&lines), Some(expected));
        assert_eq!(figures(&lines[..4]), None);
    }

    #[test]
    fn all_targets_are_the_harnesses() {
        let targets = targets(&Workspace::here()).unwrap();
        assert!(targets.iter().any(|target| target == "prepare_rewrite"), "{targets:?}");
    }
}
