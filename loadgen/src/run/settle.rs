//! The books after a run: ours, the two ends of each flow against each other, and the target's.

use std::time::{Duration, Instant};

use super::ask::NoBook;
use super::{Part, RunError};
use crate::books::{self, Account, EndBook, Finding, FlowBook};
use crate::control::{Control, ControlError, Status};
use crate::cpu::Spent;
use crate::engine::Engine;
use crate::inband::Book;
use crate::limits;
use crate::report::{Books, Cpu, EndReport, FlowReport, Report, Target};
use crate::workload::{End, Flow, Workload};

/// Time between two looks at the control socket.
const POLL: Duration = Duration::from_millis(20);

/// What is known of the receivers' books.
pub(super) enum Told {
    /// All: they are played here.
    Here,
    /// What another process said, by flow.
    Books(Vec<Book>),
    /// Nothing, and why.
    Nothing(NoBook),
}

impl Told {
    pub(super) fn of(asked: Result<Vec<Book>, NoBook>) -> Self {
        asked.map_or_else(Self::Nothing, Self::Books)
    }

    /// What the receiver of a flow fulfilled, in its units.
    fn received(&self, engine: &Engine<'_>, index: usize, flow: &Flow) -> Option<u128> {
        match self {
            Self::Here => engine.players[flow.to]
                .as_ref()
                .map(|player| player.receiver.received.fulfilled_amounts[index]),
            Self::Books(books) => Some(books[index].amount),
            Self::Nothing(_) => None,
        }
    }
}

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
pub(super) fn connected(
    control: &mut Control,
    workload: &Workload,
    part: Part,
) -> Result<Snapshot, RunError> {
    let deadline = Instant::now() + Duration::from_millis(limits::CONNECTED_MS);
    loop {
        let snapshot = Snapshot::take(control)?;
        let mut waiting = None;
        for End { name, role, .. } in &workload.ends {
            let account = snapshot.accounts.iter().find(|account| account.name == *name);
            let account = account.ok_or_else(|| RunError::Account(name.clone()))?;
            if !account.connected && part.plays(*role) {
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
    told: &Told,
    target: Option<(&mut Control, &Snapshot)>,
) -> Vec<Finding> {
    let flows = flow_books(workload, engine, told);
    let ends = end_books(workload, engine, told);
    report.books.flows = flows.iter().map(|(book, known)| flow_report(book, *known)).collect();
    report.books.ends = ends
        .iter()
        .zip(&workload.ends)
        .map(|((book, _), end)| end_report(book, &end.asset))
        .collect();
    if report.partial.is_some() && report.unanswered > 0 {
        report.books.summary = format!(
            "not compared: {} packets were in flight when the run ended",
            report.unanswered
        );
        return Vec::new();
    }
    report.books.compared_with_receivers = !matches!(told, Told::Nothing(_));
    let known: Vec<FlowBook> =
        flows.into_iter().filter(|(_, known)| *known).map(|(book, _)| book).collect();
    let mut findings = books::compare_flows(&known);
    let with_target = match target {
        None => "not compared with the target's: it was given no --control-socket".to_owned(),
        Some((control, before)) => {
            // Whose book is not known has none to compare.
            let known = ends.into_iter().filter(|(_, known)| *known).map(|(book, _)| book);
            settle_with_target(report, &known.collect::<Vec<_>>(), control, before, &mut findings)
        }
    };
    report.books.summary = match (findings.len(), told) {
        (0, Told::Nothing(NoBook::Missing(why) | NoBook::Changed(why))) => {
            format!("NOT COMPARED with the receivers': {why}; {with_target}")
        }
        (0, _) => format!("both ends of every flow agree; {with_target}"),
        (count, _) => format!("THE BOOKS DIFFER in {count} places"),
    };
    if let Told::Nothing(why) = told {
        not_compared(report, why, &mut findings);
    }
    findings
}

/// Whose books were not compared has not passed: a changed answer is a fault of who changed it, and
/// without one the run is not finished.
fn not_compared(report: &mut Report, why: &NoBook, findings: &mut Vec<Finding>) {
    match why {
        NoBook::Changed(why) => findings.push(Finding::Unreadable { why: why.clone() }),
        NoBook::Missing(why) => {
            let reason = || format!("the books were not compared with the receivers': {why}");
            let _ = report.partial.get_or_insert_with(reason);
        }
    }
}

/// Compares with the target's books, and says how that went.
fn settle_with_target(
    report: &mut Report,
    ends: &[EndBook],
    control: &mut Control,
    before: &Snapshot,
    findings: &mut Vec<Finding>,
) -> String {
    match compare_at_rest(control, ends, before) {
        Ok((after, differences)) => {
            findings.extend(differences);
            report.books.compared_with_target = true;
            add_balances(&mut report.books, ends, &before.accounts, &after.accounts);
            report.target = Some(target_report(&before.status, &after.status, report.answered));
            let agree = match ends.len() {
                1 => "1 account agrees".to_owned(),
                count => format!("{count} accounts agree"),
            };
            format!("{agree} with the switch's to the unit, in every word")
        }
        Err(error) => {
            let _ = report.partial.get_or_insert_with(|| error.to_string());
            format!("not compared with the target's: {error}")
        }
    }
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

/// The book of each flow, and whether what the receiver says is known.
fn flow_books(workload: &Workload, engine: &Engine<'_>, told: &Told) -> Vec<(FlowBook, bool)> {
    let book = |(index, flow): (usize, &Flow)| {
        let tally = engine.tally.flows[index];
        let received = told.received(engine, index, flow);
        let book = FlowBook {
            from: workload.ends[flow.from].name.clone(),
            to: workload.ends[flow.to].name.clone(),
            paid: tally.paid,
            owed: tally.owed,
            received: received.unwrap_or(0),
        };
        (book, received.is_some())
    };
    workload.flows.iter().enumerate().map(book).collect()
}

/// The book of each end, and whether all of it is known.
fn end_books(workload: &Workload, engine: &Engine<'_>, told: &Told) -> Vec<(EndBook, bool)> {
    let book = |(index, end): (usize, &End)| {
        let flows = || workload.flows.iter().zip(&engine.tally.flows).enumerate();
        let sent = flows().filter(|(_, (flow, _))| flow.from == index);
        let received = flows().filter(|(_, (flow, _))| flow.to == index);
        let received = received.map(|(number, (flow, _))| told.received(engine, number, flow));
        let received: Option<u128> = received.sum();
        let book = EndBook {
            name: end.name.clone(),
            fulfilled_for_us: sent.map(|(_, (_, tally))| tally.paid).sum(),
            fulfilled_by_us: received.unwrap_or(0),
        };
        (book, received.is_some())
    };
    workload.ends.iter().enumerate().map(book).collect()
}

fn flow_report(book: &FlowBook, known: bool) -> FlowReport {
    FlowReport {
        from: book.from.clone(),
        to: book.to.clone(),
        paid: book.paid.to_string(),
        owed: book.owed.to_string(),
        received: known.then(|| book.received.to_string()),
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
    for report in &mut books.ends {
        let Some(book) = ends.iter().find(|book| book.name == report.name) else { continue };
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
