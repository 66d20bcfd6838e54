//! What a snapshot of a shard carries, and how a shard begins from one.
//!
//! Invariant: the words of an image hold, of each stream, the incoming legs below `applied`, and of
//! the shard's own stream everything else below `appended`; and nothing beyond. So it may count only
//! once every one of these positions is durable.

use crate::ids::{AccountId, ShardId};
use crate::ledger::Words;
use crate::record::{Key, KeyState};
use crate::switch::Switch;

/// How far a shard is in each stream. A position is the number of records before it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Positions {
    /// Where the next record of the shard's own stream will stand.
    pub appended: u64,
    /// By stream: the ledgers hold the incoming legs below, and none above.
    pub applied: Vec<u64>,
    /// By stream: the FULFILLs of records below have been given out, or have nobody to go to.
    pub given: Vec<u64>,
}

/// A shard's own accounts and keys at one moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ShardImage {
    /// Whose.
    pub shard: ShardId,
    /// See [`Positions::appended`].
    pub appended: u64,
    /// See [`Positions::applied`].
    pub applied: Vec<u64>,
    /// In the order of their numbers.
    pub accounts: Vec<AccountImage>,
    /// In the order of the keys.
    pub keys: Vec<(Key, KeyState)>,
}

/// One account of a [`ShardImage`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AccountImage {
    /// Which.
    pub account: AccountId,
    /// Nothing is held in them: no hold survives a restart.
    pub words: Words,
    /// The most the peer may come to owe us, in units of the account.
    pub balance_max: u64,
    /// The most we may come to owe the peer, in units of the account.
    pub payable_max: u64,
}

impl Switch {
    /// How far this shard is in each stream.
    #[must_use]
    pub fn positions(&self) -> Positions {
        let streams = (0..).map(ShardId).take(self.applied.len());
        let given = streams.map(|stream| self.given(stream)).collect();
        Positions { appended: self.appended, applied: self.applied.clone(), given }
    }

    /// Records of this shard's stream so far: the position of the next.
    #[must_use]
    pub fn appended(&self) -> u64 {
        self.appended
    }

    /// One of [`Positions::given`].
    #[must_use]
    pub fn given(&self, stream: ShardId) -> u64 {
        let index = stream.index();
        let given = self.gate.waiting_from(index).unwrap_or(self.applied[index]);
        if self.gate.backlogged == 0 {
            return given;
        }
        let backlog = self.accounts.iter().flat_map(|account| account.backlog.legs());
        backlog.filter(|leg| leg.stream == stream).map(|leg| leg.position).fold(given, u64::min)
    }

    /// What a snapshot needs of this shard.
    #[must_use]
    pub fn image(&self) -> ShardImage {
        let shard = self.config.shard;
        let own = self.accounts.iter().filter(|account| account.config.shard == shard);
        let accounts = own.map(|account| {
            let (balance_max, payable_max) = account.ledger.limits();
            let words = Words { held_in: 0, held_out: 0, ..account.ledger.words() };
            AccountImage { account: account.config.id, words, balance_max, payable_max }
        });
        ShardImage {
            shard,
            appended: self.appended,
            applied: self.applied.clone(),
            accounts: accounts.collect(),
            keys: self.keys.states().collect(),
        }
    }

    /// Gives an account the words that it had before a restart. Its limits are those that it was
    /// added with.
    ///
    /// # Panics
    ///
    /// If it is another shard's, if the words hold anything, or if anything has happened before.
    pub fn restore(&mut self, account: AccountId, words: Words) {
        self.assert_untouched();
        let ledger = &mut self.own(account).ledger;
        ledger.restore(words);
        if ledger.is_due() {
            self.note_due(account);
        }
    }

    /// Gives a key the meaning that it had before a restart.
    ///
    /// # Panics
    ///
    /// If its account is another shard's, if the key is there, or if anything has happened before.
    pub fn restore_key(&mut self, key: Key, state: KeyState) {
        self.assert_untouched();
        let _ = self.own(state.account);
        self.keys.restore(key, state);
    }

    fn assert_untouched(&self) {
        let has_begun = self.appended > 0 || self.slots.in_flight() > 0;
        assert!(!has_begun, "a switch is restored before it takes a packet");
    }
}
