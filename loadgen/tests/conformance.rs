//! `m2-load conformance` against a target that keeps the RFCs or breaks one clause: which checks
//! fail, what is said, and the exit status.

#![allow(clippy::unwrap_used)] // every function here is a test's

mod target;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use target::{AMOUNT_MAX, Target};

fn conformance(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_m2-load"));
    command.arg("conformance").args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts the checks against a target, both accounts given.
fn start(target: &Target, arguments: &[&str]) -> Child {
    let max = AMOUNT_MAX.to_string();
    let mut command =
        conformance(&["--target", &target.url("alice"), "--receiver", &target.url("bob")]);
    command.args(["--packet-amount-max", &max, "--silent-expiry-ms", "2000", "--json"]);
    command.args(arguments).spawn().unwrap()
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&output.stderr)))
}

fn ids<'a>(report: &'a Value, outcome: &str) -> Vec<&'a str> {
    let rows = report["checks"].as_array().unwrap();
    rows.iter()
        .filter(|row| row["outcome"] == outcome)
        .map(|row| row["id"].as_str().unwrap())
        .collect()
}

#[test]
fn a_target_that_keeps_the_rfcs_fails_nothing() {
    let output = start(&Target::start(&[]), &[]).wait_with_output().unwrap();
    let report = report(&output);
    assert_eq!(ids(&report, "failed"), Vec::<&str>::new(), "{report:#}");
    let missing = ["ws.ping", "ws.fragments", "ws.unmasked", "forward.amount-vanishes"];
    assert_eq!(ids(&report, "not_applicable"), missing);
    assert_eq!(output.status.code(), Some(0));
    let total = report["checks"].as_array().unwrap().len() as u64;
    let count = |name: &str| report[name].as_u64().unwrap();
    assert_eq!(count("passed") + count("not_applicable") + count("noted"), total);
    assert_eq!(report["receiver_address"], "test.target.bob");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("token-of"), "no token is shown");
}

/// Each fault of the target, and the checks that it fails.
const FAULTS: &[(&str, &[&str])] = &[
    ("takes any token", &["btp.auth-wrong-token", "btp.auth-error"]),
    ("refuses tokens without a word", &["btp.auth-error"]),
    ("serves strangers", &["btp.auth-first"]),
    ("loses the highest bit of ids", &["btp.request-id"]),
    ("rejects by a BTP ERROR", &["btp.reject-in-response", "btp.request-id-again", "route.none"]),
    ("ignores what it does not know", &["btp.unknown-subprotocol", "btp.no-entries"]),
    ("takes one entry", &["btp.secondary-entry"]),
    ("answers answers", &["btp.unexpected-response", "btp.unexpected-error"]),
    ("answers what it cannot read", &["btp.unreadable"]),
    ("takes any type", &["btp.unknown-type"]),
    ("ignores transfers", &["btp.transfer"]),
    ("counts trailing bytes", &["btp.trailing-bytes"]),
    (
        "forwards what is malformed",
        &[
            "ilp.no-bytes",
            "ilp.unknown-type",
            "ilp.answer-as-request",
            "ilp.truncated",
            "ilp.field-truncated",
            "ilp.data-too-long",
            "oer.length-beyond",
            "oer.length-indefinite",
            "timestamp",
            "address.empty",
            "address.high-bit",
            "address.last-dot",
            "address.bad-character",
            "address.too-long",
        ],
    ),
    ("says F00 for F01", &["errors.f01"]),
    ("proves IL-DCP by another preimage", &["ildcp.answer"]),
    ("tells wrong addresses", &["ildcp.address"]),
    ("forwards peer.*", &["peer.not-forwarded"]),
    ("says F00 for F02", &["route.none"]),
    ("adds data to F02", &["route.no-data"]),
    ("names nobody", &["route.triggered-by"]),
    ("routes by the first bytes", &["route.segments"]),
    ("routes everything", &["route.other-network", "route.self", "own.payment"]),
    (
        "rewrites answers",
        &["forward.fulfill", "answer.fulfill-data", "answer.reject", "answer.reject-codes"],
    ),
    ("changes the data", &["forward.unchanged"]),
    ("drops large packets", &["forward.data-sizes"]),
    ("adds a unit", &["forward.amount", "forward.amount-exact", "forward.amount-zero"]),
    ("counts in floats", &["forward.amount-exact"]),
    ("refuses zero", &["forward.amount-zero"]),
    ("says F08 without data", &["forward.amount-too-large"]),
    ("keeps the expiry", &["forward.expiry"]),
    ("says F02 for T01", &["forward.next-hop-down"]),
    ("passes wrong preimages", &["answer.wrong-preimage"]),
    (
        "passes every answer",
        &["answer.wrong-then-right", "answer.twice", "answer.reject-then-fulfill"],
    ),
    ("takes an answer for any request", &["answer.foreign-id"]),
    ("takes an answer on any connection", &["answer.other-connection"]),
    ("passes whatever comes", &["answer.malformed", "answer.prepare", "answer.wrong-preimage"]),
    ("waits when no packet comes", &["answer.empty", "answer.btp-error"]),
    ("forwards what has expired", &["expiry.past", "expiry.past-code", "expiry.epoch"]),
    ("forwards what has no time left", &["expiry.too-short"]),
    ("never gives up", &["expiry.silent", "expiry.late-fulfill"]),
];

