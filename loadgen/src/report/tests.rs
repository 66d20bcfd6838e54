//! Reports of runs that went well, and of some that did not.

use super::*;
use crate::books::{Finding, Word};
use crate::environment::LinkReport;
use crate::require::Requirements;

const SPENT: Spent = Spent { total_us: 3_000, user_us: 1_000, system_us: 2_000 };

fn environment() -> Environment {
    let words = ["m2-load", "run", "--require", "p99<1ms", "--workload", "it's.toml"];
    let link = |transport, word: Option<&str>, count| LinkReport {
        transport,
        congestion_control: word.map(str::to_owned),
        count,
    };
    Environment {
        command: words.map(str::to_owned).to_vec(),
        started_at: "2026-11-21T18:40:00.123Z".to_owned(),
        rustc: "rustc 1.95.0 (abc 2026-04-14)",
        profile: "release",
        kernel: "Linux 6.18.0 x86_64".to_owned(),
        cpu_model: "AMD EPYC".to_owned(),
        cores: 2,
        cpu_governor: "none".to_owned(),
        waiting: "block",
        links: vec![link("tcp", Some("bbr"), 1), link("unix", None, 2)],
    }
}

/// A report of a run in which all went well.
pub(crate) fn passing() -> Report {
    let kind = |kind, as_expected| KindReport {
        kind,
        share_per_mille: 500,
        sent: as_expected,
        as_expected,
        otherwise: 0,
    };
    Report {
        schema: SCHEMA,
        version: "0",
        method: OPEN_LOOP,
        environment: environment(),
        verdict: Verdict::Fail,
        failures: vec!["not yet concluded".to_owned()],
        notes: Vec::new(),
        requirements: Vec::new(),
        partial: None,
        interrupted: false,
        seed: 1,
        fulfillment: "stream",
        repeat: None,
        arrivals: "constant",
        phases: Vec::new(),
        window: None,
        offered_per_s: Some(100),
        seconds: 10,
        offered: 1_000,
        not_due: 0,
        sent: 1_000,
        missed: Missed::default(),
        sent_late: 0,
        send_lag_max_ns: 0,
        absent_ns: 0,
        absent_max_ns: 0,
        generator_was_limit: false,
        answered: 1_000,
        unanswered: 0,
        fulfilled: 500,
        rejected: 500,
        answered_per_s: 100.0,
        fulfilled_per_s: 50.0,
        latency: Percentiles::default(),
        service: Percentiles::default(),
        kinds: vec![kind("fulfilled", 500), kind("rejected", 500)],
        rejects: vec![RejectReport {
            code: "F99".to_owned(),
            name: Some("Application Error"),
            count: 500,
        }],
        surprises: Vec::new(),
        strays: Strays::default(),
        receiver_faults: Vec::new(),
        generator_cpu: Some(Cpu::of(SPENT, 1_000)),
        target: None,
        target_process: None,
        books: Books::default(),
    }
}

fn concluded(spoil: impl FnOnce(&mut Report)) -> Report {
    let mut report = passing();
    spoil(&mut report);
    report.conclude(&[]);
    report
}

#[test]
fn a_run_in_which_all_went_well_passes() {
    let report = concluded(|_| ());
    assert_eq!((report.verdict, report.failures.len()), (Verdict::Pass, 0));
}

#[test]
fn each_thing_that_can_go_wrong_fails_the_run_by_name() {
    type Spoil = fn(&mut Report);
    let spoilers: [(&str, Spoil); 12] = [
        ("did not read", |report| report.missed.link_full = 1),
        ("in flight", |report| report.missed.in_flight_full = 1),
        ("THE GENERATOR", |report| report.missed.too_late = 1),
        ("never answered", |report| report.unanswered = 1),
        ("came twice", |report| report.strays.duplicate = 1),
        ("belongs to no PREPARE", |report| report.strays.unexpected = 1),
        ("after the expiry", |report| report.strays.late_fulfills = 1),
        ("no BTP", |report| report.strays.unreadable = 1),
        ("kind rejected came back as x", |report| {
            let outcome = "x".to_owned();
            report.surprises.push(SurpriseReport { kind: "rejected", outcome, count: 1 });
        }),
        ("fault: y", |report| {
            report.receiver_faults.push(FaultReport { fault: "y", count: 1 });
        }),
        ("no packet of kind rejected", |report| report.kinds[1].as_expected = 0),
        ("no packet of kind fulfilled", |report| report.kinds[0].as_expected = 0),
    ];
    for (text, spoil) in spoilers {
        let report = concluded(spoil);
        assert_eq!(report.verdict, Verdict::Fail, "{text}");
        assert_eq!(report.failures.len(), 1, "{text}");
        assert!(report.failures[0].contains(text), "{:?}", report.failures);
    }
}

