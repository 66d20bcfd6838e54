//! How several shards end together: none while another may still send it a Forward or an Answer.
//!
//! ```text
//!   running --> settled --------------> closing links --> silent --------------> over
//!               nothing of its own      (all are settled)  nothing more leaves   (all are silent)
//!               in flight, or late                         it for another shard
//! ```
//!
//! A shard that is told to end takes no new PREPARE, so no Forward leaves it any more. Once nothing that
//! its accounts sent is in flight it is **settled**; when all are, no packet is anywhere, be it in a
//! slot, a ring, or withheld. Where `shutdown_ms` is up a shard is settled with what it has: then
//! Forwards and Answers may still lie in rings, and links that close make Answers. So a shard is
//! **silent** only when its links are gone, its rings of Forwards are empty, and its Answers are
//! published; and it ends when all are silent and it has taken their last.
//!
//! Invariant: a shard's stage never falls, and is stored after everything that it has published.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use m2_codec::ws::close_code;
use m2_core::{JournalState, Now};

use super::links::State;
use super::message::{Cause, Event};
use super::run::Shard;
use super::wake::wake;

/// See the head of the file.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub(super) enum Stage {
    Running = 0,
    Settled = 1,
    Silent = 2,
}

/// How far each shard is, in words that all see.
#[derive(Debug)]
pub(crate) struct Endings {
    stages: Vec<AtomicU8>,
    wakes: Vec<Arc<OwnedFd>>,
}

impl Endings {
    /// Of shards that run. `wakes` are their eventfds, in their order.
    pub(crate) fn new(wakes: Vec<Arc<OwnedFd>>) -> Self {
        let stages = wakes.iter().map(|_| AtomicU8::new(Stage::Running as u8)).collect();
        Self { stages, wakes }
    }

    /// A shard has come further; the others look at that, also those that sleep.
    fn set(&self, shard: usize, stage: Stage) {
        let before = self.stages[shard].swap(stage as u8, Ordering::Release);
        assert!(before <= stage as u8, "no shard comes back from its end");
        let others = self.wakes.iter().enumerate().filter(|(other, _)| *other != shard);
        others.for_each(|(_, other)| wake(other));
    }

    /// Whether every shard is at least so far.
    fn all(&self, stage: Stage) -> bool {
        self.stages.iter().all(|other| other.load(Ordering::Acquire) >= stage as u8)
    }
}

impl Shard {
    /// Takes nothing new; ends once what is in flight has.
    pub(super) fn shut_down(&mut self, now_ns: u64) {
        self.shutdown_at_ns.get_or_insert(now_ns + self.settings.shutdown_ns);
        self.set_draining(true);
    }

    /// Goes on towards the end. `true` when it is there.
    pub(super) fn has_ended(&mut self, now: Now) -> bool {
        let late = self.shutdown_at_ns.is_some_and(|at| now.mono_ns >= at);
        if late {
            self.let_go_of_all(now);
            self.shutdown_at_ns = Some(u64::MAX);
        }
        if self.stage == Stage::Running && (late || self.switch.in_flight() == 0) {
            self.enter(Stage::Settled);
        }
        if self.stage == Stage::Settled && !self.ending && self.joints.endings.all(Stage::Settled) {
            self.close_all(now);
        }
        if self.ending && self.stage == Stage::Settled && self.is_silent() {
            self.enter(Stage::Silent);
        }
        // Looked at first: what was published before is taken after it.
        let all_silent = self.joints.endings.all(Stage::Silent);
        all_silent && self.arrivals.is_empty() && self.has_told_all()
    }

    /// Everything that the others are to see before is published.
    fn enter(&mut self, stage: Stage) {
        self.publish_crossing();
        self.stage = stage;
        self.joints.endings.set(usize::from(self.joints.shard.0), stage);
    }

    /// Nothing can leave this shard any more, neither to a peer nor to another shard.
    fn is_silent(&mut self) -> bool {
        self.links.count() == 0
            && self.has_told_all()
            && self.arrivals.is_empty()
            && !self.links.ways.keeps_answers()
    }

    /// Begins the end of every link.
    fn close_all(&mut self, now: Now) {
        self.ending = true;
        self.shutdown_at_ns = Some(u64::MAX);
        if let Some(recorder) = &self.recorder {
            recorder.set_ending();
        }
        let in_flight = self.switch.in_flight();
        if in_flight > 0 {
            self.tell(Event::ShutdownCut { in_flight });
        }
        for place in self.links.places() {
            if self.links.get_mut(place).is_some_and(|link| link.state == State::Open) {
                let text = "the switch is stopping";
                let close = Some((close_code::GOING_AWAY, text));
                self.close(now, place, Cause::Shutdown, close);
            }
        }
        self.flush(now);
    }

    /// A record that found the journal's ring full waits in the core, and is taken before the end; so is
    /// the list of what went on unrecorded that found the log's queue full.
    pub(super) fn has_told_all(&self) -> bool {
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
}
