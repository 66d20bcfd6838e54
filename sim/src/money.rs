//! Money outside of packets: what peers pay, what is paid to them, limits. Each is told under a key,
//! at times twice, and needs a record; without room for one nothing may change.

use m2_core::{
    AccountId, Key, KeyError, KeyKind, KeyOutcome, KeyRecord, KeyState, LimitsRecord, MoneyRecord,
    NoRecord, Now, Record,
};

use crate::act::pick;
use crate::books::Written;
use crate::coverage::Fault;
use crate::net::{Event, MS, Net};
use crate::plan::End;
use crate::world::World;

/// An account of a switch and its shard.
#[derive(Clone, Copy)]
struct Place {
    switch: usize,
    account: u32,
    core: usize,
}

impl World {
    /// The peer at the other end pays; its word comes twice, or the second time it names another
    /// amount.
    pub(crate) fn pay(&mut self, link: usize, side: usize, amount: u64, salt: u64) {
        let key = self.net.new_key();
        self.credit(link, side, amount, key);
        match (self.place(link, side), salt % 5) {
            (Some(_), 0) => self.credit(link, side, amount, key),
            (Some(_), 1) => self.credit(link, side, amount + 1, key),
            _ => {}
        }
    }

    /// The peer at the other end has paid.
    pub(crate) fn credit(&mut self, link: usize, side: usize, amount: u64, key: Key) {
        self.net.coverage.saw(Fault::Credit);
        let units = i128::from(amount);
        let Some(place) = self.place(link, side) else {
            if let End::Endpoint(endpoint) = self.net.plan.links[link].ends[side] {
                self.net.links[link].moved -= units;
                self.net.endpoints[endpoint].position -= units;
                self.net.check_link(link);
            }
            return;
        };
        let Place { switch, account, core } = place;
        let now = self.net.now_of(core);
        let wanted = self.net.foretell_key(place, key, amount, KeyKind::Credited);
        let seen = self.cores[core].credit(now, AccountId(account), key, amount);
        assert!(seen == wanted, "ledger: a credit was {seen:?}, not {wanted:?}");
        match seen {
            Ok(KeyOutcome::New) => {
                self.net.links[link].moved -= units;
                self.net.nodes[switch].accounts[account as usize].credit(units);
                let record = self.net.money_record(place, now, key, amount);
                self.net.write(core, Written::Other(Record::Credited(record)));
            }
            Err(KeyError::NoRecord) => {
                // Whoever was not heard tells it again.
                self.drain_records(core);
                let Key(bytes) = key;
                let again = Event::Credit { link, side, amount, key: u128::from_be_bytes(bytes) };
                self.net.at(self.net.now_ns + 3 * MS, again);
            }
            _ => {}
        }
        self.touched(switch, account);
    }

    pub(crate) fn reverse(&mut self, link: usize, side: usize, amount: u64, salt: u64) {
        let Some(place) = self.place(link, side) else { return };
        self.net.coverage.saw(Fault::Reversal);
        let key = self.net.new_key();
        self.reverse_once(link, place, key, amount);
        if salt.is_multiple_of(3) {
            self.reverse_once(link, place, key, amount);
        }
    }

    fn reverse_once(&mut self, link: usize, place: Place, key: Key, amount: u64) {
        let Place { switch, account, core } = place;
        let now = self.net.now_of(core);
        let wanted = self.net.foretell_key(place, key, amount, KeyKind::Reversed);
        let seen = self.cores[core].reverse(now, AccountId(account), key, amount);
        assert!(seen == wanted, "ledger: a reversal was {seen:?}, not {wanted:?}");
        if seen == Ok(KeyOutcome::New) {
            self.net.nodes[switch].accounts[account as usize].owe(i128::from(amount));
            self.net.links[link].moved += i128::from(amount);
            let record = self.net.money_record(place, now, key, amount);
            self.net.write(core, Written::Other(Record::Reversed(record)));
        }
        self.touched(switch, account);
    }

