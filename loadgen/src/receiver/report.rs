//! What the receiving ends found in one run of another process, as text and as JSON, both made from
//! one [`ReceiveReport`].

use std::fmt;

use serde::Serialize;

use super::{Fault, Received};
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
    /// Number of the run, in every packet of it; null for the packets of no run that was known when
    /// they came, which stand together at the end.
    pub run: Option<u32>,
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
        let books = players.iter().flatten().filter_map(|player| player.receiver.book(run));
        let flow = |(index, flow): (usize, &crate::workload::Flow)| {
            let book = players[flow.to].as_ref().and_then(|player| player.receiver.book(run));
            FlowReceived {
                from: workload.ends[flow.from].name.clone(),
                to: workload.ends[flow.to].name.clone(),
                fulfilled: book.map_or(0, |book| book.fulfilled_counts[index]),
                received: book.map_or(0, |book| book.fulfilled_amounts[index]).to_string(),
            }
        };
        let flows = workload.flows.iter().enumerate().map(flow).collect();
        Self {
            run: Some(run),
            asked,
            flows,
            ..Self::of_books(workload, &books.collect::<Vec<_>>())
        }
    }

    /// What came and belongs to no run that was known, if anything did.
    #[must_use]
    pub fn of_no_run(workload: &Workload, players: &[Option<Player>]) -> Option<Self> {
        let books = players.iter().flatten().filter_map(|player| player.receiver.outside());
        let report = Self::of_books(workload, &books.collect::<Vec<_>>());
        (report.prepares > 0).then_some(report)
    }

    /// The sums of some books, as if they were of no run.
    fn of_books(workload: &Workload, books: &[&Received]) -> Self {
        let fault = |fault: Fault| FaultReport {
            fault: fault.name(),
            count: books.iter().map(|book| book.faults[fault as usize]).sum(),
        };
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            run: None,
            seed: workload.traffic.seed,
            asked: false,
            prepares: books.iter().map(|book| book.prepares).sum(),
            fulfilled: books.iter().map(|book| book.fulfilled).sum(),
            generator_cpu: None,
            faults: Fault::ALL.into_iter().map(fault).filter(|fault| fault.count > 0).collect(),
            flows: Vec::new(),
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
        let prepares = grouped(self.prepares);
        match self.run {
            None => writeln!(f, "m2-load receive: {prepares} PREPAREs of no run that was known")?,
            Some(run) => writeln!(
                f,
                "m2-load receive: run {run:08x}, {prepares} PREPAREs arrived, {} fulfilled; {}",
                grouped(self.fulfilled),
                if self.asked {
                    "its sender was told the books"
                } else {
                    "its sender did not ask for the books of every flow"
                }
            )?,
        }
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
