//! Bases and snapshots: ledgers and keys as they were at one point, whole files under one hash.
//!
//! A **base** has everything at the beginning of a generation: all accounts with their names, and
//! where the streams of the generation before ended. A **snapshot** has the accounts and keys of one
//! shard, and how far in each stream they had come.
//!
//! A file has one spelling: accounts and keys stand in their order, each once.

use core::fmt;

use m2_core::ledger::Words;
use m2_core::record::{Key, KeyKind, KeyState};
use m2_core::{AccountId, AccountImage, ShardId, ShardImage};
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::Error;
use crate::fault::Fault;
use crate::hash::{self, Hash};
use crate::layout::FORMAT_VERSION;
use crate::layout::image::{
    Account as AccountLayout, BaseHead, End, Entry, Key as KeyLayout, SnapshotHead,
};
use crate::limits::{ACCOUNTS_MAX, JOURNAL_ID_LEN, KEYS_MAX, SHARDS_MAX, WORD_MAX};
use crate::record::kind;
use crate::scan::Link;
use crate::storage::Storage;

/// Tells one journal from another: random, made with the first generation and carried from each to the
/// next. Two journals of the same accounts have the same bytes in all else, and bases of the same hash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct JournalId(pub [u8; JOURNAL_ID_LEN]);

/// Everything at the beginning of a generation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Base {
    /// Which journal.
    pub journal: JournalId,
    /// Which start of the process, from 1.
    pub generation: u32,
    /// How many shards it has.
    pub shards: usize,
    /// Where the streams of the generation before ended.
    pub ends: Vec<Link>,
    /// All accounts that there ever were, by number.
    pub accounts: Vec<Account>,
    /// All keys, in their order.
    pub keys: Vec<(Key, KeyState)>,
}

/// An account and its ledger.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    /// Which shard owns it.
    pub shard: ShardId,
    /// At most 255 bytes.
    pub name: String,
    /// At most 255 bytes.
    pub asset_code: String,
    /// Of the asset.
    pub asset_scale: u8,
    /// The limits that the configuration had at the beginning of the generation. Those of the image
    /// are others if an operator has changed them since the configuration named these.
    pub configured: ConfiguredLimits,
    /// Its number, words and limits. Nothing is held.
    pub image: AccountImage,
}

/// The limits of an account as a configuration names them, in units of the account.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ConfiguredLimits {
    /// The most the peer may come to owe us.
    pub balance_max: u64,
    /// The most we may come to owe the peer.
    pub payable_max: u64,
}

impl JournalId {
    /// Of a journal that has no generation yet.
    pub const NONE: Self = Self([0; JOURNAL_ID_LEN]);
}

/// As 32 hexadecimal digits.
impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hash::write_hex(f, &self.0)
    }
}

/// The file of a snapshot.
///
/// # Panics
///
/// If there are more shards than [`SHARDS_MAX`], accounts or keys are not in their order, or a word is
/// beyond [`WORD_MAX`].
#[must_use]
pub fn encode_snapshot(generation: u32, image: &ShardImage) -> Vec<u8> {
    let head = SnapshotHead {
        hash: Hash::NONE.0,
        magic: SnapshotHead::MAGIC,
        version: FORMAT_VERSION.into(),
        shard: image.shard.0.into(),
        generation: generation.into(),
        accounts: count(image.accounts.len()).into(),
        keys: count(image.keys.len()).into(),
        shards: u16::try_from(image.applied.len()).expect("SHARDS_MAX is less").into(),
        reserved: [0; 6],
        appended: image.appended.into(),
    };
    let mut bytes = head.as_bytes().to_vec();
    bytes.extend(image.applied.iter().flat_map(|position| position.to_le_bytes()));
    put_accounts(&mut bytes, &image.accounts);
    put_keys(&mut bytes, &image.keys);
    hash::seal(&mut bytes, &Hash::NONE);
    bytes
}

