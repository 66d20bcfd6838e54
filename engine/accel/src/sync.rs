//! Atomics, cells and bytes that two threads share: the standard library's, or, built with
//! `--cfg loom`, those of loom, which tries every order of what two threads do with them.
//!
//! Both halves have the same names. Invariant: none of the code above asks which half it has.

#[cfg(loom)]
pub(crate) use self::watched::{AtomicBool, AtomicUsize, Bytes, Lent, UnsafeCell, fence};
#[cfg(loom)]
pub(crate) use loom::sync::Arc;

#[cfg(not(loom))]
pub(crate) use self::plain::{AtomicBool, AtomicUsize, Bytes, Lent, UnsafeCell, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::Arc;

#[cfg(not(loom))]
#[allow(unsafe_code)] // one block, in `Bytes::new`
mod plain {
    pub(crate) use core::sync::atomic::{AtomicBool, AtomicUsize, fence};

    /// As loom has it: pointers are lent to a closure.
    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(core::cell::UnsafeCell::new(value))
        }

        #[inline]
        pub(crate) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
            read(self.0.get())
        }

        #[inline]
        pub(crate) fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
            write(self.0.get())
        }
    }

    /// Bytes of which each part has one user at a time.
    #[derive(Debug)]
    pub(crate) struct Bytes(Box<[core::cell::UnsafeCell<u8>]>);

    /// How long a part is used: loom wants to know.
    #[derive(Debug)]
    pub(crate) struct Lent;

    impl Lent {
        #[inline]
        pub(crate) fn nothing() -> Self {
            Self
        }
    }

    impl Bytes {
        pub(crate) fn new(len: usize) -> Self {
            // The kernel gives the memory when it is first used: the rings of many shards are many bytes.
            let bytes = Box::<[core::cell::UnsafeCell<u8>]>::new_zeroed_slice(len);
            // SAFETY: a byte of zero is a u8, and an `UnsafeCell` of a u8 has no other bits than that.
            Self(unsafe { bytes.assume_init() })
        }

        pub(crate) fn len(&self) -> usize {
            self.0.len()
        }

        /// A pointer to a part, which is valid as long as these bytes are there.
        ///
        /// # Panics
        ///
        /// If they do not have it.
        #[inline]
        pub(crate) fn lend(&self, start: usize, len: usize) -> (*mut [u8], Lent) {
            let part = &self.0[start..start + len];
            let first = core::cell::UnsafeCell::raw_get(part.as_ptr());
            (core::ptr::slice_from_raw_parts_mut(first, len), Lent)
        }
    }
}

#[cfg(loom)]
#[allow(unsafe_code, reason = "loom runs one thread at a time")]
mod watched {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicUsize, fence};

    /// Bytes of which each part has one user at a time, which is watched byte by byte.
    #[derive(Debug)]
    pub(crate) struct Bytes {
        bytes: core::cell::UnsafeCell<Box<[u8]>>,
        watched: Box<[UnsafeCell<()>]>,
    }

    /// Until this is dropped nobody else may use the part.
    pub(crate) struct Lent(#[expect(dead_code, reason = "held")] Vec<loom::cell::MutPtr<()>>);

    impl Lent {
        pub(crate) fn nothing() -> Self {
            Self(Vec::new())
        }
    }

    impl Bytes {
        pub(crate) fn new(len: usize) -> Self {
            let watched = (0..len).map(|_| UnsafeCell::new(())).collect();
            Self { bytes: core::cell::UnsafeCell::new(vec![0; len].into()), watched }
        }

        pub(crate) fn len(&self) -> usize {
            self.watched.len()
        }

        pub(crate) fn lend(&self, start: usize, len: usize) -> (*mut [u8], Lent) {
            let lent = self.watched[start..start + len].iter().map(UnsafeCell::get_mut).collect();
            // SAFETY: loom runs one thread at a time, and the box itself is never changed.
            let all = unsafe { (*self.bytes.get()).as_mut_ptr() };
            (core::ptr::slice_from_raw_parts_mut(all.wrapping_add(start), len), Lent(lent))
        }
    }

    // SAFETY: loom runs one thread at a time.
    unsafe impl Send for Lent {}
}
