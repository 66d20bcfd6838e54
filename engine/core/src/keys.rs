//! Money outside the packet path: what peers pay us, what we pay them, and limits. Each change leaves
//! a record, and each that is told from outside bears a key.
//!
//! ```text
//!   (unknown) --credit--> Credited      (unknown) --freeze--> Frozen --settled--> Settled
//!   (unknown) --reverse-> Reversed                              `------cancelled-> Cancelled
//! ```
//!
//! An account is paid by itself as well: one that has come to its threshold stands on a list, and
//! [`Switch::freeze_due`] freezes what is to be paid. The threshold is looked at after each commit, after
//! each end of a frozen amount and after a restart, which is whenever we may have come to owe more.
//!
//! Whoever tells of a credit does so until it hears that the credit is written down, so one may be
//! told of twice, by the same key. A key that is known changes nothing; the same key with another
//! account, amount or meaning is an error that somebody has to look at.
//!
//! Invariants: what a record needs is reserved before anything changes; a frozen amount stands in
//! the table under its key and is taken out of it once; an account has at most one, but for those that
//! an older journal has brought; an account that is due is on the list.

use std::collections::BTreeMap;

use crate::account::Settle;
use crate::ids::{AccountId, Now};
use crate::ledger::Frozen;
use crate::limits::KEYS_MAX;
use crate::record::{Key, KeyKind, KeyRecord, KeyState, LimitsRecord, MoneyRecord, Record};
use crate::ring::Place;
use crate::switch::Switch;

/// What telling of a key has done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyOutcome {
    /// It changed the ledger, and a record says so.
    New,
    /// Nothing: it was told of before.
    Known,
}

/// Why a key could not be taken. Nothing changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyError {
    /// There is no room for a record now.
    NoRecord,
    /// The shard keeps [`KEYS_MAX`] keys already.
    Full,
    /// The key is known, and stands for something else.
    Differs {
        /// What it stands for.
        known: KeyState,
    },
    /// Nothing was frozen under the key.
    Unknown,
    /// The account is being paid already, under another key.
    Outstanding {
        /// How much, in units of the account.
        amount: u128,
    },
}

impl core::fmt::Display for KeyError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoRecord => f.write_str("no record is free: tell it again in a while"),
            Self::Full => write!(f, "the shard keeps {KEYS_MAX} keys, and no room for another"),
            Self::Differs { known: KeyState { account, amount, kind } } => write!(
                f,
                "the key is known as {kind:?}, {amount} units of account {}: the same key may not \
                 stand for two things",
                account.0
            ),
            Self::Unknown => f.write_str("nothing was frozen under this key"),
            Self::Outstanding { amount } => write!(
                f,
                "{amount} units are being paid to this account already: tell first how that has \
                 ended, settled or cancelled"
            ),
        }
    }
}

impl core::error::Error for KeyError {}

/// There is no room for a record now. Nothing changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoRecord;

impl core::fmt::Display for NoRecord {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        KeyError::NoRecord.fmt(f)
    }
}

impl core::error::Error for NoRecord {}

impl From<NoRecord> for KeyError {
    fn from(NoRecord: NoRecord) -> Self {
        Self::NoRecord
    }
}

/// What a shard has to tell whoever pays: frozen amounts and their ends, in the order of decisions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeyNews {
    /// An amount was frozen.
    Frozen(Intent),
    /// One was settled or cancelled.
    Ended(Key),
}

/// An amount to be paid. It may be told outside of the process only once all that it rests on is durable:
/// what a crash forgets must not have been paid.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Intent {
    /// Whom.
    pub account: AccountId,
    /// The amount's name.
    pub key: Key,
    /// Units of the account.
    pub amount: u128,
    /// By stream: the record of the freeze, and every record whose leg the account's ledger then held,
    /// stands below this position.
    pub rests_on: Box<[u64]>,
}

/// All keys of a shard. In their order, so that an image of them is the same every time.
#[derive(Debug)]
pub(crate) struct Keys {
    known: BTreeMap<Key, Known>,
    most: usize,
}

#[derive(Debug)]
struct Known {
    state: KeyState,
    /// There while the state is `Frozen`.
    frozen: Option<Frozen>,
}

impl Keys {
    pub(crate) fn new(most: usize) -> Self {
        Self { known: BTreeMap::new(), most }
    }

