//! Those at the edge: they send PREPAREs and answer them, honestly or not, and keep their own books.
//!
//! An endpoint counts money that it gets when it puts the right fulfillment on the wire as its first
//! answer to a PREPARE, and money that it pays when it reads one: what lies between is equation 3.

use std::collections::{HashMap, HashSet};

use m2_codec::btp::{self, Frame, FrameType};
use m2_codec::ilp::{self, ErrorCode, Fulfill, PacketType, Prepare, Reject};
use sha2::{Digest, Sha256};

use crate::coverage::Fault;
use crate::dice::{dice, mix, often};
use crate::net::{Event, MS, Net, START_UTC_MS};

/// A PREPARE of a kind that carries no money and no tag.
pub(crate) const NO_TAG: u32 = u32::MAX;

#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) link: usize,
    pub(crate) wire: Option<usize>,
    pub(crate) next_id: u32,
    pub(crate) deaf_until: u64,
    /// What it has asked and not been answered: by wire and request id.
    pub(crate) asked: HashMap<(usize, u32), Questions>,
    /// What it has answered.
    answered: HashSet<(usize, u32)>,
    /// PREPAREs that it got: wire, request id, tag.
    got: Vec<(usize, u32, u32)>,
    /// PREPAREs that it sent: id, what it asked, bytes.
    pub(crate) sent: Vec<(u32, Asked, Vec<u8>)>,
    /// What the switch owes it, by its own count.
    pub(crate) position: i128,
    newest: u32,
}

/// PREPAREs under one id that have no FULFILL.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    pub(crate) open: Vec<Asked>,
    /// How many of them have a REJECT; which, nobody can tell.
    pub(crate) rejected: usize,
}

impl Questions {
    pub(crate) fn is_answered(&self) -> bool {
        self.open.len() == self.rejected
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) tag: u32,
    pub(crate) amount: u64,
}

/// A PREPARE as its sender made it.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) preimage: [u8; 32],
    pub(crate) manner: Manner,
    pub(crate) think_ns: u64,
    /// Bit n: switch n has taken it in.
    pub(crate) visited: u64,
}

/// How a receiver treats a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Manner {
    Fulfill,
    Reject,
    Silent,
    Late,
    Wrong,
    Duplicate,
    RejectThenFulfill,
    FulfillThenReject,
    ForeignId,
    UnknownId,
    Newer,
    OtherAccount,
    Malformed,
    Empty,
    ErrorTemporary,
    ErrorOther,
    Junk,
    Long,
}

/// Manners and how many in a thousand.
pub(crate) const MANNERS: &[(Manner, u32)] = &[
    (Manner::Fulfill, 635),
    (Manner::Reject, 110),
    (Manner::Silent, 35),
    (Manner::Late, 35),
    (Manner::Wrong, 25),
    (Manner::Duplicate, 25),
    (Manner::RejectThenFulfill, 15),
    (Manner::FulfillThenReject, 15),
    (Manner::ForeignId, 20),
    (Manner::UnknownId, 10),
    (Manner::Newer, 6),
    (Manner::OtherAccount, 14),
    (Manner::Malformed, 12),
    (Manner::Empty, 10),
    (Manner::ErrorTemporary, 10),
    (Manner::ErrorOther, 8),
    (Manner::Junk, 10),
    (Manner::Long, 5),
];

/// An answer that an endpoint will give.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply {
    endpoint: usize,
    /// On its newest connection, if none is said.
    wire: Option<usize>,
    /// The connection that it was asked on: a lie on another does not count there.
    asked_on: usize,
    request_id: u32,
    tag: u32,
    /// What it gets if this is the right fulfillment for what it was asked.
    amount: Option<u64>,
    says: Manner,
}

impl Endpoint {
    pub(crate) fn new(link: usize) -> Self {
        Self {
            link,
            wire: None,
            next_id: 1,
            deaf_until: 0,
            asked: HashMap::new(),
            answered: HashSet::new(),
            got: Vec::new(),
            sent: Vec::new(),
            position: 0,
            newest: 0,
        }
    }
}

