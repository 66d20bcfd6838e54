//! All accounts of a switch, and which of them have changed since somebody looked.
//!
//! Who takes an account to change it names it as `accounts[index]`, and by that it is noted: no path can
//! change one and forget to say so. An account that was taken and not changed is noted as well, which
//! costs a look at it and nothing else.
//!
//! Invariant: an account whose view differs from what it was at the last look is on the list, once.

use core::ops::{Index, IndexMut};

use crate::account::{Account, AccountView};
use crate::ids::{AccountId, ShardId};
use crate::switch::Switch;

/// See the head of the file.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    list: Vec<Account>,
    /// Those that may have changed, each once: there is room for all of them.
    changed: Vec<AccountId>,
    /// By account: it stands in `changed`.
    is_changed: Vec<bool>,
}

impl Accounts {
    /// Adds an account, whose view is that of an account on which nothing has happened.
    pub(crate) fn push(&mut self, account: Account) {
        self.list.push(account);
        self.is_changed.push(false);
        self.changed.reserve(self.list.len() - self.changed.len());
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn iter(&self) -> core::slice::Iter<'_, Account> {
        self.list.iter()
    }

    /// Nearly always it is noted already: a look, and no write.
    #[inline(always)]
    fn note(&mut self, index: usize) {
        if !self.is_changed[index] {
            self.add(index);
        }
    }

    #[inline(never)]
    fn add(&mut self, index: usize) {
        self.is_changed[index] = true;
        self.changed.push(self.list[index].config.id);
    }

    fn drain_changed(&mut self, shard: ShardId, mut take: impl FnMut(AccountId, AccountView)) {
        for id in self.changed.drain(..) {
            let account = &self.list[id.index()];
            assert!(account.config.shard == shard, "an account changes on its own shard");
            self.is_changed[id.index()] = false;
            take(id, account.view());
        }
    }
}

impl Index<usize> for Accounts {
    type Output = Account;

    #[inline(always)]
    fn index(&self, index: usize) -> &Account {
        &self.list[index]
    }
}

impl IndexMut<usize> for Accounts {
    #[inline(always)]
    fn index_mut(&mut self, index: usize) -> &mut Account {
        self.note(index);
        &mut self.list[index]
    }
}

impl Switch {
    /// Whether [`Self::drain_changed`] would give anything.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        !self.accounts.changed.is_empty()
    }

    /// Gives every account whose view may have changed since the last call, each once, as it is now.
    /// What was not given is as it was; before the first call every account was as one on which
    /// nothing has happened ([`AccountView::default`]).
    pub fn drain_changed(&mut self, take: impl FnMut(AccountId, AccountView)) {
        self.accounts.drain_changed(self.config.shard, take);
    }
}
