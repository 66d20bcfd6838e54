//! The shard's thread: one loop over what the kernel has.
//!
//! ```text
//!   +-> wait: until the kernel has something, the next deadline, or not at all while links have more
//!   |   inbox: new links, questions, orders
//!   |   rings: Answers and Forwards of other shards, to the core
//!   |   for each link that has something, in turn:
//!   |       receive once; split frames; note packets in the vectors
//!   |       vectors full? -> core, then on with the same link
//!   |   vectors to the core; its packets go to the links' egress, or into rings
//!   |   accounts that changed are published
//!   |   one send for each link that has something to say, all together
//!   +-- expiries, amounts to be paid, pings, closing links
//! ```
//!
//! A link is received from once in a pass, so each gets its turn however much another sends. The
//! clock is read once for each vector. Per packet nothing is allocated, locked, logged or formatted.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use arrayvec::ArrayVec;
use crossbeam_channel::{Receiver, Sender, TrySendError};
use m2_codec::ws::{Role, close_code};
use m2_core::{AccountId, JournalState, Now, ShardId, Switch, UnrecordedFulfill};
use m2_published::Publisher;
use rustix::io::Errno;
use rustix::net::Shutdown;

use super::batch::Batch;
use super::crossing::{Arrivals, Crossing};
use super::ending::{Endings, Stage};
#[cfg(feature = "forwarder")]
use super::forwarder::Forwarder;
use super::links::{Link, Links, State};
use super::message::{Board, Cause, Event, Framing, NewLink, ToShard};
use super::recorder::{self, Recorder};
use super::rx::Rx;
use super::talk::Talk;
use super::tx::{Masks, Tx, TxFraming};
use super::wake::Nudge;
use crate::clock::{self, NS_PER_MS};
#[cfg(feature = "forwarder")]
use crate::config::Config;
use crate::io::{BackEnd, Io, Outgoing, Ready, Received, Taken};
use crate::limits::{END_LOOK_NS, INBOX_TAKEN_MAX, PUT_BYTES_MAX, READY_MAX, SENDS_MAX};

/// What a shard goes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) egress_bytes_max: usize,
    pub(crate) bad_frames_max: u32,
    pub(crate) ping_ns: u64,
    pub(crate) close_ns: u64,
    pub(crate) spin_ns: u64,
    pub(crate) shutdown_ns: u64,
}

/// What joins a shard to the other threads; see `topology.rs`.
#[derive(Debug)]
pub(crate) struct Joints {
    pub(crate) shard: ShardId,
    /// By account: which shard owns it.
    pub(crate) owners: Arc<[ShardId]>,
    pub(crate) inbox: Receiver<ToShard>,
    /// Readable when there is something in `inbox`.
    pub(crate) wake: Arc<OwnedFd>,
    pub(crate) events: Sender<Event>,
    /// Tells the control thread to look at `events`, answers and `board`.
    pub(crate) nudge: Nudge,
    pub(crate) board: Arc<Board>,
    /// Where this shard's accounts are published.
    pub(crate) publisher: Publisher,
    pub(crate) endings: Arc<Endings>,
    /// Absent where nothing is recorded.
    pub(crate) recorder: Option<recorder::Joints>,
}

/// The switch with its links.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(super) switch: Switch,
    pub(super) links: Links,
    pub(super) settings: Settings,
    pub(super) joints: Joints,
    pub(super) io: Box<dyn Io>,
    pub(super) assets: usize,
    pub(super) batch: Batch,
    /// From other shards; what goes to them is with `links`.
    pub(super) arrivals: Arrivals,
    pub(super) recorder: Option<Recorder>,
    /// FULFILLs that went on without their records and were not told yet.
    pub(super) unrecorded: Vec<UnrecordedFulfill>,
    /// Places of links that have something, or may.
    pub(super) ready: VecDeque<usize>,
    /// Places of links that have something, and no room for the answers that it may be.
    pub(super) put_aside: Vec<usize>,
    /// The inbox may have something.
    pub(super) woken: bool,
    pub(super) draining: bool,
    /// When to stop waiting for answers.
    pub(super) shutdown_at_ns: Option<u64>,
    pub(super) stage: Stage,
    /// Every shard is settled, and the links are being closed.
    pub(super) ending: bool,
    housekeeping_at_ns: u64,
    pub(super) busy_until_ns: u64,
    /// The monotonic clock as it was read last: old by one sleep at most.
    pub(super) seen_ns: u64,
    /// When the last vector of this pass went to the core.
    pub(super) ran_at: Option<Now>,
    /// Where it is, the core hears of no packet.
    #[cfg(feature = "forwarder")]
    forwarder: Option<Forwarder>,
}

