//! Which account each key of a payment is for, over all shards.
//!
//! A shard sees that a key of its own is told of for something else. It cannot see that another shard has
//! the key; and a journal in which a key stands for two payments is damaged. So an order claims its key
//! for the shard that it goes to.
//!
//! Invariant: a key that a shard knows, or that an order to it may yet bring it, is claimed for that shard.

use std::collections::HashMap;

use m2_core::{AccountId, Key, ShardId};

/// See the head of the file.
#[derive(Debug, Default)]
pub(super) struct Claims(HashMap<Key, Claim>);

#[derive(Clone, Copy, Debug)]
struct Claim {
    shard: ShardId,
    /// One that it was told of for, to name it.
    account: AccountId,
    /// Orders that nobody knows the end of.
    under_way: u32,
    /// A shard may know the key.
    is_used: bool,
}

impl Claims {
    /// The keys that a journal brought.
    pub(super) fn new(known: impl Iterator<Item = (Key, ShardId, AccountId)>) -> Self {
        let claim = |shard, account| Claim { shard, account, under_way: 0, is_used: true };
        Self(known.map(|(key, shard, account)| (key, claim(shard, account))).collect())
    }

    /// Claims a key for an order to a shard about one of its accounts.
    ///
    /// # Errors
    ///
    /// For which account it was told of if it is another shard's: then nothing was claimed.
    pub(super) fn claim(
        &mut self,
        key: Key,
        shard: ShardId,
        account: AccountId,
    ) -> Result<(), AccountId> {
        let new = Claim { shard, account, under_way: 0, is_used: false };
        let claim = self.0.entry(key).or_insert(new);
        if claim.shard != shard {
            return Err(claim.account);
        }
        claim.under_way += 1;
        Ok(())
    }

    /// A shard has made a key by itself. Nobody else has had it: it is random.
    pub(super) fn made(&mut self, key: Key, shard: ShardId, account: AccountId) {
        let new = Claim { shard, account, under_way: 0, is_used: false };
        self.0.entry(key).or_insert(new).is_used = true;
    }

    /// The order has ended. A key that no shard has come to know is free again.
    pub(super) fn ended(&mut self, key: Key, is_used: bool) {
        let claim = self.0.get_mut(&key).expect("it was claimed for the order");
        claim.under_way -= 1;
        claim.is_used |= is_used;
        if claim.under_way == 0 && !claim.is_used {
            self.0.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key([7; 16]);
    const ALICE: AccountId = AccountId(0);
    const BOB: AccountId = AccountId(1);
    const CAROL: AccountId = AccountId(2);
    const HERE: ShardId = ShardId(0);
    const THERE: ShardId = ShardId(1);

    #[test]
    fn a_key_that_a_shard_has_made_is_its_shards_for_good() {
        let mut claims = Claims::default();
        claims.made(KEY, HERE, ALICE);
        assert_eq!(claims.claim(KEY, THERE, BOB), Err(ALICE));
        claims.claim(KEY, HERE, CAROL).unwrap();
        claims.ended(KEY, false);
        assert_eq!(claims.claim(KEY, THERE, BOB), Err(ALICE), "no order has made it free");
    }

    #[test]
    fn a_key_that_stands_for_a_payment_is_its_shards_for_good() {
        let mut claims = Claims::new([(Key([1; 16]), THERE, BOB)].into_iter());
        assert_eq!(claims.claim(Key([1; 16]), HERE, ALICE), Err(BOB), "a journal brought it");
        assert_eq!(claims.claim(KEY, HERE, ALICE), Ok(()));
        claims.ended(KEY, true);
        assert_eq!(claims.claim(KEY, HERE, ALICE), Ok(()), "told again");
        claims.ended(KEY, false);
        assert_eq!(claims.claim(KEY, THERE, BOB), Err(ALICE));
    }

    #[test]
    fn a_key_that_came_to_nothing_is_free_once_no_order_has_it() {
        let mut claims = Claims::default();
        let here = [claims.claim(KEY, HERE, ALICE), claims.claim(KEY, HERE, ALICE)];
        assert_eq!(here, [Ok(()), Ok(())]);
        claims.ended(KEY, false);
        assert_eq!(claims.claim(KEY, THERE, BOB), Err(ALICE), "the other order may use it");
        claims.ended(KEY, false);
        assert_eq!(claims.claim(KEY, THERE, BOB), Ok(()));
    }

    /// A freeze that came to nothing, and a credit of another account of its shard that used the key
    /// meanwhile.
    #[test]
    fn a_key_that_another_account_of_the_shard_has_used_is_not_free() {
        let mut claims = Claims::default();
        assert_eq!(claims.claim(KEY, HERE, ALICE), Ok(()));
        assert_eq!(claims.claim(KEY, HERE, CAROL), Ok(()), "the shard says whether it fits");
        claims.ended(KEY, false);
        claims.ended(KEY, true);
        assert!(claims.claim(KEY, THERE, BOB).is_err());
    }
}
