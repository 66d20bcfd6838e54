//! What is drawn, as text: nothing here reads a clock or writes.

use std::fmt::Write as _;
use std::time::Duration;

use rustix::termios::Winsize;

use super::{Form, Moment};
use crate::report::{Missed, duration, grouped};

/// A terminal's columns and rows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Size {
    columns: usize,
    rows: usize,
}

impl Size {
    /// Of a terminal that does not say.
    pub(super) const USUAL: Self = Self { columns: 80, rows: 24 };
    /// Below this, one line is drawn.
    const SCREEN_MIN: Self = Self { columns: 40, rows: 9 };

    fn has_room(self) -> bool {
        self.columns >= Self::SCREEN_MIN.columns && self.rows >= Self::SCREEN_MIN.rows
    }
}

impl From<Winsize> for Size {
    fn from(size: Winsize) -> Self {
        match (size.ws_col, size.ws_row) {
            (0, _) | (_, 0) => Self::USUAL,
            (columns, rows) => Self { columns: columns.into(), rows: rows.into() },
        }
    }
}

/// How fast the counts of two moments grew, and how much of a core the generator took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    offered_per_s: u64,
    fulfilled_per_s: u64,
    rejected_per_s: u64,
    cpu_percent: Option<u64>,
}

impl Rates {
    pub(super) fn between(
        earlier: &Moment,
        later: &Moment,
        cpu: Duration,
        clock: Duration,
    ) -> Self {
        let elapsed_ns = u128::from(later.elapsed_ns.saturating_sub(earlier.elapsed_ns).max(1));
        let per_s = |earlier: u64, later: u64| {
            let count = u128::from(later.saturating_sub(earlier));
            u64::try_from(count * 1_000_000_000 / elapsed_ns).unwrap_or(u64::MAX)
        };
        let percent = cpu.as_nanos() * 100 / clock.as_nanos().max(1);
        Self {
            offered_per_s: per_s(earlier.offered(), later.offered()),
            fulfilled_per_s: per_s(earlier.fulfilled, later.fulfilled),
            rejected_per_s: per_s(earlier.rejected, later.rejected),
            cpu_percent: u64::try_from(percent).ok(),
        }
    }
}

/// A moment in this form, to be written where the last one stood.
pub(super) fn text(form: Form, size: Size, moment: &Moment, rates: &Rates) -> String {
    match form {
        Form::Quiet => String::new(),
        Form::Lines => line(moment, rates) + "\n",
        Form::Terminal { .. } if !size.has_room() => {
            format!("{}\x1b[K", cut(&line(moment, rates), size.columns))
        }
        Form::Terminal { colour } => screen(size, colour, moment, rates),
    }
}

/// Goes to where the last screen began.
pub(super) fn over(lines: usize) -> String {
    if lines == 0 { "\r".to_owned() } else { format!("\r\x1b[{lines}A") }
}

/// Takes the last screen away.
pub(super) fn clear(lines: usize) -> String {
    over(lines) + "\x1b[J"
}

fn screen(size: Size, colour: bool, moment: &Moment, rates: &Rates) -> String {
    let mut text = String::new();
    for (is_bad, line) in lines(moment, rates) {
        let line = cut(&line, size.columns);
        let _ = match is_bad && colour {
            true => writeln!(text, "\x1b[31m{line}\x1b[0m\x1b[K"),
            false => writeln!(text, "{line}\x1b[K"),
        };
    }
    // What a larger screen left below.
    text + "\x1b[J"
}

/// The lines of a screen, and whether each tells of a fault.
fn lines(moment: &Moment, rates: &Rates) -> [(bool, String); 8] {
    let row = |name: &str, count: u64, per_s: u64| {
        format!("{name:<12}{:>15}{:>13}/s", grouped(count), grouped(per_s))
    };
    let mut rejected = row("rejected", moment.rejected, rates.rejected_per_s);
    for (code, count) in moment.rejects.iter().filter(|(_, count)| *count > 0) {
        let _ = write!(rejected, "  {} {}", code.escape_ascii(), grouped(*count));
    }
    let offered = row("offered", moment.offered(), rates.offered_per_s);
    let behind = match moment.behind_ns {
        0..1_000_000 => String::new(),
        behind_ns => format!(", {} behind", duration(behind_ns)),
    };
    [
        (
            moment.behind_ns >= 1_000_000,
            format!(
                "m2-load     {} of {}{behind}",
                seconds(moment.elapsed_ns),
                seconds(moment.planned_ns)
            ),
        ),
        (false, format!("{offered}  {} sent", grouped(moment.sent))),
        (false, row("fulfilled", moment.fulfilled, rates.fulfilled_per_s)),
        (false, rejected),
        (false, format!("{:<12}{:>15}", "in flight", grouped(moment.in_flight))),
        (false, format!("{:<12}{}", "last second", latencies(moment))),
        (moment.missed.total() > 0, format!("{:<12}{}", "missed", missed(moment))),
        (false, format!("{:<12}{:>15} of a core", "own cpu", own_cpu(rates))),
    ]
}

fn line(moment: &Moment, rates: &Rates) -> String {
    let mut line = format!(
        "{}  {} offered  {} sent  {} fulfilled  {} rejected  {} in flight  {}",
        seconds(moment.elapsed_ns),
        grouped(moment.offered()),
        grouped(moment.sent),
        grouped(moment.fulfilled),
        grouped(moment.rejected),
        grouped(moment.in_flight),
        latencies(moment)
    );
    let _ = write!(line, "  own cpu {}", own_cpu(rates));
    if moment.missed.total() > 0 {
        let _ = write!(line, "  {} MISSED", grouped(moment.missed.total()));
    }
    line
}

fn own_cpu(rates: &Rates) -> String {
    rates.cpu_percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent} %"))
}

fn missed(moment: &Moment) -> String {
    let Missed { link_full, in_flight_full, too_late } = moment.missed;
    let mut text = format!("{:>15}", grouped(moment.missed.total()));
    let reasons = [
        (link_full, "target does not read"),
        (in_flight_full, "request ids used up"),
        (too_late, "GENERATOR too slow"),
    ];
    for (count, reason) in reasons.into_iter().filter(|(count, _)| *count > 0) {
        let _ = write!(text, "  {} {reason}", grouped(count));
    }
    text
}

fn latencies(moment: &Moment) -> String {
    match moment.recent {
        None => "p50 -  p99 -  max -".to_owned(),
        Some(recent) => format!(
            "p50 {}  p99 {}  max {}",
            duration(recent.p50_ns),
            duration(recent.p99_ns),
            duration(recent.max_ns)
        ),
    }
}

fn seconds(ns: u64) -> String {
    let tenths = ns / 100_000_000;
    format!("{}.{} s", tenths / 10, tenths % 10)
}

/// As much of a line as a terminal shows without going on to the next.
fn cut(line: &str, columns: usize) -> &str {
    let end = line.char_indices().nth(columns.saturating_sub(1));
    end.map_or(line, |(end, _)| &line[..end])
}