impl Shard {
    /// A shard of these accounts, without a link.
    ///
    /// # Errors
    ///
    /// When the kernel has no descriptor or memory for us.
    pub(crate) fn new(
        switch: Switch,
        assets: usize,
        settings: Settings,
        mut joints: Joints,
        crossing: Crossing,
        back_end: BackEnd,
    ) -> std::io::Result<Self> {
        let accounts = switch.account_count() as usize;
        // Each has an open link and a closing one.
        let io = back_end.open(&joints.wake, 2 * accounts)?;
        let recorder = joints.recorder.take().map(Recorder::new);
        let Crossing { ways, arrivals } = crossing;
        let mut shard = Self {
            links: Links::new(accounts, settings.egress_bytes_max, ways),
            switch,
            settings,
            joints,
            io,
            assets,
            batch: Batch::default(),
            arrivals,
            recorder,
            unrecorded: Vec::new(),
            ready: VecDeque::new(),
            put_aside: Vec::new(),
            woken: true,
            draining: false,
            shutdown_at_ns: None,
            stage: Stage::Running,
            ending: false,
            housekeeping_at_ns: 0,
            busy_until_ns: 0,
            seen_ns: clock::mono_ns(),
            ran_at: None,
            #[cfg(feature = "forwarder")]
            forwarder: None,
        };
        // What a restart has brought back, before anybody can ask for it.
        shard.publish();
        Ok(shard)
    }

    /// Passes packets on without the core from now on.
    ///
    /// # Errors
    ///
    /// When the configuration has no routes that a forwarder can go by.
    #[cfg(feature = "forwarder")]
    pub(crate) fn set_forwarding(&mut self, config: &Config) -> Result<(), String> {
        self.forwarder = Some(Forwarder::new(config)?);
        Ok(())
    }

    /// Runs until it is told to end and has ended.
    pub(crate) fn run(mut self) {
        self.switch.populate();
        let mut ready = Vec::with_capacity(READY_MAX);
        while !self.pass(&mut ready) {}
    }

    /// Once around. `true` when it has ended.
    pub(super) fn pass(&mut self, ready: &mut Vec<Ready>) -> bool {
        self.wait(ready);
        if self.woken {
            self.take_inbox();
        }
        self.take_arrivals();
        self.take_up();
        self.take_turns();
        let now = self.ran_at.take().unwrap_or_else(clock::now);
        self.seen_ns = now.mono_ns;
        if self.next_deadline_ns().is_some_and(|deadline| deadline <= now.mono_ns) {
            self.switch.tick(now, &mut self.links);
        }
        self.freeze_due(now);
        self.take_word(now);
        self.take_records();
        self.flush(now);
        self.tell_delivered();
        self.tell_unrecorded();
        if now.mono_ns >= self.housekeeping_at_ns {
            self.keep_house(now);
        }
        self.tell_news();
        self.publish_crossing();
        self.shutdown_at_ns.is_some() && self.has_ended(now)
    }

    /// Marks the links that the kernel has something for, waiting if none has.
    fn wait(&mut self, ready: &mut Vec<Ready>) {
        let mut patience_ns = self.patience();
        let sleeps = patience_ns != Some(0) && self.begin_sleep();
        if !sleeps {
            patience_ns = Some(0);
        }
        self.io.wait(patience_ns, ready);
        if sleeps {
            self.end_sleep();
        }
        for ready in ready.drain(..) {
            let Ready::Link { place, readable, writable, hung_up } = ready else {
                self.woken = true;
                continue;
            };
            let Some(link) = self.links.get_mut(place) else { continue };
            link.rx.hung_up |= hung_up;
            link.rx.readable |= readable;
            if writable {
                link.tx.blocked = false;
                if link.tx.waiting() > 0 {
                    self.links.set_dirty(place);
                }
            }
            if readable {
                self.set_ready(place);
            }
        }
    }

