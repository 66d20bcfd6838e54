//! One life of a switch: shards, the journal's writer, and the rings between them, each hop of which is
//! a step of its own. What runs next is chance; nothing here decides anything else.
//!
//! ```text
//!   peers --> requests, responses --> shard == Forward, Answer ==> shard
//!                                      |  ^ durable positions, health
//!                      records, images v  |
//!                                     journal: writer --> requests, call by call --> disk
//!   peers <-- sockets <-- out <-- shard
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use m2_codec::ilp::ForwardedPrepare;
use m2_core::{
    AccountId, Answer, ConnectionId, Egress, Forward, Intent, JournalState, Key, KeyError, KeyNews,
    KeyOutcome, Now, Record, Request, Response, ResponseBody, ShardId, ShardImage, Switch,
};
use m2_journal::{Block, Health, Op, Pages, Writer, record};

use super::calls::{Fault, Next, Running};
use super::disk::Disk;
use super::tape::{Freeze, Input, Limits, Tape, Told};

/// A message between a peer and a shard.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) connection: ConnectionId,
    pub(crate) request_id: u32,
    pub(crate) bytes: Vec<u8>,
    /// When it was put where it waits.
    pub(crate) at_ns: u64,
}

/// What a shard has for a socket.
#[derive(Clone, Debug)]
pub(crate) enum Out {
    Prepare(Message),
    Answer(Message),
}

/// A shard's thread and what waits for it.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) switch: Switch,
    pub(crate) requests: VecDeque<Message>,
    pub(crate) responses: VecDeque<Message>,
    /// By the shard that they come from.
    pub(crate) forwards: Vec<VecDeque<(Forward, Vec<u8>)>>,
    pub(crate) answers: Vec<VecDeque<(Answer, Vec<u8>)>>,
    /// Connections with half of their egress full.
    pub(crate) full: Vec<ConnectionId>,
    /// What no socket has yet.
    pub(crate) out: VecDeque<Out>,
    /// Records on their way to the journal.
    pub(crate) ring: VecDeque<Vec<Block>>,
    pub(crate) images: VecDeque<ShardImage>,
    /// By stream: the durable position that the core was told.
    pub(crate) seen: Vec<u64>,
    pub(crate) state: JournalState,
    /// By stream: FULFILLs below are with sockets. The journal's thread reads it.
    pub(crate) delivered: Vec<u64>,
}

/// The journal's thread.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) writer: Writer,
    /// By stream: what shards read. It is what was told to be durable.
    pub(crate) durable: Vec<u64>,
    pub(crate) state: JournalState,
    pub(crate) running: Vec<Running>,
    /// The writer had no request when it was asked last, and nothing has happened since.
    pub(crate) is_idle: bool,
}

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) shards: Vec<Shard>,
    pub(crate) journal: Journal,
    /// Forwards in a ring, blocks in a ring to the journal.
    pub(crate) forward_ring: usize,
    pub(crate) journal_ring: usize,
    /// Runs while this life is recorded.
    pub(crate) tape: Option<Tape>,
}

/// What some thread can do next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// A shard takes requests from its sockets.
    Requests(usize),
    /// A shard takes answers from its sockets.
    Responses(usize),
    /// A shard looks at its deadlines.
    Tick(usize),
    /// A shard takes a Forward of another.
    Forward(usize, usize),
    /// A shard takes an Answer of another.
    Answer(usize, usize),
    /// Records leave the core.
    Records(usize),
    /// A shard reads what is durable of a stream.
    Word(usize, usize),
    /// A shard reads how the journal is.
    State(usize),
    /// Sockets take what waits for them.
    Send(usize),
    /// A receiver answers.
    Reply(usize),
    /// The journal takes records of a stream.
    Ring(usize),
    /// The journal takes an image of a shard.
    Image(usize),
    /// The writer is asked for a request.
    Next,
    /// The writer is told that a request has ended.
    Done(usize),
    /// A request's next call of the disk.
    Call(usize),
}

