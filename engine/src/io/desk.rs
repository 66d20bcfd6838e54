//! What is known of each link that io_uring serves: whether the kernel receives for it, what has come
//! and is not taken, what is behind the last byte, and what the shard is to be told.
//!
//! ```text
//!            next_to_receive               too much is held, or the end is near
//!   Soon  ------------------->  Now  -------------------------------------------->  Until
//!     ^                          |  the receive has ended                             |
//!     |                          v                                                    v
//!     +---- there is room -------+---- too much is held: Paused ---- all is taken ----+
//!                                '---- the last byte has come, or an error: Never
//! ```
//!
//! Invariant: a link that is `Soon` stands once in the list of those to be received for, and no other
//! does; so no two receives of a link are under way, and its bytes come in their order.

use std::collections::VecDeque;

use rustix::io::Errno;

use super::parcels::{Parcels, Queue};
use super::uring::Buffers;
use super::{Ready, Received};

/// What an entry of the kernel's queues is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// The shard is woken.
    Wake,
    /// A receive was cancelled.
    Cancel,
    /// A receive, which goes on and on.
    Receive,
    /// A poll for the end of a connection.
    HungUp,
    /// A poll for room to send.
    Writable,
    /// One send.
    Send,
}

const KINDS: [Kind; 6] =
    [Kind::Wake, Kind::Cancel, Kind::Receive, Kind::HungUp, Kind::Writable, Kind::Send];

/// The number that an entry bears.
///
/// ```text
///   bit 63         32 31           4 3    0
///       | generation |    place     | kind |      a send has its position instead of a place
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Tag {
    pub(super) kind: Kind,
    pub(super) generation: u32,
    pub(super) place: usize,
}

impl Tag {
    /// Of what is no link's.
    pub(super) fn of(kind: Kind) -> Self {
        Self { kind, generation: 0, place: 0 }
    }

    pub(super) fn number(self) -> u64 {
        u64::from(self.generation) << 32 | (self.place as u64) << 4 | self.kind as u64
    }

    pub(super) fn from_number(number: u64) -> Self {
        Self {
            kind: KINDS[usize::try_from(number & 0xf).expect("4 bits")],
            generation: u32::try_from(number >> 32).expect("32 bits"),
            place: usize::try_from(number >> 4 & 0xfff_ffff).expect("28 bits"),
        }
    }
}

/// What the kernel says of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) tag: Tag,
    /// A count, or an error.
    pub(super) result: Result<u32, Errno>,
    /// More will be said of it.
    pub(super) more: bool,
    /// The buffer that was filled.
    pub(super) buffer: Option<u16>,
}

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Desk {
    parcels: Parcels,
    /// Buffers that a link may have until nothing more is received for it.
    held_max: u16,
    /// By place.
    slots: Vec<Slot>,
    /// Places of links of which something is to be told.
    told: VecDeque<usize>,
    woken: bool,
    /// Places of links whose receive is to begin; who waits longest comes first.
    to_receive: VecDeque<usize>,
    /// Places of links whose receive is to end.
    to_cancel: Vec<usize>,
}

/// What is known of the link at a place.
#[derive(Debug, Default)]
struct Slot {
    /// Counts the links that were here: a completion of an earlier one is not this one's.
    generation: u32,
    is_live: bool,
    receiving: Receiving,
    queue: Queue,
    end: Option<End>,
    /// It stands in `told`.
    is_told: bool,
    readable: bool,
    writable: bool,
    /// The kernel watches for room to send.
    is_blocked: bool,
}

/// Whether the kernel receives for a link.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Receiving {
    /// It will not any more.
    #[default]
    Never,
    /// It is to begin: the link stands in `to_receive`.
    Soon,
    /// It does.
    Now,
    /// It does until it is cancelled: the link stands in `to_cancel`, or the kernel was told.
    Until,
    /// It will once what has come is taken.
    Paused,
}

/// What is behind the last byte.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    Peer,
    Failed(Errno),
}

