//! Time: what has passed, what is too short, and what nobody answers.

use std::time::{Duration, Instant};

use m2_codec::btp::FrameType;
use m2_codec::ilp::ErrorCode;

use super::super::answer::Answer;
use super::super::packet::Packet;
use super::super::peers::{Arrived, Event, Peers, is_of, now_ms};
use super::Level::{Must, Should};
use super::Needs::Receiver;
use super::link::quiet;
use super::{Came, Check, Played};

const LIFECYCLE: &str = "IL-RFC 27, ILP Packet Lifecycle";
const CODES: &str = "IL-RFC 27, Error Codes";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "expiry.past",
        clause: LIFECYCLE,
        level: Must,
        needs: Receiver,
        sent: "PREPARE that expired a second ago",
        expected: "a REJECT, and nothing is forwarded",
        play: past,
    },
    Check {
        id: "expiry.past-code",
        clause: CODES,
        level: Should,
        needs: Receiver,
        sent: "the same",
        expected: "REJECT R02 Insufficient Timeout",
        play: past_code,
    },
    Check {
        id: "expiry.epoch",
        clause: "IL-RFC 30, Timestamps",
        level: Should,
        needs: Receiver,
        sent: "PREPARE that expired on 1970-01-01 at midnight",
        expected: "REJECT R02 Insufficient Timeout: the instant exists, and has passed",
        play: epoch,
    },
    Check {
        id: "expiry.too-short",
        clause: CODES,
        level: Should,
        needs: Receiver,
        sent: "PREPARE that expires in 100 ms",
        expected: "REJECT R02, or a PREPARE that has not expired when it arrives",
        play: too_short,
    },
    Check {
        id: "expiry.in-time",
        clause: LIFECYCLE,
        level: Must,
        needs: Receiver,
        sent: "PREPARE, fulfilled a second before the receiver's expiry",
        expected: "FULFILL",
        play: in_time,
    },
    Check {
        id: "expiry.silent",
        clause: LIFECYCLE,
        level: Should,
        needs: Receiver,
        sent: "PREPARE, left without an answer",
        expected: "REJECT R00 Transfer Timed Out, before the sender's expiry",
        play: silent,
    },
    Check {
        id: "expiry.late-fulfill",
        clause: LIFECYCLE,
        level: Must,
        needs: Receiver,
        sent: "PREPARE, fulfilled 200 ms after the receiver's expiry",
        expected: "one REJECT, and no FULFILL",
        play: late_fulfill,
    },
];

fn past(peers: &mut Peers) -> Played {
    let (answer, count) = expired(peers, now_ms().saturating_sub(1000))?;
    Ok(Came::refused(&answer, count > 0))
}

fn past_code(peers: &mut Peers) -> Played {
    let (answer, _) = expired(peers, now_ms().saturating_sub(1000))?;
    Ok(Came::answer(answer.is_reject(ErrorCode::R02_INSUFFICIENT_TIMEOUT), &answer))
}

fn epoch(peers: &mut Peers) -> Played {
    let (answer, _) = expired(peers, 0)?;
    Ok(Came::answer(answer.is_reject(ErrorCode::R02_INSUFFICIENT_TIMEOUT), &answer))
}

fn expired(peers: &mut Peers, expires_at_ms: u64) -> Result<(Answer, usize), super::Stop> {
    let destination = peers.packet().destination;
    let packet = Packet::new(&destination, peers.plan.amount, expires_at_ms);
    let exchange = peers.pay(&packet)?;
    Ok((exchange.answer, exchange.arrived.len()))
}

fn too_short(peers: &mut Peers) -> Played {
    let destination = peers.packet().destination;
    let packet = Packet::new(&destination, peers.plan.amount, now_ms() + 100);
    let exchange = peers.pay(&packet)?;
    let Some(arrived) = exchange.arrived.first() else {
        let is_r02 = exchange.answer.is_reject(ErrorCode::R02_INSUFFICIENT_TIMEOUT);
        return Ok(Came::answer(is_r02, &exchange.answer));
    };
    let expires_at_ms = arrived.prepare().map_or(0, |prepare| prepare.expires_at_ms());
    let is_alive = expires_at_ms > arrived.at_ms;
    let kind = if is_alive { "before it expires" } else { "after it has expired" };
    Ok(Came::new(is_alive, format!("it arrives {kind}")))
}