impl Step {
    /// Which of the paces of a plan it goes at.
    pub(crate) fn kind(self) -> usize {
        match self {
            Self::Requests(_) | Self::Responses(_) | Self::Tick(_) => 0,
            Self::Forward(..) | Self::Answer(..) => 1,
            Self::Records(_) | Self::Word(..) | Self::State(_) | Self::Send(_) => 2,
            Self::Reply(_) => 3,
            Self::Ring(_) | Self::Image(_) | Self::Next | Self::Done(_) => 4,
            Self::Call(_) => 5,
        }
    }
}

/// What a call of a core has let out.
#[derive(Debug, Default)]
struct Port {
    out: Vec<Out>,
    forwards: Vec<(ShardId, Forward, Vec<u8>)>,
    answers: Vec<(ShardId, Answer, Vec<u8>)>,
    /// By shard: Forwards that may follow.
    forward_rooms: Vec<usize>,
    full: Vec<ConnectionId>,
    now_ns: u64,
}

impl Port {
    fn message(&self, connection: ConnectionId, request_id: u32, packet: &[u8]) -> Message {
        Message { connection, request_id, bytes: packet.to_vec(), at_ns: self.now_ns }
    }
}

impl Egress for Port {
    fn below_half(&self, to: ConnectionId) -> bool {
        !self.full.contains(&to)
    }

    fn prepare(&mut self, connection: ConnectionId, request_id: u32, packet: ForwardedPrepare<'_>) {
        let mut bytes = Vec::new();
        packet.put(&mut bytes);
        self.out.push(Out::Prepare(self.message(connection, request_id, &bytes)));
    }

    fn answer(&mut self, connection: ConnectionId, request_id: u32, packet: &[u8]) {
        self.out.push(Out::Answer(self.message(connection, request_id, packet)));
    }

    fn forward_room(&self, to: ShardId) -> bool {
        let staged = self.forwards.iter().filter(|(shard, ..)| *shard == to).count();
        staged < self.forward_rooms[usize::from(to.0)]
    }

    fn forward(&mut self, to: ShardId, forward: Forward, packet: &[u8]) {
        self.forwards.push((to, forward, packet.to_vec()));
    }

    fn give_back(&mut self, to: ShardId, answer: Answer, packet: &[u8]) {
        self.answers.push((to, answer, packet.to_vec()));
    }
}

impl Machine {
    pub(crate) fn new(
        switches: Vec<Switch>,
        writer: Writer,
        forward_ring: usize,
        journal_ring: usize,
    ) -> Self {
        let count = switches.len();
        let shard = |switch| Shard {
            switch,
            requests: VecDeque::new(),
            responses: VecDeque::new(),
            forwards: (0..count).map(|_| VecDeque::new()).collect(),
            answers: (0..count).map(|_| VecDeque::new()).collect(),
            full: Vec::new(),
            out: VecDeque::new(),
            ring: VecDeque::new(),
            images: VecDeque::new(),
            seen: vec![0; count],
            state: JournalState::Ready,
            delivered: vec![0; count],
        };
        let journal = Journal {
            writer,
            durable: vec![0; count],
            state: JournalState::Ready,
            running: Vec::new(),
            is_idle: false,
        };
        let shards = switches.into_iter().map(shard).collect();
        Self { shards, journal, forward_ring, journal_ring, tape: None }
    }

    /// Something is about to be put in from outside.
    fn note(&mut self, now: Now, input: impl FnOnce() -> Input) {
        if let Some(tape) = &mut self.tape {
            tape.note(now, input());
        }
    }

    /// What can happen next, but for what peers do.
    pub(crate) fn steps(&self, now: Now) -> Vec<Step> {
        let mut steps = Vec::new();
        for (index, shard) in self.shards.iter().enumerate() {
            self.put_shard_steps(&mut steps, index, shard, now);
        }
        let Journal { running, is_idle, .. } = &self.journal;
        if !is_idle {
            steps.push(Step::Next);
        }
        for (index, one) in running.iter().enumerate() {
            steps.push(if one.ended.is_some() { Step::Done(index) } else { Step::Call(index) });
        }
        steps
    }

