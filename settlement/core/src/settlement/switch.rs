//! What the switch says and is told: amounts that it has frozen, and orders that it records.
//!
//! Invariant: a key stands for one amount and ends once; an order is told again until the switch says that it is
//! recorded, and a key is known for a week behind its end, so that hearing of it again pays nothing again.

use std::collections::BTreeSet;

use super::{OrderTold, Settlement};
use crate::chain::Key;
use crate::event::{Effect, Now, OrderError};
use crate::limits::{FORGET_MS, KEY_KEPT_MS, ORDERS_UNDER_WAY_MAX};
use crate::rest::Rest;
use crate::rows::{KeyRow, KeyState, Order, OrderRow, Table};

impl Settlement {
    pub(super) fn take_frozen(&mut self, now: Now, name: &str, key: Key, amount: u128) {
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
    pub(super) fn forget_old_keys(&mut self, now: Now) {
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

    pub(super) fn take_ordered(&mut self, now: Now, number: u64, result: Result<(), OrderError>) {
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
    pub(super) fn plan_orders(&mut self, now: Now) {
        if !self.switch_up {
            return;
        }
        let mut under_way = self.orders.values().filter(|order| order.told).count();
        for (number, order) in &mut self.orders {
            if under_way >= ORDERS_UNDER_WAY_MAX {
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
}

/// The key of a frozen amount that an order ends.
fn end_of(order: &Order) -> Option<Key> {
    match order {
        Order::Settled { key } | Order::Cancelled { key } => Some(*key),
        Order::Credit { .. } | Order::Reverse { .. } | Order::Pause => None,
    }
}
