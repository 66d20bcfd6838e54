//! What can be wrong with bytes.

use core::fmt;
use std::io;

/// What is wrong with bytes where a segment, a batch or a slot should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// No page of a segment.
    NoSegment,
    /// No head of a batch.
    NoBatch,
    /// Written by another version.
    Version(u16),
    /// The hash is another one: a byte was changed, or something before it.
    Hash,
    /// A byte that must be zero is not.
    Reserved,
    /// It belongs to another stream, generation or number of shards.
    Foreign,
    /// It does not begin at the position where the one before ended.
    Position {
        /// Where the one before ended.
        expected: u64,
        /// Where it says that it begins.
        found: u64,
    },
    /// Its counts contradict each other.
    Counts,
    /// The file ends before it does.
    Short,
    /// The stream ends before what had been flushed.
    Ends,
    /// The file is not there.
    Missing,
    /// The system would not read the file.
    Unreadable {
        /// The number of its error, if it has one.
        os_error: Option<i32>,
    },
    /// No kind of record is called this.
    Kind(u8),
    /// A record says what no switch could have written.
    Record,
    /// No base or snapshot.
    NoImage,
    /// The file is longer or shorter than it says.
    Length,
    /// An account or a key of a base or snapshot is what no switch could have written.
    Image,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSegment => f.write_str("this is not the beginning of a segment"),
            Self::NoBatch => f.write_str("this is not the beginning of a batch"),
            Self::Version(found) => write!(f, "this is format {found}, which we cannot read"),
            Self::Hash => f.write_str("the hash does not fit the bytes"),
            Self::Reserved => f.write_str("bytes that must be zero are not"),
            Self::Foreign => f.write_str("this belongs to another stream"),
            Self::Position { expected, found } => {
                write!(f, "record {expected} should come next, this begins with {found}")
            }
            Self::Counts => f.write_str("its counts contradict each other"),
            Self::Short => f.write_str("the file ends within it"),
            Self::Ends => f.write_str("records that had been flushed should follow"),
            Self::Missing => f.write_str("the file is missing"),
            Self::Unreadable { os_error: None } => f.write_str("it cannot be read"),
            Self::Unreadable { os_error: Some(number) } => {
                write!(f, "it cannot be read: {}", io::Error::from_raw_os_error(*number))
            }
            Self::Kind(found) => write!(f, "there is no record of kind {found}"),
            Self::NoImage => f.write_str("this is no base and no snapshot"),
            Self::Length => f.write_str("the file is longer or shorter than it says"),
            Self::Image => f.write_str("it says what no switch could have written"),
            Self::Record => f.write_str("a record says what no switch could have written"),
        }
    }
}
