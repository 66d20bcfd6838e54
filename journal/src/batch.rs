//! A batch: records that were made durable together, under one hash.
//!
//! ```text
//!   0            80                    head_len                              len       padded_len
//!   | BatchHead  | position of each shard | zeros | blocks of 64 bytes ...    | zeros       |
//!     '- hash over all up to len, after the hash of the batch before
//! ```
//!
//! It begins at a multiple of a page and is padded to one: nothing durable is written again. For each
//! shard it tells up to which position of this stream the FULFILLs of that shard's accounts had been
//! handed to sockets.

use m2_core::ShardId;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::fault::Fault;
use crate::hash::{self, Hash};
use crate::layout::{BatchHead, Block};
use crate::limits::{BATCH_BYTES_MAX, BLOCK_LEN, PAGE_LEN, SHARDS_MAX};
use crate::pages::Pages;

/// Bytes before the blocks.
#[must_use]
pub const fn head_len(shards: usize) -> usize {
    (size_of::<BatchHead>() + shards * size_of::<U64>()).next_multiple_of(BLOCK_LEN)
}

/// Which batches are looked for: those of one stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stream {
    /// Which start of the process.
    pub generation: u32,
    /// Whose records.
    pub id: ShardId,
    /// How many shards the generation has.
    pub shards: usize,
}

/// What the head of a batch says, but for positions of other shards.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Head {
    /// Position of its first record.
    pub position: u64,
    /// The stream's durable position when it was made.
    pub flushed: u64,
    /// How many records.
    pub records: u32,
    /// How many blocks they take.
    pub blocks: u32,
    /// How many of them are credits or reversals.
    pub money: u32,
}

impl Head {
    /// Bytes with the head, without padding.
    #[must_use]
    pub fn len(&self, shards: usize) -> usize {
        head_len(shards) + self.blocks as usize * BLOCK_LEN
    }

    /// Bytes up to where the next batch may begin.
    #[must_use]
    pub fn padded_len(&self, shards: usize) -> usize {
        self.len(shards).next_multiple_of(PAGE_LEN)
    }

    /// Position after its last record.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.position.saturating_add(u64::from(self.records))
    }

    /// What the first bytes of a batch say. Its hash has not been checked: the counts are within
    /// limits, and nothing else is known of them.
    ///
    /// # Errors
    ///
    /// When these are not the first bytes of a batch of this stream.
    pub fn peek(bytes: &[u8], stream: &Stream) -> Result<Self, Fault> {
        let (layout, _) = BatchHead::ref_from_prefix(bytes).map_err(|_| Fault::Short)?;
        if layout.magic != BatchHead::MAGIC {
            return Err(Fault::NoBatch);
        }
        let head = Self {
            position: layout.position.get(),
            flushed: layout.flushed.get(),
            records: layout.records.get(),
            blocks: layout.blocks.get(),
            money: layout.money.get(),
        };
        if layout.generation != stream.generation
            || layout.stream != stream.id.0
            || usize::from(layout.shards.get()) != stream.shards
        {
            return Err(Fault::Foreign);
        }
        if layout.reserved != [0; 4] {
            return Err(Fault::Reserved);
        }
        let is_within = head.blocks as usize <= BATCH_BYTES_MAX / BLOCK_LEN
            && head.padded_len(stream.shards) <= BATCH_BYTES_MAX
            && head.position.checked_add(u64::from(head.records)).is_some();
        let is_sum = head.money <= head.records
            && head.records <= head.blocks
            && (head.records == 0) == (head.blocks == 0)
            && head.flushed <= head.position;
        if is_within && is_sum { Ok(head) } else { Err(Fault::Counts) }
    }
}

/// A batch, in parts.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// What its head says.
    pub head: Head,
    /// What the next batch is chained to.
    pub hash: Hash,
    given: &'a [U64],
    /// The records.
    pub blocks: &'a [Block],
}

impl<'a> Batch<'a> {
    /// Checks a batch, its head peeked at before, whose bytes end with its padding: its hash, if it is
    /// what was written after a batch with the hash `previous`.
    ///
    /// # Errors
    ///
    /// When it is not.
    pub fn check(
        bytes: &mut [u8],
        head: &Head,
        stream: &Stream,
        previous: &Hash,
    ) -> Result<Hash, Fault> {
        if bytes.len() != head.padded_len(stream.shards) {
            return Err(Fault::Short);
        }
        let (batch, padding) = bytes.split_at_mut(head.len(stream.shards));
        let hash = hash::check(batch, previous).ok_or(Fault::Hash)?;
        let (given, gap) = positions(batch, stream);
        if !is_zero(padding) || !is_zero(gap) {
            return Err(Fault::Reserved);
        }
        if given.iter().any(|position| position.get() > head.end()) {
            return Err(Fault::Counts);
        }
        Ok(hash)
    }

    /// The parts of a batch that has been checked, or of whose hash nothing depends.
    ///
    /// # Panics
    ///
    /// If the bytes are not as many as the head says.
    #[must_use]
    pub fn view(bytes: &'a [u8], head: Head, hash: Hash, stream: &Stream) -> Self {
        let (given, _) = positions(bytes, stream);
        let blocks = &bytes[head_len(stream.shards)..head.len(stream.shards)];
        let (blocks, _) = blocks.as_chunks();
        Self { head, hash, given, blocks }
    }

    /// Up to which position of this stream the FULFILLs of each shard's accounts had been handed to
    /// sockets.
    pub fn given(&self) -> impl ExactSizeIterator<Item = u64> + use<'a> {
        self.given.iter().map(|position| position.get())
    }
}

