//! The end of a life and the beginning of the next: a crash, recovery by the production code, a new
//! generation with another number of shards. The power may go again while it starts.

use std::collections::BTreeMap;
use std::rc::Rc;

use m2_core::{AccountId, JournalState, ShardId};
use m2_journal::image::ConfiguredLimits;
use m2_journal::recover::{Entry, Options, Recovered, begin_generation, inspect, recover};
use m2_journal::{Error, Hash, Writer};

use super::books::{Account, Books};
use super::disk::{Disk, Luck};
use super::fuse::Fused;
use super::machine::Machine;
use super::peers::Packets;
use super::plan::{Plan, START, assets};
use super::seen::{Event, Seen};
use super::tape::{Birth, Tape};
use super::world::World;
use crate::dice::{dice, mix};

/// How many calls that change the disk a start may get through before the power goes again.
const CALLS_AT_START_MAX: u64 = 40;

pub(crate) fn options(until_ms: Option<u64>) -> Options {
    Options { until_ms, listed_max: usize::MAX }
}

impl World {
    /// A switch that starts for the first time.
    pub(crate) fn of(plan: Rc<Plan>, is_traced: bool) -> Self {
        let shards = plan.first_shards();
        // Of a life before the first: nothing.
        let writer = Writer::new(1, 1, Hash::NONE, plan.settings.clone());
        let mut world = Self {
            now: START,
            life: 0,
            steps: 0,
            generation: 0,
            disk: Disk::default(),
            machine: Machine::new(Vec::new(), writer, plan.forward_ring, plan.journal_ring),
            packets: Packets::default(),
            books: Books::default(),
            links: Vec::new(),
            keys: BTreeMap::new(),
            told_keys: Vec::new(),
            replies: Vec::new(),
            fault: None,
            images: Vec::new(),
            has_retired: false,
            seen: Seen::of_one(),
            trace: is_traced.then(Vec::new),
            is_over: false,
            sabotage: None,
            tapes: None,
            plan,
        };
        world.start(shards, 0, 0);
        world
    }

    /// The process or the power goes at this moment.
    pub(crate) fn crash(&mut self, how: u64, salt: u64, shards: u64, again: u64) {
        self.die();
        let luck = Luck::of(&mut dice(&[salt, self.plan.seed]), &self.disk);
        // After a failed flush memory and disk differ: whoever reads the one must not rely on the other.
        let has_failed = self.machine.journal.state == JournalState::Failed;
        let is_power = how.is_multiple_of(3) == has_failed;
        self.lose(is_power, luck);
        let shards = self.plan.shards(shards);
        let is_again = again.is_multiple_of(3) || has_failed;
        let again = if is_again { 1 + again % 4 } else { 0 };
        self.start(shards, again, salt);
    }

    /// All that a process has is gone; what it had made is in our books.
    pub(crate) fn die(&mut self) {
        self.judge_living();
        self.judge_lost();
        let between = self.machine.shards.iter().flat_map(|shard| shard.answers.iter().flatten());
        if between.clone().any(|(answer, _)| answer.is_fulfilled()) {
            self.seen.saw(Event::LegsApart);
        }
        self.fault = None;
        if let Some(mut tape) = self.machine.tape.take() {
            tape.end(&self.disk);
            self.judge_tape(&tape);
            self.tapes.iter_mut().for_each(|tapes| tapes.push(tape.clone()));
        }
    }

    /// Whoever is fed the same writes the same.
    fn judge_tape(&mut self, tape: &Tape) {
        let other = tape.differs();
        assert!(other.is_none(), "journal: fed the same, a switch writes another {other:?}");
        let is_alone = tape.shards() == 1;
        self.seen.saw(if is_alone { Event::RetoldAlone } else { Event::Retold });
    }

    fn lose(&mut self, is_power: bool, luck: Luck) {
        self.tell(|| if is_power { format!("power cut: {luck:?}") } else { "killed".into() });
        self.seen.saw(if is_power { Event::PowerCut } else { Event::Killed });
        if is_power {
            self.disk.cut_power(luck);
        }
    }

    /// Starts until it has started.
    fn start(&mut self, shards: u16, mut again: u64, salt: u64) {
        // Set once a recovery of this life was judged: later ones must come to the same.
        let mut judged: Option<Recovered> = None;
        loop {
            let dice = &mut dice(&[salt, again, 0x57a7]);
            let fuse = (again > 0).then(|| dice.u64(..CALLS_AT_START_MAX));
            again = again.saturating_sub(1);
            let before = self.plan.is_taped.then(|| self.disk.clone());
            let mut disk = Fused::new(core::mem::take(&mut self.disk), fuse);
            let started = self.try_start(&mut disk, &mut judged, shards);
            let is_burnt = disk.is_burnt;
            self.disk = disk.into_disk();
            match started {
                Ok((found, writer)) if !is_burnt => {
                    return self.live(&found, writer, shards, before);
                }
                Err(error) if !is_burnt => panic!("recovery: {error}"),
                _ => {
                    self.seen.saw(Event::CutAtStart);
                    let luck = Luck::of(dice, &self.disk);
                    self.lose(dice.bool(), luck);
                }
            }
        }
    }

