//! Memory that will be read or written soon is asked for, so that several misses of the cache are waited for
//! at once.
//!
//! A hint and nothing else: no value changes, nothing is read that could be seen, and where the
//! machine is of another kind nothing happens at all. So its safe twin is to do nothing.

#![allow(unsafe_code)] // one instruction each, in `ask` and `ask_to_own`

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

/// Asks for values that will be written and that another core has read since: a store to a line that is not
/// this core's waits until all others have let go of it, and the stores behind it wait too.
#[inline]
pub fn prefetch_write<T>(values: &mut [T]) {
    let start = values.as_mut_ptr().cast::<u8>().cast_const();
    for line in 0..size_of_val(values).div_ceil(LINE_LEN) {
        ask_to_own(start.wrapping_add(line * LINE_LEN));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn ask_to_own(address: *const u8) {
    // SAFETY: a prefetch may name any address, as above, and PREFETCHW does nothing on an x86_64 that does
    // not know it (AMD64 manual, volume 3; it needs no check of the processor).
    unsafe {
        core::arch::asm!("prefetchw [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn ask_to_own(_: *const u8) {}

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
            let mut values = values;
            prefetch_write(&mut values);
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
            ask_to_own(core::ptr::without_provenance(address));
        }
    }
}
