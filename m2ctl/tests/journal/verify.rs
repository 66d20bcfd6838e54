//! `m2ctl journal verify`.

use std::fs::{self, File};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use fastrand::Rng;
use m2_core::record::{Key, Record};
use m2_journal::recover::{Options, Recovered, inspect};
use m2_journal::{Error, Retention, hash};

use crate::support::{Disk, Folder, Switch, change_byte, files_of, flip, random_journal, run};

fn recovered(folder: &Folder) -> Result<Recovered, Error> {
    inspect(&mut Disk::new(folder.path()), &Options::default(), &mut |_| {})
}

#[test]
fn any_history_that_was_written_is_found_good() {
    for seed in 0..40 {
        let rng = &mut Rng::with_seed(seed);
        let folder = Folder::new();
        let retention = [Retention::Keep, Retention::Archive, Retention::Delete][rng.usize(..3)];
        random_journal(rng, folder.path(), retention);
        let ran = run("verify", folder.path(), &["--json"]);
        assert_eq!(ran.status, 0, "seed {seed}: {ran:#?}");
        let report = ran.json();
        for generation in report["generations"].as_array().unwrap() {
            assert_eq!(generation["identities"], "hold", "seed {seed}: {report:#}");
        }
    }
}

/// Bob's shard has no leg in any stream but what goes out of its own. Its snapshots name all the same
/// how far streams were durable; its credits, what it was told.
#[test]
fn a_credit_may_name_less_than_the_snapshot_before_it() {
    let folder = Folder::new();
    let mut switch = Switch::start(folder.path(), &[("alice", 0), ("bob", 1)]);
    for number in 0..20 {
        switch.pair(("alice", 100), ("bob", 10), [number; 16]);
        switch.settle();
        if number % 8 == 4 {
            switch.snapshot();
            switch.credit_untold("bob", Key([number; 16]), 5);
        }
    }
    switch.stop();
    let ran = run("verify", folder.path(), &[]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    let now = recovered(&folder).unwrap();
    let balances = now.accounts.iter().map(|it| it.image.words.balance - it.image.words.prepaid);
    assert_eq!(balances.collect::<Vec<_>>(), [2_000, -200 - 10]);
}

/// Whatever byte changes: it is found, or a start comes to the same words without it.
#[test]
fn a_changed_byte_is_found_or_nobody_needs_it() {
    let (mut found, mut harmless) = (0, 0);
    for seed in 0..20 {
        let rng = &mut Rng::with_seed(seed);
        let folder = Folder::new();
        let before = random_journal(rng, folder.path(), Retention::Keep);
        let files = files_of(folder.path());
        for _ in 0..8 {
            let file = &files[rng.usize(..files.len())];
            let len = fs::metadata(file).unwrap().len();
            let (offset, bit) = (rng.u64(..len), rng.u8(..8));
            flip(file, offset, bit);
            let ran = run("verify", folder.path(), &[]);
            let place = format!("seed {seed}, {} byte {offset}: {ran:#?}", file.display());
            match ran.status {
                0 => {
                    let now = recovered(&folder).unwrap_or_else(|error| panic!("{error} {place}"));
                    assert_eq!(now.accounts, before.accounts, "{place}");
                    harmless += 1;
                }
                1 => {
                    assert!(ran.stdout.contains("DAMAGED"), "{place}");
                    assert!(ran.stderr.contains("m2ctl: "), "{place}");
                    found += 1;
                }
                _ => panic!("{place}"),
            }
            flip(file, offset, bit);
        }
        assert_eq!(run("verify", folder.path(), &[]).status, 0);
    }
    assert!(found > 40 && harmless > 10, "{found} found, {harmless} harmless");
}

/// In a generation that has ended, every byte of a segment, a base and a snapshot counts.
#[test]
fn in_an_older_generation_every_byte_counts() {
    for seed in 0..5 {
        let rng = &mut Rng::with_seed(1_000 + seed);
        let folder = Folder::new();
        random_journal(rng, folder.path(), Retention::Keep);
        Switch::start(folder.path(), &[]).stop();
        let files = files_of(&folder.file("generation-00000001"));
        for file in files.iter().filter(|file| file.extension().unwrap() != "flushed") {
            let len = fs::metadata(file).unwrap().len();
            let (offset, bit) = (rng.u64(..len), rng.u8(..8));
            flip(file, offset, bit);
            let ran = run("verify", folder.path(), &["--generation", "1"]);
            assert_eq!(ran.status, 1, "seed {seed}, {} byte {offset}: {ran:#?}", file.display());
            flip(file, offset, bit);
        }
        for file in files.iter().filter(|file| file.extension().unwrap() != "flushed") {
            let whole = fs::read(file).unwrap();
            fs::write(file, &whole[..rng.usize(..whole.len())]).unwrap();
            let ran = run("verify", folder.path(), &["--generation", "1"]);
            assert_eq!(ran.status, 1, "seed {seed}, {} cut: {ran:#?}", file.display());
            fs::write(file, whole).unwrap();
        }
    }
}

fn two_shards() -> (Folder, Switch) {
    let folder = Folder::new();
    let switch = Switch::start(folder.path(), &[("alice", 0), ("bob", 1)]);
    (folder, switch)
}

#[test]
fn the_sentence_names_file_byte_and_choice() {
    let (folder, mut switch) = two_shards();
    for number in 0..10 {
        switch.pair(("alice", 100), ("bob", 99), [number; 16]);
        switch.settle();
    }
    switch.stop();
    let segment = folder.file("generation-00000001/stream-001-00000001.m2j");
    change_byte(&segment, 4 * 4096 + 130, |byte| byte ^ 1);
    let ran = run("verify", folder.path(), &[]);
    assert_eq!(ran.status, 1);
    let sentence = "stream-001-00000001.m2j is damaged at byte 16384 (the hash does not fit the \
                    bytes), and with it records of stream 1 from 3 on, of which those below 10 had \
                    been flushed";
    assert!(ran.stderr.contains(sentence), "{ran:#?}");
    assert!(ran.stdout.contains("the words could NOT be checked"), "{ran:#?}");
}

#[test]
fn a_tail_that_was_never_flushed_is_no_damage() {
    let (folder, mut switch) = two_shards();
    switch.pair(("alice", 100), ("bob", 99), [1; 16]);
    switch.settle();
    switch.stop();
    let segment = folder.file("generation-00000001/stream-001-00000001.m2j");
    change_byte(&segment, 3 * 4096, |_| 7);
    let ran = run("verify", folder.path(), &["--json"]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    assert_eq!(ran.json()["generations"][0]["streams"][1]["end"], "tail");
    let ran = run("dump", folder.path(), &[]);
    assert_eq!((ran.status, ran.stdout.lines().count()), (0, 2));
    assert!(ran.stderr.contains("a crash left something that was never flushed"), "{ran:#?}");
}

/// Words that are wrong under right hashes are found by reckoning.
#[test]
fn a_snapshot_or_base_that_says_other_words_is_found_under_a_right_hash() {
    let (folder, mut switch) = two_shards();
    switch.pair(("alice", 100), ("bob", 99), [1; 16]);
    switch.settle();
    switch.snapshot();
    switch.pair(("alice", 11), ("bob", 10), [2; 16]);
    switch.stop();
    Switch::start(folder.path(), &[("alice", 0), ("bob", 1)]).stop();
    assert_eq!(run("verify", folder.path(), &[]).status, 0);

    // A snapshot: head 72, two positions, account, reserved, limits, balance.
    let snapshot = folder.file("generation-00000001/shard-000-00000001.m2s");
    let say = |path: &std::path::Path, offset: usize, sentence: &str| {
        let whole = fs::read(path).unwrap();
        let mut other = whole.clone();
        other[offset] ^= 1;
        hash::seal(&mut other, &hash::Hash::NONE);
        fs::write(path, other).unwrap();
        let ran = run("verify", folder.path(), &[]);
        assert_eq!(ran.status, 1, "{ran:#?}");
        assert!(ran.stderr.contains(sentence), "{ran:#?}");
        assert!(ran.stdout.contains("the words do NOT agree"), "{ran:#?}");
        fs::write(path, whole).unwrap();
    };
    say(
        &snapshot,
        72 + 2 * 8 + 24,
        "generation 1, account alice: the snapshot at record 0 says balance 101, prepaid 0, frozen \
         0; the records come to balance 100, prepaid 0, frozen 0",
    );
    // The base: head 64, two ends of 40, account, reserved, limits, balance.
    let base = folder.file("generation-00000002/base.m2s");
    say(
        &base,
        80 + 2 * 40 + 24,
        "generation-00000002/base.m2s says of alice: balance 110, prepaid 0, frozen 0; the records \
         before come to balance 111, prepaid 0, frozen 0",
    );
}

/// Records that stand on another disk are no damage, and count where that is named.
#[test]
fn what_was_spilled_is_known_by_the_next_base() {
    let (folder, spill) = (Folder::new(), Folder::new());
    let accounts = [("alice", 0), ("bob", 1)];
    let mut switch = Switch::start(folder.path(), &accounts);
    switch.pair(("alice", 100), ("bob", 99), [1; 16]);
    switch.settle();
    switch.spill_pair(spill.path(), ("alice", 10), ("bob", 9));
    let with_spill = ["--json", "--spill", spill.path().to_str().unwrap()];
    // Not taken in yet: the next start will.
    let ran = run("replay", folder.path(), &with_spill);
    assert_eq!(ran.lines()[1]["balance"], "110", "{ran:#?}");
    Switch::start_with(folder.path(), &accounts, Some(spill.path())).stop();
    let file = fs::read_dir(spill.path()).unwrap().next().unwrap().unwrap();
    let taken_in = format!("taken-in-{}", file.file_name().into_string().unwrap());
    fs::rename(file.path(), spill.file(&taken_in)).unwrap();

    let ran = run("verify", folder.path(), &["--json"]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    let stream = &ran.json()["generations"][0]["streams"][1];
    assert_eq!((&stream["end"], &stream["to"]), (&"spilled".into(), &1.into()), "{stream}");
    assert_eq!(stream["spilled_to"], 2);
    let ran = run("verify", folder.path(), &[]);
    assert!(ran.stdout.contains("records 1 up to 2 of stream 1 were spilled"), "{ran:#?}");
    let ran = run("verify", folder.path(), &with_spill);
    assert_eq!(ran.status, 0, "{ran:#?}");
    let ran = run("dump", folder.path(), &with_spill);
    assert_eq!(ran.status, 0, "{ran:#?}");
    let lines = ran.lines();
    assert_eq!((&lines[2]["position"], &lines[2]["amount_in"]), (&1.into(), &"10".into()));
    let alice = lines.iter().find(|line| line["name"] == "alice").unwrap();
    assert_eq!(alice["position_after"], "110");

    // What was spilled is gone, or is another: then it is not what the base counts.
    fs::remove_file(spill.file(&taken_in)).unwrap();
    let ran = run("verify", folder.path(), &with_spill);
    assert_eq!(ran.status, 1, "{ran:#?}");
    assert!(ran.stderr.contains("counts other records than there are"), "{ran:#?}");
}

#[test]
fn a_key_that_is_used_twice_is_found() {
    let (folder, mut switch) = two_shards();
    let key = switch.key();
    switch.credit("alice", key, 5);
    switch.credit("alice", key, 5);
    switch.stop();
    let ran = run("verify", folder.path(), &[]);
    assert_eq!(ran.status, 1, "{ran:#?}");
    assert!(ran.stderr.contains("stream 0, record 1: its key was used before"), "{ran:#?}");
}

#[test]
fn more_settled_than_was_frozen_is_found() {
    let (folder, mut switch) = two_shards();
    let key = switch.key();
    switch.keyed(Record::Settled, "alice", key, 5);
    switch.stop();
    let ran = run("verify", folder.path(), &[]);
    assert_eq!(ran.status, 1, "{ran:#?}");
    assert!(ran.stderr.contains("its key was used before"), "{ran:#?}");
    assert!(ran.stderr.contains("frozen -5, which cannot be"), "{ran:#?}");
}

/// A journal that grows while it is read.
#[test]
fn a_running_journal_is_verified_up_to_what_had_been_flushed() {
    for takes_lock in [true, false] {
        let (folder, mut switch) = two_shards();
        let lock = File::create(folder.file("lock")).unwrap();
        if takes_lock {
            lock.lock().unwrap();
        }
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut number = 0;
                while !is_over.load(Ordering::Relaxed) {
                    number += 1_u64;
                    switch.pair(("alice", number), ("bob", 1), [3; 16]);
                    switch.pair(("bob", 1), ("alice", 1), [4; 16]);
                    switch.settle();
                    if number.is_multiple_of(50) {
                        switch.snapshot();
                    }
                }
            });
            for _ in 0..15 {
                let ran = run("verify", folder.path(), &["--json", "--threads", "2"]);
                assert_eq!(ran.status, 0, "{ran:#?}");
                let report = ran.json();
                assert_eq!(report["is_running"], takes_lock, "{report:#}");
                let ran = run("dump", folder.path(), &["--kind", "limits"]);
                assert_eq!(ran.status, 0, "{ran:#?}");
            }
            is_over.store(true, Ordering::Relaxed);
        });
        drop(lock);
        assert_eq!(run("verify", folder.path(), &[]).status, 0);
    }
}

#[test]
fn one_generation_is_verified_alone_and_one_that_is_not_there_is_told() {
    let (folder, mut switch) = two_shards();
    switch.pair(("alice", 1), ("bob", 1), [3; 16]);
    switch.stop();
    Switch::start(folder.path(), &[("alice", 0), ("bob", 1)]).stop();
    let report = run("verify", folder.path(), &["--generation", "1", "--json"]).json();
    assert_eq!(report["generations"].as_array().unwrap().len(), 1);
    assert_eq!((&report["records"], &report["kinds"]["pair"]), (&1.into(), &1.into()));
    let ran = run("verify", folder.path(), &["--generation", "7"]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("there is no generation 7"), "{ran:#?}");
    assert!(ran.stderr.contains("it has 1, 2"), "{ran:#?}");
}
