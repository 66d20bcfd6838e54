//! Cutting a damaged stream, by a choice that an operator has to make: records that were promised to
//! last are forgotten, so that those before them can be used.
//!
//! ```text
//!   plan   finds the batch that begins at the position, and what would go: changes nothing
//!   cut    1. saves aside what comes behind, and the .flushed file
//!          2. moves snapshots aside that name what comes behind
//!          3. truncates the stream
//!          4. tells in the .flushed file that no more had been flushed
//! ```
//!
//! A crash between any two of these leaves a journal that still refuses to start, and the same cut can
//! be made again.

use core::fmt;
use std::collections::BTreeMap;

use m2_core::record::Record;
use m2_core::{AccountId, ShardId, ShardImage};

use super::found::{self, generations};
use super::{Tail, mend};
use crate::batch::Stream;
use crate::error::Error;
use crate::fault::Fault;
use crate::image::Base;
use crate::names::{self, CUT, SnapshotName};
use crate::record;
use crate::scan::{End, Heads, Link, Place, Scan};
use crate::slot;
use crate::storage::Storage;

/// What a cut forgets.
#[derive(Clone, Debug)]
pub struct Cut {
    /// The newest generation: the others rest on nothing that could be cut.
    pub generation: u32,
    /// Whose records.
    pub stream: ShardId,
    /// The first that is forgotten.
    pub position: u64,
    /// Where it stands.
    pub place: Place,
    /// All below had been flushed, as far as anything says.
    pub flushed: u64,
    /// Records that are forgotten, as far as anything says that there were any.
    pub records: u64,
    /// Of them, those that can still be read. Nothing vouches for them: the chain is broken before.
    pub readable: u64,
    /// What those come to.
    pub accounts: BTreeMap<AccountId, Forgotten>,
    /// Snapshots that hold some of it. Older ones, or the base, stand in for them.
    pub snapshots: Vec<SnapshotName>,
    /// What is wrong with the stream's `.flushed` file, which is written anew.
    pub slots: Option<Fault>,
    tail: Tail,
}

/// What is forgotten of one account, in its units.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Forgotten {
    /// Pairs whose PREPARE came from it: how many.
    pub pairs_in: u64,
    /// What it owes us for them.
    pub amount_in: u128,
    /// Pairs that it fulfilled: how many.
    pub pairs_out: u64,
    /// What we owe it for them.
    pub amount_out: u128,
    /// Credits, reversals, frozen amounts and their ends, limits and evidence: how many.
    pub others: u64,
}

/// Why a stream cannot be cut there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// There is no generation.
    NoJournal,
    /// There is no such stream.
    NoStream {
        /// How many there are.
        shards: usize,
    },
    /// The record stands within a batch, which is whole or not at all.
    Within {
        /// Its first record.
        first: u64,
        /// Position after its last.
        end: u64,
    },
    /// The stream can be read up to a lower position only.
    Beyond {
        /// Where it ends.
        end: u64,
    },
    /// Records before it are gone for good, and were good.
    Retired {
        /// The first that is left.
        first: u64,
    },
    /// Nothing is there to forget.
    Nothing {
        /// Where the stream ends.
        end: u64,
    },
    /// Without the snapshots that hold what is cut, a shard has nothing to begin from.
    NoBeginning {
        /// Which.
        shard: u16,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoJournal => f.write_str("there is no generation in the folder"),
            Self::NoStream { shards } => {
                write!(f, "the newest generation has {shards} streams, counted from 0")
            }
            Self::Within { first, end } => write!(
                f,
                "this record stands in a batch of records {first} up to {end}, which is there whole \
                 or not at all: cut at {first} or at {end}"
            ),
            Self::Beyond { end } => {
                write!(f, "the stream can be read up to record {end} only: cut there")
            }
            Self::Retired { first } => write!(
                f,
                "the records before {first} were retired, and are in every snapshot: cut at {first} \
                 or behind it"
            ),
            Self::Nothing { end } => {
                write!(f, "the stream ends with record {end}, and nothing behind it is missing")
            }
            Self::NoBeginning { shard } => write!(
                f,
                "the only snapshots of shard {shard} hold what would be cut, and the records before \
                 them were retired: restore the stream, or an older snapshot, from a copy"
            ),
        }
    }
}