/// The positions behind the head, and the gap up to the blocks.
fn positions<'a>(batch: &'a [u8], stream: &Stream) -> (&'a [U64], &'a [u8]) {
    let behind = &batch[size_of::<BatchHead>()..head_len(stream.shards)];
    <[U64]>::ref_from_prefix_with_elems(behind, stream.shards).expect("head_len has room for them")
}

/// Whether all bytes are 0. Pages are compared whole, at the speed of memory in every build.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; PAGE_LEN] = [0; PAGE_LEN];
    bytes.chunks(PAGE_LEN).all(|page| *page == ZEROS[..page.len()])
}

/// Fills in the head of a batch that ends `bytes` and begins at `start`, and pads it. The room for the
/// head is zeros, the blocks stand behind it.
///
/// # Panics
///
/// If the batch does not begin at a page, there are more shards than [`SHARDS_MAX`], or the blocks are
/// not as many as the head says.
pub fn seal(
    bytes: &mut Pages,
    start: usize,
    head: &Head,
    stream: &Stream,
    given: &[u64],
    previous: &Hash,
) -> Hash {
    assert!(start.is_multiple_of(PAGE_LEN) && stream.shards <= SHARDS_MAX, "layouts are fixed");
    assert!(bytes.len() - start == head.len(stream.shards), "all blocks are there");
    assert!(given.len() == stream.shards, "there is a position for each shard");
    let mut layout = BatchHead::new_zeroed();
    layout.magic = BatchHead::MAGIC;
    layout.position = head.position.into();
    layout.flushed = head.flushed.into();
    layout.records = head.records.into();
    layout.blocks = head.blocks.into();
    layout.money = head.money.into();
    layout.generation = stream.generation.into();
    layout.stream = stream.id.0.into();
    layout.shards = u16::try_from(stream.shards).expect("SHARDS_MAX is less").into();
    let batch = &mut bytes[start..];
    batch[..size_of::<BatchHead>()].copy_from_slice(layout.as_bytes());
    let positions = batch[size_of::<BatchHead>()..].chunks_exact_mut(size_of::<U64>());
    for (place, position) in positions.zip(given) {
        place.copy_from_slice(&position.min(&head.end()).to_le_bytes());
    }
    let hash = hash::seal(batch, previous);
    bytes.pad(start + head.padded_len(stream.shards));
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: Stream = Stream { generation: 2, id: ShardId(1), shards: 3 };
    const BEFORE: Hash = Hash([7; 32]);

    fn head(blocks: u32) -> Head {
        Head { position: 40, flushed: 30, records: blocks, blocks, money: 0 }
    }

    fn sealed(head: &Head) -> (Pages, Hash) {
        let mut bytes = Pages::zeros(head_len(STREAM.shards));
        for index in 0..head.blocks {
            bytes.extend_from_slice(&[u8::try_from(index % 251).unwrap(); BLOCK_LEN]);
        }
        let hash = seal(&mut bytes, 0, head, &STREAM, &[1, 2, u64::MAX], &BEFORE);
        (bytes, hash)
    }

    #[test]
    fn a_batch_comes_back_as_it_was() {
        for blocks in [0, 1, 61, 62, 63, 4_000] {
            let head = head(blocks);
            let (mut bytes, hash) = sealed(&head);
            assert!(bytes.len().is_multiple_of(PAGE_LEN));
            assert_eq!(Head::peek(&bytes, &STREAM), Ok(head));
            assert_eq!(Batch::check(&mut bytes, &head, &STREAM, &BEFORE), Ok(hash));
            let batch = Batch::view(&bytes, head, hash, &STREAM);
            // No more than there is was ever handed out.
            assert_eq!(batch.given().collect::<Vec<_>>(), [1, 2, head.end()]);
            assert_eq!(batch.blocks.len(), blocks as usize);
            assert!(batch.blocks.iter().enumerate().all(|(i, b)| b[0] as usize == i % 251));
        }
    }

    #[test]
    fn any_flipped_bit_is_found_in_padding_too() {
        let (bytes, _) = sealed(&head(2));
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let checked = Head::peek(&bytes, &STREAM).and_then(|head| {
                let len = bytes.len().min(head.padded_len(STREAM.shards));
                Batch::check(&mut bytes[..len], &head, &STREAM, &BEFORE)
            });
            assert!(checked.is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_batch_of_another_chain_or_stream_is_none() {
        let head = head(1);
        let (mut bytes, _) = sealed(&head);
        let checked = Batch::check(&mut bytes, &head, &STREAM, &Hash::NONE);
        assert_eq!(checked, Err(Fault::Hash));
        for other in [
            Stream { generation: 3, ..STREAM },
            Stream { id: ShardId(0), ..STREAM },
            Stream { shards: 2, ..STREAM },
        ] {
            assert_eq!(Head::peek(&bytes, &other), Err(Fault::Foreign));
        }
    }

    #[test]
    fn counts_beyond_any_batch_are_refused_before_they_are_used() {
        let (bytes, _) = sealed(&head(1));
        for (offset, len) in [(48, 8), (56, 4), (60, 4), (64, 4)] {
            let mut bytes = bytes.clone();
            bytes[offset..offset + len].fill(0xff);
            assert_eq!(Head::peek(&bytes, &STREAM), Err(Fault::Counts), "at {offset}");
        }
        assert_eq!(Head::peek(&bytes[..79], &STREAM), Err(Fault::Short));
        assert_eq!(Head::peek(&[0; 4096], &STREAM), Err(Fault::NoBatch));
    }
}