#[test]
fn a_kind_without_a_share_need_not_occur() {
    let report = concluded(|report| {
        report.kinds[1].share_per_mille = 0;
        report.kinds[1].as_expected = 0;
    });
    assert_eq!(report.verdict, Verdict::Pass);
}

#[test]
fn a_kind_that_none_was_sent_of_is_a_note_and_no_failure() {
    let untried = |sent| {
        concluded(|report| {
            report.sent = sent;
            (report.kinds[1].sent, report.kinds[1].as_expected) = (0, 0);
        })
    };
    let report = untried(999);
    assert_eq!((report.verdict, report.failures.len()), (Verdict::Pass, 0));
    let note = "kind rejected was not tried: fewer than 1,000 packets were sent";
    assert_eq!(report.notes, [note]);
    assert!(report.to_string().contains(&format!("\nnote         {note}\n")), "{report}");
    assert_eq!(untried(1_000).notes, ["kind rejected was not tried: none of them was sent"]);
    assert!(concluded(|_| ()).notes.is_empty());
}

#[test]
fn a_difference_in_the_books_fails_the_run() {
    let mut report = passing();
    let account = "alice".to_owned();
    report.conclude(&[Finding::Word { account, word: Word::HeldOut, expected: 0, actual: 1 }]);
    assert_eq!(report.verdict, Verdict::Fail);
    assert!(report.failures[0].contains("held_out"), "{:?}", report.failures);
}

#[test]
fn a_run_that_ended_early_is_partial_whatever_else_it_found() {
    let report = concluded(|report| report.partial = Some("the link closed".to_owned()));
    assert_eq!(report.verdict, Verdict::Partial);
    assert!(report.to_string().contains("PARTIAL: the link closed"));
}

#[test]
fn what_an_interrupted_run_did_not_get_to_is_no_failure() {
    let report = concluded(|report| {
        report.partial = Some("interrupted".to_owned());
        report.interrupted = true;
        report.unanswered = 3;
        report.kinds[1].as_expected = 0;
        report.strays.duplicate = 1;
    });
    assert_eq!(report.failures, ["1 answer came twice"]);
}

#[test]
fn the_second_line_says_which_loop_it_is() {
    let second = |spoil: fn(&mut Report)| {
        let text = concluded(spoil).to_string();
        text.lines().nth(1).unwrap().to_owned()
    };
    let open = second(|_| ());
    assert!(open.starts_with("open loop: latency is counted from the time each packet was"));
    let closed = second(|report| (report.window, report.method) = (Some(64), CLOSED_LOOP));
    assert!(
        closed.starts_with("closed loop: each packet was sent when an earlier one was answered")
    );
}

#[test]
fn text_and_json_are_made_from_the_same_numbers() {
    let report = concluded(|report| report.answered = 123_456);
    assert!(report.to_string().contains("123,456 answered"));
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["answered"], 123_456);
    assert_eq!(json["verdict"], "pass");
    assert_eq!(json["schema"], SCHEMA);
    assert_eq!(json["generator_cpu"]["system_ns_per_pair"], 2_000);
}

#[test]
fn a_part_of_the_cpu_time_that_got_no_tick_is_not_written_as_0() {
    let line = |spent| {
        let report = concluded(|report| report.generator_cpu = Some(Cpu::of(spent, 1_000)));
        let text = report.to_string();
        text.lines().find(|line| line.starts_with("cpu")).unwrap().to_owned()
    };
    assert!(line(SPENT).ends_with("3.0 us a pair: 1.0 us user, 2.0 us system"));
    let coarse = Spent { total_us: 3_000, user_us: 3_000, system_us: 0 };
    assert!(line(coarse).ends_with("3.0 us a pair: 3.0 us user, under 1 tick system"));
    let unknown = Spent { user_us: 0, ..coarse };
    assert!(line(unknown).ends_with("3.0 us a pair: too few ticks to tell user from system"));
}

