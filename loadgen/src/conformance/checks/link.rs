//! BTP as IL-RFC 23 has it: what is answered, and under which id.

use std::time::Duration;

use m2_codec::btp::{self, Entry, FrameType, JSON, OCTET_STREAM};
use m2_codec::oer;

use super::super::answer::Answer;
use super::super::packet::random;
use super::super::peers::Peers;
use super::super::wire::Wire;
use super::Level::{Must, Open};
use super::Needs::Target;
use super::{Came, Check, Played};
use crate::limits;

const FLOW: &str = "IL-RFC 23, Flow";
const MESSAGE: &str = "IL-RFC 23, Message";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "btp.request-id",
        clause: FLOW,
        level: Must,
        needs: Target,
        sent: "requests under the ids 0, 1, 2^31 - 1, 2^31 and 2^32 - 1",
        expected: "each answered under its own id",
        play: request_ids,
    },
    Check {
        id: "btp.request-id-again",
        clause: FLOW,
        level: Must,
        needs: Target,
        sent: "two requests under one id, the second after the answer to the first",
        expected: "each answered: an id is taken only while its request is in flight",
        play: request_id_again,
    },
    Check {
        id: "btp.reject-in-response",
        clause: MESSAGE,
        level: Must,
        needs: Target,
        sent: "a PREPARE that no route leads for",
        expected: "the REJECT in a RESPONSE, as an entry `ilp` of content type 0, not in an ERROR",
        play: reject_in_response,
    },
    Check {
        id: "btp.unknown-subprotocol",
        clause: MESSAGE,
        level: Must,
        needs: Target,
        sent: "MESSAGE with one entry of a name that nobody knows",
        expected: "RESPONSE or ERROR under its id",
        play: unknown_subprotocol,
    },
    Check {
        id: "btp.no-entries",
        clause: MESSAGE,
        level: Must,
        needs: Target,
        sent: "MESSAGE without entries",
        expected: "RESPONSE or ERROR under its id",
        play: no_entries,
    },
    Check {
        id: "btp.secondary-entry",
        clause: "IL-RFC 23, Sub-Protocol Data Format",
        level: Must,
        needs: Target,
        sent: "a PREPARE as the entry `ilp`, and an entry of an unknown name behind it",
        expected: "the PREPARE is answered as without it",
        play: secondary_entry,
    },
    Check {
        id: "btp.ilp-not-first",
        clause: "IL-RFC 23, Sub-Protocol Data Format",
        level: Open,
        needs: Target,
        sent: "a PREPARE as the entry `ilp` behind an entry of an unknown name",
        expected: "an answer of either kind",
        play: ilp_not_first,
    },
    Check {
        id: "btp.unexpected-response",
        clause: FLOW,
        level: Must,
        needs: Target,
        sent: "RESPONSE to no request, then a PREPARE",
        expected: "nothing under the first id, and the PREPARE answered",
        play: unexpected_response,
    },
    Check {
        id: "btp.unexpected-error",
        clause: FLOW,
        level: Must,
        needs: Target,
        sent: "ERROR to no request, then a PREPARE",
        expected: "nothing under the first id, and the PREPARE answered",
        play: unexpected_error,
    },
    Check {
        id: "btp.unreadable",
        clause: FLOW,
        level: Must,
        needs: Target,
        sent: "MESSAGE whose last entry ends too early",
        expected: "no answer",
        play: unreadable,
    },
    Check {
        id: "btp.after-unreadable",
        clause: FLOW,
        level: Open,
        needs: Target,
        sent: "the same, then a PREPARE",
        expected: "the connection goes on or ends",
        play: after_unreadable,
    },
    Check {
        id: "btp.unknown-type",
        clause: "IL-RFC 23, BTP Type IDs",
        level: Must,
        needs: Target,
        sent: "a frame of type 9 whose fields are those of MESSAGE",
        expected: "no RESPONSE: no such type exists",
        play: unknown_type,
    },
    Check {
        id: "btp.transfer",
        clause: "IL-RFC 23, Transfer",
        level: Must,
        needs: Target,
        sent: "TRANSFER of amount 0 without entries",
        expected: "RESPONSE or ERROR under its id",
        play: transfer,
    },
    Check {
        id: "btp.trailing-bytes",
        clause: "IL-RFC 30, Extensibility",
        level: Must,
        needs: Target,
        sent: "MESSAGE with a PREPARE and three bytes behind its last field, within its length",
        expected: "the PREPARE is answered as without them",
        play: trailing_bytes,
    },
];

