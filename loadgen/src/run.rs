//! One run from beginning to end: connect, look at the books, send and receive, look again.

use std::fmt;
use std::num::NonZeroU64;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::books::{self, Account, EndBook, Finding, FlowBook};
use crate::control::{Control, ControlError, Status};
use crate::cpu::{CpuTime, Spent};
use crate::engine::{Cut, Engine, Player};
use crate::interrupt::Interrupt;
use crate::limits;
use crate::link::{Link, LinkError};
use crate::live::Live;
use crate::payload::{Fulfiller, Kind};
use crate::receiver::{Fault, Receiver, Terms};
use crate::report::{
    Books, Cpu, EndReport, FaultReport, FlowReport, KindReport, METHOD, Percentiles, RejectReport,
    Report, SCHEMA, SurpriseReport, Target, Verdict,
};
use crate::sender::InFlight;
use crate::workload::{End, Flow, Workload};

/// Time between two looks at the control socket.
const POLL: Duration = Duration::from_millis(20);

/// Why a run did not even begin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RunError {
    /// A link did not open.
    Link(LinkError),
    /// The control socket gave no answer.
    Control(ControlError),
    /// The target has no account of an end's name: the workload is to be changed.
    Account(String),
    /// The target does not show an end as connected.
    NotConnected(String),
    /// The operating system refused something every program needs.
    System(String),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(error) => error.fmt(f),
            Self::Control(error) => error.fmt(f),
            Self::Account(name) => write!(
                f,
                "the target has no account named '{name}'; give the end in the workload the name \
                 that its account has there"
            ),
            Self::NotConnected(name) => write!(
                f,
                "the target took the token of '{name}' and does not show the account as \
                 connected; is another program connected as '{name}'?"
            ),
            Self::System(error) => f.write_str(error),
        }
    }
}

