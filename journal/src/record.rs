//! Records as blocks of 64 bytes, and back.
//!
//! The first byte of a record is its kind, the second how many blocks go on with it. A record has one
//! encoding: whatever is spelled otherwise is no record.

use core::num::NonZeroU32;

use m2_core::record::{Key, KeyRecord, LateFulfill, LimitsRecord, MoneyRecord, PairRecord, Record};
use m2_core::{AccountId, ConnectionId, Durability};
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, IntoBytes, transmute_ref};

use crate::fault::Fault;
use crate::layout::Block;
use crate::layout::record::{
    Keyed, LateFulfill as LateFulfillLayout, Limits, Money, POSITIONS_IN_BLOCK, POSITIONS_IN_HEAD,
    Pair,
};
use crate::limits::{SHARDS_MAX, WORD_MAX};

/// The first byte of a record.
pub mod kind {
    /// Both legs of a fulfilled pair.
    pub const PAIR: u8 = 1;
    /// A FULFILL that came too late to count.
    pub const LATE_FULFILL: u8 = 2;
    /// Limits of an account were changed.
    pub const LIMITS: u8 = 3;
    /// An amount left the balance to be paid.
    pub const FROZEN: u8 = 4;
    /// A frozen amount has reached the peer.
    pub const SETTLED: u8 = 5;
    /// A frozen amount cannot reach the peer.
    pub const CANCELLED: u8 = 6;
    /// The peer paid outside the packet path.
    pub const CREDITED: u8 = 7;
    /// A payment of the peer proved void.
    pub const REVERSED: u8 = 8;
}

/// The third byte of a pair: what its incoming account asks for.
pub mod durability {
    /// The FULFILL waits for the record.
    pub const SYNC: u8 = 0;
    /// The FULFILL does not wait, within bounds.
    pub const ASYNC: u8 = 1;
}

/// How many blocks the record has that begins with this one.
#[must_use]
pub fn block_count(head: &Block) -> usize {
    1 + usize::from(head[1])
}

/// Whether the record that begins with this block is a credit or a reversal: those do not commute
/// with pairs.
#[must_use]
pub fn is_money(head: &Block) -> bool {
    matches!(head[0], kind::CREDITED | kind::REVERSED)
}

/// Whether nobody waits for the record that begins with this block: a pair of an account that takes
/// the risk, or evidence.
#[must_use]
pub fn may_wait(head: &Block) -> bool {
    match head[0] {
        kind::PAIR => head[2] == durability::ASYNC,
        kind::LATE_FULFILL => true,
        _ => false,
    }
}

/// Adds the blocks of a record.
///
/// # Panics
///
/// If a credit names more positions than [`SHARDS_MAX`], a pair is of an account without durability,
/// or an amount is beyond [`WORD_MAX`].
pub fn encode(record: &Record, blocks: &mut impl Extend<Block>) {
    match record {
        Record::Pair(pair) => blocks.extend([encode_pair(pair)]),
        Record::LateFulfill(late) => blocks.extend([encode_late_fulfill(late)]),
        Record::Limits(limits) => blocks.extend([encode_limits(limits)]),
        Record::Frozen(keyed) => blocks.extend([encode_keyed(kind::FROZEN, keyed)]),
        Record::Settled(keyed) => blocks.extend([encode_keyed(kind::SETTLED, keyed)]),
        Record::Cancelled(keyed) => blocks.extend([encode_keyed(kind::CANCELLED, keyed)]),
        Record::Credited(money) => encode_money(kind::CREDITED, money, blocks),
        Record::Reversed(money) => encode_money(kind::REVERSED, money, blocks),
    }
}

fn encode_pair(pair: &PairRecord) -> Block {
    block(&Pair {
        kind: kind::PAIR,
        more: 0,
        durability: match pair.durability {
            Durability::Sync => durability::SYNC,
            Durability::Async => durability::ASYNC,
            Durability::None => panic!("pairs of such an account have no record: {pair:?}"),
        },
        reserved: 0,
        rate_version: pair.rate_version.into(),
        amount_in: pair.amount_in.into(),
        amount_out: pair.amount_out.into(),
        decided_at_ms: pair.decided_at_ms.into(),
        condition_head: pair.condition_head,
        account_in: pair.account_in.0.into(),
        account_out: pair.account_out.0.into(),
        reserved_tail: [0; 8],
    })
}

