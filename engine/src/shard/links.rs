//! The links of a shard, and where the core's packets leave: on them, or to other shards.
//!
//! An account has at most one link that is open and one that is closing: the former carries packets,
//! the latter only gets rid of the bytes it still has.

use std::collections::VecDeque;

#[cfg(feature = "forwarder")]
use m2_codec::btp::FrameType;
use m2_codec::ilp::{self, ForwardedPrepare, PacketType};
use m2_core::{AccountId, Answer, ConnectionId, Egress, Forward, ShardId};
use rustix::fd::OwnedFd;

use super::crossing::Ways;
use super::message::{Event, LinkCounters};
use super::rx::Rx;
use super::talk::Talk;
use super::tx::Tx;
use crate::limits::FULFILL_PATIENCE_NS;

/// One connection past its handshake.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) socket: OwnedFd,
    pub(super) connection: ConnectionId,
    pub(super) rx: Rx,
    pub(super) tx: Tx,
    pub(super) state: State,
    pub(super) bad_frames: u32,
    /// When anything came last, on the monotonic clock.
    pub(super) heard_ns: u64,
    /// We asked since then whether the peer lives.
    pub(super) pinged: bool,
    /// RFC 6455 pings exist here; elsewhere TCP's keepalive must do.
    pub(super) websocket: bool,
    /// By stream: the position that FULFILLs had reached when none waited here last.
    pub(super) delivered: Vec<u64>,
    /// What settlement processes say through it.
    pub(super) talk: Talk,
    /// While FULFILLs wait: what the kernel must have taken by when.
    pub(super) stall: Option<Stall>,
}

/// FULFILLs wait, and so does what was put before them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stall {
    /// What [`Tx::taken`] must come to.
    until_taken: u64,
    /// Since when, on the monotonic clock.
    since_ns: u64,
}

impl Stall {
    /// Whether FULFILLs have waited for too long. Looked at again and again: all that waits when it is
    /// seen first is to be `taken` in time; what came behind it, as long after that.
    pub(super) fn look(
        stall: &mut Option<Self>,
        fulfill_waits: bool,
        taken: u64,
        end: u64,
        now_ns: u64,
    ) -> bool {
        match stall {
            _ if !fulfill_waits => *stall = None,
            Some(Self { until_taken, since_ns }) if taken < *until_taken => {
                return now_ns - *since_ns >= FULFILL_PATIENCE_NS;
            }
            _ => *stall = Some(Self { until_taken: end, since_ns: now_ns }),
        }
        false
    }
}

/// What a link is good for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    /// Packets go both ways.
    Open,
    /// What waits is sent, what comes is dropped, until both sides have ended or the time is up.
    Closing {
        /// On the monotonic clock.
        deadline_ns: u64,
        /// All was sent and our side has ended.
        ended: bool,
    },
}

/// The places of an account's links.
#[derive(Clone, Copy, Debug, Default)]
struct Places {
    open: Option<usize>,
    closing: Option<usize>,
}

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Links {
    places: Vec<Option<Link>>,
    free: Vec<usize>,
    by_account: Vec<Places>,
    /// Places of links that have something to flush, or are to be closed for being full.
    dirty: Vec<usize>,
    /// Bytes put since the last flush.
    put_bytes: usize,
    egress_bytes_max: usize,
    pub(super) counters: LinkCounters,
    /// What the control thread must not miss, until its queue has room.
    pub(super) news: VecDeque<Event>,
    /// To the other shards.
    pub(super) ways: Ways,
}

