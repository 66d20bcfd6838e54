//! A report for the eye.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use crate::schedule::Phase;

use super::{Cpu, Missed, Report, Strays, Verdict};
use crate::environment::LinkReport;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verdict, mut offered) = (self.verdict, grouped(self.offered));
        if self.not_due > 0 {
            offered += &format!(" of {}", grouped(self.offered + self.not_due));
        }
        match (self.window, self.offered_per_s) {
            (Some(window), _) => {
                write!(
                    f,
                    "m2-load {verdict}: {offered} PREPAREs, {} in flight",
                    grouped(window.into())
                )?;
            }
            (None, Some(rate)) => {
                write!(
                    f,
                    "m2-load {verdict}: {offered} PREPAREs offered at {} a second",
                    grouped(rate)
                )?;
            }
            (None, None) => write!(f, "m2-load {verdict}: {offered} PREPAREs offered")?,
        }
        writeln!(f, " for {} s, seed {}", self.seconds, self.seed)?;
        writeln!(f, "{}.", self.method)?;
        if let Some(reason) = &self.partial {
            writeln!(f, "PARTIAL: {reason}")?;
        }
        self.write_limit(f)?;
        writeln!(f)?;
        self.write_traffic(f)?;
        self.write_counts(f)?;
        self.write_latencies(f)?;
        self.write_kinds(f)?;
        self.write_cpu(f)?;
        self.write_books(f)?;
        self.write_environment(f)?;
        self.write_requirements(f)?;
        for note in &self.notes {
            writeln!(f, "note         {note}")?;
        }
        for failure in &self.failures {
            writeln!(f, "FAILED       {failure}")?;
        }
        Ok(())
    }
}

impl Report {
    fn write_traffic(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (arrivals, fulfillment) = (self.arrivals, self.fulfillment);
        write!(f, "traffic      ")?;
        if self.window.is_none() {
            write!(f, "{arrivals} arrivals, ")?;
        }
        write!(f, "{fulfillment} fulfillments, ")?;
        match self.repeat {
            None => writeln!(f, "every packet unique")?,
            Some(count) => writeln!(f, "{} SENT OVER AND OVER", counted(count, "packet"))?,
        }
        if self.phases.len() < 2 && self.phases.iter().all(Phase::is_constant) {
            return Ok(());
        }
        for (index, phase) in self.phases.iter().enumerate() {
            let head = if index == 0 { "phases" } else { "" };
            write!(f, "{head:<13}{} s at {}", phase.seconds, grouped(phase.rate_per_s))?;
            if !phase.is_constant() {
                write!(f, " to {}", grouped(phase.to_rate_per_s))?;
            }
            writeln!(f, " a second")?;
        }
        Ok(())
    }

