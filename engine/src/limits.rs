//! Every limit of the process, with the sum it came from. Those that an operator sets are in
//! `docs/configuration.md`; here are their bounds, and the limits that nobody sets.

use std::time::Duration;

use m2_codec::btp::FRAME_LEN_MAX;
use m2_codec::ws::WS_HEADER_LEN_MAX;
use m2_core::limits::HOLD_MS_MAX;

// Configuration.

/// Largest configuration file: room for some 50,000 accounts of 600 bytes.
pub(crate) const CONFIG_LEN_MAX: u64 = 32 << 20;
/// Lines of a route file: four times a million. A table of so many routes takes 512 MiB, and twice as
/// much while another replaces it.
pub(crate) const ROUTE_LINES_MAX: usize = 4 << 20;
/// Largest route file: 64 bytes for each of its lines.
pub(crate) const ROUTE_FILE_LEN_MAX: u64 = 64 * ROUTE_LINES_MAX as u64;
/// Longest line of it: the longest prefix, the longest name, and as much again for a comment.
pub(crate) const ROUTE_LINE_LEN_MAX: usize = 2 * (1023 + NAME_LEN_MAX);
/// Complaints about it that are told: a file of another kind has one in every line.
pub(crate) const ROUTE_PROBLEMS_MAX: usize = 20;
/// Longest name of an account: it stands in URL paths, log lines and IL-DCP addresses.
pub(crate) const NAME_LEN_MAX: usize = 64;
/// Longest token: with its frame it fits the default of `handshake_bytes_max` twice over.
pub(crate) const TOKEN_LEN_MAX: usize = 4096;

/// Bytes that are read of a file with a token: the longest, a line's end, and one more that shows
/// it to be too long.
pub(crate) const TOKEN_FILE_LEN_MAX: u64 = TOKEN_LEN_MAX as u64 + 3;
/// 10^19 units are the last power of ten in a u64: a larger scale cannot say one standard unit.
pub(crate) const SCALE_MAX: u8 = 19;
/// Longest path of a Unix socket: the kernel has 108 bytes for it, the last a zero.
pub(crate) const UNIX_PATH_LEN_MAX: usize = 107;
/// Longest `shutdown_ms`: nothing is in flight for longer than a hold, and as long again for peers
/// that we dial to take their answers.
pub(crate) const SHUTDOWN_MS_MAX: u32 = 2 * HOLD_MS_MAX;
/// Largest `handshake_bytes_max`; what came behind the first frame fits a link's buffer.
pub(crate) const HANDSHAKE_BYTES_LIMIT: u32 = 64 << 10;
/// Smallest `egress_bytes_max`: the longest frame fits under half of it.
pub(crate) const EGRESS_BYTES_MIN: u32 = 256 << 10;

const _: () = assert!(FRAME_LEN_MAX + WS_HEADER_LEN_MAX < EGRESS_BYTES_MIN as usize / 2);

/// Most shards: each may have a commit at the disk.
pub(crate) const SHARDS_MAX: u16 = 64;
/// Cores have numbers below this: as many as the kernel's sets of them have.
pub(crate) const CORES_MAX: usize = rustix::thread::CpuSet::MAX_CPU;

const _: () = assert!(SHARDS_MAX as usize <= COMMITS_UNDER_WAY_MAX);
const _: () = assert!(SHARDS_MAX as usize <= m2_journal::limits::SHARDS_MAX);

// Between shards.

/// Forwards, and Answers, that wait in the rings of a shard to all others together: what two cores pass
/// on in some 10 ms, which is what a system may keep a thread from its core. Beyond it Forwards get T03.
/// A ring has no less than [`RING_PLACES_MIN`].
pub(crate) const RING_PLACES: usize = 1 << 14;
/// See [`RING_PLACES`].
pub(crate) const RING_PLACES_MIN: usize = 1 << 10;
/// Bytes of packets in a ring, for each of its places: the usual PREPARE has 170.
pub(crate) const RING_BYTES_OF_PLACE: usize = 256;
/// Fewest bytes of a ring. One that is empty takes what a link can bring at once, wherever in it the next
/// byte lies.
pub(crate) const RING_BYTES_MIN: usize = 512 << 10;
/// What a link can bring at once: its buffer, and behind it one message that came in fragments.
pub(crate) const LINK_BYTES_MAX: usize = RX_BUFFER_LEN + FRAME_LEN_MAX;

