//! Accounts whose credit is used up: whoever settles hears of it each second, the log each minute.
//!
//! Invariant: the first refusal for want of credit in a minute is one line of the log, and no other is.

use std::collections::HashMap;
use std::time::Instant;

use m2_core::{AccountId, Notice};
use serde_json::json;

use super::Shared;
use crate::limits::EXHAUSTION_LOGGED_EVERY;

/// See the head of the file.
#[derive(Debug, Default)]
pub(super) struct Exhausted {
    /// When the log had an account's line last.
    logged: HashMap<AccountId, Instant>,
}

impl Exhausted {
    /// Whether the log is to have a line about the account now.
    fn is_to_be_logged(&mut self, account: AccountId, now: Instant) -> bool {
        let logged = self.logged.get(&account);
        let is_due = logged.is_none_or(|at| now.duration_since(*at) >= EXHAUSTION_LOGGED_EVERY);
        if is_due {
            self.logged.insert(account, now);
        }
        is_due
    }
}

impl Shared {
    /// Takes what a shard tells of an account that is refused for want of credit. `false` if it is something
    /// else.
    pub(super) fn take_exhaustion(&self, notice: &Notice) -> bool {
        let &Notice::CreditExhausted { account, amount, owed, held_in, balance_max } = notice
        else {
            return false;
        };
        let name = self.name(account);
        self.settlement.tell_exhausted(&json!({
            "event": "exhausted",
            "account": name,
            "balance": owed.to_string(),
            "held_in": held_in.to_string(),
            "balance_max": balance_max.to_string(),
        }));
        if self.exhausted.borrow_mut().is_to_be_logged(account, Instant::now()) {
            self.evidence.borrow_mut().tell(|| {
                tracing::error!(
                    account = name,
                    owed,
                    held_in,
                    amount,
                    balance_max,
                    "credit is used up: packets of the account are refused (T04) until it pays, or balance_max is \
                     raised"
                );
            });
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_account_has_one_line_a_minute() {
        let mut exhausted = Exhausted::default();
        let start = Instant::now();
        let mut logged = |account, after_s| {
            exhausted.is_to_be_logged(AccountId(account), start + Duration::from_secs(after_s))
        };
        assert!(logged(1, 0));
        assert!((0..60).all(|after_s| !logged(1, after_s)));
        assert!(logged(2, 59));
        assert!(logged(1, 60));
        assert!(!logged(1, 119));
        assert!(logged(1, 120));
    }
}
