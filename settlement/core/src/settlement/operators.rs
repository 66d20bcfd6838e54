//! What operators may want.
//!
//! Invariant: a frozen amount is taken back only while no claim, signed or being signed, pays any of it.

use super::Settlement;
use crate::chain::Key;
use crate::event::{Now, Wish};
use crate::rows::{ChannelRow, Ending, KeyState, Order, OrderRow, Table};

impl Settlement {
    pub(super) fn take_wish(&mut self, now: Now, wish: Wish) {
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
            Wish::Resume { account } => self.resume(&account),
        }
    }

    /// Somebody has looked. An account whose store lacks something goes on once its channels are over: what the peer
    /// holds of them only the chain can tell.
    fn resume(&mut self, name: &str) {
        let Some(account) = self.account(name) else { return };
        let row = &mut self.accounts[account].row;
        row.paused = None;
        row.resuming = row.behind;
        if row.resuming {
            self.each_channel(name, |row| {
                row.ending = Some(Ending::Alone);
                true
            });
        }
        self.change_account(account);
        self.touch(account);
        // A pause that the switch has not heard of would undo the operator's limits later.
        let is_pause = |row: &OrderRow| row.account == name && row.order == Order::Pause;
        let pauses = self.orders.iter().filter(|(_, it)| is_pause(&it.row));
        for number in pauses.map(|(number, _)| *number).collect::<Vec<u64>>() {
            self.orders.remove(&number);
            self.change(Table::Orders, number);
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
}
