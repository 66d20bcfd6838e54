//! `m2ctl journal replay`: the words of every account at some point, by the code that a start recovers
//! with.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use clap::Args;
use m2_core::record::{KeyKind, KeyState};
use m2_journal::Storage as _;
use m2_journal::recover::{Options, Recovered, Section, inspect_spilled};
use m2_journal::scan::Scan;
use serde_json::{Value, json};

use super::cores::{self, on_all_cores};
use super::disk::ReadOnly;
use super::filter::{Kind, at_ms};
use super::open::{Generation, Journal};
use super::stream::Part;
use super::walk::records;
use crate::output::{self, Failure, Table, Verdict, complain, counted, hex};
use crate::progress::Progress;
use crate::time;

/// How often a journal is read that a switch writes, before damage is believed.
const ATTEMPTS_MAX: usize = 3;

/// See [`super::Command::Replay`].
#[derive(Args, Debug)]
pub(crate) struct ReplayArgs {
    /// The journal's folder
    path: PathBuf,
    /// As of this moment (RFC 3339, or milliseconds since 1970), or as of this position of a stream,
    /// written STREAM:POSITION: records below it count, and of streams that are not named, those up to
    /// the moment of the last of them. Positions may be given for several streams
    #[arg(long, value_name = "TIME|STREAM:POSITION", value_parser = Until::parse)]
    until: Vec<Until>,
    /// This start of the process [default: the newest, or the one that the moment falls into]
    #[arg(long, value_name = "N")]
    generation: Option<u32>,
    /// The folder that is configured as `spill`: what the journal's disk could not take stands there,
    /// and is taken in as a start does. Not with --until
    #[arg(long, value_name = "FOLDER", conflicts_with = "until")]
    spill: Option<PathBuf>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Where to stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Until {
    /// Milliseconds since 1970.
    Moment(u64),
    /// Records of this stream below this position.
    Position(u16, u64),
}

impl Until {
    fn parse(text: &str) -> Result<Self, String> {
        let position = text.split_once(':').and_then(|(stream, position)| {
            Some(Self::Position(stream.parse().ok()?, position.parse().ok()?))
        });
        position.map_or_else(|| time::parse(text).map(Self::Moment), Ok)
    }
}

/// Runs it.
pub(crate) fn run(args: &ReplayArgs) -> Result<Verdict, Failure> {
    let journal = Journal::open(&args.path)?.with_spill(args.spill.as_deref())?;
    journal.chosen(args.generation)?;
    let (options, section) = section(&journal, args)?;
    let recovered = replay(&journal, &options, &section)?;
    let out = output::stdout();
    let replayed = Replayed { recovered: &recovered, is_whole: args.until.is_empty(), out };
    if args.json {
        replayed.json()?
    } else {
        replayed.text()?
    }
    for note in &recovered.notes {
        complain(&note.to_string(), 0);
    }
    Ok(Verdict::Fine)
}

fn replay(journal: &Journal, options: &Options, section: &Section) -> Result<Recovered, Failure> {
    let done = AtomicU64::new(0);
    let mut disk = journal.disk();
    for attempt in 1.. {
        let number = section.generation.unwrap_or_else(|| journal.newest());
        let generation = journal.generation(number)?;
        let (segments, spilled) = (&generation.segments, &generation.spilled);
        let bytes = segments.iter().flatten().filter_map(|name| disk.len(&name.path()).ok()).sum();
        let replayed = Progress::of_bytes("replayed", bytes).during(&done, || {
            inspect_spilled(&mut disk, options, section, spilled, &mut |progress| {
                done.store(progress.bytes_done, Ordering::Relaxed);
            })
        });
        match replayed {
            // What looks like damage may have been a write under way.
            Err(m2_journal::Error::Damage(_)) if attempt < ATTEMPTS_MAX && journal.is_running() => {
                thread::sleep(Duration::from_millis(100));
            }
            replayed => return Ok(replayed?),
        }
    }
    unreachable!("the last attempt returns")
}

/// What is to be replayed.
fn section(journal: &Journal, args: &ReplayArgs) -> Result<(Options, Section), Failure> {
    let unusable = |sentence: &str| Err(Failure::Unusable(sentence.into()));
    let mut options = Options { listed_max: 0, ..Options::default() };
    let mut section = Section { generation: args.generation, ends: Vec::new() };
    match args.until[..] {
        [] => {}
        [Until::Moment(moment)] => {
            options.until_ms = Some(moment);
            section.generation = Some(match args.generation {
                Some(generation) => generation,
                None => generation_of(journal, moment)?,
            });
        }
        _ => {
            let mut named = Vec::with_capacity(args.until.len());
            for until in &args.until {
                match *until {
                    Until::Moment(_) => {
                        return unusable("--until names one moment, or positions of streams");
                    }
                    Until::Position(stream, position) => named.push((stream, position)),
                }
            }
            let number = args.generation.unwrap_or_else(|| journal.newest());
            section.ends = ends(journal, &journal.generation(number)?, &named)?;
        }
    }
    Ok((options, section))
}

/// The newest generation that had begun by then; the oldest if none had.
fn generation_of(journal: &Journal, moment: u64) -> Result<u32, Failure> {
    let mut oldest = journal.newest();
    for number in journal.generations.iter().rev() {
        let Some(generation) = journal.generation_unless_retired(*number)? else { break };
        oldest = *number;
        if first_moment(journal, &generation)?.is_some_and(|first| first <= moment) {
            break;
        }
    }
    Ok(oldest)
}

/// When the first record of a generation was decided.
fn first_moment(journal: &Journal, generation: &Generation) -> Result<Option<u64>, Failure> {
    let mut first = None;
    let mut disk = journal.disk();
    for stream in generation.streams() {
        let segments = generation.segments[usize::from(stream.id.0)].clone();
        let mut scan = Scan::new(&mut disk, stream, segments, generation.base_hash);
        while let Some((_, batch)) = scan.next_batch()? {
            if let Some(Ok((_, record))) = records(&batch).next() {
                let own = at_ms(&record);
                first = Some(first.map_or(own, |first: u64| first.min(own)));
                break;
            }
        }
    }
    Ok(first)
}

/// By stream: up to where it is replayed.
fn ends(
    journal: &Journal,
    generation: &Generation,
    named: &[(u16, u64)],
) -> Result<Vec<u64>, Failure> {
    let shards = generation.base.shards;
    let mut ends = vec![None; shards];
    for (stream, position) in named {
        let number = generation.number;
        let end = ends.get_mut(usize::from(*stream)).ok_or_else(|| {
            Failure::Unusable(format!(
                "generation {number} has no stream {stream}: it has {shards}, counted from 0"
            ))
        })?;
        *end = Some(*position);
    }
    let look = |want: Want| {
        let look = |disk: &mut ReadOnly, index: usize| match (ends[index], want) {
            (Some(position), Want::Moments) => moment_before(disk, generation, index, position),
            (None, Want::Positions(moment)) => position_at(disk, generation, index, moment),
            (Some(position), Want::Positions(_)) => Ok(position),
            (None, Want::Moments) => Ok(0),
        };
        let disk = || journal.disk();
        Ok::<_, Failure>(on_all_cores(cores::threads(), shards, disk, look)?.1)
    };
    let moment = look(Want::Moments)?.into_iter().max().unwrap_or(0);
    look(Want::Positions(moment))
}

/// What is asked of each stream.
#[derive(Clone, Copy)]
enum Want {
    /// When the last record below its position was decided, if it is named.
    Moments,
    /// Its position at this moment, if it is not.
    Positions(u64),
}

/// When the record before `position` was decided; 0 if there is none.
fn moment_before(
    disk: &mut ReadOnly,
    generation: &Generation,
    stream: usize,
    position: u64,
) -> Result<u64, Failure> {
    let (mut moment, mut end) = (0, 0);
    let part = Part::of(disk, generation, generation.stream(stream))?;
    part.read(disk, &mut |_, batch| {
        end = batch.head.end();
        if batch.head.position < position {
            let before = records(batch).map_while(Result::ok).take_while(|(at, _)| *at < position);
            moment = before.last().map_or(moment, |(_, record)| at_ms(&record));
        }
        Ok(())
    })?;
    if position <= end {
        return Ok(moment);
    }
    Err(Failure::Unusable(format!(
        "stream {stream} of generation {} ends with record {end}: there is no position {position}",
        generation.number
    )))
}

/// The position of the first record of a stream that was decided after `moment`.
fn position_at(
    disk: &mut ReadOnly,
    generation: &Generation,
    stream: usize,
    moment: u64,
) -> Result<u64, Failure> {
    let (mut position, mut is_behind) = (0, false);
    let part = Part::of(disk, generation, generation.stream(stream))?;
    part.read(disk, &mut |_, batch| {
        for (at, record) in records(batch).map_while(Result::ok) {
            is_behind |= at_ms(&record) > moment;
            position = if is_behind { position } else { at + 1 };
        }
        Ok(())
    })?;
    Ok(position)
}

struct Replayed<'a, W> {
    recovered: &'a Recovered,
    /// To the end of all streams.
    is_whole: bool,
    out: W,
}