    /// How long the kernel may let us sleep, in nanoseconds; `None` is for ever.
    fn patience(&mut self) -> Option<u64> {
        if !self.ready.is_empty() || self.woken {
            return Some(0);
        }
        let mut until = self.next_deadline_ns().unwrap_or(u64::MAX);
        // Other shards' packets may leave notices where there is no link.
        if self.links.count() > 0 || self.switch.has_notices() || self.has_left_over() {
            until = until.min(self.housekeeping_at_ns);
        }
        until = until.min(self.shutdown_at_ns.unwrap_or(u64::MAX));
        if self.ending && !self.has_told_all() {
            // Nobody wakes us when a queue that was full has room.
            until = until.min(self.seen_ns + END_LOOK_NS);
        }
        if until == u64::MAX && self.busy_until_ns == 0 {
            return None;
        }
        let now_ns = clock::mono_ns();
        if now_ns < self.busy_until_ns {
            return Some(0);
        }
        self.busy_until_ns = 0;
        (until < u64::MAX).then(|| until.saturating_sub(now_ns))
    }

    /// When time next asks something of the core. A shard that is silent decides nothing any more.
    fn next_deadline_ns(&self) -> Option<u64> {
        self.switch.next_deadline_ns().filter(|_| self.stage < Stage::Silent)
    }

    /// Whatever concerns an account comes to the shard that owns it.
    pub(super) fn assert_own(&self, account: AccountId) {
        assert!(self.owns(account), "an account is touched on its own shard");
    }

    pub(super) fn owns(&self, account: AccountId) -> bool {
        self.joints.owners[account.0 as usize] == self.joints.shard
    }

    pub(super) fn set_ready(&mut self, place: usize) {
        if let Some(link) = self.links.get_mut(place)
            && !core::mem::replace(&mut link.rx.queued, true)
        {
            self.ready.push_back(place);
        }
    }

    fn take_inbox(&mut self) {
        for _ in 0..INBOX_TAKEN_MAX {
            match self.joints.inbox.try_recv() {
                Ok(ToShard::Link(new)) => self.take_link(new),
                Ok(ToShard::Ask(question, answer)) => {
                    // Nobody may be waiting any more; there is room for one answer.
                    let _ = answer.try_send(self.snapshot(question));
                    self.joints.nudge.send();
                }
                Ok(ToShard::Routes { routes, before }) => {
                    // Who waits for them does so until they come, and frees them.
                    let _ = before.try_send(self.switch.set_routes(routes));
                }
                Ok(ToShard::SetDraining(draining)) => self.set_draining(draining),
                Ok(ToShard::Talk(talk)) => self.take_talk(talk),
                Ok(ToShard::Shutdown) => self.shut_down(clock::mono_ns()),
                Ok(ToShard::Order { account, order, answer }) => {
                    let done = self.obey(account, order);
                    self.publish();
                    // Before who gave the order can know that it was obeyed.
                    self.tell_news();
                    let _ = answer.try_send(done);
                    self.joints.nudge.send();
                }
                Err(_) => {
                    self.woken = false;
                    return;
                }
            }
        }
    }

    /// Shows other threads what has changed: before whoever changed it can know, and never later than the
    /// end of a pass.
    pub(super) fn publish(&mut self) {
        self.joints.publisher.publish(&mut self.switch);
    }

    /// Records go to the journal before their FULFILLs go to the kernel. Without a journal there are
    /// none.
    fn take_records(&mut self) {
        match &mut self.recorder {
            Some(recorder) => recorder.take_records(&mut self.switch),
            None => self.switch.drain_records(usize::MAX, drop),
        }
    }

    /// Lists what went on without its record, all of it, if need be later.
    pub(super) fn tell_unrecorded(&mut self) {
        let Self { switch, unrecorded, joints, .. } = self;
        switch.drain_unrecorded(|fulfill| unrecorded.push(fulfill));
        if unrecorded.is_empty() {
            return;
        }
        if let Err(TrySendError::Full(Event::Unrecorded(kept))) =
            joints.events.try_send(Event::Unrecorded(core::mem::take(unrecorded)))
        {
            *unrecorded = kept;
        }
        joints.nudge.send();
    }

    /// What is durable by now, and how the journal is. One that has failed ends us, in order.
    fn take_word(&mut self, now: Now) {
        let Self { recorder: Some(recorder), switch, links, .. } = self else { return };
        recorder.take_word(now, switch, links);
        if recorder.state() == JournalState::Failed && self.shutdown_at_ns.is_none() {
            self.shut_down(now.mono_ns);
        }
    }

    fn tell_delivered(&mut self) {
        if let Some(recorder) = &self.recorder {
            recorder.tell_delivered(&self.switch, &mut self.links);
        }
    }

