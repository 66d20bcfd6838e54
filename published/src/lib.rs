//! Accounts as other threads may read them: each shard writes what has changed, whoever likes reads.
//!
//! ```text
//!   shard                         published                            readers, any number
//!   a pass:  sequence odd         pass     [sequence]                  sequence even? else again
//!            each account:        account  [sequence | 36 words]       the words
//!              sequence odd       account  [sequence | 36 words]       the same sequence? else again
//!              the words          ...
//!              sequence even
//!            sequence even
//! ```
//!
//! Sequence locks, as in Boehm's "Can seqlocks get along with programming language memory models?": the
//! words are atomics, so that reading one that is being written is no race, and the fences order them
//! around the sequence. A writer never waits, whatever is read; a reader that meets a writer reads again,
//! so often and no more. An account has a sequence, so has a shard's pass: each account that is read is of
//! one moment, and a reading of all of them tells whether they are of one moment together.
//!
//! A crate of its own, as the core has no threads, and the benches do not import the engine.
//!
//! Invariant: an account has one writer, its shard's [`Publisher`], which no one can have twice.

#![forbid(unsafe_code)]

mod sequence;
mod words;

use std::sync::Arc;

use m2_core::{AccountId, AccountView, Switch};

use sequence::Sequence;
use words::Words;

/// How often an account is read before it is given up: a writer has it for some 20 ns, or, if the
/// system takes the core from it meanwhile, for as long as that lasts.
const READS_MAX: usize = 1_000;
/// How often all of them are, to find one moment: with a pass every 20 µs, 64 accounts are read in less.
const MOMENTS_MAX: usize = 16;

/// Every account of a switch, as its shards have published it last.
#[derive(Debug)]
pub struct Published {
    accounts: Vec<Account>,
    /// By shard: odd while it publishes a pass.
    passes: Vec<Pass>,
}

/// On lines of its own: who reads it does not slow down who writes its neighbour.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Account {
    sequence: Sequence,
    words: Words,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Pass(Sequence);

/// What a reading of all accounts came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reading {
    /// All of them are of one moment, of each shard.
    OneMoment,
    /// Each is of a moment of its own: there are too many for the shards to stand still so long.
    EachItsOwn,
    /// One is being written, and whoever does so has lost its core: read again in a while.
    Busy,
}

/// So many accounts, of which nothing is known yet, and the pens of so many shards.
#[must_use]
pub fn published(accounts: usize, shards: usize) -> (Arc<Published>, Vec<Publisher>) {
    let published = Arc::new(Published {
        accounts: (0..accounts).map(|_| Account::default()).collect(),
        passes: (0..shards).map(|_| Pass::default()).collect(),
    });
    let publisher = |shard| Publisher { published: Arc::clone(&published), shard };
    let publishers = (0..shards).map(publisher).collect();
    (published, publishers)
}

impl Published {
    /// An account at one moment; `None` if it was being written all the while.
    ///
    /// # Panics
    ///
    /// If there is no such account.
    #[must_use]
    pub fn read(&self, account: AccountId) -> Option<AccountView> {
        let account = &self.accounts[account.0 as usize];
        for _ in 0..READS_MAX {
            if let Some(seen) = account.sequence.begin_read() {
                let view = account.words.read();
                if account.sequence.end_read() == seen {
                    return Some(view);
                }
            }
            core::hint::spin_loop();
        }
        None
    }

    /// Every account, in order of ids; what `views` held is gone.
    pub fn read_all(&self, views: &mut Vec<AccountView>) -> Reading {
        for _ in 0..MOMENTS_MAX {
            let seen = self.moment();
            if !self.read_each(views) {
                return Reading::Busy;
            }
            if seen.is_some_and(|seen| self.is_still(seen)) {
                return Reading::OneMoment;
            }
            core::hint::spin_loop();
        }
        Reading::EachItsOwn
    }

    /// A number for the passes so far, unless one is being written. Sequences only rise, so their sum
    /// is the same as long as each of them is.
    fn moment(&self) -> Option<u64> {
        self.passes.iter().try_fold(0_u64, |sum, pass| Some(sum.wrapping_add(pass.0.begin_read()?)))
    }

    /// Whether no shard has begun a pass since, as seen by whoever has read what they wrote.
    fn is_still(&self, seen: u64) -> bool {
        self.passes.iter().fold(0_u64, |sum, pass| sum.wrapping_add(pass.0.end_read())) == seen
    }

    fn read_each(&self, views: &mut Vec<AccountView>) -> bool {
        views.clear();
        let ids = (0_u32..).map(AccountId).take(self.accounts.len());
        views.extend(ids.map_while(|account| self.read(account)));
        views.len() == self.accounts.len()
    }
}

/// The pen of one shard.
#[derive(Debug)]
pub struct Publisher {
    published: Arc<Published>,
    shard: usize,
}

impl Publisher {
    /// Publishes every account that has changed on this shard, as one pass.
    pub fn publish(&mut self, switch: &mut Switch) {
        if switch.has_changed() {
            let mut pass = self.begin();
            switch.drain_changed(|account, view| pass.put(account, &view));
        }
    }

    /// Begins a pass, which ends when it is dropped. Accounts of other shards do not stand in it.
    pub fn begin(&mut self) -> Writing<'_> {
        let Self { published, shard } = self;
        published.passes[*shard].0.begin_write();
        Writing { published, shard: *shard }
    }
}

/// A pass that is being written.
#[derive(Debug)]
pub struct Writing<'a> {
    published: &'a Published,
    shard: usize,
}

impl Writing<'_> {
    /// An account as it stands at the end of this pass.
    ///
    /// # Panics
    ///
    /// If there is no such account.
    pub fn put(&mut self, account: AccountId, view: &AccountView) {
        let Account { sequence, words } = &self.published.accounts[account.0 as usize];
        sequence.begin_write();
        words.write(view);
        sequence.end_write();
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.published.passes[self.shard].0.end_write();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_whose_writer_does_not_come_to_an_end_is_given_up() {
        let (published, _publishers) = published(2, 1);
        published.accounts[1].sequence.begin_write();
        assert_eq!(published.read(AccountId(0)), Some(AccountView::default()));
        assert_eq!(published.read(AccountId(1)), None);
        assert_eq!(published.read_all(&mut Vec::new()), Reading::Busy);
        published.accounts[1].sequence.end_write();
        assert_eq!(published.read_all(&mut Vec::new()), Reading::OneMoment);
    }
}
