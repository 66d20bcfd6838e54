//! `cargo xtask bench NAME`: runs a bench and keeps what it found.
//!
//! A bench is a binary of the package m2-bench, but for `peers`, `journal`, `instructions` and those of
//! [`sockets`], which start other programs; `figures` makes the page of the figures of `peers` anew. It writes its report as it likes and its result as
//! one JSON object on one line of stdout; the result is kept in `bench/results/NAME.json` with
//! what makes it comparable: machine, toolchain, commit, date and command.

use std::fs;
use std::process::Command;
use std::time::SystemTime;

use clap::Args;
use serde_json::{Value, json};

use self::sockets::Effort;
use crate::Result;
use crate::command::{self, Show};
use crate::workspace::Workspace;

mod instructions;
mod journal;
pub(crate) mod packets;
mod peers;
mod sockets;
mod spread;
pub(crate) mod targets;

#[derive(Args)]
pub(crate) struct Options {
    /// sockets, one, openloop, three, cpu, slowpeer, settlement, journal, peers, instructions, or a binary of the package m2-bench
    name: String,
    /// Of a bench through sockets: how many turns, from which the median is taken
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
    /// Of a bench through sockets: two turns of the first case, of which nothing is kept
    #[arg(long)]
    quick: bool,
}

/// A bench through sockets.
type OfSockets = fn(&Workspace, Effort) -> Result<Value>;

const OF_SOCKETS: [(&str, OfSockets); 7] = [
    ("sockets", sockets::throughput::run),
    ("one", sockets::one::run),
    ("openloop", sockets::openloop::run),
    ("three", sockets::three::run),
    ("cpu", sockets::cpu::run),
    ("slowpeer", sockets::slowpeer::run),
    ("settlement", sockets::settlement::run),
];

/// Runs a bench and writes its result.
///
/// # Errors
///
/// When it does not build, fails, or prints no result.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let name = options.name.as_str();
    if let Some((_, bench)) = OF_SOCKETS.iter().find(|(of_sockets, _)| *of_sockets == name) {
        let runs = if options.quick { 2 } else { usize::from(options.runs) };
        let result = bench(workspace, Effort { runs, quick: options.quick })?;
        if options.quick {
            println!("it runs and verifies; nothing is kept of so few runs");
            return Ok(());
        }
        return keep(workspace, name, &result);
    }
    if name == "journal" {
        return keep(workspace, name, &journal::run(workspace)?);
    }
    if name == "instructions" {
        return keep(workspace, name, &instructions::run(workspace)?);
    }
    if name == "peers" {
        keep(workspace, name, &peers::run(workspace)?)?;
    }
    if matches!(name, "peers" | "figures") {
        println!("the page of figures is {}", peers::PAGE);
        return peers::write_page(workspace);
    }
    let arguments = ["run", "--release", "-p", "m2-bench", "--bin", name];
    let output = command::run(&mut command::cargo(workspace, &arguments), Show::Lines)?;
    if !output.success {
        return Err(format!("the bench {name} failed; its binaries are in bench/"));
    }
    let result = result(&output.lines)
        .ok_or_else(|| format!("the bench {name} printed no JSON object, so nothing is kept"))?;
    keep(workspace, name, &result)
}

/// Keeps a result with what makes it comparable.
fn keep(workspace: &Workspace, name: &str, result: &Value) -> Result<()> {
    let kept = json!({
        "bench": name,
        "command": format!("cargo xtask bench {name}"),
        "commit": commit(workspace),
        "date": date(SystemTime::now()),
        "machine": machine(),
        "result": result,
    });
    let folder = workspace.path("bench/results");
    let file = folder.join(format!("{name}.json"));
    let text = serde_json::to_string_pretty(&kept).expect("a value of strings") + "\n";
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(&file, text))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    println!("kept in bench/results/{name}.json");
    Ok(())
}

/// The last line that is a JSON object.
fn result(lines: &[String]) -> Option<Value> {
    lines.iter().rev().find_map(|line| serde_json::from_str(line).ok().filter(Value::is_object))
}

/// The commit, with a mark if the tree differs from it.
pub(crate) fn commit(workspace: &Workspace) -> String {
    let arguments = ["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"];
    first_line(Command::new("git").current_dir(workspace.root()).args(arguments))
}

/// What a figure was measured on.
pub(crate) fn machine() -> Value {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
    json!({
        "cpu": model,
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "kernel": first_line(Command::new("uname").arg("-sr")),
        "rustc": first_line(Command::new("rustc").arg("--version")),
    })
}

fn first_line(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    let line = String::from_utf8_lossy(&output).lines().next().map(str::to_owned);
    line.unwrap_or_else(|| "unknown".into())
}

/// The UTC day as YYYY-MM-DD, by counting the days of years and months since 1970.
pub(crate) fn date(now: SystemTime) -> String {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut day = seconds / 86_400;
    let mut year = 1970;
    while day >= 365 + leap(year) {
        day -= 365 + leap(year);
        year += 1;
    }
    let mut month = 1;
    for len in [31, 28 + leap(year), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if day < len {
            break;
        }
        day -= len;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", day + 1)
}

fn leap(year: u64) -> u64 {
    u64::from(year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn days_are_named_as_the_calendar_does() {
        for (seconds, day) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (1_709_251_199, "2024-02-29"),
            (1_735_689_599, "2024-12-31"),
            (1_735_689_600, "2025-01-01"),
            (1_740_787_200, "2025-03-01"),
        ] {
            assert_eq!(date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), day);
        }
    }

    #[test]
    fn the_result_is_the_last_object_among_the_lines() {
        let lines = ["words", "{\"a\":1}", "7", "{\"a\":2}", "more words"].map(str::to_owned);
        assert_eq!(result(&lines), Some(json!({ "a": 2 })));
        assert_eq!(result(&lines[..1]), None);
    }
}
