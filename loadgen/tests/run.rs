//! The binary against a small connector that can misbehave: what it says, and its exit status.

#![allow(clippy::unwrap_used)] // every function here is a test's

mod peer;

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use peer::generator::{
    MIXED, SILENT, assert_complains, complaint, finish, load, start, workload, write_workload,
};
use peer::{Faults, Peer, Transport, WORDS};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Exit status and report of a run against a peer with these faults.
fn run(transport: Transport, faults: Faults, mix: &str) -> (i32, Value) {
    let peer = Peer::start(transport, faults);
    finish(start(&peer, mix, &[]))
}

fn failures(report: &Value) -> String {
    report["failures"].to_string()
}

fn assert_passes(transport: Transport) {
    let (status, report) = run(transport, Faults::default(), MIXED);
    assert_eq!((status, failures(&report).as_str()), (0, "[]"), "{report:#}");
    assert_eq!(report["verdict"], "pass");
    assert_eq!(report["sent"], 2_000);
    assert_eq!(report["answered"], 2_000);
    assert_eq!(report["books"]["compared_with_target"], true);
    let occurred: Vec<(u64, u64)> = report["kinds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kind| (kind["sent"].as_u64().unwrap(), kind["as_expected"].as_u64().unwrap()))
        .collect();
    assert_eq!(occurred, [(1_800, 1_800), (80, 80), (20, 20), (40, 40), (60, 60)]);
    let rejects: Vec<(&str, u64)> = report["rejects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reject| (reject["code"].as_str().unwrap(), reject["count"].as_u64().unwrap()))
        .collect();
    assert_eq!(rejects, [("F02", 60), ("F05", 40), ("F99", 80), ("R00", 20)]);
    assert_eq!(report["latency"]["count"], 1_980);
    assert_eq!(report["target"]["version"], "0.9-test");
}

#[test]
fn every_kind_of_packet_comes_back_as_it_should_over_tcp() {
    assert_passes(Transport::Tcp);
}

#[test]
fn every_kind_of_packet_comes_back_as_it_should_over_a_websocket() {
    assert_passes(Transport::Ws);
}

#[test]
fn every_kind_of_packet_comes_back_as_it_should_over_a_unix_socket() {
    assert_passes(Transport::Unix);
}

#[test]
fn a_run_too_short_for_every_kind_passes_and_notes_what_it_did_not_try() {
    let peer = Peer::start(Transport::Unix, Faults::default());
    // One packet: it is of one kind, and four of the mix are not tried.
    let (status, report) = finish(start(&peer, MIXED, &["--rate", "1"]));
    assert_eq!((status, failures(&report).as_str()), (0, "[]"), "{report:#}");
    let notes = report["notes"].as_array().unwrap();
    assert_eq!(notes.len(), 4, "{notes:?}");
    let why = "was not tried: fewer than 1,000 packets were sent";
    assert!(notes.iter().all(|note| note.as_str().unwrap().ends_with(why)), "{notes:?}");
}

#[test]
fn a_second_run_on_the_same_target_starts_from_its_balances() {
    let peer = Peer::start(Transport::Unix, Faults::default());
    let (first, before) = finish(start(&peer, "", &["--rate", "500"]));
    let (second, after) = finish(start(&peer, "", &["--rate", "500"]));
    assert_eq!((first, second), (0, 0), "{after:#}");
    let balance = |report: &Value| -> i128 {
        report["books"]["ends"][0]["balance_of_target"].as_str().unwrap().parse().unwrap()
    };
    assert_eq!(balance(&after), 2 * balance(&before));
}

#[test]
fn books_that_are_off_by_one_unit_in_any_word_fail_the_run() {
    let cases: Vec<(&str, &str)> =
        ["alice", "bob"].into_iter().flat_map(|name| WORDS.map(|word| (name, word))).collect();
    let runs: Vec<(Peer, Child)> = cases
        .iter()
        .map(|&case| {
            let faults = Faults { one_unit_more: Some(case), ..Faults::default() };
            let peer = Peer::start(Transport::Unix, faults);
            let child = start(&peer, "", &["--rate", "100"]);
            (peer, child)
        })
        .collect();
    for ((_peer, child), (name, word)) in runs.into_iter().zip(cases) {
        let (status, report) = finish(child);
        assert_eq!(status, 1, "{name} {word}");
        let differences = report["books"]["differences"].as_array().unwrap();
        assert_eq!(differences.len(), 1, "{name} {word}: {differences:?}");
        let text = differences[0].as_str().unwrap();
        assert!(text.starts_with(&format!("account {name}: {word} is")), "{text}");
        assert!(text.ends_with("a difference of +1"), "{text}");
    }
}

/// A run against a peer with one fault fails with status 1 and these words.
#[track_caller]
fn assert_caught(faults: Faults, words: &[&str]) {
    let (status, report) = run(Transport::Tcp, faults, MIXED);
    let failures = failures(&report);
    assert_eq!(status, 1, "{failures}");
    for word in words {
        assert!(failures.contains(word), "{word} is not in {failures}");
    }
}

#[test]
fn a_fulfillment_changed_by_the_target_is_caught() {
    let faults = Faults { changes_fulfillments: true, ..Faults::default() };
    let words = [
        "1,800 packets of kind fulfilled came back as FULFILL with a wrong preimage",
        "no packet of kind fulfilled",
        "account alice: balance is",
        "flow alice to bob",
    ];
    assert_caught(faults, &words);
}

#[test]
fn an_answer_that_comes_twice_is_counted_once() {
    let faults = Faults { answers_twice: true, ..Faults::default() };
    assert_caught(faults, &["\"2,000 answers came twice\""]);
}

#[test]
fn an_answer_that_comes_twice_while_the_books_settle_is_counted() {
    let faults = Faults { repeats_late: true, ..Faults::default() };
    let (status, report) = run(Transport::Unix, faults, "");
    assert_eq!((status, &report["strays"]["duplicate"]), (1, &Value::from(1)), "{report:#}");
    assert_eq!(report["books"]["compared_with_target"], true);
    assert!(failures(&report).contains("came twice"), "{report:#}");
}

#[test]
fn an_answer_to_nothing_is_counted_as_unexpected() {
    let faults = Faults { answers_strangers: true, ..Faults::default() };
    assert_caught(faults, &["\"2,000 answers belong to no PREPARE\""]);
}

#[test]
fn an_amount_changed_by_the_target_is_caught() {
    let faults = Faults { adds_to_amount: 1, ..Faults::default() };
    assert_caught(
        faults,
        &["amount is not floor(sent x num / den)", "came back as rejected with F00"],
    );
}

#[test]
fn an_expiry_that_was_not_shortened_is_caught() {
    let faults = Faults { keeps_expiry: true, ..Faults::default() };
    assert_caught(faults, &["expiry not shortened"]);
}

#[test]
fn data_changed_by_the_target_is_caught() {
    let faults = Faults { changes_data: true, ..Faults::default() };
    assert_caught(faults, &["data or condition changed"]);
}

#[test]
fn an_unroutable_packet_that_arrives_is_caught() {
    let faults = Faults { routes_all: true, ..Faults::default() };
    assert_caught(faults, &["delivered though unroutable", "no packet of kind unroutable"]);
}

#[test]
fn a_target_that_closes_in_the_middle_leaves_a_partial_report() {
    for transport in [Transport::Tcp, Transport::Ws, Transport::Unix] {
        let faults = Faults { closes_at: Some(700), ..Faults::default() };
        let (status, report) = run(transport, faults, MIXED);
        assert_eq!((status, &report["verdict"]), (3, &Value::from("partial")), "{report:#}");
        let reason = report["partial"].as_str().unwrap();
        assert!(reason.contains("end 'alice'") && reason.contains("the run"), "{reason}");
        let sent = report["sent"].as_u64().unwrap();
        assert!((700..2_000).contains(&sent), "{sent}");
        assert_cut(&report, 2_000);
        let answered = report["answered"].as_u64().unwrap();
        assert_eq!(answered + report["unanswered"].as_u64().unwrap(), sent);
        // The rate is that of the part of a second that packets were sent in.
        let answered_per_s = report["answered_per_s"].as_f64().unwrap();
        assert!(answered_per_s > 1.2 * answered as f64, "{answered_per_s}");
    }
}

/// Only what was due before the cut of a run of so many packets was offered, and nothing fails for
/// what it did not get to.
#[track_caller]
fn assert_cut(report: &Value, count: u64) {
    let number = |key: &str| report[key].as_u64().unwrap();
    assert_eq!(number("offered") + number("not_due"), count, "{report:#}");
    assert!((number("sent")..count).contains(&number("offered")), "{report:#}");
    assert!(!failures(report).contains("no packet of kind"), "{report:#}");
}

/// A run of a minute that gets `signal` once packets flow.
fn interrupted(peer: &Peer, mix: &str, signal: Signal) -> Child {
    let child = start(peer, mix, &["--seconds", "60"]);
    peer.wait_for_prepares(200);
    kill_process(Pid::from_child(&child), signal).unwrap();
    child
}

#[test]
fn a_signal_ends_the_sending_and_the_report_of_what_was_sent_is_partial() {
    for signal in [Signal::INT, Signal::TERM] {
        let peer = Peer::start(Transport::Tcp, Faults::default());
        let (status, report) = finish(interrupted(&peer, "", signal));
        assert_eq!((status, &report["verdict"]), (130, &Value::from("partial")), "{report:#}");
        assert!(report["partial"].as_str().unwrap().starts_with("interrupted by a signal"));
        let sent = report["sent"].as_u64().unwrap();
        assert!((200..60_000).contains(&sent), "{sent}");
        assert_cut(&report, 120_000);
        // All were answered, so that the books of what was sent could be compared.
        assert_eq!((&report["answered"], failures(&report).as_str()), (&report["sent"], "[]"));
        assert_eq!(report["books"]["compared_with_target"], true, "{report:#}");
        // The rate is that of the time that packets were sent in.
        assert!(report["answered_per_s"].as_f64().unwrap() > 500.0, "{report:#}");
    }
}

#[test]
fn of_a_run_that_was_cut_no_requirement_is_judged() {
    let faults = Faults { closes_at: Some(300), ..Faults::default() };
    let peer = Peer::start(Transport::Tcp, faults);
    let (status, report) = finish(start(&peer, "", &["--require", "loss<0.9,sent>1000000"]));
    assert_eq!(status, 3, "{report:#}");
    for row in report["requirements"].as_array().unwrap() {
        assert_eq!(row["met"], Value::Null, "{report:#}");
        assert!(row["actual"].is_number(), "{report:#}");
    }
}

#[test]
fn an_interrupted_run_waits_two_seconds_for_answers_that_do_not_come() {
    let peer = Peer::start(Transport::Unix, Faults::default());
    let child = interrupted(&peer, SILENT, Signal::INT);
    let started = Instant::now();
    let (status, report) = finish(child);
    assert_eq!((status, failures(&report).as_str()), (130, "[]"), "{report:#}");
    assert_eq!(report["unanswered"], report["sent"]);
    let elapsed = started.elapsed();
    assert!((1_900..8_000).contains(&elapsed.as_millis()), "{elapsed:?}");
}

#[test]
fn a_second_signal_ends_the_process_at_once_and_without_a_report() {
    let peer = Peer::start(Transport::Unix, Faults::default());
    let mut child = interrupted(&peer, SILENT, Signal::INT);
    let mut sentence = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut sentence).unwrap();
    assert!(sentence.contains("interrupted; waiting 2 s"), "{sentence}");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(130), 0));
}

