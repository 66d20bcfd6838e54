//! A switch of some shards in a few lines: ledgers, rings between shards, a stream for each, and a
//! log of every leg in the order in which it was decided.

use std::collections::{BTreeMap, VecDeque};

use fastrand::Rng;
use m2_core::ledger::Words;
use m2_core::record::{
    Key, KeyKind, KeyRecord, KeyState, LateFulfill, LimitsRecord, MoneyRecord, PairRecord, Record,
};
use m2_core::{AccountId, AccountImage, ConnectionId, Durability, ShardId, ShardImage};
use m2_journal::image::{Account, ConfiguredLimits};
use m2_journal::recover::{Entry, Recovered};
use m2_journal::{Writer, record};

/// What one event did to one account, and the record that it stands in.
#[derive(Clone, Debug)]
pub(crate) struct Leg {
    stream: usize,
    position: u64,
    account: usize,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    In(u64),
    Out(u64),
    Limits(u64, u64),
    Keyed(KeyKind, Key, u128),
    Money(KeyKind, Key, u64),
}

/// An answer on its way to the incoming account's shard; without a leg it only tells the position.
#[derive(Clone, Debug)]
struct Answer {
    position: u64,
    leg: Option<Leg>,
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) shards: usize,
    /// With the words that each had at the beginning.
    pub(crate) accounts: Vec<Account>,
    start: Books,
    pub(crate) books: Books,
    pub(crate) appended: Vec<u64>,
    /// By shard, then by stream.
    applied: Vec<Vec<u64>>,
    /// By stream, then by shard: told to the writer.
    given: Vec<Vec<u64>>,
    /// From stream, to shard.
    rings: Vec<Vec<VecDeque<Answer>>>,
    /// In the order of decisions.
    legs: Vec<Leg>,
    /// Every pair: stream, position, shard of the incoming account.
    pairs: Vec<(usize, u64, usize)>,
    next_key: u64,
    now_ms: u64,
}

/// What a recovery must come to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Books {
    pub(crate) images: Vec<AccountImage>,
    pub(crate) keys: BTreeMap<Key, KeyState>,
}

impl Books {
    pub(crate) fn of(recovered: &Recovered) -> Self {
        Self {
            images: recovered.accounts.iter().map(|account| account.image).collect(),
            keys: recovered.keys.iter().copied().collect(),
        }
    }

    fn apply(&mut self, leg: &Leg) {
        let image = &mut self.images[leg.account];
        let account = image.account;
        match leg.what {
            What::In(amount) => image.words.commit_in(amount),
            What::Out(amount) => image.words.commit_out(amount),
            What::Limits(balance_max, payable_max) => {
                (image.balance_max, image.payable_max) = (balance_max, payable_max);
            }
            What::Keyed(kind, key, amount) => {
                match kind {
                    KeyKind::Frozen => image.words.freeze(amount),
                    KeyKind::Settled => image.words.settle(amount),
                    _ => image.words.cancel(amount),
                }
                self.keys.insert(key, KeyState { account, amount, kind });
            }
            What::Money(kind, key, amount) => {
                match kind {
                    KeyKind::Credited => image.words.credit(amount),
                    _ => image.words.reverse(amount),
                }
                self.keys.insert(key, KeyState { account, amount: amount.into(), kind });
            }
        }
    }
}

impl World {
    /// Before the first start.
    pub(crate) fn nothing() -> Self {
        Self {
            shards: 0,
            accounts: Vec::new(),
            start: Books::default(),
            books: Books::default(),
            appended: Vec::new(),
            applied: Vec::new(),
            given: Vec::new(),
            rings: Vec::new(),
            legs: Vec::new(),
            pairs: Vec::new(),
            next_key: 0,
            now_ms: 0,
        }
    }

    /// Goes on from what was recovered, perhaps with another number of shards and more accounts.
    pub(crate) fn new(rng: &mut Rng, recovered: &Recovered) -> Self {
        let shards = rng.usize(1..=4);
        let known = recovered.accounts.len();
        let count = known.max(1) + rng.usize(..4);
        let accounts: Vec<_> = (0..count)
            .map(|number| {
                let was = recovered.accounts.get(number);
                let image = was.map_or_else(|| new_image(number), |was| was.image);
                let AccountImage { balance_max, payable_max, .. } = image;
                let new = ConfiguredLimits { balance_max, payable_max };
                Account {
                    shard: ShardId(rng.u16(..u16::try_from(shards).unwrap())),
                    name: format!("account {number}"),
                    asset_code: "XRP".into(),
                    asset_scale: 6,
                    configured: was.map_or(new, |was| was.configured),
                    image,
                }
            })
            .collect();
        let images = accounts.iter().map(|account| account.image).collect();
        let books = Books { images, keys: recovered.keys.iter().copied().collect() };
        Self {
            shards,
            accounts,
            start: books.clone(),
            books,
            appended: vec![0; shards],
            applied: vec![vec![0; shards]; shards],
            given: vec![vec![0; shards]; shards],
            rings: vec![vec![VecDeque::new(); shards]; shards],
            legs: Vec::new(),
            pairs: Vec::new(),
            next_key: rng.u64(..),
            now_ms: 1,
        }
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        let entry = |account: &Account| Entry {
            shard: account.shard,
            name: account.name.clone(),
            asset_code: account.asset_code.clone(),
            asset_scale: account.asset_scale,
            limits: account.configured,
        };
        self.accounts.iter().map(entry).collect()
    }

