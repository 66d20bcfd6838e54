//! What a run found: as text for the eye, as JSON for a program (`docs/conformance.md` has the schema).
//!
//! Invariant: the counts are those of the rows; a run that did not come to its end says so.

use std::fmt;

use serde::Serialize;

use super::checks::{Check, Level};

/// Names the schema; it changes when a key changes its meaning or goes.
pub const SCHEMA: &str = "m2-load-conformance/1";

/// How a check went.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// What came is what the clause says.
    Passed,
    /// It is not.
    Failed,
    /// The check says nothing about this target.
    NotApplicable,
    /// The RFCs leave it open: what came is told.
    Noted,
}

/// One check and what came of it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Row {
    /// Its name.
    pub(super) id: &'static str,
    /// The clause that it is about.
    pub(super) clause: &'static str,
    /// How strongly the clause asks: `must`, `should` or another of its words.
    pub(super) level: &'static str,
    /// How it went.
    pub(super) outcome: Outcome,
    /// What was sent, in words.
    pub(super) sent: &'static str,
    /// What the clause says must come.
    pub(super) expected: &'static str,
    /// What came, or why the check does not apply.
    pub(super) came: String,
    /// What the target wrote for the eye.
    pub(super) message: Option<String>,
    /// How long it took, in milliseconds.
    pub(super) duration_ms: u64,
}

/// A whole run.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Report {
    /// Names the schema: [`SCHEMA`].
    pub(super) schema: &'static str,
    /// The generator and its version.
    pub(super) generator: String,
    /// What the target was called on the command line.
    pub(super) target: String,
    /// Where the sender connected.
    pub(super) url: String,
    /// Where the receiver connected, if there was one.
    pub(super) receiver_url: Option<String>,
    /// The ILP address of the receiver.
    pub(super) receiver_address: Option<String>,
    /// Why the run ended before its last check.
    pub(super) partial: Option<String>,
    /// Checks that passed.
    pub(super) passed: usize,
    /// Checks that failed.
    pub(super) failed: usize,
    /// Of those that failed, how many clauses demand what did not come.
    pub(super) failed_must: usize,
    /// Checks that say nothing about this target.
    pub(super) not_applicable: usize,
    /// Checks of what the RFCs leave open.
    pub(super) noted: usize,
    /// How long the run took, in milliseconds.
    pub(super) duration_ms: u64,
    /// Every check.
    pub(super) checks: Vec<Row>,
}

impl Report {
    pub(super) fn new(target: String, url: String) -> Self {
        Self {
            schema: SCHEMA,
            generator: format!("m2-load {}", env!("CARGO_PKG_VERSION")),
            target,
            url,
            receiver_url: None,
            receiver_address: None,
            partial: None,
            passed: 0,
            failed: 0,
            failed_must: 0,
            not_applicable: 0,
            noted: 0,
            duration_ms: 0,
            checks: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, check: &Check, row: Row) {
        *match row.outcome {
            Outcome::Passed => &mut self.passed,
            Outcome::Failed => &mut self.failed,
            Outcome::NotApplicable => &mut self.not_applicable,
            Outcome::Noted => &mut self.noted,
        } += 1;
        let is_demanded = check.level == Level::Must;
        self.failed_must += usize::from(row.outcome == Outcome::Failed && is_demanded);
        self.checks.push(row);
    }

    /// How many checks failed.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.failed
    }

    /// Why the run ended before its last check, if it did.
    #[must_use]
    pub fn partial(&self) -> Option<&str> {
        self.partial.as_deref()
    }

    /// The report as one JSON object.
    ///
    /// # Panics
    ///
    /// Never: a report holds texts and numbers only.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("texts and numbers are JSON")
    }

    fn verdict(&self) -> &'static str {
        match (&self.partial, self.failed) {
            (Some(_), _) => "PARTIAL",
            (None, 0) => "PASSED",
            (None, _) => "FAILED",
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} conformance of {}: {}", self.generator, self.target, self.verdict())?;
        writeln!(
            f,
            "{} passed, {} failed ({} must, {} should), {} not applicable, {} noted",
            self.passed,
            self.failed,
            self.failed_must,
            self.failed - self.failed_must,
            self.not_applicable,
            self.noted
        )?;
        writeln!(f, "sender    {}", self.url)?;
        match (&self.receiver_url, &self.receiver_address) {
            (Some(url), Some(address)) => writeln!(f, "receiver  {url}, as {address}")?,
            _ => writeln!(f, "receiver  none: what is forwarded is not seen")?,
        }
        if let Some(reason) = &self.partial {
            writeln!(f, "PARTIAL   {reason}")?;
        }
        let mut clause = "";
        for row in &self.checks {
            if row.clause != clause {
                clause = row.clause;
                writeln!(f, "\n{clause}")?;
            }
            row.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.outcome {
            Outcome::Passed => "passed",
            Outcome::Failed => "FAILED",
            Outcome::NotApplicable => "not applicable",
            Outcome::Noted => "noted",
        };
        writeln!(f, "  {word:<14}  {:<6}  {:<26}  {}", self.level, self.id, self.came)?;
        if matches!(self.outcome, Outcome::Failed | Outcome::Noted) {
            writeln!(f, "                  sent      {}", self.sent)?;
        }
        if self.outcome == Outcome::Failed {
            writeln!(f, "                  expected  {}", self.expected)?;
            if let Some(message) = &self.message {
                writeln!(f, "                  it says   {:?}", message)?;
            }
        }
        Ok(())
    }
}