#[test]
fn a_target_that_answers_nonsense_leaves_a_partial_report() {
    for transport in [Transport::Tcp, Transport::Ws] {
        let faults = Faults { babbles_at: Some(300), ..Faults::default() };
        let (status, report) = run(transport, faults, MIXED);
        assert_eq!(status, 3, "{report:#}");
        let reason = report["partial"].as_str().unwrap();
        assert!(reason.contains("is it a BTP server?"), "{reason}");
    }
}

#[test]
fn a_target_that_stands_still_for_a_second_is_in_the_latency_of_all_that_was_due_meanwhile() {
    let stall = Duration::from_secs(1);
    let faults = Faults { stalls_at: Some((600, stall)), ..Faults::default() };
    let peer = Peer::start(Transport::Tcp, faults);
    let (status, report) = finish(start(&peer, "", &["--seconds", "2"]));
    assert_eq!(status, 0, "{report:#}");
    let ms = |key: &str| report["latency"][key].as_u64().unwrap() / 1_000_000;
    assert!((995..3_000).contains(&ms("max_ns")), "{report:#}");
    // Two thousand of four thousand packets were due in that time, and each waited for its end. A
    // generator that waits for answers would have sent a handful, and its p90 would show nothing.
    assert!(ms("p90_ns") >= 500, "{report:#}");
    assert!(ms("p50_ns") < 500, "{report:#}");
}

