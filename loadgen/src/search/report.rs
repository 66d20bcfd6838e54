//! What a search found, as text and as JSON, both made from one [`SearchReport`].

use std::fmt;

use serde::Serialize;

use super::trial::{Terms, Trial};
use super::{Bound, Goal, Limit, Phase, Search};
use crate::environment::Environment;
use crate::report::{OPEN_LOOP, duration, grouped};

/// Names the schema; it changes when a key changes its meaning or goes.
pub const SCHEMA: &str = "m2-load.search/1";

/// Everything a search found.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SearchReport {
    /// [`SCHEMA`]
    pub schema: &'static str,
    /// Version of the generator.
    pub version: &'static str,
    /// [`OPEN_LOOP`]
    pub method: &'static str,
    /// One sentence that says what was found.
    pub summary: String,
    /// Why the search ended early, if it did.
    pub partial: Option<String>,
    /// Seed of every draw; each trial has the same.
    pub seed: u64,
    /// What was searched for.
    pub goal: GoalReport,
    /// The highest rate that most of its long trials found good.
    pub good: Option<Bound>,
    /// The lowest rate that was found too high, and is not further from `good` than the width.
    pub bad: Option<Bound>,
    /// Who was the limit at `bad`.
    pub limit: Option<Limit>,
    /// Why one of the trials at `bad` was none.
    pub why: Option<String>,
    /// What went wrong in any trial that no rate excuses, a sentence for each such trial. Empty when
    /// the search passed.
    pub failures: Vec<String>,
    /// What stood around the first trial.
    pub environment: Option<Environment>,
    /// Every trial, in the order they were made.
    pub trials: Vec<Trial>,
}

/// What was searched for.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GoalReport {
    /// The lowest rate of interest.
    pub from_per_s: u64,
    /// The highest.
    pub to_per_s: u64,
    /// How far the bounds may be apart, as a ratio.
    pub width: f64,
    /// Seconds of a trial that narrows.
    pub narrow_s: u64,
    /// Seconds of a trial that confirms.
    pub confirm_s: u64,
    /// Trials that confirm one rate, at most.
    pub votes: u32,
    /// What every trial must keep to.
    #[serde(flatten)]
    pub terms: Terms,
}

impl SearchReport {
    /// The report before the first trial.
    #[must_use]
    pub fn new(goal: &Goal, terms: Terms, seed: u64) -> Self {
        let &Goal { from_per_s, to_per_s, width, narrow_s, confirm_s, votes } = goal;
        let goal = GoalReport { from_per_s, to_per_s, width, narrow_s, confirm_s, votes, terms };
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            method: OPEN_LOOP,
            summary: String::new(),
            partial: None,
            seed,
            goal,
            good: None,
            bad: None,
            limit: None,
            why: None,
            failures: Vec::new(),
            environment: None,
            trials: Vec::new(),
        }
    }

    /// The first two lines, before any trial.
    #[must_use]
    pub fn heading(&self) -> String {
        let goal = &self.goal;
        format!(
            "m2-load search from {} to {} PREPAREs a second for the highest rate with {}, to \
             within {} %, seed {}\n{OPEN_LOOP}.\n",
            grouped(goal.from_per_s),
            grouped(goal.to_per_s),
            goal.terms,
            percent(goal.width),
            self.seed
        )
    }

    /// Takes over what the search found, with `partial` the reason if it was ended early.
    pub fn conclude(&mut self, search: &Search, partial: Option<String>) {
        (self.good, self.bad, self.partial) = (search.good(), search.bad(), partial);
        self.limit = self.bad.map(|bad| bad.limit(self.goal.votes));
        self.why = self.bad.and_then(|bad| self.why_bad(&bad));
        self.failures = self.trials.iter().filter_map(Trial::failure).collect();
        self.summary = self.summarise();
    }

    /// The report as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("strings, numbers and lists of them")
    }

    /// The words of the first trial at this rate that the limit named in the report ended.
    fn why_bad(&self, bad: &Bound) -> Option<String> {
        let of_bad = |trial: &&Trial| {
            trial.phase == Phase::Confirm
                && trial.rate_per_s == bad.rate_per_s
                && trial.limit.is_some()
                && trial.limit == self.limit
        };
        self.trials.iter().find(of_bad)?.why.clone()
    }

    /// How many of the long trials at the rate that was found are marked.
    fn behind(&self) -> u64 {
        let Some(good) = self.good else { return 0 };
        let is_it =
            |trial: &&Trial| trial.phase == Phase::Confirm && trial.rate_per_s == good.rate_per_s;
        let trials = self.trials.iter().filter(is_it);
        trials.map(|trial| u64::from(trial.generator_was_limit)).sum()
    }

    fn summarise(&self) -> String {
        if let Some(reason) = &self.partial {
            return format!("PARTIAL: {reason}; what was found until then is no result");
        }
        let why = self.why.as_deref().unwrap_or_default();
        match (self.good, self.bad) {
            (Some(good), Some(bad)) => format!(
                "{} PREPAREs a second with {} ({}); {} is too many: {why}",
                grouped(good.rate_per_s),
                self.goal.terms,
                votes(&good),
                grouped(bad.rate_per_s)
            ),
            (Some(good), None) => format!(
                "{} PREPAREs a second with {} ({}), and the limit is higher: raise --to",
                grouped(good.rate_per_s),
                self.goal.terms,
                votes(&good)
            ),
            (None, Some(bad)) => format!(
                "no rate found: even {} PREPAREs a second is too many: {why}; lower --from, or see \
                 with `m2-load run` what is wrong",
                grouped(bad.rate_per_s)
            ),
            (None, None) => "no rate found".to_owned(),
        }
    }
}

