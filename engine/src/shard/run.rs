//! The shard's thread: one loop over what the kernel has.
//!
//! ```text
//!   +-> wait: epoll, until an event, the next deadline, or not at all while links have more
//!   |   inbox: new links, questions, orders
//!   |   for each link that has something, in turn:
//!   |       receive once; split frames; note packets in the vectors
//!   |       vectors full? -> core, then on with the same link
//!   |   vectors to the core; its packets go to the links' egress
//!   |   one send for each link that has something to say
//!   +-- expiries, pings, closing links
//! ```
//!
//! A link is received from once in a pass, so each gets its turn however much another sends. The
//! clock is read once for each vector. Per packet nothing is allocated, locked, logged or formatted.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use m2_codec::ws::{Role, close_code};
use m2_core::{JournalState, Now, Switch, UnrecordedFulfill};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::net::Shutdown;

use super::batch::Batch;
#[cfg(feature = "forwarder")]
use super::forwarder::Forwarder;
use super::links::{Link, Links, State};
use super::message::{Board, Cause, Event, Framing, NewLink, ToShard};
use super::recorder::{self, Recorder};
use super::rx::{Received, Rx};
use super::tx::{Masks, Tx, TxFraming};
use super::wake::Nudge;
use crate::clock::{self, NS_PER_MS};
#[cfg(feature = "forwarder")]
use crate::config::Config;
use crate::limits::{END_LOOK_NS, EPOLL_EVENTS_MAX, INBOX_TAKEN_MAX, PUT_BYTES_MAX};

/// What epoll tells of our own wake-up; a place of a link is far below.
const WAKE: u64 = u64::MAX;

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
    pub(crate) inbox: Receiver<ToShard>,
    /// Readable when there is something in `inbox`.
    pub(crate) wake: Arc<OwnedFd>,
    pub(crate) events: Sender<Event>,
    /// Tells the control thread to look at `events`, answers and `board`.
    pub(crate) nudge: Nudge,
    pub(crate) board: Arc<Board>,
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
    pub(super) epoll: OwnedFd,
    pub(super) assets: usize,
    pub(super) batch: Batch,
    recorder: Option<Recorder>,
    /// FULFILLs that went on without their records and were not told yet.
    unrecorded: Vec<UnrecordedFulfill>,
    /// Places of links that have something, or may.
    ready: VecDeque<usize>,
    /// The inbox may have something.
    woken: bool,
    pub(super) draining: bool,
    /// When to stop waiting for answers.
    shutdown_at_ns: Option<u64>,
    ending: bool,
    housekeeping_at_ns: u64,
    busy_until_ns: u64,
    /// The monotonic clock as it was read last: old by one sleep at most.
    seen_ns: u64,
    /// When the last vector of this pass went to the core.
    ran_at: Option<Now>,
    /// Where it is, the core hears of no packet.
    #[cfg(feature = "forwarder")]
    forwarder: Option<Forwarder>,
}

