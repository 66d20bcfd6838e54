//! What a run found, as text and as JSON, both made from one [`Report`].
//!
//! Units stand in the names (`_ns`, `_us`, `_per_s`). Sums of money are decimal strings, as JSON
//! numbers lose digits above 2^53. The verdict is drawn in `verdict.rs`, from the numbers alone.

mod text;
mod verdict;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::cpu::Spent;
use crate::environment::Environment;
use crate::schedule::Phase;
pub(crate) use text::cpu_parts;
pub use text::{counted, duration, grouped, quoted};

/// Names the schema; it changes when a key changes its meaning or goes.
pub const SCHEMA: &str = "m2-load.report/2";

/// How latencies were taken at a rate.
pub const OPEN_LOOP: &str = "open loop: latency is counted from the time each packet was \
                             scheduled, not from when it was sent; service time stands beside it";

/// How latencies were taken with a window.
pub const CLOSED_LOOP: &str = "closed loop: each packet was sent when an earlier one was answered, \
                               so a target that stalls is asked less, and latency is service time";

/// Everything a run found.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Report {
    /// Names the schema: [`SCHEMA`].
    pub schema: &'static str,
    /// Version of the generator.
    pub version: &'static str,
    /// How latencies were taken, in words: [`OPEN_LOOP`] or [`CLOSED_LOOP`].
    pub method: &'static str,
    /// What stood around the run.
    pub environment: Environment,
    /// The verdict, drawn by [`Report::conclude`].
    pub verdict: Verdict,
    /// What the verdict rests on, a sentence each. Empty when it passed.
    pub failures: Vec<String>,
    /// What the run says nothing about, a sentence each: kinds of packet that none was sent of.
    pub notes: Vec<String>,
    /// Each thing that `--require` asked for, and what came of it.
    pub requirements: Vec<RequirementReport>,
    /// Why the run ended early, if it did.
    pub partial: Option<String>,
    /// Whether a signal ended it.
    pub interrupted: bool,
    /// Seed of every draw.
    pub seed: u64,
    /// How a packet's fulfillment follows from it.
    pub fulfillment: &'static str,
    /// How many packets were sent over and over; none if each was unique.
    pub repeat: Option<u64>,
    /// How packets followed each other: `constant` or `poisson`.
    pub arrivals: &'static str,
    /// The rates that were asked for, one after the other.
    pub phases: Vec<Phase>,
    /// PREPAREs kept in flight, of a closed loop.
    pub window: Option<u32>,
    /// The rate that was asked for, of an open loop; the mean where there were several.
    pub offered_per_s: Option<u64>,
    /// Seconds that were asked for.
    pub seconds: u64,
    /// PREPAREs that were due, until the cut where a run was cut; of a closed loop, those that were
    /// sent.
    pub offered: u64,
    /// PREPAREs that would have been due after the cut of a run that was cut.
    pub not_due: u64,
    /// PREPAREs that were sent.
    pub sent: u64,
    /// PREPAREs that were never sent.
    pub missed: Missed,
    /// PREPAREs sent more than a millisecond after they were due.
    pub sent_late: u64,
    /// The longest that one was sent after it was due.
    pub send_lag_max_ns: u64,
    /// How long the generator did not look at its links though it was to, in nanoseconds: the sum of
    /// all absences longer than a millisecond.
    pub absent_ns: u64,
    /// The longest of them.
    pub absent_max_ns: u64,
    /// Whether the generator was slower than what it measured: it missed a send that nobody else
    /// held up, or sent more than one in a hundred late. In a closed loop, which knows no late sends:
    /// it was absent for more than a hundredth of the time, or computed for all but a twentieth.
    pub generator_was_limit: bool,
    /// PREPAREs that got their answer.
    pub answered: u64,
    /// PREPAREs that never did.
    pub unanswered: u64,
    /// PREPAREs fulfilled with a preimage that hashes to the condition.
    pub fulfilled: u64,
    /// PREPAREs rejected.
    pub rejected: u64,
    /// Answers, of any kind, while packets were being sent.
    pub answered_per_s: f64,
    /// Fulfilled ones among them.
    pub fulfilled_per_s: f64,
    /// From the scheduled time to the answer. Packets left to expire are not among them.
    pub latency: Percentiles,
    /// From the time of sending to the answer, for the same packets.
    pub service: Percentiles,
    /// Each kind of packet.
    pub kinds: Vec<KindReport>,
    /// Each code that PREPAREs were rejected with.
    pub rejects: Vec<RejectReport>,
    /// Each way in which a packet came back as it should not have.
    pub surprises: Vec<SurpriseReport>,
    /// Answers with something wrong about when they came.
    pub strays: Strays,
    /// Faults that receivers found with PREPAREs.
    pub receiver_faults: Vec<FaultReport>,
    /// The generator's CPU time, both ends together.
    pub generator_cpu: Option<Cpu>,
    /// The target, if it has a control socket.
    pub target: Option<Target>,
    /// The process that `--target-pid` named.
    pub target_process: Option<TargetProcess>,
    /// The books.
    pub books: Books,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All went as the workload said.
    Pass,
    /// All went as the workload said, and a requirement was not met; `requirements` says which.
    Unmet,
    /// Something did not; `failures` says what.
    Fail,
    /// The run could not be finished; `partial` says why.
    Partial,
}