#[test]
fn a_generator_that_stands_still_for_a_second_is_in_the_latency_and_not_in_the_service_time() {
    let peer = Peer::start(Transport::Tcp, Faults::default());
    let child = start(&peer, "", &["--seconds", "3"]);
    let pid = Pid::from_child(&child);
    peer.wait_for_prepares(1_000);
    kill_process(pid, Signal::STOP).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    kill_process(pid, Signal::CONT).unwrap();
    let (status, report) = finish(child);
    assert_eq!(status, 0, "{report:#}");
    let ms = |time: &str, key: &str| report[time][key].as_u64().unwrap() / 1_000_000;
    assert!((995..3_000).contains(&ms("latency", "max_ns")), "{report:#}");
    assert!(ms("latency", "p90_ns") >= 300, "{report:#}");
    assert!(ms("service", "p90_ns") < ms("latency", "p90_ns"), "{report:#}");
    assert!(report["sent_late"].as_u64().unwrap() >= 1_900, "{report:#}");
    assert!(report["send_lag_max_ns"].as_u64().unwrap() >= 995_000_000, "{report:#}");
    assert_eq!(report["generator_was_limit"], true, "{report:#}");
}

#[test]
fn input_that_cannot_be_used_is_a_sentence_and_status_2() {
    let peer = Peer::start(Transport::Tcp, Faults::default());
    let good = workload(&peer, MIXED);
    let unknown = good.replace("seconds", "secunds");
    assert_complains(&peer, &unknown, &[], 2, &["workload.toml:3: ", "`secunds`", "`seconds`"]);
    let no_rate = ["for '--rate <N>': write a whole number from 1 to 20000000"];
    for rate in ["0", "-5", "many", "99999999999999999999999"] {
        assert_complains(&peer, &good, &["--rate", rate], 2, &no_rate);
    }
    let no_seconds = ["for '--seconds <N>': write a whole number from 1 to 86400"];
    assert_complains(&peer, &good, &["--seconds", "86401"], 2, &no_seconds);
    let both = ["'--window <N>' cannot be used with '--rate <N>'"];
    assert_complains(&peer, &good, &["--window", "5", "--rate", "5"], 2, &both);
    let no_toml = good.replace("seed = 7", "seed 7");
    assert_complains(&peer, &no_toml, &[], 2, &["workload.toml:2: ", "is no TOML: write each key"]);
    let bad_url = good.replacen("btp+tcp://", "http://", 1);
    assert_complains(&peer, &bad_url, &[], 2, &["url of end 'alice'", "btp+tcp://"]);
    let bad_address = good.replace("test.peer.bob", "peer");
    assert_complains(&peer, &bad_address, &[], 2, &["'peer' is no ILP address"]);
    // What is no text is not echoed as it came.
    for name in [&b"\xff\x1b[2J"[..], b"--rate=\xff", b"--\xff"] {
        let output = load().arg("--workload").arg(OsStr::from_bytes(name)).output().unwrap();
        let sentence = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{sentence}");
        assert!(sentence.starts_with("m2-load: ") && sentence.lines().count() == 1, "{sentence}");
        assert!(!sentence.contains('\x1b'), "{sentence}");
    }
}

