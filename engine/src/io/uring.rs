//! Through io_uring: what comes is received by the kernel before we ask, what goes is handed over for
//! all links in one call.
//!
//! ```text
//!   add       a place in the table of files; a receive that goes on and on; a poll for the end
//!   wait      one call, unless something has come already
//!   receive   out of the buffers that the kernel filled, which go back to it at once
//!   send      one entry for each link, one call for all; each has ended when it returns
//! ```
//!
//! The kernel fills buffers of a ring that all links share. When it finds none, or its queue of
//! completions full, a receive ends and is begun again here, those that ended first before others. A
//! link that has as many buffers as it may have, because nobody takes what is in them, is not
//! received from until they are taken: then its peer feels it, as the kernel's own buffers fill.
//!
//! This file has `unsafe` code: the kernel is given buffers that it fills, and bytes that it sends.
//! The former are [`Buffers`]', which go only after everything under way was cancelled; the latter are
//! the caller's of [`Io::send`], which does not return, nor unwind, before the kernel has done with
//! them. `epoll.rs` is the safe twin; the tests of `mod.rs` hold that both do the same.

#![allow(unsafe_code)] // see the head of the file

use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU16, Ordering};
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;

use arrayvec::ArrayVec;
use io_uring::types::{BufRingEntry, CancelBuilder, Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::process::{Resource, getrlimit};

use super::desk::{Completion, Desk, Kind, Tag};
use super::{Io, Outgoing, Ready, Received, Taken};
use crate::clock::NS_PER_S;
use crate::limits::{
    COMPLETIONS_LEN, FILES_MAX, RECEIVE_BUFFER_LEN, RECEIVE_BUFFERS_FIRST,
    RECEIVE_BUFFERS_HELD_MAX, RECEIVE_BUFFERS_MAX, SENDS_MAX, SUBMISSIONS_LEN,
};

/// The longest page there is: the ring of buffers begins a page.
const PAGE_LEN: usize = 64 << 10;
/// The one group of buffers.
const GROUP: u16 = 0;
/// A send never waits, and ends in an error where the peer is gone.
const SEND_FLAGS: i32 = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL).bits().cast_signed();

/// How much memory the kernel may fill.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Bytes of a buffer.
    pub(super) buffer_len: usize,
    /// Buffers that are in use from the start: a power of two.
    pub(super) first: u16,
    /// Buffers there may be: a power of two.
    pub(super) max: u16,
    /// Buffers that one link may have until nothing more is received for it.
    pub(super) held_max: u16,
}

/// What the process uses.
const SIZES: Sizes = Sizes {
    buffer_len: RECEIVE_BUFFER_LEN,
    first: RECEIVE_BUFFERS_FIRST,
    max: RECEIVE_BUFFERS_MAX,
    held_max: RECEIVE_BUFFERS_HELD_MAX,
};

/// See the head of the file.
pub(super) struct Uring {
    ring: IoUring,
    /// It begins on the thread that uses it first, and is that thread's alone from then on.
    is_begun: bool,
    /// Places that the kernel's table of files has.
    places_max: usize,
    wake: Arc<OwnedFd>,
    /// The kernel watches it for us.
    is_watching: bool,
    desk: Desk,
    buffers: Buffers,
    /// What became of each send so far.
    sends: ArrayVec<Taken, SENDS_MAX>,
    /// Sends of which no completion has come.
    sends_open: usize,
    /// How often that was so after the call that handed them over.
    pub(super) sends_waited_count: u64,
}

impl core::fmt::Debug for Uring {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Uring").field("desk", &self.desk).finish_non_exhaustive()
    }
}

impl Uring {
    /// For links at `places_max` places, or as many as the process may have descriptors. `wake` is
    /// an eventfd that wakes the shard.
    ///
    /// # Errors
    ///
    /// When the kernel does not permit io_uring, is older than 6.0, or has no memory for it.
    pub(super) fn new(wake: Arc<OwnedFd>, places_max: usize) -> io::Result<Self> {
        Self::with_sizes(wake, places_max, SIZES)
    }

