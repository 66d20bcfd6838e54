//! The books of a receiver in another process, asked for through the target itself.
//!
//! ```text
//! question, the data of a PREPARE that nobody can fulfill
//!  0      1         2      4     8       16     48
//! +------+---------+------+-----+-------+------+
//! | 0x81 | purpose | flow | run | nonce | tag  |
//! +------+---------+------+-----+-------+------+
//!
//! answer, the data of the REJECT (F99) that comes back
//!  0      1         2      4     8       16          32       48     80
//! +------+---------+------+-----+-------+-----------+--------+------+
//! | 0x82 | purpose | flow | run | nonce | fulfilled | amount | tag  |
//! +------+---------+------+-----+-------+-----------+--------+------+
//! ```
//!
//! Each tag is HMAC-SHA256 of what stands before it, under a key of the seed. It keeps nothing
//! secret; it tells a receiver of another seed from one of ours, and bytes that were changed on the
//! way from those that were sent. The nonce ties an answer to its question.
//!
//! Invariant: what [`Question::read`] and [`Answer::read`] give was written by who has the seed.

use ring::hmac;
use sha2::{Digest, Sha256};

const QUESTION: u8 = 0x81;
const ANSWER: u8 = 0x82;
const TAG_LEN: usize = 32;

/// Bytes of a question.
pub const QUESTION_LEN: usize = 16 + TAG_LEN;
/// Bytes of an answer.
pub const ANSWER_LEN: usize = 48 + TAG_LEN;

/// What makes and checks the tags of a seed.
#[derive(Clone, Debug)]
pub struct Key(hmac::Key);

impl Key {
    /// The key of all runs with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let text = format!("m2-load books key {seed}");
        Self(hmac::Key::new(hmac::HMAC_SHA256, &Sha256::digest(text)))
    }

    fn sign(&self, message: &mut [u8]) {
        let (said, tag) = message.split_at_mut(message.len() - TAG_LEN);
        tag.copy_from_slice(hmac::sign(&self.0, said).as_ref());
    }

    fn holds(&self, message: &[u8]) -> bool {
        let (said, tag) = message.split_at(message.len() - TAG_LEN);
        hmac::verify(&self.0, said, tag).is_ok()
    }
}

/// What a question is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Purpose {
    /// Whether somebody is there, before the first packet.
    Hello = 0,
    /// The books of a run whose packets have all been answered.
    Books = 1,
}

/// A question for the books of one flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Question {
    /// What it is asked for.
    pub purpose: Purpose,
    /// Index of the flow.
    pub flow: u16,
    /// Number of the run.
    pub run: u32,
    /// Any number that is not used twice.
    pub nonce: u64,
}

/// Why the bytes are no question.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoQuestion {
    /// They are something else.
    Other,
    /// They are one, and its tag is not of our seed.
    OtherSeed,
}

impl Question {
    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self, key: &Key) -> [u8; QUESTION_LEN] {
        let mut bytes = [0; QUESTION_LEN];
        self.put(&mut bytes, QUESTION);
        key.sign(&mut bytes);
        bytes
    }

    /// Reads the data of a PREPARE.
    ///
    /// # Errors
    ///
    /// When it is no question, or one of another seed.
    pub fn read(data: &[u8], key: &Key) -> Result<Self, NoQuestion> {
        if data.len() != QUESTION_LEN {
            return Err(NoQuestion::Other);
        }
        let question = Self::take(data, QUESTION).ok_or(NoQuestion::Other)?;
        if key.holds(data) { Ok(question) } else { Err(NoQuestion::OtherSeed) }
    }

    fn put(&self, bytes: &mut [u8], version: u8) {
        bytes[0] = version;
        bytes[1] = self.purpose as u8;
        bytes[2..4].copy_from_slice(&self.flow.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.run.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.nonce.to_be_bytes());
    }

    fn take(bytes: &[u8], version: u8) -> Option<Self> {
        let bytes = bytes.first_chunk::<16>()?;
        let purpose = match (bytes[0] == version, bytes[1]) {
            (true, 0) => Purpose::Hello,
            (true, 1) => Purpose::Books,
            _ => return None,
        };
        let [_, _, flow @ .., _, _, _, _, _, _, _, _, _, _, _, _] = *bytes;
        let [_, _, _, _, run @ .., _, _, _, _, _, _, _, _] = *bytes;
        let [_, _, _, _, _, _, _, _, nonce @ ..] = *bytes;
        Some(Self {
            purpose,
            flow: u16::from_be_bytes(flow),
            run: u32::from_be_bytes(run),
            nonce: u64::from_be_bytes(nonce),
        })
    }
}

/// What a receiver's book says of one flow in one run.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Book {
    /// PREPAREs that it fulfilled.
    pub fulfilled: u64,
    /// Sum of their amounts, in its units.
    pub amount: u128,
}

