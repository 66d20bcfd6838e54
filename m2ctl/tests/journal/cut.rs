//! `m2ctl journal cut`: from a damaged stream to a switch that starts.

use std::fs::{self, File};

use m2_core::record::Key;
use m2_journal::recover::{Options, recover};

use crate::support::{Disk, Folder, Switch, files_of, flip, run};

const SEGMENT: &str = "generation-00000001/stream-001-00000001.m2j";

/// Ten pairs from alice to bob, each in a batch of its own, and a credit; the batch of the sixth pair
/// is damaged.
fn damaged() -> Folder {
    let folder = Folder::new();
    let mut switch = Switch::start(folder.path(), &[("alice", 0), ("bob", 1)]);
    for number in 0..4 {
        switch.pair(("alice", 100), ("bob", 10), [number; 16]);
        switch.settle();
    }
    switch.snapshot();
    for number in 4..10 {
        switch.pair(("alice", 100), ("bob", 10), [number; 16]);
        switch.settle();
    }
    switch.credit("alice", Key([9; 16]), 5_000);
    switch.stop();
    // In its condition, so that its amounts can be read.
    flip(&folder.file(SEGMENT), 6 * 4096 + 165, 2);
    folder
}

/// Every file with what is in it.
fn contents(folder: &Folder) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    files_of(folder.path())
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

