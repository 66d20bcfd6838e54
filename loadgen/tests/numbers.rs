//! What the binary says of its figures: requirements, and what else comes out beside the report.

#![allow(clippy::unwrap_used)] // every function here is a test's

mod peer;

use peer::generator::{assert_complains, finish, load, start, workload, write_workload};
use peer::{Faults, Peer, Transport};

#[test]
fn a_requirement_that_is_not_met_is_status_4_and_a_line_of_its_own() {
    let peer = Peer::start(Transport::Unix, Faults::default());
    let mix = "[mix]\nfulfilled = 900\nrejected = 100\n";
    let required = ["--require", "loss=0,fulfilled=90%,p50>1ns"];
    let (status, report) = finish(start(&peer, mix, &required));
    assert_eq!((status, &report["verdict"]), (0, &"pass".into()), "{report:#}");
    assert_eq!(report["requirements"][1]["actual"], 0.9, "{report:#}");

    let required = ["--require", "loss=0", "--require", "fulfilled>0.9,sent=2000"];
    let (status, report) = finish(start(&peer, mix, &required));
    assert_eq!((status, &report["verdict"]), (4, &"unmet".into()), "{report:#}");
    let met: Vec<_> =
        report["requirements"].as_array().unwrap().iter().map(|row| &row["met"]).collect();
    assert_eq!(met, [true, false, true], "{report:#}");

    let path = write_workload(&peer.folder, &workload(&peer, mix));
    let mut command = load();
    command.arg("--workload").arg(path).args(["--quiet", "--require", "fulfilled>0.9"]);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert!(text.contains("required     fulfilled>0.9              NOT MET: 0.9\n"), "{text}");
}

#[test]
fn a_run_that_failed_keeps_its_own_status_whatever_was_required() {
    let faults = Faults { answers_twice: true, ..Faults::default() };
    let peer = Peer::start(Transport::Unix, faults);
    let (status, report) = finish(start(&peer, "", &["--require", "duplicate=0"]));
    assert_eq!((status, &report["verdict"]), (1, &"fail".into()), "{report:#}");
    assert_eq!(report["requirements"][0]["actual"], 2_000.0, "{report:#}");
}

#[test]
fn a_requirement_that_cannot_be_judged_is_status_2_before_anything_is_connected() {
    let peer = Peer::start(Transport::Tcp, Faults::default());
    // Who connected would find that nobody listens, and end with 3.
    let nobody = workload(&peer, "").replace(&peer.url("alice"), "btp+tcp://127.0.0.1:9");
    for (list, words) in [
        ("p99<500us,fulfiled>0.9", "there is no 'fulfiled'; there are p50, p90,"),
        ("p99<500", "'500' does not fit: p99 is a time"),
        ("p99", "it has none of <"),
        ("target_cpu_per_pair<1us", "give --target-pid or --control-socket"),
    ] {
        assert_complains(&peer, &nobody, &["--require", list], 2, &["--require", words]);
    }
}

#[test]
fn what_stands_around_a_run_is_in_its_report() {
    let peer = Peer::start(Transport::Tcp, Faults::default());
    let (_, report) = finish(start(&peer, "", &["--rate", "100"]));
    let environment = &report["environment"];
    let command: Vec<_> =
        environment["command"].as_array().unwrap().iter().map(|word| word.as_str()).collect();
    assert_eq!(command[1..4], [Some("run"), Some("--json"), Some("--quiet")], "{report:#}");
    assert_eq!(command[command.len() - 4..][..2], [Some("--rate"), Some("100")], "{report:#}");
    let link = &environment["links"][0];
    assert_eq!((&link["transport"], &link["count"]), (&"tcp".into(), &2.into()), "{report:#}");
    assert!(link["congestion_control"].is_string(), "{report:#}");
    assert!(environment["kernel"].as_str().unwrap().starts_with("Linux "), "{report:#}");
    assert!(environment["rustc"].as_str().unwrap().starts_with("rustc 1."), "{report:#}");
    assert!(!report.to_string().contains("token-of-"), "{report:#}");
}

#[test]
fn the_cpu_time_of_the_targets_process_and_its_threads_is_told() {
    let peer = Peer::start(Transport::Tcp, Faults::default());
    // The peer is threads of this very process.
    let pid = std::process::id().to_string();
    let required = ["--target-pid", &pid, "--require", "target_cpu_per_pair>0ns"];
    let (status, report) = finish(start(&peer, "", &required));
    assert_eq!(status, 0, "{report:#}");
    let process = &report["target_process"];
    assert_eq!(process["pid"].to_string(), pid, "{report:#}");
    let threads = process["threads"].as_array().unwrap();
    assert!(threads.iter().all(|row| row["total_us"].as_u64() > Some(0)), "{report:#}");
    // Threads are read a moment after the sum.
    let total_us = process["cpu"]["total_us"].as_u64().unwrap();
    assert!(2 * total_us >= threads[0]["total_us"].as_u64().unwrap(), "{report:#}");
}

