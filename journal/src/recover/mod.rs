//! Recovery: from what a crash left on the disk to the words of every ledger.
//!
//! ```text
//!   newest generation: base --> newest good snapshot of each shard
//!   each stream: heads (which credits come) --> records (checked, applied leg by leg)
//!   the end of each stream: fault below what had been flushed --> Damage, the start stops
//!                           fault above it --> the tail is saved aside and cut off
//!   what was read is written down for good --> begin_generation: a new base, new streams
//! ```
//!
//! [`inspect`] only reads. [`recover`] mends what it read, so that a crash right after it leads to the
//! same words again. Neither trusts a length or a number before it was checked.
//!
//! What had been flushed is the highest that anybody names: the `.flushed` file, a batch or a segment
//! behind the fault, or a snapshot, which was written only when all it names was durable.

mod begin;
pub mod cut;
pub mod found;
mod mend;
mod undelivered;

use core::fmt;

use m2_core::ShardId;
use m2_core::record::{Key, KeyState};

use crate::batch::Stream;
use crate::error::{Choices, Damage, Error};
use crate::fault::Fault;
use crate::hash::Hash;
use crate::image::{Account, JournalId};
use crate::layout::FORMAT_VERSION;
use crate::names::{self, SegmentName, SnapshotName};
use crate::record;
use crate::replay::{Replay, Until};
use crate::scan::{End, Heads, Link, Place, Scan};
use crate::spill::{self, Spilled};
use crate::storage::Storage;
pub use begin::{Entry, begin_generation};
use found::{Found, read_head, try_read_head, with_money};
pub use undelivered::{Perhaps, Undelivered};

/// How much is told of the journal.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Records decided after this moment (milliseconds since 1970, UTC) are left out; then the replay
    /// begins at the base, which needs all segments.
    pub until_ms: Option<u64>,
    /// Most packets listed as perhaps undelivered; all are counted.
    pub listed_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { until_ms: None, listed_max: 1_000 }
    }
}

/// Which part of a journal is looked at, by whoever does not want all of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Section {
    /// Which start of the process; `None`: the newest.
    pub generation: Option<u32>,
    /// By stream: records from this position on are left out, and the replay begins at the base, which
    /// needs all segments. Empty: none are.
    pub ends: Vec<u64>,
}

/// How far a recovery is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// Of `bytes_total`.
    pub bytes_done: u64,
    /// Of all segments that are read.
    pub bytes_total: u64,
    /// Records applied, or found to be in a snapshot.
    pub records: u64,
}

/// What a journal comes to.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// Which journal it is; [`JournalId::NONE`] if there was none.
    pub journal: JournalId,
    /// The generation that was read; 0 if there was none.
    pub generation: u32,
    /// How many shards it had.
    pub shards: usize,
    /// All accounts that there ever were, by number.
    pub accounts: Vec<Account>,
    /// All keys, in their order.
    pub keys: Vec<(Key, KeyState)>,
    /// Where its streams end: how many records there are, with those that were taken in from spill files,
    /// and the hash of the last batch that the journal has.
    pub ends: Vec<Link>,
    /// The spill files that were taken in, and how many records each has added.
    pub spilled: Vec<(String, u64)>,
    /// How many records were read.
    pub records: u64,
    /// What an operator should know, in order.
    pub notes: Vec<Note>,
    /// FULFILLs that may not have reached the senders of their PREPAREs.
    pub undelivered: Undelivered,
}

/// Something that a recovery found and could live with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Note {
    /// A tail that was never promised to last.
    Cut {
        /// Whose records.
        stream: ShardId,
        /// Position of the first that is not there.
        position: u64,
        /// Where it was.
        file: String,
        /// At which byte.
        offset: u64,
        /// What was there.
        fault: Fault,
        /// Where its bytes are now; nowhere if the journal was only inspected.
        saved_as: Option<String>,
    },
    /// A snapshot that cannot be used; an older one, or the base, stands in for it.
    Snapshot {
        /// Which.
        file: String,
        /// What is wrong with it.
        fault: Fault,
    },
    /// Neither slot of a `.flushed` file tells a position: what had been flushed is known only from
    /// batches and snapshots.
    Slots {
        /// Which.
        file: String,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { stream, position, file, offset, fault, saved_as } => {
                let stream = stream.0;
                write!(
                    f,
                    "stream {stream} ends before record {position}: what follows in {file} from byte \
                     {offset} had never been flushed ({fault})"
                )?;
                match saved_as {
                    Some(path) => write!(f, "; it was cut off and is kept as {path}"),
                    None => Ok(()),
                }
            }
            Self::Snapshot { file, fault } => write!(
                f,
                "{file} cannot be used ({fault}): an older snapshot, or the base, stood in for it"
            ),
            Self::Slots { file } => write!(
                f,
                "{file} tells no position: what had been flushed is known only from batches and \
                 snapshots"
            ),
        }
    }
}