fn votes(bound: &Bound) -> String {
    format!("{} of {} long trials", bound.good, bound.trials())
}

/// What follows the trials in the text.
impl fmt::Display for SearchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nresult       {}", self.summary)?;
        if self.limit == Some(Limit::Generator) && self.partial.is_none() {
            writeln!(
                f,
                "             THE GENERATOR WAS THE LIMIT: this is no figure of the target; give \
                 the generator a core of its own, or spread the workload over several"
            )?;
        }
        let behind = self.behind();
        if behind > 0 {
            writeln!(
                f,
                "             THE GENERATOR WAS BEHIND in {} of the long trials at this rate: their \
                 latencies are its own",
                grouped(behind)
            )?;
        }
        match self.failures.as_slice() {
            [] => Ok(()),
            [why] => writeln!(f, "FAILED       {why}"),
            [why, others @ ..] => {
                let trials = grouped(others.len() as u64);
                writeln!(f, "FAILED       {why}; and so on: other trials with a fault: {trials}")
            }
        }
    }
}

impl Trial {
    /// The sentence about its fault, if it has one.
    fn failure(&self) -> Option<String> {
        let (rate, seconds) = (grouped(self.rate_per_s), self.seconds);
        let fault = self.fault.as_ref()?;
        Some(format!("the trial at {rate} a second for {seconds} s: {fault}"))
    }
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.max_loss > 0.0 {
            write!(f, "at most {} % lost", percent(self.max_loss))?;
        } else {
            f.write_str("no loss")?;
        }
        match self.max_p99_ns {
            Some(ns) => write!(f, " and p99 at most {}", duration(ns)),
            None => Ok(()),
        }
    }
}

/// One line of the text.
impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match self.phase {
            Phase::Narrow => "narrow",
            Phase::Confirm => "confirm",
        };
        let verdict = if self.good { "good" } else { "BAD " };
        let (rate, seconds) = (grouped(self.rate_per_s), self.seconds);
        write!(f, "{phase:<8}{rate:>11}/s for {seconds:>2} s  {verdict}  ")?;
        write!(f, "{} of {} lost", grouped(self.lost), grouped(self.offered))?;
        if self.lost > 0 {
            write!(f, " ({} %)", percent(self.loss_ratio))?;
        }
        let who = if self.generator_was_limit { "THE GENERATOR WAS BEHIND" } else { "generator" };
        write!(f, ", p99 {}; {who}: ", duration(self.p99_ns))?;
        let (missed, late) = (grouped(self.missed_by_generator), grouped(self.sent_late));
        write!(f, "{missed} missed, {late} late")?;
        match &self.why {
            Some(why) => write!(f, ": {why}"),
            None => Ok(()),
        }
    }
}

