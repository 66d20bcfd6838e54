//! A network from its first moment to its last: what is made at the start, and what happens next.

use core::num::NonZeroU32;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use m2_core::{
    AccountConfig, AccountId, AssetIndex, JournalState, Key, Network, Now, ShardId, Switch,
    SwitchConfig,
};

use crate::books::{Account, Hop, Node, State};
use crate::case::Sabotage;
use crate::coverage::{Coverage, Fault};
use crate::dice::{dice, mix, one_of};
use crate::endpoint::Endpoint;
use crate::net::{AssetTotals, Event, Link, Net, Shard};
use crate::op::Op;
use crate::plan::{Caps, End, Plan};
use crate::port::Log;
use crate::tariff::Tariff;
use crate::ways;

/// Every so many steps all slots are added up.
const AUDIT_EVERY: u64 = 256;

#[derive(Debug)]
pub(crate) struct World {
    /// All shards of all switches: the production code.
    pub(crate) cores: Vec<Switch>,
    pub(crate) net: Net,
    /// After how many steps all slots are added up next.
    audit_at: u64,
}

impl World {
    pub(crate) fn new(seed: u64, caps: Caps) -> Self {
        let plan = Plan::of(seed, caps);
        let mut world = Self { cores: Vec::new(), net: net(plan), audit_at: AUDIT_EVERY };
        for switch in 0..world.net.plan.switches.len() {
            world.add_switch(switch);
        }
        for link in 0..world.net.links.len() {
            world.net.dial(link, false);
        }
        let skews: BTreeSet<_> = world.net.nodes.iter().map(|node| node.skew_ms).collect();
        if skews.len() > 1 {
            world.net.coverage.saw(Fault::ClockSkew);
        }
        world
    }

    fn add_switch(&mut self, number: usize) {
        let plan = self.net.plan.clone();
        let switch = &plan.switches[number];
        let (table, routes) = ways::shortest(&plan, number);
        let (rates, tariff) = Tariff::of(&plan, number, 1);
        let (routes, rates) = (Arc::new(routes), Arc::new(rates));
        let book = |account: &crate::plan::AccountPlan| {
            let asset = plan.links[account.link].asset;
            Account::new(account.clone(), asset, switch.mono_start_ns)
        };
        let accounts: Vec<_> = switch.accounts.iter().map(book).collect();
        self.net.core_positions.push(vec![0; accounts.len()]);
        self.net.nodes.push(Node {
            first_core: self.cores.len(),
            accounts,
            skew_ms: switch.skew_ms,
            tariffs: vec![tariff],
            ways: vec![table],
            journal_stuck_until: 0,
            journal_is_lost: false,
            frozen: Vec::new(),
        });
        for shard in 0..switch.shards {
            let mut core = Switch::new(config(&plan, number, shard, self.net.now(number)));
            for (id, account) in switch.accounts.iter().enumerate() {
                core.add_account(account_config(&plan, id, account));
            }
            core.set_routes(routes.clone());
            core.set_rates(rates.clone());
            self.cores.push(core);
            self.net.shards.push(shell(&plan, number, shard));
        }
        self.net.routes.push(vec![routes]);
        self.net.rates.push(vec![rates]);
    }

    /// Plays a history to its end, and looks at what is left.
    pub(crate) fn play(&mut self, ops: &[Op], mut sabotage: Option<Sabotage>) {
        for (done, op) in ops.iter().enumerate() {
            if sabotage.is_some_and(|sabotage| self.has_sabotaged(done, sabotage)) {
                sabotage = None;
            }
            self.act(op);
        }
        self.end();
    }

    /// What a test does to the books, once, to see it found.
    fn has_sabotaged(&mut self, done: usize, sabotage: Sabotage) -> bool {
        match sabotage {
            Sabotage::Unit(at) if at <= done => {
                self.net.nodes[0].accounts[0].position += 1;
                self.net.nodes[0].accounts[0].words.balance += 1;
                true
            }
            Sabotage::Payment(at) if at <= done => {
                self.net.endpoints[0].position += 1;
                true
            }
            Sabotage::Packet(at) if at <= done => {
                let Some(hop) = self.net.live_hops.pop_first() else { return false };
                let Hop { switch, account_in, amount_in, .. } = self.net.hops[hop];
                let account = &mut self.net.nodes[switch].accounts[account_in as usize];
                account.words.held_in -= i128::from(amount_in);
                account.count_in -= 1;
                self.net.touched.push((switch, account_in));
                true
            }
            Sabotage::Record(at) if at <= done => self.tell_too_early(),
            _ => false,
        }
    }

