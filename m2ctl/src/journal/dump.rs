//! `m2ctl journal dump`: records, one a line.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::directory::Directory;
use super::filter::{Filter, Kind, Prefix};
use super::line::{
    AccountLine, AccountName, DUMP_VERSION, DumpLine, EndLine, Line, RecordLine, StreamLine,
};
use super::open::{Generation, Journal};
use super::positions::Positions;
use super::start;
use super::walk::{Placed, Walk, Walked};
use crate::output::{self, Failure, Verdict, complain, printable};
use crate::time;

/// See [`super::Command::Dump`].
#[derive(Args, Debug)]
pub(crate) struct DumpArgs {
    /// The journal's folder
    path: PathBuf,
    /// Only records of this account, by name or number: for a pair, either leg
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// For the peer of the account: leave out everything of others, which is the other leg of each
    /// pair, and our limits
    #[arg(long, requires = "account")]
    for_peer: bool,
    /// Only records decided from this moment on: RFC 3339, or milliseconds since 1970
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    from: Option<u64>,
    /// Only records decided up to this moment, it included
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    to: Option<u64>,
    /// Only packets whose condition begins with these bytes: 2 to 32 hex digits. Of a late FULFILL
    /// the condition is the SHA-256 of what it told
    #[arg(long, value_name = "HEX", value_parser = Prefix::parse)]
    condition: Option<Prefix>,
    /// Only records of this kind; may be given several times
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<Kind>,
    /// Only this start of the process
    #[arg(long, value_name = "N")]
    generation: Option<u32>,
    /// Only this stream: the records of one shard
    #[arg(long, value_name = "S")]
    stream: Option<u16>,
    /// The folder that is configured as `spill`: what the journal's disk could not take stands there
    #[arg(long, value_name = "FOLDER")]
    spill: Option<PathBuf>,
    /// One JSON object a line, with positions of accounts at the end: what `diff` reads
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(crate) fn run(args: &DumpArgs) -> Result<Verdict, Failure> {
    let journal = Journal::open(&args.path)?.with_spill(args.spill.as_deref())?;
    let generations = journal.chosen(args.generation)?;
    let directory = Directory::read(&journal)?;
    let account = args.account.as_ref().map(|word| directory.find(word)).transpose()?;
    let filter = Filter {
        account,
        from_ms: args.from,
        to_ms: args.to,
        condition: args.condition,
        kinds: args.kinds.clone(),
    };
    let mut dump = Dump {
        journal: &journal,
        directory: &directory,
        filter: &filter,
        args,
        out: output::stdout(),
        records: 0,
        positions: Positions::default(),
        damage: Vec::new(),
    };
    dump.begin(&generations)?;
    for number in generations {
        dump.generation(number)?;
    }
    dump.end()
}

struct Dump<'a, W> {
    journal: &'a Journal,
    directory: &'a Directory,
    filter: &'a Filter,
    args: &'a DumpArgs,
    out: W,
    records: u64,
    positions: Positions,
    damage: Vec<String>,
}

