//! What operators may do to an account's money. Each order leaves a record; who gave it is answered
//! when that is durable.

use m2_core::{AccountId, Key, KeyError, KeyOutcome, Switch};

use super::run::Shard;
use crate::clock;
use crate::control::request::Order;

/// An order that was obeyed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Obeyed {
    /// It is safe once this stream is durable up to `position`.
    pub(crate) stream: usize,
    pub(crate) position: u64,
    /// Its key was known, and it changed nothing.
    pub(crate) known: bool,
    /// What a freeze has set aside, in units of the account; absent if nothing is owed beyond what is
    /// to stay.
    pub(crate) frozen: Option<u128>,
}

impl Shard {
    /// Does what an operator asks for.
    pub(super) fn obey(&mut self, account: AccountId, order: Order) -> Result<Obeyed, KeyError> {
        self.assert_own(account);
        let now = clock::now();
        let switch = &mut self.switch;
        let mut frozen = None;
        let outcome = match order {
            Order::Credit { key, amount } => switch.credit(now, account, key, amount)?,
            Order::Reverse { key, amount } => switch.reverse(now, account, key, amount)?,
            Order::Freeze { key, settle_to } => {
                let before = switch.appended();
                let threshold = settle_to.checked_add(1).expect("Request::parse() refuses more");
                frozen = switch.freeze(now, account, key, threshold, settle_to)?;
                if switch.appended() > before { KeyOutcome::New } else { KeyOutcome::Known }
            }
            Order::Settled { key } => {
                is_of(switch, account, key)?;
                switch.settled(now, key)?
            }
            Order::Cancelled { key } => {
                is_of(switch, account, key)?;
                switch.cancelled(now, key)?
            }
            Order::Limits { balance_max, payable_max } => {
                switch.set_limits(now, account, balance_max, payable_max)?;
                KeyOutcome::New
            }
        };
        Ok(Obeyed {
            stream: usize::from(self.joints.shard.0),
            position: switch.appended(),
            known: outcome == KeyOutcome::Known,
            frozen,
        })
    }
}

/// A key stands for a payment to one account, and an order that names another is a mistake.
fn is_of(switch: &Switch, account: AccountId, key: Key) -> Result<(), KeyError> {
    match switch.key_state(key) {
        Some(known) if known.account != account => Err(KeyError::Differs { known }),
        _ => Ok(()),
    }
}
