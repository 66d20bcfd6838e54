//! What a comparison found, as text and as JSON, both made from one [`CompareReport`].

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::{CONFIDENCE, Comparison, Finding, Side, Spread};
use crate::environment::Environment;
use crate::report::{Report, Verdict, counted};
use crate::require::Figure;

/// Names the schema; it changes when a key changes its meaning or goes.
pub const SCHEMA: &str = "m2-load.compare/1";

/// Everything a comparison found.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CompareReport {
    /// [`SCHEMA`]
    pub schema: &'static str,
    /// Version of the generator.
    pub version: &'static str,
    /// How latencies were taken.
    pub method: String,
    /// What stands for A on the command line.
    pub a: String,
    /// What stands for B.
    pub b: String,
    /// Seed of every draw of A.
    pub seed: u64,
    /// Seed of every draw of B: the same, unless the workloads name others.
    pub seed_b: u64,
    /// Pairs of trials that were asked for, without the one that warms up.
    pub pairs: usize,
    /// Share of cases in which an interval holds the true median, at least.
    pub confidence: f64,
    /// Why it ended early, if it did: there is no result then.
    pub partial: Option<String>,
    /// Each measure's result.
    pub measures: Vec<Measured>,
    /// What stood around the first trial.
    pub environment: Option<Environment>,
    /// Every trial, in the order they were made.
    pub trials: Vec<Trial>,
}

/// One measure's result.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Measured {
    /// Its name, as `--require` has it.
    pub measure: &'static str,
    /// Of `a` and `b`.
    pub unit: &'static str,
    /// What was found.
    #[serde(flatten)]
    pub comparison: Comparison,
    #[serde(skip)]
    figure: Figure,
}

/// One trial.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Trial {
    /// Which pair it belongs to, from 1 on; 0 warms up and is not counted.
    pub pair: usize,
    /// Which side it is of.
    pub side: Side,
    /// What was measured, by name.
    pub values: BTreeMap<&'static str, f64>,
    /// What went wrong first, if something did.
    pub failure: Option<String>,
    /// What it says nothing about, if there is such a thing: a kind of packet that it had none of.
    pub note: Option<String>,
    /// Whether the generator was slower than what it measured.
    pub generator_was_limit: bool,
}

impl Trial {
    /// What a run says of these figures.
    ///
    /// # Errors
    ///
    /// A sentence where it does not have one of them.
    pub fn of(
        pair: usize,
        side: Side,
        report: &Report,
        figures: &[Figure],
    ) -> Result<Self, String> {
        let value = |figure: &Figure| {
            let missing = || {
                format!(
                    "a trial of {side:?} has no {}: {}",
                    figure.name(),
                    report.failures.first().map_or("nobody told it", String::as_str)
                )
            };
            figure.of(report).map(|value| (figure.name(), value)).ok_or_else(missing)
        };
        Ok(Self {
            pair,
            side,
            values: figures.iter().map(value).collect::<Result<_, _>>()?,
            failure: match report.verdict {
                Verdict::Fail => report.failures.first().cloned(),
                _ => None,
            },
            note: report.notes.first().cloned(),
            generator_was_limit: report.generator_was_limit,
        })
    }
}

