//! `cargo xtask bench sockets`: how many pairs a second, and at what CPU time, beside the forwarder.

use serde_json::{Value, json};

use super::{CPU, Effort, PAIRS_PER_S, Side, Turns};
use crate::Result;
use crate::bench::packets;
use crate::bench::targets::{Programs, Setup, Transport};
use crate::workspace::Workspace;

/// Connections each way, and packets in flight on each of those that send.
const CASES: [(Transport, u16, u32); 8] = [
    (Transport::Tcp, 4, 64),
    (Transport::Tcp, 8, 64),
    (Transport::Tcp, 16, 64),
    (Transport::Tcp, 4, 1024),
    (Transport::WebSocket, 4, 64),
    (Transport::WebSocket, 8, 64),
    (Transport::WebSocket, 16, 64),
    (Transport::WebSocket, 4, 1024),
];

/// The generator has one core, as the target has: it may be the slower one.
const READING: &str = "where the generator was the limit of a side, the ratio of pairs a second flatters the \
                       other; the ratio of the target's CPU time tells what a core could do";

/// Measures every case.
///
/// # Errors
///
/// When a program does not build or start, or a run has a failure.
pub(in crate::bench) fn run(workspace: &Workspace, effort: Effort) -> Result<Value> {
    let programs = Programs::build(workspace, "bench-sockets")?.with_forwarder()?;
    let case = |case: &(Transport, u16, u32)| measure(&programs, *case, effort);
    let cases: Vec<_> = effort.of(&CASES).iter().map(case).collect::<Result<_>>()?;
    Ok(json!({
        "departures_from_the_standard_workload": packets::DEPARTURES,
        "how_to_read": READING,
        "cases": cases,
    }))
}

fn measure(
    programs: &Programs<'_>,
    (transport, connections, window): (Transport, u16, u32),
    effort: Effort,
) -> Result<Value> {
    let name = format!("{}-{connections}x{window}", transport.name());
    println!("== {name}");
    let programs = programs.in_folder(&name)?;
    let links = (transport, connections);
    let durability = |durability| Setup { durability, ..Setup::default() };
    let forwarder = Side::forwarder(&programs, links, Setup::default())?;
    let off = Side::switch(&programs, "off", links, durability("none"))?;
    let recorded = Side::switch(&programs, "async", links, durability("async"))?;
    let in_flight = (u32::from(connections) * window).to_string();
    let words = ["--window", &in_flight, "--seconds", "1"];
    let turns = Turns::take(&programs, &[&forwarder, &off, &recorded], effort.runs, &words)?;
    Ok(json!({
        "transport": transport.name(),
        "connections_each_way": connections,
        "in_flight_on_each": window,
        "measured": turns.to_json(0, &[PAIRS_PER_S, CPU]),
    }))
}