fn request_ids(peers: &mut Peers) -> Played {
    let ids = [0, 1, u32::MAX >> 1, 1 << 31, u32::MAX];
    let missing: Vec<_> = ids
        .into_iter()
        .filter(|&id| ask_under(peers, id).packet().is_none())
        .map(|id| id.to_string())
        .collect();
    Ok(match missing.is_empty() {
        true => Came::new(true, "each answered under its own id"),
        false => Came::new(false, format!("no packet under {}", missing.join(", "))),
    })
}

fn request_id_again(peers: &mut Peers) -> Played {
    let first = ask_under(peers, 77);
    let second = ask_under(peers, 77);
    let is_expected = first.packet().is_some() && second.packet().is_some();
    Ok(Came::new(is_expected, format!("{first}, then {second}")))
}

/// A PREPARE that no route leads for, under an id of our choice.
fn ask_under(peers: &mut Peers, id: u32) -> Answer {
    let packet = peers.packet_to(&peers.unroutable()).bytes();
    peers.sender.send_packet(FrameType::Message, id, &packet);
    let wait = peers.plan.wait;
    read_answer(&mut peers.sender, id, wait)
}

fn reject_in_response(peers: &mut Peers) -> Played {
    let packet = peers.packet_to(&peers.unroutable()).bytes();
    let id = peers.begin(&packet);
    let wait = peers.plan.wait;
    let Some(bytes) = peers.sender.answer(id, wait) else {
        return Ok(Came::answer(false, &ended_or_nothing(&peers.sender)));
    };
    let answer = Answer::read(&bytes);
    let frame = btp::Frame::new_checked(&bytes).expect("an answer was read");
    let entry = frame.protocol_data().find(|entry| entry.name == btp::ILP);
    let content_type = entry.map_or(u8::MAX, |entry| entry.content_type);
    let is_expected = answer.reject().is_some() && content_type == OCTET_STREAM;
    let kind = if content_type == OCTET_STREAM { "of content type 0" } else { "of another type" };
    let came = Came::answer(is_expected, &answer);
    Ok(if answer.packet().is_some() {
        came.saying(format!("{answer}, in a RESPONSE, {kind}"))
    } else {
        came
    })
}

fn unknown_subprotocol(peers: &mut Peers) -> Played {
    let entry = Entry { name: b"x-m2-load", content_type: JSON, data: b"{}" };
    message(peers, &[entry])
}

fn no_entries(peers: &mut Peers) -> Played {
    message(peers, &[])
}