/// One thing that the run had to reach.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RequirementReport {
    /// As it was written.
    pub requirement: String,
    /// Of both numbers: `ns`, `ratio`, `count` or `per_s`.
    pub unit: &'static str,
    /// What was written.
    pub limit: f64,
    /// What the run reached, unless it did not measure that.
    pub actual: Option<f64>,
    /// The same for the eye.
    #[serde(skip)]
    pub actual_text: String,
    /// Whether it was reached; null in a run that ended early, of which nothing is judged.
    pub met: Option<bool>,
}

/// PREPAREs that were never sent, by reason.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Missed {
    /// The link had more unsent bytes than are kept: the target does not read.
    pub link_full: u64,
    /// Every request id of the end was in flight: the target does not answer.
    pub in_flight_full: u64,
    /// The run was over before its turn came: the generator is too slow for the rate.
    pub too_late: u64,
}

impl Missed {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.link_full + self.in_flight_full + self.too_late
    }
}

/// Percentiles of one histogram.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the names say it")]
pub struct Percentiles {
    pub count: u64,
    pub mean_ns: u64,
    pub p50_ns: u64,
    pub p90_ns: u64,
    pub p99_ns: u64,
    pub p99_9_ns: u64,
    pub p99_99_ns: u64,
    pub p99_999_ns: u64,
    pub max_ns: u64,
}

impl From<&Histogram<u64>> for Percentiles {
    fn from(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| histogram.value_at_quantile(quantile);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a mean of u64s
        let mean_ns = histogram.mean() as u64;
        Self {
            count: histogram.len(),
            mean_ns,
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p99_9_ns: at(0.999),
            p99_99_ns: at(0.9999),
            p99_999_ns: at(0.99999),
            max_ns: histogram.max(),
        }
    }
}

impl Percentiles {
    /// From the median to the maximum, as a report's line has them.
    fn row_ns(&self) -> [u64; 7] {
        let Self { p50_ns, p90_ns, p99_ns, p99_9_ns, p99_99_ns, p99_999_ns, max_ns, .. } = *self;
        [p50_ns, p90_ns, p99_ns, p99_9_ns, p99_99_ns, p99_999_ns, max_ns]
    }
}

/// One kind of packet.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct KindReport {
    /// Its name.
    pub kind: &'static str,
    /// Its share of the mix.
    pub share_per_mille: u16,
    /// How many were sent.
    pub sent: u64,
    /// How many came back as they should.
    pub as_expected: u64,
    /// How many came back otherwise.
    pub otherwise: u64,
}

/// One code of rejection.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RejectReport {
    /// The code.
    pub code: String,
    /// Its name in IL-RFC 27, if it has one.
    pub name: Option<&'static str>,
    /// How many came with it.
    pub count: u64,
}

/// One way in which packets came back as they should not have.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SurpriseReport {
    /// The kind of packet.
    pub kind: &'static str,
    /// What came back.
    pub outcome: String,
    /// How many.
    pub count: u64,
}

/// Answers with something wrong about when they came.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Strays {
    /// A second answer to one PREPARE.
    pub duplicate: u64,
    /// An answer to no PREPARE of ours.
    pub unexpected: u64,
    /// A FULFILL that came after the PREPARE's expiry.
    pub late_fulfills: u64,
    /// A REJECT, or anything else, that came after the PREPARE's expiry.
    pub late_others: u64,
    /// Frames that are no BTP.
    pub unreadable: u64,
}