#[test]
fn a_connection_that_does_not_open_is_a_sentence_and_status_3() {
    let peer = Peer::start(Transport::Tcp, Faults::default());
    let good = workload(&peer, "");
    let nobody = good.replace(&peer.url("bob"), "btp+tcp://127.0.0.1:9");
    assert_complains(&peer, &nobody, &[], 3, &["end 'bob': cannot connect", "running"]);
    let no_socket = ["--control-socket", "/nonexistent/control.sock"];
    assert_complains(&peer, &good, &no_socket, 3, &["--control-socket"]);
    let other_scheme = good.replacen("btp+tcp://", "btp+ws://", 1);
    assert_complains(&peer, &other_scheme, &[], 3, &["end 'alice'", "scheme"]);
}

#[test]
fn an_end_that_the_target_does_not_know_is_status_2_and_one_not_connected_is_3() {
    let peer = Peer::start(Transport::Tcp, Faults::default());
    let control = peer.control_socket();
    let control = ["--control-socket", control.to_str().unwrap()];
    let text = workload(&peer, "").replace("name = \"bob\"", "name = \"rob\"");
    let text = text.replace("to = \"bob\"", "to = \"rob\"");
    assert_complains(&peer, &text, &control, 2, &["no account named 'rob'", "the workload"]);

    let faults = Faults { shows_nobody_connected: true, ..Faults::default() };
    let peer = Peer::start(Transport::Tcp, faults);
    let control = peer.control_socket();
    let control = ["--control-socket", control.to_str().unwrap()];
    assert_complains(&peer, &workload(&peer, ""), &control, 3, &["does not show the account"]);
}