impl core::error::Error for Refusal {}

/// What cutting a stream of the newest generation at `position` means. Changes nothing.
///
/// # Errors
///
/// When the disk cannot be read or the base is damaged; inside, when it cannot be cut there.
pub fn plan(
    storage: &mut impl Storage,
    stream: u16,
    position: u64,
) -> Result<Result<Cut, Refusal>, Error> {
    let Some(generation) = generations(storage)?.pop() else {
        return Ok(Err(Refusal::NoJournal));
    };
    let (base, base_hash) = found::read_base(storage, generation)?
        .map_err(|fault| Error::damage(&names::base(generation), 0, fault))?;
    if usize::from(stream) >= base.shards {
        return Ok(Err(Refusal::NoStream { shards: base.shards }));
    }
    let (mut segments, snapshots) = found::list(storage, &base)?;
    let firsts = found::first_positions(storage, &segments)?;
    let stream = Stream { generation, id: ShardId(stream), shards: base.shards };
    let kept = keep(storage, &base, &snapshots, stream.id, position)?;
    if let Some(shard) = kept.without_beginning(&firsts) {
        return Ok(Err(Refusal::NoBeginning { shard }));
    }
    let first = firsts[usize::from(stream.id.0)];
    let segments = core::mem::take(&mut segments[usize::from(stream.id.0)]);
    let mut scan = Scan::new(storage, stream, segments.clone(), base_hash);
    let end = match find(&mut scan, first, position)? {
        Ok(end) => end,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let claimed = if end.fault.is_some() { scan.claimed()? } else { 0 };
    let slots = found::look_at_slots(storage, generation, stream.id)?;
    let flushed = claimed.max(slots.unwrap_or(None).unwrap_or(0)).max(kept.named);
    let tail = Tail { stream, end, segments };
    let mut cut = Cut {
        generation,
        stream: stream.id,
        position,
        place: end.place,
        flushed,
        records: flushed.saturating_sub(position),
        readable: 0,
        accounts: BTreeMap::new(),
        snapshots: kept.aside,
        slots: slots.err(),
        tail,
    };
    cut.look(storage)?;
    let is_nothing = end.fault.is_none() && cut.records == 0 && cut.slots.is_none();
    Ok(if is_nothing { Err(Refusal::Nothing { end: position }) } else { Ok(cut) })
}

impl Cut {
    /// Makes it. Tells where what was cut is now.
    ///
    /// # Errors
    ///
    /// When the disk cannot be read or written. It can be planned and made again then.
    pub fn make(self, storage: &mut impl Storage) -> Result<Vec<String>, Error> {
        let Self { generation, stream, position, snapshots, tail, .. } = self;
        let slots = names::flushed(generation, stream);
        let mut aside = mend::save_tail(storage, &tail)?;
        aside.extend(mend::save(storage, &slots, 0)?);
        let folder = names::folder(generation);
        for name in snapshots {
            let (from, to) = (name.path(), mend::saved_name(&name.path(), 0));
            storage.create_folder(CUT).map_err(Error::io(CUT))?;
            storage.rename(&from, &to).map_err(Error::io(&from))?;
            storage.sync_folder(CUT).map_err(Error::io(CUT))?;
            storage.sync_folder(&folder).map_err(Error::io(&folder))?;
            aside.push(to);
        }
        mend::cut_tail(storage, &tail)?;
        for index in 0..2 {
            let slot = slot::encode(generation, stream, position);
            let written = storage.write_at(&slots, slot::offset(index), &slot);
            written.map_err(Error::io(&slots))?;
        }
        storage.sync_data(&slots).map_err(Error::io(&slots))?;
        storage.sync_folder(&folder).map_err(Error::io(&folder))?;
        Ok(aside)
    }

    /// Adds up what can be read behind the cut. Positions only grow; what says otherwise is not of
    /// this stream any more.
    fn look(&mut self, storage: &mut impl Storage) -> Result<(), Error> {
        let Tail { stream, segments, .. } = &self.tail;
        let stream = *stream;
        let from = segments.iter().filter(|name| **name >= self.place.segment).copied();
        let mut heads = Heads::new(storage, stream, from.collect());
        let mut next = self.position;
        while let Some((place, head)) = heads.next_head()? {
            if place < self.place || head.position < next {
                continue;
            }
            let Some(batch) = heads.batch(place, head)? else { continue };
            next = head.end();
            self.records = self.records.max(next - self.position);
            let mut blocks = batch.blocks;
            while let Ok((record, count)) = record::decode(blocks) {
                blocks = &blocks[count..];
                self.readable += 1;
                self.forget(&record);
            }
        }
        Ok(())
    }

    fn forget(&mut self, record: &Record) {
        let other = match record {
            Record::Pair(pair) => {
                let of = self.accounts.entry(pair.account_in).or_default();
                of.pairs_in += 1;
                of.amount_in += u128::from(pair.amount_in);
                let of = self.accounts.entry(pair.account_out).or_default();
                of.pairs_out += 1;
                of.amount_out += u128::from(pair.amount_out);
                return;
            }
            Record::LateFulfill(late) => late.connection.account,
            Record::Limits(limits) => limits.account,
            Record::Frozen(keyed) | Record::Settled(keyed) | Record::Cancelled(keyed) => {
                keyed.account
            }
            Record::Credited(money) | Record::Reversed(money) => money.account,
        };
        self.accounts.entry(other).or_default().others += 1;
    }
}

/// What the snapshots of all shards come to when a stream is cut.
struct Kept {
    /// By shard: the newest that names nothing of what is cut.
    newest: Vec<Option<ShardImage>>,
    /// Those that do.
    aside: Vec<SnapshotName>,
    /// Up to where any of them says that the stream has gone.
    named: u64,
}

fn keep(
    storage: &mut impl Storage,
    base: &Base,
    snapshots: &[Vec<SnapshotName>],
    stream: ShardId,
    position: u64,
) -> Result<Kept, Error> {
    let mut kept = Kept { newest: vec![None; base.shards], aside: Vec::new(), named: 0 };
    for (shard, names) in snapshots.iter().enumerate() {
        for name in names {
            // One that is damaged is left out by every recovery.
            let Ok(image) = found::read_snapshot(storage, base, *name)? else { continue };
            let applied = image.applied[usize::from(stream.0)];
            let own = if image.shard == stream { image.appended } else { 0 };
            kept.named = kept.named.max(applied).max(own);
            match applied.max(own) <= position {
                true => kept.newest[shard] = Some(image),
                false => kept.aside.push(*name),
            }
        }
    }
    Ok(kept)
}

impl Kept {
    /// A shard whose words would need records that are gone.
    fn without_beginning(&self, firsts: &[u64]) -> Option<u16> {
        let lacks = |(shard, image): (usize, &Option<ShardImage>)| match image {
            None => firsts.iter().any(|first| *first > 0),
            Some(image) => {
                image.appended < firsts[shard]
                    || image.applied.iter().zip(firsts).any(|(applied, first)| applied < first)
            }
        };
        let shard = self.newest.iter().enumerate().position(lacks)?;
        Some(u16::try_from(shard).expect("SHARDS_MAX is less"))
    }
}

/// Where the batch stands that begins with the record at `position`, or would.
fn find<S: Storage>(
    scan: &mut Scan<'_, S>,
    first: u64,
    position: u64,
) -> Result<Result<End, Refusal>, Error> {
    if position < first {
        return Ok(Err(Refusal::Retired { first }));
    }
    let mut found = None;
    while let Some((place, batch)) = scan.next_batch()? {
        let head = batch.head;
        if head.position == position && head.records > 0 && found.is_none() {
            found = Some(place);
        }
        if head.position < position && position < head.end() {
            return Ok(Err(Refusal::Within { first: head.position, end: head.end() }));
        }
    }
    let end = scan.end();
    Ok(match found {
        Some(place) => {
            let link = Link { position, hash: end.link.hash };
            Ok(End { link, place, fault: end.fault })
        }
        None if end.link.position == position => Ok(end),
        None => Err(Refusal::Beyond { end: end.link.position }),
    })
}