pub(crate) fn sha256(message: &[u8; 32]) -> [u8; 32] {
    Sha256::digest(message).into()
}

/// What conditions are looked up by.
pub(crate) fn head(condition: &[u8]) -> u64 {
    u64::from_be_bytes(*condition.first_chunk().expect("32 bytes"))
}

impl Net {
    /// Reads what has come to an endpoint.
    pub(crate) fn hear(&mut self, endpoint: usize, wire: usize) {
        if self.endpoints[endpoint].deaf_until > self.now_ns {
            return;
        }
        loop {
            // An endpoint is the second end of its link.
            let unread = self.wires[wire].pipes[0].unread();
            let len = btp::frame_len(unread).expect("answer: a switch sends whole frames");
            let Some(bytes) = len.and_then(|len| unread.get(..len)) else { break };
            let frame =
                Frame::new_checked(bytes).expect("answer: a switch sends well-formed frames");
            let (frame_type, request_id) = (frame.frame_type(), frame.request_id());
            let packet = frame.ilp().expect("answer: a switch sends packets").to_vec();
            let len = frame.len();
            self.wires[wire].pipes[0].consume(len);
            match frame_type {
                FrameType::Message => self.asked(endpoint, wire, request_id, &packet),
                FrameType::Response => self.answered(endpoint, wire, request_id, &packet),
                other => panic!("answer: a switch sent a frame of type {other:?}"),
            }
        }
        self.wires[wire].pipes[0].absorb();
        self.pump(wire, 0);
    }

    /// An endpoint gets a PREPARE.
    fn asked(&mut self, endpoint: usize, wire: usize, request_id: u32, packet: &[u8]) {
        let prepare =
            Prepare::new_checked(packet).expect("bytes: what is forwarded is well-formed");
        let tag = self.tags.get(&head(prepare.condition())).copied();
        let tag = tag.expect("bytes: a condition that nobody sent");
        let amount = prepare.amount();
        let me = &mut self.endpoints[endpoint];
        if tag < me.newest {
            self.coverage.saw(Fault::Overtaken);
        }
        me.newest = me.newest.max(tag);
        me.got.push((wire, request_id, tag));
        me.answered.remove(&(wire, request_id));
        let Packet { manner, think_ns, .. } = self.packets[tag as usize];
        let at = self.now_ns + think_ns;
        let reply = Reply {
            endpoint,
            wire: Some(wire),
            asked_on: wire,
            request_id,
            tag,
            amount: Some(amount),
            says: Manner::Fulfill,
        };
        let unpaid = Reply { amount: None, ..reply };
        let chance = mix(self.plan.seed, u64::from(tag) << 20 | u64::from(request_id));
        match manner {
            Manner::Silent => self.coverage.saw(Fault::SilentPeer),
            Manner::Late => {
                self.coverage.saw(Fault::SlowPeer);
                let (deadline_ns, before_ns) = self.deadline(wire, request_id);
                let at = match chance % 3 {
                    // In the very moment that the time is up.
                    0 => deadline_ns.saturating_sub(before_ns),
                    _ => deadline_ns + chance % (300 * MS),
                };
                self.reply(at, reply);
            }
            Manner::Duplicate => {
                self.coverage.saw(Fault::DuplicateAnswer);
                self.reply(at, reply);
                self.reply(at + chance % (20 * MS), unpaid);
            }
            Manner::RejectThenFulfill => {
                self.coverage.saw(Fault::RejectThenFulfill);
                self.reply(at, Reply { says: Manner::Reject, ..unpaid });
                self.reply(at + 1 + chance % (20 * MS), unpaid);
            }
            Manner::FulfillThenReject => {
                self.coverage.saw(Fault::FulfillThenReject);
                self.reply(at, reply);
                self.reply(at + 1 + chance % (20 * MS), Reply { says: Manner::Reject, ..unpaid });
            }
            Manner::ForeignId => {
                self.coverage.saw(Fault::ForeignId);
                let got = &self.endpoints[endpoint].got;
                let recent = &got[got.len().saturating_sub(8)..];
                let index = usize::try_from(chance % recent.len() as u64).expect("a few");
                let (other_wire, other_id, other_tag) = recent[index];
                if other_tag != tag {
                    let wire = Some(other_wire);
                    self.reply(at, Reply { wire, request_id: other_id, ..unpaid });
                }
                if chance & 1 << 40 != 0 {
                    self.reply(at + 2, reply);
                }
            }
            Manner::UnknownId => {
                self.coverage.saw(Fault::UnknownId);
                let request_id = request_id ^ 1 << (chance % 32);
                self.reply(at, Reply { request_id, ..unpaid });
                self.reply(at + 2, reply);
            }
            Manner::Newer => {
                self.coverage.saw(Fault::NewerConnection);
                let link = self.wires[wire].link;
                self.dial(link, true);
                self.reply(at + 60 * MS, Reply { wire: None, ..unpaid });
            }
            Manner::OtherAccount => {
                self.coverage.saw(Fault::OtherAccount);
                let count = self.endpoints.len();
                let step = 1 + usize::try_from(chance % (count as u64 - 1)).expect("a few");
                let other = (endpoint + step) % count;
                self.reply(at, Reply { endpoint: other, wire: None, ..unpaid });
                if chance & 1 << 41 != 0 {
                    self.reply(at + 5 * MS, reply);
                }
            }
            says => self.reply(at, Reply { says, ..reply }),
        }
    }

