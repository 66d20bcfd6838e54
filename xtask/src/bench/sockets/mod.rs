//! The benches through sockets: the switch in a process of its own, the generator in another, and the
//! forwarder beside the switch. Every answer is verified by the generator, and so are the ledgers of
//! every switch after each run; of three in a row, at the end.
//!
//! ```text
//!   m2-load  <== BTP ==>  m2-forwarder         links, frames, batches, sends; no core
//!            <== BTP ==>  m2-switch, off       and the core
//!            <== BTP ==>  m2-switch, async     and the journal
//!                         one is asked at a time, in turns: ABC CBA ABC ...
//! ```
//!
//! Ratios are taken within a turn. Invariant: a run with a failure ends the bench; nothing is kept.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::packets::{self, For};
use super::spread::Spread;
use super::targets::{IO, Programs, Setup, Target, Transport, report};
use crate::Result;

pub(super) mod cpu;
pub(super) mod one;
pub(super) mod openloop;
pub(super) mod settlement;
pub(super) mod slowpeer;
pub(super) mod three;
pub(super) mod throughput;

/// Between two runs: longer than any target polls before it sleeps.
const BETWEEN_RUNS: Duration = Duration::from_millis(100);

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// Turns, without the one that warms up.
    pub(super) runs: usize,
    /// The first case alone: to see that it runs.
    pub(super) quick: bool,
}

impl Effort {
    /// The cases that are measured.
    fn of<'a, T>(&self, cases: &'a [T]) -> &'a [T] {
        if self.quick { &cases[..cases.len().min(1)] } else { cases }
    }
}

/// One of those that are measured in turns.
pub(super) struct Side {
    target: Target,
    workload: String,
    /// Of a switch: where its ledgers are asked for.
    control_socket: Option<PathBuf>,
}

/// What one run of the generator says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    pairs_per_s: f64,
    p50_us: f64,
    p99_us: f64,
    p99_9_us: f64,
    cpu_ns_per_pair: f64,
    generator_was_limit: bool,
}

/// A figure of a run, by its name in results.
type Measure = (&'static str, fn(&Trial) -> f64);

const PAIRS_PER_S: Measure = ("pairs_per_s", |trial| trial.pairs_per_s);
const P50: Measure = ("p50_us", |trial| trial.p50_us);
const P99: Measure = ("p99_us", |trial| trial.p99_us);
const P99_9: Measure = ("p99_9_us", |trial| trial.p99_9_us);
const CPU: Measure = ("target_cpu_ns_per_pair", |trial| trial.cpu_ns_per_pair);

const MEASURES: [Measure; 5] = [PAIRS_PER_S, P50, P99, P99_9, CPU];

impl Trial {
    fn of(report: &Value) -> Result<Self> {
        let number = |value: &Value, what: &str| {
            value.as_f64().ok_or_else(|| format!("the generator reports no {what}"))
        };
        let latency = |key: &str| number(&report["latency"][key], key).map(|ns| ns / 1e3);
        let cpu_us =
            number(&report["target_process"]["cpu"]["total_us"], "CPU time of the target")?;
        Ok(Self {
            pairs_per_s: number(&report["answered_per_s"], "rate")?,
            p50_us: latency("p50_ns")?,
            p99_us: latency("p99_ns")?,
            p99_9_us: latency("p99_9_ns")?,
            cpu_ns_per_pair: cpu_us * 1e3 / number(&report["answered"], "answers")?.max(1.0),
            generator_was_limit: report["generator_was_limit"] == true,
        })
    }
}

impl Side {
    /// A switch for a workload of [`packets`].
    pub(super) fn switch(
        programs: &Programs<'_>,
        name: &'static str,
        (transport, connections): (Transport, u16),
        setup: Setup<'_>,
    ) -> Result<Self> {
        let workload = packets::write(&programs.folder, programs.root(), connections, For::Switch)?;
        let target = programs.start_switch(name, &workload, transport, setup)?;
        let control_socket = Some(programs.folder.join(name).join("control.sock"));
        Ok(Self { target, workload, control_socket })
    }

    /// The forwarder for a workload of [`packets`].
    pub(super) fn forwarder(
        programs: &Programs<'_>,
        (transport, connections): (Transport, u16),
        setup: Setup<'_>,
    ) -> Result<Self> {
        let workload =
            packets::write(&programs.folder, programs.root(), connections, For::Forwarder)?;
        let target = programs.start_forwarder(&workload, transport, setup)?;
        Ok(Self { target, workload, control_socket: None })
    }

    fn name(&self) -> &'static str {
        self.target.name
    }

    /// One run of the generator, with these words behind those that name the target.
    fn run(&self, programs: &Programs<'_>, words: &[&str]) -> Result<Value> {
        let mut load = programs.load();
        load.args(["run", "--json", "--quiet", "--workload", &self.workload]);
        load.args(["--target-pid", &self.target.child.id().to_string()]);
        if !self.target.url.is_empty() {
            load.args(["--target", &self.target.url]);
        }
        if let Some(socket) = &self.control_socket {
            load.arg("--control-socket").arg(socket);
        }
        report(load.args(words)).map_err(|why| format!("{}: {why}", self.name()))
    }
}

