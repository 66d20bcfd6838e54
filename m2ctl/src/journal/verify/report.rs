//! What a verification tells.

use std::io::Write;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::super::filter::Kind;
use super::super::open::{Generation, Journal};
use super::super::stream::Ending;
use super::{Chained, Faults};
use crate::output::{self, Failure, Table, complain, counted, grouped, printable};
use crate::time;

use super::segments::Counts;

/// Of all generations that were verified.
#[derive(Debug)]
pub(super) struct Report {
    path: String,
    is_running: bool,
    generations: Vec<GenerationReport>,
    took: Duration,
}

/// Of one.
#[derive(Debug, Default)]
pub(super) struct GenerationReport {
    number: u32,
    is_retired: bool,
    is_written: bool,
    shards: usize,
    accounts: usize,
    streams: Vec<StreamReport>,
    /// Held against the records, and not: their records are gone.
    pub(super) snapshots: (usize, usize),
    /// Whether words and keys are what the records come to; `None` if that could not be checked.
    books: Option<bool>,
    has_next: bool,
    /// Sentences.
    pub(super) damage: Vec<String>,
    untold: u64,
}

#[derive(Debug)]
struct StreamReport {
    stream: u16,
    from: u64,
    to: u64,
    counts: Counts,
    segments: (usize, usize),
    ending: Ending,
}

impl GenerationReport {
    /// An older one whose base is gone.
    pub(super) fn retired(number: u32) -> Self {
        Self { number, is_retired: true, ..Self::default() }
    }

    /// One whose base is damaged: a sentence.
    pub(super) fn unreadable(number: u32, damage: String) -> Self {
        Self { number, damage: vec![damage], ..Self::default() }
    }

    pub(super) fn new(generation: &Generation, is_written: bool, damage: Vec<String>) -> Self {
        Self {
            number: generation.number,
            is_written,
            shards: generation.base.shards,
            accounts: generation.base.accounts.len(),
            has_next: generation.next.is_some(),
            damage,
            ..Self::default()
        }
    }

    pub(super) fn take_streams(&mut self, all: &mut [Chained]) {
        for chained in all {
            if let Ending::Damaged(damage) = &chained.ending {
                self.damage.push(damage.to_string());
            }
            self.damage.append(&mut chained.wrong);
            self.streams.push(StreamReport {
                stream: chained.stream.id.0,
                from: chained.from,
                to: chained.end.link.position,
                counts: chained.counts,
                segments: chained.segments,
                ending: chained.ending.clone(),
            });
        }
    }

    pub(super) fn take_faults(&mut self, faults: Faults) {
        self.has_next &= !faults.is_next_unchecked;
        self.books = Some(faults.is_empty());
        self.damage.extend(faults.told);
        self.untold += faults.untold;
    }

    fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        self.streams.iter().for_each(|stream| sum.add(&stream.counts));
        sum
    }

    fn identities(&self) -> &'static str {
        match self.books {
            Some(true) => "hold",
            Some(false) => "broken",
            None => "unchecked",
        }
    }
}

impl StreamReport {
    fn ending(&self, is_written: bool) -> &'static str {
        match &self.ending {
            Ending::Damaged(_) => "damaged",
            _ if is_written => "being written",
            Ending::Tail(_) => "tail",
            Ending::Spilled(_) => "spilled",
            Ending::Clean => "clean",
        }
    }
}

impl Report {
    pub(super) fn new(
        journal: &Journal,
        is_running: bool,
        generations: Vec<GenerationReport>,
        took: Duration,
    ) -> Self {
        Self { path: journal.root().display().to_string(), is_running, generations, took }
    }

    pub(super) fn is_fine(&self) -> bool {
        self.generations.iter().all(|generation| generation.damage.is_empty())
    }