impl Links {
    pub(super) fn new(accounts: usize, egress_bytes_max: usize, ways: Ways) -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            by_account: vec![Places::default(); accounts],
            dirty: Vec::new(),
            put_bytes: 0,
            egress_bytes_max,
            counters: LinkCounters::default(),
            news: VecDeque::new(),
            ways,
        }
    }

    /// Bytes that wait for an account's peer to read.
    pub(super) fn waiting_bytes(&self, account: AccountId) -> usize {
        let Places { open, closing } = self.by_account[index(account)];
        let links = [open, closing].into_iter().flatten();
        links.filter_map(|place| self.places[place].as_ref()).map(|link| link.tx.waiting()).sum()
    }

    /// Takes a link in as its account's open one.
    ///
    /// # Panics
    ///
    /// If the account has an open one: that was to be closed first.
    pub(super) fn insert(&mut self, link: Link) -> usize {
        let place = self.free.pop().unwrap_or(self.places.len());
        if place == self.places.len() {
            self.places.push(None);
        }
        let open = &mut self.by_account[index(link.connection.account)].open;
        assert!(open.is_none(), "an account has one open link");
        *open = Some(place);
        self.places[place] = Some(link);
        place
    }

    /// Makes an account's open link its closing one; gives back the one that was closing before.
    pub(super) fn set_closing(&mut self, place: usize, deadline_ns: u64) -> Option<usize> {
        let link = self.places[place].as_mut().expect("only a link in place is closed");
        assert!(link.state == State::Open, "a link is closed once");
        link.state = State::Closing { deadline_ns, ended: false };
        let places = &mut self.by_account[index(link.connection.account)];
        places.open = None;
        places.closing.replace(place)
    }

    /// Takes a link out. Its place may be another's at once, so no list has it any more.
    pub(super) fn remove(&mut self, place: usize) -> Option<Link> {
        let link = self.places.get_mut(place)?.take()?;
        self.dirty.retain(|dirty| *dirty != place);
        let places = &mut self.by_account[index(link.connection.account)];
        for slot in [&mut places.open, &mut places.closing] {
            if *slot == Some(place) {
                *slot = None;
            }
        }
        self.free.push(place);
        Some(link)
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut Link> {
        self.places.get_mut(place)?.as_mut()
    }

    pub(super) fn get(&self, place: usize) -> Option<&Link> {
        self.places.get(place)?.as_ref()
    }

    /// Place of an account's open link.
    pub(super) fn open_place(&self, account: AccountId) -> Option<usize> {
        self.by_account[index(account)].open
    }

    /// Writes a PREPARE to a connection that has room, as it came.
    #[cfg(feature = "forwarder")]
    pub(super) fn pass_on(&mut self, to: ConnectionId, request_id: u32, packet: &[u8]) {
        let place = self.place_of(to).expect("it was asked whether there is room");
        self.put(place, |tx| tx.put_packet(FrameType::Message, request_id, packet));
    }

    /// An account's open connection.
    #[cfg(feature = "forwarder")]
    pub(super) fn connection(&self, account: AccountId) -> Option<ConnectionId> {
        self.places[self.open_place(account)?].as_ref().map(|link| link.connection)
    }

    /// Every place, those where there is no link as well.
    pub(super) fn places(&self) -> core::ops::Range<usize> {
        0..self.places.len()
    }

    /// Links of both kinds.
    pub(super) fn count(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Links that carry packets.
    pub(super) fn open_count(&self) -> usize {
        self.places.iter().flatten().filter(|link| link.state == State::Open).count()
    }

    /// A place to flush, each once.
    pub(super) fn next_dirty(&mut self) -> Option<usize> {
        let Some(place) = self.dirty.pop() else {
            self.put_bytes = 0;
            return None;
        };
        let link = self.get_mut(place).expect("a link that is removed is dirty no more");
        assert!(core::mem::replace(&mut link.tx.dirty, false), "a link is dirty once");
        Some(place)
    }

    /// Up to which position of a stream every FULFILL is with the kernel, or was lost with its link:
    /// those below `given` were given to links, and `before` is where they were with the kernel last.
    pub(super) fn delivered(&mut self, stream: usize, before: u64, given: u64) -> u64 {
        let mut least = given;
        for link in self.places.iter_mut().flatten() {
            if link.delivered.len() <= stream {
                link.delivered.resize(stream + 1, before);
            }
            let reached = &mut link.delivered[stream];
            if !link.tx.fulfill_waits() {
                *reached = given;
            }
            least = least.min(*reached);
        }
        least.max(before)
    }

    /// Bytes put since all links were flushed.
    pub(super) fn put_bytes(&self) -> usize {
        self.put_bytes
    }

    /// Has a link flushed at the next occasion.
    pub(super) fn set_dirty(&mut self, place: usize) {
        if let Some(link) = self.places[place].as_mut()
            && !core::mem::replace(&mut link.tx.dirty, true)
        {
            self.dirty.push(place);
        }
    }

    /// Writes to a link, unless it is full, and sees whether it is now.
    pub(super) fn put(&mut self, place: usize, write: impl FnOnce(&mut Tx)) {
        let cap = self.egress_bytes_max;
        let Some(link) = self.places[place].as_mut() else { return };
        if link.tx.full {
            return;
        }
        let before = link.tx.waiting();
        write(&mut link.tx);
        let waiting = link.tx.waiting();
        link.tx.full = waiting > cap;
        self.put_bytes += waiting - before;
        self.set_dirty(place);
    }

    /// Where packets of this very connection go.
    pub(super) fn place_of(&self, to: ConnectionId) -> Option<usize> {
        let place = self.by_account[index(to.account)].open?;
        let link = self.places[place].as_ref()?;
        (link.connection == to).then_some(place)
    }

    fn count_lost(&mut self, packet: &[u8]) {
        if ilp::packet_type(packet) == Some(PacketType::Fulfill) {
            self.counters.fulfills_unsent += 1;
        }
    }
}

impl Egress for Links {
    fn below_half(&self, to: ConnectionId) -> bool {
        let link = self.place_of(to).and_then(|place| self.places[place].as_ref());
        link.is_some_and(|link| link.tx.waiting() < self.egress_bytes_max / 2)
    }

    fn prepare(&mut self, to: ConnectionId, request_id: u32, packet: ForwardedPrepare<'_>) {
        let place = self.place_of(to).expect("the core asked whether there is room");
        self.put(place, |tx| tx.put_prepare(request_id, &packet));
    }

    fn answer(&mut self, to: ConnectionId, request_id: u32, packet: &[u8]) {
        match self.place_of(to) {
            Some(place) if !self.places[place].as_ref().is_some_and(|link| link.tx.full) => {
                self.put(place, |tx| tx.put_answer(request_id, packet));
            }
            // The commit stands; that the peer does not learn of it is counted.
            _ => self.count_lost(packet),
        }
    }

    fn forward_room(&self, to: ShardId) -> bool {
        self.ways.forward_room(to)
    }

    fn forward(&mut self, to: ShardId, forward: Forward, packet: &[u8]) {
        self.ways.forward(to, forward, packet);
    }

    fn give_back(&mut self, to: ShardId, answer: Answer, packet: &[u8]) {
        self.ways.give_back(to, answer, packet);
    }
}

fn index(account: AccountId) -> usize {
    account.0 as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_stalls_when_what_waits_is_not_taken_in_time_and_not_by_reading_slowly() {
        const MINUTE: u64 = FULFILL_PATIENCE_NS;
        let mut stall = None;
        let mut look = |waits, taken, end, now| Stall::look(&mut stall, waits, taken, end, now);
        assert!(!look(true, 0, 100, 0));
        assert!(!look(true, 99, 900, MINUTE - 1));
        // In time; what came meanwhile has as long.
        assert!(!look(true, 100, 900, MINUTE));
        assert!(!look(true, 899, 900, 2 * MINUTE - 1));
        assert!(look(true, 899, 900, 2 * MINUTE));
        // No FULFILL waits any more, whatever else does.
        assert!(!look(false, 899, 900, 9 * MINUTE));
        assert!(!look(true, 899, 900, 9 * MINUTE));
    }
}
