//! `cargo xtask bench slowpeer`: one of sixteen peers stops reading. What the others notice of it.
//!
//! ```text
//!   m2-load    15 senders ==>            ==> 15 receivers      measured
//!                             m2-switch
//!   sixteenth  a sender   ==>            ==> a receiver        which answers (A), or does not read (B)
//! ```
//!
//! One switch serves A and B in turns. What is sent to the sixteenth is the same in both; where it does not
//! read, the switch refuses it once the bytes that wait have reached half of their bound. So the side that
//! reads is the heavier: its packets are forwarded and answered. What was in flight to the one that does not
//! read ends by its expiry, in whichever run that falls.

use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::{CPU, Effort, P50, P99, PAIRS_PER_S, Side, Trial, Turns};
use crate::Result;
use crate::bench::packets;
use crate::bench::targets::{Programs, Setup, Transport};
use crate::command::{self, Show};
use crate::workspace::Workspace;

const OTHERS: u16 = 15;
/// In flight on each of the others.
const WINDOW: u32 = 64;
/// PREPAREs a second to the sixteenth: enough to fill half of its 8 MiB within a second, and far from all
/// that the others send.
const RATE: &str = "40000";

const ACCOUNTS: &str = "\
[[accounts]]\nname = \"sixteenth-sender\"\nrelation = \"child\"\nasset = \"USD/9\"\n\
token = \"public-sixteenth-sender\"\nbalance_max = 1000000000000000000\n\
payable_max = 1000000000000000000\nin_flight_packets_max = 100000\n\
[[accounts]]\nname = \"sixteenth-receiver\"\nrelation = \"child\"\nasset = \"USD/9\"\n\
token = \"public-sixteenth-receiver\"\nbalance_max = 1000000000000000000\n\
payable_max = 1000000000000000000\nin_flight_packets_max = 100000\n";

/// Measures the others while the sixteenth reads, and while it does not.
///
/// # Errors
///
/// When a program does not build or start, or a run has a failure.
pub(in crate::bench) fn run(workspace: &Workspace, effort: Effort) -> Result<Value> {
    let programs = Programs::build(workspace, "bench-slowpeer")?;
    let arguments = ["build", "--release", "-p", "m2-bench", "--bin", "sixteenth"];
    if !command::run(&mut command::cargo(workspace, &arguments), Show::Lines)?.success {
        return Err("the sixteenth peer does not build".into());
    }
    let setup = Setup { durability: "async", accounts: ACCOUNTS, ..Setup::default() };
    let others = Side::switch(&programs, "others", (Transport::Tcp, OTHERS), setup)?;
    let window = (u32::from(OTHERS) * WINDOW).to_string();
    let mut turns = Turns::none(&["reading", "not_reading"]);
    for turn in 0..=effort.runs {
        let order = if turn % 2 == 0 { [true, false] } else { [false, true] };
        for reads in order {
            let sixteenth = Sixteenth::start(&programs, &others.target.url, reads)?;
            let report = others.run(&programs, &["--window", &window, "--seconds", "1"])?;
            let answers = sixteenth.end()?;
            if turn > 0 {
                turns.push(usize::from(!reads), Trial::of(&report)?, &report);
                println!(
                    "  the sixteenth {}: {answers}",
                    if reads { "reads" } else { "does not read" }
                );
            }
        }
    }
    turns.print();
    Ok(json!({
        "departures_from_the_standard_workload": packets::DEPARTURES,
        "connections_each_way": OTHERS + 1,
        "in_flight_on_each_of_the_others": WINDOW,
        "prepares_per_s_to_the_sixteenth": RATE,
        "measured": turns.to_json(0, &[PAIRS_PER_S, P50, P99, CPU]),
    }))
}

/// The program that plays both ends of the sixteenth.
struct Sixteenth(Child);

impl Sixteenth {
    /// Starts it, and waits until what it has to show shows: it answers, or its bytes wait.
    fn start(programs: &Programs<'_>, url: &str, reads: bool) -> Result<Self> {
        let mut command: Command = programs.program("sixteenth");
        command.args(["--target", url, "--rate", RATE]);
        if reads {
            command.arg("--reads");
        }
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| format!("the sixteenth peer: {error}"))?;
        let stdout = child.stdout.as_mut().expect("it is a pipe");
        let mut line = [0; "ready\n".len()];
        std::io::Read::read_exact(stdout, &mut line)
            .map_err(|error| format!("the sixteenth peer is not ready: {error}"))?;
        Ok(Self(child))
    }

    /// Ends it; gives what it was answered.
    fn end(mut self) -> Result<String> {
        drop(self.0.stdin.take());
        let output = self.0.wait_with_output().map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            false => Err(format!("the sixteenth peer ended with {}", output.status)),
        }
    }
}
