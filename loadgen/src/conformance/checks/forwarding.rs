//! What becomes of a good PREPARE on its way to the receiver.

use std::time::{Duration, Instant};

use m2_codec::btp::FrameType;
use m2_codec::ilp::{AmountTooLarge, ErrorCode};

use super::super::packet::{Packet, envelope, random};
use super::super::peers::{Arrived, Event, Exchange, Peers, Stop, is_of, now_ms};
use super::Level::{Must, Open, Should};
use super::Needs::Receiver;
use super::{Came, Check, Played};
use crate::limits;

const LIFECYCLE: &str = "IL-RFC 27, ILP Packet Lifecycle";
const PREPARE: &str = "IL-RFC 27, ILP Prepare";
const CODES: &str = "IL-RFC 27, Error Codes";
const EXTENSIBILITY: &str = "IL-RFC 30, Extensibility";

/// How long a target may take to hear that the receiver's connection has ended.
const HEARS_OF_AN_END: Duration = Duration::from_secs(1);

const ALL_FULFILLED: &str = "each arrives unchanged and is fulfilled";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: super::PLAIN,
        clause: LIFECYCLE,
        level: Must,
        needs: Receiver,
        sent: "PREPARE to the receiver, which fulfills it",
        expected: "the same FULFILL, byte for byte",
        play: fulfill,
    },
    Check {
        id: "forward.unchanged",
        clause: PREPARE,
        level: Must,
        needs: Receiver,
        sent: "PREPARE to the receiver",
        expected: "all but amount and expiry arrives as it was sent",
        play: unchanged,
    },
    Check {
        id: "forward.data-sizes",
        clause: PREPARE,
        level: Must,
        needs: Receiver,
        sent: "PREPAREs with 0, 1, 127, 128, 255, 256 and 32,767 bytes of data",
        expected: ALL_FULFILLED,
        play: data_sizes,
    },
    Check {
        id: "forward.amount",
        clause: PREPARE,
        level: Must,
        needs: Receiver,
        sent: "PREPARE of --amount units",
        expected: "it arrives with floor(amount x rate)",
        play: amount,
    },
    Check {
        id: "forward.amount-exact",
        clause: PREPARE,
        level: Must,
        needs: Receiver,
        sent: "PREPARE of 2^53 + 1 units, which no binary floating point of 64 bits holds",
        expected: "it arrives with floor(amount x rate), to the unit",
        play: amount_exact,
    },
    Check {
        id: "forward.amount-zero",
        clause: PREPARE,
        level: Should,
        needs: Receiver,
        sent: "PREPARE of amount 0",
        expected: "it arrives with amount 0, and is fulfilled",
        play: amount_zero,
    },
    Check {
        id: "forward.amount-vanishes",
        clause: CODES,
        level: Should,
        needs: Receiver,
        sent: "PREPARE of the largest amount that the rate makes nothing of",
        expected: "REJECT R01 Insufficient Source Amount",
        play: amount_vanishes,
    },
    Check {
        id: "forward.amount-too-large",
        clause: CODES,
        level: Should,
        needs: Receiver,
        sent: "PREPARE of one unit more than --packet-amount-max",
        expected: "REJECT F08 Amount Too Large, with both amounts as its data",
        play: amount_too_large,
    },
    Check {
        id: "forward.expiry",
        clause: LIFECYCLE,
        level: Must,
        needs: Receiver,
        sent: "PREPARE that expires in 15 s",
        expected: "it arrives with an earlier expiry that has not passed",
        play: expiry,
    },
    Check {
        id: "forward.expiry-cap",
        clause: LIFECYCLE,
        level: Open,
        needs: Receiver,
        sent: "PREPARE that expires in 10 minutes",
        expected: "a connector holds its money for a time of its own",
        play: expiry_cap,
    },
    Check {
        id: "forward.trailing-bytes",
        clause: EXTENSIBILITY,
        level: Must,
        needs: Receiver,
        sent: "PREPARE with three bytes behind its envelope",
        expected: "it arrives and is fulfilled",
        play: trailing_outside,
    },
    Check {
        id: "forward.trailing-fields",
        clause: EXTENSIBILITY,
        level: Must,
        needs: Receiver,
        sent: "PREPARE with three bytes behind its data, within its envelope",
        expected: "it arrives and is fulfilled",
        play: trailing_inside,
    },
    Check {
        id: "forward.many",
        clause: "IL-RFC 23, Flow",
        level: Must,
        needs: Receiver,
        sent: "100 PREPAREs at once, answered in reverse order",
        expected: "each gets the FULFILL of its own condition",
        play: many,
    },
    Check {
        id: "forward.same-twice",
        clause: LIFECYCLE,
        level: Open,
        needs: Receiver,
        sent: "one PREPARE twice at once, under two ids",
        expected: "a connector may take them for one packet or for two",
        play: same_twice,
    },
    Check {
        id: "forward.next-hop-down",
        clause: CODES,
        level: Should,
        needs: Receiver,
        sent: "PREPARE to the receiver, which is not connected",
        expected: "REJECT T01 Peer Unreachable",
        play: next_hop_down,
    },
];

