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

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::chain::{ChannelId, Key, OnChain, Party, Question, Sight, Terms, Token};
use crate::config::{AccountConfig, Config};
use crate::counters::Counters;
use crate::event::{Effect, Event, Notice, Now, OrderError, Wish};
use crate::limits::{FORGET_MS, KEY_KEPT_MS};
use crate::rest::{Jitter, Rest};
use crate::rows::{
    AccountRow, ChannelRow, Costs, Ending, Job, KeyRow, KeyState, Order, OrderRow, Staged, Table,
    TransactionRow, Write,
};
use crate::wire::Message;

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

/// A row that is not what it has to be.
#[derive(Debug, Eq, PartialEq)]
pub struct RestoreError {
    /// Where.
    pub table: Table,
    /// Its name.
    pub name: String,
    /// What is wrong.
    pub text: String,
}

impl core::fmt::Display for RestoreError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { table, name, text } = self;
        write!(f, "the row {name} of {} cannot be used: {text}", table.word())
    }
}

impl core::error::Error for RestoreError {}

impl Settlement {
    /// A settlement as its rows have it, at the start of a process. `seed` is for jitter alone.
    ///
    /// # Errors
    ///
    /// When a row is not one of ours, or speaks of an account or a chain that is not configured: a debt must
    /// not be forgotten because a line of a file was removed.
    pub fn restore(
        config: Config,
        channel_id_of: ChannelIdOf,
        seed: u64,
        rows: impl IntoIterator<Item = Write>,
    ) -> Result<Self, RestoreError> {
        let mut chains = Vec::new();
        for chain in &config.chains {
            let name = chain_name(&chain.place);
            chains.push(Chain { name, ..Chain::default() });
        }
        let accounts = config.accounts.iter().map(|_| Account::default()).collect();
        let names = config.accounts.iter().enumerate();
        let by_name = names.map(|(at, account)| (account.name.clone(), at)).collect();
        let mut settlement = Self {
            config,
            channel_id_of,
            by_name,
            accounts,
            keys: BTreeMap::new(),
            channels: BTreeMap::new(),
            orders: BTreeMap::new(),
            transactions: BTreeMap::new(),
            chains,
            counters: Counters::default(),
            jitter: Jitter(seed),
            switch_up: false,
            next_order: 0,
            next_transaction: 0,
            next_number: 0,
            forget_at: Now(0),
            touched: BTreeSet::new(),
            changed: BTreeSet::new(),
            effects: Vec::new(),
        };
        for row in rows {
            let (table, name) = (row.table, row.name.clone());
            settlement.restore_row(row).map_err(|text| RestoreError { table, name, text })?;
        }
        settlement.restore_sums()?;
        settlement.check_basis()?;
        settlement.touch_all();
        Ok(settlement)
    }

    /// Nothing was ever owed or paid: what stands in the configuration may change.
    fn is_blank(&self, at: usize) -> bool {
        let (name, row) = (&self.config.accounts[at].name, &self.accounts[at].row);
        let counts = [row.sum_past, row.paid_past, row.got_past, row.credited, row.opened.into()];
        counts == [0; 5]
            && !self.keys.values().any(|it| it.account == *name)
            && !self.channels.values().any(|it| it.row.account == *name)
            && !self.orders.values().any(|it| it.row.account == *name)
    }

    /// What was counted in one token, at one scale, with one peer is not counted on in another.
    fn check_basis(&mut self) -> Result<(), RestoreError> {
        for at in 0..self.accounts.len() {
            let config = &self.config.accounts[at];
            let chain = &self.chains[config.chain].name;
            let basis = format!(
                "{chain}, we {}, token {}, peer {}, {:?}",
                self.config.chains[config.chain].us.address(),
                Party(config.token.0).address(),
                config.peer.address(),
                config.scales
            );
            let is_blank = self.is_blank(at);
            let row = &mut self.accounts[at].row;
            if is_blank && row.basis != basis {
                row.basis = basis;
                self.change_account(at);
            } else if row.basis != basis {
                let text = format!(
                    "it was begun on {}, and the configuration says {basis}: put it back",
                    row.basis
                );
                return Err(RestoreError {
                    table: Table::Accounts,
                    name: config.name.clone(),
                    text,
                });
            }
        }
        Ok(())
    }

