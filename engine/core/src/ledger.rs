//! What a peer owes us, what we owe it, and what either may yet come to owe.
//!
//! ```text
//!              PREPARE from it              FULFILL
//!   (credit) ------------------> held_in -----------> prepaid first, the rest raises balance
//!                  hold_in          |     commit_in
//!                                   | REJECT, expiry
//!                                   v
//!                                (credit)  release_in
//!
//!              PREPARE to it                FULFILL                  settlement
//!  (payable) ------------------> held_out ----------> balance falls ------------> frozen --> (paid)
//!                  hold_out         |     commit_out               freeze   |      settled
//!                                   | REJECT, expiry                        | cancelled
//!                                   v                                       v
//!                               (payable) release_out                 balance falls again
//! ```
//!
//! One asset at one scale, one writer. Limits bind at holds and nowhere else: a commit, a release,
//! a credit, a reversal and a changed limit always apply, and may leave the account past a limit,
//! where it gets no new holds.
//!
//! Invariants (asserted after every write): `held_in`, `held_out`, `frozen` and `prepaid` are never
//! negative, and who has paid ahead owes nothing (`prepaid > 0` implies `balance <= 0`).

use crate::ids::AccountId;

/// The five words of one account and its two limits, in units of the account's asset scale.
#[derive(Debug)]
pub struct Ledger {
    account: AccountId,
    words: Words,
    /// The most that the peer may come to owe us.
    balance_max: i128,
    /// The most that we may come to owe the peer.
    payable_max: i128,
    /// A balance at which the peer is to be paid, or below; lower than any if it is not by itself.
    due_at: i128,
}

/// The words of a ledger at one moment.
///
/// What an event does to them is written here once: [`Ledger`] spends a hold and asserts the
/// identities around it, a replay of records has neither.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Words {
    /// Cleared and unsettled. Positive: the peer owes us (RFC 32's sign).
    pub balance: i128,
    /// Held for PREPAREs from the peer that have no answer yet.
    pub held_in: i128,
    /// Held for PREPAREs to the peer that have no answer yet.
    pub held_out: i128,
    /// Being paid to the peer: no longer in `balance`, not yet settled.
    pub frozen: i128,
    /// Paid ahead by the peer: spent before `balance` rises.
    pub prepaid: i128,
}

impl Words {
    /// A PREPARE of the peer was fulfilled: it spends what it paid ahead, and owes the rest.
    pub fn commit_in(&mut self, amount: u64) {
        let amount = i128::from(amount);
        let from_prepaid = amount.min(self.prepaid);
        self.prepaid -= from_prepaid;
        self.balance += amount - from_prepaid;
    }

    /// The peer fulfilled a PREPARE in time: we owe it the amount.
    pub fn commit_out(&mut self, amount: u64) {
        self.balance -= i128::from(amount);
    }

    /// The peer paid `amount`: a positive balance falls to 0 first, the rest is paid ahead.
    pub fn credit(&mut self, amount: u64) {
        let amount = i128::from(amount);
        let to_balance = amount.min(self.balance.max(0));
        self.balance -= to_balance;
        self.prepaid += amount - to_balance;
    }

    /// A payment of the peer proved void: what it paid ahead goes first, the rest raises `balance`,
    /// whatever the limit.
    pub fn reverse(&mut self, amount: u64) {
        let void = i128::from(amount);
        let from_prepaid = void.min(self.prepaid);
        self.prepaid -= from_prepaid;
        self.balance += void - from_prepaid;
    }

    /// `amount` of what we owe is on its way to the peer.
    ///
    /// # Panics
    ///
    /// Here and in the next two, if the amount is 2^127 or more: no ledger comes to such a sum.
    pub fn freeze(&mut self, amount: u128) {
        let amount = signed(amount);
        self.balance += amount;
        self.frozen += amount;
    }

    /// A frozen amount has reached the peer.
    ///
    /// # Panics
    ///
    /// See [`Self::freeze`].
    pub fn settle(&mut self, amount: u128) {
        self.frozen -= signed(amount);
    }