    /// A shard with a FULFILL that would leave by it is told that its own stream is durable.
    fn tell_too_early(&mut self) -> bool {
        let waits = |hop: &&usize| {
            let Hop { core_in, core_out, switch, account_in, epoch_in, ref state, .. } =
                self.net.hops[**hop];
            let live = self.net.nodes[switch].accounts[account_in as usize].live;
            core_in == core_out && live == Some(epoch_in) && matches!(state, State::Withheld(_))
        };
        let hops: Vec<usize> = (0..self.net.hops.len()).collect();
        let Some(hop) = hops.iter().find(waits) else { return false };
        let Hop { core_in, core_out, switch, .. } = self.net.hops[*hop];
        let stream = core_out - self.net.nodes[switch].first_core;
        let stream = ShardId(u16::try_from(stream).expect("a few shards"));
        let position = self.net.shards[core_out].stream.len() as u64;
        self.step(
            core_in,
            |_, switch, port| switch.durable(stream, position, port),
            |net, _| net.expect_no_more(),
        );
        true
    }

    /// Lets everything happen up to a moment.
    pub(crate) fn run_until(&mut self, until_ns: u64) {
        while let Some(Reverse((at_ns, ..))) = self.net.events.peek()
            && *at_ns <= until_ns
        {
            let Reverse((at_ns, _, event)) = self.net.events.pop().expect("it was just seen");
            self.net.now_ns = at_ns;
            self.happen(event);
            if self.net.coverage.steps >= self.audit_at {
                self.audit_at = self.net.coverage.steps + AUDIT_EVERY;
                self.net.check_slots(&self.cores);
                self.net.check_images(&self.cores);
            }
        }
        self.net.now_ns = self.net.now_ns.max(until_ns);
    }

    /// No new packets: what is under way ends.
    fn end(&mut self) {
        self.net.is_ending = true;
        for core in 0..self.cores.len() {
            self.net.shards[core].stalled_until = 0;
            self.net.wake_soon(core);
        }
        for endpoint in 0..self.net.endpoints.len() {
            self.net.endpoints[endpoint].deaf_until = 0;
            self.net.at(self.net.now_ns, Event::Hear { endpoint });
        }
        loop {
            while let Some(Reverse((at_ns, ..))) = self.net.events.peek() {
                self.run_until(*at_ns);
            }
            for core in 0..self.cores.len() {
                self.drain_records(core);
            }
            // What was taken out becomes durable, and lets more go.
            if self.net.events.is_empty() {
                break;
            }
        }
        self.net.check_end(&self.cores);
    }

    fn happen(&mut self, event: Event) {
        self.net.digest(self.net.now_ns);
        match event {
            Event::Arrive { wire, side } => self.arrive(wire, side),
            Event::Poll { core } => {
                let shard = &mut self.net.shards[core];
                if shard.poll_at != Some(self.net.now_ns) {
                    return;
                }
                shard.poll_at = None;
                let until_ns = shard.stalled_until;
                if until_ns > self.net.now_ns {
                    self.net.wake(core, until_ns);
                } else {
                    self.poll(core);
                }
            }
            Event::Up { wire, side } => self.up(wire, side),
            Event::Over { wire, side } => {
                let reader = self.net.reader(wire, side);
                let stalled_until = reader.map_or(0, |core| self.net.shards[core].stalled_until);
                if stalled_until > self.net.now_ns {
                    self.net.at(stalled_until, event);
                } else {
                    self.over(wire, side);
                }
            }
            Event::Dial { link } => self.net.dial(link, false),
            Event::Reply { reply } => self.net.say(reply),
            Event::Rates { core, version } => self.set_rates(core, version),
            Event::Routes { core, table } => self.set_routes(core, table),
            Event::Credit { link, side, amount, key } => {
                self.credit(link, side, amount, Key(key.to_be_bytes()));
            }
            Event::Resume { switch } => self.drain(switch, false),
            Event::Durable { core, .. }
            | Event::Journal { core, .. }
            | Event::JournalFailed { core } => {
                let until_ns = self.net.shards[core].stalled_until;
                if until_ns > self.net.now_ns {
                    self.net.at(until_ns, event);
                } else {
                    self.hear_journal(event);
                }
            }
            Event::Hear { endpoint } => {
                if let Some(wire) = self.net.endpoints[endpoint].wire {
                    self.net.hear(endpoint, wire);
                }
            }
        }
    }