const _: () = assert!(RING_BYTES_MIN >= 2 * LINK_BYTES_MAX);
const _: () = assert!(RING_BYTES_MIN >= 2 * m2_codec::limits::PREPARE_LEN_MAX);

/// Answers that are taken from a ring in one pass: some 50 us. Answers free what requests need.
pub(crate) const ANSWERS_TAKEN_MAX: usize = 512;
/// Forwards that are taken from a ring in one pass, before links get their turn.
pub(crate) const FORWARDS_TAKEN_MAX: usize = 256;

// Between threads.

/// Messages to a shard that it has not taken: a burst of new links is a few hundred.
pub(crate) const INBOX_LEN: usize = 1024;
/// Events for the log that are not written: the core keeps a quarter of this between two looks.
pub(crate) const EVENTS_LEN: usize = 4096;

const _: () = assert!(EVENTS_LEN >= 4 * m2_core::limits::NOTICES_MAX);

/// Messages that a shard takes from its inbox in one pass: each costs some microseconds.
pub(crate) const INBOX_TAKEN_MAX: usize = 16;

/// PREPAREs that the forwarder of the benches has without an answer: 16 connections with 1,024 each, eight
/// times.
#[cfg(feature = "forwarder")]
pub(crate) const FORWARDER_SLOTS: u32 = 1 << 17;

// The journal.

/// Smallest segment: 16,000 records, a few milliseconds' worth.
pub(crate) const SEGMENT_LEN_MIN: u64 = 1 << 20;
/// Largest segment: one batch never has more bytes.
pub(crate) const SEGMENT_LEN_MAX: u64 = COMMIT_WRITE_MAX as u64;
/// Segments unless configured: a million records, replayed in a tenth of a second.
pub(crate) const SEGMENT_LEN_DEFAULT: u64 = 64 << 20;

/// Commits at the disk at once: one of each stream.
pub(crate) const COMMITS_UNDER_WAY_MAX: usize = 64;
/// Bytes of one write: the kernel takes no more than 2^31 - 4096 at once.
pub(crate) const COMMIT_WRITE_MAX: usize = 1 << 30;

/// Flushes that `check` makes to learn how long one takes: the longest of a thousand is their p99.9.
pub(crate) const PROBE_FLUSHES: u32 = 1_000;
/// How long `check` goes on with that.
pub(crate) const PROBE_PATIENCE: Duration = Duration::from_secs(2);

/// Orders to the thread for files that it has not begun: a few for each stream.
pub(crate) const FILE_OPS_MAX: usize = 4 * COMMITS_UNDER_WAY_MAX;
/// After so many commits what they took is told anew.
pub(crate) const COMMIT_TIMES_EVERY: u64 = 256;
/// The longest commit that is told apart from longer ones, in microseconds.
pub(crate) const COMMIT_US_MAX: u64 = 60_000_000;
/// How long the journal thread leaves records alone that nobody waits for: as long as they may then wait
/// for others, and no longer than this. Each look takes a core from a shard or from whoever sends to it.
pub(crate) const DOZE_MAX: Duration = Duration::from_millis(4);
/// How often it looks by itself, after the last record came, before it sleeps until it is woken.
pub(crate) const DOZES: u32 = 16;
/// Blocks in the ring from a shard to the journal thread: 4 MiB, a flush's worth at a million records
/// a second.
pub(crate) const JOURNAL_RING_LEN: usize = 1 << 16;
/// How often snapshots are asked for while the journal's disk is full: each takes some room itself for a
/// moment, and two of them let the segments before them go.
pub(crate) const JOURNAL_IMAGES_AGAIN_NS: u64 = 1_000_000_000;
/// How long records wait for room on the disk, or the end of the process for the last of them.
pub(crate) const JOURNAL_PATIENCE_NS: u64 = 5_000_000_000;
/// How often the journal thread looks again while the disk is in trouble.
pub(crate) const JOURNAL_TROUBLE_LOOK_NS: u64 = 5_000_000;
/// How long the end of the process waits for the journal thread, which may be stuck in a flush.
pub(crate) const JOURNAL_END_PATIENCE: Duration = Duration::from_secs(8);
/// How often it looks.
pub(crate) const END_LOOK: Duration = Duration::from_millis(1);
/// How often a shard that ends looks whether the others' queues have room for what it has left.
pub(crate) const END_LOOK_NS: u64 = 10_000_000;
/// How often a start looks whether the disk has room for a segment, once nothing else is to be done.
pub(crate) const ROOM_LOOKS_MAX: u32 = 3;
/// How often the start tells how far it has read.
pub(crate) const RECOVERY_TOLD_EVERY: Duration = Duration::from_secs(1);
/// Packets listed in a file at a start as perhaps undelivered: as many as a shard can have in flight.
pub(crate) const UNDELIVERED_LISTED_MAX: usize = 1 << 20;
/// Of these, how many stand in the log as well.
pub(crate) const UNDELIVERED_LOGGED_MAX: usize = 1_000;
/// How long a panic waits for what was recorded to be durable.
pub(crate) const LAST_WORDS_PATIENCE: Duration = Duration::from_secs(2);
/// How often an operator's order looks whether its record is durable.
pub(crate) const DURABLE_LOOK: Duration = Duration::from_millis(1);

