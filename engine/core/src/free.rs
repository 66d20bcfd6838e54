//! Free slots, and which of them the next packet gets.
//!
//! ```text
//!                     fulfilled                              not fulfilled
//!   in flight ------------------> warm       in flight ------------------> kept
//!                                  |  its next id came lately                |
//!                                  +------------> resting <------------------+
//!
//!   taken:  warm, else resting, else one never used, else kept; each queue oldest first
//! ```
//!
//! Of a packet that was fulfilled nothing can come that matters, so its slot is the next to be used:
//! it is still in the cache. What a packet that was not fulfilled leaves behind may yet be evidence,
//! so its slot is used again last. A slot whose next id was given out too short a time ago stands
//! aside, so that no queue stops behind it.
//!
//! Invariant: a free slot stands in one queue, once.

use std::collections::VecDeque;

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct Free {
    warm: VecDeque<u32>,
    resting: VecDeque<u32>,
    kept: VecDeque<u32>,
}

/// Where the next slot comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Source {
    Warm,
    Resting,
    Unused,
    Kept,
}

/// Slots that may be set aside in one look for a free one.
const SET_ASIDE_MAX: usize = 8;

impl Free {
    /// Room for so many: nothing grows later. The kernel gives the memory when it is first used.
    pub(crate) fn new(slots_max: usize) -> Self {
        let queue = || VecDeque::with_capacity(slots_max);
        Self { warm: queue(), resting: queue(), kept: queue() }
    }

    pub(crate) fn push_warm(&mut self, index: u32) {
        self.warm.push_back(index);
    }

    pub(crate) fn push_kept(&mut self, index: u32) {
        self.kept.push_back(index);
    }

    /// Where the next slot comes from, if there is one; `may_be_used` tells of a slot whether its next
    /// id may be given out now. Where many have to be set aside, asked again it may find one more.
    #[inline]
    pub(crate) fn source(
        &mut self,
        has_unused: bool,
        may_be_used: impl Fn(u32) -> bool,
    ) -> Option<Source> {
        let Self { warm, resting, kept } = self;
        if has_usable_front(warm, resting, &may_be_used) {
            Some(Source::Warm)
        } else if has_rested(resting, &may_be_used) {
            Some(Source::Resting)
        } else if has_unused {
            Some(Source::Unused)
        } else if has_usable_front(kept, resting, &may_be_used) {
            Some(Source::Kept)
        } else {
            None
        }
    }

    /// The slot that [`Self::source`] has found.
    #[inline]
    pub(crate) fn take(&mut self, source: Source) -> Option<u32> {
        match source {
            Source::Warm => self.warm.pop_front(),
            Source::Resting => self.resting.pop_front(),
            Source::Kept => self.kept.pop_front(),
            Source::Unused => None,
        }
    }

    /// The slot that the `nth` packet from now will mostly get, if it is one that was used before.
    pub(crate) fn nth(&self, nth: usize) -> Option<u32> {
        let kept = || self.kept.get(nth - self.warm.len());
        self.warm.get(nth).or_else(kept).copied()
    }
}

/// Whether one of the first of those that rest may be used: it is then the first. They rest in the order
/// in which they were set aside, which is nearly that in which they may be used.
fn has_rested(resting: &mut VecDeque<u32>, may_be_used: &impl Fn(u32) -> bool) -> bool {
    let rested = resting.iter().take(SET_ASIDE_MAX).position(|index| may_be_used(*index));
    rested.is_some_and(|at| {
        resting.swap(0, at);
        true
    })
}

/// Whether the first of a queue may be used; those before it that may not are set aside.
#[inline]
fn has_usable_front(
    queue: &mut VecDeque<u32>,
    resting: &mut VecDeque<u32>,
    may_be_used: &impl Fn(u32) -> bool,
) -> bool {
    match queue.front() {
        Some(index) if may_be_used(*index) => true,
        Some(_) => set_aside(queue, resting, may_be_used),
        None => false,
    }
}

#[cold]
fn set_aside(
    queue: &mut VecDeque<u32>,
    resting: &mut VecDeque<u32>,
    may_be_used: &impl Fn(u32) -> bool,
) -> bool {
    for _ in 0..SET_ASIDE_MAX {
        let Some(index) = queue.front() else { return false };
        if may_be_used(*index) {
            return true;
        }
        resting.extend(queue.pop_front());
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: fn(u32) -> bool = |_| true;

    fn taken(free: &mut Free, has_unused: bool, may_be_used: fn(u32) -> bool) -> Option<Source> {
        let source = free.source(has_unused, may_be_used)?;
        assert_eq!(free.source(has_unused, may_be_used), Some(source), "asked again");
        free.take(source);
        Some(source)
    }

    #[test]
    fn what_may_be_evidence_is_used_again_when_nothing_else_is_there() {
        let mut free = Free::new(4);
        free.push_kept(0);
        free.push_warm(1);
        assert_eq!([0, 1, 2].map(|nth| free.nth(nth)), [Some(1), Some(0), None]);
        assert_eq!(taken(&mut free, true, ALL), Some(Source::Warm));
        assert_eq!(taken(&mut free, true, ALL), Some(Source::Unused));
        assert_eq!(taken(&mut free, false, ALL), Some(Source::Kept));
        assert_eq!(taken(&mut free, false, ALL), None);
    }

    #[test]
    fn who_must_rest_stands_before_nobody_and_comes_when_it_may() {
        let mut free = Free::new(8);
        (0..4).for_each(|index| free.push_warm(index));
        free.push_kept(4);
        assert_eq!(free.source(false, |index| index == 2), Some(Source::Warm));
        assert_eq!(free.take(Source::Warm), Some(2));
        assert_eq!(free.source(true, |index| index == 4), Some(Source::Unused));
        assert_eq!(free.source(false, |index| index == 4), Some(Source::Kept));
        assert_eq!(free.source(true, |index| index < 2), Some(Source::Resting));
        let rested: Vec<u32> = std::iter::from_fn(|| free.take(Source::Resting)).collect();
        assert_eq!(rested, [0, 1, 3], "as they were set aside");
    }

    #[test]
    fn one_look_sets_few_aside() {
        let mut free = Free::new(64);
        (0..20).for_each(|index| free.push_warm(index));
        assert_eq!(free.source(false, |_| false), None);
        assert_eq!((free.warm.len(), free.resting.len()), (12, SET_ASIDE_MAX));
    }
}
