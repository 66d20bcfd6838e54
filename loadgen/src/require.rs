//! What a run must reach: `--require 'p99<500us,loss=0,fulfilled>0.999'`.
//!
//! ```text
//! requirements = requirement *( "," requirement )
//! requirement  = name operator number [ unit ]        ; spaces between them are passed over
//! operator     = "<" / "<=" / "=" / ">=" / ">"
//! unit         = "ns" / "us" / "ms" / "s"             ; a time must have one
//!              / "%"                                  ; a share may: 0.1% is 0.001
//! ```
//!
//! Invariant: whatever cannot be judged (a name that is none, a wrong unit, no number) is told
//! before anything is sent. A figure that a run does not have meets no requirement.

use std::fmt;

use crate::report::{Percentiles, Report, RequirementReport, duration, grouped};

/// What kind of figure a name stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Unit {
    /// Nanoseconds.
    Time,
    /// Of all that were offered, from 0 to 1.
    Share,
    /// A whole number.
    Count,
    /// A second.
    PerSecond,
}

impl Unit {
    /// As the report names it.
    fn name(self) -> &'static str {
        match self {
            Self::Time => "ns",
            Self::Share => "ratio",
            Self::Count => "count",
            Self::PerSecond => "per_s",
        }
    }

    /// What to write for it.
    fn advice(self) -> &'static str {
        match self {
            Self::Time => "is a time: write a number and ns, us, ms or s, as 500us",
            Self::Share => "is a share of the offered packets: write 0 to 1, or 0% to 100%",
            Self::Count => "is a count: write a number without a unit",
            Self::PerSecond => "is a rate a second: write a number without a unit",
        }
    }

    /// Reads a number with its unit. The decimal point moves in the digits, so that a limit is the
    /// float nearest to what was written, as the figure that it is held against is.
    fn read(self, text: &str) -> Option<f64> {
        let is_number = |c: char| c.is_ascii_digit() || c == '.' || c == '_';
        let (number, unit) = text.split_at(text.find(|c| !is_number(c)).unwrap_or(text.len()));
        if !number.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let exponent = match (self, unit.trim_start()) {
            (Self::Time, "ns") | (Self::Share | Self::Count | Self::PerSecond, "") => 0,
            (Self::Time, "us" | "µs") => 3,
            (Self::Time, "ms") => 6,
            (Self::Time, "s") => 9,
            (Self::Share, "%") => -2,
            _ => return None,
        };
        let digits = number.replace('_', "");
        let value: f64 = format!("{digits}e{exponent}").parse().ok()?;
        let is_in_range = value.is_finite() && (self != Self::Share || value <= 1.0);
        is_in_range.then_some(value)
    }

    fn show(self, value: f64) -> String {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // for the eye
        let whole = value.round() as u64;
        match self {
            Self::Time => duration(whole),
            Self::Share => {
                let digits = format!("{value:.6}");
                digits.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
            Self::Count | Self::PerSecond => grouped(whole),
        }
    }
}

/// A figure that may be required.
struct Metric {
    name: &'static str,
    unit: Unit,
    /// `None` where a run does not have it.
    of: fn(&Report) -> Option<f64>,
}

const fn time(name: &'static str, of: fn(&Report) -> Option<f64>) -> Metric {
    Metric { name, unit: Unit::Time, of }
}

const fn share(name: &'static str, of: fn(&Report) -> Option<f64>) -> Metric {
    Metric { name, unit: Unit::Share, of }
}

const fn count(name: &'static str, of: fn(&Report) -> Option<f64>) -> Metric {
    Metric { name, unit: Unit::Count, of }
}

const fn per_second(name: &'static str, of: fn(&Report) -> Option<f64>) -> Metric {
    Metric { name, unit: Unit::PerSecond, of }
}