fn fulfill(peers: &mut Peers) -> Played {
    let packet = peers.packet();
    let fulfill = packet.fulfill(b"data of the receiver");
    let exchange = peers.answered_by(&packet, &fulfill)?;
    let is_same = exchange.answer.packet() == Some(&fulfill[..]);
    let came = Came::answer(is_same, &exchange.answer);
    Ok(if is_same { came.saying("the same FULFILL") } else { came })
}

fn unchanged(peers: &mut Peers) -> Played {
    let packet = peers.packet();
    let exchange = peers.pay(&packet)?;
    let Some(arrived) = exchange.arrived.first() else { return Ok(not_arrived(&exchange)) };
    Ok(match differences(&packet, arrived) {
        None => Came::new(true, "all but amount and expiry as it was sent"),
        Some(field) => Came::new(false, format!("{field} differs")),
    })
}

/// The first field besides amount and expiry that is not what was sent.
fn differences(packet: &Packet, arrived: &Arrived) -> Option<&'static str> {
    let Some(prepare) = arrived.prepare() else { return Some("the form of the packet") };
    if *prepare.condition() != packet.condition {
        return Some("the condition");
    }
    if prepare.destination() != packet.destination {
        return Some("the destination");
    }
    (prepare.data() != packet.data).then_some("the data")
}

fn data_sizes(peers: &mut Peers) -> Played {
    for len in [0, 1, 127, 128, 255, 256, 32_767] {
        let packet = peers.packet().with_data((0..len).map(|_| random::<1>()[0]).collect());
        let exchange = peers.pay(&packet)?;
        let fault = match exchange.arrived.first() {
            None => Some("it does not arrive"),
            Some(arrived) => differences(&packet, arrived),
        };
        if fault.is_some() || exchange.answer.fulfill().is_none() {
            let fault = fault.unwrap_or("it is not fulfilled");
            let text = format!("with {len} bytes: {fault}; {}", exchange.answer);
            return Ok(Came::answer(false, &exchange.answer).saying(text));
        }
    }
    Ok(Came::new(true, ALL_FULFILLED))
}

fn amount(peers: &mut Peers) -> Played {
    amount_of(peers, peers.plan.amount)
}

fn amount_exact(peers: &mut Peers) -> Played {
    amount_of(peers, (1 << 53) + 1)
}

fn amount_of(peers: &mut Peers, amount: u64) -> Played {
    let expected = peers.converted(amount)?;
    let packet = Packet { amount, ..peers.packet() };
    let exchange = peers.pay(&packet)?;
    let is_limit = [ErrorCode::T04_INSUFFICIENT_LIQUIDITY, ErrorCode::F08_AMOUNT_TOO_LARGE];
    if exchange.answer.code().is_some_and(|code| is_limit.contains(&code)) {
        let limit = format!("a limit of the accounts is below {amount}: {}", exchange.answer);
        return Err(Stop::NotApplicable(limit));
    }
    Ok(match exchange.arrived.first().and_then(Arrived::prepare) {
        None => not_arrived(&exchange),
        Some(prepare) if prepare.amount() == expected => {
            Came::new(true, format!("{amount} arrives as {expected}"))
        }
        Some(prepare) => {
            Came::new(false, format!("{amount} arrives as {}, not {expected}", prepare.amount()))
        }
    })
}

fn amount_zero(peers: &mut Peers) -> Played {
    let packet = Packet { amount: 0, ..peers.packet() };
    let exchange = peers.pay(&packet)?;
    let arrived = exchange.arrived.first().and_then(Arrived::prepare);
    let is_zero = arrived.is_some_and(|prepare| prepare.amount() == 0);
    Ok(Came::answer(is_zero && exchange.answer.fulfill().is_some(), &exchange.answer))
}

