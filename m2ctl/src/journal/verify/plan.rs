//! Where the order of records matters, and where words are known: the cuts of each account.
//!
//! ```text
//!   own stream     out  out  CREDIT 1  out  | out
//!   other stream   in  in | in  in  in     | in
//!                         '- of credit 1   '- a snapshot: appended, and applied for each stream
//!                  epoch 0  | epoch 1      | epoch 2
//! ```
//!
//! Between two cuts all legs commute, so that any thread may add up any of them in any order: only
//! sums are kept, one pair of them for each account and epoch.

use std::sync::Arc;

use m2_core::record::Record;
use m2_core::{AccountId, ShardImage};

use super::super::open::Generation;
use super::super::start::Start;

/// One cut through the legs of an account.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    /// Events of the account's own stream from this position on come behind it.
    pub(super) own: u64,
    /// By stream: incoming legs from these positions on come behind it.
    pub(super) applied: Arc<[u64]>,
    pub(super) what: What,
}

/// What happens at a cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum What {
    /// What comes before is in the words that we begin with.
    Start,
    /// The words are those of the snapshot with this index among its shard's.
    Snapshot(usize),
    /// A credit or a reversal, at this position of the own stream.
    Money,
}

/// A credit or a reversal that the streams have.
#[derive(Clone, Debug)]
pub(super) struct Money {
    pub(super) stream: u16,
    pub(super) position: u64,
    pub(super) account: AccountId,
    pub(super) applied: Arc<[u64]>,
}

/// The cuts of all accounts of a generation.
#[derive(Debug)]
pub(super) struct Plan {
    /// By account.
    accounts: Vec<Account>,
    /// The lists of the shards come first; accounts with credits have one of their own.
    lists: Vec<Vec<Cut>>,
}

#[derive(Clone, Copy, Debug)]
struct Account {
    shard: u16,
    list: u32,
    /// Of its first epoch, among those of all.
    offset: usize,
}

/// Positions that run backwards where they cannot: a sentence.
pub(super) type Backwards = String;

impl Money {
    /// What a plan needs of a record, if it is one.
    pub(super) fn of(stream: u16, position: u64, record: &Record) -> Option<Self> {
        let (Record::Credited(money) | Record::Reversed(money)) = record else { return None };
        let (account, applied) = (money.account, money.applied.as_ref().into());
        Some(Self { stream, position, account, applied })
    }
}

impl Plan {
    /// Of what was found. What cannot be of this generation is left out: it is a fault where it
    /// stands.
    ///
    /// # Errors
    ///
    /// When what must be in order is not.
    pub(super) fn new(
        generation: &Generation,
        starts: &[Start],
        snapshots: &[Vec<ShardImage>],
        mut money: Vec<Money>,
    ) -> Result<Self, Backwards> {
        let shards = generation.base.shards;
        let mut lists = Vec::with_capacity(shards);
        for (shard, start) in starts.iter().enumerate() {
            lists.push(shard_list(start, &snapshots[shard]));
        }
        let known = &generation.base.accounts;
        money.retain(|each| {
            let account = known.get(each.account.0 as usize);
            account.is_some_and(|it| it.shard.0 == each.stream) && each.applied.len() == shards
        });
        money.sort_by_key(|each| (each.account, each.position));
        let mut accounts: Vec<_> = known
            .iter()
            .map(|it| Account { shard: it.shard.0, list: u32::from(it.shard.0), offset: 0 })
            .collect();
        for own in money.chunk_by(|a, b| a.account == b.account) {
            let mut both = own.windows(2);
            if let Some(both) = both.find(|it| !is_forward(&it[0].applied, &it[1].applied)) {
                return Err(backwards(generation, both[0].position, both[1].position));
            }
            let account = &mut accounts[own[0].account.0 as usize];
            let mut list = lists[usize::from(account.shard)].clone();
            list.extend(own.iter().map(|each| Cut {
                own: each.position,
                applied: Arc::clone(&each.applied),
                what: What::Money,
            }));
            // Sorting keeps snapshots before credits at the same position: those come behind.
            list.sort_by_key(|cut| cut.own);
            raise(&mut list);
            account.list = u32::try_from(lists.len()).expect("there are fewer accounts");
            lists.push(list);
        }
        let mut plan = Self { accounts, lists };
        plan.check(generation)?;
        plan.number();
        Ok(plan)
    }

    /// For records that only their form is checked of: all legs of an account are one sum.
    pub(super) fn of_nothing(generation: &Generation) -> Self {
        let accounts = generation.base.accounts.iter();
        let of =
            |it: &m2_journal::image::Account| Account { shard: it.shard.0, list: 0, offset: 0 };
        let mut plan = Self { accounts: accounts.map(of).collect(), lists: vec![Vec::new()] };
        plan.number();
        plan
    }

    /// Positions of a shard never run backwards, so neither do those of its cuts.
    fn check(&self, generation: &Generation) -> Result<(), Backwards> {
        let mut both = self.lists.iter().flat_map(|list| list.windows(2));
        match both.find(|both| !is_forward(&both[0].applied, &both[1].applied)) {
            Some(both) => Err(backwards(generation, both[0].own, both[1].own)),
            None => Ok(()),
        }
    }

    fn number(&mut self) {
        let mut offset = 0;
        for account in &mut self.accounts {
            account.offset = offset;
            offset += self.lists[account.list as usize].len() + 1;
        }
    }

    /// How many epochs all accounts have together.
    pub(super) fn epochs(&self) -> usize {
        let last = self.accounts.last();
        last.map_or(0, |last| last.offset + self.lists[last.list as usize].len() + 1)
    }

    /// How many accounts there are.
    pub(super) fn accounts(&self) -> usize {
        self.accounts.len()
    }

    /// Which shard owns an account.
    pub(super) fn shard(&self, account: AccountId) -> Option<u16> {
        Some(self.accounts.get(account.0 as usize)?.shard)
    }

    /// The cuts of an account that is there, in order.
    pub(super) fn cuts(&self, account: AccountId) -> &[Cut] {
        &self.lists[self.accounts[account.0 as usize].list as usize]
    }

    /// Which of all epochs is the first of an account that is there.
    pub(super) fn offset(&self, account: AccountId) -> usize {
        self.accounts[account.0 as usize].offset
    }
}

fn is_forward(before: &[u64], now: &[u64]) -> bool {
    before.iter().zip(now).all(|(before, now)| before <= now)
}

fn backwards(generation: &Generation, before: u64, now: u64) -> Backwards {
    format!(
        "generation {}: what a shard had applied runs backwards between positions {before} and {now} of \
         its stream",
        generation.number
    )
}

/// A snapshot may name more of a stream than its shard was told, where only legs of others follow; a
/// credit behind it names what the shard was told. Both say the same of the legs that there are.
fn raise(list: &mut [Cut]) {
    for at in 1..list.len() {
        if list[at].what == What::Money {
            let both = list[at - 1].applied.iter().zip(list[at].applied.iter());
            list[at].applied = both.map(|(before, now)| *before.max(now)).collect();
        }
    }
}

fn shard_list(start: &Start, snapshots: &[ShardImage]) -> Vec<Cut> {
    let mut list = Vec::with_capacity(snapshots.len() + 1);
    if start.snapshot.is_some() {
        let (own, applied) = (start.appended, start.applied.as_slice().into());
        list.push(Cut { own, applied, what: What::Start });
    }
    list.extend(snapshots.iter().enumerate().map(|(index, image)| Cut {
        own: image.appended,
        applied: image.applied.as_slice().into(),
        what: What::Snapshot(index),
    }));
    list
}