    /// As [`Self::new`], for a test that wants other buffers.
    pub(super) fn with_sizes(
        wake: Arc<OwnedFd>,
        places_max: usize,
        sizes: Sizes,
    ) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_r_disabled()
            .setup_single_issuer()
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS_LEN)
            .build(SUBMISSIONS_LEN)?;
        let places_max = places_max.clamp(1, files_max());
        ring.submitter().register_files_sparse(fixed(places_max).0)?;
        let buffers = Buffers::new(&ring, sizes)?;
        Ok(Self {
            ring,
            is_begun: false,
            places_max,
            wake,
            is_watching: false,
            desk: Desk::new(sizes.max, sizes.held_max),
            buffers,
            sends: ArrayVec::new(),
            sends_open: 0,
            sends_waited_count: 0,
        })
    }

    /// Queues what nobody asks for in words: that we are woken, and receives that are to end, or to
    /// begin.
    fn queue_errands(&mut self) {
        if !self.is_watching {
            let events = u32::from(PollFlags::IN.bits());
            let entry = opcode::PollAdd::new(Fd(self.wake.as_raw_fd()), events).multi(true);
            self.push(entry.build(), Tag::of(Kind::Wake));
            self.is_watching = true;
        }
        while let Some(receive) = self.desk.next_to_cancel() {
            let entry = opcode::AsyncCancel::new(receive.number());
            self.push(entry.build(), Tag::of(Kind::Cancel));
        }
        while self.buffers.with_kernel_count > 0
            && let Some(receive) = self.desk.next_to_receive()
        {
            self.push(opcode::RecvMulti::new(fixed(receive.place), GROUP).build(), receive);
        }
    }

    fn queue_poll(&mut self, kind: Kind, place: usize, events: PollFlags) {
        let entry = opcode::PollAdd::new(fixed(place), u32::from(events.bits()));
        self.push(entry.build(), self.desk.tag(kind, place));
    }

    fn push(&mut self, entry: squeue::Entry, tag: Tag) {
        while self.ring.submission().is_full() {
            self.enter(0, None);
        }
        let entry = entry.user_data(tag.number());
        // SAFETY: only the entry of a send points to memory, which `send` keeps until its completion
        // has come. What receives fill was registered, and is kept by `drop` until all have ended.
        // The descriptor of an entry is `wake`'s, which we own, or one of the kernel's own table.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.expect("there was room a moment ago");
    }

    /// Hands over what is queued, waits for so many completions, or until the time is up, and takes
    /// those that are there.
    fn enter(&mut self, want: usize, patience_ns: Option<u64>) {
        if !self.is_begun {
            let begun = self.ring.submitter().register_enable_rings();
            begun.expect("a ring that was just made can begin");
            self.is_begun = true;
        }
        let entered = match patience_ns {
            None => self.ring.submit_and_wait(want),
            Some(ns) => {
                let part = u32::try_from(ns % NS_PER_S).expect("below 10^9");
                let timeout = Timespec::new().sec(ns / NS_PER_S).nsec(part);
                let arguments = SubmitArgs::new().timespec(&timeout);
                self.ring.submitter().submit_with_args(want, &arguments)
            }
        };
        match entered.map_err(errno) {
            // Time is up, a signal, or completions are to be taken first: what there is is looked at.
            Ok(_) | Err(Errno::TIME | Errno::INTR | Errno::AGAIN | Errno::BUSY) => {}
            Err(error) => panic!("io_uring cannot wait: {error}"),
        }
        self.harvest();
    }

    /// Takes the completions that are there.
    fn harvest(&mut self) {
        for entry in self.ring.completion() {
            let completion = completion(&entry);
            match completion.tag {
                Tag { kind: Kind::Send, place: at, .. } => {
                    self.sends_open -= 1;
                    note_send(&mut self.sends[at], completion.result);
                }
                Tag { kind: Kind::Wake, .. } => {
                    self.is_watching = completion.more;
                    self.desk.take(&completion, &mut self.buffers);
                }
                _ => self.desk.take(&completion, &mut self.buffers),
            }
        }
        self.buffers.grow_if_short();
    }

    /// Whether the kernel has something to do for us that it does only when it is entered.
    fn has_errands(&mut self) -> bool {
        let submission = self.ring.submission();
        !submission.is_empty() || submission.taskrun() || submission.cq_overflow()
    }

    /// Queues a send for each that has bytes left and was not stopped.
    fn queue_sends(&mut self, outgoing: &[Outgoing<'_>]) {
        for (at, it) in outgoing.iter().enumerate() {
            let Taken { count, stopped } = self.sends[at];
            let rest = &it.bytes[count..];
            if stopped.is_none() && !rest.is_empty() {
                let len = u32::try_from(rest.len()).unwrap_or(u32::MAX);
                let entry =
                    opcode::Send::new(fixed(it.place), rest.as_ptr(), len).flags(SEND_FLAGS);
                self.push(entry.build(), Tag { place: at, ..Tag::of(Kind::Send) });
                self.sends_open += 1;
            }
        }
    }

    /// Until each send that was queued has ended. A send that may not wait ends in the very call that
    /// hands it over; if ever one does not, it is waited for.
    fn finish_sends(&mut self) {
        self.enter(0, None);
        while self.sends_open > 0 {
            self.sends_waited_count += 1;
            self.enter(1, None);
        }
    }
}