    pub(super) fn set_draining(&mut self, draining: bool) {
        self.draining = draining || self.shutdown_at_ns.is_some();
        self.switch.set_draining(self.draining);
    }

    /// A connection past its handshake replaces the account's link, if it has one (C10).
    fn take_link(&mut self, new: NewLink) {
        if self.ending {
            return;
        }
        self.assert_own(new.account);
        let now = clock::now();
        if let Some(place) = self.links.open_place(new.account) {
            self.links.counters.links_replaced += 1;
            let text = "replaced by a newer connection";
            self.close(now, place, Cause::Replaced, Some((close_code::POLICY_VIOLATION, text)));
        }
        let tx = Tx::new(match &new.framing {
            Framing::Stream => TxFraming::Stream,
            Framing::WebSocket { role: Role::Server, .. } => TxFraming::Server,
            Framing::WebSocket { role: Role::Client, .. } => TxFraming::Client(Masks::new()),
        });
        let websocket = matches!(new.framing, Framing::WebSocket { .. });
        let connection = self.switch.link_up(new.account);
        let place = self.links.insert(Link {
            socket: new.socket,
            connection,
            rx: Rx::new(new.framing, &new.received),
            tx,
            state: State::Open,
            bad_frames: 0,
            heard_ns: now.mono_ns,
            pinged: false,
            websocket,
            delivered: Vec::new(),
            talk: Talk::default(),
            stall: None,
        });
        self.links.counters.links_up += 1;
        self.publish();
        self.joints.board.set_up(new.account);
        self.tell(Event::Up(new.account));
        self.joints.nudge.send();
        let link = self.links.get_mut(place).expect("it was just inserted");
        match self.io.add(place, &link.socket) {
            Ok(()) => {
                self.links.put(place, |tx| tx.put_whole(&new.greeting));
                self.set_ready(place);
            }
            Err(error) => self.drop_link(now, place, Cause::Failed(error)),
        }
    }

    /// Each link that has something gets its turn, once.
    fn take_turns(&mut self) {
        for _ in 0..self.ready.len() {
            let Some(place) = self.ready.pop_front() else { break };
            if let Some(link) = self.links.get_mut(place) {
                link.rx.queued = false;
                self.take_turn(place);
            }
        }
        self.run_batch();
    }

    fn take_turn(&mut self, place: usize) {
        if !self.may_take(place) {
            return;
        }
        let Self { links, io, .. } = self;
        let Some(link) = links.get_mut(place) else { return };
        if link.rx.readable {
            match link.rx.receive(|room| io.receive(place, &link.socket, room)) {
                Ok(Received::Bytes { .. }) => (link.heard_ns, link.pinged) = (self.seen_ns, false),
                Ok(Received::Nothing | Received::End) => {}
                Err(error) => return self.drop_link(clock::now(), place, Cause::Failed(error)),
            }
        }
        if link.state == State::Open {
            self.take_frames(place);
        } else {
            link.rx.discard();
        }
        // The link may be gone by now, or closing.
        let Some(link) = self.links.get_mut(place) else { return };
        if link.rx.ended {
            self.run_batch();
            self.peer_ended(place);
        } else if link.rx.readable {
            self.set_ready(place);
        }
    }

    /// Gives the vectors to the core, and the buffers back to their links.
    pub(super) fn run_batch(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let now = clock::now();
        self.ran_at = Some(now);
        self.links.ways.look();
        self.decide(now);
        for (place, buffers) in self.batch.take_lent() {
            let link = self.links.get_mut(place).expect("no link goes while its buffers are lent");
            link.rx.take_back(buffers);
        }
        self.take_records();
        self.publish_crossing();
        self.busy_until_ns = now.mono_ns + self.settings.spin_ns;
        if self.links.put_bytes() > PUT_BYTES_MAX {
            self.flush(now);
        }
    }

    /// What becomes of the packets in the vectors.
    fn decide(&mut self, now: Now) {
        #[cfg(feature = "forwarder")]
        if let Some(forwarder) = &mut self.forwarder {
            return self.batch.forward(forwarder, &mut self.links);
        }
        self.batch.run(&mut self.switch, now, &mut self.links);
    }

