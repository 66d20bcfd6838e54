//! `m2ctl journal dump` and `ls`.

use std::process::{Command, Stdio};

use fastrand::Rng;
use m2_core::record::{Key, LateFulfill, Record};
use m2_core::{AccountId, ConnectionId, sha256_of_32};
use m2_journal::Retention;
use serde_json::{Value, json};

use crate::support::{BEGAN_MS, Folder, Switch, random_journal, run};

/// Two shards, every kind of record, two generations.
fn of_every_kind() -> Folder {
    let folder = Folder::new();
    let accounts = [("alice", 0), ("bob", 1), ("carol \"x\"\u{1b}", 1)];
    let mut switch = Switch::start(folder.path(), &accounts);
    switch.pair(("alice", 100), ("bob", 99), [0xab; 16]);
    switch.pair(("bob", 50), ("alice", 49), [0xcd; 16]);
    switch.settle();
    switch.credit("alice", Key([1; 16]), 30);
    switch.keyed(Record::Frozen, "bob", Key([2; 16]), 40);
    switch.keyed(Record::Settled, "bob", Key([2; 16]), 40);
    switch.limits("alice", 7, 8);
    switch.now_ms += 1;
    let late = LateFulfill {
        connection: ConnectionId { account: AccountId(1), epoch: 5.try_into().unwrap() },
        request_id: 77,
        came_at_ms: switch.now_ms,
        fulfillment: [9; 32],
    };
    switch.append("bob", &Record::LateFulfill(late));
    switch.stop();
    let mut switch = Switch::start(folder.path(), &accounts);
    switch.now_ms += 1_000;
    switch.pair(("alice", 1), ("carol \"x\"\u{1b}", 1), [0xab; 16]);
    switch.stop();
    folder
}

fn records(folder: &Folder, arguments: &[&str]) -> Vec<Value> {
    let ran = run("dump", folder.path(), &[&["--json"], arguments].concat());
    assert_eq!(ran.status, 0, "{ran:#?}");
    let lines = ran.lines();
    assert_eq!(lines[0]["type"], "dump");
    assert_eq!(lines.last().unwrap()["type"], "end");
    lines.into_iter().filter(|line| line["type"] == "record").collect()
}

fn kinds(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["kind"].as_str().unwrap()).collect()
}

#[test]
fn every_record_is_one_line_in_the_order_of_time() {
    let folder = of_every_kind();
    let all = records(&folder, &[]);
    assert_eq!(
        kinds(&all),
        ["pair", "pair", "credited", "frozen", "settled", "limits", "late_fulfill", "pair"]
    );
    let alice = json!({ "number": 0, "name": "alice" });
    let bob = json!({ "number": 1, "name": "bob" });
    assert_eq!(
        all[0],
        json!({
            "type": "record", "generation": 1, "stream": 1, "position": 0,
            "at": "2026-11-21T18:40:00.001Z", "at_ms": BEGAN_MS + 1, "kind": "pair",
            "account_in": alice, "amount_in": "100", "account_out": bob, "amount_out": "99",
            "condition_head": "ab".repeat(16), "rate_version": 3, "durability": "sync",
        })
    );
    assert_eq!(
        all[2],
        json!({
            "type": "record", "generation": 1, "stream": 0, "position": 1,
            "at": "2026-11-21T18:40:00.003Z", "at_ms": BEGAN_MS + 3, "kind": "credited",
            "account": alice, "key": "01".repeat(16), "amount": "30", "applied": [1, 1],
        })
    );
    assert_eq!(
        all[5],
        json!({
            "type": "record", "generation": 1, "stream": 0, "position": 2,
            "at": "2026-11-21T18:40:00.006Z", "at_ms": BEGAN_MS + 6, "kind": "limits",
            "account": alice, "balance_max": "7", "payable_max": "8",
        })
    );
    let condition = sha256_of_32(&[9; 32]);
    let head: String = condition[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        all[6],
        json!({
            "type": "record", "generation": 1, "stream": 1, "position": 3,
            "at": "2026-11-21T18:40:00.007Z", "at_ms": BEGAN_MS + 7, "kind": "late_fulfill",
            "account": bob, "epoch": 5, "request_id": 77, "fulfillment": "09".repeat(32),
            "condition_head": head,
        })
    );
    assert_eq!((&all[7]["generation"], &all[7]["position"]), (&2.into(), &0.into()));
}