impl Io for Uring {
    fn add(&mut self, place: usize, socket: &OwnedFd) -> Result<(), Errno> {
        if place >= self.places_max {
            // Places are used again, so that no more are needed than there are descriptors.
            return Err(Errno::MFILE);
        }
        let submitter = self.ring.submitter();
        submitter.register_files_update(fixed(place).0, &[socket.as_raw_fd()]).map_err(errno)?;
        self.desk.add(place);
        self.queue_poll(Kind::HungUp, place, PollFlags::RDHUP);
        Ok(())
    }

    fn remove(&mut self, place: usize, _socket: &OwnedFd) {
        if !self.desk.is_live(place) {
            return;
        }
        // An entry means whoever is at its place when it is handed over: that is still this link.
        while !self.ring.submission().is_empty() {
            self.enter(0, None);
        }
        let submitter = self.ring.submitter();
        // The one error is that nothing is under way.
        let _ = submitter.register_sync_cancel(None, CancelBuilder::fd(fixed(place)).all());
        let emptied = submitter.register_files_update(fixed(place).0, &[-1]);
        emptied.expect("a place of the table can be emptied");
        self.desk.remove(place, &mut self.buffers);
    }

    fn wait(&mut self, patience_ns: Option<u64>, ready: &mut Vec<Ready>) {
        self.harvest();
        self.queue_errands();
        if self.desk.is_quiet() && patience_ns != Some(0) {
            self.enter(1, patience_ns);
        } else if self.has_errands() {
            self.enter(0, None);
        }
        self.desk.tell(ready);
    }

    fn receive(
        &mut self,
        place: usize,
        _socket: &OwnedFd,
        room: &mut [u8],
    ) -> Result<Received, Errno> {
        self.desk.receive(place, room, &mut self.buffers)
    }

