//! The state, and the one way in: an event at a moment, which comes to rows and things to do.
//!
//! ```text
//!   switch --Frozen--> keys --> claim (or deposit, or a channel first) --> peer --Taken--> Settled --> switch
//!   peer --Claim--> best claim --> credited, up to what is final on the chain --> Credit --> switch
//!                        '------> redeemed when worth it, or when the channel closes
//! ```
//!
//! What to do is never queued: after each event it is found anew from what is kept ([`plan`](Settlement)),
//! so that a restart finds it as well. What is not kept (what was told on this connection, what rests after
//! a failure) may be forgotten: it is done again, and all of it is said in totals or under keys.
//!
//! Invariants: what a peer was given in claims is at most what was frozen for it; what was credited is at
//! most what its claims say and, of a channel that is not over, what its final deposit can pay; an amount
//! is credited under one key; a nonce has one call.

mod operators;
mod restore;
mod switch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::chain::{ChannelId, Key, OnChain, Question, Sight, Terms, Token};
use crate::config::{AccountConfig, Config};
use crate::counters::Counters;
use crate::event::{Effect, Event, Notice, Now};
use crate::rest::{Jitter, Rest};
use crate::rows::{
    AccountRow, ChannelRow, Costs, Job, KeyRow, OrderRow, Staged, Table, TransactionRow, Write,
};
use crate::wire::Message;

pub use restore::RestoreError;

/// The id of the channel that terms make on a chain.
pub type ChannelIdOf = Box<dyn Fn(usize, &Terms) -> ChannelId + Send>;

/// See the head of the file.
pub struct Settlement {
    pub(crate) config: Config,
    channel_id_of: ChannelIdOf,
    by_name: BTreeMap<String, usize>,
    pub(crate) accounts: Vec<Account>,
    pub(crate) keys: BTreeMap<Key, KeyRow>,
    pub(crate) channels: BTreeMap<ChannelId, Channel>,
    pub(crate) orders: BTreeMap<u64, OrderTold>,
    pub(crate) transactions: BTreeMap<u64, Transaction>,
    pub(crate) chains: Vec<Chain>,
    pub(crate) counters: Counters,
    pub(crate) jitter: Jitter,
    pub(crate) switch_up: bool,
    next_order: u64,
    pub(crate) next_transaction: u64,
    pub(crate) next_number: u64,
    forget_at: Now,
    touched: BTreeSet<usize>,
    changed: BTreeSet<(Table, String)>,
    pub(crate) effects: Vec<Effect>,
}

/// An account: what is kept, and what is not.
#[derive(Default)]
pub(crate) struct Account {
    pub(crate) row: AccountRow,
    /// Units of the account: of all keys that were not cancelled.
    pub(crate) sum: u128,
    /// Keys that are to be paid, the oldest first.
    pub(crate) open: VecDeque<Key>,
    /// Of channels that are not over.
    pub(crate) channels: BTreeSet<ChannelId>,
    pub(crate) peer_up: bool,
    /// What the peer has not answered yet.
    pub(crate) saying: Option<(u64, Saying)>,
    /// Channels that its claims have named and that are not known, and why they will not do.
    pub(crate) candidates: VecDeque<(ChannelId, Option<crate::wire::Reason>)>,
    /// What it freezes is no amount of the token; told once.
    pub(crate) overflows: bool,
    pub(crate) credits: crate::receiving::Credits,
    /// It has as many channels as it may; told once.
    pub(crate) is_full: bool,
}

/// What was said to a peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Saying {
    Claim { channel: ChannelId, total: u128 },
    Close { channel: ChannelId },
}

/// A channel: what is kept, and what is not.
pub(crate) struct Channel {
    pub(crate) row: ChannelRow,
    pub(crate) account: usize,
    /// After the latest block that was seen.
    pub(crate) latest: Option<OnChain>,
    /// It was looked for since the start.
    pub(crate) looked: bool,
    /// A claim of this total is being signed.
    pub(crate) signing: Option<u128>,
    /// The peer has heard the latest claim on this connection.
    pub(crate) told: bool,
    /// An agreement is being signed.
    pub(crate) agreeing: Option<Agreeing>,
    /// Not before this is the peer asked for an agreement again: what it has to say comes first.
    pub(crate) ask_at: Now,
    pub(crate) sign_rest: Rest,
    /// What the peer hears of it was refused, or not answered.
    pub(crate) say_rest: Rest,
}

/// An agreement that is being signed.
#[derive(Clone, Debug)]
pub(crate) struct Agreeing {
    pub(crate) agreement: crate::chain::Agreement,
    /// The peer asked for it: what waits for the answer, and its signature.
    pub(crate) reply: Option<(u64, crate::chain::Bytes)>,
}

/// An order, and whether the switch was told of it on this connection.
pub(crate) struct OrderTold {
    pub(crate) row: OrderRow,
    told: bool,
    rest: Rest,
}

