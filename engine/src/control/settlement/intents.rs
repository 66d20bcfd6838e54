//! Amounts to be paid: which of them may be told outside of the process.
//!
//! ```text
//!   frozen --> waiting --all that it rests on is durable--> ready --> ended
//!                 `-------------------------------------------------^
//! ```
//!
//! What a crash forgets must not have been paid. An amount rests on the record of its freeze, and on every
//! record whose leg the ledger held when it was frozen, in whatever stream it stands.
//!
//! Invariants: an amount is told only when every stream is durable up to where it rests; once, until it
//! is asked for all of them; and not after its end.

use std::collections::BTreeMap;

use m2_core::{AccountId, Intent, Key, KeyNews};

/// An amount that may be told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::control) struct Ready {
    pub(in crate::control) account: AccountId,
    pub(in crate::control) key: Key,
    /// Units of the account.
    pub(in crate::control) amount: u128,
}

/// See the head of the file.
#[derive(Debug, Default)]
pub(super) struct Intents {
    /// In the order in which they were frozen, as far as there is one.
    waiting: Vec<Intent>,
    ready: BTreeMap<Key, (AccountId, u128)>,
}

impl Intents {
    /// Those that a journal brought: all that they rest on is durable.
    pub(super) fn new(recovered: impl Iterator<Item = Ready>) -> Self {
        let ready = recovered.map(|Ready { account, key, amount }| (key, (account, amount)));
        Self { waiting: Vec::new(), ready: ready.collect() }
    }

    /// Notes what has become of a frozen amount.
    pub(super) fn note(&mut self, news: KeyNews) {
        match news {
            KeyNews::Frozen(intent) => self.waiting.push(intent),
            KeyNews::Ended(key) => {
                self.waiting.retain(|intent| intent.key != key);
                self.ready.remove(&key);
            }
        }
    }

    /// Whether any waits until more is durable.
    pub(super) fn wait(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes notice that each stream is durable up to its position; those that may be told by that.
    pub(super) fn advance(&mut self, durable: &[u64]) -> Vec<Ready> {
        let rests = |intent: &mut Intent| {
            assert!(intent.rests_on.len() == durable.len(), "there are as many streams as shards");
            intent.rests_on.iter().zip(durable).all(|(rests_on, durable)| rests_on <= durable)
        };
        let told = self.waiting.extract_if(.., rests).map(|intent| {
            let Intent { account, key, amount, .. } = intent;
            self.ready.insert(key, (account, amount));
            Ready { account, key, amount }
        });
        told.collect()
    }

    /// Every amount that may be told and has not ended.
    pub(super) fn ready(&self) -> impl Iterator<Item = Ready> {
        self.ready.iter().map(|(&key, &(account, amount))| Ready { account, key, amount })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: AccountId = AccountId(0);
    const BOB: AccountId = AccountId(1);

    fn intent(number: u8, rests_on: &[u64]) -> Intent {
        Intent { account: ALICE, key: Key([number; 16]), amount: 5, rests_on: rests_on.into() }
    }

    fn numbers(told: impl IntoIterator<Item = Ready>) -> Vec<u8> {
        told.into_iter().map(|ready| ready.key.0[0]).collect()
    }

    #[test]
    fn an_amount_is_told_when_every_stream_is_durable_up_to_where_it_rests() {
        // Every durable position around what it rests on, in three streams.
        let rests_on = [3_u64, 0, 7];
        for off in 0..27 {
            let off = [off % 3, off / 3 % 3, off / 9];
            let durable = [0, 1, 2].map(|at| (rests_on[at] + off[at]).saturating_sub(1));
            let mut intents = Intents::default();
            intents.note(KeyNews::Frozen(intent(1, &rests_on)));
            let is_told =
                durable.iter().zip(rests_on).all(|(durable, rests_on)| *durable >= rests_on);
            assert_eq!(!intents.advance(&durable).is_empty(), is_told, "{durable:?}");
            assert_eq!(intents.wait(), !is_told);
            assert_eq!(intents.ready().count(), usize::from(is_told));
        }
    }

    #[test]
    fn each_is_told_once_and_all_of_them_whenever_somebody_asks() {
        let before = Ready { account: BOB, key: Key([9; 16]), amount: 1 << 70 };
        let mut intents = Intents::new([before].into_iter());
        assert!(!intents.wait());
        assert_eq!(intents.ready().collect::<Vec<_>>(), [before]);
        for (number, position) in [(1, 4), (2, 2), (3, 5)] {
            intents.note(KeyNews::Frozen(intent(number, &[position, 0])));
        }
        assert_eq!(numbers(intents.advance(&[4, 0])), [1, 2]);
        assert_eq!(numbers(intents.advance(&[4, 0])), [0; 0]);
        assert_eq!(numbers(intents.advance(&[5, 9])), [3]);
        assert_eq!(numbers(intents.ready()), [1, 2, 3, 9]);
    }

    #[test]
    fn what_has_ended_is_told_no_more_whether_it_was_told_or_not() {
        let mut intents = Intents::default();
        intents.note(KeyNews::Frozen(intent(1, &[1])));
        intents.note(KeyNews::Frozen(intent(2, &[2])));
        assert_eq!(numbers(intents.advance(&[1])), [1]);
        intents.note(KeyNews::Ended(Key([1; 16])));
        intents.note(KeyNews::Ended(Key([2; 16])));
        assert!(!intents.wait());
        assert_eq!(numbers(intents.advance(&[9])), [0; 0]);
        assert_eq!(numbers(intents.ready()), [0; 0]);
    }
}
