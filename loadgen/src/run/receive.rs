//! The receiving ends of a workload, for senders in other processes.
//!
//! Invariant: each run is reported once: when the books of all its flows were asked for, or at the
//! end if they never were. What belongs to no run is reported at the end.

use std::num::NonZeroU64;
use std::ops::ControlFlow;

use super::{Part, RunError, connect, terms};
use crate::cpu::CpuTime;
use crate::engine::{Cut, Drive, Engine, Pace, Player};
use crate::interrupt::Interrupt;
use crate::limits;
use crate::receiver::report::ReceiveReport;
use crate::report::Cpu;
use crate::workload::Workload;

/// When to end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Until {
    /// After so many seconds.
    pub seconds: Option<u64>,
    /// After so many runs whose books were asked for.
    pub runs: Option<u64>,
}

/// Receives until it is time to end: calls `ready` when all ends are connected, and `tell` with each
/// run as it ends. Gives the reason if it ended early.
///
/// # Errors
///
/// When it could not begin.
pub fn receive(
    workload: &Workload,
    until: Until,
    ready: impl FnOnce(),
    tell: &mut dyn FnMut(&ReceiveReport),
) -> Result<Option<Cut>, RunError> {
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let players = connect(workload, Part::Receiving)?;
    let drive = Drive { pace: Pace::Answering, ..Drive::default() };
    // No run has this number in particular: every receiver takes all.
    let terms = terms(workload, 0);
    let mut engine = Engine::new(workload, terms, players, Interrupt::watch()?, drive)?;
    ready();
    let cpu = CpuTime::now().unwrap_or_default();
    let mut told = Told { workload, runs: Vec::new(), count: 0, cpu, tell };
    let until_ns = until.seconds.map(|seconds| seconds * 1_000_000_000);
    let result = engine.serve(until_ns, |players, run| {
        told.asked(players, run);
        match until.runs {
            Some(runs) if told.count >= runs => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    told.rest(&engine.players);
    Ok(result.err())
}

/// The runs that were reported.
struct Told<'a> {
    workload: &'a Workload,
    /// The last ones, so that none is told twice.
    runs: Vec<u32>,
    count: u64,
    /// CPU time at the last report, or when the ends were connected.
    cpu: CpuTime,
    tell: &'a mut dyn FnMut(&ReceiveReport),
}

impl Told<'_> {
    /// Somebody asked for books of this run: perhaps for the last that were missing.
    fn asked(&mut self, players: &[Option<Player>], run: u32) {
        let all = self.workload.flows.iter().enumerate().all(|(index, flow)| {
            let number = u16::try_from(index).expect("flows are fewer than 2^16");
            players[flow.to].as_ref().is_some_and(|player| player.receiver.was_asked(run, number))
        });
        if all && !self.runs.contains(&run) {
            self.count += 1;
            self.report(players, run, true);
        }
    }

    /// The runs that nobody asked about, or not about every flow, and what is of none.
    fn rest(&mut self, players: &[Option<Player>]) {
        let mut runs: Vec<u32> = Vec::new();
        for run in players.iter().flatten().flat_map(|player| player.receiver.runs()) {
            if !runs.contains(&run) && !self.runs.contains(&run) {
                runs.push(run);
            }
        }
        runs.into_iter().for_each(|run| self.report(players, run, false));
        if let Some(report) = ReceiveReport::of_no_run(self.workload, players) {
            (self.tell)(&report);
        }
    }

    fn report(&mut self, players: &[Option<Player>], run: u32, asked: bool) {
        if self.runs.len() == limits::RUNS_KEPT_MAX {
            self.runs.remove(0);
        }
        self.runs.push(run);
        let mut report = ReceiveReport::of(self.workload, players, run, asked);
        if let Some(now) = CpuTime::now() {
            report.generator_cpu = Some(Cpu::of(now.since(&self.cpu), report.prepares));
            self.cpu = now;
        }
        (self.tell)(&report);
    }
}
