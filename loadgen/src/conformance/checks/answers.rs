//! What becomes of the receiver's answer, right or wrong, on its way back.

use std::time::Instant;

use m2_codec::btp::{self, FrameType};

use super::super::answer::Answer;
use super::super::packet::{Packet, random, reject};
use super::super::peers::{Arrived, Event, Peers, Stop, is_of};
use super::super::wire::Wire;
use super::Level::{Must, Open, Should};
use super::Needs::Receiver;
use super::link::quiet;
use super::{Came, Check, Played};

const LIFECYCLE: &str = "IL-RFC 27, ILP Packet Lifecycle";
const REJECT: &str = "IL-RFC 27, ILP Reject";
const FLOW: &str = "IL-RFC 23, Flow";

const REJECTED: &str = "a REJECT, and no FULFILL";
const ONCE: &str = "the first of them, and no other";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "answer.fulfill-data",
        clause: "IL-RFC 27, ILP Fulfill",
        level: Must,
        needs: Receiver,
        sent: "PREPAREs, fulfilled with 0, 1, 255 and 32,767 bytes of data",
        expected: "each FULFILL comes back byte for byte",
        play: fulfill_data,
    },
    Check {
        id: "answer.reject",
        clause: REJECT,
        level: Must,
        needs: Receiver,
        sent: "PREPAREs, rejected with F99 and 0, 1, 255 and 32,767 bytes of data",
        expected: "each REJECT comes back byte for byte",
        play: reject_data,
    },
    Check {
        id: "answer.reject-codes",
        clause: REJECT,
        level: Should,
        needs: Receiver,
        sent: "PREPAREs, rejected with F00, F06, F99, T99, R99 and the unknown F42",
        expected: "each REJECT comes back byte for byte",
        play: reject_codes,
    },
    Check {
        id: "answer.reject-message",
        clause: REJECT,
        level: Open,
        needs: Receiver,
        sent: "PREPARE, rejected with a message that is no UTF-8",
        expected: "it is debugging text for people, and may pass or not",
        play: reject_message,
    },
    Check {
        id: "answer.wrong-preimage",
        clause: LIFECYCLE,
        level: Must,
        needs: Receiver,
        sent: "PREPARE, fulfilled with another preimage",
        expected: REJECTED,
        play: wrong_preimage,
    },
    Check {
        id: "answer.wrong-then-right",
        clause: FLOW,
        level: Must,
        needs: Receiver,
        sent: "PREPARE, fulfilled with another preimage and then with the right one",
        expected: "one answer",
        play: wrong_then_right,
    },
    Check {
        id: "answer.twice",
        clause: FLOW,
        level: Must,
        needs: Receiver,
        sent: "PREPARE, fulfilled twice under its id",
        expected: ONCE,
        play: twice,
    },
    Check {
        id: "answer.reject-then-fulfill",
        clause: FLOW,
        level: Must,
        needs: Receiver,
        sent: "PREPARE, rejected and then fulfilled under its id",
        expected: ONCE,
        play: reject_then_fulfill,
    },
    Check {
        id: "answer.foreign-id",
        clause: FLOW,
        level: Must,
        needs: Receiver,
        sent: "PREPARE, answered first by a REJECT under an id that the target has not used",
        expected: "the FULFILL that follows under the right id",
        play: foreign_id,
    },
    Check {
        id: "answer.other-connection",
        clause: FLOW,
        level: Should,
        needs: Receiver,
        sent: "PREPARE, fulfilled under its id on a newer connection of the receiver",
        expected: "no FULFILL: that connection was asked nothing",
        play: other_connection,
    },
    Check {
        id: "answer.malformed",
        clause: LIFECYCLE,
        level: Must,
        needs: Receiver,
        sent: "PREPARE, answered with bytes that are no packet",
        expected: REJECTED,
        play: malformed,
    },
    Check {
        id: "answer.prepare",
        clause: LIFECYCLE,
        level: Must,
        needs: Receiver,
        sent: "PREPARE, answered with a PREPARE",
        expected: REJECTED,
        play: prepare,
    },
    Check {
        id: "answer.empty",
        clause: LIFECYCLE,
        level: Must,
        needs: Receiver,
        sent: "PREPARE, answered with a RESPONSE without entries",
        expected: REJECTED,
        play: empty,
    },
    Check {
        id: "answer.btp-error",
        clause: "IL-RFC 23, Error",
        level: Must,
        needs: Receiver,
        sent: "PREPARE, answered with ERROR F00 NotAcceptedError",
        expected: REJECTED,
        play: btp_error,
    },
];

