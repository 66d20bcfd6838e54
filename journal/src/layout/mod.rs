//! Every layout on the disk: little-endian, without gaps, sizes and offsets asserted.
//!
//! ```text
//!   segment   | SegmentHead, zeros to 4096 | batch | batch | ...            | zeros |
//!   batch     | BatchHead | positions, 8 bytes a shard | zeros to 64 | blocks | zeros to 4096 |
//!   flushed   | Slot, zeros to 4096 | Slot |
//! ```
//!
//! What begins with a hash is hashed as `hash.rs` says. Reserved bytes are zero, and any that is not
//! is damage.

pub mod image;
pub mod record;

use core::mem::{offset_of, size_of};

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::limits::{BLOCK_LEN, HASH_LEN};

/// A record, or 64 bytes of one.
pub type Block = [u8; BLOCK_LEN];

/// Version of everything that is documented in `docs/journal.md`.
pub const FORMAT_VERSION: u16 = 1;

/// The first bytes of a segment.
#[derive(Clone, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SegmentHead {
    /// Over the whole page; nothing stands before.
    pub hash: [u8; HASH_LEN],
    /// [`Self::MAGIC`].
    pub magic: [u8; 8],
    /// [`FORMAT_VERSION`].
    pub version: U16,
    /// Whose records these are.
    pub stream: U16,
    /// Which start of the process.
    pub generation: U32,
    /// Number of this segment in its stream, from 1.
    pub segment: U32,
    /// How many shards this generation has.
    pub shards: U16,
    /// Zero.
    pub reserved: [u8; 2],
    /// Position of its first record.
    pub position: U64,
    /// How many credits and reversals stand before it in the stream.
    pub money: U64,
    /// Hash of the last batch before it; of the base, in the first segment.
    pub previous: [u8; HASH_LEN],
}

impl SegmentHead {
    /// Tells a segment.
    pub const MAGIC: [u8; 8] = *b"M2JSEGMT";
}

const _: () = assert!(size_of::<SegmentHead>() == 104);
const _: () = assert!(offset_of!(SegmentHead, magic) == 32);
const _: () = assert!(offset_of!(SegmentHead, version) == 40);
const _: () = assert!(offset_of!(SegmentHead, stream) == 42);
const _: () = assert!(offset_of!(SegmentHead, generation) == 44);
const _: () = assert!(offset_of!(SegmentHead, segment) == 48);
const _: () = assert!(offset_of!(SegmentHead, shards) == 52);
const _: () = assert!(offset_of!(SegmentHead, position) == 56);
const _: () = assert!(offset_of!(SegmentHead, money) == 64);
const _: () = assert!(offset_of!(SegmentHead, previous) == 72);

/// The first bytes of a batch. One position for each shard follows.
#[derive(Clone, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct BatchHead {
    /// Over the batch without its padding, after the hash of the batch before.
    pub hash: [u8; HASH_LEN],
    /// [`Self::MAGIC`].
    pub magic: [u8; 8],
    /// Position of its first record.
    pub position: U64,
    /// The stream's durable position when the batch was made: all below it is on the disk for good.
    pub flushed: U64,
    /// How many records.
    pub records: U32,
    /// How many blocks they take.
    pub blocks: U32,
    /// How many of them are credits or reversals.
    pub money: U32,
    /// Which start of the process.
    pub generation: U32,
    /// Whose records these are.
    pub stream: U16,
    /// How many shards this generation has, and positions follow.
    pub shards: U16,
    /// Zero.
    pub reserved: [u8; 4],
}

impl BatchHead {
    /// Tells a batch.
    pub const MAGIC: [u8; 8] = *b"M2JBATCH";
}

const _: () = assert!(size_of::<BatchHead>() == 80);
const _: () = assert!(offset_of!(BatchHead, magic) == 32);
const _: () = assert!(offset_of!(BatchHead, position) == 40);
const _: () = assert!(offset_of!(BatchHead, flushed) == 48);
const _: () = assert!(offset_of!(BatchHead, records) == 56);
const _: () = assert!(offset_of!(BatchHead, blocks) == 60);
const _: () = assert!(offset_of!(BatchHead, money) == 64);
const _: () = assert!(offset_of!(BatchHead, generation) == 68);
const _: () = assert!(offset_of!(BatchHead, stream) == 72);
const _: () = assert!(offset_of!(BatchHead, shards) == 74);

/// One of the two places of the file that tells the last flushed position.
#[derive(Clone, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Slot {
    /// Over the slot; nothing stands before.
    pub hash: [u8; HASH_LEN],
    /// [`Self::MAGIC`].
    pub magic: [u8; 8],
    /// The stream's durable position.
    pub position: U64,
    /// Which start of the process.
    pub generation: U32,
    /// Whose position it is.
    pub stream: U16,
    /// [`FORMAT_VERSION`].
    pub version: U16,
    /// Zero.
    pub reserved: [u8; 8],
}

impl Slot {
    /// Tells a slot.
    pub const MAGIC: [u8; 8] = *b"M2JFLUSH";
}

const _: () = assert!(size_of::<Slot>() == 64);
const _: () = assert!(offset_of!(Slot, magic) == 32);
const _: () = assert!(offset_of!(Slot, position) == 40);
const _: () = assert!(offset_of!(Slot, generation) == 48);
const _: () = assert!(offset_of!(Slot, stream) == 52);
const _: () = assert!(offset_of!(Slot, version) == 54);
