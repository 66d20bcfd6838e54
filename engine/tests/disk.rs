//! The journal's disk in trouble: what a peer sees, what an operator is told, what the next start has.
//!
//! The kernel itself refuses the writes: a limit on the size of files is set on the running process,
//! and lifted again. What it cannot be made to do here, a flush that fails or takes seconds, is tried
//! with a disk of the test's own in `journal/thread.rs`, and in the simulation.

#![allow(clippy::unwrap_used)] // test code, though not inside of a test

mod support;

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use m2_codec::ilp::ErrorCode;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use support::*;

const SEGMENT: u64 = 1 << 20;

/// No file of the switch may be written beyond so many bytes.
fn limit_files(switch: &Switch, bytes: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(switch.pid()).unwrap());
    let limit = Rlimit { current: bytes, maximum: None };
    prlimit(pid, Resource::Fsize, limit).unwrap();
}

fn balance(switch: &Switch, name: &str) -> i64 {
    switch.account(name, "balance").as_str().unwrap().parse().unwrap()
}

/// Sends packets one at a time, each fulfilled, until one is refused or the connection ends: how many
/// came through, and the code of the refusal. Each takes a page of the journal.
fn pay_until_refused(alice: &mut Peer, bob: &mut Peer, most: u32) -> (u32, Option<ErrorCode>) {
    for paid in 0..most {
        alice.send_prepare(paid, &prepare("test.m2m.bob", 1, 3));
        // Whoever gets something first: bob the packet, or alice the refusal.
        if !bob.wait_readable(alice) {
            let Next::Frame(answer) = alice.next() else { return (paid, None) };
            return (paid, Some(answer.reject_code()));
        }
        bob.fulfill_next(&preimage(3));
        assert_eq!(alice.frame().fulfillment(), preimage(3));
    }
    (most, None)
}

fn fails_in_order(io: &str) {
    let spill = Folder::new();
    let journal = format!("io = \"{io}\"\nspill = {:?}", spill.path());
    let mut switch = Switch::start_with_journal(&journal);
    let (mut alice, mut bob) = (switch.peer("tcp", "alice"), switch.peer("tcp", "bob"));
    pay(&mut alice, &mut bob, "test.m2m.bob", 1);
    limit_files(&switch, Some(SEGMENT / 4));
    let (paid, code) = pay_until_refused(&mut alice, &mut bob, 1_000);
    // T03, or the switch had ended before the next packet came.
    assert!(code.is_none_or(|code| code == ErrorCode::T03_CONNECTOR_BUSY));
    assert!((10..1_000).contains(&paid), "{paid} came through");
    assert_eq!(switch.wait_for_exit().code(), Some(4));
    let log = switch.log();
    for words in [
        "the journal has failed and is not written any more",
        "a fulfilled packet is not in the journal",
        "spilled: the next start takes them in",
        "stopped, as the journal has failed",
    ] {
        assert!(log.contains(words), "{words:?} is not in the log: {log}");
    }
    // Without the spill, what it has would be forgotten for good.
    let away = spill.path().with_extension("away");
    std::fs::rename(spill.path(), &away).unwrap();
    let (status, told) = switch.fail_to_start();
    assert_eq!(status, Some(2));
    assert!(told.contains("is not where the last start had it"), "{told}");
    std::fs::rename(&away, spill.path()).unwrap();
    let list = switch.folder().join("journal/undelivered-00000001.jsonl");
    // An attempt to list them was cut short by the power.
    let unfinished = list.with_extension("jsonl.tmp");
    std::fs::write(&unfinished, "x".repeat(1 << 20)).unwrap();
    // Every packet that alice saw fulfilled counts after the next start, those of the spill too.
    switch.restart();
    assert!(switch.log().contains("spilled records were taken in"));
    assert_eq!(balance(&switch, "alice"), i64::from(paid) + 1);
    assert_eq!(balance(&switch, "bob"), -i64::from(paid) - 1);
    // Nobody knows whether alice has the FULFILL of the last, which was spilled.
    let list = std::fs::read_to_string(&list).unwrap();
    let last: Value = serde_json::from_str(list.lines().last().unwrap()).unwrap();
    assert_eq!(last["position"], paid, "{list}");
    assert!(!unfinished.exists());
    switch.kill_and_restart();
    assert_eq!(balance(&switch, "alice"), i64::from(paid) + 1, "they are taken in once");
}

