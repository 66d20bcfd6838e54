//! What the receiving ends found in one run of another process, as text and as JSON, both made from
//! one [`ReceiveReport`].

use std::fmt;

use serde::Serialize;

use super::Fault;
use crate::engine::Player;
use crate::report::{Cpu, FaultReport, cpu_parts, duration, grouped};
use crate::workload::Workload;

/// Names the schema; it changes when a key changes its meaning or goes.
pub const SCHEMA: &str = "m2-load.receive/1";

/// What the receiving ends found in one run.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReceiveReport {
    /// [`SCHEMA`]
    pub schema: &'static str,
    /// Version of the generator.
    pub version: &'static str,
    /// Number of the run, in every packet of it.
    pub run: u32,
    /// Seed of every draw.
    pub seed: u64,
    /// Whether the sender asked for the books of every flow: it has all its answers then.
    pub asked: bool,
    /// PREPAREs that arrived.
    pub prepares: u64,
    /// PREPAREs that were fulfilled.
    pub fulfilled: u64,
    /// CPU time of this process since its last report, or since its ends were connected: that of the
    /// run, if no other was served meanwhile.
    pub generator_cpu: Option<Cpu>,
    /// What was wrong with PREPAREs.
    pub faults: Vec<FaultReport>,
    /// What each flow brought.
    pub flows: Vec<FlowReceived>,
}

/// What one flow brought.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FlowReceived {
    /// The sending end.
    pub from: String,
    /// The receiving end.
    pub to: String,
    /// PREPAREs that were fulfilled.
    pub fulfilled: u64,
    /// Sum of their amounts, in the receiver's units.
    pub received: String,
}

impl ReceiveReport {
    /// What these ends know of a run.
    #[must_use]
    pub fn of(workload: &Workload, players: &[Option<Player>], run: u32, asked: bool) -> Self {
        let books = || players.iter().flatten().filter_map(|player| player.receiver.book(run));
        let fault = |fault: Fault| FaultReport {
            fault: fault.name(),
            count: books().map(|book| book.faults[fault as usize]).sum(),
        };
        let flow = |(index, flow): (usize, &crate::workload::Flow)| {
            let book = players[flow.to].as_ref().and_then(|player| player.receiver.book(run));
            FlowReceived {
                from: workload.ends[flow.from].name.clone(),
                to: workload.ends[flow.to].name.clone(),
                fulfilled: book.map_or(0, |book| book.fulfilled_counts[index]),
                received: book.map_or(0, |book| book.fulfilled_amounts[index]).to_string(),
            }
        };
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            run,
            seed: workload.traffic.seed,
            asked,
            prepares: books().map(|book| book.prepares).sum(),
            fulfilled: books().map(|book| book.fulfilled).sum(),
            generator_cpu: None,
            faults: Fault::ALL.into_iter().map(fault).filter(|fault| fault.count > 0).collect(),
            flows: workload.flows.iter().enumerate().map(flow).collect(),
        }
    }

    /// The report as a JSON object on one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings, numbers and lists of them")
    }
}

impl fmt::Display for ReceiveReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "m2-load receive: run {:08x}, {} PREPAREs arrived, {} fulfilled; {}",
            self.run,
            grouped(self.prepares),
            grouped(self.fulfilled),
            if self.asked {
                "its sender was told the books"
            } else {
                "its sender did not ask for the books of every flow"
            }
        )?;
        for flow in &self.flows {
            let fulfilled = grouped(flow.fulfilled);
            let FlowReceived { from, to, received, .. } = flow;
            writeln!(f, "flow         {from} to {to}: {fulfilled} fulfilled, {received} received")?;
        }
        if let Some(cpu) = &self.generator_cpu {
            let total = duration(cpu.total_ns_per_pair);
            writeln!(f, "cpu          receiver           {total} a pair: {}", cpu_parts(cpu))?;
        }
        for fault in &self.faults {
            let count = grouped(fault.count);
            writeln!(f, "FAILED       {count} PREPAREs with a fault: {}", fault.fault)?;
        }
        Ok(())
    }
}
