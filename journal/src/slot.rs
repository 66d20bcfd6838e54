//! The file that tells the last flushed position of a stream: two slots, written in turn.
//!
//! The file is made, whole and flushed, before its stream has a record; so none that is missing or too
//! short was left by a crash. Then a slot is written after each flush of the stream and flushed by
//! nobody: both may be on their way to the disk when the power goes, and the file may be behind. A slot
//! lies within one sector, and disks that write sectors whole leave it as it was or as it is to be. One
//! that tears a sector may leave neither slot readable: what had been flushed is then known from batches,
//! heads of segments and snapshots, which lack at most the last commit.

use m2_core::ShardId;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::fault::Fault;
use crate::hash::{self, Hash};
use crate::layout::{FORMAT_VERSION, Slot};
use crate::limits::PAGE_LEN;

/// Bytes of a slot.
pub const SLOT_LEN: usize = size_of::<Slot>();

/// Bytes of the file: each slot has a page of its own.
pub const FILE_LEN: usize = PAGE_LEN + SLOT_LEN;

/// Where the slot with this index (0 or 1) stands in the file.
#[must_use]
pub fn offset(index: usize) -> u64 {
    (index * PAGE_LEN) as u64
}

/// A slot that tells this position.
#[must_use]
pub fn encode(generation: u32, stream: ShardId, position: u64) -> [u8; SLOT_LEN] {
    let mut slot = Slot::new_zeroed();
    slot.magic = Slot::MAGIC;
    slot.position = position.into();
    slot.generation = generation.into();
    slot.stream = stream.0.into();
    slot.version = FORMAT_VERSION.into();
    hash::seal(slot.as_mut_bytes(), &Hash::NONE);
    let mut bytes = [0; SLOT_LEN];
    bytes.copy_from_slice(slot.as_bytes());
    bytes
}

/// The position that a slot tells.
///
/// # Errors
///
/// When it is no slot of this stream.
pub fn decode(bytes: &mut [u8; SLOT_LEN], generation: u32, stream: ShardId) -> Result<u64, Fault> {
    let is_whole = hash::check(&mut bytes[..], &Hash::NONE).is_some();
    let slot = Slot::ref_from_bytes(&bytes[..]).expect("it has the length of a slot");
    if !is_whole || slot.magic != Slot::MAGIC {
        return Err(Fault::Hash);
    }
    if slot.version != FORMAT_VERSION {
        return Err(Fault::Version(slot.version.get()));
    }
    if slot.reserved != [0; 8] {
        return Err(Fault::Reserved);
    }
    if slot.generation != generation || slot.stream != stream.0 {
        return Err(Fault::Foreign);
    }
    Ok(slot.position.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_comes_back_as_it_was_and_any_flipped_bit_is_found() {
        let bytes = encode(4, ShardId(2), 1 << 40);
        assert_eq!(decode(&mut bytes.clone(), 4, ShardId(2)), Ok(1 << 40));
        assert_eq!(decode(&mut bytes.clone(), 4, ShardId(3)), Err(Fault::Foreign));
        assert_eq!(decode(&mut bytes.clone(), 5, ShardId(2)), Err(Fault::Foreign));
        for bit in 0..SLOT_LEN * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&mut bytes, 4, ShardId(2)).is_err(), "bit {bit}");
        }
        assert_eq!(decode(&mut [0; SLOT_LEN], 0, ShardId(0)), Err(Fault::Hash));
    }
}
