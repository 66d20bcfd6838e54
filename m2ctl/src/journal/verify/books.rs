//! What the records come to, held against every snapshot and against the base of the next generation.
//!
//! This is no replay of a recovery: legs were added up by all threads in no order, and are put together
//! here, cut by cut. Where both come to the same words, two ways of reckoning agree.

use std::collections::BTreeMap;

use m2_core::ledger::Words;
use m2_core::record::{Key, KeyKind, KeyRecord, KeyState, MoneyRecord, Record};
use m2_core::{AccountId, AccountImage, ShardImage};
use m2_journal::Error;
use m2_journal::image::{Account, Base};
use m2_journal::limits::WORD_MAX;
use m2_journal::recover::{Recovered, Undelivered};
use m2_journal::scan::Link;

use super::super::open::Generation;
use super::super::start::Start;
use super::legs::Sum;
use super::plan::{Cut, Plan, What};
use crate::output::hex;

/// Faults that are told; more are counted.
const TOLD_MAX: usize = 100;

/// What is put together.
pub(super) struct Books<'a> {
    pub(super) generation: &'a Generation,
    pub(super) plan: &'a Plan,
    /// By shard.
    pub(super) starts: &'a [Start],
    /// By shard: those behind its start.
    pub(super) snapshots: &'a [Vec<ShardImage>],
    pub(super) sums: &'a [Sum],
    /// By stream: what is no pair and no evidence.
    pub(super) rare: &'a [Vec<(u64, Record)>],
    /// By stream: where it ends.
    pub(super) ends: Vec<Link>,
    /// What a start came to that took in spilled records as well, if one did and they are here.
    pub(super) with_spilled: Option<Result<Recovered, Error>>,
}

/// Sentences about what does not fit.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) told: Vec<String>,
    pub(super) untold: u64,
    /// The base of the next generation rests on records that are not here.
    pub(super) is_next_unchecked: bool,
}

impl Faults {
    fn add(&mut self, sentence: impl FnOnce() -> String) {
        if self.told.len() < TOLD_MAX {
            self.told.push(sentence());
        } else {
            self.untold += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }
}

/// What happened to an account besides legs, in its own stream.
#[derive(Clone, Debug)]
struct Event {
    account: AccountId,
    position: u64,
    what: Change,
}

#[derive(Clone, Debug)]
enum Change {
    Keyed(KeyKind, u128),
    Money { is_credit: bool, amount: u64 },
    Limits { balance_max: u64, payable_max: u64 },
}

impl Books<'_> {
    /// Everything that does not fit. Without the folder that records were spilled to, the next base is
    /// left out where some were.
    pub(super) fn check(&self) -> Faults {
        let mut faults = Faults::default();
        let mut keys = BTreeMap::new();
        let mut events = Vec::new();
        for shard in 0..self.starts.len() {
            for (key, state) in self.shard(shard, &mut events, &mut faults) {
                if keys.insert(key, state).is_some() {
                    faults
                        .add(|| format!("{}: key {} is of two shards", self.named(), hex(&key.0)));
                }
            }
        }
        events.sort_by_key(|event| (event.account, event.position));
        let mut rest = &events[..];
        let mut images = Vec::with_capacity(self.plan.accounts());
        for account in &self.generation.base.accounts {
            let account = account.image.account;
            let count = rest.partition_point(|event| event.account <= account);
            let (own, behind) = rest.split_at(count);
            rest = behind;
            images.push(self.account(account, own, &mut faults));
        }
        if let Some(next) = &self.generation.next {
            let is_spilled = |(end, now): (&Link, &Link)| now.position < end.position;
            match next.ends.iter().zip(&self.ends).any(is_spilled) {
                false => self.next_base(next, &self.come_to(images, keys), &mut faults),
                true => match &self.with_spilled {
                    None => faults.is_next_unchecked = true,
                    Some(Ok(come_to)) => self.next_base(next, come_to, &mut faults),
                    Some(Err(error)) => faults.add(|| error.to_string()),
                },
            }
        }
        faults
    }

    /// What the records come to, in the form of a recovery.
    fn come_to(&self, images: Vec<AccountImage>, keys: BTreeMap<Key, KeyState>) -> Recovered {
        let base = &self.generation.base;
        let of_base = base.accounts.iter().zip(images);
        Recovered {
            journal: base.journal,
            generation: base.generation,
            shards: base.shards,
            accounts: of_base.map(|(it, image)| Account { image, ..it.clone() }).collect(),
            keys: keys.into_iter().collect(),
            ends: self.ends.clone(),
            spilled: Vec::new(),
            records: 0,
            notes: Vec::new(),
            undelivered: Undelivered::default(),
        }
    }

    fn named(&self) -> String {
        format!("generation {}", self.generation.number)
    }

