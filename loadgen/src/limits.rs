//! Every limit of the generator, with the sum it came from.

/// Low bits of a request id that name the slot; the others are the slot's generation.
pub const SLOT_BITS: u32 = 20;

/// PREPAREs that one end may have without an answer: one for each value of the slot bits.
pub const IN_FLIGHT_MAX: usize = 1 << SLOT_BITS;

/// Slots of an end from the start. They are reused oldest first, so that an id comes back only
/// after 2^14 slots x 2^12 generations = 67 million PREPAREs: 67 s at a million a second. Until
/// then an answer that comes twice is told from one that was never asked for.
pub const SLOTS_MIN: usize = 1 << 14;

/// Highest rate that is taken, PREPAREs per second. One every 50 ns is less than building one
/// costs, so that a higher figure can only be a mistake.
pub const RATE_PER_S_MAX: u64 = 20_000_000;

/// Phases of one run: one for each minute of a day is less.
pub const PHASES_MAX: usize = 2_000;

/// Longest run: a day.
pub const SECONDS_MAX: u64 = 86_400;

/// Pairs of trials of a comparison: the interval of a median then leaves out 2^-1000 exactly.
pub const COMPARE_PAIRS_MAX: usize = 1_000;

/// Runs of which a receiver in a process of its own keeps the books: some that follow each other, and
/// some at the same time.
pub const RUNS_KEPT_MAX: usize = 64;

/// What a question for the books of a receiver in another process is given until its expiry, in
/// milliseconds. A connector takes a second off, and wants another to be left.
pub const QUESTION_MS: u64 = 5_000;

/// How often a question is asked that is not answered, or rejected with a temporary error.
pub const QUESTION_TRIES: u32 = 3;

/// Time for one question with all its tries, in milliseconds.
pub const QUESTION_WAIT_MS: u64 = 15_000;

/// Trials that confirm one rate of a search: an hour of trials of 10 s for a dozen rates.
pub const SEARCH_VOTES_MAX: u32 = 31;

/// Longest time that a PREPARE is given, in milliseconds.
pub const EXPIRY_MS_MAX: u64 = 300_000;

/// Longest `data` of a PREPARE (IL-RFC 27).
pub const DATA_LEN_MAX: u64 = 32_767;

/// Bytes of the packets that a workload sends over and over. More than the last cache holds is no
/// gain over packets that are made.
pub const REPEAT_BYTES_MAX: u64 = 256 << 20;

/// What such a packet takes beside its data: an address of 49 bytes and 64 fixed ones in the
/// PREPARE, and some 160 that say what it is.
pub const BODY_OVERHEAD_LEN: u64 = 300;

/// Destinations of one workload; an address of 49 bytes each are 49 MiB.
pub const DESTINATIONS_MAX: usize = 1 << 20;

/// Segments of a destination: an ILP address of 1023 characters has no more than 512.
pub const DESTINATION_DEPTH_MAX: usize = 512;

/// Steepest skew. At 4 the first destination has 92 % of all packets already.
pub const ZIPF_MAX: f64 = 4.0;

/// Ranges of an expiry mix.
pub const RANGES_MAX: usize = 16;

/// Ends and flows of one workload: a flow's index is 16 bits of every packet.
pub const FLOWS_MAX: usize = 1 << 12;

/// How many times more often than the lightest flow the heaviest may be chosen.
pub const FLOW_WEIGHT_MAX: u64 = 1_000_000;

/// Most bytes that one end keeps unsent. A PREPARE that finds its link so full is a missed send:
/// 16 MiB are 80,000 PREPAREs of 200 bytes, far more than any socket that is being read leaves.
pub const EGRESS_BYTES_MAX: usize = 16 << 20;

/// Bytes of a link's receive buffer. Small enough to stay in cache, and room for two of the
/// largest frames, so that one can arrive behind another that is not complete.
pub const INGRESS_BYTES: usize = 256 << 10;
const _: () = assert!(INGRESS_BYTES >= 2 * m2_codec::btp::FRAME_LEN_MAX);

/// PREPAREs sent before the sockets are looked at again: 256 of some 100 ns delay an answer by
/// 26 us, and one write takes them all.
pub const SEND_BATCH_MAX: u64 = 256;

