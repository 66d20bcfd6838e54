//! The books after a run: ours, the two ends of each flow against each other, and the target's.

use std::time::{Duration, Instant};

use super::RunError;
use crate::books::{self, Account, EndBook, Finding, FlowBook};
use crate::control::{Control, ControlError, Status};
use crate::cpu::Spent;
use crate::engine::Engine;
use crate::limits;
use crate::report::{Books, Cpu, EndReport, FlowReport, Report, Target};
use crate::workload::{End, Flow, Workload};

/// Time between two looks at the control socket.
const POLL: Duration = Duration::from_millis(20);

/// What the control socket shows at one moment.
pub(super) struct Snapshot {
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
pub(super) fn connected(control: &mut Control, workload: &Workload) -> Result<Snapshot, RunError> {
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
/// Fills in the books and the target's CPU time; gives back what does not agree.
pub(super) fn settle(
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
            received: fulfilled(engine, flow.to).get(index).copied().unwrap_or(0),
        }
    };
    workload.flows.iter().enumerate().map(book).collect()
}

/// What an end fulfilled, by flow; nothing if another process plays it.
fn fulfilled<'a>(engine: &'a Engine<'_>, end: usize) -> &'a [u128] {
    engine.players[end].as_ref().map_or(&[], |it| &it.receiver.received.fulfilled_amounts)
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
            fulfilled_by_us: fulfilled(engine, index).iter().sum(),
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