/// What the file of a snapshot says.
///
/// # Errors
///
/// When it is none.
pub fn decode_snapshot(bytes: &mut [u8]) -> Result<(u32, ShardImage), Fault> {
    let expected = snapshot_len(bytes)?;
    check_whole(bytes, expected)?;
    let (head, rest) = SnapshotHead::ref_from_prefix(bytes).map_err(|_| Fault::Length)?;
    if head.reserved != [0; 6] {
        return Err(Fault::Reserved);
    }
    let (applied, rest) = take::<U64>(rest, head.shards.get().into())?;
    let (accounts, rest) = take::<AccountLayout>(rest, head.accounts.get())?;
    let (keys, _) = take::<KeyLayout>(rest, head.keys.get())?;
    let image = ShardImage {
        shard: ShardId(head.shard.get()),
        appended: head.appended.get(),
        applied: applied.iter().map(|position| position.get()).collect(),
        accounts: read_accounts(accounts)?,
        keys: read_keys(keys)?,
    };
    if usize::from(image.shard.0) >= image.applied.len() {
        return Err(Fault::Image);
    }
    check_frozen(&image.accounts, &image.keys)?;
    Ok((head.generation.get(), image))
}

/// The file of a base, and its hash.
///
/// # Panics
///
/// If there are more shards than [`SHARDS_MAX`], accounts are not numbered from 0, keys are not in
/// their order, a name is too long, or a word is beyond [`WORD_MAX`].
#[must_use]
pub fn encode_base(base: &Base) -> (Vec<u8>, Hash) {
    let Base { journal, generation, shards, ends, accounts, keys } = base;
    let names: String =
        accounts.iter().flat_map(|each| [each.name.as_str(), each.asset_code.as_str()]).collect();
    let head = BaseHead {
        hash: Hash::NONE.0,
        magic: BaseHead::MAGIC,
        version: FORMAT_VERSION.into(),
        shards: u16::try_from(*shards).expect("SHARDS_MAX is less").into(),
        generation: (*generation).into(),
        accounts: count(accounts.len()).into(),
        keys: count(keys.len()).into(),
        ends: u16::try_from(ends.len()).expect("SHARDS_MAX is less").into(),
        reserved: [0; 2],
        names_len: count(names.len()).into(),
        journal: journal.0,
    };
    let mut bytes = head.as_bytes().to_vec();
    for end in ends {
        let layout = End { position: end.position.into(), hash: end.hash.0 };
        bytes.extend(layout.as_bytes());
    }
    let images: Vec<_> = accounts.iter().map(|account| account.image).collect();
    let is_dense = images.iter().enumerate().all(|(index, each)| each.account.0 as usize == index);
    assert!(is_dense, "accounts are numbered from 0");
    put_accounts(&mut bytes, &images);
    for account in accounts {
        let len = |text: &str| u8::try_from(text.len()).expect("names have 255 bytes at most");
        let entry = Entry {
            shard: account.shard.0.into(),
            asset_scale: account.asset_scale,
            name_len: len(&account.name),
            asset_code_len: len(&account.asset_code),
            reserved: [0; 3],
            configured_balance_max: account.configured.balance_max.into(),
            configured_payable_max: account.configured.payable_max.into(),
        };
        bytes.extend(entry.as_bytes());
    }
    put_keys(&mut bytes, keys);
    bytes.extend(names.as_bytes());
    let hash = hash::seal(&mut bytes, &Hash::NONE);
    (bytes, hash)
}

/// What the file of a base says, and its hash.
///
/// # Errors
///
/// When it is none.
pub fn decode_base(bytes: &mut [u8]) -> Result<(Base, Hash), Fault> {
    let expected = base_len(bytes)?;
    let hash = check_whole(bytes, expected)?;
    let (head, rest) = BaseHead::ref_from_prefix(bytes).map_err(|_| Fault::Length)?;
    if head.reserved != [0; 2] {
        return Err(Fault::Reserved);
    }
    let (ends, rest) = take::<End>(rest, head.ends.get().into())?;
    let (accounts, rest) = take::<AccountLayout>(rest, head.accounts.get())?;
    let (entries, rest) = take::<Entry>(rest, head.accounts.get())?;
    let (keys, names) = take::<KeyLayout>(rest, head.keys.get())?;
    let images = read_accounts(accounts)?;
    let is_dense = images.iter().enumerate().all(|(index, each)| each.account.0 as usize == index);
    if !is_dense || head.generation == 0 {
        return Err(Fault::Image);
    }
    let keys = read_keys(keys)?;
    check_frozen(&images, &keys)?;
    let link = |end: &End| Link { position: end.position.get(), hash: Hash(end.hash) };
    let base = Base {
        journal: JournalId(head.journal),
        generation: head.generation.get(),
        shards: head.shards.get().into(),
        ends: ends.iter().map(link).collect(),
        accounts: read_entries(images, entries, names, head.shards.get())?,
        keys,
    };
    Ok((base, hash))
}

