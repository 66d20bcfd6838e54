//! Every limit of the journal, with the sum it came from.

use crate::layout::record::{POSITIONS_IN_BLOCK, POSITIONS_IN_HEAD};

/// Bytes of a block: a record takes one or more.
pub const BLOCK_LEN: usize = 64;

/// Bytes of a page: batches begin at a multiple of it, so that what is durable is never written
/// again. File systems and disks write no less at once.
pub const PAGE_LEN: usize = 4096;

/// Bytes of a BLAKE3 hash.
pub const HASH_LEN: usize = 32;

/// Bytes of what tells one journal from another.
pub const JOURNAL_ID_LEN: usize = 16;

/// Largest batch with its padding. It is read and hashed before any record of it counts, and stays
/// in a core's second cache meanwhile; past some 16 KiB hashing gets no faster.
pub const BATCH_BYTES_MAX: usize = 256 << 10;

/// Most bytes in one write and flush. A flush takes about as long whatever its size, so larger is
/// better, but what is left at the end of a segment is lost when the next write does not fit.
pub const COMMIT_BYTES_MAX: usize = 4 << 20;

/// Shards of a switch. Twice the cores of any machine that we would run on.
pub const SHARDS_MAX: usize = 256;

/// Bytes of a segment unless configured: a million records.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;

/// Fewest bytes that a commit may have: one batch of any record.
pub const COMMIT_BYTES_MIN: usize = 12 << 10;

/// Smallest segment: the first page and one commit.
pub const SEGMENT_BYTES_MIN: u64 = (PAGE_LEN + COMMIT_BYTES_MIN) as u64;

/// Largest segment: the whole of it may be read when a tail is cut off.
pub const SEGMENT_BYTES_MAX: u64 = 4 << 30;

/// While room is short, a commit waits until it fills a page, or until its oldest record has waited for
/// so long (nanoseconds): a trickle of records that takes a page for each would use up in a moment what
/// is kept for all that is in flight. It is little beside what a FULFILL of a `sync` account may wait.
pub const PACK_NS: u64 = 20_000_000;

/// Records that nobody waits for are flushed after this part of either bound: the rest is for the flush,
/// and for the journal thread to get a core. The clock begins when the thread has seen the first of
/// them, and it looks as often: so of a trickle half of the time is gone. With half of 10 ms left,
/// FULFILLs at a million pairs a second on two cores waited at p99 for 20 ms, with three quarters for 7
/// (medians of seven runs of a second in turns, `m2-load run --rate 1000000` over TCP, Linux 6.18; where
/// nothing is recorded, 8).
pub const ASYNC_PARTS: u64 = 4;

/// When nothing else is written for so long (nanoseconds), a batch without records tells which FULFILLs
/// were handed out since the last one, if any were: else a process that is killed while it has nothing
/// to do would list them as perhaps undelivered.
pub const GIVEN_NS: u64 = 100_000_000;

/// How often the writer looks for that after a commit: after [`GIVEN_NS`], and each time after twice as
/// long as the time before. A peer that has not read after 25 s has its FULFILLs told by the next batch.
pub const GIVEN_LOOKS_MAX: u32 = 8;

/// Packets of one shard in flight that [`RESERVE_BYTES_DEFAULT`] is enough for.
pub const IN_FLIGHT_RESERVED: u64 = 1 << 16;

/// Room kept in a stream for what is in flight when new packets are refused, unless configured. See the
/// sum below. It is half of a segment, so that the next one is prepared while this half is left.
pub const RESERVE_BYTES_DEFAULT: u64 = SEGMENT_BYTES_DEFAULT / 2;

// Each packet in flight becomes a pair of one block or is evidence of one, and its slot may have had a
// packet before it whose FULFILL comes late: two blocks. A commit that fills a page and no more may begin
// a second one: so twice the bytes, and a sixteenth of them for the heads of batches (256 bytes with 16
// shards). The others are commits that waited for [`PACK_NS`], a page each, until the last packet has
// expired. 17 MiB and 11.8 MiB; the first page of a segment and a last commit are a few pages more.
const _: () = {
    let records = IN_FLIGHT_RESERVED * 2 * BLOCK_LEN as u64;
    let filled = 2 * records + 2 * records / 16;
    let waited = m2_core::limits::HOLD_MS_MAX as u64 * 1_000_000 / PACK_NS * PAGE_LEN as u64;
    assert!(filled + waited + 4 * PAGE_LEN as u64 <= RESERVE_BYTES_DEFAULT);
};

/// Bytes written at once when a segment is prepared, each followed by a flush: a commit on its way
/// meanwhile waits for no more than this.
pub const PREPARE_BYTES: usize = 4 << 20;

/// Accounts of a switch, over all starts: a number is never used again.
pub const ACCOUNTS_MAX: usize = 1 << 20;

/// Keys of all shards.
pub const KEYS_MAX: usize = SHARDS_MAX * m2_core::limits::KEYS_MAX;

/// No word of a ledger, and no frozen amount, reaches this: it takes 2^48 packets of the largest
/// amount that there is. What says more is damage; so sums over any journal fit 128 bits.
pub const WORD_MAX: u128 = 1 << 112;

/// How many blocks a record can take: a credit names one position for each shard, three of them in
/// its first block and eight in each other.
pub const RECORD_BLOCKS_MAX: usize =
    1 + (SHARDS_MAX - POSITIONS_IN_HEAD).div_ceil(POSITIONS_IN_BLOCK);

// The largest record fits a batch of its own in the smallest commit.
const _: () =
    assert!(crate::batch::head_len(SHARDS_MAX) + RECORD_BLOCKS_MAX * BLOCK_LEN <= COMMIT_BYTES_MIN);
// The number of continuation blocks fits its byte.
const _: () = assert!(RECORD_BLOCKS_MAX <= 256);
const _: () =
    assert!(BATCH_BYTES_MAX.is_multiple_of(PAGE_LEN) && BATCH_BYTES_MAX <= COMMIT_BYTES_MAX);

/// Largest spill file: 4 million records, more than a shard can have in flight, and four times over.
pub const SPILL_BYTES_MAX: usize = 256 << 20;
