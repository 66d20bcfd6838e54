//! Where packets go: IL-DCP, `peer.*`, addresses that no route leads for, and the target itself.

use m2_codec::address;
use m2_codec::btp::FrameType;
use m2_codec::ildcp::{self, PEER_CONDITION, PEER_FULFILLMENT};
use m2_codec::ilp::ErrorCode;
use m2_codec::oer;

use super::super::answer::Answer;
use super::super::packet::{Packet, reject};
use super::super::peers::{Exchange, Peers, Stop, now_ms};
use super::Level::{Must, Open, Should};
use super::Needs::{Receiver, Target};
use super::{Came, Check, Played};
use crate::limits;

const ILDCP: &str = "IL-RFC 31, Response";
const CODES: &str = "IL-RFC 27, Error Codes";
const SCHEMES: &str = "IL-RFC 15, Allocation Schemes";

/// What an echo request begins with; a protocol of connectors that is in no RFC.
const ECHO: &[u8] = b"ECHOECHOECHOECHO";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "ildcp.answer",
        clause: ILDCP,
        level: Must,
        needs: Target,
        sent: "PREPARE of amount 0 to peer.config under the peer condition",
        expected: "FULFILL with 32 zero bytes, and address, scale and code in its data",
        play: ildcp_answer,
    },
    Check {
        id: "ildcp.address",
        clause: ILDCP,
        level: Must,
        needs: Receiver,
        sent: "PREPARE to the address that the receiver was told",
        expected: "it reaches the receiver",
        play: ildcp_address,
    },
    Check {
        id: "ildcp.condition",
        clause: "IL-RFC 31, Request",
        level: Open,
        needs: Target,
        sent: "PREPARE of amount 0 to peer.config under another condition",
        expected: "it cannot be fulfilled",
        play: ildcp_condition,
    },
    Check {
        id: "ildcp.amount",
        clause: "IL-RFC 31, Request",
        level: Open,
        needs: Target,
        sent: "PREPARE of amount 1 to peer.config",
        expected: "an answer of either kind",
        play: ildcp_amount,
    },
    Check {
        id: "peer.not-forwarded",
        clause: SCHEMES,
        level: Must,
        needs: Target,
        sent: "PREPARE to peer.m2-load.x under the peer condition",
        expected: "a REJECT, and nothing is forwarded",
        play: peer_not_forwarded,
    },
    Check {
        id: "route.none",
        clause: CODES,
        level: Should,
        needs: Target,
        sent: "PREPARE to an address that no route leads for",
        expected: "REJECT F02 Unreachable",
        play: no_route,
    },
    Check {
        id: "route.triggered-by",
        clause: "IL-RFC 27, ILP Reject",
        level: Must,
        needs: Target,
        sent: "the same",
        expected: "the REJECT names an ILP address as the one that made it",
        play: triggered_by,
    },
    Check {
        id: "route.no-data",
        clause: CODES,
        level: Should,
        needs: Target,
        sent: "the same",
        expected: "the REJECT has no data, as the table of codes says",
        play: no_data,
    },
    Check {
        id: "route.segments",
        clause: "IL-RFC 15, Routing",
        level: Must,
        needs: Receiver,
        sent: "PREPARE to the receiver's address with one letter more behind its last segment",
        expected: "it does not reach the receiver: prefixes end where segments do",
        play: segments,
    },
    Check {
        id: "route.other-network",
        clause: SCHEMES,
        level: Must,
        needs: Target,
        sent: "PREPARE into the other network: to `g.` on a test network, to `test.` elsewhere",
        expected: "a REJECT, and nothing is forwarded",
        play: other_network,
    },
    Check {
        id: "route.self",
        clause: SCHEMES,
        level: Must,
        needs: Target,
        sent: "PREPARE to self.m2-load.x",
        expected: "a REJECT, and nothing is forwarded",
        play: loopback,
    },
    Check {
        id: "route.back",
        clause: "IL-RFC 34, Routing",
        level: Open,
        needs: Target,
        sent: "PREPARE to the sender's own address",
        expected: "a REJECT, or the packet itself",
        play: back_to_sender,
    },
    Check {
        id: "own.payment",
        clause: CODES,
        level: Must,
        needs: Target,
        sent: "PREPARE to the target's own address",
        expected: "a REJECT: who forwards does not receive",
        play: own_payment,
    },
    Check {
        id: "own.echo",
        clause: "no RFC: the echo protocol of connectors",
        level: Open,
        needs: Receiver,
        sent: "echo request to the target's own address, with the receiver's address as its source",
        expected: "a PREPARE to the receiver under the same condition",
        play: echo,
    },
];