fn fulfill_data(peers: &mut Peers) -> Played {
    unchanged(
        peers,
        [0, 1, 255, 32_767].map(|len| {
            (format!("{len} bytes"), move |packet: &Packet| packet.fulfill(&vec![0xa5; len]))
        }),
    )
}

fn reject_data(peers: &mut Peers) -> Played {
    unchanged(
        peers,
        [0, 1, 255, 32_767].map(|len| {
            (format!("{len} bytes"), move |packet: &Packet| {
                reject(*b"F99", &packet.destination, b"no", &vec![0xa5; len])
            })
        }),
    )
}

fn reject_codes(peers: &mut Peers) -> Played {
    unchanged(
        peers,
        [*b"F00", *b"F06", *b"F99", *b"T99", *b"R99", *b"F42"].map(|code| {
            (code.escape_ascii().to_string(), move |packet: &Packet| {
                reject(code, &packet.destination, b"said by the receiver", b"data")
            })
        }),
    )
}

/// Answers that are to come back byte for byte; says of the first that does not what it was.
fn unchanged<const N: usize>(
    peers: &mut Peers,
    answers: [(String, impl Fn(&Packet) -> Vec<u8>); N],
) -> Played {
    for (name, build) in answers {
        let packet = peers.packet();
        let bytes = build(&packet);
        let exchange = peers.answered_by(&packet, &bytes)?;
        if exchange.answer.packet() != Some(&bytes[..]) {
            let text = format!("{name}: {}", exchange.answer);
            return Ok(Came::answer(false, &exchange.answer).saying(text));
        }
    }
    Ok(Came::new(true, format!("all {N} byte for byte")))
}

fn reject_message(peers: &mut Peers) -> Played {
    let packet = peers.packet();
    let bytes = reject(*b"F99", &packet.destination, b"\xff\xfe\x80", b"");
    let answer = peers.answered_by(&packet, &bytes)?.answer;
    Ok(match answer.packet() == Some(&bytes[..]) {
        true => Came::told("it passes byte for byte"),
        false => Came::told(format!("it does not pass as it is: {answer}")),
    })
}

fn wrong_preimage(peers: &mut Peers) -> Played {
    rejected(peers, |packet| Packet { preimage: random(), ..packet.clone() }.fulfill(b""))
}

fn malformed(peers: &mut Peers) -> Played {
    rejected(peers, |_| b"\x0d\x21no packet".to_vec())
}

fn prepare(peers: &mut Peers) -> Played {
    rejected(peers, Packet::bytes)
}

/// An answer that is none, and must end in a REJECT.
fn rejected(peers: &mut Peers, build: impl Fn(&Packet) -> Vec<u8>) -> Played {
    let packet = peers.packet();
    let answer = peers.answered_by(&packet, &build(&packet))?.answer;
    Ok(Came::answer(answer.reject().is_some(), &answer))
}

fn empty(peers: &mut Peers) -> Played {
    let packet = peers.packet();
    answered_by_frame(peers, &packet, |frame, id| btp::put_response(frame, id, &[]))
}

fn btp_error(peers: &mut Peers) -> Played {
    let packet = peers.packet();
    answered_by_frame(peers, &packet, |frame, id| {
        btp::put_error(frame, id, btp::NOT_ACCEPTED, "NotAcceptedError", 0, b"", &[]);
    })
}

fn answered_by_frame(peers: &mut Peers, packet: &Packet, put: fn(&mut Vec<u8>, u32)) -> Played {
    let wait = peers.plan.wait;
    let reply = &mut |wire: &mut Wire, arrived: &Arrived| {
        let mut frame = Vec::new();
        put(&mut frame, arrived.id);
        wire.send(&frame);
    };
    let answer = peers.exchange(&packet.bytes(), Some(packet.condition), wait, reply)?.answer;
    Ok(Came::answer(answer.reject().is_some(), &answer))
}