/// A PREPARE that leaves this long after its time counts as late, in nanoseconds.
pub const SEND_LATE_NS: u64 = 1_000_000;

/// What is still unsent this long after the last PREPARE was due is never sent, in nanoseconds.
pub const SEND_GRACE_NS: u64 = 2_000_000_000;

/// Answers may come this much after the longest expiry before they count as lost, in
/// nanoseconds. A connector answers at the expiry it passed on, which is earlier than ours.
pub const ANSWER_MARGIN_NS: u64 = 2_000_000_000;

/// The links are read this long after the last answer, so that a second one is seen, in
/// nanoseconds. Every run is that much longer.
pub const LINGER_NS: u64 = 200_000_000;

/// A run that a signal ended waits this long for the answers that are out, in nanoseconds: a second
/// or two is what somebody at a terminal grants, and all but silent receivers have answered by then.
pub const INTERRUPTED_WAIT_NS: u64 = 2_000_000_000;

/// Time for connecting, the WebSocket handshake and the token together, in milliseconds.
pub const CONNECT_MS: u64 = 10_000;

/// Bytes of the answer to a WebSocket handshake.
pub const HANDSHAKE_LEN_MAX: usize = 16 << 10;

/// Time for one answer of the control socket, in milliseconds.
pub const CONTROL_MS: u64 = 5_000;

/// A switch may answer a token before its packet path knows the link. Its control socket must show
/// every end connected within this time, in milliseconds, before the first packet is sent.
pub const CONNECTED_MS: u64 = 5_000;

/// Bytes of one answer of the control socket: 16 MiB are some 30,000 accounts.
pub const CONTROL_LINE_LEN_MAX: u64 = 16 << 20;

/// Largest amount that a control socket may show. A day at the highest rate moves less than 2^105
/// units, so that sums of both stay within an i128.
pub const UNITS_MAX: u128 = 1 << 120;

/// Characters that are shown of an amount that is none.
pub const UNITS_SHOWN_LEN_MAX: usize = 48;

/// The control socket may show an older state than the last answer, for this long, in
/// milliseconds: a switch publishes its ledgers now and then, not at every packet.
pub const BOOKS_SETTLE_MS: u64 = 3_000;

/// Largest latency told apart, in nanoseconds; a longer one is recorded as this. Expired packets
/// are not among the latencies, so that only a stall can be this long.
pub const LATENCY_NS_MAX: u64 = 600_000_000_000;

/// Bytes that are read of a file with a workload: ten thousand flows, and words about each.
pub const WORKLOAD_LEN_MAX: usize = 4 << 20;

/// Bytes of a token in a file: some hundred times a usual one, and one handshake of a switch.
pub const TOKEN_LEN_MAX: usize = 16 << 10;

/// Time that a PREPARE of a conformance check is given, in milliseconds: more than any hop takes
/// for itself, less than the 30 s that connectors hold at most.
pub const CONFORMANCE_LIFETIME_MS: u64 = 15_000;

/// How long a conformance check looks for what must not come, in milliseconds. On one connection
/// frames keep their order, so that a question sent behind would show it as well; but not every
/// connector answers every question.
pub const CONFORMANCE_QUIET_MS: u64 = 300;

/// Bytes that are read of a file in `/proc` or `/sys`: the first core of `/proc/cpuinfo` has two
/// thousand.
pub const SYSTEM_FILE_LEN_MAX: u64 = 64 << 10;

/// Cores whose governor is looked up.
pub const CORES_MAX: usize = 1 << 10;

/// Threads of the target that are looked at.
pub const THREADS_MAX: usize = 1 << 12;

/// Threads of the target that a report tells of, the busiest.
pub const THREADS_TOLD_MAX: usize = 32;

/// Longest sleep of a run, in nanoseconds: a generator that was stopped in its sleep is known by one
/// that lasts longer than it was to.
pub const SLEEP_NS_MAX: u64 = 100_000_000;

/// A look that comes this much later than it was to, in nanoseconds, counts as an absence.
pub const ABSENCE_NS_MIN: u64 = 1_000_000;

/// A receiver of many runs reads the wall clock this often, in nanoseconds.
pub const WALL_CLOCK_NS: u64 = 1_000_000_000;
