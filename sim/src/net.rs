//! The network at one moment: everything but the cores, which are the production code's.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use m2_core::{
    Answer, ConnectionId, Forward, JournalState, Key, KeyState, Now, Rates, Routes,
    UnrecordedFulfill,
};

use crate::books::{Hop, Node, Written};
use crate::coverage::{Coverage, Fault};
use crate::dice::mix;
use crate::endpoint::{Endpoint, Packet, Reply};
use crate::plan::{End, Plan};
use crate::port::Log;
use crate::wire::Wire;

/// Every simulation begins on 2026-11-21 at noon.
pub(crate) const START_UTC_MS: u64 = 1_795_262_400_000;
pub(crate) const MS: u64 = 1_000_000;

/// What happens at a moment to come.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Event {
    Arrive { wire: usize, side: usize },
    Poll { core: usize },
    Up { wire: usize, side: usize },
    Over { wire: usize, side: usize },
    Dial { link: usize },
    Reply { reply: usize },
    Rates { core: usize, version: u32 },
    Routes { core: usize, table: usize },
    Credit { link: usize, side: usize, amount: u64, key: u128 },
    Hear { endpoint: usize },
    Resume { switch: usize },
    Durable { core: usize, stream: usize, position: u64 },
    Journal { core: usize, refuses: bool },
    JournalFailed { core: usize },
}

/// A Forward between two shards, with its bytes.
#[derive(Debug)]
pub(crate) struct ForwardItem {
    pub(crate) forward: Forward,
    pub(crate) packet: Vec<u8>,
    pub(crate) hop: usize,
}

/// An Answer between two shards, with its bytes.
#[derive(Debug)]
pub(crate) struct AnswerItem {
    pub(crate) answer: Answer,
    pub(crate) packet: Vec<u8>,
    pub(crate) hop: usize,
}

/// The shell of one shard.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) switch: usize,
    pub(crate) poll_at: Option<u64>,
    pub(crate) stalled_until: u64,
    /// How far ahead of the simulation it reads the clocks: shards read them at moments of their own.
    pub(crate) lead_ns: u64,
    pub(crate) polls: u64,
    /// By the shard that they come from.
    pub(crate) forwards: Vec<VecDeque<ForwardItem>>,
    pub(crate) answers: Vec<VecDeque<AnswerItem>>,
    pub(crate) answer_bytes: Vec<usize>,
    /// Connections that it reads: wire, side.
    pub(crate) wires: Vec<(usize, usize)>,
    /// Connections with something to send.
    pub(crate) dirty: Vec<(usize, usize)>,
    pub(crate) version: u32,
    pub(crate) rates_at: u64,
    pub(crate) table: usize,
    pub(crate) routes_at: u64,
    pub(crate) is_draining: bool,
    /// By request id on the next hop's link.
    pub(crate) flying: HashMap<u32, usize>,
    /// The last packet under each id, also when it has ended.
    pub(crate) by_id: HashMap<u32, usize>,
    /// The last packet of each slot: as many low bits of an id as number the slots.
    pub(crate) by_slot: HashMap<u32, usize>,
    pub(crate) due: BTreeSet<(u64, usize)>,
    /// Its records, and how many of them have left the core.
    pub(crate) stream: Vec<Written>,
    pub(crate) taken: usize,
    /// Records that packets in flight may need.
    pub(crate) places: usize,
    /// What it was told of the journal: its state, and by stream how far that is durable.
    pub(crate) journal: JournalState,
    pub(crate) told: Vec<u64>,
    /// By stream: fulfilled packets of its accounts that are not durable, and when that was counted.
    pub(crate) undurable: Vec<VecDeque<(usize, u64)>>,
    /// Packets that its accounts have fulfilled and that are not durable.
    pub(crate) undurable_out: VecDeque<usize>,
    /// FULFILLs given without a durable record.
    pub(crate) graced: u64,
    pub(crate) unrecorded: u64,
    /// What each key stands for.
    pub(crate) keys: BTreeMap<Key, KeyState>,
    /// By stream of the switch: the incoming legs of records below were counted here.
    pub(crate) applied: Vec<u64>,
    /// Packets of this shard's accounts to those of each shard, until their answer is taken.
    pub(crate) under_way: Vec<usize>,
}

/// What is known of a link, whatever connections it has had.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// The newest connection.
    pub(crate) wire: Option<usize>,
    /// FULFILLs that the one who got money has counted and the one who pays has not: equation 3.
    pub(crate) open: HashMap<(usize, u32, u32), Open>,
    pub(crate) open_sum: i128,
    /// Payments and reversals that one side alone has counted.
    pub(crate) moved: i128,
}

/// A FULFILL between two books.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Open {
    pub(crate) amount: i128,
    pub(crate) count: u32,
    /// It came after its time; else it is under way, or was lost with its connection.
    pub(crate) is_late: bool,
}