impl<W: Write> Replayed<'_, W> {
    fn text(mut self) -> Result<(), Failure> {
        let Recovered { generation, shards, accounts, records, ends, .. } = self.recovered;
        let mut table = Table::new(&[
            ">number",
            "account",
            "asset",
            ">shard",
            ">balance",
            ">prepaid",
            ">frozen",
            ">balance_max",
            ">payable_max",
        ]);
        for account in accounts {
            let image = &account.image;
            table.row(vec![
                image.account.0.to_string(),
                account.name.clone(),
                format!("{}/{}", account.asset_code, account.asset_scale),
                account.shard.0.to_string(),
                image.words.balance.to_string(),
                image.words.prepaid.to_string(),
                image.words.frozen.to_string(),
                image.balance_max.to_string(),
                image.payable_max.to_string(),
            ]);
        }
        table.print(&mut self.out)?;
        let ends: Vec<_> = ends.iter().map(|end| end.position.to_string()).collect();
        writeln!(
            self.out,
            "\ngeneration {generation}, {}, which end with records {}; {} read",
            counted(*shards as u64, "stream"),
            ends.join(", "),
            counted(*records, "record")
        )?;
        let frozen = self.keys(KeyKind::Frozen).count() as u64;
        let all = self.recovered.keys.len() as u64;
        writeln!(self.out, "{}, of which {frozen} frozen", counted(all, "key"))?;
        if self.is_whole {
            self.undelivered()?;
        }
        Ok(self.out.flush()?)
    }

    fn keys(&self, kind: KeyKind) -> impl Iterator<Item = &KeyState> {
        self.recovered.keys.iter().map(|(_, state)| state).filter(move |it| it.kind == kind)
    }

    fn undelivered(&mut self) -> Result<(), Failure> {
        for (account, perhaps) in &self.recovered.undelivered.by_account {
            let name = &self.recovered.accounts[account.0 as usize].name;
            writeln!(
                self.out,
                "{} of {}: perhaps not delivered to {}",
                counted(perhaps.count, "FULFILL"),
                perhaps.value,
                output::printable(name)
            )?;
        }
        Ok(())
    }

    fn json(mut self) -> Result<(), Failure> {
        let Recovered { generation, accounts, keys, records, ends, notes, .. } = self.recovered;
        let ends: Vec<_> = ends.iter().map(|end| end.position).collect();
        let notes: Vec<_> = notes.iter().map(ToString::to_string).collect();
        self.line(&json!({
            "type": "replay",
            "generation": generation,
            "stream_ends": ends,
            "records_read": records,
            "notes": notes,
        }))?;
        for account in accounts {
            let image = &account.image;
            self.line(&json!({
                "type": "account",
                "number": image.account.0,
                "name": account.name,
                "asset_code": account.asset_code,
                "asset_scale": account.asset_scale,
                "shard": account.shard.0,
                "balance": image.words.balance.to_string(),
                "prepaid": image.words.prepaid.to_string(),
                "frozen": image.words.frozen.to_string(),
                "position": image.words.position().to_string(),
                "balance_max": image.balance_max.to_string(),
                "payable_max": image.payable_max.to_string(),
            }))?;
        }
        for (key, state) in keys {
            self.line(&json!({
                "type": "key",
                "key": hex(&key.0),
                "account": state.account.0,
                "amount": state.amount.to_string(),
                "state": state_of(state),
            }))?;
        }
        if self.is_whole {
            for (account, perhaps) in &self.recovered.undelivered.by_account {
                self.line(&json!({
                    "type": "perhaps_undelivered",
                    "account": account.0,
                    "packets": perhaps.count,
                    "amount": perhaps.value.to_string(),
                }))?;
            }
        }
        Ok(self.out.flush()?)
    }

    fn line(&mut self, line: &Value) -> Result<(), Failure> {
        Ok(writeln!(self.out, "{line}")?)
    }
}

/// As the record that told of it last is called.
fn state_of(state: &KeyState) -> &'static str {
    let kind = match state.kind {
        KeyKind::Credited => Kind::Credited,
        KeyKind::Reversed => Kind::Reversed,
        KeyKind::Frozen => Kind::Frozen,
        KeyKind::Settled => Kind::Settled,
        KeyKind::Cancelled => Kind::Cancelled,
    };
    kind.name()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_and_a_position_are_told_apart() {
        assert_eq!(Until::parse("3:500"), Ok(Until::Position(3, 500)));
        assert_eq!(Until::parse("1748781045678"), Ok(Until::Moment(1_748_781_045_678)));
        let moment = Until::parse("2025-06-01T12:30:45.678Z");
        assert_eq!(moment, Ok(Until::Moment(1_748_781_045_678)));
        for wrong in ["", ":", "3:", ":500", "70000:1", "x:1", "1:2:3"] {
            assert!(Until::parse(wrong).is_err(), "{wrong}");
        }
    }
}