    fn restore_row(&mut self, row: Write) -> Result<(), String> {
        let Write { table, name, value } = row;
        let value = value.ok_or("it has no value")?;
        match table {
            Table::Accounts => {
                let row: AccountRow = parse(&value)?;
                let counts =
                    [row.sum_past, row.paid_past, row.got_past, row.credited, row.opened.into()];
                // One that came to nothing may be forgotten; what hangs on it is asked for by its own rows.
                match self.account(&name) {
                    None if counts == [0; 5] && !row.behind => {}
                    _ => {
                        let account = self.restored_account(&name)?;
                        self.accounts[account].row = row;
                    }
                }
            }
            Table::Keys => {
                let key = parse(&format!("\"{name}\""))?;
                let row: KeyRow = parse(&value)?;
                self.restored_account(&row.account)?;
                self.keys.insert(key, row);
            }
            Table::Channels => {
                let id = parse(&format!("\"{name}\""))?;
                let row: ChannelRow = parse(&value)?;
                if row.ours > 1 {
                    return Err("a channel has two parties".into());
                }
                let account = self.restored_account(&row.account)?;
                if !row.over {
                    self.accounts[account].channels.insert(id);
                }
                self.channels.insert(id, Channel::new(row, account));
            }
            Table::Orders => {
                let number: u64 = parse(&name)?;
                self.next_order = self.next_order.max(number + 1);
                let row: OrderRow = parse(&value)?;
                let told = OrderTold { row, told: false, rest: Rest::default() };
                self.orders.insert(number, told);
            }
            Table::Transactions => {
                let number: u64 = parse(&name)?;
                self.next_transaction = self.next_transaction.max(number + 1);
                let row: TransactionRow = parse(&value)?;
                if row.attempts.is_empty() {
                    return Err("a transaction has signed bytes".into());
                }
                let chain = self.restored_chain(&row.chain)?;
                self.transactions.insert(number, Transaction::new(row, chain));
            }
            Table::Costs => {
                let chain = self.restored_chain(&name)?;
                self.chains[chain].costs = parse(&value)?;
            }
        }
        Ok(())
    }

    fn restored_account(&self, name: &str) -> Result<usize, String> {
        self.account(name).ok_or_else(|| {
            format!(
                "the account `{name}` is not configured: put it back into the configuration, as \
                 something of it may be owed"
            )
        })
    }

    fn restored_chain(&self, name: &str) -> Result<usize, String> {
        self.chains.iter().position(|chain| chain.name == name).ok_or_else(|| {
            format!("the chain {name} is not configured: put it back into the configuration")
        })
    }

    /// Sums of keys, which are kept with each key as well.
    fn restore_sums(&mut self) -> Result<(), RestoreError> {
        for at in 0..self.accounts.len() {
            let name = &self.config.accounts[at].name;
            let of_account = self.keys.iter().filter(|(_, row)| row.account == *name);
            let mut keys: Vec<_> =
                of_account.filter(|(_, row)| row.state != KeyState::Cancelled).collect();
            keys.sort_by_key(|(_, row)| (row.sum, core::cmp::Reverse(row.amount)));
            let mut sum = self.accounts[at].row.sum_past;
            let mut open = VecDeque::new();
            for (key, row) in keys {
                sum =
                    sum.checked_add(row.amount).filter(|sum| *sum == row.sum).ok_or_else(|| {
                        let text =
                            "its sum is not that of the keys before it: the store is damaged";
                        RestoreError {
                            table: Table::Keys,
                            name: key.to_string(),
                            text: text.into(),
                        }
                    })?;
                if row.state == KeyState::Open {
                    open.push_back(*key);
                }
            }
            (self.accounts[at].sum, self.accounts[at].open) = (sum, open);
        }
        Ok(())
    }

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

    // The switch.

    fn take_frozen(&mut self, now: Now, name: &str, key: Key, amount: u128) {
        let Some(account) = self.account(name) else {
            self.counters.frozen_unserved += 1;
            let text = format!(
                "the switch has frozen {amount} units of `{name}`, which does not settle: add it to \
                 the configuration, or remove its settle_threshold"
            );
            return self.alarm(None, text);
        };
        self.touch(account);
        if let Some(known) = self.keys.get(&key) {
            let (same, state) = (known.account == name && known.amount == amount, known.state);
            return match state {
                _ if !same => {
                    let known = format!("{} units of `{}`", known.amount, known.account);
                    let text = format!(
                        "the switch says that the key {key} stands for {amount} units; it was told \
                         of before as {known}: nothing is paid for it again"
                    );
                    self.alarm(Some(account), text);
                }
                KeyState::Open => {}
                KeyState::Settled => self.order_once(account, Order::Settled { key }),
                KeyState::Cancelled => self.order_once(account, Order::Cancelled { key }),
            };
        }
        let Some(sum) = self.accounts[account].sum.checked_add(amount) else {
            let text = format!("the sum of what was frozen is no amount with the key {key}");
            return self.alarm(Some(account), text);
        };
        let row = KeyRow { account: name.into(), amount, sum, state: KeyState::Open, at_ms: now.0 };
        self.keys.insert(key, row);
        self.accounts[account].sum = sum;
        self.accounts[account].open.push_back(key);
        self.change(Table::Keys, key);
    }

