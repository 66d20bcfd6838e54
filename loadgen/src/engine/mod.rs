//! The run itself: one thread, both ends, one epoll.
//!
//! ```text
//!  +-> send what is due (256 at most) -> flush -> read each readable link once -> flush -+
//!  |                                                                                    |
//!  +-- sleep until the next packet is due, a socket wakes us, or the live line is due <-+
//! ```
//!
//! Open loop: a packet is due by the schedule, whatever became of those before it. When the
//! generator itself was held up, the packets that fell due are sent at once, and their latency
//! still counts from the time they should have left.
//!
//! Closed loop (`--window`): a packet is due when an earlier one was answered.
//!
//! Steady state allocates nothing: packets are built in the buffers that they leave from.

mod build;
mod clock;
mod reading;
mod serving;

use std::fmt;
use std::io;
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;

use rustix::event::{Timespec, epoll};

use crate::interrupt::Interrupt;
use crate::limits;
use crate::link::{Drain, Link, LinkError};
use crate::live::{Live, Moment};
use crate::receiver::{Receiver, Terms};
use crate::repeat::Bodies;
use crate::report::{Missed, duration};
use crate::schedule::Schedule;
use crate::sender::InFlight;
use crate::tally::Tally;
use crate::workload::Workload;
use build::Build;
use clock::{Clock, Now};
use reading::Reading;

/// What decides when a PREPARE is sent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Pace {
    /// The schedule, whatever became of earlier packets.
    #[default]
    Open,
    /// Answers: so many PREPAREs are in flight at any time, over all ends together, until the
    /// schedule's end.
    Closed(NonZeroU32),
    /// Nothing is sent; PREPAREs of others are answered until a link ends.
    Answering,
}

/// How a run is driven.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Drive {
    /// When PREPAREs are sent.
    pub pace: Pace,
    /// Whether to look for work again at once when there is none, rather than to sleep until there
    /// is: wakes up at no cost, and takes a core for itself.
    pub spin: bool,
}

/// One end, connected.
#[derive(Debug)]
pub struct Player {
    /// Its connection.
    pub link: Link,
    /// Its PREPAREs without an answer.
    pub in_flight: InFlight,
    /// Its receiving side.
    pub receiver: Receiver,
    readable: bool,
}

impl Player {
    /// Whether there may be something to read, and room for the answers to it. Who sends and does not
    /// read gets no more of our memory than [`limits::EGRESS_BYTES_MAX`] and one buffer's answers.
    fn reads(&self) -> bool {
        self.readable && self.link.output.unsent() <= limits::EGRESS_BYTES_MAX
    }

    /// An end at rest.
    #[must_use]
    pub fn new(link: Link, in_flight: InFlight, receiver: Receiver) -> Self {
        Self { link, in_flight, receiver, readable: true }
    }
}

/// Why a run ended before its time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Cut {
    /// A link ended.
    Link(LinkError),
    /// A signal asked for it, this long after the start.
    Interrupted {
        /// In nanoseconds.
        at_ns: u64,
    },
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(error) => error.fmt(f),
            Self::Interrupted { at_ns } => write!(
                f,
                "interrupted by a signal {} after the start; nothing was sent from then on",
                duration(*at_ns)
            ),
        }
    }
}

impl From<LinkError> for Cut {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

/// The descriptor among those of the links that a signal makes readable.
const INTERRUPT: u64 = u64::MAX;

/// Everything that a run changes.
#[derive(Debug)]
pub struct Engine<'a> {
    workload: &'a Workload,
    schedule: Schedule,
    terms: Terms,
    clock: Clock,
    poll: OwnedFd,
    interrupt: Interrupt,
    /// When a signal came, if one did.
    interrupted_ns: Option<u64>,
    drive: Drive,
    /// The ends, in the order of the workload; `None` for those that another process plays.
    pub players: Vec<Option<Player>>,
    /// What was counted.
    pub tally: Tally,
    /// What is sent over and over, if the workload says so.
    bodies: Option<Bodies>,
    last_answer_ns: u64,
    last_sent_ns: u64,
    /// PREPAREs that were not due yet when the run was cut.
    pub not_due: u64,
    /// How long packets were sent: to the schedule's end, or to that of the run if it came first.
    pub sending_ns: u64,
    build: Build,
    scratch: Vec<u8>,
}

