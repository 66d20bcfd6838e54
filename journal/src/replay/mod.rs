//! Applying records to ledgers, leg by leg: what a snapshot does not hold yet.
//!
//! ```text
//!   a pair at position p of stream t, both legs or neither:
//!     incoming leg   applied to an account of shard k   if p >= applied of k's snapshot for t
//!     outgoing leg   applied to an account of shard t   if p >= appended of t's snapshot
//!   everything else  applied to an account of shard t   if p >= appended of t's snapshot
//! ```
//!
//! Streams are read one after the other, so the legs of an account come in another order than they
//! were decided in. All that is in records commutes but for credits and reversals; accounts that have
//! any are put together by [`epochs`].
//!
//! The hash of a batch tells that its bytes are those that were written; it does not tell that a switch
//! wrote them. So every number is checked before it is used, and sums cannot overflow.

mod epochs;

use std::collections::BTreeMap;

use m2_core::ledger::Words;
use m2_core::record::{Key, KeyKind, KeyRecord, KeyState, MoneyRecord, Record};
use m2_core::{AccountId, ShardId, ShardImage};

use crate::batch::Batch;
use crate::fault::Fault;
use crate::image::{Account, Base, is_within};
use crate::layout::Block;
use crate::layout::record::Pair;
use crate::limits::WORD_MAX;
use crate::record::{self, kind};
use epochs::Epochs;

/// An account whose legs may be applied as they come.
const NO_EPOCHS: u32 = u32::MAX;

/// What the hot path needs of an account, side by side.
#[derive(Clone, Debug)]
struct State {
    words: Words,
    shard: u16,
    /// Which of [`Replay::epochs`] is its, or [`NO_EPOCHS`].
    epochs: u32,
}

/// Where the words of a shard begin.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// See [`ShardImage::appended`].
    pub(crate) appended: u64,
    /// See [`ShardImage::applied`].
    pub(crate) applied: Vec<u64>,
}

/// Ledgers and keys on their way from a base and snapshots to the end of all streams.
#[derive(Debug)]
pub(crate) struct Replay {
    states: Vec<State>,
    /// What is not touched by a pair.
    accounts: Vec<Account>,
    keys: BTreeMap<Key, KeyState>,
    /// By shard.
    starts: Vec<Start>,
    epochs: Vec<Epochs>,
    until: Until,
    records: u64,
}

/// Which records count; the others are left out.
#[derive(Clone, Debug)]
pub(crate) struct Until {
    /// Those decided up to this moment.
    pub(crate) ms: u64,
    /// Those below, by stream.
    pub(crate) ends: Vec<u64>,
}

impl Until {
    fn has(&self, stream: usize, position: u64, at_ms: u64) -> bool {
        at_ms <= self.ms && position < self.ends[stream]
    }
}

/// What a replay comes to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) accounts: Vec<Account>,
    pub(crate) keys: Vec<(Key, KeyState)>,
    pub(crate) records: u64,
}

impl Replay {
    /// From the beginning of the generation, but for shards that have a snapshot, which fits the base.
    pub(crate) fn new(base: &Base, snapshots: Vec<Option<ShardImage>>, until: Until) -> Self {
        let mut accounts = base.accounts.clone();
        let shard_of = |state: &KeyState| accounts[state.account.0 as usize].shard;
        let from_base = |shard: ShardId| snapshots[usize::from(shard.0)].is_none();
        let keys = base.keys.iter().copied().filter(|(_, state)| from_base(shard_of(state)));
        let mut keys: BTreeMap<_, _> = keys.collect();
        let mut starts = Vec::with_capacity(base.shards);
        for image in snapshots {
            let none = Start { appended: 0, applied: vec![0; base.shards] };
            starts.push(image.map_or(none, |image| {
                for each in image.accounts {
                    accounts[each.account.0 as usize].image = each;
                }
                keys.extend(image.keys);
                Start { appended: image.appended, applied: image.applied }
            }));
        }
        let state = |account: &Account| State {
            words: account.image.words,
            shard: account.shard.0,
            epochs: NO_EPOCHS,
        };
        let states = accounts.iter().map(state).collect();
        Self { states, accounts, keys, starts, epochs: Vec::new(), until, records: 0 }
    }

    /// The first position of a stream that anybody needs.
    pub(crate) fn needed_from(&self, stream: ShardId) -> u64 {
        let stream = usize::from(stream.0);
        let applied = self.starts.iter().map(|start| start.applied[stream]);
        applied.fold(self.starts[stream].appended, u64::min)
    }

