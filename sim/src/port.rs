//! Where the packets of a core leave: real BTP frames to the streams of links, messages to the rings
//! between shards. Everything that leaves is written down for the judges.

use core::ops::Range;

use m2_codec::btp::{self, FrameType};
use m2_codec::ilp::ForwardedPrepare;
use m2_core::{Answer, ConnectionId, Egress, Forward, ShardId};

use crate::books::Account;
use crate::dice::mix;
use crate::net::{Net, Shard};
use crate::wire::Wire;

/// What a step of a core has let out, kind by kind, each in its order.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) prepares: Vec<(ConnectionId, u32, Range<usize>)>,
    pub(crate) answers: Vec<(ConnectionId, u32, Range<usize>)>,
    pub(crate) forwards: Vec<(ShardId, Forward, Range<usize>)>,
    pub(crate) backs: Vec<(ShardId, Answer, Range<usize>)>,
    /// What was said to "is there room for a PREPARE", and to "is there room for a Forward".
    pub(crate) rooms: Vec<(ConnectionId, bool)>,
    pub(crate) bytes: Vec<u8>,
}

impl Log {
    pub(crate) fn clear(&mut self) {
        self.prepares.clear();
        self.answers.clear();
        self.rooms.clear();
        self.bytes.clear();
    }

    fn keep(&mut self, packet: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(packet);
        start..self.bytes.len()
    }
}

pub(crate) struct Port<'a> {
    log: &'a mut Log,
    rooms: &'a core::cell::RefCell<Vec<(ConnectionId, bool)>>,
    wires: &'a mut [Wire],
    accounts: &'a [Account],
    /// The shards of the same switch.
    shards: &'a mut [Shard],
    own: usize,
    egress_caps: &'a dyn Fn(usize) -> usize,
    forward_ring: usize,
    digest: &'a mut u64,
}

/// Runs `step` with a port for the core at `core`.
pub(crate) fn with_port(net: &mut Net, core: usize, step: impl FnOnce(&mut Port<'_>)) {
    let plan = net.plan.clone();
    let switch = net.shards[core].switch;
    let node = &net.nodes[switch];
    let first = node.first_core;
    let count = usize::from(plan.switches[switch].shards);
    let rooms = core::cell::RefCell::default();
    let mut port = Port {
        log: &mut net.log,
        rooms: &rooms,
        wires: &mut net.wires,
        accounts: &node.accounts,
        shards: &mut net.shards[first..first + count],
        own: core - first,
        egress_caps: &|link| plan.links[link].egress_cap,
        forward_ring: plan.switches[switch].forward_ring,
        digest: &mut net.digest,
    };
    step(&mut port);
    net.log.rooms.append(&mut rooms.into_inner());
}

impl Port<'_> {
    fn wire(&self, to: ConnectionId) -> (usize, usize) {
        let account = &self.accounts[to.account.0 as usize];
        (account.wires[to.epoch.get() as usize - 1], account.plan.side)
    }

    fn put(&mut self, to: ConnectionId, frame_type: FrameType, request_id: u32, packet: &[u8]) {
        let (wire, side) = self.wire(to);
        if !self.wires[wire].ends[side].is_over {
            let pipe = &mut self.wires[wire].pipes[side];
            if frame_type == FrameType::Message {
                pipe.note_prepare(request_id);
            }
            btp::put_ilp(pipe.egress(), frame_type, request_id, packet);
            self.shards[self.own].dirty.push((wire, side));
        }
        let seen = mix(u64::from(request_id) << 8 | frame_type as u64, packet.len() as u64);
        *self.digest = mix(*self.digest, seen ^ (wire as u64) << 50);
    }
}

impl Egress for Port<'_> {
    fn below_half(&self, to: ConnectionId) -> bool {
        let (wire, side) = self.wire(to);
        let Wire { link, pipes, .. } = &self.wires[wire];
        let is_below = pipes[side].waiting() < (self.egress_caps)(*link) / 2;
        self.rooms.borrow_mut().push((to, is_below));
        is_below
    }

    fn prepare(&mut self, to: ConnectionId, request_id: u32, packet: ForwardedPrepare<'_>) {
        let mut bytes = Vec::new();
        packet.put(&mut bytes);
        let range = self.log.keep(&bytes);
        self.log.prepares.push((to, request_id, range));
        self.put(to, FrameType::Message, request_id, &bytes);
    }

    fn answer(&mut self, to: ConnectionId, request_id: u32, packet: &[u8]) {
        let range = self.log.keep(packet);
        self.log.answers.push((to, request_id, range));
        self.put(to, FrameType::Response, request_id, packet);
    }

    fn forward_room(&self, to: ShardId) -> bool {
        let waiting = self.shards[usize::from(to.0)].forwards[self.own].len();
        let staged = self.log.forwards.iter().filter(|(shard, ..)| *shard == to).count();
        waiting + staged < self.forward_ring
    }

    fn forward(&mut self, to: ShardId, forward: Forward, packet: &[u8]) {
        let range = self.log.keep(packet);
        self.log.forwards.push((to, forward, range));
    }

    fn give_back(&mut self, to: ShardId, answer: Answer, packet: &[u8]) {
        let range = self.log.keep(packet);
        self.log.backs.push((to, answer, range));
    }
}