impl From<LinkError> for RunError {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl From<ControlError> for RunError {
    fn from(error: ControlError) -> Self {
        Self::Control(error)
    }
}

impl From<std::io::Error> for RunError {
    fn from(error: std::io::Error) -> Self {
        Self::System(format!("the operating system refused to help: {error}"))
    }
}

/// Runs a workload, and compares books if there is a control socket to ask.
///
/// # Errors
///
/// When it could not begin. A run that began gives a report, if only a partial one.
pub fn run(
    workload: &Workload,
    control: Option<&Path>,
    live: &mut Live,
) -> Result<Report, RunError> {
    // The default slack of 50 us would make every packet that late.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let mut target = control.map(Control::connect).transpose()?;
    let players = connect(workload)?;
    let run = getrandom::u32().map_err(std::io::Error::from)?;
    let terms = Terms {
        run,
        fulfiller: Fulfiller::new(workload.traffic.seed),
        flows: workload.flows.clone(),
    };
    let before = match &mut target {
        Some(control) => Some(connected(control, workload)?),
        None => None,
    };
    let mut engine = Engine::new(workload, terms, players, Interrupt::watch()?)?;
    let own_before = CpuTime::now();
    let result = engine.run(live);
    let own_after = CpuTime::now();

    let mut report = report(workload, &engine);
    report.interrupted = matches!(result, Err(Cut::Interrupted { .. }));
    report.partial = result.err().map(|cut| cut.to_string());
    if let (Some(before), Some(after)) = (own_before, own_after) {
        report.generator_cpu = Some(Cpu::of(after.since(&before), report.answered));
    }
    let findings = settle(&mut report, workload, &engine, target.as_mut().zip(before.as_ref()));
    report.conclude(&findings);
    Ok(report)
}

/// What the control socket shows at one moment.
struct Snapshot {
    status: Status,
    accounts: Vec<Account>,
}

impl Snapshot {
    fn take(control: &mut Control) -> Result<Self, ControlError> {
        let accounts = control.accounts()?;
        Ok(Self { status: control.status()?, accounts })
    }
}

/// The books before the first packet, once every end is connected.
fn connected(control: &mut Control, workload: &Workload) -> Result<Snapshot, RunError> {
    let deadline = Instant::now() + Duration::from_millis(limits::CONNECTED_MS);
    loop {
        let snapshot = Snapshot::take(control)?;
        let mut waiting = None;
        for End { name, .. } in &workload.ends {
            let account = snapshot.accounts.iter().find(|account| account.name == *name);
            let account = account.ok_or_else(|| RunError::Account(name.clone()))?;
            if !account.connected {
                waiting = Some(name);
            }
        }
        match waiting {
            None => return Ok(snapshot),
            Some(name) if Instant::now() >= deadline => {
                return Err(RunError::NotConnected(name.clone()));
            }
            Some(_) => std::thread::sleep(POLL),
        }
    }
}

fn connect(workload: &Workload) -> Result<Vec<Player>, RunError> {
    let mut players = Vec::with_capacity(workload.ends.len());
    for end in &workload.ends {
        let mask_seed = getrandom::u64().map_err(std::io::Error::from)?;
        let link = Link::connect(end, mask_seed)?;
        let first_generation = getrandom::u32().map_err(std::io::Error::from)?;
        let in_flight = InFlight::new(first_generation);
        let address = end.address.as_ref().map_or(&b""[..], |address| address.as_bytes());
        let receiver = Receiver::new(address, workload.flows.len());
        players.push(Player::new(link, in_flight, receiver));
    }
    Ok(players)
}

/// Fills in the books and the target's CPU time; gives back what does not agree.
fn settle(
    report: &mut Report,
    workload: &Workload,
    engine: &Engine<'_>,
    target: Option<(&mut Control, &Snapshot)>,
) -> Vec<Finding> {
    let flows = flow_books(workload, engine);
    let ends = end_books(workload, engine);
    report.books.flows = flows.iter().map(flow_report).collect();
    report.books.ends =
        ends.iter().zip(&workload.ends).map(|(book, end)| end_report(book, &end.asset)).collect();
    if report.partial.is_some() && report.unanswered > 0 {
        report.books.summary = format!(
            "not compared: {} packets were in flight when the run ended",
            report.unanswered
        );
        return Vec::new();
    }
    let mut findings = books::compare_flows(&flows);
    let Some((control, before)) = target else {
        report.books.summary = summary(
            &findings,
            "not compared with the target's: it was given \
                                                   no --control-socket",
        );
        return findings;
    };
    match compare_at_rest(control, &ends, before) {
        Ok((after, differences)) => {
            findings.extend(differences);
            report.books.compared_with_target = true;
            report.books.summary = summary(
                &findings,
                &format!(
                    "{} accounts agree with the switch's to the unit, in every word",
                    ends.len()
                ),
            );
            add_balances(&mut report.books, &ends, &before.accounts, &after.accounts);
            report.target = Some(target_report(&before.status, &after.status, report.answered));
        }
        Err(error) => {
            report.books.summary = format!("not compared with the target's: {error}");
            let _ = report.partial.get_or_insert_with(|| error.to_string());
        }
    }
    findings
}

/// Asks for the target's books until they equal ours. A switch publishes them now and then, so
/// that the first answer may be older than the last packet; after a while it is the final one.
fn compare_at_rest(
    control: &mut Control,
    ends: &[EndBook],
    before: &Snapshot,
) -> Result<(Snapshot, Vec<Finding>), ControlError> {
    let deadline = Instant::now() + Duration::from_millis(limits::BOOKS_SETTLE_MS);
    loop {
        let after = Snapshot::take(control)?;
        let findings = books::compare(ends, &before.accounts, &after.accounts);
        if findings.is_empty() || Instant::now() >= deadline {
            return Ok((after, findings));
        }
        std::thread::sleep(POLL);
    }
}

fn summary(findings: &[Finding], good: &str) -> String {
    match findings.len() {
        0 => format!("both ends of every flow agree; {good}"),
        count => format!("THE BOOKS DIFFER in {count} places"),
    }
}

fn flow_books(workload: &Workload, engine: &Engine<'_>) -> Vec<FlowBook> {
    let book = |(index, flow): (usize, &Flow)| {
        let tally = engine.tally.flows[index];
        FlowBook {
            from: workload.ends[flow.from].name.clone(),
            to: workload.ends[flow.to].name.clone(),
            paid: tally.paid,
            owed: tally.owed,
            received: engine.players[flow.to].receiver.received.fulfilled_amounts[index],
        }
    };
    workload.flows.iter().enumerate().map(book).collect()
}

fn end_books(workload: &Workload, engine: &Engine<'_>) -> Vec<EndBook> {
    let book = |(index, end): (usize, &End)| {
        let from_here = workload.flows.iter().zip(&engine.tally.flows);
        EndBook {
            name: end.name.clone(),
            fulfilled_for_us: from_here
                .filter(|(flow, _)| flow.from == index)
                .map(|(_, tally)| tally.paid)
                .sum(),
            fulfilled_by_us: engine.players[index].receiver.received.fulfilled_amounts.iter().sum(),
        }
    };
    workload.ends.iter().enumerate().map(book).collect()
}

fn flow_report(book: &FlowBook) -> FlowReport {
    FlowReport {
        from: book.from.clone(),
        to: book.to.clone(),
        paid: book.paid.to_string(),
        owed: book.owed.to_string(),
        received: book.received.to_string(),
    }
}

fn end_report(book: &EndBook, asset: &str) -> EndReport {
    EndReport {
        name: book.name.clone(),
        asset: asset.to_owned(),
        fulfilled_for_us: book.fulfilled_for_us.to_string(),
        fulfilled_by_us: book.fulfilled_by_us.to_string(),
        balance_expected: None,
        balance_of_target: None,
    }
}

fn add_balances(books: &mut Books, ends: &[EndBook], before: &[Account], after: &[Account]) {
    for (report, book) in books.ends.iter_mut().zip(ends) {
        let words = |accounts: &[Account]| {
            accounts.iter().find(|account| account.name == book.name).map(|account| account.words)
        };
        report.balance_expected =
            words(before).map(|before| books::expected(&before, book).balance.to_string());
        report.balance_of_target = words(after).map(|after| after.balance.to_string());
    }
}

fn target_report(before: &Status, after: &Status, pairs: u64) -> Target {
    let total_us = |status: &Status| status.cpu_user_us.saturating_add(status.cpu_system_us);
    let total_us = total_us(after).saturating_sub(total_us(before));
    // A switch that splits an exact sum by ticks may show less of a part than before.
    let user_us = after.cpu_user_us.saturating_sub(before.cpu_user_us).min(total_us);
    let spent = Spent { total_us, user_us, system_us: total_us - user_us };
    Target { version: after.version.clone(), cpu: Cpu::of(spent, pairs) }
}

fn report(workload: &Workload, engine: &Engine<'_>) -> Report {
    let tally = &engine.tally;
    #[expect(clippy::cast_precision_loss)] // rates, for the eye
    let per_s = |count: u64| count as f64 * 1e9 / engine.sending_ns.max(1) as f64;
    Report {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        method: METHOD,
        verdict: Verdict::Partial,
        failures: Vec::new(),
        partial: None,
        interrupted: false,
        seed: workload.traffic.seed,
        offered_per_s: workload.rate_per_s,
        seconds: workload.seconds,
        offered: workload.schedule().count(),
        sent: tally.sent,
        missed: tally.missed,
        sent_late: tally.sent_late,
        send_lag_max_ns: tally.send_lag_max_ns,
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
        engine.players.iter().map(|player| player.receiver.received.faults[fault as usize]).sum()
    };
    Fault::ALL
        .into_iter()
        .map(|fault| FaultReport { fault: fault.name(), count: count(fault) })
        .filter(|report| report.count > 0)
        .collect()
}
