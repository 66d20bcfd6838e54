//! `m2-load send` and `m2-load receive` in two processes, with a peer between them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Child;

use m2_codec::btp::{self, FrameType};
use m2_codec::ilp::put_prepare;
use m2_codec::timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::peer::{Faults, Peer, Transport};
use crate::{assert_complains, ended, json, load, load_with, workload};

const MIXED: &str = "[mix]\nfulfilled = 900\nrejected = 40\nexpired = 10\nwrong_fulfillment = 20\n\
                     unroutable = 30\n";

fn peer(faults: Faults) -> Peer {
    Peer::start(Transport::Unix, faults)
}

/// A receiver that has connected.
fn receiver(peer: &Peer, text: &str, arguments: &[&str]) -> Child {
    let mut child = load_with(peer, "receive", text).args(arguments).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "m2-load: receiving, seed 7\n");
    child
}

/// Exit status and the reports, one a line.
fn received(child: Child) -> (i32, Vec<Value>) {
    let output = child.wait_with_output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let reports = lines.lines().map(|line| serde_json::from_str(line).unwrap());
    (output.status.code().unwrap(), reports.collect())
}

/// Exit status and report of a sender.
fn sent(peer: &Peer, text: &str, arguments: &[&str]) -> (i32, Value) {
    let mut command = load_with(peer, "send", text);
    command.args(["--json", "--quiet"]).args(arguments);
    let (status, stdout, stderr) = ended(command);
    (status, json(&stdout, &stderr))
}

/// Every kind of packet.
fn mixed(peer: &Peer) -> String {
    let text = workload(peer).replace("[traffic]", "[traffic]\nsilent_expiry_ms = [3000, 3500]");
    text.replacen("[[ends]]", &format!("{MIXED}[[ends]]"), 1)
}

fn assert_books_are_compared(transport: Transport) {
    let peer = Peer::start(transport, Faults::default());
    let text = mixed(&peer);
    let child = receiver(&peer, &text, &["--json", "--runs", "2"]);
    let control = peer.control_socket();
    let (first, report) = sent(&peer, &text, &["--control-socket", control.to_str().unwrap()]);
    assert_eq!((first, report["failures"].to_string().as_str()), (0, "[]"), "{report:#}");
    // The target's ledgers of both ends, although only one is played there.
    assert_eq!(report["books"]["compared_with_target"], true);
    let bob = &report["books"]["ends"][1];
    assert_eq!(bob["balance_of_target"], format!("-{}", bob["fulfilled_by_us"].as_str().unwrap()));
    let (second, again) = sent(&peer, &text, &["--rate", "1000"]);
    assert_eq!(second, 0, "{again:#}");

    let (status, runs) = received(child);
    assert_eq!((status, runs.len()), (0, 2), "{runs:#?}");
    assert_ne!(runs[0]["run"], runs[1]["run"]);
    for (report, run) in [report, again].iter().zip(&runs) {
        let books = &report["books"];
        assert_eq!(books["compared_with_receivers"], true, "{books:#}");
        assert!(books["summary"].as_str().unwrap().starts_with("both ends of every flow agree"));
        assert_eq!(books["flows"][0]["received"], books["flows"][0]["owed"]);
        assert_eq!(run["flows"][0]["received"], books["flows"][0]["received"]);
        assert_eq!((&run["fulfilled"], &run["asked"]), (&report["fulfilled"], &Value::from(true)));
        assert!(run["generator_cpu"]["total_ns_per_pair"].as_u64().unwrap() > 0, "{run:#}");
        assert!(run["faults"].as_array().unwrap().is_empty(), "{run:#}");
    }
}

#[test]
fn the_books_of_two_processes_are_compared_through_the_target_over_tcp() {
    assert_books_are_compared(Transport::Tcp);
}

#[test]
fn the_books_of_two_processes_are_compared_through_the_target_over_a_websocket() {
    assert_books_are_compared(Transport::Ws);
}

#[test]
fn the_books_of_two_processes_are_compared_through_the_target_over_a_unix_socket() {
    assert_books_are_compared(Transport::Unix);
}