    fn put_shard_steps(&self, steps: &mut Vec<Step>, index: usize, shard: &Shard, now: Now) {
        let mut put = |is_due: bool, step| steps.extend(is_due.then_some(step));
        put(!shard.requests.is_empty(), Step::Requests(index));
        put(!shard.responses.is_empty(), Step::Responses(index));
        let deadline_ns = shard.switch.next_deadline_ns();
        put(deadline_ns.is_some_and(|at| at <= now.mono_ns), Step::Tick(index));
        for from in 0..self.shards.len() {
            put(!shard.forwards[from].is_empty(), Step::Forward(index, from));
            put(!shard.answers[from].is_empty(), Step::Answer(index, from));
            put(self.journal.durable[from] > shard.seen[from], Step::Word(index, from));
        }
        let undrained = shard.switch.positions().appended > shard.switch.counters().records;
        put(undrained && self.journal_room(shard) > 0, Step::Records(index));
        put(self.journal.state != shard.state, Step::State(index));
        put(!shard.out.is_empty(), Step::Send(index));
        put(!shard.ring.is_empty(), Step::Ring(index));
        put(!shard.images.is_empty(), Step::Image(index));
    }

    /// How many records the ring of a shard to the journal takes for certain.
    pub(crate) fn journal_room(&self, shard: &Shard) -> usize {
        // A credit of four shards has two blocks.
        self.journal_ring.saturating_sub(shard.ring.iter().map(Vec::len).sum()) / 2
    }

    /// One call of a core; what it lets out goes where it belongs.
    fn call(&mut self, index: usize, now: Now, run: impl FnOnce(&mut Switch, &mut Port)) {
        let rooms = self.shards.iter().map(|to| self.forward_ring - to.forwards[index].len());
        let full = self.shards[index].full.clone();
        let now_ns = now.mono_ns;
        let mut port = Port { forward_rooms: rooms.collect(), full, now_ns, ..Port::default() };
        run(&mut self.shards[index].switch, &mut port);
        let Port { out, forwards, answers, .. } = port;
        self.shards[index].out.extend(out);
        for (to, forward, packet) in forwards {
            self.shards[usize::from(to.0)].forwards[index].push_back((forward, packet));
        }
        for (to, answer, packet) in answers {
            self.shards[usize::from(to.0)].answers[index].push_back((answer, packet));
        }
    }

    /// A shard takes requests from its sockets: their bytes as they came.
    pub(crate) fn requests(&mut self, index: usize, now: Now, taken: Vec<Message>) {
        self.note(now, || Input::Requests { shard: index, taken: taken.clone() });
        let batch: Vec<_> = taken
            .iter()
            .map(|Message { connection, request_id, bytes, .. }| Request {
                connection: *connection,
                request_id: *request_id,
                packet: &bytes[..],
            })
            .collect();
        self.call(index, now, |switch, port| switch.requests(now, &batch, port));
    }

    pub(crate) fn responses(&mut self, index: usize, now: Now, taken: &[Message]) {
        self.note(now, || Input::Responses { shard: index, taken: taken.to_vec() });
        let batch: Vec<_> = taken
            .iter()
            .map(|Message { connection, request_id, bytes, .. }| Response {
                connection: *connection,
                request_id: *request_id,
                body: ResponseBody::Packet(bytes),
            })
            .collect();
        self.call(index, now, |switch, port| switch.responses(now, &batch, port));
    }

    pub(crate) fn tick(&mut self, index: usize, now: Now) {
        self.note(now, || Input::Tick { shard: index });
        self.call(index, now, |switch, port| switch.tick(now, port));
    }

    pub(crate) fn forward(&mut self, index: usize, from: usize, now: Now) {
        self.note(now, || Input::Forward { shard: index, from });
        let next = self.shards[index].forwards[from].pop_front();
        let (forward, packet) = next.expect("steps() saw one");
        self.call(index, now, |switch, port| switch.forwarded(now, forward, &packet, port));
    }

    pub(crate) fn answer(&mut self, index: usize, from: usize, now: Now) {
        self.note(now, || Input::Answer { shard: index, from });
        let next = self.shards[index].answers[from].pop_front();
        let (answer, packet) = next.expect("steps() saw one");
        self.call(index, now, |switch, port| switch.answered(now, answer, &packet, port));
    }

    pub(crate) fn word(&mut self, index: usize, stream: usize, now: Now) {
        self.note(now, || Input::Word { shard: index, stream });
        let position = self.journal.durable[stream];
        self.shards[index].seen[stream] = position;
        let stream = shard_id(stream);
        self.call(index, now, |switch, port| switch.durable(stream, position, port));
    }

