//! What lies between a FULFILL and its sender: the record that must be durable first.
//!
//! ```text
//!   Answer with position p of stream s          durable(s) > p
//!     |                                               |
//!     +-- durable already ------------------> given   |
//!     +-- async, little at risk ------------> given --+--> recorded
//!     +-- sync, or much at risk --> withheld ---------+--> given
//!                                     |
//!                                     +-- grace moment, or the journal failed --> given, unrecorded
//! ```
//!
//! One queue for each stream, in the order of positions, of what this shard's accounts have been
//! fulfilled and is not durable. The bytes of what is withheld lie in one buffer for each stream. Grace
//! moments are kept as the expiries of slots are, as lower bounds over blocks: nearly everything is
//! durable long before.
//!
//! Invariants: positions of a queue rise; `waiting_from` is the first entry that is withheld;
//! `withheld` counts all that are, here and in the accounts' backlogs.

use std::collections::VecDeque;

use crate::account::Durability;
use crate::bytes::{Bytes, Span};
use crate::deadlines::Deadlines;
use crate::ids::{ConnectionId, ShardId};
use crate::limits::RECORD_LEN;
use crate::message::Recorded;

/// What can be expected of the journal.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum JournalState {
    /// It writes.
    #[default]
    Ready,
    /// It is full or slow: no new PREPARE of an account that wants records is taken (T03).
    Refusing,
    /// Nothing will be durable any more: as `Refusing`, and no FULFILL waits.
    Failed,
}

/// The incoming leg of a fulfilled pair, by the place of its record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LegIn {
    pub(crate) stream: ShardId,
    pub(crate) position: u64,
    /// Where the PREPARE came from, and where alone its FULFILL goes.
    pub(crate) connection: ConnectionId,
    pub(crate) request_id: u32,
    pub(crate) amount: u64,
}

/// What becomes of a FULFILL when its `Answer` has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Passage {
    /// Given: its record is durable.
    Durable,
    /// Given before its record is durable, within what its account puts at risk.
    AtRisk,
    /// Given without its record: its time is nearly up.
    Graced,
    /// Given without its record: it will never be durable.
    Unrecorded,
    /// Kept until its record is durable.
    Withheld,
}

#[derive(Debug)]
pub(crate) struct Gate {
    streams: Vec<Stream>,
    journal: JournalState,
    async_ns: u64,
    async_bytes: u64,
    /// FULFILLs that wait, here or in a backlog.
    pub(crate) withheld: u32,
    /// Those in a backlog.
    pub(crate) backlogged: u32,
    /// Their bytes.
    pub(crate) withheld_bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Stream {
    /// All records below are durable.
    durable: u64,
    entries: VecDeque<Entry>,
    /// Entries taken off the front so far: the number of the first.
    first: u64,
    /// The number of the first entry that is withheld, or of the next to come.
    waiting_from: u64,
    bytes: Bytes,
    /// Of entries that are withheld, by their number modulo `places`.
    deadlines: Deadlines,
    places: u64,
}

#[derive(Debug)]
struct Entry {
    leg: LegIn,
    /// When it came, on the monotonic clock.
    since_ns: u64,
    grace_ns: u64,
    /// The FULFILL, while it is withheld.
    fulfill: Option<Span>,
}

/// Fewest entries that a queue has room for.
const PLACES_MIN: u64 = 64;

impl Gate {
    pub(crate) fn new(
        stream_count: usize,
        async_ms: u32,
        async_bytes: u64,
        bytes_max: usize,
    ) -> Self {
        Self {
            streams: (0..stream_count).map(|_| Stream::new()).collect(),
            journal: JournalState::Ready,
            async_ns: u64::from(async_ms) * 1_000_000,
            async_bytes,
            withheld: 0,
            backlogged: 0,
            withheld_bytes: 0,
            bytes_max,
        }
    }

    /// Whether a PREPARE may be taken whose FULFILL would wait.
    pub(crate) fn admits(&self) -> bool {
        self.journal == JournalState::Ready && self.withheld_bytes < self.bytes_max
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.journal == JournalState::Failed
    }

    /// What has failed stays so.
    pub(crate) fn set_journal(&mut self, state: JournalState) {
        if !self.has_failed() {
            self.journal = state;
        }
    }

