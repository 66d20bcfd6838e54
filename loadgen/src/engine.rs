//! The run itself: one thread, both ends, one epoll.
//!
//! ```text
//!  +-> send what is due (64 at most) -> flush -> read each readable link once -> flush -+
//!  |                                                                                    |
//!  +-- sleep until the next packet is due, a socket wakes us, or the live line is due <-+
//! ```
//!
//! Open loop: a packet is due by the schedule, whatever became of those before it. When the
//! generator itself was held up, the packets that fell due are sent at once, and their latency
//! still counts from the time they should have left.
//!
//! Steady state allocates nothing: packets are built in buffers that are kept.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use m2_codec::btp::{self, Frame, FrameType};
use m2_codec::ilp::{put_prepare, rewrite_prepare};
use m2_codec::timestamp;
use rustix::event::{Timespec, epoll};

use crate::interrupt::Interrupt;
use crate::limits;
use crate::link::{Drain, Link, LinkError};
use crate::live::{Live, Moment};
use crate::payload::{Header, Proof};
use crate::receiver::{Receiver, Reply, Terms};
use crate::repeat::{Bodies, Body};
use crate::report::duration;
use crate::schedule::Schedule;
use crate::sender::{InFlight, Outcome, Sent};
use crate::tally::{Answered, Tally};
use crate::traffic::Plan;
use crate::workload::Workload;

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
    /// The ends, in the order of the workload.
    pub players: Vec<Player>,
    /// What was counted.
    pub tally: Tally,
    /// What is sent over and over, if the workload says so.
    bodies: Option<Bodies>,
    last_answer_ns: u64,
    last_sent_ns: u64,
    /// How long packets were sent: to the schedule's end, or to that of the run if it came first.
    pub sending_ns: u64,
    build: Build,
}

