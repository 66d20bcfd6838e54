//! Everything that happens, in an order that a seed chooses, and what must hold whatever it is.

mod cheat;
mod does;
mod judge;

use std::collections::BTreeMap;

use fastrand::Rng;
use m2_settlement::chain::{
    Agreement, Bytes, Call, ChannelId, ChannelState, Claim, Fee, Key, LookError, OnChain,
    Party as Id, SendError, SignError, SignedClaim, Terms, Token,
};
use m2_settlement::config::{AccountConfig, ChainConfig, Config};
use m2_settlement::event::{Effect, Event, Notice, Now, OrderError, Wish};
use m2_settlement::rows::{Ending, Order, Table};
use m2_settlement::scale::Scales;
use m2_settlement::wire::{Message, Place};

use super::chain::{self, Chain, Transaction};
use super::party::Party;
use super::plan::{Plan, Tally};

/// What is under way.
enum Pending {
    /// A process was told to do it, and may be gone.
    Do { party: usize, life: u64, effect: Effect },
    /// It will be heard of, if the process lives.
    Hear { party: usize, life: u64, event: Event },
    /// A message on a link.
    Carry { from: usize, life: u64, to: usize, epoch: u64, token: u64, message: Message },
}

/// A message that its peer works at.
struct Waiting {
    from: usize,
    life: u64,
    token: u64,
    epoch: u64,
    of_life: u64,
}

pub(crate) struct World {
    seed: u64,
    plan: Plan,
    rng: Rng,
    now: Now,
    chain: Chain,
    parties: Vec<Party>,
    /// By pair: whether it is up, and which it is.
    links: BTreeMap<(usize, usize), (bool, u64)>,
    pending: Vec<Pending>,
    waiting: BTreeMap<(usize, u64), Waiting>,
    next_token: u64,
    nonces: BTreeMap<(usize, u64), Call>,
    /// What a cheat has asked for, and what of it others have signed.
    asked: BTreeMap<u64, Agreement>,
    signed: Vec<(Agreement, Bytes)>,
    hung_at: Now,
    faults: bool,
    scales: Scales,
    tally: Tally,
}

const TOKEN: Token = Token([9; 32]);
const EACH: u128 = 1 << 120;
const START_MS: u64 = 1_800_000_000_000;

fn id(party: usize) -> Id {
    Id([u8::try_from(party + 1).unwrap(); 32])
}

fn name(party: usize) -> String {
    format!("p{party}")
}

fn place() -> Place {
    Place { chain: "sim:1".into(), contract: vec![5; 20] }
}

fn pair(one: usize, two: usize) -> (usize, usize) {
    (one.min(two), one.max(two))
}

