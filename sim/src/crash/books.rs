//! What every ledger must be after a crash, by books of our own: which records each shard has made, in
//! their order, and when each incoming leg reached its ledger.
//!
//! ```text
//!   words at the start of the life
//!     + of each stream the records below where it was found to end, each account's own in their order
//!     + incoming legs of other shards' streams, each where its ledger took it
//! ```
//!
//! Nothing here reads the journal, nor what the core says of positions.

use std::collections::{BTreeMap, HashMap};

use m2_core::ledger::Words;
use m2_core::record::{Key, KeyKind, KeyRecord, KeyState, MoneyRecord, PairRecord, Record};

use m2_journal::image::ConfiguredLimits;

/// What the records of a life make of what it began with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books {
    /// By account.
    pub(crate) accounts: Vec<Account>,
    pub(crate) keys: BTreeMap<Key, KeyState>,
    /// By shard: what it has recorded, in order.
    pub(crate) streams: Vec<Vec<Record>>,
    /// By the head of a condition: where the record of the pair stands.
    pub(crate) places: HashMap<[u8; 16], (usize, u64)>,
    /// By the head of a condition, of pairs between two shards: when the sender's ledger took the leg.
    pub(crate) taken: HashMap<[u8; 16], Taken>,
    /// Legs of pairs that have no record.
    pub(crate) loose: Vec<Loose>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    pub(crate) shard: usize,
    /// At the start of the life.
    pub(crate) words: Words,
    pub(crate) limits: (u64, u64),
    pub(crate) configured: ConfiguredLimits,
}

/// When a ledger took an incoming leg.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// How many records its shard had made.
    pub(crate) at: u64,
    pub(crate) since_ns: u64,
}

/// A leg without a record: it survives if a snapshot has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loose {
    pub(crate) account: u32,
    /// Positive: incoming.
    pub(crate) amount: i128,
    /// How many records its shard had made.
    pub(crate) at: u64,
    /// When.
    pub(crate) step: u64,
}

/// What a journal has of a life, or what a switch has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut<'a> {
    /// By stream: how many records.
    pub(crate) ends: &'a [u64],
    /// Whether incoming legs count that their ledger has not taken yet.
    pub(crate) with_untaken: bool,
    /// Legs without a record count up to this step.
    pub(crate) loose_until: u64,
}

impl Books {
    /// Adds the next record of a stream.
    pub(crate) fn push(&mut self, stream: usize, record: Record) {
        if let Record::Pair(pair) = &record {
            let place = (stream, self.streams[stream].len() as u64);
            let before = self.places.insert(pair.condition_head, place);
            assert!(before.is_none(), "journal: a pair has two records: {pair:?}");
        }
        self.streams[stream].push(record);
    }

    /// How many records there are of each stream.
    pub(crate) fn ends(&self) -> Vec<u64> {
        self.streams.iter().map(|stream| stream.len() as u64).collect()
    }

    /// The words of an account.
    pub(crate) fn words(&self, account: u32, cut: Cut<'_>) -> Words {
        let Account { shard, words, .. } = self.accounts[account as usize];
        let mut legs = self.legs_from_elsewhere(account, cut);
        legs.sort_unstable_by_key(|(at, _)| *at);
        let mut legs = legs.into_iter().peekable();
        let mut words = words;
        let own = &self.streams[shard][..index(cut.ends[shard])];
        for (position, record) in (0..).zip(own) {
            while let Some((_, amount)) = legs.next_if(|(at, _)| *at <= position) {
                commit(&mut words, amount);
            }
            apply(&mut words, account, record);
        }
        legs.for_each(|(_, amount)| commit(&mut words, amount));
        words
    }