#[test]
fn a_wrong_token_is_a_sentence_and_status_3_without_the_token() {
    for transport in [Transport::Tcp, Transport::Ws, Transport::Unix] {
        let peer = Peer::start(transport, Faults::default());
        let wrong = workload(&peer, "").replace("token-of-bob", "token-of-nobody");
        let words = ["does not accept the token", "F00 NotAcceptedError", "end 'bob'"];
        assert_complains(&peer, &wrong, &[], 3, &words);
        let path = write_workload(&peer.folder, &wrong);
        let (_, sentence) = complaint(load().arg("--workload").arg(path));
        assert!(!sentence.contains("token-of"), "{sentence}");
    }
}

#[test]
fn a_run_without_a_control_socket_still_compares_the_two_ends() {
    let peer = Peer::start(Transport::Unix, Faults::default());
    let path = write_workload(&peer.folder, &workload(&peer, MIXED));
    let output = load().arg("--workload").arg(&path).arg("--quiet").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("both ends of every flow agree; not compared with the target's"),
        "{text}"
    );
    assert!(text.lines().nth(1).unwrap().starts_with("open loop:"), "{text}");
    assert!(output.stderr.is_empty());
}

#[test]
fn lines_elsewhere_than_on_a_terminal_come_once_a_second() {
    let peer = Peer::start(Transport::Unix, Faults::default());
    let path = write_workload(&peer.folder, &workload(&peer, ""));
    let output = load().arg("--workload").arg(&path).args(["--seconds", "2"]).output().unwrap();
    let lines = String::from_utf8(output.stderr).unwrap();
    assert!((2..=4).contains(&lines.lines().count()), "{lines}");
    assert!(lines.lines().all(|line| line.contains(" sent  ")), "{lines}");
}