/// Bytes of the longer head of the two.
const HEAD_LEN_MAX: usize = size_of::<BaseHead>();
const _: () = assert!(size_of::<SnapshotHead>() <= HEAD_LEN_MAX);

/// Reads a whole base or snapshot. The length that it says is believed only if the file has it.
///
/// # Errors
///
/// When it cannot be read, or is not what it says.
pub(crate) fn read<T>(
    storage: &mut impl Storage,
    path: &str,
    decode: impl FnOnce(&mut [u8]) -> Result<T, Fault>,
) -> Result<Result<T, Fault>, Error> {
    let mut head = [0; HEAD_LEN_MAX];
    let filled = storage.read_at(path, 0, &mut head).map_err(Error::io(path))?;
    let len = storage.len(path).map_err(Error::io(path))?;
    let expected = match base_len(&head[..filled]) {
        Err(Fault::NoImage | Fault::Length) => snapshot_len(&head[..filled]),
        as_base => as_base,
    };
    let expected = match expected {
        Ok(expected) => expected,
        Err(fault) => return Ok(Err(fault)),
    };
    if expected != len {
        return Ok(Err(Fault::Length));
    }
    let Ok(len) = usize::try_from(len) else { return Ok(Err(Fault::Length)) };
    let mut bytes = vec![0; len];
    let filled = storage.read_at(path, 0, &mut bytes).map_err(Error::io(path))?;
    Ok(decode(&mut bytes[..filled]))
}

fn snapshot_len(bytes: &[u8]) -> Result<u64, Fault> {
    let (head, _) = SnapshotHead::ref_from_prefix(bytes).map_err(|_| Fault::Length)?;
    if head.magic != SnapshotHead::MAGIC {
        return Err(Fault::NoImage);
    }
    check_counts(head.version.get(), head.shards.get(), head.accounts.get(), head.keys.get())?;
    let len = size_of::<SnapshotHead>() as u64
        + u64::from(head.shards.get()) * size_of::<U64>() as u64
        + u64::from(head.accounts.get()) * size_of::<AccountLayout>() as u64
        + u64::from(head.keys.get()) * size_of::<KeyLayout>() as u64;
    Ok(len)
}

fn base_len(bytes: &[u8]) -> Result<u64, Fault> {
    let (head, _) = BaseHead::ref_from_prefix(bytes).map_err(|_| Fault::Length)?;
    if head.magic != BaseHead::MAGIC {
        return Err(Fault::NoImage);
    }
    check_counts(head.version.get(), head.shards.get(), head.accounts.get(), head.keys.get())?;
    let account = size_of::<AccountLayout>() + size_of::<Entry>();
    let len = size_of::<BaseHead>() as u64
        + u64::from(head.ends.get()) * size_of::<End>() as u64
        + u64::from(head.accounts.get()) * account as u64
        + u64::from(head.keys.get()) * size_of::<KeyLayout>() as u64
        + u64::from(head.names_len.get());
    Ok(len)
}

fn check_counts(version: u16, shards: u16, accounts: u32, keys: u32) -> Result<(), Fault> {
    if version != FORMAT_VERSION {
        return Err(Fault::Version(version));
    }
    let is_within = (1..=SHARDS_MAX).contains(&usize::from(shards))
        && accounts as usize <= ACCOUNTS_MAX
        && keys as usize <= KEYS_MAX;
    if is_within { Ok(()) } else { Err(Fault::Counts) }
}

