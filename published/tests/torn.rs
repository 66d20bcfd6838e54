//! Goal: no reader ever sees a part of one state and a part of another, neither of an account nor,
//! where it is told one moment, of all of them. Method: a writer goes from state to state of which every
//! word follows from one number, as fast as it can; readers recompute each word from the first, hundreds
//! of thousands of times.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use m2_core::ledger::Words;
use m2_core::{AccountCounters, AccountId, AccountView, Legs};
use m2_published::{Published, Publisher, Reading, published};

const ACCOUNTS: u32 = 3;
/// Readings of one reader, each of all accounts.
const READINGS: usize = 100_000;

/// The one state that belongs to a number and an account: every word tells both.
fn state(number: u64, account: u32) -> AccountView {
    let word = number ^ u64::from(account) << 56;
    let wide = u128::from(word) << 64 | u128::from(!word);
    let legs = |times: u64| Legs { count: word.wrapping_mul(times), value: wide.rotate_left(8) };
    AccountView {
        words: Words {
            balance: -wide.cast_signed(),
            held_in: wide.cast_signed(),
            held_out: wide.cast_signed() + 1,
            frozen: wide.cast_signed() ^ 2,
            prepaid: wide.cast_signed() - 3,
        },
        in_flight_in: (word % 1_000_003).try_into().unwrap(),
        in_flight_out: (word % 999_983).try_into().unwrap(),
        unrecorded_in: legs(3),
        unrecorded_out: legs(5),
        withheld: legs(7),
        connected: word % 2 == 1,
        counters: AccountCounters {
            requests_in: word,
            prepares_out: !word,
            fulfills_in: word.wrapping_add(1),
            fulfills_out: word.wrapping_add(2),
            rejects_in: word.wrapping_add(3),
            rejects_out: word.wrapping_add(4),
            expired: word.wrapping_add(5),
            wrong_fulfillments: word.wrapping_add(6),
            late_fulfills: word.wrapping_add(7),
            unmatched_answers: word.wrapping_add(8),
            undelivered_fulfills: word.wrapping_add(9),
            amount_fulfilled_in: wide,
            amount_fulfilled_out: !wide,
        },
    }
}

/// The number of a state, of which every word was looked at.
#[track_caller]
fn number(view: &AccountView, account: u32) -> u64 {
    let number = view.counters.requests_in ^ u64::from(account) << 56;
    assert_eq!(*view, state(number, account), "torn");
    number
}

/// Goes from state to state until nobody reads any more; the last of them.
fn write(publisher: &mut Publisher, is_read: &AtomicBool) -> u64 {
    let mut number = 0;
    while is_read.load(Ordering::Acquire) {
        number += 1;
        let mut pass = publisher.begin();
        (0..ACCOUNTS).for_each(|account| pass.put(AccountId(account), &state(number, account)));
    }
    number
}

/// What a reader has met.
#[derive(Debug, Default)]
struct Seen {
    one_moment: usize,
    each_its_own: usize,
    busy: usize,
}

fn read(published: &Published) -> Seen {
    let mut seen = Seen::default();
    let (mut views, mut newest) = (Vec::new(), [0; ACCOUNTS as usize]);
    for _ in 0..READINGS {
        let reading = published.read_all(&mut views);
        let numbers: Vec<u64> = (0..).zip(&views).map(|(at, view)| number(view, at)).collect();
        for (number, newest) in numbers.iter().zip(&mut newest) {
            assert!(number >= newest, "what was read is not unwritten");
            *newest = *number;
        }
        match reading {
            Reading::OneMoment => {
                assert_eq!(numbers.len(), ACCOUNTS as usize);
                assert!(numbers.iter().all(|number| *number == numbers[0]), "{numbers:?}");
                seen.one_moment += 1;
            }
            Reading::EachItsOwn => seen.each_its_own += 1,
            Reading::Busy => seen.busy += 1,
        }
    }
    seen
}

#[test]
fn no_reader_sees_parts_of_two_states() {
    let (published, mut publishers) = published(ACCOUNTS as usize, 1);
    let mut publisher = publishers.pop().unwrap();
    (0..ACCOUNTS).for_each(|at| publisher.begin().put(AccountId(at), &state(0, at)));
    let is_read = AtomicBool::new(true);
    let (written, seen) = thread::scope(|scope| {
        let writer = scope.spawn(|| write(&mut publisher, &is_read));
        let readers = [(); 2].map(|()| scope.spawn(|| read(&published)));
        let seen = readers.map(|reader| reader.join());
        // Also when a reader has failed: the writer would go on for ever.
        is_read.store(false, Ordering::Release);
        (writer.join().unwrap(), seen.map(Result::unwrap))
    });
    println!("{written} states; {seen:?}");
    assert!(seen.iter().any(|seen| seen.one_moment > 0), "{seen:?}");
    for account in 0..ACCOUNTS {
        let last = published.read(AccountId(account)).unwrap();
        assert_eq!(number(&last, account), written, "nobody writes now");
    }
}

#[test]
fn a_pass_that_has_not_ended_leaves_each_account_to_a_moment_of_its_own() {
    let (published, mut publishers) = published(2, 2);
    let mut views = Vec::new();
    assert_eq!(published.read_all(&mut views), Reading::OneMoment);
    assert_eq!(views, [AccountView::default(); 2]);
    // A pass that has not ended: each account can be read, and no moment of all is found.
    let mut pass = publishers[1].begin();
    pass.put(AccountId(1), &state(7, 1));
    assert_eq!(published.read_all(&mut views), Reading::EachItsOwn);
    assert_eq!(views, [AccountView::default(), state(7, 1)]);
    drop(pass);
    assert_eq!(published.read_all(&mut views), Reading::OneMoment);
}
