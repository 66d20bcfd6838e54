//! Money outside the packet path, told to the switch under keys: also twice, and again after a restart.

use m2_core::{AccountId, Intent, Key, KeyError, KeyKind, KeyOutcome, KeyState, Settle};

use super::seen::Event;
use super::tape::{Freeze, Limits, Told};
use super::world::World;
use crate::dice::mix;

impl World {
    fn new_key(&self) -> Key {
        self.key(0x6e1, self.told_keys.len() as u64)
    }

    /// One of a kind of keys.
    fn key(&self, kind: u64, number: u64) -> Key {
        let half = |salt| mix(mix(self.plan.seed, kind), number << 1 | salt).to_be_bytes();
        let mut key = [0; 16];
        key[..8].copy_from_slice(&half(0));
        key[8..].copy_from_slice(&half(1));
        Key(key)
    }

    /// A peer has paid, or a payment has proved void.
    pub(crate) fn money(&mut self, is_credit: bool, account: u64, amount: u64) {
        let account = AccountId(self.account(account));
        let amount = [amount % 50, amount % 5_000, amount][usize::try_from(amount % 3).expect("3")];
        let kind = if is_credit { KeyKind::Credited } else { KeyKind::Reversed };
        let key = self.new_key();
        self.tell_money(key, KeyState { account, amount: amount.into(), kind });
    }

    fn tell_money(&mut self, key: Key, state: KeyState) {
        let KeyState { account, amount, kind } = state;
        let amount = u64::try_from(amount).expect("credits are u64");
        let told = match kind {
            KeyKind::Credited => Told::Credit(account, key, amount),
            _ => Told::Reversal(account, key, amount),
        };
        let told = self.machine.tell(self.shard_of(account), self.now, told);
        if told == Err(KeyError::NoRecord) {
            self.seen.saw(Event::NoRecord);
            return;
        }
        let wanted = match self.keys.get(&key) {
            None => Ok(KeyOutcome::New),
            Some(known) if *known == state => Ok(KeyOutcome::Known),
            Some(known) => Err(KeyError::Differs { known: *known }),
        };
        assert!(told == wanted, "key: {key:?} is {told:?}, not {wanted:?}");
        if told == Ok(KeyOutcome::New) {
            self.keys.insert(key, state);
            self.told_keys.push((key, state));
        }
        self.tell(|| format!("{kind:?} {amount} of {account:?}: {told:?}"));
    }

    /// Whoever told of a key has not heard that it is written down.
    pub(crate) fn again(&mut self, which: u64, other: u64) {
        if self.told_keys.is_empty() {
            return;
        }
        let which = usize::try_from(which % self.told_keys.len() as u64).expect("below a length");
        let (key, mut state) = self.told_keys[which];
        match state.kind {
            KeyKind::Credited | KeyKind::Reversed => {
                // Now and then it is told wrongly.
                state.amount += u128::from(other.is_multiple_of(8));
                if !self.keys.contains_key(&key) {
                    self.seen.saw(Event::KeyForgotten);
                    state = self.told_keys[which].1;
                } else {
                    self.seen.saw(Event::KeyAgain);
                }
                self.tell_money(key, state);
            }
            kind => self.tell_end(key, state, kind),
        }
    }

    pub(crate) fn freeze(&mut self, account: u64, threshold: u64) {
        // What pairs without records have made us owe is never paid: a crash forgets it.
        if self.plan.has_loose() {
            return;
        }
        let account = AccountId(self.account(account));
        let to = [0, threshold % 100][usize::try_from(threshold % 2).expect("2")];
        let threshold = to + 1 + threshold / 2 % 2_000;
        let (key, shard) = (self.new_key(), self.shard_of(account));
        let switch = &self.machine.shards[shard].switch;
        let words = switch.account_view(account).words;
        let payable = -words.balance;
        let wanted = payable >= i128::from(threshold);
        let wanted = wanted.then(|| (payable - i128::from(to)).unsigned_abs());
        let freeze = Freeze { account, key, threshold, to };
        match self.machine.freeze(shard, self.now, freeze) {
            Err(KeyError::NoRecord) => self.seen.saw(Event::NoRecord),
            Err(KeyError::Outstanding { amount }) => {
                let frozen = words.frozen.unsigned_abs();
                assert!(amount == frozen && frozen > 0, "key: {amount} of {frozen} are being paid");
            }
            told => {
                assert!(words.frozen == 0, "key: an account is paid twice at once");
                assert!(told == Ok(wanted), "key: {told:?} is frozen, not {wanted:?}");
                if let Some(amount) = wanted {
                    self.seen.saw(Event::Frozen);
                    let state = KeyState { account, amount, kind: KeyKind::Frozen };
                    self.keys.insert(key, state);
                    self.told_keys.push((key, state));
                }
            }
        }
    }