impl Desk {
    /// For so many buffers, of which a link may have `held_max`.
    pub(super) fn new(buffers: u16, held_max: u16) -> Self {
        Self {
            parcels: Parcels::new(buffers),
            held_max,
            slots: Vec::new(),
            told: VecDeque::new(),
            woken: false,
            to_receive: VecDeque::new(),
            to_cancel: Vec::new(),
        }
    }

    /// A link comes to a place.
    ///
    /// # Panics
    ///
    /// If there is one.
    pub(super) fn add(&mut self, place: usize) {
        if place >= self.slots.len() {
            self.slots.resize_with(place + 1, Slot::default);
            // Each link is in each list once at most: nothing is allocated hereafter.
            self.told.reserve(self.slots.len());
            self.to_receive.reserve(self.slots.len());
            self.to_cancel.reserve(self.slots.len());
        }
        let slot = &mut self.slots[place];
        assert!(!slot.is_live, "a place has one link");
        let generation = slot.generation.wrapping_add(1);
        *slot = Slot { generation, is_live: true, receiving: Receiving::Soon, ..Slot::default() };
        self.to_receive.push_back(place);
    }

    /// The link at a place goes, and what it did not take.
    pub(super) fn remove(&mut self, place: usize, buffers: &mut Buffers) {
        let slot = &mut self.slots[place];
        while let Some((buffer, range)) = self.parcels.first(&slot.queue) {
            self.parcels.take(&mut slot.queue, range.len());
            buffers.give(buffer);
        }
        *slot = Slot { generation: slot.generation, ..Slot::default() };
        self.told.retain(|it| *it != place);
        self.to_receive.retain(|it| *it != place);
        self.to_cancel.retain(|it| *it != place);
    }

    pub(super) fn is_live(&self, place: usize) -> bool {
        self.slots.get(place).is_some_and(|slot| slot.is_live)
    }

    pub(super) fn tag(&self, kind: Kind, place: usize) -> Tag {
        Tag { kind, generation: self.slots[place].generation, place }
    }

    /// A link whose receive is to begin: it does.
    pub(super) fn next_to_receive(&mut self) -> Option<Tag> {
        let place = self.to_receive.pop_front()?;
        let slot = &mut self.slots[place];
        assert!(slot.receiving == Receiving::Soon, "only such a link stands there");
        slot.receiving = Receiving::Now;
        Some(self.tag(Kind::Receive, place))
    }

    /// A receive that is to end, and has not ended by itself.
    pub(super) fn next_to_cancel(&mut self) -> Option<Tag> {
        loop {
            let place = self.to_cancel.pop()?;
            if self.slots[place].receiving == Receiving::Until {
                return Some(self.tag(Kind::Receive, place));
            }
        }
    }

    /// Marks a link as one that waits for room to send; `false` if it does already.
    pub(super) fn set_blocked(&mut self, place: usize) -> bool {
        !core::mem::replace(&mut self.slots[place].is_blocked, true)
    }

    /// Nothing is to be told.
    pub(super) fn is_quiet(&self) -> bool {
        self.told.is_empty() && !self.woken
    }

    /// Tells what there is to tell, as far as there is room for it.
    pub(super) fn tell(&mut self, ready: &mut Vec<Ready>) {
        if ready.len() < ready.capacity() && core::mem::take(&mut self.woken) {
            ready.push(Ready::Wake);
        }
        while ready.len() < ready.capacity()
            && let Some(place) = self.told.pop_front()
        {
            let slot = &mut self.slots[place];
            slot.is_told = false;
            let readable = core::mem::take(&mut slot.readable);
            let writable = core::mem::take(&mut slot.writable);
            ready.push(Ready::Link { place, readable, writable, hung_up: false });
        }
    }