#[test]
fn numbers_are_written_for_the_eye() {
    for (count, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
        assert_eq!(grouped(count), text);
    }
    for (ns, text) in [(999, "999 ns"), (1_500, "1.5 us"), (2_250_000, "2.25 ms")] {
        assert_eq!(duration(ns), text);
    }
    assert_eq!(duration(61_500_000_000), "61.50 s");
}

#[test]
fn percentiles_of_nothing_are_zero() {
    let empty = Histogram::new_with_bounds(1, 1_000_000, 3).unwrap();
    let at = Percentiles::from(&empty);
    assert_eq!((at.count, at.p50_ns, at.max_ns), (0, 0, 0));
}

#[test]
fn a_requirement_that_is_not_met_spoils_only_a_run_that_passed() {
    let required = |text: &str, spoil: fn(&mut Report)| {
        let mut report = concluded(spoil);
        report.require(&Requirements::parse(&[text]).unwrap());
        report
    };
    let good = required("missed=0,duplicate<1", |_| ());
    assert_eq!((good.verdict, good.requirements.len()), (Verdict::Pass, 2));
    let unmet = required("missed=0,fulfilled>0.999", |_| ());
    assert_eq!(unmet.verdict, Verdict::Unmet);
    let text = unmet.to_string();
    assert!(text.starts_with("m2-load NOT AS REQUIRED: "), "{text}");
    assert!(text.contains("\nrequired     missed=0                   met: 0\n"), "{text}");
    assert!(text.contains("\n             fulfilled>0.999            NOT MET: 0.5\n"), "{text}");
    let failed = required("fulfilled>0.999", |report| report.strays.duplicate = 1);
    assert_eq!(failed.verdict, Verdict::Fail);
    let partial = required("fulfilled>0.999", |report| report.partial = Some("x".to_owned()));
    assert_eq!((partial.verdict, partial.requirements[0].met), (Verdict::Partial, None));
    let text = partial.to_string();
    assert!(text.contains("\nrequired     fulfilled>0.999            not judged: 0.5\n"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&partial.to_json()).unwrap();
    assert_eq!(json["requirements"][0]["met"], serde_json::Value::Null);
}

#[test]
fn what_a_run_that_was_cut_did_not_get_to_is_not_offered_and_no_failure() {
    let report = concluded(|report| {
        report.partial = Some("the link closed".to_owned());
        report.not_due = 9_000;
        report.kinds[1].as_expected = 0;
    });
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    let first =
        "m2-load PARTIAL: 1,000 of 10,000 PREPAREs offered at 100 a second for 10 s, seed 1\n";
    assert!(report.to_string().starts_with(first), "{report}");
}

#[test]
fn where_the_generator_was_the_limit_the_first_lines_say_so() {
    let third = |spoil: fn(&mut Report)| {
        let report = concluded(spoil);
        let text = report.to_string();
        (report.generator_was_limit, text.lines().nth(2).unwrap().to_owned())
    };
    assert_eq!(third(|report| report.sent_late = 10), (false, String::new()));
    assert_eq!(third(|report| report.missed.link_full = 10), (false, String::new()));
    let (was_limit, line) = third(|report| report.sent_late = 11);
    assert!(was_limit && line.contains("THE GENERATOR WAS THE LIMIT: 0 packets due"), "{line}");
    let (was_limit, line) = third(|report| report.missed.too_late = 1);
    assert!(was_limit && line.contains("THE GENERATOR WAS THE LIMIT: 1 packet due"), "{line}");
}

#[test]
fn many_ways_to_come_back_are_six_lines_and_one_for_the_others() {
    let (mut all, mut rejects) = (Vec::new(), Vec::new());
    for number in 0..300 {
        let outcome = format!("rejected with X{number:03}");
        all.push(SurpriseReport { kind: "fulfilled", outcome, count: number + 1 });
        rejects.push(RejectReport { code: format!("X{number:03}"), name: None, count: number + 1 });
    }
    let report = concluded(|report| {
        (report.surprises, report.rejects) = (all, rejects);
    });
    assert_eq!(report.failures.len(), 7, "{:?}", report.failures);
    let first = "300 packets of kind fulfilled came back as rejected with X299";
    assert_eq!(report.failures[0], first);
    // 1 + 2 + ... + 294
    assert_eq!(report.failures[6], "43,365 packets came back in 294 other ways");
    let text = report.to_string();
    let line = text.lines().find(|line| line.starts_with("rejects")).unwrap();
    assert!(line.starts_with("rejects      300 X299 (no name), 299 X298 (no name), "), "{line}");
    assert!(line.ends_with(", 295 X294 (no name), 43,365 with 294 other codes"), "{line}");
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["surprises"].as_array().unwrap().len(), 300);
}