    fn write_counts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "packets      {} sent, {} answered: {} fulfilled, {} rejected; {} unanswered",
            grouped(self.sent),
            grouped(self.answered),
            grouped(self.fulfilled),
            grouped(self.rejected),
            grouped(self.unanswered)
        )?;
        writeln!(
            f,
            "rate         {} pairs/s answered while sending, {} of them fulfilled",
            grouped_f64(self.answered_per_s),
            grouped_f64(self.fulfilled_per_s)
        )?;
        self.write_missed(f)?;
        let Strays { duplicate, unexpected, late_fulfills, late_others, unreadable } = self.strays;
        let (duplicate, unexpected) = (grouped(duplicate), grouped(unexpected));
        writeln!(
            f,
            "answers      {duplicate} duplicate, {unexpected} unexpected, {}, {}, {}",
            counted(late_fulfills, "late FULFILL"),
            counted(late_others, "other late one"),
            counted(unreadable, "unreadable frame")
        )
    }

    /// What was never sent stands on a line of its own, with whose fault it was.
    fn write_missed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Missed { link_full, in_flight_full, too_late } = self.missed;
        write!(f, "missed       {}", counted(self.missed.total(), "send"))?;
        let reasons = [
            (link_full, "the target did not read"),
            (in_flight_full, "every request id was in flight"),
            (too_late, "THE GENERATOR was too slow"),
        ];
        let mut separator = ": ";
        for (count, reason) in reasons.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{separator}{} as {reason}", grouped(count))?;
            separator = ", ";
        }
        writeln!(f)?;
        let lag = duration(self.send_lag_max_ns);
        let late = counted(self.sent_late, "send");
        writeln!(f, "late         {late} by more than 1 ms, the latest by {lag}")
    }

    /// Where the generator was slower than what it measured, nobody shall read on without knowing.
    fn write_limit(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.generator_was_limit {
            return Ok(());
        }
        if self.window.is_some() {
            let cpu_us = self.generator_cpu.map_or(0, |cpu| cpu.total_us);
            return writeln!(
                f,
                "THE GENERATOR WAS THE LIMIT: in {} s it computed for {}, and did not look at its \
                 links for {} when it was to.\nThe rate and the latencies below are its own: give it \
                 more of the machine.",
                self.seconds,
                duration(cpu_us.saturating_mul(1_000)),
                duration(self.absent_ns)
            );
        }
        writeln!(
            f,
            "THE GENERATOR WAS THE LIMIT: {} due that it did not send, and {} of {} that it sent \
             late, up to {}.\nThe latencies below are its own: lower the rate, or give it more of \
             the machine.",
            counted(self.missed.too_late, "packet"),
            grouped(self.sent_late),
            grouped(self.sent),
            duration(self.send_lag_max_ns)
        )
    }

    fn write_latencies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |f: &mut fmt::Formatter<'_>, name: &str, cells: [String; 7]| {
            write!(f, "{name:<13}")?;
            cells.iter().try_for_each(|cell| write!(f, "{cell:>10}"))?;
            writeln!(f)
        };
        let heads = ["p50", "p90", "p99", "p99.9", "p99.99", "p99.999", "max"];
        row(f, "latency", heads.map(str::to_owned))?;
        for (name, at) in [("  scheduled", self.latency), ("  service", self.service)] {
            let cells = match at.count {
                0 => [0; 7].map(|_| "-".to_owned()),
                _ => at.row_ns().map(duration),
            };
            row(f, name, cells)?;
        }
        Ok(())
    }

    fn write_kinds(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let occur = self.kinds.iter().filter(|kind| kind.share_per_mille > 0 || kind.sent > 0);
        for (index, kind) in occur.enumerate() {
            writeln!(
                f,
                "{:<13}{:<18} {:>9} sent, {:>9} as expected, {} otherwise",
                if index == 0 { "kinds" } else { "" },
                kind.kind,
                grouped(kind.sent),
                grouped(kind.as_expected),
                grouped(kind.otherwise)
            )?;
        }
        let (frequent, others) = most_frequent(&self.rejects, |reject| reject.count);
        let mut line = String::new();
        for reject in frequent {
            let separator = if line.is_empty() { "" } else { ", " };
            let name = reject.name.unwrap_or("(no name)");
            write!(line, "{separator}{} {} {name}", grouped(reject.count), reject.code)?;
        }
        if let Some(Others { different, count }) = others {
            let codes = counted(different, "other code");
            write!(line, ", {} with {codes}", grouped(count))?;
        }
        writeln!(f, "rejects      {}", if line.is_empty() { "none" } else { line.as_str() })
    }

    fn write_cpu(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let write = |f: &mut fmt::Formatter<'_>, who: &str, cpu: &Cpu| {
            let total = duration(cpu.total_ns_per_pair);
            writeln!(f, "cpu          {who:<18} {total} a pair: {}", cpu_parts(cpu))
        };
        if let Some(cpu) = &self.generator_cpu {
            write(f, "generator", cpu)?;
        }
        if let Some(target) = &self.target {
            write(f, "switch", &target.cpu)?;
        }
        let Some(process) = &self.target_process else { return Ok(()) };
        let who = format!("{}, process {}", process.name, process.pid);
        match &process.cpu {
            Some(cpu) => write(f, &who, cpu)?,
            None => writeln!(f, "cpu          {who} ended before the run did")?,
        }
        for thread in process.threads.iter().filter(|thread| thread.total_ns_per_pair > 0) {
            let of_thread = duration(thread.total_ns_per_pair);
            writeln!(f, "               thread {:<16} {of_thread} a pair", thread.name)?;
        }
        Ok(())
    }

    fn write_books(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "books        {}", self.books.summary)?;
        for flow in &self.books.flows {
            let received = match &flow.received {
                Some(received) => format!("received {received}"),
                None => "did not say what it received".to_owned(),
            };
            writeln!(
                f,
                "             {} paid {}; {} was owed {} and {received}",
                flow.from, flow.paid, flow.to, flow.owed
            )?;
        }
        for end in &self.books.ends {
            if let (Some(ours), Some(theirs)) = (&end.balance_expected, &end.balance_of_target) {
                writeln!(
                    f,
                    "             {} {}: balance {ours} by our books, {theirs} by the switch's",
                    end.name, end.asset
                )?;
            }
        }
        Ok(())
    }

    fn write_environment(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = &self.environment;
        writeln!(
            f,
            "environment  m2-load {} ({}, {}) on {}",
            self.version, at.profile, at.rustc, at.kernel
        )?;
        let links: Vec<_> = at.links.iter().map(ToString::to_string).collect();
        writeln!(
            f,
            "             {} cores of {}, governor {}; waits by {}; links: {}",
            at.cores,
            at.cpu_model,
            at.cpu_governor,
            at.waiting,
            links.join(", ")
        )?;
        writeln!(f, "             {}, seed {}", at.started_at, self.seed)?;
        let words: Vec<_> = at.command.iter().map(|word| quoted(word)).collect();
        writeln!(f, "             {}", words.join(" "))
    }

    fn write_requirements(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, row) in self.requirements.iter().enumerate() {
            let title = if index == 0 { "required" } else { "" };
            let word = match row.met {
                Some(true) => "met",
                Some(false) => "NOT MET",
                None => "not judged",
            };
            writeln!(f, "{title:<13}{:<26} {word}: {}", row.requirement, row.actual_text)?;
        }
        Ok(())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "PASSED",
            Self::Unmet => "NOT AS REQUIRED",
            Self::Fail => "FAILED",
            Self::Partial => "PARTIAL",
        })
    }
}

