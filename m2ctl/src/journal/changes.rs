//! What records do to the position of an account: the one number that a freeze, a credit spent or paid
//! ahead, and the order of records do not change.
//!
//! `position = balance - prepaid - frozen`; positive: the peer owes us.

use m2_core::AccountId;
use m2_core::record::Record;

/// By how much a record changes the position of an account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Change {
    pub(crate) account: AccountId,
    pub(crate) by: i128,
    /// It is the incoming leg of a pair, which may stand in the stream of another shard.
    pub(crate) is_incoming: bool,
}

/// Gives every change that a record makes: two for a pair, one for each leg.
///
/// An amount that no ledger comes to (2^127 and more, which no record that was decoded holds) counts
/// as nothing.
pub(crate) fn changes(record: &Record, mut give: impl FnMut(Change)) {
    let own = |account, by| Change { account, by, is_incoming: false };
    match record {
        Record::Pair(pair) => {
            let incoming = own(pair.account_in, i128::from(pair.amount_in));
            give(Change { is_incoming: true, ..incoming });
            give(own(pair.account_out, -i128::from(pair.amount_out)));
        }
        Record::Settled(keyed) => {
            give(own(keyed.account, i128::try_from(keyed.amount).unwrap_or(0)));
        }
        Record::Credited(money) => give(own(money.account, -i128::from(money.amount))),
        Record::Reversed(money) => give(own(money.account, i128::from(money.amount))),
        Record::LateFulfill(_) | Record::Limits(_) | Record::Frozen(_) | Record::Cancelled(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use m2_core::Durability;
    use m2_core::ledger::Words;
    use m2_core::record::{Key, KeyRecord, MoneyRecord, PairRecord};

    use super::*;

    /// The words of a ledger say the same, in every order.
    #[test]
    fn a_position_changes_as_the_words_of_the_core_do() {
        let account = AccountId(1);
        let pair = |account_in: u32, account_out: u32| {
            Record::Pair(PairRecord {
                amount_in: 70,
                amount_out: 60,
                decided_at_ms: 0,
                condition_head: [0; 16],
                account_in: AccountId(account_in),
                account_out: AccountId(account_out),
                rate_version: 0,
                durability: Durability::Sync,
            })
        };
        let key = Key([0; 16]);
        let keyed = KeyRecord { account, key, amount: 50, at_ms: 0 };
        let money = MoneyRecord { account, key, amount: 90, at_ms: 0, applied: [0].into() };
        let records = [
            pair(1, 2),
            pair(2, 1),
            Record::Credited(money.clone()),
            Record::Frozen(keyed),
            Record::Settled(keyed),
            Record::Frozen(keyed),
            Record::Cancelled(keyed),
            Record::Reversed(money),
        ];
        let (mut words, mut position) = (Words::default(), 0);
        for record in &records {
            match record {
                Record::Pair(pair) if pair.account_in == account => words.commit_in(70),
                Record::Pair(_) => words.commit_out(60),
                Record::Credited(_) => words.credit(90),
                Record::Reversed(_) => words.reverse(90),
                Record::Frozen(_) => words.freeze(50),
                Record::Settled(_) => words.settle(50),
                _ => words.cancel(50),
            }
            changes(record, |change| {
                position += if change.account == account { change.by } else { 0 };
            });
            assert_eq!(position, words.position(), "{record:?}");
        }
        assert_eq!(position, 70 - 60 - 90 + 50 + 90);
    }
}
