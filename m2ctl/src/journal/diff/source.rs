//! One side of a link: what a journal or a dump says of one account.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use m2_core::AccountId;
use m2_core::record::Record;

use super::super::directory::Directory;
use super::super::filter::{Filter, at_ms, condition_head};
use super::super::line::{AccountLine, DUMP_VERSION, Direction, DumpLine, Line, RecordLine, What};
use super::super::open::Journal;
use super::super::positions::{Positions, Window};
use super::super::start;
use super::super::walk::{Placed, Walk};
use crate::output::Failure;

/// Longest line of a dump: far more than any that we write.
const LINE_LEN_MAX: u64 = 1 << 20;

/// Where something stands in a journal.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Place {
    pub(super) generation: u32,
    pub(super) stream: u16,
    pub(super) position: u64,
}

/// What one record says of the account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Event {
    pub(super) place: Place,
    pub(super) at_ms: u64,
    pub(super) what: Happened,
}

/// See [`Event`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Happened {
    Leg { direction: Direction, amount: u64, condition_head: [u8; 16] },
    Late { condition_head: [u8; 16] },
    Money { kind: Money, key: [u8; 16], amount: u128 },
}

/// Money outside the packet path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Money {
    Frozen,
    Settled,
    Cancelled,
    Credited,
    Reversed,
}

impl Event {
    /// By how much it changes the position of the account.
    pub(super) fn change(&self) -> i128 {
        let signed = |amount: u128| i128::try_from(amount).unwrap_or(0);
        match self.what {
            Happened::Leg { direction: Direction::In, amount, .. } => amount.into(),
            Happened::Leg { direction: Direction::Out, amount, .. } => -i128::from(amount),
            Happened::Late { .. } => 0,
            Happened::Money { kind, amount, .. } => match kind {
                Money::Frozen | Money::Cancelled => 0,
                Money::Settled | Money::Reversed => signed(amount),
                Money::Credited => -signed(amount),
            },
        }
    }
}

/// A generation's records in time, of all accounts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Life {
    pub(super) generation: u32,
    pub(super) first_ms: u64,
    pub(super) last_ms: u64,
}

/// What is known of a side besides its events.
#[derive(Clone, Debug, Default)]
pub(super) struct Side {
    pub(super) name: String,
    pub(super) asset: String,
    /// Before and after the window.
    pub(super) before: Option<i128>,
    pub(super) after: Option<i128>,
    /// Oldest first; those without records are left out.
    pub(super) lives: Vec<Life>,
    /// There were records before the first that it has.
    pub(super) begins_late: bool,
    /// Damage that it told of: sentences.
    pub(super) damage: Vec<String>,
    /// Up to where its streams went: what a running switch adds is of no comparison.
    ends: Ends,
}

/// By generation and stream: the position after the last record.
type Ends = BTreeMap<(u32, u16), u64>;

/// See the head of the file.
pub(super) enum Source {
    Journal { journal: Journal, account: AccountId, side: Side },
    Dump { path: PathBuf, dump: Dump },
}

/// What a dump says besides its records.
pub(super) struct Dump {
    number: u32,
    head: DumpLine,
    account: AccountLine,
    lives: Vec<Life>,
    begins_late: bool,
    damage: Vec<String>,
}

type Each<'a> = &'a mut dyn FnMut(Event) -> Result<(), Failure>;

impl Source {
    /// A journal's folder, or a file that `dump --json` wrote.
    ///
    /// # Errors
    ///
    /// When it is neither, or has no such account.
    pub(super) fn open(path: &Path, account: &str) -> Result<Self, Failure> {
        if !path.is_dir() {
            let dump = Dump::open(path, account)?;
            return Ok(Self::Dump { path: path.to_owned(), dump });
        }
        let journal = Journal::open(path)?;
        let directory = Directory::read(&journal)?;
        let account = directory.find(account)?;
        let known = directory.get(account).expect("it was just found");
        let asset = format!("{}/{}", known.asset_code, known.asset_scale);
        let side = Side { name: known.name.clone(), asset, ..Side::default() };
        Ok(Self::Journal { journal, account, side })
    }

    /// The window that a dump has by itself.
    pub(super) fn window(&self) -> Window {
        match self {
            Self::Journal { .. } => Window::default(),
            Self::Dump { dump, .. } => {
                Window { from_ms: dump.head.from_ms, to_ms: dump.head.to_ms }
            }
        }
    }

