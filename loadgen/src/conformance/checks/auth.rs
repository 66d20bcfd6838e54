//! Who gets in: the first message of a connection, and what a second connection does to the first.

use std::time::Duration;

use m2_codec::btp::{self, FrameType};

use super::super::answer::Answer;
use super::super::peers::Peers;
use super::super::wire::Wire;
use super::Level::{Must, Open, Should};
use super::Needs::{Receiver, Target};
use super::link::{quiet, read_answer};
use super::{Came, Check, Played};
use crate::workload::End;

const AUTHENTICATION: &str = "IL-RFC 23, Authentication";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "btp.auth",
        clause: AUTHENTICATION,
        level: Must,
        needs: Target,
        sent: "MESSAGE with `auth`, `auth_username` and the right `auth_token`, first of all",
        expected: "RESPONSE under its id, without entries",
        play: auth,
    },
    Check {
        id: "btp.auth-wrong-token",
        clause: AUTHENTICATION,
        level: Must,
        needs: Target,
        sent: "the same with a wrong token, then a PREPARE",
        expected: "no RESPONSE to either, and the end of the connection",
        play: wrong_token,
    },
    Check {
        id: "btp.auth-error",
        clause: AUTHENTICATION,
        level: Should,
        needs: Target,
        sent: "the same with a wrong token",
        expected: "BTP ERROR F00 NotAcceptedError",
        play: wrong_token_error,
    },
    Check {
        id: "btp.auth-first",
        clause: AUTHENTICATION,
        level: Must,
        needs: Target,
        sent: "a PREPARE as the first message of a connection",
        expected: "no RESPONSE with a packet: it is not served",
        play: unauthenticated,
    },
    Check {
        id: "btp.auth-spares-others",
        clause: AUTHENTICATION,
        level: Open,
        needs: Receiver,
        sent: "a wrong token on a new connection to the receiver's account, then a PREPARE to it",
        expected: "the receiver's own connection still gets it",
        play: wrong_token_spares_others,
    },
    Check {
        id: "btp.second-connection",
        clause: AUTHENTICATION,
        level: Open,
        needs: Receiver,
        sent: "a second connection with the receiver's token, then a PREPARE to it",
        expected: "one of the two gets it",
        play: second_connection,
    },
];

fn auth(peers: &mut Peers) -> Played {
    peers.spoil();
    let mut wire = Wire::open_unnamed(&peers.plan.sender)?;
    let end = &peers.plan.sender;
    let answer = show_token(&mut wire, end, end.token.expose(), peers.plan.wait);
    let came = Came::answer(answer == Answer::Bare, &answer);
    Ok(if answer == Answer::Bare { came.saying("RESPONSE without entries") } else { came })
}

fn wrong_token(peers: &mut Peers) -> Played {
    peers.spoil();
    let mut wire = Wire::open_unnamed(&peers.plan.sender)?;
    let first = show_wrong_token(&mut wire, &peers.plan.sender, peers.plan.wait);
    let packet = peers.packet_to(&peers.unroutable()).bytes();
    let id = wire.fresh_id();
    wire.send_packet(FrameType::Message, id, &packet);
    let second = read_answer(&mut wire, id, quiet());
    let has_ended = wire.wait_for_end(peers.plan.wait);
    let is_response = |answer: &Answer| matches!(answer, Answer::Bare | Answer::Ilp(_));
    let text = match (is_response(&first) || is_response(&second), has_ended) {
        (true, _) => "a RESPONSE",
        (false, true) => "no RESPONSE, and the end of the connection",
        (false, false) => "no RESPONSE, but the connection stays open",
    };
    Ok(Came::new(!is_response(&first) && !is_response(&second) && has_ended, text))
}

fn wrong_token_error(peers: &mut Peers) -> Played {
    peers.spoil();
    let mut wire = Wire::open_unnamed(&peers.plan.sender)?;
    let answer = show_wrong_token(&mut wire, &peers.plan.sender, peers.plan.wait);
    wire.wait_for_end(quiet());
    let expected = Answer::Error { code: *btp::NOT_ACCEPTED, name: "NotAcceptedError".into() };
    Ok(Came::answer(answer == expected, &answer))
}

fn unauthenticated(peers: &mut Peers) -> Played {
    peers.spoil();
    let mut wire = Wire::open_unnamed(&peers.plan.sender)?;
    let packet = peers.packet_to(&peers.unroutable()).bytes();
    let id = wire.fresh_id();
    wire.send_packet(FrameType::Message, id, &packet);
    let answer = read_answer(&mut wire, id, peers.plan.wait);
    wire.wait_for_end(quiet());
    Ok(Came::answer(answer.packet().is_none(), &answer))
}

fn wrong_token_spares_others(peers: &mut Peers) -> Played {
    peers.spoil();
    let end = peers.plan.receiver.clone().expect("the check needs a receiver");
    let mut stranger = Wire::open_unnamed(&end)?;
    show_wrong_token(&mut stranger, &end, peers.plan.wait);
    stranger.wait_for_end(peers.plan.wait);
    let packet = peers.packet();
    let exchange = peers.pay(&packet)?;
    Ok(match exchange.arrived.is_empty() {
        false => Came::told("the connection that was there still gets it"),
        true => Came::answer(false, &exchange.answer).saying(format!(
            "the connection that was there gets nothing more: {}",
            exchange.answer
        )),
    })
}

fn second_connection(peers: &mut Peers) -> Played {
    peers.spoil();
    let end = peers.plan.receiver.clone().expect("the check needs a receiver");
    let second = Wire::open(&end)?;
    let first = peers.receiver.replace(second).expect("the check needs a receiver");
    let packet = peers.packet();
    let newer = peers.pay(&packet)?;
    if !newer.arrived.is_empty() {
        return Ok(Came::told("the newer connection gets it"));
    }
    peers.receiver = Some(first);
    let packet = peers.packet();
    let older = peers.pay(&packet)?;
    Ok(match older.arrived.is_empty() {
        false => Came::told("the older connection gets it"),
        true => Came::told(format!("neither gets it: {}", older.answer)),
    })
}

fn show_token(wire: &mut Wire, end: &End, token: &str, wait: Duration) -> Answer {
    let username = Some(end.name.as_str()).filter(|name| !name.is_empty());
    let id = wire.fresh_id();
    let mut frame = Vec::new();
    btp::auth::put(&mut frame, id, username, token);
    wire.send(&frame);
    read_answer(wire, id, wait)
}

/// Shows a token of the same length that differs in its last character.
fn show_wrong_token(wire: &mut Wire, end: &End, wait: Duration) -> Answer {
    let mut token = end.token.expose().to_owned();
    let last = token.pop();
    token.push(if last == Some('x') { 'y' } else { 'x' });
    show_token(wire, end, &token, wait)
}