#[test]
fn a_write_that_fails_ends_the_switch_in_order_and_loses_nothing() {
    fails_in_order("io_uring");
}

#[test]
fn so_does_one_without_io_uring() {
    fails_in_order("blocking");
}

#[test]
fn a_spill_folder_of_another_journal_is_refused_and_what_others_left_is_not_taken() {
    let spill = Folder::new();
    let mut switch = Switch::start_with_journal(&format!("spill = {:?}", spill.path()));
    let (note, mark) =
        (switch.folder().join("journal/spill-folder"), spill.path().join("m2-spill"));
    let texts = [&note, &mark].map(|file| std::fs::read_to_string(file).unwrap());
    let journal = texts[0].trim_end().rsplit_once('\n').unwrap().1.to_owned();
    assert!(journal.len() == 32 && journal != "0".repeat(32), "{journal}");
    assert!(texts[1].contains(&journal), "{texts:?}");
    switch.kill();
    let other = "5".repeat(32);
    for (file, text, words) in
        [(&mark, &texts[1], "is another journal's"), (&note, &texts[0], "says where journal 5555")]
    {
        std::fs::write(file, text.replace(&journal, &other)).unwrap();
        let (status, told) = switch.fail_to_start();
        assert_eq!(status, Some(2));
        assert!(told.contains(words) && told.contains(&journal) && told.contains(&other), "{told}");
        std::fs::write(file, text).unwrap();
    }
    // What is there already is not written again; what is not, is written whole.
    let inode = |file: &Path| std::fs::metadata(file).unwrap().ino();
    let was = inode(&mark);
    std::fs::remove_file(&note).unwrap();
    let unfinished = note.with_extension("tmp");
    std::fs::write(&unfinished, "x".repeat(1_000)).unwrap();
    let others = "spill-55555555-00000000-00000001-000-00000000000000000000.m2j";
    std::fs::write(spill.path().join(others), "not read").unwrap();
    switch.restart();
    assert_eq!(inode(&mark), was);
    assert_eq!(std::fs::read_to_string(&note).unwrap(), texts[0]);
    assert!(!unfinished.exists());
    assert!(switch.log().contains("this spill file is another journal's"), "{}", switch.log());
    assert!(spill.path().join(others).exists());
}

/// Room for two segments of each stream, beside a file that takes the place of more.
fn small() -> String {
    format!("{}m", 6 + 2 * SHARDS)
}

const FILLER: &str = "head -c 5500000 /dev/zero > journal/filler";

#[test]
fn a_full_disk_refuses_new_packets_until_there_is_room() {
    let switch = Switch::start_on_a_small_disk(&small(), FILLER);
    let (mut alice, mut bob) = (switch.peer("tcp", "alice"), switch.peer("tcp", "bob"));
    // On a busy machine it may be slow before it is full.
    let mut paid = 0;
    wait("the disk is full", || {
        let (more, code) = pay_until_refused(&mut alice, &mut bob, 2_000);
        assert_eq!(code, Some(ErrorCode::T03_CONNECTOR_BUSY), "{more} came through");
        paid += more;
        let journal = switch.ask(&json!({ "cmd": "journal" }));
        let reason = journal["reason"].as_str().unwrap();
        journal["state"] == "refusing"
            && reason.contains("a segment cannot be prepared: No space left")
    });
    std::fs::remove_file(switch.folder_as_it_sees_it().join("journal/filler")).unwrap();
    wait("there is room again", || switch.ask(&json!({ "cmd": "journal" }))["state"] == "ready");
    // The shard hears of it a moment later.
    wait("packets are taken again", || pay_until_refused(&mut alice, &mut bob, 1).0 == 1);
    assert_eq!(balance(&switch, "alice"), i64::from(paid) + 1);
}