#[test]
fn records_are_chosen_by_account_time_condition_kind_generation_and_stream() {
    let folder = of_every_kind();
    let count = |arguments: &[&str]| records(&folder, arguments).len();
    assert_eq!(count(&["--account", "alice"]), 5);
    assert_eq!(count(&["--account", "0"]), 5);
    assert_eq!(count(&["--account", "carol \"x\"\u{1b}"]), 1);
    assert_eq!(count(&["--from", "2026-11-21T18:40:00.003Z"]), 6);
    let (from, to) = ((BEGAN_MS + 3).to_string(), (BEGAN_MS + 6).to_string());
    assert_eq!(count(&["--from", &from, "--to", &to]), 4);
    assert_eq!(count(&["--condition", "ab"]), 2);
    assert_eq!(count(&["--condition", "ABAB"]), 2);
    assert_eq!(count(&["--condition", &"ab".repeat(16)]), 2);
    assert_eq!(count(&["--condition", "abac"]), 0);
    assert_eq!(count(&["--kind", "pair"]), 3);
    assert_eq!(count(&["--kind", "late-fulfill", "--kind", "settled"]), 2);
    assert_eq!(count(&["--generation", "2"]), 1);
    assert_eq!(count(&["--stream", "0"]), 3);
    assert_eq!(count(&["--account", "bob", "--kind", "pair", "--condition", "cd"]), 1);
    // The condition of a late FULFILL is the hash of what it told.
    let condition = sha256_of_32(&[9; 32]);
    let two = format!("{:02x}{:02x}", condition[0], condition[1]);
    assert_eq!(kinds(&records(&folder, &["--condition", &two])), ["late_fulfill"]);
}