/// How often receivers found one fault.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FaultReport {
    /// The fault.
    pub fault: &'static str,
    /// How often.
    pub count: u64,
}

/// CPU time of a process. The sum is exact; its parts are told in ticks, of 10 ms for the most
/// part, so that one of them, or both, may be 0 where the sum is not.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Cpu {
    /// In its own code and in the kernel, in microseconds.
    pub total_us: u64,
    /// In its own code, in microseconds.
    pub user_us: u64,
    /// In the kernel, in microseconds.
    pub system_us: u64,
    /// Both, for each pair.
    pub total_ns_per_pair: u64,
    /// In its own code, for each pair.
    pub user_ns_per_pair: u64,
    /// In the kernel, for each pair.
    pub system_ns_per_pair: u64,
}

impl Cpu {
    /// CPU time spent on so many pairs.
    #[must_use]
    pub fn of(spent: Spent, pairs: u64) -> Self {
        let Spent { total_us, user_us, system_us } = spent;
        let per_pair = |us: u64| us.saturating_mul(1_000) / pairs.max(1);
        Self {
            total_us,
            user_us,
            system_us,
            total_ns_per_pair: per_pair(total_us),
            user_ns_per_pair: per_pair(user_us),
            system_ns_per_pair: per_pair(system_us),
        }
    }
}

/// The target, as its control socket shows it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Target {
    /// Its version.
    pub version: String,
    /// Its CPU time over the run.
    pub cpu: Cpu,
}

/// The process that `--target-pid` named.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TargetProcess {
    /// Its id.
    pub pid: i32,
    /// Its name, as the kernel has it.
    pub name: String,
    /// Its CPU time over the run, unless it ended before the run did.
    pub cpu: Option<Cpu>,
    /// Its threads that ran meanwhile, the busiest first.
    pub threads: Vec<ThreadCpu>,
}

/// CPU time of one thread.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ThreadCpu {
    /// Its id.
    pub id: i32,
    /// Its name, as the kernel has it.
    pub name: String,
    /// In its own code and in the kernel, in microseconds.
    pub total_us: u64,
    /// The same, for each pair.
    pub total_ns_per_pair: u64,
}

/// The books of both sides.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Books {
    /// Whether the target's ledgers were compared with ours.
    pub compared_with_target: bool,
    /// Whether the two ends of every flow were compared with each other.
    pub compared_with_receivers: bool,
    /// Why they were not, or whether all agreed: one sentence.
    pub summary: String,
    /// Every difference, in words.
    pub differences: Vec<String>,
    /// What each end counted.
    pub ends: Vec<EndReport>,
    /// What each flow's ends counted.
    pub flows: Vec<FlowReport>,
}

/// One end's book, and the target's ledger of it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EndReport {
    /// Its name.
    pub name: String,
    /// Its asset.
    pub asset: String,
    /// Sum of its PREPAREs that came back with a checked preimage.
    pub fulfilled_for_us: String,
    /// Sum of the PREPAREs that it fulfilled.
    pub fulfilled_by_us: String,
    /// The balance that its ledger must show.
    pub balance_expected: Option<String>,
    /// The balance that its ledger shows.
    pub balance_of_target: Option<String>,
}

/// One flow's book.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FlowReport {
    /// The sending end.
    pub from: String,
    /// The receiving end.
    pub to: String,
    /// What checked preimages paid, in the sender's units.
    pub paid: String,
    /// What the receiver must have been given for it, in its units.
    pub owed: String,
    /// What the receiver fulfilled, in its units, unless it did not say.
    pub received: Option<String>,
}

impl Report {
    /// The target's CPU time, if somebody told it: its process, else its control socket.
    #[must_use]
    pub fn target_cpu(&self) -> Option<Cpu> {
        match &self.target_process {
            Some(process) => process.cpu,
            None => self.target.as_ref().map(|target| target.cpu),
        }
    }

    /// The report as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("strings, numbers and lists of them")
    }
}

#[cfg(test)]
pub(crate) use tests::passing;

#[cfg(test)]
mod tests;
