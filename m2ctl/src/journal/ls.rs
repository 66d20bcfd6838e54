//! `m2ctl journal ls`: what files a journal has, and which records are in them. Nothing is checked.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use m2_journal::batch::Stream;
use m2_journal::limits::PAGE_LEN;
use m2_journal::names::{self, SegmentName, SnapshotName};
use m2_journal::recover::found;
use m2_journal::scan::Heads;
use m2_journal::{Error, Storage as _, segment};
use serde_json::{Value, json};

use super::disk::ReadOnly;
use super::open::{Generation, Journal};
use crate::output::{self, Failure, Table, Verdict, counted, grouped};

/// See [`super::Command::Ls`].
#[derive(Args, Debug)]
pub(crate) struct LsArgs {
    /// The journal's folder
    path: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(crate) fn run(args: &LsArgs) -> Result<Verdict, Failure> {
    let journal = Journal::open(&args.path)?;
    let mut generations = Vec::with_capacity(journal.generations.len());
    for number in &journal.generations {
        // One without a base can still be listed by name.
        generations.push(Listed::of(&journal, *number)?);
    }
    let mut out = output::stdout();
    if args.json {
        let generations: Vec<_> = generations.iter().map(Listed::json).collect();
        let path = journal.root().display().to_string();
        let is_running = journal.is_running();
        let object = json!({
            "journal": path, "is_running": is_running, "generations": generations,
        });
        writeln!(out, "{object}")?;
    } else {
        generations.iter().try_for_each(|listed| listed.text(&mut out))?;
        if journal.is_running() {
            writeln!(out, "a switch writes this journal")?;
        }
    }
    out.flush()?;
    Ok(Verdict::Fine)
}

/// A generation as its files and their heads have it.
struct Listed {
    number: u32,
    /// Why nothing more is known.
    fault: Option<String>,
    shards: usize,
    accounts: usize,
    keys: usize,
    base_bytes: u64,
    segments: Vec<Segment>,
    snapshots: Vec<Snapshot>,
    /// By stream.
    flushed: Vec<Option<u64>>,
}

struct Segment {
    name: SegmentName,
    bytes: u64,
    /// Positions of the first record and after the last; none if nothing was written to it.
    range: Option<(u64, u64)>,
    is_readable: bool,
}

struct Snapshot {
    name: SnapshotName,
    bytes: u64,
    /// `appended` and `applied`; none if it is no snapshot.
    positions: Option<(u64, Vec<u64>)>,
}

impl Listed {
    fn of(journal: &Journal, number: u32) -> Result<Self, Failure> {
        let mut disk = journal.disk();
        let generation = match journal.generation(number) {
            Ok(generation) => generation,
            Err(Failure::Damage(fault)) => return Ok(Self::unreadable(number, fault)),
            Err(failure) => return Err(failure),
        };
        let base = &generation.base;
        let mut listed = Self {
            fault: None,
            shards: base.shards,
            accounts: base.accounts.len(),
            keys: base.keys.len(),
            base_bytes: len(&mut disk, &names::base(number))?,
            ..Self::unreadable(number, String::new())
        };
        for stream in generation.streams() {
            listed.flushed.push(found::read_slots(&mut disk, number, stream.id)?);
            listed.stream(&mut disk, &generation, stream)?;
        }
        for name in generation.snapshots.iter().flatten() {
            let bytes = len(&mut disk, &name.path())?;
            let read = found::read_snapshot(&mut disk, base, *name)?.ok();
            let positions = read.map(|image| (image.appended, image.applied));
            listed.snapshots.push(Snapshot { name: *name, bytes, positions });
        }
        Ok(listed)
    }

    fn unreadable(number: u32, fault: String) -> Self {
        Self {
            number,
            fault: Some(fault),
            shards: 0,
            accounts: 0,
            keys: 0,
            base_bytes: 0,
            segments: Vec::new(),
            snapshots: Vec::new(),
            flushed: Vec::new(),
        }
    }

    fn stream(
        &mut self,
        disk: &mut ReadOnly,
        generation: &Generation,
        stream: Stream,
    ) -> Result<(), Failure> {
        for name in &generation.segments[usize::from(stream.id.0)] {
            let mut page = [0; PAGE_LEN];
            let path = name.path();
            let bytes = len(disk, &path)?;
            let read = disk.read_at(&path, 0, &mut page);
            read.map_err(|error| Error::Io { path, error })?;
            let is_unused = page.iter().all(|byte| *byte == 0);
            let head = segment::Head::read(&mut page).ok();
            let range = match &head {
                Some(head) => Some((head.position, last(disk, stream, *name, head.position)?)),
                None => None,
            };
            let is_readable = is_unused || head.is_some();
            self.segments.push(Segment { name: *name, bytes, range, is_readable });
        }
        Ok(())
    }