    /// The first position of a stream that a shard needs.
    pub(crate) fn start_of(&self, shard: ShardId, stream: ShardId) -> u64 {
        let start = &self.starts[usize::from(shard.0)];
        let applied = start.applied[usize::from(stream.0)];
        if shard == stream { applied.min(start.appended) } else { applied }
    }

    /// Up to where the words at the start say that a stream has gone.
    pub(crate) fn named(&self, stream: ShardId) -> u64 {
        let stream = usize::from(stream.0);
        let applied = self.starts.iter().map(|start| start.applied[stream]);
        applied.fold(self.starts[stream].appended, u64::max)
    }

    /// Tells of a credit or reversal that will come, before any record is applied. What cannot be is
    /// left out: when it comes, it is a fault.
    pub(crate) fn expect(&mut self, stream: ShardId, position: u64, record: &Record) {
        let (money, is_credit) = match record {
            Record::Credited(money) => (money, true),
            Record::Reversed(money) => (money, false),
            _ => return,
        };
        let shards = self.starts.len();
        let number = usize::from(stream.0);
        let is_due = position >= self.starts[number].appended
            && self.until.has(number, position, money.at_ms);
        let state = self.states.get_mut(money.account.0 as usize);
        let Some(state) = state.filter(|state| state.shard == stream.0 && is_due) else { return };
        if money.applied.len() != shards {
            return;
        }
        if state.epochs == NO_EPOCHS {
            state.epochs = u32::try_from(self.epochs.len()).expect("there are no more accounts");
            self.epochs.push(Epochs::new(shards));
        }
        self.epochs[state.epochs as usize].expect(
            position,
            &money.applied,
            money.amount,
            is_credit,
        );
    }

    /// Which shard owns an account.
    pub(crate) fn shard_of(&self, account: AccountId) -> Option<ShardId> {
        Some(ShardId(self.states.get(account.0 as usize)?.shard))
    }

    /// Applies the records of a batch.
    ///
    /// # Errors
    ///
    /// When a record says what no switch could have written: at which position.
    pub(crate) fn apply(&mut self, stream: ShardId, batch: &Batch<'_>) -> Result<(), (u64, Fault)> {
        let end = self.apply_blocks(stream, batch.head.position, batch.blocks)?;
        if end == batch.head.end() { Ok(()) } else { Err((end, Fault::Counts)) }
    }

    /// Applies records from `position` on, and tells the position after the last.
    ///
    /// # Errors
    ///
    /// As [`Self::apply`].
    pub(crate) fn apply_blocks(
        &mut self,
        stream: ShardId,
        first: u64,
        mut blocks: &[Block],
    ) -> Result<u64, (u64, Fault)> {
        let mut position = first;
        while let Some((head, rest)) = blocks.split_first() {
            let applied = if head[0] == kind::PAIR {
                blocks = rest;
                record::pair(head).and_then(|pair| self.pair(stream, position, pair))
            } else {
                self.other(stream, position, &mut blocks)
            };
            applied.map_err(|fault| (position, fault))?;
            position += 1;
        }
        self.records += position - first;
        Ok(position)
    }

    /// Ledgers and keys when all streams have been applied.
    ///
    /// # Errors
    ///
    /// When the words of an account contradict each other.
    pub(crate) fn finish(mut self) -> Result<Outcome, Fault> {
        for (state, account) in self.states.iter_mut().zip(&mut self.accounts) {
            if state.epochs != NO_EPOCHS {
                self.epochs[state.epochs as usize].apply(&mut state.words)?;
            }
            if !is_within(&state.words) {
                return Err(Fault::Record);
            }
            account.image.words = state.words;
        }
        let keys = self.keys.into_iter().collect();
        Ok(Outcome { accounts: self.accounts, keys, records: self.records })
    }