    /// The books when of each stream only the records below `ends` are left: all legs of those and no
    /// other, in the order of decisions; legs that were still on their way come last.
    pub(crate) fn expected(&self, ends: &[u64]) -> Books {
        let mut books = self.start.clone();
        let on_their_way = self.rings.iter().flatten().flatten().filter_map(|one| one.leg.as_ref());
        let legs = self.legs.iter().chain(on_their_way);
        legs.filter(|leg| leg.position < ends[leg.stream]).for_each(|leg| books.apply(leg));
        books
    }

    /// Pairs whose FULFILL nobody said was handed out.
    pub(crate) fn undelivered(&self, ends: &[u64]) -> Vec<(usize, u64)> {
        let left = self.pairs.iter().filter(|(stream, position, shard)| {
            *position < ends[*stream] && *position >= self.given[*stream][*shard]
        });
        left.map(|(stream, position, _)| (*stream, *position)).collect()
    }

    /// Something happens in the switch.
    pub(crate) fn act(&mut self, rng: &mut Rng, writer: &mut Writer) {
        self.now_ms += 1;
        let account = rng.usize(..self.accounts.len());
        let shard = self.shard_of(account);
        match rng.u8(..24) {
            0..=9 => self.pair(rng, writer, account),
            10..=14 => self.take(rng),
            15 => {
                let (balance_max, payable_max) = (rng.u64(..), rng.u64(..));
                let (account, at_ms) = (AccountId(u32::try_from(account).unwrap()), self.now_ms);
                let limits = LimitsRecord { account, balance_max, payable_max, at_ms };
                let what = What::Limits(balance_max, payable_max);
                self.own(writer, account, Record::Limits(limits), Some(what));
            }
            16 | 17 => self.money(rng, writer, account),
            18 | 19 => self.keyed(rng, writer, account),
            20 => {
                let id = AccountId(u32::try_from(account).unwrap());
                let connection = ConnectionId { account: id, epoch: 1.try_into().unwrap() };
                let (request_id, came_at_ms) = (rng.u32(..), self.now_ms);
                let fulfillment = [7; 32];
                let late = LateFulfill { connection, request_id, came_at_ms, fulfillment };
                self.own(writer, id, Record::LateFulfill(late), None);
            }
            21 => {
                // A shard tells another how far its stream is.
                let to = rng.usize(..self.shards);
                let position = self.appended[shard];
                self.rings[shard][to].push_back(Answer { position, leg: None });
            }
            _ => self.give(rng, writer),
        }
    }

    /// What a snapshot of the shard carries at this moment.
    pub(crate) fn image(&self, shard: usize) -> ShardImage {
        let own = |account: &AccountId| self.shard_of(account.0 as usize) == shard;
        let images = self.books.images.iter().filter(|image| own(&image.account));
        let keys = self.books.keys.iter().filter(|(_, state)| own(&state.account));
        ShardImage {
            shard: ShardId(u16::try_from(shard).unwrap()),
            appended: self.appended[shard],
            applied: self.applied[shard].clone(),
            accounts: images.copied().collect(),
            keys: keys.map(|(key, state)| (*key, *state)).collect(),
        }
    }

    fn shard_of(&self, account: usize) -> usize {
        usize::from(self.accounts[account].shard.0)
    }

    fn pair(&mut self, rng: &mut Rng, writer: &mut Writer, account_in: usize) {
        let account_out = rng.usize(..self.accounts.len());
        let amount = |rng: &mut Rng| if rng.u8(..20) == 0 { u64::MAX } else { rng.u64(..50) };
        let (amount_in, amount_out) = (amount(rng), amount(rng));
        let (stream, shard) = (self.shard_of(account_out), self.shard_of(account_in));
        let pair = PairRecord {
            amount_in,
            amount_out,
            decided_at_ms: self.now_ms,
            condition_head: [3; 16],
            account_in: AccountId(u32::try_from(account_in).unwrap()),
            account_out: AccountId(u32::try_from(account_out).unwrap()),
            rate_version: 1,
            durability: if rng.bool() { Durability::Sync } else { Durability::Async },
        };
        let what = What::Out(amount_out);
        let position = self.own(writer, pair.account_out, Record::Pair(pair), Some(what));
        self.pairs.push((stream, position, shard));
        let leg = Leg { stream, position, account: account_in, what: What::In(amount_in) };
        self.rings[stream][shard].push_back(Answer { position: position + 1, leg: Some(leg) });
    }

