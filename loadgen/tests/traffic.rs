//! The binary against a small connector: traffic of other shapes than the usual one, and what is
//! checked all the same.

#![allow(clippy::unwrap_used)] // every function here is a test's
#![allow(dead_code)] // the peer is shared with tests that use more of it

mod peer;

use std::process::{Command, Stdio};

use peer::{Faults, Peer, Transport};
use serde_json::Value;

const MIXED: &str = "[mix]\nfulfilled = 900\nrejected = 60\nwrong_fulfillment = 20\n\
                     unroutable = 20\n";

/// A workload of two ends, with these lines at the top and in `[traffic]`.
fn workload(peer: &Peer, top: &str, traffic: &str) -> String {
    let (alice, bob) = (peer.url("alice"), peer.url("bob"));
    format!(
        r#"
seed = 7
{top}
[traffic]
amount = [2, 1000]
expiry_ms = [5000, 9000]
{traffic}
{MIXED}
[[ends]]
name = "alice"
url = "{alice}"
token = "token-of-alice"
role = "send"
[[ends]]
name = "bob"
url = "{bob}"
token = "token-of-bob"
role = "receive"
address = "test.peer.bob"
[[flows]]
from = "alice"
to = "bob"
num = 5
den = 2
"#
    )
}

/// Exit status and report of a run.
fn run(faults: Faults, top: &str, traffic: &str) -> (i32, Value) {
    let peer = Peer::start(Transport::Tcp, faults);
    let path = peer.folder.join("workload.toml");
    std::fs::write(&path, workload(&peer, top, traffic)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_m2-load"));
    command.args(["run", "--json", "--quiet", "--workload"]).arg(path).stdin(Stdio::null());
    let output = command.arg("--control-socket").arg(peer.control_socket()).output().unwrap();
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), report)
}

const STEADY: &str = "seconds = 1\nrate_per_s = 2000";

#[track_caller]
fn assert_all_as_expected(report: &Value) {
    let occurred: Vec<(u64, u64)> = report["kinds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kind| (kind["sent"].as_u64().unwrap(), kind["as_expected"].as_u64().unwrap()))
        .collect();
    assert_eq!(occurred, [(1_800, 1_800), (120, 120), (0, 0), (40, 40), (40, 40)], "{report:#}");
    assert_eq!(report["books"]["compared_with_target"], true);
    assert_eq!(report["failures"].to_string(), "[]");
}

#[test]
fn packets_with_a_fixed_fulfillment_come_back_as_they_should() {
    let (status, report) = run(Faults::default(), STEADY, "fulfillment = \"fixed\"");
    assert_eq!(status, 0, "{report:#}");
    assert_all_as_expected(&report);
    assert_eq!((&report["fulfillment"], &report["repeat"]), (&"fixed".into(), &Value::Null));
}

#[test]
fn packets_that_are_repeated_come_back_as_they_should() {
    for fulfillment in ["stream", "fixed"] {
        let lines = format!("fulfillment = \"{fulfillment}\"\nrepeat = 1000");
        let (status, report) = run(Faults::default(), STEADY, &lines);
        assert_eq!(status, 0, "{report:#}");
        assert_all_as_expected(&report);
        assert_eq!(
            (&report["fulfillment"], &report["repeat"]),
            (&fulfillment.into(), &1000.into())
        );
    }
}

#[test]
fn phases_and_packets_by_chance_are_all_sent_and_answered() {
    let phases = "arrivals = { process = \"poisson\" }\n[[phases]]\nseconds = 1\nrate_per_s = 200\n\
                  to_rate_per_s = 1800\n[[phases]]\nseconds = 1\nrate_per_s = 1000\n";
    let (status, report) = run(Faults::default(), phases, "");
    assert_eq!(status, 0, "{report:#}");
    assert_all_as_expected(&report);
    assert_eq!((&report["offered"], &report["offered_per_s"]), (&2_000.into(), &1_000.into()));
    assert_eq!(report["arrivals"], "poisson");
    let ramp = &report["phases"][0];
    assert_eq!((&ramp["rate_per_s"], &ramp["to_rate_per_s"]), (&200.into(), &1800.into()));
}

#[test]
fn many_destinations_mixed_expiries_and_sizes_come_back_as_they_should() {
    let lines = "amount_shape = \"log\"\n[destinations]\ncount = 500\nzipf = 1.2\ndepth = 5\n";
    let (status, report) = run(Faults::default(), STEADY, lines);
    assert_eq!(status, 0, "{report:#}");
    assert_all_as_expected(&report);
}

/// A run against a peer with one fault fails with status 1 and these words.
#[track_caller]
fn assert_caught(faults: Faults, traffic: &str, words: &[&str]) {
    let (status, report) = run(faults, STEADY, traffic);
    let failures = report["failures"].to_string();
    assert_eq!(status, 1, "{report:#}");
    for word in words {
        assert!(failures.contains(word), "{word} is not in {failures}");
    }
}

#[test]
fn a_fixed_fulfillment_hides_no_change_of_data_amount_or_preimage() {
    let fixed = "data_bytes = [40, 40]\nfulfillment = \"fixed\"";
    let faults = || Faults::default();
    assert_caught(
        Faults { changes_data: true, ..faults() },
        fixed,
        &["data or condition changed", "rejected with F00"],
    );
    assert_caught(
        Faults { adds_to_amount: 1, ..faults() },
        fixed,
        &["amount is not floor(sent x num / den)"],
    );
    assert_caught(
        Faults { changes_fulfillments: true, ..faults() },
        fixed,
        &["FULFILL with a wrong preimage", "account alice: balance is"],
    );
    assert_caught(Faults { keeps_expiry: true, ..faults() }, fixed, &["expiry not shortened"]);
}

#[test]
fn a_repeated_packet_hides_an_expiry_that_was_kept_and_no_other_change() {
    let repeated = "repeat = 1000";
    let keeps = Faults { keeps_expiry: true, ..Faults::default() };
    assert_eq!(run(keeps, STEADY, repeated).0, 0);
    let changes = Faults { changes_data: true, ..Faults::default() };
    assert_caught(changes, repeated, &["data or condition changed"]);
    let twice = Faults { answers_twice: true, ..Faults::default() };
    assert_caught(twice, repeated, &["2,000 answers came twice"]);
}