#[test]
fn a_target_pid_that_is_none_is_status_2_before_anything_is_connected() {
    let peer = Peer::start(Transport::Tcp, Faults::default());
    let nobody = workload(&peer, "").replace(&peer.url("alice"), "btp+tcp://127.0.0.1:9");
    let words = ["--target-pid 4194305: there is no such process"];
    assert_complains(&peer, &nobody, &["--target-pid", "4194305"], 2, &words);
}

#[test]
fn files_beside_the_report_hold_every_latency_and_one_that_cannot_be_made_is_status_2() {
    let peer = Peer::start(Transport::Tcp, Faults::default());
    let path = |name: &str| peer.folder.join(name).to_str().unwrap().to_owned();
    let files = ["--hgrm", &path("x.hgrm"), "--interval-log", &path("x.hlog")];
    let (status, report) = finish(start(&peer, "", &files));
    assert_eq!((status, &report["latency"]["count"]), (0, &2_000.into()), "{report:#}");
    for name in ["x.hgrm", "x.service.hgrm"] {
        let text = std::fs::read_to_string(path(name)).unwrap();
        assert!(text.contains("Total count    =         2000]"), "{text}");
    }
    let log = std::fs::read_to_string(path("x.hlog")).unwrap();
    assert!(log.lines().any(|line| line.starts_with("Tag=scheduled,0.000,")), "{log}");
    assert!(log.lines().any(|line| line.starts_with("Tag=service,0.000,")), "{log}");

    let nobody = workload(&peer, "").replace(&peer.url("alice"), "btp+tcp://127.0.0.1:9");
    for option in ["--hgrm", "--interval-log"] {
        let words = [option, "/nonexistent/x: No such file", "a path that can be written"];
        assert_complains(&peer, &nobody, &[option, "/nonexistent/x"], 2, &words);
    }
}

#[test]
fn two_files_that_are_one_are_refused_before_anything_is_connected() {
    let peer = Peer::start(Transport::Tcp, Faults::default());
    let nobody = workload(&peer, "").replace(&peer.url("alice"), "btp+tcp://127.0.0.1:9");
    let path = |name: &str| peer.folder.join(name).to_str().unwrap().to_owned();
    std::os::unix::fs::symlink(&peer.folder, path("link")).unwrap();
    for (hgrm, log) in [
        ("x", "x"),
        ("x", "./x"),
        ("x", "link/x"),
        ("x", "x.service"),
        ("x.hgrm", "link/x.service.hgrm"),
    ] {
        let files = ["--hgrm", &path(hgrm), "--interval-log", &path(log)];
        let words = ["--hgrm and --interval-log would both write ", "give them two paths"];
        assert_complains(&peer, &nobody, &files, 2, &words);
        assert!(!std::fs::exists(path(hgrm)).unwrap(), "{hgrm} {log}");
    }
}

#[test]
fn a_file_that_cannot_be_written_is_told_behind_the_report() {
    let peer = Peer::start(Transport::Tcp, Faults::default());
    let path = write_workload(&peer.folder, &workload(&peer, ""));
    let mut command = load();
    command.arg("--workload").arg(path).args(["--quiet", "--interval-log", "/dev/full"]);
    let output = command.output().unwrap();
    let (report, sentence) = (String::from_utf8(output.stdout), String::from_utf8(output.stderr));
    assert_eq!(output.status.code(), Some(2));
    assert!(report.unwrap().starts_with("m2-load PASSED: "));
    assert!(sentence.unwrap().starts_with("m2-load: --interval-log /dev/full: No space left"));
}

/// What a run says whose standard output, or interval log, is a disk without room.
fn run_with_full_disk(
    faults: Faults,
    arguments: &[&str],
    is_output: bool,
) -> (Option<i32>, String) {
    let peer = Peer::start(Transport::Unix, faults);
    let path = write_workload(&peer.folder, &workload(&peer, ""));
    let mut command = load();
    command.arg("--workload").arg(path).args(["--quiet", "--rate", "200"]).args(arguments);
    if is_output {
        command.stdout(std::fs::File::create("/dev/full").unwrap());
    }
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_report_that_cannot_be_written_is_told_and_the_runs_own_status_stays() {
    let lost = "m2-load: standard output: No space left on device";
    for arguments in [&["--json"][..], &[]] {
        let (status, sentence) = run_with_full_disk(Faults::default(), arguments, true);
        assert_eq!(status, Some(2), "{sentence}");
        assert!(sentence.starts_with(lost) && sentence.lines().count() == 1, "{sentence}");
    }
    let twice = || Faults { answers_twice: true, ..Faults::default() };
    let (status, sentence) = run_with_full_disk(twice(), &["--json"], true);
    assert_eq!(status, Some(1), "{sentence}");
    assert!(sentence.starts_with(lost), "{sentence}");
    let log = ["--interval-log", "/dev/full"];
    let (status, sentence) = run_with_full_disk(twice(), &log, false);
    assert_eq!(status, Some(1), "{sentence}");
    assert!(sentence.starts_with("m2-load: --interval-log /dev/full: No space"), "{sentence}");
}