impl Shard {
    /// A shard of these accounts, without a link.
    ///
    /// # Errors
    ///
    /// When the kernel has no descriptor for us.
    pub(crate) fn new(
        switch: Switch,
        assets: usize,
        settings: Settings,
        mut joints: Joints,
    ) -> rustix::io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, &*joints.wake, epoll::EventData::new_u64(WAKE), flags)?;
        let accounts = switch.account_count() as usize;
        let recorder = joints.recorder.take().map(Recorder::new);
        Ok(Self {
            links: Links::new(accounts, settings.egress_bytes_max),
            switch,
            settings,
            joints,
            epoll,
            assets,
            batch: Batch::default(),
            recorder,
            unrecorded: Vec::new(),
            ready: VecDeque::new(),
            woken: true,
            draining: false,
            shutdown_at_ns: None,
            ending: false,
            housekeeping_at_ns: 0,
            busy_until_ns: 0,
            seen_ns: clock::mono_ns(),
            ran_at: None,
            #[cfg(feature = "forwarder")]
            forwarder: None,
        })
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
        let mut events = Vec::with_capacity(EPOLL_EVENTS_MAX);
        loop {
            self.wait(&mut events);
            if self.woken {
                self.take_inbox();
            }
            self.take_turns();
            let now = self.ran_at.take().unwrap_or_else(clock::now);
            self.seen_ns = now.mono_ns;
            if self.switch.next_deadline_ns().is_some_and(|deadline| deadline <= now.mono_ns) {
                self.switch.tick(now, &mut self.links);
            }
            self.take_word(now);
            self.take_records();
            self.flush(now);
            self.tell_delivered();
            self.tell_unrecorded();
            if now.mono_ns >= self.housekeeping_at_ns {
                self.keep_house(now);
            }
            if self.shutdown_at_ns.is_some() && self.has_ended(now) {
                return;
            }
        }
    }

    /// Marks the links that the kernel has something for, waiting if none has.
    fn wait(&mut self, events: &mut Vec<epoll::Event>) {
        let timeout = self.patience().map(clock::timespec);
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("epoll cannot wait: {error}"),
        }
        for event in events.iter() {
            let (data, flags) = (event.data.u64(), event.flags);
            if data == WAKE {
                self.woken = true;
                continue;
            }
            let place = usize::try_from(data).expect("a place was given");
            let Some(link) = self.links.get_mut(place) else { continue };
            if flags.intersects(epoll::EventFlags::OUT | epoll::EventFlags::ERR) {
                link.tx.blocked = false;
                if link.tx.waiting() > 0 {
                    self.links.set_dirty(place);
                }
            }
            let ended = epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
            if flags.intersects(epoll::EventFlags::IN | ended) {
                let link = self.links.get_mut(place).expect("it was just there");
                link.rx.readable = true;
                link.rx.hung_up |= flags.intersects(ended);
                self.set_ready(place);
            }
        }
    }

    /// How long the kernel may let us sleep, in nanoseconds; `None` is for ever.
    fn patience(&mut self) -> Option<u64> {
        if !self.ready.is_empty() || self.woken {
            return Some(0);
        }
        let mut until = self.switch.next_deadline_ns().unwrap_or(u64::MAX);
        if self.links.count() > 0 {
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
                Ok(ToShard::SetDraining(draining)) => self.set_draining(draining),
                Ok(ToShard::Shutdown) => self.shut_down(clock::mono_ns()),
                Ok(ToShard::Order { account, order, answer }) => {
                    let done = self.obey(account, order);
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

    /// Records go to the journal before their FULFILLs go to the kernel. Without a journal there are
    /// none.
    fn take_records(&mut self) {
        match &mut self.recorder {
            Some(recorder) => recorder.take_records(&mut self.switch),
            None => self.switch.drain_records(usize::MAX, drop),
        }
    }

    /// Lists what went on without its record, all of it, if need be later.
    fn tell_unrecorded(&mut self) {
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

    /// Takes nothing new; ends once what is in flight has.
    fn shut_down(&mut self, now_ns: u64) {
        self.shutdown_at_ns.get_or_insert(now_ns + self.settings.shutdown_ns);
        self.set_draining(true);
    }

    fn set_draining(&mut self, draining: bool) {
        self.draining = draining || self.shutdown_at_ns.is_some();
        self.switch.set_draining(self.draining);
    }

    /// A connection past its handshake replaces the account's link, if it has one (C10).
    fn take_link(&mut self, new: NewLink) {
        if self.ending {
            return;
        }
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
            stall: None,
        });
        self.links.counters.links_up += 1;
        self.joints.board.set_up(new.account);
        self.tell(Event::Up(new.account));
        self.joints.nudge.send();
        let flags = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::ET;
        let link = self.links.get_mut(place).expect("it was just inserted");
        let data = epoll::EventData::new_u64(place as u64);
        match epoll::add(&self.epoll, &link.socket, data, flags) {
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
        let Some(link) = self.links.get_mut(place) else { return };
        if link.rx.readable {
            match link.rx.receive(&link.socket) {
                Ok(Received::Bytes) => (link.heard_ns, link.pinged) = (self.seen_ns, false),
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
        self.decide(now);
        for (place, buffers) in self.batch.take_lent() {
            let link = self.links.get_mut(place).expect("no link goes while its buffers are lent");
            link.rx.take_back(buffers);
        }
        self.take_records();
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

    /// Gives the kernel what links have to say. Links that are full are closed.
    pub(super) fn flush(&mut self, now: Now) {
        while let Some(place) = self.links.next_dirty() {
            let Some(link) = self.links.get_mut(place) else { continue };
            if link.tx.full {
                self.links.counters.links_full += 1;
                self.drop_link(now, place, Cause::Full);
                continue;
            }
            if link.tx.blocked {
                continue;
            }
            let connection = link.connection;
            match link.tx.flush(&link.socket) {
                Ok(done) => {
                    if done {
                        self.flushed(place);
                    }
                    // FULFILLs that a slow disk has let go at once come as there is room for them.
                    if self.switch.waits_for_room(connection) {
                        self.switch.room(connection, &mut self.links);
                    }
                }
                Err(error) => self.drop_link(now, place, Cause::Failed(error)),
            }
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

    fn has_ended(&mut self, now: Now) -> bool {
        let late = self.shutdown_at_ns.is_some_and(|at| now.mono_ns >= at);
        if !self.ending && late {
            self.let_go_of_all(now);
        }
        let in_flight = self.switch.in_flight();
        if !self.ending && (in_flight == 0 || late) {
            self.ending = true;
            self.shutdown_at_ns = Some(u64::MAX);
            if let Some(recorder) = &self.recorder {
                recorder.set_ending();
            }
            if in_flight > 0 {
                self.tell(Event::ShutdownCut { in_flight });
            }
            for place in self.links.occupied() {
                if self.links.get_mut(place).is_some_and(|link| link.state == State::Open) {
                    let text = "the switch is stopping";
                    let close = Some((close_code::GOING_AWAY, text));
                    self.close(now, place, Cause::Shutdown, close);
                }
            }
            self.flush(now);
        }
        self.ending && self.links.count() == 0 && self.has_told_all()
    }

    /// A record that found the journal's ring full waits in the core, and is taken before the end; so is
    /// the list of what went on unrecorded that found the log's queue full.
    fn has_told_all(&self) -> bool {
        self.switch.records_waiting() == 0 && self.unrecorded.is_empty()
    }

    /// FULFILLs that wait for their records wait no longer: withheld beyond the end, their money were
    /// lost for certain. They are counted and listed.
    fn let_go_of_all(&mut self, now: Now) {
        self.switch.set_journal(JournalState::Failed);
        while self.switch.next_deadline_ns() == Some(0) {
            self.switch.tick(now, &mut self.links);
        }
        self.flush(now);
        self.tell_unrecorded();
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
        for place in self.links.occupied() {
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
