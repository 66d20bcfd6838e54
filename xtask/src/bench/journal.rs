//! `cargo xtask bench journal`: what recording costs. Switches that differ by their journal alone, on
//! one machine in one run, compared in turns by `m2-load compare`; each comparison checks every
//! preimage and both ends' books.
//!
//! ```text
//!   m2-load  <== BTP over WebSocket ==>  m2-switch, durability = "none"   (off)
//!            <==                    ==>  m2-switch, "async"
//!            <==                    ==>  m2-switch, "sync"
//!            <==                    ==>  m2-switch, "async", a snapshot every MiB of records
//! ```
//!
//! Beside each stands how long a write with its flush took in that switch, as its control socket tells.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::targets::{Programs, Setup, Target, free_ports, report};
use crate::Result;
use crate::workspace::Workspace;

const WORKLOAD: &str = "bench/peers/workload.toml";

/// In flight: few, and so many that no core waits.
const WINDOWS: [u32; 2] = [64, 4096];

/// A switch that is measured: its name, the durability of its accounts, its section `[journal]`.
const SWITCHES: [(&str, &str, &str); 4] = [
    ("off", "none", ""),
    ("async", "async", ""),
    ("sync", "sync", ""),
    ("snapshots", "async", "snapshot_bytes = 1048576"),
];

/// Which are compared: by their places above.
const PAIRS: [(usize, usize); 4] = [(0, 1), (0, 2), (1, 2), (1, 3)];

const TRIALS: &str = "15";
const SECONDS: &str = "1";
const MEASURES: &str = "fulfilled_per_s,p50,p99,p99.9,target_cpu_per_pair";

/// Measures all pairs.
///
/// # Errors
///
/// When a program does not build or start, or a report has a failure.
pub(super) fn run(workspace: &Workspace) -> Result<Value> {
    let programs = Programs::build(workspace, "bench-journal")?;
    let windows: Vec<_> =
        WINDOWS.iter().map(|window| measure(&programs, *window)).collect::<Result<_>>()?;
    Ok(json!({ "workload": WORKLOAD, "windows": windows }))
}

/// All pairs with so many in flight, on switches of their own, so that what their journals tell is of
/// these runs.
fn measure(programs: &Programs<'_>, window: u32) -> Result<Value> {
    let targets: Vec<_> =
        SWITCHES.iter().map(|switch| start(programs, window, switch)).collect::<Result<_>>()?;
    let comparisons: Vec<_> = PAIRS
        .iter()
        .map(|(a, b)| compare(programs, &targets, *a, *b, window))
        .collect::<Result<_>>()?;
    let journals: Vec<_> = SWITCHES
        .iter()
        .map(|(name, ..)| journal(&folder(programs, window, name), name))
        .collect::<Result<_>>()?;
    let sync = against_its_bound(&comparisons[2], &journals[2], window);
    Ok(json!({
        "in_flight": window,
        "comparisons": comparisons,
        "journals": journals,
        "sync_over_its_bound": sync,
    }))
}

/// Sync can be no faster than async, nor than all that is in flight once in one and a half flushes.
fn against_its_bound(async_to_sync: &Value, journal: &Value, window: u32) -> Value {
    let rate = |side: &str| {
        let measures = async_to_sync["measures"].as_array().into_iter().flatten();
        let found = measures.into_iter().find(|it| it["measure"] == "fulfilled_per_s");
        found.and_then(|it| it[side]["median"].as_f64()).unwrap_or(f64::NAN)
    };
    let flush_s = journal["commit_us"]["p50"].as_f64().unwrap_or(f64::NAN) / 1e6;
    let by_flush = f64::from(window) / (1.5 * flush_s);
    let bound = rate("a").min(by_flush);
    let ratio = rate("b") / bound;
    println!(
        "== sync, {window} in flight: {:.0}/s; async {:.0}/s, in flight / 1.5 flushes {by_flush:.0}/s: \
         {ratio:.2} of the lesser",
        rate("b"),
        rate("a")
    );
    json!({
        "sync_per_s": rate("b"),
        "async_per_s": rate("a"),
        "in_flight_over_1.5_flushes_per_s": by_flush,
        "ratio": ratio,
    })
}

fn folder(programs: &Programs<'_>, window: u32, name: &str) -> PathBuf {
    programs.folder.join(format!("{name}-{window}"))
}

fn start(
    programs: &Programs<'_>,
    window: u32,
    &(name, durability, journal): &(&'static str, &str, &str),
) -> Result<Target> {
    let (folder, port) = (folder(programs, window, name), free_ports(1)?);
    let url = format!("btp+ws://127.0.0.1:{port}/");
    let setup = Setup { durability, journal, ..Setup::default() };
    let file = programs.configure_switch(WORKLOAD, &folder, &url, setup)?;
    let mut command = programs.switch();
    command.args(["run", "--accept-loss", "--config"]).arg(file);
    programs.start(name, &mut command, url, port)
}

fn compare(
    programs: &Programs<'_>,
    targets: &[Target],
    a: usize,
    b: usize,
    window: u32,
) -> Result<Value> {
    let (a, b) = (&targets[a], &targets[b]);
    println!("== {} against {}, {window} in flight", b.name, a.name);
    let mut load = programs.load();
    load.args(["compare", WORKLOAD, WORKLOAD, "--json", "--quiet"]);
    load.args(["--target-a", &a.url, "--target-b", &b.url]);
    load.args(["--target-pid-a", &a.child.id().to_string()]);
    load.args(["--target-pid-b", &b.child.id().to_string()]);
    load.args(["--window", &window.to_string(), "--seconds", SECONDS, "--trials", TRIALS]);
    load.args(["--measure", MEASURES]);
    let report = report(&mut load)?;
    for measure in report["measures"].as_array().into_iter().flatten() {
        let spread = |side: &str| {
            let figure = |name: &str| measure[side][name].as_f64().unwrap_or(f64::NAN);
            format!("{:.3} ({:.3} to {:.3})", figure("median"), figure("low"), figure("high"))
        };
        let (name, unit) = (&measure["measure"], &measure["unit"]);
        println!("  {name} {unit}: {} / {}, ratio {}", spread("b"), spread("a"), spread("ratio"));
    }
    Ok(json!({
        "a": a.name,
        "b": b.name,
        "in_flight": window,
        "measures": report["measures"],
        "pairs": report["pairs"],
        "environment": report["environment"],
    }))
}

/// What a switch tells of its journal.
pub(super) fn journal(folder: &Path, name: &str) -> Result<Value> {
    let told = ask(&folder.join("control.sock"), r#"{"cmd":"journal"}"#);
    let told = told.map_err(|error| format!("the control socket of {name}: {error}"))?;
    let told: Value = serde_json::from_str(&told).map_err(|error| error.to_string())?;
    println!("== journal of {name}: {} commits, {}", told["commits"], told["commit_us"]);
    Ok(
        json!({ "switch": name, "commits": told["commits"], "commit_us": told["commit_us"], "streams": told["streams"] }),
    )
}

pub(super) fn ask(socket: &Path, line: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    writeln!(stream, "{line}")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer)
}
