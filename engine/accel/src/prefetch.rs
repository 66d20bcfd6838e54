//! Memory that will be read soon is asked for, so that several misses of the cache are waited for at once.
//!
//! A hint and nothing else: no value changes, nothing is read that could be seen, and where the
//! machine is of another kind nothing happens at all. So its safe twin is to do nothing.

#![allow(unsafe_code)] // one instruction, in `ask`

/// Bytes that come from memory together.
const LINE_LEN: usize = 64;

/// Asks for a value: for each line of it, unless it takes more than four.
#[inline]
pub fn prefetch_read<T>(value: &T) {
    const LINES_MAX: usize = 4;
    let start = core::ptr::from_ref(value).cast::<u8>();
    for line in 0..size_of::<T>().div_ceil(LINE_LEN).min(LINES_MAX) {
        ask(start.wrapping_add(line * LINE_LEN));
    }
}

/// Asks for the value at `index`; does nothing if there is none.
#[inline]
pub fn prefetch_at<T>(values: &[T], index: usize) {
    if let Some(value) = values.get(index) {
        prefetch_read(value);
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn ask(address: *const u8) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: every x86_64 has SSE, and a prefetch may name any address: one that cannot be read is
    // passed over without a fault.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn ask(_: *const u8) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_size_are_as_they_were() {
        fn asked<const LEN: usize>() {
            let values = [[0x5a_u8; LEN]; 3];
            values.iter().for_each(prefetch_read);
            assert_eq!(values, [[0x5a; LEN]; 3]);
        }
        asked::<0>();
        asked::<1>();
        asked::<64>();
        asked::<65>();
        asked::<4_096>();
    }

    #[test]
    fn an_index_outside_of_the_slice_asks_for_nothing() {
        for index in [0, 1, 2, 3, usize::MAX / 64, usize::MAX] {
            prefetch_at(&[7_u64, 8, 9], index);
            prefetch_at::<[u8; 300]>(&[], index);
        }
    }

    /// The address itself does not have to be one.
    #[test]
    fn what_is_not_mapped_gives_no_fault() {
        for address in [0, 1, 4_095, usize::MAX / 2, usize::MAX] {
            ask(core::ptr::without_provenance(address));
        }
    }
}
