//! The in-flight slots of a shard: what must be known of a PREPARE until it is answered.
//!
//! ```text
//!   request id on the next hop's link = generation << index_bits | index
//!
//!   unused --insert--> in flight --take--> freed (keeps generation, connection, condition)
//!                         ^                 |
//!                         +-----insert------+   generation + 1; which one: `free.rs`
//! ```
//!
//! Few slots circulate where few packets are in flight, so that they stay in the cache; they run
//! through their generations fast, and an id could come round while a late answer to its last packet
//! is still on its way, which would then end another packet. So the generations of a slot are counted
//! in halves, and the next half begins two longest holds after the one before it at the earliest:
//! between two uses of one id there lies a whole half. A freed slot remembers enough to know a late
//! FULFILL until it is used again.
//!
//! The highest index is never a slot's: its ids are for requests that are no packets, so that no answer
//! to one of those, whatever it says, ends a packet. Where the slots were as many as the indices, a table
//! of [`SPARE_SLOT_FROM`] or more has one slot less; a smaller one, where a slot counts, takes one bit more
//! for the index, and its ids come round after half as many packets.
//!
//! Invariant: a slot is in flight, and its deadline noted, or waits exactly once in `free`, or was
//! never used.

use m2_accel::{populate, prefer_large_pages, prefetch_at};

use crate::deadlines::Deadlines;
use crate::free::{Free, Source};
use crate::ids::ConnectionId;
use crate::ledger::{HoldIn, HoldOut};
use crate::limits::IN_FLIGHT_SLOTS_MAX;
use crate::message::Origin;
use crate::record::Record;
use crate::ring::Place;

/// What a packet in flight will need when it ends. Taken out once.
#[derive(Debug)]
#[must_use = "it holds money on two ledgers"]
pub(crate) struct Pending {
    pub(crate) hold_in: HoldIn,
    pub(crate) hold_out: HoldOut,
    pub(crate) origin: Origin,
    /// None where the sender's account wants no records.
    pub(crate) record_place: Option<Place<Record>>,
}

/// What may still come for a packet that has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum After {
    /// It was not fulfilled: a FULFILL that hashes right is evidence, once.
    Evidence,
    /// It was fulfilled, or the evidence is taken: whatever comes is a duplicate.
    Nothing,
}

/// Two lines of the cache, both touched before they are needed: what a packet's end takes out, and
/// what says whether an answer is for it.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Slot {
    pending: Option<Pending>,
    pub(crate) deadline_ns: u64,
    pub(crate) condition: [u8; 32],
    /// The connection that the PREPARE left on.
    pub(crate) connection_out: ConnectionId,
    generation: u32,
    pub(crate) after: After,
    /// When the next half of the generations may begin.
    next_half_at_ns: u64,
}

const _: () = assert!(size_of::<Slot>() == 128);

impl Slot {
    pub(crate) fn in_flight(&self) -> bool {
        self.pending.is_some()
    }
}

/// See the head of the file. From so many slots on, one of them is worth less than half of the ids.
const SPARE_SLOT_FROM: u32 = 1 << 16;

#[derive(Debug)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    free: Free,
    /// Where [`Self::has_room`] has found a slot, until it is taken.
    found: Option<Source>,
    slots_max: u32,
    index_bits: u32,
    /// Bits of a request id; 32 but in a test of what happens when they have all been used.
    id_bits: u32,
    /// How long half of the generations of a slot last at least.
    half_ns: u64,
    seed: u64,
    deadlines: Deadlines,
    in_flight: u32,
}

impl Slots {
    /// Room for `slots_max` packets in flight, or one less as the head of the file says, each held `hold_ns_max` at most. `seed` makes the
    /// first ids unforeseeable.
    pub(crate) fn new(slots_max: u32, seed: u64, hold_ns_max: u64) -> Self {
        Self::with_id_bits(slots_max, seed, hold_ns_max, u32::BITS)
    }