/// Goal: a disk that is full of the journal itself has room again without anybody's help. Method: the
/// file that takes the place of more segments stays, and the disk fills up several times.
#[test]
fn a_full_disk_gets_room_from_what_snapshots_hold() {
    let switch = Switch::start_on_a_small_disk(&small(), FILLER);
    let (mut alice, mut bob) = (switch.peer("tcp", "alice"), switch.peer("tcp", "bob"));
    let state = || switch.ask(&json!({ "cmd": "journal" }))["state"].clone();
    let mut paid = 0;
    for _ in 0..3 {
        wait("the disk is full", || {
            paid += pay_until_refused(&mut alice, &mut bob, 2_000).0;
            state() == "refusing"
        });
        wait("there is room again", || state() == "ready");
        wait("packets are taken again", || {
            let (more, _) = pay_until_refused(&mut alice, &mut bob, 1);
            paid += more;
            more == 1
        });
    }
    assert_eq!(balance(&switch, "alice"), i64::from(paid));
}

/// The first of the stream that has the records of packets to bob: his shard decides them.
fn first_segment() -> String {
    format!("stream-{:03}-00000001.m2j", SHARDS - 1)
}

/// The segments that there are of the first generation.
fn segments(switch: &Switch) -> Vec<String> {
    let generation = switch.folder().join("journal/generation-00000001");
    let entries = std::fs::read_dir(generation).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("stream-") && name.ends_with(".m2j")).collect()
}

#[test]
fn segments_go_though_a_peer_reads_nothing() {
    let switch = Switch::start_with_journal("snapshot_bytes = 65536");
    let (mut alice, mut bob) = (switch.peer("tcp", "alice"), switch.peer("tcp", "bob"));
    // REJECTs wait for carol, more than a socket holds.
    let mut carol = switch.peer("unix", "carol");
    for request_id in 0..10_000 {
        carol.send_prepare(request_id, &prepare("test.nowhere", 1, 1));
    }
    wait("all are refused", || switch.account("carol", "rejects_out") == 10_000);
    // Each packet takes a page: a segment of a mebibyte has 255.
    let first = first_segment();
    assert!(segments(&switch).contains(&first));
    let mut paid = 0;
    while segments(&switch).contains(&first) {
        pay(&mut alice, &mut bob, "test.m2m.bob", 1);
        paid += 1;
        assert!(paid < 2_000, "it never goes: {:?}", segments(&switch));
    }
    assert!(paid > 255, "its records are in it until then");
}

#[test]
fn a_segment_that_cannot_be_opened_for_want_of_descriptors_is_opened_later() {
    let switch = Switch::start_with_journal("");
    let (mut alice, mut bob) = (switch.peer("tcp", "alice"), switch.peer("tcp", "bob"));
    let pid = Pid::from_raw(i32::try_from(switch.pid()).unwrap());
    let limit = |current| {
        prlimit(pid, Resource::Nofile, Rlimit { current: Some(current), maximum: Some(4096) })
    };
    // The first record is to open the first segment.
    limit(3).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(300));
            limit(4096).unwrap();
        });
        pay(&mut alice, &mut bob, "test.m2m.bob", 1);
    });
    assert_eq!(balance(&switch, "alice"), 1);
    assert_eq!(switch.ask(&json!({ "cmd": "journal" }))["state"], "ready");
}