/// A transaction: what is kept, and what is not.
pub(crate) struct Transaction {
    pub(crate) row: TransactionRow,
    pub(crate) chain: usize,
    /// It is in the latest block or before.
    pub(crate) included: bool,
    pub(crate) sending: bool,
    pub(crate) send_at: Now,
    pub(crate) send_rest: Rest,
    /// When its latest attempt was signed, or found at a restart.
    pub(crate) signed_at: Option<Now>,
    /// The chain said that it offers too little.
    pub(crate) too_low: bool,
    /// After which block the chain said that it would fail.
    pub(crate) failed_at: Option<u64>,
    pub(crate) sign_rest: Rest,
}

/// A chain: nothing of it is kept but what it has cost.
#[derive(Default)]
pub(crate) struct Chain {
    pub(crate) name: String,
    pub(crate) costs: Costs,
    /// What it showed last, its channels and transactions left out.
    pub(crate) sight: Option<Sight>,
    pub(crate) looked_at: Option<Now>,
    /// The height of the newest block that was shown since a newer one became final.
    pub(crate) highest: u64,
    /// When a look has shown a newer block than that: a node that stands still shows no close.
    pub(crate) progressed_at: Option<Now>,
    pub(crate) look_error: Option<String>,
    pub(crate) looking: bool,
    pub(crate) look_at: Now,
    pub(crate) look_rest: Rest,
    pub(crate) drafting: Option<(u64, Drafting)>,
    pub(crate) job_rests: BTreeMap<Job, Rest>,
    /// Since when claims of a token wait to be redeemed together.
    pub(crate) redeem_since: BTreeMap<Token, Now>,
    pub(crate) tokens: BTreeMap<Token, crate::chain::TokenSight>,
}

/// What is being signed.
#[derive(Clone, Debug)]
pub(crate) enum Drafting {
    New { jobs: Vec<Job>, content: crate::chain::Draft },
    Again { transaction: u64, content: crate::chain::Draft },
}

impl Settlement {
    /// What an event comes to.
    pub fn step(&mut self, now: Now, event: Event) -> Staged {
        match event {
            Event::Tick => {
                self.touch_all();
                self.forget_old_keys(now);
            }
            Event::SwitchUp => {
                self.switch_up = true;
                self.orders.values_mut().for_each(|order| order.told = false);
            }
            Event::SwitchDown => self.switch_up = false,
            Event::Frozen { account, key, amount } => self.take_frozen(now, &account, key, amount),
            Event::Ordered { order, result } => self.take_ordered(now, order, result),
            Event::PeerUp { account } => self.take_peer(&account, true),
            Event::PeerDown { account } => self.take_peer(&account, false),
            Event::Said { account, token, message, signer } => {
                self.take_said(now, &account, token, message, signer);
            }
            Event::Replied { account, token, message, signer } => {
                self.take_replied(now, &account, token, message, signer);
            }
            Event::Seen { chain, sight } => self.take_seen(now, chain, sight),
            Event::Signed { chain, draft, signed } => self.take_signed(now, chain, draft, signed),
            Event::Sent { transaction, attempt, result } => {
                self.take_sent(now, transaction, attempt, result);
            }
            Event::ClaimSigned { claim, signature } => {
                self.take_claim_signed(now, claim, signature);
            }
            Event::AgreementSigned { agreement, signature } => {
                self.take_agreement_signed(now, agreement, signature);
            }
            Event::Operator(wish) => self.take_wish(now, wish),
        }
        self.plan(now);
        Staged { writes: self.writes(), effects: core::mem::take(&mut self.effects) }
    }

    /// Finds what is to be done now for whatever may have changed.
    fn plan(&mut self, now: Now) {
        let touched = core::mem::take(&mut self.touched);
        let mut chains = BTreeSet::new();
        for account in touched {
            self.plan_receiving(now, account);
            self.plan_paying(now, account);
            self.plan_ending(now, account);
            self.plan_telling(now, account);
            chains.insert(self.config.accounts[account].chain);
        }
        for chain in chains {
            self.plan_chain(now, chain);
        }
        self.plan_orders(now);
    }

    pub(crate) fn touch(&mut self, account: usize) {
        self.touched.insert(account);
    }

    fn touch_all(&mut self) {
        self.touched.extend(0..self.accounts.len());
    }

    pub(crate) fn touch_chain(&mut self, chain: usize) {
        let accounts = self.config.accounts.iter().enumerate();
        self.touched.extend(accounts.filter(|(_, it)| it.chain == chain).map(|(at, _)| at));
    }