    pub(crate) fn state(&mut self, index: usize, now: Now) {
        self.note(now, || Input::State { shard: index });
        let state = self.journal.state;
        self.shards[index].state = state;
        self.shards[index].switch.set_journal(state);
    }

    /// The egress of an account fills up, or has room again.
    pub(crate) fn set_full(
        &mut self,
        index: usize,
        now: Now,
        connection: ConnectionId,
        is_full: bool,
    ) {
        self.note(now, || Input::Full { shard: index, connection, is_full });
        let full = &mut self.shards[index].full;
        full.retain(|one| *one != connection);
        if is_full {
            full.push(connection);
        } else {
            self.call(index, now, |switch, port| switch.room(connection, port));
        }
    }

    pub(crate) fn unsent(&mut self, index: usize, now: Now, connection: ConnectionId, id: u32) {
        self.note(now, || Input::Unsent { shard: index, connection, request_id: id });
        self.call(index, now, |switch, port| switch.unsent(now, connection, id, port));
    }

    pub(crate) fn link_up(&mut self, index: usize, now: Now, account: AccountId) -> ConnectionId {
        self.note(now, || Input::LinkUp { shard: index, account });
        self.shards[index].switch.link_up(account)
    }

    pub(crate) fn link_down(&mut self, index: usize, now: Now, connection: ConnectionId) {
        self.note(now, || Input::LinkDown { shard: index, connection });
        let shard = &mut self.shards[index];
        shard.switch.link_down(connection);
        shard.full.retain(|one| *one != connection);
    }

    /// Something about money is told under a key.
    pub(crate) fn tell(
        &mut self,
        index: usize,
        now: Now,
        told: Told,
    ) -> Result<KeyOutcome, KeyError> {
        self.note(now, || Input::Told { shard: index, told });
        let switch = &mut self.shards[index].switch;
        match told {
            Told::Credit(account, key, amount) => switch.credit(now, account, key, amount),
            Told::Reversal(account, key, amount) => switch.reverse(now, account, key, amount),
            Told::Settled(key) => switch.settled(now, key),
            Told::Cancelled(key) => switch.cancelled(now, key),
        }
    }

    pub(crate) fn freeze(
        &mut self,
        index: usize,
        now: Now,
        freeze: Freeze,
    ) -> Result<Option<u128>, KeyError> {
        self.note(now, || Input::Freeze { shard: index, freeze });
        let Freeze { account, key, threshold, to } = freeze;
        self.shards[index].switch.freeze(now, account, key, threshold, to)
    }

    /// Freezes what is due, under these keys, of which there is one for each account. What was frozen.
    pub(crate) fn freeze_due(&mut self, index: usize, now: Now, keys: &[Key]) -> Vec<Intent> {
        self.note(now, || Input::FreezeDue { shard: index, keys: keys.to_vec() });
        let switch = &mut self.shards[index].switch;
        switch.drain_key_news(drop);
        let mut keys = keys.iter().copied();
        switch.freeze_due(now, || keys.next().expect("one for each account"));
        let mut frozen = Vec::new();
        switch.drain_key_news(|news| match news {
            KeyNews::Frozen(intent) => frozen.push(intent),
            KeyNews::Ended(key) => panic!("key: {key:?} has ended by itself"),
        });
        frozen
    }

    /// Whether there was room for a record of it.
    pub(crate) fn set_limits(&mut self, index: usize, now: Now, limits: Limits) -> bool {
        self.note(now, || Input::Limits { shard: index, limits });
        let Limits { account, balance_max, payable_max } = limits;
        self.shards[index].switch.set_limits(now, account, balance_max, payable_max).is_ok()
    }

    /// A shard makes an image, unless the journal has not taken the last one yet.
    pub(crate) fn make_image(&mut self, index: usize, now: Now) -> bool {
        self.note(now, || Input::Image { shard: index });
        let shard = &mut self.shards[index];
        let is_free = shard.images.is_empty();
        if is_free {
            shard.images.push_back(shard.switch.image());
        }
        is_free
    }

