//! What one trial says of its rate: a function of its report.
//!
//! Every PREPARE that was offered must come back as its kind should; what did not is lost, whatever
//! became of it. PREPAREs that the generator itself was too slow to send are apart: a trial with
//! some says nothing of the target's rate, also where it lost others. A fault that no rate excuses is
//! the target's in any trial.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{Ask, Found, Limit, Phase};
use crate::payload::Kind;
use crate::receiver::Fault;
use crate::report::{FaultReport, Report, duration, grouped};

/// Share of PREPAREs sent more than a millisecond late from which on the generator did not keep to
/// its rate. One that is too slow by 1 % falls behind by a millisecond in the first 100 ms and stays
/// there: nine of ten are late in a trial of a second, more in a longer one. One that shares its
/// cores is late now and then, and catches up: on two cores with three compilers beside it, 27 %.
pub const LATE_SHARE_MAX: f64 = 0.5;

/// Share from which on a trial is marked, as a run is: what was lost or slow in it is not put down to
/// the target alone.
pub const LATE_SHARE_MARKED: f64 = 0.01;

/// 99th percentiles in which a packet that was lost is slower than any that was not. `None` where that
/// makes it one that never came.
#[derive(Clone, Copy, Debug)]
pub struct WithLost {
    /// From the scheduled time, in nanoseconds.
    pub latency_ns: Option<u64>,
    /// From the time of sending, in nanoseconds.
    pub service_ns: Option<u64>,
}

impl WithLost {
    /// Of a run with these latencies.
    #[must_use]
    pub fn of(report: &Report, latency: &Histogram<u64>, service: &Histogram<u64>) -> Self {
        let timed = report.kinds.iter().filter(|kind| kind.kind != Kind::Expired.name());
        let came: u64 = timed.map(|kind| kind.as_expected).sum();
        let p99 = |of: &Histogram<u64>| p99_with_lost(of, came, lost(report));
        Self { latency_ns: p99(latency), service_ns: p99(service) }
    }
}

/// `came` of the samples are of packets that came back as they should. The histogram does not say
/// which: the others are taken for the fastest, so that none makes this percentile look better.
fn p99_with_lost(histogram: &Histogram<u64>, came: u64, lost: u64) -> Option<u64> {
    let rank = ((came + lost) * 99).div_ceil(100);
    if rank == 0 || rank > came {
        return None;
    }
    let others = histogram.len().saturating_sub(came);
    #[expect(clippy::cast_precision_loss)] // counts of packets are below 2^52
    let quantile = ((rank + others) as f64 - 0.5) / histogram.len() as f64;
    Some(histogram.value_at_quantile(quantile))
}

/// PREPAREs that did not come back as their kind should, without those that the generator missed.
fn lost(report: &Report) -> u64 {
    let as_expected: u64 = report.kinds.iter().map(|kind| kind.as_expected).sum();
    report.offered.saturating_sub(as_expected + report.missed.too_late)
}

/// What a trial must keep to.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Terms {
    /// Highest share of what was offered that may be lost.
    pub max_loss: f64,
    /// Highest 99th percentile of the latency from the scheduled time.
    pub max_p99_ns: Option<u64>,
}

/// One trial.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Trial {
    /// What it was for.
    pub phase: Phase,
    /// PREPAREs a second.
    pub rate_per_s: u64,
    /// How long they were sent.
    pub seconds: u64,
    /// PREPAREs that were due.
    pub offered: u64,
    /// PREPAREs sent.
    pub sent: u64,
    /// PREPAREs that did not come back as their kind should, without those that the generator
    /// missed.
    pub lost: u64,
    /// `lost` of `offered`.
    pub loss_ratio: f64,
    /// PREPAREs that the generator was too slow to send.
    pub missed_by_generator: u64,
    /// PREPAREs sent more than a millisecond late.
    pub sent_late: u64,
    /// Whether the generator missed some, or sent more than one in a hundred late: the same as in the
    /// report of a run.
    pub generator_was_limit: bool,
    /// Median latency from the scheduled time.
    pub p50_ns: u64,
    /// 99th percentile of it.
    pub p99_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// 99th percentile from the time of sending.
    pub service_p99_ns: u64,
    /// 99th percentile from the scheduled time, with a lost packet slower than any other: what
    /// `--max-p99` is held against. Null where that is one that never came.
    pub p99_with_lost_ns: Option<u64>,
    /// The same from the time of sending.
    pub service_p99_with_lost_ns: Option<u64>,
    /// Whether it kept to its terms.
    pub good: bool,
    /// Who was the limit, where it did not.
    pub limit: Option<Limit>,
    /// Why, in words.
    pub why: Option<String>,
    /// What went wrong that no rate excuses, if something did: it fails the search, whatever other
    /// trials say.
    pub fault: Option<String>,
}