    fn get(&self, key: Key) -> Option<KeyState> {
        Some(self.known.get(&key)?.state)
    }

    fn has_room(&self) -> bool {
        self.known.len() < self.most
    }

    /// A key as it was kept before a restart, whatever the limit is now.
    pub(crate) fn restore(&mut self, key: Key, state: KeyState) {
        let KeyState { account, amount, kind } = state;
        let is_frozen = kind == KeyKind::Frozen;
        let frozen = is_frozen.then(|| Frozen::restored(account, amount));
        let before = self.known.insert(key, Known { state, frozen });
        assert!(before.is_none(), "a key is restored once");
    }

    pub(crate) fn states(&self) -> impl Iterator<Item = (Key, KeyState)> {
        self.known.iter().map(|(key, known)| (*key, known.state))
    }

    /// The frozen amount of a key, whose end is `end`: taken out once. `None` if it has come to this
    /// end before.
    fn frozen(&self, key: Key, end: KeyKind) -> Result<Option<KeyState>, KeyError> {
        let state = self.get(key).ok_or(KeyError::Unknown)?;
        match state.kind {
            KeyKind::Frozen => Ok(Some(state)),
            kind if kind == end => Ok(None),
            _ => Err(KeyError::Differs { known: state }),
        }
    }

    fn end(&mut self, key: Key, end: KeyKind) -> Frozen {
        let known = self.known.get_mut(&key).expect("frozen() has found it");
        known.state.kind = end;
        known.frozen.take().expect("frozen() found it frozen")
    }
}

impl Switch {
    /// What a key stands for, if it is known.
    #[must_use]
    pub fn key_state(&self, key: Key) -> Option<KeyState> {
        self.keys.get(key)
    }

    /// The peer paid us `amount` outside the packet path.
    ///
    /// # Errors
    ///
    /// See [`KeyError`].
    ///
    /// # Panics
    ///
    /// Here and in the others, if the account is another shard's.
    pub fn credit(
        &mut self,
        now: Now,
        account: AccountId,
        key: Key,
        amount: u64,
    ) -> Result<KeyOutcome, KeyError> {
        let kind = KeyKind::Credited;
        let Some(place) = self.take_key(key, KeyState { account, amount: amount.into(), kind })?
        else {
            return Ok(KeyOutcome::Known);
        };
        self.own(account).ledger.credit(amount);
        let record = self.money_record(now, account, key, amount);
        self.append(place, Record::Credited(record));
        Ok(KeyOutcome::New)
    }

    /// A payment of the peer proved void.
    ///
    /// # Errors
    ///
    /// See [`KeyError`].
    pub fn reverse(
        &mut self,
        now: Now,
        account: AccountId,
        key: Key,
        amount: u64,
    ) -> Result<KeyOutcome, KeyError> {
        let kind = KeyKind::Reversed;
        let Some(place) = self.take_key(key, KeyState { account, amount: amount.into(), kind })?
        else {
            return Ok(KeyOutcome::Known);
        };
        self.own(account).ledger.reverse(amount);
        let record = self.money_record(now, account, key, amount);
        self.append(place, Record::Reversed(record));
        Ok(KeyOutcome::New)
    }

    /// Takes what we owe beyond `settle_to` out of the balance to be paid, if it reaches the
    /// threshold: how much that is. The key of an amount that is frozen already tells that amount; while
    /// one is, another key is refused.
    ///
    /// # Errors
    ///
    /// See [`KeyError`].
    ///
    /// # Panics
    ///
    /// If `settle_threshold <= settle_to`: the configuration is checked before it gets here.
    pub fn freeze(
        &mut self,
        now: Now,
        account: AccountId,
        key: Key,
        settle_threshold: u64,
        settle_to: u64,
    ) -> Result<Option<u128>, KeyError> {
        let ledger = &self.own(account).ledger;
        let amount = ledger.to_freeze(settle_threshold, settle_to);
        if let Some(known) = self.keys.get(key) {
            let is_same = known.kind == KeyKind::Frozen && known.account == account;
            return if is_same { Ok(Some(known.amount)) } else { Err(KeyError::Differs { known }) };
        }
        let outstanding = self.own(account).ledger.words().frozen;
        if outstanding > 0 {
            return Err(KeyError::Outstanding { amount: outstanding.unsigned_abs() });
        }
        let Some(amount) = amount else { return Ok(None) };
        if !self.keys.has_room() {
            return Err(KeyError::Full);
        }
        let place = self.records.reserve().ok_or(KeyError::NoRecord)?;
        let ledger = &mut self.own(account).ledger;
        let frozen = ledger.freeze(settle_threshold, settle_to).expect("to_freeze() told how much");
        let state = KeyState { account, amount, kind: KeyKind::Frozen };
        self.keys.known.insert(key, Known { state, frozen: Some(frozen) });
        let record = KeyRecord { account, key, amount, at_ms: now.utc_ms };
        self.append(place, Record::Frozen(record));
        let mut rests_on: Box<[u64]> = self.applied.clone().into();
        rests_on[self.config.shard.index()] = self.appended;
        self.key_news.push(KeyNews::Frozen(Intent { account, key, amount, rests_on }));
        Ok(Some(amount))
    }

