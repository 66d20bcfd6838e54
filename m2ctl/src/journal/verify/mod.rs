//! `m2ctl journal verify`: every hash, every chain, every word that two ways of reckoning must agree
//! on.
//!
//! ```text
//!   heads of batches --> which credits there are --> the cuts of each account
//!   segments, on all cores: hash of each batch, each record, sums of legs by epoch
//!   chain: each segment is chained to the one before, each stream ends where it must
//!   books: cut by cut, sums and rare records against snapshots and the next base
//! ```
//!
//! A running switch writes on meanwhile: what had been flushed when we began is verified then, and what
//! comes behind is left alone.

mod books;
mod chain;
mod legs;
mod plan;
mod report;
mod segments;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use m2_core::ShardImage;
use m2_journal::recover::{self, Options, Recovered, Section, found};
use m2_journal::scan::Link;
use m2_journal::{Storage as _, names};

use super::cores;
use super::open::{Generation, Journal};
use super::start::{self, Start};
use super::stream::{Ending, Part};
use crate::output::{Failure, Verdict};
use crate::progress::Progress;
use books::{Books, Faults};
use chain::{Chained, Outcome};
use plan::Plan;
use report::{GenerationReport, Report};
use segments::Reading;

/// How often a generation is begun anew that changes while it is read.
const ATTEMPTS_MAX: usize = 5;

/// See [`super::Command::Verify`].
#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// The journal's folder
    path: PathBuf,
    /// Only this start of the process
    #[arg(long, value_name = "N")]
    generation: Option<u32>,
    /// The folder that is configured as `spill`: what the journal's disk could not take stands there
    #[arg(long, value_name = "FOLDER")]
    spill: Option<PathBuf>,
    /// Threads to read with [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZeroUsize>,
    /// The summary as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(crate) fn run(args: &VerifyArgs) -> Result<Verdict, Failure> {
    let began = Instant::now();
    let journal = Journal::open(&args.path)?.with_spill(args.spill.as_deref())?;
    let verify = Verify {
        journal: &journal,
        threads: args.threads.map_or_else(cores::threads, usize::from),
        is_running: journal.is_running(),
        done: AtomicU64::new(0),
    };
    let generations = journal.chosen(args.generation)?;
    let progress = Progress::of_bytes("verified", verify.bytes(&generations));
    let reports = progress.during(&verify.done, || {
        generations.iter().map(|number| verify.generation(*number)).collect::<Result<Vec<_>, _>>()
    })?;
    let report = Report::new(&journal, verify.is_running, reports, began.elapsed());
    report.print(args.json)?;
    Ok(Verdict::fine_if(report.is_fine()))
}

struct Verify<'a> {
    journal: &'a Journal,
    threads: usize,
    is_running: bool,
    /// Bytes of segments that were read.
    done: AtomicU64,
}

/// What was there before the records of a generation are read. Snapshots come first, then positions,
/// then segments: so that what one names, the others have.
struct Found {
    generation: Generation,
    starts: Vec<Option<Start>>,
    /// By shard: those behind its start.
    snapshots: Vec<Vec<ShardImage>>,
    /// Snapshots that nothing can be held against: their records are gone.
    unchecked: usize,
    parts: Vec<Part>,
    /// Sentences.
    damage: Vec<String>,
}