fn amount_vanishes(peers: &mut Peers) -> Played {
    let (num, den) = peers.plan.rate.unwrap_or((1, 1));
    // floor(amount x num / den) is 0 up to here.
    let amount = (den - 1) / num;
    if amount == 0 {
        return Err(Stop::NotApplicable(format!("nothing vanishes at the rate {num}/{den}")));
    }
    let packet = Packet { amount, ..peers.packet() };
    let exchange = peers.pay(&packet)?;
    let answer = &exchange.answer;
    Ok(match exchange.arrived.first().and_then(Arrived::prepare) {
        None => Came::answer(answer.is_reject(ErrorCode::R01_INSUFFICIENT_SOURCE_AMOUNT), answer),
        Some(prepare) => Came::new(false, format!("{amount} arrives as {}", prepare.amount())),
    })
}

fn amount_too_large(peers: &mut Peers) -> Played {
    let missing = || Stop::NotApplicable("no --packet-amount-max was given".into());
    let maximum = peers.plan.packet_amount_max.ok_or_else(missing)?;
    let received = maximum.checked_add(1).ok_or_else(missing)?;
    let packet = Packet { amount: received, ..peers.packet() };
    let answer = peers.pay(&packet)?.answer;
    let data = answer.reject().and_then(|reject| AmountTooLarge::from_bytes(reject.data()));
    let is_right = data == Some(AmountTooLarge { received, maximum });
    let text = match data {
        Some(_) if is_right => format!("{answer}, with both amounts"),
        Some(data) => format!("{answer}, with the amounts {} and {}", data.received, data.maximum),
        None => format!("{answer}, without the two amounts"),
    };
    let is_expected = answer.is_reject(ErrorCode::F08_AMOUNT_TOO_LARGE) && is_right;
    Ok(Came::answer(is_expected, &answer).saying(text))
}

fn expiry(peers: &mut Peers) -> Played {
    let packet = peers.packet();
    let exchange = peers.pay(&packet)?;
    let Some(arrived) = exchange.arrived.first() else { return Ok(not_arrived(&exchange)) };
    let expires_at_ms = arrived.prepare().map_or(0, |prepare| prepare.expires_at_ms());
    let is_expected = (arrived.at_ms + 1..packet.expires_at_ms()).contains(&expires_at_ms);
    Ok(Came::new(
        is_expected,
        match (is_expected, expires_at_ms >= packet.expires_at_ms()) {
            (true, _) => "an earlier expiry that has not passed",
            (false, true) => "the expiry is not earlier than it was",
            (false, false) => "the expiry has passed",
        },
    ))
}

fn expiry_cap(peers: &mut Peers) -> Played {
    const TEN_MINUTES_MS: u64 = 600_000;
    let destination = peers.packet().destination;
    let sent_at_ms = now_ms();
    let packet = Packet::new(&destination, peers.plan.amount, sent_at_ms + TEN_MINUTES_MS);
    let exchange = peers.pay(&packet)?;
    let Some(arrived) = exchange.arrived.first() else { return Ok(not_arrived(&exchange)) };
    let expires_at_ms = arrived.prepare().map_or(0, |prepare| prepare.expires_at_ms());
    // Whole seconds from when it left us: what the machine was busy with meanwhile adds to it.
    let seconds = expires_at_ms.saturating_sub(sent_at_ms) / 1000;
    Ok(Came::told(format!("it arrives with {seconds} s left")))
}

fn trailing_outside(peers: &mut Peers) -> Played {
    let packet = peers.packet();
    let sent_len = packet.bytes().len();
    let bytes = [packet.bytes(), vec![0xde, 0xad, 0xbe]].concat();
    trailing(peers, &packet, &bytes, sent_len)
}

fn trailing_inside(peers: &mut Peers) -> Played {
    let packet = peers.packet();
    let sent_len = packet.bytes().len();
    let bytes = envelope(&[packet.contents(), vec![0xde, 0xad, 0xbe]].concat());
    trailing(peers, &packet, &bytes, sent_len)
}

