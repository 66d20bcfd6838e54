//! Requirements as they are written, and held against reports.

use super::*;
use crate::report::{Cpu, Missed, passing};

fn judged(text: &str, report: &Report) -> Vec<(bool, String)> {
    let judged = Requirements::parse(&[text]).unwrap().judge(report);
    judged.into_iter().map(|row| (row.met.unwrap(), row.actual_text)).collect()
}

#[track_caller]
fn assert_met(text: &str, report: &Report, met: bool) {
    for (row, _) in judged(text, report) {
        assert_eq!(row, met, "{text}");
    }
}

fn report() -> Report {
    let at = |ns: u64| Percentiles {
        count: 1_000,
        mean_ns: ns + 8,
        p50_ns: ns + 1,
        p90_ns: ns + 2,
        p99_ns: ns + 3,
        p99_9_ns: ns + 4,
        p99_99_ns: ns + 5,
        p99_999_ns: ns + 6,
        max_ns: ns + 7,
    };
    let mut report = passing();
    (report.latency, report.service) = (at(1_100), at(700));
    report
}

#[test]
fn each_operator_says_what_it_says_at_the_limit_itself() {
    let report = report();
    for (operator, at_less, at_equal, at_more) in [
        ("<", true, false, false),
        ("<=", true, true, false),
        ("=", false, true, false),
        (">=", false, true, true),
        (">", false, false, true),
    ] {
        assert_met(&format!("p99{operator}1104ns"), &report, at_less);
        assert_met(&format!("p99{operator}1103ns"), &report, at_equal);
        assert_met(&format!("p99 {operator} 1.103 us"), &report, at_equal);
        assert_met(&format!("p99{operator}1102ns"), &report, at_more);
    }
}

#[test]
fn a_limit_is_the_very_number_that_was_written() {
    let mut report = report();
    for ns in 1..5_000 {
        report.latency.p99_ns = ns;
        let us = format!("{}.{:03}us", ns / 1_000, ns % 1_000);
        let seconds = format!("0.{ns:09}s");
        assert_met(&format!("p99={us},p99={seconds},p99={ns}ns"), &report, true);
        assert_met(&format!("p99<{us},p99>{us}"), &report, false);
    }
    (report.offered, report.kinds[1].as_expected) = (1_000, 0);
    for expected in 0..=1_000 {
        report.kinds[0].as_expected = expected;
        let percent = format!("{}.{}%", expected / 10, expected % 10);
        assert_met(&format!("expected={percent}"), &report, true);
        assert_met(&format!("expected>{percent},expected<{percent}"), &report, false);
    }
}

#[test]
fn every_name_stands_for_its_own_figure() {
    let mut report = report();
    report.offered = 10_000;
    report.missed = Missed { link_full: 1, in_flight_full: 2, too_late: 3 };
    (report.unanswered, report.rejected, report.sent_late) = (4, 300, 77);
    (report.sent, report.answered, report.send_lag_max_ns) = (9_994, 9_990, 55);
    report.strays.duplicate = 21;
    report.strays.unexpected = 22;
    (report.strays.late_fulfills, report.strays.late_others) = (1, 2);
    let cpu = |ns| Cpu { total_ns_per_pair: ns, ..Cpu::default() };
    (report.generator_cpu, report.target) = (Some(cpu(31)), Some(target(cpu(32))));
    let all = "p50=1101ns,p90=1102ns,p99=1103ns,p99.9=1104ns,p99.99=1105ns,p99.999=1106ns,\
               max=1107ns,mean=1108ns,service_p50=701ns,service_p90=702ns,service_p99=703ns,\
               service_p99.9=704ns,service_p99.99=705ns,service_p99.999=706ns,service_max=707ns,\
               service_mean=708ns,send_lag_max=55ns,loss=0.1%,fulfilled=0.05,rejected=0.03,\
               expected=0.1,sent=9_994,answered=9990,unanswered=4,missed=6,late=77,duplicate=21,\
               unexpected=22,late_answers=3,answered_per_s=100,fulfilled_per_s=50,\
               generator_cpu_per_pair=31ns,target_cpu_per_pair=32ns";
    assert_eq!(all.split(',').count(), METRICS.len());
    assert_met(all, &report, true);
}

