//! Bytes that lie at a page: what a disk may read from where they are, around the page cache.
//!
//! Invariant: every byte below the length was written by the caller, or is 0.

use core::fmt;
use core::ops::{Deref, DerefMut};

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::limits::PAGE_LEN;
use crate::segment::Page;

/// A page that lies at a multiple of its length.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C, align(4096))]
struct Aligned(Page);

const _: () = assert!(align_of::<Aligned>() == PAGE_LEN && size_of::<Aligned>() == PAGE_LEN);

/// As a `Vec<u8>` that begins at a multiple of [`PAGE_LEN`]: `open(2)` under `O_DIRECT` wants memory
/// that is aligned as the disk's blocks are, and no block is larger than a page.
#[derive(Clone, Default)]
pub struct Pages {
    /// As many as ever were in use, so that one that is filled anew need not be cleared.
    pages: Vec<Aligned>,
    len: usize,
}

impl Pages {
    /// None yet, with memory for so many.
    #[must_use]
    pub(crate) fn with_capacity(len: usize) -> Self {
        Self { pages: Vec::with_capacity(len.div_ceil(PAGE_LEN)), len: 0 }
    }

    /// So many bytes that are 0.
    ///
    /// # Panics
    ///
    /// If there is no memory for them.
    #[must_use]
    pub fn zeros(len: usize) -> Self {
        let pages = Aligned::new_vec_zeroed(len.div_ceil(PAGE_LEN));
        Self { pages: pages.expect("there is memory for a few pages"), len }
    }

    /// Adds bytes at the end.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let start = self.len;
        self.make_room(start + bytes.len());
        self[start..].copy_from_slice(bytes);
    }

    /// Adds zeros up to `len`.
    ///
    /// # Panics
    ///
    /// If there are more bytes already.
    pub fn pad(&mut self, len: usize) {
        let start = self.len;
        self.make_room(len);
        self[start..].fill(0);
    }

    /// Removes all bytes; their memory is kept.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    fn make_room(&mut self, len: usize) {
        assert!(len >= self.len, "bytes are only added");
        let count = len.div_ceil(PAGE_LEN);
        if count > self.pages.len() {
            self.pages.resize(count, Aligned([0; PAGE_LEN]));
        }
        self.len = len;
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.pages.as_bytes()[..self.len]
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.pages.as_mut_bytes()[..self.len]
    }
}

impl From<&[u8]> for Pages {
    fn from(bytes: &[u8]) -> Self {
        let mut pages = Self::default();
        pages.extend_from_slice(bytes);
        pages
    }
}

impl PartialEq for Pages {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Pages {}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pages").field(&&**self).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Extend(Vec<u8>),
        Pad(usize),
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => prop::collection::vec(any::<u8>(), 0..6000).prop_map(Step::Extend),
            2 => (0..9000_usize).prop_map(Step::Pad),
            1 => Just(Step::Clear),
        ]
    }

    proptest! {
        #[test]
        fn they_hold_what_a_vec_holds_at_a_page(steps in prop::collection::vec(step(), 0..20)) {
            let (mut pages, mut model) = (Pages::default(), Vec::new());
            for step in steps {
                match step {
                    Step::Extend(bytes) => {
                        pages.extend_from_slice(&bytes);
                        model.extend(bytes);
                    }
                    Step::Pad(more) => {
                        let len = model.len() + more;
                        pages.pad(len);
                        model.resize(len, 0);
                    }
                    Step::Clear => {
                        pages.clear();
                        model.clear();
                    }
                }
                prop_assert_eq!(&pages[..], &model[..]);
                prop_assert!(pages.as_ptr().addr().is_multiple_of(PAGE_LEN));
                prop_assert_eq!(&pages, &Pages::from(&model[..]));
            }
            prop_assert_eq!(&Pages::zeros(model.len())[..], vec![0; model.len()]);
        }
    }
}