impl World {
    pub(crate) fn new(seed: u64, plan: Plan) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x5eed);
        let count = plan.parties;
        let ids: Vec<Id> = (0..count).map(id).collect();
        let chain = Chain::new(&ids, &[TOKEN], EACH, rng.usize(0..5));
        let scales = Scales::new(plan.scales[0], plan.scales[1]).unwrap();
        let mut parties = Vec::new();
        let mut links = BTreeMap::new();
        for party in 0..count {
            let peers: Vec<usize> = (0..count).filter(|peer| *peer != party).collect();
            let account = |peer: &usize| AccountConfig {
                name: name(*peer),
                chain: 0,
                token: TOKEN,
                scales,
                peer: id(*peer),
                window_s: if plan.cheats { 1_500 } else { 20_000 },
                window_s_min: 1_000,
                deposit: 1 << (peer * 7 + 3),
                redeem_min: 1 << (party * 9),
                redeem_margin_s: 300,
            };
            let us = id(party);
            let config = Config {
                chains: vec![ChainConfig {
                    place: place(),
                    us,
                    look_ms: 1_000,
                    batch_ms: 5_000,
                    send_again_ms: 5_000,
                    replace_ms: 10_000,
                    fee_most: plan.fee_most,
                }],
                accounts: peers.iter().map(account).collect(),
            };
            let names: Vec<String> = peers.iter().map(|peer| name(*peer)).collect();
            parties.push(Party::new(us, config, &names));
            for peer in peers {
                links.insert(pair(party, peer), (false, 0));
            }
        }
        Self {
            seed,
            plan,
            rng,
            now: Now(START_MS),
            chain,
            parties,
            links,
            pending: Vec::new(),
            waiting: BTreeMap::new(),
            next_token: 0,
            nonces: BTreeMap::new(),
            asked: BTreeMap::new(),
            signed: Vec::new(),
            hung_at: Now(0),
            faults: true,
            scales,
            tally: Tally::default(),
        }
    }

    pub(crate) fn run(mut self) -> Tally {
        for _ in 0..self.plan.steps {
            self.now.0 += self.rng.u64(0..400);
            self.act();
            if self.plan.cheats && self.rng.u32(..20) == 0 {
                self.cheat();
            }
            self.judge_credits(false);
        }
        self.faults = false;
        self.chain.hangs = false;
        self.chain.lies = false;
        self.chain.base_fee = 100;
        if self.plan.cheats {
            self.end_with_the_cheat();
            return self.count();
        }
        self.until("every frozen amount is settled and credited", Self::is_paid);
        self.judge_credits(true);
        if !self.plan.deep {
            self.end_channels();
        }
        self.count()
    }

    fn end_channels(&mut self) {
        for party in 0..self.parties.len() {
            for peer in (0..self.parties.len()).filter(|peer| *peer != party) {
                let (account, ending) = (name(peer), self.plan.ending);
                // Both, as one may not know of a channel that the other has just opened.
                self.feed(party, Event::Operator(Wish::Close { account, ending }));
            }
        }
        self.until("every channel is over", |world| world.chain.open_channels() == 0);
        for _ in 0..200 {
            self.calm_step();
        }
        self.judge_credits(true);
        self.judge_balances();
    }

    fn count(mut self) -> Tally {
        for party in &self.parties {
            let counters = party.settlement.counters();
            self.tally.replaced += counters.transactions_replaced;
            self.tally.keys_settled +=
                party.books.values().map(|books| books.settled.len()).sum::<usize>();
            self.tally.credits +=
                party.books.values().map(|books| books.credited.len()).sum::<usize>();
            self.tally.reversals +=
                party.books.values().map(|books| books.reversed.len() as u64).sum::<u64>();
        }
        self.tally.blocks_taken_back = self.chain.taken_back;
        self.tally.steps = self.plan.steps;
        self.tally
    }

    fn act(&mut self) {
        let party = self.rng.usize(..self.parties.len());
        match self.rng.u32(..1_000) {
            0..600 => self.go_on(),
            600..700 => self.feed(party, Event::Tick),
            700..780 => self.chain.mine(self.now.0 / 1_000),
            780..860 => self.pay(party),
            860..885 => self.toggle_link(party),
            885..905 => self.toggle_switch(party),
            905..915 => self.crash(party),
            915..925 => self.toggle_hang(),
            925..935 => self.chain.lies = self.rng.bool(),
            935..950 => {
                let depth = self.rng.usize(0..=self.chain.finality_blocks);
                self.chain.reorganise(depth, self.rng.bool());
            }
            950..955 => self.chain.forget_pool(),
            955..965 => self.chain.base_fee = self.rng.u128(50..2_000),
            965..967 => self.close_behind_its_back(party),
            967..985 => self.say_something_bad(party),
            985..988 => {
                let account = self.peer_name(party);
                self.feed(party, Event::Operator(Wish::Redeem { account }));
            }
            988..990 => {
                let account = self.peer_name(party);
                let ending = if self.rng.bool() { Ending::Together } else { Ending::Alone };
                self.feed(party, Event::Operator(Wish::Close { account, ending }));
            }
            990..993 if self.plan.deep && self.tally.steps == 0 => {
                let depth = self.rng.usize(8..100);
                self.chain.break_finality(depth);
                self.tally.steps = 1;
            }
            _ => self.now.0 += 10_000,
        }
        let long = self.now.0.saturating_sub(self.hung_at.0) > 100_000;
        if self.chain.hangs && long {
            self.chain.hangs = false;
        }
    }

    /// Without faults, until something holds.
    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        for step in 0..60_000 {
            self.calm_step();
            if self.plan.deep && step % 2_000 == 1_999 {
                self.end_what_has_vanished();
            }
            if holds(self) {
                return;
            }
        }
        let seed = self.seed;
        for (at, party) in self.parties.iter().enumerate() {
            for ((table, name), row) in &party.rows.0 {
                eprintln!("p{at} {} {name}: {row}", table.word());
            }
            eprintln!("p{at} books: {:?}", party.books);
        }
        panic!("seed {seed}: not even after all faults have stopped: {what} ({:?})", self.plan);
    }

    /// What operators do behind a chain that broke its finality.
    fn end_what_has_vanished(&mut self) {
        for party in 0..self.parties.len() {
            let view = self.parties[party].settlement.view(self.now);
            let vanished = view.channels.into_iter().filter(|it| it.state == "unseen");
            // Or the peer has ended for good what is open again: what is owed is paid in another channel.
            let unpaid = view.accounts.into_iter().filter(|it| it.keys_open > 0);
            let accounts: std::collections::BTreeSet<String> =
                vanished.map(|it| it.account).chain(unpaid.map(|it| it.account)).collect();
            for account in accounts {
                self.feed(party, Event::Operator(Wish::Close { account, ending: Ending::Alone }));
            }
        }
    }

    fn calm_step(&mut self) {
        self.now.0 += 500;
        for (one, two) in self.links.keys().copied().collect::<Vec<_>>() {
            if !self.links[&(one, two)].0 {
                self.set_link(one, two, true);
            }
        }
        for party in 0..self.parties.len() {
            if !self.parties[party].switch_up {
                self.set_switch(party, true);
            }
            self.feed(party, Event::Tick);
            // Somebody has looked at what was taken back.
            for account in self.parties[party].books.keys().cloned().collect::<Vec<_>>() {
                if self.parties[party].books[&account].paused {
                    self.parties[party].books.get_mut(&account).unwrap().paused = false;
                    self.feed(party, Event::Operator(Wish::Resume { account }));
                }
            }
        }
        for _ in 0..self.pending.len() {
            self.go_on();
        }
        if self.rng.u32(..3) == 0 {
            self.now.0 += 5_000;
            self.chain.mine(self.now.0 / 1_000);
        }
    }

    fn is_paid(&self) -> bool {
        let is_settled =
            self.parties.iter().all(|it| it.books.values().all(|it| it.frozen.is_empty()));
        is_settled && self.chain.is_empty() && self.credits().all(|(credited, due)| credited == due)
    }

    // What happens.

    /// Something that is under way gets on.
    fn go_on(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let at = self.rng.usize(..self.pending.len());
        match self.pending.swap_remove(at) {
            Pending::Do { party, life, effect } => self.perform(party, life, effect),
            Pending::Hear { party, life, event } => {
                if self.parties[party].life == life {
                    self.feed(party, event);
                }
            }
            Pending::Carry { from, life, to, epoch, token, message } => {
                self.carry(from, life, to, epoch, token, message);
            }
        }
    }

    /// A process takes an event; and may be killed before it is on disk, behind that, or amid what it does.
    fn feed(&mut self, party: usize, event: Event) {
        let dice = if self.faults { self.rng.u32(..400) } else { u32::MAX };
        let it = &mut self.parties[party];
        let staged = it.settlement.step(self.now, event);
        if dice == 0 {
            return self.crash(party);
        }
        let effects = staged.commit(&mut it.rows).expect("this disk does not fail");
        let done = if dice == 1 { self.rng.usize(..=effects.len()) } else { effects.len() };
        let life = it.life;
        for effect in effects.into_iter().take(done) {
            self.judge_effect(party, &effect);
            self.pending.push(Pending::Do { party, life, effect });
        }
        if dice == 1 {
            self.crash(party);
        }
    }

    fn crash(&mut self, party: usize) {
        self.tally.crashes += 1;
        let seed = self.rng.u64(..);
        self.parties[party].restart(seed);
        // What it was asked is not answered any more; a new life hears which links are up.
        let left: Vec<_> = self.waiting.keys().copied().filter(|(at, _)| *at == party).collect();
        for key in left {
            let waiting = self.waiting.remove(&key).unwrap();
            self.reply(party, &waiting, Err("the settlement process is gone".into()));
        }
    }

    fn pay(&mut self, party: usize) {
        let peer = self.peer_name(party);
        let bits = self.rng.u32(1..40);
        let amount = self.rng.u128(..1 << bits);
        let key = Key(self.rng.u128(..).to_be_bytes());
        let it = &mut self.parties[party];
        let books = it.books.get_mut(&peer).unwrap();
        books.payable += amount;
        if books.frozen.is_empty() && books.payable > 0 {
            let amount = core::mem::take(&mut books.payable);
            books.frozen.insert(key, amount);
            if it.switch_up {
                let life = it.life;
                let event = Event::Frozen { account: peer, key, amount };
                self.pending.push(Pending::Hear { party, life, event });
            }
        }
    }

    fn toggle_switch(&mut self, party: usize) {
        let is_up = self.parties[party].switch_up;
        self.set_switch(party, !is_up);
    }

    fn set_switch(&mut self, party: usize, is_up: bool) {
        self.parties[party].switch_up = is_up;
        self.tally.restarts_of_switches += u64::from(is_up);
        if !is_up {
            return self.feed(party, Event::SwitchDown);
        }
        self.feed(party, Event::SwitchUp);
        let frozen: Vec<Event> = self.parties[party]
            .books
            .iter()
            .flat_map(|(account, books)| {
                books.frozen.iter().map(|(key, amount)| Event::Frozen {
                    account: account.clone(),
                    key: *key,
                    amount: *amount,
                })
            })
            .collect();
        for event in frozen {
            self.feed(party, event);
        }
        for peer in (0..self.parties.len()).filter(|peer| *peer != party).collect::<Vec<_>>() {
            if self.links[&pair(party, peer)].0 {
                self.feed(party, Event::PeerUp { account: name(peer) });
            }
        }
    }

    fn toggle_link(&mut self, party: usize) {
        let peer = self.peer(party);
        let is_up = self.links[&pair(party, peer)].0;
        self.set_link(party, peer, !is_up);
    }

    fn set_link(&mut self, one: usize, two: usize, is_up: bool) {
        let link = self.links.get_mut(&pair(one, two)).unwrap();
        *link = (is_up, link.1 + 1);
        for (party, peer) in [(one, two), (two, one)] {
            let account = name(peer);
            let event = if is_up { Event::PeerUp { account } } else { Event::PeerDown { account } };
            self.feed(party, event);
        }
    }

    fn toggle_hang(&mut self) {
        self.chain.hangs = !self.chain.hangs;
        self.hung_at = self.now;
    }

    /// Somebody else has the key of a party, and closes a channel with it: the next nonce is gone, and what
    /// the channel's peer holds has to be redeemed in its window.
    fn close_behind_its_back(&mut self, party: usize) {
        let from = self.parties[party].id;
        let channels = self.chain.channels_of(from);
        if channels.is_empty() {
            return;
        }
        let channel = channels[self.rng.usize(..channels.len())];
        let (nonce, fee) = (self.chain.nonce(from), Fee { most: 1 << 40, tip: 1 });
        let transaction = Transaction { from, nonce, call: Call::Close { channel }, fee };
        if self.chain.take(transaction).is_ok() {
            self.tally.closed_by_others += 1;
        }
    }

    fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    fn peer(&mut self, party: usize) -> usize {
        let step = self.rng.usize(1..self.parties.len());
        (party + step) % self.parties.len()
    }

    fn peer_name(&mut self, party: usize) -> String {
        let peer = self.peer(party);
        name(peer)
    }
}

fn number_of(name: &str) -> usize {
    name[1..].parse().unwrap()
}

fn signer_of(message: &Message) -> Option<Id> {
    match message {
        Message::Claim { signed, .. } => chain::claimer(&signed.claim, &signed.signature),
        Message::Close { agreement, signature, .. } => chain::signer(agreement, signature),
        _ => None,
    }
}