#[test]
fn without_yes_it_says_what_it_would_forget_and_changes_nothing() {
    let folder = damaged();
    let before = contents(&folder);
    let ran = run("cut", folder.path(), &["--stream", "1", "--position", "5"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{ran:#?}");
    let first = "cutting stream 1 of generation 1 at record 5 (generation-00000001/\
                 stream-001-00000001.m2j, byte 24576) would forget 5 records, of which 5 had been \
                 flushed";
    assert_eq!(ran.stdout.lines().next(), Some(first));
    // The damaged batch still says what it says.
    let row = |name: &str| {
        let line = ran.stdout.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
        line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("alice"), ["5", "500", "0", "0", "0"], "{ran:#?}");
    assert_eq!(row("bob"), ["0", "0", "5", "50", "0"], "{ran:#?}");
    assert!(ran.stdout.ends_with("nothing was changed: give --yes as well to cut\n"), "{ran:#?}");
    assert_eq!(contents(&folder), before);
}

#[test]
fn a_damaged_journal_starts_again_behind_a_cut() {
    let folder = damaged();
    let before = run("replay", folder.path(), &[]);
    assert_eq!(before.status, 1);
    assert!(before.stderr.contains("cut the stream there with `m2ctl journal cut`"), "{before:#?}");
    let arguments = ["--stream", "1", "--position", "5", "--yes", "--json"];
    let ran = run("cut", folder.path(), &arguments);
    assert_eq!(ran.status, 0, "{ran:#?}");
    let cut = ran.json();
    assert_eq!((&cut["done"], &cut["records_forgotten"]), (&true.into(), &5.into()), "{cut:#}");
    for path in cut["saved_as"].as_array().unwrap() {
        assert!(folder.file(path.as_str().unwrap()).is_file(), "{path}");
    }
    let ran = run("replay", folder.path(), &["--json"]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    // Five pairs are left, and the credit that had been given behind ten.
    assert_eq!(ran.lines()[1]["prepaid"], "4500", "{ran:#?}");
    assert_eq!(ran.lines()[2]["balance"], "-50", "{ran:#?}");
    assert_eq!(run("verify", folder.path(), &[]).status, 0);
    let recovered =
        recover(&mut Disk::new(folder.path()), &Options::default(), &mut |_| {}).unwrap();
    assert_eq!(recovered.notes, []);
    Switch::start(folder.path(), &[("alice", 0), ("bob", 1)]).stop();
    let ran = run("verify", folder.path(), &[]);
    assert_eq!(ran.status, 0, "{ran:#?}");
}

#[test]
fn snapshots_that_hold_what_is_cut_are_moved_aside() {
    let folder = damaged();
    let arguments = ["--stream", "1", "--position", "2", "--yes"];
    let ran = run("cut", folder.path(), &arguments);
    assert_eq!(ran.status, 0, "{ran:#?}");
    let aside = ran.stdout.matches("holds some of it, and is moved aside").count();
    assert_eq!(aside, 2, "{ran:#?}");
    let ran = run("replay", folder.path(), &["--json"]);
    assert_eq!(ran.lines()[2]["balance"], "-20", "{ran:#?}");
    assert_eq!(run("verify", folder.path(), &[]).status, 0);
    // What was cut can be put together again from what is kept.
    let kept = files_of(&folder.file("cut"));
    assert_eq!(kept.len(), 5, "two segments, the flushed position, two snapshots: {kept:?}");
}

#[test]
fn where_it_cannot_be_cut_it_says_where() {
    let folder = damaged();
    for (stream, position, sentence) in [
        ("1", "6", "the stream can be read up to record 5 only"),
        ("2", "0", "the newest generation has 2 streams"),
        ("0", "1", "the stream ends with record 1, and nothing behind it is missing"),
    ] {
        let ran = run("cut", folder.path(), &["--stream", stream, "--position", position]);
        assert_eq!(ran.status, 2, "{ran:#?}");
        assert!(ran.stderr.contains(sentence), "{ran:#?}");
    }
    let folder = Folder::new();
    let mut switch = Switch::start(folder.path(), &[("alice", 0), ("bob", 1)]);
    for _ in 0..7 {
        switch.pair(("alice", 100), ("bob", 10), [1; 16]);
    }
    switch.stop();
    let ran = run("cut", folder.path(), &["--stream", "1", "--position", "3", "--yes"]);
    assert_eq!(ran.status, 2);
    let sentence = "stands in a batch of records 0 up to 7, which is there whole or not at all: cut \
                    at 0 or at 7";
    assert!(ran.stderr.contains(sentence), "{ran:#?}");
}

#[test]
fn what_a_switch_writes_is_not_cut() {
    let folder = damaged();
    let lock = File::create(folder.file("lock")).unwrap();
    lock.lock().unwrap();
    let before = contents(&folder);
    let ran = run("cut", folder.path(), &["--stream", "1", "--position", "5", "--yes"]);
    assert_eq!(ran.status, 2, "{ran:#?}");
    assert!(ran.stderr.contains("stop it first"), "{ran:#?}");
    assert_eq!(contents(&folder), before);
}

#[test]
fn a_flushed_file_that_is_missing_is_written_anew_by_the_cut_that_the_sentence_names() {
    let folder = Folder::new();
    let mut switch = Switch::start(folder.path(), &[("alice", 0), ("bob", 1)]);
    for number in 0..4 {
        switch.pair(("alice", 100), ("bob", 10), [number; 16]);
    }
    switch.stop();
    fs::remove_file(folder.file("generation-00000001/stream-001.flushed")).unwrap();
    let before = run("replay", folder.path(), &[]);
    assert_eq!(before.status, 1);
    let named = "`m2ctl journal cut --stream 1 --position 4`, which writes it anew";
    assert!(before.stderr.contains(named), "{before:#?}");
    let ran = run("verify", folder.path(), &[]);
    assert_eq!(ran.status, 1, "{ran:#?}");
    assert!(ran.stderr.contains("stream-001.flushed is damaged (the file is missing)"), "{ran:#?}");
    let ran = run("cut", folder.path(), &["--stream", "1", "--position", "4", "--yes"]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    assert!(ran.stdout.contains("stream-001.flushed is written anew"), "{ran:#?}");
    assert_eq!(run("verify", folder.path(), &[]).status, 0);
    let ran = run("replay", folder.path(), &["--json"]);
    assert_eq!(ran.lines()[1]["balance"], "400", "{ran:#?}");
}