#[test]
fn a_start_waits_for_the_room_that_the_generation_before_leaves() {
    let mut before = Switch::start_with_journal("");
    let (mut alice, mut bob) = (before.peer("tcp", "alice"), before.peer("tcp", "bob"));
    // A page each: two segments of a mebibyte, nearly full.
    for _ in 0..500 {
        pay(&mut alice, &mut bob, "test.m2m.bob", 1);
    }
    before.kill();
    let journal = before.folder().join("journal");
    for name in segments(&before) {
        // Those that have nothing yet would be removed first, and make room.
        if !name.ends_with("-00000001.m2j") && !name.ends_with("-00000002.m2j") {
            std::fs::remove_file(journal.join("generation-00000001").join(name)).unwrap();
        }
    }
    // Room for the new base, and for no segment beside the old ones.
    let size = format!("{}", (u32::from(SHARDS) << 21) + (1 << 19));
    let switch = Switch::start_on_a_small_disk(
        &size,
        &format!("cp -r --sparse=never {journal:?}/. journal/"),
    );
    assert_eq!(balance(&switch, "alice"), 500);
    assert_eq!(switch.ask(&json!({ "cmd": "journal" }))["state"], "ready");
}

#[test]
fn what_cannot_be_retired_is_told() {
    let mut switch = Switch::start_with_journal("");
    switch.kill();
    std::fs::create_dir(switch.folder().join("journal/generation-00000001/notes")).unwrap();
    switch.restart();
    let complaint = || switch.ask(&json!({ "cmd": "journal" }))["complaint"].clone();
    wait("it is told", || {
        complaint().as_str().is_some_and(|it| it.contains("generation-00000001 stays: notes"))
    });
    switch.wait_for_log("keeps what it no longer needs");
}

#[test]
fn a_disk_that_can_only_be_read_is_told_at_the_start() {
    // With a journal that an earlier start has left, and without.
    for before in ["mkdir journal/generation-00000001", "true"] {
        let script = format!("{before} && mount -o remount,ro journal");
        let (status, told) = Switch::fail_on_a_small_disk("8m", &script);
        assert_eq!(status, Some(2), "{told}");
        let said = told.contains("cannot be written") && told.contains("Read-only file system");
        assert!(said, "{told}");
    }
}

#[test]
fn b21_money_and_limits_outlive_a_kill_under_their_keys() {
    let mut switch = Switch::start_with_journal("");
    let (mut alice, mut bob) = (switch.peer("tcp", "alice"), switch.peer("tcp", "bob"));
    pay(&mut alice, &mut bob, "test.m2m.bob", 100);
    let key = |number: u32| format!("{number:032x}");
    let order = |switch: &Switch, order: Value| switch.ask(&order);
    let credit = json!({ "cmd": "credit", "account": "alice", "key": key(1), "amount": "130" });
    let freeze = json!({ "cmd": "freeze", "account": "bob", "key": key(2), "settle_to": "40" });
    let limits =
        json!({ "cmd": "limits", "account": "carol", "balance_max": 7, "payable_max": "8" });
    assert_eq!(order(&switch, credit.clone()), json!({ "ok": true, "known": false }));
    let frozen = json!({ "ok": true, "known": false, "amount": "60" });
    assert_eq!(order(&switch, freeze.clone()), frozen);
    assert_eq!(order(&switch, limits)["ok"], true);
    switch.kill_and_restart();
    let words = |switch: &Switch, name: &str| {
        ["balance", "prepaid", "frozen"].map(|word| switch.account(name, word))
    };
    assert_eq!(words(&switch, "alice"), ["0", "30", "0"]);
    assert_eq!(words(&switch, "bob"), ["-40", "0", "60"]);
    assert!(switch.log().contains("balance_max=7 payable_max=8"), "{}", switch.log());
    assert_eq!(order(&switch, credit)["known"], true);
    assert_eq!(order(&switch, freeze)["amount"], "60");
    let other = json!({ "cmd": "reverse", "account": "alice", "key": key(1), "amount": "130" });
    assert_eq!(order(&switch, other)["ok"], false);
    let not_its = json!({ "cmd": "settled", "account": "alice", "key": key(2) });
    assert_eq!(order(&switch, not_its)["ok"], false);
    let settled = json!({ "cmd": "settled", "account": "bob", "key": key(2) });
    assert_eq!(order(&switch, settled.clone()), json!({ "ok": true, "known": false }));
    switch.kill_and_restart();
    assert_eq!(order(&switch, settled)["known"], true);
    let cancelled = json!({ "cmd": "cancelled", "account": "bob", "key": key(2) });
    assert_eq!(order(&switch, cancelled)["ok"], false);
    assert_eq!(words(&switch, "bob"), ["-40", "0", "0"]);
    // The limit that was set by an order binds still.
    let mut carol = switch.peer("tcp", "carol");
    carol.send_prepare(1, &prepare("test.m2m.bob", 8, 1));
    assert_eq!(carol.frame().reject_code(), ErrorCode::T04_INSUFFICIENT_LIQUIDITY);
}