#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) plan: Arc<Plan>,
    pub(crate) now_ns: u64,
    pub(crate) sequence: u64,
    pub(crate) events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    pub(crate) shards: Vec<Shard>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) links: Vec<Link>,
    pub(crate) wires: Vec<Wire>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) packets: Vec<Packet>,
    /// By the first half of the condition.
    pub(crate) tags: HashMap<u64, u32>,
    pub(crate) replies: Vec<Reply>,
    pub(crate) hops: Vec<Hop>,
    /// Those that have no answer yet.
    pub(crate) live_hops: BTreeSet<usize>,
    /// By switch and table, by switch and version.
    pub(crate) routes: Vec<Vec<Arc<Routes>>>,
    pub(crate) rates: Vec<Vec<Arc<Rates>>>,
    pub(crate) log: Log,
    /// Accounts that a step has touched.
    pub(crate) touched: Vec<(usize, u32)>,
    pub(crate) totals: Vec<AssetTotals>,
    pub(crate) coverage: Coverage,
    pub(crate) digest: u64,
    /// No new connections and no new packets any more.
    pub(crate) is_ending: bool,
    /// Positions as the cores told them last.
    pub(crate) core_positions: Vec<Vec<i128>>,
    pub(crate) undelivered: u64,
    /// The switch that takes a step.
    pub(crate) at_switch: usize,
    /// All late FULFILLs that hash right, each packet's first.
    pub(crate) late_count: u64,
    /// What the step at hand must list as given without a record.
    pub(crate) listed: Vec<UnrecordedFulfill>,
    /// Keys told of so far.
    pub(crate) keys: u128,
    /// By core and name.
    pub(crate) refused: HashMap<(usize, &'static str), u64>,
    /// By core, both assets and version of rates: what came in and went out.
    pub(crate) pairs: BTreeMap<(usize, usize, usize, u32), (u128, u128)>,
    /// How much of the log the judges have seen, in one step.
    pub(crate) prepares_seen: usize,
    pub(crate) answers_seen: usize,
    pub(crate) forwards_seen: usize,
    pub(crate) backs_seen: usize,
    pub(crate) rooms_seen: usize,
    /// The packets of the Forwards and Answers that a step let out.
    pub(crate) new_forwards: Vec<usize>,
    pub(crate) new_backs: Vec<usize>,
    /// Forwards of the step at hand, by the shard that they go to.
    pub(crate) staged: Vec<usize>,
    /// Which requests of the vector found no token; last first.
    pub(crate) unpaid: Vec<bool>,
}

/// Equation 5, by asset.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AssetTotals {
    /// What senders have counted as paid, and receivers as got.
    pub(crate) paid: i128,
    pub(crate) got: i128,
    /// What switches took in and gave out, by the pairs that they decided.
    pub(crate) pairs_in: i128,
    pub(crate) pairs_out: i128,
    /// Of these, what leaves no record.
    pub(crate) unwritten_in: i128,
    pub(crate) unwritten_out: i128,
    /// The rest, by the records that left the cores.
    pub(crate) records_in: i128,
    pub(crate) records_out: i128,
    /// Decided, the answer still in a ring.
    pub(crate) in_rings: i128,
    /// Counted by one end of a link alone.
    pub(crate) open: i128,
}