fn encode_late_fulfill(late: &LateFulfill) -> Block {
    block(&LateFulfillLayout {
        kind: kind::LATE_FULFILL,
        more: 0,
        reserved: [0; 2],
        request_id: late.request_id.into(),
        account: late.connection.account.0.into(),
        epoch: late.connection.epoch.get().into(),
        came_at_ms: late.came_at_ms.into(),
        fulfillment: late.fulfillment,
        reserved_tail: [0; 8],
    })
}

fn encode_limits(limits: &LimitsRecord) -> Block {
    block(&Limits {
        kind: kind::LIMITS,
        more: 0,
        reserved: [0; 2],
        account: limits.account.0.into(),
        at_ms: limits.at_ms.into(),
        balance_max: limits.balance_max.into(),
        payable_max: limits.payable_max.into(),
        reserved_tail: [0; 32],
    })
}

fn encode_keyed(kind: u8, keyed: &KeyRecord) -> Block {
    assert!(keyed.amount < WORD_MAX, "a frozen amount is a sum of u64s");
    block(&Keyed {
        kind,
        more: 0,
        reserved: [0; 2],
        account: keyed.account.0.into(),
        at_ms: keyed.at_ms.into(),
        key: keyed.key.0,
        amount: keyed.amount.into(),
        reserved_tail: [0; 16],
    })
}

fn encode_money(kind: u8, money: &MoneyRecord, blocks: &mut impl Extend<Block>) {
    assert!(money.applied.len() <= SHARDS_MAX, "there are no more shards");
    let (first, rest) = money.applied.split_at(money.applied.len().min(POSITIONS_IN_HEAD));
    let more = rest.chunks(POSITIONS_IN_BLOCK);
    blocks.extend([block(&Money {
        kind,
        more: u8::try_from(more.len()).expect("RECORD_BLOCKS_MAX fits a byte"),
        shards: u16::try_from(money.applied.len()).expect("SHARDS_MAX is less").into(),
        account: money.account.0.into(),
        at_ms: money.at_ms.into(),
        key: money.key.0,
        amount: money.amount.into(),
        applied: positions(first),
    })]);
    blocks.extend(more.map(|chunk| block(&positions::<POSITIONS_IN_BLOCK>(chunk))));
}

fn positions<const N: usize>(some: &[u64]) -> [U64; N] {
    core::array::from_fn(|index| some.get(index).copied().unwrap_or(0).into())
}

fn block(layout: &(impl IntoBytes + zerocopy::Immutable)) -> Block {
    layout.as_bytes().try_into().expect("each layout has the size of a block")
}

/// The first record of `blocks`, and how many of them it takes.
///
/// # Errors
///
/// When no record is spelled like this.
pub fn decode(blocks: &[Block]) -> Result<(Record, usize), Fault> {
    let head = blocks.first().ok_or(Fault::Short)?;
    let count = block_count(head);
    if !is_money(head) && count != 1 {
        return Err(Fault::Counts);
    }
    let record = match head[0] {
        kind::PAIR => Record::Pair(decode_pair(pair(head)?)),
        kind::LATE_FULFILL => Record::LateFulfill(decode_late_fulfill(head)?),
        kind::LIMITS => Record::Limits(decode_limits(head)?),
        kind::FROZEN => Record::Frozen(decode_keyed(head)?),
        kind::SETTLED => Record::Settled(decode_keyed(head)?),
        kind::CANCELLED => Record::Cancelled(decode_keyed(head)?),
        kind::CREDITED => Record::Credited(decode_money(blocks)?),
        kind::REVERSED => Record::Reversed(decode_money(blocks)?),
        other => return Err(Fault::Kind(other)),
    };
    Ok((record, count))
}

/// A block that is a pair, read in place: nearly all records are one.
///
/// # Errors
///
/// When no pair is spelled like this.
pub fn pair(head: &Block) -> Result<&Pair, Fault> {
    let pair: &Pair = transmute_ref!(head);
    if pair.kind != kind::PAIR {
        return Err(Fault::Kind(pair.kind));
    }
    let is_reserved_zero = (pair.reserved == 0) & (pair.reserved_tail == [0; 8]);
    if !is_reserved_zero {
        return Err(Fault::Reserved);
    }
    if pair.more != 0 {
        return Err(Fault::Counts);
    }
    if pair.durability > durability::ASYNC { Err(Fault::Record) } else { Ok(pair) }
}