    /// The keys of a shard through its stream; its events go to those of all.
    fn shard(
        &self,
        shard: usize,
        events: &mut Vec<Event>,
        faults: &mut Faults,
    ) -> BTreeMap<Key, KeyState> {
        let start = &self.starts[shard];
        let mut keys: BTreeMap<_, _> = start.keys.iter().copied().collect();
        let mut snapshots = self.snapshots[shard].iter().peekable();
        for (position, record) in &self.rare[shard] {
            if *position < start.appended {
                continue;
            }
            while let Some(image) = snapshots.next_if(|image| image.appended <= *position) {
                self.snapshot_keys(image, &keys, faults);
            }
            let place = || format!("{}, stream {shard}, record {position}", self.named());
            match event(*position, record) {
                Some(event) if self.plan.shard(event.account) == u16::try_from(shard).ok() => {
                    if !take_key(&mut keys, record) {
                        faults.add(|| format!("{}: its key was used before: {record:?}", place()));
                    }
                    events.push(event);
                }
                Some(event) => faults.add(|| {
                    format!("{}: account {} is not of this shard", place(), event.account.0)
                }),
                None => {}
            }
        }
        snapshots.for_each(|image| self.snapshot_keys(image, &keys, faults));
        keys
    }

    fn snapshot_keys(
        &self,
        image: &ShardImage,
        keys: &BTreeMap<Key, KeyState>,
        faults: &mut Faults,
    ) {
        let is_same = keys.iter().map(|(key, state)| (*key, *state)).eq(image.keys.iter().copied());
        if !is_same {
            faults.add(|| {
                format!(
                    "{}: the snapshot of shard {} at record {} has other keys than the records",
                    self.named(),
                    image.shard.0,
                    image.appended
                )
            });
        }
    }

    /// The ledger of an account, cut by cut.
    fn account(&self, account: AccountId, events: &[Event], faults: &mut Faults) -> AccountImage {
        let shard = usize::from(self.plan.shard(account).expect("the base has it"));
        let images = &self.starts[shard].accounts;
        let at = images.binary_search_by_key(&account, |image| image.account);
        let mut ledger = Ledger {
            books: self,
            image: images[at.expect("a start has all accounts of its shard")],
            events,
            is_told: false,
        };
        let cuts = self.plan.cuts(account);
        let begin = cuts.iter().position(|cut| cut.what == What::Start).map_or(0, |at| at + 1);
        for epoch in begin..=cuts.len() {
            ledger.legs(self.sums[self.plan.offset(account) + epoch]);
            let cut = cuts.get(epoch);
            ledger.events_before(cut.map_or(u64::MAX, |cut| cut.own), faults);
            ledger.check(cut, faults);
            if let Some(cut) = cut {
                ledger.cut(cut, &self.snapshots[shard], faults);
            }
        }
        ledger.image
    }

    /// What the next start has recovered.
    fn next_base(&self, next: &Base, come_to: &Recovered, faults: &mut Faults) {
        let file = m2_journal::names::base(next.generation);
        for account in &next.accounts {
            let AccountImage { account: id, words, .. } = account.image;
            let expected = come_to.accounts.get(id.0 as usize);
            let expected = expected.map_or_else(Words::default, |it| it.image.words);
            if words != expected {
                let (name, words, expected) = (&account.name, said(&words), said(&expected));
                faults.add(|| {
                    format!("{file} says of {name}: {words}; the records before come to {expected}")
                });
            }
        }
        if come_to.keys != next.keys || next.accounts.len() < come_to.accounts.len() {
            faults
                .add(|| format!("{file} has other keys or fewer accounts than the records before"));
        }
        if !next.ends.iter().map(|end| end.position).eq(come_to.ends.iter().map(|end| end.position))
        {
            faults.add(|| {
                format!("{file} counts other records than there are, spilled ones included")
            });
        }
    }
}

/// One account on its way through its cuts.
struct Ledger<'a> {
    books: &'a Books<'a>,
    image: AccountImage,
    /// Those that are still to come.
    events: &'a [Event],
    /// A fault of this account was told: what follows from it is not.
    is_told: bool,
}