impl<W: Write> Dump<'_, W> {
    fn begin(&mut self, generations: &[u32]) -> Result<(), Failure> {
        if !self.args.json {
            let heads = ["generation", "stream", "position", "time", "kind", "what"];
            let [generation, stream, position, time, kind, what] = heads;
            writeln!(
                self.out,
                "{generation:>10} {stream:>6} {position:>12}  {time:<24}  {kind:<12}  {what}"
            )?;
            return Ok(());
        }
        let Filter { account, from_ms, to_ms, condition, kinds } = self.filter;
        let line = Line::Dump(DumpLine {
            version: DUMP_VERSION,
            generations: generations.to_vec(),
            account: account.map(|account| AccountName::of(self.directory, account)),
            for_peer: self.args.for_peer,
            from_ms: *from_ms,
            to_ms: *to_ms,
            is_partial: condition.is_some() || !kinds.is_empty() || self.args.stream.is_some(),
        });
        self.json(&line)
    }

    fn generation(&mut self, number: u32) -> Result<(), Failure> {
        let Some(generation) = self.journal.generation_unless_retired(number)? else {
            complain(&format!("generation {number} has no base: it is being retired"), 0);
            return Ok(());
        };
        let starts = match self.args.json {
            true => {
                let mut disk = self.journal.disk();
                Some(start::starts(&mut disk, &generation, &generation.segments)?)
            }
            false => None,
        };
        let walk = Walk {
            root: self.journal.root(),
            generation: &generation,
            filter: self.filter,
            stream: self.args.stream,
            starts: starts.as_deref(),
        };
        let walked = walk.run(&mut |placed| self.record(number, &placed))?;
        if let Some(starts) = &starts {
            let sums: Vec<_> = walked.iter().filter_map(|it| it.sums.clone()).collect();
            self.positions.add(&generation, starts, &sums);
        }
        walked.into_iter().try_for_each(|walked| self.stream(&generation, walked))
    }

    fn record(&mut self, generation: u32, placed: &Placed) -> Result<(), Failure> {
        let Placed { stream, position, record } = placed;
        let for_peer = self.filter.account.filter(|_| self.args.for_peer);
        let lines = Line::of((generation, *stream, *position), record, self.directory, for_peer);
        self.records += u64::from(!lines.is_empty());
        for line in lines {
            match (&line, self.args.json) {
                (_, true) => self.json(&line)?,
                (Line::Record(line), false) => self.text(line)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn text(&mut self, line: &RecordLine) -> Result<(), Failure> {
        let RecordLine { generation, stream, position, at, what, .. } = line;
        let (kind, words) = (what.kind().name(), printable(&what.text()));
        writeln!(
            self.out,
            "{generation:>10} {stream:>6} {position:>12}  {at:<24}  {kind:<12}  {words}"
        )?;
        Ok(())
    }

    fn stream(&mut self, generation: &Generation, walked: Walked) -> Result<(), Failure> {
        let Walked { stream, range: (from, to), first_at_ms, last_at_ms, .. } = walked;
        let (generation, stream) = (generation.number, stream.id.0);
        if let Some(fault) = walked.tail {
            let what = match self.journal.is_running() {
                true => "a write is under way",
                false => "a crash left something that was never flushed",
            };
            let place = format!("generation {generation}, stream {stream}");
            complain(&format!("{place} ends at record {to}: {what} ({fault})"), 0);
        }
        self.damage.extend(walked.damage);
        if self.args.json {
            let line = StreamLine { generation, stream, from, to, first_at_ms, last_at_ms };
            self.json(&Line::Stream(line))?;
        }
        Ok(())
    }

    fn end(mut self) -> Result<Verdict, Failure> {
        if self.args.json {
            self.accounts()?;
            let damage = self.damage.clone();
            self.json(&Line::End(EndLine { records: self.records, damage }))?;
        }
        self.out.flush()?;
        for sentence in &self.damage {
            complain(sentence, 1);
        }
        Ok(Verdict::fine_if(self.damage.is_empty()))
    }

    fn accounts(&mut self) -> Result<(), Failure> {
        let directory = self.directory;
        let wanted = |number: u32| self.filter.account.is_none_or(|account| account.0 == number);
        let lines = directory.accounts().iter().filter(|it| wanted(it.image.account.0)).map(|it| {
            let (before, after) = self.positions.of(it.image.account);
            // Without all streams the sums say nothing.
            let told = |position: Option<i128>| {
                position.filter(|_| self.args.stream.is_none()).map(|position| position.to_string())
            };
            Line::Account(AccountLine {
                number: it.image.account.0,
                name: it.name.clone(),
                asset_code: it.asset_code.clone(),
                asset_scale: it.asset_scale,
                position_before: told(before),
                position_after: told(after),
            })
        });
        let lines: Vec<_> = lines.collect();
        lines.iter().try_for_each(|line| self.json(line))
    }

    fn json(&mut self, line: &Line) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.out, line).map_err(std::io::Error::from)?;
        Ok(self.out.write_all(b"\n")?)
    }
}