    /// When the time of a packet is up for the switch that sent it on this connection, and how long
    /// before that an answer must leave to wait there for that moment.
    fn deadline(&self, wire: usize, request_id: u32) -> (u64, u64) {
        let core = self.reader(wire, 0).expect("a switch is at the other end");
        let switch = self.shards[core].switch;
        let hop = &self.hops[self.shards[core].by_id[&request_id]];
        let plan = &self.plan.switches[switch];
        let delay_ns = self.plan.links[self.wires[wire].link].delay_ns[1];
        let ahead_ns = self.now_of(core).mono_ns - self.now_ns;
        (hop.deadline_ns - ahead_ns, delay_ns + delay_ns / 4 + plan.poll_ns / 4)
    }

    fn reply(&mut self, at_ns: u64, reply: Reply) {
        self.replies.push(reply);
        self.at(at_ns, Event::Reply { reply: self.replies.len() - 1 });
    }

    /// An endpoint answers now, unless its connection is gone.
    pub(crate) fn say(&mut self, reply: usize) {
        let Reply { endpoint, wire, asked_on, request_id, tag, amount, says } = self.replies[reply];
        let newest = self.endpoints[endpoint].wire.filter(|newest| *newest != asked_on);
        let Some(wire) = wire.or(newest) else { return };
        let end = self.wires[wire].ends[1];
        if !end.is_up || end.is_over {
            return;
        }
        let mut packet = Vec::new();
        let Packet { preimage, .. } = self.packets[tag as usize];
        let mut error = None;
        let data = [7; 3];
        match says {
            Manner::Reject => {
                let code = if tag % 5 == 0 {
                    ErrorCode(*b"F09")
                } else {
                    ErrorCode::F99_APPLICATION_ERROR
                };
                let by: &[u8] = if tag % 3 == 0 { b"" } else { b"test.somebody" };
                ilp::put_reject(&mut packet, code, by, b"no \xff thanks", &tag.to_be_bytes());
            }
            Manner::Wrong => {
                self.coverage.saw(Fault::WrongFulfillment);
                let mut wrong = preimage;
                wrong[tag as usize % 32] ^= 1 << (tag % 8);
                ilp::put_fulfill(&mut packet, &wrong, &data);
            }
            Manner::Malformed => {
                self.coverage.saw(Fault::MalformedAnswer);
                ilp::put_fulfill(&mut packet, &preimage, &data);
                match tag % 4 {
                    0 => packet.truncate(packet.len() - 1),
                    1 => packet[0] = 12,
                    2 => packet[1] = 0x80,
                    _ => packet = vec![14, 3, 0xff, b'0', b'0'],
                }
            }
            Manner::Empty => self.coverage.saw(Fault::EmptyAnswer),
            Manner::ErrorTemporary => error = Some(btp::UNREACHABLE),
            Manner::ErrorOther => error = Some(btp::NOT_ACCEPTED),
            Manner::Long => {
                self.coverage.saw(Fault::LongData);
                ilp::put_fulfill(&mut packet, &preimage, &vec![tag.to_be_bytes()[3]; 20_000]);
            }
            _ => ilp::put_fulfill(&mut packet, &preimage, &data),
        }
        if says == Manner::Junk {
            self.coverage.saw(Fault::JunkBehind);
            packet.extend_from_slice(b"junk");
        }
        let is_first = self.endpoints[endpoint].answered.insert((wire, request_id));
        let pays = matches!(says, Manner::Fulfill | Manner::Junk | Manner::Long);
        if let (true, true, Some(amount)) = (is_first, pays, amount) {
            self.endpoints[endpoint].position += i128::from(amount);
            let asset = self.plan.links[self.wires[wire].link].asset;
            self.totals[usize::from(asset)].got += i128::from(amount);
            self.open(wire, request_id, tag, amount);
        }
        let out = self.wires[wire].pipes[1].egress();
        if let Some(code) = error {
            self.coverage.saw(Fault::LinkError);
            btp::put_error(out, request_id, code, "Error", START_UTC_MS, b"", &[]);
        } else if says == Manner::Empty {
            btp::put_response(out, request_id, &[]);
        } else {
            btp::put_ilp(out, FrameType::Response, request_id, &packet);
        }
        self.pump(wire, 1);
    }