// A link.

/// What is received into: the longest frame, and nearly as much again so that a receive is worth
/// its call.
pub(crate) const RX_BUFFER_LEN: usize = 128 << 10;

const _: () = assert!(RX_BUFFER_LEN > FRAME_LEN_MAX + WS_HEADER_LEN_MAX);
const _: () = assert!(RX_BUFFER_LEN >= HANDSHAKE_BYTES_LIMIT as usize);

/// A send buffer that grew past this goes back to the allocator once it is empty.
pub(crate) const TX_KEPT_LEN: usize = 1 << 20;
/// Masks that a link that we dialled has ready, in bytes: 1,024 frames to one system call.
pub(crate) const MASKS_LEN: usize = 4 << 10;
/// What a send buffer grows by beyond what is written, made zero then: some twenty packets.
pub(crate) const TX_GROW_LEN: usize = 4 << 10;
/// Sent bytes are moved out of a send buffer from here on, when they are most of it.
pub(crate) const TX_COMPACT_LEN: usize = 64 << 10;
/// How long a FULFILL may wait for its peer to read, or what was put before it: twice the longest
/// default hold. A link that is slower keeps segments of the journal from going.
pub(crate) const FULFILL_PATIENCE_NS: u64 = 60_000_000_000;
/// Bytes put to all links before they are flushed in the middle of a pass: a quarter of L2.
pub(crate) const PUT_BYTES_MAX: usize = 256 << 10;
/// Links that the kernel tells of at once.
pub(crate) const READY_MAX: usize = 256;
/// Links that are sent to at once: 64 system calls in one are most of what there is to save.
pub(crate) const SENDS_MAX: usize = 64;

/// Links, of which a switch has a few at least, by which back ends are compared at the start.
pub(crate) const IO_TRIAL_LINKS: usize = 8;
/// How often each is tried, by turns: once at least they are not disturbed.
pub(crate) const IO_TRIAL_SLICES: usize = 9;
/// How many rounds at once: with nine turns of both, some 20 ms in all on two cores that are free.
pub(crate) const IO_TRIAL_ROUNDS: u64 = 16;
/// How long a round may take, which takes some 60 us: a trial that hangs must not hang the start.
pub(crate) const IO_TRIAL_PATIENCE_NS: u64 = 500_000_000;

/// A buffer that io_uring receives into: of 4 KiB each, a saturated link gets half as much through.
pub(crate) const RECEIVE_BUFFER_LEN: usize = 64 << 10;
/// Buffers in use from the start: 1 MiB, which stays in the cache.
pub(crate) const RECEIVE_BUFFERS_FIRST: u16 = 16;
/// Buffers there may be for all links of a shard: 16 MiB.
pub(crate) const RECEIVE_BUFFERS_MAX: u16 = 256;
/// Buffers that a link may have until it is not received from: 512 KiB, which it takes in some four
/// passes. It is looked at when the kernel tells of them: in one entry it may fill more.
pub(crate) const RECEIVE_BUFFERS_HELD_MAX: u16 = 8;
/// Sockets in the kernel's table of files: it takes no more.
pub(crate) const FILES_MAX: usize = 1 << 20;
/// Entries for the kernel at once: all sends, and as much again twice for receives and polls.
pub(crate) const SUBMISSIONS_LEN: u32 = 256;
/// Completions that wait for us: one for each buffer, and four for each of a thousand links.
pub(crate) const COMPLETIONS_LEN: u32 = 4096;