    /// Legs of an account that are not in its own shard's stream: when, in records of that, and how
    /// much, positive if incoming.
    fn legs_from_elsewhere(&self, account: u32, cut: Cut<'_>) -> Vec<(u64, i128)> {
        let shard = self.accounts[account as usize].shard;
        let mut legs = Vec::new();
        for (stream, records) in self.streams.iter().enumerate() {
            if stream == shard {
                continue;
            }
            for record in &records[..index(cut.ends[stream])] {
                let Record::Pair(pair) = record else { continue };
                if pair.account_in.0 != account {
                    continue;
                }
                let taken = self.taken.get(&pair.condition_head).map(|taken| taken.at);
                let at = taken.or_else(|| cut.with_untaken.then_some(u64::MAX));
                legs.extend(at.map(|at| (at, i128::from(pair.amount_in))));
            }
        }
        let loose = self.loose.iter();
        let loose = loose.filter(|leg| leg.account == account && leg.step <= cut.loose_until);
        legs.extend(loose.map(|leg| (leg.at, leg.amount)));
        legs
    }

    /// All keys.
    pub(crate) fn keys(&self, ends: &[u64]) -> BTreeMap<Key, KeyState> {
        let mut keys = self.keys.clone();
        for (stream, records) in self.streams.iter().enumerate() {
            for record in &records[..index(ends[stream])] {
                if let Some((key, state)) = key_of(record) {
                    keys.insert(key, state);
                }
            }
        }
        keys
    }

    /// Both limits of an account.
    pub(crate) fn limits(&self, account: u32, ends: &[u64]) -> (u64, u64) {
        let Account { shard, limits, .. } = self.accounts[account as usize];
        let own = self.streams[shard][..index(ends[shard])].iter().rev();
        own.filter_map(|record| match record {
            Record::Limits(it) if it.account.0 == account => Some((it.balance_max, it.payable_max)),
            _ => None,
        })
        .next()
        .unwrap_or(limits)
    }
}

pub(crate) fn index(position: u64) -> usize {
    usize::try_from(position).expect("some hundreds")
}

/// What a record does to an account of the shard that made it.
fn apply(words: &mut Words, account: u32, record: &Record) {
    let is_ours = |of: m2_core::AccountId| of.0 == account;
    match record {
        Record::Pair(PairRecord { account_in, account_out, amount_in, amount_out, .. }) => {
            if is_ours(*account_out) {
                commit(words, -i128::from(*amount_out));
            }
            // From another shard, it stands in nobody's ledger here.
            if is_ours(*account_in) {
                commit(words, i128::from(*amount_in));
            }
        }
        Record::Credited(MoneyRecord { account, amount, .. }) if is_ours(*account) => {
            let amount = i128::from(*amount);
            let owed = amount.min(words.balance.max(0));
            words.balance -= owed;
            words.prepaid += amount - owed;
        }
        Record::Reversed(MoneyRecord { account, amount, .. }) if is_ours(*account) => {
            commit(words, i128::from(*amount));
        }
        Record::Frozen(KeyRecord { account, amount, .. }) if is_ours(*account) => {
            words.balance += amount.cast_signed();
            words.frozen += amount.cast_signed();
        }
        Record::Settled(KeyRecord { account, amount, .. }) if is_ours(*account) => {
            words.frozen -= amount.cast_signed();
        }
        Record::Cancelled(KeyRecord { account, amount, .. }) if is_ours(*account) => {
            words.frozen -= amount.cast_signed();
            words.balance -= amount.cast_signed();
        }
        _ => {}
    }
}

/// A leg: what comes in is taken from what was paid ahead first.
fn commit(words: &mut Words, amount: i128) {
    let ahead = amount.clamp(0, words.prepaid.max(0));
    words.prepaid -= ahead;
    words.balance += amount - ahead;
}

fn key_of(record: &Record) -> Option<(Key, KeyState)> {
    let keyed = |it: &KeyRecord, kind| {
        Some((it.key, KeyState { account: it.account, amount: it.amount, kind }))
    };
    let money = |it: &MoneyRecord, kind| {
        Some((it.key, KeyState { account: it.account, amount: it.amount.into(), kind }))
    };
    match record {
        Record::Frozen(it) => keyed(it, KeyKind::Frozen),
        Record::Settled(it) => keyed(it, KeyKind::Settled),
        Record::Cancelled(it) => keyed(it, KeyKind::Cancelled),
        Record::Credited(it) => money(it, KeyKind::Credited),
        Record::Reversed(it) => money(it, KeyKind::Reversed),
        Record::Pair(_) | Record::LateFulfill(_) | Record::Limits(_) => None,
    }
}