fn decode_pair(pair: &Pair) -> PairRecord {
    PairRecord {
        amount_in: pair.amount_in.get(),
        amount_out: pair.amount_out.get(),
        decided_at_ms: pair.decided_at_ms.get(),
        condition_head: pair.condition_head,
        account_in: AccountId(pair.account_in.get()),
        account_out: AccountId(pair.account_out.get()),
        rate_version: pair.rate_version.get(),
        durability: match pair.durability {
            durability::SYNC => Durability::Sync,
            _ => Durability::Async,
        },
    }
}

fn decode_late_fulfill(head: &Block) -> Result<LateFulfill, Fault> {
    let late: &LateFulfillLayout = transmute_ref!(head);
    if late.reserved != [0; 2] || late.reserved_tail != [0; 8] {
        return Err(Fault::Reserved);
    }
    let epoch = NonZeroU32::new(late.epoch.get()).ok_or(Fault::Record)?;
    Ok(LateFulfill {
        connection: ConnectionId { account: AccountId(late.account.get()), epoch },
        request_id: late.request_id.get(),
        came_at_ms: late.came_at_ms.get(),
        fulfillment: late.fulfillment,
    })
}

fn decode_limits(head: &Block) -> Result<LimitsRecord, Fault> {
    let limits: &Limits = transmute_ref!(head);
    if limits.reserved != [0; 2] || limits.reserved_tail != [0; 32] {
        return Err(Fault::Reserved);
    }
    Ok(LimitsRecord {
        account: AccountId(limits.account.get()),
        balance_max: limits.balance_max.get(),
        payable_max: limits.payable_max.get(),
        at_ms: limits.at_ms.get(),
    })
}

fn decode_keyed(head: &Block) -> Result<KeyRecord, Fault> {
    let keyed: &Keyed = transmute_ref!(head);
    if keyed.reserved != [0; 2] || keyed.reserved_tail != [0; 16] {
        return Err(Fault::Reserved);
    }
    if keyed.amount.get() >= WORD_MAX {
        return Err(Fault::Record);
    }
    Ok(KeyRecord {
        account: AccountId(keyed.account.get()),
        key: Key(keyed.key),
        amount: keyed.amount.get(),
        at_ms: keyed.at_ms.get(),
    })
}