#[test]
fn a_person_gets_a_table_that_moves_no_cursor() {
    let folder = of_every_kind();
    let ran = run("dump", folder.path(), &[]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{ran:#?}");
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 9);
    let words: Vec<_> = lines[1].split_whitespace().collect();
    assert_eq!(words[..5], ["1", "1", "0", "2026-11-21T18:40:00.001Z", "pair"]);
    let tail = format!("alice 100 -> bob 99, condition {}, rates 3, sync", "ab".repeat(16));
    assert!(lines[1].ends_with(&tail), "{}", lines[1]);
    assert!(lines[8].contains(r#"carol "x"\u{1b} 1"#), "{}", lines[8]);
}

#[test]
fn for_the_peer_nothing_of_others_is_told() {
    let folder = of_every_kind();
    let ran = run("dump", folder.path(), &["--json", "--account", "alice", "--for-peer"]);
    assert_eq!(ran.status, 0);
    for other in ["bob", "carol", "99", "50", "rate_version", "balance_max"] {
        assert!(!ran.stdout.contains(other), "{other}: {ran:#?}");
    }
    let lines = ran.lines();
    assert_eq!(
        lines[1],
        json!({
            "type": "record", "generation": 1, "stream": 1, "position": 0,
            "at": "2026-11-21T18:40:00.001Z", "at_ms": BEGAN_MS + 1, "kind": "leg",
            "account": { "number": 0, "name": "alice" }, "direction": "in", "amount": "100",
            "condition_head": "ab".repeat(16),
        })
    );
    assert_eq!((&lines[2]["direction"], &lines[2]["amount"]), (&"out".into(), &"49".into()));
    let ran = run("dump", folder.path(), &["--for-peer"]);
    assert_eq!(ran.status, 2, "{ran:#?}");
}

/// Positions before and after any window are what a replay comes to there.
#[test]
fn positions_are_those_of_a_replay() {
    for seed in 0..15 {
        let rng = &mut Rng::with_seed(300 + seed);
        let folder = Folder::new();
        // Old segments go: then the sums begin at a snapshot.
        let retention = if rng.bool() { Retention::Delete } else { Retention::Keep };
        let recovered = random_journal(rng, folder.path(), retention);
        let ran = run("dump", folder.path(), &["--json"]);
        let lines = ran.lines();
        let told: Vec<_> = lines.iter().filter(|line| line["type"] == "account").collect();
        assert_eq!(told.len(), recovered.accounts.len());
        for (line, account) in told.iter().zip(&recovered.accounts) {
            let expected = account.image.words.position().to_string();
            assert_eq!(line["position_after"], expected, "seed {seed}: {line}");
        }
        // A window that ends at any moment, where all records are there.
        if retention == Retention::Keep {
            let end = rng.u64(..2_000).to_string();
            let ran = run("dump", folder.path(), &["--json", "--to", &end, "--account", "0"]);
            let line = ran.lines().into_iter().find(|line| line["type"] == "account").unwrap();
            assert_eq!(line["position_before"], "0", "seed {seed}");
            let begin = run("dump", folder.path(), &["--json", "--from", &end, "--account", "0"]);
            let lines = begin.lines();
            let behind = lines.iter().find(|line| line["type"] == "account").unwrap();
            // Both windows have what was decided at that very moment.
            let both = lines.iter().any(|line| line["at_ms"].as_u64() == end.parse().ok());
            assert!(both || behind["position_before"] == line["position_after"], "seed {seed}");
        }
    }
}

#[test]
fn whoever_wants_no_more_ends_it_without_a_word() {
    let folder = Folder::new();
    let mut switch = Switch::start(folder.path(), &[("alice", 0), ("bob", 1)]);
    for number in 0..20_000 {
        switch.pair(("alice", number), ("bob", 1), [1; 16]);
    }
    switch.stop();
    let mut child = Command::new(env!("CARGO_BIN_EXE_m2ctl"))
        .args(["journal", "dump"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn what_stands_before_damage_is_dumped() {
    let folder = of_every_kind();
    let segment = folder.file("generation-00000001/stream-001-00000001.m2j");
    crate::support::flip(&segment, 2 * 4096 + 140, 1);
    let ran = run("dump", folder.path(), &["--json"]);
    assert_eq!(ran.status, 1, "{ran:#?}");
    assert!(ran.stderr.contains("stream-001-00000001.m2j is damaged at byte 8192"), "{ran:#?}");
    let lines = ran.lines();
    let end = lines.last().unwrap();
    assert_eq!(end["records"], 5, "{end}");
    assert_eq!(end["damage"].as_array().unwrap().len(), 1, "{end}");
}

#[test]
fn files_are_listed_with_the_records_in_them() {
    let folder = of_every_kind();
    let ran = run("ls", folder.path(), &["--json"]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    let listed = ran.json();
    assert_eq!(listed["is_running"], false);
    let first = &listed["generations"][0];
    assert_eq!((&first["shards"], &first["accounts"]), (&2.into(), &3.into()));
    assert_eq!(first["flushed"], json!([3, 4]));
    let segment = &first["segments"][0];
    assert_eq!(segment["file"], "generation-00000001/stream-000-00000001.m2j");
    assert_eq!((&segment["from"], &segment["to"]), (&0.into(), &3.into()));
    let ran = run("ls", folder.path(), &[]);
    assert!(ran.stdout.contains("generation 2: 2 shards, 3 accounts, 2 keys"), "{ran:#?}");
    assert!(ran.stdout.contains("prepared, not used yet"), "{ran:#?}");
    assert!(ran.stdout.contains("flushed position of stream 1: 4"), "{ran:#?}");
    crate::support::flip(&folder.file("generation-00000001/base.m2s"), 80, 1);
    let ran = run("ls", folder.path(), &[]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    assert!(ran.stdout.contains("generation 1: generation-00000001/base.m2s is damaged"));
}