    /// An endpoint gets an answer.
    fn answered(&mut self, endpoint: usize, wire: usize, request_id: u32, packet: &[u8]) {
        let me = &mut self.endpoints[endpoint];
        let asked = me.asked.get_mut(&(wire, request_id)).filter(|asked| !asked.is_answered());
        let asked = asked.expect("equation 4: an answer to what was not asked, or was answered");
        match ilp::packet_type(packet) {
            Some(PacketType::Fulfill) => {
                let fulfill =
                    Fulfill::new_checked(packet).expect("answer: a FULFILL is well-formed");
                let condition = sha256(fulfill.fulfillment());
                let tag = self.tags.get(&head(&condition)).copied().unwrap_or(NO_TAG);
                let found = asked.open.iter().position(|asked| asked.tag == tag);
                let found = found.expect("hash: a FULFILL that opens no condition of its id");
                let Asked { amount, .. } = asked.open.swap_remove(found);
                self.coverage.fulfilled += 1;
                if tag == NO_TAG {
                    return;
                }
                self.endpoints[endpoint].position -= i128::from(amount);
                let asset = self.plan.links[self.wires[wire].link].asset;
                self.totals[usize::from(asset)].paid += i128::from(amount);
                let was_open = self.close(wire, request_id, tag, amount);
                assert!(was_open, "equation 3: a sender pays what its switch has not counted");
                self.check_link(self.wires[wire].link);
            }
            Some(PacketType::Reject) => {
                let reject = Reject::new_checked(packet).expect("answer: a REJECT is well-formed");
                assert!(reject.packet_len() == packet.len(), "bytes: junk behind a REJECT");
                asked.rejected += 1;
                self.coverage.rejected += 1;
            }
            _ => panic!("answer: neither FULFILL nor REJECT"),
        }
    }

    /// A manner by chance.
    pub(crate) fn manner(&self, salt: u64) -> Manner {
        let dice = &mut dice(&[self.plan.seed, salt, 0x3a]);
        let mut at = dice.u32(..1000);
        for (manner, share) in MANNERS {
            if at < *share {
                return *manner;
            }
            at -= share;
        }
        if often(dice, 500) { Manner::Fulfill } else { Manner::Reject }
    }
}