#[test]
fn money_that_the_receiver_has_and_the_sender_did_not_pay_is_found() {
    let peer = peer(Faults { changes_fulfillments: true, ..Faults::default() });
    let text = workload(&peer);
    let child = receiver(&peer, &text, &["--json", "--runs", "1"]);
    let (status, report) = sent(&peer, &text, &[]);
    let (_, runs) = received(child);
    let received = runs[0]["flows"][0]["received"].as_str().unwrap();
    let difference = format!(
        "flow alice to bob: the receiver was given {received}, and alice's preimages paid for 0, a \
         difference of +{received}"
    );
    assert_eq!((status, &report["books"]["differences"][0]), (1, &Value::from(difference)));
}

#[test]
fn a_run_of_which_every_packet_has_a_fault_is_told_and_fails() {
    let peer = peer(Faults::default());
    let text = workload(&peer);
    let other_rate = text.replace("den = 2", "den = 3");
    let child = receiver(&peer, &other_rate, &["--json", "--runs", "1"]);
    let (sender, report) = sent(&peer, &text, &[]);
    let (status, runs) = received(child);
    assert_eq!((sender, status, runs.len()), (1, 1, 1), "{runs:#?}");
    assert_eq!((&runs[0]["prepares"], &runs[0]["fulfilled"]), (&report["sent"], &Value::from(0)));
    let fault = &runs[0]["faults"][0];
    assert_eq!(fault["fault"], "amount is not floor(sent x num / den)");
    assert_eq!(fault["count"], report["sent"]);
}

#[test]
fn what_belongs_to_no_run_is_told_at_the_end_and_fails() {
    let peer = peer(Faults::default());
    let child = receiver(&peer, &workload(&peer), &["--json"]);
    let (mut frames, mut packet) = (Vec::new(), Vec::new());
    btp::auth::put(&mut frames, 1, Some("alice"), "token-of-alice");
    let expires_at = timestamp::write(4_000_000_000_000);
    put_prepare(&mut packet, 10, &expires_at, &[7; 32], b"test.peer.bob", b"no header");
    btp::put_ilp(&mut frames, FrameType::Message, 2, &packet);
    let url = peer.url("alice");
    let mut alice = UnixStream::connect(url.strip_prefix("btp+unix://alice@").unwrap()).unwrap();
    alice.write_all(&frames).unwrap();
    peer.wait_for_answers(1);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let (status, runs) = received(child);
    assert_eq!((status, runs.len()), (1, 1), "{runs:#?}");
    assert_eq!((&runs[0]["run"], &runs[0]["prepares"]), (&Value::Null, &Value::from(1)));
    assert_eq!(runs[0]["faults"][0]["fault"], "not a packet of this run");
}

#[test]
fn an_answer_that_is_changed_fails_the_run_and_leaves_the_books_not_compared() {
    let peer = peer(Faults { changes_rejects_from: Some(2), ..Faults::default() });
    let text = workload(&peer);
    let child = receiver(&peer, &text, &["--json", "--runs", "1"]);
    let control = peer.control_socket();
    let (status, report) = sent(&peer, &text, &["--control-socket", control.to_str().unwrap()]);
    assert_eq!((status, report["verdict"].as_str()), (1, Some("fail")), "{report:#}");
    let books = &report["books"];
    assert_eq!(books["compared_with_receivers"], false);
    assert_eq!(books["flows"][0]["received"], Value::Null);
    let why = "'alice' asked 'bob' for its books: the answer was changed on the way";
    let summary = books["summary"].as_str().unwrap();
    let words =
        format!("NOT COMPARED with the receivers': {why}; 1 account agrees with the switch's");
    assert!(summary.starts_with(&words), "{summary}");
    assert_eq!(report["failures"], serde_json::json!([why]));
    // The receiver has told its books, as far as it knows.
    assert_eq!(received(child).0, 0);
}