    /// Gives every event in the window; tells the rest.
    ///
    /// # Errors
    ///
    /// When it cannot be read, and as `each` says.
    pub(super) fn read(&self, window: Window, each: Each<'_>) -> Result<Side, Failure> {
        match self {
            Self::Journal { journal, account, side } => {
                read_journal(journal, *account, side, window, each)
            }
            Self::Dump { path, dump } => dump.read(path, window, each),
        }
    }

    /// Gives the events that it gave before, and no other.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub(super) fn read_again(
        &self,
        before: &Side,
        window: Window,
        each: Each<'_>,
    ) -> Result<(), Failure> {
        let was_there = |place: Place| {
            let end = before.ends.get(&(place.generation, place.stream));
            end.is_none_or(|end| place.position < *end)
        };
        let again = &mut |event: Event| if was_there(event.place) { each(event) } else { Ok(()) };
        self.read(window, again).map(drop)
    }
}

fn read_journal(
    journal: &Journal,
    account: AccountId,
    side: &Side,
    window: Window,
    each: Each<'_>,
) -> Result<Side, Failure> {
    let mut side = side.clone();
    let Window { from_ms, to_ms } = window;
    let filter = Filter { account: Some(account), from_ms, to_ms, ..Filter::default() };
    let mut positions = Positions::default();
    side.begins_late = journal.generations.first().is_some_and(|first| *first > 1);
    for number in &journal.generations {
        let Some(generation) = journal.generation_unless_retired(*number)? else { continue };
        let mut disk = journal.disk();
        let starts = start::starts(&mut disk, &generation, &generation.segments)?;
        let walk = Walk {
            root: journal.root(),
            generation: &generation,
            filter: &filter,
            stream: None,
            starts: Some(&starts),
        };
        let walked = walk.run(&mut |placed| {
            events(*number, &placed, account).into_iter().flatten().try_for_each(&mut *each)
        })?;
        let sums: Vec<_> = walked.iter().filter_map(|it| it.sums.clone()).collect();
        positions.add(&generation, &starts, &sums);
        for it in walked {
            add_life(&mut side.lives, *number, it.first_at_ms, it.last_at_ms);
            side.begins_late |= it.range.0 > 0;
            side.ends.insert((*number, it.stream.id.0), it.range.1);
            side.damage.extend(it.damage);
        }
    }
    (side.before, side.after) = positions.of(account);
    Ok(side)
}

/// What a record says of an account: twice where it is both of its legs.
fn events(generation: u32, placed: &Placed, account: AccountId) -> [Option<Event>; 2] {
    let Placed { stream, position, record } = placed;
    let place = Place { generation, stream: *stream, position: *position };
    let event = |what| Some(Event { place, at_ms: at_ms(record), what });
    let condition_head = condition_head(record).unwrap_or_default();
    let money = |kind, key: &[u8; 16], amount| event(Happened::Money { kind, key: *key, amount });
    let one = match record {
        Record::Pair(pair) => {
            let leg =
                |direction, amount| event(Happened::Leg { direction, amount, condition_head });
            let incoming =
                leg(Direction::In, pair.amount_in).filter(|_| pair.account_in == account);
            let outgoing =
                leg(Direction::Out, pair.amount_out).filter(|_| pair.account_out == account);
            return [incoming, outgoing];
        }
        Record::LateFulfill(_) => event(Happened::Late { condition_head }),
        Record::Limits(_) => None,
        Record::Frozen(it) => money(Money::Frozen, &it.key.0, it.amount),
        Record::Settled(it) => money(Money::Settled, &it.key.0, it.amount),
        Record::Cancelled(it) => money(Money::Cancelled, &it.key.0, it.amount),
        Record::Credited(it) => money(Money::Credited, &it.key.0, it.amount.into()),
        Record::Reversed(it) => money(Money::Reversed, &it.key.0, it.amount.into()),
    };
    [one, None]
}

fn add_life(lives: &mut Vec<Life>, generation: u32, first: Option<u64>, last: Option<u64>) {
    let (Some(first_ms), Some(last_ms)) = (first, last) else { return };
    match lives.iter_mut().find(|life| life.generation == generation) {
        Some(life) => {
            life.first_ms = life.first_ms.min(first_ms);
            life.last_ms = life.last_ms.max(last_ms);
        }
        None => lives.push(Life { generation, first_ms, last_ms }),
    }
}

