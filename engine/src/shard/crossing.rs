//! Between shards: Forwards and Answers, with their packets, each in a ring of its own.
//!
//! ```text
//!   shard of A                                             shard of B
//!   Ways      ==== Forward, PREPARE ====================>  Arrivals    full: T03
//!   Arrivals  <=== Answer, FULFILL or REJECT ============  Ways        never full: see below
//!   Bell      <--- rung, if A's shard said that it sleeps
//! ```
//!
//! An Answer has a place, reserved by A's half before its hold. Its bytes have none: so a link is not
//! received from before every ring that its answers could go to has room for all it can bring. It waits
//! in its socket; A's shard always takes what is in its rings, so the room comes, whatever A's peers read
//! or not. What finds a ring full all the same (a thousand packets expire, or a link is lost) is kept
//! until there is room, in its order.
//!
//! What is pushed is published once a vector, when the records of its decisions are in the journal's
//! ring (or soon will be, where that is full: `recorder.rs`), and what they changed is published: so no
//! FULFILL goes to a peer of another shard before that either. Whoever publishes rings the
//! other's bell, which writes to its eventfd only if it sleeps. A shard that is about to sleep says so,
//! and then looks once more: what came before, it sees; who comes after, sees that it sleeps.
//!
//! Invariants: only a shard's own thread has its ends; Answers reach the other shard in the order in
//! which they were given back, and Forwards in that of their admission; nothing is dropped.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use m2_accel::{Consumer, Producer, SleepFlag, ring};
use m2_codec::limits::PREPARE_LEN_MAX;
use m2_core::limits::BATCH_MAX;
use m2_core::{Answer, Forward, Now, ShardId};

use super::links::State;
use super::run::Shard;
use super::wake::wake;
use crate::clock;
use crate::limits::{
    ANSWERS_TAKEN_MAX, FORWARDS_TAKEN_MAX, LINK_BYTES_MAX, PUT_BYTES_MAX, RING_BYTES_MIN,
    RING_BYTES_OF_PLACE, RING_PLACES, RING_PLACES_MIN,
};

/// Wakes a shard that has said that it sleeps.
#[derive(Debug)]
pub(crate) struct Bell {
    sleep: SleepFlag,
    /// Links of this shard wait for room in a ring of Answers: who makes some rings.
    wants_room: AtomicBool,
    wake: Arc<OwnedFd>,
}

/// How much the ring from one shard to another takes, of Forwards and of Answers each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingSize {
    places: usize,
    bytes: usize,
}

/// A shard's ends of all rings, for its thread.
#[derive(Debug)]
pub(crate) struct Crossing {
    pub(super) ways: Ways,
    pub(super) arrivals: Arrivals,
}

/// Where packets leave for other shards.
#[derive(Debug)]
pub(super) struct Ways {
    own: ShardId,
    /// By shard; none to ourselves.
    ways: Vec<Option<Way>>,
}

#[derive(Debug)]
struct Way {
    forwards: Producer<Forward>,
    answers: Producer<Answer>,
    /// The longest PREPARE has room, as it was seen last.
    has_forward_room: bool,
    /// Answers that found their ring full, in their order; each has a place of the core's.
    kept: VecDeque<(Answer, Box<[u8]>)>,
    /// The other shard's.
    bell: Arc<Bell>,
}

/// Where packets of other shards come in.
#[derive(Debug)]
pub(super) struct Arrivals {
    /// By shard; none from ourselves.
    arrivals: Vec<Option<Arrival>>,
    /// Our own.
    bell: Arc<Bell>,
}

#[derive(Debug)]
struct Arrival {
    forwards: Consumer<Forward>,
    answers: Consumer<Answer>,
    /// The other shard's.
    bell: Arc<Bell>,
}

impl RingSize {
    /// For a switch of so many shards. Rings want powers of two.
    fn of(shards: usize) -> Self {
        let share = (RING_PLACES / (shards - 1).max(1)).max(RING_PLACES_MIN);
        let places = 1 << share.ilog2();
        Self { places, bytes: (places * RING_BYTES_OF_PLACE).max(RING_BYTES_MIN) }
    }
}

/// The ends for each shard, in their order. `wakes` are their eventfds.
pub(crate) fn between(wakes: &[Arc<OwnedFd>]) -> Vec<Crossing> {
    let bells: Vec<_> = wakes.iter().map(|wake| Arc::new(Bell::new(Arc::clone(wake)))).collect();
    join(&bells, RingSize::of(wakes.len()))
}

fn join(bells: &[Arc<Bell>], size: RingSize) -> Vec<Crossing> {
    let mut all: Vec<_> =
        bells.iter().zip(0..).map(|(bell, own)| Crossing::new(own, bell)).collect();
    for from in 0..all.len() {
        for to in 0..all.len() {
            let (mut way, mut arrival) = (None, None);
            if from != to {
                let (forwards_in, forwards_out) = ring(size.places, size.bytes);
                let (answers_in, answers_out) = ring(size.places, size.bytes);
                way = Some(Way::new(forwards_in, answers_in, &bells[to]));
                let bell = Arc::clone(&bells[from]);
                arrival = Some(Arrival { forwards: forwards_out, answers: answers_out, bell });
            }
            all[from].ways.ways.push(way);
            all[to].arrivals.arrivals.push(arrival);
        }
    }
    all
}

