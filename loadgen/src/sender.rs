//! The sending side: what is in flight, and what an answer to it says.
//!
//! A request id is a slot's index and its generation. A slot keeps its last packet and id until
//! it is used again, oldest first, so that a second answer is told from one nobody asked for:
//!
//! ```text
//! request id   | generation 12 bits | index 20 bits |
//!
//!  (free) --begin: next generation-->  in flight --take: the id equals--> (free, id kept)
//! ```
//!
//! Invariant: each id that `begin` gave is taken at most once.

use std::collections::VecDeque;

use m2_codec::ilp::{ErrorCode, Fulfill, PacketType, Reject, packet_type};

use crate::limits;
use crate::payload::{Header, Kind};

/// What is remembered of a PREPARE until its answer.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// What its data began with.
    pub header: Header,
    /// When it was due, in nanoseconds after the start.
    pub scheduled_ns: u64,
    /// When it was handed to its link.
    pub sent_ns: u64,
    /// Its expiry, in milliseconds since 1970.
    pub expires_at_ms: u64,
    /// The preimage of its condition, which its fulfillment must be: the same bytes are a stricter
    /// check than the same hash, and a cheaper one.
    pub fulfillment: [u8; 32],
}

/// Why an answer belongs to no PREPARE in flight.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stray {
    /// The PREPARE has been answered already.
    Duplicate,
    /// No PREPARE had this id, or it was too long ago to know.
    Unexpected,
}

impl Sent {
    /// What a place holds before it is written.
    const NOTHING: Self = Self {
        header: Header {
            kind: Kind::Unroutable,
            flow: 0,
            run: 0,
            sequence: 0,
            amount: 0,
            expires_at_ms: 0,
        },
        scheduled_ns: 0,
        sent_ns: 0,
        expires_at_ms: 0,
        fulfillment: [0; 32],
    };
}

#[derive(Debug)]
struct Slot {
    request_id: u32,
    in_flight: bool,
    sent: Sent,
}

/// The PREPAREs of one end that have no answer yet.
#[derive(Debug)]
pub struct InFlight {
    slots: Vec<Slot>,
    /// Free slots, the one that became free first in front.
    free: VecDeque<u32>,
    first_generation: u32,
}

const INDEX_MASK: u32 = (1 << limits::SLOT_BITS) - 1;

impl InFlight {
    /// Nothing in flight; ids begin at an arbitrary generation.
    #[must_use]
    pub fn new(first_generation: u32) -> Self {
        Self {
            slots: Vec::with_capacity(limits::SLOTS_MIN),
            free: VecDeque::with_capacity(limits::SLOTS_MIN),
            first_generation,
        }
    }

    /// PREPAREs without an answer.
    #[must_use]
    pub fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether every request id is taken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.count() == limits::IN_FLIGHT_MAX
    }

    /// Gives a request id and the place to remember its PREPARE in, which is to be written.
    ///
    /// # Panics
    ///
    /// If [`InFlight::is_full`].
    #[inline]
    pub fn begin(&mut self) -> (u32, &mut Sent) {
        let reused =
            if self.slots.len() < limits::SLOTS_MIN { None } else { self.free.pop_front() };
        let Some(index) = reused else { return self.begin_new() };
        let slot = &mut self.slots[index as usize];
        assert!(!slot.in_flight);
        slot.in_flight = true;
        slot.request_id = slot.request_id.wrapping_add(1 << limits::SLOT_BITS);
        (slot.request_id, &mut slot.sent)
    }

    /// Gives back the PREPARE that an answer with this id belongs to, once.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn take(&mut self, request_id: u32) -> Result<Sent, Stray> {
        let index = request_id & INDEX_MASK;
        let slot = self.slots.get_mut(index as usize).ok_or(Stray::Unexpected)?;
        if slot.request_id != request_id {
            return Err(Stray::Unexpected);
        }
        if !slot.in_flight {
            return Err(Stray::Duplicate);
        }
        slot.in_flight = false;
        self.free.push_back(index);
        Ok(slot.sent)
    }

    /// Why an answer with this id belongs to no PREPARE in flight; `None` if it does.
    #[must_use]
    pub fn stray(&self, request_id: u32) -> Option<Stray> {
        match self.slots.get((request_id & INDEX_MASK) as usize) {
            Some(slot) if slot.request_id == request_id => {
                (!slot.in_flight).then_some(Stray::Duplicate)
            }
            _ => Some(Stray::Unexpected),
        }
    }

    #[cold]
    fn begin_new(&mut self) -> (u32, &mut Sent) {
        assert!(!self.is_full());
        let index = u32::try_from(self.slots.len()).expect("at most 2^20 slots");
        let request_id = self.first_generation << limits::SLOT_BITS | index;
        self.slots.push(Slot { request_id, in_flight: true, sent: Sent::NOTHING });
        let slot = self.slots.last_mut().expect("one was pushed");
        (request_id, &mut slot.sent)
    }
}