fn ildcp_answer(peers: &mut Peers) -> Played {
    let mut request = Vec::new();
    ildcp::put_request(&mut request, now_ms() + limits::CONFORMANCE_LIFETIME_MS);
    let answer = ask(peers, &request)?.answer;
    if answer.reject().is_some() {
        return Err(Stop::NotApplicable(format!("it answers {answer}; only a child is told")));
    }
    let Some(fulfill) = answer.fulfill() else { return Ok(Came::answer(false, &answer)) };
    Ok(match ildcp::Response::from_fulfill(&fulfill) {
        Ok(_) => Came::new(true, "FULFILL with 32 zero bytes, and the three fields"),
        Err(error) => Came::new(false, format!("FULFILL, but {error}")),
    })
}

fn ildcp_address(peers: &mut Peers) -> Played {
    let told = peers.receiver_facts.as_ref().map(|facts| facts.address.clone());
    let told =
        told.ok_or_else(|| Stop::NotApplicable("the receiver was told no address".into()))?;
    let packet = peers.packet_to(told.as_bytes());
    let exchange = peers.pay(&packet)?;
    Ok(Came::answer(exchange.answer.fulfill().is_some(), &exchange.answer))
}

fn ildcp_condition(peers: &mut Peers) -> Played {
    let packet = Packet { amount: 0, ..peers.packet_to(ildcp::DESTINATION) };
    told(peers, &packet)
}

fn ildcp_amount(peers: &mut Peers) -> Played {
    let packet = Packet {
        amount: 1,
        condition: PEER_CONDITION,
        preimage: PEER_FULFILLMENT,
        ..peers.packet_to(ildcp::DESTINATION)
    };
    told(peers, &packet)
}

fn told(peers: &mut Peers, packet: &Packet) -> Played {
    let answer = ask(peers, &packet.bytes())?.answer;
    Ok(Came::answer(true, &answer))
}

fn peer_not_forwarded(peers: &mut Peers) -> Played {
    let packet = Packet {
        amount: 0,
        condition: PEER_CONDITION,
        preimage: PEER_FULFILLMENT,
        ..peers.packet_to(b"peer.m2-load.x")
    };
    refused(peers, &packet)
}

fn no_route(peers: &mut Peers) -> Played {
    let answer = unreachable(peers)?;
    Ok(Came::answer(answer.is_reject(ErrorCode::F02_UNREACHABLE), &answer))
}

fn triggered_by(peers: &mut Peers) -> Played {
    let answer = unreachable(peers)?;
    let Some(reject) = answer.reject() else { return Ok(Came::answer(false, &answer)) };
    let triggered_by = reject.triggered_by();
    Ok(match address::check(triggered_by) {
        Ok(()) => {
            let text = format!("{answer} triggered by {}", triggered_by.escape_ascii());
            Came::answer(true, &answer).saying(text)
        }
        Err(_) if triggered_by.is_empty() => Came::new(false, "a REJECT that names nobody"),
        Err(_) => Came::new(false, "a REJECT that names what is no address"),
    })
}