#[test]
fn a_closed_loop_keeps_its_window_and_says_that_it_is_one() {
    let peer = Peer::start(Transport::Tcp, Faults::default());
    let (status, report) = finish(start(&peer, "", &["--window", "50"]));
    assert_eq!((status, failures(&report).as_str()), (0, "[]"), "{report:#}");
    assert!(report["method"].as_str().unwrap().starts_with("closed loop"), "{report:#}");
    assert_eq!((&report["window"], &report["offered_per_s"]), (&Value::from(50), &Value::Null));
    assert_eq!((&report["offered"], &report["answered"]), (&report["sent"], &report["sent"]));
    // More than one window went through, and its latency is that of a packet from its sending.
    assert!(report["sent"].as_u64().unwrap() > 100, "{report:#}");
    assert_eq!(report["latency"], report["service"]);

    // Against a receiver that answers nothing, no more is ever sent than the window.
    let (_, report) = finish(interrupted_in_a_window(&peer, "50"));
    assert_eq!((&report["sent"], &report["unanswered"]), (&Value::from(50), &Value::from(50)));
}

fn interrupted_in_a_window(peer: &Peer, window: &str) -> Child {
    let before = peer.prepares();
    let child = start(peer, SILENT, &["--seconds", "60", "--window", window]);
    peer.wait_for_prepares(before + 50);
    std::thread::sleep(Duration::from_millis(200));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    child
}

#[test]
fn a_calibration_is_checked_on_every_transport() {
    for transport in ["tcp", "ws", "unix"] {
        for fulfillment in ["fixed", "stream"] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_m2-load"));
            command.args(["calibrate", "--json", "--seconds", "1", "--window", "100"]);
            command.args(["--transport", transport, "--fulfillment", fulfillment]);
            let output = command.output().unwrap();
            let calibration: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(output.status.code(), Some(0), "{calibration:#}");
            assert_eq!(calibration["failures"], serde_json::json!([]));
            assert_eq!(calibration["pairs"], calibration["service"]["count"]);
            assert!(calibration["pairs"].as_u64().unwrap() > 100, "{calibration:#}");
        }
    }
}

#[test]
fn a_generator_that_stands_still_in_a_closed_loop_is_known_too() {
    let peer = Peer::start(Transport::Tcp, Faults::default());
    let child = start(&peer, "", &["--seconds", "3", "--window", "20"]);
    let pid = Pid::from_child(&child);
    peer.wait_for_prepares(1_000);
    kill_process(pid, Signal::STOP).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    kill_process(pid, Signal::CONT).unwrap();
    let (status, report) = finish(child);
    assert_eq!((status, &report["generator_was_limit"]), (0, &Value::from(true)), "{report:#}");
    assert!(report["absent_max_ns"].as_u64().unwrap() >= 850_000_000, "{report:#}");
}

/// Goal: who sends and does not read cannot make the generator keep answers without end. Method: a
/// server that takes any token, then sends MESSAGEs as fast as it can; the generator's memory.
#[test]
fn a_target_that_sends_and_does_not_read_gets_no_more_memory_than_its_bound() {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut arrived = [0; 4096];
                let len = stream.read(&mut arrived).unwrap();
                let frame = m2_codec::btp::Frame::new_checked(&arrived[..len]).unwrap();
                let (mut response, mut flood) = (Vec::new(), Vec::new());
                m2_codec::btp::put_response(&mut response, frame.request_id(), &[]);
                (0..10_000).for_each(|id| m2_codec::btp::put_message(&mut flood, id, &[]));
                stream.write_all(&response).unwrap();
                while stream.write_all(&flood).is_ok() {}
            });
        }
    });
    let peer = Peer::start(Transport::Tcp, Faults::default());
    let url = |name: &str| format!("btp+tcp://{name}@{address}");
    let text = workload(&peer, "").replace(&peer.url("alice"), &url("alice"));
    let path = write_workload(&peer.folder, &text.replace(&peer.url("bob"), &url("bob")));
    let mut command = load();
    let child = command.args(["--quiet", "--workload"]).arg(path).spawn().unwrap();
    let mut most_kib = 0;
    for _ in 0..30 {
        std::thread::sleep(Duration::from_millis(100));
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or("VmRSS: 0 kB");
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        most_kib = most_kib.max(kib);
    }
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    drop(child.wait_with_output());
    // Two links with 16 MiB each, their growth, and the histograms.
    assert!((10_000..200_000).contains(&most_kib), "{most_kib} KiB");
}
