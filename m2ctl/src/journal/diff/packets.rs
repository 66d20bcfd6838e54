//! Packets of both sides, matched.
//!
//! A packet is in one direction, under one condition; what one side has as incoming the other has as
//! outgoing, with the same amount. Conditions may repeat: then the same number of times on both sides.
//!
//! As many packets are looked at in one pass as fit into memory; which pass a packet belongs to, its
//! condition says.

use super::super::line::Direction;
use super::source::{Event, Happened, Place};
use super::why::{Judge, Why};

/// Packets of a pass, both sides together: 56 bytes each.
pub(super) const PASS_MAX: u64 = 4 << 20;

/// Whose journal: the first that was named, or the second.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Which {
    Here,
    There,
}

impl Which {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Here => Self::There,
            Self::There => Self::Here,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Here => "here",
            Self::There => "there",
        }
    }
}

/// A leg, or a late FULFILL, of one side.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Entry {
    condition_head: [u8; 16],
    /// As the first side has it.
    direction: Direction,
    is_late: bool,
    which: Which,
    amount: u64,
    at_ms: u64,
    place: Place,
}

/// What one side has of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Leg {
    pub(super) amount: u64,
    pub(super) at_ms: u64,
    pub(super) place: Place,
}

/// A packet that the sides do not agree on.
#[derive(Clone, Debug)]
pub(super) struct Difference {
    pub(super) condition_head: [u8; 16],
    /// As the first side has it.
    pub(super) direction: Direction,
    pub(super) here: Option<Leg>,
    pub(super) there: Option<Leg>,
    pub(super) why: Why,
}

impl Difference {
    /// By how much it moves the sum of both positions away from 0.
    pub(super) fn change(&self) -> i128 {
        let amount = |leg: Option<Leg>| leg.map_or(0, |leg| i128::from(leg.amount));
        match self.direction {
            Direction::In => amount(self.here) - amount(self.there),
            Direction::Out => amount(self.there) - amount(self.here),
        }
    }

    /// When it was decided, on either side.
    pub(super) fn at_ms(&self) -> u64 {
        self.here.or(self.there).map_or(0, |leg| leg.at_ms)
    }
}

/// What was matched.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Matched {
    pub(super) packets: u64,
    /// Least and most that the second side's time was behind the first's.
    pub(super) behind_ms: Option<(i64, i64)>,
    pub(super) late: u64,
}

/// The packets of one pass.
#[derive(Debug)]
pub(super) struct Packets {
    entries: Vec<Entry>,
    pass: u64,
    passes: u64,
}

impl Packets {
    pub(super) fn of_pass(pass: u64, passes: u64) -> Self {
        Self { entries: Vec::new(), pass, passes }
    }

    /// Takes an event, if it is a packet's and of this pass.
    pub(super) fn take(&mut self, which: Which, event: &Event) {
        let (condition_head, direction, amount, is_late) = match event.what {
            Happened::Leg { direction, amount, condition_head } => {
                (condition_head, direction, amount, false)
            }
            // Whoever gets it late had the packet as outgoing.
            Happened::Late { condition_head } => (condition_head, Direction::Out, 0, true),
            Happened::Money { .. } => return,
        };
        let (first, _) = condition_head.split_first_chunk().expect("8 of 16 bytes");
        // Conditions of tests are not spread evenly.
        let spread = u64::from_le_bytes(*first).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
        if spread % self.passes != self.pass {
            return;
        }
        let direction = match (which, direction) {
            (Which::Here, direction) => direction,
            (Which::There, Direction::In) => Direction::Out,
            (Which::There, Direction::Out) => Direction::In,
        };
        let Event { place, at_ms, .. } = *event;
        self.entries.push(Entry {
            condition_head,
            direction,
            is_late,
            which,
            amount,
            at_ms,
            place,
        });
    }

    /// Every packet that the sides do not agree on, by time.
    pub(super) fn differences(
        mut self,
        judge: &Judge<'_>,
        matched: &mut Matched,
    ) -> Vec<Difference> {
        self.entries.sort_unstable();
        let is_same = |a: &Entry, b: &Entry| {
            (a.condition_head, a.direction) == (b.condition_head, b.direction)
        };
        let mut differences = Vec::new();
        for group in self.entries.chunk_by(is_same) {
            Group::of(group, matched).match_all(judge, matched, &mut differences);
        }
        differences.sort_by_key(Difference::at_ms);
        differences
    }
}

/// One condition in one direction: nearly always one packet.
struct Group<'a> {
    first: &'a Entry,
    /// By amount, then time.
    here: Vec<Leg>,
    there: Vec<Leg>,
    /// FULFILLs that came late to whoever had it as outgoing.
    late: usize,
}

impl<'a> Group<'a> {
    fn of(entries: &'a [Entry], matched: &mut Matched) -> Self {
        let mut group = Self { first: &entries[0], here: Vec::new(), there: Vec::new(), late: 0 };
        for entry in entries {
            let Entry { amount, at_ms, place, .. } = *entry;
            match (entry.is_late, entry.which) {
                (true, _) => group.late += 1,
                (false, Which::Here) => group.here.push(Leg { amount, at_ms, place }),
                (false, Which::There) => group.there.push(Leg { amount, at_ms, place }),
            }
        }
        matched.late += group.late as u64;
        group
    }

    fn match_all(
        mut self,
        judge: &Judge<'_>,
        matched: &mut Matched,
        differences: &mut Vec<Difference>,
    ) {
        self.match_same(matched);
        let Self { first, here, there, mut late } = self;
        let Entry { condition_head, direction, .. } = *first;
        let both = here.len().min(there.len());
        let difference =
            |here, there, why| Difference { condition_head, direction, here, there, why };
        for (here, there) in here.iter().zip(&there) {
            differences.push(difference(Some(*here), Some(*there), Why::Amounts));
        }
        let is_incoming_here = direction == Direction::In;
        for leg in &here[both..] {
            let is_late = is_incoming_here && late > 0;
            late -= usize::from(is_late);
            let why = judge.judge(Which::Here, is_incoming_here, leg.at_ms, is_late);
            differences.push(difference(Some(*leg), None, why));
        }
        for leg in &there[both..] {
            let is_late = !is_incoming_here && late > 0;
            late -= usize::from(is_late);
            let why = judge.judge(Which::There, !is_incoming_here, leg.at_ms, is_late);
            differences.push(difference(None, Some(*leg), why));
        }
    }

    /// Takes out what both have with the same amount.
    fn match_same(&mut self, matched: &mut Matched) {
        let (here, there) = (core::mem::take(&mut self.here), core::mem::take(&mut self.there));
        let (mut here, mut there) = (here.into_iter().peekable(), there.into_iter().peekable());
        while let (Some(one), Some(other)) = (here.peek(), there.peek()) {
            match one.amount.cmp(&other.amount) {
                core::cmp::Ordering::Less => self.here.extend(here.next()),
                core::cmp::Ordering::Greater => self.there.extend(there.next()),
                core::cmp::Ordering::Equal => {
                    matched.pair(one, other);
                    here.next();
                    there.next();
                }
            }
        }
        self.here.extend(here);
        self.there.extend(there);
    }
}

impl Matched {
    fn pair(&mut self, here: &Leg, there: &Leg) {
        self.packets += 1;
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let behind = signed(there.at_ms) - signed(here.at_ms);
        let (least, most) = self.behind_ms.unwrap_or((behind, behind));
        self.behind_ms = Some((least.min(behind), most.max(behind)));
    }
}
