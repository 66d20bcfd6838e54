//! The verdict of a run, drawn from the numbers of its report alone.
//!
//! Invariant: a run passes only if nothing in its report speaks against it, and each thing that
//! does is a sentence of its own.

use super::{Report, Verdict, grouped};
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

    /// What a run that was cut did not get to is no failure of anybody.
    fn failures_found(&self) -> Vec<String> {
        let mut failures = Vec::new();
        let mut fail_if = |count: u64, what: &str| {
            if count > 0 {
                failures.push(format!("{} {what}", grouped(count)));
            }
        };
        fail_if(self.missed.link_full, "sends missed: the target did not read its link");
        fail_if(self.missed.in_flight_full, "sends missed: every request id was in flight");
        fail_if(self.missed.too_late, "sends missed: THE GENERATOR is too slow for this rate");
        if !self.interrupted {
            fail_if(self.unanswered, "PREPAREs were never answered");
        }
        fail_if(self.strays.duplicate, "answers came twice");
        fail_if(self.strays.unexpected, "answers belong to no PREPARE");
        fail_if(self.strays.late_fulfills, "FULFILLs came after the expiry of their PREPARE");
        fail_if(self.strays.unreadable, "frames were no BTP");
        for surprise in &self.surprises {
            fail_if(
                surprise.count,
                &format!("packets of kind {} came back as {}", surprise.kind, surprise.outcome),
            );
        }
        for fault in &self.receiver_faults {
            fail_if(fault.count, &format!("PREPAREs were delivered with a fault: {}", fault.fault));
        }
        for kind in &self.kinds {
            let is_meant = kind.share_per_mille > 0 && kind.sent > 0;
            if is_meant && kind.as_expected == 0 && self.partial.is_none() {
                failures.push(format!(
                    "no packet of kind {} came back as it should ({} were sent)",
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