    fn send(&mut self, outgoing: &[Outgoing<'_>], taken: &mut ArrayVec<Taken, SENDS_MAX>) {
        let lent = Lent;
        self.sends.clear();
        self.sends.extend(outgoing.iter().map(|_| Taken::default()));
        // One that came short is tried again, which says that there is no room: twice at most, but
        // for rooms that open meanwhile.
        loop {
            self.queue_sends(outgoing);
            if self.sends_open == 0 {
                break;
            }
            self.finish_sends();
        }
        core::mem::forget(lent);
        for (at, it) in outgoing.iter().enumerate() {
            if self.sends[at].stopped == Some(Errno::AGAIN) && self.desk.set_blocked(it.place) {
                self.queue_poll(Kind::Writable, it.place, PollFlags::OUT);
            }
        }
        taken.extend(self.sends.drain(..));
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        if !self.is_begun {
            return;
        }
        // What is queued was never handed over. Of what is under way, nothing fills a buffer hereafter.
        let cancelled = self.ring.submitter().register_sync_cancel(None, CancelBuilder::any());
        let nothing_left = matches!(cancelled.map_err(errno), Ok(()) | Err(Errno::NOENT));
        self.buffers.is_lent = !nothing_left;
    }
}

/// While the kernel has bytes of the caller's: a panic must not have them freed.
struct Lent;

impl Drop for Lent {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// How long the table of files may be: it has as many as the process may have descriptors, so that
/// there is a place for every link.
fn files_max() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit).unwrap_or(usize::MAX).clamp(1, FILES_MAX)
}

/// Zeros, of which the system gives the pages as they are written to.
fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: no layout here has a length of 0.
    let bytes = unsafe { alloc_zeroed(layout) };
    NonNull::new(bytes).unwrap_or_else(|| handle_alloc_error(layout))
}

fn fixed(place: usize) -> Fixed {
    Fixed(u32::try_from(place).expect("the table of files is shorter"))
}

fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

fn completion(entry: &cqueue::Entry) -> Completion {
    let result = entry.result();
    Completion {
        tag: Tag::from_number(entry.user_data()),
        result: u32::try_from(result).map_err(|_| Errno::from_raw_os_error(-result)),
        more: cqueue::more(entry.flags()),
        buffer: cqueue::buffer_select(entry.flags()),
    }
}

fn note_send(taken: &mut Taken, result: Result<u32, Errno>) {
    match result {
        Ok(count) => taken.count += count as usize,
        Err(Errno::INTR) => {}
        Err(error) => taken.stopped = Some(error),
    }
}

/// The buffers that receives fill, and the ring in which the kernel finds those that are empty.
///
/// ```text
///   entries:  | address, len, buffer | ... |     `tail` of them were ever given, modulo their count;
///               ^ behind the first of them         the kernel takes them in this order
///                 stands the tail
/// ```
///
/// Invariant: a buffer is with the kernel, which may write to it, or with us, and then may be read.
#[derive(Debug)]
pub(super) struct Buffers {
    entries: NonNull<BufRingEntry>,
    bytes: NonNull<u8>,
    sizes: Sizes,
    tail: u16,
    /// Buffers in use: more are taken into use when they do not suffice.
    in_use: u16,
    /// They did not suffice since the last harvest began: one link is told of that as well as many.
    is_short: bool,
    with_kernel: Box<[bool]>,
    with_kernel_count: u16,
    /// The kernel may write to them after we are gone: they are never freed.
    is_lent: bool,
}

// SAFETY: both pointers are to memory that is ours alone, but for the kernel, and belongs to no thread.
unsafe impl Send for Buffers {}

impl Buffers {
    fn new(ring: &IoUring, sizes: Sizes) -> io::Result<Self> {
        assert!(sizes.max.is_power_of_two() && (1..=sizes.max).contains(&sizes.first));
        let buffers = Self {
            entries: allocate(Self::entries_layout(sizes)).cast(),
            bytes: allocate(Self::bytes_layout(sizes)),
            sizes,
            tail: 0,
            in_use: 0,
            is_short: false,
            with_kernel: vec![false; sizes.max.into()].into(),
            with_kernel_count: 0,
            is_lent: false,
        };
        let address = buffers.entries.as_ptr() as u64;
        // SAFETY: `entries` has room for `max` of them, a power of two, at the start of a page; it
        // lives until `drop`, before which the ring, a field of `Uring` that stands above this one,
        // is gone.
        let registered =
            unsafe { ring.submitter().register_buf_ring_with_flags(address, sizes.max, GROUP, 0) };
        registered?;
        let mut buffers = buffers;
        buffers.use_up_to(sizes.first);
        Ok(buffers)
    }

