//! What one life of a switch is fed: everything that reaches its cores and its journal from outside, in
//! its order and with its times. Fed to fresh ones, on a fresh disk, it makes them write the same bytes.
//!
//! ```text
//!   the life:   peers, operators, chance --> cores, rings, writer --> disk
//!                                   '--> tape                          '-- are they the same bytes?
//!   its replay:                          tape --> cores, rings, writer --> disk
//! ```
//!
//! Nothing of the simulation takes part in a replay: no peer, no book, no number by chance. What a
//! shard hears of another shard, or of the journal, is what these have made of the tape themselves.

use std::collections::BTreeMap;
use std::rc::Rc;

use m2_core::ledger::Words;
use m2_core::{AccountConfig, AccountId, ConnectionId, Key, KeyState, Now, Switch, SwitchConfig};
use m2_journal::recover::{Entry, begin_generation, recover};

use super::calls::Fault;
use super::disk::Disk;
use super::lives::options;
use super::machine::{Machine, Message};
use super::plan::{Plan, rates};

/// Something that is put in from outside, be it only that a thread takes its turn.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    Requests { shard: usize, taken: Vec<Message> },
    Responses { shard: usize, taken: Vec<Message> },
    Tick { shard: usize },
    Forward { shard: usize, from: usize },
    Answer { shard: usize, from: usize },
    Word { shard: usize, stream: usize },
    State { shard: usize },
    Full { shard: usize, connection: ConnectionId, is_full: bool },
    Unsent { shard: usize, connection: ConnectionId, request_id: u32 },
    LinkUp { shard: usize, account: AccountId },
    LinkDown { shard: usize, connection: ConnectionId },
    Told { shard: usize, told: Told },
    Freeze { shard: usize, freeze: Freeze },
    FreezeDue { shard: usize, keys: Vec<Key> },
    Limits { shard: usize, limits: Limits },
    Image { shard: usize },
    Records { shard: usize, most: usize },
    Delivered { shard: usize },
    Ring { stream: usize, most: usize },
    TakeImage { shard: usize },
    Next,
    Call { index: usize, fault: Option<Fault> },
    Done { index: usize },
    Pass,
}

/// What is told under a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Told {
    Credit(AccountId, Key, u64),
    Reversal(AccountId, Key, u64),
    Settled(Key),
    Cancelled(Key),
}

/// What we owe beyond `to` is set aside if it reaches the threshold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freeze {
    pub(crate) account: AccountId,
    pub(crate) key: Key,
    pub(crate) threshold: u64,
    pub(crate) to: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) account: AccountId,
    pub(crate) balance_max: u64,
    pub(crate) payable_max: u64,
}

/// What a core is made of.
#[derive(Clone, Debug)]
pub(crate) struct Birth {
    pub(crate) config: SwitchConfig,
    /// All accounts.
    pub(crate) accounts: Vec<AccountConfig>,
    /// Those of this shard.
    pub(crate) words: Vec<(AccountId, Words)>,
    /// Of accounts of this shard.
    pub(crate) keys: Vec<(Key, KeyState)>,
}

impl Birth {
    /// A core whose peers are not there yet.
    pub(crate) fn switch(&self, plan: &Plan) -> Switch {
        let mut switch = Switch::new(self.config.clone());
        self.accounts.iter().for_each(|account| switch.add_account(account.clone()));
        switch.set_rates(rates());
        switch.set_routes(plan.routes());
        self.words.iter().for_each(|(account, words)| switch.restore(*account, *words));
        self.keys.iter().for_each(|(key, state)| switch.restore_key(*key, *state));
        switch
    }
}

/// All files of a disk, by their paths.
type Files = BTreeMap<String, Vec<u8>>;

/// A life that was recorded.
#[derive(Clone, Debug)]
pub struct Tape {
    plan: Rc<Plan>,
    /// As it was found.
    disk: Disk,
    /// Accounts of the generation.
    entries: Vec<Entry>,
    births: Vec<Birth>,
    inputs: Vec<(Now, Input)>,
    /// What was on the disk when it ended.
    written: Files,
}

impl Tape {
    pub(crate) fn new(plan: Rc<Plan>, disk: Disk, entries: Vec<Entry>, births: Vec<Birth>) -> Self {
        Self { plan, disk, entries, births, inputs: Vec::new(), written: Files::new() }
    }

