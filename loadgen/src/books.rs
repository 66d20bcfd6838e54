//! The generator's own books, and their comparison with the switch's.
//!
//! Two parties count the same money without asking each other: the generator from what it sent
//! and the preimages that it checked, the switch from its ledgers. At rest, when nothing is in
//! flight, they must agree to the unit, in every word of every account:
//!
//! ```text
//! balance   before + fulfilled for us - fulfilled by us   (positive: we owe the switch)
//! held_in   0       held_out  0
//! frozen    as before
//! prepaid   as before, less what it paid of our packets (it is spent first)
//! ```
//!
//! Beside that the two ends are compared with each other, flow by flow: what the receiver was
//! given must be what the sender's checked preimages paid for, at the flow's rate.
//!
//! Everything here is pure: no I/O, no clock.

use std::fmt;

/// The words of one account's ledger, in units of its asset.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Words {
    /// Cleared and unsettled. Positive: we owe the switch.
    pub balance: i128,
    /// Held for PREPAREs from us.
    pub held_in: i128,
    /// Held for PREPAREs to us.
    pub held_out: i128,
    /// Being paid to us.
    pub frozen: i128,
    /// Paid ahead by us.
    pub prepaid: i128,
}

/// Name of one of the [`Words`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Word {
    /// [`Words::balance`]
    Balance,
    /// [`Words::held_in`]
    HeldIn,
    /// [`Words::held_out`]
    HeldOut,
    /// [`Words::frozen`]
    Frozen,
    /// [`Words::prepaid`]
    Prepaid,
}

impl Word {
    /// Every word.
    pub const ALL: [Self; 5] =
        [Self::Balance, Self::HeldIn, Self::HeldOut, Self::Frozen, Self::Prepaid];

    /// The name that the control socket uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Balance => "balance",
            Self::HeldIn => "held_in",
            Self::HeldOut => "held_out",
            Self::Frozen => "frozen",
            Self::Prepaid => "prepaid",
        }
    }

    /// Its value among the words of an account.
    #[must_use]
    pub const fn of(self, words: &Words) -> i128 {
        match self {
            Self::Balance => words.balance,
            Self::HeldIn => words.held_in,
            Self::HeldOut => words.held_out,
            Self::Frozen => words.frozen,
            Self::Prepaid => words.prepaid,
        }
    }
}

/// One account as the switch shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    /// Its name, which is also the end's.
    pub name: String,
    /// Whether it has a link.
    pub connected: bool,
    /// Its ledger.
    pub words: Words,
}

/// What one end counted itself.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EndBook {
    /// The end's name, which is also the account's.
    pub name: String,
    /// Sum of our PREPAREs that came back with a preimage that we checked.
    pub fulfilled_for_us: u128,
    /// Sum of the PREPAREs that we fulfilled.
    pub fulfilled_by_us: u128,
}

/// What both ends of one flow counted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FlowBook {
    /// Name of the sending end.
    pub from: String,
    /// Name of the receiving end.
    pub to: String,
    /// What the sender's checked preimages paid, in its units.
    pub paid: u128,
    /// What the receiver must have been given for that, in its units: the sum over packets of
    /// `floor(amount x num / den)`.
    pub owed: u128,
    /// What the receiver fulfilled, in its units.
    pub received: u128,
}

/// A word, or a flow's sum, that is not what our books say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Finding {
    /// The switch's ledger has another value.
    Word {
        /// The account.
        account: String,
        /// The word of its ledger.
        word: Word,
        /// By our books.
        expected: i128,
        /// By the switch's.
        actual: i128,
    },
    /// The switch does not show this account.
    Missing {
        /// The account.
        account: String,
    },
    /// The receiver was given another sum than the sender paid for.
    Flow {
        /// The sending end.
        from: String,
        /// The receiving end.
        to: String,
        /// By the sender's checked preimages.
        owed: u128,
        /// By what the receiver fulfilled.
        received: u128,
    },
    /// What a receiver told of its book did not arrive as it was written.
    Unreadable {
        /// Who asked whom, and what came.
        why: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word { account, word, expected, actual } => write!(
                f,
                "account {account}: {} is {actual} by the switch's books and {expected} by ours, \
                 a difference of {:+}",
                word.name(),
                actual - expected
            ),
            Self::Missing { account } => write!(
                f,
                "account {account} is not among the switch's accounts; give the end the name \
                 that the account has there"
            ),
            Self::Flow { from, to, owed, received } => write!(
                f,
                "flow {from} to {to}: the receiver was given {received}, and {from}'s preimages \
                 paid for {owed}, a difference of {}{}",
                if received < owed { '-' } else { '+' },
                received.abs_diff(*owed)
            ),
            Self::Unreadable { why } => f.write_str(why),
        }
    }
}

/// What the switch's ledger of an end must show at rest.
///
/// # Panics
///
/// If a sum passes 2^127, which takes more packets than 2^63, or `before` holds an amount near it,
/// which [`limits::UNITS_MAX`](crate::limits::UNITS_MAX) excludes where it is read.
#[must_use]
pub fn expected(before: &Words, book: &EndBook) -> Words {
    let signed = |sum: u128| i128::try_from(sum).expect("2^63 packets of 2^64 - 1 at least");
    let fulfilled_for_us = signed(book.fulfilled_for_us);
    let from_prepaid = fulfilled_for_us.min(before.prepaid);
    Words {
        balance: before.balance + (fulfilled_for_us - from_prepaid) - signed(book.fulfilled_by_us),
        held_in: 0,
        held_out: 0,
        frozen: before.frozen,
        prepaid: before.prepaid - from_prepaid,
    }
}

