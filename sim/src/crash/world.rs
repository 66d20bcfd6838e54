//! A switch, its disk and its peers through all of its lives, and what operations do to them.

use std::collections::BTreeMap;
use std::rc::Rc;

use m2_core::{
    AccountId, ConnectionId, Durability, Key, KeyState, Notice, Now, Record, Unrecorded,
};
use m2_journal::Op as Request;

use super::books::{Books, Loose, Taken};
use super::calls::Fault;
use super::case::Sabotage;
use super::disk::Disk;
use super::machine::{Journal, Machine, Message, Out, Step};
use super::op::{Kind, Op};
use super::peers::{Listed, Packet, Packets, Told, patience_ms};
use super::plan::{Caps, MS, Plan, START};
use super::seen::{Event, REQUEST_KINDS, Seen, kind, name};
use super::tape::Tape;
use crate::dice::mix;

/// How long a thread takes for a step.
const STEP_NS: u64 = 7_000;

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Rc<Plan>,
    pub(crate) now: Now,
    /// From 1.
    pub(crate) life: u64,
    /// Of the journal, in this life.
    pub(crate) generation: u32,
    /// Steps so far, in all lives.
    pub(crate) steps: u64,
    pub(crate) disk: Disk,
    pub(crate) machine: Machine,
    pub(crate) packets: Packets,
    pub(crate) books: Books,
    /// By account: its connection, while it has one.
    pub(crate) links: Vec<Option<ConnectionId>>,
    /// What every key stands for now.
    pub(crate) keys: BTreeMap<Key, KeyState>,
    /// All that was told of keys, also what a crash has made forgotten.
    pub(crate) told_keys: Vec<(Key, KeyState)>,
    /// Receivers that may answer: packets that arrived and are not answered.
    pub(crate) replies: Vec<usize>,
    /// The next call of the disk for a request of this kind, or any, does this instead.
    pub(crate) fault: Option<(Option<usize>, Fault)>,
    /// By shard: at which steps images of it were made.
    pub(crate) images: Vec<Vec<u64>>,
    /// A file of this life was retired.
    pub(crate) has_retired: bool,
    pub(crate) seen: Seen,
    /// What happened, in words, if anybody wants to read it.
    pub(crate) trace: Option<Vec<String>>,
    /// A byte was damaged: this is the end.
    pub(crate) is_over: bool,
    pub(crate) sabotage: Option<Sabotage>,
    /// Of lives that were recorded, if somebody wants them.
    pub(crate) tapes: Option<Vec<Tape>>,
}

impl World {
    pub(crate) fn new(seed: u64, caps: Caps, is_traced: bool) -> Self {
        let plan = Rc::new(Plan::of(seed, caps));
        Self::of(plan, is_traced)
    }

    /// Whatever happens next.
    pub(crate) fn act(&mut self, op: &Op) {
        let [a, b, c, d] = op.numbers;
        match op.kind {
            Kind::Step => self.some_step(a),
            Kind::Send => self.send([a, b, c, d]),
            Kind::Wait => {
                // From some microseconds to some seconds: all scales alike.
                let us = 1 << (4 + a % 18);
                self.pass((us + b % us) * 1_000);
            }
            Kind::Image => self.image(a),
            Kind::Credit | Kind::Reverse => self.money(op.kind == Kind::Credit, a, b),
            Kind::Freeze if b % 2 == 0 => self.freeze_due(a),
            Kind::Freeze => self.freeze(a, b / 2),
            Kind::Settle | Kind::Cancel => self.end_frozen(op.kind == Kind::Settle, a),
            Kind::Again => self.again(a, b),
            Kind::Limits => self.limits(a, b, c),
            Kind::Cut => self.cut(a, b % 4 > 0),
            Kind::Full => self.full(a, b),
            Kind::Fault if self.plan.has_faults => {
                let fault = if b % 3 == 0 { Fault::Full(c) } else { Fault::Broken(c) };
                let which = usize::try_from(a % 8).expect("8");
                self.fault = Some(((which < REQUEST_KINDS).then_some(which), fault));
            }
            Kind::Fault => {}
            Kind::Probe => self.probe(a),
            Kind::Crash => self.crash(a, b, c, d),
            Kind::Damage => self.damage(a, b, c),
        }
    }

