//! `m2-load search` against a peer with a known limit.
//!
//! The limit is a number of PREPAREs on one connection, so that no clock and no other program moves
//! it: trials of a second find just that many a second.

use rustix::process::{Pid, Signal, kill_process};

use crate::peer::{Faults, Peer, Transport};
use crate::{assert_complains, ended, json, load};

const LIMIT: u64 = 700;

fn limited() -> Peer {
    let faults = Faults { takes_at_most: Some(LIMIT), ..Faults::default() };
    Peer::start(Transport::Unix, faults)
}

#[test]
fn the_rate_that_the_target_takes_is_found_and_every_loss_is_told() {
    let peer = limited();
    let mut command = load(&peer, "search");
    command.args(["--json", "--from", "500", "--to", "1000", "--final-trials", "1"]);
    command.args(["--final-seconds", "2", "--control-socket"]).arg(peer.control_socket());
    let (status, stdout, stderr) = ended(command);
    let report = json(&stdout, &stderr);
    assert_eq!(status, i32::from(report["good"].is_null()), "{stderr}");
    let trials = report["trials"].as_array().unwrap();
    // Of no second program on the machine: a loss is the peer's, to the packet.
    let mut held_up = false;
    for trial in trials {
        let number = |key: &str| trial[key].as_u64().unwrap();
        let offered = number("rate_per_s") * number("seconds");
        assert_eq!(number("offered"), offered);
        held_up |= trial["limit"] == "generator";
        if number("missed_by_generator") == 0 {
            assert_eq!(number("lost"), offered.saturating_sub(LIMIT), "{trial:#}");
        }
        assert_eq!(trial["good"] == true, trial["limit"].is_null(), "{trial:#}");
        if trial["limit"] == "target" {
            let why = trial["why"].as_str().unwrap();
            assert!(why.ends_with(" rejected with T02"), "{why}");
        }
    }
    // Trials of two seconds lose at 500/s what one of a second did not.
    assert!(held_up || (report["bad"]["rate_per_s"] == 500 && report["good"].is_null()));
    assert_eq!(report["environment"]["links"][0]["transport"], "unix", "{report:#}");
    let lines: Vec<&str> = stderr.lines().collect();
    assert!(lines[1].starts_with("open loop:"), "{stderr}");
    let told = lines.iter().filter(|line| line.contains("/s for ")).count();
    assert_eq!(told, trials.len(), "{stderr}");
}

#[test]
fn trials_are_printed_and_the_last_line_names_the_rate_and_what_was_too_many() {
    let peer = limited();
    let mut command = load(&peer, "search");
    command.args(["--from", "600", "--to", "800", "--goal-width", "0.1", "--final-seconds", "1"]);
    let (status, stdout, stderr) = ended(command);
    let result = stdout.lines().find(|line| line.starts_with("result")).unwrap();
    // Not where another program held this one up for half of two trials.
    if !stdout.contains("GENERATOR") {
        assert_eq!((status, stderr.as_str()), (0, ""), "{stdout}");
        let rate = |bound: &str| -> u64 {
            bound.split(' ').next().unwrap().replace(',', "").parse().unwrap()
        };
        let (good, bad) = result.split_once("; ").unwrap();
        let (good, bad) = (rate(good.split_whitespace().nth(1).unwrap()), rate(bad));
        assert!(good <= LIMIT && LIMIT < bad && bad <= good * 11 / 10, "{stdout}");
        assert!(result.contains("with no loss") && result.contains("T02"), "{result}");
    }
}

#[test]
fn a_fault_that_no_rate_excuses_fails_the_search_in_any_trial() {
    // Of every trial the target takes all, and in the first it answers twice.
    let faults = Faults { answers_twice_up_to: Some(50), ..Faults::default() };
    let peer = Peer::start(Transport::Unix, faults);
    let mut command = load(&peer, "search");
    command.args(["--json", "--from", "100", "--to", "100", "--final-seconds", "1"]);
    let (status, stdout, stderr) = ended(command);
    let report = json(&stdout, &stderr);
    assert_eq!(status, 1, "{stderr}");
    let trials = report["trials"].as_array().unwrap();
    let faults: Vec<bool> = trials.iter().map(|trial| trial["fault"].is_string()).collect();
    assert!(faults[0] && faults[1..].iter().all(|fault| !fault), "{report:#}");
    let why = "the trial at 100 a second for 1 s: 50 answers came twice";
    assert_eq!(report["failures"], serde_json::json!([why]));
    assert!(stderr.ends_with(&format!("\nFAILED       {why}\n")), "{stderr}");
}

#[test]
fn a_signal_ends_the_search_with_what_was_found_until_then() {
    let peer = limited();
    let mut command = load(&peer, "search");
    command.args(["--json", "--trial-seconds", "60", "--quiet"]);
    let child = command.spawn().unwrap();
    peer.wait_for_prepares(100);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    let report = json(std::str::from_utf8(&output.stdout).unwrap(), &stderr);
    assert_eq!(report["partial"], "interrupted by a signal");
    assert!(stderr.ends_with("m2-load: interrupted by a signal\n"), "{stderr}");
}

#[test]
fn a_search_that_cannot_be_made_is_a_sentence() {
    let peer = limited();
    let search = |arguments: &[&str]| {
        let mut command = load(&peer, "search");
        command.args(arguments);
        command
    };
    assert_complains(search(&["--from", "9", "--to", "8"]), 2, &["--from 9", "lower one first"]);
    assert_complains(search(&["--to", "20000001"]), 2, &["to 20000000"]);
    assert_complains(search(&["--trial-seconds", "0"]), 2, &["--trial-seconds"]);
    assert_complains(search(&["--final-trials", "0"]), 2, &["--final-trials is 0"]);
    let (status, _, stderr) = ended(search(&["--max-p99", "500"]));
    assert_eq!(status, 2);
    assert!(stderr.contains("is a time: write"), "{stderr}");

    let faults = Faults { refuses_tokens: true, ..Faults::default() };
    let peer = Peer::start(Transport::Unix, faults);
    let mut command = load(&peer, "search");
    command.args(["--json", "--quiet"]);
    let (status, stdout, stderr) = ended(command);
    assert_eq!(status, 3, "{stderr}");
    assert!(stderr.contains("the trial at 1000 a second could not begin"), "{stderr}");
    assert!(json(&stdout, &stderr)["summary"].as_str().unwrap().starts_with("PARTIAL"));
}
