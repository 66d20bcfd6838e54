//! The shell of a shard: bytes in, vectors to the core, bytes out. It decides nothing; in which order
//! it looks at rings, links and the clock is chance.

use fastrand::Rng;
use m2_codec::btp::{self, Frame, FrameType};
use m2_core::{Now, Request, Response, ResponseBody, Switch};

use crate::coverage::Fault;
use crate::dice::{dice, often};
use crate::judge::{Input, ResponseIn, Says};
use crate::net::{AnswerItem, ForwardItem, MS, Net};
use crate::plan::End;
use crate::port::{Port, with_port};
use crate::world::World;

/// More looks than all packets that a network has could need, one at a time.
const TICKS_MAX: usize = 100_000;

/// Requests and answers of all links of a shard, as they came.
#[derive(Debug, Default)]
struct Vectors {
    requests: Vec<Input>,
    request_bytes: Vec<u8>,
    responses: Vec<ResponseIn>,
    response_bytes: Vec<u8>,
    /// Connections that cannot be read on.
    broken: Vec<(usize, usize)>,
    /// Something stays for the next look.
    is_more: bool,
}

impl World {
    /// A shard looks at what has come.
    pub(crate) fn poll(&mut self, core: usize) {
        let shard = &mut self.net.shards[core];
        shard.polls += 1;
        let (switch, polls) = (shard.switch, shard.polls);
        let dice = &mut dice(&[self.net.plan.seed, core as u64, polls, 0x9011]);
        let first = dice.u32(..3);
        for part in 0..3 {
            match (first + part) % 3 {
                0 => self.take_rings(core),
                1 => self.take_links(core, dice),
                _ => self.tick(core),
            }
        }
        if polls.is_multiple_of(self.net.plan.switches[switch].records_every) {
            self.drain_records(core);
        }
        self.flush(core);
        self.use_room(core);
        self.flush(core);
        self.sleep(core);
    }