    pub(crate) fn freeze(&mut self, link: usize, side: usize, threshold: u64, salt: u64) {
        let Some(place) = self.place(link, side) else { return };
        let Place { switch, account, core } = place;
        let unit = self.net.plan.unit(self.net.plan.links[link].asset);
        let to = threshold % 3 * unit;
        let threshold = to + 1 + threshold % (unit * 4);
        let known = self.net.nodes[switch].frozen.last();
        let key = match known {
            Some((key, _)) if salt.is_multiple_of(6) => *key,
            _ => self.net.new_key(),
        };
        let words = &self.net.nodes[switch].accounts[account as usize].words;
        let (payable, outstanding) = (-words.balance, words.frozen);
        let is_due = payable >= i128::from(threshold);
        let amount = payable - i128::from(to);
        let wanted = match self.net.shards[core].keys.get(&key).copied() {
            Some(known) if (known.account.0, known.kind) == (account, KeyKind::Frozen) => {
                Ok(Some(known.amount))
            }
            Some(known) => Err(KeyError::Differs { known }),
            None if outstanding > 0 => {
                Err(KeyError::Outstanding { amount: outstanding.unsigned_abs() })
            }
            None if !is_due => Ok(None),
            None if !self.net.has_record_room(core) => Err(KeyError::NoRecord),
            None => Ok(Some(amount.unsigned_abs())),
        };
        let is_new = !self.net.shards[core].keys.contains_key(&key);
        let now = self.net.now_of(core);
        let seen = self.cores[core].freeze(now, AccountId(account), key, threshold, to);
        assert!(seen == wanted, "ledger: {seen:?} was frozen, not {wanted:?}");
        if let (Ok(Some(_)), true) = (seen, is_new) {
            self.net.coverage.saw(Fault::Frozen);
            let words = &mut self.net.nodes[switch].accounts[account as usize].words;
            words.balance += amount;
            words.frozen += amount;
            self.net.nodes[switch].frozen.push((key, account));
            self.net.turn_key(place, now, key, amount.unsigned_abs(), KeyKind::Frozen);
        }
        self.touched(switch, account);
    }

    /// A frozen amount is paid.
    pub(crate) fn settle(&mut self, switch: usize, which: u64, salt: u64) {
        let Some((place, key, amount)) = self.end_frozen(switch, which, KeyKind::Settled) else {
            return;
        };
        self.net.coverage.saw(Fault::Settled);
        let Place { account, .. } = place;
        let book = &mut self.net.nodes[switch].accounts[account as usize];
        book.words.frozen -= amount.cast_signed();
        book.position += amount.cast_signed();
        let (link, side) = self.net.link_of(switch, account);
        self.net.links[link].moved += amount.cast_signed();
        // Most payments are seen by the one who is paid, some time later.
        if let (Ok(amount), true) = (u64::try_from(amount), !salt.is_multiple_of(4)) {
            let Key(name) = self.net.new_key();
            let at = self.net.now_ns + salt % (300 * MS);
            let paid =
                Event::Credit { link, side: 1 - side, amount, key: u128::from_be_bytes(name) };
            self.net.at(at, paid);
        }
        self.touched(switch, account);
        self.end_again(place, key, KeyKind::Settled, salt);
    }

    /// A frozen amount cannot be paid.
    pub(crate) fn cancel(&mut self, switch: usize, which: u64, salt: u64) {
        let Some((place, key, amount)) = self.end_frozen(switch, which, KeyKind::Cancelled) else {
            return;
        };
        self.net.coverage.saw(Fault::Cancelled);
        let words = &mut self.net.nodes[switch].accounts[place.account as usize].words;
        words.frozen -= amount.cast_signed();
        words.balance -= amount.cast_signed();
        self.touched(switch, place.account);
        self.end_again(place, key, KeyKind::Cancelled, salt);
    }

    /// Tells a core how a frozen amount has ended.
    fn end_frozen(
        &mut self,
        switch: usize,
        which: u64,
        end: KeyKind,
    ) -> Option<(Place, Key, u128)> {
        let frozen = &self.net.nodes[switch].frozen;
        if frozen.is_empty() {
            return None;
        }
        let nth = pick(which, frozen.len());
        let (key, account) = frozen[nth];
        let core = self.net.core_of(switch, account);
        let place = Place { switch, account, core };
        let now = self.net.now_of(core);
        let has_room = self.net.has_record_room(core);
        let wanted = if has_room { Ok(KeyOutcome::New) } else { Err(KeyError::NoRecord) };
        let seen = self.tell_end(core, now, key, end);
        assert!(seen == wanted, "ledger: the end of a frozen amount was {seen:?}, not {wanted:?}");
        if !has_room {
            self.touched(switch, account);
            return None;
        }
        self.net.nodes[switch].frozen.swap_remove(nth);
        let amount = self.net.shards[core].keys[&key].amount;
        self.net.turn_key(place, now, key, amount, end);
        Some((place, key, amount))
    }