impl Trial {
    /// Judges the report of the trial that was asked for.
    #[must_use]
    pub fn of(ask: Ask, report: &Report, p99: WithLost, terms: &Terms) -> Self {
        let missed_by_generator = report.missed.too_late;
        let is_late = share(report.sent_late, report.sent) > LATE_SHARE_MARKED;
        let lost = lost(report);
        let mut trial = Self {
            phase: ask.phase,
            rate_per_s: ask.rate_per_s,
            seconds: ask.seconds,
            offered: report.offered,
            sent: report.sent,
            lost,
            loss_ratio: share(lost, report.offered),
            missed_by_generator,
            sent_late: report.sent_late,
            generator_was_limit: missed_by_generator > 0 || is_late,
            p50_ns: report.latency.p50_ns,
            p99_ns: report.latency.p99_ns,
            max_ns: report.latency.max_ns,
            service_p99_ns: report.service.p99_ns,
            p99_with_lost_ns: p99.latency_ns,
            service_p99_with_lost_ns: p99.service_ns,
            good: true,
            limit: None,
            why: None,
            fault: fault(report),
        };
        if let Some((limit, why)) = trial.complaint(report, terms) {
            (trial.good, trial.limit, trial.why) = (false, Some(limit), Some(why));
        }
        trial
    }

    /// What it says to the search.
    #[must_use]
    pub fn found(&self) -> Found {
        self.limit.map_or(Found::Good, Found::Bad)
    }

    /// A fault is the target's, however slow the generator was; both are told.
    fn complaint(&self, report: &Report, terms: &Terms) -> Option<(Limit, String)> {
        let slow = self.too_slow();
        if let Some(fault) = &self.fault {
            let why = [Some(fault.clone()), report.partial.clone(), slow];
            return Some((Limit::Target, why.into_iter().flatten().collect::<Vec<_>>().join("; ")));
        }
        if let Some(reason) = &report.partial {
            return Some((Limit::Target, reason.clone()));
        }
        if let Some(slow) = slow {
            return Some((Limit::Generator, slow));
        }
        if self.loss_ratio > terms.max_loss {
            return Some(self.blame(losses(report)));
        }
        self.too_long(terms.max_p99_ns?)
    }

    /// What was lost or slow is not put down to the target where the generator was behind.
    fn blame(&self, why: String) -> (Limit, String) {
        if self.generator_was_limit {
            return (Limit::Generator, format!("{why}; {}", self.late()));
        }
        (Limit::Target, why)
    }

    /// Why the trial says nothing of what the target can do.
    fn too_slow(&self) -> Option<String> {
        if self.missed_by_generator > 0 {
            let missed = grouped(self.missed_by_generator);
            return Some(format!("THE GENERATOR was too slow to send {missed} of them"));
        }
        (share(self.sent_late, self.sent) > LATE_SHARE_MAX).then(|| self.late())
    }

    fn late(&self) -> String {
        format!("THE GENERATOR sent {} of them more than 1 ms late", grouped(self.sent_late))
    }

    fn too_long(&self, max_p99_ns: u64) -> Option<(Limit, String)> {
        let allowed = duration(max_p99_ns);
        let is_above = |p99: Option<u64>| p99.is_none_or(|ns| ns > max_p99_ns);
        if is_above(self.service_p99_with_lost_ns) {
            let what =
                if self.lost > 0 { "p99, with what was lost as the slowest," } else { "p99" };
            return Some(self.blame(format!("{what} is above {allowed}")));
        }
        let why = || format!("THE GENERATOR sent late: p99 is above {allowed} only by its delay");
        is_above(self.p99_with_lost_ns).then(|| (Limit::Generator, why()))
    }
}

/// What no rate excuses: answers that are too many or too late, packets that were delivered and are
/// not what was sent, and money.
fn fault(report: &Report) -> Option<String> {
    let strays = &report.strays;
    let counted = [
        (strays.duplicate, "answers came twice"),
        (strays.unexpected, "answers belong to no PREPARE"),
        (strays.late_fulfills, "FULFILLs came after the expiry of their PREPARE"),
        (strays.unreadable, "frames were no BTP"),
    ];
    if let Some((count, what)) = counted.into_iter().find(|&(count, _)| count > 0) {
        return Some(format!("{} {what}", grouped(count)));
    }
    // An expiry that passed on the way is a matter of time: the packet is lost, as any other.
    let in_time = |fault: &&FaultReport| fault.fault != Fault::ExpiryPast.name();
    if let Some(fault) = report.receiver_faults.iter().find(in_time) {
        return Some(format!("{} delivered with a fault: {}", grouped(fault.count), fault.fault));
    }
    report.books.differences.first().cloned()
}