fn decode_money(blocks: &[Block]) -> Result<MoneyRecord, Fault> {
    let (head, rest) = blocks.split_first().ok_or(Fault::Short)?;
    let money: &Money = transmute_ref!(head);
    let shards = usize::from(money.shards.get());
    let more = shards.saturating_sub(POSITIONS_IN_HEAD).div_ceil(POSITIONS_IN_BLOCK);
    if !(1..=SHARDS_MAX).contains(&shards) || usize::from(money.more) != more {
        return Err(Fault::Counts);
    }
    let rest = rest.get(..more).ok_or(Fault::Short)?;
    let rest = <[U64]>::ref_from_bytes(rest.as_flattened()).map_err(|_| Fault::Counts)?;
    let mut applied: Vec<u64> = money.applied.iter().chain(rest).map(|each| each.get()).collect();
    if applied.drain(shards.min(applied.len())..).any(|position| position != 0) {
        return Err(Fault::Reserved);
    }
    Ok(MoneyRecord {
        account: AccountId(money.account.get()),
        key: Key(money.key),
        amount: money.amount.get(),
        at_ms: money.at_ms.get(),
        applied: applied.into(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_record() -> impl Strategy<Value = Record> {
        let account = || any::<u32>().prop_map(AccountId);
        let pair = (any::<[u64; 3]>(), any::<[u8; 16]>(), any::<[u32; 3]>(), any::<bool>());
        let pair = pair.prop_map(|(amounts, condition_head, ids, is_sync)| {
            Record::Pair(PairRecord {
                amount_in: amounts[0],
                amount_out: amounts[1],
                decided_at_ms: amounts[2],
                condition_head,
                account_in: AccountId(ids[0]),
                account_out: AccountId(ids[1]),
                rate_version: ids[2],
                durability: if is_sync { Durability::Sync } else { Durability::Async },
            })
        });
        let late = (account(), any::<(NonZeroU32, u32, u64)>(), any::<[u8; 32]>());
        let late = late.prop_map(|(account, (epoch, request_id, came_at_ms), fulfillment)| {
            let connection = ConnectionId { account, epoch };
            Record::LateFulfill(LateFulfill { connection, request_id, came_at_ms, fulfillment })
        });
        let limits = (account(), any::<[u64; 3]>()).prop_map(|(account, numbers)| {
            let [balance_max, payable_max, at_ms] = numbers;
            Record::Limits(LimitsRecord { account, balance_max, payable_max, at_ms })
        });
        let keyed = (account(), any::<[u8; 16]>(), 0..WORD_MAX, any::<u64>(), 0..3);
        let keyed = keyed.prop_map(|(account, key, amount, at_ms, which)| {
            let record = KeyRecord { account, key: Key(key), amount, at_ms };
            match which {
                0 => Record::Frozen(record),
                1 => Record::Settled(record),
                _ => Record::Cancelled(record),
            }
        });
        let applied = prop::collection::vec(any::<u64>(), 1..=SHARDS_MAX);
        let money = (account(), any::<[u8; 16]>(), any::<[u64; 2]>(), applied, any::<bool>());
        let money = money.prop_map(|(account, key, [amount, at_ms], applied, is_credit)| {
            let applied = applied.into();
            let record = MoneyRecord { account, key: Key(key), amount, at_ms, applied };
            if is_credit { Record::Credited(record) } else { Record::Reversed(record) }
        });
        prop_oneof![pair, late, limits, keyed, money]
    }

    fn encoded(record: &Record) -> Vec<Block> {
        let mut blocks = Vec::new();
        encode(record, &mut blocks);
        blocks
    }

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_was(record in any_record(), behind in any::<[u8; 32]>()) {
            let mut blocks = encoded(&record);
            let count = blocks.len();
            prop_assert_eq!(block_count(&blocks[0]), count);
            prop_assert_eq!(is_money(&blocks[0]), matches!(record, Record::Credited(_) | Record::Reversed(_)));
            for fewer in 0..count {
                prop_assert_eq!(decode(&blocks[..fewer]), Err(Fault::Short));
            }
            blocks.push([behind[0]; 64]);
            prop_assert_eq!(decode(&blocks), Ok((record, count)));
        }

        /// What is decoded is what would be encoded: no byte is ignored.
        #[test]
        fn any_bytes_are_no_record_or_the_only_spelling_of_one(
            record in any_record(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            kind in 0..=9_u8,
        ) {
            let mut blocks = encoded(&record);
            blocks.push([0; 64]);
            if kind > 0 && changes.len() == 3 {
                blocks[0][0] = kind;
            }
            for (index, byte) in changes {
                let bytes = blocks.as_flattened_mut();
                bytes[index.index(bytes.len())] = byte;
            }
            if let Ok((record, count)) = decode(&blocks) {
                prop_assert_eq!(encoded(&record), &blocks[..count]);
            }
        }
    }

    #[test]
    fn who_waits_for_a_record_is_told_by_its_first_block() {
        let head = |kind, how| {
            let mut block = [0; 64];
            (block[0], block[2]) = (kind, how);
            block
        };
        assert!(!may_wait(&head(kind::PAIR, durability::SYNC)));
        assert!(may_wait(&head(kind::PAIR, durability::ASYNC)));
        assert!(may_wait(&head(kind::LATE_FULFILL, 0)));
        for kind in kind::LIMITS..=kind::REVERSED {
            assert!(!may_wait(&head(kind, 1)));
        }
    }

    #[test]
    fn amounts_and_kinds_that_no_switch_writes_are_refused() {
        for kind in [0, 9, 255] {
            let mut block = [0; 64];
            block[0] = kind;
            assert_eq!(decode(&[block]), Err(Fault::Kind(kind)));
        }
        let account = AccountId(1);
        let keyed = KeyRecord { account, key: Key([1; 16]), amount: WORD_MAX - 1, at_ms: 0 };
        let mut blocks = encoded(&Record::Frozen(keyed));
        assert!(decode(&blocks).is_ok());
        blocks[0][32..48].copy_from_slice(&WORD_MAX.to_le_bytes());
        assert_eq!(decode(&blocks), Err(Fault::Record));
    }
}