const _: () = assert!(SENDS_MAX <= SUBMISSIONS_LEN as usize);

// Connections before they are links.

/// One source has at most one of so many parts of `unauthenticated_max`: four strangers that hold
/// all they can are more than one, and a peer that starts many connections at once has 64 of 256.
pub(crate) const UNAUTHENTICATED_SHARE: u32 = 4;
/// How long a listener rests when the kernel has no descriptor for a connection.
pub(crate) const ACCEPT_REST: Duration = Duration::from_millis(100);
/// How long a refused peer may take to read why.
pub(crate) const REFUSED_PATIENCE: Duration = Duration::from_millis(500);
/// Milliseconds before each attempt to dial, the last for all further ones (C16).
pub(crate) const DIAL_DELAYS_MS: [u64; 6] = [0, 100, 500, 1_000, 2_000, 5_000];
/// A dialled link that lasted this long was a good one: the delays begin anew.
pub(crate) const GOOD_LINK: Duration = Duration::from_secs(5);
/// Most addresses of a name that are tried.
pub(crate) const DIAL_ADDRESSES_MAX: usize = 4;

// Operators.

/// Longest line that the control socket reads.
pub(crate) const LINE_LEN_MAX: usize = 4096;
/// Operators at once.
pub(crate) const OPERATORS_MAX: usize = 64;
/// How long an operator waits for the shard before being told that it is busy.
pub(crate) const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait when a shard has lost its core while it wrote an account.
pub(crate) const READ_REST: Duration = Duration::from_millis(1);
/// How long an operator may take to read a line of ours.
pub(crate) const LINE_PATIENCE: Duration = Duration::from_secs(10);
/// How long `drain` waits unless told: the longest default hold, and some.
pub(crate) const DRAIN_MS_DEFAULT: u64 = 35_000;
/// The longest that `drain` waits: ten times the longest hold.
pub(crate) const DRAIN_MS_MAX: u64 = 10 * HOLD_MS_MAX as u64;
/// Longest line that the settlement socket reads: a message has 2 KiB in hexadecimal digits, and some
/// more may come to be said.
pub(crate) const SETTLEMENT_LINE_LEN_MAX: usize = 64 << 10;
/// Orders of a settlement process that are worked on at once: as many as come in a flush of a slow disk.
pub(crate) const SETTLEMENT_ORDERS_MAX: usize = 64;
/// Bytes that wait for a settlement process to read them, beside what it is told at first: some 2,000
/// messages of peers.
pub(crate) const SETTLEMENT_LAG_MAX: usize = 4 << 20;
/// How long a message between settlement processes may wait for its answer: each end flushes a claim to
/// its disk before it answers.
pub(crate) const TALK_PATIENCE_NS: u64 = 30_000_000_000;
/// What a shard keeps for the control thread before messages of peers are refused: as much as the queue
/// between them has room for.
pub(crate) const TALK_NEWS_MAX: usize = EVENTS_LEN;
/// How long the log is not told again of an account whose credit is used up.
pub(crate) const EXHAUSTION_LOGGED_EVERY: Duration = Duration::from_secs(60);
/// How often `drain` looks.
pub(crate) const DRAIN_LOOK: Duration = Duration::from_millis(5);
/// Lines a second that peers can cause in the log, and as many at once.
pub(crate) const LOG_LINES_PER_S: u32 = 50;
/// Lines a second that are evidence of money, and as many at once: a quarter of what the core can
/// tell in four looks a second, some 300 kB.
pub(crate) const LOG_EVIDENCE_LINES_PER_S: u32 = 1_024;

// The process.

/// How long an address may stay taken by a process that is gone: the kernel ends its io_uring, and with
/// it what it listens at, when what was at the disk has ended.
pub(crate) const BIND_PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait between two tries.
pub(crate) const BIND_REST: Duration = Duration::from_millis(20);
/// How long a signal's line of the log may wait to be written: the second ends the process, read or
/// not.
pub(crate) const SIGNAL_LOG_PATIENCE: Duration = Duration::from_millis(200);

/// Longest asset code. A child is told it in a FULFILL; currency codes have three letters, those of
/// tokens ten or so.
pub(crate) const ASSET_CODE_LEN_MAX: usize = 32;
