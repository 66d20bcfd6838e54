//! Accounts with credits or reversals: which legs came before each of them.
//!
//! ```text
//!   own stream     out  out  CREDIT 1  out  freeze  REVERSAL 2  out
//!   other stream   in  in | in  in  in             | in
//!                         '- applied of credit 1   '- applied of reversal 2
//!                  epoch 0       | epoch 1         | epoch 2
//! ```
//!
//! Within an epoch everything commutes, so sums are all that is kept of it. The leg at a position of
//! another stream belongs behind every credit whose vector names that position or a lower one; an
//! event of the account's own stream belongs behind every credit that stands before it there. A
//! stream that the crash cut shorter has fewer legs than a vector names: then the credit comes after
//! its last one.
//!
//! Which credits there are must be known before the first leg is applied: [`Epochs::expect`].

use m2_core::ledger::Words;
use m2_core::record::KeyKind;

use super::check_sums;
use crate::fault::Fault;
use crate::limits::WORD_MAX;

/// One account's events.
#[derive(Debug)]
pub(super) struct Epochs {
    /// In the order of the account's own stream.
    money: Vec<Money>,
    /// One more than `money`.
    sums: Vec<Sums>,
    /// By stream: how many of `money` the last incoming leg of that stream came behind.
    behind: Vec<usize>,
    /// How many of `money` the last event of the own stream came behind.
    own_behind: usize,
}

/// A credit or a reversal.
#[derive(Debug)]
struct Money {
    /// In the account's own stream.
    position: u64,
    applied: Box<[u64]>,
    amount: u64,
    is_credit: bool,
    /// It has come: the stream was not cut before it.
    is_there: bool,
}

/// What happened between two of them.
#[derive(Clone, Debug, Default)]
struct Sums {
    committed_in: u128,
    committed_out: u128,
    frozen: u128,
    settled: u128,
    cancelled: u128,
}

impl Epochs {
    pub(super) fn new(shards: usize) -> Self {
        let sums = vec![Sums::default()];
        Self { money: Vec::new(), sums, behind: vec![0; shards], own_behind: 0 }
    }

    /// One that will come. Positions never run backwards: what says so is left out.
    pub(super) fn expect(&mut self, position: u64, applied: &[u64], amount: u64, is_credit: bool) {
        let is_later = self.money.last().is_none_or(|last| {
            let mut both = last.applied.iter().zip(applied);
            last.position < position && both.all(|(before, now)| before <= now)
        });
        if is_later {
            let applied = applied.into();
            self.money.push(Money { position, applied, amount, is_credit, is_there: false });
            self.sums.push(Sums::default());
        }
    }

    pub(super) fn commit_in(&mut self, stream: usize, position: u64, amount: u64) {
        let behind = &mut self.behind[stream];
        while self.money.get(*behind).is_some_and(|money| money.applied[stream] <= position) {
            *behind += 1;
        }
        self.sums[*behind].committed_in += u128::from(amount);
    }

    pub(super) fn commit_out(&mut self, position: u64, amount: u64) {
        self.own(position).committed_out += u128::from(amount);
    }

    pub(super) fn keyed(
        &mut self,
        position: u64,
        kind: KeyKind,
        amount: u128,
    ) -> Result<(), Fault> {
        let sums = self.own(position);
        let sum = match kind {
            KeyKind::Frozen => &mut sums.frozen,
            KeyKind::Settled => &mut sums.settled,
            _ => &mut sums.cancelled,
        };
        // Both are below WORD_MAX.
        *sum += amount;
        if *sum < WORD_MAX { Ok(()) } else { Err(Fault::Record) }
    }

    /// One of those that were expected has come.
    pub(super) fn money(
        &mut self,
        position: u64,
        applied: &[u64],
        amount: u64,
        is_credit: bool,
    ) -> Result<(), Fault> {
        let at = self.money.binary_search_by_key(&position, |money| money.position);
        let money = &mut self.money[at.map_err(|_| Fault::Record)?];
        let is_same =
            *money.applied == *applied && (money.amount, money.is_credit) == (amount, is_credit);
        money.is_there = is_same;
        if is_same { Ok(()) } else { Err(Fault::Record) }
    }

    /// Everything in the order in which it was decided.
    pub(super) fn apply(&self, words: &mut Words) -> Result<(), Fault> {
        for (index, sums) in self.sums.iter().enumerate() {
            if index > 0 {
                let Money { amount, is_credit, is_there, .. } = self.money[index - 1];
                match (is_there, is_credit) {
                    (false, _) => {}
                    (true, true) => words.credit(amount),
                    (true, false) => words.reverse(amount),
                }
            }
            in_pieces(sums.committed_in, |amount| words.commit_in(amount));
            in_pieces(sums.committed_out, |amount| words.commit_out(amount));
            words.freeze(sums.frozen);
            words.settle(sums.settled);
            words.cancel(sums.cancelled);
            check_sums(words)?;
        }
        Ok(())
    }

    fn own(&mut self, position: u64) -> &mut Sums {
        let behind = &mut self.own_behind;
        while self.money.get(*behind).is_some_and(|money| money.position < position) {
            *behind += 1;
        }
        &mut self.sums[*behind]
    }
}

/// A sum of u64s, by no more of them: at most as many pieces as it had summands.
fn in_pieces(mut sum: u128, mut apply: impl FnMut(u64)) {
    while sum > 0 {
        let piece = u64::try_from(sum).unwrap_or(u64::MAX);
        apply(piece);
        sum -= u128::from(piece);
    }
}
