//! A report out of what a run counted.

use std::num::NonZeroU64;

use crate::engine::{Engine, Pace};
use crate::environment::Environment;
use crate::payload::Kind;
use crate::receiver::Fault;
use crate::report::{
    Books, CLOSED_LOOP, FaultReport, KindReport, OPEN_LOOP, Percentiles, RejectReport, Report,
    SCHEMA, SurpriseReport, Verdict,
};
use crate::workload::Workload;

pub(super) fn report(workload: &Workload, engine: &Engine<'_>, environment: Environment) -> Report {
    let tally = &engine.tally;
    let window = match engine.drive().pace {
        Pace::Closed(window) => Some(window.get()),
        Pace::Open | Pace::Answering => None,
    };
    let (offered, not_due) = match window {
        Some(_) => (tally.sent, 0),
        None => (workload.schedule().count() - engine.not_due, engine.not_due),
    };
    #[expect(clippy::cast_precision_loss)] // rates, for the eye
    let per_s = |count: u64| count as f64 * 1e9 / engine.sending_ns.max(1) as f64;
    Report {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        method: if window.is_some() { CLOSED_LOOP } else { OPEN_LOOP },
        environment,
        verdict: Verdict::Partial,
        failures: Vec::new(),
        notes: Vec::new(),
        requirements: Vec::new(),
        partial: None,
        interrupted: false,
        seed: workload.traffic.seed,
        fulfillment: workload.fulfillment.name(),
        repeat: workload.repeat.map(NonZeroU64::get),
        arrivals: workload.process.name(),
        phases: workload.phases.clone(),
        window,
        offered_per_s: window.is_none().then_some(workload.rate_per_s()),
        seconds: workload.seconds(),
        offered,
        not_due,
        sent: tally.sent,
        missed: tally.missed,
        sent_late: tally.sent_late,
        send_lag_max_ns: tally.send_lag_max_ns,
        absent_ns: tally.absent_ns,
        absent_max_ns: tally.absent_max_ns,
        generator_was_limit: false,
        answered: tally.answered,
        unanswered: engine.unanswered(),
        fulfilled: tally.fulfilled,
        rejected: tally.rejected,
        answered_per_s: per_s(tally.answered_while_sending),
        fulfilled_per_s: per_s(tally.fulfilled_while_sending),
        latency: Percentiles::from(&tally.latency),
        service: Percentiles::from(&tally.service),
        kinds: kind_reports(workload, engine),
        rejects: reject_reports(engine),
        surprises: surprise_reports(engine),
        strays: tally.strays,
        receiver_faults: fault_reports(engine),
        generator_cpu: None,
        target: None,
        target_process: None,
        books: Books::default(),
    }
}

fn kind_reports(workload: &Workload, engine: &Engine<'_>) -> Vec<KindReport> {
    let report = |kind: Kind| {
        let tally = engine.tally.kinds[kind.index()];
        KindReport {
            kind: kind.name(),
            share_per_mille: workload.traffic.mix.per_mille(kind),
            sent: tally.sent,
            as_expected: tally.as_expected,
            otherwise: tally.otherwise,
        }
    };
    Kind::ALL.into_iter().map(report).collect()
}

fn reject_reports(engine: &Engine<'_>) -> Vec<RejectReport> {
    let report = |(&code, &count): (&[u8; 3], &u64)| {
        let code = m2_codec::ilp::ErrorCode(code);
        RejectReport { code: code.to_string(), name: code.name(), count }
    };
    engine.tally.rejects.iter().map(report).collect()
}

fn surprise_reports(engine: &Engine<'_>) -> Vec<SurpriseReport> {
    let surprises = engine.tally.surprises.iter();
    surprises
        .map(|(&(kind, outcome), &count)| SurpriseReport {
            kind: kind.name(),
            outcome: outcome.name(),
            count,
        })
        .collect()
}

fn fault_reports(engine: &Engine<'_>) -> Vec<FaultReport> {
    let count = |fault: Fault| -> u64 {
        engine
            .players
            .iter()
            .flatten()
            .map(|player| player.receiver.received.faults[fault as usize])
            .sum()
    };
    Fault::ALL
        .into_iter()
        .map(|fault| FaultReport { fault: fault.name(), count: count(fault) })
        .filter(|report| report.count > 0)
        .collect()
}