/// Reads the journal and changes nothing.
///
/// # Errors
///
/// When the disk cannot be read, or is damaged below what had been flushed.
pub fn inspect(
    storage: &mut impl Storage,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Recovered, Error> {
    inspect_section(storage, options, &Section::default(), progress)
}

/// Reads a part of the journal and changes nothing.
///
/// # Errors
///
/// As [`inspect`]; also when there is no such generation.
pub fn inspect_section(
    storage: &mut impl Storage,
    options: &Options,
    section: &Section,
    progress: &mut dyn FnMut(Progress),
) -> Result<Recovered, Error> {
    inspect_spilled(storage, options, section, &[], progress)
}

/// As [`inspect_section`], with records of that generation that could only be spilled, in the order of
/// their streams and positions: [`crate::spill::read`] gives them.
///
/// # Errors
///
/// As [`inspect_section`]; also when what was spilled does not go on where the journal ends, or is what no
/// switch could have written.
pub fn inspect_spilled(
    storage: &mut impl Storage,
    options: &Options,
    section: &Section,
    spilled: &[Spilled],
    progress: &mut dyn FnMut(Progress),
) -> Result<Recovered, Error> {
    let Some((mut recovered, tails)) = read(storage, options, section, spilled, progress)? else {
        return Ok(nothing());
    };
    recovered.notes.extend(tails.iter().filter_map(|tail| cut_note(&tail.end, None)));
    Ok(recovered)
}

/// Reads the journal, cuts off and saves aside what was never promised to last, and makes sure that
/// what was read stays. Afterwards comes [`begin_generation`].
///
/// # Errors
///
/// As [`inspect`], and when the disk cannot be written.
pub fn recover(
    storage: &mut impl Storage,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Recovered, Error> {
    recover_spilled(storage, options, &[], progress)
}

/// As [`recover`], with what could only be spilled: see [`inspect_spilled`]. It counts once it stands in
/// the base of the next generation.
///
/// # Errors
///
/// As [`inspect_spilled`], and when the disk cannot be written.
pub fn recover_spilled(
    storage: &mut impl Storage,
    options: &Options,
    spilled: &[Spilled],
    progress: &mut dyn FnMut(Progress),
) -> Result<Recovered, Error> {
    let all = Section::default();
    let Some((mut recovered, tails)) = read(storage, options, &all, spilled, progress)? else {
        return Ok(nothing());
    };
    for tail in tails {
        let saved_as = mend::mend(storage, &tail)?;
        recovered.notes.extend(cut_note(&tail.end, saved_as));
    }
    Ok(recovered)
}

/// Where a stream ends, and the segments that it has there.
#[derive(Clone, Debug)]
struct Tail {
    stream: Stream,
    end: End,
    /// All segments, in order.
    segments: Vec<SegmentName>,
}

/// No journal has been written yet.
fn nothing() -> Recovered {
    Recovered {
        journal: JournalId::NONE,
        generation: 0,
        shards: 0,
        accounts: Vec::new(),
        keys: Vec::new(),
        ends: Vec::new(),
        spilled: Vec::new(),
        records: 0,
        notes: Vec::new(),
        undelivered: Undelivered::default(),
    }
}

fn cut_note(end: &End, saved_as: Option<String>) -> Option<Note> {
    Some(Note::Cut {
        stream: end.place.segment.stream,
        position: end.link.position,
        file: end.place.segment.path(),
        offset: end.place.offset,
        fault: end.fault?,
        saved_as,
    })
}

fn read(
    storage: &mut impl Storage,
    options: &Options,
    section: &Section,
    spilled: &[Spilled],
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<(Recovered, Vec<Tail>)>, Error> {
    let with_snapshots = options.until_ms.is_none() && section.ends.is_empty();
    let Some(mut found) = Found::look(storage, section.generation, with_snapshots)? else {
        return Ok(None);
    };
    let snapshots = core::mem::take(&mut found.snapshots);
    let ends = section.ends.iter().copied().chain(core::iter::repeat(u64::MAX));
    let ms = options.until_ms.unwrap_or(u64::MAX);
    let until = Until { ms, ends: ends.take(found.base.shards).collect() };
    let mut replay = Replay::new(&found.base, snapshots, until);
    let mut reader = Reader::new(storage, &found, &replay, progress)?;
    for index in 0..reader.parts.len() {
        reader.expect(&mut replay, index)?;
    }
    spill::expect(&mut replay, spilled);
    for index in 0..reader.parts.len() {
        reader.apply(&mut replay, index)?;
    }
    let Reader { parts, .. } = reader;
    let mut undelivered = Undelivered::default();
    for (part, segments) in parts.iter().zip(&found.segments) {
        undelivered.look(storage, part, segments, &replay, options.listed_max)?;
    }
    let mut ends: Vec<_> = parts.iter().map(|part| part.end.link).collect();
    let mut taken = Vec::with_capacity(spilled.len());
    for each in spilled {
        let records = take_in(&mut replay, &found, &mut ends, each)?;
        let part = &parts[usize::from(each.stream.0)];
        let from = ends[usize::from(each.stream.0)].position - records;
        undelivered.look_at_spilled(each, from, part, &replay, options.listed_max);
        taken.push((each.file.clone(), records));
    }
    // Each file was good by itself: what they come to together is as much the last one's fault.
    let last =
        taken.last().map_or_else(|| names::base(found.base.generation), |(it, _)| it.clone());
    let outcome = replay.finish().map_err(|fault| Error::damage(&last, 0, fault))?;
    let recovered = Recovered {
        journal: found.base.journal,
        generation: found.base.generation,
        shards: found.base.shards,
        accounts: outcome.accounts,
        keys: outcome.keys,
        ends,
        spilled: taken,
        records: outcome.records,
        notes: found.notes.clone(),
        undelivered,
    };
    let tail = |part: Part| {
        let segments = found.segments[usize::from(part.stream.id.0)].clone();
        Tail { stream: part.stream, end: part.end, segments }
    };
    Ok(Some((recovered, parts.into_iter().map(tail).collect())))
}

/// Applies what a spill file has behind what its stream has: how many records that added.
fn take_in(
    replay: &mut Replay,
    found: &Found,
    ends: &mut [Link],
    spilled: &Spilled,
) -> Result<u64, Error> {
    let end = ends.get_mut(usize::from(spilled.stream.0));
    let end = end.filter(|_| spilled.generation == found.base.generation);
    let end = end.ok_or_else(|| Error::damage(&spilled.file, 0, Fault::Foreign))?;
    spill::take_in(replay, &mut end.position, spilled)
}

/// The part of a stream that is read.
#[derive(Debug)]
struct Part {
    stream: Stream,
    segments: Vec<SegmentName>,
    /// All below has been flushed, as far as is known before it is read.
    flushed: u64,
    /// What is wrong with its `.flushed` file.
    slots: Option<Fault>,
    end: End,
    /// What the last batch says was handed out, by shard.
    given: Vec<u64>,
}

/// Reads all streams, and tells how far it is.
struct Reader<'a, S> {
    storage: &'a mut S,
    parts: Vec<Part>,
    base: Hash,
    told: Progress,
    progress: &'a mut dyn FnMut(Progress),
}

impl<'a, S: Storage> Reader<'a, S> {
    fn new(
        storage: &'a mut S,
        found: &Found,
        replay: &Replay,
        progress: &'a mut dyn FnMut(Progress),
    ) -> Result<Self, Error> {
        let mut told = Progress::default();
        let mut parts = Vec::with_capacity(found.base.shards);
        for (index, segments) in found.segments.iter().enumerate() {
            let id = ShardId(u16::try_from(index).expect("SHARDS_MAX is less"));
            let generation = found.base.generation;
            let stream = Stream { generation, id, shards: found.base.shards };
            let first = match first_needed(storage, segments, replay.needed_from(id))? {
                Ok(first) => first,
                Err(gap) => return Err(no_beginning(found, replay, gap)),
            };
            let segments = segments[first..].to_vec();
            for segment in &segments {
                let path = segment.path();
                told.bytes_total += storage.len(&path).map_err(Error::io(&path))?;
            }
            let place =
                Place { segment: SegmentName { generation, stream: id, number: 1 }, offset: 0 };
            let link = Link { position: 0, hash: found.base_hash };
            parts.push(Part {
                stream,
                segments,
                flushed: found.flushed[index].unwrap_or(0).max(replay.named(id)),
                slots: found.flushed[index].err(),
                end: End { link, place, fault: None },
                given: vec![0; found.base.shards],
            });
        }
        progress(told);
        Ok(Self { storage, parts, base: found.base_hash, told, progress })
    }

    /// Tells the replay which credits and reversals will come. Segments that have none are left out.
    fn expect(&mut self, replay: &mut Replay, index: usize) -> Result<(), Error> {
        let Part { stream, segments, .. } = &self.parts[index];
        let segments = with_money(self.storage, segments)?;
        let mut heads = Heads::new(self.storage, *stream, segments);
        while let Some((place, head)) = heads.next_head()? {
            if head.money == 0 {
                continue;
            }
            let Some(batch) = heads.batch(place, head)? else { break };
            let (mut position, mut blocks) = (head.position, batch.blocks);
            // What cannot be read here is no credit, or is found to be a fault when it is applied.
            while let Ok((record, count)) = record::decode(blocks) {
                replay.expect(stream.id, position, &record);
                position += 1;
                blocks = &blocks[count..];
            }
        }
        Ok(())
    }

    fn apply(&mut self, replay: &mut Replay, index: usize) -> Result<(), Error> {
        let Self { storage, parts, base, told, progress } = self;
        let part = &mut parts[index];
        let mut scan = Scan::new(*storage, part.stream, part.segments.clone(), *base);
        let mut at = None;
        while let Some((place, batch)) = scan.next_batch()? {
            replay
                .apply(part.stream.id, &batch)
                .map_err(|(_, fault)| Error::damage(&place.segment.path(), place.offset, fault))?;
            part.given.clear();
            part.given.extend(batch.given());
            told.records += u64::from(batch.head.records);
            if at != Some(place.segment) {
                at = Some(place.segment);
                progress(*told);
            }
            let len = batch.head.padded_len(part.stream.shards) as u64;
            told.bytes_done += len;
        }
        part.end = scan.end();
        if part.end.fault.is_some() {
            part.flushed = part.flushed.max(scan.claimed()?);
        }
        judge(part, replay.needed_from(part.stream.id))?;
        progress(*told);
        Ok(())
    }
}

/// A stream that ends before what had been flushed is damaged, and one of which nobody knows that any
/// more. `held`: all below is in good snapshots.
fn judge(part: &Part, held: u64) -> Result<(), Error> {
    let End { link: Link { position, .. }, place, fault } = part.end;
    let Stream { generation, id, .. } = part.stream;
    let stream = id.0;
    if position >= part.flushed {
        match (fault, part.slots) {
            // What a newer version wrote is no tail of a crash.
            (Some(Fault::Version(found)), _) if found > FORMAT_VERSION => {}
            (_, None) => return Ok(()),
            (_, Some(fault)) => {
                let choices = Choices::Mark { stream, position };
                let file = names::flushed(generation, id);
                return Err(Error::Damage(Damage { file, offset: 0, fault, choices }));
            }
        }
    }
    let choices = Choices::Cut { stream, position, flushed: part.flushed, held };
    Err(Error::Damage(Damage {
        file: place.segment.path(),
        offset: place.offset,
        fault: fault.unwrap_or(if part.segments.is_empty() { Fault::Missing } else { Fault::Ends }),
        choices,
    }))
}

/// Records that are needed stand in no segment that is left.
#[derive(Clone, Copy, Debug)]
struct Gap {
    /// The oldest segment that is left.
    segment: SegmentName,
    /// Where it begins, or what is wrong with its first page.
    first: Result<u64, Fault>,
}

/// Which segment to begin with: the last that begins at or before `needed`.
fn first_needed(
    storage: &mut impl Storage,
    segments: &[SegmentName],
    needed: u64,
) -> Result<Result<usize, Gap>, Error> {
    for (index, name) in segments.iter().enumerate().rev() {
        if read_head(storage, *name)?.is_some_and(|head| head.position <= needed) {
            return Ok(Ok(index));
        }
    }
    let Some(segment) = segments.first().filter(|first| first.number > 1) else {
        // None of them tells where it begins: the scan finds out what is wrong.
        return Ok(Ok(0));
    };
    let first = try_read_head(storage, *segment)?.map(|head| head.position);
    Ok(Err(Gap { segment: *segment, first }))
}

/// Whose fault it is that records are needed which are gone: that of a snapshot which would have held
/// them and is damaged, if there is one; else they went without any right.
fn no_beginning(found: &Found, replay: &Replay, gap: Gap) -> Error {
    let Gap { segment, first } = gap;
    let first = match first {
        Ok(first) => first,
        Err(fault) => return Error::damage(&segment.path(), 0, fault),
    };
    let lacks = |name: &SnapshotName| replay.start_of(name.shard, segment.stream) < first;
    let mut bad = found.bad_snapshots.iter().filter(|(name, _)| lacks(name));
    let Some((name, fault)) = bad.next() else {
        let before = SegmentName { number: segment.number - 1, ..segment };
        return Error::damage(&before.path(), 0, Fault::Missing);
    };
    let also = bad.map(|(also, _)| *also).find(|also| also.shard == name.shard);
    let choices = Choices::Snapshot { also, stream: segment.stream.0, first };
    Error::Damage(Damage { file: name.path(), offset: 0, fault: *fault, choices })
}
