//! `cargo xtask bench one`: one packet at a time, and nobody sleeps: what a packet's way takes when it
//! waits for nothing.

use serde_json::{Value, json};

use super::{Effort, P50, P99, Side, Turns};
use crate::Result;
use crate::bench::packets;
use crate::bench::targets::{Programs, Setup, Transport};
use crate::workspace::Workspace;

/// A thousand round trips: while packets come, the shard does not sleep; when the other side's turn has
/// come, it does.
const SPIN: &str = "spin_us = 20000";

/// Measures both transports.
///
/// # Errors
///
/// When a program does not build or start, or a run has a failure.
pub(in crate::bench) fn run(workspace: &Workspace, effort: Effort) -> Result<Value> {
    let programs = Programs::build(workspace, "bench-one")?.with_forwarder()?;
    let transports = [Transport::Tcp, Transport::WebSocket];
    let case = |transport: &Transport| measure(&programs, *transport, effort);
    let cases: Vec<_> = effort.of(&transports).iter().map(case).collect::<Result<_>>()?;
    Ok(json!({
        "departures_from_the_standard_workload": packets::DEPARTURES,
        "waiting": "the generator and the targets spin; on two cores nothing is left for the journal thread, \
                    so nothing is recorded",
        "cases": cases,
    }))
}

fn measure(programs: &Programs<'_>, transport: Transport, effort: Effort) -> Result<Value> {
    println!("== {}, one at a time", transport.name());
    let programs = programs.in_folder(transport.name())?;
    let setup = Setup { durability: "none", switch: SPIN, ..Setup::default() };
    let forwarder = Side::forwarder(&programs, (transport, 1), setup)?;
    let switch = Side::switch(&programs, "switch", (transport, 1), setup)?;
    let words = ["--window", "1", "--seconds", "1", "--spin"];
    let turns = Turns::take(&programs, &[&forwarder, &switch], effort.runs, &words)?;
    let more_us = turns.spread(1, P50).median - turns.spread(0, P50).median;
    println!("  switch - forwarder, p50: {more_us:.2} us");
    Ok(json!({
        "transport": transport.name(),
        "p50_of_switch_less_that_of_forwarder_us": more_us,
        "measured": turns.to_json(0, &[P50, P99]),
    }))
}