    /// Whether [`Self::freeze_due`] has anything to do.
    #[must_use]
    pub fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Freezes what is to be paid to accounts that have come to their thresholds, each under a key of its
    /// own. One for which there is no room now stays due.
    ///
    /// `new_key` gives keys that nobody has had: random ones, as the core knows none.
    pub fn freeze_due(&mut self, now: Now, mut new_key: impl FnMut() -> Key) {
        let has_room = |switch: &Self| switch.keys.has_room() && switch.records.has_room();
        // A pass comes many times a millisecond: while nothing can be frozen, nothing is looked at.
        if !has_room(self) {
            return;
        }
        let mut due = core::mem::take(&mut self.due);
        due.retain(|&id| {
            let account = self.own(id);
            let settle = account.config.settle.filter(|_| account.ledger.is_due());
            let stays = settle.is_some_and(|Settle { threshold, to }| {
                !has_room(self) || self.freeze(now, id, new_key(), threshold, to).is_err()
            });
            self.own(id).is_listed = stays;
            stays
        });
        self.due = due;
    }

    /// Takes out what whoever pays is to be told.
    pub fn drain_key_news(&mut self, take: impl FnMut(KeyNews)) {
        self.key_news.drain(..).for_each(take);
    }

    /// The account has come to its threshold.
    #[inline(never)]
    pub(crate) fn note_due(&mut self, account: AccountId) {
        if !core::mem::replace(&mut self.own(account).is_listed, true) {
            self.due.push(account);
        }
    }

    /// A frozen amount has come to its end: another may follow.
    fn end_news(&mut self, account: AccountId, key: Key) {
        self.key_news.push(KeyNews::Ended(key));
        if self.own(account).ledger.is_due() {
            self.note_due(account);
        }
    }

    /// What was frozen under this key has reached the peer.
    ///
    /// # Errors
    ///
    /// See [`KeyError`].
    pub fn settled(&mut self, now: Now, key: Key) -> Result<KeyOutcome, KeyError> {
        let Some(state) = self.keys.frozen(key, KeyKind::Settled)? else {
            return Ok(KeyOutcome::Known);
        };
        let KeyState { account, amount, .. } = state;
        let place = self.records.reserve().ok_or(KeyError::NoRecord)?;
        let frozen = self.keys.end(key, KeyKind::Settled);
        self.own(account).ledger.settled(frozen);
        let record = KeyRecord { account, key, amount, at_ms: now.utc_ms };
        self.append(place, Record::Settled(record));
        self.end_news(account, key);
        Ok(KeyOutcome::New)
    }

    /// What was frozen under this key can provably not reach the peer.
    ///
    /// # Errors
    ///
    /// See [`KeyError`].
    pub fn cancelled(&mut self, now: Now, key: Key) -> Result<KeyOutcome, KeyError> {
        let Some(state) = self.keys.frozen(key, KeyKind::Cancelled)? else {
            return Ok(KeyOutcome::Known);
        };
        let KeyState { account, amount, .. } = state;
        let place = self.records.reserve().ok_or(KeyError::NoRecord)?;
        let frozen = self.keys.end(key, KeyKind::Cancelled);
        self.own(account).ledger.cancelled(frozen);
        let record = KeyRecord { account, key, amount, at_ms: now.utc_ms };
        self.append(place, Record::Cancelled(record));
        self.end_news(account, key);
        Ok(KeyOutcome::New)
    }