/// A ratio in per cent, with as many digits as it takes to be no 0.
fn percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    let digits = if percent >= 1.0 || percent <= 0.0 { 1.0 } else { 1.0 - percent.log10().floor() };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // at most some hundreds
    let text = format!("{percent:.*}", digits as usize);
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::WithLost;
    use super::super::{Ask, Found};
    use super::*;
    use crate::report::{Report, passing};

    const GOAL: Goal = Goal {
        from_per_s: 1_000,
        to_per_s: 4_000,
        width: 0.05,
        narrow_s: 1,
        confirm_s: 10,
        votes: 3,
    };
    const TERMS: Terms = Terms { max_loss: 0.0, max_p99_ns: None };

    fn trial_of(ask: Ask, run: &Report) -> Trial {
        Trial::of(ask, run, WithLost { latency_ns: None, service_ns: None }, &TERMS)
    }

    /// A search in which rates above `capacity` are bad for this reason.
    fn searched(capacity: u64, limit: Limit) -> SearchReport {
        let mut search = Search::new(GOAL);
        let mut report = SearchReport::new(&GOAL, TERMS, 7);
        while let Some(ask) = search.ask() {
            let mut trial = trial_of(ask, &passing());
            if ask.rate_per_s > capacity {
                let why = format!("{} s were not enough", ask.seconds);
                (trial.good, trial.limit, trial.why) = (false, Some(limit), Some(why));
            }
            search.answer(trial.found());
            report.trials.push(trial);
        }
        report.conclude(&search, None);
        report
    }

    #[test]
    fn the_result_names_the_rate_the_votes_and_what_was_too_many() {
        let report = searched(2_500, Limit::Target);
        assert!(report.summary.contains(" PREPAREs a second with no loss (2 of 2 long trials); "));
        assert!(report.summary.ends_with(" is too many: 10 s were not enough"), "{report}");
        assert!(!report.to_string().contains("GENERATOR"));
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(json["schema"], SCHEMA);
        assert_eq!(json["limit"], "target");
        assert_eq!(json["goal"]["max_loss"], 0.0);
        assert_eq!(json["trials"][0]["phase"], "narrow");
        assert!(json["good"]["rate_per_s"].as_u64().unwrap() <= 2_500);
    }

    #[test]
    fn a_generator_that_was_the_limit_is_said_loudly() {
        let text = searched(2_500, Limit::Generator).to_string();
        assert!(text.contains("THE GENERATOR WAS THE LIMIT"), "{text}");
    }

    #[test]
    fn a_trial_in_which_the_generator_was_behind_is_marked_and_so_is_the_result() {
        let mut report = searched(4_000, Limit::Target);
        assert!(!report.to_string().contains("BEHIND"), "{report}");
        let marked = report.trials.last_mut().unwrap();
        (marked.generator_was_limit, marked.sent_late) = (true, 12);
        let words = "; THE GENERATOR WAS BEHIND: 0 missed, 12 late";
        assert!(marked.to_string().ends_with(words), "{marked}");
        assert!(
            report.to_string().contains("BEHIND in 1 of the long trials at this rate"),
            "{report}"
        );
    }

    #[test]
    fn a_limit_outside_of_the_rates_is_said_with_what_to_do() {
        let text = searched(4_000, Limit::Target).to_string();
        assert!(text.contains("4,000 PREPAREs") && text.contains("raise --to"), "{text}");
        let text = searched(0, Limit::Target).to_string();
        assert!(text.contains("even 1,000") && text.contains("lower --from"), "{text}");
    }

    #[test]
    fn a_fault_fails_the_search_though_other_trials_of_its_rate_were_good() {
        let mut search = Search::new(GOAL);
        let mut report = SearchReport::new(&GOAL, TERMS, 7);
        while let Some(ask) = search.ask() {
            let mut run = passing();
            // One of the three that confirm the highest rate.
            let is_faulty = ask.phase == Phase::Confirm && report.trials.len() == 3;
            run.strays.duplicate = u64::from(is_faulty);
            let trial = trial_of(ask, &run);
            search.answer(trial.found());
            report.trials.push(trial);
        }
        report.conclude(&search, None);
        assert_eq!(
            report.good.map(|it| (it.rate_per_s, it.good, it.trials())),
            Some((4_000, 2, 3))
        );
        let why = "the trial at 4,000 a second for 10 s: 1 answers came twice";
        assert_eq!(report.failures, [why]);
        assert!(report.to_string().ends_with(&format!("\nFAILED       {why}\n")), "{report}");
        assert!(searched(2_500, Limit::Target).failures.is_empty());
    }

    #[test]
    fn a_search_that_was_ended_early_has_no_result() {
        let mut search = Search::new(GOAL);
        search.answer(Found::Good);
        let mut report = SearchReport::new(&GOAL, TERMS, 7);
        report.conclude(&search, Some("interrupted".to_owned()));
        assert!(report.summary.starts_with("PARTIAL: interrupted"), "{report}");
        assert_eq!((report.good, report.bad), (None, None));
    }

    #[test]
    fn a_line_says_what_was_lost_and_why() {
        let ask = Ask { phase: Phase::Narrow, rate_per_s: 64_000, seconds: 1 };
        let mut trial = trial_of(ask, &passing());
        let line = "narrow       64,000/s for  1 s  good  0 of 1,000 lost, p99 0 ns; generator: 0 \
                    missed, 0 late";
        assert_eq!(trial.to_string(), line);
        (trial.lost, trial.loss_ratio, trial.good) = (3, 0.003, false);
        trial.why = Some("3 rejected with T02".to_owned());
        let line = trial.to_string();
        assert!(line.contains("BAD   3 of 1,000 lost (0.3 %), p99"), "{line}");
        assert!(line.ends_with("0 missed, 0 late: 3 rejected with T02"), "{line}");
    }

    #[test]
    fn the_heading_says_in_its_second_line_that_the_loop_is_open() {
        let terms = Terms { max_loss: 0.001, max_p99_ns: Some(500_000) };
        let heading = SearchReport::new(&GOAL, terms, 7).heading();
        assert!(heading.contains("at most 0.1 % lost and p99 at most 500.0 us, to within 5 %"));
        assert!(heading.lines().nth(1).unwrap().starts_with("open loop:"), "{heading}");
    }

    #[test]
    fn small_shares_are_not_rounded_to_nothing() {
        for (ratio, text) in [
            (0.0, "0"),
            (0.05, "5"),
            (0.001, "0.1"),
            (0.000_001, "0.0001"),
            (0.123_4, "12.3"),
            (1.0, "100"),
        ] {
            assert_eq!(percent(ratio), text);
        }
    }
}