fn target(cpu: Cpu) -> crate::report::Target {
    crate::report::Target { version: "1".to_owned(), cpu }
}

#[test]
fn what_was_not_measured_meets_nothing() {
    let mut report = report();
    report.latency.count = 0;
    report.generator_cpu = None;
    for name in ["p50", "max", "generator_cpu_per_pair", "target_cpu_per_pair"] {
        for operator in ["<", "<=", "=", ">=", ">"] {
            let rows = judged(&format!("{name}{operator}1s"), &report);
            assert_eq!(rows, [(false, "not measured".to_owned())], "{name}");
        }
    }
}

#[test]
fn figures_are_shown_in_the_unit_that_reads_best() {
    let mut report = report();
    report.answered = 1_234_567;
    let rows = judged("p99<1s, loss=0, fulfilled>0.999, answered>1", &report);
    let shown: Vec<_> = rows.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(shown, ["1.1 us", "0", "0.5", "1,234,567"]);
}

#[test]
fn what_cannot_be_judged_is_told_with_what_there_is() {
    for (text, words) in [
        ("p98<5us", "there is no 'p98'; there are p50, p90, p99, p99.9,"),
        ("", "it has none of <"),
        ("p99<1us,", "it has none of <"),
        ("p99", "write it as 'p99<500us'"),
        ("<5", "there is no ''"),
        ("p99<500", "'500' does not fit: p99 is a time: write a number and ns, us, ms or s"),
        ("p99<us", "'us' does not fit"),
        ("p99<", "'' does not fit"),
        ("p99<-5us", "'-5us' does not fit"),
        ("p99==5us", "'=5us' does not fit"),
        ("p99=<5us", "'<5us' does not fit"),
        ("p99<1.2.3us", "'1.2.3us' does not fit"),
        ("p99<5m", "'5m' does not fit"),
        ("p99<5%", "'5%' does not fit"),
        ("loss=0us", "loss is a share of the offered packets"),
        ("loss<1.1", "write 0 to 1, or 0% to 100%"),
        ("loss<101%", "write 0 to 1, or 0% to 100%"),
        ("loss<nan", "'nan' does not fit"),
        ("loss<inf", "'inf' does not fit"),
        ("missed<5us", "missed is a count"),
        ("missed<5%", "missed is a count"),
        ("answered_per_s>1e400", "answered_per_s is a rate a second"),
        ("answered_per_s>1/s", "answered_per_s is a rate a second"),
    ] {
        let sentence = Requirements::parse(&[text]).unwrap_err();
        assert!(sentence.starts_with("--require '") && sentence.contains(words), "{sentence}");
    }
}

#[test]
fn several_lists_are_one_and_the_same_name_may_stand_twice() {
    let lists = Requirements::parse(&["p99>1us,p99<2us", "loss=0"]).unwrap();
    assert_eq!(lists.judge(&report()).len(), 3);
    assert!(!lists.need_target_cpu());
    assert!(Requirements::parse(&["target_cpu_per_pair<1us"]).unwrap().need_target_cpu());
}

#[test]
fn a_time_alone_has_a_unit_too() {
    for (text, ns) in [("500us", 500_000), ("2.5ms", 2_500_000), ("1s", 1_000_000_000), ("7ns", 7)]
    {
        assert_eq!(time_ns(text), Ok(ns));
    }
    for text in ["", "5", "us", "-1s", "1m", "1.2.3s", "0ns", "1e3s", "infs"] {
        assert!(time_ns(text).is_err(), "{text}");
    }
}