    fn with_id_bits(slots_max: u32, seed: u64, hold_ns_max: u64, id_bits: u32) -> Self {
        assert!((1..=IN_FLIGHT_SLOTS_MAX).contains(&slots_max), "a shard has 1 to 2^24 slots");
        let is_full = slots_max.is_power_of_two() && slots_max >= SPARE_SLOT_FROM;
        let slots_max = slots_max - u32::from(is_full);
        // Room for all from the start: growing would copy megabytes while packets wait.
        let mut slots = Vec::with_capacity(slots_max as usize);
        prefer_large_pages(&mut slots);
        Self {
            slots,
            free: Free::new(slots_max as usize),
            found: None,
            slots_max,
            index_bits: (slots_max + 1).next_power_of_two().trailing_zeros(),
            id_bits,
            half_ns: 2 * hold_ns_max,
            seed,
            deadlines: Deadlines::new(slots_max as usize),
            in_flight: 0,
        }
    }

    /// Has the kernel clear the memory of all slots now, and not when packets wait for it.
    pub(crate) fn populate(&mut self) {
        populate(&mut self.slots);
    }

    /// Whether a slot can be taken now. Slots whose ids would come round too early are set aside.
    #[inline]
    pub(crate) fn has_room(&mut self, now_ns: u64) -> bool {
        self.found = self.source(now_ns);
        self.found.is_some()
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Both holds of every packet in flight.
    pub(crate) fn holds(&self) -> impl Iterator<Item = (&HoldIn, &HoldOut)> {
        let pending = self.slots.iter().filter_map(|slot| slot.pending.as_ref());
        pending.map(|pending| (&pending.hold_in, &pending.hold_out))
    }

    /// Puts a packet in flight and gives the request id for the next hop. [`Self::has_room`] comes
    /// before.
    pub(crate) fn insert(
        &mut self,
        now_ns: u64,
        condition: [u8; 32],
        deadline_ns: u64,
        connection_out: ConnectionId,
        pending: Pending,
    ) -> u32 {
        let (index, generation, mut next_half_at_ns) = self.take_free();
        if begins_half(generation, self.half_bits()) {
            next_half_at_ns = now_ns + self.half_ns;
        }
        let slot = Slot {
            condition,
            deadline_ns,
            connection_out,
            generation,
            after: After::Evidence,
            next_half_at_ns,
            pending: Some(pending),
        };
        if index as usize == self.slots.len() {
            self.slots.push(slot);
        } else {
            self.slots[index as usize] = slot;
        }
        self.deadlines.note(index, deadline_ns);
        self.in_flight += 1;
        self.request_id(index, generation)
    }

    /// The `nth` of the ids that no packet ever has; they come round as those of a slot do.
    pub(crate) fn spare_id(&self, nth: u32) -> u32 {
        self.request_id(self.index_mask(), nth)
    }

    /// The slot that gave out `request_id` last, be it in flight or freed.
    pub(crate) fn find(&self, request_id: u32) -> Option<u32> {
        let index = request_id & self.index_mask();
        let slot = self.slots.get(index as usize)?;
        (self.request_id(index, slot.generation) == request_id).then_some(index)
    }

    /// The id under which the packet of the slot at `index` last left.
    pub(crate) fn id_of(&self, index: u32) -> u32 {
        self.request_id(index, self.slots[index as usize].generation)
    }

    pub(crate) fn get(&self, index: u32) -> &Slot {
        &self.slots[index as usize]
    }

    /// Ends the packet at `index` and frees its slot.
    pub(crate) fn take(&mut self, index: u32, after: After) -> Pending {
        let slot = &mut self.slots[index as usize];
        slot.after = after;
        let pending = slot.pending.take().expect("only a packet in flight is ended");
        match after {
            After::Nothing => self.free.push_warm(index),
            After::Evidence => self.free.push_kept(index),
        }
        self.in_flight -= 1;
        pending
    }

    /// The slot of a packet whose deadline has passed, if there is one; it is sought `from` the slot
    /// where the last was found.
    pub(crate) fn find_due(&mut self, from: u32, now_ns: u64) -> Option<u32> {
        let slots = &self.slots;
        let deadline_of = |index: u32| {
            let slot = slots.get(index as usize).filter(|slot| slot.in_flight())?;
            Some(slot.deadline_ns)
        };
        self.deadlines.find_due(from, now_ns, deadline_of)
    }

    /// Asks for the slot of a request id, so that the misses of a whole vector overlap.
    pub(crate) fn prefetch(&self, request_id: u32) {
        prefetch_at(&self.slots, (request_id & self.index_mask()) as usize);
    }

    /// The evidence for the freed slot at `index` has been taken: from now on duplicates alone.
    pub(crate) fn close(&mut self, index: u32) {
        self.slots[index as usize].after = After::Nothing;
    }

    /// As [`Self::prefetch`], for the slot that the `nth` packet from now will mostly take.
    pub(crate) fn prefetch_free(&self, nth: usize) {
        if let Some(index) = self.free.nth(nth) {
            prefetch_at(&self.slots, index as usize);
        }
    }

    /// Nothing is due before this; something may be due then, while there is anything in flight.
    pub(crate) fn next_deadline_ns(&self) -> Option<u64> {
        (self.in_flight > 0).then(|| self.deadlines.bound_ns())
    }

    /// Where the next slot comes from, if one can be taken.
    #[inline]
    fn source(&mut self, now_ns: u64) -> Option<Source> {
        let has_unused = self.slots.len() < self.slots_max as usize;
        let half_bits = self.half_bits();
        let slots = &self.slots;
        self.free.source(has_unused, |index| {
            let slot = &slots[index as usize];
            let next = slot.generation.wrapping_add(1);
            !begins_half(next, half_bits) || now_ns >= slot.next_half_at_ns
        })
    }

    /// Takes a slot out of the free ones: its index and generation, and when the next half of its
    /// generations may begin.
    fn take_free(&mut self) -> (u32, u32, u64) {
        let found = self.found.take();
        let source = found.expect("has_room() found a slot that can be taken");
        let Some(index) = self.free.take(source) else {
            let unused = u32::try_from(self.slots.len()).expect("at most 2^24 slots");
            return (unused, self.first_generation(unused), 0);
        };
        let slot = &self.slots[index as usize];
        (index, slot.generation.wrapping_add(1), slot.next_half_at_ns)
    }

    /// How many bits of a generation count within a half of those that ids can tell apart.
    fn half_bits(&self) -> u32 {
        self.id_bits - self.index_bits - 1
    }

    fn request_id(&self, index: u32, generation: u32) -> u32 {
        (generation << self.index_bits | index) & (u32::MAX >> (u32::BITS - self.id_bits))
    }

    fn index_mask(&self) -> u32 {
        // At most 24 bits are index.
        (1 << self.index_bits) - 1
    }

    /// Where the generations of a slot start: unlike from slot to slot and from run to run.
    fn first_generation(&self, index: u32) -> u32 {
        let mixed = (self.seed ^ u64::from(index)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as u32
    }
}

/// Whether a half of the generations begins with this one.
fn begins_half(generation: u32, half_bits: u32) -> bool {
    generation & ((1 << half_bits) - 1) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::AccountId;
    use crate::ledger::Ledger;
    use crate::message::{Answer, Conversion};
    use crate::ring::{Ring, Room};
    use core::num::NonZeroU32;

    const CONNECTION: ConnectionId = ConnectionId { account: AccountId(0), epoch: NonZeroU32::MIN };
    const MS: u64 = 1_000_000;

    /// Slots with what a `Pending` is made of.
    struct Bench {
        slots: Slots,
        ledger: Ledger,
        answers: Room<Answer>,
        records: Ring<Record>,
        now_ns: u64,
    }

    impl Bench {
        fn new(slots_max: u32) -> Self {
            Self {
                slots: Slots::new(slots_max, 99, 30_000 * MS),
                ledger: Ledger::new(AccountId(0), 0, 0),
                answers: Room::new(99),
                records: Ring::new(99),
                now_ns: MS,
            }
        }

        fn insert(&mut self, deadline_ns: u64) -> u32 {
            let pending = Pending {
                hold_in: self.ledger.hold_in(1),
                hold_out: self.ledger.hold_out(1),
                origin: Origin {
                    answer_place: self.answers.reserve().unwrap(),
                    connection: CONNECTION,
                    request_id: 5,
                    conversion: Conversion { rate_version: 1, pair: 0 },
                },
                record_place: self.records.reserve(),
            };
            assert!(self.slots.has_room(self.now_ns));
            self.slots.insert(self.now_ns, [7; 32], deadline_ns, CONNECTION, pending)
        }

        /// As many packets in and out at once as there can be; their ids.
        fn churn(&mut self, count_max: usize) -> Vec<u32> {
            let mut ids = Vec::new();
            while ids.len() < count_max && self.slots.has_room(self.now_ns) {
                let id = self.insert(MS);
                let index = self.slots.find(id).unwrap();
                let pending = self.slots.take(index, After::Nothing);
                self.spend(pending);
                ids.push(id);
            }
            ids
        }

        fn spend(&mut self, pending: Pending) {
            self.ledger.release_in(pending.hold_in);
            self.ledger.release_out(pending.hold_out);
            self.answers.give_back(pending.origin.answer_place);
            self.records.give_back(pending.record_place.unwrap());
        }
    }

    #[test]
    fn a_freed_slot_is_known_until_it_is_reused_and_no_longer() {
        let mut bench = Bench::new(1);
        let id = bench.insert(MS);
        let index = bench.slots.find(id).unwrap();
        let pending = bench.slots.take(index, After::Evidence);
        bench.spend(pending);
        assert_eq!(bench.slots.find(id), Some(index));
        assert_eq!(bench.slots.get(index).condition, [7; 32]);
        let next = bench.insert(MS);
        assert_ne!(next, id);
        assert_eq!(bench.slots.find(id), None);
        assert_eq!(bench.slots.find(next), Some(index));
    }

    #[test]
    fn slots_are_reused_oldest_first() {
        let mut bench = Bench::new(4);
        let ids: Vec<u32> = (0..4).map(|_| bench.insert(MS)).collect();
        assert!(!bench.slots.has_room(0));
        for place in [2, 0, 3, 1] {
            let index = bench.slots.find(ids[place]).unwrap();
            let pending = bench.slots.take(index, After::Nothing);
            bench.spend(pending);
        }
        let ids_again: Vec<u32> = (0..4).map(|_| bench.insert(MS)).collect();
        let reused: Vec<u32> = ids_again.iter().map(|id| bench.slots.find(*id).unwrap()).collect();
        assert_eq!(reused, [2, 0, 3, 1]);
    }

    #[test]
    fn with_all_slots_but_one_held_no_id_comes_round_within_two_holds() {
        let mut bench = Bench::new(4);
        // Three bits of index and six of generation, in halves of 32.
        bench.slots = Slots::with_id_bits(4, 99, 30_000 * MS, 9);
        for _ in 0..3 {
            bench.insert(u64::MAX);
        }
        let mut used_at = std::collections::HashMap::new();
        let mut count = 0;
        for _ in 0..10_000 {
            for id in bench.churn(7) {
                count += 1;
                assert!(id < 1 << 9, "nine bits were given, and {id} has more");
                if let Some(before) = used_at.insert(id, bench.now_ns) {
                    assert!(bench.now_ns - before >= 60_000 * MS, "id {id} came round too early");
                }
            }
            bench.now_ns += 777 * MS;
        }
        assert!(count > 32 * 100, "the slot is refused for a while, not for good: {count}");
    }

    #[test]
    fn slots_that_step_back_do_not_stand_before_those_that_need_not() {
        let mut bench = Bench::new(16);
        bench.slots = Slots::with_id_bits(16, 99, 30_000 * MS, 9);
        let ids: Vec<u32> = (0..16).map(|_| bench.insert(u64::MAX)).collect();
        let release = |bench: &mut Bench, id: u32| {
            let index = bench.slots.find(id).unwrap();
            let pending = bench.slots.take(index, After::Nothing);
            bench.spend(pending);
        };
        // Four slots run through their generations, 16 each, until each has to wait.
        ids[..4].iter().for_each(|id| release(&mut bench, *id));
        let count = bench.churn(1_000).len();
        assert!(
            (4 * 8..4 * 16).contains(&count),
            "a half of 8 of each at least, not both: {count}"
        );
        assert!(!bench.slots.has_room(bench.now_ns));
        release(&mut bench, ids[9]);
        assert!(bench.slots.has_room(bench.now_ns));
    }

    /// Goal: an id of an earlier run, or one guessed from another slot's, is an id of none. Method:
    /// the first generation of each slot, for three seeds.
    #[test]
    fn generations_start_unlike_from_slot_to_slot_and_from_run_to_run() {
        let slots = |seed| Slots::new(256, seed, 30_000 * MS);
        for seed in [0, 1, 99] {
            let slots = slots(seed);
            let first = (0..256).map(|index| slots.first_generation(index));
            let generations: std::collections::HashSet<u32> = first.collect();
            assert_eq!(generations.len(), 256, "no two slots are alike under seed {seed}");
            let upper = generations.iter().filter(|&&generation| generation >> 31 == 1).count();
            assert!((64..192).contains(&upper), "{upper} of 256 in the upper half");
        }
        assert_ne!(slots(0).first_generation(0), slots(1).first_generation(0));
        assert_ne!(slots(1).first_generation(0), slots(99).first_generation(0));
    }

    #[test]
    fn one_slot_alone_has_all_generations_there_are() {
        let mut bench = Bench::new(1);
        let first = bench.insert(MS);
        let index = bench.slots.find(first).unwrap();
        let pending = bench.slots.take(index, After::Nothing);
        bench.spend(pending);
        assert_eq!(bench.insert(MS), first.wrapping_add(2), "the other index is nobody's");
    }

    /// Goal: no packet has an id that is spared for other requests. Method: tables around every power of
    /// two, all slots of the small ones in use, and of the large ones the numbers that say it.
    #[test]
    fn no_packet_has_an_id_that_is_spared() {
        for slots_max in 1..=17 {
            let mut bench = Bench::new(slots_max);
            let ids: Vec<u32> = (0..slots_max).map(|_| bench.insert(MS)).collect();
            assert!(!bench.slots.has_room(0), "as many as were asked for, and no more");
            let spared: Vec<u32> = (0..99).map(|nth| bench.slots.spare_id(nth)).collect();
            assert!(spared.iter().all(|id| bench.slots.find(*id).is_none() && !ids.contains(id)));
            assert!(spared.windows(2).all(|two| two[0] != two[1]));
        }
        let table = |slots_max| {
            let slots = Slots::new(slots_max, 99, 30_000 * MS);
            assert!(slots.slots_max <= slots.index_mask(), "the highest index is no slot's");
            (slots.slots_max, slots.index_bits)
        };
        let half = SPARE_SLOT_FROM / 2;
        assert_eq!(table(half), (half, 16));
        assert_eq!(table(SPARE_SLOT_FROM - 1), (SPARE_SLOT_FROM - 1, 16));
        assert_eq!(table(SPARE_SLOT_FROM), (SPARE_SLOT_FROM - 1, 16));
        assert_eq!(table(SPARE_SLOT_FROM + 1), (SPARE_SLOT_FROM + 1, 17));
        assert_eq!(table(IN_FLIGHT_SLOTS_MAX), (IN_FLIGHT_SLOTS_MAX - 1, 24));
    }

    #[test]
    fn what_is_due_comes_out_and_what_was_answered_does_not() {
        let mut bench = Bench::new(4);
        let answered = bench.insert(3 * MS);
        let due = bench.insert(3 * MS);
        let later = bench.insert(9 * MS);
        let index = bench.slots.find(answered).unwrap();
        let pending = bench.slots.take(index, After::Nothing);
        bench.spend(pending);
        let index = bench.slots.find_due(0, 5 * MS).unwrap();
        assert_eq!(bench.slots.id_of(index), due);
        let pending = bench.slots.take(index, After::Evidence);
        bench.spend(pending);
        assert!(bench.slots.find_due(0, 5 * MS).is_none());
        assert_eq!(bench.slots.next_deadline_ns(), Some(9 * MS));
        assert!(bench.slots.get(bench.slots.find(later).unwrap()).in_flight());
        assert_eq!(bench.slots.in_flight(), 1);
    }
}