impl Dump {
    fn open(path: &Path, word: &str) -> Result<Self, Failure> {
        let shown = path.display();
        let unusable = |sentence: String| Failure::Unusable(format!("{shown}: {sentence}"));
        let (mut head, mut accounts, mut lives, mut end) = (None, Vec::new(), Vec::new(), None);
        let mut begins_late = false;
        let mut lines = Lines::open(path)?;
        while let Some(line) = lines.next_line(&|text| text.starts_with(br#"{"type":"record""#))? {
            let is_first = head.is_none();
            match line {
                _ if end.is_some() => return Err(unusable("it goes on behind its end".into())),
                Line::Dump(line) if is_first => head = Some(line),
                Line::Dump(_) => return Err(unusable("it is two dumps in one file".into())),
                _ if is_first => {
                    return Err(unusable("its first line is not that of `dump --json`".into()));
                }
                Line::Record(_) => {}
                Line::Stream(it) => {
                    begins_late |= it.from > 0;
                    add_life(&mut lives, it.generation, it.first_at_ms, it.last_at_ms);
                }
                Line::Account(line) => accounts.push(line),
                Line::End(line) => end = Some(line),
            }
        }
        let head = head.ok_or_else(|| unusable("it is empty".into()))?;
        let end =
            end.ok_or_else(|| unusable("it was cut short: its last line is missing".into()))?;
        if head.version != DUMP_VERSION {
            let found = head.version;
            return Err(unusable(format!(
                "it is a dump of version {found}, we read {DUMP_VERSION}"
            )));
        }
        if head.is_partial {
            return Err(unusable(
                "records were left out of it: make it without --kind, --condition and --stream"
                    .into(),
            ));
        }
        let by_name = accounts.iter().rposition(|it| it.name == word);
        let by_number = || accounts.iter().position(|it| word.parse() == Ok(it.number));
        let Some(index) = by_name.or_else(by_number) else {
            let some: Vec<_> = accounts.iter().take(10).map(|it| it.name.as_str()).collect();
            let some = some.join(", ");
            return Err(unusable(format!("no account in it is called {word}; there are {some}")));
        };
        let account = accounts.swap_remove(index);
        begins_late |= head.generations.first().is_some_and(|first| *first > 1);
        let number = account.number;
        Ok(Self { number, head, account, lives, begins_late, damage: end.damage })
    }

    fn read(&self, path: &Path, window: Window, each: Each<'_>) -> Result<Side, Failure> {
        let position = |text: &Option<String>| text.as_ref().and_then(|text| text.parse().ok());
        let AccountLine { position_before, position_after, .. } = &self.account;
        let mut before: Option<i128> = position(position_before);
        let mut sum = Some(0_i128);
        let mut all = Some(0_i128);
        let mut lines = Lines::open(path)?;
        while let Some(line) = lines.next_line(&|_| false)? {
            let Line::Record(record) = line else { continue };
            let events =
                self.events(&record).ok_or_else(|| lines.wrong("it says what cannot be"))?;
            for event in events.into_iter().flatten() {
                let change = event.change();
                all = all.and_then(|all| all.checked_add(change));
                if window.from_ms.is_some_and(|from| event.at_ms < from) {
                    before = before.and_then(|before| before.checked_add(change));
                } else if window.to_ms.is_none_or(|to| event.at_ms <= to) {
                    sum = sum.and_then(|sum| sum.checked_add(change));
                    each(event)?;
                }
            }
        }
        let mut damage = self.damage.clone();
        let told = position(position_after);
        let comes_to = position(position_before).zip(all).and_then(|(at, all)| all.checked_add(at));
        if told != comes_to && told.is_some() {
            damage.push(format!(
                "{} contradicts itself: its records do not come to the position that it tells",
                path.display()
            ));
        }
        let AccountLine { name, asset_code, asset_scale, .. } = &self.account;
        Ok(Side {
            name: name.clone(),
            asset: format!("{asset_code}/{asset_scale}"),
            before,
            after: before.zip(sum).and_then(|(before, sum)| before.checked_add(sum)),
            lives: self.lives.clone(),
            begins_late: self.begins_late,
            damage,
            ends: Ends::new(),
        })
    }

    /// `None` if the line is none that we write.
    fn events(&self, line: &RecordLine) -> Option<[Option<Event>; 2]> {
        let RecordLine { generation, stream, position, at_ms, what, .. } = line;
        let place = Place { generation: *generation, stream: *stream, position: *position };
        let is_own = |number: u32| number == self.number;
        let event = |what| Event { place, at_ms: *at_ms, what };
        let leg = |direction, amount: &str, head: &str| {
            let (amount, condition_head) = (amount.parse().ok()?, unhex(head)?);
            Some(event(Happened::Leg { direction, amount, condition_head }))
        };
        let money = |kind, number, key: &str, amount: &str| {
            let amount = amount.parse().ok().filter(|amount| *amount < u128::MAX >> 16)?;
            let event = event(Happened::Money { kind, key: unhex(key)?, amount });
            Some([Some(event).filter(|_| is_own(number)), None])
        };
        match what {
            What::Pair {
                account_in, amount_in, account_out, amount_out, condition_head, ..
            } => {
                let incoming = leg(Direction::In, amount_in, condition_head)?;
                let outgoing = leg(Direction::Out, amount_out, condition_head)?;
                Some([
                    Some(incoming).filter(|_| is_own(account_in.number)),
                    Some(outgoing).filter(|_| is_own(account_out.number)),
                ])
            }
            What::Leg { account, direction, amount, condition_head } => {
                let leg = leg(*direction, amount, condition_head)?;
                Some([Some(leg).filter(|_| is_own(account.number)), None])
            }
            What::LateFulfill { account, condition_head, .. } => {
                let late = event(Happened::Late { condition_head: unhex(condition_head)? });
                Some([Some(late).filter(|_| is_own(account.number)), None])
            }
            What::Limits { .. } => Some([None, None]),
            What::Frozen { account, key, amount } => {
                money(Money::Frozen, account.number, key, amount)
            }
            What::Settled { account, key, amount } => {
                money(Money::Settled, account.number, key, amount)
            }
            What::Cancelled { account, key, amount } => {
                money(Money::Cancelled, account.number, key, amount)
            }
            What::Credited { account, key, amount, .. } => {
                money(Money::Credited, account.number, key, amount)
            }
            What::Reversed { account, key, amount, .. } => {
                money(Money::Reversed, account.number, key, amount)
            }
        }
    }
}

/// 16 bytes written as 32 hex digits.
fn unhex(text: &str) -> Option<[u8; 16]> {
    let digits = text.as_bytes();
    let value = |digit: u8| u8::try_from(char::from(digit).to_digit(16)?).ok();
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    (digits.len() == 32).then_some(bytes)
}

/// The lines of a dump, one at a time.
struct Lines {
    shown: String,
    reader: BufReader<File>,
    text: Vec<u8>,
    number: u64,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, Failure> {
        let shown = path.display().to_string();
        let file = File::open(path)
            .map_err(|error| Failure::Unusable(format!("{shown} cannot be read: {error}")))?;
        let reader = BufReader::with_capacity(256 << 10, file);
        Ok(Self { shown, reader, text: Vec::new(), number: 0 })
    }

    /// The next line that `skip` does not want left out.
    fn next_line(&mut self, skip: &dyn Fn(&[u8]) -> bool) -> Result<Option<Line>, Failure> {
        loop {
            self.text.clear();
            self.number += 1;
            let read = self.reader.by_ref().take(LINE_LEN_MAX).read_until(b'\n', &mut self.text);
            let count = read.map_err(|error| self.wrong(&error.to_string()))?;
            if count == 0 {
                return Ok(None);
            }
            if self.text.last() != Some(&b'\n') {
                return Err(self.wrong("it does not end: the file was cut short, or is no dump"));
            }
            if skip(&self.text) {
                continue;
            }
            let line = serde_json::from_slice(&self.text);
            return line.map(Some).map_err(|error| {
                self.wrong(&format!("it is no line that `dump --json` writes ({error})"))
            });
        }
    }

    fn wrong(&self, sentence: &str) -> Failure {
        Failure::Unusable(format!("{}, line {}: {sentence}", self.shown, self.number))
    }
}