    /// Notes that all records of a stream below `position` are durable; `false` if that is no news.
    pub(crate) fn advance(&mut self, stream: ShardId, position: u64) -> bool {
        let has_failed = self.has_failed();
        // A stream that nobody has an account of is none of ours.
        let Some(stream) = self.streams.get_mut(stream.index()) else { return false };
        let is_news = position > stream.durable && !has_failed;
        if is_news {
            stream.durable = position;
        }
        is_news
    }

    /// What becomes of a FULFILL whose record has this place.
    pub(crate) fn judge(
        &self,
        now_ns: u64,
        durability: Durability,
        stream: ShardId,
        recorded: Recorded,
    ) -> Passage {
        let Recorded { position, grace_ns } = recorded;
        let stream = &self.streams[stream.index()];
        if position < stream.durable {
            Passage::Durable
        } else if self.has_failed() {
            Passage::Unrecorded
        } else if durability == Durability::Async && self.may_risk(stream, now_ns, position) {
            Passage::AtRisk
        } else if now_ns >= grace_ns {
            Passage::Graced
        } else {
            Passage::Withheld
        }
    }

    /// Whether what is not durable of a stream up to this record is within both bounds.
    fn may_risk(&self, stream: &Stream, now_ns: u64, position: u64) -> bool {
        let record_count = position + 1 - stream.durable;
        let oldest = stream.entries.front();
        record_count.saturating_mul(RECORD_LEN) <= self.async_bytes
            && oldest.is_none_or(|oldest| now_ns < oldest.since_ns.saturating_add(self.async_ns))
    }

    /// Keeps a leg that is not durable; its FULFILL was given, or has nobody to go to.
    pub(crate) fn note(&mut self, now_ns: u64, leg: LegIn) {
        let stream = &mut self.streams[leg.stream.index()];
        let is_all_given = stream.waiting_from == stream.next();
        stream.push(Entry { leg, since_ns: now_ns, grace_ns: u64::MAX, fulfill: None });
        if is_all_given {
            stream.waiting_from = stream.next();
        }
    }

    /// Keeps a leg that is not durable, and its FULFILL.
    pub(crate) fn withhold(&mut self, now_ns: u64, leg: LegIn, grace_ns: u64, packet: &[u8]) {
        let stream = &mut self.streams[leg.stream.index()];
        let fulfill = Some(stream.bytes.push(packet));
        let number = stream.next();
        stream.push(Entry { leg, since_ns: now_ns, grace_ns, fulfill });
        let place = stream.place(number);
        stream.deadlines.note(place, grace_ns);
        self.withheld += 1;
        self.withheld_bytes += packet.len();
    }

    /// Takes out the first leg of a stream that is durable, with its FULFILL if it was withheld.
    pub(crate) fn take_durable(&mut self, stream: ShardId) -> Option<(LegIn, Option<Span>)> {
        let stream = &mut self.streams[stream.index()];
        let is_durable = stream.entries.front()?.leg.position < stream.durable;
        if is_durable { stream.pop() } else { None }
    }

    /// Takes out the first leg of all, durable or not.
    pub(crate) fn take_any(&mut self) -> Option<(LegIn, Option<Span>)> {
        self.streams.iter_mut().find_map(Stream::pop)
    }

    /// A FULFILL whose grace moment has come; its leg stays, as it is not durable. `from` tells the
    /// stream and the place to go on at.
    pub(crate) fn take_due(
        &mut self,
        from: &mut (usize, u32),
        now_ns: u64,
    ) -> Option<(LegIn, Span)> {
        while let Some(stream) = self.streams.get_mut(from.0) {
            if stream.deadlines.bound_ns() <= now_ns
                && let Some(place) = stream.find_due(from.1, now_ns)
            {
                from.1 = place;
                return Some(stream.give(place));
            }
            *from = (from.0 + 1, 0);
        }
        None
    }

    /// The bytes of a FULFILL that was taken out, until the next is kept.
    pub(crate) fn bytes(&self, stream: ShardId, fulfill: Span) -> &[u8] {
        self.streams[stream.index()].bytes.get(fulfill)
    }

    /// A FULFILL of so many bytes has been given, or has nobody to go to.
    pub(crate) fn count_given(&mut self, len: usize) {
        assert!(self.withheld > 0, "a FULFILL waits until it is given");
        self.withheld -= 1;
        self.withheld_bytes -= len;
    }