    /// Records leave a core for the ring to the journal; each is shown.
    pub(crate) fn records(
        &mut self,
        index: usize,
        now: Now,
        most: usize,
        mut show: impl FnMut(Record),
    ) {
        self.note(now, || Input::Records { shard: index, most });
        let Shard { switch, ring, .. } = &mut self.shards[index];
        switch.drain_records(most, |one| {
            let mut blocks = Vec::new();
            record::encode(&one, &mut blocks);
            ring.push_back(blocks);
            show(one);
        });
    }

    /// Sockets have all that a shard has given out.
    pub(crate) fn delivered(&mut self, index: usize, now: Now) {
        self.note(now, || Input::Delivered { shard: index });
        let shard = &mut self.shards[index];
        let given = shard.switch.positions().given;
        for (delivered, given) in shard.delivered.iter_mut().zip(given) {
            *delivered = given.max(*delivered);
        }
    }

    /// The journal takes so many records of a stream, and reads what sockets have.
    pub(crate) fn take_ring(&mut self, stream: usize, now: Now, most: usize) {
        self.note(now, || Input::Ring { stream, most });
        let Self { shards, journal, .. } = self;
        let id = shard_id(stream);
        let ring = &mut shards[stream].ring;
        for blocks in ring.drain(..most.min(ring.len())) {
            journal.writer.append(now.mono_ns, id, &blocks);
        }
        for (shard, delivered) in shards.iter().map(|shard| &shard.delivered).enumerate() {
            journal.writer.delivered(id, shard_id(shard), delivered[stream]);
        }
        self.look(now);
    }

    pub(crate) fn take_image(&mut self, shard: usize, now: Now) {
        self.note(now, || Input::TakeImage { shard });
        let image = self.shards[shard].images.pop_front().expect("steps() saw one");
        self.journal.writer.snapshot(image);
        self.look(now);
    }

    pub(crate) fn next_op(&mut self, now: Now) {
        self.note(now, || Input::Next);
        let Journal { writer, running, is_idle, .. } = &mut self.journal;
        match writer.next_op(now.mono_ns) {
            Some((id, op)) => running.push(Running::new(id, op)),
            None => *is_idle = true,
        }
        let is_idle = *is_idle;
        self.look(now);
        self.journal.is_idle = is_idle;
    }

    /// The next call of a request.
    pub(crate) fn call_disk(
        &mut self,
        index: usize,
        now: Now,
        disk: &mut Disk,
        fault: Option<Fault>,
    ) -> Next {
        self.note(now, || Input::Call { index, fault });
        self.journal.running[index].step(disk, fault)
    }

    /// Tells the writer that a request has ended.
    pub(crate) fn done(&mut self, index: usize, now: Now) -> Running {
        self.note(now, || Input::Done { index });
        let Journal { writer, running, .. } = &mut self.journal;
        let mut one = running.remove(index);
        let ended = one.ended.expect("steps() saw that it has");
        // A disk holds the bytes of a commit until now. Whoever looks at the request later has a copy.
        if let Op::Commit { bytes, .. } = &mut one.op {
            *bytes = Arc::new(Pages::clone(bytes));
        }
        writer.done(now.mono_ns, one.id, ended.map_err(Into::into));
        self.look(now);
        one
    }

    /// Time has passed.
    pub(crate) fn pass(&mut self, now: Now) {
        self.note(now, || Input::Pass);
        self.look(now);
    }

    /// Something has happened, be it time: the writer may have a request, and be in another state.
    /// Whatever it says to be durable is told to the shards at once, asked for or not.
    fn look(&mut self, now: Now) {
        let Journal { writer, durable, state, is_idle, .. } = &mut self.journal;
        *is_idle = false;
        for (stream, durable) in durable.iter_mut().enumerate() {
            *durable = writer.durable(shard_id(stream)).max(*durable);
        }
        *state = match writer.health(now.mono_ns) {
            Health::Ready => JournalState::Ready,
            Health::Refusing(_) => JournalState::Refusing,
            Health::Failed => JournalState::Failed,
        };
    }
}

pub(crate) fn shard_id(index: usize) -> ShardId {
    ShardId(u16::try_from(index).expect("a few"))
}