/// Buffers that packets are built in, and the clock's digits.
#[derive(Debug)]
struct Build {
    times: timestamp::Cache,
    data: Vec<u8>,
    packet: Vec<u8>,
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
        players: Vec<Player>,
        interrupt: Interrupt,
    ) -> io::Result<Self> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let interest = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::ET;
        for (index, player) in players.iter().enumerate() {
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
            players,
            tally: Tally::new(workload.flows.len()),
            last_answer_ns: 0,
            last_sent_ns: 0,
            sending_ns: 0,
            build: Build { times: timestamp::Cache::new(), data: Vec::new(), packet: Vec::new() },
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
            self.tally.turn_recent(now_ns);
            if now_ns >= live.next_ns() {
                live.show(&self.moment(now_ns));
            }
            let Some(wake_ns) = self.wake_ns(now_ns) else { break Ok(()) };
            let idle = !self.players.iter().any(|player| player.readable);
            let until_ns = if idle { wake_ns.min(live.next_ns()) } else { now_ns };
            self.sleep(&mut events, until_ns.saturating_sub(now_ns));
        };
        self.sending_ns = self.clock.now().ns.min(self.sending_until_ns());
        live.finish();
        match self.interrupted_ns {
            // Also where a link ended meanwhile: the target may have got the same signal.
            Some(at_ns) => Err(Cut::Interrupted { at_ns }),
            None => result,
        }
    }

    /// PREPAREs without an answer.
    #[must_use]
    pub fn unanswered(&self) -> u64 {
        self.players.iter().map(|player| player.in_flight.count() as u64).sum()
    }

    fn turn(&mut self) -> Result<(), LinkError> {
        self.send_due();
        self.flush()?;
        for index in 0..self.players.len() {
            if self.players[index].readable {
                self.receive(index)?;
            }
        }
        self.flush()
    }

    /// A signal came: what is out may still be answered, for a while.
    fn stop_sending(&mut self, live: &Live) {
        self.interrupted_ns = Some(self.clock.now().ns);
        let _ = self.schedule.stop();
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
        self.players.iter_mut().try_for_each(|player| player.link.flush())
    }

    /// When there is something to do again; `None` when the run is over.
    fn wake_ns(&self, now_ns: u64) -> Option<u64> {
        if let Some(due_ns) = self.schedule.due_ns() {
            return Some(due_ns);
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
        if now.ns > self.schedule.end_ns() + limits::SEND_GRACE_NS {
            self.tally.missed.too_late += self.schedule.stop();
        }
        for _ in 0..limits::SEND_BATCH_MAX {
            match self.schedule.due_ns() {
                Some(due_ns) if due_ns <= now.ns => self.send(due_ns, now),
                _ => return,
            }
        }
    }

    fn send(&mut self, due_ns: u64, now: Now) {
        let (workload, sequence) = (self.workload, self.schedule.sequence());
        self.schedule.advance();
        let body = self.bodies.as_ref().map(|bodies| bodies.at(sequence));
        let plan = body.map_or_else(|| workload.traffic.plan(sequence), |body| body.plan);
        let flow = &workload.flows[usize::from(plan.flow)];
        let player = &mut self.players[flow.from];
        if player.link.output.unsent() > limits::EGRESS_BYTES_MAX {
            self.tally.missed.link_full += 1;
            return;
        }
        if player.in_flight.is_full() {
            self.tally.missed.in_flight_full += 1;
            return;
        }
        let expires_at_ms = now.utc_ms + plan.expiry_ms;
        let (header, proof) = if let Some(body) = body {
            (body.header, self.build.again(body, expires_at_ms))
        } else {
            let destination = workload.destination(flow, plan.kind).as_bytes();
            self.build.prepare(&plan, expires_at_ms, destination, &self.terms)
        };
        let (scheduled_ns, sent_ns, condition) = (due_ns, now.ns, proof.condition);
        let sent = Sent { header, scheduled_ns, sent_ns, expires_at_ms, condition };
        let request_id = player.in_flight.insert(sent);
        let packet = &self.build.packet;
        player.link.output.send(FrameType::Message, request_id, packet.len(), |bytes| {
            bytes.extend_from_slice(packet);
        });
        self.tally.sent(&sent);
        self.last_sent_ns = now.ns;
    }

    fn receive(&mut self, index: usize) -> Result<(), LinkError> {
        let while_sending_ns = self.sending_until_ns();
        let player = &mut self.players[index];
        player.readable = player.link.receive()? == Drain::More;
        let now = self.clock.now();
        let mut read = Reading {
            workload: self.workload,
            terms: &self.terms,
            while_sending: now.ns < while_sending_ns,
            now,
            tally: &mut self.tally,
            build: &mut self.build,
            answers: 0,
        };
        let outcome = read.frames(player);
        if read.answers > 0 {
            self.last_answer_ns = now.ns;
        }
        outcome.map_err(|reason| self.players[index].link.nonsense(&reason))
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
            let player = &mut self.players[index];
            let ends = epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
            player.readable |= flags.intersects(epoll::EventFlags::IN | ends);
            player.link.output.writable |= flags.intersects(epoll::EventFlags::OUT | ends);
        }
    }

    fn moment(&self, now_ns: u64) -> Moment {
        let recent = self.tally.recent();
        let latency = |quantile| (!recent.is_empty()).then(|| recent.value_at_quantile(quantile));
        Moment {
            elapsed_ns: now_ns,
            sent: self.tally.sent,
            fulfilled: self.tally.fulfilled,
            rejected: self.tally.rejected,
            in_flight: self.unanswered(),
            missed: self.tally.missed.total(),
            p50_ns: latency(0.5),
            p99_ns: latency(0.99),
        }
    }
}

impl Build {
    /// Builds a PREPARE in the packet buffer.
    fn prepare(
        &mut self,
        plan: &Plan,
        expires_at_ms: u64,
        destination: &[u8],
        terms: &Terms,
    ) -> (Header, Proof) {
        let Plan { kind, flow, sequence, amount, .. } = *plan;
        let header = Header { kind, flow, run: terms.run, sequence, amount, expires_at_ms };
        self.data.clear();
        terms.filling.put_data(&mut self.data, &header, plan.data_len);
        let proof = terms.fulfiller.proof(&self.data);
        let expires_at = self.times.write(expires_at_ms);
        self.packet.clear();
        let (packet, data) = (&mut self.packet, &self.data);
        put_prepare(packet, amount, &expires_at, &proof.condition, destination, data);
        (header, proof)
    }