impl Net {
    pub(crate) fn at(&mut self, at_ns: u64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((at_ns.max(self.now_ns), self.sequence, event)));
    }

    /// The clocks of a switch.
    pub(crate) fn now(&self, switch: usize) -> Now {
        self.read_clocks(switch, 0)
    }

    /// The clocks of a switch as one of its shards reads them.
    pub(crate) fn now_of(&self, core: usize) -> Now {
        let shard = &self.shards[core];
        self.read_clocks(shard.switch, shard.lead_ns)
    }

    fn read_clocks(&self, switch: usize, lead_ns: u64) -> Now {
        let at_ns = self.now_ns + lead_ns;
        let utc_ms = (START_UTC_MS + at_ns / MS).saturating_add_signed(self.nodes[switch].skew_ms);
        Now { utc_ms, mono_ns: self.plan.switches[switch].mono_start_ns + at_ns }
    }

    /// Lets a shard look at what has come, not later than then.
    pub(crate) fn wake(&mut self, core: usize, at_ns: u64) {
        let at_ns = at_ns.max(self.now_ns);
        let shard = &mut self.shards[core];
        if shard.poll_at.is_none_or(|planned| planned > at_ns) {
            shard.poll_at = Some(at_ns);
            self.at(at_ns, Event::Poll { core });
        }
    }

    pub(crate) fn wake_soon(&mut self, core: usize) {
        let shard = &self.shards[core];
        let poll_ns = self.plan.switches[shard.switch].poll_ns;
        let jitter = mix(self.plan.seed, shard.polls ^ (core as u64) << 40) % poll_ns;
        self.wake(core, self.now_ns + poll_ns / 2 + jitter);
    }

    /// The shard of an account.
    pub(crate) fn core_of(&self, switch: usize, account: u32) -> usize {
        let node = &self.nodes[switch];
        node.first_core + usize::from(node.accounts[account as usize].plan.shard)
    }

    /// Sends what a connection has waiting, as far as the window lets it.
    pub(crate) fn pump(&mut self, wire: usize, side: usize) {
        let Wire { link, is_cut, ends, .. } = self.wires[wire];
        if is_cut || ends[side].is_over {
            return;
        }
        let plan = &self.plan.links[link];
        let (delay, window) = (plan.delay_ns[side], plan.window);
        loop {
            let chance = mix(self.plan.seed ^ self.now_ns, self.sequence);
            let len = if chance.is_multiple_of(8) { 1 + (chance >> 8) % 60 } else { 16_000 };
            let jitter = (chance >> 20) % (delay / 2 + 1);
            let len = usize::try_from(len).expect("a short piece");
            let pipe = &mut self.wires[wire].pipes[side];
            let Some(at) = pipe.take(len, window, self.now_ns + delay + jitter) else { break };
            self.at(at, Event::Arrive { wire, side });
        }
        // What waits for room looks again.
        if let End::Account { switch, account } = self.end(wire, side)
            && !self.nodes[switch].accounts[account as usize].backlog.is_empty()
            && self.wires[wire].pipes[side].waiting() < self.plan.links[link].egress_cap / 2
        {
            self.wake_soon(self.core_of(switch, account));
        }
    }

    /// Ends a connection: what is under way arrives up to some byte, then both sides learn of it.
    pub(crate) fn cut(&mut self, wire: usize, salt: u64) {
        if self.wires[wire].is_cut {
            return;
        }
        self.wires[wire].is_cut = true;
        let mut is_lossy = false;
        for side in 0..2 {
            let (last, lost) =
                self.wires[wire].pipes[side].cut(mix(salt, side as u64), self.now_ns);
            is_lossy |= lost;
            let told = last + mix(salt, 7 + side as u64) % (30 * MS);
            self.at(told, Event::Over { wire, side: 1 - side });
        }
        self.coverage.saw(if is_lossy { Fault::CutInFrame } else { Fault::CutIdle });
        let link = self.wires[wire].link;
        self.at(self.now_ns + MS + mix(salt, 3) % (300 * MS), Event::Dial { link });
    }

    /// A connection for a link that has none, or a second one.
    pub(crate) fn dial(&mut self, link: usize, is_second: bool) {
        let has_one = self.links[link].wire.is_some_and(|wire| !self.wires[wire].is_cut);
        if self.is_ending || (has_one && !is_second) {
            return;
        }
        if has_one {
            self.coverage.saw(Fault::Replaced);
        }
        let wire = self.wires.len();
        self.wires.push(Wire::new(link));
        self.links[link].wire = Some(wire);
        for side in 0..2 {
            let chance = mix(self.plan.seed ^ self.now_ns, (wire * 2 + side) as u64);
            self.at(self.now_ns + chance % (20 * MS), Event::Up { wire, side });
        }
    }

    /// Whether a connection is its account's own; `switch` is that of the step at hand.
    pub(crate) fn is_live(&self, connection: ConnectionId) -> bool {
        let node = &self.nodes[self.at_switch];
        node.accounts[connection.account.0 as usize].live == Some(connection.epoch.get())
    }

    /// What stands at a side of a link.
    pub(crate) fn end(&self, wire: usize, side: usize) -> End {
        self.plan.links[self.wires[wire].link].ends[side]
    }

    /// The link of an account and its side of it.
    pub(crate) fn link_of(&self, switch: usize, account: u32) -> (usize, usize) {
        let plan = &self.nodes[switch].accounts[account as usize].plan;
        (plan.link, plan.side)
    }

    /// One who gets money for a FULFILL has counted it; the one who pays has not yet.
    pub(crate) fn open(&mut self, wire: usize, request_id: u32, tag: u32, amount: u64) {
        let link = self.wires[wire].link;
        let amount = i128::from(amount);
        self.totals[usize::from(self.plan.links[link].asset)].open += amount;
        let link = &mut self.links[link];
        link.open_sum += amount;
        let open = link.open.entry((wire, request_id, tag)).or_default();
        open.amount = amount;
        open.count += 1;
    }

    /// The one who pays has counted it too. `false` if nobody had counted it before.
    pub(crate) fn close(&mut self, wire: usize, request_id: u32, tag: u32, amount: u64) -> bool {
        let link = self.wires[wire].link;
        let asset = usize::from(self.plan.links[link].asset);
        let link = &mut self.links[link];
        let key = (wire, request_id, tag);
        let Some(open) = link.open.get_mut(&key) else { return false };
        if open.amount != i128::from(amount) {
            return false;
        }
        open.count -= 1;
        if open.count == 0 {
            link.open.remove(&key);
        }
        link.open_sum -= i128::from(amount);
        self.totals[asset].open -= i128::from(amount);
        true
    }

    /// Mixes what was seen into the digest of the run.
    pub(crate) fn digest(&mut self, part: u64) {
        self.digest = mix(self.digest, part);
    }
}