    /// Gives the kernel what links have to say. Links that are full are closed. What that changes is
    /// published as well, before the next link is told.
    pub(super) fn flush(&mut self, now: Now) {
        let mut places = ArrayVec::<usize, SENDS_MAX>::new();
        let mut taken = ArrayVec::<Taken, SENDS_MAX>::new();
        loop {
            self.publish();
            self.put_places_to_flush(&mut places);
            if places.is_empty() {
                return;
            }
            self.send(&places, &mut taken);
            for (place, taken) in places.drain(..).zip(taken.drain(..)) {
                self.look_after(now, place, taken);
            }
        }
    }

    /// Places of links that want to be sent to, or closed for being full: each once, as nothing is put
    /// meanwhile.
    fn put_places_to_flush(&mut self, places: &mut ArrayVec<usize, SENDS_MAX>) {
        while !places.is_full()
            && let Some(place) = self.links.next_dirty()
        {
            let Some(link) = self.links.get_mut(place) else { continue };
            if link.tx.full || !link.tx.blocked {
                places.push(place);
            } else {
                let account = link.connection.account;
                self.note_egress(account);
            }
        }
    }

    /// Gives the kernel all it takes, and notes it at every link before any is looked after, which may
    /// end others.
    fn send(&mut self, places: &[usize], taken: &mut ArrayVec<Taken, SENDS_MAX>) {
        let Self { links, io, .. } = self;
        let mut outgoing = ArrayVec::<Outgoing<'_>, SENDS_MAX>::new();
        for place in places {
            let link = links.get(*place).expect("it was dirty");
            let bytes = if link.tx.full { &[] } else { link.tx.rest() };
            outgoing.push(Outgoing { place: *place, socket: &link.socket, bytes });
        }
        io.send(&outgoing, taken);
        drop(outgoing);
        for (place, taken) in places.iter().zip(taken.iter()) {
            links.get_mut(*place).expect("it was just sent to").tx.took(taken.count);
        }
    }

    /// Tells how many bytes wait for an account's peer.
    pub(super) fn note_egress(&self, account: AccountId) {
        self.joints.board.set_egress_bytes(account, self.links.waiting_bytes(account));
    }

    /// What follows of what the kernel took of a link's bytes, or why it took no more.
    fn look_after(&mut self, now: Now, place: usize, taken: Taken) {
        // It may be gone with one that was looked after before.
        let Some(link) = self.links.get_mut(place) else { return };
        let account = link.connection.account;
        self.note_egress(account);
        let Some(link) = self.links.get_mut(place) else { return };
        if link.tx.full {
            self.links.counters.links_full += 1;
            return self.drop_link(now, place, Cause::Full);
        }
        let connection = link.connection;
        match taken.stopped {
            // One that was looked after before may have caused more.
            None if link.tx.waiting() > 0 => {}
            None => self.flushed(place),
            Some(Errno::AGAIN) => link.tx.blocked = true,
            Some(error) => return self.drop_link(now, place, Cause::Failed(error)),
        }
        // FULFILLs that a slow disk has let go at once come as there is room for them.
        if self.switch.waits_for_room(connection) {
            self.switch.room(connection, &mut self.links);
        }
    }

    /// All that a link had to say is said: a closing one ends its side.
    fn flushed(&mut self, place: usize) {
        let link = self.links.get_mut(place).expect("it was just flushed");
        let State::Closing { ended, .. } = &mut link.state else { return };
        *ended = true;
        // An error here says that the connection is gone, which the next receive says too.
        let _ = rustix::net::shutdown(&link.socket, Shutdown::Write);
        if link.rx.ended {
            self.remove(place);
        }
    }

    /// Tells the log, unless its queue is full.
    pub(super) fn tell(&mut self, event: Event) {
        if self.joints.events.try_send(event).is_err() {
            self.links.counters.events_lost += 1;
        }
    }

    /// Pings, links that are silent or take too long to close, notices, memory given back.
    fn keep_house(&mut self, now: Now) {
        let Settings { ping_ns, close_ns, .. } = self.settings;
        self.housekeeping_at_ns =
            now.mono_ns + (ping_ns.min(close_ns) / 4).clamp(NS_PER_MS, 250 * NS_PER_MS);
        self.excuse_put_aside(now);
        for place in self.links.places() {
            self.keep_talk(now, place);
            self.keep_link(now, place);
        }
        self.flush(now);
        let mut told = false;
        let Self { switch, joints, links, .. } = self;
        switch.drain_notices(|notice| {
            told = true;
            if joints.events.try_send(Event::Notice(notice)).is_err() {
                links.counters.events_lost += 1;
            }
        });
        if told {
            self.joints.nudge.send();
        }
    }
}
