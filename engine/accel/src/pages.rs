//! Large tables on large pages, which are there before they are needed: the kernel is asked for pages of 2 MiB
//! where it gives 4 KiB unasked, and to clear them now.
//!
//! Tables that are read at random, of slots and of routes, take tens of megabytes. In pages of 4 KiB
//! the processor cannot know where they all are, and each look waits for a walk through the page
//! tables first; in a virtual machine that is a walk through two. A prefetch waits for it as well.
//!
//! It is advice and no more: what the memory holds stays, and a kernel that does not know it, or has
//! no large page left, goes on with small ones. So its safe twin is to do nothing.

#![allow(unsafe_code)] // one call, in `advise`

use rustix::mm::{Advice, madvise};

/// Smallest table for which large pages are asked: below, the processor knows all its pages.
const LEN_MIN: usize = 4 << 20;

/// Asks for large pages under a table's whole capacity, used or not. Best before it is first used: what
/// is there already moves when the kernel gets to it.
pub fn prefer_large_pages<T>(table: &mut Vec<T>) {
    if table.capacity() * size_of::<T>() >= LEN_MIN {
        advise(table, Advice::LinuxHugepage);
    }
}

/// Takes a table's whole capacity from the kernel now, so that nobody waits for it later: to clear a page
/// of 2 MiB takes 0.2 ms when it is first used, and 4 ms where a virtual machine's host has to find it
/// first (measured, Linux 6.18). Before Linux 5.14, or with too little memory, it is given later all the same.
pub fn populate<T>(table: &mut Vec<T>) {
    advise(table, Advice::LinuxPopulateWrite);
}

fn advise<T>(table: &mut Vec<T>, advice: Advice) {
    let len = table.capacity() * size_of::<T>();
    let page_len = rustix::param::page_size();
    let start = table.as_mut_ptr().cast::<u8>();
    // Whole pages alone: those at the ends may be others' as well.
    let skipped = start.align_offset(page_len);
    let len = len.saturating_sub(skipped) / page_len * page_len;
    if len == 0 {
        return;
    }
    let first = start.wrapping_add(skipped);
    // SAFETY: the pages lie in one allocation, which is ours for the time of the call, as the table is
    // borrowed; both advices change neither what they hold nor whether they may be read or written.
    let advised = unsafe { madvise(first.cast(), len, advice) };
    // A kernel that does not know it says that it is none.
    let _ = advised;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_table_holds_stays() {
        for capacity in [0_usize, 1, 1_000, 1 << 20, (3 << 20) + 7] {
            let mut table = Vec::with_capacity(capacity);
            table.extend((0..capacity as u64 / 2).map(|number| number * 3));
            prefer_large_pages(&mut table);
            populate(&mut table);
            table.extend((capacity as u64 / 2..capacity as u64).map(|number| number * 3));
            assert!(table.iter().zip(0..).all(|(value, number)| *value == number * 3));
        }
    }
}