    /// A key comes to its end.
    pub(crate) fn end_key(&mut self, now: Now, account: usize, key: Key, state: KeyState) {
        let row = self.keys.get_mut(&key).expect("open keys are kept");
        assert!(row.state == KeyState::Open, "a key ends once");
        (row.state, row.at_ms) = (state, now.0);
        let order = match state {
            KeyState::Settled => Order::Settled { key },
            KeyState::Cancelled => Order::Cancelled { key },
            KeyState::Open => unreachable!("that is no end"),
        };
        self.change(Table::Keys, key);
        self.order(account, order);
    }

    /// Keys whose end the switch has recorded long ago.
    fn forget_old_keys(&mut self, now: Now) {
        if now < self.forget_at && self.forget_at.0 - now.0 <= FORGET_MS {
            return;
        }
        self.forget_at = Now(now.0 + FORGET_MS);
        let is_old = |row: &KeyRow| {
            row.state != KeyState::Open && now.0.saturating_sub(row.at_ms) > KEY_KEPT_MS
        };
        let old: Vec<Key> =
            self.keys.iter().filter(|(_, row)| is_old(row)).map(|(key, _)| *key).collect();
        if old.is_empty() {
            return;
        }
        let told: BTreeSet<Key> =
            self.orders.values().filter_map(|order| end_of(&order.row.order)).collect();
        // In their order, so that the sum of those that are kept goes on from those that are not.
        let mut old: Vec<Key> = old.into_iter().filter(|key| !told.contains(key)).collect();
        old.sort_by_key(|key| self.keys[key].sum);
        for key in old {
            let row = &self.keys[&key];
            let account = self.account(&row.account).expect("keys are of accounts that there are");
            if row.state == KeyState::Settled {
                let past = self.accounts[account].row.sum_past + row.amount;
                if past != row.sum {
                    continue;
                }
                self.accounts[account].row.sum_past = past;
                self.change_account(account);
            }
            self.keys.remove(&key);
            self.change(Table::Keys, key);
        }
    }

    pub(crate) fn order(&mut self, account: usize, order: Order) {
        let number = self.next_order;
        self.next_order += 1;
        let row = OrderRow { account: self.config.accounts[account].name.clone(), order };
        self.orders.insert(number, OrderTold { row, told: false, rest: Rest::default() });
        self.change(Table::Orders, number);
    }

    fn order_once(&mut self, account: usize, order: Order) {
        if !self.orders.values().any(|it| it.row.order == order) {
            self.order(account, order);
        }
    }

    fn take_ordered(&mut self, now: Now, number: u64, result: Result<(), OrderError>) {
        let Some(order) = self.orders.get_mut(&number) else { return };
        let account = order.row.account.clone();
        let Err(OrderError { text, again }) = result else {
            self.orders.remove(&number);
            // Credits may wait for room.
            if let Some(account) = self.account(&account) {
                self.touch(account);
            }
            return self.change(Table::Orders, number);
        };
        order.told = false;
        order.rest.fail(now, &mut self.jitter);
        let (failures, row) = (order.rest.failures(), order.row.clone());
        if !again && failures == 1 {
            let text = format!("the switch does not take {:?}: {text}", row.order);
            let account = self.account(&row.account);
            self.alarm(account, text);
        }
    }