    fn entries_layout(sizes: Sizes) -> Layout {
        let len = usize::from(sizes.max) * size_of::<BufRingEntry>();
        Layout::from_size_align(len, PAGE_LEN).expect("a page or so")
    }

    fn bytes_layout(sizes: Sizes) -> Layout {
        let len = usize::from(sizes.max) * sizes.buffer_len;
        Layout::from_size_align(len, PAGE_LEN).expect("some megabytes")
    }

    /// The buffers that there are did not suffice.
    pub(super) fn set_short(&mut self) {
        self.is_short = true;
    }

    /// Takes as many again into use, if they did not suffice and there are more.
    fn grow_if_short(&mut self) {
        if core::mem::take(&mut self.is_short) {
            self.use_up_to(self.in_use.saturating_mul(2).min(self.sizes.max));
        }
    }

    fn use_up_to(&mut self, count: u16) {
        for buffer in self.in_use..count {
            self.give(buffer);
        }
        self.in_use = count;
    }

    /// The kernel has filled a buffer.
    pub(super) fn came(&mut self, buffer: u16) {
        let with_kernel = &mut self.with_kernel[usize::from(buffer)];
        assert!(core::mem::take(with_kernel), "the kernel fills a buffer that it was given, once");
        self.with_kernel_count -= 1;
    }

    /// Gives a buffer to the kernel, which may fill it from now on.
    pub(super) fn give(&mut self, buffer: u16) {
        let with_kernel = &mut self.with_kernel[usize::from(buffer)];
        assert!(!core::mem::replace(with_kernel, true), "a buffer is given once");
        self.with_kernel_count += 1;
        let address = self.address(buffer).as_ptr() as u64;
        let at = usize::from(self.tail & (self.sizes.max - 1));
        let len = u32::try_from(self.sizes.buffer_len).expect("64 KiB or less");
        // SAFETY: `at` is below `max`, for which there is room. No more than `max` buffers are with the
        // kernel, each given once, so it has taken what this entry said before, and reads it again only
        // once the tail below tells it to.
        let entry = unsafe { &mut *self.entries.as_ptr().add(at) };
        entry.set_addr(address);
        entry.set_len(len);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail stands in the first entry, aligned for what it is, and lives as long as it;
        // the kernel only reads it.
        let tail =
            unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.as_ptr()).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// A part of what the kernel has written to a buffer.
    ///
    /// # Panics
    ///
    /// If the kernel may still write to it, or it ends before.
    pub(super) fn bytes(&self, buffer: u16, range: Range<usize>) -> &[u8] {
        assert!(!self.with_kernel[usize::from(buffer)], "only what has come is read");
        assert!(range.start <= range.end && range.end <= self.sizes.buffer_len);
        let start = self.address(buffer).as_ptr();
        // SAFETY: the range lies in the buffer, by the line before, which was zeros when it was
        // allocated; the kernel does not write to it, by the one before that, until `give`, which needs
        // `&mut self`.
        unsafe { core::slice::from_raw_parts(start.add(range.start), range.len()) }
    }

    fn address(&self, buffer: u16) -> NonNull<u8> {
        assert!(buffer < self.sizes.max);
        // SAFETY: within the allocation, by the line above.
        unsafe { self.bytes.add(usize::from(buffer) * self.sizes.buffer_len) }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        if self.is_lent {
            return;
        }
        // SAFETY: both were allocated with these layouts; the ring is gone, and nothing is under way.
        unsafe {
            dealloc(self.entries.as_ptr().cast(), Self::entries_layout(self.sizes));
            dealloc(self.bytes.as_ptr(), Self::bytes_layout(self.sizes));
        }
    }
}