    /// On standard output; what is wrong on standard error, too.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(super) fn print(&self, is_json: bool) -> Result<(), Failure> {
        let mut out = output::stdout();
        if is_json {
            writeln!(out, "{}", self.json())?;
        } else {
            self.text(&mut out)?;
        }
        out.flush()?;
        for sentence in self.generations.iter().flat_map(|generation| &generation.damage) {
            complain(sentence, 1);
        }
        Ok(())
    }

    fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        self.generations.iter().for_each(|generation| sum.add(&generation.counts()));
        sum
    }

    fn rate(&self) -> u64 {
        let ms = self.took.as_millis().max(1);
        u64::try_from(u128::from(self.counts().records()) * 1_000 / ms).unwrap_or(u64::MAX)
    }

    fn text(&self, out: &mut impl Write) -> Result<(), Failure> {
        let mut table = Table::new(&[
            ">generation",
            ">stream",
            ">from",
            ">to",
            ">records",
            ">batches",
            ">bytes",
            ">segments",
            "end",
        ]);
        for generation in &self.generations {
            for stream in &generation.streams {
                let StreamReport { counts, segments: (used, all), .. } = stream;
                table.row(vec![
                    generation.number.to_string(),
                    stream.stream.to_string(),
                    grouped(stream.from),
                    grouped(stream.to),
                    grouped(counts.records()),
                    grouped(counts.batches),
                    grouped(counts.bytes),
                    format!("{used} of {all}"),
                    stream.ending(generation.is_written).into(),
                ]);
            }
        }
        table.print(out)?;
        writeln!(out)?;
        self.generations.iter().try_for_each(|generation| generation.text(out))?;
        self.text_of_all(out)
    }

    fn text_of_all(&self, out: &mut impl Write) -> Result<(), Failure> {
        let counts = self.counts();
        let kinds = Kind::ALL.iter().zip(counts.kinds).filter(|(_, count)| *count > 0);
        let kinds: Vec<_> =
            kinds.map(|(kind, count)| format!("{} {}", grouped(count), kind.name())).collect();
        let kinds = if kinds.is_empty() { "none".into() } else { kinds.join(", ") };
        writeln!(out, "records    {kinds}")?;
        if let (Some(first), Some(last)) = (counts.first_at_ms, counts.last_at_ms) {
            writeln!(out, "time       {} to {}", time::text(first), time::text(last))?;
        }
        if self.is_running {
            writeln!(
                out,
                "running    a switch writes this journal: what had been flushed when we began was \
                 verified, what is under way is no damage"
            )?;
        }
        let took = self.took.as_secs_f64();
        let (records, bytes) = (counted(counts.records(), "record"), grouped(counts.bytes));
        writeln!(
            out,
            "took       {took:.2} s: {records} in {} batches, {bytes} bytes; {} records a second",
            grouped(counts.batches),
            grouped(self.rate())
        )?;
        let wrong: u64 = self.generations.iter().map(|it| it.damage.len() as u64 + it.untold).sum();
        match wrong {
            0 => writeln!(out, "verified   {}: nothing is wrong", printable(&self.path))?,
            wrong => writeln!(
                out,
                "DAMAGED    {}: {} wrong",
                printable(&self.path),
                counted(wrong, "thing")
            )?,
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let counts = self.counts();
        let damage: Vec<_> = self.generations.iter().flat_map(|it| it.damage.clone()).collect();
        json!({
            "journal": self.path,
            "is_running": self.is_running,
            "generations": self.generations.iter().map(GenerationReport::json).collect::<Vec<_>>(),
            "records": counts.records(),
            "kinds": kinds(&counts),
            "batches": counts.batches,
            "bytes": counts.bytes,
            "took_ms": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            "records_per_s": self.rate(),
            "damage": damage,
            "damage_left_out": self.generations.iter().map(|it| it.untold).sum::<u64>(),
            "fine": self.is_fine(),
        })
    }
}

impl GenerationReport {
    fn text(&self, out: &mut impl Write) -> Result<(), Failure> {
        let number = self.number;
        if self.is_retired {
            writeln!(out, "generation {number}: its base is gone, it is being retired; left out")?;
            return Ok(());
        }
        let (checked, unchecked) = self.snapshots;
        let snapshots = counted(checked as u64, "snapshot");
        let against = match (checked, self.has_next) {
            (0, false) => {
                "each other: no snapshot and no later base is there to compare with".into()
            }
            (0, true) => "the base of the next generation".into(),
            (_, false) => snapshots,
            (_, true) => format!("{snapshots} and the base of the next generation"),
        };
        let words = match self.books {
            Some(true) => format!("the words agree with {against}"),
            Some(false) => "the words do NOT agree".into(),
            None => "the words could NOT be checked, as not all records were read".into(),
        };
        let older = match unchecked {
            0 => String::new(),
            count => format!(
                "; of {} the records are gone: only their hash was checked",
                counted(count as u64, "snapshot")
            ),
        };
        let (shards, accounts) = (self.shards as u64, self.accounts as u64);
        writeln!(
            out,
            "generation {number}: {}, {}; {words}{older}",
            counted(shards, "shard"),
            counted(accounts, "account")
        )?;
        for stream in &self.streams {
            if let Ending::Spilled(to) = stream.ending {
                writeln!(
                    out,
                    "generation {number}: records {} up to {to} of stream {} were spilled to another \
                     disk, and taken in by the next start; --spill names their folder",
                    stream.to, stream.stream
                )?;
            }
        }
        Ok(())
    }

    fn json(&self) -> Value {
        json!({
            "generation": self.number,
            "is_retired": self.is_retired,
            "is_being_written": self.is_written,
            "shards": self.shards,
            "accounts": self.accounts,
            "snapshots_checked": self.snapshots.0,
            "snapshots_whose_records_are_gone": self.snapshots.1,
            "identities": self.identities(),
            "streams": self.streams.iter().map(|it| it.json(self.is_written)).collect::<Vec<_>>(),
        })
    }
}

impl StreamReport {
    fn json(&self, is_written: bool) -> Value {
        json!({
            "stream": self.stream,
            "from": self.from,
            "to": self.to,
            "records": self.counts.records(),
            "batches": self.counts.batches,
            "bytes": self.counts.bytes,
            "segments_used": self.segments.0,
            "segments": self.segments.1,
            "first_at_ms": self.counts.first_at_ms,
            "last_at_ms": self.counts.last_at_ms,
            "end": self.ending(is_written),
            "spilled_to": match self.ending {
                Ending::Spilled(to) => Some(to),
                _ => None,
            },
        })
    }
}

fn kinds(counts: &Counts) -> Value {
    let each = Kind::ALL.iter().zip(counts.kinds);
    let pairs = each.map(|(kind, count)| (kind.name().replace(' ', "_"), Value::from(count)));
    Value::Object(pairs.collect::<Map<_, _>>())
}