    /// Takes in what the kernel says of anything but a send.
    pub(super) fn take(&mut self, completion: &Completion, buffers: &mut Buffers) {
        let Completion { tag, buffer, .. } = *completion;
        if let Some(buffer) = buffer {
            buffers.came(buffer);
        }
        self.woken |= tag.kind == Kind::Wake;
        let slot = self.slots.get_mut(tag.place);
        let Some(slot) = slot.filter(|it| it.is_live && it.generation == tag.generation) else {
            // Of a link that is gone, or of none.
            return buffer.into_iter().for_each(|buffer| buffers.give(buffer));
        };
        match tag.kind {
            Kind::Receive => self.take_received(completion, buffers),
            Kind::HungUp if slot.receiving == Receiving::Now => {
                // An end that comes right behind bytes may wake no receive: one begun anew sees it.
                slot.receiving = Receiving::Until;
                self.to_cancel.push(tag.place);
            }
            Kind::Writable => {
                (slot.is_blocked, slot.writable) = (false, true);
                self.set_told(tag.place);
            }
            Kind::HungUp | Kind::Wake | Kind::Cancel | Kind::Send => {}
        }
    }

    fn take_received(&mut self, completion: &Completion, buffers: &mut Buffers) {
        let Completion { tag: Tag { place, .. }, result, more, buffer } = *completion;
        let slot = &mut self.slots[place];
        match (result, buffer) {
            (Ok(count), Some(buffer)) if count > 0 => {
                self.parcels.push(&mut slot.queue, buffer, count);
                slot.readable = true;
            }
            (result, buffer) => {
                buffer.into_iter().for_each(|buffer| buffers.give(buffer));
                if result == Err(Errno::NOBUFS) {
                    buffers.set_short();
                }
                slot.end = match result {
                    Ok(_) => Some(End::Peer),
                    Err(Errno::NOBUFS | Errno::CANCELED | Errno::INTR | Errno::AGAIN) => None,
                    Err(error) => Some(End::Failed(error)),
                };
                slot.readable |= slot.end.is_some();
            }
        }
        if slot.end.is_some() {
            slot.receiving = Receiving::Never;
        } else if !more {
            self.go_on(place);
        } else if slot.receiving == Receiving::Now && slot.queue.len() >= self.held_max {
            slot.receiving = Receiving::Until;
            self.to_cancel.push(place);
        }
        if self.slots[place].readable {
            self.set_told(place);
        }
    }

    /// A receive has ended that is not the last.
    fn go_on(&mut self, place: usize) {
        let slot = &mut self.slots[place];
        if slot.queue.len() >= self.held_max {
            slot.receiving = Receiving::Paused;
        } else {
            slot.receiving = Receiving::Soon;
            self.to_receive.push_back(place);
        }
    }

    fn set_told(&mut self, place: usize) {
        if !core::mem::replace(&mut self.slots[place].is_told, true) {
            self.told.push_back(place);
        }
    }

    /// Moves what has come for a link into the room there is.
    ///
    /// # Errors
    ///
    /// What became of the connection, once everything before was taken.
    pub(super) fn receive(
        &mut self,
        place: usize,
        room: &mut [u8],
        buffers: &mut Buffers,
    ) -> Result<Received, Errno> {
        let slot = &mut self.slots[place];
        let mut count = 0;
        while count < room.len()
            && let Some((buffer, range)) = self.parcels.first(&slot.queue)
        {
            let len = range.len().min(room.len() - count);
            let bytes = buffers.bytes(buffer, range.start..range.start + len);
            room[count..count + len].copy_from_slice(bytes);
            count += len;
            if self.parcels.take(&mut slot.queue, len) {
                buffers.give(buffer);
            }
        }
        let more = slot.queue.len() > 0 || slot.end.is_some();
        if slot.queue.len() == 0 && slot.receiving == Receiving::Paused {
            self.go_on(place);
        }
        match self.slots[place].end {
            _ if count > 0 => Ok(Received::Bytes { count, more }),
            None => Ok(Received::Nothing),
            Some(End::Peer) => Ok(Received::End),
            Some(End::Failed(error)) => Err(error),
        }
    }
}