    /// A frozen amount can provably not reach the peer: we owe it again.
    ///
    /// # Panics
    ///
    /// See [`Self::freeze`].
    pub fn cancel(&mut self, amount: u128) {
        let amount = signed(amount);
        self.frozen -= amount;
        self.balance -= amount;
    }

    /// Where the peer stands when everything under way is left out: what a pair, a credit or a
    /// settled payment changes, and a freeze does not.
    #[must_use]
    pub fn position(&self) -> i128 {
        self.balance - self.prepaid - self.frozen
    }
}

fn signed(amount: u128) -> i128 {
    i128::try_from(amount).expect("a frozen amount is a sum of u64s")
}

/// An amount held on the ledger of the peer who sent a PREPARE. Spent exactly once.
#[derive(Debug, Eq, PartialEq)]
#[must_use = "an unspent hold blocks the peer's credit for good"]
pub struct HoldIn {
    account: AccountId,
    amount: u64,
}

/// An amount held on the ledger of the next hop. Spent exactly once.
#[derive(Debug, Eq, PartialEq)]
#[must_use = "an unspent hold blocks what we may owe for good"]
pub struct HoldOut {
    account: AccountId,
    amount: u64,
}

/// An amount on its way to the peer outside the packet path. Spent exactly once.
#[derive(Debug, Eq, PartialEq)]
#[must_use = "a frozen amount is settled or cancelled, never dropped"]
pub struct Frozen {
    account: AccountId,
    amount: u128,
}

impl HoldIn {
    /// Whose credit is held.
    #[must_use]
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// How much, in units of that account.
    #[must_use]
    pub fn amount(&self) -> u64 {
        self.amount
    }
}

impl HoldOut {
    /// Whom we may come to owe.
    #[must_use]
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// How much, in units of that account.
    #[must_use]
    pub fn amount(&self) -> u64 {
        self.amount
    }
}

impl Frozen {
    /// One that was frozen before a restart.
    pub(crate) fn restored(account: AccountId, amount: u128) -> Self {
        Self { account, amount }
    }

    /// Whom it is paid to.
    #[must_use]
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// How much is being paid, in units of the account.
    #[must_use]
    pub fn amount(&self) -> u128 {
        self.amount
    }
}

/// The hold would take the account past a limit. Nothing changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PastLimit;

impl Ledger {
    /// An account with nothing owed either way.
    #[must_use]
    pub fn new(account: AccountId, balance_max: u64, payable_max: u64) -> Self {
        Self {
            account,
            words: Words::default(),
            balance_max: i128::from(balance_max),
            payable_max: i128::from(payable_max),
            due_at: i128::MIN,
        }
    }

    /// From now on the peer is to be paid once we owe it so much.
    pub(crate) fn set_threshold(&mut self, settle_threshold: u64) {
        self.due_at = -i128::from(settle_threshold);
    }