/// What came back for a PREPARE.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Outcome {
    /// A FULFILL with the preimage of the condition.
    Fulfilled,
    /// The same, but its data is not what the receiver sent.
    FulfilledWithOtherData,
    /// A FULFILL whose 32 bytes are not the preimage of the condition.
    WrongPreimage,
    /// A REJECT with this code.
    Rejected([u8; 3]),
    /// A REJECT with F99 whose data or origin is not what the receiver sent.
    RejectedWithOtherData,
    /// A RESPONSE with bytes that are neither FULFILL nor REJECT.
    Malformed,
    /// A RESPONSE without a packet.
    NoPacket,
    /// A BTP ERROR.
    BtpError,
}

impl Outcome {
    /// Judges the `ilp` bytes of a RESPONSE. `receiver` is the address the PREPARE went to.
    #[must_use]
    pub fn of_packet(packet: &[u8], sent: &Sent, receiver: &[u8]) -> Self {
        match packet_type(packet) {
            Some(PacketType::Fulfill) => Fulfill::new_checked(packet)
                .map_or(Self::Malformed, |fulfill| Self::of_fulfill(&fulfill, sent)),
            Some(PacketType::Reject) => Reject::new_checked(packet)
                .map_or(Self::Malformed, |reject| Self::of_reject(&reject, sent, receiver)),
            _ => Self::Malformed,
        }
    }

    fn of_fulfill(fulfill: &Fulfill<'_>, sent: &Sent) -> Self {
        if *fulfill.fulfillment() != sent.fulfillment {
            return Self::WrongPreimage;
        }
        if sent.header.is(fulfill.data()) { Self::Fulfilled } else { Self::FulfilledWithOtherData }
    }

    fn of_reject(reject: &Reject<'_>, sent: &Sent, receiver: &[u8]) -> Self {
        let code = reject.code();
        if code != ErrorCode::F99_APPLICATION_ERROR {
            return Self::Rejected(code.0);
        }
        let unchanged = sent.header.is(reject.data()) && reject.triggered_by() == receiver;
        if unchanged { Self::Rejected(code.0) } else { Self::RejectedWithOtherData }
    }

    /// Whether a preimage proves that the money moved, whatever else is wrong.
    #[must_use]
    pub fn is_paid(self) -> bool {
        matches!(self, Self::Fulfilled | Self::FulfilledWithOtherData)
    }

    /// Whether this is what a packet of that kind must come back as.
    #[must_use]
    pub fn is_expected(self, kind: Kind) -> bool {
        self == match kind {
            Kind::Fulfilled => Self::Fulfilled,
            Kind::Rejected => Self::Rejected(ErrorCode::F99_APPLICATION_ERROR.0),
            Kind::Expired => Self::Rejected(ErrorCode::R00_TRANSFER_TIMED_OUT.0),
            Kind::WrongFulfillment => Self::Rejected(ErrorCode::F05_WRONG_CONDITION.0),
            Kind::Unroutable => Self::Rejected(ErrorCode::F02_UNREACHABLE.0),
        }
    }

    /// A name for reports; rejects are named by their code.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Fulfilled => "fulfilled".to_owned(),
            Self::FulfilledWithOtherData => "fulfilled with other data".to_owned(),
            Self::WrongPreimage => "FULFILL with a wrong preimage".to_owned(),
            Self::Rejected(code) => format!("rejected with {}", String::from_utf8_lossy(&code)),
            Self::RejectedWithOtherData => {
                "rejected with F99, but not as the receiver wrote it".to_owned()
            }
            Self::Malformed => "a malformed packet".to_owned(),
            Self::NoPacket => "a RESPONSE without a packet".to_owned(),
            Self::BtpError => "a BTP ERROR".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use m2_codec::ilp::{put_fulfill, put_reject};

    use super::*;
    use crate::payload::{Fulfiller, Fulfillment};

    fn sent(sequence: u64) -> Sent {
        let header = Header {
            kind: Kind::Fulfilled,
            flow: 0,
            run: 1,
            sequence,
            amount: 10,
            expires_at_ms: 1_795_000_000_000,
        };
        let proof = Fulfiller::new(1, Fulfillment::Stream).proof(&header.to_bytes());
        let expires_at_ms = header.expires_at_ms;
        let fulfillment = proof.fulfillment;
        Sent { header, scheduled_ns: 0, sent_ns: 0, expires_at_ms, fulfillment }
    }

    fn insert(in_flight: &mut InFlight, sequence: u64) -> u32 {
        let (request_id, place) = in_flight.begin();
        *place = sent(sequence);
        request_id
    }