impl Verify<'_> {
    /// Of all segments: for whoever waits.
    fn bytes(&self, generations: &[u32]) -> u64 {
        let mut disk = self.journal.disk();
        let listed = generations.iter().filter_map(|number| self.journal.generation(*number).ok());
        let names = listed.flat_map(|generation| generation.segments.into_iter().flatten());
        names.filter_map(|name| disk.len(&name.path()).ok()).sum()
    }

    fn generation(&self, number: u32) -> Result<GenerationReport, Failure> {
        let done = self.done.load(Ordering::Relaxed);
        let mut is_written = self.is_running && number == self.journal.newest();
        for attempt in 1.. {
            let before = match self.look(number) {
                Ok(Some(before)) => before,
                Ok(None) => return Ok(GenerationReport::retired(number)),
                // Without its base nothing of it can be checked; the others can.
                Err(Failure::Damage(sentence)) => {
                    return Ok(GenerationReport::unreadable(number, sentence));
                }
                Err(failure) => return Err(failure),
            };
            let segments = before.generation.segments.clone();
            match self.attempt(before, is_written) {
                Ok(Some(report)) => return Ok(report),
                // It grew: so somebody writes it, though no lock of theirs is to be seen.
                Ok(None) if attempt < ATTEMPTS_MAX => is_written = true,
                Ok(None) => {
                    return Err(Failure::Unusable(format!(
                        "generation {number} changes while it is read: try again when the switch \
                         has less to do"
                    )));
                }
                // Files were retired meanwhile.
                Err(Failure::Unusable(_))
                    if attempt < ATTEMPTS_MAX
                        && self
                            .look(number)?
                            .is_none_or(|now| now.generation.segments != segments) => {}
                Err(failure) => return Err(failure),
            }
            self.done.store(done, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(100));
        }
        unreachable!("the last attempt returns")
    }

    /// `None` where an older generation is being retired.
    fn look(&self, number: u32) -> Result<Option<Found>, Failure> {
        let Some(before) = self.journal.generation_unless_retired(number)? else {
            return Ok(None);
        };
        let mut disk = self.journal.disk();
        let mut damage = Vec::new();
        let mut images = Vec::with_capacity(before.snapshots.len());
        for names in &before.snapshots {
            let mut good = Vec::with_capacity(names.len());
            for name in names {
                match found::read_snapshot(&mut disk, &before.base, *name) {
                    Ok(Ok(image)) => good.push((*name, image)),
                    Ok(Err(fault)) => {
                        let file = name.path();
                        damage.push(format!("{file} is damaged ({fault}): it cannot be used"));
                    }
                    // A newer one stands in for it by now.
                    Err(_) if disk.metadata(&name.path()).is_err() => {}
                    Err(error) => return Err(error.into()),
                }
            }
            images.push(good);
        }
        let mut flushed = Vec::with_capacity(before.base.shards);
        for stream in before.streams() {
            let slots = found::look_at_slots(&mut disk, number, stream.id)?;
            flushed.push(slots.unwrap_or(None).unwrap_or(0));
            if let Err(fault) = slots
                && number == self.journal.newest()
            {
                let file = names::flushed(number, stream.id);
                damage.push(format!("{file} is damaged ({fault}): what it said is not known"));
            }
        }
        let Some(generation) = self.journal.generation_unless_retired(number)? else {
            return Ok(None);
        };
        let starts = start::starts(&mut disk, &before, &generation.segments)?;
        let mut parts = Vec::with_capacity(flushed.len());
        for (stream, flushed) in generation.streams().zip(flushed) {
            let named = |(_, image): &(_, ShardImage)| named(image, stream.id.0);
            let named = images.iter().flatten().map(named).max().unwrap_or(0);
            parts.push(Part::with(&generation, stream, flushed.max(named)));
        }
        let all: usize = images.iter().map(Vec::len).sum();
        let behind = images.into_iter().zip(&starts).map(|(images, start)| {
            let start = start.as_ref().and_then(|start| start.snapshot);
            let behind = images.into_iter().filter(|(name, _)| start.is_none_or(|it| it < *name));
            behind.map(|(_, image)| image).collect()
        });
        let snapshots: Vec<Vec<_>> = behind.collect();
        let unchecked = all - snapshots.iter().map(Vec::len).sum::<usize>();
        Ok(Some(Found { generation, starts, snapshots, unchecked, parts, damage }))
    }

    /// What a start came to that took in spilled records, by its own code: the streams lack them. `None`
    /// if none did, or they are not here.
    fn with_spilled(
        &self,
        generation: &Generation,
        ends: &[Link],
    ) -> Option<Result<Recovered, m2_journal::Error>> {
        let next = generation.next.as_ref().filter(|_| self.journal.has_spill())?;
        let mut both = next.ends.iter().zip(ends);
        both.find(|(next, end)| end.position < next.position)?;
        let options = Options { until_ms: None, listed_max: 0 };
        let section = Section { generation: Some(generation.number), ends: Vec::new() };
        let (mut disk, spilled) = (self.journal.disk(), &generation.spilled);
        Some(recover::inspect_spilled(&mut disk, &options, &section, spilled, &mut |_| {}))
    }

    /// `None` if it changed while it was read.
    fn attempt(&self, found: Found, is_written: bool) -> Result<Option<GenerationReport>, Failure> {
        let Found { generation, starts, snapshots, unchecked, parts, damage } = found;
        let bound = |part: &Part| if is_written { part.flushed } else { u64::MAX };
        let bounds: Vec<_> = parts.iter().map(bound).collect();
        let reading = Reading {
            journal: self.journal,
            generation: &generation,
            bounds: &bounds,
            threads: self.threads,
            progress: &self.done,
        };
        let checked: usize = snapshots.iter().map(Vec::len).sum();
        let mut report = GenerationReport::new(&generation, is_written, damage);
        report.snapshots = (checked, unchecked);
        let known: Option<Vec<Start>> = starts.into_iter().collect();
        if known.is_none() {
            report.damage.push(format!(
                "generation {}: its first segments are gone, and no snapshot of a shard stands in \
                 for them",
                generation.number
            ));
        }
        let money = reading.money()?;
        let plan = known.as_deref().map(|starts| Plan::new(&generation, starts, &snapshots, money));
        let plan = match plan {
            Some(Ok(plan)) => Some(plan),
            Some(Err(sentence)) => {
                report.damage.push(sentence);
                None
            }
            None => None,
        };
        let unplanned = Plan::of_nothing(&generation);
        let (segments, sums) = reading.read(plan.as_ref().unwrap_or(&unplanned))?;
        let mut disk = self.journal.disk();
        let mut all = Vec::with_capacity(parts.len());
        for (part, bound) in parts.iter().zip(&bounds) {
            let own = segments.iter().filter(|it| it.name.stream == part.stream.id);
            match chain::chain(&mut disk, part, own.cloned().collect(), *bound)? {
                Outcome::Chained(chained) => all.push(*chained),
                Outcome::Changed => return Ok(None),
            }
        }
        let is_whole = all.iter().all(is_whole);
        report.take_streams(&mut all);
        if let (Some(plan), Some(starts), true) = (&plan, &known, is_whole) {
            let ends: Vec<_> = all.iter().map(|chained| chained.end.link).collect();
            let with_spilled = self.with_spilled(&generation, &ends);
            let rare: Vec<_> = all.into_iter().map(|chained| chained.rare).collect();
            let (generation, sums, rare) = (&generation, &sums[..], &rare[..]);
            let snapshots = &snapshots;
            let books =
                Books { generation, plan, starts, snapshots, sums, rare, ends, with_spilled };
            report.take_faults(books.check());
        }
        Ok(Some(report))
    }
}

/// Up to where a snapshot says that a stream has gone.
fn named(image: &ShardImage, stream: u16) -> u64 {
    let applied = image.applied[usize::from(stream)];
    if image.shard.0 == stream { applied.max(image.appended) } else { applied }
}

/// Whether all records of a stream were read, and each can be.
fn is_whole(chained: &Chained) -> bool {
    !matches!(chained.ending, Ending::Damaged(_)) && chained.wrong.is_empty()
}