/// What became of the packets that were lost: the most frequent fate first, three at most.
fn losses(report: &Report) -> String {
    let mut fates: Vec<(u64, String)> = report
        .surprises
        .iter()
        .map(|surprise| (surprise.count, surprise.outcome.clone()))
        .collect();
    fates.push((report.unanswered, "never answered".to_owned()));
    fates.push((report.missed.link_full, "not sent, as the target did not read".to_owned()));
    let full = "not sent, as every request id was in flight";
    fates.push((report.missed.in_flight_full, full.to_owned()));
    fates.retain(|&(count, _)| count > 0);
    fates.sort_by_key(|&(count, _)| std::cmp::Reverse(count));
    let words = fates.iter().take(3).map(|(count, fate)| format!("{} {fate}", grouped(*count)));
    words.collect::<Vec<_>>().join(", ")
}

fn share(part: u64, whole: u64) -> f64 {
    #[expect(clippy::cast_precision_loss)] // a ratio, not money
    let ratio = part as f64 / whole.max(1) as f64;
    ratio
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{SurpriseReport, passing};

    const ASK: Ask = Ask { phase: Phase::Narrow, rate_per_s: 100, seconds: 10 };
    const STRICT: Terms = Terms { max_loss: 0.0, max_p99_ns: None };

    /// The trial of a run in which all went well, but for one thing. A thousand were offered.
    fn judged(terms: &Terms, spoil: impl FnOnce(&mut Report)) -> Trial {
        timed(terms, [Some(0), Some(0)], spoil)
    }

    /// The same with these 99th percentiles.
    fn timed(terms: &Terms, p99: [Option<u64>; 2], spoil: impl FnOnce(&mut Report)) -> Trial {
        let mut report = passing();
        report.failures.clear();
        spoil(&mut report);
        let [latency_ns, service_ns] = p99;
        Trial::of(ASK, &report, WithLost { latency_ns, service_ns }, terms)
    }

    #[track_caller]
    fn assert_bad(trial: &Trial, limit: Limit, words: &str) {
        assert_eq!((trial.good, trial.found()), (false, Found::Bad(limit)), "{trial:?}");
        let why = trial.why.as_deref().unwrap();
        assert!(why.contains(words), "{words} is not in {why}");
    }

    #[test]
    fn a_trial_in_which_all_came_back_as_it_should_is_good() {
        let trial = judged(&STRICT, |_| ());
        assert_eq!((trial.found(), trial.lost, trial.why), (Found::Good, 0, None));
    }

    #[test]
    fn one_packet_that_did_not_is_a_loss_unless_so_many_are_allowed() {
        let lose = |report: &mut Report| {
            report.kinds[0].as_expected -= 1;
            let outcome = "rejected with T02".to_owned();
            report.surprises.push(SurpriseReport { kind: "fulfilled", outcome, count: 1 });
        };
        let trial = judged(&STRICT, lose);
        assert_bad(&trial, Limit::Target, "1 rejected with T02");
        assert_eq!((trial.lost, trial.loss_ratio.to_string().as_str()), (1, "0.001"));
        assert!(judged(&Terms { max_loss: 0.001, ..STRICT }, lose).good);
        assert!(!judged(&Terms { max_loss: 0.000_999, ..STRICT }, lose).good);
    }

    #[test]
    fn what_the_target_gave_no_room_to_send_is_lost_too() {
        let trial = judged(&STRICT, |report| {
            report.kinds[0].as_expected -= 12;
            report.missed.link_full = 5;
            report.missed.in_flight_full = 7;
        });
        assert_bad(&trial, Limit::Target, "7 not sent, as every request id was in flight, 5 not");
        assert_eq!(trial.lost, 12);
    }

    #[test]
    fn what_the_generator_was_too_slow_for_bounds_the_generator_and_is_no_loss() {
        let trial = judged(&STRICT, |report| {
            report.kinds[0].as_expected -= 7;
            report.missed.too_late = 7;
        });
        assert_bad(&trial, Limit::Generator, "too slow to send 7");
        assert_eq!((trial.lost, trial.missed_by_generator), (0, 7));
        // Also where others were lost: less was offered than the trial says.
        let trial = judged(&Terms { max_loss: 1.0, ..STRICT }, |report| {
            report.kinds[0].as_expected -= 70;
            report.missed.too_late = 7;
        });
        assert_bad(&trial, Limit::Generator, "too slow");
    }

    #[test]
    fn a_slow_generator_hides_no_fault_and_both_are_told() {
        for (too_late, sent_late) in [(7, 0), (0, 999)] {
            let trial = judged(&STRICT, |report| {
                report.strays.duplicate = 3;
                (report.missed.too_late, report.sent_late) = (too_late, sent_late);
            });
            assert_bad(&trial, Limit::Target, "3 answers came twice; THE GENERATOR");
            assert_eq!(trial.fault.as_deref(), Some("3 answers came twice"));
        }
        let trial = judged(&STRICT, |report| {
            report.strays.duplicate = 3;
            report.partial = Some("it closed".to_owned());
        });
        assert_bad(&trial, Limit::Target, "3 answers came twice; it closed");
    }

    #[test]
    fn a_generator_that_was_behind_for_half_of_its_packets_is_the_limit() {
        assert!(judged(&STRICT, |report| report.sent_late = 500).good);
        let trial = judged(&STRICT, |report| report.sent_late = 501);
        assert_bad(&trial, Limit::Generator, "501 of them more than 1 ms late");
    }

    #[test]
    fn latency_is_the_targets_where_its_service_time_is_and_else_the_generators() {
        let terms = Terms { max_p99_ns: Some(500_000), ..STRICT };
        let slow = |scheduled, service| timed(&terms, [Some(scheduled), Some(service)], |_| ());
        assert!(slow(500_000, 500_000).good);
        assert_bad(&slow(500_001, 500_001), Limit::Target, "p99 is above 500.0 us");
        assert_bad(&slow(500_001, 500_000), Limit::Generator, "THE GENERATOR sent late");
        // A packet that never came is slower than any time.
        let lost = timed(&terms, [None, None], |_| ());
        assert_bad(&lost, Limit::Target, "p99 is above 500.0 us");
    }

    #[test]
    fn more_than_one_in_a_hundred_late_marks_the_trial_and_the_target_is_not_blamed_alone() {
        let lose = |late| {
            judged(&STRICT, |report| {
                (report.kinds[0].as_expected, report.unanswered) = (499, 1);
                report.sent_late = late;
            })
        };
        assert_bad(&lose(10), Limit::Target, "1 never answered");
        assert!(!lose(10).generator_was_limit);
        let words = "1 never answered; THE GENERATOR sent 11 of them more than 1 ms late";
        assert_bad(&lose(11), Limit::Generator, words);
        assert!(lose(11).generator_was_limit);
        // It is only marked where nothing was lost or slow.
        let good = judged(&STRICT, |report| report.sent_late = 11);
        assert_eq!((good.good, good.generator_was_limit), (true, true));
        let terms = Terms { max_p99_ns: Some(5), ..STRICT };
        let slow = timed(&terms, [Some(6), Some(6)], |report| report.sent_late = 11);
        assert_bad(&slow, Limit::Generator, "p99 is above 5 ns; THE GENERATOR");
    }

    /// A thousand samples of 1, 2, 3 ... us.
    fn samples() -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 1 << 30, 4).unwrap();
        (1..=1_000).for_each(|us| histogram.record(us * 1_000).unwrap());
        histogram
    }

    #[test]
    fn a_lost_packet_is_slower_than_any_that_came() {
        let p99_us =
            |came, lost| p99_with_lost(&samples(), came, lost).map(|ns| (ns + 500) / 1_000);
        assert_eq!(p99_us(1_000, 0), Some(990));
        // Never answered, so that they are not among the samples: of 1,010 the 1,000th.
        assert_eq!(p99_us(1_000, 10), Some(1_000));
        assert_eq!(p99_us(1_000, 11), None);
        // Rejected at once: the fastest ten of the thousand.
        assert_eq!(p99_us(990, 10), Some(1_000));
        assert_eq!(p99_us(995, 5), Some(995));
        assert_eq!(p99_us(989, 11), None);
        assert_eq!(p99_us(0, 0), None);
    }

    #[test]
    fn no_rate_excuses_a_wrong_answer() {
        type Spoil = fn(&mut Report);
        let spoilers: [(&str, Spoil); 7] = [
            ("came twice", |report| report.strays.duplicate = 1),
            ("no PREPARE", |report| report.strays.unexpected = 1),
            ("after the expiry", |report| report.strays.late_fulfills = 1),
            ("no BTP", |report| report.strays.unreadable = 1),
            ("fault: f", |report| {
                report.receiver_faults.push(FaultReport { fault: "f", count: 1 });
            }),
            ("a unit", |report| report.books.differences.push("a unit".to_owned())),
            ("closed", |report| report.partial = Some("it closed".to_owned())),
        ];
        for (words, spoil) in spoilers {
            let terms = Terms { max_loss: 1.0, ..STRICT };
            assert_bad(&judged(&terms, spoil), Limit::Target, words);
        }
        let too_slow = FaultReport { fault: Fault::ExpiryPast.name(), count: 1 };
        assert!(judged(&STRICT, |report| report.receiver_faults.push(too_slow)).good);
    }
}