    fn text(&self, out: &mut impl Write) -> Result<(), Failure> {
        let Self { number, shards, accounts, keys, base_bytes, .. } = self;
        if let Some(fault) = &self.fault {
            writeln!(out, "generation {number}: {fault}\n")?;
            return Ok(());
        }
        writeln!(
            out,
            "generation {number}: {}, {}, {} at its beginning",
            counted(*shards as u64, "shard"),
            counted(*accounts as u64, "account"),
            counted(*keys as u64, "key"),
        )?;
        let mut table = Table::new(&["file", ">bytes", ">from", ">to", "what"]);
        let name = |path: String| path.rsplit('/').next().unwrap_or_default().to_owned();
        let none = String::new;
        table.row(vec![
            name(names::base(*number)),
            grouped(*base_bytes),
            none(),
            none(),
            "everything at the beginning".into(),
        ]);
        for segment in &self.segments {
            let (from, to) = segment
                .range
                .map_or_else(|| (none(), none()), |(from, to)| (grouped(from), grouped(to)));
            let what = match (segment.range, segment.is_readable) {
                (Some(_), _) => format!("records of stream {}", segment.name.stream.0),
                (None, true) => "prepared, not used yet".into(),
                (None, false) => "NOT READABLE".into(),
            };
            let path = name(segment.name.path());
            table.row(vec![path, grouped(segment.bytes), from, to, what]);
        }
        for snapshot in &self.snapshots {
            let (appended, what) = match &snapshot.positions {
                Some((appended, applied)) => {
                    let applied: Vec<_> = applied.iter().map(u64::to_string).collect();
                    let (shard, applied) = (snapshot.name.shard.0, applied.join(", "));
                    let what = format!("ledgers of shard {shard}; incoming legs to {applied}");
                    (grouped(*appended), what)
                }
                None => (none(), "NOT READABLE".into()),
            };
            let path = name(snapshot.name.path());
            table.row(vec![path, grouped(snapshot.bytes), none(), appended, what]);
        }
        table.print(out)?;
        for (stream, flushed) in self.flushed.iter().enumerate() {
            let told = flushed.map_or_else(|| "is not told".into(), grouped);
            writeln!(out, "flushed position of stream {stream}: {told}")?;
        }
        Ok(writeln!(out)?)
    }

    fn json(&self) -> Value {
        let segment = |it: &Segment| {
            json!({
                "file": it.name.path(),
                "stream": it.name.stream.0,
                "number": it.name.number,
                "bytes": it.bytes,
                "from": it.range.map(|(from, _)| from),
                "to": it.range.map(|(_, to)| to),
                "is_readable": it.is_readable,
            })
        };
        let snapshot = |it: &Snapshot| {
            json!({
                "file": it.name.path(),
                "shard": it.name.shard.0,
                "number": it.name.number,
                "bytes": it.bytes,
                "appended": it.positions.as_ref().map(|(appended, _)| appended),
                "applied": it.positions.as_ref().map(|(_, applied)| applied),
            })
        };
        json!({
            "generation": self.number,
            "fault": self.fault,
            "shards": self.shards,
            "accounts": self.accounts,
            "keys": self.keys,
            "base_bytes": self.base_bytes,
            "flushed": self.flushed,
            "segments": self.segments.iter().map(segment).collect::<Vec<_>>(),
            "snapshots": self.snapshots.iter().map(snapshot).collect::<Vec<_>>(),
        })
    }
}

fn len(disk: &mut ReadOnly, path: &str) -> Result<u64, Failure> {
    let len = disk.len(path);
    Ok(len.map_err(|error| Error::Io { path: path.into(), error })?)
}

/// The position after the last record of a segment, as the heads of its batches have it.
fn last(disk: &mut ReadOnly, stream: Stream, name: SegmentName, from: u64) -> Result<u64, Failure> {
    let mut end = from;
    let mut heads = Heads::new(disk, stream, vec![name]);
    while let Some((_, head)) = heads.next_head()? {
        end = head.end();
    }
    Ok(end)
}
