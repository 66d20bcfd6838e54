//! A party: its settlement, the rows that outlive it, and a switch that does what the real one promises.

use std::collections::BTreeMap;

use m2_settlement::chain::{Bytes, Key, Party as Id};
use m2_settlement::config::Config;
use m2_settlement::event::OrderError;
use m2_settlement::rows::{Order, Store, Table, Write};
use m2_settlement::settlement::Settlement;

use super::chain::channel_id;

/// Rows that are committed whole.
#[derive(Clone, Default)]
pub(crate) struct Rows(pub BTreeMap<(Table, String), String>);

/// The disk is told to fail.
#[derive(Debug)]
pub(crate) struct Failed;

impl Store for Rows {
    type Error = Failed;

    fn commit(&mut self, writes: &[Write]) -> Result<(), Failed> {
        for Write { table, name, value } in writes {
            match value {
                Some(value) => self.0.insert((*table, name.clone()), value.clone()),
                None => self.0.remove(&(*table, name.clone())),
            };
        }
        Ok(())
    }
}

impl Rows {
    /// Whether signed bytes stand in a row, as hexadecimal digits.
    pub(crate) fn have(&self, table: Table, bytes: &Bytes) -> bool {
        let digits = m2_settlement::chain::to_hex(&bytes.0);
        let of_table = self.0.iter().filter(|((it, _), _)| *it == table);
        of_table.into_iter().any(|(_, value)| value.contains(&digits))
    }
}

/// What a switch knows of an account.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books {
    /// Owed to the peer and not frozen yet.
    pub(crate) payable: u128,
    pub(crate) frozen: BTreeMap<Key, u128>,
    pub(crate) settled: BTreeMap<Key, u128>,
    pub(crate) credited: BTreeMap<Key, u64>,
    pub(crate) reversed: BTreeMap<Key, u64>,
    pub(crate) paused: bool,
}

impl Books {
    pub(crate) fn frozen_in_all(&self) -> u128 {
        self.frozen.values().chain(self.settled.values()).sum()
    }

    pub(crate) fn credited_in_all(&self) -> i128 {
        let sum = |them: &BTreeMap<Key, u64>| them.values().map(|it| i128::from(*it)).sum::<i128>();
        sum(&self.credited) - sum(&self.reversed)
    }

    /// What the real switch does: keys count once, and stand for one thing.
    pub(crate) fn take(&mut self, order: &Order) -> Result<(), OrderError> {
        let differs =
            || Err(OrderError { text: "the key stands for something else".into(), again: false });
        match order {
            Order::Credit { key, amount } => match self.credited.insert(*key, *amount) {
                Some(known) if known != *amount => differs(),
                _ => Ok(()),
            },
            Order::Reverse { key, amount } => match self.reversed.insert(*key, *amount) {
                Some(known) if known != *amount => differs(),
                _ => Ok(()),
            },
            Order::Settled { key } => match self.frozen.remove(key) {
                Some(amount) => {
                    self.settled.insert(*key, amount);
                    Ok(())
                }
                None if self.settled.contains_key(key) => Ok(()),
                None => differs(),
            },
            Order::Cancelled { .. } => differs(),
            Order::Pause => {
                self.paused = true;
                Ok(())
            }
        }
    }
}

pub(crate) struct Party {
    pub(crate) id: Id,
    pub(crate) config: Config,
    pub(crate) settlement: Settlement,
    pub(crate) rows: Rows,
    /// By account.
    pub(crate) books: BTreeMap<String, Books>,
    /// Which life of the settlement process this is: what an earlier one asked for is answered to nobody.
    pub(crate) life: u64,
    /// The switch and the settlement process see each other.
    pub(crate) switch_up: bool,
}

impl Party {
    pub(crate) fn new(id: Id, config: Config, accounts: &[String]) -> Self {
        let rows = Rows::default();
        let books = accounts.iter().map(|name| (name.clone(), Books::default())).collect();
        let settlement = restored(&config, &rows, 0);
        Self { id, config, settlement, rows, books, life: 0, switch_up: false }
    }

    /// The process is gone and started anew.
    pub(crate) fn restart(&mut self, seed: u64) {
        self.life += 1;
        self.switch_up = false;
        self.settlement = restored(&self.config, &self.rows, seed);
    }
}

fn restored(config: &Config, rows: &Rows, seed: u64) -> Settlement {
    let rows = rows.0.iter().map(|((table, name), value)| Write {
        table: *table,
        name: name.clone(),
        value: Some(value.clone()),
    });
    let id_of = Box::new(|_: usize, terms: &m2_settlement::chain::Terms| channel_id(terms));
    Settlement::restore(config.clone(), id_of, seed, rows).expect("our own rows are read")
}
