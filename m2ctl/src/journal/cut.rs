//! `m2ctl journal cut`: the choice that a damaged stream leaves, made by an operator who read what it
//! forgets. The only command that writes.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use m2_journal::Files;
use m2_journal::names::{self, LOCK, SnapshotName};
use m2_journal::recover::cut::{self, Cut};
use m2_journal::recover::found;
use serde_json::{Value, json};

use super::directory::Directory;
use super::open::Journal;
use crate::output::{self, Failure, Table, Verdict, counted, printable};

/// See [`super::Command::Cut`].
#[derive(Args, Debug)]
pub(crate) struct CutArgs {
    /// The journal's folder
    path: PathBuf,
    /// Which stream
    #[arg(long, value_name = "S")]
    stream: u16,
    /// The first record that is forgotten: the one that the sentence about the damage names
    #[arg(long, value_name = "P")]
    position: u64,
    /// Do it. Without this, only say what it would forget
    #[arg(long)]
    yes: bool,
    /// What it forgets as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(crate) fn run(args: &CutArgs) -> Result<Verdict, Failure> {
    let journal = Journal::open(&args.path)?;
    let directory = Directory::read(&journal)?;
    // Who only looks does so beside a switch as well.
    let lock = if args.yes { Some(lock(&args.path)?) } else { None };
    if args.yes {
        settle(&args.path)?;
    }
    let planned = match args.yes {
        true => cut::plan(&mut Files::new(&args.path), args.stream, args.position)?,
        false => cut::plan(&mut journal.disk(), args.stream, args.position)?,
    };
    let cut = planned.map_err(|refusal| {
        let CutArgs { stream, position, .. } = args;
        Failure::Unusable(format!("stream {stream} cannot be cut at record {position}: {refusal}"))
    })?;
    let mut out = output::stdout();
    if !args.json {
        // Before anything is written: who reads this knows what was there, whatever happens.
        tell(&mut out, &cut, &directory, args.yes)?;
        out.flush()?;
    }
    let as_json = json(&cut, &directory, args.yes);
    let saved = if args.yes { cut.make(&mut Files::new(&args.path))? } else { Vec::new() };
    if args.json {
        let saved: Value = saved.into();
        writeln!(out, "{}", with(as_json, "saved_as", saved))?;
    } else if args.yes {
        writeln!(out, "it is cut; what was there is kept in {}:", args.path.display())?;
        saved.iter().try_for_each(|path| writeln!(out, "  {}", printable(path)))?;
    }
    out.flush()?;
    drop(lock);
    Ok(Verdict::Fine)
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

fn json(cut: &Cut, directory: &Directory, is_made: bool) -> Value {
    let Cut { generation, stream, position, place, flushed, records, readable, .. } = cut;
    let accounts = cut.accounts.iter().map(|(account, forgotten)| {
        json!({
            "number": account.0,
            "name": directory.name(*account),
            "pairs_in": forgotten.pairs_in,
            "amount_in": forgotten.amount_in.to_string(),
            "pairs_out": forgotten.pairs_out,
            "amount_out": forgotten.amount_out.to_string(),
            "other_records": forgotten.others,
        })
    });
    json!({
        "generation": generation,
        "stream": stream.0,
        "position": position,
        "file": place.segment.path(),
        "offset": place.offset,
        "flushed": flushed,
        "records_forgotten": records,
        "records_readable": readable,
        "accounts": accounts.collect::<Vec<_>>(),
        "snapshots_moved": cut.snapshots.iter().map(SnapshotName::path).collect::<Vec<_>>(),
        "done": is_made,
    })
}

/// Nobody else writes as long as it is held.
fn lock(path: &Path) -> Result<File, Failure> {
    let shown = path.display();
    let unusable = |sentence: String| Failure::Unusable(sentence);
    let opened =
        fs::OpenOptions::new().write(true).create(true).truncate(false).open(path.join(LOCK));
    let file = opened.map_err(|error| unusable(format!("{shown} cannot be locked: {error}")))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(unusable(format!(
            "a switch writes {shown}: stop it first, a stream is cut before it is read"
        ))),
        Err(TryLockError::Error(error)) => {
            Err(unusable(format!("{shown} cannot be locked: {error}")))
        }
    }
}

/// A switch that was killed may have left writes that the disk has not done yet: they land before anything
/// is read of what it left.
fn settle(path: &Path) -> Result<(), Failure> {
    let mut files = Files::new(path);
    let Some(newest) = found::generations(&mut files)?.pop() else { return Ok(()) };
    let tell = |file: &Path| {
        eprintln!(
            "{}: a switch that is gone still has a write at the disk, waiting",
            file.display()
        );
    };
    files.wait_for_writes(newest, tell).map_err(|error| {
        let shown = path.display();
        Failure::Unusable(format!(
            "{shown}: a segment of generation {newest} cannot be locked: {error}"
        ))
    })
}

fn tell(
    out: &mut impl Write,
    cut: &Cut,
    directory: &Directory,
    is_made: bool,
) -> Result<(), Failure> {
    let Cut { generation, stream, position, place, flushed, records, readable, .. } = cut;
    let verb = if is_made { "forgets" } else { "would forget" };
    let (stream, file) = (stream.0, place.segment.path());
    let promised = flushed.saturating_sub(*position).min(*records);
    writeln!(
        out,
        "cutting stream {stream} of generation {generation} at record {position} ({file}, byte {}) \
         {verb} {}, of which {promised} had been flushed",
        place.offset,
        counted(*records, "record")
    )?;
    writeln!(out, "{readable} of them can be read, though nothing vouches for what they say:")?;
    let mut table = Table::new(&[
        "  account",
        ">pairs from it",
        ">it owes us",
        ">pairs to it",
        ">we owe it",
        ">other records",
    ]);
    for (account, forgotten) in &cut.accounts {
        table.row(vec![
            format!("  {}", directory.name(*account)),
            forgotten.pairs_in.to_string(),
            forgotten.amount_in.to_string(),
            forgotten.pairs_out.to_string(),
            forgotten.amount_out.to_string(),
            forgotten.others.to_string(),
        ]);
    }
    table.print(out)?;
    for name in &cut.snapshots {
        writeln!(out, "{} holds some of it, and is moved aside", name.path())?;
    }
    if let Some(fault) = cut.slots {
        let file = names::flushed(*generation, cut.stream);
        writeln!(out, "{file} is written anew ({fault}): that no more had been flushed")?;
    }
    if !is_made {
        writeln!(out, "nothing was changed: give --yes as well to cut")?;
    }
    Ok(())
}
