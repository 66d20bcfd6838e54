//! `m2-load conformance`: the checks that can be seen from outside, played against any connector.
//!
//! ```text
//!   plan.rs (command line) --> play --> checks.rs (rows) --> peers.rs (both ends) --> wire.rs
//!                                |                                                       |
//!                            report.rs (text, JSON)                                  the target
//! ```
//!
//! The target is a stranger: it may be silent, talk nonsense, or die between two checks. Each wait
//! has an end, each check that ends a connection is followed by a new one, and what cannot go on
//! ends in a sentence.
//!
//! Invariant: nothing here trusts the target, and every check of the plan has a row in the report
//! unless the run could not go on; the report says so then.

mod answer;
mod checks;
mod packet;
mod peers;
mod plan;
mod report;
mod wire;

use std::time::{Duration, Instant};

use answer::Answer;
use checks::{Check, Level, Needs, Played};
use peers::{Peers, Stop};
pub use plan::{ConformanceArgs, Plan};
pub use report::{Outcome, Report, Row, SCHEMA};

/// Plays every check of the plan.
///
/// # Errors
///
/// A sentence, if the target cannot be reached or does not answer at all.
pub fn play(plan: &Plan) -> Result<Report, String> {
    let started = Instant::now();
    let mut report = Report::new(plan.name.clone(), plan.sender.url.to_string());
    let mut peers = Peers::open(plan.clone())?;
    report.receiver_url = plan.receiver.as_ref().map(|end| end.url.to_string());
    report.receiver_address = peers.receiver_address.as_ref().map(ToString::to_string);
    for check in checks::all().filter(|check| plan.plays(check.id)) {
        match play_one(&mut peers, check) {
            Ok(row) => {
                let is_silent = row.came == Answer::Nothing.to_string();
                report.push(check, row);
                if is_silent && let Err(reason) = still_there(&mut peers) {
                    report.partial = Some(format!("after {}: {reason}", check.id));
                    break;
                }
            }
            Err(lost) => {
                report.partial = Some(format!("the target was lost at {}: {lost}", check.id));
                break;
            }
        }
    }
    report.duration_ms = millis(started.elapsed());
    Ok(report)
}

/// Whether a target that left a request without an answer answers others: one that stands still
/// would cost every later check its whole wait.
fn still_there(peers: &mut Peers) -> Result<(), String> {
    peers.spoil();
    peers.refresh().map_err(|error| error.to_string())?;
    peers.greet()
}

/// One check on connections of which nothing is wrong.
fn play_one(peers: &mut Peers, check: &Check) -> Result<Row, String> {
    let started = Instant::now();
    let played = match missing(peers, check) {
        Some(reason) => Err(Stop::NotApplicable(reason)),
        None => {
            peers.refresh().map_err(|error| error.to_string())?;
            (check.play)(peers)
        }
    };
    let (outcome, came, message) = judge(check, played)?;
    Ok(Row {
        id: check.id,
        clause: check.clause,
        level: check.level.as_str(),
        outcome,
        sent: check.sent,
        expected: check.expected,
        came,
        message,
        duration_ms: millis(started.elapsed()),
    })
}

fn judge(check: &Check, played: Played) -> Result<(Outcome, String, Option<String>), String> {
    match played {
        Ok(came) => {
            let outcome = match (check.level, came.is_expected) {
                (Level::Open, _) => Outcome::Noted,
                (_, true) => Outcome::Passed,
                (_, false) => Outcome::Failed,
            };
            Ok((outcome, came.text, came.message))
        }
        Err(Stop::NotApplicable(reason)) => Ok((Outcome::NotApplicable, reason, None)),
        Err(Stop::Lost(error)) => Err(error.to_string()),
    }
}

/// Why a check cannot be played here.
fn missing(peers: &Peers, check: &Check) -> Option<String> {
    match check.needs {
        Needs::Receiver if peers.plan.receiver.is_none() => {
            Some("no --receiver was given, and without one it is not seen what is forwarded".into())
        }
        // A packet that is refused for another reason than its own proves nothing.
        Needs::Receiver if check.id != checks::PLAIN => peers.no_way.as_ref().map(|answer| {
            format!("no PREPARE reaches the receiver ({answer}); see {}", checks::PLAIN)
        }),
        Needs::WebSocket if !peers.sender.is_websocket() => Some("the link is no WebSocket".into()),
        _ => None,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
