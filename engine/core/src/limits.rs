//! Every limit of the core, with the sum it came from.

/// Most packets in one vector: past 64 a batch gains nothing (measured), before 16 it loses a
/// quarter.
pub const BATCH_MAX: usize = 64;

/// Longest that a PREPARE may be held, whatever the configuration says. STREAM senders give up at
/// 30 s.
pub const HOLD_MS_MAX: u32 = 60_000;

/// More packets a second than one shard can ever forward: twice the best figure measured.
pub const PACKETS_PER_S_MAX: u64 = 20_000_000;

// While all slots circulate, a request id comes round after 2^32 packets. At the highest rate that
// must be later than a late answer to its previous packet can arrive; where few slots circulate,
// `slots.rs` holds them back until it is.
const _: () = assert!((1_u64 << 32) / PACKETS_PER_S_MAX > 2 * (HOLD_MS_MAX as u64) / 1000);

/// Most slots a shard may have: 8 bits of a request id stay for the generation.
pub const IN_FLIGHT_SLOTS_MAX: u32 = 1 << 24;

/// Slots of a shard unless configured: 3 million packets a second held for a third of a second.
pub const IN_FLIGHT_SLOTS_DEFAULT: u32 = 1 << 20;

/// Fewest packets in flight an account gets by default, however many accounts share the slots.
pub const IN_FLIGHT_PACKETS_MIN_DEFAULT: u32 = 1_000;

/// Requests that we answer ourselves (`peer.*`, echo), per account and second: they cost us work
/// and the sender nothing.
pub const OWN_ANSWERS_PER_S: u32 = 100;

/// Notices kept for the log between two drains. What does not fit is counted.
pub const NOTICES_MAX: usize = 1_024;

/// Of these, how many may tell of used up credit: the rest is for evidence of single packets, which is told
/// once.
pub const EXHAUSTIONS_TOLD_MAX: usize = NOTICES_MAX / 2;
/// How long an account's credit that is used up is not told again.
pub const EXHAUSTION_TOLD_EVERY_NS: u64 = 1_000_000_000;

/// What a record takes in a journal, if it has nothing that needs more.
pub const RECORD_LEN: u64 = 64;

/// Bytes of FULFILLs that may wait for their records on a shard, before no more PREPAREs are taken
/// that would add to them: those of a million packets in flight, at twice the usual length. Who is
/// fulfilled with the longest data there is comes to no more than its own packets in flight.
pub const WITHHELD_BYTES_MAX: usize = 256 << 20;

/// Keys of credits, reversals and frozen amounts that a shard keeps: some 100 MB of them. Nobody says
/// yet when a key will not be told of again, and one that is forgotten could count twice; so none is,
/// and beyond this many new ones are refused.
pub const KEYS_MAX: usize = 1 << 20;

/// In-flight packets an account may have when its configuration does not say: its share of the
/// slots, four times over (not all are busy at once), and never less than
/// [`IN_FLIGHT_PACKETS_MIN_DEFAULT`].
#[must_use]
pub fn in_flight_packets_default(slots: u32, account_count: u32) -> u32 {
    let share = u64::from(slots) * 4 / u64::from(account_count.max(1));
    let share = u32::try_from(share).unwrap_or(u32::MAX);
    share.max(IN_FLIGHT_PACKETS_MIN_DEFAULT)
}