impl CompareReport {
    /// The report before the first trial.
    #[must_use]
    pub fn new([a, b]: [String; 2], seeds: [u64; 2], pairs: usize, method: &str) -> Self {
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            method: method.to_owned(),
            a,
            b,
            seed: seeds[0],
            seed_b: seeds[1],
            pairs,
            confidence: CONFIDENCE,
            partial: None,
            measures: Vec::new(),
            environment: None,
            trials: Vec::new(),
        }
    }

    /// The first lines, before any trial.
    #[must_use]
    pub fn heading(&self) -> String {
        let (a, b) = (self.seed, self.seed_b);
        let seeds = if a == b { format!("seed {a}") } else { format!("seeds {a} of A, {b} of B") };
        format!(
            "m2-load compare: {} pairs of trials in turns after one that warms up, {seeds}\n\
             {}.\nA            {}\nB            {}\n",
            self.pairs, self.method, self.a, self.b
        )
    }

    /// Draws the result from the trials, unless there is a reason why some are missing.
    pub fn conclude(&mut self, figures: &[Figure], partial: Option<String>) {
        self.partial = partial;
        if self.partial.is_none() {
            let measured = |figure: &Figure| self.measured(*figure);
            self.measures = figures.iter().filter_map(measured).collect();
        }
    }

    /// Whether every trial went as its workload said.
    #[must_use]
    pub fn all_passed(&self) -> bool {
        self.trials.iter().all(|trial| trial.failure.is_none())
    }

    /// One line about a trial.
    #[must_use]
    pub fn line(trial: &Trial, figures: &[Figure]) -> String {
        let pair = if trial.pair == 0 { "warm-up".to_owned() } else { trial.pair.to_string() };
        let value = |figure: &Figure| {
            format!("{} {}", figure.name(), figure.show(trial.values[figure.name()]))
        };
        let values: Vec<_> = figures.iter().map(value).collect();
        let failure = trial.failure.as_ref().map(|why| format!("; FAILED: {why}"));
        let limit = if trial.generator_was_limit { "; THE GENERATOR WAS THE LIMIT" } else { "" };
        let (side, values) = (trial.side, values.join(", "));
        format!("{pair:<8}{side:?}    {values}{limit}{}\n", failure.unwrap_or_default())
    }

    /// The report as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("strings, numbers and lists of them")
    }

    fn measured(&self, figure: Figure) -> Option<Measured> {
        let value = |pair: usize, side: Side| {
            let is_it = |trial: &&Trial| trial.pair == pair && trial.side == side;
            self.trials.iter().find(is_it).map(|trial| trial.values[figure.name()])
        };
        let pairs: Option<Vec<(f64, f64)>> =
            (1..=self.pairs).map(|pair| value(pair, Side::A).zip(value(pair, Side::B))).collect();
        let comparison = Comparison::of(&pairs?)?;
        Some(Measured { measure: figure.name(), unit: figure.unit(), comparison, figure })
    }

    /// Of one side: how many of its trials, the warm-up included, are so.
    fn count(&self, side: Side, is_so: fn(&Trial) -> bool) -> usize {
        self.trials.iter().filter(|trial| trial.side == side && is_so(trial)).count()
    }
}