/// Checks that no fault of the list above fails: three need a WebSocket and one a rate, and
/// interop/ shows those; one would need a target that refuses long addresses, one that loses a packet of many,
/// and so on. A check that is added and not failed by a fault is to be named here.
const UNTRIED: &[&str] = &[
    "ws.ping",
    "ws.fragments",
    "ws.unmasked",
    "btp.auth",
    "address.empty-segment",
    "address.longest",
    "forward.amount-vanishes",
    "forward.trailing-bytes",
    "forward.trailing-fields",
    "forward.many",
    "expiry.in-time",
];

#[test]
fn each_fault_of_the_target_fails_its_checks() {
    for faults in FAULTS.chunks(6) {
        let runs: Vec<_> = faults
            .iter()
            .map(|(fault, ids)| {
                let target = Target::start(&[fault]);
                let only: Vec<_> = ids.iter().flat_map(|id| ["--only", *id]).collect();
                let wait = ["--wait-ms", "1500", "--receiver-address", "test.target.bob"];
                (start(&target, &[&only[..], &wait[..]].concat()), target)
            })
            .collect();
        for ((run, _target), (fault, expected)) in runs.into_iter().zip(faults) {
            let output = run.wait_with_output().unwrap();
            let report = report(&output);
            let failed = ids(&report, "failed");
            let played = report["checks"].as_array().unwrap().len();
            assert_eq!(failed.len(), played, "{fault}: {report:#}");
            assert!(played >= expected.len(), "{fault}: {played} of {expected:?}");
            assert_eq!(output.status.code(), Some(1), "{fault}");
        }
    }
}

#[test]
fn every_check_that_judges_is_failed_by_a_fault_or_named() {
    let output = start(&Target::start(&[]), &["--wait-ms", "1500"]).wait_with_output().unwrap();
    let report = report(&output);
    let is_tried = |id: &str| {
        FAULTS
            .iter()
            .flat_map(|(_, ids)| *ids)
            .any(|only| id == *only || id.split('.').next() == Some(*only))
    };
    let untried: Vec<_> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["level"] != "open")
        .map(|row| row["id"].as_str().unwrap())
        .filter(|id| !is_tried(id))
        .collect();
    let mut named = UNTRIED.to_vec();
    named.sort_by_key(|id| untried.iter().position(|untried| untried == id));
    assert_eq!(untried, named);
}

#[test]
fn without_a_receiver_what_is_forwarded_does_not_apply() {
    let target = Target::start(&[]);
    let mut command = conformance(&["--target", &target.url("alice"), "--json"]);
    let output = command.output().unwrap();
    let report = report(&output);
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    let ids = ids(&report, "not_applicable");
    assert!(ids.contains(&"forward.fulfill") && !ids.contains(&"route.none"), "{ids:?}");
}