/// What was measured of sides in turns.
pub(super) struct Turns {
    names: Vec<&'static str>,
    /// By side, its runs in the order of the turns.
    trials: Vec<Vec<Trial>>,
    environment: Value,
}

impl Turns {
    /// Of sides with these names, nothing measured yet.
    fn none(names: &[&'static str]) -> Self {
        Self {
            names: names.to_vec(),
            trials: vec![Vec::new(); names.len()],
            environment: Value::Null,
        }
    }

    /// Takes a run of a side in.
    fn push(&mut self, side: usize, trial: Trial, report: &Value) {
        self.trials[side].push(trial);
        self.environment = environment(report);
    }

    /// Runs each side once to warm up, then all in turns.
    pub(super) fn take(
        programs: &Programs<'_>,
        sides: &[&Side],
        runs: usize,
        words: &[&str],
    ) -> Result<Self> {
        let names: Vec<_> = sides.iter().map(|side| side.name()).collect();
        let mut turns = Self::none(&names);
        for turn in 0..=runs {
            let forth = turn % 2 == 0;
            for step in 0..sides.len() {
                let index = if forth { step } else { sides.len() - 1 - step };
                // Whoever ran before has stopped polling for more.
                thread::sleep(BETWEEN_RUNS);
                let report = sides[index].run(programs, words)?;
                if turn > 0 {
                    turns.push(index, Trial::of(&report)?, &report);
                }
            }
        }
        turns.print();
        Ok(turns)
    }

    fn print(&self) {
        for (name, trials) in self.names.iter().zip(&self.trials) {
            let figures: Vec<_> = MEASURES
                .iter()
                .map(|(measure, of)| format!("{measure} {}", spread(trials, *of)))
                .collect();
            let limited = trials.iter().filter(|trial| trial.generator_was_limit).count();
            println!("  {name}: {}; generator the limit in {limited} runs", figures.join(", "));
        }
    }

    /// The figure of a side by its place.
    pub(super) fn spread(&self, side: usize, measure: Measure) -> Spread {
        spread(&self.trials[side], measure.1)
    }

    /// The ratios of one side to another, run by run.
    pub(super) fn ratio(&self, of: usize, to: usize, measure: Measure) -> Spread {
        let pairs = self.trials[of].iter().zip(&self.trials[to]);
        Spread::of(pairs.map(|(of, to)| measure.1(of) / measure.1(to)).collect())
    }

    /// All figures of all sides, and the ratios of these measures to the side at a place.
    pub(super) fn to_json(&self, base: usize, ratios: &[Measure]) -> Value {
        let mut sides = Map::new();
        for (name, trials) in self.names.iter().zip(&self.trials) {
            let mut side = Map::new();
            for (measure, of) in MEASURES {
                side.insert(measure.to_owned(), spread(trials, of).to_json());
            }
            let limited = trials.iter().filter(|trial| trial.generator_was_limit).count();
            side.insert("runs_limited_by_generator".to_owned(), limited.into());
            sides.insert((*name).to_owned(), side.into());
        }
        let mut to_base = Map::new();
        for (index, name) in self.names.iter().enumerate().filter(|(index, _)| *index != base) {
            let of = |measure: &Measure| {
                let ratio = self.ratio(index, base, *measure);
                println!("  {name} / {}, {}: {ratio}", self.names[base], measure.0);
                (measure.0.to_owned(), ratio.to_json())
            };
            let named = format!("{name}_over_{}", self.names[base]);
            to_base.insert(named, ratios.iter().map(of).collect::<Map<_, _>>().into());
        }
        json!({
            "runs": self.trials[base].len(),
            "sides": sides,
            "ratios": to_base,
            "environment": self.environment,
        })
    }
}

fn spread(trials: &[Trial], of: fn(&Trial) -> f64) -> Spread {
    Spread::of(trials.iter().map(of).collect())
}

/// What stands around a run, without its command line, which names files of this machine.
fn environment(report: &Value) -> Value {
    let given = &report["environment"];
    let accepted = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control");
    json!({
        "kernel": given["kernel"],
        "cpu_model": given["cpu_model"],
        "cores": given["cores"],
        "generator_waits_by": given["waiting"],
        "generator_links": given["links"],
        "targets": IO,
        "target_congestion_control": accepted.as_deref().map_or("unknown", str::trim),
    })
}