/// What follows the trials in the text.
impl fmt::Display for CompareReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        if let Some(reason) = &self.partial {
            return writeln!(f, "PARTIAL      {reason}; there is no result");
        }
        for measured in &self.measures {
            writeln!(f, "{measured}")?;
        }
        for side in [Side::A, Side::B] {
            let limit = self.count(side, |trial| trial.generator_was_limit);
            if limit > 0 {
                writeln!(
                    f,
                    "             THE GENERATOR WAS THE LIMIT in {} of {side:?}: no figures of the \
                     target",
                    counted(limit as u64, "trial")
                )?;
            }
            let noted = |trial: &&Trial| trial.side == side && trial.note.is_some();
            if let Some(note) = self.trials.iter().find(noted).and_then(|it| it.note.as_ref()) {
                writeln!(f, "note         a trial of {side:?}: {note}")?;
            }
            let failed = self.count(side, |trial| trial.failure.is_some());
            let first = |trial: &&Trial| trial.side == side && trial.failure.is_some();
            if let Some(why) = self.trials.iter().find(first).and_then(|it| it.failure.as_ref()) {
                let failed = counted(failed as u64, "trial");
                writeln!(f, "FAILED       {failed} of {side:?}, the first with: {why}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Comparison { a, b, ratio, finding } = &self.comparison;
        let side = |spread: &Spread| {
            let show = |value| self.figure.show(value);
            format!("{} ({} to {})", show(spread.median), show(spread.low), show(spread.high))
        };
        write!(f, "{:<24} A {}, B {}; ", self.measure, side(a), side(b))?;
        write!(f, "B / A = {:.3} ({:.3} to {:.3}): ", ratio.median, ratio.low, ratio.high)?;
        f.write_str(match finding {
            Finding::NoDifference => "no difference",
            Finding::Higher => "B is HIGHER",
            Finding::Lower => "B is LOWER",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{OPEN_LOOP, passing};

    const NAMES: [&str; 2] = ["p99", "fulfilled_per_s"];
    const NAMES_AB: [&str; 2] = ["a.toml", "b.toml"];

    fn figures() -> Vec<Figure> {
        NAMES.iter().map(|name| Figure::named(name).unwrap()).collect()
    }

    /// Eight pairs in which B's p99 is `factor` times that of A, after a warm-up far off.
    fn compared(factor: u64, spoil: impl Fn(usize, Side, &mut Report)) -> CompareReport {
        let mut compare = CompareReport::new(NAMES_AB.map(str::to_owned), [7, 7], 8, OPEN_LOOP);
        for pair in 0..=8 {
            for side in super::super::order(pair) {
                let mut report = passing();
                report.failures.clear();
                report.verdict = Verdict::Pass;
                report.latency.count = 1;
                report.latency.p99_ns = 1_000 + pair as u64;
                if side == Side::B {
                    report.latency.p99_ns *= factor;
                }
                if pair == 0 {
                    report.latency.p99_ns = 1_000_000_000;
                }
                spoil(pair, side, &mut report);
                compare.trials.push(Trial::of(pair, side, &report, &figures()).unwrap());
            }
        }
        compare.conclude(&figures(), None);
        compare
    }

    #[test]
    fn each_measure_has_a_line_and_the_warm_up_counts_for_none() {
        let text = compared(2, |_, _, _| ()).to_string();
        let lines: Vec<_> = text.lines().collect();
        let p99 = "p99                      A 1.0 us (1.0 us to 1.0 us), B 2.0 us (2.0 us to 2.0 us); \
                   B / A = 2.000 (2.000 to 2.000): B is HIGHER";
        assert_eq!(lines[1], p99);
        assert!(lines[2].starts_with("fulfilled_per_s "), "{text}");
        assert!(lines[2].ends_with("B / A = 1.000 (1.000 to 1.000): no difference"), "{text}");
        assert_eq!(lines.len(), 3, "{text}");
    }

    #[test]
    fn the_heading_tells_both_seeds_where_they_differ() {
        let heading =
            |seeds| CompareReport::new(NAMES_AB.map(str::to_owned), seeds, 8, OPEN_LOOP).heading();
        assert!(heading([7, 7]).contains(" warms up, seed 7\n"), "{}", heading([7, 7]));
        assert!(heading([7, 8]).contains(" warms up, seeds 7 of A, 8 of B\n"));
    }

    #[test]
    fn a_trial_that_failed_is_told_by_side_with_its_reason() {
        let compare = compared(1, |pair, side, report| {
            if pair == 3 && side == Side::B {
                report.verdict = Verdict::Fail;
                report.failures.push("12 PREPAREs were never answered".to_owned());
            }
            report.generator_was_limit = pair == 5 && side == Side::A;
        });
        assert!(!compare.all_passed());
        let text = compare.to_string();
        assert!(text.contains("FAILED       1 trial of B, the first with: 12 PREPAREs"), "{text}");
        assert!(text.contains("THE GENERATOR WAS THE LIMIT in 1 trial of A: no figures"), "{text}");
        let line = CompareReport::line(&compare.trials[0], &figures());
        assert_eq!(line, "warm-up A    p99 1.00 s, fulfilled_per_s 50\n");
    }

    #[test]
    fn what_no_trial_of_a_side_tried_is_noted_once_and_fails_nothing() {
        let compare = compared(1, |_, side, report| {
            if side == Side::B {
                report.notes.push("kind x was not tried: why".to_owned());
            }
        });
        assert!(compare.all_passed());
        let text = compare.to_string();
        let notes: Vec<_> = text.lines().filter(|line| line.starts_with("note ")).collect();
        assert_eq!(notes, ["note         a trial of B: kind x was not tried: why"]);
    }

    #[test]
    fn what_was_ended_early_has_no_result() {
        let mut compare = compared(2, |_, _, _| ());
        compare.measures.clear();
        compare.conclude(&figures(), Some("interrupted".to_owned()));
        assert!(compare.measures.is_empty());
        assert_eq!(compare.to_string(), "\nPARTIAL      interrupted; there is no result\n");
    }

    #[test]
    fn a_figure_that_a_trial_does_not_have_is_a_sentence() {
        let figures = [Figure::named("target_cpu_per_pair").unwrap()];
        let mut report = passing();
        report.failures.clear();
        let sentence = Trial::of(1, Side::B, &report, &figures).unwrap_err();
        assert!(sentence.starts_with("a trial of B has no target_cpu_per_pair: "), "{sentence}");
        assert!(Figure::named("p98").unwrap_err().contains("there are p50, "));
    }

    #[test]
    fn json_has_units_intervals_and_every_trial() {
        let json: serde_json::Value =
            serde_json::from_str(&compared(2, |_, _, _| ()).to_json()).unwrap();
        assert_eq!(json["measures"][0]["measure"], "p99");
        assert_eq!(json["measures"][0]["unit"], "ns");
        assert_eq!(json["measures"][0]["finding"], "higher");
        assert_eq!(json["measures"][0]["ratio"]["low"], 2.0);
        assert_eq!(json["trials"].as_array().unwrap().len(), 18);
        assert_eq!(json["trials"][2]["side"], "B");
        assert_eq!(json["trials"][2]["values"]["p99"], 2_002.0);
    }
}
