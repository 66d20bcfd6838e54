//! Where accounts stood before the first and after the last record of a dump.
//!
//! ```text
//!   start of the words (base, or a snapshot)      window of a dump
//!   ----------|------------------------------------[=========]-------
//!             '- before = position there + all records up to the window
//! ```
//!
//! Positions are sums, so records count in any order, those below a snapshot backwards.

use m2_core::AccountId;
use m2_core::record::Record;
use m2_journal::Fault;
use m2_journal::limits::WORD_MAX;

use super::changes::{Change, changes};
use super::filter::at_ms;
use super::open::Generation;
use super::start::Start;

/// Sums over one stream, for each account that is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Sums {
    wanted: Option<AccountId>,
    accounts: Vec<Sum>,
    /// There are records in the window or behind it; in the window or before it.
    has: Has,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    /// From the start of the words to the beginning of the window.
    before: i128,
    inside: i128,
}

#[derive(Clone, Copy, Debug, Default)]
struct Has {
    inside_or_after: bool,
    inside_or_before: bool,
}

/// When the window begins and ends.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    pub(crate) from_ms: Option<u64>,
    pub(crate) to_ms: Option<u64>,
}

impl Sums {
    /// Of all accounts of a generation, or of one.
    pub(crate) fn new(generation: &Generation, wanted: Option<AccountId>) -> Self {
        let count = if wanted.is_some() { 1 } else { generation.base.accounts.len() };
        Self { wanted, accounts: vec![Sum::default(); count], has: Has::default() }
    }

    /// Counts a record of `stream`.
    ///
    /// # Errors
    ///
    /// When it adds up to what no ledger comes to.
    pub(crate) fn add(
        &mut self,
        generation: &Generation,
        starts: &[Option<Start>],
        window: Window,
        (stream, position): (usize, u64),
        record: &Record,
    ) -> Result<(), Fault> {
        let at_ms = at_ms(record);
        let is_before = window.from_ms.is_some_and(|from| at_ms < from);
        let is_after = window.to_ms.is_some_and(|to| to < at_ms);
        self.has.inside_or_after |= !is_before;
        self.has.inside_or_before |= !is_after;
        let mut is_right = true;
        changes(record, |change| {
            let Some(sum) = self.sum(change.account) else { return };
            let is_below = is_below(generation, starts, (stream, position), change);
            match (is_below, is_before) {
                (false, true) => sum.before += change.by,
                (true, false) => sum.before -= change.by,
                _ => {}
            }
            if !is_before && !is_after {
                sum.inside += change.by;
            }
            let is_small = |word: i128| word.unsigned_abs() < WORD_MAX;
            is_right &= is_small(sum.before) && is_small(sum.inside);
        });
        if is_right { Ok(()) } else { Err(Fault::Record) }
    }

    fn sum(&mut self, account: AccountId) -> Option<&mut Sum> {
        match self.wanted {
            None => self.accounts.get_mut(account.0 as usize),
            Some(wanted) if wanted == account => self.accounts.first_mut(),
            Some(_) => None,
        }
    }
}

/// Whether the words at the start hold the change already.
fn is_below(
    generation: &Generation,
    starts: &[Option<Start>],
    (stream, position): (usize, u64),
    change: Change,
) -> bool {
    let account = generation.base.accounts.get(change.account.0 as usize);
    let start = account.and_then(|account| starts[usize::from(account.shard.0)].as_ref());
    start.is_some_and(|start| match change.is_incoming {
        true => position < start.applied[stream],
        false => position < start.appended,
    })
}

/// Positions of accounts before and after a window that may cover several generations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Positions {
    /// By number; `None` where the records that it takes are gone.
    accounts: Vec<(Option<i128>, Option<i128>)>,
    /// What [`Has`] says of the generations so far.
    has: Has,
}

impl Positions {
    /// Goes on with a generation, all of whose streams have been summed.
    pub(crate) fn add(&mut self, generation: &Generation, starts: &[Option<Start>], sums: &[Sums]) {
        let has = sums.iter().fold(Has::default(), |has, sums| Has {
            inside_or_after: has.inside_or_after || sums.has.inside_or_after,
            inside_or_before: has.inside_or_before || sums.has.inside_or_before,
        });
        let known = self.accounts.len();
        for (number, account) in generation.base.accounts.iter().enumerate() {
            let id = account.image.account;
            let start = starts[usize::from(account.shard.0)].as_ref();
            let words = start.and_then(|start| {
                let at = start.accounts.binary_search_by_key(&id, |image| image.account);
                Some(start.accounts[at.ok()?].words)
            });
            let of = |sums: &Sums| match sums.wanted {
                None => sums.accounts[number],
                Some(wanted) if wanted == id => sums.accounts[0],
                Some(_) => Sum::default(),
            };
            let before = words.map(|words| {
                words.position() + sums.iter().map(|sums| of(sums).before).sum::<i128>()
            });
            let after = before.map(|at| at + sums.iter().map(|sums| of(sums).inside).sum::<i128>());
            match self.accounts.get_mut(number) {
                None => self.accounts.push((before, after)),
                Some(both) => {
                    // The window begins in the first generation that has a record behind its
                    // beginning, and ends in the last that has one before its end.
                    both.0 = if self.has.inside_or_after { both.0 } else { before };
                    both.1 = if has.inside_or_before { after } else { both.1 };
                }
            }
        }
        debug_assert!(known <= self.accounts.len(), "numbers are never given up");
        self.has.inside_or_after |= has.inside_or_after;
    }

    /// Before and after.
    pub(crate) fn of(&self, account: AccountId) -> (Option<i128>, Option<i128>) {
        self.accounts.get(account.0 as usize).copied().unwrap_or_default()
    }
}
