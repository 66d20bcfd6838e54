//! Accounts by number and by name, as the newest base that can be read has them.

use m2_core::AccountId;
use m2_journal::image::Account;
use m2_journal::recover::found;

use super::open::Journal;
use crate::output::Failure;

/// Names listed where a user wrote one that is none.
const LISTED_MAX: usize = 10;

/// See the head of the file. A number is never used again, so the newest base has all.
#[derive(Debug)]
pub(crate) struct Directory {
    accounts: Vec<Account>,
}

impl Directory {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// When no base can be read.
    pub(crate) fn read(journal: &Journal) -> Result<Self, Failure> {
        let mut disk = journal.disk();
        for generation in journal.generations.iter().rev() {
            if let Ok((base, _)) = found::read_base(&mut disk, *generation)? {
                return Ok(Self { accounts: base.accounts });
            }
        }
        let root = journal.root().display();
        Err(Failure::Damage(format!(
            "no base.m2s of {root} can be read: restore the newest from a copy"
        )))
    }

    /// All of them, by number.
    pub(crate) fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// What is known of an account.
    pub(crate) fn get(&self, account: AccountId) -> Option<&Account> {
        self.accounts.get(account.0 as usize)
    }

    /// What an account is called; by its number if nothing is known of it.
    pub(crate) fn name(&self, account: AccountId) -> String {
        self.get(account).map_or_else(|| format!("account {}", account.0), |it| it.name.clone())
    }

    /// The account that a user named, or numbered. Of two with one name, the newer.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub(crate) fn find(&self, word: &str) -> Result<AccountId, Failure> {
        let named = self.accounts.iter().rev().find(|account| account.name == word);
        let numbered = || self.accounts.get(word.parse::<usize>().ok()?);
        if let Some(account) = named.or_else(numbered) {
            return Ok(account.image.account);
        }
        let some: Vec<_> =
            self.accounts.iter().take(LISTED_MAX).map(|account| account.name.as_str()).collect();
        let more = self.accounts.len().saturating_sub(LISTED_MAX);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        Err(Failure::Unusable(format!(
            "no account is called {word}; there are {}{more}",
            some.join(", ")
        )))
    }
}