    /// Copies a PREPARE to the packet buffer and gives it another expiry.
    fn again(&mut self, body: &Body, expires_at_ms: u64) -> Proof {
        self.packet.clear();
        self.packet.extend_from_slice(&body.packet);
        let expires_at = self.times.write(expires_at_ms);
        rewrite_prepare(&mut self.packet, body.plan.amount, &expires_at);
        body.proof
    }
}

/// What reading the frames of one link needs.
struct Reading<'a> {
    workload: &'a Workload,
    terms: &'a Terms,
    now: Now,
    while_sending: bool,
    tally: &'a mut Tally,
    build: &'a mut Build,
    answers: u64,
}

impl Reading<'_> {
    fn frames(&mut self, player: &mut Player) -> Result<(), crate::link::Nonsense> {
        let Player { link, in_flight, receiver, .. } = player;
        while let Some(bytes) = link.input.next(&mut link.output)? {
            let Ok(frame) = Frame::new_checked(bytes) else {
                self.tally.strays.unreadable += 1;
                continue;
            };
            let request_id = frame.request_id();
            match frame.frame_type() {
                FrameType::Message => self.request(&frame, receiver, &mut link.output),
                FrameType::Response => self.answer(in_flight, request_id, frame.ilp(), false),
                FrameType::Error => self.answer(in_flight, request_id, None, true),
                FrameType::Transfer => {
                    let mut error = Vec::new();
                    let (code, name) = (btp::NOT_ACCEPTED, "NotAcceptedError");
                    let utc_ms = self.now.utc_ms;
                    btp::put_error(&mut error, request_id, code, name, utc_ms, b"", &[]);
                    link.output.send_frame(&error);
                }
            }
        }
        Ok(())
    }

    fn request(
        &mut self,
        frame: &Frame<'_>,
        receiver: &mut Receiver,
        output: &mut crate::link::Output,
    ) {
        let Some(packet) = frame.ilp() else {
            // Every MESSAGE gets an answer, also one of a sub-protocol that we do not know.
            let mut response = Vec::new();
            btp::put_response(&mut response, frame.request_id(), &[]);
            output.send_frame(&response);
            return;
        };
        let Build { times, packet: answer, .. } = &mut *self.build;
        answer.clear();
        match receiver.receive(packet, self.now.utc_ms, self.terms, times, answer) {
            Reply::Answer => {
                output.send(FrameType::Response, frame.request_id(), answer.len(), |out| {
                    out.extend_from_slice(answer);
                })
            }
            Reply::Silence => {}
        }
    }

    fn answer(
        &mut self,
        in_flight: &mut InFlight,
        request_id: u32,
        packet: Option<&[u8]>,
        is_error: bool,
    ) {
        let sent = match in_flight.take(request_id) {
            Ok(sent) => sent,
            Err(stray) => return self.tally.stray(stray),
        };
        self.answers += 1;
        let flow = &self.workload.flows[usize::from(sent.header.flow)];
        let outcome = match packet {
            None if is_error => Outcome::BtpError,
            None => Outcome::NoPacket,
            Some(packet) => {
                let destination = self.workload.destination(flow, sent.header.kind);
                Outcome::of_packet(packet, &sent, destination.as_bytes())
            }
        };
        let owed = flow.converted(sent.header.amount).expect("the workload was checked for that");
        let Now { ns: now_ns, utc_ms } = self.now;
        let at = Answered { now_ns, utc_ms, while_sending: self.while_sending };
        self.tally.answered(&sent, outcome, owed, at);
    }
}

/// One reading of the clock.
#[derive(Clone, Copy, Debug)]
struct Now {
    /// Nanoseconds since the start.
    ns: u64,
    /// Milliseconds since 1970.
    utc_ms: u64,
}

/// Both clocks from one reading: a step of the wall clock during a run changes no packet.
#[derive(Debug)]
struct Clock {
    start: Instant,
    start_utc_ns: u128,
}

impl Clock {
    fn start() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), start_utc_ns: since_1970.as_nanos() }
    }

    fn now(&self) -> Now {
        let elapsed_ns = self.start.elapsed().as_nanos();
        Now {
            ns: u64::try_from(elapsed_ns).expect("a run lasts less than 584 years"),
            utc_ms: u64::try_from((self.start_utc_ns + elapsed_ns) / 1_000_000)
                .expect("milliseconds of this age of the world"),
        }
    }
}