    /// No FULFILL is due before this.
    pub(crate) fn next_deadline_ns(&self) -> Option<u64> {
        if self.withheld == 0 {
            return None;
        }
        if self.has_failed() {
            // Whatever is here goes at once.
            return self.streams.iter().any(|stream| !stream.entries.is_empty()).then_some(0);
        }
        let bounds = self.streams.iter().map(|stream| stream.deadlines.bound_ns());
        bounds.min().filter(|bound_ns| *bound_ns < u64::MAX)
    }

    /// The position of the first FULFILL of a stream that is withheld.
    pub(crate) fn waiting_from(&self, stream: usize) -> Option<u64> {
        let stream = &self.streams[stream];
        let index = usize::try_from(stream.waiting_from - stream.first).expect("an index");
        Some(stream.entries.get(index)?.leg.position)
    }
}

impl Stream {
    fn new() -> Self {
        Self {
            durable: 0,
            entries: VecDeque::new(),
            first: 0,
            waiting_from: 0,
            bytes: Bytes::default(),
            deadlines: Deadlines::new(0),
            places: 0,
        }
    }

    /// The number of the next entry.
    fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn place(&self, number: u64) -> u32 {
        u32::try_from(number % self.places).expect("fewer entries than 2^32")
    }

    fn push(&mut self, entry: Entry) {
        let last = self.entries.back();
        let is_next = last.is_none_or(|last| last.leg.position < entry.leg.position);
        assert!(is_next && entry.leg.position >= self.durable, "rings keep the order of a stream");
        if self.entries.len() as u64 == self.places {
            self.grow();
        }
        self.entries.push_back(entry);
    }

    /// Twice the places, and the moments of what is withheld noted at its new ones.
    fn grow(&mut self) {
        self.places = (2 * self.places).max(PLACES_MIN);
        let places = usize::try_from(self.places).expect("fewer entries than memory");
        self.entries.reserve_exact(places - self.entries.len());
        self.deadlines = Deadlines::new(places);
        for (number, entry) in (self.first..).zip(&self.entries) {
            if entry.fulfill.is_some() {
                let place = u32::try_from(number % self.places).expect("as in place()");
                self.deadlines.note(place, entry.grace_ns);
            }
        }
    }

    fn pop(&mut self) -> Option<(LegIn, Option<Span>)> {
        let Entry { leg, fulfill, .. } = self.entries.pop_front()?;
        self.first += 1;
        if let Some(fulfill) = fulfill {
            self.bytes.free(fulfill);
            self.skip_given();
        }
        Some((leg, fulfill))
    }

    /// The first place whose FULFILL is due, from that one on.
    fn find_due(&mut self, from: u32, now_ns: u64) -> Option<u32> {
        let Self { deadlines, entries, first, places, .. } = self;
        deadlines.find_due(from, now_ns, |place| {
            let entry = entries.get(index_of(place, *first, *places))?;
            entry.fulfill.is_some().then_some(entry.grace_ns)
        })
    }

    /// Takes the FULFILL of a place out, and leaves its leg.
    fn give(&mut self, place: u32) -> (LegIn, Span) {
        let index = index_of(place, self.first, self.places);
        let entry = &mut self.entries[index];
        let given = (entry.leg, entry.fulfill.take().expect("find_due() found it withheld"));
        self.skip_given();
        given
    }