#[test]
fn a_run_whose_receiver_does_not_tell_its_books_is_not_finished() {
    // The first question, the packets, and then no other question.
    let peer = peer(Faults { takes_at_most: Some(501), ..Faults::default() });
    let text = workload(&peer);
    let child = receiver(&peer, &text, &["--json"]);
    let (status, report) = sent(&peer, &text, &[]);
    assert_eq!((status, report["verdict"].as_str()), (3, Some("partial")), "{report:#}");
    assert_eq!((&report["fulfilled"], &report["failures"]), (&500.into(), &Value::Array(vec![])));
    let why = report["partial"].as_str().unwrap();
    assert!(why.starts_with("the books were not compared with the receivers': 'alice'"), "{why}");
    assert!(why.contains("T02 Peer Busy"), "{why}");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(received(child).0, 0);
}

#[test]
fn an_answer_that_comes_twice_while_books_are_asked_for_is_a_duplicate() {
    let peer = peer(Faults { repeats_late: true, ..Faults::default() });
    let text = workload(&peer);
    let child = receiver(&peer, &text, &["--json", "--runs", "1"]);
    let (status, report) = sent(&peer, &text, &[]);
    assert_eq!((status, &report["strays"]["duplicate"]), (1, &Value::from(1)), "{report:#}");
    assert_eq!(report["strays"]["unexpected"], 0);
    assert_eq!(report["books"]["compared_with_receivers"], true);
    assert_eq!(received(child).0, 0);
}

#[test]
fn a_sender_without_a_receiver_sends_nothing_and_says_what_to_start() {
    let nobody = peer(Faults::default());
    let words = ["no receiver is there", "T01 Peer Unreachable", "start `m2-load receive`"];
    assert_complains(load(&nobody, "send"), 3, &words);

    let peer = peer(Faults::default());
    let text = workload(&peer);
    let child = receiver(&peer, &text, &[]);
    let mut command = load(&peer, "send");
    command.args(["--seed", "8"]);
    assert_complains(
        command,
        3,
        &["F00 Bad Request", "'a question of another seed'", "seed first"],
    );
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(received(child).0, 0);
}

#[test]
fn a_receiver_ends_with_a_signal_and_reports_the_run_that_was_not_over() {
    for (arguments, status) in [(&["--json"][..], 0), (&["--json", "--seconds", "60"], 130)] {
        let peer = peer(Faults::default());
        let text = workload(&peer);
        let child = receiver(&peer, &text, arguments);
        let mut command = load_with(&peer, "send", &text);
        let mut sender = command.args(["--quiet", "--seconds", "60"]).spawn().unwrap();
        peer.wait_for_answers(200);
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let (actual, runs) = received(child);
        assert_eq!((actual, runs.len()), (status, 1));
        assert_eq!(runs[0]["asked"], false, "{:#}", runs[0]);
        // One of the answers was that to the sender's first question.
        assert!(runs[0]["fulfilled"].as_u64().unwrap() >= 199, "{:#}", runs[0]);
        sender.kill().unwrap();
        sender.wait().unwrap();
    }
}

#[test]
fn a_receiver_ends_when_its_time_is_over_or_its_connection() {
    let peer = peer(Faults::default());
    let text = workload(&peer);
    assert_eq!(received(receiver(&peer, &text, &["--json", "--seconds", "1"])), (0, vec![]));

    let child = receiver(&peer, &text, &["--json"]);
    peer.close("bob");
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(3), 0));
    let sentence = String::from_utf8(output.stderr).unwrap();
    assert!(sentence.contains("end 'bob': the target closed the connection"), "{sentence}");
}

#[test]
fn what_two_processes_cannot_agree_on_is_a_sentence() {
    let peer = peer(Faults::default());
    let text = workload(&peer);
    for command in ["send", "receive"] {
        let no_seed = text.replace("seed = 7\n", "");
        let words = ["the seed is not named", "--seed N to both"];
        assert_complains(load_with(&peer, command, &no_seed), 2, &words);
        let both = text.replace("role = \"receive\"", "role = \"both\"");
        let words = ["end 'bob' has the role \"both\"", "m2-load run"];
        assert_complains(load_with(&peer, command, &both), 2, &words);
    }
}