impl<'a> Engine<'a> {
    /// A run that has not begun.
    ///
    /// # Errors
    ///
    /// When the kernel gives no epoll.
    pub fn new(
        workload: &'a Workload,
        terms: Terms,
        players: Vec<Option<Player>>,
        interrupt: Interrupt,
        drive: Drive,
    ) -> io::Result<Self> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let interest = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::ET;
        for (index, player) in players.iter().enumerate() {
            let Some(player) = player else { continue };
            epoll::add(&poll, &player.link, epoll::EventData::new_u64(index as u64), interest)?;
        }
        let readable = epoll::EventFlags::IN;
        epoll::add(&poll, &interrupt, epoll::EventData::new_u64(INTERRUPT), readable)?;
        Ok(Self {
            workload,
            schedule: workload.schedule(),
            bodies: Bodies::new(workload, &terms),
            terms,
            clock: Clock::start(),
            poll,
            interrupt,
            interrupted_ns: None,
            drive,
            players,
            tally: Tally::new(workload.flows.len()),
            last_answer_ns: 0,
            last_sent_ns: 0,
            not_due: 0,
            sending_ns: 0,
            build: Build::new(),
            scratch: Vec::new(),
        })
    }

    /// Sends, receives and counts until every packet has its answer or none can come any more.
    ///
    /// # Errors
    ///
    /// When a link ends or a signal comes before that. What was counted until then stays.
    pub fn run(&mut self, live: &mut Live) -> Result<(), Cut> {
        self.clock = Clock::start();
        let mut events = Vec::with_capacity((self.players.len() + 1).max(16));
        let result = loop {
            if self.interrupted_ns.is_none() && self.interrupt.seen() {
                self.stop_sending(live);
            }
            if let Err(error) = self.turn() {
                break Err(error.into());
            }
            let now_ns = self.clock.now().ns;
            if self.tally.turn_second(now_ns) {
                live.second(self.tally.second());
            }
            if now_ns >= live.next_ns() {
                live.show(&self.moment(now_ns));
            }
            let Some(wake_ns) = self.wake_ns(now_ns) else { break Ok(()) };
            let idle = !self.drive.spin && !self.players.iter().flatten().any(Player::reads);
            let until_ns = if idle { wake_ns.min(live.next_ns()) } else { now_ns };
            let sleep_ns = until_ns.saturating_sub(now_ns).min(limits::SLEEP_NS_MAX);
            self.tally.looked(now_ns, sleep_ns);
            self.sleep(&mut events, sleep_ns);
        };
        let end_ns = self.clock.now().ns;
        // Nothing, but where a link ended.
        self.not_due += self.schedule.cut(end_ns);
        self.tally.finish(end_ns);
        live.second(self.tally.second());
        self.sending_ns = end_ns.min(self.sending_until_ns());
        live.finish();
        match self.interrupted_ns {
            // Also where a link ended meanwhile: the target may have got the same signal.
            Some(at_ns) => Err(Cut::Interrupted { at_ns }),
            None => result,
        }
    }

    /// How it is driven.
    #[must_use]
    pub fn drive(&self) -> Drive {
        self.drive
    }

    /// PREPAREs without an answer.
    #[must_use]
    pub fn unanswered(&self) -> u64 {
        self.players.iter().flatten().map(|player| player.in_flight.count() as u64).sum()
    }

    fn turn(&mut self) -> Result<(), LinkError> {
        self.send_due();
        self.flush()?;
        for index in 0..self.players.len() {
            if self.players[index].as_ref().is_some_and(Player::reads) {
                self.receive(index)?;
            }
        }
        self.flush()
    }

    /// A signal came: what is out may still be answered, for a while.
    fn stop_sending(&mut self, live: &Live) {
        let now_ns = self.clock.now().ns;
        self.interrupted_ns = Some(now_ns);
        self.not_due += self.schedule.cut(now_ns);
        // It stays readable, and would wake us for as long as we wait.
        let _ = epoll::delete(&self.poll, &self.interrupt);
        let wait_s = limits::INTERRUPTED_WAIT_NS / 1_000_000_000;
        live.note(&format!(
            "interrupted; waiting {wait_s} s at most for answers, a second signal ends at once"
        ));
    }

    /// When sending ends, or ended.
    fn sending_until_ns(&self) -> u64 {
        self.interrupted_ns.unwrap_or(u64::MAX).min(self.schedule.end_ns())
    }

    fn flush(&mut self) -> Result<(), LinkError> {
        self.players.iter_mut().flatten().try_for_each(|player| player.link.flush())
    }

    /// When there is something to do again; `None` when the run is over.
    fn wake_ns(&self, now_ns: u64) -> Option<u64> {
        let sending = now_ns < self.sending_until_ns();
        match self.drive.pace {
            Pace::Open if let Some(due_ns) = self.schedule.due_ns() => return Some(due_ns),
            Pace::Closed(window) if sending => {
                let full = self.unanswered() >= u64::from(window.get());
                return Some(if full { self.schedule.end_ns() } else { now_ns });
            }
            Pace::Answering if self.interrupted_ns.is_none() => return Some(u64::MAX),
            _ => {}
        }
        let end_ns = if self.unanswered() > 0 {
            let expiry_ns = self.workload.expiry_ms_max() * 1_000_000;
            self.last_sent_ns + expiry_ns + limits::ANSWER_MARGIN_NS
        } else {
            self.last_answer_ns + limits::LINGER_NS
        };
        let end_ns = match self.interrupted_ns {
            Some(at_ns) => end_ns.min(at_ns + limits::INTERRUPTED_WAIT_NS),
            None => end_ns,
        };
        (now_ns < end_ns).then_some(end_ns)
    }

    fn send_due(&mut self) {
        let now = self.clock.now();
        match self.drive.pace {
            Pace::Open => self.send_scheduled(now),
            Pace::Closed(window) => self.send_answered(u64::from(window.get()), now),
            Pace::Answering => {}
        }
    }

    fn send_scheduled(&mut self, now: Now) {
        if now.ns > self.schedule.end_ns() + limits::SEND_GRACE_NS {
            self.tally.missed.too_late += self.schedule.stop();
        }
        for _ in 0..limits::SEND_BATCH_MAX {
            match self.schedule.due_ns() {
                Some(due_ns) if due_ns <= now.ns => {
                    let sequence = self.schedule.sequence();
                    self.schedule.advance();
                    if let Err(why) = self.send(sequence, due_ns, now) {
                        *why.count(&mut self.tally.missed) += 1;
                    }
                }
                _ => return,
            }
        }
    }

    /// One PREPARE for each that was answered, but for those that there is no room for yet.
    fn send_answered(&mut self, window: u64, now: Now) {
        if now.ns >= self.sending_until_ns() {
            return;
        }
        let room = window.saturating_sub(self.unanswered());
        for _ in 0..room.min(limits::SEND_BATCH_MAX) {
            if self.send(self.tally.sent, now.ns, now).is_err() {
                return;
            }
        }
    }

    #[inline]
    fn send(&mut self, sequence: u64, due_ns: u64, now: Now) -> Result<(), Unsent> {
        let workload = self.workload;
        let body = self.bodies.as_ref().map(|bodies| bodies.at(sequence));
        let plan = body.map_or_else(|| workload.traffic.plan(sequence), |body| body.plan);
        let flow = &workload.flows[usize::from(plan.flow)];
        let Player { link, in_flight, .. } =
            self.players[flow.from].as_mut().expect("who sends is played here");
        if link.output.unsent() > limits::EGRESS_BYTES_MAX {
            return Err(Unsent::LinkFull);
        }
        if in_flight.is_full() {
            return Err(Unsent::InFlightFull);
        }
        let expires_at_ms = now.utc_ms + plan.expiry_ms;
        let (request_id, sent) = in_flight.begin();
        (sent.scheduled_ns, sent.sent_ns, sent.expires_at_ms) = (due_ns, now.ns, expires_at_ms);
        let (build, output) = (&mut self.build, &mut link.output);
        if let Some(body) = body {
            (sent.header, sent.fulfillment) = (body.header, body.proof.fulfillment);
            build.put_again(output, request_id, body, expires_at_ms);
        } else {
            let destination = workload.destination(&plan);
            let header = plan.header(self.terms.run, expires_at_ms);
            sent.header = header;
            let made = (&header, plan.data_len);
            sent.fulfillment = build.put(output, request_id, made, destination, &self.terms);
        }
        self.tally.sent(plan.kind, now.ns - due_ns);
        self.last_sent_ns = now.ns;
        Ok(())
    }

    fn receive(&mut self, index: usize) -> Result<(), LinkError> {
        let while_sending_ns = self.sending_until_ns();
        let player = self.players[index].as_mut().expect("who reads is played here");
        player.readable = player.link.receive()? == Drain::More;
        let now = self.clock.now();
        let mut read = Reading {
            workload: self.workload,
            terms: &self.terms,
            while_sending: now.ns < while_sending_ns,
            now,
            tally: &mut self.tally,
            times: &mut self.build.times,
            scratch: &mut self.scratch,
            answers: 0,
        };
        let outcome = read.frames(player);
        if read.answers > 0 {
            self.last_answer_ns = now.ns;
        }
        outcome.map_err(|reason| player.link.nonsense(&reason))
    }

    fn sleep(&mut self, events: &mut Vec<epoll::Event>, ns: u64) {
        let timeout = Timespec {
            tv_sec: i64::try_from(ns / 1_000_000_000).expect("at most 2^64 ns"),
            tv_nsec: i64::try_from(ns % 1_000_000_000).expect("less than a second"),
        };
        events.clear();
        // An interrupted wait is one that woke up early; the turn that follows finds out.
        let _ = epoll::wait(&self.poll, rustix::buffer::spare_capacity(events), Some(&timeout));
        for event in events.iter() {
            let (flags, data) = (event.flags, event.data);
            if data.u64() == INTERRUPT {
                continue;
            }
            let index = usize::try_from(data.u64()).expect("an index that was registered");
            let player = self.players[index].as_mut().expect("who is waited for is played here");
            let ends = epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
            player.readable |= flags.intersects(epoll::EventFlags::IN | ends);
            player.link.output.writable |= flags.intersects(epoll::EventFlags::OUT | ends);
        }
    }

    fn moment(&self, now_ns: u64) -> Moment {
        let due_ns = match self.drive.pace {
            Pace::Open => self.schedule.due_ns(),
            Pace::Closed(_) | Pace::Answering => None,
        };
        Moment {
            elapsed_ns: now_ns,
            planned_ns: self.schedule.end_ns(),
            behind_ns: due_ns.map_or(0, |due_ns| now_ns.saturating_sub(due_ns)),
            in_flight: self.unanswered(),
            ..Moment::of(&self.tally)
        }
    }
}

/// Why a PREPARE was not sent when it was its turn.
#[derive(Clone, Copy, Debug)]
enum Unsent {
    LinkFull,
    InFlightFull,
}

impl Unsent {
    fn count(self, missed: &mut Missed) -> &mut u64 {
        match self {
            Self::LinkFull => &mut missed.link_full,
            Self::InFlightFull => &mut missed.in_flight_full,
        }
    }
}