#[test]
fn where_no_packet_reaches_the_receiver_that_alone_fails_and_nothing_rests_on_it() {
    let target = Target::start(&[]);
    let output = start(&target, &["--receiver-address", "test.target.nobody"]).wait_with_output();
    let output = output.unwrap();
    let report = report(&output);
    assert_eq!(ids(&report, "failed"), ["forward.fulfill"], "{report:#}");
    let ids = ids(&report, "not_applicable");
    assert!(ids.contains(&"address.high-bit") && ids.contains(&"expiry.past"), "{ids:?}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_text_says_what_failed_and_the_file_holds_the_same() {
    let target = Target::start(&["says F00 for F02"]);
    let file =
        std::env::temp_dir().join(format!("m2-load-conformance-{}.json", std::process::id()));
    let path = file.to_str().unwrap();
    let mut command = conformance(&["--target", &target.url("alice"), "--only", "route.none"]);
    let output = command.args(["--name", "somebody", "--json-file", path]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for words in [
        "conformance of somebody: FAILED",
        "0 passed, 1 failed (0 must, 1 should), 0 not applicable, 0 noted",
        "IL-RFC 27, Error Codes",
        "REJECT F00 Bad Request",
        "expected  REJECT F02 Unreachable",
        "it says   \"a reason\"",
    ] {
        assert!(text.contains(words), "{words} is not in {text}");
    }
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(kept["checks"][0]["message"], "a reason");
    assert_eq!(output.status.code(), Some(1));
}

/// What is said on stderr, and the exit status.
#[track_caller]
fn assert_refused(arguments: &[&str], status: i32, words: &[&str]) {
    let output = conformance(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{text}");
    for word in words {
        assert!(text.contains(word), "{word} is not in {text}");
    }
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn a_command_line_that_cannot_be_used_says_what_to_write() {
    let good = "btp+ws://alice:secret@127.0.0.1:9/";
    for (arguments, words) in [
        (&["--target", "http://127.0.0.1/"][..], &["--target", "btp+ws://"][..]),
        (&["--target", "btp+ws://alice@127.0.0.1:9/"], &["no token", "--token-file"]),
        (&["--target", good, "--token-file", "/dev/null"], &["/dev/null is empty"]),
        (
            &["--target", good, "--token-file", "/nowhere/token"],
            &["/nowhere/token", "must hold the token"],
        ),
        (&["--target", good, "--receiver", good], &["must be another account"]),
        (
            &["--target", good, "--unroutable", "nowhere"],
            &["--unroutable 'nowhere' is no ILP address"],
        ),
        (&["--target", good, "--rate", "0.5"], &["--rate '0.5'", "5/2"]),
        (&["--target", good, "--amount", "0"], &["--amount 0 is out of range"]),
        (&["--target", good, "--wait-ms", "1"], &["--wait-ms 1 is out of range; it takes 100 to"]),
        (&["--target", good, "--only", "no.such"], &["--only no.such", "btp, ws, ilp"]),
        (&["--target", good, "--frobnicate"], &["--frobnicate"]),
        (&[], &["--target"]),
    ] {
        assert_refused(arguments, 2, words);
    }
}

#[test]
fn a_target_that_is_not_there_or_knows_us_not_ends_in_a_sentence() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("btp+tcp://alice:secret@{free}");
    assert_refused(&["--target", &nobody], 3, &["cannot connect to", "is the target running"]);
    let wrong = Target::start(&[]).url("alice").replace("token-of-alice", "secret");
    assert_refused(
        &["--target", &wrong],
        3,
        &["does not accept the token", "F00 NotAcceptedError"],
    );
}

#[test]
fn a_target_that_answers_nothing_ends_in_a_sentence() {
    let url = Target::start(&["is silent"]).url("alice");
    let words = ["took the token", "within 200 ms", "--wait-ms"];
    assert_refused(&["--target", &url, "--wait-ms", "200"], 3, &words);
}

#[test]
fn a_target_that_talks_nonsense_ends_in_a_sentence() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("btp+tcp://alice:secret@{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 256];
        let _ = stream.read(&mut buffer);
        let _ = stream.write_all(
            b"SSH-2.0-OpenSSH_9.9, and as many words as a frame that begins so would have\r\n",
        );
    });
    assert_refused(&["--target", &url], 3, &["is no BTP", "scheme of the url"]);
}

/// The run ends before its last check, with what it found until then, and says why.
#[track_caller]
fn assert_partial(fault: &'static str, words: &str) {
    let target = Target::start(&[fault]);
    let arguments = ["--only", "route", "--only", "forward", "--wait-ms", "500"];
    let output = start(&target, &arguments).wait_with_output().unwrap();
    let report = report(&output);
    assert_eq!(output.status.code(), Some(3), "{report:#}");
    assert!(report["partial"].as_str().unwrap().contains(words), "{report:#}");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(words), "{text}");
}

#[test]
fn a_target_that_dies_ends_in_a_partial_report() {
    assert_partial("dies", "the target was lost at");
}

#[test]
fn a_target_that_falls_silent_ends_in_a_partial_report() {
    assert_partial(
        "falls silent",
        "answered neither an IL-DCP request nor a PREPARE within 500 ms",
    );
}