fn wrong_then_right(peers: &mut Peers) -> Played {
    let packet = peers.packet();
    let wrong = Packet { preimage: random(), ..packet.clone() }.fulfill(b"");
    let answers = all_answers(peers, &packet, &[&wrong, &packet.fulfill(b"")])?;
    Ok(one_of(&answers, answers.len() == 1))
}

fn twice(peers: &mut Peers) -> Played {
    let packet = peers.packet();
    let fulfill = packet.fulfill(b"");
    let answers = all_answers(peers, &packet, &[&fulfill, &fulfill])?;
    Ok(one_of(&answers, answers.len() == 1 && answers[0].fulfill().is_some()))
}

fn reject_then_fulfill(peers: &mut Peers) -> Played {
    let packet = peers.packet();
    let refusal = reject(*b"F99", &packet.destination, b"", b"");
    let answers = all_answers(peers, &packet, &[&refusal, &packet.fulfill(b"")])?;
    Ok(one_of(&answers, answers.len() == 1 && answers[0].packet() == Some(&refusal[..])))
}

fn one_of(answers: &[Answer], is_expected: bool) -> Came {
    match answers {
        [] => Came::answer(false, &Answer::Nothing),
        [only] => Came::answer(is_expected, only),
        [first, second, ..] => Came::answer(false, second)
            .saying(format!("{} answers: {first}, then {second}", answers.len())),
    }
}

/// Answers a PREPARE with each of `replies`; gives all that comes back under its id.
fn all_answers(peers: &mut Peers, packet: &Packet, replies: &[&[u8]]) -> Result<Vec<Answer>, Stop> {
    let id = peers.begin(&packet.bytes());
    let mut deadline = Instant::now() + peers.plan.wait;
    let mut answers = Vec::new();
    loop {
        match peers.event(deadline) {
            Event::Arrived(arrived) if is_of(&arrived, Some(packet.condition)) => {
                for reply in replies {
                    peers.wire_of(&arrived).send_packet(FrameType::Response, arrived.id, reply);
                }
            }
            Event::Answered(answered, answer) if answered == id => {
                answers.push(answer);
                deadline = Instant::now() + quiet();
            }
            Event::Arrived(_) | Event::Answered(..) => {}
            Event::Ended | Event::Late => return Ok(answers),
        }
    }
}

fn foreign_id(peers: &mut Peers) -> Played {
    let packet = peers.packet();
    let (fulfill, wait) = (packet.fulfill(b""), peers.plan.wait);
    let refusal = reject(*b"F99", &packet.destination, b"", b"");
    let reply = &mut |wire: &mut Wire, arrived: &Arrived| {
        wire.send_packet(FrameType::Response, !arrived.id, &refusal);
        wire.send_packet(FrameType::Response, arrived.id, &fulfill);
    };
    let answer = peers.exchange(&packet.bytes(), Some(packet.condition), wait, reply)?.answer;
    Ok(Came::answer(answer.fulfill().is_some(), &answer))
}

fn other_connection(peers: &mut Peers) -> Played {
    peers.spoil();
    let packet = peers.short_packet();
    let id = peers.begin(&packet.bytes());
    let deadline = Instant::now() + peers.plan.silent + peers.plan.wait;
    let mut older = None;
    loop {
        match peers.event(deadline) {
            Event::Arrived(arrived) if is_of(&arrived, Some(packet.condition)) => {
                let end = peers.plan.receiver.clone().expect("the check needs a receiver");
                let mut newer = Wire::open(&end)?;
                newer.send_packet(FrameType::Response, arrived.id, &packet.fulfill(b""));
                older = peers.receiver.replace(newer);
            }
            Event::Answered(answered, answer) if answered == id => {
                drop(older);
                return Ok(Came::answer(answer.fulfill().is_none(), &answer));
            }
            Event::Arrived(_) | Event::Answered(..) => {}
            Event::Ended => return Ok(Came::answer(false, &Answer::Ended)),
            Event::Late => return Ok(Came::answer(false, &Answer::Nothing)),
        }
    }
}