    /// The account of a name, if it settles.
    #[must_use]
    pub fn account(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// In which chain of the configuration an account settles.
    #[must_use]
    pub fn chain_of(&self, name: &str) -> Option<usize> {
        self.account(name).map(|account| self.config.accounts[account].chain)
    }

    pub(crate) fn account_config(&self, account: usize) -> &AccountConfig {
        &self.config.accounts[account]
    }

    pub(crate) fn channel_id(&self, chain: usize, terms: &Terms) -> ChannelId {
        (self.channel_id_of)(chain, terms)
    }

    pub(crate) fn does(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(crate) fn alarm(&mut self, account: Option<usize>, text: String) {
        self.counters.alarms += 1;
        let account = account.map(|at| self.config.accounts[at].name.clone());
        self.does(Effect::Tell(Notice::Alarm { account, text }));
    }

    pub(crate) fn warn(&mut self, account: Option<usize>, text: String) {
        let account = account.map(|at| self.config.accounts[at].name.clone());
        self.does(Effect::Tell(Notice::Warning { account, text }));
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    // Rows.

    pub(crate) fn change(&mut self, table: Table, name: impl ToString) {
        self.changed.insert((table, name.to_string()));
    }

    pub(crate) fn change_account(&mut self, account: usize) {
        let name = self.config.accounts[account].name.clone();
        self.changed.insert((Table::Accounts, name));
    }

    fn writes(&mut self) -> Vec<Write> {
        let changed = core::mem::take(&mut self.changed);
        let write = |(table, name): (Table, String)| {
            let value = self.value(table, &name);
            Write { table, name, value }
        };
        changed.into_iter().map(write).collect()
    }

    fn value(&self, table: Table, name: &str) -> Option<String> {
        match table {
            Table::Accounts => {
                let account = self.account(name).expect("rows are of accounts that there are");
                Some(json(&self.accounts[account].row))
            }
            Table::Keys => self.keys.get(&named(name)).map(json),
            Table::Channels => self.channels.get(&named(name)).map(|channel| json(&channel.row)),
            Table::Orders => self.orders.get(&named(name)).map(|order| json(&order.row)),
            Table::Transactions => {
                self.transactions.get(&named(name)).map(|transaction| json(&transaction.row))
            }
            Table::Costs => {
                let chain = self.chains.iter().find(|chain| chain.name == name);
                Some(json(&chain.expect("rows are of chains that there are").costs))
            }
        }
    }

    fn take_peer(&mut self, name: &str, is_up: bool) {
        let Some(account) = self.account(name) else { return };
        self.touch(account);
        let Account { peer_up, saying, channels, .. } = &mut self.accounts[account];
        (*peer_up, *saying) = (is_up, None);
        for id in channels.iter() {
            let channel = self.channels.get_mut(id).expect("channels of an account are kept");
            (channel.told, channel.say_rest) = (false, Rest::default());
        }
    }

    // What others ask.

    /// What has happened since the start.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The agreement that a peer was asked for, whose signature its answer brings.
    #[must_use]
    pub fn asked_agreement(&self, account: usize) -> Option<crate::chain::Agreement> {
        let (_, Saying::Close { channel }) = self.accounts[account].saying? else { return None };
        Some(self.channels.get(&channel)?.row.agreed.as_ref()?.agreement)
    }

    pub(crate) fn question(&self, chain: usize) -> Question {
        let of_chain = |account: &usize| self.config.accounts[*account].chain == chain;
        let mut question = Question::default();
        for at in (0..self.accounts.len()).filter(of_chain) {
            let account = &self.accounts[at];
            question.channels.extend(&account.channels);
            question.channels.extend(account.candidates.iter().map(|(id, _)| *id));
            let token = self.config.accounts[at].token;
            if !question.tokens.contains(&token) {
                question.tokens.push(token);
            }
        }
        let transactions = self.transactions.values().filter(|it| it.chain == chain);
        let attempts = transactions.flat_map(|transaction| &transaction.row.attempts);
        question.transactions.extend(attempts.map(|attempt| attempt.hash));
        question
    }

    pub(crate) fn answer(&mut self, account: usize, token: u64, message: Message) {
        let account = self.config.accounts[account].name.clone();
        self.does(Effect::Answer { account, token, message });
    }
}

impl Channel {
    pub(crate) fn new(row: ChannelRow, account: usize) -> Self {
        Self {
            row,
            account,
            latest: None,
            looked: false,
            signing: None,
            told: false,
            agreeing: None,
            ask_at: Now(0),
            sign_rest: Rest::default(),
            say_rest: Rest::default(),
        }
    }
}

impl Transaction {
    pub(crate) fn new(row: TransactionRow, chain: usize) -> Self {
        Self {
            row,
            chain,
            included: false,
            sending: false,
            send_at: Now(0),
            send_rest: Rest::default(),
            signed_at: None,
            too_low: false,
            failed_at: None,
            sign_rest: Rest::default(),
        }
    }
}

/// A chain and a contract by one name.
pub(crate) fn chain_name(place: &crate::wire::Place) -> String {
    format!("{}/{}", place.chain, crate::chain::to_hex(&place.contract))
}

/// A name that we have written.
fn named<T: serde::de::DeserializeOwned + core::str::FromStr>(name: &str) -> T {
    name.parse().ok().expect("rows bear names that we gave them")
}

fn json(row: &impl serde::Serialize) -> String {
    serde_json::to_string(row).expect("rows have string keys and no failing parts")
}