fn check_whole(bytes: &mut [u8], expected: u64) -> Result<Hash, Fault> {
    if bytes.len() as u64 != expected {
        return Err(Fault::Length);
    }
    hash::check(bytes, &Hash::NONE).ok_or(Fault::Hash)
}

fn take<T>(bytes: &[u8], count: u32) -> Result<(&[T], &[u8]), Fault>
where
    T: FromBytes + Immutable + KnownLayout + Unaligned,
{
    <[T]>::ref_from_prefix_with_elems(bytes, count as usize).map_err(|_| Fault::Length)
}

fn count(len: usize) -> u32 {
    u32::try_from(len).expect("limits of accounts and keys are less")
}

fn put_accounts(bytes: &mut Vec<u8>, accounts: &[AccountImage]) {
    let is_sorted = accounts.is_sorted_by(|a, b| a.account < b.account);
    assert!(is_sorted, "accounts stand in their order, each once");
    for image in accounts {
        let AccountImage { account, words, balance_max, payable_max } = *image;
        assert!((words.held_in, words.held_out) == (0, 0), "no hold survives a restart");
        assert!(is_within(&words), "WORD_MAX is more than a ledger can come to: {words:?}");
        let layout = AccountLayout {
            account: account.0.into(),
            reserved: [0; 4],
            balance_max: balance_max.into(),
            payable_max: payable_max.into(),
            balance: words.balance.into(),
            prepaid: words.prepaid.into(),
            frozen: words.frozen.into(),
        };
        bytes.extend(layout.as_bytes());
    }
}

fn read_accounts(layouts: &[AccountLayout]) -> Result<Vec<AccountImage>, Fault> {
    let mut images = Vec::with_capacity(layouts.len());
    for layout in layouts {
        if layout.reserved != [0; 4] {
            return Err(Fault::Reserved);
        }
        let words = Words {
            balance: layout.balance.get(),
            prepaid: layout.prepaid.get(),
            frozen: layout.frozen.get(),
            ..Words::default()
        };
        if !is_within(&words) {
            return Err(Fault::Image);
        }
        images.push(AccountImage {
            account: AccountId(layout.account.get()),
            words,
            balance_max: layout.balance_max.get(),
            payable_max: layout.payable_max.get(),
        });
    }
    let is_sorted = images.is_sorted_by(|a, b| a.account < b.account);
    if is_sorted { Ok(images) } else { Err(Fault::Image) }
}

/// The identities of a ledger, and that sums over it fit 128 bits.
pub(crate) fn is_within(words: &Words) -> bool {
    let Words { balance, prepaid, frozen, .. } = *words;
    let is_small = [balance, prepaid, frozen].iter().all(|word| word.unsigned_abs() < WORD_MAX);
    is_small && prepaid >= 0 && frozen >= 0 && (prepaid == 0 || balance <= 0)
}

fn put_keys(bytes: &mut Vec<u8>, keys: &[(Key, KeyState)]) {
    assert!(keys.is_sorted_by(|a, b| a.0 < b.0), "keys stand in their order, each once");
    for (key, state) in keys {
        let layout = KeyLayout {
            key: key.0,
            amount: state.amount.into(),
            account: state.account.0.into(),
            kind: match state.kind {
                KeyKind::Credited => kind::CREDITED,
                KeyKind::Reversed => kind::REVERSED,
                KeyKind::Frozen => kind::FROZEN,
                KeyKind::Settled => kind::SETTLED,
                KeyKind::Cancelled => kind::CANCELLED,
            },
            reserved: [0; 3],
        };
        bytes.extend(layout.as_bytes());
    }
}

fn read_keys(layouts: &[KeyLayout]) -> Result<Vec<(Key, KeyState)>, Fault> {
    let mut keys = Vec::with_capacity(layouts.len());
    for layout in layouts {
        if layout.reserved != [0; 3] {
            return Err(Fault::Reserved);
        }
        let (kind, most) = match layout.kind {
            kind::CREDITED => (KeyKind::Credited, u128::from(u64::MAX)),
            kind::REVERSED => (KeyKind::Reversed, u128::from(u64::MAX)),
            kind::FROZEN => (KeyKind::Frozen, WORD_MAX - 1),
            kind::SETTLED => (KeyKind::Settled, WORD_MAX - 1),
            kind::CANCELLED => (KeyKind::Cancelled, WORD_MAX - 1),
            other => return Err(Fault::Kind(other)),
        };
        let (amount, account) = (layout.amount.get(), AccountId(layout.account.get()));
        if amount > most {
            return Err(Fault::Image);
        }
        keys.push((Key(layout.key), KeyState { account, amount, kind }));
    }
    if keys.is_sorted_by(|a, b| a.0 < b.0) { Ok(keys) } else { Err(Fault::Image) }
}