impl Crossing {
    fn new(own: u16, bell: &Arc<Bell>) -> Self {
        Self {
            ways: Ways { own: ShardId(own), ways: Vec::new() },
            arrivals: Arrivals { arrivals: Vec::new(), bell: Arc::clone(bell) },
        }
    }
}

impl Bell {
    pub(crate) fn new(wake: Arc<OwnedFd>) -> Self {
        Self { sleep: SleepFlag::default(), wants_room: AtomicBool::new(false), wake }
    }

    /// Wakes the shard if it sleeps. What it is to see was published before.
    fn ring(&self) {
        if self.sleep.take_sleeping() {
            wake(&self.wake);
        }
    }
}

impl Way {
    fn new(forwards: Producer<Forward>, answers: Producer<Answer>, bell: &Arc<Bell>) -> Self {
        let bell = Arc::clone(bell);
        let mut way =
            Self { forwards, answers, has_forward_room: false, kept: VecDeque::new(), bell };
        way.look();
        way
    }

    fn look(&mut self) {
        self.has_forward_room = self.forwards.has_room(PREPARE_LEN_MAX);
    }

    fn has_answer_room(&mut self, len: usize) -> bool {
        self.kept.is_empty() && self.answers.has_room(len)
    }

    fn give_back(&mut self, answer: Answer, packet: &[u8]) {
        if self.has_answer_room(packet.len()) {
            self.answers.push(answer, packet);
        } else {
            self.kept.push_back((answer, packet.into()));
        }
    }

    fn has_room_for_kept(&mut self) -> bool {
        let first = self.kept.front();
        first.is_some_and(|(_, packet)| self.answers.has_room(packet.len()))
    }

    fn publish(&mut self) {
        while self.has_room_for_kept() {
            let (answer, packet) = self.kept.pop_front().expect("it was just looked at");
            self.answers.push(answer, &packet);
        }
        let is_news = self.forwards.publish() | self.answers.publish();
        if is_news {
            self.bell.ring();
        }
    }
}

impl Ways {
    /// Sees anew where Forwards have room. Called before each vector of requests.
    pub(super) fn look(&mut self) {
        self.ways.iter_mut().flatten().for_each(Way::look);
    }

    /// Whether the longest PREPARE finds room, and did when it was looked at last.
    pub(super) fn forward_room(&self, to: ShardId) -> bool {
        self.way(to).has_forward_room
    }

    /// Pushes a Forward.
    ///
    /// # Panics
    ///
    /// If it is for this very shard, or there is no room: the core has asked.
    pub(super) fn forward(&mut self, to: ShardId, forward: Forward, packet: &[u8]) {
        let way = self.way_mut(to);
        assert!(way.has_forward_room, "the core asks whether there is room");
        way.forwards.push(forward, packet);
        way.look();
    }

    /// Pushes an Answer, or keeps it until there is room.
    ///
    /// # Panics
    ///
    /// If it is for this very shard.
    pub(super) fn give_back(&mut self, to: ShardId, answer: Answer, packet: &[u8]) {
        self.way_mut(to).give_back(answer, packet);
    }

    /// Whether answers of so many bytes in all have room in every ring that they could go to.
    pub(super) fn has_answer_room(&mut self, len: usize) -> bool {
        self.ways.iter_mut().flatten().all(|way| way.has_answer_room(len))
    }

    /// Lets the other shards see what was pushed.
    pub(super) fn publish(&mut self) {
        self.ways.iter_mut().flatten().for_each(Way::publish);
    }

    /// Whether an Answer that waits has room by now.
    fn has_room_for_kept(&mut self) -> bool {
        self.ways.iter_mut().flatten().any(Way::has_room_for_kept)
    }

    /// Whether Answers wait for room.
    pub(super) fn keeps_answers(&self) -> bool {
        self.ways.iter().flatten().any(|way| !way.kept.is_empty())
    }

    fn way(&self, to: ShardId) -> &Way {
        assert!(to != self.own, "nothing crosses to its own shard");
        self.ways[usize::from(to.0)].as_ref().expect("there is a way to each other shard")
    }

    fn way_mut(&mut self, to: ShardId) -> &mut Way {
        assert!(to != self.own, "nothing crosses to its own shard");
        self.ways[usize::from(to.0)].as_mut().expect("there is a way to each other shard")
    }
}

impl Arrivals {
    /// Whether nothing was published that is not taken yet.
    pub(super) fn is_empty(&mut self) -> bool {
        let mut arrivals = self.arrivals.iter_mut().flatten();
        arrivals.all(|it| it.answers.is_empty() && it.forwards.is_empty())
    }

