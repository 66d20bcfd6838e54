//! Both ends of a check: who sends to the target, and who receives from it.
//!
//! ```text
//!   sender ==wire==> target ==wire==> receiver
//!      <-- answer --        <-- reply of the check
//! ```
//!
//! Invariant: no wait is without an end, and what belongs to an earlier check is not taken for this
//! one's: answers are told by their ids, PREPAREs by their conditions.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use m2_codec::address::Address;
use m2_codec::btp::{self, Frame, FrameType};
use m2_codec::ildcp;
use m2_codec::ilp::Prepare;

use super::answer::Answer;
use super::packet::{Packet, reject};
use super::plan::Plan;
use super::wire::{Wire, wait_for};
use crate::limits;
use crate::link::LinkError;

/// Why a check has no result.
pub(super) enum Stop {
    /// It says nothing about this target, for this reason.
    NotApplicable(String),
    /// The target cannot be reached any longer.
    Lost(LinkError),
}

impl From<LinkError> for Stop {
    fn from(error: LinkError) -> Self {
        Self::Lost(error)
    }
}

/// A PREPARE that the target sent us.
#[derive(Clone)]
pub(super) struct Arrived {
    pub(super) id: u32,
    pub(super) packet: Vec<u8>,
    pub(super) at_ms: u64,
    /// It came back to who sent it.
    pub(super) on_sender: bool,
}

impl Arrived {
    pub(super) fn prepare(&self) -> Option<Prepare<&[u8]>> {
        Prepare::new_checked(&self.packet[..]).ok()
    }
}

/// What happens next on one of the wires.
pub(super) enum Event {
    /// A PREPARE came, on the receiver's wire or, if sent back, on the sender's.
    Arrived(Arrived),
    /// Something answered the sender's request of this id.
    Answered(u32, Answer),
    /// The sender's connection ended.
    Ended,
    /// Nothing, until the deadline.
    Late,
}

/// One request and all that came of it.
pub(super) struct Exchange {
    pub(super) answer: Answer,
    pub(super) arrived: Vec<Arrived>,
}

/// What IL-DCP tells of an account.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Facts {
    pub(super) address: String,
    pub(super) asset_code: String,
    pub(super) asset_scale: u8,
}

/// The two ends, connected.
pub(super) struct Peers {
    pub(super) plan: Plan,
    pub(super) sender: Wire,
    pub(super) receiver: Option<Wire>,
    /// Where PREPAREs for the receiver go.
    pub(super) receiver_address: Option<Address>,
    pub(super) sender_facts: Option<Facts>,
    pub(super) receiver_facts: Option<Facts>,
    /// What came back for a plain PREPARE, where it did not reach the receiver.
    pub(super) no_way: Option<Answer>,
    is_spoiled: bool,
}

impl Peers {
    /// Connects, asks who we are, and sees that the target answers at all.
    ///
    /// # Errors
    ///
    /// A sentence: it cannot be reached, it is silent, or it does not say where the receiver is.
    pub(super) fn open(plan: Plan) -> Result<Self, String> {
        let mut peers = Self::connect(plan).map_err(|error| error.to_string())?;
        let wait = peers.plan.wait;
        peers.greet()?;
        let Some(receiver) = &mut peers.receiver else { return Ok(peers) };
        peers.receiver_facts = ask_who_we_are(receiver, wait);
        let told = peers.receiver_facts.as_ref().and_then(|facts| facts.address.parse().ok());
        peers.receiver_address = peers.receiver_address.take().or(told);
        if peers.receiver_address.is_none() {
            return Err("the target does not tell the receiver's address by IL-DCP; say which \
                        address it routes there with --receiver-address"
                .into());
        }
        let packet = peers.packet();
        let exchange = peers.pay(&packet);
        peers.no_way = exchange.ok().filter(|it| it.arrived.is_empty()).map(|it| it.answer);
        Ok(peers)
    }

    /// Asks who the sender is; if that is not told, sees that a PREPARE is answered at least.
    ///
    /// # Errors
    ///
    /// A sentence, if the target answers nothing.
    pub(super) fn greet(&mut self) -> Result<(), String> {
        let wait = self.plan.wait;
        let facts = ask_who_we_are(&mut self.sender, wait);
        if facts.is_none() {
            self.probe()?;
        }
        self.sender_facts = facts.or_else(|| self.sender_facts.take());
        Ok(())
    }

    /// Whether a PREPARE is answered, by whatever.
    fn probe(&mut self) -> Result<(), String> {
        let packet = self.packet_to(&self.unroutable()).bytes();
        let id = self.begin(&packet);
        let wait = self.plan.wait;
        if self.sender.answer(id, wait).is_some() {
            return Ok(());
        }
        Err(match self.sender.ended() {
            Some(error) => error.to_string(),
            None => format!(
                "the target at {} took the token, and answered neither an IL-DCP request nor a \
                 PREPARE within {} ms; is it a connector, and is --wait-ms long enough?",
                self.plan.sender.url,
                wait.as_millis()
            ),
        })
    }

