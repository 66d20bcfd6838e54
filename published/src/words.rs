//! An [`AccountView`] as atomic words: what a reader and a writer may touch at once.
//!
//! Invariant: what is written to all words and read from all of them is the same view. Both name every
//! field, so that one more is missing in neither.

use std::sync::atomic::{AtomicU64, Ordering};

use m2_core::{AccountCounters, AccountView, Legs, ledger};

/// Five words of the ledger and two sums of 128 bits, three piles of 64 and 128, eleven counts, and
/// what is in flight and connected.
const WORDS: usize = 2 * 5 + 2 * 2 + 3 * 3 + 11 + 2;

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct Words([AtomicU64; WORDS]);

impl Default for Words {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; WORDS])
    }
}

impl Words {
    /// Writes all words, of which a reader may see any part.
    pub(crate) fn write(&self, view: &AccountView) {
        let mut out = Out { words: &self.0, at: 0 };
        let AccountView {
            words: ledger::Words { balance, held_in, held_out, frozen, prepaid },
            in_flight_in,
            in_flight_out,
            unrecorded_in,
            unrecorded_out,
            withheld,
            connected,
            counters:
                AccountCounters {
                    requests_in,
                    prepares_out,
                    fulfills_in,
                    fulfills_out,
                    rejects_in,
                    rejects_out,
                    expired,
                    wrong_fulfillments,
                    late_fulfills,
                    unmatched_answers,
                    undelivered_fulfills,
                    amount_fulfilled_in,
                    amount_fulfilled_out,
                },
        } = *view;
        for word in [balance, held_in, held_out, frozen, prepaid] {
            out.put_wide(word.cast_unsigned());
        }
        out.put(u64::from(in_flight_in) << 32 | u64::from(in_flight_out));
        out.put(u64::from(connected));
        for Legs { count, value } in [unrecorded_in, unrecorded_out, withheld] {
            out.put(count);
            out.put_wide(value);
        }
        for count in [
            requests_in,
            prepares_out,
            fulfills_in,
            fulfills_out,
            rejects_in,
            rejects_out,
            expired,
            wrong_fulfillments,
            late_fulfills,
            unmatched_answers,
            undelivered_fulfills,
        ] {
            out.put(count);
        }
        out.put_wide(amount_fulfilled_in);
        out.put_wide(amount_fulfilled_out);
        assert!(out.at == WORDS, "every word is written");
    }

    /// Reads all words, of which a writer may have written any part.
    pub(crate) fn read(&self) -> AccountView {
        let mut from = In { words: &self.0, at: 0 };
        // Fields are read in the order in which they stand here.
        let words = ledger::Words {
            balance: from.take_wide().cast_signed(),
            held_in: from.take_wide().cast_signed(),
            held_out: from.take_wide().cast_signed(),
            frozen: from.take_wide().cast_signed(),
            prepaid: from.take_wide().cast_signed(),
        };
        let in_flight = from.take();
        let half = |word: u64| u32::try_from(word & u64::from(u32::MAX)).expect("32 bits");
        AccountView {
            words,
            in_flight_in: half(in_flight >> 32),
            in_flight_out: half(in_flight),
            connected: from.take() != 0,
            unrecorded_in: from.take_legs(),
            unrecorded_out: from.take_legs(),
            withheld: from.take_legs(),
            counters: AccountCounters {
                requests_in: from.take(),
                prepares_out: from.take(),
                fulfills_in: from.take(),
                fulfills_out: from.take(),
                rejects_in: from.take(),
                rejects_out: from.take(),
                expired: from.take(),
                wrong_fulfillments: from.take(),
                late_fulfills: from.take(),
                unmatched_answers: from.take(),
                undelivered_fulfills: from.take(),
                amount_fulfilled_in: from.take_wide(),
                amount_fulfilled_out: from.take_wide(),
            },
        }
    }
}

struct Out<'a> {
    words: &'a [AtomicU64; WORDS],
    at: usize,
}

impl Out<'_> {
    fn put(&mut self, word: u64) {
        self.words[self.at].store(word, Ordering::Relaxed);
        self.at += 1;
    }

    /// The lower half first.
    fn put_wide(&mut self, word: u128) {
        let bytes = word.to_le_bytes();
        let (halves, _) = bytes.as_chunks();
        halves.iter().for_each(|half| self.put(u64::from_le_bytes(*half)));
    }
}

struct In<'a> {
    words: &'a [AtomicU64; WORDS],
    at: usize,
}

impl In<'_> {
    fn take(&mut self) -> u64 {
        let word = self.words[self.at].load(Ordering::Relaxed);
        self.at += 1;
        word
    }

    fn take_wide(&mut self) -> u128 {
        let (low, high) = (self.take(), self.take());
        u128::from(high) << 64 | u128::from(low)
    }

    fn take_legs(&mut self) -> Legs {
        Legs { count: self.take(), value: self.take_wide() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_read_as_it_was_written_whatever_was_there() {
        // Every field and both halves of each differ, and some are at their ends.
        let mut number = 0x0102_0304_0506_0708_u64;
        let mut next = || {
            number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            number
        };
        let words = Words::default();
        assert_eq!(words.read(), AccountView::default());
        for round in 0..50 {
            let mut wide = || u128::from(next()) << 64 | u128::from(next());
            let ledger = ledger::Words {
                balance: if round == 0 { i128::MIN } else { wide().cast_signed() },
                held_in: wide().cast_signed(),
                held_out: -1,
                frozen: i128::MAX,
                prepaid: wide().cast_signed(),
            };
            let (amount_fulfilled_in, amount_fulfilled_out) = (wide(), u128::MAX);
            let mut legs = || Legs { count: u64::try_from(wide() >> 64).unwrap(), value: wide() };
            let view = AccountView {
                words: ledger,
                unrecorded_in: legs(),
                unrecorded_out: legs(),
                withheld: legs(),
                in_flight_in: u32::MAX - round,
                in_flight_out: round,
                connected: round % 2 == 0,
                counters: AccountCounters {
                    requests_in: next(),
                    prepares_out: next(),
                    fulfills_in: next(),
                    fulfills_out: next(),
                    rejects_in: next(),
                    rejects_out: next(),
                    expired: next(),
                    wrong_fulfillments: next(),
                    late_fulfills: next(),
                    unmatched_answers: next(),
                    undelivered_fulfills: u64::MAX,
                    amount_fulfilled_in,
                    amount_fulfilled_out,
                },
            };
            words.write(&view);
            assert_eq!(words.read(), view);
        }
    }
}