/// Compares every word of every end's account with what it must be. Empty: the books agree.
#[must_use]
pub fn compare(ends: &[EndBook], before: &[Account], after: &[Account]) -> Vec<Finding> {
    let words_of = |accounts: &[Account], name: &str| {
        accounts.iter().find(|account| account.name == name).map(|account| account.words)
    };
    let mut findings = Vec::new();
    for book in ends {
        let (before, after) = (words_of(before, &book.name), words_of(after, &book.name));
        let (Some(before), Some(after)) = (before, after) else {
            findings.push(Finding::Missing { account: book.name.clone() });
            continue;
        };
        let expected = expected(&before, book);
        for word in Word::ALL {
            let (expected, actual) = (word.of(&expected), word.of(&after));
            if expected != actual {
                let account = book.name.clone();
                findings.push(Finding::Word { account, word, expected, actual });
            }
        }
    }
    findings
}

/// Compares the two ends of every flow with each other. Empty: they agree.
#[must_use]
pub fn compare_flows(flows: &[FlowBook]) -> Vec<Finding> {
    flows
        .iter()
        .filter(|flow| flow.owed != flow.received)
        .map(|flow| Finding::Flow {
            from: flow.from.clone(),
            to: flow.to.clone(),
            owed: flow.owed,
            received: flow.received,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str, words: Words) -> Account {
        Account { name: name.to_owned(), connected: true, words }
    }

    fn book(name: &str, fulfilled_for_us: u128, fulfilled_by_us: u128) -> EndBook {
        EndBook { name: name.to_owned(), fulfilled_for_us, fulfilled_by_us }
    }

    fn word_mut(words: &mut Words, word: Word) -> &mut i128 {
        match word {
            Word::Balance => &mut words.balance,
            Word::HeldIn => &mut words.held_in,
            Word::HeldOut => &mut words.held_out,
            Word::Frozen => &mut words.frozen,
            Word::Prepaid => &mut words.prepaid,
        }
    }

    fn balanced() -> (Vec<EndBook>, Vec<Account>, Vec<Account>) {
        let at = |balance| Words { balance, ..Words::default() };
        (
            vec![book("alice", 1_000, 0), book("bob", 0, 2_500), book("carol", 10, 30)],
            vec![account("bob", at(-7)), account("alice", at(5)), account("carol", at(0))],
            vec![
                account("alice", at(1_005)),
                account("stranger", at(99)),
                account("bob", at(-2_507)),
                account("carol", at(-20)),
            ],
        )
    }

    #[test]
    fn books_that_agree_give_no_findings() {
        let (ends, before, after) = balanced();
        assert_eq!(compare(&ends, &before, &after), []);
    }

    #[test]
    fn one_unit_in_any_word_of_any_account_is_found_and_named() {
        let (ends, before, after) = balanced();
        for index in (0..after.len()).filter(|&index| after[index].name != "stranger") {
            for word in Word::ALL {
                for off_by in [-1, 1] {
                    let mut after = after.clone();
                    let value = word_mut(&mut after[index].words, word);
                    let expected = *value;
                    *value += off_by;
                    let (account, actual) = (after[index].name.clone(), expected + off_by);
                    let finding = Finding::Word { account, word, expected, actual };
                    let text = finding.to_string();
                    assert!(text.contains(&after[index].name), "{text}");
                    assert!(text.contains(word.name()), "{text}");
                    assert!(text.ends_with(&format!("{off_by:+}")), "{text}");
                    assert_eq!(compare(&ends, &before, &after), [finding]);
                }
            }
        }
    }

    #[test]
    fn one_unit_in_our_own_books_is_found() {
        let (ends, before, after) = balanced();
        for index in 0..ends.len() {
            let mut more_sent = ends.clone();
            more_sent[index].fulfilled_for_us += 1;
            assert_eq!(compare(&more_sent, &before, &after).len(), 1);
            let mut more_received = ends.clone();
            more_received[index].fulfilled_by_us += 1;
            assert_eq!(compare(&more_received, &before, &after).len(), 1);
        }
    }

    #[test]
    fn money_held_before_the_run_must_be_free_after_it() {
        let (ends, mut before, after) = balanced();
        before[0].words.held_in = 44;
        assert_eq!(compare(&ends, &before, &after), []);
    }

    #[test]
    fn prepaid_is_spent_before_the_balance_rises() {
        let before = Words { balance: 3, prepaid: 100, frozen: 9, ..Words::default() };
        let after = |balance, prepaid| Words { balance, prepaid, frozen: 9, ..Words::default() };
        assert_eq!(expected(&before, &book("alice", 60, 0)), after(3, 40));
        assert_eq!(expected(&before, &book("alice", 160, 1)), after(62, 0));
    }

    #[test]
    fn an_account_that_the_switch_does_not_show_is_named() {
        let (ends, before, mut after) = balanced();
        after.retain(|account| account.name != "bob");
        let missing = Finding::Missing { account: "bob".to_owned() };
        assert!(missing.to_string().contains("bob"));
        assert_eq!(compare(&ends, &before, &after), [missing]);
        assert_eq!(compare(&ends, &[], &after).len(), 3);
    }

    #[test]
    fn one_unit_between_the_ends_of_a_flow_is_found() {
        let flow = |received| FlowBook {
            from: "alice".to_owned(),
            to: "bob".to_owned(),
            paid: 10,
            owed: 25,
            received,
        };
        assert_eq!(compare_flows(&[flow(25)]), []);
        for (received, difference) in [(24, "-1"), (26, "+1")] {
            let findings = compare_flows(&[flow(25), flow(received)]);
            assert_eq!(findings.len(), 1);
            let text = findings[0].to_string();
            assert!(text.ends_with(difference), "{text}");
        }
    }
}