#[test]
fn one_is_no_plural_and_thousands_stand_apart() {
    let report = concluded(|report| {
        report.strays =
            Strays { duplicate: 1_000, unexpected: 1, late_fulfills: 1, ..Strays::default() };
        (report.unanswered, report.missed.link_full) = (1, 1);
    });
    let failures = [
        "1 send missed: the target did not read its link",
        "1 PREPARE was never answered",
        "1,000 answers came twice",
        "1 answer belongs to no PREPARE",
        "1 FULFILL came after the expiry of its PREPARE",
    ];
    assert_eq!(report.failures, failures);
    let text = report.to_string();
    let answers = "answers      1,000 duplicate, 1 unexpected, 1 late FULFILL, 0 other late ones, 0 \
                   unreadable frames\n";
    assert!(text.contains(answers), "{text}");
    assert!(text.contains("missed       1 send: 1 as the target did not read\n"), "{text}");
}

#[test]
fn missed_sends_have_a_line_of_their_own_with_whose_fault_it_was() {
    let line = |spoil: fn(&mut Report)| {
        let text = concluded(spoil).to_string();
        text.lines().find(|line| line.starts_with("missed")).unwrap().to_owned()
    };
    assert_eq!(line(|_| ()), "missed       0 sends");
    let missed = |report: &mut Report| {
        report.missed = Missed { link_full: 1_000, in_flight_full: 0, too_late: 3 };
    };
    assert_eq!(
        line(missed),
        "missed       1,003 sends: 1,000 as the target did not read, 3 as THE GENERATOR was too slow"
    );
}

#[test]
fn the_text_has_every_percentile_up_to_five_nines() {
    let at = Percentiles {
        count: 9,
        mean_ns: 1,
        p50_ns: 2,
        p90_ns: 3,
        p99_ns: 4,
        p99_9_ns: 5,
        p99_99_ns: 6,
        p99_999_ns: 7,
        max_ns: 8,
    };
    let text = concluded(|report| report.latency = at).to_string();
    let lines: Vec<_> = text.lines().skip_while(|line| !line.starts_with("latency")).collect();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let heads = ["latency", "p50", "p90", "p99", "p99.9", "p99.99", "p99.999", "max"];
    assert_eq!(words(lines[0]), heads);
    assert_eq!(words(lines[1]).join(" "), "scheduled 2 ns 3 ns 4 ns 5 ns 6 ns 7 ns 8 ns");
    assert_eq!(words(lines[2]).join(" "), "service - - - - - - -");
}

#[test]
fn what_stands_around_a_run_is_in_the_text_and_the_command_can_be_run_again() {
    let text = concluded(|_| ()).to_string();
    let lines: Vec<_> =
        text.lines().skip_while(|line| !line.starts_with("environment")).take(4).collect();
    assert_eq!(
        lines,
        [
            "environment  m2-load 0 (release, rustc 1.95.0 (abc 2026-04-14)) on Linux 6.18.0 x86_64",
            "             2 cores of AMD EPYC, governor none; waits by block; links: 1 tcp (bbr), 2 unix",
            "             2026-11-21T18:40:00.123Z, seed 1",
            "             m2-load run --require 'p99<1ms' --workload 'it'\\''s.toml'",
        ]
    );
}

#[test]
fn a_closed_loop_whose_generator_was_away_or_had_no_time_left_says_so() {
    let limit = |spoil: fn(&mut Report)| {
        let report = concluded(|report| {
            (report.window, report.seconds) = (Some(20), 10);
            spoil(report);
        });
        (report.generator_was_limit, report.to_string().contains("THE GENERATOR WAS THE LIMIT"))
    };
    assert_eq!(limit(|_| ()), (false, false));
    assert_eq!(limit(|report| report.absent_ns = 100_000_000), (false, false));
    assert_eq!(limit(|report| report.absent_ns = 100_000_001), (true, true));
    assert_eq!(
        limit(|it| it.generator_cpu = Some(Cpu::of(Spent { total_us: 9_499_999, ..SPENT }, 1))),
        (false, false)
    );
    assert_eq!(
        limit(|it| it.generator_cpu = Some(Cpu::of(Spent { total_us: 9_500_000, ..SPENT }, 1))),
        (true, true)
    );
}