fn no_data(peers: &mut Peers) -> Played {
    let answer = unreachable(peers)?;
    let Some(reject) = answer.reject() else { return Ok(Came::answer(false, &answer)) };
    let text = format!("{answer} with {} bytes of data", reject.data().len());
    Ok(Came::answer(reject.data().is_empty(), &answer).saying(text))
}

fn unreachable(peers: &mut Peers) -> Result<Answer, Stop> {
    let packet = peers.packet_to(&peers.unroutable());
    Ok(ask(peers, &packet.bytes())?.answer)
}

fn segments(peers: &mut Peers) -> Played {
    let destination = [&peers.packet().destination[..], b"z"].concat();
    let packet = peers.packet_to(&destination);
    let exchange = peers.pay(&packet)?;
    let came = Came::answer(exchange.arrived.is_empty(), &exchange.answer);
    let is_there = !exchange.arrived.is_empty();
    Ok(if is_there { came.saying("it reached the receiver") } else { came })
}

fn other_network(peers: &mut Peers) -> Played {
    let scheme = if peers.scheme().starts_with("test") { "g" } else { "test" };
    let packet = peers.packet_to(format!("{scheme}.m2-load.x").as_bytes());
    refused(peers, &packet)
}

fn loopback(peers: &mut Peers) -> Played {
    let packet = peers.packet_to(b"self.m2-load.x");
    refused(peers, &packet)
}

fn back_to_sender(peers: &mut Peers) -> Played {
    let facts = peers.sender_facts.as_ref().map(|facts| facts.address.clone());
    let own = facts.ok_or_else(|| Stop::NotApplicable("the sender was told no address".into()))?;
    let packet = peers.packet_to(own.as_bytes());
    let exchange = peers.pay(&packet)?;
    Ok(match exchange.arrived.is_empty() {
        false => Came::told("the packet comes back to its sender"),
        true => Came::answer(true, &exchange.answer),
    })
}

fn own_payment(peers: &mut Peers) -> Played {
    let own = own_address(peers)?;
    let packet = peers.packet_to(&own);
    refused(peers, &packet)
}

fn echo(peers: &mut Peers) -> Played {
    let own = own_address(peers)?;
    let mut data = [ECHO, &[0]].concat();
    oer::put_octet_string(&mut data, &peers.packet().destination);
    let packet = peers.packet_to(&own).with_data(data);
    let exchange = peers.pay(&packet)?;
    let Some(prepare) = exchange.arrived.first().and_then(|arrived| arrived.prepare()) else {
        let text = format!("no PREPARE: {}", exchange.answer);
        return Ok(Came::answer(true, &exchange.answer).saying(text));
    };
    let is_type_1 = prepare.data() == [ECHO, &[1]].concat();
    let kind = if is_type_1 { "an echo of type 1" } else { "other data" };
    Ok(Came::told(format!("a PREPARE to the receiver with {kind}, then {}", exchange.answer)))
}

/// The address that the target gives itself in a REJECT.
fn own_address(peers: &mut Peers) -> Result<Vec<u8>, Stop> {
    let answer = unreachable(peers)?;
    let own = answer.reject().map(|reject| reject.triggered_by().to_vec());
    own.filter(|own| address::check(own).is_ok())
        .ok_or_else(|| Stop::NotApplicable("the target does not tell its own address".into()))
}

/// A packet that is to be refused, and forwarded to nobody.
fn refused(peers: &mut Peers, packet: &Packet) -> Played {
    let exchange = ask(peers, &packet.bytes())?;
    Ok(Came::refused(&exchange.answer, !exchange.arrived.is_empty()))
}

/// Sends a packet; what comes out of it is refused by the receiver.
fn ask(peers: &mut Peers, bytes: &[u8]) -> Result<Exchange, Stop> {
    let wait = peers.plan.wait;
    let refusal = reject(*b"F99", b"", b"refused by the receiver", b"");
    peers.exchange(bytes, None, wait, &mut |wire, arrived| {
        wire.send_packet(FrameType::Response, arrived.id, &refusal);
    })
}