impl Ledger<'_> {
    fn legs(&mut self, sum: Sum) {
        in_pieces(sum.committed_in, |amount| self.image.words.commit_in(amount));
        in_pieces(sum.committed_out, |amount| self.image.words.commit_out(amount));
    }

    fn events_before(&mut self, position: u64, faults: &mut Faults) {
        while let Some((event, rest)) = self.events.split_first() {
            if event.position >= position {
                break;
            }
            self.events = rest;
            let words = &mut self.image.words;
            match event.what {
                Change::Keyed(KeyKind::Frozen, amount) => words.freeze(amount),
                Change::Keyed(KeyKind::Settled, amount) => words.settle(amount),
                Change::Keyed(_, amount) => words.cancel(amount),
                Change::Limits { balance_max, payable_max } => {
                    (self.image.balance_max, self.image.payable_max) = (balance_max, payable_max);
                }
                Change::Money { .. } => {
                    let at = event.position;
                    self.tell(faults, || format!("a credit at record {at} is in no batch's count"));
                }
            }
            if !is_small(&self.image.words) {
                self.tell(faults, || "its amounts come to what no ledger does".into());
                // Nothing that is added from here on is of use, and nothing may overflow.
                self.image.words = Words::default();
            }
        }
    }

    /// The identities that hold at every cut.
    fn check(&mut self, cut: Option<&Cut>, faults: &mut Faults) {
        let words = self.image.words;
        let Words { balance, prepaid, frozen, .. } = words;
        let is_right =
            is_small(&words) && prepaid >= 0 && frozen >= 0 && (prepaid == 0 || balance <= 0);
        if !is_right {
            let at = cut.map_or_else(|| "the end".into(), |cut| format!("record {}", cut.own));
            self.tell(faults, || format!("at {at} it comes to {}, which cannot be", said(&words)));
        }
    }

    fn cut(&mut self, cut: &Cut, snapshots: &[ShardImage], faults: &mut Faults) {
        match cut.what {
            What::Start => {}
            What::Snapshot(index) => {
                let images = &snapshots[index].accounts;
                let at = images.binary_search_by_key(&self.image.account, |image| image.account);
                let image = images[at.expect("a snapshot has all accounts of its shard")];
                if image != self.image {
                    let (words, own) = (said(&image.words), said(&self.image.words));
                    let at = cut.own;
                    self.tell(faults, || {
                        format!(
                            "the snapshot at record {at} says {words}; the records come to {own}"
                        )
                    });
                }
            }
            What::Money => {
                let Some((event, rest)) = self.events.split_first() else { return };
                let Change::Money { is_credit, amount } = event.what else { return };
                if event.position != cut.own {
                    return;
                }
                self.events = rest;
                match is_credit {
                    true => self.image.words.credit(amount),
                    false => self.image.words.reverse(amount),
                }
            }
        }
    }

    fn tell(&mut self, faults: &mut Faults, words: impl FnOnce() -> String) {
        if !self.is_told {
            self.is_told = true;
            let number = self.image.account.0 as usize;
            let base = &self.books.generation.base;
            let name = &base.accounts[number].name;
            faults.add(|| format!("{}, account {name}: {}", self.books.named(), words()));
        }
    }
}

fn event(position: u64, record: &Record) -> Option<Event> {
    let keyed = |kind, it: &KeyRecord| (it.account, Change::Keyed(kind, it.amount));
    let money =
        |is_credit, it: &MoneyRecord| (it.account, Change::Money { is_credit, amount: it.amount });
    let (account, what) = match record {
        Record::Pair(_) | Record::LateFulfill(_) => return None,
        Record::Limits(limits) => {
            let (balance_max, payable_max) = (limits.balance_max, limits.payable_max);
            (limits.account, Change::Limits { balance_max, payable_max })
        }
        Record::Frozen(it) => keyed(KeyKind::Frozen, it),
        Record::Settled(it) => keyed(KeyKind::Settled, it),
        Record::Cancelled(it) => keyed(KeyKind::Cancelled, it),
        Record::Credited(it) => money(true, it),
        Record::Reversed(it) => money(false, it),
    };
    Some(Event { account, position, what })
}

/// A key is credited, reversed or frozen once; what was frozen is settled or cancelled once, with the
/// same account and amount.
fn take_key(keys: &mut BTreeMap<Key, KeyState>, record: &Record) -> bool {
    let (key, account, amount, kind) = match record {
        Record::Pair(_) | Record::LateFulfill(_) | Record::Limits(_) => return true,
        Record::Frozen(it) => (it.key, it.account, it.amount, KeyKind::Frozen),
        Record::Settled(it) => (it.key, it.account, it.amount, KeyKind::Settled),
        Record::Cancelled(it) => (it.key, it.account, it.amount, KeyKind::Cancelled),
        Record::Credited(it) => (it.key, it.account, it.amount.into(), KeyKind::Credited),
        Record::Reversed(it) => (it.key, it.account, it.amount.into(), KeyKind::Reversed),
    };
    let before = keys.insert(key, KeyState { account, amount, kind });
    let is_end = matches!(kind, KeyKind::Settled | KeyKind::Cancelled);
    before == is_end.then_some(KeyState { account, amount, kind: KeyKind::Frozen })
}

fn is_small(words: &Words) -> bool {
    let Words { balance, prepaid, frozen, .. } = *words;
    [balance, prepaid, frozen].iter().all(|word| word.unsigned_abs() < WORD_MAX)
}

fn said(words: &Words) -> String {
    let Words { balance, prepaid, frozen, .. } = words;
    format!("balance {balance}, prepaid {prepaid}, frozen {frozen}")
}

/// A sum of u64s, by no more of them: at most as many pieces as it had summands.
fn in_pieces(mut sum: u128, mut apply: impl FnMut(u64)) {
    while sum > 0 {
        let piece = u64::try_from(sum).unwrap_or(u64::MAX);
        apply(piece);
        sum -= u128::from(piece);
    }
}