    /// One call of a core, and its judge.
    pub(crate) fn step(
        &mut self,
        core: usize,
        run: impl FnOnce(Now, &mut Switch, &mut Port<'_>),
        judge: impl FnOnce(&mut Net, Now),
    ) {
        let net = &mut self.net;
        let switch = net.shards[core].switch;
        let now = net.now_of(core);
        net.begin_step(switch);
        let decider = &mut self.cores[core];
        with_port(net, core, |port| run(now, decider, port));
        judge(net, now);
        let mut unrecorded = Vec::new();
        decider.drain_unrecorded(|one| unrecorded.push(one));
        net.check_listed(unrecorded);
        net.fill_rings(core);
        net.coverage.steps += 1;
        net.check_touched(&self.cores);
    }

    fn take_rings(&mut self, core: usize) {
        let switch = self.net.shards[core].switch;
        let most = self.net.plan.switches[switch].vector;
        let first = self.net.nodes[switch].first_core;
        for from in 0..self.net.shards[core].forwards.len() {
            if !self.net.shards[core].answers[from].is_empty() {
                self.net.wake_soon(first + from);
            }
            for _ in 0..most {
                let Some(item) = self.net.shards[core].answers[from].pop_front() else { break };
                let AnswerItem { answer, packet, hop } = item;
                self.net.shards[core].answer_bytes[from] -= packet.len();
                self.step(
                    core,
                    |now, switch, port| switch.answered(now, answer, &packet, port),
                    |net, now| net.judge_answered(core, now, from, hop),
                );
            }
            for _ in 0..most {
                let Some(item) = self.net.shards[core].forwards[from].pop_front() else { break };
                let ForwardItem { forward, packet, hop } = item;
                self.step(
                    core,
                    |now, switch, port| switch.forwarded(now, forward, &packet, port),
                    |net, now| net.judge_forwarded(core, now, hop),
                );
            }
        }
    }

    fn tick(&mut self, core: usize) {
        let now = self.net.now_of(core);
        let is_due = |core: &Switch| core.next_deadline_ns().is_some_and(|at| at <= now.mono_ns);
        if !is_due(&self.cores[core]) {
            let overdue = self.net.shards[core].due.range(..(now.mono_ns + 1, 0)).next();
            assert!(overdue.is_none(), "expiry: {overdue:?} is due, and the core says nothing is");
            let overdue = self.net.overdue(core, now);
            let is_none = overdue.is_empty();
            assert!(is_none, "durable: {overdue:?} cannot wait, and the core says that all can");
            return;
        }
        self.step(
            core,
            |now, switch, port| {
                for _ in 0..TICKS_MAX {
                    if !is_due(switch) {
                        return;
                    }
                    switch.tick(now, port);
                }
                panic!("expiry: whatever the core is asked for, it says that more is due");
            },
            |net, now| net.judge_ticks(core, now),
        );
    }

    fn take_links(&mut self, core: usize, dice: &mut Rng) {
        let vectors = self.net.gather(core, dice);
        let answers_first = often(dice, 500);
        if answers_first {
            self.take_responses(core, &vectors);
        }
        self.take_requests(core, &vectors);
        if !answers_first {
            self.take_responses(core, &vectors);
        }
        for (wire, side) in vectors.broken {
            self.net.cut(wire, self.net.sequence);
            self.over(wire, side);
        }
        if vectors.is_more {
            self.net.wake_soon(core);
        }
    }

    fn take_requests(&mut self, core: usize, vectors: &Vectors) {
        if vectors.requests.is_empty() {
            return;
        }
        let bytes = &vectors.request_bytes[..];
        let mut rest = bytes;
        let mut batch = Vec::with_capacity(vectors.requests.len());
        for Input { connection, request_id, range } in &vectors.requests {
            let (packet, behind) = rest.split_at(range.len());
            rest = behind;
            batch.push(Request { connection: *connection, request_id: *request_id, packet });
        }
        let inputs = &vectors.requests;
        self.step(
            core,
            |now, switch, port| switch.requests(now, &batch, port),
            |net, now| net.judge_requests(core, now, inputs, bytes),
        );
    }

    fn take_responses(&mut self, core: usize, vectors: &Vectors) {
        let Vectors { responses, response_bytes: bytes, .. } = vectors;
        if responses.is_empty() {
            return;
        }
        let batch: Vec<_> = responses
            .iter()
            .map(|ResponseIn { connection, request_id, says }| Response {
                connection: *connection,
                request_id: *request_id,
                body: match says {
                    Says::Packet(range) => ResponseBody::Packet(&bytes[range.clone()]),
                    Says::Empty => ResponseBody::Empty,
                    Says::ErrorTemporary => ResponseBody::ErrorTemporary,
                    Says::ErrorOther => ResponseBody::ErrorOther,
                },
            })
            .collect();
        self.step(
            core,
            |now, switch, port| switch.responses(now, &batch, port),
            |net, now| net.judge_responses(core, now, responses, bytes),
        );
    }

    /// Sends what the step has left on links; closes those that have too much.
    pub(crate) fn flush(&mut self, core: usize) {
        let dirty = core::mem::take(&mut self.net.shards[core].dirty);
        for (wire, side) in dirty {
            self.net.pump(wire, side);
            let cap = self.net.plan.links[self.net.wires[wire].link].egress_cap;
            let is_past = self.net.wires[wire].pipes[side].waiting() > cap;
            if is_past && !self.net.wires[wire].ends[side].is_over {
                self.net.coverage.saw(Fault::EgressClosed);
                self.net.cut(wire, self.net.sequence);
                self.over(wire, side);
            }
        }
    }

    /// Plans the next look: soon if something waits, else when a packet's time is up. Records are not
    /// left in a core for long.
    pub(crate) fn sleep(&mut self, core: usize) {
        let shard = &self.net.shards[core];
        let waits = shard.forwards.iter().any(|ring| !ring.is_empty())
            || shard.answers.iter().any(|ring| !ring.is_empty());
        let has_records = shard.taken < shard.stream.len();
        if waits {
            self.net.wake_soon(core);
        }
        if has_records {
            self.net.wake(core, self.net.now_ns + MS);
        }
        let ahead_ns = self.net.now_of(core).mono_ns - self.net.now_ns;
        if let Some(deadline) = self.cores[core].next_deadline_ns() {
            self.net.wake(core, deadline.saturating_sub(ahead_ns).max(self.net.now_ns + 1));
        }
    }
}

impl Net {
    fn begin_step(&mut self, switch: usize) {
        self.log.clear();
        self.at_switch = switch;
        (self.prepares_seen, self.answers_seen, self.rooms_seen) = (0, 0, 0);
        (self.forwards_seen, self.backs_seen) = (0, 0);
        self.new_forwards.clear();
        self.new_backs.clear();
        self.staged.clear();
        self.staged.resize(usize::from(self.plan.switches[switch].shards), 0);
    }