    /// What has come to a threshold, on the shard of an account, is set aside.
    pub(crate) fn freeze_due(&mut self, account: u64) {
        let account = AccountId(self.account(account));
        let shard = self.shard_of(account);
        let first = self.told_keys.len() as u64;
        let key = |nth| self.key(0xd0e, first << 8 | u64::from(nth));
        let keys: Vec<Key> = (0..self.plan.account_count()).map(key).collect();
        let before: Vec<i128> = self.due_of(shard);
        for Intent { account, key, amount, .. } in self.machine.freeze_due(shard, self.now, &keys) {
            let wanted = before[account.0 as usize];
            assert!(amount.cast_signed() == wanted, "key: {amount} is frozen, not {wanted}");
            self.seen.saw(Event::FrozenDue);
            let state = KeyState { account, amount, kind: KeyKind::Frozen };
            self.keys.insert(key, state);
            self.told_keys.push((key, state));
        }
        let is_due = self.due_of(shard).iter().any(|amount| *amount > 0);
        let switch = &self.machine.shards[shard].switch;
        // Without room for a record nothing is looked at: then one that is due no more may stay listed.
        let has_due = switch.has_due();
        assert!(has_due || !is_due, "key: what is due is not on the list");
        if has_due {
            self.seen.saw(Event::NoRecord);
        }
    }

    /// By account: what is to be frozen of those of a shard that have come to their thresholds.
    fn due_of(&self, shard: usize) -> Vec<i128> {
        let switch = &self.machine.shards[shard].switch;
        let due = |id: u32| {
            let Some(Settle { threshold, to }) = self.plan.settle(id) else { return 0 };
            if self.shard_of(AccountId(id)) != shard {
                return 0;
            }
            let words = switch.account_view(AccountId(id)).words;
            let is_due = words.frozen == 0 && -words.balance >= i128::from(threshold);
            if is_due { -words.balance - i128::from(to) } else { 0 }
        };
        (0..self.plan.account_count()).map(due).collect()
    }

    /// A frozen amount is paid, or cannot be.
    pub(crate) fn end_frozen(&mut self, is_paid: bool, which: u64) {
        let frozen = |(_, state): &&(Key, KeyState)| state.kind == KeyKind::Frozen;
        let frozen: Vec<_> = self.told_keys.iter().filter(frozen).copied().collect();
        if let Some(which) = which.checked_rem(frozen.len() as u64) {
            let (key, state) = frozen[usize::try_from(which).expect("below a length")];
            let kind = if is_paid { KeyKind::Settled } else { KeyKind::Cancelled };
            self.tell_end(key, state, kind);
        }
    }

    /// What becomes of a frozen amount is told, be it known or not. The intent left when the freeze was
    /// durable, so a key that was forgotten is one that nobody can tell the end of.
    fn tell_end(&mut self, key: Key, state: KeyState, kind: KeyKind) {
        let end = if kind == KeyKind::Frozen { KeyKind::Settled } else { kind };
        let told = match end {
            KeyKind::Settled => Told::Settled(key),
            _ => Told::Cancelled(key),
        };
        let told = self.machine.tell(self.shard_of(state.account), self.now, told);
        if told == Err(KeyError::NoRecord) {
            self.seen.saw(Event::NoRecord);
            return;
        }
        let wanted = match self.keys.get(&key) {
            None => Err(KeyError::Unknown),
            Some(known) if known.kind == KeyKind::Frozen => Ok(KeyOutcome::New),
            Some(known) if known.kind == end => Ok(KeyOutcome::Known),
            Some(known) => Err(KeyError::Differs { known: *known }),
        };
        assert!(told == wanted, "key: the end of {key:?} is {told:?}, not {wanted:?}");
        self.seen.saw(if told.is_ok() { Event::FrozenEnded } else { Event::KeyForgotten });
        if told == Ok(KeyOutcome::New) {
            self.keys.insert(key, KeyState { kind: end, ..state });
        }
    }

    pub(crate) fn limits(&mut self, account: u64, balance_max: u64, payable_max: u64) {
        let account = AccountId(self.account(account));
        let limits = Limits { account, balance_max: balance_max * 2, payable_max: payable_max * 2 };
        let is_set = self.machine.set_limits(self.shard_of(account), self.now, limits);
        self.seen.saw(if is_set { Event::LimitsChanged } else { Event::NoRecord });
    }

    fn shard_of(&self, account: AccountId) -> usize {
        self.books.accounts[account.0 as usize].shard
    }
}
