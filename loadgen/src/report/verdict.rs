//! The verdict of a run, drawn from the numbers of its report alone.
//!
//! Invariant: a run passes only if nothing in its report speaks against it, and each thing that
//! does is a sentence of its own.

use super::text::{Others, counted, most_frequent};
use super::{FaultReport, Missed, Report, Strays, SurpriseReport, Verdict, grouped};
use crate::books::Finding;
use crate::require::Requirements;
use crate::traffic::PER_MILLE;

impl Report {
    /// Draws the verdict from everything else in the report.
    pub fn conclude(&mut self, findings: &[Finding]) {
        self.books.differences = findings.iter().map(ToString::to_string).collect();
        self.generator_was_limit = self.limits_itself();
        self.failures = self.failures_found();
        self.notes = self.kinds_not_tried();
        self.verdict = match (&self.partial, self.failures.is_empty()) {
            (Some(_), _) => Verdict::Partial,
            (None, true) => Verdict::Pass,
            (None, false) => Verdict::Fail,
        };
    }

    fn limits_itself(&self) -> bool {
        if self.window.is_none() {
            return self.missed.too_late > 0 || self.sent_late * 100 > self.sent;
        }
        let sending_us = self.seconds.saturating_mul(1_000_000);
        // Who spins computes all the time, whatever there is to do.
        let spins = self.environment.waiting == "spin";
        let cpu_us = self.generator_cpu.filter(|_| !spins).map_or(0, |cpu| cpu.total_us);
        self.absent_ns > sending_us.saturating_mul(10)
            || cpu_us.saturating_mul(20) >= sending_us * 19
    }

    /// Holds the report against what was required of the run. It says nothing of a run that failed,
    /// but which figures were reached, and of one that ended early only what they came to.
    pub fn require(&mut self, requirements: &Requirements) {
        self.requirements = requirements.judge(self);
        let all_met = self.requirements.iter().all(|requirement| requirement.met == Some(true));
        if self.verdict == Verdict::Pass && !all_met {
            self.verdict = Verdict::Unmet;
        }
    }

    /// What was not sent, not answered, or answered at the wrong time.
    fn links_failed(&self) -> Vec<String> {
        let Missed { link_full, in_flight_full, too_late } = self.missed;
        let Strays { duplicate, unexpected, late_fulfills, unreadable, .. } = self.strays;
        let unanswered = if self.interrupted { 0 } else { self.unanswered };
        // What is said of one, and of several.
        let read = ["missed: the target did not read its link"; 2];
        let full = ["missed: every request id was in flight"; 2];
        let slow = ["missed: THE GENERATOR is too slow for this rate"; 2];
        let late =
            ["came after the expiry of its PREPARE", "came after the expiry of their PREPARE"];
        let found = [
            (link_full, "send", read),
            (in_flight_full, "send", full),
            (too_late, "send", slow),
            (unanswered, "PREPARE", ["was never answered", "were never answered"]),
            (duplicate, "answer", ["came twice"; 2]),
            (unexpected, "answer", ["belongs to no PREPARE", "belong to no PREPARE"]),
            (late_fulfills, "FULFILL", late),
            (unreadable, "frame", ["was no BTP", "were no BTP"]),
        ];
        let said = |(count, noun, [one, several]): (u64, &str, [&str; 2])| {
            let what = if count == 1 { one } else { several };
            format!("{} {what}", counted(count, noun))
        };
        found.into_iter().filter(|(count, ..)| *count > 0).map(said).collect()
    }

    /// What a run that was cut did not get to is no failure of anybody.
    fn failures_found(&self) -> Vec<String> {
        let mut failures = self.links_failed();
        let (frequent, others) = most_frequent(&self.surprises, |surprise| surprise.count);
        failures.extend(frequent.into_iter().map(|SurpriseReport { kind, outcome, count }| {
            format!("{} of kind {kind} came back as {outcome}", counted(*count, "packet"))
        }));
        failures.extend(others.map(|Others { different, count }| {
            let ways = counted(different, "other way");
            format!("{} came back in {ways}", counted(count, "packet"))
        }));
        failures.extend(self.receiver_faults.iter().map(|FaultReport { fault, count }| {
            let were = if *count == 1 { "was" } else { "were" };
            format!("{} {were} delivered with a fault: {fault}", counted(*count, "PREPARE"))
        }));
        for kind in &self.kinds {
            let is_meant = kind.share_per_mille > 0 && kind.sent > 0;
            if is_meant && kind.as_expected == 0 && self.partial.is_none() {
                failures.push(format!(
                    "no packet of kind {} came back as it should ({} sent)",
                    kind.kind,
                    grouped(kind.sent)
                ));
            }
        }
        failures.extend(self.books.differences.iter().cloned());
        failures
    }

    /// Kinds of the mix that none was sent of: nothing is known of them, and nothing speaks against
    /// them either. In every thousand packets each kind has its share.
    fn kinds_not_tried(&self) -> Vec<String> {
        let why = if self.sent < u64::from(PER_MILLE) {
            "fewer than 1,000 packets were sent"
        } else {
            "none of them was sent"
        };
        let untried = self.kinds.iter().filter(|kind| kind.share_per_mille > 0 && kind.sent == 0);
        untried.map(|kind| format!("kind {} was not tried: {why}", kind.kind)).collect()
    }
}