    #[test]
    fn each_id_is_taken_once_and_then_known_as_a_duplicate() {
        let mut in_flight = InFlight::new(4095);
        let ids: Vec<u32> = (0..100).map(|sequence| insert(&mut in_flight, sequence)).collect();
        assert_eq!(in_flight.count(), 100);
        for (sequence, id) in ids.iter().enumerate().rev() {
            assert_eq!(in_flight.take(*id).unwrap().header.sequence, sequence as u64);
            assert_eq!(in_flight.take(*id).unwrap_err(), Stray::Duplicate);
        }
        assert_eq!(in_flight.count(), 0);
        assert_eq!(in_flight.take(ids[5] ^ 1 << 31).unwrap_err(), Stray::Unexpected);
        assert_eq!(in_flight.take(4095 << 20 | 777).unwrap_err(), Stray::Unexpected);
    }

    /// Goal: no id comes back early, and none is held twice. Method: ten times as many packets as
    /// there are slots, answered in an order of their own, against a set of ids.
    #[test]
    fn slots_are_reused_oldest_first_under_new_ids() {
        let mut in_flight = InFlight::new(0);
        let (mut recent, mut given) = (VecDeque::new(), HashSet::new());
        for sequence in 0..10 * limits::SLOTS_MIN as u64 {
            let id = insert(&mut in_flight, sequence);
            assert!(given.insert(id), "an id came back");
            recent.push_back(id);
            if recent.len() > 300 {
                let id = recent.remove(usize::try_from(sequence % 300).unwrap()).unwrap();
                let _ = in_flight.take(id).unwrap();
                assert_eq!(in_flight.take(id).unwrap_err(), Stray::Duplicate);
            }
        }
        assert_eq!(in_flight.count(), recent.len());
        assert_eq!(in_flight.slots.len(), limits::SLOTS_MIN);
    }

    #[test]
    fn more_than_the_first_slots_can_be_in_flight() {
        let mut in_flight = InFlight::new(9);
        let count = 2 * limits::SLOTS_MIN;
        let ids: Vec<u32> = (0..count as u64).map(|n| insert(&mut in_flight, n)).collect();
        assert_eq!(in_flight.count(), count);
        assert!(ids.into_iter().all(|id| in_flight.take(id).is_ok()));
    }

    #[test]
    fn a_fulfill_counts_only_if_it_is_the_preimage_of_the_condition() {
        let sent = sent(7);
        let fulfiller = Fulfiller::new(1, Fulfillment::Stream);
        let fulfillment = fulfiller.proof(&sent.header.to_bytes()).fulfillment;
        let judged = |fulfillment: &[u8; 32], data: &[u8]| {
            let mut packet = Vec::new();
            put_fulfill(&mut packet, fulfillment, data);
            Outcome::of_packet(&packet, &sent, b"test.bob")
        };
        assert_eq!(judged(&fulfillment, &sent.header.to_bytes()), Outcome::Fulfilled);
        assert_eq!(judged(&fulfillment, b"else"), Outcome::FulfilledWithOtherData);
        for bit in 0..256 {
            let mut changed = fulfillment;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(judged(&changed, &sent.header.to_bytes()), Outcome::WrongPreimage);
        }
    }

    #[test]
    fn a_reject_of_the_receiver_must_come_back_as_it_was_sent() {
        let sent = sent(7);
        let data = sent.header.to_bytes();
        let judged = |code, triggered_by: &[u8], data: &[u8]| {
            let mut packet = Vec::new();
            put_reject(&mut packet, code, triggered_by, b"no", data);
            Outcome::of_packet(&packet, &sent, b"test.bob")
        };
        let f99 = ErrorCode::F99_APPLICATION_ERROR;
        assert_eq!(judged(f99, b"test.bob", &data), Outcome::Rejected(*b"F99"));
        assert_eq!(judged(f99, b"test.eve", &data), Outcome::RejectedWithOtherData);
        assert_eq!(judged(f99, b"test.bob", &data[..31]), Outcome::RejectedWithOtherData);
        let f02 = ErrorCode::F02_UNREACHABLE;
        assert_eq!(judged(f02, b"test.connector", b""), Outcome::Rejected(*b"F02"));
        assert_eq!(Outcome::of_packet(b"\x0c\x00", &sent, b"test.bob"), Outcome::Malformed);
        assert_eq!(Outcome::of_packet(b"", &sent, b"test.bob"), Outcome::Malformed);
    }

    #[test]
    fn each_kind_has_exactly_one_expected_outcome() {
        let outcomes = [
            Outcome::Fulfilled,
            Outcome::Rejected(*b"F99"),
            Outcome::Rejected(*b"R00"),
            Outcome::Rejected(*b"F05"),
            Outcome::Rejected(*b"F02"),
            Outcome::Rejected(*b"T04"),
            Outcome::FulfilledWithOtherData,
            Outcome::WrongPreimage,
            Outcome::RejectedWithOtherData,
            Outcome::Malformed,
            Outcome::NoPacket,
            Outcome::BtpError,
        ];
        for kind in Kind::ALL {
            let expected: Vec<usize> =
                (0..outcomes.len()).filter(|&i| outcomes[i].is_expected(kind)).collect();
            assert_eq!(expected, [kind.index()]);
        }
    }
}