/// Every figure that may be required.
const METRICS: &[Metric] = &[
    time("p50", |report| of_some(&report.latency, |at| at.p50_ns)),
    time("p90", |report| of_some(&report.latency, |at| at.p90_ns)),
    time("p99", |report| of_some(&report.latency, |at| at.p99_ns)),
    time("p99.9", |report| of_some(&report.latency, |at| at.p99_9_ns)),
    time("p99.99", |report| of_some(&report.latency, |at| at.p99_99_ns)),
    time("p99.999", |report| of_some(&report.latency, |at| at.p99_999_ns)),
    time("max", |report| of_some(&report.latency, |at| at.max_ns)),
    time("mean", |report| of_some(&report.latency, |at| at.mean_ns)),
    time("service_p50", |report| of_some(&report.service, |at| at.p50_ns)),
    time("service_p90", |report| of_some(&report.service, |at| at.p90_ns)),
    time("service_p99", |report| of_some(&report.service, |at| at.p99_ns)),
    time("service_p99.9", |report| of_some(&report.service, |at| at.p99_9_ns)),
    time("service_p99.99", |report| of_some(&report.service, |at| at.p99_99_ns)),
    time("service_p99.999", |report| of_some(&report.service, |at| at.p99_999_ns)),
    time("service_max", |report| of_some(&report.service, |at| at.max_ns)),
    time("service_mean", |report| of_some(&report.service, |at| at.mean_ns)),
    time("send_lag_max", |report| Some(float(report.send_lag_max_ns))),
    share("loss", |report| of_offered(report, report.missed.total() + report.unanswered)),
    share("fulfilled", |report| of_offered(report, report.fulfilled)),
    share("rejected", |report| of_offered(report, report.rejected)),
    share("expected", |report| {
        of_offered(report, report.kinds.iter().map(|kind| kind.as_expected).sum())
    }),
    count("sent", |report| Some(float(report.sent))),
    count("answered", |report| Some(float(report.answered))),
    count("unanswered", |report| Some(float(report.unanswered))),
    count("missed", |report| Some(float(report.missed.total()))),
    count("late", |report| Some(float(report.sent_late))),
    count("duplicate", |report| Some(float(report.strays.duplicate))),
    count("unexpected", |report| Some(float(report.strays.unexpected))),
    count("late_answers", |report| {
        Some(float(report.strays.late_fulfills + report.strays.late_others))
    }),
    per_second("answered_per_s", |report| Some(report.answered_per_s)),
    per_second("fulfilled_per_s", |report| Some(report.fulfilled_per_s)),
    time("generator_cpu_per_pair", |report| {
        report.generator_cpu.map(|cpu| float(cpu.total_ns_per_pair))
    }),
    time(TARGET_CPU, |report| report.target_cpu().map(|cpu| float(cpu.total_ns_per_pair))),
];

const TARGET_CPU: &str = "target_cpu_per_pair";