    fn is_alone(&self) -> bool {
        self.arrivals.len() <= 1
    }
}

impl Arrival {
    /// The places of what was taken are free: who waits for them is told.
    fn release_answers(&mut self) {
        self.answers.release();
        fence(Ordering::SeqCst);
        if self.bell.wants_room.load(Ordering::Relaxed) {
            self.bell.ring();
        }
    }
}

impl Shard {
    /// Takes what other shards have published, of each its turn: Answers first, as they free what
    /// Forwards need.
    pub(super) fn take_arrivals(&mut self) {
        if self.arrivals.is_empty() {
            return;
        }
        for index in 0..self.arrivals.arrivals.len() {
            if let Some(mut arrival) = self.arrivals.arrivals[index].take() {
                self.take_arrival(&mut arrival);
                self.arrivals.arrivals[index] = Some(arrival);
            }
        }
    }

    fn take_arrival(&mut self, arrival: &mut Arrival) {
        let mut taken = 0;
        while taken < ANSWERS_TAKEN_MAX
            && !arrival.answers.is_empty()
            && let now = self.begin_message(taken)
            && let Some((answer, packet)) = arrival.answers.pop()
        {
            self.switch.answered(now, answer, packet, &mut self.links);
            taken += 1;
        }
        if taken > 0 {
            arrival.release_answers();
        }
        let mut taken = 0;
        while taken < FORWARDS_TAKEN_MAX
            && !arrival.forwards.is_empty()
            && let now = self.begin_message(taken)
            && let Some((forward, packet)) = arrival.forwards.pop()
        {
            self.switch.forwarded(now, forward, packet, &mut self.links);
            taken += 1;
        }
        arrival.forwards.release();
    }

    /// Before a message is taken of which so many came before it: the clock is read for each vector's
    /// worth, and the kernel gets what has come together, so that no egress is full of what nobody sent.
    fn begin_message(&mut self, taken: usize) -> Now {
        let now = match self.ran_at {
            Some(now) if !taken.is_multiple_of(BATCH_MAX) => now,
            _ => clock::now(),
        };
        self.ran_at = Some(now);
        self.busy_until_ns = now.mono_ns + self.settings.spin_ns;
        if self.links.put_bytes() > PUT_BYTES_MAX {
            self.flush(now);
        }
        now
    }

    /// Whether a link may be received from: else it is put aside until there is room for whatever
    /// answers it brings.
    pub(super) fn may_take(&mut self, place: usize) -> bool {
        if self.arrivals.is_alone() || self.has_answer_room() {
            return true;
        }
        // What the vector at hand has may be for no ring at all: then it stands in nobody's way.
        self.run_batch();
        if self.has_answer_room() {
            return true;
        }
        let Some(link) = self.links.get_mut(place) else { return true };
        if link.state != State::Open {
            return true;
        }
        link.rx.queued = true;
        self.put_aside.push(place);
        false
    }

    /// Room for what the vector at hand has, and one link's more.
    fn has_answer_room(&mut self) -> bool {
        self.links.ways.has_answer_room(self.batch.response_bytes() + LINK_BYTES_MAX)
    }

    /// Links that were put aside get their turn, if there is room again: before those that have had one
    /// since.
    pub(super) fn take_up(&mut self) {
        if !self.put_aside.is_empty() && self.has_answer_room() {
            let Self { ready, put_aside, .. } = self;
            put_aside.drain(..).rev().for_each(|place| ready.push_front(place));
        }
    }

    /// Links that are put aside are not silent: nobody listens to them.
    pub(super) fn excuse_put_aside(&mut self, now: Now) {
        for place in &self.put_aside {
            let link = self.links.get_mut(*place).expect("one that is removed is not put aside");
            (link.heard_ns, link.pinged) = (now.mono_ns, false);
        }
    }

    /// Lets the other shards see what was pushed, and before that anybody what it has changed here.
    pub(super) fn publish_crossing(&mut self) {
        if !self.arrivals.is_alone() {
            self.publish();
            self.links.ways.publish();
        }
    }

    /// Says that this shard is about to sleep, and looks once more at what could have come before
    /// that. `false`: something has, and it does not sleep.
    pub(super) fn begin_sleep(&mut self) -> bool {
        if self.arrivals.is_alone() {
            return true;
        }
        let (waits, keeps) = (!self.put_aside.is_empty(), self.links.ways.keeps_answers());
        self.arrivals.bell.wants_room.store(waits || keeps, Ordering::Relaxed);
        self.arrivals.bell.sleep.begin_sleep();
        let has_room =
            (waits && self.has_answer_room()) || (keeps && self.links.ways.has_room_for_kept());
        let is_quiet = self.arrivals.is_empty() && !has_room;
        if !is_quiet {
            self.end_sleep();
        }
        is_quiet
    }

    /// Nobody need wake this shard.
    pub(super) fn end_sleep(&self) {
        if !self.arrivals.is_alone() {
            self.arrivals.bell.sleep.end_sleep();
        }
    }
}

#[cfg(test)]
mod tests;