impl fmt::Display for LinkReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.count, self.transport)?;
        match &self.congestion_control {
            Some(word) => write!(f, " ({word})"),
            None => Ok(()),
        }
    }
}

/// A word as a shell takes it.
#[must_use]
pub fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', "'\\''")).into(),
    }
}

/// How CPU time divides. The kernel counts the parts in ticks: one without any is not known to be 0.
pub(crate) fn cpu_parts(cpu: &Cpu) -> String {
    let part = |us: u64, ns_per_pair| match us {
        0 => "under 1 tick".to_owned(),
        _ => duration(ns_per_pair),
    };
    if cpu.user_us == 0 && cpu.system_us == 0 {
        return "too few ticks to tell user from system".to_owned();
    }
    let user = part(cpu.user_us, cpu.user_ns_per_pair);
    let system = part(cpu.system_us, cpu.system_ns_per_pair);
    format!("{user} user, {system} system")
}

/// How many of a list a text tells one by one.
const TOLD_MAX: usize = 6;

/// What a text does not tell one by one.
pub(super) struct Others {
    /// How many different ones.
    pub(super) different: u64,
    /// How often they came together.
    pub(super) count: u64,
}

/// The most frequent of a list, as many as a text tells one by one, and the rest: a hostile target
/// may answer each packet in another way.
pub(super) fn most_frequent<T>(all: &[T], count: fn(&T) -> u64) -> (Vec<&T>, Option<Others>) {
    let mut told: Vec<&T> = all.iter().collect();
    told.sort_by_key(|row| std::cmp::Reverse(count(row)));
    let rest = told.split_off(told.len().min(TOLD_MAX));
    let sum = || rest.iter().map(|row| count(row)).sum();
    let others = (!rest.is_empty()).then(|| Others { different: rest.len() as u64, count: sum() });
    (told, others)
}

/// A count and what it counts, in the plural unless it is one.
#[must_use]
pub fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// A count with its thousands apart.
#[must_use]
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn grouped_f64(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a rate, for the eye
    grouped(value.round() as u64)
}

/// A duration in the unit that reads best.
#[must_use]
pub fn duration(ns: u64) -> String {
    #[expect(clippy::cast_precision_loss)] // three digits, for the eye
    let exact = ns as f64;
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} us", exact / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} ms", exact / 1e6),
        _ => format!("{:.2} s", exact / 1e9),
    }
}
