//! Everything that happens, in an order that a seed chooses, and what must hold whatever it is.

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

/// What a seed decides before anything happens.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    parties: usize,
    scales: [u8; 2],
    steps: u64,
    /// Blocks that were final vanish, once. What had ended by then has ended for us: so the channels' ends are
    /// not judged.
    deep: bool,
    ending: Ending,
    /// Somebody else has the key of the first party, too, and does with it whatever it can: what others have of
    /// it, and it of them, must be right on the chain.
    cheats: bool,
    fee_most: u128,
}

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        Self {
            parties: if seed % 4 == 3 { 3 } else { 2 },
            scales: [[9, 6], [6, 9], [6, 6], [2, 18], [9, 0]][rng.usize(..5)],
            steps: rng.u64(200..2_500),
            deep: seed % 8 == 6,
            ending: if rng.bool() { Ending::Together } else { Ending::Alone },
            cheats: seed % 5 == 4 && seed % 8 != 6,
            fee_most: if rng.bool() { 100_000 } else { 2_500 },
        }
    }
}

/// What has happened in all, so that a run in which nothing does is seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) keys_settled: usize,
    pub(crate) credits: usize,
    pub(crate) reversals: u64,
    pub(crate) crashes: u64,
    pub(crate) restarts_of_switches: u64,
    pub(crate) blocks_taken_back: u64,
    pub(crate) replaced: u64,
    pub(crate) lost: u64,
    pub(crate) closed_by_others: u64,
    pub(crate) agreed: u64,
    pub(crate) refused: BTreeMap<String, u64>,
    pub(crate) sent: u64,
    pub(crate) steps: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.keys_settled += other.keys_settled;
        self.credits += other.credits;
        self.reversals += other.reversals;
        self.crashes += other.crashes;
        self.restarts_of_switches += other.restarts_of_switches;
        self.blocks_taken_back += other.blocks_taken_back;
        self.replaced += other.replaced;
        self.lost += other.lost;
        self.closed_by_others += other.closed_by_others;
        self.agreed += other.agreed;
        self.sent += other.sent;
        self.steps += other.steps;
        for (reason, count) in &other.refused {
            *self.refused.entry(reason.clone()).or_default() += count;
        }
    }

    pub(crate) fn assert_everything_happened(&self) {
        let happened = [
            ("keys settled", self.keys_settled as u64),
            ("credits", self.credits as u64),
            ("reversals", self.reversals),
            ("crashes", self.crashes),
            ("switch restarts", self.restarts_of_switches),
            ("blocks taken back", self.blocks_taken_back),
            ("transactions replaced", self.replaced),
            ("nonces lost", self.lost),
            ("closes by others", self.closed_by_others),
            ("agreements", self.agreed),
        ];
        for (what, count) in happened {
            assert!(count > 0, "no {what} in all these seeds");
        }
        for reason in [
            "forged",
            "lower",
            "over_deposit",
            "unknown_channel",
            "wrong_chain",
            "wrong_contract",
            "agreed",
        ] {
            assert!(self.refused.contains_key(reason), "nothing was refused as {reason}");
        }
    }
}

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

    /// Whoever is cheated ends its channels, and has on the chain what it was credited; and the cheat no more than
    /// was frozen for it.
    fn end_with_the_cheat(&mut self) {
        self.until("what others owe the cheat is paid", |world| {
            world.parties[1..].iter().all(|it| it.books[&name(0)].frozen.is_empty())
        });
        // Again and again, as claims name channels that were not known.
        for step in 0..3_000 {
            for victim in (1..self.parties.len()).filter(|_| step % 500 == 0) {
                let (account, ending) = (name(0), Ending::Alone);
                self.feed(victim, Event::Operator(Wish::Close { account, ending }));
            }
            self.calm_step();
        }
        let is_theirs = |channel: &OnChain| {
            channel.parties.contains(&id(0)) && channel.state != ChannelState::Settled
        };
        let knows = |world: &Self, victim: usize| {
            let view = world.parties[victim].settlement.view(world.now);
            let channels = view.channels.into_iter().filter(|it| it.account == name(0));
            channels.filter(|it| it.state != "over").map(|it| it.channel).collect::<Vec<_>>()
        };
        // A channel that the cheat has opened and nobody was paid in is nobody's business.
        self.until("the channels of the cheat are over", |world| {
            let known: Vec<String> =
                (1..world.parties.len()).flat_map(|it| knows(world, it)).collect();
            !world.chain.channels().any(|(id, it)| is_theirs(it) && known.contains(&id.to_string()))
        });
        for _ in 0..50 {
            self.calm_step();
        }
        for victim in 1..self.parties.len() {
            let of_both =
                |it: &&OnChain| it.parties.contains(&id(0)) && it.parties.contains(&id(victim));
            let paid_by = |payer: usize| -> u128 {
                let channels = self.chain.channels().map(|(_, it)| it).filter(of_both);
                channels.map(|it| it.sides[usize::from(it.parties[1] == id(payer))].redeemed).sum()
            };
            let books = &self.parties[victim].books[&name(0)];
            let got = self.scales.to_account(paid_by(0)).unwrap();
            let credited = books.credited_in_all();
            assert!(
                credited <= i128::try_from(got).unwrap(),
                "p{victim} has credited {credited}, and the chain has paid it {got}"
            );
            let due = self.scales.to_token(books.frozen_in_all()).unwrap();
            assert!(paid_by(victim) <= due, "p{victim} has paid {} of {due}", paid_by(victim));
        }
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

    /// A stranger on the link of a peer, or a peer that cheats: none of it may change anything.
    fn say_something_bad(&mut self, party: usize) {
        let peer = self.peer(party);
        let token = self.token();
        let channels = self.chain.channels_of(self.parties[party].id);
        let channel = channels.first().copied().unwrap_or(ChannelId([1; 32]));
        let claim = Claim { channel, total: 1 << self.rng.u32(1..120) };
        let mut place = place();
        let mut signer = id(peer);
        match self.rng.u32(..6) {
            0 => signer = Id([77; 32]),
            1 => place.chain = "sim:2".into(),
            2 => place.contract = vec![6; 20],
            3 => {
                let claim = Claim { total: 0, ..claim };
                let signature = chain::sign(signer, &claim);
                let signed = SignedClaim { claim, signature };
                return self.say_bad(party, peer, token, Message::Claim { place, signed });
            }
            4 => {
                // More than anybody has.
                let claim = Claim { total: u128::MAX, ..claim };
                let signature = chain::sign(signer, &claim);
                let signed = SignedClaim { claim, signature };
                return self.say_bad(party, peer, token, Message::Claim { place, signed });
            }
            _ => signer = id(party),
        }
        let signature = chain::sign(signer, &claim);
        let signed = SignedClaim { claim, signature };
        self.say_bad(party, peer, token, Message::Claim { place, signed });
    }

    /// Whatever can be done with the key of the first party.
    fn cheat(&mut self) {
        let victim = self.rng.usize(1..self.parties.len());
        let both = [id(0), id(victim)];
        let channels: Vec<(ChannelId, OnChain)> = self
            .chain
            .channels()
            .filter(|(_, it)| both.iter().all(|party| it.parties.contains(party)))
            .map(|(id, it)| (id, it.clone()))
            .collect();
        let fee = Fee { most: 1 << 40, tip: 1 };
        let nonce = self.chain.nonce(id(0));
        let send = |chain: &mut Chain, call: Call| {
            let _ = chain.take(Transaction { from: id(0), nonce, call, fee });
        };
        if channels.is_empty() || self.rng.u32(..30) == 0 {
            // A window that is too short.
            let salt = [self.rng.u8(..); 32];
            let window_s = [600, 999, 1_500][self.rng.usize(..3)];
            let terms = Terms { first: id(0), second: id(victim), token: TOKEN, window_s, salt };
            return send(&mut self.chain, Call::Open { terms, deposit: 1 << self.rng.u32(1..30) });
        }
        let (channel, on_chain) = channels[self.rng.usize(..channels.len())].clone();
        let ours = usize::from(on_chain.parties[1] == id(0));
        let deposit = on_chain.sides[ours].deposit;
        match self.rng.u32(..12) {
            0..6 => {
                // Also more than there is: a node that lies about its latest block shows more.
                let most = if self.rng.u32(..4) == 0 { 1 << 20 } else { deposit / 2 + 5 };
                let total = on_chain.sides[ours].redeemed + self.rng.u128(..=most);
                let claim = Claim { channel, total };
                let signed = SignedClaim { claim, signature: chain::sign(id(0), &claim) };
                if self.rng.u32(..4) == 0 {
                    return send(&mut self.chain, Call::Redeem { claims: vec![signed] });
                }
                let token = self.token();
                self.say_bad(victim, 0, token, Message::Claim { place: place(), signed });
            }
            6 => send(&mut self.chain, Call::Close { channel }),
            7 => {
                let total = deposit + self.rng.u128(..1 << 20);
                send(&mut self.chain, Call::Deposit { channel, total });
            }
            8..11 => self.ask_for_a_wrong_end(victim, channel, &on_chain),
            _ => {
                let Some((agreement, theirs)) = self.signed.pop() else { return };
                let ours = chain::sign(id(0), &agreement);
                let is_first = self
                    .chain
                    .channels()
                    .any(|(id, it)| id == agreement.channel && it.parties[0] == self::id(0));
                let [first_signature, second_signature] =
                    if is_first { [ours, theirs] } else { [theirs, ours] };
                let call = Call::CloseTogether { agreement, first_signature, second_signature };
                send(&mut self.chain, call);
            }
        }
    }

    /// An end by which somebody would have more than is its own, or less; or one that is right, again and again.
    fn ask_for_a_wrong_end(&mut self, victim: usize, channel: ChannelId, on_chain: &OnChain) {
        let view = self.parties[victim].settlement.view(self.now);
        let known = view.channels.into_iter().find(|it| it.channel == channel.to_string());
        let mut paid = on_chain.sides.map(|side| side.redeemed);
        if let Some(known) = known {
            let ours = usize::from(on_chain.parties[1] == id(0));
            paid[ours] = paid[ours].max(known.held.parse().unwrap());
            paid[1 - ours] = paid[1 - ours].max(known.given.parse().unwrap());
        }
        let at = self.rng.usize(..2);
        match self.rng.u32(..3) {
            0 => paid[at] = self.rng.u128(..=on_chain.sides[at].deposit),
            1 => paid[at] = paid[at].saturating_sub(1),
            _ => {}
        }
        let valid_until_s = self.now.0 / 1_000 + self.rng.u64(0..4_000);
        let [first_paid, second_paid] = paid;
        let agreement = Agreement { channel, first_paid, second_paid, valid_until_s };
        let token = self.token();
        self.asked.insert(token, agreement);
        let signature = chain::sign(id(0), &agreement);
        let message = Message::Close { place: place(), agreement, signature };
        self.say_bad(victim, 0, token, message);
    }

    fn say_bad(&mut self, party: usize, peer: usize, token: u64, message: Message) {
        let signer = signer_of(&message);
        let event = Event::Said { account: name(peer), token, message: Ok(message), signer };
        self.feed(party, event);
    }

    // What processes do.

    fn perform(&mut self, party: usize, life: u64, effect: Effect) {
        let us = self.parties[party].id;
        let event = match effect {
            Effect::Order { number, account, order } => {
                if !self.parties[party].switch_up {
                    return;
                }
                self.judge_order(party, &account, &order);
                let books = self.parties[party].books.get_mut(&account).unwrap();
                let result = books.take(&order);
                assert!(result.is_ok(), "the switch refuses {order:?}");
                if self.faults && self.rng.u32(..20) == 0 {
                    // Recorded, and the answer is lost with the connection.
                    return self.set_switch_down(party);
                }
                let busy = OrderError { text: "busy".into(), again: true };
                let result =
                    if self.faults && self.rng.u32(..20) == 0 { Err(busy) } else { Ok(()) };
                Event::Ordered { order: number, result }
            }
            Effect::Say { account, token, message } => {
                let to = number_of(&account);
                let (is_up, epoch) = self.links[&pair(party, to)];
                if !is_up {
                    let message = Err("the link is down".into());
                    let event = Event::Replied { account, token, message, signer: None };
                    self.pending.push(Pending::Hear { party, life, event });
                    return;
                }
                let carry = Pending::Carry { from: party, life, to, epoch, token, message };
                self.pending.push(carry);
                return;
            }
            Effect::Answer { token, message, .. } => {
                let Some(waiting) = self.waiting.remove(&(party, token)) else {
                    if let (Some(agreement), Message::Agreed { signature }) =
                        (self.asked.remove(&token), message)
                    {
                        self.signed.push((agreement, signature));
                    }
                    return;
                };
                if waiting.of_life == life {
                    self.reply(party, &waiting, Ok(message));
                }
                return;
            }
            Effect::Look { chain: 0, question } => {
                let lie = self.rng.u64(..);
                let lags = self.faults && self.rng.u32(..20) == 0;
                let lag = if lags { self.rng.usize(1..6) } else { 0 };
                let odd = self.faults && self.rng.u32(..50) == 0;
                let sight = if odd {
                    Err(LookError::Nonsense("no block has this number".into()))
                } else {
                    self.chain.look(us, &question, lie, lag)
                };
                Event::Seen { chain: 0, sight: sight.map(|sight| Box::new((question, sight))) }
            }
            Effect::Sign { chain, draft, content } => {
                let signed = self.chain.sign(us, content);
                Event::Signed { chain, draft, signed }
            }
            Effect::Send { transaction, attempt, bytes, .. } => {
                let (takes, loses) = (self.rng.bool(), self.faults && self.rng.u32(..8) == 0);
                let result = self.chain.send(&bytes, takes, loses);
                let odd = self.faults && self.rng.u32(..30) == 0;
                let result = if odd { Err(SendError::Refused("no".into())) } else { result };
                Event::Sent { transaction, attempt, result }
            }
            Effect::SignClaim { claim, .. } => {
                let signature = self.signs().map(|()| chain::sign(us, &claim));
                Event::ClaimSigned { claim, signature }
            }
            Effect::SignAgreement { agreement, .. } => {
                let signature = self.signs().map(|()| chain::sign(us, &agreement));
                Event::AgreementSigned { agreement, signature }
            }
            Effect::Tell(notice) => return self.hear(notice),
            Effect::Look { chain, .. } => unreachable!("there is no chain {chain}"),
        };
        self.pending.push(Pending::Hear { party, life, event });
    }

    fn signs(&mut self) -> Result<(), SignError> {
        match self.faults && self.rng.u32(..20) == 0 {
            true => Err(SignError::Signer("the signer is gone".into())),
            false => Ok(()),
        }
    }

    fn set_switch_down(&mut self, party: usize) {
        self.set_switch(party, false);
    }

    fn hear(&mut self, notice: Notice) {
        if let Notice::Alarm { text, .. } = notice {
            self.tally.lost += u64::from(text.contains("another transaction has nonce"));
            assert!(!text.contains("stands for"), "{text}");
            // With a second key's hands in the game a store does not know everything.
            let is_fair = !self.plan.deep && !self.plan.cheats;
            for words in ["lost to us", "not in our store", "than our store knows"] {
                assert!(!is_fair || !text.contains(words), "{text}");
            }
        }
    }

    fn carry(
        &mut self,
        from: usize,
        life: u64,
        to: usize,
        epoch: u64,
        token: u64,
        message: Message,
    ) {
        let waiting = Waiting { from, life, token, epoch, of_life: self.parties[to].life };
        if self.links[&pair(from, to)] != (true, epoch) || !self.parties[to].switch_up {
            return self.reply(to, &waiting, Err("the link is gone".into()));
        }
        // What is written is what is read.
        let message = Message::parse(&message.to_bytes()).expect("our own messages are read");
        let token = self.token();
        self.waiting.insert((to, token), waiting);
        let signer = signer_of(&message);
        let event = Event::Said { account: name(from), token, message: Ok(message), signer };
        self.feed(to, event);
    }

    fn reply(&mut self, to: usize, waiting: &Waiting, message: Result<Message, String>) {
        let Waiting { from, life, token, epoch, .. } = *waiting;
        let is_up = self.links[&pair(from, to)] == (true, epoch);
        let message = if is_up { message } else { Err("the link is gone".into()) };
        let account = name(to);
        let settlement = &self.parties[from].settlement;
        let signer = match &message {
            Ok(Message::Agreed { signature }) => {
                self.tally.agreed += 1;
                let account = settlement.account(&account).unwrap();
                let asked = settlement.asked_agreement(account);
                asked.and_then(|agreement| chain::signer(&agreement, signature))
            }
            _ => None,
        };
        if let Ok(Message::Refused { reason, .. }) = &message {
            *self.tally.refused.entry(reason.word().into()).or_default() += 1;
        }
        let event = Event::Replied { account, token, message, signer };
        self.pending.push(Pending::Hear { party: from, life, event });
    }

    // What must hold.

    /// What leaves a process is on its disk.
    fn judge_effect(&mut self, party: usize, effect: &Effect) {
        let rows = &self.parties[party].rows;
        match effect {
            Effect::Send { bytes, .. } => {
                self.tally.sent += 1;
                assert!(
                    rows.have(Table::Transactions, bytes),
                    "bytes are sent that are on no disk"
                );
                let sent: Transaction = serde_json::from_slice(&bytes.0).unwrap();
                let first =
                    self.nonces.entry((party, sent.nonce)).or_insert_with(|| sent.call.clone());
                // A reorganisation below what is final gives a nonce back that was used up.
                let is_filler = sent.call == Call::Nothing;
                assert!(
                    self.plan.deep || is_filler || *first == sent.call,
                    "a nonce has two calls"
                );
            }
            Effect::Say { message: Message::Claim { signed, .. }, .. } => {
                assert!(rows.have(Table::Channels, &signed.signature), "a claim is on no disk");
            }
            Effect::Say { message: Message::Close { signature, .. }, .. }
            | Effect::Answer { message: Message::Agreed { signature }, .. } => {
                assert!(rows.have(Table::Channels, signature), "an agreement is on no disk");
            }
            Effect::Answer { message: Message::Taken { channel, total }, .. } => {
                let row = &rows.0[&(Table::Channels, channel.to_string())];
                assert!(held(row) >= *total, "a claim is acknowledged that is on no disk");
            }
            Effect::Answer { message: Message::Refused { reason, .. }, .. } => {
                *self.tally.refused.entry(reason.word().into()).or_default() += 1;
            }
            Effect::Order { number, .. } => {
                let row = rows.0.contains_key(&(Table::Orders, number.to_string()));
                assert!(row, "the switch is told what is on no disk");
            }
            _ => {}
        }
    }

    /// What is called settled is held by the peer.
    fn judge_order(&self, party: usize, account: &str, order: &Order) {
        let Order::Settled { key } = order else { return };
        if self.plan.cheats && (party == 0 || account == name(0)) {
            return;
        }
        let books = &self.parties[party].books[account];
        let this = books.frozen.get(key).copied().unwrap_or(0);
        let settled = books.settled.values().sum::<u128>() + this;
        let peer = &self.parties[number_of(account)].rows;
        let of_us = |row: &str| {
            let row: serde_json::Value = serde_json::from_str(row).unwrap();
            row["account"] == *name(party)
        };
        let channels = peer.0.iter().filter(|((table, _), _)| *table == Table::Channels);
        let held: u128 = channels.filter(|(_, row)| of_us(row)).map(|(_, row)| held(row)).sum();
        let due = self.scales.to_token(settled).unwrap();
        assert!(due <= held, "{due} are called settled, and the peer holds {held}");
    }

    /// What each has credited to each, and what it is to come to.
    fn credits(&self) -> impl Iterator<Item = (i128, i128)> {
        let count = self.parties.len();
        let pairs = (0..count).flat_map(move |from| (0..count).map(move |to| (from, to)));
        pairs.filter(|(from, to)| from != to).map(|(from, to)| {
            let frozen = self.parties[from].books[&name(to)].frozen_in_all();
            let paid = self.scales.to_token(frozen).unwrap();
            let due = self.scales.to_account(paid).unwrap();
            let credited = self.parties[to].books[&name(from)].credited_in_all();
            (credited, i128::try_from(due).unwrap())
        })
    }

    fn judge_credits(&self, is_end: bool) {
        if self.plan.cheats {
            return;
        }
        for (credited, due) in self.credits() {
            assert!(credited <= due, "{credited} are credited of {due}");
            assert!(!is_end || credited == due, "{credited} are credited of {due}");
        }
    }

    /// After all channels are over: what each has is what it had, less what it paid, and what it was paid.
    fn judge_balances(&self) {
        let count = self.parties.len();
        let paid = |from: usize, to: usize| {
            self.scales.to_token(self.parties[from].books[&name(to)].frozen_in_all()).unwrap()
        };
        for party in 0..count {
            let others = || (0..count).filter(|peer| *peer != party);
            let came: u128 = others().map(|peer| paid(peer, party)).sum();
            let went: u128 = others().map(|peer| paid(party, peer)).sum();
            let has = self.chain.balance(self.parties[party].id, TOKEN);
            assert_eq!(has, EACH + came - went, "p{party} was paid {came} and paid {went}");
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

/// What a row of a channel holds of the peer: its best claim, or what the chain has paid.
fn held(row: &str) -> u128 {
    let row: HeldRow = serde_json::from_str(row).unwrap();
    let best = row.best.map_or(0, |best| best.claim.total);
    let redeemed = row.seen.map_or(0, |seen| seen.sides[1 - row.ours].redeemed);
    best.max(redeemed)
}

#[derive(serde::Deserialize)]
struct HeldRow {
    ours: usize,
    best: Option<SignedClaim>,
    seen: Option<OnChain>,
}
