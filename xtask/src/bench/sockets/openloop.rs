//! `cargo xtask bench openloop`: latency at 70 % of the highest rate that the switch takes without loss,
//! beside the forwarder's at the same rate. Two more sides tell what a slow percentile is made of: one whose
//! FULFILLs wait for no flush that takes less than a second, and one that records nothing.

use serde_json::{Value, json};

use super::{Effort, P50, P99, P99_9, Side, Turns};
use crate::Result;
use crate::bench::packets;
use crate::bench::targets::{Programs, Setup, Transport, report};
use crate::workspace::Workspace;

const CONNECTIONS: u16 = 4;
/// For each turn of the other benches: what is rare spreads more.
const TURNS: usize = 2;
/// Of the highest rate, in percent.
const SHARE: u64 = 70;

/// FULFILLs of `async` accounts wait for a flush only after a second, or a million records.
const PATIENT: &str = "async_ms = 1000\nasync_bytes = 67108864";

/// A rate at which packets pile up loses none before they expire; this tells that they do.
const P99_MAX: &str = "50ms";

/// Measures both transports.
///
/// # Errors
///
/// When a program does not build or start, a run has a failure, or no rate is good.
pub(in crate::bench) fn run(workspace: &Workspace, effort: Effort) -> Result<Value> {
    let programs = Programs::build(workspace, "bench-openloop")?.with_forwarder()?;
    let transports = [Transport::Tcp, Transport::WebSocket];
    let case = |transport: &Transport| measure(&programs, *transport, effort);
    let cases: Vec<_> = effort.of(&transports).iter().map(case).collect::<Result<_>>()?;
    Ok(json!({
        "departures_from_the_standard_workload": packets::DEPARTURES,
        "share_of_the_highest_rate": SHARE,
        "cases": cases,
    }))
}

fn measure(programs: &Programs<'_>, transport: Transport, effort: Effort) -> Result<Value> {
    println!("== {}, open loop", transport.name());
    let programs = programs.in_folder(transport.name())?;
    let links = (transport, CONNECTIONS);
    let forwarder = Side::forwarder(&programs, links, Setup::default())?;
    let setup = Setup { durability: "async", ..Setup::default() };
    let switch = Side::switch(&programs, "async", links, setup)?;
    let setup = Setup { journal: PATIENT, ..setup };
    let patient = Side::switch(&programs, "async_patient", links, setup)?;
    let setup = Setup { durability: "none", ..Setup::default() };
    let off = Side::switch(&programs, "off", links, setup)?;
    let highest = highest(&programs, &switch, effort.quick)?;
    let rate = (highest["rate_per_s"].as_u64().unwrap_or(0) * SHARE / 100).to_string();
    println!("  highest rate {}, measured at {rate}", highest["rate_per_s"]);
    let words = ["--rate", &rate, "--seconds", "1"];
    let sides = [&forwarder, &switch, &patient, &off];
    let turns = Turns::take(&programs, &sides, TURNS * effort.runs, &words)?;
    Ok(json!({
        "transport": transport.name(),
        "connections_each_way": CONNECTIONS,
        "highest": highest,
        "measured": turns.to_json(0, &[P50, P99, P99_9]),
    }))
}

/// The highest rate that a side takes without loss, and what was in the way of more.
pub(super) fn highest(programs: &Programs<'_>, side: &Side, quick: bool) -> Result<Value> {
    let mut load = programs.load();
    load.args(["search", "--json", "--quiet", "--workload", &side.workload]);
    load.args(["--from", "1000", "--to", "8000000", "--max-p99", P99_MAX]);
    let trials = if quick { ["0.3", "1", "1"] } else { ["0.1", "1", "3"] };
    load.args([
        "--goal-width",
        trials[0],
        "--final-seconds",
        trials[1],
        "--final-trials",
        trials[2],
    ]);
    if !side.target.url.is_empty() {
        load.args(["--target", &side.target.url]);
    }
    if let Some(socket) = &side.control_socket {
        load.arg("--control-socket").arg(socket);
    }
    let found = report(&mut load)?;
    match found["good"]["rate_per_s"].as_u64() {
        Some(rate) => Ok(json!({
            "rate_per_s": rate,
            "p99_max": P99_MAX,
            "limited_by": found["limit"],
            "why": found["why"],
        })),
        None => Err(format!("no rate is good: {}", found["summary"])),
    }
}