    fn pair(&mut self, stream: ShardId, position: u64, pair: &Pair) -> Result<(), Fault> {
        let number = usize::from(stream.0);
        let is_due = self.until.has(number, position, pair.decided_at_ms.get());
        let incoming = self.states.get_mut(pair.account_in.get() as usize).ok_or(Fault::Record)?;
        let applied = self.starts[usize::from(incoming.shard)].applied[number];
        if position >= applied && is_due {
            match incoming.epochs {
                NO_EPOCHS => incoming.words.commit_in(pair.amount_in.get()),
                index => {
                    self.epochs[index as usize].commit_in(number, position, pair.amount_in.get());
                }
            }
        }
        let outgoing = self.states.get_mut(pair.account_out.get() as usize).ok_or(Fault::Record)?;
        if outgoing.shard != stream.0 {
            return Err(Fault::Record);
        }
        if position >= self.starts[number].appended && is_due {
            match outgoing.epochs {
                NO_EPOCHS => outgoing.words.commit_out(pair.amount_out.get()),
                index => self.epochs[index as usize].commit_out(position, pair.amount_out.get()),
            }
        }
        Ok(())
    }

    /// Whatever is no pair: rare.
    fn other(
        &mut self,
        stream: ShardId,
        position: u64,
        blocks: &mut &[Block],
    ) -> Result<(), Fault> {
        let (record, count) = record::decode(blocks)?;
        *blocks = &blocks[count..];
        let (account, at_ms) = match &record {
            Record::Pair(_) => unreachable!("pairs are read in place"),
            Record::LateFulfill(late) => (late.connection.account, late.came_at_ms),
            Record::Limits(limits) => (limits.account, limits.at_ms),
            Record::Frozen(keyed) | Record::Settled(keyed) | Record::Cancelled(keyed) => {
                (keyed.account, keyed.at_ms)
            }
            Record::Credited(money) | Record::Reversed(money) => (money.account, money.at_ms),
        };
        let state = self.states.get(account.0 as usize).ok_or(Fault::Record)?;
        if state.shard != stream.0 {
            return Err(Fault::Record);
        }
        let number = usize::from(stream.0);
        let start = self.starts[number].appended;
        if position < start || !self.until.has(number, position, at_ms) {
            return Ok(());
        }
        match record {
            Record::Pair(_) | Record::LateFulfill(_) => Ok(()),
            Record::Limits(limits) => {
                let image = &mut self.accounts[account.0 as usize].image;
                (image.balance_max, image.payable_max) = (limits.balance_max, limits.payable_max);
                Ok(())
            }
            Record::Frozen(keyed) => self.keyed(position, KeyKind::Frozen, &keyed),
            Record::Settled(keyed) => self.keyed(position, KeyKind::Settled, &keyed),
            Record::Cancelled(keyed) => self.keyed(position, KeyKind::Cancelled, &keyed),
            Record::Credited(money) => self.money(position, KeyKind::Credited, &money),
            Record::Reversed(money) => self.money(position, KeyKind::Reversed, &money),
        }
    }

    /// A key is frozen once, then settled or cancelled once, with one account and amount.
    fn keyed(&mut self, position: u64, kind: KeyKind, record: &KeyRecord) -> Result<(), Fault> {
        let KeyRecord { account, key, amount, .. } = *record;
        let before = self.keys.insert(key, KeyState { account, amount, kind });
        let frozen = KeyState { account, amount, kind: KeyKind::Frozen };
        let expected = (kind != KeyKind::Frozen).then_some(frozen);
        if before != expected {
            return Err(Fault::Record);
        }
        let state = &mut self.states[account.0 as usize];
        if state.epochs != NO_EPOCHS {
            return self.epochs[state.epochs as usize].keyed(position, kind, amount);
        }
        match kind {
            KeyKind::Frozen => state.words.freeze(amount),
            KeyKind::Settled => state.words.settle(amount),
            _ => state.words.cancel(amount),
        }
        check_sums(&state.words)
    }

    fn money(&mut self, position: u64, kind: KeyKind, record: &MoneyRecord) -> Result<(), Fault> {
        let account: AccountId = record.account;
        let state = KeyState { account, amount: record.amount.into(), kind };
        if self.keys.insert(record.key, state).is_some() {
            return Err(Fault::Record);
        }
        let index = self.states[account.0 as usize].epochs;
        let epochs = self.epochs.get_mut(index as usize).ok_or(Fault::Record)?;
        let is_credit = kind == KeyKind::Credited;
        epochs.money(position, &record.applied, record.amount, is_credit)
    }
}

/// No switch comes to such sums; so what is added to them next cannot overflow.
fn check_sums(words: &Words) -> Result<(), Fault> {
    let Words { balance, prepaid, frozen, .. } = *words;
    let is_small = [balance, prepaid, frozen].iter().all(|word| word.unsigned_abs() < WORD_MAX);
    if is_small { Ok(()) } else { Err(Fault::Record) }
}
