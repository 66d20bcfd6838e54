//! Layouts of a base and of a snapshot.
//!
//! ```text
//!   snapshot  | SnapshotHead | positions, 8 bytes a shard | Account ... | Key ... |
//!   base      | BaseHead | End ... | Account ... | Entry ... | Key ... | names |
//! ```

use core::mem::{offset_of, size_of};

use zerocopy::little_endian::{I128, U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::limits::{HASH_LEN, JOURNAL_ID_LEN};

/// The first bytes of a snapshot of a shard.
#[derive(Clone, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SnapshotHead {
    /// Over the whole file; nothing stands before.
    pub hash: [u8; HASH_LEN],
    /// [`Self::MAGIC`].
    pub magic: [u8; 8],
    /// [`super::FORMAT_VERSION`].
    pub version: U16,
    /// Whose ledgers.
    pub shard: U16,
    /// Which start of the process.
    pub generation: U32,
    /// How many accounts.
    pub accounts: U32,
    /// How many keys.
    pub keys: U32,
    /// How many shards this generation has, and positions follow.
    pub shards: U16,
    /// Zero.
    pub reserved: [u8; 6],
    /// Everything of the shard's own stream below it, but for incoming legs, is in the words.
    pub appended: U64,
}

impl SnapshotHead {
    /// Tells a snapshot.
    pub const MAGIC: [u8; 8] = *b"M2SSHARD";
}

const _: () = assert!(size_of::<SnapshotHead>() == 72);
const _: () = assert!(offset_of!(SnapshotHead, magic) == 32);
const _: () = assert!(offset_of!(SnapshotHead, version) == 40);
const _: () = assert!(offset_of!(SnapshotHead, shard) == 42);
const _: () = assert!(offset_of!(SnapshotHead, generation) == 44);
const _: () = assert!(offset_of!(SnapshotHead, accounts) == 48);
const _: () = assert!(offset_of!(SnapshotHead, keys) == 52);
const _: () = assert!(offset_of!(SnapshotHead, shards) == 56);
const _: () = assert!(offset_of!(SnapshotHead, appended) == 64);

/// The first bytes of a base.
#[derive(Clone, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct BaseHead {
    /// Over the whole file; nothing stands before.
    pub hash: [u8; HASH_LEN],
    /// [`Self::MAGIC`].
    pub magic: [u8; 8],
    /// [`super::FORMAT_VERSION`].
    pub version: U16,
    /// How many shards this generation has.
    pub shards: U16,
    /// Which start of the process.
    pub generation: U32,
    /// How many accounts: all that there ever were.
    pub accounts: U32,
    /// How many keys.
    pub keys: U32,
    /// How many streams the generation before had.
    pub ends: U16,
    /// Zero.
    pub reserved: [u8; 2],
    /// Bytes of all names.
    pub names_len: U32,
    /// Which journal: random, made with its first generation, and the same in all others.
    pub journal: [u8; JOURNAL_ID_LEN],
}

impl BaseHead {
    /// Tells a base.
    pub const MAGIC: [u8; 8] = *b"M2S-BASE";
}

const _: () = assert!(size_of::<BaseHead>() == 80);
const _: () = assert!(offset_of!(BaseHead, magic) == 32);
const _: () = assert!(offset_of!(BaseHead, version) == 40);
const _: () = assert!(offset_of!(BaseHead, shards) == 42);
const _: () = assert!(offset_of!(BaseHead, generation) == 44);
const _: () = assert!(offset_of!(BaseHead, accounts) == 48);
const _: () = assert!(offset_of!(BaseHead, keys) == 52);
const _: () = assert!(offset_of!(BaseHead, ends) == 56);
const _: () = assert!(offset_of!(BaseHead, names_len) == 60);
const _: () = assert!(offset_of!(BaseHead, journal) == 64);

/// Where a stream of the generation before ended.
#[derive(Clone, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct End {
    /// How many records it had.
    pub position: U64,
    /// Hash of its last batch.
    pub hash: [u8; HASH_LEN],
}

const _: () = assert!(size_of::<End>() == 40);
const _: () = assert!(offset_of!(End, hash) == 8);

/// The ledger of an account, without holds.
#[derive(Clone, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Account {
    /// Which.
    pub account: U32,
    /// Zero.
    pub reserved: [u8; 4],
    /// Units of the account.
    pub balance_max: U64,
    /// Units of the account.
    pub payable_max: U64,
    /// Positive: the peer owes us.
    pub balance: I128,
    /// Paid ahead by the peer.
    pub prepaid: I128,
    /// Being paid to the peer.
    pub frozen: I128,
}

const _: () = assert!(size_of::<Account>() == 72);
const _: () = assert!(offset_of!(Account, balance_max) == 8);
const _: () = assert!(offset_of!(Account, payable_max) == 16);
const _: () = assert!(offset_of!(Account, balance) == 24);
const _: () = assert!(offset_of!(Account, prepaid) == 40);
const _: () = assert!(offset_of!(Account, frozen) == 56);

/// What an account is called. The name, then the code of the asset, stand among the names.
#[derive(Clone, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Entry {
    /// Which shard owns it in this generation.
    pub shard: U16,
    /// Of the asset.
    pub asset_scale: u8,
    /// Bytes.
    pub name_len: u8,
    /// Bytes.
    pub asset_code_len: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// `balance_max` as the configuration had it, in units of the account.
    pub configured_balance_max: U64,
    /// `payable_max` as the configuration had it, in units of the account.
    pub configured_payable_max: U64,
}

const _: () = assert!(size_of::<Entry>() == 24);
const _: () = assert!(offset_of!(Entry, asset_scale) == 2);
const _: () = assert!(offset_of!(Entry, name_len) == 3);
const _: () = assert!(offset_of!(Entry, asset_code_len) == 4);
const _: () = assert!(offset_of!(Entry, configured_balance_max) == 8);
const _: () = assert!(offset_of!(Entry, configured_payable_max) == 16);

/// What a key stands for.
#[derive(Clone, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Key {
    /// Its name.
    pub key: [u8; 16],
    /// Units of the account.
    pub amount: U128,
    /// Whose.
    pub account: U32,
    /// The kind of the record that told of it last: [`crate::record::kind`].
    pub kind: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

const _: () = assert!(size_of::<Key>() == 40);
const _: () = assert!(offset_of!(Key, amount) == 16);
const _: () = assert!(offset_of!(Key, account) == 32);
const _: () = assert!(offset_of!(Key, kind) == 36);