/// A figure of a report, by the name that `--require` knows it by.
#[derive(Clone, Copy)]
pub struct Figure(&'static Metric);

impl Figure {
    /// The figure of this name.
    ///
    /// # Errors
    ///
    /// A sentence with the names that there are.
    pub fn named(name: &str) -> Result<Self, String> {
        METRICS.iter().find(|metric| metric.name == name).map(Self).ok_or_else(|| {
            let names: Vec<_> = METRICS.iter().map(|metric| metric.name).collect();
            format!("there is no '{name}'; there are {}", names.join(", "))
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// Its unit, as reports name it.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        self.0.unit.name()
    }

    /// Whether somebody must tell it of the target.
    #[must_use]
    pub fn is_of_target(&self) -> bool {
        self.0.name == TARGET_CPU
    }

    /// Its value, if the run has it.
    #[must_use]
    pub fn of(&self, report: &Report) -> Option<f64> {
        (self.0.of)(report)
    }

    /// A value of it for the eye.
    #[must_use]
    pub fn show(&self, value: f64) -> String {
        self.0.unit.show(value)
    }
}

impl fmt::Debug for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

/// A time with its unit, in nanoseconds, as a requirement has it.
///
/// # Errors
///
/// What to write instead.
pub fn time_ns(text: &str) -> Result<u64, String> {
    let ns = Unit::Time.read(text).filter(|ns| *ns >= 1.0 && *ns <= float(1 << 53));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // from 1 to 2^53
    ns.map(|ns| ns.round() as u64).ok_or_else(|| format!("it {}", Unit::Time.advice()))
}

#[expect(clippy::cast_precision_loss)] // exact up to 2^53: 104 days in nanoseconds
fn float(value: u64) -> f64 {
    value as f64
}

fn of_some(at: &Percentiles, value: fn(&Percentiles) -> u64) -> Option<f64> {
    (at.count > 0).then(|| float(value(at)))
}

fn of_offered(report: &Report, count: u64) -> Option<f64> {
    (report.offered > 0).then(|| float(count) / float(report.offered))
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Operator {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
}

impl Operator {
    /// Splits at the operator, if there is one.
    fn split(text: &str) -> Option<(&str, Self, &str)> {
        let at = text.find(['<', '=', '>'])?;
        let (name, rest) = text.split_at(at);
        let (operator, len) = match rest.as_bytes() {
            [b'<', b'=', ..] => (Self::LessOrEqual, 2),
            [b'>', b'=', ..] => (Self::GreaterOrEqual, 2),
            [b'<', ..] => (Self::Less, 1),
            [b'>', ..] => (Self::Greater, 1),
            _ => (Self::Equal, 1),
        };
        Some((name.trim(), operator, rest[len..].trim()))
    }

    #[expect(clippy::float_cmp)] // both are the floats nearest to what they stand for
    fn holds(self, actual: f64, limit: f64) -> bool {
        match self {
            Self::Less => actual < limit,
            Self::LessOrEqual => actual <= limit,
            Self::Equal => actual == limit,
            Self::GreaterOrEqual => actual >= limit,
            Self::Greater => actual > limit,
        }
    }
}

/// One thing that a run must reach.
#[derive(Clone)]
struct Requirement {
    text: String,
    metric: &'static Metric,
    operator: Operator,
    limit: f64,
}

impl fmt::Debug for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Everything that a run must reach.
#[derive(Clone, Debug, Default)]
pub struct Requirements(Vec<Requirement>);

impl Requirements {
    /// Reads lists of requirements, one for each `--require`.
    ///
    /// # Errors
    ///
    /// A sentence that names the requirement, what is wrong with it, and what there is.
    pub fn parse<S: AsRef<str>>(lists: &[S]) -> Result<Self, String> {
        let texts = lists.iter().flat_map(|list| list.as_ref().split(','));
        texts.map(|text| Requirement::parse(text.trim())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether one of them needs to know the target's CPU time.
    #[must_use]
    pub fn need_target_cpu(&self) -> bool {
        self.0.iter().any(|requirement| requirement.metric.name == TARGET_CPU)
    }

    /// Holds each against a report. Of a run that ended early it says what each figure came to.
    #[must_use]
    pub fn judge(&self, report: &Report) -> Vec<RequirementReport> {
        self.0.iter().map(|requirement| requirement.judge(report)).collect()
    }
}

impl Requirement {
    fn parse(text: &str) -> Result<Self, String> {
        let refused = |what: &str| Err(format!("--require '{text}': {what}"));
        let Some((name, operator, number)) = Operator::split(text) else {
            return refused("it has none of <, <=, =, >=, >; write it as 'p99<500us'");
        };
        let metric = match Figure::named(name) {
            Ok(Figure(metric)) => metric,
            Err(sentence) => return refused(&sentence),
        };
        let Some(limit) = metric.unit.read(number) else {
            return refused(&format!("'{number}' does not fit: {name} {}", metric.unit.advice()));
        };
        Ok(Self { text: text.to_owned(), metric, operator, limit })
    }

    fn judge(&self, report: &Report) -> RequirementReport {
        let actual = (self.metric.of)(report);
        let met = actual.is_some_and(|value| self.operator.holds(value, self.limit));
        RequirementReport {
            requirement: self.text.clone(),
            unit: self.metric.unit.name(),
            limit: self.limit,
            actual,
            actual_text: actual
                .map_or_else(|| "not measured".to_owned(), |value| self.metric.unit.show(value)),
            met: report.partial.is_none().then_some(met),
        }
    }
}

#[cfg(test)]
mod tests;
