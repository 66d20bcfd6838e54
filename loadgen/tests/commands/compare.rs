//! `m2-load compare` of two peers. What is compared here is counted, not timed, so that no other
//! program on the machine changes what must be found.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::peer::{Faults, Peer, Transport};
use crate::{assert_complains, ended, json, workload};

fn file(peer: &Peer) -> PathBuf {
    let path = peer.folder.join("workload.toml");
    std::fs::write(&path, workload(peer)).unwrap();
    path
}

fn compare(a: &Peer, b: &Peer, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_m2-load"));
    command.arg("compare").arg(file(a)).arg(file(b)).args(arguments).args(["--seconds", "1"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn a_peer_that_takes_half_is_lower_and_what_is_the_same_is_no_difference() {
    let a = Peer::start(Transport::Unix, Faults::default());
    let faults = Faults { takes_at_most: Some(250), ..Faults::default() };
    let b = Peer::start(Transport::Unix, faults);
    let arguments = ["--json", "--trials", "6", "--measure", "fulfilled,sent"];
    let (status, stdout, stderr) = ended(compare(&a, &b, &arguments));
    // Trials of B lose packets, which their workload does not say.
    assert_eq!(status, 1, "{stderr}");
    let report = json(&stdout, &stderr);
    let measures = report["measures"].as_array().unwrap();
    assert_eq!(measures[0]["finding"], "lower", "{report:#}");
    assert_eq!(measures[0]["ratio"]["median"], 0.5);
    assert_eq!(measures[1]["finding"], "no_difference");
    assert_eq!(measures[1]["a"]["median"], 500.0);
    let trials = report["trials"].as_array().unwrap();
    let sides: String = trials.iter().map(|trial| trial["side"].as_str().unwrap()).collect();
    assert_eq!(sides, "ABBAABBAABBAAB");
    for trial in trials {
        let is_b = trial["side"] == "B";
        assert_eq!(trial["values"]["fulfilled"], if is_b { 0.5 } else { 1.0 });
        let failure = trial["failure"].as_str().unwrap_or_default();
        assert_eq!(failure.contains("rejected with T02"), is_b, "{failure}");
    }
    assert_eq!(report["environment"]["links"][0]["transport"], "unix", "{report:#}");
    let told = stderr.lines().filter(|line| line.contains("   fulfilled ")).count();
    assert_eq!(told, 14, "{stderr}");
    assert!(stderr.lines().nth(1).unwrap().starts_with("open loop:"), "{stderr}");
    assert!(stderr.contains("B / A = 0.500 (0.500 to 0.500): B is LOWER"), "{stderr}");
    assert!(stderr.contains("B / A = 1.000 (1.000 to 1.000): no difference"), "{stderr}");
}

#[test]
fn a_against_a_is_no_difference_and_status_0() {
    let peer = Peer::start(Transport::Unix, Faults::default());
    let arguments = ["--trials", "6", "--measure", "fulfilled"];
    let (status, stdout, stderr) = ended(compare(&peer, &peer, &arguments));
    assert_eq!((status, stderr.as_str()), (0, ""), "{stdout}");
    assert!(stdout.contains(": no difference\n"), "{stdout}");
}

#[test]
fn the_seeds_of_both_workloads_are_told() {
    let a = Peer::start(Transport::Unix, Faults::default());
    let b = Peer::start(Transport::Unix, Faults::default());
    let mut command = compare(&a, &b, &["--json", "--trials", "6", "--measure", "sent"]);
    let other = workload(&b).replace("seed = 7", "seed = 8");
    std::fs::write(b.folder.join("workload.toml"), other).unwrap();
    let child = command.spawn().unwrap();
    a.wait_for_prepares(1);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let report = json(std::str::from_utf8(&output.stdout).unwrap(), &stderr);
    assert_eq!((&report["seed"], &report["seed_b"]), (&7.into(), &8.into()), "{report:#}");
    assert!(stderr.lines().next().unwrap().ends_with("seeds 7 of A, 8 of B"), "{stderr}");
}

#[test]
fn one_workload_is_compared_at_two_targets_in_a_closed_loop() {
    let a = Peer::start(Transport::Unix, Faults::default());
    let b = Peer::start(Transport::Unix, Faults { takes_at_most: Some(1), ..Faults::default() });
    let target = b.url("alice").replace("alice@", "");
    let arguments = ["--json", "--quiet", "--trials", "6", "--measure", "fulfilled"];
    let mut command = compare(&a, &a, &arguments);
    command.args(["--window", "20", "--target-b", &target]);
    let (_, stdout, stderr) = ended(command);
    let report = json(&stdout, &stderr);
    assert!(report["method"].as_str().unwrap().starts_with("closed loop:"), "{report:#}");
    assert_eq!(report["measures"][0]["finding"], "lower", "{report:#}");
}

#[test]
fn a_comparison_that_cannot_be_made_is_a_sentence() {
    let peer = Peer::start(Transport::Unix, Faults::default());
    let both = compare(&peer, &peer, &["--window", "5", "--rate", "5"]);
    assert_complains(both, 2, &["'--window <N>' cannot be used with '--rate <N>'"]);
    let few = compare(&peer, &peer, &["--trials", "5"]);
    assert_complains(few, 2, &["--trials is 5", "from 6"]);
    let no_process = compare(&peer, &peer, &["--target-pid-b", "4194999"]);
    assert_complains(no_process, 2, &["4194999"]);
    let (status, _, stderr) = ended(compare(&peer, &peer, &["--measure", "p98"]));
    assert_eq!(status, 2);
    assert!(stderr.contains("there is no 'p98'; there are p50"), "{stderr}");
    let no_cpu = compare(&peer, &peer, &["--measure", "target_cpu_per_pair"]);
    assert_complains(no_cpu, 2, &["CPU time of A's target", "for both sides"]);

    let arguments = ["--json", "--quiet", "--control-socket-a", "/nonexistent/control.sock"];
    let (status, stdout, stderr) = ended(compare(&peer, &peer, &arguments));
    assert_eq!(status, 3, "{stderr}");
    assert!(stderr.starts_with("m2-load: a trial of A could not begin: "), "{stderr}");
    let report = json(&stdout, &stderr);
    assert!(report["partial"].as_str().unwrap().starts_with("a trial of A"), "{report:#}");
    assert!(report["measures"].as_array().unwrap().is_empty());
}