/// A MESSAGE that is to be answered somehow.
fn message(peers: &mut Peers, entries: &[Entry<'_>]) -> Played {
    let id = peers.sender.fresh_id();
    let mut frame = Vec::new();
    btp::put_message(&mut frame, id, entries);
    answered_somehow(peers, id, &frame)
}

fn transfer(peers: &mut Peers) -> Played {
    let id = peers.sender.fresh_id();
    let mut frame = Vec::new();
    btp::put_transfer(&mut frame, id, 0, &[]);
    answered_somehow(peers, id, &frame)
}

fn answered_somehow(peers: &mut Peers, id: u32, frame: &[u8]) -> Played {
    peers.sender.send(frame);
    let wait = peers.plan.wait;
    let answer = read_answer(&mut peers.sender, id, wait);
    Ok(Came::answer(answer.is_response_or_error(), &answer))
}

fn secondary_entry(peers: &mut Peers) -> Played {
    let packet = peers.packet_to(&peers.unroutable()).bytes();
    let ilp = Entry { name: btp::ILP, content_type: OCTET_STREAM, data: &packet };
    let other = Entry { name: b"x-m2-load", content_type: OCTET_STREAM, data: &random::<8>() };
    entries(peers, &[ilp, other])
}

fn ilp_not_first(peers: &mut Peers) -> Played {
    let packet = peers.packet_to(&peers.unroutable()).bytes();
    let ilp = Entry { name: btp::ILP, content_type: OCTET_STREAM, data: &packet };
    let other = Entry { name: b"x-m2-load", content_type: OCTET_STREAM, data: b"" };
    entries(peers, &[other, ilp])
}

/// A MESSAGE with a PREPARE among its entries.
fn entries(peers: &mut Peers, entries: &[Entry<'_>]) -> Played {
    let id = peers.sender.fresh_id();
    let mut frame = Vec::new();
    btp::put_message(&mut frame, id, entries);
    peers.sender.send(&frame);
    let wait = peers.plan.wait;
    let answer = read_answer(&mut peers.sender, id, wait);
    Ok(Came::answer(answer.packet().is_some(), &answer))
}

fn unexpected_response(peers: &mut Peers) -> Played {
    let id = peers.sender.fresh_id();
    let mut frame = Vec::new();
    btp::put_ilp(&mut frame, FrameType::Response, id, &peers.packet().fulfill(b""));
    unexpected(peers, id, &frame)
}

fn unexpected_error(peers: &mut Peers) -> Played {
    let id = peers.sender.fresh_id();
    let mut frame = Vec::new();
    btp::put_error(&mut frame, id, b"F00", "NotAcceptedError", 0, b"", &[]);
    unexpected(peers, id, &frame)
}

fn unexpected(peers: &mut Peers, id: u32, frame: &[u8]) -> Played {
    peers.spoil();
    peers.sender.send(frame);
    let first = read_answer(&mut peers.sender, id, quiet());
    let packet = peers.packet_to(&peers.unroutable()).bytes();
    let asked = peers.begin(&packet);
    let wait = peers.plan.wait;
    let second = read_answer(&mut peers.sender, asked, wait);
    let text = match first {
        Answer::Nothing => format!("nothing, then {second}"),
        ref answer => format!("{answer}, then {second}"),
    };
    let is_expected = first == Answer::Nothing && second.packet().is_some();
    Ok(Came::answer(is_expected, &second).saying(text))
}

/// A MESSAGE whose entry says that it has more bytes than its frame.
fn unreadable_frame(id: u32) -> Vec<u8> {
    let mut frame = vec![FrameType::Message as u8];
    frame.extend_from_slice(&id.to_be_bytes());
    oer::put_octet_string(&mut frame, b"\x01\x01\x03ilp\x00\x20short");
    frame
}

fn unreadable(peers: &mut Peers) -> Played {
    peers.spoil();
    let id = peers.sender.fresh_id();
    peers.sender.send(&unreadable_frame(id));
    let answer = read_answer(&mut peers.sender, id, quiet());
    let text = if answer.is_response_or_error() { answer.to_string() } else { "no answer".into() };
    Ok(Came::new(!answer.is_response_or_error(), text))
}

fn after_unreadable(peers: &mut Peers) -> Played {
    peers.spoil();
    let id = peers.sender.fresh_id();
    peers.sender.send(&unreadable_frame(id));
    let packet = peers.packet_to(&peers.unroutable()).bytes();
    let asked = peers.begin(&packet);
    let wait = peers.plan.wait;
    Ok(match read_answer(&mut peers.sender, asked, wait) {
        Answer::Ilp(_) => Came::told("the connection goes on, and the PREPARE is answered"),
        Answer::Ended => Came::told("the target closes the connection"),
        other => Came::told(format!("the PREPARE behind it: {other}")),
    })
}

fn unknown_type(peers: &mut Peers) -> Played {
    peers.spoil();
    let id = peers.sender.fresh_id();
    let packet = peers.packet_to(&peers.unroutable()).bytes();
    let mut frame = Vec::new();
    btp::put_ilp(&mut frame, FrameType::Message, id, &packet);
    frame[0] = 9;
    peers.sender.send(&frame);
    let answer = read_answer(&mut peers.sender, id, quiet());
    let is_response = matches!(answer, Answer::Bare | Answer::Ilp(_));
    let text = if answer.is_response_or_error() { answer.to_string() } else { "no answer".into() };
    Ok(Came::new(!is_response, text))
}

fn trailing_bytes(peers: &mut Peers) -> Played {
    let id = peers.sender.fresh_id();
    let packet = peers.packet_to(&peers.unroutable()).bytes();
    let mut contents = b"\x01\x01\x03ilp\x00".to_vec();
    oer::put_octet_string(&mut contents, &packet);
    contents.extend_from_slice(&[0xde, 0xad, 0xbe]);
    let mut frame = vec![FrameType::Message as u8];
    frame.extend_from_slice(&id.to_be_bytes());
    oer::put_octet_string(&mut frame, &contents);
    peers.sender.send(&frame);
    let wait = peers.plan.wait;
    let answer = read_answer(&mut peers.sender, id, wait);
    Ok(Came::answer(answer.packet().is_some(), &answer))
}

/// The answer to `id`, or why there is none.
pub(super) fn read_answer(wire: &mut Wire, id: u32, wait: Duration) -> Answer {
    match wire.answer(id, wait) {
        Some(bytes) => Answer::read(&bytes),
        None => ended_or_nothing(wire),
    }
}

fn ended_or_nothing(wire: &Wire) -> Answer {
    if wire.ended().is_some() { Answer::Ended } else { Answer::Nothing }
}

/// How long to look for what must not come.
pub(super) fn quiet() -> Duration {
    Duration::from_millis(limits::CONFORMANCE_QUIET_MS)
}