    fn try_start(
        &mut self,
        disk: &mut Fused,
        judged: &mut Option<Recovered>,
        shards: u16,
    ) -> Result<(Recovered, Writer), Error> {
        let found = recover(disk, &options(None), &mut |_| {})?;
        let entries = entries(&self.plan, self.life + 1, shards);
        if let Some(before) = judged {
            same(before, &found);
        } else {
            assert!(found.generation == self.generation, "journal: the newest generation is lost");
        }
        if found.generation == self.generation && self.life > 0 {
            self.judge(&found);
            self.note(&found);
            *judged = Some(found.clone());
        } else if let Some(before) = judged {
            self.judge_limits(before, &entries, &found);
        }
        let settings = self.plan.settings.clone();
        let writer = begin_generation(disk, &found, &entries, shards.into(), settings)?;
        Ok((found, writer))
    }

    fn note(&mut self, found: &Recovered) {
        let is_cut = |note: &&_| matches!(note, m2_journal::recover::Note::Cut { .. });
        if found.notes.iter().any(|note| is_cut(&note)) {
            self.seen.saw(Event::TailCut);
        }
        let words = |note: &m2_journal::recover::Note| note.to_string();
        let notes: Vec<_> = found.notes.iter().map(words).collect();
        self.tell(|| format!("recovered {:?} {notes:?}", found.ends));
    }

    /// The next life begins with what was recovered, and is recorded if there is a disk as it was
    /// `before`.
    fn live(&mut self, found: &Recovered, writer: Writer, shards: u16, before: Option<Disk>) {
        let were = self.machine.shards.len();
        if self.life > 0 && were != usize::from(shards) {
            let is_more = were < usize::from(shards);
            self.seen.saw(if is_more { Event::MoreShards } else { Event::FewerShards });
        }
        self.life += 1;
        self.seen.lives += 1;
        self.generation = found.generation + 1;
        self.packets.forget_connections();
        let entries = entries(&self.plan, self.life, shards);
        self.books = self.books_of(found, &entries, shards);
        self.keys = self.books.keys.clone();
        self.images = vec![Vec::new(); shards.into()];
        self.has_retired = false;
        let births: Vec<_> = (0..shards).map(|shard| self.birth(ShardId(shard), shards)).collect();
        let switches = births.iter().map(|birth| birth.switch(&self.plan)).collect();
        let Plan { forward_ring, journal_ring, .. } = *self.plan;
        self.machine = Machine::new(switches, writer, forward_ring, journal_ring);
        let tape = |disk| Tape::new(Rc::clone(&self.plan), disk, entries, births);
        self.machine.tape = before.map(tape);
        self.links = vec![None; self.books.accounts.len()];
        for account in 0..self.plan.account_count() {
            self.link_up(self.books.accounts[account as usize].shard, account);
        }
    }

    /// Our books at the beginning of a life.
    fn books_of(&self, found: &Recovered, entries: &[Entry], shards: u16) -> Books {
        let account = |(number, entry): (u32, &Entry)| {
            let before = found.accounts.get(number as usize);
            Account {
                shard: entry.shard.0.into(),
                words: before.map(|it| it.image.words).unwrap_or_default(),
                limits: self.in_force(number, before, entry),
                configured: entry.limits,
            }
        };
        Books {
            accounts: (0..).zip(entries).map(account).collect(),
            keys: found.keys.iter().copied().collect(),
            streams: vec![Vec::new(); shards.into()],
            ..Books::default()
        }
    }

    /// What a core of this life is made of, by our books.
    fn birth(&self, shard: ShardId, shards: u16) -> Birth {
        let Self { plan, books, .. } = self;
        let shard_of = |account: u32| {
            ShardId(u16::try_from(books.accounts[account as usize].shard).expect("a few"))
        };
        let limits = |account: u32| books.accounts[account as usize].limits;
        let account = |account| plan.account(account, shard_of(account), limits(account));
        let own = (0..plan.account_count()).filter(|account| shard_of(*account) == shard);
        let words = |account: u32| (AccountId(account), books.accounts[account as usize].words);
        let keys = books.keys.iter().filter(|(_, state)| shard_of(state.account.0) == shard);
        Birth {
            config: plan.config(shard, shards, self.life, self.now),
            accounts: (0..plan.account_count()).map(account).collect(),
            words: own.map(words).collect(),
            keys: keys.map(|(key, state)| (*key, *state)).collect(),
        }
    }

