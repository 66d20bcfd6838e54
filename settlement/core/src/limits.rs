//! Every limit of the settlement core, with the sum it came from.

/// Longest message between two settlement processes: what the switch passes on.
pub const MESSAGE_LEN_MAX: usize = 1_024;

/// Longest name of a chain: CAIP-2 has at most 8 + 1 + 32 characters.
pub const CHAIN_NAME_LEN_MAX: usize = 41;

/// Longest address of a contract: Aptos has 32 bytes, EVM 20.
pub const CONTRACT_LEN_MAX: usize = 32;

/// Longest signature: DER on the XRP Ledger has up to 72 bytes, EVM 65, Ed25519 64.
pub const SIGNATURE_LEN_MAX: usize = 72;

/// Longest text of a refusal.
pub const TEXT_LEN_MAX: usize = 200;

// The longest message is a CLOSE.
const _: () = assert!(
    2 + 1 + CHAIN_NAME_LEN_MAX + 1 + CONTRACT_LEN_MAX + 32 + 16 + 16 + 8 + 1 + SIGNATURE_LEN_MAX
        <= MESSAGE_LEN_MAX
);
const _: () = assert!(2 + 2 + 1 + TEXT_LEN_MAX <= MESSAGE_LEN_MAX);

/// Channels of a peer that an account looks for at a time because a claim named them.
pub const CANDIDATES_MAX: usize = 4;

/// Channels of an account that are not over.
pub const CHANNELS_MAX: usize = 16;

/// Transactions of a chain that are not final, each with a nonce of its own.
pub const TRANSACTIONS_MAX: usize = 16;

/// Versions of a transaction that bid for one nonce: each bids a quarter more, so that the last offers
/// 1.25^24 = 211 times the first.
pub const ATTEMPTS_MAX: usize = 24;

/// How many of them are kept for what answers a close.
pub const TRANSACTIONS_RESERVED: usize = 4;

/// Credits of an account that the switch has not recorded yet: more wait until it has.
pub const CREDITS_UNDER_WAY_MAX: usize = 16;

/// Credits of an account in a row; then what comes is credited together, once in [`CREDIT_MS`]. The switch keeps
/// 2^20 keys a shard: one peer alone takes two years to use them up.
pub const CREDITS_MAX: u64 = 1_000;
/// See [`CREDITS_MAX`].
pub const CREDIT_MS: u64 = 60_000;

/// How far our next nonce may be beyond the final one: more transactions than that are never under way.
pub const NONCES_AHEAD_MAX: u64 = 1_000;

/// The longest rest of what has a time by which it must be done, and of looks: windows are ten minutes at least.
pub const URGENT_REST_MS_MAX: u64 = 20_000;

/// How much later than the final block the latest one is believed to be, in an agreement: chains are final after
/// some minutes.
pub const CLOCK_AHEAD_S_MAX: u64 = 3_600;

/// How often old keys are looked for.
pub const FORGET_MS: u64 = 600_000;

/// Claims in one redeeming transaction: some 50,000 gas each, a tenth of a block of 30 million.
pub const BATCH_MAX: usize = 50;

/// For how long a key is kept behind its end, so that hearing of it again pays nothing again. RFC 38 asks
/// for a day.
pub const KEY_KEPT_MS: u64 = 7 * 24 * 3_600_000;

/// For how long an agreement on a channel's end may be asked to hold: claims rest meanwhile.
pub const AGREEMENT_S_MAX: u64 = 3_600;

/// How long an agreement holds that we ask for.
pub const AGREEMENT_S: u64 = 900;

/// What has to be left of it for us to agree, or to send it to the chain.
pub const AGREEMENT_S_MIN: u64 = 60;

/// How much longer than whoever closed a channel the other waits with settling it.
pub const SETTLE_PATIENCE_S: u64 = 600;

/// The first rest after something failed, and the longest: then it is tried again for ever (RFC 38 has an
/// hour at most). A node that was away for an hour is looked at again soon enough to answer a close.
pub const REST_MS_MIN: u64 = 500;
/// See [`REST_MS_MIN`].
pub const REST_MS_MAX: u64 = 30_000;

/// The shortest window that a channel may have: contracts refuse a shorter one.
pub const WINDOW_S_SHORTEST: u64 = 600;

// A close is seen, its answer signed, and sent, each after such a rest at worst: most of the window is left for the chain.
const _: () = assert!(3 * REST_MS_MAX < WINDOW_S_SHORTEST * 1_000 / 6);

/// Orders that the switch is told of at a time: it works at as many side by side.
pub const ORDERS_UNDER_WAY_MAX: usize = 32;