    /// The same end once more changes nothing, another end less.
    fn end_again(&mut self, place: Place, key: Key, end: KeyKind, salt: u64) {
        let Place { switch, account, core } = place;
        let known = self.net.shards[core].keys[&key];
        let (again, wanted) = match (salt % 3, end) {
            (0, end) => (end, Ok(KeyOutcome::Known)),
            (1, KeyKind::Settled) => (KeyKind::Cancelled, Err(KeyError::Differs { known })),
            (1, _) => (KeyKind::Settled, Err(KeyError::Differs { known })),
            _ => return,
        };
        let seen = self.tell_end(core, self.net.now_of(core), key, again);
        assert!(seen == wanted, "ledger: a second end was {seen:?}, not {wanted:?}");
        let nobody = self.net.new_key();
        let seen = self.tell_end(core, self.net.now_of(core), nobody, again);
        assert!(seen == Err(KeyError::Unknown), "ledger: the end of what was not frozen: {seen:?}");
        self.touched(switch, account);
    }

    fn tell_end(
        &mut self,
        core: usize,
        now: Now,
        key: Key,
        end: KeyKind,
    ) -> Result<KeyOutcome, KeyError> {
        let core = &mut self.cores[core];
        if end == KeyKind::Settled { core.settled(now, key) } else { core.cancelled(now, key) }
    }

    pub(crate) fn limits(&mut self, link: usize, side: usize, balance_max: u64, payable_max: u64) {
        let Some(Place { switch, account, core }) = self.place(link, side) else { return };
        let now = self.net.now_of(core);
        let wanted = if self.net.has_record_room(core) { Ok(()) } else { Err(NoRecord) };
        let id = AccountId(account);
        let seen = self.cores[core].set_limits(now, id, balance_max, payable_max);
        assert!(seen == wanted, "ledger: new limits were {seen:?}, not {wanted:?}");
        if seen.is_ok() {
            self.net.coverage.saw(Fault::LimitsChanged);
            let book = &mut self.net.nodes[switch].accounts[account as usize];
            (book.balance_max, book.payable_max) = (balance_max.into(), payable_max.into());
            let at_ms = now.utc_ms;
            let record = LimitsRecord { account: id, balance_max, payable_max, at_ms };
            self.net.write(core, Written::Other(Record::Limits(record)));
        }
        self.touched(switch, account);
    }

    /// The account at an end of a link, if a switch stands there.
    fn place(&self, link: usize, side: usize) -> Option<Place> {
        match self.net.plan.links[link].ends[side] {
            End::Account { switch, account } => {
                Some(Place { switch, account, core: self.net.core_of(switch, account) })
            }
            End::Endpoint(_) => None,
        }
    }

    /// What was done to an account outside of packets is looked at like a step.
    fn touched(&mut self, switch: usize, account: u32) {
        self.net.touched.push((switch, account));
        self.net.check_touched(&self.cores);
    }
}

impl Net {
    pub(crate) fn new_key(&mut self) -> Key {
        self.keys += 1;
        Key(self.keys.to_be_bytes())
    }

    /// What must come of a key; it is noted if it is new.
    fn foretell_key(
        &mut self,
        place: Place,
        key: Key,
        amount: u64,
        kind: KeyKind,
    ) -> Result<KeyOutcome, KeyError> {
        let state = KeyState { account: AccountId(place.account), amount: amount.into(), kind };
        let has_room = self.has_record_room(place.core);
        let keys = &mut self.shards[place.core].keys;
        match keys.get(&key).copied() {
            Some(known) => {
                self.coverage.saw(Fault::KeyTwice);
                if known == state {
                    Ok(KeyOutcome::Known)
                } else {
                    Err(KeyError::Differs { known })
                }
            }
            None if has_room => {
                keys.insert(key, state);
                Ok(KeyOutcome::New)
            }
            None => {
                self.coverage.saw(Fault::KeyWithoutRecord);
                Err(KeyError::NoRecord)
            }
        }
    }

    fn money_record(&self, place: Place, now: Now, key: Key, amount: u64) -> MoneyRecord {
        let Place { account, core, .. } = place;
        let applied = self.shards[core].applied.clone().into();
        MoneyRecord { account: AccountId(account), key, amount, at_ms: now.utc_ms, applied }
    }

    /// A frozen amount, or its end, is noted and written.
    fn turn_key(&mut self, place: Place, now: Now, key: Key, amount: u128, kind: KeyKind) {
        let account = AccountId(place.account);
        self.shards[place.core].keys.insert(key, KeyState { account, amount, kind });
        let record = KeyRecord { account, key, amount, at_ms: now.utc_ms };
        let record = match kind {
            KeyKind::Settled => Record::Settled(record),
            KeyKind::Cancelled => Record::Cancelled(record),
            _ => Record::Frozen(record),
        };
        self.write(place.core, Written::Other(record));
    }
}