    fn connect(plan: Plan) -> Result<Self, LinkError> {
        let sender = Wire::open(&plan.sender)?;
        let receiver = plan.receiver.as_ref().map(Wire::open).transpose()?;
        Ok(Self {
            receiver_address: plan.receiver_address.clone(),
            plan,
            sender,
            receiver,
            sender_facts: None,
            receiver_facts: None,
            no_way: None,
            is_spoiled: false,
        })
    }

    /// Says that the connections are not to be used by another check.
    pub(super) fn spoil(&mut self) {
        self.is_spoiled = true;
    }

    /// New connections, where those of the last check ended or were spoiled.
    pub(super) fn refresh(&mut self) -> Result<(), LinkError> {
        let receiver_ended = self.receiver.as_ref().is_some_and(|wire| wire.ended().is_some());
        if !self.is_spoiled && self.sender.ended().is_none() && !receiver_ended {
            return Ok(());
        }
        self.sender = Wire::open(&self.plan.sender)?;
        if let Some(end) = &self.plan.receiver {
            self.receiver = Some(Wire::open(end)?);
        }
        self.is_spoiled = false;
        Ok(())
    }

    /// A PREPARE to the receiver, in time.
    pub(super) fn packet(&self) -> Packet {
        let destination = self.receiver_address.as_ref().map_or(&b""[..], |it| it.as_bytes());
        self.packet_to(destination)
    }

    pub(super) fn packet_to(&self, destination: &[u8]) -> Packet {
        Packet::new(destination, self.plan.amount, now_ms() + limits::CONFORMANCE_LIFETIME_MS)
    }

    /// A PREPARE to the receiver that expires soon.
    pub(super) fn short_packet(&self) -> Packet {
        let lifetime_ms = u64::try_from(self.plan.silent.as_millis()).expect("seconds");
        Packet::new(&self.packet().destination, self.plan.amount, now_ms() + lifetime_ms)
    }

    /// An address that no route leads to.
    pub(super) fn unroutable(&self) -> Vec<u8> {
        match &self.plan.unroutable {
            Some(address) => address.as_bytes().to_vec(),
            None => format!("{}.m2-load-nowhere.x", self.scheme()).into_bytes(),
        }
    }

    /// The scheme of the addresses that we know.
    pub(super) fn scheme(&self) -> String {
        let receiver = self.receiver_address.as_ref().map(Address::as_str);
        let sender = self.sender_facts.as_ref().map(|facts| facts.address.as_str());
        let known = receiver.or(sender).unwrap_or("test");
        known.split('.').next().unwrap_or("test").to_owned()
    }

    /// What the receiver is to get for `amount`.
    pub(super) fn converted(&self, amount: u64) -> Result<u64, Stop> {
        let (num, den) = match (self.plan.rate, &self.sender_facts, &self.receiver_facts) {
            (Some(rate), _, _) => rate,
            (None, Some(sender), Some(receiver))
                if (&sender.asset_code, sender.asset_scale)
                    != (&receiver.asset_code, receiver.asset_scale) =>
            {
                return Err(Stop::NotApplicable(
                    "the accounts have two assets, and no --rate says what one is worth".into(),
                ));
            }
            _ => (1, 1),
        };
        let wide = u128::from(amount) * u128::from(num) / u128::from(den);
        u64::try_from(wide).map_err(|_| Stop::NotApplicable("the rate leads past 64 bits".into()))
    }

    /// Sends a packet as a request and gives its id.
    pub(super) fn begin(&mut self, packet: &[u8]) -> u32 {
        let id = self.sender.fresh_id();
        self.sender.send_packet(FrameType::Message, id, packet);
        id
    }

    /// What happens next. PREPAREs to `peer.*` are none of the checks' and are refused.
    pub(super) fn event(&mut self, deadline: Instant) -> Event {
        loop {
            while let Some(frame) = self.sender.next() {
                match read(&mut self.sender, &frame, true) {
                    Some(Read::Request(arrived)) => return Event::Arrived(arrived),
                    Some(Read::Answer(id, answer)) => return Event::Answered(id, answer),
                    None => {}
                }
            }
            if let Some(receiver) = &mut self.receiver {
                while let Some(frame) = receiver.next() {
                    if let Some(Read::Request(arrived)) = read(receiver, &frame, false) {
                        return Event::Arrived(arrived);
                    }
                }
            }
            if self.sender.ended().is_some() {
                return Event::Ended;
            }
            let mut wires = vec![&mut self.sender];
            wires.extend(self.receiver.as_mut());
            if !wait_for(&mut wires, deadline) {
                return Event::Late;
            }
        }
    }