/// Method: the test holds the lock that a write at the disk would hold, as no disk is slow on demand.
#[test]
fn a_start_waits_for_what_a_killed_switch_has_at_the_disk() {
    let mut switch = Switch::start_with_journal("");
    let (mut alice, mut bob) = (switch.peer("tcp", "alice"), switch.peer("tcp", "bob"));
    pay(&mut alice, &mut bob, "test.m2m.bob", 1);
    switch.kill();
    let segment = switch.folder().join("journal/generation-00000001").join(first_segment());
    let writing = std::fs::File::open(segment).unwrap();
    writing.lock().unwrap();
    let told = switch.begin_to_restart("still has a write at the disk: the start waits for it");
    assert!(!told.contains("journal read"), "{told}");
    drop(writing);
    switch.get_ready();
    assert_eq!(balance(&switch, "bob"), -1);
}

#[test]
fn one_process_has_a_journal_at_a_time() {
    let switch = Switch::start_with_journal("");
    let other = Folder::new();
    let file = other.path().join("switch.toml");
    let text = std::fs::read_to_string(switch.folder().join("switch.toml")).unwrap();
    let journal = format!("[journal]\npath = {:?}", switch.folder().join("journal"));
    std::fs::write(&file, text.replace("[journal]", &journal)).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_m2-switch"))
        .args(["run", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("is another process's: stop that one, or write another path"), "{told}");
}

#[test]
fn damage_below_what_was_flushed_stops_the_start() {
    let mut switch = Switch::start_with_journal("");
    let (mut alice, mut bob) = (switch.peer("tcp", "alice"), switch.peer("tcp", "bob"));
    for _ in 0..3 {
        pay(&mut alice, &mut bob, "test.m2m.bob", 1);
    }
    switch.kill();
    let segment = switch.folder().join("journal/generation-00000001").join(first_segment());
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[4096 + 200] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let (status, told) = switch.fail_to_start();
    assert_eq!(status, Some(2));
    let damaged = format!("{} is damaged at byte 4096", first_segment());
    for words in [&*damaged, "restore the file", "m2ctl"] {
        assert!(told.contains(words), "{words:?} is not in: {told}");
    }
}

#[test]
fn a_tail_that_was_torn_is_cut_saved_aside_and_told() {
    let mut switch = Switch::start_with_journal("");
    let (mut alice, mut bob) = (switch.peer("tcp", "alice"), switch.peer("tcp", "bob"));
    for _ in 0..3 {
        pay(&mut alice, &mut bob, "test.m2m.bob", 1);
    }
    switch.kill();
    let generation = switch.folder().join("journal/generation-00000001");
    let segment = generation.join(first_segment());
    let mut bytes = std::fs::read(&segment).unwrap();
    // Behind the three batches, a page each, as a write that the power cut short may leave it.
    bytes[4 * 4096..4 * 4096 + 700].fill(0x5a);
    std::fs::write(&segment, bytes).unwrap();
    switch.restart();
    let words = format!("stream {} ends before record 3", SHARDS - 1);
    assert!(switch.log().contains(&words), "{}", switch.log());
    let saved = std::fs::read_dir(switch.folder().join("journal/cut")).unwrap().count();
    assert_eq!((saved, balance(&switch, "alice")), (1, 3));
}