    pub(crate) fn pass(&mut self, ns: u64) {
        self.now.mono_ns += ns;
        self.now.utc_ms = START.utc_ms + (self.now.mono_ns - START.mono_ns) / MS;
        self.machine.pass(self.now);
    }

    pub(crate) fn tell(&mut self, words: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>6} {:>12} ns  {}", self.steps, self.now.mono_ns, words()));
        }
    }

    /// Everything that can happen next without anything from outside.
    pub(crate) fn possible(&self) -> Vec<Step> {
        let mut steps = self.machine.steps(self.now);
        let may = |packet: &&usize| self.packets.may_answer(**packet, self.life, self.now.utc_ms);
        steps.extend(self.replies.iter().filter(may).map(|packet| Step::Reply(*packet)));
        steps
    }

    fn some_step(&mut self, number: u64) {
        let steps = self.possible();
        let pace = |step: &Step| self.plan.pace[step.kind()];
        let total: u64 = steps.iter().map(pace).sum();
        if total == 0 {
            return;
        }
        let mut at = mix(number, self.plan.seed) % total;
        let chosen = steps.iter().find(|step| {
            let found = at < pace(step);
            at = at.saturating_sub(pace(step));
            found
        });
        let chosen = *chosen.expect("a number below the sum of the paces");
        self.step(chosen, number);
    }

    /// One step of one thread.
    pub(crate) fn step(&mut self, step: Step, number: u64) {
        self.steps += 1;
        self.now.mono_ns += STEP_NS;
        self.now.utc_ms = START.utc_ms + (self.now.mono_ns - START.mono_ns) / MS;
        self.tell(|| format!("{step:?}"));
        let (now, few) = (self.now, 1 + usize::try_from(number % 4).expect("a few"));
        match step {
            Step::Requests(shard) => {
                let requests = &mut self.machine.shards[shard].requests;
                let taken = requests.drain(..few.min(requests.len())).collect();
                self.machine.requests(shard, now, taken);
            }
            Step::Responses(shard) => self.responses(shard, few),
            Step::Tick(shard) => self.machine.tick(shard, now),
            Step::Forward(shard, from) => {
                self.seen.saw(Event::ForwardHop);
                self.machine.forward(shard, from, now);
            }
            Step::Answer(shard, from) => self.answer(shard, from),
            Step::Records(shard) => self.records(shard, few),
            Step::Word(shard, stream) => self.machine.word(shard, stream, now),
            Step::State(shard) => {
                self.seen.saw(Event::Slow);
                self.machine.state(shard, now);
            }
            Step::Send(shard) => self.flush(shard, few),
            Step::Reply(packet) => self.reply(packet),
            Step::Ring(stream) => self.machine.take_ring(stream, now, few * few),
            Step::Image(shard) => self.machine.take_image(shard, now),
            Step::Next => self.machine.next_op(now),
            Step::Done(index) => self.done(index),
            Step::Call(index) => self.call(index),
        }
        self.listen();
    }

    fn responses(&mut self, shard: usize, few: usize) {
        let responses = &mut self.machine.shards[shard].responses;
        // A pair without a record is seen by what its answer changes: so it comes alone.
        let is_loose = |it: &Message| {
            let packet = m2_codec::ilp::Fulfill::new_checked(&it.bytes).is_ok();
            packet && self.packets.is_loose(&it.bytes)
        };
        let alone = responses.front().is_some_and(is_loose);
        let most = if alone { 1 } else { few };
        let count = responses.iter().take(most).take_while(|it| alone || !is_loose(it)).count();
        let taken: Vec<_> = responses.drain(..count).collect();
        let pairs = self.machine.shards[shard].switch.counters().pairs_fulfilled;
        let at = self.appended(shard);
        self.machine.responses(shard, self.now, &taken);
        let pairs = self.machine.shards[shard].switch.counters().pairs_fulfilled - pairs;
        if alone && pairs == 1 {
            let (_, number) = self.packets.of_fulfill(&taken[0].bytes);
            let Packet { from, to, amount, .. } = self.packets.all[number];
            let out = self.plan.converted(from, to, amount);
            self.loose(to, -i128::from(out), at);
            if self.books.accounts[from as usize].shard == shard {
                self.loose(from, i128::from(amount), at);
            }
        }
    }

    fn loose(&mut self, account: u32, amount: i128, at: u64) {
        self.seen.saw(Event::Loose);
        self.books.loose.push(Loose { account, amount, at, step: self.steps });
    }

    pub(crate) fn appended(&self, shard: usize) -> u64 {
        self.machine.shards[shard].switch.positions().appended
    }

    fn answer(&mut self, shard: usize, from: usize) {
        let next = self.machine.shards[shard].answers[from].front();
        let (answer, bytes) = next.expect("possible() saw one");
        if answer.is_fulfilled() {
            self.seen.saw(Event::AnswerHop);
            let at = self.appended(shard);
            let (head, number) = self.packets.of_fulfill(bytes);
            let Packet { from, amount, durability, .. } = self.packets.all[number];
            if durability == Durability::None {
                self.loose(from, i128::from(amount), at);
            } else {
                self.books.taken.insert(head, Taken { at, since_ns: self.now.mono_ns });
            }
        }
        self.machine.answer(shard, from, self.now);
    }

    fn records(&mut self, shard: usize, few: usize) {
        let room = self.machine.journal_room(&self.machine.shards[shard]);
        let Self { machine, books, packets, plan, life, now, .. } = self;
        machine.records(shard, *now, room.min(few * few), |one| {
            enter(books, packets, plan, *life, shard, one);
        });
    }

    /// What never got out of a core that is gone stands in our books all the same.
    pub(crate) fn drain(&mut self, shard: usize) {
        let Self { machine, books, packets, plan, life, .. } = self;
        let switch = &mut machine.shards[shard].switch;
        switch.drain_records(usize::MAX, |one| enter(books, packets, plan, *life, shard, one));
    }

    /// What the log is told.
    fn listen(&mut self) {
        let Self { machine, packets, seen, .. } = self;
        for shard in &mut machine.shards {
            shard.switch.drain_notices(|notice| match notice {
                Notice::Undelivered { connection, request_id, .. } => {
                    seen.saw(Event::Undelivered);
                    let number = packets.of_request(connection, request_id);
                    packets.list(number, Listed::Undelivered);
                }
                Notice::LateFulfill { .. } => seen.saw(Event::LateFulfill),
                Notice::CreditExhausted { .. } => {}
            });
            shard.switch.drain_unrecorded(|it| {
                let why = match it.why {
                    Unrecorded::Grace => Listed::Graced,
                    Unrecorded::Failed => Listed::Unrecorded,
                };
                seen.saw(match it.why {
                    Unrecorded::Grace => Event::Graced,
                    Unrecorded::Failed => Event::Unrecorded,
                });
                packets.list(packets.of_request(it.connection, it.request_id), why);
            });
        }
    }

    /// Sockets take some of what waits.
    fn flush(&mut self, shard: usize, few: usize) {
        for _ in 0..few * few {
            let Some(out) = self.machine.shards[shard].out.pop_front() else { break };
            match out {
                Out::Prepare(Message { connection, request_id, bytes, .. }) => {
                    let arrived = self.packets.arrive(&self.plan, connection, request_id, &bytes);
                    self.replies.push(arrived);
                }
                Out::Answer(message) => {
                    let (number, told) = self.packets.answered(&message);
                    self.tell(|| format!("packet {number}: {told:?}"));
                    self.seen.saw(match told {
                        Told::Fulfilled => Event::Fulfilled,
                        Told::Rejected => Event::Rejected,
                    });
                }
            }
        }
        if self.machine.shards[shard].out.is_empty() {
            self.machine.delivered(shard, self.now);
        }
    }

    fn reply(&mut self, number: usize) {
        let Packet { to, life, arrived, .. } = self.packets.all[number];
        let bytes = self.packets.answer(number);
        if !self.packets.may_answer(number, self.life, u64::MAX) {
            self.replies.retain(|one| *one != number);
        }
        let (_, request_id, _) = arrived.expect("who has it answers it");
        // A receiver whose connection is gone answers on the next, if it has one: nobody hears it.
        let Some(connection) = self.links[to as usize] else { return };
        if life < self.life {
            self.seen.saw(Event::OldAnswer);
        }
        let shard = self.books.accounts[to as usize].shard;
        let at_ns = self.now.mono_ns;
        let message = Message { connection, request_id, bytes, at_ns };
        self.machine.shards[shard].responses.push_back(message);
    }

    fn done(&mut self, index: usize) {
        let done = self.machine.done(index, self.now);
        self.seen.done(&done, self.generation);
        self.tell(|| format!("{} {:?}", name(&done.op), done.ended));
    }

    fn call(&mut self, index: usize) {
        let op = &self.machine.journal.running[index].op;
        self.has_retired |= matches!(op, Request::Retire { .. });
        let fault = self.fault.take_if(|(which, _)| which.is_none_or(|it| it == kind(op)));
        let told = fault.map(|(_, fault)| fault);
        let next = self.machine.call_disk(index, self.now, &mut self.disk, told);
        let Journal { running, durable, writer, .. } = &mut self.machine.journal;
        if self.sabotage == Some(Sabotage::DurableAtWrite)
            && let Request::Commit { segment, .. } = &running[index].op
        {
            durable[usize::from(segment.stream.0)] = writer.position(segment.stream);
        }
        if fault.is_some() {
            self.seen.saw(Event::CallFailed);
        }
        self.tell(|| format!("{next:?} {}", fault.map_or("", |_| "fails")));
    }

    pub(crate) fn send(&mut self, [from, to, amount, salt]: [u64; 4]) {
        let number = self.packets.all.len();
        let packet = Packet::new(&self.plan, self.life, number, [from, to, amount, salt]);
        let Some(connection) = self.links[packet.from as usize] else { return };
        let account = packet.from;
        self.tell(|| format!("packet {number}: {packet:?}"));
        let expires_at_ms = self.now.utc_ms + patience_ms(salt);
        let (request_id, bytes) = self.packets.send(&self.plan, connection, packet, expires_at_ms);
        let shard = self.books.accounts[account as usize].shard;
        let at_ns = self.now.mono_ns;
        let message = Message { connection, request_id, bytes, at_ns };
        self.machine.shards[shard].requests.push_back(message);
    }

    fn image(&mut self, shard: u64) {
        let index = usize::try_from(shard % self.machine.shards.len() as u64).expect("a few");
        self.make_image(index);
    }

    /// A shard makes an image, unless the journal has not taken the last one yet.
    pub(crate) fn make_image(&mut self, index: usize) {
        if self.machine.make_image(index, self.now) {
            self.images[index].push(self.steps);
            self.tell(|| format!("image of shard {index}"));
        }
    }

    /// A connection is lost with what was not read from it, or the peer comes again.
    fn cut(&mut self, account: u64, returns: bool) {
        let account = self.account(account);
        let index = self.books.accounts[account as usize].shard;
        let Some(connection) = self.links[account as usize].take() else {
            return self.link_up(index, account);
        };
        self.seen.saw(Event::Cut);
        self.machine.link_down(index, self.now, connection);
        let shard = &mut self.machine.shards[index];
        shard.requests.retain(|one| one.connection != connection);
        shard.responses.retain(|one| one.connection != connection);
        let mut lost = Vec::new();
        shard.out.retain(|one| match one {
            Out::Prepare(message) | Out::Answer(message) if message.connection == connection => {
                lost.push(one.clone());
                false
            }
            _ => true,
        });
        for out in lost {
            match out {
                Out::Prepare(Message { request_id, .. }) => {
                    self.machine.unsent(index, self.now, connection, request_id);
                }
                // The shell lists it, as the core does what it could not give.
                Out::Answer(Message { request_id, .. }) => {
                    let number = self.packets.of_request(connection, request_id);
                    self.packets.list(number, Listed::Undelivered);
                }
            }
        }
        if returns {
            self.link_up(index, account);
        }
        self.listen();
    }

    pub(crate) fn link_up(&mut self, shard: usize, account: u32) {
        let link = self.machine.link_up(shard, self.now, AccountId(account));
        self.links[account as usize] = Some(link);
    }

    /// A peer does not read, or does again.
    fn full(&mut self, account: u64, is_full: u64) {
        let account = self.account(account);
        let Some(connection) = self.links[account as usize] else { return };
        let shard = self.books.accounts[account as usize].shard;
        self.machine.set_full(shard, self.now, connection, is_full.is_multiple_of(3));
    }

    pub(crate) fn account(&self, number: u64) -> u32 {
        u32::try_from(number % u64::from(self.plan.account_count())).expect("a few")
    }
}

/// A record that a core has made, put into our books.
fn enter(
    books: &mut Books,
    packets: &Packets,
    plan: &Plan,
    life: u64,
    shard: usize,
    record: Record,
) {
    if let Record::Pair(pair) = &record {
        packets.check_pair(plan, life, pair);
    }
    books.push(shard, record);
}