    /// Sends `bytes` and waits for the answer; `reply` sees each PREPARE that comes meanwhile.
    ///
    /// `condition` tells those of this request from what is left of an earlier one.
    pub(super) fn exchange(
        &mut self,
        bytes: &[u8],
        condition: Option<[u8; 32]>,
        wait: Duration,
        reply: &mut dyn FnMut(&mut Wire, &Arrived),
    ) -> Result<Exchange, Stop> {
        let id = self.begin(bytes);
        let deadline = Instant::now() + wait;
        let mut arrived_here = Vec::new();
        let answer = loop {
            match self.event(deadline) {
                Event::Answered(answered, answer) if answered == id => break answer,
                Event::Answered(..) => {}
                Event::Ended => break Answer::Ended,
                Event::Late => break Answer::Nothing,
                Event::Arrived(arrived) if is_of(&arrived, condition) => {
                    reply(self.wire_of(&arrived), &arrived);
                    arrived_here.push(arrived);
                }
                Event::Arrived(_) => {}
            }
        };
        Ok(Exchange { answer, arrived: arrived_here })
    }

    /// A packet that the receiver fulfills with `data`.
    pub(super) fn pay(&mut self, packet: &Packet) -> Result<Exchange, Stop> {
        let fulfill = packet.fulfill(b"");
        self.answered_by(packet, &fulfill)
    }

    /// A packet that the receiver answers with these bytes.
    pub(super) fn answered_by(&mut self, packet: &Packet, answer: &[u8]) -> Result<Exchange, Stop> {
        let wait = self.plan.wait;
        self.exchange(&packet.bytes(), Some(packet.condition), wait, &mut |wire, arrived| {
            wire.send_packet(FrameType::Response, arrived.id, answer);
        })
    }

    /// The wire on which a PREPARE came.
    pub(super) fn wire_of(&mut self, arrived: &Arrived) -> &mut Wire {
        match &mut self.receiver {
            Some(receiver) if !arrived.on_sender => receiver,
            _ => &mut self.sender,
        }
    }
}

/// Whether a PREPARE belongs to the request with this condition.
pub(super) fn is_of(arrived: &Arrived, condition: Option<[u8; 32]>) -> bool {
    match (condition, arrived.prepare()) {
        (Some(condition), Some(prepare)) => *prepare.condition() == condition,
        _ => true,
    }
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).expect("a date of this age")
}

enum Read {
    Request(Arrived),
    Answer(u32, Answer),
}

/// Takes a frame apart; what no check asks for is answered here.
fn read(wire: &mut Wire, bytes: &[u8], on_sender: bool) -> Option<Read> {
    let frame = Frame::new_checked(bytes).ok()?;
    let id = frame.request_id();
    match frame.frame_type() {
        FrameType::Response | FrameType::Error => Some(Read::Answer(id, Answer::read(bytes))),
        FrameType::Transfer => None,
        FrameType::Message => {
            let Some(packet) = frame.ilp() else {
                let mut response = Vec::new();
                btp::put_response(&mut response, id, &[]);
                wire.send(&response);
                return None;
            };
            let arrived = Arrived { id, packet: packet.to_vec(), at_ms: now_ms(), on_sender };
            let is_for_peers =
                arrived.prepare().is_some_and(|prepare| is_between_peers(prepare.destination()));
            if is_for_peers {
                let refusal = reject(*b"F01", b"", b"no peer protocol is spoken here", b"");
                wire.send_packet(FrameType::Response, id, &refusal);
                return None;
            }
            Some(Read::Request(arrived))
        }
    }
}

/// Asks by IL-DCP; `None` if the target tells nothing.
fn ask_who_we_are(wire: &mut Wire, wait: Duration) -> Option<Facts> {
    let id = wire.fresh_id();
    let mut request = Vec::new();
    ildcp::put_request(&mut request, now_ms() + limits::CONFORMANCE_LIFETIME_MS);
    wire.send_packet(FrameType::Message, id, &request);
    let answer = Answer::read(&wire.answer(id, wait)?);
    let response = ildcp::Response::from_fulfill(&answer.fulfill()?).ok()?;
    Some(Facts {
        address: String::from_utf8_lossy(response.client_address).into_owned(),
        asset_code: response.asset_code.to_owned(),
        asset_scale: response.asset_scale,
    })
}

/// Whether a PREPARE is the target's own talk to us; what we sent ourselves is not.
fn is_between_peers(destination: &[u8]) -> bool {
    destination.starts_with(b"peer.") && !destination.starts_with(b"peer.m2-load")
}
