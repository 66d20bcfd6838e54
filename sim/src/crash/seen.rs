//! How often everything that can happen did: a run in which something never occurred proves nothing
//! about it.

use std::fmt;

use m2_journal::{Op, names};

use super::calls::Running;

macro_rules! events {
    ($($event:ident $text:literal;)*) => {
        /// What has happened.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(crate) enum Event { $($event),* }

        const TEXTS: &[&str] = &[$($text),*];
    };
}

events! {
    ForwardHop "Forward taken by another shard";
    AnswerHop "fulfilled Answer taken by another shard";
    Fulfilled "FULFILL with a socket";
    Rejected "REJECT with a socket";
    Graced "FULFILL sent on without its record: time was nearly up";
    Unrecorded "FULFILL sent on without its record: the journal had failed";
    Undelivered "FULFILL for a connection that is gone";
    LateFulfill "late FULFILL kept as evidence";
    OldAnswer "answer to a packet of an earlier life";
    Loose "leg of a pair without a record";
    Cut "connection lost";
    NoRecord "no room for a record of money";
    KeyAgain "key told again";
    KeyForgotten "key told again that a crash had made forgotten";
    Frozen "amount frozen";
    FrozenDue "amount frozen as a threshold was reached";
    FrozenEnded "frozen amount settled or cancelled";
    LimitsChanged "limits changed";
    Committed "batches flushed";
    Prepared "segment prepared";
    Opened "segment begun";
    Marked "flushed position written";
    Snapshot "snapshot written";
    Retired "file of an earlier life, or snapshot, retired";
    RetiredSegment "segment retired: all snapshots are past it";
    CallFailed "call of the disk failed";
    NoRoom "segment not prepared: the disk is full";
    Failed "write or flush failed: the journal has failed";
    Lost "records given out that never will be durable";
    Slow "journal refuses packets";
    PowerCut "power cut";
    Killed "process killed";
    CutAtStart "power cut, or process killed, while it starts";
    MoreShards "restarted with more shards";
    FewerShards "restarted with fewer shards";
    TailCut "tail cut off, and saved aside";
    TailLost "records lost that were not durable";
    LegsApart "crash with a fulfilled Answer between two shards";
    AtRisk "async FULFILL with a socket, its record lost";
    PerhapsUndelivered "packet listed as perhaps undelivered";
    FromSnapshot "recovery compared with a replay from the base";
    RetoldAlone "one shard fed a recording of its inputs: the same bytes";
    Retold "several shards fed a recording of their inputs: the same bytes";
    Probed "power cut tried, and the process left alive";
    SnapshotLost "snapshot that cannot be read: another one, or the base, stands in for it";
    DamageFound "damage found";
    DamageHarmless "damage where nobody needs the byte";
    DamageAbove "damage above what anything says was flushed, and cut off";
}

/// Kinds of requests, for [`kind`].
pub(crate) const REQUEST_KINDS: usize = 6;

/// Which kind of request it is.
pub(crate) fn kind(op: &Op) -> usize {
    match op {
        Op::Commit { .. } => 0,
        Op::Prepare { .. } => 1,
        Op::Snapshot { .. } => 2,
        Op::Open { .. } => 3,
        Op::Mark { .. } => 4,
        _ => 5,
    }
}

fn retired(op: &Op, generation: u32) -> Event {
    let ours = format!("{}/stream-", names::folder(generation));
    match op {
        Op::Retire { from, .. } if from.starts_with(&ours) => Event::RetiredSegment,
        _ => Event::Retired,
    }
}

/// What a request is called in a trace.
pub(crate) fn name(op: &Op) -> String {
    match op {
        Op::Commit { segment, offset, bytes } => {
            format!("commit of {} bytes at {offset} of {}", bytes.len(), segment.path())
        }
        Op::Prepare { segment, .. } => format!("prepare {}", segment.path()),
        Op::Snapshot { name, .. } => format!("snapshot {}", name.path()),
        Op::Open { segment, .. } => format!("begin {}", segment.path()),
        Op::Mark { stream, .. } => format!("mark of stream {}", stream.0),
        other => format!("{other:?}"),
    }
}

/// What a run has seen.
#[derive(Clone, Debug)]
pub struct Seen {
    events: [u64; TEXTS.len()],
    /// Seeds, or points of the systematic run.
    pub runs: u64,
    /// Lives.
    pub lives: u64,
    /// Steps of all threads.
    pub steps: u64,
    /// Recoveries, each judged.
    pub recoveries: u64,
}

impl Default for Seen {
    fn default() -> Self {
        Self { events: [0; TEXTS.len()], runs: 0, lives: 0, steps: 0, recoveries: 0 }
    }
}

impl Seen {
    /// Of one run in which nothing has happened.
    pub(crate) fn of_one() -> Self {
        Self { runs: 1, ..Self::default() }
    }

    pub(crate) fn saw(&mut self, event: Event) {
        self.events[event as usize] += 1;
    }

    /// A request has ended.
    pub(crate) fn done(&mut self, running: &Running, generation: u32) {
        let is_ok = running.ended.is_some_and(|ended| ended.is_ok());
        match (kind(&running.op), is_ok) {
            (0, true) => self.saw(Event::Committed),
            (1, true) => self.saw(Event::Prepared),
            (1, false) => self.saw(Event::NoRoom),
            (2, true) => self.saw(Event::Snapshot),
            (3, true) => self.saw(Event::Opened),
            (4, true) => self.saw(Event::Marked),
            (5, true) => self.saw(retired(&running.op, generation)),
            (0 | 3 | 4, false) => self.saw(Event::Failed),
            _ => {}
        }
    }

    /// Adds what another part of the run has seen.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in self.events.iter_mut().zip(other.events) {
            *sum += count;
        }
        self.runs += other.runs;
        self.lives += other.lives;
        self.steps += other.steps;
        self.recoveries += other.recoveries;
    }

    /// Segments that all snapshots were past, and that went.
    #[must_use]
    pub fn retired_segments(&self) -> u64 {
        self.events[Event::RetiredSegment as usize]
    }

    /// What never occurred.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let never = TEXTS.iter().zip(self.events).filter(|(_, count)| *count == 0);
        never.map(|(text, _)| *text).collect()
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>12}  event", "times")?;
        for (text, count) in TEXTS.iter().zip(self.events) {
            writeln!(f, "{count:>12}  {text}")?;
        }
        Ok(())
    }
}