    /// Changes both limits of an account's ledger; they bind from its next hold on.
    ///
    /// # Errors
    ///
    /// When there is no room for a record.
    pub fn set_limits(
        &mut self,
        now: Now,
        account: AccountId,
        balance_max: u64,
        payable_max: u64,
    ) -> Result<(), NoRecord> {
        let place = self.records.reserve().ok_or(NoRecord)?;
        self.own(account).ledger.set_limits(balance_max, payable_max);
        let record = LimitsRecord { account, balance_max, payable_max, at_ms: now.utc_ms };
        self.append(place, Record::Limits(record));
        Ok(())
    }

    /// Notes a new key, and reserves its record; `None` if it is known as just that.
    fn take_key(&mut self, key: Key, state: KeyState) -> Result<Option<Place<Record>>, KeyError> {
        let _ = self.own(state.account);
        match self.keys.get(key) {
            Some(known) if known == state => return Ok(None),
            Some(known) => return Err(KeyError::Differs { known }),
            None => {}
        }
        if !self.keys.has_room() {
            return Err(KeyError::Full);
        }
        let place = self.records.reserve().ok_or(KeyError::NoRecord)?;
        self.keys.known.insert(key, Known { state, frozen: None });
        Ok(Some(place))
    }

    fn money_record(&self, now: Now, account: AccountId, key: Key, amount: u64) -> MoneyRecord {
        let applied = self.applied.clone().into();
        MoneyRecord { account, key, amount, at_ms: now.utc_ms, applied }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::{AccountConfig, Durability, Limits, Relation};
    use crate::ids::{AssetIndex, ShardId};
    use crate::switch::{Network, Rings, SwitchConfig};

    const NOW: Now = Now { utc_ms: 1_795_186_800_000, mono_ns: 77 };

    /// A switch with one account.
    fn switch() -> Switch {
        let mut switch = Switch::new(SwitchConfig {
            shard: ShardId(0),
            shards: 1,
            own_address: "test.m2m".parse().unwrap(),
            network: Network::Test,
            expiry_margin_ms: 1_000,
            sync_grace_ms: 100,
            async_ms: 0,
            async_bytes: 0,
            remaining_ms_min: 1_000,
            hold_ms_max: 30_000,
            in_flight_slots: 1,
            reflect: false,
            seed: 7,
            rings: Rings::for_slots(1),
            start: NOW,
        });
        switch.add_account(AccountConfig {
            id: AccountId(0),
            shard: ShardId(0),
            relation: Relation::Peer,
            asset: AssetIndex(0),
            asset_code: "USD".into(),
            asset_scale: 9,
            ildcp_segment: "a".into(),
            durability: Durability::Sync,
            limits: Limits {
                balance_max: 0,
                payable_max: 0,
                packet_amount_max: 0,
                packets: None,
                amount: None,
                in_flight_packets_max: 0,
                in_flight_value_max: None,
            },
            settle: None,
        });
        switch
    }

    #[test]
    fn beyond_so_many_keys_new_ones_are_refused_and_known_ones_are_not() {
        let mut switch = switch();
        switch.keys = Keys::new(2);
        let account = AccountId(0);
        let [one, two, three] = [1, 2, 3].map(|byte| Key([byte; 16]));
        assert_eq!(switch.reverse(NOW, account, one, 50), Ok(KeyOutcome::New));
        assert_eq!(switch.credit(NOW, account, two, 10), Ok(KeyOutcome::New));
        let words = switch.account_view(account).words;
        assert_eq!(switch.credit(NOW, account, three, 10), Err(KeyError::Full));
        assert_eq!(switch.reverse(NOW, account, three, 10), Err(KeyError::Full));
        assert_eq!(switch.credit(NOW, account, two, 10), Ok(KeyOutcome::Known));
        assert_eq!(switch.account_view(account).words, words);
        assert_eq!(switch.appended, 2);
        switch.keys.restore(three, KeyState { account, amount: 7, kind: KeyKind::Frozen });
        assert_eq!(switch.freeze(NOW, account, three, 1, 0), Ok(Some(7)));
        assert_eq!(switch.freeze(NOW, account, Key([4; 16]), 1, 0), Ok(None), "nothing is owed");
    }
}