fn in_time(peers: &mut Peers) -> Played {
    let answers = answered_at(peers, Some(-1_000))?.answers;
    Ok(match &answers[..] {
        [] => Came::answer(false, &Answer::Nothing),
        [answer, ..] => Came::answer(answer.fulfill().is_some(), answer),
    })
}

fn silent(peers: &mut Peers) -> Played {
    let outcome = answered_at(peers, None)?;
    let Some(answer) = outcome.answers.first() else {
        return Ok(Came::answer(false, &Answer::Nothing));
    };
    let is_in_time = outcome.answered_at_ms < outcome.expires_at_ms;
    let when = if is_in_time { "before" } else { "after" };
    let is_r00 = answer.is_reject(ErrorCode::R00_TRANSFER_TIMED_OUT);
    let text = format!("{answer}, {when} the sender's expiry");
    Ok(Came::answer(is_r00 && is_in_time, answer).saying(text))
}

fn late_fulfill(peers: &mut Peers) -> Played {
    let answers = answered_at(peers, Some(200))?.answers;
    let is_expected = answers.len() == 1 && answers[0].reject().is_some();
    Ok(match &answers[..] {
        [] => Came::answer(false, &Answer::Nothing),
        [answer] => Came::answer(is_expected, answer),
        [first, second, ..] => Came::answer(false, second)
            .saying(format!("{} answers: {first}, then {second}", answers.len())),
    })
}

/// What came of a packet that was answered late or never.
struct Outcome {
    answers: Vec<Answer>,
    /// When the first answer came.
    answered_at_ms: u64,
    /// The expiry that the sender gave.
    expires_at_ms: u64,
}

/// Fulfills a packet so many milliseconds after the expiry it arrives with, or never. Gives what
/// comes until a moment after both the answer and the fulfillment.
fn answered_at(peers: &mut Peers, offset_ms: Option<i64>) -> Result<Outcome, super::Stop> {
    let packet = peers.short_packet();
    let id = peers.begin(&packet.bytes());
    let last = Instant::now() + peers.plan.silent + peers.plan.wait;
    let mut outcome =
        Outcome { answers: Vec::new(), answered_at_ms: 0, expires_at_ms: packet.expires_at_ms() };
    let mut due: Option<(Instant, Arrived)> = None;
    let mut deadline = last;
    loop {
        let until = due.as_ref().map_or(deadline, |(at, _)| *at);
        match peers.event(until) {
            Event::Arrived(arrived) if is_of(&arrived, Some(packet.condition)) => {
                due = offset_ms.map(|offset| (moment(&arrived, offset), arrived));
            }
            Event::Answered(answered, answer) if answered == id => {
                if outcome.answers.is_empty() {
                    outcome.answered_at_ms = now_ms();
                }
                outcome.answers.push(answer);
                deadline = Instant::now() + quiet();
            }
            Event::Arrived(_) | Event::Answered(..) => {}
            Event::Ended => return Ok(outcome),
            Event::Late => match due.take() {
                Some((_, arrived)) => {
                    let fulfill = packet.fulfill(b"");
                    peers.wire_of(&arrived).send_packet(FrameType::Response, arrived.id, &fulfill);
                    deadline =
                        if outcome.answers.is_empty() { last } else { Instant::now() + quiet() };
                }
                None => return Ok(outcome),
            },
        }
    }
}

/// So many milliseconds after the expiry that a packet arrived with.
fn moment(arrived: &Arrived, offset_ms: i64) -> Instant {
    let expires_at_ms = arrived.prepare().map_or(arrived.at_ms, |prepare| prepare.expires_at_ms());
    let at_ms = expires_at_ms.saturating_add_signed(offset_ms);
    Instant::now() + Duration::from_millis(at_ms.saturating_sub(arrived.at_ms))
}