    /// Tells the switch what it has not answered.
    fn plan_orders(&mut self, now: Now) {
        if !self.switch_up {
            return;
        }
        let mut under_way = self.orders.values().filter(|order| order.told).count();
        for (number, order) in &mut self.orders {
            if under_way >= crate::limits::ORDERS_UNDER_WAY_MAX {
                return;
            }
            if !order.told && order.rest.is_over(now) {
                order.told = true;
                under_way += 1;
                self.effects.push(Effect::Order {
                    number: *number,
                    account: order.row.account.clone(),
                    order: order.row.order.clone(),
                });
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

    // Operators.

    fn take_wish(&mut self, now: Now, wish: Wish) {
        match wish {
            Wish::Redeem { account } => self.each_channel(&account, |row| {
                row.redeem_now = true;
                true
            }),
            Wish::Close { account, ending } => self.each_channel(&account, |row| {
                // An agreement that fails may be followed by a close alone, never the other way round.
                let changes = row.ending.is_none() || ending == Ending::Alone;
                if changes {
                    row.ending = Some(ending);
                }
                changes
            }),
            Wish::Cancel { key } => self.cancel(now, key),
            Wish::Resume { account } => {
                let Some(account) = self.account(&account) else { return };
                let row = &mut self.accounts[account].row;
                row.paused = None;
                // What the peer holds of an account whose store lacks something only the chain can tell: its
                // channels end, and then it is paid again.
                row.resuming = row.behind;
                for id in self.accounts[account].channels.clone() {
                    let channel =
                        self.channels.get_mut(&id).expect("channels of an account are kept");
                    if self.accounts[account].row.resuming {
                        channel.row.ending = Some(Ending::Alone);
                        self.change(Table::Channels, id);
                    }
                }
                self.change_account(account);
                self.touch(account);
                // A pause that the switch has not heard of would undo the operator's limits later.
                let name = self.config.accounts[account].name.clone();
                let is_pause = |row: &OrderRow| row.account == name && row.order == Order::Pause;
                let pauses: Vec<u64> = self
                    .orders
                    .iter()
                    .filter(|(_, it)| is_pause(&it.row))
                    .map(|(at, _)| *at)
                    .collect();
                for number in pauses {
                    self.orders.remove(&number);
                    self.change(Table::Orders, number);
                }
            }
        }
    }

    fn each_channel(&mut self, name: &str, mut change: impl FnMut(&mut ChannelRow) -> bool) {
        let Some(account) = self.account(name) else { return };
        self.touch(account);
        for id in self.accounts[account].channels.clone() {
            let channel = self.channels.get_mut(&id).expect("channels of an account are kept");
            if change(&mut channel.row) {
                self.change(Table::Channels, id);
            }
        }
    }

    /// Takes back the last key of an account if no claim, signed or being signed, pays any of it.
    fn cancel(&mut self, now: Now, key: Key) {
        if let Err(text) = self.may_cancel(key) {
            return self.warn(None, text);
        }
        let row = &self.keys[&key];
        let (amount, account) = (row.amount, self.account(&row.account).expect("it was found"));
        self.accounts[account].open.pop_back();
        self.accounts[account].sum -= amount;
        self.end_key(now, account, key, KeyState::Cancelled);
        self.touch(account);
    }

    /// Whether a key can be taken back.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn may_cancel(&self, key: Key) -> Result<(), String> {
        let row = self.keys.get(&key).ok_or_else(|| format!("no key {key} is known"))?;
        let account = self.account(&row.account).ok_or("its account is not configured")?;
        if row.state != KeyState::Open {
            return Err(format!("the key {key} has ended: it is {:?}", row.state));
        }
        if self.accounts[account].row.behind {
            return Err(
                "our store lacks claims that were given: one of them may pay the key".into()
            );
        }
        if self.accounts[account].open.back() != Some(&key) {
            return Err(format!("later keys of `{}` rest on {key}", row.account));
        }
        let before = row.sum - row.amount;
        let scales = self.account_config(account).scales;
        let covered = scales.to_token(before).is_none_or(|most| self.given_in_all(account) > most);
        if covered {
            return Err(format!("a claim that was signed pays some of the key {key}"));
        }
        Ok(())
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

/// The key of a frozen amount that an order ends.
fn end_of(order: &Order) -> Option<Key> {
    match order {
        Order::Settled { key } | Order::Cancelled { key } => Some(*key),
        Order::Credit { .. } | Order::Reverse { .. } | Order::Pause => None,
    }
}

/// A chain and a contract by one name.
pub(crate) fn chain_name(place: &crate::wire::Place) -> String {
    format!("{}/{}", place.chain, crate::chain::to_hex(&place.contract))
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("it is not what we write: {error}"))
}

/// A name that we have written.
fn named<T: serde::de::DeserializeOwned + core::str::FromStr>(name: &str) -> T {
    name.parse().ok().expect("rows bear names that we gave them")
}

fn json(row: &impl serde::Serialize) -> String {
    serde_json::to_string(row).expect("rows have string keys and no failing parts")
}