    /// Whether we have come to owe the peer as much as is to be paid, and nothing is being paid.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        self.words.balance <= self.due_at && self.words.frozen == 0
    }

    /// Sets both limits. They bind from the next hold on; what is held stays held.
    pub fn set_limits(&mut self, balance_max: u64, payable_max: u64) {
        self.balance_max = i128::from(balance_max);
        self.payable_max = i128::from(payable_max);
    }

    /// Both limits: `balance_max`, `payable_max`.
    #[must_use]
    pub fn limits(&self) -> (u64, u64) {
        let limit = |limit| u64::try_from(limit).expect("limits are given as u64");
        (limit(self.balance_max), limit(self.payable_max))
    }

    /// The words as they were before a restart.
    ///
    /// # Panics
    ///
    /// If they hold anything, or anything has happened on this ledger.
    pub(crate) fn restore(&mut self, words: Words) {
        assert!(words.held_in == 0 && words.held_out == 0, "no hold survives a restart");
        assert!(self.words == Words::default(), "a ledger is restored before anything happens");
        self.words = words;
        self.assert_identities();
    }

    /// Whether the peer has credit for one more PREPARE of `amount`. Zero touches no ledger.
    ///
    /// # Errors
    ///
    /// When the peer could come to owe more than `balance_max`.
    pub fn check_hold_in(&self, amount: u64) -> Result<(), PastLimit> {
        let Words { balance, prepaid, held_in, .. } = self.words;
        let owed = balance - prepaid + held_in + i128::from(amount);
        if amount != 0 && owed > self.balance_max { Err(PastLimit) } else { Ok(()) }
    }

    /// Holds `amount` for a PREPARE from the peer. [`Self::check_hold_in`] comes before, with
    /// nothing in between that changes this ledger.
    pub fn hold_in(&mut self, amount: u64) -> HoldIn {
        self.words.held_in += i128::from(amount);
        self.assert_identities();
        HoldIn { account: self.account, amount }
    }

    /// The packet was fulfilled: the peer spends what it paid ahead, and owes the rest.
    pub fn commit_in(&mut self, hold: HoldIn) {
        let amount = self.take_in(hold);
        self.words.commit_in(amount);
        self.assert_identities();
    }

    /// The packet was not fulfilled: the peer owes nothing for it.
    pub fn release_in(&mut self, hold: HoldIn) {
        let _ = self.take_in(hold);
        self.assert_identities();
    }

    /// Whether we may come to owe the peer `amount` more. Zero touches no ledger.
    ///
    /// # Errors
    ///
    /// When we could come to owe more than `payable_max`.
    pub fn check_hold_out(&self, amount: u64) -> Result<(), PastLimit> {
        let Words { balance, held_out, frozen, .. } = self.words;
        let payable = held_out - balance + frozen + i128::from(amount);
        if amount != 0 && payable > self.payable_max { Err(PastLimit) } else { Ok(()) }
    }

    /// Holds `amount` for a PREPARE to the peer. [`Self::check_hold_out`] comes before, with
    /// nothing in between that changes this ledger.
    pub fn hold_out(&mut self, amount: u64) -> HoldOut {
        self.words.held_out += i128::from(amount);
        self.assert_identities();
        HoldOut { account: self.account, amount }
    }

    /// The peer fulfilled in time: we owe it the amount.
    pub fn commit_out(&mut self, hold: HoldOut) {
        let amount = self.take_out(hold);
        self.words.commit_out(amount);
        self.assert_identities();
    }

    /// The peer did not fulfill: we owe it nothing for this packet.
    pub fn release_out(&mut self, hold: HoldOut) {
        let _ = self.take_out(hold);
        self.assert_identities();
    }

    /// The peer paid `amount`: a positive balance falls to 0 first, the rest is paid ahead.
    pub fn credit(&mut self, amount: u64) {
        self.words.credit(amount);
        self.assert_identities();
    }

    /// A payment of the peer proved void: what it paid ahead goes first, the rest raises `balance`,
    /// whatever the limit.
    pub fn reverse(&mut self, amount: u64) {
        self.words.reverse(amount);
        self.assert_identities();
    }

    /// Takes what we owe beyond `settle_to` out of `balance` to be paid, once we owe
    /// `settle_threshold` or more. `None` while we owe less.
    ///
    /// # Panics
    ///
    /// If `settle_threshold <= settle_to`: the configuration is checked before it gets here.
    pub fn freeze(&mut self, settle_threshold: u64, settle_to: u64) -> Option<Frozen> {
        let amount = self.to_freeze(settle_threshold, settle_to)?;
        self.words.freeze(amount);
        self.assert_identities();
        Some(Frozen { account: self.account, amount })
    }

    /// How much [`Self::freeze`] would take out of `balance` now.
    pub(crate) fn to_freeze(&self, settle_threshold: u64, settle_to: u64) -> Option<u128> {
        assert!(settle_threshold > settle_to, "a threshold at or below its goal pays for ever");
        let payable = -self.words.balance;
        let is_reached = payable >= i128::from(settle_threshold);
        is_reached.then(|| (payable - i128::from(settle_to)).unsigned_abs())
    }

    /// The frozen amount has reached the peer.
    pub fn settled(&mut self, frozen: Frozen) {
        let amount = self.take_frozen(frozen);
        self.words.settle(amount);
        self.assert_identities();
    }

    /// The frozen amount can provably not reach the peer: we owe it again.
    pub fn cancelled(&mut self, frozen: Frozen) {
        let amount = self.take_frozen(frozen);
        self.words.cancel(amount);
        self.assert_identities();
    }

    /// All words at this moment.
    #[must_use]
    pub fn words(&self) -> Words {
        self.words
    }

    pub(crate) fn held_in(&self) -> i128 {
        self.words.held_in
    }

    pub(crate) fn held_out(&self) -> i128 {
        self.words.held_out
    }

    fn take_in(&mut self, hold: HoldIn) -> u64 {
        let HoldIn { account, amount } = hold;
        assert!(account == self.account, "a hold is spent on the account it was made on");
        self.words.held_in -= i128::from(amount);
        amount
    }

    fn take_out(&mut self, hold: HoldOut) -> u64 {
        let HoldOut { account, amount } = hold;
        assert!(account == self.account, "a hold is spent on the account it was made on");
        self.words.held_out -= i128::from(amount);
        amount
    }

    fn take_frozen(&self, frozen: Frozen) -> u128 {
        let Frozen { account, amount } = frozen;
        assert!(account == self.account, "an amount is frozen for one account");
        amount
    }

    fn assert_identities(&self) {
        // One sign for all four: negative as soon as one of them is.
        let Words { balance, held_in, held_out, frozen, prepaid } = self.words;
        assert!(
            held_in | held_out | frozen | prepaid >= 0,
            "held, frozen and prepaid are sums: {self:?}"
        );
        assert!(prepaid == 0 || balance <= 0, "who has paid ahead owes nothing");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(balance_max: u64, payable_max: u64) -> Ledger {
        Ledger::new(AccountId(7), balance_max, payable_max)
    }

    #[test]
    #[should_panic = "a hold is spent on the account it was made on"]
    fn a_hold_cannot_be_spent_on_another_account() {
        let mut alice = Ledger::new(AccountId(1), 10, 10);
        let mut bob = Ledger::new(AccountId(2), 10, 10);
        let hold = alice.hold_in(4);
        bob.commit_in(hold);
    }

    #[test]
    fn limits_of_zero_refuse_every_unit_and_let_zero_through() {
        let ledger = ledger(0, 0);
        assert_eq!(ledger.check_hold_in(1), Err(PastLimit));
        assert_eq!(ledger.check_hold_out(1), Err(PastLimit));
        assert_eq!(ledger.check_hold_in(0), Ok(()));
        assert_eq!(ledger.check_hold_out(0), Ok(()));
    }

    #[test]
    fn the_last_unit_of_either_limit_can_be_held() {
        let mut ledger = ledger(10, 20);
        let hold_in = ledger.hold_in(4);
        assert_eq!(ledger.check_hold_in(6), Ok(()));
        assert_eq!(ledger.check_hold_in(7), Err(PastLimit));
        let hold_out = ledger.hold_out(15);
        assert_eq!(ledger.check_hold_out(5), Ok(()));
        assert_eq!(ledger.check_hold_out(6), Err(PastLimit));
        ledger.release_in(hold_in);
        ledger.release_out(hold_out);
        assert_eq!(ledger.words(), Words::default());
    }

    #[test]
    fn what_is_frozen_counts_against_what_we_may_owe() {
        let mut ledger = ledger(0, 100);
        let hold = ledger.hold_out(80);
        ledger.commit_out(hold);
        let frozen = ledger.freeze(50, 10).unwrap();
        assert_eq!(frozen.amount(), 70);
        assert_eq!(ledger.words().balance, -10);
        assert_eq!(ledger.check_hold_out(20), Ok(()));
        assert_eq!(ledger.check_hold_out(21), Err(PastLimit));
        ledger.settled(frozen);
        assert_eq!(ledger.check_hold_out(90), Ok(()));
        assert_eq!(ledger.words(), Words { balance: -10, ..Words::default() });
    }

    #[test]
    fn a_cancelled_payment_is_owed_again_even_past_the_limit() {
        let mut ledger = ledger(0, 100);
        let hold = ledger.hold_out(100);
        ledger.commit_out(hold);
        let frozen = ledger.freeze(100, 0).unwrap();
        ledger.set_limits(0, 5);
        ledger.cancelled(frozen);
        assert_eq!(ledger.words(), Words { balance: -100, ..Words::default() });
        assert_eq!(ledger.check_hold_out(1), Err(PastLimit));
    }

    #[test]
    fn below_the_threshold_nothing_is_frozen() {
        let mut ledger = ledger(0, 100);
        let hold = ledger.hold_out(49);
        ledger.commit_out(hold);
        assert_eq!(ledger.freeze(50, 10), None);
        assert_eq!(ledger.words(), Words { balance: -49, ..Words::default() });
    }

    #[test]
    fn prepaid_is_spent_first_and_a_credit_pays_the_debt_first() {
        let mut ledger = ledger(100, 0);
        let hold = ledger.hold_in(30);
        ledger.commit_in(hold);
        ledger.credit(50);
        assert_eq!(ledger.words(), Words { prepaid: 20, ..Words::default() });
        let hold = ledger.hold_in(25);
        ledger.commit_in(hold);
        assert_eq!(ledger.words(), Words { balance: 5, ..Words::default() });
    }

    #[test]
    fn what_is_prepaid_widens_credit_by_as_much() {
        let mut ledger = ledger(10, 0);
        ledger.credit(5);
        assert_eq!(ledger.check_hold_in(15), Ok(()));
        assert_eq!(ledger.check_hold_in(16), Err(PastLimit));
    }

    #[test]
    fn a_reversal_applies_past_the_limit() {
        let mut ledger = ledger(10, 0);
        ledger.credit(5);
        ledger.reverse(50);
        assert_eq!(ledger.words(), Words { balance: 45, ..Words::default() });
        assert_eq!(ledger.check_hold_in(1), Err(PastLimit));
    }

    /// Goal: no order of events passes a limit at a hold or loses a unit. Method: all 10^6 sequences
    /// of six steps out of ten, against a model that is lists of amounts and one position.
    #[test]
    fn every_short_history_keeps_the_position() {
        const STEPS: u32 = 6;
        for history in 0..10_u32.pow(STEPS) {
            let mut ledger = ledger(10, 12);
            let (mut holds_in, mut holds_out, mut frozen) = (Vec::new(), Vec::new(), Vec::new());
            let mut position = 0_i128;
            for step in 0..STEPS {
                match history / 10_u32.pow(step) % 10 {
                    0 if ledger.check_hold_in(4).is_ok() => holds_in.push(ledger.hold_in(4)),
                    1 => holds_in.pop().into_iter().for_each(|hold| {
                        position += 4;
                        ledger.commit_in(hold);
                    }),
                    2 => holds_in.pop().into_iter().for_each(|hold| ledger.release_in(hold)),
                    3 if ledger.check_hold_out(5).is_ok() => holds_out.push(ledger.hold_out(5)),
                    4 => holds_out.pop().into_iter().for_each(|hold| {
                        position -= 5;
                        ledger.commit_out(hold);
                    }),
                    5 => holds_out.pop().into_iter().for_each(|hold| ledger.release_out(hold)),
                    6 => {
                        position -= 3;
                        ledger.credit(3);
                    }
                    7 => {
                        position += 3;
                        ledger.reverse(3);
                    }
                    8 => frozen.extend(ledger.freeze(4, 1)),
                    9 => frozen.pop().into_iter().for_each(|amount: Frozen| {
                        if step % 2 == 0 {
                            position += i128::try_from(amount.amount()).unwrap();
                            ledger.settled(amount);
                        } else {
                            ledger.cancelled(amount);
                        }
                    }),
                    _ => {}
                }
                let words = ledger.words();
                assert_eq!(words.held_in, 4 * holds_in.len() as i128);
                assert_eq!(words.held_out, 5 * holds_out.len() as i128);
                assert_eq!(words.position(), position);
            }
        }
    }
}