    pub(crate) fn note(&mut self, now: Now, input: Input) {
        self.inputs.push((now, input));
    }

    /// The life is over, and has left this disk.
    pub(crate) fn end(&mut self, disk: &Disk) {
        self.written = disk.files();
    }

    /// How many shards it had.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.births.len()
    }

    /// How many bytes of batches, snapshots and positions it has written and kept.
    #[must_use]
    pub fn written_bytes(&self) -> usize {
        let before = self.disk.files();
        let is_new = |(path, bytes): &(&String, &Vec<u8>)| before.get(*path) != Some(*bytes);
        let bytes = self.written.iter().filter(is_new).flat_map(|(_, bytes)| bytes);
        bytes.filter(|byte| **byte != 0).count()
    }

    /// The same with each input so much later, on both clocks.
    #[must_use]
    pub fn later(&self, ms: u64) -> Self {
        let mut later = self.clone();
        for (now, _) in &mut later.inputs {
            now.utc_ms += ms;
            now.mono_ns += ms * super::plan::MS;
        }
        later
    }

    /// Feeds it to a fresh switch: the first file that is another one then, or has other bytes.
    ///
    /// # Panics
    ///
    /// When the fresh switch cannot be fed it, as it has done something else before.
    #[must_use]
    pub fn differs(&self) -> Option<String> {
        let files = self.replay().files();
        let paths = self.written.keys().chain(files.keys());
        paths.into_iter().find(|path| self.written.get(*path) != files.get(*path)).cloned()
    }

    fn replay(&self) -> Disk {
        let Self { plan, entries, births, .. } = self;
        let mut disk = self.disk.clone();
        let found = recover(&mut disk, &options(None), &mut |_| {});
        let found = found.expect("it was recovered before");
        let settings = plan.settings.clone();
        let writer = begin_generation(&mut disk, &found, entries, births.len(), settings);
        let writer = writer.expect("it was begun before");
        let switches = births.iter().map(|birth| birth.switch(plan)).collect();
        let mut machine = Machine::new(switches, writer, plan.forward_ring, plan.journal_ring);
        for (now, input) in &self.inputs {
            play(&mut machine, &mut disk, *now, input.clone());
        }
        disk
    }
}

fn play(machine: &mut Machine, disk: &mut Disk, now: Now, input: Input) {
    match input {
        Input::Requests { shard, taken } => machine.requests(shard, now, taken),
        Input::Responses { shard, taken } => machine.responses(shard, now, &taken),
        Input::Tick { shard } => machine.tick(shard, now),
        Input::Forward { shard, from } => machine.forward(shard, from, now),
        Input::Answer { shard, from } => machine.answer(shard, from, now),
        Input::Word { shard, stream } => machine.word(shard, stream, now),
        Input::State { shard } => machine.state(shard, now),
        Input::Full { shard, connection, is_full } => {
            machine.set_full(shard, now, connection, is_full);
        }
        Input::Unsent { shard, connection, request_id } => {
            machine.unsent(shard, now, connection, request_id);
        }
        Input::LinkUp { shard, account } => {
            let _ = machine.link_up(shard, now, account);
        }
        Input::LinkDown { shard, connection } => machine.link_down(shard, now, connection),
        // What it says to these was judged when it said it first.
        Input::Told { shard, told } => {
            let _ = machine.tell(shard, now, told);
        }
        Input::Freeze { shard, freeze } => {
            let _ = machine.freeze(shard, now, freeze);
        }
        Input::FreezeDue { shard, keys } => {
            let _ = machine.freeze_due(shard, now, &keys);
        }
        Input::Limits { shard, limits } => {
            let _ = machine.set_limits(shard, now, limits);
        }
        Input::Image { shard } => {
            let _ = machine.make_image(shard, now);
        }
        Input::Records { shard, most } => machine.records(shard, now, most, |_| {}),
        Input::Delivered { shard } => machine.delivered(shard, now),
        Input::Ring { stream, most } => machine.take_ring(stream, now, most),
        Input::TakeImage { shard } => machine.take_image(shard, now),
        Input::Next => machine.next_op(now),
        Input::Call { index, fault } => {
            let _ = machine.call_disk(index, now, disk, fault);
        }
        Input::Done { index } => {
            let _ = machine.done(index, now);
        }
        Input::Pass => machine.pass(now),
    }
}