    /// Moves `waiting_from` on to what is withheld.
    fn skip_given(&mut self) {
        self.waiting_from = self.waiting_from.max(self.first);
        let index = usize::try_from(self.waiting_from - self.first).expect("an index");
        let behind = self.entries.iter().skip(index);
        self.waiting_from += behind.take_while(|entry| entry.fulfill.is_none()).count() as u64;
    }
}

/// Where the entry of a place stands behind the first one, if it is there.
fn index_of(place: u32, first: u64, places: u64) -> usize {
    let behind = (u64::from(place) + places - first % places) % places;
    usize::try_from(behind).expect("fewer entries than memory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::AccountId;
    use core::num::NonZeroU32;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const STREAM: ShardId = ShardId(1);

    fn gate() -> Gate {
        Gate::new(2, 0, 0, usize::MAX)
    }

    fn leg(position: u64) -> LegIn {
        let connection = ConnectionId { account: AccountId(0), epoch: NonZeroU32::MIN };
        LegIn { stream: STREAM, position, connection, request_id: 7, amount: 1 }
    }

    fn packet(position: u64) -> Vec<u8> {
        let len = 30 + usize::try_from(position * 37 % 300).unwrap();
        vec![u8::try_from(position % 251).unwrap(); len]
    }

    #[test]
    fn beyond_so_many_bytes_that_wait_no_more_is_admitted() {
        let mut gate = Gate::new(2, 0, 0, 100);
        gate.withhold(0, leg(0), 50, &[1; 99]);
        assert!(gate.admits());
        gate.withhold(0, leg(1), 50, &[1; 1]);
        assert!(!gate.admits());
        gate.advance(STREAM, 1);
        let (_, fulfill) = gate.take_durable(STREAM).unwrap();
        gate.count_given(fulfill.unwrap().len());
        assert!(gate.admits());
    }

    #[test]
    fn a_journal_that_has_failed_stays_so() {
        let mut gate = gate();
        gate.set_journal(JournalState::Refusing);
        assert!(!gate.admits() && gate.advance(STREAM, 1));
        gate.set_journal(JournalState::Ready);
        assert!(gate.admits());
        gate.set_journal(JournalState::Failed);
        gate.set_journal(JournalState::Ready);
        assert!(!gate.admits() && !gate.advance(STREAM, 2));
    }

    #[test]
    #[should_panic = "rings keep the order of a stream"]
    fn a_position_comes_once() {
        let mut gate = gate();
        gate.note(0, leg(3));
        gate.note(0, leg(3));
    }

    proptest! {
        /// Against a plain map by position: what is durable comes out in order with its bytes, what is
        /// due comes out once with its own, and the first that waits is known.
        #[test]
        fn everything_comes_out_once_with_its_own_bytes(
            steps in prop::collection::vec((0_u8..8, 1_u64..400), 1..600),
        ) {
            let mut gate = gate();
            // Grace moment, and whether it waits.
            let mut model: BTreeMap<u64, (u64, bool)> = BTreeMap::new();
            let (mut position, mut durable, mut now_ns) = (0, 0, 0);
            for (kind, number) in steps {
                match kind {
                    0..=3 => {
                        position += 1 + number % 3;
                        let grace_ns = now_ns + 1 + number * 7 % 1_000;
                        gate.withhold(now_ns, leg(position), grace_ns, &packet(position));
                        model.insert(position, (grace_ns, true));
                    }
                    4 => {
                        position += 1;
                        gate.note(now_ns, leg(position));
                        model.insert(position, (u64::MAX, false));
                    }
                    5 | 6 => {
                        durable = (durable + number / 40).min(position + 1);
                        gate.advance(STREAM, durable);
                        while let Some((leg, fulfill)) = gate.take_durable(STREAM) {
                            let (first, (_, waits)) = model.pop_first().unwrap();
                            prop_assert!(leg.position == first && first < durable);
                            prop_assert_eq!(fulfill.is_some(), waits);
                            if let Some(fulfill) = fulfill {
                                prop_assert_eq!(gate.bytes(STREAM, fulfill), &packet(first)[..]);
                                gate.count_given(fulfill.len());
                            }
                        }
                        prop_assert!(model.keys().all(|position| *position >= durable));
                    }
                    _ => {
                        now_ns += number;
                        let mut from = (0, 0);
                        while let Some((leg, fulfill)) = gate.take_due(&mut from, now_ns) {
                            let (grace_ns, waits) = model.get_mut(&leg.position).unwrap();
                            prop_assert!(*grace_ns <= now_ns && *waits);
                            *waits = false;
                            prop_assert_eq!(gate.bytes(STREAM, fulfill), &packet(leg.position)[..]);
                            gate.count_given(fulfill.len());
                        }
                        let is_due = |(grace_ns, waits): &(u64, bool)| *waits && *grace_ns <= now_ns;
                        prop_assert!(!model.values().any(is_due));
                        prop_assert!(gate.next_deadline_ns().is_none_or(|at| at > now_ns));
                    }
                }
                let mut waiting = model.iter().filter(|(_, (_, waits))| *waits);
                let first = waiting.clone().next().map(|(position, _)| *position);
                let last = model.last_key_value().map(|(position, _)| *position);
                if first.is_some() || last.is_none() {
                    prop_assert_eq!(gate.waiting_from(1), first);
                }
                prop_assert_eq!(gate.withheld as usize, waiting.clone().count());
                let earliest = waiting.clone().map(|(_, (grace_ns, _))| *grace_ns).min();
                let bound = gate.next_deadline_ns();
                prop_assert_eq!(bound.is_some(), waiting.next().is_some());
                prop_assert!(bound.is_none() || bound <= earliest);
            }
        }
    }
}