    /// What a step has let out to other shards goes to their rings.
    fn fill_rings(&mut self, core: usize) {
        let switch = self.shards[core].switch;
        let first = self.nodes[switch].first_core;
        let from = core - first;
        let forwards: Vec<_> = self.log.forwards.drain(..).collect();
        for ((to, forward, range), hop) in forwards.into_iter().zip(self.new_forwards.clone()) {
            let to = first + usize::from(to.0);
            let packet = self.log.bytes[range].to_vec();
            self.shards[to].forwards[from].push_back(ForwardItem { forward, packet, hop });
            self.wake_soon(to);
        }
        let backs: Vec<_> = self.log.backs.drain(..).collect();
        for ((to, answer, range), hop) in backs.into_iter().zip(self.new_backs.clone()) {
            let to = first + usize::from(to.0);
            let packet = self.log.bytes[range].to_vec();
            self.shards[to].answer_bytes[from] += packet.len();
            let ring = &mut self.shards[to].answers[from];
            ring.push_back(AnswerItem { answer, packet, hop });
            let room = self.plan.switches[switch].rings.answers;
            assert!(ring.len() <= room, "ring: more Answers than places were reserved");
            self.wake_soon(to);
        }
    }

    /// Splits what has come into frames, and notes them, as many as fit the vectors.
    fn gather(&mut self, core: usize, dice: &mut Rng) -> Vectors {
        let mut vectors = Vectors::default();
        let wires = self.shards[core].wires.clone();
        if wires.is_empty() {
            return vectors;
        }
        let start = dice.usize(..wires.len());
        for index in 0..wires.len() {
            let (wire, side) = wires[(start + index) % wires.len()];
            self.gather_wire(core, wire, side, &mut vectors);
            // The window has room again.
            self.pump(wire, 1 - side);
        }
        vectors
    }

    fn gather_wire(&mut self, core: usize, wire: usize, side: usize, vectors: &mut Vectors) {
        let switch = self.shards[core].switch;
        let most = self.plan.switches[switch].vector;
        let connection = self.wires[wire].ends[side].connection.expect("a shard reads what is up");
        let mut consumed = 0;
        loop {
            let unread = &self.wires[wire].pipes[1 - side].unread()[consumed..];
            let len = match btp::frame_len(unread) {
                Ok(Some(len)) if unread.len() >= len => len,
                Ok(_) => {
                    if !unread.is_empty() {
                        self.coverage.saw(Fault::SplitFrame);
                        self.wires[wire].pipes[1 - side].absorb();
                    }
                    break;
                }
                Err(_) => {
                    vectors.broken.push((wire, side));
                    break;
                }
            };
            if vectors.requests.len() >= most || vectors.responses.len() >= most {
                vectors.is_more = true;
                break;
            }
            let Ok(frame) = Frame::new_checked(&unread[..len]) else {
                consumed += len;
                continue;
            };
            let request_id = frame.request_id();
            let packet = frame.ilp();
            match frame.frame_type() {
                FrameType::Message => {
                    if let Some(packet) = packet {
                        let start = vectors.request_bytes.len();
                        vectors.request_bytes.extend_from_slice(packet);
                        let range = start..vectors.request_bytes.len();
                        vectors.requests.push(Input { connection, request_id, range });
                    }
                }
                FrameType::Response | FrameType::Error => {
                    let len = packet.map_or(0, <[u8]>::len);
                    if !self.has_answer_room(core, vectors.response_bytes.len(), len) {
                        // Whoever empties the ring wakes this shard; what it would be filled with by
                        // this very look, it takes first.
                        vectors.is_more |= !vectors.response_bytes.is_empty();
                        self.coverage.saw(Fault::AnswersHeldBack);
                        break;
                    }
                    let says = match (frame.error(), packet) {
                        (Some(error), _) if error.code == *btp::UNREACHABLE => Says::ErrorTemporary,
                        (Some(_), _) => Says::ErrorOther,
                        (None, None) => Says::Empty,
                        (None, Some(packet)) => {
                            let start = vectors.response_bytes.len();
                            vectors.response_bytes.extend_from_slice(packet);
                            Says::Packet(start..vectors.response_bytes.len())
                        }
                    };
                    vectors.responses.push(ResponseIn { connection, request_id, says });
                }
                FrameType::Transfer => {}
            }
            consumed += len;
        }
        self.wires[wire].pipes[1 - side].consume(consumed);
    }

    /// Whether every ring that an answer of this shard may go to has room for its bytes.
    fn has_answer_room(&self, core: usize, taken: usize, len: usize) -> bool {
        let switch = self.shards[core].switch;
        let first = self.nodes[switch].first_core;
        let plan = &self.plan.switches[switch];
        let others = (first..first + usize::from(plan.shards)).filter(|other| *other != core);
        others.map(|other| self.shards[other].answer_bytes[core - first]).all(|waiting| {
            // One that is longer than a ring goes through an empty one.
            waiting + taken == 0 || waiting + taken + len <= plan.answer_ring_bytes
        })
    }

    /// The core that reads a side of a connection, if a switch does.
    pub(crate) fn reader(&self, wire: usize, side: usize) -> Option<usize> {
        match self.end(wire, side) {
            End::Account { switch, account } => Some(self.core_of(switch, account)),
            End::Endpoint(_) => None,
        }
    }
}