fn trailing(peers: &mut Peers, packet: &Packet, bytes: &[u8], plain_len: usize) -> Played {
    let fulfill = packet.fulfill(b"");
    let wait = peers.plan.wait;
    let reply = &mut |wire: &mut super::super::wire::Wire, arrived: &Arrived| {
        wire.send_packet(FrameType::Response, arrived.id, &fulfill);
    };
    let exchange = peers.exchange(bytes, Some(packet.condition), wait, reply)?;
    let Some(arrived) = exchange.arrived.first() else { return Ok(not_arrived(&exchange)) };
    let kept = if arrived.packet.len() > plain_len { "kept" } else { "dropped" };
    let is_expected = exchange.answer.fulfill().is_some();
    let text = format!("{}, with the bytes {kept}", exchange.answer);
    Ok(Came::answer(is_expected, &exchange.answer).saying(text))
}

fn many(peers: &mut Peers) -> Played {
    let packets: Vec<Packet> = (0..100).map(|_| peers.packet()).collect();
    let ids: Vec<u32> = packets.iter().map(|packet| peers.begin(&packet.bytes())).collect();
    let deadline = Instant::now() + peers.plan.wait;
    let mut waiting: Vec<Arrived> = Vec::new();
    let mut right = 0;
    let mut answered = 0;
    while answered < ids.len() {
        match peers.event(deadline) {
            Event::Arrived(arrived) => waiting.push(arrived),
            Event::Answered(id, answer) => {
                let Some(index) = ids.iter().position(|&own| own == id) else { continue };
                answered += 1;
                let preimage = answer.fulfill().map(|fulfill| *fulfill.fulfillment());
                right += usize::from(preimage == Some(packets[index].preimage));
            }
            Event::Ended | Event::Late => break,
        }
        if waiting.len() + answered == ids.len() {
            answer_in_reverse(peers, &packets, &mut waiting);
        }
    }
    Ok(Came::new(
        right == ids.len(),
        format!("{right} of {} fulfilled, each with its own", ids.len()),
    ))
}

fn answer_in_reverse(peers: &mut Peers, packets: &[Packet], waiting: &mut Vec<Arrived>) {
    while let Some(arrived) = waiting.pop() {
        let packet = packets.iter().find(|packet| is_of(&arrived, Some(packet.condition)));
        let Some(packet) = packet else { continue };
        let fulfill = packet.fulfill(b"");
        peers.wire_of(&arrived).send_packet(FrameType::Response, arrived.id, &fulfill);
    }
}

fn same_twice(peers: &mut Peers) -> Played {
    let packet = peers.packet();
    let fulfill = packet.fulfill(b"");
    let ids = [peers.begin(&packet.bytes()), peers.begin(&packet.bytes())];
    let deadline = Instant::now() + peers.plan.wait;
    let (mut arrived_count, mut fulfilled) = (0, 0);
    let mut answered = 0;
    while answered < ids.len() {
        match peers.event(deadline) {
            Event::Arrived(arrived) if is_of(&arrived, Some(packet.condition)) => {
                arrived_count += 1;
                peers.wire_of(&arrived).send_packet(FrameType::Response, arrived.id, &fulfill);
            }
            Event::Answered(id, answer) if ids.contains(&id) => {
                answered += 1;
                fulfilled += usize::from(answer.fulfill().is_some());
            }
            Event::Arrived(_) | Event::Answered(..) => {}
            Event::Ended | Event::Late => break,
        }
    }
    Ok(Came::told(format!("{arrived_count} arrive, {fulfilled} are fulfilled")))
}

fn next_hop_down(peers: &mut Peers) -> Played {
    peers.spoil();
    peers.receiver = None;
    // The target may hear of the end a moment later than of the packet.
    let deadline = Instant::now() + HEARS_OF_AN_END;
    while let Event::Arrived(_) | Event::Answered(..) = peers.event(deadline) {}
    let packet = Packet {
        expires_at: m2_codec::timestamp::write(now_ms() + limits::CONFORMANCE_LIFETIME_MS),
        ..peers.packet()
    };
    let answer = peers.pay(&packet)?.answer;
    Ok(Came::answer(answer.is_reject(ErrorCode::T01_PEER_UNREACHABLE), &answer))
}

/// A packet that did not get as far as the receiver.
fn not_arrived(exchange: &Exchange) -> Came {
    let text = format!("it does not arrive: {}", exchange.answer);
    Came::answer(false, &exchange.answer).saying(text)
}
