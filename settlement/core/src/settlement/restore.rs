//! A settlement as its rows have it, at the start of a process.
//!
//! Invariant: nothing that may be owed is forgotten or counted in something else: a row of an account or a chain that
//! is not configured, an account that was begun on another token, scale, peer or key, and sums that do not add up
//! each stop the start.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Account, Chain, Channel, ChannelIdOf, OrderTold, Settlement, Transaction, chain_name};
use crate::chain::Party;
use crate::config::Config;
use crate::counters::Counters;
use crate::event::Now;
use crate::rest::{Jitter, Rest};
use crate::rows::{
    AccountRow, ChannelRow, KeyRow, KeyState, OrderRow, Table, TransactionRow, Write,
};

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
        row.is_blank()
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
                // One that came to nothing may be forgotten; what hangs on it is asked for by its own rows.
                match self.account(&name) {
                    None if row.is_blank() => {}
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
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("it is not what we write: {error}"))
}