    fn arrive(&mut self, wire: usize, side: usize) {
        let now_ns = self.net.now_ns;
        let to = 1 - side;
        if !self.net.wires[wire].pipes[side].arrive(now_ns) {
            return;
        }
        let end = self.net.wires[wire].ends[to];
        if !end.is_up || end.is_over {
            return;
        }
        match self.net.end(wire, to) {
            End::Endpoint(endpoint) => self.net.hear(endpoint, wire),
            End::Account { switch, account } => {
                let core = self.net.core_of(switch, account);
                self.net.wake_soon(core);
            }
        }
    }

    /// A side of a connection is past its handshake.
    fn up(&mut self, wire: usize, side: usize) {
        let Net { wires, .. } = &mut self.net;
        if wires[wire].is_cut || wires[wire].ends[side].is_over {
            return;
        }
        wires[wire].ends[side].is_up = true;
        let older = match self.net.end(wire, side) {
            End::Endpoint(endpoint) => {
                let older = self.net.endpoints[endpoint].wire.replace(wire);
                self.net.hear(endpoint, wire);
                older
            }
            End::Account { switch, account } => {
                let core = self.net.core_of(switch, account);
                let connection = self.cores[core].link_up(AccountId(account));
                let book = &mut self.net.nodes[switch].accounts[account as usize];
                let older = book.live.map(|epoch| book.wires[epoch as usize - 1]);
                book.live = Some(connection.epoch.get());
                book.wires.push(wire);
                let is_next = book.wires.len() == connection.epoch.get() as usize;
                assert!(is_next, "answer: an epoch twice");
                self.net.lose_backlog(switch, account);
                self.net.wires[wire].ends[side].connection = Some(connection);
                self.net.shards[core].wires.push((wire, side));
                self.net.wake_soon(core);
                older
            }
        };
        // The older one is closed, which takes its time.
        if let Some(older) = older {
            let salt = self.net.sequence;
            self.net.cut(older, salt);
        }
    }

    /// A side of a connection learns that it is over.
    pub(crate) fn over(&mut self, wire: usize, side: usize) {
        let end = self.net.wires[wire].ends[side];
        if end.is_over {
            return;
        }
        if let Some(core) = self.net.reader(wire, side) {
            if end.is_up {
                self.link_over(core, wire, side);
            }
        } else if let End::Endpoint(endpoint) = self.net.end(wire, side) {
            let newest = &mut self.net.endpoints[endpoint].wire;
            if *newest == Some(wire) {
                *newest = None;
            }
        }
        let wire = &mut self.net.wires[wire];
        wire.ends[side].is_over = true;
        wire.pipes[1 - side].forget();
    }

    /// A shard tells its core: what was never sent, and that the connection is gone.
    fn link_over(&mut self, core: usize, wire: usize, side: usize) {
        let connection = self.net.wires[wire].ends[side].connection.expect("it was up");
        let salt = mix(self.net.sequence, wire as u64);
        let down_first = salt.is_multiple_of(2);
        if down_first {
            self.link_down(core, connection);
        }
        for request_id in self.net.wires[wire].pipes[side].give_up() {
            self.step(
                core,
                |now, switch, port| switch.unsent(now, connection, request_id, port),
                |net, now| net.judge_unsent(core, now, connection, request_id),
            );
        }
        if !down_first {
            self.link_down(core, connection);
        }
        self.net.shards[core].wires.retain(|place| *place != (wire, side));
        self.net.wires[wire].ends[side].is_over = true;
        self.flush(core);
        self.sleep(core);
    }

    fn link_down(&mut self, core: usize, connection: m2_core::ConnectionId) {
        self.cores[core].link_down(connection);
        let switch = self.net.shards[core].switch;
        let book = &mut self.net.nodes[switch].accounts[connection.account.0 as usize];
        if book.live.and_then(NonZeroU32::new) == Some(connection.epoch) {
            book.live = None;
            self.net.lose_backlog(switch, connection.account.0);
        }
    }
}

