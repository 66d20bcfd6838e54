//! Which records a command is about.

use clap::ValueEnum;
use m2_core::record::Record;
use m2_core::{AccountId, sha256_of_32};
use serde::{Deserialize, Serialize};

/// What kinds of records there are.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A fulfilled pair, both legs.
    Pair,
    /// A FULFILL that came too late to count.
    #[value(alias = "late_fulfill")]
    LateFulfill,
    /// Limits of an account were set.
    Limits,
    /// An amount left the balance to be paid.
    Frozen,
    /// A frozen amount has reached the peer.
    Settled,
    /// A frozen amount never will.
    Cancelled,
    /// The peer paid us.
    Credited,
    /// A payment of the peer proved void.
    Reversed,
}

impl Kind {
    /// All of them, in the order of their numbers in the journal.
    pub(crate) const ALL: [Self; 8] = [
        Self::Pair,
        Self::LateFulfill,
        Self::Limits,
        Self::Frozen,
        Self::Settled,
        Self::Cancelled,
        Self::Credited,
        Self::Reversed,
    ];

    pub(crate) fn of(record: &Record) -> Self {
        match record {
            Record::Pair(_) => Self::Pair,
            Record::LateFulfill(_) => Self::LateFulfill,
            Record::Limits(_) => Self::Limits,
            Record::Frozen(_) => Self::Frozen,
            Record::Settled(_) => Self::Settled,
            Record::Cancelled(_) => Self::Cancelled,
            Record::Credited(_) => Self::Credited,
            Record::Reversed(_) => Self::Reversed,
        }
    }

    /// As it stands in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pair => "pair",
            Self::LateFulfill => "late fulfill",
            Self::Limits => "limits",
            Self::Frozen => "frozen",
            Self::Settled => "settled",
            Self::Cancelled => "cancelled",
            Self::Credited => "credited",
            Self::Reversed => "reversed",
        }
    }
}

/// The first bytes of a condition, 16 at most: a record holds no more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Prefix {
    bytes: [u8; 16],
    len: usize,
}

impl Prefix {
    /// An even number of hex digits, 32 at most.
    ///
    /// # Errors
    ///
    /// A sentence that says so.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
        let digits =
            digits.filter(|all| all.len().is_multiple_of(2) && (2..=32).contains(&all.len()));
        let digits = digits.ok_or(
            "the first bytes of a condition are 2 to 32 hex digits, an even number of them: records \
             hold the first 16 of 32 bytes",
        )?;
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = u8::try_from(pair[0] * 16 + pair[1]).expect("two hex digits are a byte");
        }
        Ok(Self { bytes, len: digits.len() / 2 })
    }

    fn fits(&self, head: &[u8; 16]) -> bool {
        head[..self.len] == self.bytes[..self.len]
    }
}

/// All that is set must fit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) account: Option<AccountId>,
    /// From this millisecond on.
    pub(crate) from_ms: Option<u64>,
    /// Up to this millisecond, it included.
    pub(crate) to_ms: Option<u64>,
    pub(crate) condition: Option<Prefix>,
    /// Any of them; all if there is none.
    pub(crate) kinds: Vec<Kind>,
}

impl Filter {
    pub(crate) fn takes(&self, record: &Record) -> bool {
        let at_ms = at_ms(record);
        self.from_ms.is_none_or(|from| from <= at_ms)
            && self.to_ms.is_none_or(|to| at_ms <= to)
            && (self.kinds.is_empty() || self.kinds.contains(&Kind::of(record)))
            && self.account.is_none_or(|account| is_of(record, account))
            && self
                .condition
                .is_none_or(|prefix| condition_head(record).is_some_and(|head| prefix.fits(&head)))
    }
}

/// When it was decided: milliseconds since 1970, UTC.
pub(crate) fn at_ms(record: &Record) -> u64 {
    match record {
        Record::Pair(pair) => pair.decided_at_ms,
        Record::LateFulfill(late) => late.came_at_ms,
        Record::Limits(limits) => limits.at_ms,
        Record::Frozen(keyed) | Record::Settled(keyed) | Record::Cancelled(keyed) => keyed.at_ms,
        Record::Credited(money) | Record::Reversed(money) => money.at_ms,
    }
}

/// The first half of the condition of the packet that it is about.
pub(crate) fn condition_head(record: &Record) -> Option<[u8; 16]> {
    match record {
        Record::Pair(pair) => Some(pair.condition_head),
        Record::LateFulfill(late) => {
            let condition = sha256_of_32(&late.fulfillment);
            Some(*condition.first_chunk().expect("16 of 32 bytes"))
        }
        _ => None,
    }
}

/// Whether the account is one that it is about.
pub(crate) fn is_of(record: &Record, account: AccountId) -> bool {
    match record {
        Record::Pair(pair) => pair.account_in == account || pair.account_out == account,
        Record::LateFulfill(late) => late.connection.account == account,
        Record::Limits(limits) => limits.account == account,
        Record::Frozen(keyed) | Record::Settled(keyed) | Record::Cancelled(keyed) => {
            keyed.account == account
        }
        Record::Credited(money) | Record::Reversed(money) => money.account == account,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_condition_is_an_even_number_of_hex_digits() {
        let head = [0x0a, 0xbc, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14];
        for fits in ["0a", "0abc", "0ABC01", "0abc0102030405060708090a0b0c0d0e"] {
            assert!(Prefix::parse(fits).unwrap().fits(&head), "{fits}");
        }
        assert!(!Prefix::parse("0abd").unwrap().fits(&head));
        for wrong in ["", "0", "0ab", "zz", "0é", "0abc0102030405060708090a0b0c0d0e0f"] {
            assert!(Prefix::parse(wrong).is_err(), "{wrong}");
        }
    }
}
