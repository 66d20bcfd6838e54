//! RFC 6455, as far as BTP rests on it.

use std::time::Instant;

use m2_codec::btp::{self, FrameType};
use m2_codec::ws::{Opcode, apply_mask, put_binary_header, put_control};

use super::super::peers::Peers;
use super::super::wire::{Wire, wait_for};
use super::Level::Must;
use super::Needs::WebSocket;
use super::link::read_answer;
use super::{Came, Check, Played};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "ws.ping",
        clause: "RFC 6455, 5.5.3",
        level: Must,
        needs: WebSocket,
        sent: "a ping with seven bytes",
        expected: "a pong with the same bytes",
        play: ping,
    },
    Check {
        id: "ws.fragments",
        clause: "RFC 6455, 5.4",
        level: Must,
        needs: WebSocket,
        sent: "a PREPARE in three fragments, with a ping between them",
        expected: "it is answered as in one piece",
        play: fragments,
    },
    Check {
        id: "ws.unmasked",
        clause: "RFC 6455, 5.1",
        level: Must,
        needs: WebSocket,
        sent: "a PREPARE in a frame without a mask",
        expected: "no packet, and the end of the connection",
        play: unmasked,
    },
];

/// Bit of the first byte that says that a message ends here.
const FIN: u8 = 0x80;

fn ping(peers: &mut Peers) -> Played {
    const PAYLOAD: &[u8] = b"m2-load";
    let mut frame = Vec::new();
    put_control(&mut frame, Opcode::Ping, PAYLOAD, peers.sender.mask());
    peers.sender.send_raw(&frame);
    let deadline = Instant::now() + peers.plan.wait;
    loop {
        while peers.sender.next().is_some() {}
        if let Some(pong) = peers.sender.take_pong() {
            let is_same = pong == PAYLOAD;
            let text =
                if is_same { "a pong with the same bytes" } else { "a pong with other bytes" };
            return Ok(Came::new(is_same, text));
        }
        if peers.sender.ended().is_some() || !wait_for(&mut [&mut peers.sender], deadline) {
            return Ok(Came::new(false, "no pong"));
        }
    }
}

fn fragments(peers: &mut Peers) -> Played {
    let (id, frame) = question(peers);
    let (first, rest) = frame.split_at(frame.len() / 3);
    let (second, third) = rest.split_at(rest.len() / 2);
    let mut bytes = Vec::new();
    put_fragment(&mut bytes, &mut peers.sender, Opcode::Binary as u8, first);
    let mask = peers.sender.mask();
    put_control(&mut bytes, Opcode::Ping, b"", mask);
    put_fragment(&mut bytes, &mut peers.sender, Opcode::Continuation as u8, second);
    put_fragment(&mut bytes, &mut peers.sender, FIN | Opcode::Continuation as u8, third);
    peers.sender.send_raw(&bytes);
    let wait = peers.plan.wait;
    let answer = read_answer(&mut peers.sender, id, wait);
    Ok(Came::answer(answer.packet().is_some(), &answer))
}

fn put_fragment(out: &mut Vec<u8>, wire: &mut Wire, first: u8, payload: &[u8]) {
    let mask = wire.mask();
    let start = out.len();
    put_binary_header(out, payload.len(), mask);
    out[start] = first;
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(mask) = mask {
        apply_mask(&mut out[start..], mask);
    }
}

fn unmasked(peers: &mut Peers) -> Played {
    peers.spoil();
    let (id, frame) = question(peers);
    let mut bytes = Vec::new();
    put_binary_header(&mut bytes, frame.len(), None);
    bytes.extend_from_slice(&frame);
    peers.sender.send_raw(&bytes);
    let wait = peers.plan.wait;
    let answer = read_answer(&mut peers.sender, id, wait);
    let has_ended = peers.sender.ended().is_some();
    let text = match (answer.packet(), has_ended) {
        (Some(_), _) => format!("{answer}"),
        (None, true) => "no packet, and the end of the connection".into(),
        (None, false) => "no packet, but the connection stays open".into(),
    };
    Ok(Came::new(answer.packet().is_none() && has_ended, text))
}

/// A PREPARE that no route leads for, in a frame.
fn question(peers: &mut Peers) -> (u32, Vec<u8>) {
    let packet = peers.packet_to(&peers.unroutable()).bytes();
    let id = peers.sender.fresh_id();
    let mut frame = Vec::new();
    btp::put_ilp(&mut frame, FrameType::Message, id, &packet);
    (id, frame)
}
