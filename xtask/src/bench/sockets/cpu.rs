//! `cargo xtask bench cpu`: what a pair costs the switch in CPU time where nobody spins, and what it costs
//! npm ilp-connector 23 in the same run with the same generator.

use serde_json::{Value, json};

use super::{CPU, Effort, PAIRS_PER_S, Side, Turns};
use crate::Result;
use crate::bench::packets;
use crate::bench::peers;
use crate::bench::targets::{Programs, Setup, Transport, free_ports};
use crate::workspace::Workspace;
use crate::{interop, npm};

const CONNECTIONS: u16 = 4;
/// In flight on each connection that sends.
const WINDOWS: [u32; 2] = [1024, 64];
/// In flight where the connector from npm is measured: as everywhere that it is.
const PEERS_WINDOW: &str = "100";

/// Measures the switch over TCP, and then both over WebSocket.
///
/// # Errors
///
/// When a program does not build or start, or a run has a failure.
pub(in crate::bench) fn run(workspace: &Workspace, effort: Effort) -> Result<Value> {
    let npm = npm::installed(workspace, interop::FOLDER)?;
    let programs = Programs::build(workspace, "bench-cpu")?.with_forwarder()?;
    let mut windows = Vec::new();
    let mut ours_ns = Vec::new();
    for window in WINDOWS {
        let (turns, found) = over_tcp(&programs, window, effort)?;
        ours_ns.push(turns.spread(1, CPU).median);
        windows.push(found);
    }
    println!("== ilp-connector and the switch, over WebSocket, {PEERS_WINDOW} in flight");
    let programs = programs.in_folder("peers")?;
    let ours = Side {
        target: programs.start_switch(
            "m2-switch",
            peers::WORKLOAD,
            Transport::WebSocket,
            Setup { durability: "async", ..Setup::default() },
        )?,
        workload: peers::WORKLOAD.to_owned(),
        control_socket: Some(programs.folder.join("m2-switch/control.sock")),
    };
    let theirs = Side {
        target: peers::start_connector(&programs, &npm, free_ports(2)?)?,
        workload: peers::WORKLOAD.to_owned(),
        control_socket: None,
    };
    let words = ["--window", PEERS_WINDOW, "--seconds", "1"];
    let turns = Turns::take(&programs, &[&ours, &theirs], effort.runs, &words)?;
    let theirs_ns = turns.spread(1, CPU).median;
    let times: Vec<_> = ours_ns.iter().map(|ours_ns| (theirs_ns / ours_ns).round()).collect();
    println!(
        "  unlike workloads and transports: ilp-connector over WebSocket, {PEERS_WINDOW} in flight, over the \
         switch on TCP, saturated and at window 64: {times:?} times"
    );
    Ok(json!({
        "departures_from_the_standard_workload": packets::DEPARTURES,
        "over_tcp": windows,
        "beside_ilp_connector": { "workload": peers::WORKLOAD, "measured": turns.to_json(0, &[CPU]) },
        "ilp_connector_on_websocket_over_switch_on_tcp": { "saturated": times[0], "window_64": times[1] },
    }))
}

fn over_tcp(programs: &Programs<'_>, window: u32, effort: Effort) -> Result<(Turns, Value)> {
    println!("== over TCP, {window} in flight on each of {CONNECTIONS}");
    let programs = programs.in_folder(&format!("tcp-{window}"))?;
    let links = (Transport::Tcp, CONNECTIONS);
    let forwarder = Side::forwarder(&programs, links, Setup::default())?;
    let setup = Setup { durability: "async", ..Setup::default() };
    let switch = Side::switch(&programs, "async", links, setup)?;
    let in_flight = (u32::from(CONNECTIONS) * window).to_string();
    let words = ["--window", &in_flight, "--seconds", "1"];
    let turns = Turns::take(&programs, &[&forwarder, &switch], effort.runs, &words)?;
    let found = json!({
        "connections_each_way": CONNECTIONS,
        "in_flight_on_each": window,
        "measured": turns.to_json(0, &[CPU, PAIRS_PER_S]),
    });
    Ok((turns, found))
}