fn net(plan: Plan) -> Net {
    Net {
        now_ns: 0,
        sequence: 0,
        events: BinaryHeap::new(),
        shards: Vec::new(),
        nodes: Vec::new(),
        links: plan.links.iter().map(|_| Link::default()).collect(),
        wires: Vec::new(),
        endpoints: plan.endpoints.iter().map(|link| Endpoint::new(*link)).collect(),
        packets: Vec::new(),
        tags: HashMap::new(),
        replies: Vec::new(),
        hops: Vec::new(),
        live_hops: BTreeSet::new(),
        routes: Vec::new(),
        rates: Vec::new(),
        log: Log::default(),
        touched: Vec::new(),
        totals: vec![AssetTotals::default(); plan.assets.len()],
        coverage: Coverage::of_one(),
        digest: plan.seed,
        is_ending: false,
        core_positions: Vec::new(),
        undelivered: 0,
        at_switch: 0,
        late_count: 0,
        listed: Vec::new(),
        keys: 0,
        refused: HashMap::new(),
        pairs: BTreeMap::new(),
        prepares_seen: 0,
        answers_seen: 0,
        forwards_seen: 0,
        backs_seen: 0,
        rooms_seen: 0,
        new_forwards: Vec::new(),
        new_backs: Vec::new(),
        staged: Vec::new(),
        unpaid: Vec::new(),
        plan: Arc::new(plan),
    }
}

fn config(plan: &Plan, number: usize, shard: u16, start: Now) -> SwitchConfig {
    let switch = &plan.switches[number];
    SwitchConfig {
        shard: ShardId(shard),
        shards: switch.shards,
        own_address: format!("test.s{number}").parse().expect("an address"),
        network: Network::Test,
        expiry_margin_ms: switch.margin_ms,
        sync_grace_ms: switch.grace_ms,
        async_ms: switch.async_ms,
        async_bytes: switch.async_bytes,
        remaining_ms_min: switch.remaining_ms_min,
        hold_ms_max: switch.hold_ms_max,
        in_flight_slots: switch.slots,
        reflect: switch.reflect,
        seed: mix(plan.seed, (number as u64) << 8 | u64::from(shard)),
        rings: switch.rings,
        start,
    }
}

fn account_config(plan: &Plan, id: usize, account: &crate::plan::AccountPlan) -> AccountConfig {
    let asset = plan.links[account.link].asset;
    let kind = &plan.assets[usize::from(asset)];
    AccountConfig {
        id: AccountId(u32::try_from(id).expect("a few")),
        shard: ShardId(account.shard),
        relation: account.relation,
        asset: AssetIndex(asset),
        asset_code: kind.code.clone(),
        asset_scale: kind.scale,
        ildcp_segment: format!("a{id}"),
        durability: account.durability,
        limits: account.limits,
        settle: None,
    }
}

fn shell(plan: &Plan, switch: usize, shard: u16) -> Shard {
    let shards = usize::from(plan.switches[switch].shards);
    // They read the clocks at moments of their own, but for switches where they do together.
    let apart_ns = one_of(&mut dice(&[plan.seed, switch as u64, 0xa9a7]), &[1, 100_000, 3_000_000]);
    let chance = mix(plan.seed ^ 0x1ead, (switch as u64) << 8 | u64::from(shard));
    Shard {
        switch,
        poll_at: None,
        stalled_until: 0,
        lead_ns: chance % apart_ns,
        polls: 0,
        forwards: (0..shards).map(|_| VecDeque::new()).collect(),
        answers: (0..shards).map(|_| VecDeque::new()).collect(),
        answer_bytes: vec![0; shards],
        wires: Vec::new(),
        dirty: Vec::new(),
        version: 1,
        rates_at: 0,
        table: 0,
        routes_at: 0,
        is_draining: false,
        flying: HashMap::new(),
        by_id: HashMap::new(),
        by_slot: HashMap::new(),
        due: BTreeSet::new(),
        stream: Vec::new(),
        taken: 0,
        places: 0,
        keys: BTreeMap::new(),
        journal: JournalState::Ready,
        told: vec![0; shards],
        undurable: (0..shards).map(|_| VecDeque::new()).collect(),
        undurable_out: VecDeque::new(),
        graced: 0,
        unrecorded: 0,
        applied: vec![0; shards],
        under_way: vec![0; shards],
    }
}