/// The answer to a question.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answer {
    /// What was asked.
    pub question: Question,
    /// The book.
    pub book: Book,
}

impl Answer {
    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self, key: &Key) -> [u8; ANSWER_LEN] {
        let mut bytes = [0; ANSWER_LEN];
        self.question.put(&mut bytes, ANSWER);
        bytes[24..32].copy_from_slice(&self.book.fulfilled.to_be_bytes());
        bytes[32..48].copy_from_slice(&self.book.amount.to_be_bytes());
        key.sign(&mut bytes);
        bytes
    }

    /// Reads the data of a REJECT; `None` unless it answers this very question, unchanged.
    #[must_use]
    pub fn read(data: &[u8], key: &Key, question: &Question) -> Option<Self> {
        let bytes: &[u8; ANSWER_LEN] = data.try_into().ok()?;
        let answered = Question::take(bytes, ANSWER)?;
        if answered != *question || !key.holds(bytes) {
            return None;
        }
        let word = |at: usize| {
            u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight of eighty bytes"))
        };
        let amount = u128::from(word(32)) << 64 | u128::from(word(40));
        // Nobody fulfilled so much, and the sums of what is read here have room for every flow.
        (amount <= AMOUNT_MAX).then_some(())?;
        Some(Self { question: answered, book: Book { fulfilled: word(24), amount } })
    }
}

/// The largest sum of a book that is believed: 2^48 packets of 2^64 units.
const AMOUNT_MAX: u128 = 1 << 112;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_that_nobody_can_have_fulfilled_is_no_answer() {
        let key = Key::new(7);
        for (amount, read) in [(AMOUNT_MAX, true), (AMOUNT_MAX + 1, false), (u128::MAX, false)] {
            let answer = Answer { question: QUESTION, book: Book { fulfilled: 1, amount } };
            let bytes = answer.to_bytes(&key);
            assert_eq!(Answer::read(&bytes, &key, &QUESTION).is_some(), read, "{amount}");
        }
    }

    const QUESTION: Question =
        Question { purpose: Purpose::Books, flow: 513, run: 0xdead_beef, nonce: 7 << 60 };
    const BOOK: Book = Book { fulfilled: 1 << 60, amount: (5 << 64) + 9 };

    #[test]
    fn question_and_answer_read_back_under_the_same_seed_only() {
        let (key, other) = (Key::new(7), Key::new(8));
        for purpose in [Purpose::Hello, Purpose::Books] {
            let question = Question { purpose, ..QUESTION };
            let bytes = question.to_bytes(&key);
            assert_eq!(Question::read(&bytes, &key), Ok(question));
            assert_eq!(Question::read(&bytes, &other), Err(NoQuestion::OtherSeed));
            let answer = Answer { question, book: BOOK };
            let bytes = answer.to_bytes(&key);
            assert_eq!(Answer::read(&bytes, &key, &question), Some(answer));
            assert_eq!(Answer::read(&bytes, &other, &question), None);
        }
    }

    #[test]
    fn no_byte_can_change_and_none_can_go() {
        let key = Key::new(7);
        let question = QUESTION.to_bytes(&key);
        let answer = Answer { question: QUESTION, book: BOOK }.to_bytes(&key);
        for index in 0..QUESTION_LEN {
            let mut changed = question;
            changed[index] ^= 1;
            assert!(Question::read(&changed, &key).is_err(), "byte {index}");
            assert!(Question::read(&question[..index], &key).is_err(), "{index} bytes");
        }
        for index in 0..ANSWER_LEN {
            let mut changed = answer;
            changed[index] ^= 1;
            assert_eq!(Answer::read(&changed, &key, &QUESTION), None, "byte {index}");
            assert_eq!(Answer::read(&answer[..index], &key, &QUESTION), None, "{index} bytes");
        }
    }

    #[test]
    fn an_answer_to_another_question_is_none() {
        let key = Key::new(7);
        let bytes = Answer { question: QUESTION, book: BOOK }.to_bytes(&key);
        for other in [
            Question { nonce: 1, ..QUESTION },
            Question { flow: 1, ..QUESTION },
            Question { run: 1, ..QUESTION },
            Question { purpose: Purpose::Hello, ..QUESTION },
        ] {
            assert_eq!(Answer::read(&bytes, &key, &other), None);
        }
    }

    /// A packet of a run is told from a question by its first byte.
    #[test]
    fn what_a_run_sends_is_no_question() {
        let key = Key::new(7);
        let mut bytes = QUESTION.to_bytes(&key);
        bytes[0] = 1;
        assert_eq!(Question::read(&bytes, &key), Err(NoQuestion::Other));
        assert_eq!(crate::payload::Header::read(&QUESTION.to_bytes(&key)), None);
    }
}