    /// The limits that an account starts with: those in force before, which an operator may have
    /// ordered, unless the configuration has changed.
    fn in_force(
        &self,
        account: u32,
        before: Option<&m2_journal::image::Account>,
        entry: &Entry,
    ) -> (u64, u64) {
        let configured = self.books.accounts.get(account as usize).map(|it| it.configured);
        let kept = before.filter(|_| configured == Some(entry.limits)).map(|it| it.image);
        let ConfiguredLimits { balance_max, payable_max } = entry.limits;
        kept.map_or((balance_max, payable_max), |it| (it.balance_max, it.payable_max))
    }

    /// A generation that was begun has the limits that it was begun with.
    fn judge_limits(&self, before: &Recovered, entries: &[Entry], found: &Recovered) {
        for (number, account) in (0..).zip(&found.accounts) {
            let was = before.accounts.get(number as usize);
            let wanted = self.in_force(number, was, &entries[number as usize]);
            let limits = (account.image.balance_max, account.image.payable_max);
            assert!(
                limits == wanted,
                "journal: account {number} starts with limits {limits:?}, not {wanted:?}"
            );
        }
    }

    /// What there would be, were the power cut now. The process lives on.
    pub(crate) fn probe(&mut self, salt: u64) {
        self.seen.saw(Event::Probed);
        let dice = &mut dice(&[salt, self.plan.seed, 0x9205e]);
        let mut disk = self.disk.clone();
        disk.cut_power(Luck::of(dice, &disk));
        let shards = self.plan.shards(salt / 7);
        self.lose_snapshot(disk.clone(), salt / 3);
        self.look_into(disk, shards, dice.bool());
    }

    /// Recovers from a disk of which nobody else knows, and judges it; then once more, from the next
    /// generation, if it is begun.
    pub(crate) fn look_into(&mut self, mut disk: Disk, shards: u16, begins: bool) {
        let found = inspect(&mut disk, &options(None), &mut |_| {});
        let found = found.unwrap_or_else(|error| panic!("recovery: {error}"));
        self.judge(&found);
        self.note(&found);
        self.compare_with_base(&mut disk, &found);
        if begins {
            let again = recover(&mut disk, &options(None), &mut |_| {});
            same(&found, &again.unwrap_or_else(|error| panic!("recovery: {error}")));
            let entries = entries(&self.plan, self.life + 1, shards);
            let settings = self.plan.settings.clone();
            begin_generation(&mut disk, &found, &entries, shards.into(), settings)
                .unwrap_or_else(|error| panic!("recovery: {error}"));
            let next = inspect(&mut disk, &options(None), &mut |_| {});
            let next = next.unwrap_or_else(|error| panic!("recovery: {error}"));
            assert!(next.generation == found.generation + 1, "journal: a generation is not there");
            same(&found, &next);
            self.judge_limits(&found, &entries, &next);
        }
    }

    /// A snapshot never makes words differ from a replay of everything.
    fn compare_with_base(&mut self, disk: &mut Disk, found: &Recovered) {
        // Pairs without a record are in snapshots alone.
        if self.has_retired || self.plan.has_loose() {
            return;
        }
        let replayed = inspect(disk, &options(Some(u64::MAX)), &mut |_| {});
        same(found, &replayed.unwrap_or_else(|error| panic!("recovery from the base: {error}")));
        self.seen.saw(Event::FromSnapshot);
    }

    /// Where the power is cut, and a byte changes while it is off.
    pub(crate) fn damage(&mut self, salt: u64, which: u64, where_: u64) {
        self.die();
        self.lose(true, Luck::of(&mut dice(&[salt, self.plan.seed]), &self.disk));
        self.damage_disk(mix(salt, which), where_);
        self.is_over = true;
    }
}

/// The accounts of a generation.
fn entries(plan: &Plan, life: u64, shards: u16) -> Vec<Entry> {
    let entry = |number: u32| {
        let account = plan.accounts[number as usize];
        Entry {
            shard: plan.shard_of(number, life, shards),
            name: format!("account {number}"),
            asset_code: assets()[usize::from(account.asset.0)].code.clone(),
            asset_scale: 0,
            limits: plan.configured(number, life),
        }
    };
    (0..plan.account_count()).map(entry).collect()
}

/// Two recoveries come to the same; limits may have been configured otherwise between them.
fn same(one: &Recovered, other: &Recovered) {
    for (one, other) in one.accounts.iter().zip(&other.accounts) {
        let (one, other) = (one.image, other.image);
        assert!(one.account == other.account, "journal: accounts have other numbers");
        let (one, other) = (one.words, other.words);
        assert!(one == other, "journal: recovered once as {one:?}, then as {other:?}");
    }
    assert!(one.accounts.len() == other.accounts.len(), "journal: an account is lost");
    assert!(one.keys == other.keys, "journal: keys are recovered once so, then otherwise");
}
