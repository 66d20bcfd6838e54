//! Money outside the packet path, of both sides: what one has settled the other has credited.
//!
//! They are matched by key where both use the same, else by amount in the order of time. A frozen amount
//! changes no position until it is settled.

use std::collections::BTreeMap;

use super::packets::Which;
use super::source::{Event, Happened, Money, Place};
use super::why::Why;

/// A payment as one side has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Payment {
    pub(super) key: [u8; 16],
    pub(super) amount: u128,
    pub(super) at_ms: u64,
    pub(super) place: Place,
}

/// A payment that the sides do not agree on.
#[derive(Clone, Debug)]
pub(super) struct Difference {
    /// Whose money it was.
    pub(super) paid_by: Which,
    /// As the payer has it.
    pub(super) settled: Option<Payment>,
    /// As the other side has it; of a reversal, this is the reversal.
    pub(super) credited: Option<Payment>,
    pub(super) why: Why,
}

impl Difference {
    /// By how much it moves the sum of both positions away from 0.
    pub(super) fn change(&self) -> i128 {
        let amount = |payment: Option<Payment>| {
            payment.map_or(0, |payment| i128::try_from(payment.amount).unwrap_or(0))
        };
        match self.why {
            Why::Reversed { .. } => amount(self.credited),
            _ => amount(self.settled) - amount(self.credited),
        }
    }

    /// When, on either side.
    pub(super) fn at_ms(&self) -> u64 {
        self.settled.or(self.credited).map_or(0, |payment| payment.at_ms)
    }
}

/// What was matched.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Matched {
    pub(super) by_key: u64,
    pub(super) by_amount: u64,
}

/// All payments of both sides. They are as few as the keys that a switch keeps.
#[derive(Debug, Default)]
pub(super) struct Payments {
    /// By payer.
    settled: [Vec<Payment>; 2],
    credited: [Vec<Payment>; 2],
    reversed: [Vec<Payment>; 2],
    /// By side: what is frozen under a key and neither settled nor cancelled.
    frozen: [BTreeMap<[u8; 16], u128>; 2],
}

impl Payments {
    /// Takes an event, if it is one of money.
    pub(super) fn take(&mut self, which: Which, event: &Event) {
        let Happened::Money { kind, key, amount } = event.what else { return };
        let Event { place, at_ms, .. } = *event;
        let payment = Payment { key, amount, at_ms, place };
        let (own, other) = (which as usize, which.other() as usize);
        match kind {
            Money::Settled => self.settled[own].push(payment),
            Money::Credited => self.credited[other].push(payment),
            Money::Reversed => self.reversed[other].push(payment),
            Money::Frozen | Money::Cancelled => {}
        }
        match kind {
            Money::Frozen => {
                self.frozen[own].insert(key, amount);
            }
            Money::Settled | Money::Cancelled => {
                self.frozen[own].remove(&key);
            }
            Money::Credited | Money::Reversed => {}
        }
    }

    /// How many amounts a side has frozen, and their sum.
    pub(super) fn frozen(&self, which: Which) -> (usize, u128) {
        let frozen = &self.frozen[which as usize];
        (frozen.len(), frozen.values().fold(0, |sum, amount| sum.saturating_add(*amount)))
    }

    /// Every payment that the sides do not agree on, by time.
    pub(super) fn differences(self) -> (Vec<Difference>, Matched) {
        let (mut differences, mut matched) = (Vec::new(), Matched::default());
        let Self { settled, credited, reversed, .. } = self;
        let payers = [Which::Here, Which::There];
        let all = payers.into_iter().zip(settled).zip(credited).zip(reversed);
        for (((paid_by, settled), credited), reversed) in all {
            let difference =
                |settled, credited, why| Difference { paid_by, settled, credited, why };
            let (settled, credited) = match_by(
                settled,
                credited,
                |it| it.key,
                |a, b| match a.amount == b.amount {
                    true => matched.by_key += 1,
                    false => differences.push(difference(Some(a), Some(b), Why::Amounts)),
                },
            );
            let (settled, credited) =
                match_by(settled, credited, |it| it.amount, |_, _| matched.by_amount += 1);
            let why = || Why::UnderWay { paid_by };
            differences.extend(settled.into_iter().map(|it| difference(Some(it), None, why())));
            differences.extend(credited.into_iter().map(|it| difference(None, Some(it), why())));
            let why = || Why::Reversed { at: paid_by.other() };
            differences.extend(reversed.into_iter().map(|it| difference(None, Some(it), why())));
        }
        differences.sort_by_key(Difference::at_ms);
        (differences, matched)
    }
}

/// Pairs those with the same key, each in the order of time; gives back those without a partner.
fn match_by<K: Ord>(
    mut one: Vec<Payment>,
    mut other: Vec<Payment>,
    key: impl Fn(&Payment) -> K,
    mut pair: impl FnMut(Payment, Payment),
) -> (Vec<Payment>, Vec<Payment>) {
    one.sort_by_key(|it| (key(it), it.at_ms));
    other.sort_by_key(|it| (key(it), it.at_ms));
    let (mut left, mut right) = (Vec::new(), Vec::new());
    let (mut one, mut other) = (one.into_iter().peekable(), other.into_iter().peekable());
    while let (Some(a), Some(b)) = (one.peek(), other.peek()) {
        match key(a).cmp(&key(b)) {
            core::cmp::Ordering::Less => left.extend(one.next()),
            core::cmp::Ordering::Greater => right.extend(other.next()),
            core::cmp::Ordering::Equal => {
                one.next().into_iter().zip(other.next()).for_each(|both| {
                    pair(both.0, both.1);
                })
            }
        }
    }
    left.extend(one);
    right.extend(other);
    (left, right)
}
