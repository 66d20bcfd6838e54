//! The first page of a segment: whose it is, where it begins, and what stands before it.
//!
//! A segment that was prepared and never used is all zeros.

use m2_core::ShardId;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::batch::is_zero;
use crate::fault::Fault;
use crate::hash::{self, Hash};
use crate::layout::{FORMAT_VERSION, SegmentHead};
use crate::limits::PAGE_LEN;
use crate::names::SegmentName;
use crate::pages::Pages;

/// A page of a segment.
pub type Page = [u8; PAGE_LEN];

/// What the first page of a segment says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Head {
    /// Which segment.
    pub name: SegmentName,
    /// How many shards its generation has.
    pub shards: usize,
    /// Position of its first record.
    pub position: u64,
    /// How many credits and reversals stand before it in the stream.
    pub money: u64,
    /// Hash of the last batch before it; of the base, in the first segment.
    pub previous: Hash,
}

impl Head {
    /// The page.
    ///
    /// # Panics
    ///
    /// If there are more shards than [`crate::limits::SHARDS_MAX`].
    #[must_use]
    pub fn page(&self) -> Pages {
        let mut page = Pages::zeros(PAGE_LEN);
        let mut head = SegmentHead::new_zeroed();
        head.magic = SegmentHead::MAGIC;
        head.version = FORMAT_VERSION.into();
        head.stream = self.name.stream.0.into();
        head.generation = self.name.generation.into();
        head.segment = self.name.number.into();
        head.shards = u16::try_from(self.shards).expect("SHARDS_MAX is less").into();
        head.position = self.position.into();
        head.money = self.money.into();
        head.previous = self.previous.0;
        page[..size_of::<SegmentHead>()].copy_from_slice(head.as_bytes());
        hash::seal(&mut page[..], &Hash::NONE);
        page
    }

    /// What the page says.
    ///
    /// # Errors
    ///
    /// When it is not the first page of a segment, or was not written by this version.
    pub fn read(page: &mut Page) -> Result<Self, Fault> {
        let is_whole = hash::check(&mut page[..], &Hash::NONE).is_some();
        let (head, rest) = SegmentHead::ref_from_prefix(&page[..]).expect("a page is longer");
        if head.magic != SegmentHead::MAGIC {
            return Err(Fault::NoSegment);
        }
        if head.version != FORMAT_VERSION {
            return Err(Fault::Version(head.version.get()));
        }
        if !is_whole {
            return Err(Fault::Hash);
        }
        if head.reserved != [0; 2] || !is_zero(rest) {
            return Err(Fault::Reserved);
        }
        Ok(Self {
            name: SegmentName {
                generation: head.generation.get(),
                stream: ShardId(head.stream.get()),
                number: head.segment.get(),
            },
            shards: usize::from(head.shards.get()),
            position: head.position.get(),
            money: head.money.get(),
            previous: Hash(head.previous),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            name: SegmentName { generation: 3, stream: ShardId(1), number: 2 },
            shards: 2,
            position: 77,
            money: 5,
            previous: Hash([9; 32]),
        }
    }

    fn page() -> Page {
        head().page()[..].try_into().unwrap()
    }

    #[test]
    fn a_head_comes_back_as_it_was() {
        assert_eq!(Head::read(&mut page()), Ok(head()));
    }

    #[test]
    fn any_flipped_bit_is_found() {
        let page = page();
        for bit in 0..PAGE_LEN * 8 {
            let mut page = page;
            page[bit / 8] ^= 1 << (bit % 8);
            assert!(Head::read(&mut page).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn another_version_is_named_whatever_else_it_changed() {
        let mut page = page();
        page[40] = 2;
        assert_eq!(Head::read(&mut page), Err(Fault::Version(2)));
    }

    #[test]
    fn nonzero_reserved_bytes_are_damage_under_a_right_hash() {
        for offset in [54, 55, 104, PAGE_LEN - 1] {
            let mut page = page();
            page[offset] = 1;
            hash::seal(&mut page[..], &Hash::NONE);
            assert_eq!(Head::read(&mut page), Err(Fault::Reserved), "byte {offset}");
        }
    }
}