/// What is frozen of an account is what its frozen keys say, and keys are of accounts that are there.
fn check_frozen(accounts: &[AccountImage], keys: &[(Key, KeyState)]) -> Result<(), Fault> {
    let mut sums = vec![0_u128; accounts.len()];
    for (_, state) in keys {
        let at = accounts.binary_search_by_key(&state.account, |image| image.account);
        let sum = &mut sums[at.map_err(|_| Fault::Image)?];
        if state.kind == KeyKind::Frozen {
            *sum = sum.checked_add(state.amount).ok_or(Fault::Image)?;
        }
    }
    let is_sum = |(image, sum): (&AccountImage, &u128)| image.words.frozen.unsigned_abs() == *sum;
    if accounts.iter().zip(&sums).all(is_sum) { Ok(()) } else { Err(Fault::Image) }
}

fn read_entries(
    images: Vec<AccountImage>,
    entries: &[Entry],
    names: &[u8],
    shards: u16,
) -> Result<Vec<Account>, Fault> {
    let mut names = core::str::from_utf8(names).map_err(|_| Fault::Image)?;
    let mut name = |len: u8| {
        let (name, rest) = names.split_at_checked(len.into()).ok_or(Fault::Image)?;
        names = rest;
        Ok(name.to_owned())
    };
    let mut accounts = Vec::with_capacity(images.len());
    for (image, entry) in images.into_iter().zip(entries) {
        if entry.reserved != [0; 3] {
            return Err(Fault::Reserved);
        }
        if entry.shard.get() >= shards {
            return Err(Fault::Image);
        }
        accounts.push(Account {
            shard: ShardId(entry.shard.get()),
            name: name(entry.name_len)?,
            asset_code: name(entry.asset_code_len)?,
            asset_scale: entry.asset_scale,
            configured: ConfiguredLimits {
                balance_max: entry.configured_balance_max.get(),
                payable_max: entry.configured_payable_max.get(),
            },
            image,
        });
    }
    if names.is_empty() { Ok(accounts) } else { Err(Fault::Length) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;

    fn account(number: u32, words: Words) -> AccountImage {
        let (balance_max, payable_max) = (u64::MAX, u64::from(number));
        AccountImage { account: AccountId(number), words, balance_max, payable_max }
    }

    fn keys() -> Vec<(Key, KeyState)> {
        let state = |account, amount, kind| KeyState { account: AccountId(account), amount, kind };
        vec![
            (Key([1; 16]), state(4, 70, KeyKind::Frozen)),
            (Key([2; 16]), state(4, u64::MAX.into(), KeyKind::Credited)),
            (Key([3; 16]), state(4, 7, KeyKind::Frozen)),
            (Key([4; 16]), state(1, 8, KeyKind::Reversed)),
            (Key([5; 16]), state(1, 1 << 100, KeyKind::Settled)),
            (Key([6; 16]), state(1, 9, KeyKind::Cancelled)),
        ]
    }

    fn snapshot() -> ShardImage {
        let owes = Words { balance: -(1 << 90), prepaid: 5, ..Words::default() };
        let paid = Words { balance: 12, frozen: 77, ..Words::default() };
        ShardImage {
            shard: ShardId(1),
            appended: 99,
            applied: vec![1, 98, u64::MAX],
            accounts: vec![account(1, owes), account(4, paid)],
            keys: keys(),
        }
    }

    fn base() -> Base {
        let named = |name: &str, shard, image| Account {
            shard: ShardId(shard),
            name: name.into(),
            asset_code: "USD".into(),
            asset_scale: 9,
            configured: ConfiguredLimits { balance_max: 3, payable_max: u64::MAX },
            image,
        };
        let mut words = [Words::default(); 5];
        words[4].frozen = 77;
        let names = ["alice", "bob", "", "zoë", "x"];
        let accounts = names.iter().zip(0..).map(|(name, number)| {
            let shard = u16::try_from(number % 2).unwrap();
            named(name, shard, account(number, words[number as usize]))
        });
        let ends = vec![Link { position: 3, hash: Hash([8; 32]) }];
        let (journal, accounts) = (JournalId([9; 16]), accounts.collect());
        Base { journal, generation: 2, shards: 2, ends, accounts, keys: keys() }
    }

    #[test]
    fn a_snapshot_and_a_base_come_back_as_they_were() {
        let mut bytes = encode_snapshot(3, &snapshot());
        assert_eq!(decode_snapshot(&mut bytes), Ok((3, snapshot())));
        let (mut bytes, hash) = encode_base(&base());
        assert_eq!(decode_base(&mut bytes), Ok((base(), hash)));
    }

    #[test]
    fn any_flipped_bit_any_shorter_and_any_longer_file_is_found() {
        let mut disk = Memory::default();
        for whole in [encode_snapshot(3, &snapshot()), encode_base(&base()).0] {
            let mut is_refused = |bytes: &[u8]| {
                disk.files.insert("x".into(), bytes.to_vec());
                let snapshot = read(&mut disk, "x", decode_snapshot).unwrap().is_err();
                snapshot && read(&mut disk, "x", decode_base).unwrap().is_err()
            };
            for bit in 0..whole.len() * 8 {
                let mut bytes = whole.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(is_refused(&bytes), "bit {bit}");
            }
            for len in 0..whole.len() {
                assert!(is_refused(&whole[..len]), "{len} bytes");
            }
            assert!(is_refused(&[&whole[..], &[0]].concat()));
        }
    }

    #[test]
    fn what_no_switch_writes_is_refused_under_a_right_hash() {
        let refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = encode_snapshot(3, &snapshot());
            change(&mut bytes);
            hash::seal(&mut bytes, &Hash::NONE);
            decode_snapshot(&mut bytes).unwrap_err()
        };
        let accounts = 72 + 3 * 8;
        let keys = accounts + 2 * 72;
        // Reserved bytes of the head, of an account, of a key.
        for offset in [58, accounts + 4, keys + 37] {
            assert_eq!(refused(&|bytes| bytes[offset] = 1), Fault::Reserved, "byte {offset}");
        }
        // A shard beyond the last; accounts, then keys, out of order; a kind that is none.
        assert_eq!(refused(&|bytes| bytes[42] = 3), Fault::Image);
        assert_eq!(refused(&|bytes| bytes[accounts] = 4), Fault::Image);
        assert_eq!(refused(&|bytes| bytes[keys] = 3), Fault::Image);
        assert_eq!(refused(&|bytes| bytes[keys + 36] = 1), Fault::Kind(1));
        // Prepaid and owing; negative; beyond any ledger; frozen without a key; a key of nobody.
        assert_eq!(refused(&|bytes| bytes[accounts + 39] = 0), Fault::Image);
        assert_eq!(refused(&|bytes| bytes[accounts + 55] = 0x80), Fault::Image);
        assert_eq!(refused(&|bytes| bytes[accounts + 72 + 38] = 1), Fault::Image);
        assert_eq!(refused(&|bytes| bytes[accounts + 72 + 56] = 78), Fault::Image);
        assert_eq!(refused(&|bytes| bytes[keys + 32] = 0), Fault::Image);
    }

    #[test]
    fn counts_beyond_any_switch_are_refused_before_they_are_used() {
        let mut disk = Memory::default();
        for whole in [encode_snapshot(3, &snapshot()), encode_base(&base()).0] {
            for offset in [48, 52] {
                let mut bytes = whole.clone();
                bytes[offset..offset + 4].fill(0xff);
                disk.files.insert("x".into(), bytes);
                assert_eq!(read(&mut disk, "x", decode_base).unwrap(), Err(Fault::Counts));
            }
        }
    }
}
