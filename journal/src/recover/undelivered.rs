//! FULFILLs that may not have reached whoever sent the PREPARE: their records are durable, and the
//! last batch does not say yet that they were handed to a socket; or they were spilled, which says nothing
//! of that at all.

use std::collections::BTreeMap;

use m2_core::record::{PairRecord, Record};
use m2_core::{AccountId, ShardId};

use super::{Part, first_needed};
use crate::error::Error;
use crate::names::SegmentName;
use crate::record;
use crate::replay::Replay;
use crate::scan::Heads;
use crate::spill::Spilled;
use crate::storage::Storage;

/// Packets whose sender owes us, and may not have its FULFILL.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Undelivered {
    /// By the account that sent the PREPARE: how many, and units of that account.
    pub by_account: BTreeMap<AccountId, Perhaps>,
    /// The first of them, stream by stream, no more than was asked for.
    pub listed: Vec<(ShardId, u64, PairRecord)>,
}

/// How many, and how much.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Perhaps {
    /// Packets.
    pub count: u64,
    /// Units of the account.
    pub value: u128,
}

impl Undelivered {
    /// Looks through the end of a stream that has been read and found good: from the segment on that
    /// has the first record in doubt, which may be in all snapshots already.
    pub(super) fn look(
        &mut self,
        storage: &mut impl Storage,
        part: &Part,
        segments: &[SegmentName],
        replay: &Replay,
        listed_max: usize,
    ) -> Result<(), Error> {
        let lowest = part.given.iter().copied().min().unwrap_or(0);
        // If none is left that is old enough, all that there are have something.
        let first = first_needed(storage, segments, lowest)?.unwrap_or(0);
        let mut heads = Heads::new(storage, part.stream, segments[first..].to_vec());
        while let Some((place, head)) = heads.next_head()? {
            if place >= part.end.place {
                break;
            }
            if head.end() <= lowest {
                continue;
            }
            let Some(batch) = heads.batch(place, head)? else { break };
            let (mut position, mut blocks) = (head.position, batch.blocks);
            while let Ok((record, count)) = record::decode(blocks) {
                if let Record::Pair(pair) = record {
                    self.pair(part, position, pair, replay, listed_max);
                }
                position += 1;
                blocks = &blocks[count..];
            }
        }
        Ok(())
    }

    /// Adds what a spill file has from a position on. Nothing that was spilled is known to have been handed
    /// out: the batch that would say so was never written.
    pub(super) fn look_at_spilled(
        &mut self,
        spilled: &Spilled,
        from: u64,
        part: &Part,
        replay: &Replay,
        listed_max: usize,
    ) {
        let (mut position, mut blocks) = (spilled.position, &spilled.blocks[..]);
        while let Ok((record, count)) = record::decode(blocks) {
            if let Record::Pair(pair) = record
                && position >= from
            {
                self.pair(part, position, pair, replay, listed_max);
            }
            position += 1;
            blocks = &blocks[count..];
        }
    }

    fn pair(
        &mut self,
        part: &Part,
        position: u64,
        pair: PairRecord,
        replay: &Replay,
        listed_max: usize,
    ) {
        let Some(shard) = replay.shard_of(pair.account_in) else { return };
        if position < part.given[usize::from(shard.0)] {
            return;
        }
        let sum = self.by_account.entry(pair.account_in).or_default();
        sum.count += 1;
        sum.value += u128::from(pair.amount_in);
        if self.listed.len() < listed_max {
            self.listed.push((part.stream.id, position, pair));
        }
    }
}