    /// A shard takes the next answer of another, or of its own.
    fn take(&mut self, rng: &mut Rng) {
        let (from, to) = (rng.usize(..self.shards), rng.usize(..self.shards));
        for _ in 0..rng.usize(1..4) {
            let Some(Answer { position, leg }) = self.rings[from][to].pop_front() else { break };
            self.applied[to][from] = position;
            if let Some(leg) = leg {
                self.books.apply(&leg);
                self.legs.push(leg);
            }
        }
    }

    fn money(&mut self, rng: &mut Rng, writer: &mut Writer, account: usize) {
        let (key, amount) = (self.new_key(), rng.u64(..300));
        let applied = self.applied[self.shard_of(account)].clone().into();
        let (account, at_ms) = (AccountId(u32::try_from(account).unwrap()), self.now_ms);
        let money = MoneyRecord { account, key, amount, at_ms, applied };
        if rng.u8(..3) > 0 {
            let what = What::Money(KeyKind::Credited, key, amount);
            self.own(writer, account, Record::Credited(money), Some(what));
        } else {
            let what = What::Money(KeyKind::Reversed, key, amount);
            self.own(writer, account, Record::Reversed(money), Some(what));
        }
    }

    fn keyed(&mut self, rng: &mut Rng, writer: &mut Writer, account: usize) {
        let Words { balance, .. } = self.books.images[account].words;
        let id = AccountId(u32::try_from(account).unwrap());
        let is_frozen =
            |(_, state): &(&Key, &KeyState)| state.account == id && state.kind == KeyKind::Frozen;
        let frozen =
            self.books.keys.iter().find(is_frozen).map(|(key, state)| (*key, state.amount));
        let at_ms = self.now_ms;
        if let Some((key, amount)) = frozen {
            let keyed = KeyRecord { account: id, key, amount, at_ms };
            if rng.bool() {
                let what = What::Keyed(KeyKind::Settled, key, amount);
                self.own(writer, id, Record::Settled(keyed), Some(what));
            } else {
                let what = What::Keyed(KeyKind::Cancelled, key, amount);
                self.own(writer, id, Record::Cancelled(keyed), Some(what));
            }
        } else if balance < 0 {
            let (key, amount) = (self.new_key(), rng.u128(1..=balance.unsigned_abs()));
            let keyed = KeyRecord { account: id, key, amount, at_ms };
            let what = What::Keyed(KeyKind::Frozen, key, amount);
            self.own(writer, id, Record::Frozen(keyed), Some(what));
        }
    }

    /// FULFILLs are handed to sockets: those of legs that the shard has taken.
    fn give(&mut self, rng: &mut Rng, writer: &mut Writer) {
        let (stream, shard) = (rng.usize(..self.shards), rng.usize(..self.shards));
        let id = |index| ShardId(u16::try_from(index).unwrap());
        let position = self.applied[shard][stream].min(writer.durable(id(stream)));
        let given = &mut self.given[stream][shard];
        *given = position.max(*given);
        writer.delivered(id(stream), id(shard), *given);
    }

    /// A record in the stream of its account's own shard.
    fn own(
        &mut self,
        writer: &mut Writer,
        account: AccountId,
        record: Record,
        what: Option<What>,
    ) -> u64 {
        let account = account.0 as usize;
        let stream = self.shard_of(account);
        let position = self.appended[stream];
        let mut blocks = Vec::new();
        record::encode(&record, &mut blocks);
        writer.append(self.now_ms * 1_000_000, self.accounts[account].shard, &blocks);
        self.appended[stream] += 1;
        if let Some(what) = what {
            let leg = Leg { stream, position, account, what };
            self.books.apply(&leg);
            self.legs.push(leg);
        }
        position
    }

    fn new_key(&mut self) -> Key {
        self.next_key = self.next_key.wrapping_add(1);
        Key(u128::from(self.next_key.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes())
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.now_ms * 1_000_000
    }
}

fn new_image(number: usize) -> AccountImage {
    AccountImage {
        account: AccountId(u32::try_from(number).unwrap()),
        words: Words::default(),
        balance_max: 100,
        payable_max: 100,
    }
}
